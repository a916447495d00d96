use crate::{Attribute, Direction, RtpMap};
use std::fmt;
use std::net::IpAddr;

/// One session description (RFC 8866 §5), its lines in typed form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionDescription {
    /// `o=`: who described it, and which version this is.
    pub origin: Origin,
    /// `s=`: never empty; `-` where there is nothing to say.
    pub name: String,
    /// `i=`.
    pub information: Option<String>,
    /// `u=`.
    pub uri: Option<String>,
    /// `e=`, each as it was written.
    pub emails: Vec<String>,
    /// `p=`, each as it was written.
    pub phones: Vec<String>,
    /// `c=` at session level.
    pub connection: Option<Connection>,
    /// `b=` at session level.
    pub bandwidths: Vec<Bandwidth>,
    /// `t=` with its `r=` and `z=`; at least one.
    pub times: Vec<Time>,
    /// `k=`, obsolete, as it was written.
    pub key: Option<String>,
    /// `a=` at session level.
    pub attributes: Vec<Attribute>,
    /// `m=` and what follows each; at most [`ringpost_base::limits::SDP_MEDIA`].
    pub media: Vec<Media>,
}

impl SessionDescription {
    /// A description without media, for a session that has no fixed time (RFC 3264 §5).
    pub fn new(origin: Origin) -> Self {
        SessionDescription {
            origin,
            name: "-".into(),
            information: None,
            uri: None,
            emails: Vec::new(),
            phones: Vec::new(),
            connection: None,
            bandwidths: Vec::new(),
            times: vec![Time::default()],
            key: None,
            attributes: Vec::new(),
            media: Vec::new(),
        }
    }

    /// The connection that counts for `media`: its own first, else the session's.
    pub fn connection_of<'a>(&'a self, media: &'a Media) -> Option<&'a Connection> {
        media.connections.first().or(self.connection.as_ref())
    }

    /// The direction that counts for `media`: its own, else the session's, else both ways.
    pub fn direction_of(&self, media: &Media) -> Direction {
        direction_in(&media.attributes)
            .or_else(|| direction_in(&self.attributes))
            .unwrap_or_default()
    }
}

fn direction_in(attributes: &[Attribute]) -> Option<Direction> {
    attributes.iter().find_map(|attribute| match attribute {
        Attribute::Direction(direction) => Some(*direction),
        _ => None,
    })
}

/// `o=` (RFC 8866 §5.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// No spaces; `-` where there is none.
    pub username: String,
    /// With the username and address it names the session.
    pub session_id: u64,
    /// Grows with each change of the description.
    pub version: u64,
    /// Where the session was described.
    pub address: Address,
}

/// Internet Protocol's version, as `IP4` and `IP6`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// `IP4`
    Ip4,
    /// `IP6`
    Ip6,
}

/// An address of network type `IN`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// A literal.
    Ip(IpAddr),
    /// A domain name, to be resolved in `family`; this crate resolves none.
    Name {
        /// Which addresses of the name are meant.
        family: Family,
        /// The name, as written.
        name: String,
    },
}

impl Address {
    /// The literal, if it is one.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Address::Ip(ip) => Some(*ip),
            Address::Name { .. } => None,
        }
    }

    /// `IP4` or `IP6`.
    pub fn family(&self) -> Family {
        match self {
            Address::Ip(IpAddr::V4(_)) => Family::Ip4,
            Address::Ip(IpAddr::V6(_)) => Family::Ip6,
            Address::Name { family, .. } => *family,
        }
    }

    /// Whether it is 0.0.0.0 or `::`: no address yet, or an old phone's way to say hold (RFC 3264 §8.4).
    pub fn is_unspecified(&self) -> bool {
        self.ip().is_some_and(|ip| ip.is_unspecified())
    }
}

impl From<IpAddr> for Address {
    fn from(ip: IpAddr) -> Self {
        Address::Ip(ip)
    }
}

/// `c=` (RFC 8866 §5.7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The address, or the first of a multicast range.
    pub address: Address,
    /// Of IPv4 multicast only.
    pub ttl: Option<u8>,
    /// How many consecutive multicast addresses; 1 for unicast.
    pub count: u16,
}

impl Connection {
    /// Whether its address is a group's.
    pub fn is_multicast(&self) -> bool {
        self.address.ip().is_some_and(|ip| ip.is_multicast())
    }
}

impl From<IpAddr> for Connection {
    fn from(ip: IpAddr) -> Self {
        Connection {
            address: ip.into(),
            ttl: None,
            count: 1,
        }
    }
}

/// `b=` (RFC 8866 §5.8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bandwidth {
    /// `CT`, `AS`, `TIAS`, `RS`, `RR` …
    pub kind: String,
    /// In the kind's unit: kbit/s for CT and AS, bit/s for TIAS (RFC 3890), RS and RR (RFC 3556).
    pub value: u64,
}

