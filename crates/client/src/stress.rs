//! A mail program that keeps a copy of INBOX, does at random what programs do, and believes nothing.
//!
//! Several of them on one mailbox hold the server to what RFC 3501 and RFC 7162 promise each: numbers that mean the same to
//! both, UIDs that only grow, MODSEQs that tell of every change, and a HIGHESTMODSEQ up to which nothing was missed. What
//! they have seen together is the [`Truth`]. A [`Stress`] is a machine over bytes: the simulator and sockets drive the same.

mod copy;
mod line;

pub use copy::Contradiction;

use copy::Copy;
use line::Line;
use ringpost_base::Rng;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a program asks to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What RFC 3501 has.
    Plain,
    /// MODSEQs.
    Condstore,
    /// MODSEQs and VANISHED; it comes back to what it knew.
    Resync,
    /// The same by IMAP4rev2 (RFC 9051), where nothing is recent and every search is answered with ESEARCH.
    Second,
}

impl Kind {
    /// Whether it is told of messages that are gone by VANISHED.
    fn resyncs(self) -> bool {
        matches!(self, Kind::Resync | Kind::Second)
    }
}

/// What all programs of a mailbox have seen.
#[derive(Clone, Debug, Default)]
pub struct Truth(Arc<Mutex<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    /// The flags of a message at a MODSEQ.
    flags: BTreeMap<(u32, u64), String>,
    /// Messages of which some program was told that they are gone, each with how many were known to be before.
    gone: BTreeMap<u32, usize>,
    /// Commands that may remove messages, of all programs, and how many of them are under way.
    removals: u64,
    removing: u64,
}

impl Seen {
    /// A program is told the flags of a message; gives those that were told at the same MODSEQ before, or these.
    fn told(&mut self, uid: u32, modseq: u64, flags: &str) -> &str {
        if self.flags.len() > FLAGS_KEPT {
            self.flags.pop_first();
        }
        self.flags
            .entry((uid, modseq))
            .or_insert_with(|| flags.to_owned())
    }

    /// A program is told that a message is gone.
    fn is_gone(&mut self, uid: u32) {
        let before = self.gone.len();
        self.gone.entry(uid).or_insert(before);
    }

    /// Whether a message was among the first so many that were gone.
    fn was_gone(&self, uid: u32, first: usize) -> bool {
        self.gone.get(&uid).is_some_and(|before| *before < first)
    }

    /// How many removals there were before now; `None` while one is under way, which may take what comes now.
    fn before(&self) -> Option<u64> {
        (self.removing == 0).then_some(self.removals)
    }
}

impl Truth {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a program is waiting for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Doing {
    Greeting,
    Setup(usize),
    Select,
    /// With what it does to the flags of these positions, without being told unless others meddle.
    Store(Option<(Change, BTreeSet<usize>)>),
    /// Messages of which it wants to hear in INBOX: UIDs by the tagged line, with the removals that had begun before.
    Adds(Option<u64>),
    Idle,
    Fetch,
    Other,
    Nothing,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Change {
    sign: char,
    flag: &'static str,
}

/// One program.
#[derive(Debug)]
pub struct Stress {
    kind: Kind,
    login: (String, String),
    truth: Truth,
    rng: Rng,
    copy: Copy,
    doing: Doing,
    /// Whether messages may not be told to be gone now.
    quiet: bool,
    tag: u32,
    commands: u64,
    input: Vec<u8>,
    output: Vec<u8>,
    /// What was said last, for who looks for a mistake.
    log: VecDeque<String>,
    reconnect: bool,
    /// UIDs that it has put into INBOX, with the removals that had begun before.
    own: Vec<(u32, Option<u64>)>,
    settling: u32,
    /// Whether the command at hand may remove messages.
    removes: bool,
}

const FLAGS: [&str; 5] = ["\\Seen", "\\Flagged", "\\Deleted", "$Work", "later"];
/// Lines that are kept for a report.
const LOG: usize = 80;
/// Of so many changes it is known what they made of the flags; those of the oldest messages are forgotten first.
const FLAGS_KEPT: usize = 200_000;
/// Above so many messages they are removed rather than added.
const MANY: usize = 40;

impl Stress {
    /// A program that is about to connect, as this user with this password.
    pub fn new(kind: Kind, user: &str, password: &str, truth: Truth, rng: Rng) -> Self {
        Stress {
            kind,
            login: (user.into(), password.into()),
            truth,
            rng,
            copy: Copy::new(kind),
            doing: Doing::Greeting,
            quiet: false,
            tag: 0,
            commands: 0,
            input: Vec::new(),
            output: Vec::new(),
            log: VecDeque::new(),
            reconnect: false,
            own: Vec::new(),
            settling: 0,
            removes: false,
        }
    }

