use super::*;

const CAM: &str = "rtsp://h/alice/cam";

#[test]
fn a_stream_is_described_set_up_played_paused_and_torn_down() {
    let mut world = World::new();
    let options = world.request("OPTIONS *", "");
    let public = options.headers.field("Public").unwrap();
    for method in ["DESCRIBE", "SETUP", "PLAY", "RECORD", "GET_PARAMETER"] {
        assert!(public.contains(method));
    }
    let described = world.request(&format!("DESCRIBE {CAM}?x=1"), "Accept: application/sdp\r\n");
    assert_eq!(
        described.headers.field("Content-Base"),
        Some("rtsp://h/alice/cam/?x=1/")
    );
    assert_eq!(&described.body[..], SDP.as_bytes());
    let id = world.set_up(&format!("{CAM}/trackID=0"), None);
    assert!(id.len() >= 16);
    let second = world.request(
        &format!("SETUP {CAM}/trackID=1"),
        &with_session(&id, "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"),
    );
    // The first has these channels.
    assert_eq!(
        second.headers.field("Transport"),
        Some("RTP/AVP/TCP;unicast;interleaved=2-3;ssrc=0000BEEF")
    );
    assert_eq!(world.state(), State::Ready);
    let played = world.request(
        &format!("PLAY {CAM}/"),
        &with_session(&id, "Range: npt=3-\r\nScale: -2.5\r\nSpeed: 2\r\n"),
    );
    assert_eq!(played.headers.field("Range"), Some("npt=3.000-"));
    assert_eq!(played.headers.field("Scale"), Some("-2.5"));
    assert_eq!(played.headers.field("Speed"), Some("2"));
    assert_eq!(
        played.headers.field("RTP-Info"),
        Some(
            "url=rtsp://h/alice/cam/trackID=0;seq=7;rtptime=160,url=rtsp://h/alice/cam/trackID=1;seq=7;rtptime=160"
        )
    );
    assert_eq!(world.state(), State::Playing);
    assert_eq!(world.status(&format!("PAUSE {CAM}"), &with_session(&id, "")), 200);
    assert_eq!(world.state(), State::Ready);
    assert_eq!(
        world.status(&format!("TEARDOWN {CAM}"), &with_session(&id, "")),
        200
    );
    assert_eq!(world.ended(), [End::Teardown]);
    assert_eq!(world.status(&format!("PLAY {CAM}"), &with_session(&id, "")), 454);
    let Ask::Describe(place) = &world.asked[1] else {
        panic!("{:?}", world.asked)
    };
    assert_eq!(
        (place.mount.as_str(), place.query.as_deref()),
        ("alice/cam", Some("x=1"))
    );
}

#[test]
fn a_stream_is_announced_and_recorded() {
    let mut world = World::new();
    let id = world.publish("RTP/AVP/TCP;unicast;interleaved=0-1;mode=record");
    let Some(Ask::Setup(setup)) = world.asked.last() else {
        panic!("{:?}", world.asked)
    };
    assert_eq!((setup.mode, setup.track), (crate::header::Mode::Record, Some(0)));
    assert_eq!(world.status(&format!("PLAY {CAM}"), &with_session(&id, "")), 455);
    let recorded = world.request(
        &format!("RECORD {CAM}"),
        &with_session(&id, "Range: npt=0.000-\r\n"),
    );
    assert_eq!(recorded.headers.field("Range"), Some("npt=0.000-"));
    assert_eq!(world.state(), State::Recording);
    world.send_bytes(&[frame(0, b"rtp"), frame(1, b"rtcp"), frame(9, b"stray")].concat());
    let media: Vec<_> = world
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Media {
                track, is_rtcp, data, ..
            } => Some((*track, *is_rtcp, &data[..])),
            _ => None,
        })
        .collect();
    assert_eq!(media, [(0, false, &b"rtp"[..]), (0, true, &b"rtcp"[..])]);
    assert_eq!(world.server.strays(), 1);
    let places = world.asked.iter().filter_map(|ask| match ask {
        Ask::Authorize { place, access } => Some((place.mount.as_str(), *access)),
        _ => None,
    });
    let publish = ("alice/cam", Access::Publish);
    assert_eq!(
        places.collect::<Vec<_>>(),
        [publish, publish],
        "the stream's name is no part of the mount's"
    );
    let other = world.request_with(
        "ANNOUNCE rtsp://h/alice/other",
        "Content-Type: application/sdp\r\n",
        "v=0\r\n",
    );
    assert_eq!(
        other.status.code(),
        455,
        "one connection publishes one presentation at a time"
    );
}

