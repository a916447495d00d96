//! Tracks that are paused and played one by one (RFC 2326 §10.5, §10.6, §12.33).

use super::*;

/// What is sent of a track: when, and which packets.
type Sent = Vec<(Instant, Header, Vec<u8>)>;

fn sent(viewer: &Viewer, track: usize) -> Sent {
    let of_track = viewer.of_track(track).into_iter();
    of_track
        .map(|(at, _, header, payload)| (*at, *header, payload.clone()))
        .collect()
}

fn begin(timeline: &Timeline, files: &MemoryFiles, tracks: &[usize]) -> Viewer {
    let mut viewer = Viewer::new(timeline.clone(), files);
    viewer.player.set_tracks(tracks);
    viewer.play("npt=0-", None, None);
    viewer
}

fn whole(timeline: &Timeline, files: &MemoryFiles, tracks: &[usize]) -> Viewer {
    let mut viewer = begin(timeline, files, tracks);
    viewer.rest();
    viewer
}

/// Plays one track, and takes up the other one after a while: what plays is not to be disturbed, and what comes is to be what was
/// told.
fn join(timeline: &Timeline, files: &MemoryFiles, (plays, joins): (usize, usize), after: Duration) -> Sent {
    // Where a gap begins depends on what ends there last.
    let (slack, slack_ticks) = match timeline.ranges().len() {
        1 => (ms(12), 0),
        _ => (ms(60), 4_000),
    };
    let alone = whole(timeline, files, &[plays]);
    let both = whole(timeline, files, &[0, 1]);
    let mut viewer = begin(timeline, files, &[plays]);
    viewer.wait(after);
    viewer.events.clear();
    let at = viewer.now;
    viewer.player.set_tracks(&[0, 1]);
    let played = viewer.play("", None, None);
    viewer.rest();
    let context = format!("track {joins} after {after:?}");
    let (expected, found) = (sent(&alone, plays), sent(&viewer, plays));
    assert_eq!(found.len(), expected.len(), "{context}");
    for (found, expected) in found.iter().zip(&expected) {
        let off = found.1.timestamp.wrapping_sub(expected.1.timestamp) as i32;
        let header = Header {
            timestamp: found.1.timestamp,
            ..expected.1
        };
        let is_same = found.1 == header && off.abs() <= slack_ticks && found.2 == expected.2;
        assert!(is_same, "{context}: {:?} for {:?}", found.1, expected.1);
        let late = found.0.since(expected.0).max(expected.0.since(found.0));
        assert!(late < slack, "{context}: {late:?}");
    }
    assert_eq!(viewer.events.last(), Some(&Event::Ended), "{context}");
    let (joined, all) = (sent(&viewer, joins), sent(&both, joins));
    assert!(joined.len() <= all.len(), "{context}");
    let rest = &all[all.len() - joined.len()..];
    assert!(
        joined
            .iter()
            .map(|sent| &sent.2)
            .eq(rest.iter().map(|sent| &sent.2)),
        "{context}: something is missing or comes twice"
    );
    let [(track, sequence, timestamp)] = played.begins[..] else {
        panic!("{context}: {:?}", played.begins)
    };
    assert_eq!(track, joins);
    if let Some((first_at, first, _)) = joined.first() {
        assert_eq!(first.sequence, sequence, "{context}");
        let later = first.timestamp.wrapping_sub(timestamp) as i32;
        let clock = if joins == 0 { 90_000 } else { 44_100 };
        assert!((0..clock / 10).contains(&later), "{context}: {later}");
        // A frame of the films lasts 128 ms.
        assert!(
            first_at.since(at) < ms(130),
            "{context}: {:?}",
            first_at.since(at)
        );
    }
    joined
}

/// How much of what comes after `at` comes at once.
fn burst(sent: &Sent) -> usize {
    let first = sent.first().map_or(Instant::ZERO, |(at, ..)| *at);
    sent.iter().filter(|(at, ..)| at.since(first) < ms(15)).count()
}

