//! Paths and mailboxes of the envelope (RFC 5321 §4.1.2, §4.1.3), with RFC 6531's internationalized forms.

use ringpost_base::{ascii_domain, is_letter_beyond_ascii, limits};
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use thiserror::Error;

/// Where mail goes: a local part at a domain or at an address literal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mailbox {
    /// The local part as the receiving system compares it: quotes and backslashes taken away, case kept.
    pub local: String,
    /// Where the local part means something.
    pub domain: Domain,
}

/// The part of a mailbox behind the `@`, or what a client calls itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Domain {
    /// A name in lower case, as A-labels whatever it came as (RFC 5890 §2.3.2.1): one domain has one spelling, and every
    /// server takes it.
    Name(String),
    /// `[192.0.2.1]`
    V4(Ipv4Addr),
    /// `[IPv6:2001:db8::1]`
    V6(Ipv6Addr),
    /// `[tag:content]` of a registered tag: syntactically right and nowhere in use.
    General(String),
}

/// The argument of MAIL: where notices go, nowhere for a notice itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ReversePath {
    /// `<>`
    Null,
    /// `<mailbox>`, a source route taken away.
    Mailbox(Mailbox),
}

/// The argument of RCPT.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ForwardPath {
    /// `<Postmaster>` in any case, without a domain, which every server has to accept.
    Postmaster,
    /// `<mailbox>`, a source route taken away.
    Mailbox(Mailbox),
}

/// Why a path is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PathError {
    /// Not what the grammar wants.
    #[error("expected {expected} at offset {at}")]
    Syntax {
        /// What should have been there.
        expected: &'static str,
        /// Where in the text.
        at: usize,
    },
    /// A local part or domain over its limit.
    #[error("local part or domain too long")]
    TooLong,
    /// Characters beyond ASCII, and the client did not say SMTPUTF8.
    #[error("an internationalized address needs SMTPUTF8")]
    NeedsUtf8,
}

