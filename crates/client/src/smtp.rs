//! A client that hands mails to a server (RFC 5321, RFC 6409): see [`Client`].

use bytes::Bytes;
use ringpost_auth::{base64, sasl};
use ringpost_base::{Instant, limits};
use std::collections::VecDeque;
use std::time::Duration;

/// Mails that wait in one client; further ones are refused at once.
pub const MAILS: usize = 64;

/// Lines of one reply; more ends the connection.
const REPLY_LINES: usize = 100;

/// How a client introduces itself.
#[derive(Clone, Debug)]
pub struct Config {
    /// The name in EHLO.
    pub host: String,
    /// Whether TLS is opened with STARTTLS before anything else; a server that does not offer it is left.
    pub start_tls: bool,
    /// Whom to log in, with AUTH PLAIN.
    pub login: Option<Login>,
}

impl Config {
    /// No TLS of its own and no login.
    pub fn new(host: &str) -> Self {
        Config {
            host: host.into(),
            start_tls: false,
            login: None,
        }
    }
}

/// A user and a password.
#[derive(Clone, Debug)]
pub struct Login {
    /// The account.
    pub user: String,
    /// Its password.
    pub password: String,
}

/// One message with its envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// The sender's address; empty for a bounce.
    pub from: String,
    /// The recipients' addresses.
    pub to: Vec<String>,
    /// The message with its header. Line ends of any kind go out as CRLF.
    pub message: Bytes,
}

/// A mail's name, by which its fate is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MailId(pub u64);

/// What a server answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Three digits.
    pub code: u16,
    /// Its lines, without the code, joined by line feeds.
    pub text: String,
}

impl Reply {
    /// Whether it is 2yz.
    pub fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }
}

/// What the client wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send these bytes.
    Transmit(Bytes),
    /// Something for the owner.
    Event(Event),
    /// Nothing more now; call [`Client::handle_timeout`] then, if there is a time.
    Timeout(Option<Instant>),
}

/// What became of what was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The server waits for mails; with what it offers, in upper case.
    Ready {
        /// `SIZE 1000`, `PIPELINING` …
        extensions: Vec<String>,
    },
    /// Open TLS now, and call [`Client::handle_tls_started`] when it is open.
    StartTls,
    /// The login failed; the client quits.
    LoginRefused(Reply),
    /// One recipient of a mail is not taken; the mail goes to the others.
    RecipientRefused {
        /// The mail.
        mail: MailId,
        /// The address.
        recipient: String,
        /// Why.
        reply: Reply,
    },
    /// The server has taken a mail for all recipients that were not refused.
    Accepted {
        /// The mail.
        mail: MailId,
        /// What it said.
        reply: Reply,
    },
    /// The mail was not taken for anybody; 0 for a code means that the connection ended before.
    Refused {
        /// The mail.
        mail: MailId,
        /// Why.
        reply: Reply,
    },
    /// Nothing more will come; close the connection.
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Greeting,
    Ehlo,
    Helo,
    StartTls,
    Handshake,
    Auth,
    Idle,
    MailFrom,
    RcptTo { next: usize, accepted: usize },
    Data,
    Body,
    Reset,
    Quit,
    Closed,
}

/// One SMTP connection of a client, from the greeting on.
///
/// Mails are sent one after another, command by command. Give what came to [`handle_input`](Client::handle_input), drain
/// [`poll_output`](Client::poll_output) after each call.
#[derive(Debug)]
pub struct Client {
    config: Config,
    state: State,
    is_secure: bool,
    extensions: Vec<String>,
    received: Vec<u8>,
    /// The lines of a reply that goes on.
    reply: Vec<String>,
    mails: VecDeque<(MailId, Mail)>,
    last_mail: u64,
    quit_asked: bool,
    deadline: Option<Instant>,
    outputs: VecDeque<Output>,
}

