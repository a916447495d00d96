//! Mailboxes: what SMTP, IMAP, POP3, voicemail and text messages deliver into, and read from.
//!
//! [`Mail`] is the service. A message comes in through [`Mail::incoming`], is read once while its bytes pass, and is
//! delivered with everything that has to change with it in one commit: UID, MODSEQ, change log, counts, quota, and the
//! lamp's counts when it is a voicemail. [`Mail::select`] opens a mailbox for a session, which then learns what changes.
//! Whatever is answered here is durable, and whoever listens on the bus has been told.
//!
//! ```
//! use futures_util::FutureExt;
//! use ringpost_base::{Rng, UnixTime};
//! use ringpost_mail::{Delivery, Mail};
//! use ringpost_store::records::Account;
//! use ringpost_store::{AccountId, Batch, Bodies, LocalBus, MemoryBlobs, MemoryStore, Partition, Record, Store, keys};
//! use std::sync::Arc;
//!
//! # async {
//! let now = UnixTime::from_secs(1_700_000_000);
//! let store = Arc::new(MemoryStore::new());
//! let bodies = Bodies::new(store.clone(), Arc::new(MemoryBlobs::new(move || now)), Rng::from_number(1));
//! let mail = Mail::new(store.clone(), bodies, Arc::new(LocalBus::new()), Rng::from_number(2));
//!
//! let alice = AccountId(1);
//! let mut batch = Batch::new(Partition::Account(alice));
//! batch.put(keys::account(), Account::default().to_bytes());
//! store.commit(batch).await?;
//!
//! let mut incoming = mail.incoming();
//! incoming.write("Subject: hello\r\n\r\nworld\r\n".into()).await?;
//! let letter = incoming.finish().await?;
//! let delivered = mail.deliver(alice, &letter, Delivery::new(now)).await?;
//! assert_eq!(delivered.map(|d| d.uid), Some(1));
//! # Ok::<(), Box<dyn std::error::Error>>(()) }.now_or_never().unwrap().unwrap();
//! ```
//!
//! What is for other servers waits in the [queue](Mail::next_work), under leases; somebody else carries it there. It filters
//! nothing, and knows no protocol but IMAP's words for what a message is.

mod append;
mod binary;
mod deliver;
mod error;
mod flags;
mod flight;
mod greylist;
mod incoming;
mod inspect;
mod known;
mod mailboxes;
mod maildrop;
mod messages;
mod modseq;
mod open;
mod parse;
mod parts;
mod preview;
mod queue;
mod quota;
mod room;
mod search;
mod selected;
mod sign;
mod sort;
mod special_use;
mod spool;
#[cfg(test)]
mod tests;
mod transfer;
mod upgrade;
mod voicemail;
mod voicemail_size;

pub use append::{Append, Appended};
pub use deliver::{Delivered, Delivery};
pub use error::MailError;
pub use incoming::{Incoming, Letter};
pub use inspect::{Action, Aside, Findings, ForgedResults, Inspection, Peer, SenderAuth};
pub use maildrop::Maildrop;
pub use messages::{Changed, Copied};
pub use queue::{Elsewhere, Held, Hold, Keeper, Notice, Outgoing, QueueEntry, QueuedMessage, Schedule, Work};
pub use quota::Quota;
pub use room::WaitsForRoom;
pub use selected::Selected;
pub use sign::{Signer, Signing};
pub use spool::{Envelope, Recipient, Spooled};
pub use transfer::{Listed, envelope_of};
pub use upgrade::upgrade;
pub use voicemail::{Caller, Lamp, Recording, Voicemail, voicemail_message};

#[doc(hidden)]
pub mod fuzz {
    /// Feeds bytes to the MIME scanner and the codecs of what it finds.
    pub fn mime(data: &[u8]) {
        crate::parse::fuzz(data);
    }

    /// Feeds bytes to what reads a message's text for searches and previews, and what puts a part into base64.
    pub fn text(data: &[u8]) {
        crate::search::fuzz(data);
        crate::binary::fuzz(data);
    }

