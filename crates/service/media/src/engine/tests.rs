use super::*;
use crate::{Audio, LegStatistics};
use ringpost_codec::{Coding, Ear, Encoder, Law, Tone, dominant_tone};
use ringpost_rtp::rtcp::{Compound, Feedback, RtcpPacket, Writer};
use ringpost_rtp::{Header, Packet, TelephoneEvent};
use ringpost_sdp::{Codec, Direction, NegotiatedCodec};
use std::net::Ipv4Addr;

const ALICE: LegId = LegId(1);
const BOB: LegId = LegId(2);

fn at_ms(ms: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(ms)
}

/// A peer: its address, its leg's sockets, what it sends next.
struct Peer {
    rtp: SocketAddr,
    pair: PairId,
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    payload_type: u8,
}

impl Peer {
    fn new(n: u8) -> Self {
        Peer {
            rtp: SocketAddr::from((Ipv4Addr::new(192, 0, 2, n), 4_000)),
            pair: PairId(u32::from(n)),
            ssrc: 0x1111_1111 * u32::from(n),
            sequence: 100 * u16::from(n),
            timestamp: 1_000_000 * u32::from(n),
            payload_type: 0,
        }
    }

    fn rtcp(&self) -> SocketAddr {
        SocketAddr::new(self.rtp.ip(), self.rtp.port() + 1)
    }

    fn media(&self, codecs: Vec<NegotiatedCodec>) -> LegMedia {
        LegMedia {
            rtp: Some(self.rtp),
            rtcp: Some(self.rtcp()),
            codecs,
            ..LegMedia::audio()
        }
    }

    fn header(&mut self) -> Header {
        let header = Header {
            marker: false,
            payload_type: self.payload_type,
            sequence: self.sequence,
            timestamp: self.timestamp,
            ssrc: self.ssrc,
        };
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(160);
        header
    }
}

fn format(codec: Codec, receive_payload_type: u8) -> NegotiatedCodec {
    NegotiatedCodec {
        send_payload_type: codec.payload_type,
        receive_payload_type,
        codec,
    }
}

fn pcmu() -> Vec<NegotiatedCodec> {
    vec![format(Codec::pcmu(), 0), format(Codec::telephone_event(101), 101)]
}

fn pcma() -> Vec<NegotiatedCodec> {
    vec![format(Codec::pcma(), 8), format(Codec::telephone_event(96), 96)]
}

/// What left the engine, as one who hears it sees it.
#[derive(Clone, Debug)]
struct Heard {
    at: Instant,
    to: SocketAddr,
    header: Header,
    payload: Vec<u8>,
}

struct World {
    engine: Engine,
    now: Instant,
    heard: Vec<Heard>,
    rtcp: Vec<(Instant, SocketId, SocketAddr, Vec<u8>)>,
    events: Vec<(Instant, Event)>,
    closed: Vec<PairId>,
    tapped: Vec<crate::Tapped>,
}

impl World {
    fn new() -> Self {
        World {
            engine: Engine::new(at_ms(0), UnixTime::from_secs(1_000_000_000), Rng::from_number(1)),
            now: at_ms(0),
            heard: Vec::new(),
            rtcp: Vec::new(),
            events: Vec::new(),
            closed: Vec::new(),
            tapped: Vec::new(),
        }
    }

    /// Alice and Bob, bridged, each with these formats.
    fn call(alice: Vec<NegotiatedCodec>, bob: Vec<NegotiatedCodec>) -> (Self, Peer, Peer) {
        let mut world = World::new();
        let (a, b) = (Peer::new(1), Peer::new(2));
        world.leg(ALICE, &a, a.media(alice));
        world.leg(BOB, &b, b.media(bob));
        world.command(Command::Bridge { a: ALICE, b: BOB });
        (world, a, b)
    }

    /// Alice alone.
    fn alone() -> (Self, Peer) {
        let mut world = World::new();
        let a = Peer::new(1);
        world.leg(ALICE, &a, a.media(pcmu()));
        (world, a)
    }

    fn leg(&mut self, leg: LegId, peer: &Peer, media: LegMedia) {
        let (pair, cname, media_timeout) = (peer.pair, format!("{leg:?}"), None);
        self.command(Command::CreateLeg {
            leg,
            pair,
            cname,
            media,
            media_timeout,
        });
    }

    fn command(&mut self, command: Command) {
        self.engine.handle_command(self.now, command);
        self.drain();
    }

    fn send(&mut self, pair: PairId, from: SocketAddr, header: Header, payload: &[u8]) -> Option<Heard> {
        let mut datagram = Vec::new();
        header.write(payload, &mut datagram);
        let socket = SocketId {
            pair,
            port: Port::Rtp,
        };
        let forward = self.engine.handle_packet(self.now, socket, from, &mut datagram);
        self.drain();
        let forward = forward?;
        let heard = heard(self.now, forward.to, &datagram[forward.range]);
        self.heard.push(heard.clone());
        Some(heard)
    }

    /// A packet of speech from a peer.
    fn speak(&mut self, peer: &mut Peer) -> Option<Heard> {
        let header = peer.header();
        self.send(peer.pair, peer.rtp, header, &[0x55; 160])
    }

    /// A second of 440 Hz and longer, 20 ms at a time; `keep` says which packets arrive.
    fn sing(&mut self, peer: &mut Peer, packets: usize, keep: impl Fn(usize) -> bool) {
        let mut tone = Tone::sine(440.0, -12.0);
        for n in 0..packets {
            let mut samples = [0; 160];
            tone.fill(&mut samples);
            let header = peer.header();
            if keep(n) {
                let payload: Vec<u8> = samples.iter().map(|s| Law::Mu.encode(*s)).collect();
                self.send(peer.pair, peer.rtp, header, &payload);
            }
            self.pass(20);
        }
    }

