//! Payloads made of access units.
//!
//! Each function returns payloads in the order of their packets, none longer than `max_bytes`, which is what a packet's size
//! leaves behind the RTP header and must be at least 32.

use super::{AacHeaders, mpeg4_visual};

/// One packet's payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// The marker bit: set on the last packet of a unit.
    pub marker: bool,
    /// What to add to the unit's timestamp.
    pub timestamp_offset: u32,
    /// The payload.
    pub bytes: Vec<u8>,
}

/// Below it no payload format here works.
const LEAST_BYTES: usize = 32;

/// No datagram holds more than 16 bits can say.
fn bounded(max_bytes: usize) -> usize {
    max_bytes.clamp(LEAST_BYTES, usize::from(u16::MAX))
}

fn mark_last(mut payloads: Vec<Payload>) -> Vec<Payload> {
    if let Some(last) = payloads.last_mut() {
        last.marker = true;
    }
    payloads
}

fn unmarked(bytes: Vec<u8>) -> Payload {
    Payload {
        marker: false,
        timestamp_offset: 0,
        bytes,
    }
}

/// NAL units of one picture of H.264, without start codes: small ones together (STAP-A), large ones in fragments (FU-A).
/// It needs `packetization-mode=1`.
//= https://www.rfc-editor.org/rfc/rfc6184#section-6.3
pub fn h264(nals: &[&[u8]], max_bytes: usize) -> Vec<Payload> {
    let aggregate = |group: &[&[u8]]| {
        // The highest importance among them, and whether any is damaged.
        let importance = group.iter().map(|nal| nal[0] & 0x60).max().unwrap_or(0);
        let forbidden = group.iter().fold(0, |any, nal| any | nal[0] & 0x80);
        vec![forbidden | importance | 24]
    };
    let fragment = |nal: &[u8], flags: u8| vec![nal[0] & 0xe0 | 28, flags | nal[0] & 0x1f];
    nal_payloads(nals, bounded(max_bytes), 1, &aggregate, &fragment)
}

/// The same for H.265, without decoding order numbers.
//= https://www.rfc-editor.org/rfc/rfc7798#section-4.4
pub fn h265(nals: &[&[u8]], max_bytes: usize) -> Vec<Payload> {
    let aggregate = |group: &[&[u8]]| {
        let layer = |nal: &&[u8]| u16::from(nal[0] & 1) << 5 | u16::from(nal[1] >> 3);
        let layer = group.iter().map(layer).min().unwrap_or(0);
        let temporal = group.iter().map(|nal| nal[1] & 7).min().unwrap_or(1);
        let forbidden = group.iter().fold(0, |any, nal| any | nal[0] & 0x80);
        vec![
            forbidden | 48 << 1 | (layer >> 5) as u8,
            (layer << 3) as u8 & 0xf8 | temporal,
        ]
    };
    let fragment = |nal: &[u8], flags: u8| {
        let kind = nal[0] >> 1 & 0x3f;
        vec![nal[0] & 0x81 | 49 << 1, nal[1], flags | kind]
    };
    nal_payloads(nals, bounded(max_bytes), 2, &aggregate, &fragment)
}

fn nal_payloads(
    nals: &[&[u8]],
    max_bytes: usize,
    header_bytes: usize,
    aggregate: &dyn Fn(&[&[u8]]) -> Vec<u8>,
    fragment: &dyn Fn(&[u8], u8) -> Vec<u8>,
) -> Vec<Payload> {
    let nals: Vec<_> = nals
        .iter()
        .copied()
        .filter(|nal| nal.len() > header_bytes)
        .collect();
    let mut payloads = Vec::new();
    let mut at = 0;
    while at < nals.len() {
        let mut size = header_bytes;
        let fitting = nals[at..].iter().take_while(|nal| {
            size += 2 + nal.len();
            size <= max_bytes
        });
        let group = &nals[at..at + fitting.count()];
        match group {
            [_, _, ..] => {
                let mut bytes = aggregate(group);
                for nal in group {
                    bytes.extend_from_slice(&(nal.len() as u16).to_be_bytes());
                    bytes.extend_from_slice(nal);
                }
                payloads.push(unmarked(bytes));
                at += group.len();
            }
            _ => {
                fragments(nals[at], max_bytes, header_bytes, fragment, &mut payloads);
                at += 1;
            }
        }
    }
    mark_last(payloads)
}

fn fragments(
    nal: &[u8],
    max_bytes: usize,
    header_bytes: usize,
    fragment: &dyn Fn(&[u8], u8) -> Vec<u8>,
    payloads: &mut Vec<Payload>,
) {
    if nal.len() <= max_bytes {
        return payloads.push(unmarked(nal.to_vec()));
    }
    let parts: Vec<_> = nal[header_bytes..].chunks(max_bytes - header_bytes - 1).collect();
    for (index, part) in parts.iter().enumerate() {
        let start = if index == 0 { 0x80 } else { 0 };
        let end = if index + 1 == parts.len() { 0x40 } else { 0 };
        let mut bytes = fragment(nal, start | end);
        bytes.extend_from_slice(part);
        payloads.push(unmarked(bytes));
    }
}

