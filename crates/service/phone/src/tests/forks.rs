//! Several phones of one person ring together.

use super::peer::sdp;
use super::world::{World, config, seconds};
use ringpost_media::LegId;
use ringpost_sdp::Direction;
use ringpost_sip::ua::{self, Content, SessionId};
use ringpost_sip::{Arrival, HeaderName, Message, Method, Status};

/// Alice, and so many phones of Bob's.
fn world(phones: usize) -> World {
    let mut names = vec!["alice"];
    names.resize(1 + phones, "bob");
    World::of(&names)
}

/// Alice calls; what has come to each of Bob's phones that has a user agent.
fn call(w: &mut World) -> (SessionId, Vec<(SessionId, Message)>) {
    let now = w.now;
    let alice = w.peers[0].call(now, "bob");
    w.run_ms(300);
    let bobs = (1..w.peers.len())
        .filter(|who| !w.peers[*who].is_raw)
        .collect::<Vec<_>>();
    (alice, bobs.into_iter().map(|who| w.incoming(who)).collect())
}

/// The leg that the caller is on: the first that was made.
fn callers_leg(w: &World) -> LegId {
    w.legs()[0]
}

fn hang_up(mut w: World, who: usize, session: SessionId) {
    let now = w.now;
    w.peers[who].hang_up(now, session);
    w.assert_over();
}

// Guards pitfall SIP 7: the losers of a fork get CANCEL, and are told that nobody missed anything.
#[test]
fn the_first_phone_that_answers_has_the_call_and_the_others_stop() {
    let mut w = world(3);
    let (alice, bobs) = call(&mut w);
    let now = w.now;
    w.peers[2].answer(now, bobs[1].0, &bobs[1].1);
    w.run_ms(300);
    for loser in [1, 3] {
        assert_eq!(w.count_to(loser, "CANCEL"), 1);
        let reason = w.last_to(loser, "CANCEL");
        let reason = reason.header(HeaderName::Reason).unwrap();
        assert!(reason.contains("cause=200"), "{reason}");
        assert_eq!(w.count_from(loser, "487 INVITE"), 1);
    }
    assert_eq!(w.count_to(0, "200 INVITE"), 1);
    w.assert_bridged();
    hang_up(w, 0, alice);
}

// Guards pitfall SIP 7: whatever order they come in, there is one winner, and each other 2xx is acknowledged and ended.
#[test]
fn phones_that_answer_together_leave_one_call() {
    for (first, second) in [(1, 2), (2, 1)] {
        let mut w = world(2);
        let (alice, bobs) = call(&mut w);
        for who in [first, second] {
            let (session, invite) = &bobs[who - 1];
            let now = w.now;
            w.peers[who].answer(now, *session, invite);
            w.run_ms(1);
        }
        w.run_ms(500);
        assert_eq!(w.count_to(first, "BYE"), 0);
        assert_eq!(w.count_to(second, "ACK"), 1);
        assert_eq!(w.count_to(second, "BYE"), 1);
        w.assert_bridged();
        hang_up(w, 0, alice);
    }
}

// Guards pitfall SIP 7: a phone behind a proxy that forks again answers twice; the second gets ACK and BYE.
#[test]
fn a_late_second_answer_of_a_fork_is_acked_and_byed() {
    let mut w = world(1);
    w.peers[1].is_raw = true;
    let (alice, _) = call(&mut w);
    let invite = w.heard(1, Method::Invite);
    let answer = sdp("0", Direction::SendRecv, 1);
    w.respond_raw(1, &invite, Status::OK, "one", &answer);
    w.run_ms(100);
    w.respond_raw(1, &invite, Status::OK, "other", &answer);
    w.run_ms(100);
    let tagged = |w: &World, method: Method, tag: &str| {
        let is_it = |m: &&Message| m.is_request() && *m.method() == method && m.to_tag() == Some(tag);
        w.peers[1].heard.iter().filter(is_it).count()
    };
    assert_eq!(
        (tagged(&w, Method::Ack, "one"), tagged(&w, Method::Bye, "one")),
        (1, 0)
    );
    assert_eq!(
        (tagged(&w, Method::Ack, "other"), tagged(&w, Method::Bye, "other")),
        (1, 1)
    );
    w.assert_bridged();
    // The raw phone never answers our BYE; it goes unheard.
    hang_up(w, 0, alice);
}

