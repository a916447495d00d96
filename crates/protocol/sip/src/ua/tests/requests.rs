//! Requests within dialogs and outside of any; what is refused, and how.

use super::super::*;
use super::world::*;
use ringpost_auth::digest::{Authenticator, Credentials, DigestKeys, Offer, Policy, Verdict};
use ringpost_base::UnixTime;

#[test]
fn a_request_within_a_session_is_passed_on_and_answered() {
    let mut w = World::new(1);
    let (alice, _) = w.talk();
    let content = Content::none()
        .with_body("text/plain", "hello")
        .with("Subject", "x");
    let sent = w.peers[ALICE]
        .request_within(w.now, alice, Method::Message, content)
        .unwrap();
    w.run_ms(50);
    let Event::Within { id, request, .. } = w.only(BOB) else {
        panic!()
    };
    assert_eq!(
        (request.body().clone(), request.header(HeaderName::Subject)),
        (Bytes::from("hello"), Some("x"))
    );
    let ok = w.peers[BOB].response(&request, Status::OK).finish();
    assert!(w.peers[BOB].respond(w.now, id, ok));
    w.run_ms(50);
    assert!(matches!(w.only(ALICE), Event::Response { request, .. } if request == sent));
}

#[test]
fn options_within_a_session_tells_what_we_understand() {
    let mut w = World::new(1);
    let (alice, _) = w.talk();
    w.peers[ALICE]
        .request_within(w.now, alice, Method::Options, Content::none())
        .unwrap();
    w.run_ms(50);
    assert!(w.take(BOB).is_empty());
    let Event::Response { response, .. } = w.only(ALICE) else {
        panic!()
    };
    for name in [
        HeaderName::Allow,
        HeaderName::Accept,
        HeaderName::Supported,
        HeaderName::AllowEvents,
    ] {
        assert!(response.has(name), "{name}");
    }
}

/// A request from Alice to Bob that a test makes.
fn raw(method: &str, headers: &str, body: &str) -> String {
    let mut lines = format!(
        "{method} sip:bob@192.0.2.2 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKraw\r\n\
         From: <sip:alice@192.0.2.1>;tag=a\r\nTo: <sip:bob@192.0.2.2>\r\nCall-ID: raw\r\nCSeq: 1 {method}\r\n\
         Contact: <sip:alice@192.0.2.1>\r\n"
    );
    if !headers.contains("Max-Forwards") {
        lines.push_str("Max-Forwards: 70\r\n");
    }
    format!("{lines}{headers}Content-Length: {}\r\n\r\n{body}", body.len())
}

/// What Bob answers at once, and whether his user hears of the request.
fn answer(config: UaConfig, text: String) -> (Option<Message>, bool) {
    let mut w = World::with(1, Transport::Udp, config);
    w.inject(BOB, text);
    let told = !w.take(BOB).is_empty();
    (w.sent.pop().map(|(_, m)| m), told)
}

#[track_caller]
fn refused(text: String, status: Status, names: Option<(HeaderName, &str)>) {
    let relaying = UaConfig {
        relays: true,
        ..config()
    };
    let (answer, told) = answer(relaying, text);
    let answer = answer.expect("an answer");
    assert_eq!(answer.status(), Some(status));
    assert!(!told);
    if let Some((name, value)) = names {
        assert!(
            answer.header(name).unwrap_or_default().contains(value),
            "{answer:?}"
        );
    }
}

#[test]
//= https://www.rfc-editor.org/rfc/rfc4028#section-9
//= type=test
fn a_session_interval_that_is_too_small_is_refused_with_ours() {
    let asks = |more: &str| raw("INVITE", &format!("Session-Expires: 60\r\n{more}"), "");
    let min_se = Some((HeaderName::MinSe, "90"));
    refused(
        asks("Supported: timer\r\n"),
        Status::SESSION_INTERVAL_TOO_SMALL,
        min_se,
    );
    // Who does not know of intervals would not know what to do about it.
    let (refusal, told) = answer(config(), asks(""));
    assert!(refusal.is_none() && told);
    let (refusal, told) = answer(config(), asks("Supported: timer\r\n").replace(": 60", ": 90"));
    assert!(refusal.is_none() && told);
}

