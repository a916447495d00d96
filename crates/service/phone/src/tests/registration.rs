//! REGISTER, and where calls go by it.

use super::office::{ALICE as ALICES, BOB as BOBS};
use super::world::{ALICE, BOB, SERVER, World, config};
use crate::{Event, Registered};
use ringpost_sip::ua::{self, Content};
use ringpost_sip::{Arrival, HeaderName, Message, Status, Transport};

/// What the registrar answers to a request of a phone's with these Contacts.
fn register(w: &mut World, who: usize, expires_s: u32, contact: Option<&str>) -> Message {
    let request = w.peers[who].registration(expires_s, contact);
    let now = w.now;
    w.peers[who].ua.request(now, request).unwrap();
    w.run_ms(300);
    let answered = |e: ua::Event| match e {
        ua::Event::Response { response, .. } => Some(response),
        _ => None,
    };
    w.take(who).into_iter().find_map(answered).expect("an answer")
}

fn contacts(answer: &Message) -> Vec<&str> {
    answer.lines(HeaderName::Contact).collect()
}

fn world() -> World {
    World::with(1, config(), Transport::Udp, &["alice", "bob"])
}

#[test]
fn a_registration_is_told_refreshed_asked_for_and_ended() {
    let mut w = world();
    let uri = "<sip:alice@198.51.100.2:5060>";
    let answer = register(&mut w, ALICE, 600, Some(uri));
    assert_eq!(contacts(&answer), ["<sip:alice@198.51.100.2:5060>;expires=600"]);
    assert!(answer.date().unwrap().is_ok());
    w.run_s(100);
    let asked = register(&mut w, ALICE, 600, None);
    let left = contacts(&asked)[0]
        .rsplit('=')
        .next()
        .unwrap()
        .parse::<u32>()
        .unwrap();
    assert!((495..=500).contains(&left), "{left}");
    let refreshed = register(&mut w, ALICE, 600, Some(uri));
    assert_eq!(contacts(&refreshed), contacts(&answer));
    let two = register(
        &mut w,
        ALICE,
        600,
        Some("<sip:alice@198.51.100.2:5062>;q=0.5;expires=90"),
    );
    assert_eq!(contacts(&two).len(), 2);
    let ended = register(&mut w, ALICE, 0, Some(uri));
    assert_eq!(contacts(&ended), ["<sip:alice@198.51.100.2:5062>;expires=89"]);
    w.run_s(91);
    assert_eq!(w.phone.registered(), 0);
    let last = w.events.iter().rev().find_map(|event| match event {
        Event::Bindings {
            account,
            address,
            bindings,
        } => Some((account, address, bindings.len())),
        _ => None,
    });
    assert_eq!(last, Some((&ALICES, &"".into(), 0)));
    w.assert_over();
}

// Guards pitfall SIP 11: `*` goes with an expiry of zero, and with nothing else.
#[test]
fn a_star_ends_everything_and_only_with_an_expiry_of_zero() {
    let mut w = world();
    register(
        &mut w,
        ALICE,
        600,
        Some("<sip:a@198.51.100.2>, <sip:b@198.51.100.2>"),
    );
    assert_eq!(w.phone.registered(), 2);
    let wrong = register(&mut w, ALICE, 600, Some("*"));
    assert_eq!(wrong.status(), Some(Status::BAD_REQUEST));
    let wrong = register(&mut w, ALICE, 0, Some("*, <sip:a@198.51.100.2>"));
    assert_eq!(wrong.status(), Some(Status::BAD_REQUEST));
    assert_eq!(w.phone.registered(), 2);
    let ended = register(&mut w, ALICE, 0, Some("*"));
    assert_eq!(ended.status(), Some(Status::OK));
    assert_eq!(w.phone.registered(), 0);
}

