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

/// The numbers of the pictures that are sent backwards from an instant on.
fn backwards(world: &World, from: &str) -> Vec<u64> {
    let mut viewer = Viewer::new(recordings(&world.files), &world.files);
    viewer.play(&format!("clock={from}"), Some(-1.0), None);
    viewer.rest();
    viewer.pictures().into_iter().map(|(n, _)| n).collect()
}

/// Twenty seconds, five again from the fifth on, and ten from the thirtieth on.
fn overlapping_before_a_gap() -> World {
    let mut world = world(CAMERA);
    for part in [0..20, 5..10, 30..40] {
        world.recorder.handle_gap(world.now);
        world.run();
        world.play(part);
    }
    world.finish();
    world
}

#[test]
fn backwards_from_within_a_gap_begins_with_what_happened_last_before_though_something_else_lies_behind_it() {
    let world = overlapping_before_a_gap();
    let timeline = recordings(&world.files);
    assert_eq!(
        timeline.clock_ranges(),
        [BEGAN..BEGAN + ms(20_000), BEGAN + ms(30_000)..BEGAN + ms(40_000)]
    );
    let whole: Vec<u64> = (0..20).rev().map(|n| 25 * n).collect();
    assert_eq!(backwards(&world, "20261127T025327Z-"), whole);
    // What is played goes on from there by position: of what lies behind it nothing is sent.
    let mut viewer = Viewer::new(timeline.clone(), &world.files);
    let played = viewer.play("clock=20261127T025327Z-20261127T025317Z", Some(-1.0), None);
    assert_eq!(range_of(&played), "clock=20261127T025319Z-20261127T025317Z");
    viewer.rest();
    assert_eq!(
        viewer.pictures().into_iter().map(|(n, _)| n).collect::<Vec<_>>(),
        [475, 450, 425]
    );
    // From the end, and from beyond it, which is nowhere.
    assert_eq!(backwards(&world, "20261127T025340Z-20261127T025338Z"), [975, 950]);
    let play = |range: &str| Play {
        range: Some(Range::parse(range).expect("a range")),
        scale: Some(-1.0),
        ..Play::default()
    };
    for nowhere in [
        "20261127T025341Z-",
        "20261127T025259Z-",
        "20261127T025327Z-20261127T025320Z",
    ] {
        assert_eq!(
            viewer.player.check(&play(&format!("clock={nowhere}"))),
            Err(PlayError::Empty),
            "{nowhere}"
        );
    }
}

#[test]
fn backwards_from_the_last_that_happened_is_from_what_reaches_furthest() {
    let world = overlapping_by(5);
    assert_eq!(backwards(&world, "20261127T025320Z-20261127T025318Z"), [475, 450]);
    // What goes on then is before what ends then.
    assert_eq!(
        backwards(&world, "20261127T025315Z-20261127T025313Z"),
        [375, 350, 325]
    );
    // Of what was recorded twice it is the later one.
    assert_eq!(
        backwards(&world, "20261127T025312.5Z-20261127T025311Z"),
        [300, 275]
    );
}

#[test]
fn backwards_is_begun_elsewhere_where_nothing_before_the_instant_can_be_begun_with() {
    let world = overlapping();
    // The later recording cannot be read.
    let names = world.names();
    let damaged = door().file(&names[names.len() - 1]).expect("a name");
    let timeline = recordings(&world.files);
    ready(world.files.remove(&damaged)).expect("removed");
    let mut viewer = Viewer::new(timeline, &world.files);
    viewer.play("clock=20261127T025312.5Z-20261127T025310Z", Some(-1.0), None);
    viewer.rest();
    let numbers: Vec<u64> = viewer.pictures().into_iter().map(|(n, _)| n).collect();
    assert_eq!(numbers, [300, 275, 250]);
}

