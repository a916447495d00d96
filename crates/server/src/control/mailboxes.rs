//! An account's mailboxes and messages, for `import` and `export`.

use super::LocalControl;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt;
use ringpost_admin::{Answer, Command, Mailbox, Parcel, Pieces, Refusal, RefusalKind, StoredMessage};
use ringpost_base::{UnixTime, limits};
use ringpost_directory::AccountInfo;
use ringpost_imap::question::ListedMailbox;
use ringpost_imap::{Flag, Flags, MailboxName, SpecialUse};
use ringpost_mail::{Append, Listed, MailError};
use std::sync::Arc;

/// Bytes of a message in one answer.
const PIECE_BYTES: u64 = 1024 * 1024;

impl LocalControl {
    pub(super) async fn mailboxes(&self, command: &Command) -> Result<Answer, Refusal> {
        match command {
            Command::MailboxList { address } => {
                let account = self.owner(address).await?;
                let listed = self.list(&account).await?;
                let there = listed.iter().filter(|mailbox| mailbox.selectable);
                Ok(Answer::Mailboxes(there.map(told).collect()))
            }
            Command::MailboxMake { address, mailbox } => {
                let account = self.owner(address).await?;
                Ok(Answer::Mailboxes(vec![self.make(&account, mailbox).await?]))
            }
            Command::MessageList {
                address,
                mailbox,
                after_uid,
            } => {
                let (account, name) = (self.owner(address).await?, named(mailbox)?);
                let found = self.mail.messages_after(account.id, &name, *after_uid).await;
                Ok(Answer::Messages(
                    found.map_err(failed)?.into_iter().map(stored).collect(),
                ))
            }
            Command::MessagePiece {
                address,
                mailbox,
                uid,
                offset,
            } => {
                let (account, name) = (self.owner(address).await?, named(mailbox)?);
                let range = *offset..offset.saturating_add(PIECE_BYTES);
                let found = self.mail.body_of(account.id, &name, *uid, range).await;
                let gone = || Refusal::not_found(format!("message {uid} of {mailbox} is gone"));
                let mut reader = found.map_err(failed)?.ok_or_else(gone)?;
                let mut piece = Vec::new();
                while let Some(chunk) = reader.next().await.map_err(|error| failed(error.into()))? {
                    piece.extend_from_slice(&chunk);
                }
                Ok(Answer::Piece(STANDARD.encode(piece)))
            }
            _ => Err(Refusal::failed("that is no question about mailboxes")),
        }
    }

    /// Keeps what comes, with one commit.
    pub(super) async fn take(&self, parcel: Parcel, bytes: Pieces<'_>) -> Result<(), Refusal> {
        let (account, name) = (self.owner(&parcel.address).await?, named(&parcel.mailbox)?);
        let mut bytes = Bytes {
            pieces: bytes,
            rest: None,
        };
        let mut append: Option<Append> = None;
        for message in &parcel.messages {
            let (flags, size) = (flags(&message.flags)?, message.size_bytes);
            let received = Some(UnixTime::from_secs(message.received_s));
            let begun = match append.take() {
                None => self.mail.append(account.id, &name, flags, received, size).await,
                Some(append) => self.mail.append_next(append, flags, received, size).await,
            };
            let mut next = begun.map_err(failed)?;
            let mut missing = size;
            while missing > 0 {
                let piece = bytes.at_most(missing).await?;
                missing -= piece.len() as u64;
                next.write(piece).await.map_err(failed)?;
            }
            append = Some(next);
        }
        if let Some(append) = append {
            self.mail
                .append_finish(append, self.now())
                .await
                .map_err(failed)?;
        }
        Ok(())
    }

    async fn owner(&self, address: &str) -> Result<Arc<AccountInfo>, Refusal> {
        let found = self.directory.account_by_address(address).await;
        let found = found.map_err(|error| Refusal::failed(error.to_string()))?;
        let missing = || {
            Refusal::not_found(format!(
                "there is no account {address}; `ringpost account list` shows them"
            ))
        };
        found.ok_or_else(missing)
    }

    /// The mailboxes, those among them that every account begins with.
    async fn list(&self, account: &AccountInfo) -> Result<Vec<ListedMailbox>, Refusal> {
        let listed = self.mail.list(account.id).await.map_err(failed)?;
        if listed.iter().any(|mailbox| mailbox.name.is_inbox()) {
            return Ok(listed);
        }
        let made = self.mail.create_defaults(account.id, self.now()).await;
        made.map_err(failed)?;
        self.mail.list(account.id).await.map_err(failed)
    }

