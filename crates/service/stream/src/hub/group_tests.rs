//! Mounts that are sent to groups, without a socket.

use super::tests::{KEY, OTHER, TCP, UDP, World};
use super::*;
use ringpost_rtp::rtcp::{Compound, RtcpPacket, Writer};
use ringpost_sdp::SessionDescription;
use ringpost_sdp::sap::{Kind, Packet};
use std::net::Ipv4Addr;

const GROUP: [&str; 2] = ["RTP/AVP;multicast", "RTP/AVP;multicast"];

fn fixed(is_announced: bool) -> Config {
    fixed_at("239.255.1.1:6000", is_announced)
}

fn fixed_at(group: &str, is_announced: bool) -> Config {
    let multicast = Some(GroupSettings {
        fixed: Some(group.parse().unwrap()),
        ttl: 7,
        is_announced,
    });
    let settings = MountSettings {
        multicast,
        ..MountSettings::default()
    };
    Config {
        settings: vec![("alice/door".parse().unwrap(), settings)],
        sap: is_announced,
        ..Config::default()
    }
}

fn ranged(bits: u8) -> Config {
    let multicast = Some(GroupSettings {
        fixed: None,
        ttl: 1,
        is_announced: false,
    });
    let settings = MountSettings {
        multicast,
        ..MountSettings::default()
    };
    Config {
        settings: vec![("alice/*".parse().unwrap(), settings)],
        groups: Some(GroupRange {
            address: "239.255.42.0".parse().unwrap(),
            bits,
            port: 5_004,
        }),
        ..Config::default()
    }
}

fn setup(world: &mut World, mount: &str, transport: &str) -> (ConnectionId, String) {
    let id = world.connect();
    let request = format!("SETUP rtsp://h/{mount}/trackID=0 RTSP/1.0\nCSeq: 1\nTransport: {transport}\n\n");
    (id, world.ask(id, &request))
}

fn transport(response: &str) -> &str {
    let mut lines = response.lines();
    let line = lines.find_map(|line| line.strip_prefix("Transport: "));
    line.unwrap_or_else(|| panic!("no transport in {response}"))
}

/// The datagrams that went to this port of the group since the last look.
fn sent_to(world: &mut World, port: u16) -> Vec<Bytes> {
    let to: SocketAddr = SocketAddr::new([239, 255, 1, 1].into(), port);
    let sent = world.datagrams.extract_if(.., |(_, of, _)| *of == to);
    sent.map(|(.., bytes)| bytes).collect()
}

fn payloads(packets: &[Bytes]) -> Vec<Vec<u8>> {
    let read = packets
        .iter()
        .map(|bytes| ringpost_rtp::Packet::parse(bytes).unwrap());
    read.map(|packet| packet.payload().to_vec()).collect()
}

fn has_bye(packets: &[Bytes]) -> bool {
    packets.iter().any(|bytes| {
        let compound = Compound::parse(bytes, true).unwrap();
        compound
            .iter()
            .any(|packet| matches!(packet, RtcpPacket::Bye { .. }))
    })
}

fn teardown(world: &mut World, id: ConnectionId, session: &str) {
    let request = format!("TEARDOWN rtsp://h/alice/door RTSP/1.0\nCSeq: 9\nSession: {session}\n\n");
    let response = world.ask(id, &request);
    assert!(response.starts_with("RTSP/1.0 200"), "{response}");
}

fn info(world: &World, mount: &str) -> MountInfo {
    let mounts = world.hub.mounts(world.now);
    mounts
        .into_iter()
        .find(|info| info.name.as_str() == mount)
        .unwrap()
}

