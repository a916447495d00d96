//! The records of messages, as they are read: a bounded piece at a time, maybe before they are asked for.

use crate::parse::codec;
use crate::{Mail, MailError, Selected};
use bytes::BytesMut;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use ringpost_base::limits;
use ringpost_imap::question::{Message as FetchedMessage, ObjectId, Wants};
use ringpost_store::records::{MailboxId, Message};
use ringpost_store::{Found, Query, Record, StoreError, keys};
use std::collections::VecDeque;
use std::sync::Arc;

/// What a read has brought of the messages that were asked for.
pub(crate) struct Known {
    /// Those that there are, by ascending UIDs.
    pub(crate) messages: Vec<(u32, Message)>,
    /// Of so many of the first that were asked for this is all; at least one. Those behind are to be read next.
    pub(crate) looked_at: usize,
}

impl Known {
    /// The messages of `uids`, which ascend, in the answers to [`message_queries`].
    pub(crate) fn of(uids: &[u32], found: Vec<Found>) -> Result<Known, StoreError> {
        debug_assert!(uids.is_sorted());
        let found_bytes: usize = found.iter().map(Found::scanned_bytes).sum();
        let (mut messages, mut last, mut wanted) =
            (Vec::with_capacity(uids.len()), 0, uids.iter().peekable());
        for entry in found.into_iter().flat_map(Found::entries) {
            last = keys::uid_of(&entry.key).unwrap_or_default();
            while wanted.next_if(|uid| **uid < last).is_some() {}
            if wanted.next_if(|uid| **uid == last).is_some() {
                messages.push((last, Message::from_bytes(&entry.key, entry.value)?));
            }
        }
        let looked_at = match found_bytes >= limits::STORE_READ_BYTES {
            true => uids.partition_point(|uid| *uid <= last).max(1),
            false => uids.len(),
        };
        let looked_at = looked_at.min(uids.len());
        Ok(Known { messages, looked_at })
    }

    /// The same, with those that were expunged while the mailbox was open.
    pub(crate) fn to(selected: &Selected, uids: &[u32], found: Vec<Found>) -> Result<Known, StoreError> {
        let Known { messages, looked_at } = Known::of(uids, found)?;
        if messages.len() == looked_at {
            return Ok(Known { messages, looked_at });
        }
        let mut there = messages.into_iter().peekable();
        let known = |uid: &u32| match there.next_if(|(there, _)| there == uid) {
            Some(known) => Some(known),
            None => Some((*uid, selected.seat.expunged(*uid)?)),
        };
        let messages = uids[..looked_at].iter().filter_map(known).collect();
        Ok(Known { messages, looked_at })
    }
}

/// UIDs so far apart are still read with one scan, past the messages between them.
const GAP: u32 = 4;

/// What reads the records of messages, by ascending UIDs: those that stand together with one scan. All of them together bring
/// [`limits::STORE_READ_BYTES`].
pub(crate) fn message_queries(id: MailboxId, uids: &[u32]) -> Vec<Query> {
    let runs = uids.chunk_by(|a, b| (0..=GAP).contains(&b.wrapping_sub(*a)));
    let query = |run: &[u32]| match (run.first(), run.last()) {
        (Some(first), Some(last)) => {
            let scan = keys::messages(id, *first..=*last);
            Some(Query::Scan(scan.limit_bytes(limits::STORE_READ_BYTES)))
        }
        _ => None,
    };
    runs.filter_map(query).collect()
}

impl Mail {
    /// The records of the first of these messages, by ascending UIDs, as many as one read brings. One that was expunged while
    /// this mailbox was open is among them; one that is gone for good is left out.
    pub(crate) async fn known(&self, selected: &Selected, uids: &[u32]) -> Result<Known, MailError> {
        let queries = message_queries(selected.mailbox.id, uids);
        let found = self.store.read(&selected.home(), queries).await?;
        Ok(Known::to(selected, uids, found)?)
    }

    /// Begins to read those of the portions that are to come that are not being read already.
    pub(crate) fn read_portions(&self, selected: &Selected, ahead: &mut Ahead, then: &[u32]) {
        let portions = then
            .chunks(limits::IMAP_PORTION)
            .take(limits::IMAP_PORTIONS_AHEAD);
        ahead.truncate(portions.len());
        for (n, uids) in portions.enumerate() {
            match ahead.get(n) {
                Some(portion) if portion.uids == uids => continue,
                Some(_) => ahead.truncate(n),
                None => {}
            }
            let queries = message_queries(selected.mailbox.id, uids);
            let (store, home) = (self.store.clone(), selected.home());
            let found = async move { store.read(&home, queries).await };
            ahead.push_back(Portion {
                uids: uids.to_vec(),
                found: begun(found.boxed()),
            });
        }
    }
}

/// Portions whose records are being read before they are asked for, each as far as one read goes. Records never change, and
/// what is gone meanwhile may still be shown.
pub(crate) type Ahead = VecDeque<Portion>;

pub(crate) struct Portion {
    pub(crate) uids: Vec<u32>,
    pub(crate) found: BoxFuture<'static, Result<Vec<Found>, StoreError>>,
}

/// The same, with its first step done: a question to the store is asked, and is answered while others do something else.
pub(crate) fn begun<T: Send + 'static>(mut future: BoxFuture<'_, T>) -> BoxFuture<'_, T> {
    match (&mut future).now_or_never() {
        Some(done) => std::future::ready(done).boxed(),
        None => future,
    }
}

pub(crate) fn fetched(uid: u32, message: &Message, wants: Wants) -> Result<FetchedMessage, MailError> {
    let damaged = || MailError::Damaged(format!("what is stored of message {uid}"));
    let envelope = match wants.envelope {
        true => Some(Arc::new(
            codec::decode_envelope(&message.envelope).ok_or_else(damaged)?,
        )),
        false => None,
    };
    let written = match wants.written {
        Some(spelling) => {
            let envelope = codec::decode_envelope::<&str>(&message.envelope).ok_or_else(damaged)?;
            // Usual ones fit: the author may stand in it three times. What has to be encoded makes it longer.
            let mut out = BytesMut::with_capacity(2 * message.envelope.len());
            envelope.write(spelling, &mut out);
            Some(out.freeze())
        }
        None => None,
    };
    let structure = match wants.structure {
        true => Some(Arc::new(
            codec::decode_part(&message.structure).ok_or_else(damaged)?,
        )),
        false => None,
    };
    Ok(FetchedMessage {
        uid,
        internal_date: message.received,
        saved: message.saved,
        email_id: ObjectId::Email(message.email_id),
        thread_id: None,
        size_bytes: message.size_bytes,
        envelope,
        written,
        structure,
        preview: None,
    })
}
