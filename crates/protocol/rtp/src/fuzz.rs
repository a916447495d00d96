//! Targets for the fuzzer: plain functions over bytes that panic when an invariant breaks.

use crate::payload::{AacHeaders, AccessUnit, Depacketizer, Format, opus_duration_units, write};
use crate::rtcp::{Compound, RtcpPacket, Writer};
use crate::{Config, EventReceiver, Output, Packet, Session, rewrite};
use ringpost_base::{Cursor, Instant, Rng, UnixTime, limits};
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

/// Packets with H.264 in them, and NAL units that are written and read back.
pub fn payload_h264(data: &[u8]) {
    payloads(Format::H264, data);
    let nals = h26x_nals(data, 1, |nal| nal[0] & 0x1f);
    let read = written_and_read(Format::H264, &write::h264(&nals, 32 + data.len() % 100));
    assert_eq!(read, nals);
}

/// Packets with H.265 in them, and NAL units that are written and read back.
pub fn payload_h265(data: &[u8]) {
    payloads(Format::H265 { has_donl: false }, data);
    payloads(Format::H265 { has_donl: true }, data);
    let nals = h26x_nals(data, 2, |nal| nal[0] >> 1 & 0x3f);
    let format = Format::H265 { has_donl: false };
    let read = written_and_read(format, &write::h265(&nals, 32 + data.len() % 100));
    assert_eq!(read, nals);
}

/// Packets with AAC, LATM, MPEG audio or unframed audio in them, as the first byte says.
pub fn payload_audio(data: &[u8]) {
    let Some((&choice, rest)) = data.split_first() else {
        return;
    };
    let odd = AacHeaders {
        size_bits: choice & 15,
        index_bits: choice >> 4,
        index_delta_bits: choice >> 5,
        cts_delta_bits: choice & 7,
        dts_delta_bits: choice >> 6,
        has_random_access: choice & 1 != 0,
        auxiliary_size_bits: choice & 2,
        ..AacHeaders::HIGH_BIT_RATE
    };
    payloads(Format::Aac(AacHeaders::HIGH_BIT_RATE), rest);
    payloads(Format::Aac(odd), rest);
    payloads(
        Format::Latm {
            in_band: choice & 1 != 0,
        },
        rest,
    );
    payloads(Format::MpegAudio, rest);
    payloads(Format::Whole, rest);
    let _ = opus_duration_units(rest);
    let frames: Vec<_> = rest.chunks(usize::from(choice) + 1).collect();
    let aac = Format::Aac(AacHeaders::HIGH_BIT_RATE);
    let read = written_and_read(aac, &write::aac(&frames, 1_024, 32 + usize::from(choice)));
    assert_eq!(read, frames);
}

/// Packets with VP8, VP9, MPEG-4 video or JPEG in them, and a picture of MPEG-4 video that is written and read back.
pub fn payload_video(data: &[u8]) {
    for format in [Format::Vp8, Format::Vp9, Format::Mpeg4Visual, Format::Jpeg] {
        payloads(format, data);
    }
    let picture = [&[0, 0, 1, 0xb6][..], data].concat();
    let written = write::mpeg4_visual(&picture, 32 + data.len() % 100);
    assert!(written.iter().all(|payload| payload.bytes.len() < 132));
    if !data.is_empty() {
        assert_eq!(written_and_read(Format::Mpeg4Visual, &written), [picture]);
    }
}

/// The headers of an image with tables of two bytes a value, and its end, which are made of eight bytes of a packet.
const JPEG_HEAD_BYTES: usize = 1_000;

/// A script of packets: steps of sequence number and timestamp, marker, and a payload each.
fn payloads(format: Format, data: &[u8]) {
    let mut depacketizer = Depacketizer::new(format);
    let (mut sequence, mut timestamp) = (65_000u16, 0u32);
    let mut script = Cursor::new(data);
    let (mut given, mut packets) = (0, 0);
    let mut bytes = 0;
    let mut count = |unit: AccessUnit| {
        assert!(!unit.pieces.is_empty());
        assert!(unit.pieces.len() <= limits::ACCESS_UNIT_PIECES);
        given += unit.pieces.iter().map(Vec::len).sum::<usize>();
        if format == Format::Jpeg {
            let [image] = &unit.pieces[..] else {
                panic!("one image: {unit:?}")
            };
            assert!(image.starts_with(&[0xff, 0xd8]) && image.ends_with(&[0xff, 0xd9]));
            given -= image.len().min(JPEG_HEAD_BYTES);
        }
    };
    while let (Ok(step), Ok(len)) = (script.u8(), script.u8()) {
        let Ok(payload) = script.take(usize::from(len).min(script.rest().len())) else {
            break;
        };
        sequence = sequence.wrapping_add(u16::from(step & 7 != 7) + u16::from(step & 7 == 6));
        timestamp = timestamp.wrapping_add(u32::from(step >> 3 & 3 == 3) * 90);
        depacketizer.handle(sequence, timestamp, step & 0x80 != 0, payload);
        packets += 1;
        bytes += payload.len();
        while let Some(unit) = depacketizer.poll() {
            count(unit);
        }
    }
    depacketizer.end();
    while let Some(unit) = depacketizer.poll() {
        count(unit);
    }
    // A fragment brings back a header of two bytes at most.
    assert!(given <= bytes + 2 * packets, "nothing is made up");
}

/// Pieces of `data` that can be NAL units of a picture: of types that stand for themselves, and without start codes.
fn h26x_nals(data: &[u8], header_bytes: usize, kind: fn(&[u8]) -> u8) -> Vec<&[u8]> {
    let is_plain = |nal: &&[u8]| {
        nal.len() > header_bytes
            && (1..=5).contains(&kind(nal))
            && nal[0] & 0x80 == 0
            && !nal
                .windows(3)
                .any(|window| window[..2] == [0, 0] && window[2] <= 1)
            && nal.last() != Some(&0)
    };
    data.chunks(1 + data.len() / 3).filter(is_plain).collect()
}

fn written_and_read(format: Format, payloads: &[write::Payload]) -> Vec<Vec<u8>> {
    let mut depacketizer = Depacketizer::new(format);
    let mut read = Vec::new();
    for (sequence, payload) in payloads.iter().enumerate() {
        depacketizer.handle(
            sequence as u16,
            payload.timestamp_offset,
            payload.marker,
            &payload.bytes,
        );
        read.extend(std::iter::from_fn(|| depacketizer.poll()));
    }
    depacketizer.end();
    assert_eq!(depacketizer.lost(), 0);
    read.extend(std::iter::from_fn(|| depacketizer.poll()));
    read.into_iter().flat_map(|unit| unit.pieces).collect()
}
