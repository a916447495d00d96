//! The service's machine: everything that happens to calls and registrations passes through [`Phone`].

use crate::access::Gate;
use crate::call::{Call, CallId, Destination, Overheard, Stage};
use crate::config::Config;
use crate::lamp::Lamps;
use crate::question::{Account, Answer, LampCounts, Owner, Person, Question, QuestionId};
use crate::registrar::{Binding, Registrar};
use crate::seek::{Seek, SeekId};
use ringpost_base::{Deadlines, Instant, Rng, UnixTime};
use ringpost_media::{Command, Event as MediaEvent, LegId, PairId};
use ringpost_sip::locate::Target;
use ringpost_sip::ua::{RequestId, SessionId, Ua};
use ringpost_sip::{Arrival, Flow, Message, Status, TransactionId, Transmit};
use ringpost_store::AccountId;
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// What the service wants done.
#[derive(Debug)]
pub enum Output {
    /// Send these bytes.
    Transmit(Transmit),
    /// Answer this with [`Phone::handle_answer`].
    Ask(QuestionId, Question),
    /// Nobody waits for the answer to this any more: what is looked for may be left.
    Forget(QuestionId),
    /// A command for the media engine.
    Media(Command),
    /// A pair of sockets that no leg was made of: close it.
    Release(PairId),
    /// Something that others want to know.
    Event(Event),
    /// Nothing more now. Call [`Phone::handle_timeout`] at that time, if there is one.
    Timeout(Option<Instant>),
}

/// What the service tells.
#[derive(Debug, PartialEq)]
pub enum Event {
    /// The bindings of an account changed: to be saved within 2 s, all of them in place of what was saved.
    Bindings {
        /// Whose.
        account: AccountId,
        /// The account's address, `user@domain`; empty when nothing is registered.
        address: Box<str>,
        /// What is registered now.
        bindings: Vec<Binding>,
    },
    /// A call is to be a mount of one of its two accounts, until both of its legs are removed.
    Overheard(Overheard),
    /// A call is over.
    CallEnded(CallRecord),
    /// What came was no message, or could not be taken; for the log.
    Refused {
        /// Where it came from.
        flow: Flow,
        /// What was expected.
        reason: Box<str>,
    },
}

/// What is registered for somebody, as it was saved.
#[derive(Clone, Debug)]
pub struct Registered {
    /// Whose phones.
    pub person: Arc<Person>,
    /// Where they are.
    pub bindings: Vec<Binding>,
}

/// A call, for the log.
#[derive(Clone, Debug, PartialEq)]
pub struct CallRecord {
    /// Its number.
    pub id: CallId,
    /// The Call-ID of the caller's leg.
    pub call_id: Box<str>,
    /// The caller, as From says.
    pub caller: Box<str>,
    /// The callee, as the Request-URI says.
    pub callee: Box<str>,
    /// When it began.
    pub began: UnixTime,
    /// How long it lasted, ringing included.
    pub duration: Duration,
    /// Whether the caller got a 2xx.
    pub answered: bool,
}

/// What an open question is for.
#[derive(Debug)]
pub(crate) enum Pending {
    /// The keys of a request's device.
    Access(Asker, Flow, Message),
    Callee(CallId),
    /// Which mount is called, where nobody is.
    Mount(CallId),
    /// A mount is being heard.
    Hearing(CallId),
    Sockets(CallId, Vec<Destination>),
    /// What a search needs to know.
    Records(SeekId),
    /// Whether there is a way to the target that a search has found.
    Way(SeekId, Target),
    Greeting(CallId),
    Delivered(CallId),
    Messages(CallId),
    /// The sound that the menu wanted with its request of this number.
    Sound(CallId, u64),
    Deleted(CallId),
    /// Whose bindings a REGISTER without credentials is about.
    Registering(TransactionId, Flow, Message),
    /// Whose lamp a SUBSCRIBE without credentials is about.
    Subscribing(TransactionId, Flow, Message),
    /// The counts for phones that have registered.
    Lamp(AccountId),
    /// The counts that a SUBSCRIBE waits for.
    Watching(TransactionId, Flow, Message, Owner),
    /// Who is to get a text message.
    Text(TransactionId, Message, Option<Arc<Person>>),
    Nothing,
}

