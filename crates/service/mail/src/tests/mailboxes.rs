//! Names, special uses, subscriptions.

use super::world::{ALICE, NOW, World, name, now, refused};
use crate::MailError;
use ringpost_base::Rng;
use ringpost_imap::SpecialUse;
use ringpost_imap::question::ListedMailbox;
use ringpost_store::records::Mailbox;
use ringpost_store::{Batch, Partition, Store, mailbox};
use std::time::Duration;

impl World {
    fn create(&self, text: &str) -> Result<(), MailError> {
        now(self.mail.create(ALICE, &name(text), None, NOW)).map(drop)
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), MailError> {
        now(self.mail.rename(ALICE, &name(from), &name(to), NOW))
    }

    fn listed(&self) -> Vec<ListedMailbox> {
        now(self.mail.list(ALICE)).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let listed = self.listed().into_iter();
        listed
            .filter(|m| m.selectable)
            .map(|m| m.name.to_string())
            .collect()
    }

    fn one(&self, text: &str) -> Option<ListedMailbox> {
        self.listed().into_iter().find(|m| m.name == name(text))
    }

    fn uid_validity(&self, text: &str) -> u32 {
        now(self.mail.status(ALICE, &name(text))).unwrap().uid_validity
    }
}

#[test]
fn an_account_begins_with_its_special_mailboxes_all_subscribed() {
    let world = World::new();
    assert_eq!(
        world.names(),
        ["Archive", "Drafts", "INBOX", "Junk", "Sent", "Trash"]
    );
    assert!(world.listed().iter().all(|m| m.subscribed && m.exists));
    assert_eq!(world.one("Sent").unwrap().special_use, Some(SpecialUse::Sent));
    assert_eq!(world.one("INBOX").unwrap().special_use, None);
    now(world.mail.create_defaults(ALICE, NOW)).unwrap();
    assert_eq!(world.names().len(), 6, "making them again changes nothing");
    world.check();
}

// Guards pitfall IMAP 11: programs find one mailbox for each use, by attribute or by the name that they give it.
#[test]
fn one_mailbox_is_for_sent_mail_whatever_it_is_called() {
    let world = World::new();
    let sent = |text: &str| world.one(text).unwrap().special_use;
    let refusal = now(world
        .mail
        .create(ALICE, &name("Mine"), Some(SpecialUse::Sent), NOW));
    assert!(matches!(refusal, Err(MailError::SpecialUse(_))));
    assert!(world.one("Mine").is_none(), "nothing is made of half a wish");
    // Who has a mailbox for it keeps it; a second one is like any other.
    let create = |text: &str| now(world.mail.create_named(ALICE, &name(text), None, NOW)).unwrap();
    create("Sent Items");
    assert_eq!((sent("Sent"), sent("Sent Items")), (Some(SpecialUse::Sent), None));
    // Who has none gets it with the name.
    now(world.mail.delete(ALICE, &name("Sent"))).unwrap();
    create("Sent Messages");
    assert_eq!(sent("Sent Messages"), Some(SpecialUse::Sent));
    for special_use in [SpecialUse::All, SpecialUse::Flagged] {
        let refusal = now(world.mail.create(ALICE, &name("x"), Some(special_use), NOW));
        assert!(matches!(refusal, Err(MailError::SpecialUse(_))));
    }
    world.check();
}

// Guards pitfall IMAP 1: UIDVALIDITY grows and never repeats.
#[test]
fn uidvalidity_grows_over_delete_and_create() {
    let world = World::new();
    let mut last = world.uid_validity("INBOX");
    assert!(last >= NOW.as_secs() as u32);
    for _ in 0..5 {
        world.create("Work").unwrap();
        let validity = world.uid_validity("Work");
        assert!(validity > last);
        last = validity;
        world.deliver("Work", "x");
        now(world.mail.delete(ALICE, &name("Work"))).unwrap();
    }
    world.create("Work").unwrap();
    let kept = world.uid_validity("Work");
    world.rename("Work", "Play").unwrap();
    assert_eq!(
        world.uid_validity("Play"),
        kept,
        "a renamed mailbox is the same one"
    );
    world.check();
}

