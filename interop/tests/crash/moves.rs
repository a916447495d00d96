//! Messages that are copied, moved and expunged while the server is killed. Each program works on messages of its own, so
//! that what it was told says exactly what must be there: what was under way at the end happened whole or not at all.

use super::{ROUNDS, SOAK_ROUNDS, look_into, message, number_behind, send, size_of};
use ringpost_interop::{Account, ImapClient, ImapReply, Server};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Result;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const FLAGS: [&str; 4] = ["", "\\Seen", "\\Flagged", DELETED];
const DELETED: &str = "\\Deleted";
/// More than the test brings in.
const QUOTA: &str = "20G";

/// Where a message is.
type Place = (String, u32);

/// A message in a mailbox.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Held {
    subject: String,
    flags: String,
}

/// What was asked for and not answered.
#[derive(Debug, Default)]
struct UnderWay {
    removed: BTreeSet<Place>,
    added: Vec<(String, Held)>,
    flagged: BTreeMap<Place, String>,
}

/// A mail program with messages of its own in the inbox, and two mailboxes that nobody else uses.
#[derive(Debug)]
struct Mover {
    name: String,
    mailboxes: [String; 3],
    there: BTreeMap<Place, Held>,
    under_way: Option<UnderWay>,
    /// Every UID that it was told, and what it names.
    named: BTreeMap<Place, String>,
    step: usize,
    /// How many messages it has removed for good, and how many it has carried elsewhere.
    expunged: usize,
    carried: usize,
}

impl Mover {
    fn new(name: &str) -> Self {
        Mover {
            name: name.to_owned(),
            mailboxes: ["INBOX".to_owned(), format!("{name}-a"), format!("{name}-b")],
            there: BTreeMap::new(),
            under_way: None,
            named: BTreeMap::new(),
            step: 0,
            expunged: 0,
            carried: 0,
        }
    }

    /// Works until the server is gone.
    fn work(&mut self, server: &Server, account: &Account) {
        let mut act = || -> Result<()> {
            let mut imap = ImapClient::login(server, account)?;
            loop {
                self.step += 1;
                let (from, to) = (self.step / 2 % 3, (self.step / 2 + 1 + self.step % 2) % 3);
                let from = self.mailboxes[from].clone();
                let to = self.mailboxes[to].clone();
                match self.step % 7 {
                    0 | 1 => self.append(&mut imap)?,
                    2 => self.transfer(&mut imap, "COPY", &from, &to)?,
                    3 | 4 => self.transfer(&mut imap, "MOVE", &from, &to)?,
                    5 => self.flag(&mut imap, &from)?,
                    _ => self.expunge(&mut imap, &from)?,
                }
                self.under_way = None;
            }
        };
        let _gone: Result<()> = act();
    }

    /// Some of its messages in a mailbox.
    fn some(&self, mailbox: &str) -> Vec<u32> {
        let own = self.there.keys().filter(|(m, _)| m == mailbox);
        let uids = own.map(|(_, uid)| *uid).enumerate();
        uids.filter(|(n, _)| (n + self.step).is_multiple_of(2))
            .map(|(_, uid)| uid)
            .take(12)
            .collect()
    }

    fn add(&mut self, mailbox: &str, uid: u32, held: Held) {
        let place = (mailbox.to_owned(), uid);
        let earlier = self.named.insert(place.clone(), held.subject.clone());
        assert_eq!(earlier, None, "UID {uid} of {mailbox} was given before");
        self.there.insert(place, held);
    }

    fn append(&mut self, imap: &mut ImapClient) -> Result<()> {
        let held = Held {
            subject: format!("{}-{}-{}", self.name, self.step, size_of(self.step)),
            flags: String::new(),
        };
        self.under_way = Some(UnderWay {
            added: vec![("INBOX".to_owned(), held.clone())],
            ..UnderWay::default()
        });
        let reply = imap.append(&message(&held.subject))?;
        assert!(reply.is_ok(), "{}", reply.tagged);
        let (_, uid) = reply.append_uid().expect("UIDPLUS tells the UID");
        self.add("INBOX", uid, held);
        Ok(())
    }

