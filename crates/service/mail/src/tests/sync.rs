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
    let (mut selected, _) = world.select("INBOX");
    let since = highest(&world, "INBOX");
    world.flag("INBOX", &[uids[1]], FlagChange::Add(flags("\\Seen")));
    let change = FlagChange::Add(flags("\\Flagged"));
    let done = now(world.mail.store_flags(&mut selected, &uids, &change, Some(since))).unwrap();
    assert_eq!(done.modified, [uids[1]]);
    let told: Vec<_> = done.states.iter().map(|s| s.flags.to_string()).collect();
    assert_eq!(told, ["\\Flagged", "\\Seen"]);
    assert!(done.states[0].modseq > done.states[1].modseq && done.states[1].modseq > since);
    let (_, now_there) = world.select("INBOX");
    assert_eq!(now_there[0].modseq, done.states[0].modseq);
    // With what it was told the client may try again.
    let since = Some(done.states[1].modseq);
    let done = now(world.mail.store_flags(&mut selected, &uids[1..], &change, since)).unwrap();
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

fn append(world: &World, mailbox: &str, text: &str) -> crate::Append {
    let mut append = now(world
        .mail
        .append(ALICE, &name(mailbox), flags(""), None, text.len() as u64))
    .unwrap();
    now(append.write(text.to_owned().into())).unwrap();
    append
}

#[test]
fn messages_appended_together_come_in_one_change() {
    let world = World::new();
    let before = highest(&world, "INBOX");
    let first = append(&world, "INBOX", "Subject: 1\r\n\r\n");
    let draft = flags("\\Draft");
    let mut more = now(world.mail.append_next(first, draft, None, 14)).unwrap();
    now(more.write("Subject: 2\r\n\r\n".into())).unwrap();
    let appended = now(world.mail.append_finish(more, NOW)).unwrap();
    assert_eq!(appended.uids, [1, 2]);
    assert_eq!(world.subjects("INBOX"), ["1", "2"]);
    let (_, messages) = world.select("INBOX");
    assert_eq!(messages[1].flags, flags("\\Draft"));
    assert_eq!(highest(&world, "INBOX"), before + 1);
    world.check();
}

#[test]
fn of_messages_appended_together_all_fit_the_quota_or_none() {
    let world = World::new();
    world.set_quota(ALICE, 200);
    let text = format!("Subject: x\r\n\r\n{}", "x".repeat(100));
    let first = append(&world, "INBOX", &text);
    // Both together would not: it is said when the second is announced.
    let refused = now(world.mail.append_next(first, flags(""), None, text.len() as u64));
    assert_eq!(refused.unwrap_err(), crate::MailError::OverQuota);
    // Another one came in between: it is said at the end.
    let first = append(&world, "INBOX", &text[..60]);
    let mut both = now(world.mail.append_next(first, flags(""), None, 60)).unwrap();
    now(both.write(text[..60].to_owned().into())).unwrap();
    now(world.mail.append_finish(append(&world, "Sent", &text), NOW)).unwrap();
    let refused = now(world.mail.append_finish(both, NOW));
    assert_eq!(refused.unwrap_err(), crate::MailError::OverQuota);
    assert!(world.uids("INBOX").is_empty());
    world.check();
}

#[test]
fn ids_follow_a_message_and_its_thread() {
    // RFC 8474 §5.
    use ringpost_imap::question::{Message, Wants};
    let world = World::new();
    let texts = [
        "Message-ID: <a@x>\r\nSubject: s\r\n\r\n",
        "Message-ID: <b@x>\r\nIn-Reply-To: <a@x>\r\n\r\n",
        "Message-ID: <c@x>\r\nIn-Reply-To: <b@x>\r\nReferences: <a@x> <b@x>\r\n\r\n",
        "Message-ID: <d@x>\r\nSubject: s\r\n\r\n",
        "Subject: none\r\n\r\n",
    ];
    let uids: Vec<u32> = texts.map(|text| world.deliver_to(ALICE, "INBOX", text)).to_vec();
    let wants = Wants {
        thread: true,
        ..Wants::default()
    };
    let fetch = |selected: &Selected, uids: &[u32]| -> Vec<Message> {
        now(world.mail.fetch(selected, uids, wants)).unwrap()
    };
    let (inbox, _) = world.select("INBOX");
    let all = fetch(&inbox, &uids);
    let thread = |i: usize| all[i].thread_id.unwrap().to_string();
    assert!(thread(0) == thread(1) && thread(1) == thread(2));
    let apart: BTreeSet<_> = [thread(0), thread(3), thread(4)].into();
    assert_eq!(apart.len(), 3);
    let emails: BTreeSet<_> = all.iter().map(|m| m.email_id.to_string()).collect();
    assert_eq!(emails.len(), 5);
    // A copy and a move keep both, and are saved when they are made.
    let later = NOW + std::time::Duration::from_secs(9 * 86_400);
    let copied = now(world.mail.copy(&inbox, &uids[..2], &name("Archive"), later)).unwrap();
    let moved = now(world
        .mail
        .move_messages(&inbox, &uids[2..3], &name("Archive"), later))
    .unwrap();
    let new: Vec<u32> = copied
        .pairs
        .iter()
        .chain(&moved.pairs)
        .map(|(_, new)| *new)
        .collect();
    let (archive, _) = world.select("Archive");
    for (old, new) in all.iter().zip(fetch(&archive, &new)) {
        assert_eq!((old.email_id, old.thread_id), (new.email_id, new.thread_id));
        assert_eq!(
            (old.saved, new.saved, new.internal_date),
            (NOW, later, old.internal_date)
        );
    }
}