    fn rtcp_from(&mut self, peer: &Peer, bytes: &[u8]) {
        let socket = SocketId {
            pair: peer.pair,
            port: Port::Rtcp,
        };
        let forward = self
            .engine
            .handle_packet(self.now, socket, peer.rtcp(), &mut bytes.to_vec());
        assert_eq!(forward, None, "RTCP ends here");
        self.drain();
    }

    fn pass(&mut self, ms: u64) {
        let until = self.now + Duration::from_millis(ms);
        while let Some(due) = self.engine.next_timeout().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.engine.handle_timeout(self.now);
            self.drain();
        }
        self.now = until;
    }

    fn drain(&mut self) {
        loop {
            match self.engine.poll_output() {
                Output::Transmit(Transmit { socket, to, bytes }) if is_rtcp(&bytes) => {
                    self.rtcp.push((self.now, socket, to, bytes));
                }
                Output::Transmit(transmit) => self.heard.push(heard(self.now, transmit.to, &transmit.bytes)),
                Output::Event(event) => self.events.push((self.now, event)),
                Output::Close(pair) => self.closed.push(pair),
                Output::Tapped(packet) => self.tapped.push(packet),
                Output::Timeout(_) => return,
            }
        }
    }

    fn digits(&self) -> String {
        let digit = |event: &Event| {
            if let Event::Digit { digit, .. } = event {
                Some(*digit)
            } else {
                None
            }
        };
        self.events.iter().filter_map(|(_, event)| digit(event)).collect()
    }

    fn recorded(&self) -> Vec<i16> {
        let pieces = self.events.iter().filter_map(|(_, event)| match event {
            Event::Recorded { samples, .. } => Some(samples.iter().copied()),
            _ => None,
        });
        pieces.flatten().collect()
    }

    fn remove(&mut self, leg: LegId) -> LegStatistics {
        self.command(Command::RemoveLeg { leg });
        let last = self.events.iter().rev().find_map(|(_, event)| match event {
            Event::LegRemoved {
                leg: gone,
                statistics,
            } if *gone == leg => Some(*statistics),
            _ => None,
        });
        last.expect("a small session says BYE at once")
    }
}

fn heard(at: Instant, to: SocketAddr, bytes: &[u8]) -> Heard {
    let packet = Packet::parse(bytes).unwrap();
    Heard {
        at,
        to,
        header: packet.header(),
        payload: packet.payload().to_vec(),
    }
}

/// Whether packets are one stream: one source, no gap in sequence, timestamps that keep time.
fn assert_one_stream(heard: &[Heard]) {
    for pair in heard.windows(2) {
        let (one, two) = (&pair[0], &pair[1]);
        assert_eq!(one.header.ssrc, two.header.ssrc);
        assert_eq!(two.header.sequence.wrapping_sub(one.header.sequence), 1);
        let units = i64::from(two.header.timestamp.wrapping_sub(one.header.timestamp));
        let elapsed = two.at.since(one.at).as_millis() as i64 * 8;
        assert!((units - elapsed).abs() <= 160, "{units} for {elapsed}");
    }
}

#[test]
fn each_side_of_a_bridge_hears_the_other_as_a_session_of_its_own() {
    let (mut world, mut a, mut b) = World::call(pcmu(), pcmu());
    for _ in 0..50 {
        let to_b = world.speak(&mut a).unwrap();
        let to_a = world.speak(&mut b).unwrap();
        assert_eq!((to_b.to, to_a.to), (b.rtp, a.rtp));
        assert_eq!(to_b.payload, [0x55; 160]);
        assert!(![a.ssrc, b.ssrc].contains(&to_b.header.ssrc));
        assert_ne!(to_b.header.ssrc, to_a.header.ssrc);
        world.pass(20);
    }
    let (to_a, to_b): (Vec<_>, Vec<_>) = world.heard.into_iter().partition(|heard| heard.to == a.rtp);
    assert_one_stream(&to_a);
    assert_one_stream(&to_b);
}

// Guards pitfall RTP 1: the sequence of what is relayed wraps where it must and nowhere else.
#[test]
fn a_long_call_wraps_without_a_seam() {
    let (mut world, mut a, _) = World::call(pcmu(), pcmu());
    (a.sequence, a.timestamp) = (65_500, u32::MAX - 1_600);
    for n in 0..70_000u64 {
        world.now = at_ms(n * 20);
        world.speak(&mut a).unwrap();
    }
    assert_one_stream(&world.heard);
    let statistics = world.remove(ALICE);
    assert_eq!(statistics.rtp.received_lost, 0);
    // Guards pitfall RTP 2: neither wrap shows as jitter.
    assert_eq!(statistics.rtp.received_jitter, Duration::ZERO);
}

#[test]
fn who_taps_a_leg_gets_copies_of_its_speech_and_the_call_goes_on_as_before() {
    let (mut world, mut a, mut b) = World::call(pcmu(), pcmu());
    world.command(Command::Tap { leg: ALICE });
    let timestamp = a.timestamp;
    let relayed = world.speak(&mut a).unwrap();
    world.speak(&mut b).unwrap();
    a.payload_type = 101;
    world.speak(&mut a);
    a.payload_type = 0;
    let [tapped] = &world.tapped[..] else {
        panic!("digits and the other leg are not tapped: {:?}", world.tapped)
    };
    assert_eq!(
        (tapped.leg, tapped.timestamp, tapped.clock_rate_hz),
        (ALICE, timestamp, 8_000)
    );
    assert_eq!(tapped.payload[..], relayed.payload[..]);
    // Whom we do not want to hear is not tapped either.
    let deaf = LegMedia {
        direction: ringpost_sdp::Direction::SendOnly,
        ..a.media(pcmu())
    };
    world.command(Command::UpdateLeg {
        leg: ALICE,
        media: deaf,
    });
    world.speak(&mut a);
    assert_eq!(world.tapped.len(), 1);
    let media = a.media(pcmu());
    world.command(Command::UpdateLeg { leg: ALICE, media });
    world.speak(&mut a);
    assert_eq!(world.tapped.len(), 2);
    world.command(Command::Untap { leg: ALICE });
    world.speak(&mut a);
    assert_eq!(world.tapped.len(), 2);
}

