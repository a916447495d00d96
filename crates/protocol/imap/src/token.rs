//! The one tokenizer: it reads the elements that every IMAP command is made of (RFC 3501 §9), strictly.

use crate::date::{Date, parse_date_time};
use crate::flag::{Flag, Flags};
use crate::name::{MailboxName, NameError};
use crate::sequence::SequenceSet;
use ringpost_base::{UnixTime, limits};
use std::borrow::Cow;
use thiserror::Error;

/// Why a command was not read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum ReadError {
    /// Something else stood there.
    #[error("expected {expected} at byte {at}")]
    Syntax {
        /// What the grammar wants.
        expected: &'static str,
        /// Where, in bytes from the start of the command.
        at: usize,
    },
    /// The bytes end where a literal has been announced and is in its place.
    #[error("a literal of {} bytes is to come", .0.size_bytes)]
    Literal(Announced),
    /// A limit is reached.
    #[error("expected at most {limit} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many are taken.
        limit: usize,
    },
    /// A mailbox name that is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// SEARCH in a charset that is not known.
    #[error("the charset is not known")]
    Charset,
}

/// A literal that a client announces with `{n}` or, without waiting for leave to send it, `{n+}` (RFC 7888).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Announced {
    /// Its size.
    pub(crate) size_bytes: u64,
    /// Whether it comes at once.
    pub(crate) unasked: bool,
    /// Whether it may hold NUL: a `literal8` (RFC 3516 §7).
    pub(crate) binary: bool,
}

/// Whether `b` may stand in an atom (RFC 3501 §9, `ATOM-CHAR`).
pub(crate) fn is_atom_char(b: u8) -> bool {
    matches!(b, 0x21..=0x7e) && !matches!(b, b'(' | b')' | b'{' | b'%' | b'*' | b'"' | b'\\' | b']')
}

/// Whether `b` may stand in an `astring` without quotes.
pub(crate) fn is_astring_char(b: u8) -> bool {
    is_atom_char(b) || b == b']'
}

/// Reads one command: its lines with its literals in their places, without the last CRLF.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: usize,
    dialect: Dialect,
    /// Names that were not written as they are kept, each with how it was written.
    respelt: Vec<Respelt>,
}

/// What a client has enabled that changes how its commands are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dialect {
    /// Whether mailbox names come in UTF-8 (RFC 6855 §3, RFC 9051 §5.1) and not in modified UTF-7.
    pub(crate) utf8: bool,
    /// Whether SEARCH may name no charset any more (RFC 6855 §3).
    pub(crate) no_charset: bool,
}

/// A mailbox name that the client has written in another form of Unicode than the one that names are kept in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Respelt {
    pub(crate) name: MailboxName,
    pub(crate) written: String,
    /// Whether the mailbox is one that the command removes.
    pub(crate) gone: bool,
}

