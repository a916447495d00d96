//! Whose mail it is, and what becomes of mail that nobody knows whose it is.

use super::*;

/// Says the same of every message, and repeats what it was shown.
struct Looks {
    action: Action,
    is_listed: bool,
    seen: Arc<Mutex<Vec<u8>>>,
}

impl SenderAuth for Looks {
    fn begin(&self, peer: Peer) -> Option<Box<dyn Inspection>> {
        assert_eq!(peer.helo, "mail.example.com");
        assert_eq!(peer.sender, Some(("carol".to_owned(), "example.com".to_owned())));
        self.seen.lock().unwrap().clear();
        Some(Box::new(Looks {
            action: self.action,
            is_listed: false,
            seen: self.seen.clone(),
        }))
    }

    fn refusing_list(&self, _address: IpAddr) -> BoxFuture<'static, Option<String>> {
        let list = self.is_listed.then(|| "list.test".to_owned());
        Box::pin(async move { list })
    }

    fn is_proven(&self, peer: Peer) -> BoxFuture<'static, bool> {
        let is_proven = peer.sender.is_some_and(|(local, _)| local == "proven");
        Box::pin(async move { is_proven })
    }
}

impl Inspection for Looks {
    fn write(&mut self, chunk: &[u8]) {
        self.seen.lock().unwrap().extend_from_slice(chunk);
    }

    fn finish(self: Box<Self>) -> BoxFuture<'static, Findings> {
        let findings = Findings {
            fields: "Authentication-Results: mx.example.org; spf=pass\r\n".to_owned(),
            action: self.action,
            summary: String::new(),
        };
        Box::pin(async move { findings })
    }
}

/// Of whose senders the DNS says nothing.
struct Silence;

impl SenderAuth for Silence {
    fn begin(&self, _peer: Peer) -> Option<Box<dyn Inspection>> {
        Some(Box::new(Silence))
    }

    fn refusing_list(&self, _address: IpAddr) -> BoxFuture<'static, Option<String>> {
        Box::pin(async { None })
    }

    fn is_proven(&self, _peer: Peer) -> BoxFuture<'static, bool> {
        Box::pin(async { false })
    }
}

impl Inspection for Silence {
    fn write(&mut self, _chunk: &[u8]) {}

    fn finish(self: Box<Self>) -> BoxFuture<'static, Findings> {
        Box::pin(std::future::pending())
    }
}

#[test]
fn a_message_whose_sender_is_unknown_still_when_the_server_stops_is_to_come_again() {
    let mut house = House::new();
    house.sender_auth = Some(Arc::new(Silence));
    let (early, late) = (house.connect(Role::Mx), house.connect(Role::Mx));
    house.codes(&early, TO_ALICE);
    house.codes(&late, TO_ALICE);
    assert_eq!(house.say(&early, HELLO), "");
    let leaving = house.ground.stopper.take().unwrap().stop();
    house.lab.pass(Duration::from_secs(4));
    assert_eq!(house.say(&late, HELLO), "");
    house.lab.pass(Duration::from_secs(4));
    for client in [early, late] {
        assert_eq!(
            house.lab.hear(&client),
            "451 4.3.2 The server stops, try again later\r\n421 4.3.2 Shutting down\r\n"
        );
    }
    assert!(leaving.wait().now_or_never().is_some(), "nobody is waited for");
    assert!(house.inbox("alice").is_empty());
    house.check();
}

const FORGED: &str = "Authentication-Results: mx.example.org; dkim=pass\r\nSubject: x\r\n\r\n";

#[test]
fn what_is_found_out_about_a_sender_stands_above_all_that_came() {
    let mut house = House::new();
    let seen = Arc::<Mutex<Vec<u8>>>::default();
    house.sender_auth = Some(Arc::new(Looks {
        action: Action::Deliver,
        is_listed: false,
        seen: seen.clone(),
    }));
    let client = house.connect(Role::Mx);
    // A small message travels with its batch, a large one is a file.
    for lines in [1, 2_000] {
        let body = "y".repeat(70) + "\r\n";
        let body = body.repeat(lines);
        house.codes(&client, TO_ALICE);
        assert_eq!(house.codes(&client, &format!("{FORGED}{body}.\r\n")), [250]);
        let inbox = house.inbox("alice");
        let message = inbox.last().unwrap();
        assert!(message.starts_with(
            "Return-Path: <carol@example.com>\r\nAuthentication-Results: mx.example.org; spf=pass\r\nReceived: from "
        ), "{}", &message[..200]);
        assert!(
            !message.contains("dkim=pass") && message.ends_with(&format!("\r\nSubject: x\r\n\r\n{body}"))
        );
        let seen = String::from_utf8(seen.lock().unwrap().clone()).unwrap();
        assert_eq!(seen, format!("Subject: x\r\n\r\n{body}"));
    }
    house.check();
}

