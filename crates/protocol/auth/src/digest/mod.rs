//! Digest access authentication: RFC 7616, with the algorithms of RFC 8760 for SIP and the rules of RFC 3261 §22.
//!
//! A server gives out one [`Challenge`] for each algorithm and takes back [`Credentials`]; `qop=auth` is required, so that
//! every response is bound to a client nonce and a count. The form without qop (RFC 2069) is refused on both sides, unless
//! it is allowed for RTSP, whose cameras and players know no other.

mod client;
mod server;
#[cfg(test)]
mod tests;

pub use client::{ChallengeError, Challenged, DigestClient};
pub use server::{Authenticator, Challenges, Offer, Policy, Refusal, Verdict};

use crate::params::{Params, ParseError, Quoted};
use md5::Md5;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::fmt;
use subtle::ConstantTimeEq;

/// A hash that digest responses are made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// MD5, which every phone knows.
    Md5,
    /// SHA-256 (RFC 7616 §3.3, RFC 8760 §2).
    Sha256,
}

impl Algorithm {
    /// The name in an `algorithm` parameter.
    pub const fn name(self) -> &'static str {
        match self {
            Algorithm::Md5 => "MD5",
            Algorithm::Sha256 => "SHA-256",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Algorithm::Md5, Algorithm::Sha256]
            .into_iter()
            .find(|a| a.name().eq_ignore_ascii_case(name))
    }

    /// The hash of `parts` with a colon between each two.
    fn hash(self, parts: &[&[u8]]) -> Hash {
        match self {
            Algorithm::Md5 => Hash::of::<Md5>(parts),
            Algorithm::Sha256 => Hash::of::<Sha256>(parts),
        }
    }
}

/// What MD5 or SHA-256 gave: 16 or 32 bytes.
#[derive(Clone, Copy)]
struct Hash {
    bytes: [u8; 32],
    len: usize,
}

impl Hash {
    fn of<D: Digest>(parts: &[&[u8]]) -> Self {
        let mut digest = D::new();
        for (i, part) in parts.iter().enumerate() {
            if i > 0 {
                digest.update(b":");
            }
            digest.update(part);
        }
        Hash::from_slice(&digest.finalize())
    }

    fn from_slice(slice: &[u8]) -> Self {
        let mut bytes = [0; 32];
        bytes[..slice.len()].copy_from_slice(slice);
        Hash {
            bytes,
            len: slice.len(),
        }
    }

    /// From hexadecimal in either case; `None` unless it is as long as `algorithm`'s hash.
    fn from_hex(text: &str, algorithm: Algorithm) -> Option<Self> {
        let len = match algorithm {
            Algorithm::Md5 => 16,
            Algorithm::Sha256 => 32,
        };
        let text = text.as_bytes();
        if text.len() != 2 * len {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
            *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        Some(Hash { bytes, len })
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn hex(&self) -> Hex {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 64];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.bytes()) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        Hex {
            text,
            len: 2 * self.len,
        }
    }

    fn same_as(&self, other: &Hash) -> bool {
        self.bytes().ct_eq(other.bytes()).into()
    }
}

fn nibble(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|n| n as u8)
}

struct Hex {
    text: [u8; 64],
    len: usize,
}

impl Hex {
    fn bytes(&self) -> &[u8] {
        &self.text[..self.len]
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(self.bytes()).expect("hexadecimal digits are ASCII")
    }
}

/// What a server keeps of a device's password: H(user:realm:password) for each algorithm, the `H(A1)` of RFC 7616 §3.4.2.
///
/// It is as good as the password within its realm, so it is stored encrypted.
#[derive(Clone, PartialEq, Eq)]
pub struct DigestKeys {
    md5: [u8; 16],
    sha256: [u8; 32],
}

impl DigestKeys {
    /// The length of [`to_bytes`](DigestKeys::to_bytes).
    pub const LEN: usize = 48;

