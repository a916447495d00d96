//! A house: one node, the phones of the people who live there, and the network between them.

use crate::executor::{SimWorld, WorldHandle};
use crate::network::{Datagram, Network, Weather};
use crate::node::{Disk, Node, Record};
use crate::reader::{Reader, Wire};
use crate::witness::Witness;
use ringpost_base::{Instant, Rng};
use ringpost_client::imap;
use ringpost_client::phone::{self, Event, Output, Phone, Socket};
use ringpost_directory::{NewAccount, NewDevice};
use ringpost_imap::MailboxName;
use ringpost_mail::MailError;
use ringpost_node::phone::PhoneStatus;
use ringpost_node::world::World;
use ringpost_store::records::Mailbox;
use ringpost_store::{
    AccountId, Batch, MemoryBlobs, MemoryStore, Partition, Record as _, Store, check_store, keys,
};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// Alice's phone.
pub const ALICE: usize = 0;
/// Bob's phone on his desk.
pub const BOB: usize = 1;
/// Bob's phone in the kitchen.
pub const KITCHEN: usize = 2;

/// Carol's phone, which lives elsewhere and registers nowhere; only [`House::add_neighbour`] puts it there.
pub const CAROL: usize = 3;

/// The domain of everybody here.
pub const DOMAIN: &str = "example.org";

const SIP_PORT: u16 = 5060;
/// Where the node takes SIP.
pub const NODE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), SIP_PORT);
const IMAPS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 993);

/// What the DNS has: another domain whose first server is not there, and whose second is Carol's phone; and one that leads
/// to where nobody may be called.
const ZONE: &[Record] = &[
    Record::Srv("_sip._udp.other.example", 1, 5060, "dead.other.example"),
    Record::Srv("_sip._udp.other.example", 2, 5060, "carol.other.example"),
    Record::Address("dead.other.example", IpAddr::V4(Ipv4Addr::new(203, 0, 113, 8))),
    Record::Address("carol.other.example", IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9))),
    Record::Address("inside.example", IpAddr::V4(Ipv4Addr::new(10, 0, 0, 9))),
];

/// Each phone's account, device, and what it says into every call, in Hz: far from each other, from their multiples, and
/// from what the node itself plays.
const PHONES: [(&str, &str, f64); 3] = [
    ("alice", "desk", 450.0),
    ("bob", "desk", 620.0),
    ("bob", "kitchen", 790.0),
];

/// A phone and what it has told.
pub struct Handset {
    /// The phone.
    pub phone: Phone,
    /// What it has told, oldest first.
    pub events: Vec<(Instant, Event)>,
    /// What it says into its calls, in Hz.
    pub tone_hz: f64,
    /// How many packets of sound have come to it.
    pub packets: u64,
    deadline: Option<Instant>,
}

impl Handset {
    /// Where it is.
    pub fn address(&self) -> IpAddr {
        self.phone.config().sip.ip()
    }
}

/// One node, its phones, and the weather.
pub struct House {
    world: Arc<SimWorld>,
    disk: Disk,
    config: ringpost_phone::Config,
    /// Everything between them.
    pub network: Network,
    /// The node; `None` while it is down.
    pub node: Option<Node>,
    /// See [`ALICE`], [`BOB`], [`KITCHEN`].
    pub phones: Vec<Handset>,
    /// What a scenario draws from: how long somebody waits, who hangs up.
    pub rng: Rng,
    /// Bob's account.
    pub bob: AccountId,
    /// Bob's mail program, while he has it open.
    pub reader: Option<Reader>,
    /// What it has seen of SIP on the way.
    pub witness: Witness,
    passwords: [String; 2],
    /// The tasks of a node without sessions.
    resident_tasks: usize,
    trace: Trace,
}

/// What was sent, as one number, and as lines if somebody wants to read them.
struct Trace {
    hash: DefaultHasher,
    is_printed: bool,
}

