//! Calls and texts to other domains.

use super::world::{ALICE, BOB, World, config, seconds};
use crate::{Config, Question};
use ringpost_base::Rng;
use ringpost_sip::ua::{Content, Event, SessionId};
use ringpost_sip::{Arrival, HeaderName, Message, Method, Status, Transport};

/// The servers of another domain, as places in the world's list: they register nowhere.
const FIRST: usize = 1;
const SECOND: usize = 2;

/// `carol@other.example` is behind two servers: the first at 198.51.100.3, the second at 198.51.100.4.
const ZONE: [&str; 4] = [
    "_sip._udp.other.example SRV 1 0 5060 s1.other.example",
    "_sip._udp.other.example SRV 2 0 5060 s2.other.example",
    "s1.other.example A 198.51.100.3",
    "s2.other.example A 198.51.100.4",
];

fn world_of(config: Config, transport: Transport) -> World {
    let mut w = World::with(1, config, transport, &["alice", "carol", "carol"]);
    let now = w.now;
    w.peers[ALICE].register(now, 3_600);
    w.run_ms(1_000);
    assert_eq!(w.phone.registered(), 1);
    w.forget();
    w.office.zone = ZONE.to_vec();
    w
}

fn world() -> World {
    world_of(config(), Transport::Udp)
}

fn dial(w: &mut World, uri: &str) -> SessionId {
    let now = w.now;
    let offer = w.peers[ALICE].describe(b"");
    let mut request = w.peers[ALICE].request(Method::Invite, "carol");
    request.uri = uri.parse().unwrap();
    request.to = format!("<{uri}>").parse().unwrap();
    request.content = Content::sdp(offer);
    let session = w.peers[ALICE].ua.invite(now, request).unwrap();
    w.run_ms(300);
    session
}

fn text(w: &mut World, uri: &str) {
    let now = w.now;
    let mut request = w.peers[ALICE].request(Method::Message, "carol");
    request.uri = uri.parse().unwrap();
    request.to = format!("<{uri}>").parse().unwrap();
    request.content = Content::none().with_body("text/plain", "hello");
    w.peers[ALICE].ua.request(now, request).unwrap();
    w.run_ms(300);
}

fn answer(w: &mut World, who: usize) -> (SessionId, Message) {
    let (session, invite) = w.incoming(who);
    let now = w.now;
    w.peers[who].answer(now, session, &invite);
    w.run_ms(300);
    (session, invite)
}

fn hang_up(w: &mut World, who: usize, session: SessionId) {
    let now = w.now;
    w.peers[who].hang_up(now, session);
    w.run_ms(500);
}

#[track_caller]
fn assert_told(w: &World, what: &str) {
    assert_eq!(w.count_to(ALICE, what), 1, "{what}");
}

#[test]
fn a_call_to_an_address_of_another_domain_goes_there_in_the_callers_own_name() {
    let mut w = world();
    let alice = dial(&mut w, "sip:carol@198.51.100.3");
    let (_, invite) = answer(&mut w, FIRST);
    assert_eq!(invite.request_uri().unwrap().as_str(), "sip:carol@198.51.100.3");
    assert_eq!(invite.from().uri().as_str(), "sip:alice@example.org");
    assert_eq!(invite.to().uri().as_str(), "sip:carol@198.51.100.3");
    assert_eq!(invite.max_forwards(), Some(69));
    assert_told(&w, "200 INVITE");
    assert_eq!(w.count_to(FIRST, "ACK"), 1);
    w.assert_bridged();
    hang_up(&mut w, ALICE, alice);
    assert_eq!(w.count_to(FIRST, "BYE"), 1);
    assert_eq!(
        w.office.count(|q| matches!(q, Question::Records(_))),
        0,
        "nothing is looked up"
    );
    w.assert_over();
}

