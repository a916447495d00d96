use crate::{Address, Bandwidth, Connection, Family, Media, Origin, Repeat, SessionDescription, Time};
use std::fmt::{self, Display, Write};

/// Text without what may not stand inside a line: whatever a field was filled with, it stays on its line.
pub(crate) struct Clean<'a>(pub(crate) &'a str);

impl Display for Clean<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .split(['\0', '\r', '\n'])
            .try_for_each(|piece| f.write_str(piece))
    }
}

/// The whole description, in the order of RFC 8866 §9, each line ended by CRLF.
impl Display for SessionDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("v=0\r\n")?;
        self.origin.fmt(f)?;
        //= https://www.rfc-editor.org/rfc/rfc8866#section-5.3
        text(f, 's', if self.name.is_empty() { "-" } else { &self.name })?;
        optional(f, 'i', &self.information)?;
        optional(f, 'u', &self.uri)?;
        self.emails.iter().try_for_each(|email| text(f, 'e', email))?;
        self.phones.iter().try_for_each(|phone| text(f, 'p', phone))?;
        self.connection
            .iter()
            .try_for_each(|connection| connection.fmt(f))?;
        self.bandwidths
            .iter()
            .try_for_each(|bandwidth| bandwidth.fmt(f))?;
        if self.times.is_empty() {
            f.write_str("t=0 0\r\n")?;
        }
        self.times.iter().try_for_each(|time| time.fmt(f))?;
        optional(f, 'k', &self.key)?;
        self.attributes
            .iter()
            .try_for_each(|attribute| write!(f, "a={attribute}\r\n"))?;
        self.media.iter().try_for_each(|media| media.fmt(f))
    }
}

fn text(f: &mut fmt::Formatter<'_>, letter: char, value: &str) -> fmt::Result {
    write!(f, "{letter}={}\r\n", Clean(value))
}

fn optional(f: &mut fmt::Formatter<'_>, letter: char, value: &Option<String>) -> fmt::Result {
    value.iter().try_for_each(|value| text(f, letter, value))
}

impl Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Origin {
            username,
            session_id,
            version,
            address,
        } = self;
        write!(f, "o={} {session_id} {version} {address}\r\n", Clean(username))
    }
}

/// Network type, address type and address.
impl Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.family() {
            Family::Ip4 => "IN IP4 ",
            Family::Ip6 => "IN IP6 ",
        })?;
        match self {
            Address::Ip(ip) => ip.fmt(f),
            Address::Name { name, .. } => Clean(name).fmt(f),
        }
    }
}

impl Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c={}", self.address)?;
        // A count can only be told behind a TTL in IPv4.
        let ttl = self.ttl.or((self.count != 1).then_some(1));
        if let (Family::Ip4, Some(ttl)) = (self.address.family(), ttl) {
            write!(f, "/{ttl}")?;
        }
        if self.count != 1 {
            write!(f, "/{}", self.count)?;
        }
        f.write_str("\r\n")
    }
}

impl Display for Bandwidth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b={}:{}\r\n", Clean(&self.kind), self.value)
    }
}

impl Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "t={} {}\r\n", self.start_s, self.stop_s)?;
        self.repeats.iter().try_for_each(|repeat| repeat.fmt(f))?;
        if !self.zones.is_empty() {
            f.write_str("z=")?;
            for (i, zone) in self.zones.iter().enumerate() {
                let space = if i == 0 { "" } else { " " };
                write!(f, "{space}{} {}", zone.at_s, zone.offset_s)?;
            }
            f.write_str("\r\n")?;
        }
        Ok(())
    }
}

impl Display for Repeat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r={} {}", self.interval_s, self.duration_s)?;
        self.offsets_s
            .iter()
            .try_for_each(|offset| write!(f, " {offset}"))?;
        f.write_str("\r\n")
    }
}

impl Display for Media {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "m={} {}", Clean(self.kind.name()), self.port)?;
        if self.port_count != 1 {
            write!(f, "/{}", self.port_count)?;
        }
        write!(f, " {}", Clean(&self.protocol))?;
        for format in &self.formats {
            f.write_char(' ')?;
            Clean(format).fmt(f)?;
        }
        f.write_str("\r\n")?;
        optional(f, 'i', &self.information)?;
        self.connections
            .iter()
            .try_for_each(|connection| connection.fmt(f))?;
        self.bandwidths
            .iter()
            .try_for_each(|bandwidth| bandwidth.fmt(f))?;
        optional(f, 'k', &self.key)?;
        self.attributes
            .iter()
            .try_for_each(|attribute| write!(f, "a={attribute}\r\n"))
    }
}
