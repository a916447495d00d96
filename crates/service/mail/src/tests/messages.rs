//! Delivery, sessions, flags, copies, expunges, quota, the spool.

use super::world::{ALICE, BOB, NOW, World, flags, name, now, refused};
use crate::{Delivery, Envelope, MailError, Recipient};
use futures_util::FutureExt;
use ringpost_base::{UnixTime, limits};
use ringpost_imap::question::Wants;
use ringpost_imap::search::{Needle, SearchKey};
use ringpost_imap::{Flag, FlagChange};
use ringpost_store::mailbox::trim_log;
use ringpost_store::{AccountId, Bus, Heard, Interest, Partition, Topic, keys};
use std::time::Duration;

#[test]
fn a_message_is_there_as_it_came_with_its_envelope_and_structure() {
    let world = World::new();
    let text =
        "Subject: hi\r\nFrom: c@d\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nfirst\r\nsecond\r\n";
    let uid = world.deliver_to(ALICE, "INBOX", text);
    let (selected, messages) = world.select("INBOX");
    assert_eq!(
        (messages.len(), messages[0].uid, messages[0].recent),
        (1, uid, true)
    );
    let wants = Wants {
        envelope: true,
        structure: true,
        ..Default::default()
    };
    let message = now(world.mail.fetch(&selected, &[uid], wants))
        .unwrap()
        .pop()
        .unwrap();
    assert_eq!(
        (message.size_bytes, message.internal_date),
        (text.len() as u64, NOW)
    );
    assert_eq!(message.envelope.unwrap().subject.as_deref(), Some("hi"));
    let body = message.structure.unwrap().body.clone();
    assert_eq!(
        world.body(&selected, uid, body).as_deref(),
        Some("first\r\nsecond\r\n")
    );
    assert_eq!(world.body(&selected, uid, 0..u64::MAX).as_deref(), Some(text));
    let plain = now(world.mail.fetch(&selected, &[uid, 99], Wants::default())).unwrap();
    assert_eq!(plain.len(), 1, "what was never there is left out");
    world.check();
}

#[test]
fn a_large_message_passes_through_in_chunks() {
    let world = World::new();
    let mut incoming = world.mail.incoming();
    now(incoming.write("Subject: large\r\n\r\n".into())).unwrap();
    for _ in 0..100 {
        now(incoming.write("0123456789abcdef\r\n".repeat(200).into())).unwrap();
    }
    let size = incoming.size_bytes();
    assert!(size > limits::INLINE_BLOB_BYTES as u64);
    let letter = now(incoming.finish()).unwrap();
    let uid = now(world.mail.deliver(ALICE, &letter, Delivery::new(NOW)))
        .unwrap()
        .unwrap()
        .uid;
    let (selected, _) = world.select("INBOX");
    assert_eq!(
        world.body(&selected, uid, 0..u64::MAX).map(|b| b.len() as u64),
        Some(size)
    );
    world.check();
}

// Guards pitfall SMTP 3: nobody hears of a message that a loss of power could still take away.
#[test]
fn a_delivery_is_told_when_it_is_durable_and_not_before() {
    let world = World::new();
    let hints = world.bus.subscribe(Interest::Account(ALICE));
    let letter = world.letter("Subject: x\r\n\r\n");
    world.store.hold_syncs(true);
    let mut delivery = Box::pin(world.mail.deliver(ALICE, &letter, Delivery::new(NOW)));
    assert!(delivery.as_mut().now_or_never().is_none());
    assert_eq!(hints.try_next(), None);
    world.store.sync();
    assert!(matches!(delivery.now_or_never(), Some(Ok(Some(_)))));
    assert!(matches!(hints.try_next(), Some(Heard::Hint(hint)) if hint.account == ALICE));

    let lost = world.letter("Subject: lost\r\n\r\n");
    let mut delivery = Box::pin(world.mail.deliver(ALICE, &lost, Delivery::new(NOW)));
    assert!(delivery.as_mut().now_or_never().is_none());
    world.store.crash();
    assert!(matches!(delivery.now_or_never(), Some(Err(MailError::Store(_)))));
    world.store.hold_syncs(false);
    assert_eq!(world.subjects("INBOX"), ["x"]);
    world.check();
}

#[test]
fn whoever_shows_lamps_hears_of_voicemail_and_not_of_every_message() {
    let world = World::new();
    let lamps = world.bus.subscribe(Interest::AllButMail);
    let letter = world.letter("Subject: x\r\n\r\n");
    let delivered = world
        .mail
        .deliver(ALICE, &letter, Delivery::new(NOW))
        .now_or_never();
    assert!(matches!(delivered, Some(Ok(Some(_)))));
    assert_eq!(lamps.try_next(), None);
    let is_told = || matches!(lamps.try_next(), Some(Heard::Hint(hint)) if hint.topic == Topic::Lamp && hint.account == ALICE);
    let uid = world.deliver_voice("INBOX", "new");
    assert!(is_told());
    let (mut selected, _) = world.select("INBOX");
    for (flag, changes_lamp) in [("\\Flagged", false), ("\\Seen", true)] {
        let change = FlagChange::Add(flags(flag));
        let stored = world
            .mail
            .store_flags(&mut selected, &[uid], &change, None)
            .now_or_never();
        assert!(matches!(stored, Some(Ok(_))));
        assert_eq!(is_told(), changes_lamp, "{flag}");
    }
    now(world.mail.create(ALICE, &name("Work"), None, NOW)).unwrap();
    world.deliver_voice("Work", "other");
    assert!(is_told());
    now(world.mail.delete(ALICE, &name("Work"))).unwrap();
    assert!(is_told(), "what goes with its mailbox is counted out");
}

