//! Messages for several recipients: promised with one commit, then delivered to each, once.

use crate::sign::Signature;
use crate::{Delivery, Incoming, Letter, Mail, MailError, Outgoing, queue};
use ringpost_base::UnixTime;
use ringpost_smtp::{MailDsn, Notify, RcptDsn, Return};
use ringpost_store::records::{Queued, QueuedRecipient, Spool, SpoolRecipient};
use ringpost_store::{AccountId, Batch, CommitError, Entry, Partition, Record, keys};
use std::time::Duration;

/// Where a message comes from and whom it is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Envelope {
    /// Where notices about it go; empty for a notice itself.
    pub sender: String,
    /// Whom it is for; an account that stands here twice gets it once.
    pub recipients: Vec<Recipient>,
    /// The account that submitted it, if one did.
    pub submitter: Option<AccountId>,
    /// Who is on other servers.
    pub outgoing: Outgoing,
    /// Whether it looks like junk.
    pub junk: bool,
    /// What the sender says about notices.
    pub dsn: MailDsn,
    /// The account that gets notices of deliveries here; `None` where the sender is on another server.
    pub sender_account: Option<AccountId>,
}

/// One of an envelope's recipients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// The address, as it was given.
    pub address: String,
    /// The account it leads to.
    pub account: AccountId,
    /// A mailbox that takes it, if the account has one of this name; the inbox otherwise.
    pub folder: Option<String>,
    /// When the sender is told.
    pub dsn: RcptDsn,
}

impl Recipient {
    /// Whose inbox gets it.
    pub fn new(address: impl Into<String>, account: AccountId) -> Self {
        Recipient {
            address: address.into(),
            account,
            folder: None,
            dsn: RcptDsn::default(),
        }
    }
}

/// A message that was promised to its recipients, and that not all of them have yet.
#[derive(Clone, Debug)]
pub struct Spooled {
    pub(crate) record: Spool,
    due: UnixTime,
    letter: Letter,
}

impl Spooled {
    /// What marks that a recipient has it.
    fn mark(&self, recipient: &SpoolRecipient) -> (u64, String) {
        (self.record.id, recipient.address.clone())
    }
}

/// How long a spooled message is left to whoever spooled it, before [`Mail::deliver_due`] takes it for forgotten.
const GRACE: Duration = Duration::from_secs(60);

impl Mail {
    /// Promises a message to all its recipients, here and elsewhere: when this is done, it is on stable storage. Go on with
    /// [`deliver_spooled`](Mail::deliver_spooled); what a crash interrupts, [`deliver_due`](Mail::deliver_due) finishes.
    pub async fn spool(
        &self,
        envelope: Envelope,
        letter: Letter,
        now: UnixTime,
    ) -> Result<Spooled, MailError> {
        // What is passed on for others is theirs to sign.
        let leaves = envelope.submitter.is_some() && !envelope.outgoing.recipients.is_empty();
        let signature = match leaves {
            true => self.signature(&letter, envelope.outgoing.skip_bytes, now).await?,
            false => Signature::default(),
        };
        let id = self.draw(|rng| rng.u64());
        let mut recipients: Vec<SpoolRecipient> = Vec::new();
        for Recipient {
            address,
            account,
            folder,
            dsn,
        } in envelope.recipients
        {
            if !recipients.iter().any(|r| r.account == Some(account)) {
                recipients.push(SpoolRecipient {
                    address,
                    account: Some(account),
                    done: false,
                    folder: folder.unwrap_or_default(),
                    notify: dsn.notify.bits(),
                    original: dsn.original,
                });
            }
        }
        let record = Spool {
            id,
            sender: envelope.sender,
            recipients,
            blob: letter.body.id,
            size_bytes: letter.size_bytes(),
            received: now,
            submitter: envelope.submitter,
            attempts: 0,
            junk: envelope.junk,
            envelope_id: envelope.dsn.envelope_id.clone(),
            sender_account: envelope.sender_account,
        };
        let base = Queued {
            id,
            sender: record.sender.clone(),
            blob: record.blob,
            size_bytes: record.size_bytes,
            received: now,
            submitter: record.submitter,
            envelope_id: envelope.dsn.envelope_id,
            returns: match envelope.dsn.ret {
                None => 0,
                Some(Return::Full) => queue::FULL,
                Some(Return::Headers) => queue::HEADERS,
            },
            eight_bit: letter.eight_bit,
            long_lines: letter.long_lines,
            seven_bit: signature.seven_bit,
            head: signature.head,
            ..Queued::default()
        };
        let outgoing = Outgoing {
            // Whoever says SMTPUTF8 may send ASCII all the same, which every server takes.
            //= https://www.rfc-editor.org/rfc/rfc6531#section-3.2
            utf8: envelope.outgoing.utf8 && letter.eight_bit,
            ..envelope.outgoing
        };
        let queued = queue::records_of(&outgoing, &base, || self.draw(|rng| rng.u64()));
        let due = now + GRACE;
        let mut batch = Batch::new(Partition::queue_of(id));
        let mut names = queued.len();
        if !record.recipients.is_empty() {
            batch.put(keys::spool(due, id), record.to_bytes());
            names += 1;
        }
        for one in &queued {
            batch.put(keys::queued(now, one.id), one.to_bytes());
        }
        if names == 0 {
            return Ok(Spooled { record, due, letter });
        }
        letter.body.name_in(&mut batch);
        if names > 1 {
            let more = i64::try_from(names - 1).unwrap_or(i64::MAX);
            batch.add(keys::blob_count(record.blob), more);
        }
        self.store.commit_durable(batch).await?;
        self.queue_up(&queued, now);
        Ok(Spooled { record, due, letter })
    }

