//! A client of IMAP4rev1 (RFC 3501): see [`Client`].

mod response;
mod value;

pub use response::{Code, Envelope, Event, Fetched, MailAddress, Outcome};
pub use value::Value;

use bytes::{Bytes, BytesMut};
use ringpost_base::Instant;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::time::Duration;
use thiserror::Error;

/// Commands that wait to be sent or answered; a command over it is answered at once with [`Outcome::Dropped`].
pub const COMMANDS: usize = 256;
/// One response with its literals; more is an error, since nothing that is asked for here is larger.
pub const RESPONSE_BYTES: usize = 64 * 1024 * 1024;
/// An IDLE is renewed after so long, since a server may end it after 30 minutes (RFC 2177 §3).
const IDLE_LIFE: Duration = Duration::from_secs(29 * 60);

/// A command's name, by which its completion is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(pub u32);

/// What the client wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send these bytes.
    Transmit(Bytes),
    /// The server said something.
    Event(Event),
    /// Nothing more now; call [`Client::handle_timeout`] then, if there is a time.
    Timeout(Option<Instant>),
}

/// The server does not speak IMAP; the connection is to be closed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Error {
    /// A response that cannot be read.
    #[error("expected {expected} in the response {response:?}")]
    Syntax {
        /// What would have been right.
        expected: &'static str,
        /// The response's beginning.
        response: String,
    },
    /// A response of more than [`RESPONSE_BYTES`].
    #[error("expected a response of at most {RESPONSE_BYTES} bytes")]
    TooLong,
}

/// One IMAP connection of a client, from the greeting on.
///
/// Commands are sent as they are asked for, without waiting for the one before; what a literal or IDLE holds up waits
/// its turn. A command while idling ends the IDLE. Give what came to [`handle_input`](Client::handle_input), drain
/// [`poll_output`](Client::poll_output) after each call.
#[derive(Debug, Default)]
pub struct Client {
    last_tag: u32,
    received: BytesMut,
    /// How much of `received` is known to hold no complete response.
    scanned: Scan,
    /// The server has greeted; nothing is sent before.
    greeted: bool,
    /// STARTTLS is under way: nothing is sent until it is done or refused.
    securing: Option<Tag>,
    /// Commands that are not sent yet, each in the pieces that its literals part it into.
    waiting: VecDeque<Command>,
    /// Sent and not completed.
    running: VecDeque<Tag>,
    /// The rest of the command that waits for the server's go-ahead.
    literal: Option<VecDeque<Bytes>>,
    idle: Option<Idle>,
    outputs: VecDeque<Output>,
}

#[derive(Debug)]
struct Command {
    tag: Tag,
    pieces: VecDeque<Bytes>,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Plain,
    Idle,
    StartTls,
}

#[derive(Debug)]
struct Idle {
    tag: Tag,
    renew_at: Instant,
    /// The server has said that it idles.
    accepted: bool,
    done_sent: bool,
    /// The owner ended it: it is not to be renewed.
    ended: bool,
}

#[derive(Debug, Default)]
struct Scan {
    /// Everything before is literals and lines of this response that are complete.
    line_start: usize,
    /// No line end before.
    looked: usize,
}

impl Client {
    /// A connection that has just been opened.
    pub fn new() -> Self {
        Client::default()
    }

    /// How many commands have no answer yet.
    pub fn open_commands(&self) -> usize {
        self.waiting.len() + self.running.len()
    }

    /// Whether the server has said that it idles, and was not told to stop.
    pub fn is_idle(&self) -> bool {
        self.idle
            .as_ref()
            .is_some_and(|idle| idle.accepted && !idle.done_sent)
    }

    /// `CAPABILITY`
    pub fn capability(&mut self, now: Instant) -> Tag {
        self.command(now, |line| line.atom("CAPABILITY"))
    }

    /// `STARTTLS`; when it completes with OK the owner opens TLS and goes on with the same client. Nothing that came
    /// before is kept (RFC 3501 §6.2.1).
    pub fn start_tls(&mut self, now: Instant) -> Tag {
        let tag = self.next_tag();
        let pieces = VecDeque::from([Bytes::from(format!("{} STARTTLS\r\n", written(tag)))]);
        self.ask(
            now,
            Command {
                tag,
                pieces,
                kind: Kind::StartTls,
            },
        )
    }

