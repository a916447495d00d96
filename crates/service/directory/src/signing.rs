//! The keys with which a domain signs its mail (DKIM, RFC 6376).
//!
//! What they are is the world's to know: here a private key is bytes that are sealed with the data folder's key, and a
//! public one is text for the DNS.

use crate::{Directory, DirectoryError, domain_key};
use ringpost_base::UnixTime;
use ringpost_store::records::SigningKey as Record;
use ringpost_store::{Batch, Partition, Record as _, keys};
use std::fmt;
use std::time::Duration;

/// What a key signs with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyKind {
    /// RSA with SHA-256.
    Rsa,
    /// Ed25519 with SHA-256 (RFC 8463).
    Ed25519,
}

/// Whether a key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyState {
    /// It does.
    Current,
    /// It will, once it is published.
    Next,
    /// It did. It stays in the DNS until what it signed has arrived.
    Retired,
}

/// A key that was just made.
#[derive(Clone, PartialEq, Eq)]
pub struct NewKey {
    /// What it signs with.
    pub kind: KeyKind,
    /// The private key, as PKCS #8 has it.
    pub private: Vec<u8>,
    /// The public key, as DKIM's `p=` has it.
    pub public: String,
}

impl fmt::Debug for NewKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NewKey({:?})", self.kind)
    }
}

/// A domain's key.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKey {
    /// What it is found by in the DNS.
    pub selector: String,
    /// What it signs with.
    pub kind: KeyKind,
    /// The private key, as PKCS #8 has it.
    pub private: Vec<u8>,
    /// The public key, as DKIM's `p=` has it.
    pub public: String,
    /// Whether it signs.
    pub state: KeyState,
}

impl SigningKey {
    /// The text of its TXT record, at `selector._domainkey.domain`.
    //= https://www.rfc-editor.org/rfc/rfc6376#section-3.6.1
    pub fn record(&self) -> String {
        let kind = match self.kind {
            KeyKind::Rsa => "rsa",
            KeyKind::Ed25519 => "ed25519",
        };
        format!("v=DKIM1; k={kind}; p={}", self.public)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "SigningKey({}, {:?}, {:?})",
            self.selector, self.kind, self.state
        )
    }
}

/// After so long a retired key is forgotten: mail is given up earlier.
const RETIRED_FOR: Duration = Duration::from_secs(30 * 86_400);

impl Directory {
    /// A domain's keys, those that sign first.
    pub async fn signing_keys(&self, domain: &str) -> Result<Vec<SigningKey>, DirectoryError> {
        let domain = domain_key(domain).into_owned();
        let home = self.home_of(&domain)?;
        let mut found = Vec::new();
        for entry in self.store().scan(&home, keys::signing_keys()).await? {
            let record = Record::from_bytes(&entry.key, entry.value)?;
            let sealed = || DirectoryError::Sealed(format!("{}._domainkey.{domain}", record.selector));
            let private = self
                .0
                .sealer
                .open_bytes(&bound_to(&domain, &record.selector), &record.sealed);
            found.push(SigningKey {
                private: private.ok_or_else(sealed)?,
                kind: if record.kind == 1 {
                    KeyKind::Ed25519
                } else {
                    KeyKind::Rsa
                },
                state: match record.state {
                    0 => KeyState::Current,
                    1 => KeyState::Next,
                    _ => KeyState::Retired,
                },
                public: record.public,
                selector: record.selector,
            });
        }
        found.sort_by(|a, b| (a.state, a.kind, &a.selector).cmp(&(b.state, b.kind, &b.selector)));
        Ok(found)
    }

    /// Gives a domain keys. They sign at once where it has none; otherwise they are the next ones, in place of next ones that
    /// were there. What retired long ago is forgotten.
    pub async fn add_signing_keys(
        &self,
        domain: &str,
        new: Vec<NewKey>,
        now: UnixTime,
    ) -> Result<(), DirectoryError> {
        let domain = domain_key(domain).into_owned();
        let home = self.home_of(&domain)?;
        let mut batch = Batch::new(home.clone());
        let mut has_current = false;
        for (key, record, version) in self.key_records(&home).await? {
            has_current |= record.state == 0;
            let is_old = record.state == 2 && record.changed + RETIRED_FOR <= now;
            batch.unchanged(key.clone(), version);
            if is_old || record.state == 1 {
                batch.delete(key);
            }
        }
        let (year, month, day, ..) = now.civil();
        for NewKey {
            kind,
            private,
            public,
        } in new
        {
            let letter = if kind == KeyKind::Rsa { 'r' } else { 'e' };
            let token = self.draw(|rng| rng.token(4)).to_ascii_lowercase();
            let selector = format!("{letter}{year}{month:02}{day:02}{token}");
            let sealed = self.draw(|rng| {
                let bound = bound_to(&domain, &selector);
                self.0.sealer.seal_bytes(&bound, &private, rng)
            });
            let record = Record {
                selector: selector.clone(),
                kind: u16::from(kind == KeyKind::Ed25519),
                sealed: sealed.into(),
                public,
                state: u16::from(has_current),
                changed: now,
            };
            let key = keys::signing_key(&selector);
            batch.absent(key.clone()).put(key, record.to_bytes());
        }
        self.store().commit_durable(batch).await?;
        Ok(())
    }

    /// Signs with the next keys from now on; the former ones retire. False when there are no next ones.
    pub async fn use_next_keys(&self, domain: &str, now: UnixTime) -> Result<bool, DirectoryError> {
        let home = self.home_of(&domain_key(domain))?;
        let all = self.key_records(&home).await?;
        if !all.iter().any(|(_, record, _)| record.state == 1) {
            return Ok(false);
        }
        let mut batch = Batch::new(home);
        for (key, mut record, version) in all.into_iter().filter(|(_, record, _)| record.state < 2) {
            record.state = if record.state == 1 { 0 } else { 2 };
            record.changed = now;
            batch.unchanged(key.clone(), version).put(key, record.to_bytes());
        }
        self.store().commit_durable(batch).await?;
        Ok(true)
    }

    async fn key_records(
        &self,
        home: &Partition,
    ) -> Result<Vec<(ringpost_store::Key, Record, ringpost_store::Version)>, DirectoryError> {
        let entries = self.store().scan(home, keys::signing_keys()).await?;
        let read = entries.into_iter().map(|entry| {
            let record = Record::from_bytes(&entry.key, entry.value)?;
            Ok((entry.key, record, entry.version))
        });
        read.collect()
    }
}

fn bound_to(domain: &str, selector: &str) -> Vec<u8> {
    format!("dkim {selector}._domainkey.{domain}").into_bytes()
}