#[test]
fn loss_stays_visible_to_who_hears_it() {
    let (mut world, mut a, b) = World::call(pcmu(), pcmu());
    let first = world.speak(&mut a).unwrap();
    a.header();
    a.header();
    world.pass(60);
    let next = world.speak(&mut a).unwrap();
    assert_eq!(next.header.sequence.wrapping_sub(first.header.sequence), 3);
    assert_eq!(next.header.timestamp.wrapping_sub(first.header.timestamp), 480);
    assert_eq!(next.to, b.rtp);
}

#[test]
fn formats_go_by_the_numbers_that_each_peer_gave_them() {
    let (mut world, mut a, _) = World::call(
        pcmu(),
        vec![format(Codec::pcmu(), 0), format(Codec::telephone_event(96), 96)],
    );
    world.speak(&mut a).unwrap();
    let event = TelephoneEvent {
        event: 5,
        end: false,
        volume: 10,
        duration: 160,
    };
    let header = Header {
        payload_type: 101,
        ..a.header()
    };
    let relayed = world.send(a.pair, a.rtp, header, &event.to_bytes()).unwrap();
    assert_eq!(relayed.header.payload_type, 96);
    assert_eq!(relayed.payload, event.to_bytes());
}

#[test]
fn one_law_of_g711_becomes_the_other_where_the_peers_differ() {
    let (mut world, mut a, mut b) = World::call(pcmu(), pcma());
    let header = a.header();
    let speech: Vec<u8> = (0..160).map(|n| Law::Mu.encode(n * 100)).collect();
    let to_b = world.send(a.pair, a.rtp, header, &speech).unwrap();
    assert_eq!(to_b.header.payload_type, 8);
    for (n, byte) in to_b.payload.iter().enumerate() {
        let (said, got) = (i32::from(n as i16 * 100), i32::from(Law::A.decode(*byte)));
        assert!((said - got).abs() <= 40 + said / 20, "{said} became {got}");
    }
    b.payload_type = 8;
    assert_eq!(world.speak(&mut b).unwrap().header.payload_type, 0);
}

// Guards pitfall RTP 9: a key is told once, whatever comes of its packets, and the far end gets them all.
#[test]
fn a_key_is_told_once_and_relayed_whole() {
    let (mut world, mut a, _) = World::call(pcmu(), pcma());
    world.speak(&mut a);
    let start = a.timestamp;
    let mut relayed = Vec::new();
    for n in 1..=10u16 {
        let event = TelephoneEvent {
            event: 11,
            end: n >= 8,
            volume: 10,
            duration: n.min(8) * 160,
        };
        let header = Header {
            payload_type: 101,
            timestamp: start,
            marker: n == 1,
            ..a.header()
        };
        relayed.extend(world.send(a.pair, a.rtp, header, &event.to_bytes()));
        world.pass(20);
    }
    assert_eq!(world.digits(), "#");
    assert_eq!(relayed.len(), 10);
    assert!(
        relayed
            .iter()
            .all(|p| p.header.timestamp == relayed[0].header.timestamp)
    );
    assert!(relayed[0].header.marker);
    let next = world.speak(&mut a).unwrap();
    assert_eq!(
        next.header.timestamp.wrapping_sub(relayed[0].header.timestamp),
        1_600
    );
}

#[test]
fn keys_of_a_peer_without_events_are_heard_in_its_sound() {
    let (mut world, mut a) = World::alone();
    world.command(Command::UpdateLeg {
        leg: ALICE,
        media: a.media(vec![format(Codec::pcmu(), 0)]),
    });
    let mut tone = Tone::dtmf('7').unwrap();
    for n in 0..20 {
        let mut samples = [0; 160];
        if (5..12).contains(&n) {
            tone.fill(&mut samples);
        }
        let header = a.header();
        let payload: Vec<u8> = samples.iter().map(|s| Law::Mu.encode(*s)).collect();
        world.send(a.pair, a.rtp, header, &payload);
    }
    assert_eq!(world.digits(), "7");
}

#[test]
fn events_for_a_peer_that_has_none_leave_no_hole_in_its_sequence() {
    let (mut world, mut a, _) = World::call(pcmu(), vec![format(Codec::pcmu(), 0)]);
    for n in 0..10u16 {
        if (3..6).contains(&n) {
            let event = TelephoneEvent {
                event: 1,
                end: false,
                volume: 0,
                duration: 160 * (n - 2),
            };
            let header = Header {
                payload_type: 101,
                timestamp: 3 * 160,
                ..a.header()
            };
            assert!(world.send(a.pair, a.rtp, header, &event.to_bytes()).is_none());
        } else {
            world.speak(&mut a);
        }
        world.pass(20);
    }
    assert_eq!(world.heard.len(), 7);
    assert_one_stream(&world.heard);
    assert_eq!(world.digits(), "1");
}

// Guards pitfall RTP 3: the peer's source changes, and who hears it hears one stream.
#[test]
fn a_source_that_changes_is_still_one_stream_to_the_other_side() {
    let (mut world, mut a, _) = World::call(pcmu(), pcmu());
    for round in 0..3 {
        for _ in 0..10 {
            world.speak(&mut a).unwrap();
            world.pass(20);
        }
        (a.ssrc, a.sequence, a.timestamp) = (
            round + 77,
            40_000u16.wrapping_mul(round as u16 + 1),
            999_999_999u32.wrapping_mul(round + 1),
        );
    }
    assert_one_stream(&world.heard);
    assert_eq!(world.heard.iter().filter(|p| p.header.marker).count(), 3);
}