#[test]
fn backwards_from_before_the_first_key_picture_of_a_later_recording_is_from_the_earlier_one() {
    let world = recorded(10);
    let name = &world.names()[0];
    let earlier = world.file(name);
    let began = BEGAN + ms(5_000);
    let (mut writer, mut later) = FileWriter::new(&earlier.index.tracks, began).expect("a header");
    // Sound from its beginning on, and pictures a second later.
    let sounds = (0..86).map(|n| (1_024 * n, vec![7; 50]));
    let pictures =
        (1_000..1_003).map(|n: u64| (90_000 * (n - 999), [&[0x65, 0x88], &n.to_be_bytes()[..]].concat()));
    let run = |track, samples: Vec<(u64, Vec<u8>)>, end| {
        let sample = |(time, octets): (u64, Vec<u8>)| Sample {
            time,
            is_key: true,
            parts: vec![octets.into()],
        };
        let samples = samples.into_iter().map(sample).collect();
        Run { track, samples, end }
    };
    let runs = [
        run(1, sounds.collect(), Some(1_024 * 86)),
        run(0, pictures.collect(), Some(90_000 * 4)),
    ];
    later.extend(writer.fragment(began, &runs));
    let files = files_of(&[
        (name, &earlier.octets),
        (&crate::recording::file_name(began), &later),
    ]);
    let backwards = |from: &str| {
        let mut viewer = Viewer::new(recordings(&files), &files);
        viewer.play(from, Some(-1.0), None);
        viewer.rest();
        let numbers = viewer.pictures().into_iter().map(|(n, _)| n);
        numbers.take(2).collect::<Vec<_>>()
    };
    assert_eq!(backwards("clock=20261127T025307.5Z-"), [1_001, 1_000]);
    assert_eq!(backwards("clock=20261127T025305.5Z-"), [125, 100]);
    // By position all of the earlier one comes before.
    assert_eq!(backwards("npt=10.5-"), [225, 200]);
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

/// What is left of a PLAY that waits when a PAUSE with a range comes.
fn cut(player: &Player, waiting: &str, scale: Option<f64>, pause: &str) -> Option<String> {
    let range = |text: &str| Range::parse(text).expect("a range");
    let waiting = Play {
        range: Some(range(waiting)),
        scale,
        ..Play::default()
    };
    player.cut(&waiting, &range(pause)).map(|cut| cut.to_string())
}

#[test]
fn what_waits_is_cut_where_it_comes_first_to_a_time_that_was_recorded_twice() {
    let world = overlapping();
    let player = Viewer::new(recordings(&world.files), &world.files).player;
    let clock = |second: &str| format!("clock=20261127T0253{second}Z-");
    for (waiting, scale, pause, expected) in [
        ("npt=5-", None, clock("12"), Some("npt=5.000-12.000")),
        ("npt=15-", None, clock("12"), Some("npt=15.000-22.000")),
        ("npt=15-21", None, clock("12"), None),
        ("npt=25-", None, clock("12"), None),
        ("npt=5-", None, clock("26"), Some("npt=5.000-36.000")),
        ("npt=5-", None, clock("31"), None),
        ("npt=5-", None, "npt=22-".into(), Some("npt=5.000-22.000")),
        (
            "clock=20261127T025305Z-",
            None,
            clock("12"),
            Some("clock=20261127T025305Z-20261127T025312Z"),
        ),
        (
            "clock=20261127T025312Z-",
            None,
            clock("15"),
            Some("clock=20261127T025312Z-20261127T025315Z"),
        ),
        ("clock=20261127T025305Z-20261127T025311Z", None, clock("12"), None),
        // Backwards.
        ("npt=35-", Some(-1.0), clock("12"), Some("npt=35.000-22.000")),
        ("npt=21-", Some(-1.0), clock("12"), Some("npt=21.000-12.000")),
        ("npt=35-23", Some(-1.0), clock("12"), None),
        ("npt=35-", Some(-1.0), clock("26"), None),
    ] {
        let found = cut(&player, waiting, scale, &pause);
        assert_eq!(found.as_deref(), expected, "{waiting} at {pause}");
    }
}

#[test]
fn what_waits_is_cut_within_a_gap_and_where_its_time_goes_back() {
    let world = overlapping_before_a_gap();
    let player = Viewer::new(recordings(&world.files), &world.files).player;
    for (waiting, scale, second, expected) in [
        // Nothing was recorded then.
        ("npt=22-", None, "27", Some("npt=22.000-27.000")),
        ("npt=35-", Some(-1.0), "27", Some("npt=35.000-30.000")),
        (
            "clock=20261127T025325Z-",
            None,
            "27",
            Some("clock=20261127T025325Z-20261127T025327Z"),
        ),
        // By the clock it would end before it begins.
        ("clock=20261127T025312Z-", None, "07", Some("npt=12.000-22.000")),
    ] {
        let pause = format!("clock=20261127T0253{second}Z-");
        let found = cut(&player, waiting, scale, &pause);
        assert_eq!(found.as_deref(), expected, "{waiting} at {second}");
    }
}
