//! Where what is played begins and ends: pictures that refer to each other across an end, gaps between key frames, and sound
//! before the first picture.

use super::*;

/// A file of 25 pictures a second, of which every fourth is decoded before the three that are shown before it, and every 24th
/// is a key picture; so many of them are in each fragment.
fn reordered(pictures: u64, in_fragment: usize) -> Vec<u8> {
    let track = recordings(&recorded(1).files).tracks()[0].clone();
    let (mut writer, mut file) = FileWriter::new(&[track], BEGAN).expect("a header");
    let sample = |n: u64| {
        let is_key = n.is_multiple_of(24);
        let kind = if is_key { 0x65 } else { 0x41 };
        Sample {
            time: n * 3_600,
            is_key,
            parts: vec![[vec![kind, 0x80], n.to_be_bytes().repeat(3)].concat().into()],
        }
    };
    let groups = (4..pictures).step_by(4).flat_map(|n| [n, n - 3, n - 2, n - 1]);
    let samples: Vec<Sample> = std::iter::once(0).chain(groups).map(sample).collect();
    for samples in samples.chunks(in_fragment) {
        let first = samples.iter().map(|sample| sample.time).min().unwrap_or_default();
        let run = Run {
            track: 0,
            samples: samples.to_vec(),
            end: None,
        };
        file.extend(writer.fragment(BEGAN + ms(first / 90), &[run]));
    }
    file
}

fn numbers(viewer: &Viewer) -> Vec<u64> {
    viewer.pictures().into_iter().map(|(n, _)| n).collect()
}

#[test]
fn pictures_behind_the_end_are_sent_where_those_before_it_refer_to_them_and_none_else() {
    // Fragments that end anywhere among them too.
    for in_fragment in [5, 6, 7, 1_000] {
        let files = files_of(&[("a.mp4", &reordered(97, in_fragment))]);
        for (end, expected) in [
            ("0.30", &[0, 4, 1, 2, 3, 8, 5, 6, 7][..]),
            ("0.28", &[0, 4, 1, 2, 3, 8, 5, 6]),
            ("0.24", &[0, 4, 1, 2, 3, 8, 5]),
            ("0.2", &[0, 4, 1, 2, 3]),
            ("0.16", &[0, 4, 1, 2, 3]),
            ("0.01", &[0]),
        ] {
            // There 8 is written as if it were decoded when 7 is shown.
            if in_fragment == 6 && ["0.28", "0.24"].contains(&end) {
                continue;
            }
            let mut viewer = Viewer::new(playlist(&files), &files);
            let played = viewer.play(&format!("npt=0-{end}"), None, None);
            assert!(range_of(&played).starts_with(&format!("npt=0.000-{end}")));
            viewer.rest();
            assert_eq!(viewer.events, [Event::Ended]);
            assert_eq!(numbers(&viewer), expected, "{end}, {in_fragment} in a fragment");
        }
    }
}

#[test]
fn recordings_end_with_what_is_referred_to_as_well() {
    let name = crate::recording::file_name(BEGAN);
    let files = files_of(&[(&name, &reordered(97, 24))]);
    let mut viewer = Viewer::new(recordings(&files), &files);
    viewer.play("clock=20261127T025300Z-20261127T025300.28Z", Some(2.0), None);
    viewer.rest();
    assert_eq!(numbers(&viewer), [0, 4, 1, 2, 3, 8, 5, 6]);
}

#[test]
fn what_is_played_next_begins_behind_pictures_beyond_the_end() {
    let files = files_of(&[("a.mp4", &reordered(97, 1_000))]);
    let mut viewer = Viewer::new(playlist(&files), &files);
    let first = viewer.play("npt=0-0.28", None, None);
    viewer.rest();
    assert_eq!(viewer.events.pop(), Some(Event::Ended));
    // Picture 8 lasts until then, by the clock too.
    assert_eq!(viewer.now, Instant::ZERO + ms(1_000 + 360));
    let next = viewer.play("npt=0.96-1.24", None, None);
    let since = next.begins[0].2.wrapping_sub(first.begins[0].2);
    assert_eq!(since, 9 * 3_600);
    viewer.rest();
    assert_eq!(
        numbers(&viewer),
        [0, 4, 1, 2, 3, 8, 5, 6, 24, 28, 25, 26, 27, 32, 29, 30]
    );
    // Without a range it goes on where it was to end.
    let range = range_of(&viewer.play("", None, None));
    assert!(range.starts_with("npt=0.960-"), "{range}");
}

