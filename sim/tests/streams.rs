//! A mount with a publisher that jumps, wraps and restarts, and readers that are fast, slow, stalled and gone: few seeds, or a
//! thousand with `RINGPOST_SOAK`. `RINGPOST_SEED=n` plays one.
//!
//! Each access unit has a number of its own. A fast reader has all from the one it began with, in order and under sequence
//! numbers without a gap; a slow one misses some and begins again with key pictures; nothing that waits for anybody grows.

use bytes::{Bytes, BytesMut};
use ringpost_base::{Instant, Rng, UnixTime, limits};
use ringpost_rtp::{Header, Packet};
use ringpost_rtsp::interleaved_head;
use ringpost_sim::tally;
use ringpost_stream::hub::{
    Answer, Ask, Burst, Config, ConnectionId, Ends, Hub, Outlet, Output, PairId, SocketId,
};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

const SDP: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
    m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:streamid=0\r\n";
const URL: &str = "rtsp://h/alice/door";
const FRAME: Duration = Duration::from_millis(40);
/// What a connection's other end takes in before it is read, as sockets do.
const SOCKET_BYTES: usize = 32 * 1024;

/// How a reader reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Fast,
    /// Octets for each frame's time.
    Slow(usize),
    /// Reads nothing from a moment on.
    Stalls(Instant),
    /// Its connection ends at a moment.
    Vanishes(Instant),
    /// Over UDP, told to where the datagrams go.
    Datagrams(SocketAddr),
}

struct Reader {
    kind: Kind,
    connection: ConnectionId,
    session: String,
    /// What it has not read yet.
    socket: BytesMut,
    /// What the server holds for it: a share whose rest the socket did not take.
    held: usize,
    /// What came: sequence number, number of the unit, whether it is a key picture.
    seen: Vec<(u16, u64, bool)>,
    is_gone: bool,
}

struct World {
    hub: Hub,
    now: Instant,
    rng: Rng,
    connections: u64,
    ports: u16,
    open_pairs: BTreeSet<PairId>,
    sent: BTreeMap<ConnectionId, BytesMut>,
    readers: Vec<Reader>,
    publisher: Option<(ConnectionId, Publisher)>,
    units: u64,
    most_held: usize,
}

