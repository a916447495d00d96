//! Records that are asked for again and again: accounts, mailboxes, counters. What is here is as it was committed last.

use crate::pending::Pending;
use ringpost_base::limits;
use ringpost_store::{Found, Key, Query, Versioned};
use std::collections::HashMap;
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Records that were read of late, shared by whoever reads and the writer, which keeps them true: it
/// [hides](Recent::hide) what it is about to change before others can see the change in the database, and
/// [shows](Recent::show) it afterwards. So records that are found here together are of one moment, and nobody is answered
/// from here what is older than what he was answered before.
#[derive(Debug, Default)]
pub(crate) struct Recent(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Those that were asked for since the younger half was last full, and those from before.
    young: Records,
    old: Records,
    /// Changes with all that is hidden and shown.
    moment: u64,
    /// Whether something is hidden now.
    hiding: bool,
}

#[derive(Debug, Default)]
struct Records {
    /// `None` for one that is known not to be there.
    by_partition: HashMap<Vec<u8>, HashMap<Key, Option<Versioned>>>,
    size_bytes: usize,
}

/// What was here of what a transaction changes.
type Hidden = Vec<(Vec<u8>, Key)>;

/// From when a read is that may be remembered; see [`Recent::remember`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Moment(u64);

/// What a record takes besides its key and value, about.
const RECORD_BYTES: usize = 128;
/// Longer values are not kept: they would push out many that are asked for more often.
const VALUE_BYTES: usize = 512;

impl Records {
    fn get(&self, partition: &[u8], key: &Key) -> Option<&Option<Versioned>> {
        self.by_partition.get(partition)?.get(key)
    }

    fn take(&mut self, partition: &[u8], key: &Key) -> Option<(Key, Option<Versioned>)> {
        let records = self.by_partition.get_mut(partition)?;
        let taken = records.remove_entry(key)?;
        if records.is_empty() {
            self.by_partition.remove(partition);
        }
        self.size_bytes -= size_bytes(&taken.0, &taken.1);
        Some(taken)
    }

    fn put(&mut self, partition: &[u8], key: Key, record: Option<Versioned>) {
        let size = size_bytes(&key, &record);
        let before = match self.by_partition.get_mut(partition) {
            Some(records) => {
                let before = records.insert(key.clone(), record);
                before.map_or(0, |before| size_bytes(&key, &before))
            }
            None => {
                let records = HashMap::from([(key, record)]);
                self.by_partition.insert(partition.to_vec(), records);
                0
            }
        };
        self.size_bytes = self.size_bytes + size - before;
    }
}

fn size_bytes(key: &Key, record: &Option<Versioned>) -> usize {
    RECORD_BYTES + key.as_bytes().len() + record.as_ref().map_or(0, |record| record.value.len())
}

impl State {
    fn get(&mut self, partition: &[u8], key: &Key) -> Option<Option<Versioned>> {
        if let Some(found) = self.young.get(partition, key) {
            return Some(found.clone());
        }
        let (key, found) = self.old.take(partition, key)?;
        self.put(partition, key, found.clone());
        Some(found)
    }

    fn put(&mut self, partition: &[u8], key: Key, record: Option<Versioned>) {
        if record
            .as_ref()
            .is_some_and(|record| record.value.len() > VALUE_BYTES)
        {
            return;
        }
        self.young.put(partition, key, record);
        if self.young.size_bytes > limits::STORE_RECENT_BYTES / 2 {
            self.old = mem::take(&mut self.young);
        }
    }
}

impl Recent {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One record; `None` within when it is not there.
    pub(crate) fn get(&self, partition: &[u8], key: &Key) -> Option<Option<Versioned>> {
        self.lock().get(partition, key)
    }

    /// The answers to all the queries, all of one moment; `None` when the database must be asked.
    pub(crate) fn answer(&self, partition: &[u8], queries: &[Query]) -> Option<Vec<Found>> {
        let mut state = self.lock();
        let answer = |query: &Query| match query {
            Query::Get(key) => state.get(partition, key).map(Found::Value),
            Query::Scan(_) => None,
        };
        queries.iter().map(answer).collect()
    }

    /// To be taken before the database is read.
    pub(crate) fn moment(&self) -> Moment {
        Moment(self.lock().moment)
    }

    /// Remembers what was read of the database, unless something may have changed since that moment.
    pub(crate) fn remember(&self, moment: Moment, partition: &[u8], queries: &[Query], found: &[Found]) {
        let mut state = self.lock();
        if state.hiding || state.moment != moment.0 {
            return;
        }
        for (query, found) in queries.iter().zip(found) {
            if let (Query::Get(key), Found::Value(record)) = (query, found) {
                state.put(partition, key.clone(), record.clone());
            }
        }
    }

    /// For the writer, which knows that nobody has changed what it has read. What is not there it asks for once, to write it.
    pub(crate) fn keep(&self, partition: &[u8], key: &Key, record: &Versioned) {
        let mut state = self.lock();
        if !state.hiding {
            state.put(partition, key.clone(), Some(record.clone()));
        }
    }

    /// For the writer: what a transaction changes is about to be seen in the database. Until [`show`](Recent::show) the
    /// database alone is asked for it. Gives what was here of it.
    pub(crate) fn hide(&self, pending: &Pending) -> Hidden {
        let mut state = self.lock();
        let state = &mut *state;
        state.moment += 1;
        state.hiding = true;
        let mut hidden = Hidden::new();
        for (partition, changes) in &pending.records {
            for half in [&mut state.young, &mut state.old] {
                if !half.by_partition.contains_key(partition) {
                    continue;
                }
                let taken = changes.keys().filter_map(|key| half.take(partition, key));
                hidden.extend(taken.map(|(key, _)| (partition.clone(), key)));
            }
        }
        hidden
    }

