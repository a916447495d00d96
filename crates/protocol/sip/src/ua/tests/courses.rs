//! Sessions whose requests go where their dialog leads.

use super::super::*;
use super::world::*;

/// The way to another host than the one that was dialled.
fn elsewhere() -> Flow {
    Flow {
        transport: Transport::Tcp,
        local: "192.0.2.1:5060".parse().unwrap(),
        remote: "192.0.2.77:5070".parse().unwrap(),
        connection: Some(7),
    }
}

/// Alice's call, answered by Bob, and the URI that she asks for.
fn answered(w: &mut World) -> (SessionId, SessionId, Uri) {
    let mut request = w.new_request(ALICE, Method::Invite);
    request.content = Content::sdp("offer");
    request.follows_dialog = true;
    let alice = w.peers[ALICE].invite(w.now, request).unwrap();
    w.run_ms(20);
    let Event::Invite { session: bob, .. } = w.only(BOB) else {
        panic!("an INVITE")
    };
    assert!(!w.peers[ALICE].was_heard(alice));
    w.peers[BOB].answer(w.now, bob, Content::sdp("answer")).unwrap();
    w.run_ms(20);
    assert!(w.peers[ALICE].was_heard(alice));
    let [Event::Locate { session, uri }, Event::Answered { .. }] = &w.take(ALICE)[..] else {
        panic!("a question and an answer")
    };
    assert_eq!(*session, alice);
    (alice, bob, uri.clone())
}

//= https://www.rfc-editor.org/rfc/rfc3261#section-12.2.1.1
//= type=test
#[test]
fn ack_and_bye_go_where_the_dialog_leads_once_that_is_known() {
    let mut w = World::new(1);
    let (alice, bob, uri) = answered(&mut w);
    assert_eq!(uri, *w.peers[ALICE].dialog(alice).unwrap().target());
    assert_eq!(w.count(ALICE, "ACK"), 0, "nobody knows where to yet");
    w.peers[ALICE].located(w.now, alice, &uri, Some(elsewhere()));
    w.run_ms(20);
    assert_eq!(w.count(ALICE, "ACK"), 1);
    assert_eq!(w.last_way[ALICE], Some(elsewhere()));
    assert!(matches!(w.only(BOB), Event::Acked { session, .. } if session == bob));
    w.peers[ALICE].hang_up(w.now, alice, None).unwrap();
    w.run_ms(50);
    assert_eq!(w.last_way[ALICE], Some(elsewhere()));
    assert!(matches!(
        w.only(BOB),
        Event::Terminated {
            reason: Reason::Bye(_),
            ..
        }
    ));
    w.assert_empty();
}

#[test]
fn what_leads_nowhere_is_answered_back_the_way_that_it_came() {
    let mut w = World::new(1);
    let (alice, _, uri) = answered(&mut w);
    w.peers[ALICE].located(
        w.now,
        alice,
        &"sip:x@192.0.2.9".parse().unwrap(),
        Some(elsewhere()),
    );
    assert_eq!(w.count(ALICE, "ACK"), 0, "that was not asked");
    w.peers[ALICE].located(w.now, alice, &uri, None);
    w.run_ms(20);
    assert_eq!(w.last_way[ALICE], Some(w.flow(ALICE)));
    w.peers[ALICE].hang_up(w.now, alice, None).unwrap();
    w.assert_empty();
}

#[test]
fn a_call_that_is_hung_up_while_it_is_asked_is_acknowledged_and_ended_all_the_same() {
    let mut w = World::new(1);
    let (alice, bob, uri) = answered(&mut w);
    let info = w.peers[ALICE].request_within(w.now, alice, Method::Info, Content::none());
    w.peers[ALICE].hang_up(w.now, alice, None).unwrap();
    let events = w.take(ALICE);
    assert!(
        matches!(events[..], [Event::Failed { request, .. }, Event::Terminated { .. }] if Ok(request) == info),
        "{events:?}"
    );
    assert_eq!(w.count(ALICE, "BYE"), 0);
    w.peers[ALICE].located(w.now, alice, &uri, Some(elsewhere()));
    w.run_ms(20);
    assert_eq!(
        (
            w.count(ALICE, "ACK"),
            w.count(ALICE, "BYE"),
            w.count(ALICE, "INFO")
        ),
        (1, 1, 0)
    );
    let ended = w.take(BOB);
    assert!(matches!(ended.last(), Some(Event::Terminated { session, .. }) if *session == bob));
    w.assert_empty();
}

#[test]
fn a_way_that_breaks_is_asked_for_again_before_the_next_request() {
    let mut w = World::new(1);
    let (alice, _, uri) = answered(&mut w);
    w.peers[ALICE].located(w.now, alice, &uri, Some(elsewhere()));
    w.run_ms(50);
    w.take(BOB);
    w.peers[ALICE].handle_arrival(w.now, Arrival::Closed { flow: elsewhere() });
    assert!(w.take(ALICE).is_empty(), "nothing is to be sent");
    let refused = w.peers[ALICE].reinvite(w.now, alice, Content::sdp("new offer"));
    assert_eq!(refused, Err(CommandError::Pending));
    assert!(matches!(w.only(ALICE), Event::Locate { .. }));
    let again = Flow {
        connection: Some(8),
        ..elsewhere()
    };
    w.peers[ALICE].located(w.now, alice, &uri, Some(again));
    assert!(matches!(w.only(ALICE), Event::ReinviteAllowed { .. }));
    w.peers[ALICE]
        .reinvite(w.now, alice, Content::sdp("new offer"))
        .unwrap();
    w.run_ms(20);
    assert_eq!(w.last_way[ALICE], Some(again));
    assert!(matches!(w.only(BOB), Event::Reinvite { .. }));
    w.peers[ALICE].hang_up(w.now, alice, None).unwrap();
    w.assert_empty();
}

#[test]
fn a_call_to_a_sips_uri_has_a_sips_contact() {
    let mut w = World::with(1, Transport::Tls, config());
    let mut request = w.new_request(ALICE, Method::Invite);
    request.uri = "sips:bob@192.0.2.2".parse().unwrap();
    w.peers[ALICE].invite(w.now, request).unwrap();
    w.run_ms(20);
    let Event::Invite { session, request, .. } = w.only(BOB) else {
        panic!("an INVITE")
    };
    assert_eq!(
        request.contact().unwrap().uri().as_str(),
        "sips:alice@192.0.2.1:5060"
    );
    w.peers[BOB]
        .answer(w.now, session, Content::sdp("answer"))
        .unwrap();
    w.run_ms(20);
    let Some(Event::Answered { response, .. }) = w.take(ALICE).pop() else {
        panic!("an answer")
    };
    assert_eq!(
        response.contact().unwrap().uri().scheme(),
        crate::uri::Scheme::Sips
    );
}