/// `t=` with its `r=` and `z=` lines (RFC 8866 §5.9–5.11). The default, zero and zero, is a session without limits.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Time {
    /// Seconds since 1900; 0 for always.
    pub start_s: u64,
    /// Seconds since 1900; 0 for never.
    pub stop_s: u64,
    /// `r=` lines.
    pub repeats: Vec<Repeat>,
    /// The `z=` line; only with a repeat.
    pub zones: Vec<ZoneAdjustment>,
}

/// `r=` (RFC 8866 §5.10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repeat {
    /// From one repetition to the next.
    pub interval_s: u64,
    /// How long each is.
    pub duration_s: u64,
    /// When each begins after the start time; at least one.
    pub offsets_s: Vec<u64>,
}

/// One pair of a `z=` line (RFC 8866 §5.11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZoneAdjustment {
    /// When it begins, in seconds since 1900.
    pub at_s: u64,
    /// What is added to the repeat's base from then on.
    pub offset_s: i64,
}

/// The first word of `m=`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum MediaKind {
    /// `audio`
    Audio,
    /// `video`
    Video,
    /// `text`
    Text,
    /// `application`
    Application,
    /// `message`
    Message,
    /// `image`
    Image,
    /// Any other token.
    Other(String),
}

impl MediaKind {
    pub(crate) fn from_name(name: &str) -> Self {
        let known = [
            MediaKind::Audio,
            MediaKind::Video,
            MediaKind::Text,
            MediaKind::Application,
            MediaKind::Message,
            MediaKind::Image,
        ];
        known
            .into_iter()
            .find(|kind| kind.name().eq_ignore_ascii_case(name))
            .unwrap_or_else(|| MediaKind::Other(name.into()))
    }

    /// The word.
    pub fn name(&self) -> &str {
        match self {
            MediaKind::Audio => "audio",
            MediaKind::Video => "video",
            MediaKind::Text => "text",
            MediaKind::Application => "application",
            MediaKind::Message => "message",
            MediaKind::Image => "image",
            MediaKind::Other(name) => name,
        }
    }
}

impl fmt::Display for MediaKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One media description: `m=` and the lines up to the next (RFC 8866 §5.14).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media {
    /// Audio, video …
    pub kind: MediaKind,
    /// Where the describing party receives; 0 is a stream that is refused or removed (RFC 3264 §6).
    pub port: u16,
    /// Consecutive port pairs of a layered stream; 1 otherwise.
    pub port_count: u16,
    /// `RTP/AVP`, `RTP/SAVPF` …
    pub protocol: String,
    /// Payload type numbers for RTP, in order of preference; at least one, and at most
    /// [`ringpost_base::limits::SDP_FORMATS`].
    pub formats: Vec<String>,
    /// `i=`: a label for people.
    pub information: Option<String>,
    /// `c=`; several only for layered multicast.
    pub connections: Vec<Connection>,
    /// `b=`.
    pub bandwidths: Vec<Bandwidth>,
    /// `k=`, obsolete.
    pub key: Option<String>,
    /// `a=`.
    pub attributes: Vec<Attribute>,
}

impl Media {
    /// A bare `m=` line.
    pub fn new(kind: MediaKind, port: u16, protocol: &str, formats: Vec<String>) -> Self {
        Media {
            kind,
            port,
            port_count: 1,
            protocol: protocol.into(),
            formats,
            information: None,
            connections: Vec::new(),
            bandwidths: Vec::new(),
            key: None,
            attributes: Vec::new(),
        }
    }

    /// The line that refuses or removes this stream: its first format, port 0, nothing else (RFC 3264 §6, §8.2).
    pub fn refused(&self) -> Media {
        Media::new(
            self.kind.clone(),
            0,
            &self.protocol,
            self.formats.iter().take(1).cloned().collect(),
        )
    }

    /// The `a=rtpmap` of a payload type.
    pub fn rtpmap(&self, payload_type: u8) -> Option<&RtpMap> {
        self.attributes.iter().find_map(|attribute| match attribute {
            Attribute::RtpMap(map) if map.payload_type == payload_type => Some(map),
            _ => None,
        })
    }

    /// The parameters of the `a=fmtp` of a format.
    pub fn fmtp(&self, wanted: &str) -> Option<&str> {
        self.attributes.iter().find_map(|attribute| match attribute {
            Attribute::Fmtp { format, parameters } if format == wanted => Some(parameters.as_str()),
            _ => None,
        })
    }

    /// `a=ptime` in milliseconds, rounded.
    pub fn ptime_ms(&self) -> Option<u32> {
        self.attributes.iter().find_map(|attribute| match attribute {
            Attribute::Ptime { us } => Some(us.saturating_add(500) / 1000),
            _ => None,
        })
    }

    /// `a=maxptime` in milliseconds, rounded.
    pub fn maxptime_ms(&self) -> Option<u32> {
        self.attributes.iter().find_map(|attribute| match attribute {
            Attribute::MaxPtime { us } => Some(us.saturating_add(500) / 1000),
            _ => None,
        })
    }

    /// Whether `a=rtcp-mux` is there (RFC 5761 §5.1.1).
    pub fn rtcp_mux(&self) -> bool {
        self.attributes.contains(&Attribute::RtcpMux)
    }
}
