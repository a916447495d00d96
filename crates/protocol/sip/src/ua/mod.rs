//! A user agent: see [`Ua`].

mod callee;
mod caller;
mod checks;
mod course;
mod refresh;
mod send;
mod session;
mod slab;
mod subscription;
#[cfg(test)]
mod tests;
mod types;
mod within;

pub use subscription::Standing;
pub use types::{
    Body, CommandError, Content, Event, LoginId, NewRequest, Output, Reason, RequestId, SessionId,
    SubscriptionId, UaConfig,
};

use crate::dialog::Dialog;
use crate::endpoint::{self, Endpoint, Failure};
use crate::flow::{Arrival, Flow, Transport};
use crate::header::HeaderName;
use crate::message::{Builder, Message};
use crate::method::Method;
use crate::mint::Mint;
use crate::status::Status;
use crate::transaction::{KeyMap, Keyring, Timing, TransactionId};
use crate::uri::Uri;
use bytes::Bytes;
use checks::Phrases;
use ringpost_auth::digest::DigestClient;
use ringpost_base::{Deadlines, Instant, Rng, limits};
use send::{Login, Pending, Purpose};
use session::{Ack, Incoming, Outgoing, Session, State, Timer};
use slab::Slab;
use std::collections::{HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use subscription::Subscription;

/// A SIP user agent, client and server (RFC 3261 §8 to §15): INVITE sessions, subscriptions, and other requests, over an
/// [`Endpoint`] of its own. The same machine drives a test phone with one call and a back-to-back agent with thousands.
///
/// It answers by itself what the RFC leaves no choice about: unknown dialogs, methods, extensions and bodies; ACKs,
/// retransmitted answers and late forks; crossing offers; challenges, where a password was given for them. The rest are
/// [`Event`]s, answered by commands. Session descriptions are bytes to it.
///
/// After every `handle_…` and every command, [`poll_output`](Ua::poll_output) is drained until it says
/// [`Output::Timeout`].
#[derive(Debug)]
pub struct Ua {
    endpoint: Endpoint,
    config: UaConfig,
    phrases: Phrases,
    rng: Rng,
    keyring: Keyring,
    sessions: Slab<Session>,
    /// Those whose requests go where their dialog leads.
    following: HashSet<SessionId>,
    subscriptions: Slab<Subscription>,
    /// Sessions and subscriptions by Call-ID and our tag.
    usages: KeyMap<Usage>,
    /// Our requests by their transaction.
    pending: HashMap<TransactionId, Pending>,
    /// Sessions by the INVITE that waits for their answer.
    serving: HashMap<TransactionId, SessionId>,
    timers: Deadlines<Timer>,
    logins: Vec<Login>,
    requests: u64,
    outputs: VecDeque<Output>,
}

/// Whose a dialog is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Usage {
    Session(SessionId),
    Subscription(SubscriptionId),
}

impl Ua {
    /// A user agent without sessions.
    pub fn new(config: UaConfig, mut rng: Rng) -> Self {
        Ua {
            endpoint: Endpoint::new(config.endpoint.clone(), rng.fork()),
            phrases: Phrases::new(&config),
            keyring: Keyring::new(&mut rng),
            rng,
            config,
            sessions: Slab::default(),
            following: HashSet::new(),
            subscriptions: Slab::default(),
            usages: KeyMap::default(),
            pending: HashMap::new(),
            serving: HashMap::new(),
            timers: Deadlines::new(),
            logins: Vec::new(),
            requests: 0,
            outputs: VecDeque::new(),
        }
    }

    /// Sessions, those included that are over but have transactions left.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Subscriptions, ours and others'.
    pub fn subscriptions(&self) -> usize {
        self.subscriptions.len()
    }

    /// Transactions, the finished ones that linger included.
    pub fn transactions(&self) -> usize {
        self.endpoint.transactions()
    }

    /// Everything that is kept, and how much of it: all zero a while after all is over.
    pub fn holdings(&self) -> impl Iterator<Item = (&'static str, usize)> {
        let own = [
            ("sessions", self.sessions.len()),
            ("subscriptions", self.subscriptions.len()),
            ("dialogs", self.usages.len()),
            ("requests without an answer", self.pending.len()),
            ("INVITEs to be answered", self.serving.len()),
            ("timers of sessions", self.timers.len()),
        ];
        own.into_iter().chain(self.endpoint.holdings())
    }

    /// The dialog of a session, once it has one: the caller's first early one, until one stands.
    pub fn dialog(&self, session: SessionId) -> Option<&Dialog> {
        let session = self.sessions.get(session.0)?;
        session.dialog.as_ref().or(session.early.first())
    }

    /// Whether anything was heard of our call, and be it that it is being tried.
    pub fn was_heard(&self, session: SessionId) -> bool {
        self.sessions
            .get(session.0)
            .is_some_and(|session| session.is_heard)
    }

