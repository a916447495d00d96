use crate::parse::{address, digits};
use crate::print::Clean;
use crate::{Address, Direction};
use std::fmt;

/// One `a=` line: typed where somebody here acts on it, as it was written otherwise.
///
/// A typed attribute whose value does not follow its grammar is kept as [`Attribute::Other`], that is, it is not
/// understood and has no effect (RFC 8866 §5.13 wants unknown attributes ignored); it is printed back as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Attribute {
    /// `rtpmap` (RFC 8866 §6.6).
    RtpMap(RtpMap),
    /// `fmtp` (RFC 8866 §6.15).
    Fmtp {
        /// The format of the m-line it speaks of.
        format: String,
        /// In the format's own syntax.
        parameters: String,
    },
    /// `ptime` (RFC 8866 §6.4): the packet length that the describing party wishes to receive.
    Ptime {
        /// In microseconds; the line has milliseconds with a fraction. Not zero.
        us: u32,
    },
    /// `maxptime` (RFC 8866 §6.5).
    MaxPtime {
        /// In microseconds; not zero.
        us: u32,
    },
    /// `sendrecv`, `sendonly`, `recvonly`, `inactive` (RFC 8866 §6.7).
    Direction(Direction),
    /// `rtcp` (RFC 3605 §2.1): where RTCP is received, if not one port above RTP.
    Rtcp {
        /// The port.
        port: u16,
        /// The address, if not that of RTP.
        address: Option<Address>,
    },
    /// `rtcp-mux` (RFC 5761 §5.1.1).
    RtcpMux,
    /// `ssrc` (RFC 5576 §4.1).
    Ssrc {
        /// The source.
        id: u32,
        /// What is said of it, for instance `cname`.
        name: String,
        /// What it is.
        value: Option<String>,
    },
    /// `mid` (RFC 5888 §4).
    Mid(String),
    /// `group` (RFC 5888 §5).
    Group {
        /// `BUNDLE`, `LS` …
        semantics: String,
        /// The streams grouped.
        mids: Vec<String>,
    },
    /// `crypto` (RFC 4568 §4).
    Crypto(Crypto),
    /// `fingerprint` (RFC 8122 §5).
    Fingerprint {
        /// `sha-256` …, in lower case.
        hash: String,
        /// The digest's bytes.
        digest: Vec<u8>,
    },
    /// `setup` (RFC 4145 §4).
    Setup(Setup),
    /// `ice-ufrag` (RFC 8839 §5.4).
    IceUfrag(String),
    /// `ice-pwd` (RFC 8839 §5.4).
    IcePwd(String),
    /// `ice-options` (RFC 8839 §5.6).
    IceOptions(Vec<String>),
    /// `ice-lite` (RFC 8839 §5.3).
    IceLite,
    /// `candidate` (RFC 8839 §5.1).
    Candidate(Candidate),
    /// Any other, as it was written.
    Other {
        /// A token.
        name: String,
        /// What follows the colon, if there is one.
        value: Option<String>,
    },
}

/// The value of `rtpmap`: what a payload type number stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RtpMap {
    /// 0 to 127.
    pub payload_type: u8,
    /// The encoding's name; compare without case (RFC 4855 §3).
    pub encoding: String,
    /// The RTP clock.
    pub clock_rate_hz: u32,
    /// For audio the number of channels; 1 where the line says nothing.
    pub channels: u8,
}

/// The value of `crypto`: one choice of SRTP suite and keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crypto {
    /// What the answer names its choice by.
    pub tag: u32,
    /// `AES_CM_128_HMAC_SHA1_80` …
    pub suite: String,
    /// `inline:…`, several separated by `;`.
    pub key_parameters: String,
    /// Such as `UNENCRYPTED_SRTCP` or `KDR=…`.
    pub session_parameters: Vec<String>,
}

/// The value of `setup`: who opens the DTLS or TCP connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setup {
    /// `active`
    Active,
    /// `passive`
    Passive,
    /// `actpass`
    ActPass,
    /// `holdconn`
    HoldConn,
}

