//! The session machine.

mod append;
mod compress;
mod enable;
mod fetch;
mod input;
mod login;
mod mailbox;
mod messages;
mod output;
mod quota;
mod read;
mod search;
mod sort;
mod switch;
mod sync;
mod tell;
#[cfg(test)]
mod tests;

pub use output::{Event, Output};
pub use switch::{SWITCHES, is_switch};

use crate::command::Command;
use crate::name::MailboxName;
use crate::question::{Answer, Ask, Changes, MailboxId, Question, QuestionId};
use crate::respond::Wire;
use crate::sequence::NumberSet;
use crate::token::Respelt;
use crate::view::View;
use append::AppendTask;
use enable::Opening;
use fetch::FetchTask;
use input::Input;
use login::SaslTask;
use mailbox::{ListTask, StatusTask};
use messages::StoreTask;
use ringpost_auth::sasl::{ChannelBindings, DecoyKey};
use ringpost_base::{Instant, Rng, TimerKind, TimerTable, limits};
use search::SearchTask;
use sort::SortTask;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use sync::ResyncTask;

/// What holds for all sessions of a listener.
#[derive(Clone, Debug)]
pub struct Config {
    /// The server's name, for the greeting.
    pub server_name: String,
    /// Whether passwords are taken without TLS. Otherwise LOGINDISABLED is told.
    pub allow_plaintext: bool,
    /// LITERAL+ in place of LITERAL- (RFC 7888).
    pub literal_plus: bool,
    /// The largest message that APPEND takes, in bytes.
    pub message_bytes: u64,
    /// How long a client may be silent once it has logged in: at least 30 minutes (RFC 3501 §5.4).
    pub autologout: Duration,
    /// How long a client may take to log in.
    pub login_timeout: Duration,
    /// How often an idling client is told that the server is still there, so that no middlebox forgets the connection.
    pub still_here: Duration,
    /// For SCRAM-SHA-256, which is offered when it is there.
    pub scram_decoy: Option<DecoyKey>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            server_name: "localhost".into(),
            allow_plaintext: false,
            literal_plus: false,
            message_bytes: limits::MESSAGE_BYTES,
            autologout: Duration::from_secs(30 * 60),
            login_timeout: Duration::from_secs(3 * 60),
            still_here: Duration::from_secs(2 * 60),
            scram_decoy: None,
        }
    }
}

/// What a connection has of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// None, and STARTTLS is not offered.
    Unavailable,
    /// None yet; STARTTLS is offered.
    Offered,
    /// It is on.
    Active,
}

/// One client's session: bytes of the connection in, bytes and [`Event`]s out.
///
/// After each `handle_…` call and command, [`poll_output`](Session::poll_output) is drained until it says
/// [`Output::Timeout`], and the outputs are carried out in their order, each to its end before the next. Commands are
/// carried out one after another; what a client has pipelined waits.
pub struct Session {
    config: Arc<Config>,
    tls: Tls,
    /// What SCRAM can be bound to.
    bindings: ChannelBindings,
    rng: Rng,
    state: State,
    task: Task,
    input: Input,
    out: Wire,
    outputs: VecDeque<Output>,
    timers: TimerTable<Timer, 2>,
    now: Instant,
    questions: u64,
    open: Option<QuestionId>,
    /// Commands in a row that could not be read.
    unread: u32,
    login_failures: u32,
    /// The selected mailbox is no more, and whether the DELETE under way has removed it is not known yet.
    vanished: bool,
    /// Whether what is sent and received is compressed.
    compressed: bool,
    /// Whether the client wants to know of every MODSEQ, and of messages that are gone by VANISHED (RFC 7162).
    condstore: bool,
    qresync: bool,
    /// Whether the client has enabled UTF8=ACCEPT. IMAP4rev2 is `out`'s matter.
    utf8_accept: bool,
    /// Names in the command at hand that were not written as they are kept, and how they are to be told.
    respelt: Vec<Respelt>,
    /// Capabilities that the client is not told of.
    without: Vec<String>,
    /// The UIDs that a search has saved in the selected mailbox (RFC 5182); of those that are gone since, nobody asks.
    saved: NumberSet,
    /// Said when the command at hand is done.
    bye: Option<&'static str>,
    /// Whether what was sent last is half a line.
    mid_line: bool,
}

