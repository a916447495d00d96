//! Messages as they come in: read once, so that ENVELOPE and BODYSTRUCTURE need no body afterwards.

mod address;
pub(crate) mod codec;
pub(crate) mod field;
mod head;
mod parameter;
mod scanner;
#[cfg(test)]
mod tests;

pub(crate) use scanner::Scanner;

use head::Head;
pub(crate) use head::references_of;
use mail_parser::DateTime;
use ringpost_base::UnixTime;
use ringpost_imap::structure::{Envelope, Part, Spelling};
use ringpost_store::records::MessageKind;

/// What delivery keeps of a message beside its bytes.
#[derive(Clone, Debug)]
pub(crate) struct Parsed {
    pub(crate) envelope: Envelope,
    pub(crate) structure: Part,
    pub(crate) kind: MessageKind,
    /// The Date field as a time.
    pub(crate) sent: Option<UnixTime>,
    /// The message IDs of the References field.
    pub(crate) references: Vec<u64>,
    /// Received fields, by which a loop is seen.
    pub(crate) hops: usize,
    /// Whom it was delivered to on its way.
    pub(crate) delivered_to: Vec<String>,
    /// What CRLF at the end of each line would add.
    pub(crate) line_end_bytes: u64,
    /// It has bytes beyond ASCII.
    pub(crate) eight_bit: bool,
    /// It has a line over 998 octets.
    pub(crate) long_lines: bool,
}

impl Parsed {
    pub(crate) fn of(scanner: Scanner) -> Self {
        let line_end_bytes = scanner.line_end_bytes();
        let (eight_bit, long_lines) = (scanner.has_eight_bit(), scanner.has_long_line());
        let (
            structure,
            Head {
                envelope,
                context,
                references,
                hops,
                delivered_to,
                ..
            },
        ) = scanner.finish();
        let sent = envelope.date.as_deref().and_then(DateTime::parse_rfc822);
        let sent = sent
            .and_then(|d| u64::try_from(d.to_timestamp()).ok())
            .map(UnixTime::from_secs);
        Parsed {
            envelope,
            structure,
            kind: context,
            sent,
            references,
            hops,
            delivered_to,
            line_end_bytes,
            eight_bit,
            long_lines,
        }
    }
}

/// Feeds bytes to the scanner, whole and cut in two, and holds what it found against itself.
pub(crate) fn fuzz(data: &[u8]) {
    let scan = |pieces: &[&[u8]]| {
        let mut scanner = Scanner::new();
        pieces.iter().for_each(|piece| scanner.push(piece));
        Parsed::of(scanner)
    };
    let whole = scan(&[data]);
    let at = data.first().map_or(0, |b| usize::from(*b) * data.len() / 256);
    let cut = scan(&[&data[..at], &data[at..]]);
    assert_eq!(
        (
            &whole.structure,
            &whole.envelope,
            whole.line_end_bytes,
            whole.long_lines
        ),
        (&cut.structure, &cut.envelope, cut.line_end_bytes, cut.long_lines)
    );
    let mut sent = bytes::BytesMut::new();
    let mut transform = ringpost_pop3::Transform::new(None, true);
    transform.push(data, &mut sent);
    transform.finish(&mut sent);
    assert_eq!(transform.size_bytes(), data.len() as u64 + whole.line_end_bytes);
    assert_eq!(
        (whole.structure.header.start, whole.structure.body.end),
        (0, data.len() as u64)
    );
    check(&whole.structure, data);
    let encoded = codec::encode_part(&whole.structure);
    assert_eq!(codec::decode_part(&encoded).as_ref(), Some(&whole.structure));
    let encoded = codec::encode_envelope(&whole.envelope);
    assert_eq!(codec::decode_envelope(&encoded).as_ref(), Some(&whole.envelope));
    let borrowed = codec::decode_envelope::<&str>(&encoded).expect("it was encoded here");
    for spelling in [Spelling::Ascii, Spelling::Utf8] {
        let (mut own, mut same) = (bytes::BytesMut::new(), bytes::BytesMut::new());
        whole.envelope.write(spelling, &mut own);
        borrowed.write(spelling, &mut same);
        assert_eq!(own, same);
        assert!(spelling == Spelling::Utf8 || own.is_ascii());
    }
    let encoded = codec::encode_index(&whole.references);
    assert_eq!(codec::decode_index(&encoded).as_ref(), Some(&whole.references));
    codec::decode_index(data);
    // What was never encoded by us is refused or decoded, and panics in no case.
    codec::decode_part(data);
    codec::decode_envelope::<&str>(data);
}

fn check(part: &Part, data: &[u8]) {
    use ringpost_imap::structure::Content;
    assert!(part.header.start <= part.header.end && part.header.end == part.body.start);
    assert!(part.body.start <= part.body.end);
    let body = &data[part.body.start as usize..part.body.end as usize];
    let ends = body.iter().filter(|b| **b == b'\n').count();
    let last = !body.is_empty() && !body.ends_with(b"\n");
    assert_eq!(part.lines, ends as u64 + u64::from(last));
    let inner = match &part.content {
        Content::Single { .. } => &[][..],
        Content::Multipart { parts, .. } => &parts[..],
        Content::Message { message, .. } => std::slice::from_ref(&**message),
    };
    let mut from = part.body.start;
    for inner in inner {
        assert!(inner.header.start >= from && inner.body.end <= part.body.end);
        from = inner.body.end;
        check(inner, data);
    }
}
