//! What becomes of a message: sent once, refused, deferred, or in the way of no other.

use super::*;

#[test]
fn a_message_goes_from_port_465_to_another_server_once() {
    let mut house = House::new();
    house.domain("there.test", "mx.there.test", "203.0.113.1");
    house.listen(ONE);
    house.submit(ALICE, &["x@there.test", "y@THERE.test"], " BODY=8BITMIME");
    let server = house.accept(ONE);
    let envelope = house.greet(&server);
    assert!(
        envelope.starts_with("MAIL FROM:<alice@example.org> SIZE="),
        "{envelope}"
    );
    // It was declared, but all of it is ASCII: any server can have it.
    assert!(!envelope.contains("BODY="), "{envelope}");
    assert!(
        envelope.contains("RCPT TO:<x@there.test>\r\nRCPT TO:<y@there.test>\r\nDATA\r\n"),
        "{envelope}"
    );
    let body = house.lab.say(&server, "250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n");
    assert!(body.starts_with("Received: "), "{body}");
    assert!(body.contains("\r\nSubject: away\r\n"), "{body}");
    assert!(body.ends_with("\r\n\r\n..dotted\r\n.\r\n"), "{body}");
    assert!(!body.contains("Return-Path"), "{body}");
    assert_eq!(house.lab.say(&server, "250 queued\r\n"), "QUIT\r\n");
    house.lab.say(&server, "221 bye\r\n");
    assert!(server.is_closed());
    house.lab.pass(Duration::from_secs(86_400));
    assert_eq!(house.came_to(ONE), 0, "once");
    assert_eq!(
        (
            house.counters.sent(),
            house.ground.mail.queue_len(),
            house.inbox().len()
        ),
        (2, 0, 0)
    );
    house.check();
}

// Guards pitfall SMTP 4: nobody sends elsewhere through us without a password.
#[test]
fn only_who_has_signed_in_sends_elsewhere() {
    let mut house = House::new();
    let stranger = house.connect(Role::Mx);
    house.say(&stranger, "EHLO there.test\r\n");
    for from in ["x@there.test", ALICE, ""] {
        house.say(&stranger, &format!("MAIL FROM:<{from}>\r\n"));
        let said = house.say(&stranger, "RCPT TO:<y@elsewhere.test>\r\n");
        assert_eq!(said, "550 5.7.1 Relaying denied");
        house.say(&stranger, "RSET\r\n");
    }
    let unknown = house.connect(Role::Submissions);
    house.say(&unknown, "EHLO laptop\r\n");
    assert!(
        house
            .say(&unknown, &format!("MAIL FROM:<{ALICE}>\r\n"))
            .starts_with("530 ")
    );
    assert_eq!(house.ground.mail.queue_len(), 0);
}

#[test]
fn an_account_that_sends_too_much_has_to_wait() {
    let mut house = House::new();
    let client = house.signed_in();
    house.say(&client, &format!("MAIL FROM:<{ALICE}>\r\n"));
    for n in 0..20 {
        assert!(
            house
                .say(&client, &format!("RCPT TO:<u{n}@there.test>\r\n"))
                .starts_with("250 ")
        );
    }
    assert!(
        house
            .say(&client, "RCPT TO:<more@there.test>\r\n")
            .starts_with("450 4.7.1 ")
    );
    assert!(
        house
            .say(&client, "RCPT TO:<bob@example.org>\r\n")
            .starts_with("250 "),
        "those here are not counted"
    );
    house.say(&client, "DATA\r\n");
    let said = house.say(&client, "Subject: x\r\n\r\n.\r\n");
    assert!(said.starts_with("250 "), "{said}");
    house.lab.pass(Duration::from_secs(200));
    house.say(&client, &format!("MAIL FROM:<{ALICE}>\r\n"));
    for answer in ["250 ", "450 4.7.1 "] {
        assert!(
            house
                .say(&client, "RCPT TO:<more@there.test>\r\n")
                .starts_with(answer)
        );
    }
}

