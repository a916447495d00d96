//! A client and a mail service in one thread: each test is a conversation.

mod flow;
mod login;
mod mailboxes;
mod messages;
mod rev2;
mod search;
mod sort;
mod sync;
mod updates;

use super::*;
use crate::name::MailboxName;
use crate::question::{Candidate, ListedMailbox, Message, MessageState, Proof, Refusal, Snapshot, Status};
use crate::search::{Facts, MessageText};
use crate::sequence::Uid;
use crate::structure::{Address, Envelope, Part};
use crate::{Flags, ObjectId, SpecialUse, SystemFlag};
use bytes::Bytes;
use ringpost_base::UnixTime;
use std::collections::BTreeMap;

/// A mail service that holds everything in memory and answers at once.
#[derive(Default)]
pub(super) struct Mail {
    boxes: BTreeMap<String, Mailbox>,
    subscribed: Vec<String>,
    special: BTreeMap<String, SpecialUse>,
    selected: String,
    appending: Vec<(String, Flags, Option<UnixTime>, Vec<u8>)>,
    /// What every question that changes something is refused with.
    refuse: Option<Refusal>,
    /// Structures that the little parser below would not find.
    structures: BTreeMap<Uid, Part>,
    /// How many messages an answer to FETCH has at most, when it has a limit.
    at_most: Option<usize>,
    /// What each FETCH has asked for, and said it would ask for next.
    fetched: Vec<(Vec<Uid>, Vec<Uid>)>,
    /// Names of the questions asked.
    asked: Vec<&'static str>,
    modseq: u64,
    /// Whether it no longer knows what has gone.
    log_trimmed: bool,
    quota: crate::question::QuotaUse,
    /// What the account's programs are not told of.
    without: Vec<String>,
}

#[derive(Default)]
pub(super) struct Mailbox {
    id: u64,
    uid_next: Uid,
    messages: Vec<Stored>,
    /// Gone, but still readable.
    expunged: Vec<Stored>,
    recent_from: Uid,
}

#[derive(Clone)]
struct Stored {
    state: MessageState,
    date: UnixTime,
    text: Vec<u8>,
}

impl Mail {
    pub(super) fn new() -> Self {
        let mut mail = Mail::default();
        mail.create("INBOX");
        mail
    }

    fn create(&mut self, name: &str) {
        let id = self.boxes.len() as u64 + 1;
        self.boxes.insert(
            name.into(),
            Mailbox {
                id,
                uid_next: 1,
                ..Mailbox::default()
            },
        );
    }

    fn deliver(&mut self, mailbox: &str, flags: Flags, text: &[u8]) -> Uid {
        self.modseq += 1;
        let modseq = self.modseq;
        let mailbox = self.boxes.get_mut(mailbox).unwrap();
        let uid = mailbox.uid_next;
        mailbox.uid_next += 1;
        let state = MessageState {
            uid,
            flags,
            modseq,
            recent: false,
        };
        mailbox.messages.push(Stored {
            state,
            date: UnixTime::from_secs(837_596_665),
            text: text.to_vec(),
        });
        uid
    }

    fn change_flags(&mut self, mailbox: &str, uid: Uid, change: &crate::FlagChange) -> Option<MessageState> {
        self.modseq += 1;
        let modseq = self.modseq;
        let stored = self
            .boxes
            .get_mut(mailbox)?
            .messages
            .iter_mut()
            .find(|m| m.state.uid == uid)?;
        stored.state.flags = change.apply(&stored.state.flags);
        stored.state.modseq = modseq;
        Some(stored.state.clone())
    }

    fn expunge(&mut self, mailbox: &str, wanted: impl Fn(&Stored) -> bool) -> Vec<Uid> {
        let mailbox = self.boxes.get_mut(mailbox).unwrap();
        let (gone, kept): (Vec<Stored>, Vec<Stored>) = std::mem::take(&mut mailbox.messages)
            .into_iter()
            .partition(|m| wanted(m));
        mailbox.messages = kept;
        let uids = gone.iter().map(|m| m.state.uid).collect();
        self.modseq += 1;
        for mut stored in gone {
            stored.state.modseq = self.modseq;
            mailbox.expunged.push(stored);
        }
        uids
    }

    fn readable(&self, uid: Uid) -> Option<&Stored> {
        let mailbox = self.boxes.get(&self.selected)?;
        mailbox
            .messages
            .iter()
            .chain(&mailbox.expunged)
            .find(|m| m.state.uid == uid)
    }

