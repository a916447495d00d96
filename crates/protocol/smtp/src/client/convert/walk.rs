//! A message's parts, told while it passes.

use ringpost_base::limits;

/// The longest line that is looked at for a delimiter: two hyphens, 70 characters, two hyphens, and white space.
const DELIMITER_BYTES: usize = 200;

/// What a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Text, or something else.
    Leaf { text: bool },
    /// Its own text stands before, between and behind its parts.
    Multipart,
    /// Another message, whose header follows.
    Message,
    /// What cannot be encoded (RFC 2046 §5.2).
    Opaque,
}

/// How a part is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// Not at all: 7bit, 8bit, binary, or nothing said.
    Identity,
    QuotedPrintable,
    Base64,
    /// As nobody knows.
    Other,
}

/// A part whose header is known.
#[derive(Clone, Debug)]
pub(super) struct Entity {
    /// Its place among all, in the order of their headers.
    pub(super) number: usize,
    pub(super) kind: Kind,
    pub(super) encoding: Encoding,
    /// It is said to be 8bit or binary.
    pub(super) says_eight_bit: bool,
    /// It is part of something that is signed.
    pub(super) frozen: bool,
    /// It is the message itself.
    pub(super) is_top: bool,
    pub(super) has_type: bool,
    pub(super) has_mime_version: bool,
    boundary: Vec<u8>,
}

/// Who is told.
pub(super) trait Sink {
    /// A header, with the empty line at its end if there is one.
    fn header(&mut self, entity: &Entity, block: &[u8]);
    /// A piece of a line of the innermost part's own text.
    fn text(&mut self, entity: &Entity, text: &[u8]);
    /// The end of a line of it.
    fn line_end(&mut self, entity: &Entity);
    /// A part has ended; what comes is `next`'s own.
    fn end(&mut self, next: &Entity);
    /// A delimiter's line, with both of its ends, the one before it included.
    fn delimiter(&mut self, line: &[u8]);
}

/// Takes a message in pieces of any size. Holds one header, of at most `limits::MESSAGE_HEADER_BYTES`.
#[derive(Debug)]
pub(super) struct Walker {
    /// From the outermost to the innermost.
    open: Vec<Entity>,
    count: usize,
    /// The header that comes; `None` in a body.
    header: Option<Vec<u8>>,
    /// The header's line that has not ended begins here.
    header_line: usize,
    /// The beginning of the line, until it is known to be no delimiter.
    start: Vec<u8>,
    /// The line is known to be none.
    is_text: bool,
    after_cr: bool,
    /// The end of the line before is not told yet: it may belong to a delimiter.
    owes_line_end: bool,
    beyond_us: bool,
}

impl Default for Walker {
    fn default() -> Self {
        Walker {
            open: Vec::new(),
            count: 0,
            header: Some(Vec::new()),
            header_line: 0,
            start: Vec::new(),
            is_text: false,
            after_cr: false,
            owes_line_end: false,
            beyond_us: false,
        }
    }
}

impl Walker {
    /// Whether it has more or larger parts than are told apart. Nothing is told of what comes behind.
    pub(super) fn is_beyond_us(&self) -> bool {
        self.beyond_us
    }

    pub(super) fn push(&mut self, mut piece: &[u8], sink: &mut impl Sink) {
        while !piece.is_empty() && !self.beyond_us {
            let end = piece.iter().position(|b| *b == b'\n');
            let (line, rest) = piece.split_at(end.map_or(piece.len(), |at| at + 1));
            piece = rest;
            match self.header.is_some() {
                true => self.header_bytes(line, end.is_some(), sink),
                false => self.body_bytes(line, end.is_some(), sink),
            }
        }
    }

    pub(super) fn finish(&mut self, sink: &mut impl Sink) {
        if self.beyond_us {
            return;
        }
        if let Some(block) = self.header.take() {
            self.end_header(&block, sink);
        } else {
            if std::mem::take(&mut self.after_cr) {
                self.line_bytes(b"\r", sink);
            }
            self.line_over(b"", sink);
        }
        // A message that ends within a line has no end of line to tell.
        if std::mem::take(&mut self.owes_line_end)
            && let Some(entity) = self.open.last()
        {
            sink.line_end(entity);
        }
        if let Some(entity) = self.open.last() {
            sink.end(entity);
        }
    }

