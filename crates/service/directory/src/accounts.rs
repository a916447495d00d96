use crate::devices::SECRET_CHARS;
use crate::lookup::info;
use crate::{AccountInfo, Address, Directory, DirectoryError, names, taken};
use ringpost_base::UnixTime;
use ringpost_store::records::{
    self, Account, DeviceUser, Extension, Mailbox, Password, SpecialUse, Subscription,
};
use ringpost_store::{
    AccountId, Batch, CommitError, Entry, Partition, Record, Scan, clear_partition, counter_value, keys,
    mailbox,
};
use std::fmt;

/// What is wanted of a new account.
#[derive(Clone, PartialEq, Eq)]
pub struct NewAccount {
    /// Its address.
    pub address: String,
    /// What people read; empty is the local part.
    pub display_name: String,
    /// Its extension; `None` takes the next free one, from 100.
    pub extension: Option<String>,
    /// Its password; `None` generates one.
    pub password: Option<String>,
    /// What its messages may take together; `None` as the configuration says.
    pub quota_bytes: Option<u64>,
}

impl NewAccount {
    /// With an address, and everything else as it comes.
    pub fn new(address: impl Into<String>) -> Self {
        NewAccount {
            address: address.into(),
            display_name: String::new(),
            extension: None,
            password: None,
            quota_bytes: None,
        }
    }
}

impl fmt::Debug for NewAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NewAccount({})", self.address)
    }
}

/// An account that was just made.
#[derive(Clone, PartialEq, Eq)]
pub struct AddedAccount {
    /// The account.
    pub account: AccountInfo,
    /// Its password, given or generated: the only time that it is known.
    pub password: String,
}

impl fmt::Debug for AddedAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AddedAccount({})", self.account.address)
    }
}

/// The mailboxes of a new account, under the names that Thunderbird, Apple Mail and Outlook look for.
const MAILBOXES: [(&str, Option<SpecialUse>); 6] = [
    ("INBOX", None),
    ("Drafts", Some(SpecialUse::Drafts)),
    ("Sent", Some(SpecialUse::Sent)),
    ("Archive", Some(SpecialUse::Archive)),
    ("Junk", Some(SpecialUse::Junk)),
    ("Trash", Some(SpecialUse::Trash)),
];

/// The first extension that is given out by itself.
const FIRST_EXTENSION: i64 = 100;
/// How often another extension is tried when somebody has taken the one of the count by name.
const EXTENSION_TRIES: usize = 8;

impl Directory {
    /// Makes an account with its mailboxes.
    ///
    /// Its partition is written first; it exists when the domain's names lead to it. Stopped in between, the partition is
    /// swept (see [`Sweeper`](ringpost_store::Sweeper)).
    pub async fn add_account(&self, new: NewAccount, now: UnixTime) -> Result<AddedAccount, DirectoryError> {
        let address = Address::parse(&new.address)?;
        let home = self.home_of(address.domain())?;
        if self.is_taken(&home, address.local_part()).await? {
            return Err(DirectoryError::Taken(address.to_string()));
        }
        let wanted = new.extension.as_deref().map(names::extension).transpose()?;
        let password = new
            .password
            .unwrap_or_else(|| self.draw(|rng| rng.token(SECRET_CHARS)));
        let stored = self.derive(&password, now).await?;
        for _ in 0..EXTENSION_TRIES {
            let extension = match &wanted {
                Some(extension) => extension.clone(),
                None => self.next_extension(&home).await?,
            };
            let account = Account {
                takes_junk: false,
                local_part: address.local_part().into(),
                domain: address.domain().into(),
                display_name: match new.display_name.is_empty() {
                    true => address.local_part().into(),
                    false => new.display_name.clone(),
                },
                extension: Some(extension.clone()),
                quota_bytes: new.quota_bytes,
                created: now,
                ..Account::default()
            };
            let id = self.write_account(&account, &stored).await?;
            let refused = match self.write_names(&home, id, &account).await {
                Ok(()) => {
                    self.announce(id, 1);
                    return Ok(AddedAccount {
                        account: info(id, account)?,
                        password,
                    });
                }
                Err(refused) => refused,
            };
            clear_partition(self.store(), &Partition::Account(id)).await?;
            let by_extension = [keys::extension(&extension), keys::address(&extension)]
                .into_iter()
                .any(|key| refused == CommitError::Conflict(key));
            if !by_extension || extension == address.local_part() {
                return Err(taken(refused, &address.to_string()));
            }
            if wanted.is_some() {
                return Err(DirectoryError::Taken(format!("extension {extension}")));
            }
        }
        Err(DirectoryError::Taken("every extension that was tried".into()))
    }

    /// The accounts of a domain, in the order of their addresses.
    pub async fn accounts(&self, domain: &str) -> Result<Vec<AccountInfo>, DirectoryError> {
        let mut accounts = Vec::new();
        for entry in self.all(&self.home_of(domain)?, keys::addresses()).await? {
            let address = records::Address::from_bytes(&entry.key, entry.value)?;
            if !address.alias {
                accounts.extend(self.account_by_id(address.account).await?);
            }
        }
        Ok(accounts)
    }