//= https://www.rfc-editor.org/rfc/rfc9051#section-2.3.1.1
#[test]
fn a_name_and_a_uidvalidity_never_mean_another_mailbox_however_names_come_and_go() {
    let world = World::new();
    world.create("Old").unwrap();
    world.create("Work").unwrap();
    let former = world.uid_validity("Work");
    now(world.mail.delete(ALICE, &name("Work"))).unwrap();
    world.rename("Old", "Work").unwrap();
    assert_ne!(world.uid_validity("Work"), former);
    // What they mean, and at which UIDs they are.
    let mut meant = std::collections::BTreeMap::new();
    let mut rng = Rng::from_number(9);
    const NAMES: [&str; 6] = ["a", "a/b", "b", "b/a", "c", "INBOX"];
    let mut done = 0;
    for _ in 0..600 {
        let mut any = || NAMES[rng.below(NAMES.len() as u64) as usize];
        let (from, to) = (any(), any());
        let is_done = match rng.below(3) {
            0 => world.create(to).is_ok(),
            1 => now(world.mail.delete(ALICE, &name(from))).is_ok(),
            _ => world.rename(from, to).is_ok(),
        };
        done += u32::from(is_done);
        for named in NAMES {
            let Ok(status) = now(world.mail.status(ALICE, &name(named))) else {
                continue;
            };
            world.deliver(named, "x");
            let key = (named, status.uid_validity);
            let (mailbox, uid_next) = meant
                .insert(key, (status.mailbox, status.uid_next))
                .unwrap_or_default();
            assert!(uid_next == 0 || mailbox == status.mailbox && uid_next <= status.uid_next);
        }
    }
    assert!(done > 100 && meant.len() > 50, "{done} {}", meant.len());
    world.check();
}

#[test]
fn create_makes_what_is_missing_above() {
    let world = World::new();
    world.create("a/b/c").unwrap();
    assert!(
        ["a", "a/b", "a/b/c"]
            .iter()
            .all(|n| world.one(n).is_some_and(|m| m.selectable))
    );
    assert_eq!(refused(world.create("a/b")), MailError::AlreadyExists);
    assert_eq!(refused(world.create("inbox")), MailError::AlreadyExists);
    world.create("inbox/Calls").unwrap();
    assert!(world.one("INBOX/Calls").is_some());
    world.check();
}

#[test]
fn a_deleted_parent_stays_as_a_name_above_its_children() {
    let world = World::new();
    world.create("a/b").unwrap();
    world.deliver("a", "gone with it");
    now(world.mail.delete(ALICE, &name("a"))).unwrap();
    let a = world.one("a").unwrap();
    assert!(a.exists && !a.selectable);
    assert!(matches!(
        refused(now(world.mail.delete(ALICE, &name("a")))),
        MailError::HasChildren
    ));
    assert!(matches!(
        refused(now(world.mail.delete(ALICE, &name("inbox")))),
        MailError::Cannot(_)
    ));
    assert_eq!(
        refused(now(world.mail.delete(ALICE, &name("zzz")))),
        MailError::NoSuchMailbox
    );
    world.create("a").unwrap();
    assert!(world.one("a").unwrap().selectable && world.uids("a").is_empty());
    now(world.mail.delete(ALICE, &name("a/b"))).unwrap();
    assert!(world.one("a/b").is_none());
    world.check();
}

#[test]
fn rename_takes_the_children_along() {
    let world = World::new();
    world.create("a/b/c").unwrap();
    world.create("ab").unwrap();
    world.deliver("a/b/c", "deep");
    world.rename("a", "x/y").unwrap();
    assert_eq!(world.subjects("x/y/b/c"), ["deep"]);
    assert!(world.one("x").is_some_and(|m| m.selectable) && world.one("a").is_none());
    assert!(world.one("ab").is_some());
    assert!(matches!(
        refused(world.rename("x", "x/y/z")),
        MailError::Cannot(_)
    ));
    assert_eq!(refused(world.rename("ab", "x")), MailError::AlreadyExists);
    assert_eq!(refused(world.rename("nothing", "n")), MailError::NoSuchMailbox);
    world.rename("Sent", "Gone").unwrap();
    assert_eq!(world.one("Gone").unwrap().special_use, Some(SpecialUse::Sent));
    world.check();
}

// RFC 3501 §6.3.5: to rename to what is there already is an error, also for a name that only has children.
#[test]
fn a_parent_that_is_not_there_is_not_renamed_onto_what_is() {
    let world = World::new();
    world.create("gone/below").unwrap();
    now(world.mail.delete(ALICE, &name("gone"))).unwrap();
    for to in ["INBOX", "Sent"] {
        assert_eq!(
            refused(world.rename("gone", to)),
            MailError::AlreadyExists,
            "{to}"
        );
    }
    assert!(world.one("gone/below").is_some() && world.one("INBOX/below").is_none());
    world.rename("gone", "here").unwrap();
    assert!(world.one("here/below").is_some());
    world.check();
}

