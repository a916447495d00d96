//! SEARCH: what the session could not decide by itself.

use crate::known::{Known, begun, fetched, message_queries};
use crate::parse::codec;
use crate::parse::field::fields;
use crate::{Mail, MailError, Selected};
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use mail_parser::decoders::charsets::map::charset_decoder;
use mail_parser::{MessageParser, PartType};
use ringpost_base::{UnixTime, limits};
use ringpost_imap::decode_words_with;
use ringpost_imap::question::{Candidate, Message as FetchedMessage, Wants};
use ringpost_imap::search::{Facts, MessageText, Needs, SearchKey};
use ringpost_imap::structure::{Address, Content, Envelope, Part};
use ringpost_store::records::Message;
use ringpost_store::{Bodies, Partition, StoreError, clamp};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

/// Messages of which one read brings the records: while they are looked at, the next are being read.
const READ_AT_ONCE: usize = 32;
/// Bodies that are read together, and how many bytes of them; so many such groups are held at a time.
const BODIES_AT_ONCE: usize = 32;
const BODY_BYTES_AT_ONCE: u64 = 128 * 1024;
const GROUPS_AT_ONCE: usize = 3;

/// A message that cannot be decided without its text.
struct Undecided<'a> {
    candidate: &'a Candidate,
    message: Message,
    /// What else is known of it, without its envelope: of many, those would be too much to hold.
    known: FetchedMessage,
}

