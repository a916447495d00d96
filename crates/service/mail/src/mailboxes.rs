//! Mailboxes and their names: made, removed, renamed, listed, subscribed to.

use crate::special_use::use_of_name;
use crate::{Mail, MailError, TRIES, modseq};
use ringpost_base::{UnixTime, limits};
use ringpost_imap::question::{ListedMailbox, MailboxId, Status};
use ringpost_imap::{MailboxName, SpecialUse};
use ringpost_store::keys::MailboxCount;
use ringpost_store::mailbox;
use ringpost_store::records::{self, Mailbox, Subscription};
use ringpost_store::{
    AccountId, Batch, CommitError, Found, Hint, Minted, Partition, Query, Record, StatesOf, Stored, Topic,
    counter_value, keys,
};
use std::collections::{BTreeMap, BTreeSet};

/// What the mailbox for junk is called where nobody has chosen one.
const JUNK: &str = "Junk";

/// What every account begins with, all of it subscribed to.
const DEFAULTS: [(&str, Option<records::SpecialUse>); 6] = [
    ("INBOX", None),
    ("Drafts", Some(records::SpecialUse::Drafts)),
    ("Sent", Some(records::SpecialUse::Sent)),
    (JUNK, Some(records::SpecialUse::Junk)),
    ("Trash", Some(records::SpecialUse::Trash)),
    ("Archive", Some(records::SpecialUse::Archive)),
];

