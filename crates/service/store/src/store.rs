use crate::{Batch, BlobId, Key, Partition, Record, Version};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use std::ops::Range;

/// An ordered key-value store, in partitions, that is changed by guarded batches.
///
/// There are two promises. After [`commit`](Store::commit) returns [`Applied`], reads through the same store see the
/// change. After [`Durable::durable`] it survives a loss of power, and so does everything applied before it; only then
/// may anybody else hear of it: an answer to a peer, another session, the bus, the lamp.
pub trait Store: Send + Sync {
    /// Answers several questions about one partition from one moment of it: no commit happens in between.
    /// The answers come in the order of the questions.
    fn read<'a>(
        &'a self,
        partition: &'a Partition,
        queries: Vec<Query>,
    ) -> BoxFuture<'a, Result<Vec<Found>, StoreError>>;

    /// Bytes `range` (clamped to its end) of a body that was stored with a batch of this partition.
    fn blob<'a>(
        &'a self,
        partition: &'a Partition,
        id: BlobId,
        range: Range<u64>,
    ) -> BoxFuture<'a, Result<Option<Bytes>, StoreError>>;

    /// Several such bodies, whole, in the order of `ids`; one that is not there is `None`. An engine that can answer them
    /// together does so.
    fn blob_many<'a>(
        &'a self,
        partition: &'a Partition,
        ids: Vec<BlobId>,
    ) -> BoxFuture<'a, Result<Vec<Option<Bytes>>, StoreError>> {
        Box::pin(async move {
            let mut bodies = Vec::with_capacity(ids.len());
            for id in ids {
                bodies.push(self.blob(partition, id, 0..u64::MAX).await?);
            }
            Ok(bodies)
        })
    }

    /// The bodies stored with batches of this partition that come after `after`, in the order of their ids,
    /// at most `limit`. For the sweeper and the checker.
    fn blobs<'a>(
        &'a self,
        partition: &'a Partition,
        after: Option<BlobId>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<BlobId>, StoreError>>;

    /// The partitions that hold a record and come after `after`, in the order of [`Partition::to_bytes`], at most `limit`.
    fn partitions(
        &self,
        after: Option<Partition>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Partition>, StoreError>>;

    /// Applies the batch, whole or not at all. A future that is dropped may leave the batch applied.
    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Applied, CommitError>>;
}

/// A question about a partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Query {
    /// The record with this key.
    Get(Key),
    /// The records of a range.
    Scan(Scan),
}

/// A range of keys, from `start` inclusive to `end` exclusive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Scan {
    /// The first key that may be answered.
    pub start: Key,
    /// The first key that may not; `None` is the end of the partition.
    pub end: Option<Key>,
    /// From the last to the first.
    pub reverse: bool,
    /// At most so many entries.
    pub limit: usize,
    /// It ends behind the entry with which all scans of its [`read`](Store::read) that have such a limit have found so many
    /// octets of keys and values, so that the first entry is found however long it is. Whoever sets it goes on behind the last
    /// key. `usize::MAX` is no limit.
    pub limit_bytes: usize,
}

impl Scan {
    /// Every key that begins with `prefix`, in ascending order.
    pub fn prefix(prefix: Key) -> Self {
        let mut end = prefix.0.clone();
        let end = loop {
            match end.last_mut() {
                None => break None,
                Some(0xff) => {
                    end.pop();
                }
                Some(last) => {
                    *last += 1;
                    break Some(Key(end));
                }
            }
        };
        Scan {
            start: prefix,
            end,
            reverse: false,
            limit: usize::MAX,
            limit_bytes: usize::MAX,
        }
    }

    /// Keys from `start` to before `end`, in ascending order.
    pub fn range(start: Key, end: Key) -> Self {
        Scan {
            start,
            end: Some(end),
            reverse: false,
            limit: usize::MAX,
            limit_bytes: usize::MAX,
        }
    }

    /// The same in descending order.
    pub fn reverse(mut self) -> Self {
        self.reverse = true;
        self
    }

    /// At most `limit` entries.
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// No further than the entry with which the read has found so many octets.
    pub fn limit_bytes(mut self, limit_bytes: usize) -> Self {
        self.limit_bytes = limit_bytes;
        self
    }

