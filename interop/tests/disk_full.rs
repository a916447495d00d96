//! A full disk: 452, NO and 503, what was taken before is there and can be read, and once there is room again all goes on
//! without a restart.

#![allow(clippy::unwrap_used)] // A test says what it missed by panicking.

use ringpost_interop::{
    Account, DOMAIN, ImapClient, ImapReply, Options, Server, SipCall, SipSocket, SmallDisk, SmtpClient,
    sip_request, wait_for,
};
use std::collections::BTreeMap;
use std::time::Duration;

const MIB: u64 = 1024 * 1024;
/// Larger than what travels inside the store's batch: a file of its own.
const LARGE_BYTES: usize = 200_000;
/// What may still fit on a full disk, into pages that were there already, is less than this many small things.
const SMALL_THINGS: usize = 20_000;

/// A file system and a server that has it for its data folder; None where none can be mounted. The server is dropped first.
fn on_small_disk(size_bytes: u64) -> Option<(SmallDisk, Server)> {
    let mut server = Server::prepared(&Options {
        trusted_network: Some("127.0.0.0/8".into()),
        no_answer_s: 1,
        ..Options::default()
    });
    let disk = SmallDisk::mount(&server.data(), size_bytes)?;
    server.run();
    Some((disk, server))
}

fn message(subject: &str, size_bytes: usize) -> String {
    let text = "a line of text that is repeated, and it has sixty-four octets.\r\n";
    format!(
        "From: x@elsewhere.test\r\nSubject: {subject}\r\n\r\n{}",
        text.repeat(size_bytes / text.len())
    )
}

/// The subjects of INBOX, each with how often it is there, read from the messages themselves.
fn subjects(server: &Server, account: &Account) -> BTreeMap<String, usize> {
    let mut imap = ImapClient::login(server, account).unwrap();
    assert!(imap.command("EXAMINE INBOX").unwrap().is_ok());
    let mut found = BTreeMap::new();
    for one in fetch(&mut imap, "BODY.PEEK[]").untagged {
        let text = String::from_utf8(one).unwrap();
        if !text.contains(" FETCH (") {
            continue;
        }
        let subject = text
            .split("Subject: ")
            .nth(1)
            .unwrap()
            .split("\r\n")
            .next()
            .unwrap();
        *found.entry(subject.to_string()).or_default() += 1;
        if subject.contains("large") {
            assert!(text.len() > LARGE_BYTES - 1_000, "{subject} is whole");
        }
    }
    found
}

fn fetch(imap: &mut ImapClient, what: &str) -> ImapReply {
    let reply = imap.command(&format!("UID FETCH 1:* ({what})")).unwrap();
    assert!(reply.is_ok(), "{}", reply.tagged);
    reply
}

/// Does something again and again until it is refused, as it must be before long; gives the refusal.
fn until_refused(mut act: impl FnMut(usize) -> Result<(), String>) -> String {
    (0..SMALL_THINGS)
        .find_map(|n| act(n).err())
        .expect("a full disk refuses in the end")
}

fn to_result(reply: ImapReply) -> Result<(), String> {
    match reply.is_ok() {
        true => Ok(()),
        false => Err(reply.tagged),
    }
}

/// What the sender was told was taken.
#[derive(Default)]
struct Taken(Vec<String>);

impl Taken {
    /// Delivers, and remembers the subject if it was taken.
    fn deliver(
        &mut self,
        smtp: &mut SmtpClient,
        to: &[&Account],
        subject: &str,
        size: usize,
    ) -> Result<(), String> {
        let reply = smtp.deliver(to, &message(subject, size)).unwrap();
        match reply.starts_with("250 ") {
            true => self.0.push(subject.into()),
            false => return Err(reply),
        }
        Ok(())
    }

    fn append(&mut self, imap: &mut ImapClient, subject: &str, size: usize) -> Result<(), String> {
        to_result(imap.append(&message(subject, size)).unwrap())?;
        self.0.push(subject.into());
        Ok(())
    }

    /// All of it is there, each once, and nothing else.
    fn assert_there(&self, server: &Server, account: &Account) {
        let there = subjects(server, account);
        for subject in &self.0 {
            assert_eq!(there.get(subject), Some(&1), "{subject} was taken");
        }
        assert_eq!(
            there.len(),
            self.0.len(),
            "nothing is there that was refused: {there:?}"
        );
    }
}

const UNAVAILABLE: &str = "NO [UNAVAILABLE] The server's disk is full";

