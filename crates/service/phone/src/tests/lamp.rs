//! The message-waiting lamp: subscribed to, and unasked.

use super::office::{ALICE as ALICES, BOB as BOBS};
use super::world::{ALICE, BOB, World, config};
use crate::{LampCounts, Question};
use ringpost_base::limits;
use ringpost_sip::ua::{self, Content, SubscriptionId};
use ringpost_sip::{HeaderName, Method, Status, Transport};

fn counts(new: u32, old: u32) -> LampCounts {
    LampCounts { new, old }
}

fn subscribe(w: &mut World, who: usize, to: &str, expires_s: u32) -> SubscriptionId {
    let mut request = w.peers[who].request(Method::Subscribe, to);
    request.content = Content::none()
        .with("Event", "message-summary")
        .with("Expires", expires_s);
    let now = w.now;
    let subscription = w.peers[who].ua.subscribe(now, request).unwrap();
    w.run_ms(500);
    subscription
}

/// What each NOTIFY to a phone said, and in what state.
fn told(w: &World, who: usize) -> Vec<(String, String)> {
    let notified = w
        .sent
        .iter()
        .filter(|s| s.to == Some(who) && s.what() == "NOTIFY");
    notified
        .map(|sent| {
            let body = String::from_utf8_lossy(sent.message.body()).into_owned();
            let said = body.lines().find(|line| line.starts_with("Voice-Message: "));
            let state = sent
                .message
                .header(HeaderName::SubscriptionState)
                .unwrap_or_default();
            let state = state.split(';').next().unwrap_or_default();
            (
                said.unwrap_or_default().replace("Voice-Message: ", ""),
                state.to_owned(),
            )
        })
        .collect()
}

fn show(w: &mut World, account: ringpost_store::AccountId, now: LampCounts) {
    w.office.counts.insert(account, now);
    let (at, calendar) = (w.now, w.calendar());
    w.phone.handle_lamp(at, calendar, account, now);
    w.run_ms(300);
}

fn line(said: &str, state: &str) -> (String, String) {
    (said.to_owned(), state.to_owned())
}

#[test]
fn a_phone_that_registers_is_told_and_told_again_only_of_news() {
    let mut w = World::with(1, config(), Transport::Udp, &["bob"]);
    w.office.counts.insert(BOBS, counts(2, 1));
    let now = w.now;
    w.peers[0].register(now, 600);
    w.run_ms(500);
    assert_eq!(told(&w, 0), [line("2/1 (0/0)", "active")]);
    let now = w.now;
    w.peers[0].register(now, 600);
    w.run_ms(500);
    assert_eq!(told(&w, 0).len(), 1, "a refresh is no news");
    show(&mut w, BOBS, counts(1, 2));
    show(&mut w, BOBS, counts(1, 2));
    assert_eq!(told(&w, 0)[1..], [line("1/2 (0/0)", "active")]);
    w.assert_over();
}

#[test]
fn a_phone_that_could_not_be_told_is_told_when_it_registers_again() {
    let mut w = World::of(&["bob"]);
    w.drop_if = Box::new(|sent| sent.what() == "NOTIFY");
    show(&mut w, BOBS, counts(1, 0));
    w.run_s(40);
    w.drop_if = Box::new(|_| false);
    w.forget();
    let now = w.now;
    w.peers[0].register(now, 600);
    w.run_ms(500);
    assert_eq!(told(&w, 0), [line("1/0 (0/0)", "active")]);
    w.assert_over();
}

#[test]
fn a_subscription_is_told_at_once_and_of_all_news() {
    let mut w = World::new();
    w.office.counts.insert(ALICES, counts(3, 0));
    let (now, calendar) = (w.now, w.calendar());
    w.phone.handle_lamp(now, calendar, ALICES, counts(3, 0));
    w.run_ms(300);
    w.forget();
    subscribe(&mut w, ALICE, "alice", 600);
    assert_eq!(told(&w, ALICE), [line("3/0 (0/0)", "active")]);
    assert_eq!(
        w.last_to(ALICE, "200 SUBSCRIBE").header(HeaderName::Expires),
        Some("600")
    );
    show(&mut w, ALICES, counts(2, 1));
    assert_eq!(
        told(&w, ALICE)[1..],
        [line("2/1 (0/0)", "active")],
        "once, not unasked as well"
    );
    assert_eq!(told(&w, BOB), []);
}

#[test]
fn a_phone_beside_one_that_subscribed_sees_the_lamp_too() {
    let mut w = World::of(&["alice", "alice"]);
    subscribe(&mut w, 0, "alice", 600);
    w.forget();
    show(&mut w, ALICES, counts(1, 0));
    assert_eq!(told(&w, 0), [line("1/0 (0/0)", "active")]);
    assert_eq!(told(&w, 1), [line("1/0 (0/0)", "active")]);
}

#[test]
fn a_subscription_ends_when_its_phone_says_so_or_says_nothing() {
    let mut w = World::new();
    let subscription = subscribe(&mut w, ALICE, "alice", 600);
    w.forget();
    let now = w.now;
    w.peers[ALICE].ua.unsubscribe(now, subscription).unwrap();
    w.run_ms(500);
    assert_eq!(told(&w, ALICE), [line("0/0 (0/0)", "terminated")]);
    assert_eq!(w.phone.subscriptions(), 0);
    subscribe(&mut w, ALICE, "alice", 600);
    w.drop_if = Box::new(|sent| sent.from == Some(ALICE));
    w.run_s(700);
    assert_eq!(w.phone.subscriptions(), 0);
    w.drop_if = Box::new(|_| false);
    w.run_s(100);
    w.assert_over();
}

