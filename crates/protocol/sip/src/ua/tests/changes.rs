//! Sessions that change: re-INVITE and UPDATE, from both sides.

use super::super::*;
use super::world::*;
use std::time::Duration;

#[test]
fn a_session_is_put_on_hold_and_back() {
    let mut w = World::new(1);
    let (alice, bob) = w.talk();
    for offer in ["hold", "resume"] {
        w.peers[ALICE]
            .reinvite(w.now, alice, Content::sdp(offer))
            .unwrap();
        w.run_ms(50);
        let Event::Reinvite { request, .. } = w.only(BOB) else {
            panic!()
        };
        assert_eq!(request.body(), offer);
        w.peers[BOB].answer(w.now, bob, Content::sdp("answer")).unwrap();
        w.run_ms(50);
        assert!(matches!(w.only(ALICE), Event::ReinviteAnswered { .. }));
        assert!(matches!(w.only(BOB), Event::Acked { .. }));
        assert_eq!(w.log(), ["a: INVITE", "b: 200 INVITE", "a: ACK"]);
    }
    w.peers[BOB].hang_up(w.now, bob, None).unwrap();
    w.assert_empty();
}

#[test]
fn a_later_offer_may_come_from_the_other_side_in_the_2xx() {
    let mut w = World::new(1);
    let (alice, bob) = w.talk();
    w.peers[BOB].reinvite(w.now, bob, Content::none()).unwrap();
    w.run_ms(50);
    w.take(ALICE);
    w.peers[ALICE]
        .answer(w.now, alice, Content::sdp("offer"))
        .unwrap();
    w.run_ms(50);
    assert!(matches!(w.only(BOB), Event::ReinviteAnswered { .. }));
    assert!(w.take(ALICE).is_empty());
    w.peers[BOB].ack(w.now, bob, Content::sdp("answer")).unwrap();
    w.run_ms(50);
    assert!(matches!(w.only(ALICE), Event::Acked { request, .. } if request.body() == "answer"));
}

// Guards pitfall SIP 8: a failed re-INVITE leaves the old session as it was.
#[test]
fn a_refused_change_leaves_the_session_as_it_was() {
    let mut w = World::new(1);
    let (alice, bob) = w.talk();
    w.peers[ALICE]
        .reinvite(w.now, alice, Content::sdp("video"))
        .unwrap();
    w.run_ms(50);
    w.take(BOB);
    w.peers[BOB]
        .reject(w.now, bob, Status::NOT_ACCEPTABLE_HERE, Content::none())
        .unwrap();
    w.run_ms(50);
    assert!(matches!(w.only(ALICE), Event::ReinviteRefused { .. }));
    assert!(w.take(BOB).is_empty());
    assert_eq!(w.log(), ["a: INVITE", "b: 488 INVITE", "a: ACK"]);
    w.peers[BOB].reinvite(w.now, bob, Content::sdp("again")).unwrap();
    w.run_ms(50);
    assert!(matches!(w.only(ALICE), Event::Reinvite { .. }));
}

// Guards pitfall SIP 8: glare is 491 with the right random wait.
#[test]
fn offers_that_cross_get_491_and_wait_as_long_as_they_must() {
    let (mut owner_ms, mut other_ms) = (Vec::new(), Vec::new());
    for seed in 0..40 {
        let mut w = World::new(seed);
        let (alice, bob) = w.talk();
        w.peers[ALICE].reinvite(w.now, alice, Content::sdp("a")).unwrap();
        w.peers[BOB].reinvite(w.now, bob, Content::sdp("b")).unwrap();
        w.run_ms(30);
        assert_eq!((w.count(ALICE, "491 INVITE"), w.count(BOB, "491 INVITE")), (1, 1));
        assert!(matches!(w.only(ALICE), Event::ReinviteRefused { .. }));
        assert_eq!(
            w.peers[ALICE].reinvite(w.now, alice, Content::sdp("c")),
            Err(CommandError::Pending)
        );
        let start = w.now - Duration::from_millis(10);
        for _ in 0..500 {
            w.run_ms(10);
            let waited_ms = w.now.since(start).as_millis();
            let allowed =
                |events: Vec<Event>| events.iter().any(|e| matches!(e, Event::ReinviteAllowed { .. }));
            if allowed(w.take(ALICE)) {
                owner_ms.push(waited_ms);
            }
            if allowed(w.take(BOB)) {
                other_ms.push(waited_ms);
            }
        }
        w.peers[ALICE].reinvite(w.now, alice, Content::sdp("c")).unwrap();
    }
    assert_eq!((owner_ms.len(), other_ms.len()), (40, 40));
    assert!(
        owner_ms.iter().all(|ms| (2100..=4050).contains(ms)),
        "{owner_ms:?}"
    );
    assert!(other_ms.iter().all(|ms| *ms <= 2050), "{other_ms:?}");
    assert!(
        owner_ms.iter().max() > Some(&3000) && other_ms.iter().max() > Some(&1000),
        "they are random"
    );
}

