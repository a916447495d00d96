//! A backup is taken while mail comes in and goes: what had been answered OK before it began is in it, and it is sound.
//!
//! `RINGPOST_SOAK=1` makes it twenty backups.

#![allow(clippy::unwrap_used)] // A test says what it missed by panicking.

use ringpost_interop::{Account, ImapClient, Options, Server, SmtpClient};
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

const BACKUPS: usize = 3;
const SOAK_BACKUPS: usize = 20;

/// Every fourth one is too large to lie in the store.
fn message(subject: &str, n: usize) -> String {
    let size = if n.is_multiple_of(4) { 130_000 } else { 2_000 };
    let mut text = format!("From: x@elsewhere.test\r\nSubject: {subject}\r\n\r\n");
    while text.len() < size {
        text.push_str(&format!("a line of {subject}\r\n"));
    }
    text
}

/// Brings mail until `stop`, and notes what was answered 250.
fn send(server: &Server, to: &[&Account], name: &str, stop: &AtomicBool, taken: &Mutex<BTreeSet<String>>) {
    let mut smtp = SmtpClient::open(server).unwrap();
    for n in 0.. {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let subject = format!("{name}-{n}");
        let reply = smtp.deliver(to, &message(&subject, n)).unwrap();
        assert!(reply.starts_with("250 "), "{reply}");
        taken.lock().unwrap().insert(subject);
    }
}

/// Appends to a mailbox and expunges what it appended, until `stop`.
fn come_and_go(server: &Server, account: &Account, stop: &AtomicBool) {
    let mut imap = ImapClient::login(server, account).unwrap();
    assert!(imap.command("SELECT INBOX").unwrap().is_ok());
    for n in 0.. {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let reply = imap.append(&message("passing", n)).unwrap();
        let (_, uid) = reply.append_uid().expect("UIDPLUS tells the UID");
        let store = format!("UID STORE {uid} +FLAGS.SILENT (\\Deleted)");
        assert!(imap.command(&store).unwrap().is_ok());
        assert!(imap.command(&format!("UID EXPUNGE {uid}")).unwrap().is_ok());
    }
}

fn subjects(server: &Server, account: &Account) -> BTreeSet<String> {
    let mut imap = ImapClient::login(server, account).unwrap();
    assert!(imap.command("EXAMINE INBOX").unwrap().is_ok());
    let reply = imap.command("UID FETCH 1:* (UID BODY.PEEK[])").unwrap();
    assert!(reply.is_ok(), "{}", reply.tagged);
    let subject = |line: &Vec<u8>| {
        let text = String::from_utf8_lossy(line);
        let rest = text.split_once("Subject: ")?.1;
        let subject = rest.split_once("\r\n")?.0.to_string();
        assert!(text.contains(&format!("a line of {subject}\r\n")));
        Some(subject)
    };
    reply.untagged.iter().filter_map(subject).collect()
}

#[test]
fn a_backup_under_load_holds_everything_that_was_answered_before_it_began() {
    let backups = match std::env::var_os("RINGPOST_SOAK") {
        Some(_) => SOAK_BACKUPS,
        None => BACKUPS,
    };
    let server = Server::start();
    let (bob, cat) = (server.account("bob"), server.account("cat"));
    let (stop, taken, taken_for_both) = (AtomicBool::new(false), Mutex::default(), Mutex::default());
    let made: Vec<_> = std::thread::scope(|scope| {
        scope.spawn(|| send(&server, &[&bob], "one", &stop, &taken));
        scope.spawn(|| send(&server, &[&bob, &cat], "both", &stop, &taken_for_both));
        scope.spawn(|| come_and_go(&server, &cat, &stop));
        let made = (0..backups)
            .map(|n| {
                std::thread::sleep(std::time::Duration::from_millis(200));
                let before: BTreeSet<String> = taken.lock().unwrap().clone();
                let file = server.folder().join(format!("{n}.tar"));
                server.command(&["backup", file.to_str().unwrap()]);
                (file, before)
            })
            .collect();
        stop.store(true, Ordering::SeqCst);
        made
    });
    for (file, before) in &made {
        assert!(before.iter().next().is_some(), "mail came in");
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let mut restored = Server::prepared(&Options::default());
        let said = restored.command(&["restore", file.to_str().unwrap()]);
        assert!(said.contains("the store is good"), "{said}");
        restored.run();
        // The password is the old one, and every message is whole.
        let there = subjects(&restored, &bob);
        let lost: Vec<_> = before.difference(&there).collect();
        assert!(
            lost.is_empty(),
            "answered before the backup, and not in it: {lost:?}"
        );
        restored.check_store();
        restored.stop();
    }
    let (last, _) = made.last().unwrap();
    assert!(last.metadata().unwrap().len() > 130_000, "large bodies are in it");
    server.check_store();
}
