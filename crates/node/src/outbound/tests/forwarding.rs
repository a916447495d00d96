//! Messages that go on to where their recipient wants them.

use super::*;

impl House {
    /// A message from elsewhere; gives the answers to its envelope and to its end.
    fn stranger_sends(&mut self, from: &str, to: &str, message: &str) -> (String, String) {
        let client = self.connect(Role::Mx);
        self.say(&client, "EHLO else.test\r\n");
        self.say(&client, &format!("MAIL FROM:<{from}>\r\n"));
        let rcpt = self.say(&client, &format!("RCPT TO:<{to}>\r\n"));
        if !rcpt.starts_with("250 ") {
            return (rcpt, String::new());
        }
        self.say(&client, "DATA\r\n");
        let end = self.say(&client, &format!("{message}\r\n.\r\n"));
        (rcpt, end)
    }

    fn forward(&self, to: &str, keeps_copy: bool) {
        at_once(
            self.ground
                .directory
                .set_forward(ALICE, &[to.to_owned()], keeps_copy),
        )
        .unwrap();
    }

    fn alias(&self, name: &str, targets: &[&str]) {
        let targets: Vec<String> = targets.iter().map(|&target| target.to_owned()).collect();
        at_once(self.ground.directory.add_alias(name, &targets, BEGIN)).unwrap();
    }
}

// A forwarded message passes the next server's SPF check, and its bounce comes to who sent it.
#[test]
fn a_forwarded_message_goes_on_under_a_sender_that_leads_back() {
    let mut house = House::new();
    house.domain("there.test", "mx.there.test", "203.0.113.1");
    house.domain("else.test", "mx.else.test", "203.0.113.2");
    house.listen(ONE);
    house.listen(TWO);
    let list = "list@example.org";
    house.alias(list, &["x@there.test", ALICE]);
    let (_, end) = house.stranger_sends("Carol@else.test", list, "Subject: on\r\n\r\nhi");
    assert!(end.starts_with("250 "), "{end}");
    assert_eq!(house.inbox().len(), 1, "alice's");
    let server = house.accept(ONE);
    let envelope = house.greet(&server);
    let sender = envelope.split(['<', '>']).nth(1).unwrap().to_owned();
    assert!(
        sender.starts_with("SRS0=") && sender.ends_with("=else.test=Carol@example.org"),
        "{sender}"
    );
    let body = house.lab.say(&server, "250 ok\r\n250 ok\r\n354 go\r\n");
    assert!(
        body.starts_with("Delivered-To: list@example.org\r\nReceived: "),
        "{body}"
    );
    // It is refused: carol hears of it, once, from us.
    house.lab.say(&server, "550 5.7.1 no\r\n");
    house.lab.say(&server, "221 bye\r\n");
    assert_eq!(house.inbox().len(), 1, "alice has not sent it");
    let server = house.accept(TWO);
    let envelope = house.greet(&server);
    assert!(
        envelope.starts_with("MAIL FROM:<> ") && envelope.contains("RCPT TO:<Carol@else.test>"),
        "{envelope}"
    );
    let body = house.lab.say(&server, "250 ok\r\n250 ok\r\n354 go\r\n");
    assert!(
        body.starts_with("From: Mail delivery") && body.contains("\r\nTo: <Carol@else.test>\r\n"),
        "{body}"
    );
    // She wrote to the list, and knows nobody of there.test.
    for part in [
        "\r\n  x@there.test (which you wrote to as list@example.org)\r\n",
        "Original-Recipient: rfc822; list@example.org\r\nFinal-Recipient: rfc822; x@there.test\r\n",
        "Content-Type: message/delivery-status\r\nContent-Transfer-Encoding: 7bit\r\n",
    ] {
        assert!(body.contains(part), "{part:?} in {body}");
    }
    house.lab.say(&server, "250 queued\r\n");
    house.lab.pass(Duration::from_secs(86_400));
    assert_eq!(
        (
            house.came_to(ONE),
            house.came_to(TWO),
            house.ground.mail.queue_len()
        ),
        (0, 0, 0)
    );

    // A bounce of the next server's own takes the same way, and nothing else does.
    let (said, _) = house.stranger_sends("y@there.test", &sender, "");
    assert_eq!(said, "550 5.1.1 No such mailbox here");
    let (said, _) = house.stranger_sends("", &sender.replace("Carol", "dave"), "");
    assert_eq!(said, "550 5.1.1 No such mailbox here");
    let (_, end) = house.stranger_sends("", &sender, "Subject: returned\r\n");
    assert!(end.starts_with("250 "), "{end}");
    let server = house.accept(TWO);
    assert!(house.greet(&server).contains("RCPT TO:<Carol@else.test>"));
    house.check();
}

