use ringpost_base::limits;
use ringpost_store::AccountId;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a cache knows without asking the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cached<T> {
    /// There is one, and this is it.
    Present(Arc<T>),
    /// There is none.
    Absent,
    /// Not known: ask the store.
    Unknown,
}

/// Facts of the directory by domain and name. Present ones are stamped with their account's change counter; absent ones are
/// dropped at any change. A fill that a change has overtaken is not kept: see [`generation`](Cache::generation).
#[derive(Debug)]
pub(crate) struct Cache<T>(Mutex<Names<T>>);

#[derive(Debug)]
struct Names<T> {
    generation: u64,
    present: HashMap<Box<str>, HashMap<Box<str>, Fact<T>>>,
    absent: HashMap<Box<str>, HashSet<Box<str>>>,
    present_count: usize,
    absent_count: usize,
}

#[derive(Debug)]
struct Fact<T> {
    account: AccountId,
    change: u64,
    value: Arc<T>,
}

/// A value to be cached, with whose it is and the account's change counter when it was read.
#[derive(Clone, Debug)]
pub(crate) struct Stamped<T> {
    pub(crate) account: AccountId,
    pub(crate) change: u64,
    pub(crate) value: T,
}

impl<T> Cache<T> {
    pub(crate) fn new() -> Self {
        Cache(Mutex::new(Names {
            generation: 0,
            present: HashMap::new(),
            absent: HashMap::new(),
            present_count: 0,
            absent_count: 0,
        }))
    }

    pub(crate) fn find(&self, domain: &str, name: &str) -> Cached<T> {
        let names = self.names();
        if let Some(fact) = names.present.get(domain).and_then(|facts| facts.get(name)) {
            return Cached::Present(fact.value.clone());
        }
        match names
            .absent
            .get(domain)
            .is_some_and(|absent| absent.contains(name))
        {
            true => Cached::Absent,
            false => Cached::Unknown,
        }
    }

    /// To be taken before the store is read, and handed to [`fill`](Cache::fill) with what was read.
    pub(crate) fn generation(&self) -> u64 {
        self.names().generation
    }

    /// Keeps what was read, unless something has changed since `generation`.
    pub(crate) fn fill(
        &self,
        generation: u64,
        domain: &str,
        name: &str,
        read: Option<Stamped<T>>,
    ) -> Option<Arc<T>> {
        let mut names = self.names();
        let fresh = names.generation == generation;
        let Some(Stamped {
            account,
            change,
            value,
        }) = read
        else {
            if fresh {
                names.keep_absent(domain, name);
            }
            return None;
        };
        let value = Arc::new(value);
        if fresh {
            names.keep_present(
                domain,
                name,
                Fact {
                    account,
                    change,
                    value: value.clone(),
                },
            );
        }
        Some(value)
    }

    /// An account has changed and its counter says `change` now.
    pub(crate) fn changed(&self, account: AccountId, change: u64) {
        self.forget(|fact| fact.account == account && fact.change < change);
    }

    /// Something has changed, it is not known what.
    pub(crate) fn forget_all(&self) {
        self.forget(|_| true);
    }

    fn forget(&self, which: impl Fn(&Fact<T>) -> bool) {
        let mut names = self.names();
        names.generation += 1;
        names.absent.clear();
        names.absent_count = 0;
        for facts in names.present.values_mut() {
            facts.retain(|_, fact| !which(fact));
        }
        names.present_count = names.present.values().map(HashMap::len).sum();
    }

    fn names(&self) -> MutexGuard<'_, Names<T>> {
        // A cache is right or empty at every moment, so a poisoned lock is as good as any.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Names<T> {
    fn keep_present(&mut self, domain: &str, name: &str, fact: Fact<T>) {
        if self.present_count >= limits::DIRECTORY_CACHE {
            self.present.clear();
            self.present_count = 0;
        }
        let new = self
            .present
            .entry(domain.into())
            .or_default()
            .insert(name.into(), fact)
            .is_none();
        self.present_count += usize::from(new);
    }

    // Names that do not exist are what strangers ask for: they have a room of their own, which may be emptied at any time.
    fn keep_absent(&mut self, domain: &str, name: &str) {
        if self.absent_count >= limits::DIRECTORY_CACHE_ABSENT {
            self.absent.clear();
            self.absent_count = 0;
        }
        let new = self.absent.entry(domain.into()).or_default().insert(name.into());
        self.absent_count += usize::from(new);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamped(account: u64, change: u64) -> Option<Stamped<&'static str>> {
        Some(Stamped {
            account: AccountId(account),
            change,
            value: "x",
        })
    }

    #[test]
    fn a_change_forgets_what_is_older_and_every_absence() {
        let cache = Cache::new();
        cache.fill(0, "d", "alice", stamped(1, 5));
        cache.fill(0, "d", "bob", stamped(2, 5));
        cache.fill(0, "d", "carol", None);
        cache.changed(AccountId(1), 5);
        assert_eq!(cache.find("d", "alice"), Cached::Present(Arc::new("x")));
        assert_eq!(cache.find("d", "carol"), Cached::Unknown);
        cache.changed(AccountId(1), 6);
        assert_eq!(cache.find("d", "alice"), Cached::Unknown);
        assert_eq!(cache.find("d", "bob"), Cached::Present(Arc::new("x")));
    }

    #[test]
    fn a_fill_that_a_change_overtook_is_not_kept() {
        let cache = Cache::new();
        let before = cache.generation();
        cache.changed(AccountId(1), 1);
        assert!(cache.fill(before, "d", "alice", stamped(1, 0)).is_some());
        assert_eq!(cache.find("d", "alice"), Cached::Unknown);
    }

    #[test]
    fn strangers_do_not_push_out_who_exists() {
        let cache = Cache::new();
        cache.fill(0, "d", "alice", stamped(1, 1));
        for n in 0..=limits::DIRECTORY_CACHE_ABSENT {
            cache.fill(0, "d", &n.to_string(), None);
        }
        assert!(matches!(cache.find("d", "alice"), Cached::Present(_)));
        assert!(cache.names().absent_count <= limits::DIRECTORY_CACHE_ABSENT);
    }
}
