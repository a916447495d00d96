use crate::syntax::{Malformed, is_all_token, malformed, number, parameter, split, trim, unquote};
use ringpost_base::limits;
use std::fmt;

/// What carries the packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LowerTransport {
    /// UDP, which RTP/AVP means where it names none.
    Udp,
    /// The connection of RTSP itself, interleaved.
    Tcp,
}

/// To whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Delivery {
    /// To one client.
    Unicast,
    /// To a group. It is what holds where neither is said.
    Multicast,
}

/// What a stream is set up for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// PLAY, which holds where none is said.
    Play,
    /// RECORD.
    Record,
}

/// Two ports or two channels: RTP's and, where it is named, RTCP's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pair<T> {
    /// RTP's.
    pub rtp: T,
    /// RTCP's.
    pub rtcp: Option<T>,
}

impl<T: std::str::FromStr> Pair<T> {
    fn parse(text: &str) -> Option<Self> {
        let (rtp, rtcp) = match text.split_once('-') {
            Some((rtp, rtcp)) => (rtp, Some(digits(trim(rtcp))?)),
            None => (text, None),
        };
        let rtp = digits(trim(rtp))?;
        Some(Pair { rtp, rtcp })
    }
}

impl Pair<u16> {
    /// RTCP's port: the one named, else the next.
    pub fn rtcp_port(&self) -> u16 {
        self.rtcp.unwrap_or(self.rtp.wrapping_add(1))
    }
}

impl Pair<u8> {
    /// RTCP's channel: the one named, else the next (RFC 2326 §10.12).
    pub fn rtcp_channel(&self) -> u8 {
        self.rtcp.unwrap_or(self.rtp.wrapping_add(1))
    }
}

impl<T: fmt::Display> fmt::Display for Pair<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.rtcp {
            Some(rtcp) => write!(f, "{}-{rtcp}", self.rtp),
            None => write!(f, "{}", self.rtp),
        }
    }
}

/// One transport-spec of the Transport field (RFC 2326 §12.39).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transport {
    /// `RTP` in every one that is understood.
    pub protocol: String,
    /// `AVP` and its kin.
    pub profile: String,
    /// What carries it.
    pub lower: LowerTransport,
    /// To whom; `None` where neither is said, which means multicast by the RFC, and unicast where `client_port` or
    /// `interleaved` stands (see [`delivery`](Transport::delivery)).
    pub cast: Option<Delivery>,
    /// Where packets go. An empty one names nothing.
    pub destination: Option<String>,
    /// Where packets come from.
    pub source: Option<String>,
    /// Channels within the connection.
    pub interleaved: Option<Pair<u8>>,
    /// Whether what is recorded is put behind what is there.
    pub append: bool,
    /// The time to live of packets to a group.
    pub ttl: Option<u8>,
    /// The number of layers of a group.
    pub layers: Option<u32>,
    /// The ports of a group.
    pub port: Option<Pair<u16>>,
    /// The client's ports.
    pub client_port: Option<Pair<u16>>,
    /// The server's ports.
    pub server_port: Option<Pair<u16>>,
    /// The synchronization source.
    pub ssrc: Option<u32>,
    /// What for; empty means PLAY.
    pub modes: Vec<Mode>,
    /// Whether `modes` named something that is neither.
    pub has_other_mode: bool,
}

impl Transport {
    /// RTP/AVP over UDP or TCP, unicast, without parameters.
    pub fn new(lower: LowerTransport) -> Self {
        Transport {
            protocol: "RTP".into(),
            profile: "AVP".into(),
            lower,
            cast: Some(Delivery::Unicast),
            destination: None,
            source: None,
            interleaved: None,
            append: false,
            ttl: None,
            layers: None,
            port: None,
            client_port: None,
            server_port: None,
            ssrc: None,
            modes: Vec::new(),
            has_other_mode: false,
        }
    }

    /// Reads the alternatives of a field, the preferred first, up to [`limits::RTSP_TRANSPORTS`]. Alternatives that cannot be
    /// read are left out; the error is the first one's when none is left.
    pub fn parse_all(text: &str) -> Result<Vec<Self>, Malformed> {
        let mut error = Malformed {
            expected: "a transport",
        };
        let mut transports = Vec::new();
        for spec in split(text, ',').take(limits::RTSP_TRANSPORTS) {
            match Self::parse(spec) {
                Ok(transport) => transports.push(transport),
                Err(first) if transports.is_empty() => error = first,
                Err(_) => {}
            }
        }
        if transports.is_empty() {
            Err(error)
        } else {
            Ok(transports)
        }
    }

