//! Mailboxes, counts, the checker and the sweeper over the reference store.

#![allow(clippy::unwrap_used)]

use futures_util::FutureExt;
use ringpost_base::{Rng, UnixTime, limits};
use ringpost_store::keys::{self, MailboxCount, Usage, Voicemail};
use ringpost_store::mailbox::{self, MailBatch, Quota};
use ringpost_store::records::{
    Account, Address, Change, Delivered, Domain, Flags, Keywords, Mailbox, Message, MessageKind,
    MessageState, Queued, QueuedRecipient, SpecialUse, Spool, UidRange,
};
use ringpost_store::states::{BLOCK_UIDS, fold};
use ringpost_store::{
    AccountId, Batch, Blobs, Bodies, Body, CommitError, Key, MemoryBlobs, MemoryStore, Partition, Record,
    Report, Scan, States, StatesOf, Store, Stored, Sweeper, Swept, check_store,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const ALICE: AccountId = AccountId(0xa11ce);

type Damage = Box<dyn Fn(&mut Batch, &World)>;

struct World {
    store: Arc<MemoryStore>,
    blobs: Arc<MemoryBlobs>,
    bodies: Bodies,
    now_s: Arc<AtomicU64>,
}

fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("the reference never waits")
}

fn home() -> Partition {
    Partition::Account(ALICE)
}

impl World {
    /// Alice with an inbox and a trash.
    fn new() -> Self {
        let now_s = Arc::new(AtomicU64::new(10_000));
        let clock = now_s.clone();
        let store = Arc::new(MemoryStore::new());
        let blobs = Arc::new(MemoryBlobs::new(move || {
            UnixTime::from_secs(clock.load(Ordering::Relaxed))
        }));
        let bodies = Bodies::new(store.clone(), blobs.clone(), Rng::from_number(1));
        let world = World {
            store,
            blobs,
            bodies,
            now_s,
        };
        let mut directory = Batch::new(keys::DOMAINS);
        let domain = Domain {
            name: "example.org".into(),
            created: world.now(),
        };
        directory.put(keys::domain("example.org"), domain.to_bytes());
        world.commit(directory);
        let mut domain = Batch::new(Partition::Domain("example.org".into()));
        domain.put(
            keys::address("alice"),
            Address {
                account: ALICE,
                alias: false,
            }
            .to_bytes(),
        );
        world.commit(domain);
        let mut batch = Batch::new(home());
        let account = Account {
            local_part: "alice".into(),
            domain: "example.org".into(),
            created: world.now(),
            ..Account::default()
        };
        batch.put(keys::account(), account.to_bytes());
        batch.put(
            keys::last_uid_validity(),
            world.now().as_secs().to_be_bytes().to_vec(),
        );
        world.commit(batch);
        world.create("INBOX", None);
        world.create("Trash", Some(SpecialUse::Trash));
        world
    }

    fn dyn_store(&self) -> &dyn Store {
        &*self.store
    }

    fn now(&self) -> UnixTime {
        UnixTime::from_secs(self.now_s.load(Ordering::Relaxed))
    }

    fn commit(&self, batch: Batch) -> Vec<u64> {
        now(self.dyn_store().commit_durable(batch)).unwrap()
    }

    fn create(&self, name: &str, special_use: Option<SpecialUse>) {
        let mut batch = Batch::new(home());
        mailbox::create(
            &mut batch,
            &Mailbox {
                name: name.into(),
                special_use,
                ..Mailbox::default()
            },
        );
        self.commit(batch);
    }

    fn mailbox(&self, name: &str) -> Stored<Mailbox> {
        let all = now(self.dyn_store().scan(&home(), keys::mailboxes())).unwrap();
        let all = all.into_iter().map(|e| Stored {
            version: e.version,
            record: Mailbox::from_bytes(&e.key, e.value).unwrap(),
        });
        all.into_iter().find(|m| m.record.name == name).unwrap()
    }

    fn body(&self, len: usize) -> Body {
        let mut writer = self.bodies.writer();
        let mut rest = len;
        while rest > 0 {
            let piece = rest.min(10_000);
            now(writer.write(vec![b'x'; piece].into())).unwrap();
            rest -= piece;
        }
        now(writer.finish()).unwrap()
    }

    fn deliver(&self, name: &str, kind: MessageKind, len: usize) -> u32 {
        let body = self.body(len);
        let message = Message {
            blob: body.id,
            size_bytes: len as u64,
            kind,
            ..Message::default()
        };
        let mut batch = MailBatch::new(
            ALICE,
            Quota {
                bytes: Some(1_000_000),
                messages: None,
            },
        );
        let uid = batch.add(
            &self.mailbox(name).record,
            &message,
            Flags::NONE,
            Keywords::default(),
            &body,
        );
        let minted = self.commit(batch.finish());
        uid.of(&minted).unwrap() as u32
    }

    fn deliver_many(&self, count: usize) {
        for _ in 0..count {
            self.deliver("INBOX", MessageKind::Mail, 5);
        }
    }

