//! What was recorded, played to sessions of what a publisher describes in words of its own.

use super::*;
use crate::recording::tests::describe;
use ringpost_codec::{G722Wide, Tone, dominant_tone};

/// Files of one track each, a second of samples that last so many units, and nothing for nine behind it.
fn recorded_in_turn(tracks: &[(FileTrack, u32, Vec<Vec<u8>>)]) -> MemoryFiles {
    let mut files = Vec::new();
    for (n, (track, length, samples)) in tracks.iter().enumerate() {
        let began = BEGAN + ms(10_000 * n as u64);
        let (mut writer, mut octets) = FileWriter::new(std::slice::from_ref(track), began).expect("a header");
        let samples = samples.iter().zip(0..).map(|(octets, n)| Sample {
            time: n * u64::from(*length),
            is_key: true,
            parts: vec![octets.clone().into()],
        });
        let samples: Vec<_> = samples.collect();
        let run = Run {
            track: 0,
            end: Some(samples.len() as u64 * u64::from(*length)),
            samples,
        };
        octets.extend(writer.fragment(began, &[run]));
        files.push((crate::recording::file_name(began), octets));
    }
    let files: Vec<(&str, &[u8])> = files.iter().map(|(name, octets)| (&**name, &**octets)).collect();
    files_of(&files)
}

fn viewer(files: &MemoryFiles, lines: &str) -> Viewer {
    let timeline = recordings(files);
    let mut viewer = Viewer::new(timeline.clone(), files);
    viewer.player = Player::as_described(timeline, &describe(lines), &mut Rng::from_number(5));
    viewer
}

/// Plays to the end, over gaps.
fn play_all(viewer: &mut Viewer) {
    viewer.player.play(viewer.now, Play::default());
    viewer.drain();
    assert!(
        matches!(viewer.events[0], Event::Played(_)),
        "{:?}",
        viewer.events
    );
    viewer.rest();
}

/// What is sent as AAC in the mode `AAC-hbr`: the first octet of each frame.
fn frames(viewer: &Viewer) -> Vec<u8> {
    let units = viewer.units(0, payload::Format::Aac(payload::AacHeaders::HIGH_BIT_RATE));
    units.iter().map(|unit| unit.pieces[0][0]).collect()
}

/// Low complexity, main, and low complexity again: the octets of each of their frames are 1, 2 and 3.
fn of_several_configurations() -> MemoryFiles {
    let of = |config: &'static [u8], mark: u8| {
        let format = Format::Aac {
            config: Bytes::from_static(config),
            channels: 2,
        };
        let clock_rate_hz = 44_100;
        (
            FileTrack {
                format,
                clock_rate_hz,
            },
            1_024,
            vec![vec![mark; 50]; 43],
        )
    };
    recorded_in_turn(&[of(&[0x12, 0x10], 1), of(&[0x0a, 0x10], 2), of(&[0x12, 0x10], 3)])
}

// Guards pitfall RTSP 8.
#[test]
fn of_several_configurations_of_aac_that_is_sent_which_was_described() {
    let files = of_several_configurations();
    let lines = |config: &str| {
        // Channels are the configuration's to say, and need not be said again.
        format!(
            "m=audio 0 RTP/AVP 97\r\na=rtpmap:97 MPEG4-GENERIC/44100\r\n\
             a=fmtp:97 mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config={config}\r\n"
        )
    };
    for (config, expected) in [
        ("1210", [vec![1; 43], vec![3; 43]].concat()),
        ("0A10", vec![2; 43]),
    ] {
        let mut viewer = viewer(&files, &lines(config));
        play_all(&mut viewer);
        assert_eq!(frames(&viewer), expected, "{config}");
        assert!(
            viewer
                .packets
                .iter()
                .all(|(_, _, header, _)| header.payload_type == 97)
        );
    }
    assert_eq!(
        viewer(&files, &lines("1208")).refused("npt=0-"),
        PlayError::Nothing
    );
}

