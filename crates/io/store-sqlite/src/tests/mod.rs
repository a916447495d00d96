mod power;

use crate::engine::Engine;
use crate::faulty::Disk;
use crate::{DataFolder, OpenError, Options, SqliteStore};
use bytes::Bytes;
use ringpost_base::{Rng, limits};
use ringpost_store::conformance::{self, block_on};
use ringpost_store::{
    AccountId, Batch, BlobId, CommitError, Found, Key, Partition, Query, Scan, Store, StoreError, Template,
    Width,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

fn home() -> Partition {
    Partition::Account(AccountId(1))
}

fn key(name: &str) -> Key {
    Key(name.into())
}

fn on(disk: &Disk) -> Options {
    Options {
        path: "store.db".into(),
        vfs: Some(disk.vfs().into()),
        readers: 2,
    }
}

fn put(name: &str, len: usize) -> Batch {
    let mut batch = Batch::new(home());
    batch.put(key(name), vec![7; len]);
    batch
}

fn names(store: &dyn Store) -> Vec<String> {
    let all = block_on(store.scan(&home(), Scan::prefix(Key::default()))).unwrap();
    all.into_iter()
        .map(|entry| String::from_utf8_lossy(entry.key.as_bytes()).into_owned())
        .collect()
}

#[test]
fn it_conforms_to_the_reference() {
    let dir = tempfile::tempdir().unwrap();
    let folder = DataFolder::open(dir.path()).unwrap();
    let store = SqliteStore::open(&folder).unwrap();
    for seed in 0..3 {
        block_on(conformance::run(&store, seed, 250));
    }
    block_on(conformance::run_concurrent(&store, Partition::Queue(63), 500));
}

#[test]
fn it_conforms_on_the_faulty_disk_too() {
    let seeds = if std::env::var_os("RINGPOST_SOAK").is_some() {
        500
    } else {
        10
    };
    for seed in 0..seeds {
        let disk = Disk::new(seed);
        let store = SqliteStore::open_with(on(&disk)).unwrap();
        block_on(conformance::run(&store, seed, 250));
    }
}

#[test]
fn without_threads_it_conforms_and_shares_syncs_as_well() {
    let disk = Disk::new(1);
    let store = SqliteStore::open_inline(on(&disk)).unwrap();
    for seed in 0..5 {
        block_on(conformance::run(&store, seed, 250));
    }
    let before = disk.syncs();
    block_on(conformance::run_concurrent(&store, Partition::Queue(63), 500));
    assert!(disk.syncs() - before < 10, "{} syncs", disk.syncs() - before);
}

#[test]
fn a_store_that_is_opened_again_is_the_same_and_repeats_no_version() {
    let dir = tempfile::tempdir().unwrap();
    let folder = DataFolder::open(dir.path()).unwrap();
    let store = SqliteStore::open(&folder).unwrap();
    let mut batch = put("a", 10);
    let body = BlobId([0; 16]);
    batch.blob(body, Bytes::from_static(b"hello"));
    let first = block_on(store.commit(batch)).unwrap().version;
    let mut batch = Batch::new(home());
    batch.delete(key("a"));
    let second = block_on(store.commit(batch)).unwrap().version;
    drop(store);
    let store = SqliteStore::open(&folder).unwrap();
    let third = block_on(store.commit(put("a", 10))).unwrap().version;
    assert!(first < second && second < third);
    let mut stale = Batch::new(home());
    stale.unchanged(key("a"), first).put(key("b"), Vec::new());
    assert_eq!(
        block_on(store.commit(stale)).unwrap_err(),
        CommitError::Conflict(key("a"))
    );
    assert_eq!(
        block_on(store.blob(&home(), body, 1..3)),
        Ok(Some(Bytes::from_static(b"el")))
    );
}

#[test]
fn sqlite_is_compiled_as_the_workspace_says() {
    let disk = Disk::new(1);
    let engine = Engine::open(&on(&disk)).unwrap();
    let mut statement = engine.connection().prepare("PRAGMA compile_options").unwrap();
    let options = statement.query_map([], |row| row.get(0)).unwrap();
    let options: Vec<String> = options.map(Result::unwrap).collect();
    assert!(
        options.iter().any(|option| option == "DEFAULT_MEMSTATUS=0"),
        "{options:?}"
    );
    assert!(!options.iter().any(|option| option == "ENABLE_MEMORY_MANAGEMENT"));
}

#[test]
fn a_store_of_a_later_format_is_refused_by_name() {
    let disk = Disk::new(1);
    let engine = Engine::open(&on(&disk)).unwrap();
    engine
        .connection()
        .pragma_update(None, "user_version", 99)
        .unwrap();
    drop(engine);
    let refused = SqliteStore::open_with(on(&disk)).unwrap_err();
    assert!(
        matches!(
            refused,
            OpenError::Format {
                found: 99,
                known: 2,
                ..
            }
        ),
        "{refused}"
    );
}

#[test]
fn a_store_of_the_first_format_is_brought_up_to_date() {
    let dir = tempfile::tempdir().unwrap();
    let folder = DataFolder::open(dir.path()).unwrap();
    let old = rusqlite::Connection::open(dir.path().join(SqliteStore::FILE)).unwrap();
    let lengths = [0, 700, 800, 1_000, 4_000, 300_000];
    old.execute_batch(
        "PRAGMA journal_mode = wal; PRAGMA user_version = 1;
         CREATE TABLE kv (
             partition BLOB NOT NULL, key BLOB NOT NULL, version INTEGER NOT NULL, value BLOB NOT NULL,
             PRIMARY KEY (partition, key)
         ) WITHOUT ROWID;
         CREATE TABLE body (partition BLOB NOT NULL, id BLOB NOT NULL, bytes BLOB NOT NULL, PRIMARY KEY (partition, id));
         CREATE TABLE last (version INTEGER NOT NULL);
         INSERT INTO last VALUES (9);",
    )
    .unwrap();
    let value = |n: usize| -> Vec<u8> { (0..n).map(|i| (n + i) as u8).collect() };
    for n in lengths {
        let (home, key) = (home().to_bytes(), format!("{n:06}").into_bytes());
        let row = rusqlite::params![home, key, 7, value(n)];
        old.execute("INSERT INTO kv VALUES (?1, ?2, ?3, ?4)", row)
            .unwrap();
    }
    drop(old);
    for _ in 0..2 {
        let store = SqliteStore::open(&folder).unwrap();
        let store: &dyn Store = &store;
        let entries = block_on(store.scan(&home(), Scan::prefix(Key::default()))).unwrap();
        let found: Vec<_> = entries.into_iter().map(|e| (e.version.0, e.value)).collect();
        let expected: Vec<_> = lengths.iter().map(|n| (7, value(*n).into())).collect();
        assert_eq!(found, expected);
        let one = block_on(store.get(&home(), key("300000"))).unwrap().unwrap();
        assert_eq!(one.value, value(300_000));
    }
}

#[test]
fn a_long_value_leaves_nothing_when_it_is_replaced_or_deleted() {
    let disk = Disk::new(1);
    let engine = Engine::open(&on(&disk)).unwrap();
    let count = |engine: &Engine| -> i64 {
        let sql = "SELECT count(*) FROM large";
        engine.connection().query_row(sql, [], |row| row.get(0)).unwrap()
    };
    let mut engine = engine;
    for (name, len, expected) in [
        ("a", 100_000, 1),
        ("b", 1_000, 2),
        ("a", 50_000, 2),
        ("a", 10, 1),
        ("c", 768, 1),
        ("c", 769, 2),
    ] {
        assert!(engine.run(&[put(name, len)])[0].is_ok());
        assert_eq!(count(&engine), expected, "{name} {len}");
    }
    let mut batch = Batch::new(home());
    batch.delete(key("b")).delete(key("c"));
    assert!(engine.run(&[batch])[0].is_ok());
    assert_eq!(count(&engine), 0);
}

#[test]
fn the_long_values_of_one_account_cost_another_nothing() {
    let disk = Disk::new(1);
    let mut engine = Engine::open(&on(&disk)).unwrap();
    for n in 0..64 {
        assert!(engine.run(&[put(&format!("{n:02}"), 200_000)])[0].is_ok());
    }
    // Every row that a search may compare a key with fits into a page together with others.
    let sql = "SELECT max(length(partition) + length(key) + length(value)) FROM kv";
    let longest: i64 = engine.connection().query_row(sql, [], |row| row.get(0)).unwrap();
    assert!(longest < 900, "{longest}");
}

#[test]
fn batches_that_wait_share_a_sync() {
    let disk = Disk::new(1);
    let store = SqliteStore::open_with(on(&disk)).unwrap();
    let before = disk.syncs();
    block_on(conformance::run_concurrent(&store, home(), 1000));
    let syncs = disk.syncs() - before;
    assert!(syncs < 100, "{syncs} syncs for 2,000 batches");
}

#[test]
fn a_group_of_refused_batches_costs_no_sync() {
    let disk = Disk::new(1);
    let mut engine = Engine::open(&on(&disk)).unwrap();
    let before = disk.syncs();
    let mut refused = put("a", 1);
    refused.exists(key("nowhere"));
    let outcomes = engine.run(&[refused.clone(), refused]);
    assert!(outcomes.iter().all(Result::is_err));
    assert_eq!(disk.syncs(), before);
}

#[test]
fn a_batch_sees_what_the_group_wrote_before_it() {
    let disk = Disk::new(1);
    let mut engine = Engine::open(&on(&disk)).unwrap();
    let mut first = Batch::new(home());
    first.absent(key("name")).put(key("name"), Vec::new());
    let second = first.clone();
    let mut third = Batch::new(home());
    third.exists(key("name")).delete(key("name"));
    let outcomes = engine.run(&[first.clone(), second, third, first]);
    let ok: Vec<bool> = outcomes.iter().map(Result::is_ok).collect();
    assert_eq!(ok, [true, false, true, true]);
}

#[test]
fn nobody_reads_what_is_older_than_what_he_has_read_and_what_is_read_together_is_of_one_moment() {
    const COMMITS: i64 = 2_000;
    let disk = Disk::new(3);
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open_with(on(&disk)).unwrap());
    let count = |n| {
        let mut batch = Batch::new(home());
        batch
            .add(key("a"), n)
            .add(key("b"), n)
            .put(key("c"), vec![n as u8]);
        batch
    };
    block_on(store.commit(count(1))).unwrap();
    let writer = {
        let store = store.clone();
        thread::spawn(move || {
            (1..COMMITS).for_each(|_| drop(block_on(store.commit_durable(count(1))).unwrap()))
        })
    };
    let readers: Vec<_> = (0..3)
        .map(|n| {
            let store = store.clone();
            thread::spawn(move || {
                let (mut last, mut asked) = (0, 0);
                while last < COMMITS {
                    let keys = vec![key("a"), key("b")];
                    let now = match (n + asked) % 3 {
                        0 => block_on(store.counter(&home(), key("a"))).unwrap(),
                        1 => {
                            let all = block_on(store.scan(&home(), Scan::prefix(key("a")))).unwrap();
                            i64::from_be_bytes(all[0].value[..].try_into().unwrap())
                        }
                        _ => {
                            let both = block_on(store.get_many(&home(), keys)).unwrap();
                            assert_eq!(both[0], both[1], "version and value");
                            i64::from_be_bytes(both[0].as_ref().unwrap().value[..].try_into().unwrap())
                        }
                    };
                    assert!(now >= last, "{now} after {last}");
                    (last, asked) = (now, asked + 1);
                }
            })
        })
        .collect();
    writer.join().unwrap();
    for reader in readers {
        reader.join().unwrap();
    }
}

