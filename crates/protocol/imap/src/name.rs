//! Names of mailboxes, and patterns that match them.

use crate::utf7;
use std::borrow::Cow;
use std::fmt;
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// What separates the levels of a mailbox name.
pub const SEPARATOR: char = '/';

/// The name of a mailbox in UTF-8, levels separated by [`SEPARATOR`], in its one right spelling: `INBOX` in capitals as
/// the first level (RFC 3501 §5.1), no empty level, nothing that cannot be shown, and letters composed with their marks where
/// Unicode can (its form NFC; RFC 5198 §2), so that two programs that show the same name have the same mailbox.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MailboxName(Box<str>);

/// Why a text names no mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It is not modified UTF-7 in its one right spelling.
    #[error("a mailbox name is in modified UTF-7 (RFC 3501 section 5.1.3)")]
    Encoding,
    /// A level is empty, or is `.` or `..`.
    #[error("a level of the mailbox name is empty or a dot")]
    Level,
    /// It holds a control character.
    #[error("the mailbox name holds a control character")]
    Control,
    /// It is longer than [`MailboxName::MAX_BYTES`] or deeper than [`MailboxName::MAX_LEVELS`].
    #[error("the mailbox name is too long")]
    TooLong,
}

impl MailboxName {
    /// The longest name, in bytes of UTF-8.
    pub const MAX_BYTES: usize = 512;
    /// The deepest name.
    pub const MAX_LEVELS: usize = 16;

    /// From UTF-8.
    //= https://www.rfc-editor.org/rfc/rfc9051#section-5.1
    pub fn new(text: &str) -> Result<Self, NameError> {
        let text = &*composed(text);
        if text.len() > Self::MAX_BYTES || text.split(SEPARATOR).count() > Self::MAX_LEVELS {
            return Err(NameError::TooLong);
        }
        //= https://www.rfc-editor.org/rfc/rfc6855#section-3
        if text
            .chars()
            .any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}'))
        {
            return Err(NameError::Control);
        }
        if text
            .split(SEPARATOR)
            .any(|level| matches!(level, "" | "." | ".."))
        {
            return Err(NameError::Level);
        }
        //= https://www.rfc-editor.org/rfc/rfc3501#section-5.1
        // INBOX is the same name in any case.
        let first = text.split(SEPARATOR).next().unwrap_or_default();
        if first.eq_ignore_ascii_case("INBOX") {
            return Ok(MailboxName(format!("INBOX{}", &text[first.len()..]).into()));
        }
        Ok(MailboxName(text.into()))
    }

    /// From modified UTF-7, as IMAP4rev1 writes it.
    pub fn from_utf7(wire: &str) -> Result<Self, NameError> {
        Self::new(&utf7::decode(wire).ok_or(NameError::Encoding)?)
    }

    /// In modified UTF-7.
    pub fn to_utf7(&self) -> String {
        utf7::encode(&self.0)
    }

    /// The mailbox that every account has.
    pub fn inbox() -> Self {
        MailboxName("INBOX".into())
    }

    /// Whether it is [`MailboxName::inbox`].
    pub fn is_inbox(&self) -> bool {
        &*self.0 == "INBOX"
    }

    /// In UTF-8.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The mailbox one level up.
    pub fn parent(&self) -> Option<MailboxName> {
        self.0
            .rsplit_once(SEPARATOR)
            .map(|(parent, _)| MailboxName(parent.into()))
    }

    /// Whether it is below `other`, at any depth.
    pub fn is_below(&self, other: &MailboxName) -> bool {
        self.0
            .strip_prefix(&*other.0)
            .is_some_and(|rest| rest.starts_with(SEPARATOR))
    }
}

/// Whether text is in Unicode's form NFC already.
pub(crate) fn is_composed(text: &str) -> bool {
    // The quick look leaves some open, of which the answer is found by composing them.
    match is_nfc_quick(text.chars()) {
        IsNormalized::Yes => true,
        IsNormalized::No => false,
        IsNormalized::Maybe => text.nfc().eq(text.chars()),
    }
}

