//! Mailboxes as one file: mbox, in the forms that are about (RFC 4155, mboxo, mboxrd).
//!
//! A message begins behind a line `From sender date`. In the message such lines have a `>` before them, and what had one
//! already another (mboxrd); one is taken away.

use super::message::{header_len, kept_flags, with_crlf};
use super::{Import, Message, Report, too_big};
use anyhow::{Context, Result, bail};
use ringpost_admin::{Control, Mailbox};
use ringpost_base::{UnixTime, calendar, limits};
use ringpost_imap::date::header_date;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

/// Fields that belong to the mbox and not to the message: what mail programs note in them becomes flags.
const NOTES: [&str; 9] = [
    "Status",
    "X-Status",
    "X-Keywords",
    "X-UID",
    "X-IMAP",
    "X-IMAPbase",
    "X-Mozilla-Status",
    "X-Mozilla-Status2",
    "X-Mozilla-Keys",
];

/// `import --mbox`
pub(crate) async fn import_mbox(
    control: &dyn Control,
    address: &str,
    file: &Path,
    into: Option<&str>,
) -> Result<Report> {
    let named = || file.display().to_string();
    let opened = File::open(file).with_context(named)?;
    if !opened.metadata().with_context(named)?.is_file() {
        bail!("{}: expected a regular file", file.display());
    }
    let mut messages = Messages::new(BufReader::new(opened)).with_context(named)?;
    let mut import = Import::new(control, address);
    let mailbox = Mailbox {
        name: into.unwrap_or("INBOX").to_owned(),
        ..Mailbox::default()
    };
    if import.open(mailbox, &named()).await? {
        let mut number = 0;
        while let Some(found) = messages.next().with_context(named)? {
            number += 1;
            let label = format!("{}: message {number}", file.display());
            let Some(bytes) = found.bytes else {
                import.miss(&label, &too_big());
                continue;
            };
            let Some((message, lost)) = message(label, found.received_s, bytes) else {
                continue;
            };
            for keyword in lost {
                import.miss(&message.label, &format!("the keyword {keyword:?} cannot be kept"));
            }
            import.add(message).await?;
        }
    }
    import.finish().await
}

/// A message as it stands in the file.
struct Found {
    received_s: u64,
    /// `None` when it is larger than is taken.
    bytes: Option<Vec<u8>>,
}

/// The messages of an mbox, one after the other.
struct Messages<R> {
    input: R,
    /// When the message came that is next, if there is one.
    next: Option<u64>,
}

impl<R: BufRead> Messages<R> {
    fn new(mut input: R) -> Result<Self> {
        let mut line = Vec::new();
        // Some begin with empty lines.
        loop {
            line.clear();
            if read_piece(&mut input, &mut line)? == 0 {
                return Ok(Messages { input, next: None });
            }
            if !is_empty(&line) {
                break;
            }
        }
        let Some(received_s) = separator(&line) else {
            bail!(
                "expected an mbox, whose first line is like \"From alice@example.org Thu Jan  1 00:00:00 2026\""
            )
        };
        Ok(Messages {
            input,
            next: Some(received_s),
        })
    }

    fn next(&mut self) -> Result<Option<Found>> {
        let Some(received_s) = self.next.take() else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        let (mut line, mut too_big, mut begins) = (Vec::new(), false, true);
        loop {
            line.clear();
            if read_piece(&mut self.input, &mut line)? == 0 {
                break;
            }
            if begins {
                self.next = separator(&line);
                if self.next.is_some() {
                    break;
                }
            }
            let text = match begins && is_quoted(&line) {
                true => &line[1..],
                false => &line[..],
            };
            begins = line.ends_with(b"\n");
            too_big |= bytes.len() + text.len() > limits::MESSAGE_BYTES as usize;
            if !too_big {
                bytes.extend_from_slice(text);
            }
        }
        // The empty line before the next `From` is the mbox's.
        let end = [&b"\r\n\r\n"[..], b"\n\n"]
            .iter()
            .find(|end| bytes.ends_with(end))
            .copied();
        if let Some(end) = end {
            bytes.truncate(bytes.len() - end.len() / 2);
        }
        Ok(Some(Found {
            received_s,
            bytes: (!too_big).then_some(bytes),
        }))
    }
}

/// The longest piece of a line that is read at once.
const PIECE_BYTES: u64 = 64 * 1024;

/// Reads to the end of the line, or a piece of it when it is long.
fn read_piece(input: &mut impl BufRead, line: &mut Vec<u8>) -> std::io::Result<usize> {
    input.take(PIECE_BYTES).read_until(b'\n', line)
}

