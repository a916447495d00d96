//! The service's machine: everything that happens to calls and registrations passes through [`Phone`].

use crate::access::{Access, Gate};
use crate::call::{Call, CallId, Stage};
use crate::config::Config;
use crate::lamp::Lamps;
use crate::question::{Answer, Device, LampCounts, Person, Question, QuestionId};
use crate::registrar::{Binding, Registrar};
use crate::reply::Reply;
use ringpost_base::{Deadlines, Instant, Rng, UnixTime};
use ringpost_media::{Command, Event as MediaEvent, LegId, PairId};
use ringpost_sip::ua::{RequestId, SessionId, SubscriptionId, Ua};
use ringpost_sip::{Arrival, Flow, Message, Method, Status, TransactionId, Transmit};
use ringpost_store::AccountId;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// What the service wants done.
#[derive(Debug)]
pub enum Output {
    /// Send these bytes.
    Transmit(Transmit),
    /// Answer this with [`Phone::handle_answer`].
    Ask(QuestionId, Question),
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
    Sockets(CallId, Vec<Binding>),
    Greeting(CallId),
    Delivered(CallId),
    Messages(CallId),
    Sound(CallId),
    /// The counts of an account whose phone has registered or subscribed.
    Lamp(AccountId),
    /// Whose bindings a REGISTER without credentials is about.
    Registering(TransactionId, Flow, Message),
    /// Whose lamp a SUBSCRIBE without credentials is about.
    Subscribing(TransactionId, Flow, Message),
    /// The counts for a subscription's first NOTIFY.
    Watching(SubscriptionId, u32),
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
    pub(crate) by_leg: HashMap<LegId, CallId>,
    /// The one timer that a call has: no answer while it rings, patience while it is in the menu.
    pub(crate) timers: Deadlines<CallId>,
    pub(crate) texts: HashMap<TransactionId, crate::text::Text>,
    /// Each phone that a text message was sent to, and the transaction that waits for it.
    pub(crate) text_forks: HashMap<RequestId, TransactionId>,
    questions: HashMap<QuestionId, Pending>,
    last_number: u64,
    pub(crate) rng: Rng,
    /// Requests within a session that were passed to the other leg, and what waits for the answer.
    pub(crate) passed: HashMap<RequestId, (TransactionId, Message)>,
    /// Who subscribed to their own lamp.
    pub(crate) subscribers: BTreeMap<SubscriptionId, Arc<Person>>,
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
            by_leg: HashMap::new(),
            timers: Deadlines::new(),
            texts: HashMap::new(),
            text_forks: HashMap::new(),
            questions: HashMap::new(),
            last_number: 0,
            rng,
            passed: HashMap::new(),
            subscribers: BTreeMap::new(),
            ua_timeout: None,
            output: VecDeque::new(),
            closing: false,
            config,
        }
    }

    /// Whether nothing is left of any call, question, text message or media leg.
    pub fn is_idle(&self) -> bool {
        self.calls.is_empty()
            && self.by_session.is_empty()
            && self.by_leg.is_empty()
            && self.questions.is_empty()
            && self.timers.is_empty()
            && self.texts.is_empty()
            && self.text_forks.is_empty()
            && self.passed.is_empty()
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
        self.config = config;
    }

    /// The accounts that have a phone registered.
    pub fn accounts(&self) -> Vec<AccountId> {
        self.registrar.accounts().collect()
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
                Some(Stage::Application(_)) => self.application_timeout(now, calendar, id),
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
            }
            MediaEvent::MediaTimeout { .. } => self.finish_call(now, id),
            other => self.application_media(now, calendar, id, other),
        }
        self.drain_ua(now, calendar);
    }

    /// A question is answered. One that fits no question is passed over.
    pub fn handle_answer(&mut self, now: Instant, calendar: UnixTime, id: QuestionId, answer: Answer) {
        let Some(pending) = self.questions.remove(&id) else {
            return;
        };
        match (pending, answer) {
            (Pending::Access(asker, flow, request), Answer::Device(device)) => {
                self.judge(now, calendar, asker, flow, request, device);
            }
            (Pending::Callee(call), Answer::Person(person)) => self.callee_found(now, call, person),
            (Pending::Sockets(call, bindings), Answer::Sockets(sockets)) => {
                self.sockets_open(now, call, bindings, sockets);
            }
            (Pending::Greeting(call), Answer::Sound(sound)) => self.greet(now, calendar, call, sound),
            (Pending::Delivered(call), Answer::Done(done)) => self.delivered(now, calendar, call, done),
            (Pending::Messages(call), Answer::Messages(list)) => self.listed(now, calendar, call, list),
            (Pending::Sound(call), Answer::Sound(sound)) => self.sound_fetched(now, calendar, call, sound),
            (Pending::Lamp(account), Answer::Lamp(counts)) => self.show_lamp(now, account, counts, true),
            (Pending::Registering(transaction, flow, request), Answer::Person(person)) => match person {
                Some(person) => self.bind(now, transaction, flow, &request, person),
                None => self.respond(now, transaction, &request, Status::NOT_FOUND.into()),
            },
            (Pending::Subscribing(transaction, flow, request), Answer::Person(person)) => match person {
                Some(person) => self.watch(now, transaction, flow, &request, person),
                None => self.respond(now, transaction, &request, Status::NOT_FOUND.into()),
            },
            (Pending::Watching(subscription, expires_s), Answer::Lamp(counts)) => {
                self.watching(now, subscription, expires_s, counts);
            }
            (Pending::Text(transaction, request, from), Answer::Person(to)) => {
                self.route_text(now, transaction, request, from, to);
            }
            _ => {}
        }
        self.drain_ua(now, calendar);
    }

    /// The voicemail of an account changed: its lamps follow.
    pub fn handle_lamp(&mut self, now: Instant, calendar: UnixTime, account: AccountId, counts: LampCounts) {
        self.show_lamp(now, account, counts, false);
        self.drain_ua(now, calendar);
    }

    /// An account was removed: its phones are registered no more.
    pub fn handle_removed(&mut self, account: AccountId) {
        self.registrar.remove(account);
        self.save_bindings(account);
    }

    /// Ends every call politely and refuses new ones.
    pub fn close(&mut self, now: Instant, calendar: UnixTime) {
        self.closing = true;
        let ids: Vec<CallId> = self.calls.keys().copied().collect();
        for id in ids {
            self.finish_call(now, id);
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

    /// A request outside dialogs, not yet known to be allowed.
    pub(crate) fn knock(
        &mut self,
        now: Instant,
        calendar: UnixTime,
        asker: Asker,
        flow: Flow,
        request: Message,
    ) {
        match self.gate.look(calendar, &self.config, &request) {
            Access::Ask(username, realm) => {
                self.ask(
                    Question::Device { username, realm },
                    Pending::Access(asker, flow, request),
                );
            }
            Access::Trusted => self.admit(now, calendar, asker, flow, request, None),
            Access::Proven(device) => {
                self.admit(now, calendar, asker, flow, request, Some(device.person.clone()));
            }
            Access::Refused(reply) => self.refuse(now, asker, &request, reply),
        }
    }

    fn judge(
        &mut self,
        now: Instant,
        calendar: UnixTime,
        asker: Asker,
        flow: Flow,
        request: Message,
        device: Option<Arc<Device>>,
    ) {
        match self.gate.judge(calendar, &self.config, &request, device) {
            Access::Proven(device) => {
                let person = device.person.clone();
                //= https://www.rfc-editor.org/rfc/rfc3261#section-22.1
                // Who has proven to be one person may not speak as another.
                if !crate::access::is_own(request.from(), &person, &self.config) {
                    return self.refuse(now, asker, &request, Status::FORBIDDEN.into());
                }
                self.admit(now, calendar, asker, flow, request, Some(person));
            }
            Access::Refused(reply) => self.refuse(now, asker, &request, reply),
            Access::Trusted | Access::Ask(..) => {
                self.refuse(now, asker, &request, Status::SERVER_INTERNAL_ERROR.into());
            }
        }
    }

    fn admit(
        &mut self,
        now: Instant,
        calendar: UnixTime,
        asker: Asker,
        flow: Flow,
        request: Message,
        person: Option<Arc<Person>>,
    ) {
        match asker {
            Asker::Session(session) if self.closing => {
                self.reject(now, session, Status::SERVICE_UNAVAILABLE.into());
            }
            Asker::Session(session) => self.begin_call(now, calendar, (session, flow, request), person),
            Asker::Transaction(transaction) => match request.method() {
                Method::Register => self.register(now, transaction, flow, request, person),
                Method::Message => self.begin_text(now, transaction, request, person),
                Method::Subscribe => self.subscribe(now, transaction, flow, request, person),
                _ => self.respond(now, transaction, &request, Status::METHOD_NOT_ALLOWED.into()),
            },
        }
    }

    fn refuse(&mut self, now: Instant, asker: Asker, request: &Message, reply: Reply) {
        match asker {
            Asker::Session(session) => self.reject(now, session, reply),
            Asker::Transaction(transaction) => self.respond(now, transaction, request, reply),
        }
    }

    pub(crate) fn ask(&mut self, question: Question, pending: Pending) {
        let id = QuestionId(self.number());
        self.questions.insert(id, pending);
        self.output.push_back(Output::Ask(id, question));
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
            self.forget_lamp(account);
        }
        self.output.push_back(Output::Event(Event::Bindings {
            account,
            address,
            bindings,
        }));
    }

    fn number(&mut self) -> u64 {
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
