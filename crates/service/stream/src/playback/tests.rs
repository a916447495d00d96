mod described;
mod ends;
mod joins;
mod overlap;

use super::*;
use crate::file::{FileTrack, FileWriter, Format, Run, Sample};
use crate::recording::tests::{BEGAN, CAMERA, World, ready, world};
use crate::recording::{Recorder, Settings, write_out};
use bytes::Bytes;
use ringpost_base::{Instant, Rng, UnixTime};
use ringpost_rtp::payload::{self, AccessUnit, Depacketizer};
use ringpost_rtp::{Header, Packet};
use ringpost_rtsp::header::Range;
use ringpost_rtsp::server::Played;
use ringpost_store::{FileCommand, FileInfo, FileName, Files, FolderName, MemoryFiles};
use std::time::Duration;

/// As ffmpeg writes H.264 with B-frames and AAC in one piece.
const WHOLE: &[u8] = include_bytes!("../file/fixtures/whole.mp4");

fn door() -> FolderName {
    "door".parse().expect("a folder")
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Reads what a catalog wants of the files in the folder.
fn read_all(catalog: &mut Catalog, files: &MemoryFiles) -> Vec<MediaError> {
    let mut errors = Vec::new();
    catalog.handle_list(ready(files.list(&door())).expect("a list"));
    loop {
        match catalog.poll_output() {
            CatalogOutput::Read { file, range } => {
                assert!(range.end - range.start <= 64 * 1024, "{range:?}");
                catalog.handle_data(read(files, &file, range));
            }
            CatalogOutput::Damaged { error, .. } => errors.push(error),
            CatalogOutput::Ready => return errors,
        }
    }
}

fn read(files: &MemoryFiles, file: &FileName, range: std::ops::Range<u64>) -> Bytes {
    ready(files.read(file, range))
        .expect("octets")
        .unwrap_or_default()
}

fn recordings(files: &MemoryFiles) -> Timeline {
    let mut catalog = Catalog::recordings();
    assert_eq!(read_all(&mut catalog, files), []);
    catalog.timeline().expect("recordings")
}

fn files_of(files: &[(&str, &[u8])]) -> MemoryFiles {
    let memory = MemoryFiles::new(|| BEGAN);
    let mut writer = memory.writer();
    for (name, octets) in files {
        let name = door().file(name).expect("a name");
        writer.submit(FileCommand::Create(name)).expect("taken");
        writer
            .submit(FileCommand::Append(Bytes::copy_from_slice(octets)))
            .expect("taken");
    }
    memory
}

fn playlist(files: &MemoryFiles) -> Timeline {
    let mut catalog = Catalog::playlist();
    assert_eq!(read_all(&mut catalog, files), []);
    catalog.timeline().expect("files")
}

/// A session, and what it was sent.
struct Viewer {
    player: Player,
    files: MemoryFiles,
    now: Instant,
    deadline: Option<Instant>,
    packets: Vec<(Instant, usize, Header, Vec<u8>)>,
    events: Vec<Event>,
    refreshes: usize,
    /// What is read comes late.
    is_slow: bool,
    read: Option<(ReadId, Bytes)>,
}

impl Viewer {
    fn new(timeline: Timeline, files: &MemoryFiles) -> Self {
        Viewer {
            player: Player::new(timeline, &mut Rng::from_number(5)),
            files: files.clone(),
            now: Instant::ZERO + ms(1_000),
            deadline: None,
            packets: Vec::new(),
            events: Vec::new(),
            refreshes: 0,
            is_slow: false,
            read: None,
        }
    }

    fn drain(&mut self) {
        loop {
            match self.player.poll_output() {
                Output::Packet { track, bytes } => {
                    assert!(bytes.len() <= 1_400);
                    let packet = Packet::parse(&bytes).expect("a packet");
                    let at = (self.now, track, packet.header(), packet.payload().to_vec());
                    self.packets.push(at);
                }
                Output::Read { id, file, range } => {
                    assert!(range.end - range.start <= 9_000_000, "{range:?}");
                    let octets = read(&self.files, &file, range);
                    match self.is_slow {
                        true => self.read = Some((id, octets)),
                        false => self.player.handle_data(self.now, id, octets),
                    }
                }
                Output::Refresh => {
                    self.refreshes += 1;
                    let timeline = recordings(&self.files);
                    self.player.handle_timeline(self.now, timeline);
                }
                Output::Event(event) => self.events.push(event),
                Output::Timeout(deadline) => {
                    self.deadline = deadline;
                    return;
                }
            }
        }
    }

    fn play(&mut self, range: &str, scale: Option<f64>, speed: Option<f64>) -> Played {
        let range = (!range.is_empty()).then(|| Range::parse(range).expect("a range"));
        let play = Play {
            range,
            scale,
            speed,
            starts: None,
        };
        self.player.play(self.now, play);
        self.drain();
        // A gap that comes soon, or the end, is told behind it.
        let is_answer = |event: &Event| matches!(event, Event::Played(_));
        if let Some(answer) = self.events.iter().rposition(is_answer) {
            self.events[answer..].rotate_left(1);
        }
        match self.events.pop() {
            Some(Event::Played(played)) => played,
            other => panic!("{other:?}"),
        }
    }

    /// What was to be read is there, and what will be comes at once.
    fn catch_up(&mut self) {
        self.is_slow = false;
        if let Some((id, octets)) = self.read.take() {
            self.player.handle_data(self.now, id, octets);
        }
        self.drain();
    }

    /// Asks for what goes on, whenever that is answered. Says whether something else is played.
    fn go_on(&mut self) -> bool {
        let is_anew = self.player.play(self.now, Play::default());
        self.drain();
        is_anew
    }

    fn refused(&mut self, range: &str) -> PlayError {
        let range = Some(Range::parse(range).expect("a range"));
        self.player.play(
            self.now,
            Play {
                range,
                ..Play::default()
            },
        );
        self.drain();
        match self.events.pop() {
            Some(Event::Refused(error)) => error,
            other => panic!("{other:?}"),
        }
    }

    fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        let mut rounds = 0;
        while let Some(deadline) = self.deadline.filter(|deadline| *deadline <= until) {
            rounds += 1;
            assert!(rounds < 1_000_000, "it goes round in circles");
            self.now = self.now.max(deadline);
            self.player.handle_timeout(self.now);
            self.drain();
        }
        self.now = until;
        self.player.handle_timeout(self.now);
        self.drain();
    }

    /// Plays to the end.
    fn rest(&mut self) {
        let mut rounds = 0;
        while let Some(deadline) = self.deadline {
            rounds += 1;
            assert!(rounds < 1_000_000, "it goes round in circles");
            self.now = self.now.max(deadline);
            self.player.handle_timeout(self.now);
            self.drain();
        }
    }

    fn of_track(&self, track: usize) -> Vec<&(Instant, usize, Header, Vec<u8>)> {
        self.packets.iter().filter(|(_, of, ..)| *of == track).collect()
    }

    /// The access units that who receives the packets puts together.
    fn units(&self, track: usize, format: payload::Format) -> Vec<AccessUnit> {
        let mut depacketizer = Depacketizer::new(format);
        let mut units = Vec::new();
        for (_, _, header, payload) in self.of_track(track) {
            depacketizer.handle(header.sequence, header.timestamp, header.marker, payload);
            units.extend(std::iter::from_fn(|| depacketizer.poll()));
        }
        depacketizer.end();
        units.extend(std::iter::from_fn(|| depacketizer.poll()));
        units
    }

    /// The numbers that the pictures bear (see [`World::picture`]), with their timestamps since the first.
    fn pictures(&self) -> Vec<(u64, u32)> {
        let units = self.units(0, payload::Format::H264);
        let first = units.first().map_or(0, |unit| unit.timestamp);
        let number = |unit: &AccessUnit| {
            let slice = unit.pieces.last().expect("a slice");
            u64::from_be_bytes(slice[2..10].try_into().expect("a number"))
        };
        units
            .iter()
            .map(|unit| (number(unit), unit.timestamp.wrapping_sub(first)))
            .collect()
    }
}

