//! One connection of a client, as a machine.

mod auth;
mod commands;
mod content;
#[cfg(test)]
mod tests;

use crate::dsn::{MailDsn, RcptDsn};
use crate::path::{ForwardPath, ReversePath};
use crate::reply::{Refusal, Reply, write_line};
use crate::trace::Protocol;
use bytes::Bytes;
use content::{Chunks, Phase as ContentPhase};
use ringpost_auth::sasl;
use ringpost_base::{Instant, Rng, limits};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Which of the three services a listener gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Port 25: takes mail for our own recipients from anybody; nobody signs in here.
    Mx,
    /// Port 587: STARTTLS, then AUTH, then anything else (RFC 6409).
    Submission,
    /// Port 465: the same under TLS from the first byte (RFC 8314 §3.3).
    Submissions,
    /// LMTP (RFC 2033), for a mail server of the same house that has looked at what it brings: each recipient has its own
    /// answer to the message.
    Lmtp,
}

impl Role {
    fn greeting(self) -> &'static str {
        match self {
            Role::Mx | Role::Submission | Role::Submissions => "ESMTP",
            Role::Lmtp => "LMTP",
        }
    }
}

/// How long the peer may take (RFC 5321 §4.5.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For a whole command line, from the reply before it: at least five minutes (§4.5.3.2.7). The bytes of a line that
    /// trickle in do not prolong it.
    pub command: Duration,
    /// Between two pieces of a message: at least three minutes (§4.5.3.2.5).
    pub data: Duration,
    /// For the rest of a message when the server stops.
    pub farewell: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            command: Duration::from_secs(300),
            data: Duration::from_secs(300),
            farewell: Duration::from_secs(5),
        }
    }
}

/// What one connection may do before it is closed with 421 (RFC 5321 §3.8): the client may come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Messages that are taken.
    pub messages: u32,
    /// Recipients that are asked for, over all its messages.
    pub recipients: u32,
    /// Commands that are refused with 5xx since its last message that was taken. From half of them on each answer is held
    /// back by [`TARPIT`], so that guessing addresses takes time.
    pub errors: u32,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds {
            messages: limits::SMTP_MESSAGES,
            recipients: limits::SMTP_SESSION_RECIPIENTS,
            errors: limits::SMTP_ERRORS,
        }
    }
}

impl Bounds {
    /// For a peer that is of the house.
    pub const NONE: Bounds = Bounds {
        messages: u32::MAX,
        recipients: u32::MAX,
        errors: u32::MAX,
    };
}

/// How long the answer to an error of a client that makes many is held back.
pub const TARPIT: Duration = Duration::from_secs(1);

/// What all sessions of a listener share.
#[derive(Clone, Debug)]
pub struct Config {
    /// Our name: greeting, EHLO and trace lines.
    pub hostname: String,
    /// The service.
    pub role: Role,
    /// Announced by SIZE.
    pub max_message_bytes: u64,
    /// Recipients of one message; at least 100 (RFC 5321 §4.5.3.1.8).
    pub max_recipients: usize,
    /// What one connection may do.
    pub bounds: Bounds,
    /// Whether a certificate is there, so that STARTTLS can be offered.
    pub starttls: bool,
    /// What AUTH offers; nothing on port 25.
    pub mechanisms: Vec<sasl::Mechanism>,
    /// Whether passwords may pass without TLS: only for a network that nobody else listens on.
    pub plaintext_auth: bool,
    /// What SCRAM makes up for users that do not exist.
    pub decoy: sasl::DecoyKey,
    /// How long the peer may take.
    pub timeouts: Timeouts,
}

