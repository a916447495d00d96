//! What is recorded while its time is said to be another.

use super::*;

/// The numbers that pictures and sounds bear, of all files in the order of their names.
fn numbers(world: &World, track: usize) -> Vec<u64> {
    let number = |unit: &[u8]| {
        let octets = match track {
            0 => &unit[unit.len() - 8..],
            _ => &unit[..8],
        };
        u64::from_be_bytes(octets.try_into().expect("eight octets"))
    };
    let of = |name: &String| {
        let units = world.file(name).units(track);
        units
            .into_iter()
            .map(|(_, unit)| number(&unit))
            .collect::<Vec<_>>()
    };
    world.names().iter().flat_map(of).collect()
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn what_is_said_to_be_of_another_time_is_whole_and_has_another_file_from_the_next_key_picture_on() {
    for (before, after) in [(0, 12), (30, 0), (2, 0)] {
        for is_told_at_once in [true, false] {
            let mut world = world(CAMERA);
            world.gop = 50;
            world.wall_offset = seconds(before);
            world.play(0..3);
            // Within a group of pictures.
            world.wall_offset = seconds(after);
            if is_told_at_once {
                let last = world.video_offset.wrapping_add(74 * 3_600);
                let at = world.wall(Duration::from_millis(40) * 74);
                world.recorder.handle_time(0, last, at);
                let n = 3 * 44_100 / 1_024 - 1;
                let at = world.wall(Duration::from_nanos(n * 1_024 * 1_000_000_000 / 44_100));
                world.recorder.handle_time(1, 1_000 + n as u32 * 1_024, at);
            }
            world.play(3..8);
            world.finish();
            let case = format!("from {before} s to {after} s, at once: {is_told_at_once}");
            let names = world.names();
            assert_eq!(names.len(), 2, "{case}");
            assert!(numbers(&world, 0).into_iter().eq(0..200), "{case}");
            let sounds = numbers(&world, 1);
            assert!(
                sounds.iter().copied().eq(0..8 * 44_100 / 1_024),
                "{case}: {sounds:?}"
            );
            // Both tracks of the second file are where they belong.
            let second = world.file(&names[1]);
            assert_eq!(second.units(0).len(), 100, "{case}");
            let (in_file, unit) = &second.units(1)[0];
            let n = u64::from_be_bytes(unit[..8].try_into().expect("a number"));
            let heard_ns = (n * 1_024 * 1_000_000_000 / 44_100).cast_signed() - 4_000_000_000;
            let in_file_ns = in_file * 1_000_000_000 / 44_100;
            assert!(
                (heard_ns - in_file_ns).abs() < 1_000_000,
                "{case}: {heard_ns} {in_file_ns}"
            );
        }
    }
}

#[test]
fn files_are_called_in_the_order_in_which_they_were_written() {
    let mut world = world(CAMERA);
    world.recorder_segment(seconds(1));
    world.wall_offset = seconds(60);
    world.play(0..2);
    world.wall_offset = Duration::ZERO;
    world.play(2..5);
    world.finish();
    let began: Vec<_> = world
        .names()
        .iter()
        .map(|name| began(name).expect("a time"))
        .collect();
    let ms = Duration::from_millis;
    let expected = [60_000, 61_000, 61_001, 61_002, 61_003].map(|at| BEGAN + ms(at));
    assert_eq!(began, expected);
    assert!(numbers(&world, 0).into_iter().eq(0..125));
}

#[test]
fn sound_whose_time_is_corrected_within_a_file_is_whole() {
    for (before_ms, after_ms) in [(600, 0), (0, 600), (900, 300)] {
        let mut world = world(CAMERA);
        let mut sounds = 0;
        for picture in 0..250 {
            world.now = Instant::ZERO + Duration::from_millis(40) * picture as u32;
            world.picture(picture);
            while (sounds + 1) * 1_024 * 25 <= (picture + 1) * 44_100 {
                let offset = if picture < 75 { before_ms } else { after_ms };
                world.wall_offset = Duration::from_millis(offset);
                world.sound(sounds);
                world.wall_offset = Duration::ZERO;
                sounds += 1;
            }
        }
        world.finish();
        assert!(world.names().len() >= 2);
        assert!(numbers(&world, 0).into_iter().eq(0..250));
        let found = numbers(&world, 1);
        assert!(
            found.iter().copied().eq(0..sounds),
            "{before_ms}, {after_ms}: {found:?}"
        );
    }
}

#[test]
fn pictures_that_go_on_from_those_before_them_are_recorded_whatever_was_left_out_between() {
    // A network stands still and makes up for it, within a group of pictures; and a camera leaves out what it could not send.
    for (stands_still_s, left_out) in [(8, 0), (20, 0), (0, 100), (12, 100)] {
        let mut world = world(CAMERA);
        world.gop = 500;
        for picture in 0..200 {
            let begins = Duration::from_millis(40) * picture;
            world.now = Instant::ZERO + begins;
            if picture == 60 {
                world.wait(seconds(stands_still_s));
            }
            world.picture(picture.into());
        }
        // Timestamps and times go on; the picture's number is told by its octets.
        world.video_offset = world.video_offset.wrapping_add(left_out * 3_600);
        world.wall_offset += Duration::from_millis(40) * left_out;
        for picture in 200..600 {
            world.picture(picture);
        }
        world.finish();
        let case = format!("{stands_still_s} s, {left_out} pictures");
        assert!(numbers(&world, 0).into_iter().eq(0..600), "{case}");
        assert_eq!(world.names().len(), if left_out == 0 { 1 } else { 2 }, "{case}");
        // What was lost on the way is no part of it: nothing can be made of what follows.
        world.video_sequence = world.video_sequence.wrapping_add(3);
        world.video_offset = world.video_offset.wrapping_add(100 * 3_600);
        world.wall_offset += seconds(4);
        let before = world.recorder.recorded_fragments();
        for picture in 601..700 {
            world.picture(picture);
        }
        world.finish();
        assert_eq!(world.recorder.recorded_fragments(), before, "{case}");
    }
}

#[test]
fn files_of_another_recorder_are_called_behind_those_of_the_first() {
    let mut world = world(CAMERA);
    world.recorder.follow(BEGAN + seconds(9));
    world.play(0..2);
    world.finish();
    let began: Vec<_> = world.names().iter().map(|name| began(name)).collect();
    assert_eq!(began, [Some(BEGAN + seconds(9) + Duration::from_millis(1))]);
}