/// Reads one grammar after the other from a command's argument. The only tokenizer of SMTP here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tokens<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Tokens<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Tokens { text, at: 0 }
    }

    pub(crate) fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    pub(crate) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    pub(crate) fn eat(&mut self, c: char) -> bool {
        let found = self.peek() == Some(c);
        if found {
            self.at += c.len_utf8();
        }
        found
    }

    /// Takes `word` in any case.
    pub(crate) fn eat_word(&mut self, word: &str) -> bool {
        let found = self
            .rest()
            .get(..word.len())
            .is_some_and(|w| w.eq_ignore_ascii_case(word));
        if found {
            self.at += word.len();
        }
        found
    }

    pub(crate) fn take_while(&mut self, keep: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c| !keep(c)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn fail<T>(&self, expected: &'static str) -> Result<T, PathError> {
        Err(PathError::Syntax {
            expected,
            at: self.at,
        })
    }

    fn expect(&mut self, c: char, expected: &'static str) -> Result<(), PathError> {
        if self.eat(c) { Ok(()) } else { self.fail(expected) }
    }

    pub(crate) fn reverse_path(&mut self) -> Result<ReversePath, PathError> {
        if self.eat_word("<>") {
            return Ok(ReversePath::Null);
        }
        self.path().map(ReversePath::Mailbox)
    }

    pub(crate) fn forward_path(&mut self) -> Result<ForwardPath, PathError> {
        if self.eat_word("<postmaster>") {
            return Ok(ForwardPath::Postmaster);
        }
        self.path().map(ForwardPath::Mailbox)
    }

    fn path(&mut self) -> Result<Mailbox, PathError> {
        self.expect('<', "<")?;
        // A source route is read and ignored: the mailbox behind it is all that counts.
        //= https://www.rfc-editor.org/rfc/rfc5321#section-4.1.1.3
        if self.peek() == Some('@') {
            loop {
                self.expect('@', "@domain of a source route")?;
                self.domain_name()?;
                if !self.eat(',') {
                    break;
                }
            }
            self.expect(':', ": behind a source route")?;
        }
        let mailbox = self.mailbox()?;
        self.expect('>', ">")?;
        Ok(mailbox)
    }

    pub(crate) fn mailbox(&mut self) -> Result<Mailbox, PathError> {
        let local = match self.peek() {
            Some('"') => self.quoted_string()?,
            _ => self.dot_string()?.to_owned(),
        };
        if local.len() > limits::SMTP_LOCAL_PART_BYTES {
            return Err(PathError::TooLong);
        }
        self.expect('@', "@")?;
        let domain = self.domain()?;
        Ok(Mailbox { local, domain })
    }

    fn dot_string(&mut self) -> Result<&'a str, PathError> {
        let start = self.at;
        loop {
            if self.take_while(is_atext).is_empty() {
                return self.fail("a local part");
            }
            if !self.eat('.') {
                return Ok(&self.text[start..self.at]);
            }
        }
    }

    fn quoted_string(&mut self) -> Result<String, PathError> {
        self.expect('"', "\"")?;
        let mut out = String::new();
        loop {
            match self.peek() {
                Some('"') => break,
                Some('\\') => {
                    self.eat('\\');
                    match self.peek() {
                        Some(c @ ' '..='~') => {
                            out.push(c);
                            self.eat(c);
                        }
                        _ => return self.fail("a character behind a backslash"),
                    }
                }
                Some(c) if matches!(c, ' '..='~') || !c.is_ascii() && !c.is_control() => {
                    out.push(c);
                    self.eat(c);
                }
                _ => return self.fail("the end of a quoted string"),
            }
        }
        self.expect('"', "\"")?;
        if out.is_empty() {
            self.fail("a local part")
        } else {
            Ok(out)
        }
    }

    pub(crate) fn domain(&mut self) -> Result<Domain, PathError> {
        if self.peek() == Some('[') {
            return self.address_literal();
        }
        self.domain_name().map(Domain::Name)
    }

    fn domain_name(&mut self) -> Result<String, PathError> {
        let start = self.at;
        loop {
            let label = self.take_while(|c| {
                c.is_ascii_alphanumeric() || c == '-' || is_letter_beyond_ascii(c) || is_joiner(c)
            });
            if label.is_empty() || label.starts_with('-') || label.ends_with('-') {
                self.at -= label.len();
                return self.fail("a domain");
            }
            if label.is_ascii() && label.len() > 63 {
                return Err(PathError::TooLong);
            }
            if !self.eat('.') {
                break;
            }
        }
        let Some(name) = ascii_domain(&self.text[start..self.at]) else {
            self.at = start;
            return self.fail("a domain of valid U-labels");
        };
        if name.len() > 255 {
            return Err(PathError::TooLong);
        }
        Ok(name.into_owned())
    }

    //= https://www.rfc-editor.org/rfc/rfc5321#section-4.1.3
    fn address_literal(&mut self) -> Result<Domain, PathError> {
        self.expect('[', "[")?;
        let start = self.at;
        let inner = self.take_while(|c| matches!(c, '!'..='Z' | '^'..='~'));
        let domain = if let Some((tag, content)) = inner.split_once(':') {
            if tag.eq_ignore_ascii_case("IPv6") {
                content.parse().ok().map(Domain::V6)
            } else {
                let tag_ok = tag.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                    && tag.ends_with(|c: char| c.is_ascii_alphanumeric());
                (tag_ok && !content.is_empty()).then(|| Domain::General(inner.to_owned()))
            }
        } else {
            inner.parse().ok().map(Domain::V4)
        };
        let Some(domain) = domain else {
            self.at = start;
            return self.fail("an address literal");
        };
        self.expect(']', "]")?;
        Ok(domain)
    }
}

pub(crate) fn is_atext(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || !c.is_ascii() && !c.is_control()
}

/// The two that join letters or keep them apart, which some scripts cannot do without (RFC 5892 §A.1).
fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}')
}

impl Mailbox {
    /// Reads `local@domain` with nothing around it.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let mut tokens = Tokens::new(text);
        let mailbox = tokens.mailbox()?;
        if tokens.rest().is_empty() {
            Ok(mailbox)
        } else {
            tokens.fail("the end")
        }
    }

    /// Whether it can be written in ASCII alone.
    pub fn is_ascii(&self) -> bool {
        self.local.is_ascii()
    }

    /// Whether the local part carries another address or route inside it (`user%other`, `other!user`, `"user@other"`),
    /// as was once used to have a server relay.
    pub fn hides_a_route(&self) -> bool {
        self.local.contains(['%', '!', '@', ':'])
    }
}

impl Domain {
    /// Reads a domain or address literal with nothing around it.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let mut tokens = Tokens::new(text);
        let domain = tokens.domain()?;
        if tokens.rest().is_empty() {
            Ok(domain)
        } else {
            tokens.fail("the end")
        }
    }

    /// The name, unless it is a literal.
    pub fn name(&self) -> Option<&str> {
        match self {
            Domain::Name(name) => Some(name),
            _ => None,
        }
    }
}

impl ReversePath {
    /// The mailbox, unless it is the null path.
    pub fn mailbox(&self) -> Option<&Mailbox> {
        match self {
            ReversePath::Null => None,
            ReversePath::Mailbox(mailbox) => Some(mailbox),
        }
    }
}

impl ForwardPath {
    /// The mailbox, unless it is the postmaster without a domain.
    pub fn mailbox(&self) -> Option<&Mailbox> {
        match self {
            ForwardPath::Postmaster => None,
            ForwardPath::Mailbox(mailbox) => Some(mailbox),
        }
    }
}

