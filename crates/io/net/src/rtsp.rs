//! The streams' thread: RTSP's connections, the sockets of RTP and a clock around `ringpost_stream::hub::Hub`.
//!
//! It is a plain thread in epoll, as the media threads are. A reader's share is written by one call: over TCP as one piece,
//! which readers that are level with each other share; over UDP as one long datagram that the kernel cuts up. What a peer does
//! not take waits in its connection, one share at most; then the hub gives that reader nothing more until there is room again.

mod connection;
mod doors;
mod groups;
mod listen;
mod log;
mod publish;
#[cfg(test)]
mod tests;
mod token;

pub use groups::Multicast;
pub use listen::Sound;
pub use publish::OwnMount;

use crate::media::MediaError;
use crate::media::batch::{Inbox, send_all, send_some, send_to};
use crate::media::ports::{Pair, Ports};
use crate::media::{MediaHandle, lock};
use crate::poll::{Interest, Poll, Waker};
use crate::stream::{Place, Places};
use crate::tls::{Authorities, Tls};
use bytes::Bytes;
use connection::Connection;
use doors::Dialling;
use groups::{Announcements, GroupSockets};
use ringpost_base::{IdMap, Instant, Rng, UnixTime, limits};
use ringpost_media::Port;
use ringpost_store::{FileCommand, FileWriter, Files};
use ringpost_stream::hub::{
    AnnouncedInfo, Answer, Burst, Config, ConnectionId, Hub, ListenerId, MountInfo, MountSettings,
    NotRecorded, Outlet, Output, PairId, PullFailure, Question, QuestionId, SendAway, SocketId,
};
use ringpost_stream::{MountName, MountPattern};
use socket2::SockAddr;
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::{IpAddr, TcpListener};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use token::Token;
use tracing::{debug, error, warn};

/// What is read from a connection at a time.
const READ_BYTES: usize = 64 * 1024;
/// A connection whose peer leaves more of our responses than this is read no further.
const UNREAD_BYTES: usize = 256 * 1024;
/// How long what a peer has asked before it went may take.
const LAST_ANSWER: Duration = Duration::from_secs(5);
/// How long a stopping thread gives its connections to take the goodbyes.
const FAREWELL: Duration = Duration::from_millis(500);
/// How often the hub has its time between two looks at the sockets.
const TURNS: usize = 64;
/// What is waited for while nothing waits to be sent.
const READING: Interest = Interest {
    read: true,
    write: false,
};

/// What a thread has done since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RtspCounters {
    /// Octets of media sent.
    pub sent_bytes: u64,
    /// Packets of media sent.
    pub sent_packets: u64,
    /// Datagrams that the kernel did not take.
    pub unsent: u64,
    /// Datagrams received.
    pub received: u64,
}

#[derive(Debug, Default)]
struct Counters {
    sent_bytes: AtomicU64,
    sent_packets: AtomicU64,
    unsent: AtomicU64,
    received: AtomicU64,
}

enum Message {
    Answer(QuestionId, Answer),
    Mounts(async_channel::Sender<Vec<MountInfo>>),
    FailingPulls(async_channel::Sender<Vec<PullFailure>>),
    SendAway(SendAway, async_channel::Sender<usize>),
    Announced(async_channel::Sender<Vec<AnnouncedInfo>>),
    Record(MountName, bool, async_channel::Sender<Result<bool, NotRecorded>>),
    Settings(Vec<(MountPattern, MountSettings)>),
    Reconsider,
    Listen(MountName, listen::Reply),
    Own(publish::Own),
    Stop,
}

/// The way to the thread. Clones lead to the same one.
#[derive(Clone)]
pub struct RtspHandle {
    messages: async_channel::Sender<Message>,
    waker: Waker,
    counters: Arc<Counters>,
}

/// A running thread.
pub struct RtspThread {
    handle: RtspHandle,
    thread: JoinHandle<()>,
}