    fn transfer(&mut self, imap: &mut ImapClient, how: &str, from: &str, to: &str) -> Result<()> {
        let uids = self.some(from);
        if uids.is_empty() || from == to {
            return Ok(());
        }
        let places: Vec<Place> = uids.iter().map(|uid| (from.to_owned(), *uid)).collect();
        let mut under_way = UnderWay {
            added: places
                .iter()
                .map(|place| (to.to_owned(), self.there[place].clone()))
                .collect(),
            ..UnderWay::default()
        };
        if how == "MOVE" {
            under_way.removed = places.iter().cloned().collect();
        }
        self.under_way = Some(under_way);
        select(imap, from)?;
        let reply = imap.command(&format!("UID {how} {} {to}", set(&uids)))?;
        assert!(reply.is_ok(), "{}", reply.tagged);
        let pairs = copy_uid(&reply);
        assert_eq!(pairs.iter().map(|(old, _)| *old).collect::<Vec<_>>(), uids);
        for (old, new) in pairs {
            let place = (from.to_owned(), old);
            let held = self.there[&place].clone();
            if how == "MOVE" {
                self.there.remove(&place);
            }
            self.add(to, new, held);
            self.carried += 1;
        }
        Ok(())
    }

    fn flag(&mut self, imap: &mut ImapClient, mailbox: &str) -> Result<()> {
        let uids = self.some(mailbox);
        if uids.is_empty() {
            return Ok(());
        }
        let flags = FLAGS[(self.step / 7) % FLAGS.len()];
        let places: Vec<Place> = uids.iter().map(|uid| (mailbox.to_owned(), *uid)).collect();
        self.under_way = Some(UnderWay {
            flagged: places
                .iter()
                .map(|place| (place.clone(), flags.to_owned()))
                .collect(),
            ..UnderWay::default()
        });
        select(imap, mailbox)?;
        let reply = imap.command(&format!("UID STORE {} FLAGS.SILENT ({flags})", set(&uids)))?;
        assert!(reply.is_ok(), "{}", reply.tagged);
        for place in &places {
            self.there.get_mut(place).unwrap().flags = flags.to_owned();
        }
        Ok(())
    }

    /// Marks some and expunges what is marked: by UID where others are, as a whole in its own mailboxes.
    fn expunge(&mut self, imap: &mut ImapClient, mailbox: &str) -> Result<()> {
        let step = self.step;
        self.step = step.next_multiple_of(7 * FLAGS.len()) - 1;
        let marked = self.flag(imap, mailbox);
        self.step = step;
        marked?;
        self.under_way = None;
        let is_marked = |(place, held): &(&Place, &Held)| place.0 == mailbox && held.flags == DELETED;
        let marked = self.there.iter().filter(is_marked);
        let places: BTreeSet<Place> = marked.map(|(place, _)| place.clone()).collect();
        if places.is_empty() {
            return Ok(());
        }
        self.under_way = Some(UnderWay {
            removed: places.clone(),
            ..UnderWay::default()
        });
        select(imap, mailbox)?;
        let uids: Vec<u32> = places.iter().map(|(_, uid)| *uid).collect();
        let command = match mailbox {
            "INBOX" => format!("UID EXPUNGE {}", set(&uids)),
            _ => "EXPUNGE".to_owned(),
        };
        let reply = imap.command(&command)?;
        assert!(reply.is_ok(), "{}", reply.tagged);
        self.there.retain(|place, _| !places.contains(place));
        self.expunged += places.len();
        Ok(())
    }

