//! The copy of a mailbox that a program keeps, and what it takes offence at.

use super::line::{Fetched, code, numbers};
use super::{Kind, Seen};
use std::collections::BTreeSet;
use thiserror::Error;

/// What the server said that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Contradiction(String);

impl Contradiction {
    pub(super) fn new(what: &str) -> Self {
        Contradiction(what.into())
    }
}

fn wrong<T>(what: String) -> Result<T, Contradiction> {
    Err(Contradiction(what))
}

#[derive(Clone, Debug, Default)]
struct Message {
    uid: Option<u32>,
    flags: Option<String>,
    modseq: Option<u64>,
}

#[derive(Debug)]
pub(super) struct Copy {
    kind: Kind,
    /// In the mailbox's order.
    messages: Vec<Message>,
    uid_validity: u32,
    /// The MODSEQ up to which nothing can have been missed (RFC 7162 §6).
    highest: u64,
    /// The highest MODSEQ of the command at hand, and HIGHESTMODSEQ if it was told.
    heard: u64,
    told: Option<u64>,
    opening: Option<Opening>,
    /// How many messages others knew to be gone when it opened the mailbox.
    gone_before: usize,
}

/// SELECT under way.
#[derive(Debug, Default)]
struct Opening {
    exists: Option<usize>,
    /// What was known and is not told to be gone.
    known: Vec<Message>,
    is_placed: bool,
}

