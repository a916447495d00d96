//! Whole conversations over connections in memory, checked in the mailboxes.

use super::*;
use crate::peers::PeerLimits;
use crate::stop::Stopper;
use crate::testing::{BEGIN, Client, Lab, at_once};
use futures_util::future::BoxFuture;
use ringpost_auth::{base64, sasl};
use ringpost_base::{Rng, limits};
use ringpost_directory::{Cost, InlineKdf, NewAccount, Parts};
use ringpost_imap::MailboxName;
use ringpost_mail::{Action, Findings, Inspection, Peer};
use ringpost_smtp::Role;
use ringpost_store::{AccountId, Bodies, LocalBus, MemoryBlobs, MemoryStore, check_store};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Mutex;

/// A server for example.org with alice and bob.
struct House {
    lab: Lab,
    store: Arc<MemoryStore>,
    blobs: Arc<MemoryBlobs>,
    directory: Directory,
    mail: Arc<Mail>,
    stop: Stop,
    stopper: Option<Stopper>,
    policy: Policy,
    accounts: BTreeMap<&'static str, (AccountId, String)>,
    sender_auth: Option<Arc<dyn SenderAuth>>,
    peers: Arc<Peers>,
}

impl House {
    fn new() -> Self {
        Self::with_quota(None)
    }

    /// With a quota for alice.
    fn with_quota(quota_bytes: Option<u64>) -> Self {
        let lab = Lab::new();
        let store = Arc::new(MemoryStore::new());
        let bus = Arc::new(LocalBus::new());
        let parts = Parts {
            store: store.clone(),
            bus: bus.clone(),
            kdf: Arc::new(InlineKdf(Cost::CHEAP)),
            seal_key: [7; 32],
            rng: Rng::from_number(1),
        };
        let directory = at_once(Directory::open(parts, "example.org", BEGIN)).unwrap();
        let blobs = Arc::new(MemoryBlobs::new(|| BEGIN));
        let bodies = Bodies::new(store.clone(), blobs.clone(), Rng::from_number(2));
        let mail = Arc::new(Mail::new(store.clone(), bodies, bus, Rng::from_number(3)));
        let mut accounts = BTreeMap::new();
        for name in ["alice", "bob"] {
            let mut new = NewAccount::new(format!("{name}@example.org"));
            new.quota_bytes = quota_bytes.filter(|_| name == "alice");
            let added = at_once(directory.add_account(new, BEGIN)).unwrap();
            at_once(mail.create_defaults(added.account.id, BEGIN)).unwrap();
            accounts.insert(name, (added.account.id, added.password));
        }
        let (stopper, stop) = Stopper::new();
        House {
            lab,
            store,
            blobs,
            directory,
            mail,
            stop,
            stopper: Some(stopper),
            policy: Policy::default(),
            accounts,
            sender_auth: None,
            peers: Arc::default(),
        }
    }

    fn connect(&mut self, role: Role) -> Client {
        let (connection, client) = self.lab.connect(role == Role::Submissions);
        let smtp = Smtp {
            world: self.lab.world.clone(),
            directory: self.directory.clone(),
            mail: self.mail.clone(),
            sending: None,
            sender_auth: self.sender_auth.clone(),
            peers: self.peers.clone(),
            config: Arc::new(Config::new("mx.example.org", role)),
            policy: self.policy.clone(),
            stop: self.stop.clone(),
        };
        self.lab.spawn(async move { smtp.serve(connection).await });
        let protocol = if role == Role::Lmtp { "LMTP" } else { "ESMTP" };
        let greeting = format!("220 mx.example.org {protocol} Ringpost\r\n");
        assert_eq!(self.lab.hear(&client), greeting);
        client
    }

    fn say(&mut self, client: &Client, text: &str) -> String {
        self.lab.say(client, text)
    }

    /// The codes of the replies to this.
    fn codes(&mut self, client: &Client, text: &str) -> Vec<u16> {
        let heard = self.say(client, text);
        let last = heard.lines().filter(|line| line.as_bytes()[3] == b' ');
        last.map(|line| line[..3].parse().unwrap()).collect()
    }

    /// A client of port 587 that has signed in as alice.
    fn submit(&mut self) -> Client {
        let client = self.connect(Role::Submission);
        assert_eq!(self.codes(&client, "EHLO laptop\r\nSTARTTLS\r\n"), [250, 220]);
        assert_eq!(self.codes(&client, "EHLO laptop\r\n"), [250]);
        let auth = self.auth("alice", None);
        assert_eq!(self.codes(&client, &auth), [235]);
        client
    }

