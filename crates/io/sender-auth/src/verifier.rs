//! What the mail service asks about a message.

use crate::block_list::{self, BlockList, Health, Listed};
use crate::dkim::verify::{Checked, Signatures};
use crate::dmarc::{self, Alignment, DmarcResult, Policy};
use crate::head::{self, author_domains, fields};
use crate::names::{Answer, Asker, Names};
use crate::results::{self, Found};
use crate::score::{self, Known, Points, Reverse, Score};
use crate::spf::{self, SpfResult};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use ringpost_base::limits;
use ringpost_mail::{Action, Findings, Inspection, Peer, SenderAuth};
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, RwLock};
use std::time::Duration;
use tokio::sync::Semaphore;

/// How long the DNS may take over one message, in all.
const BUDGET: Duration = Duration::from_secs(20);

/// Names of one address that are asked whether they lead back.
const NAMES_OF_AN_ADDRESS: usize = 5;

/// What holds for every message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Our name in Authentication-Results (RFC 8601 §2.5).
    pub server: String,
    /// Whether what a domain wants refused is refused; it is delivered as junk otherwise.
    pub rejects: bool,
    /// Who is believed without a look: our own relays.
    pub trusted: Vec<Network>,
    /// Lists of those who send what nobody wants.
    pub block_lists: Vec<BlockList>,
    /// The score, in tenths of a point, from which a message is delivered as junk.
    pub junk_from: i32,
}

impl Config {
    /// With refusals, and trusting nobody.
    pub fn new(server: impl Into<String>) -> Self {
        Config {
            server: server.into(),
            rejects: true,
            trusted: Vec::new(),
            block_lists: Vec::new(),
            junk_from: 50,
        }
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(address))
    }
}

/// A network: an address, and how many of its bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// The address.
    pub address: IpAddr,
    /// The number of bits.
    pub prefix_bits: u8,
}

impl Network {
    /// Whether it holds an address. An IPv4 address in an IPv6 one counts as the former.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address.to_canonical(), address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let host_bits = 32_u32.saturating_sub(self.prefix_bits.into());
                let differ = network.to_bits() ^ address.to_bits();
                differ.checked_shr(host_bits).unwrap_or(0) == 0
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let host_bits = 128_u32.saturating_sub(self.prefix_bits.into());
                let differ = network.to_bits() ^ address.to_bits();
                differ.checked_shr(host_bits).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

/// Looks at messages from strangers. [`limits::SENDER_CHECKS`] are looked at at a time; another waits, within its time.
pub struct Verifier {
    names: Arc<dyn Names>,
    config: RwLock<Arc<Config>>,
    places: Arc<Semaphore>,
    health: Arc<Health>,
}

impl Verifier {
    /// Over a DNS.
    pub fn new(names: Arc<dyn Names>, config: Config) -> Self {
        Verifier {
            names,
            config: RwLock::new(Arc::new(config)),
            places: Arc::new(Semaphore::new(limits::SENDER_CHECKS)),
            health: Arc::default(),
        }
    }

    /// Goes by another configuration from the next message on.
    pub fn set(&self, config: Config) {
        *self.config.write().unwrap_or_else(|e| e.into_inner()) = Arc::new(config);
    }

    fn config(&self) -> Arc<Config> {
        self.config.read().unwrap_or_else(|e| e.into_inner()).clone()
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier")
    }
}

impl SenderAuth for Verifier {
    fn begin(&self, peer: Peer) -> Option<Box<dyn Inspection>> {
        let config = self.config();
        if config.trusts(peer.address) {
            return None;
        }
        Some(Box::new(Looking {
            names: self.names.clone(),
            config,
            places: self.places.clone(),
            health: self.health.clone(),
            peer,
            state: State::Header(Vec::new()),
        }))
    }