// Guards pitfall SMTP 6: a mail loop ends, and who forwards loses nothing by it.
#[test]
fn a_message_that_was_forwarded_before_is_kept_and_goes_round_no_more() {
    let mut house = House::new();
    house.domain("there.test", "mx.there.test", "203.0.113.1");
    house.forward("x@there.test", false);
    let (_, end) = house.stranger_sends("c@else.test", ALICE, "Subject: first\r\n");
    assert!(end.starts_with("250 "), "{end}");
    assert_eq!((house.inbox().len(), house.ground.mail.queue_len()), (0, 1));
    let again = "Delivered-To: Alice@Example.org\r\nSubject: again\r\n";
    let (_, end) = house.stranger_sends("c@else.test", ALICE, again);
    assert!(end.starts_with("250 "), "{end}");
    assert_eq!((house.inbox().len(), house.ground.mail.queue_len()), (1, 1));
    let alias = "list@example.org";
    house.alias(alias, &["y@there.test"]);
    let (_, end) = house.stranger_sends("c@else.test", alias, "Delivered-To: list@example.org\r\n");
    assert!(end.starts_with("554 5.4.6 "), "{end}");
    house.check();
}

#[test]
fn mail_of_ours_is_forwarded_under_its_own_sender_and_what_fails_comes_back() {
    let mut house = House::new();
    house.domain("there.test", "mx.there.test", "203.0.113.1");
    house.listen(ONE);
    let list = "list@example.org";
    house.alias(list, &["x@there.test", "bob@example.org"]);
    house.submit(ALICE, &[list], "");
    let server = house.accept(ONE);
    assert!(house.greet(&server).starts_with("MAIL FROM:<alice@example.org> "));
    house.lab.say(&server, "250 ok\r\n550 5.1.1 who\r\n503 no\r\n");
    assert!(house.inbox()[0].contains("Final-Recipient: rfc822; x@there.test\r\n"));
    house.check();
}

#[test]
fn an_account_forwards_so_much_an_hour() {
    let mut house = House::new();
    house.forward("x@there.test", true);
    let sent = |house: &mut House| house.stranger_sends("c@else.test", ALICE, "Subject: x\r\n").0;
    for _ in 0..20 {
        assert!(sent(&mut house).starts_with("250 "));
    }
    assert!(sent(&mut house).starts_with("450 4.7.1 "));
}

#[test]
fn a_full_account_has_no_copy_of_what_it_forwards() {
    let mut house = House::new();
    house.domain("there.test", "mx.there.test", "203.0.113.1");
    house.forward("x@there.test", true);
    house.ground.mail.set_default_quota(ringpost_mail::Quota {
        bytes: None,
        messages: Some(1),
    });
    for n in 1..4 {
        let (_, end) = house.stranger_sends("c@else.test", ALICE, "Subject: x\r\n");
        assert!(end.starts_with("250 "), "{end}");
        assert_eq!(
            (house.inbox().len(), house.ground.mail.queue_len()),
            (2, n),
            "one, and a notice"
        );
    }
    // Where it goes no further, there is nobody but her to have it.
    let again = "Delivered-To: Alice@Example.org\r\nSubject: again\r\n";
    let (_, end) = house.stranger_sends("c@else.test", ALICE, again);
    assert!(end.starts_with("452 4.2.2 "), "{end}");
    house.check();
}

