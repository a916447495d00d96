//! One phone calls one other: the ways in which a call can begin and end.

use super::peer::sdp;
use super::world::{ALICE, BOB, World, config, seconds};
use crate::{Config, Event, Question};
use ringpost_media::Event as MediaEvent;
use ringpost_sdp::Direction;
use ringpost_sip::ua::{self, Content, Reason};
use ringpost_sip::{HeaderName, Method, Status, Transport};

#[test]
fn a_call_is_answered_bridged_and_ended_by_either_side() {
    for ender in [ALICE, BOB] {
        let mut w = World::new();
        let (alice, bob) = w.talk(ALICE, BOB);
        w.assert_bridged();
        let session = if ender == ALICE { alice } else { bob };
        let now = w.now;
        w.peers[ender].hang_up(now, session);
        w.run_ms(500);
        assert_eq!(w.count_to(1 - ender, "BYE"), 1);
        let ended = |event: &Event| matches!(event, Event::CallEnded(record) if record.answered);
        assert_eq!(w.events.iter().filter(|event| ended(event)).count(), 1);
        w.assert_over();
    }
}

#[test]
fn no_leg_sees_the_others_address() {
    let mut w = World::new();
    w.talk(ALICE, BOB);
    let alice = w.peers[ALICE].flow.local.ip().to_string();
    for sent in w.sent.iter().filter(|sent| sent.to == Some(BOB)) {
        let text = String::from_utf8_lossy(sent.message.bytes()).into_owned();
        assert!(!text.contains(&alice) && !text.contains("198.51.100.9"), "{text}");
    }
}

#[test]
fn who_is_called_decides_the_answer() {
    let cases: [(&str, &[u16]); 6] = [
        ("sip:nobody@example.org", &[404]),
        ("sip:bob@elsewhere.example", &[404]),
        ("sip:example.org", &[484]),
        ("sip:dave@example.net", &[200]),
        ("sip:200@192.0.2.1", &[180]),
        ("tel:200", &[180]),
    ];
    for (uri, statuses) in cases {
        let mut w = World::new();
        let offer = w.peers[ALICE].describe(b"");
        let mut request = w.peers[ALICE].request(Method::Invite, "bob");
        request.uri = uri.parse().unwrap();
        request.content = Content::sdp(offer);
        let now = w.now;
        let session = w.peers[ALICE].ua.invite(now, request).unwrap();
        w.run_ms(200);
        if uri.contains("200") {
            let (bob, _) = w.incoming(BOB);
            let now = w.now;
            w.peers[BOB]
                .ua
                .ring(now, bob, Status::RINGING, Content::none())
                .unwrap();
            w.run_ms(100);
        }
        let told = |status: &u16| w.count_to(ALICE, &format!("{status} INVITE")) == 1;
        assert!(statuses.iter().any(told), "{uri}");
        let now = w.now;
        let _ = w.peers[ALICE].ua.hang_up(now, session, None);
        w.assert_over();
    }
}

#[test]
fn a_caller_who_gives_up_stops_the_ringing() {
    let mut w = World::new();
    let (alice, _, _) = w.ring(ALICE, BOB);
    let now = w.now;
    w.peers[ALICE].hang_up(now, alice);
    w.run_ms(500);
    assert_eq!(w.count_to(ALICE, "487 INVITE"), 1);
    let given_up = |e: &ua::Event| {
        matches!(
            e,
            ua::Event::Terminated {
                reason: Reason::Cancelled(_),
                ..
            }
        )
    };
    assert!(w.take(BOB).iter().any(given_up));
    w.assert_over();
}

#[test]
fn a_caller_who_gives_up_before_an_answer_to_our_question_calls_nobody() {
    let questions: [fn(&Question) -> bool; 3] = [
        |q| matches!(q, Question::Device { .. }),
        |q| matches!(q, Question::Person { .. }),
        |q| matches!(q, Question::Sockets { .. }),
    ];
    for question in questions {
        let mut w = World::new();
        w.hold_if = Box::new(question);
        let now = w.now;
        let alice = w.peers[ALICE].call(now, "bob");
        w.run_ms(300);
        assert!(!w.phone.is_idle());
        let now = w.now;
        w.peers[ALICE].hang_up(now, alice);
        w.run_ms(300);
        assert_eq!(w.count_to(ALICE, "487 INVITE"), 1);
        w.answer_held();
        w.run_ms(300);
        assert_eq!(w.count_to(BOB, "INVITE"), 0);
        w.assert_over();
    }
}