/// Text in Unicode's form NFC. What is longer than any name is left as it is.
pub(crate) fn composed(text: &str) -> Cow<'_, str> {
    match text.is_ascii() || text.len() > MailboxName::MAX_BYTES || is_composed(text) {
        true => Cow::Borrowed(text),
        false => Cow::Owned(text.nfc().collect()),
    }
}

impl fmt::Display for MailboxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A pattern of LIST and LSUB: `*` matches anything, `%` anything but the separator (RFC 3501 §6.3.8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(Box<str>);

impl Pattern {
    /// A pattern in UTF-8, of which at most [`MailboxName::MAX_BYTES`] count.
    pub fn new(text: &str) -> Self {
        //= https://www.rfc-editor.org/rfc/rfc3501#section-6.3.8
        // A first level that can only be INBOX is INBOX in any case.
        let text = &*composed(text);
        let first = text.split(SEPARATOR).next().unwrap_or_default();
        if first.eq_ignore_ascii_case("INBOX") {
            return Pattern(format!("INBOX{}", &text[first.len()..]).into());
        }
        Pattern(text.into())
    }

    /// The pattern as it was written, with INBOX in capitals.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `name` matches.
    pub fn matches(&self, name: &str) -> bool {
        if wild_match(self.0.as_bytes(), name.as_bytes()) {
            return true;
        }
        // `inb%` matches INBOX too: the name is equal in any case, so the pattern is tried against it in lower case.
        let inbox = name
            .strip_prefix("INBOX")
            .filter(|rest| rest.is_empty() || rest.starts_with(SEPARATOR));
        inbox.is_some_and(|rest| {
            let head = self.0.len().min("INBOX".len());
            let folded: Vec<u8> = (self.0.bytes().enumerate())
                .map(|(i, b)| if i < head { b.to_ascii_uppercase() } else { b })
                .collect();
            wild_match(&folded, [b"INBOX", rest.as_bytes()].concat().as_slice())
        })
    }
}

/// Walks every way through the pattern at once, so that no pattern takes longer than its length times the name's.
fn wild_match(pattern: &[u8], name: &[u8]) -> bool {
    // at[p]: what was read of the name can be matched by the first p bytes of the pattern.
    let mut at = vec![false; pattern.len() + 1];
    at[0] = true;
    for p in 0..pattern.len() {
        at[p + 1] = at[p] && matches!(pattern[p], b'*' | b'%');
    }
    let mut next = vec![false; at.len()];
    for c in name {
        next[0] = false;
        for (p, want) in pattern.iter().enumerate() {
            next[p + 1] = match want {
                b'*' => next[p] || at[p + 1],
                b'%' => next[p] || (at[p + 1] && *c != SEPARATOR as u8),
                _ => at[p] && want == c,
            };
        }
        std::mem::swap(&mut at, &mut next);
    }
    at[pattern.len()]
}

/// What a mailbox is for (RFC 6154 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SpecialUse {
    /// `\All`: every message of the account.
    All,
    /// `\Archive`
    Archive,
    /// `\Drafts`
    Drafts,
    /// `\Flagged`: every message that is marked.
    Flagged,
    /// `\Junk`
    Junk,
    /// `\Sent`
    Sent,
    /// `\Trash`
    Trash,
}

impl SpecialUse {
    /// All of them.
    pub const ALL: [SpecialUse; 7] = [
        SpecialUse::All,
        SpecialUse::Archive,
        SpecialUse::Drafts,
        SpecialUse::Flagged,
        SpecialUse::Junk,
        SpecialUse::Sent,
        SpecialUse::Trash,
    ];