#[test]
fn several_readers_of_a_group_cost_one_packet_each_time_and_the_last_one_ends_it() {
    let mut world = World::with(fixed(false));
    let publisher = world.publish("alice/door");
    world.send(publisher, 0, 10, 0, KEY);
    assert!(world.groups.is_empty(), "nobody wants it yet");
    let (first, played) = world.read("alice/door", &GROUP);
    assert!(
        played.contains("RTP-Info: url=rtsp://h/alice/door/trackID=0;seq="),
        "{played}"
    );
    let opened: Vec<_> = world
        .groups
        .values()
        .map(|(to, ttl)| (to.to_string(), *ttl))
        .collect();
    assert_eq!(
        opened,
        [("239.255.1.1:6000".into(), 7), ("239.255.1.1:6002".into(), 7)]
    );
    let (second, again) = world.read("alice/door", &GROUP);
    world.send(publisher, 0, 11, 3_600, OTHER);
    world.send(publisher, 2, 70, 160, &[7; 160]);
    assert_eq!(payloads(&sent_to(&mut world, 6_000)), [KEY, OTHER]);
    assert_eq!(payloads(&sent_to(&mut world, 6_002)), [[7; 160]]);
    assert_eq!(
        sent_to(&mut world, 6_001).len(),
        2,
        "one report for each who begins"
    );
    let door = info(&world, "alice/door");
    assert_eq!(door.readers.len(), 2, "the sender is none");
    assert!(door.readers.iter().all(|reader| reader.is_in_group));
    let group = door.group.unwrap();
    assert_eq!(
        (group.is_sending, group.sent_packets, group.is_announced),
        (true, 3, false)
    );
    // Who begins later has one too.
    world.pass(Duration::from_secs(1));
    sent_to(&mut world, 6_001);
    world.read("alice/door", &GROUP);
    assert_eq!(sent_to(&mut world, 6_001).len(), 1);
    for _ in 0..30 {
        let reader = info(&world, "alice/door").readers[2].key;
        world.kick(reader);
        world.run();
        world.read("alice/door", &GROUP);
    }
    assert!(sent_to(&mut world, 6_001).len() <= 10, "but no flood of them");
    let third = info(&world, "alice/door").readers[2].key;
    assert!(world.kick(third));
    world.run();
    assert!(
        !has_bye(&sent_to(&mut world, 6_001)),
        "the group goes on without it"
    );
    // Reports go on to the port behind.
    world.pass(Duration::from_secs(8));
    assert!(!sent_to(&mut world, 6_001).is_empty());
    teardown(&mut world, first, &World::session(&played));
    world.send(publisher, 0, 12, 7_200, OTHER);
    assert_eq!(sent_to(&mut world, 6_000).len(), 1, "the other one hears it");
    assert!(!has_bye(&sent_to(&mut world, 6_001)));
    teardown(&mut world, second, &World::session(&again));
    assert!(has_bye(&sent_to(&mut world, 6_001)));
    assert!(world.groups.is_empty(), "its sockets are closed");
    world.send(publisher, 0, 13, 10_800, OTHER);
    assert!(sent_to(&mut world, 6_000).is_empty());
    assert_eq!(info(&world, "alice/door").group, None);
}

