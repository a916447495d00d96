//! Block lists in the DNS (RFC 5782): is an address in a zone that somebody keeps of those who send what nobody wants?

use crate::names::{Answer, Names};
use std::collections::HashMap;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What is done with who is in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listed {
    /// Its mail is refused.
    Refuse,
    /// So much is added to the score of its mail, in tenths.
    Score(i32),
}

/// A list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockList {
    /// Its zone, without a dot at the end.
    pub zone: String,
    /// What is done with who is in it.
    pub listed: Listed,
}

/// How long it holds whether a list works.
const CHECKED: Duration = Duration::from_secs(3_600);

/// Whether lists work, as their test entries tell, for IPv4 and for IPv6.
#[derive(Debug, Default)]
pub(crate) struct Health(Mutex<HashMap<(String, bool), (Instant, bool)>>);

/// The lists that an address is in. What gives no answer, or gives the same to everybody, lists nobody.
pub(crate) async fn listing(
    names: &Arc<dyn Names>,
    health: &Health,
    lists: &[BlockList],
    address: IpAddr,
) -> Vec<BlockList> {
    let asked = lists.iter().map(async |list| {
        let is_listed = is_listed(names, &list.zone, address).await == Some(true);
        (is_listed && works(names, health, &list.zone, address.to_canonical().is_ipv6()).await)
            .then(|| list.clone())
    });
    futures_util::future::join_all(asked)
        .await
        .into_iter()
        .flatten()
        .collect()
}

/// Whether the list has its test entry and not the other, as one that is alive does: a zone that was given up often
/// answers every question.
//= https://www.rfc-editor.org/rfc/rfc5782#section-5
async fn works(names: &Arc<dyn Names>, health: &Health, zone: &str, v6: bool) -> bool {
    let key = (zone.to_owned(), v6);
    let known = health
        .0
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get(&key)
        .copied();
    if let Some((at, works)) = known
        && at.elapsed() < CHECKED
    {
        return works;
    }
    let entry = |last| -> IpAddr {
        let v4 = Ipv4Addr::new(127, 0, 0, last);
        match v6 {
            true => v4.to_ipv6_mapped().into(),
            false => v4.into(),
        }
    };
    let (there, not_there) = (ask(names, zone, entry(2)), ask(names, zone, entry(1)));
    let (Some(there), Some(not_there)) = futures_util::future::join(there, not_there).await else {
        return false;
    };
    let works = there && !not_there;
    if !works && known.is_none_or(|(_, worked)| worked) {
        tracing::warn!(
            zone,
            v6,
            there,
            not_there,
            "a block list that does not list its test entry alone is not heeded"
        );
    }
    let mut health = health.0.lock().unwrap_or_else(PoisonError::into_inner);
    health.insert(key, (Instant::now(), works));
    works
}

async fn is_listed(names: &Arc<dyn Names>, zone: &str, address: IpAddr) -> Option<bool> {
    ask(names, zone, address.to_canonical()).await
}

/// Whether the zone has an entry for an address; `None` when that cannot be told.
async fn ask(names: &Arc<dyn Names>, zone: &str, address: IpAddr) -> Option<bool> {
    match names.addresses(&question(address, zone), false).await {
        Answer::Found(found) => Some(found.into_iter().any(means_listed)),
        Answer::Nothing => Some(false),
        Answer::Failed => None,
    }
}

/// Entries are addresses of 127.0.0.0/8. The last of its networks is what lists answer with that want to say something
/// else, such as that too much is asked of them.
//= https://www.rfc-editor.org/rfc/rfc5782#section-2.1
fn means_listed(entry: IpAddr) -> bool {
    match entry {
        IpAddr::V4(entry) => entry.octets()[0] == 127 && entry.octets()[..3] != [127, 255, 255],
        IpAddr::V6(_) => false,
    }
}

/// The address's bytes in decimal, or its nibbles, the last first, below the zone.
//= https://www.rfc-editor.org/rfc/rfc5782#section-2.4
fn question(address: IpAddr, zone: &str) -> String {
    let mut name = String::new();
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            let _ = write!(name, "{d}.{c}.{b}.{a}.");
        }
        IpAddr::V6(address) => nibbles(address, &mut name),
    }
    name + zone
}

fn nibbles(address: Ipv6Addr, name: &mut String) {
    for byte in address.octets().into_iter().rev() {
        let _ = write!(name, "{:x}.{:x}.", byte & 15, byte >> 4);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Table;

    async fn zones(table: &Table, address: &str) -> Vec<String> {
        let names: Arc<dyn Names> = Arc::new(table.clone());
        let lists = ["good.test", "all.test", "empty.test", "dead.test", "odd.test"].map(|zone| BlockList {
            zone: zone.into(),
            listed: Listed::Refuse,
        });
        let found = listing(&names, &Health::default(), &lists, address.parse().unwrap()).await;
        found.into_iter().map(|list| list.zone).collect()
    }

    // RFC 5782 §2.1, §2.4, §5 and §6.
    #[tokio::test]
    async fn an_address_is_listed_where_a_list_that_works_says_so() {
        let mut table = Table::default();
        table
            .a("2.0.0.127.good.test", &["127.0.0.2"])
            .a("99.2.0.192.good.test", &["127.0.0.4", "198.51.100.1"])
            .a("98.2.0.192.good.test", &["198.51.100.1"])
            .a("97.2.0.192.good.test", &["127.255.255.254"]);
        // One that answers everything, one that has no test entry, one that fails, one with other answers.
        for address in ["2.0.0.127", "1.0.0.127", "99.2.0.192"] {
            table.a(&format!("{address}.all.test"), &["127.0.0.2"]);
        }
        table.a("99.2.0.192.empty.test", &["127.0.0.2"]);
        table.fail("99.2.0.192.dead.test");
        table
            .a("2.0.0.127.odd.test", &["127.0.0.2"])
            .a("99.2.0.192.odd.test", &["10.0.0.1"]);
        assert_eq!(zones(&table, "192.0.2.99").await, ["good.test"]);
        assert_eq!(zones(&table, "::ffff:192.0.2.99").await, ["good.test"]);
        for not_listed in ["192.0.2.98", "192.0.2.97", "192.0.2.1"] {
            assert!(zones(&table, not_listed).await.is_empty(), "{not_listed}");
        }
    }

    #[tokio::test]
    async fn ipv6_is_asked_for_by_nibbles() {
        let name = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.good.test";
        assert_eq!(question("2001:db8::1".parse().unwrap(), "good.test"), name);
        let mut table = Table::default();
        table.a(name, &["127.0.0.2"]);
        assert!(
            zones(&table, "2001:db8::1").await.is_empty(),
            "it has no test entry of IPv6"
        );
        let test = "2.0.0.0.0.0.f.7.f.f.f.f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.good.test";
        table.a(test, &["127.0.0.2"]);
        assert_eq!(zones(&table, "2001:db8::1").await, ["good.test"]);
    }
}