// Guards pitfall SIP 2: a 2xx that crosses our CANCEL is acknowledged and ended.
#[test]
fn an_answer_that_crosses_our_cancel_is_acked_and_byed() {
    let mut w = World::new();
    let (alice, bob, invite) = w.ring(ALICE, BOB);
    w.drop_if = Box::new(|sent| sent.what() == "CANCEL" && sent.from.is_none());
    let now = w.now;
    w.peers[ALICE].hang_up(now, alice);
    w.run_ms(100);
    let now = w.now;
    w.peers[BOB].answer(now, bob, &invite);
    w.run_ms(200);
    assert_eq!(w.count_to(BOB, "ACK"), 1);
    assert_eq!(w.count_to(BOB, "BYE"), 1);
    assert_eq!(w.count_to(ALICE, "487 INVITE"), 1);
    w.assert_over();
}

// Guards pitfall SIP 2, from the other side: the caller's CANCEL comes when our 2xx is under way.
#[test]
fn a_caller_whose_cancel_crosses_our_answer_hangs_up() {
    let mut w = World::new();
    let (alice, bob, invite) = w.ring(ALICE, BOB);
    let now = w.now;
    w.peers[BOB].answer(now, bob, &invite);
    w.run_ms(15);
    let now = w.now;
    w.peers[ALICE].hang_up(now, alice);
    w.run_ms(500);
    assert_eq!(w.count_to(ALICE, "200 CANCEL"), 1);
    assert_eq!(w.count_to(ALICE, "200 BYE"), 1);
    assert_eq!(w.count_to(BOB, "BYE"), 1);
    w.assert_over();
}

// Guards pitfall SIP 1: the side that sent a 2xx repeats it until the ACK comes, and that on each leg.
#[test]
fn our_answer_is_repeated_until_it_is_acknowledged() {
    let mut w = World::new();
    let mut lost = 2;
    w.drop_if = Box::new(move |sent| {
        let is_lost = sent.from == Some(ALICE) && sent.what() == "ACK" && lost > 0;
        lost -= i32::from(is_lost);
        is_lost
    });
    let (alice, _) = w.talk(ALICE, BOB);
    w.run_s(5);
    assert_eq!(w.count_to(ALICE, "200 INVITE"), 2);
    let now = w.now;
    w.peers[ALICE].hang_up(now, alice);
    w.assert_over();
}

// Guards pitfall SIP 1: without an ACK the call ends after 64 T1, on both legs.
#[test]
fn an_answer_that_is_never_acknowledged_ends_the_call() {
    let mut w = World::new();
    w.drop_if = Box::new(|sent| sent.from == Some(ALICE) && sent.what() == "ACK");
    w.talk(ALICE, BOB);
    w.run_s(31);
    assert_eq!(w.phone.calls(), 1);
    w.run_s(2);
    assert_eq!(w.phone.calls(), 0);
    assert_eq!(w.count_to(ALICE, "BYE"), 1);
    assert_eq!(w.count_to(BOB, "BYE"), 1);
    w.assert_over();
}

#[test]
fn no_bye_goes_before_the_ack() {
    let mut w = World::new();
    w.drop_if = Box::new(|sent| sent.from == Some(ALICE) && sent.what() == "ACK");
    let (_, bob) = w.talk(ALICE, BOB);
    let now = w.now;
    w.peers[BOB].hang_up(now, bob);
    w.run_ms(300);
    assert_eq!(w.count_to(ALICE, "BYE"), 0);
    w.drop_if = Box::new(|_| false);
    w.run_s(5);
    assert_eq!(w.count_to(ALICE, "BYE"), 1);
    w.assert_over();
}

#[test]
fn without_sockets_or_above_the_limit_a_call_is_refused() {
    let mut w = World::new();
    w.media.pairs = 1;
    let now = w.now;
    w.peers[ALICE].call(now, "bob");
    w.run_ms(300);
    assert_eq!(w.refusal(ALICE), Status::SERVICE_UNAVAILABLE);
    w.assert_over();

    let few = Config { calls: 1, ..config() };
    let mut w = World::with(1, few, Transport::Udp, &["alice", "bob", "carol"]);
    w.register_all();
    let (alice, _) = w.talk(ALICE, BOB);
    let now = w.now;
    w.peers[2].call(now, "alice");
    w.run_ms(300);
    assert_eq!(w.refusal(2), Status::SERVICE_UNAVAILABLE);
    let now = w.now;
    w.peers[ALICE].hang_up(now, alice);
    w.assert_over();
}

