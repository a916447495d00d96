use super::*;

fn plays(world: &World) -> Vec<(Vec<usize>, bool)> {
    let asked = world.asked.iter().filter_map(|ask| match ask {
        Ask::Play(play) => Some((play.tracks.clone(), play.is_queued)),
        _ => None,
    });
    asked.collect()
}

fn states(world: &World) -> Vec<State> {
    let session = world.server.sessions().next().expect("a session");
    session.tracks().map(|(_, track)| track.state).collect()
}

// RFC 2326 §10.5.
#[test]
fn a_play_without_a_range_changes_nothing_of_what_plays() {
    let mut world = World::new();
    let id = world.set_up("rtsp://h/a/trackID=0", None);
    world.set_up("rtsp://h/a/trackID=1", Some(&id));
    let play = |world: &mut World, url: &str, fields: &str| {
        world.status(&format!("PLAY {url}"), &with_session(&id, fields))
    };
    assert_eq!(
        play(&mut world, "rtsp://h/a/trackID=1", "Range: npt=5-9\r\n"),
        200
    );
    assert_eq!(plays(&world), [(vec![1], false)]);
    // The one that rests begins; the one that plays is left alone.
    assert_eq!(play(&mut world, "rtsp://h/a", ""), 200);
    assert_eq!(plays(&world)[1..], [(vec![0], false)]);
    for _ in 0..5 {
        world.pass(50);
        assert_eq!(play(&mut world, "rtsp://h/a", ""), 200);
    }
    assert!(world.ended().is_empty(), "it is a sign of life");
    assert_eq!(plays(&world).len(), 2);
    assert_eq!(play(&mut world, "rtsp://h/a", "Scale: 2\r\n"), 200);
    assert_eq!(plays(&world).len(), 3, "another speed is an action");
}

// RFC 2326 §10.5, §12.34, §12.35.
#[test]
fn another_scale_or_speed_without_a_range_waits_for_nothing() {
    for field in ["Scale: 2\r\n", "Speed: 2\r\n"] {
        let mut world = World::new();
        let id = world.set_up("rtsp://h/a/trackID=0", None);
        for fields in ["Range: npt=5-9\r\n", field] {
            assert_eq!(world.status("PLAY rtsp://h/a", &with_session(&id, fields)), 200);
        }
        assert_eq!(plays(&world), [(vec![0], false), (vec![0], false)], "{field}");
    }
    let mut world = World::new();
    let id = world.set_up("rtsp://h/a/trackID=0", None);
    for fields in ["Range: npt=5-9\r\n", "Range: npt=7-8\r\nScale: 2\r\n"] {
        assert_eq!(world.status("PLAY rtsp://h/a", &with_session(&id, fields)), 200);
    }
    assert_eq!(plays(&world)[1], (vec![0], true), "a range waits for its turn");
}

// RFC 2326 §10.5, §10.6.
#[test]
fn each_stream_has_a_queue_of_its_own() {
    let mut world = World::new();
    let id = world.set_up("rtsp://h/a/trackID=0", None);
    world.set_up("rtsp://h/a/trackID=1", Some(&id));
    let session = SessionId(id.clone());
    let send = |world: &mut World, head: &str, fields: &str| {
        assert_eq!(world.status(head, &with_session(&id, fields)), 200, "{head}");
    };
    send(&mut world, "PLAY rtsp://h/a/trackID=0", "Range: npt=0-5\r\n");
    send(&mut world, "PLAY rtsp://h/a/trackID=1", "Range: npt=0-7\r\n");
    send(&mut world, "PLAY rtsp://h/a/trackID=1", "Range: npt=10-17\r\n");
    assert_eq!(
        plays(&world),
        [(vec![0], false), (vec![1], false), (vec![1], true)]
    );
    world.server.handle_play_ended(world.now, &session, &[0]);
    assert_eq!(states(&world), [State::Ready, State::Playing]);
    send(&mut world, "PLAY rtsp://h/a/trackID=0", "Range: npt=20-25\r\n");
    send(&mut world, "PAUSE rtsp://h/a/trackID=0", "");
    send(&mut world, "PLAY rtsp://h/a/trackID=1", "Range: npt=30-37\r\n");
    assert_eq!(plays(&world)[3..], [(vec![0], false), (vec![1], true)]);
    // Two of the second stream's are over; the third plays.
    world.server.handle_play_ended(world.now, &session, &[1]);
    world.server.handle_play_ended(world.now, &session, &[1]);
    assert_eq!(states(&world), [State::Ready, State::Playing]);
    world.server.handle_play_ended(world.now, &session, &[0, 1]);
    assert_eq!(states(&world), [State::Ready, State::Ready]);
}

