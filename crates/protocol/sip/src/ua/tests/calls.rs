//! Calls between two user agents.

use super::super::*;
use super::world::*;

#[test]
fn a_call_rings_is_answered_and_ends() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut w = World::with(1, transport, config());
        let (alice, bob) = w.call();
        w.peers[BOB]
            .ring(w.now, bob, Status::RINGING, Content::none())
            .unwrap();
        w.run_ms(1000);
        let Event::Provisional { session, response } = w.only(ALICE) else {
            panic!()
        };
        assert_eq!((session, response.status()), (alice, Some(Status::RINGING)));
        w.peers[BOB].answer(w.now, bob, Content::sdp("answer")).unwrap();
        w.run_ms(20);
        let Event::Answered { response, .. } = w.only(ALICE) else {
            panic!()
        };
        assert_eq!(response.body(), "answer");
        w.run_ms(20);
        assert!(matches!(w.only(BOB), Event::Acked { session, .. } if session == bob));
        w.run_ms(10_000);
        assert_eq!(w.log(), ["a: INVITE", "b: 180 INVITE", "b: 200 INVITE", "a: ACK"]);
        w.peers[BOB].hang_up(w.now, bob, None).unwrap();
        w.run_ms(50);
        assert!(matches!(
            w.only(BOB),
            Event::Terminated {
                reason: Reason::Local,
                ..
            }
        ));
        assert!(matches!(
            w.only(ALICE),
            Event::Terminated {
                reason: Reason::Bye(_),
                ..
            }
        ));
        assert_eq!(w.log(), ["b: BYE", "a: 200 BYE"]);
        w.assert_empty();
    }
}

// Guards pitfall SIP 1: the side that sent a 2xx repeats it until the ACK; each 2xx that comes again is acknowledged.
#[test]
fn a_2xx_is_sent_again_until_its_ack_comes() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut w = World::with(1, transport, config());
        let (alice, bob) = w.call();
        let mut acks = 0;
        w.drop_if = Box::new(move |_, m| {
            acks += u32::from(*m.method() == Method::Ack && m.is_request());
            *m.method() == Method::Ack && acks < 4
        });
        w.peers[BOB].answer(w.now, bob, Content::sdp("answer")).unwrap();
        w.run_ms(60_000);
        assert_eq!((w.count(BOB, "200 INVITE"), w.count(ALICE, "ACK")), (4, 4));
        let acks: Vec<_> = w
            .sent
            .iter()
            .filter(|(_, m)| *m.method() == Method::Ack)
            .map(|(_, m)| m.clone())
            .collect();
        assert!(
            acks.windows(2).all(|pair| pair[0] == pair[1]),
            "the same ACK each time"
        );
        assert!(matches!(w.only(ALICE), Event::Answered { .. }));
        assert!(matches!(w.only(BOB), Event::Acked { .. }));
        w.peers[ALICE].hang_up(w.now, alice, None).unwrap();
        w.assert_empty();
    }
}

// Guards pitfall SIP 1: an ACK that matches nothing is dropped.
#[test]
fn an_ack_for_no_dialog_is_dropped() {
    let mut w = World::new(1);
    let (alice, _) = w.talk();
    let dialog = w.peers[ALICE].dialog(alice).unwrap().clone();
    for ack in [dialog.ack(99), dialog.clone().ack(dialog.local_cseq())] {
        let bytes = { ack }
            .header(HeaderName::Via, "SIP/2.0/UDP h;branch=z9hG4bKstray")
            .finish();
        w.inject(BOB, bytes);
    }
    assert!(w.take(BOB).is_empty());
    assert!(w.log().is_empty());
}

#[test]
fn an_answer_that_is_never_acknowledged_ends_with_a_bye() {
    let mut w = World::new(1);
    let (_, bob) = w.call();
    w.drop_if = Box::new(|_, m| *m.method() == Method::Ack);
    w.peers[BOB].answer(w.now, bob, Content::sdp("answer")).unwrap();
    w.run_ms(31_900);
    assert!(w.take(BOB).is_empty());
    assert_eq!(w.count(BOB, "200 INVITE"), 11, "T1 doubling up to T2");
    w.run_ms(200);
    assert!(matches!(
        w.only(BOB),
        Event::Terminated {
            reason: Reason::NoAck,
            ..
        }
    ));
    assert_eq!(w.count(BOB, "BYE"), 1);
    w.assert_empty();
}

