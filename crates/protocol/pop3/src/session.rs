//! The session machine.

mod login;
mod maildrop;
#[cfg(test)]
mod tests;

use crate::command::{self, Command};
use crate::input::{Input, Line};
use crate::question::{Answer, Ask, Question, QuestionId, Refusal, Uid};
use crate::transform::Transform;
use bytes::{Bytes, BytesMut};
use login::SaslTask;
use maildrop::{Listing, Opened};
use ringpost_auth::sasl::{ChannelBindings, DecoyKey};
use ringpost_base::{Instant, Rng, limits};
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What holds for all sessions of a listener.
#[derive(Clone, Debug)]
pub struct Config {
    /// The server's name, for the greeting. An angle bracket in it would look like an offer of APOP.
    pub server_name: String,
    /// Whether passwords are taken without TLS.
    pub allow_plaintext: bool,
    /// How long a client may be silent once it has logged in: at least 10 minutes (RFC 1939 §3).
    pub autologout: Duration,
    /// How long a client may take to log in, whatever it says meanwhile.
    pub login_timeout: Duration,
    /// For SCRAM-SHA-256, which is offered when it is there.
    pub scram_decoy: Option<DecoyKey>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            server_name: "localhost".into(),
            allow_plaintext: false,
            autologout: Duration::from_secs(10 * 60),
            login_timeout: Duration::from_secs(3 * 60),
            scram_decoy: None,
        }
    }
}

/// What a connection has of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// None, and STLS is not offered.
    Unavailable,
    /// None yet; STLS is offered.
    Offered,
    /// It is on.
    Active,
}

/// What a session wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send these bytes.
    Transmit(Bytes),
    /// Send the message for which [`Ask::Retrieve`] was answered with `Done`, as the transform makes it. It has been
    /// announced: a driver that cannot give all of it must close the connection.
    Body {
        /// Whose.
        uid: Uid,
        /// What to do with its bytes.
        transform: Transform,
    },
    /// Something for the driver.
    Event(Event),
    /// Nothing more, until something is handled or this time comes.
    Timeout(Option<Instant>),
}

/// What a driver has to see to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Find out, and come back with [`Session::handle_answer`].
    Question(Question),
    /// Go over to TLS, throwing away whatever was received; then [`Session::handle_tls_started`].
    StartTls,
    /// Close the connection.
    Closed,
}

/// Said when an answer does not fit its question, which is a mistake of the server.
const MISMATCH: &str = "-ERR [SYS/PERM] The server has made a mistake";
/// Said to who logs in where others could listen.
const PRIVACY: &str = "-ERR Use STLS first";
/// What is written at once before it is sent.
const WRITE_BYTES: usize = 16 * 1024;

/// One client's session: bytes of the connection in, bytes and [`Event`]s out.
///
/// After each `handle_…` call and command, [`poll_output`](Session::poll_output) is drained until it says
/// [`Output::Timeout`], and the outputs are carried out in their order, each to its end before the next. Commands are
/// carried out one after another; what a client has pipelined waits.
///
/// Only CRLF ends a line. [`limits::POP3_FAILURES`] lines in a row that are no command close the connection, and so do as many
/// logins that failed.
pub struct Session {
    config: Arc<Config>,
    tls: Tls,
    /// What SCRAM can be bound to.
    bindings: ChannelBindings,
    rng: Rng,
    state: State,
    task: Task,
    input: Input,
    out: BytesMut,
    outputs: VecDeque<Output>,
    deadline: Option<Instant>,
    now: Instant,
    questions: u64,
    open: Option<QuestionId>,
    /// Whether the client has asked for UTF-8.
    utf8: bool,
    /// Lines in a row that were no command.
    unread: u32,
    login_failures: u32,
    /// Said when the command at hand is done.
    bye: Option<&'static str>,
}

/// RFC 1939 §3. There is no UPDATE: who is in it says nothing more.
enum State {
    /// With what USER said last.
    Authorization {
        user: Option<String>,
    },
    Transaction(Opened),
}

/// The command at hand.
enum Task {
    /// None: the next may be read.
    Ready,
    /// The line is to go over to TLS.
    StartTls,
    Sasl(Box<SaslTask>),
    /// The answer to a login decides.
    Login,
    /// The answer to a question about a message decides whether it is sent.
    Retrieve {
        index: usize,
        lines: Option<u64>,
    },
    Listing(Listing),
    /// What was marked is being removed.
    Update,
    /// The connection is to be closed.
    Closed,
}

impl Session {
    /// A session on a connection that has just been accepted; it greets.
    //= https://www.rfc-editor.org/rfc/rfc1939#section-4
    pub fn new(now: Instant, config: Arc<Config>, tls: Tls, rng: Rng) -> Self {
        Session::bound(now, config, tls, ChannelBindings::default(), rng)
    }

