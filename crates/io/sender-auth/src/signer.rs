//! Signing what leaves for other servers, with the keys of its author's domain.

use crate::dkim::Algorithm;
use crate::dkim::sign::{SigningKey, ToSign};
use crate::head::{author_domains, fields};
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use ringpost_base::{UnixTime, limits};
use ringpost_directory::{Directory, DirectoryError, KeyKind, KeyState, NewKey, SigningKey as DomainKey};
use ringpost_mail::{Signer, Signing};
use std::fmt;
use std::sync::Arc;
use tokio::sync::Mutex;

/// Signs with the keys that the directory keeps. A message whose author's domain is none of ours is sent as it is; one whose
/// domain has no keys yet waits for them.
#[derive(Clone)]
pub struct DomainSigner {
    directory: Directory,
    /// Held while keys are made, so that a domain is not given two kinds of first ones.
    making: Arc<Mutex<()>>,
}

impl DomainSigner {
    /// With the keys of a directory's domains. Copies of it make keys one after the other.
    pub fn new(directory: Directory) -> Self {
        DomainSigner {
            directory,
            making: Arc::default(),
        }
    }

    /// All keys of a domain, which is given some first if it has none.
    pub async fn ensure_keys(&self, domain: &str, now: UnixTime) -> Result<Vec<DomainKey>, DirectoryError> {
        let keys = self.directory.signing_keys(domain).await?;
        if !keys.is_empty() {
            return Ok(keys);
        }
        let making = self.making.lock().await;
        if self.directory.signing_keys(domain).await?.is_empty() {
            self.make(domain, now).await?;
        }
        drop(making);
        self.directory.signing_keys(domain).await
    }

    /// Makes keys for a domain: [its first or its next ones](Directory::add_signing_keys).
    pub async fn make_keys(&self, domain: &str, now: UnixTime) -> Result<(), DirectoryError> {
        let _making = self.making.lock().await;
        self.make(domain, now).await
    }

    async fn make(&self, domain: &str, now: UnixTime) -> Result<(), DirectoryError> {
        let made = tokio::task::spawn_blocking(generate_keys).await.ok().flatten();
        let none = || DirectoryError::Cannot("no keys can be made: the system gives no randomness".into());
        self.directory
            .add_signing_keys(domain, made.ok_or_else(none)?, now)
            .await
    }
}

impl fmt::Debug for DomainSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DomainSigner")
    }
}

impl Signer for DomainSigner {
    fn begin(&self, now: UnixTime) -> Box<dyn Signing> {
        Box::new(Message {
            signer: self.clone(),
            now,
            header: Some(Vec::new()),
            rest: None,
        })
    }
}

struct Message {
    signer: DomainSigner,
    now: UnixTime,
    /// As long as its end has not come.
    header: Option<Vec<u8>>,
    rest: Option<ToSign>,
}

impl Signing for Message {
    fn write(&mut self, chunk: &[u8]) {
        if let Some(rest) = &mut self.rest {
            return rest.body(chunk);
        }
        let Some(header) = &mut self.header else { return };
        let from = header.len().saturating_sub(3);
        header.extend_from_slice(chunk);
        match crate::head::end(header, from) {
            Some((end, body)) => {
                let first = header.split_off(body);
                header.truncate(end);
                let mut rest = ToSign::new(std::mem::take(header));
                rest.body(&first);
                self.rest = Some(rest);
                self.header = None;
            }
            // A header that nobody would read to its end is signed by nobody.
            None if header.len() > limits::MESSAGE_HEADER_BYTES => self.header = None,
            None => {}
        }
    }

