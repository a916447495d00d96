//! The commands, read from their bytes.

mod fetch;
mod list;
mod search;
mod sort;
mod sync;
#[cfg(test)]
mod tests;

pub(crate) use fetch::{BinaryItem, BodyItem, FetchItem};
pub(crate) use list::{ListCommand, ListReturn, ListSelect, StatusItem};
pub(crate) use search::{CHARSETS, SearchReturn, saves};
pub(crate) use sync::{ChangedSince, Resync, SelectParams};

use crate::flag::{FlagChange, Flags};
use crate::name::{MailboxName, SpecialUse};
use crate::search::SearchKey;
use crate::sequence::SequenceSet;
use crate::sort::SortKey;
use crate::thread::ThreadBy;
use crate::token::{Announced, Dialect, Read, ReadError, Reader, Respelt};
use ringpost_base::UnixTime;

/// A command with its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Capability,
    Noop,
    Logout,
    Id,
    Enable(Vec<String>),
    StartTls,
    Login {
        user: String,
        password: String,
    },
    Authenticate {
        mechanism: String,
        /// In base64, or `=` for an empty one (RFC 4959 §3).
        initial: Option<String>,
    },
    Select {
        name: MailboxName,
        read_only: bool,
        params: SelectParams,
    },
    Create {
        name: MailboxName,
        special_use: Option<SpecialUse>,
    },
    Delete(MailboxName),
    Rename {
        from: MailboxName,
        to: MailboxName,
    },
    Subscribe {
        name: MailboxName,
        subscribed: bool,
    },
    List(ListCommand),
    Namespace,
    /// COMPRESS=DEFLATE (RFC 4978).
    Compress,
    Status {
        name: MailboxName,
        items: Vec<StatusItem>,
    },
    /// GETQUOTA of a root.
    GetQuota(String),
    GetQuotaRoot(MailboxName),
    SetQuota,
    Append(Append),
    Idle,
    Check,
    Close,
    Unselect,
    Expunge {
        uids: Option<SequenceSet>,
    },
    Search {
        uid: bool,
        key: SearchKey,
        returns: Option<SearchReturn>,
    },
    Sort {
        uid: bool,
        keys: Vec<SortKey>,
        key: SearchKey,
    },
    Thread {
        uid: bool,
        by: ThreadBy,
        key: SearchKey,
    },
    Fetch {
        uid: bool,
        set: SequenceSet,
        items: Vec<FetchItem>,
        changed: Option<ChangedSince>,
    },
    Store {
        uid: bool,
        set: SequenceSet,
        silent: bool,
        change: FlagChange,
        /// UNCHANGEDSINCE (RFC 7162 §3.1.3).
        unchanged_since: Option<u64>,
    },
    Copy {
        uid: bool,
        set: SequenceSet,
        to: MailboxName,
    },
    Move {
        uid: bool,
        set: SequenceSet,
        to: MailboxName,
    },
}

/// APPEND up to its first message, which is to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Append {
    pub(crate) to: MailboxName,
    pub(crate) next: AppendMessage,
}

/// A message of APPEND up to its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AppendMessage {
    pub(crate) flags: Flags,
    pub(crate) date: Option<UnixTime>,
    pub(crate) message: Announced,
    /// Whether it comes as `UTF8 (~{…})` (RFC 6855 §4), of which the closing parenthesis is still to come.
    pub(crate) utf8: bool,
}

/// Reads the tag and the command. The tag is there also when the command could not be read.
pub(crate) fn read(bytes: &[u8], dialect: Dialect) -> (Option<&str>, Read<Command>) {
    let (tag, command, _) = read_respelt(bytes, dialect);
    (tag, command)
}

/// The same, with the names in it that were not written as they are kept.
pub(crate) fn read_respelt(bytes: &[u8], dialect: Dialect) -> (Option<&str>, Read<Command>, Vec<Respelt>) {
    let mut reader = Reader::new(bytes).with_dialect(dialect);
    match reader.tag() {
        Ok(tag) => {
            let command = reader.space().and_then(|()| read_command(&mut reader));
            (Some(tag), command, reader.take_respelt())
        }
        Err(error) => (None, Err(error), Vec::new()),
    }
}

fn read_command(r: &mut Reader<'_>) -> Read<Command> {
    let start = r.position();
    let name = r.word("a command")?.to_ascii_uppercase();
    let command = match name.as_str() {
        "CAPABILITY" => Command::Capability,
        "NOOP" => Command::Noop,
        "LOGOUT" => Command::Logout,
        "STARTTLS" => Command::StartTls,
        "NAMESPACE" => Command::Namespace,
        "IDLE" => Command::Idle,
        "CHECK" => Command::Check,
        "CLOSE" => Command::Close,
        "UNSELECT" => Command::Unselect,
        "EXPUNGE" => Command::Expunge { uids: None },
        _ => {
            r.space().or_else(|_| unknown_or(start, &name, r))?;
            read_arguments(r, start, &name)?
        }
    };
    // The message that ends APPEND is not read here.
    if !matches!(command, Command::Append(_)) {
        r.end()?;
    }
    Ok(command)
}

