//! What the directory and the mail service say to a session's questions.

use super::taking::{Taken, Taking, Trace};
use super::{Driver, Smtp};
use crate::logins::{Door, LoginError, LoginRefusal};
use ringpost_directory::{AccountInfo, DirectoryError};
use ringpost_mail::{Delivery, Envelope, Letter, Mail, MailError, Outgoing, Recipient};
use ringpost_smtp::{
    Answer, HeaderEditor, Missing, Question, Received, Refusal, ReturnPath, ReversePath, Role,
};
use std::sync::Arc;
use std::time::Duration;

/// What a failed login adds to the time that the next one takes.
const GUESS_DELAY: Duration = Duration::from_secs(1);

impl LoginRefusal for Answer {
    fn unavailable() -> Self {
        Answer::Refuse(Refusal::Temporary)
    }

    fn too_many_failures() -> Self {
        Answer::Refuse(Refusal::TooManyFailures)
    }
}

impl Driver<'_> {
    pub(super) async fn answer(&mut self, question: Question) -> Answer {
        match question {
            Question::CheckPassword(password) => {
                self.login_mark = self.smtp.directory.login_mark();
                let login = self
                    .door()
                    .check_password(&password.user, &password.password)
                    .await;
                self.sign_in(&password.user, password.authzid.as_deref(), login)
                    .await
            }
            Question::FetchKeys { user } => {
                self.login_mark = self.smtp.directory.login_mark();
                match self.door().scram_keys(&user).await {
                    Ok(keys) => Answer::Keys(keys),
                    Err(e) => self.door().no_login(&e),
                }
            }
            Question::Authorize { authzid, user } => {
                let account = self.door().proven(&user).await;
                self.sign_in(&user, authzid.as_deref(), account).await
            }
            Question::Denied => self.sign_in("", None, Ok(None)).await,
            Question::Sender { from, .. } => {
                if !self.may_bring() {
                    return Answer::Refuse(Refusal::TooManyMessages);
                }
                self.recipients.clear();
                self.elsewhere.clear();
                self.parts.clear();
                self.is_proven = None;
                match self.may_send_as(&from).await {
                    Answer::Yes => self.find_sender(&from).await,
                    refused => refused,
                }
            }
            Question::Recipient(path, dsn) => {
                if let Some(refusal) = self.refuses_stranger(&path).await {
                    return refusal;
                }
                let answer = self.recipient(path, dsn).await;
                if let Answer::Yes = answer {
                    self.end_part();
                }
                answer
            }
            Question::Begin => self.begin().await,
            Question::Finish { .. } => self.finish().await,
        }
    }

    pub(super) fn door(&self) -> Door<'_> {
        let Smtp {
            world,
            directory,
            peers,
            ..
        } = self.smtp;
        Door {
            world,
            directory,
            peers,
            from: self.connection.endpoints(),
            service: "smtp",
            session: &self.id,
            guess_delay: GUESS_DELAY,
        }
    }

    /// Whether one more message may come from there. Who has signed in is bounded by what the account may send.
    fn may_bring(&self) -> bool {
        let (from, now) = (self.connection.endpoints(), self.smtp.world.now());
        let is_stranger = self.account.is_none() && self.smtp.config.role != Role::Lmtp;
        let may = !is_stranger || self.smtp.peers.take_message(from, now);
        if !may {
            let remote = from.remote;
            tracing::warn!(session = %self.id, %remote, "too many messages from there within an hour");
        }
        may
    }

    async fn sign_in(
        &mut self,
        user: &str,
        authzid: Option<&str>,
        login: Result<Option<Arc<AccountInfo>>, LoginError>,
    ) -> Answer {
        let account = match login {
            Ok(account) => account,
            Err(e) => return self.door().no_login(&e),
        };
        // Nobody acts as somebody else here, but an account may be called by any of its names.
        let acts_as = match (account, authzid) {
            (Some(account), Some(authzid)) => match self.smtp.directory.account_by_login(authzid).await {
                Ok(wanted) => wanted.filter(|wanted| wanted.id == account.id),
                Err(e) => return self.door().unavailable(&e),
            },
            (account, _) => account,
        };
        let Some(account) = acts_as else {
            self.failed_logins += 1;
            self.door().slow_down(user, self.failed_logins).await;
            return Answer::Denied;
        };
        tracing::info!(session = %self.id, account = %account.address, "smtp login");
        self.account = Some(account);
        Answer::SignedIn
    }

    /// Who signed in sends as one of its own addresses, or with the null path, which notices have.
    async fn may_send_as(&mut self, from: &ReversePath) -> Answer {
        let (Some(account), Some(mailbox)) = (&self.account, from.mailbox()) else {
            return Answer::Yes;
        };
        let Some(domain) = mailbox.domain.name() else {
            return Answer::Refuse(Refusal::SenderNotOwned);
        };
        match self.smtp.directory.owns(account.id, domain, &mailbox.local).await {
            Ok(true) => Answer::Yes,
            Ok(false) => Answer::Refuse(Refusal::SenderNotOwned),
            Err(e) => self.door().unavailable(&e),
        }
    }

    /// Who would be told of a delivery.
    async fn find_sender(&mut self, from: &ReversePath) -> Answer {
        (self.sender_account, self.sender_is_told) = (None, false);
        let Some(mailbox) = from.mailbox() else {
            return Answer::Yes;
        };
        if let Some(account) = &self.account {
            (self.sender_account, self.sender_is_told) = (Some(account.id), true);
            return Answer::Yes;
        }
        let Some(domain) = mailbox.domain.name().filter(|d| self.smtp.directory.is_local(d)) else {
            self.sender_is_told = self.smtp.sending.is_some();
            return Answer::Yes;
        };
        match self.smtp.directory.reach(domain, &mailbox.local).await {
            Ok(reach) => {
                let here = reach.and_then(|reach| reach.here.into_iter().next());
                self.sender_account = here.map(|here| here.account.id);
                self.sender_is_told = self.sender_account.is_some();
                Answer::Yes
            }
            Err(e) => self.door().unavailable(&e),
        }
    }

    /// A message begins: what we have to say about it stands before it.
    async fn begin(&mut self) -> Answer {
        let Some(transaction) = self.session.transaction() else {
            return Answer::Refuse(Refusal::Temporary);
        };
        let id = self.rng.token(12);
        let received = Received {
            helo: self.session.client_name().unwrap_or_default(),
            remote: self.connection.endpoints().remote.ip(),
            by: &self.smtp.config.hostname,
            protocol: self.session.protocol(),
            id: &id,
            recipient: match &transaction.recipients[..] {
                [only] => Some(only),
                _ => None,
            },
            at: self.smtp.world.unix_now(),
        };
        let trace = Trace {
            return_path: ReturnPath(&transaction.from).to_string(),
            received: received.to_string(),
        };
        let inspection = self.inspection();
        let (mail, hostname) = (&self.smtp.mail, &self.smtp.config.hostname);
        let editor = self.account.as_ref().map(|account| self.editor(account, &id));
        self.taking = Some(Taking::begin(mail, hostname, id, trace, inspection, editor).await);
        Answer::Yes
    }

    async fn finish(&mut self) -> Answer {
        let Some(mut taking) = self.taking.take() else {
            return Answer::Refuse(Refusal::Temporary);
        };
        if taking.end_edited().await.is_some() {
            return Answer::Refuse(Refusal::FieldTwice);
        }
        let id = taking.id().to_owned();
        let stored = match taking
            .finish(&self.smtp.mail, &self.id, self.no_time_left())
            .await
        {
            Ok(Taken::Unproven) => return Answer::Refuse(Refusal::Unproven),
            Ok(Taken::Unfinished) => return Answer::Refuse(Refusal::Stopping),
            Ok(Taken::Whole { letter, .. }) if letter.is_looping() => return Answer::Refuse(Refusal::Loop),
            Ok(Taken::Whole { letter, .. }) if self.smtp.config.role == Role::Lmtp => {
                self.log_taken(&id, letter.size_bytes());
                return self.store_for_each(id, &letter).await;
            }
            Ok(Taken::Whole { letter, .. }) if !self.leave_circles(&letter) => {
                return Answer::Refuse(Refusal::Loop);
            }
            Ok(Taken::Whole { letter, junk }) => match self.is_by_its_author(&letter).await {
                Ok(true) => self.store(*letter, junk).await,
                Ok(false) => return Answer::Refuse(Refusal::FromNotOwned),
                Err(e) => return self.door().unavailable(&e),
            },
            Err(e) => return self.refused(&e),
        };
        match stored {
            Ok(size_bytes) => {
                self.log_taken(&id, size_bytes);
                Answer::Stored { id }
            }
            Err(refusal) => Answer::Refuse(refusal),
        }
    }

    fn log_taken(&self, id: &str, size_bytes: u64) {
        let transaction = self.session.transaction();
        let from = transaction.map(|t| t.from.to_string()).unwrap_or_default();
        let here = self.recipients.iter().map(|r| r.address.as_str());
        let elsewhere = self.elsewhere.iter().map(|away| away.to.address.as_str());
        let to: Vec<&str> = here.chain(elsewhere).collect();
        tracing::info!(session = %self.id, %id, from, to = to.join(","), size_bytes, "message taken");
    }

    /// What puts the header of a message right that this account submits.
    fn editor(&self, account: &AccountInfo, id: &str) -> HeaderEditor {
        let (name, address) = (&account.display_name, &account.address);
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, ' ' | '-' | '_');
        let from = match !name.is_empty() && name.chars().all(is_plain) {
            true => format!("{name} <{address}>"),
            false => address.to_string(),
        };
        HeaderEditor::new(Missing {
            date: self.smtp.world.unix_now(),
            message_id: format!("{id}@{}", self.smtp.config.hostname),
            from,
        })
    }

    /// Whether a submitted message names nobody as its author or sender but the account that signed in.
    //= https://www.rfc-editor.org/rfc/rfc6409#section-6.1
    async fn is_by_its_author(&mut self, letter: &Letter) -> Result<bool, DirectoryError> {
        let Some(account) = self.account.clone() else {
            return Ok(true);
        };
        let Some(authors) = letter.authors() else {
            return Ok(false);
        };
        for author in authors {
            let owned = match author.rsplit_once('@') {
                Some((local, domain)) => self.smtp.directory.owns(account.id, domain, local).await?,
                None => false,
            };
            if !owned {
                tracing::warn!(session = %self.id, account = %account.address, author, "a message in another's name");
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Keeps a message for all its recipients. When this is done it is on stable storage, and that is what 250 means.
    /// Only what is kept counts as sent.
    pub(super) async fn store(&mut self, letter: Letter, junk: bool) -> Result<u64, Refusal> {
        let (sending, sent) = (self.smtp.sending.clone(), self.sent());
        let now = self.smtp.world.now();
        if let Some(sending) = &sending
            && !sending.take(&sent, now)
        {
            tracing::warn!(session = %self.id, "too many recipients elsewhere within an hour");
            return Err(Refusal::TooMuchSent);
        }
        let stored = self.store_counted(letter, junk).await;
        if let (Some(sending), Err(_)) = (&sending, &stored) {
            sending.give_back(&sent, now);
        }
        stored.map_err(|e| self.refusal(&e))
    }

    async fn store_counted(&mut self, letter: Letter, junk: bool) -> Result<u64, MailError> {
        let (world, mail) = (&self.smtp.world, &self.smtp.mail);
        let (now, size_bytes) = (world.unix_now(), letter.size_bytes());
        let transaction = self.session.transaction().ok_or(MailError::NoSuchAccount)?;
        let is_told = self.recipients.iter().any(|r| r.dsn.notify.success());
        if self.elsewhere.is_empty() && !is_told {
            let (first, others) = self.recipients.split_first().ok_or(MailError::NoSuchAccount)?;
            if others.iter().all(|other| other.account == first.account) {
                let delivery = Delivery {
                    junk,
                    mailbox: mail
                        .folder(first.account, first.folder.as_deref().unwrap_or(""))
                        .await?,
                    ..Delivery::new(now)
                };
                mail.deliver(first.account, &letter, delivery).await?;
                return Ok(size_bytes);
            }
        }
        if self.elsewhere.is_empty() && !anybody_has_room(mail, &self.recipients, size_bytes).await? {
            return Err(MailError::OverQuota);
        }
        let sender = transaction.from.mailbox().map(ToString::to_string);
        let envelope = Envelope {
            junk,
            sender: sender.unwrap_or_default(),
            recipients: self.recipients.clone(),
            dsn: transaction.dsn.clone(),
            sender_account: self.sender_account,
            submitter: self.account.as_ref().map(|account| account.id),
            outgoing: Outgoing {
                recipients: self.elsewhere.iter().map(|away| away.to.clone()).collect(),
                utf8: transaction.utf8,
                // The Return-Path is made where a message ends its way.
                //= https://www.rfc-editor.org/rfc/rfc5321#section-4.4
                skip_bytes: ReturnPath(&transaction.from).to_string().len() as u64,
            },
        };
        let spooled = mail.spool(envelope, letter, now).await?;
        // It is promised, so the client need not wait for each mailbox. What fails is tried again from the spool.
        let (mail, session) = (mail.clone(), self.id.clone());
        world.spawn(Box::pin(async move {
            if let Err(e) = mail.deliver_spooled(&spooled, now).await {
                tracing::warn!(%session, error = %e, "a spooled message waits");
            }
        }));
        Ok(size_bytes)
    }

    pub(super) fn refused(&self, error: &MailError) -> Answer {
        Answer::Refuse(self.refusal(error))
    }

    pub(super) fn refusal(&self, error: &MailError) -> Refusal {
        tracing::warn!(session = %self.id, %error, "a message could not be taken");
        match error {
            MailError::OverQuota => Refusal::MailboxFull,
            MailError::Full => Refusal::SystemFull,
            MailError::TooBig => Refusal::TooLarge,
            MailError::NoSuchAccount => Refusal::NoSuchMailbox,
            _ => Refusal::Temporary,
        }
    }
}

/// Whether anybody here has room for a message, now that its size is known.
async fn anybody_has_room(mail: &Mail, recipients: &[Recipient], size_bytes: u64) -> Result<bool, MailError> {
    for recipient in recipients {
        match mail.has_room(recipient.account, size_bytes).await {
            // Who was removed just now is seen to by the delivery.
            Ok(true) | Err(MailError::NoSuchAccount) => return Ok(true),
            Ok(false) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(recipients.is_empty())
}
