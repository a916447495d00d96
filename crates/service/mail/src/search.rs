//! SEARCH: what the session could not decide by itself.

use crate::messages::{READ_AT_ONCE, fetched};
use crate::parse::field::fields;
use crate::{Mail, MailError, Selected};
use bytes::Bytes;
use mail_parser::decoders::charsets::map::charset_decoder;
use mail_parser::{MessageParser, PartType};
use ringpost_base::{UnixTime, limits};
use ringpost_imap::decode_words_with;
use ringpost_imap::question::{Candidate, Wants};
use ringpost_imap::search::{Facts, MessageText, SearchKey};
use ringpost_imap::structure::{Address, Content, Envelope, Part};
use ringpost_store::records::Message;
use std::collections::HashMap;
use std::sync::Arc;

impl Mail {
    /// Which of the messages match, ascending. Bodies are read only for keys that need them, and only their text parts.
    pub async fn search(
        &self,
        selected: &Selected,
        key: &SearchKey,
        among: &[Candidate],
        now: UnixTime,
    ) -> Result<Vec<u32>, MailError> {
        let mut found = Vec::new();
        for some in among.chunks(READ_AT_ONCE) {
            let uids: Vec<_> = some.iter().map(|candidate| candidate.uid).collect();
            let known: HashMap<_, _> = self.known(selected, &uids).await?.into_iter().collect();
            for candidate in some {
                let Some(message) = known.get(&candidate.uid) else {
                    continue;
                };
                if self.matches(selected, key, candidate, message, now).await? {
                    found.push(candidate.uid);
                }
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    async fn matches(
        &self,
        selected: &Selected,
        key: &SearchKey,
        candidate: &Candidate,
        message: &Message,
        now: UnixTime,
    ) -> Result<bool, MailError> {
        let needs = key.needs();
        let wants = Wants {
            envelope: needs.message,
            structure: needs.text,
            preview: false,
            thread: key.wants_thread(),
        };
        let mut known = fetched(candidate.uid, message, wants)?;
        if wants.thread {
            known.thread_id = Some(self.thread_of(selected, message).await?);
        }
        if let Some(envelope) = known.envelope.as_mut().and_then(Arc::get_mut) {
            decode_envelope(envelope);
        }
        let mut facts = Facts {
            candidate,
            message: Some(&known),
            text: None,
            now,
        };
        if let Some(decided) = key.evaluate(&facts) {
            return Ok(decided);
        }
        let text = self
            .text_of(selected, message, known.structure.as_deref())
            .await?;
        facts.text = Some(&text);
        Ok(key.evaluate(&facts).unwrap_or(false))
    }

    async fn text_of(
        &self,
        selected: &Selected,
        message: &Message,
        structure: Option<&Part>,
    ) -> Result<LoadedText, MailError> {
        let home = selected.home();
        // Whoever sends a message decides how long its header is.
        let header_end = message.header_bytes.min(limits::MESSAGE_HEADER_BYTES as u64);
        let header = self.bodies.get_bytes(&home, message.blob, 0..header_end).await?;
        let mut text = LoadedText {
            header,
            parts: Vec::new(),
        };
        let mut ranges = Vec::new();
        if let Some(structure) = structure {
            text_ranges(structure, &mut ranges);
        }
        let mut left = limits::SEARCH_TEXT_BYTES;
        for (is_header, range) in ranges {
            let most = match is_header {
                true => limits::MESSAGE_HEADER_BYTES as u64,
                false => limits::SEARCH_TEXT_BYTES,
            };
            let end = range.end.min(range.start + most.min(left));
            left -= end - range.start;
            let bytes = self
                .bodies
                .get_bytes(&home, message.blob, range.start..end)
                .await?;
            text.parts.push(if is_header {
                header_text(&bytes)
            } else {
                part_text(&bytes)
            });
        }
        Ok(text)
    }
}

/// Where the texts of a message's body are: text parts with their headers, and the headers of messages within it.
fn text_ranges(part: &Part, out: &mut Vec<(bool, std::ops::Range<u64>)>) {
    match &part.content {
        Content::Single { kind, .. } if kind == "TEXT" => out.push((false, part.header.start..part.body.end)),
        Content::Single { .. } => {}
        Content::Multipart { parts, .. } => parts.iter().for_each(|inner| text_ranges(inner, out)),
        Content::Message { message, .. } => {
            out.push((true, message.header.clone()));
            text_ranges(message, out);
        }
    }
}

/// The texts of a message, decoded.
struct LoadedText {
    header: Bytes,
    parts: Vec<String>,
}

impl MessageText for LoadedText {
    fn any_field(&self, name: Option<&str>, test: &mut dyn FnMut(&str) -> bool) -> bool {
        fields(&self.header).any(|field| {
            let value = || decode_words(&field.value());
            match name {
                Some(name) => field.is(name) && test(&value()),
                None => test(&format!("{}: {}", field.name, value())),
            }
        })
    }

    fn any_body_text(&self, test: &mut dyn FnMut(&str) -> bool) -> bool {
        self.parts.iter().any(|text| test(text))
    }
}

/// Encoded words in every charset that a mail may have.
pub(crate) fn decode_words(text: &str) -> String {
    decode_words_with(text, |charset, bytes| match charset_decoder(charset.as_bytes()) {
        Some(decode) => Some(decode(&bytes)),
        None => String::from_utf8(bytes).ok(),
    })
}

/// What SEARCH looks at of an envelope, decoded: the keys themselves know few charsets.
pub(crate) fn decode_envelope(envelope: &mut Envelope) {
    let decode = |text: &mut String| {
        if text.contains("=?") {
            *text = decode_words(text);
        }
    };
    envelope.subject.iter_mut().for_each(decode);
    let Envelope {
        from, to, cc, bcc, ..
    } = envelope;
    for address in [from, to, cc, bcc].into_iter().flatten() {
        match address {
            Address::Mailbox { name, .. } => name.iter_mut().for_each(decode),
            Address::GroupStart(name) => decode(name),
            Address::GroupEnd => {}
        }
    }
}

fn header_text(header: &[u8]) -> String {
    let lines = fields(header).map(|field| format!("{}: {}\n", field.name, decode_words(&field.value())));
    lines.collect()
}

/// A text part, given with its header, in UTF-8.
pub(crate) fn part_text(bytes: &[u8]) -> String {
    let parsed = MessageParser::default().parse(bytes);
    let body = parsed
        .as_ref()
        .and_then(|message| message.parts.first())
        .map(|part| &part.body);
    match body {
        Some(PartType::Text(text) | PartType::Html(text)) => text.to_string(),
        Some(PartType::Binary(bytes) | PartType::InlineBinary(bytes)) => {
            String::from_utf8_lossy(bytes).into_owned()
        }
        _ => String::from_utf8_lossy(bytes).into_owned(),
    }
}

/// A part with its header: no text is longer than the charset of its bytes allows, and a preview is short.
pub(crate) fn fuzz(data: &[u8]) {
    let (header, text) = (header_text(data), part_text(data));
    // A byte is three of UTF-8 at the most, and an entity or an encoded word is longer than what it stands for.
    for decoded in [&header, &text] {
        assert!(decoded.len() <= 16 * data.len() + 16);
    }
    crate::preview::fuzz(&text);
    decode_words(&String::from_utf8_lossy(data));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_parts_are_decoded_by_their_own_headers() {
        let latin = b"Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nGr=FC=DFe\r\n";
        assert_eq!(part_text(latin).trim_end(), "Grüße");
        let base64 = b"Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\nPHA+R3LDvMOfZTwvcD4=\r\n";
        assert_eq!(part_text(base64).trim_end(), "<p>Grüße</p>");
        assert_eq!(part_text(b"\r\nplain").trim_end(), "plain");
    }

    #[test]
    fn words_and_texts_in_other_charsets_are_decoded() {
        for (encoded, decoded) in [
            ("=?koi8-r?B?8NLJ18XU?=", "Привет"),
            ("=?GB2312?B?xOO6ww==?=", "你好"),
            ("=?iso-2022-jp?B?GyRCRnxLXBsoQg==?=", "日本"),
            ("=?windows-1252?Q?5_=80?=", "5 €"),
            ("=?utf-8?q?=C3=A9?= =?x-none?Q?a?=", "éa"),
        ] {
            assert_eq!(decode_words(encoded), decoded);
        }
        let mut envelope = Envelope {
            subject: Some("=?koi8-r?B?8NLJ18XU?=".into()),
            ..Envelope::default()
        };
        decode_envelope(&mut envelope);
        assert_eq!(envelope.subject.as_deref(), Some("Привет"));
        let body = b"Content-Type: text/plain; charset=shift_jis\r\n\r\n\x93\xfa\x96\x7b\r\n";
        assert_eq!(part_text(body).trim_end(), "日本");
    }
}