    fn message(&self, name: &str, uid: u32) -> (Message, States) {
        let id = self.mailbox(name).record.id;
        let message = now(self.dyn_store().record(&home(), keys::message(id, uid)))
            .unwrap()
            .unwrap();
        (message.record, self.states(name, &[uid]))
    }

    fn states(&self, name: &str, uids: &[u32]) -> States {
        let of = StatesOf::uids(self.mailbox(name).record.id, uids);
        now(of.read(&*self.store, ALICE)).unwrap()
    }

    /// Everything that is known of the messages of a mailbox.
    fn all(&self, name: &str) -> BTreeMap<u32, MessageState> {
        let of = StatesOf::all(self.mailbox(name).record.id);
        let states = now(of.read(&*self.store, ALICE)).unwrap();
        states.iter().map(|(uid, state)| (uid, state.clone())).collect()
    }

    /// How many states of a mailbox are records of their own, and how many blocks there are.
    fn records(&self, name: &str) -> (usize, usize) {
        let id = self.mailbox(name).record.id;
        let count = |scan| now(self.dyn_store().scan(&home(), scan)).unwrap().len();
        (
            count(keys::message_states(id, 0..=u32::MAX)),
            count(keys::state_blocks(id, 0..=u32::MAX)),
        )
    }

    fn fold(&self, name: &str, below: u32) -> u64 {
        now(fold(&*self.store, ALICE, self.mailbox(name).record.id, below)).unwrap()
    }

    fn flag(&self, name: &str, uid: u32, flags: Flags) {
        self.flag_all(name, &[uid], flags, &[]);
    }

    fn flag_all(&self, name: &str, uids: &[u32], flags: Flags, keywords: &[&str]) {
        let (mailbox, states) = (self.mailbox(name).record, self.states(name, uids));
        let keywords: Vec<String> = keywords.iter().map(|keyword| (*keyword).to_owned()).collect();
        let mut batch = MailBatch::new(ALICE, Quota::default());
        for uid in uids {
            batch.set_flags(&mailbox, &states, *uid, flags, keywords.clone().into());
        }
        self.commit(batch.finish());
    }

    fn remove(&self, name: &str, uids: &[u32]) {
        let (mailbox, states) = (self.mailbox(name).record, self.states(name, uids));
        let mut batch = MailBatch::new(ALICE, Quota::default());
        for uid in uids {
            batch.remove(&mailbox, &states, *uid, &self.message(name, *uid).0);
        }
        self.commit(batch.finish());
    }

    fn move_to(&self, from: &str, uid: u32, to: &str) -> u32 {
        let (message, state) = self.message(from, uid);
        let (from, to) = (self.mailbox(from).record, self.mailbox(to).record);
        let mut batch = MailBatch::new(ALICE, Quota::default());
        let new = batch.copy(&state, uid, &message, &to).unwrap();
        batch.remove(&from, &state, uid, &message);
        let minted = self.commit(batch.finish());
        new.of(&minted).unwrap() as u32
    }

    fn counter(&self, key: Key) -> i64 {
        now(self.dyn_store().counter(&home(), key)).unwrap()
    }

    fn lamp(&self) -> (i64, i64) {
        (
            self.counter(keys::voicemail(Voicemail::New)),
            self.counter(keys::voicemail(Voicemail::Old)),
        )
    }

    fn check(&self) -> Report {
        now(check_store(&*self.store, &*self.blobs)).unwrap()
    }

    fn sweep(&self) -> Swept {
        let sweeper = Sweeper::new(self.store.clone(), self.blobs.clone(), Sweeper::GRACE);
        now(sweeper.sweep(self.now())).unwrap()
    }

    fn pass(&self, s: u64) {
        self.now_s.fetch_add(s, Ordering::Relaxed);
    }
}

#[track_caller]
fn assert_sound(report: &Report) {
    assert!(report.is_sound(), "{:#?}", report.problems);
}

#[test]
fn the_lamp_follows_the_flag_and_the_mailbox_in_the_same_commit() {
    let world = World::new();
    let uid = world.deliver("INBOX", MessageKind::Voice, 500);
    world.deliver("INBOX", MessageKind::Mail, 500);
    assert_eq!(world.lamp(), (1, 0));
    world.flag("INBOX", uid, Flags::SEEN);
    assert_eq!(world.lamp(), (0, 1));
    world.flag("INBOX", uid, Flags::FLAGGED);
    assert_eq!(world.lamp(), (1, 0));
    let in_trash = world.move_to("INBOX", uid, "Trash");
    assert_eq!(world.lamp(), (0, 0));
    world.move_to("Trash", in_trash, "INBOX");
    assert_eq!(world.lamp(), (1, 0));
    assert_sound(&world.check());
}