    /// The TLS handshake is done: what was received and not read is forgotten.
    pub fn handle_tls_started(&mut self, now: Instant) {
        self.received.clear();
        self.scanned = Scan::default();
        self.securing = None;
        self.send_waiting(now);
    }

    /// `LOGIN`
    pub fn login(&mut self, now: Instant, user: &str, password: &str) -> Tag {
        self.command(now, |line| line.atom("LOGIN").string(user).string(password))
    }

    /// `LIST "" pattern`
    pub fn list(&mut self, now: Instant, pattern: &str) -> Tag {
        self.command(now, |line| line.atom("LIST").string("").string(pattern))
    }

    /// `SELECT`
    pub fn select(&mut self, now: Instant, mailbox: &str) -> Tag {
        self.command(now, |line| line.atom("SELECT").string(mailbox))
    }

    /// `EXAMINE`: the same, and nothing is changed by it.
    pub fn examine(&mut self, now: Instant, mailbox: &str) -> Tag {
        self.command(now, |line| line.atom("EXAMINE").string(mailbox))
    }

    /// `STATUS` with items such as `MESSAGES UNSEEN`.
    pub fn status(&mut self, now: Instant, mailbox: &str, items: &str) -> Tag {
        self.command(now, |line| {
            line.atom("STATUS").string(mailbox).atom(&format!("({items})"))
        })
    }

    /// `UID FETCH` of a set such as `1:*`, with items such as `(UID FLAGS ENVELOPE)` or `BODY.PEEK[]`.
    pub fn fetch(&mut self, now: Instant, uids: &str, items: &str) -> Tag {
        self.command(now, |line| line.atom("UID FETCH").atom(uids).atom(items))
    }

    /// `UID STORE`; `change` is `FLAGS`, `+FLAGS` or `-FLAGS`, with `.SILENT` behind it if wished; `flags` such as
    /// `\Seen \Deleted`.
    pub fn store(&mut self, now: Instant, uids: &str, change: &str, flags: &str) -> Tag {
        self.command(now, |line| {
            line.atom("UID STORE")
                .atom(uids)
                .atom(change)
                .atom(&format!("({flags})"))
        })
    }

    /// `UID SEARCH` with a program such as `UNSEEN SUBJECT "voice"`, in ASCII.
    pub fn search(&mut self, now: Instant, program: &str) -> Tag {
        self.command(now, |line| line.atom("UID SEARCH").atom(program))
    }

    /// `UID COPY`
    pub fn copy(&mut self, now: Instant, uids: &str, mailbox: &str) -> Tag {
        self.command(now, |line| line.atom("UID COPY").atom(uids).string(mailbox))
    }

    /// `APPEND` of a whole message, with flags such as `\Seen`.
    pub fn append(&mut self, now: Instant, mailbox: &str, flags: &str, message: &[u8]) -> Tag {
        self.command(now, |line| {
            line.atom("APPEND")
                .string(mailbox)
                .atom(&format!("({flags})"))
                .literal(message)
        })
    }

    /// `EXPUNGE`
    pub fn expunge(&mut self, now: Instant) -> Tag {
        self.command(now, |line| line.atom("EXPUNGE"))
    }

    /// `NOOP`
    pub fn noop(&mut self, now: Instant) -> Tag {
        self.command(now, |line| line.atom("NOOP"))
    }

    /// Any other command without literals, as it is to stand on the line.
    pub fn other(&mut self, now: Instant, text: &str) -> Tag {
        self.command(now, |line| line.atom(text))
    }

    /// `IDLE` (RFC 2177): the server tells changes as they happen, until [`Client::done`] or the next command. It is
    /// renewed in time.
    pub fn idle(&mut self, now: Instant) -> Tag {
        let tag = self.next_tag();
        let pieces = VecDeque::from([Bytes::from(format!("{} IDLE\r\n", written(tag)))]);
        self.ask(
            now,
            Command {
                tag,
                pieces,
                kind: Kind::Idle,
            },
        )
    }

    /// Ends the IDLE, whose command then completes.
    pub fn done(&mut self) {
        if let Some(idle) = &mut self.idle {
            idle.ended = true;
            // DONE before the server's go-ahead would be taken for a command.
            if idle.accepted && !std::mem::replace(&mut idle.done_sent, true) {
                self.transmit(Bytes::from_static(b"DONE\r\n"));
            }
        }
    }

