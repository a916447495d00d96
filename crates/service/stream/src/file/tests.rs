use super::*;
use ringpost_base::UnixTime;

/// As ffmpeg writes H.264 with B-frames and AAC, in one piece and in fragments.
const WHOLE: &[u8] = include_bytes!("fixtures/whole.mp4");
const FRAGMENTED: &[u8] = include_bytes!("fixtures/fragmented.mp4");

const SPS: &[u8] = &[
    0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x44, 0x00, 0x00, 0x03, 0x00,
    0x04, 0x00, 0x00, 0x03, 0x00, 0xc8, 0x3c, 0x60, 0xc6, 0x58,
];

fn octets_at(file: &[u8], range: std::ops::Range<u64>) -> &[u8] {
    &file[range.start as usize..range.end as usize]
}

fn scan(file: &[u8]) -> Result<(Index, u64), FileError> {
    let mut scanner = Scanner::new(file.len() as u64);
    while let Some(Wanted(range)) = scanner.wanted() {
        scanner.handle(octets_at(file, range))?;
    }
    let whole_until = scanner.whole_until();
    Ok((scanner.finish()?, whole_until))
}

fn samples(file: &[u8], index: &Index) -> Vec<Stored> {
    let read = |fragment: &Fragment| index.samples(fragment, octets_at(file, fragment.table.clone()));
    let mut all = index.whole.clone();
    all.extend(
        index
            .fragments
            .iter()
            .flat_map(|fragment| read(fragment).expect("samples")),
    );
    all
}

fn camera() -> [FileTrack; 2] {
    let h264 = Format::H264 {
        sps: vec![Bytes::from_static(SPS)],
        pps: vec![Bytes::from_static(&[0x68, 0xeb, 0xe3, 0xcb])],
    };
    let aac = Format::Aac {
        config: Bytes::from_static(&[0x12, 0x10]),
        channels: 2,
    };
    [(h264, 90_000), (aac, 44_100)].map(|(format, clock_rate_hz)| FileTrack {
        format,
        clock_rate_hz,
    })
}

fn sample(time: u64, is_key: bool, parts: &[&[u8]]) -> Sample {
    let parts = parts.iter().map(|part| Bytes::copy_from_slice(part)).collect();
    Sample { time, is_key, parts }
}

/// Two fragments of pictures with B-frames and of sound, with the octets of the file after each.
fn recording() -> (Vec<u8>, Vec<usize>) {
    let tracks = camera();
    let began = UnixTime::from_secs(1_700_000_000);
    let (mut writer, mut file) = FileWriter::new(&tracks, began).expect("a header");
    let mut ends = vec![file.len()];
    for second in 0..2 {
        let at = second * 90_000;
        let pictures = vec![
            sample(at, true, &[b"\x67set", b"\x65key"]),
            sample(at + 9_000, false, &[b"\x41three"]),
            sample(at + 3_000, false, &[b"\x01one"]),
            sample(at + 6_000, false, &[b"\x01two"]),
        ];
        let sound = (0..3)
            .map(|n| sample(second * 44_100 + n * 1_024, true, &[b"sound"]))
            .collect();
        let runs = [(0, pictures, Some(at + 90_000)), (1, sound, None)];
        let runs = runs.map(|(track, samples, end)| Run { track, samples, end });
        let wallclock = UnixTime::from_nanos(began.as_nanos() + second * 1_000_000_000);
        file.extend(writer.fragment(wallclock, &runs));
        ends.push(file.len());
    }
    (file, ends)
}

#[test]
fn what_was_written_is_read_back() {
    let (file, _) = recording();
    let (index, whole_until) = scan(&file).expect("an index");
    assert_eq!(whole_until, file.len() as u64);
    assert_eq!(index.tracks, camera());
    let seconds: Vec<_> = index
        .fragments
        .iter()
        .map(|fragment| {
            let wallclock = fragment.wallclock.expect("a time").as_millis();
            (wallclock, fragment.begin_ns / 1_000_000, fragment.is_key)
        })
        .collect();
    assert_eq!(
        seconds,
        [(1_700_000_000_000, 0, true), (1_700_000_001_000, 1_000, true)]
    );
    let all = samples(&file, &index);
    let told: Vec<_> = all[7..]
        .iter()
        .map(|s| (s.track, s.decoded, s.time, s.length, s.is_key))
        .collect();
    assert_eq!(
        told,
        [
            (0, 87_000, 90_000, 3_000, true),
            (0, 90_000, 99_000, 3_000, false),
            (0, 93_000, 93_000, 3_000, false),
            (0, 96_000, 96_000, 81_000, false),
            (1, 44_100, 44_100, 1_024, true),
            (1, 45_124, 45_124, 1_024, true),
            (1, 46_148, 46_148, 1_024, true),
        ]
    );
    let octets = |s: &Stored| octets_at(&file, s.offset..s.offset + u64::from(s.size_bytes));
    assert_eq!(octets(&all[7]), b"\0\0\0\x04\x67set\0\0\0\x04\x65key");
    assert_eq!(octets(&all[13]), b"sound");
}