impl Setup {
    const ALL: [(Setup, &str); 4] = [
        (Setup::Active, "active"),
        (Setup::Passive, "passive"),
        (Setup::ActPass, "actpass"),
        (Setup::HoldConn, "holdconn"),
    ];

    fn name(self) -> &'static str {
        Setup::ALL
            .iter()
            .find(|(setup, _)| *setup == self)
            .map_or("actpass", |(_, name)| name)
    }
}

/// The value of `candidate`: one address that ICE may try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Equal for candidates of the same kind and base.
    pub foundation: String,
    /// 1 for RTP, 2 for RTCP.
    pub component: u16,
    /// `UDP` or `TCP`; compare without case.
    pub transport: String,
    /// The larger is tried first.
    pub priority: u32,
    /// An IP literal or a name (mDNS).
    pub address: String,
    /// Its port.
    pub port: u16,
    /// `host`, `srflx`, `prflx`, `relay`.
    pub kind: String,
    /// `raddr` and `rport`: where it was derived from.
    pub related: Option<(String, u16)>,
    /// What follows, in pairs.
    pub extensions: Vec<(String, String)>,
}

impl Attribute {
    /// From the text after `a=`.
    pub(crate) fn parse(text: &str) -> Attribute {
        let (name, value) = match text.split_once(':') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        // Some phones put a space after the colon, or at the line's end.
        let typed = match value {
            None => Self::flag(name.trim()),
            Some(value) => Self::valued(name, value.trim()),
        };
        typed.unwrap_or_else(|| Attribute::Other {
            name: name.into(),
            value: value.map(Into::into),
        })
    }

    fn flag(name: &str) -> Option<Attribute> {
        match name {
            "rtcp-mux" => Some(Attribute::RtcpMux),
            "ice-lite" => Some(Attribute::IceLite),
            _ => Direction::from_name(name).map(Attribute::Direction),
        }
    }

    fn valued(name: &str, value: &str) -> Option<Attribute> {
        match name {
            "rtpmap" => RtpMap::parse(value).map(Attribute::RtpMap),
            "fmtp" => {
                let (format, parameters) = value.split_once(' ')?;
                let parameters = parameters.trim_start();
                (!format.is_empty() && !parameters.is_empty()).then(|| Attribute::Fmtp {
                    format: format.into(),
                    parameters: parameters.into(),
                })
            }
            "ptime" => millis(value).map(|us| Attribute::Ptime { us }),
            "maxptime" => millis(value).map(|us| Attribute::MaxPtime { us }),
            "rtcp" => rtcp(value),
            "ssrc" => ssrc(value),
            "mid" => one_word(value).map(Attribute::Mid),
            "group" => {
                let mut words = value.split_ascii_whitespace().map(String::from);
                Some(Attribute::Group {
                    semantics: words.next()?,
                    mids: words.collect(),
                })
            }
            "crypto" => Crypto::parse(value).map(Attribute::Crypto),
            "fingerprint" => fingerprint(value),
            "setup" => Setup::ALL
                .iter()
                .find(|(_, name)| name.eq_ignore_ascii_case(value))
                .map(|(setup, _)| Attribute::Setup(*setup)),
            "ice-ufrag" => one_word(value).map(Attribute::IceUfrag),
            "ice-pwd" => one_word(value).map(Attribute::IcePwd),
            "ice-options" => {
                let options: Vec<_> = value.split_ascii_whitespace().map(String::from).collect();
                (!options.is_empty()).then_some(Attribute::IceOptions(options))
            }
            "candidate" => Candidate::parse(value).map(Attribute::Candidate),
            _ => None,
        }
    }
}

