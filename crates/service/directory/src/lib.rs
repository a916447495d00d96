//! Who is who: domains, accounts, devices, and the secrets by which they are known.
//!
//! One account has one address (`alice@example.org`), one extension (`101`), one mailbox and one page of streams.
//!
//! - Its **password** (mail, console) is kept as argon2id and as SCRAM-SHA-256 keys. Checking one takes a core some 20 ms, so
//!   it happens in the slots of a [`Kdf`], and a password that was found right is remembered as a keyed hash until it changes.
//! - Its **devices** (phones, cameras, players) have generated secrets of their own, shown once. What is kept are digest
//!   keys, sealed with the data folder's key. A digest check reads them from a cache that every change of the account
//!   empties: see [`Directory::device_cached`].
//!
//! **What to type into a phone**: the address of record is the account's, `sip:alice@example.org`; the authentication user
//! is the device's own, the account's local part and the device's name: `alice-desk`. A phone that has a single field for
//! both takes `alice-desk`, since [`Directory::account`] finds alice by it too, as it does by her extension and aliases.
//!
//! ```
//! use futures_util::FutureExt;
//! use ringpost_base::{Rng, UnixTime, ascii_domain, folded};
//! use ringpost_directory::{Cost, Directory, InlineKdf, NewAccount, Parts};
//! use ringpost_store::{LocalBus, MemoryStore};
//! use std::sync::Arc;
//!
//! # async {
//! let parts = Parts {
//!     store: Arc::new(MemoryStore::new()),
//!     bus: Arc::new(LocalBus::new()),
//!     kdf: Arc::new(InlineKdf(Cost::CHEAP)),
//!     seal_key: [7; 32],
//!     rng: Rng::from_number(1),
//! };
//! let now = UnixTime::from_secs(1_700_000_000);
//! let directory = Directory::open(parts, "example.org", now).await?;
//! let alice = directory.add_account(NewAccount::new("alice@example.org"), now).await?;
//! let phone = directory.add_device("alice@example.org", "desk", now).await?;
//! assert_eq!(phone.user, "alice-desk");
//! let found = directory.login("alice@example.org", &alice.password).await?;
//! assert_eq!(found.map(|account| account.id), Some(alice.account.id));
//! # Ok::<(), ringpost_directory::DirectoryError>(()) }.now_or_never().unwrap().unwrap();
//! ```
//!
//! It speaks no protocol and challenges nobody; it does not slow down who guesses: the sessions do, in the peer's
//! [turn](Directory::turn).

mod accounts;
mod aliases;
mod cache;
mod devices;
mod domains;
mod error;
#[doc(hidden)]
pub mod fuzz;
mod kdf;
mod logins;
mod lookup;
mod names;
mod passwords;
mod reach;
mod return_path;
mod seal;
mod settings;
mod signing;
#[cfg(test)]
mod tests;
mod turns;

pub use accounts::{AddedAccount, NewAccount};
pub use aliases::{AliasInfo, Forward};
pub use cache::Cached;
pub use devices::{DeviceInfo, NewDevice};
pub use error::DirectoryError;
pub use kdf::{Busy, Cost, InlineKdf, Job, Kdf};
pub use lookup::{AccountInfo, DeviceKeys};
pub use names::{Address, NameError, is_domain};
pub use reach::{Away, Here, Reach};
pub use settings::AccountSettings;
pub use signing::{KeyKind, KeyState, NewKey, SigningKey};
pub use turns::Turn;

use cache::Cache;
use logins::Logins;
use return_path::ReturnPaths;
use ringpost_base::{Rng, UnixTime, ascii_domain, folded};
use ringpost_store::records::Domain;
use ringpost_store::{
    AccountId, Batch, BindingsJournal, Bus, Heard, Hint, Partition, Record, Store, Topic, keys,
};
use seal::Sealer;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use turns::Turns;

