//! What waits for other servers: promised, leased, tried again, told of, given up.

use super::world::{ALICE, BOB, NOW, World, name, now};
use crate::{
    Elsewhere, Envelope, Held, Hold, Keeper, Letter, MailError, Notice, Outgoing, QueueEntry, QueuedMessage,
    Recipient, Schedule,
};
use ringpost_base::UnixTime;
use ringpost_smtp::client::{Fate, Verdict};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3_600);
const RETURN_PATH: &str = "Return-Path: <alice@example.org>\r\n";

fn elsewhere(address: &str) -> Elsewhere {
    let (_, destination) = address.split_once('@').unwrap();
    Elsewhere::new(address, destination)
}

fn envelope(sender: &str, here: &[(&str, ringpost_store::AccountId)], there: &[&str]) -> Envelope {
    Envelope {
        junk: false,
        sender: sender.into(),
        recipients: here
            .iter()
            .map(|(address, account)| Recipient::new(*address, *account))
            .collect(),
        submitter: Some(ALICE),
        outgoing: Outgoing {
            recipients: there.iter().map(|to| elsewhere(to)).collect(),
            skip_bytes: RETURN_PATH.len() as u64,
            ..Outgoing::default()
        },
        ..Envelope::default()
    }
}

fn letter(world: &World) -> Letter {
    world.letter(&format!("{RETURN_PATH}Subject: away\r\n\r\nhello\r\n"))
}

/// A message of alice's for these, in a queue that was read.
fn queued(there: &[&str]) -> World {
    let world = World::new();
    now(world.mail.load_queue(false, NOW)).unwrap();
    let envelope = envelope("alice@example.org", &[], there);
    now(world.mail.spool(envelope, letter(&world), NOW)).unwrap();
    world
}

/// The one message that is due.
fn taken(world: &World, at: UnixTime) -> QueuedMessage {
    let work = world.mail.next_work(at, 4).expect("something is due");
    let [id] = work.ids[..] else { panic!("{work:?}") };
    world.mail.finish_work(&work.line, true, at);
    now(world.mail.lease(id, at)).unwrap().expect("it is there")
}

fn verdict(fate: Fate, status: &str, code: u16) -> Verdict {
    Verdict {
        fate,
        status: status.into(),
        code: Some(code),
        text: "so it is".into(),
    }
}

fn delivered() -> Verdict {
    verdict(Fate::Delivered, "2.0.0", 250)
}

fn deferred() -> Verdict {
    verdict(Fate::Deferred, "4.7.1", 451)
}

fn failed() -> Verdict {
    verdict(Fate::Failed, "5.1.1", 550)
}

/// Ends an attempt as the worker does.
fn conclude(world: &World, mut message: QueuedMessage, verdicts: &[Verdict], at: UnixTime) {
    let schedule = Schedule::default();
    now(world.mail.conclude(&mut message, verdicts, &schedule, at)).unwrap();
    if message.owes_notice() {
        now(world
            .mail
            .tell_sender(&mut message, Notice::Here(ALICE), "mx.example.org", &schedule, at))
        .unwrap();
    }
    world.mail.release(message);
}

fn notices(world: &World) -> Vec<String> {
    world.subjects("INBOX")
}

const BOUNCED: &str = "Your message could not be delivered";
const DELAYED: &str = "Your message is delayed";

#[test]
fn junk_that_is_forwarded_and_refused_is_junk_where_it_is_kept() {
    for has_room in [true, false] {
        let world = World::new();
        now(world.mail.load_queue(false, NOW)).unwrap();
        now(world.mail.create_defaults(ALICE, NOW)).unwrap();
        let keeper = Keeper {
            account: ALICE,
            address: "alice@example.org".into(),
        };
        let mut envelope = envelope("x@else.test", &[], &["x@there.test"]);
        envelope.junk = true;
        envelope.submitter = None;
        envelope.outgoing.recipients[0].keeper = Some(keeper);
        now(world.mail.spool(envelope, letter(&world), NOW)).unwrap();
        let quota = |messages| crate::Quota {
            bytes: None,
            messages,
        };
        world.mail.set_default_quota(quota((!has_room).then_some(0)));
        conclude(
            &world,
            taken(&world, NOW),
            &[verdict(Fate::Failed, "5.7.1", 550)],
            NOW,
        );
        world.check();
        world.mail.set_default_quota(quota(None));
        now(world.mail.deliver_due(NOW + HOUR, NOW + HOUR)).unwrap();
        let (inbox, junk) = (world.subjects("INBOX").len(), world.subjects("Junk").len());
        assert_eq!((inbox, junk), (0, 1), "room at once: {has_room}");
        assert_eq!(world.mail.queue_len(), 0);
        world.check();
    }
}

