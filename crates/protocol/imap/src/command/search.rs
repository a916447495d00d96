use crate::date::Date;
use crate::flag::{Flag, Keyword, SystemFlag};
use crate::search::{DateTest, EnvelopeField, Needle, SearchKey};
use crate::token::{Read, ReadError, Reader, at_most};
use ringpost_base::{UnixTime, limits};

/// The charsets that SEARCH takes, as BADCHARSET tells them.
pub(crate) const CHARSETS: &str = "US-ASCII UTF-8";

/// What SEARCH is to return instead of every message that matches (RFC 4731 §3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SearchReturn {
    pub(crate) min: bool,
    pub(crate) max: bool,
    pub(crate) all: bool,
    pub(crate) count: bool,
    /// Whether what is found becomes `$` (RFC 5182).
    pub(crate) save: bool,
}

impl SearchReturn {
    /// Whether anything is told of what was found.
    pub(crate) fn tells(self) -> bool {
        self.min || self.max || self.all || self.count
    }
}

//= https://www.rfc-editor.org/rfc/rfc4731#section-4
pub(super) fn read_return(r: &mut Reader<'_>) -> Read<Option<SearchReturn>> {
    let mut ahead = r.clone();
    if !ahead
        .word("a search key")
        .is_ok_and(|w| w.eq_ignore_ascii_case("RETURN"))
    {
        return Ok(None);
    }
    ahead.space()?;
    let mut returns = SearchReturn::default();
    ahead.list(true, |r| {
        let start = r.position();
        match r
            .word("MIN, MAX, ALL, COUNT or SAVE")?
            .to_ascii_uppercase()
            .as_str()
        {
            "MIN" => returns.min = true,
            "MAX" => returns.max = true,
            "ALL" => returns.all = true,
            "COUNT" => returns.count = true,
            "SAVE" => returns.save = true,
            _ => {
                return Err(ReadError::Syntax {
                    expected: "MIN, MAX, ALL, COUNT or SAVE",
                    at: start,
                });
            }
        }
        Ok(())
    })?;
    ahead.space()?;
    *r = ahead;
    //= https://www.rfc-editor.org/rfc/rfc4731#section-3.1
    returns.all |= returns == SearchReturn::default();
    Ok(Some(returns))
}

/// Whether a command that could not be read is a SEARCH that wanted to save what it finds.
pub(crate) fn saves(command: &[u8]) -> bool {
    let mut r = Reader::new(command);
    let mut read = || {
        r.tag()?;
        r.space()?;
        let mut name = r.word("a command")?;
        r.space()?;
        if name.eq_ignore_ascii_case("UID") {
            name = r.word("a command")?;
            r.space()?;
        }
        match name.eq_ignore_ascii_case("SEARCH") {
            true => read_return(&mut r),
            false => Ok(None),
        }
    };
    matches!(read(), Ok(Some(SearchReturn { save: true, .. })))
}

pub(super) fn read_search(r: &mut Reader<'_>) -> Read<SearchKey> {
    let mut ahead = r.clone();
    if ahead
        .word("a search key")
        .is_ok_and(|w| w.eq_ignore_ascii_case("CHARSET"))
    {
        //= https://www.rfc-editor.org/rfc/rfc6855#section-3
        // IMAP4rev2 takes them (RFC 9051 §6.4.4).
        if r.dialect().no_charset {
            return r.fail("no charset, since all is UTF-8 now");
        }
        ahead.space()?;
        check_charset(&ahead.text()?)?;
        ahead.space()?;
        *r = ahead;
    }
    read_keys(r)
}

//= https://www.rfc-editor.org/rfc/rfc3501#section-6.4.4
pub(super) fn check_charset(charset: &str) -> Read<()> {
    match CHARSETS
        .split(' ')
        .any(|known| known.eq_ignore_ascii_case(charset))
    {
        true => Ok(()),
        false => Err(ReadError::Charset),
    }
}

/// One key or more, all of which are to match.
pub(super) fn read_keys(r: &mut Reader<'_>) -> Read<SearchKey> {
    let (mut keys, mut count) = (Vec::new(), 0);
    loop {
        keys.push(read_key(r, &mut count)?);
        if !r.take(b' ') {
            return Ok(SearchKey::And(keys));
        }
    }
}

/// An operator whose operands are to come.
enum Open {
    Not,
    Or,
    /// The one that has come.
    OrAnd(SearchKey),
}

/// A key with its operands. NOT and OR stand before these without parentheses, so a chain of them is read in a loop, however
/// long it is: programs look for many Message-IDs so.
fn read_key(r: &mut Reader<'_>, count: &mut usize) -> Read<SearchKey> {
    let mut open = Vec::new();
    loop {
        *count += 1;
        at_most(*count, limits::IMAP_SEARCH_KEYS, "search keys")?;
        let mut ahead = r.clone();
        let operator = match ahead.word("a search key").map(str::to_ascii_uppercase).as_deref() {
            Ok("NOT") => Some(Open::Not),
            Ok("OR") => Some(Open::Or),
            _ => None,
        };
        if let Some(operator) = operator {
            ahead.space()?;
            *r = ahead;
            open.push(operator);
            continue;
        }
        let mut key = read_operand(r, count)?;
        loop {
            key = match open.pop() {
                None => return Ok(key),
                Some(Open::Not) => key.negated(),
                Some(Open::OrAnd(one)) => one.or(key),
                Some(Open::Or) => {
                    r.space()?;
                    open.push(Open::OrAnd(key));
                    break;
                }
            };
        }
    }
}

