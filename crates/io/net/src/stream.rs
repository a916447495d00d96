//! Stream connections of the mail protocols: accepted within limits, or made to other servers; plain or under TLS, upgraded
//! in place.

use crate::tls::{Authorities, HANDSHAKE_TIMEOUT, Proof, Tls};
use bytes::Bytes;
use ringpost_base::{in_network, limits, one_peer};
use rustls::pki_types::ServerName;
use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_rustls::{TlsConnector, TlsStream};
use tracing::{debug, warn};

/// A peer that takes nothing for this long is cut off.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// The same for another server that we hand mail to (RFC 5321 §4.5.3.2.5).
const DATA_BLOCK_TIMEOUT: Duration = Duration::from_secs(180);

/// How many connections all listeners together keep, in all and from one address. One over the limit is told so in a line,
/// where its protocol has one, and closed at once.
#[derive(Clone, Debug)]
pub struct ConnectionLimits {
    /// In all.
    pub total: usize,
    /// From one IPv4 address, or one IPv6 network of 64 bits: whoever has one of its addresses has them all.
    pub per_address: usize,
    /// Networks, by the bits that count, whose addresses have as many as there are in all.
    pub exempt: Vec<(IpAddr, u8)>,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        ConnectionLimits {
            total: 4_096,
            per_address: 128,
            exempt: Vec::new(),
        }
    }
}

/// The connections that are open now, counted by address; each holds a place. One for all listeners, so that an address
/// that is refused by one finds no room at another.
pub struct Places {
    taken: Mutex<Taken>,
    refused: AtomicU64,
}

struct Taken {
    limits: ConnectionLimits,
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

impl Places {
    /// With room for as many as `limits` says.
    pub fn new(limits: ConnectionLimits) -> Arc<Self> {
        Arc::new(Places {
            taken: Mutex::new(Taken {
                limits,
                total: 0,
                by_address: HashMap::new(),
            }),
            refused: AtomicU64::new(0),
        })
    }

    /// Connections that found no place.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Goes by other limits from now on. Who has a place keeps it.
    pub fn set_limits(&self, limits: ConnectionLimits) {
        self.lock().limits = limits;
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(|e| e.into_inner())
    }

    pub(crate) fn take(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let peer = one_peer(address);
        let mut taken = self.lock();
        let here = taken.by_address.get(&peer).copied().unwrap_or(0);
        let mut exempt = taken.limits.exempt.iter();
        let is_one_too_many = here >= taken.limits.per_address
            && !exempt.any(|(network, bits)| in_network(address, *network, *bits));
        if taken.total >= taken.limits.total || is_one_too_many {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let address = peer;
        taken.total += 1;
        taken.by_address.insert(address, here + 1);
        Some(Place {
            places: self.clone(),
            address,
        })
    }

    #[cfg(test)]
    pub(crate) fn taken(&self) -> usize {
        self.lock().total
    }
}

/// One connection's place within the limits, given back on drop.
pub(crate) struct Place {
    places: Arc<Places>,
    address: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        taken.total -= 1;
        if let Some(here) = taken.by_address.get_mut(&self.address) {
            *here -= 1;
            if *here == 0 {
                taken.by_address.remove(&self.address);
            }
        }
    }
}

/// How long a listener waits where nothing can be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// How long after a line about refused connections comes the next.
const TOLD_AGAIN: Duration = Duration::from_secs(10);

/// Accepts on `listener` until the task is dropped. Out of file descriptors or memory, it waits a moment instead of
/// spinning.
pub(crate) async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    let mut told = false;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                if let Err(error) = stream.set_nodelay(true) {
                    debug!(%peer, %error, "no TCP_NODELAY");
                }
                return (stream, peer);
            }
            // A connection that died in the queue is nobody's trouble; anything else (EMFILE, ENFILE, ENOBUFS) stays
            // until something is closed, so asking again at once would only burn the processor.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                // Once until it works again: a full table must not fill the disk with lines as well.
                if !std::mem::replace(&mut told, true) {
                    warn!(%error, "cannot accept connections; waiting");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// How a service listens.
pub struct Service {
    /// Where.
    pub listener: TcpListener,
    /// The room that it shares with the others.
    pub places: Arc<Places>,
    /// What TLS is started with, whenever it is.
    pub tls: Tls,
    /// Whether TLS comes first.
    pub implicit: bool,
    /// What a connection is told that finds no place, with its line's end; not under TLS.
    pub full: &'static str,
}

/// Accepts connections that find a place and gives each to `handle` in a task of its own.
pub async fn serve<F, Fut>(service: Service, handle: F)
where
    F: Fn(Stream) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let Service {
        listener,
        places,
        tls,
        implicit,
        full,
    } = service;
    let full = if implicit { "" } else { full };
    let mut told = None;
    loop {
        let (socket, remote, place) = admit(&listener, &places, full, &mut told).await;
        let (tls, handle) = (tls.clone(), handle.clone());
        tokio::spawn(async move {
            let Ok(local) = socket.local_addr() else { return };
            let mut stream = Stream {
                io: Io::Plain(socket),
                side: Side::Server(tls),
                write_timeout: WRITE_TIMEOUT,
                end_point: None,
                local,
                remote,
                _place: Some(place),
            };
            if implicit && stream.start_tls().await.is_err() {
                return;
            }
            handle(stream).await;
        });
    }
}