// Guards pitfall SMTP 3: what another session, or the lamp, shows of a change is durable.
#[test]
fn nobody_else_sees_a_change_before_it_is_durable() {
    let world = World::new();
    let uid = world.deliver_voice("INBOX", "old");
    let (mut watching, _) = world.select("INBOX");
    let (mut acting, _) = world.select("INBOX");
    let letter = world.letter("Subject: new\r\n\r\n");
    world.store.hold_syncs(true);
    let seen = FlagChange::Add(flags("\\Seen"));
    let mut delivery = Box::pin(world.mail.deliver(ALICE, &letter, Delivery::new(NOW)));
    let uids = [uid];
    let mut flagging = Box::pin(world.mail.store_flags(&mut acting, &uids, &seen, None));
    assert!(delivery.as_mut().now_or_never().is_none() && flagging.as_mut().now_or_never().is_none());
    let inbox = name("INBOX");
    let mut refresh = Box::pin(world.mail.refresh(&mut watching));
    let mut select = Box::pin(world.mail.select(ALICE, &inbox, true));
    let mut lamp = Box::pin(world.mail.lamp(ALICE));
    let mut status = Box::pin(world.mail.status(ALICE, &inbox));
    assert!(refresh.as_mut().now_or_never().is_none() && select.as_mut().now_or_never().is_none());
    assert!(lamp.as_mut().now_or_never().is_none() && status.as_mut().now_or_never().is_none());
    assert!(now(world.mail.lamp(BOB)).is_ok(), "others do not wait");
    world.store.sync();
    assert!(now(delivery).is_ok() && now(flagging).is_ok());
    let changes = now(refresh).unwrap();
    assert_eq!((changes.arrived.len(), changes.flags.len()), (1, 1));
    assert_eq!(
        (
            now(select).unwrap().1.messages.len(),
            now(status).unwrap().messages
        ),
        (2, 2)
    );
    assert_eq!(now(lamp).unwrap().old, 1);
    world.store.hold_syncs(false);
}

#[test]
fn a_full_medium_refuses_and_loses_nothing() {
    let world = World::new();
    world.deliver("INBOX", "kept");
    let letter = world.letter("Subject: x\r\n\r\n");
    world.store.set_full(true);
    assert_eq!(
        refused(now(world.mail.deliver(ALICE, &letter, Delivery::new(NOW)))),
        MailError::Full
    );
    world.store.set_full(false);
    assert_eq!(world.subjects("INBOX"), ["kept"]);
    world.check();
}

// Guards pitfall IMAP 12.
#[test]
fn who_is_over_quota_is_refused_and_others_are_not() {
    let world = World::new();
    world.set_quota(ALICE, 100);
    world.deliver("INBOX", "fits");
    let letter = world.letter(&format!("Subject: big\r\n\r\n{}\r\n", "x".repeat(100)));
    assert!(!now(world.mail.has_room(ALICE, 100)).unwrap());
    assert_eq!(
        refused(now(world.mail.deliver(ALICE, &letter, Delivery::new(NOW)))),
        MailError::OverQuota
    );
    assert!(
        now(world.mail.deliver(BOB, &letter, Delivery::new(NOW)))
            .unwrap()
            .is_some()
    );
    assert_eq!(
        refused(now(world.mail.append(ALICE, &name("Sent"), flags(""), None, 100))),
        MailError::OverQuota
    );
    let (inbox, _) = world.select("INBOX");
    for _ in 0..2 {
        now(world.mail.copy(&inbox, &[1], &name("Sent"), NOW)).ok();
    }
    assert_eq!(
        refused(now(world.mail.copy(&inbox, &[1], &name("Sent"), NOW))),
        MailError::OverQuota
    );
    assert!(
        now(world.mail.move_messages(&inbox, &[1], &name("Trash"), NOW)).is_ok(),
        "moving needs no room"
    );
    world.check();
}

#[test]
fn what_was_promised_is_delivered_over_quota_too() {
    let world = World::new();
    world.set_quota(ALICE, 10);
    let letter = world.letter("Subject: promised\r\n\r\n");
    let delivery = Delivery {
        within_quota: false,
        ..Delivery::new(NOW)
    };
    assert!(now(world.mail.deliver(ALICE, &letter, delivery)).is_ok());
    world.check();
}

#[test]
fn nobody_and_nowhere_are_told_apart() {
    let world = World::new();
    let letter = world.letter("Subject: x\r\n\r\n");
    let to = |account, mailbox: &str| {
        let delivery = Delivery {
            mailbox: name(mailbox),
            ..Delivery::new(NOW)
        };
        refused(now(world.mail.deliver(account, &letter, delivery)))
    };
    assert_eq!(to(AccountId(99), "INBOX"), MailError::NoSuchAccount);
    assert_eq!(to(ALICE, "Nowhere"), MailError::NoSuchMailbox);
}

