//! The queue: messages for other servers, promised with the commit that took them, tried until they are delivered, refused
//! or too old, and told of to their sender.
//!
//! A message for several servers is one record for each, so that they neither wait for each other nor repeat each other's
//! recipients. Whoever works on one holds its lease: in the store, by the time until which it is not due, and by the
//! number of the process, since what another process of this data folder held ended with it. What waits is known in
//! memory besides, by destination.

mod body;
mod entries;
mod forwarded;
mod hold;
mod index;
mod policies;
mod report;

pub use entries::QueueEntry;
pub use forwarded::Keeper;
pub use hold::{Held, Hold};
pub use index::Work;

use crate::{Delivery, Letter, Mail, MailError};
use async_channel::{Receiver, Sender};
use index::Index;
use report::{Kind, Report};
use ringpost_base::{UnixTime, limits};
use ringpost_smtp::client::{Fate, Verdict};
use ringpost_smtp::{MailDsn, Mailbox, Notify, RcptDsn, Return};
use ringpost_store::records::{Queued, QueuedRecipient, Spool};
use ringpost_store::{AccountId, Batch, Partition, Record, keys};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The part of an envelope that is for other servers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outgoing {
    /// Who is elsewhere, and where: a domain in lower case, or an address in brackets.
    pub recipients: Vec<Elsewhere>,
    /// The message was declared to need SMTPUTF8.
    pub utf8: bool,
    /// So many bytes at the body's beginning stay here: the Return-Path.
    pub skip_bytes: u64,
}

/// A recipient on another server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elsewhere {
    /// The address.
    pub address: String,
    /// What the server is found by.
    pub destination: String,
    /// The sender that the message has on its way there, where that is not the envelope's.
    pub sender: Option<String>,
    /// Fields that stand before its copy, each with its line end.
    pub prefix: String,
    /// When the sender is told.
    pub dsn: RcptDsn,
    /// Who forwards there, if somebody does of himself.
    pub keeper: Option<Keeper>,
}

impl Elsewhere {
    /// Under the envelope's sender, as it is.
    pub fn new(address: impl Into<String>, destination: impl Into<String>) -> Self {
        Elsewhere {
            address: address.into(),
            destination: destination.into(),
            sender: None,
            prefix: String::new(),
            dsn: RcptDsn::default(),
            keeper: None,
        }
    }
}

/// Who is told of a message that did not arrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Nobody: a null sender, or one that is gone.
    Nobody,
    /// Whoever owns this account, in the inbox.
    Here(AccountId),
    /// Somebody on another server.
    There(Elsewhere),
}

/// For how long messages are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// After it a message is given up.
    pub max_age: Duration,
    /// After it the sender is told that it takes long.
    pub delay_notice: Duration,
}

impl Default for Schedule {
    //= https://www.rfc-editor.org/rfc/rfc5321#section-4.5.4.1
    fn default() -> Self {
        Schedule {
            max_age: Duration::from_secs(5 * 86_400),
            delay_notice: Duration::from_secs(4 * 3_600),
        }
    }
}

/// Minutes from one attempt to the next; the last holds from then on. Two within the first half hour, since what lists
/// strangers greylisted lets them in by then; seldom later.
//= https://www.rfc-editor.org/rfc/rfc5321#section-4.5.4.1
const PAUSES_MIN: [u64; 6] = [2, 5, 15, 30, 60, 120];

/// For how long nobody else touches what somebody is at work on. Far above what one message takes.
const LEASE: Duration = Duration::from_secs(4 * 3_600);

/// A message that somebody is at work on, for one destination.
#[derive(Clone, Debug)]
pub struct QueuedMessage {
    record: Queued,
    /// What it is filed under.
    due: UnixTime,
    /// When it is tried again, once everything was told.
    retry_at: UnixTime,
    delayed: bool,
    gone: bool,
    /// Whether the server that it is handed to tells the sender of success itself.
    knows_dsn: bool,
}

impl QueuedMessage {
    /// Says before [`Mail::conclude`] whether the server that took it knows DSN.
    pub fn handed_to(&mut self, knows_dsn: bool) {
        self.knows_dsn = knows_dsn;
    }