    /// `LOGOUT`; the server says BYE and closes.
    pub fn logout(&mut self, now: Instant) -> Tag {
        self.command(now, |line| line.atom("LOGOUT"))
    }

    fn command(&mut self, now: Instant, write: impl FnOnce(Line) -> Line) -> Tag {
        let tag = self.next_tag();
        let line = Line {
            pieces: VecDeque::new(),
            open: written(tag),
        };
        let pieces = write(line).finish();
        self.ask(
            now,
            Command {
                tag,
                pieces,
                kind: Kind::Plain,
            },
        )
    }

    fn next_tag(&mut self) -> Tag {
        self.last_tag += 1;
        Tag(self.last_tag)
    }

    fn ask(&mut self, now: Instant, command: Command) -> Tag {
        let tag = command.tag;
        if self.open_commands() >= COMMANDS {
            let (outcome, code, text) = (Outcome::Dropped, None, Bytes::new());
            self.event(Event::Completed {
                tag,
                outcome,
                code,
                text,
            });
            return tag;
        }
        self.waiting.push_back(command);
        self.done();
        self.send_waiting(now);
        tag
    }

    fn send_waiting(&mut self, now: Instant) {
        while self.greeted && self.securing.is_none() && self.literal.is_none() && self.idle.is_none() {
            let Some(Command {
                tag,
                mut pieces,
                kind,
            }) = self.waiting.pop_front()
            else {
                return;
            };
            self.running.push_back(tag);
            if let Some(first) = pieces.pop_front() {
                self.transmit(first);
            }
            self.literal = Some(pieces).filter(|pieces| !pieces.is_empty());
            self.securing = (kind == Kind::StartTls).then_some(tag);
            self.idle = (kind == Kind::Idle).then_some(Idle {
                tag,
                renew_at: now + IDLE_LIFE,
                accepted: false,
                done_sent: false,
                ended: false,
            });
        }
    }

    /// Bytes came from the server.
    pub fn handle_input(&mut self, now: Instant, bytes: &[u8]) -> Result<(), Error> {
        self.received.extend_from_slice(bytes);
        while let Some(length) = self.response_length()? {
            let response = self.received.split_to(length).freeze();
            self.scanned = Scan::default();
            self.handle_response(now, &response)?;
        }
        Ok(())
    }

    /// The length of the first response, once all of it is there.
    fn response_length(&mut self) -> Result<Option<usize>, Error> {
        let scan = &mut self.scanned;
        loop {
            let unseen = self.received.get(scan.looked..).unwrap_or_default();
            let Some(end) = unseen
                .iter()
                .position(|b| *b == b'\n')
                .map(|at| scan.looked + at + 1)
            else {
                // Where a literal has not come whole, `looked` is its end already.
                scan.looked = scan.looked.max(self.received.len());
                return if scan.looked > RESPONSE_BYTES {
                    Err(Error::TooLong)
                } else {
                    Ok(None)
                };
            };
            let literal = value::literal_length(&self.received[scan.line_start..end]);
            match literal {
                None => return Ok(Some(end)),
                Some(length) if length <= RESPONSE_BYTES => {
                    scan.line_start = end + length;
                    scan.looked = scan.line_start;
                    if scan.looked > RESPONSE_BYTES {
                        return Err(Error::TooLong);
                    }
                }
                Some(_) => return Err(Error::TooLong),
            }
        }
    }

    fn handle_response(&mut self, now: Instant, response: &Bytes) -> Result<(), Error> {
        let event = response::parse(response).map_err(|expected| Error::Syntax {
            expected,
            response: String::from_utf8_lossy(&response[..response.len().min(80)]).into_owned(),
        })?;
        match event {
            Event::Remark {
                outcome: Outcome::Ok,
                text,
                ..
            } if !self.greeted => {
                self.handle_greeting(now, Event::Greeting { preauth: false, text });
            }
            Event::Greeting { .. } if !self.greeted => self.handle_greeting(now, event),
            Event::Continue { .. } => self.handle_go_ahead(now, event),
            Event::Completed { tag, .. } => self.handle_completed(now, tag, event),
            event => self.event(event),
        }
        Ok(())
    }

    fn handle_greeting(&mut self, now: Instant, greeting: Event) {
        self.greeted = true;
        self.event(greeting);
        self.send_waiting(now);
    }

