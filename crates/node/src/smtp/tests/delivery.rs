//! Messages on their way into mailboxes, each once and none lost.

use super::*;

#[test]
fn a_message_from_outside_reaches_the_inbox_with_its_trace() {
    let mut house = House::new();
    let client = house.connect(Role::Mx);
    assert_eq!(house.codes(&client, TO_ALICE), [250, 250, 250, 354]);
    assert_eq!(house.codes(&client, HELLO), [250]);
    assert_eq!(house.codes(&client, "QUIT\r\n"), [221]);
    assert!(client.is_closed() && house.lab.running() == 0);
    let [message] = &house.inbox("alice")[..] else {
        panic!("not one message")
    };
    let (trace, message) = message.split_once("Subject").unwrap();
    assert_eq!(message, ": hello\r\n\r\n.world\r\n");
    assert!(trace.starts_with(
        "Return-Path: <carol@example.com>\r\nReceived: from mail.example.com ([192.0.2.2])\r\n\tby mx.example.org with ESMTP id "
    ), "{trace}");
    assert!(
        trace.contains("\r\n\tfor <Alice@example.org>;\r\n\tTue, 14 Nov 2023 22:13:20 +0000\r\n"),
        "{trace}"
    );
    house.check();
}

// Guards pitfall SMTP 3: 250 after the last dot means on stable storage.
#[test]
fn the_250_waits_for_the_disk() {
    for to in [
        "RCPT TO:<alice@example.org>\r\n",
        "RCPT TO:<alice@example.org>\r\nRCPT TO:<bob@example.org>\r\n",
    ] {
        let mut house = House::new();
        let client = house.connect(Role::Mx);
        house.codes(&client, &format!("EHLO c\r\nMAIL FROM:<>\r\n{to}DATA\r\n"));
        house.ground.store.hold_syncs(true);
        assert_eq!(house.codes(&client, HELLO), [], "applied, and not yet durable");
        house.ground.store.sync();
        assert_eq!(house.lab.hear(&client).get(..3), Some("250"));

        house.codes(&client, &format!("MAIL FROM:<>\r\n{to}DATA\r\n"));
        assert_eq!(house.codes(&client, HELLO), []);
        house.ground.store.crash();
        assert_eq!(
            house.lab.hear(&client).get(..3),
            Some("451"),
            "a loss of power is no 250"
        );
    }
}

#[test]
fn several_recipients_get_it_once_each() {
    let mut house = House::new();
    let client = house.connect(Role::Mx);
    let envelope = "EHLO c\r\nMAIL FROM:<c@d>\r\nRCPT TO:<alice@example.org>\r\nRCPT TO:<bob@example.org>\r\n\
        RCPT TO:<nobody@example.org>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\n";
    assert_eq!(
        house.codes(&client, envelope),
        [250, 250, 250, 250, 550, 250, 354]
    );
    assert_eq!(house.codes(&client, HELLO), [250]);
    for name in ["alice", "bob"] {
        let inbox = house.inbox(name);
        assert_eq!(inbox.len(), 1);
        assert!(!inbox[0].contains("\tfor "), "nobody is told of the others");
    }
    house.check();
}

// Guards pitfall SMTP 3: what was promised survives a crash between the promise and the mailboxes.
#[test]
fn what_the_spool_holds_at_the_start_is_delivered() {
    let mut house = House::new();
    let letter = at_once(house.ground.mail.letter("Subject: promised\r\n\r\n".into())).unwrap();
    let recipients = house
        .ground
        .accounts
        .iter()
        .map(|(name, (account, _))| Recipient::new(format!("{name}@example.org"), *account));
    let envelope = ringpost_mail::Envelope {
        sender: String::new(),
        recipients: recipients.collect(),
        submitter: None,
        ..ringpost_mail::Envelope::default()
    };
    at_once(house.ground.mail.spool(envelope, letter, BEGIN)).unwrap();
    house.lab.spawn(deliver_due(
        house.lab.world.clone(),
        house.ground.mail.clone(),
        house.ground.stop.clone(),
    ));
    house.lab.settle();
    assert_eq!((house.inbox("alice").len(), house.inbox("bob").len()), (1, 1));
    house.lab.pass(Duration::from_secs(300));
    assert_eq!(house.inbox("alice").len(), 1);
    house.ground.stop();
    house.lab.settle();
    assert_eq!(house.lab.running(), 0);
    house.check();
}