    /// Feeds bytes to what takes forged results out of a header: how they are cut must not matter.
    pub fn forged_results(data: &[u8]) {
        crate::inspect::fuzz(data);
    }
}

use flight::InFlight;
use maildrop::Maildrops;
use open::OpenMailboxes;
use queue::Queue;
use ringpost_base::Rng;
use ringpost_imap::MailboxName;
use ringpost_store::mailbox::MailBatch;
use ringpost_store::records::{Account, Mailbox, MailboxId};
use ringpost_store::states::{BLOCK_UIDS, fold};
use ringpost_store::{
    AccountId, Batch, Bodies, Bus, CommitError, Hint, Minted, Partition, Scan, Store, Stored, Topic, keys,
};
use std::fmt;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::Duration;

/// The mail of every account.
///
/// Methods are `async` for the store's sake only: they await nothing but it and its bodies. A method that is dropped
/// half-way may have done its commit.
pub struct Mail {
    store: Arc<dyn Store>,
    bodies: Bodies,
    bus: Arc<dyn Bus>,
    rng: Mutex<Rng>,
    open: Arc<OpenMailboxes>,
    in_flight: Arc<InFlight>,
    maildrops: Arc<Maildrops>,
    queue: Queue,
    default_quota: RwLock<Quota>,
    signer: OnceLock<Arc<dyn Signer>>,
    hostname: OnceLock<String>,
    /// For how long a message waits for room.
    max_age: OnceLock<Duration>,
    /// How much greylisting remembers, about.
    greylisted: AtomicUsize,
}

/// How often a change is begun anew because somebody else changed the same records first.
const TRIES: usize = 64;

impl Mail {
    /// Over a store and its bodies; hints go to `bus`.
    pub fn new(store: Arc<dyn Store>, bodies: Bodies, bus: Arc<dyn Bus>, mut rng: Rng) -> Self {
        let process = rng.fork().u64();
        Mail {
            store,
            bodies,
            bus,
            rng: Mutex::new(rng),
            open: Arc::default(),
            in_flight: Arc::default(),
            maildrops: Arc::new(Maildrops::new(process)),
            queue: Queue::new(process),
            default_quota: RwLock::default(),
            signer: OnceLock::new(),
            hostname: OnceLock::new(),
            max_age: OnceLock::new(),
            greylisted: AtomicUsize::new(0),
        }
    }

    /// Says once what this server is called, for the notices that it writes.
    pub fn be_called(&self, hostname: &str) {
        // The first name stays.
        let _known = self.hostname.set(hostname.to_owned());
    }

    fn hostname(&self) -> &str {
        self.hostname.get().map_or("localhost", String::as_str)
    }