#[test]
fn a_subscription_is_renewed_for_as_long_as_its_phone_wants() {
    let mut w = World::new();
    let subscription = subscribe(&mut w, ALICE, "alice", 100);
    w.run_s(400);
    assert_eq!(w.phone.subscriptions(), 1);
    let now = w.now;
    w.peers[ALICE].ua.unsubscribe(now, subscription).unwrap();
    w.assert_over();
}

// Guards pitfall SIP 10: dead subscriptions are forgotten.
#[test]
fn a_phone_that_knows_nothing_of_its_subscription_loses_it() {
    let mut w = World::of(&["alice", "bob"]);
    subscribe(&mut w, ALICE, "alice", 600);
    w.peers[ALICE].is_raw = true;
    w.forget();
    show(&mut w, ALICES, counts(1, 0));
    let notify = w.heard(ALICE, Method::Notify);
    w.respond_raw(ALICE, &notify, Status::CALL_DOES_NOT_EXIST, "", b"");
    w.run_ms(100);
    assert_eq!(w.phone.subscriptions(), 0);
}

// RFC 6665 §4.4.3: an expiry of zero asks for the state, once.
#[test]
fn a_fetch_is_told_the_state_and_that_it_is_over() {
    for is_known in [false, true] {
        let mut w = World::with(1, config(), Transport::Udp, &["alice"]);
        w.office.counts.insert(ALICES, counts(4, 0));
        if is_known {
            w.register_all();
        }
        let mut request = w.peers[ALICE].request(Method::Subscribe, "alice");
        request.content = Content::none()
            .with("Event", "message-summary")
            .with("Expires", 0);
        let now = w.now;
        w.peers[ALICE].ua.subscribe(now, request).unwrap();
        w.run_ms(500);
        assert_eq!(told(&w, ALICE), [line("4/0 (0/0)", "terminated")]);
        assert_eq!(w.phone.subscriptions(), 0);
        w.run_s(100);
        w.assert_over();
    }
}

#[test]
fn only_ones_own_lamp_can_be_watched() {
    let mut w = World::new();
    for (to, status) in [("bob", 403), ("*97", 200), ("100", 200), ("alice", 200)] {
        w.forget();
        subscribe(&mut w, ALICE, to, 600);
        assert_eq!(w.count_to(ALICE, &format!("{status} SUBSCRIBE")), 1, "{to}");
    }
    let mut request = w.peers[ALICE].request(Method::Subscribe, "alice");
    request.content = Content::none().with("Event", "presence");
    let now = w.now;
    w.peers[ALICE].ua.subscribe(now, request).unwrap();
    w.run_ms(300);
    assert_eq!(
        w.last_to(ALICE, "489 SUBSCRIBE").header(HeaderName::AllowEvents),
        Some("message-summary")
    );
}

#[test]
fn subscriptions_of_one_account_are_bounded() {
    let mut w = World::new();
    for _ in 0..limits::SUBSCRIPTIONS_PER_ACCOUNT + 5 {
        subscribe(&mut w, ALICE, "alice", 600);
    }
    assert_eq!(w.phone.subscriptions(), limits::SUBSCRIPTIONS_PER_ACCOUNT);
}

#[test]
fn the_lamp_of_a_removed_account_goes_out_for_good() {
    let mut w = World::new();
    subscribe(&mut w, ALICE, "alice", 100);
    w.forget();
    w.remove_device(ALICE, true);
    w.run_ms(100);
    assert_eq!(w.phone.subscriptions(), 0);
    assert_eq!(told(&w, ALICE), [line("", "terminated")]);
    w.run_s(100);
    w.assert_over();
}

#[test]
fn the_subscription_of_a_removed_device_ends_at_once() {
    let mut w = World::of(&["alice", "alice"]);
    subscribe(&mut w, 0, "alice", 600);
    w.forget();
    w.remove_device(0, false);
    w.run_ms(100);
    let notify = w.last_to(0, "NOTIFY");
    let state = notify.header(HeaderName::SubscriptionState);
    assert_eq!(state, Some("terminated;reason=rejected"));
    assert_eq!(w.phone.subscriptions(), 0);
    w.run_s(100);
    w.assert_over();
}

#[test]
fn a_subscription_that_waits_for_the_counts_is_refused_when_its_device_goes() {
    let mut w = World::with(1, config(), Transport::Udp, &["alice"]);
    w.hold_if = Box::new(|q| matches!(q, Question::Lamp { .. }));
    subscribe(&mut w, ALICE, "alice", 600);
    w.remove_device(ALICE, false);
    w.answer_held();
    w.run_ms(300);
    assert_eq!(w.count_to(ALICE, "403 SUBSCRIBE"), 1);
    assert_eq!(w.phone.subscriptions(), 0);
    w.assert_over();
}

#[test]
fn a_lamp_that_nobody_sees_is_not_remembered() {
    let mut w = World::new();
    w.hold_if = Box::new(|q| matches!(q, Question::Lamp { .. }));
    let now = w.now;
    let contact = "<sip:alice@198.51.100.2:5099>";
    let request = w.peers[ALICE].registration(60, Some(contact));
    w.peers[ALICE].ua.request(now, request).unwrap();
    w.run_ms(300);
    w.remove_device(ALICE, true);
    w.answer_held();
    w.run_ms(300);
    w.assert_over();
    let subscribed = |e: &ua::Event| matches!(e, ua::Event::Subscribed { .. });
    assert!(!w.take(ALICE).iter().any(subscribed));
}