impl Config {
    /// The usual settings of a role: with STARTTLS, and AUTH by SCRAM-SHA-256 (with binding, where TLS allows it), PLAIN and LOGIN.
    pub fn new(hostname: &str, role: Role) -> Self {
        let mechanisms = match role {
            Role::Mx | Role::Lmtp => Vec::new(),
            Role::Submission | Role::Submissions => vec![
                sasl::Mechanism::ScramSha256Plus,
                sasl::Mechanism::ScramSha256,
                sasl::Mechanism::Plain,
                sasl::Mechanism::Login,
            ],
        };
        Config {
            hostname: hostname.to_owned(),
            role,
            max_message_bytes: limits::MESSAGE_BYTES,
            max_recipients: limits::SMTP_RECIPIENTS,
            bounds: match role {
                Role::Lmtp => Bounds::NONE,
                _ => Bounds::default(),
            },
            starttls: role != Role::Lmtp,
            mechanisms,
            plaintext_auth: false,
            decoy: sasl::DecoyKey::new([0; 32], sasl::DEFAULT_ITERATIONS),
            timeouts: Timeouts::default(),
        }
    }
}

/// MAIL's BODY parameter (RFC 6152 §3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Body {
    /// Not said, or 7BIT.
    #[default]
    SevenBit,
    /// 8BITMIME
    EightBit,
}

impl Body {
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        if name.eq_ignore_ascii_case("7BIT") {
            Some(Body::SevenBit)
        } else if name.eq_ignore_ascii_case("8BITMIME") {
            Some(Body::EightBit)
        } else {
            None
        }
    }
}

/// Which parameters a command may have now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extensions {
    /// The client said EHLO.
    pub(crate) extended: bool,
    /// AUTH is offered by this listener.
    pub(crate) auth: bool,
    /// The transaction's MAIL said SMTPUTF8.
    pub(crate) utf8: bool,
}

/// The envelope of the message being taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// Where notices about it go.
    pub from: ReversePath,
    /// Who was accepted, in order; at most [`Config::max_recipients`].
    pub recipients: Vec<ForwardPath>,
    /// What MAIL's SIZE promised, in bytes.
    pub declared_size_bytes: Option<u64>,
    /// MAIL's BODY.
    pub body: Body,
    /// MAIL said SMTPUTF8.
    pub utf8: bool,
    /// What MAIL says about notices.
    pub dsn: MailDsn,
}

/// Names one question of one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QuestionId(u64);

/// What the session needs to know before it goes on. Commands behind it wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Is this password right? [`Answer::SignedIn`], [`Answer::Denied`], or [`Answer::Refuse`] when that cannot be told now.
    CheckPassword(sasl::Password),
    /// This user's SCRAM keys: [`Answer::Keys`].
    FetchKeys {
        /// The user, as sent.
        user: String,
    },
    /// The client has proven to be `user` and wants to act as `authzid`; answers as for a password.
    Authorize {
        /// Who it wants to act as, where it says so.
        authzid: Option<String>,
        /// Who it is.
        user: String,
    },
    /// The client did not prove who it is: [`Answer::Denied`], as late as for a wrong password.
    Denied,
    /// May this client send as `from`? [`Answer::Yes`] or [`Answer::Refuse`].
    Sender {
        /// Where notices go.
        from: ReversePath,
        /// How large the message will be, where the client says so.
        size_bytes: Option<u64>,
    },
    /// Is this recipient ours, and has it room? [`Answer::Yes`] or [`Answer::Refuse`].
    Recipient(ForwardPath, RcptDsn),
    /// The message of [`Session::transaction`] begins. [`Answer::Yes`] or [`Answer::Refuse`]; after the former there come
    /// [`Event::Body`] and then either [`Question::Finish`] or [`Event::Abort`].
    Begin,
    /// The message is whole. [`Answer::Stored`] when it is on stable storage for every recipient (RFC 5321 §6.1), or
    /// [`Answer::Refuse`] and nobody has it; with [`Role::Lmtp`] [`Answer::StoredFor`].
    Finish {
        /// How many bytes [`Event::Body`] brought.
        size_bytes: u64,
    },
}