    /// Delivers a spooled message to each recipient that does not have it, and forgets it when all do. An account that is
    /// gone is passed over; a quota holds nobody up, since the message was promised.
    pub async fn deliver_spooled(&self, spooled: &Spooled, now: UnixTime) -> Result<(), MailError> {
        let id = spooled.record.id;
        if spooled.record.recipients.is_empty() {
            // All are elsewhere.
            return Ok(());
        }
        let mut outcome = Ok(());
        let mut gone = Vec::new();
        for recipient in &spooled.record.recipients {
            let Some(account) = recipient.account else {
                continue;
            };
            let mailbox = match self.folder(account, &recipient.folder).await {
                Ok(mailbox) => mailbox,
                Err(e) => {
                    outcome = Err(e);
                    continue;
                }
            };
            let delivery = Delivery {
                mailbox,
                received: spooled.record.received,
                within_quota: false,
                once: Some(spooled.mark(recipient)),
                junk: spooled.record.junk,
                ..Delivery::new(now)
            };
            match self.deliver(account, &spooled.letter, delivery).await {
                Ok(_) => {}
                Err(MailError::NoSuchAccount) => {
                    tracing::warn!(%account, spool = id, "a recipient was removed before its message came");
                    gone.push(recipient);
                }
                // The others are tried all the same.
                Err(e) => outcome = Err(e),
            }
        }
        outcome?;
        let notices = self.tell_of_spooled(spooled, &gone, now).await?;
        self.forget_spooled(&spooled.record, spooled.due, notices, now)
            .await
    }