// Guards pitfall RTP 7: strangers are counted and dropped, and learn nothing.
#[test]
fn strangers_are_not_heard_and_get_nothing() {
    let (mut world, mut a, mut b) = World::call(pcmu(), pcmu());
    let stranger = SocketAddr::from(([198, 51, 100, 1], 4_000));
    let header = a.header();
    assert!(world.send(a.pair, stranger, header, &[0; 160]).is_none());
    assert_eq!(world.speak(&mut b).unwrap().to, a.rtp);
    world.speak(&mut a).unwrap();
    let other_port = SocketAddr::new(a.rtp.ip(), 5_555);
    let header = a.header();
    assert!(world.send(a.pair, other_port, header, &[0; 160]).is_none());
    assert_eq!(world.speak(&mut b).unwrap().to, a.rtp);
    assert_eq!(world.remove(ALICE).foreign_packets, 2);
}

// Guards pitfall RTP 7: behind a translator the first packet tells the address, and a hold does not lose it.
#[test]
fn a_phone_behind_a_translator_is_found_by_its_first_packet_and_kept_through_a_hold() {
    let (mut world, mut a, mut b) = World::call(pcmu(), pcmu());
    let seen_as = SocketAddr::from(([203, 0, 113, 7], 61_000));
    let described = LegMedia {
        rtp: Some(SocketAddr::from(([10, 0, 0, 5], 4_000))),
        signalling: Some(seen_as.ip()),
        ..a.media(pcmu())
    };
    world.command(Command::UpdateLeg {
        leg: ALICE,
        media: described.clone(),
    });
    assert_eq!(world.speak(&mut b).unwrap().to, described.rtp.unwrap());
    a.rtp = seen_as;
    world.speak(&mut a).unwrap();
    assert_eq!(world.speak(&mut b).unwrap().to, seen_as);

    // Alice holds: she hears music, and says nothing that could tell her address again.
    let held = LegMedia {
        direction: Direction::SendOnly,
        ..described
    };
    world.command(Command::UpdateLeg {
        leg: ALICE,
        media: held,
    });
    assert!(world.speak(&mut a).is_none(), "we do not receive now");
    let music = Audio::Pcm(vec![1_000; 8_000].into());
    world.command(Command::Play {
        leg: ALICE,
        id: 1,
        playlist: vec![music],
        repeat: true,
    });
    world.heard.clear();
    world.pass(100);
    assert!(world.heard.len() >= 5 && world.heard.iter().all(|p| p.to == seen_as));
}

#[test]
fn a_leg_that_may_not_send_sends_no_rtp_and_goes_on_reporting() {
    let (mut world, mut a, b) = World::call(pcmu(), pcmu());
    let media = LegMedia {
        direction: Direction::RecvOnly,
        ..b.media(pcmu())
    };
    world.command(Command::UpdateLeg { leg: BOB, media });
    for _ in 0..500 {
        assert!(world.speak(&mut a).is_none());
        world.pass(20);
    }
    assert!(world.heard.is_empty());
    assert!(world.rtcp.iter().any(|(_, _, to, _)| *to == b.rtcp()));
}

#[test]
fn a_prompt_is_played_in_time_and_told_when_it_ends() {
    let (mut world, a) = World::alone();
    let playlist = vec![Audio::tone(Tone::sine(440.0, -12.0), Duration::from_secs(1)); 2];
    world.command(Command::Play {
        leg: ALICE,
        id: 9,
        playlist,
        repeat: false,
    });
    world.pass(3_000);
    assert_eq!(world.heard.len(), 100);
    for (n, packet) in world.heard.iter().enumerate() {
        assert_eq!((packet.at, packet.to), (at_ms(n as u64 * 20), a.rtp));
        assert_eq!(packet.header.marker, n == 0);
    }
    assert_one_stream(&world.heard);
    let sound: Vec<i16> = world
        .heard
        .iter()
        .flat_map(|p| &p.payload)
        .map(|b| Law::Mu.decode(*b))
        .collect();
    assert!((dominant_tone(&sound).unwrap().frequency_hz - 440.0).abs() < 2.0);
    let ended = Event::PlayEnded {
        leg: ALICE,
        id: 9,
        outcome: PlayOutcome::Finished,
    };
    assert_eq!(world.events, [(at_ms(2_000), ended)]);
    assert!(world.engine.next_tick.is_none(), "nobody wants ticks any more");
}

#[test]
fn a_prompt_in_a_call_takes_the_other_sides_place_and_gives_it_back() {
    let (mut world, mut a, b) = World::call(pcmu(), pcmu());
    for n in 0..100 {
        if n == 30 {
            let playlist = vec![Audio::Pcm(vec![5_000; 3_200].into())];
            world.command(Command::Play {
                leg: BOB,
                id: 1,
                playlist,
                repeat: false,
            });
        }
        if n == 80 {
            world.command(Command::Play {
                leg: BOB,
                id: 2,
                playlist: vec![Audio::Pcm(vec![0; 160_000].into())],
                repeat: true,
            });
        }
        if n == 85 {
            world.command(Command::StopPlay { leg: BOB });
        }
        world.speak(&mut a);
        world.pass(20);
    }
    assert!(world.heard.iter().all(|p| p.to == b.rtp));
    assert_one_stream(&world.heard);
    let prompt = world
        .heard
        .iter()
        .filter(|p| p.payload == [Law::Mu.encode(5_000); 160])
        .count();
    assert_eq!(prompt, 20);
    let stopped = Event::PlayEnded {
        leg: BOB,
        id: 2,
        outcome: PlayOutcome::Stopped,
    };
    assert_eq!(world.events.last().unwrap().1, stopped);
}

