//! Killed at any moment while mail comes in by SMTP and APPEND, flags are set, and messages are copied, moved and expunged:
//! what was answered OK is there, and what was removed is not.
//!
//! `RINGPOST_SOAK=1` makes it fifty rounds.

#![allow(clippy::unwrap_used)] // A test says what it missed by panicking.

mod moves;

use ringpost_interop::{Account, ImapClient, Server, SmtpClient, wait_for};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Result;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Rounds of `kill -9` in an ordinary run, and in a soak.
const ROUNDS: usize = 3;
const SOAK_ROUNDS: usize = 50;
/// How long the server may take after a restart until what it had promised to several is in all their mailboxes.
const DELIVERY_LIMIT: Duration = Duration::from_secs(60);
/// Messages sent without waiting for an answer, and the most that such a literal may have (RFC 7888).
const PIPELINED: usize = 8;
const UNASKED_BYTES: usize = 4_096;

/// Sizes of every kind: inside the batch, just so, and in a file beside it.
fn size_of(n: usize) -> usize {
    [700, 2_000, 30_000, 130_000][match n % 10 {
        0 => 3,
        5 => 2,
        odd => odd % 2,
    }]
}

/// A message whose whole text follows from its subject, `name-size`.
fn message(subject: &str) -> String {
    let size: usize = subject.rsplit('-').next().unwrap().parse().unwrap();
    let mut text = format!("From: x@elsewhere.test\r\nSubject: {subject}\r\n\r\n");
    let mut line = 0;
    while text.len() < size {
        text.push_str(&format!("line {line} of {subject}\r\n"));
        line += 1;
    }
    text
}