#[test]
fn what_was_not_announced_cannot_be_recorded() {
    let mut world = World::new();
    let record = "Transport: RTP/AVP/TCP;interleaved=0-1;mode=record\r\n";
    let refused = world.request_with(&format!("SETUP {CAM}/streamid=0"), record, "");
    assert_eq!(refused.status.code(), 455);
    assert_eq!(
        refused.headers.field("Allow"),
        Some("OPTIONS, DESCRIBE, ANNOUNCE, SETUP"),
        "what comes first"
    );
    world.publish("RTP/AVP/TCP;interleaved=0-1;mode=record");
    assert_eq!(world.status(&format!("SETUP {CAM}/streamid=1"), record), 455);
}

/// Every refusal that the machine gives by itself: method and URL, fields, status, and a field that comes with it.
#[test]
fn what_is_wrong_with_a_request_gets_its_status() {
    let transport = "Transport: RTP/AVP/TCP;interleaved=0-1\r\n";
    for (head, fields, status, field) in [
        ("DANCE rtsp://h/a", "", 501, Some(("Public", "OPTIONS, DESCRIBE"))),
        (
            "REDIRECT rtsp://h/a",
            "",
            405,
            Some(("Allow", "OPTIONS, DESCRIBE")),
        ),
        (
            "PLAY rtsp://h/a",
            "Require: x.y, z\r\n",
            551,
            Some(("Unsupported", "x.y, z")),
        ),
        ("DESCRIBE *", "", 400, None),
        ("DESCRIBE /a", "", 400, None),
        ("DESCRIBE http://h/a", "", 400, None),
        ("DESCRIBE rtsp://h/", "", 404, None),
        ("DESCRIBE rtsp://h/../a", "", 404, None),
        ("DESCRIBE rtsp://h/a/%2e%2e/b", "", 404, None),
        ("DESCRIBE rtsp://h/a", "Accept: application/rtsl\r\n", 406, None),
        ("DESCRIBE rtsp://h/a", "Session: a b\r\n", 454, None),
        ("DESCRIBE rtsp://h/a", "Session: gone1234\r\n", 454, None),
        ("ANNOUNCE rtsp://h/a", "Content-Length: 0\r\n", 415, None),
        (
            "ANNOUNCE rtsp://h/a",
            "Content-Type: text/html\r\nContent-Length: 0\r\n",
            415,
            None,
        ),
        (
            "ANNOUNCE rtsp://h/a",
            "Content-Type: application/sdp\r\n",
            411,
            Some(("Connection", "close")),
        ),
        (
            "ANNOUNCE rtsp://h/a",
            "Content-Type: application/sdp\r\nContent-Encoding: gzip\r\nContent-Length: 0\r\n",
            415,
            None,
        ),
        ("SETUP rtsp://h/a", "", 400, None),
        ("SETUP rtsp://h/a", "Transport: x\r\n", 461, None),
        (
            "SETUP rtsp://h/a",
            "Transport: RAW/RAW/UDP;unicast;client_port=5000\r\n",
            461,
            None,
        ),
        (
            "SETUP rtsp://h/a",
            "Transport: RTP/SAVP;unicast;client_port=5000\r\n",
            461,
            None,
        ),
        ("SETUP rtsp://h/a", "Transport: RTP/AVP;unicast\r\n", 461, None),
        (
            "SETUP rtsp://h/a",
            "Transport: RTP/AVP;unicast;client_port=0-1\r\n",
            461,
            None,
        ),
        (
            "SETUP rtsp://h/a",
            "Transport: RTP/AVP/TCP;multicast\r\n",
            461,
            None,
        ),
        (
            "SETUP rtsp://h/a",
            "Transport: RTP/AVP;multicast;layers=2\r\n",
            461,
            None,
        ),
        (
            "SETUP rtsp://h/a",
            "Transport: RTP/AVP/TCP;interleaved=0-1;append;mode=record\r\n",
            455,
            None,
        ),
        (
            "SETUP rtsp://h/a",
            "Transport: RTP/AVP/TCP;interleaved=0-1;append\r\n",
            461,
            None,
        ),
        (
            "SETUP rtsp://h/a",
            "Transport: RTP/AVP;unicast;client_port=5000;destination=192.0.2.9\r\n",
            403,
            None,
        ),
        (
            "SETUP rtsp://h/a",
            "Conference: 199702170042\r\nTransport: RTP/AVP\r\n",
            452,
            None,
        ),
        ("PLAY rtsp://h/a", "", 454, None),
        ("PAUSE rtsp://h/a", "", 454, None),
        ("RECORD rtsp://h/a", "", 454, None),
        ("TEARDOWN rtsp://h/a", "", 454, None),
        ("PLAY rtsp://h/a", "Range: npt=x\r\n", 400, None),
        ("PLAY rtsp://h/a", "Range: bytes=0-\r\n", 456, None),
    ] {
        let mut world = World::new();
        let response = world.request(head, fields);
        assert_eq!(response.status.code(), status, "{head} {fields}");
        if let Some((name, value)) = field {
            let got = response.headers.field(name).unwrap_or_default();
            assert!(got.starts_with(value), "{head}: {got}");
        }
        assert!(!response.headers.iter().any(|(_, v)| v.contains("passwd")));
    }
    let mut world = World::new();
    let id = world.set_up("rtsp://h/a/trackID=0", None);
    for (head, fields, status) in [
        ("PLAY rtsp://h/a", "Scale: x\r\n", 400),
        ("PLAY rtsp://h/a", "Scale: 0\r\n", 456),
        ("PLAY rtsp://h/a", "Speed: 0\r\n", 456),
        ("PLAY rtsp://h/a", "Speed: -1\r\n", 456),
        ("PLAY rtsp://h/b", "", 404),
        ("PLAY rtsp://h/a/trackID=1", "", 404),
        ("PAUSE rtsp://h/a", "", 455),
        ("RECORD rtsp://h/a", "", 455),
        ("SETUP rtsp://h/b/trackID=0", transport, 459),
        ("GET_PARAMETER rtsp://h/a", "", 200),
        ("GET_PARAMETER *", "", 200),
        ("SET_PARAMETER rtsp://h/a", "", 200),
    ] {
        assert_eq!(
            world.status(head, &with_session(&id, fields)),
            status,
            "{head} {fields}"
        );
    }
    let wrong_state = world.request("PAUSE rtsp://h/a", &with_session(&id, ""));
    assert_eq!(wrong_state.headers.field("Allow"), Some("SETUP, PLAY, TEARDOWN"));
    assert_eq!(world.state(), State::Ready);
}

