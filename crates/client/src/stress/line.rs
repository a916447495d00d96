//! A server's line, as far as a [`Stress`](super::Stress) reads it. No literals come, since no bodies are fetched.

use std::collections::BTreeSet;

/// A line.
pub(super) enum Line<'a> {
    /// `+`
    Go,
    Untagged(&'a str),
    Tagged {
        tag: &'a str,
        ok: bool,
        text: &'a str,
    },
}

impl<'a> Line<'a> {
    pub(super) fn parse(text: &'a str) -> Self {
        if text.starts_with("+ ") {
            return Line::Go;
        }
        match text.split_once(' ') {
            Some(("*", line)) => Line::Untagged(line),
            Some((tag, rest)) => Line::Tagged {
                tag,
                ok: rest.starts_with("OK"),
                text: rest,
            },
            None => Line::Untagged(text),
        }
    }
}

/// What stands behind `name` in the response code.
pub(super) fn code<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let inner = text.split_once('[')?.1.split_once(']')?.0;
    inner.strip_prefix(name)
}

/// What a line says that IMAP4rev2 does not know.
pub(super) fn first_revision(line: &str) -> Option<&'static str> {
    let words = ["SEARCH", "RECENT", "\\Recent", "[UNSEEN"];
    let is_it = |word: &&str| line.split([' ', '(', ')']).any(|w| w == *word);
    words.into_iter().find(|word| is_it(word))
}

/// The numbers of a set.
pub(super) fn numbers(set: &str) -> Option<Vec<u32>> {
    let mut out = Vec::new();
    for range in set.split(',') {
        let (low, high) = range.split_once(':').unwrap_or((range, range));
        out.extend(low.parse::<u32>().ok()?..=high.parse().ok()?);
    }
    Some(out)
}

/// The UIDs that APPENDUID or COPYUID names as new.
pub(super) fn uids_added(text: &str) -> Vec<u32> {
    let set = code(text, "APPENDUID ").or(code(text, "COPYUID "));
    let set = set.and_then(|set| set.rsplit(' ').next());
    set.and_then(numbers).unwrap_or_default()
}

/// What a FETCH tells.
#[derive(Debug, Default)]
pub(super) struct Fetched {
    pub(super) uid: Option<u32>,
    /// Sorted, without `\Recent`.
    pub(super) flags: Option<String>,
    pub(super) modseq: Option<u64>,
}

impl Fetched {
    pub(super) fn parse(items: &str) -> Option<Fetched> {
        let mut rest = items.strip_prefix('(')?.strip_suffix(')')?;
        let mut fetched = Fetched::default();
        while !rest.is_empty() {
            let (name, after) = rest.split_once(' ')?;
            let (value, after) = match after.strip_prefix('(') {
                Some(list) => list.split_once(')')?,
                None => after.split_at(after.find(' ').unwrap_or(after.len())),
            };
            match name {
                "UID" => fetched.uid = Some(value.parse().ok()?),
                "MODSEQ" => fetched.modseq = Some(value.parse().ok()?),
                "FLAGS" => {
                    let flags: BTreeSet<&str> =
                        value.split_whitespace().filter(|f| *f != "\\Recent").collect();
                    fetched.flags = Some(flags.into_iter().collect::<Vec<_>>().join(" "));
                }
                _ => return None,
            }
            rest = after.trim_start();
        }
        Some(fetched)
    }
}
