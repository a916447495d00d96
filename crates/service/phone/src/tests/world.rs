//! The service in the middle, telephones around it, and a clock that jumps from one thing that happens to the next.

use super::media::MediaPlane;
use super::office::Office;
use super::peer::Peer;
use crate::{Account, Answer, Config, Event, MediaSocket, Output, Phone, Question, QuestionId};
use bytes::Bytes;
use ringpost_base::{Instant, Rng, UnixTime};
use ringpost_media::LegId;
use ringpost_sip::ua::{self, SessionId};
use ringpost_sip::{Arrival, Builder, Flow, HeaderName, Message, Method, Status, Transmit, Transport};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

pub(super) const SERVER: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 5060);

/// Places in the world's list of telephones.
pub(super) const ALICE: usize = 0;
pub(super) const BOB: usize = 1;

pub(super) struct World {
    pub(super) now: Instant,
    pub(super) phone: Phone,
    pub(super) peers: Vec<Peer>,
    pub(super) media: MediaPlane,
    pub(super) office: Office,
    /// What the service has told.
    pub(super) events: Vec<Event>,
    /// Every message that was sent, lost ones included.
    pub(super) sent: Vec<Sent>,
    /// Questions that wait until [`World::answer_held`].
    #[allow(clippy::type_complexity)]
    pub(super) hold_if: Box<dyn Fn(&Question) -> bool>,
    pub(super) held: Vec<(QuestionId, Question)>,
    answers: Vec<(QuestionId, Answer)>,
    wire: Vec<Packet>,
    pub(super) rng: Rng,
    /// The share of datagrams that is lost, and that comes twice.
    pub(super) loss: f64,
    pub(super) duplication: f64,
    /// One way, between these.
    pub(super) delay: (Duration, Duration),
    /// Drops what it says true to.
    #[allow(clippy::type_complexity)]
    pub(super) drop_if: Box<dyn FnMut(&Sent) -> bool>,
}

/// One message on its way.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    /// The phone that sent it, or `None` for the service.
    pub(super) from: Option<usize>,
    /// The phone that it is for, or `None` for the service.
    pub(super) to: Option<usize>,
    pub(super) message: Message,
}

impl Sent {
    /// `INVITE`, or `200 INVITE`.
    pub(super) fn what(&self) -> String {
        match self.message.status() {
            Some(status) => format!("{status} {}", self.message.method()),
            None => self.message.method().to_string(),
        }
    }
}

struct Packet {
    at: Instant,
    to: Option<usize>,
    /// The flow as the receiver sees it.
    flow: Flow,
    bytes: Bytes,
}

pub(super) fn config() -> Config {
    Config {
        domains: vec!["example.org".into(), "example.net".into()],
        ..Config::default()
    }
}

pub(super) fn seconds(s: u64) -> Duration {
    Duration::from_secs(s)
}

impl World {
    /// Alice and Bob, registered, over UDP.
    pub(super) fn new() -> World {
        World::of(&["alice", "bob"])
    }

