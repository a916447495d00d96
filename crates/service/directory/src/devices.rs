use crate::{AccountInfo, Directory, DirectoryError, names, taken};
use ringpost_auth::digest::DigestKeys;
use ringpost_base::{UnixTime, limits};
use ringpost_store::records::{Device, DeviceUser};
use ringpost_store::{Batch, Partition, Record, keys};
use std::fmt;

/// A device, as lists show it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeviceInfo {
    /// Its name within the account.
    pub name: String,
    /// The user name it authenticates with.
    pub user: String,
    /// When it was made.
    pub created: UnixTime,
}

/// A device that was just made: the only time that its secret is known.
#[derive(Clone, PartialEq, Eq)]
pub struct NewDevice {
    /// Its name within the account.
    pub name: String,
    /// The user name it authenticates with.
    pub user: String,
    /// What it authenticates with: 100 bits.
    pub secret: String,
    /// The realm of its digest: the account's domain.
    pub realm: String,
}

impl fmt::Debug for NewDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NewDevice({})", self.user)
    }
}

/// Characters of a generated secret, 5 bits each.
pub(crate) const SECRET_CHARS: usize = 20;

impl Directory {
    /// Makes a device of an account, with a user name of its own (see the crate's page) and a generated secret.
    pub async fn add_device(
        &self,
        address: &str,
        device: &str,
        now: UnixTime,
    ) -> Result<NewDevice, DirectoryError> {
        let name = names::device(device)?;
        let account = self.must_find(address).await?;
        if self.devices_of(&account).await?.len() >= limits::DEVICES_PER_ACCOUNT {
            return Err(DirectoryError::TooManyDevices(address.into()));
        }
        let user = format!("{}-{name}", account.address.local_part());
        self.reserve_user(&account, &user, &name).await?;
        let realm = account.address.domain().to_owned();
        let secret = self.draw(|rng| rng.token(SECRET_CHARS));
        let digest_keys = DigestKeys::derive(&user, &realm, &secret);
        let sealed = self.draw(|rng| self.0.sealer.seal(account.id, &user, &digest_keys, rng));
        let record = Device {
            name: name.clone(),
            user: user.clone(),
            sealed_keys: sealed.into(),
            created: now,
        };
        let mut batch = Batch::new(Partition::Account(account.id));
        let change = batch.mint(keys::directory_changes());
        batch
            .exists(keys::account())
            .absent(keys::device(&name))
            .put(keys::device(&name), record.to_bytes());
        let minted = self
            .store()
            .commit_durable(batch)
            .await
            .map_err(|e| taken(e, &user))?;
        self.announce(account.id, change.of(&minted).unwrap_or(u64::MAX));
        Ok(NewDevice {
            name,
            user,
            secret,
            realm,
        })
    }

    /// The devices of an account, in their order of spelling.
    pub async fn devices(&self, address: &str) -> Result<Vec<DeviceInfo>, DirectoryError> {
        let account = self.must_find(address).await?;
        self.devices_of(&account).await
    }

    /// Removes a device: its next digest is refused.
    pub async fn remove_device(&self, address: &str, device: &str) -> Result<(), DirectoryError> {
        let name = names::device(device)?;
        let account = self.must_find(address).await?;
        let home = Partition::Account(account.id);
        let missing = || DirectoryError::NoSuchDevice(format!("{device} of {address}"));
        let stored = self
            .store()
            .record::<Device>(&home, keys::device(&name))
            .await?
            .ok_or_else(missing)?;
        let mut batch = Batch::new(home);
        let change = batch.mint(keys::directory_changes());
        batch
            .unchanged(keys::device(&name), stored.version)
            .delete(keys::device(&name));
        let minted = self.store().commit_durable(batch).await?;
        self.announce(account.id, change.of(&minted).unwrap_or(u64::MAX));
        // The user name goes last: stopped before, it leads to no device and can be given again.
        let mut batch = Batch::new(self.home_of(account.address.domain())?);
        batch.delete(keys::device_user(&stored.record.user));
        self.store().commit_durable(batch).await?;
        // Whoever has looked in between has found the account by it still, and looks again.
        let mut batch = Batch::new(Partition::Account(account.id));
        let change = batch.mint(keys::directory_changes());
        let minted = self.store().commit_durable(batch).await?;
        self.announce(account.id, change.of(&minted).unwrap_or(u64::MAX));
        Ok(())
    }

    pub(crate) async fn devices_of(&self, account: &AccountInfo) -> Result<Vec<DeviceInfo>, DirectoryError> {
        let entries = self
            .store()
            .scan(&Partition::Account(account.id), keys::devices())
            .await?;
        let devices = entries.into_iter().map(|entry| {
            let Device {
                name, user, created, ..
            } = Device::from_bytes(&entry.key, entry.value)?;
            Ok(DeviceInfo { name, user, created })
        });
        devices.collect()
    }

    /// Takes a user name for a device before the device is written. One that leads to no device was left by somebody who was
    /// stopped half-way, and may be taken over.
    async fn reserve_user(
        &self,
        account: &AccountInfo,
        user: &str,
        device: &str,
    ) -> Result<(), DirectoryError> {
        let home = self.home_of(account.address.domain())?;
        let key = keys::device_user(user);
        let mut batch = Batch::new(home.clone());
        batch.absent(keys::address(user)).absent(keys::alias(user));
        match self.store().record::<DeviceUser>(&home, key.clone()).await? {
            None => batch.absent(key.clone()),
            Some(left) => {
                let DeviceUser { account, device } = &left.record;
                let there = self
                    .store()
                    .get(&Partition::Account(*account), keys::device(device))
                    .await?;
                if there.is_some() {
                    return Err(DirectoryError::Taken(user.into()));
                }
                batch.unchanged(key.clone(), left.version)
            }
        };
        batch.put(
            key,
            DeviceUser {
                account: account.id,
                device: device.into(),
            }
            .to_bytes(),
        );
        self.store()
            .commit_durable(batch)
            .await
            .map_err(|e| taken(e, user))?;
        Ok(())
    }
}
