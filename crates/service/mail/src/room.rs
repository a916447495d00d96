//! Mail that waits for room in full accounts: shown, tried again, removed.

use crate::{Mail, MailError, TRIES};
use ringpost_base::UnixTime;
use ringpost_store::records::Spool;
use ringpost_store::{AccountId, Entry, Partition, Record, keys};
use std::time::Duration;

/// Not longer than this after there is room again, what waits for it arrives.
const PAUSE_AT_MOST: Duration = Duration::from_secs(5 * 60);

/// A message that waits for room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitsForRoom {
    /// When it is tried next.
    pub due: UnixTime,
    /// All else; its recipients are those who have it not.
    pub record: Spool,
}

/// A message as it is stored, if it waits for room: what was not tried yet is on its way. One that cannot be read hides no
/// other.
fn waiting(entry: &Entry) -> Option<WaitsForRoom> {
    let (due, id) = keys::due_of(&entry.key)?;
    match Spool::from_bytes(&entry.key, entry.value.clone()) {
        Ok(record) => (record.attempts > 0).then_some(WaitsForRoom { due, record }),
        Err(error) => {
            tracing::error!(spool = format_args!("{id:016x}"), %error, "a spooled message cannot be read");
            None
        }
    }
}

impl Mail {
    /// How long until a full account is looked at again.
    pub(crate) fn pause_for_room(&self, attempts: u32) -> Duration {
        self.pause(attempts, PAUSE_AT_MOST).min(PAUSE_AT_MOST)
    }

    /// What waits for room in full accounts, the longest waiting first.
    pub async fn all_that_wait_for_room(&self) -> Result<Vec<WaitsForRoom>, MailError> {
        let mut all = Vec::new();
        for queue in 0..Partition::QUEUES {
            for entry in self.store.scan(&Partition::Queue(queue), keys::spooled()).await? {
                all.extend(waiting(&entry));
            }
        }
        all.sort_by_key(|one| (one.record.received, one.record.id));
        Ok(all)
    }

    /// One message of it.
    pub async fn one_that_waits_for_room(&self, id: u64) -> Result<Option<WaitsForRoom>, MailError> {
        let entry = self.entry_for_room(id).await?;
        Ok(entry.map(|(_, one)| one))
    }

    async fn entry_for_room(&self, id: u64) -> Result<Option<(Entry, WaitsForRoom)>, MailError> {
        let home = Partition::queue_of(id);
        for entry in self.store.scan(&home, keys::spooled()).await? {
            if let Some(one) = waiting(&entry).filter(|one| one.record.id == id) {
                return Ok(Some((entry, one)));
            }
        }
        Ok(None)
    }

    /// Looks at once whether there is room for a message; false when there is none of that number.
    pub async fn try_for_room(&self, id: u64, now: UnixTime) -> Result<bool, MailError> {
        let Some((entry, _)) = self.entry_for_room(id).await? else {
            return Ok(false);
        };
        self.deliver_entry(&Partition::queue_of(id), entry, now).await?;
        Ok(true)
    }

    /// The same for all, or for those that wait for one account.
    pub async fn try_all_for_room(&self, account: Option<AccountId>, now: UnixTime) -> Result<(), MailError> {
        let is_for = |one: &WaitsForRoom| {
            account.is_none() || one.record.recipients.iter().any(|r| r.account == account)
        };
        for queue in 0..Partition::QUEUES {
            let home = Partition::Queue(queue);
            for entry in self.store.scan(&home, keys::spooled()).await? {
                if waiting(&entry).is_some_and(|one| is_for(&one)) {
                    self.deliver_entry(&home, entry, now).await?;
                }
            }
        }
        Ok(())
    }

    /// Forgets a message that waits for room; its sender is not told. False when there is none of that number.
    pub async fn remove_for_room(&self, id: u64, now: UnixTime) -> Result<bool, MailError> {
        for _ in 0..TRIES {
            let Some(one) = self.one_that_waits_for_room(id).await? else {
                return Ok(false);
            };
            let (waiting, notices) = (Vec::new(), Vec::new());
            // It may have been looked at meanwhile, and waits under another time.
            if self
                .forget_spooled(&one.record, one.due, waiting, notices, now)
                .await?
            {
                return Ok(true);
            }
        }
        Err(MailError::Busy)
    }
}
