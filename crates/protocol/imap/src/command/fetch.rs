use crate::section::{FieldFilter, Partial, Section, SectionText};
use crate::token::{Read, ReadError, Reader, at_most};
use ringpost_base::limits;

/// A data item of FETCH (RFC 3501 §6.4.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FetchItem {
    Flags,
    Uid,
    InternalDate,
    Size,
    Envelope,
    /// RFC 7162 §3.1.4.2.
    ModSeq,
    /// RFC 8474 §5.
    EmailId,
    ThreadId,
    /// RFC 8514 §4.2.
    SaveDate,
    /// BODYSTRUCTURE, or BODY without a section, which leaves the extension data out.
    Structure {
        extended: bool,
    },
    Body(BodyItem),
    /// A part with its transfer encoding undone (RFC 3516).
    Binary(BinaryItem),
    /// How long that is.
    BinarySize(Vec<u32>),
    /// How the text begins (RFC 8970).
    Preview,
}

/// A part with its transfer encoding undone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BinaryItem {
    /// Whether `\Seen` stays as it is.
    pub(crate) peek: bool,
    /// Empty for the message itself.
    pub(crate) part: Vec<u32>,
    /// Of what it decodes to.
    pub(crate) partial: Option<Partial>,
}

/// A part of the message itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BodyItem {
    /// Whether `\Seen` stays as it is.
    pub(crate) peek: bool,
    pub(crate) section: Section,
    pub(crate) partial: Option<Partial>,
    /// The name it was asked for by, when that was one of the old ones: `RFC822.HEADER`.
    pub(crate) old_name: Option<&'static str>,
}

pub(super) fn read_items(r: &mut Reader<'_>) -> Read<Vec<FetchItem>> {
    if r.peek() == Some(b'(') {
        let mut items = Vec::new();
        r.list(false, |r| {
            items.push(read_item(r)?);
            at_most(items.len(), limits::IMAP_FETCH_ITEMS, "fetch items")
        })?;
        return Ok(items);
    }
    let mut ahead = r.clone();
    let (flags, date, size) = (FetchItem::Flags, FetchItem::InternalDate, FetchItem::Size);
    let items = match ahead.word("a fetch item")?.to_ascii_uppercase().as_str() {
        "FAST" => vec![flags, date, size],
        "ALL" => vec![flags, date, size, FetchItem::Envelope],
        "FULL" => vec![
            flags,
            date,
            size,
            FetchItem::Envelope,
            FetchItem::Structure { extended: false },
        ],
        _ => return Ok(vec![read_item(r)?]),
    };
    *r = ahead;
    Ok(items)
}

fn read_item(r: &mut Reader<'_>) -> Read<FetchItem> {
    let old = |text, peek, old_name| {
        FetchItem::Body(BodyItem {
            peek,
            section: Section {
                part: Vec::new(),
                text,
            },
            partial: None,
            old_name: Some(old_name),
        })
    };
    let mut ahead = r.clone();
    let item = match ahead.word("a fetch item")?.to_ascii_uppercase().as_str() {
        "FLAGS" => FetchItem::Flags,
        "UID" => FetchItem::Uid,
        "INTERNALDATE" => FetchItem::InternalDate,
        "RFC822.SIZE" => FetchItem::Size,
        "ENVELOPE" => FetchItem::Envelope,
        "MODSEQ" => FetchItem::ModSeq,
        "EMAILID" => FetchItem::EmailId,
        "THREADID" => FetchItem::ThreadId,
        "SAVEDATE" => FetchItem::SaveDate,
        "BODYSTRUCTURE" => FetchItem::Structure { extended: true },
        "BODY" if ahead.peek() != Some(b'[') => FetchItem::Structure { extended: false },
        "BODY" => read_body(&mut ahead, false)?,
        "BODY.PEEK" => read_body(&mut ahead, true)?,
        "BINARY" => read_binary(&mut ahead, false)?,
        "BINARY.PEEK" => read_binary(&mut ahead, true)?,
        "BINARY.SIZE" => FetchItem::BinarySize(read_section_part(&mut ahead)?),
        "PREVIEW" => {
            let mut modifiers = ahead.clone();
            if modifiers.take(b' ') && modifiers.peek() == Some(b'(') {
                //= https://www.rfc-editor.org/rfc/rfc8970#section-4.1
                // A preview never takes long here, so LAZY changes nothing.
                modifiers.list(false, |r| match r.atom("LAZY")?.eq_ignore_ascii_case("LAZY") {
                    true => Ok(()),
                    false => r.fail("LAZY"),
                })?;
                ahead = modifiers;
            }
            FetchItem::Preview
        }
        "RFC822" => old(None, false, "RFC822"),
        "RFC822.HEADER" => old(Some(SectionText::Header), true, "RFC822.HEADER"),
        "RFC822.TEXT" => old(Some(SectionText::Text), false, "RFC822.TEXT"),
        _ => return r.fail("a fetch item"),
    };
    *r = ahead;
    Ok(item)
}