#[test]
fn a_secure_uri_is_refused_on_the_way_that_is_not() {
    let secure = |transport: Transport, method: &str| {
        let mut w = World::with(1, transport, config());
        let text = raw(method, "", "").replace("sip:bob@192.0.2.2 SIP", "sips:bob@192.0.2.2 SIP");
        w.inject(
            BOB,
            text.replace("SIP/2.0/UDP", &format!("SIP/2.0/{}", transport.via_name())),
        );
        let told = !w.take(BOB).is_empty();
        (w.sent.pop().and_then(|(_, m)| m.status()), told)
    };
    for method in ["INVITE", "MESSAGE", "REGISTER"] {
        for transport in [Transport::Udp, Transport::Tcp] {
            assert_eq!(
                secure(transport, method),
                (Some(Status::TEMPORARILY_UNAVAILABLE), false)
            );
        }
        assert_eq!(secure(Transport::Tls, method), (None, true));
    }
}

#[test]
fn options_outside_a_session_tells_what_there_is_room_for() {
    // Guards pitfall SIP 13: with another's address in it, a short request makes us send that one little.
    let options = |transport, more: &str| {
        let mut w = World::with(1, transport, config());
        let text = raw("OPTIONS", more, "");
        let transport = transport.via_name();
        let text = text.replace("SIP/2.0/UDP", &format!("SIP/2.0/{transport}"));
        w.inject(BOB, text.clone());
        let Some(Event::Request { id, request, .. }) = w.take(BOB).pop() else {
            panic!("a request")
        };
        let response = w.peers[BOB].options_response(id, &request);
        (Message::parse(response).unwrap(), text.len())
    };
    let (short, asked) = options(Transport::Udp, "");
    assert!(short.bytes().len() * 100 <= asked * limits::SIP_ANSWER_PERCENT);
    assert!(short.has(HeaderName::Allow) && !short.has(HeaderName::Server));
    let agent = format!("User-Agent: {}\r\n", "x".repeat(300));
    for (transport, more) in [(Transport::Udp, agent.as_str()), (Transport::Tcp, "")] {
        let (whole, _) = options(transport, more);
        for name in [
            HeaderName::Allow,
            HeaderName::Accept,
            HeaderName::Supported,
            HeaderName::AllowEvents,
        ] {
            assert!(whole.has(name), "{name}");
        }
    }
}

#[test]
fn a_strangers_invite_is_refused_once() {
    // Guards pitfall SIP 13: its sender may have written another's address into it, who would get eleven of them.
    for headers in ["Require: nothingSupportsThis\r\n", "Max-Forwards: 0\r\n"] {
        let relaying = UaConfig {
            relays: true,
            ..config()
        };
        let mut w = World::with(1, Transport::Udp, relaying);
        w.inject(BOB, raw("INVITE", headers, ""));
        let tag = w.sent.last().unwrap().1.to_tag().map(str::to_owned);
        w.run_ms(40_000);
        assert_eq!(w.sent.len(), 1);
        w.inject(BOB, raw("INVITE", headers, ""));
        assert_eq!(w.sent.len(), 2, "whoever did send it asks again");
        assert_eq!(w.sent[1].1.to_tag().map(str::to_owned), tag);
    }
}

#[test]
fn what_we_do_not_understand_is_refused_with_what_we_would() {
    refused(
        raw("PUBLISH", "", ""),
        Status::METHOD_NOT_ALLOWED,
        Some((HeaderName::Allow, "INVITE")),
    );
    refused(raw("NEWMETHOD", "", ""), Status::NOT_IMPLEMENTED, None);
    let agent = format!("User-Agent: {}\r\n", "x".repeat(100));
    refused(
        raw("NEWMETHOD", &agent, ""),
        Status::NOT_IMPLEMENTED,
        Some((HeaderName::Allow, "INVITE")),
    );
    let tel = raw("OPTIONS", "", "").replacen("sip:bob@192.0.2.2", "soap.beep://192.168.122.200:9002", 1);
    refused(tel, Status::UNSUPPORTED_URI_SCHEME, None);
    let require = "Require: timer, nothingSupportsThis\r\n";
    let unsupported = Some((HeaderName::Unsupported, "nothingSupportsThis"));
    refused(raw("INVITE", require, ""), Status::BAD_EXTENSION, unsupported);
    let sdp = Some((HeaderName::Accept, "application/sdp"));
    refused(
        raw("INVITE", "Content-Type: application/x\r\n", "x"),
        Status::UNSUPPORTED_MEDIA_TYPE,
        sdp,
    );
    refused(raw("INVITE", "", "x"), Status::UNSUPPORTED_MEDIA_TYPE, sdp);
    let coded = "Content-Type: application/sdp\r\nContent-Encoding: gzip\r\n";
    let identity = Some((HeaderName::AcceptEncoding, "identity"));
    refused(
        raw("INVITE", coded, "x"),
        Status::UNSUPPORTED_MEDIA_TYPE,
        identity,
    );
    refused(
        raw("INVITE", "Max-Forwards: 0\r\n", ""),
        Status::TOO_MANY_HOPS,
        None,
    );
    let events = Some((HeaderName::AllowEvents, "message-summary"));
    refused(
        raw("SUBSCRIBE", "Event: presence\r\n", ""),
        Status::BAD_EVENT,
        events,
    );
    refused(raw("SUBSCRIBE", "", ""), Status::BAD_EVENT, events);
    refused(raw("BYE", "", ""), Status::CALL_DOES_NOT_EXIST, None);
    let no_contact = raw("INVITE", "", "").replace("Contact: <sip:alice@192.0.2.1>\r\n", "");
    refused(no_contact, Status::BAD_REQUEST, None);
}

