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

fn clock(track: usize) -> i32 {
    if track == 0 { 90_000 } else { 44_100 }
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
    // What goes on is told as well.
    let told: Vec<_> = played.begins.iter().map(|(track, ..)| *track).collect();
    assert_eq!(told, [0, 1], "{context}");
    let (_, sequence, timestamp) = played.begins[plays];
    if let Some((_, next, _)) = found.iter().find(|sent| sent.0 > at) {
        assert_eq!(next.sequence, sequence, "{context}");
        // Pictures begin up to a group of them before.
        let later = next.timestamp.wrapping_sub(timestamp) as i32;
        assert!((0..clock(plays) * 4).contains(&later), "{context}: {later}");
    }
    let (_, sequence, timestamp) = played.begins[joins];
    if let Some((first_at, first, _)) = joined.first() {
        assert_eq!(first.sequence, sequence, "{context}");
        let later = first.timestamp.wrapping_sub(timestamp) as i32;
        assert!((0..clock(joins) / 10).contains(&later), "{context}: {later}");
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
    // Within a second before the gap what lies behind it is made already.
    let (timeline, files) = &gap;
    for tracks in [(0, 1), (1, 0)] {
        for after in (0..5_900).step_by(110) {
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
            begins.push((before, played.begins[pauses].1));
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

#[test]
fn pictures_that_are_taken_up_come_from_a_key_picture_that_an_edit_list_cut_off() {
    // The first three of each file are shown before its beginning, the key picture among them.
    let cut = ends::cut_by(1_024 + 3 * 512);
    let files = files_of(&[("a.mp4", &cut), ("b.mp4", &cut)]);
    let timeline = playlist(&files);
    let of_both = sent(&whole(&timeline, &files, &[0]), 0).len();
    let half = timeline.length().as_millis() as u64 / 2;
    for after in (0..half).step_by(35) {
        let first = join(&timeline, &files, (1, 0), ms(after));
        let second = join(&timeline, &files, (1, 0), ms(half + after));
        // The next key picture is shown then.
        if after < 200 {
            assert_eq!((first.len(), second.len()), (of_both, of_both / 2), "{after}");
        }
    }
}

/// Four seconds, and behind a gap of as many in the same file four more.
fn with_a_gap_in_a_file() -> World {
    let mut world = world(CAMERA);
    world.gop = 500;
    world.play(0..4);
    // The camera leaves out four seconds that it could not send.
    world.video_offset = world.video_offset.wrapping_add(100 * 3_600);
    let mut sounds = 8 * 44_100 / 1_024;
    for picture in 100..200 {
        world.wall_offset = ms(4_000);
        world.picture(picture);
        world.wall_offset = ms(0);
        while (sounds + 1) * 1_024 * 25 <= (picture + 101) * 44_100 {
            world.sound(sounds);
            sounds += 1;
        }
    }
    world.finish();
    world
}

#[test]
fn sound_is_taken_up_before_a_gap_within_a_file() {
    let world = with_a_gap_in_a_file();
    assert_eq!(world.names().len(), 1);
    let timeline = recordings(&world.files);
    assert_eq!(timeline.ranges().len(), 2);
    for after in (2_700..3_990).step_by(70) {
        join(&timeline, &world.files, (0, 1), ms(after));
    }
}

/// Three seconds of a camera, and three more from the hundredth on.
fn with_a_gap() -> World {
    let mut world = world(CAMERA);
    world.play(0..3);
    world.wait(ms(60_000));
    world.play(100..103);
    world.finish();
    world
}

#[test]
fn what_is_told_before_a_gap_is_of_what_is_sent_then() {
    let world = with_a_gap();
    let mut viewer = begin(&recordings(&world.files), &world.files, &[0, 1]);
    let (first, began) = (viewer.packets[0].2.timestamp, viewer.now);
    for round in 0..45 {
        viewer.wait(ms(100));
        let (next, passed) = (viewer.packets.len(), viewer.now.since(began).as_millis() as u32);
        let reported = viewer.player.timestamp_at(0, viewer.now).expect("a timestamp");
        let off = reported.wrapping_sub(first) as i32 - passed as i32 * 90;
        assert!(off.abs() <= 4_000, "after {passed} ms: {off}");
        let paused = if round % 3 == 0 { 200 } else { 0 };
        if paused > 0 {
            viewer.player.pause(viewer.now, None).expect("paused");
            viewer.drain();
            viewer.wait(ms(paused));
        }
        let played = viewer.play("", None, None);
        for track in [0, 1] {
            let told = played.begins[track].2;
            let last = viewer.packets[..next].iter().rfind(|packet| packet.1 == track);
            let since = told.wrapping_sub(last.expect("a packet").2.timestamp) as i32;
            let since = since - paused as i32 * clock(track) / 1_000;
            let most = clock(track) / 10;
            assert!((-most..=most).contains(&since), "after {passed} ms: {since}");
        }
    }
}

#[test]
fn a_pause_at_a_point_before_a_gap_comes_then_and_what_is_next_follows_at_once() {
    let world = with_a_gap();
    // Within the gap it comes where that begins.
    for (point, ends) in [("npt=2.6-", 2_600), ("npt=2.92-", 2_920), ("npt=50-", 3_000)] {
        let mut viewer = begin(&recordings(&world.files), &world.files, &[0, 1]);
        let (first, began) = (viewer.packets[0].2.timestamp, viewer.now);
        viewer.wait(ms(2_500));
        let range = Range::parse(point).expect("a range");
        let paused = viewer.player.pause(viewer.now, Some(&range)).expect("paused");
        assert!(!paused.is_at_once, "{point}");
        viewer.drain();
        viewer.rest();
        assert_eq!(viewer.events.last(), Some(&Event::Ended), "{point}");
        let late = viewer.now.since(began).as_millis() as u64;
        assert!(late.abs_diff(ends) < 60, "{point}: {late}");
        assert_eq!(viewer.pictures().len() as u64, ends.div_ceil(40), "{point}");
        viewer.events.clear();
        let next = viewer.play("npt=101-", None, None);
        let since = u64::from(next.begins[0].2.wrapping_sub(first) / 90);
        assert!(since.abs_diff(ends) < 60, "{point}: {since}");
    }
}

#[test]
fn what_goes_on_while_the_next_file_is_read_is_left_as_it_is() {
    let mut many = world(CAMERA);
    many.recorder_segment(ms(2_500));
    many.play(0..6);
    many.finish();
    let gap = with_a_gap();
    for (world, slow_at, waits) in [
        (&many, 1_900, &[100, 700, 1_200][..]),
        (&many, 3_600, &[0]),
        (&gap, 2_050, &[100, 700, 1_200]),
    ] {
        let timeline = recordings(&world.files);
        for plays in [&[0, 1][..], &[0], &[1]] {
            for wait in waits {
                let expected = whole(&timeline, &world.files, plays);
                let mut viewer = Viewer::new(timeline.clone(), &world.files);
                viewer.player.set_tracks(plays);
                viewer.play("npt=0-150", None, None);
                viewer.wait(ms(slow_at - 100));
                viewer.is_slow = true;
                viewer.wait(ms(*wait));
                let context = format!("{plays:?} after {slow_at} and {wait}");
                let told = |viewer: &Viewer| {
                    let told = viewer.events.iter();
                    told.filter(|event| matches!(event, Event::Played(_))).count()
                };
                // With what is not sent yet, or as it is; of what is still looked for one answer comes.
                viewer.player.set_tracks(&[0, 1]);
                viewer.go_on();
                let is_known = told(&viewer) > 0;
                viewer.wait(ms(20));
                viewer.go_on();
                let at_once = if is_known { 2 } else { 0 };
                assert_eq!(told(&viewer), at_once, "{context}");
                viewer.catch_up();
                assert_eq!(told(&viewer), at_once.max(1), "{context}");
                viewer.rest();
                assert_eq!(viewer.events.last(), Some(&Event::Ended), "{context}");
                for track in plays {
                    let numbers = |viewer: &Viewer| -> Vec<_> {
                        let sent = sent(viewer, *track).into_iter();
                        sent.map(|(_, header, payload)| (header.sequence, payload))
                            .collect()
                    };
                    assert!(numbers(&viewer) == numbers(&expected), "{context}: {track}");
                }
                // All of the rest comes of what was taken up, at its time.
                let joined = if plays.len() == 1 { 1 - plays[0] } else { 0 };
                let all = sent(&whole(&timeline, &world.files, &[0, 1]), joined);
                let found = sent(&viewer, joined);
                let rest = all[all.len() - found.len()..].iter();
                assert!(found.iter().map(|sent| &sent.2).eq(rest.map(|sent| &sent.2)));
                let least = 6_000_u64.saturating_sub(slow_at + wait) * 24 / 1_000;
                assert!(found.len() as u64 >= least, "{context}: {}", found.len());
                let most = (6_100 - slow_at) * 44 / 1_000 + 2;
                assert!(
                    joined == 0 || found.len() as u64 <= most,
                    "{context}: {}",
                    found.len()
                );
                assert!(viewer.now.since(Instant::ZERO) < ms(7_400), "{context}");
            }
        }
    }
}

#[test]
fn a_range_that_is_looked_for_is_gone_on_with_after_other_commands() {
    let world = recorded(20);
    let timeline = recordings(&world.files);
    for (range, scale, told) in [
        ("npt=10-12", None, "npt=10.000-12.000"),
        ("npt=12-10", Some(-1.0), "npt=12.000-10.000"),
    ] {
        for pauses in [false, true] {
            let mut viewer = Viewer::new(timeline.clone(), &world.files);
            viewer.player.set_tracks(&[0]);
            viewer.play("npt=0-1", None, None);
            viewer.rest();
            // As if it had been queued.
            viewer.is_slow = true;
            let range = Some(Range::parse(range).expect("a range"));
            let play = Play {
                range,
                scale,
                ..Play::default()
            };
            viewer.player.play(viewer.now, play);
            viewer.drain();
            if pauses {
                let paused = viewer.player.pause(viewer.now, None).expect("paused");
                let start = told.split_once('-').expect("a range").0;
                assert_eq!(paused.range.to_string(), format!("{start}-"));
                viewer.drain();
                viewer.wait(ms(700));
                assert_eq!(viewer.deadline, None);
            }
            viewer.player.set_tracks(&[0, 1]);
            assert!(!viewer.go_on(), "what comes behind it is still to come");
            viewer.catch_up();
            let Some(Event::Played(played)) = viewer.events.pop() else {
                panic!("{:?}", viewer.events)
            };
            assert_eq!(range_of(&played), told, "{pauses}");
            viewer.rest();
            let pictures = viewer.pictures().split_off(25);
            assert_eq!(pictures.len(), if scale.is_some() { 3 } else { 50 });
            assert_eq!(viewer.of_track(1).is_empty(), scale.is_some());
        }
    }
}

#[test]
fn a_range_that_is_refused_while_another_is_looked_for_leaves_its_beginning() {
    let world = recorded(20);
    let mut viewer = Viewer::new(recordings(&world.files), &world.files);
    viewer.is_slow = true;
    let range = Range::parse("npt=10-12").ok();
    let play = Play {
        range,
        ..Play::default()
    };
    viewer.player.play(viewer.now, play);
    viewer.drain();
    assert_eq!(viewer.refused("npt=99-"), PlayError::Empty);
    viewer.catch_up();
    assert!(range_of(&viewer.play("", None, None)).starts_with("npt=10.000-"));
}

#[test]
fn a_track_that_is_taken_up_behind_the_end_of_its_range_begins_before_that() {
    // Pictures beyond the end are sent until 0.36 s.
    let files = files_of(&[("a.mp4", WHOLE)]);
    let timeline = playlist(&files);
    for after in [0, 200, 290, 310, 330, 350, 390] {
        let mut viewer = Viewer::new(timeline.clone(), &files);
        viewer.player.set_tracks(&[0]);
        viewer.play("npt=0-0.3", None, None);
        viewer.wait(ms(after));
        if viewer.events.contains(&Event::Ended) {
            continue;
        }
        viewer.player.set_tracks(&[0, 1]);
        let played = viewer.play("", None, None);
        let told = range_of(&played);
        let (start, end) = told["npt=".len()..].split_once('-').expect("a range");
        assert!(start < end, "{told}");
        viewer.rest();
        assert_eq!(viewer.events.pop(), Some(Event::Ended));
    }
}

#[test]
fn tracks_are_taken_up_at_other_speeds_and_paused_at_once() {
    let world = recorded(7);
    let timeline = recordings(&world.files);
    for (plays, joins) in [(0, 1), (1, 0)] {
        for after in [0, 640, 1_310] {
            let mut viewer = Viewer::new(timeline.clone(), &world.files);
            viewer.player.set_tracks(&[plays]);
            viewer.play("npt=0-", None, Some(2.0));
            let (began, first) = (viewer.now, viewer.packets[0].2.timestamp);
            viewer.wait(ms(after));
            viewer.player.set_tracks(&[0, 1]);
            let played = viewer.play("", None, None);
            let at = viewer.now;
            viewer.player.pause(viewer.now, None).expect("paused");
            viewer.drain();
            let before = viewer.packets.len();
            viewer.wait(ms(3_000));
            assert_eq!(viewer.packets.len(), before);
            assert_eq!(viewer.deadline, None);
            viewer.play("", None, None);
            viewer.rest();
            assert_eq!(viewer.events, [Event::Ended]);
            let all = sent(&viewer, joins);
            assert_eq!(all[0].1.sequence, played.begins[joins].1);
            let follows =
                |two: &[(Instant, Header, Vec<u8>)]| two[1].1.sequence == two[0].1.sequence.wrapping_add(1);
            assert!(all.windows(2).all(follows));
            let both = sent(&whole(&timeline, &world.files, &[0, 1]), joins);
            let rest = &both[both.len() - all.len()..];
            assert!(all.iter().map(|sent| &sent.2).eq(rest.iter().map(|sent| &sent.2)));
            let least = (7_000 - 2 * after) * if joins == 0 { 25 } else { 42 } / 1_000;
            assert!(all.len() as u64 >= least, "{}", all.len());
            // Both end together, half of what was left behind the pause.
            let ends = sent(&viewer, plays).last().expect("packets").0;
            let end = all.last().expect("packets").0;
            assert!(ends.since(end).max(end.since(ends)) < ms(50));
            let left = ms(3_500 - after);
            assert!(ends.since(at + ms(3_000)).abs_diff(left) < ms(60));
            // Timestamps pass with the clock while it is paused, and twice as fast while it plays.
            let last = sent(&viewer, plays).last().expect("packets").1.timestamp;
            let passed = u64::from(last.wrapping_sub(first)) * 1_000 / clock(plays) as u64;
            let by_clock = ends.since(began).as_millis() as u64 - 3_000;
            assert!(passed.abs_diff(by_clock * 2 + 3_000) < 100, "{passed} {by_clock}");
        }
    }
}