    fn handle_go_ahead(&mut self, now: Instant, event: Event) {
        if let Some(pieces) = &mut self.literal {
            let next = pieces.pop_front();
            if pieces.is_empty() {
                self.literal = None;
            }
            next.into_iter().for_each(|piece| self.transmit(piece));
        } else if let Some(idle) = self.idle.as_mut().filter(|idle| !idle.accepted) {
            idle.accepted = true;
            if idle.ended {
                self.done();
            }
        } else {
            self.event(event);
        }
        // If the last piece has gone, what waited behind the literal may follow.
        self.send_waiting(now);
    }

    fn handle_completed(&mut self, now: Instant, tag: Tag, event: Event) {
        let Some(place) = self.running.iter().position(|running| *running == tag) else {
            return;
        };
        self.running.remove(place);
        // A refusal instead of the go-ahead ends the command with its literal.
        if self.running.is_empty() || place == self.running.len() {
            self.literal = None;
        }
        if !matches!(
            event,
            Event::Completed {
                outcome: Outcome::Ok,
                ..
            }
        ) {
            self.securing.take_if(|securing| *securing == tag);
        }
        match self.idle.take_if(|idle| idle.tag == tag) {
            Some(idle) if idle.done_sent && !idle.ended => {
                self.idle_again(now, tag);
            }
            _ => self.event(event),
        }
        self.send_waiting(now);
    }

    /// Renews an IDLE under its old tag.
    fn idle_again(&mut self, now: Instant, tag: Tag) {
        let pieces = VecDeque::from([Bytes::from(format!("{} IDLE\r\n", written(tag)))]);
        self.waiting.push_front(Command {
            tag,
            pieces,
            kind: Kind::Idle,
        });
        self.send_waiting(now);
    }

    /// The time that `poll_output` gave has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        let due = |idle: &&mut Idle| idle.accepted && !idle.done_sent && now >= idle.renew_at;
        if let Some(idle) = self.idle.as_mut().filter(due) {
            idle.done_sent = true;
            self.transmit(Bytes::from_static(b"DONE\r\n"));
        }
    }

    /// What is to be done, `Timeout` last.
    pub fn poll_output(&mut self) -> Output {
        let renewal = self
            .idle
            .as_ref()
            .filter(|idle| !idle.done_sent)
            .map(|idle| idle.renew_at);
        self.outputs.pop_front().unwrap_or(Output::Timeout(renewal))
    }

    fn transmit(&mut self, bytes: Bytes) {
        self.outputs.push_back(Output::Transmit(bytes));
    }

    fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }
}

fn written(tag: Tag) -> String {
    format!("a{}", tag.0)
}

/// A command line in the making.
struct Line {
    pieces: VecDeque<Bytes>,
    open: String,
}

impl Line {
    /// Appends a space and what stands on the line as it is.
    fn atom(mut self, text: &str) -> Self {
        self.open.push(' ');
        self.open
            .extend(text.chars().filter(|c| !matches!(c, '\r' | '\n' | '\0')));
        self
    }

    /// Appends a quoted string, or a literal where quotes do not suffice.
    fn string(mut self, text: &str) -> Self {
        let quotable = text.bytes().all(|b| (0x20..0x7f).contains(&b));
        if !quotable {
            return self.literal(text.as_bytes());
        }
        self.open.push_str(" \"");
        for c in text.chars() {
            if matches!(c, '"' | '\\') {
                self.open.push('\\');
            }
            self.open.push(c);
        }
        self.open.push('"');
        self
    }

    fn literal(mut self, bytes: &[u8]) -> Self {
        let _ = write!(self.open, " {{{}}}\r\n", bytes.len());
        self.pieces.push_back(Bytes::from(std::mem::take(&mut self.open)));
        self.pieces.push_back(Bytes::copy_from_slice(bytes));
        self
    }

    /// The pieces: the first at once, each further one at the server's go-ahead.
    fn finish(self) -> VecDeque<Bytes> {
        let mut whole = VecDeque::new();
        let mut pieces = self.pieces.into_iter();
        let mut tail = Vec::new();
        // A literal travels with the line that follows it.
        while let (Some(line), Some(literal)) = (pieces.next(), pieces.next()) {
            whole.push_back(Bytes::from([std::mem::take(&mut tail), line.to_vec()].concat()));
            tail = literal.to_vec();
        }
        tail.extend(self.open.into_bytes());
        tail.extend(b"\r\n");
        whole.push_back(Bytes::from(tail));
        whole
    }
}

#[cfg(test)]
mod tests;
