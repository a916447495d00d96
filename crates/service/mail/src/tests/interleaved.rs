//! Many at once, in every order that a seed can choose: nothing is lost, doubled or miscounted.

use super::world::{ALICE, NOW, World, flags, name, now};
use crate::{Delivery, Envelope, Mail, MailError, Recipient, Selected};
use ringpost_base::Rng;
use ringpost_imap::question::{Changes, MessageState};
use ringpost_imap::{FlagChange, Flags};
use ringpost_store::{BoxFuture, Partition, Store, check_store, keys};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

/// Runs tasks to their end, each step's task chosen by the seed.
fn run(rng: &mut Rng, mut tasks: Vec<BoxFuture<'_, ()>>) {
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..1_000_000 {
        if tasks.is_empty() {
            return;
        }
        let i = rng.below(tasks.len() as u64) as usize;
        if let Poll::Ready(()) = tasks[i].as_mut().poll(&mut cx) {
            drop(tasks.swap_remove(i));
        }
    }
    panic!("the tasks do not end");
}

/// A session as its client sees it.
struct View {
    selected: Selected,
    messages: BTreeMap<u32, (Flags, u64)>,
    last_uid: u32,
}

impl View {
    async fn open(mail: &Mail, mailbox: &str) -> View {
        let (selected, snapshot) = mail.select(ALICE, &name(mailbox), false).await.unwrap();
        let mut view = View {
            selected,
            messages: BTreeMap::new(),
            last_uid: 0,
        };
        view.take(Changes {
            arrived: snapshot.messages,
            ..Changes::default()
        });
        view
    }

    // Guards pitfall IMAP 1: a lower UID never appears after a higher one was seen.
    fn take(&mut self, changes: Changes) {
        for MessageState {
            uid, flags, modseq, ..
        } in changes.arrived
        {
            assert!(uid > self.last_uid, "UID {uid} came after {}", self.last_uid);
            self.last_uid = uid;
            self.messages.insert(uid, (flags, modseq));
        }
        for MessageState {
            uid, flags, modseq, ..
        } in changes.flags
        {
            if let Some(had) = self.messages.get_mut(&uid) {
                assert!(
                    modseq != had.1 || flags == had.0,
                    "flags changed and MODSEQ {modseq} did not"
                );
                if modseq > had.1 {
                    *had = (flags, modseq);
                }
            }
        }
        for uid in changes.expunged {
            self.messages.remove(&uid);
        }
    }

    async fn refresh(&mut self, mail: &Mail) {
        let changes = mail.refresh(&mut self.selected).await.unwrap();
        self.take(changes);
    }
}

/// A busy mailbox is no mistake; anything else is.
fn allowed<T>(result: Result<T, MailError>) {
    match result {
        Ok(_) | Err(MailError::Busy) => {}
        Err(e) => panic!("{e}"),
    }
}

async fn client(mail: Arc<Mail>, mut rng: Rng, subjects: Arc<Mutex<BTreeMap<u32, String>>>) {
    let mailbox = ["INBOX", "Archive"][rng.below(2) as usize];
    let other = ["Archive", "INBOX", "Trash"][rng.below(3) as usize];
    let mut view = View::open(&mail, mailbox).await;
    for _ in 0..12 {
        let uids: Vec<u32> = view
            .messages
            .keys()
            .copied()
            .filter(|_| rng.chance(0.4))
            .collect();
        let set = flags(["\\Seen", "\\Deleted", "\\Seen \\Flagged", "$Key"][rng.below(4) as usize]);
        match rng.below(8) {
            n @ (0 | 1) => {
                let change = if n == 0 {
                    FlagChange::Add(set)
                } else {
                    FlagChange::Remove(set)
                };
                let changed = mail.store_flags(&mut view.selected, &uids, &change, None).await;
                // Of its own changes a session is not told again.
                view.take(Changes {
                    flags: changed
                        .as_ref()
                        .map_or(Vec::new(), |changed| changed.states.clone()),
                    ..Changes::default()
                });
                allowed(changed);
            }
            2 => allowed(mail.expunge(&view.selected, None).await),
            3 => allowed(mail.copy(&view.selected, &uids, &name(other), NOW).await),
            4 => allowed(mail.move_messages(&view.selected, &uids, &name(other), NOW).await),
            5 => {
                for uid in uids {
                    // Guards pitfall IMAP 1: a UID never changes its message.
                    let wants = ringpost_imap::question::Wants {
                        envelope: true,
                        ..Default::default()
                    };
                    let found = mail.fetch(&view.selected, &[uid], wants).await.unwrap().pop();
                    let subject = found.and_then(|m| m.envelope?.subject.clone());
                    let Some(subject) = subject.filter(|_| mailbox == "INBOX") else {
                        continue;
                    };
                    let mut known = subjects.lock().unwrap();
                    let first = known.entry(uid).or_insert_with(|| subject.clone());
                    assert_eq!(*first, subject, "UID {uid} has become another message");
                }
            }
            _ => view.refresh(&mail).await,
        }
    }
    view.refresh(&mail).await;
}

