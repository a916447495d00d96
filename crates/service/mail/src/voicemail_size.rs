//! How long a voicemail's recording is, without reading it.

use crate::parse::codec;
use crate::voicemail::audio_part;
use crate::{Mail, MailError};
use ringpost_store::records::{MailboxId, Message};
use ringpost_store::{AccountId, Partition, keys};

/// What is read of the beginning and of the end of an encoded recording: more than a line, which has 76 characters.
const ENDS_BYTES: u64 = 512;

impl Mail {
    /// How many octets [`voicemail_audio`](Mail::voicemail_audio) would give. Of what is encoded in lines of one length, as
    /// nearly all programs do, only the ends are read.
    pub async fn voicemail_size(
        &self,
        account: AccountId,
        mailbox: MailboxId,
        uid: u32,
    ) -> Result<u64, MailError> {
        let home = Partition::Account(account);
        let key = keys::message(mailbox, uid);
        let message = self.store.record::<Message>(&home, key).await?;
        let message = message.ok_or(MailError::NoSuchMessage)?.record;
        let structure = codec::decode_part(&message.structure).ok_or(MailError::NoSuchMessage)?;
        let part = audio_part(&structure).ok_or(MailError::NoSuchMessage)?;
        let body = part.body.clone();
        match part.encoding.as_str() {
            "BASE64" => {}
            "QUOTED-PRINTABLE" => return Err(MailError::NoSuchMessage),
            _ => return Ok(body.end - body.start),
        }
        let encoded = body.end - body.start;
        let near = ENDS_BYTES.min(encoded);
        let (first, last) = (body.start..body.start + near, body.end - near..body.end);
        let head = self.bodies.get_bytes(&home, message.blob, first).await?;
        let tail = self.bodies.get_bytes(&home, message.blob, last).await?;
        match decoded_bytes(encoded, &head, &tail) {
            Some(size) => Ok(size),
            None => Ok(self.voicemail_audio(account, mailbox, uid).await?.len() as u64),
        }
    }
}

/// What so many octets of base64 say, of which these are the first and the last; `None` where its lines are of more than one
/// length.
fn decoded_bytes(encoded: u64, head: &[u8], tail: &[u8]) -> Option<u64> {
    let end = tail.trim_ascii_end();
    // Blank lines at the end.
    let encoded = encoded - (tail.len() - end.len()) as u64;
    if encoded == 0 {
        return Some(0);
    }
    let characters = match head.iter().position(u8::is_ascii_whitespace) {
        Some(line) => {
            let between = head[line..]
                .iter()
                .take_while(|octet| octet.is_ascii_whitespace());
            let (line, whole) = (line as u64, (line + between.count()) as u64);
            let lines = encoded.saturating_sub(1) / whole;
            let last = end.rsplit(u8::is_ascii_whitespace).next()?.len() as u64;
            // The last line begins where it should.
            let is_even = line > 0 && lines * whole + last == encoded && last <= line;
            is_even.then_some(lines * line + last)?
        }
        None if encoded <= head.len() as u64 => encoded,
        None => return None,
    };
    let padding = end.iter().rev().take_while(|octet| **octet == b'=').count() as u64;
    (characters.is_multiple_of(4) && padding <= 2).then(|| (characters / 4 * 3).saturating_sub(padding))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringpost_auth::base64;

    fn in_lines(text: &str, line: usize, between: &str) -> Vec<u8> {
        let lines = text.as_bytes().chunks(line);
        let lines: Vec<_> = lines.map(|line| String::from_utf8_lossy(line)).collect();
        lines.join(between).into_bytes()
    }

    fn ends(text: &[u8]) -> Option<u64> {
        let near = text.len().min(ENDS_BYTES as usize);
        decoded_bytes(text.len() as u64, &text[..near], &text[text.len() - near..])
    }

    #[test]
    fn lines_of_one_length_are_measured_by_their_ends() {
        for octets in (0..300).chain([5_000, 5_001, 5_002, 57 * 40]) {
            let text = base64::encode(&vec![7; octets]);
            for (line, between) in [(76, "\r\n"), (76, "\n"), (64, "\r\n")] {
                for behind in ["", "\r\n", "\r\n\r\n"] {
                    let mut text = in_lines(&text, line, between);
                    text.extend_from_slice(behind.as_bytes());
                    assert_eq!(ends(&text), Some(octets as u64), "{octets} in lines of {line}");
                }
            }
        }
    }

    #[test]
    fn what_is_uneven_is_not_guessed() {
        let text = base64::encode(&[7; 900]);
        let mut uneven = in_lines(&text[..608], 76, "\r\n");
        uneven.extend_from_slice(b"\r\n");
        uneven.extend(in_lines(&text[608..], 60, "\r\n"));
        assert_eq!(ends(&uneven), None);
        assert_eq!(ends(text.as_bytes()), None, "one long line");
        assert_eq!(ends(b"abc"), None);
        assert_eq!(ends(b"===="), None);
    }
}