    /// The same without what is not after `key`: where an ascending scan continues.
    pub fn after(mut self, key: &Key) -> Self {
        let mut next = key.0.clone();
        next.push(0);
        self.start = self.start.max(Key(next));
        self
    }
}

/// A record's value and version.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Versioned {
    /// When it was written.
    pub version: Version,
    /// What was written.
    pub value: Bytes,
}

/// A record that a scan met.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its key.
    pub key: Key,
    /// When it was written.
    pub version: Version,
    /// What was written.
    pub value: Bytes,
}

impl Entry {
    /// Octets of its key and value.
    pub fn size_bytes(&self) -> usize {
        self.key.0.len() + self.value.len()
    }
}

/// For engines: what the scans of one read that are limited in octets have found.
#[derive(Clone, Copy, Debug, Default)]
pub struct FoundBytes(usize);

impl FoundBytes {
    /// Whether `scan` may find one more entry.
    pub fn leaves_room(self, scan: &Scan) -> bool {
        self.0 < scan.limit_bytes.max(1)
    }

    /// Counts an entry that `scan` has found.
    pub fn count(&mut self, scan: &Scan, entry: &Entry) {
        if scan.limit_bytes < usize::MAX {
            self.0 += entry.size_bytes();
        }
    }
}

/// The answer to a [`Query`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Found {
    /// To a get.
    Value(Option<Versioned>),
    /// To a scan.
    Entries(Vec<Entry>),
}

impl Found {
    /// The answer to a get; `None` too if it was a scan.
    pub fn value(self) -> Option<Versioned> {
        match self {
            Found::Value(value) => value,
            Found::Entries(_) => None,
        }
    }

    /// The answer to a scan; empty if it was a get.
    pub fn entries(self) -> Vec<Entry> {
        match self {
            Found::Entries(entries) => entries,
            Found::Value(_) => Vec::new(),
        }
    }

    /// Octets that a scan has found; none if it was a get.
    pub fn scanned_bytes(&self) -> usize {
        match self {
            Found::Entries(entries) => entries.iter().map(Entry::size_bytes).sum(),
            Found::Value(_) => 0,
        }
    }
}

/// The batch is in the store: the next read sees it.
#[derive(Debug)]
pub struct Applied {
    /// The first number of each of the batch's mints, in their order.
    pub minted: Vec<u64>,
    /// The version of every record that the batch wrote.
    pub version: Version,
    durable: Durable,
}

impl Applied {
    /// For engines: the outcome of a batch, and how to learn that it is synced.
    pub fn new(minted: Vec<u64>, version: Version, durable: Durable) -> Self {
        Applied {
            minted,
            version,
            durable,
        }
    }

    /// Waits until the batch survives a loss of power.
    pub async fn durable(self) -> Result<(), StoreError> {
        self.durable.durable().await
    }

    /// Takes the numbers and the promise apart, for a caller that goes on before it waits.
    pub fn into_parts(self) -> (Vec<u64>, Durable) {
        (self.minted, self.durable)
    }
}

/// A promise: resolves when what was applied is synced.
#[derive(Debug)]
pub struct Durable(Promise);

#[derive(Debug)]
enum Promise {
    Kept,
    Waits(async_channel::Receiver<Result<(), StoreError>>),
}

impl Durable {
    /// Synced already.
    pub fn kept() -> Self {
        Durable(Promise::Kept)
    }

    /// For engines: kept when the other half says so, broken when it is dropped.
    pub fn waiting() -> (DurableKeeper, Self) {
        let (tx, rx) = async_channel::bounded(1);
        (DurableKeeper(tx), Durable(Promise::Waits(rx)))
    }

    /// Waits for the sync.
    pub async fn durable(self) -> Result<(), StoreError> {
        match self.0 {
            Promise::Kept => Ok(()),
            Promise::Waits(rx) => rx.recv().await.unwrap_or(Err(StoreError::Closed)),
        }
    }
}

/// The engine's half of a [`Durable`].
#[derive(Debug)]
pub struct DurableKeeper(async_channel::Sender<Result<(), StoreError>>);