//= https://www.rfc-editor.org/rfc/rfc3263#section-4.3
//= type=test
#[test]
fn servers_are_tried_in_their_order_until_one_takes_the_call() {
    let mut w = world();
    dial(&mut w, "sip:carol@other.example");
    let (first, _) = w.incoming(FIRST);
    assert_eq!(w.count_to(SECOND, "INVITE"), 0);
    let now = w.now;
    let content = Content::none();
    w.peers[FIRST]
        .ua
        .reject(now, first, Status::SERVICE_UNAVAILABLE, content)
        .unwrap();
    w.run_ms(300);
    let (second, _) = answer(&mut w, SECOND);
    assert_told(&w, "200 INVITE");
    w.assert_bridged();
    hang_up(&mut w, SECOND, second);
    assert_eq!(w.count_to(ALICE, "BYE"), 1);
    w.assert_over();
}

#[test]
fn a_refusal_of_the_callee_is_told_and_nobody_else_is_tried() {
    let mut w = world();
    dial(&mut w, "sip:carol@other.example");
    let (first, _) = w.incoming(FIRST);
    let now = w.now;
    let content = Content::none();
    w.peers[FIRST]
        .ua
        .reject(now, first, Status::BUSY_HERE, content)
        .unwrap();
    w.run_ms(300);
    assert_told(&w, "486 INVITE");
    assert_eq!(w.count_to(SECOND, "INVITE"), 0);
    w.assert_over();
}

#[test]
fn a_server_that_cannot_be_reached_is_passed_over_at_once() {
    let mut w = world();
    w.drop_if = Box::new(|sent| sent.to == Some(FIRST));
    dial(&mut w, "sip:carol@other.example");
    let flow = w.flow_of(FIRST);
    let (now, calendar) = (w.now, w.calendar());
    w.phone.handle_arrival(now, calendar, Arrival::Failed { flow });
    w.run_ms(300);
    answer(&mut w, SECOND);
    assert_told(&w, "200 INVITE");
    let (now, calendar) = (w.now, w.calendar());
    w.phone.close(now, calendar);
    w.run_ms(300);
    assert_eq!(w.count_to(SECOND, "BYE"), 1);
    w.assert_over();
}

#[test]
fn a_silent_server_makes_room_for_the_next() {
    let mut w = world();
    w.drop_if = Box::new(|sent| sent.to == Some(FIRST));
    let alice = dial(&mut w, "sip:carol@other.example");
    w.run_s(9);
    answer(&mut w, SECOND);
    assert_told(&w, "200 INVITE");
    hang_up(&mut w, ALICE, alice);
    w.assert_over();
}

#[test]
fn a_server_that_rings_keeps_the_call() {
    let mut w = world();
    let alice = dial(&mut w, "sip:carol@other.example");
    let (first, invite) = w.incoming(FIRST);
    let now = w.now;
    w.peers[FIRST]
        .ua
        .ring(now, first, Status::RINGING, Content::none())
        .unwrap();
    w.run_s(40);
    assert_eq!(w.count_to(SECOND, "INVITE"), 0);
    assert_told(&w, "180 INVITE");
    let now = w.now;
    w.peers[FIRST].answer(now, first, &invite);
    w.run_ms(300);
    assert_told(&w, "200 INVITE");
    hang_up(&mut w, ALICE, alice);
    w.assert_over();
}

#[test]
fn a_silent_server_that_wakes_up_while_the_next_is_looked_for_keeps_the_call() {
    let mut w = world();
    w.drop_if = Box::new(|sent| sent.to == Some(FIRST));
    let alice = dial(&mut w, "sip:carol@other.example");
    w.hold_if = Box::new(|question| matches!(question, Question::Records(_)));
    w.run_s(9);
    w.drop_if = Box::new(|_| false);
    w.run_s(7);
    let (first, invite) = w.incoming(FIRST);
    w.answer_held();
    w.run_ms(300);
    assert_eq!(w.count_to(SECOND, "INVITE"), 0);
    let now = w.now;
    w.peers[FIRST].answer(now, first, &invite);
    w.run_ms(300);
    assert_told(&w, "200 INVITE");
    hang_up(&mut w, ALICE, alice);
    w.assert_over();
}

