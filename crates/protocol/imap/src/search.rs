//! SEARCH: the program a client sends, and whether a message matches it (RFC 3501 §6.4.4).

use crate::date::Date;
use crate::flag::{Flag, SystemFlag};
use crate::question::{Candidate, Message};
use crate::sequence::{NumberSet, SequenceSet};
use crate::structure::{Address, Envelope};
use crate::words::decode_words;
use ringpost_base::UnixTime;

/// A search program. What can be said with others is: UNSEEN is `Not(Has(\Seen))`, NEW is `And([Recent, UNSEEN])`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SearchKey {
    /// Every one matches; nothing is `All`.
    And(Vec<SearchKey>),
    /// One of them matches.
    Or(Vec<SearchKey>),
    /// It does not match.
    Not(Box<SearchKey>),
    /// The sequence number is in the set.
    Numbers(SequenceSet),
    /// The UID is in the set.
    Uids(SequenceSet),
    /// Its MODSEQ is this or higher (RFC 7162 §3.1.5).
    ModSeq(u64),
    /// The flag is set.
    Has(Flag),
    /// The session was the first to be told of it.
    Recent,
    /// The internal date compares like this.
    Arrived(DateTest, Date),
    /// The day on which it came into its mailbox compares like this (RFC 8514).
    Saved(DateTest, Date),
    /// Its internal date is at least so many seconds ago (RFC 5032).
    Older(u32),
    /// Its internal date is at most so many seconds ago.
    Younger(u32),
    /// Its EMAILID is this (RFC 8474).
    EmailId(Box<str>),
    /// Its THREADID is this.
    ThreadId(Box<str>),
    /// The Date field compares like this; without one nothing does.
    Sent(DateTest, Date),
    /// It has more bytes.
    Larger(u64),
    /// It has fewer bytes.
    Smaller(u64),
    /// A field of the envelope holds the text.
    Envelope(EnvelopeField, Needle),
    /// A header field of this name holds the text; with an empty text, there is one.
    Header(Box<str>, Needle),
    /// A text in the body holds it.
    Body(Needle),
    /// The header or a text in the body holds it.
    Text(Needle),
}

/// How two days compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DateTest {
    /// Earlier than the day.
    Before,
    /// That day.
    On,
    /// That day or later.
    Since,
}

/// A field that SEARCH has a key for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnvelopeField {
    /// BCC
    Bcc,
    /// CC
    Cc,
    /// FROM
    From,
    /// SUBJECT
    Subject,
    /// TO
    To,
}

/// What a program needs to know of a message, beyond what the session knows itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Dates, size or envelope: a [`Message`] with its envelope.
    pub message: bool,
    /// Header fields: a [`MessageText`] with its header.
    pub header: bool,
    /// Texts in the body: a [`MessageText`] with those.
    pub body: bool,
}

/// A message's header and body as text, for the keys that read them.
pub trait MessageText: Sync {
    /// Whether `test` holds for the value of a header field of this name, in any case, or with `None` for any field as
    /// `Name: value`. Values are unfolded and decoded to UTF-8.
    fn any_field(&self, name: Option<&str>, test: &mut dyn FnMut(&str) -> bool) -> bool;
    /// Whether `test` holds for a text part of the body, in any depth, decoded to UTF-8.
    fn any_body_text(&self, test: &mut dyn FnMut(&str) -> bool) -> bool;
}

/// What is known of a message while a program is evaluated.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// As the session sees it.
    pub candidate: &'a Candidate,
    /// What is stored of it, with its envelope.
    pub message: Option<&'a Message>,
    /// Its text.
    pub text: Option<&'a dyn MessageText>,
    /// When this is asked; looked at only with a message.
    pub now: UnixTime,
}

impl<'a> Facts<'a> {
    /// What the session itself knows.
    pub fn of(candidate: &'a Candidate) -> Self {
        Facts {
            candidate,
            message: None,
            text: None,
            now: UnixTime::from_secs(0),
        }
    }
}

impl Facts<'_> {
    /// How long ago its internal date is, in seconds; none for one in the future.
    fn age_s(&self, message: &Message) -> u64 {
        self.now.as_secs().saturating_sub(message.internal_date.as_secs())
    }
}