#[test]
fn a_second_offer_before_the_first_is_answered_gets_500_with_retry_after() {
    let mut w = World::new(1);
    let (alice, bob) = w.talk();
    w.peers[ALICE]
        .reinvite(w.now, alice, Content::sdp("one"))
        .unwrap();
    w.run_ms(50);
    w.take(BOB);
    let dialog = &mut w.peers[ALICE]
        .sessions
        .get_mut(alice.0)
        .unwrap()
        .dialog
        .as_mut()
        .unwrap();
    let mut second = dialog.request(&Method::Invite);
    let second = second
        .header(HeaderName::Via, "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKsecond")
        .header(HeaderName::Contact, "<sip:alice@192.0.2.1>")
        .finish_with("application/sdp", b"two");
    w.inject(BOB, second.clone());
    let (_, refusal) = w.sent.last().unwrap();
    assert_eq!(refusal.status(), Some(Status::SERVER_INTERNAL_ERROR));
    assert!(refusal.delta(HeaderName::RetryAfter).unwrap().unwrap().seconds <= 10);
    w.peers[BOB].answer(w.now, bob, Content::sdp("answer")).unwrap();
    assert_eq!(
        w.peers[BOB].reinvite(w.now, bob, Content::sdp("x")),
        Err(CommandError::Pending),
        "no ACK yet"
    );
}

#[test]
fn a_change_may_be_cancelled_by_its_sender() {
    let mut w = World::new(1);
    let (alice, _) = w.talk();
    w.peers[ALICE]
        .reinvite(w.now, alice, Content::sdp("one"))
        .unwrap();
    w.run_ms(300);
    w.take(BOB);
    let invite = w.sent.iter().find(|(who, _)| *who == ALICE).unwrap().1.clone();
    let mut cancel = Builder::request(&Method::Cancel, invite.request_uri().unwrap());
    let cancel = cancel
        .header(HeaderName::Via, invite.top_via())
        .header(HeaderName::From, invite.from())
        .header(HeaderName::To, invite.to())
        .header(HeaderName::CallId, invite.call_id())
        .header(HeaderName::CSeq, format_args!("{} CANCEL", invite.cseq().number))
        .finish();
    w.inject(BOB, cancel);
    w.run_ms(50);
    assert!(matches!(w.only(BOB), Event::ReinviteGone { .. }));
    assert!(matches!(w.only(ALICE), Event::ReinviteRefused { .. }));
    assert_eq!(w.count(BOB, "487 INVITE"), 1);
}

#[test]
fn a_change_to_a_session_that_the_peer_has_forgotten_ends_it() {
    let mut w = World::new(1);
    let (alice, bob) = w.talk();
    w.peers[BOB].sessions.remove(bob.0);
    w.peers[BOB].usages.clear();
    w.peers[ALICE]
        .reinvite(w.now, alice, Content::sdp("one"))
        .unwrap();
    w.run_ms(100);
    assert!(matches!(
        w.only(ALICE),
        Event::Terminated {
            reason: Reason::Gone,
            ..
        }
    ));
    assert_eq!(
        w.log(),
        ["a: INVITE", "b: 481 INVITE", "a: ACK", "a: BYE", "b: 481 BYE"]
    );
}

#[test]
fn a_bye_ends_a_session_in_the_middle_of_a_change() {
    let mut w = World::new(1);
    let (alice, bob) = w.talk();
    w.peers[ALICE]
        .reinvite(w.now, alice, Content::sdp("one"))
        .unwrap();
    w.run_ms(50);
    w.take(BOB);
    w.peers[ALICE].hang_up(w.now, alice, None).unwrap();
    w.run_ms(100);
    assert!(matches!(
        w.only(BOB),
        Event::Terminated {
            reason: Reason::Bye(_),
            ..
        }
    ));
    assert_eq!(w.count(BOB, "487 INVITE"), 1);
    assert_eq!(
        w.peers[BOB].answer(w.now, bob, Content::none()),
        Err(CommandError::Over)
    );
    w.assert_empty();

    let mut w = World::new(1);
    let (alice, bob) = w.talk();
    w.peers[ALICE]
        .reinvite(w.now, alice, Content::sdp("one"))
        .unwrap();
    w.run_ms(50);
    w.take(BOB);
    w.peers[BOB].answer(w.now, bob, Content::sdp("answer")).unwrap();
    w.peers[ALICE].hang_up(w.now, alice, None).unwrap();
    w.run_ms(100);
    assert_eq!(w.count(ALICE, "ACK"), 1, "a 2xx is acknowledged even so");
    w.assert_empty();
}