#[test]
fn what_the_mount_refuses_is_passed_on() {
    let refusal = |status: Status| Refusal {
        body: "x\r\n".into(),
        ..Refusal::from(status)
    };
    let mut moved = Refusal::moved(Status::MOVED_TEMPORARILY, &Url::parse("rtsp://i/a").unwrap());
    moved.headers.push("Retry-After", "5");
    for (kind, refused, head, fields, status, kind_of_body) in [
        (
            "Describe",
            refusal(Status::GONE),
            "DESCRIBE rtsp://h/a",
            "",
            410,
            Some("text/plain"),
        ),
        (
            "Describe",
            refusal(Status::SERVICE_UNAVAILABLE),
            "DESCRIBE rtsp://h/a",
            "",
            503,
            Some("text/plain"),
        ),
        ("Describe", moved, "DESCRIBE rtsp://h/a", "", 302, None),
        (
            "Describe",
            Status::OK.into(),
            "DESCRIBE rtsp://h/a",
            "",
            500,
            None,
        ),
        (
            "Authorize",
            Status::FORBIDDEN.into(),
            "DESCRIBE rtsp://h/a",
            "",
            403,
            None,
        ),
        (
            "Announce",
            Refusal {
                allow: vec![Method::Describe],
                ..Status::METHOD_NOT_ALLOWED.into()
            },
            "ANNOUNCE rtsp://h/a",
            "Content-Type: application/sdp\r\nContent-Length: 0\r\n",
            405,
            None,
        ),
        (
            "Setup",
            Status::NOT_ENOUGH_BANDWIDTH.into(),
            "SETUP rtsp://h/a",
            "Transport: RTP/AVP/TCP\r\n",
            453,
            None,
        ),
        (
            "Setup",
            Status::DESTINATION_UNREACHABLE.into(),
            "SETUP rtsp://h/a",
            "Transport: RTP/AVP/TCP\r\n",
            462,
            None,
        ),
    ] {
        let mut world = World::new();
        world.refusals.push((kind, refused));
        let response = world.request(head, fields);
        assert_eq!(response.status.code(), status);
        assert_eq!(response.headers.field("Content-Type"), kind_of_body);
        assert_eq!(world.server.sessions().count(), 0);
        match status {
            302 => {
                assert_eq!(response.headers.field("Location"), Some("rtsp://i/a"));
                assert_eq!(response.headers.field("Retry-After"), Some("5"));
            }
            405 => assert_eq!(response.headers.field("Allow"), Some("DESCRIBE")),
            _ => {}
        }
    }
    let mut world = World::new();
    world
        .refusals
        .push(("SetParameter", refusal(Status::PARAMETER_IS_READ_ONLY)));
    world.refusals.push(("Play", refusal(Status::INVALID_RANGE)));
    world
        .refusals
        .push(("GetParameter", refusal(Status::PARAMETER_NOT_UNDERSTOOD)));
    let kind = "Content-Type: text/parameters\r\n";
    let response = world.request_with("SET_PARAMETER rtsp://h/a", kind, "x: 1\r\n");
    assert_eq!((response.status.code(), &response.body[..]), (458, &b"x\r\n"[..]));
    assert_eq!(response.headers.field("Content-Type"), Some("text/parameters"));
    let response = world.request_with("GET_PARAMETER rtsp://h/a", kind, "x\r\n");
    assert_eq!(response.status.code(), 451);
    let response = world.request_with("GET_PARAMETER rtsp://h/a", "Content-Type: text/x\r\n", "x\r\n");
    assert_eq!(response.status.code(), 415);
    let id = world.set_up("rtsp://h/a/trackID=0", None);
    assert_eq!(
        world.status("PLAY rtsp://h/a", &with_session(&id, "Range: npt=9-\r\n")),
        457
    );
    assert_eq!(world.state(), State::Ready);
}

