//! What can be turned off for an account whose programs break it: it is neither told nor carried out.

use super::Session;
use crate::command::{Command, FetchItem, StatusItem};
use crate::search::SearchKey;
use crate::sequence::SequenceSet;
use crate::sort::SortBy;
use crate::thread::ThreadBy;

/// The capabilities that can be turned off for an account, each by its name; by that of its family (`THREAD`) all of it.
/// What all programs are told of before anybody has logged in cannot be.
pub const SWITCHES: [&str; 28] = [
    "IMAP4rev2",
    "ENABLE",
    "IDLE",
    "NAMESPACE",
    "UNSELECT",
    "UIDPLUS",
    "MOVE",
    "CONDSTORE",
    "QRESYNC",
    "ESEARCH",
    "SEARCHRES",
    "LIST-EXTENDED",
    "LIST-STATUS",
    "SPECIAL-USE",
    "CREATE-SPECIAL-USE",
    "SORT",
    "SORT=DISPLAY",
    "THREAD=ORDEREDSUBJECT",
    "THREAD=REFERENCES",
    "COMPRESS=DEFLATE",
    "BINARY",
    "PREVIEW",
    "UTF8=ACCEPT",
    "OBJECTID",
    "WITHIN",
    "SAVEDATE",
    "STATUS=SIZE",
    "MULTIAPPEND",
];
/// The same for those of which only the whole family can be.
const FAMILIES: [&str; 2] = ["QUOTA", "APPENDLIMIT"];

/// What a capability is nothing without: it is off with any of these.
const NEEDED: [(&str, &[&str]); 6] = [
    //= https://www.rfc-editor.org/rfc/rfc7162#section-3.2.3
    ("QRESYNC", &["CONDSTORE", "ENABLE"]),
    //= https://www.rfc-editor.org/rfc/rfc6855#section-3
    ("UTF8=ACCEPT", &["ENABLE"]),
    //= https://www.rfc-editor.org/rfc/rfc5182#section-2
    ("SEARCHRES", &["ESEARCH"]),
    //= https://www.rfc-editor.org/rfc/rfc5819#section-2
    ("LIST-STATUS", &["LIST-EXTENDED"]),
    //= https://www.rfc-editor.org/rfc/rfc6154#section-3
    ("CREATE-SPECIAL-USE", &["SPECIAL-USE"]),
    //= https://www.rfc-editor.org/rfc/rfc9051#appendix-E
    (
        "IMAP4rev2",
        &[
            "ENABLE",
            "IDLE",
            "NAMESPACE",
            "UNSELECT",
            "UIDPLUS",
            "MOVE",
            "ESEARCH",
            "SEARCHRES",
            "LIST-EXTENDED",
            "LIST-STATUS",
            "SPECIAL-USE",
            "BINARY",
            "STATUS=SIZE",
        ],
    ),
];

fn family(capability: &str) -> &str {
    capability.split('=').next().unwrap_or_default()
}

/// Whether an account can be without a capability, or a family of them, of this name.
pub fn is_switch(name: &str) -> bool {
    let all = SWITCHES.iter().chain(&FAMILIES);
    let mut names = all.flat_map(|one| [*one, family(one)]);
    names.any(|one| one.eq_ignore_ascii_case(name))
}

impl Session {
    /// Whether a capability is turned off for the account: by its name, by that of its family, or by that of another that it
    /// is nothing without.
    pub(super) fn is_without(&self, capability: &str) -> bool {
        let is_off = |capability: &str| {
            self.without.iter().any(|name| {
                name.eq_ignore_ascii_case(capability) || name.eq_ignore_ascii_case(family(capability))
            })
        };
        let needed = NEEDED.iter().filter(|(name, _)| *name == capability);
        is_off(capability) || needed.flat_map(|(_, needed)| *needed).any(|name| is_off(name))
    }

    /// A capability that the command takes and that is turned off.
    pub(super) fn lacks(&self, command: &Command) -> Option<&'static str> {
        if self.without.is_empty() {
            return None;
        }
        taken_by(command).into_iter().find(|name| self.is_without(name))
    }
}