#[test]
fn what_cannot_be_registered_is_refused_whole() {
    let mut w = world();
    let brief = register(&mut w, ALICE, 10, Some("<sip:a@198.51.100.2>"));
    assert_eq!(brief.status(), Some(Status::INTERVAL_TOO_BRIEF));
    assert_eq!(brief.header(HeaderName::MinExpires), Some("60"));
    for contact in ["<tel:100>", "<sip:a@198.51.100.2>, <mailto:a@b.c>"] {
        let answer = register(&mut w, ALICE, 600, Some(contact));
        assert_eq!(answer.status(), Some(Status::BAD_REQUEST), "{contact}");
    }
    let mut request = w.peers[ALICE].registration(600, Some("<sip:a@198.51.100.2>"));
    request.to = "<sip:bob@example.org>".parse().unwrap();
    let now = w.now;
    w.peers[ALICE].ua.request(now, request).unwrap();
    w.run_ms(300);
    assert_eq!(w.count_to(ALICE, "403 REGISTER"), 1, "somebody else's address");
    assert_eq!(w.phone.registered(), 0);
}

#[test]
fn a_contact_is_called_without_what_a_request_uri_may_not_hold() {
    let mut w = world();
    register(&mut w, ALICE, 600, Some("<sip:alice@198.51.100.2:5060>"));
    let contact = "<sip:bob@198.51.100.3:5060;line=7?Route=%3Csip:x%3E>";
    let answer = register(&mut w, BOB, 600, Some(contact));
    assert!(
        contacts(&answer)[0].starts_with(contact),
        "it is told as it was given"
    );
    w.ring(ALICE, BOB);
    let invite = w.last_to(BOB, "INVITE");
    assert_eq!(
        invite.request_uri().unwrap().as_str(),
        "sip:bob@198.51.100.3:5060;line=7"
    );
}

// Guards pitfalls SIP 9 and 11: a phone is reached the way that its REGISTER came, whatever its Contact says.
#[test]
fn calls_go_back_the_way_that_the_registration_came() {
    let mut w = world();
    register(&mut w, ALICE, 600, Some("<sip:alice@10.0.0.1:5060>"));
    register(&mut w, BOB, 600, Some("<sip:bob@10.0.0.2:5070>"));
    let (alice, _) = w.talk(ALICE, BOB);
    let now = w.now;
    w.peers[ALICE].hang_up(now, alice);
    w.assert_over();
}

// Guards pitfall SIP 11: a binding belongs to its flow, and goes or moves with it.
#[test]
fn a_phone_whose_connection_is_gone_is_reached_by_a_new_one_or_not_at_all() {
    let mut w = World::with(1, config(), Transport::Tcp, &["alice", "bob"]);
    w.register_all();
    let flow = w.flow_of(BOB);
    let (now, calendar) = (w.now, w.calendar());
    w.phone.handle_arrival(now, calendar, Arrival::Closed { flow });
    assert_eq!(
        w.phone.bindings(BOBS)[0].flow.connection,
        None,
        "its Contact says where it listens"
    );
    w.flush();
    assert!(
        w.events
            .iter()
            .any(|e| matches!(e, Event::Bindings { account, .. } if *account == BOBS))
    );
    let contact = "<sip:bob@host.example;transport=tcp>";
    register(&mut w, BOB, 600, Some(contact));
    assert_eq!(w.phone.bindings(BOBS).len(), 2);
    let (now, calendar) = (w.now, w.calendar());
    w.phone.handle_arrival(now, calendar, Arrival::Closed { flow });
    assert_eq!(w.phone.bindings(BOBS).len(), 1, "a name is not looked up");
    w.phone.registrar.assert_tidy();
}

#[test]
fn a_removed_account_is_registered_no_more() {
    let mut w = World::new();
    w.remove_device(BOB, true);
    w.flush();
    assert!(w.phone.bindings(BOBS).is_empty());
    assert!(w.events.iter().any(
        |e| matches!(e, Event::Bindings { account, bindings, .. } if *account == BOBS && bindings.is_empty())
    ));
    assert_eq!(w.phone.accounts(), [ALICES]);
    w.assert_over();
}

#[test]
fn what_was_registered_before_a_restart_is_called() {
    let mut before = World::new();
    let bindings = before.phone.bindings(BOBS).to_vec();
    let mut w = World::with(2, config(), Transport::Udp, &["alice", "bob"]);
    let person = w.office.people[1].clone();
    w.phone.restore(Registered { person, bindings });
    register(&mut w, ALICE, 600, Some("<sip:alice@198.51.100.2:5060>"));
    let (alice, _) = w.talk(ALICE, BOB);
    let now = w.now;
    w.peers[ALICE].hang_up(now, alice);
    w.assert_over();
    before.assert_over();
}