/// How a request is answered.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Asker {
    /// An INVITE outside a dialog.
    Session(SessionId),
    /// Any other.
    Transaction(TransactionId),
}

/// The phone service of one shard: registrar, calls, voicemail by telephone, the lamp, text messages.
///
/// After every `handle_…`, [`poll_output`](Phone::poll_output) is drained until it says [`Output::Timeout`].
#[derive(Debug)]
pub struct Phone {
    pub(crate) config: Config,
    pub(crate) ua: Ua,
    pub(crate) gate: Gate,
    pub(crate) registrar: Registrar,
    pub(crate) lamps: Lamps,
    pub(crate) people: HashMap<AccountId, Arc<Person>>,
    pub(crate) calls: HashMap<CallId, Call>,
    pub(crate) by_session: HashMap<SessionId, CallId>,
    /// Callers whose credentials are being looked at.
    pub(crate) knocking: HashSet<SessionId>,
    pub(crate) by_leg: HashMap<LegId, CallId>,
    /// The one timer that a call has: no answer while it rings, patience while it is in the menu.
    pub(crate) timers: Deadlines<CallId>,
    pub(crate) texts: HashMap<TransactionId, crate::text::Text>,
    /// Each phone that a text message was sent to, and the transaction that waits for it.
    pub(crate) text_forks: HashMap<RequestId, TransactionId>,
    /// Searches for the way to other domains.
    pub(crate) seeks: HashMap<SeekId, Seek>,
    /// The target of each session that we began with another domain.
    pub(crate) reached: HashMap<SessionId, Target>,
    questions: HashMap<QuestionId, Pending>,
    last_number: u64,
    pub(crate) rng: Rng,
    /// Requests within a session that were passed to the other leg, and what waits for the answer.
    pub(crate) passed: HashMap<RequestId, (TransactionId, Message)>,
    pub(crate) ua_timeout: Option<Instant>,
    pub(crate) output: VecDeque<Output>,
    pub(crate) closing: bool,
}

impl Phone {
    /// A service without registrations and calls, for shard 0.
    pub fn new(config: Config, mut rng: Rng) -> Self {
        Phone {
            ua: Ua::new(crate::sip::ua_config(&config), rng.fork()),
            gate: Gate::new(rng.fork()),
            registrar: Registrar::default(),
            lamps: Lamps::default(),
            people: HashMap::new(),
            calls: HashMap::new(),
            by_session: HashMap::new(),
            knocking: HashSet::new(),
            by_leg: HashMap::new(),
            timers: Deadlines::new(),
            texts: HashMap::new(),
            text_forks: HashMap::new(),
            seeks: HashMap::new(),
            reached: HashMap::new(),
            questions: HashMap::new(),
            last_number: 0,
            rng,
            passed: HashMap::new(),
            ua_timeout: None,
            output: VecDeque::new(),
            closing: false,
            config,
        }
    }

    /// Whether nothing is left of any call, text message, question or media leg: what remains are registrations,
    /// subscriptions, and transactions that linger as the RFC wants them to.
    pub fn is_idle(&self) -> bool {
        self.ua.sessions() == 0 && self.under_way().all(|(_, count)| count == 0)
    }

    /// Everything that is kept, and how much of it: all zero a while after the last phone has taken its registration back.
    pub fn holdings(&self) -> impl Iterator<Item = (&'static str, usize)> {
        self.under_way()
            .chain(self.registrar.holdings())
            .chain([("people with phones", self.people.len())])
            .chain(self.lamps.holdings())
            .chain(self.ua.holdings())
    }

