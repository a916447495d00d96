//! Who may do what: challenges, credentials, and whose name a request bears.

use super::office::secret;
use super::world::{ALICE, BOB, World, config};
use crate::{Config, Question};
use ringpost_auth::digest::{Algorithm, DigestClient};
use ringpost_base::{Rng, limits};
use ringpost_sip::ua::{Content, Event};
use ringpost_sip::{HeaderName, Message, Method, Status, Transport};

/// A request from Alice's address, with further header lines.
fn request(method: &str, from: &str, to: &str, number: u32, lines: &str) -> String {
    format!(
        "{method} sip:{to} SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.2:5060;rport;branch=z9hG4bK{method}{number}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:{from}>;tag=f{number}\r\nTo: <sip:{to}>\r\nCall-ID: call-{method}-{number}\r\n\
         CSeq: {number} {method}\r\nContact: <sip:alice@198.51.100.2:5060>\r\n{lines}Content-Length: 0\r\n\r\n"
    )
}

/// What Alice's address is answered to that.
fn ask(w: &mut World, text: &str) -> Message {
    let before = w.sent.len();
    w.inject(ALICE, text);
    w.run_ms(100);
    let answer = w.sent[before..]
        .iter()
        .find(|sent| sent.to == Some(ALICE) && !sent.message.is_request());
    answer
        .unwrap_or_else(|| panic!("an answer to {text}"))
        .message
        .clone()
}

fn client(user: &str, realm: &str, password: &str) -> DigestClient {
    DigestClient::new(realm, user, password, Rng::from_number(7))
}

fn authorization(client: &mut DigestClient, challenge: &Message, method: &str, uri: &str) -> String {
    client
        .handle_challenges(challenge.lines(HeaderName::WwwAuthenticate))
        .unwrap();
    format!("Authorization: {}\r\n", client.authorize(method, uri).unwrap())
}

fn world() -> World {
    let mut w = World::with(1, config(), Transport::Udp, &["alice", "bob"]);
    w.register_all();
    w.peers[ALICE].is_raw = true;
    w
}

// Guards pitfall SIP 12: everything that does something is challenged, and for everybody.
#[test]
fn every_request_but_options_is_challenged() {
    let mut w = world();
    for (n, method) in (1..).zip(["REGISTER", "INVITE", "MESSAGE", "SUBSCRIBE"]) {
        for (m, user) in (0..).zip(["alice", "nobody"]) {
            let lines = "Event: message-summary\r\n";
            let to = "bob@example.org";
            let answer = ask(
                &mut w,
                &request(method, &format!("{user}@example.org"), to, 10 * n + m, lines),
            );
            assert_eq!(answer.status(), Some(Status::UNAUTHORIZED), "{method}");
        }
    }
    let options = ask(&mut w, &request("OPTIONS", "x@example.org", "example.org", 1, ""));
    assert_eq!(options.status(), Some(Status::OK));
    assert_eq!(
        w.office.count(|_| true),
        0,
        "nothing is looked up for who says nothing of themselves"
    );
}

// Guards pitfall SIP 12: known and unknown users are told the same, with credentials too.
#[test]
fn nobody_learns_who_exists() {
    let mut w = world();
    let mut told = Vec::new();
    for (n, user) in [(1, "alice"), (2, "nobody")] {
        let text = |n: u32, lines: &str| {
            request(
                "INVITE",
                &format!("{user}@example.org"),
                "bob@example.org",
                n,
                lines,
            )
        };
        let first = ask(&mut w, &text(10 * n, ""));
        let mut client = client(user, "example.org", "wrong");
        let credentials = authorization(&mut client, &first, "INVITE", "sip:bob@example.org");
        let second = ask(&mut w, &text(10 * n + 1, &credentials));
        for answer in [first, second] {
            let shape = |line: &str| line.split("nonce").next().unwrap_or_default().to_owned();
            let challenges: Vec<_> = answer.lines(HeaderName::WwwAuthenticate).map(shape).collect();
            told.push((answer.status(), challenges));
        }
    }
    assert_eq!(told[..2], told[2..]);
}