#[test]
fn a_change_that_the_peer_never_answers_is_given_up() {
    let mut w = World::new(1);
    let (alice, _) = w.talk();
    w.peers[ALICE]
        .reinvite(w.now, alice, Content::sdp("one"))
        .unwrap();
    w.run_ms(1000);
    w.drop_if = Box::new(|_, _| true);
    w.run_until(w.now + config().ring_limit);
    assert!(w.count(ALICE, "CANCEL") >= 1);
    w.run_ms(33_000);
    assert!(matches!(
        w.only(ALICE),
        Event::Terminated {
            reason: Reason::Gone,
            ..
        }
    ));

    let mut w = World::new(1);
    let (alice, bob) = w.talk();
    w.peers[ALICE]
        .reinvite(w.now, alice, Content::sdp("one"))
        .unwrap();
    w.run_ms(1000);
    w.drop_if = Box::new(|_, _| true);
    w.peers[ALICE].hang_up(w.now, alice, None).unwrap();
    w.peers[BOB].hang_up(w.now, bob, None).unwrap();
    w.assert_empty();
}

// Guards pitfall SIP 4: the route set also rules re-INVITE and UPDATE; target refresh.
#[test]
fn a_change_moves_the_target() {
    let mut w = World::new(1);
    let (alice, bob) = w.talk();
    w.peers[ALICE].sessions.get_mut(alice.0).unwrap().contact = "<sip:moved@192.0.2.1:5099>".into();
    w.peers[ALICE]
        .reinvite(w.now, alice, Content::sdp("one"))
        .unwrap();
    w.run_ms(50);
    assert_eq!(
        w.peers[BOB].dialog(bob).unwrap().target().as_str(),
        "sip:moved@192.0.2.1:5099"
    );
    w.peers[BOB].sessions.get_mut(bob.0).unwrap().contact = "<sip:bob2@192.0.2.2>".into();
    w.peers[BOB].answer(w.now, bob, Content::sdp("answer")).unwrap();
    w.run_ms(50);
    assert_eq!(
        w.peers[ALICE].dialog(alice).unwrap().target().as_str(),
        "sip:bob2@192.0.2.2"
    );
    let ack = w
        .sent
        .iter()
        .rev()
        .find(|(_, m)| *m.method() == Method::Ack)
        .unwrap();
    assert_eq!(ack.1.request_uri().unwrap().as_str(), "sip:bob2@192.0.2.2");
}

// Guards pitfall SIP 4: the route set also rules re-INVITE and UPDATE, and what else a dialog asks for.
#[test]
fn every_request_of_a_dialog_follows_its_route_set() {
    let mut w = World::new(1);
    w.drop_if = Box::new(|_, _| true);
    let mut request = w.new_request(ALICE, Method::Invite);
    request.content = Content::sdp("offer");
    let session = w.peers[ALICE].invite(w.now, request).unwrap();
    w.take(ALICE);
    let invite = w.sent.pop().unwrap().1;
    let mut ok = ok_from_afar(&invite);
    for route in ["<sip:p2.example;lr>", "<sip:p1.example;lr>"] {
        ok.header(HeaderName::RecordRoute, route);
    }
    w.inject(ALICE, ok.finish());
    w.take(ALICE);
    w.peers[ALICE]
        .reinvite(w.now, session, Content::sdp("hold"))
        .unwrap();
    let content = Content::none().with_body("text/plain", "x");
    w.peers[ALICE]
        .request_within(w.now, session, Method::Info, content)
        .unwrap();
    w.run_ms(10);
    w.peers[ALICE].hang_up(w.now, session, None).unwrap();
    w.run_ms(10);
    let mut seen = Vec::new();
    for (_, message) in &w.sent {
        let of_dialog = message.is_request() && message.to_tag() == Some("b");
        if !of_dialog || seen.contains(&message.method().as_str().to_owned()) {
            continue;
        }
        let routes: Vec<_> = message.lines(HeaderName::Route).collect();
        assert_eq!(routes, ["<sip:p1.example;lr>", "<sip:p2.example;lr>"]);
        assert_eq!(
            message.request_uri().map(|uri| uri.as_str()),
            Some("sip:b@198.51.100.1:5066")
        );
        seen.push(message.method().as_str().to_owned());
    }
    seen.sort();
    assert_eq!(seen, ["ACK", "BYE", "INFO", "INVITE"]);
}

