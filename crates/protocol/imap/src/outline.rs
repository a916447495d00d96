//! What the parser makes of a command, put so that another parser's reading can be held against it.

use crate::command::{Command, read};
use crate::name::MailboxName;
use crate::sequence::SequenceSet;
use crate::token::{Dialect, ReadError};

/// Numbers that are looked for in sets, with [`LAST`] being `*`.
pub const PROBES: [u32; 8] = [1, 2, 3, 9, 10, 11, 4_294_967_294, u32::MAX];
/// The last message of the mailbox that sets are resolved in.
pub const LAST: u32 = 10;

/// A command by what two parsers can agree on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outline {
    /// In capitals.
    pub name: String,
    /// Whether UID stands before it.
    pub uid: bool,
    /// Which of [`PROBES`] are in its set.
    pub numbers: Vec<u32>,
    /// Names and strings, as UTF-8; mailboxes in modified UTF-7.
    pub words: Vec<String>,
    /// Flags in capitals, sorted, with the sign of STORE before them.
    pub flags: Vec<String>,
    /// Fetch items or status items.
    pub items: usize,
}

/// What became of the bytes of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// A command.
    Command(Outline),
    /// A literal of so many bytes is to come.
    Literal(u64),
    /// It is none.
    Refused(Refused),
}

/// Why bytes are no command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Something else was expected.
    Syntax,
    /// There is more of something than is taken.
    TooMany,
    /// A mailbox name that is none.
    Name,
    /// A charset that is not known.
    Charset,
}

/// Reads a command of IMAP4rev1 with its literals in their places, without its last CRLF unless that announces a literal.
pub fn outline(bytes: &[u8]) -> Reading {
    match read(bytes, Dialect::default()).1 {
        Ok(Command::Append(append)) => Reading::Literal(append.next.message.size_bytes),
        Ok(command) => Reading::Command(of(&command)),
        Err(ReadError::Literal(announced)) => Reading::Literal(announced.size_bytes),
        Err(error) => Reading::Refused(match error {
            ReadError::TooMany { .. } => Refused::TooMany,
            ReadError::Name(_) => Refused::Name,
            ReadError::Charset => Refused::Charset,
            ReadError::Syntax { .. } | ReadError::Literal(_) => Refused::Syntax,
        }),
    }
}

fn named(name: &str) -> Outline {
    Outline {
        name: name.into(),
        ..Outline::default()
    }
}

fn with_words<const N: usize>(name: &str, words: [String; N]) -> Outline {
    Outline {
        words: words.into(),
        ..named(name)
    }
}

fn with_set(name: &str, uid: bool, set: &SequenceSet) -> Outline {
    let numbers = PROBES.into_iter().filter(|n| set.contains(*n, LAST));
    Outline {
        uid,
        numbers: numbers.collect(),
        ..named(name)
    }
}

fn of(command: &Command) -> Outline {
    let one = |name: &str, mailbox: &MailboxName| with_words(name, [mailbox.to_utf7()]);
    match command {
        Command::Capability => named("CAPABILITY"),
        Command::Noop => named("NOOP"),
        Command::Logout => named("LOGOUT"),
        Command::Id => named("ID"),
        Command::Enable(_) => named("ENABLE"),
        Command::StartTls => named("STARTTLS"),
        Command::Login { user, password } => with_words("LOGIN", [user.clone(), password.clone()]),
        Command::Authenticate { .. } => named("AUTHENTICATE"),
        Command::Select {
            name,
            read_only: true,
            ..
        } => one("EXAMINE", name),
        Command::Select { name, .. } => one("SELECT", name),
        Command::Create { name, .. } => one("CREATE", name),
        Command::Delete(name) => one("DELETE", name),
        Command::Rename { from, to } => with_words("RENAME", [from.to_utf7(), to.to_utf7()]),
        Command::Subscribe {
            name,
            subscribed: true,
        } => one("SUBSCRIBE", name),
        Command::Subscribe { name, .. } => one("UNSUBSCRIBE", name),
        Command::List(list) if list.lsub => named("LSUB"),
        Command::List(_) => named("LIST"),
        Command::Namespace => named("NAMESPACE"),
        Command::Compress => named("COMPRESS"),
        Command::Status { name, items } => Outline {
            items: items.len(),
            ..one("STATUS", name)
        },
        Command::GetQuota(root) => with_words("GETQUOTA", [root.clone()]),
        Command::GetQuotaRoot(name) => one("GETQUOTAROOT", name),
        Command::SetQuota => named("SETQUOTA"),
        Command::Append(_) => named("APPEND"),
        Command::Idle => named("IDLE"),
        Command::Check => named("CHECK"),
        Command::Close => named("CLOSE"),
        Command::Unselect => named("UNSELECT"),
        Command::Expunge { uids: None } => named("EXPUNGE"),
        Command::Expunge { uids: Some(set) } => with_set("EXPUNGE", true, set),
        Command::Search { uid, .. } => Outline {
            uid: *uid,
            ..named("SEARCH")
        },
        Command::Sort { uid, .. } => Outline {
            uid: *uid,
            ..named("SORT")
        },
        Command::Thread { uid, .. } => Outline {
            uid: *uid,
            ..named("THREAD")
        },
        Command::Fetch { uid, set, items, .. } => Outline {
            items: items.len(),
            ..with_set("FETCH", *uid, set)
        },
        Command::Store {
            uid,
            set,
            silent,
            change,
            ..
        } => store(*uid, set, *silent, change),
        Command::Copy { uid, set, to } => Outline {
            words: vec![to.to_utf7()],
            ..with_set("COPY", *uid, set)
        },
        Command::Move { uid, set, to } => Outline {
            words: vec![to.to_utf7()],
            ..with_set("MOVE", *uid, set)
        },
    }
}

fn store(uid: bool, set: &SequenceSet, silent: bool, change: &crate::FlagChange) -> Outline {
    let (sign, flags) = match change {
        crate::FlagChange::Add(flags) => ("+", flags),
        crate::FlagChange::Remove(flags) => ("-", flags),
        crate::FlagChange::Replace(flags) => ("", flags),
    };
    let mut all: Vec<String> = flags
        .to_string()
        .split_whitespace()
        .map(str::to_ascii_uppercase)
        .collect();
    all.sort();
    all.dedup();
    all.insert(0, format!("{sign}FLAGS{}", if silent { ".SILENT" } else { "" }));
    Outline {
        flags: all,
        ..with_set("STORE", uid, set)
    }
}