//= https://www.rfc-editor.org/rfc/rfc6416#section-6.1
#[test]
fn aac_is_sent_in_latm_to_who_was_told_of_latm() {
    let files = of_several_configurations();
    let (lc, main): (&[u8], &[u8]) = (&[0x12, 0x10], &[0x0a, 0x10]);
    let described_ones = [vec![(lc, 1); 43], vec![(lc, 3); 43]].concat();
    let all = [vec![(lc, 1); 43], vec![(main, 2); 43], vec![(lc, 3); 43]].concat();
    for (fmtp, clock_rate_hz, expected) in [
        (
            "a=fmtp:97 cpresent=0;config=400024203fc0\r\n",
            44_100,
            &described_ones,
        ),
        (
            "a=fmtp:97 cpresent=1;config=400024203fc0\r\n",
            44_100,
            &described_ones,
        ),
        // The band tells which it is.
        ("", 44_100, &all),
        ("a=fmtp:97 object=2\r\n", 90_000, &all),
    ] {
        let lines = format!("m=audio 0 RTP/AVP 97\r\na=rtpmap:97 MP4A-LATM/{clock_rate_hz}/2\r\n{fmtp}");
        let mut viewer = viewer(&files, &lines);
        play_all(&mut viewer);
        let described = describe(&lines);
        let codec = described.tracks[0].codec();
        let format = crate::file::Encoding::of(codec).expect("LATM").payload;
        let mut elements = crate::file::latm(codec);
        let units = viewer.units(0, format);
        let mut found = Vec::new();
        for unit in &units {
            let frames = match format {
                payload::Format::Latm { in_band: true } => elements.frames(&unit.pieces[0]),
                _ => unit.pieces.clone(),
            };
            assert_eq!((frames.len(), frames[0].len()), (1, 50));
            let Some(Format::Aac { config, .. }) = elements.format() else {
                panic!("{:?}", elements.format());
            };
            found.push((config, frames[0][0]));
        }
        let found: Vec<(&[u8], u8)> = found.iter().map(|(config, mark)| (&config[..], *mark)).collect();
        assert_eq!(&found, expected, "{lines}");
        let lasts = units[1].timestamp.wrapping_sub(units[0].timestamp);
        assert!(lasts.abs_diff(1_024 * clock_rate_hz / 44_100) <= 1, "{lasts}");
        let is_marked = |(_, _, header, _): &(_, _, Header, _)| header.marker && header.payload_type == 97;
        assert!(viewer.packets.iter().all(is_marked));
    }
    let other =
        "m=audio 0 RTP/AVP 97\r\na=rtpmap:97 MP4A-LATM/44100\r\na=fmtp:97 cpresent=0;config=400023203fc0\r\n";
    assert_eq!(viewer(&files, other).refused("npt=0-"), PlayError::Nothing);
}

//= https://www.rfc-editor.org/rfc/rfc3640#section-3.3.5
#[test]
fn aac_is_sent_behind_the_headers_that_were_described() {
    let files = of_several_configurations();
    for parameters in [
        "mode=AAC-lbr;sizelength=6;indexlength=2;indexdeltalength=2",
        "mode=generic;sizelength=10;ctsdeltalength=16;randomaccessindication=1",
        "mode=generic;constantsize=50",
        "mode=generic",
    ] {
        let lines = format!(
            "m=audio 0 RTP/AVP 97\r\na=rtpmap:97 MPEG4-GENERIC/44100/2\r\na=fmtp:97 {parameters};config=1210\r\n"
        );
        let mut viewer = viewer(&files, &lines);
        play_all(&mut viewer);
        let described = describe(&lines);
        let format = crate::file::Encoding::of(described.tracks[0].codec())
            .expect("AAC")
            .payload;
        let units = viewer.units(0, format);
        let found: Vec<_> = units.into_iter().map(|unit| unit.pieces.concat()).collect();
        assert_eq!(
            found,
            [vec![vec![1; 50]; 43], vec![vec![3; 50]; 43]].concat(),
            "{parameters}"
        );
    }
}

#[test]
fn a_frame_in_fragments_ends_with_the_marker_and_nowhere_else() {
    let format = Format::Aac {
        config: Bytes::from_static(&[0x12, 0x10]),
        channels: 2,
    };
    let track = FileTrack {
        format,
        clock_rate_hz: 44_100,
    };
    let frame: Vec<u8> = (0..3_000).map(|n| n as u8).collect();
    let files = recorded_in_turn(&[(track, 1_024, vec![frame.clone(); 43])]);
    for map in [
        "MP4A-LATM/44100/2\r\na=fmtp:97 cpresent=0;config=400024203fc0",
        "MPEG4-GENERIC/44100/2\r\na=fmtp:97 mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config=1210",
    ] {
        let lines = format!("m=audio 0 RTP/AVP 97\r\na=rtpmap:97 {map}\r\n");
        let mut viewer = viewer(&files, &lines);
        play_all(&mut viewer);
        let marked = viewer.packets.iter().filter(|(_, _, header, _)| header.marker);
        assert_eq!((viewer.packets.len(), marked.count()), (3 * 43, 43), "{map}");
        let described = describe(&lines);
        let format = crate::file::Encoding::of(described.tracks[0].codec())
            .expect("AAC")
            .payload;
        let units = viewer.units(0, format);
        assert!(
            units.len() == 43 && units.iter().all(|unit| unit.pieces == [&frame[..]]),
            "{map}"
        );
    }
}