    /// What belongs to a call, a text message or a question.
    fn under_way(&self) -> impl Iterator<Item = (&'static str, usize)> {
        let own = [
            ("calls", self.calls.len()),
            ("sessions of calls", self.by_session.len()),
            ("callers at the door", self.knocking.len()),
            ("media legs of calls", self.by_leg.len()),
            ("timers of calls", self.timers.len()),
            ("targets looked for", self.seeks.len()),
            ("targets reached", self.reached.len()),
            ("questions", self.questions.len()),
            ("texts", self.texts.len()),
            ("copies of texts", self.text_forks.len()),
            ("requests passed on", self.passed.len()),
        ];
        own.into_iter().chain(self.lamps.waiting())
    }

    /// How many calls there are.
    pub fn calls(&self) -> usize {
        self.calls.len()
    }

    /// How many transactions there are, lingering ones included.
    pub fn transactions(&self) -> usize {
        self.ua.transactions()
    }

    /// How many SIP sessions there are, those included whose last message waits for its answer.
    pub fn sessions(&self) -> usize {
        self.ua.sessions()
    }

    /// How many subscriptions there are.
    pub fn subscriptions(&self) -> usize {
        self.ua.subscriptions()
    }

    /// How many phones are registered.
    pub fn registered(&self) -> usize {
        self.registrar.len()
    }

    /// What is registered for an account.
    pub fn bindings(&self, account: AccountId) -> &[Binding] {
        self.registrar.bindings(account)
    }

    /// Takes another configuration; calls go on as they began.
    pub fn configure(&mut self, config: Config) {
        if config.digest_algorithms != self.config.digest_algorithms {
            // Nonces that are out count as stale then, and phones log in again by themselves.
            self.gate = Gate::new(self.rng.fork());
        }
        self.ua.configure(crate::sip::ua_config(&config));
        self.config = config;
    }

