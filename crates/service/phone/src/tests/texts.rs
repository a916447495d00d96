//! Text messages.

use super::world::{ALICE, BOB, World};
use ringpost_sip::ua::{self, Content};
use ringpost_sip::{Arrival, HeaderName, Message, Method, Status, TransactionId};

fn send(w: &mut World, to: &str) {
    let mut request = w.peers[ALICE].request(Method::Message, to);
    request.content = Content::none()
        .with("Subject", "lunch")
        .with_body("text/plain;charset=utf-8", "hello");
    let now = w.now;
    w.peers[ALICE].ua.request(now, request).unwrap();
    w.run_ms(300);
}

/// The text that came to a phone, which has not answered.
fn came(w: &mut World, who: usize) -> (TransactionId, Message) {
    let text = w.take(who).into_iter().find_map(|event| match event {
        ua::Event::Request { id, request, .. } => Some((id, request)),
        _ => None,
    });
    text.expect("a text")
}

fn answer(w: &mut World, who: usize, (id, request): &(TransactionId, Message), status: Status) {
    let response = w.peers[who].ua.response(request, status).finish();
    let now = w.now;
    w.peers[who].ua.respond(now, *id, response);
    w.run_ms(100);
}

#[test]
fn a_text_reaches_every_phone_and_is_answered_once() {
    let mut w = World::of(&["alice", "bob", "bob"]);
    send(&mut w, "bob");
    for who in [1, 2] {
        let text = w.last_to(who, "MESSAGE");
        assert_eq!(text.body().as_ref(), b"hello");
        assert_eq!(
            text.header(HeaderName::ContentType),
            Some("text/plain;charset=utf-8")
        );
        assert_eq!(text.header(HeaderName::Subject), Some("lunch"));
        assert_eq!(text.from().uri().as_str(), "sip:alice@example.org");
        assert!(!text.has(HeaderName::Contact), "RFC 3428 §4");
    }
    assert_eq!(w.count_to(ALICE, "200 MESSAGE"), 1);
    w.assert_over();
}

#[test]
fn the_phone_that_takes_a_text_decides_and_else_the_best_refusal() {
    let cases = [
        ([Status::BUSY_HERE, Status::OK], 200),
        ([Status::OK, Status::BUSY_HERE], 200),
        ([Status::BUSY_HERE, Status::NOT_FOUND], 486),
        (
            [Status::SERVER_INTERNAL_ERROR, Status::UNSUPPORTED_MEDIA_TYPE],
            415,
        ),
        ([Status::UNAUTHORIZED, Status::UNAUTHORIZED], 480),
        ([Status::ACCEPTED, Status::OK], 202),
    ];
    for (answers, told) in cases {
        let mut w = World::of(&["alice", "bob", "bob"]);
        w.peers[1].is_polite = false;
        w.peers[2].is_polite = false;
        send(&mut w, "bob");
        let texts = [came(&mut w, 1), came(&mut w, 2)];
        for who in [1, 2] {
            answer(&mut w, who, &texts[who - 1], answers[who - 1]);
        }
        assert_eq!(w.count_to(ALICE, &format!("{told} MESSAGE")), 1, "{answers:?}");
        w.assert_over();
    }
}

#[test]
fn a_text_that_cannot_be_delivered_is_refused() {
    let mut w = World::new();
    for (to, status) in [("carol", 480), ("nobody", 404)] {
        w.forget();
        send(&mut w, to);
        assert_eq!(w.count_to(ALICE, &format!("{status} MESSAGE")), 1, "{to}");
    }
    w.forget();
    let mut request = w.peers[ALICE].request(Method::Message, "bob");
    request.uri = "sip:bob@elsewhere.example".parse().unwrap();
    let now = w.now;
    w.peers[ALICE].ua.request(now, request).unwrap();
    w.run_ms(300);
    assert_eq!(w.count_to(ALICE, "404 MESSAGE"), 1, "there is no such domain");
    w.assert_over();
}

#[test]
fn a_phone_that_does_not_answer_a_text_leaves_nothing_behind() {
    let mut w = World::of(&["alice", "bob", "bob"]);
    w.drop_if = Box::new(|sent| sent.to == Some(1) && sent.what() == "MESSAGE");
    send(&mut w, "bob");
    assert_eq!(w.count_to(ALICE, "200 MESSAGE"), 1, "the other has it");
    w.assert_over();

    let mut w = World::new();
    w.drop_if = Box::new(|sent| sent.to == Some(BOB) && sent.what() == "MESSAGE");
    send(&mut w, "bob");
    w.run_s(40);
    assert_eq!(w.count_to(ALICE, "408 MESSAGE"), 0, "RFC 4320 §4.2");
    w.assert_over();
}

#[test]
fn a_text_to_phones_that_cannot_be_reached_is_told_as_such_and_never_as_an_error_of_ours() {
    for (refusal, told) in [
        (Status::UNSUPPORTED_MEDIA_TYPE, 415),
        (Status::SERVICE_UNAVAILABLE, 480),
    ] {
        let mut w = World::of(&["alice", "bob", "bob"]);
        w.peers[1].is_polite = false;
        w.drop_if = Box::new(|sent| sent.to == Some(2));
        send(&mut w, "bob");
        let text = came(&mut w, 1);
        answer(&mut w, 1, &text, refusal);
        let (now, calendar, flow) = (w.now, w.calendar(), w.flow_of(2));
        w.phone.handle_arrival(now, calendar, Arrival::Failed { flow });
        w.run_ms(200);
        assert_eq!(w.count_to(ALICE, &format!("{told} MESSAGE")), 1, "{refusal:?}");
        w.assert_over();
    }
}

#[test]
fn a_text_that_comes_twice_is_delivered_once() {
    let mut w = World::new();
    w.duplication = 1.0;
    send(&mut w, "bob");
    let texts = w.take(BOB);
    let is_text = |e: &&ua::Event| matches!(e, ua::Event::Request { request, .. } if *request.method() == Method::Message);
    assert_eq!(texts.iter().filter(is_text).count(), 1);
    w.assert_over();
}
