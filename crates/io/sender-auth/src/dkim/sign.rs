//! Signatures of our own.

use super::canon::{BodyHash, Canon};
use super::{Algorithm, sha256};
use crate::head::{Field, fields};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::{Ed25519KeyPair, RSA_PKCS1_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ringpost_base::UnixTime;

/// What is signed where it is there, and named once more than it is there, so that nobody adds one.
//= https://www.rfc-editor.org/rfc/rfc6376#section-8.15
const OVERSIGNED: [&str; 9] = [
    "From",
    "Subject",
    "Date",
    "To",
    "Cc",
    "Message-ID",
    "Reply-To",
    "MIME-Version",
    "Content-Type",
];
/// What is signed where it is there.
//= https://www.rfc-editor.org/rfc/rfc6376#section-5.4.1
const SIGNED: [&str; 6] = [
    "Sender",
    "In-Reply-To",
    "References",
    "Content-Transfer-Encoding",
    "List-Id",
    "List-Unsubscribe",
];

/// A key that signs.
pub(crate) struct SigningKey {
    pub(crate) selector: String,
    pair: Pair,
}

enum Pair {
    Rsa(RsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl SigningKey {
    /// From a private key as PKCS #8 has it; `None` when it is none.
    pub(crate) fn new(selector: String, algorithm: Algorithm, pkcs8: &[u8]) -> Option<SigningKey> {
        let pair = match algorithm {
            Algorithm::Rsa => Pair::Rsa(RsaKeyPair::from_pkcs8(pkcs8).ok()?),
            Algorithm::Ed25519 => Pair::Ed25519(Ed25519KeyPair::from_pkcs8(pkcs8).ok()?),
        };
        Some(SigningKey { selector, pair })
    }

    fn algorithm(&self) -> Algorithm {
        match self.pair {
            Pair::Rsa(_) => Algorithm::Rsa,
            Pair::Ed25519(_) => Algorithm::Ed25519,
        }
    }

    fn sign(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), bytes, &mut signature)
                    .ok()?;
                Some(signature)
            }
            //= https://www.rfc-editor.org/rfc/rfc8463#section-3
            Pair::Ed25519(pair) => Some(pair.sign(&sha256(bytes)).as_ref().to_vec()),
        }
    }
}

/// A message that is to be signed: its header, without the empty line, and what its body came to.
pub(crate) struct ToSign {
    header: Vec<u8>,
    body: BodyHash,
}

impl ToSign {
    pub(crate) fn new(header: Vec<u8>) -> Self {
        ToSign {
            header,
            body: BodyHash::new(Canon::Relaxed, None),
        }
    }

    pub(crate) fn header(&self) -> &[u8] {
        &self.header
    }

    pub(crate) fn body(&mut self, bytes: &[u8]) {
        self.body.update(bytes);
    }

    /// A DKIM-Signature field for each key, each with its CRLF.
    pub(crate) fn sign(self, domain: &str, keys: &[SigningKey], now: UnixTime) -> String {
        let Some((hash, _)) = self.body.finish() else {
            return String::new();
        };
        let all = fields(&self.header);
        let signed = keys.iter().filter_map(|key| field(key, domain, &all, &hash, now));
        signed.collect()
    }
}

fn field(
    key: &SigningKey,
    domain: &str,
    header: &[Field<'_>],
    body_hash: &[u8],
    now: UnixTime,
) -> Option<String> {
    let mut names: Vec<&str> = Vec::new();
    let mut bytes = Vec::new();
    for name in OVERSIGNED.iter().chain(&SIGNED) {
        //= https://www.rfc-editor.org/rfc/rfc6376#section-5.4.2
        for found in header.iter().rev().filter(|field| field.is(name)) {
            Canon::Relaxed.field(found, &mut bytes);
            names.push(name);
        }
        if OVERSIGNED.contains(name) {
            names.push(name);
        }
    }
    let unsigned = format!(
        "DKIM-Signature: v=1; a={}; c=relaxed/relaxed; d={domain};\r\n\ts={}; t={};\r\n\th={};\r\n\tbh={};\r\n\tb=",
        key.algorithm().name(),
        key.selector,
        now.as_secs(),
        folded(&names),
        STANDARD.encode(body_hash),
    );
    let own = format!("{unsigned}\r\n");
    if let [own] = &fields(own.as_bytes())[..] {
        Canon::Relaxed.field(own, &mut bytes);
    }
    //= https://www.rfc-editor.org/rfc/rfc6376#section-3.7
    bytes.truncate(bytes.len().saturating_sub(2));
    let signature = STANDARD.encode(key.sign(&bytes)?);
    let lines: Vec<&str> = signature
        .as_bytes()
        .chunks(72)
        .filter_map(|line| std::str::from_utf8(line).ok())
        .collect();
    Some(format!("{unsigned}{}\r\n", lines.join("\r\n\t")))
}

/// Names with colons between, in lines that are not too long.
fn folded(names: &[&str]) -> String {
    let mut out = String::new();
    let mut line = 0;
    for (n, name) in names.iter().enumerate() {
        if n > 0 {
            out.push(':');
        }
        if line + name.len() > 64 {
            out.push_str("\r\n\t ");
            line = 0;
        }
        out.push_str(name);
        line += name.len() + 1;
    }
    out
}
