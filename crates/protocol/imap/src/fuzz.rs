//! Targets for the fuzzer: plain functions over bytes that panic when an invariant breaks.

use crate::question::{
    Answer, Ask, Candidate, Changes, ListedMailbox, MailboxId, Message, MessageState, Proof, Refusal,
    Snapshot, Status,
};
use crate::search::{Facts, MessageText, Needle};
use crate::section::FieldFilter;
use crate::sequence::{NumberSet, SequenceSet, Uid};
use crate::structure::{Address, Content, Disposition, Envelope, Part};
use crate::token::Dialect;
use crate::{
    Config, Event, Flag, Flags, Keyword, MailboxName, ObjectId, Output, Pattern, Session, SpecialUse,
    SystemFlag, Tls, utf7,
};
use bytes::Bytes;
use ringpost_base::{Instant, Rng, UnixTime, limits};
use std::sync::Arc;
use std::time::Duration;

/// The parsers of commands and of what they are made of: what is read is bounded, and what is printed reads back equal.
pub fn commands(data: &[u8]) {
    for line in data.split(|b| *b == b'\n') {
        let dialect = Dialect {
            utf8: data.len().is_multiple_of(2),
            no_charset: data.len().is_multiple_of(3),
        };
        let _ = crate::command::read(line.trim_ascii_end(), dialect);
    }
    let _ = crate::command::read(data, Dialect::default());
    if let Some(set) = SequenceSet::parse(data) {
        assert_eq!(
            SequenceSet::parse(set.to_string().as_bytes()).as_ref(),
            Some(&set)
        );
        for last in [0, 1, 10, u32::MAX] {
            let resolved = set.resolve(last);
            for n in [1, 2, 9, 10, 11, u32::MAX] {
                assert_eq!(
                    resolved.contains(n),
                    set.contains(n, last),
                    "{n} of {set} with {last}"
                );
            }
        }
    }
    let text = String::from_utf8_lossy(data);
    assert_eq!(utf7::decode(&utf7::encode(&text)).as_deref(), Some(&*text));
    if let Ok(name) = MailboxName::from_utf7(&text) {
        assert_eq!(MailboxName::from_utf7(&name.to_utf7()).as_ref(), Ok(&name));
        assert!(Pattern::new("*").matches(name.as_str()));
        assert_eq!(Pattern::new("%").matches(name.as_str()), name.parent().is_none());
    }
    let _ = Pattern::new(&text).matches("INBOX/a/b");
    check_decoder(data);
    let _ = crate::thread::message_ids(&text).count();
    assert!(crate::sort::BaseSubject::of(&text).text.len() <= text.len());
    let _ = crate::decode_words(&text);
    let _ = crate::date::parse_date_time(&text);
    let _ = crate::date::header_date(&text);
    assert!(Needle::new(&text).is_in(&text));
    let filter = |not| {
        FieldFilter {
            not,
            names: vec!["a".into(), "subject".into()],
        }
        .apply(data)
    };
    assert!(filter(true).ends_with(b"\r\n") && filter(false).ends_with(b"\r\n"));
}

/// What is decoded does not depend on how it comes in pieces, and its size is told before.
fn check_decoder(data: &[u8]) {
    use crate::binary::{Decoder, Encoding};
    use crate::section::DecodedSize;
    for encoding in [Encoding::Identity, Encoding::Base64, Encoding::QuotedPrintable] {
        let decode = |piece: usize| {
            let (mut decoder, mut out) = (Decoder::new(encoding, None), bytes::BytesMut::new());
            data.chunks(piece).for_each(|chunk| decoder.push(chunk, &mut out));
            decoder.finish(&mut out);
            out
        };
        let whole = decode(data.len().max(1));
        assert_eq!(whole, decode(1));
        assert!(whole.len() <= data.len());
        let mut size = DecodedSize::new(encoding, None);
        size.push(data);
        assert_eq!(size.number(), whole.len().to_string());
    }
}

/// A whole session: input in any pieces, answers and changes from a seed. The conversation stays one that a client can
/// follow, and what the session holds stays bounded.
pub fn session(data: &[u8]) {
    check_conversation(&converse(data));
}

