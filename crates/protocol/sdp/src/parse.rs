use crate::quirk::{self, Quirk};
use crate::{
    Address, Attribute, Bandwidth, Connection, Family, Media, MediaKind, Origin, Repeat, SessionDescription,
    Time, ZoneAdjustment,
};
use ringpost_base::limits;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::str::FromStr;
use thiserror::Error;

/// Why a session description was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line} of the session description: expected {expected}, found {found:?}")]
pub struct ParseError {
    /// The line, counted from 1.
    pub line: usize,
    /// What would have been right there.
    pub expected: &'static str,
    /// The beginning of what was there instead; empty at the end of the description.
    pub found: String,
}

/// How much of a bad line an error repeats.
const FOUND_CHARS: usize = 60;

impl SessionDescription {
    /// Reads one description of at most [`limits::SDP_BYTES`].
    ///
    /// What real phones need, and RFC 8866 does not give them:
    /// - lines end with CRLF or LF, the last perhaps with neither, and blank lines are skipped (§5 asks for the LF);
    /// - the order of lines is free within the session's part and within each medium's (RFC 3264's own examples
    ///   have `c=` before and after `t=`); of a line that may be there only once, the first counts;
    /// - a line that is not UTF-8 is read as ISO 8859-1, and printed as UTF-8;
    /// - `s=` may be missing or empty (`-`), as may `t=` (`0 0`) and a username (`-`); one with spaces gets underscores;
    /// - a session id or version that is no number is 0, and one that is too large is the largest; they are only ever compared;
    /// - an IPv6 address may be in brackets, and an address decides its own family whatever `IP4` or `IP6` says;
    /// - a `b=` that does not parse is ignored, as are attributes (see [`Attribute`]);
    /// - an `m=` with port 0 may list no format, formats that repeat count once, and those over
    ///   [`limits::SDP_FORMATS`] are left out.
    ///
    /// Refused: another version, an unknown line letter (§5), a second description behind the first (RFC 3264 §5), more
    /// than [`limits::SDP_MEDIA`] media.
    pub fn parse(bytes: &[u8]) -> Result<SessionDescription, ParseError> {
        SessionDescription::read(bytes, &[]).map(|(description, _)| description)
    }

    /// The same for what devices describe that keep to no RFC: of what they do wrong, what is among `tolerated` is read as
    /// [`Quirk`] says, and comes back, each once.
    pub fn read(bytes: &[u8], tolerated: &[Quirk]) -> Result<(SessionDescription, Vec<Quirk>), ParseError> {
        if bytes.len() > limits::SDP_BYTES {
            return Err(ParseError {
                line: 1,
                expected: "at most 64 KiB",
                found: String::new(),
            });
        }
        let mut parser = Parser {
            tolerated,
            ..Parser::default()
        };
        for (i, line) in bytes.split(|b| *b == b'\n').enumerate() {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let line = decode(line);
            parser.line(&line).map_err(|expected| ParseError {
                line: i + 1,
                expected,
                found: line.chars().take(FOUND_CHARS).collect(),
            })?;
        }
        let lines = bytes.split(|b| *b == b'\n').count();
        let mut met = BTreeSet::new();
        let read = parser.finish(&mut met);
        read.map(|description| (description, met.into_iter().collect()))
            .map_err(|expected| ParseError {
                line: lines,
                expected,
                found: String::new(),
            })
    }
}

impl FromStr for SessionDescription {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        SessionDescription::parse(text.as_bytes())
    }
}

/// What would have been right.
type Expected = &'static str;

#[derive(Default)]
struct Parser<'a> {
    tolerated: &'a [Quirk],
    met: BTreeSet<Quirk>,
    version_seen: bool,
    origin: Option<Origin>,
    name: Option<String>,
    information: Option<String>,
    uri: Option<String>,
    emails: Vec<String>,
    phones: Vec<String>,
    connection: Option<Connection>,
    bandwidths: Vec<Bandwidth>,
    times: Vec<Time>,
    key: Option<String>,
    attributes: Vec<Attribute>,
    media: Vec<Media>,
}