struct Publisher {
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    /// Pictures until the next key picture.
    until_key: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::from_number(seed);
        World {
            hub: Hub::new(
                Instant::ZERO,
                UnixTime::from_secs(1_700_000_000),
                Config::default(),
                rng.fork(),
            ),
            now: Instant::ZERO,
            rng,
            connections: 0,
            ports: 40_000,
            open_pairs: BTreeSet::new(),
            sent: BTreeMap::new(),
            readers: Vec::new(),
            publisher: None,
            units: 0,
            most_held: 0,
        }
    }

    fn connect(&mut self) -> ConnectionId {
        self.connections += 1;
        let id = ConnectionId(self.connections);
        let ends = Ends {
            local: "127.0.0.1:554".parse().expect("an address"),
            remote: SocketAddr::new([127, 0, 0, 2].into(), 1_000 + self.connections as u16),
            is_secure: false,
        };
        self.hub.handle_accepted(self.now, id, ends);
        self.run();
        id
    }

    fn run(&mut self) {
        self.carry_out();
        let mut burst = Burst::default();
        while self.hub.poll_media(self.now, &mut burst) {
            match burst.outlet {
                Some(Outlet::Interleaved) => {
                    for id in &burst.connections {
                        self.write(*id, &burst.interleaved);
                    }
                }
                Some(Outlet::Datagrams { to, .. }) => {
                    let reader = self
                        .readers
                        .iter_mut()
                        .find(|reader| reader.kind == Kind::Datagrams(to));
                    if let Some(reader) = reader {
                        burst
                            .datagrams
                            .iter()
                            .for_each(|datagram| note(&mut reader.seen, datagram));
                    }
                }
                None => {}
            }
        }
        self.carry_out();
    }

    /// Writes media to a reader's connection: what its socket has no room for is held, and the hub told.
    fn write(&mut self, id: ConnectionId, bytes: &Bytes) {
        let Some(reader) = self.readers.iter_mut().find(|reader| reader.connection == id) else {
            self.sent.entry(id).or_default().extend_from_slice(bytes);
            return;
        };
        reader.socket.extend_from_slice(bytes);
        reader.held = reader.socket.len().saturating_sub(SOCKET_BYTES);
        self.most_held = self.most_held.max(reader.held);
        if reader.held > 0 && reader.kind != Kind::Fast {
            self.hub.handle_full(id);
        }
    }

    fn carry_out(&mut self) {
        loop {
            match self.hub.poll_output() {
                Output::Transmit { connection, bytes } => {
                    self.sent.entry(connection).or_default().extend_from_slice(&bytes);
                }
                Output::Open { pair, .. } => {
                    self.ports += 2;
                    self.open_pairs.insert(pair);
                    self.hub.handle_pair(self.now, pair, Some(self.ports));
                }
                Output::ClosePair(pair) => assert!(self.open_pairs.remove(&pair), "closed twice"),
                Output::Close(id) => {
                    self.hub.handle_closed(self.now, id);
                    for reader in self.readers.iter_mut().filter(|reader| reader.connection == id) {
                        reader.is_gone = true;
                    }
                }
                Output::Question(question) => {
                    let answer = match question.ask {
                        Ask::List { .. } => Answer::Nothing,
                        _ => Answer::Yes,
                    };
                    self.hub.handle_answer(self.now, question.id, answer);
                }
                Output::Timeout(_) => return,
                _ => {}
            }
        }
    }

    fn pass(&mut self, until: Instant) {
        loop {
            let Output::Timeout(next) = self.hub.poll_output() else {
                unreachable!("all was carried out")
            };
            let Some(at) = next.filter(|at| *at <= until) else {
                break;
            };
            self.now = self.now.max(at);
            self.hub.handle_timeout(self.now);
            self.run();
        }
        self.now = until;
    }

    fn ask(&mut self, id: ConnectionId, request: &str) -> String {
        self.sent.remove(&id);
        self.hub
            .handle_bytes(self.now, id, request.replace('\n', "\r\n").as_bytes());
        self.run();
        let sent = self.sent.remove(&id).unwrap_or_default();
        let said = String::from_utf8_lossy(&sent).into_owned();
        assert!(said.starts_with("RTSP/1.0 200"), "{request}{said}");
        said
    }

    fn publish(&mut self) {
        let id = self.connect();
        let head = format!(
            "ANNOUNCE {URL} RTSP/1.0\r\nCSeq: 1\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{SDP}",
            SDP.len()
        );
        self.hub.handle_bytes(self.now, id, head.as_bytes());
        self.run();
        let transport = "RTP/AVP/TCP;unicast;interleaved=0-1;mode=record";
        let said = self.ask(
            id,
            &format!("SETUP {URL}/streamid=0 RTSP/1.0\nCSeq: 2\nTransport: {transport}\n\n"),
        );
        self.ask(
            id,
            &format!("RECORD {URL} RTSP/1.0\nCSeq: 3\nSession: {}\n\n", session(&said)),
        );
        let publisher = Publisher {
            ssrc: self.rng.u32(),
            // Wraps come soon.
            sequence: u16::MAX - self.rng.below(300) as u16,
            timestamp: u32::MAX - self.rng.below(2_000_000) as u32,
            until_key: 0,
        };
        self.publisher = Some((id, publisher));
    }

    fn join(&mut self, kind: Kind) {
        let id = self.connect();
        let transport = match kind {
            Kind::Datagrams(to) => format!("RTP/AVP;unicast;client_port={}-{}", to.port(), to.port() + 1),
            _ => "RTP/AVP/TCP;unicast;interleaved=0-1".into(),
        };
        let said = self.ask(
            id,
            &format!("SETUP {URL}/trackID=0 RTSP/1.0\nCSeq: 1\nTransport: {transport}\n\n"),
        );
        let session = session(&said);
        self.readers.push(Reader {
            kind,
            connection: id,
            session: session.clone(),
            socket: BytesMut::new(),
            held: 0,
            seen: Vec::new(),
            is_gone: false,
        });
        self.sent.remove(&id);
        let play = format!("PLAY {URL} RTSP/1.0\r\nCSeq: 2\r\nSession: {session}\r\n\r\n");
        self.hub.handle_bytes(self.now, id, play.as_bytes());
        self.run();
        self.sent.remove(&id);
    }

    /// One access unit, in one packet or several.
    fn send_unit(&mut self) {
        let Some((id, mut publisher)) = self.publisher.take() else {
            return;
        };
        let is_key = publisher.until_key == 0;
        publisher.until_key = if is_key {
            1 + self.rng.below(40)
        } else {
            publisher.until_key - 1
        };
        if self.rng.chance(0.003) {
            // Its clock is set.
            publisher.timestamp = self.rng.u32();
        }
        self.units += 1;
        let packets = if is_key {
            1 + self.rng.below(12)
        } else {
            1 + self.rng.below(3)
        };
        let mut bytes = Vec::new();
        for packet in 0..packets {
            let header = Header {
                marker: packet + 1 == packets,
                payload_type: 96,
                sequence: publisher.sequence,
                timestamp: publisher.timestamp,
                ssrc: publisher.ssrc,
            };
            publisher.sequence = publisher.sequence.wrapping_add(1);
            let mut payload = vec![if is_key { 0x65 } else { 0x41 }];
            payload.extend(self.units.to_be_bytes());
            payload.resize(200 + self.rng.below(1_100) as usize, 7);
            let mut written = Vec::new();
            header.write(&payload, &mut written);
            bytes.extend(interleaved_head(0, written.len()));
            bytes.extend(written);
        }
        publisher.timestamp = publisher.timestamp.wrapping_add(3_600);
        self.publisher = Some((id, publisher));
        for piece in bytes.chunks(1 + self.rng.below(4_000) as usize) {
            self.hub.handle_bytes(self.now, id, piece);
            self.run();
        }
    }

    /// Each reader reads what it can within a frame's time.
    fn read(&mut self) {
        for index in 0..self.readers.len() {
            let reader = &mut self.readers[index];
            let length = reader.socket.len();
            let may = match reader.kind {
                Kind::Fast | Kind::Datagrams(_) => length,
                Kind::Slow(octets) => octets.min(length),
                Kind::Stalls(at) | Kind::Vanishes(at) if self.now >= at => 0,
                Kind::Stalls(_) | Kind::Vanishes(_) => length,
            };
            // Whole packets are read, and what is begun of one is left in the socket.
            let mut read = 0;
            while let [b'$', channel, high, low, behind @ ..] = &reader.socket[read..] {
                let packet = usize::from(u16::from_be_bytes([*high, *low]));
                if read + 4 + packet > may || behind.len() < packet {
                    break;
                }
                if *channel == 0 {
                    note(&mut reader.seen, &behind[..packet]);
                }
                read += 4 + packet;
            }
            let _ = reader.socket.split_to(read);
            let was_held = reader.held > 0;
            reader.held = reader.socket.len().saturating_sub(SOCKET_BYTES);
            let (id, is_free) = (reader.connection, was_held && reader.held == 0);
            let goes = matches!(reader.kind, Kind::Vanishes(at) if self.now >= at) && !reader.is_gone;
            if goes {
                self.readers[index].is_gone = true;
                self.hub.handle_closed(self.now, id);
            } else if is_free {
                self.hub.handle_writable(id);
            }
            self.run();
        }
    }

    /// Reports of those who read over UDP, and signs of life of the others.
    fn report(&mut self) {
        let mut rr = Vec::new();
        ringpost_rtp::rtcp::Writer::new(&mut rr).receiver_report(1, &[]);
        let rr = Bytes::from(rr);
        let reading: Vec<_> = self
            .readers
            .iter()
            .filter_map(|reader| match reader.kind {
                Kind::Datagrams(to) => Some(to),
                _ => None,
            })
            .collect();
        let pairs: Vec<_> = self.open_pairs.iter().copied().collect();
        for (pair, to) in pairs.into_iter().zip(reading) {
            let socket = SocketId { pair, is_rtcp: true };
            let from = SocketAddr::new(to.ip(), to.port() + 1);
            self.hub.handle_datagram(self.now, socket, from, rr.clone());
            self.run();
        }
    }
}