fn register(server: &Server) -> SipSocket {
    let socket = SipSocket::open(server);
    let alice = format!("sip:alice@{DOMAIN}");
    let more = format!(
        "Contact: <sip:alice@{}:{}>\r\nExpires: 600\r\n",
        server.address(),
        socket.port()
    );
    let answer = socket.ask(&sip_request(
        "REGISTER",
        &format!("sip:{DOMAIN}"),
        &alice,
        "full",
        &more,
    ));
    assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
    socket
}

#[test]
fn what_needs_a_full_disk_is_refused_and_all_else_goes_on() {
    let Some((disk, mut server)) = on_small_disk(24 * MIB) else {
        return;
    };
    let (alice, bob) = (server.account("alice"), server.account("bob"));
    let mut smtp = SmtpClient::open(&server).unwrap();
    let mut imap = ImapClient::login(&server, &bob).unwrap();
    let mut taken = Taken::default();
    for n in 0..3 {
        taken
            .deliver(&mut smtp, &[&bob], &format!("small {n}"), 500)
            .unwrap();
        taken.append(&mut imap, &format!("appended {n}"), 500).unwrap();
    }
    taken.deliver(&mut smtp, &[&bob], "large", LARGE_BYTES).unwrap();
    taken.append(&mut imap, "large, appended", LARGE_BYTES).unwrap();
    assert!(imap.command("SELECT INBOX").unwrap().is_ok());

    disk.fill();
    // Mail: what is small may find some room in pages that are there, what is large finds none.
    let large = taken
        .deliver(&mut smtp, &[&bob], "too large", LARGE_BYTES)
        .unwrap_err();
    assert!(large.starts_with("452 4.3.1 "), "{large}");
    let small = until_refused(|n| taken.deliver(&mut smtp, &[&bob], &format!("late {n}"), 500));
    assert!(small.starts_with("452 4.3.1 "), "{small}");
    let both = smtp
        .deliver(&[&alice, &bob], &message("for two", 30_000))
        .unwrap();
    assert!(both.starts_with("452 4.3.1 "), "{both}");

    let large = taken.append(&mut imap, "too large", LARGE_BYTES).unwrap_err();
    assert!(large.starts_with(UNAVAILABLE), "{large}");
    let small = until_refused(|n| taken.append(&mut imap, &format!("appended late {n}"), 500));
    assert!(small.starts_with(UNAVAILABLE), "{small}");
    let mut flag = String::new();
    let refused = until_refused(|n| {
        let stored = to_result(imap.command(&format!("STORE 1 FLAGS (n{n})")).unwrap());
        if stored.is_ok() {
            flag = format!("n{n}");
        }
        stored
    });
    assert!(refused.starts_with(UNAVAILABLE), "{refused}");
    for command in [
        "COPY 1:* Sent",
        "MOVE 1 Sent",
        "CREATE Work",
        "STORE 1:* +FLAGS (\\Deleted)",
    ] {
        let refused = until_refused(|_| to_result(imap.command(command).unwrap()));
        assert!(refused.starts_with(UNAVAILABLE), "{command}: {refused}");
    }

    // Reading goes on, and shows what was answered OK.
    taken.assert_there(&server, &bob);
    let mut other = ImapClient::login(&server, &bob).unwrap();
    assert!(other.command("SELECT INBOX").unwrap().is_ok());
    let flags = other.command("FETCH 1 FLAGS").unwrap().text();
    assert!(
        flags.contains(&flag) && !flags.contains("\\Deleted"),
        "{flag}: {flags}"
    );
    let shown = other.command("FETCH 1 BODY[TEXT]").unwrap();
    assert!(
        shown.is_ok() && shown.text().contains("sixty-four octets"),
        "{shown:?}"
    );
    assert!(other.command("STATUS INBOX (MESSAGES)").unwrap().is_ok());
    assert!(
        other
            .command("SEARCH SUBJECT small")
            .unwrap()
            .text()
            .contains("SEARCH 1")
    );

    // Phones register and reach each other: that is kept in memory. A voicemail could not be kept, and is not taken.
    let phone = register(&server);
    let call = SipCall::place(&server, "alice", "bob", "to-voicemail");
    assert!(call.answer.starts_with("SIP/2.0 503 "), "{}", call.answer);
    let texter = SipSocket::open(&server);
    let uri = format!("sip:alice@{DOMAIN}");
    let text = "Content-Type: text/plain\r\n\r\nDinner at eight?";
    texter.send(&sip_request(
        "MESSAGE",
        &uri,
        &format!("sip:bob@{DOMAIN}"),
        "text",
        text,
    ));
    let heard = std::iter::from_fn(|| Some(phone.next()))
        .find(|text| text.starts_with("MESSAGE "))
        .unwrap();
    assert!(heard.contains("Dinner at eight?"), "{heard}");
    phone.answer(&heard);
    assert!(texter.next().starts_with("SIP/2.0 200 "));

    // There is room again.
    let tried = wait_for(Duration::from_secs(10), || {
        server.log().contains("registrations not saved yet")
    });
    assert!(tried, "a registration cannot be saved either");
    disk.free();
    taken.deliver(&mut smtp, &[&bob], "after", 500).unwrap();
    taken
        .deliver(&mut smtp, &[&bob], "after, large", LARGE_BYTES)
        .unwrap();
    taken.append(&mut imap, "appended after", 500).unwrap();
    assert!(imap.command("STORE 1 +FLAGS (\\Answered)").unwrap().is_ok());
    assert!(imap.command("CREATE Work").unwrap().is_ok());
    let call = SipCall::place(&server, "alice", "bob", "to-voicemail-again");
    assert!(call.is_answered(), "{}", call.answer);
    call.hang_up();
    taken.assert_there(&server, &bob);
    let log = server.log();
    assert!(log.contains("medium is full"), "the operator is told");

    // The registration that could not be saved is saved by now, and outlives a crash.
    std::thread::sleep(Duration::from_secs(10));
    server.kill();
    server.run();
    let restored = wait_for(Duration::from_secs(10), || {
        server.metric("registered_phones") == 1.0
    });
    assert!(restored, "{}", server.log());
    taken.assert_there(&server, &bob);
    server.check_store();
}

