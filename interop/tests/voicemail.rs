//! Voicemail over the telephone: every way in which a recording ends.

#![allow(clippy::unwrap_used)] // A test says what it missed by panicking.

use ringpost_interop::{Account, ImapClient, Options, Server, SipCall, wait_for};
use std::time::Duration;

/// The longest message in these tests, in seconds: longer than what is said with the silence that ends it.
const LONGEST_S: u64 = 13;
const LIMIT: Duration = Duration::from_secs(30);

/// A server whose phones need no credentials, and that takes short messages.
fn server() -> Server {
    let mut server = Server::prepared(&Options {
        trusted_network: Some("127.0.0.0/8".into()),
        no_answer_s: 1,
        ..Options::default()
    });
    let text = std::fs::read_to_string(server.config()).unwrap();
    let text = text.replace(
        "[voicemail]\n",
        &format!("[voicemail]\nmax_length_s = {LONGEST_S}\n"),
    );
    std::fs::write(server.config(), text).unwrap();
    server.run();
    server
}

/// Past the greeting and the tone of somebody's voicemail.
fn reach(server: &Server, from: &str, to: &str) -> SipCall {
    let mut call = SipCall::place(server, from, to, &format!("from-{from}"));
    assert!(call.is_answered(), "{}", call.answer);
    call.press('#');
    call
}

/// What the subjects in a mailbox say: the caller, and the length in seconds.
fn voicemails(server: &Server, account: &Account, mailbox: &str) -> Vec<(String, u64)> {
    let mut imap = ImapClient::login(server, account).unwrap();
    assert!(imap.command(&format!("EXAMINE {mailbox}")).unwrap().is_ok());
    let what = "BODY.PEEK[HEADER.FIELDS (SUBJECT MESSAGE-CONTEXT)]";
    let reply = imap.command(&format!("UID FETCH 1:* ({what})")).unwrap();
    let mut found = Vec::new();
    for line in &reply.untagged {
        let text = String::from_utf8_lossy(line);
        let Some(subject) = text.split("Voicemail from ").nth(1) else {
            continue;
        };
        assert!(text.contains("Message-Context: voice-message"), "{text}");
        let (who, rest) = subject.split_once('@').unwrap();
        let length = rest.split(", ").nth(1).unwrap().lines().next().unwrap();
        let (minutes, seconds) = length.trim().split_once(':').unwrap();
        let seconds = seconds.parse::<u64>().unwrap() + 60 * minutes.parse::<u64>().unwrap();
        found.push((who.to_owned(), seconds));
    }
    found.sort();
    found
}

#[test]
fn a_recording_ends_with_the_hash_a_hang_up_silence_or_its_longest() {
    let server = server();
    let bob = server.account("bob");
    for name in ["hash", "hangup", "silence", "longest"] {
        server.account(name);
    }
    std::thread::scope(|scope| {
        let server = &server;
        scope.spawn(move || {
            let mut call = reach(server, "hash", "bob");
            call.speak(Duration::from_secs(3));
            call.press('#');
            call.wait_for_end();
        });
        scope.spawn(move || {
            let mut call = reach(server, "hangup", "bob");
            call.speak(Duration::from_secs(3));
            call.hang_up();
        });
        scope.spawn(move || {
            let mut call = reach(server, "silence", "bob");
            call.speak(Duration::from_secs(3));
            call.wait_for_end();
        });
        scope.spawn(move || {
            let mut call = reach(server, "longest", "bob");
            call.speak(Duration::from_secs(LONGEST_S + 2));
            call.wait_for_end();
        });
    });
    let arrived = wait_for(LIMIT, || voicemails(&server, &bob, "INBOX").len() == 4);
    let found = voicemails(&server, &bob, "INBOX");
    assert!(arrived, "{found:?}\n{}", server.log());
    for (who, seconds) in &found {
        let expected = match who.as_str() {
            "longest" => LONGEST_S - 1..=LONGEST_S,
            // With what is said while the greeting ends.
            _ => 2..=6,
        };
        assert!(expected.contains(seconds), "{found:?}");
    }
    server.check_store();
}