// Guards pitfall RTSP 3.
#[test]
fn a_stream_is_named_before_or_behind_the_query() {
    let mut world = World::new();
    let first = world.set_up("rtsp://h/cam?x=1/trackID=0", None);
    world.set_up("rtsp://h/cam/trackID=1?x=1", Some(&first));
    let setups: Vec<_> = world
        .asked
        .iter()
        .filter_map(|ask| match ask {
            Ask::Setup(setup) => Some((
                setup.place.mount.to_string(),
                setup.place.query.clone(),
                setup.track,
            )),
            _ => None,
        })
        .collect();
    let expected = |track| ("cam".to_owned(), Some("x=1".to_owned()), Some(track));
    assert_eq!(setups, [expected(0), expected(1)]);
    for (head, tracks) in [
        ("PLAY rtsp://h/cam/?x=1/", vec![0, 1]),
        ("PLAY rtsp://h/cam?x=1", vec![0, 1]),
        ("PLAY rtsp://h/cam/trackID=0/?x=1", vec![0]),
        ("PLAY rtsp://h/cam/?x=1/trackID=1", vec![1]),
    ] {
        let fields = with_session(&first, "Range: npt=0-\r\n");
        assert_eq!(world.status(head, &fields), 200, "{head}");
        assert_eq!(plays(&world).last(), Some(&(tracks, false)), "{head}");
    }
    for (head, query) in [
        ("PLAY rtsp://h/cam?y=2", Some("y=2")),
        ("PLAY rtsp://h/cam/trackID=1?y=2", Some("y=2")),
        ("PLAY rtsp://h/cam", None),
        ("PLAY *", Some("x=1")),
    ] {
        world.request(head, &with_session(&first, "Range: npt=0-\r\n"));
        let Some(Ask::Play(play)) = world.asked.last() else {
            panic!("{head}: {:?}", world.asked)
        };
        assert_eq!(play.query.as_deref(), query, "{head}");
    }
}

// Guards pitfall RTSP 3.
#[test]
fn what_a_publisher_calls_its_streams_may_be_no_name_of_a_mount() {
    for (control, urls) in [
        (
            "streamid=0",
            ["/alice/cam/streamid=0?key=1", "/alice/cam?key=1/streamid=0"],
        ),
        (
            "a/b/c/d/e/f:g",
            ["/alice/cam/a/b/c/d/e/f:g?key=1", "/alice/cam?key=1/a/b/c/d/e/f:g"],
        ),
    ] {
        for url in urls {
            let mut world = World::new();
            let sdp = format!("v=0\r\nm=video 0 RTP/AVP 96\r\na=control:{control}\r\n");
            let fields = "Content-Type: application/sdp\r\n";
            world.request_with("ANNOUNCE rtsp://h/alice/cam?key=1", fields, &sdp);
            let transport = "Transport: RTP/AVP/TCP;interleaved=0-1;mode=record\r\n";
            let response = world.request(&format!("SETUP rtsp://h{url}"), transport);
            assert_eq!(response.status, Status::OK, "{url}");
            let Some(Ask::Setup(setup)) = world.asked.last() else {
                panic!("{:?}", world.asked)
            };
            assert_eq!(setup.place.mount.as_str(), "alice/cam");
            assert_eq!(setup.place.query.as_deref(), Some("key=1"));
            let id = SessionHeader::parse(response.headers.field("Session").unwrap())
                .unwrap()
                .id;
            let record = format!("RECORD rtsp://h{url}");
            assert_eq!(world.status(&record, &with_session(&id, "")), 200, "{url}");
            let other = world.status("RECORD rtsp://h/alice/cam/x=y", &with_session(&id, ""));
            assert_eq!(other, 404);
        }
    }
}

