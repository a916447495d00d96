use crate::cache::Stamped;
use crate::{Address, Cached, DeviceInfo, Directory, DirectoryError, Forward, domain_key};
use ringpost_auth::digest::DigestKeys;
use ringpost_base::{UnixTime, folded};
use ringpost_store::records::{self, Account, Device, DeviceUser, Extension};
use ringpost_store::{
    AccountId, Found, Key, Partition, Query, Record, StoreError, Versioned, counter_value, keys,
};
use std::fmt;
use std::sync::Arc;

/// An account, as those who look it up see it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AccountInfo {
    /// Its number: the partition of everything it owns.
    pub id: AccountId,
    /// Its address.
    pub address: Address,
    /// What people read.
    pub display_name: String,
    /// The number that rings it.
    pub extension: Option<String>,
    /// Capabilities of IMAP that its programs are not told of, in capitals.
    pub imap_without: Vec<String>,
    /// When it was made.
    pub created: UnixTime,
    /// Where its mail is forwarded to.
    pub forward: Forward,
}

/// What a digest of a device is checked with.
#[derive(Clone)]
pub struct DeviceKeys {
    /// Whose device it is.
    pub account: AccountInfo,
    /// The device's name.
    pub device: String,
    /// The user name it authenticates with.
    pub user: String,
    /// When it was made.
    pub created: UnixTime,
    /// Its keys for the domain's realm.
    pub keys: DigestKeys,
}

impl fmt::Debug for DeviceKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceKeys({} of {})", self.user, self.account.address)
    }
}

impl Directory {
    /// The account that `name` of `domain` means: by its local part, an alias, its extension, or a device's user name, in
    /// this order; in any case. Answers from the cache where it can.
    pub async fn account(
        &self,
        domain: &str,
        name: &str,
    ) -> Result<Option<Arc<AccountInfo>>, DirectoryError> {
        let (domain, name) = (domain_key(domain), folded(name));
        match self.0.accounts.find(&domain, &name) {
            Cached::Present(found) => return Ok(Some(found)),
            Cached::Absent => return Ok(None),
            Cached::Unknown => {}
        }
        let generation = self.0.accounts.generation();
        let read = self.read_account(&domain, &name).await?;
        Ok(self.0.accounts.fill(generation, &domain, &name, read))
    }

    /// The same without asking the store.
    pub fn account_cached(&self, domain: &str, name: &str) -> Cached<AccountInfo> {
        self.0.accounts.find(&domain_key(domain), &folded(name))
    }

    /// The account with this address or alias. `None` too for what cannot be an address.
    pub async fn account_by_address(
        &self,
        address: &str,
    ) -> Result<Option<Arc<AccountInfo>>, DirectoryError> {
        match address.rsplit_once('@') {
            Some((name, domain)) => self.account(domain, name).await,
            None => Ok(None),
        }
    }

    /// The account that somebody means who logs in as `user`: with a domain, or in the default one.
    pub async fn account_by_login(&self, user: &str) -> Result<Option<Arc<AccountInfo>>, DirectoryError> {
        match user.rsplit_once('@') {
            Some((name, domain)) => self.account(domain, name).await,
            None => self.account(self.default_domain(), user).await,
        }
    }

    /// The account with this number. Asks the store.
    pub async fn account_by_id(&self, id: AccountId) -> Result<Option<AccountInfo>, DirectoryError> {
        let read = self
            .store()
            .record::<Account>(&Partition::Account(id), keys::account())
            .await?;
        read.map(|stored| info(id, stored.record)).transpose()
    }

    /// The account with this number as it stands now, and its devices; `None` once nobody reaches it by its address any
    /// more, though some of it may be left. Asks the store.
    pub async fn account_and_devices(
        &self,
        id: AccountId,
    ) -> Result<Option<(AccountInfo, Vec<DeviceInfo>)>, DirectoryError> {
        let Some(account) = self.account_by_id(id).await? else {
            return Ok(None);
        };
        let home = Partition::Domain(account.address.domain().into());
        let address = keys::address(account.address.local_part());
        let named = self.store().record::<records::Address>(&home, address).await?;
        if named.is_none_or(|named| named.record.account != id) {
            return Ok(None);
        }
        let devices = self.devices_of(&account).await?;
        Ok(Some((account, devices)))
    }

    /// What to check a digest of realm `domain` with that names `user`: the cached answer, for the hot path. `Unknown` means
    /// that [`device`](Directory::device) is to be asked.
    pub fn device_cached(&self, domain: &str, user: &str) -> Cached<DeviceKeys> {
        self.0.devices.find(&domain_key(domain), user)
    }

