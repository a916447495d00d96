//! `queue …`: mail that waits for other servers.

use super::LocalControl;
use ringpost_admin::{Answer, Command, QueuedMail, Refusal, RefusalKind, WaitingRecipient};
use ringpost_base::UnixTime;
use ringpost_mail::{MailError, QueueEntry};

impl LocalControl {
    pub(super) async fn queue(&self, command: &Command) -> Result<Answer, Refusal> {
        let mail = &self.mail;
        match command {
            Command::QueueShow { id } => {
                let found = mail.queue_entry(number(id)?).await.map_err(failed)?;
                let found = found.ok_or_else(|| nothing(id))?;
                Ok(Answer::Queue(vec![shown(&found)]))
            }
            Command::QueueRetry { id: Some(id) } => {
                let tried = mail.retry_queued(number(id)?, self.now()).await;
                done(id, tried)
            }
            Command::QueueRetry { id: None } => {
                for entry in mail.queue_entries().await.map_err(failed)? {
                    match mail.retry_queued(entry.record.id, self.now()).await {
                        // What somebody is at work on is tried, and what is gone need not be.
                        Ok(_) | Err(MailError::Busy) => {}
                        Err(e) => return Err(failed(e)),
                    }
                }
                Ok(Answer::Done)
            }
            Command::QueueRemove { id } => {
                let removed = mail.remove_queued(number(id)?).await;
                done(id, removed)
            }
            _ => {
                let entries = mail.queue_entries().await.map_err(failed)?;
                Ok(Answer::Queue(entries.iter().map(shown).collect()))
            }
        }
    }
}

/// The number that a list shows as 16 hexadecimal digits.
fn number(id: &str) -> Result<u64, Refusal> {
    let is_number = |id: &&str| id.len() == 16 && id.bytes().all(|b| b.is_ascii_hexdigit());
    let digits = Some(id).filter(is_number);
    let number = digits.and_then(|id| u64::from_str_radix(id, 16).ok());
    number.ok_or_else(|| {
        let why = format!("{id:?} is no message's number; `ringpost queue list` shows them, 16 digits each");
        Refusal::invalid(why)
    })
}

fn done(id: &str, done: Result<bool, MailError>) -> Result<Answer, Refusal> {
    match done {
        Ok(true) => Ok(Answer::Done),
        Ok(false) => Err(nothing(id)),
        Err(MailError::Busy) => Err(Refusal::new(
            RefusalKind::Unavailable,
            format!("message {id} is being sent just now; try again in a moment"),
        )),
        Err(e) => Err(failed(e)),
    }
}

fn nothing(id: &str) -> Refusal {
    Refusal::not_found(format!(
        "there is no message {id} in the queue; `ringpost queue list` shows them"
    ))
}

fn failed(error: MailError) -> Refusal {
    Refusal::failed(error.to_string())
}

fn shown(entry: &QueueEntry) -> QueuedMail {
    let QueueEntry { due, record } = entry;
    let seconds = |time: UnixTime| time.as_nanos() / 1_000_000_000;
    let recipients = record.recipients.iter().map(|recipient| WaitingRecipient {
        address: recipient.address.clone(),
        said: match (recipient.status.is_empty(), recipient.code) {
            (true, _) => String::new(),
            (false, 0) => format!("{} {}", recipient.status, recipient.text),
            (false, code) => format!("{code} {} {}", recipient.status, recipient.text),
        },
    });
    QueuedMail {
        id: format!("{:016x}", record.id),
        sender: record.sender.clone(),
        destination: record.destination.clone(),
        size_bytes: record.size_bytes - record.skip_bytes.min(record.size_bytes),
        received_s: seconds(record.received),
        due_s: seconds(*due),
        attempts: record.attempts,
        at_work: record.lease != 0,
        recipients: recipients.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::control;
    use super::*;
    use ringpost_admin::Control;
    use ringpost_mail::{Elsewhere, Envelope, Outgoing};

    #[tokio::test]
    async fn what_waits_is_listed_shown_tried_and_removed() {
        let control = control().await;
        let letter = control.mail.letter("Subject: x\r\n\r\n".into()).await.unwrap();
        let envelope = Envelope {
            sender: "alice@example.org".into(),
            outgoing: Outgoing {
                recipients: vec![Elsewhere {
                    address: "x@there.test".into(),
                    destination: "there.test".into(),
                }],
                ..Outgoing::default()
            },
            ..Envelope::default()
        };
        control.mail.spool(envelope, letter, control.now()).await.unwrap();
        let Ok(Answer::Queue(list)) = control.handle(Command::QueueList).await else {
            panic!("a list")
        };
        let [mail] = &list[..] else { panic!("{list:?}") };
        assert_eq!(
            (mail.sender.as_str(), mail.destination.as_str()),
            ("alice@example.org", "there.test")
        );
        let id = mail.id.clone();
        let show = Command::QueueShow { id: id.clone() };
        assert_eq!(
            control.handle(show.clone()).await,
            Ok(Answer::Queue(list.clone()))
        );
        for one in [Some(id.clone()), None] {
            assert_eq!(
                control.handle(Command::QueueRetry { id: one }).await,
                Ok(Answer::Done)
            );
        }
        let remove = Command::QueueRemove { id: id.clone() };
        assert_eq!(control.handle(remove.clone()).await, Ok(Answer::Done));
        for gone in [show, remove, Command::QueueRetry { id: Some(id) }] {
            let refusal = control.handle(gone).await.unwrap_err();
            assert_eq!(refusal.kind, RefusalKind::NotFound);
            assert!(refusal.message.contains("ringpost queue list"), "{refusal}");
        }
        for bad in ["", "7", "zzzzzzzzzzzzzzzz", "+00000000000000a"] {
            let refusal = control
                .handle(Command::QueueShow { id: bad.into() })
                .await
                .unwrap_err();
            assert!(
                refusal.message.contains("ringpost queue list"),
                "{bad}: {refusal}"
            );
        }
    }
}
