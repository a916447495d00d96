//! openssl s_client against every listener that speaks TLS, from the start or after STARTTLS; and as a phone.

#![allow(clippy::unwrap_used)] // A test says what it missed by panicking.

use ringpost_interop::{Server, Sipp, TypedTls};

const OPTIONS: &str = "OPTIONS sip:interop.test SIP/2.0\nVia: SIP/2.0/TLS x;branch=z9hG4bKx;rport\n\
    From: <sip:x@x>;tag=1\nTo: <sip:interop.test>\nCall-ID: 1\nCSeq: 1 OPTIONS\nMax-Forwards: 70\nContent-Length: 0\n\n";

#[test]
fn every_listener_that_speaks_tls_is_understood() {
    let server = Server::start();
    let smtp = ["-starttls", "smtp", "-name", "client.test"];
    for (port, starttls, lines, answer) in [
        (5061, [].as_slice(), OPTIONS, "SIP/2.0 200"),
        (9930, &[], "a LOGOUT\n", "a OK"),
        (9950, &[], "QUIT\n", "+OK Until next time"),
        (4650, &[], "EHLO client.test\nQUIT\n", "\n221 "),
        (1430, &["-starttls", "imap"], "a LOGOUT\n", "a OK"),
        (1100, &["-starttls", "pop3"], "QUIT\n", "+OK Until next time"),
        (5870, &smtp, "EHLO client.test\nQUIT\n", "\n221 "),
        (2525, &smtp, "EHLO client.test\nQUIT\n", "\n221 "),
    ] {
        for version in ["-tls1_3", "-tls1_2"] {
            let Some(mut session) = TypedTls::open(&server, port, &[&[version], starttls].concat()) else {
                return;
            };
            session.say(lines);
            session.expect(answer);
        }
        let Some(mut old) = TypedTls::open(&server, port, &[&["-tls1_1"], starttls].concat()) else {
            return;
        };
        assert!(
            old.has_ended(),
            "port {port}: TLS 1.1 is refused:\n{}",
            old.heard()
        );
    }
}

#[test]
fn a_phone_that_is_typed_through_tls_is_reached_over_its_own_connection() {
    let server = Server::start();
    let ((_, alice), (_, bob)) = (server.person("alice"), server.person("bob"));
    let Some(mut phone) = TypedTls::open(&server, 5061, &[]) else {
        return;
    };
    phone.register(&alice);
    let Some(bob) = Sipp::phone(&server, &bob, 6002) else {
        return;
    };
    // Her contact's name means nothing to anybody: only her connection leads to her.
    let _sends = bob.start("uac_message", &["-s", "alice"]);
    phone.expect("Dinner at eight?");
}