    fn body(&self, uid: Uid, range: std::ops::Range<u64>) -> Bytes {
        let text = &self.readable(uid).unwrap().text;
        Bytes::copy_from_slice(&text[range.start as usize..range.end as usize])
    }

    fn message(&self, uid: Uid) -> Option<Message> {
        let stored = self.readable(uid)?;
        let structure = self
            .structures
            .get(&uid)
            .cloned()
            .unwrap_or_else(|| structure_of(&stored.text));
        Some(Message {
            uid,
            internal_date: stored.date,
            saved: UnixTime::from_secs(1_700_000_000 + u64::from(uid) * 86_400),
            email_id: ObjectId::Email(uid.into()),
            thread_id: (uid != 3).then_some(ObjectId::Thread(0xabc)),
            size_bytes: stored.text.len() as u64,
            envelope: Some(Arc::new(envelope_of(&stored.text))),
            written: None,
            structure: Some(Arc::new(structure)),
            preview: Some("Hello, wörld".into()),
        })
    }

    fn sort_facts(&self, uid: Uid) -> Option<crate::sort::SortFacts> {
        let message = self.message(uid)?;
        let text = String::from_utf8_lossy(&self.readable(uid)?.text).into_owned();
        let references = text.lines().find_map(|l| l.strip_prefix("References:"));
        let ids = references.into_iter().flat_map(crate::thread::message_ids);
        Some(crate::sort::SortFacts {
            uid,
            arrived: message.internal_date,
            sent: message.internal_date,
            size_bytes: message.size_bytes,
            envelope: (*message.envelope?).clone(),
            references: ids.map(|id| crate::thread::id_of(&id)).collect(),
        })
    }

