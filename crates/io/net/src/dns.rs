//! The DNS: the look-ups of RFC 3263 and of mail (RFC 5321 §5), bounded in number, time and size.

mod proven;

pub use proven::{Anchors, AnchorsError, Exchangers, NoAnswer};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ServerOrderingStrategy,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, RecordType};
use ringpost_base::limits;
use ringpost_sip::locate::{Answer, Naptr, Question, Srv};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tracing::{debug, warn};

/// How long one server may take, each of the two times that it is asked.
const SERVER_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a look-up may take in all.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
/// Answers that are remembered, each for its time to live.
const CACHE: u64 = 4_096;

/// A stub resolver, which asks the configured servers, or the system's, and knows the system's file of hosts.
pub struct Resolver {
    asks: Mutex<Asks>,
    places: Semaphore,
    /// Whether the servers give signatures, and since when that is known.
    gives_proofs: tokio::sync::Mutex<Option<(Instant, bool)>>,
}

struct Asks {
    servers: Vec<SocketAddr>,
    /// Made at the first look-up, inside the runtime that its connections live in.
    resolver: Option<TokioResolver>,
    /// Where proofs begin; without them nothing is proven.
    anchors: Option<Anchors>,
    /// The one that asks for proofs.
    prover: Option<TokioResolver>,
}

impl Asks {
    fn new(servers: Vec<SocketAddr>, anchors: Option<Anchors>) -> Self {
        Asks {
            servers,
            resolver: None,
            anchors,
            prover: None,
        }
    }
}

impl Resolver {
    /// Asks `servers`, or the system's where there are none. With `anchors`, what mail asks is proven where it can be.
    pub fn new(servers: Vec<SocketAddr>, anchors: Option<Anchors>) -> Arc<Self> {
        Arc::new(Resolver {
            asks: Mutex::new(Asks::new(servers, anchors)),
            places: Semaphore::new(limits::DNS_LOOKUPS),
            gives_proofs: tokio::sync::Mutex::default(),
        })
    }

    /// Asks others from now on, and reads the system's configuration again; nothing is remembered.
    pub async fn reload(&self, servers: Vec<SocketAddr>, anchors: Option<Anchors>) {
        *self.asks.lock().unwrap_or_else(|e| e.into_inner()) = Asks::new(servers, anchors);
        *self.gives_proofs.lock().await = None;
    }

    fn may_prove(&self) -> bool {
        let asks = self.asks.lock().unwrap_or_else(|e| e.into_inner());
        asks.anchors.is_some()
    }

    /// Looks something up: an empty answer when there is nothing of that kind, `None` when no answer could be had within
    /// five seconds, or [`limits::DNS_LOOKUPS`] are under way.
    pub async fn look_up(&self, question: Question) -> Option<Answer> {
        let asked = question.clone();
        self.within_limits(&question, false, async |resolver| ask(&resolver, &asked).await)
            .await
    }

    async fn within_limits<T>(
        &self,
        question: &impl std::fmt::Debug,
        proven: bool,
        ask: impl AsyncFnOnce(TokioResolver) -> Option<T>,
    ) -> Option<T> {
        let Ok(_place) = self.places.try_acquire() else {
            warn!(?question, "too many DNS look-ups at a time; not asked");
            return None;
        };
        let resolver = self.resolver(proven)?;
        match tokio::time::timeout(LOOKUP_TIMEOUT, ask(resolver)).await {
            Ok(answer) => answer,
            Err(_) => {
                debug!(?question, "no answer from the DNS in time");
                None
            }
        }
    }

    fn resolver(&self, proven: bool) -> Option<TokioResolver> {
        let mut asks = self.asks.lock().unwrap_or_else(|e| e.into_inner());
        let (made, anchors) = match proven {
            true => (&asks.prover, asks.anchors.as_ref()),
            false => (&asks.resolver, None),
        };
        if let Some(made) = made {
            return Some(made.clone());
        }
        let made = build(&asks.servers, anchors);
        let made = made
            .inspect_err(|error| warn!(%error, "no DNS servers: set dns.servers, or mend /etc/resolv.conf"))
            .ok();
        match proven {
            true => asks.prover.clone_from(&made),
            false => asks.resolver.clone_from(&made),
        }
        made
    }
}