#[test]
fn an_answer_that_does_not_fit_is_our_mistake() {
    let mut world = World::new();
    world.next_channel_is_wrong = true;
    assert_eq!(
        world.status("SETUP rtsp://h/a", "Transport: RTP/AVP/TCP\r\n"),
        500
    );
    assert_eq!(world.server.sessions().count(), 0);
}

#[test]
fn streams_are_controlled_together_or_each() {
    for (control, aggregate, single) in [
        (Control::Any, 200, 200),
        (Control::Together, 200, 460),
        (Control::Each, 459, 200),
    ] {
        let mut world = World::new();
        world.control = control;
        let id = world.set_up("rtsp://h/a/trackID=0", None);
        let alone = world.status("PLAY rtsp://h/a", &with_session(&id, ""));
        assert_eq!(alone, 200, "with one stream there is no difference");
        world.set_up("rtsp://h/a/trackID=1", Some(&id));
        assert_eq!(
            world.status("PLAY rtsp://h/a", &with_session(&id, "")),
            aggregate,
            "{control:?}"
        );
        assert_eq!(
            world.status("PLAY rtsp://h/a/trackID=1", &with_session(&id, "")),
            single,
            "{control:?}"
        );
        assert_eq!(
            world.status("TEARDOWN rtsp://h/a/trackID=1", &with_session(&id, "")),
            200
        );
        assert!(
            world
                .events
                .iter()
                .any(|event| matches!(event, Event::TrackEnded { track: 1, .. }))
        );
        assert_eq!(world.state(), State::Playing);
        assert_eq!(
            world.status("TEARDOWN rtsp://h/a/trackID=0", &with_session(&id, "")),
            200
        );
        assert_eq!(world.ended(), [End::Teardown]);
    }
}

#[test]
fn one_stream_is_paused_while_the_other_plays() {
    let mut world = World::new();
    let id = world.set_up("rtsp://h/a/trackID=0", None);
    world.set_up("rtsp://h/a/trackID=1", Some(&id));
    assert_eq!(world.status("PLAY rtsp://h/a", &with_session(&id, "")), 200);
    assert_eq!(
        world.status("PAUSE rtsp://h/a/trackID=0", &with_session(&id, "")),
        200
    );
    let states: Vec<_> = world
        .server
        .sessions()
        .next()
        .unwrap()
        .tracks()
        .map(|(_, t)| t.state)
        .collect();
    assert_eq!(states, [State::Ready, State::Playing]);
    assert_eq!(
        world.status("PAUSE rtsp://h/a/trackID=0", &with_session(&id, "")),
        455
    );
}

