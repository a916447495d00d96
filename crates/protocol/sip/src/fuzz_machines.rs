//! What the fuzzer does with the machines: bytes are read as a script of what happens.

use crate::ua::{
    CommandError, Content, Event as UaEvent, NewRequest, Output as UaOutput, SessionId, Standing,
    SubscriptionId, Ua, UaConfig,
};
use crate::{
    Arrival, Builder, Endpoint, EndpointConfig, Event, Flow, HeaderName, Message, Method, NameAddr, Output,
    Status, TransactionId, Transmit, Transport, Uri,
};
use bytes::Bytes;
use ringpost_base::{Instant, Rng};
use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

/// Steps of one script; what the bytes say behind them is not read.
const STEPS: usize = 400;
/// Outputs after one step; more is a machine that does not come to rest.
const OUTPUTS: usize = 2_000;
/// What the machines are limited to.
const LIMIT: usize = 12;

/// The bytes, as answers to questions; zeros when they are used up.
struct Script<'a>(&'a [u8]);

impl Script<'_> {
    fn byte(&mut self) -> usize {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        usize::from(*first)
    }

    fn of<'b, T>(&mut self, choices: &'b [T]) -> &'b T {
        &choices[self.byte() % choices.len()]
    }

    /// A short run of bytes as they are.
    fn raw(&mut self) -> Bytes {
        let len = (self.byte() * 4).min(self.0.len());
        let (raw, rest) = self.0.split_at(len);
        self.0 = rest;
        Bytes::copy_from_slice(raw)
    }

    fn is_over(&self) -> bool {
        self.0.is_empty()
    }
}

const STATUSES: [Status; 14] = [
    Status::TRYING,
    Status::RINGING,
    Status::SESSION_PROGRESS,
    Status::OK,
    Status::ACCEPTED,
    Status::MOVED_TEMPORARILY,
    Status::UNAUTHORIZED,
    Status::REQUEST_TIMEOUT,
    Status::CALL_DOES_NOT_EXIST,
    Status::BUSY_HERE,
    Status::REQUEST_TERMINATED,
    Status::REQUEST_PENDING,
    Status::SERVER_INTERNAL_ERROR,
    Status::DECLINE,
];

fn flow(transport: Transport, port: u16) -> Flow {
    Flow {
        transport,
        local: SocketAddr::from(([192, 0, 2, 1], 5060)),
        remote: SocketAddr::from(([192, 0, 2, 2], port)),
        connection: transport.is_reliable().then_some(u64::from(port)),
    }
}

const TRANSPORTS: [Transport; 3] = [Transport::Udp, Transport::Tcp, Transport::Tls];

struct EndpointScript<'a> {
    script: Script<'a>,
    now: Instant,
    endpoint: Endpoint,
    /// Requests of ours as they went out.
    ours: Vec<(Flow, Message)>,
    clients: Vec<TransactionId>,
    servers: Vec<(TransactionId, Message)>,
    next: Option<Instant>,
}

pub(crate) fn endpoint(data: &[u8]) {
    let config = EndpointConfig {
        transactions: LIMIT,
        ..EndpointConfig::default()
    };
    let mut run = EndpointScript {
        script: Script(data),
        now: Instant::ZERO,
        endpoint: Endpoint::new(config, Rng::from_number(1)),
        ours: Vec::new(),
        clients: Vec::new(),
        servers: Vec::new(),
        next: None,
    };
    for _ in 0..STEPS {
        if run.script.is_over() {
            break;
        }
        run.step();
        run.drain();
        assert!(
            run.endpoint.transactions() <= 2 * LIMIT,
            "the limit, and a CANCEL for each"
        );
    }
    run.finish();
}

