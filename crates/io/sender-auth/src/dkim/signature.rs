//! The DKIM-Signature field (RFC 6376 §3.5).

use super::Algorithm;
use super::canon::Canon;
use crate::head::Field;
use crate::names::{is_name, is_within};
use crate::tags::{Tags, base64, is_space, members};
use ringpost_base::limits;

/// A signature, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Signature {
    pub(crate) algorithm: Algorithm,
    pub(crate) signature: Vec<u8>,
    pub(crate) body_hash: Vec<u8>,
    pub(crate) header_canon: Canon,
    pub(crate) body_canon: Canon,
    /// The domain that signs, in lower case.
    pub(crate) domain: String,
    pub(crate) selector: String,
    /// The domain of `i=`, in lower case; the domain itself where it says nothing.
    pub(crate) identity: String,
    pub(crate) fields: Vec<String>,
    pub(crate) length_bytes: Option<u64>,
    pub(crate) expires_s: Option<u64>,
}

/// What is known of a signature that cannot be checked: whose it is, and why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable {
    pub(crate) domain: String,
    pub(crate) selector: String,
    pub(crate) why: &'static str,
}

impl Signature {
    /// Reads a DKIM-Signature field's value.
    //= https://www.rfc-editor.org/rfc/rfc6376#section-6.1.1
    pub(crate) fn parse(value: &str) -> Result<Signature, Unreadable> {
        let none = Tags::default();
        let tags = Tags::parse(value);
        let read = tags.as_ref().unwrap_or(&none);
        let name = |tag| {
            let value = read.value(tag).unwrap_or_default().to_ascii_lowercase();
            Some(value).filter(|name| is_name(name))
        };
        let unreadable = |why| Unreadable {
            domain: name("d").unwrap_or_default(),
            selector: name("s").unwrap_or_default(),
            why,
        };
        if tags.is_none() {
            return Err(unreadable("it is no list of tags"));
        }
        Signature::read(read, name("d"), name("s")).map_err(unreadable)
    }

