//! `queue …`: mail that waits for other servers, and for room in full accounts here.

use super::LocalControl;
use ringpost_admin::{
    Answer, Command, Hold as AdminHold, QueuedMail, Refusal, RefusalKind, WaitingRecipient,
};
use ringpost_base::{UnixTime, ascii_domain};
use ringpost_directory::is_domain;
use ringpost_mail::{Held, Hold, MailError, QueueEntry, WaitsForRoom};
use ringpost_store::AccountId;

impl LocalControl {
    pub(super) async fn queue(&self, command: &Command) -> Result<Answer, Refusal> {
        let mail = &self.mail;
        match command {
            Command::QueueShow { id } => {
                if let Some(found) = mail.queue_entry(number(id)?).await.map_err(failed)? {
                    return Ok(Answer::Queue(vec![shown(&found)]));
                }
                let found = mail.one_that_waits_for_room(number(id)?).await.map_err(failed)?;
                let found = found.ok_or_else(|| nothing(id))?;
                Ok(Answer::Queue(vec![shown_here(&found)]))
            }
            Command::QueueRetry { id: Some(id) } => {
                let entry = mail.queue_entry(number(id)?).await.map_err(failed)?;
                if entry.is_none() && mail.try_for_room(number(id)?, self.now()).await.map_err(failed)? {
                    return self.has_arrived(id).await;
                }
                let tried = done(id, mail.retry_queued(number(id)?, self.now()).await)?;
                let Some((entry, by)) = entry.as_ref().and_then(|e| Some((e, e.held?))) else {
                    return Ok(tried);
                };
                let rule = match by {
                    Held::Itself => id.clone(),
                    by => self.rule(by, entry).await?,
                };
                let why = format!(
                    "message {id} is held, and will be tried when it is released; `ringpost queue release {rule}` does so"
                );
                Err(Refusal::new(RefusalKind::Conflict, why))
            }
            Command::QueueRetry { id: None } => {
                for entry in mail.queue_entries().await.map_err(failed)? {
                    match mail.retry_queued(entry.record.id, self.now()).await {
                        // What somebody is at work on is tried, and what is gone need not be.
                        Ok(_) | Err(MailError::Busy) => {}
                        Err(e) => return Err(failed(e)),
                    }
                }
                mail.try_all_for_room(None, self.now()).await.map_err(failed)?;
                Ok(Answer::Done)
            }
            Command::QueueHolds => self.holds().await,
            Command::QueueHold { what } => {
                let hold = self.hold_of(what).await?;
                let held = mail.hold(hold).await;
                match what {
                    AdminHold::Message(id) => done(id, held),
                    _ => held.map(|_| Answer::Done).map_err(failed),
                }
            }
            Command::QueueRelease { what } => self.release(what).await,
            Command::QueueRemove { id } => match mail.remove_queued(number(id)?).await {
                Ok(false) => done(id, mail.remove_for_room(number(id)?, self.now()).await),
                removed => done(id, removed),
            },
            _ => {
                let entries = mail.queue_entries().await.map_err(failed)?;
                let here = mail.all_that_wait_for_room().await.map_err(failed)?;
                let all = entries.iter().map(shown).chain(here.iter().map(shown_here));
                Ok(Answer::Queue(all.collect()))
            }
        }
    }
}

impl LocalControl {
    /// Whether a message that waited for room has found it.
    async fn has_arrived(&self, id: &str) -> Result<Answer, Refusal> {
        let waits = self.mail.one_that_waits_for_room(number(id)?).await;
        let Some(waits) = waits.map_err(failed)? else {
            return Ok(Answer::Done);
        };
        let recipients: Vec<_> = waits
            .record
            .recipients
            .iter()
            .map(|r| r.address.as_str())
            .collect();
        let why = format!(
            "message {id} waits on: there is no room for it with {}; `ringpost account set` changes a quota",
            recipients.join(", ")
        );
        Err(Refusal::new(RefusalKind::Conflict, why))
    }