#[test]
fn what_is_not_sent_does_not_count() {
    let mut house = House::new();
    house.domain("there.test", "mx.there.test", "203.0.113.1");
    let client = house.signed_in();
    for _ in 0..5 {
        house.say(&client, "MAIL FROM:<alice@example.org>\r\n");
        for n in 0..20 {
            let said = house.say(&client, &format!("RCPT TO:<{n}@there.test>\r\n"));
            assert!(said.starts_with("250 "), "{said}");
        }
        let said = house.say(&client, "RCPT TO:<more@there.test>\r\n");
        assert!(
            said.starts_with("450 4.7.1 "),
            "those of the transaction count: {said}"
        );
        house.say(&client, "RSET\r\n");
    }
    // Two at once do not send more than one.
    let other = house.signed_in();
    for client in [&client, &other] {
        house.say(client, "MAIL FROM:<alice@example.org>\r\n");
        for n in 0..15 {
            house.say(client, &format!("RCPT TO:<{n}@there.test>\r\n"));
        }
        assert!(house.say(client, "DATA\r\n").starts_with("354 "));
    }
    let message = "From: alice@example.org\r\nSubject: x\r\n\r\n.\r\n";
    assert!(house.say(&client, message).starts_with("250 "));
    assert!(house.say(&other, message).starts_with("450 4.7.1 "));
    assert_eq!(house.ground.mail.queue_len(), 1);
    house.check();
}

// RFC 3461 §5.2.7.4: the message has arrived, and where the account has it sent besides is its own business.
#[test]
fn what_is_forwarded_beside_a_copy_and_refused_is_told_to_nobody() {
    for asked in ["", " NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;alice@example.org"] {
        let mut house = House::new();
        house.domain("there.test", "mx.there.test", "203.0.113.1");
        house.domain("else.test", "mx.else.test", "203.0.113.2");
        house.listen(ONE);
        house.listen(TWO);
        house.forward("x@there.test", true);
        let client = house.connect(Role::Mx);
        house.say(&client, "EHLO else.test\r\n");
        house.say(&client, "MAIL FROM:<c@else.test>\r\n");
        house.say(&client, &format!("RCPT TO:<{ALICE}>{asked}\r\n"));
        house.say(&client, "DATA\r\n");
        let end = house.say(&client, "Subject: x\r\n\r\nhi\r\n.\r\n");
        assert!(end.starts_with("250 "), "{end}");
        assert_eq!(house.inbox().len(), 1, "the copy");
        let server = house.accept(ONE);
        house.lab.say(&server, "220 there\r\n");
        let envelope = house
            .lab
            .say(&server, "250-there\r\n250-PIPELINING\r\n250 DSN\r\n");
        assert!(
            envelope.contains("\r\nRCPT TO:<x@there.test> NOTIFY=NEVER\r\n"),
            "{envelope}"
        );
        house
            .lab
            .say(&server, "250 ok\r\n550 5.1.1 no x@there.test\r\n503 no\r\n");
        house.lab.say(&server, "221 bye\r\n");
        assert_eq!(
            (house.inbox().len(), house.ground.mail.queue_len()),
            (1, usize::from(!asked.is_empty()))
        );
        if !asked.is_empty() {
            // That it is in the mailbox is told to who asked.
            let server = house.accept(TWO);
            assert!(house.greet(&server).contains("RCPT TO:<c@else.test>"));
            let body = house.lab.say(&server, "250 ok\r\n250 ok\r\n354 go\r\n");
            assert!(
                body.contains("Action: delivered\r\n") && !body.contains("there.test"),
                "{body}"
            );
            house.lab.say(&server, "250 queued\r\n");
        }
        house.lab.pass(Duration::from_secs(6 * 86_400));
        assert_eq!((house.came_to(TWO), house.ground.mail.queue_len()), (0, 0));
        house.check();
    }
}