// Guards pitfall SIP 12: nonces end, and a count is good for once; both are stale, not wrong.
#[test]
fn right_credentials_with_an_old_nonce_or_count_are_stale() {
    let mut w = world();
    let text = |n: u32, lines: &str| request("MESSAGE", "alice@example.org", "bob@example.org", n, lines);
    let challenge = ask(&mut w, &text(1, ""));
    let mut client = client("alice", "example.org", &secret("alice"));
    let credentials = authorization(&mut client, &challenge, "MESSAGE", "sip:bob@example.org");
    let once = ask(&mut w, &text(2, &credentials));
    assert_eq!(once.status(), Some(Status::OK), "Bob's phone takes it");
    let stale = |answer: Message| {
        let challenge = answer
            .header(HeaderName::WwwAuthenticate)
            .unwrap_or_default()
            .to_owned();
        answer.status() == Some(Status::UNAUTHORIZED) && challenge.contains("stale=true")
    };
    assert!(stale(ask(&mut w, &text(3, &credentials))), "the same count again");
    let challenge = ask(&mut w, &text(4, ""));
    let credentials = authorization(&mut client, &challenge, "MESSAGE", "sip:bob@example.org");
    w.run_s(301);
    assert!(stale(ask(&mut w, &text(5, &credentials))), "an old nonce");
    let mut wrong = self::client("alice", "example.org", "wrong");
    let challenge = ask(&mut w, &text(6, ""));
    let credentials = authorization(&mut wrong, &challenge, "MESSAGE", "sip:bob@example.org");
    w.run_s(301);
    assert!(
        !stale(ask(&mut w, &text(7, &credentials))),
        "who knows nothing learns nothing"
    );
}

// Guards pitfall SIP 12: From must match the account.
#[test]
fn who_is_proven_may_not_speak_as_another() {
    for (from, status) in [
        ("alice@example.org", 480),
        ("100@example.org", 480),
        ("bob@example.org", 403),
        ("alice@example.net", 403),
        ("alice@elsewhere.example", 403),
    ] {
        let mut w = world();
        let text = |n: u32, lines: &str| request("INVITE", from, "carol@example.org", n, lines);
        let challenge = ask(&mut w, &text(1, ""));
        let realm = if from.ends_with("net") {
            "example.net"
        } else {
            "example.org"
        };
        let mut client = client("alice", realm, &secret("alice"));
        let credentials = authorization(&mut client, &challenge, "INVITE", "sip:carol@example.org");
        let answer = ask(&mut w, &text(2, &credentials));
        let told = match from {
            // There is no Alice in that realm.
            "alice@example.net" => 401,
            _ => status,
        };
        // Carol has no phone: her voicemail answers who may call.
        let told = if told == 480 { 200 } else { told };
        assert_eq!(answer.status().unwrap().code(), told, "{from}");
    }
}

#[test]
fn credentials_for_other_realms_are_passed_over() {
    let mut w = world();
    let text = |n: u32, lines: &str| request("MESSAGE", "alice@example.org", "bob@example.org", n, lines);
    let foreign = "Authorization: Digest username=\"alice\", realm=\"elsewhere.example\", nonce=\"x\", \
                   uri=\"sip:bob@example.org\", response=\"00000000000000000000000000000000\"\r\n";
    let challenge = ask(&mut w, &text(1, foreign));
    assert_eq!(challenge.status(), Some(Status::UNAUTHORIZED));
    assert!(
        challenge
            .header(HeaderName::WwwAuthenticate)
            .unwrap()
            .contains("realm=\"example.org\"")
    );
    assert_eq!(w.office.count(|q| matches!(q, Question::Device { .. })), 0);
    let mut client = client("alice", "example.org", &secret("alice"));
    let ours = authorization(&mut client, &challenge, "MESSAGE", "sip:bob@example.org");
    let both = ask(&mut w, &text(2, &format!("{foreign}{ours}")));
    assert_eq!(both.status(), Some(Status::OK), "ours are found behind others");
    // One domain of ours is a realm of its own beside the other.
    let dave = ask(
        &mut w,
        &request("MESSAGE", "dave@example.net", "bob@example.org", 3, ""),
    );
    assert!(
        dave.header(HeaderName::WwwAuthenticate)
            .unwrap()
            .contains("realm=\"example.net\"")
    );
}

