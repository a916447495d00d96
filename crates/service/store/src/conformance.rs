//! What every engine must do, as programs that panic when it does not: random operations, the same on the engine and on the
//! reference, compared after each. For the engines' tests and the simulator.

use crate::{
    AccountId, Applied, Batch, BlobId, Blobs, CommitError, Entry, Expect, FileCommand, FileName, FileWriter,
    Files, FolderName, Found, Guard, Key, MemoryBlobs, MemoryFiles, MemoryStore, Minted, Partition, Query,
    Scan, Store, StoreError, Template, Version, Versioned, Width,
};
use bytes::Bytes;
use futures_util::future::join_all;
use ringpost_base::{Rng, UnixTime, limits};
use std::collections::HashMap;
use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

/// Waits for a future on this thread: for engines whose answers come from threads of their own, where no runtime is at hand.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}

/// Runs `steps` random operations on `store` and on the reference and compares. Only partitions that are named by `seed` are
/// touched; they must be empty.
pub async fn run(store: &dyn Store, seed: u64, steps: usize) {
    let mut run = Run::new(store, seed);
    for step in 0..steps {
        run.step(step).await;
    }
    run.compare_all().await;
}

struct Run<'a> {
    engine: &'a dyn Store,
    reference: MemoryStore,
    rng: Rng,
    seed: u64,
    /// The reference's versions, and what the engine calls them.
    versions: HashMap<Version, Version>,
    blobs: Vec<BlobId>,
}

/// So few names that operations meet.
const NAMES: [&[u8]; 10] = [
    b"",
    b"a",
    b"a\0",
    b"a\0b",
    b"a\xff",
    b"a\xff\xff",
    b"b",
    b"b1",
    b"\xff",
    b"\xff\xff",
];
const COUNTERS: [&[u8]; 3] = [b"#1", b"#2", b"#3"];
const PARTITIONS: u64 = 4;

impl<'a> Run<'a> {
    fn new(engine: &'a dyn Store, seed: u64) -> Self {
        Run {
            engine,
            reference: MemoryStore::new(),
            rng: Rng::from_number(seed),
            seed,
            versions: HashMap::new(),
            blobs: Vec::new(),
        }
    }

    async fn step(&mut self, step: usize) {
        match self.rng.below(10) {
            0..6 => self.commit(step).await,
            6..8 => self.read(step).await,
            8 => self.bodies(step).await,
            _ => self.partitions(step).await,
        }
    }

