//! Dialling a mount.

use super::world::{ALICE, World};
use crate::{DialledMount, MountCaller, Question};
use ringpost_media::LegId;
use ringpost_sip::ua::SessionId;
use ringpost_sip::{HeaderName, Status};

/// Alice dials a mount that is live, and hears it.
fn hearing() -> (World, SessionId, LegId) {
    let mut w = World::new();
    w.office
        .mounts
        .insert("alice/door", DialledMount::Live("alice/door".into()));
    w.hold_if = Box::new(|question| matches!(question, Question::Hear { .. }));
    let now = w.now;
    let call = w.peers[ALICE].call(now, "alice/door");
    w.run_ms(300);
    assert_eq!(w.count_to(ALICE, "200 INVITE"), 1);
    let leg = w.legs()[0];
    (w, call, leg)
}

#[test]
fn a_mount_is_heard_until_it_is_no_more() {
    let (mut w, _, leg) = hearing();
    let heard = w.office.asked.iter().find_map(|question| match question {
        Question::Mount { user, domain, caller } => Some((user.clone(), domain.clone(), caller.clone())),
        _ => None,
    });
    let person = w.office.people[0].clone();
    let device = "alice".into();
    assert_eq!(
        heard,
        Some((
            "alice/door".into(),
            "example.org".into(),
            Some(MountCaller { person, device })
        ))
    );
    w.run_s(60);
    assert_eq!((w.legs(), w.count_to(ALICE, "BYE")), (vec![leg], 0));
    w.answer_held();
    w.run_ms(200);
    assert_eq!(w.count_to(ALICE, "BYE"), 1);
    w.assert_over();
}

#[test]
fn who_hangs_up_hears_no_more_of_it() {
    let (mut w, call, _) = hearing();
    let now = w.now;
    w.peers[ALICE].hang_up(now, call);
    w.run_ms(200);
    assert!(w.legs().is_empty());
    // The node has ended it with the leg, and says so.
    w.answer_held();
    assert_eq!(w.count_to(ALICE, "BYE"), 0);
    w.assert_over();
}

#[test]
fn who_gives_up_while_a_mount_is_awaited_is_answered_and_it_is_looked_for_no_longer() {
    let mut w = World::new();
    w.hold_if = Box::new(|question| matches!(question, Question::Mount { .. }));
    let now = w.now;
    let call = w.peers[ALICE].call(now, "alice/door");
    w.run_s(2);
    assert_eq!((w.held.len(), w.count_to(ALICE, "100 INVITE")), (1, 1));
    let now = w.now;
    w.peers[ALICE].hang_up(now, call);
    w.run_ms(200);
    assert_eq!(
        (w.count_to(ALICE, "200 CANCEL"), w.count_to(ALICE, "487 INVITE")),
        (1, 1)
    );
    assert!(w.held.is_empty(), "nobody waits for it: {:?}", w.held);
    assert_eq!(w.phone.calls(), 0);
    w.assert_over();
}

#[test]
fn what_cannot_be_heard_is_refused_with_why() {
    let undecodable = DialledMount::Undecodable(vec!["H264".into(), "odd\"one".into()]);
    for (mount, status) in [
        (DialledMount::Unknown, Status::NOT_FOUND),
        (DialledMount::Forbidden, Status::FORBIDDEN),
        (DialledMount::NotPulled, Status::TEMPORARILY_UNAVAILABLE),
        (DialledMount::NotLive, Status::TEMPORARILY_UNAVAILABLE),
        (undecodable, Status::NOT_ACCEPTABLE_HERE),
        (DialledMount::Unavailable, Status::SERVICE_UNAVAILABLE),
    ] {
        let mut w = World::new();
        w.office.mounts.insert("door", mount);
        let now = w.now;
        w.peers[ALICE].call(now, "door");
        w.run_ms(300);
        assert_eq!(w.refusal(ALICE), status);
        if status == Status::NOT_ACCEPTABLE_HERE {
            let refusal = w.last_to(ALICE, "488 INVITE");
            let text = String::from_utf8_lossy(refusal.bytes()).into_owned();
            assert!(
                text.contains(
                    "Warning: 305 ringpost \"no sound that a telephone can be given, only H264, oddone\""
                ),
                "{text}"
            );
        }
        w.assert_over();
    }
}

#[test]
fn who_speaks_no_g711_hears_a_mount_in_what_it_has() {
    for (formats, name) in [("96", "opus"), ("9", "G722"), ("18 9", "G722")] {
        let mut w = World::new();
        w.office
            .mounts
            .insert("door", DialledMount::Live("alice/door".into()));
        w.hold_if = Box::new(|question| matches!(question, Question::Hear { .. }));
        w.peers[ALICE].formats = formats;
        let now = w.now;
        w.peers[ALICE].call(now, "door");
        w.run_ms(300);
        assert_eq!(w.count_to(ALICE, "200 INVITE"), 1);
        let spoken: Vec<_> = w.media.legs.values().map(|leg| leg.codecs()).collect();
        assert_eq!(spoken, [[name]]);
    }
}

#[test]
fn who_speaks_nothing_of_ours_is_told_what_a_mount_is_heard_in() {
    let mut w = World::new();
    w.office
        .mounts
        .insert("door", DialledMount::Live("alice/door".into()));
    w.peers[ALICE].formats = "18";
    let now = w.now;
    w.peers[ALICE].call(now, "door");
    w.run_ms(300);
    assert_eq!(w.refusal(ALICE), Status::NOT_ACCEPTABLE_HERE);
    let refusal = w.last_to(ALICE, "488 INVITE");
    let warning = refusal.header(HeaderName::Warning);
    let expected = "305 ringpost \"PCMU, PCMA, G722 or opus was expected\"";
    assert_eq!(warning, Some(expected));
    w.assert_over();
}