#[test]
fn sound_that_is_taken_up_comes_from_where_the_pictures_are_and_nothing_old_comes() {
    let world = recorded(7);
    let timeline = recordings(&world.files);
    for after in (0..7_000).step_by(170) {
        let sound = join(&timeline, &world.files, (0, 1), ms(after));
        assert!(burst(&sound) <= 2, "{after}: {}", burst(&sound));
        let least = (7_000 - after).saturating_sub(60) * 43 / 1_000;
        assert!(sound.len() as u64 >= least, "{after}: {}", sound.len());
    }
}

#[test]
fn pictures_that_are_taken_up_come_from_the_key_frame_before() {
    let world = recorded(7);
    let timeline = recordings(&world.files);
    for after in (0..6_900).step_by(230) {
        let pictures = join(&timeline, &world.files, (1, 0), ms(after));
        let first = after / 1_000 * 1_000;
        let mut depacketizer = Depacketizer::new(payload::Format::H264);
        for (_, header, payload) in &pictures {
            depacketizer.handle(header.sequence, header.timestamp, header.marker, payload);
        }
        depacketizer.end();
        let units = std::iter::from_fn(|| depacketizer.poll()).count() as u64;
        assert_eq!(units, (7_000 - first) / 40, "{after}");
    }
}

#[test]
fn tracks_are_taken_up_over_the_ends_of_files_and_gaps() {
    let mut many = world(CAMERA);
    many.recorder_segment(ms(2_500));
    many.play(0..6);
    many.finish();
    let mut gap = world(CAMERA);
    gap.play(0..3);
    gap.wait(ms(60_000));
    gap.play(100..103);
    gap.finish();
    let films = files_of(&[("a.mp4", WHOLE), ("b.mp4", WHOLE)]);
    let many = (recordings(&many.files), many.files.clone());
    let gap = (recordings(&gap.files), gap.files.clone());
    let films = (playlist(&films), films);
    for (timeline, files) in [&many, &films] {
        let length = timeline.length().as_millis() as u64;
        for tracks in [(0, 1), (1, 0)] {
            for after in (0..length).step_by(110) {
                join(timeline, files, tracks, ms(after));
            }
        }
    }
    // Up to a second before a gap a track begins behind it.
    let (timeline, files) = &gap;
    for after in [0, 500, 1_900, 3_100, 5_000] {
        for tracks in [(0, 1), (1, 0)] {
            join(timeline, files, tracks, ms(after));
        }
    }
}

#[test]
fn a_track_that_is_paused_stops_at_once_and_the_other_one_goes_on() {
    let world = recorded(12);
    let timeline = recordings(&world.files);
    for (stays, pauses) in [(0, 1), (1, 0)] {
        let expected = sent(&whole(&timeline, &world.files, &[stays]), stays);
        let mut viewer = begin(&timeline, &world.files, &[0, 1]);
        let mut begins = Vec::new();
        for _ in 0..2 {
            viewer.wait(ms(1_300));
            viewer.player.set_tracks(&[stays]);
            let before = viewer.of_track(pauses).len();
            viewer.wait(ms(2_900));
            assert_eq!(viewer.of_track(pauses).len(), before);
            viewer.player.set_tracks(&[0, 1]);
            let played = viewer.play("", None, None);
            begins.push((before, played.begins[0].1));
        }
        viewer.rest();
        let found = sent(&viewer, stays);
        assert!(
            found
                .iter()
                .map(|sent| &sent.2)
                .eq(expected.iter().map(|sent| &sent.2))
        );
        let numbers = found.iter().map(|sent| sent.1.sequence);
        assert!(numbers.eq(expected.iter().map(|sent| sent.1.sequence)));
        // Its numbers go on without a hole, and are those that were told.
        let paused = sent(&viewer, pauses);
        let follows =
            |two: &[(Instant, Header, Vec<u8>)]| two[1].1.sequence == two[0].1.sequence.wrapping_add(1);
        assert!(paused.windows(2).all(follows));
        for (before, sequence) in begins {
            assert_eq!(paused[before].1.sequence, sequence);
        }
    }
}