    /// Holds what is there against what it was told, and goes on from what is there.
    fn check(&mut self, found: &BTreeMap<Place, Held>) {
        let prefix = format!("{}-", self.name);
        let own = found.iter().filter(|(_, held)| held.subject.starts_with(&prefix));
        let own: BTreeMap<Place, Held> = own.map(|(at, held)| (at.clone(), held.clone())).collect();
        for (place, held) in &own {
            let name = self
                .named
                .entry(place.clone())
                .or_insert_with(|| held.subject.clone());
            assert_eq!(*name, held.subject, "{place:?} names another message");
        }
        let told = std::mem::replace(&mut self.there, own.clone());
        let under_way = self.under_way.take();
        if own == told {
            return;
        }
        let contradiction = || {
            let missing: Vec<_> = told
                .iter()
                .filter(|(at, held)| own.get(*at) != Some(held))
                .collect();
            let more: Vec<_> = own
                .iter()
                .filter(|(at, held)| told.get(*at) != Some(held))
                .collect();
            format!("told {missing:?}, there is {more:?}, under way was {under_way:?}")
        };
        let Some(under_way) = &under_way else {
            panic!("{}", contradiction());
        };
        let mut kept = told.clone();
        kept.retain(|at, _| !under_way.removed.contains(at));
        for (at, flags) in &under_way.flagged {
            kept.get_mut(at).unwrap().flags.clone_from(flags);
        }
        let all_kept = kept.iter().all(|(at, held)| own.get(at) == Some(held));
        let added = own.iter().filter(|(at, _)| !kept.contains_key(*at));
        let mut added: Vec<(String, Held)> = added.map(|((m, _), held)| (m.clone(), held.clone())).collect();
        let mut expected = under_way.added.clone();
        added.sort();
        expected.sort();
        assert!(all_kept && added == expected, "{}", contradiction());
    }
}

fn select(imap: &mut ImapClient, mailbox: &str) -> Result<()> {
    let reply = imap.command(&format!("SELECT {mailbox}"))?;
    assert!(reply.is_ok(), "{}", reply.tagged);
    Ok(())
}

fn set(uids: &[u32]) -> String {
    let uids: Vec<String> = uids.iter().map(u32::to_string).collect();
    uids.join(",")
}

/// Old and new UIDs, from the response code COPYUID (RFC 4315).
fn copy_uid(reply: &ImapReply) -> Vec<(u32, u32)> {
    let text = format!("{}\n{}", reply.text(), reply.tagged);
    let code = text.split("[COPYUID ").nth(1).expect("UIDPLUS tells the UIDs");
    let sets: Vec<&str> = code.split(']').next().unwrap().split(' ').skip(1).collect();
    let numbers = |set: &str| -> Vec<u32> {
        let ranges = set.split(',').flat_map(|range| {
            let (first, last) = range.split_once(':').unwrap_or((range, range));
            first.parse::<u32>().unwrap()..=last.parse().unwrap()
        });
        ranges.collect()
    };
    numbers(sets[0]).into_iter().zip(numbers(sets[1])).collect()
}

/// What is in all of an account's mailboxes; the counts that the server keeps are those of what is there.
fn look(server: &Server, account: &Account, validities: &mut BTreeMap<String, u32>) -> BTreeMap<Place, Held> {
    let mut imap = ImapClient::login(server, account).unwrap();
    let listed = imap.command("LIST \"\" *").unwrap();
    let names = listed.untagged.iter().map(|line| {
        let line = String::from_utf8_lossy(line);
        line.rsplit(' ').next().unwrap().trim_matches('"').to_owned()
    });
    let (mut found, mut all_bytes, mut all) = (BTreeMap::new(), 0, 0);
    for mailbox in names.collect::<Vec<_>>() {
        let (validity, seen) = look_into(&mut imap, &mailbox);
        assert_eq!(*validities.entry(mailbox.clone()).or_insert(validity), validity);
        let bytes: u64 = seen.values().map(|seen| seen.size_bytes).sum();
        let status = format!("STATUS {mailbox} (MESSAGES SIZE)");
        let status = imap.command(&status).unwrap().text();
        assert_eq!(number_behind(&status, "MESSAGES "), Some(seen.len() as u32));
        assert_eq!(number_behind(&status, "SIZE ").map(u64::from), Some(bytes));
        all_bytes += bytes;
        all += seen.len();
        for (uid, seen) in seen {
            let flags = seen.flags.into_iter().collect::<Vec<_>>().join(" ");
            let held = Held {
                subject: seen.subject,
                flags,
            };
            found.insert((mailbox.clone(), uid), held);
        }
    }
    let quota = imap.command("GETQUOTAROOT INBOX").unwrap().text();
    let used = number_behind(&quota, "STORAGE ").map(u64::from);
    assert_eq!(used, Some(all_bytes.div_ceil(1024)), "of {all} messages: {quota}");
    found
}