// Guards pitfall IMAP 12: who is over quota gets 452 and loses nothing.
#[test]
fn a_full_mailbox_and_a_full_disk_are_temporary() {
    let mut house = House::with_quota(Some(1_000));
    let client = house.connect(Role::Mx);
    let sized = "EHLO c\r\nMAIL FROM:<c@d> SIZE=2000\r\nRCPT TO:<alice@example.org>\r\nRCPT TO:<bob@example.org>\r\nRSET\r\n";
    assert_eq!(house.codes(&client, sized), [250, 250, 452, 250, 250]);
    assert_eq!(house.codes(&client, &TO_ALICE[23..]), [250, 250, 354]);
    let large = format!("Subject: x\r\n\r\n{}\r\n.\r\n", "x".repeat(990));
    assert_eq!(house.say(&client, &large), "452 4.2.2 Mailbox full\r\n");
    house.codes(&client, &TO_ALICE[23..]);
    house.ground.store.set_full(true);
    assert_eq!(
        house.say(&client, HELLO),
        "452 4.3.1 Insufficient system storage\r\n"
    );
    house.ground.store.set_full(false);
    house.codes(&client, &TO_ALICE[23..]);
    assert_eq!(house.codes(&client, HELLO), [250]);
    assert_eq!(house.inbox("alice").len(), 1);
    house.check();
}

// Guards pitfall SMTP 1, from the wire to the mailbox.
#[test]
fn a_smuggled_message_reaches_nobody() {
    let mut house = House::new();
    let client = house.connect(Role::Mx);
    house.codes(&client, TO_ALICE);
    let smuggled = "Subject: a\r\n\r\nx\n.\r\nMAIL FROM:<x@y>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\nSubject: b\r\n\r\n.\r\n";
    assert_eq!(house.codes(&client, smuggled), [550]);
    assert!(house.inbox("alice").is_empty() && house.inbox("bob").is_empty());
    assert_eq!(house.codes(&client, "QUIT\r\n"), [221]);
    house.check();
}

#[test]
fn a_large_message_streams_through() {
    let mut house = House::new();
    let client = house.connect(Role::Mx);
    house.codes(&client, TO_ALICE);
    client.send("Subject: large\r\n\r\n");
    let line = "0123456789".repeat(7) + "\r\n";
    for _ in 0..100 {
        client.send(line.repeat(100));
        house.lab.settle();
    }
    assert_eq!(house.codes(&client, ".\r\n"), [250]);
    let inbox = house.inbox("alice");
    assert!(inbox[0].len() > limits::INLINE_BLOB_BYTES && inbox[0].ends_with(&line.repeat(2)));
    house.check();
}

#[test]
fn a_client_that_goes_away_leaves_nothing() {
    let mut house = House::new();
    let mut client = house.connect(Role::Mx);
    house.codes(&client, TO_ALICE);
    house.say(&client, "Subject: half\r\n\r\nof a message\r\n");
    client.close();
    house.lab.settle();
    assert_eq!(house.lab.running(), 0);
    assert!(house.inbox("alice").is_empty());
    house.check();
}

// Guards pitfall SMTP 6: a message that goes round is stopped.
#[test]
fn a_loop_ends() {
    let mut house = House::new();
    let client = house.connect(Role::Mx);
    house.codes(&client, TO_ALICE);
    let looping = format!(
        "{}\r\n.\r\n",
        "Received: from a by b; Tue, 14 Nov 2023 22:13:20 +0000\r\n".repeat(limits::MAIL_HOPS)
    );
    assert_eq!(house.codes(&client, &looping), [554]);
    assert!(house.inbox("alice").is_empty());
}