// Guards pitfall SMTP 3: once, for every accepted recipient, whatever happens in between.
#[test]
fn a_spooled_message_reaches_each_recipient_once_over_a_crash() {
    for delivered_before_the_crash in 0..2 {
        let world = World::new();
        let recipient = |address: &str, account| Recipient::new(address, account);
        let envelope = Envelope {
            sender: "c@d".into(),
            recipients: vec![
                recipient("alice@example.org", ALICE),
                recipient("bob@example.org", BOB),
                recipient("also-alice@example.org", ALICE),
                recipient("removed@example.org", AccountId(99)),
            ],
            submitter: None,
            ..Envelope::default()
        };
        let letter = world.letter("Subject: to many\r\n\r\n");
        let spooled = now(world.mail.spool(envelope, letter.clone(), NOW)).unwrap();
        world.check();
        if delivered_before_the_crash == 1 {
            // Alice has it; the crash came before Bob.
            let once = (spooled.record.id, "alice@example.org".to_owned());
            let delivery = Delivery {
                once: Some(once),
                ..Delivery::new(NOW)
            };
            now(world.mail.deliver(ALICE, &letter, delivery)).unwrap();
        }
        let after = world.restarted();
        assert_eq!(
            now(after.mail.deliver_due(NOW, NOW)).unwrap(),
            0,
            "its spooler has a minute"
        );
        let later = NOW + Duration::from_secs(120);
        assert_eq!(now(after.mail.deliver_due(later, later)).unwrap(), 1);
        assert_eq!(now(after.mail.deliver_due(later, later)).unwrap(), 0);
        assert_eq!(after.subjects("INBOX"), ["to many"]);
        assert_eq!(now(after.mail.status(BOB, &name("INBOX"))).unwrap().messages, 1);
        after.check();
        after.sweep();
        after.check();
        assert_eq!(after.subjects("INBOX"), ["to many"]);
    }
}

// At the start everything is looked at, as what a crash left; that makes nothing an hour older.
#[test]
fn what_waits_for_room_is_as_old_after_a_start_as_before() {
    let hour = Duration::from_secs(3_600);
    let world = World::new();
    world.mail.give_up_after(hour);
    now(world.mail.load_queue(false, NOW)).unwrap();
    world.mail.set_default_quota(crate::Quota {
        bytes: None,
        messages: Some(0),
    });
    let envelope = Envelope {
        sender: "x@there.test".into(),
        recipients: vec![Recipient::new("team@example.org", ALICE)],
        ..Envelope::default()
    };
    let spooled = now(world
        .mail
        .spool(envelope, world.letter("Subject: x\r\n\r\n"), NOW))
    .unwrap();
    now(world.mail.deliver_spooled(&spooled, NOW)).unwrap();
    for _ in 0..3 {
        assert_eq!(now(world.mail.deliver_due(NOW + hour, NOW)).unwrap(), 0);
        let waiting = now(world.mail.all_that_wait_for_room()).unwrap();
        let [one] = &waiting[..] else {
            panic!("{waiting:?}")
        };
        assert!(one.due > NOW && one.due <= NOW + hour / 10, "{one:?}");
        assert_eq!(world.mail.queue_len(), 0, "its sender is told nothing yet");
    }
    let late = NOW + hour;
    now(world.mail.deliver_due(late, late)).unwrap();
    assert_eq!(world.mail.queue_len(), 1, "now he is");
    world.check();
}

#[test]
fn a_spooled_message_that_cannot_be_read_holds_up_no_other() {
    let world = World::new();
    let mut first = true;
    for n in 0..8 {
        let letter = world.letter(&format!("Subject: {n}\r\n\r\n"));
        let envelope = Envelope {
            sender: String::new(),
            recipients: vec![Recipient::new("alice@example.org", ALICE)],
            submitter: None,
            ..Envelope::default()
        };
        let spooled = now(world.mail.spool(envelope, letter, NOW)).unwrap();
        if std::mem::take(&mut first) {
            world.lose_body(&Partition::queue_of(spooled.record.id), spooled.record.blob);
        }
    }
    let after = world.restarted();
    let later = NOW + Duration::from_secs(120);
    assert_eq!(now(after.mail.deliver_due(later, later)).unwrap(), 7);
    assert_eq!(after.subjects("INBOX").len(), 7);
}

#[test]
fn two_who_deliver_the_same_spooled_message_deliver_it_once() {
    let world = World::new();
    let recipients = vec![Recipient::new("alice@example.org", ALICE)];
    let envelope = Envelope {
        sender: String::new(),
        recipients,
        submitter: None,
        ..Envelope::default()
    };
    let letter = world.letter("Subject: x\r\n\r\n");
    let spooled = now(world.mail.spool(envelope, letter, NOW)).unwrap();
    now(world.mail.deliver_spooled(&spooled, NOW)).unwrap();
    world.check();
    let again = now(world.mail.deliver_spooled(&spooled, NOW));
    assert!(again.is_ok());
    assert_eq!(world.uids("INBOX").len(), 1);
}

#[test]
fn a_session_hears_of_what_others_do_in_order() {
    let world = World::new();
    let (one, two) = (world.deliver("INBOX", "one"), world.deliver("INBOX", "two"));
    let (mut session, _) = world.select("INBOX");
    let three = world.deliver("INBOX", "three");
    world.flag("INBOX", &[one], FlagChange::Add(flags("\\Seen $Label")));
    world.expunge("INBOX", &[two]);
    let changes = now(world.mail.refresh(&mut session)).unwrap();
    assert_eq!(changes.arrived.iter().map(|m| m.uid).collect::<Vec<_>>(), [three]);
    assert_eq!(changes.expunged, [two]);
    let [flagged] = &changes.flags[..] else {
        panic!("{changes:?}")
    };
    assert_eq!(
        (flagged.uid, flagged.flags.to_string().as_str()),
        (one, "\\Seen $Label")
    );
    let nothing = now(world.mail.refresh(&mut session)).unwrap();
    assert!(nothing.arrived.is_empty() && nothing.flags.is_empty() && nothing.expunged.is_empty());
    // One that came and went in between was never there.
    let gone = world.deliver("INBOX", "gone");
    world.expunge("INBOX", &[gone]);
    let nothing = now(world.mail.refresh(&mut session)).unwrap();
    assert!(nothing.arrived.is_empty() && nothing.expunged.is_empty());
}

