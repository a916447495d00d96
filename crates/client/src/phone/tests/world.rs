//! A few phones, a registrar, and the network between them.

use super::registrar::Registrar;
use crate::phone::{CallId, Config, Ended, Event, Output, Phone, Socket, Statistics};
use bytes::Bytes;
use ringpost_base::{Instant, Rng, UnixTime};
use ringpost_sip::Transport;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

pub(super) const ALICE: usize = 0;
pub(super) const BOB: usize = 1;
/// Where the registrar is.
pub(super) const SERVER: &str = "10.0.0.100:5060";

/// What a network does to datagrams.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weather {
    pub(super) loss: f64,
    pub(super) doubled: f64,
    pub(super) delay: (Duration, Duration),
}

impl Weather {
    pub(super) const FAIR: Weather = Weather {
        loss: 0.0,
        doubled: 0.0,
        delay: (Duration::from_millis(5), Duration::from_millis(5)),
    };

    pub(super) const fn rough(loss: f64) -> Weather {
        Weather {
            loss,
            doubled: 0.05,
            delay: (Duration::from_millis(5), Duration::from_millis(45)),
        }
    }
}

/// A datagram, or a piece of a stream.
struct InFlight {
    from: SocketAddr,
    to: SocketAddr,
    bytes: Bytes,
}

pub(super) struct World {
    pub(super) now: Instant,
    pub(super) phones: Vec<Phone>,
    /// What each phone has told, oldest first.
    pub(super) events: Vec<Vec<Event>>,
    pub(super) registrar: Registrar,
    weather: Weather,
    rng: Rng,
    flying: BTreeMap<(Instant, u64), InFlight>,
    sent: u64,
}

pub(super) fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// Phones at 10.0.0.1, 10.0.0.2 …, which say 440, 540 … Hz.
pub(super) fn config(place: usize) -> Config {
    let host = format!("10.0.0.{}", place + 1);
    let user = ["alice", "bob", "carol"][place];
    let (sip, rtp) = (address(&format!("{host}:5060")), address(&format!("{host}:4000")));
    Config {
        tone_hz: Some(440.0 + 100.0 * place as f64),
        ..Config::new(user, &host, sip, rtp)
    }
}

impl World {
    pub(super) fn new(seed: u64, weather: Weather, configs: Vec<Config>) -> Self {
        let mut rng = Rng::from_number(seed);
        let epoch = UnixTime::from_secs(1_700_000_000);
        let events = configs.iter().map(|_| Vec::new()).collect();
        let phone = |config| Phone::new(Instant::ZERO, epoch, config, rng.fork()).expect("a phone");
        let phones = configs.into_iter().map(phone).collect();
        World {
            now: Instant::ZERO,
            phones,
            events,
            registrar: Registrar::new(),
            weather,
            rng,
            flying: BTreeMap::new(),
            sent: 0,
        }
    }

    /// Alice and Bob, who does this when he is called.
    pub(super) fn pair(seed: u64, weather: Weather, answering: crate::phone::Answering) -> Self {
        World::new(
            seed,
            weather,
            vec![
                config(ALICE),
                Config {
                    answering,
                    ..config(BOB)
                },
            ],
        )
    }

    /// Alice calls Bob.
    pub(super) fn call(&mut self) -> CallId {
        let call = self.phones[ALICE]
            .call(self.now, "sip:bob@10.0.0.2:5060")
            .expect("a free line");
        self.drain(ALICE);
        call
    }

    /// Does something with a phone.
    pub(super) fn with<T>(&mut self, phone: usize, action: impl FnOnce(&mut Phone, Instant) -> T) -> T {
        let result = action(&mut self.phones[phone], self.now);
        self.drain(phone);
        result
    }

    pub(super) fn run_s(&mut self, seconds: f64) {
        let until = self.now + Duration::from_secs_f64(seconds);
        while self.step(until) {}
        self.now = until;
    }

    /// Runs until a phone has told something of that kind, at most so long.
    pub(super) fn run_until(&mut self, phone: usize, seconds: f64, wanted: impl Fn(&Event) -> bool) -> bool {
        let until = self.now + Duration::from_secs_f64(seconds);
        let mut seen = 0;
        loop {
            if self.events[phone][seen..].iter().any(&wanted) {
                return true;
            }
            seen = self.events[phone].len();
            if !self.step(until) {
                self.now = until;
                return false;
            }
        }
    }

    /// Takes what the phones have told until now.
    pub(super) fn take(&mut self, phone: usize) -> Vec<Event> {
        std::mem::take(&mut self.events[phone])
    }

