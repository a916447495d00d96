//! Accounts with mail, and a store that can be made to wait.

use crate::{Delivery, Letter, Mail, MailError, Selected};
use futures_util::FutureExt;
use ringpost_base::{Rng, UnixTime};
use ringpost_imap::question::{MessageState, Wants};
use ringpost_imap::{Flag, FlagChange, Flags, MailboxName};
use ringpost_store::records::{Account, Address, Domain};
use ringpost_store::{
    AccountId, Applied, Batch, BlobId, Bodies, BoxFuture, CommitError, Expect, Found, Guard, LocalBus,
    MemoryBlobs, MemoryStore, Partition, Query, Record, Store, StoreError, Sweeper, check_store, keys,
};
use std::future::poll_fn;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;

pub(super) const ALICE: AccountId = AccountId(0xa11ce);
pub(super) const BOB: AccountId = AccountId(0xb0b);
pub(super) const NOW: UnixTime = UnixTime::from_secs(1_700_000_000);

pub(super) struct World {
    pub(super) store: Arc<MemoryStore>,
    /// The same, each step of which lets others go first when `yields` says so.
    pub(super) patient: Arc<dyn Store>,
    pub(super) blobs: Arc<MemoryBlobs>,
    pub(super) bus: Arc<LocalBus>,
    pub(super) mail: Arc<Mail>,
    /// Whether each step of the store lets others go first.
    pub(super) yields: Arc<AtomicBool>,
    /// Of how many blocks of states at most a commit may guard the versions; of more somebody else changes one just before it.
    pub(super) meddles_above: Arc<AtomicUsize>,
    /// Commits that somebody else came before so.
    pub(super) meddled: Arc<AtomicUsize>,
    /// The most that one read has brought, in octets of keys and values of its scans.
    pub(super) read_bytes: Arc<AtomicUsize>,
}

pub(super) fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("the reference does not wait")
}

pub(super) fn name(text: &str) -> MailboxName {
    MailboxName::new(text).unwrap()
}

pub(super) fn flags(text: &str) -> Flags {
    text.split_whitespace().map(|t| Flag::parse(t).unwrap()).collect()
}

impl World {
    /// Alice and Bob at example.org, each with the default mailboxes.
    pub(super) fn new() -> Self {
        let store = Arc::new(MemoryStore::new());
        let blobs = Arc::new(MemoryBlobs::new(|| NOW));
        let world = World::over(store, blobs, 1);
        world.put(
            keys::DOMAINS,
            keys::domain("example.org"),
            &Domain {
                name: "example.org".into(),
                created: NOW,
            },
        );
        for (id, local_part) in [(ALICE, "alice"), (BOB, "bob")] {
            let address = Address {
                account: id,
                alias: false,
            };
            world.put(
                Partition::Domain("example.org".into()),
                keys::address(local_part),
                &address,
            );
            let account = Account {
                local_part: local_part.into(),
                domain: "example.org".into(),
                created: NOW,
                ..Account::default()
            };
            world.put(Partition::Account(id), keys::account(), &account);
            now(world.mail.create_defaults(id, NOW)).unwrap();
        }
        world
    }

    /// The same store with everything in memory forgotten.
    pub(super) fn restarted(&self) -> Self {
        World::over(self.store.clone(), self.blobs.clone(), 11)
    }

    /// Another `seed` is another process.
    fn over(store: Arc<MemoryStore>, blobs: Arc<MemoryBlobs>, seed: u64) -> Self {
        let yields = Arc::new(AtomicBool::new(false));
        let meddles_above = Arc::new(AtomicUsize::new(usize::MAX));
        let (meddled, read_bytes) = (Arc::default(), Arc::default());
        let patient: Arc<dyn Store> = Arc::new(Yielding {
            store: store.clone(),
            yields: yields.clone(),
            meddles_above: Arc::clone(&meddles_above),
            meddled: Arc::clone(&meddled),
            read_bytes: Arc::clone(&read_bytes),
        });
        let bus = Arc::new(LocalBus::new());
        let bodies = Bodies::new(patient.clone(), blobs.clone(), Rng::from_number(seed));
        let mail = Arc::new(Mail::new(
            patient.clone(),
            bodies,
            bus.clone(),
            Rng::from_number(seed + 1),
        ));
        World {
            store,
            patient,
            blobs,
            bus,
            mail,
            yields,
            meddles_above,
            meddled,
            read_bytes,
        }
    }