    fn answer(&mut self, ask: Ask) -> Answer {
        let name = format!("{ask:?}");
        let name = name.split([' ', '(']).next().unwrap();
        self.asked.push(Box::leak(name.to_owned().into_boxed_str()));
        if let Some(refusal) = &self.refuse
            && !matches!(ask, Ask::Authenticate { .. } | Ask::Refresh(_) | Ask::List)
        {
            return Answer::Refused(refusal.clone());
        }
        let missing = Answer::Refused(Refusal::NoSuchMailbox);
        match ask {
            Ask::Authenticate {
                user,
                proof: Proof::Password(password),
                authzid,
            } => match user == "fred" && password.reveal() == "secret" && authzid.is_none_or(|a| a == user) {
                true => Answer::LoggedIn {
                    without: self.without.clone(),
                },
                false => Answer::Refused(Refusal::BadCredentials),
            },
            Ask::Authenticate {
                proof: Proof::Failed, ..
            } => Answer::Refused(Refusal::BadCredentials),
            Ask::Authenticate { .. } => Answer::Done,
            Ask::ScramKeys { user } => Answer::ScramKeys(
                (user == "fred")
                    .then(|| ringpost_auth::sasl::ScramKeys::derive("secret", b"saltsalt", 4096).unwrap()),
            ),
            Ask::Compress => Answer::Done,
            Ask::Quota => Answer::Quota(self.quota),
            Ask::List => Answer::Mailboxes(self.list()),
            Ask::Status(name) => match self.boxes.get(name.as_str()) {
                Some(mailbox) => Answer::Status(Status {
                    messages: mailbox.messages.len() as u32,
                    recent: 0,
                    uid_next: mailbox.uid_next,
                    uid_validity: 7,
                    unseen: mailbox
                        .messages
                        .iter()
                        .filter(|m| !m.state.flags.is(SystemFlag::Seen))
                        .count() as u32,
                    highest_modseq: self.modseq.max(1),
                    mailbox: MailboxId(mailbox.id),
                    size_bytes: mailbox.messages.iter().map(|m| m.text.len() as u64).sum(),
                    deleted: mailbox
                        .messages
                        .iter()
                        .filter(|m| m.state.flags.is(SystemFlag::Deleted))
                        .count() as u32,
                    deleted_bytes: mailbox
                        .messages
                        .iter()
                        .filter(|m| m.state.flags.is(SystemFlag::Deleted))
                        .map(|m| m.text.len() as u64)
                        .sum(),
                }),
                None => missing,
            },
            Ask::Select { name, read_only } => {
                let modseq = self.modseq;
                let Some(mailbox) = self.boxes.get_mut(name.as_str()) else {
                    return missing;
                };
                self.selected = name.as_str().into();
                let snapshot = Snapshot {
                    mailbox: MailboxId(mailbox.id),
                    uid_validity: 7,
                    uid_next: mailbox.uid_next,
                    highest_modseq: modseq.max(1),
                    read_only,
                    keywords: Vec::new(),
                    messages: (mailbox.messages.iter())
                        .map(|m| MessageState {
                            recent: m.state.uid >= mailbox.recent_from,
                            ..m.state.clone()
                        })
                        .collect(),
                };
                if !read_only {
                    mailbox.recent_from = mailbox.uid_next;
                }
                Answer::Selected(snapshot)
            }
            Ask::Create { name, special_use } => {
                if self.boxes.contains_key(name.as_str()) {
                    return Answer::Refused(Refusal::AlreadyExists);
                }
                self.special
                    .extend(special_use.map(|u| (name.as_str().to_owned(), u)));
                self.create(name.as_str());
                Answer::Created(MailboxId(self.boxes[name.as_str()].id))
            }
            Ask::Delete(name) => match self.boxes.remove(name.as_str()) {
                Some(mailbox) => Answer::Deleted(MailboxId(mailbox.id)),
                None => missing,
            },
            Ask::Rename { from, to } => match self.boxes.remove(from.as_str()) {
                Some(mailbox) => {
                    self.boxes.insert(to.as_str().into(), mailbox);
                    Answer::Done
                }
                None => missing,
            },
            Ask::Subscribe { name, subscribed } => {
                self.subscribed.retain(|n| n != name.as_str());
                if subscribed {
                    self.subscribed.push(name.as_str().into());
                }
                Answer::Done
            }
            Ask::Refresh(_) => Answer::Changes(Changes::default()),
            Ask::Fetch {
                uids, wants, then, ..
            } => {
                self.fetched.push((uids.clone(), then));
                let messages = uids.into_iter().filter_map(|uid| self.message(uid));
                let messages = messages.map(|mut message| {
                    if let (Some(spelling), Some(envelope)) = (wants.written, message.envelope.take()) {
                        let mut written = bytes::BytesMut::new();
                        envelope.write(spelling, &mut written);
                        message.written = Some(written.freeze());
                    }
                    message
                });
                Answer::Messages(messages.take(self.at_most.unwrap_or(usize::MAX)).collect())
            }
            Ask::Store {
                uids,
                change,
                unchanged_since,
                ..
            } => {
                let selected = self.selected.clone();
                let mut modified = Vec::new();
                let store = |uid| {
                    let state = self.readable(uid)?.state.clone();
                    if unchanged_since.is_some_and(|since| state.modseq > since) {
                        modified.push(uid);
                        return Some(state);
                    }
                    self.change_flags(&selected, uid, &change)
                };
                let states = uids.into_iter().filter_map(store).collect();
                Answer::Stored { states, modified }
            }
            Ask::Vanished { since, .. } => {
                let expunged = self.boxes[&self.selected].expunged.iter();
                let gone = expunged.filter(|m| m.state.modseq > since).map(|m| m.state.uid);
                Answer::Vanished((!self.log_trimmed).then(|| gone.collect()))
            }
            Ask::Search { key, among, .. } => {
                let matches = |c: &Candidate| {
                    let message = self.message(c.uid).unwrap();
                    let text =
                        Text(String::from_utf8_lossy(&self.readable(c.uid).unwrap().text).into_owned());
                    let facts = Facts {
                        candidate: c,
                        message: Some(&message),
                        text: Some(&text),
                        now: UnixTime::from_secs(837_596_665 + 100),
                    };
                    key.evaluate(&facts).unwrap()
                };
                Answer::Found(among.iter().filter(|c| matches(c)).map(|c| c.uid).collect())
            }
            Ask::SortFacts { uids, .. } => {
                let facts = uids.into_iter().filter_map(|uid| self.sort_facts(uid));
                Answer::SortFacts(facts.take(self.at_most.unwrap_or(usize::MAX)).collect())
            }
            Ask::AppendBegin { to, flags, date, .. } => {
                if !self.boxes.contains_key(to.as_str()) {
                    return missing;
                }
                self.appending = vec![(to.as_str().into(), flags, date, Vec::new())];
                Answer::Done
            }
            Ask::AppendNext { flags, date, .. } => {
                let to = self.appending[0].0.clone();
                self.appending.push((to, flags, date, Vec::new()));
                Answer::Done
            }
            Ask::AppendFinish => {
                let mut uids = Vec::new();
                for (to, flags, date, text) in std::mem::take(&mut self.appending) {
                    uids.push(self.deliver(&to, flags, &text));
                    if let Some(date) = date {
                        self.boxes.get_mut(&to).unwrap().messages.last_mut().unwrap().date = date;
                    }
                }
                Answer::Appended {
                    uid_validity: 7,
                    uids,
                }
            }
            Ask::Copy { uids, to, .. } => self.copy(&uids, &to).unwrap_or(missing),
            Ask::Move { uids, to, .. } => {
                let answer = self.copy(&uids, &to).unwrap_or(missing);
                if matches!(answer, Answer::Copied { .. }) {
                    self.expunge(&self.selected.clone(), |m| uids.contains(&m.state.uid));
                }
                answer
            }
            Ask::Expunge { uids, .. } => {
                let wanted = |m: &Stored| {
                    m.state.flags.is(SystemFlag::Deleted)
                        && uids.as_ref().is_none_or(|uids| uids.contains(&m.state.uid))
                };
                Answer::Expunged(self.expunge(&self.selected.clone(), wanted))
            }
        }
    }