impl SearchKey {
    /// The program that every message matches.
    pub fn all() -> Self {
        SearchKey::And(Vec::new())
    }

    /// What matches where this does not. Two negations are none.
    pub(crate) fn negated(self) -> Self {
        match self {
            SearchKey::Not(key) => *key,
            key => SearchKey::Not(Box::new(key)),
        }
    }

    /// What matches where this or the other does; their order is nobody's concern. A chain of these is one key.
    pub(crate) fn or(self, other: SearchKey) -> Self {
        match (self, other) {
            (SearchKey::Or(mut keys), SearchKey::Or(more)) => {
                keys.extend(more);
                SearchKey::Or(keys)
            }
            (SearchKey::Or(mut keys), one) | (one, SearchKey::Or(mut keys)) => {
                keys.push(one);
                SearchKey::Or(keys)
            }
            (one, other) => SearchKey::Or(vec![one, other]),
        }
    }

    /// Whether a message matches, as far as the facts given decide; `None` when more facts are needed. With all that
    /// [`SearchKey::needs`] names it is always decided.
    pub fn evaluate(&self, facts: &Facts<'_>) -> Option<bool> {
        match self {
            SearchKey::And(keys) => {
                let mut all = Some(true);
                for key in keys {
                    match key.evaluate(facts) {
                        Some(false) => return Some(false),
                        None => all = None,
                        Some(true) => {}
                    }
                }
                all
            }
            SearchKey::Or(keys) => {
                let mut any = Some(false);
                for key in keys {
                    match key.evaluate(facts) {
                        Some(true) => return Some(true),
                        None => any = None,
                        Some(false) => {}
                    }
                }
                any
            }
            SearchKey::Not(key) => key.evaluate(facts).map(|matches| !matches),
            key => key.evaluate_alone(facts),
        }
    }

    /// The same for a key that has no others in it. By itself, so that the way down to it takes little of the stack.
    #[inline(never)]
    fn evaluate_alone(&self, facts: &Facts<'_>) -> Option<bool> {
        let candidate = facts.candidate;
        match self {
            SearchKey::And(_) | SearchKey::Or(_) | SearchKey::Not(_) => None,
            SearchKey::Numbers(set) => Some(set.contains(candidate.number, candidate.last.0)),
            SearchKey::Uids(set) => Some(set.contains(candidate.uid, candidate.last.1)),
            SearchKey::ModSeq(modseq) => Some(candidate.modseq >= *modseq),
            SearchKey::Has(flag) => Some(candidate.flags.has(flag)),
            SearchKey::Recent => Some(candidate.recent),
            //= https://www.rfc-editor.org/rfc/rfc3501#section-6.4.4
            // Dates are compared without time and zone.
            SearchKey::Arrived(test, day) => {
                facts.message.map(|m| test.holds(Date::of(m.internal_date), *day))
            }
            SearchKey::Saved(test, day) => facts.message.map(|m| test.holds(Date::of(m.saved), *day)),
            //= https://www.rfc-editor.org/rfc/rfc5032#section-3
            SearchKey::Older(seconds) => facts.message.map(|m| facts.age_s(m) >= u64::from(*seconds)),
            SearchKey::Younger(seconds) => facts.message.map(|m| facts.age_s(m) <= u64::from(*seconds)),
            SearchKey::EmailId(id) => facts.message.map(|m| m.email_id.to_string() == **id),
            SearchKey::ThreadId(id) => facts
                .message
                .map(|m| m.thread_id.is_some_and(|thread| thread.to_string() == **id)),
            SearchKey::Sent(test, day) => facts
                .message
                .map(|m| m.sent_date().is_some_and(|sent| test.holds(sent, *day))),
            SearchKey::Larger(size) => facts.message.map(|m| m.size_bytes > *size),
            SearchKey::Smaller(size) => facts.message.map(|m| m.size_bytes < *size),
            SearchKey::Envelope(field, needle) => {
                let envelope = facts.message?.envelope.as_deref();
                Some(envelope.is_some_and(|e| field.holds(e, needle)))
            }
            SearchKey::Header(name, needle) => facts
                .text
                .map(|t| t.any_field(Some(name), &mut |value| needle.is_in(value))),
            SearchKey::Body(needle) => facts
                .text
                .map(|t| t.any_body_text(&mut |text| needle.is_in(text))),
            SearchKey::Text(needle) => facts.text.map(|t| {
                t.any_field(None, &mut |field| needle.is_in(field))
                    || t.any_body_text(&mut |text| needle.is_in(text))
            }),
        }
    }