impl EndpointScript<'_> {
    fn step(&mut self) {
        let flow = flow(
            *self.script.of(&TRANSPORTS),
            5060 + (self.script.byte() % 2) as u16,
        );
        match self.script.byte() % 10 {
            0..=2 => {
                let request = self.request(true);
                self.endpoint.handle_bytes(self.now, flow, request);
            }
            3 | 4 => self.response(flow),
            5 => {
                let request = self.request(false);
                self.clients
                    .extend(self.endpoint.request(self.now, flow, request));
            }
            6 => self.command(),
            7 => {
                let until = self.now + Duration::from_millis(37 * self.script.byte() as u64);
                self.now = self.next.map_or(until, |next| next.min(until)).max(self.now);
                self.endpoint.handle_timeout(self.now);
            }
            8 => self.endpoint.handle_transport_error(self.now, flow),
            _ => {
                let raw = self.script.raw();
                self.endpoint.handle_bytes(self.now, flow, raw);
            }
        }
    }

    /// A request from a small world of them, so that they meet; without Via it is ours.
    fn request(&mut self, is_peers: bool) -> Bytes {
        let methods = [
            Method::Invite,
            Method::Ack,
            Method::Cancel,
            Method::Bye,
            Method::Options,
            Method::Message,
        ];
        let method = self.script.of(&methods).clone();
        let uri = "sip:x@192.0.2.1".parse().expect("a URI");
        let mut builder = Builder::request(&method, &uri);
        if is_peers {
            let branch = *self
                .script
                .of(&["z9hG4bKa", "z9hG4bKb", "z9hG4bKc", "1", "z9hG4bK"]);
            let rport = *self.script.of(&["", ";rport"]);
            builder.header(
                HeaderName::Via,
                format_args!("SIP/2.0/UDP 192.0.2.2:5060{rport};branch={branch}"),
            );
        }
        let to_tag = *self.script.of(&["", ";tag=t", ";tag=u"]);
        builder
            .header(HeaderName::From, "<sip:y@h>;tag=f")
            .header(HeaderName::To, format_args!("<sip:x@h>{to_tag}"))
            .header(HeaderName::CallId, self.script.of(&["c", "d"]))
            .header(
                HeaderName::CSeq,
                format_args!("{} {method}", 1 + self.script.byte() % 3),
            )
            .header(HeaderName::Subject, "s".repeat(8 * self.script.byte()))
            .finish()
    }

    /// A response to something of ours.
    fn response(&mut self, flow: Flow) {
        if self.ours.is_empty() {
            return;
        }
        let (to, request) = &self.ours[self.script.byte() % self.ours.len()];
        let came_by = *self.script.of(&[*to, flow]);
        let status = *self.script.of(&STATUSES);
        let tag = *self.script.of(&["a", "b"]);
        let response = Builder::response(request, status, tag).finish();
        self.endpoint.handle_bytes(self.now, came_by, response);
    }

    fn command(&mut self) {
        let which = self.script.byte();
        if which.is_multiple_of(4) && !self.clients.is_empty() {
            let id = self.clients[self.script.byte() % self.clients.len()];
            return self.endpoint.cancel(self.now, id, Some("SIP;cause=200"));
        }
        if self.servers.is_empty() {
            return;
        }
        let (id, request) = self.servers[self.script.byte() % self.servers.len()].clone();
        let response = self
            .endpoint
            .response(&request, *self.script.of(&STATUSES))
            .finish();
        match which % 4 {
            1 => drop(self.endpoint.respond_stateless(self.now, id, response)),
            _ => drop(self.endpoint.respond(self.now, id, response)),
        }
    }

    fn drain(&mut self) {
        for _ in 0..OUTPUTS {
            match self.endpoint.poll_output() {
                Output::Transmit(Transmit { flow, message }) => {
                    let is_ours = !message.starts_with(b"SIP/2.0 ");
                    if let (true, Ok(message)) = (is_ours, Message::parse(message)) {
                        self.ours.push((flow, message));
                    }
                }
                Output::Event(Event::Request { id, request, .. }) => self.servers.push((id, request)),
                Output::Event(_) => {}
                Output::Timeout(next) => {
                    assert!(next.is_none_or(|next| next >= self.now), "what was due is done");
                    self.next = next;
                    return;
                }
            }
        }
        panic!("it does not come to rest");
    }

    /// Answers what waits and lets time pass: nothing may be left.
    fn finish(&mut self) {
        for (id, request) in std::mem::take(&mut self.servers) {
            let response = self
                .endpoint
                .response(&request, Status::TEMPORARILY_UNAVAILABLE)
                .finish();
            self.endpoint.respond(self.now, id, response);
        }
        for id in std::mem::take(&mut self.clients) {
            self.endpoint.cancel(self.now, id, None);
        }
        self.drain();
        for _ in 0..2_000 {
            let Some(next) = self.next else { break };
            self.now = next;
            self.endpoint.handle_timeout(next);
            self.drain();
        }
        let left = self.endpoint.holdings().map(|(_, count)| count);
        assert_eq!(left, [0; 4], "every transaction ends: {:?}", self.endpoint);
    }
}

/// Two user agents, and what is between them.
struct UaScript<'a> {
    script: Script<'a>,
    now: Instant,
    peers: [Peer; 2],
    wire: Vec<(usize, Transmit)>,
    is_hearing: bool,
}

