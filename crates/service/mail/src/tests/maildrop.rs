//! The inbox under POP3.

use super::world::*;
use crate::{Mail, MailError, Maildrop};
use ringpost_base::{Rng, UnixTime};
use ringpost_pop3::Listed;
use ringpost_store::records::MaildropLease;
use ringpost_store::{Batch, Bodies, Partition, Record, Store, keys};
use std::sync::Arc;
use std::time::Duration;

fn open(world: &World, at: UnixTime) -> (Maildrop, Arc<[Listed]>) {
    let (maildrop, snapshot) = now(world.mail.open_maildrop(ALICE, at)).unwrap();
    (maildrop, snapshot.messages)
}

fn lease(world: &World) -> MaildropLease {
    let store: &dyn Store = &*world.store;
    let stored = now(store.record(&Partition::Account(ALICE), keys::maildrop_lease())).unwrap();
    stored.unwrap().record
}

/// Writes a lease of another node.
fn lease_elsewhere(world: &World, until: UnixTime) {
    let lease = MaildropLease {
        node: "other".into(),
        process: 1,
        fence: 7,
        until,
    };
    let mut batch = Batch::new(Partition::Account(ALICE));
    batch.put(keys::maildrop_lease(), lease.to_bytes());
    now(world.store.commit(batch)).unwrap();
}

/// The server again, after its process was killed.
fn killed(world: &World) -> World {
    let mut again = world.restarted();
    let bodies = Bodies::new(world.store.clone(), world.blobs.clone(), Rng::from_number(8));
    again.mail = Arc::new(Mail::new(
        world.store.clone(),
        bodies,
        again.bus.clone(),
        Rng::from_number(9),
    ));
    again
}

fn text(world: &World, maildrop: &mut Maildrop, uid: u32) -> Option<String> {
    let mut reader = now(world.mail.maildrop_body(maildrop, uid)).unwrap()?;
    let mut text = Vec::new();
    while let Some(chunk) = now(reader.next()).unwrap() {
        text.extend_from_slice(&chunk);
    }
    Some(String::from_utf8(text).unwrap())
}

#[test]
fn a_maildrop_is_the_inbox_as_it_was_and_other_mailboxes_are_not_in_it() {
    // Guards pitfall POP3 1: the snapshot.
    let world = World::new();
    let (first, second) = (world.deliver("INBOX", "one"), world.deliver("INBOX", "two"));
    world.deliver("Sent", "three");
    let (mut maildrop, messages) = open(&world, NOW);
    world.deliver("INBOX", "four");
    assert_eq!(
        messages.iter().map(|m| m.uid).collect::<Vec<_>>(),
        [first, second]
    );
    let one = text(&world, &mut maildrop, first).unwrap();
    assert_eq!(one, "Subject: one\r\n\r\nbody of one\r\n");
    assert_eq!(messages[0].size_bytes, one.len() as u64);
}

#[test]
fn the_size_told_counts_two_bytes_for_every_line_end() {
    // Guards pitfall POP3 2: the size told is the size sent.
    let world = World::new();
    let stored = "Subject: x\n\nbare\r\n.dot\nlast";
    world.deliver_to(ALICE, "INBOX", stored);
    let (mut maildrop, messages) = open(&world, NOW);
    let text = text(&world, &mut maildrop, messages[0].uid).unwrap();
    assert_eq!(text, stored);
    let (mut transform, mut sent) = (ringpost_pop3::Transform::new(None, true), bytes::BytesMut::new());
    transform.push(text.as_bytes(), &mut sent);
    transform.finish(&mut sent);
    assert_eq!(&sent[..], b"Subject: x\r\n\r\nbare\r\n..dot\r\nlast\r\n.\r\n");
    assert_eq!(messages[0].size_bytes, transform.size_bytes());
    // A copy has it too.
    drop(maildrop);
    let (selected, _) = world.select("INBOX");
    now(world
        .mail
        .copy(&selected, &[messages[0].uid], &name("INBOX"), NOW))
    .unwrap();
    let (_maildrop, messages) = open(&world, NOW);
    assert_eq!(messages[0].size_bytes, messages[1].size_bytes);
    world.check();
}

