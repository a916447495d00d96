//! SIP's sockets: datagrams, and streams cut into messages (RFC 3261 §18).
//!
//! Connections belong to this module: it numbers them, finds the one that leads to a peer or opens it, and hands whole
//! messages over. Sending never waits: a datagram that the kernel does not take is lost, as datagrams may be; a stream whose
//! peer stops reading fills its own bounded queue and is then closed, and no other is held up by it.

mod unreachable;

use crate::stream::{Place, Places, WRITE_TIMEOUT, accept};
use crate::tls::{Authorities, HANDSHAKE_TIMEOUT, Tls};
use bytes::{Bytes, BytesMut};
use ringpost_base::{limits, one_peer};
use ringpost_sip::locate::Target;
use ringpost_sip::{Arrival, Flow, Frame, Framer, Message, Transport};
use rustls::pki_types::ServerName;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, Interest};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;
use tracing::{debug, info};

/// Messages that wait for one stream's peer to read; one more closes the stream.
const STREAM_QUEUE: usize = 256;
/// Bytes that wait for one stream's peer to read; a message that finds more closes the stream.
const STREAM_QUEUE_BYTES: usize = 512 * 1024;
/// A new stream must bring its first message within this time, and a message once begun must end within it, however
/// steadily its bytes drip.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(30);
/// A stream on which nothing at all came for this long is closed: somewhat more than the longest registration.
const IDLE_TIMEOUT: Duration = Duration::from_secs(2 * 3600);
/// How long a connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a stream may still be written to that is to be closed.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// The largest UDP payload.
const DATAGRAM_BYTES: usize = 65_535;
/// How many times a datagram is sent again that the kernel refuses with what it has to tell of earlier ones.
const EARLIER_ERRORS: usize = 3;
/// Datagrams taken from a socket before others get their turn.
const DATAGRAMS_A_TURN: usize = 1_024;
/// Datagrams of one peer that are kept in a turn while half of what may wait is waiting: a flood loses its own, and what
/// others send among it is heard.
const SHARE: u32 = 4;
/// Messages that wait for the service, by datagram and by stream; datagrams over it are lost, streams wait.
const LANE: usize = 2_048;

/// The listeners of SIP and all their connections.
pub struct SipNet {
    udp: Vec<Datagrams>,
    datagrams: async_channel::Sender<Arrival>,
    streamed: async_channel::Sender<Arrival>,
    streams: Mutex<Streams>,
    places: Arc<Places>,
    authorities: Authorities,
    /// Where streams are accepted: what peers are told to come back to.
    listening: Mutex<Vec<(Transport, SocketAddr)>>,
}

/// A socket and the address it is bound to: asking the kernel for it again would cost as much as a small send.
struct Datagrams {
    socket: UdpSocket,
    bound: SocketAddr,
}

#[derive(Default)]
struct Streams {
    last_number: u64,
    by_number: HashMap<u64, StreamHandle>,
    by_remote: HashMap<(Transport, SocketAddr), u64>,
    /// Connections under TLS that we opened, by what the peer has proven to be: to another domain at the same address they
    /// do not lead.
    by_domain: HashMap<(SocketAddr, String), u64>,
}

/// What the others hold of a stream. When it is dropped, the stream's task ends, whatever it waits for.
struct StreamHandle {
    flow: Flow,
    /// What its peer has to prove to be.
    domain: Option<String>,
    queue: async_channel::Sender<Bytes>,
    queued_bytes: Arc<AtomicUsize>,
    /// Carries nothing: its end is the news.
    _wanted: async_channel::Sender<()>,
}

impl StreamHandle {
    /// Whether there is room for `bytes`, which then are queued.
    fn try_send(&self, bytes: Bytes) -> bool {
        let len = bytes.len();
        if self.queued_bytes.fetch_add(len, Ordering::Relaxed) > STREAM_QUEUE_BYTES {
            return false;
        }
        self.queue.try_send(bytes).is_ok()
    }
}

/// Why a stream is read no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Nothing will come any more, or nobody wants it.
    Over,
    /// What comes cannot be followed, but there were messages before it.
    LostBehindMessages,
}

/// What a stream's own task holds of it.
struct Outgoing {
    queue: async_channel::Receiver<Bytes>,
    queued_bytes: Arc<AtomicUsize>,
    wanted: async_channel::Receiver<()>,
}