fn ok_from_afar(invite: &Message) -> Builder {
    let mut builder = Builder::response(invite, Status::OK, "b");
    builder
        .header(HeaderName::Contact, "<sip:b@198.51.100.1:5066>")
        .header(HeaderName::Allow, "INVITE, ACK, BYE, INFO, UPDATE");
    builder
}

#[test]
fn an_update_with_an_offer_is_a_change_without_an_ack() {
    let mut w = World::new(1);
    let (alice, bob) = w.talk();
    let update = w.peers[ALICE]
        .request_within(w.now, alice, Method::Update, Content::sdp("u"))
        .unwrap();
    w.run_ms(50);
    assert!(matches!(w.only(BOB), Event::Reinvite { request, .. } if request.body() == "u"));
    w.peers[BOB].answer(w.now, bob, Content::sdp("answer")).unwrap();
    w.run_ms(50);
    let Event::Response { request, response } = w.only(ALICE) else {
        panic!()
    };
    assert_eq!(
        (request, response.body().clone()),
        (update, Bytes::from("answer"))
    );
    w.run_ms(10_000);
    assert_eq!(w.log(), ["a: UPDATE", "b: 200 UPDATE"]);
    w.peers[BOB].reinvite(w.now, bob, Content::sdp("mine")).unwrap();
}

#[test]
fn a_session_that_changes_faster_than_its_transactions_end_is_kept_until_the_last_has() {
    let mut w = World::new(1);
    let (alice, bob) = w.talk();
    // Each INVITE's transaction lasts 32 s behind its 2xx.
    for _ in 0..300 {
        w.peers[ALICE]
            .reinvite(w.now, alice, Content::sdp("hold"))
            .unwrap();
        w.run_ms(25);
        w.peers[BOB].answer(w.now, bob, Content::sdp("answer")).unwrap();
        w.run_ms(25);
    }
    w.peers[BOB].hang_up(w.now, bob, None).unwrap();
    w.run_ms(5_000);
    assert_eq!(w.peers[ALICE].sessions(), 1, "a 2xx may come again");
    w.assert_empty();
}

fn timed(seconds: Option<u32>) -> UaConfig {
    UaConfig {
        session_expires_s: seconds,
        ..config()
    }
}

fn timed_call(caller: Option<u32>, callee: Option<u32>) -> (World, SessionId, SessionId) {
    let mut w = World::new(1);
    let mut rng = Rng::from_number(5);
    w.peers = [
        Ua::new(timed(caller), rng.fork()),
        Ua::new(timed(callee), rng.fork()),
    ];
    let (alice, bob) = w.talk();
    (w, alice, bob)
}

#[test]
fn a_session_with_an_interval_is_refreshed_while_both_are_there() {
    for (caller, callee) in [(Some(100), None), (None, Some(100)), (Some(200), Some(100))] {
        let (mut w, alice, bob) = timed_call(caller, callee);
        w.run_ms(1_000_000);
        assert!(w.take(ALICE).is_empty() && w.take(BOB).is_empty());
        let updates = w.count(ALICE, "UPDATE") + w.count(BOB, "UPDATE");
        assert!((18..=20).contains(&updates), "{updates} refreshes each 50 s");
        assert!(w.peers[ALICE].dialog(alice).is_some() && w.peers[BOB].dialog(bob).is_some());
    }
}

