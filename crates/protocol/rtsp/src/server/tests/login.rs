use super::*;

fn challenges(response: &Response) -> Vec<&str> {
    response.headers.all("WWW-Authenticate").collect()
}

fn client() -> DigestClient {
    DigestClient::new("example.com", "alice", "secret", Rng::from_number(3))
}

fn authorized(client: &mut DigestClient, method: &str, uri: &str) -> String {
    format!("Authorization: {}\r\n", client.authorize(method, uri).unwrap())
}

// Guards pitfall RTSP 4.
#[test]
fn digest_is_proven_with_the_url_or_the_path() {
    for uri in ["rtsp://h/a", "/a", "rtsp://h:554/a/"] {
        let mut world = World::new();
        world.needs_user = true;
        let challenged = world.request("DESCRIBE rtsp://h/a", "");
        assert_eq!(challenged.status, Status::UNAUTHORIZED);
        let values = challenges(&challenged);
        assert_eq!(
            values.len(),
            2,
            "SHA-256 and MD5; Basic is not for where others listen"
        );
        assert!(values.iter().all(|value| value.starts_with("Digest ")));
        let mut client = client();
        client.handle_challenges(values.iter().copied()).unwrap();
        let fields = authorized(&mut client, "DESCRIBE", uri);
        assert_eq!(world.status("DESCRIBE rtsp://h/a", &fields), 200, "{uri}");
        assert_eq!(world.proven(), Some("alice"));
        assert_eq!(
            world.status("DESCRIBE rtsp://h/a", ""),
            200,
            "the connection is proven"
        );
        let replayed = world.request("DESCRIBE rtsp://h/a", &fields);
        assert_eq!(replayed.status, Status::UNAUTHORIZED);
        assert!(
            challenges(&replayed)
                .iter()
                .all(|value| value.contains("stale=true"))
        );
    }
}

#[test]
fn who_asks_for_what_is_named_after_an_address_is_asked_in_its_domain_and_then_in_ours() {
    let url = "rtsp://h/carol@Other.net/door";
    let request = format!("DESCRIBE {url}");
    for (user, realm, proven) in [
        ("carol", "other.net", "carol@other.net"),
        ("alice", "example.com", "alice"),
    ] {
        let mut world = World::new();
        world.needs_user = true;
        let mut client = DigestClient::new(realm, user, "secret", Rng::from_number(3));
        let mut challenged = world.request(&request, "");
        assert!(
            challenges(&challenged)[0].contains("realm=\"other.net\""),
            "{challenged:?}"
        );
        if client.handle_challenges(challenges(&challenged)).is_err() {
            // Its client has one name and one password, and tries them.
            let mut tries = DigestClient::new("other.net", user, "secret", Rng::from_number(4));
            tries.handle_challenges(challenges(&challenged)).unwrap();
            challenged = world.request(&request, &authorized(&mut tries, "DESCRIBE", url));
            assert_eq!(challenged.status, Status::UNAUTHORIZED);
            let [first, ..] = challenges(&challenged)[..] else {
                panic!("{challenged:?}")
            };
            assert!(
                first.contains("realm=\"example.com\"") && first.contains("stale=true"),
                "{first}"
            );
            client.handle_challenges(challenges(&challenged)).unwrap();
        }
        let fields = authorized(&mut client, "DESCRIBE", url);
        assert_eq!(world.status(&request, &fields), 200, "{user}");
        assert_eq!(world.proven(), Some(proven));
    }
    let challenged_carol = || {
        let mut world = World::new();
        world.needs_user = true;
        let mut carol = DigestClient::new("other.net", "carol", "secret", Rng::from_number(3));
        let challenged = world.request(&request, "");
        carol.handle_challenges(challenges(&challenged)).unwrap();
        (world, carol)
    };
    // What is about no mount comes with what was proven.
    let (mut world, mut carol) = challenged_carol();
    let fields = authorized(&mut carol, "DESCRIBE", url);
    assert_eq!(world.status(&request, &fields), 200);
    for _ in 0..12 {
        let fields = authorized(&mut carol, "OPTIONS", "*");
        assert_eq!(world.status("OPTIONS *", &fields), 200);
    }
    // On another connection nothing of it holds, and it is proven there once more.
    let (_, mut carol) = challenged_carol();
    let mut world = World::from(false, "192.0.2.2");
    world.needs_user = true;
    let fields = authorized(&mut carol, "DESCRIBE", "rtsp://h/lobby");
    let stale = world.request("DESCRIBE rtsp://h/lobby", &fields);
    assert_eq!(stale.status, Status::UNAUTHORIZED);
    let [first, ..] = challenges(&stale)[..] else {
        panic!("{stale:?}")
    };
    assert!(
        first.contains("realm=\"other.net\"") && first.contains("stale=true"),
        "{first}"
    );
    // Realms that are none of ours are asked in by nobody.
    let fields = "Authorization: Digest username=\"carol\", realm=\"elsewhere.net\", nonce=\"n\", uri=\"/lobby\", response=\"0\"\r\n";
    let refused = world.request("DESCRIBE rtsp://h/lobby", fields);
    assert!(
        challenges(&refused)[0].contains("realm=\"example.com\""),
        "{refused:?}"
    );
}

