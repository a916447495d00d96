use crate::aliases::NOBODY;
use crate::kdf::{self, Busy, Kdf, Salts};
use crate::{AccountInfo, Address, Directory, DirectoryError, Turn};
use ringpost_auth::sasl::{DecoyKey, ScramKeys};
use ringpost_base::{Rng, UnixTime};
use ringpost_store::records::Password;
use ringpost_store::{AccountId, Batch, Partition, Record, keys};
use std::net::IpAddr;
use std::sync::Arc;

impl Directory {
    /// The account whose password this is. `user` is an address, alias or extension, with the default domain if it has none.
    /// Whether the user or the password is wrong takes the same time and looks the same.
    pub async fn login(
        &self,
        user: &str,
        password: &str,
    ) -> Result<Option<Arc<AccountInfo>>, DirectoryError> {
        let account = self.account_by_login(user).await?;
        if let Some(account) = account.as_ref().filter(|a| self.0.logins.knows(a.id, password)) {
            return Ok(Some(account.clone()));
        }
        let generation = self.0.logins.generation();
        let stored = match &account {
            Some(account) => self.password(account.id).await?,
            None => None,
        };
        let known = stored.is_some();
        let phc = stored.map_or_else(|| self.0.decoy_phc.clone(), |stored| stored.argon2);
        let given = password.to_owned();
        let right = on(&*self.0.kdf, move || kdf::verify(&phc, &given)).await?;
        let Some(account) = account.filter(|_| known && right) else {
            return Ok(None);
        };
        self.0.logins.remember(generation, account.id, password);
        Ok(Some(account))
    }

    /// The same for what was found right before and has not changed since, without stretching anything; `None` means that
    /// [`login`](Directory::login) is to be asked.
    pub async fn remembered_login(
        &self,
        user: &str,
        password: &str,
    ) -> Result<Option<Arc<AccountInfo>>, DirectoryError> {
        let account = self.account_by_login(user).await?;
        Ok(account.filter(|account| self.0.logins.knows(account.id, password)))
    }

    /// Waits until nobody else of the peer at `from` has a password checked; to be held until it has heard the answer.
    pub async fn turn(&self, from: IpAddr) -> Turn {
        self.0.turns.turn(from).await
    }

    /// What SCRAM-SHA-256 needs for `user`, read like [`login`](Directory::login)'s; `None` is for a decoy.
    pub async fn scram_keys(
        &self,
        user: &str,
    ) -> Result<Option<(Arc<AccountInfo>, ScramKeys)>, DirectoryError> {
        let account = self.account_by_login(user).await?;
        // Read for who does not exist too, so that both take as long.
        let id = account.as_ref().map_or(NOBODY, |account| account.id);
        let (Some(stored), Some(account)) = (self.password(id).await?, account) else {
            return Ok(None);
        };
        let (Ok(stored_key), Ok(server_key)) = (
            stored.scram_stored_key[..].try_into(),
            stored.scram_server_key[..].try_into(),
        ) else {
            return Ok(None);
        };
        let keys = ScramKeys {
            salt: stored.scram_salt.to_vec(),
            iterations: stored.scram_iterations,
            stored_key,
            server_key,
        };
        Ok(Some((account, keys)))
    }

    /// Where the ends of sessions stand: to be taken before a password or a proof of one is checked, and kept with the session
    /// for [`login_stands`](Self::login_stands).
    pub fn login_mark(&self) -> u64 {
        self.0.logins.mark()
    }

    /// Whether a session that logged in to an account, after this mark was taken, may go on: the account is still there and
    /// has the same password. Asks nobody.
    pub fn login_stands(&self, account: AccountId, mark: u64) -> bool {
        self.0.logins.stands(account, mark)
    }

    /// What SASL sessions make up for users that do not exist, with the iterations that existing ones have. One for the life
    /// of the process.
    pub fn scram_decoy(&self) -> DecoyKey {
        let mut key = [0; 32];
        self.draw(|rng| rng.fill(&mut key));
        DecoyKey::new(key, self.0.kdf.cost().scram_iterations)
    }

    /// Gives an account another password; remembered logins end. Empty and unprintable ones are refused.
    pub async fn set_password(
        &self,
        address: &str,
        password: &str,
        now: UnixTime,
    ) -> Result<(), DirectoryError> {
        let account = self.must_find(address).await?;
        let record = self.derive(password, now).await?;
        let mut batch = Batch::new(Partition::Account(account.id));
        let change = batch.mint(keys::directory_changes());
        batch
            .exists(keys::account())
            .put(keys::password(), record.to_bytes());
        let minted = self.store().commit_durable(batch).await?;
        let change = change.of(&minted).unwrap_or(u64::MAX);
        self.announce(account.id, change);
        self.end_sessions(account.id, change);
        Ok(())
    }

    pub(crate) async fn must_find(&self, address: &str) -> Result<Arc<AccountInfo>, DirectoryError> {
        let name = Address::parse(address)?;
        self.home_of(name.domain())?;
        let found = self.account(name.domain(), name.local_part()).await?;
        found.ok_or_else(|| DirectoryError::NoSuchAccount(name.to_string()))
    }

    pub(crate) async fn derive(&self, password: &str, now: UnixTime) -> Result<Password, DirectoryError> {
        let mut rng = self.draw(Rng::fork);
        derive(&*self.0.kdf, password, &mut rng, now).await
    }

    async fn password(&self, account: AccountId) -> Result<Option<Password>, DirectoryError> {
        let read = self
            .store()
            .record(&Partition::Account(account), keys::password())
            .await?;
        Ok(read.map(|stored| stored.record))
    }
}

/// What is kept of a password, with fresh salts, made in one of the slots.
pub(crate) async fn derive(
    kdf: &dyn Kdf,
    password: &str,
    rng: &mut Rng,
    now: UnixTime,
) -> Result<Password, DirectoryError> {
    if password.is_empty() {
        return Err(DirectoryError::BadPassword("it is empty".into()));
    }
    let mut salts = Salts {
        argon2: [0; 16],
        scram: [0; 16],
    };
    rng.fill(&mut salts.argon2);
    rng.fill(&mut salts.scram);
    let (cost, password) = (kdf.cost(), password.to_owned());
    on(kdf, move || cost.derive(&password, &salts, now)).await?
}

/// Runs `work` in one of the slots.
async fn on<T: Send + 'static>(kdf: &dyn Kdf, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Busy> {
    let (tx, rx) = async_channel::bounded(1);
    kdf.run(Box::new(move || {
        // Nobody waits any more if the session is gone.
        let _ = tx.try_send(work());
    }))?;
    rx.recv().await.map_err(|_| Busy)
}