fn recorded(seconds: u64) -> World {
    let mut world = world(CAMERA);
    world.recorder_segment(ms(600_000));
    world.play(0..seconds);
    world.finish();
    world
}

fn range_of(played: &Played) -> String {
    played.range.expect("a range").to_string()
}

#[test]
fn what_was_recorded_is_played_unit_for_unit_at_its_time() {
    let world = recorded(7);
    let mut viewer = Viewer::new(recordings(&world.files), &world.files);
    let played = viewer.play("npt=0-", None, None);
    assert_eq!(range_of(&played), "npt=0.000-7.000");
    assert_eq!((played.scale, played.speed), (None, None));
    viewer.rest();
    assert_eq!(viewer.events, [Event::Ended]);
    let aac = payload::Format::Aac(payload::AacHeaders::HIGH_BIT_RATE);
    for (track, format) in [(0, payload::Format::H264), (1, aac)] {
        let sent: Vec<_> = world.sent.iter().filter(|(of, ..)| *of == track).collect();
        let units = viewer.units(track, format);
        assert_eq!(units.len(), sent.len(), "track {track}");
        let first = units[0].timestamp;
        for ((_, timestamp, octets), unit) in sent.iter().zip(&units) {
            assert!(*octets == unit.pieces.concat(), "track {track} at {timestamp}");
            let since = timestamp.wrapping_sub(sent[0].1);
            assert!(
                unit.timestamp.wrapping_sub(first).abs_diff(since) <= 1,
                "track {track} at {since}"
            );
        }
        // RTP-Info says with which packet it begins, and what its time is.
        let (_, sequence, timestamp) = played.begins[track];
        let (at, _, header, _) = viewer.of_track(track)[0];
        assert_eq!((header.sequence, header.timestamp), (sequence, timestamp));
        assert_eq!(*at, Instant::ZERO + ms(1_000));
        assert_eq!(Some(header.ssrc), viewer.player.ssrc(track));
        let sequences = viewer
            .of_track(track)
            .into_iter()
            .map(|(_, _, header, _)| header.sequence);
        assert!(
            sequences
                .zip(0..)
                .all(|(found, n)| found == sequence.wrapping_add(n))
        );
    }
    // Picture n is due 40 ms × n after the first.
    for (at, _, header, _) in viewer.of_track(0) {
        let since = header.timestamp.wrapping_sub(played.begins[0].2);
        assert_eq!(at.since(Instant::ZERO + ms(1_000)), ms(u64::from(since) / 90));
    }
    assert_eq!(viewer.now, Instant::ZERO + ms(8_000));
}

#[test]
fn a_seek_lands_on_the_key_frame_before_in_every_unit() {
    let world = recorded(20);
    let timeline = recordings(&world.files);
    for (asked, told, first) in [
        ("npt=3.7-5", "npt=3.000-5.000", 75),
        ("npt=4-5", "npt=4.000-5.000", 100),
        ("npt=0:00:18.999-", "npt=18.000-20.000", 450),
        (
            "clock=20261127T025307.5Z-20261127T025309Z",
            "clock=20261127T025307Z-20261127T025309Z",
            175,
        ),
        // Before anything was recorded.
        (
            "clock=20261127T000000Z-20261127T025301Z",
            "clock=20261127T025300Z-20261127T025301Z",
            0,
        ),
        ("smpte-25=00:00:09:24-", "smpte-25=00:00:09-00:00:20", 225),
        ("smpte=00:00:05:00-", "smpte=00:00:04:29.85-00:00:19:29.40", 125),
    ] {
        let mut viewer = Viewer::new(timeline.clone(), &world.files);
        let played = viewer.play(asked, None, None);
        assert_eq!(range_of(&played), told, "{asked}");
        viewer.rest();
        let pictures = viewer.pictures();
        assert_eq!(pictures[0], (first, 0), "{asked}");
        let expected = if asked.starts_with("npt=3.7") {
            50
        } else {
            pictures.len() as u64
        };
        assert_eq!(pictures.len() as u64, expected);
        assert!(
            pictures
                .windows(2)
                .all(|two| two[1].0 == two[0].0 + 1 && two[1].1 == two[0].1 + 3_600)
        );
        // Sound begins with the first that is heard from there on.
        let (_, _, first_sound, _) = viewer.of_track(1)[0];
        assert!(first_sound.marker);
        let after = first_sound.timestamp.wrapping_sub(played.begins[1].2);
        assert!(after < 1_024, "{asked}: {after}");
    }
}

#[test]
fn what_lies_behind_the_end_or_cannot_be_told_is_refused() {
    let world = recorded(3);
    let mut viewer = Viewer::new(recordings(&world.files), &world.files);
    assert_eq!(viewer.refused("npt=3-"), PlayError::Empty);
    assert_eq!(viewer.refused("clock=20261127T025303Z-"), PlayError::Empty);
    for nothing in [
        "npt=2-1",
        "npt=2-2",
        "clock=20200101T000000Z-20200101T000100Z",
        "clock=20300101T000000Z-",
    ] {
        assert_eq!(viewer.refused(nothing), PlayError::Empty, "{nothing}");
    }
    viewer.play("npt=0-2", None, None);
    viewer.rest();
    assert_eq!(viewer.events.pop(), Some(Event::Ended));
    assert_eq!(viewer.refused("npt=-1"), PlayError::Empty, "it goes on at 2");
    assert_eq!(viewer.pictures().len(), 50);
    let files = files_of(&[("a.mp4", WHOLE)]);
    let mut viewer = Viewer::new(playlist(&files), &files);
    assert_eq!(viewer.refused("clock=20261127T025303Z-"), PlayError::NoClock);
    viewer.play("npt=0-", None, None);
}