/// All that a session says.
fn converse(data: &[u8]) -> Vec<u8> {
    let (seed, input) = data.split_at(data.len().min(8));
    let number = seed.iter().fold(0u64, |n, b| n << 8 | u64::from(*b));
    let mut rng = Rng::from_number(number);
    let config = Config {
        literal_plus: rng.chance(0.3),
        ..Config::default()
    };
    let tls = if rng.chance(0.1) {
        Tls::Offered
    } else {
        Tls::Active
    };
    let mut world = World {
        session: Session::new(Instant::ZERO, Arc::new(config), tls, rng.fork()),
        rng,
        now: Instant::ZERO,
        heard: Vec::new(),
        appending: None,
        closed: false,
    };
    world.drain();
    if world.rng.chance(0.9) {
        world.say(b"a LOGIN u p\r\nb SELECT INBOX\r\n");
    }
    let mut rest = input;
    while !rest.is_empty() && !world.closed {
        let len = 1 + world.rng.below(rest.len().min(2_000) as u64) as usize;
        world.say(&rest[..len]);
        rest = &rest[len..];
        if world.rng.chance(0.2) {
            world.something_happens();
        }
    }
    world.heard
}

struct World {
    session: Session,
    rng: Rng,
    now: Instant,
    heard: Vec<u8>,
    /// Bytes of a message that are to come.
    appending: Option<u64>,
    closed: bool,
}

impl World {
    fn say(&mut self, bytes: &[u8]) {
        self.session.handle_input(self.now, bytes);
        self.drain();
    }

    fn something_happens(&mut self) {
        match self.rng.below(4) {
            0 => {
                self.now += Duration::from_secs(self.rng.below(200));
                self.session.handle_timeout(self.now);
            }
            1 if self.rng.chance(0.05) => self.session.shut_down(self.now, "BYE The server stops"),
            _ => {
                if let Some(mailbox) = self.session.selected() {
                    let changes = self.changes();
                    self.session.handle_changes(self.now, mailbox, changes);
                }
            }
        }
        self.drain();
    }

    fn drain(&mut self) {
        for _ in 0..200_000 {
            match self.session.poll_output() {
                Output::Timeout(_) => {
                    assert!(self.session.is_closed() == self.closed);
                    return;
                }
                Output::Transmit(bytes) => {
                    assert!(!self.closed && !bytes.is_empty());
                    self.heard.extend_from_slice(&bytes);
                }
                Output::Body { range, transform, .. } => {
                    assert!(range.start <= range.end && range.end <= 2_000);
                    let body = Bytes::from(vec![b'x'; (range.end - range.start) as usize]);
                    self.heard.extend_from_slice(&transform.apply(body));
                }
                Output::Event(event) => self.handle(event),
            }
        }
        panic!("the session has no end of things to do");
    }

    fn handle(&mut self, event: Event) {
        assert!(!self.closed, "nothing comes after the end");
        match event {
            Event::Question(question) => {
                let answer = self.answer(question.ask);
                if self.rng.chance(0.1)
                    && let Some(mailbox) = self.session.selected()
                {
                    let changes = self.changes();
                    self.session.handle_changes(self.now, mailbox, changes);
                }
                self.session.handle_answer(self.now, question.id, answer);
            }
            Event::Body(chunk) => {
                let left = self
                    .appending
                    .as_mut()
                    .expect("a body comes only when it was agreed to");
                *left = left
                    .checked_sub(chunk.len() as u64)
                    .expect("no more comes than was announced");
                assert!(!chunk.is_empty() && chunk.len() <= limits::CHUNK_BYTES);
            }
            Event::BodyAborted => {
                self.appending.take().expect("only what was begun is given up");
            }
            Event::StartTls => {
                self.session.handle_input(self.now, b"x NOOP\r\n");
                self.session.handle_tls_started(self.now, Default::default());
            }
            Event::Compress | Event::Deselected => {}
            Event::Closed => self.closed = true,
        }
    }