/// What a thread is made of.
pub struct RtspParts {
    /// Where RTSP is listened for.
    pub listeners: Vec<TcpListener>,
    /// Where it is under TLS from the first octet on.
    pub tls_listeners: Vec<TcpListener>,
    /// The certificate.
    pub tls: Tls,
    /// Who vouches for the servers that are pulled from.
    pub authorities: Authorities,
    /// The places that connections take.
    pub places: Arc<Places>,
    /// What holds for all of it.
    pub config: Config,
    /// Whose range of ports RTP uses.
    pub media: MediaHandle,
    /// How groups are sent to.
    pub multicast: Multicast,
    /// The calendar's time now.
    pub wallclock: UnixTime,
    /// Where recordings are written.
    pub files: Arc<dyn Files>,
    /// Randomness.
    pub rng: Rng,
    /// Where questions go; they are answered with [`RtspHandle::answer`].
    pub questions: async_channel::Sender<Question>,
}

/// The thread has ended, or keeps up with nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the streams' thread does not answer")]
pub struct Gone;

impl RtspThread {
    /// Starts a thread.
    pub fn start(parts: RtspParts) -> io::Result<Self> {
        let (messages, inbox) = async_channel::bounded(limits::MEDIA_COMMANDS);
        let handle = RtspHandle {
            messages,
            waker: Waker::new()?,
            counters: Arc::default(),
        };
        let (poll, shared) = (Poll::new()?, handle.clone());
        poll.add(handle.waker.fd(), Token::Waker.number())?;
        let (parts, listening) = listen(parts, &poll)?;
        let thread = std::thread::Builder::new()
            .name("streams".into())
            .spawn(move || {
                let mut driver = Driver::new(parts, poll, listening, inbox, &shared);
                if let Err(error) = driver.run() {
                    error!(%error, "the streams' thread ends");
                }
            })?;
        Ok(RtspThread { handle, thread })
    }

    /// The way to it.
    pub fn handle(&self) -> &RtspHandle {
        &self.handle
    }

    /// Says goodbye to everybody, closes everything, and waits for the thread to end.
    pub fn stop(self) {
        // A closed channel says that it has ended already.
        let _ = self.handle.messages.send_blocking(Message::Stop);
        self.handle.waker.wake();
        if self.thread.join().is_err() {
            error!("the streams' thread has panicked");
        }
    }
}

impl RtspHandle {
    /// Answers a question; waits while too many answers wait there already.
    pub async fn answer(&self, id: QuestionId, answer: Answer) -> Result<(), Gone> {
        self.push(Message::Answer(id, answer)).await
    }

    /// What is live.
    pub async fn mounts(&self) -> Result<Vec<MountInfo>, Gone> {
        let (reply, answer) = async_channel::bounded(1);
        self.push(Message::Mounts(reply)).await?;
        answer.recv().await.map_err(|_| Gone)
    }

    /// What cannot be pulled.
    pub async fn failing_pulls(&self) -> Result<Vec<PullFailure>, Gone> {
        let (reply, answer) = async_channel::bounded(1);
        self.push(Message::FailingPulls(reply)).await?;
        answer.recv().await.map_err(|_| Gone)
    }

    /// Ends sessions, or tells their clients first where to go; how many there were.
    pub async fn send_away(&self, what: SendAway) -> Result<usize, Gone> {
        let (reply, answer) = async_channel::bounded(1);
        self.push(Message::SendAway(what, reply)).await?;
        answer.recv().await.map_err(|_| Gone)
    }

    /// Has a mount recorded, or not; whether it is live, or why that cannot be.
    pub async fn record(&self, mount: MountName, is_wanted: bool) -> Result<Result<bool, NotRecorded>, Gone> {
        let (reply, answer) = async_channel::bounded(1);
        self.push(Message::Record(mount, is_wanted, reply)).await?;
        answer.recv().await.map_err(|_| Gone)
    }