    fn auth(&self, user: &str, password: Option<&str>) -> String {
        let right = self
            .accounts
            .get(user)
            .map_or("", |(_, password)| password.as_str());
        let message = sasl::plain_message("", user, password.unwrap_or(right));
        format!("AUTH PLAIN {}\r\n", base64::encode(&message))
    }

    /// What is in an account's inbox.
    fn inbox(&self, name: &str) -> Vec<String> {
        let (account, _) = self.accounts[name];
        let (selected, snapshot) = at_once(self.mail.select(account, &MailboxName::inbox(), true)).unwrap();
        let read = |uid| {
            let mut text = Vec::new();
            let mut reader = at_once(self.mail.body(&selected, uid, 0..u64::MAX))
                .unwrap()
                .unwrap();
            while let Some(chunk) = at_once(reader.next()).unwrap() {
                text.extend_from_slice(&chunk);
            }
            String::from_utf8(text).unwrap()
        };
        snapshot.messages.iter().map(|m| read(m.uid)).collect()
    }

    #[track_caller]
    fn check(&self) {
        let report = at_once(check_store(&*self.store, &*self.blobs)).unwrap();
        assert!(report.is_sound(), "{:#?}", report.problems);
    }
}

const TO_ALICE: &str =
    "EHLO mail.example.com\r\nMAIL FROM:<carol@example.com>\r\nRCPT TO:<Alice@Example.ORG>\r\nDATA\r\n";
