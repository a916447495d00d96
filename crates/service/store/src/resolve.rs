use crate::{Batch, CommitError, Expect, Key, StoreError, Versioned, counter_value};
use bytes::Bytes;
use std::collections::BTreeMap;

/// What a batch comes to when it meets the records that are there: the writes, and nothing left to decide.
///
/// Everything that can refuse a batch is decided here, before the first write, so that an engine which puts several
/// batches into one transaction never has to take one back.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Resolved {
    /// The first number of each mint.
    pub minted: Vec<u64>,
    /// Each key that changes, once: its new value, or `None` when it is removed.
    pub writes: BTreeMap<Key, Option<Bytes>>,
}

impl Batch {
    /// For engines: holds the guards, counts, and fills the templates, against what `read` finds.
    pub fn resolve(
        &self,
        mut read: impl FnMut(&Key) -> Result<Option<Versioned>, StoreError>,
    ) -> Result<Resolved, CommitError> {
        if !self.fits() {
            return Err(CommitError::TooLarge);
        }
        for guard in &self.guards {
            let found = read(&guard.key)?;
            let holds = match guard.expect {
                Expect::Absent => found.is_none(),
                Expect::Exists => found.is_some(),
                Expect::Version(version) => found.is_some_and(|v| v.version == version),
            };
            if !holds {
                return Err(CommitError::Conflict(guard.key.clone()));
            }
        }
        let mut resolved = Resolved::default();
        for key in &self.deletes {
            resolved.writes.insert(key.clone(), None);
        }
        for mint in &self.mints {
            let last = resolved.counter(&mint.counter, &mut read)?;
            let next = i64::try_from(mint.n)
                .ok()
                .and_then(|n| last.checked_add(n))
                .filter(|_| last >= 0);
            let next = next.ok_or_else(|| CommitError::Bound(mint.counter.clone()))?;
            resolved.minted.push(last as u64 + 1);
            resolved.set_counter(&mint.counter, next);
        }
        for (key, sum) in self.sums()? {
            let before = resolved.counter(key, &mut read)?;
            let after = before
                .checked_add(sum.delta)
                .filter(|after| *after >= sum.floor && (*after <= sum.ceiling || sum.delta < 0));
            resolved.set_counter(key, after.ok_or_else(|| CommitError::Bound(key.clone()))?);
        }
        for put in &self.puts {
            let fill = |t: &crate::Template| t.fill(&resolved.minted);
            let (Some(key), Some(value)) = (fill(&put.key), fill(&put.value)) else {
                let counter = self.mints.first().map(|m| m.counter.clone()).unwrap_or_default();
                return Err(CommitError::Bound(counter));
            };
            resolved.writes.insert(Key(key.into()), Some(value));
        }
        Ok(resolved)
    }

    fn sums(&self) -> Result<BTreeMap<&Key, Sum>, CommitError> {
        let mut sums = BTreeMap::new();
        for add in &self.adds {
            let sum = sums.entry(&add.key).or_insert(Sum {
                delta: 0,
                floor: i64::MIN,
                ceiling: i64::MAX,
            });
            sum.delta = sum
                .delta
                .checked_add(add.delta)
                .ok_or_else(|| CommitError::Bound(add.key.clone()))?;
            sum.floor = sum.floor.max(add.floor);
            sum.ceiling = sum.ceiling.min(add.ceiling);
        }
        Ok(sums)
    }
}

struct Sum {
    delta: i64,
    floor: i64,
    ceiling: i64,
}

impl Resolved {
    fn counter(
        &self,
        key: &Key,
        read: &mut impl FnMut(&Key) -> Result<Option<Versioned>, StoreError>,
    ) -> Result<i64, StoreError> {
        match self.writes.get(key) {
            Some(None) => Ok(0),
            Some(Some(value)) => counter_value(key, value),
            None => read(key)?.map_or(Ok(0), |v| counter_value(key, &v.value)),
        }
    }

    fn set_counter(&mut self, key: &Key, value: i64) {
        self.writes
            .insert(key.clone(), Some(Bytes::copy_from_slice(&value.to_be_bytes())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AccountId, Partition, Template, Version, Width};

    fn key(name: &str) -> Key {
        Key(name.into())
    }

    fn batch() -> Batch {
        Batch::new(Partition::Account(AccountId(1)))
    }

    fn nothing(_: &Key) -> Result<Option<Versioned>, StoreError> {
        Ok(None)
    }

    #[test]
    fn minted_numbers_are_spliced_into_keys_and_values() {
        let mut b = batch();
        let uid = b.mint_many(key("uid"), 2);
        let modseq = b.mint(key("modseq"));
        let second = crate::Minted { offset: 1, ..uid };
        b.put(
            Template::from(b"m/".to_vec()).number(uid, Width::U32),
            Template::default().number(modseq, Width::U64),
        );
        b.put(
            Template::from(b"m/".to_vec()).number(second, Width::U32),
            b"x".to_vec(),
        );
        let r = b.resolve(nothing).unwrap();
        assert_eq!(r.minted, [1, 1]);
        assert_eq!(
            r.writes[&Key(b"m/\0\0\0\x01".to_vec())],
            Some(Bytes::from_static(b"\0\0\0\0\0\0\0\x01"))
        );
        assert_eq!(
            r.writes[&Key(b"m/\0\0\0\x02".to_vec())],
            Some(Bytes::from_static(b"x"))
        );
        assert_eq!(
            r.writes[&key("uid")],
            Some(Bytes::from_static(b"\0\0\0\0\0\0\0\x02"))
        );
    }

    #[test]
    fn a_quota_refuses_growth_and_never_shrinking() {
        let at = |n: i64| {
            move |_: &Key| {
                Ok(Some(Versioned {
                    version: Version(1),
                    value: Bytes::copy_from_slice(&n.to_be_bytes()),
                }))
            }
        };
        let mut grow = batch();
        grow.add_within(key("quota"), 10, 0, 100);
        assert!(grow.resolve(at(90)).is_ok());
        assert_eq!(grow.resolve(at(91)), Err(CommitError::Bound(key("quota"))));
        let mut shrink = batch();
        shrink.add_within(key("quota"), -10, 0, 100);
        assert!(shrink.resolve(at(500)).is_ok());
        assert_eq!(shrink.resolve(at(9)), Err(CommitError::Bound(key("quota"))));
    }

    #[test]
    fn a_uid_that_does_not_fit_is_refused_not_truncated() {
        let mut b = batch();
        let uid = b.mint(key("uid"));
        b.put(Template::default().number(uid, Width::U32), Vec::new());
        let full = |_: &Key| {
            Ok(Some(Versioned {
                version: Version(1),
                value: Bytes::copy_from_slice(&u64::from(u32::MAX).to_be_bytes()),
            }))
        };
        assert_eq!(b.resolve(full), Err(CommitError::Bound(key("uid"))));
    }
}