#[test]
fn a_hang_up_before_the_ack_waits_for_it() {
    let mut w = World::new(1);
    let (_, bob) = w.call();
    let mut dropped = 0;
    w.drop_if = Box::new(move |_, m| {
        dropped += u32::from(*m.method() == Method::Ack);
        *m.method() == Method::Ack && dropped == 1
    });
    w.peers[BOB].answer(w.now, bob, Content::sdp("answer")).unwrap();
    w.peers[BOB].hang_up(w.now, bob, None).unwrap();
    w.run_ms(400);
    assert_eq!(w.count(BOB, "BYE"), 0);
    w.run_ms(400);
    assert_eq!(w.count(BOB, "BYE"), 1);
    assert!(matches!(
        w.only(BOB),
        Event::Terminated {
            reason: Reason::Local,
            ..
        }
    ));
    w.assert_empty();
}

#[test]
fn a_refused_call_is_over_on_both_sides() {
    let mut w = World::new(1);
    let (_, bob) = w.call();
    w.peers[BOB]
        .reject(
            w.now,
            bob,
            Status::BUSY_HERE,
            Content::none().with("Retry-After", 60),
        )
        .unwrap();
    w.run_ms(1000);
    assert_eq!(w.log(), ["a: INVITE", "b: 486 INVITE", "a: ACK"]);
    let Event::Terminated {
        reason: Reason::Refused(response),
        ..
    } = w.only(ALICE)
    else {
        panic!()
    };
    assert_eq!(response.header(HeaderName::RetryAfter), Some("60"));
    assert!(matches!(
        w.only(BOB),
        Event::Terminated {
            reason: Reason::Local,
            ..
        }
    ));
    w.assert_empty();
}

#[test]
fn a_call_that_nobody_hears_fails_by_the_clock() {
    let mut w = World::new(1);
    w.drop_if = Box::new(|_, _| true);
    let request = w.new_request(ALICE, Method::Invite);
    w.peers[ALICE].invite(w.now, request).unwrap();
    w.run_ms(32_100);
    assert!(matches!(
        w.only(ALICE),
        Event::Terminated {
            reason: Reason::Failed(Failure::Timeout),
            ..
        }
    ));
    assert_eq!(w.count(ALICE, "INVITE"), 7);
    w.assert_empty();
}

#[test]
fn a_cancelled_call_ends_with_487() {
    let mut w = World::new(1);
    let (alice, bob) = w.call();
    w.peers[BOB]
        .ring(w.now, bob, Status::RINGING, Content::none())
        .unwrap();
    w.run_ms(100);
    w.take(ALICE);
    w.peers[ALICE]
        .hang_up(w.now, alice, Some("SIP;cause=200"))
        .unwrap();
    assert!(w.take(ALICE).is_empty(), "it is over when the answer comes");
    w.run_ms(100);
    let Event::Terminated {
        reason: Reason::Cancelled(cancel),
        ..
    } = w.only(BOB)
    else {
        panic!()
    };
    assert_eq!(cancel.header(HeaderName::Reason), Some("SIP;cause=200"));
    assert!(matches!(
        w.only(ALICE),
        Event::Terminated {
            reason: Reason::Local,
            ..
        }
    ));
    let log = w.log();
    assert_eq!(
        log,
        [
            "a: INVITE",
            "b: 180 INVITE",
            "a: CANCEL",
            "b: 200 CANCEL",
            "b: 487 INVITE",
            "a: ACK"
        ]
    );
    w.assert_empty();
}

// Guards pitfall SIP 2: CANCEL waits for a provisional response.
#[test]
fn a_call_given_up_before_anything_came_is_cancelled_later() {
    let mut w = World::new(1);
    let request = w.new_request(ALICE, Method::Invite);
    let alice = w.peers[ALICE].invite(w.now, request).unwrap();
    w.peers[ALICE].hang_up(w.now, alice, None).unwrap();
    w.run_ms(200);
    assert_eq!(w.count(ALICE, "CANCEL"), 0);
    w.run_ms(200);
    assert_eq!(w.count(ALICE, "CANCEL"), 1, "behind the automatic 100");
    assert!(matches!(
        w.take(BOB)[..],
        [Event::Invite { .. }, Event::Terminated { .. }]
    ));
    w.assert_empty();
}