// Guards pitfall IMAP 3: a message that is moved back in is news, though its UID is above all seen.
#[test]
fn a_message_moved_away_and_back_arrives_under_a_new_uid() {
    let world = World::new();
    let uid = world.deliver("INBOX", "x");
    let (mut session, _) = world.select("INBOX");
    let (inbox, _) = world.select("INBOX");
    let there = now(world.mail.move_messages(&inbox, &[uid], &name("Archive"), NOW)).unwrap();
    let (archive, _) = world.select("Archive");
    let back = now(world
        .mail
        .move_messages(&archive, &[there.pairs[0].1], &name("INBOX"), NOW))
    .unwrap();
    let changes = now(world.mail.refresh(&mut session)).unwrap();
    assert_eq!(changes.expunged, [uid]);
    assert_eq!(changes.arrived.len(), 1);
    assert_eq!(changes.arrived[0].uid, back.pairs[0].1);
    assert!(back.pairs[0].1 > uid);
    world.check();
}

// Guards pitfall IMAP 2: a session that has not been told may still read what another has expunged.
#[test]
fn an_expunged_message_stays_readable_for_whoever_has_the_mailbox_open() {
    let world = World::new();
    let uid = world.deliver("INBOX", "going");
    let (mut slow, _) = world.select("INBOX");
    world.expunge("INBOX", &[uid]);
    assert_eq!(world.subject(&slow, uid).as_deref(), Some("going"));
    assert!(
        world
            .body(&slow, uid, 0..u64::MAX)
            .unwrap()
            .contains("body of going")
    );
    assert!(
        now(world
            .mail
            .store_flags(&mut slow, &[uid], &FlagChange::Add(flags("\\Seen")), None))
        .unwrap()
        .states
        .is_empty()
    );
    let (late, messages) = world.select("INBOX");
    assert!(messages.is_empty());
    drop((slow, late));
    let (after, _) = world.select("INBOX");
    assert_eq!(world.subject(&after, uid), None);
}

// Guards pitfall IMAP 5: every change raises MODSEQ, and what changes nothing does not.
#[test]
fn each_change_of_flags_raises_modseq() {
    let world = World::new();
    let uid = world.deliver("INBOX", "x");
    let mut last = 0;
    for change in [
        "+\\Seen",
        "+$A",
        "-\\Seen",
        "=\\Flagged",
        "=\\Flagged",
        "+\\Flagged",
        "-$B",
    ] {
        let set = flags(&change[1..]);
        let change = match &change[..1] {
            "+" => FlagChange::Add(set),
            "-" => FlagChange::Remove(set),
            _ => FlagChange::Replace(set),
        };
        let (mut before, _) = world.select("INBOX");
        let had = now(world
            .mail
            .store_flags(&mut before, &[uid], &FlagChange::Add(flags("")), None))
        .unwrap()
        .states[0]
            .clone();
        let states = world.flag("INBOX", &[uid], change.clone());
        assert_eq!(states[0].flags, change.apply(&had.flags));
        assert_eq!(
            states[0].modseq > had.modseq,
            states[0].flags != had.flags,
            "{change:?}"
        );
        assert!(states[0].modseq >= last);
        last = states[0].modseq;
    }
    let (_, messages) = world.select("INBOX");
    assert_eq!(
        (messages[0].modseq, messages[0].flags.to_string().as_str()),
        (last, "\\Flagged")
    );
    world.check();
}

#[test]
fn a_session_that_slept_through_the_log_compares_everything() {
    let world = World::new();
    let uids: Vec<u32> = (0..5).map(|n| world.deliver("INBOX", &n.to_string())).collect();
    let (mut session, _) = world.select("INBOX");
    world.expunge("INBOX", &uids[1..3]);
    world.flag("INBOX", &uids[..1], FlagChange::Add(flags("\\Seen")));
    let new = world.deliver("INBOX", "new");
    now(trim_log(&*world.store, ALICE, session.mailbox.id, 0)).unwrap();
    world.check();
    let changes = now(world.mail.refresh(&mut session)).unwrap();
    assert_eq!(changes.expunged, uids[1..3]);
    assert_eq!(changes.arrived.iter().map(|m| m.uid).collect::<Vec<_>>(), [new]);
    assert!(
        changes
            .flags
            .iter()
            .any(|m| m.uid == uids[0] && m.flags == flags("\\Seen"))
    );
    let after = world.deliver("INBOX", "after");
    let changes = now(world.mail.refresh(&mut session)).unwrap();
    assert_eq!(changes.arrived.iter().map(|m| m.uid).collect::<Vec<_>>(), [after]);
    assert!(changes.flags.is_empty() && changes.expunged.is_empty());
}

#[test]
fn recent_is_told_to_one_session_and_survives_a_restart() {
    let world = World::new();
    world.deliver("INBOX", "one");
    assert_eq!(now(world.mail.status(ALICE, &name("INBOX"))).unwrap().recent, 1);
    let (looker, looked) = now(world.mail.select(ALICE, &name("INBOX"), true)).unwrap();
    assert!(
        looked.messages[0].recent,
        "EXAMINE shows it and takes it from nobody"
    );
    let (mut first, messages) = world.select("INBOX");
    assert!(messages[0].recent);
    let (mut second, messages) = world.select("INBOX");
    assert!(!messages[0].recent);
    world.deliver("INBOX", "two");
    let arrived = now(world.mail.refresh(&mut first)).unwrap().arrived;
    assert!(arrived[0].recent);
    let arrived = now(world.mail.refresh(&mut second)).unwrap().arrived;
    assert!(!arrived[0].recent);
    now(world.mail.deselect(first)).unwrap();
    drop((second, looker));
    let after = world.restarted();
    assert_eq!(now(after.mail.status(ALICE, &name("INBOX"))).unwrap().recent, 0);
    assert!(after.select("INBOX").1.iter().all(|m| !m.recent));
}