fn is_empty(line: &[u8]) -> bool {
    matches!(line, b"\n" | b"\r\n")
}

fn is_quoted(line: &[u8]) -> bool {
    let rest = line.iter().position(|byte| *byte != b'>').unwrap_or(line.len());
    rest > 0 && line[rest..].starts_with(b"From ")
}

/// When the message came, if this line begins one. A line of text that begins with "From" has neither a time nor a year.
fn separator(line: &[u8]) -> Option<u64> {
    let line = std::str::from_utf8(line.strip_prefix(b"From ")?).ok()?;
    let words: Vec<&str> = line.split_whitespace().collect();
    let number = |word: &str| word.parse::<u16>().ok();
    let year = words
        .iter()
        .filter_map(|word| number(word).filter(|year| word.len() == 4 && (1970..=2200).contains(year)))
        .next_back()?;
    let place = words.iter().position(|word| time(word).is_some())?;
    let (hour, minute, second) = time(words[place])?;
    let month = words.iter().find_map(|word| calendar::month_of(word));
    let day = words.iter().find_map(|word| {
        word.parse::<u8>()
            .ok()
            .filter(|day| word.len() <= 2 && (1..=31).contains(day))
    });
    //= https://www.rfc-editor.org/rfc/rfc4155#appendix-A
    let at = month
        .zip(day)
        .and_then(|(month, day)| UnixTime::from_civil(year, month, day, hour, minute, second));
    Some(at.map_or(0, UnixTime::as_secs))
}

/// `HH:MM` or `HH:MM:SS`.
fn time(word: &str) -> Option<(u8, u8, u8)> {
    let mut parts = word
        .split(':')
        .map(|part| part.parse::<u8>().ok().filter(|_| part.len() <= 2));
    let (hour, minute) = (parts.next()??, parts.next()??);
    let second = match parts.next() {
        Some(second) => second?,
        None => 0,
    };
    (parts.next().is_none() && hour < 24 && minute < 60 && second <= 60).then_some((
        hour,
        minute,
        second.min(59),
    ))
}

/// The message without what the mbox notes in its header, and what of its keywords cannot be kept. `None` for the one that
/// some servers keep their own numbers in.
fn message(label: String, received_s: u64, bytes: Vec<u8>) -> Option<(Message, Vec<String>)> {
    let whole = with_crlf(bytes);
    let (header, body) = whole.split_at(header_len(&whole));
    let mut kept = Vec::with_capacity(whole.len());
    let mut noted = Vec::new();
    let mut in_note = false;
    for line in header.split_inclusive(|byte| *byte == b'\n') {
        if !matches!(line.first(), Some(b' ' | b'\t')) {
            let text = String::from_utf8_lossy(line);
            let (name, value) = text.split_once(':').unwrap_or((&text, ""));
            let known = NOTES
                .iter()
                .find(|note| note.eq_ignore_ascii_case(name.trim_end()));
            in_note = known.is_some();
            noted.extend(known.map(|note| (*note, value.trim().to_owned())));
        } else if let Some((_, value)) = noted.last_mut().filter(|_| in_note) {
            value.push(' ');
            value.push_str(String::from_utf8_lossy(line).trim());
        }
        if !in_note {
            kept.extend_from_slice(line);
        }
    }
    let is_internal = noted.iter().any(|(name, _)| *name == "X-IMAP")
        && String::from_utf8_lossy(&kept).contains("DON'T DELETE THIS MESSAGE");
    if is_internal {
        return None;
    }
    let received_s = match received_s {
        0 => sent_s(&kept),
        received_s => received_s,
    };
    kept.extend_from_slice(body);
    let (flags, lost) = kept_flags(noted.iter().flat_map(|(name, value)| flags(name, value)));
    let message = Message {
        label,
        flags,
        received_s,
        bytes: kept.into(),
    };
    Some((message, lost))
}

/// The day of the Date field, for a message whose first line tells no time that can be.
fn sent_s(header: &[u8]) -> u64 {
    let date = ringpost_mail::envelope_of(header).date;
    let (year, month, day) = match date.as_deref().and_then(header_date) {
        Some(date) => date.ymd(),
        None => return 0,
    };
    UnixTime::from_civil(year, month, day, 0, 0, 0).map_or(0, UnixTime::as_secs)
}