    /// The accounts that have a phone registered or subscribed, each once.
    pub fn accounts(&self) -> Vec<AccountId> {
        let accounts = self.registrar.accounts().chain(self.lamps.watched());
        accounts.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Puts back what was registered before a restart. Streams are opened anew when there is something to send, if that
    /// can be done.
    pub fn restore(&mut self, registered: Registered) {
        let Registered { person, bindings } = registered;
        for binding in bindings {
            self.registrar.restore(person.account, binding);
        }
        if !self.registrar.bindings(person.account).is_empty() {
            self.people.insert(person.account, person);
        }
    }

    /// Something came from the network.
    pub fn handle_arrival(&mut self, now: Instant, calendar: UnixTime, arrival: Arrival) {
        match arrival {
            Arrival::Closed { flow } => {
                for account in flow
                    .connection
                    .map(|c| self.registrar.handle_closed(c))
                    .unwrap_or_default()
                {
                    self.save_bindings(account);
                }
                self.ua.handle_arrival(now, Arrival::Closed { flow });
            }
            other => self.ua.handle_arrival(now, other),
        }
        self.drain_ua(now, calendar);
    }

    /// The time that was asked for has come.
    pub fn handle_timeout(&mut self, now: Instant, calendar: UnixTime) {
        while let Some(account) = self.registrar.pop_expired(now) {
            self.save_bindings(account);
        }
        while let Some(id) = self.timers.pop_due(now) {
            match self.calls.get(&id).map(|call| &call.stage) {
                Some(Stage::Ringing(_)) => self.no_answer(now, id),
                Some(Stage::Application(_)) => self.application_timeout(now, id),
                _ => {}
            }
        }
        self.ua.handle_timeout(now);
        self.drain_ua(now, calendar);
    }

    /// The media engine tells something.
    pub fn handle_media(&mut self, now: Instant, calendar: UnixTime, event: MediaEvent) {
        let leg = match &event {
            MediaEvent::Digit { leg, .. }
            | MediaEvent::DigitsSent { leg }
            | MediaEvent::PlayEnded { leg, .. }
            | MediaEvent::Recorded { leg, .. }
            | MediaEvent::RecordEnded { leg, .. }
            | MediaEvent::MediaTimeout { leg }
            | MediaEvent::LegRemoved { leg, .. } => *leg,
        };
        let Some(id) = self.by_leg.get(&leg).copied() else {
            return;
        };
        match &event {
            MediaEvent::LegRemoved { statistics, .. } => {
                self.by_leg.remove(&leg);
                self.log_leg(id, leg, statistics);
                self.application_leg_removed(now, id, leg);
            }
            MediaEvent::MediaTimeout { .. } => self.media_silent(now, id, leg),
            MediaEvent::Digit { digit, .. } if self.is_talking(id) => self.digit_across(id, leg, *digit),
            other => self.application_media(now, calendar, id, other),
        }
        self.drain_ua(now, calendar);
    }

    /// A question is answered. One that fits no question is passed over.
    pub fn handle_answer(&mut self, now: Instant, calendar: UnixTime, id: QuestionId, answer: Answer) {
        let pending = self.questions.remove(&id);
        if let (Answer::Sockets(Some(sockets)), false) =
            (&answer, matches!(pending, Some(Pending::Sockets(..))))
        {
            // Nobody waits for them any more.
            sockets.iter().for_each(|socket| self.release(socket.pair));
        }
        if let Some(pending) = pending {
            self.take_answer(now, calendar, pending, answer);
            self.drain_ua(now, calendar);
        }
    }

    fn take_answer(&mut self, now: Instant, calendar: UnixTime, pending: Pending, answer: Answer) {
        match pending {
            Pending::Access(asker, flow, request) => {
                self.judge(now, calendar, (asker, flow, request), answer.device());
            }
            Pending::Callee(call) => self.callee_found(now, call, answer.person()),
            Pending::Mount(call) => self.mount_found(now, call, answer.mount()),
            Pending::Hearing(call) => self.mount_ended(now, call),
            Pending::Sockets(call, destinations) => {
                self.sockets_open(now, call, destinations, answer.sockets())
            }
            Pending::Records(seek) => self.records_found(now, seek, answer.records()),
            Pending::Way(seek, target) => self.way_found(now, seek, target, answer.way()),
            Pending::Greeting(call) => self.greet(now, call, answer.greeting()),
            Pending::Delivered(call) => self.delivered(now, call, answer.is_done()),
            Pending::Messages(call) => self.listed(now, call, answer.messages()),
            Pending::Sound(call, wish) => self.sound_fetched(now, call, wish, answer.sound()),
            Pending::Deleted(call) => self.deleted(now, call, answer.is_done()),
            Pending::Registering(transaction, flow, request) => match answer.person() {
                Some(person) => self.bind(now, calendar, (transaction, flow, &request), person.into()),
                None => self.respond(now, transaction, &request, Status::NOT_FOUND.into()),
            },
            Pending::Subscribing(transaction, flow, request) => match answer.person() {
                Some(person) => self.watch(now, transaction, flow, request, person.into()),
                None => self.respond(now, transaction, &request, Status::NOT_FOUND.into()),
            },
            Pending::Lamp(account) => {
                if let Some(counts) = answer.lamp() {
                    self.show_lamp(now, account, counts, true);
                }
            }
            Pending::Watching(transaction, flow, request, owner) => {
                let counts = answer.lamp().unwrap_or_default();
                self.watch_from(now, (transaction, flow, &request), owner, counts);
            }
            Pending::Text(transaction, request, from) => {
                self.route_text(now, transaction, request, from, answer.person());
            }
            Pending::Nothing => {}
        }
    }

    /// The voicemail of an account changed: its lamps follow.
    pub fn handle_lamp(&mut self, now: Instant, calendar: UnixTime, account: AccountId, counts: LampCounts) {
        self.show_lamp(now, account, counts, false);
        self.drain_ua(now, calendar);
    }

    /// An account has changed, or is no more (`None`): what its removed devices have registered and subscribed to ends now.
    /// Calls go on.
    pub fn handle_account(
        &mut self,
        now: Instant,
        calendar: UnixTime,
        id: AccountId,
        account: Option<&Account>,
    ) {
        if let Some(known) = self.people.get_mut(&id)
            && let Some(account) = account
        {
            *known = account.person.clone();
        }
        if self.registrar.hold_to(id, account) {
            self.save_bindings(id);
        }
        self.unwatch(now, id, account);
        self.refuse_subscribers(now, id, account);
        if !self.shows_lamp(id) {
            self.forget_lamp(id);
        }
        self.drain_ua(now, calendar);
    }

    /// Those whose subscription waits for the counts, and whose device is no more.
    fn refuse_subscribers(&mut self, now: Instant, id: AccountId, account: Option<&Account>) {
        let is_gone = |(_, pending): &(&QuestionId, &mut Pending)| {
            matches!(pending, Pending::Watching(.., owner) if owner.person.account == id
                && !account.is_some_and(|account| account.has(owner.device.as_ref())))
        };
        let gone: Vec<Pending> = self
            .questions
            .iter_mut()
            .filter(is_gone)
            .map(|(_, pending)| std::mem::replace(pending, Pending::Nothing))
            .collect();
        for pending in gone {
            if let Pending::Watching(transaction, _, request, _) = pending {
                self.respond(now, transaction, &request, Status::FORBIDDEN.into());
            }
        }
    }

    /// Ends every call politely and refuses new ones. A message that is being left is delivered; its call lasts until then.
    pub fn close(&mut self, now: Instant, calendar: UnixTime) {
        self.closing = true;
        let mut ids: Vec<CallId> = self.calls.keys().copied().collect();
        ids.sort_unstable();
        for id in ids {
            self.dismiss(now, id);
        }
        self.drain_ua(now, calendar);
    }

    /// The next thing to do; [`Output::Timeout`] comes last.
    pub fn poll_output(&mut self) -> Output {
        self.output.pop_front().unwrap_or_else(|| {
            let times = [self.ua_timeout, self.registrar.next_timeout(), self.timers.next()];
            Output::Timeout(times.into_iter().flatten().min())
        })
    }

    pub(crate) fn ask(&mut self, question: Question, pending: Pending) {
        self.open_question(question, pending);
    }

    /// Asks what may have to be forgotten.
    pub(crate) fn open_question(&mut self, question: Question, pending: Pending) -> QuestionId {
        let id = QuestionId(self.number());
        self.questions.insert(id, pending);
        self.output.push_back(Output::Ask(id, question));
        id
    }

    /// Nobody waits for that any more, if it is open still.
    pub(crate) fn forget(&mut self, id: QuestionId) {
        if self.questions.remove(&id).is_some() {
            self.output.push_back(Output::Forget(id));
        }
    }

    pub(crate) fn command(&mut self, command: Command) {
        self.output.push_back(Output::Media(command));
    }

    pub(crate) fn release(&mut self, pair: PairId) {
        self.output.push_back(Output::Release(pair));
    }

    /// The bindings of an account have changed: they are to be saved, and nobody of it is remembered without one.
    pub(crate) fn save_bindings(&mut self, account: AccountId) {
        let bindings = self.registrar.bindings(account).to_vec();
        let address = match self.people.get(&account) {
            Some(person) if !bindings.is_empty() => format!("{}@{}", person.user, person.domain).into(),
            _ => "".into(),
        };
        if bindings.is_empty() {
            self.people.remove(&account);
            if !self.shows_lamp(account) {
                self.forget_lamp(account);
            }
        }
        self.output.push_back(Output::Event(Event::Bindings {
            account,
            address,
            bindings,
        }));
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    pub(crate) fn mint_call(&mut self, session: SessionId) -> CallId {
        let id = CallId(self.number());
        self.by_session.insert(session, id);
        id
    }

    pub(crate) fn mint_leg(&mut self, call: CallId) -> LegId {
        let leg = LegId(self.number());
        self.by_leg.insert(leg, call);
        leg
    }
}