impl House {
    /// A house in clear weather, where nobody is registered yet. With `RINGPOST_TRACE` set, what happens is printed.
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::from_number(seed);
        let world = SimWorld::new(rng.fork());
        let handle = Arc::new(WorldHandle(world.clone()));
        let calendar = handle.clone();
        let disk = Disk {
            store: Arc::new(MemoryStore::new()),
            blobs: Arc::new(MemoryBlobs::new(move || calendar.unix_now())),
        };
        let config = ringpost_phone::Config {
            domains: vec![DOMAIN.into()],
            no_answer: Duration::from_secs(10),
            media_timeout: Duration::from_secs(60),
            ..ringpost_phone::Config::default()
        };
        let node = Node::start(&world, &disk, NODE, config.clone(), ZONE).expect("an empty store opens");
        let mut house = House {
            network: Network::new(Weather::CLEAR, rng.fork()),
            bob: AccountId(0),
            reader: None,
            witness: Witness::default(),
            passwords: Default::default(),
            resident_tasks: 0,
            phones: Vec::new(),
            node: Some(node),
            trace: Trace {
                hash: DefaultHasher::new(),
                is_printed: std::env::var_os("RINGPOST_TRACE").is_some(),
            },
            rng,
            world,
            disk,
            config,
        };
        house.resident_tasks = house.world.task_count();
        let [(_, alices), (bob, bobs)] = ["alice", "bob"].map(|name| house.add_account(name));
        (house.bob, house.passwords) = (bob, [alices, bobs]);
        for (place, (user, device, tone_hz)) in PHONES.into_iter().enumerate() {
            house.add_phone(place, user, device, tone_hz);
        }
        house
    }

    fn add_account(&mut self, name: &str) -> (AccountId, String) {
        let (directory, now) = (self.node().directory.clone(), self.calendar());
        let new = NewAccount::new(format!("{name}@{DOMAIN}"));
        let added = self
            .world
            .finish(async move { directory.add_account(new, now).await });
        let added = added.expect("a new account");
        (added.account.id, added.password)
    }

    /// Carol's phone, the server of a domain of its own.
    pub fn add_neighbour(&mut self) {
        let host = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9));
        let (sip, rtp) = (SocketAddr::new(host, 5060), SocketAddr::new(host, 4000));
        let config = phone::Config {
            tone_hz: Some(1_010.0),
            ..phone::Config::new("carol", "other.example", sip, rtp)
        };
        self.plug_in(config);
    }

    fn add_phone(&mut self, place: usize, user: &str, device: &'static str, tone_hz: f64) {
        let (directory, now) = (self.node().directory.clone(), self.calendar());
        let address = format!("{user}@{DOMAIN}");
        let added = self
            .world
            .finish(async move { directory.add_device(&address, device, now).await });
        let NewDevice {
            user: login, secret, ..
        } = added.expect("a new device");
        let host = IpAddr::V4(Ipv4Addr::new(10, 0, 1, place as u8 + 1));
        let (sip, rtp) = (SocketAddr::new(host, SIP_PORT), SocketAddr::new(host, 4000));
        let config = phone::Config {
            login: Some((login, secret)),
            server: Some(NODE),
            tone_hz: Some(tone_hz),
            ..phone::Config::new(user, DOMAIN, sip, rtp)
        };
        self.plug_in(config);
    }

    fn plug_in(&mut self, config: phone::Config) {
        let tone_hz = config.tone_hz.unwrap_or_default();
        let phone = Phone::new(self.now(), self.calendar(), config, self.rng.fork()).expect("a phone");
        self.phones.push(Handset {
            phone,
            events: Vec::new(),
            tone_hz,
            packets: 0,
            deadline: None,
        });
    }

    /// The simulated time.
    pub fn now(&self) -> Instant {
        WorldHandle(self.world.clone()).now()
    }

    /// The simulated calendar.
    pub fn calendar(&self) -> ringpost_base::UnixTime {
        WorldHandle(self.world.clone()).unix_now()
    }

    /// The node.
    ///
    /// # Panics
    /// While it is down.
    pub fn node(&self) -> &Node {
        self.node.as_ref().expect("the node is up")
    }

    /// How the node's phone service stands.
    pub fn status(&self) -> PhoneStatus {
        self.node().status()
    }

    /// Everything that was sent until now, as one number: equal for equal runs.
    pub fn fingerprint(&self) -> u64 {
        self.trace.hash.finish()
    }

    /// Runs a future of the node's services to its end, without time passing.
    pub fn finish<T: Send + 'static>(&mut self, future: impl Future<Output = T> + Send + 'static) -> T {
        let done = self.world.finish(future);
        self.settle();
        done
    }

    /// Stops the node where it stands, with all it had in memory.
    pub fn crash(&mut self) {
        self.node = None;
        self.reader = None;
        self.world.kill_tasks();
    }

    /// Starts the node again, on what its disk holds.
    pub fn start(&mut self) {
        let node =
            Node::start(&self.world, &self.disk, NODE, self.config.clone(), ZONE).expect("the store opens");
        self.node = Some(node);
        self.settle();
    }

    /// Whether the store contradicts itself anywhere; what, if it does.
    pub fn check_store(&mut self) -> Result<(), String> {
        let disk = self.disk.clone();
        let report = self.finish(async move { check_store(&*disk.store, &*disk.blobs).await });
        let report = report.map_err(|error| error.to_string())?;
        match report.is_sound() {
            true => Ok(()),
            false => Err(format!("{report:?}")),
        }
    }

    /// Whether a request of that method has come to a phone from `since` on.
    pub fn has_come(&self, phone: usize, method: &str, since: Instant) -> bool {
        self.witness.has_come(self.phones[phone].address(), method, since)
    }

    /// Does something with a phone.
    pub fn with<T>(&mut self, phone: usize, action: impl FnOnce(&mut Phone, Instant) -> T) -> T {
        let now = self.now();
        let result = action(&mut self.phones[phone].phone, now);
        self.drain_phone(phone);
        self.settle();
        result
    }

    /// Bob opens his mail program: it connects and logs in.
    pub fn open_mail(&mut self) {
        let remote = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 2, 1)), 50_000);
        let (reader, connection) = Reader::connect(IMAPS, remote, self.rng.fork());
        self.node().serve_imap(connection);
        self.reader = Some(reader);
        let password = self.passwords[1].clone();
        self.with_mail(|client, now| client.login(now, &format!("bob@{DOMAIN}"), &password));
    }

    /// A program connects to the IMAPS port as Bob's might, and does everything else itself.
    pub fn open_wire(&mut self) -> Wire {
        let remote = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 2, 2)), 50_001);
        let (wire, connection) = Wire::connect(IMAPS, remote);
        self.node().serve_imap(connection);
        wire
    }

    /// Lets the node do all that it can without time passing.
    pub fn run_ready(&mut self) {
        self.world.run_ready();
    }

    /// Bob's mailboxes have given UIDs up to this one, to messages that are gone.
    pub fn give_uids(&mut self, last: u64) {
        let (mail, bob, disk) = (self.node().mail.clone(), self.bob, self.disk.clone());
        let given = self.finish(async move {
            mail.status(bob, &MailboxName::inbox()).await?;
            let home = Partition::Account(bob);
            let store: &dyn Store = &*disk.store;
            let mut batch = Batch::new(home.clone());
            for entry in store.scan(&home, keys::mailboxes()).await? {
                let id = Mailbox::from_bytes(&entry.key, entry.value)?.id;
                batch.put(keys::last_uid(id), last.to_be_bytes().to_vec());
            }
            Ok::<_, MailError>(store.commit_durable(batch).await?)
        });
        given.expect("the store in memory takes it");
    }

    /// Bob's address and the password of his mail.
    pub fn bobs_login(&self) -> (String, String) {
        (format!("bob@{DOMAIN}"), self.passwords[1].clone())
    }

    /// Does something with Bob's mail program.
    ///
    /// # Panics
    /// While he does not have it open.
    pub fn with_mail<T>(&mut self, action: impl FnOnce(&mut imap::Client, Instant) -> T) -> T {
        let now = self.now();
        let reader = self.reader.as_mut().expect("an open mail program");
        let result = reader.with(now, &self.network.weather, action);
        self.settle();
        result
    }

    /// Bob closes his mail program.
    pub fn close_mail(&mut self) {
        self.reader = None;
        self.settle();
    }

    /// What is left of all that was done: everything that the node and the phones hold, what is on its way, and whatever
    /// would still happen if nobody did anything any more. Nothing, when everybody has been in bed for long enough.
    pub fn leftovers(&self) -> Vec<String> {
        let mut left = Vec::new();
        let mut note = |who: &str, what: &str, count: usize| {
            if count > 0 {
                left.push(format!("{who}: {count} {what}"));
            }
        };
        for (what, count) in self.status().held {
            note("node", what, count);
        }
        for (what, count) in self.node().media.holdings() {
            note("node", what, count);
        }
        let tasks = self.world.task_count();
        note("node", "more tasks", tasks.saturating_sub(self.resident_tasks));
        for (place, handset) in self.phones.iter().enumerate() {
            for (what, count) in handset.phone.holdings() {
                note(&format!("phone {place}"), what, count);
            }
        }
        if let Some(at) = self.next() {
            left.push(format!("something happens after {:?}", at.since(self.now())));
        }
        left
    }

    /// Lets time pass.
    pub fn run(&mut self, how_long: Duration) {
        let until = self.now() + how_long;
        while self.step(until) {}
        self.world.advance(until);
        self.settle();
    }

    /// Lets time pass until something is so, at most so long; whether it is.
    pub fn run_until(&mut self, how_long: Duration, is_so: impl Fn(&House) -> bool) -> bool {
        let until = self.now() + how_long;
        loop {
            if is_so(self) {
                return true;
            }
            if !self.step(until) {
                self.world.advance(until);
                self.settle();
                return is_so(self);
            }
        }
    }

    /// When the next thing happens.
    fn next(&self) -> Option<Instant> {
        let phones = self.phones.iter().filter_map(|handset| handset.deadline).min();
        let arrival = self.network.next_arrival();
        let next = [
            arrival,
            self.next_media(),
            phones,
            self.next_mail(),
            self.world.next_timer(),
        ];
        next.into_iter().flatten().min()
    }

    fn next_media(&self) -> Option<Instant> {
        self.node.as_ref()?.media.deadline()
    }

    fn next_mail(&self) -> Option<Instant> {
        self.reader.as_ref()?.next()
    }

    /// Goes on to the next thing that happens, not after `until`; false if there is none.
    fn step(&mut self, until: Instant) -> bool {
        let Some(next) = self.next().filter(|next| *next <= until) else {
            return false;
        };
        let (media, mail) = (self.next_media(), self.next_mail());
        self.world.advance(next);
        let now = self.now();
        while let Some(datagram) = self.network.pop_arrived(now) {
            self.arrive(now, datagram);
        }
        if let Some(node) = self.node.as_ref().filter(|_| media.is_some_and(|at| at <= now)) {
            node.media.handle_timeout();
        }
        if let Some(reader) = self.reader.as_mut().filter(|_| mail.is_some_and(|at| at <= now)) {
            reader
                .advance(now, &self.network.weather)
                .expect("a server that speaks IMAP");
        }
        for place in 0..self.phones.len() {
            if self.phones[place].deadline.is_some_and(|at| at <= now) {
                self.phones[place].phone.handle_timeout(now);
                self.drain_phone(place);
            }
        }
        self.settle();
        true
    }

    fn arrive(&mut self, now: Instant, datagram: Datagram) {
        if is_sip(&datagram) {
            self.witness.arrived(now, &datagram);
        }
        if datagram.to.ip() == NODE.ip() {
            if let Some(node) = &self.node {
                node.handle_datagram(datagram);
            }
            return;
        }
        for place in 0..self.phones.len() {
            let handset = &mut self.phones[place];
            if let Some(socket) = socket_at(handset.phone.config(), datagram.to) {
                handset.packets += u64::from(matches!(socket, Socket::Rtp(_)));
                let phone = &mut handset.phone;
                phone.handle_datagram(now, socket, datagram.from, datagram.bytes);
                return self.drain_phone(place);
            }
        }
    }

    fn drain_phone(&mut self, place: usize) {
        let now = self.now();
        loop {
            match self.phones[place].phone.poll_output() {
                Output::Transmit { socket, to, bytes } => {
                    let from = address_of(self.phones[place].phone.config(), socket);
                    self.send(Datagram { from, to, bytes });
                }
                Output::Event(event) => {
                    if self.trace.is_printed {
                        eprintln!("{:9.3} phone {place}: {event:?}", seconds(now));
                    }
                    self.phones[place].events.push((now, event));
                }
                Output::Timeout(at) => {
                    self.phones[place].deadline = at;
                    return;
                }
            }
        }
    }

    /// Lets the node's tasks go on, and takes what it sends.
    fn settle(&mut self) {
        let now = self.now();
        self.world.run_ready();
        // What is taken makes room for more.
        while let Some(reader) = &mut self.reader
            && reader.take_sent(now, &self.network.weather)
        {
            self.world.run_ready();
        }
        while let Some(datagram) = self.node.as_ref().and_then(Node::pop_to_send) {
            self.send(datagram);
        }
    }

    fn send(&mut self, datagram: Datagram) {
        let now = self.now();
        (now.as_nanos(), datagram.from, datagram.to, &datagram.bytes).hash(&mut self.trace.hash);
        if is_sip(&datagram) {
            self.witness.sent(now, &datagram);
        }
        let before = self.network.sent();
        if self.trace.is_printed && is_sip(&datagram) {
            let text = String::from_utf8_lossy(&datagram.bytes);
            let line = |start: &str| {
                text.lines()
                    .find(|line| line.starts_with(start))
                    .unwrap_or_default()
            };
            let first = text.lines().next().unwrap_or_default();
            eprint!(
                "{:9.3} {} > {}: {first} | {} | {}",
                seconds(now),
                datagram.from.ip(),
                datagram.to.ip(),
                line("CSeq"),
                line("Call-ID")
            );
            self.network.send(now, datagram);
            let copies = self.network.sent() - before;
            eprintln!("{}", ["  LOST", "", "  TWICE"][copies.min(2) as usize]);
        } else {
            self.network.send(now, datagram);
        }
    }
}

fn is_sip(datagram: &Datagram) -> bool {
    datagram.from.port() == SIP_PORT && datagram.to.port() == SIP_PORT
}

impl Drop for House {
    /// Tasks hold the world that holds them.
    fn drop(&mut self) {
        self.world.kill_tasks();
    }
}

fn seconds(at: Instant) -> f64 {
    at.as_nanos() as f64 / 1e9
}

fn address_of(config: &phone::Config, socket: Socket) -> SocketAddr {
    match socket {
        Socket::Sip(_) => config.sip,
        Socket::Rtp(line) => config.lines[line],
        Socket::Rtcp(line) => above(config.lines[line]),
    }
}

fn socket_at(config: &phone::Config, to: SocketAddr) -> Option<Socket> {
    let lines = (0..config.lines.len()).flat_map(|line| [Socket::Rtp(line), Socket::Rtcp(line)]);
    std::iter::once(Socket::Sip(config.transport))
        .chain(lines)
        .find(|socket| address_of(config, *socket) == to)
}

fn above(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip(), address.port() + 1)
}