    pub(super) fn put(&self, partition: Partition, key: ringpost_store::Key, record: &impl Record) {
        let mut batch = Batch::new(partition);
        batch.put(key, record.to_bytes());
        now(self.store.commit(batch)).unwrap();
    }

    pub(super) fn set_quota(&self, account: AccountId, quota_bytes: u64) {
        self.set_quotas(account, Some(quota_bytes), None);
    }

    pub(super) fn set_quotas(&self, account: AccountId, bytes: Option<u64>, messages: Option<u64>) {
        let store: &dyn Store = &*self.store;
        let home = Partition::Account(account);
        let record = now(store.record::<Account>(&home, keys::account()))
            .unwrap()
            .unwrap()
            .record;
        let record = Account {
            quota_bytes: bytes,
            quota_messages: messages,
            ..record
        };
        self.put(home, keys::account(), &record);
    }

    pub(super) fn letter(&self, text: &str) -> Letter {
        now(self.mail.letter(text.to_owned().into())).unwrap()
    }

    pub(super) fn deliver_to(&self, account: AccountId, mailbox: &str, text: &str) -> u32 {
        let letter = self.letter(text);
        let delivery = Delivery {
            mailbox: name(mailbox),
            ..Delivery::new(NOW)
        };
        now(self.mail.deliver(account, &letter, delivery))
            .unwrap()
            .unwrap()
            .uid
    }

    /// Delivers to Alice.
    pub(super) fn deliver(&self, mailbox: &str, subject: &str) -> u32 {
        self.deliver_to(
            ALICE,
            mailbox,
            &format!("Subject: {subject}\r\n\r\nbody of {subject}\r\n"),
        )
    }

    pub(super) fn deliver_voice(&self, mailbox: &str, subject: &str) -> u32 {
        self.deliver_to(
            ALICE,
            mailbox,
            &format!("Message-Context: voice-message\r\nSubject: {subject}\r\n\r\n"),
        )
    }

    pub(super) fn select(&self, mailbox: &str) -> (Selected, Vec<MessageState>) {
        let (selected, snapshot) = now(self.mail.select(ALICE, &name(mailbox), false)).unwrap();
        (selected, snapshot.messages)
    }

    pub(super) fn uids(&self, mailbox: &str) -> Vec<u32> {
        self.select(mailbox).1.iter().map(|m| m.uid).collect()
    }

    pub(super) fn subjects(&self, mailbox: &str) -> Vec<String> {
        let (selected, messages) = self.select(mailbox);
        messages
            .iter()
            .map(|m| self.subject(&selected, m.uid).unwrap())
            .collect()
    }

    pub(super) fn subject(&self, selected: &Selected, uid: u32) -> Option<String> {
        let wants = Wants {
            envelope: true,
            structure: true,
            ..Default::default()
        };
        let message = now(self.mail.fetch(selected, &[uid], wants)).unwrap().pop()?;
        message.envelope?.subject.clone()
    }

    pub(super) fn flag(&self, mailbox: &str, uids: &[u32], change: FlagChange) -> Vec<MessageState> {
        let (mut selected, _) = self.select(mailbox);
        now(self.mail.store_flags(&mut selected, uids, &change, None))
            .unwrap()
            .states
    }

    pub(super) fn expunge(&self, mailbox: &str, uids: &[u32]) -> Vec<u32> {
        self.flag(mailbox, uids, FlagChange::Add(flags("\\Deleted")));
        let (selected, _) = self.select(mailbox);
        now(self.mail.expunge(&selected, Some(uids))).unwrap()
    }

    pub(super) fn body(&self, selected: &Selected, uid: u32, range: Range<u64>) -> Option<String> {
        let mut reader = now(self.mail.body(selected, uid, range)).unwrap()?;
        let mut text = Vec::new();
        while let Some(chunk) = now(reader.next()).unwrap() {
            text.extend_from_slice(&chunk);
        }
        Some(String::from_utf8(text).unwrap())
    }