impl RtpMap {
    fn parse(value: &str) -> Option<RtpMap> {
        let (payload_type, encoding) = value.split_once(' ')?;
        let mut parts = encoding.trim().split('/');
        let name = one_word(parts.next()?)?;
        // A few gateways leave the clock out where it is the telephone's.
        let clock_rate_hz = parts.next().map_or(Some(8000), digits)?;
        let channels = parts.next().map_or(Some(1), digits)?;
        let payload_type = digits::<u8>(payload_type).filter(|number| *number < 128)?;
        (clock_rate_hz > 0 && channels > 0 && parts.next().is_none()).then_some(RtpMap {
            payload_type,
            encoding: name,
            clock_rate_hz,
            channels,
        })
    }
}

impl Crypto {
    fn parse(value: &str) -> Option<Crypto> {
        let mut words = value.split_ascii_whitespace();
        Some(Crypto {
            tag: digits(words.next()?)?,
            suite: words.next()?.into(),
            key_parameters: words.next()?.into(),
            session_parameters: words.map(Into::into).collect(),
        })
    }
}

impl Candidate {
    fn parse(value: &str) -> Option<Candidate> {
        let mut words = value.split_ascii_whitespace();
        let mut candidate = Candidate {
            foundation: words.next()?.into(),
            component: digits(words.next()?)?,
            transport: words.next()?.into(),
            priority: digits(words.next()?)?,
            address: words.next()?.into(),
            port: digits(words.next()?)?,
            kind: {
                words.next().filter(|word| *word == "typ")?;
                words.next()?.into()
            },
            related: None,
            extensions: Vec::new(),
        };
        let mut related_address = None;
        while let Some(name) = words.next() {
            let value = words.next()?;
            match (name, related_address) {
                ("raddr", None) if candidate.related.is_none() && candidate.extensions.is_empty() => {
                    related_address = Some(value);
                }
                ("rport", Some(address)) => {
                    candidate.related = Some((address.into(), digits(value)?));
                    related_address = None;
                }
                (_, Some(_)) => return None,
                (_, None) => candidate.extensions.push((name.into(), value.into())),
            }
        }
        related_address.is_none().then_some(candidate)
    }
}

fn one_word(value: &str) -> Option<String> {
    (!value.is_empty() && !value.contains(char::is_whitespace)).then(|| value.into())
}

/// Milliseconds with an optional fraction, in microseconds; neither zero nor over an hour.
fn millis(value: &str) -> Option<u32> {
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    if fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let us = format!("{fraction:0<3}").get(..3)?.parse::<u32>().ok()?;
    let us = digits::<u32>(whole)?.checked_mul(1000)?.checked_add(us)?;
    (us > 0 && us <= 3_600_000_000).then_some(us)
}

//= https://www.rfc-editor.org/rfc/rfc3605#section-2.1
fn rtcp(value: &str) -> Option<Attribute> {
    let (port, rest) = value.split_once(' ').unwrap_or((value, ""));
    let address = match rest.trim() {
        "" => None,
        rest => Some(address(rest)?),
    };
    Some(Attribute::Rtcp {
        port: digits(port)?,
        address,
    })
}

fn ssrc(value: &str) -> Option<Attribute> {
    let (id, rest) = value.split_once(' ')?;
    let (name, value) = match rest.split_once(':') {
        Some((name, value)) => (name, Some(value.into())),
        None => (rest, None),
    };
    Some(Attribute::Ssrc {
        id: digits(id)?,
        name: one_word(name)?,
        value,
    })
}

fn fingerprint(value: &str) -> Option<Attribute> {
    let (hash, digest) = value.split_once(' ')?;
    let byte = |hex: &str| {
        (hex.len() == 2)
            .then(|| u8::from_str_radix(hex, 16).ok())
            .flatten()
    };
    let digest = digest.trim().split(':').map(byte).collect::<Option<Vec<u8>>>()?;
    Some(Attribute::Fingerprint {
        hash: one_word(hash)?.to_ascii_lowercase(),
        digest,
    })
}