    fn pick<'b, T>(&mut self, from: &'b [T]) -> &'b T {
        &from[self.rng.below(from.len() as u64) as usize]
    }

    fn partition(&mut self) -> Partition {
        match self.rng.below(PARTITIONS) {
            0 => Partition::Account(AccountId(self.seed)),
            1 => Partition::Account(AccountId(self.seed.wrapping_add(1 << 32))),
            2 => Partition::Domain(format!("seed{}.example", self.seed).into()),
            _ => Partition::Domain(format!("seed{}.example.net", self.seed).into()),
        }
    }

    fn key(&mut self) -> Key {
        Key(self.pick(&NAMES).to_vec())
    }

    fn counter(&mut self) -> Key {
        Key(self.pick(&COUNTERS).to_vec())
    }

    fn value(&mut self) -> Bytes {
        let len = match self.rng.below(20) {
            0 => self.rng.below(100_000),
            1..4 => self.rng.below(5000),
            _ => self.rng.below(40),
        };
        let mut value = vec![0; len as usize];
        self.rng.fill(&mut value);
        value.into()
    }

    /// The batch for the reference and, with its own versions in the guards, for the engine.
    async fn batch(&mut self) -> (Batch, Batch) {
        let mut batch = Batch::new(self.partition());
        let mut engines = Vec::new();
        for _ in 0..self.rng.below(3) {
            let key = self.key();
            let expect = self.expect(&batch.partition, &key).await;
            batch.guards.push(Guard {
                key: key.clone(),
                expect,
            });
            let expect = match expect {
                Expect::Version(v) => {
                    Expect::Version(self.versions.get(&v).copied().unwrap_or(Version(u64::MAX)))
                }
                same => same,
            };
            engines.push(Guard { key, expect });
        }
        for _ in 0..self.rng.below(3) {
            let (counter, n) = (self.counter(), self.rng.below(4));
            let minted = batch.mint_many(counter, n);
            let minted = Minted {
                offset: self.rng.below(3),
                ..minted
            };
            let width = *self.pick(&[Width::U32, Width::U64]);
            let (key, value) = (Template::from(self.key()), Template::from(self.value()));
            match self.rng.below(3) {
                0 => batch.put(key.number(minted, width), value),
                1 => batch.put(key, value.number(minted, width)),
                _ => batch.put(key.number(minted, width), value.number(minted, Width::U64)),
            };
        }
        for _ in 0..self.rng.below(4) {
            match self.rng.below(4) {
                0 => {
                    batch.delete(self.key());
                }
                1 => {
                    batch.add(self.counter(), self.rng.below(20) as i64 - 8);
                }
                2 => {
                    batch.add_within(self.counter(), self.rng.below(20) as i64 - 10, -5, 40);
                }
                _ => {
                    batch.put(self.key(), self.value());
                }
            }
        }
        self.batch_bodies(&mut batch);
        let engine = Batch {
            guards: engines,
            ..batch.clone()
        };
        (batch, engine)
    }

    async fn expect(&mut self, partition: &Partition, key: &Key) -> Expect {
        match self.rng.below(4) {
            0 => Expect::Absent,
            1 => Expect::Exists,
            2 => Expect::Version(Version(self.rng.below(30))),
            _ => match (&self.reference as &dyn Store).get(partition, key.clone()).await {
                Ok(Some(v)) => Expect::Version(v.version),
                _ => Expect::Absent,
            },
        }
    }

    fn batch_bodies(&mut self, batch: &mut Batch) {
        if self.rng.chance(0.2) {
            let id = BlobId::inline(&mut self.rng);
            let mut body = vec![0; self.rng.below(limits::INLINE_BLOB_BYTES as u64 + 1) as usize];
            self.rng.fill(&mut body);
            batch.blob(id, body.into());
            self.blobs.push(id);
        }
        if self.rng.chance(0.1) && !self.blobs.is_empty() {
            let blobs = std::mem::take(&mut self.blobs);
            batch.blob_deletes.push(*self.pick(&blobs));
            self.blobs = blobs;
        }
    }

    async fn commit(&mut self, step: usize) {
        let (reference, engine) = self.batch().await;
        let shown = shortened(&reference);
        let expected = self.reference.commit(reference).await;
        let got = self.engine.commit(engine).await;
        let (expected, got) = match (expected, got) {
            (Ok(expected), Ok(got)) => (expected, got),
            (Err(expected), Err(got)) => {
                assert_eq!(got, expected, "{}: refusal of {shown:?}", self.at(step));
                return;
            }
            (expected, got) => panic!("{}: {shown:?}: {got:?}, expected {expected:?}", self.at(step)),
        };
        assert_eq!(
            got.minted,
            expected.minted,
            "{}: numbers of {shown:?}",
            self.at(step)
        );
        let known = self.versions.insert(expected.version, got.version);
        assert!(
            known.is_none(),
            "{}: the version {:?} again",
            self.at(step),
            got.version
        );
        if self.rng.chance(0.5) {
            assert_eq!(Applied::durable(got).await, Ok(()), "{}: durable", self.at(step));
        }
    }

    fn scan(&mut self) -> Scan {
        let scan = match self.rng.below(3) {
            0 => Scan::prefix(self.key()),
            1 => Scan::range(self.key(), self.key()),
            _ => Scan::prefix(Key::default()).after(&self.key()),
        };
        let scan = scan.limit(*self.pick(&[0, 1, 3, usize::MAX]));
        let scan = scan.limit_bytes(*self.pick(&[0, 1, 40, 5_000, usize::MAX, usize::MAX]));
        if self.rng.chance(0.5) {
            scan.reverse()
        } else {
            scan
        }
    }

    async fn read(&mut self, step: usize) {
        let partition = self.partition();
        let mut queries = Vec::new();
        for _ in 0..self.rng.below(4) {
            queries.push(match self.rng.below(3) {
                0 => Query::Get(self.key()),
                1 => Query::Get(self.counter()),
                _ => Query::Scan(self.scan()),
            });
        }
        self.compare(&partition, queries, step).await;
    }

    async fn compare(&self, partition: &Partition, queries: Vec<Query>, step: usize) {
        let expected = ok(self.reference.read(partition, queries.clone()).await);
        let got = ok(self.engine.read(partition, queries.clone()).await);
        let expected: Vec<Found> = expected.into_iter().map(|found| self.translate(found)).collect();
        assert_eq!(got, expected, "{}: {partition}: {queries:?}", self.at(step));
    }

    /// What the reference found, with the engine's versions.
    fn translate(&self, found: Found) -> Found {
        let version = |v: Version| self.versions.get(&v).copied().unwrap_or(Version(u64::MAX));
        match found {
            Found::Value(value) => Found::Value(value.map(|v| Versioned {
                version: version(v.version),
                value: v.value,
            })),
            Found::Entries(entries) => Found::Entries(
                entries
                    .into_iter()
                    .map(|e| Entry {
                        version: version(e.version),
                        ..e
                    })
                    .collect(),
            ),
        }
    }

    async fn bodies(&mut self, step: usize) {
        let (partition, from) = (self.partition(), self.rng.below(70_000));
        let range: Range<u64> = from..from.saturating_add(*self.pick(&[0, 1, 5000, u64::MAX]));
        for id in self.blobs.iter().rev().take(5) {
            let expected = ok(self.reference.blob(&partition, *id, range.clone()).await);
            let got = ok(self.engine.blob(&partition, *id, range.clone()).await);
            assert!(
                got == expected,
                "{}: body {id} {range:?} of {partition}",
                self.at(step)
            );
        }
        let ids: Vec<BlobId> = self.blobs.iter().rev().take(5).copied().collect();
        let expected = ok(self.reference.blob_many(&partition, ids.clone()).await);
        assert!(
            ok(self.engine.blob_many(&partition, ids).await) == expected,
            "{}: several bodies of {partition}",
            self.at(step)
        );
        let after = self.blobs.first().copied();
        let expected = ok(self.reference.blobs(&partition, after, 3).await);
        assert_eq!(
            ok(self.engine.blobs(&partition, after, 3).await),
            expected,
            "{}: bodies",
            self.at(step)
        );
    }

    async fn partitions(&mut self, step: usize) {
        let mut found = Vec::new();
        loop {
            let page = ok(self.engine.partitions(found.last().cloned(), 2).await);
            if page.is_empty() {
                break;
            }
            found.extend(page);
        }
        let expected = ok(self.reference.partitions(None, usize::MAX).await);
        let ours: Vec<_> = found.iter().filter(|p| expected.contains(p)).cloned().collect();
        assert_eq!(ours, expected, "{}: partitions", self.at(step));
        assert!(
            found.is_sorted_by_key(Partition::to_bytes),
            "{}: order of {found:?}",
            self.at(step)
        );
    }

    async fn compare_all(&mut self) {
        for partition in ok(self.reference.partitions(None, usize::MAX).await) {
            let all = vec![Query::Scan(Scan::prefix(Key::default()))];
            self.compare(&partition, all, usize::MAX).await;
            for limit_bytes in [0, 1, 100, 10_000] {
                self.page_through(&partition, limit_bytes).await;
            }
        }
    }

    /// What is read with limits of octets, each time from behind the last key, is all that there is; and each piece goes on to
    /// its limit, and no further than the entry that reaches it.
    async fn page_through(&self, partition: &Partition, limit_bytes: usize) {
        let all = Scan::prefix(Key::default());
        let whole = ok(self.engine.scan(partition, all.clone()).await);
        let (mut rest, mut scan) = (&whole[..], all.limit_bytes(limit_bytes));
        while let Some(first) = rest.first() {
            let page = ok(self.engine.scan(partition, scan.clone()).await);
            let at = format!(
                "{}: {limit_bytes} octets of {partition} from {:?}",
                self.at(usize::MAX),
                first.key
            );
            assert!(rest.starts_with(&page), "{at}: other entries");
            let Some((last, before)) = page.split_last() else {
                panic!("{at}: none");
            };
            let before_bytes: usize = before.iter().map(Entry::size_bytes).sum();
            let is_over = before_bytes + last.size_bytes() >= limit_bytes.max(1);
            assert!(before_bytes < limit_bytes.max(1), "{at}: too many entries");
            assert!(is_over || page.len() == rest.len(), "{at}: too few entries");
            scan = scan.after(&last.key);
            rest = &rest[page.len()..];
        }
        assert_eq!(
            ok(self.engine.scan(partition, scan).await),
            [],
            "{}",
            self.at(usize::MAX)
        );
    }

    fn at(&self, step: usize) -> String {
        format!("seed {} step {step}", self.seed)
    }
}

