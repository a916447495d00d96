use crate::records::{Account, Address, Delivered, Mailbox};
use crate::{
    Batch, BlobId, Blobs, CommitError, Entry, Key, Partition, Record, Scan, Store, StoreError, counter_value,
    keys, mailbox,
};
use ringpost_base::{UnixTime, limits};
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Removes bodies that nothing names any more, and finishes what was stopped half-way: deleted mailboxes, removed accounts.
///
/// A body in a [`Blobs`] is written before the commit that names it, so one that is younger than the grace is left alone.
/// References move in one direction only, from a queue to an account, and the new one is written before the old one is
/// removed; so the queues are looked through before the accounts, and no reference can slip past. The same grace covers
/// an account whose address is about to be written, and a body of an account that is named no more: a session that was
/// not told that the message is gone may still read it. The first pass that meets the note of such a body writes its time
/// into it, and the first one that comes a grace later removes the body.
pub struct Sweeper {
    store: Arc<dyn Store>,
    blobs: Arc<dyn Blobs>,
    grace: Duration,
}

/// What one sweep removed, and what it could not read.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Swept {
    /// Bodies that lay with their batches.
    pub inline: u64,
    /// Bodies that lay in a [`Blobs`].
    pub separate: u64,
    /// Accounts that no address led to.
    pub accounts: u64,
    /// Changes of mailboxes that are older than the log reaches.
    pub changes: u64,
    /// Records of deliveries whose spooled message is long gone.
    pub deliveries: u64,
    /// What was passed over since it could not be read: nobody but `check-store` and the operator can mend it.
    pub troubles: u64,
    /// What the first of these were.
    pub told: Vec<String>,
}

/// Troubles that are told one by one.
const TOLD: usize = 20;

impl Swept {
    /// Notes a trouble with one account or record, for whose sake all others need not wait; any other error ends the pass.
    fn pass_over(&mut self, what: impl fmt::Display, error: CommitError) -> Result<(), CommitError> {
        let CommitError::Io(why) = error else {
            return Err(error);
        };
        self.troubles += 1;
        if self.told.len() < TOLD {
            self.told.push(format!("{what}: {why}"));
        }
        Ok(())
    }
}

/// Far above the days for which a spooled message is tried.
const DELIVERED_KEPT: Duration = Duration::from_secs(30 * 86_400);
/// Records looked at in one read.
const PAGE: usize = 1000;

impl Sweeper {
    /// A grace of an hour is far above what a message takes from its first byte to its commit, and above the time after
    /// which a session that says nothing is ended.
    pub const GRACE: Duration = Duration::from_secs(3600);

    /// Over a store and its large bodies.
    pub fn new(store: Arc<dyn Store>, blobs: Arc<dyn Blobs>, grace: Duration) -> Self {
        Sweeper { store, blobs, grace }
    }

    /// One pass over everything. What cannot be read is passed over and told of; large bodies that it may name stay.
    ///
    /// # Errors
    /// When the store takes nothing, or there is no room for what a pass writes.
    pub async fn sweep(&self, now: UnixTime) -> Result<Swept, CommitError> {
        let mut swept = Swept::default();
        // The list comes first: a body written during the pass is not on it.
        let written = self.separate_before(now - self.grace).await?;
        let (mut named, mut all_named) = (HashSet::new(), true);
        for n in 0..Partition::QUEUES {
            let queue = Partition::Queue(n);
            match self.sweep_partition(&queue, now, &mut named).await {
                Ok(inline) => swept.inline += inline,
                Err(error) => {
                    all_named = false;
                    swept.pass_over(format_args!("{queue:?}"), error)?;
                }
            }
        }
        let mut after = None;
        loop {
            let page = self.store.partitions(after, PAGE).await?;
            let Some(last) = page.last().cloned() else { break };
            for partition in page.iter().filter(|p| matches!(p, Partition::Account(_))) {
                if let Err(error) = self.sweep_home(partition, now, &mut named, &mut swept).await {
                    all_named = false;
                    swept.pass_over(format_args!("{partition:?}"), error)?;
                }
            }
            after = Some(last);
        }
        // What is durable is durable in the order it was applied in: after this commit nothing that removed a reference
        // can be undone by a loss of power, which would leave a name without its body.
        let mut mark = Batch::new(keys::SWEPT_HOME);
        mark.put(keys::swept(), Vec::new());
        self.store.commit_durable(mark).await?;
        let nameless = written.into_iter().filter(|id| all_named && !named.contains(id));
        for id in nameless {
            self.blobs.delete(id).await?;
            swept.separate += 1;
        }
        Ok(swept)
    }

