//! Which servers are spoken to, how, and how often.

use super::*;

#[test]
fn the_servers_of_a_domain_are_tried_in_their_order() {
    let mut house = House::new();
    {
        let mut net = house.world.net();
        net.mx.insert(
            "there.test",
            vec![(20, "b.there.test"), (10, "a.there.test"), (30, "c.there.test")],
        );
        net.addresses.insert("a.there.test", "203.0.113.7");
        net.addresses.insert("b.there.test", "203.0.113.2");
        net.addresses.insert("c.there.test", "203.0.113.1");
    }
    house.listen(ONE);
    house.listen(TWO);
    house.submit(ALICE, &["x@there.test"], "");
    let second = house.accept(TWO);
    // It does not want us: the third may.
    house.lab.say(&second, "554 5.7.1 go away\r\n");
    let third = house.accept(ONE);
    house.greet(&third);
    house.take(&third, "250 ok\r\n250 ok\r\n354 go\r\n", "250 queued\r\n");
    let dialled: Vec<String> = house.world.net().dials.iter().map(|d| d.name.clone()).collect();
    assert_eq!(dialled, ["a.there.test", "b.there.test", "c.there.test"]);
    assert_eq!(house.counters.sent(), 1);
}

#[test]
fn a_domain_without_mx_is_its_own_server_and_one_that_is_nowhere_bounces() {
    let mut house = House::new();
    house.world.net().addresses.insert("host.test", "203.0.113.1");
    house.listen(ONE);
    house.submit(ALICE, &["x@host.test", "x@[203.0.113.1]", "x@nowhere.test"], "");
    assert_eq!(house.came_to(ONE), 2);
    let inbox = house.inbox();
    assert_eq!(inbox.len(), 1);
    assert!(
        inbox[0].contains("Final-Recipient: rfc822; x@nowhere.test\r\nAction: failed\r\nStatus: 5.1.2\r\n")
    );
}

#[test]
fn a_domain_that_takes_no_mail_bounces_at_once() {
    let mut house = House::new();
    house.world.net().mx.insert("null.test", vec![(0, "")]);
    house.world.net().addresses.insert("null.test", "203.0.113.1");
    house.listen(ONE);
    house.submit(ALICE, &["x@null.test"], "");
    assert_eq!(house.came_to(ONE), 0);
    assert!(house.inbox()[0].contains("Status: 5.1.10\r\n"));
}

#[test]
fn mail_does_not_go_into_our_own_network_or_back_to_us() {
    let mut house = House::with(|config| config.networks = vec![("10.1.0.0".parse().unwrap(), 16)]);
    house.domain("inside.test", "mx.inside.test", "192.168.1.1");
    house.domain("loop.test", "MX.example.org", "203.0.113.1");
    house.domain("allowed.test", "mx.allowed.test", "10.1.2.3");
    house.listen("10.1.2.3:25");
    house.submit(
        ALICE,
        &["x@inside.test", "x@loop.test", "x@allowed.test", "x@[127.0.0.1]"],
        "",
    );
    assert_eq!(house.came_to("10.1.2.3:25"), 1);
    assert_eq!(house.world.net().dials.len(), 1);
    let mut status: Vec<String> = house
        .inbox()
        .iter()
        .map(|report| report.split("Status: ").nth(1).unwrap()[..5].to_owned())
        .collect();
    status.sort();
    assert_eq!(status, ["5.4.4", "5.4.4", "5.4.6"]);
}

#[test]
fn a_server_with_which_tls_fails_is_spoken_to_without() {
    let mut house = House::new();
    house.domain("there.test", "mx.there.test", "203.0.113.1");
    house.listen(ONE);
    house.submit(ALICE, &["x@there.test"], "");
    let mut server = house.accept(ONE);
    house.lab.say(&server, "220 there\r\n");
    assert_eq!(
        house.lab.say(&server, "250-there\r\n250 STARTTLS\r\n"),
        "STARTTLS\r\n"
    );
    // As a handshake that breaks looks in this world: the connection is gone under TLS.
    server.send("220 go\r\n");
    server.close();
    house.lab.settle();
    assert_eq!(house.ground.mail.queue_len(), 1);
    house.lab.pass(Duration::from_secs(300));
    let server = house.accept(ONE);
    house.greet(&server);
    house.take(&server, "250 ok\r\n250 ok\r\n354 go\r\n", "250 queued\r\n");
    assert_eq!(house.counters.sent(), 1);
}

#[test]
fn a_smart_host_gets_everything_under_tls_with_a_password() {
    let mut house = House::with(|config| {
        config.smart_host = Some(SmartHost {
            host: "relay.test".into(),
            port: 465,
            tls: SmartHostTls::Implicit,
            credentials: Some(Credentials {
                user: "user".into(),
                password: "pass".into(),
            }),
        });
    });
    house.world.net().addresses.insert("relay.test", "10.0.0.1");
    house.listen("10.0.0.1:465");
    house.submit(ALICE, &["x@one.test", "x@two.test"], "");
    let server = house.accept("10.0.0.1:465");
    let dialled = house.world.net().dials[0].clone();
    assert!(dialled.proof == Proof::Name && dialled.implicit_tls && dialled.name == "relay.test");
    house.lab.say(&server, "220 there\r\n");
    let auth = house
        .lab
        .say(&server, "250-there\r\n250-PIPELINING\r\n250 AUTH PLAIN\r\n");
    assert_eq!(auth, "AUTH PLAIN AHVzZXIAcGFzcw==\r\n");
    house.lab.say(&server, "235 ok\r\n");
    for _ in 0..2 {
        house.take(&server, "250 ok\r\n250 ok\r\n354 go\r\n", "250 queued\r\n");
    }
    assert_eq!(house.counters.sent(), 2);
}

// Guards pitfall SMTP 6: one connection carries several messages, those too that come while it is open.
#[test]
fn what_comes_while_a_connection_is_open_goes_over_it() {
    let mut house = House::new();
    house.domain("there.test", "mx.there.test", "203.0.113.1");
    house.listen(ONE);
    house.submit(ALICE, &["x@there.test"], "");
    let server = house.accept(ONE);
    house.greet(&server);
    for _ in 0..3 {
        house.submit(ALICE, &["x@there.test"], "");
        house.take(&server, "250 ok\r\n250 ok\r\n354 go\r\n", "250 queued\r\n");
    }
    house.take(&server, "250 ok\r\n250 ok\r\n354 go\r\n", "250 queued\r\n");
    assert_eq!((house.counters.sent(), house.came_to(ONE)), (4, 0));
    house.check();
}

#[test]
fn a_server_that_ends_every_connection_at_once_is_not_called_in_a_loop() {
    let mut house = House::new();
    house.domain("there.test", "mx.there.test", "203.0.113.1");
    house.listen(ONE);
    house.submit(ALICE, &["x@there.test"], "");
    for _ in 0..2 {
        let server = house.accept(ONE);
        house.lab.say(&server, "421 4.3.2 not now\r\n");
        assert_eq!(house.came_to(ONE), 0);
        house.lab.pass(Duration::from_secs(600));
    }
    assert!(house.came_to(ONE) <= 1);
}
