use crate::message::{Message, ParseError};
use std::fmt;
use std::net::SocketAddr;

/// What carries SIP messages (RFC 3261 §18, RFC 5630 for TLS).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Transport {
    /// Datagrams: a message each, lost at times.
    Udp,
    /// A stream, framed by Content-Length.
    Tcp,
    /// A stream under TLS.
    Tls,
}

impl Transport {
    /// The name in a Via header: `UDP`, `TCP` or `TLS`.
    pub const fn via_name(self) -> &'static str {
        match self {
            Transport::Udp => "UDP",
            Transport::Tcp => "TCP",
            Transport::Tls => "TLS",
        }
    }

    /// Whether the transport itself delivers what it took (RFC 3261 §17: no retransmissions over it).
    pub const fn is_reliable(self) -> bool {
        !matches!(self, Transport::Udp)
    }

    /// The port when none is named: 5060, 5061 for TLS (RFC 3261 §19.1.2).
    pub const fn default_port(self) -> u16 {
        match self {
            Transport::Udp | Transport::Tcp => 5060,
            Transport::Tls => 5061,
        }
    }
}

/// Where a message came from, or is to go: a pair of addresses, and for streams the connection between them.
///
/// A request answered, or sent to a registered phone, goes over the flow that it came by (RFC 3581 §4, RFC 5626 §5.3). A
/// flow without a connection, on a stream transport, asks for a connection to `remote` to be found or opened.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Flow {
    /// What carries it.
    pub transport: Transport,
    /// Our address: the socket that received and must send.
    pub local: SocketAddr,
    /// The peer's address.
    pub remote: SocketAddr,
    /// The stream connection, numbered by whoever owns the sockets; `None` on UDP. Numbers are never used twice.
    pub connection: Option<u64>,
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.transport.via_name(), self.remote)
    }
}

/// What the sockets bring to whoever runs the machines. Here, so that the owner of the sockets and the owner of the
/// machines need not know each other.
#[derive(Debug)]
pub enum Arrival {
    /// One message, or what was wrong with it; framing that is lost closes a stream instead.
    Message {
        /// Where it came from, and where an answer goes.
        flow: Flow,
        /// The message, or why it is none.
        message: Result<Message, ParseError>,
    },
    /// A stream ended, from either side.
    Closed {
        /// The flow that is no more.
        flow: Flow,
    },
    /// Something that was to be sent could not be.
    Failed {
        /// Where it should have gone.
        flow: Flow,
    },
}