    /// One account: all of it goes if nothing leads to it.
    async fn sweep_home(
        &self,
        home: &Partition,
        now: UnixTime,
        named: &mut HashSet<BlobId>,
        swept: &mut Swept,
    ) -> Result<(), CommitError> {
        if self.is_abandoned(home, now).await? {
            clear_partition(&*self.store, home).await?;
            swept.accounts += 1;
            return Ok(());
        }
        swept.inline += self.sweep_partition(home, now, named).await?;
        self.sweep_account(home, now, swept).await
    }

    async fn separate_before(&self, limit: UnixTime) -> Result<Vec<BlobId>, StoreError> {
        let (mut old, mut after) = (Vec::new(), None);
        loop {
            let page = self.blobs.list(after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(old) };
            after = Some(last.id);
            old.extend(
                page.iter()
                    .filter(|info| info.written < limit)
                    .map(|info| info.id),
            );
        }
    }

    /// Finishes deleted mailboxes, trims logs, and forgets deliveries that nobody will repeat.
    async fn sweep_account(
        &self,
        home: &Partition,
        now: UnixTime,
        swept: &mut Swept,
    ) -> Result<(), CommitError> {
        let Partition::Account(account) = home else {
            return Ok(());
        };
        for entry in self.store.scan(home, keys::mailboxes()).await? {
            let id = match Mailbox::from_bytes(&entry.key, entry.value) {
                Ok(mailbox) => mailbox.id,
                Err(error) => {
                    swept.pass_over(format_args!("{home:?}"), error.into())?;
                    continue;
                }
            };
            match mailbox::trim_log(&*self.store, *account, id, limits::MAILBOX_CHANGES).await {
                Ok(trimmed) => swept.changes += trimmed,
                // It was deleted meanwhile.
                Err(CommitError::Conflict(_)) => {}
                Err(e) => return Err(e),
            }
        }
        let mut scan = keys::deliveries().limit(PAGE);
        loop {
            let page = self.store.scan(home, scan.clone()).await?;
            let Some(last) = page.last().map(|entry| entry.key.clone()) else {
                return Ok(());
            };
            let mut batch = Batch::new(home.clone());
            for entry in page {
                match Delivered::from_bytes(&entry.key, entry.value) {
                    Ok(delivered) if delivered.at + DELIVERED_KEPT < now => {
                        batch.delete(entry.key);
                    }
                    Ok(_) => {}
                    Err(error) => swept.pass_over(format_args!("{home:?}"), error.into())?,
                }
            }
            if !batch.is_empty() {
                swept.deliveries += batch.deletes.len() as u64;
                self.store.commit(batch).await?;
            }
            scan = scan.after(&last);
        }
    }

    /// Follows the partition's notes, and gathers which separate bodies it names, or named a short time ago.
    async fn sweep_partition(
        &self,
        home: &Partition,
        now: UnixTime,
        named: &mut HashSet<BlobId>,
    ) -> Result<u64, CommitError> {
        if let Partition::Account(account) = home {
            mailbox::clear_leaving(&*self.store, *account).await?;
        }
        let mut swept = 0;
        let mut notes = keys::sweeps().limit(PAGE);
        loop {
            let page = self.store.scan(home, notes.clone()).await?;
            let Some(last) = page.last().map(|entry| entry.key.clone()) else {
                break;
            };
            for note in self.ripe(home, page, now).await? {
                swept += u64::from(self.follow(home, note).await?);
            }
            notes = notes.after(&last);
        }
        let mut counts = keys::separate_blob_counts().limit(PAGE);
        loop {
            let page = self.store.scan(home, counts.clone()).await?;
            let Some(last) = page.last().map(|entry| entry.key.clone()) else {
                break;
            };
            // A count of zero waits for its note.
            named.extend(page.iter().filter_map(|entry| keys::blob_of(&entry.key)));
            counts = counts.after(&last);
        }
        Ok(swept)
    }

