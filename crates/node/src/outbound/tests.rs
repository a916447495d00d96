//! From port 587 through the queue to other servers, in a world whose clock is moved by hand.

use super::*;
use crate::smtp::Policy;
use crate::smtp::Smtp;
use crate::stop::Stopper;
use crate::testing::{BEGIN, Client, Lab, at_once};
use crate::world::{Connection, Dial, DialError, Exchanger, Exchangers, NoAnswer, Tlsa};
use bytes::Bytes;
use futures_util::future::{BoxFuture, pending};
use ringpost_auth::{base64, sasl};
use ringpost_base::Rng;
use ringpost_directory::{Cost, InlineKdf, NewAccount, Parts};
use ringpost_imap::MailboxName;
use ringpost_sip::locate::{Answer, Question};
use ringpost_smtp::Role;
use ringpost_store::{AccountId, Bodies, LocalBus, MemoryBlobs, MemoryStore, check_store};
use std::collections::BTreeMap;
use std::sync::Mutex;

/// The world's mail servers: what the DNS says, and who answers at an address.
#[derive(Default)]
struct Net {
    mx: BTreeMap<&'static str, Vec<(u16, &'static str)>>,
    /// Domains for which the DNS does not answer.
    silent: Vec<&'static str>,
    addresses: BTreeMap<&'static str, &'static str>,
    /// Domains whose servers are proven.
    signed: Vec<&'static str>,
    tlsa: BTreeMap<&'static str, Result<Option<Vec<Tlsa>>, NoAnswer>>,
    texts: BTreeMap<&'static str, Vec<&'static str>>,
    /// Policies by their host, and what was fetched.
    policies: BTreeMap<&'static str, &'static str>,
    fetched: Vec<String>,
    /// Addresses at which somebody listens.
    listening: Vec<&'static str>,
    /// Addresses at which nothing answers at all.
    holes: Vec<&'static str>,
    /// What was dialled, and the far ends of what was answered.
    dials: Vec<Dial>,
    accepted: BTreeMap<String, Vec<Client>>,
}

#[derive(Clone, Default)]
struct World(Arc<Mutex<Net>>);

impl World {
    fn net(&self) -> std::sync::MutexGuard<'_, Net> {
        self.0.lock().unwrap()
    }
}

impl Dns for World {
    fn look_up(&self, question: Question) -> BoxFuture<'static, Option<Answer>> {
        let Question::Addresses(name) = question else {
            panic!("{question:?}")
        };
        let found = self
            .net()
            .addresses
            .get(name.as_str())
            .map(|a| a.parse().unwrap());
        Box::pin(async move { Some(Answer::Addresses(found.into_iter().collect())) })
    }

    fn texts(&self, name: &str) -> BoxFuture<'static, Option<Vec<String>>> {
        let found = self.net().texts.get(name).cloned().unwrap_or_default();
        Box::pin(async move { Some(found.into_iter().map(str::to_owned).collect()) })
    }

    fn tlsa(&self, host: &str) -> BoxFuture<'static, Result<Option<Vec<Tlsa>>, NoAnswer>> {
        let found = self.net().tlsa.get(host).cloned();
        Box::pin(async move { found.unwrap_or(Ok(None)) })
    }

    fn exchangers(&self, domain: &str) -> BoxFuture<'static, Result<Exchangers, NoAnswer>> {
        let net = self.net();
        let found = net.mx.get(domain).cloned().unwrap_or_default();
        let found = found.into_iter().map(|(preference, host)| Exchanger {
            preference,
            host: host.to_owned(),
        });
        let answer = match net.silent.contains(&domain) {
            true => Err(NoAnswer(format!("the DNS did not answer for {domain}"))),
            false => Ok(Exchangers {
                servers: found.collect(),
                proven: net.signed.contains(&domain),
            }),
        };
        Box::pin(async move { answer })
    }
}

impl Policies for World {
    fn fetch(&self, host: String, _: Vec<IpAddr>) -> BoxFuture<'static, Result<Bytes, String>> {
        let mut net = self.net();
        let found = net
            .policies
            .get(host.as_str())
            .map(|text| Bytes::from_static(text.as_bytes()));
        net.fetched.push(host);
        Box::pin(async move { found.ok_or_else(|| "404".to_owned()) })
    }
}

