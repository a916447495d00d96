//! Whom a recipient means: accounts here and people elsewhere, by way of aliases and forwards.

use crate::cache::Stamped;
use crate::{AccountInfo, Cached, Directory, DirectoryError, address_key, aliases::NOBODY, domain_key};
use ringpost_base::{folded, limits};
use ringpost_store::records::{Alias, DomainMail};
use ringpost_store::{AccountId, Partition, Record, keys};
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

/// Whom a recipient reaches, each once.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    /// Accounts of this server.
    pub here: Vec<Here>,
    /// People on other servers.
    pub elsewhere: Vec<Away>,
}

/// An account that a recipient reaches.
#[derive(Clone, Debug)]
pub struct Here {
    /// The account.
    pub account: Arc<AccountInfo>,
    /// What stood behind the `+` of its address, in the spelling in which it came.
    pub detail: Option<String>,
}

/// Somebody on another server whom a recipient reaches.
#[derive(Clone, Debug)]
pub struct Away {
    /// The address there.
    pub address: String,
    /// The address here that leads there.
    pub via: String,
    /// The account that forwards there, unless it is an alias that does.
    pub account: Option<Arc<AccountInfo>>,
}

/// What a name leads to, one step on.
enum Step {
    Account(Arc<AccountInfo>, Option<String>),
    List(Arc<Vec<String>>),
    Nobody,
}

/// An address that is still to be looked up.
struct Waiting {
    address: String,
    depth: usize,
    via: String,
    account: Option<Arc<AccountInfo>>,
}

impl Waiting {
    /// One that nobody's alias or forward has led to.
    fn named(address: String) -> Self {
        Waiting {
            address,
            depth: 0,
            via: String::new(),
            account: None,
        }
    }
}

/// Keys in the cache of lists that no local part has: where a domain's catch-all is, and who was there first.
const CATCH_ALL: &str = "";
const FIRST: &str = " ";

/// The local parts that every domain has.
//= https://www.rfc-editor.org/rfc/rfc5321#section-4.5.1
//= https://www.rfc-editor.org/rfc/rfc2142#section-4
const ALWAYS: [&str; 2] = ["postmaster", "abuse"];

fn is_always(local: &str) -> bool {
    ALWAYS.iter().any(|name| name.eq_ignore_ascii_case(local))
}

/// Whether what is for nobody goes where its domain says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CatchAll {
    Counts,
    Ignored,
}

impl Directory {
    /// Whom `local` of one of our domains means, in this order: an account by any of its names, an alias, either of them
    /// with `+` and a detail behind, the domain's catch-all, and for postmaster and abuse whoever was there first; for these
    /// two also where all of that leads to nobody. `None` when nobody.
    ///
    /// Aliases and forwards are followed [`limits::ALIAS_DEPTH`] far, and nobody is reached twice. Who forwards without a
    /// copy to where nobody is gets it himself.
    pub async fn reach(&self, domain: &str, local: &str) -> Result<Option<Reach>, DirectoryError> {
        self.reach_by(domain, local, CatchAll::Counts).await
    }

    /// The same, with catch-alls or without them.
    pub(crate) async fn reach_by(
        &self,
        domain: &str,
        local: &str,
        catch_all: CatchAll,
    ) -> Result<Option<Reach>, DirectoryError> {
        let mut reach = Reach::default();
        let recipient = format!("{local}@{}", domain_key(domain));
        let mut waiting = VecDeque::from([Waiting::named(recipient)]);
        let (mut seen, mut forwarding) = (HashSet::new(), Vec::new());
        let mut always: Option<String> = None;
        loop {
            let Some(next) = waiting.pop_front() else {
                // What a domain always has does not end in a catch-all that leads back to it, or to nobody.
                let nobody = reach.is_empty() && forwarding.is_empty();
                let Some(domain) = always.take().filter(|_| nobody) else {
                    break;
                };
                if let Some(first) = self.list(&domain, FIRST).await? {
                    // However many were looked up in vain.
                    seen.clear();
                    waiting.extend(first.iter().cloned().map(Waiting::named));
                }
                continue;
            };
            if seen.len() >= limits::ALIAS_LOOKUPS || !seen.insert(address_key(&next.address)) {
                continue;
            }
            let Some((local, domain)) = next.address.rsplit_once('@') else {
                continue;
            };
            if !self.is_local(domain) {
                reach.elsewhere.push(Away {
                    address: next.address,
                    via: next.via,
                    account: next.account,
                });
                continue;
            }
            if is_always(local) {
                always.get_or_insert_with(|| domain.to_owned());
            }
            let may_go_on = next.depth < limits::ALIAS_DEPTH;
            match self.step(domain, local, catch_all).await? {
                Step::Account(account, detail) => {
                    let here = Here { account, detail };
                    let forward = &here.account.forward;
                    if may_go_on && !forward.to.is_empty() {
                        waiting.extend(forward.to.iter().map(|address| Waiting {
                            address: address.clone(),
                            depth: next.depth + 1,
                            via: here.account.address.to_string(),
                            account: Some(here.account.clone()),
                        }));
                        if !forward.keeps_copy {
                            forwarding.push(here);
                            continue;
                        }
                    }
                    reach.add(here);
                }
                Step::List(targets) if may_go_on => {
                    waiting.extend(targets.iter().map(|address| Waiting {
                        address: address.clone(),
                        depth: next.depth + 1,
                        via: address_key(&next.address),
                        // Who forwards to an alias answers for where that leads.
                        account: next.account.clone(),
                    }));
                }
                Step::List(_) | Step::Nobody => {}
            }
        }
        if reach.is_empty() {
            forwarding.into_iter().for_each(|here| reach.add(here));
        }
        Ok((!reach.is_empty()).then_some(reach))
    }