    /// The same on a connection whose TLS has these to bind to, so that SCRAM-SHA-256-PLUS is offered.
    pub fn bound(now: Instant, config: Arc<Config>, tls: Tls, bindings: ChannelBindings, rng: Rng) -> Self {
        let mut session = Session {
            deadline: Some(now + config.login_timeout),
            config,
            tls,
            bindings,
            rng,
            state: State::Authorization { user: None },
            task: Task::Ready,
            input: Input::default(),
            out: BytesMut::new(),
            outputs: VecDeque::new(),
            now,
            questions: 0,
            open: None,
            utf8: false,
            unread: 0,
            login_failures: 0,
            bye: None,
        };
        let name = session.config.server_name.clone();
        session.say(format_args!("+OK {name} POP3 is ready"));
        session
    }

    /// Whether more input should be read. Input that comes nevertheless is kept, up to `limits::SESSION_BYTES`.
    pub fn wants_input(&self) -> bool {
        match &self.task {
            Task::Closed | Task::StartTls => false,
            Task::Ready => true,
            Task::Sasl(_) if self.open.is_none() => true,
            _ => self.input.len() < limits::POP3_PIPELINE_BYTES,
        }
    }

    /// Whether the session is over.
    pub fn is_closed(&self) -> bool {
        matches!(self.task, Task::Closed)
    }

    /// Bytes came.
    pub fn handle_input(&mut self, now: Instant, bytes: &[u8]) {
        self.now = now;
        //= https://www.rfc-editor.org/rfc/rfc2595#section-4
        // What was sent in the clear behind STLS is no command of the TLS session.
        if matches!(self.task, Task::Closed | Task::StartTls) {
            return;
        }
        self.input.push(bytes);
        if self.input.len() > limits::SESSION_BYTES {
            return self.close("-ERR Too much was sent at once");
        }
        self.put_off_autologout();
    }

    /// TLS is on, after [`Event::StartTls`], with what it has to bind to.
    pub fn handle_tls_started(&mut self, now: Instant, bindings: ChannelBindings) {
        self.now = now;
        if matches!(self.task, Task::StartTls) {
            self.tls = Tls::Active;
            self.bindings = bindings;
            self.task = Task::Ready;
        }
    }

    /// The answer to a question came. One to a question that is no longer open is ignored.
    pub fn handle_answer(&mut self, now: Instant, id: QuestionId, answer: Answer) {
        self.now = now;
        if self.open != Some(id) {
            return;
        }
        self.open = None;
        match std::mem::replace(&mut self.task, Task::Ready) {
            Task::Sasl(task) => self.sasl_answered(task, answer),
            Task::Login => self.login_answered(answer),
            Task::Retrieve { index, lines } => self.retrieve_answered(index, lines, answer),
            Task::Update => self.update_answered(&answer),
            // No other task asks.
            task => self.task = task,
        }
        self.put_off_autologout();
    }

    /// The server stops: the client is told `line`, an -ERR, when the command at hand is done.
    pub fn shut_down(&mut self, now: Instant, line: &'static str) {
        self.now = now;
        match self.task {
            Task::Ready | Task::StartTls => self.close(line),
            Task::Sasl(_) if self.open.is_none() => self.close(line),
            Task::Closed => {}
            _ => self.bye = self.bye.or(Some(line)),
        }
    }