// Guards pitfall SIP 2: a 2xx that crosses a CANCEL is ACKed, then BYEd.
#[test]
fn a_cancel_that_crosses_200_is_acked_and_byed() {
    let mut w = World::new(1);
    let (alice, bob) = w.call();
    w.peers[BOB]
        .ring(w.now, bob, Status::RINGING, Content::none())
        .unwrap();
    w.run_ms(100);
    w.take(ALICE);
    w.peers[ALICE].hang_up(w.now, alice, None).unwrap();
    w.peers[BOB].answer(w.now, bob, Content::sdp("answer")).unwrap();
    w.run_ms(100);
    assert!(matches!(
        w.only(ALICE),
        Event::Terminated {
            reason: Reason::Local,
            ..
        }
    ));
    assert!(matches!(
        w.take(BOB)[..],
        [
            Event::Acked { .. },
            Event::Terminated {
                reason: Reason::Bye(_),
                ..
            }
        ]
    ));
    assert_eq!((w.count(ALICE, "ACK"), w.count(ALICE, "BYE")), (1, 1));
    w.assert_empty();
}

/// Alice's INVITE as it went out, for answers that the test makes.
fn call_into_the_void(w: &mut World, body: &str) -> (SessionId, Message) {
    w.drop_if = Box::new(|_, _| true);
    let mut request = w.new_request(ALICE, Method::Invite);
    if !body.is_empty() {
        request.content = Content::sdp(body.to_owned());
    }
    let session = w.peers[ALICE].invite(w.now, request).unwrap();
    w.take(ALICE);
    let (_, invite) = w.sent.pop().unwrap();
    (session, invite)
}

fn response(invite: &Message, status: Status, tag: &str, routes: &[&str]) -> Bytes {
    let mut builder = Builder::response(invite, status, tag);
    for route in routes {
        builder.header(HeaderName::RecordRoute, route);
    }
    builder
        .header(HeaderName::Contact, format_args!("<sip:{tag}@198.51.100.1:5066>"))
        .finish()
}

fn last(w: &World, method: Method) -> Message {
    let found = w
        .sent
        .iter()
        .rev()
        .find(|(_, m)| m.is_request() && *m.method() == method);
    found.expect("it was sent").1.clone()
}

// Guards pitfall SIP 1: the ACK to a 2xx follows the dialog's route set with a new branch.
#[test]
fn the_ack_to_a_2xx_follows_the_route_set_with_a_new_branch() {
    let mut w = World::new(1);
    let (_, invite) = call_into_the_void(&mut w, "offer");
    let routes = ["<sip:p2.example;lr>", "<sip:p1.example;lr>"];
    w.inject(ALICE, response(&invite, Status::OK, "b", &routes));
    let ack = last(&w, Method::Ack);
    assert_eq!(ack.request_uri().unwrap().as_str(), "sip:b@198.51.100.1:5066");
    assert_eq!(
        ack.lines(HeaderName::Route).collect::<Vec<_>>(),
        ["<sip:p1.example;lr>", "<sip:p2.example;lr>"]
    );
    assert_ne!(ack.top_via().branch(), invite.top_via().branch());
    assert_eq!(
        (ack.cseq().number, ack.to_tag()),
        (invite.cseq().number, Some("b"))
    );
}