/// The same for what speaks its own protocol from the first byte: `handle` gets the socket, which has its place until it
/// is done.
pub async fn serve_sockets<F, Fut>(listener: TcpListener, places: Arc<Places>, handle: F)
where
    F: Fn(TcpStream) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    let mut told = None;
    loop {
        let (socket, _, place) = admit(&listener, &places, "", &mut told).await;
        let handled = handle(socket);
        tokio::spawn(async move {
            handled.await;
            drop(place);
        });
    }
}

/// The next connection that finds a place. One that finds none is told `full`; `told` is when the log last said so.
async fn admit(
    listener: &TcpListener,
    places: &Arc<Places>,
    full: &str,
    told: &mut Option<Instant>,
) -> (TcpStream, SocketAddr, Place) {
    loop {
        let (socket, remote) = accept(listener).await;
        if let Some(place) = places.take(remote.ip()) {
            return (socket, remote, place);
        }
        // Now and then: who is refused comes again, and the log must not fill the disk.
        if told.is_none_or(|at| at.elapsed() >= TOLD_AGAIN) {
            *told = Some(Instant::now());
            warn!(%remote, refused = places.refused(), "over the limit of connections; closed");
        }
        // There is room in a new socket's buffer; nobody waits for it.
        let _ = socket.try_write(full.as_bytes());
    }
}

