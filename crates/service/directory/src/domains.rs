//! Domains that are to be served no more.

use crate::aliases::NOBODY;
use crate::{Directory, DirectoryError, names};
use ringpost_store::records::{Address, Alias};
use ringpost_store::{Batch, Partition, Record, clear_partition, keys};
use std::sync::PoisonError;

/// So many of what uses a domain are named.
const NAMED: usize = 5;

impl Directory {
    /// Serves a domain no more; its keys and what is set of it are forgotten. Refused while anything here uses it: names in
    /// it, and aliases, catch-alls and forwards of others that lead there.
    pub async fn remove_domain(&self, name: &str) -> Result<(), DirectoryError> {
        let name = names::domain(name)?;
        let home = self.home_of(&name)?;
        if name == self.default_domain() {
            return Err(DirectoryError::Cannot(format!(
                "{name} is the server's own domain, which the configuration names"
            )));
        }
        let mut uses = self.names_in(&name, &home).await?;
        uses.extend(self.leading_to(&name).await?);
        refuse_used(&name, uses)?;
        // From here on nobody is added there.
        self.set_local(&name, false);
        let removed = self.forget_domain(&name, &home).await;
        if removed.is_err() {
            self.set_local(&name, true);
        }
        self.0.accounts.forget_all();
        self.0.devices.forget_all();
        self.announce(NOBODY, u64::MAX);
        removed
    }

    async fn forget_domain(&self, name: &str, home: &Partition) -> Result<(), DirectoryError> {
        refuse_used(name, self.names_in(name, home).await?)?;
        clear_partition(self.store(), home).await?;
        let mut batch = Batch::new(keys::DOMAINS);
        batch.delete(keys::domain(name));
        self.store().commit_durable(batch).await?;
        Ok(())
    }

    fn set_local(&self, name: &str, is_local: bool) {
        let mut domains = self.0.domains.write().unwrap_or_else(PoisonError::into_inner);
        match is_local {
            true => drop(domains.insert(name.to_owned())),
            false => drop(domains.remove(name)),
        }
    }

    /// The accounts and aliases of a domain.
    async fn names_in(&self, name: &str, home: &Partition) -> Result<Vec<String>, DirectoryError> {
        let mut found = Vec::new();
        for entry in self.all(home, keys::addresses()).await? {
            let local = keys::local_part_of(&entry.key).unwrap_or_default().to_owned();
            let kind = match Address::from_bytes(&entry.key, entry.value)?.alias {
                true => "alias",
                false => "account",
            };
            found.push(format!("the {kind} {local}@{name}"));
        }
        for entry in self.all(home, keys::aliases()).await? {
            let local = keys::local_part_of(&entry.key).unwrap_or_default();
            found.push(format!("the alias {local}@{name}"));
        }
        Ok(found)
    }

    /// What of other domains leads to addresses of this one.
    async fn leading_to(&self, name: &str) -> Result<Vec<String>, DirectoryError> {
        let is_there = |target: &String| target.rsplit_once('@').is_some_and(|(_, domain)| domain == name);
        let mut found = Vec::new();
        for other in self.domains().into_iter().filter(|other| other != name) {
            let home = self.home_of(&other)?;
            for entry in self.all(&home, keys::aliases()).await? {
                let local = keys::local_part_of(&entry.key).unwrap_or_default().to_owned();
                if Alias::from_bytes(&entry.key, entry.value)?
                    .targets
                    .iter()
                    .any(is_there)
                {
                    found.push(format!("the alias {local}@{other}"));
                }
            }
            if self.catch_all(&other).await?.as_ref().is_some_and(is_there) {
                found.push(format!("the catch-all of {other}"));
            }
            let accounts = self.accounts(&other).await?.into_iter();
            let forwarding = accounts.filter(|account| account.forward.to.iter().any(is_there));
            found.extend(forwarding.map(|account| format!("the forward of {}", account.address)));
        }
        Ok(found)
    }
}

fn refuse_used(name: &str, mut uses: Vec<String>) -> Result<(), DirectoryError> {
    if uses.is_empty() {
        return Ok(());
    }
    let more = uses.len().saturating_sub(NAMED);
    uses.truncate(NAMED);
    if more > 0 {
        uses.push(format!("{more} more"));
    }
    Err(DirectoryError::InUse {
        name: name.to_owned(),
        by: uses.join(", "),
    })
}
