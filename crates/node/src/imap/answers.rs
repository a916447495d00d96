//! The session's questions, put to the services.

use super::{Appending, Driver};
use crate::logins::{Door, LoginRefusal};
use ringpost_base::UnixTime;
use ringpost_directory::AccountInfo;
use ringpost_imap::question::Proof;
use ringpost_imap::{Answer, Ask, Refusal};
use ringpost_mail::{Copied, Mail, MailError, Selected};
use std::time::Duration;

const TOO_MANY_COMPRESS: MailError = MailError::Limit("Too many sessions compress already");

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
        match self.try_answer(ask).await {
            Ok(answer) => answer,
            Err(refusal) => Answer::Refused(refusal),
        }
    }

    async fn try_answer(&mut self, ask: Ask) -> Result<Answer, Refusal> {
        match ask {
            Ask::Authenticate { user, authzid, proof } => self.log_in(&user, authzid.as_deref(), proof).await,
            Ask::ScramKeys { user } => {
                self.login_mark = self.imap.directory.login_mark();
                let keys = self.door().scram_keys(&user).await;
                Ok(Answer::ScramKeys(
                    keys.map_err(|e| self.door().no_login::<Refusal>(&e))?,
                ))
            }
            ask => {
                let account = self.account.clone().ok_or(Refusal::Unavailable)?;
                let answer = self.answer_account(&account, ask).await;
                answer.map_err(|error| self.refused(error))
            }
        }
    }

    /// Questions about the account as a whole.
    async fn answer_account(&mut self, account: &AccountInfo, ask: Ask) -> Result<Answer, MailError> {
        let (mail, now) = (&self.imap.mail, self.imap.world.unix_now());
        match ask {
            Ask::Compress => {
                self.compression = Some(Box::new(self.imap.compressing.begin().ok_or(TOO_MANY_COMPRESS)?));
            }
            Ask::Quota => return Ok(Answer::Quota(mail.quota(account.id).await?)),
            Ask::List => return Ok(Answer::Mailboxes(mail.list(account.id).await?)),
            Ask::Status(name) => return Ok(Answer::Status(mail.status(account.id, &name).await?)),
            Ask::Select { name, read_only } => {
                self.leave_mailbox().await;
                self.listen(account);
                let (selected, snapshot) = self.imap.mail.select(account.id, &name, read_only).await?;
                self.selected = Some(selected);
                return Ok(Answer::Selected(snapshot));
            }
            Ask::Create { name, special_use } => {
                let id = mail.create_named(account.id, &name, special_use, now).await?;
                return Ok(Answer::Created(id));
            }
            Ask::Delete(name) => return Ok(Answer::Deleted(mail.delete(account.id, &name).await?)),
            Ask::Rename { from, to } => mail.rename(account.id, &from, &to, now).await?,
            Ask::Subscribe { name, subscribed } => mail.subscribe(account.id, &name, subscribed).await?,
            Ask::AppendBegin {
                to,
                flags,
                date,
                size_bytes,
                // Without leave the session lets none pass.
                binary: _,
            } => {
                let append = mail.append(account.id, &to, flags, date, size_bytes).await?;
                self.appending = Some(Appending::Keeps(Box::new(append)));
            }
            Ask::AppendNext {
                flags,
                date,
                size_bytes,
                binary: _,
            } => match self.appending.take() {
                Some(Appending::Keeps(append)) => {
                    let append = mail.append_next(*append, flags, date, size_bytes).await?;
                    self.appending = Some(Appending::Keeps(Box::new(append)));
                }
                Some(Appending::Failed(e)) => return Err(e),
                None => return Ok(Answer::Refused(Refusal::Unavailable)),
            },
            Ask::AppendFinish => match self.appending.take() {
                Some(Appending::Keeps(append)) => {
                    let appended = mail.append_finish(*append, now).await?;
                    return Ok(Answer::Appended {
                        uid_validity: appended.uid_validity,
                        uids: appended.uids,
                    });
                }
                Some(Appending::Failed(e)) => return Err(e),
                None => return Ok(Answer::Refused(Refusal::Unavailable)),
            },
            ask => {
                // Taken out while it is used; the session asks for nothing else of it meanwhile.
                let mut selected = self.selected.take().ok_or(MailError::NoSuchMailbox)?;
                let answer = answer_selected(mail, &mut selected, ask, now).await;
                self.selected = Some(selected);
                return answer;
            }
        }
        Ok(Answer::Done)
    }

    async fn log_in(&mut self, user: &str, authzid: Option<&str>, proof: Proof) -> Result<Answer, Refusal> {
        let directory = &self.imap.directory;
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
        if let (Some(account), Some(other)) = (&found, authzid) {
            let other = directory.account_by_login(other).await;
            let other = other.map_err(|e| self.door().unavailable::<Refusal>(&e))?;
            //= https://www.rfc-editor.org/rfc/rfc4422#section-3.4.1
            // Everybody acts as himself alone, and whether there is another is told to nobody.
            if other.is_none_or(|other| other.id != account.id) {
                self.slow_down(user).await;
                return Err(Refusal::NotAllowed);
            }
        }
        match found {
            Some(account) => {
                tracing::info!(session = %self.id, account = %account.address, "imap login");
                let without = account.imap_without.clone();
                self.account = Some(account);
                Ok(Answer::LoggedIn { without })
            }
            None => {
                self.slow_down(user).await;
                Err(Refusal::BadCredentials)
            }
        }
    }

    fn door(&self) -> Door<'_> {
        Door {
            world: &self.imap.world,
            directory: &self.imap.directory,
            peers: &self.imap.peers,
            from: self.connection.endpoints(),
            service: "imap",
            session: &self.id,
            guess_delay: GUESS_DELAY,
        }
    }

    /// Holds the answer to a failed login back.
    async fn slow_down(&mut self, user: &str) {
        self.failed_logins += 1;
        self.door().slow_down(user, self.failed_logins).await;
    }

    /// What the operator must know of is logged: nobody else can mend it.
    fn refused(&self, error: MailError) -> Refusal {
        if let MailError::Full | MailError::Busy | MailError::Store(_) | MailError::Damaged(_) = error {
            tracing::warn!(session = %self.id, %error, "the mail service could not answer");
        }
        error.into()
    }
}