// Guards pitfall SMTP 3: once, for every accepted recipient, here and elsewhere.
#[test]
fn people_here_and_elsewhere_are_promised_in_one_commit() {
    let world = World::new();
    let there = ["x@one.test", "y@two.test", "z@one.test", "x@one.test"];
    let envelope = envelope("alice@example.org", &[("bob@example.org", BOB)], &there);
    now(world.mail.spool(envelope, letter(&world), NOW)).unwrap();
    world.check();
    // The power goes before anything else happens.
    let world = world.restarted();
    now(world.mail.load_queue(false, NOW)).unwrap();
    assert_eq!(world.mail.queue_len(), 2);
    assert_eq!(now(world.mail.deliver_due(NOW + HOUR, NOW + HOUR)).unwrap(), 1);
    assert_eq!(now(world.mail.status(BOB, &name("INBOX"))).unwrap().messages, 1);
    world.check();
    let entries = now(world.mail.queue_entries()).unwrap();
    let mut to: Vec<Vec<&str>> = entries
        .iter()
        .map(|e| e.record.recipients.iter().map(|r| r.address.as_str()).collect())
        .collect();
    to.sort();
    assert_eq!(to, [vec!["x@one.test", "z@one.test"], vec!["y@two.test"]]);
    for _ in 0..2 {
        let message = taken(&world, NOW);
        let all = vec![delivered(); message.waiting().count()];
        conclude(&world, message, &all, NOW);
    }
    assert_eq!(world.mail.queue_len(), 0);
    world.check();
    world.sweep();
    world.check();
    assert_eq!(notices(&world), [""; 0]);
}

#[test]
fn the_return_path_stays_here() {
    let world = queued(&["x@there.test"]);
    let message = taken(&world, NOW);
    let mut body = now(world.mail.queued_body(&message)).unwrap();
    let mut text = Vec::new();
    while let Some(chunk) = now(body.next()).unwrap() {
        text.extend_from_slice(&chunk);
    }
    assert_eq!(text, b"Subject: away\r\n\r\nhello\r\n");
    assert_eq!(message.size_bytes(), text.len() as u64);
}

// Guards pitfall SMTP 6: 4xx is tried again after a while that grows, for those who have it not.
#[test]
fn what_is_deferred_is_tried_again_ever_more_seldom() {
    let world = queued(&["x@there.test", "y@there.test"]);
    conclude(&world, taken(&world, NOW), &[delivered(), deferred()], NOW);
    let mut at = NOW;
    let mut pauses = Vec::new();
    for _ in 0..7 {
        assert_eq!(world.mail.next_work(at, 4), None);
        let next = world.mail.next_work_at(4).unwrap();
        pauses.push(next.since(at).as_secs() / 60);
        at = next;
        let message = taken(&world, at);
        let waiting: Vec<&str> = message.waiting().map(|r| r.address.as_str()).collect();
        assert_eq!(waiting, ["y@there.test"]);
        assert_eq!(message.waiting().next().unwrap().code, 451);
        conclude(&world, message, &[deferred()], at);
    }
    assert!(
        pauses.is_sorted() && pauses[0] >= 2 && pauses[6] <= 135,
        "{pauses:?}"
    );
    world.check();
}

// Guards pitfall SMTP 6: 5xx bounces once, over a crash between the refusal and the notice.
#[test]
fn what_is_refused_is_told_to_the_sender_once() {
    for crash in 0..3 {
        let mut world = queued(&["x@there.test", "y@there.test"]);
        let schedule = Schedule::default();
        let mut message = taken(&world, NOW);
        now(world
            .mail
            .conclude(&mut message, &[failed(), deferred()], &schedule, NOW))
        .unwrap();
        if crash == 1 {
            // The notice is there, and that it is was not written down.
            let told = message.clone();
            now(world.mail.tell_sender(
                &mut message,
                Notice::Here(ALICE),
                "mx.example.org",
                &schedule,
                NOW,
            ))
            .unwrap();
            let again = ringpost_store::keys::queued(message_due(&world), told.record().id);
            world.put(
                ringpost_store::Partition::queue_of(told.record().id),
                again,
                told.record(),
            );
        }
        if crash > 0 {
            world = world.restarted();
            now(world.mail.load_queue(false, NOW)).unwrap();
            let at = world.mail.next_work_at(4).unwrap();
            message = taken(&world, at);
            assert!(message.owes_notice());
        }
        now(world.mail.tell_sender(
            &mut message,
            Notice::Here(ALICE),
            "mx.example.org",
            &schedule,
            NOW,
        ))
        .unwrap();
        assert!(!message.owes_notice());
        world.mail.release(message);
        assert_eq!(notices(&world), [BOUNCED], "crash {crash}");
        assert_eq!(world.mail.queue_len(), 1, "the other still waits");
        world.check();
    }
}

