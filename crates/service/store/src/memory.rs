use crate::blob::clamp;
use crate::{
    Applied, Batch, BlobId, BlobInfo, BlobReader, BlobWriter, Blobs, BytesReader, CommitError, Durable,
    DurableKeeper, Entry, Found, FoundBytes, Key, Partition, Query, Scan, Store, StoreError, Version,
    Versioned,
};
use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use ringpost_base::UnixTime;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Bound, Range};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The reference store: what every engine must do, in a few maps.
///
/// By default a batch is durable as soon as it is applied. [`hold_syncs`](MemoryStore::hold_syncs) keeps the two apart,
/// so that a simulation decides when the disk has synced, and what a [`crash`](MemoryStore::crash) loses.
#[derive(Default)]
pub struct MemoryStore {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    shelves: BTreeMap<Vec<u8>, Shelf>,
    version: u64,
    full: bool,
    hold: bool,
    unsynced: Vec<Unsynced>,
}

#[derive(Default)]
struct Shelf {
    records: BTreeMap<Key, Versioned>,
    blobs: BTreeMap<BlobId, Bytes>,
}

/// What an applied batch replaced, and who waits for its sync.
struct Unsynced {
    shelf: Vec<u8>,
    records: Vec<(Key, Option<Versioned>)>,
    blobs: Vec<(BlobId, Option<Bytes>)>,
    keeper: DurableKeeper,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on batches are applied at once, but durable only after [`sync`](MemoryStore::sync).
    pub fn hold_syncs(&self, hold: bool) {
        self.state().hold = hold;
        if !hold {
            self.sync();
        }
    }

    /// Makes every applied batch durable; says how many were not before.
    pub fn sync(&self) -> usize {
        let unsynced = std::mem::take(&mut self.state().unsynced);
        let n = unsynced.len();
        unsynced.into_iter().for_each(|u| u.keeper.tell(Ok(())));
        n
    }

    /// A loss of power: what was not durable is gone, and whoever waits for it is told that the store is closed.
    pub fn crash(&self) {
        let mut state = self.state();
        while let Some(undo) = state.unsynced.pop() {
            let shelf = state.shelves.entry(undo.shelf).or_default();
            for (key, before) in undo.records {
                restore(&mut shelf.records, key, before);
            }
            for (id, before) in undo.blobs {
                restore(&mut shelf.blobs, id, before);
            }
        }
    }

    /// While true, every commit is refused as by a full medium.
    pub fn set_full(&self, full: bool) {
        self.state().full = full;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing between lock and unlock leaves the state half changed, so a poisoned lock is as good as any.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn restore<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, before: Option<V>) {
    match before {
        Some(value) => map.insert(key, value),
        None => map.remove(&key),
    };
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        let records: usize = state.shelves.values().map(|s| s.records.len()).sum();
        write!(
            f,
            "MemoryStore({} partitions, {records} records)",
            state.shelves.len()
        )
    }
}

impl State {
    fn commit(&mut self, batch: Batch) -> Result<Applied, CommitError> {
        if self.full {
            return Err(CommitError::Full);
        }
        let at = batch.partition.to_bytes();
        let shelf = self.shelves.entry(at.clone()).or_default();
        let resolved = batch.resolve(|key| Ok(shelf.records.get(key).cloned()))?;
        self.version += 1;
        let version = Version(self.version);
        let (keeper, durable) = Durable::waiting();
        let mut undo = Unsynced {
            shelf: at,
            records: Vec::new(),
            blobs: Vec::new(),
            keeper,
        };
        for (key, value) in resolved.writes {
            let before = match value {
                Some(value) => shelf.records.insert(key.clone(), Versioned { version, value }),
                None => shelf.records.remove(&key),
            };
            undo.records.push((key, before));
        }
        for id in batch.blob_deletes {
            undo.blobs.push((id, shelf.blobs.remove(&id)));
        }
        for (id, body) in batch.blobs {
            undo.blobs.push((id, shelf.blobs.insert(id, body)));
        }
        undo.blobs.reverse();
        if self.hold {
            self.unsynced.push(undo);
            return Ok(Applied::new(resolved.minted, version, durable));
        }
        Ok(Applied::new(resolved.minted, version, Durable::kept()))
    }
}

