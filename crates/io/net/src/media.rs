//! The media threads: sockets and a clock around `ringpost_media::Engine`.
//!
//! A thread waits in epoll for all its sockets, takes datagrams in batches, and sends what the engine made of them. It is a
//! plain thread, since a relayed packet costs a few microseconds and a runtime's bookkeeping would be a good part of that.
//! Legs that are ever to be bridged live on one thread: a thread belongs to one owner of calls.
//!
//! Ports are bound in the caller's thread ([`MediaHandle::open`]), so that an offer can name them at once.

pub(crate) mod batch;
pub(crate) mod ports;
mod taps;

use self::batch::{BATCH, Inbox, Outbound, send_to};
use self::ports::{Pair, Ports};
use crate::poll::{Poll, Waker};
use ringpost_base::{Instant, Rng, UnixTime, limits};
use ringpost_media::{Command, Engine, Event, LegId, Output, PairId, Port, SocketId, Tapped};
use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tracing::{error, warn};

/// The waker's number among the sockets.
const WAKER: u64 = u64::MAX;
/// Sockets are looked at so often at most. Waking up costs more than a packet does, and the packets of many calls come one
/// by one; so what comes within two milliseconds is taken together. With few calls nothing is held up: who has slept for
/// longer is woken at once.
const SWEEP: Duration = Duration::from_millis(2);
/// While events wait for room, it is looked for this often.
const EVENT_RETRY: Duration = Duration::from_millis(5);

/// Why a media thread cannot do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    /// Every pair of ports in the configured range is in use.
    #[error("no pair of media ports is free")]
    NoPort,
    /// The kernel refused a socket.
    #[error("cannot bind {local} for media: {source}")]
    Bind {
        /// The address of RTP.
        local: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// As many commands wait as may; the thread does not keep up.
    #[error("the media thread has too much to do")]
    Busy,
    /// The thread has ended.
    #[error("the media thread has ended")]
    Ended,
}

/// What a media thread has done since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MediaCounters {
    /// Datagrams received.
    pub received: u64,
    /// Datagrams sent, relayed ones and our own.
    pub sent: u64,
    /// Datagrams that the kernel did not take.
    pub unsent: u64,
    /// Events that were dropped, because their receiver did not keep up.
    pub lost_events: u64,
}

#[derive(Debug, Default)]
struct Counters {
    received: AtomicU64,
    sent: AtomicU64,
    unsent: AtomicU64,
    lost_events: AtomicU64,
}

enum Message {
    Open(PairId, Pair),
    CloseUnused(PairId),
    Command(Command),
    Tap([LegId; 2], async_channel::Sender<Tapped>),
    Stop,
}

/// The way to a media thread. Clones lead to the same one.
#[derive(Clone)]
pub struct MediaHandle {
    messages: async_channel::Sender<Message>,
    waker: Waker,
    ports: Arc<Mutex<Ports>>,
    counters: Arc<Counters>,
}

/// A running media thread.
pub struct MediaThread {
    handle: MediaHandle,
    thread: JoinHandle<()>,
}

impl MediaThread {
    /// Starts a thread whose legs use the ports of `ports`. It is `wallclock` now; `events` receives what happens, and
    /// should be as long as its reader may be late: what does not fit is kept, up to a limit.
    pub fn start(
        ports: RangeInclusive<u16>,
        wallclock: UnixTime,
        mut rng: Rng,
        events: async_channel::Sender<Event>,
    ) -> io::Result<Self> {
        let (messages, inbox) = async_channel::bounded(limits::MEDIA_COMMANDS);
        let handle = MediaHandle {
            messages,
            waker: Waker::new()?,
            ports: Arc::new(Mutex::new(Ports::new(ports, rng.u64()))),
            counters: Arc::default(),
        };
        let poll = Poll::new()?;
        poll.add(handle.waker.fd(), WAKER)?;
        let (waker, ports, counters) = (
            handle.waker.clone(),
            handle.ports.clone(),
            handle.counters.clone(),
        );
        let thread = std::thread::Builder::new().name("media".into()).spawn(move || {
            let mut driver = Driver {
                started: std::time::Instant::now(),
                engine: Engine::new(Instant::ZERO, wallclock, rng),
                poll,
                waker,
                messages: inbox,
                pairs: Vec::new(),
                ports,
                counters,
                events,
                waiting_events: VecDeque::new(),
                taps: Default::default(),
                inbox: Inbox::new(),
                outbound: Vec::with_capacity(BATCH),
                sweep: 0,
            };
            if let Err(error) = driver.run() {
                error!(%error, "the media thread ends");
            }
        })?;
        Ok(MediaThread { handle, thread })
    }