    fn finish(self: Box<Self>) -> BoxFuture<'static, String> {
        async move {
            let Message {
                signer,
                now,
                header,
                rest,
            } = *self;
            let Some(message) = rest.or(header.map(ToSign::new)) else {
                return String::new();
            };
            let Some(domain) = author(message.header()) else {
                return String::new();
            };
            if !signer.directory.is_local(&domain) {
                return String::new();
            }
            match signer.ensure_keys(&domain, now).await {
                Ok(keys) => {
                    let current = keys.into_iter().filter(|key| key.state == KeyState::Current);
                    let keys: Vec<SigningKey> = current
                        .filter_map(|key| SigningKey::new(key.selector, kind(key.kind), &key.private))
                        .collect();
                    message.sign(&domain, &keys, now)
                }
                Err(error) => {
                    tracing::warn!(%domain, %error, "a message goes out unsigned");
                    String::new()
                }
            }
        }
        .boxed()
    }
}

fn kind(kind: KeyKind) -> Algorithm {
    match kind {
        KeyKind::Rsa => Algorithm::Rsa,
        KeyKind::Ed25519 => Algorithm::Ed25519,
    }
}

/// The domain of the one From.
fn author(header: &[u8]) -> Option<String> {
    let all = fields(header);
    let mut from = all.iter().filter(|field| field.is("From"));
    let (Some(from), None) = (from.next(), from.next()) else {
        return None;
    };
    match &author_domains(&from.text())?[..] {
        [one] => Some(one.clone()),
        _ => None,
    }
}

