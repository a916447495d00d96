//! The session's questions, put to the services.

use super::{Driver, Open, renew_at};
use crate::logins::{Door, LoginRefusal};
use ringpost_directory::AccountInfo;
use ringpost_mail::MailError;
use ringpost_pop3::{Answer, Ask, Proof, Refusal, Uid};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A client whose connection broke comes again before we have heard of it: a maildrop that is in use is asked for so often
/// again, so long after another.
const IN_USE_TRIES: usize = 4;
const IN_USE_DELAY: Duration = Duration::from_millis(250);

/// What a failed login adds to the time that the next one takes.
const GUESS_DELAY: Duration = Duration::from_millis(500);

impl LoginRefusal for Refusal {
    fn unavailable() -> Self {
        Refusal::Unavailable
    }

    fn too_many_failures() -> Self {
        Refusal::TooManyFailures
    }
}

impl Driver<'_> {
    pub(super) async fn answer(&mut self, ask: Ask) -> Answer {
        let answer = match ask {
            Ask::Authenticate { user, authzid, proof } => self.log_in(&user, authzid.as_deref(), proof).await,
            Ask::ScramKeys { user } => self.scram_keys(&user).await,
            Ask::Retrieve(uid) => self.retrieve(uid).await,
            Ask::Update { delete } => self.update(&delete).await,
        };
        answer.unwrap_or_else(Answer::Refused)
    }

    async fn scram_keys(&mut self, user: &str) -> Result<Answer, Refusal> {
        self.login_mark = self.pop3.directory.login_mark();
        let keys = self.door().scram_keys(user).await;
        Ok(Answer::ScramKeys(
            keys.map_err(|e| self.door().no_login::<Refusal>(&e))?,
        ))
    }

    async fn log_in(&mut self, user: &str, authzid: Option<&str>, proof: Proof) -> Result<Answer, Refusal> {
        let directory = &self.pop3.directory;
        let found = match proof {
            Proof::Password(password) => {
                self.login_mark = directory.login_mark();
                self.door().check_password(user, password.reveal()).await
            }
            // It has proven to have the keys of whoever this is.
            Proof::Scram => self.door().proven(user).await,
            Proof::Failed => Ok(None),
        };
        let found = found.map_err(|e| self.door().no_login::<Refusal>(&e))?;
        let account = match (found, authzid) {
            (Some(account), Some(other)) => {
                let other = directory
                    .account_by_login(other)
                    .await
                    .map_err(|e| self.door().unavailable::<Refusal>(&e))?;
                Some(account).filter(|account| other.is_some_and(|other| other.id == account.id))
            }
            (account, _) => account,
        };
        let Some(account) = account else {
            self.slow_down(user).await;
            return Err(Refusal::BadCredentials);
        };
        self.open(account).await
    }

    async fn open(&mut self, account: Arc<AccountInfo>) -> Result<Answer, Refusal> {
        let now = self.pop3.world.unix_now();
        let mut opened = self.pop3.mail.open_maildrop(account.id, now).await;
        for _ in 0..IN_USE_TRIES {
            if !matches!(opened, Err(MailError::InUse)) {
                break;
            }
            self.pop3
                .world
                .sleep_until(self.pop3.world.now() + IN_USE_DELAY)
                .await;
            opened = self.pop3.mail.open_maildrop(account.id, now).await;
        }
        let (maildrop, snapshot) = opened.map_err(|e| self.refused(&account, e))?;
        let messages = snapshot.messages.len();
        tracing::info!(session = %self.id, account = %account.address, messages, "pop3 login");
        self.pop3.counters.sessions.fetch_add(1, Ordering::Relaxed);
        self.open = Some(Box::new(Open {
            account,
            renew_at: renew_at(self.pop3, &maildrop),
            maildrop,
            at_hand: None,
            seen: Vec::new(),
            mark_at: self.pop3.world.now(),
        }));
        Ok(Answer::Opened(snapshot))
    }

    async fn retrieve(&mut self, uid: Uid) -> Result<Answer, Refusal> {
        let open = self.open.as_mut().ok_or(Refusal::Broken)?;
        match self.pop3.mail.maildrop_body(&mut open.maildrop, uid).await {
            Ok(Some(reader)) => {
                open.at_hand = Some((uid, reader));
                Ok(Answer::Done)
            }
            Ok(None) => Err(Refusal::Gone),
            Err(e) => {
                let account = open.account.clone();
                Err(self.refused(&account, e))
            }
        }
    }

    /// Ends a session that said QUIT: what was read is marked, what was marked to go is removed, and both are durable.
    async fn update(&mut self, delete: &[Uid]) -> Result<Answer, Refusal> {
        let open = self.open.as_mut().ok_or(Refusal::Broken)?;
        if !open.seen.is_empty() && !delete.is_empty() {
            let going: HashSet<Uid> = delete.iter().copied().collect();
            open.seen.retain(|uid| !going.contains(uid));
        }
        self.mark_seen().await;
        // Who has heard the answer may come again at once: the maildrop is free before.
        let open = self.open.take().ok_or(Refusal::Broken)?;
        match self.pop3.mail.remove_from_maildrop(&open.maildrop, delete).await {
            Ok(()) => {
                self.removed = delete.len();
                Ok(Answer::Done)
            }
            Err(e) => Err(self.refused(&open.account, e)),
        }
    }

    fn door(&self) -> Door<'_> {
        Door {
            world: &self.pop3.world,
            directory: &self.pop3.directory,
            peers: &self.pop3.peers,
            from: self.connection.endpoints(),
            service: "pop3",
            session: &self.id,
            guess_delay: GUESS_DELAY,
        }
    }

    /// Holds the answer to a failed login back.
    async fn slow_down(&mut self, user: &str) {
        self.failed_logins += 1;
        self.door().slow_down(user, self.failed_logins).await;
    }

    fn refused(&self, account: &AccountInfo, error: MailError) -> Refusal {
        match error {
            MailError::InUse => {
                tracing::info!(session = %self.id, account = %account.address, "the maildrop is in use");
            }
            _ => {
                tracing::warn!(session = %self.id, account = %account.address, %error, "the mail service could not answer");
            }
        }
        error.into()
    }
}