#[test]
fn a_caller_who_gives_up_leaves_nothing_behind() {
    for held in [true, false] {
        let mut w = world();
        w.hold_if = Box::new(move |question| held && matches!(question, Question::Records(_)));
        let alice = dial(&mut w, "sip:carol@other.example");
        let now = w.now;
        w.peers[ALICE].ua.hang_up(now, alice, None).unwrap();
        w.run_ms(300);
        assert_told(&w, "487 INVITE");
        w.answer_held();
        w.run_s(1);
        assert_eq!(w.count_to(FIRST, "CANCEL"), usize::from(!held));
        w.assert_over();
    }
}

/// How the caller's phone reaches us: a SIPS URI asks for a secure way from its first hop on.
fn way_for(uri: &str) -> Transport {
    match uri.starts_with("sips:") {
        true => Transport::Tls,
        false => Transport::Udp,
    }
}

#[test]
fn what_is_told_when_nobody_is_left_says_why() {
    let none: &[&str] = &[];
    let cases: [(&str, &[&str], bool, u16); 8] = [
        ("sip:carol@nowhere.example", none, true, 404),
        ("sip:carol@other.example", none, false, 480),
        (
            "sip:carol@inside.example",
            &["inside.example A 192.168.1.9"],
            true,
            403,
        ),
        ("sip:carol@127.0.0.1:25;transport=tcp", none, true, 403),
        ("sip:carol@ours.example", &["ours.example A 192.0.2.1"], true, 482),
        ("sip:carol@six.example", &["six.example A 2001:db8::9"], true, 502),
        ("sip:carol@other.example;transport=sctp", none, true, 502),
        ("sips:carol@other.example;transport=udp", none, true, 502),
    ];
    for (uri, zone, works, status) in cases {
        let mut w = world_of(config(), way_for(uri));
        w.office.zone = zone.to_vec();
        w.office.dns_works = works;
        dial(&mut w, uri);
        assert_told(&w, &format!("{status} INVITE"));
        let told = w.last_to(ALICE, &format!("{status} INVITE"));
        assert!(told.header(HeaderName::Warning).is_some(), "{uri}");
        text(&mut w, uri);
        assert_told(&w, &format!("{status} MESSAGE"));
        assert_eq!(w.count_to(FIRST, "INVITE") + w.count_to(FIRST, "MESSAGE"), 0);
        w.assert_over();
    }
}

#[test]
fn servers_that_are_all_down_are_told_as_such() {
    let mut w = world();
    dial(&mut w, "sip:carol@other.example");
    for who in [FIRST, SECOND] {
        let (session, _) = w.incoming(who);
        let now = w.now;
        let content = Content::none();
        w.peers[who]
            .ua
            .reject(now, session, Status::SERVICE_UNAVAILABLE, content)
            .unwrap();
        w.run_ms(300);
    }
    assert_told(&w, "480 INVITE");
    w.assert_over();

    let mut w = world();
    w.drop_if = Box::new(|sent| matches!(sent.to, Some(FIRST | SECOND)));
    dial(&mut w, "sip:carol@other.example");
    for who in [FIRST, SECOND] {
        let (now, calendar, flow) = (w.now, w.calendar(), w.flow_of(who));
        w.phone.handle_arrival(now, calendar, Arrival::Failed { flow });
        w.run_ms(300);
    }
    assert_told(&w, "502 INVITE");
    w.assert_over();

    let mut w = world();
    w.drop_if = Box::new(|sent| matches!(sent.to, Some(FIRST | SECOND)));
    dial(&mut w, "sip:carol@other.example");
    w.run_s(60);
    assert_told(&w, "408 INVITE");
    w.assert_over();
}

#[test]
fn networks_that_are_configured_may_be_called() {
    let mut w = world_of(
        Config {
            outbound_networks: vec![("192.168.0.0".parse().unwrap(), 16)],
            ..config()
        },
        Transport::Udp,
    );
    w.office.zone = vec!["inside.example A 192.168.1.9"];
    let alice = dial(&mut w, "sip:carol@inside.example:5070");
    let target = w.office.ways[0].clone();
    assert_eq!(target.address, "192.168.1.9:5070".parse().unwrap());
    let now = w.now;
    w.peers[ALICE].ua.hang_up(now, alice, None).unwrap();
    w.assert_over();
}