/// The text after `a=`.
impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Attribute::RtpMap(map) => map.fmt(f),
            Attribute::Fmtp { format, parameters } => {
                write!(f, "fmtp:{} {}", Clean(format), Clean(parameters))
            }
            Attribute::Ptime { us } => write_millis(f, "ptime", *us),
            Attribute::MaxPtime { us } => write_millis(f, "maxptime", *us),
            Attribute::Direction(direction) => f.write_str(direction.name()),
            Attribute::Rtcp { port, address: None } => write!(f, "rtcp:{port}"),
            Attribute::Rtcp {
                port,
                address: Some(address),
            } => write!(f, "rtcp:{port} {address}"),
            Attribute::RtcpMux => f.write_str("rtcp-mux"),
            Attribute::Ssrc {
                id,
                name,
                value: None,
            } => write!(f, "ssrc:{id} {}", Clean(name)),
            Attribute::Ssrc {
                id,
                name,
                value: Some(value),
            } => {
                write!(f, "ssrc:{id} {}:{}", Clean(name), Clean(value))
            }
            Attribute::Mid(mid) => write!(f, "mid:{}", Clean(mid)),
            Attribute::Group { semantics, mids } => {
                write!(f, "group:{}", Clean(semantics))?;
                mids.iter().try_for_each(|mid| write!(f, " {}", Clean(mid)))
            }
            Attribute::Crypto(crypto) => crypto.fmt(f),
            Attribute::Fingerprint { hash, digest } => {
                write!(f, "fingerprint:{}", Clean(hash))?;
                let separators = std::iter::once(' ').chain(std::iter::repeat(':'));
                digest
                    .iter()
                    .zip(separators)
                    .try_for_each(|(byte, between)| write!(f, "{between}{byte:02X}"))
            }
            Attribute::Setup(setup) => write!(f, "setup:{}", setup.name()),
            Attribute::IceUfrag(ufrag) => write!(f, "ice-ufrag:{}", Clean(ufrag)),
            Attribute::IcePwd(pwd) => write!(f, "ice-pwd:{}", Clean(pwd)),
            Attribute::IceOptions(options) => write!(f, "ice-options:{}", Clean(&options.join(" "))),
            Attribute::IceLite => f.write_str("ice-lite"),
            Attribute::Candidate(candidate) => candidate.fmt(f),
            Attribute::Other { name, value: None } => Clean(name).fmt(f),
            Attribute::Other {
                name,
                value: Some(value),
            } => write!(f, "{}:{}", Clean(name), Clean(value)),
        }
    }
}

impl fmt::Display for RtpMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RtpMap {
            payload_type,
            encoding,
            clock_rate_hz,
            channels,
        } = self;
        write!(f, "rtpmap:{payload_type} {}/{clock_rate_hz}", Clean(encoding))?;
        if *channels != 1 {
            write!(f, "/{channels}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Crypto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "crypto:{} {} {}",
            self.tag,
            Clean(&self.suite),
            Clean(&self.key_parameters)
        )?;
        self.session_parameters
            .iter()
            .try_for_each(|parameter| write!(f, " {}", Clean(parameter)))
    }
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Candidate {
            component,
            priority,
            port,
            ..
        } = self;
        write!(
            f,
            "candidate:{} {component} {} {priority} {} {port} typ {}",
            Clean(&self.foundation),
            Clean(&self.transport),
            Clean(&self.address),
            Clean(&self.kind)
        )?;
        if let Some((address, port)) = &self.related {
            write!(f, " raddr {} rport {port}", Clean(address))?;
        }
        self.extensions
            .iter()
            .try_for_each(|(name, value)| write!(f, " {} {}", Clean(name), Clean(value)))
    }
}

fn write_millis(f: &mut fmt::Formatter<'_>, name: &str, us: u32) -> fmt::Result {
    write!(f, "{name}:{}", us / 1000)?;
    match us % 1000 {
        0 => Ok(()),
        fraction => f.write_str(format!(".{fraction:03}").trim_end_matches('0')),
    }
}
