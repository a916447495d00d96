//! What can be set of an account beside its names and its password.

use crate::{Directory, DirectoryError};
use ringpost_store::records::Account;
use ringpost_store::{Batch, CommitError, Partition, Record, keys};

/// What is set of an account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountSettings {
    /// What its messages may take together; `None` as the configuration says, [`u64::MAX`] without a limit.
    pub quota_bytes: Option<u64>,
    /// How many messages it may have; likewise.
    pub quota_messages: Option<u64>,
    /// Capabilities of IMAP that its programs are not told of, in capitals.
    pub imap_without: Vec<String>,
    /// Whether what looks like junk goes to its inbox like all else.
    pub takes_junk: bool,
}

/// How often a change is begun anew because somebody else changed the account first.
const TRIES: usize = 8;
/// Capabilities that can be turned off for one account.
const WITHOUT: usize = 64;

impl Directory {
    /// What is set of the account with this address.
    pub async fn settings(&self, address: &str) -> Result<AccountSettings, DirectoryError> {
        let account = self.must_find(address).await?;
        let home = Partition::Account(account.id);
        let stored = self.store().record::<Account>(&home, keys::account()).await?;
        let record = stored
            .ok_or_else(|| DirectoryError::NoSuchAccount(address.into()))?
            .record;
        Ok(settings(&record))
    }

    /// Changes what is set, and gives what is set then. It holds for whoever logs in from now on, and for what is stored.
    pub async fn set_settings(
        &self,
        address: &str,
        change: impl Fn(&mut AccountSettings),
    ) -> Result<AccountSettings, DirectoryError> {
        let account = self.must_find(address).await?;
        let home = Partition::Account(account.id);
        let mut outcome = Err(DirectoryError::NoSuchAccount(address.into()));
        for _ in 0..TRIES {
            let Some(stored) = self.store().record::<Account>(&home, keys::account()).await? else {
                return outcome;
            };
            let mut set = settings(&stored.record);
            change(&mut set);
            let is_name = |name: &String| {
                !name.is_empty()
                    && name.len() <= 64
                    && name.bytes().all(|b| b.is_ascii_graphic() && b != b',')
            };
            if set.imap_without.len() > WITHOUT || !set.imap_without.iter().all(is_name) {
                return Err(DirectoryError::BadCapability);
            }
            for name in &mut set.imap_without {
                name.make_ascii_uppercase();
            }
            let record = Account {
                quota_bytes: set.quota_bytes,
                quota_messages: set.quota_messages,
                imap_without: set.imap_without.clone(),
                takes_junk: set.takes_junk,
                ..stored.record
            };
            let mut batch = Batch::new(home.clone());
            let minted = batch.mint(keys::directory_changes());
            batch
                .unchanged(keys::account(), stored.version)
                .put(keys::account(), record.to_bytes());
            match self.store().commit_durable(batch).await {
                Ok(numbers) => {
                    self.announce(account.id, minted.of(&numbers).unwrap_or(u64::MAX));
                    return Ok(set);
                }
                Err(error @ CommitError::Conflict(_)) => outcome = Err(error.into()),
                Err(error) => return Err(error.into()),
            }
        }
        outcome
    }
}

fn settings(record: &Account) -> AccountSettings {
    AccountSettings {
        quota_bytes: record.quota_bytes,
        quota_messages: record.quota_messages,
        imap_without: record.imap_without.clone(),
        takes_junk: record.takes_junk,
    }
}