// A recording that a crash cut off plays up to its last whole fragment.
#[test]
fn a_recording_that_was_cut_off_anywhere_keeps_its_whole_fragments() {
    let (file, ends) = recording();
    for length in ends[0]..file.len() {
        let (index, whole_until) = scan(&file[..length]).expect("an index");
        let whole = ends.iter().filter(|end| **end <= length).count();
        assert_eq!(index.fragments.len(), whole - 1, "cut off at {length}");
        assert_eq!(whole_until, ends[whole - 1] as u64);
    }
    for length in 0..ends[0] {
        assert!(scan(&file[..length]).is_err(), "cut off at {length}");
    }
}

#[test]
fn a_fragment_that_begins_before_the_last_one_ended_goes_on_after_it() {
    let tracks = camera();
    let (mut writer, mut file) = FileWriter::new(&tracks, UnixTime::from_secs(0)).expect("a header");
    for times in [[0, 3_000, 12_000], [6_000, 9_000, 15_000]] {
        let samples = times.map(|time| sample(time, time == 0, &[b"\x41"])).to_vec();
        let runs = [Run {
            track: 0,
            samples,
            end: None,
        }];
        file.extend(writer.fragment(UnixTime::from_secs(0), &runs));
    }
    let (index, _) = scan(&file).expect("an index");
    let all = samples(&file, &index);
    assert!(all.windows(2).all(|two| two[0].decoded < two[1].decoded));
    let shown: Vec<i64> = all.iter().map(|s| s.time).collect();
    assert_eq!(shown, [0, 3_000, 12_000, 6_000, 9_000, 15_000]);
}

#[test]
fn fragments_of_one_sample_keep_their_times() {
    let tracks = camera();
    let (mut writer, mut file) = FileWriter::new(&tracks, UnixTime::from_secs(0)).expect("a header");
    let times: Vec<u64> = (0..40).map(|n| n * 44_100).collect();
    for time in &times {
        let run = Run {
            track: 1,
            samples: vec![sample(*time, true, &[b"sound"])],
            end: None,
        };
        file.extend(writer.fragment(UnixTime::from_secs(0), &[run]));
    }
    let (index, _) = scan(&file).expect("an index");
    let told: Vec<u64> = samples(&file, &index).iter().map(|s| s.decoded as u64).collect();
    assert_eq!(told, times);
    assert!(index.length_ns() < 40_000_000_000);
}

#[test]
fn a_time_that_jumps_back_by_hours_is_written_all_the_same() {
    let tracks = camera();
    let (mut writer, _) = FileWriter::new(&tracks, UnixTime::from_secs(0)).expect("a header");
    for time in [1 << 40, 0, 1 << 20] {
        let samples = vec![
            sample(time, true, &[b"\x65"]),
            sample(time + 1, false, &[b"\x41"]),
        ];
        let run = Run {
            track: 0,
            samples,
            end: None,
        };
        assert!(!writer.fragment(UnixTime::from_secs(0), &[run]).is_empty());
    }
}

/// A track's samples as ffprobe tells them: shown, decoded, length, octets, place, key.
fn told(file: &[u8], track: usize) -> Vec<(i64, i64, u32, u32, u64, bool)> {
    let (index, _) = scan(file).expect("an index");
    samples(file, &index)
        .iter()
        .filter(|s| s.track == track)
        .map(|s| (s.time, s.decoded, s.length, s.size_bytes, s.offset, s.is_key))
        .collect()
}