    /// Goes by other settings of mounts from now on.
    pub async fn set_settings(&self, settings: Vec<(MountPattern, MountSettings)>) -> Result<(), Gone> {
        self.push(Message::Settings(settings)).await
    }

    /// Ends the sessions of those who may not any more.
    pub async fn reconsider(&self) -> Result<(), Gone> {
        self.push(Message::Reconsider).await
    }

    async fn push(&self, message: Message) -> Result<(), Gone> {
        self.messages.send(message).await.map_err(|_| Gone)?;
        self.waker.wake();
        Ok(())
    }

    /// What the thread has done so far.
    pub fn counters(&self) -> RtspCounters {
        let counters = &self.counters;
        RtspCounters {
            sent_bytes: counters.sent_bytes.load(Ordering::Relaxed),
            sent_packets: counters.sent_packets.load(Ordering::Relaxed),
            unsent: counters.unsent.load(Ordering::Relaxed),
            received: counters.received.load(Ordering::Relaxed),
        }
    }
}

struct Listening {
    listener: TcpListener,
    is_secure: bool,
}

/// Waits for what is listened on.
fn listen(mut parts: RtspParts, poll: &Poll) -> io::Result<(RtspParts, Vec<Listening>)> {
    let plain = parts.listeners.drain(..).map(|listener| (listener, false));
    let secure = parts.tls_listeners.drain(..).map(|listener| (listener, true));
    let mut listening = Vec::new();
    for (listener, is_secure) in plain.chain(secure) {
        listener.set_nonblocking(true)?;
        let token = Token::Listener(listening.len() as u64);
        poll.add(listener.as_raw_fd(), token.number())?;
        listening.push(Listening { listener, is_secure });
    }
    Ok((parts, listening))
}

/// A connection and what the thread keeps beside it.
struct Held {
    connection: Connection,
    interest: Interest,
    /// The hub was told that it is full.
    is_full: bool,
    /// It is closed as soon as what waits is sent, at the latest at this time.
    closes: Option<Instant>,
    /// Nothing more comes from the peer: what it has asked is carried out, until then at the latest.
    said_all: Option<Instant>,
    /// Nothing is waited for on its socket any more.
    is_unwatched: bool,
    /// TLS must be agreed on by then.
    handshake_until: Option<Instant>,
    /// How far it has come, where we made it.
    dialling: Option<Dialling>,
    /// What it takes of the places, where it was accepted.
    _place: Option<Place>,
}

/// The thread's own side.
struct Driver {
    started: std::time::Instant,
    hub: Hub,
    poll: Poll,
    waker: Waker,
    messages: async_channel::Receiver<Message>,
    questions: async_channel::Sender<Question>,
    listening: Vec<Listening>,
    tls: Tls,
    authorities: Authorities,
    places: Arc<Places>,
    ports: Arc<Mutex<Ports>>,
    pairs: IdMap<PairId, (ringpost_media::PairId, Pair)>,
    connections: IdMap<ConnectionId, Held>,
    accepted: u64,
    /// Connections that are closed when their time comes: those that are on their way out, or in a handshake.
    ending: BTreeSet<(Instant, ConnectionId)>,
    /// Connections that the hub wants no input from for now.
    paused: BTreeSet<ConnectionId>,
    /// Connections that broke while they were written to.
    broken: Vec<ConnectionId>,
    /// When listeners that could not be served are looked at again.
    accept_at: Option<Instant>,
    /// Who is sent the same at the moment, by which socket where nothing waits.
    sending: Vec<(ConnectionId, Option<RawFd>)>,
    inbox: Inbox,
    buffer: Box<[u8]>,
    counters: Arc<Counters>,
    files: Arc<dyn Files>,
    /// One for each mount that is recorded.
    writers: HashMap<MountName, Box<dyn FileWriter>>,
    listeners: HashMap<ListenerId, async_channel::Sender<Bytes>>,
    /// Who waits for a mount that is being pulled.
    awaiting: HashMap<ListenerId, (MountName, listen::Reply)>,
    /// When those who listen no longer are looked for.
    look_at: Instant,
    multicast: Multicast,
    groups: IdMap<PairId, GroupSockets>,
    announcements: Announcements,
}

