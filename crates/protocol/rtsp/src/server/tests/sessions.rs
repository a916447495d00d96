use super::*;

const UDP: &str = "Transport: RTP/AVP;unicast;client_port=5000-5001\r\n";

// Guards pitfall RTSP 2.
#[test]
fn a_session_ends_without_a_sign_of_its_client_and_lives_with_one() {
    let mut world = World::new();
    let id = world.set_up("rtsp://h/a/trackID=0", None);
    world.status("PLAY rtsp://h/a", &with_session(&id, ""));
    for _ in 0..5 {
        world.pass(50);
        world.status("GET_PARAMETER rtsp://h/a", &with_session(&id, ""));
        world.pass(50);
        world.send_bytes(&frame(1, b"rtcp"));
        world.pass(50);
        world.server.handle_liveness(world.now, &SessionId(id.clone()));
        world.pass(50);
        world.status("OPTIONS *", &with_session(&id, ""));
    }
    assert!(world.ended().is_empty());
    // Requests of no session and stray packets are no sign of it.
    world.pass(50);
    world.status("OPTIONS *", "");
    world.send_bytes(&frame(7, b"stray"));
    world.pass(9);
    assert!(world.ended().is_empty());
    world.pass(1);
    assert_eq!(world.ended(), [End::Timeout]);
    assert_eq!(world.status("PLAY rtsp://h/a", &with_session(&id, "")), 454);
    assert!(!world.is_closed());
    world.pass(60);
    assert!(world.is_closed(), "a connection without sessions is not kept");
}

// Guards pitfall RTSP 2.
#[test]
fn a_session_over_udp_outlives_its_connection_for_who_owns_it() {
    let mut first = World::new();
    let response = first.request("SETUP rtsp://h/a/trackID=0", UDP);
    let id = SessionHeader::parse(response.headers.field("Session").unwrap())
        .unwrap()
        .id;
    first.status("PLAY rtsp://h/a", &with_session(&id, ""));
    first.server.handle_closed(first.now);
    first.drain();
    assert!(first.is_closed() && first.ended().is_empty());
    let session = first.detached.pop().expect("it goes on");
    assert!(session.expires() > first.now);
    // From another address nobody can use it; it is given back.
    let mut stranger = World::from(false, "192.0.2.66");
    stranger.detached.push(session);
    assert_eq!(
        stranger.status("TEARDOWN rtsp://h/a", &with_session(&id, "")),
        454
    );
    let session = stranger.detached.pop().expect("given back");
    let mut second = World::new();
    second.detached.push(session);
    assert_eq!(second.status("PAUSE rtsp://h/a", &with_session(&id, "")), 200);
    assert_eq!(second.status("TEARDOWN rtsp://h/a", &with_session(&id, "")), 200);
    assert_eq!(second.ended(), [End::Teardown]);
}

#[test]
fn a_session_of_a_user_is_that_users_wherever_it_comes_from() {
    let login = |world: &mut World, user: &str| {
        world.needs_user = true;
        let nobody = "username=\"x\", realm=\"example.com\", nonce=\"x\", uri=\"/a\", response=\"0\"";
        let challenged = world.request(
            "DESCRIBE rtsp://h/a",
            &format!("Authorization: Digest {nobody}\r\n"),
        );
        let mut client = DigestClient::new("example.com", user, "secret", Rng::from_number(3));
        client
            .handle_challenges(challenged.headers.all("WWW-Authenticate"))
            .unwrap();
        let header = client.authorize("DESCRIBE", "/a").unwrap();
        assert_eq!(
            world.status("DESCRIBE rtsp://h/a", &format!("Authorization: {header}\r\n")),
            200
        );
    };
    let mut first = World::new();
    login(&mut first, "alice");
    let response = first.request("SETUP rtsp://h/a/trackID=0", UDP);
    let id = SessionHeader::parse(response.headers.field("Session").unwrap())
        .unwrap()
        .id;
    let owner = first.server.sessions().next().unwrap().owner().cloned();
    assert_eq!(owner, Some(first.user("alice")));
    // Another user on the same connection has no part in it.
    login(&mut first, "bob");
    assert_eq!(first.status("PLAY rtsp://h/a", &with_session(&id, "")), 454);
    first.server.handle_closed(first.now);
    first.drain();
    let session = first.detached.pop().unwrap();
    // Who is made again under that name is somebody else.
    let mut world = World::new();
    world.holder = 2;
    login(&mut world, "alice");
    world.detached.push(session.clone());
    assert_eq!(world.status("PAUSE rtsp://h/a", &with_session(&id, "")), 454);
    for (user, address, status) in [
        // Who has not said who they are may do so.
        (None, "192.0.2.1", 401),
        (Some("bob"), "192.0.2.1", 454),
        (Some("alice"), "192.0.2.9", 200),
        // However she writes her name.
        (Some("Alice"), "192.0.2.9", 200),
    ] {
        let mut world = World::from(false, address);
        if let Some(user) = user {
            login(&mut world, user);
        }
        world.detached.push(session.clone());
        assert_eq!(
            world.status("PAUSE rtsp://h/a", &with_session(&id, "")),
            if status == 200 { 455 } else { status }
        );
        assert_eq!(world.server.sessions().count(), usize::from(status == 200));
    }
}