#[test]
fn an_offer_that_cannot_be_taken_is_refused_before_anybody_rings() {
    let secure = String::from_utf8(sdp("0", Direction::SendRecv, 1).to_vec()).unwrap();
    let video = secure.replace("m=audio", "m=video");
    for (kind, body, status) in [
        ("application/sdp", "v=1".to_owned(), 488),
        ("application/sdp", secure.replace("RTP/AVP", "RTP/SAVP"), 488),
        ("application/sdp", video, 488),
        ("text/plain", "hello".to_owned(), 415),
    ] {
        let mut w = World::new();
        let mut request = w.peers[ALICE].request(Method::Invite, "bob");
        request.content = Content::none().with_body(kind, body);
        let now = w.now;
        w.peers[ALICE].ua.invite(now, request).unwrap();
        w.run_ms(300);
        assert_eq!(w.refusal(ALICE).code(), status);
        assert_eq!(w.count_to(BOB, "INVITE"), 0);
        if status == 415 {
            let refusal = w.last_to(ALICE, "415 INVITE");
            assert_eq!(refusal.header(HeaderName::Accept), Some("application/sdp"));
        }
        w.assert_over();
    }
}

// RFC 3261 §8.2.3: what need not be understood is no obstacle, and no offer.
#[test]
fn a_body_that_is_optional_is_passed_over() {
    let mut w = World::new();
    let mut request = w.peers[ALICE].request(Method::Invite, "bob");
    request.content = Content::none()
        .with("Content-Disposition", "session; handling=optional")
        .with_body("text/plain", "hello".to_owned());
    let now = w.now;
    w.peers[ALICE].ua.invite(now, request).unwrap();
    w.run_ms(300);
    assert_eq!(w.count_to(BOB, "INVITE"), 1);
}

#[test]
fn a_call_without_sound_is_taken_for_dead_but_not_while_it_is_held() {
    let mut w = World::new();
    let (alice, _) = w.talk(ALICE, BOB);
    let leg = w.legs()[0];
    let now = w.now;
    w.peers[ALICE].change(now, alice, Direction::SendOnly);
    w.run_ms(500);
    let now = w.now;
    w.media.tell(now, MediaEvent::MediaTimeout { leg });
    w.run_ms(100);
    assert_eq!(w.phone.calls(), 1, "who holds may be silent");
    let now = w.now;
    w.peers[ALICE].change(now, alice, Direction::SendRecv);
    w.run_ms(500);
    let now = w.now;
    w.media.tell(now, MediaEvent::MediaTimeout { leg });
    w.run_ms(500);
    assert_eq!(w.phone.calls(), 0);
    assert_eq!((w.count_to(ALICE, "BYE"), w.count_to(BOB, "BYE")), (1, 1));
    w.assert_over();
}

#[test]
fn silence_while_it_rings_means_nothing() {
    let mut w = World::new();
    let (alice, _, _) = w.ring(ALICE, BOB);
    for leg in w.legs() {
        let now = w.now;
        w.media.tell(now, MediaEvent::MediaTimeout { leg });
    }
    w.run_ms(100);
    assert_eq!(w.phone.calls(), 1);
    let now = w.now;
    w.peers[ALICE].hang_up(now, alice);
    w.assert_over();
}

#[test]
fn closing_ends_calls_refuses_new_ones_and_says_why() {
    let mut w = World::of(&["alice", "bob", "carol", "dave"]);
    w.talk(ALICE, BOB);
    let (_, dave, _) = w.ring(2, 3);
    let (now, calendar) = (w.now, w.calendar());
    w.phone.close(now, calendar);
    w.run_ms(300);
    assert_eq!((w.count_to(ALICE, "BYE"), w.count_to(BOB, "BYE")), (1, 1));
    assert_eq!(w.refusal(2), Status::SERVICE_UNAVAILABLE);
    let ended = |e: &ua::Event| matches!(e, ua::Event::Terminated { session, .. } if *session == dave);
    assert!(w.take(3).iter().any(ended));
    let now = w.now;
    w.peers[ALICE].call(now, "bob");
    w.run_ms(300);
    assert_eq!(w.refusal(ALICE), Status::SERVICE_UNAVAILABLE);
    w.assert_over();
}

