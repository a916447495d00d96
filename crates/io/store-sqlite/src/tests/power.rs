//! Loss of power: what was said to be durable is there exactly once, what was refused is not, and what was under way is
//! there whole or not at all.

use super::on;
use crate::engine::{Engine, Outcome};
use crate::faulty::{Disk, Honesty};
use crate::reader::Reader;
use crate::{Options, SqliteStore};
use bytes::Bytes;
use ringpost_base::Rng;
use ringpost_store::conformance::block_on;
use ringpost_store::{
    AccountId, Batch, BlobId, CommitError, Found, Key, Partition, Query, Scan, Store, Template, Width,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::thread;

/// Rounds of work and power loss on one disk.
const ROUNDS: usize = 4;

fn seeds() -> u64 {
    if std::env::var_os("RINGPOST_SOAK").is_some() {
        1000
    } else {
        40
    }
}

/// Puts a group of batches into one transaction: the shipped way, or a mutant's.
type Run = fn(&mut Engine, &[Batch]) -> Vec<Result<Outcome, CommitError>>;

// Guards pitfall SMTP 3: what was answered is on stable storage, once.
#[test]
fn what_was_durable_is_there_exactly_once() {
    for seed in 0..seeds() {
        if let Err(broken) = rounds(seed, Engine::run, Honesty::Syncs) {
            panic!("seed {seed}: {broken}");
        }
    }
}

// The property must be able to fail: a store that does not sync, and one that answers before the sync.
#[test]
fn a_store_without_a_sync_is_caught() {
    let without_sync: Run = |engine, group| {
        engine
            .connection()
            .pragma_update(None, "synchronous", "off")
            .unwrap();
        engine.run(group)
    };
    assert_caught(without_sync, Honesty::Syncs);
}

#[test]
fn a_store_that_answers_before_the_sync_is_caught() {
    let answers_early: Run = |engine, group| {
        let applied = engine.begin().and_then(|()| engine.apply_all(group));
        let Ok(outcomes) = applied else {
            return engine.run(group);
        };
        // It has answered here; how the sync ends, nobody hears.
        let _ = engine.commit();
        outcomes
    };
    assert_caught(answers_early, Honesty::Syncs);
}

#[test]
fn a_disk_that_lies_is_caught() {
    assert_caught(Engine::run, Honesty::NeverSyncs);
    assert_caught(Engine::run, Honesty::SyncsLate);
}

fn assert_caught(run: Run, honesty: Honesty) {
    let caught = (0..seeds())
        .filter(|seed| rounds(*seed, run, honesty).is_err())
        .count();
    assert!(caught > 0, "no seed of {} caught it", seeds());
}

fn home() -> Partition {
    Partition::Account(AccountId(9))
}

/// What the store has said of each batch.
#[derive(Default)]
struct Ledger {
    next: u64,
    durable: BTreeMap<u64, u64>,
    refused: BTreeSet<u64>,
    unknown: BTreeSet<u64>,
}

impl Ledger {
    fn batch(&mut self, rng: &mut Rng) -> (u64, Batch) {
        let serial = self.next;
        self.next += 1;
        (serial, batch(serial, rng))
    }

    fn heard(&mut self, serial: u64, outcome: Result<Vec<u64>, CommitError>) {
        match outcome {
            Ok(minted) => drop(self.durable.insert(serial, minted[0])),
            Err(CommitError::Conflict(_)) => drop(self.refused.insert(serial)),
            Err(_) => drop(self.unknown.insert(serial)),
        }
    }
}

/// A delivery: its number under a fresh UID, two counters, a record that others overwrite, sometimes a body; now and then
/// a guard that fails.
fn batch(serial: u64, rng: &mut Rng) -> Batch {
    let mut batch = Batch::new(home());
    let uid = batch.mint(Key(b"uid".to_vec()));
    batch.put(
        Template::from(b"m".to_vec()).number(uid, Width::U64),
        serial.to_be_bytes().to_vec(),
    );
    batch
        .add(Key(b"count".to_vec()), 1)
        .add(Key(b"sum".to_vec()), serial as i64);
    let len = rng.below(9000) as usize;
    batch.put(
        Key(format!("slot{}", rng.below(5)).into()),
        vec![serial as u8; len],
    );
    if serial.is_multiple_of(3) {
        batch.blob(body_id(serial), body(serial));
    }
    if rng.chance(0.1) {
        batch.exists(Key(b"nowhere".to_vec()));
    }
    batch
}

fn body_id(serial: u64) -> BlobId {
    let mut id = [0; 16];
    id[8..].copy_from_slice(&serial.to_be_bytes());
    BlobId(id)
}

fn body(serial: u64) -> Bytes {
    vec![serial as u8; 100 + serial as usize * 37 % 20_000].into()
}

fn rounds(seed: u64, run: Run, honesty: Honesty) -> Result<(), String> {
    let disk = Disk::new(seed);
    let mut rng = Rng::from_number(seed ^ 0x5eed);
    let mut ledger = Ledger::default();
    for round in 0..ROUNDS {
        // The first opening makes the tables; a disk that lies about that is a matter of its own.
        disk.set_honesty(Honesty::Syncs);
        if let Ok(mut engine) = Engine::open(&on(&disk)) {
            disk.set_honesty(honesty);
            work(&mut engine, &disk, &mut ledger, &mut rng, run);
        }
        disk.crash();
        if rng.chance(0.3) {
            // Power goes again while it recovers.
            disk.fail_after(1 + rng.below(8));
            drop(Engine::open(&on(&disk)));
            disk.crash();
        }
        disk.set_honesty(Honesty::Syncs);
        check(&on(&disk), &mut ledger).map_err(|what| format!("round {round}: {what}"))?;
    }
    Ok(())
}

fn work(engine: &mut Engine, disk: &Disk, ledger: &mut Ledger, rng: &mut Rng, run: Run) {
    // A checkpoint now and then, which in the shipped configuration comes after thousands of pages.
    engine
        .connection()
        .pragma_update(None, "wal_autocheckpoint", 20 + rng.below(60) as i64)
        .unwrap();
    if rng.chance(0.8) {
        disk.fail_after(1 + rng.below(300));
    }
    for _ in 0..rng.below(25) {
        let (serials, group): (Vec<_>, Vec<_>) = (0..1 + rng.below(12)).map(|_| ledger.batch(rng)).unzip();
        for (serial, outcome) in serials.into_iter().zip(run(engine, &group)) {
            ledger.heard(serial, outcome.map(|o| o.minted));
        }
    }
}

/// Holds what is there against what was said.
fn check(options: &Options, ledger: &mut Ledger) -> Result<(), String> {
    let engine = Engine::open(options).map_err(|e| format!("does not open: {e}"))?;
    let sound: String = engine
        .connection()
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .map_err(|e| e.to_string())?;
    expect(sound == "ok", || sound.clone())?;
    let reader = Reader::open(options).map_err(|e| e.to_string())?;
    let at = home().to_bytes();
    let queries = [
        Query::Scan(Scan::prefix(Key(b"m".to_vec()))),
        Query::Get(Key(b"uid".to_vec())),
        Query::Get(Key(b"count".to_vec())),
        Query::Get(Key(b"sum".to_vec())),
    ];
    let mut found = reader.read(&at, &queries).map_err(|e| e.to_string())?.into_iter();
    let messages = found.next().map(Found::entries).unwrap_or_default();
    let mut counter = || {
        let value = found.next().and_then(Found::value);
        value.map_or(0, |v| i64::from_be_bytes(v.value[..].try_into().unwrap()))
    };
    let (last_uid, count, sum) = (counter() as u64, counter(), counter());
    let mut present = BTreeMap::new();
    for entry in &messages {
        let uid = u64::from_be_bytes(entry.key.as_bytes()[1..].try_into().unwrap());
        let serial = u64::from_be_bytes(entry.value[..].try_into().unwrap());
        expect(present.insert(serial, uid).is_none(), || {
            format!("{serial} is there twice")
        })?;
        expect(uid <= last_uid, || {
            format!("UID {uid} is above the counter's {last_uid}")
        })?;
        expect(!ledger.refused.contains(&serial), || {
            format!("{serial} was refused and is there")
        })?;
        if serial.is_multiple_of(3) {
            let there = reader
                .blob(&at, body_id(serial), &(0..u64::MAX))
                .map_err(|e| e.to_string())?;
            expect(there == Some(body(serial)), || {
                format!("{serial} has no body, or another")
            })?;
        }
    }
    for (serial, uid) in &ledger.durable {
        expect(present.get(serial) == Some(uid), || {
            format!(
                "{serial} was durable with UID {uid} and is {:?}",
                present.get(serial)
            )
        })?;
    }
    expect(count == present.len() as i64, || {
        format!("{count} are counted, {} are there", present.len())
    })?;
    let should = present.keys().sum::<u64>() as i64;
    expect(sum == should, || {
        format!("the sum is {sum}, of what is there {should}")
    })?;
    // From here on what survived is durable, and what did not must stay away.
    ledger.unknown.retain(|serial| !present.contains_key(serial));
    ledger.refused.append(&mut ledger.unknown);
    ledger.durable = present;
    Ok(())
}

fn expect(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}

/// The same over the whole store with its threads, and 16 submitters.
#[test]
fn the_whole_store_keeps_its_promise_too() {
    for seed in 0..seeds() / 10 {
        let disk = Disk::new(seed);
        let mut rng = Rng::from_number(seed);
        let ledger = Arc::new(Mutex::new(Ledger::default()));
        for round in 0..ROUNDS {
            let store = Arc::new(SqliteStore::open_with(on(&disk)).unwrap());
            disk.fail_after(50 + rng.below(400));
            let submit = |mut rng: Rng| {
                let (store, ledger) = (store.clone(), ledger.clone());
                thread::spawn(move || {
                    for _ in 0..40 {
                        let (serial, batch) = ledger.lock().unwrap().batch(&mut rng);
                        let outcome = block_on((&*store as &dyn Store).commit_durable(batch));
                        ledger.lock().unwrap().heard(serial, outcome);
                    }
                })
            };
            let submitters: Vec<_> = (0..16).map(|_| submit(rng.fork())).collect();
            submitters.into_iter().for_each(|t| t.join().unwrap());
            disk.crash();
            drop(store);
            let checked = check(&on(&disk), &mut ledger.lock().unwrap());
            assert_eq!(checked, Ok(()), "seed {seed} round {round}");
        }
    }
}