impl Driver {
    fn new(
        parts: RtspParts,
        poll: Poll,
        listening: Vec<Listening>,
        messages: async_channel::Receiver<Message>,
        handle: &RtspHandle,
    ) -> Self {
        Driver {
            started: std::time::Instant::now(),
            hub: Hub::new(Instant::ZERO, parts.wallclock, parts.config, parts.rng),
            poll,
            waker: handle.waker.clone(),
            messages,
            questions: parts.questions,
            listening,
            tls: parts.tls,
            authorities: parts.authorities,
            places: parts.places,
            ports: parts.media.shared_ports(),
            pairs: IdMap::default(),
            connections: IdMap::default(),
            accepted: 0,
            ending: BTreeSet::new(),
            paused: BTreeSet::new(),
            broken: Vec::new(),
            accept_at: None,
            sending: Vec::new(),
            inbox: Inbox::new(),
            buffer: vec![0; READ_BYTES].into(),
            counters: handle.counters.clone(),
            files: parts.files,
            writers: HashMap::new(),
            listeners: HashMap::new(),
            awaiting: HashMap::new(),
            look_at: Instant::ZERO,
            multicast: parts.multicast,
            groups: IdMap::default(),
            announcements: Announcements::default(),
        }
    }

    fn now(&self) -> Instant {
        Instant::ZERO + self.started.elapsed()
    }

    fn run(&mut self) -> io::Result<()> {
        let mut ready = Vec::new();
        self.join_announcements();
        // It may have something to do before anybody comes.
        let mut deadline = self.settle();
        loop {
            let ending = self.ending.first().map(|(at, _)| *at);
            let retry = self.announcements.retry_at;
            let due = [deadline, ending, self.accept_at, retry]
                .into_iter()
                .flatten()
                .min();
            let timeout = due.map(|at| at.since(self.now()));
            ready.clear();
            ready.extend(self.poll.wait_ready(timeout)?);
            for event in &ready {
                match Token::of(event.number) {
                    Token::Waker => {
                        if !self.take_messages() {
                            return Ok(());
                        }
                    }
                    Token::Listener(index) => self.accept(index as usize),
                    Token::Connection(id) => {
                        let is_made = self.is_made(id);
                        if event.write && is_made {
                            self.write(id);
                        }
                        if event.read && is_made {
                            self.read(id);
                        }
                    }
                    Token::Socket(socket) => self.receive(socket),
                    Token::Announcements(index) => self.hear_announcements(index as usize),
                }
            }
            if retry.is_some_and(|at| at <= self.now()) {
                self.join_announcements();
            }
            self.let_listeners_go();
            deadline = self.settle();
        }
    }

    /// Lets the hub have its time, and carries out what it wants; gives when it wants to be woken. However much it wants, sockets
    /// are looked at after [`TURNS`].
    fn settle(&mut self) -> Option<Instant> {
        for _ in 0..TURNS {
            let now = self.now();
            let deadline = self.carry_out();
            if deadline.is_some_and(|at| at <= now) {
                self.hub.handle_timeout(now);
                continue;
            }
            self.serve();
            let deadline = self.carry_out();
            self.end_what_is_due();
            self.resume();
            if self.broken.is_empty() && deadline.is_none_or(|at| at > self.now()) {
                return deadline;
            }
            for id in std::mem::take(&mut self.broken) {
                self.drop_connection(id);
            }
        }
        Some(self.now())
    }