/// What a directory is made of.
pub struct Parts {
    /// Where everything is kept.
    pub store: Arc<dyn Store>,
    /// Who hears of changes.
    pub bus: Arc<dyn Bus>,
    /// Where passwords are stretched.
    pub kdf: Arc<dyn Kdf>,
    /// The data folder's key. Without it no device can authenticate any more.
    pub seal_key: [u8; 32],
    /// For account numbers, secrets, salts and nonces: seeded from the operating system in the server.
    pub rng: Rng,
}

/// The directory of one server. Clones are the same directory.
#[derive(Clone)]
pub struct Directory(Arc<Inner>);

struct Inner {
    store: Arc<dyn Store>,
    bus: Arc<dyn Bus>,
    kdf: Arc<dyn Kdf>,
    journal: BindingsJournal,
    sealer: Sealer,
    rng: Mutex<Rng>,
    domains: RwLock<BTreeSet<String>>,
    default_domain: String,
    accounts: Cache<AccountInfo>,
    devices: Cache<DeviceKeys>,
    /// What aliases lead to.
    lists: Cache<Vec<String>>,
    return_paths: ReturnPaths,
    logins: Logins,
    turns: Turns,
    /// What an unknown user's password is held against, so that it takes as long as a known one's.
    decoy_phc: String,
}

impl Directory {
    /// Opens the directory in a store, and adds `default_domain` if it is not there: the domain of those who log in
    /// without one.
    pub async fn open(parts: Parts, default_domain: &str, now: UnixTime) -> Result<Self, DirectoryError> {
        let Parts {
            store,
            bus,
            kdf,
            seal_key,
            mut rng,
        } = parts;
        let default_domain = names::domain(default_domain)?;
        let mut login_key = [0; 32];
        rng.fill(&mut login_key);
        let decoy = passwords::derive(&*kdf, &rng.token(20), &mut rng, now).await?;
        let directory = Directory(Arc::new(Inner {
            journal: BindingsJournal::new(store.clone()),
            sealer: Sealer::new(&seal_key),
            rng: Mutex::new(rng),
            domains: RwLock::default(),
            default_domain: default_domain.clone(),
            accounts: Cache::new(),
            devices: Cache::new(),
            lists: Cache::new(),
            return_paths: ReturnPaths::new(&seal_key),
            logins: Logins::new(login_key),
            turns: Turns::default(),
            decoy_phc: decoy.argon2,
            store,
            bus,
            kdf,
        }));
        directory.load_domains().await?;
        if !directory.is_local(&default_domain) {
            directory.add_domain(&default_domain, now).await?;
        }
        Ok(directory)
    }

    /// The domain of those who log in without one.
    pub fn default_domain(&self) -> &str {
        &self.0.default_domain
    }

    /// Whether this server serves the domain, given in any case. Asks nobody.
    pub fn is_local(&self, domain: &str) -> bool {
        let domains = self.0.domains.read().unwrap_or_else(PoisonError::into_inner);
        domains.contains(&*domain_key(domain))
    }

    /// The domains served here, in their order of spelling. Asks nobody.
    pub fn domains(&self) -> Vec<String> {
        let domains = self.0.domains.read().unwrap_or_else(PoisonError::into_inner);
        domains.iter().cloned().collect()
    }

