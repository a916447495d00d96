//! What was recorded in other encodings, of a mount that is live.

use super::*;
use crate::playback::tests::of_two_kinds;
use crate::recording::tests::ready;
use ringpost_store::Files;

pub(super) const DOOR: &str = "rtsp://h/alice/door";

/// A mount that is live in H.264 and µ-law, of which Opus was recorded, and before that H.264 with AAC. Gives its publisher too.
pub(super) fn live_and_recorded() -> (World, ConnectionId) {
    live_and_recorded_with(Config::default())
}

fn live_and_recorded_with(config: Config) -> (World, ConnectionId) {
    let mut world = World::with(config);
    let files = of_two_kinds();
    for info in ready(files.list(&"door".parse().unwrap())).unwrap() {
        let octets = ready(files.read(&info.name, 0..u64::MAX)).unwrap().unwrap();
        world.files.insert(info.name.name().into(), octets);
    }
    let publisher = world.publish("alice/door");
    world.send(publisher, 0, 1, 0, KEY);
    (world, publisher)
}

pub(super) fn describe(url: &str) -> String {
    format!("DESCRIBE {url} RTSP/1.0\nCSeq: 1\n\n")
}

pub(super) fn set_up(url: &str, session: &str, transport: &str) -> String {
    format!("SETUP {url} RTSP/1.0\nCSeq: 2\n{session}Transport: {transport}\n\n")
}

pub(super) fn play(url: &str, session: &str, range: &str) -> String {
    format!("PLAY {url} RTSP/1.0\nCSeq: 3\n{session}{range}\n")
}

pub(super) fn session_line(response: &str) -> String {
    format!("Session: {}\n", World::session(response))
}

fn controls(description: &str) -> Vec<&str> {
    let lines = description.lines();
    lines.filter_map(|line| line.strip_prefix("a=control:")).collect()
}

#[test]
fn all_that_was_recorded_of_a_live_mount_is_described_and_played_where_it_is_asked_for() {
    let (mut world, publisher) = live_and_recorded();
    let reader = world.connect();
    let live = world.ask(reader, &describe(DOOR));
    assert_eq!(controls(&live), ["*", "trackID=0", "trackID=1"]);
    let described = world.ask(reader, &describe(&format!("{DOOR}?recorded")));
    // Relative URLs would lose the query with who resolves them as RFC 3986 does.
    assert_eq!(
        controls(&described),
        [
            "rtsp://h/alice/door/?recorded",
            "rtsp://h/alice/door/trackID=0?recorded",
            "rtsp://h/alice/door/trackID=1?recorded",
            "rtsp://h/alice/door/trackID=2?recorded",
        ]
    );
    for told in [
        "opus/48000",
        "H264/90000",
        "MPEG4-GENERIC/44100",
        "a=recorded:clock=",
    ] {
        assert!(described.contains(told), "{told} in {described}");
    }
    let response = world.ask(reader, &set_up(controls(&described)[2], "", TCP[0]));
    assert!(response.starts_with("RTSP/1.0 200"), "{response}");
    assert!(
        !response.contains("ssrc="),
        "what is live is of another source: {response}"
    );
    let session = session_line(&response);
    let played = world.ask(reader, &play(controls(&described)[0], &session, ""));
    assert!(played.contains("Range: npt=0.000-22.000"), "{played}");
    world.send(publisher, 0, 2, 3_600, OTHER);
    world.pass(Duration::from_millis(500));
    let received = world.received(reader, 0);
    assert!(received.len() > 10, "{}", received.len());
    assert!(
        received
            .iter()
            .all(|(_, payload)| payload != OTHER && payload != KEY)
    );
    // Whoever publishes may leave: what was recorded plays on.
    world.hub.handle_closed(world.now, publisher);
    world.run();
    world.pass(Duration::from_secs(30));
    assert!(!world.closed.contains(&reader));
    assert!(world.received(reader, 0).len() > 100);
}

#[test]
fn the_query_may_stand_on_setup_alone_wherever_players_put_the_stream() {
    for url in [
        "rtsp://h/alice/door?recorded/trackID=1",
        "rtsp://h/alice/door/?recorded/trackID=1",
        "rtsp://h/alice/door/trackID=1?recorded",
        "rtsp://h/alice/door/trackID=1?key=1&recorded",
    ] {
        let (mut world, _) = live_and_recorded();
        let reader = world.connect();
        let response = world.ask(reader, &set_up(url, "", TCP[0]));
        assert!(response.starts_with("RTSP/1.0 200"), "{url}: {response}");
        let session = session_line(&response);
        // A third stream there is of what was recorded alone.
        let more = set_up(&format!("{DOOR}/trackID=2"), &session, TCP[1]);
        let more = world.ask(reader, &more);
        assert!(more.starts_with("RTSP/1.0 200"), "{more}");
        let played = world.ask(reader, &play(DOOR, &session, ""));
        assert!(played.contains("Range: npt=0.000-"), "{played}");
        assert!(played.contains("trackID=2;seq="), "{played}");
    }
}