#[test]
fn nothing_goes_out_where_the_operator_says_so() {
    let closed = Config {
        outbound: false,
        ..config()
    };
    let mut w = world_of(closed, Transport::Udp);
    dial(&mut w, "sip:carol@other.example");
    text(&mut w, "sip:carol@other.example");
    assert_told(&w, "403 INVITE");
    assert_told(&w, "403 MESSAGE");
    assert_eq!(w.office.count(|q| matches!(q, Question::Records(_))), 0);
    w.assert_over();
}

#[test]
fn only_ours_may_call_others() {
    let trusting = Config {
        trusted: vec![("198.51.100.0".parse().unwrap(), 24)],
        ..config()
    };
    for (from, reaches) in [
        ("alice@example.org", Some("sip:alice@example.org")),
        ("door@192.0.2.1", Some("sip:door@example.org")),
        ("mallory@elsewhere.example", None),
    ] {
        let mut w = world_of(trusting.clone(), Transport::Udp);
        w.inject(
            ALICE,
            &format!(
                "MESSAGE sip:carol@other.example SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.2:5060;branch=z9hG4bKm1\r\n\
                 From: <sip:{from}>;tag=1\r\nTo: <sip:carol@other.example>\r\nCall-ID: m\r\nCSeq: 1 MESSAGE\r\n\
                 Max-Forwards: 70\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"
            ),
        );
        w.run_ms(300);
        assert_eq!(
            w.count_to(FIRST, "MESSAGE"),
            usize::from(reaches.is_some()),
            "{from}"
        );
        match reaches {
            Some(from) => assert_eq!(w.last_to(FIRST, "MESSAGE").from().uri().as_str(), from),
            None => assert_told(&w, "403 MESSAGE"),
        }
        w.assert_over();
    }
    let mut w = world();
    w.peers[ALICE].login = None;
    dial(&mut w, "sip:carol@other.example");
    text(&mut w, "sip:carol@other.example");
    assert_told(&w, "401 INVITE");
    assert_told(&w, "401 MESSAGE");
    assert_eq!(w.count_to(FIRST, "INVITE") + w.count_to(FIRST, "MESSAGE"), 0);
}

// What leaves by one domain and comes back by another ends.
#[test]
fn a_call_that_comes_back_is_a_loop_and_hops_are_counted() {
    let trusting = Config {
        trusted: vec![("198.51.100.0".parse().unwrap(), 24)],
        ..config()
    };
    let mut w = world_of(trusting, Transport::Udp);
    w.peers[FIRST].is_raw = true;
    dial(&mut w, "sip:carol@other.example");
    let invite = w.heard(FIRST, Method::Invite);
    let text = String::from_utf8_lossy(invite.bytes()).into_owned();
    let back = text.replacen(
        "Via: ",
        "Via: SIP/2.0/UDP 198.51.100.3;branch=z9hG4bKback\r\nVia: ",
        1,
    );
    w.inject(FIRST, &back);
    w.run_ms(100);
    assert_eq!(w.count_to(FIRST, "482 INVITE"), 1);
    w.respond_raw(FIRST, &invite, Status::BUSY_HERE, "x", b"");
    w.run_ms(100);
    let spent = "MESSAGE sip:carol@other.example SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.2:5060;branch=z9hG4bKm1\r\n\
                 From: <sip:alice@example.org>;tag=1\r\nTo: <sip:carol@other.example>\r\nCall-ID: m\r\n\
                 CSeq: 1 MESSAGE\r\nMax-Forwards: 0\r\nContent-Length: 0\r\n\r\n";
    w.inject(ALICE, spent);
    w.run_ms(100);
    assert_told(&w, "483 MESSAGE");
    w.assert_over();
}

