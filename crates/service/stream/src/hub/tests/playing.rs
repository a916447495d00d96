//! Files that are played to sessions.

use super::*;

/// A second of µ-law, counted in its octets.
pub(super) fn wav() -> Bytes {
    let head = b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\x07\0\x01\0\x40\x1f\0\0\x40\x1f\0\0\x01\0\x08\0data\xff\xff\xff\xff";
    let sound = (0..8_000u32).map(|at| (at / 160) as u8);
    head.iter().copied().chain(sound).collect()
}

/// The same, and a minute of one sound after it.
fn long_wav() -> Bytes {
    let more = std::iter::repeat_n(7, 8_000 * 60);
    wav().iter().copied().chain(more).collect()
}

#[test]
fn a_file_plays_at_its_pace_to_its_end_and_seeks() {
    let mut world = World::new();
    world.files.insert("a.wav".into(), wav());
    let (reader, played) = world.read("alice/sound", &TCP[..1]);
    assert!(played.contains("Range: npt=0.000-1.000"), "{played}");
    assert!(
        played.contains("RTP-Info: url=rtsp://h/alice/sound/trackID=0;seq="),
        "{played}"
    );
    world.pass(Duration::from_millis(490));
    let first = world.received(reader, 0);
    assert!((24..=26).contains(&first.len()), "{}", first.len());
    assert_eq!(first[3].1, [3; 160]);
    world.pass(Duration::from_millis(600));
    assert_eq!(first.len() + world.received(reader, 0).len(), 50);
    let session = world.hub.session_ids()[0].clone();
    let again =
        format!("PLAY rtsp://h/alice/sound RTSP/1.0\nCSeq: 9\nSession: {session}\nRange: npt=0.5-0.6\n\n");
    let response = world.ask(reader, &again);
    assert!(response.contains("Range: npt=0.500-0.600"), "{response}");
    world.pass(Duration::from_millis(400));
    let part = world.received(reader, 0);
    assert_eq!(
        part.iter().map(|(_, sound)| sound[0]).collect::<Vec<_>>(),
        [25, 26, 27, 28, 29]
    );
    let listed = world.hub.mounts(world.now);
    assert_eq!(
        (listed[0].name.as_str(), listed[0].is_live),
        ("alice/sound", false)
    );
    assert_eq!(listed[0].encodings, ["PCMU"]);
    let session_key = listed[0].readers[0].key;
    let beyond =
        format!("PLAY rtsp://h/alice/sound RTSP/1.0\nCSeq: 10\nSession: {session}\nRange: npt=7-\n\n");
    assert!(world.ask(reader, &beyond).starts_with("RTSP/1.0 457"));
    assert!(world.kick(session_key));
    world.run();
    assert_eq!(world.closed, [reader]);
    assert!(world.hub.mounts(world.now).is_empty());
}

#[test]
fn a_slow_reader_of_a_file_loses_nothing_and_what_waits_for_it_is_bounded() {
    let mut world = World::new();
    world.files.insert("a.wav".into(), long_wav());
    let (reader, _) = world.read("alice/sound", &TCP[..1]);
    world.full.insert(reader);
    world.pass(Duration::from_secs(20));
    let some = world.received(reader, 0).len();
    world.full.clear();
    world.hub.handle_writable(reader);
    world.run();
    world.pass(Duration::from_secs(45));
    let rest = world.received(reader, 0);
    assert_eq!(some + rest.len(), 61 * 50);
}

impl World {
    /// A session that has played the beginning of a film and paused: its connection and name.
    fn paused(&mut self) -> (ConnectionId, String) {
        let mut camera = crate::recording::tests::world(crate::recording::tests::CAMERA);
        camera.play(0..20);
        camera.finish();
        let film = camera.file(&camera.names()[0]).octets;
        self.files.insert("a.mp4".into(), film.into());
        let (reader, played) = self.read("alice/sound", &TCP[..1]);
        let session = World::session(&played);
        let paused = self.ask(reader, &command("PAUSE", &session, 4, ""));
        assert!(paused.starts_with("RTSP/1.0 200"), "{paused}");
        self.said(reader);
        (reader, session)
    }

    /// What was to be read is there.
    pub(super) fn release_reads(&mut self) {
        for (question, octets) in self.held_reads.take().unwrap_or_default() {
            self.hub.handle_answer(self.now, question, Answer::Octets(octets));
        }
        self.run();
    }

    /// Sends a request without waiting for what comes of it.
    pub(super) fn tell(&mut self, id: ConnectionId, request: &str) {
        self.input(id, request.replace('\n', "\r\n").as_bytes());
    }
}

fn command(method: &str, session: &str, cseq: u32, range: &str) -> String {
    format!("{method} rtsp://h/alice/sound RTSP/1.0\nCSeq: {cseq}\nSession: {session}\n{range}\n")
}