// RFC 2033 §4.2: who is full, or gone, is told alone.
#[test]
fn lmtp_delivers_to_each_recipient_by_itself() {
    let mut house = House::with_quota(Some(2_000));
    let both = ["alice@example.org".to_owned(), "bob@example.org".to_owned()];
    at_once(house.ground.directory.add_alias("team@example.org", &both, BEGIN)).unwrap();
    let client = house.connect(Role::Lmtp);
    assert_eq!(house.codes(&client, "LHLO mx.example.net\r\n"), [250]);
    let envelope = "MAIL FROM:<c@d>\r\nRCPT TO:<alice@example.org>\r\nRCPT TO:<bob@example.org>\r\n\
        RCPT TO:<nobody@example.org>\r\nRCPT TO:<bob@example.org>\r\nRCPT TO:<x@else.test>\r\nDATA\r\n";
    let answers = [250, 250, 250, 550, 250, 550, 354];
    assert_eq!(house.codes(&client, envelope), answers);
    assert_eq!(house.codes(&client, HELLO), [250, 250, 250]);
    let large = format!(
        "Subject: large\r\n\r\n{}.\r\n",
        "x".repeat(70) + &"\r\nyyyyyyyy".repeat(250) + "\r\n"
    );
    assert_eq!(house.codes(&client, envelope), answers);
    assert_eq!(
        house
            .say(&client, &large)
            .matches("452 4.2.2 Mailbox full")
            .count(),
        1
    );
    assert_eq!(
        (house.inbox("alice").len(), house.inbox("bob").len()),
        (1, 2),
        "bob has each once"
    );
    assert!(
        house.inbox("bob")[0].contains("by mx.example.org with LMTP id "),
        "{:?}",
        house.inbox("bob")
    );
    // A list is promised as a whole, and delivered behind the promise. Who is on it and named too has it once.
    for (n, to) in [["team", "bob"], ["bob", "team"]].into_iter().enumerate() {
        let [first, second] = to;
        let envelope = format!(
            "MAIL FROM:<c@d>\r\nRCPT TO:<{first}@example.org>\r\nRCPT TO:<{second}@example.org>\r\nDATA\r\n"
        );
        assert_eq!(house.codes(&client, &envelope), [250, 250, 250, 354]);
        assert_eq!(house.codes(&client, HELLO), [250, 250]);
        house.lab.settle();
        assert_eq!(
            (house.inbox("alice").len(), house.inbox("bob").len()),
            (2 + n, 3 + n)
        );
    }
    house.check();
}

// Guards pitfall IMAP 12: a full account takes no more mail, whatever leads to it, and nobody else waits for it.
#[test]
fn what_a_list_brings_to_a_full_account_waits_for_room_and_the_others_have_it() {
    for role in [Role::Mx, Role::Lmtp] {
        let mut house = House::with_quota(Some(2_000));
        let both = ["alice@example.org".to_owned(), "bob@example.org".to_owned()];
        at_once(house.ground.directory.add_alias("team@example.org", &both, BEGIN)).unwrap();
        house.lab.spawn(deliver_due(
            house.lab.world.clone(),
            house.ground.mail.clone(),
            house.ground.stop.clone(),
        ));
        let client = house.connect(role);
        let hello = if role == Role::Lmtp { "LHLO" } else { "EHLO" };
        house.codes(&client, &format!("{hello} c\r\n"));
        let send = |house: &mut House, to: &str| {
            let text = format!("MAIL FROM:<bob@example.org>\r\nRCPT TO:<{to}@example.org>\r\nDATA\r\n");
            let codes = house.codes(&client, &text);
            if codes != [250, 250, 354] {
                return codes[1];
            }
            let large = format!("Subject: {to}\r\n\r\n{}\r\n.\r\n", "x".repeat(900));
            let code = house.codes(&client, &large)[0];
            house.lab.settle();
            code
        };
        assert_eq!(send(&mut house, "alice"), 250);
        for n in 1..4 {
            assert_eq!(send(&mut house, "team"), 250);
            assert_eq!(
                (house.inbox("alice").len(), house.inbox("bob").len()),
                (1, n),
                "{role:?}"
            );
        }
        // What does not fit is hers alone to hear of.
        assert_eq!(send(&mut house, "alice"), 452);
        // She has room for one of them.
        let alice = "alice@example.org";
        let roomier = |set: &mut ringpost_directory::AccountSettings| set.quota_bytes = Some(2_800);
        at_once(house.ground.directory.set_settings(alice, roomier)).unwrap();
        house.lab.pass(Duration::from_secs(4 * 3_600));
        let inbox = house.inbox("alice");
        assert_eq!(inbox.len(), 2, "{role:?}");
        assert!(inbox[1].contains("Subject: team\r\n"));
        // The others are given up, each told once.
        house.lab.pass(Duration::from_secs(6 * 86_400));
        let told = house.inbox("bob").split_off(3);
        assert_eq!((house.inbox("alice").len(), told.len()), (2, 2), "{role:?}");
        assert!(
            told[0]
                .contains("Final-Recipient: rfc822; team@example.org\r\nAction: failed\r\nStatus: 5.2.2\r\n")
        );
        house.check();
    }
}