// RFC 2326 §10.5: three PLAYs behind each other play one after the other.
#[test]
fn a_play_waits_for_one_that_comes_to_an_end() {
    let mut world = World::new();
    let id = world.set_up("rtsp://h/a/trackID=0", None);
    let session = SessionId(id.clone());
    for (range, queued) in [("npt=10-15", false), ("npt=20-25", true), ("npt=30-", true)] {
        let fields = with_session(&id, &format!("Range: {range}\r\n"));
        assert_eq!(world.status("PLAY rtsp://h/a", &fields), 200);
        let Some(Ask::Play(play)) = world.asked.last() else {
            panic!("{:?}", world.asked)
        };
        assert_eq!(play.is_queued, queued, "{range}");
    }
    world.server.handle_play_ended(world.now, &session, &[0]);
    world.server.handle_play_ended(world.now, &session, &[0]);
    assert_eq!(world.state(), State::Playing, "the last goes on");
    // What never ends is not waited for: this is a seek.
    world.status("PLAY rtsp://h/a", &with_session(&id, "Range: npt=3-4\r\n"));
    assert!(matches!(world.asked.last(), Some(Ask::Play(play)) if !play.is_queued));
    world.server.handle_play_ended(world.now, &session, &[0]);
    assert_eq!(world.state(), State::Ready);
    let many = with_session(&id, "Range: npt=1-2\r\n");
    let statuses: Vec<_> = (0..limits::RTSP_QUEUED_PLAYS + 3)
        .map(|_| world.status("PLAY rtsp://h/a", &many))
        .collect();
    assert_eq!(statuses.iter().filter(|s| **s == 503).count(), 2);
    assert_eq!(world.status("PAUSE rtsp://h/a", &with_session(&id, "")), 200);
    world.status("PLAY rtsp://h/a", &many);
    assert!(
        matches!(world.asked.last(), Some(Ask::Play(play)) if !play.is_queued),
        "PAUSE forgets what waits"
    );
}

#[test]
fn a_pause_at_a_later_point_plays_on_until_there() {
    let mut world = World::new();
    let id = world.set_up("rtsp://h/a/trackID=0", None);
    world.status("PLAY rtsp://h/a", &with_session(&id, "Range: npt=0-30\r\n"));
    world.status("PLAY rtsp://h/a", &with_session(&id, "Range: npt=40-50\r\n"));
    world.is_paused_later = true;
    let paused = world.request("PAUSE rtsp://h/a", &with_session(&id, "Range: npt=15-\r\n"));
    assert_eq!(paused.headers.field("Range"), Some("npt=15.000-"));
    assert_eq!(world.state(), State::Playing);
    world.server.handle_play_ended(world.now, &SessionId(id), &[0]);
    assert_eq!(world.state(), State::Ready);
}

// Guards pitfall RTSP 7.
#[test]
fn packets_go_to_nobody_but_the_client() {
    let mut world = World::new();
    let transport = "Transport: RTP/AVP;unicast;client_port=5000-5001;destination=";
    let list = format!("{transport}198.51.100.7, RTP/AVP;unicast;client_port=6000;destination=192.0.2.1\r\n");
    assert_eq!(world.status("SETUP rtsp://h/a", &list), 200);
    let Some(Ask::Setup(setup)) = world.asked.last() else {
        panic!("{:?}", world.asked)
    };
    assert_eq!(setup.candidates.len(), 1);
    assert_eq!(
        (
            setup.candidates[0].client_port.unwrap().rtp,
            &setup.candidates[0].destination
        ),
        (6000, &None)
    );
    for stranger in ["198.51.100.7", "example.com", "[::1]", "255.255.255.255"] {
        assert_eq!(
            world.status("SETUP rtsp://h/a", &format!("{transport}{stranger}\r\n")),
            403,
            "{stranger}"
        );
    }
    // Within the connection nothing is sent anywhere but there: what is said of a destination means nothing, the answer names
    // none, and clients behind a translator of addresses, which name an address that we do not see, are served.
    for transport in [
        "RTP/AVP/TCP;unicast;interleaved=0-1",
        "RTP/AVP/TCP;interleaved=0-1;source=203.0.113.9",
    ] {
        let mut world = World::new();
        let fields = format!("Transport: {transport};destination=198.51.100.7\r\n");
        let response = world.request("SETUP rtsp://h/a", &fields);
        assert_eq!(response.status.code(), 200);
        let granted = Transport::parse_all(response.headers.field("Transport").unwrap()).unwrap();
        assert_eq!((&granted[0].destination, &granted[0].source), (&None, &None));
        assert!(granted[0].interleaved.is_some());
    }
    // The same of who records over UDP: nobody is sent its reports for it.
    let record = "RTP/AVP;unicast;client_port=5000-5001;destination=198.51.100.7;mode=record";
    let sdp = "v=0\r\nm=video 0 RTP/AVP 96\r\na=control:streamid=0\r\n";
    let mut publisher = World::new();
    publisher.request_with("ANNOUNCE rtsp://h/a", "Content-Type: application/sdp\r\n", sdp);
    let set_up = publisher.status("SETUP rtsp://h/a/streamid=0", &format!("Transport: {record}\r\n"));
    assert_eq!(set_up, 403);
    // The group is the mount's.
    let group = "Transport: RTP/AVP;multicast;destination=224.2.0.1;port=4000;ttl=200\r\n";
    assert_eq!(world.status("SETUP rtsp://h/a", group), 200);
    let Some(Ask::Setup(setup)) = world.asked.last() else {
        panic!("{:?}", world.asked)
    };
    let candidate = &setup.candidates[0];
    assert_eq!(
        (&candidate.destination, candidate.port, candidate.ttl),
        (&None, None, None)
    );
}