#[test]
fn a_pause_at_a_point_among_pictures_that_refer_to_each_other_sends_what_is_needed() {
    for waited in [0, 100] {
        let files = files_of(&[("a.mp4", &reordered(97, 1_000))]);
        let mut viewer = Viewer::new(playlist(&files), &files);
        viewer.play("npt=0-", None, None);
        viewer.wait(ms(waited));
        let point = Range::parse("npt=0.28-").expect("a range");
        let paused = viewer.player.pause(viewer.now, Some(&point)).expect("paused");
        assert!(!paused.is_at_once);
        viewer.drain();
        viewer.rest();
        assert_eq!(numbers(&viewer), [0, 4, 1, 2, 3, 8, 5, 6]);
    }
}

/// Five seconds, and from the hundredth on four.
fn with_a_gap() -> World {
    let mut world = world(CAMERA);
    world.play(0..5);
    world.wait(ms(60_000));
    world.play(100..104);
    world.finish();
    world
}

// RFC 3550 §5.1: what is sampled later has a later timestamp.
#[test]
fn key_frames_on_both_sides_of_a_gap_are_as_far_apart_as_others() {
    let world = with_a_gap();
    for (range, again, scale, keys, step) in [
        (
            "npt=103.5-",
            "npt=2-",
            -1.0,
            &[2_575, 2_550, 2_525, 2_500, 100, 75, 50, 25, 0][..],
            90_000,
        ),
        (
            "npt=0-",
            "npt=102-",
            2.5,
            &[0, 25, 50, 75, 100, 2_500, 2_525, 2_550, 2_575],
            36_000,
        ),
    ] {
        let mut viewer = Viewer::new(recordings(&world.files), &world.files);
        viewer.play(range, Some(scale), None);
        viewer.rest();
        let expected: Vec<_> = keys.iter().zip(0..).map(|(key, n)| (*key, n * step)).collect();
        assert_eq!(viewer.pictures(), expected);
        for (at, _, header, _) in viewer.of_track(0) {
            let since = header.timestamp.wrapping_sub(viewer.packets[0].2.timestamp);
            assert_eq!(at.since(Instant::ZERO + ms(1_000)), ms(u64::from(since) / 90));
        }
        viewer.events.clear();
        // The last one lasts as long, and what comes next has another timestamp.
        let length = u64::from(step) / 90 * keys.len() as u64;
        assert_eq!(viewer.now, Instant::ZERO + ms(1_000 + length));
        let next = viewer.play(again, Some(scale), None);
        let since = next.begins[0].2.wrapping_sub(viewer.packets[0].2.timestamp);
        assert_eq!(since, step * keys.len() as u32);
    }
}

#[test]
fn a_key_frame_that_is_interrupted_has_a_timestamp_of_its_own() {
    let world = recorded(9);
    let mut viewer = Viewer::new(recordings(&world.files), &world.files);
    viewer.play("npt=5-", Some(-1.0), None);
    let first = viewer.packets[0].2.timestamp;
    let next = viewer.play("npt=3-", Some(-1.0), None);
    assert_eq!(next.begins[0].2.wrapping_sub(first), 3_600);
}

/// [`WHOLE`] with a video track whose edit list leaves out so much of its beginning, in units of 1/12,800 s; the first picture is
/// shown at 1,024.
pub(super) fn cut_by(media_time: u32) -> Vec<u8> {
    let mut file = WHOLE.to_vec();
    let at = file.windows(4).position(|name| name == b"elst").expect("a list");
    file[at + 16..at + 20].copy_from_slice(&media_time.to_be_bytes());
    file
}