impl Mail {
    /// Makes the default mailboxes of an account that was just made: INBOX, Drafts, Sent, Junk, Trash, Archive. Those that are
    /// there already stay as they are.
    pub async fn create_defaults(&self, account: AccountId, now: UnixTime) -> Result<(), MailError> {
        let home = Partition::Account(account);
        // UIDVALIDITY goes on from the clock, so that an account that is made again does not repeat one.
        let mut start = Batch::new(home.clone());
        start
            .exists(keys::account())
            .absent(keys::last_uid_validity())
            .put(keys::last_uid_validity(), now.as_secs().to_be_bytes().to_vec());
        match self.store.commit(start).await {
            Ok(_) | Err(CommitError::Conflict(_)) => {}
            Err(e) => return Err(e.into()),
        }
        for _ in 0..TRIES {
            self.account(account).await?;
            let there = self.all_mailboxes(account).await?;
            let mut batch = Batch::new(home.clone());
            batch.exists(keys::account());
            let change = batch.mint(keys::changes());
            for (name, special_use) in DEFAULTS {
                let taken = |m: &Stored<Mailbox>| {
                    m.record.name == name || special_use.is_some() && m.record.special_use == special_use
                };
                if !there.iter().any(taken) {
                    mailbox::create(&mut batch, &new_mailbox(name, special_use, now));
                    batch.put(keys::subscription(name), Subscription {}.to_bytes());
                }
            }
            if batch.puts.is_empty() {
                return Ok(());
            }
            match self.commit_batch(account, batch, change).await {
                Ok(_) => return Ok(()),
                Err(CommitError::Conflict(_)) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Err(MailError::Busy)
    }

    /// The mailbox for junk: the one that is for that, or else the one that is called so. One that is missing is made.
    //= https://www.rfc-editor.org/rfc/rfc6154#section-2
    pub(crate) async fn junk_mailbox(&self, account: AccountId, now: UnixTime) -> Result<Mailbox, MailError> {
        let name = MailboxName::new(JUNK).map_err(|_| MailError::NoSuchMailbox)?;
        for _ in 0..TRIES {
            let mut all = self.all_mailboxes(account).await?.into_iter().map(|m| m.record);
            if let Some(found) = all.find(|m| m.special_use == Some(records::SpecialUse::Junk)) {
                return Ok(found);
            }
            match self.create(account, &name, Some(SpecialUse::Junk), now).await {
                Ok(_) | Err(MailError::Cannot(_)) => {}
                Err(MailError::AlreadyExists) => {
                    if let Some(found) = self.find_mailbox(account, &name).await? {
                        return Ok(found.record);
                    }
                }
                // There is room for no mailbox more: better among the others than nowhere.
                Err(MailError::Limit(_)) => {
                    return Ok(self.mailbox(account, &MailboxName::inbox()).await?.record);
                }
                Err(e) => return Err(e),
            }
        }
        Err(MailError::Busy)
    }

    /// Every mailbox, every name above one that is none itself, and every name that is subscribed to.
    pub async fn list(&self, account: AccountId) -> Result<Vec<ListedMailbox>, MailError> {
        let queries = vec![Query::Scan(keys::mailboxes()), Query::Scan(keys::subscriptions())];
        let found = self.store.read(&Partition::Account(account), queries).await?;
        self.settle(account).await;
        let mut found = found.into_iter().map(Found::entries);
        let (mailboxes, subscriptions) = (found.next().unwrap_or_default(), found.next().unwrap_or_default());
        let mut listed = BTreeMap::new();
        let entry = |name: MailboxName| ListedMailbox {
            name,
            exists: false,
            selectable: false,
            subscribed: false,
            special_use: None,
        };
        for found in mailboxes {
            let mailbox = Mailbox::from_bytes(&found.key, found.value)?;
            let name = spoken(&mailbox.name)?;
            let mut above = name.parent();
            while let Some(parent) = above {
                above = parent.parent();
                listed
                    .entry(parent.clone())
                    .or_insert_with(|| entry(parent))
                    .exists = true;
            }
            let one = listed.entry(name.clone()).or_insert_with(|| entry(name));
            (one.exists, one.selectable) = (true, true);
            one.special_use = mailbox.special_use.map(from_stored_use);
        }
        for found in subscriptions {
            let name = keys::subscription_name(&found.key).and_then(|name| MailboxName::new(name).ok());
            if let Some(name) = name {
                listed
                    .entry(name.clone())
                    .or_insert_with(|| entry(name))
                    .subscribed = true;
            }
        }
        Ok(listed.into_values().collect())
    }

    /// A mailbox's numbers.
    pub async fn status(&self, account: AccountId, name: &MailboxName) -> Result<Status, MailError> {
        let mailbox = self.mailbox(account, name).await?.record;
        let id = mailbox.id;
        let counters = [
            keys::mailbox_count(id, MailboxCount::Messages),
            keys::mailbox_count(id, MailboxCount::Unseen),
            keys::last_uid(id),
            keys::last_modseq(id),
            keys::mailbox_count(id, MailboxCount::Bytes),
            keys::mailbox_count(id, MailboxCount::Deleted),
        ];
        let home = Partition::Account(account);
        let found = self.store.get_many(&home, counters.to_vec()).await?;
        let mut values = [0; 6];
        for ((value, key), found) in values.iter_mut().zip(&counters).zip(found) {
            *value = found.map_or(Ok(0), |v| counter_value(key, &v.value))?;
        }
        let highest_modseq = modseq::spoken(values[3].max(0) as u64);
        let size_bytes = values[4].max(0) as u64;
        let [messages, unseen, last_uid, .., deleted] = values.map(|n| u32::try_from(n).unwrap_or(u32::MAX));
        let claimed = self.claimed(account, id).await?;
        let recent = match claimed < last_uid {
            true => {
                let unclaimed = StatesOf::range(id, claimed + 1..=u32::MAX);
                unclaimed.read(&*self.store, account).await?.iter().count()
            }
            false => 0,
        };
        let deleted_bytes = match deleted {
            0 => 0,
            _ => self.deleted_bytes(account, id).await?,
        };
        self.settle(account).await;
        Ok(Status {
            messages,
            recent: recent as u32,
            uid_next: last_uid.saturating_add(1),
            uid_validity: mailbox.uid_validity,
            unseen,
            highest_modseq,
            mailbox: MailboxId(id.0.into()),
            size_bytes,
            deleted,
            deleted_bytes,
        })
    }

    /// The sizes of messages with `\Deleted` together.
    async fn deleted_bytes(&self, account: AccountId, id: records::MailboxId) -> Result<u64, MailError> {
        let states = StatesOf::all(id).read(&*self.store, account).await?;
        let deleted = states
            .iter()
            .filter(|(_, state)| state.flags.contains(records::Flags::DELETED));
        Ok(deleted.map(|(_, state)| state.size_bytes).sum())
    }

    /// Makes a mailbox for a client. One that does not say what it is for says it by the name that it always gives it, where
    /// no mailbox is for that yet.
    pub async fn create_named(
        &self,
        account: AccountId,
        name: &MailboxName,
        special_use: Option<SpecialUse>,
        now: UnixTime,
    ) -> Result<MailboxId, MailError> {
        let by_name = use_of_name(name).filter(|_| special_use.is_none());
        if by_name.is_none() {
            return self.create(account, name, special_use, now).await;
        }
        match self.create(account, name, by_name, now).await {
            Err(MailError::SpecialUse(_)) => self.create(account, name, None, now).await,
            done => done,
        }
    }

    /// Makes a mailbox, and those above it that are missing; gives its number.
    pub async fn create(
        &self,
        account: AccountId,
        name: &MailboxName,
        special_use: Option<SpecialUse>,
        now: UnixTime,
    ) -> Result<MailboxId, MailError> {
        let special_use = special_use.map(to_stored_use).transpose()?;
        for _ in 0..TRIES {
            let all = self.all_mailboxes(account).await?;
            if special_use.is_some() && all.iter().any(|m| m.record.special_use == special_use) {
                return Err(MailError::SpecialUse("Another mailbox is for that already"));
            }
            let mut batch = Batch::new(Partition::Account(account));
            let id = create_in(&mut batch, &names_of(&all)?, name, special_use, now)?;
            match self.commit_names(account, batch).await? {
                Some(minted) => return Ok(MailboxId(id.of(&minted).unwrap_or_default())),
                None => continue,
            }
        }
        Err(MailError::Busy)
    }

    /// Removes a mailbox and its messages; gives the number that it had. Those below it stay, and so do subscriptions.
    //= https://www.rfc-editor.org/rfc/rfc3501#section-6.3.4
    pub async fn delete(&self, account: AccountId, name: &MailboxName) -> Result<MailboxId, MailError> {
        if name.is_inbox() {
            return Err(MailError::Cannot("the inbox stays"));
        }
        for _ in 0..TRIES {
            let Some(mailbox) = self.find_mailbox(account, name).await? else {
                let below = keys::mailbox_names(&format!("{name}/")).limit(1);
                let below = self.store.scan(&Partition::Account(account), below).await?;
                return Err(match below.is_empty() {
                    true => MailError::NoSuchMailbox,
                    false => MailError::HasChildren,
                });
            };
            let mut batch = Batch::new(Partition::Account(account));
            mailbox::delete(&mut batch, &mailbox);
            if self.commit_names(account, batch).await?.is_some() {
                self.clear_away(account).await?;
                return Ok(MailboxId(mailbox.record.id.0.into()));
            }
        }
        Err(MailError::Busy)
    }

    /// Clears away what deleted mailboxes held, with all its counts, and tells who looks at them.
    async fn clear_away(&self, account: AccountId) -> Result<(), MailError> {
        mailbox::clear_leaving(&*self.store, account).await?;
        let mut batch = Batch::new(Partition::Account(account));
        let change = batch.mint(keys::changes());
        let minted = self.commit_batch(account, batch, change).await?;
        // Voicemail may have been among it, which was counted out with it.
        self.bus.publish(Hint {
            account,
            topic: Topic::Lamp,
            change: change.of(&minted).unwrap_or_default(),
        });
        Ok(())
    }

    /// Renames a mailbox and those below it; of the inbox the messages move, and it stays.
    //= https://www.rfc-editor.org/rfc/rfc3501#section-6.3.5
    pub async fn rename(
        &self,
        account: AccountId,
        from: &MailboxName,
        to: &MailboxName,
        now: UnixTime,
    ) -> Result<(), MailError> {
        if to == from {
            return Err(MailError::AlreadyExists);
        }
        if from.is_inbox() {
            self.create(account, to, None, now).await?;
            return self.move_all(account, from, to, now).await;
        }
        if to.is_below(from) {
            return Err(MailError::Cannot("a mailbox cannot be put below itself"));
        }
        for _ in 0..TRIES {
            let all = self.all_mailboxes(account).await?;
            let mut moving = Vec::new();
            for mailbox in &all {
                let name = spoken(&mailbox.record.name)?;
                if name == *from || name.is_below(from) {
                    let tail = &name.as_str()[from.as_str().len()..];
                    let renamed = MailboxName::new(&format!("{to}{tail}"))
                        .map_err(|_| MailError::Limit("the new name of a mailbox would be too long"))?;
                    moving.push((mailbox, renamed));
                }
            }
            if moving.is_empty() {
                return Err(MailError::NoSuchMailbox);
            }
            let mut batch = Batch::new(Partition::Account(account));
            let staying = names_of(&all)?;
            // A parent that does not exist itself takes nothing along that could stand where `to` is.
            //= https://www.rfc-editor.org/rfc/rfc3501#section-6.3.5
            let is_there = |name: &MailboxName| staying.contains(name);
            if is_there(to) || moving.iter().any(|(_, renamed)| is_there(renamed)) {
                return Err(MailError::AlreadyExists);
            }
            if let Some(parent) = to.parent().filter(|parent| !is_there(parent)) {
                create_in(&mut batch, &staying, &parent, None, now)?;
            }
            for (mailbox, renamed) in moving {
                mailbox::rename(&mut batch, mailbox, renamed.as_str());
            }
            if self.commit_names(account, batch).await?.is_some() {
                return Ok(());
            }
        }
        Err(MailError::Busy)
    }

    /// Subscribes to a name, or no longer. To be subscribed to, a mailbox must be there; to be left, it need not.
    pub async fn subscribe(
        &self,
        account: AccountId,
        name: &MailboxName,
        subscribed: bool,
    ) -> Result<(), MailError> {
        let mut batch = Batch::new(Partition::Account(account));
        if subscribed {
            let listed = self.list(account).await?;
            //= https://www.rfc-editor.org/rfc/rfc3501#section-6.3.6
            if !listed.iter().any(|m| m.name == *name && m.exists) {
                return Err(MailError::NoSuchMailbox);
            }
            if listed.iter().filter(|m| m.subscribed).count() >= limits::MAILBOXES_PER_ACCOUNT {
                return Err(MailError::Limit("too many subscriptions"));
            }
            batch.put(keys::subscription(name.as_str()), Subscription {}.to_bytes());
        } else {
            batch.delete(keys::subscription(name.as_str()));
        }
        batch.exists(keys::account());
        let change = batch.mint(keys::changes());
        match self.commit_batch(account, batch, change).await {
            Ok(_) => Ok(()),
            Err(CommitError::Conflict(_)) => Err(MailError::NoSuchAccount),
            Err(e) => Err(e.into()),
        }
    }

    /// Commits a change of names, and gives what was minted; `None` when it is to be begun anew.
    async fn commit_names(
        &self,
        account: AccountId,
        mut batch: Batch,
    ) -> Result<Option<Vec<u64>>, MailError> {
        batch.exists(keys::account());
        let change = batch.mint(keys::changes());
        match self.commit_batch(account, batch, change).await {
            Ok(minted) => Ok(Some(minted)),
            Err(CommitError::Conflict(key)) if key == keys::account() => Err(MailError::NoSuchAccount),
            Err(CommitError::Conflict(_)) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }
}

/// Makes a mailbox and those above it that are missing among `names`; gives its number.
fn create_in(
    batch: &mut Batch,
    names: &BTreeSet<MailboxName>,
    name: &MailboxName,
    special_use: Option<records::SpecialUse>,
    now: UnixTime,
) -> Result<Minted, MailError> {
    if names.contains(name) {
        return Err(MailError::AlreadyExists);
    }
    let mut missing = vec![(name.clone(), special_use)];
    let mut above = name.parent();
    while let Some(parent) = above.filter(|parent| !names.contains(parent)) {
        above = parent.parent();
        missing.push((parent, None));
    }
    if names.len() + missing.len() > limits::MAILBOXES_PER_ACCOUNT {
        return Err(MailError::Limit("too many mailboxes"));
    }
    for (name, special_use) in missing.drain(1..).rev() {
        mailbox::create(batch, &new_mailbox(name.as_str(), special_use, now));
    }
    Ok(mailbox::create(
        batch,
        &new_mailbox(name.as_str(), special_use, now),
    ))
}

fn names_of(all: &[Stored<Mailbox>]) -> Result<BTreeSet<MailboxName>, MailError> {
    all.iter().map(|m| spoken(&m.record.name)).collect()
}

fn new_mailbox(name: &str, special_use: Option<records::SpecialUse>, now: UnixTime) -> Mailbox {
    Mailbox {
        name: name.to_owned(),
        special_use,
        created: now,
        ..Mailbox::default()
    }
}

/// A stored name, which was right when it was stored.
fn spoken(name: &str) -> Result<MailboxName, MailError> {
    MailboxName::new(name).map_err(|e| MailError::Damaged(format!("the mailbox name {name:?}: {e}")))
}

fn to_stored_use(special_use: SpecialUse) -> Result<records::SpecialUse, MailError> {
    match special_use {
        SpecialUse::Archive => Ok(records::SpecialUse::Archive),
        SpecialUse::Drafts => Ok(records::SpecialUse::Drafts),
        SpecialUse::Junk => Ok(records::SpecialUse::Junk),
        SpecialUse::Sent => Ok(records::SpecialUse::Sent),
        SpecialUse::Trash => Ok(records::SpecialUse::Trash),
        // These would be views of other mailboxes.
        SpecialUse::All | SpecialUse::Flagged => Err(MailError::SpecialUse("No mailbox can be for that")),
    }
}

fn from_stored_use(special_use: records::SpecialUse) -> SpecialUse {
    match special_use {
        records::SpecialUse::Archive => SpecialUse::Archive,
        records::SpecialUse::Drafts => SpecialUse::Drafts,
        records::SpecialUse::Junk => SpecialUse::Junk,
        records::SpecialUse::Sent => SpecialUse::Sent,
        records::SpecialUse::Trash => SpecialUse::Trash,
    }
}