    /// Goes on to the next thing that happens, not after `until`.
    fn step(&mut self, until: Instant) -> bool {
        self.drain_registrar();
        let timeout = |phone: &mut Phone| match phone.poll_output() {
            Output::Timeout(at) => at,
            output => panic!("expected a drained phone, found {output:?}"),
        };
        let timer = (0..self.phones.len())
            .filter_map(|i| Some((timeout(&mut self.phones[i])?, i)))
            .min();
        let arrival = self.flying.first_key_value().map(|((at, _), _)| *at);
        let server = self.registrar.deadline();
        let next = [timer.map(|(at, _)| at), arrival, server]
            .into_iter()
            .flatten()
            .min();
        let Some(next) = next.filter(|next| *next <= until) else {
            return false;
        };
        self.now = self.now.max(next);
        if arrival == Some(next) {
            if let Some((_, packet)) = self.flying.pop_first() {
                self.arrive(packet);
            }
        } else if server == Some(next) {
            self.registrar.handle_timeout(self.now);
        } else if let Some((_, phone)) = timer {
            self.phones[phone].handle_timeout(self.now);
            self.drain(phone);
        }
        true
    }

    fn drain_registrar(&mut self) {
        while let Some((to, bytes)) = self.registrar.poll_transmit() {
            self.send(
                Socket::Sip(Transport::Udp),
                InFlight {
                    from: address(SERVER),
                    to,
                    bytes,
                },
            );
        }
    }

    fn arrive(&mut self, packet: InFlight) {
        let InFlight { from, to, bytes } = packet;
        if to == address(SERVER) {
            return self.registrar.handle_datagram(self.now, from, bytes);
        }
        let Some(place) = self
            .phones
            .iter()
            .position(|phone| phone.config().sip.ip() == to.ip())
        else {
            return;
        };
        let socket = socket_at(self.phones[place].config(), to);
        match socket {
            Some(Socket::Sip(transport)) if transport.is_reliable() => {
                assert!(self.phones[place].handle_stream(self.now, from, &bytes));
            }
            Some(socket) => self.phones[place].handle_datagram(self.now, socket, from, bytes),
            None => (),
        }
        self.drain(place);
    }

    fn drain(&mut self, phone: usize) {
        loop {
            match self.phones[phone].poll_output() {
                Output::Transmit { socket, to, bytes } => {
                    let from = address_of(self.phones[phone].config(), socket);
                    self.send(socket, InFlight { from, to, bytes });
                }
                Output::Event(event) => self.events[phone].push(event),
                Output::Timeout(_) => return,
            }
        }
    }

    fn send(&mut self, socket: Socket, packet: InFlight) {
        let Weather { loss, doubled, delay } = self.weather;
        if matches!(socket, Socket::Sip(transport) if transport.is_reliable()) {
            // Streams lose and reorder nothing; they may cut a message anywhere.
            let at = self.now + delay.0;
            let cut = self.rng.below(packet.bytes.len() as u64) as usize;
            for bytes in [packet.bytes.slice(..cut), packet.bytes.slice(cut..)] {
                self.fly(at, InFlight { bytes, ..packet });
            }
            return;
        }
        let copies = if self.rng.chance(doubled) { 2 } else { 1 };
        for _ in 0..copies {
            if !self.rng.chance(loss) {
                let at = self.now + self.rng.duration(delay.0, delay.1);
                self.fly(
                    at,
                    InFlight {
                        bytes: packet.bytes.clone(),
                        ..packet
                    },
                );
            }
        }
    }

    fn fly(&mut self, at: Instant, packet: InFlight) {
        self.sent += 1;
        self.flying.insert((at, self.sent), packet);
    }

    /// How a phone's last call ended.
    pub(super) fn ended(&self, phone: usize) -> Option<(Ended, Statistics)> {
        self.events[phone].iter().rev().find_map(|event| match event {
            Event::Ended { why, statistics, .. } => Some((*why, statistics.clone())),
            _ => None,
        })
    }

    /// The call that rang at a phone.
    pub(super) fn incoming(&self, phone: usize) -> CallId {
        let ringing = |event: &Event| match event {
            Event::Incoming { call, .. } => Some(*call),
            _ => None,
        };
        self.events[phone]
            .iter()
            .rev()
            .find_map(ringing)
            .expect("a call came")
    }

    /// Lets everything linger that may, and finds nothing left.
    pub(super) fn expect_nothing_left(&mut self) {
        self.run_s(200.0);
        for phone in &self.phones {
            let kept = |(what, count): &(&str, usize)| *count > 0 && *what != "our registration";
            let left: Vec<_> = phone.holdings().filter(kept).collect();
            assert_eq!(left, []);
        }
    }
}

fn address_of(config: &Config, socket: Socket) -> SocketAddr {
    let above = |address: SocketAddr| SocketAddr::new(address.ip(), address.port() + 1);
    match socket {
        Socket::Sip(_) => config.sip,
        Socket::Rtp(line) => config.lines[line],
        Socket::Rtcp(line) => above(config.lines[line]),
    }
}

fn socket_at(config: &Config, to: SocketAddr) -> Option<Socket> {
    let lines = (0..config.lines.len()).flat_map(|line| [Socket::Rtp(line), Socket::Rtcp(line)]);
    std::iter::once(Socket::Sip(config.transport))
        .chain(lines)
        .find(|socket| address_of(config, *socket) == to)
}
