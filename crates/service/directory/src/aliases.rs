//! Names that lead to others: aliases, a domain's catch-all, and forwards of accounts.

use crate::lookup::info;
use crate::reach::CatchAll;
use crate::{AccountInfo, Address, Directory, DirectoryError, names};
use ringpost_base::{UnixTime, folded, limits};
use ringpost_store::records::{self, Account, Alias, DomainMail};
use ringpost_store::{
    AccountId, Batch, CommitError, Partition, Record, StoreError, Version, Versioned, keys,
};

/// An alias, as a list shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AliasInfo {
    /// Its address.
    pub address: String,
    /// Where it leads, in the order in which that was said.
    pub targets: Vec<String>,
}

/// Where an account's mail is forwarded to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Forward {
    /// The addresses; none when it is not forwarded.
    pub to: Vec<String>,
    /// Whether the account keeps a copy of it.
    pub keeps_copy: bool,
}

/// How often a change is begun anew because somebody else changed the same name first.
const TRIES: usize = 16;

/// What a local part of a domain leads to, and what a batch that changes it goes by.
struct Named {
    address: Option<(Version, records::Address)>,
    alias: Option<(Version, Alias)>,
}

impl Directory {
    /// Lets an address of a local domain lead to others as well, here or on other servers; the alias is made if it is not
    /// there. One that leads to a single account is another name of that account: its owner may log in and be called by it.
    pub async fn add_alias(
        &self,
        alias: &str,
        targets: &[String],
        now: UnixTime,
    ) -> Result<(), DirectoryError> {
        let name = Address::parse(alias)?;
        let home = self.home_of(name.domain())?;
        let mut wanted = Vec::new();
        for target in targets {
            let target = self.target(target).await?;
            if target == name.to_string() {
                return Err(DirectoryError::Cannot(format!("{name} cannot lead to itself")));
            }
            wanted.push(target);
        }
        for _ in 0..TRIES {
            let before = self.named(&home, name.local_part()).await?;
            let before = before.ok_or_else(|| DirectoryError::Taken(name.to_string()))?;
            let mut all = self.targets_of(&before).await?;
            let new: Vec<&String> = wanted.iter().filter(|target| !all.contains(target)).collect();
            let new: Vec<String> = new.into_iter().cloned().collect();
            all.extend(new);
            if all.len() > limits::ALIAS_TARGETS {
                return Err(DirectoryError::TooManyTargets(name.to_string()));
            }
            match self.write_alias(&home, &name, before, all, now).await {
                Err(CommitError::Conflict(_)) => {}
                done => return done.map_err(DirectoryError::from),
            }
        }
        Err(DirectoryError::Taken(name.to_string()))
    }

    /// Takes targets of an alias away, all of them when none is named; without any it is gone.
    pub async fn remove_alias(
        &self,
        alias: &str,
        targets: &[String],
        now: UnixTime,
    ) -> Result<(), DirectoryError> {
        let name = Address::parse(alias)?;
        let home = self.home_of(name.domain())?;
        let missing = || DirectoryError::NoSuchAlias(name.to_string());
        for _ in 0..TRIES {
            let before = self.named(&home, name.local_part()).await?.ok_or_else(missing)?;
            let mut all = self.targets_of(&before).await?;
            if all.is_empty() {
                return Err(missing());
            }
            for target in targets {
                let target = self.spelled(target);
                let at = all.iter().position(|one| *one == target);
                let missing = || DirectoryError::NoSuchAlias(format!("{name} that leads to {target}"));
                all.remove(at.ok_or_else(missing)?);
            }
            if targets.is_empty() {
                all.clear();
            }
            match self.write_alias(&home, &name, before, all, now).await {
                Err(CommitError::Conflict(_)) => {}
                done => return done.map_err(DirectoryError::from),
            }
        }
        Err(DirectoryError::Taken(name.to_string()))
    }

    /// The aliases of a domain, in their order of spelling.
    pub async fn aliases(&self, domain: &str) -> Result<Vec<AliasInfo>, DirectoryError> {
        let home = self.home_of(domain)?;
        let mut aliases = Vec::new();
        let named = |key: &ringpost_store::Key| match keys::local_part_of(key) {
            Some(local) => format!("{local}@{}", crate::domain_key(domain)),
            None => String::new(),
        };
        for entry in self.all(&home, keys::addresses()).await? {
            let record = records::Address::from_bytes(&entry.key, entry.value)?;
            if record.alias
                && let Some(account) = self.account_by_id(record.account).await?
            {
                aliases.push(AliasInfo {
                    address: named(&entry.key),
                    targets: vec![account.address.to_string()],
                });
            }
        }
        for entry in self.all(&home, keys::aliases()).await? {
            aliases.push(AliasInfo {
                address: named(&entry.key),
                targets: Alias::from_bytes(&entry.key, entry.value)?.targets,
            });
        }
        aliases.sort_by(|a, b| a.address.cmp(&b.address));
        Ok(aliases)
    }