#[test]
fn the_owner_learns_the_url_that_controls_can_be_made_of() {
    for (url, base) in [
        ("rtsp://u:p@h:8554/a", "rtsp://h:8554/a/"),
        ("rtsps://h/a/?x=1", "rtsps://h/a/?x=1"),
        ("rtsp://h/a?x=1/", "rtsp://h/a/?x=1"),
    ] {
        let mut world = World::new();
        world.request(&format!("DESCRIBE {url}"), "");
        let Some(Ask::Describe(place)) = world.asked.last() else {
            panic!("{:?}", world.asked)
        };
        assert_eq!(place.base.as_ref().map(Url::to_string).as_deref(), Some(base));
    }
}

// RFC 2326 §12.27, §12.32, §12.38.
#[test]
fn a_timestamp_is_echoed_and_what_is_required_of_proxies_refused() {
    let mut world = World::new();
    for (head, fields, status) in [
        ("OPTIONS *", "", 200),
        ("DESCRIBE rtsp://h/a", "", 200),
        ("DESCRIBE rtsp://h/", "", 404),
        ("DANCE rtsp://h/a", "", 501),
        ("PLAY rtsp://h/a", "", 454),
        ("OPTIONS *", "Proxy-Require: x, y\r\n", 551),
    ] {
        let response = world.request(head, &format!("{fields}Timestamp: 12.5 0.1\r\n"));
        assert_eq!(response.status.code(), status);
        assert_eq!(response.headers.field("Timestamp"), Some("12.5 0.1"), "{head}");
        let unsupported = response.headers.field("Unsupported");
        assert_eq!(unsupported, (status == 551).then_some("x, y"));
    }
}

// RFC 2326 §12.23, §12.24.
#[test]
fn a_description_that_the_client_has_is_not_sent_again() {
    let mut world = World::new();
    world.modified = UnixTime::from_civil(2023, 11, 14, 20, 0, 0).map(|at| at + Duration::from_millis(300));
    for (since, status) in [
        ("Tue, 14 Nov 2023 19:59:59 GMT", 200),
        // To a second, as dates are.
        ("Tue, 14 Nov 2023 20:00:00 GMT", 304),
        ("Tuesday, 14-Nov-23 21:00:00 GMT", 304),
        // It has not come yet (that is WALL), or is no date.
        ("Tue, 14 Nov 2023 22:13:21 GMT", 200),
        ("yesterday", 200),
    ] {
        let response = world.request("DESCRIBE rtsp://h/a", &format!("If-Modified-Since: {since}\r\n"));
        assert_eq!(response.status.code(), status, "{since}");
        assert_eq!(response.body.is_empty(), status == 304);
        assert_eq!(response.headers.field("Content-Type").is_some(), status == 200);
        let modified = response.headers.field("Last-Modified");
        assert_eq!(modified, Some("Tue, 14 Nov 2023 20:00:00 GMT"));
    }
    let since = "If-Modified-Since: Tue, 14 Nov 2023 21:00:00 GMT\r\n";
    let fields = format!("{since}Transport: RTP/AVP/TCP\r\n");
    assert_eq!(world.status("SETUP rtsp://h/a", &fields), 200);
    let Some(Ask::Setup(setup)) = world.asked.last() else {
        panic!("{:?}", world.asked)
    };
    let second = UnixTime::from_civil(2023, 11, 14, 21, 0, 0).unwrap();
    let until = setup.modified_since.unwrap();
    assert!(until >= second && until < second + Duration::from_secs(1));
    // What is modified all the time has no date.
    world.modified = None;
    let response = world.request("DESCRIBE rtsp://h/a", since);
    assert_eq!(
        (response.status.code(), response.headers.field("Last-Modified")),
        (200, None)
    );
}

// RFC 2326 §7.1.1: whatever the owner refuses with reaches the client.
#[test]
fn every_status_can_be_an_owners_refusal() {
    for code in [
        300, 301, 302, 303, 304, 305, 400, 402, 403, 404, 405, 406, 407, 408, 410, 411, 412, 413, 414, 415,
        451, 452, 453, 454, 455, 456, 457, 458, 459, 460, 461, 462, 500, 501, 502, 503, 504, 505, 551,
    ] {
        let mut world = World::new();
        let id = world.set_up("rtsp://h/a/trackID=0", None);
        let status = Status::new(code).unwrap();
        world.refusals.push(("Play", status.into()));
        assert_eq!(world.status("PLAY rtsp://h/a", &with_session(&id, "")), code);
        let ends = (300..400).contains(&code) && code != 304;
        assert_eq!(world.ended().len(), usize::from(ends), "{code}");
    }
}