#[test]
fn sessions_and_deliveries_at_once_keep_every_record_in_agreement() {
    for seed in 0..60 {
        let mut rng = Rng::from_number(seed);
        let world = World::new();
        // Half of them come to where states are packed.
        for n in 0..[5, 123][seed as usize % 2] {
            world.deliver_voice("INBOX", &format!("voice {n}"));
        }
        let letters: Vec<_> = (0..6)
            .map(|n| world.letter(&format!("Subject: mail {n}\r\n\r\n")))
            .collect();
        let mut witness = now(View::open(&world.mail, "INBOX"));
        let subjects = Arc::default();
        world.yields.store(true, Ordering::Relaxed);
        let mut tasks: Vec<BoxFuture<'_, ()>> = Vec::new();
        for _ in 0..5 {
            tasks.push(Box::pin(client(
                world.mail.clone(),
                rng.fork(),
                Arc::clone(&subjects),
            )));
        }
        for letter in &letters {
            let mail = &world.mail;
            tasks.push(Box::pin(async move {
                mail.deliver(ALICE, letter, Delivery::new(NOW)).await.unwrap();
            }));
        }
        run(&mut rng, tasks);
        world.yields.store(false, Ordering::Relaxed);
        world.check();
        now(witness.refresh(&world.mail));
        let (_, snapshot) = world.select("INBOX");
        let there = snapshot
            .into_iter()
            .map(|m| (m.uid, (m.flags, m.modseq)))
            .collect();
        assert_eq!(witness.messages, there, "seed {seed}");
        let playlist = now(world.mail.voicemails(ALICE)).unwrap();
        let new = playlist.iter().filter(|v| v.is_new).count() as u32;
        assert_eq!(world.lamp(), (new, playlist.len() as u32 - new), "seed {seed}");
        world.sweep();
        world.check();
    }
}

#[test]
fn a_check_while_others_write_finds_no_problem_that_is_none() {
    let mut settled = 0;
    for seed in 0..60 {
        let mut rng = Rng::from_number(seed);
        let world = World::new();
        for n in 0..15 {
            world.deliver_voice("INBOX", &format!("voice {n}"));
        }
        let letters: Vec<_> = (0..120)
            .map(|n| world.letter(&format!("Subject: mail {n}\r\n\r\n")))
            .collect();
        let reports = Mutex::new(Vec::new());
        world.yields.store(true, Ordering::Relaxed);
        let (world, reports) = (&world, &reports);
        let mut tasks: Vec<BoxFuture<'_, ()>> = Vec::new();
        for letter in &letters {
            tasks.push(Box::pin(async move {
                world
                    .mail
                    .deliver(ALICE, letter, Delivery::new(NOW))
                    .await
                    .unwrap();
            }));
        }
        tasks.push(Box::pin(client(world.mail.clone(), rng.fork(), Arc::default())));
        for _ in 0..3 {
            tasks.push(Box::pin(async move {
                let report = check_store(&*world.patient, &*world.blobs).await.unwrap();
                reports.lock().unwrap().push(report);
            }));
        }
        run(&mut rng, tasks);
        world.yields.store(false, Ordering::Relaxed);
        for report in reports.lock().unwrap().iter() {
            assert!(report.is_sound(), "seed {seed}: {:#?}", report.problems);
            settled += u32::from(report.unsettled == 0);
        }
        world.check();
    }
    assert!(settled > 100, "most of 180 come to an end: {settled}");
}

#[test]
fn deliveries_do_not_wait_for_each_other() {
    let world = World::new();
    let letters: Vec<_> = (0..200)
        .map(|n| world.letter(&format!("Subject: {n}\r\n\r\n")))
        .collect();
    world.yields.store(true, Ordering::Relaxed);
    let mail = &world.mail;
    let uids = Mutex::new(BTreeSet::new());
    let mut tasks: Vec<BoxFuture<'_, ()>> = Vec::new();
    for letter in &letters {
        let uids = &uids;
        tasks.push(Box::pin(async move {
            let delivered = mail
                .deliver(ALICE, letter, Delivery::new(NOW))
                .await
                .unwrap()
                .unwrap();
            assert!(uids.lock().unwrap().insert(delivered.uid));
        }));
    }
    run(&mut Rng::from_number(1), tasks);
    world.yields.store(false, Ordering::Relaxed);
    assert_eq!(uids.into_inner().unwrap(), (1..=200).collect());
    world.check();
}