#[test]
fn a_second_session_is_kept_out_until_the_first_has_gone() {
    // Guards pitfall POP3 1: [IN-USE].
    let world = World::new();
    let (maildrop, _) = open(&world, NOW);
    assert_eq!(
        refused(now(world.mail.open_maildrop(ALICE, NOW))),
        MailError::InUse
    );
    assert!(now(world.mail.open_maildrop(BOB, NOW)).is_ok());
    drop(maildrop);
    open(&world, NOW);
}

#[test]
fn a_process_that_was_killed_keeps_nobody_out() {
    // Guards pitfall POP3 1: no maildrop is locked for ever.
    let world = World::new();
    let held = open(&world, NOW);
    assert_eq!(lease(&world).fence, 1);
    let again = killed(&world);
    open(&again, NOW);
    assert_eq!(lease(&world).fence, 2);
    drop(held);
}

#[test]
fn another_nodes_lease_holds_until_it_runs_out() {
    let world = World::new();
    lease_elsewhere(&world, NOW + Duration::from_secs(100));
    assert_eq!(
        refused(now(world.mail.open_maildrop(ALICE, NOW))),
        MailError::InUse
    );
    open(&world, NOW + Duration::from_secs(100));
    assert_eq!((lease(&world).fence, lease(&world).node), (8, String::new()));
    // A clock that was wrong locks nothing for years.
    lease_elsewhere(&world, NOW + Duration::from_secs(1_000_000));
    let later = NOW + Duration::from_secs(1_000);
    open(&world, later);
}

#[test]
fn a_client_that_comes_every_few_seconds_costs_no_commits() {
    let world = World::new();
    open(&world, NOW);
    let first = lease(&world);
    open(&world, NOW + Duration::from_secs(30));
    assert_eq!(lease(&world), first);
    let (mut maildrop, _) = open(&world, NOW + Duration::from_secs(61));
    let second = lease(&world);
    assert!(second.until > first.until && second.fence == first.fence);
    let due = maildrop.renew_at();
    now(world.mail.renew_maildrop(&mut maildrop, due)).unwrap();
    assert!(lease(&world).until > second.until);
}

#[test]
fn a_session_that_was_overtaken_removes_nothing() {
    // Guards pitfall POP3 1: the fence.
    let world = World::new();
    let uid = world.deliver("INBOX", "one");
    let (mut maildrop, _) = open(&world, NOW);
    lease_elsewhere(&world, NOW + Duration::from_secs(110));
    let removed = now(world.mail.remove_from_maildrop(&maildrop, &[uid]));
    assert_eq!(refused(removed), MailError::InUse);
    let later = NOW + Duration::from_secs(61);
    assert_eq!(
        refused(now(world.mail.renew_maildrop(&mut maildrop, later))),
        MailError::InUse
    );
    assert_eq!(world.uids("INBOX"), [uid]);
}

#[test]
fn what_is_removed_is_gone_for_everybody_and_counted() {
    let world = World::new();
    let uids = [
        world.deliver("INBOX", "one"),
        world.deliver_voice("INBOX", "two"),
        world.deliver("INBOX", "three"),
    ];
    assert_eq!(world.lamp(), (1, 0));
    let (maildrop, _) = open(&world, NOW);
    let (mut imap, _) = world.select("INBOX");
    now(world.mail.remove_from_maildrop(&maildrop, &uids[..2])).unwrap();
    let changes = now(world.mail.refresh(&mut imap)).unwrap();
    assert_eq!(changes.expunged, uids[..2]);
    assert_eq!(world.lamp(), (0, 0));
    // Twice does nothing.
    now(world.mail.remove_from_maildrop(&maildrop, &uids[..2])).unwrap();
    drop(maildrop);
    assert_eq!(open(&world, NOW).1.len(), 1);
    world.check();
}

#[test]
fn reading_a_voicemail_puts_out_the_lamp() {
    let world = World::new();
    let uid = world.deliver_voice("INBOX", "voice");
    let (maildrop, _) = open(&world, NOW);
    assert_eq!(world.lamp(), (1, 0));
    now(world.mail.see_in_maildrop(&maildrop, &[uid, uid + 1])).unwrap();
    assert_eq!(world.lamp(), (0, 1));
    world.check();
}