#[test]
fn copies_keep_flags_and_dates_and_moves_leave_nothing_behind() {
    let world = World::new();
    let received = UnixTime::from_secs(1_000_000_000);
    let mut append =
        now(world
            .mail
            .append(ALICE, &name("Drafts"), flags("\\Draft $Work"), Some(received), 30))
        .unwrap();
    now(append.write("Subject: draft\r\n\r\n".into())).unwrap();
    let appended = now(world.mail.append_finish(append, NOW)).unwrap();
    let (drafts, snapshot) = now(world.mail.select(ALICE, &name("Drafts"), false)).unwrap();
    assert_eq!(snapshot.uid_validity, appended.uid_validity);
    let copied = now(world
        .mail
        .copy(&drafts, &[appended.uids[0], 77], &name("Archive"), NOW))
    .unwrap();
    assert_eq!(copied.pairs.len(), 1);
    let (archive, messages) = world.select("Archive");
    assert_eq!(messages[0].flags, flags("\\Draft $Work"));
    let message = now(world.mail.fetch(&archive, &[copied.pairs[0].1], Wants::default()))
        .unwrap()
        .pop()
        .unwrap();
    assert_eq!(message.internal_date, received);
    let moved = now(world
        .mail
        .move_messages(&archive, &[copied.pairs[0].1], &name("Trash"), NOW))
    .unwrap();
    assert_eq!(moved.pairs.len(), 1);
    assert!(world.uids("Archive").is_empty());
    assert_eq!(
        refused(now(world.mail.copy(&drafts, &[1], &name("Nowhere"), NOW))),
        MailError::NoSuchMailbox
    );
    world.sweep();
    world.check();
    let (trash, _) = world.select("Trash");
    assert_eq!(
        world.body(&trash, moved.pairs[0].1, 0..7).as_deref(),
        Some("Subject")
    );
}

#[test]
fn a_copy_that_fails_half_way_is_taken_back() {
    let world = World::new();
    let (inbox, _) = world.select("INBOX");
    let letter = world.letter("Subject: small\r\n\r\n");
    for _ in 0..2_500 {
        now(world.mail.deliver(ALICE, &letter, Delivery::new(NOW))).unwrap();
    }
    world.set_quota(ALICE, letter.size_bytes() * 4_800);
    let uids: Vec<u32> = (1..=2_500).collect();
    assert_eq!(
        refused(now(world.mail.copy(&inbox, &uids, &name("Archive"), NOW))),
        MailError::OverQuota
    );
    assert!(world.uids("Archive").is_empty());
    world.check();
}

#[test]
fn messages_with_very_long_headers_are_copied_moved_and_expunged_together() {
    let world = World::new();
    let (inbox, _) = world.select("INBOX");
    let letter = world.letter(&format!("Subject: {}\r\n\r\n", "long ".repeat(40_000)));
    let uids: Vec<u32> = (1..=200).collect();
    for _ in &uids {
        now(world.mail.deliver(ALICE, &letter, Delivery::new(NOW))).unwrap();
    }
    let copied = now(world.mail.copy(&inbox, &uids, &name("Archive"), NOW)).unwrap();
    assert_eq!(copied.pairs, uids.iter().map(|n| (*n, *n)).collect::<Vec<_>>());
    let (archive, _) = world.select("Archive");
    let moved = now(world.mail.move_messages(&archive, &uids, &name("Trash"), NOW)).unwrap();
    assert_eq!(moved.pairs, copied.pairs);
    now(world.mail.rename(ALICE, &name("INBOX"), &name("Old"), NOW)).unwrap();
    assert_eq!(world.uids("Old"), uids);
    let all = FlagChange::Add(flags("\\Deleted"));
    world.flag("Trash", &uids, all);
    let (trash, _) = world.select("Trash");
    assert_eq!(now(world.mail.expunge(&trash, None)).unwrap(), uids);
    world.check();
}

#[test]
fn of_messages_with_very_long_headers_few_are_fetched_at_a_time() {
    let world = World::new();
    let letter = world.letter(&format!("Subject: {}\r\n\r\n", "long ".repeat(40_000)));
    let uids: Vec<u32> = (1..=100).collect();
    for _ in &uids {
        now(world.mail.deliver(ALICE, &letter, Delivery::new(NOW))).unwrap();
    }
    let (inbox, _) = world.select("INBOX");
    let fetched = now(world.mail.fetch(&inbox, &uids, Wants::default())).unwrap();
    assert!((1..=32).contains(&fetched.len()), "{}", fetched.len());
    assert!(
        fetched
            .iter()
            .zip(&uids)
            .all(|(message, uid)| message.uid == *uid)
    );
}

#[test]
fn only_what_is_marked_is_expunged() {
    let world = World::new();
    let uids: Vec<u32> = (0..4).map(|n| world.deliver("INBOX", &n.to_string())).collect();
    world.flag("INBOX", &uids[..3], FlagChange::Add(flags("\\Deleted")));
    let (selected, _) = world.select("INBOX");
    assert_eq!(
        now(world.mail.expunge(&selected, Some(&uids[2..]))).unwrap(),
        [uids[2]]
    );
    assert_eq!(now(world.mail.expunge(&selected, None)).unwrap(), uids[..2]);
    assert_eq!(world.subjects("INBOX"), ["3"]);
    world.sweep();
    world.check();
}

