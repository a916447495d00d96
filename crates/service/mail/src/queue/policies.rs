//! Policies of other domains (MTA-STS, RFC 8461), kept for as long as they hold.

use crate::{Mail, MailError};
use ringpost_base::{UnixTime, limits};
use ringpost_store::records::StsPolicy;
use ringpost_store::{Batch, Partition, Record, keys};

impl Mail {
    /// The policy of a domain that holds at `now`.
    pub async fn sts_policy(&self, domain: &str, now: UnixTime) -> Result<Option<StsPolicy>, MailError> {
        let home = Partition::directory_of(domain.as_bytes());
        let stored = self
            .store
            .record::<StsPolicy>(&home, keys::sts_policy(domain))
            .await?;
        let holds = |policy: &StsPolicy| policy.expires > now;
        Ok(stored.map(|stored| stored.record).filter(holds))
    }

    /// Keeps a policy, in place of an earlier one. When this is done it is on stable storage: a restart must not be the
    /// moment for who wants to pass for the domain.
    pub async fn keep_sts_policy(&self, policy: &StsPolicy) -> Result<(), MailError> {
        let home = Partition::directory_of(policy.domain.as_bytes());
        let mut batch = Batch::new(home);
        batch.put(keys::sts_policy(&policy.domain), policy.to_bytes());
        self.store.commit_durable(batch).await?;
        Ok(())
    }

    /// Forgets the policies that hold no longer at `now`, and of the others those that end first, beyond
    /// [`limits::STS_POLICIES`]. To be called every hour or so.
    pub async fn forget_sts_policies(&self, now: UnixTime) -> Result<(), MailError> {
        let mut kept = Vec::new();
        for shelf in 0..Partition::DIRECTORIES {
            let home = Partition::Directory(shelf);
            for entry in self.store.scan(&home, keys::sts_policies()).await? {
                let expires = StsPolicy::from_bytes(&entry.key, entry.value).map(|policy| policy.expires);
                // One that cannot be read has ended.
                kept.push((expires.unwrap_or_default(), home.clone(), entry.key));
            }
        }
        kept.sort();
        let ended = kept.iter().filter(|(expires, ..)| *expires <= now).count();
        let over = kept.len().saturating_sub(limits::STS_POLICIES).max(ended);
        for (_, home, key) in kept.into_iter().take(over) {
            let mut batch = Batch::new(home);
            batch.delete(key);
            self.store.commit(batch).await?;
        }
        Ok(())
    }
}