    /// Reads one alternative. Unknown parameters are passed over, and so are those whose value cannot be read: it is as if
    /// they had not been written.
    // Guards pitfall RTSP 8.
    //= https://www.rfc-editor.org/rfc/rfc2326#section-12.39
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let mut parts = split(text, ';');
        let mut spec = parts.next().unwrap_or_default().split('/').map(trim);
        let (protocol, profile) = (spec.next().unwrap_or_default(), spec.next().unwrap_or_default());
        if !is_all_token(protocol) || !is_all_token(profile) {
            return malformed("protocol/profile");
        }
        let lower = match spec.next() {
            None => LowerTransport::Udp,
            Some(name) if name.eq_ignore_ascii_case("UDP") => LowerTransport::Udp,
            Some(name) if name.eq_ignore_ascii_case("TCP") => LowerTransport::Tcp,
            Some(_) => return malformed("UDP or TCP"),
        };
        let mut transport = Transport {
            protocol: protocol.to_ascii_uppercase(),
            profile: profile.to_ascii_uppercase(),
            cast: None,
            ..Transport::new(lower)
        };
        for part in parts {
            let (name, value) = parameter(part);
            transport.put(&name.to_ascii_lowercase(), value);
        }
        if transport.interleaved.is_some() {
            // Some leave out /TCP, where the channels say it.
            transport.lower = LowerTransport::Tcp;
        }
        Ok(transport)
    }

    fn put(&mut self, name: &str, value: Option<&str>) {
        let text = unquote(value.unwrap_or_default());
        let text = trim(&text);
        match name {
            "unicast" => self.cast = Some(Delivery::Unicast),
            "multicast" => self.cast = Some(Delivery::Multicast),
            "destination" => keep(&mut self.destination, address(text)),
            "source" => keep(&mut self.source, address(text)),
            "append" => self.append = true,
            "interleaved" => keep(&mut self.interleaved, Pair::parse(text)),
            "ttl" => keep(&mut self.ttl, digits(text)),
            "layers" => keep(&mut self.layers, digits(text)),
            "port" => keep(&mut self.port, Pair::parse(text)),
            "client_port" => keep(&mut self.client_port, Pair::parse(text)),
            "server_port" => keep(&mut self.server_port, Pair::parse(text)),
            "ssrc" => keep(&mut self.ssrc, ssrc(text)),
            "mode" => {
                for mode in split(text, ',') {
                    match mode {
                        m if m.eq_ignore_ascii_case("PLAY") => self.modes.push(Mode::Play),
                        // Publishers of old say RECEIVE.
                        m if m.eq_ignore_ascii_case("RECORD") || m.eq_ignore_ascii_case("RECEIVE") => {
                            self.modes.push(Mode::Record);
                        }
                        _ => self.has_other_mode = true,
                    }
                }
            }
            _ => {}
        }
    }

    /// To whom the packets go. Where neither is said it is multicast, unless `client_port` or `interleaved` shows that it is
    /// not meant.
    pub fn delivery(&self) -> Delivery {
        self.cast.unwrap_or(
            match self.client_port.is_some() || self.lower == LowerTransport::Tcp {
                true => Delivery::Unicast,
                false => Delivery::Multicast,
            },
        )
    }

    /// Whether it is for this mode.
    pub fn is_for(&self, mode: Mode) -> bool {
        match self.modes.is_empty() {
            true => !self.has_other_mode && mode == Mode::Play,
            false => self.modes.contains(&mode),
        }
    }
}

fn keep<T>(place: &mut Option<T>, value: Option<T>) {
    if value.is_some() {
        *place = value;
    }
}

fn digits<T: std::str::FromStr>(text: &str) -> Option<T> {
    number(text, "digits").ok()
}

fn address(text: &str) -> Option<String> {
    let is_address = |b: u8| b.is_ascii_alphanumeric() || b"-._:[]%".contains(&b);
    (text.len() <= 255 && text.bytes().all(is_address)).then(|| text.to_owned())
}