#[test]
fn a_scale_of_two_sends_all_pictures_and_no_sound() {
    let world = recorded(6);
    let mut viewer = Viewer::new(recordings(&world.files), &world.files);
    let played = viewer.play("npt=2-", Some(2.0), None);
    assert_eq!(
        (range_of(&played).as_str(), played.scale),
        ("npt=2.000-6.000", Some(2.0))
    );
    let began = viewer.now;
    viewer.rest();
    assert!(viewer.of_track(1).is_empty());
    let expected: Vec<_> = (50..150).map(|n| (n, (n as u32 - 50) * 1_800)).collect();
    assert_eq!(viewer.pictures(), expected);
    assert_eq!(viewer.now.since(began), ms(2_000));
}

#[test]
fn a_scale_of_four_sends_key_frames() {
    let world = recorded(9);
    let mut viewer = Viewer::new(recordings(&world.files), &world.files);
    let played = viewer.play("npt=1.5-", Some(4.0), None);
    assert_eq!(
        (range_of(&played).as_str(), played.scale),
        ("npt=1.000-9.000", Some(4.0))
    );
    viewer.rest();
    let expected: Vec<_> = (1..9).map(|n| (n * 25, (n as u32 - 1) * 22_500)).collect();
    assert_eq!(viewer.pictures(), expected);
    assert_eq!(viewer.events, [Event::Ended]);
}

#[test]
fn key_frames_are_no_more_than_25_a_second() {
    let mut world = world(CAMERA);
    world.gop = 1;
    world.play(0..10);
    world.finish();
    let mut viewer = Viewer::new(recordings(&world.files), &world.files);
    viewer.play("npt=0-", Some(8.0), None);
    viewer.rest();
    let expected: Vec<_> = (0..32).map(|n| (n * 8, n as u32 * 3_600)).collect();
    assert_eq!(viewer.pictures(), expected);
}

#[test]
fn backwards_key_frames_come_in_their_order_over_files() {
    let mut world = world(CAMERA);
    world.recorder_segment(ms(3_500));
    world.play(0..9);
    world.finish();
    assert_eq!(world.names().len(), 3);
    let mut viewer = Viewer::new(recordings(&world.files), &world.files);
    let played = viewer.play("npt=7.3-", Some(-1.0), None);
    assert_eq!(
        (range_of(&played).as_str(), played.scale),
        ("npt=7.000-0.000", Some(-1.0))
    );
    viewer.rest();
    let expected: Vec<_> = (0..8).map(|n| ((7 - n) * 25, n as u32 * 90_000)).collect();
    assert_eq!(viewer.pictures(), expected);
    assert_eq!(viewer.events, [Event::Ended]);
    // Without a range it begins at the end; and an end is one.
    let mut viewer = Viewer::new(recordings(&world.files), &world.files);
    viewer.play("", Some(-2.0), None);
    viewer.rest();
    assert_eq!(viewer.pictures()[0].0, 200);
    let mut viewer = Viewer::new(recordings(&world.files), &world.files);
    let played = viewer.play("npt=7-4.5", Some(-1.0), None);
    assert_eq!(range_of(&played), "npt=7.000-4.500");
    viewer.rest();
    let numbers: Vec<u64> = viewer.pictures().iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, [175, 150, 125]);
}

#[test]
fn a_speed_changes_when_packets_are_sent_and_nothing_else() {
    let world = recorded(5);
    let mut usual = Viewer::new(recordings(&world.files), &world.files);
    usual.play("npt=0-", None, None);
    usual.rest();
    let mut fast = Viewer::new(recordings(&world.files), &world.files);
    let played = fast.play("npt=0-", None, Some(2.5));
    assert_eq!(played.speed, Some(2.5));
    fast.rest();
    assert_eq!(fast.now, Instant::ZERO + ms(3_000));
    let told = |viewer: &Viewer| -> Vec<_> {
        let packets = viewer.packets.iter();
        packets
            .map(|(_, track, header, payload)| (*track, *header, payload.clone()))
            .collect()
    };
    assert!(told(&usual) == told(&fast));
}

#[test]
fn a_pause_loses_nothing_and_timestamps_pass_with_the_clock() {
    let world = recorded(6);
    let mut viewer = Viewer::new(recordings(&world.files), &world.files);
    viewer.play("npt=0-", None, None);
    viewer.wait(ms(2_100));
    let before = viewer.packets.len();
    let paused = viewer.player.pause(viewer.now, None).expect("paused");
    assert!(paused.is_at_once);
    viewer.drain();
    assert_eq!(viewer.deadline, None);
    viewer.wait(ms(5_000));
    assert_eq!(viewer.packets.len(), before);
    let played = viewer.play("", None, None);
    viewer.rest();
    let pictures = viewer.pictures();
    assert_eq!(pictures.len(), 150);
    let jumps: Vec<u32> = pictures.windows(2).map(|two| two[1].1 - two[0].1).collect();
    assert_eq!(
        jumps.iter().filter(|jump| **jump != 3_600).collect::<Vec<_>>(),
        [&(3_600 + 450_000)]
    );
    // What was answered is what came.
    for (track, sequence, _) in played.begins {
        let found = viewer
            .of_track(track)
            .into_iter()
            .find(|(_, _, header, _)| header.sequence == sequence);
        let (at, ..) = found.expect("the packet that was told");
        assert!(at.since(Instant::ZERO + ms(8_100)) <= ms(40), "{at:?}");
    }
    assert_eq!(viewer.now, Instant::ZERO + ms(12_000));
}

#[test]
fn a_pause_at_a_point_comes_there_and_goes_on_from_it() {
    let world = recorded(6);
    let mut viewer = Viewer::new(recordings(&world.files), &world.files);
    viewer.play("npt=0-", None, None);
    viewer.wait(ms(1_000));
    let point = Range::parse("npt=3-").expect("a range");
    let paused = viewer.player.pause(viewer.now, Some(&point)).expect("paused");
    assert_eq!(
        (paused.range.to_string().as_str(), paused.is_at_once),
        ("npt=3.000-", false)
    );
    viewer.drain();
    viewer.rest();
    assert_eq!(viewer.events, [Event::Ended]);
    assert_eq!(viewer.now, Instant::ZERO + ms(4_000));
    assert_eq!(viewer.pictures().len(), 75);
    let played = viewer.play("", None, None);
    assert_eq!(range_of(&played), "npt=3.000-6.000");
    viewer.rest();
    assert_eq!(viewer.pictures().len(), 150);
}

