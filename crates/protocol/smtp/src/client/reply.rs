//! What the server says: replies of one line or several, bounded.

use ringpost_base::limits;

/// A whole reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    /// 200 to 599.
    pub(super) code: u16,
    /// What stands behind the code, line by line.
    pub(super) lines: Vec<String>,
}

/// Why what came is no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadReply {
    /// A line or a reply over its limit.
    TooLong,
    /// Not three digits of the right kind, or another code in the middle.
    Syntax,
}

/// Gathers bytes until a reply is whole.
#[derive(Debug, Default)]
pub(super) struct ReplyReader {
    /// The beginning of a line.
    partial: Vec<u8>,
    /// The lines of a reply whose last one has not come.
    lines: Vec<String>,
    code: Option<u16>,
}

impl ReplyReader {
    /// Takes bytes from the front of `input` until a reply is whole; `None` when more is needed.
    pub(super) fn read(&mut self, input: &mut bytes::Bytes) -> Result<Option<Reply>, BadReply> {
        while !input.is_empty() {
            let end = input.iter().position(|b| *b == b'\n');
            let piece = input.split_to(end.map_or(input.len(), |at| at + 1));
            if self.partial.len() + piece.len() > limits::SMTP_REPLY_LINE_BYTES {
                return Err(BadReply::TooLong);
            }
            self.partial.extend_from_slice(&piece);
            if end.is_none() {
                break;
            }
            let line = std::mem::take(&mut self.partial);
            if let Some(reply) = self.line(&line)? {
                return Ok(Some(reply));
            }
        }
        Ok(None)
    }

    /// Forgets what has come.
    pub(super) fn clear(&mut self) {
        *self = ReplyReader::default();
    }

    //= https://www.rfc-editor.org/rfc/rfc5321#section-4.2.1
    fn line(&mut self, line: &[u8]) -> Result<Option<Reply>, BadReply> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let code = code_of(line).ok_or(BadReply::Syntax)?;
        if self.code.is_some_and(|before| before != code) {
            return Err(BadReply::Syntax);
        }
        let more = match line.get(3) {
            None | Some(b' ') => false,
            Some(b'-') => true,
            Some(_) => return Err(BadReply::Syntax),
        };
        if self.lines.len() >= limits::SMTP_REPLY_LINES {
            return Err(BadReply::TooLong);
        }
        self.code = Some(code);
        self.lines.push(printable(line.get(4..).unwrap_or_default()));
        Ok((!more).then(|| Reply {
            code: std::mem::take(&mut self.code).unwrap_or(code),
            lines: std::mem::take(&mut self.lines),
        }))
    }
}

//= https://www.rfc-editor.org/rfc/rfc5321#section-4.2
fn code_of(line: &[u8]) -> Option<u16> {
    let digits: [u8; 3] = line.get(..3)?.try_into().ok()?;
    if !digits.iter().all(u8::is_ascii_digit) || !(b'2'..=b'5').contains(&digits[0]) {
        return None;
    }
    Some(digits.iter().fold(0, |n, digit| n * 10 + u16::from(digit - b'0')))
}

/// Text that may stand in a log, a notice and a record: no control characters, no broken UTF-8.
fn printable(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

impl Reply {
    /// The enhanced code at the text's beginning, if it is one of the reply's own class.
    //= https://www.rfc-editor.org/rfc/rfc2034#section-4
    pub(super) fn enhanced(&self) -> Option<&str> {
        let word = self.lines.first()?.split(' ').next()?;
        let mut parts = word.split('.');
        let class = parts.next()?;
        let is_class = class.len() == 1 && class.parse() == Ok(self.code / 100);
        let is_number = |part: Option<&str>| {
            part.is_some_and(|p| (1..=3).contains(&p.len()) && p.bytes().all(|b| b.is_ascii_digit()))
        };
        let whole = is_class && is_number(parts.next()) && is_number(parts.next()) && parts.next().is_none();
        whole.then_some(word)
    }

    /// All lines as one, without the enhanced code in front of each.
    pub(super) fn text(&self) -> String {
        let enhanced = self.enhanced();
        let lines = self.lines.iter().map(|line| match enhanced {
            Some(code) => line.strip_prefix(code).unwrap_or(line).trim(),
            None => line.trim(),
        });
        let mut text = lines.collect::<Vec<_>>().join(" ");
        if text.len() > limits::SMTP_VERDICT_BYTES {
            let end = text.floor_char_boundary(limits::SMTP_VERDICT_BYTES);
            text.truncate(end);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn read(text: &str) -> Result<Option<Reply>, BadReply> {
        let whole = ReplyReader::default().read(&mut Bytes::copy_from_slice(text.as_bytes()));
        // However it is cut, it is the same.
        let mut reader = ReplyReader::default();
        let mut cut = Ok(None);
        for byte in text.as_bytes().chunks(1) {
            cut = reader.read(&mut Bytes::copy_from_slice(byte));
            if cut != Ok(None) {
                break;
            }
        }
        assert_eq!(whole, cut);
        whole
    }

    #[test]
    fn a_reply_of_several_lines_is_one_with_its_enhanced_code_told_once() {
        let reply = read("550-5.1.1 No such\r\n550 5.1.1 user here\r\n")
            .unwrap()
            .unwrap();
        assert_eq!(
            (reply.code, reply.enhanced(), reply.text().as_str()),
            (550, Some("5.1.1"), "No such user here")
        );
        let bare = read("250\r\n").unwrap().unwrap();
        assert_eq!(
            (bare.code, bare.enhanced(), bare.text().as_str()),
            (250, None, "")
        );
    }

    #[test]
    fn an_enhanced_code_of_another_class_is_text() {
        for text in [
            "450 5.1.1 x\r\n",
            "550 5.1 x\r\n",
            "550 5.1.1111 x\r\n",
            "550 5.1.1.1 x\r\n",
        ] {
            assert_eq!(read(text).unwrap().unwrap().enhanced(), None, "{text}");
        }
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        for text in [
            "hello\r\n",
            "150 x\r\n",
            "600 x\r\n",
            "250_x\r\n",
            "25\r\n",
            "250-a\r\n251 b\r\n",
            "\r\n",
        ] {
            assert_eq!(read(text), Err(BadReply::Syntax), "{text}");
        }
        assert_eq!(read("250-a\r\n"), Ok(None));
    }

    #[test]
    fn a_line_and_a_reply_are_bounded() {
        let long = format!("250 {}", "x".repeat(limits::SMTP_REPLY_LINE_BYTES));
        assert_eq!(read(&long), Err(BadReply::TooLong));
        let many = "250-x\r\n".repeat(limits::SMTP_REPLY_LINES + 1);
        assert_eq!(read(&many), Err(BadReply::TooLong));
    }

    #[test]
    fn control_characters_do_not_reach_a_log_or_a_notice() {
        let reply = read("550 a\x1b[31m\rb\u{85}\r\n").unwrap().unwrap();
        assert_eq!(reply.text(), "a [31m b");
    }
}
