//! Readers that are sent elsewhere, publishers that go without a word, and what has not been modified.

use super::playing::wav;
use super::*;

fn settings(pattern: &str, to: &str) -> Vec<(MountPattern, MountSettings)> {
    let settings = MountSettings {
        redirect: Some(Url::parse(to).unwrap()),
        ..MountSettings::default()
    };
    vec![(pattern.parse().unwrap(), settings)]
}

impl World {
    /// What came on a connection, packets and all.
    fn send_away(&mut self, whom: &Whom, to: Option<&Url>) -> usize {
        let (whom, to) = (whom.clone(), to.cloned());
        self.hub.send_away(self.now, &SendAway { whom, to })
    }

    fn readers(&self) -> usize {
        let mounts = self.hub.mounts(self.now);
        mounts.iter().map(|mount| mount.readers.len()).sum()
    }

    fn is_published(&self) -> bool {
        let mounts = self.hub.mounts(self.now);
        mounts.iter().any(|mount| mount.publisher.is_some())
    }

    /// Publishes to `alice/door` by these transports.
    fn publish_by(&mut self, sdp: &str, transports: &[&str]) -> ConnectionId {
        let id = self.connect();
        let head = format!(
            "ANNOUNCE rtsp://h/alice/door RTSP/1.0\r\nCSeq: 1\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n",
            sdp.len()
        );
        self.input(id, format!("{head}{sdp}").as_bytes());
        let said = self.said(id);
        assert!(said.starts_with("RTSP/1.0 200"), "{said}");
        let mut session = String::new();
        for (track, transport) in transports.iter().enumerate() {
            let request = format!(
                "SETUP rtsp://h/alice/door/streamid={track} RTSP/1.0\nCSeq: 2\n{session}Transport: {transport};mode=record\n\n"
            );
            let response = self.ask(id, &request);
            assert!(response.starts_with("RTSP/1.0 200"), "{response}");
            session = format!("Session: {}\n", World::session(&response));
        }
        let response = self.ask(
            id,
            &format!("RECORD rtsp://h/alice/door RTSP/1.0\nCSeq: 4\n{session}\n"),
        );
        assert!(response.starts_with("RTSP/1.0 200"), "{response}");
        id
    }

    /// RTCP's goodbye of the source that sends on a channel, on the next one.
    fn say_bye(&mut self, id: ConnectionId, channel: u8) {
        let ssrc = 5 + u32::from(channel);
        let mut bye = Vec::new();
        ringpost_rtp::rtcp::Writer::new(&mut bye)
            .receiver_report(ssrc, &[])
            .source_description(ssrc, &[(1, b"x")])
            .bye(&[ssrc], &[]);
        let mut bytes = ringpost_rtsp::interleaved_head(channel + 1, bye.len()).to_vec();
        bytes.extend(bye);
        self.input(id, &bytes);
    }
}

// RFC 2326 §11.2, §10.10.
#[test]
fn who_asks_for_a_mount_that_has_moved_is_told_where_and_it_is_published_to_as_before() {
    let mut world = World::new();
    world
        .hub
        .set_settings(world.now, settings("alice/door", "rtsp://i:8554/elsewhere?x"));
    let id = world.connect();
    for request in [
        "DESCRIBE rtsp://h/alice/door RTSP/1.0\nCSeq: 1\n\n",
        "SETUP rtsp://h/alice/door/trackID=0 RTSP/1.0\nCSeq: 2\nTransport: RTP/AVP/TCP;unicast\n\n",
    ] {
        let moved = world.ask(id, request);
        assert!(moved.starts_with("RTSP/1.0 302"), "{moved}");
        assert!(
            moved.contains("Location: rtsp://i:8554/elsewhere?x\r\n"),
            "{moved}"
        );
    }
    world.publish("alice/door");
    world
        .hub
        .set_settings(world.now, settings("alice/**", "rtsps://i/there/"));
    let moved = world.ask(id, "DESCRIBE rtsp://h/alice/yard RTSP/1.0\nCSeq: 3\n\n");
    assert!(
        moved.contains("Location: rtsps://i/there/alice/yard\r\n"),
        "{moved}"
    );
    // What was recorded is here.
    let recorded = world.ask(id, "DESCRIBE rtsp://h/alice/yard?recorded RTSP/1.0\nCSeq: 4\n\n");
    assert!(recorded.starts_with("RTSP/1.0 404"), "{recorded}");
    // Who may not read it is not told where it is.
    world.allows = false;
    let refused = world.ask(id, "DESCRIBE rtsp://h/alice/yard RTSP/1.0\nCSeq: 4\n\n");
    assert!(refused.starts_with("RTSP/1.0 401"), "{refused}");
}