#[test]
fn every_count_of_a_mailbox_follows_its_messages() {
    let world = World::new();
    let first = world.deliver("INBOX", MessageKind::Mail, 300);
    world.deliver("INBOX", MessageKind::Mail, 40);
    world.flag("INBOX", first, Flags::SEEN.with(Flags::DELETED));
    let inbox = world.mailbox("INBOX").record.id;
    let count = |what| world.counter(keys::mailbox_count(inbox, what));
    assert_eq!(MailboxCount::ALL.map(count), [2, 1, 1, 340]);
    assert_eq!(world.counter(keys::usage(Usage::Bytes)), 340);
    let (message, state) = world.message("INBOX", first);
    let mut batch = MailBatch::new(ALICE, Quota::default());
    batch.remove(&world.mailbox("INBOX").record, &state, first, &message);
    world.commit(batch.finish());
    assert_eq!(MailboxCount::ALL.map(count), [1, 1, 0, 40]);
    assert_sound(&world.check());
}

// Guards pitfall IMAP 12: who is over quota is refused, and loses nothing.
#[test]
fn a_message_over_quota_is_refused_and_what_was_there_stays() {
    let world = World::new();
    world.deliver("INBOX", MessageKind::Mail, 600_000);
    let body = world.body(600_000);
    let message = Message {
        blob: body.id,
        size_bytes: 600_000,
        ..Message::default()
    };
    let mut batch = MailBatch::new(
        ALICE,
        Quota {
            bytes: Some(1_000_000),
            messages: None,
        },
    );
    batch.add(
        &world.mailbox("INBOX").record,
        &message,
        Flags::NONE,
        Keywords::default(),
        &body,
    );
    let refused = now(world.store.commit(batch.finish())).unwrap_err();
    assert_eq!(refused, CommitError::Bound(keys::usage(Usage::Bytes)));
    let report = world.check();
    assert_sound(&report);
    assert_eq!((report.messages, report.orphans), (1, 1));
    // What is there may shrink although the quota was lowered below it.
    world.flag("INBOX", 1, Flags::DELETED);
}

// Guards pitfall IMAP 1: a UID is minted by the commit that stores the message.
#[test]
fn deliveries_do_not_conflict_and_a_failed_one_takes_no_uid() {
    let world = World::new();
    let inbox = world.mailbox("INBOX").record;
    let built: Vec<Batch> = (0..10)
        .map(|n| {
            let body = world.body(10 + n);
            let message = Message {
                blob: body.id,
                size_bytes: 10 + n as u64,
                ..Message::default()
            };
            let mut batch = MailBatch::new(ALICE, Quota::default());
            batch.add(&inbox, &message, Flags::NONE, Keywords::default(), &body);
            if n == 4 {
                batch.batch().exists(keys::message(inbox.id, 999));
            }
            batch.finish()
        })
        .collect();
    let outcomes: Vec<_> = built
        .into_iter()
        .map(|batch| now(world.store.commit(batch)).is_ok())
        .collect();
    assert_eq!(outcomes.iter().filter(|ok| **ok).count(), 9);
    assert!(!outcomes[4]);
    let uids = now(world
        .dyn_store()
        .scan(&home(), keys::messages(inbox.id, 0..=u32::MAX)))
    .unwrap();
    let uids: Vec<_> = uids.iter().filter_map(|e| keys::uid_of(&e.key)).collect();
    assert_eq!(uids, (1..=9).collect::<Vec<_>>());
    assert_sound(&world.check());
}

// Guards pitfall IMAP 1: UIDVALIDITY grows, also over delete and re-create.
#[test]
fn a_mailbox_that_is_made_again_has_a_greater_uidvalidity() {
    let world = World::new();
    world.create("Work", None);
    let first = world.mailbox("Work");
    let mut batch = Batch::new(home());
    mailbox::delete(&mut batch, &first);
    world.commit(batch);
    world.create("Work", None);
    let second = world.mailbox("Work").record;
    assert!(second.uid_validity > first.record.uid_validity);
    assert!(second.uid_validity > 10_000);
    assert_ne!(second.id, first.record.id);
}

#[test]
fn a_name_that_is_taken_is_a_conflict() {
    let world = World::new();
    let mut batch = Batch::new(home());
    mailbox::create(
        &mut batch,
        &Mailbox {
            name: "INBOX".into(),
            ..Mailbox::default()
        },
    );
    assert!(matches!(
        now(world.store.commit(batch)),
        Err(CommitError::Conflict(_))
    ));
    let mut batch = Batch::new(home());
    mailbox::rename(&mut batch, &world.mailbox("Trash"), "INBOX");
    assert!(matches!(
        now(world.store.commit(batch)),
        Err(CommitError::Conflict(_))
    ));
    let mut batch = Batch::new(home());
    mailbox::rename(&mut batch, &world.mailbox("Trash"), "Bin");
    world.commit(batch);
    assert_eq!(world.mailbox("Bin").record.special_use, Some(SpecialUse::Trash));
    assert_sound(&world.check());
}

