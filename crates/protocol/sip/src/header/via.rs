use super::params::{Params, check_params};
use crate::syntax::{Malformed, Scan, Span, is_token, trim, unfold};
use crate::text::Text;
use crate::uri::{Host, HostSpan, host, ipv6, port};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// What every branch made after RFC 3261 begins with (§8.1.1.7).
pub const BRANCH_COOKIE: &str = "z9hG4bK";

/// One value of Via (RFC 3261 §20.42).
#[derive(Clone, PartialEq, Eq)]
pub struct Via {
    text: Text,
    parts: Parts,
}

/// Where the parts of a Via lie in its text.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Parts {
    transport: Span,
    host: HostSpan,
    port: Option<u16>,
    params: Span,
}

impl Parts {
    fn read(raw: &str) -> Result<Parts, Malformed> {
        let mut scan = Scan::new(raw);
        scan.ws();
        let transport = sent_protocol(&mut scan)?;
        if !scan.ws() {
            return scan.fail("whitespace before the sent-by");
        }
        let host = host(&mut scan)?;
        let port = sent_by_port(&mut scan)?;
        let from = scan.at();
        check_params(&mut scan)?;
        let params = Span::new(from, scan.at());
        scan.end()?;
        check_values(Params::new(params.of(raw)), from)?;
        Ok(Parts {
            transport,
            host,
            port,
            params,
        })
    }
}

/// The parameters whose values have a grammar of their own.
fn check_values(params: Params<'_>, offset: usize) -> Result<(), Malformed> {
    let bad = |expected| Err(Malformed { expected, offset });
    let mut has_branch = false;
    for (name, value) in params.iter() {
        if name.eq_ignore_ascii_case("branch")
            && (value.is_none() || std::mem::replace(&mut has_branch, true))
        {
            return bad("one branch with a value");
        }
        let Some(value) = value else { continue };
        match name.len() {
            3 if name.eq_ignore_ascii_case("ttl") && value.parse::<u8>().is_err() => {
                return bad("a ttl below 256");
            }
            5 if name.eq_ignore_ascii_case("rport") && value.parse::<u16>().is_err() => {
                return bad("a port in rport");
            }
            8 if name.eq_ignore_ascii_case("received") && received_ip(value).is_none() => {
                return bad("an address in received");
            }
            _ => {}
        }
    }
    Ok(())
}

impl Via {
    /// Reads one value, the whole of `text`.
    pub fn parse(text: Text) -> Result<Via, Malformed> {
        let parts = Parts::read(&text)?;
        Ok(Via { text, parts })
    }

    /// What [`Via::parse`] would say of a text.
    pub(crate) fn check(text: &str) -> Result<(), Malformed> {
        Parts::read(text).map(|_| ())
    }

    /// A new value with `rport` (RFC 3581), for a request that leaves over `transport` (`UDP`, `TCP`, `TLS`).
    //= https://www.rfc-editor.org/rfc/rfc3581#section-3
    pub fn new(transport: &str, host: Host<'_>, port: Option<u16>, branch: &str) -> Result<Via, Malformed> {
        let port = port.map(|p| format!(":{p}")).unwrap_or_default();
        Via::parse(format!("SIP/2.0/{transport} {host}{port};rport;branch={branch}").into())
    }

    /// The value with `received` and `rport` as the receiver of a request from `source` adds them: `received` when
    /// the address is not that of the sent-by or the client asked for `rport`, and the port behind an `rport`.
    //= https://www.rfc-editor.org/rfc/rfc3261#section-18.2.1
    //= https://www.rfc-editor.org/rfc/rfc3581#section-4
    pub fn stamped(&self, source: SocketAddr) -> Via {
        let text = self.stamp(source).to_string();
        Via::parse(text.into()).expect("a Via with a received address is one")
    }