// Guards pitfall SIP 7: early dialogs each have their own route set; a late second 2xx gets ACK and BYE.
#[test]
fn each_fork_is_a_dialog_and_the_second_that_answers_is_hung_up_on() {
    let mut w = World::new(1);
    let (session, invite) = call_into_the_void(&mut w, "offer");
    w.inject(
        ALICE,
        response(&invite, Status::RINGING, "one", &["<sip:p1.example;lr>"]),
    );
    w.inject(
        ALICE,
        response(&invite, Status::SESSION_PROGRESS, "two", &["<sip:p2.example;lr>"]),
    );
    w.inject(
        ALICE,
        response(&invite, Status::RINGING, "one", &["<sip:p1.example;lr>"]),
    );
    assert_eq!(w.take(ALICE).len(), 3);
    assert_eq!(w.peers[ALICE].sessions.get(session.0).unwrap().early.len(), 2);

    w.inject(
        ALICE,
        response(&invite, Status::OK, "two", &["<sip:p3.example;lr>"]),
    );
    let Event::Answered { response: ok, .. } = w.only(ALICE) else {
        panic!()
    };
    assert_eq!(ok.to_tag(), Some("two"));
    let ack = last(&w, Method::Ack);
    assert_eq!(
        ack.header(HeaderName::Route),
        Some("<sip:p3.example;lr>"),
        "as the 2xx says"
    );
    w.run_ms(500);
    w.log();

    for tag in ["one", "three"] {
        w.inject(
            ALICE,
            response(&invite, Status::OK, tag, &["<sip:p1.example;lr>"]),
        );
        assert_eq!(w.count(ALICE, "ACK"), 1);
        let (ack, bye) = (last(&w, Method::Ack), last(&w, Method::Bye));
        assert_eq!((ack.to_tag(), bye.to_tag()), (Some(tag), Some(tag)));
        assert_eq!(bye.header(HeaderName::Route), Some("<sip:p1.example;lr>"));
        assert_eq!(bye.cseq().number, invite.cseq().number + 1);
        w.log();
        w.inject(
            ALICE,
            response(&invite, Status::OK, tag, &["<sip:p1.example;lr>"]),
        );
        assert_eq!(w.log(), ["a: ACK"], "again, but no second BYE");
    }
    assert!(w.take(ALICE).is_empty());
    assert_eq!(w.peers[ALICE].dialog(session).unwrap().remote_tag(), "two");

    w.peers[ALICE].hang_up(w.now, session, None).unwrap();
    assert!(matches!(w.only(ALICE), Event::Terminated { .. }));
    w.run_ms(1000);
    w.log();
    w.inject(ALICE, response(&invite, Status::OK, "four", &[]));
    assert!(
        w.count(ALICE, "ACK") == 1 && w.count(ALICE, "BYE") == 1,
        "also behind the session's end"
    );
    w.assert_empty();
}

#[test]
fn forks_are_bounded() {
    let mut w = World::new(1);
    let (session, invite) = call_into_the_void(&mut w, "offer");
    for n in 0..100 {
        w.inject(ALICE, response(&invite, Status::RINGING, &format!("t{n}"), &[]));
    }
    let limit = ringpost_base::limits::FORKS_PER_CALL;
    assert_eq!(w.peers[ALICE].sessions.get(session.0).unwrap().early.len(), limit);
    for n in 0..100 {
        w.inject(ALICE, response(&invite, Status::OK, &format!("t{n}"), &[]));
    }
    assert_eq!(w.peers[ALICE].sessions.get(session.0).unwrap().acks.len(), limit);
    assert!(w.count(ALICE, "BYE") < limit);
}

// Guards pitfall SIP 8: late offer, with the answer in the ACK.
#[test]
fn a_call_without_an_offer_waits_for_its_users_ack() {
    let mut w = World::new(1);
    let request = w.new_request(ALICE, Method::Invite);
    let alice = w.peers[ALICE].invite(w.now, request).unwrap();
    assert_eq!(
        w.peers[ALICE].ack(w.now, alice, Content::none()),
        Err(CommandError::State)
    );
    w.run_ms(20);
    let Event::Invite { session: bob, .. } = w.only(BOB) else {
        panic!()
    };
    w.peers[BOB].answer(w.now, bob, Content::sdp("offer")).unwrap();
    w.run_ms(1000);
    assert_eq!((w.count(BOB, "200 INVITE"), w.count(ALICE, "ACK")), (2, 0));
    assert!(matches!(w.only(ALICE), Event::Answered { .. }), "told once");
    w.peers[ALICE].ack(w.now, alice, Content::sdp("answer")).unwrap();
    assert_eq!(
        w.peers[ALICE].ack(w.now, alice, Content::none()),
        Err(CommandError::State)
    );
    w.run_ms(1000);
    let Event::Acked { request, .. } = w.only(BOB) else {
        panic!()
    };
    assert_eq!(request.body(), "answer");
    w.peers[BOB].hang_up(w.now, bob, None).unwrap();
    w.assert_empty();
}