// RFC 2326 appendix B: 10 to 15, then 18 to 20, and RTP knows nothing of it.
#[test]
fn numbers_and_timestamps_go_on_over_jumps() {
    let world = recorded(20);
    let mut viewer = Viewer::new(recordings(&world.files), &world.files);
    viewer.play("npt=10-15", None, None);
    viewer.rest();
    assert_eq!(viewer.events.pop(), Some(Event::Ended));
    let played = viewer.play("npt=18-20", None, None);
    viewer.rest();
    let pictures = viewer.pictures();
    let expected: Vec<_> = (250..375)
        .chain(450..500)
        .zip(0..)
        .map(|(n, at)| (n, at * 3_600))
        .collect();
    assert_eq!(pictures, expected);
    let first = viewer.of_track(0)[0].2.timestamp;
    assert_eq!(played.begins[0].2.wrapping_sub(first), 125 * 3_600);
    // And so in the middle of playing.
    viewer.play("npt=2-", None, None);
    viewer.wait(ms(1_490));
    viewer.play("npt=12-13", None, None);
    viewer.rest();
    let pictures = viewer.pictures();
    assert_eq!(pictures.last().expect("a picture").0, 324);
    let steps = pictures.windows(2).map(|two| two[1].1 - two[0].1);
    assert!(steps.into_iter().all(|step| (1..=2 * 3_600).contains(&step)));
}

#[test]
fn a_play_without_a_range_while_it_plays_changes_nothing() {
    let world = recorded(5);
    let mut viewer = Viewer::new(recordings(&world.files), &world.files);
    viewer.play("npt=0-", None, None);
    viewer.wait(ms(1_000));
    let played = viewer.play("", None, None);
    assert!(range_of(&played).starts_with("npt=1.0"), "{}", range_of(&played));
    viewer.rest();
    assert_eq!(viewer.pictures().len(), 125);
    // Another scale begins where it is.
    let mut viewer = Viewer::new(recordings(&world.files), &world.files);
    viewer.play("npt=0-", None, None);
    viewer.wait(ms(2_500));
    let played = viewer.play("", Some(-1.0), None);
    assert_eq!(range_of(&played), "npt=2.000-0.000");
}

#[test]
fn what_plays_goes_on_after_a_range_that_is_refused() {
    let world = recorded(5);
    let mut viewer = Viewer::new(recordings(&world.files), &world.files);
    viewer.play("npt=0-", None, None);
    viewer.wait(ms(1_000));
    assert_eq!(viewer.refused("npt=9-"), PlayError::Empty);
    viewer.rest();
    let expected: Vec<_> = (0..125).map(|n| (n, n as u32 * 3_600)).collect();
    assert_eq!(viewer.pictures(), expected);
}

// RFC 2326 §10.6: what nothing that plays comes to is no point to pause at; what has passed stops at once, and goes on from there.
#[test]
fn a_pause_is_in_what_plays_and_may_have_passed() {
    let world = recorded(12);
    let mut viewer = Viewer::new(recordings(&world.files), &world.files);
    viewer.play("npt=6-10", None, None);
    viewer.wait(ms(1_500));
    let range = |text| Range::parse(text).expect("a range");
    for outside in ["npt=1-", "npt=11-"] {
        let refused = viewer.player.pause(viewer.now, Some(&range(outside)));
        assert_eq!(refused, Err(PlayError::NotPlayed), "{outside}");
    }
    assert!(viewer.player.is_playing());
    let paused = viewer
        .player
        .pause(viewer.now, Some(&range("npt=7-")))
        .expect("paused");
    assert!(paused.is_at_once && !viewer.player.is_playing());
    assert_eq!(range_of(&viewer.play("", None, None)), "npt=7.000-12.000");
}

#[test]
fn a_scale_holds_until_something_is_played_anew() {
    let world = recorded(20);
    let mut viewer = Viewer::new(recordings(&world.files), &world.files);
    viewer.play("npt=0-8", Some(4.0), None);
    viewer.wait(ms(500));
    viewer.player.pause(viewer.now, None).expect("paused");
    assert_eq!(viewer.play("", None, None).scale, Some(4.0), "after a pause");
    viewer.rest();
    assert_eq!(viewer.events.pop(), Some(Event::Ended));
    // The end of a range is a pause (RFC 2326 §10.5).
    let played = viewer.play("", None, None);
    assert_eq!(
        (range_of(&played).as_str(), played.scale),
        ("npt=8.000-20.000", Some(4.0))
    );
    // Another range is played as usual, unless it says otherwise.
    assert_eq!(viewer.play("npt=3-4", None, None).scale, None);
    assert_eq!(viewer.play("npt=3-", Some(2.0), None).scale, Some(2.0));
    viewer.rest();
    // So is all of it from the beginning, behind its end.
    viewer.events.clear();
    assert_eq!(viewer.play("", None, None).scale, None);
}

#[test]
fn a_file_with_other_tracks_than_the_first_is_left_out_of_a_list_and_told_once() {
    let (second, half) = (wav(7, 8, 1, 8_000, &[7; 8_000]), wav(7, 8, 1, 8_000, &[9; 4_000]));
    let other = wav(1, 16, 1, 16_000, &[0; 32_000]);
    let files = files_of(&[
        ("a.wav", &second),
        ("b.wav", &other),
        ("c.wav", &half),
        ("d.mp4", WHOLE),
    ]);
    let mut catalog = Catalog::playlist();
    let told = read_all(&mut catalog, &files);
    let told: Vec<_> = told.iter().map(MediaError::to_string).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told.contains(&"expected PCMU/8000, as the first file has, found L16/16000".to_owned()),
        "{told:?}"
    );
    assert_eq!(read_all(&mut catalog, &files), [], "once");
    let timeline = catalog.timeline().expect("files");
    assert_eq!(timeline.length(), ms(1_500));
    let mut viewer = Viewer::new(timeline, &files);
    assert_eq!(range_of(&viewer.play("npt=1.2-", None, None)), "npt=1.200-1.500");
    viewer.rest();
    assert_eq!(viewer.of_track(0).len(), 15);
    assert_eq!(viewer.refused("npt=1.5-"), PlayError::Empty);
}