/// Accepts connections on a Unix socket and gives each to `handle` in a task of its own. Both ends are told as `127.0.0.1`:
/// whoever may open the socket is of this machine.
pub async fn serve_local<F, Fut>(listener: UnixListener, places: Arc<Places>, tls: Tls, handle: F)
where
    F: Fn(Stream) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    loop {
        let socket = match listener.accept().await {
            Ok((socket, _)) => socket,
            Err(error) => {
                debug!(%error, "cannot accept on a local socket; waiting");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(place) = places.take(here.ip()) else {
            continue;
        };
        let stream = Stream {
            io: Io::Local(socket),
            side: Side::Server(tls.clone()),
            write_timeout: WRITE_TIMEOUT,
            end_point: None,
            local: here,
            remote: here,
            _place: Some(place),
        };
        tokio::spawn(handle(stream));
    }
}

enum Io {
    Plain(TcpStream),
    Local(UnixStream),
    Tls(Box<TlsStream<TcpStream>>),
    Gone,
}

/// What is read at once at the most.
const READ_BYTES: usize = limits::CHUNK_BYTES / 4;

thread_local! {
    /// Where bytes are read to before it is known how many there are: a thousand connections that wait share it.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
}

impl Io {
    /// Reads what there is; no bytes at the end.
    fn poll_read(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) -> Poll<io::Result<Bytes>> {
        let mut buffer = ReadBuf::new(scratch);
        let read = match self {
            Io::Plain(io) => Pin::new(io).poll_read(cx, &mut buffer),
            Io::Local(io) => Pin::new(io).poll_read(cx, &mut buffer),
            Io::Tls(io) => Pin::new(&mut **io).poll_read(cx, &mut buffer),
            Io::Gone => Poll::Ready(Ok(())),
        };
        read.map_ok(|()| Bytes::copy_from_slice(buffer.filled()))
    }
}

/// What TLS is started as.
enum Side {
    Server(Tls),
    Client(TlsConnector, ServerName<'static>),
}

/// One connection.
pub struct Stream {
    io: Io,
    side: Side,
    write_timeout: Duration,
    /// The hash of the certificate that TLS was begun with.
    end_point: Option<Vec<u8>>,
    local: SocketAddr,
    remote: SocketAddr,
    _place: Option<Place>,
}

/// Where a connection to another server leads, and what is asked of its TLS.
#[derive(Clone, Copy, Debug)]
pub struct To<'a> {
    /// The address and port.
    pub address: SocketAddr,
    /// What the server is called.
    pub name: &'a str,
    /// What its certificate must prove.
    pub proof: &'a Proof,
    /// Whether TLS comes first.
    pub implicit_tls: bool,
}

impl Stream {
    /// Connects to another server.
    ///
    /// # Errors
    /// When it cannot be reached, TLS fails, or a name that is to be verified is none.
    pub async fn connect(to: To<'_>, authorities: &Authorities) -> io::Result<Stream> {
        let name = match ServerName::try_from(to.name.to_owned()) {
            Ok(name) => name,
            // Nobody asks what it proves to be.
            Err(_) if *to.proof == Proof::Any => ServerName::from(to.address.ip()),
            Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidInput, error)),
        };
        let socket = TcpStream::connect(to.address).await?;
        if let Err(error) = socket.set_nodelay(true) {
            debug!(remote = %to.address, %error, "no TCP_NODELAY");
        }
        let mut stream = Stream {
            local: socket.local_addr()?,
            remote: to.address,
            io: Io::Plain(socket),
            side: Side::Client(authorities.mail_connector(to.proof), name),
            write_timeout: DATA_BLOCK_TIMEOUT,
            end_point: None,
            _place: None,
        };
        if to.implicit_tls {
            stream.start_tls().await?;
        }
        Ok(stream)
    }

    /// Our address and port.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// The peer's address and port.
    pub fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// Whether the bytes are under TLS.
    pub fn is_tls(&self) -> bool {
        matches!(self.io, Io::Tls(_))
    }

    /// What proves to the peer that nobody stands between: keying material (RFC 9266) and the hash of our certificate
    /// (RFC 5929 §4). Neither without TLS; the former from TLS 1.3 on, since before it two connections may share it.
    pub fn bindings(&self) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
        let Io::Tls(io) = &self.io else {
            return (None, None);
        };
        let TlsStream::Server(io) = &**io else {
            return (None, None);
        };
        let (_, connection) = io.get_ref();
        let is_13 = connection.protocol_version() == Some(rustls::ProtocolVersion::TLSv1_3);
        //= https://www.rfc-editor.org/rfc/rfc9266#section-2
        let exported = is_13.then(|| {
            let label = b"EXPORTER-Channel-Binding";
            connection
                .export_keying_material(vec![0; 32], label, Some(b""))
                .ok()
        });
        (exported.flatten(), self.end_point.clone())
    }

    /// The next bytes, at most [`READ_BYTES`]; `None` when the peer has closed or the connection broke. Cancel-safe. A
    /// connection that waits holds no buffer.
    pub async fn recv(&mut self) -> Option<Bytes> {
        let read =
            std::future::poll_fn(|cx| SCRATCH.with_borrow_mut(|scratch| self.io.poll_read(cx, scratch)));
        match read.await {
            Ok(bytes) => Some(bytes).filter(|bytes| !bytes.is_empty()),
            Err(error) => {
                debug!(remote = %self.remote, %error, "read failed");
                None
            }
        }
    }

    /// Sends everything, within [`WRITE_TIMEOUT`] for each call; to another server within three minutes.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let write = async {
            match &mut self.io {
                Io::Plain(io) => io.write_all(bytes).await,
                Io::Local(io) => io.write_all(bytes).await,
                Io::Tls(io) => {
                    io.write_all(bytes).await?;
                    io.flush().await
                }
                Io::Gone => Err(io::ErrorKind::NotConnected.into()),
            }
        };
        let result = tokio::time::timeout(self.write_timeout, write)
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        if result.is_err() {
            self.io = Io::Gone;
        }
        result
    }

    /// Starts TLS, as the server or as the client. No plain bytes are held that could be taken for what came under it.
    pub async fn start_tls(&mut self) -> io::Result<()> {
        let Io::Plain(socket) = std::mem::replace(&mut self.io, Io::Gone) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let handshake = async {
            match &self.side {
                Side::Server(tls) => {
                    let (acceptor, end_point) = tls.acceptor_and_end_point();
                    self.end_point = end_point;
                    acceptor.accept(socket).await.map(TlsStream::Server)
                }
                Side::Client(connector, name) => {
                    let connected = connector.connect(name.clone(), socket).await;
                    connected.map(TlsStream::Client)
                }
            }
        };
        match tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await {
            Ok(Ok(stream)) => {
                self.io = Io::Tls(Box::new(stream));
                Ok(())
            }
            Ok(Err(error)) => {
                debug!(remote = %self.remote, %error, "TLS handshake failed");
                Err(error)
            }
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// Says goodbye (a TLS close_notify, a TCP FIN) and closes.
    pub async fn close(mut self) {
        let goodbye = async {
            match &mut self.io {
                Io::Plain(io) => io.shutdown().await,
                Io::Local(io) => io.shutdown().await,
                Io::Tls(io) => io.shutdown().await,
                Io::Gone => Ok(()),
            }
        };
        // The peer may be gone or slow; nothing depends on the goodbye.
        let _ = tokio::time::timeout(Duration::from_secs(2), goodbye).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_network_counts_as_one_address() {
        // Guards pitfall SMTP 8: a home has 2^64 addresses of IPv6.
        let places = Places::new(ConnectionLimits {
            total: 10,
            per_address: 2,
            exempt: Vec::new(),
        });
        let take = |address: &str| places.take(address.parse().unwrap());
        let _here = [
            take("2001:db8:0:1::1").unwrap(),
            take("2001:db8:0:1:ffff::2").unwrap(),
        ];
        assert!(take("2001:db8:0:1::3").is_none());
        assert!(take("2001:db8:0:2::1").is_some(), "the neighbour is another");
        let _mapped = [take("::ffff:192.0.2.1").unwrap(), take("192.0.2.1").unwrap()];
        assert!(take("192.0.2.1").is_none());
        assert!(take("192.0.2.2").is_some());
    }

    #[test]
    fn one_address_cannot_take_every_connection() {
        // Guards pitfall SMTP 8: others find room while one address has all that it may have.
        let places = Places::new(ConnectionLimits {
            total: 5,
            per_address: 2,
            exempt: Vec::new(),
        });
        let [greedy, other, third] = [1, 2, 3].map(|n| IpAddr::from([192, 0, 2, n]));
        let first = places.take(greedy).unwrap();
        let _second = places.take(greedy).unwrap();
        assert!(places.take(greedy).is_none());
        let _others = [places.take(other).unwrap(), places.take(other).unwrap()];
        let _last = places.take(third).unwrap();
        assert!(places.take(third).is_none(), "the total is reached");
        drop(first);
        let again = places.take(greedy).expect("one is free again");
        places.set_limits(ConnectionLimits {
            total: 6,
            per_address: 3,
            exempt: Vec::new(),
        });
        assert!(places.take(greedy).is_some(), "there is more room now");
        places.set_limits(ConnectionLimits {
            total: 1,
            per_address: 1,
            exempt: vec![(greedy, 32)],
        });
        drop(again);
        assert!(
            places.take(greedy).is_none(),
            "who is in stays, and no other comes, exempt or not"
        );
        let loopback = (IpAddr::from([127, 0, 0, 0]), 8);
        let places = Places::new(ConnectionLimits {
            total: 3,
            per_address: 1,
            exempt: vec![loopback],
        });
        let local = IpAddr::from([127, 0, 0, 1]);
        let _many = [places.take(local).unwrap(), places.take(local).unwrap()];
        let _one = places.take(other).unwrap();
        assert_eq!((places.refused(), places.taken()), (0, 3));
        assert!(places.take(local).is_none() && places.refused() == 1);
    }

    /// A server with a certificate that it made itself for `mx.test`; sends what it hears back. Its address, and where the
    /// certificate is.
    async fn echo(implicit: bool) -> (SocketAddr, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = crate::tls::self_signed(folder.path(), &["mx.test".to_owned()]).unwrap();
        let tls = Tls::load(&cert, &key).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let places = Places::new(ConnectionLimits::default());
        let service = Service {
            listener,
            places,
            tls,
            implicit,
            full: "",
        };
        tokio::spawn(serve(service, move |mut stream: Stream| async move {
            let is_over = !implicit
                && (stream.recv().await.is_none()
                    || stream.send(b"go").await.is_err()
                    || stream.start_tls().await.is_err());
            if is_over {
                return;
            }
            while let Some(bytes) = stream.recv().await {
                stream.send(&bytes).await.unwrap();
            }
        }));
        (address, folder)
    }

    #[tokio::test]
    async fn another_server_is_spoken_to_under_tls_and_must_prove_its_name_where_that_is_asked() {
        for implicit_tls in [false, true] {
            let (address, folder) = echo(implicit_tls).await;
            let file = folder.path().join("self-signed.crt");
            let authorities = Authorities::load(Some(&file)).unwrap();
            for (name, verified, works) in [
                ("mx.test", true, true),
                ("other.test", true, false),
                ("other.test", false, true),
                ("no name", false, true),
                ("no name", true, false),
            ] {
                let proof = if verified { Proof::Name } else { Proof::Any };
                let to = To {
                    address,
                    name,
                    proof: &proof,
                    implicit_tls,
                };
                let said = async {
                    let mut stream = Stream::connect(to, &authorities).await?;
                    if !implicit_tls {
                        stream.send(b"STARTTLS").await?;
                        assert_eq!(stream.recv().await.as_deref(), Some(&b"go"[..]));
                        stream.start_tls().await?;
                    }
                    assert!(stream.is_tls());
                    stream.send(b"hello").await?;
                    Ok::<_, io::Error>(stream.recv().await)
                };
                let said = said.await.ok().flatten();
                let expected = works.then(|| Bytes::from_static(b"hello"));
                assert_eq!(said, expected, "{name} {verified} {implicit_tls}");
            }
        }
    }
}
