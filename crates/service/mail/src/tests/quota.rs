//! Quotas, and the notice to whom they become little.

use super::world::{ALICE, BOB, NOW, World, flags, name, now};
use crate::{Delivery, MailError, Quota};

impl World {
    fn try_deliver(&self, size_bytes: usize) -> Result<(), MailError> {
        let letter = self.letter(&format!(
            "Subject: x\r\n\r\n{}",
            "x".repeat(size_bytes.saturating_sub(14))
        ));
        assert_eq!(letter.size_bytes() as usize, size_bytes.max(14));
        now(self.mail.deliver(ALICE, &letter, Delivery::new(NOW))).map(drop)
    }

    fn warnings(&self) -> usize {
        let subjects = self.subjects("INBOX");
        subjects
            .iter()
            .filter(|s| s.starts_with("Your mailbox is"))
            .count()
    }
}

// Guards pitfall IMAP 12: who is over quota is refused and loses nothing.
#[test]
fn an_account_without_a_quota_of_its_own_has_the_configured_one() {
    let world = World::new();
    let default = Quota {
        bytes: Some(1_000),
        messages: Some(3),
    };
    world.mail.set_default_quota(default);
    world.try_deliver(400).unwrap();
    assert_eq!(world.try_deliver(700), Err(MailError::OverQuota));
    assert_eq!(world.uids("INBOX").len(), 1);
    // Its own goes before, in each of the two, and may be none at all.
    world.set_quotas(ALICE, Some(u64::MAX), None);
    world.try_deliver(5_000).unwrap();
    world.try_deliver(100).unwrap();
    assert_eq!(
        world.try_deliver(100),
        Err(MailError::OverQuota),
        "three are enough"
    );
    world.set_quotas(ALICE, Some(u64::MAX), Some(u64::MAX));
    world.try_deliver(100).unwrap();
    let quota = now(world.mail.quota(ALICE)).unwrap();
    assert_eq!((quota.bytes.limit, quota.messages.limit), (None, None));
    let quota = now(world.mail.quota(BOB)).unwrap();
    assert_eq!((quota.messages.used, quota.messages.limit), (0, Some(3)));
    world.check();
}

// Guards pitfall IMAP 12: APPEND and COPY say so before anything is there, and nobody else is held up.
#[test]
fn messages_are_counted_as_bytes_are() {
    let world = World::new();
    world.set_quotas(ALICE, None, Some(2));
    world.deliver("INBOX", "one");
    let (selected, _) = world.select("INBOX");
    assert!(now(world.mail.has_room(ALICE, 10)).unwrap());
    now(world.mail.copy(&selected, &[1], &name("Sent"), NOW)).unwrap();
    let copied = now(world.mail.copy(&selected, &[1], &name("Sent"), NOW));
    assert_eq!(copied, Err(MailError::OverQuota));
    assert!(!now(world.mail.has_room(ALICE, 0)).unwrap());
    let append = now(world.mail.append(ALICE, &name("INBOX"), flags(""), None, 1));
    assert!(matches!(append, Err(MailError::OverQuota)));
    // What is moved takes no room, and what was promised is kept.
    now(world.mail.move_messages(&selected, &[1], &name("Sent"), NOW)).unwrap();
    world.deliver_to(BOB, "INBOX", "Subject: for bob\r\n\r\n");
    let letter = world.letter("Subject: promised\r\n\r\n");
    let promised = Delivery {
        within_quota: false,
        ..Delivery::new(NOW)
    };
    now(world.mail.deliver(ALICE, &letter, promised)).unwrap();
    world.check();
}

#[test]
fn an_owner_is_told_once_that_it_becomes_full_and_again_when_it_had_room_between() {
    let world = World::new();
    world.set_quota(ALICE, 100_000);
    world.try_deliver(80_000).unwrap();
    assert_eq!(world.warnings(), 0);
    world.try_deliver(10_000).unwrap();
    assert_eq!(world.warnings(), 1, "at 90 %");
    world.try_deliver(1_000).unwrap();
    assert_eq!(world.warnings(), 1, "once");
    // Down to 81 % is not room enough.
    let all = world.uids("INBOX");
    world.expunge("INBOX", &all[1..2]);
    world.try_deliver(9_500).unwrap();
    assert_eq!(world.warnings(), 1);
    world.expunge("INBOX", &all[..1]);
    world.try_deliver(79_900).unwrap();
    assert_eq!(world.warnings(), 2, "there was room, and it is gone again");
    // The notice is kept although it takes the account above its quota.
    world.set_quota(ALICE, 80_000);
    let uids = world.uids("INBOX");
    world.expunge("INBOX", &uids);
    world.try_deliver(79_990).unwrap();
    assert_eq!(world.warnings(), 1);
    assert!(now(world.mail.quota(ALICE)).unwrap().bytes.used > 80_000);
    world.check();
}

#[test]
fn an_owner_is_told_again_however_slowly_the_account_fills_and_when_a_greater_quota_does() {
    let world = World::new();
    world.set_quota(ALICE, 100_000);
    let fill = |to: u64| {
        while now(world.mail.quota(ALICE)).unwrap().bytes.used < to {
            world.try_deliver(2_000).unwrap();
        }
    };
    fill(95_000);
    assert_eq!(world.warnings(), 1);
    let before = world.uids("INBOX");
    fill(70_000);
    world.expunge("INBOX", &before);
    fill(95_000);
    assert_eq!(world.warnings(), 1, "there was room for a time");
    world.set_quota(ALICE, 200_000);
    fill(192_000);
    assert_eq!(world.warnings(), 2, "the greater quota is nearly used up too");
    world.check();
}

#[test]
fn a_copy_can_make_an_account_nearly_full_too() {
    let world = World::new();
    world.set_quota(ALICE, 100_000);
    world.try_deliver(48_000).unwrap();
    let (selected, _) = world.select("INBOX");
    now(world.mail.copy(&selected, &[1], &name("Sent"), NOW)).unwrap();
    assert_eq!(world.warnings(), 1);
    world.check();
}