impl Client {
    /// A connection that has just been opened.
    pub fn new(now: Instant, config: Config) -> Self {
        let mut client = Client {
            config,
            state: State::Greeting,
            is_secure: false,
            extensions: Vec::new(),
            received: Vec::new(),
            reply: Vec::new(),
            mails: VecDeque::new(),
            last_mail: 0,
            quit_asked: false,
            deadline: None,
            outputs: VecDeque::new(),
        };
        client.enter(now, State::Greeting);
        client
    }

    /// Whether no mail waits for its verdict.
    pub fn is_idle(&self) -> bool {
        self.mails.is_empty()
    }

    /// Sends a mail, behind those that wait.
    pub fn send(&mut self, now: Instant, mail: Mail) -> MailId {
        self.last_mail += 1;
        let id = MailId(self.last_mail);
        if self.mails.len() >= MAILS || self.state == State::Closed {
            let reply = Reply {
                code: 0,
                text: "not sent".into(),
            };
            self.event(Event::Refused { mail: id, reply });
            return id;
        }
        self.mails.push_back((id, mail));
        if self.state == State::Idle {
            self.next_mail(now);
        }
        id
    }

    /// Says QUIT when all mails have their verdict.
    pub fn quit(&mut self, now: Instant) {
        self.quit_asked = true;
        if self.state == State::Idle {
            self.next_mail(now);
        }
    }

    /// TLS is open: the session begins anew, and what came before is forgotten (RFC 3207 §4.2).
    pub fn handle_tls_started(&mut self, now: Instant) {
        self.is_secure = true;
        self.received.clear();
        self.reply.clear();
        self.say_hello(now);
    }

    /// The connection ended.
    pub fn handle_closed(&mut self, _now: Instant) {
        self.close();
    }

    /// Bytes came from the server. Whatever is no reply ends the connection.
    pub fn handle_input(&mut self, now: Instant, bytes: &[u8]) {
        let mut received = std::mem::take(&mut self.received);
        received.extend_from_slice(bytes);
        let mut rest = &received[..];
        while let Some(length) = rest.iter().position(|b| *b == b'\n') {
            let line = String::from_utf8_lossy(&rest[..length]);
            rest = &rest[length + 1..];
            self.handle_line(now, line.strip_suffix('\r').unwrap_or(&line));
            // What stands behind the go-ahead for TLS came in the clear and counts for nothing.
            if matches!(self.state, State::Closed | State::Handshake) {
                return;
            }
        }
        match rest.len() > limits::SMTP_LINE_BYTES + 1 {
            true => self.close(),
            false => self.received = rest.to_vec(),
        }
    }

    fn handle_line(&mut self, now: Instant, line: &str) {
        let code = line
            .get(..3)
            .filter(|code| code.bytes().all(|b| b.is_ascii_digit()));
        let more = line.as_bytes().get(3) == Some(&b'-');
        let parted = more || matches!(line.as_bytes().get(3), None | Some(b' '));
        let bounded = line.len() <= limits::SMTP_LINE_BYTES && self.reply.len() < REPLY_LINES;
        let (Some(Ok(code)), true, true) = (code.map(str::parse::<u16>), parted, bounded) else {
            return self.close();
        };
        self.reply.push(line.get(4..).unwrap_or_default().into());
        if !more {
            let lines = std::mem::take(&mut self.reply);
            if matches!(self.state, State::Ehlo) && code == 250 {
                self.extensions = lines
                    .iter()
                    .skip(1)
                    .map(|line| line.to_ascii_uppercase())
                    .collect();
            }
            self.handle_reply(
                now,
                Reply {
                    code,
                    text: lines.join("\n"),
                },
            );
        }
    }