/// Two such files, who has seen both from their beginning, and what was told of that; all pictures came, with the first packet
/// that was told.
fn two_cut_by(media_time: u32) -> (MemoryFiles, Viewer, Played) {
    let cut = cut_by(media_time);
    let files = files_of(&[("a.mp4", &cut), ("b.mp4", &cut)]);
    let mut viewer = Viewer::new(playlist(&files), &files);
    let played = viewer.play("npt=0-", None, None);
    let range = range_of(&played);
    assert!(range.starts_with("npt=0.000-"), "{range}");
    viewer.rest();
    let units = viewer.units(0, payload::Format::H264);
    assert_eq!(units.len(), 20);
    assert!(units[0].is_key && units[10].is_key);
    assert_eq!(viewer.of_track(0)[0].2.sequence, played.begins[0].1);
    (files, viewer, played)
}

#[test]
fn sound_before_the_first_key_picture_is_played() {
    // Pictures from 0.08 s on.
    let (files, viewer, played) = two_cut_by(0);
    let (_, sequence, begins) = played.begins[1];
    let sounds: Vec<_> = viewer
        .of_track(1)
        .iter()
        .map(|(_, _, header, _)| *header)
        .collect();
    assert_eq!((sounds[0].sequence, sounds[0].timestamp), (sequence, begins));
    assert!(sounds[0].marker);
    let steps = sounds
        .windows(2)
        .map(|two| two[1].timestamp.wrapping_sub(two[0].timestamp));
    // In the second file too.
    let longest = steps.max().expect("sounds");
    assert!(longest <= 1_024 + 480, "{longest}");
    let units = viewer.units(0, payload::Format::H264);
    assert_eq!(units[0].timestamp.wrapping_sub(played.begins[0].2), 7_200);
    // There is nothing of pictures before 0.08 s, and sound is from there on, if any begins there.
    let mut viewer = Viewer::new(playlist(&files), &files);
    assert!(range_of(&viewer.play("npt=0-0.05", None, None)).starts_with("npt=0.000-0.050"));
    viewer.rest();
    assert_eq!((viewer.of_track(0).len(), viewer.of_track(1).len()), (0, 1));
    let mut viewer = Viewer::new(playlist(&files), &files);
    assert!(range_of(&viewer.play("npt=0.05-", None, None)).starts_with("npt=0.080-"));
    assert_eq!(viewer.refused("npt=0.05-0.06"), PlayError::Empty);
    viewer.player.set_tracks(&[0]);
    assert_eq!(viewer.refused("npt=0-0.05"), PlayError::Empty);
    assert!(range_of(&viewer.play("npt=0-", None, None)).starts_with("npt=0.080-"));
}

#[test]
fn sound_in_fragments_before_the_first_key_picture_is_played_and_pictures_from_that_on() {
    let tracks = recordings(&recorded(1).files).tracks().to_vec();
    let (mut writer, mut file) = FileWriter::new(&tracks, BEGAN).expect("a header");
    let sound = |n: u64| Sample {
        time: n * 1_024,
        is_key: true,
        parts: vec![Bytes::from(vec![n as u8; 40])],
    };
    let picture = |n: u64| Sample {
        time: n * 3_600,
        is_key: n == 30,
        parts: vec![
            [
                vec![if n == 30 { 0x65 } else { 0x41 }, 0x80],
                n.to_be_bytes().repeat(3),
            ]
            .concat()
            .into(),
        ],
    };
    // A second of sound alone, and pictures from 0.8 s on that refer to some that are not there.
    let run = |track, samples| Run {
        track,
        samples,
        end: None,
    };
    let first = run(1, (0..35).map(sound).collect());
    let second = [
        run(0, (20..50).map(picture).collect()),
        run(1, (35..86).map(sound).collect()),
    ];
    file.extend(writer.fragment(BEGAN, &[first]));
    file.extend(writer.fragment(BEGAN + ms(800), &second));
    let name = crate::recording::file_name(BEGAN);
    let files = files_of(&[(&name, &file)]);
    let mut viewer = Viewer::new(recordings(&files), &files);
    let played = viewer.play("clock=20261127T025300.5Z-20261127T025301.4Z", None, None);
    assert!(
        range_of(&played).starts_with("clock=20261127T025300.5Z-"),
        "{}",
        range_of(&played)
    );
    viewer.rest();
    let units = viewer.units(0, payload::Format::H264);
    assert_eq!(numbers(&viewer), (30..35).collect::<Vec<_>>());
    assert_eq!(units[0].timestamp.wrapping_sub(played.begins[0].2), 63_000);
    assert_eq!(viewer.of_track(1).len(), 39);
    // Sound that is paused while it is all that waits keeps no pictures from coming.
    let mut viewer = Viewer::new(recordings(&files), &files);
    viewer.play("clock=20261127T025300Z-20261127T025301.4Z", None, None);
    viewer.player.set_tracks(&[0]);
    viewer.drain();
    viewer.rest();
    assert_eq!(numbers(&viewer), (30..35).collect::<Vec<_>>());
}

