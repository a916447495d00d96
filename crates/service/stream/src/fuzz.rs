//! Targets for the fuzzer: plain functions over bytes that panic when an invariant breaks.

use crate::file::{Index, Scanner, Wanted};
use crate::mpeg4_visual;
use crate::parameter_sets::{h264_sequence, h264_set, h265_sequence, h265_set};
use crate::{Description, Hearing, MountName, MountPattern, Reorder};
use bytes::Bytes;
use ringpost_base::{Instant, limits};
use ringpost_sdp::{Codec, SessionDescription};
use std::time::Duration;

/// A file of media, as its scanner asks for it.
pub fn file(data: &[u8]) {
    let mut scanner = Scanner::new(data.len() as u64);
    let octets = |range: std::ops::Range<u64>| &data[range.start as usize..range.end as usize];
    while let Some(Wanted(range)) = scanner.wanted() {
        if scanner.handle(octets(range)).is_err() {
            return;
        }
    }
    assert!(
        scanner.whole_until() <= data.len() as u64,
        "what is whole is in the file"
    );
    let Ok(index) = scanner.finish() else { return };
    check(&index);
    for fragment in &index.fragments {
        let samples = index.samples(fragment, octets(fragment.table.clone()));
        let samples = samples.expect("a table that was read can be read again");
        assert!(samples.iter().all(|sample| sample.track < index.tracks.len()));
    }
}

fn check(index: &Index) {
    assert!(!index.tracks.is_empty() && index.tracks.len() <= limits::MOUNT_TRACKS);
    assert!(index.tracks.iter().all(|track| track.clock_rate_hz > 0));
    assert!(index.whole.len() <= limits::MEDIA_FILE_SAMPLES);
    index.length_ns();
}

/// A parameter set of H.264 or H.265, or MPEG-4 video.
pub fn parameter_set(data: &[u8]) {
    let _ = (h264_sequence(data), h265_sequence(data));
    let _ = (h264_set(data), h265_set(data));
    let _ = mpeg4_visual::size(data);
    assert!(mpeg4_visual::is_same(data, data));
    let (known, unit) = data.split_at(data.len() / 2);
    let found = mpeg4_visual::pictures(known, unit, 90_000);
    let bytes: usize = found.iter().map(|(_, part)| part.len()).sum();
    assert!(found.is_empty() || bytes == unit.len());
}

/// The name of a mount, a pattern of some, and a publisher's session description.
pub fn names(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(name) = text.parse::<MountName>() {
        assert_eq!(name.as_str(), text);
        assert!(
            name.parts()
                .all(|part| !part.starts_with('.') && !part.is_empty())
        );
        let pattern: MountPattern = text.parse().expect("a name is a pattern");
        assert!(pattern.matches(&name));
    }
    if let Ok(pattern) = text.parse::<MountPattern>() {
        assert_eq!(pattern.to_string(), text);
    }
    if let Ok((description, _)) = Description::parse(data) {
        for (index, track) in description.tracks.iter().enumerate() {
            assert_eq!(description.track_at(track.place), Some(index));
        }
        let session = SessionDescription::read(data, &ringpost_sdp::Quirk::ALL).expect("it was read");
        let told = description.write(session.0.origin, None, None).to_string();
        if told.len() > limits::SDP_BYTES {
            return;
        }
        let (again, quirks) = Description::parse(told.as_bytes()).expect("what is written is read");
        assert_eq!(again.tracks.len(), description.tracks.len());
        assert!(quirks.is_empty(), "and what was mended is mended");
    }
}

/// Packets with numbers in any order, and time that passes.
pub fn reorder(data: &[u8]) {
    let mut reorder = Reorder::new();
    let mut now = Instant::ZERO;
    let (mut taken, mut given) = (0, 0);
    for step in data.chunks_exact(3) {
        now += Duration::from_millis(u64::from(step[0] % 32));
        let sequence = u16::from_be_bytes([step[1], step[2]]);
        let source = u32::from(step[0] >> 6);
        reorder.handle_packet(now, (source, sequence), Bytes::copy_from_slice(&step[1..]));
        taken += 1;
        while reorder.poll(now).is_some() {
            given += 1;
        }
        assert!(given + reorder.late_packets() <= taken);
        assert!(
            reorder.deadline().is_none_or(|deadline| deadline > now),
            "what is due has left"
        );
    }
}

/// Packets of a track that a telephone hears: the first octet says of which codec.
pub fn hearing(data: &[u8]) {
    let Some((first, data)) = data.split_first() else {
        return;
    };
    let name = ["PCMU", "PCMA", "L16", "G722", "opus", "MPEG4-GENERIC"][usize::from(first & 7) % 6];
    let fmtp = "mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config=1190";
    let codec = Codec {
        channels: first >> 3 & 3,
        fmtp: (name == "MPEG4-GENERIC").then(|| fmtp.into()),
        ..Codec::new(
            0,
            name,
            [8_000, 44_100, 4_000, 192_000][usize::from(first >> 5 & 3)],
        )
    };
    let Some(mut hearing) = Hearing::new(&codec) else {
        return;
    };
    for (n, step) in data.chunks(40).enumerate() {
        // Most octets are no packet: these are given the front of one.
        let packet = [&[0x80, 0, 0, n as u8, 0, 0, 0, 0, 0, 0, 0, 0], step].concat();
        hearing.handle_packet(&packet);
        let mut heard = 0;
        while let Some(part) = hearing.poll() {
            assert!(!part.samples.is_empty());
            heard += part.samples.len();
        }
        let most = match name {
            // A packet lasts 120 ms at most.
            "opus" => 960 + 80,
            // Two octets and four bits begin a frame, which lasts a quarter of a second at most.
            "MPEG4-GENERIC" => (step.len() + 1) * 2_048,
            _ => 2 * (step.len() + 80),
        };
        assert!(heard <= most, "no more than the rate says: {heard} of {most}");
    }
}
