//! What waits for other servers, as an administrator sees it: listed, tried again, removed.

use super::hold::why_held;
use super::{Held, QueuedMessage};
use crate::{Mail, MailError};
use ringpost_base::UnixTime;
use ringpost_store::records::Queued;
use ringpost_store::{Partition, Record, keys};

/// A queued message as an administrator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueEntry {
    /// When it is tried next, or when the lease of who is at work on it ends.
    pub due: UnixTime,
    /// What holds it back, if something does.
    pub held: Option<Held>,
    /// All else.
    pub record: Queued,
}

impl Mail {
    /// Everything that waits for other servers, the longest waiting first.
    pub async fn queue_entries(&self) -> Result<Vec<QueueEntry>, MailError> {
        let mut entries = Vec::new();
        for n in 0..Partition::QUEUES {
            entries.extend(self.entries_of(&Partition::Queue(n)).await?);
        }
        entries.sort_by_key(|entry| (entry.record.received, entry.record.id));
        Ok(entries)
    }

    /// One message that waits.
    pub async fn queue_entry(&self, id: u64) -> Result<Option<QueueEntry>, MailError> {
        let entries = self.entries_of(&Partition::queue_of(id)).await?;
        Ok(entries.into_iter().find(|entry| entry.record.id == id))
    }

    async fn entries_of(&self, home: &Partition) -> Result<Vec<QueueEntry>, MailError> {
        let holds = self.queue_holds().await?;
        let found = self.store.scan(home, keys::all_queued()).await?.into_iter();
        let read = found.map(|entry| {
            let due = keys::due_of(&entry.key).map(|(due, _)| due).unwrap_or_default();
            let record = Queued::from_bytes(&entry.key, entry.value)?;
            let held = why_held(&record, &holds);
            Ok(QueueEntry { due, held, record })
        });
        read.collect()
    }

    /// Has a waiting message tried as soon as there is room, or as soon as it is released. False when there is none of that number;
    /// [`MailError::Busy`] when somebody is at work on it.
    pub async fn retry_queued(&self, id: u64, now: UnixTime) -> Result<bool, MailError> {
        let Some(mut message) = self.take_queued(id).await? else {
            return Ok(false);
        };
        let filed = self.file(&mut message, now).await;
        self.release(message);
        self.queue.index().wake(id);
        self.queue.tell();
        filed.map(|()| true)
    }

    /// Forgets a waiting message; its sender is not told. Answers as [`retry_queued`](Mail::retry_queued).
    pub async fn remove_queued(&self, id: u64) -> Result<bool, MailError> {
        let Some(mut message) = self.take_queued(id).await? else {
            return Ok(false);
        };
        let recipients = std::mem::take(&mut message.record.recipients);
        let due = message.due;
        let filed = self.file(&mut message, due).await;
        if filed.is_err() {
            message.record.recipients = recipients;
        }
        self.release(message);
        filed.map(|()| true)
    }

    /// Takes a message that waits, whoever asks: in a server nobody else takes it meanwhile.
    pub(super) async fn take_queued(&self, id: u64) -> Result<Option<QueuedMessage>, MailError> {
        let Some(entry) = self.queue_entry(id).await? else {
            return Ok(None);
        };
        if self.queue.is_loaded() {
            let mut index = self.queue.index();
            match index.take_one(id) {
                Some(due) if due == entry.due => {}
                // It was filed anew since it was looked at.
                Some(_) => {
                    index.untake(id);
                    return Err(MailError::Busy);
                }
                None => return Err(MailError::Busy),
            }
        }
        Ok(Some(QueuedMessage {
            record: entry.record,
            due: entry.due,
            retry_at: entry.due,
            delayed: false,
            gone: false,
            knows_dsn: false,
        }))
    }
}
