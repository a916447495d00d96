//! Recordings of times that others are of too.

use super::*;

/// Twenty seconds that came within ten, and what came from the tenth on for so many.
fn overlapping_by(seconds: u64) -> World {
    let mut world = world(CAMERA);
    world.play(0..20);
    world.recorder.handle_gap(world.now);
    world.run();
    world.play(10..10 + seconds);
    world.finish();
    world
}

fn overlapping() -> World {
    overlapping_by(20)
}

#[test]
fn what_comes_behind_an_overlap_is_found_where_it_happened() {
    let world = overlapping();
    let timeline = recordings(&world.files);
    assert_eq!(timeline.clock_ranges(), [BEGAN..BEGAN + ms(30_000)]);
    for (asked, told, pictures) in [
        (
            "20261127T025325Z-20261127T025326Z",
            "20261127T025325Z-20261127T025326Z",
            625..650,
        ),
        (
            "20261127T025305Z-20261127T025308Z",
            "20261127T025305Z-20261127T025308Z",
            125..200,
        ),
        // Of what was recorded twice it is the later one.
        (
            "20261127T025312.5Z-20261127T025321Z",
            "20261127T025312Z-20261127T025321Z",
            300..525,
        ),
        ("20261127T025329Z-", "20261127T025329Z-20261127T025330Z", 725..750),
    ] {
        let mut viewer = Viewer::new(timeline.clone(), &world.files);
        let played = viewer.play(&format!("clock={asked}"), None, None);
        assert_eq!(range_of(&played), format!("clock={told}"));
        viewer.rest();
        let numbers: Vec<u64> = viewer.pictures().into_iter().map(|(n, _)| n).collect();
        // The key picture before the one that was asked for is begun with.
        let expected: Vec<u64> = pictures.filter(|n| *n >= numbers[0]).collect();
        assert_eq!(numbers, expected, "{asked}");
        assert!(numbers[0].is_multiple_of(25), "{asked}");
    }
    let mut viewer = Viewer::new(timeline.clone(), &world.files);
    assert_eq!(viewer.refused("clock=20261127T025331Z-"), PlayError::Empty);
    // Backwards too.
    let played = viewer.play("clock=20261127T025328Z-20261127T025326Z", Some(-1.0), None);
    assert_eq!(range_of(&played), "clock=20261127T025328Z-20261127T025326Z");
    viewer.rest();
    let numbers: Vec<u64> = viewer.pictures().into_iter().map(|(n, _)| n).collect();
    assert_eq!(numbers, [700, 675, 650]);
}

#[test]
fn all_that_overlaps_is_played_in_the_order_in_which_it_was_recorded() {
    let world = overlapping();
    let timeline = recordings(&world.files);
    assert_eq!(timeline.length(), ms(40_000));
    let mut viewer = Viewer::new(timeline, &world.files);
    viewer.play("npt=0-", None, None);
    viewer.rest();
    let numbers: Vec<u64> = viewer.pictures().into_iter().map(|(n, _)| n).collect();
    let expected: Vec<u64> = (0..500).chain(250..750).collect();
    assert_eq!(numbers, expected);
}

#[test]
fn what_plays_behind_an_overlap_goes_on_while_what_it_overlaps_with_is_removed() {
    let world = overlapping();
    let mut viewer = Viewer::new(recordings(&world.files), &world.files);
    viewer.play("clock=20261127T025321Z-", None, None);
    viewer.wait(ms(3_000));
    let first = door().file(&world.names()[0]).expect("a name");
    ready(world.files.remove(&first)).expect("removed");
    viewer
        .player
        .handle_timeline(viewer.now, recordings(&world.files));
    viewer.rest();
    let expected: Vec<_> = (525..750).zip(0..).map(|(n, at)| (n, at * 3_600)).collect();
    assert_eq!(viewer.pictures(), expected);
    assert_eq!(viewer.events, [Event::Ended]);
    let range = Range::parse("clock=20261127T025326Z-20261127T025327Z").expect("a range");
    let play = Play {
        range: Some(range),
        ..Play::default()
    };
    assert_eq!(viewer.player.check(&play), Ok(()));
}

#[test]
fn an_end_behind_what_was_recorded_last_is_its_end_though_something_else_reaches_further() {
    let world = overlapping_by(5);
    let mut viewer = Viewer::new(recordings(&world.files), &world.files);
    let played = viewer.play("clock=20261127T025314Z-20261127T025316Z", None, None);
    assert_eq!(range_of(&played), "clock=20261127T025314Z-20261127T025315Z");
    viewer.rest();
    assert_eq!(viewer.pictures().len(), 25);
}

#[test]
fn a_pause_at_a_time_that_was_recorded_twice_is_where_playing_comes_to_it_next() {
    let world = overlapping();
    let mut viewer = Viewer::new(recordings(&world.files), &world.files);
    viewer.play("clock=20261127T025305Z-", None, None);
    viewer.wait(ms(1_000));
    let range = Range::parse("clock=20261127T025312Z-").expect("a range");
    let paused = viewer
        .player
        .pause(viewer.now, Some(&range))
        .expect("it comes there");
    assert_eq!((paused.range, paused.is_at_once), (range, false));
    viewer.rest();
    assert!(viewer.pictures().into_iter().map(|(n, _)| n).eq(125..300));
}
