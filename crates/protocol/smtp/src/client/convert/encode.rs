//! A part's text as it is written.

use super::LINE_BYTES;
use ringpost_auth::base64;

/// The longest line of what is encoded (RFC 2045 §6.7, §6.8), and the bytes that make one of base64.
const ENCODED_LINE_BYTES: usize = 76;
const BASE64_BYTES: usize = 57;

/// Writes lines in another way. A part's last line end is only told when it is the part's own.
#[derive(Debug)]
pub(super) enum Encoder {
    AsItIs,
    QuotedPrintable {
        column: usize,
        /// White space that may stand at the end of a line, where it must be encoded.
        space: Option<u8>,
    },
    Base64 {
        held: Vec<u8>,
        has_line: bool,
    },
    /// Quoted-printable already, in lines that are too long.
    SoftBreaks {
        column: usize,
        /// How many bytes of an escape are still to come.
        escape: usize,
    },
    /// Base64 already, in lines that are too long.
    HardBreaks {
        column: usize,
    },
    /// What stands between parts: anything beyond ASCII is replaced.
    Filler {
        column: usize,
    },
}

impl Encoder {
    pub(super) fn quoted_printable() -> Self {
        Encoder::QuotedPrintable {
            column: 0,
            space: None,
        }
    }

    pub(super) fn base64() -> Self {
        Encoder::Base64 {
            held: Vec::new(),
            has_line: false,
        }
    }

    pub(super) fn soft_breaks() -> Self {
        Encoder::SoftBreaks { column: 0, escape: 0 }
    }

    pub(super) fn hard_breaks() -> Self {
        Encoder::HardBreaks { column: 0 }
    }

    pub(super) fn filler() -> Self {
        Encoder::Filler { column: 0 }
    }

    /// A piece of a line.
    pub(super) fn text(&mut self, text: &[u8], out: &mut Vec<u8>) {
        match self {
            Encoder::AsItIs => out.extend_from_slice(text),
            Encoder::QuotedPrintable { column, space } => {
                for byte in text {
                    if let Some(space) = space.take() {
                        quoted(&[space], column, out);
                    }
                    match byte {
                        b' ' | b'\t' => *space = Some(*byte),
                        b'!'..=b'<' | b'>'..=b'~' => quoted(&[*byte], column, out),
                        other => quoted(&escaped(*other), column, out),
                    }
                }
            }
            Encoder::Base64 { held, has_line } => {
                held.extend_from_slice(text);
                whole_lines(held, has_line, out);
            }
            Encoder::SoftBreaks { column, escape } => {
                for byte in text {
                    // Room for an escape and the equals sign.
                    if *escape == 0 && *column >= LINE_BYTES - 4 {
                        out.extend_from_slice(b"=\r\n");
                        *column = 0;
                    }
                    *escape = match byte {
                        b'=' => 2,
                        _ => escape.saturating_sub(1),
                    };
                    out.push(*byte);
                    *column += 1;
                }
            }
            Encoder::HardBreaks { column } => {
                for byte in text {
                    if *column == ENCODED_LINE_BYTES {
                        out.extend_from_slice(b"\r\n");
                        *column = 0;
                    }
                    out.push(*byte);
                    *column += 1;
                }
            }
            Encoder::Filler { column } => {
                for byte in text {
                    if *column == LINE_BYTES {
                        out.extend_from_slice(b"\r\n");
                        *column = 0;
                    }
                    let is_plain = byte.is_ascii() && *byte != 0;
                    out.push(if is_plain { *byte } else { b'?' });
                    *column += 1;
                }
            }
        }
    }

    /// A line has ended.
    pub(super) fn line_end(&mut self, out: &mut Vec<u8>) {
        match self {
            Encoder::Base64 { held, has_line } => {
                held.extend_from_slice(b"\r\n");
                return whole_lines(held, has_line, out);
            }
            Encoder::AsItIs => {}
            Encoder::QuotedPrintable { column, space } => {
                //= https://www.rfc-editor.org/rfc/rfc2045#section-6.7
                if let Some(space) = space.take() {
                    quoted(&escaped(space), column, out);
                }
                *column = 0;
            }
            Encoder::SoftBreaks { column, escape } => (*column, *escape) = (0, 0),
            Encoder::HardBreaks { column } | Encoder::Filler { column } => *column = 0,
        }
        out.extend_from_slice(b"\r\n");
    }

    /// The part has ended.
    pub(super) fn end(&mut self, out: &mut Vec<u8>) {
        match self {
            Encoder::QuotedPrintable { column, space } => {
                if let Some(space) = space.take() {
                    quoted(&escaped(space), column, out);
                }
            }
            Encoder::Base64 { held, has_line } if !held.is_empty() => {
                let rest = std::mem::take(held);
                base64_line(&rest, has_line, out);
            }
            _ => {}
        }
    }
}

/// One character of quoted-printable, on the next line where it has no room.
fn quoted(character: &[u8], column: &mut usize, out: &mut Vec<u8>) {
    //= https://www.rfc-editor.org/rfc/rfc2045#section-6.7
    if *column + character.len() > ENCODED_LINE_BYTES - 1 {
        out.extend_from_slice(b"=\r\n");
        *column = 0;
    }
    out.extend_from_slice(character);
    *column += character.len();
}

fn escaped(byte: u8) -> [u8; 3] {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    [b'=', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]
}

fn whole_lines(held: &mut Vec<u8>, has_line: &mut bool, out: &mut Vec<u8>) {
    let whole = held.len() - held.len() % BASE64_BYTES;
    for line in held[..whole].chunks(BASE64_BYTES) {
        base64_line(line, has_line, out);
    }
    held.drain(..whole);
}

fn base64_line(bytes: &[u8], has_line: &mut bool, out: &mut Vec<u8>) {
    if std::mem::replace(has_line, true) {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(base64::encode(bytes).as_bytes());
}