// Guards pitfall RTP 8.
#[test]
fn live_sound_is_fed_to_a_leg_at_a_steady_pace_with_silence_where_nothing_comes() {
    let (mut world, _) = World::alone();
    let mut tone = Tone::sine(440.0, -12.0);
    let mut timestamp = 4_294_960_000;
    // Packets of 100 ms, two at a time; one is missing, and after two seconds nothing comes.
    for n in 0..20 {
        let mut samples = vec![0; 800];
        tone.fill(&mut samples);
        let samples = samples.into();
        if n != 7 {
            world.command(Command::Feed {
                leg: ALICE,
                timestamp,
                samples,
            });
        }
        timestamp = timestamp.wrapping_add(800);
        if n % 2 == 1 {
            world.pass(200);
        }
    }
    world.pass(1_000);
    assert_one_stream(&world.heard);
    assert!(world.heard[0].header.marker);
    let gaps = world.heard.windows(2).map(|two| two[1].at.since(two[0].at));
    assert!(gaps.into_iter().all(|gap| gap == Duration::from_millis(20)));
    let mut sound = Vec::new();
    for packet in &world.heard {
        Law::Mu.decode_into(&packet.payload, &mut sound);
    }
    let of = |range: std::ops::Range<usize>| &sound[range.start * 8..range.end * 8];
    assert!(of(0..100).iter().all(|sample| *sample == 0));
    let found = dominant_tone(of(140..760)).expect("sound");
    assert!(
        (found.frequency_hz - 440.0).abs() < 2.0 && found.purity > 0.99,
        "{found:?}"
    );
    assert!(of(840..900).iter().all(|sample| *sample == 0), "what is missing");
    assert!(of(2_200..2_900).iter().all(|sample| *sample == 0), "and the end");
    world.remove(ALICE);
    let told = world.heard.len();
    world.command(Command::Feed {
        leg: ALICE,
        timestamp,
        samples: vec![1; 160].into(),
    });
    world.pass(1_000);
    assert_eq!(world.heard.len(), told);
}

#[test]
fn who_has_nothing_that_we_code_is_told_that_nothing_can_be_played() {
    let (mut world, a) = World::alone();
    world.command(Command::UpdateLeg {
        leg: ALICE,
        media: a.media(vec![format(Codec::new(18, "G729", 8_000), 18)]),
    });
    world.command(Command::Play {
        leg: ALICE,
        id: 1,
        playlist: Vec::new(),
        repeat: false,
    });
    assert_eq!(
        world.events[0].1,
        Event::PlayEnded {
            leg: ALICE,
            id: 1,
            outcome: PlayOutcome::NoCodec
        }
    );
}

/// Alice alone, who has this and events of its clock, and what her packets hold.
fn without_g711(spoken: Codec) -> (World, Peer, Coding) {
    let coding = match spoken.name.as_ref() {
        "opus" => Coding::Opus,
        _ => Coding::G722,
    };
    let events = Codec {
        clock_rate_hz: spoken.clock_rate_hz,
        ..Codec::telephone_event(101)
    };
    let mut world = World::new();
    let mut a = Peer::new(1);
    a.payload_type = spoken.payload_type;
    let number = spoken.payload_type;
    let media = a.media(vec![format(spoken, number), format(events, 101)]);
    world.leg(ALICE, &a, media);
    (world, a, coding)
}

#[test]
fn who_has_g722_or_opus_alone_hears_what_is_played_and_fed() {
    for spoken in [Codec::g722(), Codec::opus(96)] {
        let (clock_rate_hz, number) = (spoken.clock_rate_hz, spoken.payload_type);
        let (mut world, _, coding) = without_g711(spoken);
        world.command(Command::Play {
            leg: ALICE,
            id: 9,
            playlist: vec![Audio::tone(Tone::sine(440.0, -12.0), Duration::from_secs(1))],
            repeat: false,
        });
        world.pass(1_500);
        let mut tone = Tone::sine(880.0, -12.0);
        for n in 0..50 {
            let mut samples = [0; 160];
            tone.fill(&mut samples);
            world.command(Command::Feed {
                leg: ALICE,
                timestamp: n * 160,
                samples: samples[..].into(),
            });
            world.pass(20);
        }
        let (played, fed) = world.heard.split_at(50);
        for (packets, hz) in [(played, 440.0), (&fed[7..], 880.0)] {
            let mut ear = Ear::new(&coding, clock_rate_hz).expect("an ear");
            let mut sound = Vec::new();
            for pair in packets.windows(2) {
                assert_eq!(pair[0].header.payload_type, number);
                assert_eq!(pair[1].header.sequence.wrapping_sub(pair[0].header.sequence), 1);
                let step = pair[1].header.timestamp.wrapping_sub(pair[0].header.timestamp);
                assert_eq!(step, clock_rate_hz / 50, "{coding:?}");
                sound.extend(
                    ear.hear(pair[0].header.timestamp, &pair[0].payload)
                        .expect("sound")
                        .samples,
                );
            }
            let found = dominant_tone(&sound[1_000..5_000]).expect("a tone");
            assert!((found.frequency_hz - hz).abs() < 2.0, "{coding:?}: {found:?}");
            assert!((found.level_dbfs + 12.0).abs() < 1.0, "{coding:?}: {found:?}");
        }
    }
}