    fn answer(&mut self, ask: Ask) -> Answer {
        if let Ask::AppendFinish = ask {
            assert_eq!(
                self.appending.take(),
                Some(0),
                "a message is finished when all of it has come"
            );
        }
        match self.rng.below(40) {
            0..=3 => return Answer::Refused(self.refusal()),
            4 if !matches!(ask, Ask::AppendBegin { .. } | Ask::AppendNext { .. }) => return Answer::Done,
            5 => return Answer::Found(vec![1, 2, 3]),
            _ => {}
        }
        match ask {
            Ask::Authenticate {
                proof: Proof::Failed, ..
            } => Answer::Refused(Refusal::BadCredentials),
            Ask::Authenticate { .. } | Ask::Compress | Ask::Rename { .. } | Ask::Subscribe { .. } => {
                Answer::Done
            }
            Ask::Create { .. } => Answer::Created(MailboxId(self.rng.below(9))),
            Ask::Delete(_) => Answer::Deleted(MailboxId(self.rng.below(9))),
            Ask::ScramKeys { .. } => Answer::ScramKeys(None),
            Ask::AppendBegin { size_bytes, .. } => {
                assert!(size_bytes > 0 && size_bytes <= limits::MESSAGE_BYTES);
                self.appending = Some(size_bytes);
                Answer::Done
            }
            Ask::AppendNext { size_bytes, .. } => {
                assert!(size_bytes > 0 && size_bytes <= limits::MESSAGE_BYTES);
                let before = self.appending.replace(size_bytes);
                assert_eq!(before, Some(0), "one message is whole before the next begins");
                Answer::Done
            }
            Ask::AppendFinish => Answer::Appended {
                uid_validity: 1,
                uids: vec![self.rng.u32()],
            },
            Ask::Quota => Answer::Quota(crate::question::QuotaUse {
                bytes: crate::question::Used {
                    used: self.rng.u64(),
                    limit: self.rng.chance(0.5).then(|| self.rng.u64()),
                },
                ..Default::default()
            }),
            Ask::List => Answer::Mailboxes((0..self.rng.below(20)).map(|_| self.mailbox()).collect()),
            Ask::Status(_) => Answer::Status(Status {
                messages: self.rng.u32(),
                ..Status::default()
            }),
            Ask::Select { read_only, .. } => Answer::Selected(self.snapshot(read_only)),
            Ask::Refresh(_) => Answer::Changes(self.changes()),
            Ask::Fetch { uids, then, .. } => {
                assert!(uids.len() <= limits::IMAP_PORTION && uids.is_sorted());
                assert!(then.is_sorted() && then.first().is_none_or(|next| uids.last() < Some(next)));
                Answer::Messages(
                    self.some(&uids)
                        .into_iter()
                        .map(|uid| self.message(uid))
                        .collect(),
                )
            }
            Ask::Store {
                uids,
                change,
                unchanged_since,
                ..
            } => {
                assert!(uids.len() <= limits::IMAP_STORE_PORTION && uids.is_sorted());
                let state = |uid| MessageState {
                    flags: change.apply(&Flags::new()),
                    ..self.state(uid)
                };
                let states = uids.iter().copied().map(state).collect();
                let modified = match unchanged_since {
                    Some(_) => self.some(&uids),
                    None => Vec::new(),
                };
                Answer::Stored { states, modified }
            }
            Ask::Vanished { .. } if self.rng.chance(0.3) => Answer::Vanished(None),
            Ask::Vanished { .. } => {
                let low = self.rng.below(600) as Uid;
                Answer::Vanished(Some(NumberSet::from_ranges([(low, low + 3), (2, 9), (40, 40)])))
            }
            Ask::Search { key, among, .. } => {
                assert!(!among.is_empty() && among.len() <= limits::IMAP_SEARCH_PORTION);
                let mut matches = |candidate: &Candidate| {
                    let message = self.message(candidate.uid);
                    let facts = Facts {
                        candidate,
                        message: Some(&message),
                        text: Some(&Echo),
                        now: UnixTime::from_secs(1_700_000_000),
                    };
                    key.evaluate(&facts).expect("with all facts a search is decided")
                };
                Answer::Found(among.iter().filter(|c| matches(c)).map(|c| c.uid).collect())
            }
            Ask::SortFacts { uids, .. } => {
                assert!(!uids.is_empty() && uids.len() <= limits::IMAP_PORTION && uids.is_sorted());
                let some = self.some(&uids);
                let facts = |uid| crate::sort::SortFacts {
                    uid,
                    envelope: self.envelope(),
                    references: (0..self.rng.below(4)).map(|_| self.rng.below(8)).collect(),
                    ..Default::default()
                };
                Answer::SortFacts(some.into_iter().map(facts).collect())
            }
            Ask::Copy { uids, .. } | Ask::Move { uids, .. } => {
                let pairs = self
                    .some(&uids)
                    .into_iter()
                    .map(|uid| (uid, self.rng.u32()))
                    .collect();
                Answer::Copied {
                    uid_validity: 1,
                    pairs,
                }
            }
            Ask::Expunge { uids, .. } => {
                let uids = uids.unwrap_or_else(|| (1..40).collect());
                Answer::Expunged(self.some(&uids))
            }
        }
    }