#[test]
fn a_gap_is_told_and_passed_over() {
    let mut world = world(CAMERA);
    world.play(0..5);
    world.wait(ms(60_000));
    world.play(100..104);
    world.finish();
    let timeline = recordings(&world.files);
    assert_eq!(timeline.ranges(), [ms(0)..ms(5_000), ms(100_000)..ms(104_000)]);
    let clock = timeline.clock_ranges();
    assert_eq!(clock[1], BEGAN + ms(100_000)..BEGAN + ms(104_000));
    let mut viewer = Viewer::new(timeline.clone(), &world.files);
    let played = viewer.play("clock=20261127T025303Z-", None, None);
    assert_eq!(
        range_of(&played),
        "clock=20261127T025303Z-20261127T025444Z",
        "all that is played, over the gap"
    );
    viewer.rest();
    let [Event::Jumped(jumped), Event::Ended] = &viewer.events[..] else {
        panic!("{:?}", viewer.events)
    };
    assert_eq!(range_of(jumped), "clock=20261127T025440Z-20261127T025444Z");
    let expected: Vec<_> = (75..125)
        .chain(2_500..2_600)
        .zip(0..)
        .map(|(n, at)| (n, at * 3_600))
        .collect();
    assert_eq!(viewer.pictures(), expected);
    let found = viewer
        .of_track(0)
        .into_iter()
        .find(|(_, _, header, _)| header.sequence == jumped.begins[0].1);
    assert_eq!(
        found.expect("the packet that was told").2.timestamp,
        jumped.begins[0].2
    );
    let sound = viewer
        .of_track(1)
        .into_iter()
        .find(|(_, _, header, _)| header.sequence == jumped.begins[1].1);
    assert!(sound.expect("the packet that was told").2.marker);
    assert_eq!(viewer.now, Instant::ZERO + ms(7_000));
    // Nothing is within the gap.
    assert_eq!(viewer.refused("npt=20-60"), PlayError::Empty);
    // A seek into the gap goes behind it, and backwards before it.
    let mut viewer = Viewer::new(timeline.clone(), &world.files);
    assert_eq!(
        range_of(&viewer.play("npt=50-", None, None)),
        "npt=100.000-104.000"
    );
    let mut viewer = Viewer::new(timeline, &world.files);
    assert_eq!(
        range_of(&viewer.play("npt=50-", Some(-1.0), None)),
        "npt=4.000-0.000"
    );
}

#[test]
fn pictures_that_go_on_behind_a_gap_in_their_file_are_played_and_the_gap_is_told() {
    let mut world = world(CAMERA);
    world.gop = 500;
    world.play(0..4);
    // The camera leaves out four seconds that it could not send.
    world.video_offset = world.video_offset.wrapping_add(100 * 3_600);
    world.wall_offset = ms(4_000);
    for picture in 100..200 {
        world.picture(picture);
    }
    world.finish();
    assert_eq!(world.names().len(), 1);
    let timeline = recordings(&world.files);
    assert_eq!(timeline.ranges(), [ms(0)..ms(4_000), ms(8_000)..ms(12_000)]);
    let mut viewer = Viewer::new(timeline.clone(), &world.files);
    viewer.play("npt=0-", None, None);
    viewer.rest();
    let [Event::Jumped(jumped), Event::Ended] = &viewer.events[..] else {
        panic!("{:?}", viewer.events)
    };
    assert_eq!(range_of(jumped), "npt=8.000-12.000");
    assert!(viewer.pictures().into_iter().map(|(n, _)| n).eq(0..200));
    // Nothing behind it can be begun with.
    let mut viewer = Viewer::new(timeline, &world.files);
    assert_eq!(viewer.refused("npt=9-"), PlayError::Nothing);
}

#[test]
fn recordings_in_many_files_play_as_one() {
    let mut world = world(CAMERA);
    world.recorder_segment(ms(2_500));
    world.play(0..12);
    world.finish();
    assert_eq!(world.names().len(), 4);
    let timeline = recordings(&world.files);
    assert_eq!(timeline.ranges(), [ms(0)..ms(12_000)]);
    let mut viewer = Viewer::new(timeline, &world.files);
    viewer.play("npt=0-", None, None);
    viewer.rest();
    assert_eq!(viewer.events, [Event::Ended]);
    let expected: Vec<_> = (0..300).map(|n| (n, n as u32 * 3_600)).collect();
    assert_eq!(viewer.pictures(), expected);
    let sounds = world.sent.iter().filter(|(track, ..)| *track == 1).count();
    assert_eq!(viewer.of_track(1).len(), sounds);
}

#[test]
fn what_is_being_recorded_is_followed() {
    let mut world = world(CAMERA);
    world.play(0..6);
    let timeline = recordings(&world.files);
    assert!(timeline.is_open());
    let mut viewer = Viewer::new(timeline, &world.files);
    let played = viewer.play("npt=3-", None, None);
    assert_eq!(range_of(&played), "npt=3.000-");
    for second in 6..15 {
        world.play(second..second + 1);
        viewer.wait(ms(1_000));
    }
    world.finish();
    viewer.wait(ms(20_000));
    assert!(viewer.refreshes > 3);
    assert_eq!(viewer.events.last(), Some(&Event::Ended));
    let numbers: Vec<u64> = viewer.pictures().iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (75..375).collect::<Vec<u64>>());
}

#[test]
fn a_loss_of_power_at_any_octet_plays_up_to_the_last_whole_fragment() {
    let world = recorded(4);
    let name = door().file(&world.names()[0]).expect("a name");
    let octets = read(&world.files, &name, 0..u64::MAX);
    let mut last = 0;
    for length in (0..=octets.len()).step_by(61).chain([octets.len()]) {
        let files = files_of(&[(name.name(), &octets[..length])]);
        let mut catalog = Catalog::recordings();
        read_all(&mut catalog, &files);
        let Ok(timeline) = catalog.timeline() else {
            assert!(last == 0, "cut off at {length}");
            continue;
        };
        let mut viewer = Viewer::new(timeline.clone(), &files);
        viewer.play("npt=0-", None, None);
        viewer.wait(ms(4_000));
        let pictures = viewer.pictures().len();
        assert_eq!(pictures % 25, 0, "cut off at {length}");
        assert!(pictures >= last);
        assert!(timeline.length().abs_diff(ms(pictures as u64 * 40)) < ms(30));
        last = pictures;
    }
    assert_eq!(last, 100);
    // A tail of nothing, as a file system leaves it.
    let torn = [&octets[..], &[0; 5_000]].concat();
    let files = files_of(&[(name.name(), &torn)]);
    let mut catalog = Catalog::recordings();
    assert_eq!(read_all(&mut catalog, &files).len(), 1, "it is told");
    let mut viewer = Viewer::new(catalog.timeline().expect("fragments"), &files);
    viewer.play("npt=0-", None, None);
    viewer.wait(ms(5_000));
    assert_eq!(viewer.pictures().len(), 100);
}