#[test]
fn what_may_be_ignored_is_not_refused() {
    let optional = "Content-Type: application/x\r\nContent-Disposition: x;handling=optional\r\n";
    for text in [
        raw("INVITE", optional, "x"),
        raw("INVITE", "Require: TIMER\r\n", ""),
        raw("OPTIONS", "Max-Forwards: 0\r\n", ""),
        raw("INVITE", "Content-Type: application/sdp;charset=utf-8\r\n", "x"),
    ] {
        let (answer, told) = answer(
            UaConfig {
                relays: true,
                ..config()
            },
            text.clone(),
        );
        assert!(answer.is_none() && told, "{text}");
    }
    assert!(
        answer(config(), raw("INVITE", "Max-Forwards: 0\r\n", "")).1,
        "an end point needs no hops"
    );
}

// Guards pitfall SIP 3: what names a dialog that is not there gets 481.
#[test]
fn a_request_for_an_unknown_dialog_gets_481() {
    for method in ["BYE", "INFO", "INVITE", "OPTIONS", "MESSAGE"] {
        let text = raw(method, "", "").replace("To: <sip:bob@192.0.2.2>", "To: <sip:bob@192.0.2.2>;tag=gone");
        refused(text, Status::CALL_DOES_NOT_EXIST, None);
    }
    let notify = raw(
        "NOTIFY",
        "Event: message-summary\r\nSubscription-State: active\r\n",
        "",
    );
    refused(
        notify.replace("192.0.2.2>\r\n", "192.0.2.2>;tag=gone\r\n"),
        Status::CALL_DOES_NOT_EXIST,
        None,
    );
}

#[test]
fn a_lower_number_within_a_dialog_gets_500() {
    let mut w = World::new(1);
    let (alice, bob) = w.talk();
    let dialog = w.peers[ALICE].dialog(alice).unwrap().clone();
    let last = dialog.local_cseq();
    for (number, status) in [(last, 500), (last - 1, 500), (last + 5, 200)] {
        let text = raw("BYE", "", "")
            .replace("Call-ID: raw", &format!("Call-ID: {}", dialog.call_id()))
            .replace(";tag=a", &format!(";tag={}", dialog.local_tag()))
            .replace(
                "192.0.2.2>\r\n",
                &format!("192.0.2.2>;tag={}\r\n", dialog.remote_tag()),
            )
            .replace("CSeq: 1", &format!("CSeq: {number}"))
            .replace("z9hG4bKraw", &format!("z9hG4bK{number}"));
        w.inject(BOB, text);
        assert_eq!(w.sent.last().unwrap().1.status().unwrap().code(), status);
    }
    assert!(matches!(w.only(BOB), Event::Terminated { session, .. } if session == bob));
}

#[test]
fn info_to_a_session_that_is_gone_ends_it() {
    let mut w = World::new(1);
    let (alice, bob) = w.talk();
    w.peers[BOB].sessions.remove(bob.0);
    w.peers[ALICE]
        .request_within(w.now, alice, Method::Info, Content::none())
        .unwrap();
    w.run_ms(50);
    let events = w.take(ALICE);
    assert!(
        matches!(
            &events[..],
            [
                Event::Terminated {
                    reason: Reason::Gone,
                    ..
                },
                Event::Response { .. }
            ]
        ),
        "{events:?}"
    );
}