#[test]
fn forks_that_fail_in_every_order_come_to_the_same_end() {
    let refusals = [
        Status::BUSY_HERE,
        Status::TEMPORARILY_UNAVAILABLE,
        Status::NOT_FOUND,
    ];
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let mut w = world(3);
        let (alice, bobs) = call(&mut w);
        for i in order {
            assert_eq!(w.count_to(0, "200 INVITE"), 0);
            let now = w.now;
            w.peers[1 + i]
                .ua
                .reject(now, bobs[i].0, refusals[i], Content::none())
                .unwrap();
            w.run_ms(100);
        }
        assert_eq!(w.count_to(0, "200 INVITE"), 1, "the voicemail answers");
        assert_eq!(w.legs().len(), 1);
        hang_up(w, 0, alice);
    }
}

#[test]
fn one_phone_that_is_busy_leaves_the_others_ringing() {
    let mut w = world(2);
    let (alice, bobs) = call(&mut w);
    let now = w.now;
    w.peers[1]
        .ua
        .reject(now, bobs[0].0, Status::BUSY_HERE, Content::none())
        .unwrap();
    w.run_ms(100);
    assert_eq!(w.count_to(2, "CANCEL"), 0);
    let now = w.now;
    w.peers[2].answer(now, bobs[1].0, &bobs[1].1);
    w.run_ms(200);
    w.assert_bridged();
    hang_up(w, 0, alice);
}

#[test]
fn who_declines_everywhere_stops_the_other_phones() {
    let mut w = world(2);
    let (alice, bobs) = call(&mut w);
    let now = w.now;
    w.peers[1]
        .ua
        .reject(now, bobs[0].0, Status::DECLINE, Content::none())
        .unwrap();
    w.run_ms(200);
    assert_eq!(w.count_to(2, "CANCEL"), 1);
    assert_eq!(w.count_to(0, "200 INVITE"), 1, "the voicemail answers");
    hang_up(w, 0, alice);
}

#[test]
fn a_refusal_that_is_about_the_call_is_told() {
    let mut w = world(2);
    let (_, bobs) = call(&mut w);
    for (i, status) in [Status::NOT_ACCEPTABLE_HERE, Status::TEMPORARILY_UNAVAILABLE]
        .into_iter()
        .enumerate()
    {
        let now = w.now;
        w.peers[1 + i]
            .ua
            .reject(now, bobs[i].0, status, Content::none())
            .unwrap();
    }
    w.run_ms(200);
    assert_eq!(w.refusal(0), Status::NOT_ACCEPTABLE_HERE);
    w.assert_over();
}

/// Bob's first phone refuses with `refusal`, and his second cannot be reached: its way fails at once or, `is_silent`, never
/// brings an answer.
fn refused_and_unreached(formats: &'static str, refusal: Status, first: usize, is_silent: bool) -> World {
    let mut w = world(2);
    w.peers[0].formats = formats;
    w.drop_if = Box::new(|sent| sent.to == Some(2));
    let now = w.now;
    w.peers[0].call(now, "bob");
    w.run_ms(300);
    let (session, _) = w.incoming(1);
    for who in [first, 3 - first] {
        let (now, calendar, flow) = (w.now, w.calendar(), w.flow_of(who));
        match who {
            1 => {
                let ua = &mut w.peers[1].ua;
                ua.reject(now, session, refusal, Content::none()).unwrap();
            }
            _ if is_silent => {}
            _ => w.phone.handle_arrival(now, calendar, Arrival::Failed { flow }),
        }
        w.run_ms(200);
    }
    w.run_until(w.now + config().no_answer);
    w
}