    /// Commands that were answered.
    pub fn commands(&self) -> u64 {
        self.commands
    }

    /// What is to be sent; empty while it waits.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// Whether the connection is to be dropped and opened anew, followed by [`reconnected`](Stress::reconnected).
    pub fn wants_reconnect(&self) -> bool {
        self.reconnect
    }

    /// A new connection is there, and nothing was read from it.
    pub fn reconnected(&mut self) {
        (self.reconnect, self.doing) = (false, Doing::Greeting);
        self.input.clear();
        self.output.clear();
        self.say("--- a new connection");
    }

    /// From now on it changes nothing, so that what all see becomes the same.
    /// Called again once all have settled, it lets this one look once more.
    pub fn settle(&mut self) {
        self.settling = 1;
        if self.doing == Doing::Nothing {
            self.next_command();
        }
    }

    /// Whether it has settled.
    pub fn is_settled(&self) -> bool {
        self.settling > 4 && self.doing == Doing::Nothing
    }

    /// What it sees of the mailbox once it has settled: UID and flags of each message.
    pub fn settled(&self) -> Option<Vec<(u32, String)>> {
        self.is_settled().then(|| self.copy.all())
    }

    /// The last lines of the conversation.
    pub fn conversation(&self) -> String {
        let mut out = format!("{:?}:\n", self.kind);
        self.log.iter().for_each(|line| {
            let _infallible = writeln!(out, "{line}");
        });
        out
    }

    /// Bytes came.
    ///
    /// # Errors
    /// When they contradict what was told before, to this program or to another.
    pub fn handle_input(&mut self, bytes: &[u8]) -> Result<(), Contradiction> {
        self.input.extend_from_slice(bytes);
        while let Some(end) = self.input.windows(2).position(|w| w == b"\r\n") {
            let line: Vec<u8> = self.input.drain(..end + 2).take(end).collect();
            let text = String::from_utf8_lossy(&line).into_owned();
            self.say(&format!("S: {text}"));
            self.handle_line(&text)?;
            if self.reconnect {
                break;
            }
        }
        Ok(())
    }

    fn say(&mut self, line: &str) {
        self.log.push_back(line.to_owned());
        if self.log.len() > LOG {
            self.log.pop_front();
        }
    }

    fn handle_line(&mut self, text: &str) -> Result<(), Contradiction> {
        match Line::parse(text) {
            Line::Go if self.doing == Doing::Idle => {
                self.send_raw("DONE\r\n");
                Ok(())
            }
            Line::Go => Err(Contradiction::new("nothing was asked for that goes on")),
            Line::Untagged(line) => self.handle_untagged(line),
            Line::Tagged { tag, ok, text } => {
                if tag != format!("t{}", self.tag) {
                    return Err(Contradiction::new("the tag is of no command under way"));
                }
                self.commands += 1;
                self.completed(ok, text)
            }
        }
    }

    fn handle_untagged(&mut self, line: &str) -> Result<(), Contradiction> {
        if self.doing == Doing::Greeting {
            self.set_up(0);
            return Ok(());
        }
        if let Some(text) = line.strip_prefix("BYE") {
            return Err(Contradiction::new(&format!("the server ends it:{text}")));
        }
        let change = match &self.doing {
            Doing::Store(Some((change, _))) => Some(change.clone()),
            _ => None,
        };
        if let (Kind::Second, Some(what)) = (self.kind, line::first_revision(line)) {
            return Err(Contradiction::new(&format!("{what} is of the first revision")));
        }
        let is_gone = line.contains("EXPUNGE") || line.starts_with("VANISHED") && !line.contains("(EARLIER)");
        if is_gone && self.quiet {
            return Err(Contradiction::new("messages may not be told to be gone now"));
        }
        let apply = |flags: &str| change.as_ref().map(|c| c.apply(flags));
        let told = self.copy.handle(line, &mut self.truth.seen(), &apply)?;
        if let (Some(position), Doing::Store(Some((_, silent)))) = (told, &mut self.doing) {
            silent.remove(&position);
        }
        Ok(())
    }