    /// What may be needed to decide it.
    pub fn needs(&self) -> Needs {
        match self {
            SearchKey::And(keys) | SearchKey::Or(keys) => keys
                .iter()
                .map(SearchKey::needs)
                .fold(Needs::default(), Needs::or),
            SearchKey::Not(key) => key.needs(),
            SearchKey::Numbers(_)
            | SearchKey::Uids(_)
            | SearchKey::ModSeq(_)
            | SearchKey::Has(_)
            | SearchKey::Recent => Needs::default(),
            SearchKey::Arrived(..)
            | SearchKey::Saved(..)
            | SearchKey::Older(_)
            | SearchKey::Younger(_)
            | SearchKey::EmailId(_)
            | SearchKey::ThreadId(_)
            | SearchKey::Sent(..)
            | SearchKey::Larger(_)
            | SearchKey::Smaller(_)
            | SearchKey::Envelope(..) => Needs {
                message: true,
                ..Needs::default()
            },
            SearchKey::Header(..) => Needs {
                header: true,
                ..Needs::default()
            },
            SearchKey::Body(_) => Needs {
                body: true,
                ..Needs::default()
            },
            SearchKey::Text(_) => Needs {
                header: true,
                body: true,
                ..Needs::default()
            },
        }
    }

    /// Whether it looks at threads.
    pub fn wants_thread(&self) -> bool {
        self.any(|key| matches!(key, SearchKey::ThreadId(_)))
    }

    /// Puts what was saved in the place of `$` (RFC 5182): the UIDs of its messages.
    pub(crate) fn take_saved(&mut self, saved: &NumberSet) {
        match self {
            SearchKey::And(keys) | SearchKey::Or(keys) => {
                keys.iter_mut().for_each(|key| key.take_saved(saved));
            }
            SearchKey::Not(key) => key.take_saved(saved),
            SearchKey::Numbers(set) | SearchKey::Uids(set) if set.is_saved() => {
                *self = SearchKey::Uids(saved.into());
            }
            _ => {}
        }
    }

    /// Whether one of its keys is `test`ed true.
    pub(crate) fn any(&self, test: fn(&SearchKey) -> bool) -> bool {
        match self {
            SearchKey::And(keys) | SearchKey::Or(keys) => keys.iter().any(|key| key.any(test)),
            SearchKey::Not(key) => key.any(test),
            key => test(key),
        }
    }

    /// A key that holds where `flag` is not set.
    pub fn without(flag: SystemFlag) -> Self {
        SearchKey::Not(Box::new(SearchKey::Has(Flag::System(flag))))
    }
}

impl Needs {
    /// Whether a [`MessageText`] is needed.
    pub fn text(self) -> bool {
        self.header || self.body
    }

    fn or(self, other: Needs) -> Needs {
        Needs {
            message: self.message || other.message,
            header: self.header || other.header,
            body: self.body || other.body,
        }
    }
}

impl DateTest {
    fn holds(self, date: Date, day: Date) -> bool {
        match self {
            DateTest::Before => date < day,
            DateTest::On => date == day,
            DateTest::Since => date >= day,
        }
    }
}

impl EnvelopeField {
    fn holds(self, envelope: &Envelope, needle: &Needle) -> bool {
        let addresses = match self {
            EnvelopeField::Subject => {
                return envelope
                    .subject
                    .as_deref()
                    .is_some_and(|s| needle.is_in(&decode_words(s)));
            }
            EnvelopeField::Bcc => &envelope.bcc,
            EnvelopeField::Cc => &envelope.cc,
            EnvelopeField::From => &envelope.from,
            EnvelopeField::To => &envelope.to,
        };
        addresses.iter().any(|address| match address {
            Address::Mailbox { name, local, domain } => {
                let name = name.as_deref().map(decode_words).unwrap_or_default();
                needle.is_in(&format!("{name} <{local}@{domain}>"))
            }
            Address::GroupStart(name) => needle.is_in(&decode_words(name)),
            Address::GroupEnd => false,
        })
    }
}