const HELLO: &str = "Subject: hello\r\n\r\n..world\r\n.\r\n";

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
        house.store.hold_syncs(true);
        assert_eq!(house.codes(&client, HELLO), [], "applied, and not yet durable");
        house.store.sync();
        assert_eq!(house.lab.hear(&client).get(..3), Some("250"));

        house.codes(&client, &format!("MAIL FROM:<>\r\n{to}DATA\r\n"));
        assert_eq!(house.codes(&client, HELLO), []);
        house.store.crash();
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
    let letter = at_once(house.mail.letter("Subject: promised\r\n\r\n".into())).unwrap();
    let recipients = house
        .accounts
        .iter()
        .map(|(name, (account, _))| Recipient::new(format!("{name}@example.org"), *account));
    let envelope = ringpost_mail::Envelope {
        sender: String::new(),
        recipients: recipients.collect(),
        submitter: None,
        ..ringpost_mail::Envelope::default()
    };
    at_once(house.mail.spool(envelope, letter, BEGIN)).unwrap();
    house.lab.spawn(deliver_due(
        house.lab.world.clone(),
        house.mail.clone(),
        house.stop.clone(),
    ));
    house.lab.settle();
    assert_eq!((house.inbox("alice").len(), house.inbox("bob").len()), (1, 1));
    house.lab.pass(Duration::from_secs(300));
    assert_eq!(house.inbox("alice").len(), 1);
    house.stopper.take().unwrap().stop();
    house.lab.settle();
    assert_eq!(house.lab.running(), 0);
    house.check();
}

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
    let (alice, _) = house.accounts["alice"];
    let (_, snapshot) = at_once(house.mail.select(alice, &junk, true)).unwrap();
    assert_eq!(snapshot.messages.len(), 1);
    // For several, by the spool; and it is made where somebody has removed it.
    let (bob, _) = house.accounts["bob"];
    at_once(house.mail.delete(bob, &junk)).unwrap();
    let client = house.connect(Role::Mx);
    let both = TO_ALICE.replace("DATA", "RCPT TO:<bob@example.org>\r\nDATA");
    house.codes(&client, &both);
    assert_eq!(house.codes(&client, HELLO), [250]);
    for (account, expected) in [(alice, 2), (bob, 1)] {
        let (_, snapshot) = at_once(house.mail.select(account, &junk, true)).unwrap();
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
    let (_, password) = &house.accounts["alice"];
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
    house.store.set_full(true);
    assert_eq!(
        house.say(&client, HELLO),
        "452 4.3.1 Insufficient system storage\r\n"
    );
    house.store.set_full(false);
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

#[test]
fn who_says_nothing_is_sent_away_after_five_minutes() {
    let mut house = House::new();
    let client = house.connect(Role::Mx);
    house.lab.pass(Duration::from_secs(299));
    assert_eq!(house.lab.hear(&client), "");
    house.lab.pass(Duration::from_secs(1));
    assert_eq!(house.lab.hear(&client), "421 4.4.2 Timeout, closing\r\n");
    assert!(client.is_closed());
}

#[test]
fn a_stop_waits_for_the_message_under_way_and_for_nothing_else() {
    let mut house = House::new();
    let (idle, busy) = (house.connect(Role::Mx), house.connect(Role::Mx));
    house.codes(&busy, TO_ALICE);
    house.stopper.take().unwrap().stop();
    assert_eq!(house.lab.hear(&idle), "421 4.3.2 Shutting down\r\n");
    assert_eq!(house.codes(&busy, HELLO), [250, 421]);
    assert_eq!((house.inbox("alice").len(), house.lab.running()), (1, 0));
}

#[test]
fn mail_for_other_names_of_somebody_arrives_and_goes_to_a_folder_if_that_is_wanted() {
    let mut house = House::new();
    house.policy.detail_folders = true;
    let alias = ["alice@example.org".to_owned(), "bob@example.org".to_owned()];
    at_once(house.directory.add_alias("team@example.org", &alias, BEGIN)).unwrap();
    let bob = house.accounts["bob"].0;
    let folder = MailboxName::new("Lists/Rust").unwrap();
    at_once(house.mail.create(bob, &folder, None, BEGIN)).unwrap();
    let client = house.connect(Role::Mx);
    house.codes(&client, "EHLO c\r\n");
    for to in ["Team", "bob+lists/rust", "bob+none", "Bob", "abuse"] {
        let envelope = format!("MAIL FROM:<c@d>\r\nRCPT TO:<{to}@example.org>\r\nDATA\r\n");
        assert_eq!(house.codes(&client, &envelope), [250, 250, 354], "{to}");
        assert_eq!(house.codes(&client, HELLO), [250]);
    }
    let alice = house.inbox("alice").len();
    assert_eq!(alice + house.inbox("bob").len(), 5, "abuse is either's");
    let (_, snapshot) = at_once(house.mail.select(bob, &folder, true)).unwrap();
    assert_eq!(snapshot.messages.len(), 1);
    // Over the spool too.
    let envelope = "MAIL FROM:<c@d>\r\nRCPT TO:<bob+Lists/Rust@example.org>\r\nRCPT TO:<alice+Trash@example.org>\r\nDATA\r\n";
    assert_eq!(house.codes(&client, envelope), [250, 250, 250, 354]);
    assert_eq!(house.codes(&client, HELLO), [250]);
    let (_, snapshot) = at_once(house.mail.select(bob, &folder, true)).unwrap();
    assert_eq!((snapshot.messages.len(), house.inbox("alice").len()), (2, alice));
    house.check();
}

#[test]
fn who_signed_in_sends_as_any_of_its_addresses() {
    let mut house = House::new();
    let alias = ["alice@example.org".to_owned(), "x@else.test".to_owned()];
    at_once(house.directory.add_alias("team@example.org", &alias, BEGIN)).unwrap();
    at_once(
        house
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
            .directory
            .set_forward("alice@example.org", &["x@else.test".to_owned()], false),
    )
    .unwrap();
    at_once(
        house
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

// RFC 2033 §4.2: who is full, or gone, is told alone.
#[test]
fn lmtp_delivers_to_each_recipient_by_itself() {
    let mut house = House::with_quota(Some(2_000));
    let both = ["alice@example.org".to_owned(), "bob@example.org".to_owned()];
    at_once(house.directory.add_alias("team@example.org", &both, BEGIN)).unwrap();
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
    // A list is promised as a whole, and delivered behind the promise.
    let envelope = "MAIL FROM:<c@d>\r\nRCPT TO:<team@example.org>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n";
    assert_eq!(house.codes(&client, envelope), [250, 250, 250, 354]);
    assert_eq!(house.codes(&client, HELLO), [250, 250]);
    house.lab.settle();
    assert_eq!((house.inbox("alice").len(), house.inbox("bob").len()), (2, 4));
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

#[test]
fn another_password_ends_what_was_signed_in_with_the_old_one() {
    let mut house = House::new();
    let client = house.submit();
    at_once(house.directory.set_password("alice@example.org", "new", BEGIN)).unwrap();
    let heard = house.say(&client, "MAIL FROM:<alice@example.org>\r\n");
    assert_eq!(heard, "421 4.7.0 The login is no longer valid, log in again\r\n");
    assert_eq!(house.lab.running(), 0);
}