    fn copy(&mut self, uids: &[Uid], to: &MailboxName) -> Option<Answer> {
        self.boxes.get(to.as_str())?;
        let mut pairs = Vec::new();
        for uid in uids {
            if let Some(stored) = self.readable(*uid).cloned() {
                pairs.push((*uid, self.deliver(to.as_str(), stored.state.flags, &stored.text)));
            }
        }
        Some(Answer::Copied {
            uid_validity: 9,
            pairs,
        })
    }

    fn list(&self) -> Vec<ListedMailbox> {
        let listed = |name: &String, exists: bool| ListedMailbox {
            name: MailboxName::new(name).unwrap(),
            exists,
            selectable: true,
            subscribed: self.subscribed.contains(name),
            special_use: self.special.get(name).copied(),
        };
        let gone = self.subscribed.iter().filter(|n| !self.boxes.contains_key(*n));
        self.boxes
            .keys()
            .map(|n| listed(n, true))
            .chain(gone.map(|n| listed(n, false)))
            .collect()
    }
}

struct Text(String);

impl MessageText for Text {
    fn any_field(&self, name: Option<&str>, test: &mut dyn FnMut(&str) -> bool) -> bool {
        let header = self.0.split("\r\n\r\n").next().unwrap_or_default();
        header.lines().any(|line| match (name, line.split_once(':')) {
            (Some(name), Some((field, value))) => field.eq_ignore_ascii_case(name) && test(value.trim()),
            (None, _) => test(line),
            _ => false,
        })
    }

    fn any_body_text(&self, test: &mut dyn FnMut(&str) -> bool) -> bool {
        self.0.split_once("\r\n\r\n").is_some_and(|(_, body)| test(body))
    }
}

fn structure_of(text: &[u8]) -> Part {
    let all = text.len() as u64;
    let header = text
        .windows(4)
        .position(|w| w == b"\r\n\r\n")
        .map_or(all, |at| at as u64 + 4);
    let lines = text[header as usize..].iter().filter(|b| **b == b'\n').count() as u64;
    let mut part = Part::single(0..header, header..all, lines, "text", "plain");
    part.parameters = vec![("charset".into(), "us-ascii".into())];
    part
}

fn envelope_of(text: &[u8]) -> Envelope {
    let text = String::from_utf8_lossy(text);
    let field = |name: &str| {
        let value = text
            .lines()
            .take_while(|l| !l.is_empty())
            .find_map(|l| l.strip_prefix(name))?;
        Some(value.trim().to_owned())
    };
    let addresses = |name| match field(name) {
        Some(value) => {
            let (local, domain) = value.split_once('@').unwrap_or((&value, ""));
            vec![Address::Mailbox {
                name: None,
                local: local.into(),
                domain: domain.into(),
            }]
        }
        None => Vec::new(),
    };
    Envelope {
        date: field("Date:"),
        subject: field("Subject:"),
        message_id: field("Message-ID:"),
        from: addresses("From:"),
        to: addresses("To:"),
        ..Envelope::default()
    }
}

