//! What a client tells its owner.

use crate::header::{LowerTransport, Range, RtpInfo, Transport};
use crate::message::Request;
use crate::method::Method;
use crate::status::Status;
use crate::url::Url;
use bytes::Bytes;
use ringpost_base::Instant;
use std::fmt;
use thiserror::Error;

/// Names a request within its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// A name and its password, which is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// Who.
    pub user: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// What devices do against the RFC, each of which a client takes or refuses by its policy.
// Guards pitfall RTSP 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Quirk {
    /// A response without a CSeq: it is taken for that of the oldest request that waits.
    NoCSeq,
    /// A response with a CSeq that no request has: the same.
    OtherCSeq,
    /// Octets between messages that belong to none: they are passed over.
    StrayOctets,
    /// A description with several streams of which one has no control attribute, or one that is no URL: it gets the
    /// presentation's.
    NoControl,
    /// No timeout in the Session field: 60 s, as the RFC says for servers that mean it.
    NoSessionTimeout,
    /// A response to a further SETUP with another session's identifier, or without any: the first goes on.
    OtherSession,
    /// A response to SETUP without a Transport field, or with one that cannot be read: it goes as it was asked for.
    NoTransport,
    /// Other channels than were asked for: those that the server names are taken.
    OtherChannels,
    /// RTP-Info that names no stream of the description: its elements count in their order.
    OtherUrls,
    /// A request that keeps the session alive is not answered, while media comes.
    UnansweredKeepalive,
}

impl Quirk {
    /// All of them, which is what a client takes unless it is told otherwise.
    pub const ALL: [Quirk; 10] = [
        Quirk::NoCSeq,
        Quirk::OtherCSeq,
        Quirk::StrayOctets,
        Quirk::NoControl,
        Quirk::NoSessionTimeout,
        Quirk::OtherSession,
        Quirk::NoTransport,
        Quirk::OtherChannels,
        Quirk::OtherUrls,
        Quirk::UnansweredKeepalive,
    ];
}

/// How a stream may go, for SETUP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// Over UDP to these ports of ours: this for RTP, the next for RTCP.
    Udp {
        /// An even one by custom.
        rtp_port: u16,
    },
    /// Within the connection.
    Interleaved,
    /// To a group that the server names.
    Multicast,
}

impl Offer {
    pub(super) fn lower(self) -> LowerTransport {
        match self {
            Offer::Interleaved => LowerTransport::Tcp,
            Offer::Udp { .. } | Offer::Multicast => LowerTransport::Udp,
        }
    }
}

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Failure {
    /// The server refused it.
    #[error("the server answered {status}")]
    Refused {
        /// With this status.
        status: Status,
    },
    /// It asks who we are, and we cannot say, or it does not believe us.
    #[error("the server wants credentials that it takes")]
    Unauthorized,
    /// None of the transports that were offered.
    #[error("the server takes none of the transports that were offered")]
    NoTransport,
    /// It sends us elsewhere, and what was begun here cannot go on there.
    #[error("the server sends us to {0}")]
    Redirected(Url),
    /// It sends us round in circles, nowhere, or from TLS into the clear.
    #[error("the server redirects to where we do not go")]
    BadRedirect,
    /// There was no answer in time.
    #[error("the server did not answer in time")]
    TimedOut,
    /// The connection ended before the answer.
    #[error("the connection ended before the answer")]
    Closed,
    /// It needs a session, or a stream that there is not.
    #[error("there is no such session or stream")]
    NoStream,
    /// The answer cannot be understood.
    #[error("expected {0} in the server's answer")]
    Unreadable(&'static str),
}

/// What a presentation is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// The URL of the presentation as a whole.
    pub aggregate: Url,
    /// The URLs of its streams, in the order of the m-lines.
    pub tracks: Vec<Url>,
    /// The session description.
    pub description: Bytes,
}

/// What will be played.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Playing {
    /// Which part.
    pub range: Option<Range>,
    /// How fast.
    pub scale: Option<f64>,
    /// How fast data is delivered.
    pub speed: Option<f64>,
    /// What the streams begin with, each with its place.
    pub begins: Vec<(usize, RtpInfo)>,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// OPTIONS: what the server can do; empty where it does not say.
    Options(Vec<Method>),
    /// DESCRIBE.
    Described(Box<Described>),
    /// ANNOUNCE.
    Announced,
    /// SETUP.
    SetUp {
        /// Which stream.
        track: usize,
        /// How it goes.
        transport: Box<Transport>,
    },
    /// PLAY.
    Playing(Box<Playing>),
    /// PAUSE.
    Paused {
        /// Where.
        range: Option<Range>,
    },
    /// RECORD.
    Recording,
    /// TEARDOWN.
    TornDown,
    /// GET_PARAMETER: `name: value`, one a line.
    Parameters(Bytes),
    /// SET_PARAMETER.
    ParametersSet,
    /// None of it.
    Failed(Failure),
}

/// What a client wants done.
#[derive(Clone, Debug)]
pub enum Output {
    /// Send these bytes, which are one whole message.
    Transmit(Bytes),
    /// Something for the owner.
    Event(Event),
    /// Nothing more, until something is handled or this time comes.
    Timeout(Option<Instant>),
}

/// What the owner has to see to.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Connect to this server in place of the one there is, if that may be; then
    /// [`handle_connected`](super::Client::handle_connected), or [`handle_closed`](super::Client::handle_closed).
    // Guards pitfall RTSP 10: whether it may be is asked anew after each redirect.
    Connect(Url),
    /// A request is done.
    Done {
        /// Which.
        request: RequestId,
        /// What became of it.
        outcome: Outcome,
    },
    /// A packet came within the connection.
    Media {
        /// For which stream.
        track: usize,
        /// Whether it is RTCP.
        is_rtcp: bool,
        /// The packet.
        data: Bytes,
    },
    /// The server does something against the RFC; told once.
    Quirk(Quirk),
    /// The server has told something: ANNOUNCE, SET_PARAMETER. It has been answered with 200.
    Told(Box<Request>),
    /// What was asked for is elsewhere, and is asked for there: a response with 3xx. [`Event::Connect`] follows where that is
    /// another server.
    Moved {
        /// Where.
        url: Url,
        /// Whether for good (301): the next time may begin there.
        is_permanent: bool,
    },
    /// The server wants us elsewhere: REDIRECT (RFC 2326 §10.10).
    Redirected {
        /// Where.
        url: Url,
        /// From when on.
        range: Option<Range>,
    },
    /// The server knows the session no longer.
    SessionLost,
    /// Close the connection. Nothing follows but that commands which come later have failed.
    Closed(Failure),
}