    /// A command is done.
    fn completed(&mut self, ok: bool, text: &str) -> Result<(), Contradiction> {
        let doing = std::mem::replace(&mut self.doing, Doing::Nothing);
        self.quiet = false;
        if std::mem::take(&mut self.removes) {
            self.truth.seen().removing -= 1;
        }
        self.copy.completed(text);
        match doing {
            Doing::Setup(step) if ok => {
                self.set_up(step + 1);
                return Ok(());
            }
            Doing::Setup(_) => return Err(Contradiction::new("it is not let in")),
            Doing::Select if ok => self.copy.opened(&self.truth.seen())?,
            Doing::Select => return Err(Contradiction::new("INBOX cannot be opened")),
            // What it was not told of has become as it wanted.
            Doing::Store(Some((change, silent))) if ok => {
                silent
                    .iter()
                    .for_each(|i| self.copy.set(*i, |flags| change.apply(flags)));
            }
            Doing::Adds(removals) if ok => {
                let uids = line::uids_added(text);
                self.own.extend(uids.into_iter().map(|uid| (uid, removals)));
            }
            Doing::Fetch if ok => self.check_own()?,
            _ => {}
        }
        if let Some(set) = line::code(text, "MODIFIED ") {
            self.copy.check_modified(set)?;
        }
        self.next_command();
        Ok(())
    }

    /// Whether what it has put in is there, unless somebody may have removed it.
    fn check_own(&mut self) -> Result<(), Contradiction> {
        let removals = self.truth.seen().removals;
        // A removal that has begun meanwhile may have taken it.
        for (uid, before) in std::mem::take(&mut self.own) {
            if before == Some(removals) && !self.copy.has(uid) {
                return Err(Contradiction::new(&format!(
                    "message {uid} was put in and is not seen"
                )));
            }
        }
        Ok(())
    }

    fn set_up(&mut self, step: usize) {
        let (user, password) = self.login.clone();
        let enable = match self.kind {
            Kind::Plain => "NOOP",
            Kind::Condstore => "ENABLE CONDSTORE",
            Kind::Resync => "ENABLE QRESYNC",
            Kind::Second => "ENABLE QRESYNC IMAP4rev2",
        };
        match step {
            0 => self.send(&format!("LOGIN {user} {password}")),
            1 => self.send(enable),
            _ => return self.select(),
        }
        self.doing = Doing::Setup(step);
    }

    fn select(&mut self) {
        let known = self.copy.resync_parameter().filter(|_| self.kind.resyncs());
        self.copy.opening(&self.truth.seen());
        self.doing = Doing::Select;
        self.send(&match known {
            Some(parameter) => format!("SELECT INBOX ({parameter})"),
            None => "SELECT INBOX".into(),
        });
    }

    fn send(&mut self, command: &str) {
        self.tag += 1;
        let line = format!("t{} {command}\r\n", self.tag);
        self.send_raw(&line);
    }

    fn send_raw(&mut self, text: &str) {
        self.say(&format!("C: {}", text.trim_end()));
        self.output.extend_from_slice(text.as_bytes());
    }

    /// Does something.
    fn next_command(&mut self) {
        if self.settling > 0 {
            self.settling += 1;
            match self.settling {
                0..=3 => self.send("NOOP"),
                4 => self.fetch("1:*"),
                _ => {}
            }
            if self.settling <= 4 {
                self.doing = if self.settling == 4 {
                    Doing::Fetch
                } else {
                    Doing::Other
                };
            }
            return;
        }
        let (len, unknown) = (self.copy.len(), self.copy.unknown());
        if let Some(first) = unknown
            && self.rng.chance(0.6)
        {
            self.doing = Doing::Fetch;
            self.quiet = true;
            return self.fetch_numbers(&format!("{}:*", first + 1));
        }
        if len > MANY && self.rng.chance(0.5) {
            return match self.rng.chance(0.5) {
                true => self.store(1.0),
                false => self.expunge(),
            };
        }
        match self.rng.below(14) {
            0 | 1 => self.append(),
            2..=4 if len > 0 => self.store(0.25),
            5 => self.expunge(),
            6 if len > 0 => self.transfer(),
            7 => {
                self.doing = Doing::Idle;
                self.send("IDLE");
            }
            8 if len > 0 => {
                self.doing = Doing::Fetch;
                self.fetch("1:*");
            }
            9 => self.search(),
            10 if self.rng.chance(0.4) => {
                self.say("--- it drops the connection");
                self.reconnect = true;
            }
            11 => self.select(),
            _ => {
                self.doing = Doing::Other;
                self.send("NOOP");
            }
        }
    }

    fn items(&self) -> &'static str {
        match self.kind {
            Kind::Plain => "(UID FLAGS)",
            _ => "(UID FLAGS MODSEQ)",
        }
    }