struct Peer {
    ua: Ua,
    sessions: Vec<SessionId>,
    subscriptions: Vec<SubscriptionId>,
    waiting: Vec<(TransactionId, Message)>,
    over: HashSet<SessionId>,
    /// Sessions whose INVITE waits for an answer.
    asked: Vec<SessionId>,
    /// Sessions that want to know where their dialog leads.
    locating: Vec<(SessionId, Uri)>,
    next: Option<Instant>,
}

pub(crate) fn ua(data: &[u8]) {
    let mut script = Script(data);
    let is_timed = script.byte() % 2 == 1;
    let mut rng = Rng::from_number(1);
    let peers = [0, 1].map(|_| Peer::new(rng.fork(), is_timed));
    let mut run = UaScript {
        script,
        now: Instant::ZERO,
        peers,
        wire: Vec::new(),
        is_hearing: true,
    };
    for _ in 0..STEPS {
        if run.script.is_over() {
            break;
        }
        run.step();
        run.drain();
        run.react();
        run.drain();
        for peer in &run.peers {
            assert!(peer.ua.sessions() + peer.ua.subscriptions() <= LIMIT);
        }
    }
    run.finish();
}

impl Peer {
    fn new(rng: Rng, is_timed: bool) -> Peer {
        let mut allow = UaConfig::default().allow;
        allow.extend([Method::Subscribe, Method::Register]);
        let config = UaConfig {
            allow,
            events: vec!["message-summary".into()],
            dialogs: LIMIT,
            session_expires_s: is_timed.then_some(90),
            ..UaConfig::default()
        };
        Peer {
            ua: Ua::new(config, rng),
            sessions: Vec::new(),
            subscriptions: Vec::new(),
            waiting: Vec::new(),
            over: HashSet::new(),
            asked: Vec::new(),
            locating: Vec::new(),
            next: None,
        }
    }

    fn handle_event(&mut self, event: UaEvent) {
        let session = match &event {
            UaEvent::Invite { session, .. } => {
                self.sessions.push(*session);
                Some(*session)
            }
            UaEvent::Provisional { session, .. }
            | UaEvent::Answered { session, .. }
            | UaEvent::Acked { session, .. }
            | UaEvent::Reinvite { session, .. }
            | UaEvent::ReinviteGone { session }
            | UaEvent::ReinviteAnswered { session, .. }
            | UaEvent::ReinviteRefused { session, .. }
            | UaEvent::ReinviteAllowed { session }
            | UaEvent::RefreshDue { session }
            | UaEvent::Within { session, .. }
            | UaEvent::Terminated { session, .. } => Some(*session),
            _ => None,
        };
        if let Some(session) = session {
            assert!(
                !self.over.contains(&session),
                "nothing comes behind the end: {event:?}"
            );
        }
        match event {
            UaEvent::Invite { session, .. } | UaEvent::Reinvite { session, .. } => self.asked.push(session),
            UaEvent::Terminated { session, .. } => drop(self.over.insert(session)),
            UaEvent::Request { id, request, .. }
            | UaEvent::Within { id, request, .. }
            | UaEvent::Resubscribe { id, request, .. } => self.waiting.push((id, request)),
            UaEvent::Locate { session, uri } => self.locating.push((session, uri)),
            UaEvent::SubscriptionEnded { subscription, .. } => {
                self.subscriptions.retain(|s| *s != subscription)
            }
            _ => {}
        }
    }
}