    /// [`Via::stamped`], to be printed only.
    pub(crate) const fn stamp(&self, source: SocketAddr) -> Stamp<'_> {
        Stamp { via: self, source }
    }

    /// Where a response to a request with this top Via goes over UDP, when it came from `source`.
    //= https://www.rfc-editor.org/rfc/rfc3261#section-18.2.2
    //= https://www.rfc-editor.org/rfc/rfc3581#section-4
    pub fn reply_to(&self, source: SocketAddr) -> SocketAddr {
        // maddr is not followed: it would let a stranger aim our responses at a third party.
        match self.wants_rport() {
            true => source,
            false => SocketAddr::new(source.ip(), self.parts.port.unwrap_or(self.default_port())),
        }
    }

    fn default_port(&self) -> u16 {
        if self.transport().eq_ignore_ascii_case("TLS") {
            5061
        } else {
            5060
        }
    }

    /// The transport as it stands: `UDP`, `TCP`, `TLS`, …; compare in any case.
    pub fn transport(&self) -> &str {
        self.parts.transport.of(&self.text)
    }

    /// The sent-by's host.
    pub fn host(&self) -> Host<'_> {
        self.parts.host.of(&self.text)
    }

    /// The sent-by's port, if written.
    pub fn port(&self) -> Option<u16> {
        self.parts.port
    }

    /// Host and port as one value to compare and print; the port of the transport's default is left away.
    pub fn sent_by(&self) -> SentBy<'_> {
        SentBy {
            host: self.host(),
            port: self.parts.port.unwrap_or(self.default_port()),
        }
    }

    /// The parameters.
    pub fn params(&self) -> Params<'_> {
        Params::new(self.parts.params.of(&self.text))
    }

    /// The branch.
    pub fn branch(&self) -> Option<&str> {
        self.params().raw("branch")
    }

    /// The branch when it identifies a transaction: the cookie and something behind it (RFC 4475 §3.2.1: the cookie
    /// alone does not). Without one, the rules of RFC 2543 match the transaction (RFC 3261 §17.2.3).
    pub fn transaction_branch(&self) -> Option<&str> {
        let branch = self.branch()?;
        let id = branch.get(BRANCH_COOKIE.len()..)?;
        // Tokens compare in any case (§7.3.1), the cookie among them.
        (!id.is_empty() && branch[..BRANCH_COOKIE.len()].eq_ignore_ascii_case(BRANCH_COOKIE))
            .then_some(branch)
    }

    /// The address that a server has seen the request come from, with brackets around IPv6 or without.
    pub fn received(&self) -> Option<IpAddr> {
        received_ip(self.params().raw("received")?)
    }

    /// Whether there is an `rport`: the client asked for its port, or a server has filled it in.
    pub fn wants_rport(&self) -> bool {
        self.params().has("rport")
    }

    /// The port that a server has filled in.
    pub fn rport(&self) -> Option<u16> {
        self.params().raw("rport")?.parse().ok()
    }

    /// The value as it stands.
    pub fn as_str(&self) -> &str {
        trim(self.text.as_str())
    }

    /// A copy that does not keep the message's buffer alive.
    pub fn detached(&self) -> Via {
        Via {
            text: self.text.detached(),
            parts: self.parts,
        }
    }
}

/// See [`Via::stamped`].
pub(crate) struct Stamp<'a> {
    via: &'a Via,
    source: SocketAddr,
}

impl fmt::Display for Stamp<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Stamp { via, source } = self;
        let asked = via.wants_rport();
        let ip = source.ip().to_canonical();
        if !asked && via.host().ip() == Some(ip) {
            return f.write_str(via.as_str());
        }
        f.write_str(&unfold(trim(&via.text[..via.parts.params.range().start])))?;
        for (name, value) in via.params().iter() {
            match value {
                _ if name.eq_ignore_ascii_case("received") || name.eq_ignore_ascii_case("rport") => {}
                Some(value) => write!(f, ";{name}={value}")?,
                None => write!(f, ";{name}")?,
            }
        }
        // RFC 5118 §4.5: without brackets.
        write!(f, ";received={ip}")?;
        match asked {
            true => write!(f, ";rport={}", source.port()),
            false => Ok(()),
        }
    }
}

/// The sent-by of a Via: a host and the port, written or by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SentBy<'a> {
    /// The host.
    pub host: Host<'a>,
    /// The port.
    pub port: u16,
}

impl fmt::Display for SentBy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

fn received_ip(text: &str) -> Option<IpAddr> {
    let bare = text
        .strip_prefix('[')
        .and_then(|t| t.strip_suffix(']'))
        .unwrap_or(text);
    bare.parse().ok().or_else(|| ipv6(bare).map(IpAddr::from))
}