/// Makes an RSA key of 2,048 bits and an Ed25519 key. It takes a good part of a second, and several where all processors are
/// busy; `None` when the system gives no randomness.
fn generate_keys() -> Option<Vec<NewKey>> {
    let rsa = RsaKeyPair::generate(KeySize::Rsa2048).ok()?;
    let private: aws_lc_rs::encoding::Pkcs8V1Der<'static> = rsa.as_der().ok()?;
    let public: aws_lc_rs::encoding::PublicKeyX509Der<'static> = rsa.public_key().as_der().ok()?;
    let ed25519 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).ok()?;
    let pair = Ed25519KeyPair::from_pkcs8(ed25519.as_ref()).ok()?;
    Some(vec![
        NewKey {
            kind: KeyKind::Rsa,
            private: private.as_ref().to_vec(),
            public: STANDARD.encode(public.as_ref()),
        },
        //= https://www.rfc-editor.org/rfc/rfc8463#section-4
        NewKey {
            kind: KeyKind::Ed25519,
            private: ed25519.as_ref().to_vec(),
            public: STANDARD.encode(pair.public_key().as_ref()),
        },
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dkim::verify::{DkimResult, Signatures};
    use crate::names::Asker;
    use crate::testing::Table;
    use ringpost_base::Rng;
    use ringpost_directory::{Cost, InlineKdf, Parts};
    use ringpost_store::{LocalBus, MemoryStore};
    use std::sync::Arc;

    const NOW: UnixTime = UnixTime::from_secs(1_700_000_000);

    async fn directory() -> Directory {
        let parts = Parts {
            store: Arc::new(MemoryStore::new()),
            bus: Arc::new(LocalBus::new()),
            kdf: Arc::new(InlineKdf(Cost::CHEAP)),
            seal_key: [7; 32],
            rng: Rng::from_number(1),
        };
        Directory::open(parts, "example.org", NOW).await.unwrap()
    }

    async fn signed(directory: &Directory, message: &str) -> String {
        let mut signing = DomainSigner::new(directory.clone()).begin(NOW);
        message
            .as_bytes()
            .chunks(13)
            .for_each(|chunk| signing.write(chunk));
        let fields = signing.finish().await;
        assert!(fields.lines().all(|line| line.len() < 79), "{fields}");
        format!("{fields}{message}")
    }

    async fn verified(directory: &Directory, message: &str) -> Vec<DkimResult> {
        let mut table = Table::default();
        for key in directory.signing_keys("example.org").await.unwrap() {
            table.txt(&format!("{}._domainkey.example.org", key.selector), &key.record());
        }
        let (header, body) = message.split_once("\r\n\r\n").unwrap();
        let mut signatures = Signatures::new(format!("{header}\r\n").into_bytes());
        signatures.body(body.as_bytes());
        let checked = signatures.finish(&Asker::new(Arc::new(table)), NOW).await;
        checked.into_iter().map(|one| one.result).collect()
    }

    const MESSAGE: &str = "Received: x\r\nFrom: Alice <alice@example.org>\r\nTo: b@b.test\r\nSubject: one\r\n two\r\n\
                           MIME-Version: 1.0\r\n\r\nHello  there \r\n\r\n";

    #[tokio::test]
    async fn what_a_domain_signs_is_verified_and_nothing_can_be_added() {
        let directory = directory().await;
        let message = signed(&directory, MESSAGE).await;
        assert_eq!(verified(&directory, &message).await, [DkimResult::Pass; 2]);
        for (from, to) in [
            ("Subject: one", "Subject: other"),
            ("Subject: one", "Cc: c@c.test\r\nSubject: one"),
            ("From: Alice", "From: Eve <eve@x.test>\r\nFrom: Alice"),
            ("MIME-Version", "Content-Type: text/html\r\nMIME-Version"),
            ("Hello", "Hullo"),
        ] {
            let changed = message.replace(&format!("\n{from}"), &format!("\n{to}"));
            assert_ne!(changed, message);
            assert_eq!(
                verified(&directory, &changed).await,
                [DkimResult::Fail; 2],
                "{to}"
            );
        }
        let with_trace = format!("Received: y\r\n{}", message.replace("there ", "there\t"));
        assert_eq!(verified(&directory, &with_trace).await, [DkimResult::Pass; 2]);
        let other = MESSAGE.replace("example.org", "other.test");
        assert_eq!(signed(&directory, &other).await, other);
        let two = MESSAGE.replace("To:", "From: x@y.test\r\nTo:");
        assert_eq!(signed(&directory, &two).await, two);
    }

    #[tokio::test]
    async fn what_is_signed_before_there_are_keys_waits_for_one_set_of_them() {
        let directory = directory().await;
        let signer = DomainSigner::new(directory.clone());
        let all = (0..3).map(|_| {
            let mut signing = signer.begin(NOW);
            signing.write(MESSAGE.as_bytes());
            signing.finish()
        });
        let all = futures_util::future::join_all(all).await;
        assert_eq!(all[0].matches("DKIM-Signature:").count(), 2, "{}", all[0]);
        assert!(all.iter().all(|one| *one == all[0]));
        let keys = signer.ensure_keys("example.org", NOW).await.unwrap();
        assert_eq!(keys.len(), 2);
    }

    #[tokio::test]
    async fn new_keys_sign_once_they_are_put_to_use() {
        let directory = directory().await;
        let keys = || generate_keys().unwrap();
        let selectors = async |state: KeyState| -> Vec<String> {
            let all = directory.signing_keys("example.org").await.unwrap();
            all.into_iter()
                .filter(|k| k.state == state)
                .map(|k| k.selector)
                .collect()
        };
        directory
            .add_signing_keys("example.org", keys(), NOW)
            .await
            .unwrap();
        let first = selectors(KeyState::Current).await;
        directory
            .add_signing_keys("example.org", keys(), NOW)
            .await
            .unwrap();
        let next = selectors(KeyState::Next).await;
        assert_eq!((first.len(), next.len()), (2, 2));
        assert!(first.iter().all(|selector| !next.contains(selector)));
        let message = signed(&directory, MESSAGE).await;
        assert!(
            first
                .iter()
                .all(|selector| message.contains(&format!("s={selector};")))
        );
        assert!(directory.use_next_keys("example.org", NOW).await.unwrap());
        assert!(!directory.use_next_keys("example.org", NOW).await.unwrap());
        assert_eq!(
            (
                selectors(KeyState::Current).await,
                selectors(KeyState::Retired).await
            ),
            (next, first)
        );
        // What the old ones signed is still on its way.
        assert_eq!(verified(&directory, &message).await, [DkimResult::Pass; 2]);
    }
}