/// What a field says of a message's flags.
fn flags(name: &str, value: &str) -> Vec<String> {
    let letters = |known: &[(char, &str)]| {
        let noted = known.iter().filter(|(letter, _)| value.contains(*letter));
        noted.map(|(_, flag)| (*flag).to_owned()).collect()
    };
    match name {
        "Status" => letters(&[('R', "\\Seen")]),
        "X-Status" => letters(&[
            ('A', "\\Answered"),
            ('D', "\\Deleted"),
            ('F', "\\Flagged"),
            ('T', "\\Draft"),
        ]),
        "X-Keywords" | "X-Mozilla-Keys" => value.split_whitespace().map(str::to_owned).collect(),
        "X-Mozilla-Status" => {
            let bits = u16::from_str_radix(value, 16).unwrap_or(0);
            let known = [
                (0x0001, "\\Seen"),
                (0x0002, "\\Answered"),
                (0x0004, "\\Flagged"),
                (0x0008, "\\Deleted"),
                (0x1000, "$Forwarded"),
            ];
            let set = known.iter().filter(|(bit, _)| bits & bit != 0);
            set.map(|(_, flag)| (*flag).to_owned()).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(u64, String)> {
        let mut messages = Messages::new(text.as_bytes()).unwrap();
        let mut found = Vec::new();
        while let Some(next) = messages.next().unwrap() {
            found.push((next.received_s, String::from_utf8(next.bytes.unwrap()).unwrap()));
        }
        found
    }

    #[test]
    fn messages_are_parted_and_quotes_taken_away() {
        let text = "From a@b Thu Jan  1 00:00:01 2026\nSubject: 1\n\nFrom here on\n>From there\n>>From mboxrd\n> From\n\n\
                    From - Thu Jan 01 00:00 2026\nSubject: 2\n\nlast, without an empty line";
        let found = read(text);
        assert_eq!(
            found,
            [
                (
                    1_767_225_601,
                    "Subject: 1\n\nFrom here on\nFrom there\n>From mboxrd\n> From\n".to_owned()
                ),
                (
                    1_767_225_600,
                    "Subject: 2\n\nlast, without an empty line".to_owned()
                ),
            ]
        );
    }

    #[test]
    fn dates_are_read_in_the_forms_that_are_about() {
        for line in [
            "From a@b Sat Feb  3 14:15:16 2001\n",
            "From a@b Sat Feb  3 14:15:16 GMT 2001\r\n",
            "From a@b  Sat, 3 Feb 2001 14:15:16 +0000\n",
            "From MAILER-DAEMON Sat Feb 03 14:15:16 2001\n",
        ] {
            assert_eq!(separator(line.as_bytes()), Some(981_209_716), "{line}");
        }
        for line in [
            "From here to 2001\n",
            "From 10:30 on\n",
            "from a@b Sat Feb  3 14:15:16 2001\n",
            "From \n",
        ] {
            assert_eq!(separator(line.as_bytes()), None, "{line}");
        }
        assert_eq!(
            separator(b"From a@b Sat Feb 31 14:15:16 2001"),
            Some(0),
            "a day that is none"
        );
    }

    #[test]
    fn what_mail_programs_note_becomes_flags_and_leaves_the_header() {
        let text = "Status: RO\nSubject: x\nX-Status: AF\nX-Keywords: work\n $Forwarded bad(one\nX-UID: 7\n\nStatus: R\n";
        let (message, lost) = message("1".into(), 5, text.into()).unwrap();
        assert_eq!(message.bytes, "Subject: x\r\n\r\nStatus: R\r\n");
        assert_eq!(
            message.flags,
            ["\\Seen", "\\Answered", "\\Flagged", "work", "$Forwarded"]
        );
        assert_eq!(lost, ["bad(one"]);
        assert_eq!(
            flags("X-Mozilla-Status", "1007"),
            ["\\Seen", "\\Answered", "\\Flagged", "$Forwarded"]
        );
        let dated = "Date: Sat, 3 Feb 2001 14:15:16 +0000\n\n";
        let (message, _) = super::message("1".into(), 0, dated.into()).unwrap();
        assert_eq!(message.received_s, 981_158_400, "the day of its Date field");
        let internal = "X-IMAP: 1 2\nSubject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\n\n";
        assert!(super::message("1".into(), 5, internal.into()).is_none());
    }

    #[test]
    fn what_is_no_mbox_is_said_to_be_none() {
        assert!(Messages::new(&b"Subject: x\n\n"[..]).is_err());
        assert!(read("").is_empty() && read("\n\n").is_empty());
    }
}
