//! What waits, in memory: which destination has something due. The records themselves stay in the store.

use super::hold::why_held;
use ringpost_base::{UnixTime, limits};
use ringpost_store::records::{QueueHolds, Queued};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

/// How long a destination is left alone after its first failure in a row, and at the most.
const REST: Duration = Duration::from_secs(60);
const LONGEST_REST: Duration = Duration::from_secs(30 * 60);

/// Every queued message by the line that it stands in: a line is one destination, or all of them where there is a smart
/// host. Some hundred bytes a message; the store bounds their number.
#[derive(Debug, Default)]
pub(super) struct Index {
    lines: BTreeMap<String, Line>,
    places: HashMap<u64, Place>,
    /// All destinations are one line.
    pub(super) single: bool,
    /// What is held back by a rule.
    pub(super) holds: QueueHolds,
}

#[derive(Debug)]
struct Place {
    line: String,
    due: UnixTime,
    taken: bool,
    /// It stands beside its line until it is released.
    held: bool,
}

#[derive(Debug, Default)]
struct Line {
    waiting: BTreeSet<(UnixTime, u64)>,
    /// How many are at work on it.
    running: usize,
    /// How often it was reached since it was not, in a row: whoever answers gets more connections, one by one.
    successes: usize,
    /// Failures to reach it, in a row.
    failures: u32,
    rests_until: UnixTime,
}

impl Line {
    /// When something of it may begin.
    fn due(&self) -> Option<UnixTime> {
        self.waiting.first().map(|(due, _)| self.rests_until.max(*due))
    }

    /// One that was not reached yet, or not any more, is knocked at by one alone: a silent one must not take all places.
    fn has_room(&self, most: usize) -> bool {
        self.running < most.min(self.successes.saturating_add(1))
    }
}

/// What one connection may work off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// The line; to be given back with [`finish_work`](crate::Mail::finish_work).
    pub line: String,
    /// The messages, the longest overdue first; at most `limits::QUEUE_WORK`.
    pub ids: Vec<u64>,
}

impl Index {
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// A message came, or goes back.
    pub(super) fn put(&mut self, id: u64, destination: &str, due: UnixTime) {
        let line = if self.single { "" } else { destination };
        self.remove(id);
        self.lines
            .entry(line.to_owned())
            .or_default()
            .waiting
            .insert((due, id));
        let place = Place {
            line: line.to_owned(),
            due,
            taken: false,
            held: false,
        };
        self.places.insert(id, place);
    }

    /// The same for a message as its record is: one that is held does not wait.
    pub(super) fn file(&mut self, record: &Queued, due: UnixTime) {
        self.put(record.id, &record.destination, due);
        self.set_held(record.id, why_held(record, &self.holds).is_some());
    }

    /// Holds a message back, or lets it wait again.
    pub(super) fn set_held(&mut self, id: u64, held: bool) {
        let Some(place) = self.places.get_mut(&id) else {
            return;
        };
        place.held = held;
        if place.taken {
            return;
        }
        let line = self.lines.entry(place.line.clone()).or_default();
        match held {
            true => line.waiting.remove(&(place.due, id)),
            false => line.waiting.insert((place.due, id)),
        };
    }

    /// Whether a message is held back.
    pub(super) fn is_held(&self, id: u64) -> bool {
        self.places.get(&id).is_some_and(|place| place.held)
    }

    /// A message is gone.
    pub(super) fn remove(&mut self, id: u64) {
        if let Some(place) = self.places.remove(&id)
            && let Some(line) = self.lines.get_mut(&place.line)
        {
            line.waiting.remove(&(place.due, id));
        }
        self.tidy();
    }

    /// When a message is due, if it waits: it is taken then. `None` when it is not there, or somebody is at work on it.
    pub(super) fn take_one(&mut self, id: u64) -> Option<UnixTime> {
        let place = self.places.get_mut(&id).filter(|place| !place.taken)?;
        place.taken = true;
        let due = place.due;
        if let Some(line) = self.lines.get_mut(&place.line) {
            line.waiting.remove(&(due, id));
        }
        Some(due)
    }

    /// When a message that was taken is due in the store.
    pub(super) fn due_of(&self, id: u64) -> Option<UnixTime> {
        self.places.get(&id).map(|place| place.due)
    }

    /// Puts what was taken and not touched back.
    pub(super) fn untake(&mut self, id: u64) {
        if let Some(place) = self.places.get_mut(&id).filter(|place| place.taken) {
            place.taken = false;
            let held = place.held;
            self.set_held(id, held);
        }
    }

    /// The next work at `now`, of the line with the fewest at work on it, and of these the longest overdue; at most `most`
    /// work on one line.
    pub(super) fn next(&mut self, now: UnixTime, most: usize) -> Option<Work> {
        let ready = self.lines.iter().filter_map(|(name, line)| {
            let due = line.due().filter(|due| *due <= now && line.has_room(most))?;
            Some(((line.running, due), name))
        });
        let (_, name) = ready.min()?;
        let name = name.clone();
        let line = self.lines.get_mut(&name)?;
        line.running += 1;
        let due = line.waiting.iter().take_while(|(due, _)| *due <= now);
        let ids: Vec<u64> = due.map(|(_, id)| *id).take(limits::QUEUE_WORK).collect();
        for id in &ids {
            self.take_one(*id);
        }
        Some(Work { line: name, ids })
    }

    /// Takes what else of the line is due.
    pub(super) fn more(&mut self, name: &str, now: UnixTime) -> Vec<u64> {
        let Some(line) = self.lines.get(name) else {
            return Vec::new();
        };
        let due = line.waiting.iter().take_while(|(due, _)| *due <= now);
        let ids: Vec<u64> = due.map(|(_, id)| *id).take(limits::QUEUE_WORK).collect();
        for id in &ids {
            self.take_one(*id);
        }
        ids
    }