impl Mail {
    /// Which of the messages match, ascending. Bodies are read only for keys that need them, and only their text parts.
    pub async fn search(
        &self,
        selected: &Selected,
        key: &SearchKey,
        among: &[Candidate],
        now: UnixTime,
    ) -> Result<Vec<u32>, MailError> {
        let id = selected.mailbox.id;
        let home = selected.home();
        let (mut found, mut deciding) = (Vec::new(), Deciding::default());
        let read = |among: &[Candidate]| {
            let some = among.iter().take(READ_AT_ONCE);
            let uids: Vec<u32> = some.map(|candidate| candidate.uid).collect();
            let records = self.store.read(&home, message_queries(id, &uids));
            (uids, begun(records))
        };
        let (mut rest, mut next) = (among, (!among.is_empty()).then(|| read(among)));
        while let Some((uids, records)) = next {
            let known = Known::to(selected, &uids, records.await?)?;
            let some = &rest[..known.looked_at];
            rest = &rest[known.looked_at..];
            next = (!rest.is_empty()).then(|| read(rest));
            let mut candidates = some.iter();
            for (uid, message) in known.messages {
                let Some(candidate) = candidates.find(|candidate| candidate.uid == uid) else {
                    continue;
                };
                let mut known = self.without_text(selected, key, candidate, &message).await?;
                let facts = Facts {
                    candidate,
                    message: Some(&known),
                    text: None,
                    now,
                };
                match key.evaluate(&facts) {
                    Some(true) => found.push(uid),
                    Some(false) => {}
                    None => {
                        known.envelope = None;
                        deciding.waiting.push_back(Undecided {
                            candidate,
                            message,
                            known,
                        });
                    }
                }
            }
            let stays = if next.is_some() { GROUPS_AT_ONCE - 1 } else { 0 };
            while let Some(group) = deciding.next(&self.bodies, &home, stays).await? {
                for (undecided, whole) in group {
                    let uid = undecided.candidate.uid;
                    if self.holds(&home, key, undecided, whole, now).await? {
                        found.push(uid);
                    }
                }
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    /// What a program wants to know of a message beside its text.
    async fn without_text(
        &self,
        selected: &Selected,
        key: &SearchKey,
        candidate: &Candidate,
        message: &Message,
    ) -> Result<FetchedMessage, MailError> {
        let mut known = fetched(candidate.uid, message, Wants::default())?;
        known.envelope = searched_envelope(key, candidate.uid, message)?;
        if key.wants_thread() {
            known.thread_id = Some(self.thread_of(selected, message).await?);
        }
        Ok(known)
    }

    /// Whether a message matches, by its text. `whole` is its body, if it is small.
    async fn holds(
        &self,
        home: &Partition,
        key: &SearchKey,
        undecided: Undecided<'_>,
        whole: Option<Bytes>,
        now: UnixTime,
    ) -> Result<bool, MailError> {
        let body = Body {
            bodies: &self.bodies,
            home,
            message: &undecided.message,
            whole,
        };
        let text = body.text(key.needs()).await?;
        let envelope = searched_envelope(key, undecided.candidate.uid, &undecided.message)?;
        let known = FetchedMessage {
            envelope,
            ..undecided.known
        };
        let facts = Facts {
            candidate: undecided.candidate,
            message: Some(&known),
            text: Some(&text),
            now,
        };
        Ok(key.evaluate(&facts).unwrap_or(false))
    }
}

/// Messages on their way to be decided by their texts: while some are looked through, the bodies of the next are being read.
#[derive(Default)]
struct Deciding<'a> {
    waiting: VecDeque<Undecided<'a>>,
    reading: VecDeque<Group<'a>>,
}

struct Group<'a> {
    messages: Vec<Undecided<'a>>,
    /// The bodies of the small ones.
    bodies: BoxFuture<'a, Result<Vec<Option<Bytes>>, StoreError>>,
}

impl<'a> Deciding<'a> {
    /// The next messages whose bodies have been read; none when no more than `stays` groups are being read.
    async fn next(
        &mut self,
        bodies: &'a Bodies,
        home: &'a Partition,
        stays: usize,
    ) -> Result<Option<Vec<(Undecided<'a>, Option<Bytes>)>>, MailError> {
        while self.reading.len() < GROUPS_AT_ONCE && !self.waiting.is_empty() {
            let messages = next_group(&mut self.waiting);
            let ids = messages.iter().map(|u| u.message.blob);
            let ids = ids.filter(|id| id.is_inline()).collect();
            let bodies = begun(bodies.get_many(home, ids).boxed());
            self.reading.push_back(Group { messages, bodies });
        }
        if self.reading.len() <= stays {
            return Ok(None);
        }
        let Some(Group { messages, bodies }) = self.reading.pop_front() else {
            return Ok(None);
        };
        let mut bodies = bodies.await?.into_iter();
        let with_body = |undecided: Undecided<'a>| {
            let is_small = undecided.message.blob.is_inline();
            let whole = if is_small { bodies.next().flatten() } else { None };
            (undecided, whole)
        };
        Ok(Some(messages.into_iter().map(with_body).collect()))
    }
}

/// The first of the messages, as many as are read together.
fn next_group<'a>(undecided: &mut VecDeque<Undecided<'a>>) -> Vec<Undecided<'a>> {
    let (mut group, mut bytes) = (Vec::new(), 0);
    while let Some(first) = undecided.front() {
        if first.message.blob.is_inline() {
            bytes += first.message.size_bytes;
        }
        let is_enough = bytes > BODY_BYTES_AT_ONCE || group.len() >= BODIES_AT_ONCE;
        if is_enough && !group.is_empty() {
            break;
        }
        group.extend(undecided.pop_front());
    }
    group
}

/// A message's body.
struct Body<'a> {
    bodies: &'a Bodies,
    home: &'a Partition,
    message: &'a Message,
    /// All of it, if it is small.
    whole: Option<Bytes>,
}