    fn refusing_list(&self, address: IpAddr) -> BoxFuture<'static, Option<String>> {
        let (names, config) = (self.names.clone(), self.config());
        let (places, health) = (self.places.clone(), self.health.clone());
        async move {
            let refuses = |list: &&BlockList| list.listed == Listed::Refuse;
            let lists: Vec<BlockList> = config.block_lists.iter().filter(refuses).cloned().collect();
            if lists.is_empty() || config.trusts(address) {
                return None;
            }
            let asking = async {
                let _place = places.acquire().await;
                block_list::listing(&names, &health, &lists, address).await
            };
            let listed = tokio::time::timeout(BUDGET, asking).await.unwrap_or_default();
            listed.into_iter().next().map(|list| list.zone)
        }
        .boxed()
    }

    fn is_proven(&self, peer: Peer) -> BoxFuture<'static, bool> {
        let (names, places, config) = (self.names.clone(), self.places.clone(), self.config());
        async move {
            if config.trusts(peer.address) {
                return true;
            }
            let sender = peer.sender.as_ref().map(|(local, domain)| (&**local, &**domain));
            let query = spf::Query::new(peer.address, &peer.helo, sender);
            let asking = async {
                let _place = places.acquire().await;
                spf::check(&Asker::new(names), &query).await
            };
            tokio::time::timeout(BUDGET, asking).await == Ok(SpfResult::Pass)
        }
        .boxed()
    }
}

/// A message that comes in.
struct Looking {
    names: Arc<dyn Names>,
    health: Arc<Health>,
    config: Arc<Config>,
    places: Arc<Semaphore>,
    peer: Peer,
    state: State,
}

enum State {
    Header(Vec<u8>),
    Body(Signatures),
    /// Its header is too long to be looked at.
    TooLong,
}

impl Inspection for Looking {
    fn write(&mut self, chunk: &[u8]) {
        let header = match &mut self.state {
            State::Body(signatures) => return signatures.body(chunk),
            State::TooLong => return,
            State::Header(header) => header,
        };
        // An empty line may begin in what was there before.
        let from = header.len().saturating_sub(3);
        header.extend_from_slice(chunk);
        match head::end(header, from) {
            Some((end, body)) => {
                let rest = header.split_off(body);
                header.truncate(end);
                let mut signatures = Signatures::new(std::mem::take(header));
                signatures.body(&rest);
                self.state = State::Body(signatures);
            }
            None if header.len() > limits::MESSAGE_HEADER_BYTES => self.state = State::TooLong,
            None => {}
        }
    }

    fn finish(self: Box<Self>) -> BoxFuture<'static, Findings> {
        async move { self.look().await }.boxed()
    }
}

/// What was found out in time.
struct Outcome {
    spf: SpfResult,
    dkim: Vec<Checked>,
    dmarc: Alignment,
    authors: Option<Vec<String>>,
    score: Score,
}

impl Looking {
    async fn look(self) -> Findings {
        let Looking {
            names,
            health,
            config,
            places,
            peer,
            state,
        } = self;
        let asker = Asker::new(names.clone());
        let signatures = match state {
            State::Body(signatures) => Some(signatures),
            // All of it was header.
            State::Header(header) => Some(Signatures::new(header)),
            State::TooLong => None,
        };
        let header = signatures
            .as_ref()
            .map_or_else(Vec::new, |signatures| signatures.header().to_vec());
        let header = &header[..];
        let authors = authors_of(header);
        let sampled = sample(header);
        let looking = async {
            let _place = places.acquire().await;
            let sender = peer.sender.as_ref().map(|(local, domain)| (&**local, &**domain));
            let query = spf::Query::new(peer.address, &peer.helo, sender);
            let dkim = async {
                match signatures {
                    Some(signatures) => signatures.finish(&asker, peer.now).await,
                    None => Vec::new(),
                }
            };
            let listed = block_list::listing(&names, &health, &config.block_lists, peer.address);
            let (spf, dkim, listed, reverse) = futures_util::join!(
                spf::check(&asker, &query),
                dkim,
                listed,
                reverse(&*names, peer.address)
            );
            let dmarc = dmarc::check(&asker, authors.as_deref(), (spf, &query.domain), &dkim, sampled).await;
            let known = Known {
                address: peer.address,
                helo: &peer.helo,
                server: &config.server,
                reverse,
                listed: &listed,
            };
            let score = score::score(&known, spf, &dkim, &dmarc, header);
            (spf, dkim, dmarc, score)
        };
        let outcome = match tokio::time::timeout(BUDGET, looking).await {
            Ok((spf, dkim, dmarc, score)) => Outcome {
                spf,
                dkim,
                dmarc,
                authors,
                score,
            },
            // Nobody is refused for a slow DNS.
            Err(_) => Outcome {
                score: Score::default(),
                spf: SpfResult::TempError,
                dkim: Vec::new(),
                dmarc: Alignment {
                    result: DmarcResult::TempError,
                    policy: Policy::None,
                    is_aligned: false,
                },
                authors,
            },
        };
        findings(&config, &peer, &outcome)
    }
}