#[test]
fn files_of_ffmpeg_are_read_as_ffprobe_reads_them() {
    let (index, _) = scan(WHOLE).expect("an index");
    assert_eq!(index.tracks[0].format.size(), Ok(Some((64, 64))));
    assert!(matches!(&index.tracks[1].format, Format::Aac { channels: 1, .. }));
    assert_eq!(
        told(WHOLE, 0),
        [
            (0, -1024, 512, 1423, 270, true),
            (1536, -512, 512, 28, 1693, false),
            (512, 0, 512, 12, 1721, false),
            (1024, 512, 512, 12, 1958, false),
            (3072, 1024, 512, 47, 1970, false),
            (2048, 1536, 512, 14, 2017, false),
            (2560, 2048, 512, 12, 2241, false),
            (3584, 2560, 512, 21, 2253, false),
            (4096, 3072, 512, 655, 2274, true),
            (4608, 3584, 512, 17, 3091, false),
        ]
    );
    assert_eq!(
        told(WHOLE, 1),
        [
            (-1024, -1024, 1_024, 222, 48, true),
            (0, 0, 1_024, 225, 1733, true),
            (1024, 1024, 1_024, 210, 2031, true),
            (2048, 2048, 1_024, 162, 2929, true),
            (3072, 3072, 128, 5, 3108, true),
        ]
    );
    // The first picture and the last sound last as long as the file says; ffprobe tells what their rates would give.
    assert_eq!(
        told(FRAGMENTED, 0),
        [
            (1024, 0, 1_127, 1423, 1536, true),
            (3175, 1127, 512, 28, 2959, false),
            (2151, 1639, 512, 12, 2987, false),
            (2663, 2151, 512, 12, 2999, false),
            (4711, 2663, 512, 47, 3011, false),
            (3687, 3175, 512, 14, 3058, false),
            (4199, 3687, 512, 12, 3072, false),
            (5223, 4199, 512, 21, 3084, false),
            (5735, 4711, 512, 655, 3982, true),
            (6247, 5223, 512, 17, 4637, false),
        ]
    );
    assert_eq!(
        told(FRAGMENTED, 1),
        [
            (0, 0, 1_024, 222, 3105, true),
            (1024, 1024, 1_024, 225, 3327, true),
            (2048, 2048, 1_024, 210, 3552, true),
            (3072, 3072, 1_024, 162, 4654, true),
            (4096, 4096, 128, 5, 4816, true),
        ]
    );
}

/// As ffmpeg writes MPEG-4 video, in one piece.
const MPEG4: &[u8] = include_bytes!("fixtures/mpeg4.mp4");
/// What it writes before it, of 64 by 48 pixels.
pub(crate) const MPEG4_CONFIG: &[u8] = &[
    0, 0, 1, 0xb0, 1, 0, 0, 1, 0xb5, 0x89, 0x13, 0, 0, 1, 0, 0, 0, 1, 0x20, 0, 0xc4, 0x8d, 0x88, 0, 0x2d,
    0x02, 0x04, 0x06, 0x14, 0x43,
];

#[test]
fn mpeg4_video_of_ffmpeg_is_read_as_ffprobe_reads_it() {
    let (index, _) = scan(MPEG4).expect("an index");
    let config = Bytes::from_static(MPEG4_CONFIG);
    assert_eq!(index.tracks[0].format, Format::Mpeg4Visual { config });
    assert_eq!(index.tracks[0].format.size(), Ok(Some((64, 48))));
    assert_eq!(
        told(MPEG4, 0),
        [
            (0, 0, 2_048, 456, 867, true),
            (2_048, 2_048, 2_048, 42, 1_323, false),
            (4_096, 4_096, 2_048, 57, 1_365, false),
            (6_144, 6_144, 2_048, 456, 1_422, true),
            (8_192, 8_192, 2_048, 45, 1_878, false),
        ]
    );
}

#[test]
fn what_else_is_called_mpeg4_video_is_told_by_its_type() {
    let at = MPEG4
        .windows(4)
        .position(|octets| octets == b"esds")
        .expect("a box");
    // Behind the tag and length of the decoder's configuration.
    let found = MPEG4[at..]
        .iter()
        .position(|octet| *octet == 0x20)
        .expect("a type");
    let of_type = |object_type: u8| {
        let mut file = MPEG4.to_vec();
        file[at + found] = object_type;
        scan(&file)
    };
    let (index, _) = of_type(0x6c).expect("an index");
    let (width, height) = (64, 48);
    assert_eq!(index.tracks[0].format, Format::Jpeg { width, height });
    let error = of_type(0x61).expect_err("a refusal").to_string();
    assert!(error.ends_with("found mp4v of object type 0x61"), "{error}");
    // Without the box.
    let mut file = MPEG4.to_vec();
    file[at] = b'x';
    let error = scan(&file).expect_err("a refusal").to_string();
    assert!(
        error.ends_with("the sample entry has no elementary stream descriptor"),
        "{error}"
    );
}