impl Dialer for World {
    fn dial(&self, dial: Dial) -> BoxFuture<'static, Result<Box<dyn Connection>, DialError>> {
        let mut net = self.net();
        let to = dial.to.to_string();
        let tls = dial.implicit_tls;
        net.dials.push(dial);
        if net.holes.contains(&to.as_str()) {
            return Box::pin(pending());
        }
        if !net.listening.contains(&to.as_str()) {
            return Box::pin(async { Err(DialError("refused".into())) });
        }
        let (connection, client) = Lab::new().connect(tls);
        net.accepted.entry(to).or_default().push(client);
        Box::pin(async move { Ok(connection) })
    }
}

/// A server for example.org with alice and bob, and the world outside.
struct House {
    lab: Lab,
    world: World,
    store: Arc<MemoryStore>,
    blobs: Arc<MemoryBlobs>,
    directory: Directory,
    mail: Arc<Mail>,
    stop: Stop,
    _stopper: Stopper,
    alice: (AccountId, String),
    sending: Arc<Sending>,
    counters: Arc<OutboundCounters>,
}

const FULL: &str = "250-there\r\n250-PIPELINING\r\n250-SIZE 100000\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n";

impl House {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut lab = Lab::new();
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
        let mut accounts = ["alice", "bob"].map(|name| {
            let new = NewAccount::new(format!("{name}@example.org"));
            let added = at_once(directory.add_account(new, BEGIN)).unwrap();
            at_once(mail.create_defaults(added.account.id, BEGIN)).unwrap();
            (added.account.id, added.password)
        });
        let (stopper, stop) = Stopper::new();
        let world = World::default();
        let mut config = Config::new("mx.example.org");
        change(&mut config);
        let counters = Arc::<OutboundCounters>::default();
        let outbound = Outbound {
            world: lab.world.clone(),
            directory: directory.clone(),
            mail: mail.clone(),
            dns: Arc::new(world.clone()),
            dialer: Arc::new(world.clone()),
            policies: Arc::new(world.clone()),
            unavailable: Arc::default(),
            config: Arc::new(config),
            counters: counters.clone(),
            stop: stop.clone(),
        };
        lab.spawn(outbound.run());
        House {
            lab,
            world,
            store,
            blobs,
            directory,
            mail,
            stop,
            _stopper: stopper,
            alice: std::mem::take(&mut accounts[0]),
            sending: Arc::new(Sending::new(20)),
            counters,
        }
    }

    /// A domain with one mail server at an address.
    fn domain(&self, domain: &'static str, host: &'static str, address: &'static str) {
        let mut net = self.world.net();
        net.mx.entry(domain).or_default().push((10, host));
        net.addresses.insert(host, address);
    }

    fn listen(&self, address: &'static str) {
        self.world.net().listening.push(address);
    }

    fn connect(&mut self, role: Role) -> Client {
        let (connection, client) = self.lab.connect(role == Role::Submissions);
        let smtp = Smtp {
            world: self.lab.world.clone(),
            directory: self.directory.clone(),
            mail: self.mail.clone(),
            sending: Some(self.sending.clone()),
            sender_auth: None,
            peers: Arc::default(),
            config: Arc::new(ringpost_smtp::Config::new("mx.example.org", role)),
            policy: Policy::default(),
            stop: self.stop.clone(),
        };
        self.lab.spawn(async move { smtp.serve(connection).await });
        self.lab.hear(&client);
        client
    }

    /// What the last reply to this says.
    fn say(&mut self, client: &Client, text: &str) -> String {
        let heard = self.lab.say(client, text);
        heard.lines().last().unwrap_or_default().to_owned()
    }

    /// alice at port 465, signed in.
    fn signed_in(&mut self) -> Client {
        let client = self.connect(Role::Submissions);
        self.say(&client, "EHLO laptop\r\n");
        let auth = base64::encode(&sasl::plain_message("", "alice", &self.alice.1));
        let said = self.say(&client, &format!("AUTH PLAIN {auth}\r\n"));
        assert!(said.starts_with("235 "), "{said}");
        client
    }

    /// alice sends this; it is taken.
    fn submit(&mut self, from: &str, to: &[&str], parameters: &str) {
        self.submit_message(from, to, parameters, "Subject: away\r\n\r\n..dotted");
    }

    fn submit_message(&mut self, from: &str, to: &[&str], parameters: &str, message: &str) {
        let client = self.signed_in();
        let said = self.say(&client, &format!("MAIL FROM:<{from}>{parameters}\r\n"));
        assert!(said.starts_with("250 "), "{said}");
        for to in to {
            let said = self.say(&client, &format!("RCPT TO:<{to}>\r\n"));
            assert!(said.starts_with("250 "), "{said}");
        }
        self.say(&client, "DATA\r\n");
        let said = self.say(&client, &format!("{message}\r\n.\r\n"));
        assert!(said.starts_with("250 "), "{said}");
    }

    /// The next connection that came at an address.
    fn accept(&mut self, address: &str) -> Client {
        self.lab.settle();
        let mut net = self.world.net();
        let all = net
            .accepted
            .get_mut(address)
            .unwrap_or_else(|| panic!("nobody came to {address}"));
        all.remove(0)
    }

    fn came_to(&mut self, address: &str) -> usize {
        self.lab.settle();
        self.world.net().accepted.get(address).map_or(0, Vec::len)
    }

    /// Takes one message as a server does, with these replies; gives the envelope and the message.
    fn take(&mut self, server: &Client, envelope: &str, end: &str) -> String {
        let mut heard = self.lab.say(server, envelope);
        if envelope.ends_with("354 go\r\n") {
            heard += &self.lab.say(server, end);
        }
        heard
    }

    fn greet(&mut self, server: &Client) -> String {
        assert_eq!(self.lab.say(server, "220 there\r\n"), "EHLO mx.example.org\r\n");
        self.lab.say(server, FULL)
    }

    /// alice's inbox.
    fn inbox(&self) -> Vec<String> {
        let (selected, snapshot) =
            at_once(self.mail.select(self.alice.0, &MailboxName::inbox(), true)).unwrap();
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
        assert!(report.is_sound(), "{:?}", report.problems);
    }
}