#[test]
fn what_a_domain_wants_refused_is_refused_and_what_it_suspects_is_junk() {
    let mut house = House::new();
    for (action, code) in [(Action::Refuse, 550), (Action::Junk, 250)] {
        house.sender_auth = Some(Arc::new(Looks {
            is_listed: false,
            action,
            seen: Arc::default(),
        }));
        let client = house.connect(Role::Mx);
        house.codes(&client, TO_ALICE);
        assert_eq!(house.codes(&client, HELLO), [code]);
    }
    assert!(house.inbox("alice").is_empty());
    let junk = MailboxName::new("Junk").unwrap();
    let (alice, _) = house.ground.accounts["alice"];
    let (_, snapshot) = at_once(house.ground.mail.select(alice, &junk, true)).unwrap();
    assert_eq!(snapshot.messages.len(), 1);
    // For several, by the spool; and it is made where somebody has removed it.
    let (bob, _) = house.ground.accounts["bob"];
    at_once(house.ground.mail.delete(bob, &junk)).unwrap();
    let client = house.connect(Role::Mx);
    let both = TO_ALICE.replace("DATA", "RCPT TO:<bob@example.org>\r\nDATA");
    house.codes(&client, &both);
    assert_eq!(house.codes(&client, HELLO), [250]);
    for (account, expected) in [(alice, 2), (bob, 1)] {
        let (_, snapshot) = at_once(house.ground.mail.select(account, &junk, true)).unwrap();
        assert_eq!(snapshot.messages.len(), expected);
    }
    assert!(house.inbox("alice").is_empty() && house.inbox("bob").is_empty());
    house.check();
}

#[test]
fn who_has_signed_in_is_not_looked_at_but_forges_nothing_either() {
    let mut house = House::new();
    house.sender_auth = Some(Arc::new(Looks {
        action: Action::Refuse,
        is_listed: false,
        seen: Arc::default(),
    }));
    let client = house.submit();
    let to = "MAIL FROM:<alice@example.org>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n";
    assert_eq!(house.codes(&client, to), [250, 250, 354]);
    assert_eq!(house.codes(&client, &format!("{FORGED}hello\r\n.\r\n")), [250]);
    let inbox = house.inbox("bob");
    assert!(
        inbox[0].contains("Subject: x") && !inbox[0].contains("Authentication-Results"),
        "{inbox:?}"
    );
}

// Guards pitfall SMTP 4.
#[test]
fn nobody_relays_through_us() {
    let mut house = House::new();
    let client = house.connect(Role::Mx);
    house.codes(&client, "EHLO c\r\nMAIL FROM:<alice@example.org>\r\n");
    for to in [
        "x@elsewhere.example",
        "x%elsewhere.example@example.org",
        "x@[192.0.2.9]",
        "@example.org:x@elsewhere.example",
    ] {
        assert_eq!(
            house.codes(&client, &format!("RCPT TO:<{to}>\r\n")),
            [550],
            "{to}"
        );
    }
    assert_eq!(house.codes(&client, "DATA\r\n"), [554]);
}

#[test]
fn postmaster_is_always_somebody() {
    let mut house = House::new();
    let client = house.connect(Role::Mx);
    let envelope =
        "EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<Postmaster>\r\nRCPT TO:<POSTMASTER@example.org>\r\nDATA\r\n";
    assert_eq!(house.codes(&client, envelope), [250, 250, 250, 250, 354]);
    assert_eq!(house.codes(&client, HELLO), [250]);
    assert_eq!(house.inbox("alice").len() + house.inbox("bob").len(), 1);
    assert_eq!(
        house.codes(
            &client,
            "MAIL FROM:<>\r\nRCPT TO:<postmaster@elsewhere.example>\r\n"
        ),
        [250, 550]
    );
}

