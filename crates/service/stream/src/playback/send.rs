//! Packets made of samples.

use super::jpeg;
use super::media::{Pcm, is_plain};
use crate::file::{AacForm, FileTrack, Format};
use crate::parameter_sets::{SetName, h264_set, h265_set};
use bytes::Bytes;
use ringpost_codec::G722WideEncoder;
use ringpost_rtp::payload::mpeg4_configuration;
use ringpost_rtp::payload::write::{self, Payload};

/// How the packets of a track are made of samples.
#[derive(Debug)]
pub(super) enum Packing {
    /// As files' tracks are told.
    Own,
    /// Sound that files have decoded.
    G722(Box<G722WideEncoder>),
    /// As a publisher describes it.
    Aac(AacForm),
}

/// Turns one sample's octets into the payloads of its packets, each of at most `max_bytes` where its format allows.
///
/// `track` is the file's own, whose parameter sets go before a key frame, but for those that it brings itself.
pub(super) fn payloads(
    track: &FileTrack,
    pcm: Pcm,
    octets: &[u8],
    is_key: bool,
    max_bytes: usize,
) -> Vec<Payload> {
    match &track.format {
        Format::H264 { sps, pps } => {
            let mut nals = nal_units(octets);
            if is_key {
                let is_delimiter = nals.first().is_some_and(|nal| nal[0] & 0x1f == 9);
                put_sets(&mut nals, is_delimiter.into(), [&[], sps, pps], h264_set);
            }
            write::h264(&nals, max_bytes)
        }
        Format::H265 { vps, sps, pps } => {
            let mut nals = nal_units(octets);
            if is_key {
                let is_delimiter = nals.first().is_some_and(|nal| nal[0] >> 1 & 0x3f == 35);
                put_sets(&mut nals, is_delimiter.into(), [vps, sps, pps], h265_set);
            }
            write::h265(&nals, max_bytes)
        }
        Format::Mpeg4Visual { config } => {
            //= https://www.rfc-editor.org/rfc/rfc6416#section-5
            let is_alone = is_key && mpeg4_configuration(octets).is_none();
            let before = if is_alone { &config[..] } else { &[] };
            write::mpeg4_visual(&[before, octets].concat(), max_bytes)
        }
        Format::Aac { .. } => write::aac(&[octets], 0, max_bytes),
        Format::Opus { .. } => vec![write::opus(octets)],
        Format::MpegAudio { .. } => mpeg_audio(octets, max_bytes),
        Format::Jpeg { .. } => jpeg::payloads(octets, max_bytes),
        Format::Vp8 { .. } => frame(octets, max_bytes, |is_first, _| if is_first { 0x10 } else { 0 }),
        Format::Vp9 { .. } => frame(octets, max_bytes, |is_first, is_last| {
            let ends = if is_first { 0x08 } else { 0 } | if is_last { 0x04 } else { 0 };
            ends | if is_key { 0 } else { 0x40 }
        }),
        format if is_plain(format) => plain(format, pcm, octets, max_bytes),
        _ => Vec::new(),
    }
}

/// Puts the sets that a picture does not bring itself before it: those of sequences at `at`, those of pictures behind all that it
/// brings, since they may need them.
fn put_sets<'a>(
    nals: &mut Vec<&'a [u8]>,
    at: usize,
    [vps, sps, pps]: [&'a [Bytes]; 3],
    name: fn(&[u8]) -> Option<SetName>,
) {
    let own: Vec<_> = nals.iter().filter_map(|nal| name(nal)).collect();
    let missing = |sets: &'a [Bytes]| {
        let sets = sets.iter().map(|set| &set[..]);
        sets.filter(|set| name(set).is_some_and(|name| !own.contains(&name)))
    };
    let behind = nals.iter().rposition(|nal| name(nal).is_some());
    let behind = behind.map_or(at, |last| last + 1);
    nals.splice(behind..behind, missing(pps));
    nals.splice(at..at, missing(vps).chain(missing(sps)));
}

