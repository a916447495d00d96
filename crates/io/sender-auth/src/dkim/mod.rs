//! DKIM (RFC 6376, 8301, 8463): signatures over a message, checked and made.

pub(crate) mod canon;
pub(crate) mod key;
pub(crate) mod sign;
pub(crate) mod signature;
#[cfg(test)]
mod tests;
pub(crate) mod verify;

use aws_lc_rs::digest;

/// The kinds of signature that are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    /// `rsa-sha256`
    Rsa,
    /// `ed25519-sha256`
    Ed25519,
}

impl Algorithm {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Algorithm::Rsa => "rsa-sha256",
            Algorithm::Ed25519 => "ed25519-sha256",
        }
    }
}

/// SHA-256 of some bytes.
pub(crate) fn sha256(bytes: &[u8]) -> Vec<u8> {
    digest::digest(&digest::SHA256, bytes).as_ref().to_vec()
}