    /// What its sender says about notices, for the next server.
    pub fn dsn(&self) -> MailDsn {
        MailDsn {
            ret: match self.record.returns {
                FULL => Some(Return::Full),
                HEADERS => Some(Return::Headers),
                _ => None,
            },
            envelope_id: self.record.envelope_id.clone(),
        }
    }

    /// The same for those whom it may still reach, in their order.
    pub fn waiting_dsn(&self) -> Vec<RcptDsn> {
        let of = |r: &QueuedRecipient| RcptDsn {
            notify: Notify::from_bits(r.notify),
            original: r.original.clone(),
        };
        self.waiting().map(of).collect()
    }

    /// What is known of it.
    pub fn record(&self) -> &Queued {
        &self.record
    }

    /// Those whom it may still reach.
    pub fn waiting(&self) -> impl Iterator<Item = &QueuedRecipient> {
        self.record.recipients.iter().filter(|r| is_waiting(r))
    }

    /// What is sent, in bytes.
    pub fn size_bytes(&self) -> u64 {
        let body_bytes = self.record.size_bytes - self.record.skip_bytes.min(self.record.size_bytes);
        body_bytes + (self.record.prefix.len() + self.record.head.len()) as u64
    }

    /// Whether the sender is to be told something: go on with [`Mail::tell_sender`].
    pub fn owes_notice(&self) -> bool {
        self.delayed || self.record.recipients.iter().any(|r| !is_waiting(r))
    }
}

/// What a process knows of the queue.
#[derive(Debug)]
pub(crate) struct Queue {
    index: Mutex<Index>,
    /// Whether the index says everything.
    loaded: std::sync::atomic::AtomicBool,
    process: u64,
    changed: (Sender<()>, Receiver<()>),
}

impl Queue {
    pub(crate) fn new(process: u64) -> Self {
        Queue {
            index: Mutex::default(),
            loaded: false.into(),
            // 0 is nobody.
            process: process.max(1),
            changed: async_channel::bounded(1),
        }
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self) {
        // One that is told already looks at everything.
        let _told = self.changed.0.try_send(());
    }

    fn is_loaded(&self) -> bool {
        self.loaded.load(std::sync::atomic::Ordering::Acquire)
    }
}

/// The records of a message for other servers, in the partition of `id`: one for each destination.
pub(crate) fn records_of(outgoing: &Outgoing, base: &Queued, mut draw: impl FnMut() -> u64) -> Vec<Queued> {
    let mut records: Vec<Queued> = Vec::new();
    for one in &outgoing.recipients {
        let sender = one.sender.as_ref().unwrap_or(&base.sender);
        let keeper = one.keeper.as_ref().map(|keeper| keeper.account);
        let same = |r: &Queued| {
            r.destination == one.destination
                && r.sender == *sender
                && r.prefix == one.prefix
                && r.keeper == keeper
        };
        let at = match records.iter().position(same) {
            Some(at) => at,
            None => {
                records.push(Queued {
                    id: beside(base.id, draw()),
                    sender: sender.clone(),
                    destination: one.destination.clone(),
                    prefix: one.prefix.clone(),
                    keeper,
                    known_as: one.keeper.as_ref().map(|k| k.address.clone()).unwrap_or_default(),
                    utf8: outgoing.utf8,
                    skip_bytes: outgoing.skip_bytes,
                    ..base.clone()
                });
                records.len() - 1
            }
        };
        if records[at].recipients.iter().all(|r| r.address != one.address) {
            records[at].recipients.push(QueuedRecipient {
                address: one.address.clone(),
                notify: one.dsn.notify.bits(),
                original: one.dsn.original.clone(),
                ..QueuedRecipient::default()
            });
        }
    }
    records
}

/// A drawn number for a record in the partition of `id`: one batch is one partition.
fn beside(id: u64, drawn: u64) -> u64 {
    let queues = u64::from(Partition::QUEUES);
    drawn - drawn % queues + id % queues
}