#[test]
fn a_spooled_message_taken_up_by_several_is_delivered_once() {
    for seed in 0..200 {
        let mut rng = Rng::from_number(seed);
        let world = World::new();
        let recipient = |address: &str| Recipient::new(address, ALICE);
        let letter = world.letter("Subject: once\r\n\r\n");
        let envelope = Envelope {
            sender: String::new(),
            recipients: vec![recipient("alice")],
            submitter: None,
            ..Envelope::default()
        };
        let spooled = now(world.mail.spool(envelope, letter, NOW)).unwrap();
        world.yields.store(true, Ordering::Relaxed);
        let (mail, spooled) = (&world.mail, &spooled);
        let mut tasks: Vec<BoxFuture<'_, ()>> = Vec::new();
        for _ in 0..2 {
            tasks.push(Box::pin(async move {
                mail.deliver_spooled(spooled, NOW).await.unwrap()
            }));
        }
        let later = NOW + std::time::Duration::from_secs(100);
        tasks.push(Box::pin(async move {
            _ = mail.deliver_due(later, later).await.unwrap()
        }));
        run(&mut rng, tasks);
        world.yields.store(false, Ordering::Relaxed);
        assert_eq!(world.subjects("INBOX"), ["once"], "seed {seed}");
        world.check();
        world.sweep();
        world.check();
    }
}

#[test]
fn names_that_two_want_at_once_go_to_one() {
    for seed in 0..100 {
        let mut rng = Rng::from_number(seed);
        let world = World::new();
        now(world.mail.create(ALICE, &name("a/b"), None, NOW)).unwrap();
        world.deliver("a/b", "kept");
        world.yields.store(true, Ordering::Relaxed);
        let mail = &world.mail;
        let won = Mutex::new(0);
        let won = &won;
        let count = move |result: Result<(), MailError>| match result {
            Ok(()) => *won.lock().unwrap() += 1,
            Err(MailError::AlreadyExists | MailError::NoSuchMailbox) => {}
            Err(e) => panic!("{e}"),
        };
        let tasks: Vec<BoxFuture<'_, ()>> = vec![
            Box::pin(async move { count(mail.rename(ALICE, &name("a"), &name("x"), NOW).await) }),
            Box::pin(async move { count(mail.rename(ALICE, &name("a"), &name("y"), NOW).await) }),
            Box::pin(async move { count(mail.rename(ALICE, &name("a/b"), &name("z"), NOW).await) }),
            Box::pin(async move { drop(mail.create(ALICE, &name("x"), None, NOW).await) }),
        ];
        run(&mut rng, tasks);
        world.yields.store(false, Ordering::Relaxed);
        assert!(*won.lock().unwrap() >= 1, "seed {seed}");
        world.check();
        let all = now(world.mail.list(ALICE)).unwrap();
        let kept = all
            .iter()
            .filter(|m| m.selectable)
            .filter(|m| world.subjects(m.name.as_str()) == ["kept"]);
        assert_eq!(kept.count(), 1, "seed {seed}");
    }
}

#[test]
fn mailboxes_that_are_deleted_at_once_are_each_cleared_away() {
    for seed in 0..100 {
        let mut rng = Rng::from_number(seed);
        let world = World::new();
        for mailbox in ["a", "b"] {
            now(world.mail.create(ALICE, &name(mailbox), None, NOW)).unwrap();
            for n in 0..3 {
                world.deliver(mailbox, &n.to_string());
            }
        }
        world.yields.store(true, Ordering::Relaxed);
        let mail = &world.mail;
        let tasks: Vec<BoxFuture<'_, ()>> = vec![
            Box::pin(async move { mail.delete(ALICE, &name("a")).await.map(drop).unwrap() }),
            Box::pin(async move { mail.delete(ALICE, &name("b")).await.map(drop).unwrap() }),
        ];
        run(&mut rng, tasks);
        world.yields.store(false, Ordering::Relaxed);
        world.check();
        let leaving = keys::leaving_mailboxes();
        let store: &dyn Store = &*world.store;
        let left = now(store.scan(&Partition::Account(ALICE), leaving)).unwrap();
        assert_eq!(left, [], "seed {seed}");
    }
}