#[test]
fn tracks_of_mpeg4_video_and_of_jpeg_stay_apart() {
    let (width, height) = (640, 480);
    let config = Bytes::from_static(MPEG4_CONFIG);
    // It says other things of itself.
    let other = Bytes::from([MPEG4_CONFIG, &[0, 0, 1, 0xb2], b"an encoder"].concat());
    let formats = [
        Format::Mpeg4Visual { config },
        Format::Jpeg { width, height },
        Format::Mpeg4Visual { config: other },
        Format::L16 { channels: 1 },
    ];
    let clock_rate_hz = 90_000;
    let tracks = formats.map(|format| FileTrack {
        format,
        clock_rate_hz,
    });
    let (_, header) = FileWriter::new(&tracks, UnixTime::from_secs(0)).expect("a header");
    assert_eq!(scan(&header).expect("an index").0.tracks, tracks);
}

#[test]
fn every_format_is_read_back() {
    let channels = 2;
    let (width, height) = (640, 480);
    // Two of the pictures' sets, numbers 0 and 1.
    let pps = [[0x44, 0x01, 0xc1], [0x44, 0x01, 0x41]].map(Bytes::from_owner);
    let (vps, pps) = (vec![Bytes::from_static(&[0x40, 0x01, 0x0c])], pps.to_vec());
    let sps = vec![Bytes::from_static(&[
        0x42, 0x01, 0x01, 0x02, 0x20, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00, 0x00, 0x03, 0x00,
        0x78, 0xa0, 0x03, 0xc0, 0x80, 0x10, 0xe4, 0xd9, 0x65, 0x66, 0x92, 0x4c, 0xaf, 0x01, 0x68, 0x08, 0x00,
        0x00, 0x03, 0x00, 0x08, 0x00, 0x00, 0x03, 0x00, 0xc8, 0x40,
    ])];
    let of_h264 = |sets: &[&'static [u8]]| sets.iter().map(|set| Bytes::from_static(set)).collect();
    let two = Format::H264 {
        // The second one has number 1, another level, and less that it promises.
        sps: of_h264(&[SPS, &[0x67, 0x42, 0xc0, 0x33, 0x40, 0x01]]),
        pps: of_h264(&[&[0x68, 0xeb, 0xe3], &[0x68, 0x4b, 0xe3]]),
    };
    for (format, clock_rate_hz) in [
        (two, 90_000),
        (Format::H265 { vps, sps, pps }, 90_000),
        (Format::Opus { channels }, 48_000),
        (Format::Pcmu { channels }, 8_000),
        (Format::Pcma { channels }, 16_000),
        (Format::L16 { channels }, 44_100),
        (Format::MpegAudio { channels }, 90_000),
        (Format::Vp8 { width, height }, 90_000),
        (Format::Vp9 { width, height }, 90_000),
        (Format::Jpeg { width, height }, 90_000),
    ] {
        let track = FileTrack {
            format,
            clock_rate_hz,
        };
        let tracks = std::slice::from_ref(&track);
        let (_, header) = FileWriter::new(tracks, UnixTime::from_secs(0)).expect("a header");
        assert_eq!(scan(&header).expect("an index").0.tracks, tracks);
    }
}

#[test]
fn the_header_of_several_sequences_says_what_holds_for_all_of_them() {
    let [mut track, _] = camera();
    let Format::H264 { sps, .. } = &mut track.format else {
        panic!()
    };
    sps.push(Bytes::from_static(&[0x67, 0x64, 0x33, 0x33, 0x40, 0x01]));
    sps[0] = [&SPS[..2], &[0xf0], &SPS[3..]].concat().into();
    let tracks = std::slice::from_ref(&track);
    let (_, header) = FileWriter::new(tracks, UnixTime::from_secs(0)).expect("a header");
    let at = header
        .windows(4)
        .position(|octets| octets == b"avcC")
        .expect("a box");
    // Version, profile, flags that both have, the higher level, lengths of four octets, two sequences.
    assert_eq!(header[at + 4..at + 10], [1, 0x64, 0x30, 0x33, 0xff, 0xe2]);
}

#[test]
fn tracks_of_g711_and_of_plain_samples_stay_apart() {
    let formats = [
        Format::L16 { channels: 1 },
        Format::Pcma { channels: 1 },
        Format::Pcmu { channels: 1 },
        Format::L16 { channels: 2 },
    ];
    let clock_rate_hz = 8_000;
    let tracks = formats.map(|format| FileTrack {
        format,
        clock_rate_hz,
    });
    let (_, header) = FileWriter::new(&tracks, UnixTime::from_secs(0)).expect("a header");
    assert_eq!(scan(&header).expect("an index").0.tracks, tracks);
}

#[test]
fn what_is_no_file_of_media_is_refused_by_name() {
    let large = [b"\x20\0\0\0moov".as_slice(), &[0; 64]].concat();
    let mut scanner = Scanner::new(0x2000_0000);
    let error = scanner.handle(&large[..16]).expect_err("a refusal").to_string();
    let expected = "expected at most 67108864 octets in the moov box at octet 0, found 536870912";
    assert_eq!(error, expected);
    for (file, expected) in [
        (&b""[..], "the file has no moov box before its end"),
        (
            b"RIFF\x24\0\0\0WAVEfmt ",
            "expected a box of MP4 at octet 0, found octets that are no box's name",
        ),
        (
            b"\0\0\0\x04moov",
            "expected a box of MP4 at octet 0, found a length that cannot be",
        ),
        (
            b"\0\0\0\x10ftypisom\0\0\0\0",
            "the file has no moov box before its end",
        ),
    ] {
        assert_eq!(scan(file).expect_err("a refusal").to_string(), expected);
    }
}

/// A box.
fn boxed(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32 + 8).to_be_bytes(), kind.as_slice(), body].concat()
}