    /// The way to it.
    pub fn handle(&self) -> &MediaHandle {
        &self.handle
    }

    /// Removes all legs, with RTCP's goodbye, closes their sockets, and waits for the thread to end.
    pub fn stop(self) {
        // A full channel makes us wait for the thread, and a closed one says that it has ended already.
        let _ = self.handle.messages.send_blocking(Message::Stop);
        self.handle.waker.wake();
        if self.thread.join().is_err() {
            error!("the media thread has panicked");
        }
    }
}

impl MediaHandle {
    /// Binds a pair of ports on `ip`, and gives its number, for a leg to be made on, and the port of RTP. RTCP is one above.
    ///
    /// It is closed with its leg, or by [`close_unused`](MediaHandle::close_unused) if no leg comes to be made.
    pub fn open(&self, ip: IpAddr) -> Result<(PairId, u16), MediaError> {
        let (id, pair) = self.ports().open(ip)?;
        let port = pair.rtp_port();
        match self.messages.try_send(Message::Open(id, pair)) {
            Ok(()) => {
                self.waker.wake();
                Ok((id, port))
            }
            Err(refused) => {
                let error = if refused.is_full() {
                    MediaError::Busy
                } else {
                    MediaError::Ended
                };
                if let Message::Open(id, pair) = refused.into_inner() {
                    self.ports().release(id, pair);
                }
                Err(error)
            }
        }
    }

    /// Closes a pair of ports that no leg was made on.
    pub async fn close_unused(&self, pair: PairId) -> Result<(), MediaError> {
        self.push(Message::CloseUnused(pair)).await
    }

    /// Gives a command to the thread; waits while too many wait there already.
    pub async fn send(&self, command: Command) -> Result<(), MediaError> {
        self.push(Message::Command(command)).await
    }

    /// Gives a command to the thread, unless too many wait there already.
    pub fn try_send(&self, command: Command) -> Result<(), MediaError> {
        self.messages
            .try_send(Message::Command(command))
            .map_err(|refused| {
                if refused.is_full() {
                    MediaError::Busy
                } else {
                    MediaError::Ended
                }
            })?;
        self.waker.wake();
        Ok(())
    }

    async fn push(&self, message: Message) -> Result<(), MediaError> {
        self.messages.send(message).await.map_err(|_| MediaError::Ended)?;
        self.waker.wake();
        Ok(())
    }

    /// Opens new pairs in another range from now on. Those that are open stay where they are.
    pub fn set_ports(&self, range: RangeInclusive<u16>) {
        self.ports().set_range(range);
    }

    /// What the thread has done so far.
    pub fn counters(&self) -> MediaCounters {
        let counters = &self.counters;
        MediaCounters {
            received: counters.received.load(Ordering::Relaxed),
            sent: counters.sent.load(Ordering::Relaxed),
            unsent: counters.unsent.load(Ordering::Relaxed),
            lost_events: counters.lost_events.load(Ordering::Relaxed),
        }
    }

    /// The ports, for others who bind pairs of the same range.
    pub(crate) fn shared_ports(&self) -> Arc<Mutex<Ports>> {
        self.ports.clone()
    }