/// With the least quoting that the local part needs.
impl fmt::Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = self
            .local
            .split('.')
            .all(|atom| !atom.is_empty() && atom.chars().all(is_atext));
        if plain {
            f.write_str(&self.local)?;
        } else {
            f.write_str("\"")?;
            for c in self.local.chars() {
                if matches!(c, '"' | '\\') {
                    f.write_str("\\")?;
                }
                write!(f, "{c}")?;
            }
            f.write_str("\"")?;
        }
        write!(f, "@{}", self.domain)
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Domain::Name(name) => f.write_str(name),
            Domain::V4(ip) => write!(f, "[{ip}]"),
            Domain::V6(ip) => write!(f, "[IPv6:{ip}]"),
            Domain::General(inner) => write!(f, "[{inner}]"),
        }
    }
}

/// With its angle brackets.
impl fmt::Display for ReversePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReversePath::Null => f.write_str("<>"),
            ReversePath::Mailbox(mailbox) => write!(f, "<{mailbox}>"),
        }
    }
}

/// With its angle brackets.
impl fmt::Display for ForwardPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ForwardPath::Postmaster => f.write_str("<postmaster>"),
            ForwardPath::Mailbox(mailbox) => write!(f, "<{mailbox}>"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forward(text: &str) -> Result<ForwardPath, PathError> {
        let mut tokens = Tokens::new(text);
        let path = tokens.forward_path()?;
        if tokens.rest().is_empty() {
            Ok(path)
        } else {
            tokens.fail("the end")
        }
    }

    fn mailbox(text: &str) -> Mailbox {
        forward(text).unwrap().mailbox().cloned().unwrap()
    }

    #[test]
    fn quoted_forms_are_equal_to_plain_ones_and_print_with_the_least_quoting() {
        let plain = mailbox("<joe.smith@Example.ORG>");
        assert_eq!(mailbox(r#"<"joe.smith"@example.org>"#), plain);
        assert_eq!(mailbox(r#"<"j\oe\.smith"@example.org>"#), plain);
        assert_eq!(plain.to_string(), "joe.smith@example.org");
        for odd in [
            r#""Joe,Smith"@example.org"#,
            r#""a\"b\\c"@example.org"#,
            r#"".a"@example.org"#,
        ] {
            assert_eq!(Mailbox::parse(odd).unwrap().to_string(), odd);
        }
    }

    #[test]
    fn a_source_route_is_read_and_ignored() {
        assert_eq!(
            mailbox("<@hosta.int,@jkl.org:userc@d.bar.org>").to_string(),
            "userc@d.bar.org"
        );
        assert!(forward("<@hosta.int userc@d.bar.org>").is_err());
    }

    #[test]
    fn address_literals() {
        assert_eq!(
            mailbox("<a@[192.0.2.1]>").domain,
            Domain::V4(Ipv4Addr::new(192, 0, 2, 1))
        );
        assert_eq!(mailbox("<a@[IPv6:::1]>").domain, Domain::V6(Ipv6Addr::LOCALHOST));
        assert_eq!(mailbox("<a@[x-y:z]>").domain, Domain::General("x-y:z".into()));
        for bad in [
            "<a@[192.0.2]>",
            "<a@[192.0.2.256]>",
            "<a@[::1]>",
            "<a@[IPv6:1]>",
            "<a@[1.2.3.4>",
            "<a@[]>",
        ] {
            assert!(forward(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn postmaster_needs_no_domain_in_any_case() {
        assert_eq!(forward("<PostMaster>"), Ok(ForwardPath::Postmaster));
        assert!(forward("<alice>").is_err());
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for bad in [
            "",
            "<>",
            "a@b",
            "<a@b",
            "<a@>",
            "<@b>",
            "<a@b>>",
            "<a b@c>",
            "<a..b@c>",
            "<.a@c>",
            "<a.@c>",
            "<a@-c>",
            "<a@c->",
            "<a@c..d>",
            "<a@c.>",
            "<a@b_c>",
            "<a@b@c>",
            "<\"a@c>",
            "<\"\"@c>",
            "<a\u{1}@c>",
            "<\"a\u{1}\"@c>",
        ] {
            assert!(forward(bad).is_err(), "{bad:?}");
        }
        assert_eq!(
            forward(&format!("<{}@c>", "a".repeat(2000))),
            Err(PathError::TooLong)
        );
        assert_eq!(
            forward(&format!("<a@{}.org>", "a".repeat(64))),
            Err(PathError::TooLong)
        );
    }

    #[test]
    fn an_error_says_where() {
        assert_eq!(
            forward("<a@b_c>"),
            Err(PathError::Syntax { expected: ">", at: 4 })
        );
    }
}
