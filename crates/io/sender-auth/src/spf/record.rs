//! The text of a record (RFC 7208 §4.5, §4.6, §5, §6).

use super::expand::Spec;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A domain's record, read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) directives: Vec<Directive>,
    pub(super) redirect: Option<Spec>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Directive {
    pub(super) qualifier: Qualifier,
    pub(super) mechanism: Mechanism,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Qualifier {
    Pass,
    Fail,
    SoftFail,
    Neutral,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mechanism {
    All,
    Include(Spec),
    A(Option<Spec>, Cidr),
    Mx(Option<Spec>, Cidr),
    Ptr(Option<Spec>),
    Ip(Cidr, IpAddr),
    Exists(Spec),
}

/// How many bits of an address count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cidr {
    v4: u32,
    v6: u32,
}

impl Cidr {
    /// Whether `address` agrees with `network` in the bits that count.
    pub(super) fn covers(&self, network: IpAddr, address: IpAddr) -> bool {
        match (network, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let differ = network.to_bits() ^ address.to_bits();
                differ.checked_shr(32 - self.v4).unwrap_or(0) == 0
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let differ = network.to_bits() ^ address.to_bits();
                differ.checked_shr(128 - self.v6).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

const WHOLE: Cidr = Cidr { v4: 32, v6: 128 };
const VERSION: &[u8] = b"v=spf1";

impl Record {
    /// Whether a TXT record is one of SPF's.
    //= https://www.rfc-editor.org/rfc/rfc7208#section-4.5
    pub(super) fn is_one(text: &[u8]) -> bool {
        match text.split_at_checked(VERSION.len()) {
            Some((version, rest)) => {
                version.eq_ignore_ascii_case(VERSION) && matches!(rest.first(), None | Some(b' '))
            }
            None => false,
        }
    }

    /// Reads one, all of it: an error anywhere spoils the whole.
    //= https://www.rfc-editor.org/rfc/rfc7208#section-4.6
    pub(super) fn parse(text: &[u8]) -> Option<Record> {
        let text = std::str::from_utf8(text.get(VERSION.len()..)?).ok()?;
        let mut record = Record::default();
        let mut explains = false;
        for term in text.split(' ').filter(|term| !term.is_empty()) {
            let at = term.find(|c: char| !is_name_char(c)).unwrap_or(term.len());
            let (name, rest) = term.split_at(at);
            let Some(value) = rest.strip_prefix('=') else {
                record.directives.push(Directive::parse(term)?);
                continue;
            };
            if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
                return None;
            }
            //= https://www.rfc-editor.org/rfc/rfc7208#section-6
            match &*name.to_ascii_lowercase() {
                "redirect" => {
                    if record.redirect.replace(Spec::parse_domain(value)?).is_some() {
                        return None;
                    }
                }
                // What it leads to is not fetched: nobody is shown it. It must be right all the same.
                "exp" => {
                    Spec::parse_domain(value)?;
                    if std::mem::replace(&mut explains, true) {
                        return None;
                    }
                }
                _ => {
                    Spec::parse(value, true)?;
                }
            }
        }
        Some(record)
    }
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}

impl Directive {
    fn parse(term: &str) -> Option<Directive> {
        let (qualifier, rest) = match term.split_at_checked(1)? {
            ("+", rest) => (Qualifier::Pass, rest),
            ("-", rest) => (Qualifier::Fail, rest),
            ("~", rest) => (Qualifier::SoftFail, rest),
            ("?", rest) => (Qualifier::Neutral, rest),
            _ => (Qualifier::Pass, term),
        };
        let at = rest.find([':', '/']).unwrap_or(rest.len());
        let (name, rest) = rest.split_at(at);
        let mechanism = match &*name.to_ascii_lowercase() {
            "all" if rest.is_empty() => Mechanism::All,
            "include" => Mechanism::Include(Spec::parse_domain(rest.strip_prefix(':')?)?),
            "exists" => Mechanism::Exists(Spec::parse_domain(rest.strip_prefix(':')?)?),
            "a" => {
                let (spec, cidr) = spec_and_cidr(rest)?;
                Mechanism::A(spec, cidr)
            }
            "mx" => {
                let (spec, cidr) = spec_and_cidr(rest)?;
                Mechanism::Mx(spec, cidr)
            }
            "ptr" if rest.is_empty() => Mechanism::Ptr(None),
            "ptr" => Mechanism::Ptr(Some(Spec::parse_domain(rest.strip_prefix(':')?)?)),
            "ip4" => {
                let (network, bits) = network(rest.strip_prefix(':')?, 32)?;
                let network: Ipv4Addr = network.parse().ok()?;
                Mechanism::Ip(Cidr { v4: bits, ..WHOLE }, network.into())
            }
            "ip6" => {
                let (network, bits) = network(rest.strip_prefix(':')?, 128)?;
                let network: Ipv6Addr = network.parse().ok()?;
                Mechanism::Ip(Cidr { v6: bits, ..WHOLE }, network.into())
            }
            _ => return None,
        };
        Some(Directive { qualifier, mechanism })
    }
}

fn network(text: &str, most: u32) -> Option<(&str, u32)> {
    match text.split_once('/') {
        Some((network, bits)) => Some((network, length(bits, most)?)),
        None => Some((text, most)),
    }
}

/// `[":" domain-spec] ["/" bits] ["//" bits]`.
//= https://www.rfc-editor.org/rfc/rfc7208#section-5.6
fn spec_and_cidr(text: &str) -> Option<(Option<Spec>, Cidr)> {
    let mut cidr = WHOLE;
    let mut text = text;
    // A domain-spec may hold slashes: only digits behind the last ones are lengths.
    if let Some((before, bits)) = text.rsplit_once("//")
        && bits.bytes().all(|b| b.is_ascii_digit())
    {
        cidr.v6 = length(bits, 128)?;
        text = before;
    }
    if let Some((before, bits)) = text.rsplit_once('/')
        && bits.bytes().all(|b| b.is_ascii_digit())
    {
        cidr.v4 = length(bits, 32)?;
        text = before;
    }
    match text.strip_prefix(':') {
        Some(spec) => Some((Some(Spec::parse_domain(spec)?), cidr)),
        None => text.is_empty().then_some((None, cidr)),
    }
}

/// A number of bits without a zero before it.
fn length(text: &str, most: u32) -> Option<u32> {
    let good = (1..=3).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_digit())
        && (text == "0" || !text.starts_with('0'));
    let bits: u32 = if good { text.parse().ok()? } else { return None };
    (bits <= most).then_some(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_known_by_its_version() {
        assert!(Record::is_one(b"v=spf1") && Record::is_one(b"V=SPF1 -all"));
        for other in [&b"v=spf10"[..], b"v=spf1-all", b"spf1 -all", b"v=spf2 -all", b""] {
            assert!(!Record::is_one(other));
        }
    }

    #[test]
    fn an_error_anywhere_spoils_the_record() {
        for bad in [
            "v=spf1 -all:x",
            "v=spf1 include",
            "v=spf1 include:",
            "v=spf1 ip4:1.2.3",
            "v=spf1 ip4:1.2.3.4/33",
            "v=spf1 ip4:1.2.3.4/032",
            "v=spf1 ip6:1.2.3.4",
            "v=spf1 a:",
            "v=spf1 a:com",
            "v=spf1 a:x.123",
            "v=spf1 a:x.com/33",
            "v=spf1 a//129",
            "v=spf1 a:x.com/",
            "v=spf1 exists:%{c}.x.com",
            "v=spf1 exists:%{d0}.x.com",
            "v=spf1 exists:%(d).x.com",
            "v=spf1 redirect=x.com redirect=y.com",
            "v=spf1 exp=x.com exp=y.com",
            "v=spf1 -all =x",
            "v=spf1 -all x=%",
            "v=spf1 a\tmx",
            "v=spf1 what -all",
            "v=spf1 +redirect=x.com",
        ] {
            assert_eq!(Record::parse(bad.as_bytes()), None, "{bad}");
        }
        let good = "v=spf1  +a:%{d2}/24//64 ?mx/0 ~ptr:x.org exists:%{ir}.%{l1r-}.x.org x-y.z=%{c} REDIRECT=_x.org. ";
        let record = Record::parse(good.as_bytes()).unwrap();
        assert_eq!(record.directives.len(), 4);
        assert!(record.redirect.is_some());
    }

    #[test]
    fn the_bits_that_count_are_compared() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let cidr = |v4, v6| Cidr { v4, v6 };
        assert!(cidr(24, 128).covers(ip("192.0.2.0"), ip("192.0.2.255")));
        assert!(!cidr(24, 128).covers(ip("192.0.2.0"), ip("192.0.3.0")));
        assert!(cidr(0, 128).covers(ip("192.0.2.0"), ip("10.0.0.1")));
        assert!(!cidr(0, 0).covers(ip("192.0.2.0"), ip("::1")));
        assert!(cidr(32, 64).covers(ip("2001:db8::"), ip("2001:db8::ffff:1")));
        assert!(cidr(32, 0).covers(ip("2001:db8::"), ip("::1")));
    }
}
