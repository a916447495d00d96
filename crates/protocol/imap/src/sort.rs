//! SORT (RFC 5256, RFC 5957): what messages are compared by, and in which order they come.

use crate::sequence::Uid;
use crate::structure::{Address, Envelope};
use ringpost_base::{UnixTime, limits};
use std::cmp::{Ordering, Reverse};
use unicode_normalization::UnicodeNormalization;

/// What SORT compares two messages by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SortBy {
    /// The internal date with its time.
    Arrival,
    /// When it was sent, in UTC.
    Date,
    /// Its size.
    Size,
    /// The base subject.
    Subject,
    /// The local part of the first Cc address.
    Cc,
    /// The local part of the first From address.
    From,
    /// The local part of the first To address.
    To,
    /// What a client would show of the first From address (RFC 5957).
    DisplayFrom,
    /// What a client would show of the first To address.
    DisplayTo,
}

/// One criterion of a SORT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SortKey {
    /// By what.
    pub by: SortBy,
    /// Whether the largest comes first.
    pub reverse: bool,
}

/// What SORT and THREAD know of a message. Texts are in UTF-8, encoded words decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SortFacts {
    /// Which.
    pub uid: Uid,
    /// The internal date.
    pub arrived: UnixTime,
    /// The time of its Date field, or the internal date where there is none.
    pub sent: UnixTime,
    /// Its size.
    pub size_bytes: u64,
    /// The envelope, its subject and names decoded.
    pub envelope: Envelope,
    /// The message IDs of its References field, each as [`id_of`](crate::thread::id_of) gives it, the oldest first.
    pub references: Vec<u64>,
}

/// A message as it is compared: a value for each criterion.
#[derive(Debug)]
pub(crate) struct Row {
    /// Its position in the mailbox.
    pub(crate) position: usize,
    values: Vec<Value>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Value {
    Number(u64),
    Text(Box<str>),
}

impl Row {
    pub(crate) fn new(position: usize, facts: &SortFacts, keys: &[SortKey]) -> Self {
        let values = keys.iter().map(|key| value(facts, key.by)).collect();
        Row { position, values }
    }

