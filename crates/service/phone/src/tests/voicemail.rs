//! Leaving a message, and hearing one's own.

use super::office::BOB as BOBS_ACCOUNT;
use super::world::{ALICE, BOB, World, config, seconds};
use crate::{VoiceMessageId, VoiceMessages};
use ringpost_media::{Event as MediaEvent, LegId, RecordOutcome};
use ringpost_sip::Status;
use ringpost_sip::ua::{Content, SessionId};
use std::time::Duration;

/// Alice, and Bob whose phone refuses: she hears his greeting, then the tone, and speaks.
fn recording() -> (World, SessionId, LegId) {
    let mut w = World::new();
    let (alice, bob, _) = w.ring(ALICE, BOB);
    let now = w.now;
    w.peers[BOB]
        .ua
        .reject(now, bob, Status::BUSY_HERE, Content::none())
        .unwrap();
    w.run_ms(300);
    assert_eq!(w.count_to(ALICE, "200 INVITE"), 1);
    let leg = w.legs()[0];
    assert!(w.media.is_playing(leg), "the greeting");
    run_until_recording(&mut w, leg);
    (w, alice, leg)
}

fn run_until_recording(w: &mut World, leg: LegId) {
    for _ in 0..60 {
        if w.media.is_recording(leg) {
            return;
        }
        w.run_ms(1_000);
    }
    panic!("the recording begins");
}

fn speak(w: &mut World, leg: LegId, s: u64) {
    let now = w.now;
    w.media.speak(now, leg, seconds(s));
    w.run_ms(50);
}

fn press(w: &mut World, leg: LegId, digit: char) {
    let now = w.now;
    w.media.tell(now, MediaEvent::Digit { leg, digit });
    w.run_ms(50);
}

#[test]
fn a_message_is_left_and_delivered_before_goodbye() {
    let (mut w, alice, leg) = recording();
    speak(&mut w, leg, 5);
    w.hold_if = Box::new(|q| matches!(q, crate::Question::Deliver(_)));
    press(&mut w, leg, '#');
    assert!(!w.media.is_playing(leg), "goodbye means stored");
    w.answer_held();
    w.run_ms(50);
    assert!(w.media.is_playing(leg));
    let message = &w.office.delivered[0];
    assert_eq!(message.account, BOBS_ACCOUNT);
    assert_eq!(&*message.caller, "alice@example.org");
    assert_eq!(message.length, seconds(5));
    assert_eq!(message.sound.len(), 40_000);
    w.run_s(10);
    assert_eq!(w.count_to(ALICE, "BYE"), 1, "we hang up behind goodbye");
    let _ = alice;
    w.assert_over();
}

#[test]
fn a_caller_who_hangs_up_has_left_what_was_said() {
    let (mut w, alice, leg) = recording();
    speak(&mut w, leg, 5);
    let now = w.now;
    w.peers[ALICE].hang_up(now, alice);
    w.run_ms(300);
    assert_eq!(w.office.delivered.len(), 1);
    assert_eq!(w.office.delivered[0].length, seconds(5));
    w.assert_over();
}

#[test]
fn a_caller_who_hangs_up_during_the_greeting_leaves_nothing() {
    let mut w = World::of(&["alice"]);
    let now = w.now;
    let alice = w.peers[ALICE].call(now, "bob");
    w.run_ms(300);
    assert!(w.media.is_playing(w.legs()[0]));
    let now = w.now;
    w.peers[ALICE].hang_up(now, alice);
    w.assert_over();
    assert!(w.office.delivered.is_empty());
}

#[test]
fn a_caller_who_gives_up_before_the_greeting_is_known_leaves_nothing() {
    let mut w = World::of(&["alice"]);
    w.hold_if = Box::new(|q| matches!(q, crate::Question::Greeting { .. }));
    let now = w.now;
    let alice = w.peers[ALICE].call(now, "bob");
    w.run_ms(300);
    let now = w.now;
    w.peers[ALICE].hang_up(now, alice);
    w.run_ms(300);
    assert_eq!(w.count_to(ALICE, "487 INVITE"), 1);
    w.answer_held();
    w.assert_over();
}

#[test]
fn no_message_is_asked_for_that_could_not_be_kept() {
    let mut w = World::of(&["alice"]);
    w.office.has_room = false;
    let now = w.now;
    w.peers[ALICE].call(now, "bob");
    w.run_ms(300);
    assert_eq!(w.count_to(ALICE, "503 INVITE"), 1);
    assert_eq!(w.count_to(ALICE, "200 INVITE"), 0);
    let longest = config().voicemail_max;
    let asked =
        |q: &crate::Question| matches!(q, crate::Question::Greeting { longest: l, .. } if *l == longest);
    assert_eq!(w.office.count(asked), 1);
    w.assert_over();
}