    fn some(&mut self, uids: &[Uid]) -> Vec<Uid> {
        uids.iter().copied().filter(|_| self.rng.chance(0.9)).collect()
    }

    fn refusal(&mut self) -> Refusal {
        let all = [
            Refusal::BadCredentials,
            Refusal::NoSuchMailbox,
            Refusal::AlreadyExists,
            Refusal::Cannot("No"),
            Refusal::OverQuota,
            Refusal::TooBig,
            Refusal::Limit("No more"),
            Refusal::NoRoom,
            Refusal::Unavailable,
            Refusal::TooManyFailures,
        ];
        all[self.rng.below(all.len() as u64) as usize].clone()
    }

    fn text(&mut self) -> String {
        let alphabet: Vec<char> = "ab/ \"\\\r\n\t\0\u{7f}{}()*%ü台📞=?&".chars().collect();
        (0..self.rng.below(12))
            .map(|_| alphabet[self.rng.below(alphabet.len() as u64) as usize])
            .collect()
    }

    fn maybe(&mut self) -> Option<String> {
        self.rng.chance(0.7).then(|| self.text())
    }

    fn mailbox(&mut self) -> ListedMailbox {
        ListedMailbox {
            name: MailboxName::new(&self.text()).unwrap_or(MailboxName::inbox()),
            exists: self.rng.chance(0.8),
            selectable: self.rng.chance(0.8),
            subscribed: self.rng.chance(0.5),
            special_use: self.rng.chance(0.2).then_some(SpecialUse::Junk),
        }
    }

    fn state(&mut self, uid: Uid) -> MessageState {
        let mut flags = Flags::from_parts(self.rng.u32() as u8, []);
        let keyword = Keyword::new(&format!("k{}", self.rng.below(600))).expect("it is an atom");
        if self.rng.chance(0.3) {
            flags.insert(Flag::Keyword(keyword));
        }
        flags.remove(&Flag::System(SystemFlag::Draft));
        MessageState {
            uid,
            flags,
            modseq: self.rng.below(50),
            recent: self.rng.chance(0.5),
        }
    }

    fn snapshot(&mut self, read_only: bool) -> Snapshot {
        let mut uid = 0;
        let messages = (0..self.rng.below(300))
            .map(|_| {
                uid += 1 + self.rng.below(3) as Uid;
                self.state(uid)
            })
            .collect();
        Snapshot {
            mailbox: MailboxId(self.rng.below(3)),
            uid_validity: 1,
            uid_next: uid + 1,
            highest_modseq: 50,
            read_only,
            keywords: Vec::new(),
            messages,
        }
    }

    fn changes(&mut self) -> Changes {
        let first = self.rng.below(1_000) as Uid;
        let uids: Vec<Uid> = (0..self.rng.below(50))
            .map(|_| self.rng.below(600) as Uid)
            .collect();
        Changes {
            arrived: (first..first + self.rng.below(20) as Uid)
                .map(|uid| self.state(uid))
                .collect(),
            flags: uids.iter().map(|uid| self.state(*uid)).collect(),
            expunged: uids.iter().map(|uid| uid / 2).collect(),
            highest_modseq: self.rng.below(100),
            mailbox_gone: self.rng.chance(0.02),
        }
    }

    fn message(&mut self, uid: Uid) -> Message {
        Message {
            uid,
            internal_date: UnixTime::from_secs(self.rng.below(4_000_000_000)),
            saved: UnixTime::from_secs(self.rng.below(4_000_000_000)),
            email_id: ObjectId::Email(self.rng.u64()),
            thread_id: self.rng.chance(0.5).then(|| ObjectId::Thread(self.rng.u64())),
            size_bytes: self.rng.below(1_000),
            envelope: self.rng.chance(0.9).then(|| Arc::new(self.envelope())),
            written: None,
            structure: self.rng.chance(0.9).then(|| Arc::new(self.part(3))),
            preview: self.maybe(),
        }
    }

    fn envelope(&mut self) -> Envelope {
        Envelope {
            date: self.maybe(),
            subject: self.maybe(),
            from: (0..self.rng.below(3)).map(|_| self.address()).collect(),
            to: (0..self.rng.below(3)).map(|_| self.address()).collect(),
            message_id: self.maybe(),
            ..Envelope::default()
        }
    }