/// Bob asks for a password with everything that he is sent.
struct Guard {
    authenticator: Authenticator,
    keys: DigestKeys,
    now: UnixTime,
    stale: usize,
}

impl Guard {
    fn new() -> Guard {
        Guard {
            authenticator: Authenticator::new("192.0.2.2", Rng::from_number(4), Policy::default()),
            keys: DigestKeys::derive("alice", "192.0.2.2", "secret"),
            now: UnixTime::from_secs(1_000_000),
            stale: 0,
        }
    }

    /// The headers of a 401, or nothing for who may pass.
    fn judge(&mut self, request: &Message) -> Option<Content> {
        let verdict = request.header(HeaderName::Authorization).map(|header| {
            let credentials = Credentials::parse(header).unwrap();
            assert_eq!(credentials.uri, request.request_uri().unwrap().as_str());
            self.authenticator.verify(
                self.now,
                &credentials,
                request.method().as_str(),
                Some(&self.keys),
            )
        });
        if verdict == Some(Verdict::Granted) {
            return None;
        }
        let stale = verdict == Some(Verdict::Stale);
        self.stale += usize::from(stale);
        let mut content = Content::none();
        for challenge in self.authenticator.challenge(self.now, Offer::All, stale) {
            content = content.with("WWW-Authenticate", challenge);
        }
        Some(content)
    }

    fn answer(&mut self, w: &mut World) {
        for event in w.take(BOB) {
            match event {
                Event::Request { id, request, .. } => {
                    let refusal = self.judge(&request);
                    let status = if refusal.is_some() {
                        Status::UNAUTHORIZED
                    } else {
                        Status::OK
                    };
                    let mut response = w.peers[BOB].response(&request, status);
                    for (name, value) in refusal.unwrap_or_default().headers {
                        response.extension(&name, value);
                    }
                    w.peers[BOB].respond_stateless(w.now, id, response.finish());
                }
                Event::Invite { session, request, .. } => match self.judge(&request) {
                    Some(content) => {
                        w.peers[BOB]
                            .reject_stateless(w.now, session, Status::UNAUTHORIZED, content)
                            .unwrap();
                    }
                    None => w.peers[BOB]
                        .answer(w.now, session, Content::sdp("answer"))
                        .unwrap(),
                },
                _ => {}
            }
        }
    }

    fn run(&mut self, w: &mut World) {
        for _ in 0..20 {
            w.run_ms(20);
            self.answer(w);
        }
    }
}

fn register(w: &mut World, login: Option<LoginId>) {
    let mut request = w.new_request(ALICE, Method::Register);
    request.login = login;
    w.peers[ALICE].request(w.now, request).unwrap();
}

#[test]
fn a_challenge_is_answered_with_the_next_number() {
    let mut w = World::new(1);
    let mut guard = Guard::new();
    let login = w.peers[ALICE].add_login("192.0.2.2", "alice", "secret");
    register(&mut w, Some(login));
    guard.run(&mut w);
    assert_eq!(
        w.log(),
        ["a: REGISTER", "b: 401 REGISTER", "a: REGISTER", "b: 200 REGISTER"]
    );
    assert!(
        matches!(w.only(ALICE), Event::Response { response, .. } if response.status() == Some(Status::OK))
    );

    register(&mut w, Some(login));
    guard.run(&mut w);
    assert_eq!(
        w.log(),
        ["a: REGISTER", "b: 200 REGISTER"],
        "the nonce is used again"
    );

    guard.now = guard.now + std::time::Duration::from_secs(1000);
    register(&mut w, Some(login));
    guard.run(&mut w);
    assert_eq!(w.log().len(), 4, "and renewed when it is stale");
    assert_eq!(guard.stale, 1);
    w.assert_empty();
}

#[test]
fn a_call_is_challenged_and_goes_on_in_the_same_session() {
    let mut w = World::new(1);
    let mut guard = Guard::new();
    let mut request = w.new_request(ALICE, Method::Invite);
    request.login = Some(w.peers[ALICE].add_login("192.0.2.2", "alice", "secret"));
    request.content = Content::sdp("offer");
    let alice = w.peers[ALICE].invite(w.now, request).unwrap();
    guard.run(&mut w);
    assert!(matches!(w.only(ALICE), Event::Answered { session, .. } if session == alice));
    let invites: Vec<&Message> = w
        .sent
        .iter()
        .map(|(_, m)| m)
        .filter(|m| m.is_request() && *m.method() == Method::Invite)
        .collect();
    assert_eq!(invites.len(), 2);
    assert_eq!(invites[1].cseq().number, invites[0].cseq().number + 1);
    assert_eq!(invites[1].call_id(), invites[0].call_id());
    assert_eq!(invites[1].from_tag(), invites[0].from_tag());
    assert_ne!(invites[1].top_via().branch(), invites[0].top_via().branch());
    let ack = w.sent.iter().rfind(|(_, m)| *m.method() == Method::Ack).unwrap();
    assert_eq!(
        ack.1.header(HeaderName::Authorization),
        invites[1].header(HeaderName::Authorization)
    );
    w.peers[ALICE].hang_up(w.now, alice, None).unwrap();
    w.assert_empty();
}