/// A key that is no operator.
fn read_operand(r: &mut Reader<'_>, count: &mut usize) -> Read<SearchKey> {
    if r.at_sequence_set() {
        return r.sequence_set().map(SearchKey::Numbers);
    }
    if r.peek() == Some(b'(') {
        let mut keys = Vec::new();
        r.list(false, |r| read_key(r, count).map(|key| keys.push(key)))?;
        return Ok(SearchKey::And(keys));
    }
    let start = r.position();
    let name = r.word("a search key")?.to_ascii_uppercase();
    match plain_key(&name) {
        Some(key) => Ok(key),
        None => read_key_with_argument(r, &name, start),
    }
}

/// The keys that stand alone.
fn plain_key(name: &str) -> Option<SearchKey> {
    let has = |flag| SearchKey::Has(Flag::System(flag));
    let not = |key| SearchKey::Not(Box::new(key));
    Some(match name {
        "ALL" => SearchKey::all(),
        "ANSWERED" => has(SystemFlag::Answered),
        "DELETED" => has(SystemFlag::Deleted),
        "DRAFT" => has(SystemFlag::Draft),
        "FLAGGED" => has(SystemFlag::Flagged),
        "SEEN" => has(SystemFlag::Seen),
        "UNANSWERED" => not(has(SystemFlag::Answered)),
        "UNDELETED" => not(has(SystemFlag::Deleted)),
        "UNDRAFT" => not(has(SystemFlag::Draft)),
        "UNFLAGGED" => not(has(SystemFlag::Flagged)),
        "UNSEEN" => not(has(SystemFlag::Seen)),
        "RECENT" => SearchKey::Recent,
        "OLD" => not(SearchKey::Recent),
        //= https://www.rfc-editor.org/rfc/rfc8514#section-4.3
        // All messages have one here.
        "SAVEDATESUPPORTED" => SearchKey::Saved(DateTest::Since, Date::of(UnixTime::from_secs(0))),
        "NEW" => SearchKey::And(vec![SearchKey::Recent, not(has(SystemFlag::Seen))]),
        _ => return None,
    })
}

fn read_key_with_argument(r: &mut Reader<'_>, name: &str, start: usize) -> Read<SearchKey> {
    let envelope = |r: &mut Reader<'_>, field| Ok(SearchKey::Envelope(field, needle(r)?));
    let arrived = |r: &mut Reader<'_>, test| Ok(SearchKey::Arrived(test, argument(r, Reader::date)?));
    let saved = |r: &mut Reader<'_>, test| Ok(SearchKey::Saved(test, argument(r, Reader::date)?));
    let sent = |r: &mut Reader<'_>, test| Ok(SearchKey::Sent(test, argument(r, Reader::date)?));
    match name {
        "BCC" => envelope(r, EnvelopeField::Bcc),
        "CC" => envelope(r, EnvelopeField::Cc),
        "FROM" => envelope(r, EnvelopeField::From),
        "SUBJECT" => envelope(r, EnvelopeField::Subject),
        "TO" => envelope(r, EnvelopeField::To),
        "BODY" => needle(r).map(SearchKey::Body),
        "TEXT" => needle(r).map(SearchKey::Text),
        "HEADER" => {
            let field = argument(r, Reader::text)?;
            Ok(SearchKey::Header(field.into(), needle(r)?))
        }
        "BEFORE" => arrived(r, DateTest::Before),
        "ON" => arrived(r, DateTest::On),
        "SINCE" => arrived(r, DateTest::Since),
        "SENTBEFORE" => sent(r, DateTest::Before),
        "SENTON" => sent(r, DateTest::On),
        "SENTSINCE" => sent(r, DateTest::Since),
        "SAVEDBEFORE" => saved(r, DateTest::Before),
        "SAVEDON" => saved(r, DateTest::On),
        "SAVEDSINCE" => saved(r, DateTest::Since),
        //= https://www.rfc-editor.org/rfc/rfc5032#section-3
        "OLDER" => argument(r, Reader::nz_number).map(SearchKey::Older),
        "YOUNGER" => argument(r, Reader::nz_number).map(SearchKey::Younger),
        //= https://www.rfc-editor.org/rfc/rfc8474#section-6
        "EMAILID" => argument(r, Reader::object_id).map(SearchKey::EmailId),
        "THREADID" => argument(r, Reader::object_id).map(SearchKey::ThreadId),
        //= https://www.rfc-editor.org/rfc/rfc9051#section-9
        "LARGER" => argument(r, Reader::number64).map(SearchKey::Larger),
        "SMALLER" => argument(r, Reader::number64).map(SearchKey::Smaller),
        "UID" => argument(r, Reader::sequence_set).map(SearchKey::Uids),
        "MODSEQ" => super::sync::read_modseq_key(r),
        "KEYWORD" => keyword(r).map(SearchKey::Has),
        "UNKEYWORD" => Ok(SearchKey::Not(Box::new(SearchKey::Has(keyword(r)?)))),
        _ => Err(ReadError::Syntax {
            expected: "a search key",
            at: start,
        }),
    }
}

fn argument<'a, T>(r: &mut Reader<'a>, read: impl FnOnce(&mut Reader<'a>) -> Read<T>) -> Read<T> {
    r.space()?;
    read(r)
}

fn needle(r: &mut Reader<'_>) -> Read<Needle> {
    argument(r, Reader::text).map(|text| Needle::new(&text))
}

fn keyword(r: &mut Reader<'_>) -> Read<Flag> {
    r.space()?;
    let start = r.position();
    let name = r.atom("a keyword")?;
    let keyword = Keyword::new(name).ok_or(ReadError::Syntax {
        expected: "a keyword",
        at: start,
    })?;
    Ok(Flag::Keyword(keyword))
}