    fn carry_out(&mut self) -> Option<Instant> {
        loop {
            match self.hub.poll_output() {
                Output::Transmit { connection, bytes } => {
                    if let Some(held) = self.connections.get_mut(&connection) {
                        held.connection.push(bytes);
                        self.write(connection);
                    }
                }
                Output::Datagram { socket, to, bytes } => {
                    if let Some(fd) = self.fd(socket) {
                        let sent = send_to(fd, &SockAddr::from(to), &bytes);
                        self.count_sent(usize::from(sent), 1, bytes.len());
                    }
                }
                Output::Open { pair, local } => self.open(pair, local),
                Output::OpenGroup { pair, to, ttl } => self.open_group(pair, to, ttl),
                Output::Announce { to, bytes } => self.announce(to, &bytes),
                Output::ClosePair(pair) => {
                    self.groups.remove(&pair);
                    if let Some((id, pair)) = self.pairs.remove(&pair) {
                        lock(&self.ports).release(id, pair);
                    }
                }
                Output::Close(id) => self.close(id),
                Output::Connect { connection, to, tls } => self.dial(connection, to, tls),
                Output::Write { mount, command } => self.write_file(mount, command),
                Output::Heard { listener, packet } => self.hand_to(listener, packet),
                Output::ListenerEnded(listener) => {
                    self.listeners.remove(&listener);
                }
                Output::Awaited { listener, is_live } => self.go_on_listening(listener, is_live),
                Output::Question(question) => {
                    let id = question.id;
                    if self.questions.try_send(question).is_err() {
                        warn!("questions of streams are not answered fast enough");
                        self.hub.handle_answer(self.now(), id, Answer::Unavailable);
                    }
                }
                Output::Event(event) => log::tell(event),
                Output::Timeout(deadline) => return deadline,
            }
        }
    }

    /// Has the writer of a mount's recording do something.
    fn write_file(&mut self, mount: MountName, command: FileCommand) {
        let is_last = command == FileCommand::Close;
        let files = &self.files;
        let writer = self
            .writers
            .entry(mount.clone())
            .or_insert_with(|| files.writer());
        let submitted = writer.submit(command);
        if is_last || submitted.is_err() {
            self.writers.remove(&mount);
        }
        if let Err(error) = submitted {
            warn!(%mount, %error, "a recording is interrupted");
            self.hub.handle_write_refused(self.now(), &mount);
        }
    }

    /// Hands each reader its share.
    fn serve(&mut self) {
        let mut burst = Burst::default();
        let now = self.now();
        let (mut packets, mut sent_packets, mut octets) = (0, 0, 0);
        while self.hub.poll_media(now, &mut burst) {
            match burst.outlet {
                Some(Outlet::Interleaved) => {
                    let readers = burst.connections.len();
                    packets += burst.packets * readers;
                    sent_packets += burst.packets * readers;
                    octets += (burst.interleaved.len() - 4 * burst.packets) * readers;
                    self.send_to_all(&burst.connections, &burst.interleaved);
                }
                Some(Outlet::Datagrams { socket, to }) => {
                    let Some(fd) = self.fd(socket) else { continue };
                    let datagrams = &burst.datagrams;
                    let sent = send_all(fd, &SockAddr::from(to), datagrams);
                    packets += burst.packets;
                    sent_packets += sent;
                    octets += datagrams.iter().take(sent).map(Bytes::len).sum::<usize>();
                }
                None => {}
            }
        }
        self.count_sent(sent_packets, packets, octets);
    }

    /// Sends a share on several connections, behind what waits on each. Mostly nothing does, and the peer takes everything at
    /// once.
    fn send_to_all(&mut self, connections: &[ConnectionId], share: &Bytes) {
        // What is known of each is looked at before the kernel needs the processor's caches.
        let is_free = |held: &Held| held.closes.is_none() && held.interest == READING;
        for id in connections {
            if let Some(held) = self.connections.get(id) {
                let free = held.connection.free_socket().filter(|_| is_free(held));
                self.sending.push((*id, free));
            }
        }
        let mut sending = std::mem::take(&mut self.sending);
        for (id, free) in sending.drain(..) {
            let sent = match free.map(|fd| send_some(fd, share)) {
                Some(Ok(sent)) if sent == share.len() => continue,
                Some(Ok(sent)) => sent,
                Some(Err(error)) => {
                    self.note_broken(id, &error);
                    continue;
                }
                None => 0,
            };
            if let Some(held) = self.connections.get_mut(&id) {
                held.connection.push(share.slice(sent..));
                self.write(id);
            }
        }
        self.sending = sending;
    }