fn build(
    servers: &[SocketAddr],
    anchors: Option<&Anchors>,
) -> Result<TokioResolver, hickory_resolver::net::NetError> {
    let mut builder = if servers.is_empty() {
        TokioResolver::builder_tokio()?
    } else {
        let servers = servers.iter().map(|address| {
            let at = |mut connection: ConnectionConfig| {
                connection.port = address.port();
                connection
            };
            let connections = vec![at(ConnectionConfig::udp()), at(ConnectionConfig::tcp())];
            NameServerConfig::new(address.ip(), true, connections)
        });
        let config = ResolverConfig::from_name_servers(servers.collect());
        TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
    };
    if let Some(Anchors(anchors)) = anchors {
        builder = builder.with_trust_anchor(anchors.clone());
    }
    let options = builder.options_mut();
    options.timeout = SERVER_TIMEOUT;
    options.attempts = 2;
    options.cache_size = CACHE;
    // What the system's file of hosts says proves nothing.
    options.use_hosts_file = match anchors {
        Some(_) => ResolveHosts::Never,
        None => ResolveHosts::Always,
    };
    options.server_ordering_strategy = ServerOrderingStrategy::UserProvidedOrder;
    builder.build()
}

async fn ask(resolver: &TokioResolver, question: &Question) -> Option<Answer> {
    let (Question::Naptr(name) | Question::Srv(name) | Question::Addresses(name)) = question;
    // The dot at its end keeps the system's search list away: a URI's host is a whole name.
    let name = format!("{name}.");
    let kind = match question {
        Question::Naptr(_) => RecordType::NAPTR,
        Question::Srv(_) => RecordType::SRV,
        Question::Addresses(_) => {
            let found = resolver.lookup_ip(name).await.map(|found| found.iter().collect());
            return or_nothing(question, found.map(addresses));
        }
    };
    let found = resolver.lookup(name, kind).await.map(|found| {
        let data = found.answers().iter().map(|record| &record.data);
        match kind {
            RecordType::NAPTR => Answer::Naptr(data.filter_map(naptr).take(limits::DNS_RECORDS).collect()),
            _ => Answer::Srv(data.filter_map(srv).take(limits::DNS_RECORDS).collect()),
        }
    });
    or_nothing(question, found)
}

/// That there are no such records is an answer too.
fn or_nothing(question: &Question, found: Result<Answer, hickory_resolver::net::NetError>) -> Option<Answer> {
    match found {
        Ok(answer) => Some(answer),
        Err(error) if error.is_no_records_found() => Some(Answer::nothing(question)),
        Err(error) => {
            debug!(?question, %error, "no answer from the DNS");
            None
        }
    }
}

fn addresses(mut found: Vec<IpAddr>) -> Answer {
    found.truncate(limits::DNS_RECORDS);
    Answer::Addresses(found)
}

fn naptr(data: &RData) -> Option<Naptr> {
    let RData::NAPTR(naptr) = data else { return None };
    // A regular expression makes a URI of the domain: no server of SIP's is found so (RFC 3263 §4.1).
    naptr.regexp.is_empty().then(|| Naptr {
        order: naptr.order,
        preference: naptr.preference,
        flags: String::from_utf8_lossy(&naptr.flags).into_owned(),
        services: String::from_utf8_lossy(&naptr.services).into_owned(),
        replacement: naptr.replacement.to_ascii(),
    })
}

fn srv(data: &RData) -> Option<Srv> {
    let RData::SRV(srv) = data else { return None };
    Some(Srv {
        priority: srv.priority,
        weight: srv.weight,
        port: srv.port,
        target: srv.target.to_ascii(),
    })
}

fn exchanger(data: &RData) -> Option<(u16, String)> {
    let RData::MX(mx) = data else { return None };
    let host = mx.exchange.to_ascii();
    Some((mx.preference, host.trim_end_matches('.').to_owned()))
}

mod records;
#[cfg(test)]
mod tests;

pub use records::Records;