#[test]
fn a_text_goes_to_the_first_server_that_takes_it() {
    let mut w = world();
    text(&mut w, "sip:carol@other.example");
    assert_told(&w, "200 MESSAGE");
    assert_eq!(
        (w.count_to(FIRST, "MESSAGE"), w.count_to(SECOND, "MESSAGE")),
        (1, 0)
    );
    w.assert_over();

    let mut w = world();
    w.drop_if = Box::new(|sent| sent.to == Some(FIRST));
    text(&mut w, "sip:carol@other.example");
    let (now, calendar, flow) = (w.now, w.calendar(), w.flow_of(FIRST));
    w.phone.handle_arrival(now, calendar, Arrival::Failed { flow });
    w.run_ms(300);
    assert_told(&w, "200 MESSAGE");
    let came = w.last_to(SECOND, "MESSAGE");
    assert_eq!(came.body().as_ref(), b"hello");
    assert_eq!(came.from().uri().as_str(), "sip:alice@example.org");
    assert!(
        !came.has(HeaderName::Authorization),
        "credentials go nowhere but here"
    );
    w.assert_over();
}

#[test]
fn the_transport_is_the_domains_choice() {
    let cases = [
        ("sip:carol@other.example", Transport::Tls, 5061),
        ("sip:carol@other.example;transport=tcp", Transport::Tcp, 5060),
        ("sips:carol@other.example", Transport::Tls, 5061),
        ("sip:carol@198.51.100.9:5070;transport=tls", Transport::Tls, 5070),
    ];
    for (uri, transport, port) in cases {
        let mut w = world_of(config(), way_for(uri));
        w.office.zone = vec![
            "other.example NAPTR 1 1 s SIPS+D2T _sips._tcp.other.example",
            "_sips._tcp.other.example SRV 1 0 5061 s9.hosting.example",
            "_sip._tcp.other.example SRV 1 0 5060 s9.hosting.example",
            "s9.hosting.example A 198.51.100.9",
        ];
        let alice = dial(&mut w, uri);
        let target = w.office.ways[0].clone();
        assert_eq!(
            (target.transport, target.address.port()),
            (transport, port),
            "{uri}"
        );
        if uri.contains("other.example") {
            //= https://www.rfc-editor.org/rfc/rfc5922#section-4
            assert_eq!(
                target.domain, "other.example",
                "what DNS made of it proves nothing"
            );
        }
        let now = w.now;
        w.peers[ALICE].ua.hang_up(now, alice, None).unwrap();
        w.assert_over();
    }
}

/// A call over TCP whose 2xx names this Contact, and the targets that a way was asked to.
fn answered_with(contact: &str, record_route: &str) -> World {
    let mut w = world_of(config(), Transport::Tcp);
    w.office.zone.push("phone.other.example A 198.51.100.4");
    w.peers[FIRST].is_raw = true;
    dial(&mut w, "sip:carol@198.51.100.3;transport=tcp");
    let invite = w.heard(FIRST, Method::Invite);
    let sdp = super::peer::sdp("0", ringpost_sdp::Direction::SendRecv, 1);
    let mut response = ringpost_sip::Builder::response(&invite, Status::OK, "there");
    response.header(HeaderName::Contact, contact);
    if !record_route.is_empty() {
        response.header(HeaderName::RecordRoute, record_route);
    }
    let response = response.finish_with("application/sdp", &sdp);
    w.inject(FIRST, std::str::from_utf8(&response).unwrap());
    w.run_ms(300);
    w
}

