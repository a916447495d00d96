//! `import` and `export`: an account's mailboxes from elsewhere, or to elsewhere, while the server runs or without one.
//!
//! The process that runs the command reads what is elsewhere and hands messages to whoever has the data folder, in parcels.
//! What is there already is found by what messages say of themselves, so that a second run brings nothing twice and an
//! interrupted one goes on.

mod export;
mod folder;
mod imap;
mod maildir;
mod mbox;
mod message;
#[cfg(test)]
mod tests;

pub(crate) use export::export;
pub(crate) use imap::{Login, Source, Tls, import_imap};
pub(crate) use maildir::import_maildir;
pub(crate) use mbox::import_mbox;
pub(crate) use message::Message;

use anyhow::{Result, bail};
use bytes::Bytes;
use message::Fingerprint;
use ringpost_admin::{
    Answer, BroughtMessage, Command, Control, Mailbox, PARCEL_MESSAGES, Parcel, Pieces, Refusal, RefusalKind,
    StoredMessage,
};
use ringpost_base::limits;
use std::collections::HashMap;
use std::fmt::Display;

/// Bytes of a parcel's messages together, unless there is but one.
const PARCEL_BYTES: usize = 1024 * 1024;

/// What was done, to be told at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    /// Messages that were brought.
    pub(crate) messages: u64,
    /// Mailboxes that were gone through.
    pub(crate) mailboxes: u64,
    /// Messages that were there already.
    pub(crate) already_there: u64,
    /// What could not be brought; each was told by its name.
    pub(crate) errors: u64,
}

/// Messages on their way into an account.
pub(crate) struct Import<'a> {
    control: &'a dyn Control,
    address: &'a str,
    open: Option<Open>,
    report: Report,
}

/// The mailbox that messages are brought into.
struct Open {
    name: String,
    /// How many messages were there before that say this of themselves and have not been met elsewhere yet.
    there: HashMap<Fingerprint, u32>,
    waiting: Vec<Message>,
    waiting_bytes: usize,
}

/// The messages of a mailbox, as many at once as an answer holds.
struct Pages<'a> {
    control: &'a dyn Control,
    address: &'a str,
    mailbox: &'a str,
    after_uid: u32,
}

impl<'a> Pages<'a> {
    fn of(control: &'a dyn Control, address: &'a str, mailbox: &'a str) -> Self {
        Pages {
            control,
            address,
            mailbox,
            after_uid: 0,
        }
    }

    /// The next ones, at least one; `None` behind the last.
    async fn next(&mut self) -> Result<Option<Vec<StoredMessage>>> {
        let list = Command::MessageList {
            address: self.address.to_owned(),
            mailbox: self.mailbox.to_owned(),
            after_uid: self.after_uid,
        };
        let messages = match self.control.handle(list).await? {
            Answer::Messages(messages) => messages,
            other => bail!("expected messages, found {other:?}"),
        };
        let last = messages.last().map(|last| last.uid);
        self.after_uid = last.unwrap_or(self.after_uid);
        Ok(last.map(|_| messages))
    }
}

impl<'a> Import<'a> {
    pub(crate) fn new(control: &'a dyn Control, address: &'a str) -> Self {
        Import {
            control,
            address,
            open: None,
            report: Report::default(),
        }
    }

    /// The messages that come now are for this mailbox, which is made if it is not there. False when it cannot be: then it
    /// is told by what it is called where it comes from.
    pub(crate) async fn open(&mut self, wanted: Mailbox, label: &str) -> Result<bool> {
        self.flush().await?;
        self.open = None;
        let name = wanted.name.clone();
        let make = Command::MailboxMake {
            address: self.address.to_owned(),
            mailbox: wanted,
        };
        let name = match self.control.handle(make).await {
            Ok(Answer::Mailboxes(made)) => made.into_iter().next().map(|made| made.name).unwrap_or(name),
            Ok(other) => bail!("expected a mailbox, found {other:?}"),
            Err(refusal) if refusal.kind == RefusalKind::Invalid => {
                self.miss(label, &refusal);
                return Ok(false);
            }
            Err(refusal) => return Err(refusal.into()),
        };
        let there = self.list(&name).await?;
        self.report.mailboxes += 1;
        self.open = Some(Open {
            name,
            there,
            waiting: Vec::new(),
            waiting_bytes: 0,
        });
        Ok(true)
    }