#[test]
fn files_of_others_play_in_the_order_of_decoding() {
    let files = files_of(&[("a.mp4", WHOLE), ("b.mp4", WHOLE)]);
    let timeline = playlist(&files);
    let told = timeline.description("Films");
    assert_eq!(told.tracks.len(), 2);
    assert_eq!(
        (
            told.tracks[0].codec().name.as_ref(),
            told.tracks[0].codec().clock_rate_hz
        ),
        ("H264", 90_000)
    );
    assert_eq!(
        (
            told.tracks[1].codec().name.as_ref(),
            told.tracks[1].codec().payload_type
        ),
        ("MPEG4-GENERIC", 97)
    );
    let mut viewer = Viewer::new(timeline, &files);
    viewer.play("npt=0-", None, None);
    viewer.rest();
    assert_eq!(viewer.events, [Event::Ended]);
    let units = viewer.units(0, payload::Format::H264);
    assert_eq!(units.len(), 20);
    let first = units[0].timestamp;
    let shown: Vec<i32> = units[..10]
        .iter()
        .map(|unit| unit.timestamp.wrapping_sub(first) as i32)
        .collect();
    // 512 of 12,800 Hz are 3,600 of 90 kHz.
    assert_eq!(shown, [0, 3, 1, 2, 6, 4, 5, 7, 8, 9].map(|n| n * 3_600));
    // Each begins with its parameter sets.
    for key in [&units[0], &units[10]] {
        let kinds: Vec<u8> = key.pieces.iter().map(|nal| nal[0] & 0x1f).collect();
        assert!(
            kinds.contains(&7) && kinds.contains(&8) && key.is_key,
            "{kinds:?}"
        );
    }
}

// A file through RTP into a recording: what decoders get is the same.
#[test]
fn a_file_that_is_played_can_be_recorded_and_played_again() {
    let files = files_of(&[("a.mp4", WHOLE), ("b.mp4", WHOLE), ("c.mp4", WHOLE)]);
    let timeline = playlist(&files);
    let mut viewer = Viewer::new(timeline.clone(), &files);
    viewer.play("npt=0-", None, None);
    viewer.rest();
    let description = timeline.description("x");
    let mut recorder = Recorder::new(&description, Settings::default()).expect("a recorder");
    let again = MemoryFiles::new(|| BEGAN);
    let mut writer = again.writer();
    for (at, track, header, payload) in &viewer.packets {
        let mut packet = Vec::new();
        header.write(payload, &mut packet);
        let wallclock = BEGAN + at.since(Instant::ZERO);
        recorder.handle_packet(*at, *track, &packet.into(), wallclock);
        write_out(&mut recorder, *at, &door(), writer.as_mut(), |event| {
            panic!("{event:?}")
        });
    }
    recorder.finish(viewer.now);
    write_out(&mut recorder, viewer.now, &door(), writer.as_mut(), |event| {
        panic!("{event:?}")
    });
    let mut second = Viewer::new(recordings(&again), &again);
    second.play("npt=0-", None, None);
    second.rest();
    let units = |viewer: &Viewer| viewer.units(0, payload::Format::H264);
    let (before, after) = (units(&viewer), units(&second));
    assert_eq!(after.len(), before.len());
    for (before, after) in before.iter().zip(&after) {
        assert!(before.pieces == after.pieces && before.is_key == after.is_key);
    }
}

#[test]
fn images_are_recorded_and_played() {
    let image: &[u8] = include_bytes!("../../../../protocol/rtp/src/payload/testdata/q80-420.jpg");
    let mut world = world("m=video 0 RTP/AVP 26\r\n");
    let payloads = super::jpeg::payloads(image, 1_200);
    for n in 0..50_u16 {
        world.now = Instant::ZERO + ms(u64::from(n) * 100);
        for (payload, index) in payloads.iter().zip(0..) {
            let header = Header {
                marker: payload.marker,
                payload_type: 26,
                sequence: n * payloads.len() as u16 + index,
                timestamp: u32::from(n) * 9_000,
                ssrc: 1,
            };
            let mut packet = Vec::new();
            header.write(&payload.bytes, &mut packet);
            world
                .recorder
                .handle_packet(world.now, 0, &packet.into(), BEGAN + ms(u64::from(n) * 100));
        }
    }
    world.finish();
    let timeline = recordings(&world.files);
    assert_eq!(timeline.description("").tracks[0].codec().payload_type, 26);
    let mut viewer = Viewer::new(timeline, &world.files);
    assert_eq!(range_of(&viewer.play("npt=2.05-", None, None)), "npt=2.000-5.000");
    viewer.rest();
    assert_eq!(viewer.units(0, payload::Format::Jpeg).len(), 30);
}

#[test]
fn samples_that_a_file_has_all_at_once_are_not_sent_all_at_once() {
    // Sound in frames of a fiftieth of a millisecond.
    let track = FileTrack {
        format: Format::Opus { channels: 2 },
        clock_rate_hz: 48_000,
    };
    let (mut writer, mut file) = FileWriter::new(&[track], BEGAN).expect("a header");
    for fragment in 0..100_u64 {
        let sample = |n: u64| Sample {
            time: fragment * 200 + n,
            is_key: true,
            parts: vec![Bytes::from(vec![1; 1_000])],
        };
        let samples = (0..200).map(sample).collect();
        let run = Run {
            track: 0,
            samples,
            end: None,
        };
        file.extend(writer.fragment(BEGAN, &[run]));
    }
    let files = files_of(&[("a.mp4", &file)]);
    let mut viewer = Viewer::new(playlist(&files), &files);
    viewer.play("npt=0-", None, Some(10.0));
    viewer.rest();
    // 20,000 frames of 1,100 octets at 100 octets a microsecond.
    assert_eq!(viewer.packets.len(), 20_000);
    assert!(viewer.packets.last().expect("a packet").0 >= Instant::ZERO + ms(1_000 + 200));
    let mut by_ms = std::collections::HashMap::new();
    for (at, ..) in &viewer.packets {
        *by_ms.entry(at.as_nanos() / 1_000_000).or_insert(0) += 1;
    }
    assert!(by_ms.values().all(|packets| *packets < 1_200));
}

fn wav(format: u16, bits: u16, channels: u16, rate_hz: u32, data: &[u8]) -> Vec<u8> {
    let frame = channels * bits / 8;
    let mut file = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0".to_vec();
    for field in [format, channels] {
        file.extend(field.to_le_bytes());
    }
    file.extend(rate_hz.to_le_bytes());
    file.extend((rate_hz * u32::from(frame)).to_le_bytes());
    for field in [frame, bits] {
        file.extend(field.to_le_bytes());
    }
    file.extend(b"data");
    file.extend((data.len() as u32).to_le_bytes());
    file.extend(data);
    file
}