    fn ports(&self) -> MutexGuard<'_, Ports> {
        lock(&self.ports)
    }
}

/// Whoever panicked while holding the lock left a list of ports that is good enough.
pub(crate) fn lock(ports: &Mutex<Ports>) -> MutexGuard<'_, Ports> {
    ports.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The thread's own side.
struct Driver {
    started: std::time::Instant,
    engine: Engine,
    poll: Poll,
    waker: Waker,
    messages: async_channel::Receiver<Message>,
    /// By the pairs' numbers.
    pairs: Vec<Option<Pair>>,
    ports: Arc<Mutex<Ports>>,
    counters: Arc<Counters>,
    events: async_channel::Sender<Event>,
    /// What found no room in `events`.
    waiting_events: VecDeque<Event>,
    /// Who listens to calls.
    taps: taps::Taps,
    inbox: Inbox,
    outbound: Vec<Outbound>,
    /// Counts the times that the sockets were looked at after a pause.
    sweep: u32,
}

impl Driver {
    fn run(&mut self) -> io::Result<()> {
        let mut ready = Vec::new();
        let mut swept = std::time::Instant::now();
        // Sockets are looked at again until none has anything left.
        let mut again = false;
        loop {
            let timeout = if again {
                Some(Duration::ZERO)
            } else {
                self.timeout()
            };
            ready.clear();
            ready.extend(self.poll.wait(timeout)?);
            if again && ready.is_empty() {
                again = false;
                std::thread::sleep(SWEEP.saturating_sub(swept.elapsed()));
                continue;
            }
            if !again {
                swept = std::time::Instant::now();
                self.sweep = self.sweep.wrapping_add(1);
            }
            again = !ready.is_empty();
            for number in &ready {
                match *number {
                    WAKER => {
                        if !self.take_messages() {
                            return Ok(());
                        }
                    }
                    number => self.take_packets(socket_of(number)),
                }
            }
            let now = self.now();
            if self.engine.next_timeout().is_some_and(|due| due <= now) {
                self.engine.handle_timeout(now);
                self.drain();
            }
            self.offer_events();
        }
    }

    fn now(&self) -> Instant {
        Instant::ZERO + self.started.elapsed()
    }

    fn timeout(&self) -> Option<Duration> {
        let engine = self.engine.next_timeout().map(|due| due.since(self.now()));
        let events = (!self.waiting_events.is_empty()).then_some(EVENT_RETRY);
        engine.into_iter().chain(events).min()
    }

    /// Takes everything that the handles have sent; false when the thread is to end.
    fn take_messages(&mut self) -> bool {
        self.waker.reset();
        loop {
            match self.messages.try_recv() {
                Ok(Message::Open(id, pair)) => self.open(id, pair),
                Ok(Message::CloseUnused(id)) if !self.engine.uses(id) => self.close(id),
                Ok(Message::CloseUnused(_)) => {}
                Ok(Message::Command(command)) => {
                    self.engine.handle_command(self.now(), command);
                    self.drain();
                }
                Ok(Message::Tap(legs, listener)) => self.tap(legs, &listener),
                Err(async_channel::TryRecvError::Empty) => return true,
                Ok(Message::Stop) | Err(async_channel::TryRecvError::Closed) => {
                    self.remove_all();
                    return false;
                }
            }
        }
    }

    fn remove_all(&mut self) {
        let now = self.now();
        for leg in self.engine.leg_ids() {
            self.engine.handle_command(now, Command::RemoveLeg { leg });
        }
        self.drain();
        self.offer_events();
        self.messages.close();
        for id in 0..self.pairs.len() {
            self.close(PairId(id as u32));
        }
    }