    fn handle_reply(&mut self, now: Instant, reply: Reply) {
        // A server that goes down says so whenever it likes (RFC 5321 §3.8).
        if reply.code == 421 {
            self.refuse_all(&reply);
            return self.close();
        }
        match (self.state, reply.code) {
            (State::Greeting, 220) => self.say_hello(now),
            (State::Ehlo, 250) => self.after_hello(now),
            (State::Ehlo, 500..=599) => {
                let line = format!("HELO {}", self.config.host);
                self.command(now, State::Helo, &line);
            }
            (State::Helo, 250) => self.after_hello(now),
            (State::StartTls, 220) => {
                self.enter(now, State::Handshake);
                self.event(Event::StartTls);
            }
            (State::Auth, 235) => self.ready(now),
            (State::Auth, _) => {
                self.event(Event::LoginRefused(reply.clone()));
                self.give_up(now, &reply);
            }
            (State::MailFrom, 250) => self.name_recipient(now, 0, 0),
            (State::RcptTo { next, accepted }, _) => self.handle_recipient(now, next, accepted, reply),
            (State::Data, 354) => self.send_body(now),
            (State::Body, _) => {
                self.verdict(reply);
                self.next_mail(now);
            }
            (State::MailFrom | State::Data, _) => {
                self.verdict(reply);
                self.command(now, State::Reset, "RSET");
            }
            (State::Reset, _) => self.next_mail(now),
            (State::Quit | State::Closed, _) => self.close(),
            (State::Greeting | State::Ehlo | State::Helo | State::StartTls, _) => self.give_up(now, &reply),
            // Nobody asked.
            (State::Idle | State::Handshake, _) => self.close(),
        }
    }

    fn say_hello(&mut self, now: Instant) {
        let line = format!("EHLO {}", self.config.host);
        self.command(now, State::Ehlo, &line);
    }

    fn after_hello(&mut self, now: Instant) {
        if self.config.start_tls && !self.is_secure {
            return match self.offers("STARTTLS") {
                true => self.command(now, State::StartTls, "STARTTLS"),
                false => self.give_up(
                    now,
                    &Reply {
                        code: 0,
                        text: "no STARTTLS offered".into(),
                    },
                ),
            };
        }
        match &self.config.login {
            Some(Login { user, password }) => {
                let message = base64::encode(&sasl::plain_message("", user, password));
                self.command(now, State::Auth, &format!("AUTH PLAIN {message}"));
            }
            None => self.ready(now),
        }
    }

    fn offers(&self, extension: &str) -> bool {
        self.extensions
            .iter()
            .any(|line| line.split(' ').next() == Some(extension))
    }

    fn ready(&mut self, now: Instant) {
        let extensions = self.extensions.clone();
        self.event(Event::Ready { extensions });
        self.next_mail(now);
    }

    fn next_mail(&mut self, now: Instant) {
        match self.mails.front() {
            Some((_, mail)) => {
                let mut line = format!("MAIL FROM:<{}>", address(&mail.from));
                if self.offers("SIZE") {
                    line += &format!(" SIZE={}", mail.message.len());
                }
                if self.offers("8BITMIME") && !mail.message.is_ascii() {
                    line += " BODY=8BITMIME";
                }
                self.command(now, State::MailFrom, &line);
            }
            None if self.quit_asked => self.command(now, State::Quit, "QUIT"),
            None => self.enter(now, State::Idle),
        }
    }

    fn name_recipient(&mut self, now: Instant, next: usize, accepted: usize) {
        let recipient = self.mails.front().and_then(|(_, mail)| mail.to.get(next));
        match recipient {
            Some(recipient) => {
                let line = format!("RCPT TO:<{}>", address(recipient));
                self.command(now, State::RcptTo { next, accepted }, &line);
            }
            None if accepted > 0 => self.command(now, State::Data, "DATA"),
            None => {
                self.verdict(Reply {
                    code: 0,
                    text: "no recipient was accepted".into(),
                });
                self.command(now, State::Reset, "RSET");
            }
        }
    }