/// Bob's phone is bound to our own address, from which nobody is asked for credentials.
fn looped() -> World {
    let trusting = Config {
        trusted: vec![(super::world::SERVER.ip(), 32)],
        ..config()
    };
    let mut w = World::with(1, trusting, Transport::Udp, &["alice", "bob"]);
    w.register_all();
    let bob = super::office::BOB;
    let mut binding = w.phone.bindings(bob)[0].clone();
    binding.flow.remote = super::world::SERVER;
    binding.contact = "sip:bob@192.0.2.1".parse().unwrap();
    w.remove_device(BOB, true);
    let person = w.office.people[1].clone();
    w.phone.restore(crate::Registered {
        person,
        bindings: vec![binding],
    });
    w.forget();
    w
}

// Guards pitfall SIP 3: a call that comes back to us for the same person is a loop.
#[test]
fn a_phone_that_leads_back_to_us_is_a_loop_and_ends_in_the_voicemail() {
    let mut w = looped();
    let now = w.now;
    let alice = w.peers[ALICE].call(now, "bob");
    w.run_ms(500);
    let refused = w
        .sent
        .iter()
        .filter(|sent| sent.to.is_none() && sent.what() == "482 INVITE");
    assert_eq!(refused.count(), 1);
    assert_eq!(w.count_to(ALICE, "200 INVITE"), 1, "the voicemail answers");
    let now = w.now;
    w.peers[ALICE].hang_up(now, alice);
    w.assert_over();
}

// Guards pitfall SIP 3: what cannot be told to be a loop runs out of hops.
#[test]
fn a_message_that_runs_in_circles_runs_out_of_hops() {
    let mut w = looped();
    let mut request = w.peers[ALICE].request(Method::Message, "bob");
    request.content = Content::none().with_body("text/plain", "round");
    let now = w.now;
    w.peers[ALICE].ua.request(now, request).unwrap();
    w.run_s(5);
    assert_eq!(w.count_to(ALICE, "483 MESSAGE"), 1);
    w.assert_over();
}

// Guards pitfall SIP 4: a Route that leads through us ends here, and none is carried over to the other leg.
#[test]
fn a_route_to_us_is_consumed_and_no_leg_sees_anothers() {
    for route in [
        "<sip:192.0.2.1;lr>",
        "<sip:192.0.2.1;lr>, <sip:198.51.100.66;lr>",
        "<sip:198.51.100.66;lr>",
    ] {
        let mut w = World::new();
        let offer = w.peers[ALICE].describe(b"");
        let mut request = w.peers[ALICE].request(Method::Invite, "bob");
        request.content = Content::sdp(offer).with("Route", route);
        let now = w.now;
        let alice = w.peers[ALICE].ua.invite(now, request).unwrap();
        w.run_ms(300);
        assert_eq!(w.count_to(BOB, "INVITE"), 1, "{route}");
        assert!(!w.last_to(BOB, "INVITE").has(HeaderName::Route), "{route}");
        let elsewhere = w.sent.iter().any(|sent| sent.from.is_none() && sent.to.is_none());
        assert!(!elsewhere, "nobody leads us to a third party's door");
        w.peers[ALICE].hang_up(now, alice);
        w.assert_over();
    }
}

// Guards pitfall SIP 3: the same request by two ways is answered once.
#[test]
fn a_request_that_comes_by_two_ways_is_merged() {
    let mut w = World::new();
    w.hold_if = Box::new(|q| matches!(q, Question::Person { .. }));
    let now = w.now;
    let alice = w.peers[ALICE].call(now, "bob");
    w.run_ms(100);
    let invite = w.sent.iter().rev().find(|s| s.what() == "INVITE").unwrap();
    let text = String::from_utf8(invite.message.bytes().to_vec()).unwrap();
    let branch = invite.message.top_via().branch().unwrap().to_owned();
    w.inject(ALICE, &text.replace(&branch, "z9hG4bKanother"));
    w.run_ms(100);
    assert_eq!(w.count_to(ALICE, "482 INVITE"), 1);
    w.answer_held();
    w.run_ms(300);
    assert_eq!(w.count_to(BOB, "INVITE"), 1);
    let now = w.now;
    w.peers[ALICE].hang_up(now, alice);
    w.assert_over();
}

#[test]
fn who_dials_their_own_number_reaches_their_other_phones_or_the_voicemail() {
    let mut w = World::of(&["alice", "alice"]);
    let now = w.now;
    let alice = w.peers[0].call(now, "100");
    w.run_ms(300);
    assert_eq!((w.count_to(0, "INVITE"), w.count_to(1, "INVITE")), (0, 1));
    let now = w.now;
    w.peers[0].hang_up(now, alice);
    w.assert_over();

    let mut w = World::of(&["alice"]);
    let now = w.now;
    let alice = w.peers[0].call(now, "alice");
    w.run_ms(300);
    assert_eq!((w.count_to(0, "INVITE"), w.count_to(0, "200 INVITE")), (0, 1));
    let now = w.now;
    w.peers[0].hang_up(now, alice);
    w.assert_over();
}

