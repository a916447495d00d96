use crate::{Address, Attribute, Codec, Connection, Direction, Media, MediaKind, SessionDescription};
use std::net::{IpAddr, SocketAddr};

/// What we say of one stream of ours, in an offer or as what we are able to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// Audio, video …
    pub kind: MediaKind,
    /// Where we receive RTP.
    pub local: SocketAddr,
    /// Where we receive RTCP, on the same address; `None` for one port above RTP.
    pub rtcp_port: Option<u16>,
    /// Whether we can receive both on one port (RFC 5761).
    pub rtcp_mux: bool,
    /// `RTP/AVP` …; an offered `RTP/AVPF` is answered by a stream of `RTP/AVP` too, since feedback is never obligatory.
    pub protocol: String,
    /// In order of preference.
    pub codecs: Vec<Codec>,
    /// The packet length that we wish to receive.
    pub ptime_ms: Option<u32>,
    /// What we want to do.
    pub direction: Direction,
    /// Further attributes, printed after ours.
    pub attributes: Vec<Attribute>,
}

impl Stream {
    /// Audio over plain RTP, both ways, in packets of 20 ms.
    pub fn audio(local: SocketAddr, codecs: Vec<Codec>) -> Self {
        Stream {
            kind: MediaKind::Audio,
            local,
            rtcp_port: None,
            rtcp_mux: false,
            protocol: "RTP/AVP".into(),
            codecs,
            ptime_ms: Some(20),
            direction: Direction::SendRecv,
            attributes: Vec::new(),
        }
    }

    /// The same in another direction: [`Direction::SendOnly`] puts the peer on hold.
    pub fn directed(self, direction: Direction) -> Self {
        Stream { direction, ..self }
    }

    pub(crate) fn answers(&self, remote: &RemoteStream) -> bool {
        let protocol = &remote.protocol;
        self.kind == remote.kind
            && (self.protocol.eq_ignore_ascii_case(protocol)
                || (self.protocol == "RTP/AVP" && protocol.eq_ignore_ascii_case("RTP/AVPF")))
    }

    /// Our m-line, with its `c=` where the session's is another.
    pub(crate) fn describe(&self, session_address: Option<IpAddr>) -> Media {
        let formats = self
            .codecs
            .iter()
            .map(|codec| codec.payload_type.to_string())
            .collect();
        let mut media = Media::new(self.kind.clone(), self.local.port(), &self.protocol, formats);
        if session_address != Some(self.local.ip()) {
            media.connections.push(Connection::from(self.local.ip()));
        }
        for codec in &self.codecs {
            media.attributes.push(Attribute::RtpMap(codec.rtpmap()));
            if let Some(parameters) = &codec.fmtp {
                let format = codec.payload_type.to_string();
                media.attributes.push(Attribute::Fmtp {
                    format,
                    parameters: parameters.clone(),
                });
            }
        }
        if let Some(ms) = self.ptime_ms {
            media.attributes.push(Attribute::Ptime {
                us: ms.saturating_mul(1000),
            });
        }
        media.attributes.push(Attribute::Direction(self.direction));
        if let Some(port) = self.rtcp_port {
            media.attributes.push(Attribute::Rtcp { port, address: None });
        }
        if self.rtcp_mux {
            media.attributes.push(Attribute::RtcpMux);
        }
        media.attributes.extend(self.attributes.iter().cloned());
        media
    }
}

/// What a peer says of one stream of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteStream {
    /// Audio, video …
    pub kind: MediaKind,
    /// `RTP/AVP` …
    pub protocol: String,
    /// Whether its port is 0: refused or removed.
    pub refused: bool,
    /// Where it receives RTP; `None` when it gave a domain name, no address, or 0.0.0.0.
    pub rtp: Option<SocketAddr>,
    /// Where it receives RTCP when it is not multiplexed; `None` as for `rtp`.
    pub rtcp: Option<SocketAddr>,
    /// Whether it can receive both on one port.
    pub rtcp_mux: bool,
    /// Whether the address is a group's.
    pub multicast: bool,
    /// Its formats in its order and with its numbers; those that nothing maps to a codec are left out.
    pub codecs: Vec<Codec>,
    /// What the peer does; with an address of 0.0.0.0 it receives nothing, whatever its attribute says.
    pub direction: Direction,
    /// The packet length that it wishes to receive.
    pub ptime_ms: Option<u32>,
    /// The longest packet that it takes.
    pub maxptime_ms: Option<u32>,
}

