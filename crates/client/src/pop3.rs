//! A client that fetches mail (RFC 1939): see [`Client`].

use bytes::{Bytes, BytesMut};
use ringpost_base::limits;
use std::collections::VecDeque;
use thiserror::Error;

/// Commands of one client that wait for their answers; further ones end it.
pub const COMMANDS: usize = 10_000;

/// A command's name, by which its answer is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(pub u64);

/// What the client wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send these bytes.
    Transmit(Bytes),
    /// Something for the owner.
    Event(Event),
    /// Nothing more now.
    Idle,
}

/// What the server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Its first line.
    Greeting(Answer),
    /// The answer to a command.
    Answered {
        /// The command.
        command: CommandId,
        /// Its first line.
        answer: Answer,
        /// The lines behind it, each ended by CRLF and with its dot taken away; empty for a command that has none, and for
        /// a refused one.
        body: Bytes,
    },
}

/// The first line of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whether it is `+OK`.
    pub is_ok: bool,
    /// What stands behind that.
    pub text: String,
}

/// Why a server is no server that could be talked to. The connection is of no use any more.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Error {
    /// A line that is too long, or a message.
    #[error("expected at most {limit_bytes} bytes")]
    TooLong {
        /// The limit that was passed.
        limit_bytes: usize,
    },
    /// A first line that is none.
    #[error("expected +OK or -ERR, got {0:?}")]
    NoAnswer(String),
    /// An answer to nothing.
    #[error("nothing was asked")]
    Unasked,
    /// More than [`COMMANDS`].
    #[error("too many commands wait")]
    TooManyCommands,
}

/// The longest line outside of a message.
const LINE_BYTES: usize = 8 * 1024;
/// The largest body of an answer.
const BODY_BYTES: usize = limits::MESSAGE_BYTES as usize + 1024 * 1024;

/// One POP3 connection of a client, from the greeting on.
///
/// Commands go out as they are asked for, one behind another; whoever has not seen PIPELINING in CAPA waits for each answer.
/// Give what came to [`handle_input`](Client::handle_input), drain [`poll_output`](Client::poll_output) after each call.
/// TLS is the owner's matter.
#[derive(Debug, Default)]
pub struct Client {
    received: BytesMut,
    /// Before this there is no line end.
    searched: usize,
    greeted: bool,
    /// Commands that wait for their answers, and whether these have a body.
    waiting: VecDeque<(CommandId, bool)>,
    /// The answer whose body is coming in.
    open: Option<(Answer, BytesMut)>,
    last: u64,
    outputs: VecDeque<Output>,
}

impl Client {
    /// A connection that has just been opened.
    pub fn new() -> Self {
        Client::default()
    }

    /// Whether every command has its answer.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }

    /// `USER` and `PASS`; the names of both. What may not stand in a line is left out.
    pub fn login(&mut self, user: &str, password: &str) -> (CommandId, CommandId) {
        let user = self.command(&format!("USER {user}"), false);
        (user, self.command(&format!("PASS {password}"), false))
    }

    /// `STAT`: how many messages there are, and how large they are together.
    pub fn stat(&mut self) -> CommandId {
        self.command("STAT", false)
    }

    /// `LIST`: each message's size.
    pub fn list(&mut self) -> CommandId {
        self.command("LIST", true)
    }

    /// `UIDL`: each message's name for ever.
    pub fn uidl(&mut self) -> CommandId {
        self.command("UIDL", true)
    }

    /// `RETR`: a message.
    pub fn retr(&mut self, number: u32) -> CommandId {
        self.command(&format!("RETR {number}"), true)
    }

    /// `TOP`: a message's header and some lines.
    pub fn top(&mut self, number: u32, lines: u32) -> CommandId {
        self.command(&format!("TOP {number} {lines}"), true)
    }

    /// `DELE`: marks a message to go with QUIT.
    pub fn dele(&mut self, number: u32) -> CommandId {
        self.command(&format!("DELE {number}"), false)
    }

    /// `CAPA`: what the server can do.
    pub fn capa(&mut self) -> CommandId {
        self.command("CAPA", true)
    }

    /// `QUIT`.
    pub fn quit(&mut self) -> CommandId {
        self.command("QUIT", false)
    }

    fn command(&mut self, line: &str, has_body: bool) -> CommandId {
        self.last += 1;
        let id = CommandId(self.last);
        let line: String = line
            .chars()
            .filter(|c| !matches!(c, '\r' | '\n' | '\0'))
            .chain("\r\n".chars())
            .collect();
        self.waiting.push_back((id, has_body));
        self.outputs.push_back(Output::Transmit(line.into()));
        id
    }

    /// Bytes came. After an error nothing more is understood.
    pub fn handle_input(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if self.waiting.len() > COMMANDS {
            return Err(Error::TooManyCommands);
        }
        self.received.extend_from_slice(bytes);
        while let Some(end) = self.line_end() {
            let line = self.received.split_to(end);
            self.searched = 0;
            self.handle_line(&line)?;
        }
        let limit_bytes = if self.open.is_some() {
            BODY_BYTES
        } else {
            LINE_BYTES
        };
        match self.received.len() > limit_bytes {
            true => Err(Error::TooLong { limit_bytes }),
            false => Ok(()),
        }
    }

    fn line_end(&mut self) -> Option<usize> {
        let found = self.received[self.searched..].iter().position(|b| *b == b'\n');
        let end = found.map(|at| self.searched + at + 1);
        self.searched = self.received.len();
        end
    }