// The account sees what could not be forwarded, and whoever sent it does not learn where it was to go. Has the account no room,
// it waits for that as mail to several does, and is lost in no case.
#[test]
fn what_is_forwarded_without_a_copy_and_refused_is_kept_and_told_to_nobody() {
    let mut house = House::new();
    house.domain("there.test", "mx.there.test", "203.0.113.1");
    house.domain("else.test", "mx.else.test", "203.0.113.2");
    house.listen(ONE);
    house.listen(TWO);
    house.forward("x@there.test", false);
    let refused = |house: &mut House, from: &str, subject: &str| {
        let (_, end) = house.stranger_sends(from, ALICE, &format!("Subject: {subject}\r\n\r\nhi"));
        assert!(end.starts_with("250 "), "{end}");
        let server = house.accept(ONE);
        house.greet(&server);
        house
            .lab
            .say(&server, "250 ok\r\n550 5.1.1 no x@there.test\r\n503 no\r\n");
        house.lab.say(&server, "221 bye\r\n");
        house.lab.settle();
        assert_eq!((house.came_to(TWO), house.ground.mail.queue_len()), (0, 0));
    };
    let has_room = |house: &House, messages| {
        let set = |set: &mut ringpost_directory::AccountSettings| set.quota_messages = Some(messages);
        at_once(house.ground.directory.set_settings(ALICE, set)).unwrap();
    };
    // What has arrived, but for notices of the quota, and how much waits.
    let state = |house: &House| {
        let of = |text: &String| {
            ["one", "two", "three", "four"]
                .into_iter()
                .find(|s| text.contains(&format!("Subject: {s}\r\n")))
        };
        let arrived: Vec<_> = house.inbox().iter().filter_map(of).collect();
        (
            arrived,
            at_once(house.ground.mail.all_that_wait_for_room()).unwrap().len(),
        )
    };
    refused(&mut house, "c@else.test", "one");
    let inbox = house.inbox();
    assert_eq!(inbox.len(), 1);
    assert!(
        inbox[0].starts_with("Return-Path: <c@else.test>\r\nReceived: ") && inbox[0].ends_with("hi\r\n"),
        "{inbox:?}"
    );
    // What finds no room waits for it, once, whoever sent it.
    has_room(&house, 1);
    refused(&mut house, "c@else.test", "two");
    assert_eq!(state(&house), (vec!["one"], 1));
    house.ground.check();
    has_room(&house, 2);
    house.lab.pass(Duration::from_secs(6 * 60));
    assert_eq!(state(&house), (vec!["one", "two"], 0));
    // In the end its sender is told, and where nobody can be, the promise is worth more than the quota.
    refused(&mut house, "c@else.test", "three");
    refused(&mut house, "", "four");
    house.lab.pass(Duration::from_secs(4 * 86_400));
    assert_eq!((state(&house), house.came_to(TWO)), ((vec!["one", "two"], 2), 0));
    let gives_up = (0..24 * 60 + 10).find(|_| {
        house.lab.pass(Duration::from_secs(60));
        house.came_to(TWO) > 0
    });
    assert!(gives_up.is_some_and(|minutes| minutes > 23 * 60), "{gives_up:?}");
    let server = house.accept(TWO);
    assert!(house.greet(&server).contains("RCPT TO:<c@else.test>"));
    let body = house.lab.say(&server, "250 ok\r\n250 ok\r\n354 go\r\n");
    assert!(
        body.contains("Final-Recipient: rfc822; alice@example.org\r\n") && !body.contains("there.test"),
        "{body}"
    );
    house.lab.say(&server, "250 queued\r\n");
    house.lab.pass(Duration::from_secs(86_400));
    assert_eq!(state(&house), (vec!["one", "two", "four"], 0));
    assert_eq!((house.came_to(TWO), house.ground.mail.queue_len()), (0, 0));
    house.check();
}