    /// Tells the sender of deliveries where that was asked for, and of those that could not be: into the inbox here, once, or
    /// by what is given back, to be queued in the commit that forgets the message.
    //= https://www.rfc-editor.org/rfc/rfc3461#section-5.2.3
    async fn tell_of_spooled(
        &self,
        spooled: &Spooled,
        gone: &[&SpoolRecipient],
        now: UnixTime,
    ) -> Result<Vec<(Queued, Letter)>, MailError> {
        let record = &spooled.record;
        let mut notices = Vec::new();
        if record.sender.is_empty() {
            return Ok(notices);
        }
        let of = |r: &SpoolRecipient, status: &str, text: &str| QueuedRecipient {
            address: r.address.clone(),
            status: status.into(),
            text: text.into(),
            notify: r.notify,
            original: r.original.clone(),
            failed: status.starts_with('5'),
            ..QueuedRecipient::default()
        };
        let is_gone = |r: &SpoolRecipient| gone.contains(&r);
        let all = record.recipients.iter();
        let recipients: Vec<QueuedRecipient> = all
            .filter_map(|r| match (is_gone(r), Notify::from_bits(r.notify)) {
                (true, notify) if notify.failure() => Some(of(r, "5.1.1", "the account was removed")),
                (false, notify) if notify.success() => Some(of(r, "2.0.0", "delivered")),
                _ => None,
            })
            .collect();
        if recipients.is_empty() {
            return Ok(notices);
        }
        let about = Queued {
            id: record.id,
            sender: record.sender.clone(),
            blob: record.blob,
            size_bytes: record.size_bytes,
            received: record.received,
            envelope_id: record.envelope_id.clone(),
            utf8: !record.sender.is_ascii() || recipients.iter().any(|r| !r.address.is_ascii()),
            recipients,
            ..Queued::default()
        };
        for letter in self.reports_of_spooled(&about, now).await? {
            let (once, letter) = letter;
            match record.sender_account {
                Some(account) => self.tell_here(account, record.id, once, &letter, now).await?,
                None => {
                    if let Some(there) = queue::destination_of(&record.sender) {
                        let notice = self.notice_for(&about, &there, &letter, now).await?;
                        notices.push((notice, letter));
                    }
                }
            }
        }
        Ok(notices)
    }

    /// Delivers what was promised and is due at `now`; says how many messages. To be called at the start, with a `now` a few
    /// minutes ahead so that nothing is left out, and then every minute or so. One that fails, or that cannot be read, is
    /// tried again then, and holds up no other.
    pub async fn deliver_due(&self, now: UnixTime) -> Result<usize, MailError> {
        let mut delivered = 0;
        for queue in 0..Partition::QUEUES {
            let home = Partition::Queue(queue);
            for entry in self.store.scan(&home, keys::spool_due(now)).await? {
                match self.deliver_entry(&home, entry, now).await {
                    Ok(()) => delivered += 1,
                    Err(e) => tracing::warn!(queue, error = %e, "a spooled message could not be delivered"),
                }
            }
        }
        Ok(delivered)
    }

    async fn deliver_entry(&self, home: &Partition, entry: Entry, now: UnixTime) -> Result<(), MailError> {
        let damaged = || MailError::Damaged(format!("{:?} is no spool record", entry.key));
        let (due, _) = keys::due_of(&entry.key).ok_or_else(damaged)?;
        let record = Spool::from_bytes(&entry.key, entry.value)?;
        let letter = self.letter_of(home, &record).await?;
        self.deliver_spooled(&Spooled { record, due, letter }, now).await
    }

    /// Reads a spooled message again, as it was read when it came.
    async fn letter_of(&self, home: &Partition, record: &Spool) -> Result<Letter, MailError> {
        let mut incoming = Incoming::new(&self.bodies);
        let missing = || MailError::Damaged(format!("the body of spooled message {} is missing", record.id));
        let mut reader = self
            .bodies
            .get(home, record.blob, 0..u64::MAX)
            .await?
            .ok_or_else(missing)?;
        while let Some(chunk) = reader.next().await? {
            incoming.write(chunk).await?;
        }
        incoming.finish().await
    }

    async fn forget_spooled(
        &self,
        record: &Spool,
        due: UnixTime,
        notices: Vec<(Queued, Letter)>,
        now: UnixTime,
    ) -> Result<(), MailError> {
        let key = keys::spool(due, record.id);
        let mut batch = Batch::new(Partition::queue_of(record.id));
        batch
            .exists(key.clone())
            .delete(key)
            .add(keys::blob_count(record.blob), -1);
        batch.put(keys::sweep(record.blob), Vec::new());
        for (notice, letter) in &notices {
            letter.body.name_in(&mut batch);
            batch.put(keys::queued(now, notice.id), notice.to_bytes());
        }
        let notices: Vec<Queued> = notices.into_iter().map(|(notice, _)| notice).collect();
        match self.store.commit(batch).await {
            Ok(_) => self.queue_up(&notices, now),
            // Or somebody else has finished it meanwhile.
            Err(CommitError::Conflict(_)) => {}
            Err(e) => return Err(e.into()),
        }
        Ok(())
    }
}