    fn handle_line(&mut self, line: &[u8]) -> Result<(), Error> {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        let Some((_, body)) = &mut self.open else {
            return self.handle_answer(text);
        };
        //= https://www.rfc-editor.org/rfc/rfc1939#section-3
        if text != b"." {
            let text = text.strip_prefix(b".").unwrap_or(text);
            if body.len() + text.len() > BODY_BYTES {
                return Err(Error::TooLong {
                    limit_bytes: BODY_BYTES,
                });
            }
            body.extend_from_slice(text);
            body.extend_from_slice(b"\r\n");
            return Ok(());
        }
        if let Some((answer, body)) = self.open.take() {
            self.answered(answer, body.freeze())?;
        }
        Ok(())
    }

    fn handle_answer(&mut self, line: &[u8]) -> Result<(), Error> {
        if line.len() >= LINE_BYTES {
            let limit_bytes = LINE_BYTES;
            return Err(Error::TooLong { limit_bytes });
        }
        let (status, text) = match line.iter().position(|b| *b == b' ') {
            Some(at) => (&line[..at], &line[at + 1..]),
            None => (line, &[][..]),
        };
        let is_ok = match status {
            b"+OK" => true,
            b"-ERR" => false,
            _ => return Err(Error::NoAnswer(String::from_utf8_lossy(line).into_owned())),
        };
        let text = String::from_utf8_lossy(text).into_owned();
        let answer = Answer { is_ok, text };
        if !self.greeted {
            self.greeted = true;
            self.outputs.push_back(Output::Event(Event::Greeting(answer)));
            return Ok(());
        }
        match self.waiting.front() {
            Some((_, true)) if is_ok => self.open = Some((answer, BytesMut::new())),
            _ => self.answered(answer, Bytes::new())?,
        }
        Ok(())
    }

    fn answered(&mut self, answer: Answer, body: Bytes) -> Result<(), Error> {
        let (command, _) = self.waiting.pop_front().ok_or(Error::Unasked)?;
        self.outputs.push_back(Output::Event(Event::Answered {
            command,
            answer,
            body,
        }));
        Ok(())
    }

    /// What is to be done, `Idle` last.
    pub fn poll_output(&mut self) -> Output {
        self.outputs.pop_front().unwrap_or(Output::Idle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outputs(client: &mut Client) -> Vec<Output> {
        std::iter::from_fn(|| match client.poll_output() {
            Output::Idle => None,
            output => Some(output),
        })
        .collect()
    }

    fn answered(id: CommandId, is_ok: bool, text: &str, body: &str) -> Output {
        let (text, body) = (text.to_owned(), Bytes::copy_from_slice(body.as_bytes()));
        Output::Event(Event::Answered {
            command: id,
            answer: Answer { is_ok, text },
            body,
        })
    }

    #[test]
    fn answers_find_their_commands_in_order() {
        let mut client = Client::new();
        client.handle_input(b"+OK ready\r\n").unwrap();
        let (user, pass) = client.login("alice", "se\r\ncret");
        let (list, retr, quit) = (client.list(), client.retr(2), client.quit());
        let sent: Vec<u8> = outputs(&mut client)
            .into_iter()
            .filter_map(|o| match o {
                Output::Transmit(bytes) => Some(bytes),
                _ => None,
            })
            .flatten()
            .collect();
        assert_eq!(sent, b"USER alice\r\nPASS secret\r\nLIST\r\nRETR 2\r\nQUIT\r\n");
        for piece in
            b"+OK\r\n+OK in\r\n+OK 1\r\n2 10\r\n.\r\n+OK\r\na: b\r\n\r\n..\r\n...\r\n.\r\n+OK bye\r\n"
                .chunks(3)
        {
            client.handle_input(piece).unwrap();
        }
        assert_eq!(
            outputs(&mut client),
            [
                answered(user, true, "", ""),
                answered(pass, true, "in", ""),
                answered(list, true, "1", "2 10\r\n"),
                answered(retr, true, "", "a: b\r\n\r\n.\r\n..\r\n"),
                answered(quit, true, "bye", ""),
            ]
        );
        assert!(client.is_idle());
    }

    #[test]
    fn a_refused_command_has_no_body() {
        let mut client = Client::new();
        client.handle_input(b"+OK\r\n").unwrap();
        let (retr, stat) = (client.retr(9), client.stat());
        client.handle_input(b"-ERR [SYS/TEMP] no\r\n+OK 0 0\r\n").unwrap();
        let all = outputs(&mut client);
        assert_eq!(
            all[3..],
            [
                answered(retr, false, "[SYS/TEMP] no", ""),
                answered(stat, true, "0 0", "")
            ]
        );
    }

    #[test]
    fn a_server_that_is_none_is_an_error() {
        let mut client = Client::new();
        assert!(matches!(
            client.handle_input(b"* OK IMAP\r\n"),
            Err(Error::NoAnswer(_))
        ));
        let mut client = Client::new();
        client.handle_input(b"+OK\r\n").unwrap();
        assert_eq!(client.handle_input(b"+OK\r\n"), Err(Error::Unasked));
        let mut client = Client::new();
        let long = vec![b'x'; LINE_BYTES + 1];
        assert!(matches!(client.handle_input(&long), Err(Error::TooLong { .. })));
    }
}