// Guards pitfall SIP 12: credentials go only to the realm that was dialled, and a wrong password is not tried for ever.
#[test]
fn credentials_are_not_given_away_and_not_repeated() {
    let tries = |realm: &str, password: &str, with_login: bool| {
        let mut w = World::new(1);
        let mut guard = Guard::new();
        let login = w.peers[ALICE].add_login(realm, "alice", password);
        register(&mut w, with_login.then_some(login));
        guard.run(&mut w);
        assert!(
            matches!(w.only(ALICE), Event::Response { response, .. } if response.status() == Some(Status::UNAUTHORIZED))
        );
        let sent = w.count(ALICE, "REGISTER");
        let gave = w.sent.iter().any(|(_, m)| m.has(HeaderName::Authorization));
        (sent, gave)
    };
    assert_eq!(tries("192.0.2.2", "wrong", true), (2, true));
    assert_eq!(tries("other.example", "secret", true), (1, false));
    assert_eq!(
        tries("192.0.2.2", "secret", false),
        (1, false),
        "nobody said that this login is meant"
    );
}

#[test]
fn a_call_given_up_behind_a_challenge_is_not_tried_again() {
    let mut w = World::new(1);
    let mut request = w.new_request(ALICE, Method::Invite);
    request.login = Some(w.peers[ALICE].add_login("192.0.2.2", "alice", "secret"));
    let alice = w.peers[ALICE].invite(w.now, request).unwrap();
    w.run_ms(20);
    w.peers[ALICE].hang_up(w.now, alice, None).unwrap();
    Guard::new().run(&mut w);
    assert!(matches!(
        w.only(ALICE),
        Event::Terminated {
            reason: Reason::Local,
            ..
        }
    ));
    assert_eq!(w.count(ALICE, "INVITE"), 1);
    w.assert_empty();
}

/// RFC 4475: what a user agent refuses by itself, it refuses as the table says; responses have no effect.
#[test]
fn torture_messages_are_refused_as_the_table_says() {
    use crate::torture::{Answer, Fate, rows};
    let mut allow = UaConfig::default().allow;
    allow.extend([Method::Register, Method::Subscribe]);
    let mut refusals = 0;
    // What a stream's framing stops never comes here.
    for row in rows().filter(|row| !matches!(row.parser, Fate::Closed | Fate::Unfinished)) {
        let mut ua = Ua::new(
            UaConfig {
                allow: allow.clone(),
                relays: true,
                ..config()
            },
            Rng::from_number(1),
        );
        let flow = Flow {
            transport: row.transport,
            local: "192.0.2.2:5060".parse().unwrap(),
            remote: "192.0.2.1:5060".parse().unwrap(),
            connection: row.transport.is_reliable().then_some(1),
        };
        ua.handle_bytes(Instant::ZERO, flow, Bytes::from_static(row.bytes));
        let (mut answered, mut told) = (None, false);
        loop {
            match ua.poll_output() {
                Output::Transmit(t) => {
                    answered = std::str::from_utf8(&t.message[8..11])
                        .unwrap()
                        .parse::<u16>()
                        .ok()
                }
                Output::Event(Event::Notice(_)) => {}
                Output::Event(_) => told = true,
                Output::Timeout(_) => break,
            }
        }
        let Answer::Status(allowed) = row.server else {
            assert!(!told, "{}", row.name);
            continue;
        };
        let ours_alone = [[406].as_slice(), &[416], &[420], &[483], &[501]].contains(&allowed);
        refusals += u32::from(ours_alone);
        match answered {
            Some(status) => assert!(allowed.contains(&status) && !told, "{}: {status}", row.name),
            None => assert!(told && !ours_alone, "{}: no answer", row.name),
        }
    }
    assert!(refusals >= 10, "{refusals}");
}