    /// What is in a mailbox, by what its messages say of themselves.
    async fn list(&self, mailbox: &str) -> Result<HashMap<Fingerprint, u32>> {
        let mut there = HashMap::new();
        let mut pages = Pages::of(self.control, self.address, mailbox);
        while let Some(messages) = pages.next().await? {
            for fingerprint in messages.iter().flat_map(Fingerprint::of_stored) {
                *there.entry(fingerprint).or_default() += 1;
            }
        }
        Ok(there)
    }

    /// Whether a message is there already. Each that is there answers for one.
    pub(crate) fn is_there(&mut self, fingerprint: &Fingerprint) -> bool {
        let there = self
            .open
            .as_mut()
            .and_then(|open| open.there.get_mut(fingerprint));
        match there {
            Some(count) if *count > 0 => {
                *count -= 1;
                self.report.already_there += 1;
                true
            }
            _ => false,
        }
    }

    /// Brings a message, unless it is there already.
    pub(crate) async fn add(&mut self, message: Message) -> Result<()> {
        if message.bytes.len() as u64 > limits::MESSAGE_BYTES {
            self.miss(&message.label, &too_big());
            return Ok(());
        }
        let fingerprint = Fingerprint::of(&message.bytes);
        if self.is_there(&fingerprint) {
            return Ok(());
        }
        let Some(open) = &mut self.open else {
            bail!("expected a mailbox to be open")
        };
        let fits = open.waiting_bytes + message.bytes.len() <= PARCEL_BYTES;
        if !open.waiting.is_empty() && (!fits || open.waiting.len() >= PARCEL_MESSAGES) {
            self.flush().await?;
        }
        if let Some(open) = &mut self.open {
            open.waiting_bytes += message.bytes.len();
            open.waiting.push(message);
        }
        Ok(())
    }

    /// Tells that something could not be brought.
    pub(crate) fn miss(&mut self, label: &str, why: &dyn Display) {
        self.report.errors += 1;
        // Names come from elsewhere.
        let line: String = format!("{label}: {why}")
            .chars()
            .filter(|c| !c.is_control())
            .collect();
        eprintln!("ringpost: {line}");
    }

    /// Brings what waits, and tells what was done.
    pub(crate) async fn finish(mut self) -> Result<Report> {
        self.flush().await?;
        Ok(self.report)
    }

    async fn flush(&mut self) -> Result<()> {
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        let waiting = std::mem::take(&mut open.waiting);
        open.waiting_bytes = 0;
        let mailbox = open.name.clone();
        if waiting.is_empty() {
            return Ok(());
        }
        match self.bring(&mailbox, &waiting).await {
            Ok(()) => {
                self.report.messages += waiting.len() as u64;
                return Ok(());
            }
            Err(refusal) if is_final(&refusal) => return Err(refusal.into()),
            Err(_) => {}
        }
        // All or none: of several, all but the wrong one are to come.
        for message in waiting {
            match self.bring(&mailbox, std::slice::from_ref(&message)).await {
                Ok(()) => self.report.messages += 1,
                Err(refusal) if is_final(&refusal) => return Err(refusal.into()),
                Err(refusal) if refusal.kind == RefusalKind::OverQuota => {
                    let Report { messages, .. } = self.report;
                    bail!(
                        "{}: {} is over its quota; {messages} messages were brought, and when there is room \
                         (`ringpost account set`) the same command brings the rest",
                        message.label,
                        self.address
                    );
                }
                Err(refusal) => self.miss(&message.label, &refusal),
            }
        }
        Ok(())
    }

    async fn bring(&self, mailbox: &str, messages: &[Message]) -> Result<(), Refusal> {
        let parcel = Parcel {
            address: self.address.to_owned(),
            mailbox: mailbox.to_owned(),
            messages: messages
                .iter()
                .map(|message| BroughtMessage {
                    size_bytes: message.bytes.len() as u64,
                    received_s: message.received_s,
                    flags: message.flags.clone(),
                })
                .collect(),
        };
        let bodies: Vec<std::io::Result<Bytes>> =
            messages.iter().map(|message| Ok(message.bytes.clone())).collect();
        let pieces: Pieces<'_> = Box::pin(futures_util::stream::iter(bodies));
        self.control.bring(parcel, pieces).await
    }
}

/// Whether it would be the same for every further message.
fn is_final(refusal: &Refusal) -> bool {
    matches!(refusal.kind, RefusalKind::Unavailable | RefusalKind::Failed)
}

fn too_big() -> String {
    format!("it is larger than {} MiB", limits::MESSAGE_BYTES / (1024 * 1024))
}