    /// The way that the session's peer was last heard by.
    pub fn flow(&self, session: SessionId) -> Option<Flow> {
        self.sessions.get(session.0).map(|session| session.flow)
    }

    /// The session with that Call-ID, our tag and the peer's: what Replaces and Join name (RFC 3891 §3).
    pub fn find(&self, call_id: &str, local_tag: &str, remote_tag: &str) -> Option<SessionId> {
        let Usage::Session(id) = *self.usages.get(&self.keyring.dialog(call_id, local_tag))? else {
            return None;
        };
        let session = self
            .sessions
            .get(id.0)
            .filter(|session| session.state != State::Over)?;
        let mut dialogs = session.dialog.iter().chain(&session.early);
        dialogs
            .any(|dialog| dialog.remote_tag() == remote_tag)
            .then_some(id)
    }

    /// The session whose Call-ID and tag of ours a request has as its own: what we sent has come back to us.
    pub fn sent_as(&self, call_id: &str, from_tag: &str) -> Option<SessionId> {
        match *self.usages.get(&self.keyring.dialog(call_id, from_tag))? {
            Usage::Session(id) => Some(id),
            Usage::Subscription(_) => None,
        }
    }

    /// Behaves as `config` says from now on; what is under way goes on as it began. The shard and the timing stay.
    pub fn configure(&mut self, config: UaConfig) {
        self.phrases = Phrases::new(&config);
        self.endpoint.configure(config.endpoint.clone());
        self.config = config;
    }

    /// Makes tags and Call-IDs that carry our shard's number.
    pub fn mint(&mut self) -> &mut Mint {
        self.endpoint.mint()
    }

    /// Keeps a password, for requests that name it. It is used for challenges of exactly that realm.
    pub fn add_login(&mut self, realm: &str, user: &str, password: &str) -> LoginId {
        let client = DigestClient::new(realm, user, password, self.rng.fork());
        self.logins.push(Login::new(client));
        LoginId(self.logins.len() as u64 - 1)
    }

    /// The sockets brought something.
    pub fn handle_arrival(&mut self, now: Instant, arrival: Arrival) {
        if let Arrival::Closed { flow } | Arrival::Failed { flow } = &arrival {
            self.lose_courses(flow);
        }
        self.endpoint.handle_arrival(now, arrival);
        self.pump(now);
    }

    /// Bytes came: one datagram, or one message of a stream.
    pub fn handle_bytes(&mut self, now: Instant, flow: Flow, bytes: Bytes) {
        self.endpoint.handle_bytes(now, flow, bytes);
        self.pump(now);
    }

    /// A message came.
    pub fn handle_message(&mut self, now: Instant, flow: Flow, message: Message) {
        self.endpoint.handle_message(now, flow, message);
        self.pump(now);
    }

    /// A message could not be sent over `flow`, or its connection closed.
    pub fn handle_transport_error(&mut self, now: Instant, flow: Flow) {
        self.lose_courses(&flow);
        self.endpoint.handle_transport_error(now, flow);
        self.pump(now);
    }