// Guards pitfall IMAP 2: an expunged message stays readable for sessions that have not been told.
#[test]
fn an_expunged_message_can_be_read_while_the_sweeper_passes() {
    let world = World::new();
    let small = world.deliver("INBOX", "small");
    let large = world.deliver("INBOX", &"large ".repeat(20_000));
    world.flag("INBOX", &[small, large], FlagChange::Add(flags("\\Deleted")));
    let (slow, _) = world.select("INBOX");
    let (quick, _) = world.select("INBOX");
    assert_eq!(now(world.mail.expunge(&quick, None)).unwrap(), [small, large]);
    for minutes in [0, 30, 59] {
        world.sweep_at(NOW + Duration::from_secs(minutes * 60));
        for uid in [small, large] {
            assert_eq!(
                world.body(&slow, uid, 0..7).as_deref(),
                Some("Subject"),
                "{minutes}"
            );
        }
    }
    world.sweep_at(NOW + Duration::from_secs(3600));
    world.check();
    assert_eq!(world.body(&slow, small, 0..7), None);
}

#[test]
fn what_sort_and_thread_compare_is_decoded_and_references_are_kept() {
    let world = World::new();
    let text = "From: =?koi8-r?B?8NLJ18XU?= <p@x>\r\nSubject: =?utf-8?q?=C3=A9t=C3=A9?=\r\n\
                Date: Mon, 1 Jan 2001 00:00:00 +0100\r\nReferences: <a@x>\r\n <\"b\"@x>\r\n\r\n";
    let uid = world.deliver_to(ALICE, "INBOX", text);
    let (selected, _) = world.select("INBOX");
    let facts = |references| now(world.mail.sort_facts(&selected, &[uid, 99], references)).unwrap();
    let expected = ["a@x", "b@x"].map(ringpost_imap::thread::id_of);
    let [known] = &facts(true)[..] else {
        panic!("the other is not there")
    };
    assert_eq!(known.references, expected);
    assert_eq!(known.envelope.subject.as_deref(), Some("été"));
    assert_eq!(known.sent, UnixTime::from_secs(978_303_600));
    assert_eq!(facts(false)[0].references, [0u64; 0]);
    // A message that was delivered before they were kept is read for them.
    let id = selected.mailbox.id;
    let store: &dyn ringpost_store::Store = &*world.store;
    let home = Partition::Account(ALICE);
    let record = now(store.record::<ringpost_store::records::Message>(&home, keys::message(id, uid)));
    let old = ringpost_store::records::Message {
        index: Default::default(),
        ..record.unwrap().unwrap().record
    };
    world.put(home, keys::message(id, uid), &old);
    assert_eq!(facts(true)[0].references, expected);
    let many: String = (0..200).map(|i| format!("<{i}@x> ")).collect();
    let uid = world.deliver_to(ALICE, "INBOX", &format!("References: {many}\r\n\r\n"));
    let kept = now(world.mail.sort_facts(&selected, &[uid], true))
        .unwrap()
        .remove(0)
        .references;
    assert_eq!(kept.len(), limits::MESSAGE_REFERENCES);
    assert_eq!(
        (kept[0], kept.last()),
        (
            ringpost_imap::thread::id_of("0@x"),
            Some(&ringpost_imap::thread::id_of("199@x"))
        )
    );
    world.check();
}

#[test]
fn keywords_are_limited() {
    let world = World::new();
    let uid = world.deliver("INBOX", "x");
    let many = (0..=limits::IMAP_KEYWORDS)
        .map(|n| Flag::parse(&format!("k{n}")).unwrap())
        .collect();
    let (mut selected, _) = world.select("INBOX");
    let stored = now(world
        .mail
        .store_flags(&mut selected, &[uid], &FlagChange::Add(many), None));
    assert!(matches!(refused(stored), MailError::Limit(_)));
}

/// The subjects of messages, fetched in portions that are told ahead; `between` happens before the second.
fn fetched_ahead(world: &World, uids: &[u32], mut between: impl FnMut(&crate::Selected)) -> Vec<String> {
    let (selected, _) = world.select("INBOX");
    let wants = Wants {
        envelope: true,
        ..Wants::default()
    };
    let mut subjects = Vec::new();
    for (n, some) in uids.chunks(limits::IMAP_PORTION).enumerate() {
        if n == 1 {
            between(&selected);
        }
        let then = &uids[n * limits::IMAP_PORTION + some.len()..];
        let then = &then[..then.len().min(2 * limits::IMAP_PORTION)];
        let fetched = now(world.mail.fetch_then(&selected, some, wants, then)).unwrap();
        let found: Vec<u32> = fetched.iter().map(|message| message.uid).collect();
        assert_eq!(found, some);
        subjects.extend(
            fetched
                .into_iter()
                .map(|m| m.envelope.unwrap().subject.clone().unwrap()),
        );
    }
    subjects
}

#[test]
fn messages_that_are_read_ahead_are_those_that_are_asked_for() {
    let world = World::new();
    let all: Vec<u32> = (0..400)
        .map(|n| world.deliver("INBOX", &format!("s{n}")))
        .collect();
    let expected: Vec<String> = (0..400).map(|n| format!("s{n}")).collect();
    assert_eq!(fetched_ahead(&world, &all, |_| ()), expected);
    // Every seventh, which leaves gaps.
    let some: Vec<u32> = all.iter().copied().step_by(7).collect();
    let told = fetched_ahead(&world, &some, |_| ());
    assert_eq!(told, expected.iter().step_by(7).cloned().collect::<Vec<_>>());
    // Another question in between, of others.
    let told = fetched_ahead(&world, &all, |selected| {
        let other = now(world.mail.fetch(selected, &all[390..392], Wants::default())).unwrap();
        assert_eq!(other.len(), 2);
    });
    assert_eq!(told, expected);
    // What is expunged meanwhile is still shown to who was not told, whether it was read before or not.
    let told = fetched_ahead(&world, &all, |_| {
        let (mut other, _) = world.select("INBOX");
        let gone = [all[130], all[399]];
        let deleted = FlagChange::Add(flags("\\Deleted"));
        now(world.mail.store_flags(&mut other, &gone, &deleted, None)).unwrap();
        assert_eq!(now(world.mail.expunge(&other, None)).unwrap(), gone);
    });
    assert_eq!(told, expected);
    world.check();
}

