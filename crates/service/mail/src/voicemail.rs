//! Voicemail: how a recording becomes a message, what the lamp counts, and what the owner's phone can play.

use crate::parse::codec;
use crate::{Mail, MailError};
use bytes::Bytes;
use mail_builder::MessageBuilder;
use mail_builder::headers::content_type::ContentType;
use mail_builder::headers::date::Date;
use mail_builder::headers::raw::Raw;
use mail_builder::mime::{BodyPart, MimePart};
use ringpost_auth::base64;
use ringpost_base::{Rng, UnixTime};
use ringpost_imap::structure::{Address, Content, Envelope, Part};
use ringpost_imap::{Flag, FlagChange, SystemFlag};
use ringpost_store::records::{Flags, Mailbox, MailboxId, Message, MessageKind, SpecialUse};
use ringpost_store::{AccountId, Partition, Record, StatesOf, counter_value, keys};
use std::time::Duration;

/// What the lamp shows (RFC 3842): voicemail in every mailbox but Trash, Junk and Archive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lamp {
    /// Without `\Seen`.
    pub new: u32,
    /// With it.
    pub old: u32,
}

/// Who called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The name that the call came with.
    pub name: Option<String>,
    /// The number, or `user@host`.
    pub address: String,
}

impl Caller {
    /// Without anything that could break a line of a header, and not longer than anybody reads.
    fn shown(&self) -> Caller {
        let clean = |text: &String| {
            text.chars()
                .filter(|c| !c.is_control())
                .take(100)
                .collect::<String>()
        };
        Caller {
            name: self.name.as_ref().map(clean).filter(|n| !n.trim().is_empty()),
            address: clean(&self.address),
        }
    }
}

/// A voicemail as it is to be delivered.
#[derive(Clone, Debug)]
pub struct Recording<'a> {
    /// Who called.
    pub caller: Caller,
    /// The account's address, `alice@example.org`.
    pub to: &'a str,
    /// When the call came.
    pub at: UnixTime,
    /// How long the recording is.
    pub length: Duration,
    /// The recording as a WAV file.
    pub wav: &'a [u8],
}

/// A voicemail in a mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voicemail {
    /// Where it is.
    pub mailbox: MailboxId,
    /// Which.
    pub uid: u32,
    /// Whether it is new: without `\Seen`.
    pub is_new: bool,
    /// When it came.
    pub received: UnixTime,
    /// Who called, as the From field says.
    pub caller: Caller,
}

/// The message that a recording becomes: a text for who reads, the recording for who listens.
///
/// `rng` draws the Message-ID and the boundary.
pub fn voicemail_message(recording: &Recording<'_>, rng: &mut Rng) -> Vec<u8> {
    let Recording {
        caller,
        to,
        at,
        length,
        wav,
    } = recording;
    let domain = to.rsplit_once('@').map_or("localhost", |(_, domain)| domain);
    let seconds = length.as_millis().div_ceil(1000);
    let length = format!("{}:{:02}", seconds / 60, seconds % 60);
    let caller = caller.shown();
    let who = match &caller.name {
        Some(name) if *name != caller.address => format!("{name} ({})", caller.address),
        _ => caller.address.clone(),
    };
    // A reply should reach the caller where it can, and nobody else where it cannot.
    let from = match ringpost_smtp::Mailbox::parse(&caller.address) {
        Ok(mailbox) => mailbox.to_string(),
        Err(_) => format!("voicemail@{domain}"),
    };
    let name = caller.name.clone().unwrap_or_else(|| caller.address.clone());
    let (year, month, day, hour, minute, second) = at.civil();
    let when = format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02} UTC");
    let file = format!("voicemail-{year:04}{month:02}{day:02}-{hour:02}{minute:02}{second:02}.wav");
    let text = format!("{who} left a voicemail.\r\n\r\nTime:   {when}\r\nLength: {length}\r\n");

    let parts = vec![
        MimePart::new(
            ContentType::new("text/plain").attribute("charset", "utf-8"),
            BodyPart::Text(text.into()),
        ),
        MimePart::new("audio/wav", BodyPart::Binary((*wav).into()))
            .attachment(file)
            //= https://www.rfc-editor.org/rfc/rfc3801#section-4.3.3
            .header("Content-Duration", Raw::new(seconds.to_string())),
    ];
    let mixed = ContentType::new("multipart/mixed").attribute("boundary", format!("=_{}", rng.token(24)));
    MessageBuilder::new()
        .message_id(format!("{}@{domain}", rng.token(24)))
        .date(Date::new(i64::try_from(at.as_secs()).unwrap_or(0)))
        .from((name, from))
        .to(*to)
        .subject(format!("Voicemail from {who}, {length}"))
        //= https://www.rfc-editor.org/rfc/rfc3458#section-3
        .header("Message-Context", Raw::new("voice-message"))
        .body(MimePart::new(mixed, parts))
        .write_to_vec()
        .expect("writing to a vector does not fail")
}

impl Mail {
    /// What an account's lamp shows.
    pub async fn lamp(&self, account: AccountId) -> Result<Lamp, MailError> {
        let keys = [
            keys::voicemail(keys::Voicemail::New),
            keys::voicemail(keys::Voicemail::Old),
        ];
        let found = self
            .store
            .get_many(&Partition::Account(account), keys.to_vec())
            .await?;
        let mut counts = [0; 2];
        for ((count, key), found) in counts.iter_mut().zip(&keys).zip(found) {
            let value = found.map_or(Ok(0), |v| counter_value(key, &v.value))?;
            *count = u32::try_from(value).unwrap_or_default();
        }
        self.settle(account).await;
        Ok(Lamp {
            new: counts[0],
            old: counts[1],
        })
    }