#[test]
fn what_several_of_a_group_change_is_written_once() {
    let disk = Disk::new(1);
    let mut engine = Engine::open(&on(&disk)).unwrap();
    let rows = |engine: &Engine| {
        let sql = "SELECT total_changes()";
        engine
            .connection()
            .query_row(sql, [], |row| row.get::<_, i64>(0))
            .unwrap()
    };
    let group: Vec<_> = (0..8)
        .map(|n| {
            let mut batch = put("slot", n);
            batch.add(key("count"), 1);
            batch
        })
        .collect();
    let before = rows(&engine);
    assert!(engine.run(&group).iter().all(Result::is_ok));
    assert_eq!(rows(&engine) - before, 3, "the slot, the count, the version");
    let mut last = put("slot", 1);
    last.delete(key("count"));
    assert!(engine.run(&[put("other", 1), last])[1].is_ok());
    let reader = crate::reader::Reader::open(&on(&disk)).unwrap();
    let all = reader
        .read(&home().to_bytes(), &[Query::Scan(Scan::prefix(Key::default()))])
        .unwrap();
    let all: Vec<_> = all
        .into_iter()
        .flat_map(Found::entries)
        .map(|e| (e.key, e.value.len(), e.version.0))
        .collect();
    assert_eq!(all, [(key("other"), 1, 9), (key("slot"), 1, 10)]);
}