#[test]
fn sound_in_wav_plays_and_seeks() {
    let ramp: Vec<u8> = (0..16_000_u32).map(|n| (n / 160) as u8).collect();
    let files = files_of(&[("voicemail.wav", &wav(7, 8, 1, 8_000, &ramp))]);
    let timeline = playlist(&files);
    assert_eq!(
        timeline.description("").tracks[0].codec(),
        &ringpost_sdp::Codec::pcmu()
    );
    let mut viewer = Viewer::new(timeline, &files);
    // Scale is for pictures.
    let played = viewer.play("npt=0.513-1", Some(2.0), None);
    assert_eq!(
        (range_of(&played).as_str(), played.scale),
        ("npt=0.500-1.000", Some(1.0))
    );
    viewer.rest();
    let packets = viewer.of_track(0);
    assert_eq!(packets.len(), 25);
    for ((_, _, header, payload), n) in packets.iter().zip(0_u8..) {
        assert_eq!(payload[..], [25 + n; 160]);
        assert_eq!(header.marker, n == 0);
        assert_eq!(header.payload_type, 0);
    }
    let stereo: Vec<u8> = (0..44_100_u32).flat_map(|n| [n as u8, 1, n as u8, 2]).collect();
    let files = files_of(&[("a.wav", &wav(1, 16, 2, 44_100, &stereo))]);
    let timeline = playlist(&files);
    assert_eq!(timeline.description("").tracks[0].codec().payload_type, 10);
    let mut viewer = Viewer::new(timeline, &files);
    viewer.play("npt=0-", None, None);
    viewer.rest();
    let heard: Vec<u8> = viewer
        .packets
        .iter()
        .flat_map(|(.., payload)| payload.clone())
        .collect();
    let expected: Vec<u8> = stereo.chunks(2).flat_map(|pair| [pair[1], pair[0]]).collect();
    assert!(heard == expected);
    assert!((Instant::ZERO + ms(2_000)).since(viewer.now) < Duration::from_micros(1));
}

#[test]
fn sound_of_more_than_16_bits_in_wav_is_sent_with_16() {
    let samples: Vec<i16> = (0..9_600).map(|n| (n * 5 - 24_000) as i16).collect();
    let expected: Vec<u8> = samples.iter().flat_map(|sample| sample.to_be_bytes()).collect();
    let wide = samples.iter().flat_map(|sample| {
        let [low, high] = sample.to_le_bytes();
        [99, low, high]
    });
    let floats = samples.iter().map(|sample| f32::from(*sample) / 32_768.0);
    for file in [
        wav(1, 24, 2, 48_000, &wide.collect::<Vec<u8>>()),
        wav(
            3,
            32,
            2,
            48_000,
            &floats.flat_map(f32::to_le_bytes).collect::<Vec<u8>>(),
        ),
    ] {
        let files = files_of(&[("a.wav", &file)]);
        let timeline = playlist(&files);
        assert_eq!(timeline.length(), ms(100));
        assert_eq!(&*timeline.description("").tracks[0].codec().name, "L16");
        let mut viewer = Viewer::new(timeline, &files);
        viewer.play("npt=0-", None, None);
        viewer.rest();
        let sent = viewer.packets.iter().flat_map(|(.., payload)| payload.clone());
        assert!(sent.eq(expected.iter().copied()));
        assert_eq!(viewer.packets.len(), 15, "of 1,280 octets at most");
    }
}

#[test]
fn files_that_are_none_are_told_and_the_others_play() {
    let sound = wav(6, 8, 1, 8_000, &[0xd5; 8_000]);
    let files = files_of(&[
        ("1.mp4", b"nothing of the kind"),
        ("2.wav", &sound),
        ("3.wav", &sound[..20]),
    ]);
    let mut catalog = Catalog::playlist();
    assert_eq!(read_all(&mut catalog, &files).len(), 2);
    let timeline = catalog.timeline().expect("one of them");
    assert_eq!(timeline.length(), ms(1_000));
    let files = files_of(&[("1.mp4", b"nothing of the kind")]);
    let mut catalog = Catalog::playlist();
    read_all(&mut catalog, &files);
    assert_eq!(catalog.timeline(), Err(NothingToPlay));
}

#[test]
fn a_file_that_goes_away_is_told_and_passed_over() {
    let sound = wav(6, 8, 1, 8_000, &[0xd5; 16_000]);
    let files = files_of(&[("1.wav", &sound), ("2.wav", &sound), ("3.wav", &sound)]);
    let mut viewer = Viewer::new(playlist(&files), &files);
    ready(files.remove(&door().file("2.wav").expect("a name"))).expect("removed");
    viewer.play("npt=0-", None, None);
    viewer.rest();
    assert!(
        viewer
            .events
            .iter()
            .any(|event| matches!(event, Event::Damaged { .. }))
    );
    assert_eq!(viewer.events.last(), Some(&Event::Ended));
    assert_eq!(viewer.packets.len(), 200);
}

#[test]
fn a_recording_that_begins_before_another_has_ended_lies_behind_it_and_nothing_is_hidden() {
    let world = recorded(10);
    let octets = read(
        &world.files,
        &door().file(&world.names()[0]).expect("a name"),
        0..u64::MAX,
    );
    // The clock was set back by five seconds, and recording went on.
    let name = crate::recording::file_name(BEGAN + ms(1));
    let files = files_of(&[(&world.names()[0], &octets), (&name, &octets)]);
    let timeline = recordings(&files);
    assert_eq!(timeline.ranges().len(), 1);
    assert_eq!(timeline.length(), ms(20_000));
    // The second one plays whole.
    let mut viewer = Viewer::new(timeline, &files);
    viewer.play("npt=0-", None, None);
    viewer.rest();
    let pictures = viewer.packets.iter().filter(|(_, track, ..)| *track == 0);
    let pictures: Vec<_> = pictures.map(|(.., payload)| payload).collect();
    let (first, second) = pictures.split_at(pictures.len() / 2);
    assert_eq!(first, second);
}

/// Five seconds of a camera, and behind a gap from the twentieth second on two of Opus alone.
pub(crate) fn of_two_kinds() -> MemoryFiles {
    let world = recorded(5);
    let camera = door().file(&world.names()[0]).expect("a name");
    let camera = read(&world.files, &camera, 0..u64::MAX);
    let track = FileTrack {
        format: Format::Opus { channels: 2 },
        clock_rate_hz: 48_000,
    };
    let began = BEGAN + ms(20_000);
    let (mut writer, mut opus) = FileWriter::new(&[track], began).expect("a header");
    let sample = |n: u64| Sample {
        time: n * 960,
        is_key: true,
        parts: vec![Bytes::from(vec![n as u8; 40])],
    };
    let run = Run {
        track: 0,
        samples: (0..100).map(sample).collect(),
        end: Some(96_000),
    };
    opus.extend(writer.fragment(began, &[run]));
    let name = crate::recording::file_name(began);
    files_of(&[(&world.names()[0], &camera), (&name, &opus)])
}