/// NAL units behind their lengths; what does not fit its length ends them.
fn nal_units(octets: &[u8]) -> Vec<&[u8]> {
    let mut rest = octets;
    let mut nals = Vec::new();
    while let Some((length, behind)) = rest.split_first_chunk::<4>() {
        let Some((nal, behind)) = behind.split_at_checked(u32::from_be_bytes(*length) as usize) else {
            break;
        };
        nals.extend((!nal.is_empty()).then_some(nal));
        rest = behind;
    }
    nals
}

/// Four octets say where in its frame a packet begins.
//= https://www.rfc-editor.org/rfc/rfc2250#section-3.5
fn mpeg_audio(octets: &[u8], max_bytes: usize) -> Vec<Payload> {
    let room = max_bytes.saturating_sub(4).max(1);
    let parts = octets.chunks(room).enumerate();
    parts
        .map(|(index, part)| {
            let offset = u16::try_from(index * room).unwrap_or(u16::MAX).to_be_bytes();
            payload(false, 0, [&[0, 0], &offset[..], part].concat())
        })
        .collect()
}

/// Parts of a frame, each behind one octet that says which it is.
//= https://www.rfc-editor.org/rfc/rfc7741#section-4.2
//= https://www.rfc-editor.org/rfc/rfc9628#section-4.2
fn frame(octets: &[u8], max_bytes: usize, descriptor: impl Fn(bool, bool) -> u8) -> Vec<Payload> {
    let parts: Vec<_> = octets.chunks(max_bytes.saturating_sub(1).max(1)).collect();
    let count = parts.len();
    let payload = |(index, part): (usize, &[u8])| {
        let is_last = index + 1 == count;
        payload(is_last, 0, [&[descriptor(index == 0, is_last)], part].concat())
    };
    parts.into_iter().enumerate().map(payload).collect()
}

/// Plain samples, as RTP has them: those of 16 bits with the high octet first (RFC 3551 §4.5.11).
fn plain(format: &Format, pcm: Pcm, octets: &[u8], max_bytes: usize) -> Vec<Payload> {
    let sent: Vec<u8> = match pcm {
        Pcm::AsItIs => octets.to_vec(),
        Pcm::LowFirst => octets
            .chunks_exact(2)
            .flat_map(|pair| [pair[1], pair[0]])
            .collect(),
        Pcm::Unsigned => octets.iter().flat_map(|octet| [octet ^ 0x80, 0]).collect(),
        Pcm::Wide(encoding) => octets
            .chunks_exact(encoding.bytes())
            .flat_map(|sample| encoding.sample(sample).to_be_bytes())
            .collect(),
    };
    let (channels, width) = match format {
        Format::L16 { channels } => (*channels, 2),
        Format::Pcmu { channels } | Format::Pcma { channels } => (*channels, 1),
        _ => (1, 1),
    };
    let frame_bytes = usize::from(channels).max(1) * width;
    let frames = (max_bytes / frame_bytes).max(1);
    let parts = sent.chunks(frames * frame_bytes).enumerate();
    parts
        .map(|(index, part)| payload(false, (index * frames) as u32, part.to_vec()))
        .collect()
}

/// Plain samples of 16,000 a second as G.722, whose clock counts two of them as one.
//= https://www.rfc-editor.org/rfc/rfc3551#section-4.5.2
pub(super) fn g722(
    encoder: &mut G722WideEncoder,
    format: &Format,
    pcm: Pcm,
    octets: &[u8],
    max_bytes: usize,
) -> Vec<Payload> {
    // Two samples of 16 bits make an octet.
    let mut payloads = plain(format, pcm, octets, max_bytes / 4 * 4);
    for payload in &mut payloads {
        let samples = payload.bytes.chunks_exact(2);
        let samples: Vec<i16> = samples.map(|two| i16::from_be_bytes([two[0], two[1]])).collect();
        payload.bytes.clear();
        encoder.encode_into(&samples, &mut payload.bytes);
        payload.timestamp_offset /= 2;
    }
    payloads
}