    fn count_sent(&self, sent: usize, of: usize, octets: usize) {
        let counters = &self.counters;
        counters.sent_packets.fetch_add(sent as u64, Ordering::Relaxed);
        counters.sent_bytes.fetch_add(octets as u64, Ordering::Relaxed);
        if sent < of {
            counters.unsent.fetch_add((of - sent) as u64, Ordering::Relaxed);
        }
    }

    /// Takes everything that the handles have sent; false when the thread is to end.
    fn take_messages(&mut self) -> bool {
        self.waker.reset();
        loop {
            let now = self.now();
            match self.messages.try_recv() {
                Ok(Message::Answer(id, answer)) => self.hub.handle_answer(now, id, answer),
                // Who asked may be gone by now.
                Ok(Message::Mounts(reply)) => {
                    let _ = reply.try_send(self.hub.mounts(now));
                }
                Ok(Message::Announced(reply)) => {
                    let _ = reply.try_send(self.hub.announced(now));
                }
                Ok(Message::FailingPulls(reply)) => {
                    let _ = reply.try_send(self.hub.failing_pulls(now));
                }
                Ok(Message::SendAway(what, reply)) => {
                    let _ = reply.try_send(self.hub.send_away(now, &what));
                }
                Ok(Message::Record(mount, is_wanted, reply)) => {
                    let _ = reply.try_send(self.hub.record(now, &mount, is_wanted));
                }
                Ok(Message::Settings(settings)) => self.hub.set_settings(now, settings),
                Ok(Message::Reconsider) => self.hub.reconsider(now),
                Ok(Message::Listen(mount, reply)) => {
                    self.listen(now, mount, reply);
                }
                Ok(Message::Own(own)) => self.handle_own(own),
                Err(async_channel::TryRecvError::Empty) => return true,
                Ok(Message::Stop) | Err(async_channel::TryRecvError::Closed) => {
                    self.stop();
                    return false;
                }
            }
        }
    }

    fn stop(&mut self) {
        self.hub.shut_down(self.now());
        self.messages.close();
        self.listening.clear();
        self.settle();
        let until = self.now() + FAREWELL;
        while !self.connections.is_empty() && self.now() < until {
            let ids: Vec<_> = self.connections.keys().copied().collect();
            ids.into_iter().for_each(|id| self.write(id));
            self.settle();
            std::thread::sleep(Duration::from_millis(10));
        }
        for (_, (id, pair)) in self.pairs.drain() {
            lock(&self.ports).release(id, pair);
        }
    }