/// The capabilities that a command takes, of those that can be turned off.
fn taken_by(command: &Command) -> Vec<&'static str> {
    let mut taken = Vec::new();
    let mut take = |is_taken: bool, name: &'static str| taken.extend(is_taken.then_some(name));
    match command {
        Command::Enable(_) => take(true, "ENABLE"),
        Command::Idle => take(true, "IDLE"),
        Command::Compress => take(true, "COMPRESS=DEFLATE"),
        Command::Namespace => take(true, "NAMESPACE"),
        Command::Unselect => take(true, "UNSELECT"),
        Command::GetQuota(_) | Command::GetQuotaRoot(_) | Command::SetQuota => take(true, "QUOTA"),
        Command::Select { params, .. } => {
            take(params.condstore, "CONDSTORE");
            take(params.resync.is_some(), "QRESYNC");
        }
        Command::Create { special_use, .. } => take(special_use.is_some(), "CREATE-SPECIAL-USE"),
        Command::List(list) => {
            take(list.select.special_use, "SPECIAL-USE");
            take(!list.returns.status.is_empty(), "LIST-STATUS");
            take(list.extended, "LIST-EXTENDED");
            taken.extend(list.returns.status.iter().filter_map(status_item));
        }
        Command::Status { items, .. } => taken.extend(items.iter().filter_map(status_item)),
        Command::Expunge { uids } => {
            take(uids.is_some(), "UIDPLUS");
            take(uids.as_ref().is_some_and(SequenceSet::is_saved), "SEARCHRES");
        }
        Command::Search { key, returns, .. } => {
            take(returns.is_some(), "ESEARCH");
            take(returns.is_some_and(|returns| returns.save), "SEARCHRES");
            taken.extend(search_key(key));
        }
        Command::Sort { keys, key, .. } => {
            let by_display = |by| matches!(by, SortBy::DisplayFrom | SortBy::DisplayTo);
            take(true, "SORT");
            take(keys.iter().any(|key| by_display(key.by)), "SORT=DISPLAY");
            taken.extend(search_key(key));
        }
        Command::Thread { by, key, .. } => {
            let name = match by {
                ThreadBy::OrderedSubject => "THREAD=ORDEREDSUBJECT",
                ThreadBy::References => "THREAD=REFERENCES",
            };
            take(true, name);
            taken.extend(search_key(key));
        }
        Command::Fetch {
            set, items, changed, ..
        } => {
            take(set.is_saved(), "SEARCHRES");
            take(changed.is_some_and(|changed| changed.vanished), "QRESYNC");
            take(changed.is_some(), "CONDSTORE");
            taken.extend(items.iter().filter_map(fetch_item));
        }
        Command::Store {
            set, unchanged_since, ..
        } => {
            take(set.is_saved(), "SEARCHRES");
            take(unchanged_since.is_some(), "CONDSTORE");
        }
        Command::Copy { set, .. } => take(set.is_saved(), "SEARCHRES"),
        Command::Move { set, .. } => {
            take(true, "MOVE");
            take(set.is_saved(), "SEARCHRES");
        }
        _ => {}
    }
    taken
}

fn status_item(item: &StatusItem) -> Option<&'static str> {
    match item {
        StatusItem::HighestModSeq => Some("CONDSTORE"),
        StatusItem::MailboxId => Some("OBJECTID"),
        StatusItem::DeletedStorage => Some("QUOTA"),
        StatusItem::Size => Some("STATUS=SIZE"),
        StatusItem::AppendLimit => Some("APPENDLIMIT"),
        _ => None,
    }
}

fn fetch_item(item: &FetchItem) -> Option<&'static str> {
    match item {
        FetchItem::ModSeq => Some("CONDSTORE"),
        FetchItem::EmailId | FetchItem::ThreadId => Some("OBJECTID"),
        FetchItem::Binary(_) | FetchItem::BinarySize(_) => Some("BINARY"),
        FetchItem::Preview => Some("PREVIEW"),
        FetchItem::SaveDate => Some("SAVEDATE"),
        _ => None,
    }
}

fn search_key(key: &SearchKey) -> Vec<&'static str> {
    type Test = fn(&SearchKey) -> bool;
    let tests: [(Test, &str); 5] = [
        (|key| matches!(key, SearchKey::ModSeq(_)), "CONDSTORE"),
        (|key| matches!(key, SearchKey::Saved(..)), "SAVEDATE"),
        (
            |key| matches!(key, SearchKey::Older(_) | SearchKey::Younger(_)),
            "WITHIN",
        ),
        (
            |key| matches!(key, SearchKey::EmailId(_) | SearchKey::ThreadId(_)),
            "OBJECTID",
        ),
        (
            |key| matches!(key, SearchKey::Numbers(set) | SearchKey::Uids(set) if set.is_saved()),
            "SEARCHRES",
        ),
    ];
    let taken = tests.into_iter().filter(|(test, _)| key.any(*test));
    taken.map(|(_, name)| name).collect()
}