fn read_arguments(r: &mut Reader<'_>, start: usize, name: &str) -> Read<Command> {
    Ok(match name {
        "ID" => read_id(r)?,
        "ENABLE" => Command::Enable(words(r)?),
        //= https://www.rfc-editor.org/rfc/rfc4978#section-5
        "COMPRESS" => match r.atom("DEFLATE")? {
            word if word.eq_ignore_ascii_case("DEFLATE") => Command::Compress,
            _ => return r.fail("DEFLATE"),
        },
        "LOGIN" => {
            let user = r.text()?;
            r.space()?;
            Command::Login {
                user,
                password: r.text()?,
            }
        }
        "AUTHENTICATE" => {
            let mechanism = r.atom("a mechanism")?.to_owned();
            let initial = if r.take(b' ') {
                Some(read_base64(r)?.to_owned())
            } else {
                None
            };
            Command::Authenticate { mechanism, initial }
        }
        "SELECT" | "EXAMINE" => Command::Select {
            name: r.mailbox()?,
            read_only: name == "EXAMINE",
            params: sync::read_select_params(r)?,
        },
        "CREATE" => read_create(r)?,
        "DELETE" => Command::Delete(r.mailbox()?),
        "RENAME" => {
            let from = r.mailbox()?;
            r.space()?;
            Command::Rename {
                from,
                to: r.mailbox()?,
            }
        }
        "SUBSCRIBE" => Command::Subscribe {
            name: r.mailbox()?,
            subscribed: true,
        },
        "UNSUBSCRIBE" => Command::Subscribe {
            name: r.mailbox()?,
            subscribed: false,
        },
        "LIST" => Command::List(list::read_list(r)?),
        "LSUB" => Command::List(list::read_lsub(r)?),
        "STATUS" => {
            let name = r.mailbox()?;
            r.space()?;
            Command::Status {
                name,
                items: list::read_status_items(r)?,
            }
        }
        "GETQUOTA" => Command::GetQuota(r.text()?),
        "GETQUOTAROOT" => Command::GetQuotaRoot(r.mailbox()?),
        "SETQUOTA" => read_set_quota(r)?,
        "APPEND" => read_append(r)?,
        "UID" => read_uid(r)?,
        _ => read_message_command(r, start, name, false)?,
    })
}

/// The commands that UID changes (RFC 3501 §6.4.8).
fn read_uid(r: &mut Reader<'_>) -> Read<Command> {
    let start = r.position();
    let name = r
        .word("COPY, EXPUNGE, FETCH, MOVE, SEARCH, SORT, STORE or THREAD")?
        .to_ascii_uppercase();
    r.space()?;
    match name.as_str() {
        //= https://www.rfc-editor.org/rfc/rfc4315#section-2.1
        "EXPUNGE" => Ok(Command::Expunge {
            uids: Some(r.sequence_set()?),
        }),
        _ => read_message_command(r, start, &name, true),
    }
}

fn read_message_command(r: &mut Reader<'_>, start: usize, name: &str, uid: bool) -> Read<Command> {
    match name {
        "SEARCH" => {
            let returns = search::read_return(r)?;
            return Ok(Command::Search {
                uid,
                key: search::read_search(r)?,
                returns,
            });
        }
        "SORT" => return sort::read_sort(r, uid),
        "THREAD" => return sort::read_thread(r, uid),
        "FETCH" | "STORE" | "COPY" | "MOVE" => {}
        _ => {
            return Err(ReadError::Syntax {
                expected: "a command",
                at: start,
            });
        }
    }
    let set = r.sequence_set()?;
    r.space()?;
    Ok(match name {
        "FETCH" => {
            let mut items = fetch::read_items(r)?;
            let changed = sync::read_fetch_modifiers(r, uid, &mut items)?;
            Command::Fetch {
                uid,
                set,
                items,
                changed,
            }
        }
        "STORE" => {
            let unchanged_since = sync::read_store_modifiers(r)?;
            let (silent, change) = read_store(r)?;
            Command::Store {
                uid,
                set,
                silent,
                change,
                unchanged_since,
            }
        }
        "COPY" => Command::Copy {
            uid,
            set,
            to: r.mailbox()?,
        },
        //= https://www.rfc-editor.org/rfc/rfc6851#section-3.1
        _ => Command::Move {
            uid,
            set,
            to: r.mailbox()?,
        },
    })
}

/// What to say of a command without arguments: that they are missing, if there is such a command.
fn unknown_or(start: usize, name: &str, r: &Reader<'_>) -> Read<()> {
    const WITH_ARGUMENTS: [&str; 27] = [
        "ID",
        "ENABLE",
        "COMPRESS",
        "LOGIN",
        "AUTHENTICATE",
        "SELECT",
        "EXAMINE",
        "CREATE",
        "DELETE",
        "RENAME",
        "SUBSCRIBE",
        "UNSUBSCRIBE",
        "LIST",
        "LSUB",
        "STATUS",
        "GETQUOTA",
        "GETQUOTAROOT",
        "SETQUOTA",
        "APPEND",
        "UID",
        "SEARCH",
        "SORT",
        "THREAD",
        "FETCH",
        "STORE",
        "COPY",
        "MOVE",
    ];
    match WITH_ARGUMENTS.contains(&name) {
        true => r.fail("a space and arguments"),
        false => Err(ReadError::Syntax {
            expected: "a command",
            at: start,
        }),
    }
}

