//! Targets for the fuzzer: plain functions over bytes that panic when an invariant breaks.

use crate::rtcp::{Compound, RtcpPacket, Writer};
use crate::{Config, EventReceiver, Output, Packet, Session, rewrite};
use ringpost_base::{Cursor, Instant, Rng, UnixTime};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// One datagram as RTP: what parses lies within it, and can be rewritten in place.
pub fn packet(data: &[u8]) {
    let Ok(packet) = Packet::parse(data) else { return };
    assert!(packet.payload().len() + 12 <= data.len());
    let _ = (packet.csrcs().count(), packet.extension());
    let (header, range) = (packet.header(), packet.payload_range());
    let mut copy = data.to_vec();
    let rewritten = rewrite(&mut copy, range, header);
    let again = Packet::parse(&copy[rewritten]).expect("a rewritten packet is a packet");
    assert_eq!((again.header(), again.payload()), (header, packet.payload()));
}

/// One datagram as RTCP: what parses prints, and reads back the same.
pub fn rtcp(data: &[u8]) {
    let Ok(compound) = Compound::parse(data, true) else {
        return;
    };
    let mut printed = Vec::new();
    for packet in compound.iter() {
        let start = printed.len();
        let mut writer = Writer::new(&mut printed);
        match packet {
            RtcpPacket::SenderReport { ssrc, info, reports } => {
                writer.sender_report(ssrc, info, &reports.iter().collect::<Vec<_>>());
            }
            RtcpPacket::ReceiverReport { ssrc, reports } => {
                writer.receiver_report(ssrc, &reports.iter().collect::<Vec<_>>());
            }
            RtcpPacket::Bye { sources, reason } => {
                writer.bye(&sources.iter().collect::<Vec<_>>(), reason);
            }
            RtcpPacket::Application {
                ssrc,
                subtype,
                name,
                data,
            } if data.len() % 4 == 0 => {
                writer.application(ssrc, subtype, name, data);
            }
            RtcpPacket::Feedback(feedback) if feedback.control.len() % 4 == 0 => {
                let _ = feedback.key_frame_requests().count();
                writer.feedback(&feedback);
            }
            RtcpPacket::SourceDescription(chunks) => {
                for chunk in chunks.iter() {
                    let items: Vec<_> = chunk.items().collect();
                    Writer::new(&mut printed).source_description(chunk.ssrc, &items);
                }
                continue;
            }
            _ => continue,
        }
        let again = Compound::parse(&printed[start..], true).expect("what we print is RTCP");
        assert_eq!(again.iter().next(), Some(packet));
    }
    assert!(printed.is_empty() || Compound::parse(&printed, true).is_ok());
}

/// The payloads of telephone-event packets, four bytes a packet and its timestamp before it.
pub fn telephone_event(data: &[u8]) {
    let mut receiver = EventReceiver::new();
    let (mut began, mut ended) = (0u32, 0u32);
    for (n, chunk) in data.chunks_exact(8).enumerate() {
        let timestamp = u32::from_be_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]);
        let now = Instant::ZERO + Duration::from_millis(20 * n as u64);
        receiver.handle_packet(now, timestamp, &chunk[4..], |report| match report {
            crate::EventReport::Began { .. } => began += 1,
            crate::EventReport::Ended { .. } => ended += 1,
        });
    }
    assert!(ended <= began, "an event that ends has begun");
}

/// A script for a session: packets of RTP and RTCP, sent packets, time that passes, and leaving.
pub fn session(data: &[u8]) {
    let config = Config {
        ssrc: 1,
        cname: "fuzz".into(),
        clock_rate_hz: 8_000,
        bandwidth_bps: 64_000,
        reduced_size: false,
    };
    let mut now = Instant::ZERO;
    let mut session = Session::new(now, UnixTime::from_secs(0), config, Rng::from_number(1));
    let mut script = Cursor::new(data);
    while let (Ok(step), Ok(len)) = (script.u8(), script.u8()) {
        let Ok(bytes) = script.take(usize::from(len).min(script.rest().len())) else {
            break;
        };
        let from = SocketAddr::from((Ipv4Addr::LOCALHOST, u16::from(step >> 6)));
        match step & 0x07 {
            0 | 1 => {
                if let Ok(packet) = Packet::parse(bytes) {
                    session.handle_rtp(now, from, &packet);
                }
            }
            2 | 3 => {
                let _ = session.handle_rtcp(now, from, bytes);
            }
            4 => session.note_sent(now, u32::from(len), bytes.len()),
            5 => session.request_key_frame(now, u32::from(len)),
            6 if len == 0 => session.leave(now),
            _ => now += Duration::from_millis(u64::from(len) * 40),
        }
        session.handle_timeout(now);
        drain(&mut session, now);
        let _ = session.statistics();
    }
}

fn drain(session: &mut Session, now: Instant) {
    loop {
        match session.poll_output() {
            Output::Transmit(bytes) => {
                let compound = Compound::parse(&bytes, false).expect("what a session sends is a compound");
                let has_cname = compound.iter().any(|p| {
                    matches!(p, RtcpPacket::SourceDescription(chunks) if chunks.iter().any(|c| c.cname().is_some()))
                });
                assert!(has_cname, "every compound names its sender");
            }
            Output::Event(_) => {}
            Output::Timeout(at) => {
                assert!(
                    at.is_none_or(|at| at > now),
                    "a timeout that is due has been handled"
                );
                return;
            }
        }
    }
}
