//! What is asked of strangers before their message comes.

use super::Driver;
use ringpost_mail::Peer;
use ringpost_smtp::{Answer, ForwardPath, Refusal, Role};

/// The local parts that everybody may write to: who is refused must be able to say so.
//= https://www.rfc-editor.org/rfc/rfc5321#section-4.5.1
const ALWAYS: [&str; 2] = ["postmaster", "abuse"];

impl Driver<'_> {
    /// Why a recipient is not taken from whoever this is, if there is a reason.
    pub(super) async fn refuses_stranger(&mut self, path: &ForwardPath) -> Option<Answer> {
        if self.account.is_some() || self.smtp.config.role != Role::Mx {
            return None;
        }
        let mailbox = path.mailbox()?;
        if ALWAYS
            .iter()
            .any(|name| name.eq_ignore_ascii_case(&mailbox.local))
        {
            return None;
        }
        let sender_auth = self.smtp.sender_auth.as_ref()?;
        let remote = self.connection.endpoints().remote;
        let list = match &self.refusing_list {
            Some(known) => known.clone(),
            None => sender_auth.refusing_list(remote.ip()).await,
        };
        self.refusing_list = Some(list.clone());
        if let Some(zone) = list {
            tracing::info!(session = %self.id, %remote, zone, "refused: in a block list");
            return Some(Answer::Listed { zone });
        }
        let delay = self.smtp.policy.greylist?;
        let peer = self.peer()?;
        let sender = match &peer.sender {
            Some((local, domain)) => format!("{local}@{domain}"),
            None => String::new(),
        };
        let is_proven = match self.is_proven {
            Some(known) => known,
            None => sender_auth.is_proven(peer).await,
        };
        self.is_proven = Some(is_proven);
        if is_proven {
            return None;
        }
        let now = self.smtp.world.unix_now();
        let recipient = mailbox.to_string().to_lowercase();
        let may = self
            .smtp
            .mail
            .may_come(remote.ip(), &sender, &recipient, delay, now);
        match may.await {
            Ok(true) => None,
            Ok(false) => {
                tracing::info!(session = %self.id, %remote, sender, recipient, "greylisted");
                Some(Answer::Refuse(Refusal::Greylisted))
            }
            Err(error) => {
                tracing::warn!(session = %self.id, %error, "greylisting is left out");
                None
            }
        }
    }

    /// Who brings the message of the transaction.
    pub(super) fn peer(&self) -> Option<Peer> {
        let transaction = self.session.transaction()?;
        Some(Peer {
            address: self.connection.endpoints().remote.ip(),
            helo: self.session.client_name().unwrap_or_default().to_owned(),
            sender: transaction
                .from
                .mailbox()
                .map(|mailbox| (mailbox.local.clone(), mailbox.domain.to_string())),
            now: self.smtp.world.unix_now(),
        })
    }
}