#[test]
fn a_message_that_imap_expunges_meanwhile_stays_readable() {
    let world = World::new();
    let uids: Vec<u32> = (0..5).map(|n| world.deliver("INBOX", &n.to_string())).collect();
    let (mut maildrop, messages) = open(&world, NOW);
    assert!(text(&world, &mut maildrop, uids[0]).is_some());
    world.expunge("INBOX", &uids[1..4]);
    for (n, uid) in uids.iter().enumerate() {
        let text = text(&world, &mut maildrop, *uid).unwrap();
        assert!(text.starts_with(&format!("Subject: {n}\r\n")), "{text}");
    }
    assert_eq!(messages.len(), 5);
    // After the sweeper came there is nothing to be read.
    world.sweep();
    assert_eq!(text(&world, &mut maildrop, uids[1]), None);
    // Backwards, and one alone.
    assert!(text(&world, &mut maildrop, uids[0]).is_some());
}

#[test]
fn a_uid_never_comes_again_under_the_same_validity() {
    // Guards pitfall POP3 1: a UIDL is never reused.
    let world = World::new();
    let unique = |world: &World| {
        let (_maildrop, snapshot) = now(world.mail.open_maildrop(ALICE, NOW)).unwrap();
        let uids: Vec<u32> = snapshot.messages.iter().map(|m| m.uid).collect();
        (snapshot.uid_validity, uids)
    };
    world.deliver("INBOX", "one");
    let (validity, first) = unique(&world);
    let (maildrop, _) = open(&world, NOW);
    now(world.mail.remove_from_maildrop(&maildrop, &first)).unwrap();
    drop(maildrop);
    world.deliver("INBOX", "two");
    let (same, second) = unique(&world.restarted());
    assert!(same == validity && second[0] > first[0]);
    // Renaming INBOX moves its messages away and leaves its numbers.
    now(world.mail.rename(ALICE, &name("INBOX"), &name("Old"), NOW)).unwrap();
    world.deliver("INBOX", "three");
    let (same, third) = unique(&world);
    assert!(same == validity && third[0] > second[0]);
}

#[test]
fn messages_of_every_size_are_read_ahead_and_in_any_order() {
    let world = World::new();
    let mut sent = Vec::new();
    // Small ones that travel with their batch, and large ones that do not.
    for n in 0..150usize {
        let bytes = [10, 20_000, 60_000, 70_000, 300][n % 5];
        let body = format!("Subject: {n}\r\n\r\n{}\r\n", "x".repeat(bytes + n));
        sent.push((world.deliver_to(ALICE, "INBOX", &body), body));
    }
    let (mut maildrop, _) = open(&world, NOW);
    for (uid, body) in &sent {
        assert_eq!(text(&world, &mut maildrop, *uid).as_ref(), Some(body));
    }
    // The same again, backwards, and every third.
    let third = sent.iter().step_by(3);
    for (uid, body) in sent.iter().rev().chain(third) {
        for _ in 0..2 {
            assert_eq!(text(&world, &mut maildrop, *uid).as_ref(), Some(body));
        }
    }
    assert_eq!(text(&world, &mut maildrop, u32::MAX), None);
}

#[test]
fn a_list_that_is_remembered_is_the_list_that_would_be_read() {
    let world = World::new();
    let mut expected = Vec::new();
    let check = |world: &World, expected: &[u32]| {
        let uids: Vec<u32> = open(world, NOW).1.iter().map(|m| m.uid).collect();
        assert_eq!(uids, expected);
        assert_eq!(world.uids("INBOX"), expected);
    };
    check(&world, &expected);
    for n in 0..5 {
        expected.push(world.deliver("INBOX", &n.to_string()));
        check(&world, &expected);
    }
    world.flag(
        "INBOX",
        &expected[..2],
        ringpost_imap::FlagChange::Add(flags("\\Seen")),
    );
    check(&world, &expected);
    world.expunge("INBOX", &[expected.remove(1)]);
    check(&world, &expected);
    let (maildrop, _) = open(&world, NOW);
    now(world.mail.remove_from_maildrop(&maildrop, &[expected.remove(0)])).unwrap();
    drop(maildrop);
    check(&world, &expected);
    // What comes while a session has the maildrop is seen by the next.
    let held = open(&world, NOW);
    expected.push(world.deliver("INBOX", "late"));
    drop(held);
    check(&world, &expected);
}
