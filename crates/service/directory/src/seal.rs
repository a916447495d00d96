use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use ringpost_auth::digest::DigestKeys;
use ringpost_base::Rng;
use ringpost_store::AccountId;

const NONCE_BYTES: usize = 24;

/// Seals digest keys with the data folder's key, so that a copy of the database alone lets nobody in.
///
/// XChaCha20-Poly1305 with a random nonce before the ciphertext; the account and the user name are authenticated too, so
/// that what was sealed for one device opens for no other.
pub(crate) struct Sealer(XChaCha20Poly1305);

impl Sealer {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Sealer(XChaCha20Poly1305::new(key.into()))
    }

    pub(crate) fn seal(&self, account: AccountId, user: &str, keys: &DigestKeys, rng: &mut Rng) -> Vec<u8> {
        self.seal_bytes(&bound_to(account, user), &keys.to_bytes(), rng)
    }

    /// Seals some kilobytes for what `aad` names.
    pub(crate) fn seal_bytes(&self, aad: &[u8], bytes: &[u8], rng: &mut Rng) -> Vec<u8> {
        let mut nonce = [0; NONCE_BYTES];
        rng.fill(&mut nonce);
        let payload = Payload { msg: bytes, aad };
        let sealed = self
            .0
            .encrypt(XNonce::from_slice(&nonce), payload)
            .expect("some kilobytes are below the cipher's limit");
        [&nonce[..], &sealed].concat()
    }

    /// `None` when it was sealed with another key or for another device, or is damaged.
    pub(crate) fn open(&self, account: AccountId, user: &str, sealed: &[u8]) -> Option<DigestKeys> {
        let opened = self.open_bytes(&bound_to(account, user), sealed)?;
        Some(DigestKeys::from_bytes(opened.try_into().ok()?))
    }

    /// `None` when it was sealed with another key or for something else, or is damaged.
    pub(crate) fn open_bytes(&self, aad: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, msg) = sealed.split_at_checked(NONCE_BYTES)?;
        self.0
            .decrypt(XNonce::from_slice(nonce), Payload { msg, aad })
            .ok()
    }
}

fn bound_to(account: AccountId, user: &str) -> Vec<u8> {
    [&account.0.to_be_bytes()[..], user.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_for_one_device_opens_for_no_other() {
        let sealer = Sealer::new(&[7; 32]);
        let keys = DigestKeys::derive("alice-desk", "example.org", "secret");
        let sealed = sealer.seal(AccountId(1), "alice-desk", &keys, &mut Rng::from_number(1));
        assert!(sealer.open(AccountId(1), "alice-desk", &sealed) == Some(keys));
        assert!(sealer.open(AccountId(2), "alice-desk", &sealed).is_none());
        assert!(sealer.open(AccountId(1), "alice-soft", &sealed).is_none());
        assert!(
            Sealer::new(&[8; 32])
                .open(AccountId(1), "alice-desk", &sealed)
                .is_none()
        );
        assert!(sealer.open(AccountId(1), "alice-desk", &sealed[..10]).is_none());
    }
}