    /// What the command line's words mean.
    async fn hold_of(&self, what: &AdminHold) -> Result<Hold, Refusal> {
        Ok(match what {
            AdminHold::Message(id) => {
                let waits_here = self.mail.one_that_waits_for_room(number(id)?).await;
                if waits_here.map_err(failed)?.is_some() {
                    return Err(Refusal::invalid(format!(
                        "message {id} waits for room here; held is what goes to other servers"
                    )));
                }
                Hold::Message(number(id)?)
            }
            AdminHold::Destination(name) => {
                let name = ascii_domain(name).unwrap_or_default().into_owned();
                let is_literal = name.starts_with('[') && name.ends_with(']');
                if !is_literal && !is_domain(&name) {
                    return Err(Refusal::invalid(format!(
                        "{name:?} is no destination: expected a domain like example.net, or an address in brackets"
                    )));
                }
                Hold::Destination(name)
            }
            AdminHold::Account(address) => {
                let found = self.directory.account_by_address(address).await;
                let found = found.map_err(|e| Refusal::failed(e.to_string()))?;
                // The mail of one that is gone is held by its number.
                let rules = self.mail.queue_holds().await.map_err(failed)?;
                let gone = rules.accounts.into_iter().find(|id| id.to_string() == *address);
                let Some(id) = found.map(|account| account.id).or(gone) else {
                    return Err(Refusal::not_found(format!(
                        "there is no account {address}; `ringpost account list` shows them"
                    )));
                };
                Hold::Account(id)
            }
            AdminHold::All => Hold::All,
        })
    }

    async fn release(&self, what: &AdminHold) -> Result<Answer, Refusal> {
        let hold = self.hold_of(what).await?;
        if let Hold::Message(id) = hold
            && let Some(entry) = self.mail.queue_entry(id).await.map_err(failed)?
            && let Some(by) = entry.held.filter(|held| *held != Held::Itself)
        {
            let rule = self.rule(by, &entry).await?;
            return Err(Refusal::new(
                RefusalKind::Conflict,
                format!(
                    "the message is not held alone; `ringpost queue release {rule}` releases it with the others"
                ),
            ));
        }
        match (self.mail.release_hold(hold).await, what) {
            (Ok(true), _) => Ok(Answer::Done),
            (Ok(false), AdminHold::Message(id)) => match self.mail.queue_entry(number(id)?).await {
                Ok(Some(_)) => Err(Refusal::not_found(format!("message {id} is not held"))),
                _ => Err(nothing(id)),
            },
            (Ok(false), _) => Err(Refusal::not_found(
                "nothing of the kind is held; `ringpost queue hold` alone shows what is, `ringpost queue list` also single \
                 messages"
                    .to_owned(),
            )),
            (Err(e), AdminHold::Message(id)) => done(id, Err(e)),
            (Err(e), _) => Err(failed(e)),
        }
    }

    /// The option that names what holds a message with others.
    async fn rule(&self, by: Held, entry: &QueueEntry) -> Result<String, Refusal> {
        Ok(match by {
            Held::Destination => format!("--destination {}", entry.record.destination),
            Held::Account => format!("--account {}", self.submitter(entry.record.submitter).await?),
            Held::Itself | Held::All => "--all".to_owned(),
        })
    }

    async fn holds(&self) -> Result<Answer, Refusal> {
        let rules = self.mail.queue_holds().await.map_err(failed)?;
        let mut holds = Vec::new();
        if rules.all {
            holds.push(AdminHold::All);
        }
        holds.extend(rules.destinations.into_iter().map(AdminHold::Destination));
        for id in rules.accounts {
            holds.push(AdminHold::Account(self.submitter(Some(id)).await?));
        }
        let entries = self.mail.queue_entries().await.map_err(failed)?;
        let single = entries.iter().filter(|entry| entry.record.held);
        holds.extend(single.map(|entry| AdminHold::Message(format!("{:016x}", entry.record.id))));
        Ok(Answer::Holds(holds))
    }

    /// The address of an account; its number when it is gone.
    async fn submitter(&self, id: Option<AccountId>) -> Result<String, Refusal> {
        let id = id.unwrap_or_default();
        for domain in self.directory.domains() {
            let accounts = self.directory.accounts(&domain).await;
            let accounts = accounts.map_err(|e| Refusal::failed(e.to_string()))?;
            if let Some(found) = accounts.iter().find(|account| account.id == id) {
                return Ok(found.address.to_string());
            }
        }
        Ok(id.to_string())
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
    let QueueEntry { due, held, record } = entry;
    let held = match held {
        None => "",
        Some(Held::Itself) => "message",
        Some(Held::Destination) => "destination",
        Some(Held::Account) => "account",
        Some(Held::All) => "all",
    };
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
        held: held.to_owned(),
        recipients: recipients.collect(),
    }
}

