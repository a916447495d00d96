//! What accounts may hold, what they hold, and the notice to whom it becomes little.

use crate::{Mail, MailError};
use ringpost_base::UnixTime;
use ringpost_imap::MailboxName;
use ringpost_imap::question::{QuotaUse, Used};
use ringpost_smtp::Rfc5322Date;
use ringpost_store::keys::{self, Usage};
use ringpost_store::mailbox::MailBatch;
pub use ringpost_store::mailbox::Quota;
use ringpost_store::records::{Account, Flags, Message, QuotaWarning};
use ringpost_store::{
    AccountId, Batch, CommitError, Found, Partition, Query, Record, Versioned, counter_value,
};
use std::sync::PoisonError;

/// So full, in hundredths, an account's owner is told.
const WARN_PERCENT: u64 = 90;
/// Below this it has room again, and the next time that it becomes full is told anew.
const ROOM_PERCENT: u64 = 80;

impl Mail {
    /// What holds from now on for accounts without a quota of their own.
    pub fn set_default_quota(&self, quota: Quota) {
        *self.default_quota.write().unwrap_or_else(PoisonError::into_inner) = quota;
    }

    /// What an account may hold: its own quota, or what the configuration says.
    pub(crate) fn quota_of(&self, account: &Account) -> Quota {
        let default = *self.default_quota.read().unwrap_or_else(PoisonError::into_inner);
        let limit =
            |own: Option<u64>, default: Option<u64>| own.or(default).filter(|limit| *limit < u64::MAX);
        Quota {
            bytes: limit(account.quota_bytes, default.bytes),
            messages: limit(account.quota_messages, default.messages),
        }
    }

    /// What an account holds, and may hold.
    pub async fn quota(&self, account: AccountId) -> Result<QuotaUse, MailError> {
        let quota = self.quota_of(&self.account(account).await?);
        let (bytes, messages, _) = self.usage(account).await?;
        self.settle(account).await;
        Ok(QuotaUse {
            bytes: Used {
                used: bytes,
                limit: quota.bytes,
            },
            messages: Used {
                used: messages,
                limit: quota.messages,
            },
        })
    }

    /// Whether a message of so many bytes would fit into the account's quota now.
    pub async fn has_room(&self, account: AccountId, size_bytes: u64) -> Result<bool, MailError> {
        let quota = self.quota_of(&self.account(account).await?);
        if quota == Quota::default() {
            return Ok(true);
        }
        let (bytes, messages, _) = self.usage(account).await?;
        let fits = |used: u64, more: u64, limit: Option<u64>| {
            limit.is_none_or(|limit| used < limit && used.saturating_add(more) <= limit)
        };
        Ok(fits(bytes, size_bytes, quota.bytes) && fits(messages, 1, quota.messages))
    }

    /// Bytes and messages, and the warning that was given.
    async fn usage(&self, account: AccountId) -> Result<(u64, u64, Option<Versioned>), MailError> {
        let (bytes, messages) = (keys::usage(Usage::Bytes), keys::usage(Usage::Messages));
        let queries = [bytes.clone(), messages.clone(), keys::quota_warning()];
        let home = Partition::Account(account);
        let found = self.store.read(&home, queries.map(Query::Get).into()).await?;
        let mut found = found.into_iter().map(Found::value);
        let mut next = || found.next().flatten();
        let number = |key, value: Option<Versioned>| {
            let number = value.map_or(Ok(0), |v| counter_value(key, &v.value))?;
            Ok::<u64, MailError>(u64::try_from(number).unwrap_or(0))
        };
        Ok((number(&bytes, next())?, number(&messages, next())?, next()))
    }

    /// Tells the owner, once, that the account is nearly full after so many bytes and messages were added. The notice itself
    /// is delivered whatever the quota; what fails is tried with the next message.
    pub(crate) async fn watch_quota(
        &self,
        account: AccountId,
        owner: &Account,
        quota: Quota,
        added: (u64, u64),
        now: UnixTime,
    ) {
        if quota == Quota::default() {
            return;
        }
        if let Err(error) = self.warn(account, owner, quota, added, now).await {
            tracing::warn!(%account, %error, "nobody was told that an account is nearly full");
        }
    }