// As a seek that lands within a group of pictures, but for that nothing lies before the beginning.
#[test]
fn pictures_that_an_edit_list_cuts_off_are_sent_for_those_that_refer_to_them() {
    // The first three are shown before the beginning.
    let (files, viewer, played) = two_cut_by(1_024 + 3 * 512);
    let units = viewer.units(0, payload::Format::H264);
    let begins = played.begins[0].2;
    let since: Vec<i32> = units[..10]
        .iter()
        .map(|unit| unit.timestamp.wrapping_sub(begins) as i32)
        .collect();
    // A two-hundredth of the 0.12 s before the beginning.
    assert_eq!(since[..4], [0, 54, 18, 36]);
    let rest: Vec<i32> = since[4..].iter().map(|since| since - 54).collect();
    assert_eq!(rest, [3, 1, 2, 4, 5, 6].map(|n| n * 3_600));
    // Sound begins with the beginning.
    let sounds = viewer.of_track(1);
    assert!(sounds[0].2.timestamp.wrapping_sub(played.begins[1].2) <= 5);
    for one_of in ["npt=0-0.04", "npt=0.04-0.1"] {
        let mut viewer = Viewer::new(playlist(&files), &files);
        assert!(range_of(&viewer.play(one_of, None, None)).starts_with("npt=0.000-0."));
        viewer.rest();
        assert!(viewer.units(0, payload::Format::H264).len() >= 4, "{one_of}");
    }
}

#[test]
fn what_is_told_after_a_pause_is_the_first_that_is_shown_of_what_comes() {
    let files = files_of(&[("a.mp4", &reordered(97, 1_000))]);
    for pictures in 1..24_u64 {
        let mut viewer = Viewer::new(playlist(&files), &files);
        viewer.play("npt=0-", None, None);
        viewer.wait(ms(40 * pictures + 10));
        let sent = viewer.packets.len();
        let paused = viewer.player.pause(viewer.now, None).expect("paused");
        viewer.wait(ms(500));
        let played = viewer.play("", None, None);
        viewer.rest();
        let first = numbers(&viewer)[sent..].iter().min().copied().expect("a picture");
        let seconds = (40 * first) as f64 / 1_000.0;
        for told in [paused.range.to_string(), range_of(&played)] {
            assert!(
                told.starts_with(&format!("npt={seconds:.3}-")),
                "{pictures}: {told}"
            );
        }
        let [(0, sequence, timestamp)] = played.begins[..] else {
            panic!("{played:?}")
        };
        let come = &viewer.packets[sent..];
        assert_eq!(come[0].2.sequence, sequence, "{pictures}");
        let ahead = |packet: &(_, _, Header, _)| packet.2.timestamp.wrapping_sub(timestamp) as i32;
        assert_eq!(come.iter().map(ahead).min(), Some(0), "{pictures}");
    }
}