/// Frames of AAC that follow each other, each of `duration_units`, in the mode `AAC-hbr`: as many in one packet as fit, a
/// larger one in fragments. Frames of 8,192 bytes and more do not fit the format and are left out.
//= https://www.rfc-editor.org/rfc/rfc3640#section-3.3.6
pub fn aac(frames: &[&[u8]], duration_units: u32, max_bytes: usize) -> Vec<Payload> {
    const SIZES: std::ops::Range<usize> = 1..1 << 13;
    let max_bytes = bounded(max_bytes);
    let mut payloads = Vec::new();
    let mut at = 0;
    while at < frames.len() {
        let mut size = 2;
        let fitting = frames[at..].iter().take_while(|frame| {
            size += 2 + frame.len();
            SIZES.contains(&frame.len()) && size <= max_bytes
        });
        let count = fitting.count();
        let offset = (at as u32).wrapping_mul(duration_units);
        let group = &frames[at..at + count.max(1)];
        at += group.len();
        if !SIZES.contains(&group[0].len()) {
            continue;
        }
        let mut head = ((16 * group.len()) as u16).to_be_bytes().to_vec();
        for frame in group {
            head.extend_from_slice(&((frame.len() as u16) << 3).to_be_bytes());
        }
        let data = group.concat();
        let parts: Vec<_> = data.chunks(max_bytes - head.len()).collect();
        for (index, part) in parts.iter().enumerate() {
            payloads.push(Payload {
                marker: index + 1 == parts.len(),
                timestamp_offset: offset,
                bytes: [&head[..], part].concat(),
            });
        }
    }
    payloads
}

/// A frame of AAC behind the headers that a description tells of, alone in its packet; in fragments where it is larger, each of which
/// says its whole size. Nothing where the headers cannot say its size, or say another.
//= https://www.rfc-editor.org/rfc/rfc3640#section-3.2.1.1
pub fn aac_as(frame: &[u8], headers: &AacHeaders, max_bytes: usize) -> Vec<Payload> {
    let can_be_told = match (headers.size_bits, headers.constant_size_bytes) {
        (0, 0) => true,
        (0, size) => frame.len() == size as usize,
        (bits, _) => frame.len() as u64 >> bits.min(32) == 0,
    };
    if !can_be_told || frame.is_empty() {
        return Vec::new();
    }
    let head_bytes = headers.before(frame.len(), true).len();
    let room = bounded(max_bytes).saturating_sub(head_bytes).max(1);
    let parts = frame.chunks(room).enumerate();
    let part =
        |(index, part): (usize, &[u8])| unmarked([&headers.before(frame.len(), index == 0), part].concat());
    mark_last(parts.map(part).collect())
}

/// An audioMuxElement of LATM; in fragments where it is larger than a packet.
//= https://www.rfc-editor.org/rfc/rfc6416#section-6.3
pub fn latm(element: &[u8], max_bytes: usize) -> Vec<Payload> {
    let parts = element.chunks(bounded(max_bytes));
    mark_last(parts.map(|part| unmarked(part.to_vec())).collect())
}

/// A picture of MPEG-4 video, with start codes and with the headers before it. Its video packets are kept whole where they fit,
/// and a payload with the end of one that does not has nothing behind it.
//= https://www.rfc-editor.org/rfc/rfc6416#section-5.2
pub fn mpeg4_visual(octets: &[u8], max_bytes: usize) -> Vec<Payload> {
    let max_bytes = bounded(max_bytes);
    // The longest header of a picture has room behind what stands before it.
    const PICTURE_HEADER_BYTES: usize = 24;
    let at = mpeg4_visual::picture(octets).filter(|at| at + PICTURE_HEADER_BYTES > max_bytes);
    let (before, picture) = octets.split_at(at.unwrap_or(0));
    let mut payloads: Vec<_> = before
        .chunks(max_bytes)
        .map(|part| unmarked(part.to_vec()))
        .collect();
    let mut is_open = false;
    for packet in mpeg4_visual::packets(picture) {
        match payloads.last_mut() {
            Some(last) if is_open && last.bytes.len() + packet.len() <= max_bytes => {
                last.bytes.extend_from_slice(packet);
            }
            _ => {
                payloads.extend(packet.chunks(max_bytes).map(|part| unmarked(part.to_vec())));
                is_open = packet.len() <= max_bytes;
            }
        }
    }
    mark_last(payloads)
}

/// Samples of a byte each, as G.711 has them, in packets of `frame_bytes`; the last may be shorter. The marker bit, which
/// begins a talkspurt here, is the caller's.
//= https://www.rfc-editor.org/rfc/rfc3551#section-4.1
pub fn g711(samples: &[u8], frame_bytes: usize) -> Vec<Payload> {
    let frame_bytes = frame_bytes.max(1);
    let frames = samples.chunks(frame_bytes).enumerate();
    let payload = |(index, frame): (usize, &[u8])| Payload {
        marker: false,
        timestamp_offset: (index * frame_bytes) as u32,
        bytes: frame.to_vec(),
    };
    frames.map(payload).collect()
}

/// A packet of Opus, which is a payload as it is.
//= https://www.rfc-editor.org/rfc/rfc7587#section-4.2
pub fn opus(packet: &[u8]) -> Payload {
    unmarked(packet.to_vec())
}