impl RemoteStream {
    /// The streams of a description, one for each m-line.
    pub fn all(description: &SessionDescription) -> Vec<RemoteStream> {
        description
            .media
            .iter()
            .map(|media| RemoteStream::new(description, media, &[]))
            .collect()
    }

    /// Whether the peer wants to hear nothing of us now: `sendonly`, `inactive` or 0.0.0.0 (RFC 3264 §8.4).
    pub fn holds(&self) -> bool {
        !self.direction.receives()
    }

    /// `known` says what a number without a mapping stands for: in an answer, what our offer said.
    pub(crate) fn new(description: &SessionDescription, media: &Media, known: &[Codec]) -> RemoteStream {
        let connection = description.connection_of(media);
        let usable = connection
            .and_then(|c| c.address.ip())
            .filter(|ip| !ip.is_unspecified());
        let rtp = usable
            .filter(|_| media.port != 0)
            .map(|ip| SocketAddr::new(ip, media.port));
        let mut direction = description.direction_of(media);
        //= https://www.rfc-editor.org/rfc/rfc3264#section-8.4
        if connection.is_some_and(|c| c.address.is_unspecified()) {
            direction = direction.and(Direction::SendOnly);
        }
        RemoteStream {
            kind: media.kind.clone(),
            protocol: media.protocol.clone(),
            refused: media.port == 0,
            rtp,
            rtcp: rtp.and_then(|rtp| rtcp_address(media, rtp)),
            rtcp_mux: media.rtcp_mux(),
            multicast: connection.is_some_and(Connection::is_multicast),
            codecs: codecs(media, known),
            direction,
            ptime_ms: media.ptime_ms().filter(|ms| *ms > 0),
            maxptime_ms: media.maxptime_ms().filter(|ms| *ms > 0),
        }
    }

    /// What of ours this stream has too: in its order, with its numbers, with our parameters. Empty when nothing of it can
    /// carry media, since events and noise alone do not count.
    pub(crate) fn in_common(&self, ours: &[Codec]) -> Vec<Codec> {
        let shared = |theirs: &Codec| ours.iter().find(|codec| codec.same_encoding(theirs));
        let media_of_clock = |clock_rate_hz| {
            let same_clock = |codec: &&Codec| codec.is_media() && codec.clock_rate_hz == clock_rate_hz;
            self.codecs
                .iter()
                .filter(same_clock)
                .any(|theirs| shared(theirs).is_some())
        };
        let mut common: Vec<Codec> = Vec::new();
        for theirs in &self.codecs {
            // Events and noise share the clock of the media, and come once a clock (RFC 4733 §2.1).
            let fits = theirs.is_media() || media_of_clock(theirs.clock_rate_hz);
            let twice = common.iter().any(|codec| codec.same_encoding(theirs));
            if let (Some(our), true, false) = (shared(theirs), fits, twice) {
                common.push(Codec {
                    fmtp: our.fmtp.clone(),
                    ..theirs.clone()
                });
            }
        }
        common
    }
}

fn rtcp_address(media: &Media, rtp: SocketAddr) -> Option<SocketAddr> {
    let told = media.attributes.iter().find_map(|attribute| match attribute {
        Attribute::Rtcp { port, address } if *port != 0 => Some((*port, address)),
        _ => None,
    });
    let (port, address) = match told {
        Some((port, address)) => (port, address.as_ref()),
        None => (rtp.port().checked_add(1)?, None),
    };
    let ip = address
        .and_then(Address::ip)
        .filter(|ip| !ip.is_unspecified())
        .unwrap_or(rtp.ip());
    Some(SocketAddr::new(ip, port))
}

fn codecs(media: &Media, known: &[Codec]) -> Vec<Codec> {
    let numbers = media
        .formats
        .iter()
        .filter_map(|format| format.parse::<u8>().ok().filter(|n| *n < 128));
    numbers
        .filter_map(|number| {
            let codec = match media.rtpmap(number) {
                Some(map) => Codec {
                    channels: map.channels,
                    ..Codec::new(number, map.encoding.clone(), map.clock_rate_hz)
                },
                None => known
                    .iter()
                    .find(|codec| codec.payload_type == number)
                    .map(|codec| Codec {
                        fmtp: None,
                        ..codec.clone()
                    })
                    .or_else(|| Codec::of_static(number))?,
            };
            Some(Codec {
                fmtp: media.fmtp(&number.to_string()).map(Into::into),
                ..codec
            })
        })
        .collect()
}