#[test]
fn the_change_log_tells_what_came_and_what_went() {
    let world = World::new();
    let one = world.deliver("INBOX", MessageKind::Mail, 1);
    world.deliver("INBOX", MessageKind::Mail, 1);
    world.flag("INBOX", one, Flags::SEEN);
    let inbox = world.mailbox("INBOX").record.id;
    let seen = world.counter(keys::last_modseq(inbox)) as u64;
    world.move_to("INBOX", one, "Trash");
    let since = now(world.dyn_store().scan(&home(), keys::changes_after(inbox, seen))).unwrap();
    let [entry] = &since[..] else { panic!("{since:?}") };
    assert_eq!(keys::modseq_of(&entry.key), Some(seen + 1));
    let change = Change::from_bytes(&entry.key, entry.value.clone()).unwrap();
    assert_eq!(
        change.vanished,
        [UidRange {
            first: one,
            last: one
        }]
    );
    assert!(change.changed.is_empty());
    let all = now(world.dyn_store().scan(&home(), keys::changes_after(inbox, 0))).unwrap();
    assert_eq!(all.len(), 4);
}

#[test]
fn a_deleted_mailbox_is_cleared_away_with_its_counts() {
    let world = World::new();
    world.create("Work", None);
    for _ in 0..1100 {
        world.deliver("Work", MessageKind::Voice, 10);
    }
    world.fold("Work", 900);
    for n in 0..4000 {
        world.flag("Work", 1, if n % 2 == 0 { Flags::SEEN } else { Flags::NONE });
    }
    let work = world.mailbox("Work");
    let mut batch = Batch::new(home());
    mailbox::delete(&mut batch, &work);
    world.commit(batch);
    assert_sound(&world.check());
    let late = MailBatch::new(ALICE, Quota::default());
    let refused = {
        let (mut late, body) = (late, world.body(1));
        let message = Message {
            blob: body.id,
            size_bytes: 1,
            ..Message::default()
        };
        late.add(&work.record, &message, Flags::NONE, Keywords::default(), &body);
        now(world.store.commit(late.finish()))
    };
    assert!(matches!(refused, Err(CommitError::Conflict(_))));
    now(mailbox::clear_leaving(&*world.store, ALICE)).unwrap();
    assert_eq!(world.lamp(), (0, 0));
    assert_eq!(world.counter(keys::usage(Usage::Messages)), 0);
    for scan in keys::of_mailbox(work.record.id) {
        assert_eq!(now(world.dyn_store().scan(&home(), scan)).unwrap(), []);
    }
    let report = world.check();
    assert_sound(&report);
    assert_eq!(report.messages, 0);
    assert_eq!(world.sweep().inline, 0);
    world.pass(3600);
    assert_eq!(world.sweep().inline, 1100);
    assert_eq!(world.check().orphans, 0);
}

#[test]
fn the_sweeper_goes_on_past_what_is_damaged_and_tells_of_it() {
    let world = World::new();
    let large = limits::INLINE_BLOB_BYTES + 1;
    let small = world.deliver("INBOX", MessageKind::Mail, 10);
    let never_named = world.body(large);
    let (message, state) = world.message("INBOX", small);
    let mut batch = MailBatch::new(ALICE, Quota::default());
    batch.remove(&world.mailbox("INBOX").record, &state, small, &message);
    world.commit(batch.finish());
    // A mailbox and the note of a delivery that are not as they were written.
    let mut damage = Batch::new(home());
    let other = keys::mailbox(ringpost_store::records::MailboxId(900));
    damage.put(other.clone(), b"?".to_vec());
    let delivered = keys::delivered(7, "bob");
    damage.put(delivered.clone(), b"?".to_vec());
    world.commit(damage);
    world.pass(3600);
    world.sweep();
    world.pass(3600);
    let swept = world.sweep();
    assert_eq!((swept.inline, swept.troubles), (1, 2), "{swept:?}");
    // Each by its account and its key.
    assert!(
        swept.told[1].starts_with("Account(") && swept.told[1].ends_with("bob"),
        "{swept:?}"
    );
    assert!(
        now(world.blobs.get(never_named.id, 0..1)).unwrap().is_none(),
        "what bodies are named is known all the same"
    );
    // Where that is not known, no large body goes.
    let kept = world.body(large);
    let mut damage = Batch::new(home());
    damage.delete(other).delete(delivered);
    damage.put(
        keys::leaving_mailbox(ringpost_store::records::MailboxId(901)),
        b"?".to_vec(),
    );
    world.commit(damage);
    world.pass(7200);
    let swept = world.sweep();
    assert_eq!((swept.separate, swept.troubles), (0, 1), "{swept:?}");
    assert!(now(world.blobs.get(kept.id, 0..1)).unwrap().is_some());
}

#[test]
fn the_sweeper_removes_what_nothing_names_after_the_grace() {
    let world = World::new();
    let large = limits::INLINE_BLOB_BYTES + 1;
    let kept = world.deliver("INBOX", MessageKind::Mail, large);
    let gone = world.deliver("INBOX", MessageKind::Mail, large);
    let small = world.deliver("INBOX", MessageKind::Mail, 10);
    let never_named = world.body(large);
    for uid in [gone, small] {
        let (message, state) = world.message("INBOX", uid);
        let mut batch = MailBatch::new(ALICE, Quota::default());
        batch.remove(&world.mailbox("INBOX").record, &state, uid, &message);
        world.commit(batch.finish());
    }
    world.pass(60);
    assert_eq!(world.sweep(), Swept::default());
    world.pass(3599);
    assert_eq!(
        world.sweep(),
        Swept {
            separate: 1,
            ..Swept::default()
        },
        "only what was never named"
    );
    world.pass(1);
    assert_eq!(
        world.sweep(),
        Swept {
            inline: 1,
            separate: 1,
            ..Swept::default()
        }
    );
    assert!(now(world.blobs.get(never_named.id, 0..1)).unwrap().is_none());
    let (message, _) = world.message("INBOX", kept);
    assert_eq!(
        now(world.bodies.get_bytes(&home(), message.blob, 0..u64::MAX))
            .unwrap()
            .len(),
        large
    );
    let report = world.check();
    assert_sound(&report);
    assert_eq!(report.orphans, 0);
}