impl Parser<'_> {
    /// Whether this is taken.
    fn takes(&mut self, quirk: Quirk) -> bool {
        let is_taken = self.tolerated.contains(&quirk);
        if is_taken {
            self.met.insert(quirk);
        }
        is_taken
    }

    fn line(&mut self, line: &str) -> Result<(), Expected> {
        let letter = line.split_once('=').map_or("", |(letter, _)| letter);
        if !self.version_seen && letter != "v" && self.takes(Quirk::NoVersion) {
            self.version_seen = true;
        }
        let Err(expected) = self.strict_line(line) else {
            return Ok(());
        };
        let is_full = letter == "m" && self.media.len() == limits::SDP_MEDIA;
        match Quirk::of_line(letter) {
            Some(quirk) if !is_full && self.takes(quirk) => {
                if quirk == Quirk::Media {
                    self.media.push(quirk::nothing());
                }
                Ok(())
            }
            _ => Err(expected),
        }
    }

    fn strict_line(&mut self, line: &str) -> Result<(), Expected> {
        let (letter, value) = line.split_once('=').ok_or("a letter and =")?;
        if value.contains(['\0', '\r']) {
            return Err("a line without NUL or CR");
        }
        if !self.version_seen && letter != "v" {
            return Err("v=0");
        }
        if self.media.last().is_some() && !"micbka".contains(letter) {
            return Err("a line of a media description: m, i, c, b, k or a");
        }
        match letter {
            "v" => self.version(value),
            "o" => set_first(&mut self.origin, origin(value)?),
            "s" => set_first(&mut self.name, value.into()),
            "i" => match self.media.last_mut() {
                Some(media) => set_first(&mut media.information, value.into()),
                None => set_first(&mut self.information, value.into()),
            },
            "u" => set_first(&mut self.uri, value.into()),
            "e" => push(&mut self.emails, value.into()),
            "p" => push(&mut self.phones, value.into()),
            "c" => {
                let connection = connection(value).ok_or("IN, IP4 or IP6, and an address")?;
                match self.media.last_mut() {
                    Some(media) => push(&mut media.connections, connection),
                    None => set_first(&mut self.connection, connection),
                }
            }
            "b" => {
                let bandwidths = match self.media.last_mut() {
                    Some(media) => &mut media.bandwidths,
                    None => &mut self.bandwidths,
                };
                bandwidths.extend(bandwidth(value));
                Ok(())
            }
            "t" => push(&mut self.times, time(value).ok_or("a start and a stop time")?),
            "r" => {
                let repeat = repeat(value).ok_or("an interval, a duration and offsets")?;
                push(&mut self.times.last_mut().ok_or("t= before r=")?.repeats, repeat)
            }
            "z" => self.zones(value),
            "k" => match self.media.last_mut() {
                Some(media) => set_first(&mut media.key, value.into()),
                None => set_first(&mut self.key, value.into()),
            },
            "a" => {
                let attribute = Attribute::parse(value);
                match self.media.last_mut() {
                    Some(media) => push(&mut media.attributes, attribute),
                    None => push(&mut self.attributes, attribute),
                }
            }
            "m" if self.media.len() == limits::SDP_MEDIA => Err("at most 32 media"),
            "m" => push(&mut self.media, media(value)?),
            //= https://www.rfc-editor.org/rfc/rfc8866#section-5
            _ => Err("a line letter of RFC 8866"),
        }
    }

    fn version(&mut self, value: &str) -> Result<(), Expected> {
        if std::mem::replace(&mut self.version_seen, true) {
            return Err("one session description only");
        }
        if value.trim() == "0" { Ok(()) } else { Err("v=0") }
    }

    //= https://www.rfc-editor.org/rfc/rfc8866#section-5.11
    fn zones(&mut self, value: &str) -> Result<(), Expected> {
        let time = self
            .times
            .last_mut()
            .filter(|time| !time.repeats.is_empty())
            .ok_or("r= before z=")?;
        if time.zones.is_empty() {
            time.zones = zones(value).ok_or("pairs of a time and an offset")?;
        }
        Ok(())
    }

    fn finish(mut self, met: &mut BTreeSet<Quirk>) -> Result<SessionDescription, Expected> {
        if !self.version_seen {
            return Err("v=0");
        }
        if self.origin.is_none() && self.takes(Quirk::Origin) {
            self.origin = Some(quirk::nobody());
        }
        *met = self.met;
        let mut times = self.times;
        if times.is_empty() {
            times.push(Time::default());
        }
        Ok(SessionDescription {
            origin: self.origin.ok_or("an o= line")?,
            name: self
                .name
                .filter(|name| !name.is_empty())
                .unwrap_or_else(|| "-".into()),
            information: self.information,
            uri: self.uri,
            emails: self.emails,
            phones: self.phones,
            connection: self.connection,
            bandwidths: self.bandwidths,
            times,
            key: self.key,
            attributes: self.attributes,
            media: self.media,
        })
    }
}