impl Mail {
    /// Reads what waits for other servers, once at the start, before [`next_work`](Mail::next_work). With `single_line`
    /// there is one destination for all: a smart host. What another process was at work on is due now.
    pub async fn load_queue(&self, single_line: bool, now: UnixTime) -> Result<(), MailError> {
        let holds = self.queue_holds().await?;
        {
            let mut index = self.queue.index();
            (index.single, index.holds) = (single_line, holds);
        }
        for n in 0..Partition::QUEUES {
            let home = Partition::Queue(n);
            for entry in self.store.scan(&home, keys::all_queued()).await? {
                let Some((mut due, id)) = keys::due_of(&entry.key) else {
                    continue;
                };
                let mut record = match Queued::from_bytes(&entry.key, entry.value) {
                    Ok(record) => record,
                    Err(e) => {
                        tracing::error!(error = %e, "a queued message cannot be read");
                        continue;
                    }
                };
                if record.lease != 0 && record.lease != self.queue.process {
                    record.lease = 0;
                    let mut batch = Batch::new(home.clone());
                    batch
                        .unchanged(entry.key.clone(), entry.version)
                        .delete(entry.key);
                    batch.put(keys::queued(now, id), record.to_bytes());
                    self.store.commit(batch).await?;
                    due = now;
                }
                let mut index = self.queue.index();
                if index.due_of(id).is_none() {
                    index.file(&record, due);
                }
            }
        }
        self.queue
            .loaded
            .store(true, std::sync::atomic::Ordering::Release);
        self.queue.tell();
        Ok(())
    }

    /// Completes when something was queued, or is to be tried earlier. Dropping the future loses nothing.
    pub async fn queue_changed(&self) {
        // It is never closed.
        let _told = self.queue.changed.1.recv().await;
    }

    /// How many messages wait for other servers, by destination.
    pub fn queue_len(&self) -> usize {
        self.queue.index().len()
    }

    /// What may be worked off at `now` over one more connection, with at most `per_destination` to one destination.
    pub fn next_work(&self, now: UnixTime, per_destination: usize) -> Option<Work> {
        self.queue.index().next(now, per_destination)
    }

    /// What else of the same line is due.
    pub fn more_work(&self, line: &str, now: UnixTime) -> Vec<u64> {
        self.queue.index().more(line, now)
    }

    /// When there is work next.
    pub fn next_work_at(&self, per_destination: usize) -> Option<UnixTime> {
        self.queue.index().next_due(per_destination)
    }

    /// Gives back messages of some work that nobody has begun with.
    pub fn give_back(&self, ids: &[u64]) {
        let mut index = self.queue.index();
        ids.iter().for_each(|id| index.untake(*id));
    }

    /// Ends some work; `reached` says whether the destination could be spoken to. One that could not rests for a while.
    pub fn finish_work(&self, line: &str, reached: bool, now: UnixTime) {
        self.queue.index().finish(line, reached, now);
    }

    /// Begins with a message of some work. `None` when it is gone, or held back by now.
    pub async fn lease(&self, id: u64, now: UnixTime) -> Result<Option<QueuedMessage>, MailError> {
        let home = Partition::queue_of(id);
        let due = {
            let mut index = self.queue.index();
            if index.is_held(id) {
                index.untake(id);
                return Ok(None);
            }
            index.due_of(id)
        };
        let Some(due) = due else {
            return Ok(None);
        };
        let key = keys::queued(due, id);
        let Some(stored) = self.store.record::<Queued>(&home, key.clone()).await? else {
            self.queue.index().remove(id);
            return Ok(None);
        };
        let record = Queued {
            lease: self.queue.process,
            ..stored.record
        };
        let until = now + LEASE;
        let mut batch = Batch::new(home);
        batch.unchanged(key.clone(), stored.version).delete(key);
        batch.put(keys::queued(until, id), record.to_bytes());
        self.store.commit(batch).await?;
        Ok(Some(QueuedMessage {
            retry_at: until,
            due: until,
            record,
            delayed: false,
            gone: false,
            knows_dsn: false,
        }))
    }