    /// Removes an account with all it owns: its names, devices and password at once, its mail before this is done. Bodies that
    /// lay beside the store go with the sweeper.
    pub async fn remove_account(&self, address: &str) -> Result<(), DirectoryError> {
        let account = self.must_find(address).await?;
        if Address::parse(address)? != account.address {
            return Err(DirectoryError::AnotherName {
                name: address.into(),
                account: account.address.to_string(),
            });
        }
        for domain in self.domains() {
            let home = Partition::Domain(domain.as_str().into());
            self.remove_names(&home, account.id).await?;
            self.unlink(&home, &account.address.to_string()).await?;
        }
        // Whoever asks from here on finds nobody.
        self.announce(account.id, u64::MAX);
        self.end_sessions(account.id, u64::MAX);
        clear_partition(self.store(), &Partition::Account(account.id)).await?;
        self.0.journal.forget(account.id).await?;
        self.announce(account.id, u64::MAX);
        Ok(())
    }

    async fn write_account(
        &self,
        account: &Account,
        password: &Password,
    ) -> Result<AccountId, DirectoryError> {
        let id = AccountId(self.draw(|rng| rng.u64()).max(1));
        let mut batch = Batch::new(Partition::Account(id));
        batch.mint(keys::directory_changes());
        batch
            .absent(keys::account())
            .put(keys::account(), account.to_bytes())
            .put(keys::password(), password.to_bytes());
        // The first mailbox's UIDVALIDITY is the time of making: an account that was removed and is made again gives
        // greater ones than before.
        batch.mint_many(keys::last_uid_validity(), account.created.as_secs());
        for (name, special_use) in MAILBOXES {
            let new = Mailbox {
                name: name.into(),
                special_use,
                created: account.created,
                ..Mailbox::default()
            };
            mailbox::create(&mut batch, &new);
            batch.put(keys::subscription(name), Subscription {}.to_bytes());
        }
        self.store().commit_durable(batch).await?;
        Ok(id)
    }

    async fn write_names(
        &self,
        home: &Partition,
        id: AccountId,
        account: &Account,
    ) -> Result<(), CommitError> {
        let mut batch = Batch::new(home.clone());
        let address = keys::address(&account.local_part);
        batch
            .absent(address.clone())
            .absent(keys::device_user(&account.local_part))
            .absent(keys::extension(&account.local_part))
            .absent(keys::alias(&account.local_part))
            .put(
                address,
                records::Address {
                    account: id,
                    alias: false,
                }
                .to_bytes(),
            );
        if let Some(digits) = &account.extension {
            let extension = keys::extension(digits);
            batch
                .absent(extension.clone())
                .absent(keys::address(digits))
                .absent(keys::alias(digits))
                .put(extension, Extension { account: id }.to_bytes());
        }
        self.store().commit_durable(batch).await.map(drop)
    }

    async fn remove_names(&self, home: &Partition, id: AccountId) -> Result<(), DirectoryError> {
        let mut batch = Batch::new(home.clone());
        for entry in self.all(home, keys::addresses()).await? {
            if records::Address::from_bytes(&entry.key, entry.value)?.account == id {
                batch.delete(entry.key);
            }
        }
        for entry in self.all(home, keys::extensions()).await? {
            if Extension::from_bytes(&entry.key, entry.value)?.account == id {
                batch.delete(entry.key);
            }
        }
        for entry in self.all(home, keys::device_users()).await? {
            if DeviceUser::from_bytes(&entry.key, entry.value)?.account == id {
                batch.delete(entry.key);
            }
        }
        if !batch.is_empty() {
            self.store().commit_durable(batch).await?;
        }
        Ok(())
    }

    /// The next extension of the domain's count that nobody has. However many ask at once, each is given another one.
    async fn next_extension(&self, home: &Partition) -> Result<String, DirectoryError> {
        loop {
            let counter = keys::last_extension();
            let count = self.store().get(home, counter.clone()).await?;
            let last = count
                .as_ref()
                .map_or(Ok(0), |count| counter_value(&counter, &count.value))?;
            let mut free = last.max(FIRST_EXTENSION - 1) + 1;
            while self.is_taken(home, &free.to_string()).await? {
                free += 1;
            }
            let mut batch = Batch::new(home.clone());
            if free > last + 1 {
                match count {
                    Some(count) => batch.unchanged(counter.clone(), count.version),
                    None => batch.absent(counter.clone()),
                };
                batch.put(counter, (free - 1).to_be_bytes().to_vec());
                match self.store().commit_durable(batch).await {
                    // Somebody else has counted on: what is free is to be looked for again.
                    Ok(_) | Err(CommitError::Conflict(_)) => continue,
                    Err(error) => return Err(error.into()),
                }
            }
            let number = batch.mint(counter);
            let minted = self.store().commit_durable(batch).await?;
            if let Some(number) = number.of(&minted)
                && !self.is_taken(home, &number.to_string()).await?
            {
                return Ok(number.to_string());
            }
        }
    }

    /// Whether a name of the domain leads to somebody: an address, an extension or a device. They are dialled alike.
    async fn is_taken(&self, home: &Partition, name: &str) -> Result<bool, DirectoryError> {
        let names = vec![
            keys::address(name),
            keys::extension(name),
            keys::device_user(name),
            keys::alias(name),
        ];
        let found = self.store().get_many(home, names).await?;
        Ok(found.iter().any(Option::is_some))
    }

    /// A whole range, read in pages.
    pub(crate) async fn all(&self, home: &Partition, scan: Scan) -> Result<Vec<Entry>, DirectoryError> {
        let (mut all, mut scan) = (Vec::new(), scan.limit(1000));
        loop {
            let page = self.store().scan(home, scan.clone()).await?;
            let Some(last) = page.last() else { return Ok(all) };
            scan = scan.after(&last.key);
            all.extend(page);
        }
    }
}