fn session(said: &str) -> String {
    let line = said.lines().find_map(|line| line.strip_prefix("Session: "));
    let line = line.expect("a session");
    line.split(';').next().unwrap_or_default().to_owned()
}

fn note(seen: &mut Vec<(u16, u64, bool)>, datagram: &[u8]) {
    let packet = Packet::parse(datagram).expect("RTP comes out whole");
    let (first, rest) = packet.payload().split_at(1);
    let number = u64::from_be_bytes(rest[..8].try_into().expect("eight octets"));
    seen.push((packet.sequence(), number, first[0] == 0x65));
}

/// Plays one seed, for a minute and a half of the world's time.
fn play(seed: u64) -> World {
    let mut world = World::new(seed);
    world.publish();
    let mut away_until: Option<Instant> = None;
    let end = Instant::ZERO + Duration::from_secs(90);
    let mut frame = 0u64;
    while world.now < end {
        frame += 1;
        let later = world.now + Duration::from_secs(5 + world.rng.below(40));
        if frame % 25 == 7 && world.readers.len() < 12 {
            let port = 6_000 + 2 * world.readers.len() as u16;
            let kind = match world.rng.below(6) {
                0 | 1 => Kind::Fast,
                2 => Kind::Slow(500 + world.rng.below(2_000) as usize),
                3 => Kind::Stalls(later),
                4 => Kind::Vanishes(later),
                _ => Kind::Datagrams(SocketAddr::new([127, 0, 0, 2].into(), port)),
            };
            world.join(kind);
        }
        if away_until.is_some_and(|at| world.now >= at) {
            away_until = None;
            world.publish();
        } else if away_until.is_none() && world.rng.chance(0.002) {
            // It loses its connection, or another takes its place at once.
            let (id, _) = world.publisher.take().expect("somebody publishes");
            match world.rng.chance(0.5) {
                true => {
                    world.hub.handle_closed(world.now, id);
                    world.run();
                    away_until = Some(world.now + Duration::from_millis(world.rng.below(8_000)));
                }
                false => world.publish(),
            }
        }
        world.send_unit();
        world.read();
        if frame.is_multiple_of(100) {
            world.report();
        }
        world.pass(world.now + FRAME);
        world.read();
    }
    world
}