impl Shelf {
    fn scan(&self, scan: &Scan, found: &mut FoundBytes) -> Vec<Entry> {
        let end = scan.end.clone().map_or(Bound::Unbounded, Bound::Excluded);
        if scan.end.as_ref().is_some_and(|end| *end <= scan.start) {
            return Vec::new();
        }
        let range = self.records.range((Bound::Included(scan.start.clone()), end));
        let entry = |(key, v): (&Key, &Versioned)| Entry {
            key: key.clone(),
            version: v.version,
            value: v.value.clone(),
        };
        let within = |entry: &Entry| {
            let fits = found.leaves_room(scan);
            if fits {
                found.count(scan, entry);
            }
            fits
        };
        match scan.reverse {
            false => range.take(scan.limit).map(entry).take_while(within).collect(),
            true => range
                .rev()
                .take(scan.limit)
                .map(entry)
                .take_while(within)
                .collect(),
        }
    }
}

impl Store for MemoryStore {
    fn read<'a>(
        &'a self,
        partition: &'a Partition,
        queries: Vec<Query>,
    ) -> BoxFuture<'a, Result<Vec<Found>, StoreError>> {
        Box::pin(async move {
            let state = self.state();
            let empty = Shelf::default();
            let shelf = state.shelves.get(&partition.to_bytes()).unwrap_or(&empty);
            let mut bytes = FoundBytes::default();
            let answer = |query| match query {
                Query::Get(key) => Found::Value(shelf.records.get(&key).cloned()),
                Query::Scan(scan) => Found::Entries(shelf.scan(&scan, &mut bytes)),
            };
            Ok(queries.into_iter().map(answer).collect())
        })
    }

    fn blob<'a>(
        &'a self,
        partition: &'a Partition,
        id: BlobId,
        range: Range<u64>,
    ) -> BoxFuture<'a, Result<Option<Bytes>, StoreError>> {
        Box::pin(async move {
            let state = self.state();
            let body = state
                .shelves
                .get(&partition.to_bytes())
                .and_then(|shelf| shelf.blobs.get(&id));
            Ok(body.map(|body| slice(body, &range)))
        })
    }

    fn blobs<'a>(
        &'a self,
        partition: &'a Partition,
        after: Option<BlobId>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<BlobId>, StoreError>> {
        Box::pin(async move {
            let state = self.state();
            let Some(shelf) = state.shelves.get(&partition.to_bytes()) else {
                return Ok(Vec::new());
            };
            Ok(shelf
                .blobs
                .range(beyond(after))
                .take(limit)
                .map(|(id, _)| *id)
                .collect())
        })
    }

    fn partitions(
        &self,
        after: Option<Partition>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Partition>, StoreError>> {
        Box::pin(async move {
            let state = self.state();
            let held = state.shelves.range(beyond(after.map(|p| p.to_bytes())));
            let held = held.filter(|(_, shelf)| !shelf.records.is_empty());
            Ok(held
                .filter_map(|(at, _)| Partition::from_bytes(at))
                .take(limit)
                .collect())
        })
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Applied, CommitError>> {
        Box::pin(async move { self.state().commit(batch) })
    }
}

fn beyond<T>(after: Option<T>) -> (Bound<T>, Bound<T>) {
    (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded)
}

fn slice(body: &Bytes, range: &Range<u64>) -> Bytes {
    let range = clamp(range, body.len() as u64);
    body.slice(range.start as usize..range.end as usize)
}

type Bodies = Arc<Mutex<BTreeMap<BlobId, (UnixTime, Bytes)>>>;
type Clock = Arc<dyn Fn() -> UnixTime + Send + Sync>;

/// The reference for [`Blobs`]. A finished body is durable, as the contract wants it.
pub struct MemoryBlobs {
    bodies: Bodies,
    clock: Clock,
}

impl MemoryBlobs {
    /// Without bodies; `clock` dates them.
    pub fn new(clock: impl Fn() -> UnixTime + Send + Sync + 'static) -> Self {
        MemoryBlobs {
            bodies: Bodies::default(),
            clock: Arc::new(clock),
        }
    }
}

impl fmt::Debug for MemoryBlobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryBlobs({} bodies)", lock(&self.bodies).len())
    }
}