#[derive(Clone, Copy)]
enum Timer {
    Autologout,
    StillHere,
}

impl TimerKind for Timer {
    fn index(self) -> usize {
        self as usize
    }
}

/// RFC 3501 §3.
enum State {
    NotAuthenticated,
    Authenticated,
    Selected(Box<View>),
}

/// The command at hand.
enum Task {
    /// None: the next may be read.
    Ready,
    /// The rest of a command that was refused is on its way, and this is what will be said.
    Discarding(String),
    /// The line is to go over to TLS.
    StartTls,
    Sasl(Box<SaslTask>),
    /// The answer to a question decides what is said; the tag, and what was asked.
    Asked(Tag, Asked),
    List(Tag, Box<ListTask>),
    Status(Tag, Box<StatusTask>),
    Append(Box<AppendTask>),
    Fetch(Box<FetchTask>),
    Store(Box<StoreTask>),
    Search(Box<SearchTask>),
    Sort(Box<SortTask>),
    Resync(Box<ResyncTask>),
    Idle(Tag),
    /// News is told, and then this is said with the tag.
    Finish {
        tag: Tag,
        text: String,
        /// Whether EXPUNGE may be among the news.
        expunges: bool,
        /// Whether messages went, so that the client wants to know the new MODSEQ.
        removed: bool,
    },
    /// The connection is to be closed.
    Closed,
}

/// What a question was for whose answer ends the command, or nearly.
enum Asked {
    Login,
    /// Whatever is said with OK.
    Change(&'static str),
    Create,
    Delete,
    /// SELECT, of which the name is to be told first, and SELECT.
    Name(Box<Opening>),
    Select(Box<Opening>),
    /// NOOP and CHECK.
    Refresh,
    /// IDLE begins with what is new.
    Idle,
    Compress,
    /// The quota; with GETQUOTAROOT, of this mailbox.
    Quota(Option<MailboxName>),
    Copy,
    Move,
    Expunge,
    Close,
}

type Tag = Box<str>;

impl Session {
    /// A session on a connection that has just been accepted; it greets.
    pub fn new(now: Instant, config: Arc<Config>, tls: Tls, rng: Rng) -> Self {
        Session::bound(now, config, tls, ChannelBindings::default(), rng)
    }

    /// The same on a connection whose TLS has these to bind to, so that SCRAM-SHA-256-PLUS is offered with the greeting.
    pub fn bound(now: Instant, config: Arc<Config>, tls: Tls, bindings: ChannelBindings, rng: Rng) -> Self {
        let mut session = Session {
            timers: TimerTable::new(),
            config,
            tls,
            bindings,
            rng,
            state: State::NotAuthenticated,
            task: Task::Ready,
            input: Input::default(),
            out: Wire::default(),
            outputs: VecDeque::new(),
            now,
            questions: 0,
            open: None,
            unread: 0,
            login_failures: 0,
            vanished: false,
            compressed: false,
            condstore: false,
            qresync: false,
            utf8_accept: false,
            respelt: Vec::new(),
            without: Vec::new(),
            saved: NumberSet::default(),
            bye: None,
            mid_line: false,
        };
        session
            .timers
            .set(Timer::Autologout, now + session.config.login_timeout);
        let capabilities = session.capabilities();
        let name = session.config.server_name.clone();
        session.out.put(format_args!(
            "* OK [CAPABILITY {capabilities}] {name} IMAP4rev1 is ready\r\n"
        ));
        session
    }

    /// Whether more input should be read. Input that comes nevertheless is kept, up to `limits::SESSION_BYTES`.
    pub fn wants_input(&self) -> bool {
        match &self.task {
            Task::Closed | Task::StartTls => false,
            Task::Ready | Task::Idle(_) | Task::Discarding(_) => true,
            Task::Sasl(_) | Task::Append(_) if self.open.is_none() => true,
            _ => self.input.len() < limits::IMAP_PIPELINE_BYTES,
        }
    }