/// The batch without what would fill the screen.
fn shortened(batch: &Batch) -> Batch {
    let mut short = Batch {
        blobs: Vec::new(),
        ..batch.clone()
    };
    for put in short.puts.iter_mut().filter(|put| put.value.len() > 100) {
        put.value = Template::default();
    }
    short
}

fn ok<T>(result: Result<T, StoreError>) -> T {
    match result {
        Ok(value) => value,
        Err(e) => panic!("a read failed: {e}"),
    }
}

/// Many batches at once: numbers are given out once and without a gap, of those who guard one version one wins, a failing
/// batch takes no other with it, and what is durable is read back. `partition` must be empty.
pub async fn run_concurrent(store: &dyn Store, partition: Partition, batches: usize) {
    let counter = Key(b"counter".to_vec());
    let mut minting = Vec::new();
    for n in 0..batches {
        let mut batch = Batch::new(partition.clone());
        let minted = batch.mint(counter.clone());
        batch.put(
            Template::from(b"m".to_vec()).number(minted, Width::U64),
            n.to_be_bytes().to_vec(),
        );
        if n % 7 == 3 {
            batch.exists(Key(b"nowhere".to_vec()));
        }
        minting.push(store.commit_durable(batch));
    }
    let outcomes = join_all(minting).await;
    let mut given = Vec::new();
    for (n, outcome) in outcomes.iter().enumerate() {
        match outcome {
            Ok(minted) => given.push(minted[0]),
            Err(e) => assert_eq!((n % 7, e), (3, &CommitError::Conflict(Key(b"nowhere".to_vec())))),
        }
    }
    given.sort_unstable();
    assert!(
        given.iter().copied().eq(1..=given.len() as u64),
        "numbers with gaps or doubles: {given:?}"
    );
    let found = ok(store.scan(&partition, Scan::prefix(Key(b"m".to_vec()))).await);
    assert_eq!(found.len(), given.len());

    let contested = Key(b"contested".to_vec());
    let racing = (0..batches).map(|_| {
        let mut batch = Batch::new(partition.clone());
        batch
            .absent(contested.clone())
            .put(contested.clone(), b"mine".to_vec());
        store.commit(batch)
    });
    let won = join_all(racing)
        .await
        .iter()
        .filter(|outcome| outcome.is_ok())
        .count();
    assert_eq!(won, 1, "winners of one guard");
}