    fn address(&mut self) -> Address {
        match self.rng.below(4) {
            0 => Address::GroupStart(self.text()),
            1 => Address::GroupEnd,
            _ => Address::Mailbox {
                name: self.maybe(),
                local: self.text(),
                domain: self.text(),
            },
        }
    }

    fn part(&mut self, depth: u32) -> Part {
        let start = self.rng.below(500);
        let middle = start + self.rng.below(100);
        let end = middle + self.rng.below(1_000);
        let (kind, subtype) = (self.text(), self.text());
        let mut part = Part::single(start..middle, middle..end, self.rng.below(100), &kind, &subtype);
        part.parameters = (0..self.rng.below(3))
            .map(|_| (self.text(), self.text()))
            .collect();
        part.description = self.maybe();
        part.language = (0..self.rng.below(3)).map(|_| self.text()).collect();
        part.disposition = self.maybe().map(|kind| Disposition {
            kind,
            parameters: part.parameters.clone(),
        });
        match self.rng.below(4) {
            0 if depth > 0 => {
                let parts = (0..1 + self.rng.below(3)).map(|_| self.part(depth - 1)).collect();
                part.content = Content::Multipart { subtype, parts };
            }
            1 if depth > 0 => {
                let (envelope, message) = (Box::new(self.envelope()), Box::new(self.part(depth - 1)));
                part.content = Content::Message { envelope, message };
            }
            _ => {}
        }
        part
    }
}

struct Echo;

impl MessageText for Echo {
    fn any_field(&self, name: Option<&str>, test: &mut dyn FnMut(&str) -> bool) -> bool {
        test(name.unwrap_or("Subject: x"))
    }

    fn any_body_text(&self, test: &mut dyn FnMut(&str) -> bool) -> bool {
        test("some text")
    }
}