    /// What it takes in memory, nearly.
    pub(crate) fn size_bytes(&self) -> usize {
        let texts = self.values.iter().map(|value| match value {
            Value::Number(_) => 0,
            Value::Text(text) => text.len(),
        });
        size_of::<Row>() + self.values.len() * size_of::<Value>() + texts.sum::<usize>()
    }
}

fn value(facts: &SortFacts, by: SortBy) -> Value {
    let envelope = &facts.envelope;
    match by {
        SortBy::Arrival => Value::Number(facts.arrived.as_secs()),
        SortBy::Date => Value::Number(facts.sent.as_secs()),
        SortBy::Size => Value::Number(facts.size_bytes),
        SortBy::Subject => {
            let subject = envelope.subject.as_deref().unwrap_or_default();
            Value::Text(collated(&BaseSubject::of(subject).text))
        }
        SortBy::Cc => Value::Text(collated(local_part(&envelope.cc))),
        SortBy::From => Value::Text(collated(local_part(&envelope.from))),
        SortBy::To => Value::Text(collated(local_part(&envelope.to))),
        SortBy::DisplayFrom => Value::Text(collated(&displayed(&envelope.from))),
        SortBy::DisplayTo => Value::Text(collated(&displayed(&envelope.to))),
    }
}

/// Puts the rows in order; those that are equal stay in the mailbox's.
pub(crate) fn sort(rows: &mut [Row], keys: &[SortKey]) {
    rows.sort_by(|a, b| {
        let compared = keys.iter().zip(a.values.iter().zip(&b.values));
        let mut order = compared.map(|(key, (a, b))| match key.reverse {
            true => Reverse(a).cmp(&Reverse(b)),
            false => a.cmp(b),
        });
        //= https://www.rfc-editor.org/rfc/rfc5256#section-3
        // REVERSE does not reverse the sequence number, by which equals are ordered.
        order
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
            .then(a.position.cmp(&b.position))
    });
}

/// `addr-mailbox` of the first address; the name of a group that comes first.
fn local_part(addresses: &[Address]) -> &str {
    match addresses.first() {
        Some(Address::Mailbox { local, .. }) => local,
        Some(Address::GroupStart(name)) => name,
        Some(Address::GroupEnd) | None => "",
    }
}

//= https://www.rfc-editor.org/rfc/rfc5957#section-3
fn displayed(addresses: &[Address]) -> String {
    match addresses.first() {
        Some(Address::Mailbox { name: Some(name), .. }) if !name.is_empty() => name.clone(),
        Some(Address::Mailbox { local, domain, .. }) if !domain.is_empty() => format!("{local}@{domain}"),
        _ => local_part(addresses).to_owned(),
    }
}

//= https://www.rfc-editor.org/rfc/rfc5051#section-2
/// A text as it is compared: in one case, accents apart from their letters; of a long one only the beginning.
pub(crate) fn collated(text: &str) -> Box<str> {
    let text = cut(text);
    if text.is_ascii() {
        return text.to_ascii_uppercase().into();
    }
    let upper = text.chars().map(|c| {
        let mut all = c.to_uppercase();
        // What becomes several letters stays as it is: a titlecase is one character.
        match (all.next(), all.next()) {
            (Some(one), None) => one,
            _ => c,
        }
    });
    upper.nfkd().collect::<String>().into()
}

/// The beginning that is looked at of a text.
fn cut(text: &str) -> &str {
    let mut end = text.len().min(limits::IMAP_SORT_KEY_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// A subject without what mail programs put around it (RFC 5256 §2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BaseSubject {
    pub(crate) text: String,
    /// Whether what was taken away says that it is a reply or was forwarded.
    pub(crate) is_reply: bool,
}

impl BaseSubject {
    //= https://www.rfc-editor.org/rfc/rfc5256#section-2.1
    pub(crate) fn of(subject: &str) -> Self {
        let mut spaced = String::with_capacity(subject.len().min(limits::IMAP_SORT_KEY_BYTES));
        for c in cut(subject).chars() {
            let c = if matches!(c, '\t' | '\r' | '\n') { ' ' } else { c };
            if c != ' ' || !spaced.ends_with(' ') {
                spaced.push(c);
            }
        }
        let (mut text, mut is_reply) = (spaced.as_str(), false);
        loop {
            text = without_trailers(text, &mut is_reply);
            text = without_leaders(text, &mut is_reply);
            match forwarded(text) {
                Some(inner) => (text, is_reply) = (inner, true),
                None => break,
            }
        }
        BaseSubject {
            text: text.to_owned(),
            is_reply,
        }
    }
}

fn without_trailers<'a>(mut text: &'a str, is_reply: &mut bool) -> &'a str {
    loop {
        text = text.trim_end_matches(' ');
        let at = text.len().wrapping_sub("(fwd)".len());
        match text.get(at..) {
            Some(end) if end.eq_ignore_ascii_case("(fwd)") => (text, *is_reply) = (&text[..at], true),
            _ => return text,
        }
    }
}

fn without_leaders<'a>(mut text: &'a str, is_reply: &mut bool) -> &'a str {
    loop {
        if let Some(rest) = text.strip_prefix(' ') {
            text = rest;
        } else if let Some(rest) = leader(text) {
            (text, *is_reply) = (rest, true);
        } else if let Some(rest) = blob(text).filter(|rest| !rest.is_empty()) {
            text = rest;
        } else {
            return text;
        }
    }
}

/// What follows `*subj-blob subj-refwd`.
fn leader(text: &str) -> Option<&str> {
    let mut rest = text;
    while let Some(after) = blob(rest) {
        rest = after;
    }
    let after = ["fwd", "re", "fw"]
        .into_iter()
        .find_map(|word| {
            let head = rest.get(..word.len())?;
            head.eq_ignore_ascii_case(word).then(|| &rest[word.len()..])
        })?
        .trim_start_matches(' ');
    blob(after).unwrap_or(after).strip_prefix(':')
}

/// What follows a `subj-blob`: something in brackets, and spaces.
fn blob(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('[')?;
    let end = inner.find(['[', ']'])?;
    let after = inner[end..].strip_prefix(']')?;
    Some(after.trim_start_matches(' '))
}