/// Runs `steps` random operations on `blobs` and on the reference and compares; `blobs` must be empty.
pub async fn run_blobs(blobs: &dyn Blobs, seed: u64, steps: usize) {
    let reference = MemoryBlobs::new(UnixTime::default);
    let mut rng = Rng::from_number(seed);
    let mut ids: Vec<BlobId> = Vec::new();
    for step in 0..steps {
        let known = ids.get(rng.below(ids.len() as u64 + 1) as usize).copied();
        match (rng.below(4), known) {
            (0, Some(id)) if rng.chance(0.5) => {
                ok(reference.delete(id).await);
                ok(blobs.delete(id).await);
            }
            (1, Some(id)) => {
                let from = rng.below(300_000);
                let range = from..from.saturating_add(rng.below(300_000));
                let expected = read_all(&reference, id, range.clone()).await;
                assert!(
                    read_all(blobs, id, range).await == expected,
                    "seed {seed} step {step}: body {id}"
                );
            }
            (2, _) => {
                let listed = |infos: Vec<crate::BlobInfo>| -> Vec<_> {
                    infos.into_iter().map(|info| (info.id, info.size_bytes)).collect()
                };
                let expected = listed(ok(reference.list(known, 3).await));
                assert_eq!(
                    listed(ok(blobs.list(known, 3).await)),
                    expected,
                    "seed {seed} step {step}: list"
                );
            }
            _ => {
                let id = BlobId::separate(&mut rng);
                let finishes = rng.chance(0.8);
                let seed = rng.u64();
                write(&reference, id, &mut Rng::from_number(seed), finishes).await;
                write(blobs, id, &mut Rng::from_number(seed), finishes).await;
                ids.push(id);
            }
        }
    }
}