#[test]
fn what_a_connection_has_proven_holds_as_long_as_who_has_the_name() {
    let request = "DESCRIBE rtsp://h/a";
    let mut world = World::new();
    world.needs_user = true;
    let challenged = world.request(request, "");
    let mut client = client();
    client.handle_challenges(challenges(&challenged)).unwrap();
    let fields = authorized(&mut client, "DESCRIBE", "/a");
    assert_eq!(world.status(request, &fields), 200);
    assert_eq!(world.status(request, ""), 200);
    world.holder = 2;
    let challenged = world.request(request, "");
    assert_eq!((challenged.status, world.proven()), (Status::UNAUTHORIZED, None));
    let fields = authorized(&mut client, "DESCRIBE", "/a");
    assert_eq!(
        world.status(request, &fields),
        200,
        "the new one has the same secret"
    );
    // Who brings what is no proof of anybody is nobody from then on.
    let fields = "Authorization: Digest username=\"a\", realm=\"elsewhere.net\", nonce=\"n\", uri=\"/a\", response=\"0\"\r\n";
    assert_eq!(world.status(request, fields), 401);
    assert_eq!(world.status(request, ""), 401);
}

#[test]
fn digest_without_qop_and_with_md5_is_taken() {
    let mut world = World::new();
    world.needs_user = true;
    let challenged = world.request("DESCRIBE rtsp://h/a", "");
    let md5 = challenges(&challenged)[1].replace(", qop=\"auth\"", "");
    assert!(md5.contains("MD5"));
    let mut client = client().allow_without_qop();
    client.handle_challenges([&md5[..]]).unwrap();
    let fields = authorized(&mut client, "DESCRIBE", "rtsp://h/a");
    assert_eq!(world.status("DESCRIBE rtsp://h/a", &fields), 200);
}

#[test]
fn another_connections_nonce_is_stale_and_another_uri_is_wrong() {
    let mut first = World::from(false, "192.0.2.2");
    first.needs_user = true;
    let challenged = first.request("DESCRIBE rtsp://h/a", "");
    let mut client = client();
    client.handle_challenges(challenges(&challenged)).unwrap();
    let mut world = World::new();
    world.needs_user = true;
    let stale = world.request(
        "DESCRIBE rtsp://h/a",
        &authorized(&mut client, "DESCRIBE", "rtsp://h/a"),
    );
    assert_eq!(stale.status, Status::UNAUTHORIZED);
    client.handle_challenges(challenges(&stale)).unwrap();
    let elsewhere = authorized(&mut client, "DESCRIBE", "rtsp://h/b");
    assert_eq!(world.status("DESCRIBE rtsp://h/a", &elsewhere), 400);
    assert_eq!(
        world.status("DESCRIBE rtsp://h/a", "Authorization: Digest x\r\n"),
        400
    );
    assert_eq!(
        world.status(
            "DESCRIBE rtsp://h/a",
            &authorized(&mut client, "DESCRIBE", "rtsp://h/a")
        ),
        200
    );
}

#[test]
fn wrong_credentials_close_the_connection_in_the_end() {
    let mut world = World::new();
    world.needs_user = true;
    let challenged = world.request("DESCRIBE rtsp://h/a", "");
    let mut client = DigestClient::new("example.com", "alice", "guess", Rng::from_number(3));
    client.handle_challenges(challenges(&challenged)).unwrap();
    for n in 1..=limits::RTSP_FAILURES {
        let fields = authorized(&mut client, "DESCRIBE", "rtsp://h/a");
        let response = world.request("DESCRIBE rtsp://h/a", &fields);
        assert_eq!(response.status, Status::UNAUTHORIZED);
        assert!(!challenges(&response)[0].contains("stale"));
        assert_eq!(world.is_closed(), n == limits::RTSP_FAILURES, "{n}");
    }
}

// Guards pitfall RTSP 4: Basic only over TLS.
#[test]
fn basic_is_offered_and_looked_at_under_tls_alone() {
    let basic = "Authorization: Basic YWxpY2U6c2U6Y3JldA==\r\n";
    let mut clear = World::new();
    clear.needs_user = true;
    assert_eq!(clear.status("DESCRIBE rtsp://h/a", basic), 401);
    assert!(!clear.asked.iter().any(|ask| matches!(ask, Ask::Password { .. })));
    let mut tls = World::with(true);
    tls.needs_user = true;
    let challenged = tls.request("DESCRIBE rtsps://h/a", "");
    assert_eq!(challenges(&challenged), ["Basic realm=\"example.com\""]);
    // Who insists on digest has it.
    let digest = "Authorization: Digest username=\"a\", realm=\"x\", nonce=\"n\", uri=\"rtsps://h/a\", response=\"\"\r\n";
    let stale = tls.request("DESCRIBE rtsps://h/a", digest);
    assert_eq!(challenges(&stale).len(), 3, "{stale:?}");
    assert_eq!(
        tls.status("DESCRIBE rtsps://h/a", "Authorization: Basic YWxpY2U6eA==\r\n"),
        401
    );
    assert_eq!(
        tls.status("DESCRIBE rtsps://h/a", "Authorization: Basic ????\r\n"),
        400
    );
    assert_eq!(tls.status("DESCRIBE rtsps://h/a", basic), 200);
    assert_eq!(tls.proven(), Some("alice"));
}

#[test]
fn a_password_is_never_shown() {
    let ask = Ask::Password {
        user: "alice".into(),
        password: Password("se:cret".into()),
    };
    assert!(!format!("{ask:?}").contains("cret"));
    assert!(!format!("{:?}", SessionId("abcdefghijkl".into())).contains("efgh"));
}
