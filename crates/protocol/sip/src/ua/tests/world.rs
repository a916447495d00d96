//! Two user agents, a network between them, and a clock that jumps from one thing that happens to the next.

use super::super::*;
use crate::header::NameAddr;
use std::time::Duration;

/// A place in the world's arrays.
pub(super) const ALICE: usize = 0;
pub(super) const BOB: usize = 1;

pub(super) struct World {
    pub(super) now: Instant,
    pub(super) peers: [Ua; 2],
    /// What each was told and nobody has looked at yet.
    pub(super) events: [Vec<Event>; 2],
    /// Every message that was sent, by whom, lost ones included.
    pub(super) sent: Vec<(usize, Message)>,
    /// The way that each sent its last message.
    pub(super) last_way: [Option<Flow>; 2],
    /// The port that the other one sees each at: behind a NAT it may change.
    pub(super) seen_at: [u16; 2],
    transport: Transport,
    wire: Vec<Packet>,
    rng: Rng,
    /// The share of datagrams that is lost.
    pub(super) loss: f64,
    /// The share that comes twice.
    pub(super) duplication: f64,
    /// One way, between these.
    pub(super) delay: (Duration, Duration),
    /// Drops what it says true to.
    #[allow(clippy::type_complexity)]
    pub(super) drop_if: Box<dyn FnMut(usize, &Message) -> bool>,
}

struct Packet {
    at: Instant,
    to: usize,
    bytes: Bytes,
}

pub(super) fn config() -> UaConfig {
    let mut allow = UaConfig::default().allow;
    allow.extend([Method::Register, Method::Subscribe]);
    UaConfig {
        allow,
        accept: vec![
            "application/sdp".into(),
            "text/plain".into(),
            "application/simple-message-summary".into(),
        ],
        events: vec!["message-summary".into()],
        ..UaConfig::default()
    }
}

impl World {
    pub(super) fn new(seed: u64) -> World {
        World::with(seed, Transport::Udp, config())
    }

    pub(super) fn with(seed: u64, transport: Transport, config: UaConfig) -> World {
        let mut rng = Rng::from_number(seed);
        let peers = [Ua::new(config.clone(), rng.fork()), Ua::new(config, rng.fork())];
        World {
            now: Instant::ZERO,
            peers,
            events: [Vec::new(), Vec::new()],
            sent: Vec::new(),
            last_way: [None; 2],
            seen_at: [5060; 2],
            transport,
            wire: Vec::new(),
            rng,
            loss: 0.0,
            duplication: 0.0,
            delay: (Duration::from_millis(10), Duration::from_millis(10)),
            drop_if: Box::new(|_, _| false),
        }
    }

    pub(super) fn flow(&self, from: usize) -> Flow {
        let address = |who: usize, port: u16| SocketAddr::from(([192, 0, 2, who as u8 + 1], port));
        Flow {
            transport: self.transport,
            local: address(from, 5060),
            remote: address(1 - from, self.seen_at[1 - from]),
            connection: self.transport.is_reliable().then_some(1),
        }
    }

    /// Runs until nothing is on the wire and no timer falls due before `until`.
    pub(super) fn run_until(&mut self, until: Instant) {
        while self.step(until) {}
    }

    /// Lets one thing happen, not after `until`; false when there is none.
    pub(super) fn step(&mut self, until: Instant) -> bool {
        let Some(next) = self.flush().filter(|next| *next <= until) else {
            self.now = self.now.max(until);
            return false;
        };
        self.now = self.now.max(next);
        let first = (0..self.wire.len()).min_by_key(|i| (self.wire[*i].at, *i));
        match first.filter(|i| self.wire[*i].at <= self.now) {
            Some(i) => {
                let packet = self.wire.remove(i);
                let flow = self.flow(packet.to);
                self.peers[packet.to].handle_bytes(self.now, flow, packet.bytes);
            }
            None => {
                for peer in &mut self.peers {
                    peer.handle_timeout(self.now);
                }
            }
        }
        true
    }

    pub(super) fn run_ms(&mut self, ms: u64) {
        self.run_until(self.now + Duration::from_millis(ms));
    }

    /// Until every transaction is over.
    pub(super) fn run_out(&mut self) {
        self.run_ms(400_000);
        for who in [ALICE, BOB] {
            assert_eq!(self.peers[who].transactions(), 0, "every transaction ends");
            assert_eq!(self.peers[who].pending.len(), 0);
            assert_eq!(self.peers[who].serving.len(), 0);
        }
    }

