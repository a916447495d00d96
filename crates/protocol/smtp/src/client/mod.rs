//! The client's side of SMTP: messages handed to another server.
//!
//! [`Client`] is one connection as a machine without I/O: greeting, EHLO or HELO, STARTTLS (RFC 3207), AUTH PLAIN under
//! TLS (RFC 4616), then any number of messages with PIPELINING (RFC 2920), SIZE (RFC 1870), 8BITMIME (RFC 6152) and
//! SMTPUTF8 (RFC 6531). A message passes through in pieces; what became of each recipient is told as a [`Verdict`]. What a
//! server cannot take as it is, a [`Converter`] makes fit for it.
//!
//! ```
//! use ringpost_base::Instant;
//! use ringpost_smtp::client::{Client, Config, Event, Output};
//!
//! let now = Instant::ZERO;
//! let mut client = Client::new(now, Config::new("mx.example.com"), false);
//! client.handle_input(now, "220 there\r\n".into());
//! assert_eq!(client.poll_output(), Output::Transmit("EHLO mx.example.com\r\n".into()));
//! client.handle_input(now, "250 there\r\n".into());
//! assert_eq!(client.poll_output(), Output::Event(Event::Ready));
//! ```

mod convert;
mod reply;
mod stuff;
#[cfg(test)]
mod tests;
mod verdict;

pub use convert::{Converter, Survey, Wanted};
pub use verdict::{Fate, Verdict};

use crate::dsn::{MailDsn, RcptDsn, utf8_address_in_ascii};
use crate::path::{ForwardPath, ReversePath};
use crate::session::Body;
use bytes::Bytes;
use reply::{BadReply, Reply, ReplyReader};
use ringpost_auth::base64;
use ringpost_base::{Instant, limits};
use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;
use stuff::Stuffer;

/// What is done about TLS where the connection is not under it from its first byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StartTls {
    /// Not even where it is offered.
    Never,
    /// Where it is offered.
    #[default]
    Opportunistic,
    /// Always: a server that does not offer it is left.
    Required,
}

/// Who we are to the server.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user.
    pub user: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({})", self.user)
    }
}

/// How long the server may take (RFC 5321 §4.5.3.2); the defaults are the RFC's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Until its greeting (§4.5.3.2.1).
    pub greeting: Duration,
    /// For a reply to any command but DATA (§4.5.3.2.2, §4.5.3.2.3).
    pub command: Duration,
    /// For the reply to DATA (§4.5.3.2.4).
    pub data: Duration,
    /// Between two pieces of the message (§4.5.3.2.5).
    pub block: Duration,
    /// For the reply to the message (§4.5.3.2.6).
    pub end: Duration,
    /// For the reply to QUIT, with which nothing is left to be lost; the RFC names no time.
    pub quit: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let minutes = |n: u64| Duration::from_secs(60 * n);
        Timeouts {
            greeting: minutes(5),
            command: minutes(5),
            data: minutes(2),
            block: minutes(3),
            end: minutes(10),
            quit: Duration::from_secs(10),
        }
    }
}

/// How a connection is led.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Our name, for EHLO.
    pub hostname: String,
    /// Whether TLS is started.
    pub start_tls: StartTls,
    /// Signs in with AUTH PLAIN, under TLS only; a server that does not offer it is left.
    pub credentials: Option<Credentials>,
    /// How long the server may take.
    pub timeouts: Timeouts,
}

impl Config {
    /// As one server speaks to another: TLS where it is offered, nobody signs in.
    pub fn new(hostname: &str) -> Self {
        Config {
            hostname: hostname.to_owned(),
            start_tls: StartTls::default(),
            credentials: None,
            timeouts: Timeouts::default(),
        }
    }
}

/// The envelope of a message that is handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Where notices go.
    pub from: ReversePath,
    /// Who it is for; the verdicts are in this order.
    pub recipients: Vec<ForwardPath>,
    /// Its length, for SIZE.
    pub size_bytes: u64,
    /// Whether it has bytes beyond ASCII.
    pub body: Body,
    /// Whether it, or its envelope, needs SMTPUTF8.
    pub utf8: bool,
    /// What is told of notices to a server that knows DSN.
    pub dsn: MailDsn,
    /// The same for each recipient; those beyond its end say nothing.
    pub recipient_dsn: Vec<RcptDsn>,
}

