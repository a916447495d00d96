//! Clients that come by another connection: for a session that they have, or with the other half of a tunnel.

use super::*;
use ringpost_auth::digest::DigestClient;
use ringpost_rtsp::tunnel;

/// The Authorization field of a user for a request, after the challenge of a response.
pub(crate) fn login(challenged: &str, user: &str, method: &str) -> String {
    let challenges = challenged
        .lines()
        .filter_map(|line| line.strip_prefix("WWW-Authenticate: "));
    let mut client = DigestClient::new("localhost", user, "secret", Rng::from_number(3));
    client.handle_challenges(challenges).unwrap();
    let header = client.authorize(method, "/alice/door").unwrap();
    format!("Authorization: {header}\n")
}

impl World {
    fn about(&mut self, id: ConnectionId, method: &str, fields: &str) -> String {
        let request = format!("{method} rtsp://h/alice/door RTSP/1.0\nCSeq: 1\n{fields}\n");
        self.ask(id, &request)
    }
}

// Guards pitfall RTSP 2.
#[test]
fn a_session_over_udp_is_taken_to_another_connection_while_the_old_one_seems_open() {
    let mut world = World::new();
    let publisher = world.publish("alice/door");
    let (old, played) = world.read("alice/door", &UDP);
    let session = format!("Session: {}\n", World::session(&played));
    let stranger = world.connect_from([127, 0, 0, 9].into(), false);
    let refused = world.about(stranger, "PAUSE", &session);
    assert!(refused.starts_with("RTSP/1.0 454"), "{refused}");
    let new = world.connect();
    let paused = world.about(new, "PAUSE", &session);
    assert!(paused.starts_with("RTSP/1.0 200"), "{paused}");
    let played = world.about(new, "PLAY", &session);
    assert!(played.starts_with("RTSP/1.0 200"), "{played}");
    // The end of the old one is nothing to it any more, and that of the new one leaves it waiting.
    world.hub.handle_closed(world.now, old);
    world.run();
    world.send(publisher, 0, 1, 0, KEY);
    assert!(!world.datagrams.is_empty());
    world.hub.handle_closed(world.now, new);
    world.run();
    assert_eq!(world.hub.session_ids().len(), 2);
    let third = world.connect();
    let ended = world.about(third, "TEARDOWN", &session);
    assert!(ended.starts_with("RTSP/1.0 200"), "{ended}");
    assert_eq!(world.hub.session_ids().len(), 1);
}

// Guards pitfall RTSP 2.
#[test]
fn a_session_whose_packets_go_over_its_connection_stays_there() {
    let mut world = World::new();
    world.publish("alice/door");
    let (_, played) = world.read("alice/door", &TCP);
    let session = format!("Session: {}\n", World::session(&played));
    let new = world.connect();
    let refused = world.about(new, "PAUSE", &session);
    assert!(refused.starts_with("RTSP/1.0 454"), "{refused}");
    assert_eq!(world.hub.session_ids().len(), 2);
}

// Guards pitfall RTSP 2.
#[test]
fn a_session_of_a_user_is_taken_over_by_who_proves_to_be_that_user_once_asked() {
    let mut world = World::new();
    world.publish("alice/door");
    world.allows = false;
    let old = world.connect();
    let challenged = world.about(old, "DESCRIBE", "");
    assert!(challenged.starts_with("RTSP/1.0 401"), "{challenged}");
    world.allows = true;
    let described = world.about(old, "DESCRIBE", &login(&challenged, "alice", "DESCRIBE"));
    assert!(described.starts_with("RTSP/1.0 200"), "{described}");
    let set_up = world.ask(
        old,
        &format!(
            "SETUP rtsp://h/alice/door/trackID=0 RTSP/1.0\nCSeq: 2\nTransport: {}\n\n",
            UDP[0]
        ),
    );
    assert!(set_up.starts_with("RTSP/1.0 200"), "{set_up}");
    let session = format!("Session: {}\n", World::session(&set_up));
    let take = |world: &mut World, address: [u8; 4], user: &str| {
        let id = world.connect_from(address.into(), false);
        for method in ["OPTIONS", "PLAY"] {
            let challenged = world.about(id, method, &session);
            assert!(challenged.starts_with("RTSP/1.0 401"), "{challenged}");
        }
        let challenged = world.about(id, "PLAY", &session);
        let fields = format!("{session}{}", login(&challenged, user, "PLAY"));
        (id, world.about(id, "PLAY", &fields))
    };
    let (_, refused) = take(&mut world, [127, 0, 0, 2], "bob");
    assert!(refused.starts_with("RTSP/1.0 454"), "{refused}");
    let (new, played) = take(&mut world, [127, 0, 0, 9], "alice");
    assert!(played.starts_with("RTSP/1.0 200"), "{played}");
    // So it is where no connection is left.
    for id in [old, new] {
        world.hub.handle_closed(world.now, id);
        world.run();
    }
    let (_, refused) = take(&mut world, [127, 0, 0, 2], "bob");
    assert!(refused.starts_with("RTSP/1.0 454"), "{refused}");
    let (_, played) = take(&mut world, [127, 0, 0, 9], "alice");
    assert!(played.starts_with("RTSP/1.0 200"), "{played}");
}