const ALICE: &str = "alice@example.org";
const ONE: &str = "203.0.113.1:25";
const TWO: &str = "203.0.113.2:25";

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
    assert!(envelope.contains(" BODY=8BITMIME\r\n"), "{envelope}");
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
        (house.counters.sent(), house.mail.queue_len(), house.inbox().len()),
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
    assert_eq!(house.mail.queue_len(), 0);
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
    house.lab.pass(Duration::from_secs(200));
    assert!(
        house
            .say(&client, "RCPT TO:<more@there.test>\r\n")
            .starts_with("250 ")
    );
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
    assert_eq!((house.mail.queue_len(), house.inbox().len()), (0, 0));
    house.check();
}

// Guards pitfall SMTP 6: a null sender is never bounced.
#[test]
fn a_notice_that_is_refused_is_not_told_to_anybody() {
    let mut house = House::new();
    house.submit("", &["x@null.test"], "");
    house.world.net().mx.insert("null.test", vec![(0, "")]);
    house.lab.pass(Duration::from_secs(600));
    assert_eq!((house.inbox().len(), house.mail.queue_len()), (0, 0));
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
    assert_eq!(house.mail.queue_len(), 0);
    assert_eq!(house.inbox().len(), 8, "four that were late and then given up");
    house.check();
}

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
    assert_eq!(house.mail.queue_len(), 1);
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