impl Copy {
    pub(super) fn new(kind: Kind) -> Self {
        Copy {
            kind,
            messages: Vec::new(),
            uid_validity: 0,
            highest: 0,
            heard: 0,
            told: None,
            opening: None,
            gone_before: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    /// The first message of which it knows nothing.
    pub(super) fn unknown(&self) -> Option<usize> {
        self.messages.iter().position(|m| m.uid.is_none())
    }

    pub(super) fn uid(&self, i: usize) -> Option<u32> {
        self.messages.get(i)?.uid
    }

    pub(super) fn has(&self, uid: u32) -> bool {
        self.messages.iter().any(|m| m.uid == Some(uid))
    }

    pub(super) fn highest(&self) -> u64 {
        self.highest.max(1)
    }

    pub(super) fn all(&self) -> Vec<(u32, String)> {
        let each = |m: &Message| (m.uid.unwrap_or_default(), m.flags.clone().unwrap_or_default());
        self.messages.iter().map(each).collect()
    }

    pub(super) fn set(&mut self, i: usize, change: impl Fn(&str) -> String) {
        if let Some(flags) = self.messages.get_mut(i).and_then(|m| m.flags.as_mut()) {
            *flags = change(flags);
        }
    }

    /// What SELECT is told of what is known.
    pub(super) fn resync_parameter(&self) -> Option<String> {
        if self.uid_validity == 0 || self.highest == 0 {
            return None;
        }
        let known = self.messages.iter().map_while(|m| m.uid);
        let uids: Vec<String> = known.map(|u| u.to_string()).collect();
        let uids = if uids.is_empty() {
            String::new()
        } else {
            format!(" {}", uids.join(","))
        };
        Some(format!("QRESYNC ({} {}{uids})", self.uid_validity, self.highest))
    }

    /// SELECT is about to be sent.
    pub(super) fn opening(&mut self, seen: &Seen) {
        let mut known = std::mem::take(&mut self.messages);
        if !self.kind.resyncs() || self.highest == 0 {
            known.clear();
        }
        // Behind one that it knows nothing of, it cannot tell what comes where.
        known.truncate(known.iter().take_while(|m| m.uid.is_some()).count());
        self.gone_before = seen.gone.len();
        self.opening = Some(Opening {
            known,
            ..Opening::default()
        });
        if !self.kind.resyncs() {
            self.highest = 0;
        }
    }

    /// Puts what was known into its places: new messages have higher UIDs, so they come behind.
    fn place(&mut self) -> Result<(), Contradiction> {
        let Some(opening) = self.opening.as_mut().filter(|o| !o.is_placed) else {
            return Ok(());
        };
        let exists = opening
            .exists
            .ok_or(Contradiction::new("SELECT told no EXISTS"))?;
        opening.is_placed = true;
        self.messages = std::mem::take(&mut opening.known);
        if self.messages.len() > exists {
            return wrong(format!(
                "{} known messages are left, and there are {exists}: some are gone, and it was not told",
                self.messages.len()
            ));
        }
        self.messages.resize_with(exists, Message::default);
        Ok(())
    }

    /// SELECT is done.
    pub(super) fn opened(&mut self, seen: &Seen) -> Result<(), Contradiction> {
        self.place()?;
        self.opening = None;
        let back = self
            .messages
            .iter()
            .filter_map(|m| m.uid)
            .find(|uid| seen.was_gone(*uid, self.gone_before));
        match back {
            Some(uid) => wrong(format!("message {uid} was gone before, and is not told to be")),
            None => Ok(()),
        }
    }

    /// A command is done: how far it knows everything now.
    pub(super) fn completed(&mut self, text: &str) {
        let told = code(text, "HIGHESTMODSEQ ")
            .and_then(|n| n.parse().ok())
            .or(self.told);
        self.highest = told.unwrap_or(self.highest.max(self.heard));
        (self.heard, self.told) = (0, None);
    }

    /// Whether those that STORE left as they were have changed indeed.
    pub(super) fn check_modified(&self, set: &str) -> Result<(), Contradiction> {
        match numbers(set) {
            Some(numbers) if !numbers.is_empty() => Ok(()),
            _ => wrong(format!("MODIFIED names no messages: {set}")),
        }
    }

    /// Takes in an untagged response. `apply` says what a silent STORE makes of flags. Gives the position that was told of.
    pub(super) fn handle(
        &mut self,
        line: &str,
        seen: &mut Seen,
        apply: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Option<usize>, Contradiction> {
        if let Some(modseq) = code(line, "HIGHESTMODSEQ ").and_then(|n| n.parse().ok()) {
            self.told = Some(modseq);
            return Ok(None);
        }
        if let Some(validity) = code(line, "UIDVALIDITY ").and_then(|n| n.parse().ok()) {
            if self.uid_validity != 0 && self.uid_validity != validity {
                return wrong("UIDVALIDITY has changed".into());
            }
            self.uid_validity = validity;
            return Ok(None);
        }
        if let Some(set) = line.strip_prefix("VANISHED (EARLIER) ") {
            let gone: BTreeSet<u32> = numbers(set).unwrap_or_default().into_iter().collect();
            match &mut self.opening {
                Some(opening) => opening
                    .known
                    .retain(|m| m.uid.is_none_or(|uid| !gone.contains(&uid))),
                None => return wrong("VANISHED (EARLIER) was not asked for".into()),
            }
            return Ok(None);
        }
        if let Some(set) = line.strip_prefix("VANISHED ") {
            self.place()?;
            return self.vanished(set, seen).map(|()| None);
        }
        let mut words = line.splitn(3, ' ');
        let (number, word, rest) = (words.next(), words.next(), words.next());
        let Some(number) = number.and_then(|n| n.parse::<usize>().ok()) else {
            return Ok(None);
        };
        match (word, rest) {
            (Some("EXISTS"), None) => self.exists(number).map(|()| None),
            (Some("EXPUNGE"), None) => {
                self.place()?;
                self.expunged(number, seen).map(|()| None)
            }
            (Some("FETCH"), Some(items)) => {
                self.place()?;
                self.fetched(number, items, seen, apply).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn exists(&mut self, number: usize) -> Result<(), Contradiction> {
        // What comes while the mailbox is being opened may be told before it is.
        if let Some(opening) = self.opening.as_mut().filter(|o| !o.is_placed) {
            opening.exists = Some(number);
            return Ok(());
        }
        if number < self.messages.len() {
            return wrong(format!("there were {} messages", self.messages.len()));
        }
        self.messages.resize_with(number, Message::default);
        Ok(())
    }

    fn expunged(&mut self, number: usize, seen: &mut Seen) -> Result<(), Contradiction> {
        if self.kind.resyncs() {
            return wrong("EXPUNGE in place of VANISHED".into());
        }
        if number == 0 || number > self.messages.len() {
            return wrong(format!("there are {} messages", self.messages.len()));
        }
        if let Some(uid) = self.messages.remove(number - 1).uid {
            seen.is_gone(uid);
        }
        Ok(())
    }

    fn vanished(&mut self, set: &str, seen: &mut Seen) -> Result<(), Contradiction> {
        if !self.kind.resyncs() {
            return wrong("VANISHED was not enabled".into());
        }
        for uid in numbers(set).unwrap_or_default() {
            let known = self.messages.iter().position(|m| m.uid == Some(uid));
            let i = match known {
                Some(i) => Some(i),
                None => self.unknown_at(uid),
            };
            let Some(i) = i else {
                return wrong(format!("message {uid} was not there"));
            };
            self.messages.remove(i);
            seen.is_gone(uid);
        }
        Ok(())
    }

    /// One that it knows nothing of and that may have this UID, by its neighbours.
    fn unknown_at(&self, uid: u32) -> Option<usize> {
        let below = |m: &Message| m.uid.is_some_and(|known| known < uid);
        let from = self.messages.iter().rposition(below).map_or(0, |i| i + 1);
        let unknown = self.messages.get(from).is_some_and(|m| m.uid.is_none());
        unknown.then_some(from)
    }

    fn fetched(
        &mut self,
        number: usize,
        items: &str,
        seen: &mut Seen,
        apply: &dyn Fn(&str) -> Option<String>,
    ) -> Result<usize, Contradiction> {
        let fetched = Fetched::parse(items).ok_or(Contradiction::new("FETCH cannot be read"))?;
        let i = number.wrapping_sub(1);
        let before = self.messages[..i.min(self.messages.len())]
            .iter()
            .filter_map(|m| m.uid)
            .next_back();
        let Some(message) = self.messages.get_mut(i) else {
            return wrong(format!("there are {} messages", self.messages.len()));
        };
        let Some(uid) = fetched.uid else {
            return wrong("FETCH without UID".into());
        };
        match message.uid {
            Some(had) if had != uid => return wrong(format!("message {number} had UID {had}")),
            None if before.is_some_and(|before| before >= uid) => {
                return wrong(format!("UID {uid} came after {}", before.unwrap_or_default()));
            }
            None if seen.was_gone(uid, self.gone_before) => {
                return wrong(format!("message {uid} was gone before the mailbox was opened"));
            }
            _ => message.uid = Some(uid),
        }
        if self.kind == Kind::Plain {
            message.flags = fetched.flags.or(message.flags.take());
            return Ok(i);
        }
        let Some(modseq) = fetched.modseq else {
            return wrong("FETCH without MODSEQ".into());
        };
        let had = message.modseq.unwrap_or(0);
        if modseq < had {
            return wrong(format!("the MODSEQ of message {uid} was {had}"));
        }
        if modseq > had && had > 0 && modseq <= self.highest && self.opening.is_none() {
            let highest = self.highest;
            return wrong(format!(
                "message {uid} has changed at {modseq}, and everything up to {highest} was known"
            ));
        }
        let both = fetched.flags.as_ref().zip(message.flags.as_ref());
        if modseq == had && both.is_some_and(|(told, known)| told != known) {
            return wrong(format!(
                "the flags of message {uid} were {:?} at {modseq}",
                message.flags
            ));
        }
        message.flags = match (fetched.flags, message.flags.take()) {
            (Some(flags), _) => Some(flags),
            (None, Some(flags)) if modseq > had => apply(&flags),
            (None, flags) => flags,
        };
        message.modseq = Some(modseq);
        self.heard = self.heard.max(modseq);
        if let Some(flags) = &message.flags {
            let known = seen.told(uid, modseq, flags);
            if known != flags {
                return wrong(format!(
                    "message {uid} had flags ({known}) at {modseq} for another"
                ));
            }
        }
        Ok(i)
    }
}