    /// An account's voicemail as its owner's phone plays it: the new ones, then the old ones, each from the earliest.
    /// It is what the lamp counts.
    pub async fn voicemails(&self, account: AccountId) -> Result<Vec<Voicemail>, MailError> {
        let home = Partition::Account(account);
        let mut all = Vec::new();
        let mailboxes = self.all_mailboxes(account).await?.into_iter().map(|m| m.record);
        for mailbox in mailboxes.filter(Mailbox::counts_for_lamp) {
            let states = StatesOf::all(mailbox.id).read(&*self.store, account).await?;
            let voices = states
                .iter()
                .filter(|(_, state)| state.kind == MessageKind::Voice);
            let voices: Vec<_> = voices
                .map(|(uid, state)| (uid, !state.flags.contains(Flags::SEEN)))
                .collect();
            let keys: Vec<_> = voices
                .iter()
                .map(|(uid, _)| keys::message(mailbox.id, *uid))
                .collect();
            let messages = self.store.get_many(&home, keys.clone()).await?;
            for (((uid, is_new), key), message) in voices.into_iter().zip(keys).zip(messages) {
                let Some(message) = message else { continue };
                let message = Message::from_bytes(&key, message.value)?;
                let envelope = codec::decode_envelope(&message.envelope).unwrap_or_default();
                let caller = caller_of(&envelope);
                all.push(Voicemail {
                    mailbox: mailbox.id,
                    uid,
                    is_new,
                    received: message.received,
                    caller,
                });
            }
        }
        self.settle(account).await;
        all.sort_by_key(|v| (!v.is_new, v.received, v.mailbox, v.uid));
        Ok(all)
    }

    /// The recording of a voicemail, decoded: the bytes of the file that is attached. [`MailError::NoSuchMessage`] when the
    /// message is gone or has no sound in it.
    pub async fn voicemail_audio(
        &self,
        account: AccountId,
        mailbox: MailboxId,
        uid: u32,
    ) -> Result<Bytes, MailError> {
        let home = Partition::Account(account);
        let message = self
            .store
            .record::<Message>(&home, keys::message(mailbox, uid))
            .await?;
        let message = message.ok_or(MailError::NoSuchMessage)?.record;
        let structure = codec::decode_part(&message.structure).ok_or(MailError::NoSuchMessage)?;
        let part = audio_part(&structure).ok_or(MailError::NoSuchMessage)?;
        let body = self
            .bodies
            .get_bytes(&home, message.blob, part.body.clone())
            .await?;
        match part.encoding.as_str() {
            "BASE64" => {
                let text: Vec<u8> = body
                    .iter()
                    .copied()
                    .filter(|b| !b.is_ascii_whitespace())
                    .collect();
                let decoded = base64::decode(&text, text.len()).map_err(|_| MailError::NoSuchMessage)?;
                Ok(decoded.into())
            }
            "QUOTED-PRINTABLE" => Err(MailError::NoSuchMessage),
            _ => Ok(body),
        }
    }

    /// Marks a voicemail as heard, or as new again. One that is gone is passed over.
    pub async fn mark_voicemail(
        &self,
        account: AccountId,
        mailbox: MailboxId,
        uid: u32,
        heard: bool,
    ) -> Result<(), MailError> {
        let seen = [Flag::System(SystemFlag::Seen)].into_iter().collect();
        let change = if heard {
            FlagChange::Add(seen)
        } else {
            FlagChange::Remove(seen)
        };
        match self.change_flags(account, mailbox, &[uid], &change).await {
            Ok(_) | Err(MailError::NoSuchMailbox) => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// Deletes a voicemail as a mail program would: it goes to Trash, where it can be got back and lights no lamp. Without a
    /// Trash it is removed. One that is gone is passed over.
    pub async fn delete_voicemail(
        &self,
        account: AccountId,
        mailbox: MailboxId,
        uid: u32,
        now: UnixTime,
    ) -> Result<(), MailError> {
        let all = self.all_mailboxes(account).await?;
        let trash = all
            .iter()
            .find(|m| m.record.special_use == Some(SpecialUse::Trash));
        let done = match trash {
            Some(trash) => {
                self.transfer(
                    account,
                    mailbox,
                    &[uid],
                    trash.record.id,
                    true,
                    now,
                    &mut Vec::new(),
                )
                .await
            }
            None => self.remove(account, mailbox, &[uid], |_| true).await.map(drop),
        };
        match done {
            Err(MailError::NoSuchMailbox) => Ok(()),
            done => done,
        }
    }
}

/// The first part with sound in it.
pub(crate) fn audio_part(part: &Part) -> Option<&Part> {
    match &part.content {
        Content::Single { kind, .. } => (kind == "AUDIO").then_some(part),
        Content::Multipart { parts, .. } => parts.iter().find_map(audio_part),
        Content::Message { message, .. } => audio_part(message),
    }
}

fn caller_of(envelope: &Envelope) -> Caller {
    for address in &envelope.from {
        if let Address::Mailbox { name, local, domain } = address {
            let name = name.as_deref().map(crate::search::decode_words);
            return Caller {
                name,
                address: format!("{local}@{domain}"),
            };
        }
    }
    Caller {
        name: None,
        address: String::new(),
    }
}
