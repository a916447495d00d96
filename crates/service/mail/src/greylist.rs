//! Greylisting: who comes for the first time is asked to come again, which servers do and most of those who send what
//! nobody wants do not.

use crate::{Mail, MailError};
use ringpost_base::{UnixTime, limits, one_peer};
use ringpost_store::records::Greylisted;
use ringpost_store::{Batch, Key, Partition, Record, keys};
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

pub(crate) const DAY: Duration = Duration::from_secs(24 * 3_600);
/// How long one has to come again.
pub(crate) const RETRY_WITHIN: Duration = DAY.saturating_mul(2);
/// How long who came again is known, from the last time on.
pub(crate) const KNOWN: Duration = DAY.saturating_mul(36);
/// How often a network must have come again until it is known as a whole.
pub(crate) const GOOD_NETWORK: u32 = 5;
/// What counts of a sender's address.
const SENDER_BYTES: usize = 400;

impl Mail {
    /// Whether a message may come now from an address and a sender to a recipient: the first that does so is to come again,
    /// `delay` later at the soonest. The null sender is the empty one. When [`limits::GREYLISTED`] are remembered, or the store
    /// fails, whoever comes passes.
    pub async fn may_come(
        &self,
        from: IpAddr,
        sender: &str,
        recipient: &str,
        delay: Duration,
        now: UnixTime,
    ) -> Result<bool, MailError> {
        let network = network(from);
        let sender = cut(sender);
        let home = Partition::directory_of(&network);
        let keys = [
            keys::greylist_network(&network),
            keys::greylisted(&network, sender, recipient),
        ];
        let holds = |known: &Greylisted| known.expires > now;
        let whole = self.greylisted(&home, &keys[0]).await?.filter(holds);
        let known = self.greylisted(&home, &keys[1]).await?.filter(holds);
        let [whole_key, key] = keys;
        let mut batch = Batch::new(home);
        let mut put = |key: Key, record: Greylisted| {
            batch.put(key, record.to_bytes());
        };
        // Written once a day at most.
        let is_old = |known: &Greylisted| known.expires < now + (KNOWN - DAY);
        let passes = match (whole, known) {
            (Some(whole), _) if whole.passed >= GOOD_NETWORK => {
                if !is_old(&whole) {
                    return Ok(true);
                }
                let expires = now + KNOWN;
                put(whole_key, Greylisted { expires, ..whole });
                true
            }
            (_, Some(known)) if known.passed > 0 => {
                if !is_old(&known) {
                    return Ok(true);
                }
                let expires = now + KNOWN;
                put(key, Greylisted { expires, ..known });
                true
            }
            (whole, Some(known)) => {
                if now < known.first + delay {
                    return Ok(false);
                }
                let expires = now + KNOWN;
                let whole = whole.unwrap_or(Greylisted {
                    first: now,
                    ..Greylisted::default()
                });
                let passed = whole.passed.saturating_add(1);
                let whole = Greylisted {
                    passed,
                    expires,
                    ..whole
                };
                put(whole_key, whole);
                put(
                    key,
                    Greylisted {
                        passed: 1,
                        expires,
                        ..known
                    },
                );
                true
            }
            (_, None) => {
                if self.greylisted.fetch_add(1, Ordering::Relaxed) >= limits::GREYLISTED {
                    return Ok(true);
                }
                put(
                    key,
                    Greylisted {
                        first: now,
                        passed: 0,
                        expires: now + RETRY_WITHIN,
                    },
                );
                false
            }
        };
        self.store.commit_durable(batch).await?;
        Ok(passes)
    }

    async fn greylisted(&self, home: &Partition, key: &Key) -> Result<Option<Greylisted>, MailError> {
        let stored = self.store.record::<Greylisted>(home, key.clone()).await?;
        Ok(stored.map(|stored| stored.record))
    }

    /// Forgets who has not come in time, and counts the others. To be called at the start, and every hour or so.
    pub async fn forget_greylisted(&self, now: UnixTime) -> Result<(), MailError> {
        let mut kept = 0;
        for shelf in 0..Partition::DIRECTORIES {
            let home = Partition::Directory(shelf);
            let mut gone = Vec::new();
            for scan in keys::all_greylisted() {
                for entry in self.store.scan(&home, scan).await? {
                    let read = Greylisted::from_bytes(&entry.key, entry.value);
                    match read.is_ok_and(|known| known.expires > now) {
                        true => kept += 1,
                        false => gone.push(entry.key),
                    }
                }
            }
            for keys in gone.chunks(1_000) {
                let mut batch = Batch::new(home.clone());
                keys.iter().for_each(|key| {
                    batch.delete(key.clone());
                });
                self.store.commit(batch).await?;
            }
        }
        self.greylisted.store(kept, Ordering::Relaxed);
        Ok(())
    }
}

/// The network of an address: of IPv4 24 bits, since large servers have many addresses, of IPv6 64.
fn network(address: IpAddr) -> [u8; 16] {
    match one_peer(address) {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            std::net::Ipv4Addr::new(a, b, c, 0).to_ipv6_mapped().octets()
        }
        IpAddr::V6(address) => address.octets(),
    }
}

fn cut(sender: &str) -> &str {
    match sender.char_indices().find(|(at, _)| *at >= SENDER_BYTES) {
        Some((end, _)) => &sender[..end],
        None => sender,
    }
}