    /// Work has ended; `reached` says whether the destination was.
    pub(super) fn finish(&mut self, name: &str, reached: bool, now: UnixTime) {
        if let Some(line) = self.lines.get_mut(name) {
            line.running = line.running.saturating_sub(1);
            if reached {
                (line.failures, line.rests_until) = (0, UnixTime::default());
                line.successes = line.successes.saturating_add(1);
            } else {
                line.successes = 0;
                let rest = REST.saturating_mul(1 << line.failures.min(16)).min(LONGEST_REST);
                line.failures = line.failures.saturating_add(1);
                line.rests_until = now + rest;
            }
        }
        self.tidy();
    }

    /// A line rests no longer.
    pub(super) fn wake(&mut self, id: u64) {
        if let Some(place) = self.places.get(&id)
            && let Some(line) = self.lines.get_mut(&place.line)
        {
            line.rests_until = UnixTime::default();
        }
    }

    /// When there is work next, of lines that have room.
    pub(super) fn next_due(&self, most: usize) -> Option<UnixTime> {
        let lines = self.lines.values().filter(|line| line.has_room(most));
        lines.filter_map(Line::due).min()
    }

    /// Forgets lines that nobody stands in.
    fn tidy(&mut self) {
        if self.lines.len() > 2 * self.places.len() + 64 {
            let places = &self.places;
            let used: BTreeSet<&str> = places.values().map(|place| place.line.as_str()).collect();
            self.lines
                .retain(|name, line| line.running > 0 || used.contains(name.as_str()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime::from_secs(1_000);

    fn later(s: u64) -> UnixTime {
        NOW + Duration::from_secs(s)
    }

    fn work(line: &str, ids: &[u64]) -> Option<Work> {
        Some(Work {
            line: line.into(),
            ids: ids.into(),
        })
    }

    // Guards pitfall SMTP 6: a destination that is slow never blocks another.
    #[test]
    fn a_destination_with_much_to_do_leaves_room_for_another() {
        let mut index = Index::default();
        for id in 0..1_000 {
            index.put(id, "slow.test", NOW);
        }
        index.put(5_000, "quick.test", later(1));
        assert_eq!(index.next(later(1), 2).map(|w| w.line), Some("slow.test".into()));
        assert_eq!(index.next(later(1), 2), work("quick.test", &[5_000]));
        assert_eq!(
            index.next(later(1), 2),
            None,
            "nobody knows yet whether it answers"
        );
        index.finish("slow.test", true, later(1));
        let mut lines = Vec::new();
        while let Some(work) = index.next(later(1), 2) {
            lines.push(work.line);
        }
        assert_eq!(lines, ["slow.test", "slow.test"], "two are enough");
        assert_eq!(index.next_due(2), None);
    }

    #[test]
    fn a_destination_that_is_not_reached_rests_longer_each_time() {
        let mut index = Index::default();
        index.put(1, "dead.test", NOW);
        let mut now = NOW;
        for rest in [60, 120, 240, 480, 960, 1_800, 1_800] {
            let work = index.next(now, 4).unwrap();
            assert_eq!(index.next(now, 4), None, "one is enough to knock");
            index.untake(1);
            index.finish(&work.line, false, now);
            assert_eq!(index.next(now, 4), None);
            assert_eq!(index.next_due(4), Some(now + Duration::from_secs(rest)));
            now = now + Duration::from_secs(rest);
        }
        index.next(now, 4).unwrap();
        index.untake(1);
        index.finish("dead.test", false, now);
        index.wake(1);
        assert_eq!(index.next(now, 4), work("dead.test", &[1]));
        index.untake(1);
        index.finish("dead.test", true, now);
        assert_eq!(index.next_due(4), Some(NOW));
    }

    #[test]
    fn with_a_smart_host_all_stand_in_one_line() {
        let mut index = Index {
            single: true,
            ..Index::default()
        };
        index.put(1, "one.test", NOW);
        index.put(2, "two.test", NOW);
        assert_eq!(index.next(NOW, 4), work("", &[1, 2]));
        index.remove(1);
        index.put(2, "two.test", later(60));
        index.finish("", true, NOW);
        assert_eq!((index.len(), index.next(NOW, 4)), (1, None));
        assert_eq!(index.next(later(60), 4), work("", &[2]));
    }

    #[test]
    fn what_is_held_does_not_wait_until_it_is_released() {
        let mut index = Index::default();
        index.put(1, "one.test", NOW);
        index.put(2, "one.test", NOW);
        index.set_held(1, true);
        assert_eq!(index.next(NOW, 4), work("one.test", &[2]));
        // Held while somebody has it: it does not come back.
        index.set_held(2, true);
        index.untake(2);
        index.finish("one.test", true, NOW);
        assert_eq!((index.next(NOW, 4), index.next_due(4)), (None, None));
        assert_eq!(index.take_one(1), Some(NOW), "an administrator can have it");
        index.untake(1);
        index.set_held(1, false);
        index.set_held(2, false);
        assert_eq!(index.next(NOW, 4), work("one.test", &[1, 2]));
    }

    #[test]
    fn what_is_taken_is_taken_once() {
        let mut index = Index::default();
        index.put(1, "one.test", NOW);
        assert_eq!(index.take_one(1), Some(NOW));
        assert_eq!(index.take_one(1), None);
        assert_eq!(index.next(NOW, 4), None);
        index.untake(1);
        assert_eq!(index.take_one(1), Some(NOW));
        assert_eq!(index.take_one(2), None);
    }
}