// Guards pitfall IMAP 2: an expunged message stays readable for sessions that have not been told.
#[test]
fn the_grace_of_a_body_begins_when_its_last_name_is_gone() {
    let world = World::new();
    for size_bytes in [10, limits::INLINE_BLOB_BYTES + 1] {
        let one = world.deliver("INBOX", MessageKind::Mail, size_bytes);
        let (message, state) = world.message("INBOX", one);
        let inbox = world.mailbox("INBOX").record;
        let mut batch = MailBatch::new(ALICE, Quota::default());
        batch.copy(&state, one, &message, &inbox);
        batch.remove(&inbox, &state, one, &message);
        world.commit(batch.finish());
        world.pass(100_000);
        world.sweep();
        world.pass(1800);
        let (copy, state) = world.message("INBOX", one + 1);
        let mut batch = MailBatch::new(ALICE, Quota::default());
        batch.remove(&inbox, &state, one + 1, &copy);
        world.commit(batch.finish());
        // The note of the first removal is ripe in the second pass; that of the last one is not.
        for _ in 0..2 {
            world.pass(1800);
            world.sweep();
            let body = now(world.bodies.get_bytes(&home(), message.blob, 0..u64::MAX)).unwrap();
            assert_eq!(body.len(), size_bytes);
        }
        world.pass(1800);
        let swept = world.sweep();
        assert_eq!(swept.inline + swept.separate, 1);
        assert_sound(&world.check());
    }
    assert_eq!(world.check().orphans, 0);
}

// Guards pitfall SMTP 3: what was accepted for a queue keeps its body until the last reference is gone.
#[test]
fn a_body_that_a_queue_names_outlives_the_sweeper() {
    let world = World::new();
    let body = world.body(limits::INLINE_BLOB_BYTES + 1);
    let spool = Spool {
        id: 7,
        blob: body.id,
        size_bytes: body.size_bytes,
        ..Spool::default()
    };
    let queue = Partition::queue_of(7);
    let mut batch = Batch::new(queue.clone());
    body.name_in(&mut batch);
    batch.put(keys::spool(world.now(), 7), spool.to_bytes());
    body.name_in(&mut batch);
    let queued = Queued {
        id: 71,
        recipients: vec![QueuedRecipient::default()],
        blob: body.id,
        size_bytes: body.size_bytes,
        ..Queued::default()
    };
    batch.put(keys::queued(world.now(), 71), queued.to_bytes());
    world.commit(batch);
    world.pass(100_000);
    assert_eq!(world.sweep().separate, 0);
    assert_sound(&world.check());
    let mut batch = Batch::new(queue);
    batch
        .delete(keys::spool(UnixTime::from_secs(10_000), 7))
        .add(keys::blob_count(body.id), -1);
    batch.put(keys::sweep(body.id), Vec::new());
    world.commit(batch);
    assert_eq!(world.sweep().separate, 0, "another server has not taken it yet");
    assert_sound(&world.check());
    let mut batch = Batch::new(Partition::queue_of(71));
    batch
        .delete(keys::queued(UnixTime::from_secs(10_000), 71))
        .add(keys::blob_count(body.id), -1);
    batch.put(keys::sweep(body.id), Vec::new());
    world.commit(batch);
    assert_eq!(world.sweep().separate, 1);
}

#[test]
fn an_account_that_no_address_leads_to_is_swept_after_the_grace() {
    let world = World::new();
    world.deliver("INBOX", MessageKind::Mail, 10);
    let mut batch = Batch::new(Partition::Domain("example.org".into()));
    batch.delete(keys::address("alice"));
    world.commit(batch);
    assert_eq!(world.sweep().accounts, 0);
    assert_eq!(world.check().abandoned, 1);
    world.pass(3601);
    assert_eq!(world.sweep().accounts, 1);
    let left = now(world.dyn_store().scan(&home(), Scan::prefix(Key::default()))).unwrap();
    assert!(left.is_empty(), "{left:?}");
    assert!(now(world.store.blobs(&home(), None, 10)).unwrap().is_empty());
    assert_sound(&world.check());
}