/// A text to be found in others, whatever the case of letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needle {
    /// In lower case.
    folded: Box<str>,
}

impl Needle {
    /// Will find `text`.
    pub fn new(text: &str) -> Self {
        Needle {
            folded: fold(text).into(),
        }
    }

    /// Whether `text` holds it as a substring; nothing is in everything.
    pub fn is_in(&self, text: &str) -> bool {
        match self.folded.is_ascii() {
            true => holds_ascii(text.as_bytes(), self.folded.as_bytes()),
            false => fold(text).contains(&*self.folded),
        }
    }
}

/// Whether `text` holds `needle`, which is of ASCII in lower case, in any case.
fn holds_ascii(text: &[u8], needle: &[u8]) -> bool {
    /// Places that are looked at together, so that the compiler makes vectors of them.
    const LANES: usize = 32;
    /// In the letters of ASCII, the difference of the cases; other bytes are compared again.
    const CASE: u8 = 0x20;
    let (Some(first), Some(last)) = (needle.first(), needle.last()) else {
        return true;
    };
    let Some(places) = (text.len() + 1).checked_sub(needle.len()) else {
        return false;
    };
    let (first, last) = (first | CASE, last | CASE);
    let (starts, ends) = (&text[..places], &text[needle.len() - 1..]);
    let may_be = |(start, end): (&u8, &u8)| (start | CASE == first) & (end | CASE == last);
    let is_at = |at: usize| text[at..at + needle.len()].eq_ignore_ascii_case(needle);
    let mut at = 0;
    for (starts, ends) in starts.chunks(LANES).zip(ends.chunks(LANES)) {
        let any = match (<&[u8; LANES]>::try_from(starts), <&[u8; LANES]>::try_from(ends)) {
            (Ok(starts), Ok(ends)) => {
                let places = starts.iter().zip(ends);
                places.fold(false, |any, place| any | may_be(place))
            }
            // The last few.
            _ => true,
        };
        if any {
            let places = starts.iter().zip(ends).enumerate();
            let mut possible = places.filter(|(_, place)| may_be(*place));
            if possible.any(|(i, _)| is_at(at + i)) {
                return true;
            }
        }
        at += starts.len();
    }
    false
}

fn fold(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringpost_base::Rng;

    #[test]
    fn a_text_is_found_wherever_it_is_in_any_case() {
        let mut rng = Rng::from_number(5);
        let letters: Vec<char> = "abAB@`.k\u{f1}\u{d1}\u{212a}".chars().collect();
        let mut found = 0;
        for _ in 0..20_000 {
            let mut word = |most: u64| -> String {
                let length = rng.below(most);
                (0..length)
                    .map(|_| letters[rng.below(letters.len() as u64) as usize])
                    .collect()
            };
            let (text, needle) = (word(90), word(4));
            let folded = fold(&needle);
            let expected = match folded.is_ascii() {
                true => text.to_ascii_lowercase().contains(&folded),
                false => fold(&text).contains(&folded),
            };
            assert_eq!(
                Needle::new(&needle).is_in(&text),
                expected,
                "{needle:?} in {text:?}"
            );
            found += usize::from(expected);
        }
        assert!((2_000..18_000).contains(&found), "{found}");
    }

    #[test]
    fn a_text_is_found_at_both_ends_and_in_every_place() {
        let needle = Needle::new("Needle");
        for before in 0..100 {
            for after in [0, 1, 31, 64] {
                let text = format!("{}nEEDLE{}", "n".repeat(before), "e".repeat(after));
                assert!(needle.is_in(&text), "{text}");
                assert!(!needle.is_in(&text.replace('D', "@")), "{text}");
            }
        }
        assert!(Needle::new("").is_in(""));
        assert!(!needle.is_in("needl"));
    }
}
