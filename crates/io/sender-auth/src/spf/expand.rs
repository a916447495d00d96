//! Macros (RFC 7208 §7).

use super::Query;
use std::fmt::Write;
use std::net::IpAddr;

/// A domain-spec or another macro-string, read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Spec(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(String),
    /// `%%`, `%_` and `%-`.
    Escape(&'static str),
    Macro(Macro),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Macro {
    /// In lower case.
    letter: u8,
    /// It was written in upper case: the value is escaped as in a URL.
    escapes: bool,
    /// How many parts stay, counted from the right.
    parts: Option<usize>,
    reversed: bool,
    delimiters: String,
}

impl Spec {
    /// Reads a macro-string; `None` when it is none. The letters `c`, `r` and `t` are for explanations, with
    /// `explains`.
    //= https://www.rfc-editor.org/rfc/rfc7208#section-7.1
    pub(super) fn parse(text: &str, explains: bool) -> Option<Spec> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                if !c.is_ascii_graphic() {
                    return None;
                }
                literal.push(c);
                continue;
            }
            if !literal.is_empty() {
                pieces.push(Piece::Literal(std::mem::take(&mut literal)));
            }
            pieces.push(match chars.next()? {
                '%' => Piece::Escape("%"),
                '_' => Piece::Escape(" "),
                '-' => Piece::Escape("%20"),
                '{' => {
                    let (inner, rest) = chars.as_str().split_once('}')?;
                    chars = rest.chars();
                    Piece::Macro(Macro::parse(inner, explains)?)
                }
                _ => return None,
            });
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        Some(Spec(pieces))
    }

    /// Reads a domain-spec: a macro-string that ends in a macro, or in a dot and a label that can be a top-level domain.
    pub(super) fn parse_domain(text: &str) -> Option<Spec> {
        let spec = Spec::parse(text, false)?;
        match spec.0.last()? {
            Piece::Literal(literal) => {
                let literal = literal.strip_suffix('.').unwrap_or(literal);
                let (_, label) = literal.rsplit_once('.')?;
                is_top_label(label).then_some(spec)
            }
            Piece::Escape(_) | Piece::Macro(_) => Some(spec),
        }
    }

    pub(super) fn wants_validated_name(&self) -> bool {
        self.0
            .iter()
            .any(|piece| matches!(piece, Piece::Macro(Macro { letter: b'p', .. })))
    }
}

fn is_top_label(label: &str) -> bool {
    let bytes = label.as_bytes();
    !bytes.is_empty()
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
        && !bytes.starts_with(b"-")
        && !bytes.ends_with(b"-")
        && !bytes.iter().all(u8::is_ascii_digit)
}

impl Macro {
    fn parse(inner: &str, explains: bool) -> Option<Macro> {
        let mut chars = inner.chars();
        let first = u8::try_from(chars.next()?).ok()?;
        let letter = first.to_ascii_lowercase();
        let known: &[u8] = if explains { b"slodiphvcrt" } else { b"slodiphv" };
        if !known.contains(&letter) {
            return None;
        }
        let rest = chars.as_str();
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, rest) = rest.split_at(digits);
        let parts = match number {
            "" => None,
            // However many there may be, no name has more parts.
            number => Some(number.parse::<usize>().unwrap_or(usize::MAX)),
        };
        if parts == Some(0) {
            return None;
        }
        let reversed = rest.starts_with(['r', 'R']);
        let delimiters = if reversed { &rest[1..] } else { rest };
        if !delimiters.bytes().all(|b| b".-+,/_=".contains(&b)) {
            return None;
        }
        Some(Macro {
            letter,
            escapes: first.is_ascii_uppercase(),
            parts,
            reversed,
            delimiters: if delimiters.is_empty() { "." } else { delimiters }.to_owned(),
        })
    }
}

/// What the letters stand for.
pub(super) struct Expansion<'a> {
    pub(super) query: &'a Query,
    pub(super) domain: &'a str,
    pub(super) validated: &'a str,
}

impl Expansion<'_> {
    fn value(&self, letter: u8) -> String {
        let query = self.query;
        match letter {
            b's' => format!("{}@{}", query.local, query.domain),
            b'l' => query.local.clone(),
            b'o' => query.domain.clone(),
            b'd' => self.domain.to_owned(),
            b'i' => dotted(query.address),
            b'p' => self.validated.to_owned(),
            b'v' => match query.address {
                IpAddr::V4(_) => "in-addr".to_owned(),
                IpAddr::V6(_) => "ip6".to_owned(),
            },
            b'h' => query.helo.clone(),
            // For explanations, which are not fetched.
            _ => String::new(),
        }
    }
}

fn dotted(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let nibbles: Vec<String> = address
                .octets()
                .iter()
                .flat_map(|octet| [octet >> 4, octet & 15])
                .map(|nibble| format!("{nibble:x}"))
                .collect();
            nibbles.join(".")
        }
    }
}

/// A domain-spec with its macros expanded, without the dot at its end; cut from the left where it would be too long.
//= https://www.rfc-editor.org/rfc/rfc7208#section-7.3
pub(super) fn expand(spec: &Spec, of: &Expansion<'_>) -> String {
    let mut out = String::new();
    for piece in &spec.0 {
        match piece {
            Piece::Literal(text) => out.push_str(text),
            Piece::Escape(text) => out.push_str(text),
            Piece::Macro(one) => out.push_str(&expand_one(one, of)),
        }
    }
    if out.ends_with('.') {
        out.pop();
    }
    while out.len() > 253 {
        match out.split_once('.') {
            Some((_, shorter)) => out = shorter.to_owned(),
            None => break,
        }
    }
    out
}

fn expand_one(one: &Macro, of: &Expansion<'_>) -> String {
    let value = of.value(one.letter);
    let mut parts: Vec<&str> = value.split(|c| one.delimiters.contains(c)).collect();
    if one.reversed {
        parts.reverse();
    }
    let kept = one.parts.unwrap_or(usize::MAX).min(parts.len());
    let joined = parts[parts.len() - kept..].join(".");
    match one.escapes {
        true => escaped(&joined),
        false => joined,
    }
}

fn escaped(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b if b.is_ascii_alphanumeric() || b"-._~".contains(&b) => out.push(char::from(b)),
            b => {
                let _ = write!(out, "%{b:02X}");
            }
        }
    }
    out
}