impl UaScript<'_> {
    fn flow(&self, from: usize) -> Flow {
        let address = |who: usize| SocketAddr::from(([192, 0, 2, who as u8 + 1], 5060));
        Flow {
            transport: Transport::Udp,
            local: address(from),
            remote: address(1 - from),
            connection: None,
        }
    }

    fn step(&mut self) {
        let who = self.script.byte() % 2;
        match self.script.byte() % 8 {
            0 => self.deliver(),
            1 | 2 => self.deliver_all(),
            3 => {
                let until = self.now + Duration::from_millis(97 * self.script.byte() as u64);
                self.pass(until);
            }
            4 => {
                let flow = self.flow(who);
                let raw = self.script.raw();
                self.peers[who].ua.handle_bytes(self.now, flow, raw);
            }
            5 => self.begin(who),
            _ => self.command(who),
        }
    }

    /// Time passes, at most until something is due.
    fn pass(&mut self, until: Instant) {
        let due = self.peers.iter().filter_map(|peer| peer.next).min();
        self.now = due.map_or(until, |due| due.min(until)).max(self.now);
        for peer in &mut self.peers {
            peer.ua.handle_timeout(self.now);
        }
    }

    /// One message arrives, or is lost, or comes and stays, or loses a bit.
    fn deliver(&mut self) {
        if self.wire.is_empty() {
            return;
        }
        let at = self.script.byte() % self.wire.len();
        let (to, transmit) = self.wire[at].clone();
        let flow = self.flow(to);
        let what = self.script.byte() % 16;
        let mut message = transmit.message;
        if what == 0 {
            let mut bytes = message.to_vec();
            let place = self.script.byte() * 256 + self.script.byte();
            let len = bytes.len();
            bytes[place % len] ^= 1 << (self.script.byte() % 8);
            message = bytes.into();
        }
        if what != 1 {
            self.wire.remove(at);
        }
        if what != 2 {
            self.peers[to].ua.handle_bytes(self.now, flow, message);
        }
    }

    /// Everything that is on its way arrives, and so do the answers to it.
    fn deliver_all(&mut self) {
        for _ in 0..30 {
            let Some((to, transmit)) = (!self.wire.is_empty()).then(|| self.wire.remove(0)) else {
                return;
            };
            let flow = self.flow(to);
            self.peers[to].ua.handle_bytes(self.now, flow, transmit.message);
            self.drain();
        }
    }

    /// Most questions are answered at once, in one way or the other.
    fn react(&mut self) {
        for who in [0, 1] {
            for session in std::mem::take(&mut self.peers[who].asked) {
                let (what, ua) = (self.script.byte() % 8, &mut self.peers[who].ua);
                let _ = match what {
                    0 => ua.ring(self.now, session, Status::RINGING, Content::none()),
                    1 => ua.reject(self.now, session, Status::BUSY_HERE, Content::none()),
                    2 => Ok(()),
                    _ => ua.answer(self.now, session, Content::sdp("answer")),
                };
            }
            for (session, uri) in std::mem::take(&mut self.peers[who].locating) {
                let flow = self.flow(who);
                match self.script.byte() % 4 {
                    0 => self.peers[who].locating.push((session, uri)),
                    1 => self.peers[who].ua.located(self.now, session, &uri, None),
                    _ => self.peers[who].ua.located(self.now, session, &uri, Some(flow)),
                }
            }
            while !self.peers[who].waiting.is_empty() && !self.script.byte().is_multiple_of(4) {
                self.answer_waiting(who, Status::OK);
            }
        }
    }

    fn begin(&mut self, who: usize) {
        let address = |who: usize| -> NameAddr {
            format!("<sip:p@192.0.2.{}>", who + 1)
                .parse()
                .expect("an address")
        };
        let mut request = NewRequest::new(Method::Invite, self.flow(who), address(who), address(1 - who));
        let kind = self.script.byte();
        let body = *self.script.of(&[None, Some("offer")]);
        let peer = &mut self.peers[who];
        request.content = body.map_or(Content::none(), Content::sdp);
        request.follows_dialog = kind & 4 != 0;
        match kind % 4 {
            0 | 1 => peer.sessions.extend(peer.ua.invite(self.now, request)),
            2 => {
                request.content = Content::none()
                    .with("Event", "message-summary")
                    .with("Expires", 100);
                peer.subscriptions.extend(peer.ua.subscribe(self.now, request));
            }
            _ => {
                request.method = Method::Message;
                let _ = peer.ua.request(self.now, request);
            }
        }
    }

    fn command(&mut self, who: usize) {
        let (what, which) = (self.script.byte() % 16, self.script.byte());
        let status = *self.script.of(&STATUSES);
        let flow = self.flow(who);
        let peer = &mut self.peers[who];
        if what == 13 {
            peer.ua.handle_arrival(self.now, Arrival::Failed { flow });
        }
        let (now, ua) = (self.now, &mut peer.ua);
        if let Some(session) = recent(&peer.sessions, which) {
            let done = match what {
                0 => ua.ring(now, session, status, Content::none()),
                1 | 2 => ua.answer(now, session, Content::sdp("answer")),
                3 => ua.reject(now, session, status, Content::none()),
                4 => ua.reject_stateless(now, session, status, Content::none()),
                5 => ua.ack(now, session, Content::sdp("answer")),
                6 | 7 | 14 | 15 => ua.reinvite(now, session, Content::sdp("offer")),
                8 => ua.hang_up(now, session, None),
                9 => ua
                    .request_within(now, session, Method::Info, Content::none())
                    .map(drop),
                10 => ua
                    .request_within(now, session, Method::Update, Content::sdp("offer"))
                    .map(drop),
                _ => Ok(()),
            };
            assert!(
                !peer.over.contains(&session) || (11..14).contains(&what) || done == Err(CommandError::Over)
            );
        }
        if let Some(subscription) = recent(&peer.subscriptions, which) {
            match what {
                11 => drop(ua.notify(now, subscription, Standing::Active, Content::none())),
                12 => drop(ua.notify(
                    now,
                    subscription,
                    Standing::Terminated("noresource"),
                    Content::none(),
                )),
                13 => drop(ua.unsubscribe(now, subscription)),
                _ => {}
            }
        }
        if what > 13 && !peer.waiting.is_empty() {
            self.answer_waiting(who, status);
        }
    }

    /// Answers the last request that waits.
    fn answer_waiting(&mut self, who: usize, status: Status) {
        let (now, flow, peer) = (self.now, self.flow(who), &mut self.peers[who]);
        let Some((id, request)) = peer.waiting.pop() else {
            return;
        };
        if *request.method() == Method::Subscribe && status.is_success() {
            if request.to_tag().is_none() {
                let accepted = peer.ua.accept_subscription(now, id, flow, &request, 100);
                peer.subscriptions.extend(accepted);
            }
            for subscription in peer.subscriptions.clone() {
                let _ = peer.ua.renew(now, subscription, id, &request, 50);
                let _ = peer
                    .ua
                    .notify(now, subscription, Standing::Active, Content::none());
            }
        } else {
            let response = peer.ua.response(&request, status).finish();
            peer.ua.respond(now, id, response);
        }
    }

    fn drain(&mut self) {
        for who in [0, 1] {
            let mut outputs = 0;
            loop {
                outputs += 1;
                assert!(outputs < OUTPUTS, "it does not come to rest");
                match self.peers[who].ua.poll_output() {
                    UaOutput::Transmit(transmit) if self.is_hearing => self.wire.push((1 - who, transmit)),
                    UaOutput::Transmit(_) => {}
                    UaOutput::Event(event) => self.peers[who].handle_event(event),
                    UaOutput::Timeout(next) => {
                        assert!(next.is_none_or(|next| next >= self.now), "what was due is done");
                        self.peers[who].next = next;
                        break;
                    }
                }
            }
        }
    }

    /// Everybody hangs up, and nobody hears the other any more: nothing may be left.
    fn finish(&mut self) {
        self.is_hearing = self.script.byte().is_multiple_of(2);
        for who in [0, 1] {
            let peer = &mut self.peers[who];
            for session in peer.sessions.clone() {
                let _ = peer.ua.hang_up(self.now, session, None);
            }
            for subscription in peer.subscriptions.clone() {
                let _ = peer.ua.unsubscribe(self.now, subscription);
            }
        }
        self.drain();
        for _ in 0..20_000 {
            for peer in &mut self.peers {
                for (session, uri) in std::mem::take(&mut peer.locating) {
                    peer.ua.located(self.now, session, &uri, None);
                }
            }
            self.drain();
            if let Some((to, transmit)) = self.wire.pop() {
                let flow = self.flow(to);
                self.peers[to].ua.handle_bytes(self.now, flow, transmit.message);
                self.drain();
                for who in [0, 1] {
                    for session in std::mem::take(&mut self.peers[who].sessions) {
                        let _ = self.peers[who].ua.hang_up(self.now, session, None);
                    }
                }
                self.drain();
            } else if let Some(next) = self.peers.iter().filter_map(|peer| peer.next).min() {
                self.pass(next);
                self.drain();
            } else {
                break;
            }
        }
        for peer in &self.peers {
            let left: Vec<_> = peer.ua.holdings().filter(|(_, count)| *count > 0).collect();
            assert_eq!(left, [], "sessions, subscriptions and transactions end");
        }
    }
}

/// One of the last few, which are more likely to be alive.
fn recent<T: Copy>(all: &[T], which: usize) -> Option<T> {
    let back = if which < 240 {
        which % all.len().clamp(1, 2)
    } else {
        which % all.len().max(1)
    };
    all.iter().rev().nth(back).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(seed: u64) -> Vec<u8> {
        let mut rng = Rng::from_number(seed);
        let mut data = vec![0; 100 + rng.below(900) as usize];
        rng.fill(&mut data);
        // Small numbers choose more evenly among commands that belong together.
        if seed.is_multiple_of(2) {
            data.iter_mut().for_each(|byte| *byte %= 16);
        }
        data
    }

    #[test]
    fn random_scripts_leave_nothing_in_an_endpoint() {
        for seed in 0..300 {
            endpoint(&random(seed));
        }
    }

    #[test]
    fn random_scripts_leave_nothing_in_user_agents() {
        for seed in 0..300 {
            ua(&random(seed));
        }
    }
}