// Guards pitfall IMAP 10: RENAME INBOX.
#[test]
fn of_a_renamed_inbox_the_messages_move_and_it_stays() {
    let world = World::new();
    world.deliver("INBOX", "one");
    world.deliver("INBOX", "two");
    world.create("INBOX/below").unwrap();
    world.rename("INBOX", "Old").unwrap();
    assert_eq!(world.subjects("Old"), ["one", "two"]);
    assert!(world.uids("INBOX").is_empty());
    assert!(world.one("INBOX/below").is_some());
    let uid = world.deliver("INBOX", "three");
    assert_eq!(uid, 3, "UIDs go on");
    world.check();
}

// Guards pitfall IMAP 10: subscriptions to what is gone.
#[test]
fn a_subscription_outlives_its_mailbox() {
    let world = World::new();
    world.create("Work").unwrap();
    assert!(!world.one("Work").unwrap().subscribed);
    now(world.mail.subscribe(ALICE, &name("Work"), true)).unwrap();
    now(world.mail.delete(ALICE, &name("Work"))).unwrap();
    let work = world.one("Work").unwrap();
    assert!(work.subscribed && !work.exists && !work.selectable);
    assert_eq!(
        refused(now(world.mail.subscribe(ALICE, &name("Never"), true))),
        MailError::NoSuchMailbox
    );
    now(world.mail.subscribe(ALICE, &name("Work"), false)).unwrap();
    assert!(world.one("Work").is_none());
}

#[test]
fn a_use_belongs_to_one_mailbox() {
    let world = World::new();
    let create = |n: &str, u| now(world.mail.create(ALICE, &name(n), Some(u), NOW));
    assert!(matches!(
        refused(create("Sent Messages", SpecialUse::Sent)),
        MailError::SpecialUse(_)
    ));
    assert!(matches!(
        refused(create("Everything", SpecialUse::All)),
        MailError::SpecialUse(_)
    ));
    now(world.mail.delete(ALICE, &name("Trash"))).unwrap();
    create("Bin", SpecialUse::Trash).unwrap();
    assert_eq!(world.one("Bin").unwrap().special_use, Some(SpecialUse::Trash));
}

#[test]
fn an_inbox_that_is_missing_is_made_when_it_is_needed() {
    use ringpost_store::{Batch, Partition, Record, Store, keys, records::Account};
    let world = World::new();
    let carol = ringpost_store::AccountId(0xca401);
    let mut batch = Batch::new(Partition::Account(carol));
    let created = NOW - Duration::from_secs(10);
    batch.put(
        keys::account(),
        Account {
            created,
            ..Account::default()
        }
        .to_bytes(),
    );
    now(world.store.commit(batch)).unwrap();
    assert_eq!(world.deliver_to(carol, "INBOX", "Subject: x\r\n\r\n"), 1);
    assert_eq!(now(world.mail.list(carol)).unwrap().len(), 6);
}

#[test]
fn status_tells_the_counters() {
    let world = World::new();
    world.deliver("INBOX", "one");
    let two = world.deliver("INBOX", "two");
    world.flag(
        "INBOX",
        &[two],
        ringpost_imap::FlagChange::Add(super::world::flags("\\Seen")),
    );
    let status = now(world.mail.status(ALICE, &name("INBOX"))).unwrap();
    assert_eq!((status.messages, status.unseen, status.uid_next), (2, 1, 3));
    assert_eq!(
        refused(now(world.mail.status(ALICE, &name("Nowhere")))),
        MailError::NoSuchMailbox
    );
}

// Guards pitfall IMAP 10: what two programs show as one name is one mailbox, also where it was stored otherwise.
#[test]
fn a_name_that_was_stored_uncomposed_is_found_listed_renamed_and_not_made_twice() {
    const STORED: &str = "Entwu\u{308}rfe";
    let world = World::new();
    let mut batch = Batch::new(Partition::Account(ALICE));
    let old = Mailbox {
        name: STORED.into(),
        created: NOW,
        ..Mailbox::default()
    };
    mailbox::create(&mut batch, &old);
    now(world.store.commit(batch)).unwrap();
    assert!(world.names().contains(&"Entw\u{fc}rfe".to_owned()));
    assert_eq!(world.create("Entw\u{fc}rfe"), Err(MailError::AlreadyExists));
    assert_eq!(world.create(STORED), Err(MailError::AlreadyExists));
    world.deliver("Entw\u{fc}rfe", "x");
    assert_eq!(world.subjects(STORED), ["x"]);
    world.rename("Entw\u{fc}rfe", "plain").unwrap();
    assert_eq!(world.subjects("plain"), ["x"]);
    world.rename("plain", STORED).unwrap();
    assert_eq!(world.subjects("Entw\u{fc}rfe"), ["x"]);
    now(world.mail.delete(ALICE, &name(STORED))).unwrap();
    assert_eq!(world.names().len(), 6);
    world.check();
}