impl Body<'_> {
    async fn piece(&self, range: Range<u64>) -> Result<Bytes, MailError> {
        match &self.whole {
            Some(whole) => {
                let range = clamp(&range, whole.len() as u64);
                Ok(whole.slice(range.start as usize..range.end as usize))
            }
            None => Ok(self.bodies.get_bytes(self.home, self.message.blob, range).await?),
        }
    }

    async fn text(&self, needs: Needs) -> Result<LoadedText, MailError> {
        let mut text = LoadedText::default();
        if needs.header {
            // Whoever sends a message decides how long its header is.
            let end = self.message.header_bytes.min(limits::MESSAGE_HEADER_BYTES as u64);
            text.header = self.piece(0..end).await?;
        }
        if !needs.body {
            return Ok(text);
        }
        let structure = codec::decode_part(&self.message.structure);
        let structure = structure.ok_or_else(|| MailError::Damaged("a structure".into()))?;
        let mut places = Vec::new();
        text_places(&structure, &mut places);
        let mut left = limits::SEARCH_TEXT_BYTES;
        for place in places {
            let (range, most) = match &place {
                Place::Header(range) => (range.clone(), limits::MESSAGE_HEADER_BYTES as u64),
                Place::Part(part) => (part.header.start..part.body.end, limits::SEARCH_TEXT_BYTES),
            };
            let end = range.end.min(range.start + most.min(left));
            left -= end - range.start;
            let bytes = self.piece(range.start..end).await?;
            text.parts.push(match place {
                Place::Header(_) => Text::Decoded(header_text(&bytes)),
                Place::Part(part) => Text::of(part, bytes),
            });
        }
        Ok(text)
    }
}

/// Where a text of a message's body is.
enum Place<'a> {
    /// The header of a message within it.
    Header(Range<u64>),
    /// A text part with its header.
    Part(&'a Part),
}

fn text_places<'a>(part: &'a Part, out: &mut Vec<Place<'a>>) {
    match &part.content {
        Content::Single { kind, .. } if kind == "TEXT" => out.push(Place::Part(part)),
        Content::Single { .. } => {}
        Content::Multipart { parts, .. } => parts.iter().for_each(|inner| text_places(inner, out)),
        Content::Message { message, .. } => {
            out.push(Place::Header(message.header.clone()));
            text_places(message, out);
        }
    }
}

/// A text of a body.
enum Text {
    /// It is UTF-8 as it stands.
    Plain(Bytes),
    Decoded(String),
}

impl Text {
    /// Of the bytes of a part, from its header on, maybe not to its end.
    fn of(part: &Part, mut bytes: Bytes) -> Text {
        let header = (part.body.start - part.header.start) as usize;
        match header <= bytes.len() && is_plain(part, &bytes[header..]) {
            true => Text::Plain(bytes.split_off(header)),
            false => Text::Decoded(part_text(&bytes)),
        }
    }

    fn is(&self, test: &mut dyn FnMut(&str) -> bool) -> bool {
        match self {
            Text::Plain(bytes) => std::str::from_utf8(bytes).is_ok_and(test),
            Text::Decoded(text) => test(text),
        }
    }
}

/// Whether a text part says the same without being decoded: mostly it does.
fn is_plain(part: &Part, body: &[u8]) -> bool {
    let encodings = ["7BIT", "8BIT", "BINARY"];
    let mut parameters = part.parameters.iter();
    let charset = parameters.find(|(name, _)| name.eq_ignore_ascii_case("charset"));
    let is = |name: &&str| charset.is_some_and(|(_, charset)| charset.eq_ignore_ascii_case(name));
    encodings
        .iter()
        .any(|encoding| part.encoding.eq_ignore_ascii_case(encoding))
        && match body.is_ascii() {
            // In all of these, ASCII is ASCII.
            true => charset.is_none() || ASCII.iter().any(is),
            false => UTF8.iter().any(is) && std::str::from_utf8(body).is_ok(),
        }
}

const UTF8: [&str; 2] = ["utf-8", "utf8"];
const ASCII: [&str; 8] = [
    "us-ascii",
    "ascii",
    "utf-8",
    "utf8",
    "iso-8859-1",
    "iso-8859-15",
    "windows-1252",
    "windows-1251",
];

/// The texts of a message that are needed.
#[derive(Default)]
struct LoadedText {
    header: Bytes,
    parts: Vec<Text>,
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
        self.parts.iter().any(|text| text.is(test))
    }
}

