//! How much of something each may do within an hour.

use ringpost_base::{Instant, limits};
use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3_600);
/// How many are remembered before those with nothing to remember are looked for.
const SWEPT_FROM: usize = 1_024;

/// So much at once for each, which comes back within an hour. Remembered for as long as the process lives.
#[derive(Debug)]
pub(crate) struct Rates<K> {
    used: HashMap<K, Used>,
    /// How many there are when they are swept next.
    sweep_at: usize,
}

#[derive(Clone, Copy, Debug)]
struct Used {
    amount: f64,
    at: Instant,
}

impl Used {
    /// What has not come back yet.
    fn left(&self, per_hour: u32, now: Instant) -> f64 {
        let back = now.since(self.at).as_secs_f64() / HOUR.as_secs_f64() * f64::from(per_hour);
        (self.amount - back).max(0.0)
    }
}

impl<K> Default for Rates<K> {
    fn default() -> Self {
        Rates {
            used: HashMap::new(),
            sweep_at: SWEPT_FROM,
        }
    }
}

impl<K: Copy + Eq + Hash> Rates<K> {
    /// Counts one more; false when it is one too many, which is not counted.
    pub(crate) fn take(&mut self, of: K, per_hour: u32, now: Instant) -> bool {
        let has_room = self.has_room(of, per_hour, now);
        if has_room {
            self.add(of, per_hour, now);
        }
        has_room
    }

    /// Whether one more would not be too many.
    pub(crate) fn has_room(&self, of: K, per_hour: u32, now: Instant) -> bool {
        self.has_room_for(of, 1, per_hour, now)
    }

    /// Whether so many more would not be too many.
    pub(crate) fn has_room_for(&self, of: K, more: u32, per_hour: u32, now: Instant) -> bool {
        self.amount(of, per_hour, now) + f64::from(more) <= f64::from(per_hour)
    }

    /// Counts one more.
    pub(crate) fn add(&mut self, of: K, per_hour: u32, now: Instant) {
        self.add_all(of, 1, per_hour, now);
    }

    /// Counts so many more.
    pub(crate) fn add_all(&mut self, of: K, more: u32, per_hour: u32, now: Instant) {
        let amount = self.amount(of, per_hour, now) + f64::from(more);
        if self.used.len() >= self.sweep_at {
            self.used.retain(|_, used| used.left(per_hour, now) > 0.0);
            if self.used.len() > limits::RATES {
                self.used.clear();
            }
            self.sweep_at = (self.used.len() * 2).clamp(SWEPT_FROM, limits::RATES + 1);
        }
        self.used.insert(of, Used { amount, at: now });
    }

    /// One of those that were counted does not count after all.
    pub(crate) fn give_back(&mut self, of: K, per_hour: u32, now: Instant) {
        self.give_back_all(of, 1, per_hour, now);
    }

    /// So many of those that were counted do not count after all.
    pub(crate) fn give_back_all(&mut self, of: K, less: u32, per_hour: u32, now: Instant) {
        let amount = (self.amount(of, per_hour, now) - f64::from(less)).max(0.0);
        if let Some(used) = self.used.get_mut(&of) {
            *used = Used { amount, at: now };
        }
    }

    fn amount(&self, of: K, per_hour: u32, now: Instant) -> f64 {
        self.used.get(&of).map_or(0.0, |used| used.left(per_hour, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_so_much_an_hour_and_it_comes_back() {
        let mut rates = Rates::default();
        let mut now = Instant::ZERO;
        let mut taken = |of: u32, now| (0..50).filter(|_| rates.take(of, 10, now)).count();
        assert_eq!(taken(1, now), 10);
        assert_eq!(taken(2, now), 10);
        now += HOUR / 2;
        assert_eq!(taken(1, now), 5);
        now += HOUR * 3;
        assert_eq!(taken(1, now), 10);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut rates = Rates::default();
        for of in 0..3 * limits::RATES {
            rates.add(of, 1, Instant::ZERO);
            assert!(rates.used.len() <= limits::RATES + 1);
        }
        rates.add(0, 1, Instant::ZERO + HOUR * 2);
        assert!(rates.used.len() <= limits::RATES + 1);
    }
}