    fn open(&mut self, id: PairId, pair: Pair) {
        for (socket, port) in [(&pair.rtp, Port::Rtp), (&pair.rtcp, Port::Rtcp)] {
            if let Err(error) = self
                .poll
                .add(socket.as_raw_fd(), number_of(SocketId { pair: id, port }))
            {
                // The leg will hear nothing, and its media timeout will end it.
                error!(%error, "a media socket cannot be waited for");
            }
        }
        let slot = id.0 as usize;
        if self.pairs.len() <= slot {
            self.pairs.resize_with(slot + 1, || None);
        }
        self.pairs[slot] = Some(pair);
    }

    fn close(&mut self, id: PairId) {
        if let Some(pair) = self.pairs.get_mut(id.0 as usize).and_then(Option::take) {
            lock(&self.ports).release(id, pair);
        }
    }

    fn fd(&self, socket: SocketId) -> Option<RawFd> {
        Some(self.pairs.get(socket.pair.0 as usize)?.as_ref()?.fd(socket.port))
    }

    /// Takes what has come to a socket.
    fn take_packets(&mut self, socket: SocketId) {
        // A socket that was closed behind the same wait is there no more.
        let Some(Some(pair)) = self.pairs.get_mut(socket.pair.0 as usize) else {
            return;
        };
        let fd = pair.fd(socket.port);
        // Of a voice there is mostly one packet, which is cheaper to take alone; who has another is told again.
        let received = if std::mem::replace(&mut pair.ready_in, self.sweep) == self.sweep {
            self.inbox.receive(fd)
        } else {
            self.inbox.receive_one(fd)
        };
        let Ok(count) = received else { return };
        let now = self.now();
        self.counters.received.fetch_add(count as u64, Ordering::Relaxed);
        let mut by: Option<RawFd> = None;
        for buffer in 0..count {
            let Some((from, datagram)) = self.inbox.datagram(buffer) else {
                continue;
            };
            let forward = self.engine.handle_packet(now, socket, from, datagram);
            if let Some(forward) = forward
                && let Some(out) = self.fd(forward.socket)
            {
                if by.is_some_and(|by| by != out) {
                    self.send_outbound(by);
                }
                by = Some(out);
                self.outbound.push(Outbound {
                    to: forward.to.into(),
                    buffer,
                    range: forward.range,
                });
            }
            if self.engine.has_output() {
                self.drain();
            }
        }
        self.send_outbound(by);
    }

    /// Sends what has gathered for one socket.
    fn send_outbound(&mut self, by: Option<RawFd>) {
        let Some(fd) = by else { return };
        let sent = self.inbox.send(fd, &self.outbound);
        self.count_sent(sent, self.outbound.len());
        self.outbound.clear();
    }

    fn count_sent(&self, sent: usize, of: usize) {
        self.counters.sent.fetch_add(sent as u64, Ordering::Relaxed);
        if sent < of {
            self.counters
                .unsent
                .fetch_add((of - sent) as u64, Ordering::Relaxed);
        }
    }

    fn drain(&mut self) {
        loop {
            match self.engine.poll_output() {
                Output::Transmit(transmit) => {
                    if let Some(fd) = self.fd(transmit.socket) {
                        let sent = send_to(fd, &transmit.to.into(), &transmit.bytes);
                        self.count_sent(usize::from(sent), 1);
                    }
                }
                Output::Close(pair) => self.close(pair),
                Output::Event(event) => self.tell(event),
                Output::Tapped(packet) => self.hand_on(packet),
                Output::Timeout(_) => return,
            }
        }
    }

    /// Events keep their order. Over the limit, sound and digits are lost; what ends something never is.
    fn tell(&mut self, event: Event) {
        if let Event::LegRemoved { leg, .. } = &event {
            self.taps.remove(leg);
        }
        let may_be_lost = matches!(event, Event::Recorded { .. } | Event::Digit { .. });
        if may_be_lost && self.waiting_events.len() >= limits::MEDIA_EVENTS {
            if self.counters.lost_events.fetch_add(1, Ordering::Relaxed) == 0 {
                warn!("the receiver of media events does not keep up; sound and digits are lost");
            }
            return;
        }
        self.waiting_events.push_back(event);
        self.offer_events();
    }

