use crate::name::{MailboxName, Pattern};
use crate::token::{Read, ReadError, Reader, at_most};
use crate::utf7;
use ringpost_base::limits;

/// LIST with its extensions (RFC 5258), or LSUB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListCommand {
    /// Whether LSUB asks, which has rules of its own (RFC 3501 §6.3.9).
    pub(crate) lsub: bool,
    /// Whether anything of RFC 5258 is in it.
    pub(crate) extended: bool,
    /// The reference with each pattern after it. An empty pattern asks for the separator only; one that could name
    /// nothing is left out.
    pub(crate) patterns: Vec<Pattern>,
    pub(crate) select: ListSelect,
    pub(crate) returns: ListReturn,
}

impl ListCommand {
    /// Whether a name matches one of the patterns.
    pub(crate) fn shows(&self, name: &MailboxName) -> bool {
        self.patterns.iter().any(|p| p.matches(name.as_str()))
    }
}

/// What narrows a LIST.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ListSelect {
    pub(crate) subscribed: bool,
    pub(crate) special_use: bool,
    pub(crate) recursive_match: bool,
}

/// What a LIST tells beyond its base.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ListReturn {
    pub(crate) subscribed: bool,
    /// What STATUS would tell of each mailbox (RFC 5819).
    pub(crate) status: Vec<StatusItem>,
}

/// A data item of STATUS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StatusItem {
    Messages,
    Recent,
    UidNext,
    UidValidity,
    Unseen,
    HighestModSeq,
    MailboxId,
    Size,
    AppendLimit,
    /// RFC 9208 §4.1.4.
    Deleted,
    DeletedStorage,
}

impl StatusItem {
    const ALL: [StatusItem; 11] = [
        StatusItem::Messages,
        StatusItem::Recent,
        StatusItem::UidNext,
        StatusItem::UidValidity,
        StatusItem::Unseen,
        StatusItem::HighestModSeq,
        StatusItem::MailboxId,
        StatusItem::Size,
        StatusItem::AppendLimit,
        StatusItem::Deleted,
        StatusItem::DeletedStorage,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            StatusItem::Messages => "MESSAGES",
            StatusItem::Recent => "RECENT",
            StatusItem::UidNext => "UIDNEXT",
            StatusItem::UidValidity => "UIDVALIDITY",
            StatusItem::Unseen => "UNSEEN",
            StatusItem::HighestModSeq => "HIGHESTMODSEQ",
            StatusItem::MailboxId => "MAILBOXID",
            StatusItem::Size => "SIZE",
            StatusItem::AppendLimit => "APPENDLIMIT",
            StatusItem::Deleted => "DELETED",
            StatusItem::DeletedStorage => "DELETED-STORAGE",
        }
    }
}

pub(super) fn read_status_items(r: &mut Reader<'_>) -> Read<Vec<StatusItem>> {
    let mut items = Vec::new();
    r.list(false, |r| {
        let start = r.position();
        let name = r.word("a status item")?;
        let item = StatusItem::ALL
            .into_iter()
            .find(|i| i.name().eq_ignore_ascii_case(name));
        let item = item.ok_or(ReadError::Syntax {
            expected: "a status item",
            at: start,
        })?;
        if !items.contains(&item) {
            items.push(item);
        }
        Ok(())
    })?;
    Ok(items)
}

pub(super) fn read_lsub(r: &mut Reader<'_>) -> Read<ListCommand> {
    let reference = r.text()?;
    r.space()?;
    let pattern = r.list_mailbox()?;
    Ok(ListCommand {
        lsub: true,
        extended: false,
        patterns: pattern_after(r, &reference, &pattern).into_iter().collect(),
        select: ListSelect {
            subscribed: true,
            ..ListSelect::default()
        },
        returns: ListReturn::default(),
    })
}

//= https://www.rfc-editor.org/rfc/rfc5258#section-6
pub(super) fn read_list(r: &mut Reader<'_>) -> Read<ListCommand> {
    let mut select = ListSelect::default();
    let mut extended = r.peek() == Some(b'(');
    if extended {
        r.list(true, |r| read_select_option(r, &mut select))?;
        // RECURSIVEMATCH alone selects nothing (RFC 5258 §3).
        if select.recursive_match && !select.subscribed && !select.special_use {
            return r.fail("an option beside RECURSIVEMATCH");
        }
        r.space()?;
    }
    let reference = r.text()?;
    r.space()?;
    let mut patterns = Vec::new();
    if r.peek() == Some(b'(') {
        extended = true;
        r.list(false, |r| {
            patterns.push(r.list_mailbox()?);
            at_most(patterns.len(), limits::IMAP_LIST_PATTERNS, "patterns")
        })?;
    } else {
        patterns.push(r.list_mailbox()?);
    }
    let mut returns = ListReturn::default();
    if r.take(b' ') {
        extended = true;
        if !r.atom("RETURN")?.eq_ignore_ascii_case("RETURN") {
            return r.fail("RETURN");
        }
        r.space()?;
        r.list(true, |r| read_return_option(r, &mut returns))?;
    }
    let patterns = patterns
        .iter()
        //= https://www.rfc-editor.org/rfc/rfc5258#section-3
        // Only the plain LIST asks for the separator with an empty pattern.
        .filter(|p| !(extended && p.is_empty()))
        .filter_map(|p| pattern_after(r, &reference, p))
        .collect();
    Ok(ListCommand {
        lsub: false,
        extended,
        patterns,
        select,
        returns,
    })
}

fn read_select_option(r: &mut Reader<'_>, select: &mut ListSelect) -> Read<()> {
    let start = r.position();
    match r.word("a selection option")?.to_ascii_uppercase().as_str() {
        "SUBSCRIBED" => select.subscribed = true,
        "SPECIAL-USE" => select.special_use = true,
        "RECURSIVEMATCH" => select.recursive_match = true,
        // There are no mailboxes elsewhere.
        "REMOTE" => {}
        _ => {
            return Err(ReadError::Syntax {
                expected: "a selection option",
                at: start,
            });
        }
    }
    Ok(())
}

fn read_return_option(r: &mut Reader<'_>, returns: &mut ListReturn) -> Read<()> {
    let start = r.position();
    match r.word("a return option")?.to_ascii_uppercase().as_str() {
        "SUBSCRIBED" => returns.subscribed = true,
        //= https://www.rfc-editor.org/rfc/rfc5819#section-4
        "STATUS" => {
            r.space()?;
            returns.status = read_status_items(r)?;
        }
        // Both are always told.
        "CHILDREN" | "SPECIAL-USE" => {}
        _ => {
            return Err(ReadError::Syntax {
                expected: "a return option",
                at: start,
            });
        }
    }
    Ok(())
}

/// The pattern that is meant; `None` for one that matches nothing, be it that its modified UTF-7 is wrong.
fn pattern_after(r: &Reader<'_>, reference: &str, pattern: &str) -> Option<Pattern> {
    if pattern.is_empty() {
        return Some(Pattern::new(""));
    }
    let whole = format!("{reference}{pattern}");
    let whole = if r.dialect().utf8 {
        whole
    } else {
        utf7::decode(&whole)?
    };
    (whole.len() <= crate::MailboxName::MAX_BYTES).then(|| Pattern::new(&whole))
}