#[test]
fn a_phone_that_is_no_longer_registered_is_not_called() {
    let mut w = world();
    register(&mut w, ALICE, 3_600, Some("<sip:alice@198.51.100.2:5060>"));
    register(&mut w, BOB, 60, Some("<sip:bob@198.51.100.3:5060>"));
    w.run_s(61);
    let now = w.now;
    let alice = w.peers[ALICE].call(now, "bob");
    w.run_ms(300);
    assert_eq!(w.count_to(BOB, "INVITE"), 0);
    assert_eq!(
        w.count_to(ALICE, "200 INVITE"),
        1,
        "the voicemail answers at once"
    );
    let now = w.now;
    w.peers[ALICE].hang_up(now, alice);
    w.assert_over();
}

#[test]
fn the_server_goes_by_its_public_address_once_that_is_set() {
    let mut w = World::new();
    let public = "203.0.113.5".parse().unwrap();
    w.phone.configure(crate::Config {
        public_address: Some(public),
        ports: vec![(Transport::Udp, 5066)],
        ..config()
    });
    let (alice, _, invite) = w.ring(ALICE, BOB);
    assert_eq!(invite.top_via().host().ip(), Some(public));
    assert_eq!(invite.contact().unwrap().uri().port(), Some(5066));
    let now = w.now;
    w.peers[ALICE].hang_up(now, alice);
    w.run_ms(500);
    // The socket stays what it is.
    assert_eq!(w.peers[BOB].flow.remote, SERVER);
    w.assert_over();
}

#[test]
fn a_removed_device_is_registered_no_more_and_its_call_goes_on() {
    let mut w = World::new();
    let (alice, bob) = w.talk(ALICE, BOB);
    w.remove_device(ALICE, false);
    w.run_ms(100);
    assert_eq!(w.phone.bindings(ALICES), []);
    assert_eq!(w.phone.bindings(BOBS).len(), 1, "bob's phone stays");
    let saved = |e: &Event| matches!(e, Event::Bindings { account, bindings, .. } if *account == ALICES && bindings.is_empty());
    assert!(w.events.iter().any(saved), "{:?}", w.events);
    w.assert_bridged();
    let now = w.now;
    w.peers[BOB].hang_up(now, bob);
    w.run_ms(500);
    let over = |e: &ua::Event| matches!(e, ua::Event::Terminated { session, .. } if *session == alice);
    assert!(w.take(ALICE).iter().any(over));
    let answer = register(&mut w, ALICE, 600, Some("<sip:alice@198.51.100.2:5060>"));
    assert_eq!(answer.status(), Some(Status::UNAUTHORIZED));
    let now = w.now;
    w.peers[ALICE].call(now, "bob");
    w.run_ms(500);
    assert_eq!(w.refusal(ALICE), Status::UNAUTHORIZED);
    w.assert_over();
}

#[test]
fn what_a_trusted_network_registered_goes_with_its_account_alone() {
    let trusting = crate::Config {
        trusted: vec![("198.51.100.0".parse().unwrap(), 24)],
        ..config()
    };
    let mut w = World::with(1, trusting, Transport::Udp, &["alice"]);
    w.register_all();
    w.remove_device(ALICE, false);
    assert_eq!(w.phone.bindings(ALICES).len(), 1);
    w.remove_device(ALICE, true);
    assert_eq!(w.phone.bindings(ALICES), []);
    w.assert_over();
}

#[test]
fn no_request_of_the_registrars_is_of_a_dialog() {
    let mut w = World::new();
    let offer = w.peers[ALICE].describe(b"");
    let now = w.now;
    let mut request = w.peers[ALICE].registration(600, Some("<sip:alice@198.51.100.2:5060>"));
    request.to = request.to.with_tag("x");
    request.content = request.content.with("Call-Info", "<sip:x>;purpose=info");
    let _ = (offer, Content::none());
    w.peers[ALICE].ua.request(now, request).unwrap();
    w.run_ms(300);
    assert_eq!(w.count_to(ALICE, "200 REGISTER"), 1, "a tag in To does no harm");
    w.assert_over();
}