/// What the client has to say to its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Start TLS as the client, throw away what was received before, and tell [`Client::handle_tls_started`].
    StartTls,
    /// A message may be [sent](Client::send).
    Ready,
    /// The next piece of the message, by [`Client::body`], or its end, by [`Client::end_body`].
    WantsBody,
    /// What became of the message's recipients, in their order. Another message may be sent, unless `Closed` follows.
    Done(Vec<Verdict>),
    /// Close the connection. Says why, unless it was we who wanted to.
    Closed(Option<Verdict>),
}

/// See [`Client::poll_output`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this.
    Transmit(Bytes),
    /// Tell the owner.
    Event(Event),
    /// Nothing more for now: call [`Client::handle_timeout`] at this time, if there is one.
    Timeout(Option<Instant>),
}

/// The client's side of one connection.
///
/// Call [`poll_output`](Client::poll_output) until it says [`Output::Timeout`] after making the client and after each
/// `handle_` method or command. A reply over its limits (`limits::SMTP_REPLY_LINE_BYTES`, `limits::SMTP_REPLY_LINES`), or
/// one that nobody asked for, ends the connection.
#[derive(Debug)]
pub struct Client {
    config: Config,
    now: Instant,
    tls: bool,
    offers: Offers,
    signed_in: bool,
    phase: Phase,
    replies: ReplyReader,
    out: Vec<u8>,
    events: VecDeque<Event>,
    deadline: Option<Instant>,
    /// A transaction was begun and left, so that RSET comes before the next.
    unclean: bool,
}

/// What EHLO was answered with.
#[derive(Clone, Copy, Debug, Default)]
struct Offers {
    pipelining: bool,
    size: bool,
    /// What SIZE says, where it says a number.
    max_bytes: Option<u64>,
    eight_bit: bool,
    utf8: bool,
    dsn: bool,
    start_tls: bool,
    auth_plain: bool,
}

#[derive(Debug)]
enum Phase {
    Greeting,
    Ehlo,
    Helo,
    /// The reply to STARTTLS is awaited.
    StartTls,
    /// TLS is being started.
    Tls,
    Auth,
    Ready,
    /// The reply to RSET is awaited.
    Reset(Transfer),
    Envelope(Transfer),
    /// Pieces of the message go out.
    Body(Transfer, Stuffer),
    /// The reply to the message is awaited; with no recipient, it counts for nothing.
    End(Transfer),
    Quit,
    Closed,
}

/// A message under way.
#[derive(Debug)]
struct Transfer {
    message: Message,
    verdicts: Vec<Option<Verdict>>,
    accepted: usize,
    /// How many recipients were refused so far.
    refused: usize,
    mail_ok: bool,
    next: Next,
    awaited: VecDeque<Awaited>,
}

/// The next command of the envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Mail,
    Rcpt(usize),
    Data,
    Nothing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaited {
    Mail,
    Rcpt(usize),
    Data,
}

impl Client {
    /// A connection that was just made; `tls` when it is under TLS from its first byte.
    pub fn new(now: Instant, config: Config, tls: bool) -> Self {
        let deadline = Some(now + config.timeouts.greeting);
        Client {
            config,
            now,
            tls,
            offers: Offers::default(),
            signed_in: false,
            phase: Phase::Greeting,
            replies: ReplyReader::default(),
            out: Vec::new(),
            events: VecDeque::new(),
            deadline,
            unclean: false,
        }
    }

    /// Whether the connection is under TLS.
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// Whether the server takes messages with bytes beyond ASCII; what it does not take has to be
    /// [converted](Survey) first.
    pub fn takes_eight_bit(&self) -> bool {
        self.offers.eight_bit
    }

    /// Whether the server answers for notices itself once it has taken a message.
    pub fn knows_dsn(&self) -> bool {
        self.offers.dsn
    }