    /// From the password itself.
    pub fn derive(user: &str, realm: &str, password: &str) -> Self {
        let parts = [user.as_bytes(), realm.as_bytes(), password.as_bytes()];
        let mut bytes = [0; Self::LEN];
        bytes[..16].copy_from_slice(Algorithm::Md5.hash(&parts).bytes());
        bytes[16..].copy_from_slice(Algorithm::Sha256.hash(&parts).bytes());
        Self::from_bytes(bytes)
    }

    /// From what [`to_bytes`](DigestKeys::to_bytes) gave.
    pub fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        let (mut md5, mut sha256) = ([0; 16], [0; 32]);
        md5.copy_from_slice(&bytes[..16]);
        sha256.copy_from_slice(&bytes[16..]);
        DigestKeys { md5, sha256 }
    }

    /// MD5's key and SHA-256's, one behind the other.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..16].copy_from_slice(&self.md5);
        bytes[16..].copy_from_slice(&self.sha256);
        bytes
    }

    fn key(&self, algorithm: Algorithm) -> Hash {
        match algorithm {
            Algorithm::Md5 => Hash::from_slice(&self.md5),
            Algorithm::Sha256 => Hash::from_slice(&self.sha256),
        }
    }

    /// The `response` of RFC 7616 §3.4.1 with `qop=auth`, or of RFC 2069 §2.1.2 without.
    fn response(&self, request: &Request<'_>) -> Hash {
        let algorithm = request.algorithm;
        //= https://www.rfc-editor.org/rfc/rfc7616#section-3.4.3
        let a2 = algorithm.hash(&[request.method.as_bytes(), request.uri.as_bytes()]);
        let Some((cnonce, nc)) = request.auth else {
            return algorithm.hash(&[
                self.key(algorithm).hex().bytes(),
                request.nonce.as_bytes(),
                a2.hex().bytes(),
            ]);
        };
        algorithm.hash(&[
            self.key(algorithm).hex().bytes(),
            request.nonce.as_bytes(),
            nc.as_bytes(),
            cnonce.as_bytes(),
            b"auth",
            a2.hex().bytes(),
        ])
    }
}

impl fmt::Debug for DigestKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DigestKeys(..)")
    }
}

/// What a response is computed over, beside the key.
struct Request<'a> {
    algorithm: Algorithm,
    method: &'a str,
    uri: &'a str,
    nonce: &'a str,
    /// The client's nonce and the count; `None` without qop.
    auth: Option<(&'a str, &'a str)>,
}

/// The `username` that a client sends in place of `user` when it was told `userhash=true` (RFC 7616 §3.4.4).
pub fn userhash(algorithm: Algorithm, user: &str, realm: &str) -> String {
    algorithm
        .hash(&[user.as_bytes(), realm.as_bytes()])
        .hex()
        .as_str()
        .to_owned()
}

/// The value of a WWW-Authenticate or Proxy-Authenticate header field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge<'a> {
    /// Which password is asked for.
    pub realm: Cow<'a, str>,
    /// What the response must be bound to.
    pub nonce: Cow<'a, str>,
    /// To be sent back as it is.
    pub opaque: Option<Cow<'a, str>>,
    /// `None` for one that is not known here: such a challenge cannot be answered.
    pub algorithm: Option<Algorithm>,
    /// Whether `auth` is among the offered qualities of protection.
    pub qop_auth: bool,
    /// The refused credentials were right but for their nonce.
    pub stale: bool,
    /// The server can find a user by [`userhash`].
    pub userhash: bool,
}

impl<'a> Challenge<'a> {
    /// Reads one challenge. Unknown parameters are skipped, doubled ones refused.
    pub fn parse(text: &'a str) -> Result<Self, ParseError> {
        let mut params = Params::after_scheme(text, "Digest")?;
        let mut fields = Fields::default();
        while let Some((name, value)) = params.next()? {
            fields.put(&params, name, value)?;
        }
        let missing = |expected| params.expected(expected);
        let is_true = |value: Option<Cow<'_, str>>| value.is_some_and(|v| v.eq_ignore_ascii_case("true"));
        Ok(Challenge {
            realm: fields.take(Field::Realm).ok_or_else(|| missing("a realm"))?,
            nonce: fields.take(Field::Nonce).ok_or_else(|| missing("a nonce"))?,
            opaque: fields.take(Field::Opaque),
            algorithm: fields.algorithm(),
            qop_auth: fields
                .take(Field::Qop)
                .is_some_and(|qop| qop.split(',').any(|q| q.trim().eq_ignore_ascii_case("auth"))),
            stale: is_true(fields.take(Field::Stale)),
            userhash: is_true(fields.take(Field::Userhash)),
        })
    }
}