#[test]
fn credentials_of_another_request_are_refused() {
    let mut w = world();
    let text = |n: u32, lines: &str| request("MESSAGE", "alice@example.org", "bob@example.org", n, lines);
    for (n, method, uri, status) in [
        (10, "MESSAGE", "sip:carol@example.org", 400),
        (20, "INVITE", "sip:bob@example.org", 401),
        (30, "MESSAGE", "sip:bob@example.org;user=phone", 200),
    ] {
        let challenge = ask(&mut w, &text(n, ""));
        let mut client = client("alice", "example.org", &secret("alice"));
        let credentials = authorization(&mut client, &challenge, method, uri);
        let answer = ask(&mut w, &text(n + 1, &credentials));
        assert_eq!(answer.status().unwrap().code(), status, "{method} {uri}");
    }
}

#[test]
fn a_trusted_network_needs_no_credentials() {
    let trusting = Config {
        trusted: vec![("198.51.100.0".parse().unwrap(), 24)],
        ..config()
    };
    let mut w = World::with(1, trusting, Transport::Udp, &["alice", "bob"]);
    w.register_all();
    assert_eq!(w.office.count(|q| matches!(q, Question::Device { .. })), 0);
    let (alice, _) = w.talk(ALICE, BOB);
    let now = w.now;
    w.peers[ALICE].hang_up(now, alice);
    w.run_ms(500);
    w.peers[ALICE].is_raw = true;
    let register = request(
        "REGISTER",
        "x@example.org",
        "nobody@example.org",
        1,
        "Expires: 600\r\n",
    );
    assert_eq!(ask(&mut w, &register).status(), Some(Status::NOT_FOUND));
    let menu = request("INVITE", "alice@example.org", "*97@example.org", 2, "");
    assert_eq!(
        ask(&mut w, &menu).status(),
        Some(Status::FORBIDDEN),
        "a mailbox is for who has proven to be its owner"
    );
    // RFC 6665 §4.1.2.1: who takes no counts is told none.
    let lines = "Event: message-summary\r\nAccept: text/plain\r\n";
    let subscribe = request("SUBSCRIBE", "alice@example.org", "alice@example.org", 3, lines);
    assert_eq!(ask(&mut w, &subscribe).status(), Some(Status::NOT_ACCEPTABLE));
    // RFC 3261 §13.3.1.3: a 488 says why.
    let lines = "Content-Type: application/sdp\r\n";
    for (n, (body, warning)) in (4..).zip([
        ("v=1\r\n", "399 "),
        ("v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\n", "304 "),
    ]) {
        let invite = request("INVITE", "alice@example.org", "bob@example.org", n, lines);
        let head = invite.replace("Content-Length: 0", &format!("Content-Length: {}", body.len()));
        let refused = ask(&mut w, &(head + body));
        assert_eq!(refused.status(), Some(Status::NOT_ACCEPTABLE_HERE));
        let said = refused.header(HeaderName::Warning).unwrap_or_default();
        assert!(said.starts_with(warning), "{said}");
    }
    w.assert_over();
}

// Guards pitfall SIP 13: a challenge keeps nothing, is not repeated, and is not much longer than what asked for it.
#[test]
fn a_challenge_to_a_datagram_is_stateless_and_small() {
    let both = Config {
        digest_algorithms: vec![Algorithm::Sha256, Algorithm::Md5],
        ..config()
    };
    let mut w = World::with(1, both, Transport::Udp, &["alice"]);
    w.peers[ALICE].is_raw = true;
    let agent = format!("User-Agent: {}\r\n", "x".repeat(200));
    for (n, method) in (1..).zip(["REGISTER", "INVITE", "MESSAGE", "SUBSCRIBE"]) {
        for (m, lines) in (0..).zip(["", &*agent]) {
            let lines = format!("Event: message-summary\r\n{lines}");
            let text = request(
                method,
                "alice@example.org",
                "alice@example.org",
                10 * n + m,
                &lines,
            );
            let answer = ask(&mut w, &text);
            let challenges = answer.lines(HeaderName::WwwAuthenticate).count();
            let is_small = answer.bytes().len() * 2 <= text.len() * 3;
            assert!(
                is_small || challenges == 1,
                "{} for {}",
                answer.bytes().len(),
                text.len()
            );
            assert!(
                answer
                    .header(HeaderName::WwwAuthenticate)
                    .unwrap()
                    .contains("SHA-256")
            );
            if !lines.contains("xxx") {
                continue;
            }
            assert_eq!(challenges, 2, "there is room for both");
        }
    }
    assert_eq!(w.phone.transactions(), 0, "nothing is kept");
    let sent = w.sent.len();
    w.run_s(40);
    assert_eq!(w.sent.len(), sent, "nothing is repeated");
    assert!(w.phone.is_idle());
}