    /// The mailbox that is selected.
    pub fn selected(&self) -> Option<MailboxId> {
        match &self.state {
            State::Selected(view) => Some(view.mailbox),
            _ => None,
        }
    }

    /// Whether the client has said that it waits for news.
    pub fn is_idling(&self) -> bool {
        matches!(self.task, Task::Idle(_))
    }

    /// Whether the session is over.
    pub fn is_closed(&self) -> bool {
        matches!(self.task, Task::Closed)
    }

    /// Bytes came.
    pub fn handle_input(&mut self, now: Instant, bytes: &[u8]) {
        self.now = now;
        //= https://www.rfc-editor.org/rfc/rfc3501#section-6.2.1
        // What was sent in the clear behind STARTTLS is no command of the TLS session.
        if matches!(self.task, Task::Closed | Task::StartTls) {
            return;
        }
        self.input.push(bytes);
        if self.input.len() > limits::SESSION_BYTES {
            return self.close("BYE Too much was sent at once");
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
            Task::Asked(tag, asked) => self.answered(tag, asked, answer),
            Task::List(tag, task) => self.list_answered(tag, task, answer),
            Task::Status(tag, task) => self.status_answered(tag, &task, answer),
            Task::Append(task) => self.append_answered(task, answer),
            Task::Fetch(task) => self.fetch_answered(task, answer),
            Task::Store(task) => self.store_answered(task, answer),
            Task::Search(task) => self.search_answered(task, answer),
            Task::Sort(task) => self.sort_answered(task, answer),
            Task::Resync(task) => self.resync_answered(task, answer),
            // No other task asks.
            task => self.task = task,
        }
    }

    /// Something happened in a mailbox, found out unasked. The client is told when it may be (RFC 3501 §7).
    pub fn handle_changes(&mut self, now: Instant, mailbox: MailboxId, changes: Changes) {
        self.now = now;
        let State::Selected(view) = &mut self.state else {
            return;
        };
        // SELECT may be under way: then the change is of a mailbox that is about to be left.
        if view.mailbox != mailbox {
            return;
        }
        let gone = changes.mailbox_gone;
        view.apply(changes);
        match &self.task {
            _ if !gone => {}
            Task::Asked(_, Asked::Delete) => self.vanished = true,
            _ => self.lose_mailbox(),
        }
    }

    //= https://www.rfc-editor.org/rfc/rfc2180#section-3.3
    /// Somebody else has deleted the mailbox that is selected.
    fn lose_mailbox(&mut self) {
        self.shut_down(self.now, "BYE The selected mailbox was deleted");
    }

    /// The server stops, or the account was closed: the client is told `line`, a BYE, when the command at hand is done.
    pub fn shut_down(&mut self, now: Instant, line: &'static str) {
        self.now = now;
        match self.task {
            Task::Ready | Task::Idle(_) | Task::Discarding(_) | Task::StartTls => self.close(line),
            Task::Sasl(_) | Task::Append(_) if self.open.is_none() => self.close(line),
            Task::Closed => {}
            _ => self.bye = self.bye.or(Some(line)),
        }
    }