    fn header_bytes(&mut self, line: &[u8], ends: bool, sink: &mut impl Sink) {
        let Some(block) = &mut self.header else { return };
        block.extend_from_slice(line);
        if block.len() > limits::MESSAGE_HEADER_BYTES {
            self.beyond_us = true;
            return;
        }
        if !ends {
            return;
        }
        let mut block = std::mem::take(block);
        let (text, _) = split_line_end(&block[self.header_line..]);
        if text.is_empty() {
            self.header = None;
            self.end_header(&block, sink);
        } else if self.delimited(text).is_some() {
            // A part that ends within its header.
            let delimiter = block.split_off(self.header_line);
            self.end_header(&block, sink);
            if !self.beyond_us {
                self.header = None;
                self.start = delimiter;
                self.line_over(b"", sink);
            }
        } else {
            self.header_line = block.len();
            self.header = Some(block);
        }
    }

    /// A header is whole: what it begins is open from now on.
    fn end_header(&mut self, block: &[u8], sink: &mut impl Sink) {
        let mut entity = self.read_header(block);
        self.count += 1;
        let is_too_deep = self.open.len() >= limits::MIME_NESTING && entity.kind == Kind::Multipart;
        if self.count > limits::CONVERTED_PARTS || is_too_deep {
            self.beyond_us = true;
            return;
        }
        // A message within a message that is within … is opaque at some depth.
        if entity.kind == Kind::Message && self.open.len() >= limits::MIME_NESTING {
            entity.kind = Kind::Opaque;
        }
        sink.header(&entity, block);
        if entity.kind == Kind::Message {
            self.header = Some(Vec::new());
        }
        self.open.push(entity);
        self.header_line = 0;
        (self.is_text, self.after_cr, self.owes_line_end) = (false, false, false);
        self.start.clear();
    }

    fn read_header(&self, block: &[u8]) -> Entity {
        let parent = self.open.last();
        let mut entity = Entity {
            number: self.count,
            kind: Kind::Leaf { text: true },
            encoding: Encoding::Identity,
            says_eight_bit: false,
            frozen: parent.is_some_and(|parent| parent.frozen),
            is_top: parent.is_none(),
            has_type: false,
            has_mime_version: false,
            boundary: Vec::new(),
        };
        for field in fields(block) {
            let Some(colon) = field.iter().position(|b| *b == b':') else {
                continue;
            };
            let value = unfolded(&field[colon + 1..]);
            if is_named(field, b"mime-version") {
                entity.has_mime_version = true;
            } else if is_named(field, b"content-transfer-encoding") {
                let word = value.trim().to_ascii_lowercase();
                entity.says_eight_bit = word == "8bit" || word == "binary";
                entity.encoding = match word.as_str() {
                    "7bit" | "8bit" | "binary" | "" => Encoding::Identity,
                    "quoted-printable" => Encoding::QuotedPrintable,
                    "base64" => Encoding::Base64,
                    _ => Encoding::Other,
                };
            } else if is_named(field, b"content-type") && !entity.has_type {
                entity.has_type = true;
                read_type(&value, &mut entity);
            }
        }
        entity
    }

    fn body_bytes(&mut self, line: &[u8], ends: bool, sink: &mut impl Sink) {
        let (text, _) = match ends {
            true => split_line_end(line),
            false => (line, &b""[..]),
        };
        // A CR that ends a piece may be half of a line's end.
        let text = match text {
            [text @ .., b'\r'] if !ends => text,
            text => text,
        };
        if self.after_cr && !(ends && text.is_empty() && line == b"\n") {
            self.line_bytes(b"\r", sink);
        }
        self.after_cr = !ends && line.last() == Some(&b'\r');
        self.line_bytes(text, sink);
        if ends {
            self.line_over(b"\r\n", sink);
        }
    }