#[test]
fn a_disk_that_mail_has_filled_takes_mail_again_when_it_has_grown() {
    let Some((disk, mut server)) = on_small_disk(24 * MIB) else {
        return;
    };
    let people = ["ann", "ben", "cat"].map(|name| server.account(name));
    let all: Vec<&Account> = people.iter().collect();
    // Messages for several stand in the spool first, and are delivered from there while others still come in.
    let mut taken = Taken::default();
    std::thread::scope(|scope| {
        let (server, all) = (&server, &all);
        let send = |sender: usize| {
            let mut smtp = SmtpClient::open(server).unwrap();
            let mut taken = Taken::default();
            for (what, size) in [
                ("large", LARGE_BYTES),
                ("middling", 50_000),
                ("small", 3_000),
                ("tiny", 100),
            ] {
                let refused = until_refused(|n| {
                    taken.deliver(&mut smtp, all, &format!("{what} {n} of sender {sender}"), size)
                });
                assert!(refused.starts_with("452 4.3.1 "), "{refused}");
            }
            taken
        };
        let senders: Vec<_> = (0..3).map(|sender| scope.spawn(move || send(sender))).collect();
        for sender in senders {
            taken.0.extend(sender.join().unwrap().0);
        }
    });
    assert!(taken.0.len() > 20, "the disk took {:?}", taken.0);
    for account in all.iter().copied() {
        // Whatever has been delivered can be read.
        subjects(&server, account);
    }

    disk.grow(64 * MIB);
    let mut smtp = SmtpClient::open(&server).unwrap();
    taken.deliver(&mut smtp, &all, "after", 500).unwrap();
    taken
        .deliver(&mut smtp, &all, "large, after", LARGE_BYTES)
        .unwrap();
    // The spool is looked through every minute, and leaves a message a minute to who put it there.
    let is_there = |account: &Account| {
        let there = subjects(&server, account);
        taken.0.iter().all(|subject| there.contains_key(subject))
    };
    let delivered = wait_for(Duration::from_secs(240), || {
        std::thread::sleep(Duration::from_secs(1));
        all.iter().all(|account| is_there(account))
    });
    assert!(delivered, "{}", server.log());
    for account in &all {
        taken.assert_there(&server, account);
    }
    server.check_store();
    server.stop();
    server.run();
    for account in &all {
        taken.assert_there(&server, account);
    }
}

#[test]
fn a_crash_on_a_full_disk_loses_nothing_that_was_taken() {
    let Some((disk, mut server)) = on_small_disk(24 * MIB) else {
        return;
    };
    let bob = server.account("bob");
    let mut taken = Taken::default();
    let mut smtp = SmtpClient::open(&server).unwrap();
    for n in 0..5 {
        taken
            .deliver(&mut smtp, &[&bob], &format!("small {n}"), 500)
            .unwrap();
    }
    disk.fill();
    until_refused(|n| taken.deliver(&mut smtp, &[&bob], &format!("late {n}"), 500));
    server.kill();
    server.run();
    taken.assert_there(&server, &bob);
    disk.free();
    let mut smtp = SmtpClient::open(&server).unwrap();
    taken.deliver(&mut smtp, &[&bob], "after", 500).unwrap();
    taken.assert_there(&server, &bob);
    server.check_store();
}
