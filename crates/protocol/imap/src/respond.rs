//! How the server writes: strings that no client can misread, and what ENVELOPE and BODYSTRUCTURE look like
//! (RFC 3501 §7.4.2).

use crate::command::BodyItem;
use crate::name::MailboxName;
use crate::section::{Section, SectionText};
use crate::structure::{Address, Content, Disposition, Envelope, Part};
use crate::token::is_astring_char;
use crate::words::encode_words;
use bytes::{BufMut, BytesMut};
use std::fmt::{self, Write};

/// Bytes on their way out.
#[derive(Debug, Default)]
pub(crate) struct Wire {
    pub(crate) bytes: BytesMut,
    /// Whether the client takes UTF-8 in quoted strings (RFC 6855 §3, RFC 9051 Appendix A).
    pub(crate) utf8: bool,
    /// Whether the client has enabled IMAP4rev2.
    pub(crate) rev2: bool,
}

impl Write for Wire {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.bytes.put_slice(text.as_bytes());
        Ok(())
    }
}

impl Wire {
    /// An empty one to the same client.
    pub(crate) fn like(&self) -> Wire {
        Wire {
            bytes: BytesMut::new(),
            ..*self
        }
    }

    /// Writes what `format_args!` gives; memory takes all of it.
    pub(crate) fn put(&mut self, args: fmt::Arguments<'_>) {
        let _infallible = self.write_fmt(args);
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.bytes.put_slice(text.as_bytes());
    }

    /// A quoted string, of ASCII unless the client takes UTF-8. What may not stand in one is left out, so nothing that was
    /// stored can end it early.
    pub(crate) fn quoted(&mut self, text: &str) {
        self.bytes.put_u8(b'"');
        // Mostly it stands as it is.
        let is_plain = |any, b: u8| any & matches!(b, b' '..=b'~') & (b != b'"') & (b != b'\\');
        if text.bytes().fold(true, is_plain) {
            self.bytes.put_slice(text.as_bytes());
            return self.bytes.put_u8(b'"');
        }
        for b in text.bytes() {
            match b {
                b'"' | b'\\' => self.bytes.put_slice(&[b'\\', b]),
                b'\r' | b'\n' => self.bytes.put_u8(b' '),
                b'\t' | b' '..=b'~' => self.bytes.put_u8(b),
                0x80.. if self.utf8 => self.bytes.put_u8(b),
                _ => {}
            }
        }
        self.bytes.put_u8(b'"');
    }

    /// The name of a mailbox as the client spells names.
    pub(crate) fn mailbox(&mut self, name: &MailboxName) {
        match self.utf8 {
            true => self.astring(name.as_str()),
            false => self.astring(&name.to_utf7()),
        }
    }

    /// An atom where it may be one, otherwise a quoted string.
    pub(crate) fn astring(&mut self, text: &str) {
        if !text.is_empty() && text.bytes().all(is_astring_char) && !text.eq_ignore_ascii_case("NIL") {
            self.text(text);
        } else {
            self.quoted(text);
        }
    }

    /// A header's text as a quoted string; what is not ASCII in encoded words.
    fn header_text(&mut self, text: &str) {
        if text.is_ascii() || self.utf8 {
            self.quoted(text)
        } else {
            self.quoted(&encode_words(text))
        }
    }

    fn optional(&mut self, text: Option<&str>) {
        match text {
            Some(text) => self.header_text(text),
            None => self.text("NIL"),
        }
    }

    /// Elements in parentheses, or NIL for none.
    fn list<T>(&mut self, items: &[T], gap: &str, mut write: impl FnMut(&mut Self, &T)) {
        if items.is_empty() {
            return self.text("NIL");
        }
        self.text("(");
        for (i, item) in items.iter().enumerate() {
            if i > 0 {
                self.text(gap);
            }
            write(self, item);
        }
        self.text(")");
    }