// Guards pitfall RTSP 4.
#[test]
fn the_halves_of_a_tunnel_are_both_under_tls_or_neither_is() {
    let here: IpAddr = [127, 0, 0, 2].into();
    for (get_is_secure, post_is_secure) in [(true, false), (false, true)] {
        let mut world = World::new();
        let get = world.connect_from(here, get_is_secure);
        world.input(get, &tunnel::get("h", "/alice/door", "c"));
        assert!(world.said(get).starts_with("HTTP/1.0 200"));
        let post = world.connect_from(here, post_is_secure);
        let options = tunnel::encode(b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n");
        world.input(post, &tunnel::post("h", "/alice/door", "c"));
        assert!(world.said(post).starts_with("HTTP/1.0 403"));
        assert_eq!(world.closed, [post]);
        world.input(post, options.as_bytes());
        assert_eq!(world.said(get), "");
        let post = world.connect_from(here, get_is_secure);
        world.input(post, &tunnel::post("h", "/alice/door", "c"));
        world.input(post, options.as_bytes());
        assert!(world.said(get).starts_with("RTSP/1.0 200"));
    }
}

#[test]
fn a_post_goes_on_where_the_one_before_was_cut_even_between_four_digits() {
    let text = tunnel::encode(b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\nX: abc\r\n\r\n");
    for at in 1..text.len() {
        let mut world = World::new();
        let get = world.connect();
        world.input(get, &tunnel::get("h", "/", "c"));
        world.said(get);
        let (first, rest) = text.split_at(at);
        for piece in [first, rest] {
            let post = world.connect();
            world.input(post, &tunnel::post("h", "/", "c"));
            world.input(post, piece.as_bytes());
            world.hub.handle_closed(world.now, post);
            world.run();
        }
        assert!(world.said(get).starts_with("RTSP/1.0 200"), "{at}");
    }
}

#[test]
fn a_message_that_was_lost_with_its_post_comes_whole_with_the_next() {
    let message = |cseq: u32| {
        let text = format!("OPTIONS * RTSP/1.0\r\nCSeq: {cseq}\r\nX: abc\r\n\r\n");
        tunnel::encode(text.as_bytes())
    };
    for piece in [1, 3, 5, 1_000] {
        let mut world = World::new();
        let get = world.connect();
        world.input(get, &tunnel::get("h", "/", "c"));
        world.said(get);
        // The first is answered with the second POST, however much of it has come with the first.
        let mut cseq = 0;
        for lost in 0..message(1).len() {
            for is_whole in [false, true] {
                cseq += u32::from(!is_whole);
                let post = world.connect();
                world.input(post, &tunnel::post("h", "/", "c"));
                let text = message(1_000_000 + cseq);
                let text = if is_whole { &text[..] } else { &text[..lost] };
                for piece in text.as_bytes().chunks(piece) {
                    world.input(post, piece);
                }
                // It may be there still when the next one comes.
                if cseq % 2 == 0 {
                    world.hub.handle_closed(world.now, post);
                    world.run();
                }
            }
            let said = world.said(get);
            let answered = format!("CSeq: {}\r\n", 1_000_000 + cseq);
            assert!(
                said.starts_with("RTSP/1.0 200") && said.contains(&answered),
                "{lost}: {said}"
            );
            assert_eq!(said.matches("RTSP/1.0").count(), 1, "{lost}: {said}");
        }
    }
}

// Guards pitfall RTSP 2.
#[test]
fn a_session_is_taken_over_once_what_is_asked_about_it_at_its_own_connection_is_carried_out() {
    for is_closed in [false, true] {
        let mut world = World::new();
        world.publish("alice/door");
        let (old, played) = world.read("alice/door", &UDP);
        let session = format!("Session: {}\n", World::session(&played));
        // Its answer takes a while.
        world.held_rights = Some(Vec::new());
        let request = format!("DESCRIBE rtsp://h/alice/door RTSP/1.0\nCSeq: 7\n{session}\n");
        world.input(old, request.replace('\n', "\r\n").as_bytes());
        let [first, second] = [(); 2].map(|()| world.connect());
        for id in [first, second] {
            let request = format!("GET_PARAMETER rtsp://h/alice/door RTSP/1.0\nCSeq: 8\n{session}\n");
            world.input(id, request.replace('\n', "\r\n").as_bytes());
            assert_eq!(world.said(id), "");
        }
        if is_closed {
            world.hub.handle_closed(world.now, old);
            world.run();
        } else {
            for (id, answer) in world.held_rights.take().unwrap() {
                world.hub.handle_answer(world.now, id, answer);
            }
            world.run();
            assert!(world.said(old).starts_with("RTSP/1.0 200"));
        }
        for id in [first, second] {
            let said = world.said(id);
            assert!(said.starts_with("RTSP/1.0 200"), "{said}");
        }
        assert_eq!(world.hub.session_ids().len(), 2);
    }
}

#[test]
fn a_publisher_that_goes_on_elsewhere_before_it_has_begun_is_told_to_announce_there() {
    let mut world = World::new();
    let old = world.connect();
    let sdp = "v=0\nm=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000\na=control:trackID=0\n";
    let announce = format!(
        "ANNOUNCE rtsp://h/alice/door RTSP/1.0\nCSeq: 1\nContent-Type: application/sdp\nContent-Length: {}\n\n{sdp}",
        sdp.len() + sdp.lines().count()
    );
    let announced = world.ask(old, &announce);
    assert!(announced.starts_with("RTSP/1.0 200"), "{announced}");
    let set_up = world.ask(
        old,
        "SETUP rtsp://h/alice/door/trackID=0 RTSP/1.0\nCSeq: 2\nTransport: RTP/AVP;unicast;client_port=5000-5001;mode=record\n\n",
    );
    assert!(set_up.starts_with("RTSP/1.0 200"), "{set_up}");
    let session = format!("Session: {}\n", World::session(&set_up));
    let new = world.connect();
    let refused = world.about(new, "RECORD", &session);
    assert!(refused.starts_with("RTSP/1.0 455"), "{refused}");
    let mounts = world.hub.mounts(world.now);
    assert!(mounts.is_empty(), "{mounts:?}");
}
