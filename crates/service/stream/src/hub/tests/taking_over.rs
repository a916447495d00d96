//! Clients that come by another connection: for a session that they have, or with the other half of a tunnel.

use super::*;
use ringpost_auth::digest::DigestClient;
use ringpost_rtsp::tunnel;

/// The Authorization field of a user for a request, after the challenge of a response.
fn login(challenged: &str, user: &str, method: &str) -> String {
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