fn check(seed: u64, world: &mut World) {
    let about = |reader: &Reader| format!("seed {seed}, {:?}, session {}", reader.kind, reader.session);
    for reader in &world.readers {
        let who = about(reader);
        let numbers: Vec<u64> = reader.seen.iter().map(|(_, number, _)| *number).collect();
        assert!(numbers.is_sorted(), "{who}: out of order");
        let Some((_, first, is_key)) = reader.seen.first() else {
            continue;
        };
        assert!(is_key, "{who}: begins with what needs something before it");
        let mut before: Option<(u16, u64)> = None;
        for (sequence, number, is_key) in &reader.seen {
            if let Some((last, last_number)) = before.replace((*sequence, *number)) {
                let follows = *sequence == last.wrapping_add(1);
                let is_new = *number != last_number;
                assert!(
                    follows || *is_key && is_new,
                    "{who}: goes on within pictures after unit {last_number}"
                );
                let is_whole = !matches!(reader.kind, Kind::Slow(_) | Kind::Stalls(_));
                assert!(
                    follows || !is_whole,
                    "{who}: has missed something before unit {number}"
                );
            }
        }
        if matches!(reader.kind, Kind::Fast | Kind::Datagrams(_)) && !reader.is_gone {
            let missing: Vec<u64> = (*first..=world.units)
                .filter(|unit| numbers.binary_search(unit).is_err())
                .collect();
            // The last one may be on its way.
            assert!(
                missing.iter().all(|unit| *unit == world.units),
                "{who}: lacks units {missing:?}"
            );
        }
    }
    let most = limits::READER_BURST_BYTES + 2 * 1_500 + SOCKET_BYTES;
    assert!(
        world.most_held <= most,
        "seed {seed}: {} octets are held",
        world.most_held
    );
    // All leave, and nothing is left of them.
    let ids: Vec<_> = (1..=world.connections).map(ConnectionId).collect();
    for id in ids {
        world.hub.handle_closed(world.now, id);
        world.run();
    }
    world.pass(world.now + Duration::from_secs(120));
    assert!(
        world.hub.mounts(world.now).is_empty(),
        "seed {seed}: a mount is left"
    );
    assert!(world.open_pairs.is_empty(), "seed {seed}: sockets are left");
}

#[test]
fn fast_readers_lose_nothing_whatever_the_publisher_and_other_readers_do() {
    let mut seen = 0;
    for seed in tally::seeds(12) {
        let mut world = play(seed);
        check(seed, &mut world);
        seen += world
            .readers
            .iter()
            .map(|reader| reader.seen.len())
            .sum::<usize>();
    }
    assert!(seen > 1_000, "somebody reads: {seen} packets");
}
