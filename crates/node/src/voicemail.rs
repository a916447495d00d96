//! The joint between calls and mailboxes: a recording becomes a message, a message becomes sound, and both count for the
//! lamp.

use futures_util::future::{BoxFuture, FutureExt};
use ringpost_base::Rng;
use ringpost_codec::{Law, Wav, WavEncoding, WavWriter};
use ringpost_directory::Directory;
use ringpost_mail::{Delivery, Mail, MailError};
use ringpost_phone::{Answer, Greeting, LampCounts, Question, Recording, VoiceMessageId, VoiceMessages};
use ringpost_store::AccountId;
use ringpost_store::records::MailboxId;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tracing::{info, warn};

/// The mailboxes, as the phone service's questions see them.
pub trait Voicemail: Send + Sync + 'static {
    /// Answers one of the questions about mailboxes: `Lamp`, `Greeting`, `Deliver`, `Messages`, `Sound`, `Heard`, `Delete`.
    fn answer(&self, question: Question) -> BoxFuture<'static, Answer>;
}

/// The mailboxes of the mail service.
#[derive(Clone)]
pub struct MailVoicemail(Arc<Inner>);

struct Inner {
    mail: Arc<Mail>,
    directory: Directory,
    world: crate::world::WorldRef,
    /// What callers hear first, where the operator has set it; else what is built in.
    greeting: Mutex<Option<Arc<[i16]>>>,
    rng: Mutex<Rng>,
}

impl MailVoicemail {
    /// Joins the phone service to `mail`.
    pub fn new(
        mail: Arc<Mail>,
        directory: Directory,
        world: crate::world::WorldRef,
        greeting: Option<Arc<[i16]>>,
    ) -> Self {
        let rng = Mutex::new(world.rng());
        MailVoicemail(Arc::new(Inner {
            mail,
            directory,
            world,
            greeting: Mutex::new(greeting),
            rng,
        }))
    }

    /// Lets the next callers hear another greeting.
    pub fn set_greeting(&self, greeting: Option<Arc<[i16]>>) {
        *self.0.greeting.lock().unwrap_or_else(PoisonError::into_inner) = greeting;
    }
}

impl Voicemail for MailVoicemail {
    fn answer(&self, question: Question) -> BoxFuture<'static, Answer> {
        let inner = self.0.clone();
        async move {
            match question {
                Question::Lamp { account } => Answer::Lamp(inner.lamp(account).await),
                Question::Greeting { longest, .. } => Answer::Greeting(inner.greeting(longest).await),
                Question::Deliver(recording) => Answer::Done(inner.deliver(&recording).await),
                Question::Messages { account } => Answer::Messages(inner.messages(account).await),
                Question::Sound { account, message } => Answer::Sound(inner.sound(account, message).await),
                Question::Heard { account, message } => {
                    let mailbox = mailbox_of(message);
                    let done = inner
                        .mail
                        .mark_voicemail(account, mailbox, message.uid, true)
                        .await;
                    Answer::Done(logged(done).is_some())
                }
                Question::Delete { account, message } => {
                    let now = inner.world.unix_now();
                    let mailbox = mailbox_of(message);
                    let done = inner
                        .mail
                        .delete_voicemail(account, mailbox, message.uid, now)
                        .await;
                    Answer::Done(logged(done).is_some())
                }
                // Not a question about mailboxes: the phone service passes over an answer that does not fit.
                Question::Device { .. }
                | Question::Person { .. }
                | Question::Mount { .. }
                | Question::Hear { .. }
                | Question::Records(_)
                | Question::Way(_)
                | Question::Sockets { .. } => Answer::Done(false),
            }
        }
        .boxed()
    }
}

impl Inner {
    async fn lamp(&self, account: AccountId) -> LampCounts {
        let lamp = logged(self.mail.lamp(account).await).unwrap_or_default();
        LampCounts {
            new: lamp.new,
            old: lamp.old,
        }
    }

