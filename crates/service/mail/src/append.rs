//! Messages that a session appends: one, or several together (RFC 3502).

use crate::parse::codec;
use crate::{Incoming, Letter, Mail, MailError, TRIES, flags};
use bytes::Bytes;
use ringpost_base::{UnixTime, limits};
use ringpost_imap::{Flags, MailboxName};
use ringpost_store::mailbox::MailBatch;
use ringpost_store::records::Message;
use ringpost_store::{AccountId, CommitError, keys};
use std::fmt;

/// What is held of the messages of one APPEND until the last has come; it fits a batch.
const HELD_BYTES: usize = limits::BATCH_BYTES / 2;

/// Messages that a session appends, of which the last is coming in.
pub struct Append {
    account: AccountId,
    mailbox: MailboxName,
    /// Those that have come, whole.
    whole: Vec<(Letter, Kept)>,
    coming: (Incoming, Kept),
    /// What was announced so far.
    size_bytes: u64,
}

/// What a message is kept with.
struct Kept {
    flags: Flags,
    received: Option<UnixTime>,
}

/// What was appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// UIDVALIDITY of the mailbox.
    pub uid_validity: u32,
    /// The UIDs of the messages, in their order.
    pub uids: Vec<u32>,
}

impl Append {
    /// The next piece of the message.
    pub async fn write(&mut self, chunk: Bytes) -> Result<(), MailError> {
        self.coming.0.write(chunk).await
    }
}

impl fmt::Debug for Append {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Append({} to {})", self.whole.len() + 1, self.mailbox)
    }
}

impl Mail {
    /// Begins a message that a session appends.
    pub async fn append(
        &self,
        account: AccountId,
        to: &MailboxName,
        flags: Flags,
        received: Option<UnixTime>,
        size_bytes: u64,
    ) -> Result<Append, MailError> {
        self.mailbox(account, to).await?;
        self.may_append(account, &flags, size_bytes, size_bytes).await?;
        Ok(Append {
            account,
            mailbox: to.clone(),
            whole: Vec::new(),
            coming: (self.incoming(), Kept { flags, received }),
            size_bytes,
        })
    }

    /// The message whose bytes have all come is one of several: begins the next.
    pub async fn append_next(
        &self,
        append: Append,
        flags: Flags,
        received: Option<UnixTime>,
        size_bytes: u64,
    ) -> Result<Append, MailError> {
        let total_bytes = append.size_bytes.saturating_add(size_bytes);
        self.may_append(append.account, &flags, size_bytes, total_bytes)
            .await?;
        let (incoming, kept) = append.coming;
        let mut whole = append.whole;
        whole.push((self.appended_whole(incoming).await?, kept));
        if whole.iter().map(|(letter, _)| letter.held_bytes()).sum::<usize>() > HELD_BYTES {
            return Err(MailError::Limit("there is too much in one APPEND"));
        }
        Ok(Append {
            account: append.account,
            mailbox: append.mailbox,
            whole,
            coming: (self.incoming(), Kept { flags, received }),
            size_bytes: total_bytes,
        })
    }

    /// A message that has come whole; parts with NUL in them are kept in base64 (RFC 3516).
    async fn appended_whole(&self, incoming: Incoming) -> Result<Letter, MailError> {
        let has_nul = incoming.has_nul();
        let letter = incoming.finish().await?;
        if !has_nul {
            return Ok(letter);
        }
        let structure = codec::decode_part(&letter.message.structure);
        let structure = structure.ok_or_else(|| MailError::Damaged("a structure".into()))?;
        self.encoded(&letter, &structure).await
    }

    async fn may_append(
        &self,
        account: AccountId,
        flags: &Flags,
        size_bytes: u64,
        total_bytes: u64,
    ) -> Result<(), MailError> {
        if size_bytes > limits::MESSAGE_BYTES {
            return Err(MailError::TooBig);
        }
        if flags.keywords().len() > limits::IMAP_KEYWORDS {
            return Err(MailError::Limit("too many keywords on a message"));
        }
        match self.has_room(account, total_bytes).await? {
            true => Ok(()),
            false => Err(MailError::OverQuota),
        }
    }

    /// Keeps the appended messages, whose bytes have all come: all of them, with one commit, or none.
    //= https://www.rfc-editor.org/rfc/rfc3502#section-6.3.11
    pub async fn append_finish(&self, append: Append, now: UnixTime) -> Result<Appended, MailError> {
        let Append {
            account,
            mailbox: to,
            mut whole,
            coming: (incoming, kept),
            ..
        } = append;
        whole.push((self.appended_whole(incoming).await?, kept));
        let keep = |(letter, kept): (Letter, Kept)| {
            let message = Message {
                received: kept.received.unwrap_or(now),
                saved: now,
                email_id: self.draw(|rng| rng.u64()),
                ..letter.message
            };
            (message, letter.body, flags::to_stored(&kept.flags))
        };
        let messages: Vec<_> = whole.into_iter().map(keep).collect();
        for _ in 0..TRIES {
            let owner = self.account(account).await?;
            let quota = self.quota_of(&owner);
            let mailbox = self.mailbox(account, &to).await?.record;
            let mut batch = MailBatch::new(account, quota);
            let mut minted_uids = Vec::with_capacity(messages.len());
            for (message, body, (system, keywords)) in &messages {
                minted_uids.push(batch.add(&mailbox, message, *system, keywords.clone(), body));
            }
            batch.batch().exists(keys::account());
            match self.commit(account, batch).await {
                Ok(minted) => {
                    let size_bytes = messages.iter().map(|(message, ..)| message.size_bytes).sum();
                    let added = (size_bytes, messages.len() as u64);
                    self.watch_quota(account, &owner, quota, added, now).await;
                    let uid = |uid: ringpost_store::Minted| {
                        let uid = uid.of(&minted).and_then(|uid| u32::try_from(uid).ok());
                        uid.unwrap_or_default()
                    };
                    return Ok(Appended {
                        uid_validity: mailbox.uid_validity,
                        uids: minted_uids.into_iter().map(uid).collect(),
                    });
                }
                // The mailbox, or the account, has gone in between: look again.
                Err(CommitError::Conflict(_)) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Err(MailError::Busy)
    }
}
