//! Whole mailboxes for whoever carries them elsewhere: read by UID, with no session that sees them.

use crate::parse::{Parsed, Scanner, codec};
use crate::{Mail, MailError, flags};
use ringpost_base::{UnixTime, limits};
use ringpost_imap::structure::Envelope;
use ringpost_imap::{Flags, MailboxName};
use ringpost_store::records::Message;
use ringpost_store::{AccountId, BlobReader, Found, Partition, Query, Record, StatesOf, keys};
use std::ops::Range;

/// Messages of one look into a mailbox.
const AT_ONCE: usize = 1_000;

/// A message of a mailbox, without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its UID.
    pub uid: u32,
    /// Its flags.
    pub flags: Flags,
    /// Its size.
    pub size_bytes: u64,
    /// INTERNALDATE.
    pub received: UnixTime,
    /// Its envelope.
    pub envelope: Envelope,
}

impl Mail {
    /// The messages of a mailbox with a UID above `after`, by UID: a thousand of them at most, fewer where much is known of
    /// each, none when there are no more.
    pub async fn messages_after(
        &self,
        account: AccountId,
        name: &MailboxName,
        after: u32,
    ) -> Result<Vec<Listed>, MailError> {
        let Some(first) = after.checked_add(1) else {
            return Ok(Vec::new());
        };
        let id = self.mailbox(account, name).await?.record.id;
        // Of the first so many messages the states are among the first so many.
        let of = StatesOf::range(id, first..=u32::MAX).limit(AT_ONCE);
        let mut queries = of.queries();
        let messages = keys::messages(id, first..=u32::MAX).limit(AT_ONCE);
        queries.push(Query::Scan(messages.limit_bytes(limits::STORE_READ_BYTES)));
        let found = self.store.read(&Partition::Account(account), queries).await?;
        self.settle(account).await;
        let mut found = found.into_iter();
        let states = of.found(&mut found)?;
        let messages = found.next().map(Found::entries).unwrap_or_default();
        let (mut listed, mut held_bytes) = (Vec::with_capacity(messages.len()), 0);
        for entry in messages {
            if held_bytes >= limits::IMAP_KNOWN_BYTES {
                break;
            }
            let damaged = || MailError::Store(format!("{:?} is damaged", entry.key));
            let uid = keys::uid_of(&entry.key).ok_or_else(damaged)?;
            let state = states.get(uid).ok_or_else(damaged)?;
            let message = Message::from_bytes(&entry.key, entry.value.clone())?;
            let envelope: Envelope = codec::decode_envelope(&message.envelope).ok_or_else(damaged)?;
            held_bytes += envelope.held_bytes();
            listed.push(Listed {
                uid,
                flags: flags::from_stored(state),
                size_bytes: message.size_bytes,
                received: message.received,
                envelope,
            });
        }
        Ok(listed)
    }

    /// Bytes `range` of a message, in chunks; `None` when it is gone.
    pub async fn body_of(
        &self,
        account: AccountId,
        name: &MailboxName,
        uid: u32,
        range: Range<u64>,
    ) -> Result<Option<Box<dyn BlobReader>>, MailError> {
        let id = self.mailbox(account, name).await?.record.id;
        let home = Partition::Account(account);
        let stored = self
            .store
            .record::<Message>(&home, keys::message(id, uid))
            .await?;
        match stored {
            Some(message) => Ok(self.bodies.get(&home, message.record.blob, range).await?),
            None => Ok(None),
        }
    }
}

/// The envelope of a message that begins with this header, as it will be when the message is here.
pub fn envelope_of(header: &[u8]) -> Envelope {
    let mut scanner = Scanner::new();
    scanner.push(header);
    Parsed::of(scanner).envelope
}