/// What stands within `[fwd: …]`.
fn forwarded(text: &str) -> Option<&str> {
    let head = text.get(.."[fwd:".len())?;
    let inner = head.eq_ignore_ascii_case("[fwd:").then(|| &text[head.len()..])?;
    inner.strip_suffix(']')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(subject: &str) -> (String, bool) {
        let BaseSubject { text, is_reply } = BaseSubject::of(subject);
        (text, is_reply)
    }

    #[test]
    fn the_base_subject_is_what_is_left_without_the_decoration() {
        for (subject, text, is_reply) in [
            ("lunch", "lunch", false),
            ("Re: lunch", "lunch", true),
            ("RE : [list] re: Fwd:  lunch (fwd) ", "lunch", true),
            ("[list] Re: lunch", "lunch", true),
            ("[list] lunch", "lunch", false),
            ("Re[2]: lunch", "lunch", true),
            ("[list]", "[list]", false),
            ("[a][b]", "[b]", false),
            ("[Fwd: Re: lunch]", "lunch", true),
            ("[fwd: lunch", "[fwd: lunch", false),
            ("Re: ", "", true),
            ("reply: lunch", "reply: lunch", false),
            ("Reh: x", "Reh: x", false),
            ("a\t\r\n  b", "a b", false),
            ("(fwd)", "", true),
            ("", "", false),
            ("ré: x", "ré: x", false),
            ("[a [b] c", "[a [b] c", false),
        ] {
            assert_eq!(base(subject), (text.to_owned(), is_reply), "{subject:?}");
        }
    }

    #[test]
    fn texts_are_compared_without_case_and_accents_come_behind_their_letter() {
        assert_eq!(collated("Abc"), collated("aBC"));
        assert_eq!(collated("ÉTÉ"), collated("été"));
        let mut words = ["f", "Énée", "e", "ez", "E"];
        words.sort_by_key(|w| collated(w));
        assert_eq!(words, ["e", "E", "ez", "Énée", "f"]);
        let long = "ü".repeat(limits::IMAP_SORT_KEY_BYTES);
        assert!(collated(&long).len() <= 2 * limits::IMAP_SORT_KEY_BYTES);
    }

    fn facts(uid: Uid, sent_s: u64, subject: &str, from: &str) -> SortFacts {
        SortFacts {
            uid,
            sent: UnixTime::from_secs(sent_s),
            envelope: Envelope {
                subject: Some(subject.into()),
                from: vec![Address::Mailbox {
                    name: None,
                    local: from.into(),
                    domain: "example.org".into(),
                }],
                ..Envelope::default()
            },
            ..SortFacts::default()
        }
    }

    #[test]
    fn equals_keep_the_mailboxs_order_also_in_reverse() {
        let all = [
            facts(1, 5, "b", "x"),
            facts(2, 9, "Re: a", "y"),
            facts(3, 1, "B", "y"),
        ];
        let order = |keys: &[SortKey]| {
            let mut rows: Vec<Row> = (all.iter().enumerate())
                .map(|(i, f)| Row::new(i, f, keys))
                .collect();
            sort(&mut rows, keys);
            rows.iter().map(|r| r.position + 1).collect::<Vec<_>>()
        };
        let key = |by, reverse| SortKey { by, reverse };
        assert_eq!(order(&[key(SortBy::Subject, false)]), [2, 1, 3]);
        assert_eq!(order(&[key(SortBy::Subject, true)]), [1, 3, 2]);
        assert_eq!(
            order(&[key(SortBy::Subject, false), key(SortBy::Date, false)]),
            [2, 3, 1]
        );
        assert_eq!(order(&[key(SortBy::From, true)]), [2, 3, 1]);
        assert_eq!(order(&[key(SortBy::Cc, true)]), [1, 2, 3]);
        assert_eq!(order(&[key(SortBy::Date, true)]), [2, 1, 3]);
    }

    #[test]
    fn a_name_is_displayed_where_there_is_one() {
        let address = |name: Option<&str>, local: &str, domain: &str| {
            displayed(&[Address::Mailbox {
                name: name.map(str::to_owned),
                local: local.into(),
                domain: domain.into(),
            }])
        };
        assert_eq!(address(Some("Zoe"), "a", "b"), "Zoe");
        assert_eq!(address(None, "a", "b"), "a@b");
        assert_eq!(address(Some(""), "root", ""), "root");
        assert_eq!(
            displayed(&[Address::GroupStart("All".into()), Address::GroupEnd]),
            "All"
        );
        assert_eq!(displayed(&[]), "");
    }
}