#[test]
fn a_full_disk_refuses_what_does_not_fit_and_loses_nothing() {
    let disk = Disk::new(1);
    let store = SqliteStore::open_with(on(&disk)).unwrap();
    block_on(store.commit(put("first", 10))).unwrap();
    disk.set_capacity(Some(disk.used() + 300_000));
    let mut kept = vec!["first".to_owned()];
    let refused = loop {
        let name = format!("n{:03}", kept.len());
        match block_on(store.commit(put(&name, 20_000))) {
            Ok(_) => kept.push(name),
            Err(e) => break e,
        }
        assert!(kept.len() < 100);
    };
    assert_eq!(refused, CommitError::Full);
    assert!(kept.len() > 3);
    kept.sort();
    assert_eq!(names(&store), kept);
    // There is room again: the same store goes on.
    disk.set_capacity(None);
    block_on(store.commit(put("zz", 20_000))).unwrap();
    kept.push("zz".into());
    drop(store);
    disk.crash();
    assert_eq!(names(&SqliteStore::open_with(on(&disk)).unwrap()), kept);
}

#[test]
fn of_a_group_only_what_does_not_fit_is_refused() {
    let disk = Disk::new(1);
    let mut engine = Engine::open(&on(&disk)).unwrap();
    disk.set_capacity(Some(disk.used() + 200_000));
    let outcomes = engine.run(&[put("a", 10), put("big", 900_000), put("b", 10)]);
    let refused: Vec<_> = outcomes.into_iter().map(Result::err).collect();
    assert_eq!(refused, [None, Some(CommitError::Full), None]);
}