/// What a question is answered with.
#[derive(Clone, Debug)]
pub enum Answer {
    /// It may be.
    Yes,
    /// It may not, and why.
    Refuse(Refusal),
    /// It may not, since the client's address is in a block list of the DNS that is gone by: 550 5.7.1. To a recipient alone.
    Listed {
        /// The list, where whoever is in it by mistake can have that mended.
        zone: String,
    },
    /// The password is right.
    SignedIn,
    /// There is no such user, or the password is another.
    Denied,
    /// SCRAM keys; none for a user that does not exist.
    Keys(Option<sasl::ScramKeys>),
    /// The message is ours to look after, under this name (letters, digits, hyphens; shown to the client).
    Stored {
        /// The name.
        id: String,
    },
    /// The message is what this says for each recipient of [`Session::transaction`], in order: theirs under `id`, or refused.
    /// With [`Role::Lmtp`] alone.
    StoredFor {
        /// The name.
        id: String,
        /// A verdict for each.
        verdicts: Vec<Result<(), Refusal>>,
    },
}

/// What the session has to say to its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Answer this with [`Session::handle_answer`].
    Question {
        /// To be given back with the answer.
        id: QuestionId,
        /// What is asked.
        question: Question,
    },
    /// The next piece of the message, with its dots un-stuffed.
    Body(Bytes),
    /// The message that began will not be: forget what came of it.
    Abort,
    /// Start TLS as the server, throw away what was received before, and tell [`Session::handle_tls_started`].
    StartTls,
    /// Close the connection, once everything before this was sent.
    Close,
}

/// Why the server ends a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It stops.
    Stop,
    /// The account that signed in is gone, or has another password.
    LoggedOut,
}

/// See [`Session::poll_output`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this.
    Transmit(Bytes),
    /// Tell the owner.
    Event(Event),
    /// Nothing more for now: call [`Session::handle_timeout`] at this time, if there is one.
    Timeout(Option<Instant>),
}

// Who ends lines otherwise does not agree with us on where a line ends: nothing behind it can be trusted.
//= https://www.rfc-editor.org/rfc/rfc5321#section-2.3.8
const SHUTTING_DOWN: Reply = Reply::new(421, "4.3.2", "Shutting down");
const BARE_LF: Reply = Reply::new(500, "5.5.2", "Only CRLF ends a line");

/// Replies gather to this many bytes before they are sent though input waits.
const FLUSH_BYTES: usize = 4 * 1024;

/// The server's side of one connection.
///
/// Call [`poll_output`](Session::poll_output) until it says [`Output::Timeout`] after making the session and after each
/// `handle_` method or command, and read from the connection only while [`wants_input`](Session::wants_input).
///
/// Only CRLF ends a line. A line over [`limits::SMTP_LINE_BYTES`] gets 500; input that was given against `wants_input`
/// beyond [`limits::SESSION_BYTES`] closes the connection; so do [`Bounds`],
/// [`limits::SMTP_AUTH_FAILURES`] failed passwords, and [`limits::SMTP_IDLE_COMMANDS`] commands that lead nowhere.
#[derive(Debug)]
pub struct Session {
    config: Arc<Config>,
    rng: Rng,
    now: Instant,
    tls: bool,
    hello: Option<Hello>,
    bindings: sasl::ChannelBindings,
    signed_in: bool,
    transaction: Option<Transaction>,
    /// The message so far when it comes by BDAT.
    chunks: Chunks,
    phase: Phase,
    /// What came and was not looked at.
    input: Bytes,
    /// The beginning of a line whose end has not come.
    partial: Vec<u8>,
    out: String,
    events: VecDeque<Event>,
    next_id: u64,
    deadline: Instant,
    /// Until when the last answer is held back, and all that would follow it.
    held_until: Option<Instant>,
    errors: u32,
    messages: u32,
    recipients: u32,
    auth_failures: u32,
    idle_commands: u32,
    ending: Option<Ending>,
    /// When a message that is under way is waited for no longer, since the server stops.
    farewell: Option<Instant>,
}

/// How the client presented itself.
#[derive(Clone, Debug)]
struct Hello {
    name: String,
    extended: bool,
}

