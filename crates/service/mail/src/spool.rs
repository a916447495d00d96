//! Messages for several recipients: promised with one commit, then delivered to each, once.

use crate::sign::Signature;
use crate::{Delivery, Incoming, Letter, Mail, MailError, Outgoing, Schedule, queue};
use ringpost_base::UnixTime;
use ringpost_smtp::{MailDsn, Notify, RcptDsn, Return};
use ringpost_store::records::{Queued, QueuedRecipient, Spool, SpoolRecipient};
use ringpost_store::{AccountId, Batch, BlobId, CommitError, Entry, Partition, Record, keys};
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
    /// Whether it is the copy of what is forwarded: a full account goes without, and nobody is told.
    pub is_copy: bool,
}

impl Recipient {
    /// Whose inbox gets it.
    pub fn new(address: impl Into<String>, account: AccountId) -> Self {
        Recipient {
            address: address.into(),
            account,
            folder: None,
            dsn: RcptDsn::default(),
            is_copy: false,
        }
    }
}

/// What a spooled message came to for a recipient.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Delivered,
    /// The account is gone.
    Gone,
    /// It had no room for too long.
    Full,
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
            is_copy,
        } in envelope.recipients
        {
            if is_copy && !self.has_room(account, letter.size_bytes()).await.unwrap_or(true) {
                tracing::warn!(%account, address, "a full account has no copy of what it forwards");
                continue;
            }
            let notify = match is_copy {
                true => dsn.notify.without_failure(),
                false => dsn.notify,
            };
            if !recipients.iter().any(|r| r.account == Some(account)) {
                recipients.push(SpoolRecipient {
                    address,
                    account: Some(account),
                    done: false,
                    folder: folder.unwrap_or_default(),
                    notify: notify.bits(),
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
            junk: record.junk,
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
        let has_copy = |account| record.recipients.iter().any(|r| r.account == Some(account));
        let there = envelope.outgoing.recipients.into_iter();
        let outgoing = Outgoing {
            recipients: there.map(|one| one.beside_copies(has_copy)).collect(),
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

    /// For so long a message waits for room in a full account; said once, before the first is delivered. Five days unless
    /// said otherwise.
    pub fn give_up_after(&self, max_age: Duration) {
        // What was said first stays.
        let _known = self.max_age.set(max_age);
    }

    /// Delivers a spooled message to each recipient that does not have it, and forgets it when all do. An account that is
    /// gone is passed over. One that is full holds up no other: the message waits for it, until it has room or the message
    /// is too old; then its sender is told, and where nobody could be, it is delivered in spite of the quota.
    pub async fn deliver_spooled(&self, spooled: &Spooled, now: UnixTime) -> Result<(), MailError> {
        self.deliver_to_all(spooled, now).await.map(drop)
    }

    /// Says whether anybody has it now who had it not.
    async fn deliver_to_all(&self, spooled: &Spooled, now: UnixTime) -> Result<bool, MailError> {
        let id = spooled.record.id;
        if spooled.record.recipients.is_empty() {
            // All are elsewhere.
            return Ok(false);
        }
        let too_old = self.is_too_old(&spooled.record, now);
        let mut outcome = Ok(());
        let (mut ended, mut waiting) = (Vec::new(), Vec::new());
        for recipient in &spooled.record.recipients {
            let Some(account) = recipient.account else {
                continue;
            };
            // Where nobody would be told of it, what was promised is worth more than the quota.
            let is_told = !spooled.record.sender.is_empty() && Notify::from_bits(recipient.notify).failure();
            let within_quota = is_told || !too_old;
            match self
                .deliver_to_one(spooled, recipient, account, within_quota, now)
                .await
            {
                Ok(()) => ended.push((recipient, End::Delivered)),
                Err(MailError::NoSuchAccount) => {
                    tracing::warn!(%account, spool = format_args!("{id:016x}"), "a recipient was removed before its message came");
                    ended.push((recipient, End::Gone));
                }
                Err(MailError::OverQuota) if too_old => {
                    tracing::warn!(%account, spool = format_args!("{id:016x}"), "a full account has had no room for a message, which is given up");
                    ended.push((recipient, End::Full));
                }
                Err(MailError::OverQuota) => {
                    tracing::info!(%account, spool = format_args!("{id:016x}"), "a message waits for room in a full account");
                    waiting.push(recipient.clone());
                }
                // The others are tried all the same.
                Err(e) => outcome = Err(e),
            }
        }
        outcome?;
        let notices = self.tell_of_spooled(spooled, &ended, now).await?;
        self.forget_spooled(&spooled.record, spooled.due, waiting, notices, now)
            .await?;
        Ok(ended.iter().any(|(_, end)| *end == End::Delivered))
    }

    async fn deliver_to_one(
        &self,
        spooled: &Spooled,
        recipient: &SpoolRecipient,
        account: AccountId,
        within_quota: bool,
        now: UnixTime,
    ) -> Result<(), MailError> {
        let delivery = Delivery {
            within_quota,
            mailbox: self.folder(account, &recipient.folder).await?,
            received: spooled.record.received,
            once: Some(spooled.mark(recipient)),
            junk: spooled.record.junk,
            ..Delivery::new(now)
        };
        self.deliver(account, &spooled.letter, delivery).await.map(drop)
    }

    fn is_too_old(&self, record: &Spool, now: UnixTime) -> bool {
        let max_age = self.max_age.get().copied();
        now >= record.received + max_age.unwrap_or(Schedule::default().max_age)
    }

    /// Whether there is nothing to do for a message but to wait on: all whom it has not reached are as full as they were.
    async fn waits_on(&self, record: &Spool, now: UnixTime) -> Result<bool, MailError> {
        if record.attempts == 0 || self.is_too_old(record, now) {
            return Ok(false);
        }
        for account in record.recipients.iter().filter_map(|r| r.account) {
            match self.has_room(account, record.size_bytes).await {
                Ok(false) => {}
                Ok(true) | Err(MailError::NoSuchAccount) => return Ok(false),
                Err(e) => return Err(e),
            }
        }
        Ok(true)
    }

    /// Tells the sender of deliveries where that was asked for, and of those that could not be: into the inbox here, once, or
    /// by what is given back, to be queued in the commit that forgets the message.
    //= https://www.rfc-editor.org/rfc/rfc3461#section-5.2.3
    async fn tell_of_spooled(
        &self,
        spooled: &Spooled,
        ended: &[(&SpoolRecipient, End)],
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
        let told = |(r, end): &(&SpoolRecipient, End)| {
            let notify = Notify::from_bits(r.notify);
            let (is_told, status, text) = match end {
                End::Delivered => (notify.success(), "2.0.0", "delivered"),
                End::Gone => (notify.failure(), "5.1.1", "the account was removed"),
                End::Full => (notify.failure(), "5.2.2", "the mailbox is full"),
            };
            is_told.then(|| of(r, status, text))
        };
        let recipients: Vec<QueuedRecipient> = ended.iter().filter_map(told).collect();
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
            // Some may be told of now, and those who wait later.
            let once = match record.attempts {
                0 => once,
                attempts => format!("{once} {attempts}"),
            };
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

    /// Delivers what was promised and is due by `due`; says how many messages. To be called at the start, with a `due` far
    /// enough ahead of `now` that nothing is left out, and then every minute or so. One that fails, or that cannot be read, is
    /// tried again then, and holds up no other.
    pub async fn deliver_due(&self, due: UnixTime, now: UnixTime) -> Result<usize, MailError> {
        let mut delivered = 0;
        for queue in 0..Partition::QUEUES {
            let home = Partition::Queue(queue);
            for entry in self.store.scan(&home, keys::spool_due(due)).await? {
                match self.deliver_entry(&home, entry, now).await {
                    Ok(has_it) => delivered += usize::from(has_it),
                    Err(e) => tracing::warn!(queue, error = %e, "a spooled message could not be delivered"),
                }
            }
        }
        Ok(delivered)
    }

    pub(crate) async fn deliver_entry(
        &self,
        home: &Partition,
        entry: Entry,
        now: UnixTime,
    ) -> Result<bool, MailError> {
        let damaged = || MailError::Damaged(format!("{:?} is no spool record", entry.key));
        let (due, _) = keys::due_of(&entry.key).ok_or_else(damaged)?;
        let record = Spool::from_bytes(&entry.key, entry.value)?;
        if self.waits_on(&record, now).await? {
            let waiting = record.recipients.clone();
            self.forget_spooled(&record, due, waiting, Vec::new(), now)
                .await?;
            return Ok(false);
        }
        let letter = self.letter_at(home, record.blob).await?;
        self.deliver_to_all(&Spooled { record, due, letter }, now).await
    }

    /// Reads a message again that was promised, as it was read when it came.
    pub(crate) async fn letter_at(&self, home: &Partition, blob: BlobId) -> Result<Letter, MailError> {
        let mut incoming = Incoming::new(&self.bodies);
        let missing = || MailError::Damaged(format!("the body {blob:?} of a promised message is missing"));
        let mut reader = self
            .bodies
            .get(home, blob, 0..u64::MAX)
            .await?
            .ok_or_else(missing)?;
        while let Some(chunk) = reader.next().await? {
            incoming.write(chunk).await?;
        }
        incoming.finish().await
    }

    /// Forgets a message, but for those who wait for room: they are tried again, ever more seldom. False when somebody else has
    /// done something with it meanwhile.
    pub(crate) async fn forget_spooled(
        &self,
        record: &Spool,
        due: UnixTime,
        waiting: Vec<SpoolRecipient>,
        notices: Vec<(Queued, Letter)>,
        now: UnixTime,
    ) -> Result<bool, MailError> {
        let key = keys::spool(due, record.id);
        let mut batch = Batch::new(Partition::queue_of(record.id));
        batch.exists(key.clone()).delete(key);
        if waiting.is_empty() {
            batch.add(keys::blob_count(record.blob), -1);
            batch.put(keys::sweep(record.blob), Vec::new());
        } else {
            let attempts = record.attempts.saturating_add(1);
            let later = Spool {
                recipients: waiting,
                attempts,
                ..record.clone()
            };
            batch.put(
                keys::spool(now + self.pause_for_room(attempts), record.id),
                later.to_bytes(),
            );
        }
        for (notice, letter) in &notices {
            letter.body.name_in(&mut batch);
            batch.put(keys::queued(now, notice.id), notice.to_bytes());
        }
        let notices: Vec<Queued> = notices.into_iter().map(|(notice, _)| notice).collect();
        match self.store.commit(batch).await {
            Ok(_) => self.queue_up(&notices, now),
            Err(CommitError::Conflict(_)) => return Ok(false),
            Err(e) => return Err(e.into()),
        }
        Ok(true)
    }
}