#[test]
fn a_transport_is_changed_while_it_plays() {
    let mut world = World::new();
    let id = world.set_up("rtsp://h/a/trackID=0", None);
    world.status("PLAY rtsp://h/a", &with_session(&id, ""));
    let changed = world.request(
        "SETUP rtsp://h/a/trackID=0",
        &with_session(
            &id,
            "Transport: RTP/AVP/TCP;interleaved=8-9\r\nBlocksize: 900\r\nBandwidth: 128000\r\n",
        ),
    );
    assert_eq!(changed.status, Status::OK);
    let Some(Ask::Setup(setup)) = world.asked.last() else {
        panic!("{:?}", world.asked)
    };
    assert!(setup.is_change);
    assert_eq!((setup.blocksize, setup.bandwidth_bps), (Some(900), Some(128_000)));
    assert_eq!(world.state(), State::Playing);
    world.send_bytes(&frame(0, b"old"));
    world.send_bytes(&frame(9, b"new"));
    assert_eq!(world.server.strays(), 1);
    assert!(
        world
            .events
            .iter()
            .any(|event| matches!(event, Event::Media { is_rtcp: true, data, .. } if &data[..] == b"new"))
    );
}

#[test]
fn a_redirection_within_a_session_ends_it() {
    let mut world = World::new();
    let id = world.set_up("rtsp://h/a/trackID=0", None);
    let to = Url::parse("rtsp://i/a").unwrap();
    world
        .refusals
        .push(("Play", Refusal::moved(Status::MOVED_PERMANENTLY, &to)));
    assert_eq!(world.status("PLAY rtsp://h/a", &with_session(&id, "")), 301);
    assert_eq!(world.ended(), [End::Redirected]);
}

#[test]
fn profiles_with_feedback_are_taken_and_those_with_keys_are_not() {
    for (transport, answer) in [
        (
            "RTP/AVPF/TCP;unicast;interleaved=0-1",
            Some("RTP/AVPF/TCP;unicast;interleaved=0-1;ssrc=0000BEEF"),
        ),
        (
            "RTP/AVPF/UDP;unicast;client_port=5000-5001",
            Some("RTP/AVPF;unicast;client_port=5000-5001;ssrc=0000BEEF"),
        ),
        (
            "RTP/AVPF;unicast;client_port=5000-5001",
            Some("RTP/AVPF;unicast;client_port=5000-5001;ssrc=0000BEEF"),
        ),
        ("RTP/SAVP;unicast;client_port=5000-5001", None),
        ("RTP/SAVPF/TCP;unicast;interleaved=0-1", None),
    ] {
        let mut world = World::new();
        let response = world.request("SETUP rtsp://h/a", &format!("Transport: {transport}\r\n"));
        assert_eq!(response.headers.field("Transport"), answer, "{transport}");
        assert_eq!(response.status.code(), if answer.is_some() { 200 } else { 461 });
    }
}

#[test]
fn who_records_over_udp_need_not_name_its_ports() {
    for ports in ["", ";client_port=0-0", ";client_port=5000-5001"] {
        let mut world = World::new();
        world.publish(&format!("RTP/AVP/UDP;unicast{ports};mode=record"));
        let Some(Ask::Setup(setup)) = world.asked.last() else {
            panic!("{:?}", world.asked)
        };
        assert_eq!(
            setup.candidates[0].lower,
            crate::header::LowerTransport::Udp,
            "{ports}"
        );
    }
}