/// `SIP / 2.0 / transport`, whitespace around the slashes.
fn sent_protocol(scan: &mut Scan<'_>) -> Result<Span, Malformed> {
    let at = scan.at();
    let name = scan.token("a protocol name")?;
    slash(scan)?;
    let version = scan.token("a protocol version")?;
    if !name.eq_ignore_ascii_case("SIP") || version != "2.0" {
        return Err(Malformed {
            expected: "SIP/2.0",
            offset: at,
        });
    }
    slash(scan)?;
    let from = scan.at();
    match scan.run(is_token) {
        "" => scan.fail("a transport"),
        _ => Ok(Span::new(from, scan.at())),
    }
}

fn slash(scan: &mut Scan<'_>) -> Result<(), Malformed> {
    scan.ws();
    scan.expect(b'/', "a slash")?;
    scan.ws();
    Ok(())
}

/// `[ COLON port ]`, whitespace around the colon.
fn sent_by_port(scan: &mut Scan<'_>) -> Result<Option<u16>, Malformed> {
    let before = scan.clone();
    scan.ws();
    if !scan.take(b':') {
        *scan = before;
        return Ok(None);
    }
    scan.ws();
    port(scan).map(Some)
}

impl FromStr for Via {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<Via, Malformed> {
        Via::parse(text.into())
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Via({})", self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn via(text: &str) -> Via {
        text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    #[test]
    fn the_parts_are_found_through_whitespace() {
        let v = via(
            "SIP  / 2.0\r\n /UDP  first.example.com : 4000 ;ttl=16 ;maddr=224.2.0.1;branch = z9hG4bKa7c6a8dlze.1",
        );
        assert_eq!((v.transport(), v.port()), ("UDP", Some(4000)));
        assert_eq!(v.host(), Host::Name("FIRST.example.com"));
        assert_eq!(v.transaction_branch(), Some("z9hG4bKa7c6a8dlze.1"));
        assert_eq!(via("SIP/2.0/UDP h;branch=z9hG4bK").transaction_branch(), None);
        assert_eq!(via("SIP/2.0/UDP h;branch=390skdjuw").transaction_branch(), None);
    }

    #[test]
    fn received_is_read_with_and_without_brackets() {
        for text in ["[2001:db8::9:255]", "2001:db8::9:255"] {
            let v = via(&format!(
                "SIP/2.0/UDP [2001:db8::9:1];received={text};branch=z9hG4bKas3-111"
            ));
            assert_eq!(v.received(), Some("2001:db8::9:255".parse().unwrap()));
        }
    }

    // Guards pitfall SIP 9: answers go to the port that the request came from when rport asks for it.
    #[test]
    fn a_stamp_says_where_the_request_came_from() {
        let source: SocketAddr = "203.0.113.9:40123".parse().unwrap();
        let v = via("SIP/2.0/UDP 10.1.1.1:4540;rport;branch=z9hG4bKkjshdyff");
        assert_eq!(
            v.stamped(source).as_str(),
            "SIP/2.0/UDP 10.1.1.1:4540;branch=z9hG4bKkjshdyff;received=203.0.113.9;rport=40123"
        );
        assert_eq!(v.reply_to(source), source);
        let plain = via("SIP/2.0/UDP 203.0.113.9:4540;branch=z9hG4bK1");
        assert_eq!(plain.stamped(source), plain);
        assert_eq!(plain.reply_to(source).port(), 4540);
        let named = via("SIP/2.0/TLS host.example;branch=z9hG4bK1;received=1.2.3.4");
        assert_eq!(named.stamped(source).received(), Some(source.ip()));
        assert_eq!(named.reply_to(source).port(), 5061);
        assert_eq!(
            named
                .stamped("[2001:db8::5]:9".parse().unwrap())
                .params()
                .raw("received"),
            Some("2001:db8::5")
        );
    }

    #[test]
    fn what_is_no_via_is_refused() {
        for bad in [
            "",
            "SIP/2.0/UDP",
            "SIP/7.0/UDP h",
            "SIP/2.0 h",
            "SIP/2.0/UDP h;;branch=1",
            "SIP/2.0/UDP h:x",
            "HTTP/2.0/UDP h",
            "SIP/2.0/UDP h;ttl=256",
            "SIP/2.0/UDP h;branch",
            "SIP/2.0/UDP h;branch=a;Branch=b",
            "SIP/2.0/UDP h;received=nowhere",
            "SIP/2.0/UDP h, SIP/2.0/UDP i",
            "SIP/2.0/UDP 2001:db8::1",
        ] {
            assert!(Via::from_str(bad).is_err(), "{bad}");
        }
    }
}