fn words(r: &mut Reader<'_>) -> Read<Vec<String>> {
    let mut words = vec![r.atom("a capability")?.to_owned()];
    while r.take(b' ') {
        words.push(r.atom("a capability")?.to_owned());
    }
    Ok(words)
}

fn read_base64<'a>(r: &mut Reader<'a>) -> Read<&'a str> {
    // The alphabet of base64 is within that of an atom.
    r.atom("an initial response in base64, or =")
}

//= https://www.rfc-editor.org/rfc/rfc2971#section-3.1
fn read_id(r: &mut Reader<'_>) -> Read<Command> {
    if r.peek() != Some(b'(') {
        nil(r)?;
        return Ok(Command::Id);
    }
    let mut name = true;
    let mut pairs = 0;
    r.list(true, |r| {
        if name {
            pairs += 1;
            // At most 30 pairs may be sent (RFC 2971 §3.3).
            crate::token::at_most(pairs, 30, "pairs in ID")?;
            r.string()?;
        } else if matches!(r.peek(), Some(b'"' | b'{')) {
            r.string()?;
        } else {
            nil(r)?;
        }
        name = !name;
        Ok(())
    })?;
    if name {
        Ok(Command::Id)
    } else {
        r.fail("a value for each name")
    }
}

fn nil(r: &mut Reader<'_>) -> Read<()> {
    match r.atom("NIL")? {
        word if word.eq_ignore_ascii_case("NIL") => Ok(()),
        _ => r.fail("NIL"),
    }
}

fn read_create(r: &mut Reader<'_>) -> Read<Command> {
    let name = r.text()?;
    //= https://www.rfc-editor.org/rfc/rfc3501#section-6.3.3
    // A separator at the end only declares that names below it will be made.
    let name = r.mailbox_name(name.strip_suffix(crate::name::SEPARATOR).unwrap_or(&name))?;
    let mut special_use = None;
    if r.take(b' ') {
        //= https://www.rfc-editor.org/rfc/rfc6154#section-3
        r.byte(b'(', "(USE")?;
        if !r.atom("USE")?.eq_ignore_ascii_case("USE") {
            return r.fail("USE");
        }
        r.space()?;
        r.list(true, |r| {
            let start = r.position();
            r.byte(b'\\', "a special use")?;
            let attribute = format!("\\{}", r.atom("a special use")?);
            let parsed = SpecialUse::parse(&attribute);
            let unique = special_use.is_none();
            special_use = Some(parsed.filter(|_| unique).ok_or(ReadError::Syntax {
                expected: "one special use of RFC 6154",
                at: start,
            })?);
            Ok(())
        })?;
        r.byte(b')', "a )")?;
    }
    Ok(Command::Create { name, special_use })
}

//= https://www.rfc-editor.org/rfc/rfc9208#section-7
fn read_set_quota(r: &mut Reader<'_>) -> Read<Command> {
    r.text()?;
    r.space()?;
    r.list(true, |r| {
        r.atom("a resource")?;
        r.space()?;
        r.digits().map(drop)
    })?;
    Ok(Command::SetQuota)
}

fn read_append(r: &mut Reader<'_>) -> Read<Command> {
    let to = r.mailbox()?;
    r.space()?;
    let next = read_append_message(r)?;
    Ok(Command::Append(Append { to, next }))
}

/// What stands behind a message of APPEND, when another follows (RFC 3502).
pub(crate) fn read_next_append(line: &[u8]) -> Read<AppendMessage> {
    let mut r = Reader::new(line);
    r.space()?;
    read_append_message(&mut r)
}

fn read_append_message(r: &mut Reader<'_>) -> Read<AppendMessage> {
    let mut flags = Flags::new();
    if r.peek() == Some(b'(') {
        flags = r.flag_list()?;
        r.space()?;
    }
    let mut date = None;
    if r.peek() == Some(b'"') {
        date = Some(r.date_time()?);
        r.space()?;
    }
    let (message, utf8) = r.append_data()?;
    Ok(AppendMessage {
        flags,
        date,
        message,
        utf8,
    })
}

fn read_store(r: &mut Reader<'_>) -> Read<(bool, FlagChange)> {
    let sign = [b'+', b'-'].into_iter().find(|sign| r.take(*sign));
    let silent = match r.word("FLAGS")?.to_ascii_uppercase().as_str() {
        "FLAGS" => false,
        "FLAGS.SILENT" => true,
        _ => return r.fail("FLAGS or FLAGS.SILENT"),
    };
    r.space()?;
    let flags = r.flags()?;
    Ok((
        silent,
        match sign {
            Some(b'+') => FlagChange::Add(flags),
            Some(_) => FlagChange::Remove(flags),
            None => FlagChange::Replace(flags),
        },
    ))
}