#[test]
fn the_checker_sees_each_kind_of_damage() {
    let inbox = World::new().mailbox("INBOX").record.id;
    let damages: [(&str, Damage); 10] = [
        (
            "has no state",
            Box::new(move |b, _| {
                b.delete(keys::message_state(inbox, 1));
            }),
        ),
        (
            "has no message",
            Box::new(move |b, _| {
                b.delete(keys::message(inbox, 1));
            }),
        ),
        (
            "was never given",
            Box::new(move |b, _| {
                b.put(keys::last_uid(inbox), vec![0; 8]);
            }),
        ),
        (
            "is not in the log",
            Box::new(move |b, w| {
                let log = now(w.dyn_store().scan(&home(), keys::changes_after(inbox, 0))).unwrap();
                b.delete(log[0].key.clone());
            }),
        ),
        (
            "says 11, the messages 10",
            Box::new(|b, _| {
                b.add(keys::usage(Usage::Bytes), 1);
            }),
        ),
        (
            "says 1, the messages 0",
            Box::new(|b, _| {
                b.add(keys::voicemail(Voicemail::New), 1);
            }),
        ),
        (
            "is named and missing",
            Box::new(|b, w| b.blob_deletes.push(w.message("INBOX", 1).0.blob)),
        ),
        (
            "has 9 bytes and should have 10",
            Box::new(|b, w| {
                b.blob(w.message("INBOX", 1).0.blob, vec![b'x'; 9].into());
            }),
        ),
        (
            "is counted 2 times",
            Box::new(|b, w| {
                b.add(keys::blob_count(w.message("INBOX", 1).0.blob), 1);
            }),
        ),
        (
            "does not lead to mailbox",
            Box::new(|b, _| {
                b.delete(keys::mailbox_name("INBOX"));
            }),
        ),
    ];
    for (expected, damage) in damages {
        let world = World::new();
        world.deliver("INBOX", MessageKind::Mail, 10);
        assert_sound(&world.check());
        let mut batch = Batch::new(home());
        damage(&mut batch, &world);
        world.commit(batch);
        let report = world.check();
        assert!(
            report.problems.iter().any(|p| p.what.contains(expected)),
            "{expected}: {:#?}",
            report.problems
        );
    }
}

#[test]
fn a_change_of_a_message_that_was_changed_meanwhile_is_a_conflict() {
    let world = World::new();
    let uid = world.deliver("INBOX", MessageKind::Mail, 10);
    let (message, stale) = world.message("INBOX", uid);
    world.flag("INBOX", uid, Flags::SEEN);
    let inbox = world.mailbox("INBOX").record;
    let mut flags = MailBatch::new(ALICE, Quota::default());
    flags.set_flags(&inbox, &stale, uid, Flags::DELETED, Keywords::default());
    let mut remove = MailBatch::new(ALICE, Quota::default());
    remove.remove(&inbox, &stale, uid, &message);
    let mut copy = MailBatch::new(ALICE, Quota::default());
    copy.copy(&stale, uid, &message, &world.mailbox("Trash").record);
    for batch in [flags, remove, copy] {
        assert!(matches!(
            now(world.store.commit(batch.finish())),
            Err(CommitError::Conflict(_))
        ));
    }
    assert_sound(&world.check());
}

#[test]
fn a_trimmed_log_says_how_far_it_was_trimmed() {
    let world = World::new();
    for _ in 0..20 {
        world.deliver("INBOX", MessageKind::Mail, 1);
    }
    let inbox = world.mailbox("INBOX").record.id;
    let trim = || now(mailbox::trim_log(&*world.store, ALICE, inbox, 5)).unwrap();
    assert_eq!((trim(), trim()), (15, 0));
    assert_eq!(world.counter(keys::trimmed_modseq(inbox)), 15);
    let left = now(world.dyn_store().scan(&home(), keys::changes_after(inbox, 0))).unwrap();
    assert_eq!(left.len(), 5);
    assert_sound(&world.check());
}

#[test]
fn a_delivery_is_remembered_for_as_long_as_it_may_be_repeated() {
    let world = World::new();
    let mut batch = Batch::new(home());
    let key = keys::delivered(7, "alice@example.org");
    batch
        .absent(key.clone())
        .put(key.clone(), Delivered { at: world.now() }.to_bytes());
    world.commit(batch.clone());
    assert!(matches!(
        now(world.store.commit(batch.clone())),
        Err(CommitError::Conflict(_))
    ));
    world.pass(20 * 86_400);
    assert_eq!(world.sweep().deliveries, 0);
    world.pass(11 * 86_400);
    assert_eq!(world.sweep().deliveries, 1);
    world.commit(batch);
}

