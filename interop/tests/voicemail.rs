//! Voicemail over the telephone: every way in which a recording ends, the lamp on all phones and over a restart, and the menu.

#![allow(clippy::unwrap_used)] // A test says what it missed by panicking.

use ringpost_interop::{
    Account, Baresip, Behaviour, DOMAIN, ImapClient, Options, Server, SipCall, SipSocket, sip_request,
    wait_for,
};
use std::time::{Duration, Instant};

/// The longest message in these tests, in seconds: longer than what is said with the silence that ends it.
const LONGEST_S: u64 = 13;
const LIMIT: Duration = Duration::from_secs(30);

/// A server whose phones need no credentials but for the menu, and that takes short messages.
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

/// A phone of bob's that has registered, and perhaps subscribed to its lamp.
struct Phone {
    socket: SipSocket,
    name: &'static str,
    requests: u32,
}

impl Phone {
    fn new(server: &Server, name: &'static str) -> Phone {
        let mut phone = Phone {
            socket: SipSocket::open(server),
            name,
            requests: 0,
        };
        phone.ask("REGISTER", &format!("sip:{DOMAIN}"), "Expires: 600\r\n");
        phone
    }

    fn ask(&mut self, method: &str, uri: &str, lines: &str) {
        self.requests += 1;
        let (name, port) = (self.name, self.socket.port());
        let contact = format!("Contact: <sip:{name}@127.0.0.1:{port}>\r\n{lines}");
        let call = format!("{name}-{}", self.requests);
        let request = sip_request(method, uri, &format!("sip:bob@{DOMAIN}"), &call, &contact);
        let answer = self.socket.ask(&request);
        assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
    }

    /// Waits for a NOTIFY that says so, and how many new and old messages there are.
    fn wait_for(&self, waiting: &str, counts: &str) {
        loop {
            let text = self.socket.next();
            if text.starts_with("SIP/2.0 ") {
                continue;
            }
            self.socket.answer(&text);
            let says = |what: &str| text.to_ascii_lowercase().contains(&what.to_ascii_lowercase());
            if says(&format!("Messages-Waiting: {waiting}")) && says(&format!("Voice-Message: {counts}")) {
                return;
            }
        }
    }
}

#[test]
fn the_lamp_follows_on_all_phones_and_is_told_after_a_restart() {
    let mut server = server();
    let (_, bob) = (server.account("alice"), server.account("bob"));
    let mut phones = ["desk", "hall", "kitchen"].map(|name| Phone::new(&server, name));
    let address = format!("sip:bob@{DOMAIN}");
    phones[2].ask(
        "SUBSCRIBE",
        &address,
        "Event: message-summary\r\nExpires: 600\r\n",
    );
    let mut call = reach(&server, "alice", "bob");
    call.speak(Duration::from_secs(3));
    call.press('#');
    call.wait_for_end();
    phones.iter().for_each(|phone| phone.wait_for("yes", "1/0"));
    let mut imap = ImapClient::login(&server, &bob).unwrap();
    assert!(imap.command("SELECT INBOX").unwrap().is_ok());
    assert!(imap.command("STORE 1 +FLAGS (\\Seen)").unwrap().is_ok());
    let told = Instant::now();
    phones.iter().for_each(|phone| phone.wait_for("no", "0/1"));
    println!("the lamp is out on three phones after {:?}", told.elapsed());
    assert!(imap.command("STORE 1 -FLAGS (\\Seen)").unwrap().is_ok());
    phones.iter().for_each(|phone| phone.wait_for("yes", "1/0"));
    server.kill();
    server.run();
    // With the first refresh of one of them all hear how things stand.
    phones[0].ask("REGISTER", &format!("sip:{DOMAIN}"), "Expires: 600\r\n");
    phones.iter().for_each(|phone| phone.wait_for("yes", "1/0"));
}

#[test]
fn the_menu_plays_repeats_deletes_and_finds_old_messages() {
    let mut server = server();
    for name in ["first", "second"] {
        server.account(name);
    }
    let (bob, device) = server.person("bob");
    std::thread::scope(|scope| {
        for name in ["first", "second"] {
            let server = &server;
            scope.spawn(move || {
                let mut call = reach(server, name, "bob");
                call.speak(Duration::from_secs(3));
                call.hang_up();
            });
        }
    });
    assert!(wait_for(LIMIT, || voicemails(&server, &bob, "INBOX").len() == 2));
    // The menu is for who has proven to be bob, and a phone proves nothing unless it is asked.
    server.stop();
    let text = std::fs::read_to_string(server.config()).unwrap();
    let asking = text.lines().filter(|line| !line.starts_with("trusted_networks"));
    std::fs::write(server.config(), asking.collect::<Vec<_>>().join("\n")).unwrap();
    server.run();
    let Some(mut phone) = Baresip::start(&server, &device, 6200, Behaviour::default()) else {
        return;
    };
    let seen = |server: &Server| {
        let mut imap = ImapClient::login(server, &bob).unwrap();
        assert!(imap.command("EXAMINE INBOX").unwrap().is_ok());
        let found = imap.command("SEARCH SEEN").unwrap().text();
        found
            .split("* SEARCH")
            .nth(1)
            .unwrap_or_default()
            .split_whitespace()
            .count()
    };
    phone.dial("*97");
    phone.wait_for("Call established");
    // The first new one: heard, then once more, then the next, which is deleted.
    phone.press('1');
    assert!(wait_for(LIMIT, || seen(&server) == 1), "{}", server.log());
    phone.press('2');
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(seen(&server), 1, "the same again");
    phone.press('1');
    assert!(wait_for(LIMIT, || seen(&server) == 2), "{}", server.log());
    phone.press('3');
    assert!(wait_for(LIMIT, || voicemails(&server, &bob, "INBOX").len() == 1));
    assert_eq!(voicemails(&server, &bob, "Trash").len(), 1);
    phone.press('#');
    phone.wait_for("session closed");
    // The one that was heard is an old one now, and is found and deleted too.
    phone.dial("*97");
    phone.wait_for("Call established");
    phone.press('4');
    std::thread::sleep(Duration::from_secs(3));
    phone.press('3');
    assert!(
        wait_for(LIMIT, || voicemails(&server, &bob, "INBOX").is_empty()),
        "{}",
        server.log()
    );
    assert_eq!(voicemails(&server, &bob, "Trash").len(), 2);
    phone.press('#');
    phone.wait_for("session closed");
    server.check_store();
}