/// Eight hexadecimal digits; servers are seen to leave out leading zeros, to write `0x` before them, and to write a decimal
/// number, which is told by its length alone.
// Guards pitfall RTSP 8.
fn ssrc(text: &str) -> Option<u32> {
    let hex = text
        .strip_prefix("0x")
        .or_else(|| text.strip_prefix("0X"))
        .unwrap_or(text);
    let is_hex = hex.bytes().all(|b| b.is_ascii_hexdigit());
    match hex.len() {
        1..=8 if is_hex => u32::from_str_radix(hex, 16).ok(),
        _ => digits(text),
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.protocol, self.profile)?;
        if self.lower == LowerTransport::Tcp {
            f.write_str("/TCP")?;
        }
        match self.cast {
            Some(Delivery::Unicast) => f.write_str(";unicast")?,
            Some(Delivery::Multicast) => f.write_str(";multicast")?,
            None => {}
        }
        for (name, value) in [("destination", &self.destination), ("source", &self.source)] {
            match value.as_deref() {
                Some("") => write!(f, ";{name}")?,
                Some(value) => write!(f, ";{name}={value}")?,
                None => {}
            }
        }
        if let Some(channels) = self.interleaved {
            write!(f, ";interleaved={channels}")?;
        }
        if self.append {
            f.write_str(";append")?;
        }
        if let Some(ttl) = self.ttl {
            write!(f, ";ttl={ttl}")?;
        }
        if let Some(layers) = self.layers {
            write!(f, ";layers={layers}")?;
        }
        let ports = [
            ("port", self.port),
            ("client_port", self.client_port),
            ("server_port", self.server_port),
        ];
        for (name, ports) in ports {
            if let Some(ports) = ports {
                write!(f, ";{name}={ports}")?;
            }
        }
        if let Some(ssrc) = self.ssrc {
            write!(f, ";ssrc={ssrc:08X}")?;
        }
        match self.modes[..] {
            [] => Ok(()),
            [Mode::Play] => f.write_str(";mode=\"PLAY\""),
            [Mode::Record] => f.write_str(";mode=\"RECORD\""),
            _ => {
                let names: Vec<_> = self
                    .modes
                    .iter()
                    .map(|mode| match mode {
                        Mode::Play => "PLAY",
                        Mode::Record => "RECORD",
                    })
                    .collect();
                write!(f, ";mode=\"{}\"", names.join(","))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rfcs_example_and_every_parameter() {
        let list = Transport::parse_all(
            "RTP/AVP;multicast;ttl=127;mode=\"PLAY\", RTP/AVP;unicast;client_port=3456-3457;mode=\"PLAY\"",
        )
        .unwrap();
        assert_eq!(
            (list[0].delivery(), list[0].ttl),
            (Delivery::Multicast, Some(127))
        );
        let ports = list[1].client_port.unwrap();
        assert_eq!((ports.rtp, ports.rtcp_port()), (3456, 3457));
        assert!(list[1].is_for(Mode::Play) && !list[1].is_for(Mode::Record));
        let text = "RTP/AVP/TCP;unicast;destination=192.0.2.1;source=[2001:db8::1];interleaved=4-5;append;ttl=16;\
            layers=2;port=1-2;client_port=3;server_port=4-5;ssrc=0000BEEF;mode=\"PLAY,RECORD\"";
        let all = Transport::parse(text).unwrap();
        assert_eq!(all.to_string(), text);
        assert_eq!(all.ssrc, Some(0xbeef));
        assert!(all.append && all.is_for(Mode::Record) && all.is_for(Mode::Play));
    }

    #[test]
    fn what_clients_and_cameras_write() {
        let parse = |text: &str| Transport::parse(text).unwrap();
        assert_eq!(
            parse("rtp/avp/udp; unicast; client_port=5000")
                .client_port
                .unwrap()
                .rtcp_port(),
            5001
        );
        assert_eq!(parse("RTP/AVP;interleaved=0-1").lower, LowerTransport::Tcp);
        assert_eq!(parse("RTP/AVP;client_port=1-2").delivery(), Delivery::Unicast);
        assert_eq!(parse("RTP/AVP").delivery(), Delivery::Multicast);
        assert!(parse("RTP/AVP/TCP;mode=record").is_for(Mode::Record));
        assert!(parse("RTP/AVP/TCP;mode=receive").is_for(Mode::Record));
        assert!(!parse("RTP/AVP/TCP;mode=dance").is_for(Mode::Play));
        assert_eq!(parse("RTP/AVP;ssrc=beef;x=y;z").ssrc, Some(0xbeef));
        assert_eq!(parse("RTP/AVP;destination").destination.as_deref(), Some(""));
        assert_eq!(
            parse("RTP/AVP/TCP;interleaved=2")
                .interleaved
                .unwrap()
                .rtcp_channel(),
            3
        );
        for bad in ["", "RTP", "RTP/", "RTP/AVP/SCTP"] {
            assert!(Transport::parse(bad).is_err(), "{bad}");
        }
        let mixed = Transport::parse_all("RAW/RAW/UDP;x, RTP/AVP/x, RTP/AVP/TCP").unwrap();
        assert_eq!(mixed.len(), 2);
        let many = vec!["RTP/AVP"; 100].join(",");
        assert_eq!(
            Transport::parse_all(&many).unwrap().len(),
            limits::RTSP_TRANSPORTS
        );
    }

    // Guards pitfall RTSP 8.
    #[test]
    fn one_bad_parameter_takes_no_other_with_it() {
        let good = Transport::parse("RTP/AVP;unicast;client_port=5000-5001").unwrap();
        for bad in [
            "client_port=65536",
            "client_port=1-",
            "interleaved=256",
            "ttl=x",
            "port=-1",
            "layers=",
            "server_port=x-y",
            "ssrc=",
            "ssrc=xyz",
            "ssrc=99999999999",
            "ssrc=0x123456789",
            "destination=a b",
            "source=\u{fc}",
            "=",
            "junk",
            "\"",
        ] {
            let text = format!("RTP/AVP;unicast;client_port=5000-5001;{bad}");
            assert_eq!(Transport::parse(&text).unwrap(), good, "{bad}");
        }
        for (text, value) in [
            ("0x1234", 0x1234),
            ("0XBEEF", 0xbeef),
            ("123", 0x123),
            ("DEADBEEF", 0xdead_beef),
            ("12345678", 0x1234_5678),
            ("3735928559", 0xdead_beef),
            ("\"0000beef\"", 0xbeef),
        ] {
            let transport = Transport::parse(&format!("RTP/AVP;ssrc={text};unicast;server_port=7")).unwrap();
            assert_eq!(transport.ssrc, Some(value), "{text}");
            assert_eq!(transport.server_port.unwrap().rtp, 7);
        }
    }
}