#[test]
fn a_caller_may_say_how_long_it_waits() {
    let mut w = World::new();
    let offer = w.peers[ALICE].describe(b"");
    let mut request = w.peers[ALICE].request(Method::Invite, "bob");
    request.content = Content::sdp(offer).with("Expires", 5);
    let now = w.now;
    w.peers[ALICE].ua.invite(now, request).unwrap();
    w.run_s(6);
    assert_eq!(w.refusal(ALICE), Status::REQUEST_TERMINATED);
    w.assert_over();
}

#[test]
fn requests_within_a_call_are_passed_on_and_their_answers_back() {
    let mut w = World::new();
    let (alice, bob) = w.talk(ALICE, BOB);
    for (method, kind) in [
        (Method::Info, "application/dtmf-relay"),
        (Method::Message, "text/plain"),
    ] {
        let content = Content::none().with_body(kind, "Signal=5");
        let now = w.now;
        let name = method.as_str().to_owned();
        w.peers[ALICE]
            .ua
            .request_within(now, alice, method.clone(), content)
            .unwrap();
        w.run_ms(200);
        let passed = w.last_to(BOB, &name);
        assert_eq!(passed.body().as_ref(), b"Signal=5");
        assert_eq!(passed.header(HeaderName::ContentType), Some(kind));
        assert_eq!(w.count_to(ALICE, &format!("200 {name}")), 1);
    }
    w.peers[ALICE].is_polite = false;
    let now = w.now;
    w.peers[BOB]
        .ua
        .request_within(now, bob, Method::Info, Content::none())
        .unwrap();
    w.run_ms(200);
    let asked = w.take(ALICE).into_iter().find_map(|event| match event {
        ua::Event::Within { id, request, .. } => Some((id, request)),
        _ => None,
    });
    let (id, request) = asked.unwrap();
    let refusal = w.peers[ALICE]
        .ua
        .response(&request, Status::UNSUPPORTED_MEDIA_TYPE)
        .finish();
    let now = w.now;
    w.peers[ALICE].ua.respond(now, id, refusal);
    w.run_ms(200);
    assert_eq!(w.count_to(BOB, "415 INFO"), 1);
    let now = w.now;
    w.peers[ALICE].hang_up(now, alice);
    w.assert_over();
}

#[test]
fn what_makes_no_sense_within_a_call_is_refused() {
    let mut w = World::new();
    let (alice, _) = w.talk(ALICE, BOB);
    for (method, status) in [(Method::Notify, 481), (Method::Refer, 405)] {
        let name = method.as_str().to_owned();
        let content = Content::none()
            .with("Event", "message-summary")
            .with("Subscription-State", "active");
        let now = w.now;
        w.peers[ALICE]
            .ua
            .request_within(now, alice, method, content)
            .unwrap();
        w.run_ms(200);
        assert_eq!(w.count_to(ALICE, &format!("{status} {name}")), 1);
    }
    let now = w.now;
    w.peers[ALICE].hang_up(now, alice);
    w.run_s(400);
    w.inject(
        ALICE,
        "INFO sip:bob@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.2:5060;branch=z9hG4bKstray\r\n\
         From: <sip:alice@example.org>;tag=1\r\nTo: <sip:bob@example.org>\r\nCall-ID: stray\r\nCSeq: 1 INFO\r\n\
         Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
    );
    w.run_ms(100);
    assert_eq!(w.count_to(ALICE, "481 INFO"), 1);
    w.assert_over();
}

#[test]
fn a_call_over_tcp_is_a_call() {
    let mut w = World::with(1, config(), Transport::Tcp, &["alice", "bob"]);
    w.register_all();
    let (_, bob) = w.talk(ALICE, BOB);
    let now = w.now;
    w.peers[BOB].hang_up(now, bob);
    w.assert_over();
}

#[test]
fn nobody_waits_for_a_call_longer_than_configured() {
    let mut w = World::new();
    w.ring(ALICE, BOB);
    let no_answer = config().no_answer;
    w.run_until(w.now + no_answer - seconds(2));
    assert_eq!(w.count_to(ALICE, "200 INVITE"), 0);
    w.run_s(3);
    assert_eq!(w.count_to(ALICE, "200 INVITE"), 1);
    assert_eq!(w.count_to(BOB, "CANCEL"), 1);
}