    fn read(&mut self, id: ConnectionId) {
        if self
            .connections
            .get(&id)
            .is_some_and(|held| held.said_all.is_some())
        {
            return self.watch_no_more(id);
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        let now = self.now();
        while let Some(held) = self.connections.get_mut(&id) {
            let is_tls = held.handshake_until.is_some();
            let read = held.connection.read(&mut buffer);
            self.look_at_handshake(id);
            let Some(held) = self.connections.get_mut(&id) else {
                break;
            };
            match read {
                Ok(Some(0)) => {
                    // A handshake has something to say itself.
                    if held.connection.has_waiting() {
                        self.write(id);
                    }
                    break;
                }
                Ok(Some(read)) if held.closes.is_none() => {
                    self.hub.handle_bytes(now, id, &buffer[..read]);
                    // What TLS has decrypted is not told of again by the socket.
                    if !is_tls || !self.hub.wants_input(id) {
                        break;
                    }
                }
                // Nobody wants to hear it any more.
                Ok(Some(_)) => break,
                Ok(None) => {
                    self.end_input(id);
                    break;
                }
                // Why a server cannot be pulled from is told.
                Err(error) if id.is_dialled() => {
                    self.note_broken(id, &error);
                    break;
                }
                Err(error) => {
                    debug!(%error, "a connection of RTSP cannot be read");
                    self.end_input(id);
                    break;
                }
            }
        }
        self.buffer = buffer;
        self.look_at(id);
    }

    /// The peer has said all. It may have asked something before, such as TEARDOWN, and not waited for the answer.
    fn end_input(&mut self, id: ConnectionId) {
        let (now, until) = (self.now(), self.now() + LAST_ANSWER);
        let Some(held) = self.connections.get_mut(&id) else {
            return;
        };
        if id.is_dialled() || held.closes.is_some() {
            return self.broken.push(id);
        }
        if held.said_all.is_none() {
            held.said_all = Some(until);
            self.ending.insert((until, id));
            self.hub.handle_end_of_input(now, id);
        }
    }

    /// Both ways of a connection are over, which the kernel would tell again and again while something is carried out for it.
    fn watch_no_more(&mut self, id: ConnectionId) {
        if let Some(held) = self.connections.get_mut(&id)
            && !std::mem::replace(&mut held.is_unwatched, true)
            && self.poll.remove(held.connection.socket().as_raw_fd()).is_err()
        {
            self.broken.push(id);
        }
    }

    fn write(&mut self, id: ConnectionId) {
        let Some(held) = self.connections.get_mut(&id) else {
            return;
        };
        if matches!(held.dialling, Some(Dialling::Tcp)) {
            return;
        }
        if let Err(error) = held.connection.write() {
            if held.said_all.is_some() && held.closes.is_none() {
                // Who has said all may be gone; what was asked is carried out all the same.
                return held.connection.discard();
            }
            return self.note_broken(id, &error);
        }
        let has_waiting = held.connection.has_waiting();
        match (has_waiting, held.is_full) {
            (true, false) => {
                held.is_full = true;
                self.hub.handle_full(id);
            }
            (false, true) => {
                held.is_full = false;
                self.hub.handle_writable(id);
            }
            _ => {}
        }
        if !has_waiting && held.closes.is_some() {
            held.connection.say_goodbye();
            self.broken.push(id);
        }
        // Mostly the peer has taken everything, and is heard as before.
        if has_waiting || held.interest != READING {
            self.look_at(id);
        }
    }

    /// Waits for what a connection can use now.
    fn look_at(&mut self, id: ConnectionId) {
        let wants_input = self.hub.wants_input(id);
        let Some(held) = self.connections.get_mut(&id) else {
            return;
        };
        let is_heard = wants_input && held.connection.waiting_bytes() <= UNREAD_BYTES;
        if held.is_unwatched {
            self.paused.remove(&id);
            return;
        }
        let is_heard = is_heard && held.said_all.is_none();
        match is_heard || held.closes.is_some() || held.said_all.is_some() {
            true => self.paused.remove(&id),
            false => self.paused.insert(id),
        };
        let is_dialling = matches!(held.dialling, Some(Dialling::Tcp));
        let interest = Interest {
            read: (is_heard || held.closes.is_some() && held.said_all.is_none()) && !is_dialling,
            write: held.connection.has_waiting() || is_dialling,
        };
        if held.interest != interest {
            held.interest = interest;
            let fd = held.connection.socket().as_raw_fd();
            if let Err(error) = self.poll.change(fd, Token::Connection(id).number(), interest) {
                debug!(%error, "a connection cannot be waited for");
                self.broken.push(id);
            }
        }
    }

    /// Reads on where the hub wants input again.
    fn resume(&mut self) {
        if self.paused.is_empty() {
            return;
        }
        for id in self.paused.clone() {
            if self.hub.wants_input(id) {
                self.look_at(id);
            }
        }
        self.paused.retain(|id| self.connections.contains_key(id));
    }

    /// The hub has no use for a connection any more.
    fn close(&mut self, id: ConnectionId) {
        let until = self.now() + FAREWELL;
        let Some(held) = self.connections.get_mut(&id) else {
            return;
        };
        if held.dialling.is_some() {
            // There is nobody yet who could be told.
            self.broken.push(id);
        } else if held.closes.is_none() {
            held.closes = Some(until);
            self.ending.insert((until, id));
            self.write(id);
        }
    }

    fn end_what_is_due(&mut self) {
        let now = self.now();
        while let Some((at, id)) = self.ending.first().copied().filter(|(at, _)| *at <= now) {
            self.ending.remove(&(at, id));
            let is_over = self.connections.get(&id).is_some_and(|held| {
                let is_stuck = held.connection.is_handshaking() && held.handshake_until == Some(at);
                is_stuck || held.closes == Some(at) || held.said_all == Some(at)
            });
            if is_over {
                self.drop_connection(id);
            }
        }
        if self.accept_at.is_some_and(|at| at <= now) {
            self.accept_at = None;
            for (index, listening) in self.listening.iter().enumerate() {
                let read = Interest {
                    read: true,
                    write: false,
                };
                let fd = listening.listener.as_raw_fd();
                let _ = self.poll.change(fd, Token::Listener(index as u64).number(), read);
            }
        }
    }

    fn drop_connection(&mut self, id: ConnectionId) {
        if let Some(held) = self.connections.remove(&id) {
            for at in [held.closes, held.said_all, held.handshake_until]
                .into_iter()
                .flatten()
            {
                self.ending.remove(&(at, id));
            }
            self.paused.remove(&id);
            match held.dialling {
                Some(dialling) => self.hub.handle_unconnected(self.now(), id, &dialling.why()),
                None => self.hub.handle_closed(self.now(), id),
            }
        }
    }

    fn open(&mut self, pair: PairId, local: IpAddr) {
        let opened = {
            let mut ports = lock(&self.ports);
            // Whatever streams want, calls find ports.
            match self.pairs.len() as u64 >= ports.count() / 2 {
                true => Err(MediaError::NoPort),
                false => ports.open(local.to_canonical()),
            }
        };
        let port = match opened {
            Ok((id, sockets)) => {
                let port = sockets.rtp_port();
                for is_rtcp in [false, true] {
                    let socket = SocketId { pair, is_rtcp };
                    let added = self
                        .poll
                        .add(fd_of(&sockets, is_rtcp), Token::Socket(socket).number());
                    if let Err(error) = added {
                        // Nothing will be heard of the peer, and its session times out.
                        error!(%error, "a socket of RTP cannot be waited for");
                    }
                }
                self.pairs.insert(pair, (id, sockets));
                Some(port)
            }
            Err(error) => {
                warn!(%error, "a stream cannot be set up");
                None
            }
        };
        self.hub.handle_pair(self.now(), pair, port);
    }

    fn fd(&self, socket: SocketId) -> Option<RawFd> {
        match self.pairs.get(&socket.pair) {
            Some((_, pair)) => Some(fd_of(pair, socket.is_rtcp)),
            None => Some(self.groups.get(&socket.pair)?.fd(socket.is_rtcp)),
        }
    }

    fn receive(&mut self, socket: SocketId) {
        let Some(fd) = self.fd(socket) else { return };
        let Ok(count) = self.inbox.receive(fd) else { return };
        let now = self.now();
        self.counters.received.fetch_add(count as u64, Ordering::Relaxed);
        for buffer in 0..count {
            if let Some((from, datagram)) = self.inbox.datagram(buffer) {
                let datagram = Bytes::copy_from_slice(datagram);
                self.hub.handle_datagram(now, socket, from, datagram);
            }
        }
    }
}

fn fd_of(pair: &Pair, is_rtcp: bool) -> RawFd {
    pair.fd(if is_rtcp { Port::Rtcp } else { Port::Rtp })
}