#[derive(Debug)]
enum Phase {
    /// A command line is awaited.
    Command,
    /// The rest of a line that was too long is thrown away.
    SkipLine { after_cr: bool },
    /// A response of AUTH's exchange is awaited.
    Auth(sasl::Server),
    /// The owner's answer is awaited.
    Asked { id: QuestionId, waiting: Waiting },
    /// A message comes in.
    Content(ContentPhase),
    /// TLS is being started.
    Tls,
    /// Over.
    Closed,
}

/// What goes on when the answer comes.
#[derive(Debug)]
enum Waiting {
    Password,
    Keys(sasl::Server),
    Sender(Transaction),
    Recipient(ForwardPath),
    BeginData,
    BeginBdat { size_bytes: u64, last: bool },
    Finish,
}

impl Session {
    /// A connection that was just accepted; `tls` when it is under TLS from its first byte. The greeting is the first output.
    pub fn new(now: Instant, config: Arc<Config>, tls: bool, rng: Rng) -> Self {
        let deadline = now + config.timeouts.command;
        let mut out = String::new();
        write_line(
            &mut out,
            220,
            true,
            format_args!("{} {} Ringpost", config.hostname, config.role.greeting()),
        );
        Session {
            config,
            rng,
            now,
            tls,
            hello: None,
            bindings: sasl::ChannelBindings::default(),
            signed_in: false,
            transaction: None,
            chunks: Chunks::None,
            phase: Phase::Command,
            input: Bytes::new(),
            partial: Vec::new(),
            out,
            events: VecDeque::new(),
            next_id: 0,
            deadline,
            held_until: None,
            errors: 0,
            messages: 0,
            recipients: 0,
            auth_failures: 0,
            idle_commands: 0,
            ending: None,
            farewell: None,
        }
    }

    /// Whether to read more from the connection.
    pub fn wants_input(&self) -> bool {
        let listens = matches!(
            self.phase,
            Phase::Command | Phase::SkipLine { .. } | Phase::Auth(_) | Phase::Content(_)
        );
        listens && self.input.is_empty() && self.held_until.is_none()
    }

    /// The envelope of the message that is being taken.
    pub fn transaction(&self) -> Option<&Transaction> {
        self.transaction.as_ref()
    }

    /// What the client called itself, once it did.
    pub fn client_name(&self) -> Option<&str> {
        self.hello.as_ref().map(|hello| hello.name.as_str())
    }

    /// How messages come over this session, for their trace line.
    pub fn protocol(&self) -> Protocol {
        Protocol {
            extended: self.hello.as_ref().is_some_and(|hello| hello.extended),
            local: self.config.role == Role::Lmtp,
            tls: self.tls,
            authenticated: self.signed_in,
            utf8: self.transaction.as_ref().is_some_and(|t| t.utf8),
        }
    }

    /// Bytes came from the peer.
    pub fn handle_input(&mut self, now: Instant, bytes: Bytes) {
        self.now = now;
        match self.phase {
            // What was sent before TLS counts for nothing under it.
            //= https://www.rfc-editor.org/rfc/rfc3207#section-4.2
            Phase::Tls | Phase::Closed => return,
            Phase::Content(_) => self.deadline = now + self.config.timeouts.data,
            _ => {}
        }
        if self.input.is_empty() {
            self.input = bytes;
        } else if self.input.len() + bytes.len() <= limits::SESSION_BYTES {
            self.input = [&self.input[..], &bytes[..]].concat().into();
        } else {
            self.close_with(Reply::new(421, "4.7.0", "Too much at once"));
        }
    }

    /// The owner's answer to a question. One to a question that no longer stands is ignored.
    pub fn handle_answer(&mut self, now: Instant, id: QuestionId, answer: Answer) {
        self.now = now;
        match std::mem::replace(&mut self.phase, Phase::Command) {
            Phase::Asked { id: asked, waiting } if asked == id => {
                self.deadline = now + self.config.timeouts.command;
                self.go_on(waiting, answer);
            }
            other => self.phase = other,
        }
    }