#[test]
fn nothing_comes_of_a_track_whose_range_was_refused() {
    let world = recorded(5);
    let mut viewer = begin(&recordings(&world.files), &world.files, &[0]);
    viewer.wait(ms(500));
    viewer.player.set_tracks(&[0, 1]);
    assert_eq!(viewer.refused("npt=9-"), PlayError::Empty);
    viewer.rest();
    assert!(viewer.of_track(1).is_empty());
    assert_eq!(viewer.pictures().len(), 125);
}

// RFC 2326 §12.29.
#[test]
fn a_pause_cancels_a_time_that_is_waited_for() {
    let world = recorded(10);
    let timeline = recordings(&world.files);
    let far = ms(3_600_000);
    let play = |viewer: &mut Viewer, range: Option<&str>, starts: Option<Instant>| {
        let range = range.map(|range| Range::parse(range).expect("a range"));
        let play = Play {
            range,
            starts,
            ..Play::default()
        };
        viewer.player.play(viewer.now, play);
        viewer.drain();
        match viewer.events.pop() {
            Some(Event::Played(played)) => played,
            other => panic!("{other:?}"),
        }
    };
    // At the beginning, and behind what has been played.
    for played_before in [0, 1_500] {
        let mut viewer = Viewer::new(timeline.clone(), &world.files);
        if played_before > 0 {
            viewer.play("npt=0-", None, None);
            viewer.wait(ms(played_before));
        }
        let before = viewer.packets.len();
        let starts = viewer.now + far;
        play(&mut viewer, Some("npt=5-7"), Some(starts));
        viewer.wait(ms(700));
        // It goes on waiting for who asks whether it is still there.
        play(&mut viewer, None, None);
        viewer.wait(ms(300));
        assert_eq!(viewer.packets.len(), before);
        viewer.player.pause(viewer.now, None).expect("paused");
        viewer.drain();
        assert_eq!(viewer.deadline, None);
        viewer.wait(ms(1_000));
        let at = viewer.now;
        let played = play(&mut viewer, None, None);
        assert_eq!(range_of(&played), "npt=5.000-7.000");
        viewer.wait(ms(2_500));
        assert_eq!(viewer.events, [Event::Ended]);
        for track in [0, 1] {
            let all = sent(&viewer, track);
            let first = all.iter().find(|sent| sent.0 >= at).expect("a packet");
            assert_eq!(first.1.sequence, played.begins[track].1);
            let since = first.1.timestamp.wrapping_sub(played.begins[track].2);
            assert!(since < 1_024 && first.0.since(at) < ms(30), "{since}");
            // Timestamps have passed with the clock.
            if let Some((began, header, _)) = all.first().filter(|_| played_before > 0) {
                let clock = if track == 0 { 90 } else { 44 };
                let passed = u64::from(first.1.timestamp.wrapping_sub(header.timestamp)) / clock;
                let clock_passed = first.0.since(*began).as_millis() as u64;
                assert!(passed.abs_diff(clock_passed) < 50, "{passed} {clock_passed}");
            }
        }
    }
    // What goes on at a time is paused before it comes, and goes on at another.
    let mut viewer = Viewer::new(timeline, &world.files);
    viewer.play("npt=0-", None, None);
    viewer.wait(ms(1_500));
    for wait in [ms(400), far, far] {
        viewer.player.pause(viewer.now, None).expect("paused");
        viewer.drain();
        viewer.wait(ms(100));
        let starts = viewer.now + wait;
        play(&mut viewer, None, Some(starts));
        viewer.wait(ms(200));
    }
    viewer.player.pause(viewer.now, None).expect("paused");
    viewer.drain();
    let (at, before) = (viewer.now, viewer.of_track(0).len());
    let played = play(&mut viewer, None, None);
    viewer.rest();
    let pictures = sent(&viewer, 0);
    assert!(pictures[before].0.since(at) < ms(45));
    assert_eq!(pictures[before].1.sequence, played.begins[0].1);
    let numbers: Vec<u64> = viewer.pictures().iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (0..250).collect::<Vec<u64>>());
}
