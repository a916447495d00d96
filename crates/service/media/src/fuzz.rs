//! Targets for the fuzzer: plain functions over bytes that panic when an invariant breaks.

use crate::{Audio, Command, Engine, Event, LegId, LegMedia, Output, PairId, Port, SocketId};
use ringpost_base::{Cursor, CursorError, Instant, Rng, UnixTime};
use ringpost_rtp::Packet;
use ringpost_rtp::rtcp::Compound;
use ringpost_sdp::{Codec, Direction, NegotiatedCodec};
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Legs, sockets and peers are drawn from so few that they meet.
const FEW: u8 = 4;

/// A script for an engine: commands, packets from friends and strangers, and time that passes.
pub fn engine(data: &[u8]) {
    let mut world = World {
        now: Instant::ZERO,
        engine: Engine::new(Instant::ZERO, UnixTime::from_secs(0), Rng::from_number(1)),
        open: BTreeSet::new(),
    };
    let mut script = Cursor::new(data);
    while world.step(&mut script).is_ok() {}
    for leg in 0..FEW {
        world.engine.handle_command(
            world.now,
            Command::RemoveLeg {
                leg: LegId(leg.into()),
            },
        );
        world.drain();
    }
    world.now += Duration::from_secs(10);
    world.engine.handle_timeout(world.now);
    world.drain();
    assert_eq!(world.engine.legs(), 0, "a removed leg goes");
    assert_eq!(world.engine.next_timeout(), None, "and leaves no timer behind");
    assert!(world.open.is_empty(), "and its sockets are closed");
}

struct World {
    now: Instant,
    engine: Engine,
    open: BTreeSet<PairId>,
}

impl World {
    fn step(&mut self, script: &mut Cursor<'_>) -> Result<(), CursorError> {
        let (step, argument) = (script.u8()?, script.u8()?);
        let leg = LegId(u64::from(argument % FEW));
        let command = match step % 16 {
            0 => {
                let pair = PairId(u32::from(step >> 4) % u32::from(FEW));
                let media_timeout = (argument > 128).then(|| Duration::from_millis(u64::from(argument)));
                Command::CreateLeg {
                    leg,
                    pair,
                    cname: "fuzz".into(),
                    media: media(step, argument),
                    media_timeout,
                }
            }
            1 => Command::UpdateLeg {
                leg,
                media: media(script.u8()?, argument),
            },
            2 => Command::RemoveLeg { leg },
            3 | 4 => Command::Bridge {
                a: leg,
                b: LegId(u64::from(step >> 4) % u64::from(FEW)),
            },
            5 => Command::Unbridge { leg },
            6 => {
                let audio = Audio::Pcm(vec![i16::from(argument); usize::from(argument) * 8].into());
                Command::Play {
                    leg,
                    id: 1,
                    playlist: vec![audio.clone(), audio],
                    repeat: step & 0x10 != 0,
                }
            }
            7 => Command::StopPlay { leg },
            8 => Command::SendDigits {
                leg,
                digits: "1#x".into(),
            },
            9 => {
                let silence = (step & 0x10 != 0).then_some(Duration::from_millis(500));
                Command::Record {
                    leg,
                    id: 2,
                    max: Duration::from_secs(u64::from(argument)),
                    silence,
                }
            }
            10 => Command::StopRecord { leg },
            13 if step & 0x10 != 0 => Command::Tap { leg },
            13 => Command::Untap { leg },
            12 => Command::Feed {
                leg,
                timestamp: u32::from(argument) << (step >> 4),
                samples: vec![i16::from(argument); usize::from(argument) * 16].into(),
            },
            11 => {
                self.now += Duration::from_millis(u64::from(argument) * u64::from(1 + (step >> 4)));
                self.engine.handle_timeout(self.now);
                self.drain();
                return Ok(());
            }
            _ => return self.packet(step, argument, script),
        };
        let (legs, created) = (self.engine.legs(), created_pair(&command));
        self.engine.handle_command(self.now, command);
        if self.engine.legs() > legs {
            self.open.extend(created);
        }
        self.drain();
        Ok(())
    }

    fn packet(&mut self, step: u8, argument: u8, script: &mut Cursor<'_>) -> Result<(), CursorError> {
        let len = usize::from(script.u8()?).min(script.rest().len());
        let mut datagram = script.take(len)?.to_vec();
        let port = if step & 1 == 0 { Port::Rtp } else { Port::Rtcp };
        if step & 0x10 == 0 && len >= 12 {
            // Most bytes are no packets; so these are given the front of one, from one of few sources.
            datagram[0] = 0x80;
            datagram[1] = [0, 8, 96, 101, 200, 201][usize::from(datagram[1] % 6)];
            datagram[8..11].fill(0);
        }
        let socket = SocketId {
            pair: PairId(u32::from(argument % (FEW + 1))),
            port,
        };
        let from = address(argument >> 4);
        if let Some(forward) = self.engine.handle_packet(self.now, socket, from, &mut datagram) {
            assert!(
                self.open.contains(&forward.socket.pair),
                "a relayed packet leaves by a socket that is open"
            );
            assert!(Packet::parse(&datagram[forward.range]).is_ok(), "and is RTP");
        }
        self.drain();
        Ok(())
    }

    fn drain(&mut self) {
        loop {
            match self.engine.poll_output() {
                Output::Transmit(transmit) => {
                    assert!(
                        self.open.contains(&transmit.socket.pair),
                        "we send by sockets that are open"
                    );
                    let is_rtcp = Compound::parse(&transmit.bytes, false).is_ok();
                    assert!(
                        is_rtcp || Packet::parse(&transmit.bytes).is_ok(),
                        "what we send is RTP or RTCP"
                    );
                }
                Output::Close(pair) => assert!(self.open.remove(&pair), "a pair is closed once"),
                Output::Event(Event::Recorded { samples, .. }) => {
                    assert!((1..=8_000).contains(&samples.len()))
                }
                Output::Event(_) | Output::Tapped(_) => {}
                Output::Timeout(at) => {
                    assert_eq!(at, self.engine.next_timeout());
                    return;
                }
            }
        }
    }
}

fn created_pair(command: &Command) -> Option<PairId> {
    if let Command::CreateLeg { pair, .. } = command {
        Some(*pair)
    } else {
        None
    }
}

fn address(n: u8) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(192, 0, 2, n % FEW), 4_000 + u16::from(n)))
}

fn media(shape: u8, peer: u8) -> LegMedia {
    let format = |codec: Codec, receive_payload_type| NegotiatedCodec {
        send_payload_type: codec.payload_type,
        receive_payload_type,
        codec,
    };
    let mut codecs = vec![format(Codec::pcma(), 8)];
    if shape & 0x01 != 0 {
        codecs.insert(0, format(Codec::pcmu(), 0));
    }
    if shape & 0x02 != 0 {
        codecs.push(format(Codec::telephone_event(101), 96));
    }
    match (shape ^ peer) & 0x60 {
        0x20 => codecs = vec![format(Codec::g722(), 9)],
        0x40 => codecs.insert(0, format(Codec::opus(100), 98)),
        _ => {}
    }
    if shape & 0x04 != 0 {
        codecs.clear();
    }
    LegMedia {
        rtp: (shape & 0x08 != 0).then(|| address(peer)),
        rtcp: (shape & 0x08 != 0).then(|| address(peer)),
        rtcp_mux: shape & 0x10 != 0,
        signalling: (shape & 0x20 != 0).then(|| address(peer).ip()),
        codecs,
        direction: Direction::new(shape & 0x40 == 0, shape & 0x80 == 0),
    }
}