impl Outgoing {
    /// Writes what is queued, until the stream breaks or is forgotten.
    async fn write_to<W: AsyncWrite + Unpin>(&self, writer: &mut W) {
        while let Ok(bytes) = self.queue.recv().await {
            let written = async {
                writer.write_all(&bytes).await?;
                writer.flush().await
            };
            match tokio::time::timeout(WRITE_TIMEOUT, written).await {
                Ok(Ok(())) => self.queued_bytes.fetch_sub(bytes.len(), Ordering::Relaxed),
                _ => return,
            };
        }
    }

    /// Completes when nobody has the stream's handle any more.
    async fn forgotten(&self) {
        // Nothing is ever sent.
        let _ = self.wanted.recv().await;
    }
}

impl SipNet {
    /// Takes over bound UDP sockets; what comes goes to `input`, datagrams and streams in turn where both wait, so that
    /// neither drowns the other. Streams are accepted, and opened to other domains, as far as there are `places`;
    /// `authorities` vouch for those domains. It must be made inside the runtime.
    pub fn new(
        udp: Vec<UdpSocket>,
        places: Arc<Places>,
        authorities: Authorities,
        input: async_channel::Sender<Arrival>,
    ) -> Arc<Self> {
        // A bound socket has an address; one that has none could not be read from either.
        let udp = udp.into_iter().filter_map(|socket| {
            let bound = socket.local_addr().ok()?;
            unreachable::watch(&socket, bound.is_ipv6());
            Some(Datagrams { socket, bound })
        });
        let (datagrams, by_datagram) = async_channel::bounded(LANE);
        let (streamed, by_stream) = async_channel::bounded(LANE);
        tokio::spawn(merge(by_datagram, by_stream, input));
        Arc::new(SipNet {
            udp: udp.collect(),
            datagrams,
            streamed,
            streams: Mutex::default(),
            places,
            authorities,
            listening: Mutex::default(),
        })
    }

    /// Starts a task for each UDP socket.
    pub fn serve_udp(self: &Arc<Self>) {
        for index in 0..self.udp.len() {
            let net = self.clone();
            tokio::spawn(async move { net.read_datagrams(index).await });
        }
    }

    /// Accepts streams on `listener` from now on, under TLS if given.
    pub fn serve_streams(self: &Arc<Self>, listener: TcpListener, tls: Option<Tls>) {
        let net = self.clone();
        let transport = match tls {
            Some(_) => Transport::Tls,
            None => Transport::Tcp,
        };
        if let Ok(address) = listener.local_addr() {
            self.listening().push((transport, address));
        }
        tokio::spawn(async move {
            loop {
                let (socket, remote) = accept(&listener).await;
                let Some(place) = net.places.take(remote.ip()) else {
                    debug!(%remote, "over the connection limit; closed");
                    continue;
                };
                tokio::spawn(net.clone().accepted(socket, remote, tls.clone(), place));
            }
        });
    }

    /// Sends one message over `flow`. What cannot be sent is told by [`Arrival::Failed`] or [`Arrival::Closed`].
    pub fn send(self: &Arc<Self>, flow: Flow, bytes: Bytes) {
        match flow.transport {
            Transport::Udp => self.send_datagram(flow, &bytes),
            Transport::Tcp | Transport::Tls => self.send_stream(flow, bytes),
        }
    }