#[test]
fn search_goes_through_many_messages_of_every_size() {
    use ringpost_imap::question::Candidate;
    let world = World::new();
    let mut expected = Vec::new();
    for n in 0..300 {
        let size = if n % 50 == 7 { 90_000 } else { 40 * (n % 90) };
        let word = if n % 3 == 0 { "NEEDle" } else { "straw" };
        let text = format!("Subject: s{n}\r\n\r\n{}\r\n{word}\r\n", "hay ".repeat(size / 4));
        let uid = world.deliver_to(ALICE, "INBOX", &text);
        expected.extend((n % 3 == 0).then_some(uid));
    }
    let (selected, messages) = world.select("INBOX");
    let mut among: Vec<Candidate> = (1..)
        .zip(&messages)
        .map(|(number, m)| Candidate {
            uid: m.uid,
            number,
            flags: m.flags.clone(),
            modseq: m.modseq,
            recent: m.recent,
            last: (300, 300),
        })
        .collect();
    let key = SearchKey::Body(Needle::new("needle"));
    assert_eq!(
        now(world.mail.search(&selected, &key, &among, NOW)),
        Ok(expected.clone())
    );
    // One that is gone for good is passed over, and what was not asked for is not told.
    among[10].uid = 9_999;
    among.sort_by_key(|candidate| candidate.uid);
    among.retain(|candidate| candidate.uid % 2 == 1);
    expected.retain(|uid| uid % 2 == 1 && *uid != 11);
    assert_eq!(now(world.mail.search(&selected, &key, &among, NOW)), Ok(expected));
}

#[test]
fn flags_of_more_messages_than_one_commit_takes_are_changed_with_several() {
    let world = World::new();
    // Each has other keywords, as long and as many as may be.
    let keywords = |n: usize| {
        let one = |k: usize| Flag::parse(&format!("{n:04}{}{k:02}", "k".repeat(58))).unwrap();
        (0..limits::IMAP_KEYWORDS).map(one).collect()
    };
    let uids: Vec<u32> = (0..4_200)
        .map(|n| {
            let letter = world.letter("Subject: x\r\n\r\n");
            let delivery = Delivery {
                flags: keywords(n),
                ..Delivery::new(NOW)
            };
            now(world.mail.deliver(ALICE, &letter, delivery))
                .unwrap()
                .unwrap()
                .uid
        })
        .collect();
    let states = world.flag("INBOX", &uids, FlagChange::Add(flags("\\Deleted")));
    assert_eq!(states.len(), uids.len());
    let (_, there) = world.select("INBOX");
    for (n, message) in there.iter().enumerate() {
        let mut expected: ringpost_imap::Flags = keywords(n);
        expected.insert(Flag::parse("\\Deleted").unwrap());
        assert_eq!(message.flags, expected);
    }
    assert!(states[0].modseq < states[4_199].modseq, "with several commits");
    // One of each block: all the blocks are too large for one commit as well.
    let some: Vec<u32> = uids.iter().copied().filter(|uid| uid % 128 == 1).collect();
    let (selected, _) = world.select("INBOX");
    assert_eq!(now(world.mail.expunge(&selected, Some(&some))).unwrap(), some);
    world.check();
}

#[test]
fn search_holds_a_bounded_piece_of_a_message_at_a_time() {
    use ringpost_imap::question::Candidate;
    let world = World::new();
    let (header, text) = (limits::MESSAGE_HEADER_BYTES, limits::SEARCH_TEXT_BYTES as usize);
    let part = format!("--b\r\n\r\n{}", "0123456 ".repeat(text / 2 / 8 + 64));
    let mail = format!(
        "X-A: early\r\nContent-Type: multipart/mixed; boundary=b\r\nX-B: {}\r\nX-C: late\r\n\r\n\
         {part}first\r\n{part}last\r\n--b--\r\n",
        "x".repeat(header),
    );
    let uid = world.deliver_to(ALICE, "INBOX", &mail);
    let (selected, messages) = world.select("INBOX");
    let among = [Candidate {
        uid,
        number: 1,
        flags: messages[0].flags.clone(),
        modseq: 1,
        recent: false,
        last: (1, uid),
    }];
    let found = |key: SearchKey| {
        !now(world.mail.search(&selected, &key, &among, NOW))
            .unwrap()
            .is_empty()
    };
    let has = |name: &str| found(SearchKey::Header(name.into(), Needle::new("")));
    assert_eq!((has("X-A"), has("X-C")), (true, false));
    let holds = |word: &str| found(SearchKey::Body(Needle::new(word)));
    assert_eq!((holds("first"), holds("last")), (true, false));
}