pub(crate) type Read<T> = Result<T, ReadError>;

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Reader {
            bytes,
            at: 0,
            depth: 0,
            dialect: Dialect::default(),
            respelt: Vec::new(),
        }
    }

    /// The same for a client that has enabled something.
    pub(crate) fn with_dialect(mut self, dialect: Dialect) -> Self {
        self.dialect = dialect;
        self
    }

    pub(crate) fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// The names so far that were not written as they are kept.
    pub(crate) fn take_respelt(&mut self) -> Vec<Respelt> {
        std::mem::take(&mut self.respelt)
    }

    pub(crate) fn position(&self) -> usize {
        self.at
    }

    fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    pub(crate) fn fail<T>(&self, expected: &'static str) -> Read<T> {
        Err(ReadError::Syntax {
            expected,
            at: self.at,
        })
    }

    /// Takes `b` if it comes next.
    pub(crate) fn take(&mut self, b: u8) -> bool {
        let found = self.peek() == Some(b);
        self.at += usize::from(found);
        found
    }

    pub(crate) fn byte(&mut self, b: u8, expected: &'static str) -> Read<()> {
        if self.take(b) { Ok(()) } else { self.fail(expected) }
    }

    //= https://www.rfc-editor.org/rfc/rfc3501#section-9
    // SP is exactly one space.
    pub(crate) fn space(&mut self) -> Read<()> {
        self.byte(b' ', "a space")
    }

    pub(crate) fn end(&self) -> Read<()> {
        if self.at == self.bytes.len() {
            Ok(())
        } else {
            self.fail("the end of the command")
        }
    }

    fn run(&mut self, within: fn(u8) -> bool, expected: &'static str) -> Read<&'a str> {
        let rest = self.rest();
        let len = rest.iter().position(|b| !within(*b)).unwrap_or(rest.len());
        match std::str::from_utf8(&rest[..len]) {
            Ok(text) if len > 0 => {
                self.at += len;
                Ok(text)
            }
            _ => self.fail(expected),
        }
    }

    pub(crate) fn tag(&mut self) -> Read<&'a str> {
        self.run(|b| is_astring_char(b) && b != b'+', "a tag")
    }

    pub(crate) fn atom(&mut self, expected: &'static str) -> Read<&'a str> {
        self.run(is_atom_char, expected)
    }

    /// A word of the protocol: letters, digits and what stands in the names of fetch items.
    pub(crate) fn word(&mut self, expected: &'static str) -> Read<&'a str> {
        self.run(
            |b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'='),
            expected,
        )
    }

    pub(crate) fn digits(&mut self) -> Read<&'a str> {
        self.run(|b| b.is_ascii_digit(), "a number")
    }

    /// A `mod-sequence-valzer`: 63 bits (RFC 7162 §7). Where the grammar has no zero, one asks for everything.
    pub(crate) fn modseq(&mut self) -> Read<u64> {
        let start = self.at;
        let number: Option<u64> = self.digits()?.parse().ok();
        number
            .filter(|n| i64::try_from(*n).is_ok())
            .ok_or(ReadError::Syntax {
                expected: "a modification sequence of 63 bits",
                at: start,
            })
    }

    /// A `number`: 32 bits.
    pub(crate) fn number(&mut self) -> Read<u32> {
        let start = self.at;
        let digits = self.digits()?;
        digits.parse().or(Err(ReadError::Syntax {
            expected: "a number of 32 bits",
            at: start,
        }))
    }

    /// A `number64`: 63 bits (RFC 9051 §9).
    pub(crate) fn number64(&mut self) -> Read<u64> {
        let start = self.at;
        let number: Option<u64> = self.digits()?.parse().ok();
        number
            .filter(|n| i64::try_from(*n).is_ok())
            .ok_or(ReadError::Syntax {
                expected: "a number of 63 bits",
                at: start,
            })
    }

    pub(crate) fn nz_number(&mut self) -> Read<u32> {
        let start = self.at;
        match self.number()? {
            0 => Err(ReadError::Syntax {
                expected: "a number that is not zero",
                at: start,
            }),
            n => Ok(n),
        }
    }

    pub(crate) fn sequence_set(&mut self) -> Read<SequenceSet> {
        let start = self.at;
        let text = self.run(
            |b| b.is_ascii_digit() || matches!(b, b':' | b',' | b'*' | b'$'),
            "a sequence set",
        )?;
        SequenceSet::parse(text.as_bytes()).ok_or(ReadError::Syntax {
            expected: "a sequence set",
            at: start,
        })
    }

    /// Whether a sequence set comes next, where a word may as well.
    pub(crate) fn at_sequence_set(&self) -> bool {
        self.peek()
            .is_some_and(|b| b.is_ascii_digit() || matches!(b, b'*' | b'$'))
    }

    /// A `string`: quoted, or a literal.
    pub(crate) fn string(&mut self) -> Read<Cow<'a, [u8]>> {
        match self.peek() {
            Some(b'"') => self.quoted().map(|text| match text {
                Cow::Borrowed(t) => Cow::Borrowed(t.as_bytes()),
                Cow::Owned(t) => Cow::Owned(t.into_bytes()),
            }),
            Some(b'{') => self.literal().map(Cow::Borrowed),
            _ => self.fail("a string"),
        }
    }

    pub(crate) fn astring(&mut self) -> Read<Cow<'a, [u8]>> {
        match self.peek() {
            Some(b'"' | b'{') => self.string(),
            _ => Ok(Cow::Borrowed(
                self.run(is_astring_char, "an atom or a string")?.as_bytes(),
            )),
        }
    }

    /// An `astring` in UTF-8.
    pub(crate) fn text(&mut self) -> Read<String> {
        let start = self.at;
        let bytes = self.astring()?.into_owned();
        String::from_utf8(bytes).or(Err(ReadError::Syntax {
            expected: "UTF-8",
            at: start,
        }))
    }

    /// A quoted string. Beyond RFC 3501 it may hold UTF-8, as RFC 9051 §4.3 has it; what it is used for decides.
    fn quoted(&mut self) -> Read<Cow<'a, str>> {
        let start = self.at;
        self.byte(b'"', "a quote")?;
        let rest = self.rest();
        let mut escaped = false;
        let mut unescaped: Option<Vec<u8>> = None;
        for (i, b) in rest.iter().copied().enumerate() {
            match b {
                0 | b'\r' | b'\n' => break,
                _ if escaped => {
                    if !matches!(b, b'"' | b'\\') {
                        break;
                    }
                    unescaped.get_or_insert_with(|| rest[..i - 1].to_vec()).push(b);
                    escaped = false;
                }
                b'\\' => {
                    unescaped.get_or_insert_with(|| rest[..i].to_vec());
                    escaped = true;
                }
                b'"' => {
                    self.at += i + 1;
                    let text = match unescaped {
                        Some(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
                        None => std::str::from_utf8(&rest[..i]).ok().map(Cow::Borrowed),
                    };
                    return text.ok_or(ReadError::Syntax {
                        expected: "UTF-8",
                        at: start,
                    });
                }
                _ => {
                    if let Some(bytes) = &mut unescaped {
                        bytes.push(b);
                    }
                }
            }
        }
        Err(ReadError::Syntax {
            expected: "a quoted string",
            at: start,
        })
    }

    /// What APPEND announces: a literal, a `literal8`, or `UTF8 (` with one; whether it is the last.
    pub(crate) fn append_data(&mut self) -> Read<(Announced, bool)> {
        let mut ahead = self.clone();
        let utf8 = ahead
            .atom("UTF8")
            .is_ok_and(|word| word.eq_ignore_ascii_case("UTF8"));
        if utf8 {
            //= https://www.rfc-editor.org/rfc/rfc6855#section-4
            ahead.space()?;
            ahead.byte(b'(', "a ( before the message")?;
            *self = ahead;
        }
        let binary = self.take(b'~');
        if utf8 && !binary {
            return self.fail("a literal with ~");
        }
        let announced = self.announced()?;
        Ok((Announced { binary, ..announced }, utf8))
    }

    /// `{n}` or `{n+}` with its CRLF, of which the bytes may be there or not.
    pub(crate) fn announced(&mut self) -> Read<Announced> {
        self.byte(b'{', "a literal")?;
        let start = self.at;
        let digits = self.digits()?;
        let size_bytes = digits.parse().or(Err(ReadError::Syntax {
            expected: "a size of 64 bits",
            at: start,
        }))?;
        let unasked = self.take(b'+');
        self.byte(b'}', "the } of a literal")?;
        if !self.rest().starts_with(b"\r\n") {
            return self.fail("the line end after a literal's size");
        }
        self.at += 2;
        Ok(Announced {
            size_bytes,
            unasked,
            binary: false,
        })
    }

    fn literal(&mut self) -> Read<&'a [u8]> {
        let announced = self.announced()?;
        let size = usize::try_from(announced.size_bytes).unwrap_or(usize::MAX);
        let Some(bytes) = self.rest().get(..size) else {
            return Err(ReadError::Literal(announced));
        };
        //= https://www.rfc-editor.org/rfc/rfc3501#section-9
        // CHAR8 is any octet but NUL.
        if bytes.contains(&0) {
            return self.fail("a literal without NUL");
        }
        self.at += size;
        Ok(bytes)
    }

    pub(crate) fn mailbox(&mut self) -> Read<MailboxName> {
        let text = self.text()?;
        self.mailbox_name(&text)
    }

    /// What a text names, in the client's spelling.
    pub(crate) fn mailbox_name(&mut self, text: &str) -> Read<MailboxName> {
        if !self.dialect.utf8 {
            return Ok(MailboxName::from_utf7(text)?);
        }
        let name = MailboxName::new(text)?;
        //= https://www.rfc-editor.org/rfc/rfc9051#section-6.3.9.7
        if !crate::name::is_composed(text) {
            self.respelt.push(Respelt {
                name: name.clone(),
                written: text.into(),
                gone: false,
            });
        }
        Ok(name)
    }

    /// An `objectid` (RFC 8474 §7).
    pub(crate) fn object_id(&mut self) -> Read<Box<str>> {
        let start = self.at;
        let id = self.run(
            |b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'),
            "an object ID",
        )?;
        match id.len() {
            ..=255 => Ok(id.into()),
            _ => Err(ReadError::Syntax {
                expected: "an object ID of at most 255 characters",
                at: start,
            }),
        }
    }

    /// The name or pattern of LIST, as it is written.
    pub(crate) fn list_mailbox(&mut self) -> Read<String> {
        match self.peek() {
            Some(b'"' | b'{') => self.text(),
            _ => Ok(self
                .run(
                    |b| is_astring_char(b) || matches!(b, b'%' | b'*'),
                    "a mailbox pattern",
                )?
                .to_owned()),
        }
    }

    /// A flag; none for a system flag that nobody has defined yet, which is a flag by the grammar and none that is kept.
    //= https://www.rfc-editor.org/rfc/rfc3501#section-7.1
    // What is not among PERMANENTFLAGS is passed over. The grammar has no \Recent here.
    fn flag(&mut self) -> Read<Option<Flag>> {
        let start = self.at;
        let is_system = self.take(b'\\');
        self.atom("a flag")?;
        // What is read is ASCII.
        let text = std::str::from_utf8(&self.bytes[start..self.at]).unwrap_or_default();
        match Flag::parse(text) {
            None if !is_system || text.eq_ignore_ascii_case("\\Recent") => Err(ReadError::Syntax {
                expected: "a flag that can be set",
                at: start,
            }),
            flag => Ok(flag),
        }
    }

    /// Flags in parentheses.
    pub(crate) fn flag_list(&mut self) -> Read<Flags> {
        let mut flags = Flags::new();
        self.list(true, |r| {
            if let Some(flag) = r.flag()? {
                flags.insert(flag);
            }
            at_most(flags.keywords().len(), limits::IMAP_KEYWORDS, "keywords")
        })?;
        Ok(flags)
    }

    /// Flags in parentheses or, as STORE has it, bare.
    pub(crate) fn flags(&mut self) -> Read<Flags> {
        if self.peek() == Some(b'(') {
            return self.flag_list();
        }
        let mut flags: Flags = self.flag()?.into_iter().collect();
        while self.take(b' ') {
            if let Some(flag) = self.flag()? {
                flags.insert(flag);
            }
            at_most(flags.keywords().len(), limits::IMAP_KEYWORDS, "keywords")?;
        }
        Ok(flags)
    }

    /// Elements in parentheses, one space between them; `empty` says whether there may be none.
    pub(crate) fn list(&mut self, empty: bool, mut element: impl FnMut(&mut Self) -> Read<()>) -> Read<()> {
        self.nested(|r| {
            r.byte(b'(', "a list in parentheses")?;
            if empty && r.take(b')') {
                return Ok(());
            }
            loop {
                element(r)?;
                if r.take(b')') {
                    return Ok(());
                }
                r.space()?;
            }
        })
    }

    /// Reads something that may hold more of its kind, to a bounded depth.
    pub(crate) fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Read<T>) -> Read<T> {
        self.depth += 1;
        at_most(self.depth, limits::IMAP_NESTING, "levels of nesting")?;
        let out = read(self)?;
        self.depth -= 1;
        Ok(out)
    }

    /// A `date`, with or without quotes.
    pub(crate) fn date(&mut self) -> Read<Date> {
        let start = self.at;
        let quoted = self.take(b'"');
        let text = self.run(|b| b.is_ascii_alphanumeric() || b == b'-', "a date")?;
        if quoted {
            self.byte(b'"', "a quote")?;
        }
        Date::parse(text).ok_or(ReadError::Syntax {
            expected: "a date as 1-Feb-1994",
            at: start,
        })
    }

    pub(crate) fn date_time(&mut self) -> Read<UnixTime> {
        let start = self.at;
        let text = self.quoted()?;
        parse_date_time(&text).ok_or(ReadError::Syntax {
            expected: "a date and time",
            at: start,
        })
    }
}