#[test]
fn a_caller_who_hangs_up_while_the_message_is_stored_ends_the_call_when_it_is() {
    for works in [true, false] {
        let (mut w, alice, leg) = recording();
        w.office.works = works;
        speak(&mut w, leg, 5);
        w.hold_if = Box::new(|q| matches!(q, crate::Question::Deliver(_)));
        press(&mut w, leg, '#');
        let now = w.now;
        w.peers[ALICE].hang_up(now, alice);
        w.run_ms(300);
        assert_eq!(w.phone.calls(), 1);
        w.answer_held();
        w.run_ms(100);
        assert_eq!(w.phone.calls(), 0);
        assert_eq!(w.office.delivered.len(), usize::from(works));
        w.assert_over();
    }
}

#[test]
fn silence_and_the_greatest_length_end_a_message() {
    let (mut w, _, leg) = recording();
    speak(&mut w, leg, 5);
    let now = w.now;
    w.media.end_record(now, leg, RecordOutcome::Silence, seconds(2));
    w.run_ms(100);
    assert_eq!(w.office.delivered[0].length, seconds(3));
    w.run_s(20);
    w.assert_over();

    let (mut w, _, leg) = recording();
    let max = config().voicemail_max;
    speak(&mut w, leg, max.as_secs() + 5);
    assert_eq!(w.office.delivered.len(), 1);
    w.run_s(20);
    w.assert_over();
}

#[test]
fn closing_delivers_what_is_being_said() {
    let (mut w, _, leg) = recording();
    speak(&mut w, leg, 5);
    let (now, calendar) = (w.now, w.calendar());
    w.phone.close(now, calendar);
    w.run_ms(300);
    assert_eq!(w.count_to(ALICE, "BYE"), 1);
    assert_eq!(w.office.delivered.len(), 1);
    w.assert_over();
}

#[test]
fn a_phone_that_vanishes_has_left_what_was_said() {
    let (mut w, _, leg) = recording();
    speak(&mut w, leg, 5);
    let now = w.now;
    w.media.tell(now, MediaEvent::MediaTimeout { leg });
    w.run_ms(300);
    assert_eq!(w.office.delivered.len(), 1);
    w.assert_over();
}

#[test]
fn a_callee_who_does_not_answer_is_recorded_for() {
    let mut w = World::new();
    let (alice, ..) = w.ring(ALICE, BOB);
    w.run_until(w.now + config().no_answer + seconds(1));
    assert_eq!(w.count_to(BOB, "CANCEL"), 1);
    let leg = w.legs()[0];
    run_until_recording(&mut w, leg);
    speak(&mut w, leg, 3);
    let now = w.now;
    w.peers[ALICE].hang_up(now, alice);
    w.run_ms(300);
    assert_eq!(w.office.delivered.len(), 1);
    w.assert_over();
}

// A delayed offer: nobody is spoken to before they have said where they listen.
#[test]
fn the_greeting_waits_for_the_callers_description() {
    let mut w = World::of(&["alice"]);
    let request = w.peers[ALICE].request(ringpost_sip::Method::Invite, "bob");
    let now = w.now;
    let alice = w.peers[ALICE].ua.invite(now, request).unwrap();
    w.run_ms(300);
    let offer = w.last_to(ALICE, "200 INVITE");
    let leg = w.legs()[0];
    assert!(!w.media.is_playing(leg));
    let answer = w.peers[ALICE].describe(offer.body());
    let now = w.now;
    w.peers[ALICE].ua.ack(now, alice, Content::sdp(answer)).unwrap();
    w.run_ms(100);
    assert!(w.media.is_playing(leg));
    assert!(w.media.legs[&leg].media.rtp.is_some());
    let now = w.now;
    w.peers[ALICE].hang_up(now, alice);
    w.assert_over();
}

#[test]
fn a_caller_may_hold_while_it_leaves_a_message() {
    let (mut w, alice, leg) = recording();
    speak(&mut w, leg, 5);
    for will in [
        ringpost_sdp::Direction::SendOnly,
        ringpost_sdp::Direction::SendRecv,
    ] {
        let now = w.now;
        w.peers[ALICE].change(now, alice, will);
        w.run_ms(300);
        assert_eq!(w.media.legs[&leg].media.direction, will.reversed());
    }
    assert_eq!(w.count_to(ALICE, "200 INVITE"), 3);
    let now = w.now;
    w.peers[ALICE].hang_up(now, alice);
    w.run_ms(300);
    assert_eq!(w.office.delivered.len(), 1);
    w.assert_over();
}

// The menu.

fn id(uid: u32) -> VoiceMessageId {
    VoiceMessageId { mailbox: 1, uid }
}