    /// ENVELOPE's value.
    pub(crate) fn envelope<S: AsRef<str>>(&mut self, envelope: &Envelope<S>) {
        //= https://www.rfc-editor.org/rfc/rfc3501#section-7.4.2
        // Where Sender or Reply-To is missing or empty, the author stands in.
        let or_from = |list: &[Address<S>]| list.is_empty();
        let sender = if or_from(&envelope.sender) {
            &envelope.from
        } else {
            &envelope.sender
        };
        let reply_to = if or_from(&envelope.reply_to) {
            &envelope.from
        } else {
            &envelope.reply_to
        };
        self.text("(");
        self.optional(envelope.date.as_ref().map(S::as_ref));
        self.text(" ");
        self.optional(envelope.subject.as_ref().map(S::as_ref));
        for addresses in [
            &envelope.from,
            sender,
            reply_to,
            &envelope.to,
            &envelope.cc,
            &envelope.bcc,
        ] {
            self.text(" ");
            self.list(addresses, "", Wire::address);
        }
        self.text(" ");
        self.optional(envelope.in_reply_to.as_ref().map(S::as_ref));
        self.text(" ");
        self.optional(envelope.message_id.as_ref().map(S::as_ref));
        self.text(")");
    }

    fn address<S: AsRef<str>>(&mut self, address: &Address<S>) {
        match address {
            Address::Mailbox { name, local, domain } => {
                self.text("(");
                self.optional(name.as_ref().map(S::as_ref));
                self.text(" NIL ");
                self.header_text(local.as_ref());
                self.text(" ");
                // NIL would make it the start of a group.
                self.header_text(domain.as_ref());
                self.text(")");
            }
            Address::GroupStart(name) => {
                self.text("(NIL NIL ");
                self.header_text(name.as_ref());
                self.text(" NIL)");
            }
            Address::GroupEnd => self.text("(NIL NIL NIL NIL)"),
        }
    }

    /// BODYSTRUCTURE's value, or BODY's without the extension data.
    pub(crate) fn structure(&mut self, part: &Part, extended: bool) {
        self.text("(");
        match &part.content {
            Content::Multipart { subtype, parts } => {
                parts.iter().for_each(|part| self.structure(part, extended));
                self.text(" ");
                self.quoted(&subtype.to_ascii_uppercase());
                if extended {
                    self.text(" ");
                    self.parameters(&part.parameters);
                }
            }
            Content::Single { kind, subtype } => {
                self.basic(part, kind, subtype);
                if kind.eq_ignore_ascii_case("TEXT") {
                    self.put(format_args!(" {}", part.lines));
                }
                if extended {
                    self.text(" ");
                    self.optional(part.md5.as_deref());
                }
            }
            Content::Message { envelope, message } => {
                self.basic(part, "MESSAGE", "RFC822");
                self.text(" ");
                self.envelope(envelope);
                self.text(" ");
                self.structure(message, extended);
                self.put(format_args!(" {}", part.lines));
                if extended {
                    self.text(" ");
                    self.optional(part.md5.as_deref());
                }
            }
        }
        if extended {
            self.extension(part);
        }
        self.text(")");
    }

    /// The fields that every part but a multipart has.
    fn basic(&mut self, part: &Part, kind: &str, subtype: &str) {
        self.quoted(&kind.to_ascii_uppercase());
        self.text(" ");
        self.quoted(&subtype.to_ascii_uppercase());
        self.text(" ");
        self.parameters(&part.parameters);
        self.text(" ");
        self.optional(part.id.as_deref());
        self.text(" ");
        self.optional(part.description.as_deref());
        self.text(" ");
        self.quoted(&part.encoding.to_ascii_uppercase());
        self.put(format_args!(" {}", part.size_bytes()));
    }

    fn extension(&mut self, part: &Part) {
        self.text(" ");
        match &part.disposition {
            None => self.text("NIL"),
            Some(Disposition { kind, parameters }) => {
                self.text("(");
                self.quoted(&kind.to_ascii_uppercase());
                self.text(" ");
                self.parameters(parameters);
                self.text(")");
            }
        }
        self.text(" ");
        self.list(&part.language, " ", |wire, tag| wire.quoted(tag));
        self.text(" ");
        self.optional(part.location.as_deref());
    }