    /// For the writer: the transaction has come to its end. `committed` is what it was, if that is certain; `hidden` is what
    /// [`hide`](Recent::hide) gave.
    pub(crate) fn show(&self, committed: Option<&Pending>, hidden: Hidden) {
        let mut state = self.lock();
        state.hiding = false;
        state.moment += 1;
        let Some(pending) = committed else { return };
        for (partition, key) in hidden {
            if let Some(record) = pending.get(&partition, &key) {
                state.put(&partition, key, record);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use ringpost_store::{AccountId, Batch, Partition, Version};
    use std::collections::BTreeMap;

    fn key(name: &str) -> Key {
        Key(name.into())
    }

    fn record(version: u64, value: &'static [u8]) -> Versioned {
        Versioned {
            version: Version(version),
            value: Bytes::from_static(value),
        }
    }

    fn change(version: u64, changes: &[(&str, Option<&'static [u8]>)]) -> Pending {
        let mut pending = Pending::default();
        let writes: BTreeMap<_, _> = changes
            .iter()
            .map(|(name, value)| (key(name), value.map(Bytes::from_static)))
            .collect();
        pending.add(
            b"p",
            version,
            writes,
            &Batch::new(Partition::Account(AccountId(1))),
        );
        pending
    }

    fn ask(recent: &Recent, names: &[&str]) -> Option<Vec<Option<Versioned>>> {
        let queries: Vec<_> = names.iter().map(|name| Query::Get(key(name))).collect();
        let found = recent.answer(b"p", &queries)?;
        Some(found.into_iter().map(Found::value).collect())
    }

    #[test]
    fn what_is_about_to_change_is_asked_of_the_database_until_it_has_changed() {
        let recent = Recent::default();
        for name in ["a", "b", "c"] {
            recent.keep(b"p", &key(name), &record(1, b"old"));
        }
        let old = Some(record(1, b"old"));
        assert_eq!(ask(&recent, &["a", "b"]), Some(vec![old.clone(), old.clone()]));
        assert_eq!(recent.answer(b"other", &[Query::Get(key("a"))]), None);
        let pending = change(2, &[("a", Some(b"new")), ("b", None), ("d", Some(b"new"))]);
        let hidden = recent.hide(&pending);
        assert_eq!(ask(&recent, &["a"]), None);
        assert_eq!(ask(&recent, &["c", "b"]), None, "all are of one moment");
        assert_eq!(ask(&recent, &["c"]), Some(vec![old.clone()]));
        recent.show(Some(&pending), hidden);
        assert_eq!(
            ask(&recent, &["a", "c"]),
            Some(vec![Some(record(2, b"new")), old])
        );
        assert_eq!(ask(&recent, &["b"]), Some(vec![None]), "it is gone");
        assert_eq!(ask(&recent, &["d"]), None, "nobody has asked for it");
        let queries = [Query::Get(key("e"))];
        recent.remember(recent.moment(), b"p", &queries, &[Found::Value(None)]);
        assert_eq!(ask(&recent, &["e"]), Some(vec![None]), "it is not there");
        let pending = change(3, &[("e", Some(b"new"))]);
        let hidden = recent.hide(&pending);
        recent.show(Some(&pending), hidden);
        assert_eq!(ask(&recent, &["e"]), Some(vec![Some(record(3, b"new"))]));
    }

    #[test]
    fn what_a_change_has_overtaken_is_not_remembered() {
        let recent = Recent::default();
        let queries = [Query::Get(key("a"))];
        let read = [Found::Value(Some(record(1, b"old")))];
        let pending = change(2, &[("a", Some(b"new"))]);
        let before = recent.moment();
        recent.remember(before, b"p", &queries, &read);
        assert_eq!(ask(&recent, &["a"]), Some(vec![Some(record(1, b"old"))]));
        let hidden = recent.hide(&pending);
        let between = recent.moment();
        for moment in [before, between] {
            recent.remember(moment, b"p", &queries, &read);
            assert_eq!(ask(&recent, &["a"]), None);
        }
        // It has failed: what is there is as it was.
        recent.show(None, hidden);
        for moment in [before, between] {
            recent.remember(moment, b"p", &queries, &read);
            assert_eq!(ask(&recent, &["a"]), None);
        }
        recent.remember(recent.moment(), b"p", &queries, &read);
        assert!(ask(&recent, &["a"]).is_some());
    }

    #[test]
    fn what_is_asked_for_stays_and_what_is_not_makes_room() {
        let recent = Recent::default();
        let value = Bytes::from(vec![7; VALUE_BYTES]);
        for n in 0..4 * limits::STORE_RECENT_BYTES / VALUE_BYTES {
            let record = Versioned {
                version: Version(1),
                value: value.clone(),
            };
            recent.keep(b"p", &key(&n.to_string()), &record);
            assert!(ask(&recent, &["0"]).is_some(), "{n}");
            let state = recent.lock();
            assert!(state.young.size_bytes + state.old.size_bytes <= limits::STORE_RECENT_BYTES);
        }
        assert!(ask(&recent, &["1"]).is_none());
        let long = Versioned {
            version: Version(1),
            value: vec![7; VALUE_BYTES + 1].into(),
        };
        recent.keep(b"p", &key("long"), &long);
        assert!(ask(&recent, &["long"]).is_none());
    }
}