// Guards pitfall SMTP 6: 5xx bounces once, and what was delivered is not sent again.
#[test]
fn a_refused_recipient_is_told_to_the_sender_and_the_others_are_served() {
    let mut house = House::new();
    house.domain("there.test", "mx.there.test", "203.0.113.1");
    house.listen(ONE);
    house.submit(ALICE, &["x@there.test", "y@there.test", "bob@example.org"], "");
    let server = house.accept(ONE);
    house.greet(&server);
    house.take(
        &server,
        "250 ok\r\n250 ok\r\n550 5.1.1 who is that\r\n354 go\r\n",
        "250 queued\r\n",
    );
    let inbox = house.inbox();
    let [report] = &inbox[..] else { panic!("{inbox:?}") };
    for part in [
        "Return-Path: <>\r\n",
        "Content-Type: multipart/report; report-type=delivery-status;",
        "Final-Recipient: rfc822; y@there.test\r\nAction: failed\r\nStatus: 5.1.1\r\n",
        "Diagnostic-Code: smtp; 550 5.1.1 who is that\r\n",
        "\r\n\r\nReceived: ",
        "Subject: away\r\n",
    ] {
        assert!(report.contains(part), "{part:?} in {report}");
    }
    assert!(
        !report.contains("x@there.test") && !report.contains("dotted"),
        "{report}"
    );
    house.lab.pass(Duration::from_secs(6 * 86_400));
    assert_eq!((house.inbox().len(), house.came_to(ONE)), (1, 0));
    assert_eq!((house.counters.sent(), house.counters.bounced()), (1, 1));
    house.check();
}

// Guards pitfall SMTP 6: 4xx is tried again, later.
#[test]
fn a_deferred_message_is_tried_again_and_delivered() {
    let mut house = House::new();
    house.domain("there.test", "mx.there.test", "203.0.113.1");
    house.listen(ONE);
    house.submit(ALICE, &["x@there.test"], "");
    let server = house.accept(ONE);
    house.greet(&server);
    house
        .lab
        .say(&server, "250 ok\r\n451 4.7.1 greylisted\r\n503 no\r\n");
    house.lab.say(&server, "221 bye\r\n");
    house.lab.pass(Duration::from_secs(100));
    assert_eq!(house.came_to(ONE), 0);
    house.lab.pass(Duration::from_secs(60));
    let server = house.accept(ONE);
    house.greet(&server);
    house.take(&server, "250 ok\r\n250 ok\r\n354 go\r\n", "250 queued\r\n");
    assert_eq!((house.counters.deferred(), house.counters.sent()), (1, 1));
    assert_eq!((house.ground.mail.queue_len(), house.inbox().len()), (0, 0));
    house.check();
}

// Guards pitfall SMTP 6: a null sender is never bounced.
#[test]
fn a_notice_that_is_refused_is_not_told_to_anybody() {
    let mut house = House::new();
    house.submit("", &["x@null.test"], "");
    house.world.net().mx.insert("null.test", vec![(0, "")]);
    house.lab.pass(Duration::from_secs(600));
    assert_eq!((house.inbox().len(), house.ground.mail.queue_len()), (0, 0));
    house.check();
}

// Guards pitfall SMTP 6: one connection carries several messages.
#[test]
fn messages_for_one_destination_share_a_connection() {
    let mut house = House::new();
    house.domain("there.test", "mx.there.test", "203.0.113.1");
    for _ in 0..4 {
        house.submit(ALICE, &["x@there.test"], "");
    }
    // Nobody was there for the first: the others wait for a minute, and go together.
    house.lab.pass(Duration::from_secs(30));
    house.listen(ONE);
    house.lab.pass(Duration::from_secs(40));
    assert_eq!(house.came_to(ONE), 1);
    let server = house.accept(ONE);
    house.greet(&server);
    for _ in 0..3 {
        house.take(&server, "250 ok\r\n250 ok\r\n354 go\r\n", "250 queued\r\n");
    }
    assert_eq!((house.counters.sent(), house.came_to(ONE)), (3, 0));
    house.check();
}

// Guards pitfall SMTP 6: a destination that is slow, dead, or whose DNS fails never blocks another.
#[test]
fn a_destination_that_does_not_answer_holds_up_no_other() {
    let mut house = House::with(|config| config.connections = 4);
    house.domain("hole.test", "mx.hole.test", "203.0.113.9");
    house.world.net().holes.push("203.0.113.9:25");
    house.world.net().silent.push("silent.test");
    house.domain("slow.test", "mx.slow.test", "203.0.113.2");
    house.listen(TWO);
    house.domain("there.test", "mx.there.test", "203.0.113.1");
    house.listen(ONE);
    for to in [
        "a@hole.test",
        "a@silent.test",
        "a@slow.test",
        "b@hole.test",
        "a@there.test",
    ] {
        house.submit(ALICE, &[to], "");
    }
    // One that took the connection and says nothing.
    let _slow = house.accept(TWO);
    let server = house.accept(ONE);
    house.greet(&server);
    house.take(&server, "250 ok\r\n250 ok\r\n354 go\r\n", "250 queued\r\n");
    assert_eq!(house.counters.sent(), 1);
    // It ends at some time for each of them.
    house.lab.pass(Duration::from_secs(6 * 86_400));
    assert_eq!(house.ground.mail.queue_len(), 0);
    assert_eq!(house.inbox().len(), 8, "four that were late and then given up");
    house.check();
}