    /// Writes down what became of those whom the message could still reach, in their order. When this is done it is on
    /// stable storage: who has it will not get it again.
    pub async fn conclude(
        &self,
        message: &mut QueuedMessage,
        verdicts: &[Verdict],
        schedule: &Schedule,
        now: UnixTime,
    ) -> Result<(), MailError> {
        let record = &mut message.record;
        record.attempts = record.attempts.saturating_add(1);
        record.attempted = now;
        let knows_dsn = message.knows_dsn;
        let too_old = now >= record.received + schedule.max_age;
        let mut verdicts = verdicts.iter();
        record.recipients.retain_mut(|recipient| {
            if !is_waiting(recipient) {
                return true;
            }
            let Some(verdict) = verdicts.next() else {
                return true;
            };
            note(recipient, verdict);
            recipient.failed = verdict.fate == Fate::Failed;
            if verdict.fate == Fate::Deferred && too_old {
                give_up(recipient, verdict, schedule);
            }
            //= https://www.rfc-editor.org/rfc/rfc3461#section-5.2.2
            recipient.relayed = verdict.fate == Fate::Delivered
                && !knows_dsn
                && Notify::from_bits(recipient.notify).success();
            verdict.fate != Fate::Delivered || recipient.relayed
        });
        let is_told = |r: &QueuedRecipient| is_waiting(r) && Notify::from_bits(r.notify).delay();
        let waits = record.recipients.iter().any(is_told);
        let is_late = now >= record.received + schedule.delay_notice;
        message.delayed = waits && is_late && !record.delay_told && !record.sender.is_empty();
        let age = now.since(message.record.received);
        message.retry_at = now + self.pause(message.record.attempts, age);
        // What is to be told is told at once, and after a crash too.
        let due = if message.owes_notice() {
            now
        } else {
            message.retry_at
        };
        self.file(message, due).await
    }

    /// How long until the next attempt, spread a little so that what came together does not stay together. Attempts that
    /// somebody asked for do not put off the next: a message of this age has had so many by itself at most.
    pub(crate) fn pause(&self, attempts: u32, age: Duration) -> Duration {
        let at = usize::try_from(attempts.saturating_sub(1)).unwrap_or(usize::MAX);
        let mut passed_min = 0;
        let by_age = PAUSES_MIN.iter().take_while(|minutes| {
            passed_min += **minutes;
            age >= Duration::from_secs(60 * passed_min)
        });
        let minutes = PAUSES_MIN[at.min(by_age.count()).min(PAUSES_MIN.len() - 1)];
        let pause = Duration::from_secs(60 * minutes);
        self.draw(|rng| rng.duration(pause, pause + pause / 8))
    }

    /// Tells the sender what it is owed, once: into the inbox, or by the queue in the same commit that forgets it. Then what
    /// failed is forgotten.
    //= https://www.rfc-editor.org/rfc/rfc5321#section-4.5.5
    pub async fn tell_sender(
        &self,
        message: &mut QueuedMessage,
        whom: Notice,
        hostname: &str,
        schedule: &Schedule,
        now: UnixTime,
    ) -> Result<(), MailError> {
        let for_room = self.keep_forwarded(message, &whom, now).await?;
        let mut notices = Vec::new();
        for kind in [Kind::Failed, Kind::Delayed, Kind::Relayed] {
            let told = |r: &QueuedRecipient| kind.is_for(r);
            let is_due =
                (kind != Kind::Delayed || message.delayed) && message.record.recipients.iter().any(told);
            if !is_due || whom == Notice::Nobody || message.record.sender.is_empty() {
                continue;
            }
            let told = match &whom {
                Notice::There(there) => &there.address,
                Notice::Here(_) | Notice::Nobody => &message.record.sender,
            };
            let until = message.record.received + schedule.max_age;
            let letter = self
                .report(kind, &message.record, told, hostname, until, now)
                .await?;
            let letter = self.letter(letter.into()).await?;
            let once = match kind {
                Kind::Failed => format!("failed {}", message.record.attempts),
                Kind::Delayed => "delayed".to_owned(),
                Kind::Relayed | Kind::Delivered => format!("relayed {}", message.record.attempts),
            };
            match &whom {
                Notice::Here(account) => {
                    self.tell_here(*account, message.record.id, once, &letter, now)
                        .await?;
                }
                Notice::There(there) => {
                    let notice = self.notice_for(&message.record, there, &letter, now).await?;
                    notices.push((notice, letter));
                }
                Notice::Nobody => {}
            }
        }
        message.record.delay_told |= message.delayed;
        message.delayed = false;
        message.record.recipients.retain(is_waiting);
        let due = message.retry_at;
        self.file_with(message, due, notices, for_room, now).await
    }