    fn fetch(&mut self, set: &str) {
        self.send(&format!("UID FETCH {set} {}", self.items()));
    }

    fn fetch_numbers(&mut self, set: &str) {
        self.send(&format!("FETCH {set} {}", self.items()));
    }

    fn append(&mut self) {
        let flag = FLAGS[self.rng.below(FLAGS.len() as u64) as usize];
        let before = self.truth.seen().before();
        self.doing = Doing::Adds(before);
        let text = format!("Subject: {}\r\n\r\nx\r\n", self.rng.below(1_000));
        self.send(&format!("APPEND INBOX ({flag}) {{{}+}}\r\n{text}", text.len()));
    }

    /// Changes the flags of some messages; how often of all of them.
    fn store(&mut self, all: f64) {
        let chosen = match self.rng.chance(all) {
            true => (0..self.copy.len()).collect(),
            false => self.some(),
        };
        let change = Change {
            sign: if self.rng.chance(0.6) { '+' } else { '-' },
            flag: FLAGS[self.rng.below(FLAGS.len() as u64) as usize],
        };
        let silent = self.rng.chance(0.5);
        let conditional = self.kind != Kind::Plain && self.rng.chance(0.4);
        let by_uid = self.rng.chance(0.5) && chosen.iter().all(|i| self.copy.uid(*i).is_some());
        let set: Vec<String> = chosen
            .iter()
            .map(|i| match (by_uid, self.copy.uid(*i)) {
                (true, Some(uid)) => uid.to_string(),
                _ => (i + 1).to_string(),
            })
            .collect();
        let since = match conditional {
            true => format!("(UNCHANGEDSINCE {}) ", self.copy.highest()),
            false => String::new(),
        };
        // Who wants MODSEQs is told of every message.
        let applied = if silent && self.kind == Kind::Plain {
            chosen
        } else {
            BTreeSet::new()
        };
        self.quiet = !by_uid;
        self.doing = Doing::Store(silent.then(|| (change.clone(), applied)));
        let Change { sign, flag } = change;
        self.send(&format!(
            "{}STORE {} {since}{sign}FLAGS{} ({flag})",
            if by_uid { "UID " } else { "" },
            set.join(","),
            if silent { ".SILENT" } else { "" }
        ));
    }

    /// The next command may remove messages.
    fn remove(&mut self) {
        let mut seen = self.truth.seen();
        (seen.removals, seen.removing) = (seen.removals + 1, seen.removing + 1);
        self.removes = true;
    }

    fn expunge(&mut self) {
        self.remove();
        self.doing = Doing::Other;
        let uids: Vec<String> = self
            .some()
            .iter()
            .filter_map(|i| self.copy.uid(*i))
            .map(|u| u.to_string())
            .collect();
        match uids.is_empty() || self.rng.chance(0.5) {
            true => self.send("EXPUNGE"),
            false => self.send(&format!("UID EXPUNGE {}", uids.join(","))),
        }
    }

    /// Copies or moves some messages, into INBOX itself or away.
    fn transfer(&mut self) {
        let numbers: Vec<String> = self.some().iter().map(|i| (i + 1).to_string()).collect();
        let moves = self.rng.chance(0.6);
        let to = if moves && self.rng.chance(0.5) {
            "Trash"
        } else {
            "INBOX"
        };
        let before = self.truth.seen().before();
        if moves {
            self.remove();
        }
        self.doing = match to {
            "INBOX" => Doing::Adds(before),
            _ => Doing::Other,
        };
        let verb = if moves { "MOVE" } else { "COPY" };
        self.send(&format!("{verb} {} {to}", numbers.join(",")));
    }

    fn search(&mut self) {
        self.quiet = true;
        self.doing = Doing::Other;
        match self.kind {
            Kind::Plain => self.send("SEARCH ALL"),
            _ => {
                let highest = self.copy.highest();
                self.send(&format!("SEARCH MODSEQ {highest}"));
            }
        }
    }

    /// A few positions; one at least.
    fn some(&mut self) -> BTreeSet<usize> {
        let len = self.copy.len() as u64;
        match len {
            0 => BTreeSet::new(),
            _ => (0..1 + self.rng.below(5))
                .map(|_| self.rng.below(len) as usize)
                .collect(),
        }
    }
}

impl Change {
    fn apply(&self, flags: &str) -> String {
        let mut all: BTreeSet<&str> = flags.split_whitespace().collect();
        match self.sign {
            '+' => all.insert(self.flag),
            _ => all.remove(self.flag),
        };
        all.into_iter().collect::<Vec<_>>().join(" ")
    }
}