    pub(super) fn lamp(&self) -> (u32, u32) {
        let lamp = now(self.mail.lamp(ALICE)).unwrap();
        (lamp.new, lamp.old)
    }

    /// Holds every record against the others.
    #[track_caller]
    pub(super) fn check(&self) {
        let report = now(check_store(&*self.store, &*self.blobs)).unwrap();
        assert!(report.is_sound(), "{:#?}", report.problems);
    }

    /// A small body is gone, as after a mistake of the disk.
    pub(super) fn lose_body(&self, home: &Partition, body: BlobId) {
        let mut batch = Batch::new(home.clone());
        batch.blob_deletes.push(body);
        now(self.store.commit(batch)).unwrap();
    }

    /// Removes what nothing names, with every grace over.
    pub(super) fn sweep(&self) {
        self.sweep_at(NOW + Sweeper::GRACE * 2);
        self.sweep_at(NOW + Sweeper::GRACE * 3);
    }

    pub(super) fn sweep_at(&self, at: UnixTime) {
        let sweeper = Sweeper::new(self.store.clone(), self.blobs.clone(), Sweeper::GRACE);
        now(sweeper.sweep(at)).unwrap();
    }
}

#[track_caller]
pub(super) fn refused<T: std::fmt::Debug>(result: Result<T, MailError>) -> MailError {
    result.unwrap_err()
}

/// The reference store, which steps back before each operation when it is told to.
struct Yielding {
    store: Arc<MemoryStore>,
    yields: Arc<AtomicBool>,
    meddles_above: Arc<AtomicUsize>,
    meddled: Arc<AtomicUsize>,
    read_bytes: Arc<AtomicUsize>,
}

impl Yielding {
    fn step_back(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut again = !self.yields.load(Ordering::Relaxed);
        poll_fn(move |cx| match std::mem::replace(&mut again, true) {
            true => Poll::Ready(()),
            false => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        })
    }

    /// Somebody else writes a block that the batch expects to be as it was, if it expects that of too many.
    async fn meddle(&self, batch: &Batch) -> Result<(), CommitError> {
        let is_block = |guard: &&Guard| {
            matches!(guard.expect, Expect::Version(_)) && keys::state_block_of(&guard.key).is_some()
        };
        let guards: Vec<&Guard> = batch.guards.iter().filter(is_block).collect();
        if guards.len() <= self.meddles_above.load(Ordering::Relaxed) {
            return Ok(());
        }
        let store: &dyn Store = &*self.store;
        let last = guards[guards.len() - 1].key.clone();
        if let Some(found) = store.get(&batch.partition, last.clone()).await? {
            let mut other = Batch::new(batch.partition.clone());
            other.put(last, found.value);
            store.commit(other).await?;
            self.meddled.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

impl Store for Yielding {
    fn read<'a>(
        &'a self,
        partition: &'a Partition,
        queries: Vec<Query>,
    ) -> BoxFuture<'a, Result<Vec<Found>, StoreError>> {
        let first = self.step_back();
        Box::pin(async move {
            first.await;
            let found = self.store.read(partition, queries).await?;
            let bytes = found.iter().map(Found::scanned_bytes).sum();
            self.read_bytes.fetch_max(bytes, Ordering::Relaxed);
            Ok(found)
        })
    }

    fn blob<'a>(
        &'a self,
        partition: &'a Partition,
        id: BlobId,
        range: Range<u64>,
    ) -> BoxFuture<'a, Result<Option<bytes::Bytes>, StoreError>> {
        self.store.blob(partition, id, range)
    }

    fn blobs<'a>(
        &'a self,
        partition: &'a Partition,
        after: Option<BlobId>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<BlobId>, StoreError>> {
        self.store.blobs(partition, after, limit)
    }

    fn partitions(
        &self,
        after: Option<Partition>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Partition>, StoreError>> {
        self.store.partitions(after, limit)
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Applied, CommitError>> {
        let first = self.step_back();
        Box::pin(async move {
            first.await;
            self.meddle(&batch).await?;
            self.store.commit(batch).await
        })
    }
}