    /// Time has come for what [`Output::Timeout`] said.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.endpoint.handle_timeout(now);
        self.pump(now);
        while let Some(timer) = self.timers.pop_due(now) {
            self.handle_timer(now, timer);
            self.pump(now);
        }
    }

    /// The next thing to do; [`Output::Timeout`] comes last.
    pub fn poll_output(&mut self) -> Output {
        if let Some(output) = self.outputs.pop_front() {
            return output;
        }
        let transactions = match self.endpoint.poll_output() {
            endpoint::Output::Timeout(at) => at,
            endpoint::Output::Transmit(transmit) => return Output::Transmit(transmit),
            endpoint::Output::Event(event) => return Output::Event(Event::Notice(event)),
        };
        Output::Timeout(match (transactions, self.timers.next()) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        })
    }

    /// Sends a request outside of any dialog, other than INVITE and SUBSCRIBE. Its responses are [`Event::Response`]s.
    pub fn request(&mut self, now: Instant, request: NewRequest) -> Result<RequestId, CommandError> {
        if matches!(request.method, Method::Invite | Method::Subscribe) {
            return Err(CommandError::State);
        }
        let head = self.head(&request);
        let id = self.next_request();
        let NewRequest { content, login, .. } = request;
        self.send_free(now, Purpose::Free(id), head, content, login, 0)?;
        self.pump(now);
        Ok(id)
    }

    /// Sends a request within a session, other than INVITE and BYE. Its responses are [`Event::Response`]s.
    pub fn request_within(
        &mut self,
        now: Instant,
        session: SessionId,
        method: Method,
        content: Content,
    ) -> Result<RequestId, CommandError> {
        self.live(session)?;
        if matches!(
            method,
            Method::Invite | Method::Bye | Method::Ack | Method::Cancel
        ) {
            return Err(CommandError::State);
        }
        let id = self.next_request();
        self.send_when_located(now, Purpose::Within(session, id), method, content)?;
        self.pump(now);
        Ok(id)
    }

    fn next_request(&mut self) -> RequestId {
        self.requests += 1;
        RequestId(self.requests)
    }

    /// The beginning of a response to `request`, for [`respond`](Ua::respond). A refusal does not say what refuses: it
    /// stays short, and tells a scanner nothing.
    pub fn response(&self, request: &Message, status: Status) -> Builder {
        let mut builder = self.endpoint.response(request, status);
        if !self.config.agent.is_empty() && !status.is_failure() {
            builder.header(HeaderName::Server, &self.config.agent);
        }
        builder
    }

    /// A 200 to an OPTIONS: what we understand (RFC 3261 §11.2). Anybody may ask, with another's address in its datagram:
    /// outside dialogs over UDP there is as much of it as a [short answer](limits::SIP_ANSWER_PERCENT) has room for, what matters most
    /// first.
    pub fn options_response(&self, id: TransactionId, request: &Message) -> Bytes {
        let mut builder = self.endpoint.response(request, Status::OK);
        let room = self.room_for_answer(id, request);
        for (name, value) in self.phrases.capabilities(&self.config.agent) {
            if !value.is_empty() {
                builder.header_within(room, name, value);
            }
        }
        builder.finish()
    }

    /// How long an answer may be with what it could do without.
    fn room_for_answer(&self, id: TransactionId, request: &Message) -> usize {
        match self.endpoint.flow_of(id) {
            Some(flow) if !flow.transport.is_reliable() && request.to_tag().is_none() => {
                request.bytes().len() * limits::SIP_ANSWER_PERCENT / 100
            }
            _ => usize::MAX,
        }
    }

    /// Answers an [`Event::Request`] or [`Event::Within`]; see [`Endpoint::respond`].
    pub fn respond(&mut self, now: Instant, id: TransactionId, response: Bytes) -> bool {
        let sent = self.endpoint.respond(now, id, response);
        self.pump(now);
        sent
    }

    /// Answers an [`Event::Request`] and forgets it at once; see [`Endpoint::respond_stateless`].
    pub fn respond_stateless(&mut self, now: Instant, id: TransactionId, response: Bytes) -> bool {
        let sent = self.endpoint.respond_stateless(now, id, response);
        self.pump(now);
        sent
    }

    fn timing(&self) -> &Timing {
        &self.config.endpoint.timing
    }

    fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    /// Takes what the transaction layer has to say.
    fn pump(&mut self, now: Instant) {
        loop {
            match self.endpoint.poll_output() {
                endpoint::Output::Transmit(transmit) => self.outputs.push_back(Output::Transmit(transmit)),
                endpoint::Output::Event(event) => self.handle_event(now, event),
                endpoint::Output::Timeout(_) => return,
            }
        }
    }

    fn handle_event(&mut self, now: Instant, event: endpoint::Event) {
        match event {
            endpoint::Event::Request { id, flow, request } => self.handle_request(now, id, flow, request),
            endpoint::Event::Cancelled { id, request } => self.handle_cancelled(now, id, request),
            endpoint::Event::Ack { flow, request } => self.handle_ack(now, flow, request),
            endpoint::Event::Response { id, flow, response } => self.handle_response(now, id, flow, response),
            endpoint::Event::Failed { id, failure } => self.handle_failure(now, id, failure),
            endpoint::Event::Ended { id } => self.handle_ended(id),
            notice => self.event(Event::Notice(notice)),
        }
    }

    fn handle_response(&mut self, now: Instant, id: TransactionId, flow: Flow, response: Message) {
        let Some(pending) = self.pending.get(&id) else {
            return;
        };
        let purpose = pending.purpose;
        let Some(status) = response.status() else { return };
        let goes_on = match purpose {
            Purpose::Invite(_) | Purpose::Reinvite(_) => !status.is_failure(),
            _ => status.is_provisional(),
        };
        if goes_on {
            return match purpose {
                Purpose::Invite(session) => self.invite_response(now, session, flow, response),
                Purpose::Reinvite(session) => self.reinvite_response(now, session, flow, response),
                Purpose::Within(_, request) | Purpose::Free(request) => {
                    self.event(Event::Response { request, response });
                }
                _ => {}
            };
        }
        let Some(mut pending) = self.pending.remove(&id) else {
            return;
        };
        if !self.was_cancelled(purpose)
            && let Some((id, sent)) = self.try_again(now, &mut pending, &response)
        {
            self.sent_again(purpose, id, sent);
            return self.release(purpose);
        }
        match purpose {
            Purpose::Invite(session) => self.invite_refused(now, session, response),
            Purpose::Reinvite(session) => self.reinvite_refused(now, session, response),
            Purpose::Bye(_) => {}
            Purpose::Refresh(session) => self.refreshed(now, session, Some(&response)),
            Purpose::Within(session, request) => {
                self.within_answered(now, session, &pending.method, status);
                self.event(Event::Response { request, response });
            }
            Purpose::Free(request) => self.event(Event::Response { request, response }),
            Purpose::Subscribe(subscription) => self.subscribe_answered(now, subscription, flow, response),
            Purpose::Notify(subscription) => self.notify_answered(subscription, Some(status)),
        }
        self.release(purpose);
    }

    fn handle_failure(&mut self, now: Instant, id: TransactionId, failure: Failure) {
        let Some(Pending { purpose, .. }) = self.pending.remove(&id) else {
            return;
        };
        match purpose {
            Purpose::Invite(session) => self.invite_failed(now, session, failure),
            // A dialog whose peer does not answer is over (RFC 3261 §12.2.1.2).
            Purpose::Reinvite(session) => self.drop_session(now, session, Reason::Gone),
            Purpose::Bye(_) => {}
            Purpose::Refresh(session) => self.refreshed(now, session, None),
            Purpose::Within(_, request) | Purpose::Free(request) => {
                self.event(Event::Failed { request, failure })
            }
            Purpose::Subscribe(subscription) => self.end_subscription(subscription, None),
            Purpose::Notify(subscription) => self.notify_answered(subscription, None),
        }
        self.release(purpose);
    }

    /// An INVITE's transaction is over, and with it the time in which further 2xx may come; or a request was not answered.
    fn handle_ended(&mut self, id: TransactionId) {
        self.serving.remove(&id);
        let Some(pending) = self.pending.remove(&id) else {
            return;
        };
        if let Some(session) = pending
            .purpose
            .session()
            .and_then(|id| self.sessions.get_mut(id.0))
        {
            session.acks.retain(|ack| ack.cseq != pending.cseq);
            if session.dialog.is_some() {
                session.first = None;
                session.early = Vec::new();
            }
        }
        self.release(pending.purpose);
    }

    /// A session needs one transaction less.
    fn release(&mut self, purpose: Purpose) {
        let Some(id) = purpose.session() else { return };
        let Some(session) = self.sessions.get_mut(id.0) else {
            return;
        };
        session.holds = session.holds.saturating_sub(1);
        self.forget_if_over(id);
    }

    fn forget_if_over(&mut self, id: SessionId) {
        let is_done = |session: &Session| session.state == State::Over && session.holds == 0;
        if self.sessions.get(id.0).is_some_and(is_done)
            && let Some(session) = self.sessions.remove(id.0)
        {
            self.usages.remove(&session.key);
            self.following.remove(&id);
        }
    }

    fn handle_timer(&mut self, now: Instant, timer: Timer) {
        match timer {
            Timer::Answer(id) => self.repeat_answer(now, id),
            Timer::NoAck(id) => self.give_up_answer(now, id),
            Timer::Ring(id) => self.repeat_ringing(now, id),
            Timer::Expires(id) => self.expire_invite(now, id),
            Timer::RingLimit(id) => self.ring_out(now, id),
            Timer::Glare(id) => self.end_glare(id),
            Timer::Refresh(id) => self.refresh(now, id),
            Timer::Stale(id) => self.drop_session(now, id, Reason::Gone),
            Timer::Renew(id) => self.renew_ours(now, id),
            Timer::Unsubscribed(id) => self.expire_subscription(now, id),
        }
    }

    /// The session, if it is not over.
    fn live(&mut self, id: SessionId) -> Result<&mut Session, CommandError> {
        let session = self
            .sessions
            .get_mut(id.0)
            .filter(|session| session.state != State::Over);
        session.ok_or(CommandError::Over)
    }

    /// Tells that a session is over, and keeps of it what its transactions need.
    fn terminate(&mut self, now: Instant, id: SessionId, reason: Reason) {
        let Ok(session) = self.live(id) else { return };
        session.state = State::Over;
        session.early = Vec::new();
        let outgoing = session.outgoing.as_ref().filter(|outgoing| !outgoing.is_answered);
        let outgoing = outgoing.map(|outgoing| outgoing.id);
        if let Some(incoming) = session.incoming.take() {
            self.serving.remove(&incoming.id);
        }
        if let Some(transaction) = outgoing {
            // A re-INVITE of ours that the peer has begun to answer would otherwise wait for ever.
            self.endpoint.cancel(now, transaction, None);
        }
        for timer in Session::timers(id) {
            self.timers.remove(&timer);
        }
        self.drop_parked(id);
        self.event(Event::Terminated { session: id, reason });
        self.forget_if_over(id);
    }
}