/// Encoded words in every charset that a mail may have.
pub(crate) fn decode_words(text: &str) -> String {
    decode_words_with(text, |charset, bytes| match charset_decoder(charset.as_bytes()) {
        Some(decode) => Some(decode(&bytes)),
        None => String::from_utf8(bytes).ok(),
    })
}

/// The envelope of a message, decoded, if a program looks at it.
fn searched_envelope(
    key: &SearchKey,
    uid: u32,
    message: &Message,
) -> Result<Option<Arc<Envelope>>, MailError> {
    let wants = Wants {
        envelope: key.needs().message,
        ..Wants::default()
    };
    let mut envelope = fetched(uid, message, wants)?.envelope;
    if let Some(envelope) = envelope.as_mut().and_then(Arc::get_mut) {
        decode_envelope(envelope);
    }
    Ok(envelope)
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
    text_of(bytes).unwrap_or_else(|| String::from_utf8_lossy(bytes).into_owned())
}

/// The text of a part with its header; `None` where its header says that it is no text.
pub(crate) fn text_of(bytes: &[u8]) -> Option<String> {
    let parsed = MessageParser::default().parse(bytes);
    let body = parsed
        .as_ref()
        .and_then(|message| message.parts.first())
        .map(|part| &part.body);
    match body {
        Some(PartType::Text(text) | PartType::Html(text)) => Some(text.to_string()),
        Some(PartType::Binary(bytes) | PartType::InlineBinary(bytes)) => {
            Some(String::from_utf8_lossy(bytes).into_owned())
        }
        _ => None,
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

    /// The texts of a message of one part, with and without the short way.
    fn both_ways(message: &[u8]) -> (Text, String) {
        let mut scanner = crate::parse::Scanner::new();
        scanner.push(message);
        let structure = crate::parse::Parsed::of(scanner).structure;
        let text = Text::of(&structure, Bytes::copy_from_slice(message));
        (text, part_text(message))
    }

    #[test]
    fn what_needs_no_decoding_says_the_same_as_when_it_is_decoded() {
        let mut rng = ringpost_base::Rng::from_number(3);
        let mut pick = |from: &[&str]| from[rng.below(from.len() as u64) as usize].to_owned();
        let mut plain = 0;
        for _ in 0..4_000 {
            let charset = pick(&[
                "",
                "",
                "utf-8",
                "UTF-8",
                "us-ascii",
                "iso-8859-1",
                "windows-1251",
                "koi8-r",
                "iso-2022-jp",
                "utf-16",
                "utf-7",
                "x-none",
            ]);
            let encoding = pick(&[
                "",
                "7bit",
                "8bit",
                "binary",
                "base64",
                "quoted-printable",
                "x-none",
            ]);
            let subtype = pick(&["plain", "html", "csv"]);
            let mut message = format!("Content-Type: text/{subtype}");
            if !charset.is_empty() {
                message += &format!("; charset=\"{charset}\"");
            }
            if !encoding.is_empty() {
                message += &format!("\r\nContent-Transfer-Encoding: {encoding}");
            }
            message += "\r\n\r\n";
            let mut message = message.into_bytes();
            for _ in 0..8 {
                let piece = pick(&[
                    "needle ",
                    "Gr\u{fc}\u{df}e",
                    "=C3=BC",
                    "aGVsbG8=",
                    "\r\n",
                    "=\r\n",
                    "x",
                    "<p>",
                ]);
                message.extend(piece.as_bytes());
            }
            if pick(&["", "", "", "y"]) == "y" {
                message.push(0xe9);
            }
            let (text, decoded) = both_ways(&message);
            plain += usize::from(matches!(text, Text::Plain(_)));
            let same = text.is(&mut |text| text.trim_end() == decoded.trim_end());
            assert!(same, "{}: decoded {decoded:?}", message.escape_ascii());
        }
        assert!((500..3_500).contains(&plain), "{plain} of 4,000 were plain");
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