    pub(crate) async fn tell_here(
        &self,
        account: AccountId,
        id: u64,
        once: String,
        letter: &Letter,
        now: UnixTime,
    ) -> Result<(), MailError> {
        let delivery = Delivery {
            within_quota: false,
            once: Some((id, once)),
            ..Delivery::new(now)
        };
        match self.deliver(account, letter, delivery).await {
            Err(MailError::NoSuchAccount) => {
                tracing::warn!(%account, queued = format_args!("{id:016x}"), "the sender of a notice was removed");
                Ok(())
            }
            done => done.map(drop),
        }
    }

    /// The queue's record of a notice that goes to another server, under the null sender, signed as what our people submit is.
    pub(crate) async fn notice_for(
        &self,
        about: &Queued,
        there: &Elsewhere,
        letter: &Letter,
        now: UnixTime,
    ) -> Result<Queued, MailError> {
        let skip_bytes = report::RETURN_PATH.len() as u64;
        let signature = self.signature(letter, skip_bytes, now).await?;
        Ok(Queued {
            head: signature.head,
            seven_bit: signature.seven_bit,
            id: beside(about.id, self.draw(|rng| rng.u64())),
            recipients: vec![QueuedRecipient {
                address: there.address.clone(),
                ..QueuedRecipient::default()
            }],
            destination: there.destination.clone(),
            blob: letter.body.id,
            size_bytes: letter.size_bytes(),
            skip_bytes,
            received: now,
            eight_bit: letter.eight_bit,
            long_lines: letter.long_lines,
            utf8: about.utf8,
            ..Queued::default()
        })
    }

    /// The reports of deliveries here, and of those that could not be, each with the mark by which it is told once.
    pub(crate) async fn reports_of_spooled(
        &self,
        about: &Queued,
        now: UnixTime,
    ) -> Result<Vec<(String, Letter)>, MailError> {
        let mut letters = Vec::new();
        for (kind, once) in [(Kind::Failed, "failed"), (Kind::Delivered, "delivered")] {
            if about.recipients.iter().any(|r| kind.is_for(r)) {
                let report = self
                    .report(kind, about, &about.sender, self.hostname(), now, now)
                    .await?;
                letters.push((once.to_owned(), self.letter(report.into()).await?));
            }
        }
        Ok(letters)
    }

    async fn report(
        &self,
        kind: Kind,
        record: &Queued,
        told: &str,
        hostname: &str,
        until: UnixTime,
        now: UnixTime,
    ) -> Result<Vec<u8>, MailError> {
        //= https://www.rfc-editor.org/rfc/rfc3461#section-4.3
        let is_whole = kind == Kind::Failed
            && record.returns == FULL
            && record.size_bytes <= limits::REPORT_MESSAGE_BYTES;
        let length = if is_whole {
            limits::REPORT_MESSAGE_BYTES
        } else {
            limits::REPORT_HEADER_BYTES
        };
        let range = record.skip_bytes..record.skip_bytes + length;
        let home = Partition::queue_of(record.id);
        // A message whose body is damaged is told of without its header.
        let start = self.bodies.get_bytes(&home, record.blob, range).await;
        let start = start.unwrap_or_default();
        let end = start
            .windows(4)
            .position(|w| w == b"\r\n\r\n")
            .filter(|_| !is_whole);
        let returned = &start[..end.map_or(start.len(), |at| at + 2)];
        let token = self.draw(|rng| rng.token(24));
        let report = Report {
            kind,
            hostname,
            about: record,
            told,
            recipients: record.recipients.iter().filter(|r| kind.is_for(r)).collect(),
            returned,
            is_whole,
            now,
            until,
            token: &token,
        };
        Ok(report.build())
    }

