//! Address lists (RFC 5322 §3.4, with the obsolete forms of §4.4), as ENVELOPE wants them: encoded words untouched.

use ringpost_imap::structure::Address;

/// Reads a list up to `limit` addresses, the start and the end of a group counted as such; one more may come as a group's
/// end. What cannot be understood is shown as well as it can be: nothing is refused.
pub(crate) fn addresses(text: &str, limit: usize) -> Vec<Address> {
    let mut reader = Reader {
        rest: text,
        out: Vec::new(),
        in_group: false,
    };
    while !reader.rest.is_empty() && reader.out.len() < limit {
        reader.element();
    }
    // An element may bring its group's end along.
    reader.out.truncate(limit);
    let is_open = |address: &Address| !matches!(address, Address::Mailbox { .. });
    if let Some(Address::GroupStart(_)) = reader.out.iter().rev().find(|address| is_open(address)) {
        reader.out.push(Address::GroupEnd);
    }
    reader.out
}

struct Reader<'a> {
    rest: &'a str,
    out: Vec<Address>,
    in_group: bool,
}

/// Words up to a delimiter.
#[derive(Default)]
struct Words {
    /// As a phrase: each gap of white space or comments is one space.
    phrase: String,
    /// Without gaps, as an address is read.
    joined: String,
    /// Where the last `@` outside quotes stands in `joined`.
    at: Option<usize>,
    comment: Option<String>,
    any: bool,
}

impl Reader<'_> {
    fn element(&mut self) {
        let words = self.words();
        let delimiter = self.rest.chars().next();
        self.rest = delimiter.map_or("", |d| &self.rest[d.len_utf8()..]);
        match delimiter {
            Some(':') if !self.in_group && words.at.is_none() => {
                self.out.push(Address::GroupStart(words.phrase));
                self.in_group = true;
            }
            Some('<') => self.angle(words),
            Some(';') => {
                self.mailbox(words);
                if self.in_group {
                    self.out.push(Address::GroupEnd);
                    self.in_group = false;
                }
            }
            _ => self.mailbox(words),
        }
    }

    /// An address without angle brackets; its name may stand in a comment.
    fn mailbox(&mut self, words: Words) {
        if words.any {
            let (local, domain) = split(&words);
            self.out.push(Address::Mailbox {
                name: words.comment,
                local,
                domain,
            });
        }
    }

    /// What stands between `<` and `>`, and then up to the next delimiter of the list.
    fn angle(&mut self, name: Words) {
        let (inner, rest) = match find_outside_quotes(self.rest, '>') {
            Some(end) => (&self.rest[..end], &self.rest[end + 1..]),
            None => (self.rest, ""),
        };
        // A source route is not shown: IMAP has a place for it that is always NIL.
        let inner = match inner.trim_start().starts_with('@') {
            true => inner.split_once(':').map_or(inner, |(_, after)| after),
            false => inner,
        };
        let (local, domain) = split(
            &Reader {
                rest: inner,
                out: Vec::new(),
                in_group: false,
            }
            .all_words(),
        );
        self.rest = rest;
        let after = self.words();
        if matches!(self.rest.chars().next(), Some(',' | ':' | '<')) {
            self.rest = &self.rest[1..];
        }
        let name = if name.any {
            Some(name.phrase)
        } else {
            name.comment.or(after.comment)
        };
        self.out.push(Address::Mailbox {
            name: name.filter(|n| !n.is_empty()),
            local,
            domain,
        });
    }

    /// Words that stop at nothing but the end: what is odd within angle brackets is taken along.
    fn all_words(mut self) -> Words {
        let mut all = self.words();
        while let Some(c) = self.rest.chars().next() {
            self.rest = &self.rest[c.len_utf8()..];
            all.joined.push(c);
            let more = self.words();
            all.at = more.at.map(|at| all.joined.len() + at).or(all.at);
            all.joined.push_str(&more.joined);
            all.any = true;
        }
        all
    }

    /// Reads up to a delimiter (`,` `;` `:` `<`) outside quotes, comments and domain literals.
    fn words(&mut self) -> Words {
        let mut words = Words::default();
        let mut gap = false;
        while let Some(c) = self.rest.chars().next() {
            match c {
                ',' | ';' | ':' | '<' => break,
                '(' => {
                    let comment = self.comment();
                    words.comment = Some(comment).filter(|c| !c.is_empty()).or(words.comment);
                    gap = true;
                    continue;
                }
                c if c.is_whitespace() => gap = true,
                _ => {
                    if gap && !words.phrase.is_empty() {
                        words.phrase.push(' ');
                    }
                    gap = false;
                    words.any = true;
                    match c {
                        '"' => {
                            let quoted = self.quoted();
                            words.phrase.push_str(&quoted);
                            words.joined.push_str(&quoted);
                            continue;
                        }
                        '[' => {
                            let end = self.rest.find(']').map_or(self.rest.len(), |i| i + 1);
                            words.phrase.push_str(&self.rest[..end]);
                            words.joined.push_str(&self.rest[..end]);
                            self.rest = &self.rest[end..];
                            continue;
                        }
                        '@' => words.at = Some(words.joined.len()),
                        _ => {}
                    }
                    words.phrase.push(c);
                    words.joined.push(c);
                }
            }
            self.rest = &self.rest[c.len_utf8()..];
        }
        words
    }

    /// The text of a quoted string, which begins here.
    fn quoted(&mut self) -> String {
        let mut out = String::new();
        let mut chars = self.rest.char_indices().skip(1);
        while let Some((i, c)) = chars.next() {
            match c {
                '"' => {
                    self.rest = &self.rest[i + 1..];
                    return out;
                }
                '\\' => out.extend(chars.next().map(|(_, c)| c)),
                c => out.push(c),
            }
        }
        self.rest = "";
        out
    }

    /// The text of a comment, which begins here; comments within it stay as they are.
    fn comment(&mut self) -> String {
        let mut out = String::new();
        let mut depth = 0u32;
        let mut chars = self.rest.char_indices();
        while let Some((i, c)) = chars.next() {
            match c {
                '(' => depth += 1,
                ')' => depth -= 1,
                '\\' => {
                    out.extend(chars.next().map(|(_, c)| c));
                    continue;
                }
                _ => {}
            }
            if depth == 0 {
                self.rest = &self.rest[i + 1..];
                return out.trim().to_owned();
            }
            if !(c == '(' && depth == 1) {
                out.push(c);
            }
        }
        self.rest = "";
        out.trim().to_owned()
    }
}