fn findings(config: &Config, peer: &Peer, outcome: &Outcome) -> Findings {
    let author = match outcome.authors.as_deref() {
        Some([author]) => Some(&**author),
        _ => None,
    };
    let found = Found {
        spf: outcome.spf,
        sender: peer.sender.as_ref().map(|(local, domain)| (&**local, &**domain)),
        helo: &peer.helo,
        dkim: &outcome.dkim,
        dmarc: &outcome.dmarc,
        author,
    };
    //= https://www.rfc-editor.org/rfc/rfc7489#section-6.6.2
    let action = match (outcome.dmarc.result, outcome.dmarc.policy) {
        (DmarcResult::Fail, Policy::Reject) if config.rejects => Action::Refuse,
        (DmarcResult::Fail, Policy::Reject | Policy::Quarantine) => Action::Junk,
        _ if outcome.score.tenths >= config.junk_from => Action::Junk,
        _ => Action::Deliver,
    };
    let signed: Vec<String> = outcome
        .dkim
        .iter()
        .map(|one| format!("{}:{}", one.domain, one.result))
        .collect();
    Findings {
        fields: outcome.score.fields(config.junk_from) + &results::field(&config.server, &found),
        action,
        summary: format!(
            "spf={} dkim={} dmarc={} score={}",
            outcome.spf,
            if signed.is_empty() {
                "none".to_owned()
            } else {
                signed.join(",")
            },
            outcome.dmarc.result,
            Points(outcome.score.tenths)
        ),
    }
}

/// What the DNS says of an address's name, and whether that leads back.
async fn reverse(names: &dyn Names, address: IpAddr) -> Reverse {
    let address = address.to_canonical();
    let found = match names.pointers(address).await {
        Answer::Found(found) => found,
        Answer::Nothing => return Reverse::Missing,
        Answer::Failed => return Reverse::Unknown,
    };
    let mut result = Reverse::Unconfirmed;
    for name in found.iter().take(NAMES_OF_AN_ADDRESS) {
        match names.addresses(name, address.is_ipv6()).await {
            Answer::Found(back) if back.contains(&address) => return Reverse::Confirmed,
            Answer::Failed => result = Reverse::Unknown,
            _ => {}
        }
    }
    result
}

/// The domains of the one From field.
//= https://www.rfc-editor.org/rfc/rfc7489#section-6.6.1
fn authors_of(header: &[u8]) -> Option<Vec<String>> {
    let all = fields(header);
    let mut from = all.iter().filter(|field| field.is("From"));
    match (from.next(), from.next()) {
        (Some(from), None) => author_domains(&from.text()),
        _ => None,
    }
}

/// A number below 100 that is the same for the same message.
fn sample(header: &[u8]) -> u32 {
    let hash = crate::dkim::sha256(header);
    u32::from(u16::from_be_bytes([hash[0], hash[1]])) % 100
}

#[cfg(test)]
mod tests;