    /// These people's phones, registered, over UDP.
    pub(super) fn of(names: &[&'static str]) -> World {
        let mut world = World::with(1, config(), Transport::Udp, names);
        world.register_all();
        world
    }

    pub(super) fn with(seed: u64, config: Config, transport: Transport, names: &[&'static str]) -> World {
        let mut rng = Rng::from_number(seed);
        let peers = names
            .iter()
            .zip(2..)
            .map(|(name, n)| {
                let address = SocketAddr::from(([198, 51, 100, n], 5060));
                Peer::new(name, address, transport, &mut rng)
            })
            .collect();
        World {
            now: Instant::ZERO,
            phone: Phone::new(config, rng.fork()),
            peers,
            media: MediaPlane::new(),
            office: Office::new(),
            events: Vec::new(),
            sent: Vec::new(),
            hold_if: Box::new(|_| false),
            held: Vec::new(),
            answers: Vec::new(),
            wire: Vec::new(),
            rng,
            loss: 0.0,
            duplication: 0.0,
            delay: (Duration::from_millis(10), Duration::from_millis(10)),
            drop_if: Box::new(|_| false),
        }
    }

    pub(super) fn register_all(&mut self) {
        for peer in &mut self.peers {
            peer.register(self.now, 3_600);
        }
        self.run_ms(1_000);
        assert_eq!(self.phone.registered(), self.peers.len(), "everybody registers");
        self.forget();
    }

    /// Forgets what has happened so far.
    pub(super) fn forget(&mut self) {
        self.sent.clear();
        self.events.clear();
        self.office.asked.clear();
        self.peers.iter_mut().for_each(|peer| peer.events.clear());
    }

    pub(super) fn calendar(&self) -> UnixTime {
        UnixTime::from_secs(1_700_000_000) + self.now.since(Instant::ZERO)
    }

    // Time.

    /// Runs until nothing is on the wire and nothing falls due before `until`.
    pub(super) fn run_until(&mut self, until: Instant) {
        while self.step(until) {}
    }

    pub(super) fn run_ms(&mut self, ms: u64) {
        self.run_until(self.now + Duration::from_millis(ms));
    }

    pub(super) fn run_s(&mut self, s: u64) {
        self.run_ms(1_000 * s);
    }

    /// Lets one thing happen, not after `until`; false when there is none.
    fn step(&mut self, until: Instant) -> bool {
        let Some(next) = self.flush().filter(|next| *next <= until) else {
            self.now = self.now.max(until);
            return false;
        };
        self.now = self.now.max(next);
        let (now, calendar) = (self.now, self.calendar());
        if let Some((id, answer)) = self.answers.pop() {
            self.phone.handle_answer(now, calendar, id, answer);
            return true;
        }
        if let Some(event) = self.media.poll(now) {
            self.phone.handle_media(now, calendar, event);
            return true;
        }
        let first = (0..self.wire.len()).min_by_key(|i| (self.wire[*i].at, *i));
        match first.filter(|i| self.wire[*i].at <= now) {
            Some(i) => self.deliver(i),
            None => {
                self.phone.handle_timeout(now, calendar);
                for peer in &mut self.peers {
                    peer.ua.handle_timeout(now);
                }
            }
        }
        true
    }

    fn deliver(&mut self, i: usize) {
        let (now, calendar) = (self.now, self.calendar());
        let packet = self.wire.remove(i);
        match packet.to {
            None => {
                let message = Message::parse_from(packet.bytes, packet.flow.remote);
                let flow = packet.flow;
                let arrival = Arrival::Message { flow, message };
                self.phone.handle_arrival(now, calendar, arrival);
            }
            Some(to) => {
                let peer = &mut self.peers[to];
                peer.heard.extend(Message::parse(packet.bytes.clone()).ok());
                if !peer.is_raw {
                    peer.ua.handle_bytes(now, packet.flow, packet.bytes);
                }
            }
        }
    }

    /// Takes everybody's outputs; returns when the next thing happens.
    pub(super) fn flush(&mut self) -> Option<Instant> {
        let mut next = self.drain_phone();
        for who in 0..self.peers.len() {
            loop {
                match self.peers[who].ua.poll_output() {
                    ua::Output::Transmit(transmit) => self.transmit(Some(who), transmit),
                    ua::Output::Event(event) => {
                        let now = self.now;
                        self.peers[who].handle(now, event);
                    }
                    ua::Output::Timeout(at) => {
                        next = [next, at].into_iter().flatten().min();
                        break;
                    }
                }
            }
        }
        if !self.answers.is_empty() {
            return Some(self.now);
        }
        let wire = self.wire.iter().map(|packet| packet.at).min();
        [next, wire, self.media.next_timeout()]
            .into_iter()
            .flatten()
            .min()
    }

    fn drain_phone(&mut self) -> Option<Instant> {
        loop {
            match self.phone.poll_output() {
                Output::Transmit(transmit) => self.transmit(None, transmit),
                Output::Ask(id, question) if (self.hold_if)(&question) => self.held.push((id, question)),
                Output::Ask(id, question) => {
                    let answer = self.office.answer(question, &mut self.media);
                    self.answers.insert(0, (id, answer));
                }
                Output::Media(command) => self.media.handle(self.now, command),
                Output::Forget(id) => self.held.retain(|(held, _)| *held != id),
                Output::Release(pair) => self.media.release(pair),
                Output::Event(event) => self.events.push(event),
                Output::Timeout(at) => return at,
            }
        }
    }

    /// Answers what was held back, and holds nothing back any more.
    pub(super) fn answer_held(&mut self) {
        self.flush();
        self.hold_if = Box::new(|_| false);
        for (id, question) in std::mem::take(&mut self.held) {
            let answer = self.office.answer(question, &mut self.media);
            self.answers.insert(0, (id, answer));
        }
    }

    /// Answers what was held back with something that does not fit.
    pub(super) fn answer_wrongly(&mut self) {
        self.flush();
        for (id, question) in std::mem::take(&mut self.held) {
            let wrong = match question {
                Question::Sockets { .. } | Question::Deliver(_) => Answer::Lamp(crate::LampCounts::default()),
                _ => Answer::Sockets(self.media.open(1).map(|pairs| {
                    let advertised = SERVER;
                    pairs
                        .into_iter()
                        .map(|pair| MediaSocket { pair, advertised })
                        .collect()
                })),
            };
            self.answers.insert(0, (id, wrong));
        }
    }

    // The network.

    fn transmit(&mut self, from: Option<usize>, transmit: Transmit) {
        let Transmit { flow, message: bytes } = transmit;
        let message = Message::parse(bytes.clone()).expect("what is sent is a message");
        let to = self.peers.iter().position(|peer| peer.flow.local == flow.remote);
        if from.is_none() && to.is_none() && flow.remote != SERVER {
            // Nobody is there.
            return;
        }
        let sent = Sent { from, to, message };
        let is_dropped = (self.drop_if)(&sent);
        self.sent.push(sent);
        let seen = Flow {
            local: flow.remote,
            remote: flow.local,
            connection: flow
                .transport
                .is_reliable()
                .then_some(1 + from.or(to).unwrap_or(0) as u64),
            ..flow
        };
        let is_lossy = !flow.transport.is_reliable();
        let copies = match is_dropped || (is_lossy && self.rng.chance(self.loss)) {
            true => 0,
            false => 1 + usize::from(is_lossy && self.rng.chance(self.duplication)),
        };
        for _ in 0..copies {
            let at = self.now + self.rng.duration(self.delay.0, self.delay.1);
            self.wire.push(Packet {
                at,
                to,
                flow: seen,
                bytes: bytes.clone(),
            });
        }
    }

    /// Gives the service what no machine of ours has sent, as if from a phone.
    pub(super) fn inject(&mut self, from: usize, text: &str) {
        let flow = self.flow_of(from);
        self.wire.push(Packet {
            at: self.now,
            to: None,
            flow,
            bytes: Bytes::copy_from_slice(text.as_bytes()),
        });
    }

    /// A phone without a user agent answers a request as it is told to; without a body there is no description.
    pub(super) fn respond_raw(
        &mut self,
        from: usize,
        request: &Message,
        status: Status,
        tag: &str,
        body: &[u8],
    ) {
        let mut response = Builder::response(request, status, tag);
        response.header(HeaderName::Contact, self.peers[from].contact());
        let response = match body.is_empty() {
            true => response.finish(),
            false => response.finish_with("application/sdp", body),
        };
        self.inject(from, std::str::from_utf8(&response).unwrap());
    }

    /// The last request of that method that a phone without a user agent has heard.
    #[track_caller]
    pub(super) fn heard(&self, who: usize, method: Method) -> Message {
        let is_it = |m: &&Message| m.is_request() && *m.method() == method;
        let heard = self.peers[who].heard.iter().rev().find(is_it);
        heard.unwrap_or_else(|| panic!("{method} was heard")).clone()
    }

    /// A phone's flow, as the service sees it.
    pub(super) fn flow_of(&self, who: usize) -> Flow {
        let flow = self.peers[who].flow;
        Flow {
            local: flow.remote,
            remote: flow.local,
            connection: flow.transport.is_reliable().then_some(1 + who as u64),
            ..flow
        }
    }

    /// The device of a phone is no more, or its whole account.
    pub(super) fn remove_device(&mut self, who: usize, with_account: bool) {
        self.office.removed.push(self.peers[who].name);
        let (now, calendar) = (self.now, self.calendar());
        let person = self
            .office
            .people
            .iter()
            .find(|p| *p.user == *self.peers[who].name);
        let person = person.expect("somebody of the office").clone();
        let account = Account {
            person: person.clone(),
            devices: Vec::new(),
        };
        let account = (!with_account).then_some(&account);
        self.phone.handle_account(now, calendar, person.account, account);
    }

    // What was seen.

    pub(super) fn take(&mut self, who: usize) -> Vec<ua::Event> {
        self.flush();
        std::mem::take(&mut self.peers[who].events)
    }

    /// How often the service has sent a phone that, such as `INVITE` or `200 INVITE`.
    pub(super) fn count_to(&self, who: usize, what: &str) -> usize {
        self.sent
            .iter()
            .filter(|sent| sent.to == Some(who) && sent.what() == what)
            .count()
    }

    /// How often a phone has sent the service that.
    pub(super) fn count_from(&self, who: usize, what: &str) -> usize {
        self.sent
            .iter()
            .filter(|sent| sent.from == Some(who) && sent.what() == what)
            .count()
    }

    /// The last message of that kind that the service sent a phone.
    #[track_caller]
    pub(super) fn last_to(&self, who: usize, what: &str) -> Message {
        let mut sent = self.sent.iter().rev();
        let found = sent.find(|sent| sent.to == Some(who) && sent.what() == what);
        found.unwrap_or_else(|| panic!("{what} was sent")).message.clone()
    }

    /// The status that a session of a phone's was refused with.
    #[track_caller]
    pub(super) fn refusal(&mut self, who: usize) -> Status {
        let refused = self.take(who).into_iter().find_map(|event| match event {
            ua::Event::Terminated {
                reason: ua::Reason::Refused(response),
                ..
            } => response.status(),
            _ => None,
        });
        refused.expect("the call was refused")
    }

    // Calls.

    /// The call that has come to a phone.
    #[track_caller]
    pub(super) fn incoming(&mut self, who: usize) -> (SessionId, Message) {
        let call = self.take(who).into_iter().find_map(|event| match event {
            ua::Event::Invite { session, request, .. } => Some((session, request)),
            _ => None,
        });
        call.unwrap_or_else(|| panic!("{} is called", self.peers[who].name))
    }

    /// Somebody calls, and it rings there: both sessions.
    pub(super) fn ring(&mut self, from: usize, to: usize) -> (SessionId, SessionId, Message) {
        let user = self.peers[to].name;
        let calling = self.peers[from].call(self.now, user);
        self.run_ms(200);
        let (called, invite) = self.incoming(to);
        let content = ua::Content::none();
        let now = self.now;
        self.peers[to]
            .ua
            .ring(now, called, Status::RINGING, content)
            .unwrap();
        self.run_ms(100);
        (calling, called, invite)
    }

    /// A call that stands; everything on the way there is forgotten.
    pub(super) fn talk(&mut self, from: usize, to: usize) -> (SessionId, SessionId) {
        let (calling, called, invite) = self.ring(from, to);
        let now = self.now;
        self.peers[to].answer(now, called, &invite);
        self.run_ms(200);
        let answered = |e: &ua::Event| matches!(e, ua::Event::Answered { .. });
        assert!(self.take(from).iter().any(answered), "the caller is answered");
        self.forget();
        (calling, called)
    }

    /// The media legs, in the order in which they were made.
    pub(super) fn legs(&self) -> Vec<LegId> {
        self.media.legs.keys().copied().collect()
    }

    /// Two legs hear each other, and there are no others.
    #[track_caller]
    pub(super) fn assert_bridged(&self) {
        let legs: Vec<_> = self.media.legs.iter().collect();
        let [(a, one), (b, other)] = legs[..] else {
            panic!("two legs: {legs:?}")
        };
        assert_eq!((one.bridged, other.bridged), (Some(*b), Some(*a)));
    }

    /// Until every transaction is over; then nothing is left of any call.
    #[track_caller]
    pub(super) fn assert_over(&mut self) {
        self.run_s(400);
        assert!(self.phone.is_idle(), "nothing is left: {:#?}", self.phone);
        assert_eq!(self.phone.calls(), 0);
        assert_eq!(self.phone.transactions(), 0, "every transaction ends");
        assert!(self.media.legs.is_empty(), "every leg ends");
        assert!(self.media.open.is_empty(), "every socket is closed");
        self.phone.assert_lamps_tidy();
        self.phone.registrar.assert_tidy();
        for peer in &self.peers {
            assert_eq!(peer.ua.sessions(), 0, "{} has hung up", peer.name);
        }
    }
}
