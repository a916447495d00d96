//! What one transaction keeps, and the table of all of them (RFC 3261 §17 as corrected by RFC 6026). The machines
//! themselves are [`Endpoint`](crate::Endpoint)'s.

mod key;
mod queue;

pub(crate) use key::{Key, KeyMap, Keyring, LegacyFields};
pub use queue::Timing;
pub(crate) use queue::{Entry, Length, TimerQueue, Which};

use crate::flow::Flow;
use bytes::Bytes;
use ringpost_base::Instant;
use std::fmt;

/// Names one transaction of an endpoint. A name is not used again for another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionId(u64);

impl TransactionId {
    fn new(slot: u32, generation: u32) -> Self {
        TransactionId(u64::from(generation) << 32 | u64::from(slot))
    }

    pub(crate) fn slot(self) -> u32 {
        self.0 as u32
    }

    fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

impl fmt::Debug for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "transaction {}.{}", self.slot(), self.generation())
    }
}

/// Which of the four machines a transaction is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    InviteClient,
    Client,
    InviteServer,
    Server,
}

impl Role {
    pub(crate) fn is_client(self) -> bool {
        matches!(self, Role::InviteClient | Role::Client)
    }
}

/// The states of all four machines; an INVITE client's `Calling` is `Trying` here. `Terminated` is absence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    Trying,
    Proceeding,
    Completed,
    Confirmed,
    Accepted,
}

/// Whether the user of an INVITE client wants it cancelled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cancel {
    No,
    /// As soon as there is a provisional response.
    Wanted,
    Sent,
}

/// The deadline that never comes.
pub(crate) const NEVER: Instant = Instant::from_nanos(u64::MAX);

/// One transaction. When it is finished, `last` is all that it holds beside its keys and deadlines.
#[derive(Debug)]
pub(crate) struct Transaction {
    pub(crate) key: Key,
    /// Under which merged requests are found, for a request that began none of our dialogs.
    pub(crate) merged: Option<Key>,
    pub(crate) role: Role,
    pub(crate) state: State,
    /// Retransmissions so far, as far as intervals grow.
    pub(crate) step: u8,
    /// A server's `last` is a response, not the request.
    pub(crate) answered: bool,
    pub(crate) cancel: Cancel,
    pub(crate) flow: Flow,
    /// What is sent again: a client's request, or its ACK; a server's last response, and before there is one the request,
    /// from which the automatic 100 is made.
    pub(crate) last: Bytes,
    pub(crate) rare: Option<Box<Rare>>,
    /// When to send `last` again, or the automatic 100.
    pub(crate) resend_at: Instant,
    /// When the state ends by itself.
    pub(crate) end_at: Instant,
}

/// What few transactions have.
#[derive(Debug, Default)]
pub(crate) struct Rare {
    /// The way to go when this one, taken for the request's size alone, turns out to be closed.
    pub(crate) fallback: Option<Flow>,
    /// The Reason for a CANCEL that waits.
    pub(crate) cancel_reason: Option<Box<str>>,
}

/// All transactions by slot and by key.
#[derive(Debug, Default)]
pub(crate) struct Table {
    slots: Vec<Slot>,
    free: Vec<u32>,
    by_key: KeyMap<u32>,
    merged: KeyMap<u32>,
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    transaction: Option<Transaction>,
}

impl Table {
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// The keys under which transactions are found.
    pub(crate) fn keys(&self) -> usize {
        self.by_key.len() + self.merged.len()
    }

    /// Puts in a transaction whose key is not there yet.
    pub(crate) fn insert(&mut self, transaction: Transaction) -> TransactionId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot {
                generation: 0,
                transaction: None,
            });
            u32::try_from(self.slots.len() - 1).expect("the limit of transactions is below 2^32")
        });
        self.by_key.insert(transaction.key, slot);
        if let Some(merged) = transaction.merged {
            self.merged.insert(merged, slot);
        }
        let entry = &mut self.slots[slot as usize];
        entry.generation = entry.generation.wrapping_add(1);
        entry.transaction = Some(transaction);
        TransactionId::new(slot, entry.generation)
    }

    pub(crate) fn remove(&mut self, id: TransactionId) -> Option<Transaction> {
        self.get(id)?;
        let transaction = self.slots[id.slot() as usize].transaction.take()?;
        self.by_key.remove(&transaction.key);
        if let Some(merged) = transaction.merged {
            self.merged.remove(&merged);
        }
        self.free.push(id.slot());
        Some(transaction)
    }

    pub(crate) fn get(&self, id: TransactionId) -> Option<&Transaction> {
        let slot = self.slots.get(id.slot() as usize)?;
        slot.transaction
            .as_ref()
            .filter(|_| slot.generation == id.generation())
    }

    pub(crate) fn get_mut(&mut self, id: TransactionId) -> Option<&mut Transaction> {
        let slot = self.slots.get_mut(id.slot() as usize)?;
        slot.transaction
            .as_mut()
            .filter(|_| slot.generation == id.generation())
    }

    /// Finds a transaction under another key from now on.
    pub(crate) fn rekey(&mut self, id: TransactionId, key: Key) {
        let Some(transaction) = self.get_mut(id) else {
            return;
        };
        let old = std::mem::replace(&mut transaction.key, key);
        self.by_key.remove(&old);
        self.by_key.insert(key, id.slot());
    }

    pub(crate) fn find(&self, key: Key) -> Option<TransactionId> {
        self.by_key.get(&key).map(|slot| self.id(*slot))
    }

    pub(crate) fn find_merged(&self, key: Key) -> Option<TransactionId> {
        self.merged.get(&key).map(|slot| self.id(*slot))
    }

    pub(crate) fn id(&self, slot: u32) -> TransactionId {
        TransactionId::new(slot, self.slots[slot as usize].generation)
    }

    /// Whether a deadline is still its transaction's.
    pub(crate) fn is_live(&self, entry: &Entry) -> bool {
        self.slots[entry.slot as usize]
            .transaction
            .as_ref()
            .is_some_and(|t| match entry.which {
                Which::Resend => t.resend_at == entry.at,
                Which::End => t.end_at == entry.at,
            })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (TransactionId, &Transaction)> {
        self.slots.iter().zip(0..).filter_map(|(slot, index)| {
            slot.transaction
                .as_ref()
                .map(|t| (TransactionId::new(index, slot.generation), t))
        })
    }
}
