//! Where mounts may be pulled from.

use crate::world::Dns;
use ringpost_base::{in_network, is_public_address};
use ringpost_sip::locate;
use ringpost_stream::hub::Unresolved;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// Who finds the servers that mounts are pulled from, and where those may be.
#[derive(Clone)]
pub struct PullSources {
    /// Who is asked for addresses.
    pub dns: Arc<dyn Dns>,
    /// Networks whose addresses may be gone to though they are not public ones, by the bits that count. They may change while
    /// the server runs.
    pub networks: Arc<Mutex<Vec<(IpAddr, u8)>>>,
}

impl PullSources {
    /// The addresses of a host, a name or an address itself (IPv6 in brackets), that may be gone to.
    // Guards pitfall RTSP 10: what is connected to is what was looked at here, and it is looked at again for each connection.
    pub(super) async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, Unresolved> {
        let addresses = match address_of(host) {
            Some(address) => vec![address],
            None => {
                let question = locate::Question::Addresses(host.trim_end_matches('.').to_owned());
                match self.dns.look_up(question).await {
                    Some(locate::Answer::Addresses(addresses)) => addresses,
                    Some(_) => Vec::new(),
                    None => return Err(Unresolved::Unavailable),
                }
            }
        };
        let networks = self.networks.lock().unwrap_or_else(PoisonError::into_inner);
        let allowed: Vec<_> = addresses
            .iter()
            .copied()
            .filter(|address| may_be_pulled_from(*address, &networks))
            .collect();
        match (allowed.is_empty(), addresses.first()) {
            (false, _) => Ok(allowed),
            (true, Some(first)) => Err(Unresolved::Denied(*first)),
            (true, None) => Err(Unresolved::Unknown),
        }
    }
}

/// The address that a host is written as.
fn address_of(host: &str) -> Option<IpAddr> {
    let inside = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match inside {
        Some(inside) => inside.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => host.parse().ok(),
    }
}

/// Whether a mount may be pulled from an address: a public one, or one of these networks.
pub fn may_be_pulled_from(address: IpAddr, networks: &[(IpAddr, u8)]) -> bool {
    let is_allowed = |(network, prefix): &(IpAddr, u8)| in_network(address, *network, *prefix);
    is_public_address(address) || networks.iter().any(is_allowed)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::testing::at_once;
    use crate::world::{Exchangers, NoAnswer, Tlsa};
    use futures_util::FutureExt;
    use futures_util::future::{BoxFuture, ready};

    /// Knows these addresses of every name but two.
    struct Known(Vec<IpAddr>);

    impl Dns for Known {
        fn exchangers(&self, _: &str) -> BoxFuture<'static, Result<Exchangers, NoAnswer>> {
            ready(Ok(Exchangers::default())).boxed()
        }

        fn texts(&self, _: &str) -> BoxFuture<'static, Option<Vec<String>>> {
            ready(None).boxed()
        }

        fn tlsa(&self, _: &str) -> BoxFuture<'static, Result<Option<Vec<Tlsa>>, NoAnswer>> {
            ready(Ok(None)).boxed()
        }

        fn look_up(&self, question: locate::Question) -> BoxFuture<'static, Option<locate::Answer>> {
            let answer = match question {
                locate::Question::Addresses(name) if name == "unanswered.test" => None,
                locate::Question::Addresses(name) if name == "unknown.test" => {
                    Some(locate::Answer::Addresses(Vec::new()))
                }
                locate::Question::Addresses(_) => Some(locate::Answer::Addresses(self.0.clone())),
                _ => None,
            };
            ready(answer).boxed()
        }
    }

    pub(crate) fn sources(known: &[&str], networks: &[(&str, u8)]) -> PullSources {
        let networks = networks
            .iter()
            .map(|(network, bits)| (network.parse().unwrap(), *bits));
        PullSources {
            dns: Arc::new(Known(known.iter().map(|text| text.parse().unwrap()).collect())),
            networks: Arc::new(Mutex::new(networks.collect())),
        }
    }

    fn resolved(known: &[&str], networks: &[(&str, u8)], host: &str) -> Result<Vec<IpAddr>, Unresolved> {
        at_once(sources(known, networks).resolve(host))
    }

    // Guards pitfall RTSP 10.
    #[test]
    fn addresses_of_our_own_networks_are_denied_however_they_are_written_unless_they_are_named() {
        for own in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.20",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
        ] {
            let denied = Err(Unresolved::Denied(own.parse().unwrap()));
            assert_eq!(resolved(&[own], &[], "camera.test"), denied, "{own} by name");
            let written = if own.contains(':') {
                format!("[{own}]")
            } else {
                own.to_owned()
            };
            assert_eq!(resolved(&[], &[], &written), denied, "{own} as it is");
        }
        let networks = &[("192.168.0.0", 16), ("fd00::", 8)];
        let allowed = |host: &str| resolved(&[], networks, host).is_ok();
        assert!(allowed("192.168.1.20") && allowed("[fd00::7]") && allowed("[::ffff:192.168.1.20]"));
        assert!(!allowed("10.0.0.1") && !allowed("127.0.0.1"));
    }

    #[test]
    fn of_several_addresses_those_are_left_that_may_be_gone_to() {
        let known = ["127.0.0.1", "192.0.2.7", "2001:db8::7"];
        let left: Vec<IpAddr> = vec!["192.0.2.7".parse().unwrap(), "2001:db8::7".parse().unwrap()];
        assert_eq!(resolved(&known, &[], "camera.test"), Ok(left));
        assert_eq!(resolved(&known, &[], "unknown.test"), Err(Unresolved::Unknown));
        assert_eq!(
            resolved(&known, &[], "unanswered.test"),
            Err(Unresolved::Unavailable)
        );
    }
}