#[test]
fn a_challenge_on_a_stream_offers_everything() {
    let both = Config {
        digest_algorithms: vec![Algorithm::Sha256, Algorithm::Md5],
        ..config()
    };
    let mut w = World::with(1, both, Transport::Tcp, &["alice"]);
    w.peers[ALICE].is_raw = true;
    let text = request("MESSAGE", "a@example.org", "b@example.org", 1, "");
    assert_eq!(ask(&mut w, &text).lines(HeaderName::WwwAuthenticate).count(), 2);
}

// RFC 8760 §2.3 and §2.6: each algorithm has a header field of its own, in the order in which we would have it, with a qop;
// a phone may take any of them.
#[test]
fn algorithms_are_offered_in_the_order_that_is_configured_and_any_of_them_is_taken() {
    use Algorithm::{Md5, Sha256};
    for (algorithms, names) in [
        (vec![Sha256, Md5], vec!["SHA-256", "MD5"]),
        (vec![Md5, Sha256], vec!["MD5", "SHA-256"]),
        (vec![Md5], vec!["MD5"]),
        (vec![Sha256], vec!["SHA-256"]),
    ] {
        let configured = Config {
            digest_algorithms: algorithms,
            ..config()
        };
        let mut w = World::with(1, configured, Transport::Tcp, &["alice"]);
        w.peers[ALICE].is_raw = true;
        let text = |n: u32, lines: &str| request("MESSAGE", "alice@example.org", "bob@example.org", n, lines);
        for (n, chosen) in (0..).zip(&names) {
            let challenge = ask(&mut w, &text(10 * n + 1, ""));
            let offers: Vec<&str> = challenge.lines(HeaderName::WwwAuthenticate).collect();
            let offered = |offer: &&str| {
                offer
                    .split("algorithm=")
                    .nth(1)?
                    .split([',', ' '])
                    .next()
                    .map(str::to_owned)
            };
            assert_eq!(offers.iter().filter_map(offered).collect::<Vec<_>>(), names);
            assert!(
                offers.iter().all(|offer| offer.contains("qop=\"auth\"")),
                "{offers:?}"
            );
            let mut client = client("alice", "example.org", &secret("alice"));
            client.handle_challenges([offers[n as usize]]).unwrap();
            let credentials = client.authorize("MESSAGE", "sip:bob@example.org").unwrap();
            assert!(
                credentials.contains(&format!("algorithm={chosen},")),
                "{credentials}"
            );
            let answer = ask(
                &mut w,
                &text(10 * n + 2, &format!("Authorization: {credentials}\r\n")),
            );
            assert_eq!(
                answer.status(),
                Some(Status::TEMPORARILY_UNAVAILABLE),
                "bob is let through to"
            );
        }
    }
}

// Guards pitfall SIP 12: header names with odd bytes are errors.
#[test]
fn a_header_name_with_odd_bytes_is_an_error() {
    let mut w = world();
    let text = request(
        "MESSAGE",
        "alice@example.org",
        "bob@example.org",
        1,
        "To\u{1}: x\r\n",
    );
    assert_eq!(ask(&mut w, &text).status(), Some(Status::BAD_REQUEST));
    assert!(w.events.iter().any(|e| matches!(e, crate::Event::Refused { .. })));
}

// Guards pitfall SIP 12: credentials go nowhere but here; what a phone is sent has none.
#[test]
fn credentials_are_not_passed_on() {
    let mut w = World::new();
    w.talk(ALICE, BOB);
    let mut request = w.peers[ALICE].request(Method::Message, "bob");
    request.content = Content::none().with_body("text/plain", "hello");
    let now = w.now;
    w.peers[ALICE].ua.request(now, request).unwrap();
    w.run_ms(500);
    assert!(w.take(BOB).iter().any(|e| matches!(e, Event::Request { .. })));
    for message in &w.peers[BOB].heard {
        assert!(!message.has(HeaderName::Authorization));
        assert!(!message.has(HeaderName::WwwAuthenticate) || !message.is_request());
    }
}

