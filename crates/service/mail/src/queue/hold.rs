//! What is held back: single messages, and by rules that hold for what comes later too.

use super::Queue;
use crate::{Mail, MailError, TRIES};
use ringpost_base::limits;
use ringpost_store::records::{QueueHolds, Queued};
use ringpost_store::{AccountId, Batch, CommitError, Record, keys};

/// What an administrator holds back, or releases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hold {
    /// One message.
    Message(u64),
    /// What goes to a destination: a domain in lower case, or an address in brackets.
    Destination(String),
    /// What an account has submitted.
    Account(AccountId),
    /// Everything. Released, what another hold is on stays held.
    All,
}

/// What holds a message back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// It is held itself.
    Itself,
    /// Its destination is.
    Destination,
    /// Who submitted it is.
    Account,
    /// Everything is.
    All,
}

/// What holds a message back, if something does.
pub(super) fn why_held(record: &Queued, holds: &QueueHolds) -> Option<Held> {
    let is_accounts = |id: AccountId| holds.accounts.contains(&id);
    if record.held {
        Some(Held::Itself)
    } else if holds.all {
        Some(Held::All)
    } else if holds.destinations.contains(&record.destination) {
        Some(Held::Destination)
    } else if record.submitter.is_some_and(is_accounts) {
        Some(Held::Account)
    } else {
        None
    }
}

/// Adds to a list what is not in it; false when it is full.
fn add<T: PartialEq>(list: &mut Vec<T>, one: T) -> bool {
    let is_there = list.contains(&one);
    if !is_there && list.len() < limits::QUEUE_HOLDS {
        list.push(one);
        return true;
    }
    is_there
}

impl Mail {
    /// The rules in force.
    pub async fn queue_holds(&self) -> Result<QueueHolds, MailError> {
        let home = keys::QUEUE_HOLDS_HOME;
        let stored = self.store.record(&home, keys::queue_holds()).await?;
        Ok(stored.map(|stored| stored.record).unwrap_or_default())
    }

    /// Holds mail for other servers back from now on, over a restart too. What is being sent is sent to its end. False when
    /// there is no message of that number; [`MailError::Busy`] when somebody is at work on it.
    pub async fn hold(&self, what: Hold) -> Result<bool, MailError> {
        if let Hold::Message(id) = what {
            return self.mark_held(id, true).await;
        }
        self.change_holds(|holds| match &what {
            Hold::Destination(name) => add(&mut holds.destinations, name.clone()),
            Hold::Account(id) => add(&mut holds.accounts, *id),
            Hold::Message(_) | Hold::All => {
                holds.all = true;
                true
            }
        })
        .await?;
        Ok(true)
    }

    /// Ends a hold; what has waited long is tried at once. False when nothing of the kind was held. A message that is held
    /// by a rule is not released alone.
    pub async fn release_hold(&self, what: Hold) -> Result<bool, MailError> {
        if let Hold::Message(id) = what {
            return self.mark_held(id, false).await;
        }
        let mut found = false;
        self.change_holds(|holds| {
            let before = holds.clone();
            match &what {
                Hold::Destination(name) => holds.destinations.retain(|held| held != name),
                Hold::Account(id) => holds.accounts.retain(|held| held != id),
                Hold::Message(_) | Hold::All => holds.all = false,
            }
            found = before != *holds;
            true
        })
        .await?;
        Ok(found)
    }

    async fn mark_held(&self, id: u64, held: bool) -> Result<bool, MailError> {
        let Some(mut message) = self.take_queued(id).await? else {
            return Ok(false);
        };
        let was_held = std::mem::replace(&mut message.record.held, held);
        let due = message.due;
        let filed = match held == was_held {
            true => Ok(()),
            false => self.file(&mut message, due).await,
        };
        if filed.is_err() {
            message.record.held = was_held;
        }
        self.release(message);
        self.queue.tell();
        filed.map(|()| held || was_held)
    }

    /// Changes the rules, and goes by them; `change` says whether there is room for that.
    async fn change_holds(&self, mut change: impl FnMut(&mut QueueHolds) -> bool) -> Result<(), MailError> {
        let (home, key) = (keys::QUEUE_HOLDS_HOME, keys::queue_holds());
        for _ in 0..TRIES {
            let stored = self.store.record::<QueueHolds>(&home, key.clone()).await?;
            let mut batch = Batch::new(home.clone());
            match &stored {
                Some(stored) => batch.unchanged(key.clone(), stored.version),
                None => batch.absent(key.clone()),
            };
            let mut holds = stored.map(|stored| stored.record).unwrap_or_default();
            if !change(&mut holds) {
                return Err(MailError::Limit("too many destinations or accounts are held"));
            }
            batch.put(key.clone(), holds.to_bytes());
            match self.store.commit_durable(batch).await {
                Ok(_) => return self.go_by(holds).await,
                Err(CommitError::Conflict(_)) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Err(MailError::Busy)
    }

    /// Has the index follow the rules: what comes from now on, then what is there.
    async fn go_by(&self, holds: QueueHolds) -> Result<(), MailError> {
        self.queue.index().holds = holds;
        for entry in self.queue_entries().await? {
            let mut index = self.queue.index();
            let held = why_held(&entry.record, &index.holds).is_some();
            index.set_held(entry.record.id, held);
        }
        Queue::tell(&self.queue);
        Ok(())
    }
}
