//! Keys in the DNS (RFC 6376 §3.6.1, RFC 8463 §3).

use super::{Algorithm, sha256};
use crate::names::is_within;
use crate::tags::{Tags, base64, members};
use aws_lc_rs::signature::{ED25519, RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, UnparsedPublicKey};

/// A key record, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    algorithm: Algorithm,
    /// Empty when it was revoked.
    bytes: Vec<u8>,
    /// The domain is only trying DKIM out.
    pub(crate) is_test: bool,
    /// The identity must be of the domain itself.
    strict: bool,
}

impl Key {
    /// Reads a TXT record.
    //= https://www.rfc-editor.org/rfc/rfc6376#section-3.6.1
    pub(crate) fn parse(text: &str) -> Result<Key, &'static str> {
        let tags = Tags::parse(text).ok_or("the key record is no list of tags")?;
        if let Some(version) = tags.value("v")
            && (version != "DKIM1" || tags.first() != Some(("v", "DKIM1")))
        {
            return Err("the key record's version is not DKIM1");
        }
        let has = |list: &str, wanted: &str| members(list).any(|member| member == wanted);
        if tags.value("h").is_some_and(|hashes| !has(hashes, "sha256")) {
            return Err("the key is for other hashes");
        }
        if tags
            .value("s")
            .is_some_and(|uses| !has(uses, "*") && !has(uses, "email"))
        {
            return Err("the key is not for mail");
        }
        let algorithm = match tags.value("k").unwrap_or("rsa") {
            "rsa" => Algorithm::Rsa,
            "ed25519" => Algorithm::Ed25519,
            _ => return Err("the key's kind is not known"),
        };
        let flags = tags.value("t").unwrap_or_default();
        Ok(Key {
            algorithm,
            bytes: base64(tags.value("p").ok_or("the key record has no key")?)
                .ok_or("the key is no base64")?,
            is_test: has(flags, "y"),
            strict: has(flags, "s"),
        })
    }

    /// Whether the key may speak for this signature.
    pub(crate) fn suits(
        &self,
        algorithm: Algorithm,
        domain: &str,
        identity: &str,
    ) -> Result<(), &'static str> {
        if self.bytes.is_empty() {
            return Err("the key was revoked");
        }
        if self.algorithm != algorithm {
            return Err("the key is of another kind");
        }
        if self.strict && !(is_within(identity, domain) && identity.len() == domain.len()) {
            return Err("the key is not for subdomains");
        }
        Ok(())
    }

    /// Whether `signature` is this key's over `signed`. RSA keys have 1,024 to 8,192 bits.
    //= https://www.rfc-editor.org/rfc/rfc8301#section-3.2
    //= https://www.rfc-editor.org/rfc/rfc8463#section-3
    pub(crate) fn verifies(&self, signed: &[u8], signature: &[u8]) -> bool {
        match self.algorithm {
            Algorithm::Rsa => {
                UnparsedPublicKey::new(&RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, &self.bytes)
                    .verify(signed, signature)
            }
            Algorithm::Ed25519 => {
                UnparsedPublicKey::new(&ED25519, &self.bytes).verify(&sha256(signed), signature)
            }
        }
        .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_says_what_it_is_good_for() {
        let key = Key::parse("v=DKIM1; k=ed25519; t=y:s; p=AAAA").unwrap();
        assert!(key.is_test);
        assert!(key.suits(Algorithm::Ed25519, "a.test", "a.test").is_ok());
        assert!(key.suits(Algorithm::Ed25519, "a.test", "b.a.test").is_err());
        assert!(key.suits(Algorithm::Rsa, "a.test", "a.test").is_err());
        let revoked = Key::parse("p=").unwrap();
        assert_eq!(
            revoked.suits(Algorithm::Rsa, "a.test", "a.test"),
            Err("the key was revoked")
        );
        for bad in [
            "v=DKIM2; p=AAAA",
            "p=AAAA; v=DKIM1",
            "h=sha1; p=AAAA",
            "s=tlsrpt; p=AAAA",
            "k=dsa; p=AAAA",
            "k=rsa",
            "p=!!!",
            "what",
        ] {
            assert!(Key::parse(bad).is_err(), "{bad}");
        }
        assert!(Key::parse("h=sha1:sha256; s=*; n=what; p=AA AA").is_ok());
    }
}