impl DurableKeeper {
    /// Tells the waiting half how the sync ended.
    pub fn tell(self, outcome: Result<(), StoreError>) {
        // A full or closed channel means that nobody waits.
        let _ = self.0.try_send(outcome);
    }
}

/// Why a read, or a sync, failed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StoreError {
    /// The medium failed.
    #[error("the store's medium failed: {0}")]
    Io(String),
    /// There is no room on the medium.
    #[error("the store's medium is full")]
    Full,
    /// A record is not what was written; names it.
    #[error("a stored record is damaged: {0}")]
    Damaged(String),
    /// The store was shut down.
    #[error("the store is closed")]
    Closed,
}

/// Why a batch changed nothing.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CommitError {
    /// A guard did not hold: read again, build the batch again.
    #[error("the guard on {0:?} did not hold")]
    Conflict(Key),
    /// An add would leave its bounds (a quota, a count below zero), or a minted number does not fit.
    #[error("the counter {0:?} would leave its bounds")]
    Bound(Key),
    /// There is no room on the medium. Nothing that was applied before is lost.
    #[error("the store's medium is full")]
    Full,
    /// The batch is over the limits of one commit.
    #[error("the batch is too large")]
    TooLarge,
    /// The medium failed.
    #[error("the store's medium failed: {0}")]
    Io(String),
    /// The store was shut down.
    #[error("the store is closed")]
    Closed,
}

impl From<StoreError> for CommitError {
    fn from(e: StoreError) -> Self {
        match e {
            StoreError::Full => CommitError::Full,
            StoreError::Closed => CommitError::Closed,
            StoreError::Io(why) | StoreError::Damaged(why) => CommitError::Io(why),
        }
    }
}

/// A typed record as it was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stored<R> {
    /// Its version, for a guard.
    pub version: Version,
    /// The record.
    pub record: R,
}

impl dyn Store + '_ {
    /// One record's bytes.
    pub async fn get(&self, partition: &Partition, key: Key) -> Result<Option<Versioned>, StoreError> {
        let found = self.read(partition, vec![Query::Get(key)]).await?;
        Ok(found.into_iter().next().and_then(Found::value))
    }

    /// Several records' bytes, from one moment.
    pub async fn get_many(
        &self,
        partition: &Partition,
        keys: Vec<Key>,
    ) -> Result<Vec<Option<Versioned>>, StoreError> {
        let queries = keys.into_iter().map(Query::Get).collect();
        Ok(self
            .read(partition, queries)
            .await?
            .into_iter()
            .map(Found::value)
            .collect())
    }

    /// A range of records.
    pub async fn scan(&self, partition: &Partition, scan: Scan) -> Result<Vec<Entry>, StoreError> {
        let found = self.read(partition, vec![Query::Scan(scan)]).await?;
        Ok(found.into_iter().next().map(Found::entries).unwrap_or_default())
    }

    /// One record, decoded.
    pub async fn record<R: Record>(
        &self,
        partition: &Partition,
        key: Key,
    ) -> Result<Option<Stored<R>>, StoreError> {
        let found = self.get(partition, key.clone()).await?;
        found
            .map(|v| {
                Ok(Stored {
                    version: v.version,
                    record: R::from_bytes(&key, v.value)?,
                })
            })
            .transpose()
    }

    /// A counter's value; zero when it was never counted.
    pub async fn counter(&self, partition: &Partition, key: Key) -> Result<i64, StoreError> {
        let found = self.get(partition, key.clone()).await?;
        found.map_or(Ok(0), |v| counter_value(&key, &v.value))
    }

    /// Commits and waits until the batch is durable; gives the first number of each mint.
    pub async fn commit_durable(&self, batch: Batch) -> Result<Vec<u64>, CommitError> {
        let (minted, durable) = self.commit(batch).await?.into_parts();
        durable.durable().await?;
        Ok(minted)
    }
}

/// What a counter's record says (see [`Add`](crate::Add)); a mint counter reads the same.
pub fn counter_value(key: &Key, value: &[u8]) -> Result<i64, StoreError> {
    let bytes = value
        .try_into()
        .map_err(|_| StoreError::Damaged(format!("{key:?} is no counter")))?;
    Ok(i64::from_be_bytes(bytes))
}