    fn send_datagram(self: &Arc<Self>, flow: Flow, bytes: &[u8]) {
        let same_family = |udp: &&Datagrams| udp.bound.is_ipv4() == flow.remote.is_ipv4();
        let udp = self
            .udp
            .iter()
            .find(|udp| bound_as(udp.bound, flow.local))
            .or_else(|| self.udp.iter().find(same_family));
        let Some(udp) = udp else {
            return self.tell(Arrival::Failed { flow });
        };
        let mut sent = udp.socket.try_send_to(bytes, flow.remote);
        for _ in 0..EARLIER_ERRORS {
            match &sent {
                Err(error) if unreachable::is_about_another(error) => {
                    sent = udp.socket.try_send_to(bytes, flow.remote);
                }
                _ => break,
            }
        }
        match sent {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                debug!(%flow, "the socket's buffer is full; datagram lost");
            }
            Err(error) => {
                debug!(%flow, %error, "datagram not sent");
                self.tell(Arrival::Failed { flow });
            }
        }
    }

    fn send_stream(self: &Arc<Self>, flow: Flow, bytes: Bytes) {
        let mut streams = self.streams();
        let known = flow
            .connection
            .filter(|number| streams.by_number.contains_key(number))
            .or_else(|| streams.by_remote.get(&(flow.transport, flow.remote)).copied());
        if let Some(number) = known {
            let Some(handle) = streams.by_number.get(&number) else {
                return;
            };
            if handle.try_send(bytes) {
                return;
            }
            // Its peer has not read for a whole queue's length: the stream's task ends with the handle.
            debug!(%flow, "the peer does not read; closed");
            streams.forget(number);
            drop(streams);
            return self.tell(Arrival::Closed { flow });
        }
        // An incoming TLS flow that is gone cannot be opened from here: its peer has no certificate to be checked. One to
        // another domain is opened by `open`, which knows what to check.
        if flow.transport == Transport::Tls {
            drop(streams);
            return self.tell(Arrival::Failed { flow });
        }
        let asked = flow;
        let (outgoing, flow) = streams.add(
            Flow {
                connection: None,
                ..flow
            },
            None,
        );
        drop(streams);
        if let Some(handle) = self.streams().by_number.get(&flow.connection.unwrap_or_default()) {
            // The queue is new and empty.
            let _ = handle.try_send(bytes);
        }
        let net = self.clone();
        tokio::spawn(async move {
            if !net.connect(flow, None, outgoing).await && asked.connection.is_some() {
                // Who sent it knows it by a connection that was gone.
                net.tell(Arrival::Failed { flow: asked });
            }
        });
    }

    /// The way to a target that has not come to us: a socket's, an open connection's, or a new one's. A connection that
    /// cannot be opened, or whose peer does not prove to be the target's domain, is told by [`Arrival::Failed`].
    pub fn open(self: &Arc<Self>, target: &Target) -> Option<Flow> {
        let Target {
            transport, address, ..
        } = *target;
        let flow = Flow {
            transport,
            local: self.seen_by(transport, address)?,
            remote: address,
            connection: None,
        };
        if transport == Transport::Udp {
            return Some(flow);
        }
        let domain = (transport == Transport::Tls).then(|| target.domain.clone());
        let mut streams = self.streams();
        let known = match &domain {
            Some(domain) => streams.by_domain.get(&(address, domain.clone())),
            None => streams.by_remote.get(&(transport, address)),
        };
        if let Some(handle) = known.and_then(|number| streams.by_number.get(number)) {
            return Some(handle.flow);
        }
        let Some(place) = self.places.take(address.ip()) else {
            debug!(%flow, "over the connection limit; not opened");
            return None;
        };
        let (outgoing, flow) = streams.add(flow, domain.clone());
        drop(streams);
        let net = self.clone();
        tokio::spawn(async move {
            let _place = place;
            net.connect(flow, domain, outgoing).await;
        });
        Some(flow)
    }

    /// Our address as a peer sees it, and may come back to.
    fn seen_by(&self, transport: Transport, peer: SocketAddr) -> Option<SocketAddr> {
        let bound: Vec<SocketAddr> = match transport {
            Transport::Udp => self.udp.iter().map(|udp| udp.bound).collect(),
            _ => {
                let listening = self.listening();
                let same = listening.iter().filter(|(of, _)| *of == transport);
                same.map(|(_, address)| *address).collect()
            }
        };
        let own = source_address(peer).ok();
        let same_family = || bound.iter().filter(|address| address.is_ipv4() == peer.is_ipv4());
        let suits = |address: &&SocketAddr| address.ip().is_unspecified() || Some(address.ip()) == own;
        let address = same_family().find(suits).or_else(|| same_family().next())?;
        match address.ip().is_unspecified() {
            true => own.map(|ip| SocketAddr::new(ip, address.port())),
            false => Some(*address),
        }
    }

    /// Opens a connection, under TLS to a peer that proves to be `domain`, and serves it to its end; false when it cannot
    /// be opened, which is told.
    async fn connect(self: &Arc<Self>, flow: Flow, domain: Option<String>, outgoing: Outgoing) -> bool {
        let number = flow.connection.unwrap_or_default();
        let opened = tokio::time::timeout(CONNECT_TIMEOUT, connect_from(flow.local.ip(), flow.remote)).await;
        let opened = opened.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let failed = match (opened, domain) {
            (Ok(socket), None) => {
                self.run(socket, flow, outgoing, true).await;
                return true;
            }
            (Ok(socket), Some(domain)) => match self.prove(socket, domain).await {
                Ok(socket) => {
                    self.run(socket, flow, outgoing, true).await;
                    return true;
                }
                Err(error) => error,
            },
            (Err(error), _) => error,
        };
        info!(%flow, error = %failed, "cannot connect");
        self.streams().forget(number);
        let _ = self.streamed.send(Arrival::Failed { flow }).await;
        false
    }

    /// TLS as the client: the peer's certificate must be for the domain that was dialled.
    //= https://www.rfc-editor.org/rfc/rfc5922#section-7.3
    async fn prove(&self, socket: TcpStream, domain: String) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(domain)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let handshake = self.authorities.connector().connect(name, socket);
        tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake)
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    async fn accepted(
        self: Arc<Self>,
        socket: TcpStream,
        remote: SocketAddr,
        tls: Option<Tls>,
        place: Place,
    ) {
        let _place = place;
        let Ok(local) = socket.local_addr() else { return };
        let transport = if tls.is_some() {
            Transport::Tls
        } else {
            Transport::Tcp
        };
        let flow = Flow {
            transport,
            local,
            remote,
            connection: None,
        };
        match tls {
            None => {
                let (outgoing, flow) = self.streams().add(flow, None);
                self.run(socket, flow, outgoing, false).await;
            }
            Some(tls) => {
                let handshake = tls.acceptor().accept(socket);
                match tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await {
                    Ok(Ok(socket)) => {
                        let (outgoing, flow) = self.streams().add(flow, None);
                        self.run(socket, flow, outgoing, false).await;
                    }
                    Ok(Err(error)) => debug!(%remote, %error, "TLS handshake failed"),
                    Err(_) => debug!(%remote, "TLS handshake took too long"),
                }
            }
        }
    }

    /// Reads and writes one stream until either ends, then tells that it is closed. One that we opened need not speak first.
    async fn run<S>(self: &Arc<Self>, socket: S, flow: Flow, outgoing: Outgoing, is_ours: bool)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin,
    {
        let (mut reader, mut writer) = tokio::io::split(socket);
        let number = flow.connection.unwrap_or_default();
        let end = tokio::select! {
            end = self.read_stream(&mut reader, flow, number, is_ours) => end,
            () = outgoing.write_to(&mut writer) => End::Over,
            () = outgoing.forgotten() => End::Over,
        };
        if end == End::LostBehindMessages {
            // Their answers are being made. What is left unread at the close would reset the connection under them.
            tokio::select! {
                () = discard(&mut reader) => {}
                () = outgoing.write_to(&mut writer) => {}
                () = outgoing.forgotten() => {}
                () = tokio::time::sleep(LAST_WORDS) => {}
            }
        }
        self.streams().forget(number);
        // What was queued before the close (the answer to a bad frame, say) still goes out, if the peer takes it.
        outgoing.queue.close();
        let last_words = async {
            while let Ok(bytes) = outgoing.queue.try_recv() {
                if writer.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            let _ = writer.shutdown().await;
        };
        let _ = tokio::time::timeout(LAST_WORDS, last_words).await;
        let _ = self.streamed.send(Arrival::Closed { flow }).await;
    }

    async fn read_stream<R: AsyncRead + Unpin>(
        self: &Arc<Self>,
        reader: &mut R,
        flow: Flow,
        number: u64,
        is_ours: bool,
    ) -> End {
        let mut framer = Framer::new(flow.remote);
        let mut buffer = BytesMut::new();
        let mut any_yet = is_ours;
        let mut may_be_answered = false;
        // When what is being waited for began: the stream, or the message that is not whole yet.
        let mut since = Instant::now();
        loop {
            let deadline = if any_yet && !framer.is_inside_message() {
                Instant::now() + IDLE_TIMEOUT
            } else {
                since + MESSAGE_TIMEOUT
            };
            buffer.reserve(limits::CHUNK_BYTES / 4);
            match tokio::time::timeout_at(deadline, reader.read_buf(&mut buffer)).await {
                Ok(Ok(n)) if n > 0 => {}
                _ => return End::Over,
            }
            if any_yet && !framer.is_inside_message() {
                since = Instant::now();
            }
            framer.push(&buffer);
            buffer.clear();
            loop {
                match framer.poll() {
                    Ok(None) => break,
                    Ok(Some(Frame::Ping)) => {
                        any_yet = true;
                        since = Instant::now();
                        // RFC 5626 §4.4.1: a double CRLF is answered by a single one.
                        if let Some(handle) = self.streams().by_number.get(&number) {
                            // A peer that does not read its answers needs none.
                            let _ = handle.try_send(Bytes::from_static(b"\r\n"));
                        }
                    }
                    Ok(Some(Frame::Pong)) => any_yet = true,
                    Ok(Some(Frame::Message(message))) => {
                        (any_yet, may_be_answered) = (true, true);
                        since = Instant::now();
                        if self
                            .streamed
                            .send(Arrival::Message {
                                flow,
                                message: Ok(message),
                            })
                            .await
                            .is_err()
                        {
                            return End::Over;
                        }
                    }
                    Ok(Some(Frame::Malformed(error))) => {
                        may_be_answered = true;
                        if self
                            .streamed
                            .send(Arrival::Message {
                                flow,
                                message: Err(error),
                            })
                            .await
                            .is_err()
                        {
                            return End::Over;
                        }
                    }
                    Err(error) => {
                        debug!(%flow, %error, "framing lost; closed");
                        return match may_be_answered {
                            true => End::LostBehindMessages,
                            false => End::Over,
                        };
                    }
                }
            }
        }
    }

    async fn read_datagrams(self: Arc<Self>, index: usize) {
        let Datagrams { socket, bound } = &self.udp[index];
        let mut routes = LocalAddresses::new(*bound);
        let mut buffer = vec![0; DATAGRAM_BYTES];
        let mut shares = HashMap::<IpAddr, u32>::new();
        loop {
            let Ok(ready) = socket.ready(Interest::READABLE | Interest::ERROR).await else {
                return;
            };
            if ready.is_error() {
                self.tell_unreachable(socket, *bound);
            }
            let mut taken = 0;
            shares.clear();
            while taken < DATAGRAMS_A_TURN {
                let Ok((len, remote)) = socket.try_recv_from(&mut buffer) else {
                    break;
                };
                taken += 1;
                // Signalling is behind; it will have forgotten less if peers retransmit.
                if self.datagrams.len() >= LANE / 2 {
                    let share = shares.entry(one_peer(remote.ip())).or_default();
                    *share += 1;
                    if *share > SHARE || self.datagrams.is_full() {
                        continue;
                    }
                }
                let bytes = &buffer[..len];
                // Keep-alives of phones behind NAT: CRLFs, or a zero byte.
                if bytes.iter().all(|b| matches!(b, b'\r' | b'\n' | 0)) {
                    continue;
                }
                let local = routes.towards(remote);
                let flow = Flow {
                    transport: Transport::Udp,
                    local,
                    remote,
                    connection: None,
                };
                let message = Message::parse_from(Bytes::copy_from_slice(bytes), remote);
                let _ = self.datagrams.try_send(Arrival::Message { flow, message });
            }
            if taken == DATAGRAMS_A_TURN {
                // There may be no end of them.
                tokio::task::yield_now().await;
            }
        }
    }

    /// Tells of every address that datagrams could not be delivered to.
    //= https://www.rfc-editor.org/rfc/rfc3261#section-18.4
    fn tell_unreachable(&self, socket: &UdpSocket, local: SocketAddr) {
        for _ in 0..DATAGRAMS_A_TURN {
            let Ok(found) = unreachable::next(socket) else {
                return;
            };
            let Some(remote) = found else { continue };
            let flow = Flow {
                transport: Transport::Udp,
                local,
                remote,
                connection: None,
            };
            debug!(%flow, "nobody takes datagrams there");
            // A full queue means that signalling is behind; its timers will tell it.
            let _ = self.datagrams.try_send(Arrival::Failed { flow });
        }
    }

    fn tell(self: &Arc<Self>, input: Arrival) {
        if let Err(async_channel::TrySendError::Full(input)) = self.streamed.try_send(input) {
            let channel = self.streamed.clone();
            tokio::spawn(async move {
                let _ = channel.send(input).await;
            });
        }
    }

    fn listening(&self) -> MutexGuard<'_, Vec<(Transport, SocketAddr)>> {
        self.listening.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn streams(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// Passes on what waits, one of each kind as likely as one of the other, until nobody sends or hears any more.
async fn merge(
    datagrams: async_channel::Receiver<Arrival>,
    streams: async_channel::Receiver<Arrival>,
    input: async_channel::Sender<Arrival>,
) {
    loop {
        let next = tokio::select! {
            next = datagrams.recv() => next,
            next = streams.recv() => next,
        };
        let Ok(arrival) = next else { return };
        if input.send(arrival).await.is_err() {
            return;
        }
    }
}

impl Streams {
    /// A stream with a number of its own; with the domain that its peer has to prove, where we open it under TLS.
    fn add(&mut self, flow: Flow, domain: Option<String>) -> (Outgoing, Flow) {
        self.last_number += 1;
        let number = self.last_number;
        let flow = Flow {
            connection: Some(number),
            ..flow
        };
        let (queue, to_write) = async_channel::bounded(STREAM_QUEUE);
        let (handle_lives, wanted) = async_channel::bounded(1);
        let queued_bytes = Arc::<AtomicUsize>::default();
        match &domain {
            Some(domain) => self.by_domain.insert((flow.remote, domain.clone()), number),
            None => self.by_remote.insert((flow.transport, flow.remote), number),
        };
        let handle = StreamHandle {
            flow,
            domain,
            queue,
            queued_bytes: queued_bytes.clone(),
            _wanted: handle_lives,
        };
        self.by_number.insert(number, handle);
        let outgoing = Outgoing {
            queue: to_write,
            queued_bytes,
            wanted,
        };
        (outgoing, flow)
    }

    fn forget(&mut self, number: u64) {
        let Some(handle) = self.by_number.remove(&number) else {
            return;
        };
        if let Some(domain) = handle.domain {
            let proven = (handle.flow.remote, domain);
            if self.by_domain.get(&proven) == Some(&number) {
                self.by_domain.remove(&proven);
            }
            return;
        }
        let remote = (handle.flow.transport, handle.flow.remote);
        if self.by_remote.get(&remote) == Some(&number) {
            self.by_remote.remove(&remote);
        }
    }
}

/// Reads for nothing. It never completes: a peer that has no more to say may still listen.
async fn discard<R: AsyncRead + Unpin>(reader: &mut R) {
    let mut buffer = [0; 4_096];
    while matches!(reader.read(&mut buffer).await, Ok(n) if n > 0) {}
    std::future::pending().await
}

/// Whether a socket bound to `bound` is the one whose traffic goes by `local`.
fn bound_as(bound: SocketAddr, local: SocketAddr) -> bool {
    bound == local
        || (bound.ip().is_unspecified() && bound.port() == local.port() && bound.is_ipv4() == local.is_ipv4())
}

/// The address that peers know us by, for a socket bound to the wildcard: the one the kernel would send from. A Via or a
/// Contact with 0.0.0.0 in it leads nowhere.
struct LocalAddresses {
    bound: SocketAddr,
    by_peer: HashMap<IpAddr, IpAddr>,
}

/// Peers whose route is remembered; when there are more, all are asked for again.
const ROUTES: usize = 4_096;

impl LocalAddresses {
    fn new(bound: SocketAddr) -> Self {
        LocalAddresses {
            bound,
            by_peer: HashMap::new(),
        }
    }

    fn towards(&mut self, remote: SocketAddr) -> SocketAddr {
        if !self.bound.ip().is_unspecified() {
            return self.bound;
        }
        if self.by_peer.len() >= ROUTES {
            self.by_peer.clear();
        }
        let ip = *self
            .by_peer
            .entry(remote.ip())
            .or_insert_with(|| source_address(remote).unwrap_or(self.bound.ip()));
        SocketAddr::new(ip, self.bound.port())
    }
}

/// Connects from the address that peers know us by, where it is one of this host's now.
async fn connect_from(local: IpAddr, remote: SocketAddr) -> io::Result<TcpStream> {
    let socket = match remote {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if let Err(error) = socket.bind(SocketAddr::new(local, 0)) {
        debug!(%local, %error, "the kernel chooses where to connect from");
    }
    let stream = socket.connect(remote).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The local address from which the kernel sends to `remote`; connecting a UDP socket sends nothing.
pub fn source_address(remote: SocketAddr) -> io::Result<IpAddr> {
    let any: IpAddr = if remote.is_ipv4() {
        std::net::Ipv4Addr::UNSPECIFIED.into()
    } else {
        std::net::Ipv6Addr::UNSPECIFIED.into()
    };
    let socket = std::net::UdpSocket::bind((any, 0))?;
    socket.connect((remote.ip(), remote.port().max(1)))?;
    Ok(socket.local_addr()?.ip())
}

#[cfg(test)]
mod tests;