#[test]
fn readers_of_a_mount_that_moves_are_told_and_sent_away_if_they_stay() {
    let mut world = World::new();
    world.publish("alice/door");
    let readers: Vec<_> = (0..3).map(|_| world.read("alice/door", &TCP[..1]).0).collect();
    let [goes, knows_not, stays] = readers[..] else {
        unreachable!()
    };
    let (over_udp, _) = world.read("alice/door", &UDP[..1]);
    world.hub.handle_closed(world.now, over_udp);
    world.run();
    world.closed.clear();
    assert_eq!(world.readers(), 4);
    world.sent.clear();
    world
        .hub
        .set_settings(world.now, settings("alice/door", "rtsp://i/door"));
    world.run();
    assert_eq!(world.readers(), 3, "nobody can be told over no connection");
    let mut cseqs = Vec::new();
    for reader in &readers {
        let said = world.said(*reader);
        assert!(
            said.starts_with("REDIRECT rtsp://h/alice/door/ RTSP/1.0\r\n"),
            "{said}"
        );
        assert!(said.contains("Location: rtsp://i/door\r\n"), "{said}");
        let field = |name: &str| {
            let line = said.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap().to_owned()
        };
        cseqs.push((field("CSeq: "), field("Session: ")));
    }
    let (cseq, session) = &cseqs[0];
    world.input(
        goes,
        format!("RTSP/1.0 200 OK\r\nCSeq: {cseq}\r\n\r\n").as_bytes(),
    );
    let bye = format!("TEARDOWN rtsp://h/alice/door RTSP/1.0\nCSeq: 9\nSession: {session}\n\n");
    assert!(world.ask(goes, &bye).starts_with("RTSP/1.0 200"));
    let (cseq, _) = &cseqs[1];
    world.input(
        knows_not,
        format!("RTSP/1.0 501 Not Implemented\r\nCSeq: {cseq}\r\n\r\n").as_bytes(),
    );
    assert_eq!(world.closed, [knows_not]);
    world.pass(Duration::from_millis(9_900));
    assert_eq!((world.readers(), &world.closed[..]), (1, &[knows_not][..]));
    world.pass(Duration::from_millis(200));
    assert_eq!((world.readers(), &world.closed[..]), (0, &[knows_not, stays][..]));
    assert!(world.is_published());
}

#[test]
fn an_administrator_ends_all_readers_of_a_mount_or_one_and_tells_them_where_to_go() {
    let mut world = World::new();
    world.publish("alice/door");
    world.publish("alice/yard");
    let door: Vec<_> = (0..2).map(|_| world.read("alice/door", &TCP[..1]).0).collect();
    let (yard, _) = world.read("alice/yard", &TCP[..1]);
    let to = Url::parse("rtsp://i/door").unwrap();
    let whom = Whom::ReadersOf("alice/door".parse().unwrap());
    world.sent.clear();
    assert_eq!(world.send_away(&whom, Some(&to)), 2);
    world.run();
    assert!(door.iter().all(|id| world.sent[id].starts_with(b"REDIRECT ")));
    assert!(!world.sent.contains_key(&yard) && world.closed.is_empty());
    assert_eq!(world.send_away(&whom, None), 2);
    world.run();
    assert_eq!(world.closed, door);
    assert_eq!(world.send_away(&whom, None), 0);
    assert_eq!(world.hub.mounts(world.now).len(), 2, "both are published");
    let mounts = world.hub.mounts(world.now);
    let key = mounts[1].readers[0].key;
    assert_eq!(world.send_away(&Whom::Session(key), None), 1);
    world.run();
    assert_eq!(world.closed.last(), Some(&yard));
}

// RFC 3550 §6.6.
#[test]
fn a_publisher_whose_sources_have_all_said_goodbye_ends() {
    let mut world = World::new();
    let publisher = world.publish("alice/door");
    world.send(publisher, 0, 1, 0, KEY);
    world.send(publisher, 2, 1, 0, &[7; 160]);
    world.say_bye(publisher, 0);
    world.pass(Duration::from_secs(3));
    assert!(world.is_published(), "its sound goes on");
    world.say_bye(publisher, 2);
    world.pass(Duration::from_millis(900));
    assert!(world.is_published(), "what was on the way may come");
    world.pass(Duration::from_millis(200));
    assert!(!world.is_published());
    assert_eq!(world.closed, [publisher]);
}

#[test]
fn who_says_goodbye_and_goes_on_sending_has_not_meant_it() {
    let mut world = World::new();
    let publisher = world.publish("alice/door");
    for sequence in 1..4 {
        world.send(publisher, 0, sequence, 0, KEY);
    }
    world.say_bye(publisher, 0);
    world.send(publisher, 0, 4, 3_600, OTHER);
    world.pass(Duration::from_millis(600));
    for sequence in 5..8 {
        world.send(publisher, 0, sequence, 7_200, OTHER);
    }
    world.pass(Duration::from_secs(5));
    assert!(world.is_published());
}