    /// Whether a message may be sent now.
    pub fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Ready)
    }

    /// Bytes came from the server.
    pub fn handle_input(&mut self, now: Instant, mut bytes: Bytes) {
        self.now = now;
        loop {
            // What came before TLS counts for nothing under it.
            //= https://www.rfc-editor.org/rfc/rfc3207#section-4.2
            if matches!(self.phase, Phase::Tls | Phase::Closed) {
                return;
            }
            match self.replies.read(&mut bytes) {
                Ok(Some(reply)) => self.handle_reply(&reply),
                Ok(None) => return,
                Err(BadReply::TooLong) => return self.give_up("4.5.0", "the server's reply is too long"),
                Err(BadReply::Syntax) => {
                    return self.give_up("4.5.0", "what the server said is no reply of SMTP");
                }
            }
        }
    }

    /// TLS is on: everything known of the server is asked again.
    //= https://www.rfc-editor.org/rfc/rfc3207#section-4.2
    pub fn handle_tls_started(&mut self, now: Instant) {
        self.now = now;
        if matches!(self.phase, Phase::Tls) {
            self.tls = true;
            self.replies.clear();
            self.offers = Offers::default();
            self.hello();
        }
    }

    /// The server has closed, or the connection broke.
    pub fn handle_closed(&mut self, now: Instant) {
        self.now = now;
        match self.phase {
            Phase::Closed => {}
            Phase::Quit => self.close(None),
            Phase::Tls => self.give_up("4.7.5", "TLS could not be started"),
            _ => {
                let text = format!("the connection was lost {}", self.whereabouts());
                self.give_up("4.4.2", &text);
            }
        }
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        if self.timeout().is_none_or(|at| at > now) {
            return;
        }
        match self.phase {
            Phase::Quit => self.close(None),
            _ => {
                let text = format!("nothing was heard in time {}", self.whereabouts());
                self.give_up("4.4.2", &text);
            }
        }
    }

    /// Hands a message over, once the client is [ready](Client::is_ready); at another time nothing happens.
    pub fn send(&mut self, now: Instant, message: Message) {
        self.now = now;
        if !self.is_ready() {
            return;
        }
        if let Some(verdict) = self.unsendable(&message) {
            let verdicts = vec![verdict; message.recipients.len()];
            self.events.push_back(Event::Done(verdicts));
            return;
        }
        let transfer = Transfer {
            verdicts: vec![None; message.recipients.len()],
            message,
            accepted: 0,
            refused: 0,
            mail_ok: false,
            next: Next::Mail,
            awaited: VecDeque::new(),
        };
        if std::mem::take(&mut self.unclean) {
            self.command("RSET");
            self.phase = Phase::Reset(transfer);
        } else {
            self.phase = Phase::Envelope(transfer);
            self.go_on();
        }
    }

    /// The next piece of the message that was asked for.
    pub fn body(&mut self, now: Instant, piece: &[u8]) {
        self.now = now;
        if let Phase::Body(_, stuffer) = &mut self.phase {
            let stuffed = stuffer.push(piece);
            self.out.extend_from_slice(&stuffed);
            self.events.push_back(Event::WantsBody);
            self.deadline = Some(now + self.config.timeouts.block);
        }
    }

    /// The message is whole.
    pub fn end_body(&mut self, now: Instant) {
        self.now = now;
        match std::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Body(transfer, stuffer) => {
                self.out.extend_from_slice(stuffer.end());
                self.deadline = Some(now + self.config.timeouts.end);
                self.phase = Phase::End(transfer);
            }
            other => self.phase = other,
        }
    }

    /// Ends the connection: politely when nothing is under way. What is under way is deferred.
    pub fn quit(&mut self, now: Instant) {
        self.now = now;
        match self.phase {
            Phase::Ready => {
                self.command("QUIT");
                self.deadline = Some(now + self.config.timeouts.quit);
                self.phase = Phase::Quit;
            }
            Phase::Quit | Phase::Closed => {}
            _ => self.give_up("4.3.2", "this server is being stopped"),
        }
    }

    /// What to do next. To be called until it says [`Output::Timeout`].
    pub fn poll_output(&mut self) -> Output {
        if !self.out.is_empty() {
            return Output::Transmit(std::mem::take(&mut self.out).into());
        }
        match self.events.pop_front() {
            Some(event) => Output::Event(event),
            None => Output::Timeout(self.timeout()),
        }
    }

    fn timeout(&self) -> Option<Instant> {
        match self.phase {
            Phase::Ready | Phase::Tls | Phase::Closed => None,
            _ => self.deadline,
        }
    }

    fn command(&mut self, line: &str) {
        self.out.extend_from_slice(line.as_bytes());
        self.out.extend_from_slice(b"\r\n");
        self.deadline = Some(self.now + self.config.timeouts.command);
    }

    fn handle_reply(&mut self, reply: &Reply) {
        if reply.code == 421 && !matches!(self.phase, Phase::Quit) {
            //= https://www.rfc-editor.org/rfc/rfc5321#section-3.8
            return self.fail(Verdict::of(reply));
        }
        let good = reply.code / 100 == 2;
        match std::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Greeting if good => self.hello(),
            Phase::Ehlo if good => self.learned(reply),
            //= https://www.rfc-editor.org/rfc/rfc5321#section-3.2
            Phase::Ehlo if reply.code / 100 == 5 => {
                self.command(&format!("HELO {}", self.config.hostname));
                self.phase = Phase::Helo;
            }
            Phase::Helo if good => self.introduced(),
            Phase::StartTls if reply.code == 220 => {
                self.phase = Phase::Tls;
                self.events.push_back(Event::StartTls);
            }
            Phase::Auth if reply.code == 235 => {
                self.signed_in = true;
                self.introduced();
            }
            Phase::StartTls if self.config.start_tls == StartTls::Opportunistic => self.ready(),
            // Whatever it says, no message was refused yet: another time, or another server, may do better.
            Phase::Greeting | Phase::Ehlo | Phase::Helo | Phase::StartTls | Phase::Auth => {
                self.fail(Verdict::of(reply).softened());
            }
            Phase::Reset(transfer) if good => {
                self.phase = Phase::Envelope(transfer);
                self.go_on();
            }
            Phase::Envelope(transfer) => self.envelope_reply(transfer, reply),
            Phase::End(transfer) => self.end_reply(transfer, reply),
            // It does not wait for the end: what it says counts, but where it stands is unknown from here on.
            Phase::Reset(transfer) | Phase::Body(transfer, _) => {
                self.phase = Phase::End(transfer);
                let verdict = Verdict::of(reply);
                let refused = verdict.fate != Fate::Delivered;
                self.fail(if refused { verdict } else { verdict.softened() });
            }
            Phase::Quit => self.close(None),
            Phase::Ready => {
                self.phase = Phase::Ready;
                self.give_up("4.5.0", "the server said what nobody had asked");
            }
            Phase::Tls | Phase::Closed => {}
        }
    }

    fn hello(&mut self) {
        self.command(&format!("EHLO {}", self.config.hostname));
        self.phase = Phase::Ehlo;
    }

    /// Reads what EHLO was answered with.
    //= https://www.rfc-editor.org/rfc/rfc5321#section-4.1.1.1
    fn learned(&mut self, reply: &Reply) {
        let mut offers = Offers::default();
        for line in &reply.lines[1..] {
            let mut words = line.split_ascii_whitespace();
            let keyword = words.next().unwrap_or_default().to_ascii_uppercase();
            match keyword.as_str() {
                "PIPELINING" => offers.pipelining = true,
                "8BITMIME" => offers.eight_bit = true,
                "SMTPUTF8" => offers.utf8 = true,
                "DSN" => offers.dsn = true,
                "STARTTLS" => offers.start_tls = true,
                "SIZE" => {
                    offers.size = true;
                    //= https://www.rfc-editor.org/rfc/rfc1870#section-4
                    offers.max_bytes = words.next().and_then(|n| n.parse().ok()).filter(|n| *n > 0);
                }
                "AUTH" => offers.auth_plain = words.any(|word| word.eq_ignore_ascii_case("PLAIN")),
                _ => {}
            }
        }
        self.offers = offers;
        self.introduced();
    }

    /// Both know each other: what comes before the first message.
    fn introduced(&mut self) {
        if !self.tls && self.config.start_tls != StartTls::Never {
            if self.offers.start_tls {
                self.command("STARTTLS");
                self.phase = Phase::StartTls;
                return;
            }
            if self.config.start_tls == StartTls::Required {
                return self.give_up("4.7.10", "the server does not offer TLS, which is required");
            }
        }
        match &self.config.credentials {
            Some(_) if self.signed_in => self.ready(),
            //= https://www.rfc-editor.org/rfc/rfc4954#section-4
            Some(_) if !self.tls || !self.offers.auth_plain => {
                self.give_up("4.7.0", "the server does not offer AUTH PLAIN under TLS");
            }
            //= https://www.rfc-editor.org/rfc/rfc4616#section-2
            Some(Credentials { user, password }) => {
                let response = base64::encode(format!("\0{user}\0{password}").as_bytes());
                self.command(&format!("AUTH PLAIN {response}"));
                self.phase = Phase::Auth;
            }
            None => self.ready(),
        }
    }

    fn ready(&mut self) {
        self.phase = Phase::Ready;
        self.events.push_back(Event::Ready);
    }

    /// Why this server cannot take this message, whoever it is for.
    fn unsendable(&self, message: &Message) -> Option<Verdict> {
        //= https://www.rfc-editor.org/rfc/rfc1870#section-6.1
        if let Some(most) = self.offers.max_bytes.filter(|most| message.size_bytes > *most) {
            let text = format!(
                "the message has {} bytes, and the server takes {most}",
                message.size_bytes
            );
            return Some(Verdict::failed("5.3.4", text));
        }
        //= https://www.rfc-editor.org/rfc/rfc6531#section-3.2
        if message.utf8 && !self.offers.utf8 {
            return Some(Verdict::failed(
                "5.6.7",
                "the server does not take internationalized addresses and headers",
            ));
        }
        //= https://www.rfc-editor.org/rfc/rfc6152#section-3
        if message.body == Body::EightBit && !self.offers.eight_bit {
            return Some(Verdict::failed(
                "5.6.3",
                "the server does not take 8-bit messages",
            ));
        }
        None
    }

    /// Sends commands of the envelope as far as they may be.
    fn go_on(&mut self) {
        let Phase::Envelope(transfer) = &mut self.phase else {
            return;
        };
        let mut lines = Vec::new();
        //= https://www.rfc-editor.org/rfc/rfc2920#section-3.1
        let window = if self.offers.pipelining {
            limits::SMTP_PIPELINE
        } else {
            1
        };
        while transfer.awaited.len() < window {
            let message = &transfer.message;
            let (line, awaited) = match transfer.next {
                Next::Mail => (mail_command(message, self.offers), Awaited::Mail),
                Next::Rcpt(i) => (rcpt_command(message, i, self.offers), Awaited::Rcpt(i)),
                // All that were asked are refused: nothing is to be said.
                Next::Data if transfer.refused == message.recipients.len() => {
                    transfer.next = Next::Nothing;
                    continue;
                }
                Next::Data => ("DATA".to_owned(), Awaited::Data),
                Next::Nothing => break,
            };
            lines.push(line);
            transfer.awaited.push_back(awaited);
            transfer.next = match transfer.next {
                Next::Mail => Next::Rcpt(0),
                Next::Rcpt(i) => Next::Rcpt(i + 1),
                Next::Data | Next::Nothing => Next::Nothing,
            };
            if transfer.next == Next::Rcpt(message.recipients.len()) {
                transfer.next = Next::Data;
            }
        }
        let awaited = transfer.awaited.front().copied();
        for line in lines {
            self.command(&line);
        }
        match awaited {
            Some(Awaited::Data) => self.deadline = Some(self.now + self.config.timeouts.data),
            Some(_) => self.deadline = Some(self.now + self.config.timeouts.command),
            None => self.transfer_over(),
        }
    }

    fn envelope_reply(&mut self, mut transfer: Transfer, reply: &Reply) {
        let awaited = transfer.awaited.pop_front();
        let good = reply.code / 100 == 2;
        match awaited {
            Some(Awaited::Mail) if good => transfer.mail_ok = true,
            Some(Awaited::Mail) => {
                transfer.refuse_all(&Verdict::of(reply));
                transfer.next = Next::Nothing;
            }
            Some(Awaited::Rcpt(_)) if !transfer.mail_ok => {}
            Some(Awaited::Rcpt(_)) if good => transfer.accepted += 1,
            Some(Awaited::Rcpt(i)) => {
                transfer.refused += 1;
                transfer.verdicts[i] = Some(Verdict::of(reply));
            }
            Some(Awaited::Data) if reply.code == 354 && transfer.accepted > 0 => {
                self.deadline = Some(self.now + self.config.timeouts.block);
                self.phase = Phase::Body(transfer, Stuffer::new());
                self.events.push_back(Event::WantsBody);
                return;
            }
            // It wants the message that nobody is to get: there is no way back but an empty one.
            //= https://www.rfc-editor.org/rfc/rfc2920#section-3.1
            Some(Awaited::Data) if reply.code == 354 => {
                self.out.extend_from_slice(Stuffer::new().end());
                self.deadline = Some(self.now + self.config.timeouts.end);
                self.phase = Phase::End(transfer);
                return;
            }
            Some(Awaited::Data) if good => {
                self.phase = Phase::End(transfer);
                return self.give_up("4.5.0", "the server answered DATA with what is not 354");
            }
            Some(Awaited::Data) => transfer.refuse_all(&Verdict::of(reply)),
            None => {
                self.phase = Phase::End(transfer);
                return self.give_up("4.5.0", "the server said what nobody had asked");
            }
        }
        self.phase = Phase::Envelope(transfer);
        self.go_on();
    }

    fn end_reply(&mut self, mut transfer: Transfer, reply: &Reply) {
        transfer.refuse_all(&match Verdict::of(reply) {
            // There is no intermediate reply to a message.
            verdict if reply.code / 100 == 3 => verdict.softened(),
            verdict => verdict,
        });
        // Whatever it said, the transaction is over.
        //= https://www.rfc-editor.org/rfc/rfc5321#section-4.1.1.4
        transfer.mail_ok = false;
        self.phase = Phase::Envelope(transfer);
        self.transfer_over();
    }

    /// Tells the verdicts.
    fn transfer_over(&mut self) {
        if let Phase::Envelope(transfer) = std::mem::replace(&mut self.phase, Phase::Ready) {
            self.unclean = transfer.mail_ok;
            self.events.push_back(Event::Done(transfer.verdicts()));
        }
    }

    fn give_up(&mut self, status: &str, text: &str) {
        self.fail(Verdict::deferred(status, text));
    }

    /// Ends the connection; whoever has no verdict gets this one.
    fn fail(&mut self, verdict: Verdict) {
        let transfer = match std::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Reset(transfer)
            | Phase::Envelope(transfer)
            | Phase::Body(transfer, _)
            | Phase::End(transfer) => Some(transfer),
            _ => None,
        };
        // A piece that was asked for is no longer wanted.
        self.events.retain(|event| *event != Event::WantsBody);
        if let Some(mut transfer) = transfer {
            transfer.refuse_all(&verdict);
            self.events.push_back(Event::Done(transfer.verdicts()));
        }
        self.close(Some(verdict.softened()));
    }

    fn close(&mut self, why: Option<Verdict>) {
        self.phase = Phase::Closed;
        self.out.clear();
        self.events.push_back(Event::Closed(why));
    }

    fn whereabouts(&self) -> &'static str {
        match &self.phase {
            Phase::Greeting => "before the greeting",
            Phase::Ehlo | Phase::Helo => "after EHLO",
            Phase::StartTls | Phase::Tls => "after STARTTLS",
            Phase::Auth => "after AUTH",
            Phase::Ready | Phase::Reset(_) => "between two messages",
            Phase::Envelope(transfer) => match transfer.awaited.front() {
                Some(Awaited::Mail) | None => "after MAIL",
                Some(Awaited::Rcpt(_)) => "after RCPT",
                Some(Awaited::Data) => "after DATA",
            },
            Phase::Body(..) => "in the middle of the message",
            Phase::End(_) => "after the message",
            Phase::Quit | Phase::Closed => "after QUIT",
        }
    }
}

