//! Those who sign in, and what they may.

use super::*;

#[test]
fn who_signed_in_sends_as_itself_and_to_local_recipients() {
    let mut house = House::new();
    let client = house.submit();
    assert_eq!(house.codes(&client, "MAIL FROM:<bob@example.org>\r\n"), [553]);
    assert_eq!(
        house.codes(&client, "MAIL FROM:<alice@elsewhere.example>\r\n"),
        [553]
    );
    assert_eq!(house.codes(&client, "MAIL FROM:<alice@[192.0.2.1]>\r\n"), [553]);
    assert_eq!(
        house.codes(
            &client,
            "MAIL FROM:<Alice@example.org>\r\nRCPT TO:<x@elsewhere.example>\r\n"
        ),
        [250, 550]
    );
    assert_eq!(
        house.codes(&client, "RCPT TO:<bob@example.org>\r\nDATA\r\n"),
        [250, 354]
    );
    assert_eq!(house.codes(&client, HELLO), [250]);
    assert!(house.inbox("bob")[0].contains(" with ESMTPSA id "));
    house.check();
}

#[test]
fn passwords_that_are_wrong_take_longer_each_time() {
    let mut house = House::new();
    let client = house.connect(Role::Submissions);
    house.codes(&client, "EHLO c\r\n");
    for failed in 1..=2u32 {
        let wrong = house.auth(["alice", "nobody"][failed as usize - 1], Some("guess"));
        assert_eq!(house.codes(&client, &wrong), [], "not at once");
        house.lab.pass(GUESS * failed - Duration::from_millis(1));
        assert_eq!(house.lab.hear(&client), "");
        house.lab.pass(Duration::from_millis(1));
        assert_eq!(
            house.lab.hear(&client),
            "535 5.7.8 Authentication credentials invalid\r\n"
        );
    }
    let right = house.auth("alice", None);
    assert_eq!(house.codes(&client, &right), [235]);
}

const GUESS: Duration = Duration::from_secs(1);

#[test]
fn nobody_acts_as_somebody_else() {
    let mut house = House::new();
    let client = house.connect(Role::Submissions);
    house.codes(&client, "EHLO c\r\n");
    let (_, password) = &house.ground.accounts["alice"];
    let auth = |authzid| {
        let message = sasl::plain_message(authzid, "alice", password);
        format!("AUTH PLAIN {}\r\n", base64::encode(&message))
    };
    let (as_bob, as_herself) = (auth("bob"), auth("alice@example.org"));
    house.codes(&client, &as_bob);
    house.lab.pass(GUESS);
    assert!(house.lab.hear(&client).starts_with("535"));
    assert_eq!(house.codes(&client, &as_herself), [235]);
}

#[test]
fn mail_for_other_names_of_somebody_arrives_and_goes_to_a_folder_if_that_is_wanted() {
    let mut house = House::new();
    house.policy.detail_folders = true;
    let alias = ["alice@example.org".to_owned(), "bob@example.org".to_owned()];
    at_once(
        house
            .ground
            .directory
            .add_alias("team@example.org", &alias, BEGIN),
    )
    .unwrap();
    let bob = house.ground.accounts["bob"].0;
    let folder = MailboxName::new("Lists/Rust").unwrap();
    at_once(house.ground.mail.create(bob, &folder, None, BEGIN)).unwrap();
    let client = house.connect(Role::Mx);
    house.codes(&client, "EHLO c\r\n");
    for to in ["Team", "bob+lists/rust", "bob+none", "Bob", "abuse"] {
        let envelope = format!("MAIL FROM:<c@d>\r\nRCPT TO:<{to}@example.org>\r\nDATA\r\n");
        assert_eq!(house.codes(&client, &envelope), [250, 250, 354], "{to}");
        assert_eq!(house.codes(&client, HELLO), [250]);
    }
    let alice = house.inbox("alice").len();
    assert_eq!(alice + house.inbox("bob").len(), 5, "abuse is either's");
    let (_, snapshot) = at_once(house.ground.mail.select(bob, &folder, true)).unwrap();
    assert_eq!(snapshot.messages.len(), 1);
    // Over the spool too.
    let envelope = "MAIL FROM:<c@d>\r\nRCPT TO:<bob+Lists/Rust@example.org>\r\nRCPT TO:<alice+Trash@example.org>\r\nDATA\r\n";
    assert_eq!(house.codes(&client, envelope), [250, 250, 250, 354]);
    assert_eq!(house.codes(&client, HELLO), [250]);
    let (_, snapshot) = at_once(house.ground.mail.select(bob, &folder, true)).unwrap();
    assert_eq!((snapshot.messages.len(), house.inbox("alice").len()), (2, alice));
    house.check();
}

#[test]
fn who_signed_in_sends_as_any_of_its_addresses() {
    let mut house = House::new();
    let alias = ["alice@example.org".to_owned(), "x@else.test".to_owned()];
    at_once(
        house
            .ground
            .directory
            .add_alias("team@example.org", &alias, BEGIN),
    )
    .unwrap();
    at_once(
        house
            .ground
            .directory
            .set_catch_all("example.org", Some("alice@example.org")),
    )
    .unwrap();
    let client = house.submit();
    for (from, code) in [
        ("alice+x@example.org", 250),
        ("TEAM@example.org", 250),
        ("nobody@example.org", 553),
        ("bob@example.org", 553),
        ("x@else.test", 553),
    ] {
        assert_eq!(
            house.codes(&client, &format!("MAIL FROM:<{from}>\r\n")),
            [code],
            "{from}"
        );
        house.codes(&client, "RSET\r\n");
    }
}