    /// TLS is on. The state is that of a new connection, but without a greeting.
    //= https://www.rfc-editor.org/rfc/rfc3207#section-4.2
    pub fn handle_tls_started(&mut self, now: Instant) {
        if !matches!(self.phase, Phase::Tls) {
            return;
        }
        self.now = now;
        self.deadline = now + self.config.timeouts.command;
        self.tls = true;
        self.hello = None;
        self.phase = Phase::Command;
    }

    /// What the TLS of this connection can be bound to; to be told when it is on, before more input.
    pub fn handle_bindings(&mut self, bindings: sasl::ChannelBindings) {
        self.bindings = bindings;
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        if let Some(until) = self.held_until {
            if until <= now {
                self.held_until = None;
                self.deadline = now + self.config.timeouts.command;
            }
        } else if self.timeout().is_some_and(|at| at <= now) {
            //= https://www.rfc-editor.org/rfc/rfc5321#section-3.8
            self.close_with(match self.farewell.filter(|at| *at <= now) {
                Some(_) => SHUTTING_DOWN,
                None => Reply::new(421, "4.4.2", "Timeout, closing"),
            });
        }
    }

    /// Ends the session politely: at once when a command is awaited, otherwise when what is under way has been answered. The
    /// rest of a message is waited for no longer than [`Timeouts::farewell`], where the server stops.
    pub fn shut_down(&mut self, now: Instant, why: Ending) {
        self.now = now;
        self.ending = self.ending.or(Some(why));
        if why == Ending::Stop {
            self.farewell = self.farewell.or(Some(now + self.config.timeouts.farewell));
        }
        self.held_until = None;
    }

    /// What to do next. To be called until it says [`Output::Timeout`].
    pub fn poll_output(&mut self) -> Output {
        while self.events.is_empty()
            && self.out.len() < FLUSH_BYTES
            && self.held_until.is_none()
            && self.step()
        {}
        if self.held_until.is_some() {
            return match self.events.pop_front() {
                Some(event) => Output::Event(event),
                None => Output::Timeout(self.held_until),
            };
        }
        let unheard = match self.events.front() {
            // Everything that the peer should see first.
            Some(Event::StartTls | Event::Close) => true,
            Some(Event::Question { question, .. }) => matches!(question, Question::Finish { .. }),
            Some(Event::Body(_) | Event::Abort) => false,
            None => true,
        };
        if !self.out.is_empty() && (unheard || self.out.len() >= FLUSH_BYTES) {
            // Replies to what came in one piece leave in one piece.
            //= https://www.rfc-editor.org/rfc/rfc2920#section-3.2
            return Output::Transmit(std::mem::take(&mut self.out).into());
        }
        match self.events.pop_front() {
            Some(event) => Output::Event(event),
            None => Output::Timeout(self.timeout()),
        }
    }

    fn timeout(&self) -> Option<Instant> {
        match self.phase {
            Phase::Content(_) => Some(self.farewell.map_or(self.deadline, |at| at.min(self.deadline))),
            Phase::Command | Phase::SkipLine { .. } | Phase::Auth(_) => Some(self.deadline),
            Phase::Asked { .. } | Phase::Tls | Phase::Closed => None,
        }
    }

    /// Does one thing with what has come; false when there is nothing to do.
    fn step(&mut self) -> bool {
        if let (Phase::Command | Phase::SkipLine { .. } | Phase::Auth(_), Some(why)) =
            (&self.phase, self.ending)
        {
            self.close_with(match why {
                Ending::Stop => SHUTTING_DOWN,
                Ending::LoggedOut => Reply::new(421, "4.7.0", "The login is no longer valid, log in again"),
            });
            return true;
        }
        match &self.phase {
            Phase::Command | Phase::Auth(_) => match self.next_line() {
                Some(line) => {
                    self.deadline = self.now + self.config.timeouts.command;
                    self.handle_line(&line);
                    true
                }
                // A line that was too long may have others behind it.
                None => !self.input.is_empty(),
            },
            Phase::SkipLine { after_cr } => self.skip_line(*after_cr),
            Phase::Content(_) => self.read_content(),
            Phase::Asked { .. } | Phase::Tls | Phase::Closed => false,
        }
    }