/// Both ends of a conversation.
pub(super) struct Talk {
    pub(super) session: Session,
    pub(super) mail: Mail,
    pub(super) now: Instant,
    /// The questions that wait, while answers are held back.
    held: Option<Vec<Question>>,
    pub(super) closed: bool,
    pub(super) tls_wanted: bool,
    pub(super) compressed: bool,
}

impl Talk {
    pub(super) fn with(config: Config, tls: Tls) -> Self {
        let session = Session::new(Instant::ZERO, Arc::new(config), tls, Rng::from_number(1));
        Talk {
            session,
            mail: Mail::new(),
            now: Instant::ZERO,
            held: None,
            closed: false,
            tls_wanted: false,
            compressed: false,
        }
    }

    /// A session on TLS, greeted.
    pub(super) fn new() -> Self {
        let mut talk = Talk::with(Config::default(), Tls::Active);
        talk.hear();
        talk
    }

    /// Logged in.
    pub(super) fn logged_in() -> Self {
        let mut talk = Talk::new();
        assert!(talk.say("a LOGIN fred secret\r\n").contains("a OK"));
        talk
    }

    /// With INBOX selected, and these messages in it.
    pub(super) fn with_messages(messages: &[(&str, &str)]) -> Self {
        let mut talk = Talk::logged_in();
        for (flags, text) in messages {
            talk.mail
                .deliver("INBOX", flags_of(flags), text.replace('\n', "\r\n").as_bytes());
        }
        assert!(talk.say("b SELECT INBOX\r\n").contains("b OK [READ-WRITE]"));
        talk.mail.asked.clear();
        talk
    }

    /// The client sends; what the server then says comes back.
    pub(super) fn say(&mut self, text: &str) -> String {
        self.say_bytes(text.as_bytes())
    }

    pub(super) fn say_bytes(&mut self, bytes: &[u8]) -> String {
        self.session.handle_input(self.now, bytes);
        self.hear()
    }

    /// What the server says of its own accord.
    pub(super) fn hear(&mut self) -> String {
        let mut heard = Vec::new();
        loop {
            match self.session.poll_output() {
                Output::Transmit(bytes) => heard.extend_from_slice(&bytes),
                Output::Body {
                    uid,
                    range,
                    transform,
                } => {
                    heard.extend_from_slice(&transform.apply(self.mail.body(uid, range)));
                }
                Output::Event(event) => self.handle(event),
                Output::Timeout(_) => break,
            }
        }
        String::from_utf8(heard).unwrap()
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Question(question) => match &mut self.held {
                Some(held) => held.push(question),
                None => {
                    let answer = self.mail.answer(question.ask);
                    self.session.handle_answer(self.now, question.id, answer);
                }
            },
            Event::Body(chunk) => {
                self.mail
                    .appending
                    .last_mut()
                    .unwrap()
                    .3
                    .extend_from_slice(&chunk);
            }
            Event::BodyAborted => self.mail.appending.clear(),
            Event::StartTls => self.tls_wanted = true,
            Event::Compress => self.compressed = true,
            Event::Deselected => self.mail.selected.clear(),
            Event::Closed => self.closed = true,
        }
    }

    /// Holds answers back until [`Talk::release`].
    pub(super) fn hold(&mut self) {
        self.held = Some(Vec::new());
    }

    pub(super) fn release(&mut self) -> String {
        for question in self.held.take().unwrap_or_default() {
            let answer = self.mail.answer(question.ask);
            self.session.handle_answer(self.now, question.id, answer);
        }
        self.hear()
    }

    /// Another session changed the selected mailbox.
    pub(super) fn changed(&mut self, changes: Changes) -> String {
        let id = MailboxId(self.mail.boxes[&self.mail.selected].id);
        self.session.handle_changes(self.now, id, changes);
        self.hear()
    }

    pub(super) fn wait(&mut self, time: Duration) -> String {
        self.now += time;
        self.session.handle_timeout(self.now);
        self.hear()
    }
}

pub(super) fn flags_of(text: &str) -> Flags {
    text.split_whitespace()
        .map(|t| crate::Flag::parse(t).unwrap())
        .collect()
}

pub(super) fn arrival(uid: Uid) -> Changes {
    let state = MessageState {
        uid,
        flags: Flags::new(),
        modseq: 99,
        recent: true,
    };
    Changes {
        arrived: vec![state],
        ..Changes::default()
    }
}