    /// The time has come that the last [`Output::Timeout`] named.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        if self.deadline.is_none_or(|at| at > now) {
            return;
        }
        match self.state {
            // A client that waits for us is not idle.
            State::Transaction(_) if self.open.is_some() => self.put_off_autologout(),
            //= https://www.rfc-editor.org/rfc/rfc1939#section-3
            // Nothing is removed and nothing is said.
            _ => self.end(),
        }
    }

    /// The next thing to do; [`Output::Timeout`] comes last.
    pub fn poll_output(&mut self) -> Output {
        loop {
            if let Some(output) = self.outputs.pop_front() {
                return output;
            }
            let writes_on = self.open.is_none() && self.out.len() < WRITE_BYTES && self.step();
            if writes_on {
                continue;
            }
            // Answers to what came in one piece leave in one piece.
            if !self.out.is_empty() {
                return Output::Transmit(std::mem::take(&mut self.out).freeze());
            }
            return Output::Timeout(self.deadline);
        }
    }

    /// Does a bounded piece of work; false when there is none that could be done now.
    fn step(&mut self) -> bool {
        match &mut self.task {
            Task::Ready => self.read_command(),
            Task::Sasl(_) => self.step_sasl(),
            Task::Listing(_) => {
                self.step_listing();
                true
            }
            Task::Login | Task::Retrieve { .. } | Task::Update | Task::StartTls | Task::Closed => false,
        }
    }

    fn read_command(&mut self) -> bool {
        if let Some(line) = self.bye.take() {
            self.close(line);
            return true;
        }
        let line = match self.input.next() {
            Line::More => return false,
            Line::Whole(line) => line,
            Line::Bare => {
                self.unreadable(format_args!("A line ends with CR LF"));
                return true;
            }
            Line::TooLong => {
                self.unreadable(format_args!("The line is too long"));
                return true;
            }
        };
        match command::read(&line) {
            Ok(command) => {
                self.unread = 0;
                self.start(command);
            }
            Err(error) => self.unreadable(format_args!("{error}")),
        }
        true
    }

    fn unreadable(&mut self, why: fmt::Arguments<'_>) {
        self.say(format_args!("-ERR {why}"));
        self.unread += 1;
        if self.unread >= limits::POP3_FAILURES {
            self.close("-ERR Too many lines were no command");
        }
    }

    /// Begins to carry out a command, if it may be given now.
    fn start(&mut self, command: Command) {
        match (command, &self.state) {
            (Command::Capa, _) => self.tell_capabilities(),
            (Command::Lang(range), _) => self.choose_language(range.as_deref()),
            (Command::Quit, State::Authorization { .. }) => self.close("+OK Until next time"),
            (command, State::Authorization { .. }) => self.start_before_login(command),
            (command, State::Transaction(_)) => self.start_after_login(command),
        }
    }

    //= https://www.rfc-editor.org/rfc/rfc2449#section-5
    fn tell_capabilities(&mut self) {
        self.say(format_args!("+OK What is here"));
        // Those that the login is for are told behind it too, as the RFC wants; STLS is told where it may be given.
        let in_authorization = matches!(self.state, State::Authorization { .. });
        let mut lines = vec!["TOP", "UIDL", "PIPELINING", "RESP-CODES", "AUTH-RESP-CODE"];
        if self.takes_passwords() {
            lines.push("USER");
            lines.push(match self.config.scram_decoy {
                //= https://www.rfc-editor.org/rfc/rfc5802#section-6
                Some(_) if !self.bindings.is_empty() => "SASL PLAIN SCRAM-SHA-256 SCRAM-SHA-256-PLUS",
                Some(_) => "SASL PLAIN SCRAM-SHA-256",
                None => "SASL PLAIN",
            });
        }
        if in_authorization && self.tls == Tls::Offered {
            lines.push("STLS");
        }
        // Nothing is ever removed here but by its owner.
        lines.extend(["UTF8 USER", "LANG", "EXPIRE NEVER", "IMPLEMENTATION Ringpost"]);
        for line in lines {
            self.say(format_args!("{line}"));
        }
        self.say(format_args!("."));
    }

    /// There is one language. A range that is not its own tag, or its beginning, matches nothing (RFC 4647 §3.3.1).
    //= https://www.rfc-editor.org/rfc/rfc6856#section-3.2
    fn choose_language(&mut self, range: Option<&str>) {
        match range {
            None => self.say(format_args!("+OK What is spoken\r\nen English\r\n.")),
            Some(range) if range == "*" || range.eq_ignore_ascii_case("en") => {
                self.say(format_args!("+OK en English it is"));
            }
            Some(_) => self.say(format_args!("-ERR That is not spoken here")),
        }
    }

    fn ask(&mut self, task: Task, ask: Ask) {
        self.questions += 1;
        let id = QuestionId(self.questions);
        self.task = task;
        self.open = Some(id);
        self.emit(Output::Event(Event::Question(Question { id, ask })));
    }

    /// Puts an output behind what was written so far.
    fn emit(&mut self, output: Output) {
        if !self.out.is_empty() {
            let bytes = std::mem::take(&mut self.out).freeze();
            self.outputs.push_back(Output::Transmit(bytes));
        }
        self.outputs.push_back(output);
    }

    /// Writes a line, without its end.
    fn say(&mut self, line: fmt::Arguments<'_>) {
        use fmt::Write;
        // Writing into memory does not fail.
        let _ = write!(self.out, "{line}\r\n");
    }

    fn refuse(&mut self, refusal: Refusal) {
        //= https://www.rfc-editor.org/rfc/rfc2449#section-8.1
        //= https://www.rfc-editor.org/rfc/rfc3206#section-4
        self.say(format_args!(
            "{}",
            match refusal {
                Refusal::BadCredentials => "-ERR [AUTH] The user or the password is wrong",
                Refusal::InUse => "-ERR [IN-USE] Another session has the maildrop",
                Refusal::Gone => "-ERR The message is gone",
                Refusal::Unavailable => "-ERR [SYS/TEMP] Not now; try again later",
                Refusal::Broken => "-ERR [SYS/PERM] This must be mended first",
                Refusal::TooManyFailures => {
                    "-ERR [SYS/TEMP] Too many failed passwords from your address, wait a while"
                }
            }
        ));
    }

    fn close(&mut self, line: &str) {
        self.say(format_args!("{line}"));
        self.end();
    }

    fn end(&mut self) {
        self.emit(Output::Event(Event::Closed));
        self.task = Task::Closed;
        self.open = None;
        self.input.clear();
        self.deadline = None;
    }

    fn put_off_autologout(&mut self) {
        // Who has not logged in has one time limit, whatever he sends.
        if matches!(self.state, State::Transaction(_)) && !self.is_closed() {
            self.deadline = Some(self.now + self.config.autologout);
        }
    }
}
