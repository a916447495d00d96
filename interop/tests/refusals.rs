//! What a mail program hears that may not, or may not do this: by swaks, with its exit status and the server's reply, over plain
//! connections, after STARTTLS and under TLS from the start. Nothing of it is delivered.

use ringpost_interop::{Account, Options, Server, client, mails, run, swaks, wait_for};
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

/// How swaks says that it ended (its manual, "EXIT CODES").
const MAIL_REFUSED: i32 = 23;
const NO_RECIPIENT: i32 = 24;
const MESSAGE_REFUSED: i32 = 26;
const AUTH_FAILED: i32 = 28;

/// The ports of a test's server with what swaks needs to know of each, and how it marks what it hears there.
const RELAY: (u16, &str) = (2525, "");
const RELAY_STARTTLS: (u16, &str) = (2525, "--tls");
const SUBMISSION: (u16, &str) = (5870, "");
const SUBMISSION_STARTTLS: (u16, &str) = (5870, "--tls");
const SUBMISSIONS: (u16, &str) = (4650, "--tlsc");

/// Two people, and a server that takes small messages for few recipients.
struct Post {
    server: Server,
    alice: Account,
    bob: Account,
}

impl Post {
    fn start() -> Post {
        let server = Server::start_with(&Options {
            limits: "message_bytes = 100000\nmessage_recipients = 100\n".into(),
            ..Options::default()
        });
        let (alice, bob) = (server.account("alice"), server.account("bob"));
        Post { server, alice, bob }
    }

    /// What alice proves who she is with.
    fn credentials<'a>(&'a self, mechanism: &'a str, password: &'a str) -> [&'a str; 6] {
        let user = self.alice.address.as_str();
        [
            "--auth",
            mechanism,
            "--auth-user",
            user,
            "--auth-password",
            password,
        ]
    }

    /// swaks ends with this status, and has heard this.
    fn expect(&self, (port, tls): (u16, &str), more: &[&str], status: i32, said: &str) -> Option<String> {
        let tls = Some(tls).filter(|tls| !tls.is_empty());
        let arguments: Vec<&str> = more.iter().copied().chain(tls).collect();
        let finished = swaks(&self.server, port, &arguments)?;
        let ended = finished.status.and_then(|status| status.code());
        assert!(
            ended == Some(status) && finished.output.contains(said),
            "{arguments:?}: {ended:?}, not {status} with {said:?}:\n{}",
            finished.output
        );
        Some(finished.output)
    }

    fn assert_delivered(&self, count: usize) {
        let arrived = || mails(&self.server, &self.bob, "INBOX").len();
        assert!(wait_for(LIMIT, || arrived() >= count), "{}", arrived());
        assert_eq!(arrived(), count);
        self.server.check_store();
    }
}