    /// Serves a domain from now on.
    pub async fn add_domain(&self, name: &str, now: UnixTime) -> Result<(), DirectoryError> {
        let name = names::domain(name)?;
        let mut batch = Batch::new(keys::DOMAINS);
        let record = Domain {
            name: name.clone(),
            created: now,
        };
        batch
            .absent(keys::domain(&name))
            .put(keys::domain(&name), record.to_bytes());
        self.store()
            .commit_durable(batch)
            .await
            .map_err(|e| taken(e, &name))?;
        self.0.accounts.forget_all();
        self.0.devices.forget_all();
        self.0.lists.forget_all();
        self.0
            .domains
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name);
        Ok(())
    }

    /// What the bus said: forgets what was cached before the change.
    pub async fn handle_heard(&self, heard: Heard) -> Result<(), DirectoryError> {
        match heard {
            Heard::Hint(Hint {
                account,
                topic: Topic::Directory,
                change,
            }) => self.forget(account, change),
            Heard::Hint(Hint {
                account,
                topic: Topic::Logins,
                change,
            }) => self.0.logins.end_sessions(account, numbered(change)),
            Heard::Lagged => {
                self.0.accounts.forget_all();
                self.0.devices.forget_all();
                self.0.lists.forget_all();
                self.0.logins.end_all();
                self.load_domains().await?;
            }
            Heard::Hint(_) | Heard::Closed => {}
        }
        Ok(())
    }

    /// The local part of the sender, at one of our domains, that a message from `local@domain` has on its way to another
    /// server when it is forwarded there. `None` where it keeps the one it has, since that is ours already.
    pub fn forwarding_sender(&self, local: &str, domain: &str, now: UnixTime) -> Option<String> {
        (!self.is_local(domain)).then(|| self.0.return_paths.wrap(local, domain, now))
    }

    /// Where such a local part leads back to, local part and domain. `None` for one that does not have the form,
    /// `Some(None)` for one that we did not make or that is too old.
    pub fn forwarded_sender(&self, local: &str, now: UnixTime) -> Option<Option<(String, String)>> {
        return_path::is_wrapped(local).then(|| self.0.return_paths.unwrap(local, now))
    }

    async fn load_domains(&self) -> Result<(), DirectoryError> {
        let mut names = BTreeSet::new();
        for entry in self.store().scan(&keys::DOMAINS, keys::domains()).await? {
            names.insert(Domain::from_bytes(&entry.key, entry.value)?.name);
        }
        *self.0.domains.write().unwrap_or_else(PoisonError::into_inner) = names;
        Ok(())
    }

    /// After an account's change is durable: nobody here goes by what was before, and everybody else is told.
    fn announce(&self, account: AccountId, change: u64) {
        self.forget(account, change);
        self.0.bus.publish(Hint {
            account,
            topic: Topic::Directory,
            change,
        });
    }

    /// After a password's change is durable, or an account is gone: who is logged in to it is so no longer.
    fn end_sessions(&self, account: AccountId, change: u64) {
        self.0.logins.end_sessions(account, numbered(change));
        self.0.bus.publish(Hint {
            account,
            topic: Topic::Logins,
            change,
        });
    }

    fn forget(&self, account: AccountId, change: u64) {
        self.0.accounts.changed(account, change);
        self.0.devices.changed(account, change);
        // Rarely changed, and read again at once.
        self.0.lists.forget_all();
        self.0.logins.end(account);
    }

    fn store(&self) -> &dyn Store {
        &*self.0.store
    }

    fn draw<T>(&self, with: impl FnOnce(&mut Rng) -> T) -> T {
        with(&mut self.0.rng.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The domain's partition, if the domain is served here.
    fn home_of(&self, domain: &str) -> Result<Partition, DirectoryError> {
        match self.is_local(domain) {
            true => Ok(Partition::Domain((*domain_key(domain)).into())),
            false => Err(DirectoryError::NoSuchDomain(domain.into())),
        }
    }
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Directory({:?})", self.domains())
    }
}

/// A conflict is somebody having the name already.
fn taken(e: ringpost_store::CommitError, name: &str) -> DirectoryError {
    match e {
        ringpost_store::CommitError::Conflict(_) => DirectoryError::Taken(name.into()),
        e => e.into(),
    }
}

/// A change's number; what stands for one where none was counted, is none.
fn numbered(change: u64) -> Option<u64> {
    (change != u64::MAX).then_some(change)
}

/// A domain in its one spelling; one that cannot be a domain as it is, which finds nothing.
fn domain_key(name: &str) -> Cow<'_, str> {
    ascii_domain(name).unwrap_or(Cow::Borrowed(name))
}

/// An address in the spelling in which it is compared.
fn address_key(address: &str) -> String {
    match address.rsplit_once('@') {
        Some((local, domain)) => format!("{}@{}", folded(local), domain_key(domain)),
        None => folded(address).into_owned(),
    }
}