#[test]
fn who_has_g722_or_opus_alone_is_recorded_and_its_keys_are_heard_in_its_sound() {
    for spoken in [Codec::g722(), Codec::opus(96)] {
        let step = spoken.clock_rate_hz / 50;
        let (mut world, mut a, coding) = without_g711(spoken.clone());
        // Without events.
        let number = spoken.payload_type;
        world.command(Command::UpdateLeg {
            leg: ALICE,
            media: a.media(vec![format(spoken, number)]),
        });
        world.command(Command::Record {
            leg: ALICE,
            id: 3,
            max: Duration::from_secs(60),
            silence: None,
        });
        let mut encoder = Encoder::new(&coding).expect("an encoder");
        let (mut tone, mut key) = (Tone::sine(440.0, -12.0), Tone::dtmf('7').expect("a key"));
        for n in 0..150 {
            let mut samples = [0; 160];
            if n < 100 { &mut tone } else { &mut key }.fill(&mut samples);
            let header = Header {
                timestamp: (u32::MAX - 20_000).wrapping_add(n * step),
                ..a.header()
            };
            world.send(a.pair, a.rtp, header, &encoder.encode(&samples));
            world.pass(20);
        }
        world.command(Command::StopRecord { leg: ALICE });
        assert_eq!(world.digits(), "7", "{coding:?}");
        let sound = world.recorded();
        assert!(
            (23_500..=25_000).contains(&sound.len()),
            "{coding:?}: {}",
            sound.len()
        );
        let found = dominant_tone(&sound[1_000..15_000]).expect("a tone");
        assert!((found.frequency_hz - 440.0).abs() < 1.0, "{coding:?}: {found:?}");
        assert!(found.purity > 0.95, "{coding:?}: {found:?}");
    }
}

#[test]
fn digits_keep_the_clock_of_what_is_spoken() {
    for spoken in [Codec::g722(), Codec::opus(96)] {
        let step = spoken.clock_rate_hz / 50;
        let (mut world, ..) = without_g711(spoken);
        world.command(Command::SendDigits {
            leg: ALICE,
            digits: "42".into(),
        });
        world.pass(1_000);
        let duration = |packet: &Heard| u32::from(u16::from_be_bytes([packet.payload[2], packet.payload[3]]));
        assert_eq!(world.heard.len(), 20);
        assert!(world.heard.iter().all(|packet| packet.header.payload_type == 101));
        assert_eq!(duration(&world.heard[0]), step);
        assert_eq!(duration(&world.heard[9]), 8 * step);
        let between = world.heard[10]
            .header
            .timestamp
            .wrapping_sub(world.heard[0].header.timestamp);
        assert_eq!(
            between,
            14 * step,
            "eight sound, two repeat the end, four are a pause"
        );
    }
}

// Guards pitfall RTP 9: what we send as events has one timestamp a digit, growing durations, three ends.
#[test]
fn digits_are_sent_as_events_by_the_rfc() {
    let (mut world, mut a, mut b) = World::call(pcmu(), pcmu());
    world.speak(&mut a);
    world.pass(20);
    world.command(Command::SendDigits {
        leg: BOB,
        digits: "4*".into(),
    });
    for _ in 0..30 {
        world.speak(&mut a);
        world.pass(20);
    }
    let events: Vec<_> = world
        .heard
        .iter()
        .filter(|p| p.header.payload_type == 101)
        .collect();
    assert_eq!(events.len(), 20);
    for (digit, packets) in [(4, &events[..10]), (10, &events[10..])] {
        assert!(
            packets
                .iter()
                .all(|p| p.header.timestamp == packets[0].header.timestamp)
        );
        assert!(packets.iter().all(|p| p.payload[0] == digit));
        assert_eq!(packets.iter().filter(|p| p.header.marker).count(), 1);
        assert_eq!(packets.iter().filter(|p| p.payload[1] & 0x80 != 0).count(), 3);
        assert!(packets.is_sorted_by_key(|p| u16::from_be_bytes([p.payload[2], p.payload[3]])));
    }
    assert!(
        world
            .events
            .iter()
            .any(|(_, event)| *event == Event::DigitsSent { leg: BOB })
    );
    let sequences: Vec<u16> = world.heard.iter().map(|p| p.header.sequence).collect();
    assert!(
        sequences.windows(2).all(|w| w[1] == w[0].wrapping_add(1)),
        "audio and events share one sequence"
    );
    let last = world.heard.last().unwrap();
    assert_eq!(last.header.payload_type, 0, "and the call goes on");
    assert!(world.speak(&mut b).is_some());
}

#[test]
fn what_a_peer_says_is_recorded_in_time() {
    let (mut world, mut a) = World::alone();
    world.command(Command::Record {
        leg: ALICE,
        id: 3,
        max: Duration::from_secs(60),
        silence: None,
    });
    world.sing(&mut a, 150, |n| n % 25 != 24);
    world.command(Command::StopRecord { leg: ALICE });
    let sound = world.recorded();
    let (_, Event::RecordEnded { outcome, length, .. }) = world.events.last().unwrap() else {
        panic!()
    };
    assert_eq!(*outcome, RecordOutcome::Stopped);
    assert_eq!(*length, Duration::from_micros(sound.len() as u64 * 125));
    assert!((3_000..=3_080).contains(&length.as_millis()), "{length:?}");
    let tone = dominant_tone(&sound[1_000..9_000]).unwrap();
    assert!(
        (tone.frequency_hz - 440.0).abs() < 2.0 && tone.purity > 0.85,
        "{tone:?}"
    );
}

