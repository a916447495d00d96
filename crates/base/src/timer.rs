use crate::Instant;
use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::marker::PhantomData;

/// The timers of one machine, as an enum that counts from zero.
pub trait TimerKind: Copy {
    /// The timer's place in its [`TimerTable`], below the table's `N`.
    fn index(self) -> usize;
}

/// One deadline for each timer of a machine that has a fixed few.
#[derive(Clone, Debug)]
pub struct TimerTable<K, const N: usize> {
    deadlines: [Option<Instant>; N],
    kind: PhantomData<K>,
}

impl<K: TimerKind, const N: usize> TimerTable<K, N> {
    /// A table with nothing set.
    pub const fn new() -> Self {
        TimerTable {
            deadlines: [None; N],
            kind: PhantomData,
        }
    }

    /// Sets `timer` to fall due at `at`, in place of what it was set to.
    pub fn set(&mut self, timer: K, at: Instant) {
        self.deadlines[timer.index()] = Some(at);
    }

    /// Stops `timer`.
    pub fn stop(&mut self, timer: K) {
        self.deadlines[timer.index()] = None;
    }

    /// Stops every timer.
    pub fn stop_all(&mut self) {
        self.deadlines = [None; N];
    }

    /// When `timer` falls due, if it is set.
    pub fn deadline(&self, timer: K) -> Option<Instant> {
        self.deadlines[timer.index()]
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Instant> {
        self.deadlines.iter().flatten().min().copied()
    }

    /// Whether `timer` is due at `now`; if so it is stopped.
    pub fn take_due(&mut self, timer: K, now: Instant) -> bool {
        let slot = &mut self.deadlines[timer.index()];
        let due = slot.is_some_and(|at| at <= now);
        if due {
            *slot = None;
        }
        due
    }
}

impl<K: TimerKind, const N: usize> Default for TimerTable<K, N> {
    fn default() -> Self {
        Self::new()
    }
}

/// The deadlines of many objects, one for each key, earliest first. Keys that fall due together come in their own order,
/// so that a run can be repeated.
#[derive(Clone, Debug)]
pub struct Deadlines<K> {
    order: BTreeSet<(Instant, K)>,
    by_key: HashMap<K, Instant>,
}

impl<K: Ord + Hash + Clone> Deadlines<K> {
    /// An empty queue.
    pub fn new() -> Self {
        Deadlines {
            order: BTreeSet::new(),
            by_key: HashMap::new(),
        }
    }

    /// Sets the deadline of `key`, in place of what it was set to.
    pub fn set(&mut self, key: K, at: Instant) {
        if let Some(old) = self.by_key.insert(key.clone(), at) {
            if old == at {
                return;
            }
            self.order.remove(&(old, key.clone()));
        }
        self.order.insert((at, key));
    }

    /// Forgets the deadline of `key`.
    pub fn remove(&mut self, key: &K) {
        if let Some((key, old)) = self.by_key.remove_entry(key) {
            self.order.remove(&(old, key));
        }
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Instant> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Takes out one key whose deadline is not after `now`.
    pub fn pop_due(&mut self, now: Instant) -> Option<K> {
        if self.next()? > now {
            return None;
        }
        let (_, key) = self.order.pop_first()?;
        self.by_key.remove(&key);
        Some(key)
    }

    /// How many keys have a deadline.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether no key has a deadline.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }
}

impl<K: Ord + Hash + Clone> Default for Deadlines<K> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[derive(Clone, Copy)]
    enum Timer {
        A,
        B,
    }
    impl TimerKind for Timer {
        fn index(self) -> usize {
            self as usize
        }
    }

    #[test]
    fn a_due_timer_is_taken_once() {
        let mut table = TimerTable::<Timer, 2>::new();
        let t = Instant::ZERO + Duration::from_secs(1);
        table.set(Timer::A, t);
        table.set(Timer::B, t + Duration::from_secs(1));
        assert_eq!(table.next(), Some(t));
        assert!(!table.take_due(Timer::B, t));
        assert!(table.take_due(Timer::A, t));
        assert!(!table.take_due(Timer::A, t));
        table.stop(Timer::B);
        assert_eq!(table.next(), None);
    }

    #[test]
    fn resetting_a_deadline_leaves_no_trace_of_the_old_one() {
        let mut q = Deadlines::new();
        let t = |s| Instant::ZERO + Duration::from_secs(s);
        q.set(1, t(5));
        q.set(1, t(9));
        q.set(2, t(5));
        q.set(3, t(5));
        q.remove(&3);
        assert_eq!(q.pop_due(t(8)), Some(2));
        assert_eq!(q.pop_due(t(8)), None);
        assert_eq!(q.pop_due(t(9)), Some(1));
        assert!(q.is_empty());
    }
}