fn read_body(r: &mut Reader<'_>, peek: bool) -> Read<FetchItem> {
    let section = read_section(r)?;
    Ok(FetchItem::Body(BodyItem {
        peek,
        section,
        partial: read_partial(r)?,
        old_name: None,
    }))
}

//= https://www.rfc-editor.org/rfc/rfc3516#section-7
fn read_binary(r: &mut Reader<'_>, peek: bool) -> Read<FetchItem> {
    let part = read_section_part(r)?;
    Ok(FetchItem::Binary(BinaryItem {
        peek,
        part,
        partial: read_partial(r)?,
    }))
}

/// A section that names a part and nothing of it.
fn read_section_part(r: &mut Reader<'_>) -> Read<Vec<u32>> {
    let section = read_section(r)?;
    match section.text {
        None => Ok(section.part),
        Some(_) => r.fail("a section of numbers only"),
    }
}

fn read_partial(r: &mut Reader<'_>) -> Read<Option<Partial>> {
    if !r.take(b'<') {
        return Ok(None);
    }
    //= https://www.rfc-editor.org/rfc/rfc9051#section-9
    let offset = r.number64()?;
    r.byte(b'.', "a . in the partial")?;
    let start = r.position();
    let length = r.number64()?;
    if length == 0 {
        return Err(ReadError::Syntax {
            expected: "a number that is not zero",
            at: start,
        });
    }
    r.byte(b'>', "the > of the partial")?;
    Ok(Some(Partial { offset, length }))
}

fn read_section(r: &mut Reader<'_>) -> Read<Section> {
    r.byte(b'[', "a section in brackets")?;
    let mut section = Section::default();
    if r.take(b']') {
        return Ok(section);
    }
    while r.peek().is_some_and(|b| b.is_ascii_digit()) {
        section.part.push(r.nz_number()?);
        at_most(section.part.len(), limits::MIME_NESTING, "levels in a section")?;
        if r.take(b']') {
            return Ok(section);
        }
        r.byte(b'.', "a . or ] in the section")?;
    }
    let mut ahead = r.clone();
    section.text = Some(match ahead.word("a section")?.to_ascii_uppercase().as_str() {
        "HEADER" => SectionText::Header,
        "HEADER.FIELDS" => SectionText::Fields(read_fields(&mut ahead, false)?),
        "HEADER.FIELDS.NOT" => SectionText::Fields(read_fields(&mut ahead, true)?),
        "TEXT" => SectionText::Text,
        "MIME" if !section.part.is_empty() => SectionText::Mime,
        _ => return r.fail("a section"),
    });
    *r = ahead;
    r.byte(b']', "the ] of the section")?;
    Ok(section)
}

fn read_fields(r: &mut Reader<'_>, not: bool) -> Read<FieldFilter> {
    r.space()?;
    let mut names = Vec::new();
    r.list(false, |r| {
        let name = r.text()?;
        //= https://www.rfc-editor.org/rfc/rfc3501#section-9
        // Any astring is a name, and one with a colon that of no field. What no header could hold (RFC 5322 §3.6.8) could not
        // be repeated in the answer either.
        if name.is_empty() || !name.bytes().all(|b| matches!(b, b'!'..=b'~')) {
            return r.fail("the name of a header field");
        }
        names.push(name.into_boxed_str());
        at_most(names.len(), limits::IMAP_FETCH_FIELDS, "header fields")
    })?;
    Ok(FieldFilter { not, names })
}