#[test]
fn what_was_recorded_in_another_encoding_is_told_too_and_played() {
    let files = of_two_kinds();
    let timeline = recordings(&files);
    let description = timeline.description("door");
    let tracks = description.tracks.iter();
    let told: Vec<_> = tracks
        .map(|track| (track.codec().name.to_string(), track.codec().payload_type))
        .collect();
    let of = |name: &str, payload_type| (name.to_owned(), payload_type);
    assert_eq!(told, [of("opus", 96), of("H264", 97), of("MPEG4-GENERIC", 98)]);
    let mut viewer = Viewer::new(timeline.clone(), &files);
    viewer.play("npt=1-4", None, None);
    viewer.rest();
    assert_eq!(
        viewer
            .of_track(1)
            .iter()
            .filter(|(.., header, _)| header.marker)
            .count(),
        75
    );
    assert!(viewer.of_track(2).len() > 50);
    assert!(viewer.of_track(0).is_empty());
    viewer.packets.clear();
    viewer.play("npt=3-21", None, None);
    viewer.rest();
    assert_eq!(
        viewer
            .of_track(1)
            .iter()
            .filter(|(.., header, _)| header.marker)
            .count(),
        50
    );
    assert_eq!(
        viewer.of_track(0).len(),
        50,
        "a second of what comes behind the gap"
    );
    // Places stay, whatever is recorded next.
    let mut catalog = Catalog::recordings();
    read_all(&mut catalog, &files);
    let world = recorded(2);
    let octets = read(
        &world.files,
        &door().file(&world.names()[0]).expect("a name"),
        0..u64::MAX,
    );
    let name = door()
        .file(&crate::recording::file_name(BEGAN + ms(60_000)))
        .expect("a name");
    let mut writer = files.writer();
    writer.submit(FileCommand::Create(name)).expect("taken");
    writer.submit(FileCommand::Append(octets)).expect("taken");
    read_all(&mut catalog, &files);
    assert_eq!(
        catalog.timeline().expect("recordings").description("door"),
        description
    );
}

#[test]
fn a_session_of_what_is_live_is_sent_what_it_was_described_by_its_places_and_payload_types() {
    let files = of_two_kinds();
    let timeline = recordings(&files);
    // What is published now: sound first, and pictures that were never recorded.
    let described = crate::recording::tests::describe(
        "m=audio 0 RTP/AVP 110\r\na=rtpmap:110 mpeg4-generic/44100/2\r\n\
         a=fmtp:110 mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config=1210\r\n\
         m=video 0 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\n",
    );
    let mut viewer = Viewer::new(timeline.clone(), &files);
    viewer.player = Player::as_described(timeline, &described, &mut Rng::from_number(5));
    viewer.play("npt=1-4", None, None);
    viewer.rest();
    assert!(viewer.packets.len() > 50);
    assert!(
        viewer
            .packets
            .iter()
            .all(|(_, track, header, _)| (*track, header.payload_type) == (0, 110))
    );
    assert_eq!(viewer.refused("npt=20-21"), PlayError::Nothing);
}

#[test]
fn a_catalog_reads_what_is_new_and_nothing_twice() {
    let mut world = world(CAMERA);
    world.recorder_segment(ms(3_500));
    world.play(0..6);
    let mut catalog = Catalog::recordings();
    let count = |catalog: &mut Catalog| {
        catalog.handle_list(ready(world.files.list(&door())).expect("a list"));
        let mut reads = 0;
        while let CatalogOutput::Read { file, range } = catalog.poll_output() {
            reads += 1;
            catalog.handle_data(read(&world.files, &file, range));
        }
        reads
    };
    assert!(count(&mut catalog) >= 2);
    assert_eq!(count(&mut catalog), 0);
    let before = catalog.timeline().expect("recordings").length();
    world.play(6..8);
    let count = |catalog: &mut Catalog| {
        catalog.handle_list(ready(world.files.list(&door())).expect("a list"));
        let mut reads = 0;
        while let CatalogOutput::Read { file, range } = catalog.poll_output() {
            reads += 1;
            catalog.handle_data(read(&world.files, &file, range));
        }
        reads
    };
    assert!((1..=8).contains(&count(&mut catalog)));
    assert!(catalog.timeline().expect("recordings").length() > before);
}

#[test]
fn before_it_is_read_a_recording_has_its_place_by_its_name() {
    let mut world = world(CAMERA);
    world.recorder_segment(ms(3_500));
    world.play(0..9);
    world.finish();
    let mut catalog = Catalog::recordings();
    let mut list = ready(world.files.list(&door())).expect("a list");
    for info in &mut list {
        info.modified = BEGAN + ms(9_500);
    }
    catalog.handle_list(list);
    // The newest alone is read, for its tracks.
    let mut reads = 0;
    while catalog.timeline().is_err() {
        let CatalogOutput::Read { file, range } = catalog.poll_output() else {
            panic!("nothing to read")
        };
        catalog.handle_data(read(&world.files, &file, range));
        reads += 1;
    }
    assert!(reads < 10);
    let timeline = catalog.timeline().expect("recordings");
    assert_eq!(timeline.ranges(), [ms(0)..ms(9_000)]);
    let mut viewer = Viewer::new(timeline, &world.files);
    viewer.play("npt=2-", None, None);
    viewer.rest();
    let numbers: Vec<u64> = viewer.pictures().iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (50..225).collect::<Vec<u64>>());
}

#[test]
fn only_the_tracks_that_are_wanted_are_sent() {
    let world = recorded(4);
    let mut viewer = Viewer::new(recordings(&world.files), &world.files);
    viewer.player.set_tracks(&[1]);
    let played = viewer.play("npt=1.5-", None, None);
    assert_eq!(played.begins.len(), 1);
    assert!(range_of(&played).starts_with("npt=1.4"), "sound begins anywhere");
    viewer.rest();
    assert!(viewer.of_track(0).is_empty() && viewer.of_track(1).len() > 100);
}

#[test]
fn small_packets_are_made_where_they_are_wanted() {
    let world = recorded(2);
    let mut viewer = Viewer::new(recordings(&world.files), &world.files);
    viewer.player.set_blocksize(300);
    viewer.play("npt=0-", None, None);
    viewer.rest();
    assert!(viewer.packets.iter().all(|(.., payload)| payload.len() <= 288));
    assert_eq!(viewer.pictures().len(), 50);
}

#[test]
fn damaged_files_play_to_some_end() {
    let world = recorded(3);
    let octets = read(
        &world.files,
        &door().file(&world.names()[0]).expect("a name"),
        0..u64::MAX,
    );
    let mut rng = Rng::from_number(3);
    for round in 0..300 {
        let mut damaged = if round % 2 == 0 {
            octets.to_vec()
        } else {
            WHOLE.to_vec()
        };
        for _ in 0..=rng.below(5) {
            let at = rng.below(damaged.len() as u64) as usize;
            damaged[at] = rng.u32() as u8;
        }
        fuzz::play(&damaged, round);
    }
}

#[test]
fn a_list_with_a_clock_of_its_own_is_told_from_others() {
    let info = |name: &str| FileInfo {
        name: door().file(name).expect("a name"),
        size_bytes: 100,
        modified: UnixTime::from_secs(0),
        is_open: false,
    };
    let mut catalog = Catalog::recordings();
    catalog.handle_list(vec![info("holiday.mp4"), info("20261127T025300.000Z.wav")]);
    assert_eq!(catalog.poll_output(), CatalogOutput::Ready);
}
