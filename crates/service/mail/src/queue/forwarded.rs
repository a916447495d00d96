//! What an account forwards: its sender wrote to the account, and learns nothing of where that has its mail sent.

use super::{Elsewhere, Notice, QueuedMessage, beside};
use crate::{Delivery, Mail, MailError};
use ringpost_base::UnixTime;
use ringpost_smtp::{Notify, RcptDsn};
use ringpost_store::records::{Queued, QueuedRecipient, Spool, SpoolRecipient};
use ringpost_store::{AccountId, Partition};

/// Who forwards a message. Has the account no copy, what is refused for good goes to its inbox, and the sender is not told
/// where it is forwarded to. Has it one, the message has arrived, and nobody is told what becomes of the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keeper {
    /// The account.
    pub account: AccountId,
    /// Its address, by which the sender is told.
    pub address: String,
}

impl Elsewhere {
    /// The way to where those forward who have the message themselves: notices of it would be none of its sender's business.
    //= https://www.rfc-editor.org/rfc/rfc3461#section-5.2.7.4
    pub(crate) fn beside_copies(mut self, has_copy: impl Fn(AccountId) -> bool) -> Self {
        if self
            .keeper
            .as_ref()
            .is_some_and(|keeper| has_copy(keeper.account))
        {
            self.keeper = None;
            self.dsn = RcptDsn {
                notify: Notify::NEVER,
                original: String::new(),
            };
        }
        self
    }
}

impl Mail {
    /// What is refused for good of a message that an account forwards without a copy goes to its own inbox, once, whoever
    /// refused it; its sender is told only if that cannot be. Of where it was forwarded to, the sender learns nothing. Gives what
    /// is to wait until the account has room, to be put down when the message is filed.
    pub(super) async fn keep_forwarded(
        &self,
        message: &mut QueuedMessage,
        whom: &Notice,
        now: UnixTime,
    ) -> Result<Option<Spool>, MailError> {
        let Some(keeper) = message.record.keeper else {
            return Ok(None);
        };
        let mut waits = None;
        // That it takes long is nothing that whoever sent it can know of.
        message.record.delay_told |= message.delayed;
        message.delayed = false;
        let record = &mut message.record;
        let mut failure = ("5.0.0", "it could not be forwarded");
        if let Some(failed) = record.recipients.iter().find(|recipient| recipient.failed) {
            let spool = waiting(record, keeper, failed, whom);
            let letter = self.letter_at(&Partition::queue_of(record.id), record.blob).await;
            let delivery = Delivery {
                received: record.received,
                junk: record.junk,
                once: Some((spool.id, record.known_as.clone())),
                ..Delivery::new(now)
            };
            let delivered = match letter {
                Ok(letter) => self.deliver(keeper, &letter, delivery).await,
                Err(e) => Err(e),
            };
            match delivered {
                Ok(_) => {
                    tracing::info!(queued = format_args!("{:016x}", record.id), account = %keeper, "what could not be forwarded is kept");
                    record.recipients.retain(|recipient| !recipient.failed);
                }
                Err(MailError::OverQuota) => {
                    tracing::info!(queued = format_args!("{:016x}", record.id), account = %keeper, "what could not be forwarded waits for room");
                    waits = Some(spool);
                    record.recipients.retain(|recipient| !recipient.failed);
                }
                Err(MailError::NoSuchAccount) => failure = ("5.1.1", "the account was removed"),
                Err(MailError::Damaged(why)) => {
                    tracing::error!(queued = format_args!("{:016x}", record.id), account = %keeper, why, "what could not be forwarded cannot be kept");
                    failure = ("5.3.0", "it could not be forwarded, and can be read no more");
                }
                Err(e) => return Err(e),
            }
        }
        for recipient in &mut record.recipients {
            let (status, text) = match (recipient.failed, recipient.relayed) {
                (true, _) => failure,
                (false, true) => ("2.0.0", "it was forwarded"),
                (false, false) => continue,
            };
            recipient.address.clone_from(&record.known_as);
            (recipient.status, recipient.text, recipient.code) = (status.into(), text.into(), 0);
        }
        Ok(waits)
    }
}

/// A forwarded message as one that waits for room with who forwards it. Its number is the same whoever refused it, so that it
/// is there once.
fn waiting(record: &Queued, keeper: AccountId, failed: &QueuedRecipient, whom: &Notice) -> Spool {
    let (mut id, account) = ([0; 8], keeper.0);
    id.copy_from_slice(&record.blob.0[8..]);
    // Who forwarded a stranger's message did so under a sender of its own.
    let (sender, sender_account) = match whom {
        Notice::Nobody => (String::new(), None),
        Notice::Here(account) => (record.sender.clone(), Some(*account)),
        Notice::There(there) => (there.address.clone(), None),
    };
    Spool {
        id: beside(record.id, u64::from_be_bytes(id) ^ account),
        sender,
        recipients: vec![SpoolRecipient {
            address: record.known_as.clone(),
            account: Some(keeper),
            notify: failed.notify,
            original: failed.original.clone(),
            ..SpoolRecipient::default()
        }],
        blob: record.blob,
        size_bytes: record.size_bytes,
        received: record.received,
        submitter: record.submitter,
        attempts: 1,
        junk: record.junk,
        envelope_id: record.envelope_id.clone(),
        sender_account,
    }
}
