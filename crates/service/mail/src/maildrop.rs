//! The inbox as POP3 wants it: one session's alone, as it was at the login, changed when the session ends.
//!
//! What keeps others away is a lease: a record that names this process and a time. It is taken when a session opens the
//! maildrop and no lease is held that lasts, prolonged while the session goes on, and never given back: it runs out. So a client
//! that comes every minute costs no commit for it. Within this process a table says whether a session has the maildrop now.
//! A process that was killed holds nothing up: its successor on the same node takes the lease at once, since a data folder
//! has one process, and another node takes it when it has run out. Removing messages guards the lease's version, so that a
//! session that was overtaken removes nothing.

use crate::open::Seat;
use crate::{Mail, MailError, TRIES};
use bytes::Bytes;
use ringpost_base::{UnixTime, limits};
use ringpost_imap::{Flag, FlagChange, MailboxName, SystemFlag};
use ringpost_pop3::{Listed, Maildrop as Snapshot, Uid};
use ringpost_store::records::{self, Mailbox, MailboxId, MaildropLease, Message};
use ringpost_store::{
    AccountId, Batch, BlobId, BlobReader, BytesReader, CommitError, Found, Partition, Query, Record, States,
    StatesOf, Version, Versioned, counter_value, keys,
};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a lease lasts. Another node waits so long at most for a maildrop whose node has died.
const LEASE: Duration = Duration::from_secs(120);
/// A lease with less than this left is prolonged.
const LEASE_LEFT: Duration = Duration::from_secs(60);
/// Messages that are looked up together once a session reads one after another.
const AHEAD: usize = 64;
/// Bytes of their bodies that are read together, and held until they are asked for.
const AHEAD_BYTES: u64 = 128 * 1024;

/// The maildrops of which this process has, or had, the lease.
#[derive(Debug)]
pub(crate) struct Maildrops {
    process: u64,
    known: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    accounts: HashMap<AccountId, Known>,
    /// Messages in the lists that are remembered; at most [`limits::POP3_LISTED`], unless sessions need them.
    listed: usize,
}

#[derive(Clone, Debug, Default)]
struct Known {
    /// Whether a session of this process has the maildrop.
    taken: bool,
    lease: Option<Lease>,
    list: Option<List>,
}

/// What was in an inbox when its MODSEQ was this: a client that looks in every minute mostly finds the same.
#[derive(Clone, Debug)]
struct List {
    mailbox: Mailbox,
    modseq: u64,
    messages: Arc<[Listed]>,
}

#[derive(Clone, Copy, Debug)]
struct Lease {
    version: Version,
    until: UnixTime,
}

