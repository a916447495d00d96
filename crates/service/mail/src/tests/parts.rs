//! Changes of so many messages that somebody else always comes first with one of them.

use super::world::{ALICE, NOW, World, flags, name, now, refused};
use crate::MailError;
use ringpost_imap::FlagChange;
use ringpost_store::{Partition, Store, keys};
use std::sync::atomic::Ordering;

const COUNT: u32 = 1_200;

/// A busy mailbox: of the records that hold its states no more than two are left alone for as long as a commit takes.
fn busy() -> (World, Vec<u32>) {
    let world = World::new();
    let uids: Vec<u32> = (0..COUNT)
        .map(|n| world.deliver("INBOX", &format!("s{n}")))
        .collect();
    world.flag("INBOX", &uids, FlagChange::Add(flags("\\Deleted")));
    world.meddles_above.store(2, Ordering::Relaxed);
    (world, uids)
}

/// How many commits have changed the account, without those of the one who meddles.
fn changes(world: &World) -> i64 {
    let store: &dyn Store = &*world.store;
    now(store.counter(&Partition::Account(ALICE), keys::changes())).unwrap()
}

/// What comes too late is made in halves, so that it is done with some commits more, and not after some hundred attempts.
fn is_parted(world: &World, before: i64) {
    let (commits, in_vain) = (changes(world) - before, world.meddled.load(Ordering::Relaxed));
    assert!((4..=30).contains(&commits), "{commits}");
    assert!((8..=60).contains(&in_vain), "{in_vain}");
    world.meddles_above.store(usize::MAX, Ordering::Relaxed);
    world.check();
}

#[test]
fn flags_of_many_in_a_busy_mailbox_are_changed_in_parts() {
    let (world, uids) = busy();
    let before = changes(&world);
    let states = world.flag("INBOX", &uids, FlagChange::Add(flags("\\Seen")));
    assert!(states.iter().map(|state| state.uid).eq(uids.iter().copied()));
    is_parted(&world, before);
    let seen = flags("\\Deleted \\Seen");
    assert!(
        world
            .select("INBOX")
            .1
            .iter()
            .all(|message| message.flags == seen)
    );
}

#[test]
fn many_are_expunged_from_a_busy_mailbox_in_parts() {
    let (world, uids) = busy();
    let (selected, _) = world.select("INBOX");
    let before = changes(&world);
    assert_eq!(now(world.mail.expunge(&selected, None)).unwrap(), uids);
    is_parted(&world, before);
    assert_eq!(world.uids("INBOX"), []);
}

#[test]
fn many_are_copied_and_moved_from_a_busy_mailbox_in_parts() {
    for moves in [false, true] {
        let (world, uids) = busy();
        let (selected, _) = world.select("INBOX");
        let before = changes(&world);
        let to = name("Archive");
        let copied = match moves {
            false => now(world.mail.copy(&selected, &uids, &to, NOW)),
            true => now(world.mail.move_messages(&selected, &uids, &to, NOW)),
        };
        let pairs: Vec<(u32, u32)> = (1..=COUNT).map(|uid| (uid, uid)).collect();
        assert_eq!(copied.unwrap().pairs, pairs);
        is_parted(&world, before);
        assert_eq!(world.uids("Archive"), uids);
        assert_eq!(world.uids("INBOX"), if moves { &[][..] } else { &uids[..] });
    }
}

#[test]
fn who_comes_too_late_even_with_one_message_gives_up_and_takes_back_what_was_copied() {
    let (world, uids) = busy();
    world.meddles_above.store(0, Ordering::Relaxed);
    let (mut selected, _) = world.select("INBOX");
    let seen = FlagChange::Add(flags("\\Seen"));
    let stored = now(world.mail.store_flags(&mut selected, &uids, &seen, None));
    assert_eq!(refused(stored), MailError::Busy);
    assert_eq!(refused(now(world.mail.expunge(&selected, None))), MailError::Busy);
    let copied = now(world.mail.copy(&selected, &uids, &name("Archive"), NOW));
    assert_eq!(refused(copied), MailError::Busy);
    assert_eq!(world.uids("Archive"), []);
    world.meddles_above.store(usize::MAX, Ordering::Relaxed);
    assert_eq!(world.uids("INBOX"), uids);
    world.check();
}