    /// The attribute, as `\Sent`.
    pub const fn attribute(self) -> &'static str {
        match self {
            SpecialUse::All => "\\All",
            SpecialUse::Archive => "\\Archive",
            SpecialUse::Drafts => "\\Drafts",
            SpecialUse::Flagged => "\\Flagged",
            SpecialUse::Junk => "\\Junk",
            SpecialUse::Sent => "\\Sent",
            SpecialUse::Trash => "\\Trash",
        }
    }

    /// From the attribute, in any case.
    pub fn parse(attribute: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|u| u.attribute().eq_ignore_ascii_case(attribute))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inbox_is_one_name_in_any_case() {
        // Guards pitfall IMAP 10: INBOX in any case.
        for text in ["INBOX", "inbox", "InBoX"] {
            assert!(MailboxName::new(text).unwrap().is_inbox());
        }
        assert_eq!(MailboxName::new("inbox/Calls").unwrap().as_str(), "INBOX/Calls");
        assert_eq!(MailboxName::new("Work/inbox").unwrap().as_str(), "Work/inbox");
        assert_eq!(MailboxName::new("inboxes").unwrap().as_str(), "inboxes");
    }

    #[test]
    fn names_that_nobody_could_type_again_are_refused() {
        assert_eq!(MailboxName::new(""), Err(NameError::Level));
        assert_eq!(MailboxName::new("a//b"), Err(NameError::Level));
        assert_eq!(MailboxName::new("a/../b"), Err(NameError::Level));
        assert_eq!(MailboxName::new("/a"), Err(NameError::Level));
        assert_eq!(MailboxName::new("a\u{7}"), Err(NameError::Control));
        assert_eq!(MailboxName::new(&"x".repeat(513)), Err(NameError::TooLong));
        assert_eq!(MailboxName::new(&"x/".repeat(16)), Err(NameError::TooLong));
        assert_eq!(MailboxName::from_utf7("a&b"), Err(NameError::Encoding));
    }

    #[test]
    fn percent_stops_at_the_separator_and_star_does_not() {
        // Guards pitfall IMAP 10: hierarchy and `%`/`*`.
        let matching = |pattern: &str| -> Vec<&str> {
            let names = ["INBOX", "INBOX/a", "foo", "foo/bar", "foo/bar/zap", "foobar"];
            names
                .into_iter()
                .filter(|n| Pattern::new(pattern).matches(n))
                .collect()
        };
        assert_eq!(
            matching("*"),
            ["INBOX", "INBOX/a", "foo", "foo/bar", "foo/bar/zap", "foobar"]
        );
        assert_eq!(matching("%"), ["INBOX", "foo", "foobar"]);
        assert_eq!(matching("foo/%"), ["foo/bar"]);
        assert_eq!(matching("foo/*"), ["foo/bar", "foo/bar/zap"]);
        assert_eq!(matching("%/%"), ["INBOX/a", "foo/bar"]);
        assert_eq!(matching("f*r"), ["foo/bar", "foobar"]);
        assert_eq!(matching("f%r"), ["foobar"]);
        assert_eq!(matching("*%r/zap"), ["foo/bar/zap"]);
        assert_eq!(matching("inbox"), ["INBOX"]);
        assert_eq!(matching("inb%"), ["INBOX"]);
        assert_eq!(matching("FOO"), [""; 0]);
        assert_eq!(matching(""), [""; 0]);
    }

    #[test]
    fn a_hostile_pattern_takes_no_time() {
        let pattern = "*%a".repeat(150);
        assert!(!Pattern::new(&pattern).matches(&("a".repeat(511) + "b")));
    }

    #[test]
    fn below_is_at_any_depth_and_not_beside() {
        let name = |t| MailboxName::new(t).unwrap();
        assert!(name("a/b/c").is_below(&name("a")));
        assert!(!name("ab").is_below(&name("a")));
        assert!(!name("a").is_below(&name("a")));
        assert_eq!(name("a/b").parent(), Some(name("a")));
        assert_eq!(name("a").parent(), None);
    }
}