    async fn warn(
        &self,
        account: AccountId,
        owner: &Account,
        quota: Quota,
        (more_bytes, more_messages): (u64, u64),
        now: UnixTime,
    ) -> Result<(), MailError> {
        let (bytes, messages, told) = self.usage(account).await?;
        let after = percent(bytes, messages, quota);
        let before = percent(
            bytes.saturating_sub(more_bytes),
            messages.saturating_sub(more_messages),
            quota,
        );
        let had_room = before < ROOM_PERCENT;
        let key = keys::quota_warning();
        match &told {
            // There is room again: that it was told once counts no more.
            Some(told) if had_room && after < WARN_PERCENT => {
                let mut batch = Batch::new(Partition::Account(account));
                batch.unchanged(key.clone(), told.version).delete(key);
                return match self.store.commit(batch).await {
                    Ok(_) | Err(CommitError::Conflict(_)) => Ok(()),
                    Err(error) => Err(error.into()),
                };
            }
            Some(_) if !had_room => return Ok(()),
            _ if after < WARN_PERCENT => return Ok(()),
            _ => {}
        }
        let letter =
            self.letter(notice(owner, after, bytes, quota, now, || self.draw(|rng| rng.token(20))).into());
        let letter = letter.await?;
        let message = Message {
            received: now,
            saved: now,
            email_id: self.draw(|rng| rng.u64()),
            ..letter.message.clone()
        };
        let inbox = self.mailbox(account, &MailboxName::inbox()).await?.record;
        let mut batch = MailBatch::new(account, Quota::default());
        batch.add(&inbox, &message, Flags::NONE, Default::default(), &letter.body);
        match told {
            Some(told) => batch.batch().unchanged(key.clone(), told.version),
            None => batch.batch().absent(key.clone()),
        };
        batch
            .batch()
            .exists(keys::account())
            .put(key, QuotaWarning { at: now }.to_bytes());
        match self.commit(account, batch).await {
            // Or somebody else has told at the same time.
            Ok(_) | Err(CommitError::Conflict(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// How full an account is, by what is fullest.
fn percent(bytes: u64, messages: u64, quota: Quota) -> u64 {
    let of = |used: u64, limit: Option<u64>| match limit {
        None => 0,
        Some(0) => 100,
        Some(limit) => u64::try_from(u128::from(used) * 100 / u128::from(limit)).unwrap_or(u64::MAX),
    };
    of(bytes, quota.bytes).max(of(messages, quota.messages))
}

/// A number of bytes as people read it.
fn size(bytes: u64) -> String {
    const UNITS: [(&str, u32); 3] = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    match UNITS.into_iter().find(|(_, shift)| bytes >> shift > 0) {
        None => format!("{bytes} bytes"),
        Some((unit, shift)) => {
            let tenths = (u128::from(bytes) * 10) >> shift;
            format!("{}.{} {unit}", tenths / 10, tenths % 10)
        }
    }
}

//= https://www.rfc-editor.org/rfc/rfc3834#section-5
fn notice(
    owner: &Account,
    percent: u64,
    bytes: u64,
    quota: Quota,
    now: UnixTime,
    token: impl FnOnce() -> String,
) -> String {
    let Account {
        local_part, domain, ..
    } = owner;
    let room = match quota.bytes {
        Some(limit) => format!("It holds {} of {}. ", size(bytes), size(limit)),
        None => String::new(),
    };
    format!(
        "From: Mail system <postmaster@{domain}>\r\nTo: <{local_part}@{domain}>\r\n\
         Subject: Your mailbox is {percent} % full\r\nDate: {}\r\nMessage-ID: <{}@{domain}>\r\n\
         Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n\
         Your mailbox is {percent} % full. {room}When it is full, new mail is turned back to whoever sent it.\r\n\r\n\
         Delete what you do not need, and empty the trash.\r\n",
        Rfc5322Date(now),
        token(),
    )
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_are_told_in_units_that_fit() {
        for (bytes, told) in [
            (0, "0 bytes"),
            (1_023, "1023 bytes"),
            (18_432, "18.0 KiB"),
            (5 << 20, "5.0 MiB"),
            (1_600 << 20, "1.5 GiB"),
            (u64::MAX, "17179869183.9 GiB"),
        ] {
            assert_eq!(size(bytes), told);
        }
    }
}