fn shown_here(waits: &WaitsForRoom) -> QueuedMail {
    let WaitsForRoom { due, record } = waits;
    let recipients = record.recipients.iter().map(|recipient| WaitingRecipient {
        address: recipient.address.clone(),
        said: "4.2.2 the mailbox is full".to_owned(),
    });
    QueuedMail {
        id: format!("{:016x}", record.id),
        sender: record.sender.clone(),
        destination: String::new(),
        size_bytes: record.size_bytes,
        received_s: seconds(record.received),
        due_s: seconds(*due),
        attempts: record.attempts,
        at_work: false,
        held: String::new(),
        recipients: recipients.collect(),
    }
}

fn seconds(time: UnixTime) -> u64 {
    time.as_nanos() / 1_000_000_000
}

#[cfg(test)]
mod tests {
    use super::super::tests::control;
    use super::*;
    use ringpost_admin::Control;
    use ringpost_mail::{Elsewhere, Envelope, Outgoing};

    #[tokio::test]
    async fn the_hold_of_an_account_that_is_gone_is_released_by_the_number_that_is_shown() {
        let control = control().await;
        let address = "eve@example.org".to_owned();
        let add = Command::AccountAdd {
            address: address.clone(),
            extension: None,
            password: None,
        };
        let what = AdminHold::Account(address.clone());
        let removed = Command::AccountRemove { address };
        for command in [add, Command::QueueHold { what: what.clone() }, removed] {
            control.handle(command).await.unwrap();
        }
        let release = |what| Command::QueueRelease { what };
        let refusal = control.handle(release(what)).await.unwrap_err();
        assert_eq!(refusal.kind, RefusalKind::NotFound);
        let Ok(Answer::Holds(holds)) = control.handle(Command::QueueHolds).await else {
            panic!("a list")
        };
        let [shown] = &holds[..] else { panic!("{holds:?}") };
        assert_eq!(control.handle(release(shown.clone())).await, Ok(Answer::Done));
        let Ok(Answer::Holds(holds)) = control.handle(Command::QueueHolds).await else {
            panic!("a list")
        };
        assert_eq!(holds, []);
    }

    #[tokio::test]
    async fn what_waits_is_listed_shown_tried_and_removed() {
        let control = control().await;
        let letter = control.mail.letter("Subject: x\r\n\r\n".into()).await.unwrap();
        let envelope = Envelope {
            sender: "alice@example.org".into(),
            outgoing: Outgoing {
                recipients: vec![Elsewhere::new("x@there.test", "there.test")],
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
        let hold = |what: &AdminHold| Command::QueueHold { what: what.clone() };
        let release = |what: &AdminHold| Command::QueueRelease { what: what.clone() };
        let message = AdminHold::Message(id.clone());
        for what in [
            &message,
            &AdminHold::Destination("There.test".into()),
            &AdminHold::All,
        ] {
            assert_eq!(control.handle(hold(what)).await, Ok(Answer::Done));
            let Ok(Answer::Queue(list)) = control.handle(show.clone()).await else {
                panic!("it is shown")
            };
            assert!(!list[0].held.is_empty(), "{what:?}");
            let Ok(Answer::Holds(holds)) = control.handle(Command::QueueHolds).await else {
                panic!("a list")
            };
            assert_eq!(holds.len(), 1, "{holds:?}");
            let retry = Command::QueueRetry { id: Some(id.clone()) };
            let held = control.handle(retry).await.unwrap_err();
            assert_eq!(held.kind, RefusalKind::Conflict);
            assert!(held.message.contains("`ringpost queue release "), "{held}");
            if *what != message {
                let alone = control.handle(release(&message)).await.unwrap_err();
                assert!(alone.message.contains("`ringpost queue release --"), "{alone}");
            }
            assert_eq!(control.handle(release(what)).await, Ok(Answer::Done));
            let refusal = control.handle(release(what)).await.unwrap_err();
            assert_eq!(refusal.kind, RefusalKind::NotFound, "{refusal}");
        }
        for (bad, kind) in [
            (AdminHold::Destination("a b".into()), RefusalKind::Invalid),
            (AdminHold::Account("x@example.org".into()), RefusalKind::NotFound),
            (AdminHold::Message("0".repeat(16)), RefusalKind::NotFound),
        ] {
            assert_eq!(
                control.handle(hold(&bad)).await.unwrap_err().kind,
                kind,
                "{bad:?}"
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