#[test]
fn a_fragment_says_no_more_samples_than_one_may_have() {
    let (_, header) = FileWriter::new(&camera(), UnixTime::from_secs(0)).expect("a header");
    // Runs of samples without any field of their own: a count, and nothing else.
    let run = boxed(b"trun", &[&[0; 4][..], &60_000_u32.to_be_bytes()].concat());
    let head = boxed(b"tfhd", &[&[0, 2, 0, 0][..], &1_u32.to_be_bytes()].concat());
    let traf = boxed(b"traf", &[head, run.repeat(5)].concat());
    let moof = boxed(b"moof", &[boxed(b"mfhd", &[0; 8]), traf].concat());
    let file = [header, moof, boxed(b"mdat", b"")].concat();
    let error = scan(&file).expect_err("a refusal").to_string();
    assert!(
        error.ends_with("found more samples than a fragment may have"),
        "{error}"
    );
}

#[test]
fn samples_that_the_file_has_no_room_for_are_refused() {
    let at = |name: &[u8; 4]| WHOLE.windows(4).position(|octets| octets == name).expect("a box");
    let mut file = WHOLE.to_vec();
    // stsz with one size for all and a count that is millions.
    let table = at(b"stsz") + 8;
    file[table..table + 8].copy_from_slice(&[0, 0, 0, 9, 0, 0x3d, 0, 0]);
    let error = scan(&file).expect_err("a refusal").to_string();
    assert!(error.contains("box of MP4"), "{error}");
}

#[test]
fn nal_units_behind_short_lengths_are_refused() {
    let at = WHOLE
        .windows(4)
        .position(|octets| octets == b"avcC")
        .expect("a box")
        + 8;
    let mut file = WHOLE.to_vec();
    assert_eq!(file[at], 0xff);
    file[at] = 0xfd;
    let (index, _) = scan(&file).expect("the sound is left");
    assert_eq!(index.tracks.len(), 1);
}

#[test]
fn damaged_files_are_read_or_refused() {
    let (recorded, _) = recording();
    let mut rng = ringpost_base::Rng::from_number(7);
    for file in [WHOLE, FRAGMENTED, MPEG4, &recorded] {
        for _ in 0..2_000 {
            let mut damaged = file.to_vec();
            for _ in 0..=rng.below(4) {
                let at = rng.below(damaged.len() as u64) as usize;
                damaged[at] = rng.u32() as u8;
            }
            if let Ok((index, _)) = scan(&damaged) {
                for fragment in &index.fragments {
                    let _ = index.samples(fragment, octets_at(&damaged, fragment.table.clone()));
                }
                index.length_ns();
            }
        }
    }
}

#[test]
fn sample_groups_without_an_end_are_passed_over() {
    let (good, _) = scan(WHOLE).expect("a file");
    let mut file = WHOLE.to_vec();
    let at = file
        .windows(4)
        .position(|window| window == b"sgpd")
        .expect("sample groups");
    // Version 0 tells no lengths; a group of no known kind has none.
    file[at + 4] = 0;
    file[at + 8..at + 12].copy_from_slice(b"none");
    file[at + 12..at + 16].copy_from_slice(&u32::MAX.to_be_bytes());
    let (index, _) = scan(&file).expect("a file");
    assert_eq!(index.whole, good.whole);
}