// RFC 3261 §16.7 step 6: of all that was said the lowest class is told, and of a phone that could not be reached no fault of ours.
#[test]
fn a_phone_that_cannot_be_reached_hides_no_refusal_of_another() {
    let refusals = [
        (Status::NOT_ACCEPTABLE_HERE, Status::NOT_ACCEPTABLE_HERE),
        (Status::UNSUPPORTED_MEDIA_TYPE, Status::UNSUPPORTED_MEDIA_TYPE),
        (Status::BUSY_HERE, Status::BUSY_HERE),
        (Status::NOT_FOUND, Status::NOT_FOUND),
        (Status::TEMPORARILY_UNAVAILABLE, Status::TEMPORARILY_UNAVAILABLE),
        (Status::SERVICE_UNAVAILABLE, Status::TEMPORARILY_UNAVAILABLE),
        (Status::SERVER_INTERNAL_ERROR, Status::TEMPORARILY_UNAVAILABLE),
    ];
    for (refusal, told) in refusals {
        for first in [1, 2] {
            // The voicemail hears no G.729, so that the caller is told what the phones said.
            let mut w = refused_and_unreached("18", refusal, first, false);
            assert_eq!(w.refusal(0), told, "{refusal:?} of phone 1, phone {first} first");
            w.assert_over();
        }
    }
    for first in [1, 2] {
        let mut w = refused_and_unreached("0 8 101", Status::NOT_ACCEPTABLE_HERE, first, false);
        assert_eq!(w.refusal(0), Status::NOT_ACCEPTABLE_HERE, "phone {first} first");
        w.assert_over();
    }
    for refusal in [Status::NOT_ACCEPTABLE_HERE, Status::BUSY_HERE] {
        let mut w = refused_and_unreached("18", refusal, 1, true);
        assert_eq!(w.refusal(0), refusal, "the other one is silent");
        w.assert_over();
    }
}

#[test]
fn phones_that_cannot_be_reached_are_no_error_of_ours() {
    let mut w = world(2);
    w.peers[0].formats = "18";
    w.drop_if = Box::new(|sent| sent.to.is_some_and(|to| to > 0));
    let now = w.now;
    w.peers[0].call(now, "bob");
    w.run_ms(300);
    for who in [1, 2] {
        let (now, calendar, flow) = (w.now, w.calendar(), w.flow_of(who));
        w.phone.handle_arrival(now, calendar, Arrival::Failed { flow });
        w.run_ms(100);
    }
    assert_eq!(w.refusal(0), Status::TEMPORARILY_UNAVAILABLE);
    w.assert_over();
}

#[test]
fn a_phone_that_is_gone_holds_up_nobody() {
    let mut w = world(2);
    w.drop_if = Box::new(|sent| sent.to == Some(1));
    let now = w.now;
    let alice = w.peers[0].call(now, "bob");
    w.run_ms(300);
    let (session, invite) = w.incoming(2);
    let now = w.now;
    w.peers[2].answer(now, session, &invite);
    w.run_ms(300);
    w.assert_bridged();
    hang_up(w, 0, alice);
}

#[test]
fn phones_that_are_all_gone_leave_the_voicemail() {
    let mut w = world(2);
    w.drop_if = Box::new(|sent| sent.to.is_some_and(|to| to > 0));
    let now = w.now;
    let alice = w.peers[0].call(now, "bob");
    w.run_until(w.now + config().no_answer + seconds(1));
    assert_eq!(w.count_to(0, "200 INVITE"), 1);
    hang_up(w, 0, alice);
}

// Guards pitfall SIP 3: the copies of a request are bounded (RFC 5393).
#[test]
fn a_calls_breadth_is_shared_by_its_forks() {
    for (header, told, rung) in [
        (None, Some("20"), 3),
        (Some(7), Some("2"), 3),
        (Some(2), Some("1"), 2),
        (Some(0), None, 0),
    ] {
        let mut w = world(3);
        let offer = w.peers[0].describe(b"");
        let mut request = w.peers[0].request(Method::Invite, "bob");
        request.content = Content::sdp(offer);
        if let Some(header) = header {
            request.content = request.content.with("Max-Breadth", header);
        }
        let now = w.now;
        let alice = w.peers[0].ua.invite(now, request).unwrap();
        w.run_ms(300);
        let invites: Vec<_> = w
            .sent
            .iter()
            .filter(|s| s.from.is_none() && s.what() == "INVITE")
            .collect();
        assert_eq!(invites.len(), rung);
        for invite in invites {
            assert_eq!(invite.message.header(HeaderName::MaxBreadth), told);
            assert_eq!(invite.message.max_forwards(), Some(69));
        }
        match rung {
            0 => assert_eq!(w.refusal(0), Status::MAX_BREADTH_EXCEEDED),
            _ => w.peers[0].hang_up(now, alice),
        }
        w.assert_over();
    }
}

