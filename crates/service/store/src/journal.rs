use crate::records::Bindings;
use crate::{Batch, CommitError, Key, Partition, Record, Store, StoreError, keys};
use futures_util::future::try_join_all;
use ringpost_base::UnixTime;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Where the registrar's bindings outlive a restart.
///
/// The registrar keeps them in memory and hands over, every 2 s at most, the accounts that changed. One account is one
/// small record, and all accounts lie on [`Partition::DIRECTORIES`] shelves instead of in their own partitions, so 10,000
/// phones that register anew within a minute cost some 330 puts in at most 64 batches every 2 s, which share one sync.
#[derive(Clone)]
pub struct BindingsJournal {
    store: Arc<dyn Store>,
}

impl BindingsJournal {
    /// Over a store.
    pub fn new(store: Arc<dyn Store>) -> Self {
        BindingsJournal { store }
    }

    /// Writes what each of these accounts has now; without bindings it is forgotten. Done when durable.
    /// Of two saves of one account the later call's must begin after the earlier's is done.
    pub async fn save(&self, changed: &[Bindings]) -> Result<(), CommitError> {
        let mut shelves = BTreeMap::new();
        for one in changed {
            let home = keys::bindings_home(one.account);
            let batch = shelves.entry(home.clone()).or_insert_with(|| Batch::new(home));
            let key = keys::bindings(one.account);
            match one.bindings.is_empty() {
                true => batch.delete(key),
                false => batch.put(key, one.to_bytes()),
            };
        }
        try_join_all(
            shelves
                .into_values()
                .map(|batch| self.store.commit_durable(batch)),
        )
        .await?;
        Ok(())
    }

    /// Everything that was saved and has not expired by `now`.
    pub async fn load(&self, now: UnixTime) -> Result<Vec<Bindings>, StoreError> {
        let mut all = Vec::new();
        for shelf in 0..Partition::DIRECTORIES {
            let mut scan = keys::all_bindings().limit(LOADED_AT_ONCE);
            loop {
                let page = self
                    .store
                    .scan(&Partition::Directory(shelf), scan.clone())
                    .await?;
                let Some(last) = page.last().map(|entry| entry.key.clone()) else {
                    break;
                };
                for entry in page {
                    let mut one = Bindings::from_bytes(&entry.key, entry.value)?;
                    one.bindings.retain(|binding| binding.expires > now);
                    if !one.bindings.is_empty() {
                        all.push(one);
                    }
                }
                scan = scan.after(&last);
            }
        }
        Ok(all)
    }

    /// Forgets, by their keys, the accounts whose bindings had all expired by `now`; says how many. For the start, after
    /// [`load`](BindingsJournal::load) and before the first save.
    pub async fn forget_expired(&self, now: UnixTime) -> Result<usize, CommitError> {
        let mut forgotten = 0;
        for shelf in 0..Partition::DIRECTORIES {
            let home = Partition::Directory(shelf);
            let mut batch = Batch::new(home.clone());
            for entry in self.store.scan(&home, keys::all_bindings()).await? {
                let one = Bindings::from_bytes(&entry.key, entry.value)?;
                if one.bindings.iter().all(|binding| binding.expires <= now) {
                    batch
                        .unchanged(entry.key.clone(), entry.version)
                        .delete(entry.key);
                }
            }
            forgotten += batch.deletes.len();
            if !batch.is_empty() {
                self.store.commit_durable(batch).await?;
            }
        }
        Ok(forgotten)
    }

    /// Forgets one account, when it is removed.
    pub async fn forget(&self, account: crate::AccountId) -> Result<(), CommitError> {
        let key: Key = keys::bindings(account);
        let mut batch = Batch::new(keys::bindings_home(account));
        batch.delete(key);
        self.store.commit_durable(batch).await.map(drop)
    }
}

/// Records of one page while all bindings are loaded.
const LOADED_AT_ONCE: usize = 1000;

impl fmt::Debug for BindingsJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BindingsJournal")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::Binding;
    use crate::{AccountId, MemoryStore};
    use futures_util::FutureExt;

    fn one(account: u64, expires_s: &[u64]) -> Bindings {
        let binding = |s: &u64| Binding {
            contact: format!("sip:{account}@192.0.2.1;n={s}"),
            expires: UnixTime::from_secs(*s),
            ..Binding::default()
        };
        Bindings {
            account: AccountId(account),
            address: format!("{account}@example.org"),
            bindings: expires_s.iter().map(binding).collect(),
        }
    }

    #[test]
    fn bindings_come_back_after_a_start_and_expired_ones_do_not() {
        let journal = BindingsJournal::new(Arc::new(MemoryStore::new()));
        let run = async {
            let many: Vec<Bindings> = (0..3000).map(|n| one(n, &[100, 300])).collect();
            journal.save(&many).await.unwrap();
            journal.save(&[one(5, &[]), one(6, &[100])]).await.unwrap();
            let now = UnixTime::from_secs(100);
            let loaded = journal.load(now).await.unwrap();
            assert_eq!(loaded.len(), 2998);
            assert!(
                loaded
                    .iter()
                    .all(|b| b.bindings.len() == 1 && b.account != AccountId(5))
            );
            assert_eq!(journal.forget_expired(now).await, Ok(1));
            assert_eq!(journal.load(UnixTime::default()).await.unwrap().len(), 2998);
        };
        run.now_or_never().unwrap();
    }
}