#[test]
fn who_does_not_prove_who_they_are_sends_nothing() {
    let post = Post::start();
    let (alice, bob) = (post.alice.address.as_str(), post.bob.address.as_str());
    let envelope = ["--from", alice, "--to", bob];
    let with = |more: &[&'static str]| [&envelope[..], more].concat();
    for way in [SUBMISSION_STARTTLS, SUBMISSIONS] {
        let mark = "<~* ";
        // RFC 6409 §4.3: nothing without AUTH.
        let said = format!("{mark}530 5.7.0 ");
        let Some(_) = post.expect(way, &with(&[]), MAIL_REFUSED, &said) else {
            return;
        };
        for mechanism in ["PLAIN", "LOGIN"] {
            // RFC 4954 §6; who is not there hears the same.
            let said = format!("{mark}535 5.7.8 Authentication credentials invalid");
            let wrong = post.credentials(mechanism, "wrong");
            post.expect(way, &[&envelope[..], &wrong].concat(), AUTH_FAILED, &said);
            let nobody = ["--auth", mechanism, "--auth-user", "nobody@interop.test"];
            let nobody = [&envelope[..], &nobody, &["--auth-password", &post.alice.password]];
            post.expect(way, &nobody.concat(), AUTH_FAILED, &said);
        }
        // Those that would have the server know the password as it is typed are not offered.
        for mechanism in ["CRAM-MD5", "CRAM-SHA1", "DIGEST-MD5", "NTLM"] {
            let right = post.credentials(mechanism, &post.alice.password);
            let finished = swaks(&post.server, way.0, &[&envelope[..], &right, &[way.1]].concat());
            let Some(finished) = finished else { return };
            let status = finished.status.and_then(|status| status.code());
            // 10: Debian's Perl lacks what it takes to ask for that one.
            let asked = status == Some(AUTH_FAILED) && finished.output.contains("requested type");
            assert!(asked || status == Some(10), "{mechanism}: {}", finished.output);
            assert!(!finished.output.contains("-> AUTH"), "{}", finished.output);
        }
    }
    // Without TLS there is no AUTH, nor anything else; where other servers come there is none at all.
    post.expect(SUBMISSION, &with(&[]), MAIL_REFUSED, "<** 530 5.7.0 ");
    for way in [SUBMISSION, RELAY, RELAY_STARTTLS] {
        let right = post.credentials("PLAIN", &post.alice.password);
        let said = "Host did not advertise authentication";
        let output = post.expect(way, &[&envelope[..], &right].concat(), AUTH_FAILED, said);
        assert!(output.is_some_and(|output| !output.contains("AUTH PLAIN")));
    }
    post.assert_delivered(0);
}

#[test]
fn who_has_proven_who_they_are_speaks_as_themselves_and_to_those_who_are_there() {
    let post = Post::start();
    let (alice, bob) = (post.alice.address.as_str(), post.bob.address.as_str());
    for way in [SUBMISSION_STARTTLS, SUBMISSIONS] {
        for (from, to, status, said) in [
            (bob, bob, MAIL_REFUSED, "<~* 553 5.7.1 "),
            ("nobody@interop.test", bob, MAIL_REFUSED, "<~* 553 5.7.1 "),
            ("alice@elsewhere.test", bob, MAIL_REFUSED, "<~* 553 5.7.1 "),
            ("not an address", bob, MAIL_REFUSED, "<~* 501 5.1.7 "),
            (alice, "nobody@interop.test", NO_RECIPIENT, "<~* 550 5.1.1 "),
            (alice, "not an address", NO_RECIPIENT, "<~* 501 5.1.3 "),
            // This server sends to nobody elsewhere.
            (alice, "x@elsewhere.test", NO_RECIPIENT, "<~* 550 5.1.2 "),
        ] {
            let right = post.credentials("PLAIN", &post.alice.password);
            let more = [&["--from", from, "--to", to][..], &right].concat();
            let Some(_) = post.expect(way, &more, status, said) else {
                return;
            };
        }
    }
    post.assert_delivered(0);
    // Who is there gets it, whoever else was named.
    for (n, way) in [SUBMISSION_STARTTLS, SUBMISSIONS].into_iter().enumerate() {
        let right = post.credentials("LOGIN", &post.alice.password);
        let to = format!("nobody@interop.test,{bob}");
        let more = [&["--from", alice, "--to", &to][..], &right].concat();
        post.expect(way, &more, 0, "<~* 550 5.1.1 ");
        post.assert_delivered(n + 1);
    }
}

#[test]
fn strangers_deliver_to_those_who_are_there_and_in_measure() {
    let post = Post::start();
    let bob = post.bob.address.as_str();
    let big = post.server.folder().join("big");
    std::fs::write(&big, "a line of thirty-two octets, or so\n".repeat(4_000)).expect("the folder is ours");
    let big = format!("@{}", big.display());
    for (way, mark) in [(RELAY, "<** "), (RELAY_STARTTLS, "<~* ")] {
        let from = "x@elsewhere.test";
        for (from, to, status, said) in [
            ("not an address", bob, MAIL_REFUSED, "501 5.1.7 "),
            (from, "nobody@interop.test", NO_RECIPIENT, "550 5.1.1 "),
            (from, "x@elsewhere.test", NO_RECIPIENT, "550 5.7.1 "),
            (
                from,
                "bob%elsewhere.test@interop.test",
                NO_RECIPIENT,
                "550 5.7.1 ",
            ),
            (from, "not an address", NO_RECIPIENT, "501 5.1.3 "),
        ] {
            let said = format!("{mark}{said}");
            let Some(_) = post.expect(way, &["--from", from, "--to", to], status, &said) else {
                return;
            };
        }
        // RFC 1870 §6.3: swaks says no size, and hears of it at the end.
        let said = format!("{mark}552 5.3.4 ");
        let more = ["--from", from, "--to", bob, "--body", &big];
        post.expect(way, &more, MESSAGE_REFUSED, &said);
    }
    post.assert_delivered(0);
    // RFC 5321 §4.5.3.1.10: a hundred are taken, the others are to come again.
    let to: Vec<String> = (0..103).map(|n| format!("bob+{n}@interop.test")).collect();
    let more = ["--from", "x@elsewhere.test", "--to", &to.join(",")];
    let said = post.expect(RELAY, &more, 0, "<** 452 4.5.3 Too many recipients");
    let said = said.unwrap_or_default();
    assert_eq!(said.matches("<** 452 4.5.3 ").count(), 3, "{said}");
    // They are all bob, who gets it once.
    post.assert_delivered(1);
}

/// curl says the size at MAIL, and is refused there: nothing of the message goes over the line.
#[test]
fn a_message_whose_size_is_too_large_is_refused_before_it_comes() {
    let Some(curl) = client("curl") else { return };
    let post = Post::start();
    let file = post.server.folder().join("big");
    std::fs::write(
        &file,
        "Subject: big\r\n\r\n".to_owned() + &"a line\r\n".repeat(20_000),
    )
    .expect("the folder is ours");
    let user = format!("{}:{}", post.alice.address, post.alice.password);
    for (scheme, port, credentials) in [("smtp", 2525, false), ("smtp", 5870, true), ("smtps", 4650, true)] {
        let url = format!("{scheme}://{}:{port}/client.test", post.server.address());
        let mut command = Command::new(&curl);
        command.args(["-v", "-k", "--url", &url, "--mail-from", &post.alice.address]);
        command
            .args(["--mail-rcpt", &post.bob.address, "--upload-file"])
            .arg(&file);
        if credentials {
            command.args(["--ssl-reqd", "--user", &user]);
        }
        let finished = run(post.server.folder(), &format!("curl-{port}"), &mut command, LIMIT);
        let output = &finished.output;
        assert!(!finished.succeeded(), "{port}: {output}");
        assert!(output.contains(" SIZE=160016"), "{port}: {output}");
        assert!(output.contains("< 552 5.3.4 "), "{port}: {output}");
        assert!(
            !output.contains("> DATA") && !output.contains("> RCPT"),
            "{port}: {output}"
        );
    }
    post.assert_delivered(0);
}
