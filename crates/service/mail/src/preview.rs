//! How a message's text begins, for lists of messages (RFC 8970).

use crate::search::text_of;
use crate::{MailError, Selected};
use mail_parser::decoders::html::html_to_text;
use ringpost_imap::structure::{Content, Part};
use ringpost_store::Bodies;
use ringpost_store::records::Message;

/// Characters of a preview.
const CHARS: usize = 200;
/// What is read of the text part for it; an HTML part begins with much that is not text.
const PART_BYTES: u64 = 32 * 1024;

/// The preview of a message; empty when it has no text that can be shown.
pub(crate) async fn preview(
    bodies: &Bodies,
    selected: &Selected,
    message: &Message,
    structure: &Part,
) -> Result<String, MailError> {
    let Some(part) = text_part(structure) else {
        return Ok(String::new());
    };
    // Who writes the message decides how long the header is.
    let header = part.header.end.saturating_sub(PART_BYTES).max(part.header.start);
    let end = part.body.end.min(part.body.start + PART_BYTES);
    let bytes = bodies
        .get_bytes(&selected.home(), message.blob, header..end)
        .await?;
    // A multipart without parts stands for a text, and has none.
    let Some(text) = text_of(&bytes) else {
        return Ok(String::new());
    };
    Ok(match &part.content {
        Content::Single { subtype, .. } if subtype == "HTML" => beginning(&html_to_text(&text)),
        _ => beginning(&text),
    })
}

/// The part whose text stands for the message: the first that is shown, plain text before HTML where both say the same.
fn text_part(part: &Part) -> Option<&Part> {
    let is_attached = |part: &Part| {
        let disposition = part.disposition.as_ref();
        disposition.is_some_and(|d| d.kind.eq_ignore_ascii_case("attachment"))
    };
    match &part.content {
        Content::Single { kind, subtype } => {
            (kind == "TEXT" && matches!(subtype.as_str(), "PLAIN" | "HTML") && !is_attached(part))
                .then_some(part)
        }
        // What is encrypted says nothing, and a message within is somebody else's.
        Content::Multipart { subtype, .. } if subtype == "ENCRYPTED" => None,
        Content::Message { .. } => None,
        Content::Multipart { subtype, parts } => {
            let mut texts = parts.iter().filter_map(text_part);
            if subtype != "ALTERNATIVE" {
                return texts.next();
            }
            let texts: Vec<&Part> = texts.collect();
            let plain = |part: &&&Part| matches!(&part.content, Content::Single { subtype, .. } if subtype == "PLAIN");
            texts.iter().find(plain).or(texts.first()).copied()
        }
    }
}

/// The first words, white space as one space, quotes of what is answered left out.
fn beginning(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.starts_with('>'));
    let mut out = String::new();
    let mut chars = 0;
    for word in lines.flat_map(str::split_whitespace) {
        if !out.is_empty() {
            out.push(' ');
            chars += 1;
        }
        for c in word.chars().filter(|c| !c.is_control()) {
            if chars >= CHARS {
                return out.trim_end().to_owned();
            }
            out.push(c);
            chars += 1;
        }
    }
    out
}

pub(crate) fn fuzz(text: &str) {
    for shown in [beginning(text), beginning(&html_to_text(text))] {
        assert!(shown.chars().count() <= CHARS && !shown.chars().any(char::is_control));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preview_is_one_line_of_words() {
        assert_eq!(
            beginning("Hello,\r\n\r\n  how\tare \u{7}you?\r\n> quoted\r\nFine."),
            "Hello, how are you? Fine."
        );
        assert_eq!(beginning(""), "");
        let long = beginning(&"wörd ".repeat(100));
        assert!(long.chars().count() <= CHARS && long.starts_with("wörd wörd"));
        assert_eq!(beginning(&"x".repeat(1_000)).len(), CHARS);
    }
}
