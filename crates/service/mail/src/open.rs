//! Which mailboxes sessions have open, and what is kept for them meanwhile.

use ringpost_base::limits;
use ringpost_store::AccountId;
use ringpost_store::records::{MailboxId, Message};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

type Which = (AccountId, MailboxId);

/// The mailboxes that sessions of this process have open.
#[derive(Debug, Default)]
pub(crate) struct OpenMailboxes(Mutex<HashMap<Which, OpenMailbox>>);

#[derive(Debug, Default)]
struct OpenMailbox {
    sessions: usize,
    /// The highest UID that some session was the first to be told of.
    claimed_uid: u32,
    /// Messages that were expunged while it was open: a session that was not told yet may still ask for them
    /// (RFC 2180 §4.1). Beyond [`limits::IMAP_EXPUNGED_KEPT`] messages, or [`limits::IMAP_EXPUNGED_KEPT_BYTES`] of what
    /// is known of them, the lowest UIDs are forgotten.
    expunged: BTreeMap<u32, Message>,
    expunged_bytes: usize,
}

impl OpenMailbox {
    fn keep(&mut self, uid: u32, message: Message) {
        self.expunged_bytes += kept_bytes(&message);
        if let Some(before) = self.expunged.insert(uid, message) {
            self.expunged_bytes -= kept_bytes(&before);
        }
        while self.expunged.len() > limits::IMAP_EXPUNGED_KEPT
            || self.expunged_bytes > limits::IMAP_EXPUNGED_KEPT_BYTES
        {
            let Some((_, forgotten)) = self.expunged.pop_first() else {
                return;
            };
            self.expunged_bytes -= kept_bytes(&forgotten);
        }
    }
}

fn kept_bytes(message: &Message) -> usize {
    size_of::<Message>() + message.envelope.len() + message.structure.len()
}

/// A session's place at an open mailbox.
#[derive(Debug)]
pub(crate) struct Seat {
    open: Arc<OpenMailboxes>,
    which: Which,
}

impl OpenMailboxes {
    fn lock(&self) -> MutexGuard<'_, HashMap<Which, OpenMailbox>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a seat. What the store says was claimed is claimed again by who wants to know of that.
    pub(crate) fn sit(self: &Arc<Self>, account: AccountId, mailbox: MailboxId) -> Seat {
        let which = (account, mailbox);
        let mut all = self.lock();
        let open = all.entry(which).or_default();
        open.sessions += 1;
        Seat {
            open: self.clone(),
            which,
        }
    }

    /// The highest UID that a session of this process has claimed.
    pub(crate) fn claimed(&self, account: AccountId, mailbox: MailboxId) -> Option<u32> {
        self.lock().get(&(account, mailbox)).map(|open| open.claimed_uid)
    }

    /// Keeps messages that are about to be expunged, if some session has the mailbox open.
    pub(crate) fn keep<'a>(
        &self,
        account: AccountId,
        mailbox: MailboxId,
        messages: impl Iterator<Item = (u32, &'a Message)>,
    ) {
        if let Some(open) = self.lock().get_mut(&(account, mailbox)) {
            messages.for_each(|(uid, message)| open.keep(uid, message.clone()));
        }
    }
}

impl Seat {
    /// Claims all UIDs up to `last`; gives the highest that was claimed before.
    pub(crate) fn claim(&self, last: u32) -> u32 {
        let mut all = self.open.lock();
        let open = all.entry(self.which).or_default();
        let before = open.claimed_uid;
        open.claimed_uid = before.max(last);
        before
    }

    /// The highest UID that was claimed.
    pub(crate) fn claimed(&self) -> u32 {
        self.open.claimed(self.which.0, self.which.1).unwrap_or_default()
    }

    /// A message that was expunged while the mailbox was open.
    pub(crate) fn expunged(&self, uid: u32) -> Option<Message> {
        self.open.lock().get(&self.which)?.expunged.get(&uid).cloned()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut all = self.open.lock();
        if let Some(open) = all.get_mut(&self.which) {
            open.sessions -= 1;
            if open.sessions == 0 {
                all.remove(&self.which);
            }
        }
    }
}