#[test]
fn a_recording_ends_by_silence_by_length_and_with_its_leg() {
    let (mut world, mut a) = World::alone();
    let record = |id, max_s, silence_s| Command::Record {
        leg: ALICE,
        id,
        max: Duration::from_secs(max_s),
        silence: Some(Duration::from_secs(silence_s)),
    };
    world.command(record(1, 60, 3));
    world.sing(&mut a, 100, |_| true);
    // The peer suppresses silence: not one packet tells of it.
    world.pass(4_000);
    world.command(record(2, 2, 60));
    world.sing(&mut a, 150, |_| true);
    world.command(record(3, 60, 60));
    world.sing(&mut a, 10, |_| true);
    world.remove(ALICE);
    let ends: Vec<_> = world
        .events
        .iter()
        .filter_map(|(_, event)| match event {
            Event::RecordEnded {
                id,
                outcome,
                length,
                silent_end,
                ..
            } => Some((*id, *outcome, length.as_millis(), silent_end.as_millis())),
            _ => None,
        })
        .collect();
    assert_eq!(ends[0], (1, RecordOutcome::Silence, 5_060, 3_000));
    assert_eq!(
        (ends[1].0, ends[1].1, ends[1].2),
        (2, RecordOutcome::MaxLength, 2_000)
    );
    assert_eq!((ends[2].0, ends[2].1), (3, RecordOutcome::LegRemoved));
    assert!((200..=260).contains(&ends[2].2));
    assert!(matches!(world.events.last().unwrap().1, Event::LegRemoved { .. }));
}

#[test]
fn a_driver_that_was_away_makes_recordings_whole_and_floods_nobody() {
    let (mut world, _) = World::alone();
    world.command(Command::Record {
        leg: ALICE,
        id: 1,
        max: Duration::from_secs(60),
        silence: None,
    });
    world.command(Command::Play {
        leg: ALICE,
        id: 1,
        playlist: vec![Audio::Pcm(vec![1; 80].into())],
        repeat: true,
    });
    world.pass(100);
    let before = world.heard.len();
    world.now += Duration::from_secs(2);
    world.engine.handle_timeout(world.now);
    world.drain();
    assert!(world.heard.len() - before <= 2);
    let gap = world.heard[before]
        .header
        .timestamp
        .wrapping_sub(world.heard[before - 1].header.timestamp);
    assert!((15_900..=16_200).contains(&gap), "{gap}");
    world.command(Command::StopRecord { leg: ALICE });
    assert!(
        (16_500..=16_960).contains(&world.recorded().len()),
        "{}",
        world.recorded().len()
    );
}

// Guards pitfall RTP 5: each leg reports for itself, at times that are drawn, with SR once it sends, and says BYE.
#[test]
fn each_leg_reports_for_itself_and_says_bye() {
    let (mut world, mut a, mut b) = World::call(pcmu(), pcmu());
    for _ in 0..3_000 {
        world.speak(&mut a);
        world.speak(&mut b);
        world.pass(20);
    }
    world.remove(ALICE);
    for (peer, bye) in [(&a, true), (&b, false)] {
        let to_peer: Vec<_> = world
            .rtcp
            .iter()
            .filter(|(_, _, to, _)| *to == peer.rtcp())
            .collect();
        assert!(to_peer.iter().all(|(_, socket, ..)| *socket
            == SocketId {
                pair: peer.pair,
                port: Port::Rtcp
            }));
        let gaps: BTreeMap<_, _> = to_peer
            .windows(2)
            .map(|w| (w[1].0.since(w[0].0).as_millis(), ()))
            .collect();
        assert!((8..=24).contains(&to_peer.len()) && gaps.len() > 5, "{gaps:?}");
        let compound = Compound::parse(&to_peer[3].3, false).unwrap();
        let Some(RtcpPacket::SenderReport { info, reports, .. }) = compound.iter().next() else {
            panic!()
        };
        let block = reports.iter().next().unwrap();
        assert_eq!((block.ssrc, block.lost, info.packets > 100), (peer.ssrc, 0, true));
        let last = Compound::parse(&to_peer.last().unwrap().3, false).unwrap();
        assert_eq!(last.iter().any(|p| matches!(p, RtcpPacket::Bye { .. })), bye);
    }
}

#[test]
fn the_end_of_a_leg_tells_how_it_went_and_leaves_nothing_behind() {
    let (mut world, mut a, mut b) = World::call(pcmu(), pcmu());
    for n in 0..200 {
        if n % 20 == 19 {
            a.header();
        } else {
            world.speak(&mut a);
        }
        world.speak(&mut b);
        world.pass(20);
    }
    let (_, _, _, report) = world
        .rtcp
        .iter()
        .find(|(_, _, to, _)| *to == a.rtcp())
        .unwrap()
        .clone();
    let Some(RtcpPacket::SenderReport { ssrc, info, .. }) =
        Compound::parse(&report, false).unwrap().iter().next()
    else {
        panic!()
    };
    // Alice's phone answers our SR after 100 ms of its own, over a path of 40 ms.
    let sent_at = world.rtcp.iter().find(|(_, _, to, _)| *to == a.rtcp()).unwrap().0;
    world.now = sent_at + Duration::from_millis(140);
    let block = ringpost_rtp::rtcp::ReportBlock {
        ssrc,
        lost: 7,
        last_sr: (info.ntp >> 16) as u32,
        delay_since_last_sr: 6_554,
        ..Default::default()
    };
    let mut rr = Vec::new();
    Writer::new(&mut rr).receiver_report(a.ssrc, &[block]);
    world.rtcp_from(&a, &rr);

    let statistics = world.remove(ALICE);
    assert_eq!(statistics.rtp.received_packets, 189, "the first is on probation");
    assert_eq!(
        statistics.rtp.received_lost, 9,
        "the one behind the last is not yet missed"
    );
    assert_eq!(statistics.rtp.received_octets, 189 * 160);
    assert_eq!((statistics.rtp.sent_packets, statistics.rtp.sent_lost), (200, 7));
    assert_eq!(statistics.rtp.round_trip.unwrap().as_millis(), 39);
    assert_eq!(statistics.remote, Some(a.rtp));
    world.remove(BOB);
    assert_eq!(world.closed, [a.pair, b.pair]);
    assert_eq!((world.engine.legs(), world.engine.next_timeout()), (0, None));
    assert!(world.speak(&mut b).is_none());
}