impl fmt::Display for Challenge<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Digest realm={}, nonce={}",
            Quoted(&self.realm),
            Quoted(&self.nonce)
        )?;
        if let Some(opaque) = &self.opaque {
            write!(f, ", opaque={}", Quoted(opaque))?;
        }
        if let Some(algorithm) = self.algorithm {
            write!(f, ", algorithm={}", algorithm.name())?;
        }
        if self.qop_auth {
            f.write_str(", qop=\"auth\"")?;
        }
        if self.stale {
            f.write_str(", stale=true")?;
        }
        if self.userhash {
            f.write_str(", userhash=true")?;
        }
        Ok(())
    }
}

/// The value of an Authorization or Proxy-Authorization header field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials<'a> {
    /// The user, or the user's hash when `userhash` says so.
    pub username: Cow<'a, str>,
    /// Whether `username` is a [`userhash`].
    pub userhash: bool,
    /// The realm of the challenge that is answered.
    pub realm: Cow<'a, str>,
    /// The nonce of the challenge that is answered.
    pub nonce: Cow<'a, str>,
    /// The request's URI as the client saw it. That it means the same as the request's is for the caller to check.
    pub uri: Cow<'a, str>,
    /// The proof, in hexadecimal.
    pub response: Cow<'a, str>,
    /// MD5 where it is not given; `None` for one that is not known here.
    pub algorithm: Option<Algorithm>,
    /// `opaque` of the challenge.
    pub opaque: Option<Cow<'a, str>>,
    /// Client nonce and the eight-digit count of requests, which come with `qop=auth`; `None` without qop.
    pub auth: Option<(Cow<'a, str>, Cow<'a, str>)>,
}

impl<'a> Credentials<'a> {
    /// Reads credentials. Unknown parameters are skipped, doubled ones refused.
    pub fn parse(text: &'a str) -> Result<Self, ParseError> {
        let mut params = Params::after_scheme(text, "Digest")?;
        let mut fields = Fields::default();
        while let Some((name, value)) = params.next()? {
            fields.put(&params, name, value)?;
        }
        let missing = |expected| params.expected(expected);
        let username = match (fields.take(Field::Username), fields.take(Field::UsernameExt)) {
            (Some(name), None) => name,
            (None, Some(coded)) => Cow::Owned(ext_value(&coded).ok_or_else(|| missing("an RFC 8187 value"))?),
            (Some(_), Some(_)) => return Err(missing("one of username and username*")),
            (None, None) => return Err(missing("a username")),
        };
        let auth = match fields.take(Field::Qop) {
            None => None,
            Some(qop) if qop.eq_ignore_ascii_case("auth") => {
                let nc = fields.take(Field::Nc).filter(|nc| count(nc).is_some());
                let nc = nc.ok_or_else(|| missing("nc of 8 hexadecimal digits"))?;
                Some((fields.take(Field::Cnonce).ok_or_else(|| missing("a cnonce"))?, nc))
            }
            Some(_) => return Err(missing("qop=auth")),
        };
        Ok(Credentials {
            username,
            userhash: fields
                .take(Field::Userhash)
                .is_some_and(|v| v.eq_ignore_ascii_case("true")),
            realm: fields.take(Field::Realm).ok_or_else(|| missing("a realm"))?,
            nonce: fields.take(Field::Nonce).ok_or_else(|| missing("a nonce"))?,
            uri: fields.take(Field::Uri).ok_or_else(|| missing("a uri"))?,
            response: fields
                .take(Field::Response)
                .ok_or_else(|| missing("a response"))?,
            algorithm: fields.algorithm(),
            opaque: fields.take(Field::Opaque),
            auth,
        })
    }