/// What the one record in the queue is filed under.
fn message_due(world: &World) -> UnixTime {
    now(world.mail.queue_entries()).unwrap()[0].due
}

// Guards pitfall SMTP 6: a null sender is never bounced.
#[test]
fn a_null_sender_is_told_nothing() {
    let world = World::new();
    now(world.mail.load_queue(false, NOW)).unwrap();
    let envelope = envelope("", &[], &["x@there.test", "y@there.test"]);
    now(world.mail.spool(envelope, letter(&world), NOW)).unwrap();
    conclude(&world, taken(&world, NOW), &[failed(), deferred()], NOW);
    let late = NOW + 5 * HOUR;
    conclude(&world, taken(&world, late), &[deferred()], late);
    let old = NOW + 200 * HOUR;
    conclude(&world, taken(&world, old), &[deferred()], old);
    assert_eq!(notices(&world), [""; 0]);
    assert_eq!(world.mail.queue_len(), 0);
    world.check();
}

#[test]
fn a_sender_is_told_of_a_delay_once_and_at_last_that_it_was_given_up() {
    let world = queued(&["x@there.test"]);
    let mut at = NOW + 3 * HOUR;
    conclude(&world, taken(&world, at), &[deferred()], at);
    assert_eq!(notices(&world), [""; 0]);
    for _ in 0..3 {
        at = at + 4 * HOUR;
        conclude(&world, taken(&world, at), &[deferred()], at);
        assert_eq!(notices(&world), [DELAYED]);
    }
    at = NOW + 120 * HOUR;
    conclude(&world, taken(&world, at), &[deferred()], at);
    assert_eq!(notices(&world), [DELAYED, BOUNCED]);
    assert_eq!(world.mail.queue_len(), 0);
    world.check();
}

#[test]
fn what_a_dead_process_was_at_work_on_is_due_at_once_and_what_a_live_one_has_is_not() {
    let world = queued(&["x@there.test"]);
    let message = taken(&world, NOW);
    assert_eq!(world.mail.next_work(NOW + HOUR, 4), None);
    now(world.mail.load_queue(false, NOW)).unwrap();
    assert_eq!(world.mail.next_work(NOW + HOUR, 4), None, "our own lease");
    let after = world.restarted();
    now(after.mail.load_queue(false, NOW)).unwrap();
    let again = taken(&after, NOW);
    assert_eq!(again.record().id, message.record().id);
    conclude(&after, again, &[delivered()], NOW);
    after.check();
}

#[test]
fn an_administrator_has_a_message_tried_or_removed_unless_it_is_at_work() {
    let world = queued(&["x@there.test"]);
    let message = taken(&world, NOW);
    let id = message.record().id;
    assert_eq!(now(world.mail.retry_queued(id, NOW)), Err(MailError::Busy));
    assert_eq!(now(world.mail.remove_queued(id)), Err(MailError::Busy));
    conclude(&world, message, &[deferred()], NOW);
    assert_eq!(world.mail.next_work(NOW, 4), None);
    assert_eq!(now(world.mail.retry_queued(id, NOW)), Ok(true));
    conclude(&world, taken(&world, NOW), &[deferred()], NOW);
    assert_eq!(now(world.mail.remove_queued(id)), Ok(true));
    assert_eq!(now(world.mail.remove_queued(id)), Ok(false));
    assert_eq!(now(world.mail.retry_queued(id, NOW)), Ok(false));
    assert_eq!((world.mail.queue_len(), notices(&world).len()), (0, 0));
    world.check();
    // Without a server, on the store alone.
    let world = queued(&["x@there.test"]).restarted();
    let id = now(world.mail.queue_entries()).unwrap()[0].record.id;
    assert_eq!(now(world.mail.retry_queued(id, NOW + HOUR)), Ok(true));
    assert_eq!(now(world.mail.queue_entry(id)).unwrap().unwrap().due, NOW + HOUR);
    assert_eq!(now(world.mail.remove_queued(id)), Ok(true));
    world.check();
}