#[test]
fn ringing_is_repeated_each_minute_and_has_an_end() {
    let mut w = World::new(1);
    let (_, bob) = w.call();
    w.peers[BOB]
        .ring(w.now, bob, Status::RINGING, Content::none())
        .unwrap();
    w.run_ms(150_000);
    assert_eq!(w.count(BOB, "180 INVITE"), 3);
    let limit = config().ring_limit;
    w.drop_if = Box::new(|who, m| who == BOB && m.status() == Some(Status::RINGING));
    w.run_until(w.now + limit);
    assert!(matches!(
        w.take(ALICE)[..],
        [
            ..,
            Event::Terminated {
                reason: Reason::Failed(Failure::Timeout),
                ..
            }
        ]
    ));
    assert!(matches!(
        w.only(BOB),
        Event::Terminated {
            reason: Reason::Cancelled(_),
            ..
        }
    ));
    w.assert_empty();
}

#[test]
fn an_invite_that_expires_is_answered_with_487() {
    let mut w = World::new(1);
    let mut request = w.new_request(ALICE, Method::Invite);
    request.content = Content::sdp("offer").with("Expires", 10);
    w.peers[ALICE].invite(w.now, request).unwrap();
    w.run_ms(11_000);
    assert!(matches!(
        w.take(BOB)[..],
        [
            Event::Invite { .. },
            Event::Terminated {
                reason: Reason::Expired,
                ..
            }
        ]
    ));
    let Event::Terminated {
        reason: Reason::Refused(response),
        ..
    } = w.only(ALICE)
    else {
        panic!()
    };
    assert_eq!(response.status(), Some(Status::REQUEST_TERMINATED));
    w.assert_empty();
}

#[test]
fn byes_that_cross_are_both_answered() {
    let mut w = World::new(1);
    let (alice, bob) = w.talk();
    w.peers[ALICE].hang_up(w.now, alice, None).unwrap();
    w.peers[BOB].hang_up(w.now, bob, None).unwrap();
    w.run_ms(100);
    assert_eq!((w.count(ALICE, "200 BYE"), w.count(BOB, "200 BYE")), (1, 1));
    assert!(matches!(
        w.only(ALICE),
        Event::Terminated {
            reason: Reason::Local,
            ..
        }
    ));
    assert!(matches!(
        w.only(BOB),
        Event::Terminated {
            reason: Reason::Local,
            ..
        }
    ));
    w.assert_empty();
}

#[test]
fn over_the_limit_of_dialogs_a_call_gets_503() {
    let mut w = World::with(
        1,
        Transport::Udp,
        UaConfig {
            dialogs: 1,
            ..config()
        },
    );
    w.call();
    let request = w.new_request(ALICE, Method::Invite);
    assert_eq!(w.peers[ALICE].invite(w.now, request), Err(CommandError::Full));
    let via = "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKnew";
    let second = w.sent[0].1.clone();
    let mut edit = crate::Edit::new(&second);
    edit.set(HeaderName::Via, via).set(HeaderName::CallId, "other");
    let bytes = edit.finish();
    w.inject(BOB, bytes);
    assert_eq!(w.count(BOB, "503 INVITE"), 1);
    assert!(w.take(BOB).is_empty());
}

#[test]
fn a_stateless_refusal_leaves_nothing() {
    let mut w = World::new(1);
    let (_, bob) = w.call();
    w.peers[BOB]
        .reject_stateless(w.now, bob, Status::UNAUTHORIZED, Content::none())
        .unwrap();
    assert_eq!((w.peers[BOB].sessions(), w.peers[BOB].transactions()), (0, 0));
    w.run_ms(100);
    assert!(matches!(
        w.only(ALICE),
        Event::Terminated {
            reason: Reason::Refused(_),
            ..
        }
    ));
    assert_eq!(w.count(ALICE, "ACK"), 1);
    w.assert_empty();
}

#[test]
fn a_session_is_found_by_what_replaces_names() {
    let mut w = World::new(1);
    let (alice, bob) = w.talk();
    let dialog = w.peers[ALICE].dialog(alice).unwrap().clone();
    let (id, local, remote) = (dialog.call_id(), dialog.local_tag(), dialog.remote_tag());
    assert_eq!(w.peers[ALICE].find(id, local, remote), Some(alice));
    assert_eq!(w.peers[BOB].find(id, remote, local), Some(bob));
    assert_eq!(
        w.peers[ALICE].find(id, remote, local),
        None,
        "the right way round"
    );
    assert_eq!(w.peers[ALICE].find("other", local, remote), None);
}
