//! From port 587 through the queue to other servers, in a world whose clock is moved by hand.

mod fitting;
mod forwarding;
mod notices;
mod queue;
mod secured;
mod servers;
mod stopping;

use super::*;
use crate::smtp::Policy;
use crate::smtp::Smtp;
use crate::testing::{BEGIN, Client, Ground, Lab, at_once};
use crate::world::{Connection, Dial, DialError, Exchanger, Exchangers, NoAnswer, Tlsa};
use bytes::Bytes;
use futures_util::future::{BoxFuture, pending};
use ringpost_auth::{base64, sasl};
use ringpost_sip::locate::{Answer, Question};
use ringpost_smtp::Role;
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
    ground: Ground,
    world: World,
    sending: Arc<Sending>,
    counters: Arc<OutboundCounters>,
}

const FULL: &str = "250-there\r\n250-PIPELINING\r\n250-SIZE 100000\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n";

impl House {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Config)) -> Self {
        let (mut lab, ground) = (Lab::new(), Ground::new());
        let world = World::default();
        let mut config = Config::new("mx.example.org");
        change(&mut config);
        let counters = Arc::<OutboundCounters>::default();
        let outbound = Outbound {
            world: lab.world.clone(),
            directory: ground.directory.clone(),
            mail: ground.mail.clone(),
            dns: Arc::new(world.clone()),
            dialer: Arc::new(world.clone()),
            policies: Arc::new(world.clone()),
            unavailable: Arc::default(),
            config: Arc::new(config),
            counters: counters.clone(),
            stop: ground.stop.clone(),
        };
        lab.spawn(outbound.run());
        lab.spawn(crate::smtp::deliver_due(
            lab.world.clone(),
            ground.mail.clone(),
            ground.stop.clone(),
        ));
        House {
            lab,
            ground,
            world,
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
            directory: self.ground.directory.clone(),
            mail: self.ground.mail.clone(),
            sending: Some(self.sending.clone()),
            sender_auth: None,
            peers: Arc::default(),
            config: Arc::new(ringpost_smtp::Config::new("mx.example.org", role)),
            policy: Policy::default(),
            stop: self.ground.stop.clone(),
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
        let auth = base64::encode(&sasl::plain_message("", "alice", self.ground.password("alice")));
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
        self.ground.inbox("alice")
    }

    #[track_caller]
    fn check(&self) {
        self.ground.check();
    }
}

const ALICE: &str = "alice@example.org";
const ONE: &str = "203.0.113.1:25";
const TWO: &str = "203.0.113.2:25";