#[test]
fn what_is_held_waits_over_a_restart_until_it_is_released() {
    let world = queued(&["x@one.test", "y@two.test"]);
    let entries = now(world.mail.queue_entries()).unwrap();
    let id = entries.iter().find(|e| e.record.destination == "one.test");
    let id = id.unwrap().record.id;
    assert!(now(world.mail.hold(Hold::Message(id))).unwrap());
    assert!(!now(world.mail.hold(Hold::Message(id ^ 1 << 20))).unwrap());
    let two = world.mail.next_work(NOW, 4).unwrap();
    assert_eq!(two.line, "two.test");
    assert_eq!(world.mail.next_work(NOW + HOUR, 4), None);
    let world = world.restarted();
    now(world.mail.load_queue(false, NOW)).unwrap();
    assert!(now(world.mail.retry_queued(id, NOW)).unwrap());
    assert_eq!(world.mail.next_work(NOW, 4).unwrap().line, "two.test");
    assert_eq!(world.mail.next_work(NOW, 4), None, "held all the same");
    let entry = now(world.mail.queue_entry(id)).unwrap().unwrap();
    assert_eq!(entry.held, Some(Held::Itself));
    assert!(now(world.mail.release_hold(Hold::Message(id))).unwrap());
    assert!(!now(world.mail.release_hold(Hold::Message(id))).unwrap(), "once");
    assert_eq!(world.mail.next_work(NOW, 4).unwrap().ids, [id]);
    world.check();
}

#[test]
fn a_rule_holds_what_comes_later_too() {
    for (rule, held) in [
        (Hold::Destination("one.test".into()), Held::Destination),
        (Hold::Account(ALICE), Held::Account),
        (Hold::All, Held::All),
    ] {
        let world = queued(&["x@one.test"]);
        now(world.mail.hold(rule.clone())).unwrap();
        let send = |world: &World, to: &str, submitter| {
            let mut envelope = envelope("alice@example.org", &[], &[to]);
            envelope.submitter = submitter;
            now(world.mail.spool(envelope, letter(world), NOW)).unwrap();
        };
        send(&world, "y@one.test", Some(ALICE));
        let world = world.restarted();
        now(world.mail.load_queue(false, NOW)).unwrap();
        send(&world, "z@one.test", Some(ALICE));
        assert_eq!(world.mail.next_work(NOW, 4), None, "{rule:?}");
        assert_eq!(world.mail.queue_len(), 3);
        let entries = now(world.mail.queue_entries()).unwrap();
        assert!(entries.iter().all(|e| e.held == Some(held)), "{rule:?}");
        // Another's, to another.
        send(&world, "x@two.test", Some(BOB));
        let other = world.mail.next_work(NOW, 4).map(|work| work.line);
        assert_eq!(other.is_some(), rule != Hold::All, "{rule:?} {other:?}");
        assert!(now(world.mail.release_hold(rule.clone())).unwrap());
        assert!(!now(world.mail.release_hold(rule.clone())).unwrap());
        let work = world.mail.next_work(NOW, 4).unwrap();
        assert_eq!((work.line.as_str(), work.ids.len()), ("one.test", 3), "{rule:?}");
        world.check();
    }
}

#[test]
fn the_end_of_the_hold_on_everything_ends_no_other() {
    let one = || Hold::Destination("one.test".into());
    let world = queued(&["x@one.test", "x@two.test"]);
    let entries = now(world.mail.queue_entries()).unwrap();
    let two = entries
        .iter()
        .find(|e| e.record.destination == "two.test")
        .unwrap();
    for hold in [one(), Hold::Message(two.record.id), Hold::All] {
        assert!(now(world.mail.hold(hold)).unwrap());
    }
    assert!(now(world.mail.release_hold(Hold::All)).unwrap());
    let held = |entries: Vec<QueueEntry>| entries.iter().map(|e| e.held).collect::<Vec<_>>();
    let expected = [Some(Held::Destination), Some(Held::Itself)];
    assert_eq!(held(now(world.mail.queue_entries()).unwrap()), expected);
    assert!(!now(world.mail.release_hold(Hold::All)).unwrap());
    assert!(now(world.mail.release_hold(one())).unwrap());
    let work = world.mail.next_work(NOW, 4).unwrap();
    assert_eq!((work.line.as_str(), work.ids.len()), ("one.test", 1));
    assert_eq!(world.mail.next_work(NOW, 4), None);
    world.check();
}