/// Alice hears her two new messages and an old one.
fn menu() -> (World, SessionId, LegId) {
    let mut w = World::of(&["alice"]);
    w.office.messages = VoiceMessages {
        new: vec![id(4), id(5)],
        old: vec![id(1)],
    };
    let now = w.now;
    let alice = w.peers[ALICE].call(now, "*97");
    w.run_ms(300);
    let leg = w.legs()[0];
    assert!(w.media.is_playing(leg));
    (w, alice, leg)
}

#[test]
fn the_menu_plays_marks_and_deletes_in_the_callers_mailbox() {
    let (mut w, _, leg) = menu();
    press(&mut w, leg, '1');
    w.run_ms(2_500);
    assert_eq!(w.office.heard, [id(4)], "played to its end");
    press(&mut w, leg, '1');
    press(&mut w, leg, '3');
    assert_eq!(w.office.heard, [id(4), id(5)], "and passed over");
    assert_eq!(w.office.deleted, [id(5)]);
    press(&mut w, leg, '4');
    w.run_ms(2_500);
    assert_eq!(w.office.heard.len(), 2, "an old one is not marked");
    press(&mut w, leg, '#');
    w.run_s(10);
    assert_eq!(w.count_to(ALICE, "BYE"), 1);
    w.assert_over();
}

#[test]
fn a_line_that_breaks_in_the_middle_leaves_the_message_new() {
    let (mut w, alice, leg) = menu();
    press(&mut w, leg, '1');
    w.run_ms(500);
    let now = w.now;
    w.peers[ALICE].hang_up(now, alice);
    w.assert_over();
    assert!(w.office.heard.is_empty());
}

#[test]
fn a_listener_who_hangs_up_before_an_answer_leaves_nothing_behind() {
    type Held = fn(&crate::Question) -> bool;
    let held: [Held; 2] = [
        |q| matches!(q, crate::Question::Sound { .. }),
        |q| matches!(q, crate::Question::Messages { .. }),
    ];
    for hold_if in held {
        let mut w = World::of(&["alice"]);
        w.office.messages.new = vec![id(4)];
        w.hold_if = Box::new(hold_if);
        let now = w.now;
        let alice = w.peers[ALICE].call(now, "*97");
        w.run_ms(300);
        let leg = w.legs()[0];
        press(&mut w, leg, '1');
        let now = w.now;
        w.peers[ALICE].hang_up(now, alice);
        w.run_ms(300);
        w.answer_held();
        w.assert_over();
    }
}

#[test]
fn a_sound_that_comes_too_late_is_not_played() {
    let (mut w, alice, leg) = menu();
    w.hold_if = Box::new(|q| matches!(q, crate::Question::Sound { .. }));
    press(&mut w, leg, '1');
    press(&mut w, leg, '0');
    while w.media.is_playing(leg) {
        w.run_ms(100);
    }
    w.answer_held();
    w.run_ms(100);
    assert!(!w.media.is_playing(leg), "the listener has gone on");
    assert!(w.office.heard.is_empty());
    let now = w.now;
    w.peers[ALICE].hang_up(now, alice);
    w.assert_over();
}

#[test]
fn keys_may_come_as_info() {
    let (mut w, alice, _) = menu();
    let content = Content::none().with_body("application/dtmf-relay", "Signal=1\r\nDuration=160\r\n");
    let now = w.now;
    let info = ringpost_sip::Method::Info;
    w.peers[ALICE]
        .ua
        .request_within(now, alice, info, content)
        .unwrap();
    w.run_ms(200);
    assert_eq!(w.count_to(ALICE, "200 INFO"), 1);
    assert_eq!(w.office.count(|q| matches!(q, crate::Question::Sound { .. })), 1);
    let now = w.now;
    w.peers[ALICE].hang_up(now, alice);
    w.assert_over();
}

#[test]
fn a_mailbox_that_cannot_be_read_is_said_to_be_and_the_call_ends() {
    let mut w = World::of(&["alice"]);
    w.office.works = false;
    let now = w.now;
    w.peers[ALICE].call(now, "*97");
    w.run_s(20);
    assert_eq!(w.count_to(ALICE, "BYE"), 1);
    w.assert_over();
}

#[test]
fn a_silent_listener_is_left_in_the_end() {
    let (mut w, _, _) = menu();
    w.run_s(150);
    assert_eq!(w.count_to(ALICE, "BYE"), 1);
    w.assert_over();
}

#[test]
fn an_answer_of_the_wrong_kind_counts_as_no() {
    let mut w = World::of(&["alice"]);
    w.hold_if = Box::new(|_| true);
    let now = w.now;
    w.peers[ALICE].call(now, "bob");
    for _ in 0..10 {
        w.run_ms(300);
        w.answer_wrongly();
    }
    w.run_ms(Duration::from_secs(1).as_millis() as u64);
    w.assert_over();
}