#[test]
fn search_looks_into_headers_and_decoded_texts() {
    use ringpost_imap::question::Candidate;
    let world = World::new();
    let plain = world.deliver("INBOX", "lunch");
    let mime = world.deliver_to(
        ALICE,
        "INBOX",
        "Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=\r\nX-Tag: blue\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
         --b\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nKaffee um f=FCnf\r\n\
         --b\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\nbHVuY2g=\r\n\
         --b\r\nContent-Type: message/rfc822\r\n\r\nSubject: forwarded\r\n\r\ninner text\r\n--b--\r\n",
    );
    let (selected, messages) = world.select("INBOX");
    let among: Vec<Candidate> = messages
        .iter()
        .enumerate()
        .map(|(i, m)| Candidate {
            uid: m.uid,
            number: i as u32 + 1,
            flags: m.flags.clone(),
            modseq: m.modseq,
            recent: m.recent,
            last: (2, mime),
        })
        .collect();
    let found = |key: SearchKey| now(world.mail.search(&selected, &key, &among, NOW)).unwrap();
    let needle = Needle::new;
    assert_eq!(found(SearchKey::Body(needle("um fünf"))), [mime]);
    assert_eq!(
        found(SearchKey::Body(needle("LUNCH"))),
        [plain],
        "not in an image, and in any case of letters"
    );
    assert_eq!(found(SearchKey::Text(needle("lunch"))), [plain]);
    assert_eq!(found(SearchKey::Text(needle("grüße"))), [mime]);
    assert_eq!(found(SearchKey::Body(needle("inner"))), [mime]);
    assert_eq!(found(SearchKey::Body(needle("forwarded"))), [mime]);
    assert_eq!(found(SearchKey::Header("x-tag".into(), needle("blue"))), [mime]);
    assert_eq!(found(SearchKey::Header("X-Tag".into(), needle(""))), [mime]);
    assert_eq!(found(SearchKey::Larger(100)), [mime]);
    assert_eq!(found(SearchKey::all()), [plain, mime]);
    assert_eq!(
        found(SearchKey::Not(Box::new(SearchKey::Body(needle("fünf"))))),
        [plain]
    );
}

#[test]
fn a_mailbox_that_is_deleted_under_a_session_is_told() {
    let world = World::new();
    now(world.mail.create(ALICE, &name("Work"), None, NOW)).unwrap();
    world.deliver("Work", "x");
    let (mut session, _) = world.select("Work");
    now(world.mail.delete(ALICE, &name("Work"))).unwrap();
    assert!(now(world.mail.refresh(&mut session)).unwrap().mailbox_gone);
    let stored = now(world
        .mail
        .store_flags(&mut session, &[1], &FlagChange::Add(flags("\\Seen")), None));
    assert_eq!(refused(stored), MailError::NoSuchMailbox);
    world.check();
}

#[test]
fn what_is_appended_with_nul_is_kept_in_base64() {
    let world = World::new();
    let append = |text: &[u8]| {
        let mut append = now(world.mail.append(ALICE, &name("INBOX"), flags(""), None, 99)).unwrap();
        for piece in text.chunks(7) {
            now(append.write(bytes::Bytes::copy_from_slice(piece))).unwrap();
        }
        now(world.mail.append_finish(append, NOW)).map(|delivered| delivered.uids[0])
    };
    let text = b"Subject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nplain\r\n\
        --b\r\nContent-Type: application/x\r\nContent-Transfer-Encoding: BINARY\r\nX: y\r\n\r\na\0b\r\n--b--\r\n";
    let uid = append(text).unwrap();
    let (selected, _) = world.select("INBOX");
    assert_eq!(
        world.body(&selected, uid, 0..u64::MAX).as_deref(),
        Some(
            "Subject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nplain\r\n\
             --b\r\nContent-Type: application/x\r\nX: y\r\nContent-Transfer-Encoding: base64\r\n\r\nYQBi\r\n\r\n--b--\r\n"
        )
    );
    // A big one passes through.
    let mut big = b"Content-Transfer-Encoding: binary\r\n\r\n".to_vec();
    big.extend((0..100_000u32).map(|n| n as u8));
    append(&big).unwrap();
    assert!(matches!(
        append(b"Subject: a\0b\r\n\r\n"),
        Err(MailError::UnknownEncoding)
    ));
    world.check();
}

#[test]
fn a_preview_is_the_beginning_of_what_is_read() {
    let world = World::new();
    let preview = |text: &str| {
        let uid = world.deliver_to(ALICE, "INBOX", text);
        let (selected, _) = world.select("INBOX");
        let wants = Wants {
            preview: true,
            ..Wants::default()
        };
        now(world.mail.fetch(&selected, &[uid], wants))
            .unwrap()
            .remove(0)
            .preview
            .unwrap()
    };
    assert_eq!(preview("Subject: x\r\n\r\nHello\r\n\r\nyou\r\n"), "Hello you");
    let alternative = "Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\n\
        Content-Type: text/html\r\n\r\n<p>rich</p>\r\n--b\r\nContent-Type: text/plain; charset=iso-8859-1\r\n\
        Content-Transfer-Encoding: quoted-printable\r\n\r\npl=E4in\r\n--b--\r\n";
    assert_eq!(preview(alternative), "pläin");
    let html = "Content-Type: text/html; charset=utf-8\r\n\r\n<html><style>p{}</style><p>Hello, <b>you</b></p></html>";
    assert_eq!(preview(html), "Hello, you");
    assert_eq!(preview("Content-Type: image/png\r\n\r\nx"), "");
    let empty = "Subject: secret\r\nContent-Type: multipart/mixed; boundary=e\r\n\r\n--e--\r\n";
    assert_eq!(preview(empty), "");
    assert_eq!(preview(&empty.replace("--e--\r\n", "")), "");
    let attached = "Content-Type: text/plain\r\nContent-Disposition: attachment\r\n\r\nx";
    assert_eq!(preview(attached), "");
    world.check();
}