// Guards pitfall RTSP 2.
#[test]
fn a_publisher_over_udp_that_was_killed_is_gone_before_its_session_would_time_out() {
    let mut world = World::new();
    let killed = world.publish_by(SDP, &["RTP/AVP;unicast;client_port=6000-6001"]);
    let pair = PairId(world.hub.plane_pairs()[0]);
    let mut sequence = 0;
    let mut send = |world: &mut World| {
        sequence += 1;
        let header = Header {
            marker: true,
            payload_type: 96,
            sequence,
            timestamp: u32::from(sequence) * 90_000,
            ssrc: 5,
        };
        let mut packet = Vec::new();
        header.write(KEY, &mut packet);
        let socket = SocketId { pair, is_rtcp: false };
        let from = SocketAddr::new([127, 0, 0, 2].into(), 6_000);
        world.hub.handle_datagram(world.now, socket, from, packet.into());
        world.run();
    };
    send(&mut world);
    world.hub.handle_closed(world.now, killed);
    world.run();
    for _ in 0..40 {
        world.pass(Duration::from_secs(1));
        send(&mut world);
    }
    assert!(world.is_published(), "its packets are signs of life");
    world.pass(Duration::from_secs(11));
    assert!(!world.is_published());
    assert!(world.hub.plane_pairs().is_empty());
    world.closed.clear();
    // While one is silent and does not seem gone, the next has the mount at once.
    let silent = world.publish_by(SDP, &["RTP/AVP;unicast;client_port=6000-6001"]);
    let next = world.publish("alice/door");
    world.send(next, 0, 1, 0, KEY);
    assert!(world.is_published());
    assert_eq!(world.closed, [silent]);
}

// RFC 2326 §12.23, §12.24.
#[test]
fn a_file_has_a_date_and_who_knows_it_is_told_so() {
    let mut world = World::new();
    world.files.insert("a.wav".into(), wav());
    let id = world.connect();
    let since = |date: &str| {
        format!("DESCRIBE rtsp://h/alice/sound RTSP/1.0\nCSeq: 1\nIf-Modified-Since: {date}\n\n")
    };
    let date = "Tue, 14 Nov 2023 22:13:20 GMT";
    let described = world.ask(id, &since("Tue, 14 Nov 2023 22:13:19 GMT"));
    assert!(described.starts_with("RTSP/1.0 200"), "{described}");
    assert!(
        described.contains(&format!("Last-Modified: {date}\r\n")),
        "{described}"
    );
    let known = world.ask(id, &since(date));
    assert!(known.starts_with("RTSP/1.0 304"), "{known}");
    assert!(known.ends_with("\r\n\r\n"), "{known}");
    let set_up = format!(
        "SETUP rtsp://h/alice/sound/trackID=0 RTSP/1.0\nCSeq: 2\nIf-Modified-Since: {date}\nTransport: {}\n\n",
        TCP[0]
    );
    assert!(world.ask(id, &set_up).starts_with("RTSP/1.0 304"));
    // Another file beside it, however old, is a change.
    world.files.insert("b.wav".into(), wav());
    world.pass(Duration::from_secs(5));
    let changed = world.ask(id, &since(date));
    assert!(changed.starts_with("RTSP/1.0 200"), "{changed}");
    assert!(
        changed.contains("Last-Modified: Tue, 14 Nov 2023 22:13:25 GMT\r\n"),
        "{changed}"
    );
    // What is live changes all the time.
    world.publish("alice/door");
    let live = world.ask(id, "DESCRIBE rtsp://h/alice/door RTSP/1.0\nCSeq: 3\n\n");
    assert!(!live.contains("Last-Modified"), "{live}");
}

// ITU-T H.264 §D.2.8.
#[test]
fn readers_begin_with_recovery_points_and_without_those_with_any_picture_after_a_while() {
    let mut world = World::new();
    let sdp = SDP.replace(
        "a=rtpmap:96 H264/90000\r\n",
        "a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1;sprop-parameter-sets=Z2QAKKzZQHgCJ+XARAAAAwAEAAADAMg8YMZY,aOvjyw==\r\n",
    );
    let publisher = world.publish_by(&sdp, &["RTP/AVP/TCP;unicast;interleaved=0-1"]);
    let (early, _) = world.read("alice/door", &TCP[..1]);
    let mut sequence = 0;
    let mut send = |world: &mut World, picture: u32, payload: &[u8]| {
        sequence += 1;
        world.send(publisher, 0, sequence, picture * 3_600, payload);
    };
    for picture in 0..240 {
        send(&mut world, picture, OTHER);
        world.pass(Duration::from_millis(34));
    }
    assert!(world.received(early, 0).is_empty());
    for picture in 240..300 {
        send(&mut world, picture, OTHER);
        world.pass(Duration::from_millis(34));
    }
    let began = world.received(early, 0).len();
    assert!((45..=50).contains(&began), "it begins after ten seconds: {began}");
    // One that comes then begins at once.
    let (late, _) = world.read("alice/door", &TCP[..1]);
    send(&mut world, 300, OTHER);
    assert_eq!(world.received(late, 0).len(), 2);
    let recovery: &[u8] = &[0x06, 6, 1, 0xc4, 0x80];
    send(&mut world, 301, recovery);
    send(&mut world, 301, OTHER);
    send(&mut world, 302, OTHER);
    let (last, _) = world.read("alice/door", &TCP[..1]);
    send(&mut world, 303, OTHER);
    let payloads: Vec<_> = world
        .received(last, 0)
        .into_iter()
        .map(|(_, payload)| payload)
        .collect();
    assert_eq!(payloads, [recovery, OTHER, OTHER, OTHER]);
}
