//! Mailboxes that somebody filled with messages of which as much is known as may be.

use super::world::{ALICE, NOW, World, name, now};
use crate::Selected;
use ringpost_base::limits;
use ringpost_imap::question::{Candidate, Message, MessageState, Wants};
use ringpost_imap::search::{EnvelopeField, Needle, SearchKey};
use ringpost_imap::structure::Spelling;
use ringpost_store::Found;
use ringpost_store::conformance::block_on;
use std::sync::atomic::Ordering;

/// One read goes to its limit, with the record that reaches it.
const READ: usize = limits::STORE_READ_BYTES + limits::KEY_BYTES + limits::VALUE_BYTES;

/// A mailbox of 600 messages, two of three of which have a subject of 100 kB, and every seventh of which is gone.
fn gigantic() -> (World, Vec<u32>) {
    let world = World::new();
    for n in 0..600 {
        let padding = if n % 3 == 0 { "" } else { &"long ".repeat(20_000) };
        let text = format!("Subject: s{n} {padding}\r\n\r\nbody\r\n");
        world.deliver_to(ALICE, "INBOX", &text);
    }
    let gone: Vec<u32> = (1..=600).filter(|uid| uid % 7 == 3).collect();
    assert_eq!(world.expunge("INBOX", &gone), gone);
    let left = (1..=600).filter(|uid| uid % 7 != 3).collect();
    world.read_bytes.store(0, Ordering::Relaxed);
    (world, left)
}

/// The number in a message's subject.
fn subject_of(message: &Message) -> String {
    let envelope = message.envelope.as_ref().unwrap();
    let subject = envelope.subject.as_deref().unwrap();
    subject.split(' ').next().unwrap().to_owned()
}

/// Fetches as a session does: portions, what an answer leaves out with the next, and the portions ahead told.
fn fetched_whole(world: &World, selected: &Selected, uids: &[u32], wants: Wants) -> Vec<Message> {
    let (mut all, mut rest) = (Vec::new(), uids);
    while !rest.is_empty() {
        let (some, then) = rest.split_at(rest.len().min(limits::IMAP_PORTION));
        let then = &then[..then.len().min(limits::IMAP_PORTIONS_AHEAD * limits::IMAP_PORTION)];
        let answer = now(world.mail.fetch_then(selected, some, wants, then)).unwrap();
        let held: Vec<usize> = answer.iter().map(Message::held_bytes).collect();
        let (last, before) = held.split_last().expect("an answer goes on");
        assert!(before.iter().sum::<usize>() < limits::IMAP_KNOWN_BYTES);
        assert!(*last < limits::VALUE_BYTES);
        assert!(ahead_bytes(selected, then) <= limits::IMAP_PORTIONS_AHEAD * READ);
        let last = answer.last().unwrap().uid;
        rest = &rest[rest.partition_point(|uid| *uid <= last)..];
        all.extend(answer);
    }
    all
}

/// What has been read ahead; it stays.
fn ahead_bytes(selected: &Selected, then: &[u32]) -> usize {
    let first = &then[..then.len().min(limits::IMAP_PORTION)];
    let mut bytes = 0;
    let mut kept = selected.take_ahead(first);
    assert!(kept.len() <= limits::IMAP_PORTIONS_AHEAD);
    for portion in &mut kept {
        let ready = std::mem::replace(&mut portion.found, Box::pin(async { Ok(Vec::new()) }));
        let found = block_on(ready).unwrap();
        bytes += found.iter().map(Found::scanned_bytes).sum::<usize>();
        portion.found = Box::pin(async { Ok(found) });
    }
    selected.keep_ahead(kept);
    bytes
}

#[test]
fn gigantic_headers_are_fetched_whole_and_in_order_a_bounded_piece_at_a_time() {
    let (world, left) = gigantic();
    let (selected, _) = world.select("INBOX");
    let wants = Wants {
        envelope: true,
        structure: true,
        ..Wants::default()
    };
    let subjects = |uids: &[u32]| uids.iter().map(|uid| format!("s{}", uid - 1)).collect::<Vec<_>>();
    let fetched = fetched_whole(&world, &selected, &left, wants);
    let told: Vec<u32> = fetched.iter().map(|message| message.uid).collect();
    assert_eq!(told, left);
    let told: Vec<String> = fetched.iter().map(subject_of).collect();
    assert_eq!(told, subjects(&left));
    // Few of many, and far apart: each is a scan of its own.
    let some: Vec<u32> = left.iter().copied().filter(|uid| uid % 6 == 2).collect();
    let told: Vec<String> = fetched_whole(&world, &selected, &some, wants)
        .iter()
        .map(subject_of)
        .collect();
    assert_eq!(told, subjects(&some));
    // Those that are expunged meanwhile are among them, as many of them as are kept.
    let gone: Vec<u32> = left.iter().copied().filter(|uid| uid % 100 < 4).collect();
    assert_eq!(world.expunge("INBOX", &gone), gone);
    let told: Vec<String> = fetched_whole(&world, &selected, &left, wants)
        .iter()
        .map(subject_of)
        .collect();
    assert_eq!(told, subjects(&left));
    let most = world.read_bytes.load(Ordering::Relaxed);
    assert!((limits::STORE_READ_BYTES..=READ).contains(&most), "{most}");
    world.check();
}