/// Questions about the selected mailbox.
async fn answer_selected(
    mail: &Mail,
    selected: &mut Selected,
    ask: Ask,
    now: UnixTime,
) -> Result<Answer, MailError> {
    Ok(match ask {
        Ask::Refresh(_) => Answer::Changes(mail.refresh(selected).await?),
        Ask::Fetch {
            uids, wants, then, ..
        } => Answer::Messages(mail.fetch_then(selected, &uids, wants, &then).await?),
        Ask::Store {
            uids,
            change,
            unchanged_since,
            ..
        } => {
            let changed = mail
                .store_flags(selected, &uids, &change, unchanged_since)
                .await?;
            Answer::Stored {
                states: changed.states,
                modified: changed.modified,
            }
        }
        Ask::Vanished { since, .. } => Answer::Vanished(mail.vanished(selected, since).await?),
        Ask::Search { key, among, .. } => Answer::Found(mail.search(selected, &key, &among, now).await?),
        Ask::SortFacts { uids, references, .. } => {
            Answer::SortFacts(mail.sort_facts(selected, &uids, references).await?)
        }
        Ask::Copy { uids, to, .. } => copied(mail.copy(selected, &uids, &to, now).await?),
        Ask::Move { uids, to, .. } => copied(mail.move_messages(selected, &uids, &to, now).await?),
        Ask::Expunge { uids, .. } => Answer::Expunged(mail.expunge(selected, uids.as_deref()).await?),
        // Everything else was answered before.
        _ => Answer::Refused(Refusal::Unavailable),
    })
}

fn copied(copied: Copied) -> Answer {
    Answer::Copied {
        uid_validity: copied.uid_validity,
        pairs: copied.pairs,
    }
}