fn decode(line: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(line) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(line.iter().map(|b| char::from(*b)).collect()),
    }
}

fn set_first<T>(slot: &mut Option<T>, value: T) -> Result<(), Expected> {
    slot.get_or_insert(value);
    Ok(())
}

fn push<T>(list: &mut Vec<T>, value: T) -> Result<(), Expected> {
    list.push(value);
    Ok(())
}

/// A number of digits alone: no sign, no space.
pub(crate) fn digits<T: FromStr>(text: &str) -> Option<T> {
    text.bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten()
}

fn origin(value: &str) -> Result<Origin, Expected> {
    // From the right, since a username may have been written with spaces.
    let words: Vec<&str> = value.split_ascii_whitespace().collect();
    let [username @ .., session_id, version, nettype, addrtype, host] = words.as_slice() else {
        return Err("username, session id, version, IN, IP4 or IP6, and an address");
    };
    Ok(Origin {
        username: if username.is_empty() {
            "-".into()
        } else {
            username.join("_")
        },
        session_id: saturating(session_id),
        version: saturating(version),
        address: address_of(nettype, addrtype, host).ok_or("IN, IP4 or IP6, and an address")?,
    })
}

fn saturating(text: &str) -> u64 {
    match text.parse() {
        Ok(number) => number,
        Err(_) if text.bytes().all(|b| b.is_ascii_digit()) => u64::MAX,
        Err(_) => 0,
    }
}

/// Network type, address type and address in one text.
pub(crate) fn address(text: &str) -> Option<Address> {
    let mut words = text.split_ascii_whitespace();
    let address = address_of(words.next()?, words.next()?, words.next()?)?;
    words.next().is_none().then_some(address)
}

fn address_of(nettype: &str, addrtype: &str, host: &str) -> Option<Address> {
    if !nettype.eq_ignore_ascii_case("IN") {
        return None;
    }
    let family = match addrtype {
        _ if addrtype.eq_ignore_ascii_case("IP4") => Family::Ip4,
        _ if addrtype.eq_ignore_ascii_case("IP6") => Family::Ip6,
        _ => return None,
    };
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Some(Address::Ip(ip));
    }
    let named = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    (!host.is_empty() && host.bytes().all(named)).then(|| Address::Name {
        family,
        name: host.into(),
    })
}