#[test]
fn postmaster_is_somebody_though_the_alias_leads_to_where_nothing_is_sent() {
    let mut house = House::new();
    for alias in ["postmaster@example.org", "team@example.org"] {
        let targets = ["x@else.test".to_owned()];
        at_once(house.ground.directory.add_alias(alias, &targets, BEGIN)).unwrap();
    }
    let client = house.connect(Role::Mx);
    let envelope = "EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<team@example.org>\r\nRCPT TO:<Postmaster>\r\nDATA\r\n";
    assert_eq!(house.codes(&client, envelope), [250, 250, 550, 250, 354]);
    assert_eq!(house.codes(&client, HELLO), [250]);
    assert_eq!(house.inbox("alice").len() + house.inbox("bob").len(), 1);
}

#[test]
fn an_address_brings_so_many_messages_an_hour_and_who_signs_in_is_not_counted() {
    let mut house = House::new();
    house.peers.set_limits(PeerLimits {
        messages_per_hour: 2,
        ..PeerLimits::default()
    });
    let client = house.connect(Role::Mx);
    for _ in 0..2 {
        assert_eq!(house.codes(&client, TO_ALICE), [250, 250, 250, 354]);
        assert_eq!(house.codes(&client, HELLO), [250]);
    }
    let refused = "450 4.7.1 Too many messages from your address within an hour, wait a while\r\n";
    assert_eq!(house.say(&client, "MAIL FROM:<c@d>\r\n"), refused);
    let other = house.connect(Role::Mx);
    house.codes(&other, "EHLO c\r\n");
    assert_eq!(
        house.say(&other, "MAIL FROM:<c@d>\r\n"),
        refused,
        "on whichever connection"
    );
    assert_eq!(house.peers.messages_refused(), 2);
    let own = house.submit();
    for _ in 0..3 {
        let envelope = "MAIL FROM:<alice@example.org>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n";
        assert_eq!(house.codes(&own, envelope), [250, 250, 354]);
        assert_eq!(house.codes(&own, HELLO), [250]);
    }
    house.lab.pass(Duration::from_secs(1_801));
    let later = house.connect(Role::Mx);
    assert_eq!(house.codes(&later, TO_ALICE), [250, 250, 250, 354]);
    assert_eq!(house.codes(&later, HELLO), [250]);
    assert_eq!(house.inbox("alice").len(), 3);
    house.check();
}

fn strangers(house: &mut House, is_listed: bool) {
    house.sender_auth = Some(Arc::new(Looks {
        action: Action::Deliver,
        is_listed,
        seen: Arc::default(),
    }));
}

#[test]
fn who_is_in_a_block_list_writes_to_postmaster_alone() {
    let mut house = House::new();
    strangers(&mut house, true);
    let client = house.connect(Role::Mx);
    let refused = "550 5.7.1 Your address is in the DNS block list list.test; write to postmaster if it should not be\r\n";
    house.codes(&client, "EHLO c\r\nMAIL FROM:<c@d>\r\n");
    assert_eq!(house.say(&client, "RCPT TO:<alice@example.org>\r\n"), refused);
    let both = "RCPT TO:<Postmaster@example.org>\r\nRCPT TO:<abuse@example.org>\r\n";
    assert_eq!(house.codes(&client, both), [250, 250]);
    let own = house.submit();
    assert_eq!(
        house.codes(&own, "MAIL FROM:<>\r\nRCPT TO:<bob@example.org>\r\n"),
        [250, 250]
    );
}

#[test]
fn who_comes_for_the_first_time_is_asked_to_come_again_unless_its_domain_vouches_for_it() {
    let mut house = House::new();
    strangers(&mut house, false);
    house.policy.greylist = Some(Duration::from_secs(300));
    let tries = |house: &mut House, sender: &str, to: &str| {
        let client = house.connect(Role::Mx);
        house.codes(&client, &format!("EHLO c\r\nMAIL FROM:<{sender}>\r\n"));
        house.codes(&client, &format!("RCPT TO:<{to}@example.org>\r\n"))[0]
    };
    assert_eq!(tries(&mut house, "new@other.test", "alice"), 451);
    assert_eq!(tries(&mut house, "new@other.test", "ALICE"), 451);
    assert_eq!(tries(&mut house, "proven@other.test", "alice"), 250);
    assert_eq!(tries(&mut house, "new@other.test", "postmaster"), 250);
    house.lab.pass(Duration::from_secs(300));
    assert_eq!(tries(&mut house, "new@other.test", "Alice"), 250);
    assert_eq!(tries(&mut house, "new@other.test", "bob"), 451, "he is another");
    house.check();
}