    /// The time has come that the last [`Output::Timeout`] named.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        if self.timers.take_due(Timer::Autologout, now) {
            match &self.task {
                Task::Closed => {}
                _ if matches!(self.state, State::NotAuthenticated) => self.close("BYE Log in sooner"),
                // A client that waits for us is not idle.
                _ if self.open.is_some() => self.put_off_autologout(),
                _ => self.close("BYE Autologout after a long silence"),
            }
        }
        if self.timers.take_due(Timer::StillHere, now) && self.is_idling() {
            self.out.text("* OK Still here\r\n");
            self.timers.set(Timer::StillHere, now + self.config.still_here);
        }
    }

    /// The next thing to do; [`Output::Timeout`] comes last.
    pub fn poll_output(&mut self) -> Output {
        loop {
            if let Some(output) = self.outputs.pop_front() {
                return output;
            }
            if !self.out.bytes.is_empty() {
                let bytes = std::mem::take(&mut self.out.bytes).freeze();
                self.mid_line = !bytes.ends_with(b"\n");
                return Output::Transmit(bytes);
            }
            if self.open.is_some() || !self.step() {
                return Output::Timeout(self.timers.next());
            }
        }
    }

    /// Does a bounded piece of work; false when there is none that could be done now.
    fn step(&mut self) -> bool {
        match &mut self.task {
            Task::Ready => self.read_command(),
            Task::Discarding(_) => self.step_discarding(),
            Task::Sasl(_) => self.step_sasl(),
            Task::Append(_) => self.step_append(),
            Task::Fetch(_) => self.step_fetch(),
            Task::Store(_) => self.step_store(),
            Task::Search(_) => self.step_search(),
            Task::Sort(_) => self.step_sort(),
            Task::List(..) => self.step_list(),
            Task::Resync(_) => self.step_resync(),
            Task::Idle(_) => self.tell_news(true) || self.read_done(),
            Task::Finish { expunges, .. } => {
                let expunges = *expunges;
                if !self.tell_news(expunges) {
                    self.say_finish();
                }
                true
            }
            Task::Asked(..) | Task::Status(..) | Task::StartTls | Task::Closed => false,
        }
    }

    fn say_finish(&mut self) {
        if let Task::Finish {
            tag, text, removed, ..
        } = std::mem::replace(&mut self.task, Task::Ready)
        {
            let text = self.with_modseq(text, removed);
            self.tell_respelt(&text);
            self.out.put(format_args!("{tag} {text}\r\n"));
            self.put_off_autologout();
        }
        if let Some(line) = self.bye.take() {
            self.close(line);
        }
    }

    /// Ends the command: news that may be told, then `text` with its tag.
    fn finish(&mut self, tag: Tag, text: impl Into<String>) {
        // The session may have ended over it.
        if !self.is_closed() {
            self.task = Task::Finish {
                tag,
                text: text.into(),
                expunges: true,
                removed: false,
            };
        }
    }

    /// As [`Self::finish`] after FETCH, STORE or SEARCH, in which EXPUNGE may not be told, unless with UID.
    fn finish_message_command(&mut self, tag: Tag, uid: bool, text: impl Into<String>) {
        //= https://www.rfc-editor.org/rfc/rfc3501#section-7.4.1
        self.finish(tag, text);
        if let Task::Finish { expunges, .. } = &mut self.task {
            *expunges = uid;
        }
    }

    /// As [`Self::finish`] when messages were removed.
    fn finish_removed(&mut self, tag: Tag) {
        self.finish(tag, "OK Done");
        if let Task::Finish { removed, .. } = &mut self.task {
            *removed = true;
        }
    }

    fn ask(&mut self, ask: Ask) {
        self.questions += 1;
        let id = QuestionId(self.questions);
        self.open = Some(id);
        self.emit(Event::Question(Question { id, ask }));
    }

    /// Puts `event` behind what was written so far.
    fn emit(&mut self, event: Event) {
        self.flush();
        self.outputs.push_back(Output::Event(event));
    }

    fn flush(&mut self) {
        if !self.out.bytes.is_empty() {
            let bytes = std::mem::take(&mut self.out.bytes).freeze();
            self.mid_line = !bytes.ends_with(b"\n");
            self.outputs.push_back(Output::Transmit(bytes));
        }
    }

    fn close(&mut self, line: &str) {
        self.flush();
        if std::mem::take(&mut self.mid_line) {
            self.out.text("\r\n");
        }
        self.out.put(format_args!("* {line}\r\n"));
        self.end();
    }

    fn end(&mut self) {
        if let Task::Append(task) = &self.task
            && task.is_streaming()
        {
            self.emit(Event::BodyAborted);
        }
        self.deselect();
        self.emit(Event::Closed);
        self.task = Task::Closed;
        self.open = None;
        self.input.clear();
        self.timers.stop_all();
    }

    fn deselect(&mut self) {
        if let State::Selected(_) = self.state {
            self.state = State::Authenticated;
            self.saved = NumberSet::default();
            self.emit(Event::Deselected);
        }
    }

    fn put_off_autologout(&mut self) {
        // Who has not logged in has one time limit, whatever he sends.
        if !matches!(self.state, State::NotAuthenticated) {
            self.timers
                .set(Timer::Autologout, self.now + self.config.autologout);
        }
    }

    /// Begins to carry out a command, if it may be given now (RFC 3501 §6).
    fn start(&mut self, tag: Tag, command: Command) {
        if let Some(name) = self.lacks(&command) {
            return self.finish(tag, format!("BAD {name} is turned off for the account"));
        }
        match (&self.state, command) {
            (_, Command::Capability) => {
                let capabilities = self.capabilities();
                self.out.put(format_args!("* CAPABILITY {capabilities}\r\n"));
                self.finish(tag, "OK Done");
            }
            (State::Selected(view), Command::Noop | Command::Check) => {
                let ask = Ask::Refresh(view.mailbox);
                self.ask_then(tag, Asked::Refresh, ask);
            }
            (_, Command::Noop) => self.finish(tag, "OK Done"),
            (_, Command::Logout) => {
                self.out.text("* BYE Until next time\r\n");
                self.out.put(format_args!("{tag} OK Done\r\n"));
                self.end();
            }
            //= https://www.rfc-editor.org/rfc/rfc2971#section-3.2
            (_, Command::Id) => {
                self.out.text("* ID (\"name\" \"Ringpost\")\r\n");
                self.finish(tag, "OK Done");
            }
            (State::NotAuthenticated, command) => self.start_before_login(tag, command),
            (_, Command::StartTls | Command::Login { .. } | Command::Authenticate { .. }) => {
                self.finish(tag, "BAD You have logged in already");
            }
            (_, command) => self.start_after_login(tag, command),
        }
    }

    fn start_after_login(&mut self, tag: Tag, mut command: Command) {
        if sync::enables(&command) {
            self.enable_condstore();
        }
        if let Command::Search { key, .. } | Command::Sort { key, .. } | Command::Thread { key, .. } =
            &mut command
        {
            key.take_saved(&self.saved);
        }
        match command {
            Command::Enable(names) => self.enable(tag, &names),
            Command::Namespace => {
                self.out.put(format_args!(
                    "* NAMESPACE ((\"\" \"{}\")) NIL NIL\r\n",
                    crate::name::SEPARATOR
                ));
                self.finish(tag, "OK Done");
            }
            Command::Compress => self.start_compress(tag),
            Command::GetQuota(root) => self.start_get_quota(tag, &root),
            Command::GetQuotaRoot(name) => self.start_get_quota_root(tag, name),
            //= https://www.rfc-editor.org/rfc/rfc9208#section-4.1.3
            Command::SetQuota => self.finish(tag, "NO [NOPERM] Only the operator sets quotas"),
            Command::Idle => match self.selected() {
                Some(mailbox) => self.ask_then(tag, Asked::Idle, Ask::Refresh(mailbox)),
                None => self.start_idling(tag),
            },
            Command::List(command) => self.start_list(tag, command),
            Command::Status { name, items } => self.start_status(tag, name, items),
            Command::Select {
                name,
                read_only,
                params,
            } => self.start_select(tag, name, read_only, params),
            Command::Create { name, special_use } => {
                self.ask_then(tag, Asked::Create, Ask::Create { name, special_use });
            }
            Command::Delete(name) => {
                self.ask_then(tag, Asked::Delete, Ask::Delete(name));
            }
            Command::Rename { from, to } => {
                self.ask_then(tag, Asked::Change("OK Done"), Ask::Rename { from, to });
            }
            Command::Subscribe { name, subscribed } => {
                self.ask_then(tag, Asked::Change("OK Done"), Ask::Subscribe { name, subscribed });
            }
            command if self.selected().is_some() => self.start_selected(tag, command),
            _ => self.finish(tag, "BAD Select a mailbox first"),
        }
    }

    fn ask_then(&mut self, tag: Tag, asked: Asked, ask: Ask) {
        self.task = Task::Asked(tag, asked);
        self.ask(ask);
    }

    fn answered(&mut self, tag: Tag, asked: Asked, answer: Answer) {
        match (asked, answer) {
            (Asked::Login, answer) => self.login_answered(tag, answer),
            (Asked::Delete, answer) => self.delete_answered(tag, &answer),
            (Asked::Name(opening), Answer::Mailboxes(mailboxes)) => {
                self.name_listed(tag, opening, mailboxes);
            }
            (Asked::Select(opening), Answer::Selected(snapshot)) => {
                self.open_mailbox(tag, snapshot, *opening);
            }
            (Asked::Quota(name), answer) => self.quota_answered(tag, name, answer),
            //= https://www.rfc-editor.org/rfc/rfc3501#section-6.4.2
            // CLOSE leaves the mailbox whatever became of its messages.
            (Asked::Close, _) => {
                self.deselect();
                self.finish(tag, "OK Done");
            }
            (Asked::Copy | Asked::Move, Answer::Refused(refusal)) => {
                self.finish(tag, output::refusal(&refusal, true));
            }
            (_, Answer::Refused(refusal)) => self.finish(tag, output::refusal(&refusal, false)),
            //= https://www.rfc-editor.org/rfc/rfc8474#section-4.1
            (Asked::Create, Answer::Created(_)) if self.is_without("OBJECTID") => self.finish(tag, "OK Done"),
            (Asked::Create, Answer::Created(id)) => self.finish(tag, format!("OK [MAILBOXID ({id})] Done")),
            (Asked::Change(text), Answer::Done) => self.finish(tag, text),
            (Asked::Compress, Answer::Done) => self.compress(tag),
            (Asked::Refresh, Answer::Changes(changes)) => {
                self.take_changes(changes);
                self.finish(tag, "OK Done");
            }
            (Asked::Idle, Answer::Changes(changes)) => {
                self.take_changes(changes);
                self.start_idling(tag);
            }
            (Asked::Copy, Answer::Copied { uid_validity, pairs }) => self.copied(tag, uid_validity, &pairs),
            (Asked::Move, Answer::Copied { uid_validity, pairs }) => self.moved(tag, uid_validity, &pairs),
            (Asked::Expunge, Answer::Expunged(uids)) => {
                if let State::Selected(view) = &mut self.state {
                    view.expunge(&uids);
                }
                match uids.is_empty() {
                    true => self.finish(tag, "OK Done"),
                    false => self.finish_removed(tag),
                }
            }
            _ => self.finish(tag, output::MISMATCH),
        }
    }

    /// Whoever deletes what he looks at, under whatever name, has left it; only the others are told goodbye, and he himself
    /// when it was somebody else who has deleted it meanwhile.
    fn delete_answered(&mut self, tag: Tag, answer: &Answer) {
        let text = match answer {
            Answer::Deleted(_) => "OK Done".into(),
            Answer::Refused(why) => output::refusal(why, false),
            _ => output::MISMATCH.into(),
        };
        let is_own = matches!(answer, Answer::Deleted(id) if self.selected() == Some(*id));
        let vanished = std::mem::take(&mut self.vanished);
        if is_own {
            self.deselect();
        }
        self.finish(tag, text);
        if vanished && !is_own {
            self.lose_mailbox();
        }
    }

    fn take_changes(&mut self, changes: Changes) {
        if let Some(mailbox) = self.selected() {
            self.handle_changes(self.now, mailbox, changes);
        }
    }

    //= https://www.rfc-editor.org/rfc/rfc2177#section-3
    fn start_idling(&mut self, tag: Tag) {
        // What was asked for may have ended the session.
        if self.is_closed() {
            return;
        }
        self.out.text("+ Idling\r\n");
        self.task = Task::Idle(tag);
        self.timers
            .set(Timer::StillHere, self.now + self.config.still_here);
        if let Some(line) = self.bye.take() {
            self.close(line);
        }
    }
}