    /// Nothing at all is left over.
    pub(super) fn assert_empty(&mut self) {
        self.run_out();
        for peer in &self.peers {
            let left: Vec<_> = peer.holdings().filter(|(_, count)| *count > 0).collect();
            assert_eq!(left, []);
        }
    }

    /// Takes everybody's outputs; returns when the next thing happens.
    pub(super) fn flush(&mut self) -> Option<Instant> {
        let mut next = None;
        for who in [ALICE, BOB] {
            loop {
                match self.peers[who].poll_output() {
                    Output::Transmit(transmit) => {
                        self.last_way[who] = Some(transmit.flow);
                        self.transmit(who, transmit.message);
                    }
                    Output::Event(event) => self.events[who].push(event),
                    Output::Timeout(at) => {
                        next = [next, at].into_iter().flatten().min();
                        break;
                    }
                }
            }
        }
        self.wire.iter().map(|packet| packet.at).chain(next).min()
    }

    fn transmit(&mut self, from: usize, bytes: Bytes) {
        let message = Message::parse(bytes.clone()).expect("what is sent is a message");
        let is_dropped = (self.drop_if)(from, &message) || self.rng.chance(self.loss);
        self.sent.push((from, message));
        let copies = if is_dropped {
            0
        } else {
            1 + usize::from(self.rng.chance(self.duplication))
        };
        for _ in 0..copies {
            let at = self.now + self.rng.duration(self.delay.0, self.delay.1);
            self.wire.push(Packet {
                at,
                to: 1 - from,
                bytes: bytes.clone(),
            });
        }
    }

    /// Puts a message on the wire that no machine has sent.
    pub(super) fn inject(&mut self, to: usize, bytes: impl Into<Bytes>) {
        self.peers[to].handle_bytes(self.now, self.flow(to), bytes.into());
        self.flush();
    }

    pub(super) fn take(&mut self, who: usize) -> Vec<Event> {
        self.flush();
        std::mem::take(&mut self.events[who])
    }

    /// The only event, which must be there.
    #[track_caller]
    pub(super) fn only(&mut self, who: usize) -> Event {
        let mut events = self.take(who);
        assert_eq!(events.len(), 1, "{events:?}");
        events.remove(0)
    }

    /// First lines of what was sent, with the sender's initial; cleared.
    pub(super) fn log(&mut self) -> Vec<String> {
        self.flush();
        let line = |(who, m): (usize, Message)| {
            let name = ["a", "b"][who];
            match m.status() {
                Some(status) => format!("{name}: {status} {}", m.method()),
                None => format!("{name}: {}", m.method()),
            }
        };
        std::mem::take(&mut self.sent).into_iter().map(line).collect()
    }

    pub(super) fn count(&self, who: usize, what: &str) -> usize {
        let is = |m: &Message| match m.status() {
            Some(status) => format!("{status} {}", m.method()) == what,
            None => m.method().as_str() == what,
        };
        self.sent.iter().filter(|(from, m)| *from == who && is(m)).count()
    }

    pub(super) fn new_request(&self, from: usize, method: Method) -> NewRequest {
        let address = |who: usize| -> NameAddr {
            let name = ["alice", "bob"][who];
            format!("<sip:{name}@192.0.2.{}>", who + 1).parse().unwrap()
        };
        NewRequest::new(method, self.flow(from), address(from), address(1 - from))
    }

    /// Alice calls with an offer; returns her session and Bob's.
    pub(super) fn call(&mut self) -> (SessionId, SessionId) {
        let mut request = self.new_request(ALICE, Method::Invite);
        request.content = Content::sdp("offer");
        let alice = self.peers[ALICE].invite(self.now, request).unwrap();
        self.run_ms(20);
        let Event::Invite { session, .. } = self.only(BOB) else {
            panic!("an INVITE")
        };
        (alice, session)
    }

    /// A call that stands; everything on the way there is forgotten.
    pub(super) fn talk(&mut self) -> (SessionId, SessionId) {
        let (alice, bob) = self.call();
        self.peers[BOB]
            .answer(self.now, bob, Content::sdp("answer"))
            .unwrap();
        self.run_ms(50);
        assert!(matches!(self.take(ALICE)[..], [Event::Answered { .. }]));
        assert!(matches!(self.take(BOB)[..], [Event::Acked { .. }]));
        self.sent.clear();
        (alice, bob)
    }
}