    fn parameters(&mut self, parameters: &[(String, String)]) {
        self.list(parameters, " ", |wire, (name, value)| {
            if value.is_ascii() || wire.utf8 {
                wire.quoted(&name.to_ascii_uppercase());
                wire.text(" ");
                return wire.quoted(value);
            }
            //= https://www.rfc-editor.org/rfc/rfc2231#section-4
            // A value that is not ASCII keeps the form that a header would give it.
            wire.quoted(&format!("{}*", name.to_ascii_uppercase()));
            wire.text(" ");
            wire.quoted(&extended_value(value));
        });
    }

    /// The name under which FETCH gives a part of the message.
    pub(crate) fn body_name(&mut self, item: &BodyItem) {
        match item.old_name {
            Some(name) => self.text(name),
            None => {
                self.text("BODY[");
                self.section(&item.section);
                self.text("]");
            }
        }
        //= https://www.rfc-editor.org/rfc/rfc3501#section-7.4.2
        // Only the origin octet of a partial is told; the literal's size tells the rest.
        if let Some(partial) = item.partial {
            self.put(format_args!("<{}>", partial.offset));
        }
    }

    /// The numbers of a part.
    pub(crate) fn part_numbers(&mut self, part: &[u32]) {
        for (i, number) in part.iter().enumerate() {
            self.put(format_args!("{}{number}", if i > 0 { "." } else { "" }));
        }
    }

    /// Text that may be anything, as a string.
    pub(crate) fn string(&mut self, text: &str) {
        if text
            .bytes()
            .all(|b| matches!(b, b' '..=b'~') || self.utf8 && b >= 0x80)
        {
            return self.quoted(text);
        }
        let text = text.replace('\0', "");
        self.put(format_args!("{{{}}}\r\n{text}", text.len()));
    }

    fn section(&mut self, section: &Section) {
        self.part_numbers(&section.part);
        let Some(text) = &section.text else { return };
        if !section.part.is_empty() {
            self.text(".");
        }
        match text {
            SectionText::Header => self.text("HEADER"),
            SectionText::Text => self.text("TEXT"),
            SectionText::Mime => self.text("MIME"),
            SectionText::Fields(filter) => {
                self.text(if filter.not {
                    "HEADER.FIELDS.NOT "
                } else {
                    "HEADER.FIELDS "
                });
                self.list(&filter.names, " ", |wire, name| wire.astring(name));
            }
        }
    }
}