// Accounts that forward to each other are no copies of each other: what finds no room in either waits, and is given up where
// somebody is told of it, and kept where nobody could be.
#[test]
fn nothing_is_lost_between_full_accounts_that_forward_to_each_other() {
    for (sender, is_told) in [("bob@example.org", true), ("carol@else.test", false)] {
        let mut house = House::with_quota(Some(1_000));
        let carol = at_once(
            house
                .ground
                .directory
                .add_account(NewAccount::new("carol@example.org".to_owned()), BEGIN),
        );
        let carol = carol.unwrap();
        at_once(house.ground.mail.create_defaults(carol.account.id, BEGIN)).unwrap();
        house
            .ground
            .accounts
            .insert("carol", (carol.account.id, carol.password));
        let limited = |set: &mut ringpost_directory::AccountSettings| set.quota_bytes = Some(1_000);
        at_once(house.ground.directory.set_settings("bob@example.org", limited)).unwrap();
        for (from, to) in [("alice", "bob"), ("bob", "alice")] {
            let (from, to) = (format!("{from}@example.org"), [format!("{to}@example.org")]);
            at_once(house.ground.directory.set_forward(&from, &to, true)).unwrap();
        }
        let all = ["alice", "bob", "carol"].map(|name| format!("{name}@example.org"));
        at_once(house.ground.directory.add_alias("team@example.org", &all, BEGIN)).unwrap();
        house.lab.spawn(deliver_due(
            house.lab.world.clone(),
            house.ground.mail.clone(),
            house.ground.stop.clone(),
        ));
        let client = house.connect(Role::Mx);
        house.codes(&client, "EHLO c\r\n");
        let text = format!("MAIL FROM:<{sender}>\r\nRCPT TO:<team@example.org>\r\nDATA\r\n");
        assert_eq!(house.codes(&client, &text), [250, 250, 354]);
        let large = format!("Subject: team\r\n\r\n{}\r\n.\r\n", "x".repeat(2_000));
        assert_eq!(house.codes(&client, &large), [250]);
        house.lab.settle();
        let count = |house: &House| ["alice", "bob", "carol"].map(|name| house.inbox(name).len());
        assert_eq!(count(&house), [0, 0, 1], "{sender}");
        house.lab.pass(Duration::from_secs(6 * 86_400));
        let kept = usize::from(!is_told);
        let inboxes = ["alice", "bob"].map(|name| {
            let texts = house.inbox(name);
            texts
                .iter()
                .filter(|text| text.contains("Subject: team\r\n\r\nxxx"))
                .count()
        });
        assert_eq!(inboxes, [kept, kept], "{sender}");
        house.check();
    }
}