#[test]
fn opus_and_mpeg_audio_are_themselves_whatever_is_said_of_channels() {
    let opus = |channels| FileTrack {
        format: Format::Opus { channels },
        clock_rate_hz: 48_000,
    };
    let both = recorded_in_turn(&[
        (opus(2), 960, vec![vec![1; 40]; 50]),
        (opus(1), 960, vec![vec![2; 40]; 50]),
    ]);
    let mpeg = FileTrack {
        format: Format::MpegAudio { channels: 2 },
        clock_rate_hz: 90_000,
    };
    let mpeg = recorded_in_turn(&[(mpeg, 2_351, vec![vec![0xff; 418]; 38])]);
    for (files, map, expected) in [
        (&both, "opus/48000", 100),
        (&both, "opus/48000/2", 100),
        (&mpeg, "MPA/90000/2", 38),
        (&mpeg, "MPA/90000", 38),
    ] {
        let lines = format!("m=audio 0 RTP/AVP 98\r\na=rtpmap:98 {map}\r\n");
        let mut viewer = viewer(files, &lines);
        play_all(&mut viewer);
        assert_eq!(viewer.packets.len(), expected, "{map}");
    }
}

//= https://www.rfc-editor.org/rfc/rfc3551#section-4.5.2
#[test]
fn g722_that_was_decoded_for_its_file_is_sent_as_g722() {
    let mut sound = vec![0; 16_000];
    // The tone counts by telephones' samples.
    Tone::sine(1_500.0, -12.0).fill(&mut sound);
    let samples = sound.chunks(320);
    let samples = samples.map(|samples| samples.iter().copied().flat_map(i16::to_be_bytes).collect());
    let track = FileTrack {
        format: Format::L16 { channels: 1 },
        clock_rate_hz: 16_000,
    };
    let files = recorded_in_turn(&[(track, 320, samples.collect())]);
    let mut viewer = viewer(&files, "m=audio 0 RTP/AVP 9\r\n");
    play_all(&mut viewer);
    let first = viewer.packets[0].2.timestamp;
    let mut heard = Vec::new();
    let mut decoder = G722Wide::default();
    for ((_, _, header, payload), n) in viewer.packets.iter().zip(0u32..) {
        assert_eq!((header.payload_type, payload.len()), (9, 160));
        assert_eq!(header.timestamp.wrapping_sub(first), 160 * n);
        decoder.decode_into(payload, &mut heard);
    }
    assert_eq!(heard.len(), sound.len());
    let found = dominant_tone(&heard[800..]).expect("a tone");
    assert!((found.frequency_hz - 1_500.0).abs() < 1.0, "{found:?}");
    assert!((found.level_dbfs + 12.0).abs() < 0.5, "{found:?}");
}

#[test]
fn tracks_of_which_no_recording_is_left_make_room_for_others() {
    let of = |n: u32| {
        let track = FileTrack {
            format: Format::L16 { channels: 1 },
            clock_rate_hz: 8_000 + 100 * n,
        };
        (track, 160, vec![vec![0; 320]; 50])
    };
    let all: Vec<_> = (0..20).map(of).collect();
    let files = recorded_in_turn(&all);
    let mut catalog = Catalog::recordings();
    let rates = |catalog: &Catalog| {
        let described = catalog.timeline().expect("recordings").description("door");
        let tracks = described.tracks.iter();
        tracks
            .map(|track| track.codec().clock_rate_hz)
            .collect::<Vec<_>>()
    };
    assert_eq!(read_all(&mut catalog, &files), []);
    let newest: Vec<u32> = (4..20).rev().map(|n| 8_000 + 100 * n).collect();
    assert_eq!(rates(&catalog), newest);
    // Those of two of them are removed, and of the four that there was no room for two are told.
    let mut names: Vec<_> = ready(files.list(&door())).expect("a list");
    names.sort_by(|a, b| a.name.cmp(&b.name));
    for gone in [10, 19] {
        ready(files.remove(&names[gone].name)).expect("removed");
    }
    assert_eq!(read_all(&mut catalog, &files), []);
    let left = newest
        .iter()
        .copied()
        .filter(|rate| ![9_000, 9_900].contains(rate));
    assert_eq!(rates(&catalog), left.chain([8_300, 8_200]).collect::<Vec<_>>());
}
