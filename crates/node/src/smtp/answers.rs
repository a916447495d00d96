//! What the directory and the mail service say to a session's questions.

use super::taking::{Taken, Taking, Trace};
use super::{Driver, Smtp};
use crate::logins::check_password;
use ringpost_directory::{AccountInfo, Directory, DirectoryError};
use ringpost_mail::{Delivery, Elsewhere, Envelope, Letter, MailError, Outgoing, Recipient};
use ringpost_smtp::{
    Answer, Body, Domain, ForwardPath, Question, Received, Refusal, ReturnPath, ReversePath,
};
use std::sync::Arc;
use std::time::Duration;

/// What a failed password adds to the time that the next one takes, and the most that it comes to.
const GUESS_DELAY: Duration = Duration::from_secs(1);
const MAX_GUESS_DELAY: Duration = Duration::from_secs(5);

/// The local part that every domain has to have (RFC 5321 §4.5.1).
const POSTMASTER: &str = "postmaster";

impl Driver<'_> {
    pub(super) async fn answer(&mut self, question: Question) -> Answer {
        match question {
            Question::CheckPassword(password) => {
                let Smtp { world, directory, .. } = self.smtp;
                let from = self.connection.endpoints().remote.ip();
                let login = check_password(world, directory, from, &password.user, &password.password).await;
                self.sign_in(&password.user, password.authzid.as_deref(), login)
                    .await
            }
            Question::FetchKeys { user } => match self.smtp.directory.scram_keys(&user).await {
                Ok(keys) => Answer::Keys(keys.map(|(_, keys)| keys)),
                Err(e) => self.unavailable(&e),
            },
            Question::Authorize { authzid, user } => {
                let account = self.smtp.directory.account_by_login(&user).await;
                self.sign_in(&user, authzid.as_deref(), account).await
            }
            Question::Sender { from, .. } => {
                self.recipients.clear();
                self.elsewhere.clear();
                self.may_send_as(&from).await
            }
            Question::Recipient(path) => self.recipient(path).await,
            Question::Begin => self.begin().await,
            Question::Finish { .. } => self.finish().await,
        }
    }

    async fn sign_in(
        &mut self,
        user: &str,
        authzid: Option<&str>,
        login: Result<Option<Arc<AccountInfo>>, DirectoryError>,
    ) -> Answer {
        let account = match login {
            Ok(account) => account,
            Err(e) => return self.unavailable(&e),
        };
        // Nobody acts as somebody else here, but an account may be called by any of its names.
        let acts_as = match (account, authzid) {
            (Some(account), Some(authzid)) => match self.smtp.directory.account_by_login(authzid).await {
                Ok(wanted) => wanted.filter(|wanted| wanted.id == account.id),
                Err(e) => return self.unavailable(&e),
            },
            (account, _) => account,
        };
        let Some(account) = acts_as else {
            let remote = self.connection.endpoints().remote;
            tracing::warn!(session = %self.id, %remote, user, "smtp login failed");
            self.failed_logins += 1;
            let delay = MAX_GUESS_DELAY.min(GUESS_DELAY * self.failed_logins);
            self.smtp.world.sleep_until(self.smtp.world.now() + delay).await;
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
        match self.smtp.directory.account(domain, &mailbox.local).await {
            Ok(Some(owner)) if owner.id == account.id => Answer::Yes,
            Ok(_) => Answer::Refuse(Refusal::SenderNotOwned),
            Err(e) => self.unavailable(&e),
        }
    }

    async fn recipient(&mut self, path: ForwardPath) -> Answer {
        let directory = &self.smtp.directory;
        let (domain, local) = match &path {
            ForwardPath::Postmaster => (Some(directory.default_domain()), POSTMASTER),
            ForwardPath::Mailbox(mailbox) => (mailbox.domain.name(), mailbox.local.as_str()),
        };
        let Some(domain) = domain.filter(|domain| directory.is_local(domain)) else {
            return self.recipient_elsewhere(&path);
        };
        let account = match directory.account(domain, local).await {
            Ok(Some(account)) => account.id,
            Ok(None) => match stand_in(directory, domain, local).await {
                Ok(Some(account)) => account.id,
                Ok(None) => return Answer::Refuse(Refusal::NoSuchMailbox),
                Err(e) => return self.unavailable(&e),
            },
            Err(e) => return self.unavailable(&e),
        };
        let size_bytes = self
            .session
            .transaction()
            .and_then(|t| t.declared_size_bytes)
            .unwrap_or(0);
        match self.smtp.mail.has_room(account, size_bytes).await {
            Ok(true) => {}
            Ok(false) => return Answer::Refuse(Refusal::MailboxFull),
            Err(e) => return self.refused(&e),
        }
        let address = match &path {
            ForwardPath::Postmaster => format!("{POSTMASTER}@{domain}"),
            ForwardPath::Mailbox(mailbox) => mailbox.to_string(),
        };
        self.recipients.push(Recipient { address, account });
        Answer::Yes
    }

    /// Whoever the sender claims to be: only a password opens the way to others.
    fn recipient_elsewhere(&mut self, path: &ForwardPath) -> Answer {
        let Some(account) = &self.account else {
            return Answer::Refuse(Refusal::RelayDenied);
        };
        let (Some(sending), Some(mailbox)) = (&self.smtp.sending, path.mailbox()) else {
            return Answer::Refuse(Refusal::NoRoute);
        };
        if let Domain::General(_) = mailbox.domain {
            return Answer::Refuse(Refusal::NoRoute);
        }
        if !sending.take(account.id, self.smtp.world.now()) {
            tracing::warn!(session = %self.id, account = %account.address, "too many recipients elsewhere within an hour");
            return Answer::Refuse(Refusal::TooMuchSent);
        }
        self.elsewhere.push(Elsewhere {
            address: mailbox.to_string(),
            destination: mailbox.domain.to_string(),
        });
        Answer::Yes
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
        let inspection = self.inspection(&transaction.from);
        let (mail, hostname) = (&self.smtp.mail, &self.smtp.config.hostname);
        self.taking = Some(Taking::begin(mail, hostname, id, trace, inspection).await);
        Answer::Yes
    }

    async fn finish(&mut self) -> Answer {
        let Some(taking) = self.taking.take() else {
            return Answer::Refuse(Refusal::Temporary);
        };
        let id = taking.id().to_owned();
        let stored = match taking.finish(&self.smtp.mail, &self.id).await {
            Ok(Taken::Unproven) => return Answer::Refuse(Refusal::Unproven),
            Ok(Taken::Whole { letter, .. }) if letter.is_looping() => return Answer::Refuse(Refusal::Loop),
            Ok(Taken::Whole { letter, junk }) => self.store(*letter, junk).await,
            Err(e) => Err(e),
        };
        match stored {
            Ok(size_bytes) => {
                let from = self
                    .session
                    .transaction()
                    .map(|t| t.from.to_string())
                    .unwrap_or_default();
                let here = self.recipients.iter().map(|r| r.address.as_str());
                let elsewhere = self.elsewhere.iter().map(|r| r.address.as_str());
                let to: Vec<&str> = here.chain(elsewhere).collect();
                tracing::info!(session = %self.id, %id, from, to = to.join(","), size_bytes, "message taken");
                Answer::Stored { id }
            }
            Err(e) => self.refused(&e),
        }
    }

    /// Keeps a message for all its recipients. When this is done it is on stable storage, and that is what 250 means.
    async fn store(&mut self, letter: Letter, junk: bool) -> Result<u64, MailError> {
        let (world, mail) = (&self.smtp.world, &self.smtp.mail);
        let (now, size_bytes) = (world.unix_now(), letter.size_bytes());
        let transaction = self.session.transaction().ok_or(MailError::NoSuchAccount)?;
        if self.elsewhere.is_empty() {
            let mut accounts = self.recipients.iter().map(|r| r.account);
            let first = accounts.next().ok_or(MailError::NoSuchAccount)?;
            if accounts.all(|account| account == first) {
                let delivery = Delivery {
                    junk,
                    ..Delivery::new(now)
                };
                mail.deliver(first, &letter, delivery).await?;
                return Ok(size_bytes);
            }
        }
        let sender = transaction.from.mailbox().map(ToString::to_string);
        let envelope = Envelope {
            junk,
            sender: sender.unwrap_or_default(),
            recipients: self.recipients.clone(),
            submitter: self.account.as_ref().map(|account| account.id),
            outgoing: Outgoing {
                recipients: self.elsewhere.clone(),
                eight_bit: transaction.body == Body::EightBit,
                utf8: transaction.utf8,
                // The Return-Path is made where a message ends its way.
                //= https://www.rfc-editor.org/rfc/rfc5321#section-4.4
                skip_bytes: ReturnPath(&transaction.from).to_string().len() as u64,
                ..Outgoing::default()
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

    fn unavailable(&self, error: &DirectoryError) -> Answer {
        tracing::warn!(session = %self.id, %error, "the directory could not answer");
        Answer::Refuse(Refusal::Temporary)
    }

    fn refused(&self, error: &MailError) -> Answer {
        tracing::warn!(session = %self.id, %error, "a message could not be taken");
        Answer::Refuse(match error {
            MailError::OverQuota => Refusal::MailboxFull,
            MailError::Full => Refusal::SystemFull,
            MailError::TooBig => Refusal::TooLarge,
            MailError::NoSuchAccount => Refusal::NoSuchMailbox,
            _ => Refusal::Temporary,
        })
    }
}

/// Where nobody is postmaster, whoever was there first is.
//= https://www.rfc-editor.org/rfc/rfc5321#section-4.5.1
async fn stand_in(
    directory: &Directory,
    domain: &str,
    local: &str,
) -> Result<Option<AccountInfo>, DirectoryError> {
    if !local.eq_ignore_ascii_case(POSTMASTER) {
        return Ok(None);
    }
    let accounts = directory.accounts(domain).await?;
    Ok(accounts
        .into_iter()
        .min_by_key(|account| (account.created, account.id)))
}