// Guards pitfall SMTP 7: what the other server cannot take at all comes back.
#[test]
fn a_message_that_the_other_server_cannot_take_comes_back() {
    for (n, (to, message, parameters, offers, status)) in [
        (
            "x@there.test",
            "Subject: \u{fc}\r\n\r\nx",
            " BODY=8BITMIME",
            "250 there\r\n",
            "5.6.3",
        ),
        (
            "j\u{f6}rg@there.test",
            "Subject: x\r\n\r\nx",
            " SMTPUTF8",
            "250-there\r\n250 8BITMIME\r\n",
            "5.6.7",
        ),
        (
            "x@there.test",
            "Subject: \u{fc}\r\n\r\nx",
            " BODY=8BITMIME SMTPUTF8",
            "250 there\r\n",
            "5.6.7",
        ),
        (
            "x@there.test",
            "Subject: x\r\n\r\nx",
            "",
            "250-there\r\n250 SIZE 20\r\n",
            "5.3.4",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let mut house = House::new();
        house.domain("there.test", "mx.there.test", "203.0.113.1");
        house.listen(ONE);
        house.submit_message(ALICE, &[to], parameters, message);
        let server = house.accept(ONE);
        house.lab.say(&server, "220 there\r\n");
        assert_eq!(house.lab.say(&server, offers), "QUIT\r\n", "{n}");
        let inbox = house.inbox();
        assert!(
            inbox[0].contains(&format!("Status: {status}\r\n")),
            "{}",
            inbox[0]
        );
        house.check();
    }
}

// RFC 6531 §3.2, RFC 5891 §4: a domain alone is written in ASCII for a server that knows nothing else.
#[test]
fn a_domain_beyond_ascii_goes_to_any_server_as_a_labels() {
    for (to, parameters) in [("x@B\u{dc}CHER.test", " SMTPUTF8"), ("x@xn--bcher-kva.test", "")] {
        let mut house = House::new();
        house.domain("xn--bcher-kva.test", "mx.there.test", "203.0.113.1");
        house.listen(ONE);
        house.submit(ALICE, &[to], parameters);
        let server = house.accept(ONE);
        house.lab.say(&server, "220 there\r\n");
        let envelope = house.lab.say(&server, "250-there\r\n250 PIPELINING\r\n");
        assert!(
            envelope.contains("RCPT TO:<x@xn--bcher-kva.test>\r\n"),
            "{envelope}"
        );
        assert!(!envelope.contains("SMTPUTF8"), "{envelope}");
        house.take(&server, "250 ok\r\n250 ok\r\n354 go\r\n", "250 queued\r\n");
        assert_eq!(house.counters.sent(), 1);
        house.check();
    }
}

// Guards pitfall SMTP 7: SMTPUTF8.
#[test]
fn an_address_beyond_ascii_goes_to_a_server_that_takes_it() {
    let mut house = House::new();
    house.domain("there.test", "mx.there.test", "203.0.113.1");
    house.listen(ONE);
    house.submit(ALICE, &["J\u{d6}rg@there.test"], " SMTPUTF8");
    let server = house.accept(ONE);
    let envelope = house.greet(&server);
    assert!(envelope.contains(" SMTPUTF8"), "{envelope}");
    assert!(
        envelope.contains("RCPT TO:<J\u{d6}rg@there.test>\r\n"),
        "as it came: {envelope}"
    );
}

// Guards pitfall SMTP 7: 8-bit downgrades, and lines over 998 octets.
#[test]
fn a_message_is_converted_for_a_server_that_takes_less() {
    let mut house = House::new();
    house.domain("there.test", "mx.there.test", "203.0.113.1");
    house.listen(ONE);
    let message = "Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
                   Content-Transfer-Encoding: 8bit\r\n\r\ngr\u{fc}n";
    let long = format!("Subject: x\r\n\r\n{}", "long ".repeat(300));
    // Not declared, it is seen all the same.
    for (message, parameters, offers, is_converted) in [
        (message, "", "250 there\r\n", true),
        (message, " BODY=8BITMIME", "250 there\r\n", true),
        (
            message,
            "",
            "250-there\r\n250-SIZE 1000000\r\n250 8BITMIME\r\n",
            false,
        ),
        (
            &long,
            "",
            "250-there\r\n250-SIZE 1000000\r\n250 8BITMIME\r\n",
            true,
        ),
        (
            "Subject: x\r\n\r\nASCII",
            " BODY=8BITMIME",
            "250 there\r\n",
            false,
        ),
    ] {
        house.submit_message(ALICE, &["x@there.test"], parameters, message);
        let server = house.accept(ONE);
        house.lab.say(&server, "220 there\r\n");
        let mail = house.lab.say(&server, offers);
        let declares = offers.contains("8BITMIME") && message.contains('\u{fc}');
        assert_eq!(mail.contains(" BODY=8BITMIME"), declares, "{mail}");
        house.lab.say(&server, "250 ok\r\n");
        house.lab.say(&server, "250 ok\r\n");
        let sent = house.lab.say(&server, "354 go\r\n");
        assert_eq!(
            sent.contains("Content-Transfer-Encoding: quoted-printable\r\n"),
            is_converted,
            "{sent}"
        );
        if let Some((_, size)) = mail.trim_end().split_once("SIZE=") {
            let size: usize = size.split(' ').next().unwrap().parse().unwrap();
            assert_eq!(size, sent.len() - ".\r\n".len(), "{sent}");
        }
        if declares {
            assert!(sent.contains("gr\u{fc}n\r\n"), "{sent}");
        }
        assert!(sent.lines().all(|line| line.len() <= 998), "{sent}");
        house.lab.say(&server, "250 queued\r\n");
        house.lab.say(&server, "221 bye\r\n");
    }
    assert_eq!((house.counters.sent(), house.inbox().len()), (5, 0));
    house.check();
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
        at_once(self.directory.set_forward(ALICE, &[to.to_owned()], keeps_copy)).unwrap();
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
    house.forward("x@there.test", true);
    let (_, end) = house.stranger_sends("Carol@else.test", ALICE, "Subject: on\r\n\r\nhi");
    assert!(end.starts_with("250 "), "{end}");
    assert_eq!(house.inbox().len(), 1, "the copy");
    let server = house.accept(ONE);
    let envelope = house.greet(&server);
    let sender = envelope.split(['<', '>']).nth(1).unwrap().to_owned();
    assert!(
        sender.starts_with("SRS0=") && sender.ends_with("=else.test=Carol@example.org"),
        "{sender}"
    );
    let body = house.lab.say(&server, "250 ok\r\n250 ok\r\n354 go\r\n");
    assert!(
        body.starts_with("Delivered-To: alice@example.org\r\nReceived: "),
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
    house.lab.say(&server, "250 queued\r\n");
    house.lab.pass(Duration::from_secs(86_400));
    assert_eq!(
        (house.came_to(ONE), house.came_to(TWO), house.mail.queue_len()),
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
    assert_eq!((house.inbox().len(), house.mail.queue_len()), (0, 1));
    let again = "Delivered-To: Alice@Example.org\r\nSubject: again\r\n";
    let (_, end) = house.stranger_sends("c@else.test", ALICE, again);
    assert!(end.starts_with("250 "), "{end}");
    assert_eq!((house.inbox().len(), house.mail.queue_len()), (1, 1));
    let alias = "list@example.org";
    at_once(
        house
            .directory
            .add_alias(alias, &["y@there.test".to_owned()], BEGIN),
    )
    .unwrap();
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
    let targets = ["x@there.test".to_owned(), "bob@example.org".to_owned()];
    at_once(house.directory.add_alias(list, &targets, BEGIN)).unwrap();
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

const KNOWS_DSN: &str = "250-there\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 DSN\r\n";

// Guards pitfall SMTP 7: DSN parameters are kept across hops.
#[test]
fn what_the_sender_wants_to_be_told_goes_on_to_a_server_that_knows_it() {
    let mut house = House::new();
    house.domain("there.test", "mx.there.test", "203.0.113.1");
    house.listen(ONE);
    let client = house.signed_in();
    house.say(&client, &format!("MAIL FROM:<{ALICE}> RET=HDRS ENVID=QQ+2B1\r\n"));
    house.say(
        &client,
        "RCPT TO:<x@there.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;X+2Bx@there.test\r\n",
    );
    house.say(&client, "RCPT TO:<y@there.test> NOTIFY=NEVER\r\n");
    house.say(&client, "DATA\r\n");
    house.say(&client, "Subject: x\r\n\r\nhi\r\n.\r\n");
    let server = house.accept(ONE);
    house.lab.say(&server, "220 there\r\n");
    let envelope = house.lab.say(&server, KNOWS_DSN);
    assert!(
        envelope.starts_with(&format!("MAIL FROM:<{ALICE}> RET=HDRS ENVID=QQ+2B1\r\n")),
        "{envelope}"
    );
    for rcpt in [
        "RCPT TO:<x@there.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;X+2Bx@there.test\r\n",
        "RCPT TO:<y@there.test> NOTIFY=NEVER\r\n",
    ] {
        assert!(envelope.contains(rcpt), "{envelope}");
    }
    house.take(
        &server,
        "250 ok\r\n250 ok\r\n550 5.1.1 who\r\n354 go\r\n",
        "250 queued\r\n",
    );
    assert_eq!(
        house.inbox(),
        Vec::<String>::new(),
        "the next server tells of x, and nobody of y"
    );
    assert_eq!(house.mail.queue_len(), 0);
    house.check();
}

#[test]
fn success_is_told_where_the_next_server_will_not_and_where_it_is_here() {
    let mut house = House::new();
    house.domain("there.test", "mx.there.test", "203.0.113.1");
    house.listen(ONE);
    let client = house.signed_in();
    house.say(&client, &format!("MAIL FROM:<{ALICE}> ENVID=QQ+2B1\r\n"));
    house.say(
        &client,
        "RCPT TO:<x@there.test> NOTIFY=SUCCESS ORCPT=rfc822;X+2Bx@there.test\r\n",
    );
    house.say(&client, "RCPT TO:<bob@example.org> NOTIFY=SUCCESS,FAILURE\r\n");
    house.say(&client, "DATA\r\n");
    house.say(&client, "Subject: x\r\n\r\nhi\r\n.\r\n");
    let inbox = house.inbox();
    let [here] = &inbox[..] else { panic!("{inbox:?}") };
    for part in [
        "Subject: Your message was delivered\r\n",
        "Original-Envelope-Id: QQ+1\r\n",
        "\r\n\r\nFinal-Recipient: rfc822; bob@example.org\r\nAction: delivered\r\nStatus: 2.0.0\r\n",
    ] {
        assert!(here.contains(part), "{part:?} in {here}");
    }
    let server = house.accept(ONE);
    house.greet(&server);
    house.take(&server, "250 ok\r\n250 ok\r\n354 go\r\n", "250 2.6.0 queued\r\n");
    let inbox = house.inbox();
    let [_, relayed] = &inbox[..] else {
        panic!("{inbox:?}")
    };
    for part in [
        "Subject: Your message was handed on\r\n",
        "Original-Recipient: rfc822; X+x@there.test\r\nFinal-Recipient: rfc822; x@there.test\r\nAction: relayed\r\n",
        "Diagnostic-Code: smtp; 250 2.6.0 queued\r\n",
    ] {
        assert!(relayed.contains(part), "{part:?} in {relayed}");
    }
    house.lab.pass(Duration::from_secs(6 * 86_400));
    assert_eq!((house.inbox().len(), house.mail.queue_len()), (2, 0));
    house.check();
}

#[test]
fn a_stranger_hears_of_success_by_mail_and_a_failure_brings_the_whole_message_back() {
    let mut house = House::new();
    house.domain("else.test", "mx.else.test", "203.0.113.2");
    house.domain("there.test", "mx.there.test", "203.0.113.1");
    house.listen(ONE);
    house.listen(TWO);
    let client = house.connect(Role::Mx);
    house.say(&client, "EHLO else.test\r\n");
    house.say(&client, "MAIL FROM:<carol@else.test>\r\n");
    house.say(&client, &format!("RCPT TO:<{ALICE}> NOTIFY=SUCCESS\r\n"));
    house.say(&client, "DATA\r\n");
    house.say(&client, "Subject: x\r\n.\r\n");
    let server = house.accept(TWO);
    assert!(house.greet(&server).starts_with("MAIL FROM:<> "));
    let body = house.lab.say(&server, "250 ok\r\n250 ok\r\n354 go\r\n");
    assert!(body.contains("Action: delivered\r\n"), "{body}");
    house.lab.say(&server, "250 queued\r\n");

    let client = house.signed_in();
    house.say(&client, &format!("MAIL FROM:<{ALICE}> RET=FULL\r\n"));
    house.say(&client, "RCPT TO:<x@there.test>\r\n");
    house.say(&client, "DATA\r\n");
    house.say(&client, "Subject: x\r\n\r\nall of it\r\n.\r\n");
    let server = house.accept(ONE);
    house.greet(&server);
    house.lab.say(&server, "250 ok\r\n550 5.1.1 who\r\n503 no\r\n");
    let inbox = house.inbox();
    assert_eq!(inbox.len(), 2);
    let report = inbox.last().unwrap();
    assert!(
        report.contains("Content-Type: message/rfc822\r\n") && report.contains("\r\n\r\nall of it\r\n"),
        "{report}"
    );
    house.check();
}

/// Whether a server that does not offer TLS gets a message.
fn goes_without_tls(house: &mut House) -> bool {
    house.submit(ALICE, &["x@there.test"], "");
    let server = house.accept(ONE);
    house.lab.say(&server, "220 there\r\n");
    house.lab.say(&server, "250 there\r\n").starts_with("MAIL FROM:")
}

fn said_last(house: &House) -> String {
    let entries = at_once(house.mail.queue_entries()).unwrap();
    let recipient = &entries[0].record.recipients[0];
    format!("{} {}", recipient.status, recipient.text)
}

const ENFORCE: &str = "version: STSv1\nmode: enforce\nmx: mx.there.test\nmax_age: 86400\n";
const OTHER: &str = "version: STSv1\nmode: enforce\nmx: other.there.test\nmax_age: 86400\n";
const TESTING: &str = "version: STSv1\nmode: testing\nmx: other.there.test\nmax_age: 86400\n";
const NONE: &str = "version: STSv1\nmode: none\nmax_age: 86400\n";

fn with_policy(policy: &'static str) -> House {
    let house = House::new();
    house.domain("there.test", "mx.there.test", "203.0.113.1");
    house.listen(ONE);
    let mut net = house.world.net();
    net.texts.insert("_mta-sts.there.test", vec!["v=STSv1; id=1;"]);
    net.policies.insert("mta-sts.there.test", policy);
    net.addresses.insert("mta-sts.there.test", "203.0.113.9");
    drop(net);
    house
}

#[test]
fn a_policy_that_is_enforced_keeps_mail_from_servers_that_cannot_be_proven() {
    let mut house = with_policy(ENFORCE);
    assert!(!goes_without_tls(&mut house));
    assert_eq!(house.world.net().dials[0].proof, Proof::Name);
    let said = said_last(&house);
    assert!(
        said.starts_with("4.7.10 MTA-STS: mx.there.test at 203.0.113.1:25: "),
        "{said}"
    );
    // One that the policy does not name is not spoken to.
    let mut house = with_policy(OTHER);
    house.submit(ALICE, &["x@there.test"], "");
    assert_eq!(house.came_to(ONE), 0);
    let said = said_last(&house);
    assert!(
        said.starts_with("4.7.5 MTA-STS: mx.there.test is not among"),
        "{said}"
    );
    house.check();
}

#[test]
fn a_policy_for_testing_one_taken_back_and_one_that_cannot_be_had_ask_nothing() {
    for policy in [TESTING, NONE, "<html>"] {
        let mut house = with_policy(policy);
        assert!(goes_without_tls(&mut house), "{policy}");
    }
    // The policy's host is in our own network: it is not gone to.
    let mut house = with_policy(ENFORCE);
    house
        .world
        .net()
        .addresses
        .insert("mta-sts.there.test", "192.168.1.1");
    assert!(goes_without_tls(&mut house));
    assert!(house.world.net().fetched.is_empty());
}

#[test]
fn a_policy_is_kept_for_as_long_as_it_says_and_fetched_anew_when_the_dns_names_another() {
    let mut house = with_policy(OTHER);
    house.submit(ALICE, &["x@there.test"], "");
    house.came_to(ONE);
    // Who takes the record out of the DNS, or the policy from its host, changes nothing.
    house.world.net().policies.clear();
    house.world.net().texts.clear();
    house.lab.pass(Duration::from_secs(3_600));
    assert_eq!((house.came_to(ONE), house.world.net().fetched.len()), (0, 1));
    house
        .world
        .net()
        .texts
        .insert("_mta-sts.there.test", vec!["v=STSv1; id=2;"]);
    house.lab.pass(Duration::from_secs(7_200));
    assert_eq!(
        house.came_to(ONE),
        0,
        "the old one holds while the new one cannot be had"
    );
    assert!(house.world.net().fetched.len() > 1);
    house.world.net().policies.insert("mta-sts.there.test", NONE);
    house.lab.pass(Duration::from_secs(7_500));
    assert!(house.came_to(ONE) > 0);
    // Its time is over.
    let mut house = with_policy(OTHER);
    house.submit(ALICE, &["x@there.test"], "");
    house.world.net().texts.clear();
    house.lab.pass(Duration::from_secs(80_000));
    assert_eq!(house.came_to(ONE), 0);
    house.lab.pass(Duration::from_secs(20_000));
    assert!(house.came_to(ONE) > 0);
}

fn tlsa() -> Tlsa {
    Tlsa {
        usage: 3,
        selector: 1,
        matching: 1,
        data: vec![7; 32],
    }
}

#[test]
fn dane_comes_before_a_policy_and_holds_where_the_servers_are_proven() {
    let mut house = with_policy(OTHER);
    house.world.net().signed.push("there.test");
    house
        .world
        .net()
        .tlsa
        .insert("mx.there.test", Ok(Some(vec![tlsa()])));
    assert!(!goes_without_tls(&mut house));
    let dane = Proof::Dane {
        records: vec![tlsa()],
        domain: "there.test".into(),
    };
    assert_eq!(house.world.net().dials[0].proof, dane);
    let said = said_last(&house);
    assert!(
        said.starts_with("4.7.10 DANE: mx.there.test at 203.0.113.1:25: "),
        "{said}"
    );
    // Records none of which can be used ask for TLS with whomever.
    let mut house = House::new();
    house.domain("there.test", "mx.there.test", "203.0.113.1");
    house.listen(ONE);
    house.world.net().signed.push("there.test");
    house
        .world
        .net()
        .tlsa
        .insert("mx.there.test", Ok(Some(Vec::new())));
    assert!(!goes_without_tls(&mut house));
    assert_eq!(house.world.net().dials[0].proof, Proof::Any);
    // A domain that is not signed leads wherever it leads.
    house = with_policy(NONE);
    house
        .world
        .net()
        .tlsa
        .insert("mx.there.test", Ok(Some(vec![tlsa()])));
    assert!(goes_without_tls(&mut house));
}

// Guards pitfall SMTP 6: a destination whose DNSSEC look-ups fail never blocks another.
#[test]
fn records_that_cannot_be_had_delay_their_destination_alone() {
    let mut house = House::new();
    house.domain("there.test", "mx.there.test", "203.0.113.1");
    house.domain("broken.test", "mx.broken.test", "203.0.113.2");
    house.listen(ONE);
    house.listen(TWO);
    house.world.net().signed.extend(["there.test", "broken.test"]);
    let bogus = NoAnswer("DNSSEC fails for _25._tcp.mx.broken.test".into());
    house.world.net().tlsa.insert("mx.broken.test", Err(bogus));
    house.submit(ALICE, &["x@broken.test"], "");
    assert_eq!(house.came_to(TWO), 0, "who hides the records gets nothing");
    let said = said_last(&house);
    assert_eq!(said, "4.7.5 DANE: DNSSEC fails for _25._tcp.mx.broken.test");
    house.submit(ALICE, &["x@there.test"], "");
    let server = house.accept(ONE);
    house.greet(&server);
    house.take(&server, "250 ok\r\n250 ok\r\n354 go\r\n", "250 queued\r\n");
    assert_eq!(house.counters.sent(), 1);
}