    /// Those of the notes whose time has come. The others are given one if they have none: removing a name writes the
    /// note anew, without a time.
    async fn ripe(
        &self,
        home: &Partition,
        notes: Vec<Entry>,
        now: UnixTime,
    ) -> Result<Vec<Entry>, CommitError> {
        // Of what a queue held nobody has seen anything.
        if matches!(home, Partition::Queue(_)) {
            return Ok(notes);
        }
        let mut ripe = Vec::new();
        let mut batch = Batch::new(home.clone());
        for note in notes {
            match keys::swept_since(&note.value) {
                Some(since) if since + self.grace <= now => ripe.push(note),
                // The clock may have gone back.
                Some(since) if since <= now => {}
                _ => {
                    batch
                        .unchanged(note.key.clone(), note.version)
                        .put(note.key, now.as_nanos().to_be_bytes().to_vec());
                }
            }
        }
        if !batch.is_empty() {
            match self.store.commit(batch).await {
                // Another message is expunged just now: the next pass writes the time.
                Ok(_) | Err(CommitError::Conflict(_)) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(ripe)
    }

    /// Removes the body that a note speaks of if its count is zero, and the note in any case.
    async fn follow(&self, home: &Partition, note: Entry) -> Result<bool, CommitError> {
        let Some(id) = keys::blob_of(&note.key) else {
            return Ok(false);
        };
        let key = keys::blob_count(id);
        let mut batch = Batch::new(home.clone());
        // A note that was written anew since has its own time to wait for.
        batch.unchanged(note.key.clone(), note.version).delete(note.key);
        let count = self.store.get(home, key.clone()).await?;
        let mut removes = false;
        if let Some(count) = count {
            batch.unchanged(key.clone(), count.version);
            if counter_value(&key, &count.value)? == 0 {
                batch.delete(key);
                removes = id.is_inline();
            }
        }
        if removes {
            batch.blob_deletes.push(id);
        }
        match self.store.commit(batch).await {
            Ok(_) => Ok(removes),
            // Somebody names it just now: the note stays for the next pass.
            Err(CommitError::Conflict(_)) => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Whether an account's own address does not lead to it, and it is not just being made.
    async fn is_abandoned(&self, home: &Partition, now: UnixTime) -> Result<bool, StoreError> {
        let Partition::Account(id) = home else {
            return Ok(false);
        };
        let Some(account) = self.store.record::<Account>(home, keys::account()).await? else {
            // The account's record goes last when a partition is cleared, so what is left is rubbish.
            return Ok(true);
        };
        let domain = Partition::Domain(account.record.domain.as_str().into());
        let address = self
            .store
            .record::<Address>(&domain, keys::address(&account.record.local_part))
            .await?;
        let leads_here = address.is_some_and(|a| a.record.account == *id);
        Ok(!leads_here && account.record.created + self.grace < now)
    }
}

impl fmt::Debug for Sweeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sweeper(grace {:?})", self.grace)
    }
}

/// Removes every record and small body of a partition, in many commits, durably; the account's own record goes first, so that
/// nobody who guards it adds anything more. Separate bodies are the sweeper's, once nothing names them.
pub async fn clear_partition(store: &dyn Store, partition: &Partition) -> Result<(), CommitError> {
    let mut first = Batch::new(partition.clone());
    first.delete(keys::account());
    for entry in store.scan(partition, keys::mailboxes()).await? {
        first.delete(entry.key);
    }
    store.commit_durable(first).await?;
    loop {
        let scan = Scan::prefix(Key::default()).limit(PAGE);
        let page = store
            .scan(partition, scan.limit_bytes(limits::STORE_READ_BYTES))
            .await?;
        let bodies = store.blobs(partition, None, PAGE).await?;
        if page.is_empty() && bodies.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::new(partition.clone());
        batch.deletes = page.into_iter().map(|entry| entry.key).collect();
        batch.blob_deletes = bodies;
        store.commit_durable(batch).await?;
    }
}