    /// Forwards an account's mail from now on; nowhere when `to` is empty. Without a copy the account sees only what could
    /// not be forwarded.
    pub async fn set_forward(
        &self,
        address: &str,
        to: &[String],
        keeps_copy: bool,
    ) -> Result<Forward, DirectoryError> {
        let account = self.must_find(address).await?;
        let mut forward = Vec::new();
        for target in to {
            let target = self.target(target).await?;
            if target == account.address.to_string() {
                return Err(DirectoryError::Cannot(format!(
                    "{target} cannot be forwarded to itself"
                )));
            }
            if !forward.contains(&target) {
                forward.push(target);
            }
        }
        if forward.len() > limits::ALIAS_TARGETS {
            return Err(DirectoryError::TooManyTargets(address.into()));
        }
        let home = Partition::Account(account.id);
        for _ in 0..TRIES {
            let stored = self.store().record::<Account>(&home, keys::account()).await?;
            let stored = stored.ok_or_else(|| DirectoryError::NoSuchAccount(address.into()))?;
            let record = Account {
                forward: forward.clone(),
                forward_only: !keeps_copy && !forward.is_empty(),
                ..stored.record
            };
            let mut batch = Batch::new(home.clone());
            let change = batch.mint(keys::directory_changes());
            batch
                .unchanged(keys::account(), stored.version)
                .put(keys::account(), record.to_bytes());
            match self.store().commit_durable(batch).await {
                Ok(minted) => {
                    self.announce(account.id, change.of(&minted).unwrap_or(u64::MAX));
                    return Ok(info(account.id, record)?.forward);
                }
                Err(CommitError::Conflict(_)) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Err(DirectoryError::Taken(address.into()))
    }

    /// Where an account's mail is forwarded to.
    pub async fn forward(&self, address: &str) -> Result<Forward, DirectoryError> {
        Ok(self.must_find(address).await?.forward.clone())
    }

    /// Sends what is for nobody of a domain somewhere, or refuses it again.
    pub async fn set_catch_all(&self, domain: &str, to: Option<&str>) -> Result<(), DirectoryError> {
        let home = self.home_of(domain)?;
        let catch_all = match to {
            Some(to) => Some(self.target(to).await?),
            None => None,
        };
        self.write_domain_mail(&home, |mail| mail.catch_all = catch_all.clone())
            .await
    }

    /// Where mail goes that is for nobody of a domain.
    pub async fn catch_all(&self, domain: &str) -> Result<Option<String>, DirectoryError> {
        let home = self.home_of(domain)?;
        let stored = self
            .store()
            .record::<DomainMail>(&home, keys::domain_mail())
            .await?;
        Ok(stored.and_then(|stored| stored.record.catch_all))
    }

    /// No alias and no catch-all of a domain leads to this address any more: it belongs to nobody, and may come to belong
    /// to somebody else.
    pub(crate) async fn unlink(&self, home: &Partition, address: &str) -> Result<(), DirectoryError> {
        let mut batch = Batch::new(home.clone());
        for entry in self.all(home, keys::aliases()).await? {
            let mut alias = Alias::from_bytes(&entry.key, entry.value)?;
            if !alias.targets.iter().any(|target| target == address) {
                continue;
            }
            alias.targets.retain(|target| target != address);
            batch.unchanged(entry.key.clone(), entry.version);
            match alias.targets.is_empty() {
                true => batch.delete(entry.key),
                false => batch.put(entry.key, alias.to_bytes()),
            };
        }
        if !batch.is_empty() {
            self.store().commit_durable(batch).await?;
        }
        self.write_domain_mail(home, |mail| {
            if mail.catch_all.as_deref() == Some(address) {
                mail.catch_all = None;
            }
        })
        .await
    }

    async fn write_domain_mail(
        &self,
        home: &Partition,
        change: impl Fn(&mut DomainMail),
    ) -> Result<(), DirectoryError> {
        let key = keys::domain_mail();
        for _ in 0..TRIES {
            let stored = self.store().record::<DomainMail>(home, key.clone()).await?;
            let mut batch = Batch::new(home.clone());
            match &stored {
                Some(stored) => batch.unchanged(key.clone(), stored.version),
                None => batch.absent(key.clone()),
            };
            let before = stored.map(|stored| stored.record).unwrap_or_default();
            let mut after = before.clone();
            change(&mut after);
            if after == before {
                return Ok(());
            }
            batch.put(key.clone(), after.to_bytes());
            match self.store().commit_durable(batch).await {
                Ok(_) => {
                    self.announce(NOBODY, u64::MAX);
                    return Ok(());
                }
                Err(CommitError::Conflict(_)) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Err(DirectoryError::Taken(home.to_string()))
    }

    /// An address that others may lead to, in one spelling. One of a local domain must lead to somebody.
    async fn target(&self, text: &str) -> Result<String, DirectoryError> {
        let target = self.spelled(&names::target(text)?);
        if let Some((local, domain)) = target.rsplit_once('@')
            && self.is_local(domain)
            // Whoever has that by a catch-all has it no longer when the catch-all changes, which this may be about.
            && self.reach_by(domain, local, CatchAll::Ignored).await?.is_none()
        {
            return Err(DirectoryError::NoSuchAccount(target));
        }
        Ok(target)
    }

    /// The spelling in which targets are kept: in lower case where we know that it makes no difference.
    fn spelled(&self, text: &str) -> String {
        let normal = names::normal(text);
        match normal.rsplit_once('@') {
            Some((local, domain)) if self.is_local(domain) => format!("{}@{domain}", folded(local)),
            _ => normal,
        }
    }

    /// `None` when the name is no alias and cannot be one, because an account, a number or a device has it.
    async fn named(&self, home: &Partition, local: &str) -> Result<Option<Named>, DirectoryError> {
        let names = vec![
            keys::address(local),
            keys::alias(local),
            keys::extension(local),
            keys::device_user(local),
        ];
        let mut found = self.store().get_many(home, names).await?.into_iter();
        let mut next = || found.next().flatten();
        let (address, alias) = (next(), next());
        if next().is_some() || next().is_some() {
            return Ok(None);
        }
        let address = decoded::<records::Address>(address)?;
        if address.as_ref().is_some_and(|(_, record)| !record.alias) {
            return Ok(None);
        }
        let alias = decoded(alias)?;
        Ok(Some(Named { address, alias }))
    }

    async fn targets_of(&self, named: &Named) -> Result<Vec<String>, DirectoryError> {
        if let Some((_, alias)) = &named.alias {
            return Ok(alias.targets.clone());
        }
        let Some((_, address)) = &named.address else {
            return Ok(Vec::new());
        };
        let account = self.account_by_id(address.account).await?;
        Ok(account.into_iter().map(|a| a.address.to_string()).collect())
    }

    async fn write_alias(
        &self,
        home: &Partition,
        name: &Address,
        before: Named,
        targets: Vec<String>,
        now: UnixTime,
    ) -> Result<(), CommitError> {
        let (address, alias) = (keys::address(name.local_part()), keys::alias(name.local_part()));
        let mut batch = Batch::new(home.clone());
        let mut changed: Vec<AccountId> = Vec::new();
        match &before.address {
            Some((version, record)) => {
                changed.push(record.account);
                batch.unchanged(address.clone(), *version).delete(address.clone());
            }
            None => drop(batch.absent(address.clone())),
        }
        match &before.alias {
            Some((version, _)) => drop(batch.unchanged(alias.clone(), *version).delete(alias.clone())),
            None => drop(batch.absent(alias.clone())),
        }
        batch
            .absent(keys::device_user(name.local_part()))
            .absent(keys::extension(name.local_part()));
        let only = match &targets[..] {
            [only] => self
                .account_named(only)
                .await
                .map_err(|e| CommitError::Io(e.to_string()))?,
            _ => None,
        };
        if let Some(only) = only {
            changed.push(only.id);
            let record = records::Address {
                account: only.id,
                alias: true,
            };
            batch.put(address, record.to_bytes());
        } else if !targets.is_empty() {
            let created = before.alias.map_or(now, |(_, alias)| alias.created);
            batch.put(alias, Alias { targets, created }.to_bytes());
        }
        self.store().commit_durable(batch).await?;
        self.announce(NOBODY, u64::MAX);
        changed.into_iter().for_each(|id| self.announce(id, u64::MAX));
        Ok(())
    }

    /// The account whose own address this is.
    async fn account_named(
        &self,
        address: &str,
    ) -> Result<Option<std::sync::Arc<AccountInfo>>, DirectoryError> {
        let found = self.account_by_address(address).await?;
        Ok(found.filter(|account| account.address.to_string() == address))
    }
}

/// Whom a change is told of that is no account's: whoever keeps anything about names forgets it.
pub(crate) const NOBODY: AccountId = AccountId(0);

fn decoded<R: Record>(found: Option<Versioned>) -> Result<Option<(Version, R)>, StoreError> {
    let decode = |found: Versioned| {
        Ok((
            found.version,
            R::from_bytes(&ringpost_store::Key::default(), found.value)?,
        ))
    };
    found.map(decode).transpose()
}