    fn handle_recipient(&mut self, now: Instant, next: usize, accepted: usize, reply: Reply) {
        let positive = reply.is_positive();
        if let (false, Some((mail, Mail { to, .. }))) = (positive, self.mails.front()) {
            let (mail, recipient) = (*mail, to.get(next).cloned().unwrap_or_default());
            self.event(Event::RecipientRefused {
                mail,
                recipient,
                reply,
            });
        }
        self.name_recipient(now, next + 1, accepted + usize::from(positive));
    }

    fn send_body(&mut self, now: Instant) {
        let body = self
            .mails
            .front()
            .map(|(_, mail)| stuffed(&mail.message))
            .unwrap_or_default();
        self.outputs.push_back(Output::Transmit(body));
        self.enter(now, State::Body);
    }

    /// Ends the first mail.
    fn verdict(&mut self, reply: Reply) {
        let Some((mail, _)) = self.mails.pop_front() else {
            return;
        };
        self.event(match reply.is_positive() {
            true => Event::Accepted { mail, reply },
            false => Event::Refused { mail, reply },
        });
    }

    fn refuse_all(&mut self, reply: &Reply) {
        while !self.mails.is_empty() {
            self.verdict(reply.clone());
        }
    }

    fn give_up(&mut self, now: Instant, reply: &Reply) {
        // A positive reply out of place is no reason that a mail could be taken for delivered by.
        let code = if reply.is_positive() { 0 } else { reply.code };
        self.refuse_all(&Reply {
            code,
            text: reply.text.clone(),
        });
        self.command(now, State::Quit, "QUIT");
    }

    fn close(&mut self) {
        self.refuse_all(&Reply {
            code: 0,
            text: "the connection ended".into(),
        });
        if std::mem::replace(&mut self.state, State::Closed) != State::Closed {
            self.deadline = None;
            self.event(Event::Closed);
        }
    }

    fn command(&mut self, now: Instant, state: State, line: &str) {
        let line: String = line
            .chars()
            .filter(|c| !matches!(c, '\r' | '\n' | '\0'))
            .chain("\r\n".chars())
            .collect();
        self.outputs.push_back(Output::Transmit(line.into()));
        self.enter(now, state);
    }

    //= https://www.rfc-editor.org/rfc/rfc5321#section-4.5.3.2
    fn enter(&mut self, now: Instant, state: State) {
        self.state = state;
        let minutes = match state {
            State::Idle | State::Closed => None,
            State::Data => Some(2),
            State::Body => Some(10),
            _ => Some(5),
        };
        self.deadline = minutes.map(|minutes| now + Duration::from_secs(60 * minutes));
    }

    /// The time that `poll_output` gave has come: the server took longer than RFC 5321 §4.5.3.2 allows.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.deadline.is_some_and(|deadline| now >= deadline) {
            self.close();
        }
    }

    /// What is to be done, `Timeout` last.
    pub fn poll_output(&mut self) -> Output {
        self.outputs.pop_front().unwrap_or(Output::Timeout(self.deadline))
    }

    fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }
}

/// An address that stays within its angle brackets.
fn address(text: &str) -> String {
    text.chars().filter(|c| !matches!(c, '<' | '>' | ' ')).collect()
}

/// The message as DATA carries it: every line ended by CRLF, a dot before a line's dot, and the last dot (RFC 5321 §4.5.2).
fn stuffed(message: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(message.len() + 64);
    let mut rest = message;
    while !rest.is_empty() {
        let end = rest
            .iter()
            .position(|b| matches!(b, b'\r' | b'\n'))
            .unwrap_or(rest.len());
        let (line, behind) = rest.split_at(end);
        if line.first() == Some(&b'.') {
            out.push(b'.');
        }
        out.extend_from_slice(line);
        out.extend_from_slice(b"\r\n");
        rest = behind
            .strip_prefix(b"\r\n")
            .or_else(|| behind.get(1..))
            .unwrap_or_default();
    }
    out.extend_from_slice(b".\r\n");
    out.into()
}

#[cfg(test)]
mod tests;
