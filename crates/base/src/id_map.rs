//! Maps by numbers of our own.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A map whose keys are numbers that the program itself gives out, one after the other: nobody outside can choose keys that
/// collide, so that one multiplication is all the hashing they need. It is iterated over in the same order in every run.
///
/// ```
/// use ringpost_base::IdMap;
///
/// let mut names: IdMap<u64, &str> = IdMap::default();
/// names.insert(7, "door");
/// assert_eq!(names.get(&7), Some(&"door"));
/// ```
pub type IdMap<K, V> = HashMap<K, V, BuildHasherDefault<IdHasher>>;

/// How an [`IdMap`] hashes.
#[derive(Clone, Copy, Debug, Default)]
pub struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        // The golden ratio's fraction: numbers in a row lie far from each other in the upper bits, and differ in the lower ones.
        self.0 = (self.0.rotate_left(5) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::hash::Hash;

    fn hash(key: impl Hash) -> u64 {
        let mut hasher = IdHasher::default();
        key.hash(&mut hasher);
        hasher.finish()
    }

    #[test]
    fn numbers_in_a_row_and_pairs_of_them_differ_above_and_below() {
        let below: HashSet<u64> = (0..4_096u64).map(|n| hash(n) & 0xfff).collect();
        assert_eq!(below.len(), 4_096);
        let above: HashSet<u64> = (0..128u64).map(|n| hash(n) >> 57).collect();
        assert!(above.len() > 64, "{}", above.len());
        assert_ne!(hash((1u64, 2u64)), hash((2u64, 1u64)));
        assert_ne!(hash("ab"), hash("ba"));
    }
}