    /// The same; asks the store where the cache does not know, and keeps the answer.
    pub async fn device(&self, domain: &str, user: &str) -> Result<Option<Arc<DeviceKeys>>, DirectoryError> {
        let domain = domain_key(domain);
        match self.0.devices.find(&domain, user) {
            Cached::Present(found) => return Ok(Some(found)),
            Cached::Absent => return Ok(None),
            Cached::Unknown => {}
        }
        let generation = self.0.devices.generation();
        let read = self.read_device(&domain, user).await?;
        Ok(self.0.devices.fill(generation, &domain, user, read))
    }

    async fn read_account(
        &self,
        domain: &str,
        name: &str,
    ) -> Result<Option<Stamped<AccountInfo>>, DirectoryError> {
        if name.len() > MAX_NAME || !self.is_local(domain) {
            return Ok(None);
        }
        let home = Partition::Domain(domain.into());
        let names = vec![
            keys::address(name),
            keys::extension(name),
            keys::device_user(name),
        ];
        let mut found = self.store().get_many(&home, names).await?.into_iter();
        let mut next = || found.next().flatten().map(|v| v.value);
        let (address, extension, device) = (next(), next(), next());
        let key = keys::address(name);
        let id = if let Some(value) = address {
            records::Address::from_bytes(&key, value)?.account
        } else if let Some(value) = extension {
            Extension::from_bytes(&key, value)?.account
        } else if let Some(value) = device {
            DeviceUser::from_bytes(&key, value)?.account
        } else {
            return Ok(None);
        };
        let home = Partition::Account(id);
        let queries = vec![Query::Get(keys::account()), Query::Get(keys::directory_changes())];
        let [account, change] = gets(self.store().read(&home, queries).await?);
        let Some(account) = account else { return Ok(None) };
        let account = Account::from_bytes(&keys::account(), account.value)?;
        Ok(Some(Stamped {
            account: id,
            change: stamp(change)?,
            value: info(id, account)?,
        }))
    }

    async fn read_device(
        &self,
        domain: &str,
        user: &str,
    ) -> Result<Option<Stamped<DeviceKeys>>, DirectoryError> {
        if user.len() > MAX_NAME || !self.is_local(domain) {
            return Ok(None);
        }
        let home = Partition::Domain(domain.into());
        let Some(named) = self
            .store()
            .record::<DeviceUser>(&home, keys::device_user(user))
            .await?
        else {
            return Ok(None);
        };
        let DeviceUser { account: id, device } = named.record;
        let queries = [keys::account(), keys::device(&device), keys::directory_changes()];
        let read = self
            .store()
            .read(&Partition::Account(id), queries.map(Query::Get).into())
            .await?;
        let [account, record, change] = gets(read);
        let (Some(account), Some(record)) = (account, record) else {
            return Ok(None);
        };
        let account = Account::from_bytes(&keys::account(), account.value)?;
        let record = Device::from_bytes(&keys::device(&device), record.value)?;
        let keys = self.0.sealer.open(id, user, &record.sealed_keys);
        let keys = keys.ok_or_else(|| DirectoryError::Sealed(user.into()))?;
        let value = DeviceKeys {
            account: info(id, account)?,
            device,
            user: user.into(),
            created: record.created,
            keys,
        };
        Ok(Some(Stamped {
            account: id,
            change: stamp(change)?,
            value,
        }))
    }
}

/// No name of the directory is longer, so a longer one need not be looked for.
pub(crate) const MAX_NAME: usize = 128;

pub(crate) fn info(id: AccountId, account: Account) -> Result<AccountInfo, DirectoryError> {
    Ok(AccountInfo {
        id,
        address: Address::parse(&format!("{}@{}", account.local_part, account.domain))?,
        display_name: account.display_name,
        extension: account.extension,
        imap_without: account.imap_without,
        created: account.created,
        forward: Forward {
            keeps_copy: !account.forward_only,
            to: account.forward,
        },
    })
}

fn stamp(change: Option<Versioned>) -> Result<u64, StoreError> {
    let key: Key = keys::directory_changes();
    change.map_or(Ok(0), |v| counter_value(&key, &v.value).map(|n| n as u64))
}

fn gets<const N: usize>(found: Vec<Found>) -> [Option<Versioned>; N] {
    let mut found = found.into_iter();
    std::array::from_fn(|_| found.next().and_then(Found::value))
}