/// `UTF-8''` and the value with everything but `attribute-char` percent-encoded (RFC 2231 §7).
fn extended_value(value: &str) -> String {
    let mut out = String::from("UTF-8''");
    for b in value.bytes() {
        if b.is_ascii_alphanumeric() || b"!#$&+-.^_`{|}~".contains(&b) {
            out.push(b.into());
        } else {
            let _infallible = write!(out, "%{b:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(write: impl FnOnce(&mut Wire)) -> String {
        let mut wire = Wire::default();
        write(&mut wire);
        String::from_utf8(wire.bytes.to_vec()).unwrap()
    }

    fn somebody(name: Option<&str>, local: &str, domain: &str) -> Address {
        Address::Mailbox {
            name: name.map(str::to_owned),
            local: local.into(),
            domain: domain.into(),
        }
    }

    #[test]
    fn the_rfcs_own_envelope() {
        // RFC 3501 §8.
        let terry = vec![somebody(Some("Terry Gray"), "gray", "cac.washington.edu")];
        let envelope = Envelope {
            date: Some("Wed, 17 Jul 1996 02:23:25 -0700 (PDT)".into()),
            subject: Some("IMAP4rev1 WG mtg summary and minutes".into()),
            from: terry,
            to: vec![somebody(None, "imap", "cac.washington.edu")],
            cc: vec![
                somebody(None, "minutes", "CNRI.Reston.VA.US"),
                somebody(Some("John Klensin"), "KLENSIN", "MIT.EDU"),
            ],
            message_id: Some("<B27397-0100000@cac.washington.edu>".into()),
            ..Envelope::default()
        };
        assert_eq!(
            wire(|w| w.envelope(&envelope)),
            "(\"Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\" \"IMAP4rev1 WG mtg summary and minutes\" \
             ((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) \
             ((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) \
             ((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) \
             ((NIL NIL \"imap\" \"cac.washington.edu\")) \
             ((NIL NIL \"minutes\" \"CNRI.Reston.VA.US\")(\"John Klensin\" NIL \"KLENSIN\" \"MIT.EDU\")) NIL NIL \
             \"<B27397-0100000@cac.washington.edu>\")"
        );
    }

    #[test]
    fn nil_is_nothing_and_an_empty_string_is_something() {
        // Guards pitfall IMAP 8: NIL against "", and groups.
        let envelope = Envelope {
            subject: Some(String::new()),
            to: vec![Address::GroupStart("undisclosed".into()), Address::GroupEnd],
            cc: vec![somebody(None, "root", "")],
            ..Envelope::default()
        };
        assert_eq!(
            wire(|w| w.envelope(&envelope)),
            "(NIL \"\" NIL NIL NIL ((NIL NIL \"undisclosed\" NIL)(NIL NIL NIL NIL)) ((NIL NIL \"root\" \"\")) NIL NIL NIL)"
        );
    }

    #[test]
    fn nothing_that_is_stored_reaches_a_client_as_raw_8_bit_or_ends_a_string() {
        // Guards pitfall IMAP 8: no raw 8-bit.
        let envelope = Envelope {
            subject: Some("Grüße \"x\"\r\nA1 OK\0".into()),
            from: vec![somebody(Some("a\\\"b\u{7}"), "l", "d")],
            ..Envelope::default()
        };
        let text = wire(|w| w.envelope(&envelope));
        assert!(text.is_ascii());
        assert!(!text.contains(['\r', '\n', '\0', '\u{7}']));
        assert!(text.contains("=?UTF-8?B?"));
        assert!(text.contains("\"a\\\\\\\"b\""));
    }

    #[test]
    fn the_rfcs_own_body_of_a_text() {
        // RFC 3501 §7.4.2: ("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 2279 48)
        let mut part = Part::single(0..100, 100..2379, 48, "text", "plain");
        part.parameters = vec![("charset".into(), "US-ASCII".into())];
        assert_eq!(
            wire(|w| w.structure(&part, false)),
            "(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 2279 48)"
        );
        assert_eq!(
            wire(|w| w.structure(&part, true)),
            "(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 2279 48 NIL NIL NIL NIL)"
        );
    }

    #[test]
    fn a_multipart_with_a_message_and_a_name_in_german() {
        // Guards pitfall IMAP 8: RFC 2231 parameters and message/rfc822.
        let mut sound = Part::single(0..0, 0..4, 1, "audio", "wav");
        sound.encoding = "base64".into();
        sound.disposition = Some(Disposition {
            kind: "attachment".into(),
            parameters: vec![("filename".into(), "Grüße.wav".into())],
        });
        let inner = Part::single(10..20, 20..30, 2, "text", "plain");
        let mut message = Part::single(5..10, 10..30, 3, "message", "rfc822");
        message.content = Content::Message {
            envelope: Box::new(Envelope::default()),
            message: Box::new(inner),
        };
        let mut whole = Part::single(0..0, 0..30, 9, "multipart", "mixed");
        whole.parameters = vec![("boundary".into(), "b".into())];
        whole.language = vec!["de".into(), "en".into()];
        whole.content = Content::Multipart {
            subtype: "mixed".into(),
            parts: vec![sound, message],
        };
        assert_eq!(
            wire(|w| w.structure(&whole, true)),
            "((\"AUDIO\" \"WAV\" NIL NIL NIL \"BASE64\" 4 NIL \
             (\"ATTACHMENT\" (\"FILENAME*\" \"UTF-8''Gr%C3%BC%C3%9Fe.wav\")) NIL NIL)\
             (\"MESSAGE\" \"RFC822\" NIL NIL NIL \"7BIT\" 20 \
             (NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL) \
             (\"TEXT\" \"PLAIN\" NIL NIL NIL \"7BIT\" 10 2 NIL NIL NIL NIL) 3 NIL NIL NIL NIL) \
             \"MIXED\" (\"BOUNDARY\" \"b\") NIL (\"de\" \"en\") NIL)"
        );
    }
}