    /// What callers hear first. Without room for the longest message none is taken: what cannot be kept must not be said.
    async fn greeting(&self, longest: Duration) -> Greeting {
        match logged(self.mail.medium_has_room(message_bytes(longest)).await) {
            Some(false) => {
                warn!("no room for a voicemail; the caller is refused");
                Greeting::NoRoom
            }
            // Where that cannot be told, the delivery will tell.
            Some(true) | None => {
                let greeting = self.greeting.lock().unwrap_or_else(PoisonError::into_inner);
                greeting.clone().map_or(Greeting::BuiltIn, Greeting::Own)
            }
        }
    }

    /// Delivers a recording by the same way as any other message; done once it is on stable storage.
    async fn deliver(&self, recording: &Recording) -> bool {
        let Ok(Some(callee)) = self.directory.account_by_id(recording.account).await else {
            return false;
        };
        let name = Some(recording.caller_name.to_string()).filter(|name| !name.is_empty());
        let wav = wav_of(&recording.sound);
        let to = callee.address.to_string();
        let message = {
            let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
            let recording = ringpost_mail::Recording {
                caller: ringpost_mail::Caller {
                    name,
                    address: recording.caller.to_string(),
                },
                to: &to,
                at: recording.began,
                length: recording.length,
                wav: &wav,
            };
            ringpost_mail::voicemail_message(&recording, &mut rng)
        };
        let now = self.world.unix_now();
        // A caller cannot try again later as a mail server does, and the length is bounded: a full mailbox takes it.
        let delivery = Delivery {
            within_quota: false,
            ..Delivery::new(now)
        };
        let delivered = async {
            let letter = self.mail.letter(message.into()).await?;
            self.mail.deliver(recording.account, &letter, delivery).await
        };
        let stored = logged(delivered.await).is_some();
        info!(call_id = %recording.call_id, to, caller = %recording.caller,
            length_ms = recording.length.as_millis() as u64, stored, "voicemail");
        stored
    }

    async fn messages(&self, account: AccountId) -> Option<VoiceMessages> {
        let all = logged(self.mail.voicemails(account).await)?;
        let mut messages = VoiceMessages::default();
        for voicemail in all {
            let id = VoiceMessageId {
                mailbox: voicemail.mailbox.0.into(),
                uid: voicemail.uid,
            };
            let list = if voicemail.is_new {
                &mut messages.new
            } else {
                &mut messages.old
            };
            list.push(id);
        }
        Some(messages)
    }

    async fn sound(&self, account: AccountId, message: VoiceMessageId) -> Option<Arc<[i16]>> {
        let file = self
            .mail
            .voicemail_audio(account, mailbox_of(message), message.uid)
            .await;
        let file = logged(file)?;
        Some(Wav::parse(&file).ok()?.to_telephone().into())
    }
}

/// What a message with a recording of that length takes at most: 16-bit sound in base64, and what stands around it.
fn message_bytes(length: Duration) -> u64 {
    let sound = length.as_secs().saturating_add(1).saturating_mul(2 * 8_000);
    sound / 54 * 74 + 64 * 1024
}

/// 16-bit linear, which every mail program's player knows; µ-law in WAV is not played by some.
fn wav_of(sound: &[u8]) -> Vec<u8> {
    let mut samples = Vec::with_capacity(sound.len());
    Law::Mu.decode_into(sound, &mut samples);
    let mut writer = WavWriter::new(WavEncoding::Pcm16);
    let mut data = Vec::with_capacity(samples.len() * 2);
    writer.write(&samples, &mut data);
    let end = writer.finish();
    [end.header, data, end.padding.into_iter().collect()].concat()
}

fn mailbox_of(message: VoiceMessageId) -> MailboxId {
    // Given out by `messages` above, so it fits.
    MailboxId(u32::try_from(message.mailbox).unwrap_or(u32::MAX))
}

fn logged<T>(result: Result<T, MailError>) -> Option<T> {
    result
        .inspect_err(|error| warn!(%error, "the mailbox cannot be used"))
        .ok()
}