impl Transfer {
    /// Whoever has no verdict gets this one.
    fn refuse_all(&mut self, verdict: &Verdict) {
        for one in self.verdicts.iter_mut().filter(|one| one.is_none()) {
            *one = Some(verdict.clone());
        }
        self.refused = self.message.recipients.len();
    }

    fn verdicts(self) -> Vec<Verdict> {
        let untold = || Verdict::deferred("4.5.0", "the server did not say what became of it");
        self.verdicts
            .into_iter()
            .map(|verdict| verdict.unwrap_or_else(untold))
            .collect()
    }
}

fn mail_command(message: &Message, offers: Offers) -> String {
    let mut line = format!("MAIL FROM:{}", message.from);
    //= https://www.rfc-editor.org/rfc/rfc1870#section-5
    if offers.size {
        line += &format!(" SIZE={}", message.size_bytes);
    }
    //= https://www.rfc-editor.org/rfc/rfc6152#section-2
    if message.body == Body::EightBit {
        line += " BODY=8BITMIME";
    }
    //= https://www.rfc-editor.org/rfc/rfc6531#section-3.4
    if message.utf8 {
        line += " SMTPUTF8";
    }
    if offers.dsn {
        line += &message.dsn.to_string();
    }
    line
}

//= https://www.rfc-editor.org/rfc/rfc3461#section-5.2.1
fn rcpt_command(message: &Message, i: usize, offers: Offers) -> String {
    let mut line = format!("RCPT TO:{}", message.recipients[i]);
    if let Some(dsn) = message.recipient_dsn.get(i).filter(|_| offers.dsn) {
        //= https://www.rfc-editor.org/rfc/rfc6533#section-3
        line += &match message.utf8 {
            true => dsn.to_string(),
            false => utf8_address_in_ascii(&dsn.to_string()),
        };
    }
    line
}
