//! What CONDSTORE and QRESYNC add to the commands (RFC 7162 §7).

use super::FetchItem;
use crate::search::SearchKey;
use crate::sequence::SequenceSet;
use crate::token::{Read, ReadError, Reader};

/// The parameters of SELECT and EXAMINE.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SelectParams {
    pub(crate) condstore: bool,
    pub(crate) resync: Option<Resync>,
}

/// What the client knows of the mailbox that it selects (RFC 7162 §3.2.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resync {
    pub(crate) uid_validity: u32,
    pub(crate) modseq: u64,
    /// The UIDs that it knows; all of them without.
    pub(crate) uids: Option<SequenceSet>,
    /// Sequence numbers, and the UIDs that it has for them.
    pub(crate) matches: Option<(SequenceSet, SequenceSet)>,
}

/// CHANGEDSINCE, and whether VANISHED is with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChangedSince {
    pub(crate) modseq: u64,
    pub(crate) vanished: bool,
}

//= https://www.rfc-editor.org/rfc/rfc7162#section-3.1.8
pub(super) fn read_select_params(r: &mut Reader<'_>) -> Read<SelectParams> {
    let mut params = SelectParams::default();
    if !r.take(b' ') {
        return Ok(params);
    }
    r.list(false, |r| {
        let start = r.position();
        match r.word("CONDSTORE or QRESYNC")?.to_ascii_uppercase().as_str() {
            "CONDSTORE" => params.condstore = true,
            "QRESYNC" if params.resync.is_none() => {
                r.space()?;
                params.resync = Some(read_resync(r)?);
            }
            _ => return expected("CONDSTORE or QRESYNC, once", start),
        }
        Ok(())
    })?;
    Ok(params)
}

//= https://www.rfc-editor.org/rfc/rfc7162#section-3.2.5
fn read_resync(r: &mut Reader<'_>) -> Read<Resync> {
    r.nested(|r| {
        r.byte(b'(', "( and a UIDVALIDITY")?;
        let uid_validity = r.nz_number()?;
        r.space()?;
        let modseq = r.modseq()?;
        let (mut uids, mut matches) = (None, None);
        while matches.is_none() && r.take(b' ') {
            if r.take(b'(') {
                let numbers = known_set(r)?;
                r.space()?;
                matches = Some((numbers, known_set(r)?));
                r.byte(b')', "a )")?;
            } else if uids.is_none() {
                uids = Some(known_set(r)?);
            } else {
                return r.fail("a list of sequence numbers and UIDs");
            }
        }
        r.byte(b')', "a )")?;
        Ok(Resync {
            uid_validity,
            modseq,
            uids,
            matches,
        })
    })
}

/// A set in which `*` may not stand.
fn known_set(r: &mut Reader<'_>) -> Read<SequenceSet> {
    let start = r.position();
    let set = r.sequence_set()?;
    match set.names_last() || set.is_saved() {
        false => Ok(set),
        true => expected("a set without * or $", start),
    }
}

/// What may follow FETCH's items. MODSEQ is told with CHANGEDSINCE, asked for or not.
//= https://www.rfc-editor.org/rfc/rfc7162#section-3.1.4.1
pub(super) fn read_fetch_modifiers(
    r: &mut Reader<'_>,
    uid: bool,
    items: &mut Vec<FetchItem>,
) -> Read<Option<ChangedSince>> {
    let start = r.position();
    if !r.take(b' ') {
        return Ok(None);
    }
    let (mut since, mut vanished) = (None, false);
    r.list(false, |r| {
        let start = r.position();
        match r.word("CHANGEDSINCE")?.to_ascii_uppercase().as_str() {
            "CHANGEDSINCE" if since.is_none() => {
                r.space()?;
                since = Some(r.modseq()?);
            }
            //= https://www.rfc-editor.org/rfc/rfc7162#section-3.2.6
            "VANISHED" if uid && !vanished => vanished = true,
            "VANISHED" => return expected("VANISHED once, and with UID FETCH only", start),
            _ => return expected("CHANGEDSINCE or VANISHED", start),
        }
        Ok(())
    })?;
    let Some(modseq) = since else {
        return expected("CHANGEDSINCE beside VANISHED", start);
    };
    if !items.contains(&FetchItem::ModSeq) {
        items.push(FetchItem::ModSeq);
    }
    Ok(Some(ChangedSince { modseq, vanished }))
}

/// UNCHANGEDSINCE before STORE's flags.
//= https://www.rfc-editor.org/rfc/rfc7162#section-3.1.3
pub(super) fn read_store_modifiers(r: &mut Reader<'_>) -> Read<Option<u64>> {
    if r.peek() != Some(b'(') {
        return Ok(None);
    }
    let mut since = None;
    r.list(false, |r| {
        let start = r.position();
        let name = r.word("UNCHANGEDSINCE")?;
        if !name.eq_ignore_ascii_case("UNCHANGEDSINCE") || since.is_some() {
            return expected("UNCHANGEDSINCE, once", start);
        }
        r.space()?;
        since = Some(r.modseq()?);
        Ok(())
    })?;
    r.space()?;
    Ok(since)
}

/// SEARCH's key. There is one number a message, whatever flag changed, so the entry's name is read and not used.
//= https://www.rfc-editor.org/rfc/rfc7162#section-3.1.5
pub(super) fn read_modseq_key(r: &mut Reader<'_>) -> Read<SearchKey> {
    r.space()?;
    if r.peek() == Some(b'"') {
        let start = r.position();
        let entry = r.text()?;
        if !entry.to_ascii_lowercase().starts_with("/flags/") {
            return expected("an entry as \"/flags/name\"", start);
        }
        r.space()?;
        let start = r.position();
        match r.atom("priv, shared or all")?.to_ascii_lowercase().as_str() {
            "priv" | "shared" | "all" => {}
            _ => return expected("priv, shared or all", start),
        }
        r.space()?;
    }
    r.modseq().map(SearchKey::ModSeq)
}

fn expected<T>(expected: &'static str, at: usize) -> Read<T> {
    Err(ReadError::Syntax { expected, at })
}