/// Runs `steps` random operations on `files` and on the reference and compares; `files` must be empty.
pub async fn run_files(files: &dyn Files, seed: u64, steps: usize) {
    let reference = MemoryFiles::new(UnixTime::default);
    let mut rng = Rng::from_number(seed);
    let names: Vec<FileName> = [
        "door/1.mp4",
        "door/2.mp4",
        "door/left/1.mp4",
        "garden/1.mp4",
        "top.wav",
    ]
    .iter()
    .map(|name| name.parse().expect("a name"))
    .collect();
    let mut writers: Vec<_> = (0..2).map(|_| (reference.writer(), files.writer())).collect();
    for step in 0..steps {
        let name = &names[rng.below(names.len() as u64) as usize];
        let (expected, found) = &mut writers[rng.below(2) as usize];
        let command = match rng.below(10) {
            0 => {
                ok(reference.remove(name).await);
                ok(files.remove(name).await);
                continue;
            }
            1 | 2 => FileCommand::Create(name.clone()),
            3 => FileCommand::Close,
            4 => FileCommand::Sync,
            _ => {
                let mut octets = vec![0; rng.below(100_000) as usize];
                rng.fill(&mut octets);
                FileCommand::Append(octets.into())
            }
        };
        let at = format!("seed {seed} step {step}");
        assert_eq!(
            carry_out(found.as_mut(), command.clone()).await,
            carry_out(expected.as_mut(), command).await,
            "{at}"
        );
        let from = rng.below(300_000);
        let range = from..from + rng.below(300_000);
        let octets = ok(files.read(name, range.clone()).await);
        assert!(octets == ok(reference.read(name, range).await), "{at}: {name}");
        for folder in ["", "door", "door/left", "garden", "nowhere"] {
            let folder: FolderName = folder.parse().expect("a folder");
            assert_eq!(
                listed(files, &folder).await,
                listed(&reference, &folder).await,
                "{at}"
            );
        }
    }
}

/// Whether a command was taken and could be carried out.
async fn carry_out(writer: &mut dyn FileWriter, command: FileCommand) -> bool {
    writer.submit(command).is_ok() & writer.settle().await.is_ok()
}

async fn listed(files: &dyn Files, folder: &FolderName) -> (Vec<(FileName, u64, bool)>, Vec<FolderName>) {
    let infos = ok(files.list(folder).await);
    let mut folders = ok(files.folders(folder).await);
    // A folder may outlive its files.
    let mut kept = Vec::new();
    for folder in folders.drain(..) {
        let is_empty =
            ok(files.list(&folder).await).is_empty() && ok(files.folders(&folder).await).is_empty();
        kept.extend((!is_empty).then_some(folder));
    }
    let told = infos
        .into_iter()
        .map(|info| (info.name, info.size_bytes, info.is_open));
    (told.collect(), kept)
}

async fn write(blobs: &dyn Blobs, id: BlobId, rng: &mut Rng, finishes: bool) {
    let mut writer = ok(blobs.writer(id).await);
    for _ in 0..rng.below(6) {
        let mut chunk = vec![0; rng.below(limits::CHUNK_BYTES as u64 * 2) as usize];
        rng.fill(&mut chunk);
        ok(writer.write(chunk.into()).await);
    }
    if finishes {
        ok(writer.finish().await);
        assert!(
            blobs.writer(id).await.is_err(),
            "a body that exists was begun again"
        );
    }
}