#[test]
fn after_a_failed_sync_nothing_is_promised_any_more() {
    let disk = Disk::new(1);
    let store = SqliteStore::open_with(on(&disk)).unwrap();
    block_on(store.commit(put("a", 10))).unwrap();
    disk.set_sync_fails(true);
    assert!(matches!(
        block_on(store.commit(put("b", 10))),
        Err(CommitError::Io(_))
    ));
    disk.set_sync_fails(false);
    assert!(matches!(
        block_on(store.commit(put("c", 10))),
        Err(CommitError::Io(_))
    ));
    assert_eq!(names(&store), ["a"]);
    drop(store);
    let store = SqliteStore::open_with(on(&disk)).unwrap();
    block_on(store.commit(put("c", 10))).unwrap();
}

#[test]
fn a_batch_over_the_limits_is_refused_by_itself() {
    let disk = Disk::new(1);
    let store = SqliteStore::open_with(on(&disk)).unwrap();
    let refused = block_on(store.commit(put("a", limits::VALUE_BYTES + 1)));
    assert_eq!(refused.unwrap_err(), CommitError::TooLarge);
}

#[test]
fn a_store_that_lost_its_disk_says_so() {
    let disk = Disk::new(1);
    let store = SqliteStore::open_with(on(&disk)).unwrap();
    disk.crash();
    assert!(matches!(
        block_on(store.commit(put("a", 1))),
        Err(CommitError::Io(_))
    ));
    let read = block_on((&store as &dyn Store).get(&home(), key("a")));
    assert!(matches!(read, Err(StoreError::Io(_))), "{read:?}");
}

// Guards pitfall IMAP 1: whoever has seen a UID never sees a lower one appear.
#[test]
fn uids_appear_in_their_order() {
    let dir = tempfile::tempdir().unwrap();
    let folder = DataFolder::open(dir.path()).unwrap();
    let store = Arc::new(SqliteStore::open(&folder).unwrap());
    let done = Arc::new(AtomicBool::new(false));
    let watcher = {
        let (store, done) = (store.clone(), done.clone());
        thread::spawn(move || {
            let mut seen = 0;
            while !done.load(Ordering::Relaxed) {
                let found = block_on((&*store as &dyn Store).scan(&home(), Scan::prefix(key("m")))).unwrap();
                let uids: Vec<u64> = found
                    .iter()
                    .map(|entry| u64::from_be_bytes(entry.key.as_bytes()[1..].try_into().unwrap()))
                    .collect();
                assert!(
                    uids.iter().copied().eq(1..=uids.len() as u64),
                    "a gap below {:?}",
                    uids.last()
                );
                assert!(uids.len() >= seen);
                seen = uids.len();
            }
            seen
        })
    };
    let deliver = |n: u64| {
        let store = store.clone();
        thread::spawn(move || {
            let mut rng = Rng::from_number(n);
            for _ in 0..20 {
                let mut batch = Batch::new(home());
                let uid = batch.mint(key("uid"));
                let key = Template::from(b"m".to_vec()).number(uid, Width::U64);
                batch.put(key, vec![1; rng.below(500) as usize]);
                block_on(store.commit(batch)).unwrap();
            }
        })
    };
    let threads: Vec<_> = (0..8).map(deliver).collect();
    threads.into_iter().for_each(|t| t.join().unwrap());
    done.store(true, Ordering::Relaxed);
    watcher.join().unwrap();
}