    /// Who has what comes for a name that every domain has, where all that it leads to is out of reach: whoever was there
    /// first. `None` for other names, and where there are no accounts.
    pub async fn always_there(&self, domain: &str, local: &str) -> Result<Option<Here>, DirectoryError> {
        if !is_always(local) {
            return Ok(None);
        }
        let first = self.list(&domain_key(domain), FIRST).await?;
        let Some(first) = first.as_ref().and_then(|first| first.first()) else {
            return Ok(None);
        };
        let account = self.account_by_address(first).await?;
        Ok(account.map(|account| Here {
            account,
            detail: None,
        }))
    }

    /// Whether `local` of a domain is an address of the account: its own, one of its other names, an alias that leads to it,
    /// or one of these with a detail. What it gets by a forward or a catch-all is not.
    pub async fn owns(&self, id: AccountId, domain: &str, local: &str) -> Result<bool, DirectoryError> {
        let mut waiting = VecDeque::from([(format!("{local}@{}", domain_key(domain)), 0)]);
        let mut seen = HashSet::new();
        while let Some((address, depth)) = waiting.pop_front() {
            if seen.len() >= limits::ALIAS_LOOKUPS || !seen.insert(address_key(&address)) {
                continue;
            }
            let Some((local, domain)) = address.rsplit_once('@').filter(|(_, d)| self.is_local(d)) else {
                continue;
            };
            match self.exact_or_detailed(domain, local).await? {
                Step::Account(account, _) if account.id == id => return Ok(true),
                Step::List(targets) if depth < limits::ALIAS_DEPTH => {
                    waiting.extend(targets.iter().map(|target| (target.clone(), depth + 1)));
                }
                _ => {}
            }
        }
        Ok(false)
    }

    async fn step(&self, domain: &str, local: &str, catch_all: CatchAll) -> Result<Step, DirectoryError> {
        match self.exact_or_detailed(domain, local).await? {
            Step::Nobody => {}
            found => return Ok(found),
        }
        if catch_all == CatchAll::Counts
            && let Some(to) = self.list(domain, CATCH_ALL).await?
        {
            return Ok(Step::List(to));
        }
        if is_always(local) {
            return Ok(self.list(domain, FIRST).await?.map_or(Step::Nobody, Step::List));
        }
        Ok(Step::Nobody)
    }

    //= https://www.rfc-editor.org/rfc/rfc5233#section-1
    async fn exact_or_detailed(&self, domain: &str, local: &str) -> Result<Step, DirectoryError> {
        match self.exact(domain, local).await? {
            Step::Nobody => {}
            found => return Ok(found),
        }
        let Some((base, detail)) = local.split_once('+').filter(|(base, _)| !base.is_empty()) else {
            return Ok(Step::Nobody);
        };
        Ok(match self.exact(domain, base).await? {
            Step::Account(account, _) => {
                let detail = Some(detail.to_owned()).filter(|detail| !detail.is_empty());
                Step::Account(account, detail)
            }
            found => found,
        })
    }

    async fn exact(&self, domain: &str, local: &str) -> Result<Step, DirectoryError> {
        if let Some(account) = self.account(domain, local).await? {
            return Ok(Step::Account(account, None));
        }
        Ok(self.list(domain, local).await?.map_or(Step::Nobody, Step::List))
    }

    /// What an alias leads to, from the cache where it can.
    async fn list(&self, domain: &str, name: &str) -> Result<Option<Arc<Vec<String>>>, DirectoryError> {
        let (domain, name) = (domain_key(domain), folded(name));
        match self.0.lists.find(&domain, &name) {
            Cached::Present(found) => return Ok(Some(found)),
            Cached::Absent => return Ok(None),
            Cached::Unknown => {}
        }
        let generation = self.0.lists.generation();
        let read = self.read_list(&domain, &name).await?.map(|value| Stamped {
            account: NOBODY,
            change: 0,
            value,
        });
        Ok(self.0.lists.fill(generation, &domain, &name, read))
    }

    async fn read_list(&self, domain: &str, name: &str) -> Result<Option<Vec<String>>, DirectoryError> {
        let home = Partition::Domain(domain.into());
        match name {
            CATCH_ALL => {
                let stored = self
                    .store()
                    .record::<DomainMail>(&home, keys::domain_mail())
                    .await?;
                Ok(stored.and_then(|s| s.record.catch_all).map(|to| vec![to]))
            }
            FIRST => self.first(domain).await,
            _ if name.len() > crate::lookup::MAX_NAME => Ok(None),
            _ => {
                let key = keys::alias(name);
                let found = self.store().get(&home, key.clone()).await?;
                let alias = found
                    .map(|found| Alias::from_bytes(&key, found.value))
                    .transpose()?;
                Ok(alias.map(|alias| alias.targets))
            }
        }
    }

    /// The oldest account of the domain; where it has none, of the first domain that has one.
    async fn first(&self, domain: &str) -> Result<Option<Vec<String>>, DirectoryError> {
        let others = self.domains().into_iter();
        let all = [domain.to_owned(), self.default_domain().to_owned()];
        for domain in all.into_iter().chain(others) {
            let accounts = self.accounts(&domain).await?;
            let first = accounts
                .into_iter()
                .min_by_key(|account| (account.created, account.id));
            if let Some(first) = first {
                return Ok(Some(vec![first.address.to_string()]));
            }
        }
        Ok(None)
    }
}

impl Reach {
    fn is_empty(&self) -> bool {
        self.here.is_empty() && self.elsewhere.is_empty()
    }

    fn add(&mut self, here: Here) {
        if self.here.iter().all(|other| other.account.id != here.account.id) {
            self.here.push(here);
        }
    }
}