// Guards pitfalls SMTP 3 and IMAP 1: under EXPUNGE, COPY and MOVE too.
#[test]
fn what_was_moved_and_expunged_stays_so_after_kill_9() {
    let soak = std::env::var_os("RINGPOST_SOAK").is_some();
    let mut server = Server::start();
    let bob = server.account("bob");
    server.command(&["account", "set", &bob.address, "--quota", QUOTA]);
    let mut movers = ["one", "two", "three", "four"].map(Mover::new);
    let mut imap = ImapClient::login(&server, &bob).unwrap();
    for mailbox in movers.iter().flat_map(|mover| &mover.mailboxes[1..]) {
        assert!(imap.command(&format!("CREATE {mailbox}")).unwrap().is_ok());
    }
    let (mut taken, mut validities) = (BTreeSet::new(), BTreeMap::new());
    for round in 0..if soak { SOAK_ROUNDS } else { ROUNDS } {
        let ended = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            let (server, ended, bob) = (&server, &ended, &bob);
            for mover in &mut movers {
                scope.spawn(move || {
                    mover.work(server, bob);
                    ended.fetch_add(1, Ordering::SeqCst);
                });
            }
            let sent = scope.spawn(move || send(server, &[bob], &format!("smtp-{round}")));
            std::thread::sleep(Duration::from_millis(500 + 137 * (round as u64 % 7)));
            assert_eq!(ended.load(Ordering::SeqCst), 0, "all work until the end");
            server.signal(libc::SIGKILL);
            taken.extend(sent.join().unwrap().taken);
        });
        server.kill();
        server.run();
        let found = look(&server, &bob, &mut validities);
        movers.iter_mut().for_each(|mover| mover.check(&found));
        let sent = found.values().filter(|held| held.subject.starts_with("smtp-"));
        let sent: Vec<&String> = sent.map(|held| &held.subject).collect();
        let once: BTreeSet<String> = sent.iter().map(|subject| (*subject).clone()).collect();
        assert_eq!(once.len(), sent.len(), "something was delivered twice");
        assert!(taken.is_subset(&once), "lost: {:?}", taken.difference(&once));
        let others = movers.iter().map(|mover| mover.there.len()).sum::<usize>();
        assert_eq!(
            found.len(),
            others + sent.len(),
            "there is something that nobody sent"
        );
        server.check_store();
    }
    let mut imap = ImapClient::login(&server, &bob).unwrap();
    for ((mailbox, uid), held) in movers.iter().flat_map(|mover| &mover.there) {
        assert!(imap.command(&format!("EXAMINE {mailbox}")).unwrap().is_ok());
        let body = imap.command(&format!("UID FETCH {uid} BODY.PEEK[]")).unwrap();
        assert!(
            body.text().contains(&message(&held.subject)),
            "{held:?} is not whole"
        );
    }
    let expunged: usize = movers.iter().map(|mover| mover.expunged).sum();
    let carried: usize = movers.iter().map(|mover| mover.carried).sum();
    println!(
        "{} came by SMTP, {carried} were copied or moved, {expunged} expunged",
        taken.len()
    );
    assert!(expunged > 5 && carried > 20, "{expunged} {carried}");
}
