//! What a node asks of the world around it.
//!
//! Everything is object-safe and boxed: a call through a pointer costs nothing beside a system call, and the node stays
//! free of type parameters.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use ringpost_auth::sasl::ChannelBindings;
use ringpost_base::{Instant, Rng, UnixTime};
use ringpost_media::{LegId, PairId, Tapped};
use ringpost_phone::MediaSocket;
use ringpost_sip::Flow;
use ringpost_sip::locate::{Answer, Question, Target};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Clocks, sleep, tasks and randomness.
pub trait World: Send + Sync + 'static {
    /// The monotonic clock.
    fn now(&self) -> Instant;
    /// The calendar.
    fn unix_now(&self) -> UnixTime;
    /// Completes when the monotonic clock has reached `at`.
    fn sleep_until(&self, at: Instant) -> BoxFuture<'static, ()>;
    /// Runs a task beside the others until it ends.
    fn spawn(&self, task: BoxFuture<'static, ()>);
    /// A fresh source of randomness, independent of all others.
    fn rng(&self) -> Rng;
}

/// The world as the node holds it.
pub type WorldRef = Arc<dyn World>;

/// What a stream connection brings.
#[derive(Debug)]
pub enum Received {
    /// Bytes, at least one, at most `limits::CHUNK_BYTES`.
    Data(Bytes),
    /// The peer closed its side, or the connection broke. Nothing comes after it.
    Closed,
}

/// Who is at the other end of a stream connection.
#[derive(Clone, Copy, Debug)]
pub struct Endpoints {
    /// Our address and port.
    pub local: SocketAddr,
    /// The peer's address and port.
    pub remote: SocketAddr,
    /// Whether the bytes are under TLS now.
    pub tls: bool,
}

/// The connection is gone: nothing more can be sent.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the connection to the peer is closed")]
pub struct ConnectionClosed;

/// One stream connection of SMTP, IMAP or POP3, accepted or [dialled](Dialer::dial).
///
/// Dropping it closes the connection; what [`send`](Connection::send) accepted has been handed to the network before.
pub trait Connection: Send + 'static {
    /// The addresses, and whether TLS is on.
    fn endpoints(&self) -> Endpoints;
    /// What SCRAM can be bound to (RFC 5802 §6); empty without TLS.
    fn bindings(&self) -> ChannelBindings {
        ChannelBindings::default()
    }
    /// The next bytes. Dropping the future before it completes loses nothing.
    fn recv(&mut self) -> BoxFuture<'_, Received>;
    /// Sends all of `bytes`, waiting while the peer is slow; a peer that takes nothing for the configured write timeout is
    /// cut off. The future must be run to its end.
    fn send(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<(), ConnectionClosed>>;
    /// Starts TLS, as the server where the connection was accepted, as the client where it was dialled. Whatever was received and not yet handed out by `recv` before is thrown away
    /// (RFC 3207 §4.2, RFC 3501 §6.2.1). The future must be run to its end.
    fn start_tls(&mut self) -> BoxFuture<'_, Result<(), ConnectionClosed>>;
    /// Why TLS could not be started, in words, where that is known.
    fn tls_error(&self) -> Option<String> {
        None
    }
}

/// Where SIP messages leave. What cannot be sent comes back as an [`Arrival`](ringpost_sip::Arrival).
pub trait SipTransport: Send + Sync + 'static {
    /// Sends one message. Never waits.
    fn send(&self, flow: Flow, message: Bytes);
    /// The way to a target that has not come to us: a socket, an open connection, or one that is being opened from now on,
    /// whose failure is an [`Arrival`](ringpost_sip::Arrival) too. Under TLS the peer must prove to be the target's domain
    /// (RFC 5922 §4). The flow's local address is what the target reaches us by. `None` when nothing leads there. Never
    /// waits.
    fn open(&self, target: &Target) -> Option<Flow>;
}

/// A server that takes a domain's mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchanger {
    /// The lowest is preferred.
    pub preference: u16,
    /// Its name, without the dot at its end; empty where the domain takes no mail (RFC 7505).
    pub host: String,
}

