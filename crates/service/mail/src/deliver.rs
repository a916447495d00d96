//! Delivery into a mailbox.

use crate::{Letter, Mail, MailError, Quota, TRIES, flags};
use ringpost_base::UnixTime;
use ringpost_imap::{Flags, MailboxName};
use ringpost_store::mailbox::MailBatch;
use ringpost_store::records::{self, Message};
use ringpost_store::{AccountId, CommitError, Record, keys};

/// How a message is delivered.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Where to; the inbox unless said otherwise.
    pub mailbox: MailboxName,
    /// With which flags; none unless said otherwise.
    pub flags: Flags,
    /// Its internal date: when it came, or what APPEND says.
    pub received: UnixTime,
    /// When it is delivered.
    pub now: UnixTime,
    /// Whether the account's quota holds. It does not for what nobody could be told of otherwise.
    pub within_quota: bool,
    /// Delivered at most once under this spool number and recipient.
    pub once: Option<(u64, String)>,
    /// Whether it is to go to the account's junk mailbox instead, unless the account wants none there.
    pub junk: bool,
}

impl Delivery {
    /// Into the inbox, now, within the quota.
    pub fn new(now: UnixTime) -> Self {
        Delivery {
            mailbox: MailboxName::inbox(),
            flags: Flags::new(),
            received: now,
            now,
            within_quota: true,
            once: None,
            junk: false,
        }
    }
}

/// Where a message was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// The mailbox.
    pub mailbox: records::MailboxId,
    /// Its UIDVALIDITY.
    pub uid_validity: u32,
    /// The message's UID there.
    pub uid: u32,
}

impl Mail {
    /// Puts a message into a mailbox. When this is done it is on stable storage, once; `None` when it was delivered
    /// before (see [`Delivery::once`]).
    pub async fn deliver(
        &self,
        account: AccountId,
        letter: &Letter,
        delivery: Delivery,
    ) -> Result<Option<Delivered>, MailError> {
        let message = Message {
            received: delivery.received,
            saved: delivery.now,
            email_id: self.draw(|rng| rng.u64()),
            ..letter.message.clone()
        };
        let (system, keywords) = flags::to_stored(&delivery.flags);
        let once = delivery
            .once
            .as_ref()
            .map(|(spool, recipient)| keys::delivered(*spool, recipient));
        for _ in 0..TRIES {
            let owner = self.account(account).await?;
            let quota = self.quota_of(&owner);
            let limits = if delivery.within_quota {
                quota
            } else {
                Quota::default()
            };
            let mailbox = match delivery.junk && !owner.takes_junk {
                true => self.junk_mailbox(account, delivery.now).await?,
                false => self.mailbox(account, &delivery.mailbox).await?.record,
            };
            let mut batch = MailBatch::new(account, limits);
            let uid = batch.add(&mailbox, &message, system, keywords.clone(), &letter.body);
            batch.batch().exists(keys::account());
            if let Some(key) = &once {
                let mark = records::Delivered { at: delivery.now };
                batch
                    .batch()
                    .absent(key.clone())
                    .put(key.clone(), mark.to_bytes());
            }
            match self.commit(account, batch).await {
                Ok(minted) => {
                    let added = (message.size_bytes, 1);
                    self.watch_quota(account, &owner, quota, added, delivery.now)
                        .await;
                    let uid = uid
                        .of(&minted)
                        .and_then(|uid| u32::try_from(uid).ok())
                        .unwrap_or_default();
                    return Ok(Some(Delivered {
                        mailbox: mailbox.id,
                        uid_validity: mailbox.uid_validity,
                        uid,
                    }));
                }
                Err(CommitError::Conflict(key)) if once.as_ref() == Some(&key) => return Ok(None),
                // The mailbox, or the account, has gone in between: look again.
                Err(CommitError::Conflict(_)) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Err(MailError::Busy)
    }

    /// The mailbox of an account that mail for a folder goes to: the one of this name, or else of this name but for its
    /// capitals; the inbox when there is none.
    pub async fn folder(&self, account: AccountId, name: &str) -> Result<MailboxName, MailError> {
        let Some(wanted) = Some(name)
            .filter(|n| !n.is_empty())
            .and_then(|n| MailboxName::new(n).ok())
        else {
            return Ok(MailboxName::inbox());
        };
        if self.find_mailbox(account, &wanted).await?.is_some() {
            return Ok(wanted);
        }
        let all = self.all_mailboxes(account).await?.into_iter();
        let mut names = all.map(|mailbox| mailbox.record.name);
        let found = names.find(|other| other.to_lowercase() == wanted.as_str().to_lowercase());
        let found = found.and_then(|name| MailboxName::new(&name).ok());
        Ok(found.unwrap_or_else(MailboxName::inbox))
    }

    /// Whether the medium has room for a message of so many bytes now, whoever it is for.
    pub async fn medium_has_room(&self, size_bytes: u64) -> Result<bool, MailError> {
        Ok(self.bodies.room_bytes().await? >= size_bytes)
    }
}