async fn read_all(blobs: &dyn Blobs, id: BlobId, range: Range<u64>) -> Option<Vec<u8>> {
    let mut reader = ok(blobs.get(id, range).await)?;
    let mut all = Vec::new();
    while let Some(chunk) = ok(reader.next().await) {
        assert!(
            !chunk.is_empty() && chunk.len() <= limits::CHUNK_BYTES,
            "a chunk of {}",
            chunk.len()
        );
        all.extend_from_slice(&chunk);
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn the_reference_conforms_to_itself() {
        for seed in 0..20 {
            run(&MemoryStore::new(), seed, 300).now_or_never().unwrap();
            run_blobs(&MemoryBlobs::new(UnixTime::default), seed, 30)
                .now_or_never()
                .unwrap();
            run_files(&MemoryFiles::new(UnixTime::default), seed, 100)
                .now_or_never()
                .unwrap();
        }
        run_concurrent(&MemoryStore::new(), Partition::Queue(1), 100)
            .now_or_never()
            .unwrap();
    }

    #[test]
    fn a_read_ends_with_the_entry_that_crosses_its_limit_of_octets() {
        let (store, home) = (MemoryStore::new(), Partition::Queue(1));
        let mut batch = Batch::new(home.clone());
        for (key, len) in [("a", 9), ("b", 9), ("c", 99), ("d", 9), ("e", 9)] {
            batch.put(Key(key.into()), vec![0; len]);
        }
        store.commit(batch).now_or_never().unwrap().unwrap();
        let whole = || Scan::prefix(Key::default());
        let one = |key: &str| Scan::prefix(Key(key.into()));
        let found = |scans: Vec<Scan>| -> Vec<String> {
            let queries = scans.into_iter().map(Query::Scan).collect();
            let found = ok(store.read(&home, queries).now_or_never().unwrap());
            let name = |entry: Entry| String::from_utf8(entry.key.0).unwrap();
            let names = |found: Found| found.entries().into_iter().map(name).collect();
            found.into_iter().map(names).collect()
        };
        // Each of the short entries is ten octets with its key.
        for (limit_bytes, forward, backward) in [
            (0, "a", "e"),
            (10, "a", "e"),
            (11, "ab", "ed"),
            (21, "abc", "edc"),
            (120, "abc", "edc"),
            (121, "abcd", "edcb"),
            (140, "abcde", "edcba"),
        ] {
            assert_eq!(found(vec![whole().limit_bytes(limit_bytes)]), [forward]);
            assert_eq!(
                found(vec![whole().reverse().limit_bytes(limit_bytes)]),
                [backward]
            );
        }
        // Several scans of one read share what they may, with one entry at least; others are not counted.
        let three = |limit_bytes| {
            ["c", "d", "e"]
                .map(|key| one(key).limit_bytes(limit_bytes))
                .to_vec()
        };
        assert_eq!(found(three(1)), ["c", "", ""]);
        assert_eq!(found(three(101)), ["c", "d", ""]);
        assert_eq!(
            found(vec![one("x").limit_bytes(1), one("d").limit_bytes(1)]),
            ["", "d"]
        );
        assert_eq!(
            found(vec![whole(), one("c").limit_bytes(1), whole()]),
            ["abcde", "c", "abcde"]
        );
        assert_eq!(
            found(vec![one("a").limit_bytes(1), one("b").limit_bytes(11)]),
            ["a", "b"]
        );
    }

    // The suite must be able to fail: an engine that does one thing wrong is caught.
    #[test]
    #[should_panic(expected = "seed")]
    fn an_engine_that_loses_a_delete_is_caught() {
        struct Forgetful(MemoryStore);
        impl Store for Forgetful {
            fn read<'a>(
                &'a self,
                partition: &'a Partition,
                queries: Vec<Query>,
            ) -> crate::BoxFuture<'a, Result<Vec<Found>, StoreError>> {
                self.0.read(partition, queries)
            }
            fn blob<'a>(
                &'a self,
                partition: &'a Partition,
                id: BlobId,
                range: Range<u64>,
            ) -> crate::BoxFuture<'a, Result<Option<Bytes>, StoreError>> {
                self.0.blob(partition, id, range)
            }
            fn blobs<'a>(
                &'a self,
                partition: &'a Partition,
                after: Option<BlobId>,
                limit: usize,
            ) -> crate::BoxFuture<'a, Result<Vec<BlobId>, StoreError>> {
                self.0.blobs(partition, after, limit)
            }
            fn partitions(
                &self,
                after: Option<Partition>,
                limit: usize,
            ) -> crate::BoxFuture<'_, Result<Vec<Partition>, StoreError>> {
                self.0.partitions(after, limit)
            }
            fn commit(&self, mut batch: Batch) -> crate::BoxFuture<'_, Result<Applied, CommitError>> {
                batch.deletes.clear();
                self.0.commit(batch)
            }
        }
        run(&Forgetful(MemoryStore::new()), 1, 2000)
            .now_or_never()
            .unwrap();
    }
}