#[test]
fn a_forward_to_elsewhere_keeps_the_mail_where_nothing_is_sent_elsewhere() {
    let mut house = House::new();
    at_once(
        house
            .ground
            .directory
            .set_forward("alice@example.org", &["x@else.test".to_owned()], false),
    )
    .unwrap();
    at_once(
        house
            .ground
            .directory
            .add_alias("away@example.org", &["x@else.test".to_owned()], BEGIN),
    )
    .unwrap();
    let client = house.connect(Role::Mx);
    let envelope =
        "EHLO c\r\nMAIL FROM:<c@d>\r\nRCPT TO:<away@example.org>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\n";
    assert_eq!(house.codes(&client, envelope), [250, 250, 550, 250, 354]);
    assert_eq!(house.codes(&client, HELLO), [250]);
    assert_eq!(house.inbox("alice").len(), 1);
    house.check();
}

#[test]
fn a_submitted_message_is_put_right_and_is_in_nobody_elses_name() {
    let mut house = House::new();
    let client = house.submit();
    let send = |house: &mut House, message: &str| {
        let envelope = "MAIL FROM:<alice@example.org>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n";
        assert_eq!(house.codes(&client, envelope), [250, 250, 354]);
        house.say(&client, &format!("{message}\r\n.\r\n"))
    };
    let said = send(&mut house, "Subject: x\r\nBcc: eve@example.org\r\n\r\nhi");
    let id = said.trim().rsplit(' ').next().unwrap().to_owned();
    let inbox = house.inbox("bob");
    let text = inbox[0].split_once("Subject: x\r\n").unwrap().1;
    assert_eq!(
        text,
        format!(
            "From: alice <alice@example.org>\r\nDate: Tue, 14 Nov 2023 22:13:20 +0000\r\n\
             Message-ID: <{id}@mx.example.org>\r\n\r\nhi\r\n"
        )
    );
    let own = "From: Me <ALICE+x@example.org>\r\nSender: alice@example.org\r\n";
    assert!(send(&mut house, own).starts_with("250 "));
    for (forged, code) in [
        ("From: bob@example.org", "550 5.7.1 "),
        ("From: alice@example.org, bob@example.org", "550 5.7.1 "),
        ("From: alice@example.org\r\nSender: bob@example.org", "550 5.7.1 "),
        ("From: alice@example.org\r\nFrom: bob@example.org", "550 5.6.0 "),
        ("From: boss@elsewhere.test", "550 5.7.1 "),
        ("From: The Boss", "550 5.7.1 "),
    ] {
        let said = send(&mut house, &format!("{forged}\r\n"));
        assert!(said.starts_with(code), "{forged}: {said}");
    }
    assert_eq!(house.inbox("bob").len(), 2);
    house.check();
}

// Guards pitfall SMTP 8: the server never bans its owner.
#[test]
fn who_guesses_passwords_is_heard_no_more_but_a_password_that_was_right_before_is() {
    let mut house = House::new();
    house.peers.set_limits(PeerLimits {
        failed_logins_per_hour: 2,
        ..PeerLimits::default()
    });
    let tries = |house: &mut House, user: &str, password: Option<&str>| {
        let client = house.connect(Role::Submissions);
        house.codes(&client, "EHLO c\r\n");
        let auth = house.auth(user, password);
        client.send(auth);
        house.lab.pass(Duration::from_secs(6));
        house.lab.hear(&client)
    };
    assert!(tries(&mut house, "alice", None).starts_with("235 "));
    let denied = "535 5.7.8 Authentication credentials invalid\r\n";
    // A day later nobody here has signed in of late.
    house.lab.pass(Duration::from_secs(25 * 3_600));
    for password in ["old", "old", "old", "guess"] {
        assert_eq!(tries(&mut house, "bob", Some(password)), denied);
    }
    let refused = "454 4.7.0 Too many failed passwords from your address, wait a while\r\n";
    assert_eq!(tries(&mut house, "bob", Some("more")), refused);
    assert_eq!(
        tries(&mut house, "bob", None),
        refused,
        "right or wrong, it is not looked at"
    );
    let counted = (house.peers.logins_failed(), house.peers.logins_refused());
    assert_eq!(counted, (4, 2));
    assert!(
        tries(&mut house, "alice", None).starts_with("235 "),
        "she is known"
    );
    assert!(
        tries(&mut house, "bob", None).starts_with("235 "),
        "and so is her house"
    );
}

#[test]
fn another_password_ends_what_was_signed_in_with_the_old_one() {
    let mut house = House::new();
    let client = house.submit();
    at_once(
        house
            .ground
            .directory
            .set_password("alice@example.org", "new", BEGIN),
    )
    .unwrap();
    let heard = house.say(&client, "MAIL FROM:<alice@example.org>\r\n");
    assert_eq!(heard, "421 4.7.0 The login is no longer valid, log in again\r\n");
    assert_eq!(house.lab.running(), 0);
}