//= https://www.rfc-editor.org/rfc/rfc3261#section-12.2.1.1
//= type=test
#[test]
fn requests_within_a_call_follow_its_route_set_and_target() {
    for (contact, record_route, acked_by) in [
        ("<sip:carol@198.51.100.4:5060;transport=tcp>", "", SECOND),
        ("<sip:carol@phone.other.example:5060;transport=tcp>", "", SECOND),
        (
            "<sip:carol@198.51.100.4:5060;transport=tcp>",
            "<sip:198.51.100.3;transport=tcp;lr>",
            FIRST,
        ),
        // Their own network is none of ours: back the way that they answered.
        ("<sip:carol@10.0.0.9:5060;transport=tcp>", "", FIRST),
        ("<sip:carol@127.0.0.1:25;transport=tcp>", "", FIRST),
        ("<sip:carol@nowhere.example;transport=tcp>", "", FIRST),
    ] {
        let mut w = answered_with(contact, record_route);
        let other = FIRST + SECOND - acked_by;
        assert_eq!(
            (w.count_to(acked_by, "ACK"), w.count_to(other, "ACK")),
            (1, 0),
            "{contact}"
        );
        let ack = w.last_to(acked_by, "ACK");
        assert_eq!(format!("<{}>", ack.request_uri().unwrap()), contact);
        assert_eq!(ack.has(HeaderName::Route), !record_route.is_empty());
        let (now, calendar) = (w.now, w.calendar());
        w.phone.close(now, calendar);
        w.run_ms(300);
        assert_eq!(
            (w.count_to(acked_by, "BYE"), w.count_to(other, "BYE")),
            (1, 0),
            "{contact}"
        );
    }
}

#[test]
fn a_contact_that_is_where_the_call_went_uses_its_connection() {
    let w = answered_with("<sip:carol@198.51.100.3:5060;transport=tcp>", "");
    let domains: Vec<_> = w
        .office
        .ways
        .iter()
        .map(|target| (target.address, &*target.domain))
        .collect();
    assert_eq!(
        domains[0], domains[1],
        "the same target, proven for the same domain"
    );
    assert_eq!(w.count_to(FIRST, "ACK"), 1);
}

#[test]
fn a_call_from_another_domain_is_challenged_unless_its_network_is_trusted() {
    for is_trusted in [false, true] {
        let config = Config {
            trusted: is_trusted
                .then(|| ("198.51.100.3".parse().unwrap(), 32))
                .into_iter()
                .collect(),
            ..config()
        };
        let mut w = world_of(config, Transport::Udp);
        let now = w.now;
        let offer = w.peers[FIRST].describe(b"");
        let mut request = w.peers[FIRST].request(Method::Invite, "alice");
        request.from = "<sip:carol@other.example>".parse().unwrap();
        request.login = None;
        request.content = Content::sdp(offer);
        let carol = w.peers[FIRST].ua.invite(now, request).unwrap();
        w.run_ms(300);
        if is_trusted {
            let (_, invite) = answer(&mut w, ALICE);
            assert_eq!(invite.from().uri().as_str(), "sip:carol@other.example");
            w.assert_bridged();
            hang_up(&mut w, FIRST, carol);
        } else {
            assert_eq!(w.count_to(FIRST, "401 INVITE"), 1);
        }
        w.assert_over();
    }
}

#[test]
fn a_phone_is_still_reached_by_nothing_but_its_own_flow() {
    let mut w = World::new();
    let (alice, _) = w.talk(ALICE, BOB);
    hang_up(&mut w, ALICE, alice);
    let asked = w
        .office
        .count(|q| matches!(q, Question::Way(_) | Question::Records(_)));
    assert_eq!(asked, 0, "a registered phone's Contact opens nothing");
    w.assert_over();
}

#[test]
fn calls_to_others_survive_loss() {
    for seed in 0..20 {
        let mut w = world();
        w.rng = Rng::from_number(seed);
        w.loss = 0.2;
        w.duplication = 0.1;
        let alice = dial(&mut w, "sip:carol@other.example");
        let mut called = None;
        for _ in 0..40 {
            w.run_s(1);
            for who in [FIRST, SECOND] {
                let came = w.take(who).into_iter().find_map(|event| match event {
                    Event::Invite { session, request, .. } => Some((session, request)),
                    _ => None,
                });
                if let Some((session, request)) = came {
                    let now = w.now;
                    w.peers[who].answer(now, session, &request);
                    called = Some(who);
                }
            }
        }
        assert!(called.is_some(), "seed {seed}");
        let now = w.now;
        let _ = w.peers[ALICE].ua.hang_up(now, alice, None);
        w.run_until(now + seconds(40));
        w.assert_over();
    }
}