impl Maildrops {
    pub(crate) fn new(process: u64) -> Self {
        Maildrops {
            process,
            known: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(self: &Arc<Self>, account: AccountId) -> Result<Hold, MailError> {
        let mut table = self.lock();
        if table.accounts.len() >= limits::POP3_LEASES {
            table.accounts.retain(|_, known| known.taken);
            let lists = table.accounts.values().filter_map(|known| known.list.as_ref());
            table.listed = lists.map(|list| list.messages.len()).sum();
        }
        let entry = table.accounts.entry(account).or_default();
        if std::mem::replace(&mut entry.taken, true) {
            return Err(MailError::InUse);
        }
        Ok(Hold {
            all: self.clone(),
            account,
        })
    }
}

/// A session's place in the table, until it is dropped.
#[derive(Debug)]
struct Hold {
    all: Arc<Maildrops>,
    account: AccountId,
}

impl Hold {
    fn lease(&self) -> Option<Lease> {
        self.all.lock().accounts.get(&self.account)?.lease
    }

    fn remember(&self, lease: Option<Lease>) {
        self.all.lock().accounts.entry(self.account).or_default().lease = lease;
    }

    fn list(&self) -> Option<List> {
        self.all.lock().accounts.get(&self.account)?.list.clone()
    }

    /// Remembers a list in place of the one before. When there are too many, those that no session has are forgotten.
    fn remember_list(&self, list: List) {
        let mut table = self.all.lock();
        let table = &mut *table;
        let len = list.messages.len();
        let entry = table.accounts.entry(self.account).or_default();
        let before = entry.list.take().map_or(0, |list| list.messages.len());
        table.listed -= before;
        if table.listed + len > limits::POP3_LISTED {
            for known in table.accounts.values_mut().filter(|known| !known.taken) {
                table.listed -= known.list.take().map_or(0, |list| list.messages.len());
            }
        }
        if table.listed + len <= limits::POP3_LISTED {
            table.listed += len;
            table.accounts.entry(self.account).or_default().list = Some(list);
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut table = self.all.lock();
        match table.accounts.get_mut(&self.account) {
            Some(entry) if entry.lease.is_some() => entry.taken = false,
            _ => {
                let gone = table.accounts.remove(&self.account);
                let list = gone.and_then(|known| known.list);
                table.listed -= list.map_or(0, |list| list.messages.len());
            }
        }
    }
}

/// An inbox that a POP3 session has to itself. Dropped, it is free for the next; nothing is removed by that.
#[derive(Debug)]
pub struct Maildrop {
    account: AccountId,
    mailbox: Mailbox,
    hold: Hold,
    lease: Lease,
    /// What others expunge meanwhile stays readable.
    seat: Seat,
    /// Messages that were looked up together with the one asked for.
    ahead: BTreeMap<Uid, Ahead>,
    /// The message that was read last.
    last: Option<Uid>,
}

#[derive(Debug)]
struct Ahead {
    blob: BlobId,
    size_bytes: u64,
    /// The body, if it was read already.
    body: Option<Bytes>,
}

impl Maildrop {
    /// When [`Mail::renew_maildrop`] is to be called at the latest.
    pub fn renew_at(&self) -> UnixTime {
        self.lease.until - LEASE_LEFT
    }

    fn home(&self) -> Partition {
        Partition::Account(self.account)
    }
}

impl Mail {
    /// Opens the account's inbox for a session that has it alone, and gives what is in it:
    /// [`limits::POP3_MESSAGES`] at most, the oldest first. [`MailError::InUse`] when another session has it.
    //= https://www.rfc-editor.org/rfc/rfc1939#section-4
    pub async fn open_maildrop(
        &self,
        account: AccountId,
        now: UnixTime,
    ) -> Result<(Maildrop, Snapshot), MailError> {
        let hold = self.maildrops.take(account)?;
        let lease = self.take_lease(&hold, now).await?;
        let (list, seat) = self.inbox_list(&hold).await?;
        self.settle(account).await;
        let snapshot = Snapshot {
            uid_validity: list.mailbox.uid_validity,
            messages: list.messages,
        };
        let maildrop = Maildrop {
            account,
            mailbox: list.mailbox,
            hold,
            lease,
            seat,
            ahead: BTreeMap::new(),
            last: None,
        };
        Ok((maildrop, snapshot))
    }

    /// What is in the inbox: what was there the last time, if nothing has changed since.
    async fn inbox_list(&self, hold: &Hold) -> Result<(List, Seat), MailError> {
        let (account, home) = (hold.account, Partition::Account(hold.account));
        if let Some(list) = hold.list() {
            let id = list.mailbox.id;
            // The seat comes first: whatever is expunged from now on is kept for this session.
            let seat = self.open.sit(account, id);
            let keys = vec![keys::mailbox(id), keys::last_modseq(id)];
            let mut found = self.store.get_many(&home, keys).await?.into_iter();
            let (mailbox, modseq) = (found.next().flatten(), found.next().flatten());
            if mailbox.is_some() && number(id, modseq)? == list.modseq {
                return Ok((list, seat));
            }
        }
        for _ in 0..TRIES {
            let id = self.mailbox(account, &MailboxName::inbox()).await?.record.id;
            let seat = self.open.sit(account, id);
            let of = StatesOf::all(id).limit(limits::POP3_MESSAGES);
            let mut queries = vec![Query::Get(keys::mailbox(id)), Query::Get(keys::last_modseq(id))];
            queries.extend(of.queries());
            let mut found = self.store.read(&home, queries).await?.into_iter();
            let Some(mailbox) = found.next().and_then(Found::value) else {
                continue;
            };
            let list = List {
                mailbox: Mailbox::from_bytes(&keys::mailbox(id), mailbox.value)?,
                modseq: number(id, found.next().and_then(Found::value))?,
                messages: listed(&of.found(&mut found)?),
            };
            hold.remember_list(list.clone());
            return Ok((list, seat));
        }
        Err(MailError::Busy)
    }

    /// Prolongs the session's lease, when it wants that. [`MailError::InUse`] when another node has taken it, since it had
    /// run out: then the session removes nothing any more.
    pub async fn renew_maildrop(&self, maildrop: &mut Maildrop, now: UnixTime) -> Result<(), MailError> {
        maildrop.lease = self.take_lease(&maildrop.hold, now).await?;
        Ok(())
    }

    /// A reader of a message; `None` when it is gone.
    pub async fn maildrop_body(
        &self,
        maildrop: &mut Maildrop,
        uid: Uid,
    ) -> Result<Option<Box<dyn BlobReader>>, MailError> {
        let home = maildrop.home();
        // Who reads upwards goes on so, mostly.
        let goes_on = maildrop.last.is_some_and(|last| uid > last);
        maildrop.last = Some(uid);
        if !maildrop.ahead.contains_key(&uid) {
            self.look_ahead(maildrop, uid, if goes_on { AHEAD } else { 1 })
                .await?;
        }
        let blob = match maildrop.ahead.get(&uid) {
            Some(ahead) => ahead.blob,
            None => match maildrop.seat.expunged(uid) {
                Some(message) => message.blob,
                None => return Ok(None),
            },
        };
        if goes_on && blob.is_inline() {
            self.read_ahead(maildrop, uid).await?;
        }
        if let Some(body) = maildrop.ahead.get_mut(&uid).and_then(|ahead| ahead.body.take()) {
            return Ok(Some(Box::new(BytesReader(body))));
        }
        Ok(self.bodies.get(&home, blob, 0..u64::MAX).await?)
    }

    /// Looks up a message and those behind it.
    async fn look_ahead(&self, maildrop: &mut Maildrop, uid: Uid, limit: usize) -> Result<(), MailError> {
        let scan = keys::messages(maildrop.mailbox.id, uid..=u32::MAX).limit(limit);
        let scan = scan.limit_bytes(limits::STORE_READ_BYTES);
        maildrop.ahead.clear();
        for entry in self.store.scan(&maildrop.home(), scan).await? {
            let message = Message::from_bytes(&entry.key, entry.value)?;
            if let Some(uid) = keys::uid_of(&entry.key) {
                let ahead = Ahead {
                    blob: message.blob,
                    size_bytes: message.size_bytes,
                    body: None,
                };
                maildrop.ahead.insert(uid, ahead);
            }
        }
        Ok(())
    }

    /// Reads a small body with those behind it, unless it was read before.
    async fn read_ahead(&self, maildrop: &mut Maildrop, uid: Uid) -> Result<(), MailError> {
        let (mut uids, mut blobs, mut bytes) = (Vec::new(), Vec::new(), 0);
        for (uid, ahead) in maildrop.ahead.range(uid..) {
            bytes += ahead.size_bytes;
            let fits = uids.is_empty() || bytes <= AHEAD_BYTES;
            if ahead.body.is_some() || !ahead.blob.is_inline() || !fits {
                break;
            }
            uids.push(*uid);
            blobs.push(ahead.blob);
        }
        if uids.is_empty() {
            return Ok(());
        }
        let bodies = self.bodies.get_many(&maildrop.home(), blobs).await?;
        for (uid, body) in uids.iter().zip(bodies) {
            if let Some(ahead) = maildrop.ahead.get_mut(uid) {
                ahead.body = body;
            }
        }
        Ok(())
    }

    /// Marks messages as seen, as reading them by IMAP does: the lamp's counts change with them. Those that are gone are
    /// passed over.
    pub async fn see_in_maildrop(&self, maildrop: &Maildrop, uids: &[Uid]) -> Result<(), MailError> {
        let change = FlagChange::Add([Flag::System(SystemFlag::Seen)].into_iter().collect());
        for some in uids.chunks(limits::IMAP_STORE_PORTION) {
            self.change_flags(maildrop.account, maildrop.mailbox.id, some, &change)
                .await?;
        }
        Ok(())
    }

    /// Removes messages; when this is done it is durable. Those that are gone already are passed over. With an error some
    /// may have been removed.
    //= https://www.rfc-editor.org/rfc/rfc1939#section-6
    pub async fn remove_from_maildrop(&self, maildrop: &Maildrop, uids: &[Uid]) -> Result<(), MailError> {
        let key = keys::maildrop_lease();
        let lease = Some((&key, maildrop.lease.version));
        let removed = self
            .remove_under(maildrop.account, maildrop.mailbox.id, uids, |_| true, lease)
            .await;
        if removed == Err(MailError::InUse) {
            // Others have had it meanwhile; what is known of it is worth nothing.
            maildrop.hold.remember(None);
        }
        removed.map(drop)
    }

    /// The lease that the session's process has, or one that is taken or prolonged now.
    async fn take_lease(&self, hold: &Hold, now: UnixTime) -> Result<Lease, MailError> {
        let known = hold.lease();
        if let Some(lease) = known.filter(|lease| now + LEASE_LEFT < lease.until) {
            return Ok(lease);
        }
        let (home, key) = (Partition::Account(hold.account), keys::maildrop_lease());
        let ours = self.maildrops.process;
        for _ in 0..TRIES {
            let stored = self.store.record::<MaildropLease>(&home, key.clone()).await?;
            let mut batch = Batch::new(home.clone());
            let fence = match &stored {
                None => {
                    batch.absent(key.clone());
                    1
                }
                Some(stored) => {
                    if is_held_elsewhere(&stored.record, now) {
                        hold.remember(None);
                        return Err(MailError::InUse);
                    }
                    batch.unchanged(key.clone(), stored.version);
                    let same = stored.record.node.is_empty() && stored.record.process == ours;
                    stored.record.fence + u64::from(!same)
                }
            };
            let lease = MaildropLease {
                node: String::new(),
                process: ours,
                fence,
                until: now + LEASE,
            };
            let until = lease.until;
            batch.exists(keys::account()).put(key.clone(), lease.to_bytes());
            // It need not be durable: a loss of power ends this process too.
            match self.store.commit(batch).await {
                Ok(applied) => {
                    let version = applied.version;
                    let lease = Lease { version, until };
                    hold.remember(Some(lease));
                    return Ok(lease);
                }
                Err(CommitError::Conflict(other)) if other == keys::account() => {
                    return Err(MailError::NoSuchAccount);
                }
                Err(CommitError::Conflict(_)) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Err(MailError::Busy)
    }
}

fn number(id: MailboxId, modseq: Option<Versioned>) -> Result<u64, MailError> {
    let key = keys::last_modseq(id);
    Ok(modseq.map_or(Ok(0), |found| counter_value(&key, &found.value))? as u64)
}

fn listed(states: &States) -> Arc<[Listed]> {
    let listed = |(uid, state): (u32, &records::MessageState)| Listed {
        uid,
        size_bytes: state.size_bytes + state.line_end_bytes,
    };
    states.iter().map(listed).collect()
}

/// Whether another node has a lease that has not run out. One that ends later than any that is taken now comes from a clock
/// that was wrong, and holds up nobody.
fn is_held_elsewhere(lease: &MaildropLease, now: UnixTime) -> bool {
    !lease.node.is_empty() && now < lease.until && lease.until <= now + LEASE
}
