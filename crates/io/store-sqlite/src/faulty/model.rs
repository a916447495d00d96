use ringpost_base::Rng;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a sync is worth.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Honesty {
    /// What was written before it survives.
    Syncs,
    /// Nothing: as if the store had none.
    NeverSyncs,
    /// It takes effect only at the next sync of any file: as if the store had answered before it.
    SyncsLate,
}

/// Why an operation failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum DiskError {
    /// The power is gone, or was since the file was opened.
    Gone,
    /// There is no room.
    Full,
    /// There is no such file.
    Missing,
}

pub(super) struct State {
    pub(super) files: BTreeMap<String, File>,
    /// Deletions that were not synced: the files as they would come back.
    deleted: Vec<(String, File)>,
    rng: Rng,
    pub(super) honesty: Honesty,
    pub(super) capacity: Option<u64>,
    /// Operations until the power goes.
    pub(super) left: Option<u64>,
    /// Counts losses of power: what was opened in another life is dead.
    pub(super) life: u64,
    pub(super) syncs: u64,
    /// Whether a sync reports an error, as of a medium that could not take what it was given.
    pub(super) sync_fails: bool,
    /// Syncs that have not taken effect yet: the file, as it was then, and how many changes that were.
    late: Vec<(String, Vec<u8>, usize)>,
}

#[derive(Default)]
pub(super) struct File {
    /// As whoever reads it sees it.
    pub(super) live: Vec<u8>,
    /// As it was when it was last synced.
    durable: Vec<u8>,
    /// What was done since.
    pending: Vec<Change>,
    /// Whether its name survives.
    named: bool,
    pub(super) locks: Locks,
    pub(super) shm: Option<Arc<super::vfs::Shm>>,
}

#[derive(Clone)]
enum Change {
    Write(usize, Vec<u8>),
    Truncate(usize),
}

/// Who holds which lock of a database file; handles are numbered.
#[derive(Default)]
pub(super) struct Locks {
    pub(super) shared: Vec<u64>,
    pub(super) reserved: Option<u64>,
    pub(super) exclusive: Option<u64>,
}

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

impl State {
    pub(super) fn new(rng: Rng) -> Self {
        State {
            files: BTreeMap::new(),
            deleted: Vec::new(),
            rng,
            honesty: Honesty::Syncs,
            capacity: None,
            left: None,
            life: 0,
            syncs: 0,
            sync_fails: false,
            late: Vec::new(),
        }
    }

    pub(super) fn used(&self) -> u64 {
        self.files.values().map(|file| file.live.len() as u64).sum()
    }

    /// Whether there is power, and the file was opened since it came back.
    pub(super) fn alive(&self, life: u64) -> Result<(), DiskError> {
        match self.life == life && self.left != Some(0) {
            true => Ok(()),
            false => Err(DiskError::Gone),
        }
    }

    /// Counts an operation that changes something; false when it is the one during which the power goes.
    fn count(&mut self) -> bool {
        match &mut self.left {
            Some(left) => {
                *left = left.saturating_sub(1);
                *left > 0
            }
            None => true,
        }
    }

    pub(super) fn write(&mut self, name: &str, offset: usize, data: &[u8]) -> Result<(), DiskError> {
        let file = self.files.get(name).ok_or(DiskError::Missing)?;
        let growth = (offset + data.len()).saturating_sub(file.live.len()) as u64;
        if self
            .capacity
            .is_some_and(|capacity| growth > 0 && self.used() + growth > capacity)
        {
            return Err(DiskError::Full);
        }
        let powered = self.count();
        let file = self.files.get_mut(name).ok_or(DiskError::Missing)?;
        let change = Change::Write(offset, data.to_vec());
        change.apply(&mut file.live);
        file.pending.push(change);
        if powered { Ok(()) } else { Err(DiskError::Gone) }
    }

    pub(super) fn truncate(&mut self, name: &str, len: usize) -> Result<(), DiskError> {
        let powered = self.count();
        let file = self.files.get_mut(name).ok_or(DiskError::Missing)?;
        file.live.resize(len, 0);
        file.pending.push(Change::Truncate(len));
        if powered { Ok(()) } else { Err(DiskError::Gone) }
    }

    /// Deletes a file; `synced` when the folder is synced with it.
    pub(super) fn delete(&mut self, name: &str, synced: bool) -> Result<(), DiskError> {
        let file = self.files.remove(name).ok_or(DiskError::Missing)?;
        if !self.count() {
            self.deleted.push((name.into(), file));
            return Err(DiskError::Gone);
        }
        match synced && self.honesty == Honesty::Syncs {
            true => self.deleted.clear(),
            false => self.deleted.push((name.into(), file)),
        }
        Ok(())
    }

    pub(super) fn sync(&mut self, name: &str) -> Result<(), DiskError> {
        self.syncs += 1;
        if !self.count() || self.sync_fails {
            return Err(DiskError::Gone);
        }
        match self.honesty {
            Honesty::Syncs => self.settle(name),
            Honesty::NeverSyncs => {}
            Honesty::SyncsLate => {
                for (name, content, changes) in std::mem::take(&mut self.late) {
                    self.settle_as(&name, content, changes);
                }
                if let Some(file) = self.files.get(name) {
                    self.late
                        .push((name.into(), file.live.clone(), file.pending.len()));
                }
            }
        }
        Ok(())
    }