/// What one client was told in one round.
#[derive(Default)]
struct Told {
    /// Subjects that were answered 250 or OK, for the first account alone.
    taken: Vec<String>,
    /// Subjects that were answered 250 for both accounts.
    taken_for_both: Vec<String>,
    /// What APPENDUID said of each: UIDVALIDITY and UID.
    named: Vec<(u32, u32, String)>,
    /// The flag that a UID was given last with OK.
    flagged: BTreeMap<u32, &'static str>,
    /// The flag whose STORE was under way at the end.
    unanswered: Option<(u32, &'static str)>,
}

/// Delivers by SMTP until the server is gone.
fn send(server: &Server, to: &[&Account], name: &str) -> Told {
    let mut told = Told::default();
    let mut act = || -> Result<()> {
        let mut smtp = SmtpClient::open(server)?;
        for n in 0.. {
            let subject = format!("{name}-{n}-{}", size_of(n));
            let reply = smtp.deliver(to, &message(&subject))?;
            assert!(reply.starts_with("250 "), "{reply}");
            match to.len() {
                1 => told.taken.push(subject),
                _ => told.taken_for_both.push(subject),
            }
        }
        Ok(())
    };
    let _ = act();
    told
}

/// Appends, each message after the answer to the one before, until the server is gone.
fn append(server: &Server, account: &Account, name: &str) -> Told {
    let mut told = Told::default();
    let mut act = || -> Result<()> {
        let mut imap = ImapClient::login(server, account)?;
        for n in 0.. {
            let subject = format!("{name}-{n}-{}", size_of(n));
            let reply = imap.append(&message(&subject))?;
            assert!(reply.is_ok(), "{}", reply.tagged);
            let (validity, uid) = reply.append_uid().expect("UIDPLUS tells the UID");
            told.taken.push(subject.clone());
            told.named.push((validity, uid, subject));
        }
        Ok(())
    };
    let _ = act();
    told
}

/// Appends several at a time without waiting, until the server is gone.
fn append_pipelined(server: &Server, account: &Account, name: &str) -> Told {
    let mut told = Told::default();
    let mut act = || -> Result<()> {
        let mut imap = ImapClient::login(server, account)?;
        for n in 0.. {
            let mut sent = Vec::new();
            for m in 0..PIPELINED {
                let subject = format!("{name}-{n}.{m}-{}", 500 * (m + 1));
                let text = message(&subject);
                assert!(text.len() <= UNASKED_BYTES);
                sent.push((imap.send_append(&text)?, subject));
            }
            for (tag, subject) in sent {
                let reply = imap.finish(&tag)?;
                assert!(reply.is_ok(), "{}", reply.tagged);
                let (validity, uid) = reply.append_uid().expect("UIDPLUS tells the UID");
                told.taken.push(subject.clone());
                told.named.push((validity, uid, subject));
            }
        }
        Ok(())
    };
    let _ = act();
    told
}

const FLAGS: [&str; 5] = ["\\Flagged", "\\Answered", "\\Draft", "$One", "$Two"];

/// Sets one flag after the other, in place of the one before, on every other message of those that are there, until the
/// server is gone.
fn flag(server: &Server, account: &Account, parity: u32) -> Told {
    let mut told = Told::default();
    let mut act = || -> Result<()> {
        let mut imap = ImapClient::login(server, account)?;
        let reply = imap.command("SELECT INBOX")?;
        assert!(reply.is_ok(), "{}", reply.tagged);
        let found = imap.command("UID SEARCH ALL")?.text();
        let all = found.lines().find_map(|line| line.strip_prefix("* SEARCH"));
        let mut uids: Vec<u32> = all
            .unwrap_or("")
            .split_whitespace()
            .map(|n| n.parse().unwrap())
            .collect();
        uids.retain(|uid| uid % 2 == parity);
        // The newest, so that a round has its own.
        let uids: Vec<u32> = uids.into_iter().rev().take(20).collect();
        for n in 0.. {
            for uid in &uids {
                let flag = FLAGS[(n + *uid as usize) % FLAGS.len()];
                told.unanswered = Some((*uid, flag));
                let reply = imap.command(&format!("UID STORE {uid} FLAGS.SILENT ({flag})"))?;
                assert!(reply.is_ok(), "{}", reply.tagged);
                told.flagged.insert(*uid, flag);
                told.unanswered = None;
            }
            if uids.is_empty() {
                imap.command("NOOP")?;
            }
        }
        Ok(())
    };
    let _ = act();
    told
}

/// A message as it stands in a mailbox.
#[derive(Debug)]
struct Seen {
    subject: String,
    flags: BTreeSet<String>,
    size_bytes: u64,
}

/// An INBOX: its UIDVALIDITY, and what each UID names.
fn look(server: &Server, account: &Account) -> (u32, BTreeMap<u32, Seen>) {
    look_into(&mut ImapClient::login(server, account).unwrap(), "INBOX")
}

/// The same of any mailbox.
fn look_into(imap: &mut ImapClient, mailbox: &str) -> (u32, BTreeMap<u32, Seen>) {
    let examined = imap.command(&format!("EXAMINE {mailbox}")).unwrap().text();
    let validity = number_behind(&examined, "[UIDVALIDITY ").unwrap();
    let reply = imap
        .command("UID FETCH 1:* (UID FLAGS RFC822.SIZE BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
        .unwrap();
    assert!(reply.is_ok(), "{}", reply.tagged);
    let mut seen = BTreeMap::new();
    for line in &reply.untagged {
        let text = String::from_utf8_lossy(line);
        let Some(uid) = number_behind(&text, "UID ") else {
            continue;
        };
        let subject = between(&text, "Subject: ", "\r\n").to_string();
        let flags = between(&text, "FLAGS (", ")").split_whitespace();
        let flags = flags
            .filter(|flag| *flag != "\\Recent")
            .map(str::to_string)
            .collect();
        let size_bytes = number_behind(&text, "RFC822.SIZE ").unwrap().into();
        let told = Seen {
            subject,
            flags,
            size_bytes,
        };
        let earlier = seen.insert(uid, told);
        assert!(earlier.is_none(), "UID {uid} is told twice");
    }
    (validity, seen)
}

fn between<'a>(text: &'a str, before: &str, behind: &str) -> &'a str {
    let rest = text
        .split_once(before)
        .unwrap_or_else(|| panic!("no {before:?} in {text}"))
        .1;
    rest.split_once(behind)
        .unwrap_or_else(|| panic!("no {behind:?} in {rest}"))
        .0
}

