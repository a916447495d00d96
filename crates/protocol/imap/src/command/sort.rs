use super::search::{check_charset, read_keys};
use super::{Command, ReadError};
use crate::sort::{SortBy, SortKey};
use crate::thread::ThreadBy;
use crate::token::{Read, Reader, at_most};
use ringpost_base::limits;

//= https://www.rfc-editor.org/rfc/rfc5256#section-5
pub(super) fn read_sort(r: &mut Reader<'_>, uid: bool) -> Read<Command> {
    let (mut keys, mut reverse) = (Vec::new(), false);
    r.list(false, |r| {
        let start = r.position();
        let by = match r.word("a sort criterion")?.to_ascii_uppercase().as_str() {
            "REVERSE" if !reverse => {
                reverse = true;
                return Ok(());
            }
            "ARRIVAL" => SortBy::Arrival,
            "CC" => SortBy::Cc,
            "DATE" => SortBy::Date,
            "FROM" => SortBy::From,
            "SIZE" => SortBy::Size,
            "SUBJECT" => SortBy::Subject,
            "TO" => SortBy::To,
            "DISPLAYFROM" => SortBy::DisplayFrom,
            "DISPLAYTO" => SortBy::DisplayTo,
            _ => {
                return Err(ReadError::Syntax {
                    expected: "a sort criterion",
                    at: start,
                });
            }
        };
        let reverse = std::mem::take(&mut reverse);
        keys.push(SortKey { by, reverse });
        at_most(keys.len(), limits::IMAP_SORT_KEYS, "sort criteria")
    })?;
    if reverse {
        return r.fail("a sort criterion behind REVERSE");
    }
    r.space()?;
    let key = read_criteria(r)?;
    Ok(Command::Sort { uid, keys, key })
}

pub(super) fn read_thread(r: &mut Reader<'_>, uid: bool) -> Read<Command> {
    let start = r.position();
    let by = match r.atom("a threading algorithm")?.to_ascii_uppercase().as_str() {
        "ORDEREDSUBJECT" => ThreadBy::OrderedSubject,
        "REFERENCES" => ThreadBy::References,
        _ => {
            return Err(ReadError::Syntax {
                expected: "ORDEREDSUBJECT or REFERENCES",
                at: start,
            });
        }
    };
    r.space()?;
    let key = read_criteria(r)?;
    Ok(Command::Thread { uid, by, key })
}

/// The charset, which must be named, and the search program.
fn read_criteria(r: &mut Reader<'_>) -> Read<crate::search::SearchKey> {
    check_charset(&r.text()?)?;
    r.space()?;
    read_keys(r)
}