    fn settle(&mut self, name: &str) {
        if let Some(file) = self.files.get(name) {
            let (content, changes) = (file.live.clone(), file.pending.len());
            self.settle_as(name, content, changes);
        }
    }

    /// The first `changes` of a file made it what `content` is, and survive.
    fn settle_as(&mut self, name: &str, content: Vec<u8>, changes: usize) {
        let Some(file) = self.files.get_mut(name) else {
            return;
        };
        file.durable = content;
        file.pending.drain(..changes.min(file.pending.len()));
        // With the first sync of a new log or journal, SQLite's own VFS syncs the folder that it lies in.
        if !file.named && (name.ends_with("-wal") || name.ends_with("-journal")) {
            self.deleted.clear();
            self.files.values_mut().for_each(|file| file.named = true);
        } else {
            file.named = true;
        }
    }

    pub(super) fn crash(&mut self) {
        let State {
            files, deleted, rng, ..
        } = self;
        for (name, file) in deleted.drain(..) {
            if rng.chance(0.5) {
                files.entry(name).or_insert(file);
            }
        }
        files.retain(|_, file| file.named || rng.chance(0.5));
        for file in files.values_mut() {
            let mut left = std::mem::take(&mut file.durable);
            for change in file.pending.drain(..) {
                change.perhaps(&mut left, rng);
            }
            *file = File {
                live: left.clone(),
                durable: left,
                named: true,
                ..File::default()
            };
        }
        self.late.clear();
        self.left = None;
        self.life += 1;
    }
}

impl Change {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Change::Truncate(len) => to.resize(*len, 0),
            Change::Write(offset, data) => {
                let end = offset + data.len();
                if to.len() < end {
                    to.resize(end, 0);
                }
                to[*offset..end].copy_from_slice(data);
            }
        }
    }

    /// What is left of a change that was not synced: all, nothing, or some of its sectors.
    fn perhaps(&self, to: &mut Vec<u8>, rng: &mut Rng) {
        match (rng.below(3), self) {
            (0, _) => {}
            (1, change) => change.apply(to),
            (_, Change::Truncate(_)) => {}
            (_, Change::Write(offset, data)) => {
                let mut at = 0;
                while at < data.len() {
                    // Sectors lie where the disk puts them, not where the write begins.
                    let len = (SECTOR - (offset + at) % SECTOR).min(data.len() - at);
                    if rng.chance(0.5) {
                        Change::Write(offset + at, data[at..at + len].to_vec()).apply(to);
                    }
                    at += len;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(seed: u64, honesty: Honesty) -> State {
        let mut state = State::new(Rng::from_number(seed));
        state.honesty = honesty;
        state.files.insert("f".into(), File::default());
        state.write("f", 0, &[1; 2000]).unwrap();
        state.sync("f").unwrap();
        state.write("f", 100, &[2; 1800]).unwrap();
        state
    }

    #[test]
    fn what_was_synced_survives_and_the_rest_may_be_torn() {
        let (mut whole, mut torn, mut nothing) = (0, 0, 0);
        for seed in 0..200 {
            let mut state = written(seed, Honesty::Syncs);
            state.crash();
            let left = &state.files["f"].live;
            assert_eq!(left.len(), 2000);
            assert!(left[..100].iter().chain(&left[1900..]).all(|b| *b == 1));
            match left[100..1900].iter().filter(|b| **b == 2).count() {
                0 => nothing += 1,
                1800 => whole += 1,
                _ => torn += 1,
            }
        }
        assert!(
            whole > 20 && torn > 20 && nothing > 20,
            "{whole} {torn} {nothing}"
        );
    }

    #[test]
    fn a_disk_that_lies_loses_what_was_synced() {
        let lost = |honesty| {
            (0..50).any(|seed| {
                let mut state = written(seed, honesty);
                state.crash();
                state
                    .files
                    .get("f")
                    .is_none_or(|file| file.live.first() != Some(&1))
            })
        };
        assert!(lost(Honesty::NeverSyncs));
        assert!(lost(Honesty::SyncsLate));
        assert!(!lost(Honesty::Syncs));
    }

    #[test]
    fn a_late_sync_saves_what_was_there_when_it_was_asked_for() {
        let mut lost = 0;
        for seed in 0..50 {
            let mut state = State::new(Rng::from_number(seed));
            state.honesty = Honesty::SyncsLate;
            state.files.insert("f".into(), File::default());
            for byte in 1..=2 {
                state.write("f", 0, &[byte; 500]).unwrap();
                state.sync("f").unwrap();
            }
            state.crash();
            match state.files["f"].live.first() {
                Some(1) => lost += 1,
                Some(2) => {}
                other => panic!("{other:?}, and the second sync was to save the first write"),
            }
        }
        assert!(lost > 10, "{lost}");
    }

    #[test]
    fn nothing_works_after_the_power_is_gone() {
        let mut state = written(1, Honesty::Syncs);
        state.left = Some(2);
        assert_eq!(state.write("f", 0, b"x"), Ok(()));
        assert_eq!(state.sync("f"), Err(DiskError::Gone));
        assert_eq!(state.alive(0), Err(DiskError::Gone));
        state.crash();
        assert_eq!(state.alive(0), Err(DiskError::Gone));
        assert_eq!(state.alive(1), Ok(()));
    }
}