#[test]
fn rtcp_shares_the_port_where_that_was_agreed() {
    let (mut world, a) = World::alone();
    world.command(Command::UpdateLeg {
        leg: ALICE,
        media: LegMedia {
            rtcp_mux: true,
            ..a.media(pcmu())
        },
    });
    world.pass(8_000);
    let (_, socket, to, _) = &world.rtcp[0];
    assert_eq!(
        (*socket, *to),
        (
            SocketId {
                pair: a.pair,
                port: Port::Rtp
            },
            a.rtp
        )
    );
    let mut bye = Vec::new();
    Writer::new(&mut bye).receiver_report(a.ssrc, &[]);
    let socket = SocketId {
        pair: a.pair,
        port: Port::Rtp,
    };
    world
        .engine
        .handle_packet(world.now, socket, a.rtp, &mut bye.clone());
    assert_eq!(world.remove(ALICE).refused_packets, 0);
}

#[test]
fn a_silent_peer_is_told_of_but_not_one_on_hold() {
    let mut world = World::new();
    let mut a = Peer::new(1);
    let (pair, media_timeout) = (a.pair, Some(Duration::from_secs(10)));
    world.command(Command::CreateLeg {
        leg: ALICE,
        pair,
        cname: "a".into(),
        media: a.media(pcmu()),
        media_timeout,
    });
    world.sing(&mut a, 500, |_| true);
    world.pass(15_000);
    let told: Vec<_> = world
        .events
        .iter()
        .map(|(at, _)| at.as_nanos() / 1_000_000)
        .collect();
    assert_eq!(told, [19_980]);
    let held = LegMedia {
        direction: Direction::SendOnly,
        ..a.media(pcmu())
    };
    world.command(Command::UpdateLeg {
        leg: ALICE,
        media: held,
    });
    world.pass(60_000);
    assert_eq!(world.events.len(), 1);
}

#[test]
fn a_leg_bridged_with_itself_hears_itself() {
    let (mut world, mut a) = World::alone();
    world.command(Command::Bridge { a: ALICE, b: ALICE });
    let echo = world.speak(&mut a).unwrap();
    assert_eq!((echo.to, echo.payload), (a.rtp, vec![0x55; 160]));
    assert_ne!(echo.header.ssrc, a.ssrc);
    world.command(Command::Unbridge { leg: ALICE });
    assert!(world.speak(&mut a).is_none());
}

#[test]
fn a_third_leg_takes_a_place_in_the_bridge() {
    let (mut world, mut a, mut b) = World::call(pcmu(), pcmu());
    let mut c = Peer::new(3);
    world.leg(LegId(3), &c, c.media(pcma()));
    world.speak(&mut a).unwrap();
    world.command(Command::Bridge {
        a: ALICE,
        b: LegId(3),
    });
    assert_eq!(world.speak(&mut a).unwrap().to, c.rtp);
    c.payload_type = 8;
    assert_eq!(world.speak(&mut c).unwrap().to, a.rtp);
    assert!(world.speak(&mut b).is_none());
}

// Guards pitfall RTP 3: a peer that uses our SSRC costs us one change.
#[test]
fn a_peer_that_takes_our_ssrc_makes_us_take_another() {
    let (mut world, mut a, mut b) = World::call(pcmu(), pcmu());
    let ours = world.speak(&mut b).unwrap().header.ssrc;
    world.pass(20);
    a.ssrc = ours;
    world.speak(&mut a);
    let changed = world.speak(&mut b).unwrap();
    assert_ne!(changed.header.ssrc, ours);
    let (_, _, to, bye) = world.rtcp.last().unwrap();
    let compound = Compound::parse(bye, false).unwrap();
    assert!(
        compound
            .iter()
            .any(|p| matches!(p, RtcpPacket::Bye { sources, .. } if sources.iter().eq([ours])))
    );
    assert_eq!(*to, a.rtcp());
}

#[test]
fn a_request_for_a_key_frame_passes_to_who_can_send_one() {
    let (mut world, mut a, b) = World::call(pcmu(), pcmu());
    let source = world.speak(&mut a).unwrap().header.ssrc;
    let mut pli = Vec::new();
    Writer::new(&mut pli)
        .receiver_report(b.ssrc, &[])
        .feedback(&Feedback {
            payload_specific: true,
            format: Feedback::PLI,
            sender_ssrc: b.ssrc,
            media_ssrc: source,
            control: &[],
        });
    world.rtcp_from(&b, &pli);
    let (_, _, to, passed) = world.rtcp.last().unwrap();
    assert_eq!(*to, a.rtcp());
    let asked: Vec<u32> = Compound::parse(passed, false)
        .unwrap()
        .iter()
        .filter_map(|p| {
            if let RtcpPacket::Feedback(f) = p {
                Some(f.key_frame_requests().collect::<Vec<_>>())
            } else {
                None
            }
        })
        .flatten()
        .collect();
    assert_eq!(asked, [a.ssrc]);
}

#[test]
fn commands_for_legs_that_are_gone_do_nothing() {
    let mut world = World::new();
    for command in [
        Command::RemoveLeg { leg: ALICE },
        Command::Bridge { a: ALICE, b: BOB },
        Command::Unbridge { leg: ALICE },
        Command::StopPlay { leg: ALICE },
        Command::SendDigits {
            leg: ALICE,
            digits: "1".into(),
        },
    ] {
        world.command(command);
    }
    assert!(world.events.is_empty());
    assert_eq!(world.engine.next_timeout(), None);
}

#[test]
fn the_fuzz_target_holds_on_random_scripts() {
    let mut rng = Rng::from_number(11);
    for round in 0..4_000usize {
        let mut data = vec![0; round % 400];
        rng.fill(&mut data);
        crate::fuzz::engine(&data);
    }
}