fn split(words: &Words) -> (String, String) {
    match words.at {
        Some(at) => (words.joined[..at].to_owned(), words.joined[at + 1..].to_owned()),
        None => (words.joined.clone(), String::new()),
    }
}

fn find_outside_quotes(text: &str, wanted: char) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (i, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            c if c == wanted && !quoted => return Some(i),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(text: &str) -> Vec<Address> {
        super::addresses(text, usize::MAX)
    }

    fn mailbox(name: &str, local: &str, domain: &str) -> Address {
        Address::Mailbox {
            name: Some(name.to_owned()).filter(|n| !n.is_empty()),
            local: local.to_owned(),
            domain: domain.to_owned(),
        }
    }

    #[test]
    fn the_rfcs_examples() {
        // RFC 5322 A.1.2, A.5, A.6.1.
        assert_eq!(
            addresses(r#""Joe Q. Public" <john.q.public@example.com>"#),
            [mailbox("Joe Q. Public", "john.q.public", "example.com")]
        );
        assert_eq!(
            addresses(r#"Mary Smith <mary@x.test>, jdoe@example.org, Who? <one@y.test>"#),
            [
                mailbox("Mary Smith", "mary", "x.test"),
                mailbox("", "jdoe", "example.org"),
                mailbox("Who?", "one", "y.test")
            ]
        );
        assert_eq!(
            addresses(r#"<boss@nil.test>, "Giant; \"Big\" Box" <sysservices@example.net>"#),
            [
                mailbox("", "boss", "nil.test"),
                mailbox("Giant; \"Big\" Box", "sysservices", "example.net")
            ]
        );
        assert_eq!(
            addresses("Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>"),
            [mailbox("Pete", "pete", "silly.test")]
        );
        assert_eq!(
            addresses("Mary Smith <@node.test:mary@example.net>, , jdoe@test  . example"),
            [
                mailbox("Mary Smith", "mary", "example.net"),
                mailbox("", "jdoe", "test.example")
            ]
        );
    }

    // Guards pitfall IMAP 8: group addresses.
    #[test]
    fn groups_are_a_start_members_and_an_end() {
        assert_eq!(
            addresses("A Group:Ed Jones <c@a.test>,joe@where.test;, x@y"),
            [
                Address::GroupStart("A Group".into()),
                mailbox("Ed Jones", "c", "a.test"),
                mailbox("", "joe", "where.test"),
                Address::GroupEnd,
                mailbox("", "x", "y"),
            ]
        );
        assert_eq!(
            addresses("Undisclosed recipients:;"),
            [
                Address::GroupStart("Undisclosed recipients".into()),
                Address::GroupEnd
            ]
        );
        assert_eq!(addresses("open: a@b").last(), Some(&Address::GroupEnd));
    }

    #[test]
    fn names_in_comments_and_encoded_words_are_kept_as_they_are() {
        assert_eq!(
            addresses("jdoe@one.test (John Doe)"),
            [mailbox("John Doe", "jdoe", "one.test")]
        );
        assert_eq!(
            addresses("=?utf-8?Q?J=C3=B6rg?= M. <j@x.test>"),
            [mailbox("=?utf-8?Q?J=C3=B6rg?= M.", "j", "x.test")]
        );
        assert_eq!(addresses("Jörg <j@x.test>"), [mailbox("Jörg", "j", "x.test")]);
    }

    #[test]
    fn a_list_is_cut_at_its_limit_and_a_group_is_closed_there() {
        let first = |text, limit| super::addresses(text, limit);
        let (start, end) = (Address::GroupStart("g".into()), Address::GroupEnd);
        let (a, b) = (mailbox("", "a", ""), mailbox("", "b", ""));
        assert_eq!(first("a, b, c", 2), [a.clone(), b.clone()]);
        assert_eq!(first("g: a, b, c;", 2), [start.clone(), a.clone(), end.clone()]);
        assert_eq!(first("g: a; b", 2), [start.clone(), a.clone(), end.clone()]);
        assert_eq!(first("g: a; b", 3), [start, a, end]);
        assert_eq!(first("a", 0), []);
    }

    #[test]
    fn what_is_broken_is_shown_as_well_as_it_can_be() {
        assert_eq!(addresses("alice"), [mailbox("", "alice", "")]);
        assert_eq!(addresses("Name <>"), [mailbox("Name", "", "")]);
        assert_eq!(addresses("a@b <c@d"), [mailbox("a@b", "c", "d")]);
        assert_eq!(
            addresses("\"a@b\"@[192.0.2.1]"),
            [mailbox("", "a@b", "[192.0.2.1]")]
        );
        assert_eq!(addresses(""), []);
        assert_eq!(addresses(" , ;,"), []);
        for odd in [
            "(",
            "\"",
            "<",
            "[",
            "a(b",
            "a\\",
            "\"\\",
            "(\\",
            "::;:",
            "<<>>",
            "a:b:c;",
            "é<é(é\"é[é",
        ] {
            addresses(odd);
        }
    }
}