    /// Bytes of a line that has not ended.
    fn line_bytes(&mut self, text: &[u8], sink: &mut impl Sink) {
        if text.is_empty() {
            return;
        }
        if !self.is_text {
            self.start
                .extend_from_slice(&text[..text.len().min(DELIMITER_BYTES)]);
            if self.start.len() < DELIMITER_BYTES && self.start.starts_with(&b"--"[..self.start.len().min(2)])
            {
                return;
            }
            self.flush_start(sink);
            let rest = &text[text.len().min(DELIMITER_BYTES)..];
            return self.tell(rest, sink);
        }
        self.tell(text, sink);
    }

    /// The line is no delimiter: what is held of it is text.
    fn flush_start(&mut self, sink: &mut impl Sink) {
        self.is_text = true;
        if std::mem::take(&mut self.owes_line_end)
            && let Some(entity) = self.open.last()
        {
            sink.line_end(entity);
        }
        let start = std::mem::take(&mut self.start);
        self.tell(&start, sink);
    }

    fn tell(&mut self, text: &[u8], sink: &mut impl Sink) {
        if let Some(entity) = self.open.last()
            && !text.is_empty()
        {
            sink.text(entity, text);
        }
    }

    /// A line has ended, with `end`; nothing ends the last one of a message.
    fn line_over(&mut self, end: &[u8], sink: &mut impl Sink) {
        let start = std::mem::take(&mut self.start);
        let (text, header_end) = split_line_end(&start);
        let found = match self.is_text {
            true => None,
            false => self.delimited(text),
        };
        let Some((at, is_last)) = found else {
            if self.is_text || !start.is_empty() || !end.is_empty() {
                let is_text = self.is_text;
                self.start = start;
                if !is_text {
                    self.flush_start(sink);
                }
                self.owes_line_end = !end.is_empty();
            }
            self.is_text = false;
            return;
        };
        // What is open within the multipart has ended.
        self.open.truncate(at + 1);
        sink.end(&self.open[at]);
        let before: &[u8] = if std::mem::take(&mut self.owes_line_end) {
            b"\r\n"
        } else {
            b""
        };
        let end = if header_end.is_empty() { end } else { b"\r\n" };
        if is_last {
            // What follows is the multipart's own, and no delimiter of its is one any more.
            self.open[at].boundary.clear();
            sink.delimiter(&[before, text].concat());
            self.owes_line_end = !end.is_empty();
        } else {
            sink.delimiter(&[before, text, b"\r\n"].concat());
            self.header = Some(Vec::new());
            self.header_line = 0;
        }
        self.is_text = false;
    }

    /// Which multipart a line is a delimiter of, and whether it is the last one.
    //= https://www.rfc-editor.org/rfc/rfc2046#section-5.1.1
    fn delimited(&self, line: &[u8]) -> Option<(usize, bool)> {
        let rest = line.strip_prefix(b"--")?;
        let is_space = |rest: &[u8]| rest.iter().all(|b| matches!(b, b' ' | b'\t'));
        self.open.iter().enumerate().rev().find_map(|(at, entity)| {
            if entity.boundary.is_empty() {
                return None;
            }
            let rest = rest.strip_prefix(entity.boundary.as_slice())?;
            match rest.strip_prefix(b"--") {
                Some(rest) if is_space(rest) => Some((at, true)),
                _ => is_space(rest).then_some((at, false)),
            }
        })
    }
}

fn read_type(value: &str, entity: &mut Entity) {
    let (kind, parameters) = value.split_once(';').unwrap_or((value, ""));
    let kind = kind.trim().to_ascii_lowercase();
    entity.kind = match kind.as_str() {
        "message/rfc822" | "message/global" if entity.encoding_allows_parts() => Kind::Message,
        _ if kind.starts_with("multipart/") => Kind::Multipart,
        // Those of RFC 6533 may be encoded.
        _ if kind.starts_with("message/global-") => Kind::Leaf { text: true },
        _ if kind.starts_with("message/") => Kind::Opaque,
        _ => Kind::Leaf {
            text: kind.starts_with("text/") || !kind.contains('/'),
        },
    };
    if entity.kind == Kind::Multipart {
        //= https://www.rfc-editor.org/rfc/rfc1847#section-2.1
        entity.frozen |= kind == "multipart/signed";
        match boundary(parameters) {
            Some(boundary) => entity.boundary = boundary.into_bytes(),
            None => entity.kind = Kind::Opaque,
        }
    }
}

