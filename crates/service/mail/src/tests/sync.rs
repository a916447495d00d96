//! What a client that kept a copy is told (RFC 7162).

use super::world::{ALICE, NOW, World, flags, name, now};
use crate::Selected;
use ringpost_imap::FlagChange;
use ringpost_store::mailbox::trim_log;
use std::collections::BTreeSet;

fn highest(world: &World, mailbox: &str) -> u64 {
    let (_, snapshot) = now(world.mail.select(ALICE, &name(mailbox), true)).unwrap();
    let status = now(world.mail.status(ALICE, &name(mailbox))).unwrap();
    assert_eq!(status.highest_modseq, snapshot.highest_modseq);
    snapshot.highest_modseq
}

fn vanished(world: &World, selected: &Selected, since: u64) -> Option<String> {
    now(world.mail.vanished(selected, since))
        .unwrap()
        .map(|set| set.to_string())
}

// Guards pitfall IMAP 5: per-mailbox HIGHESTMODSEQ.
#[test]
fn an_empty_mailbox_has_a_modseq_and_its_first_message_a_higher_one() {
    let world = World::new();
    assert_eq!(highest(&world, "INBOX"), 1);
    world.deliver("INBOX", "x");
    let (_, messages) = world.select("INBOX");
    assert_eq!(messages[0].modseq, 2);
    assert_eq!(highest(&world, "INBOX"), 2);
    assert_eq!(highest(&world, "Archive"), 1);
}

#[test]
fn each_removal_raises_modseq_and_is_told_to_who_was_there_before_it() {
    let world = World::new();
    for _ in 0..6 {
        world.deliver("INBOX", "x");
    }
    let start = highest(&world, "INBOX");
    world.expunge("INBOX", &[2, 3]);
    let after_expunge = highest(&world, "INBOX");
    assert!(after_expunge > start);
    let (selected, _) = world.select("INBOX");
    now(world.mail.move_messages(&selected, &[6], &name("Archive"), NOW)).unwrap();
    let after_move = highest(&world, "INBOX");
    assert!(after_move > after_expunge);
    world.flag("INBOX", &[1], FlagChange::Add(flags("\\Seen")));
    assert_eq!(vanished(&world, &selected, 0).as_deref(), Some("2:3,6"));
    assert_eq!(vanished(&world, &selected, start).as_deref(), Some("2:3,6"));
    assert_eq!(vanished(&world, &selected, after_expunge).as_deref(), Some("6"));
    assert_eq!(vanished(&world, &selected, after_move).as_deref(), Some(""));
    assert_eq!(vanished(&world, &selected, u64::MAX).as_deref(), Some(""));
    // Of what is trimmed nothing is known any more; of what is not, everything.
    now(trim_log(&*world.store, ALICE, selected.mailbox.id, 2)).unwrap();
    assert_eq!(vanished(&world, &selected, start), None);
    assert_eq!(vanished(&world, &selected, after_expunge).as_deref(), Some("6"));
    world.check();
}

#[test]
fn a_log_of_many_changes_is_read_to_its_end() {
    let world = World::new();
    let mut left = BTreeSet::new();
    for n in 0..1_500 {
        let uid = world.deliver("INBOX", "x");
        match n % 3 {
            0 => drop(world.expunge("INBOX", &[uid])),
            _ => drop(left.insert(uid)),
        }
    }
    let (selected, _) = world.select("INBOX");
    let gone = now(world.mail.vanished(&selected, 0)).unwrap().unwrap();
    assert!((1..=1_500).all(|uid| gone.contains(uid) != left.contains(&uid)));
}

#[test]
fn a_conditional_store_changes_only_what_has_not_changed() {
    let world = World::new();
    let uids = [world.deliver("INBOX", "a"), world.deliver("INBOX", "b")];
    let (selected, _) = world.select("INBOX");
    let since = highest(&world, "INBOX");
    world.flag("INBOX", &[uids[1]], FlagChange::Add(flags("\\Seen")));
    let change = FlagChange::Add(flags("\\Flagged"));
    let done = now(world.mail.store_flags(&selected, &uids, &change, Some(since))).unwrap();
    assert_eq!(done.modified, [uids[1]]);
    let told: Vec<_> = done.states.iter().map(|s| s.flags.to_string()).collect();
    assert_eq!(told, ["\\Flagged", "\\Seen"]);
    assert!(done.states[0].modseq > done.states[1].modseq && done.states[1].modseq > since);
    let (_, now_there) = world.select("INBOX");
    assert_eq!(now_there[0].modseq, done.states[0].modseq);
    // With what it was told the client may try again.
    let since = Some(done.states[1].modseq);
    let done = now(world.mail.store_flags(&selected, &uids[1..], &change, since)).unwrap();
    assert!(done.modified.is_empty());
    assert_eq!(done.states[0].flags, flags("\\Seen \\Flagged"));
}

#[test]
fn changes_say_up_to_which_modseq_they_are_whole() {
    let world = World::new();
    world.deliver("INBOX", "a");
    let (mut selected, _) = world.select("INBOX");
    assert_eq!(now(world.mail.refresh(&mut selected)).unwrap().highest_modseq, 2);
    world.deliver("INBOX", "b");
    world.expunge("INBOX", &[1]);
    let changes = now(world.mail.refresh(&mut selected)).unwrap();
    assert_eq!(changes.highest_modseq, highest(&world, "INBOX"));
    now(trim_log(&*world.store, ALICE, selected.mailbox.id, 0)).unwrap();
    world.deliver("INBOX", "c");
    let changes = now(world.mail.refresh(&mut selected)).unwrap();
    assert_eq!(changes.highest_modseq, highest(&world, "INBOX"));
}