/// Fails when there are more than `limit`.
pub(crate) fn at_most(count: usize, limit: usize, what: &'static str) -> Read<()> {
    if count > limit {
        Err(ReadError::TooMany { what, limit })
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_come_in_three_forms() {
        let read = |bytes: &'static [u8]| Reader::new(bytes).astring().map(Cow::into_owned);
        assert_eq!(read(b"atom] rest"), Ok(b"atom]".to_vec()));
        assert_eq!(read(b"\"a \\\"b\\\\ c\" rest"), Ok(b"a \"b\\ c".to_vec()));
        assert_eq!(read(b"\"\""), Ok(vec![]));
        assert_eq!(read(b"{3}\r\na\r\nb"), Ok(b"a\r\n".to_vec()));
        assert_eq!(read(b"{0+}\r\n"), Ok(vec![]));
        for bad in [
            &b""[..],
            b"(",
            b"\"open",
            b"\"a\\b\"",
            b"\"a\nb\"",
            b"\"\xff\"",
            b"{1}\r\n\0",
            b"{1}a",
        ] {
            assert!(
                matches!(Reader::new(bad).astring(), Err(ReadError::Syntax { .. })),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn a_literal_that_is_to_come_is_told_from_a_mistake() {
        let announced = |size_bytes, unasked| {
            Err(ReadError::Literal(Announced {
                size_bytes,
                unasked,
                binary: false,
            }))
        };
        assert_eq!(Reader::new(b"{5}\r\nabcd").string(), announced(5, false));
        assert_eq!(
            Reader::new(b"{18446744073709551615+}\r\n").string(),
            announced(u64::MAX, true)
        );
        assert!(matches!(
            Reader::new(b"{18446744073709551616}\r\n").string(),
            Err(ReadError::Syntax { .. })
        ));
    }

    #[test]
    fn numbers_and_sets_keep_to_32_bits() {
        assert_eq!(Reader::new(b"4294967295").number(), Ok(u32::MAX));
        assert!(Reader::new(b"4294967296").number().is_err());
        assert!(Reader::new(b"0").nz_number().is_err());
        assert!(Reader::new(b"1:4294967296").sequence_set().is_err());
    }

    #[test]
    fn flags_come_with_and_without_parentheses() {
        let flags = |text: &'static str| Reader::new(text.as_bytes()).flags().map(|f| f.to_string());
        assert_eq!(flags("(\\Seen $a)").as_deref(), Ok("\\Seen $a"));
        assert_eq!(flags("()").as_deref(), Ok(""));
        assert_eq!(flags("\\Seen \\Deleted").as_deref(), Ok("\\Deleted \\Seen"));
        assert!(flags("(\\Recent)").is_err());
        assert!(flags("(\\Seen  \\Deleted)").is_err());
        assert!(flags("(\\Seen").is_err());
        let many = (0..65).map(|i| format!("k{i}")).collect::<Vec<_>>().join(" ");
        assert!(matches!(
            Reader::new(many.as_bytes()).flags(),
            Err(ReadError::TooMany { .. })
        ));
    }
}
