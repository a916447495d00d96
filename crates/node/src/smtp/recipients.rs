//! Whom a message is for: accounts here, people elsewhere, and by whose forwarding.

use super::Driver;
use crate::outbound::{Sending, Sent};
use ringpost_base::limits;
use ringpost_directory::{AccountInfo, Away as ReachedAway, Here};
use ringpost_mail::{Elsewhere, Keeper, Letter, MailError, Recipient};
use ringpost_smtp::{Answer, Domain, ForwardPath, Mailbox, Notify, RcptDsn, Refusal, ReversePath};
use ringpost_store::AccountId;

/// The local part that needs no domain (RFC 5321 §4.5.1).
const POSTMASTER: &str = "postmaster";

/// Somebody on another server.
#[derive(Clone, Debug)]
pub(super) struct Away {
    pub(super) to: Elsewhere,
    /// The address here that leads there; a message that has passed it goes round in circles.
    via: Option<String>,
    /// The account that forwards there.
    account: Option<AccountId>,
    /// The account whose sending it counts as.
    payer: Option<AccountId>,
}

impl Driver<'_> {
    pub(super) async fn recipient(&mut self, path: ForwardPath, mut dsn: RcptDsn) -> Answer {
        if !self.sender_is_told {
            dsn.notify = Notify::NEVER;
        }
        let directory = &self.smtp.directory;
        let (domain, local) = match &path {
            ForwardPath::Postmaster => (Some(directory.default_domain()), POSTMASTER),
            ForwardPath::Mailbox(mailbox) => (mailbox.domain.name(), mailbox.local.as_str()),
        };
        let Some(domain) = domain.filter(|domain| directory.is_local(domain)) else {
            return self.recipient_elsewhere(&path, dsn);
        };
        if let Some(back) = directory.forwarded_sender(local, self.smtp.world.unix_now()) {
            return self.notice_for_sender(back);
        }
        let reach = match directory.reach(domain, local).await {
            Ok(Some(reach)) => reach,
            Ok(None) => return Answer::Refuse(Refusal::NoSuchMailbox),
            Err(e) => return self.door().unavailable(&e),
        };
        let address = match &path {
            ForwardPath::Postmaster => format!("{POSTMASTER}@{domain}"),
            ForwardPath::Mailbox(mailbox) => mailbox.to_string(),
        };
        let mut here = reach.here;
        let away = match self.forwards(reach.elsewhere, &mut here, dsn.clone().led_from(&address)) {
            Ok(away) => away,
            Err(refusal) => return Answer::Refuse(refusal),
        };
        if here.is_empty() && away.is_empty() {
            match directory.always_there(domain, local).await {
                Ok(Some(first)) => here.push(first),
                Ok(None) => return Answer::Refuse(Refusal::NoRoute),
                Err(e) => return self.door().unavailable(&e),
            }
        }
        if self.recipients.len() + self.elsewhere.len() + here.len() + away.len() > limits::MESSAGE_REACHES {
            return Answer::Refuse(Refusal::TooManyRecipients);
        }
        match self.have_room(&here).await {
            // One full mailbox does not keep a message from the others of an alias; for that one it waits.
            Ok(false) if away.is_empty() => return Answer::Refuse(Refusal::MailboxFull),
            Ok(_) => {}
            Err(e) => return self.refused(&e),
        }
        let details = self.smtp.policy.detail_folders;
        let goes_on = |forwards: &AccountInfo| {
            // One that forwards too may be full itself: accounts that forward to each other are no copies of each other.
            let is_to = |other: &Here| {
                let account = &other.account;
                account.forward.to.is_empty() && forwards.forward.to.contains(&account.address.to_string())
            };
            away.iter().any(|one| one.account == Some(forwards.id)) || here.iter().any(is_to)
        };
        let named = here.iter().map(|here| Recipient {
            folder: here.detail.clone().filter(|_| details),
            dsn: dsn.clone(),
            is_copy: goes_on(&here.account),
            ..Recipient::new(address.clone(), here.account.id)
        });
        self.recipients.extend(named);
        self.elsewhere.extend(away);
        Answer::Yes
    }

    /// Whether any of these has room for what MAIL promised.
    async fn have_room(&mut self, here: &[Here]) -> Result<bool, MailError> {
        let declared = self.session.transaction().and_then(|t| t.declared_size_bytes);
        for here in here {
            let has_room = self
                .smtp
                .mail
                .has_room(here.account.id, declared.unwrap_or(0))
                .await;
            match has_room {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                // It was removed just now; the others are there all the same.
                Err(MailError::NoSuchAccount) if here.account.forward.to.is_empty() => {}
                Err(e) => return Err(e),
            }
        }
        Ok(false)
    }

    /// The ways to those elsewhere that forwarding leads to. Where nothing is sent elsewhere, who forwards keeps the mail.
    fn forwards(
        &self,
        elsewhere: Vec<ReachedAway>,
        here: &mut Vec<Here>,
        dsn: RcptDsn,
    ) -> Result<Vec<Away>, Refusal> {
        let mut away = Vec::new();
        for one in elsewhere {
            let Some(sending) = &self.smtp.sending else {
                if let Some(account) = one.account
                    && here.iter().all(|here| here.account.id != account.id)
                {
                    here.push(Here {
                        account,
                        detail: None,
                    });
                }
                continue;
            };
            if let Some(account) = &one.account
                && !self.may_send_one(sending, account.id, &away)
            {
                tracing::warn!(session = %self.id, account = %account.address, "too much forwarded within an hour");
                return Err(Refusal::TooMuchSent);
            }
            let Ok(mailbox) = Mailbox::parse(&one.address) else {
                tracing::warn!(session = %self.id, via = one.via, to = one.address, "an address that is none");
                continue;
            };
            let sender = self.forwarding_sender(&one.via);
            let keeper = one.account.as_ref().map(|account| Keeper {
                account: account.id,
                address: account.address.to_string(),
            });
            away.push(Away {
                to: Elsewhere {
                    sender,
                    dsn: dsn.clone(),
                    keeper,
                    prefix: format!("Delivered-To: {}\r\n", one.via),
                    ..Elsewhere::new(one.address, mailbox.domain.to_string())
                },
                via: Some(one.via),
                account: one.account.as_ref().map(|account| account.id),
                payer: one.account.map(|account| account.id),
            });
        }
        Ok(away)
    }

    /// The sender under which `via` forwards, unless the message keeps its own.
    fn forwarding_sender(&self, via: &str) -> Option<String> {
        let transaction = self.session.transaction()?;
        let ReversePath::Mailbox(sender) = &transaction.from else {
            return None;
        };
        let (_, ours) = via.rsplit_once('@')?;
        let now = self.smtp.world.unix_now();
        let wrapped =
            self.smtp
                .directory
                .forwarding_sender(&sender.local, &sender.domain.to_string(), now)?;
        let sender = Mailbox {
            local: wrapped,
            domain: Domain::Name(ours.to_owned()),
        };
        Some(sender.to_string())
    }

    /// A notice comes back about a message that was forwarded: it goes on to who sent that. Nothing but a notice does.
    fn notice_for_sender(&mut self, back: Option<(String, String)>) -> Answer {
        let is_notice = self
            .session
            .transaction()
            .is_some_and(|t| t.from == ReversePath::Null);
        let Some((local, domain)) = back.filter(|_| is_notice) else {
            return Answer::Refuse(Refusal::NoSuchMailbox);
        };
        let Ok(domain) = Domain::parse(&domain) else {
            return Answer::Refuse(Refusal::NoSuchMailbox);
        };
        if self.smtp.sending.is_none() {
            return Answer::Refuse(Refusal::NoRoute);
        }
        let destination = domain.to_string();
        let address = Mailbox { local, domain }.to_string();
        self.elsewhere.push(Away {
            to: Elsewhere::new(address, destination),
            via: None,
            account: None,
            payer: None,
        });
        Answer::Yes
    }

    /// Whether an account may have one more recipient beside those of the transaction. They are counted when the message is
    /// taken.
    fn may_send_one(&self, sending: &Sending, account: AccountId, others: &[Away]) -> bool {
        let all = self.elsewhere.iter().chain(others);
        let pending = all.filter(|away| away.payer == Some(account)).count();
        let more = u32::try_from(pending + 1).unwrap_or(u32::MAX);
        sending.may(account, more, self.smtp.world.now())
    }

    /// How many recipients elsewhere each account answers for in the transaction.
    pub(super) fn sent(&self) -> Sent {
        let mut sent = Sent::new();
        for account in self.elsewhere.iter().filter_map(|away| away.payer) {
            *sent.entry(account).or_default() += 1;
        }
        sent
    }

    /// Whoever the sender claims to be: only a password opens the way to others.
    fn recipient_elsewhere(&mut self, path: &ForwardPath, dsn: RcptDsn) -> Answer {
        let Some(account) = &self.account else {
            return Answer::Refuse(Refusal::RelayDenied);
        };
        let (Some(sending), Some(mailbox)) = (&self.smtp.sending, path.mailbox()) else {
            return Answer::Refuse(Refusal::NoRoute);
        };
        if let Domain::General(_) = mailbox.domain {
            return Answer::Refuse(Refusal::NoRoute);
        }
        if !self.may_send_one(sending, account.id, &[]) {
            tracing::warn!(session = %self.id, account = %account.address, "too many recipients elsewhere within an hour");
            return Answer::Refuse(Refusal::TooMuchSent);
        }
        let payer = Some(account.id);
        self.elsewhere.push(Away {
            to: Elsewhere {
                dsn,
                ..Elsewhere::new(mailbox.to_string(), mailbox.domain.to_string())
            },
            via: None,
            account: None,
            payer,
        });
        Answer::Yes
    }

    /// Forwards nothing to where it has been: who forwards keeps it then, and whom an alias leads to has it. False when
    /// nobody is left.
    //= https://www.rfc-editor.org/rfc/rfc5321#section-6.3
    pub(super) fn leave_circles(&mut self, letter: &Letter) -> bool {
        let (passed, away): (Vec<Away>, Vec<Away>) = std::mem::take(&mut self.elsewhere)
            .into_iter()
            .partition(|away| away.via.as_ref().is_some_and(|via| letter.has_passed(via)));
        self.elsewhere = away;
        for one in passed {
            let via = one.via.unwrap_or_default();
            tracing::warn!(session = %self.id, via, to = one.to.address, "forwarded in circles, and stopped");
            let Some(account) = one.account else { continue };
            match self.recipients.iter_mut().find(|r| r.account == account) {
                // It is a copy no more.
                Some(recipient) => recipient.is_copy = false,
                None => self.recipients.push(Recipient::new(via, account)),
            }
        }
        !(self.recipients.is_empty() && self.elsewhere.is_empty())
    }
}
