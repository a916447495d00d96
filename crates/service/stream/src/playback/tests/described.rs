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

// Guards pitfall RTSP 8.
#[test]
fn of_several_configurations_of_aac_that_is_sent_which_was_described() {
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
    // Low complexity, main, and low complexity again.
    let files = recorded_in_turn(&[of(&[0x12, 0x10], 1), of(&[0x0a, 0x10], 2), of(&[0x12, 0x10], 3)]);
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