#[test]
fn a_phones_answer_is_transcoded_where_the_caller_has_the_other_law() {
    let mut w = world(1);
    (w.peers[0].formats, w.peers[1].formats) = ("0 101", "8 101");
    let (alice, bobs) = call(&mut w);
    let now = w.now;
    w.peers[1].answer(now, bobs[0].0, &bobs[0].1);
    w.run_ms(300);
    w.assert_bridged();
    let spoken: Vec<_> = w.media.legs.values().map(|leg| leg.codecs()[0]).collect();
    assert_eq!(spoken, ["PCMU", "PCMA"]);
    hang_up(w, 0, alice);
}

#[test]
fn a_codec_of_the_callers_alone_is_passed_through() {
    let mut w = world(1);
    (w.peers[0].formats, w.peers[1].formats) = ("9 0", "9");
    let (alice, bobs) = call(&mut w);
    let now = w.now;
    w.peers[1].answer(now, bobs[0].0, &bobs[0].1);
    w.run_ms(300);
    let spoken: Vec<_> = w.media.legs.values().map(|leg| leg.codecs()).collect();
    assert_eq!(spoken, [vec!["G722"], vec!["G722"]]);
    hang_up(w, 0, alice);
}

#[test]
fn a_phone_is_not_offered_what_its_caller_could_not_be_made_to_hear() {
    let mut w = world(1);
    w.peers[0].formats = "18";
    let (alice, bobs) = call(&mut w);
    let offer = String::from_utf8(bobs[0].1.body().to_vec()).unwrap();
    assert!(offer.contains("RTP/AVP 18\r\n"), "{offer}");
    let now = w.now;
    w.peers[1]
        .ua
        .reject(now, bobs[0].0, Status::BUSY_HERE, Content::none())
        .unwrap();
    w.run_ms(100);
    // Nor can the voicemail speak with them, who have G.729.
    assert_eq!(w.refusal(0), Status::BUSY_HERE);
    let _ = alice;
    w.assert_over();
}

// RFC 3261 §21.4.26: where no phone has said anything, it is the offer that is told of.
#[test]
fn a_caller_whom_neither_a_phone_nor_the_voicemail_hears_is_told_that_it_is_the_offer() {
    for (phones, wait_s) in [(0, 1), (1, 60)] {
        let mut w = World::of(&["alice", "bob"][..]);
        w.peers[0].formats = "18";
        if phones == 0 {
            let now = w.now;
            w.peers[1].register(now, 0);
            w.run_ms(200);
        }
        let now = w.now;
        w.peers[0].call(now, "bob");
        w.run_s(wait_s);
        assert_eq!(w.refusal(0), Status::NOT_ACCEPTABLE_HERE, "{phones}");
        let refusal = w.last_to(0, "488 INVITE");
        let warning = refusal.header(HeaderName::Warning);
        assert_eq!(
            warning,
            Some("305 ringpost \"PCMU, PCMA, G722 or opus was expected\"")
        );
    }
}

/// A phone plays something before it answers.
fn plays(w: &mut World, who: usize, session: SessionId, formats: &str) {
    let now = w.now;
    let content = Content::sdp(sdp(formats, Direction::SendRecv, 1));
    w.peers[who]
        .ua
        .ring(now, session, Status::SESSION_PROGRESS, content)
        .unwrap();
    w.run_ms(100);
}

#[test]
fn the_caller_hears_the_first_early_media_and_then_the_winner() {
    let mut w = world(2);
    let (alice, bobs) = call(&mut w);
    let legs = w.legs();
    plays(&mut w, 1, bobs[0].0, "0");
    assert_eq!(w.media.legs[&legs[0]].bridged, Some(legs[1]));
    let early = w.last_to(0, "183 INVITE");
    assert!(!early.body().is_empty());
    plays(&mut w, 2, bobs[1].0, "8");
    assert_eq!(
        w.media.legs[&legs[0]].bridged,
        Some(legs[1]),
        "the first one stays"
    );
    assert_eq!((w.count_to(0, "183 INVITE"), w.count_to(0, "180 INVITE")), (1, 0));
    let now = w.now;
    w.peers[2].answer(now, bobs[1].0, &bobs[1].1);
    w.run_ms(300);
    assert_eq!(w.media.legs[&legs[0]].bridged, Some(legs[2]));
    assert_eq!(
        w.last_to(0, "200 INVITE").body(),
        early.body(),
        "the caller has one answer of ours"
    );
    hang_up(w, 0, alice);
}