#[test]
fn what_is_held_while_it_waits_its_turn_on_a_connection_is_not_begun_with() {
    let world = queued(&["x@one.test"]);
    let work = world.mail.next_work(NOW, 4).unwrap();
    now(world.mail.hold(Hold::Destination("one.test".into()))).unwrap();
    assert!(now(world.mail.lease(work.ids[0], NOW)).unwrap().is_none());
    world.mail.finish_work(&work.line, true, NOW);
    assert_eq!(world.mail.next_work(NOW + HOUR, 4), None);
    assert!(now(world.mail.release_hold(Hold::Destination("one.test".into()))).unwrap());
    let message = taken(&world, NOW);
    // Held in the middle of it: it is sent to its end.
    now(world.mail.hold(Hold::All)).unwrap();
    conclude(&world, message, &[deferred()], NOW);
    assert_eq!(world.mail.next_work(NOW + HOUR, 4), None);
    world.check();
}

/// Signs with a count of what it was shown.
struct Counts;

impl crate::Signer for Counts {
    fn begin(&self, _: UnixTime) -> Box<dyn crate::Signing> {
        Box::new(Shown(Vec::new()))
    }
}

struct Shown(Vec<u8>);

impl crate::Signing for Shown {
    fn write(&mut self, chunk: &[u8]) {
        self.0.extend_from_slice(chunk);
    }

    fn finish(self: Box<Self>) -> futures_util::future::BoxFuture<'static, String> {
        let text = String::from_utf8(self.0).unwrap();
        let first = text.lines().next().unwrap_or_default().to_owned();
        Box::pin(async move { format!("X-Signed: {first}, {} bytes\r\n", text.len()) })
    }
}

#[test]
fn what_our_people_send_is_signed_and_what_is_passed_on_is_not() {
    for (submitter, signed) in [(Some(ALICE), true), (None, false)] {
        let world = World::new();
        world.mail.set_signer(std::sync::Arc::new(Counts));
        now(world.mail.load_queue(false, NOW)).unwrap();
        let mut envelope = envelope("alice@example.org", &[], &["x@there.test"]);
        envelope.submitter = submitter;
        now(world.mail.spool(envelope, letter(&world), NOW)).unwrap();
        let work = world.mail.next_work(NOW, 1).unwrap();
        let message = now(world.mail.lease(work.ids[0], NOW)).unwrap().unwrap();
        let mut body = now(world.mail.queued_body(&message)).unwrap();
        let mut sent = String::new();
        while let Some(chunk) = now(body.next()).unwrap() {
            sent += std::str::from_utf8(&chunk).unwrap();
        }
        let plain = "Subject: away\r\n\r\nhello\r\n";
        let head = format!("X-Signed: Subject: away, {} bytes\r\n", plain.len());
        let expected = if signed { head + plain } else { plain.to_owned() };
        assert_eq!((&sent, message.size_bytes()), (&expected, expected.len() as u64));
    }
}

#[test]
fn a_notice_that_goes_to_another_server_is_signed() {
    let world = queued(&["x@there.test"]);
    world.mail.set_signer(std::sync::Arc::new(Counts));
    let schedule = Schedule::default();
    let mut message = taken(&world, NOW);
    now(world.mail.conclude(&mut message, &[failed()], &schedule, NOW)).unwrap();
    let back = Notice::There(elsewhere("carol@else.test"));
    now(world
        .mail
        .tell_sender(&mut message, back, "mx.example.org", &schedule, NOW))
    .unwrap();
    world.mail.release(message);
    let notice = taken(&world, NOW);
    let mut body = now(world.mail.queued_body(&notice)).unwrap();
    let first = now(body.next()).unwrap().unwrap();
    // What is signed is what leaves: the Return-Path stays here.
    assert!(
        first.starts_with(b"X-Signed: From: Mail delivery"),
        "{}",
        String::from_utf8_lossy(&first)
    );
    world.check();
}