impl Entity {
    fn encoding_allows_parts(&self) -> bool {
        self.encoding == Encoding::Identity
    }
}

/// The boundary among a content type's parameters.
fn boundary(parameters: &str) -> Option<String> {
    let mut rest = parameters;
    loop {
        let (name, behind) = rest.split_once('=')?;
        let behind = behind.trim_start();
        let (value, next) = match behind.strip_prefix('"') {
            Some(quoted) => {
                let mut value = String::new();
                let mut chars = quoted.char_indices();
                let mut end = quoted.len();
                while let Some((at, c)) = chars.next() {
                    match c {
                        '"' => {
                            end = at + 1;
                            break;
                        }
                        '\\' => value.extend(chars.next().map(|(_, c)| c)),
                        c => value.push(c),
                    }
                }
                let next = &quoted[end..];
                (value, next.split_once(';').map_or("", |(_, next)| next))
            }
            None => {
                let (value, next) = behind.split_once(';').unwrap_or((behind, ""));
                let value = value.split_ascii_whitespace().next().unwrap_or_default();
                (value.to_owned(), next)
            }
        };
        if name.trim().eq_ignore_ascii_case("boundary") {
            let value = value.trim_end().to_owned();
            return (!value.is_empty() && value.len() <= 100).then_some(value);
        }
        rest = next;
    }
}

/// A header's fields, each with the lines that continue it.
pub(super) fn fields(block: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = block;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut at = 0;
        loop {
            let end = rest[at..].iter().position(|b| *b == b'\n');
            at = end.map_or(rest.len(), |end| at + end + 1);
            if !matches!(rest.get(at), Some(b' ' | b'\t')) {
                break;
            }
        }
        let (field, behind) = rest.split_at(at);
        rest = behind;
        Some(field)
    })
}

pub(super) fn is_named(field: &[u8], name: &[u8]) -> bool {
    let colon = field.iter().position(|b| *b == b':').unwrap_or(0);
    field[..colon].trim_ascii_end().eq_ignore_ascii_case(name)
}

/// A field's value as text, without its comments: whatever is not ASCII is replaced.
fn unfolded(value: &[u8]) -> String {
    let mut text = String::new();
    let (mut depth, mut quoted) = (0u32, false);
    let mut bytes = value.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' if depth == 0 => quoted = !quoted,
            b'(' if !quoted => depth = depth.saturating_add(1),
            b')' if !quoted && depth > 0 => {
                depth -= 1;
                continue;
            }
            b'\\' if quoted || depth > 0 => {
                let escaped = bytes.next();
                if depth == 0 {
                    text.push('\\');
                    text.extend(escaped.map(char::from));
                }
                continue;
            }
            _ => {}
        }
        if depth == 0 {
            text.push(match byte {
                b'\r' | b'\n' | b'\t' => ' ',
                byte if byte.is_ascii() => char::from(byte),
                _ => '?',
            });
        }
    }
    text
}

/// A header without the empty line at its end, and that line.
pub(super) fn split_blank(block: &[u8]) -> (&[u8], &[u8]) {
    let at = match block {
        [.., b'\n', b'\r', b'\n'] | [b'\r', b'\n'] => block.len() - 2,
        [.., b'\n', b'\n'] | [b'\n'] => block.len() - 1,
        _ => block.len(),
    };
    block.split_at(at)
}

/// A line without its end, and the end.
pub(super) fn split_line_end(line: &[u8]) -> (&[u8], &[u8]) {
    let at = match line {
        [.., b'\r', b'\n'] => line.len() - 2,
        [.., b'\n'] => line.len() - 1,
        _ => line.len(),
    };
    line.split_at(at)
}