    fn draw<T>(&self, draw: impl FnOnce(&mut Rng) -> T) -> T {
        draw(&mut self.rng.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn account(&self, account: AccountId) -> Result<Account, MailError> {
        let stored = self
            .store
            .record::<Account>(&Partition::Account(account), keys::account())
            .await?;
        stored.map(|a| a.record).ok_or(MailError::NoSuchAccount)
    }

    /// The mailbox of this name. An inbox that is missing is made, with the other default mailboxes.
    async fn mailbox(&self, account: AccountId, name: &MailboxName) -> Result<Stored<Mailbox>, MailError> {
        if let Some(found) = self.find_mailbox(account, name).await? {
            return Ok(found);
        }
        if !name.is_inbox() {
            return Err(MailError::NoSuchMailbox);
        }
        let created = self.account(account).await?.created;
        self.create_defaults(account, created).await?;
        self.find_mailbox(account, name)
            .await?
            .ok_or(MailError::NoSuchMailbox)
    }

    /// The mailbox of this name that is stored in another form of Unicode, as names were once.
    async fn find_composed(
        &self,
        account: AccountId,
        name: &MailboxName,
    ) -> Result<Option<Stored<Mailbox>>, MailError> {
        if name.as_str().is_ascii() {
            return Ok(None);
        }
        let same = |m: &Stored<Mailbox>| MailboxName::new(&m.record.name).as_ref() == Ok(name);
        Ok(self.all_mailboxes(account).await?.into_iter().find(same))
    }

    async fn find_mailbox(
        &self,
        account: AccountId,
        name: &MailboxName,
    ) -> Result<Option<Stored<Mailbox>>, MailError> {
        let home = Partition::Account(account);
        // Between the two reads the mailbox may be renamed or removed: then the name is looked up again.
        for _ in 0..TRIES {
            let key = keys::mailbox_name(name.as_str());
            let Some(named) = self
                .store
                .record::<ringpost_store::records::MailboxName>(&home, key)
                .await?
            else {
                return self.find_composed(account, name).await;
            };
            let mailbox = self
                .store
                .record::<Mailbox>(&home, keys::mailbox(named.record.mailbox))
                .await?;
            if let Some(mailbox) = mailbox.filter(|m| m.record.name == name.as_str()) {
                return Ok(Some(mailbox));
            }
        }
        Err(MailError::Busy)
    }

    async fn mailbox_by_id(&self, account: AccountId, id: MailboxId) -> Result<Mailbox, MailError> {
        let found = self
            .store
            .record::<Mailbox>(&Partition::Account(account), keys::mailbox(id))
            .await?;
        found.map(|m| m.record).ok_or(MailError::NoSuchMailbox)
    }

    /// Commits a change of messages, waits until it is durable, and tells the bus. Whoever brings the last UID of a block
    /// packs the block's states.
    async fn commit(&self, account: AccountId, batch: MailBatch) -> Result<Vec<u64>, CommitError> {
        let (change, arrivals) = (batch.change(), batch.arrivals());
        let minted = self.commit_batch(account, batch.finish(), change).await?;
        for (mailbox, uids) in arrivals {
            let uids = uids
                .iter()
                .filter_map(|uid| u32::try_from(uid.of(&minted)? + 1).ok());
            if let Some(below) = uids.filter(|next| next % BLOCK_UIDS == 0).max() {
                // The messages are there in any case, and are packed with those that come next.
                let folded = Box::pin(fold(&*self.store, account, mailbox, below)).await;
                if let Err(error) = folded {
                    tracing::warn!(%account, %mailbox, %error, "states of messages cannot be packed");
                }
            }
        }
        Ok(minted)
    }

    /// The same for any batch of the account that mints its change number.
    async fn commit_batch(
        &self,
        account: AccountId,
        batch: Batch,
        change: Minted,
    ) -> Result<Vec<u64>, CommitError> {
        let changes_lamp = batch.adds.iter().any(|add| keys::is_voicemail(&add.key));
        let flight = self.in_flight.begin(account);
        let minted = self.store.commit_durable(batch).await?;
        drop(flight);
        let change = change.of(&minted).unwrap_or_default();
        for topic in [Topic::Mail]
            .into_iter()
            .chain(changes_lamp.then_some(Topic::Lamp))
        {
            self.bus.publish(Hint {
                account,
                topic,
                change,
            });
        }
        Ok(minted)
    }

    /// Waits until what was just read of the account can be told: when it is durable.
    async fn settle(&self, account: AccountId) {
        self.in_flight.settled(account).await;
    }

    async fn all_mailboxes(&self, account: AccountId) -> Result<Vec<Stored<Mailbox>>, MailError> {
        self.records(account, keys::mailboxes()).await
    }

    async fn records<R: ringpost_store::Record>(
        &self,
        account: AccountId,
        scan: Scan,
    ) -> Result<Vec<Stored<R>>, MailError> {
        let entries = self.store.scan(&Partition::Account(account), scan).await?;
        let decoded = entries.into_iter().map(|e| {
            Ok(Stored {
                version: e.version,
                record: R::from_bytes(&e.key, e.value)?,
            })
        });
        decoded.collect()
    }
}

impl fmt::Debug for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mail")
    }
}