    fn offer_events(&mut self) {
        while let Some(event) = self.waiting_events.pop_front() {
            match self.events.try_send(event) {
                Ok(()) => {}
                Err(async_channel::TrySendError::Full(event)) => {
                    self.waiting_events.push_front(event);
                    return;
                }
                // Nobody listens any more.
                Err(async_channel::TrySendError::Closed(_)) => self.waiting_events.clear(),
            }
        }
    }
}

fn number_of(socket: SocketId) -> u64 {
    u64::from(socket.pair.0) << 1 | u64::from(socket.port == Port::Rtcp)
}

fn socket_of(number: u64) -> SocketId {
    let port = if number & 1 == 0 { Port::Rtp } else { Port::Rtcp };
    SocketId {
        pair: PairId((number >> 1) as u32),
        port,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringpost_media::{Audio, LegMedia, PlayOutcome, RecordOutcome};
    use ringpost_rtp::{Header, Packet, is_rtcp};
    use std::net::{Ipv4Addr, UdpSocket};

    const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn start(ports: RangeInclusive<u16>) -> (MediaThread, async_channel::Receiver<Event>) {
        let (events, receiver) = async_channel::bounded(64);
        let thread = MediaThread::start(ports, UnixTime::from_secs(0), Rng::from_number(1), events).unwrap();
        (thread, receiver)
    }

    /// A phone on the loopback, and its leg.
    fn phone(thread: &MediaThread, leg: u64) -> (UdpSocket, SocketAddr) {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let (pair, port) = thread.handle().open(LOCALHOST).unwrap();
        let media = LegMedia {
            rtp: Some(socket.local_addr().unwrap()),
            ..LegMedia::audio()
        };
        let create = Command::CreateLeg {
            leg: LegId(leg),
            pair,
            cname: "c".into(),
            media,
            media_timeout: None,
        };
        thread.handle().try_send(create).unwrap();
        (socket, SocketAddr::new(LOCALHOST, port))
    }

    fn voice(n: u16) -> Vec<u8> {
        let mut bytes = Vec::new();
        let header = Header {
            sequence: n,
            timestamp: u32::from(n) * 160,
            ssrc: 7,
            ..Header::default()
        };
        header.write(&[n as u8; 160], &mut bytes);
        bytes
    }

    #[test]
    fn two_phones_hear_each_other_over_real_sockets() {
        let (thread, _events) = start(42_400..=42_449);
        let ((a, to_a), (b, to_b)) = (phone(&thread, 1), phone(&thread, 2));
        thread
            .handle()
            .try_send(Command::Bridge {
                a: LegId(1),
                b: LegId(2),
            })
            .unwrap();
        // Commands and packets come by different ways; a leg whose commands have not come yet hears nothing.
        std::thread::sleep(Duration::from_millis(50));
        let mut buffer = [0; 2_048];
        for n in 0..200 {
            for (from, to, by) in [(&a, &b, to_a), (&b, &a, to_b)] {
                from.send_to(&voice(n), by).unwrap();
                let (len, _) = to.recv_from(&mut buffer).unwrap();
                assert_eq!(Packet::parse(&buffer[..len]).unwrap().payload(), [n as u8; 160]);
            }
        }
        let handle = thread.handle().clone();
        thread.stop();
        let counters = handle.counters();
        assert_eq!((counters.received, counters.sent, counters.unsent), (400, 400, 0));
    }

    #[test]
    fn a_burst_is_relayed_whole() {
        let (thread, _events) = start(42_450..=42_469);
        let ((a, to_a), (b, _)) = (phone(&thread, 1), phone(&thread, 2));
        thread
            .handle()
            .try_send(Command::Bridge {
                a: LegId(1),
                b: LegId(2),
            })
            .unwrap();
        std::thread::sleep(Duration::from_millis(50));
        for n in 0..100 {
            a.send_to(&voice(n), to_a).unwrap();
        }
        let mut buffer = [0; 2_048];
        for n in 0..100u8 {
            let len = b.recv(&mut buffer).unwrap();
            assert_eq!(Packet::parse(&buffer[..len]).unwrap().payload()[0], n);
        }
        thread.stop();
    }

    #[test]
    fn a_prompt_is_paced_and_a_recording_comes_back() {
        let (thread, events) = start(42_470..=42_479);
        let (phone, to) = phone(&thread, 1);
        let handle = thread.handle();
        let playlist = vec![Audio::Pcm(vec![1_000; 1_600].into())];
        handle
            .try_send(Command::Play {
                leg: LegId(1),
                id: 5,
                playlist,
                repeat: false,
            })
            .unwrap();
        let max = Duration::from_millis(400);
        handle
            .try_send(Command::Record {
                leg: LegId(1),
                id: 6,
                max,
                silence: None,
            })
            .unwrap();
        let began = std::time::Instant::now();
        let mut buffer = [0; 2_048];
        for n in 0..10 {
            phone.recv(&mut buffer).unwrap();
            phone.send_to(&voice(n), to).unwrap();
        }
        assert!(
            (170..400).contains(&began.elapsed().as_millis()),
            "{:?}",
            began.elapsed()
        );
        let played = events.recv_blocking().unwrap();
        assert_eq!(
            played,
            Event::PlayEnded {
                leg: LegId(1),
                id: 5,
                outcome: PlayOutcome::Finished
            }
        );
        let Event::Recorded { samples, .. } = events.recv_blocking().unwrap() else {
            panic!()
        };
        assert_eq!(samples.len(), 3_200);
        assert!(samples.iter().any(|s| *s != 0));
        let Event::RecordEnded { outcome, .. } = events.recv_blocking().unwrap() else {
            panic!()
        };
        assert_eq!(outcome, RecordOutcome::MaxLength);
        thread.stop();
    }

    #[test]
    fn stopping_says_goodbye_and_closes_every_port() {
        let (thread, events) = start(42_480..=42_483);
        let (phone, _) = phone(&thread, 1);
        let rtcp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        rtcp.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let media = LegMedia {
            rtp: phone.local_addr().ok(),
            rtcp: rtcp.local_addr().ok(),
            ..LegMedia::audio()
        };
        let handle = thread.handle().clone();
        handle
            .try_send(Command::UpdateLeg { leg: LegId(1), media })
            .unwrap();
        let playlist = vec![Audio::Pcm(vec![0; 16_000].into())];
        handle
            .try_send(Command::Play {
                leg: LegId(1),
                id: 1,
                playlist,
                repeat: false,
            })
            .unwrap();
        let mut buffer = [0; 2_048];
        phone.recv(&mut buffer).unwrap();
        handle.open(LOCALHOST).unwrap();
        assert!(matches!(handle.open(LOCALHOST), Err(MediaError::NoPort)));
        thread.stop();
        let len = rtcp.recv(&mut buffer).unwrap();
        assert!(is_rtcp(&buffer[..len]));
        assert!(matches!(events.recv_blocking(), Ok(Event::PlayEnded { .. })));
        assert!(matches!(events.recv_blocking(), Ok(Event::LegRemoved { .. })));
        assert!(matches!(handle.open(LOCALHOST), Err(MediaError::Ended)));
        for port in 42_480..=42_483 {
            UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        }
    }

    #[test]
    fn a_pair_that_no_leg_took_can_be_given_back() {
        let (thread, _events) = start(42_490..=42_491);
        let (pair, _) = thread.handle().open(LOCALHOST).unwrap();
        let handle = thread.handle().clone();
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(async {
                handle.close_unused(pair).await.unwrap();
            });
        let again = (0..100).find_map(|_| {
            std::thread::sleep(Duration::from_millis(10));
            handle.open(LOCALHOST).ok()
        });
        assert!(again.is_some());
        thread.stop();
    }
}