// An address of IPv4 that came to a socket for IPv6 is the same address.
#[test]
fn a_session_is_found_again_by_the_same_address_in_another_form() {
    let mut first = World::from(false, "::ffff:192.0.2.1");
    let response = first.request("SETUP rtsp://h/a/trackID=0", UDP);
    let id = SessionHeader::parse(response.headers.field("Session").unwrap())
        .unwrap()
        .id;
    first.server.handle_closed(first.now);
    first.drain();
    let mut second = World::from(false, "192.0.2.1");
    second.detached.push(first.detached.pop().expect("it goes on"));
    assert_eq!(second.status("TEARDOWN rtsp://h/a", &with_session(&id, "")), 200);
}

#[test]
fn what_is_interleaved_ends_with_its_connection() {
    let mut world = World::new();
    world.set_up("rtsp://h/a/trackID=0", None);
    world.server.handle_closed(world.now);
    world.drain();
    assert_eq!(world.ended(), [End::Closed]);
    assert!(world.is_closed() && world.detached.is_empty());
    world.send("OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n");
    assert!(world.responses.is_empty());
}

#[test]
fn identifiers_differ_and_sessions_and_streams_are_bounded() {
    let mut world = World::new();
    let mut ids = std::collections::BTreeSet::new();
    for _ in 0..limits::RTSP_SESSIONS {
        ids.insert(world.set_up("rtsp://h/a/trackID=0", None));
    }
    assert_eq!(ids.len(), limits::RTSP_SESSIONS);
    let transport = "Transport: RTP/AVP/TCP\r\n";
    assert_eq!(world.status("SETUP rtsp://h/a/trackID=0", transport), 453);
    let id = ids.pop_first().unwrap();
    for track in 1..limits::RTSP_TRACKS {
        world.set_up(&format!("rtsp://h/a/trackID={track}"), Some(&id));
    }
    let fields = with_session(&id, transport);
    assert_eq!(world.status("SETUP rtsp://h/a/trackID=99", &fields), 453);
    assert_eq!(
        world.status("SETUP rtsp://h/a/trackID=1", &fields),
        200,
        "a change is none more"
    );
}

#[test]
fn a_session_that_its_owner_ends_is_gone() {
    let mut world = World::new();
    let id = world.set_up("rtsp://h/a/trackID=0", None);
    world.server.end(world.now, &SessionId(id.clone()));
    world.drain();
    assert_eq!(world.ended(), [End::Commanded]);
    assert_eq!(world.status("TEARDOWN rtsp://h/a", &with_session(&id, "")), 454);
    world.send_bytes(&frame(0, b"late"));
    assert_eq!(world.server.strays(), 1);
}

// Guards pitfall RTSP 2: what may be read of one mount says nothing of another.
#[test]
fn a_session_opens_no_other_mount() {
    let mut world = World::new();
    let id = world.set_up("rtsp://h/a/trackID=0", None);
    let fields = with_session(&id, "Content-Type: text/parameters\r\n");
    for method in ["DESCRIBE", "GET_PARAMETER", "SET_PARAMETER"] {
        world.asked.clear();
        world.request_with(&format!("{method} rtsp://h/b"), &fields, "position: 1\r\n");
        let asked = world.asked.first();
        let is_asked = matches!(asked, Some(Ask::Authorize { place, access: Access::Read }) if place.mount.as_str() == "b");
        assert!(is_asked, "{method}: {asked:?}");
    }
    world.asked.clear();
    world.request_with("SET_PARAMETER rtsp://h/a", &fields, "position: 1\r\n");
    let is_asked = matches!(world.asked.first(), Some(Ask::Authorize { .. }));
    assert!(!is_asked, "its own mount was asked for when it was made");
}

// Guards pitfall RTSP 2.
#[test]
fn a_session_is_given_away_to_another_connection_unless_it_is_busy_or_goes_over_this_one() {
    let mut world = World::new();
    let id = SessionId(world.set_up("rtsp://h/a/trackID=0", None));
    assert!(
        world.server.release(world.now, &id).is_none(),
        "its packets go over this connection"
    );
    let mut world = World::new();
    let response = world.request("SETUP rtsp://h/a/trackID=0", UDP);
    let header = SessionHeader::parse(response.headers.field("Session").unwrap()).unwrap();
    let id = SessionId(header.id);
    world.holds = true;
    world.send(&format!(
        "PLAY rtsp://h/a RTSP/1.0\r\nCSeq: 42\r\nSession: {}\r\n\r\n",
        id.as_str()
    ));
    assert!(
        world.server.release(world.now, &id).is_none(),
        "PLAY is carried out"
    );
    world.release();
    world.holds = false;
    let session = world.server.release(world.now, &id).expect("it is given away");
    assert_eq!(session.state(), State::Playing);
    assert!(world.server.release(world.now, &id).is_none());
    world.drain();
    assert!(world.ended().is_empty());
    world.responses.clear();
    // What comes here still wants it back.
    world.detached.push(*session);
    assert_eq!(
        world.status("PAUSE rtsp://h/a", &with_session(id.as_str(), "")),
        200
    );
}