    /// A line without its CRLF, once it has come whole.
    fn next_line(&mut self) -> Option<Bytes> {
        let end = self.input.iter().position(|b| *b == b'\n');
        let piece = self.input.split_to(end.map_or(self.input.len(), |i| i + 1));
        if self.partial.len() + piece.len() > limits::SMTP_LINE_BYTES {
            let text = piece.strip_suffix(b"\n").unwrap_or(&piece);
            let after_cr = text.last().or(self.partial.last()) == Some(&b'\r');
            self.partial = Vec::new();
            self.line_too_long(end.is_some(), after_cr);
            return None;
        }
        if end.is_none() {
            self.partial.extend_from_slice(&piece);
            return None;
        }
        let line = if self.partial.is_empty() {
            piece
        } else {
            self.partial.extend_from_slice(&piece);
            std::mem::take(&mut self.partial).into()
        };
        match line.strip_suffix(b"\r\n") {
            Some(text) => Some(line.slice_ref(text)),
            None => {
                self.close_with(BARE_LF);
                None
            }
        }
    }

    /// Throws away what has come of a line; false when that was all there is.
    fn skip_line(&mut self, after_cr: bool) -> bool {
        let end = self.input.iter().position(|b| *b == b'\n');
        let piece = self.input.split_to(end.map_or(self.input.len(), |i| i + 1));
        let text = piece.strip_suffix(b"\n").unwrap_or(&piece);
        let after_cr = text.last().map_or(after_cr, |b| *b == b'\r');
        match end {
            Some(_) if after_cr => self.phase = Phase::Command,
            Some(_) => self.close_with(BARE_LF),
            None => self.phase = Phase::SkipLine { after_cr },
        }
        end.is_some()
    }

    fn line_too_long(&mut self, ended: bool, after_cr: bool) {
        let next = if ended {
            Phase::Command
        } else {
            Phase::SkipLine { after_cr }
        };
        let reply = match std::mem::replace(&mut self.phase, next) {
            //= https://www.rfc-editor.org/rfc/rfc4954#section-4
            Phase::Auth(_) => Reply::new(500, "5.5.6", "Authentication exchange line too long"),
            _ => Reply::new(500, "5.5.2", "Line too long"),
        };
        self.refuse(reply);
        if ended && !after_cr {
            self.close_with(BARE_LF);
        }
    }

    fn ask(&mut self, question: Question, waiting: Waiting) {
        self.next_id += 1;
        let id = QuestionId(self.next_id);
        self.events.push_back(Event::Question { id, question });
        self.phase = Phase::Asked { id, waiting };
    }

    fn reply(&mut self, reply: Reply) {
        reply.write(&mut self.out);
    }

    /// A reply that counts against the client when it says that the client is wrong.
    fn refuse(&mut self, reply: Reply) {
        self.reply(reply);
        self.count_refusal(reply.code);
    }

    fn count_refusal(&mut self, code: u16) {
        if code >= 500 {
            let most = self.config.bounds.errors;
            self.errors += 1;
            if self.errors >= most {
                self.close_with(Reply::new(421, "4.7.0", "Too many errors, closing"));
            } else if self.errors > most / 2 && !matches!(self.phase, Phase::Closed) {
                self.held_until = Some(self.now + TARPIT);
            }
        }
    }

    fn close_with(&mut self, reply: Reply) {
        if !matches!(self.phase, Phase::Closed) {
            self.reply(reply);
            self.close();
        }
    }

    fn close(&mut self) {
        self.end_transaction();
        self.held_until = None;
        self.phase = Phase::Closed;
        self.input.clear();
        self.partial = Vec::new();
        self.events.push_back(Event::Close);
    }

    /// Forgets the envelope, and has the owner forget the message if one has begun.
    fn end_transaction(&mut self) {
        let begun = match &self.phase {
            Phase::Content(content) => content.is_open(),
            _ => false,
        };
        if begun || self.chunks.is_open() {
            self.events.push_back(Event::Abort);
        }
        self.chunks = Chunks::None;
        self.transaction = None;
    }
}
