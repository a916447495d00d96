//! Which servers take a destination's mail (RFC 5321 §5, RFC 7505).

use super::{Outbound, SmartHost, Stuck};
use crate::world::Proof;
use ringpost_sip::locate::{Answer, Question};
use ringpost_smtp::client::Verdict;
use std::net::{IpAddr, SocketAddr};

/// Where other servers listen.
const SMTP_PORT: u16 = 25;
/// Servers of one destination that are tried, and addresses of each.
const HOSTS: usize = 8;
const ADDRESSES: usize = 4;

/// A server that may be tried.
#[derive(Clone, Debug)]
pub(super) struct Host {
    /// Its name, or its address.
    pub(super) name: String,
    /// Its address, where it is known already.
    address: Option<IpAddr>,
    /// It is the smart host.
    pub(super) smart: Option<SmartHost>,
    /// What demands TLS of it.
    pub(super) asked_by: Option<&'static str>,
    /// What it must prove.
    pub(super) proof: Proof,
}

/// Where a destination's mail goes.
#[derive(Clone, Debug)]
pub(super) struct Route {
    pub(super) destination: String,
    /// The servers to be tried, in their order.
    pub(super) hosts: Vec<Host>,
    /// The DNS has named them, and its domain may say more.
    pub(super) is_found: bool,
    /// DNSSEC proves that they are its.
    pub(super) servers_proven: bool,
}

impl Host {
    fn named(name: &str) -> Self {
        Host {
            name: name.to_owned(),
            address: name.parse().ok(),
            smart: None,
            asked_by: None,
            proof: Proof::Any,
        }
    }
}

impl Outbound {
    /// The servers to be tried.
    pub(super) async fn route(&self, destination: &str) -> Result<Route, Stuck> {
        let route = |hosts: Vec<Host>, is_found: bool, servers_proven: bool| Route {
            destination: destination.to_owned(),
            hosts,
            is_found,
            servers_proven,
        };
        if let Some(smart) = &self.config.smart_host {
            let host = Host {
                smart: Some(smart.clone()),
                ..Host::named(&smart.host)
            };
            return Ok(route(vec![host], false, false));
        }
        if let Some(literal) = destination.strip_prefix('[').and_then(|d| d.strip_suffix(']')) {
            //= https://www.rfc-editor.org/rfc/rfc5321#section-4.1.3
            let host = Host::named(literal.strip_prefix("IPv6:").unwrap_or(literal));
            return match host.address {
                Some(_) => Ok(route(vec![host], false, false)),
                None => Err(Verdict::failed("5.1.2", "the address in brackets is none").into()),
            };
        }
        //= https://www.rfc-editor.org/rfc/rfc5321#section-5.1
        let found = self.dns.exchangers(destination).await;
        let found = found.map_err(|e| Verdict::deferred("4.4.3", e.to_string()))?;
        let (mut found, proven) = (found.servers, found.proven);
        //= https://www.rfc-editor.org/rfc/rfc7505#section-4.2
        if let [only] = &found[..]
            && only.host.is_empty()
        {
            return Err(Verdict::failed("5.1.10", format!("{destination} takes no mail")).into());
        }
        found.retain(|exchanger| !exchanger.host.is_empty());
        if found.is_empty() {
            //= https://www.rfc-editor.org/rfc/rfc5321#section-5.1
            // Its own address is proven, or not, with its TLSA records.
            return Ok(route(vec![Host::named(destination)], true, true));
        }
        // Those of one preference in any order, so that they share the load.
        let mut rng = self.world.rng();
        found.sort_by_key(|exchanger| (exchanger.preference, rng.u32()));
        //= https://www.rfc-editor.org/rfc/rfc5321#section-5.1
        let own = found.iter().find(|e| self.is_own_name(&e.host));
        if let Some(own) = own.map(|own| own.preference) {
            found.retain(|exchanger| exchanger.preference < own);
            if found.is_empty() {
                let text = format!("the mail server of {destination} is this one, which does not serve it");
                return Err(Verdict::failed("5.4.6", text).into());
            }
        }
        let hosts = found.iter().take(HOSTS).map(|e| Host::named(&e.host));
        Ok(route(hosts.collect(), true, proven))
    }

    fn is_own_name(&self, host: &str) -> bool {
        host.eq_ignore_ascii_case(&self.config.hostname)
            || self.directory.is_local(&host.to_ascii_lowercase())
    }

    /// Where a server is, as far as mail may go there.
    pub(super) async fn addresses(&self, host: &Host) -> Result<Vec<SocketAddr>, Verdict> {
        let found = match host.address {
            Some(address) => vec![address],
            None => match self.dns.look_up(Question::Addresses(host.name.clone())).await {
                Some(Answer::Addresses(found)) => found,
                Some(_) | None => {
                    return Err(Verdict::deferred(
                        "4.4.3",
                        format!("the DNS did not answer for {}", host.name),
                    ));
                }
            },
        };
        if found.is_empty() {
            let text = format!("there is no address of {}", host.name);
            //= https://www.rfc-editor.org/rfc/rfc3463#section-3.2
            return Err(Verdict::failed("5.1.2", text));
        }
        let port = host.smart.as_ref().map_or(SMTP_PORT, |smart| smart.port);
        // Whoever configured a smart host knows where it is.
        let may_reach = |address: &IpAddr| host.smart.is_some() || self.config.may_reach(*address);
        let reached: Vec<SocketAddr> = found
            .into_iter()
            .filter(may_reach)
            .take(ADDRESSES)
            .map(|address| SocketAddr::new(address, port))
            .collect();
        if reached.is_empty() {
            let text = format!("{} is at no address that mail may go to", host.name);
            return Err(Verdict::failed("5.4.4", text));
        }
        Ok(reached)
    }
}