#[test]
fn states_that_are_packed_say_what_they_said_and_stand_in_one_place() {
    let world = World::new();
    for n in 0..300 {
        let kind = match n % 7 {
            0 => MessageKind::Voice,
            _ => MessageKind::Mail,
        };
        world.deliver("INBOX", kind, 1 + n % 11);
    }
    world.flag("INBOX", 3, Flags::SEEN);
    world.flag_all("INBOX", &[5, 130], Flags::DRAFT, &["$Forwarded", "x"]);
    let before = world.all("INBOX");
    assert_eq!(world.records("INBOX"), (300, 0));
    assert_eq!(world.fold("INBOX", 2 * BLOCK_UIDS), 255);
    assert_eq!(world.records("INBOX"), (45, 2));
    assert_eq!(world.all("INBOX"), before);
    assert_eq!(world.fold("INBOX", 2 * BLOCK_UIDS), 0);
    assert_sound(&world.check());
    // What stands on both sides is found together, and so is what is far apart.
    for uids in [&[1, 255, 256, 300][..], &[127, 128], &[299], &[400], &[]] {
        let found: Vec<u32> = world.states("INBOX", uids).iter().map(|(uid, _)| uid).collect();
        let there: Vec<u32> = uids.iter().copied().filter(|uid| *uid <= 300).collect();
        assert_eq!(found, there);
    }
    let first = StatesOf::range(world.mailbox("INBOX").record.id, 250..=u32::MAX).limit(10);
    let first = now(first.read(&*world.store, ALICE)).unwrap();
    assert_eq!(
        first.iter().map(|(uid, _)| uid).collect::<Vec<_>>(),
        (250..260).collect::<Vec<_>>()
    );
}

#[test]
fn the_first_states_of_a_sparse_mailbox_are_found_wherever_they_stand() {
    let world = World::new();
    world.deliver_many(5 * BLOCK_UIDS as usize + 40);
    world.fold("INBOX", 5 * BLOCK_UIDS);
    // Blocks with one message or few, of which some come before what is wanted; and a few that are not packed.
    let stays = |uid: u32| [1, 5, 127, 128, 300, 301, 383, 384, 600].contains(&uid) || uid > 670;
    let last = 5 * BLOCK_UIDS + 40;
    world.remove(
        "INBOX",
        &(1..=last).filter(|uid| !stays(*uid)).collect::<Vec<_>>(),
    );
    assert_eq!(world.records("INBOX"), (10, 5));
    for first in 1..=last {
        for limit in [1, 2, 3, 5, 100] {
            let of = StatesOf::range(world.mailbox("INBOX").record.id, first..=u32::MAX).limit(limit);
            let states = now(of.read(&*world.store, ALICE)).unwrap();
            let found: Vec<u32> = states.iter().map(|(uid, _)| uid).collect();
            let there: Vec<u32> = (first..=last).filter(|uid| stays(*uid)).take(limit).collect();
            assert_eq!(found, there, "the first {limit} from {first}");
        }
    }
}

#[test]
fn a_deleted_mailbox_of_long_records_is_cleared_away_a_bounded_piece_at_a_time() {
    let world = World::new();
    world.create("Away", None);
    for n in 0..40 {
        let body = world.body(5);
        let message = Message {
            blob: body.id,
            size_bytes: 5,
            envelope: vec![
                0;
                if n % 2 == 0 {
                    10
                } else {
                    limits::STORE_READ_BYTES / 3
                }
            ]
            .into(),
            ..Message::default()
        };
        let mut batch = MailBatch::new(ALICE, Quota::default());
        batch.add(
            &world.mailbox("Away").record,
            &message,
            Flags::NONE,
            Keywords::default(),
            &body,
        );
        world.commit(batch.finish());
    }
    let mut batch = Batch::new(home());
    mailbox::delete(&mut batch, &world.mailbox("Away"));
    world.commit(batch);
    let changes = |world: &World| world.counter(keys::changes());
    let before = changes(&world);
    now(mailbox::clear_leaving(&*world.store, ALICE)).unwrap();
    assert!(changes(&world) - before > 5, "with several commits");
    assert_sound(&world.check());
    let left = now(world.dyn_store().scan(&home(), keys::leaving_mailboxes())).unwrap();
    assert_eq!(left, []);
}

#[test]
fn who_changes_many_packs_them_and_who_changes_one_does_not() {
    let world = World::new();
    world.deliver_many(200);
    world.flag_all("INBOX", &[7, 150, 151], Flags::SEEN, &[]);
    assert_eq!(world.records("INBOX"), (200, 0));
    let most: Vec<u32> = (1..=120).chain([150]).collect();
    world.flag_all("INBOX", &most, Flags::FLAGGED, &[]);
    assert_eq!(world.records("INBOX"), (80, 1));
    let modseq = world.counter(keys::last_modseq(world.mailbox("INBOX").record.id)) as u64;
    let all = world.all("INBOX");
    for (uid, state) in &all {
        assert_eq!(state.modseq == modseq, most.contains(uid), "{uid}");
        assert_eq!(state.flags == Flags::FLAGGED, most.contains(uid), "{uid}");
    }
    assert_sound(&world.check());
    world.flag("INBOX", 9, Flags::NONE);
    let after = world.all("INBOX");
    assert_eq!((after[&9].flags, after[&9].modseq), (Flags::NONE, modseq + 1));
    assert_eq!((after[&10].flags, after[&10].modseq), (Flags::FLAGGED, modseq));
    world.remove("INBOX", &[9, 199]);
    assert_eq!(world.all("INBOX").len(), 198);
    world.remove("INBOX", &(1..=120).filter(|uid| *uid != 9).collect::<Vec<_>>());
    assert_eq!(world.records("INBOX"), (79, 0), "a block of nothing goes");
    assert_sound(&world.check());
}