#[test]
fn when_the_phone_that_plays_gives_up_the_next_one_is_heard() {
    let mut w = world(2);
    let (alice, bobs) = call(&mut w);
    let legs = w.legs();
    plays(&mut w, 1, bobs[0].0, "0");
    let now = w.now;
    w.peers[1]
        .ua
        .reject(now, bobs[0].0, Status::BUSY_HERE, Content::none())
        .unwrap();
    w.run_ms(100);
    plays(&mut w, 2, bobs[1].0, "0");
    assert_eq!(w.media.legs[&legs[0]].bridged, Some(legs[2]));
    let now = w.now;
    w.peers[2]
        .ua
        .reject(now, bobs[1].0, Status::BUSY_HERE, Content::none())
        .unwrap();
    w.run_ms(200);
    assert_eq!(w.count_to(0, "200 INVITE"), 1, "and then the voicemail");
    assert_eq!(w.media.legs[&callers_leg(&w)].bridged, None);
    hang_up(w, 0, alice);
}

// The early answer was for good, so a winner that speaks something else costs a re-INVITE of the caller.
#[test]
fn a_winner_that_the_early_answer_does_not_fit_moves_the_caller() {
    let mut w = world(2);
    w.peers[0].formats = "9 0 101";
    let (alice, bobs) = call(&mut w);
    plays(&mut w, 1, bobs[0].0, "0");
    w.peers[2].formats = "9";
    let now = w.now;
    w.peers[2].answer(now, bobs[1].0, &bobs[1].1);
    w.run_ms(500);
    assert_eq!(w.count_to(0, "INVITE"), 1);
    w.assert_bridged();
    let spoken: Vec<_> = w.media.legs.values().map(|leg| leg.codecs()[0]).collect();
    assert_eq!(spoken, ["G722", "G722"]);
    hang_up(w, 0, alice);
}

#[test]
fn legs_that_cannot_be_made_to_hear_each_other_are_ended() {
    let mut w = world(2);
    w.peers[0].formats = "9 0 101";
    w.peers[0].is_polite = false;
    let (_, bobs) = call(&mut w);
    plays(&mut w, 1, bobs[0].0, "0");
    w.peers[2].formats = "9";
    let now = w.now;
    w.peers[2].answer(now, bobs[1].0, &bobs[1].1);
    w.run_ms(300);
    let asked = w.take(0).into_iter().find_map(|event| match event {
        ua::Event::Reinvite { session, .. } => Some(session),
        _ => None,
    });
    let now = w.now;
    w.peers[0]
        .ua
        .reject(now, asked.unwrap(), Status::NOT_ACCEPTABLE_HERE, Content::none())
        .unwrap();
    w.run_ms(300);
    assert_eq!((w.count_to(0, "BYE"), w.count_to(2, "BYE")), (1, 1));
    w.assert_over();
}

#[test]
fn an_answer_that_came_early_need_not_come_again() {
    let mut w = world(1);
    w.peers[1].is_raw = true;
    let (alice, _) = call(&mut w);
    let invite = w.heard(1, Method::Invite);
    let answer = sdp("8", Direction::SendRecv, 1);
    w.respond_raw(1, &invite, Status::SESSION_PROGRESS, "t", &answer);
    w.run_ms(50);
    w.respond_raw(1, &invite, Status::OK, "t", b"");
    w.run_ms(300);
    assert_eq!(w.count_to(0, "200 INVITE"), 1);
    w.assert_bridged();
    hang_up(w, 0, alice);
}

#[test]
fn a_phone_that_answers_with_nothing_of_use_is_ended_and_the_others_ring_on() {
    for answer in ["", "v=0\r\n", "m"] {
        let mut w = world(2);
        w.peers[1].is_raw = true;
        let (alice, bobs) = call(&mut w);
        let invite = w.heard(1, Method::Invite);
        w.respond_raw(1, &invite, Status::OK, "t", answer.as_bytes());
        w.run_ms(100);
        assert_eq!((w.count_to(1, "ACK"), w.count_to(1, "BYE")), (1, 1));
        let now = w.now;
        w.peers[2].answer(now, bobs[0].0, &bobs[0].1);
        w.run_ms(200);
        w.assert_bridged();
        hang_up(w, 0, alice);
    }
}
