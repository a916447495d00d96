//! A message on its way, and what it is known by.

use bytes::Bytes;
use ringpost_admin::StoredMessage;
use ringpost_base::limits;
use ringpost_imap::Flag;
use sha2::{Digest, Sha256};

/// A message that is to be brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// What it is called where it comes from.
    pub(crate) label: String,
    /// Flags and keywords as IMAP writes them.
    pub(crate) flags: Vec<String>,
    /// When it came, in seconds since 1970.
    pub(crate) received_s: u64,
    /// The message, its lines ended by CRLF.
    pub(crate) bytes: Bytes,
}

/// What a message says of itself, by which it is found again: its size, its Message-ID and Date, or without the former its
/// Subject. When it came is not among it: copies of a Maildir have other times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Fingerprint([u8; 16]);

impl Fingerprint {
    /// Of a whole message.
    pub(crate) fn of(message: &[u8]) -> Self {
        let header = &message[..header_len(message)];
        // What holds NUL is kept in base64, and so with another size.
        let size_bytes = (!message.contains(&0)).then_some(message.len() as u64);
        Fingerprint::of_header(header, size_bytes)
    }

    /// Of a message of this size that has these fields.
    pub(crate) fn of_header(header: &[u8], size_bytes: Option<u64>) -> Self {
        let envelope = ringpost_mail::envelope_of(header);
        Fingerprint::new(
            size_bytes,
            envelope.message_id.as_deref(),
            envelope.date.as_deref(),
            envelope.subject.as_deref(),
        )
    }

    /// Those of a message that is there: with its size, and without.
    pub(crate) fn of_stored(message: &StoredMessage) -> [Self; 2] {
        [Some(message.size_bytes), None].map(|size_bytes| {
            Fingerprint::new(
                size_bytes,
                message.message_id.as_deref(),
                message.date.as_deref(),
                message.subject.as_deref(),
            )
        })
    }

    fn new(
        size_bytes: Option<u64>,
        message_id: Option<&str>,
        date: Option<&str>,
        subject: Option<&str>,
    ) -> Self {
        let mut hash = Sha256::new();
        hash.update(size_bytes.map_or([0xff; 8], u64::to_be_bytes));
        for text in [message_id, date, subject.filter(|_| message_id.is_none())] {
            let text = text.unwrap_or_default();
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        }
        let mut fingerprint = [0; 16];
        fingerprint.copy_from_slice(&hash.finalize()[..16]);
        Fingerprint(fingerprint)
    }

    /// For a file's name.
    pub(crate) fn to_hex(self) -> String {
        self.0[..8].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// How much of a message is its header, the empty line included.
pub(crate) fn header_len(message: &[u8]) -> usize {
    if message.starts_with(b"\r\n") {
        return 2;
    }
    let end = message.windows(4).position(|four| four == b"\r\n\r\n");
    end.map_or(message.len(), |at| at + 4)
}

/// The message with CRLF where a line ended with LF alone.
pub(crate) fn with_crlf(bytes: Vec<u8>) -> Bytes {
    let bare = |at: &usize| bytes[*at] == b'\n' && (*at == 0 || bytes[*at - 1] != b'\r');
    let missing = (0..bytes.len()).filter(bare).count();
    if missing == 0 {
        return bytes.into();
    }
    let mut out = Vec::with_capacity(bytes.len() + missing);
    for (at, byte) in bytes.iter().enumerate() {
        if bare(&at) {
            out.push(b'\r');
        }
        out.push(*byte);
    }
    out.into()
}

/// What of these can be kept as flags, each once, and what cannot. `\Recent` is neither.
pub(crate) fn kept_flags(texts: impl IntoIterator<Item = String>) -> (Vec<String>, Vec<String>) {
    let (mut kept, mut lost, mut keywords) = (Vec::<String>::new(), Vec::new(), 0);
    for text in texts {
        if text.eq_ignore_ascii_case("\\Recent") || kept.iter().any(|known| known.eq_ignore_ascii_case(&text))
        {
            continue;
        }
        match Flag::parse(&text) {
            Some(Flag::System(_)) => kept.push(text),
            Some(Flag::Keyword(_)) if keywords < limits::IMAP_KEYWORDS => {
                keywords += 1;
                kept.push(text);
            }
            _ => lost.push(text),
        }
    }
    (kept, lost)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_with_crlf_and_nothing_else_changes() {
        for (from, to) in [
            ("a\nb\r\n\n\r\n", "a\r\nb\r\n\r\n\r\n"),
            ("\n", "\r\n"),
            ("a\rb", "a\rb"),
            ("\r\r\n", "\r\r\n"),
            ("", ""),
        ] {
            assert_eq!(with_crlf(from.into()), to.as_bytes(), "{from:?}");
        }
    }

    #[test]
    fn a_message_is_known_by_what_it_says_of_itself() {
        let one = b"Message-ID: <1@x>\r\nDate: Thu, 1 Jan 2026 00:00:00 +0000\r\nSubject: a\r\n\r\nbody\r\n";
        let stored = StoredMessage {
            uid: 1,
            size_bytes: one.len() as u64,
            received_s: 0,
            flags: Vec::new(),
            message_id: Some("<1@x>".into()),
            date: Some("Thu, 1 Jan 2026 00:00:00 +0000".into()),
            subject: None,
        };
        assert_eq!(Fingerprint::of(one), Fingerprint::of_stored(&stored)[0]);
        let mut longer = one.to_vec();
        longer.extend(b"more");
        assert_ne!(Fingerprint::of(&longer), Fingerprint::of(one));
        longer.push(0);
        assert_eq!(
            Fingerprint::of(&longer),
            Fingerprint::of_stored(&stored)[1],
            "NUL changes the size"
        );
        assert_ne!(
            Fingerprint::of(b"Subject: a\r\n\r\n"),
            Fingerprint::of(b"Subject: b\r\n\r\n")
        );
    }

    #[test]
    fn flags_that_cannot_be_kept_are_told() {
        let texts = [
            "\\seen",
            "\\Recent",
            "$Forwarded",
            "$forwarded",
            "two words",
            "\\Foo",
        ];
        let (kept, lost) = kept_flags(texts.map(String::from));
        assert_eq!(kept, ["\\seen", "$Forwarded"]);
        assert_eq!(lost, ["two words", "\\Foo"]);
    }
}