/// What a client must be able to follow: printable lines, of ASCII until something else was enabled, with literals of the size
/// told, and sequence numbers that exist.
fn check_conversation(heard: &[u8]) {
    let mut rest = heard;
    let mut exists = 0u32;
    let mut knows_utf8 = false;
    while !rest.is_empty() {
        let mut line = String::new();
        loop {
            let Some(end) = rest.windows(2).position(|w| w == b"\r\n") else {
                return;
            };
            let text = std::str::from_utf8(&rest[..end]).expect("lines are UTF-8");
            let is_fine = |c: char| matches!(c, '\t' | ' '..='~') || knows_utf8 && !c.is_ascii();
            assert!(text.chars().all(is_fine), "{text:?}");
            line.push_str(text);
            rest = &rest[end + 2..];
            let literal = text
                .strip_suffix('}')
                .and_then(|t| t.rsplit_once('{'))
                .map(|(_, n)| n.parse::<usize>());
            match literal {
                // A quoted string that ends like a literal is followed by its quote, so this is one.
                Some(Ok(n)) => rest = rest.get(n..).expect("a literal is as long as it was said to be"),
                _ => break,
            }
        }
        //= https://www.rfc-editor.org/rfc/rfc9051#section-4.3
        //= https://www.rfc-editor.org/rfc/rfc6855#section-3
        knows_utf8 |= line
            .strip_prefix("* ENABLED ")
            .is_some_and(|names| names.contains("IMAP4rev2") || names.contains("UTF8=ACCEPT"));
        let mut words = line.splitn(4, ' ');
        let (tag, number, word) = (words.next(), words.next(), words.next());
        if let Some(set) = line.strip_prefix("* VANISHED ").filter(|s| !s.starts_with('(')) {
            let set = SequenceSet::parse(set.as_bytes()).expect("VANISHED names UIDs");
            let count: u32 = set.resolve(0).ranges().iter().map(|(a, b)| b - a + 1).sum();
            exists = exists.checked_sub(count).expect("what vanishes was there");
            continue;
        }
        let Some(number) = number
            .filter(|_| tag == Some("*"))
            .and_then(|n| n.parse::<u32>().ok())
        else {
            continue;
        };
        match word {
            Some("EXISTS") => exists = number,
            Some("EXPUNGE") => {
                assert!((1..=exists).contains(&number), "{line}");
                exists -= 1;
            }
            Some("FETCH") => assert!((1..=exists).contains(&number), "{line}"),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Commands that a session may see, to be cut and mixed.
    const COMMANDS: &[&str] = &[
        "FETCH 1:* (FLAGS UID ENVELOPE BODYSTRUCTURE RFC822.SIZE INTERNALDATE)",
        "UID FETCH 1:40 (BODY[] BODY[HEADER.FIELDS (Subject x)]<1.5> BODY.PEEK[1.2.MIME])",
        "STORE 1:* +FLAGS (\\Deleted k7)",
        "UID STORE * FLAGS.SILENT (a b c)",
        "SEARCH OR (UNSEEN SUBJECT x) NOT BODY some 1:5 SENTSINCE 1-Feb-2000",
        "UID SEARCH CHARSET UTF-8 TEXT {1+}\r\nx",
        "EXPUNGE",
        "UID EXPUNGE 1:*",
        "COPY 1:* x",
        "MOVE 1:9 x",
        "APPEND x (\\Seen) {5+}\r\nhello",
        "APPEND x {5+}\r\nhello (\\Draft) {3+}\r\nabc {2}\r\nxy",
        "APPEND x {5+}\r\nhello {0+}\r\n",
        "SEARCH RETURN (MIN MAX COUNT ALL SAVE) OR MODSEQ 20 YOUNGER 3600",
        "UID SEARCH RETURN () SAVEDSINCE 1-Jan-2010 OLDER 5",
        "SEARCH RETURN (SAVE) EMAILID M0 THREADID T0",
        "FETCH $ (EMAILID THREADID SAVEDATE)",
        "UID SEARCH OR $ UID $",
        "UID EXPUNGE $",
        "STATUS x (SIZE MAILBOXID APPENDLIMIT DELETED)",
        "APPEND x {4}\r\nabcd",
        "LIST (SUBSCRIBED RECURSIVEMATCH) \"\" (* %) RETURN (SUBSCRIBED)",
        "LSUB \"\" %",
        "STATUS x (MESSAGES UNSEEN)",
        "IDLE\r\nDONE",
        "SELECT x",
        "EXAMINE x",
        "CLOSE",
        "NOOP",
        "CREATE \"a/b\"",
        "AUTHENTICATE PLAIN AHUAcA==",
        "STARTTLS",
        "ENABLE CONDSTORE QRESYNC",
        "SELECT x (QRESYNC (1 20 1:300 (1,5,9 2,11,20)) CONDSTORE)",
        "UID FETCH 1:* (FLAGS) (CHANGEDSINCE 20 VANISHED)",
        "FETCH 1:* FLAGS (CHANGEDSINCE 30)",
        "STORE 1:* (UNCHANGEDSINCE 30) -FLAGS.SILENT (k1)",
        "SEARCH MODSEQ \"/flags/\\\\seen\" all 20",
        "STATUS x (HIGHESTMODSEQ)",
        "ID (\"a\" {1+}\r\nb)",
    ];

    #[test]
    fn random_conversations_hold() {
        let mut rng = Rng::from_number(11);
        let mut heard = String::new();
        for _ in 0..1_500 {
            let mut data = rng.u64().to_be_bytes().to_vec();
            for i in 0..rng.below(12) {
                let command = COMMANDS[rng.below(COMMANDS.len() as u64) as usize];
                data.extend_from_slice(format!("t{i} {command}\r\n").as_bytes());
            }
            if rng.chance(0.3) && data.len() > 8 {
                let at = 8 + rng.below(data.len() as u64 - 8) as usize;
                data[at] = rng.u32() as u8;
            }
            commands(&data[8..]);
            let conversation = converse(&data);
            check_conversation(&conversation);
            heard.push_str(&String::from_utf8_lossy(&conversation));
        }
        // The conversations went somewhere.
        for word in [
            "EXPUNGE\r\n",
            "* VANISHED 1",
            "* VANISHED (EARLIER) ",
            "[MODIFIED ",
            "[HIGHESTMODSEQ ",
            "(MODSEQ ",
            "* ESEARCH (TAG ",
            "THREADID (T",
            "[MAILBOXID (F",
            "EXISTS\r\n",
            "BODYSTRUCTURE ((",
            "COPYUID",
            "APPENDUID",
            "* LSUB",
            "Idling",
            "BYE",
        ] {
            assert!(heard.contains(word), "{word}");
        }
    }
}