// RFC 2326 §10.5: what was queued was answered then.
#[test]
fn a_play_that_overtakes_a_queued_one_is_answered_for_itself() {
    let mut world = World::new();
    let (reader, session) = world.paused();
    for (cseq, range) in [(5, "Range: npt=0.1-0.2\n"), (6, "Range: npt=14-\n")] {
        let played = world.ask(reader, &command("PLAY", &session, cseq, range));
        assert!(played.starts_with("RTSP/1.0 200"), "{played}");
    }
    world.held_reads = Some(Vec::new());
    world.pass(Duration::from_millis(1_500));
    let is_held = world.held_reads.as_ref().is_some_and(|held| !held.is_empty());
    assert!(is_held, "what was queued is being read");
    world.said(reader);
    world.tell(reader, &command("PLAY", &session, 7, "Range: npt=6-6.1\n"));
    world.release_reads();
    world.pass(Duration::from_millis(10));
    let said = world.said(reader);
    assert!(said.contains("RTSP/1.0 200 OK\r\nCSeq: 7\r\n"), "{said}");
    assert!(said.contains("Range: npt=6.000-6.100"), "{said}");
}

// RFC 2326 §11.3.8: what could not be played at once cannot be later, and what is queued before and behind it is.
#[test]
fn a_range_that_is_not_there_is_refused_when_it_is_to_be_queued() {
    let received = [&[0, 3][..], &[0, 1, 2, 3], &[0]].map(|asked| {
        let mut world = World::new();
        let (reader, session) = world.paused();
        world.received(reader, 0);
        for n in asked {
            let (range, status) = [
                ("npt=0.1-0.2", 200),
                ("npt=9999-10000", 457),
                ("clock=99991231T000000Z-", 457),
                ("npt=12-12.1", 200),
            ][*n];
            let play = command("PLAY", &session, 5 + *n as u32, &format!("Range: {range}\n"));
            let played = world.ask(reader, &play);
            assert!(
                played.starts_with(&format!("RTSP/1.0 {status} ")),
                "{range}: {played}"
            );
        }
        world.pass(Duration::from_secs(2));
        world.received(reader, 0).len()
    });
    assert_eq!(received[0], received[1]);
    assert!(received[0] > received[2], "{received:?}");
}

// RFC 2326 §10.5: what was queued and has gone since is over, and who asks anew is answered as one for whom nothing plays.
#[test]
fn what_was_queued_and_cannot_be_read_is_over() {
    let mut world = World::new();
    let (reader, session) = world.paused();
    for (cseq, range) in [
        (5, "Range: npt=0.1-0.2\n"),
        (6, "Range: npt=12-12.1\n"),
        (7, "Range: npt=14-14.1\n"),
    ] {
        let played = world.ask(reader, &command("PLAY", &session, cseq, range));
        assert!(played.starts_with("RTSP/1.0 200"), "{played}");
    }
    for _ in 0..50 {
        let wanted = world.held_reads.replace(Vec::new()).unwrap_or_default();
        for (question, _) in wanted {
            let gone = Answer::Unreadable("it is gone".into());
            world.hub.handle_answer(world.now, question, gone);
            world.run();
        }
        world.pass(Duration::from_millis(100));
    }
    world.release_reads();
    world.received(reader, 0);
    let again = world.ask(reader, &command("PLAY", &session, 8, ""));
    assert!(again.contains("RTP-Info: "), "{again}");
    world.pass(Duration::from_secs(1));
    assert!(world.received(reader, 0).len() > 20);
}

// RFC 8866 §5.2: each has an identifier of its own, and a version that increases when the description changes.
#[test]
fn descriptions_of_files_are_told_apart_and_their_versions_increase_as_they_change() {
    let mut world = World::new();
    world.files.insert("a.wav".into(), wav());
    let reader = world.connect();
    let origin = |world: &mut World, mount: &str| -> (u64, u64) {
        let described = world.ask(
            reader,
            &format!("DESCRIBE rtsp://h/alice/{mount} RTSP/1.0\nCSeq: 1\n\n"),
        );
        let origin = described.lines().find_map(|line| line.strip_prefix("o=- "));
        let mut numbers = origin.expect("an origin").split(' ').map(|number| number.parse());
        let mut next = || numbers.next().expect("a number").expect("a number");
        (next(), next())
    };
    let (first, other) = (origin(&mut world, "first"), origin(&mut world, "other"));
    assert_ne!(first.0, other.0);
    assert_eq!(origin(&mut world, "first"), first);
    world.pass(Duration::from_secs(3));
    assert_eq!(origin(&mut world, "first"), first, "it is the same");
    world.files.insert("a.wav".into(), long_wav());
    world.pass(Duration::from_secs(3));
    let longer = origin(&mut world, "first");
    assert_eq!(longer.0, first.0);
    assert!(longer.1 > first.1, "{longer:?} behind {first:?}");
}