fn lock(bodies: &Bodies) -> MutexGuard<'_, BTreeMap<BlobId, (UnixTime, Bytes)>> {
    bodies.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Blobs for MemoryBlobs {
    fn writer(&self, id: BlobId) -> BoxFuture<'_, Result<Box<dyn BlobWriter>, StoreError>> {
        Box::pin(async move {
            if lock(&self.bodies).contains_key(&id) {
                return Err(StoreError::Io(format!("the body {id} exists")));
            }
            let (bodies, clock) = (self.bodies.clone(), self.clock.clone());
            Ok(Box::new(MemoryWriter {
                id,
                bodies,
                clock,
                body: BytesMut::new(),
            }) as Box<dyn BlobWriter>)
        })
    }

    fn get(
        &self,
        id: BlobId,
        range: Range<u64>,
    ) -> BoxFuture<'_, Result<Option<Box<dyn BlobReader>>, StoreError>> {
        Box::pin(async move {
            let body = lock(&self.bodies).get(&id).map(|(_, body)| slice(body, &range));
            Ok(body.map(|body| Box::new(BytesReader(body)) as Box<dyn BlobReader>))
        })
    }

    fn delete(&self, id: BlobId) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            lock(&self.bodies).remove(&id);
            Ok(())
        })
    }

    fn room_bytes(&self) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(async { Ok(u64::MAX) })
    }

    fn list(&self, after: Option<BlobId>, limit: usize) -> BoxFuture<'_, Result<Vec<BlobInfo>, StoreError>> {
        Box::pin(async move {
            let bodies = lock(&self.bodies);
            let info = |(id, (written, body)): (&BlobId, &(UnixTime, Bytes))| BlobInfo {
                id: *id,
                size_bytes: body.len() as u64,
                written: *written,
            };
            Ok(bodies.range(beyond(after)).take(limit).map(info).collect())
        })
    }
}

struct MemoryWriter {
    id: BlobId,
    bodies: Bodies,
    clock: Clock,
    body: BytesMut,
}

impl BlobWriter for MemoryWriter {
    fn write(&mut self, chunk: Bytes) -> BoxFuture<'_, Result<(), StoreError>> {
        self.body.extend_from_slice(&chunk);
        Box::pin(async { Ok(()) })
    }

    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<(), StoreError>> {
        Box::pin(async move {
            let written = (self.clock)();
            lock(&self.bodies).insert(self.id, (written, self.body.freeze()));
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AccountId;
    use futures_util::FutureExt;

    fn now<T>(future: impl Future<Output = T>) -> T {
        future.now_or_never().expect("the reference never waits")
    }

    fn home() -> Partition {
        Partition::Account(AccountId(1))
    }

    fn key(name: &str) -> Key {
        Key(name.into())
    }

    #[test]
    fn a_crash_loses_what_was_not_durable_and_nothing_else() {
        let store = MemoryStore::new();
        let commit = |name: &str| {
            let mut batch = Batch::new(home());
            batch.mint(key("uid"));
            batch.put(key(name), name.as_bytes().to_vec());
            now(store.commit(batch)).unwrap()
        };
        commit("kept");
        store.hold_syncs(true);
        let synced = commit("synced");
        store.sync();
        assert_eq!(now(synced.durable()), Ok(()));
        let lost = commit("lost");
        let over = commit("synced");
        store.crash();
        assert_eq!(now(lost.durable()), Err(StoreError::Closed));
        assert_eq!(now(over.durable()), Err(StoreError::Closed));
        let left = now((&store as &dyn Store).scan(&home(), Scan::prefix(key("")))).unwrap();
        let names: Vec<_> = left.iter().map(|e| e.key.clone()).collect();
        assert_eq!(names, [key("kept"), key("synced"), key("uid")]);
        assert_eq!(now((&store as &dyn Store).counter(&home(), key("uid"))), Ok(2));
    }

    #[test]
    fn a_full_medium_refuses_and_keeps() {
        let store = MemoryStore::new();
        let mut batch = Batch::new(home());
        batch.put(key("a"), b"1".to_vec());
        now(store.commit(batch.clone())).unwrap();
        store.set_full(true);
        assert_eq!(now(store.commit(batch)).unwrap_err(), CommitError::Full);
        assert!(
            now((&store as &dyn Store).get(&home(), key("a")))
                .unwrap()
                .is_some()
        );
    }

    #[test]
    fn an_unfinished_body_leaves_nothing() {
        let blobs = MemoryBlobs::new(UnixTime::default);
        let id = BlobId([1; 16]);
        let mut writer = now(blobs.writer(id)).unwrap();
        now(writer.write(Bytes::from_static(b"half"))).unwrap();
        drop(writer);
        assert!(now(blobs.get(id, 0..u64::MAX)).unwrap().is_none());
    }
}