fn number_behind(text: &str, before: &str) -> Option<u32> {
    let rest = text.split_once(before)?.1;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok()
}

/// What has been promised since the first round.
#[derive(Default)]
struct Promised {
    taken: BTreeSet<String>,
    taken_for_both: BTreeSet<String>,
    /// UIDVALIDITY of the first INBOX.
    validity: Option<u32>,
    /// What each UID of it was told, or seen, to name.
    named: BTreeMap<u32, String>,
    /// The flags that may stand there: the last that was answered OK, and the one that was under way.
    flags: BTreeMap<u32, Vec<&'static str>>,
    stored: usize,
}

impl Promised {
    fn add(&mut self, told: Told) {
        self.taken.extend(told.taken);
        self.taken_for_both.extend(told.taken_for_both);
        for (validity, uid, subject) in told.named {
            assert_eq!(*self.validity.get_or_insert(validity), validity);
            let earlier = self.named.insert(uid, subject);
            assert_eq!(earlier, None, "UID {uid} was given before");
        }
        self.stored += told.flagged.len();
        for (uid, flag) in told.flagged {
            self.flags.insert(uid, vec![flag]);
        }
        if let Some((uid, flag)) = told.unanswered {
            // What was there before is not known of a message that had no flag yet.
            self.flags.entry(uid).or_insert_with(|| vec![""]).push(flag);
        }
    }

    /// Nothing is lost, nothing is there twice, and every UID names what it always named.
    fn assert_kept(&mut self, server: &Server, first: &Account, second: &Account) {
        // What was promised to several is delivered from the spool, soon after the start.
        let missing = |account: &Account, promised: &BTreeSet<String>| {
            let there: BTreeSet<String> = look(server, account)
                .1
                .into_values()
                .map(|seen| seen.subject)
                .collect();
            promised.difference(&there).cloned().collect::<Vec<_>>()
        };
        let delivered = wait_for(DELIVERY_LIMIT, || {
            missing(first, &self.taken_for_both).is_empty()
                && missing(second, &self.taken_for_both).is_empty()
        });
        assert!(delivered, "lost: {:?}", missing(second, &self.taken_for_both));
        assert_eq!(missing(first, &self.taken), [""; 0], "answered OK and lost");

        let (validity, there) = look(server, first);
        assert_eq!(*self.validity.get_or_insert(validity), validity);
        let mut subjects = BTreeSet::new();
        for (uid, seen) in &there {
            assert!(subjects.insert(&seen.subject), "{} is there twice", seen.subject);
            let name = self.named.entry(*uid).or_insert_with(|| seen.subject.clone());
            assert_eq!(*name, seen.subject, "UID {uid} names another message");
        }
        for (uid, name) in &self.named {
            assert!(there.contains_key(uid), "UID {uid}, {name}, is gone");
        }
        for (uid, may_be) in &mut self.flags {
            let flags: Vec<&str> = there[uid].flags.iter().map(String::as_str).collect();
            let flags = flags.join(" ");
            assert!(
                may_be.contains(&flags.as_str()),
                "UID {uid} has {flags:?} and not {may_be:?}"
            );
            may_be.retain(|flag| *flag == flags);
        }
        let (_, there) = look(server, second);
        let subjects: BTreeSet<&String> = there.values().map(|seen| &seen.subject).collect();
        assert_eq!(subjects.len(), there.len(), "something is there twice");
    }

    /// Every message is whole.
    fn assert_whole(&self, server: &Server, account: &Account) {
        let mut imap = ImapClient::login(server, account).unwrap();
        assert!(imap.command("EXAMINE INBOX").unwrap().is_ok());
        for (uid, subject) in &self.named {
            let reply = imap.command(&format!("UID FETCH {uid} BODY.PEEK[]")).unwrap();
            let text = reply.text();
            // What came by SMTP has lines of ours in front.
            assert!(
                text.contains(&message(subject)),
                "UID {uid}, {subject}, is not whole"
            );
        }
    }
}

/// A client that works until the server is gone; it is given the number of the round.
type Client<'a> = Box<dyn Fn(&Server, usize) -> Told + Send + Sync + 'a>;

