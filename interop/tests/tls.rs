//! openssl s_client against every listener that speaks TLS, from the start or after STARTTLS; and as a phone.

#![allow(clippy::unwrap_used)] // A test says what it missed by panicking.

use ringpost_interop::{DOMAIN, Device, Server, Sipp, client, wait_for};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(10);

/// One s_client, into which the test types.
struct Session {
    child: Child,
    log: PathBuf,
}

impl Session {
    /// Connects; None when openssl is missing.
    fn open(server: &Server, port: u16, more: &[&str]) -> Option<Session> {
        let openssl = client("openssl")?;
        let log = server
            .folder()
            .join(format!("s_client-{port}{}.log", more.join("")));
        let file = std::fs::File::create(&log).unwrap();
        let child = Command::new(openssl)
            .args(["s_client", "-connect", &format!("{}:{port}", server.address())])
            .args(["-crlf", "-quiet", "-servername", DOMAIN])
            .args(more)
            .stdin(Stdio::piped())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        Some(Session { child, log })
    }

    /// Types lines. A session that the other side has ended takes nothing.
    fn say(&mut self, lines: &str) {
        let _ = self.child.stdin.as_mut().unwrap().write_all(lines.as_bytes());
    }

    /// What it has heard so far, with what openssl had to say.
    fn heard(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap()).into_owned()
    }

    /// Waits for an answer with `text`.
    fn expect(&self, text: &str) -> String {
        let found = wait_for(LIMIT, || self.heard().contains(text));
        let heard = self.heard();
        assert!(found, "no {text:?} in:\n{heard}");
        heard
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

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
            let Some(mut session) = Session::open(&server, port, &[&[version], starttls].concat()) else {
                return;
            };
            session.say(lines);
            session.expect(answer);
        }
        let Some(mut old) = Session::open(&server, port, &[&["-tls1_1"], starttls].concat()) else {
            return;
        };
        let ended = wait_for(LIMIT, || matches!(old.child.try_wait(), Ok(Some(_))));
        assert!(ended, "port {port}: TLS 1.1 is refused:\n{}", old.heard());
    }
}

/// MD5 in hexadecimal, as openssl reckons it.
fn md5(text: &str) -> String {
    let mut child = Command::new("openssl")
        .args(["dgst", "-md5", "-r"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap()[..32].to_string()
}

fn register(device: &Device, cseq: u32, credentials: &str) -> String {
    let user = &device.account;
    format!(
        "REGISTER sip:{DOMAIN} SIP/2.0\nVia: SIP/2.0/TLS phone.invalid;branch=z9hG4bKr{cseq};rport\n\
         From: <sip:{user}@{DOMAIN}>;tag=r\nTo: <sip:{user}@{DOMAIN}>\nCall-ID: typed\nCSeq: {cseq} REGISTER\n\
         Contact: <sip:{user}@phone.invalid;transport=tls>\nExpires: 60\nMax-Forwards: 70\n{credentials}\
         Content-Length: 0\n\n"
    )
}

/// What answers a challenge of MD5 with qop=auth.
fn credentials(device: &Device, nonce: &str) -> String {
    let Device { username, secret, .. } = device;
    let uri = format!("sip:{DOMAIN}");
    let (a1, a2) = (
        md5(&format!("{username}:{DOMAIN}:{secret}")),
        md5(&format!("REGISTER:{uri}")),
    );
    let response = md5(&format!("{a1}:{nonce}:00000001:typed:auth:{a2}"));
    format!(
        "Authorization: Digest username=\"{username}\", realm=\"{DOMAIN}\", nonce=\"{nonce}\", uri=\"{uri}\", \
         response=\"{response}\", algorithm=MD5, qop=auth, nc=00000001, cnonce=\"typed\"\n"
    )
}

#[test]
fn a_phone_that_is_typed_through_tls_is_reached_over_its_own_connection() {
    let server = Server::start();
    let ((_, alice), (_, bob)) = (server.person("alice"), server.person("bob"));
    let Some(mut phone) = Session::open(&server, 5061, &[]) else {
        return;
    };
    phone.say(&register(&alice, 1, ""));
    let challenge = phone.expect("Content-Length: 0");
    assert!(challenge.contains("SIP/2.0 401"), "{challenge}");
    let nonce = challenge
        .split("nonce=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    phone.say(&register(&alice, 2, &credentials(&alice, nonce)));
    let heard = phone.expect("SIP/2.0 200");
    assert!(heard.contains("SIP/2.0 200"), "{heard}");
    let Some(bob) = Sipp::phone(&server, &bob, 6002) else {
        return;
    };
    // Her contact's name means nothing to anybody: only her connection leads to her.
    let _sends = bob.start("uac_message", &["-s", "alice"]);
    phone.expect("Dinner at eight?");
}
