use ringpost_auth::digest::Algorithm;
use ringpost_base::limits;
use ringpost_sip::Transport;
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

    /// Whether `host` is one of our domains.
    pub fn is_ours(&self, host: &str) -> bool {
        self.domains.iter().any(|d| d.eq_ignore_ascii_case(host))
    }

    /// The realm of digest authentication.
    pub fn realm(&self) -> &str {
        self.domains.first().map_or("localhost", |d| d)
    }
}

fn in_network(address: IpAddr, network: IpAddr, prefix: u8) -> bool {
    let (a, n, bits) = match (address.to_canonical(), network.to_canonical()) {
        (IpAddr::V4(a), IpAddr::V4(n)) => (u128::from(a.to_bits()), u128::from(n.to_bits()), 32),
        (IpAddr::V6(a), IpAddr::V6(n)) => (a.to_bits(), n.to_bits(), 128),
        _ => return false,
    };
    let drop = bits - u32::from(prefix).min(bits);
    a.checked_shr(drop).unwrap_or(0) == n.checked_shr(drop).unwrap_or(0)
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
    fn a_prefix_of_zero_is_everybody_of_the_family() {
        let config = Config {
            trusted: vec![("0.0.0.0".parse().unwrap(), 0)],
            ..Config::default()
        };
        assert!(config.trusts("203.0.113.9".parse().unwrap()));
        assert!(!config.trusts("2001:db8::1".parse().unwrap()));
    }
}