/// Requests as short as they come, which are refused or answered without anybody being known.
fn shortest() -> Vec<String> {
    let of = |method: &str, uri: &str, lines: &str| {
        format!(
            "{method} {uri} SIP/2.0\r\nv: SIP/2.0/UDP 198.51.100.2;rport;branch=z9hG4bK{method}{}\r\nf: <sip:a@b.c>;tag=1\r\n\
             t: <sip:example.org>\r\ni: {method}{}\r\nCSeq: 1 {method}\r\nMax-Forwards: 70\r\n{lines}l: 0\r\n\r\n",
            lines.len(),
            lines.len()
        )
    };
    let us = "sip:example.org";
    let invite = "m: <sip:a@198.51.100.2>\r\n";
    vec![
        of("OPTIONS", us, ""),
        of("OPTIONS", us, "Accept: application/sdp\r\n"),
        of("OPTIONS", us, &format!("User-Agent: {}\r\n", "x".repeat(300))),
        of("OPTIONS", us, "Require: 100rel\r\n"),
        of("OPTIONS", "http:x", ""),
        of("FOO", us, ""),
        of("PUBLISH", us, ""),
        of("REFER", us, ""),
        of("NOTIFY", us, ""),
        of("NOTIFY", us, "o: message-summary\r\n"),
        of("SUBSCRIBE", us, ""),
        of("INFO", us, ""),
        of("BYE", us, ""),
        of("UPDATE", us, ""),
        of("CANCEL", us, ""),
        of("INVITE", us, &format!("{invite}Require: x\r\n")),
        of("INVITE", us, &format!("{invite}c: a/b\r\n")).replace("l: 0\r\n\r\n", "l: 1\r\n\r\nx"),
        of("INVITE", us, ""),
        of("INVITE", "mailto:x", invite),
        of("INVITE", us, invite).replace("t: <sip:example.org>", "t: <sip:example.org>;tag=x"),
        of("INVITE", us, invite).replace("Max-Forwards: 70", "Max-Forwards: 0"),
        of("MESSAGE", us, "Proxy-Require: x\r\n"),
        of("REGISTER", us, "k: x\r\nCSeq: nonsense\r\n"),
        of("REGISTER", us, ""),
        of("INVITE", us, invite),
        of("MESSAGE", us, ""),
    ]
}

// Guards pitfall SIP 13: whoever writes another's address into its datagrams makes us send little more than it sent.
#[test]
fn what_a_stranger_is_answered_over_udp_is_not_much_longer_than_what_it_sent() {
    let mut w = World::with(1, config(), Transport::Udp, &["alice"]);
    w.peers[ALICE].is_raw = true;
    for text in shortest() {
        let before = w.sent.len();
        w.inject(ALICE, &text);
        w.run_s(40);
        let answers: Vec<_> = w.sent[before..].iter().filter(|s| s.to == Some(ALICE)).collect();
        let [answer] = answers[..] else {
            panic!("one answer to {text}: {answers:?}")
        };
        let (what, answer) = (answer.what(), &answer.message);
        let percent = answer.bytes().len() * 100 / text.len();
        // What the RFC wants in these, and no phone does without, is left when all else is gone.
        let needs = match answer.status().map(Status::code) {
            Some(401) => Some(HeaderName::WwwAuthenticate),
            Some(405) => Some(HeaderName::Allow),
            Some(415) => Some(HeaderName::Accept),
            _ => None,
        };
        let most = if needs.is_some() {
            200
        } else {
            limits::SIP_ANSWER_PERCENT
        };
        assert!(percent <= most, "{what} has {percent} % of {text}");
        for name in [
            HeaderName::Server,
            HeaderName::WwwAuthenticate,
            HeaderName::Allow,
            HeaderName::Accept,
        ] {
            let is_spare = answer.has(name) && needs != Some(name);
            assert!(
                !is_spare || percent <= limits::SIP_ANSWER_PERCENT,
                "{name} in {what}"
            );
        }
        assert!(answer.lines(HeaderName::WwwAuthenticate).count() <= 1);
    }
    assert!(w.phone.is_idle());
}