#[test]
fn setup_tells_the_groups_own_ports_and_time_to_live() {
    let mut world = World::with(fixed(false));
    world.publish("alice/door");
    let (_, response) = setup(&mut world, "alice/door", "RTP/AVP;multicast");
    let told = transport(&response);
    for part in [
        "RTP/AVP;multicast;",
        "destination=239.255.1.1;",
        "ttl=7;",
        "port=6000-6001;",
        "ssrc=",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    // The description names no group: whoever wants the mount for itself has it too.
    let id = world.connect();
    let described = world.ask(id, "DESCRIBE rtsp://h/alice/door RTSP/1.0\nCSeq: 1\n\n");
    assert!(described.contains("c=IN IP4 0.0.0.0\r\n"), "{described}");
    assert!(described.contains("m=video 0 RTP/AVP 96\r\n"), "{described}");
}

// Guards pitfall RTSP 7: no client says where packets go.
#[test]
fn a_group_that_the_client_chooses_is_not_sent_to() {
    let mut world = World::with(fixed(false));
    let publisher = world.publish("alice/door");
    let wanted = "RTP/AVP;multicast;destination=239.9.9.9;port=7000-7001;ttl=200";
    let (_, played) = world.read("alice/door", &[wanted]);
    assert!(played.contains("200 OK"));
    let (_, response) = setup(&mut world, "alice/door", wanted);
    let told = transport(&response);
    assert!(
        told.contains("destination=239.255.1.1;ttl=7;port=6000-6001"),
        "{told}"
    );
    world.send(publisher, 0, 10, 0, KEY);
    let elsewhere = world
        .datagrams
        .iter()
        .filter(|(_, to, _)| to.ip() != Ipv4Addr::new(239, 255, 1, 1));
    assert_eq!(elsewhere.count(), 0);
    assert!(!world.datagrams.is_empty());
}

#[test]
fn without_a_group_a_mount_is_sent_to_each_reader_alone_or_not_at_all() {
    let mut world = World::new();
    world.publish("alice/door");
    let (_, response) = setup(&mut world, "alice/door", "RTP/AVP;multicast");
    assert!(response.starts_with("RTSP/1.0 461"), "{response}");
    let both = "RTP/AVP;multicast,RTP/AVP;unicast;client_port=5000-5001";
    let (_, response) = setup(&mut world, "alice/door", both);
    assert!(transport(&response).contains("unicast"), "{response}");
    // A group is for what is live, and never to publish by.
    let mut world = World::with(fixed(false));
    let (_, response) = setup(&mut world, "alice/door", "RTP/AVP;multicast");
    assert!(response.starts_with("RTSP/1.0 404"), "{response}");
    // Where both could be, the client's order decides.
    let publisher = world.publish("alice/door");
    let (_, response) = setup(&mut world, "alice/door", both);
    assert!(transport(&response).contains("multicast"), "{response}");
    let (_, response) = setup(
        &mut world,
        "alice/door",
        "RTP/AVP;unicast;client_port=5000-5001,RTP/AVP;multicast",
    );
    assert!(transport(&response).contains("unicast"), "{response}");
    // Readers of every kind beside each other.
    let (tcp, _) = world.read("alice/door", &TCP);
    let _udp = world.read("alice/door", &UDP);
    let _group = world.read("alice/door", &GROUP);
    world.send(publisher, 0, 10, 0, KEY);
    assert_eq!(world.received(tcp, 0).len(), 1);
    assert_eq!(sent_to(&mut world, 6_000).len(), 1);
    let alone = SocketAddr::new([127, 0, 0, 2].into(), 5_000);
    assert_eq!(
        world.datagrams.iter().filter(|(_, to, _)| *to == alone).count(),
        1
    );
}

#[test]
fn who_may_not_read_a_mount_does_not_get_its_group() {
    let mut world = World::with(fixed(false));
    world.publish("alice/door");
    world.allows = false;
    let (_, response) = setup(&mut world, "alice/door", "RTP/AVP;multicast");
    assert!(response.starts_with("RTSP/1.0 401"), "{response}");
    assert!(world.groups.is_empty());
}

#[test]
fn a_session_goes_to_the_group_or_to_its_client_and_not_to_both() {
    let mut world = World::with(fixed(false));
    world.publish("alice/door");
    let (id, response) = setup(&mut world, "alice/door", "RTP/AVP;multicast");
    let session = World::session(&response);
    let request = |transport: &str| {
        format!(
            "SETUP rtsp://h/alice/door/trackID=1 RTSP/1.0\nCSeq: 2\nSession: {session}\nTransport: {transport}\n\n"
        )
    };
    let response = world.ask(id, &request("RTP/AVP;unicast;client_port=5000-5001"));
    assert!(response.starts_with("RTSP/1.0 461"), "{response}");
    let response = world.ask(id, &request("RTP/AVP;multicast"));
    assert!(transport(&response).contains("port=6002-6003"), "{response}");
    let past = format!(
        "PLAY rtsp://h/alice/door RTSP/1.0\nCSeq: 3\nSession: {session}\nRange: clock=20260101T000000Z-\n\n"
    );
    assert!(world.ask(id, &past).starts_with("RTSP/1.0 457"));
}

#[test]
fn pause_stops_the_group_when_nobody_else_plays_it() {
    let mut world = World::with(fixed(false));
    let publisher = world.publish("alice/door");
    let (id, played) = world.read("alice/door", &GROUP);
    let session = World::session(&played);
    let request =
        |method: &str| format!("{method} rtsp://h/alice/door RTSP/1.0\nCSeq: 4\nSession: {session}\n\n");
    world.send(publisher, 0, 10, 0, KEY);
    assert_eq!(sent_to(&mut world, 6_000).len(), 1);
    assert!(world.ask(id, &request("PAUSE")).starts_with("RTSP/1.0 200"));
    world.send(publisher, 0, 11, 3_600, OTHER);
    assert!(sent_to(&mut world, 6_000).is_empty());
    assert_eq!(world.groups.len(), 2, "it is set up all the same");
    assert!(world.ask(id, &request("PLAY")).starts_with("RTSP/1.0 200"));
    assert_eq!(payloads(&sent_to(&mut world, 6_000)), [KEY, OTHER]);
    // Who joins it when all is sent is told what comes next (RFC 2326 §12.33).
    let (_, second) = world.read("alice/door", &GROUP);
    assert!(
        second.contains("RTP-Info: ") && second.contains(";rtptime="),
        "{second}"
    );
}

#[test]
fn a_group_goes_on_with_the_next_publisher_and_ends_with_the_mount() {
    let mut world = World::with(fixed(false));
    let publisher = world.publish("alice/door");
    world.read("alice/door", &GROUP);
    world.send(publisher, 0, 10, 0, KEY);
    let before = sent_to(&mut world, 6_000);
    world.hub.handle_closed(world.now, publisher);
    world.run();
    world.pass(Duration::from_secs(3));
    let publisher = world.publish("alice/door");
    world.send(publisher, 0, 900, 77, KEY);
    let after = sent_to(&mut world, 6_000);
    let of = |bytes: &Bytes| {
        let packet = ringpost_rtp::Packet::parse(bytes).unwrap();
        (packet.ssrc(), packet.sequence())
    };
    let (ssrc, sequence) = of(&before[0]);
    assert_eq!(of(&after[0]), (ssrc, sequence.wrapping_add(1)));
    sent_to(&mut world, 6_001);
    world.hub.handle_closed(world.now, publisher);
    world.run();
    let sessions = world.hub.session_ids().len();
    world.pass(Duration::from_secs(60));
    assert!(has_bye(&sent_to(&mut world, 6_001)));
    assert!(world.groups.is_empty() && world.hub.mounts(world.now).is_empty());
    assert!(
        sessions > 0 && world.hub.session_ids().is_empty(),
        "its readers are sent away"
    );
}

#[test]
fn groups_of_a_range_are_each_mounts_own_and_are_given_back() {
    let mut world = World::with(ranged(31));
    let mounts = ["alice/a", "alice/b", "alice/c"];
    for mount in mounts {
        world.publish(mount);
    }
    let mut destinations = Vec::new();
    let mut readers = Vec::new();
    for mount in &mounts[..2] {
        let (id, response) = setup(&mut world, mount, "RTP/AVP;multicast");
        destinations.push(transport(&response).split(';').nth(2).unwrap().to_owned());
        readers.push(id);
    }
    assert_eq!(
        destinations,
        ["destination=239.255.42.0", "destination=239.255.42.1"]
    );
    let (_, response) = setup(&mut world, mounts[2], "RTP/AVP;multicast");
    assert!(response.starts_with("RTSP/1.0 453"), "{response}");
    // The session of a reader by UDP, or by a group, outlives its connection, and then expires.
    world.hub.handle_closed(world.now, readers[0]);
    world.run();
    let (_, response) = setup(&mut world, mounts[2], "RTP/AVP;multicast");
    assert!(response.starts_with("RTSP/1.0 453"), "{response}");
    world.pass(Duration::from_secs(61));
    let (_, response) = setup(&mut world, mounts[2], "RTP/AVP;multicast");
    assert!(
        transport(&response).contains("destination=239.255.42.0;"),
        "{response}"
    );
}

// Guards pitfall RTSP 2: RTCP that comes to the group is a sign of life, our own is not.
#[test]
fn who_reports_to_the_group_is_there_and_who_says_nothing_is_not() {
    let mut world = World::with(fixed(false));
    let publisher = world.publish("alice/door");
    let (_, played) = world.read("alice/door", &GROUP);
    let session = World::session(&played);
    let pair = *world.groups.keys().next().unwrap();
    let socket = SocketId { pair, is_rtcp: true };
    let mut report = Vec::new();
    Writer::new(&mut report).receiver_report(99, &[]);
    let reader = SocketAddr::new([127, 0, 0, 2].into(), 6_001);
    let is_there = |world: &World| world.hub.session_ids().contains(&session);
    for n in 0..20u16 {
        world.send(publisher, 0, 10 + n, u32::from(n) * 90_000, KEY);
        world.pass(Duration::from_secs(5));
        let datagram = Bytes::from(report.clone());
        world.hub.handle_datagram(world.now, socket, reader, datagram);
        world.run();
    }
    assert!(is_there(&world));
    let mut own_reports = 0;
    for n in 20..40u16 {
        world.send(publisher, 0, 10 + n, u32::from(n) * 90_000, KEY);
        world.pass(Duration::from_secs(5));
        // Our own reports come back, and strangers report too.
        for own in sent_to(&mut world, 6_001) {
            own_reports += 1;
            world.hub.handle_datagram(world.now, socket, reader, own);
        }
        let stranger = SocketAddr::new([127, 0, 0, 3].into(), 6_001);
        let datagram = Bytes::from(report.clone());
        world.hub.handle_datagram(world.now, socket, stranger, datagram);
        world.run();
    }
    assert!(own_reports > 5, "{own_reports}");
    assert!(!is_there(&world));
    assert!(world.groups.is_empty());
}

fn sources() -> Sources {
    Sources {
        v4: Some(Ipv4Addr::new(192, 0, 2, 7)),
        v6: None,
    }
}

#[test]
fn an_announced_mount_is_sent_as_long_as_it_is_live_and_described_whole() {
    let mut world = World::with(fixed(true));
    let publisher = world.publish("alice/door");
    world.send(publisher, 0, 10, 0, KEY);
    assert_eq!(
        sent_to(&mut world, 6_000).len(),
        1,
        "though nobody has asked for it"
    );
    assert!(
        world.announced.is_empty(),
        "it is not known yet where it comes from"
    );
    world.hub.set_sources(world.now, sources());
    world.run();
    let [(to, bytes)] = &world.announced[..] else {
        panic!("{:?}", world.announced)
    };
    assert_eq!(to.to_string(), "239.255.255.255:9875");
    let packet = Packet::parse(bytes).unwrap();
    assert_eq!(
        (packet.kind, packet.source),
        (Kind::Announcement, IpAddr::from([192, 0, 2, 7]))
    );
    let text = String::from_utf8(packet.payload.to_vec()).unwrap();
    let description = SessionDescription::parse(packet.payload).unwrap();
    assert_eq!(description.name, "alice/door");
    for line in [
        "c=IN IP4 239.255.1.1/7\r\n",
        "m=video 6000 RTP/AVP 96\r\n",
        "m=audio 6002 RTP/AVP 0\r\n",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(!text.contains("a=control") && !text.contains("a=range"), "{text}");
    // What comes back of it is no session of others.
    let group = to.ip();
    let from = IpAddr::from([192, 0, 2, 7]);
    let bytes = bytes.clone();
    world
        .hub
        .handle_announcement(world.now, group, from, &bytes)
        .unwrap();
    assert!(world.hub.announced(world.now).is_empty());
    // Readers come and go.
    let (reader, played) = world.read("alice/door", &GROUP);
    teardown(&mut world, reader, &World::session(&played));
    sent_to(&mut world, 6_000);
    world.send(publisher, 0, 11, 3_600, OTHER);
    assert_eq!(sent_to(&mut world, 6_000).len(), 1);
    world.announced.clear();
    world.hub.handle_closed(world.now, publisher);
    world.run();
    world.pass(Duration::from_secs(11));
    let [(_, bytes)] = &world.announced[..] else {
        panic!("{:?}", world.announced)
    };
    assert_eq!(Packet::parse(bytes).unwrap().kind, Kind::Deletion);
    assert!(world.groups.is_empty());
}

// RFC 4566 §5.7: a group of IPv6 has a scope in place of a time to live.
#[test]
fn a_group_of_ipv6_is_told_to_readers_and_announced_without_a_time_to_live() {
    let mut world = World::with(fixed_at("[ff15::1]:6000", true));
    world.publish("alice/door");
    world.hub.set_sources(world.now, sources());
    world.run();
    assert!(world.announced.is_empty(), "no address of ours leads there");
    let v6 = Some("2001:db8::7".parse().unwrap());
    world.hub.set_sources(world.now, Sources { v4: None, v6 });
    world.run();
    let [(to, bytes)] = &world.announced[..] else {
        panic!("{:?}", world.announced)
    };
    assert_eq!(to.to_string(), "[ff05::2:7ffe]:9875", "its scope's");
    let packet = Packet::parse(bytes).unwrap();
    assert_eq!(packet.source.to_string(), "2001:db8::7");
    let text = String::from_utf8(packet.payload.to_vec()).unwrap();
    for line in [
        " IN IP6 2001:db8::7\r\n",
        "c=IN IP6 ff15::1\r\n",
        "m=video 6000 RTP/AVP 96\r\n",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let (_, response) = setup(&mut world, "alice/door", GROUP[0]);
    let transport = transport(&response);
    assert!(
        transport.contains(";destination=ff15::1;") && transport.contains(";port=6000-6001"),
        "{transport}"
    );
}

#[test]
fn a_group_that_cannot_be_opened_is_refused_and_tried_again_where_it_is_announced() {
    let mut world = World::with(fixed(true));
    world.has_groups = false;
    let publisher = world.publish("alice/door");
    let (_, response) = setup(&mut world, "alice/door", "RTP/AVP;multicast");
    assert!(response.starts_with("RTSP/1.0 453"), "{response}");
    world.has_groups = true;
    world.pass(Duration::from_secs(10));
    world.send(publisher, 0, 10, 0, KEY);
    assert_eq!(sent_to(&mut world, 6_000).len(), 1);
}

#[test]
fn other_settings_end_a_group_and_a_stop_takes_the_announcement_back() {
    let mut world = World::with(fixed(true));
    world.hub.set_sources(world.now, sources());
    let publisher = world.publish("alice/door");
    let (_, played) = world.read("alice/door", &GROUP);
    assert_eq!(world.announced.len(), 1);
    world.hub.set_settings(world.now, fixed(false).settings);
    world.run();
    assert_eq!(world.announced.len(), 2);
    assert!(!world.hub.session_ids().contains(&World::session(&played)));
    assert!(world.groups.is_empty());
    world.hub.set_settings(world.now, fixed(true).settings);
    world.run();
    assert_eq!((world.announced.len(), world.groups.len()), (3, 2));
    world.send(publisher, 0, 10, 0, KEY);
    world.hub.shut_down(world.now);
    world.run();
    let last = &world.announced.last().unwrap().1;
    assert_eq!(Packet::parse(last).unwrap().kind, Kind::Deletion);
    assert!(has_bye(&sent_to(&mut world, 6_001)));
}

#[test]
fn what_others_announce_is_listed_while_they_do() {
    let mut world = World::with(Config {
        sap: true,
        ..Config::default()
    });
    let text = "v=0\r\no=- 5 1 IN IP4 192.0.2.9\r\ns=Radio\r\nc=IN IP4 239.255.3.3/4\r\nt=0 0\r\nm=audio 5010 RTP/AVP 0\r\n";
    let packet = Packet {
        kind: Kind::Announcement,
        hash: 3,
        source: IpAddr::from([192, 0, 2, 9]),
        is_signed: false,
        payload_type: None,
        payload: text.as_bytes(),
    };
    let mut bytes = Vec::new();
    packet.write(&mut bytes);
    let group = IpAddr::from([239, 255, 255, 255]);
    let from = IpAddr::from([192, 0, 2, 9]);
    world
        .hub
        .handle_announcement(world.now, group, from, &bytes)
        .unwrap();
    world.run();
    world.pass(Duration::from_secs(90));
    let announced = world.hub.announced(world.now);
    let [radio] = &announced[..] else {
        panic!("{announced:?}")
    };
    assert_eq!(
        (&*radio.name, radio.source, &radio.media[..]),
        ("Radio", from, &["audio".to_owned()][..])
    );
    assert_eq!(radio.group, Some("239.255.3.3:5010".parse().unwrap()));
    assert_eq!(radio.age, Duration::from_secs(90));
    world.pass(Duration::from_secs(3_600));
    assert!(world.hub.announced(world.now).is_empty());
    assert!(
        world
            .hub
            .handle_announcement(world.now, group, from, b"x")
            .is_err()
    );
    // Where it is not wanted nothing is remembered.
    let mut world = World::new();
    world
        .hub
        .handle_announcement(world.now, group, from, &bytes)
        .unwrap();
    assert!(world.hub.announced(world.now).is_empty());
}
