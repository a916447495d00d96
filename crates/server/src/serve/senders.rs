//! Who strangers' mail is from: the verifier over the real DNS.

use crate::config::{BlockList, Config, ListAction};
use futures_util::future::BoxFuture;
use ringpost_mail::{Inspection, Peer, SenderAuth};
use ringpost_net::dns::{Records, Resolver};
use ringpost_sender_auth::{self as sender_auth, Answer, Listed, Names, Network, Verifier};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The verifier as the configuration wants it now.
#[derive(Debug)]
pub(crate) struct Senders {
    verifier: Verifier,
    server: String,
    verifies: AtomicBool,
}

impl Senders {
    /// `server` is our name in what is found out.
    pub(crate) fn new(resolver: Arc<Resolver>, server: &str, config: &Config) -> Self {
        Senders {
            verifier: Verifier::new(Arc::new(Asked(resolver)), of(server, config)),
            server: server.to_owned(),
            verifies: AtomicBool::new(config.incoming.verify),
        }
    }

    pub(crate) fn set(&self, config: &Config) {
        self.verifier.set(of(&self.server, config));
        self.verifies.store(config.incoming.verify, Ordering::Relaxed);
    }
}

fn of(server: &str, config: &Config) -> sender_auth::Config {
    let relays = config.incoming.relays.iter().map(|network| network.parts());
    sender_auth::Config {
        rejects: config.incoming.reject,
        trusted: relays
            .map(|(address, prefix_bits)| Network { address, prefix_bits })
            .collect(),
        block_lists: config.incoming.block_lists.iter().map(block_list).collect(),
        junk_from: tenths(config.incoming.junk_score),
        ..sender_auth::Config::new(server)
    }
}

fn block_list(list: &BlockList) -> sender_auth::BlockList {
    sender_auth::BlockList {
        zone: list.zone.trim_end_matches('.').to_ascii_lowercase(),
        listed: match list.action {
            ListAction::Refuse => Listed::Refuse,
            ListAction::Score => Listed::Score(tenths(list.score)),
        },
    }
}

/// Points in tenths; the configuration bounds them.
fn tenths(points: f64) -> i32 {
    (points * 10.0).round() as i32
}

impl SenderAuth for Senders {
    fn begin(&self, peer: Peer) -> Option<Box<dyn Inspection>> {
        match self.verifies.load(Ordering::Relaxed) {
            true => self.verifier.begin(peer),
            false => None,
        }
    }

    fn refusing_list(&self, address: IpAddr) -> BoxFuture<'static, Option<String>> {
        self.verifier.refusing_list(address)
    }

    fn is_proven(&self, peer: Peer) -> BoxFuture<'static, bool> {
        self.verifier.is_proven(peer)
    }
}

/// The resolver as the verifier asks it.
struct Asked(Arc<Resolver>);

impl Names for Asked {
    fn texts(&self, name: &str) -> BoxFuture<'static, Answer<Vec<u8>>> {
        let (resolver, name) = (self.0.clone(), name.to_owned());
        Box::pin(async move { answer(resolver.texts(&name).await) })
    }

    fn addresses(&self, host: &str, v6: bool) -> BoxFuture<'static, Answer<IpAddr>> {
        let (resolver, host) = (self.0.clone(), host.to_owned());
        Box::pin(async move { answer(resolver.host_addresses(&host, v6).await) })
    }

    fn exchangers(&self, domain: &str) -> BoxFuture<'static, Answer<String>> {
        let (resolver, domain) = (self.0.clone(), domain.to_owned());
        Box::pin(async move { answer(resolver.mail_hosts(&domain).await) })
    }

    fn pointers(&self, address: IpAddr) -> BoxFuture<'static, Answer<String>> {
        let resolver = self.0.clone();
        Box::pin(async move { answer(resolver.pointers(address).await) })
    }
}

fn answer<T>(records: Records<T>) -> Answer<T> {
    match records {
        Records::Found(found) => Answer::Found(found),
        Records::Nothing => Answer::Nothing,
        Records::Failed => Answer::Failed,
    }
}