// RFC 4028 §7.3: a phone that wants longer intervals is not one that does not want the call.
#[test]
fn an_interval_that_is_too_short_for_the_peer_is_made_longer() {
    let mut w = World::with(1, Transport::Udp, timed(Some(100)));
    let (alice, mut bob) = w.call();
    for (least, asked) in [("1800", "1800"), ("3600", "3600")] {
        let refusal = Content::none().with("Min-SE", least);
        w.peers[BOB]
            .reject(w.now, bob, Status::SESSION_INTERVAL_TOO_SMALL, refusal)
            .unwrap();
        w.run_ms(50);
        assert!(w.take(ALICE).is_empty(), "nobody hears of it");
        let mut again = w.take(BOB);
        let Some(Event::Invite { session, request, .. }) = again.pop() else {
            panic!("it is called again")
        };
        assert_eq!(request.header(HeaderName::SessionExpires), Some(asked));
        assert_eq!(request.header(HeaderName::MinSe), Some(least));
        assert_eq!(request.body(), "offer");
        bob = session;
    }
    w.peers[BOB].answer(w.now, bob, Content::sdp("answer")).unwrap();
    w.run_ms(50);
    assert!(matches!(w.take(ALICE)[..], [Event::Answered { .. }]));
    w.take(BOB);
    // So with a change of the session that stands.
    w.peers[ALICE]
        .reinvite(w.now, alice, Content::sdp("hold"))
        .unwrap();
    w.run_ms(50);
    w.take(BOB);
    let refusal = Content::none().with("Min-SE", "7200");
    w.peers[BOB]
        .reject(w.now, bob, Status::SESSION_INTERVAL_TOO_SMALL, refusal)
        .unwrap();
    w.run_ms(50);
    assert!(w.take(ALICE).is_empty());
    let Event::Reinvite { request, .. } = w.only(BOB) else {
        panic!("it is asked again")
    };
    let asked = request.header(HeaderName::SessionExpires).unwrap();
    assert!(asked.starts_with("7200;refresher="), "{asked}");
    assert_eq!(request.body(), "hold");
    w.peers[BOB].answer(w.now, bob, Content::sdp("held")).unwrap();
    w.run_ms(50);
    w.peers[ALICE].hang_up(w.now, alice, None).unwrap();
    w.assert_empty();
}

#[test]
fn a_peer_that_refuses_any_interval_is_believed() {
    let mut w = World::with(1, Transport::Udp, timed(Some(3600)));
    let (_, bob) = w.call();
    // It says nothing new.
    let refusal = Content::none().with("Min-SE", "90");
    w.peers[BOB]
        .reject(w.now, bob, Status::SESSION_INTERVAL_TOO_SMALL, refusal)
        .unwrap();
    w.run_ms(50);
    let Event::Terminated {
        reason: Reason::Refused(response),
        ..
    } = w.only(ALICE)
    else {
        panic!("it is refused")
    };
    assert_eq!(response.status(), Some(Status::SESSION_INTERVAL_TOO_SMALL));
    w.assert_empty();
}

// Guards pitfall SIP 9: behind a NAT that has forgotten the peer, what it sends next shows where it is reached.
#[test]
fn requests_go_where_the_peers_last_request_came_from() {
    let mut w = World::new(1);
    let (alice, bob) = w.talk();
    w.seen_at[BOB] = 40_000;
    w.peers[BOB].reinvite(w.now, bob, Content::sdp("here")).unwrap();
    w.run_ms(50);
    w.peers[ALICE]
        .answer(w.now, alice, Content::sdp("answer"))
        .unwrap();
    w.run_ms(50);
    w.peers[ALICE].hang_up(w.now, alice, None).unwrap();
    w.flush();
    assert_eq!(w.last_way[ALICE].map(|way| way.remote.port()), Some(40_000));
    w.assert_empty();
}

#[test]
fn a_session_whose_peer_is_gone_ends_by_its_interval() {
    let (mut w, ..) = timed_call(Some(100), Some(100));
    w.drop_if = Box::new(|_, _| true);
    w.run_ms(100_000);
    for who in [ALICE, BOB] {
        assert!(matches!(
            w.only(who),
            Event::Terminated {
                reason: Reason::Gone,
                ..
            }
        ));
    }
    w.assert_empty();
}

#[test]
fn a_peer_without_update_is_refreshed_by_its_user() {
    let mut w = World::new(1);
    let mut rng = Rng::from_number(5);
    let mut old = config();
    old.allow.retain(|method| *method != Method::Update);
    w.peers = [Ua::new(timed(Some(100)), rng.fork()), Ua::new(old, rng.fork())];
    let (alice, bob) = w.talk();
    w.run_ms(50_000);
    assert!(matches!(w.only(ALICE), Event::RefreshDue { .. }));
    w.peers[ALICE]
        .reinvite(w.now, alice, Content::sdp("same"))
        .unwrap();
    w.run_ms(50);
    w.peers[BOB].answer(w.now, bob, Content::sdp("same")).unwrap();
    w.run_ms(49_000);
    assert!(matches!(w.take(ALICE)[..], [Event::ReinviteAnswered { .. }]));
    w.run_ms(1_100);
    assert!(matches!(w.only(ALICE), Event::RefreshDue { .. }));
}