#[test]
fn what_an_answer_writes_of_envelopes_counts_against_its_bound() {
    let world = World::new();
    // The author is shown as the sender and in Reply-To as well, and takes several times what is stored.
    let from: Vec<String> = (0..1_500).map(|n| format!("a{n}@b.example")).collect();
    let text = format!("From: {}\r\nSubject: s\r\n\r\n", from.join(", "));
    let uids: Vec<u32> = (0..24).map(|_| world.deliver_to(ALICE, "INBOX", &text)).collect();
    let (selected, _) = world.select("INBOX");
    let wants = |written| Wants {
        written,
        ..Wants::default()
    };
    let known = now(world.mail.fetch(&selected, &uids, wants(None))).unwrap();
    assert_eq!(known.len(), uids.len(), "what is stored is within the bound");
    let answer = now(world.mail.fetch(&selected, &uids, wants(Some(Spelling::Ascii)))).unwrap();
    let written = |messages: &[Message]| -> usize {
        let written = messages.iter().flat_map(|message| &message.written);
        written.map(|written| written.len()).sum()
    };
    assert!(written(&answer[..answer.len() - 1]) < limits::IMAP_KNOWN_BYTES);
    let all = fetched_whole(&world, &selected, &uids, wants(Some(Spelling::Ascii)));
    assert_eq!(all.len(), uids.len());
    assert!(written(&all) > 2 * limits::IMAP_KNOWN_BYTES);
}

#[test]
fn ordinary_messages_behind_gigantic_ones_are_read_ahead_again() {
    let (world, _) = gigantic();
    let uids: Vec<u32> = (0..300)
        .map(|n| world.deliver("INBOX", &format!("t{n}")))
        .collect();
    let (selected, _) = world.select("INBOX");
    let (some, then) = uids.split_at(limits::IMAP_PORTION);
    let answer = now(world.mail.fetch_then(&selected, some, Wants::default(), then)).unwrap();
    assert_eq!(answer.len(), some.len());
    let ahead = selected.take_ahead(&then[..limits::IMAP_PORTION]);
    assert_eq!(ahead.len(), then.len().div_ceil(limits::IMAP_PORTION));
}

fn candidates(messages: &[MessageState]) -> Vec<Candidate> {
    let candidate = |(number, m): (u32, &MessageState)| Candidate {
        uid: m.uid,
        number,
        flags: m.flags.clone(),
        modseq: m.modseq,
        recent: m.recent,
        last: (messages.len() as u32, messages.last().unwrap().uid),
    };
    (1..).zip(messages).map(candidate).collect()
}

#[test]
fn gigantic_headers_are_searched_and_sorted_whole_a_bounded_piece_at_a_time() {
    let (world, left) = gigantic();
    let (selected, messages) = world.select("INBOX");
    let among = candidates(&messages);
    let search = |key: SearchKey| now(world.mail.search(&selected, &key, &among, NOW)).unwrap();
    let longs: Vec<u32> = left.iter().copied().filter(|uid| uid % 3 != 1).collect();
    let by_subject = |needle: &str| SearchKey::Envelope(EnvelopeField::Subject, Needle::new(needle));
    assert_eq!(search(by_subject("long long")), longs);
    // Neither what is known nor the text alone decides it.
    let both = SearchKey::And(vec![by_subject("long"), SearchKey::Body(Needle::new("body"))]);
    assert_eq!(search(both), longs);
    for references in [false, true] {
        let (mut told, mut rest) = (Vec::new(), &left[..]);
        while !rest.is_empty() {
            let (some, _) = rest.split_at(rest.len().min(limits::IMAP_PORTION));
            let facts = now(world.mail.sort_facts(&selected, some, references)).unwrap();
            let held = |facts: &[_]| facts.iter().map(held_bytes).sum::<usize>();
            assert!(held(&facts[..facts.len() - 1]) < limits::IMAP_KNOWN_BYTES);
            rest = &rest[facts.len()..];
            told.extend(facts.into_iter().map(|facts| facts.uid));
        }
        assert_eq!(told, left);
    }
    assert!(world.read_bytes.load(Ordering::Relaxed) <= READ);
}

fn held_bytes(facts: &ringpost_imap::sort::SortFacts) -> usize {
    facts.envelope.held_bytes()
}

#[test]
fn gigantic_headers_are_listed_copied_and_cleared_away_whole_a_bounded_piece_at_a_time() {
    let (world, left) = gigantic();
    let listed = |mailbox: &str| {
        let mut uids: Vec<u32> = Vec::new();
        loop {
            let after = uids.last().copied().unwrap_or_default();
            let some = now(world.mail.messages_after(ALICE, &name(mailbox), after)).unwrap();
            let held: usize = some.iter().map(|listed| listed.envelope.held_bytes()).sum();
            assert!(held < limits::IMAP_KNOWN_BYTES + limits::VALUE_BYTES);
            if some.is_empty() {
                return uids;
            }
            uids.extend(some.iter().map(|listed| listed.uid));
        }
    };
    assert_eq!(listed("INBOX"), left);
    let (selected, _) = world.select("INBOX");
    now(world.mail.create(ALICE, &name("Away"), None, NOW)).unwrap();
    let copied = now(world.mail.copy(&selected, &left, &name("Away"), NOW)).unwrap();
    assert!(copied.pairs.iter().map(|(old, _)| *old).eq(left.iter().copied()));
    assert_eq!(listed("Away"), (1..=left.len() as u32).collect::<Vec<_>>());
    now(world.mail.delete(ALICE, &name("Away"))).unwrap();
    assert!(world.read_bytes.load(Ordering::Relaxed) <= READ);
    world.check();
}
