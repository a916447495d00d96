//! What peers send cannot be taken for a line of the log, or a part of one.

#![allow(clippy::unwrap_used)] // A test says what it missed by panicking.

use ringpost_interop::{DOMAIN, Server, wait_for};
use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::time::Duration;

/// A line that a server might have written, where a peer may write what it likes.
const FORGED: &str = "2026-01-01T00:00:00.000000Z ERROR ringpost::serve: forged";

/// Says lines to a mail listener, and reads until it closes.
fn say(server: &Server, port: u16, lines: &[u8]) {
    let mut stream = TcpStream::connect((server.address(), port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(lines).unwrap();
    let _ = stream.read_to_end(&mut Vec::new());
}

/// Says to SMTP one thing after the other, each once the one before is answered, and gives what it heard.
fn converse(server: &Server, parts: &[&str]) -> String {
    let mut stream = TcpStream::connect((server.address(), 2525)).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut heard = String::new();
    for part in parts {
        stream.write_all(part.as_bytes()).unwrap();
        let _ = stream.read_to_string(&mut heard);
    }
    heard
}

/// Sends a request, and gives the first answer.
fn ask(server: &Server, request: &str) -> String {
    let socket = UdpSocket::bind((server.address(), 0)).unwrap();
    // Not all of it is answered.
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    socket
        .send_to(request.as_bytes(), (server.address(), 5060))
        .unwrap();
    let mut answer = vec![0; 65_535];
    let len = socket.recv(&mut answer).unwrap_or(0);
    String::from_utf8_lossy(&answer[..len]).into_owned()
}

fn request(method: &str, call_id: &str, from: &str, lines: &str) -> String {
    format!(
        "{method} sip:bob@{DOMAIN} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;rport;branch=z9hG4bK{method}{}\r\n\
         From: {from};tag=1\r\nTo: <sip:bob@{DOMAIN}>\r\nCall-ID: {call_id}\r\nCSeq: 1 {method}\r\n\
         Contact: <sip:x@127.0.0.1>\r\nMax-Forwards: 70\r\n{lines}Content-Length: 0\r\n\r\n",
        call_id.len()
    )
}

#[test]
fn no_peer_writes_a_line_of_the_log() {
    let server = Server::start();
    server.account("bob");
    // Nobody proves anything here: calls come as far as the log.
    let text = std::fs::read_to_string(server.config()).unwrap();
    std::fs::write(
        server.config(),
        format!("trusted_networks = [\"127.0.0.0/8\"]\n{text}"),
    )
    .unwrap();
    server.signal(libc::SIGHUP);
    assert!(wait_for(Duration::from_secs(10), || {
        server.log().contains("configuration read again")
    }));

    let from = format!("\"\u{1b}[31m{FORGED}\u{1b}[0m\" <sip:x@{DOMAIN}>");
    for call_id in [
        format!("a\r\n {FORGED}"),
        format!("a\n{FORGED}"),
        format!("a\r{FORGED}"),
        "a\u{1b}[2Jb".into(),
        "a\u{2028}b".into(),
    ] {
        for method in ["MESSAGE", "INVITE"] {
            ask(&server, &request(method, &call_id, &from, ""));
            ask(
                &server,
                &request(method, "plain", &from, &format!("X\u{1b}[31m: {FORGED}\r\n")),
            );
        }
    }
    ask(&server, &format!("{FORGED}\r\n\r\n"));
    ask(
        &server,
        &format!("INVITE sip:\u{1b}[31m\n{FORGED} SIP/2.0\r\n\r\n"),
    );
    // A call is told of, with a Call-ID of all that the grammar allows, and a display name of more.
    let sdp = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 96\r\n\
               a=rtpmap:96 unheard-of/8000\r\n";
    for call_id in ["x\"{answered}\\?[1]", &"x".repeat(20_000)] {
        let from = format!("\"x y=z\" <sip:x%20y=z@{DOMAIN};a=b>");
        let invite = request("INVITE", call_id, &from, "Content-Type: application/sdp\r\n");
        let invite = invite.replace("Content-Length: 0", &format!("Content-Length: {}", sdp.len()));
        let answer = ask(&server, &(invite + sdp));
        assert!(answer.starts_with("SIP/2.0 "), "{answer}");
    }

    let smtp = format!(
        "EHLO a\u{1b}[31m{FORGED}\r\nMAIL FROM:<\"\u{1b}[31m x=y\\\" z=\"@b.test>\r\nMAIL FROM:<\"a b=c\"@b.test>\r\n\
         RCPT TO:<bob@{DOMAIN}>\r\nDATA\r\nSubject: {FORGED}\r\n\r\n.\r\n\u{1b}[31m\n{FORGED}\r\nQUIT\r\n"
    );
    say(&server, 2525, smtp.as_bytes());
    let mail = format!("EHLO a\r\nMAIL FROM:<\"a b=c\"@b.test>\r\nRCPT TO:<bob@{DOMAIN}>\r\nDATA\r\n");
    let said = converse(&server, &[mail.as_str(), "Subject: x\r\n\r\nx\r\n.\r\nQUIT\r\n"]);
    assert!(said.contains("\n354 ") && said.contains("\n221 "), "{said}");
    let imap = format!("a LOGIN \"x\u{1b}[31m y=z\" \"{FORGED}\"\r\nb LOGIN {{3}}\r\na\nb x\r\nc LOGOUT\r\n");
    say(&server, 1430, imap.as_bytes());
    let told = wait_for(Duration::from_secs(10), || {
        let log = server.log();
        log.contains("imap session ends") && log.matches("call ended").count() == 2
    });
    let log = server.log();
    assert!(told, "{log}");
    assert!(
        log.contains(" message taken session=") && log.contains(" id="),
        "{log}"
    );
    for line in log.lines() {
        let mut words = line.split_whitespace();
        let (time, level, place) = (words.next(), words.next(), words.next());
        assert!(time.is_some_and(|time| time.ends_with('Z')), "{line:?}");
        assert!(
            level.is_some_and(|level| ["INFO", "WARN", "ERROR", "DEBUG"].contains(&level)),
            "{line:?}"
        );
        assert!(
            place.is_some_and(|place| place.starts_with("ringpost")),
            "{line:?}"
        );
        assert!(!line.starts_with(FORGED), "{line:?}");
        assert!(
            !line.contains(|c: char| c.is_control() || c == '\u{2028}'),
            "{line:?}"
        );
        assert!(line.len() < 4_000, "{} bytes", line.len());
        for place in [" y=z", " answered=true", " z=", " b=c"] {
            let quotes = line.split(place).next().unwrap_or_default().replace("\\\"", "");
            let is_quoted = quotes.matches('"').count() % 2 == 1;
            assert!(!line.contains(place) || is_quoted, "{line:?}");
        }
    }
}