//= https://www.rfc-editor.org/rfc/rfc8866#section-5.7
fn connection(value: &str) -> Option<Connection> {
    let mut words = value.split_ascii_whitespace();
    let (nettype, addrtype, host) = (words.next()?, words.next()?, words.next()?);
    let mut parts = host.split('/');
    let address = address_of(nettype, addrtype, parts.next()?)?;
    let ttl = match address.family() {
        Family::Ip4 => parts.next().map_or(Some(None), |ttl| digits(ttl).map(Some))?,
        Family::Ip6 => None,
    };
    let count = parts.next().map_or(Some(1), digits)?;
    (count > 0 && parts.next().is_none()).then_some(Connection { address, ttl, count })
}

fn bandwidth(value: &str) -> Option<Bandwidth> {
    let (kind, value) = value.split_once(':')?;
    let kind = kind.trim();
    is_token(kind).then_some(())?;
    Some(Bandwidth {
        kind: kind.into(),
        value: digits(value.trim())?,
    })
}

fn time(value: &str) -> Option<Time> {
    let mut words = value.split_ascii_whitespace();
    let start_s = digits(words.next()?)?;
    let stop_s = words.next().map_or(Some(0), digits)?;
    Some(Time {
        start_s,
        stop_s,
        ..Time::default()
    })
}

fn repeat(value: &str) -> Option<Repeat> {
    let mut words = value.split_ascii_whitespace();
    let interval_s = typed_time(words.next()?)?;
    let duration_s = typed_time(words.next()?)?;
    let offsets_s = words.map(typed_time).collect::<Option<Vec<_>>>()?;
    (!offsets_s.is_empty()).then_some(Repeat {
        interval_s,
        duration_s,
        offsets_s,
    })
}

fn zones(value: &str) -> Option<Vec<ZoneAdjustment>> {
    let mut words = value.split_ascii_whitespace();
    let mut zones = Vec::new();
    while let Some(at) = words.next() {
        let offset = words.next()?;
        let (sign, size) = offset.strip_prefix('-').map_or((1, offset), |size| (-1, size));
        let size = i64::try_from(typed_time(size)?).ok()?;
        zones.push(ZoneAdjustment {
            at_s: digits(at)?,
            offset_s: sign * size,
        });
    }
    (!zones.is_empty()).then_some(zones)
}

//= https://www.rfc-editor.org/rfc/rfc8866#section-5.10
fn typed_time(text: &str) -> Option<u64> {
    let unit_s = match text.as_bytes().last()? {
        b'd' => 86_400,
        b'h' => 3_600,
        b'm' => 60,
        b's' => 1,
        _ => return digits(text),
    };
    digits::<u64>(&text[..text.len() - 1])?.checked_mul(unit_s)
}

//= https://www.rfc-editor.org/rfc/rfc8866#section-5.14
fn media(value: &str) -> Result<Media, Expected> {
    let mut words = value.split_ascii_whitespace();
    let kind = words.next().filter(|kind| is_token(kind)).ok_or("a media type")?;
    let port = words.next().ok_or("a port")?;
    let (port, count) = port.split_once('/').unwrap_or((port, "1"));
    let port = digits(port).ok_or("a port of at most 65535")?;
    let port_count = digits(count)
        .filter(|count| *count > 0)
        .ok_or("a number of ports")?;
    let protocol = words
        .next()
        .filter(|protocol| protocol.split('/').all(is_token))
        .ok_or("a protocol such as RTP/AVP")?;
    let mut formats: Vec<String> = Vec::new();
    for format in words {
        if !is_token(format) {
            return Err("a format");
        }
        if formats.len() < limits::SDP_FORMATS && !formats.iter().any(|known| known == format) {
            formats.push(format.into());
        }
    }
    match (formats.is_empty(), port) {
        (true, 0) => formats.push("0".into()),
        (true, _) => return Err("at least one format"),
        _ => (),
    }
    Ok(Media {
        port_count,
        ..Media::new(MediaKind::from_name(kind), port, protocol, formats)
    })
}

fn is_token(text: &str) -> bool {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`{|}~".contains(&b);
    !text.is_empty() && text.bytes().all(token)
}