    /// The mailbox that messages go into: the one that is for the same, or the one of that name, which is made if need be. One
    /// that is for the same, is called otherwise and holds nothing yet takes the name that its owner is used to.
    async fn make(&self, account: &AccountInfo, wanted: &Mailbox) -> Result<Mailbox, Refusal> {
        let name = named(&wanted.name)?;
        let special_use = match wanted.special_use.as_deref() {
            None => None,
            Some(text) => {
                let unknown = || Refusal::invalid(format!("{text:?} is nothing that a mailbox can be for"));
                Some(SpecialUse::parse(text).ok_or_else(unknown)?)
            }
        };
        // Somebody may make, rename or remove it at the same time.
        for _ in 0..3 {
            let all = self.list(account).await?;
            let of_name = all
                .iter()
                .find(|mailbox| mailbox.name == name && mailbox.selectable);
            let of_use = all
                .iter()
                .find(|mailbox| special_use.is_some() && mailbox.special_use == special_use);
            if let (Some(of_use), None) = (of_use, of_name)
                && !all.iter().any(|mailbox| mailbox.name.is_below(&of_use.name))
                && self.is_empty(account, &of_use.name).await?
            {
                self.take_name(account, of_use, &name).await?;
                continue;
            }
            if let Some(found) = of_use.or(of_name) {
                if wanted.subscribed && !found.subscribed {
                    let subscribed = self.mail.subscribe(account.id, &found.name, true).await;
                    subscribed.map_err(failed)?;
                }
                return Ok(Mailbox {
                    subscribed: found.subscribed || wanted.subscribed,
                    ..told(found)
                });
            }
            let made = self
                .mail
                .create_named(account.id, &name, special_use, self.now())
                .await;
            match made {
                Ok(_) | Err(MailError::AlreadyExists) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Err(failed(MailError::Busy))
    }

    async fn is_empty(&self, account: &AccountInfo, name: &MailboxName) -> Result<bool, Refusal> {
        let found = self.mail.messages_after(account.id, name, 0).await;
        Ok(found.map_err(failed)?.is_empty())
    }

    /// Renames a mailbox; whoever subscribed to it is subscribed to it still.
    async fn take_name(
        &self,
        account: &AccountInfo,
        mailbox: &ListedMailbox,
        name: &MailboxName,
    ) -> Result<(), Refusal> {
        let (id, old) = (account.id, &mailbox.name);
        self.mail
            .rename(id, old, name, self.now())
            .await
            .map_err(failed)?;
        if mailbox.subscribed {
            self.mail.subscribe(id, name, true).await.map_err(failed)?;
            self.mail.subscribe(id, old, false).await.map_err(failed)?;
        }
        Ok(())
    }
}

/// The bytes of a parcel's messages, however they come.
struct Bytes<'a> {
    pieces: Pieces<'a>,
    rest: Option<bytes::Bytes>,
}

impl Bytes<'_> {
    /// The next ones, up to so many, and no more at once than is good for whoever takes them.
    async fn at_most(&mut self, len: u64) -> Result<bytes::Bytes, Refusal> {
        let ended = || Refusal::invalid("the parcel ended before its last message");
        loop {
            if let Some(mut rest) = self.rest.take().filter(|rest| !rest.is_empty()) {
                let len = usize::try_from(len).unwrap_or(usize::MAX);
                let piece = rest.split_to(rest.len().min(len).min(limits::CHUNK_BYTES));
                self.rest = Some(rest);
                return Ok(piece);
            }
            self.rest = Some(self.pieces.next().await.ok_or_else(ended)?.map_err(|_| ended())?);
        }
    }
}

fn named(name: &str) -> Result<MailboxName, Refusal> {
    MailboxName::new(name)
        .map_err(|error| Refusal::invalid(format!("no mailbox can be called {name:?}: {error}")))
}

fn flags(texts: &[String]) -> Result<Flags, Refusal> {
    let flag = |text: &String| {
        Flag::parse(text).ok_or_else(|| Refusal::invalid(format!("{text:?} is no flag that can be kept")))
    };
    texts.iter().map(flag).collect()
}

fn told(mailbox: &ListedMailbox) -> Mailbox {
    Mailbox {
        name: mailbox.name.as_str().to_owned(),
        special_use: mailbox
            .special_use
            .map(|special_use| special_use.attribute().to_owned()),
        subscribed: mailbox.subscribed,
    }
}

fn stored(message: Listed) -> StoredMessage {
    let Listed {
        uid,
        flags,
        size_bytes,
        received,
        envelope,
    } = message;
    StoredMessage {
        uid,
        size_bytes,
        received_s: received.as_secs(),
        flags: flags.iter().map(|flag| flag.to_string()).collect(),
        subject: envelope.subject.filter(|_| envelope.message_id.is_none()),
        message_id: envelope.message_id,
        date: envelope.date,
    }
}

fn failed(error: MailError) -> Refusal {
    let kind = match &error {
        MailError::OverQuota => RefusalKind::OverQuota,
        MailError::NoSuchAccount | MailError::NoSuchMailbox | MailError::NoSuchMessage => {
            RefusalKind::NotFound
        }
        MailError::AlreadyExists | MailError::HasChildren => RefusalKind::Conflict,
        MailError::Cannot(_)
        | MailError::SpecialUse(_)
        | MailError::UnknownEncoding
        | MailError::TooBig
        | MailError::Limit(_) => RefusalKind::Invalid,
        MailError::Busy | MailError::InUse | MailError::Full => RefusalKind::Unavailable,
        MailError::Store(_) | MailError::Damaged(_) => RefusalKind::Failed,
    };
    Refusal::new(kind, error.to_string())
}