#[test]
fn a_session_of_what_is_live_plays_what_was_recorded_where_play_asks_for_it() {
    let (mut world, _) = live_and_recorded();
    let (reader, played) = world.read("alice/door", &TCP[..1]);
    assert!(played.contains("Range: npt=now-"), "{played}");
    let session = session_line(&played);
    let played = world.ask(
        reader,
        &play(&format!("{DOOR}?recorded"), &session, "Range: npt=1-2\n"),
    );
    assert!(played.contains("Range: npt=1.000-2.000"), "{played}");
    world.pass(Duration::from_millis(500));
    assert!(world.received(reader, 0).len() > 10);
    // Its streams are counted as those of what is live.
    let mixed = set_up(&format!("{DOOR}/trackID=1?recorded"), &session, TCP[1]);
    let mixed = world.ask(reader, &mixed);
    assert!(mixed.starts_with("RTSP/1.0 459"), "{mixed}");
    assert!(mixed.ends_with("live or of what was recorded\r\n"), "{mixed}");
    let played = world.ask(reader, &play(DOOR, &session, "Range: npt=now-\n"));
    assert!(played.contains("Range: npt=now-"), "{played}");
}

#[test]
fn what_was_recorded_has_its_rights_is_no_groups_and_need_not_be() {
    let multicast = Some(GroupSettings {
        fixed: Some("239.255.1.1:6000".parse().unwrap()),
        ttl: 7,
        is_announced: false,
    });
    let settings = MountSettings {
        multicast,
        ..MountSettings::default()
    };
    let (mut world, _) = live_and_recorded_with(Config {
        settings: vec![("alice/door".parse().unwrap(), settings)],
        ..Config::default()
    });
    let reader = world.connect();
    let group = set_up(&format!("{DOOR}/trackID=0?recorded"), "", "RTP/AVP;multicast");
    let group = world.ask(reader, &group);
    assert!(group.starts_with("RTSP/1.0 461"), "{group}");
    world.allows = false;
    let refused = world.ask(reader, &describe(&format!("{DOOR}?recorded")));
    assert!(refused.starts_with("RTSP/1.0 401"), "{refused}");
    world.allows = true;
    let mut world = World::new();
    world.publish("alice/door");
    let reader = world.connect();
    let nothing = world.ask(reader, &describe(&format!("{DOOR}?recorded")));
    assert!(nothing.starts_with("RTSP/1.0 404"), "{nothing}");
}

#[test]
fn what_was_recorded_of_a_mount_that_moves_stays() {
    let (mut world, _) = live_and_recorded();
    let reader = world.connect();
    let recorded = format!("{DOOR}?recorded");
    let response = world.ask(reader, &set_up(&format!("{DOOR}/trackID=1?recorded"), "", TCP[0]));
    let session = session_line(&response);
    world.ask(reader, &play(&recorded, &session, ""));
    let (of_live, _) = world.read("alice/door", &TCP[..1]);
    world.sent.clear();
    let settings = MountSettings {
        redirect: Some(ringpost_rtsp::Url::parse("rtsp://i/door").unwrap()),
        ..MountSettings::default()
    };
    world
        .hub
        .set_settings(world.now, vec![("alice/door".parse().unwrap(), settings)]);
    world.run();
    assert!(world.said(of_live).starts_with("REDIRECT"));
    world.pass(Duration::from_millis(500));
    assert!(world.received(reader, 0).len() > 10);
    let described = world.ask(reader, &describe(&recorded));
    assert!(described.starts_with("RTSP/1.0 200"), "{described}");
    let moved = world.ask(reader, &describe(DOOR));
    assert!(moved.starts_with("RTSP/1.0 302"), "{moved}");
}

#[test]
fn a_session_that_has_played_plays_what_was_recorded_since() {
    let (mut world, publisher) = live_and_recorded();
    world.hub.handle_closed(world.now, publisher);
    world.run();
    world.pass(Duration::from_secs(60));
    let reader = world.connect();
    world.ask(reader, &describe(DOOR));
    let response = world.ask(reader, &set_up(&format!("{DOOR}/trackID=1"), "", TCP[0]));
    let session = session_line(&response);
    let played = world.ask(reader, &play(DOOR, &session, "Range: npt=1-2\n"));
    assert!(played.contains("Range: npt=1.000-2.000"), "{played}");
    world.pass(Duration::from_secs(3));
    assert!(world.received(reader, 0).len() > 10);
    let later = "Range: clock=20261127T025401Z-20261127T025403Z\n";
    let nothing = world.ask(reader, &play(DOOR, &session, later));
    assert!(nothing.starts_with("RTSP/1.0 457"), "{nothing}");
    let mut camera = crate::recording::tests::world(crate::recording::tests::CAMERA);
    camera.play(60..65);
    camera.finish();
    let name = camera.names()[0].clone();
    let film = camera.file(&name).octets;
    world.files.insert(name, film.into());
    world.pass(Duration::from_secs(3));
    let played = world.ask(reader, &play(DOOR, &session, later));
    assert!(played.starts_with("RTSP/1.0 200"), "{played}");
    world.pass(Duration::from_secs(3));
    assert!(world.received(reader, 0).len() > 40);
}