    fn read(tags: &Tags<'_>, domain: Option<String>, selector: Option<String>) -> Result<Self, &'static str> {
        if tags.value("v") != Some("1") {
            return Err("its version is not 1");
        }
        let algorithm = match tags.value("a") {
            Some("rsa-sha256") => Algorithm::Rsa,
            Some("ed25519-sha256") => Algorithm::Ed25519,
            //= https://www.rfc-editor.org/rfc/rfc8301#section-3.1
            Some("rsa-sha1") => return Err("SHA-1 proves nothing"),
            _ => return Err("its algorithm is not known"),
        };
        let bytes = |tag| tags.value(tag).and_then(base64).filter(|b| !b.is_empty());
        let (header_canon, body_canon) = match tags.value("c").unwrap_or("simple").split_once('/') {
            Some((header, body)) => (Canon::parse(header), Canon::parse(body)),
            None => (
                Canon::parse(tags.value("c").unwrap_or("simple")),
                Some(Canon::Simple),
            ),
        };
        let domain = domain.ok_or("it names no domain")?;
        let identity = match tags.value("i") {
            Some(identity) => {
                let (_, at) = identity.rsplit_once('@').ok_or("its identity is none")?;
                at.to_ascii_lowercase()
            }
            None => domain.clone(),
        };
        if !is_within(&identity, &domain) {
            return Err("its identity is not of its domain");
        }
        let fields: Vec<String> = members(tags.value("h").unwrap_or_default())
            .map(str::to_owned)
            .collect();
        if fields.len() > limits::DKIM_FIELDS {
            return Err("it names too many fields");
        }
        //= https://www.rfc-editor.org/rfc/rfc6376#section-5.4
        if !fields.iter().any(|field| field.eq_ignore_ascii_case("from")) {
            return Err("it does not cover From");
        }
        let asks_dns = |methods: &str| members(methods).any(|method| method == "dns/txt");
        if !tags.value("q").is_none_or(asks_dns) {
            return Err("its key is not in the DNS");
        }
        let number = |tag: &str| match tags.value(tag) {
            Some(text) if text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty() => {
                Ok(Some(text.parse::<u64>().unwrap_or(u64::MAX)))
            }
            Some(_) => Err("a number of it is none"),
            None => Ok(None),
        };
        let (signed_s, expires_s) = (number("t")?, number("x")?);
        if let (Some(signed), Some(expires)) = (signed_s, expires_s)
            && expires <= signed
        {
            return Err("it expires before it was made");
        }
        Ok(Signature {
            algorithm,
            signature: bytes("b").ok_or("it has no signature")?,
            body_hash: bytes("bh").ok_or("it has no hash of the body")?,
            header_canon: header_canon.ok_or("its canonicalization is not known")?,
            body_canon: body_canon.ok_or("its canonicalization is not known")?,
            domain,
            selector: selector.ok_or("it names no selector")?,
            identity,
            fields,
            length_bytes: number("l")?,
            expires_s,
        })
    }

    /// The bytes that are signed: the named fields of `header`, counted from the bottom, and the signature's own without
    /// what `b=` says.
    //= https://www.rfc-editor.org/rfc/rfc6376#section-3.7
    pub(crate) fn signed_bytes(&self, header: &[Field<'_>], own: &Field<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        let mut taken = vec![false; header.len()];
        //= https://www.rfc-editor.org/rfc/rfc6376#section-5.4.2
        for name in &self.fields {
            let found = (0..header.len()).rfind(|at| !taken[*at] && header[*at].is(name));
            if let Some(at) = found {
                taken[at] = true;
                self.header_canon.field(&header[at], &mut out);
            }
        }
        let emptied = without_signature(own.raw);
        if let [own, ..] = &crate::head::fields(&emptied)[..] {
            self.header_canon.field(own, &mut out);
        }
        // Its line end is not signed.
        out.truncate(out.len().saturating_sub(2));
        out
    }
}

/// A DKIM-Signature field without the value of its `b` tag.
fn without_signature(raw: &[u8]) -> Vec<u8> {
    let colon = raw.iter().position(|b| *b == b':').map_or(0, |at| at + 1);
    let (name, value) = raw.split_at(colon);
    let mut out = name.to_vec();
    for (n, tag) in value.split(|b| *b == b';').enumerate() {
        if n > 0 {
            out.push(b';');
        }
        let equals = tag.iter().position(|b| *b == b'=');
        match equals.filter(|at| is_signature_tag(&tag[..*at])) {
            Some(at) => out.extend_from_slice(&tag[..=at]),
            None => out.extend_from_slice(tag),
        }
    }
    if !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out
}

fn is_signature_tag(name: &[u8]) -> bool {
    std::str::from_utf8(name).is_ok_and(|name| name.trim_matches(is_space) == "b")
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = " v=1; a=rsa-sha256; c=relaxed/simple; d=Example.org; s=sel; i=@news.example.org;\r\n\t\
                        h=From:To : Subject; bh=aGFzaA==; b=c2\r\n\t ln; l=10; t=1; x=2; z=what";

    #[test]
    fn a_signature_is_read_tag_by_tag() {
        let signature = Signature::parse(GOOD).unwrap();
        assert_eq!(signature.algorithm, Algorithm::Rsa);
        assert_eq!(
            (signature.header_canon, signature.body_canon),
            (Canon::Relaxed, Canon::Simple)
        );
        assert_eq!(
            (&*signature.domain, &*signature.identity),
            ("example.org", "news.example.org")
        );
        assert_eq!(signature.fields, ["From", "To", "Subject"]);
        assert_eq!(
            (&signature.body_hash[..], &signature.signature[..]),
            (&b"hash"[..], &b"sig"[..])
        );
        assert_eq!((signature.length_bytes, signature.expires_s), (Some(10), Some(2)));
    }

    #[test]
    fn what_must_not_be_believed_is_not_read() {
        for (from, to) in [
            ("v=1", "v=2"),
            ("v=1; ", ""),
            ("a=rsa-sha256", "a=rsa-sha1"),
            ("a=rsa-sha256", "a=rsa-sha512"),
            ("c=relaxed/simple", "c=relaxed/odd"),
            ("d=Example.org; ", ""),
            ("s=sel; ", ""),
            ("i=@news.example.org", "i=@badexample.org"),
            ("i=@news.example.org", "i=@org"),
            ("h=From:To : Subject", "h=To:Subject"),
            ("bh=aGFzaA==", "bh=!"),
            ("l=10", "l=-1"),
            ("t=1; x=2", "t=2; x=1"),
            ("z=what", "q=http"),
            ("z=what", "v=1"),
        ] {
            let text = GOOD.replace(from, to);
            assert_ne!(text, GOOD, "{from}");
            assert!(Signature::parse(&text).is_err(), "{text}");
        }
        let e = Signature::parse(&GOOD.replace("v=1", "v=2")).unwrap_err();
        assert_eq!((&*e.domain, &*e.selector), ("example.org", "sel"));
    }

    #[test]
    fn only_the_value_of_the_signature_is_left_out() {
        let raw = b"DKIM-Signature: v=1; bh=xx; b = a\r\n b c; d=x\r\n";
        assert_eq!(
            without_signature(raw),
            b"DKIM-Signature: v=1; bh=xx; b =; d=x\r\n"
        );
        assert_eq!(without_signature(b"D: b=abc\r\n"), b"D: b=\r\n");
    }
}