fn payload(marker: bool, timestamp_offset: u32, bytes: Vec<u8>) -> Payload {
    Payload {
        marker,
        timestamp_offset,
        bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::tests::MPEG4_CONFIG;
    use ringpost_rtp::payload::{self, Depacketizer};

    fn track(format: Format) -> FileTrack {
        FileTrack {
            format,
            clock_rate_hz: 90_000,
        }
    }

    /// The sample as who receives its packets puts it together.
    fn received(of: payload::Format, payloads: &[Payload]) -> Vec<Vec<u8>> {
        let mut depacketizer = Depacketizer::new(of);
        for (payload, sequence) in payloads.iter().zip(0..) {
            depacketizer.handle(sequence, 7, payload.marker, &payload.bytes);
        }
        depacketizer.end();
        let units = std::iter::from_fn(|| depacketizer.poll());
        units.flat_map(|unit| unit.pieces).collect()
    }

    #[test]
    fn parameter_sets_go_before_a_key_frame_that_has_none() {
        let format = Format::H264 {
            sps: vec![Bytes::from_static(b"\x67set")],
            pps: vec![Bytes::from_static(b"\x68set")],
        };
        let sample = b"\0\0\0\x02\x09\x10\0\0\0\x04\x65key";
        let made = payloads(&track(format.clone()), Pcm::AsItIs, sample, true, 1_200);
        let nals: [&[u8]; 4] = [b"\x09\x10", b"\x67set", b"\x68set", b"\x65key"];
        assert_eq!(received(payload::Format::H264, &made), nals);
        let sample = b"\0\0\0\x04\x67own\0\0\0\x04\x68own\0\0\0\x04\x65key\0\0\xff\xffcut off";
        let made = payloads(&track(format.clone()), Pcm::AsItIs, sample, true, 1_200);
        let nals: [&[u8]; 3] = [b"\x67own", b"\x68own", b"\x65key"];
        assert_eq!(received(payload::Format::H264, &made), nals);
        let made = payloads(&track(format), Pcm::AsItIs, b"\0\0\0\x04\x41not", false, 1_200);
        assert_eq!(received(payload::Format::H264, &made), [b"\x41not"]);
    }

    /// A picture in a file.
    fn sample(nals: &[&[u8]]) -> Vec<u8> {
        let with_length = |nal: &&[u8]| [&(nal.len() as u32).to_be_bytes()[..], nal].concat();
        nals.iter().flat_map(with_length).collect()
    }

    #[test]
    fn of_several_parameter_sets_those_go_before_a_key_frame_that_it_does_not_bring() {
        // Numbers 0 and 1.
        let sps: [&[u8]; 2] = [&[0x67, 66, 0, 30, 0x80, 1], &[0x67, 66, 0, 30, 0x40, 1]];
        let pps: [&[u8]; 2] = [&[0x68, 0xc0, 1], &[0x68, 0x48, 1]];
        let (delimiter, key): (&[u8], &[u8]) = (&[9, 0x10], b"\x65key");
        let format = Format::H264 {
            sps: sps.map(Bytes::from_static).to_vec(),
            pps: pps.map(Bytes::from_static).to_vec(),
        };
        for (brought, expected) in [
            (
                &[delimiter, key][..],
                &[delimiter, sps[0], sps[1], pps[0], pps[1], key][..],
            ),
            (&[sps[1], pps[1], key], &[sps[0], sps[1], pps[1], pps[0], key]),
            (
                &[delimiter, sps[0], pps[0], key],
                &[delimiter, sps[1], sps[0], pps[0], pps[1], key],
            ),
        ] {
            let made = payloads(&track(format.clone()), Pcm::AsItIs, &sample(brought), true, 1_200);
            assert_eq!(received(payload::Format::H264, &made), expected);
        }
        let vps: [&[u8]; 2] = [&[0x40, 1, 0x0c], &[0x40, 1, 0x1c]];
        let (sps, pps): (&[u8], &[u8]) = (&[0x42, 1, 1], &[0x44, 1, 0xc1]);
        let of = |sets: &[&'static [u8]]| sets.iter().map(|set| Bytes::from_static(set)).collect();
        let format = Format::H265 {
            vps: of(&vps),
            sps: of(&[sps]),
            pps: of(&[pps]),
        };
        let key: &[u8] = &[0x26, 1, 0x80, 7];
        let made = payloads(&track(format), Pcm::AsItIs, &sample(&[vps[0], key]), true, 1_200);
        let of = payload::Format::H265 { has_donl: false };
        assert_eq!(received(of, &made), [vps[1], sps, vps[0], pps, key]);
    }

    //= https://www.rfc-editor.org/rfc/rfc6416#section-5
    #[test]
    fn the_configuration_of_mpeg4_video_goes_before_a_key_frame_that_has_none() {
        let format = Format::Mpeg4Visual {
            config: Bytes::from_static(MPEG4_CONFIG),
        };
        let group: &[u8] = &[0, 0, 1, 0xb3, 0, 0x10, 7];
        let picture = [&[0, 0, 1, 0xb6, 0x10][..], &[7; 3_000]].concat();
        for (sample, is_key, expected) in [
            (
                [group, &picture].concat(),
                true,
                [MPEG4_CONFIG, group, &picture].concat(),
            ),
            (
                [MPEG4_CONFIG, &picture].concat(),
                true,
                [MPEG4_CONFIG, &picture].concat(),
            ),
            (picture.clone(), false, picture.clone()),
        ] {
            let made = payloads(&track(format.clone()), Pcm::AsItIs, &sample, is_key, 1_200);
            assert!(made.iter().all(|payload| payload.bytes.len() <= 1_200));
            assert_eq!(received(payload::Format::Mpeg4Visual, &made), [expected]);
        }
    }

    #[test]
    fn frames_of_every_kind_are_received_as_they_were() {
        let long: Vec<u8> = (0..5_000_u32).map(|n| n as u8).collect();
        let vp8 = track(Format::Vp8 { width: 2, height: 2 });
        let vp9 = track(Format::Vp9 { width: 2, height: 2 });
        for (track, of) in [(vp8, payload::Format::Vp8), (vp9, payload::Format::Vp9)] {
            for is_key in [true, false] {
                let made = payloads(&track, Pcm::AsItIs, &long, is_key, 1_200);
                assert!(made.iter().all(|payload| payload.bytes.len() <= 1_200));
                assert_eq!(received(of, &made), std::slice::from_ref(&long));
            }
        }
        // 128 kbit/s at 44.1 kHz: 417 octets.
        let frame = [&[0xff, 0xfb, 0x90, 0x00][..], &[7; 413]].concat();
        let made = payloads(
            &track(Format::MpegAudio { channels: 2 }),
            Pcm::AsItIs,
            &frame,
            true,
            200,
        );
        assert_eq!(made.len(), 3);
        assert_eq!(received(payload::Format::MpegAudio, &made), [frame]);
    }

    #[test]
    fn plain_samples_are_turned_and_cut_between_samples() {
        let l16 = track(Format::L16 { channels: 2 });
        let made = payloads(&l16, Pcm::LowFirst, &[1, 2, 3, 4, 5, 6, 7, 8], true, 7);
        let told: Vec<_> = made
            .iter()
            .map(|p| (p.timestamp_offset, p.bytes.clone()))
            .collect();
        assert_eq!(told, [(0, vec![2, 1, 4, 3]), (1, vec![6, 5, 8, 7])]);
        let made = payloads(&l16, Pcm::Unsigned, &[0x80, 0xff], true, 1_200);
        assert_eq!(made[0].bytes, [0, 0, 0x7f, 0]);
    }
}