fn rounds(clients: &dyn for<'a> Fn(&'a Account, &'a Account) -> Vec<Client<'a>>) -> Promised {
    let soak = std::env::var_os("RINGPOST_SOAK").is_some();
    let mut server = Server::start();
    let (bob, cat) = (server.account("bob"), server.account("cat"));
    let mut promised = Promised::default();
    // Somebody has set flags on something in the first round too.
    let mut imap = ImapClient::login(&server, &bob).unwrap();
    for n in 0..10 {
        let subject = format!("first-{n}-500");
        assert!(imap.append(&message(&subject)).unwrap().is_ok());
        promised.taken.insert(subject);
    }
    let clients = clients(&bob, &cat);
    for round in 0..if soak { SOAK_ROUNDS } else { ROUNDS } {
        let ended = AtomicUsize::new(0);
        let told: Vec<Told> = std::thread::scope(|scope| {
            let (server, ended) = (&server, &ended);
            let work = |client: &Client<'_>| {
                let told = client(server, round);
                ended.fetch_add(1, Ordering::SeqCst);
                told
            };
            let working: Vec<_> = clients
                .iter()
                .map(|client| scope.spawn(move || work(client)))
                .collect();
            std::thread::sleep(Duration::from_millis(300 + 137 * (round as u64 % 7)));
            assert_eq!(ended.load(Ordering::SeqCst), 0, "all work until the end");
            server.signal(libc::SIGKILL);
            working.into_iter().map(|client| client.join().unwrap()).collect()
        });
        told.into_iter().for_each(|told| promised.add(told));
        server.kill();
        server.run();
        promised.assert_kept(&server, &bob, &cat);
        server.check_store();
    }
    promised.assert_whole(&server, &bob);
    println!(
        "{} messages for one and {} for two were answered, {} UIDs named, {} flags set",
        promised.taken.len(),
        promised.taken_for_both.len(),
        promised.named.len(),
        promised.stored
    );
    promised
}

#[test]
fn what_was_answered_over_smtp_is_there_exactly_once_after_kill_9() {
    let promised = rounds(&|bob, cat| {
        let one = |name: &'static str| -> Client<'_> {
            Box::new(move |server, round| send(server, &[bob], &format!("smtp-{round}-{name}")))
        };
        let both =
            Box::new(move |server: &Server, round| send(server, &[bob, cat], &format!("both-{round}")));
        vec![one("a"), one("b"), one("c"), both]
    });
    assert!(promised.taken.len() > 20 && !promised.taken_for_both.is_empty());
}

#[test]
fn what_was_answered_over_imap_is_there_exactly_once_after_kill_9() {
    let promised = rounds(&|bob, _| {
        vec![
            Box::new(move |server, round| append(server, bob, &format!("append-{round}-a"))),
            Box::new(move |server, round| append(server, bob, &format!("append-{round}-b"))),
            Box::new(move |server, round| append_pipelined(server, bob, &format!("pipelined-{round}-a"))),
            Box::new(move |server, round| append_pipelined(server, bob, &format!("pipelined-{round}-b"))),
            Box::new(move |server, _| flag(server, bob, 0)),
            Box::new(move |server, _| flag(server, bob, 1)),
        ]
    });
    assert!(promised.taken.len() > 20 && promised.stored > 10);
}

#[test]
fn what_was_answered_over_smtp_and_imap_at_once_is_there_exactly_once_after_kill_9() {
    let promised = rounds(&|bob, cat| {
        vec![
            Box::new(move |server, round| send(server, &[bob], &format!("smtp-{round}"))),
            Box::new(move |server, round| send(server, &[bob, cat], &format!("both-{round}"))),
            Box::new(move |server, round| append(server, bob, &format!("append-{round}"))),
            Box::new(move |server, round| append_pipelined(server, bob, &format!("pipelined-{round}"))),
            Box::new(move |server, _| flag(server, bob, 0)),
            Box::new(move |server, _| flag(server, bob, 1)),
        ]
    });
    assert!(promised.taken.len() > 20 && promised.stored > 10);
}
