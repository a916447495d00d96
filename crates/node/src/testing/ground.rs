//! What the services of a server stand on, in memory, with two people.

use super::{BEGIN, at_once};
use crate::stop::{Stop, Stopper};
use bytes::Bytes;
use ringpost_base::Rng;
use ringpost_directory::{Cost, Directory, InlineKdf, NewAccount, Parts};
use ringpost_imap::MailboxName;
use ringpost_mail::{Delivery, Mail};
use ringpost_store::{AccountId, Bodies, LocalBus, MemoryBlobs, MemoryStore, Store, check_store};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The store, the accounts alice and bob of example.org, and their mail.
pub(crate) struct Ground {
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) blobs: Arc<MemoryBlobs>,
    pub(crate) bus: Arc<LocalBus>,
    pub(crate) directory: Directory,
    pub(crate) mail: Arc<Mail>,
    pub(crate) stop: Stop,
    pub(crate) stopper: Option<Stopper>,
    /// Ids and passwords by name.
    pub(crate) accounts: BTreeMap<&'static str, (AccountId, String)>,
}

impl Ground {
    pub(crate) fn new() -> Self {
        Self::with_quota(None)
    }

    /// With a quota for alice.
    pub(crate) fn with_quota(quota_bytes: Option<u64>) -> Self {
        let (store, bus) = (Arc::new(MemoryStore::new()), Arc::new(LocalBus::new()));
        let parts = Parts {
            store: store.clone(),
            bus: bus.clone(),
            kdf: Arc::new(InlineKdf(Cost::CHEAP)),
            seal_key: [7; 32],
            rng: Rng::from_number(1),
        };
        let directory = at_once(Directory::open(parts, "example.org", BEGIN)).unwrap();
        let blobs = Arc::new(MemoryBlobs::new(|| BEGIN));
        let mail = mail_over(&store, &blobs, &bus, 2);
        let mut accounts = BTreeMap::new();
        for name in ["alice", "bob"] {
            let mut new = NewAccount::new(format!("{name}@example.org"));
            new.quota_bytes = quota_bytes.filter(|_| name == "alice");
            let added = at_once(directory.add_account(new, BEGIN)).unwrap();
            at_once(mail.create_defaults(added.account.id, BEGIN)).unwrap();
            accounts.insert(name, (added.account.id, added.password));
        }
        let (stopper, stop) = Stopper::new();
        Ground {
            store,
            blobs,
            bus,
            directory,
            mail,
            stop,
            stopper: Some(stopper),
            accounts,
        }
    }

    pub(crate) fn account(&self, name: &str) -> AccountId {
        self.accounts[name].0
    }

    pub(crate) fn password(&self, name: &str) -> &str {
        &self.accounts[name].1
    }

    pub(crate) fn stop(&mut self) {
        self.stopper.take().unwrap().stop();
    }

    /// Brings mail into alice's inbox.
    pub(crate) fn deliver(&self, text: impl Into<Bytes>) {
        let letter = at_once(self.mail.letter(text.into())).unwrap();
        at_once(
            self.mail
                .deliver(self.account("alice"), &letter, Delivery::new(BEGIN)),
        )
        .unwrap();
    }

    /// What is in an account's inbox.
    pub(crate) fn inbox(&self, name: &str) -> Vec<String> {
        let inbox = MailboxName::inbox();
        let (selected, snapshot) = at_once(self.mail.select(self.account(name), &inbox, true)).unwrap();
        let read = |uid| {
            let mut text = Vec::new();
            let body = at_once(self.mail.body(&selected, uid, 0..u64::MAX)).unwrap();
            let mut reader = body.unwrap();
            while let Some(chunk) = at_once(reader.next()).unwrap() {
                text.extend_from_slice(&chunk);
            }
            String::from_utf8(text).unwrap()
        };
        snapshot.messages.iter().map(|m| read(m.uid)).collect()
    }

    /// The mail of another process over the same store: it hears nothing of what this one does.
    pub(crate) fn mail_of_another_process(&self) -> Arc<Mail> {
        mail_over(&self.store, &self.blobs, &Arc::new(LocalBus::new()), 50)
    }

    #[track_caller]
    pub(crate) fn check(&self) {
        let report = at_once(check_store(&*self.store, &*self.blobs)).unwrap();
        assert!(report.is_sound(), "{:#?}", report.problems);
    }
}

fn mail_over(
    store: &Arc<MemoryStore>,
    blobs: &Arc<MemoryBlobs>,
    bus: &Arc<LocalBus>,
    seed: u64,
) -> Arc<Mail> {
    let store: Arc<dyn Store> = store.clone();
    let bodies = Bodies::new(store.clone(), blobs.clone(), Rng::from_number(seed));
    Arc::new(Mail::new(store, bodies, bus.clone(), Rng::from_number(seed + 1)))
}