    /// Files a message under another time, or forgets it when nobody waits for it. The lease stays as it is until it is
    /// [released](Mail::release).
    async fn file(&self, message: &mut QueuedMessage, due: UnixTime) -> Result<(), MailError> {
        self.file_with(message, due, Vec::new(), None, due).await
    }

    /// The same, with notices of it that wait from `now` on, and with what waits for room in its stead.
    async fn file_with(
        &self,
        message: &mut QueuedMessage,
        due: UnixTime,
        notices: Vec<(Queued, Letter)>,
        for_room: Option<Spool>,
        now: UnixTime,
    ) -> Result<(), MailError> {
        let id = message.record.id;
        let old = keys::queued(message.due, id);
        // Another who refused it may have had it put there.
        let for_room = match for_room {
            Some(spool) if self.one_that_waits_for_room(spool.id).await?.is_none() => Some(spool),
            _ => None,
        };
        let mut batch = Batch::new(Partition::queue_of(id));
        batch.exists(old.clone()).delete(old);
        let blob = message.record.blob;
        match (message.record.recipients.is_empty(), &for_room) {
            (true, None) => {
                batch.add(keys::blob_count(blob), -1);
                batch.put(keys::sweep(blob), Vec::new());
            }
            // One name of the body for another.
            (true, Some(_)) => {}
            (false, for_room) => {
                message.record.lease = 0;
                batch.put(keys::queued(due, id), message.record.to_bytes());
                if for_room.is_some() {
                    batch.add(keys::blob_count(blob), 1);
                }
            }
        }
        if let Some(spool) = &for_room {
            let first_look = now + self.pause_for_room(spool.attempts);
            batch.put(keys::spool(first_look, spool.id), spool.to_bytes());
        }
        for (notice, letter) in &notices {
            letter.body.name_in(&mut batch);
            batch.put(keys::queued(now, notice.id), notice.to_bytes());
        }
        self.store.commit_durable(batch).await?;
        let notices: Vec<Queued> = notices.into_iter().map(|(notice, _)| notice).collect();
        self.queue_up(&notices, now);
        message.due = due;
        message.gone = message.record.recipients.is_empty();
        Ok(())
    }

    /// Ends the work on a message: it waits until it is due again.
    pub fn release(&self, message: QueuedMessage) {
        let mut index = self.queue.index();
        match message.gone {
            true => index.remove(message.record.id),
            false => index.file(&message.record, message.due),
        }
    }

    /// What was promised together with a spooled message, and is on stable storage now.
    pub(crate) fn queue_up(&self, records: &[Queued], due: UnixTime) {
        let mut index = self.queue.index();
        for record in records {
            index.file(record, due);
        }
        drop(index);
        if !records.is_empty() {
            self.queue.tell();
        }
    }
}

/// Whether a message may still reach somebody.
fn is_waiting(recipient: &QueuedRecipient) -> bool {
    !recipient.failed && !recipient.relayed
}

/// RET, as it is kept.
pub(crate) const FULL: u16 = 1;
pub(crate) const HEADERS: u16 = 2;

/// Where an address on another server is reached.
pub(crate) fn destination_of(address: &str) -> Option<Elsewhere> {
    let destination = Mailbox::parse(address).ok()?.domain.to_string();
    Some(Elsewhere::new(address, destination))
}

fn note(recipient: &mut QueuedRecipient, verdict: &Verdict) {
    recipient.status = verdict.status.clone();
    recipient.code = verdict.code.unwrap_or(0);
    recipient.text = verdict.text.clone();
}

//= https://www.rfc-editor.org/rfc/rfc3463#section-3.5
fn give_up(recipient: &mut QueuedRecipient, last: &Verdict, schedule: &Schedule) {
    recipient.failed = true;
    recipient.status = "4.4.7".to_owned();
    recipient.code = 0;
    let hours = schedule.max_age.as_secs() / 3_600;
    recipient.text = format!("given up after {hours} hours; the last attempt: {last}");
}