    /// Whether `keys` give this response for a request of `method`; says nothing about the nonce.
    fn proves(&self, method: &str, algorithm: Algorithm, keys: &DigestKeys) -> bool {
        let Some(given) = Hash::from_hex(&self.response, algorithm) else {
            return false;
        };
        let request = Request {
            algorithm,
            method,
            uri: &self.uri,
            nonce: &self.nonce,
            auth: self.auth.as_ref().map(|(cnonce, nc)| (&**cnonce, &**nc)),
        };
        keys.response(&request).same_as(&given)
    }
}

impl fmt::Display for Credentials<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = [
            ("realm", &self.realm),
            ("nonce", &self.nonce),
            ("uri", &self.uri),
            ("response", &self.response),
        ];
        write!(f, "Digest username={}", Quoted(&self.username))?;
        for (name, value) in quoted {
            write!(f, ", {name}={}", Quoted(value))?;
        }
        if let Some(algorithm) = self.algorithm {
            write!(f, ", algorithm={}", algorithm.name())?;
        }
        if let Some((cnonce, nc)) = &self.auth {
            write!(f, ", qop=auth, nc={nc}, cnonce={}", Quoted(cnonce))?;
        }
        if let Some(opaque) = &self.opaque {
            write!(f, ", opaque={}", Quoted(opaque))?;
        }
        if self.userhash {
            f.write_str(", userhash=true")?;
        }
        Ok(())
    }
}

fn count(nc: &str) -> Option<u32> {
    (nc.len() == 8 && nc.bytes().all(|b| b.is_ascii_hexdigit()))
        .then(|| u32::from_str_radix(nc, 16).ok())
        .flatten()
}

/// `UTF-8''J%C3%A4s%C3%B8n` (RFC 8187 §3.2).
fn ext_value(coded: &str) -> Option<String> {
    let mut parts = coded.splitn(3, '\'');
    if !parts.next()?.eq_ignore_ascii_case("UTF-8") {
        return None;
    }
    let mut bytes = parts.nth(1)?.bytes();
    let mut out = Vec::new();
    while let Some(b) = bytes.next() {
        out.push(if b == b'%' {
            nibble(bytes.next()?)? << 4 | nibble(bytes.next()?)?
        } else {
            b
        });
    }
    String::from_utf8(out).ok()
}

#[derive(Clone, Copy)]
enum Field {
    Username,
    UsernameExt,
    Realm,
    Nonce,
    Uri,
    Response,
    Algorithm,
    Cnonce,
    Opaque,
    Qop,
    Nc,
    Stale,
    Userhash,
}

const FIELDS: [(&str, Field); 13] = [
    ("username", Field::Username),
    ("username*", Field::UsernameExt),
    ("realm", Field::Realm),
    ("nonce", Field::Nonce),
    ("uri", Field::Uri),
    ("response", Field::Response),
    ("algorithm", Field::Algorithm),
    ("cnonce", Field::Cnonce),
    ("opaque", Field::Opaque),
    ("qop", Field::Qop),
    ("nc", Field::Nc),
    ("stale", Field::Stale),
    ("userhash", Field::Userhash),
];

/// The known parameters of one list.
#[derive(Default)]
struct Fields<'a>([Option<Cow<'a, str>>; FIELDS.len()]);

impl<'a> Fields<'a> {
    fn put(&mut self, at: &Params<'_>, name: &str, value: Cow<'a, str>) -> Result<(), ParseError> {
        let Some((_, field)) = FIELDS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) else {
            return Ok(());
        };
        match self.0[*field as usize].replace(value) {
            None => Ok(()),
            Some(_) => Err(at.expected("each parameter once")),
        }
    }

    fn take(&mut self, field: Field) -> Option<Cow<'a, str>> {
        self.0[field as usize].take()
    }

    //= https://www.rfc-editor.org/rfc/rfc7616#section-3.3
    fn algorithm(&mut self) -> Option<Algorithm> {
        self.take(Field::Algorithm)
            .map_or(Some(Algorithm::Md5), |name| Algorithm::from_name(&name))
    }
}