#[test]
fn flags_of_many_are_changed_together_as_one_by_one() {
    let world = World::new();
    for n in 0..400 {
        let kind = match n % 7 {
            0 => MessageKind::Voice,
            _ => MessageKind::Mail,
        };
        world.deliver("INBOX", kind, 1 + n % 11);
    }
    // One block is packed, and parts of others.
    world.fold("INBOX", BLOCK_UIDS);
    world.flag_all("INBOX", &(140..=170).collect::<Vec<_>>(), Flags::SEEN, &["a"]);
    world.flag_all(
        "INBOX",
        &(300..=320).step_by(2).collect::<Vec<_>>(),
        Flags::NONE,
        &["b", "c"],
    );
    world.remove("INBOX", &[3, 4, 150, 301, 399]);
    let (inbox, mut rng) = (world.mailbox("INBOX").record, Rng::from_number(5));
    for _ in 0..40 {
        let share = [0.01, 0.3, 1.0][rng.below(3) as usize];
        let uids: Vec<u32> = (1..=400).filter(|_| rng.chance(share)).collect();
        let states = world.states("INBOX", &uids);
        let changes: Vec<(u32, Flags, Keywords)> = states
            .iter()
            .map(|(uid, state)| {
                let flags = [Flags::SEEN, Flags::DELETED, Flags::FLAGGED, state.flags][rng.below(4) as usize];
                let keywords = match rng.below(3) {
                    0 => vec!["d".to_owned()].into(),
                    _ => state.keywords.clone(),
                };
                (uid, flags, keywords)
            })
            .collect();
        let (mut together, mut alone) = (
            MailBatch::new(ALICE, Quota::default()),
            MailBatch::new(ALICE, Quota::default()),
        );
        together.set_flags_of(&inbox, &states, &changes);
        for (uid, flags, keywords) in &changes {
            alone.set_flags(&inbox, &states, *uid, *flags, keywords.clone());
        }
        assert_eq!(together.clone().finish(), alone.finish());
        world.commit(together.finish());
        let after = world.all("INBOX");
        for (uid, flags, keywords) in &changes {
            assert_eq!((after[uid].flags, &after[uid].keywords), (*flags, keywords));
        }
        assert_sound(&world.check());
    }
}

// Guards pitfall IMAP 5: what two change at once is neither lost nor told under one MODSEQ.
#[test]
fn changes_of_one_block_conflict_and_deliveries_do_not() {
    let world = World::new();
    world.deliver_many(130);
    world.fold("INBOX", BLOCK_UIDS);
    let inbox = world.mailbox("INBOX").record;
    let change = |uid: u32| {
        let mut batch = MailBatch::new(ALICE, Quota::default());
        let flags = Flags::SEEN;
        batch.set_flags(
            &inbox,
            &world.states("INBOX", &[uid]),
            uid,
            flags,
            Keywords::default(),
        );
        batch.finish()
    };
    let copy = {
        let (message, states) = world.message("INBOX", 3);
        let mut batch = MailBatch::new(ALICE, Quota::default());
        batch.copy(&states, 3, &message, &world.mailbox("Trash").record);
        batch.finish()
    };
    let (one, other, elsewhere) = (change(1), change(2), change(129));
    let held = world.states("INBOX", &[1]);
    world.deliver("INBOX", MessageKind::Mail, 5);
    world.commit(one);
    world.deliver("INBOX", MessageKind::Mail, 5);
    for stale in [other, copy] {
        assert!(matches!(
            now(world.store.commit(stale)),
            Err(CommitError::Conflict(_))
        ));
    }
    world.commit(elsewhere);
    // What was read at two moments holds at neither.
    let mut torn = MailBatch::new(ALICE, Quota::default());
    torn.set_flags(
        &inbox,
        &world.states("INBOX", &[2]),
        2,
        Flags::SEEN,
        Keywords::default(),
    );
    torn.set_flags(&inbox, &held, 1, Flags::NONE, Keywords::default());
    assert!(matches!(
        now(world.store.commit(torn.finish())),
        Err(CommitError::Conflict(_))
    ));
    assert_sound(&world.check());
}

#[test]
fn the_checker_sees_a_state_in_two_places_and_a_block_that_is_damaged() {
    let damages: [(&str, Damage); 2] = [
        (
            "has two states",
            Box::new(|batch, world| {
                let inbox = world.mailbox("INBOX").record.id;
                let state = world.all("INBOX")[&4].to_bytes();
                batch.put(keys::message_state(inbox, 4), state);
            }),
        ),
        (
            "is damaged",
            Box::new(|batch, world| {
                let inbox = world.mailbox("INBOX").record.id;
                batch.put(keys::state_block(inbox, 0), vec![1, 9, 9]);
            }),
        ),
    ];
    for (expected, damage) in damages {
        let world = World::new();
        world.deliver_many(10);
        world.fold("INBOX", 9);
        assert_sound(&world.check());
        let mut batch = Batch::new(home());
        damage(&mut batch, &world);
        world.commit(batch);
        let found = world.check().problems;
        assert!(found.iter().any(|p| p.what.contains(expected)), "{found:#?}");
    }
}