/// The servers that take a domain's mail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exchangers {
    /// In any order.
    pub servers: Vec<Exchanger>,
    /// Whether DNSSEC proves them.
    pub proven: bool,
}

/// Why the DNS gave no answer, in words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoAnswer(pub String);

/// What a signed DNS says of a mail server's certificate (RFC 6698 §2.1): usage 2 or 3, and what it is held against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tlsa {
    /// Whose certificate it is: 2 an authority's, 3 the server's own.
    pub usage: u8,
    /// 0 all of it, 1 its public key.
    pub selector: u8,
    /// 0 itself, 1 its SHA-256, 2 its SHA-512.
    pub matching: u8,
    /// That.
    pub data: Vec<u8>,
}

/// The DNS, as far as SIP and SMTP ask it.
pub trait Dns: Send + Sync + 'static {
    /// The servers that take a domain's mail, within a time of a few seconds. None is an answer too.
    fn exchangers(&self, domain: &str) -> BoxFuture<'static, Result<Exchangers, NoAnswer>>;
    /// A name's TXT records, under the same terms as [`look_up`](Dns::look_up).
    fn texts(&self, name: &str) -> BoxFuture<'static, Option<Vec<String>>>;
    /// The proven TLSA records of a mail server that can be used, maybe none that can; `None` when it has none, or nothing is
    /// proven (RFC 7672 §2.2).
    fn tlsa(&self, host: &str) -> BoxFuture<'static, Result<Option<Vec<Tlsa>>, NoAnswer>>;
    /// Looks something up, within a time of a few seconds. No records of that kind are an empty answer; `None` is none.
    fn look_up(&self, question: Question) -> BoxFuture<'static, Option<Answer>>;
}

/// What a server's certificate must prove.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Proof {
    /// Nothing.
    #[default]
    Any,
    /// That it is for the server's name, and vouched for.
    Name,
    /// That it is what these records say; one that an authority of theirs vouches for may name the domain in place of the
    /// server.
    Dane {
        /// At least one.
        records: Vec<Tlsa>,
        /// Where the mail is going.
        domain: String,
    },
}

/// Fetches what other domains publish of their mail servers.
pub trait Policies: Send + Sync + 'static {
    /// The MTA-STS policy's text that the host has, at one of these addresses (RFC 8461 §3.3): a host that proves its name,
    /// within a minute; redirects are not followed. Says what is wrong otherwise.
    fn fetch(&self, host: String, addresses: Vec<IpAddr>) -> BoxFuture<'static, Result<Bytes, String>>;
}

/// Where a connection is to lead, and what is asked of TLS there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dial {
    /// The address and port.
    pub to: SocketAddr,
    /// What the server is called: for TLS.
    pub name: String,
    /// What its certificate must prove.
    pub proof: Proof,
    /// Whether TLS comes first.
    pub implicit_tls: bool,
}

/// Why there is no connection.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct DialError(pub String);

/// Opens connections to other servers.
pub trait Dialer: Send + Sync + 'static {
    /// Opens one. Dropping the future gives up.
    fn dial(&self, dial: Dial) -> BoxFuture<'static, Result<Box<dyn Connection>, DialError>>;
}

/// Where media flow: the media engine and its sockets, wherever they run. What it tells comes by a channel.
pub trait MediaPlane: Send + Sync + 'static {
    /// Opens a pair of sockets, RTP and RTCP, for a peer at that address; `None` when the port range is used up.
    fn open(&self, towards: IpAddr) -> Option<MediaSocket>;
    /// Closes a pair that no leg was made of.
    fn close(&self, pair: PairId);
    /// Hands the engine a command. Never waits.
    fn command(&self, command: ringpost_media::Command);
    /// What two legs receive from now on, as it comes; closed when both are no more. What is not taken in time is lost.
    fn tap(&self, legs: [LegId; 2]) -> async_channel::Receiver<Tapped>;
}
