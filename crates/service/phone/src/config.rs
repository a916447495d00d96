use crate::question::Person;
use ringpost_auth::digest::Algorithm;
use ringpost_base::{in_network, is_public_address, limits};
use ringpost_sip::{Flow, Transport};
use std::net::IpAddr;
use std::time::Duration;

/// What the operator decides about calls.
#[derive(Clone, Debug)]
pub struct Config {
    /// The domains that are ours, in lower case; the first is the realm of digest authentication. An IP address that
    /// reaches us counts as the first.
    pub domains: Vec<Box<str>>,
    /// Networks whose requests need no credentials, as an address and a prefix length.
    pub trusted: Vec<(IpAddr, u8)>,
    /// The address put into Via, Contact and SDP in place of the socket's own, where NAT hides it.
    pub public_address: Option<IpAddr>,
    /// The port of each SIP transport as peers see it, for the public address.
    pub ports: Vec<(Transport, u16)>,
    /// Calls at a time; one more gets 503.
    pub calls: usize,
    /// The registration's length when the phone asks for none, and the most it gets.
    pub expires_default_s: u32,
    /// Longest registration that is granted.
    pub expires_max_s: u32,
    /// Shortest registration; a shorter wish gets 423 (RFC 3261 §10.3).
    pub expires_min_s: u32,
    /// How long phones ring before the voicemail answers.
    pub no_answer: Duration,
    /// The longest message that can be left.
    pub voicemail_max: Duration,
    /// Silence that ends a message.
    pub voicemail_silence: Duration,
    /// A shorter message is thrown away: somebody hung up on the greeting.
    pub voicemail_min: Duration,
    /// What is dialled to hear one's own messages.
    pub voicemail_number: Box<str>,
    /// After so long without any media a call is taken for dead.
    pub media_timeout: Duration,
    /// The digest algorithms that are offered, in this order, and taken (RFC 8760 §2.3). Many phones look at the first
    /// challenge alone.
    pub digest_algorithms: Vec<Algorithm>,
    /// Whether people here may call and text other domains.
    pub outbound: bool,
    /// Networks that calls and texts may go to although their addresses are not public ones, as an address and a prefix
    /// length.
    pub outbound_networks: Vec<(IpAddr, u8)>,
    /// The accounts whose calls are mounts of theirs while they last: names in the first domain, or addresses.
    pub overheard: Vec<Box<str>>,
    /// Whether both sides of such a call hear a tone when it begins.
    pub overheard_tone: bool,
    /// Whether digest challenges are made at all. Only tests of parsers turn it off.
    pub authenticate: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            domains: vec!["localhost".into()],
            trusted: Vec::new(),
            public_address: None,
            ports: Vec::new(),
            calls: limits::SIP_DIALOGS / 2,
            expires_default_s: 3_600,
            expires_max_s: 7_200,
            expires_min_s: 60,
            no_answer: Duration::from_secs(20),
            voicemail_max: Duration::from_secs(180),
            voicemail_silence: Duration::from_secs(8),
            voicemail_min: Duration::from_secs(1),
            voicemail_number: "*97".into(),
            media_timeout: Duration::from_secs(300),
            digest_algorithms: vec![Algorithm::Sha256, Algorithm::Md5],
            outbound: true,
            outbound_networks: Vec::new(),
            overheard: Vec::new(),
            overheard_tone: true,
            authenticate: true,
        }
    }
}

impl Config {
    /// Whether requests from `address` need no credentials.
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.trusted
            .iter()
            .any(|(network, prefix)| in_network(address, *network, *prefix))
    }

    /// Whether an account's calls are mounts.
    pub(crate) fn is_overheard(&self, person: &Person) -> bool {
        self.overheard.iter().any(|name| match name.rsplit_once('@') {
            Some((user, domain)) => {
                user.eq_ignore_ascii_case(&person.user) && domain.eq_ignore_ascii_case(&person.domain)
            }
            None => {
                name.eq_ignore_ascii_case(&person.user) && self.realm().eq_ignore_ascii_case(&person.domain)
            }
        })
    }

    /// Whether a request to another domain may go to `address`: to public ones, and to those of the configured networks.
    /// What a name leads to is its owner's choice, and this server stands inside networks that they do not.
    pub fn may_reach(&self, address: IpAddr) -> bool {
        let is_allowed = |(network, prefix): &(IpAddr, u8)| in_network(address, *network, *prefix);
        is_public_address(address) || self.outbound_networks.iter().any(is_allowed)
    }

    /// Whether a way leads to ourselves.
    pub(crate) fn is_own(&self, flow: &Flow) -> bool {
        let is_port = |(transport, port): &(Transport, u16)| {
            *transport == flow.transport && *port == flow.remote.port()
        };
        let is_public = self.public_address == Some(flow.remote.ip().to_canonical());
        flow.local == flow.remote || (is_public && self.ports.iter().any(is_port))
    }

    /// Whether `host` is one of our domains.
    pub fn is_ours(&self, host: &str) -> bool {
        self.domains.iter().any(|d| d.eq_ignore_ascii_case(host))
    }

    /// The realm of digest authentication.
    pub fn realm(&self) -> &str {
        self.domains.first().map_or("localhost", |d| d)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_match_by_their_prefix() {
        let config = Config {
            trusted: vec![("10.1.0.0".parse().unwrap(), 16), ("fd00::".parse().unwrap(), 8)],
            ..Config::default()
        };
        assert!(config.trusts("10.1.255.1".parse().unwrap()));
        assert!(config.trusts("::ffff:10.1.2.3".parse().unwrap()));
        assert!(!config.trusts("10.2.0.1".parse().unwrap()));
        assert!(config.trusts("fdff::1".parse().unwrap()));
        assert!(!config.trusts("fe80::1".parse().unwrap()));
    }

    #[test]
    fn only_public_addresses_are_gone_to_unless_configured() {
        let config = Config {
            outbound_networks: vec![("10.9.0.0".parse().unwrap(), 16), ("fd00::".parse().unwrap(), 16)],
            ..Config::default()
        };
        for good in [
            "203.0.113.9",
            "2001:db8::1",
            "10.9.1.1",
            "fd00::1",
            "::ffff:203.0.113.9",
            "64:ff9b::cb00:7109",
        ] {
            assert!(config.may_reach(good.parse().unwrap()), "{good}");
        }
        for bad in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "10.8.1.1",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "192.0.0.8",
            "198.18.0.1",
            "224.0.1.75",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.1.2.3",
            "::127.0.0.1",
            "fe80::1",
            "fc00::1",
            "fd01::1",
            "ff02::1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
        ] {
            assert!(!config.may_reach(bad.parse().unwrap()), "{bad}");
        }
    }

    #[test]
    fn a_prefix_of_zero_is_everybody_of_the_family() {
        let config = Config {
            trusted: vec![("0.0.0.0".parse().unwrap(), 0)],
            ..Config::default()
        };
        assert!(config.trusts("203.0.113.9".parse().unwrap()));
        assert!(!config.trusts("2001:db8::1".parse().unwrap()));
    }
}
