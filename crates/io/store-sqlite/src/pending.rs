use bytes::Bytes;
use ringpost_store::{Batch, BlobId, Key, Version, Versioned};
use std::collections::BTreeMap;

/// What the batches of one transaction come to, until it is written: a record that several of them change is written once,
/// and all are written in the order of their keys.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    pub(crate) records: ByPartition<Key, Change>,
    /// Bodies that come, and, as `None`, that go.
    pub(crate) bodies: ByPartition<BlobId, Option<Bytes>>,
}

pub(crate) type ByPartition<K, V> = BTreeMap<Vec<u8>, BTreeMap<K, V>>;

/// The last that happens to a record: `None` removes it.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) version: u64,
    pub(crate) value: Option<Bytes>,
}

impl Pending {
    /// Adds a batch that was resolved to these writes.
    pub(crate) fn add(
        &mut self,
        partition: &[u8],
        version: u64,
        writes: BTreeMap<Key, Option<Bytes>>,
        batch: &Batch,
    ) {
        let changes = writes
            .into_iter()
            .map(|(key, value)| (key, Change { version, value }));
        of(&mut self.records, partition).extend(changes);
        if batch.blobs.is_empty() && batch.blob_deletes.is_empty() {
            return;
        }
        let gone = batch.blob_deletes.iter().map(|id| (*id, None));
        let come = batch.blobs.iter().map(|(id, body)| (*id, Some(body.clone())));
        of(&mut self.bodies, partition).extend(gone.chain(come));
    }

    /// What a record will be, if the transaction changes it; `None` within when it will not be there.
    pub(crate) fn get(&self, partition: &[u8], key: &Key) -> Option<Option<Versioned>> {
        let change = self.records.get(partition)?.get(key)?;
        Some(change.value.as_ref().map(|value| Versioned {
            version: Version(change.version),
            value: value.clone(),
        }))
    }
}

fn of<'a, K, V>(all: &'a mut ByPartition<K, V>, partition: &[u8]) -> &'a mut BTreeMap<K, V> {
    // Looked up first: mostly it is there, and need not be copied.
    if !all.contains_key(partition) {
        all.insert(partition.to_vec(), BTreeMap::new());
    }
    all.get_mut(partition)
        .expect("it was put there if it was missing")
}
