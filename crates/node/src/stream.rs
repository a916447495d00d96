//! What the streams' hub asks, answered from the directory and the rules of mounts.
//!
//! Who reads and publishes proves it with a device's secret (digest, or Basic under TLS), or under TLS with the account's
//! password. Without a rule an account publishes and reads below its own name, and nobody else does.

mod calls;
mod dial;
mod nobody;
mod notice;
mod played;
mod pulls;
mod rights;
mod shelves;

pub(crate) use calls::{CallParts, Calls};
pub use dial::{Dialling, LiveMounts, MountNumber, Sound};
pub use nobody::nobodies;
pub use pulls::{PullSources, may_be_pulled_from};
pub use rights::{LiveSessions, keep_to_rights};
pub use shelves::{Shelves, Source};

use crate::logins::{Door, LoginError};
use crate::peers::Peers;
use crate::world::{Endpoints, WorldRef};
use futures_util::future::BoxFuture;
use ringpost_auth::digest::DigestKeys;
use ringpost_directory::{AccountInfo, DeviceKeys, Directory, DirectoryError};
use ringpost_rtsp::server::{Access, Password, User};
use ringpost_stream::hub::{Answer, Ask, ConnectionId, Question, QuestionId};
use ringpost_stream::{MountName, MountPattern};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long a wrong password holds its answer back.
const GUESS_DELAY: Duration = Duration::from_secs(1);

/// Whom a rule lets in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// Everybody, proven or not.
    Anyone,
    /// Who has an account or a device here.
    Accounts,
    /// An account, by its name or address, with all its devices; or one device, by its user name.
    One(String),
}

/// What is set for the mounts of a pattern. The most particular one that matches a mount holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountRule {
    /// For which mounts.
    pub pattern: MountPattern,
    /// Who may publish, beside the account that the mount is named after.
    pub publish: Vec<Who>,
    /// Who may read, beside that.
    pub read: Vec<Who>,
}

/// What is answered from.
#[derive(Clone)]
pub struct Streams {
    /// Clocks.
    pub world: WorldRef,
    /// Who there is.
    pub directory: Directory,
    /// What each peer may do.
    pub peers: Arc<Peers>,
    /// The rules, which may change while the server runs.
    pub rules: Arc<Mutex<Vec<MountRule>>>,
    /// What is played from where.
    pub shelves: Shelves,
    /// Where may be pulled from.
    pub pulls: PullSources,
}

impl Streams {
    /// Why nobody may publish to a mount, if so: it plays something else.
    pub async fn reserved_for(&self, mount: &MountName) -> Option<&'static str> {
        self.shelves.reserved_for(&self.directory, mount).await
    }
}

/// Where answers go.
pub trait StreamAnswers: Send + Sync + 'static {
    /// Hands one over. Waits while there is no room.
    fn answer(&self, id: QuestionId, answer: Answer) -> BoxFuture<'static, ()>;
}

/// Answers questions until nobody asks any more. Each is a task of its own: one that waits holds up no other.
pub async fn run(
    streams: Streams,
    questions: async_channel::Receiver<Question>,
    answers: Arc<dyn StreamAnswers>,
) {
    while let Ok(question) = questions.recv().await {
        let (streams, answers) = (streams.clone(), answers.clone());
        let world = streams.world.clone();
        world.spawn(Box::pin(async move {
            let answer = streams.answer(question.from, question.ask).await;
            answers.answer(question.id, answer).await;
        }));
    }
}

impl Streams {
    async fn answer(&self, from: Option<(ConnectionId, SocketAddr)>, ask: Ask) -> Answer {
        let answered = match ask {
            Ask::Keys { user, realm } => self.keys(&user, &realm).await,
            Ask::Password { user, password } => self.password(from, &user, &password).await,
            Ask::Tell { mount, silent_since } => {
                notice::tell(self, &mount, silent_since).await;
                return Answer::Yes;
            }
            Ask::List { mount } => return self.shelves.list(&self.directory, &mount).await,
            Ask::Resolve { host } => return Answer::Addresses(self.pulls.resolve(&host).await),
            Ask::Read { mount, file, range } => {
                return self.shelves.read(&self.directory, &mount, &file, range).await;
            }
            Ask::Authorize {
                user,
                mount,
                access,
                query,
            } => {
                let place = (&mount, query.as_deref());
                self.authorize(user.as_ref(), place, access).await
            }
        };
        answered.unwrap_or_else(|error| {
            tracing::warn!(%error, "the directory could not answer");
            Answer::Unavailable
        })
    }

    /// The device that a client names, which may write its domain behind it.
    async fn device(&self, user: &str) -> Result<Option<Arc<DeviceKeys>>, DirectoryError> {
        let default = self.directory.default_domain();
        let (name, domain) = user.rsplit_once('@').unwrap_or((user, default));
        self.directory.device(domain, name).await
    }

    async fn keys(&self, user: &str, realm: &str) -> Result<Answer, DirectoryError> {
        if !self.directory.is_local(realm) {
            return Ok(Answer::No);
        }
        let device = self.directory.device(realm, user).await?;
        Ok(Answer::Keys(
            device.map(|device| (self.device_user(&device), device.keys.clone())),
        ))
    }

    async fn password(
        &self,
        from: Option<(ConnectionId, SocketAddr)>,
        user: &str,
        password: &Password,
    ) -> Result<Answer, DirectoryError> {
        if let Some(device) = self.device(user).await?
            && DigestKeys::derive(&device.user, device.account.address.domain(), &password.0).to_bytes()
                == device.keys.to_bytes()
        {
            return Ok(Answer::Proven(self.device_user(&device)));
        }
        let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let remote = from.map_or(nowhere, |(_, peer)| peer);
        let session = from.map_or(String::new(), |(connection, _)| format!("c{}", connection.0));
        let door = Door {
            world: &self.world,
            directory: &self.directory,
            peers: &self.peers,
            from: Endpoints {
                local: nowhere,
                remote,
                tls: true,
            },
            service: "rtsp",
            session: &session,
            guess_delay: GUESS_DELAY,
        };
        let mark = self.directory.login_mark();
        match door.check_password(user, &password.0).await {
            Ok(Some(account)) => Ok(Answer::Proven(self.account_user(&account, mark))),
            Ok(None) => {
                door.slow_down(user, 1).await;
                Ok(Answer::No)
            }
            Err(LoginError::TooManyFailures) => Ok(Answer::Unavailable),
            Err(LoginError::Directory(error)) => Err(error),
        }
    }

    /// Who has proven to have a device's secret.
    fn device_user(&self, device: &DeviceKeys) -> User {
        User {
            name: self.listed(&device.user, device.account.address.domain()),
            holder: device.created.as_nanos(),
            mark: None,
            realm: None,
        }
    }

    /// Who has proven to know an account's password, after this mark was taken.
    fn account_user(&self, account: &AccountInfo, mark: u64) -> User {
        let address = &account.address;
        User {
            name: self.listed(address.local_part(), address.domain()),
            holder: account.id.0,
            mark: Some(mark),
            realm: None,
        }
    }

    fn listed(&self, name: &str, domain: &str) -> String {
        match domain == self.directory.default_domain() {
            true => name.to_owned(),
            false => format!("{name}@{domain}"),
        }
    }

    /// Who a user is, if what was proven still holds: the device or the account is there and none that was made again under its
    /// name, and the password is the one that was given.
    async fn standing(&self, user: &User) -> Result<Option<Asking>, DirectoryError> {
        let Some(mark) = user.mark else {
            let device = self.device(&user.name).await?;
            let device = device.filter(|device| device.created.as_nanos() == user.holder);
            return Ok(device.map(Asking::Device));
        };
        let account = self.account_of(&user.name).await?;
        let account = account
            .filter(|account| account.id.0 == user.holder && self.directory.login_stands(account.id, mark));
        Ok(account.map(Asking::Account))
    }

    /// The device or account of this name.
    async fn named(&self, user: &str) -> Result<Option<Asking>, DirectoryError> {
        Ok(match self.device(user).await? {
            Some(device) => Some(Asking::Device(device)),
            None => self.account_of(user).await?.map(Asking::Account),
        })
    }

    fn may(&self, asking: Option<&Asking>, mount: &MountName, access: Access) -> bool {
        let is_owner = asking.is_some_and(|asking| self.owns(asking.account(), mount));
        is_owner || self.is_let_in(asking, mount, access)
    }

    async fn authorize(
        &self,
        user: Option<&User>,
        (mount, query): (&MountName, Option<&str>),
        access: Access,
    ) -> Result<Answer, DirectoryError> {
        let asking = match user {
            Some(user) => self.standing(user).await?,
            None => None,
        };
        let may = self.may(asking.as_ref(), mount, access);
        if may
            && access == Access::Publish
            && let Some(why) = self.reserved_for(mount).await
        {
            return Ok(Answer::Refused(why));
        }
        Ok(match (may, asking) {
            (true, _) => Answer::Yes,
            (false, None) => Answer::Unproven {
                realm: self.realm_for(mount, query, access),
            },
            // Who it is, is known: asking again would change nothing.
            (false, Some(_)) => Answer::Never,
        })
    }

    /// In which realm who wants to go to a mount is asked, where it is not the default domain's: in the one that the URL names
    /// behind its path, as `?realm=example.org`, or in that of the address which the mount is named after, unless it is only
    /// people of the default domain whom a rule lets read it.
    fn realm_for(&self, mount: &MountName, query: Option<&str>, access: Access) -> Option<String> {
        let wanted = query.and_then(|query| query.split('&').find_map(|part| part.strip_prefix("realm=")));
        if let Some(wanted) = wanted.filter(|wanted| self.directory.is_local(wanted)) {
            return Some(wanted.to_lowercase());
        }
        let (_, domain) = mount.first().rsplit_once('@')?;
        if !self.directory.is_local(domain) {
            return None;
        }
        let default = self.directory.default_domain();
        let is_ours = |who: &Who| match who {
            Who::One(name) => name.rsplit_once('@').is_none_or(|(_, domain)| domain == default),
            Who::Anyone | Who::Accounts => false,
        };
        let is_for_ours = access == Access::Read
            && self.with_rule(mount, |rule| {
                !rule.read.is_empty() && rule.read.iter().all(is_ours)
            }) == Some(true);
        (!is_for_ours).then(|| domain.to_lowercase())
    }

    async fn account_of(&self, user: &str) -> Result<Option<Arc<AccountInfo>>, DirectoryError> {
        self.directory.account_by_login(user).await
    }

    /// An account's mounts are those below its name; in another than the default domain, below its address.
    fn owns(&self, account: &AccountInfo, mount: &MountName) -> bool {
        let address = &account.address;
        let is_default = address.domain() == self.directory.default_domain();
        let first = mount.first();
        (is_default && first == address.local_part()) || first == address.to_string()
    }

    fn is_let_in(&self, asking: Option<&Asking>, mount: &MountName, access: Access) -> bool {
        let default = self.directory.default_domain();
        let is_in = self.with_rule(mount, |rule| {
            let who = match access {
                Access::Read => &rule.read,
                Access::Publish => &rule.publish,
            };
            who.iter().any(|who| match who {
                Who::Anyone => true,
                Who::Accounts => asking.is_some(),
                Who::One(name) => asking.is_some_and(|asking| asking.is_called(name, default)),
            })
        });
        is_in == Some(true)
    }

    /// What the rule says that holds for a mount, if one does.
    fn with_rule<T>(&self, mount: &MountName, with: impl FnOnce(&MountRule) -> T) -> Option<T> {
        let rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let matching = rules.iter().filter(|rule| rule.pattern.matches(mount));
        matching.min_by(|a, b| a.pattern.cmp(&b.pattern)).map(with)
    }
}

/// Who there is by what a client has proven: what was removed since is let in nowhere.
enum Asking {
    Account(Arc<AccountInfo>),
    Device(Arc<DeviceKeys>),
}

impl Asking {
    fn account(&self) -> &AccountInfo {
        match self {
            Asking::Account(account) => account,
            Asking::Device(device) => &device.account,
        }
    }

    /// Whether a rule's name is the account's or the device's, with its domain or, in the default one, without.
    fn is_called(&self, rule: &str, default_domain: &str) -> bool {
        let (name, domain) = rule.rsplit_once('@').unwrap_or((rule, default_domain));
        let address = &self.account().address;
        let is_device = |user: &str| user.to_lowercase() == name;
        address.domain() == domain
            && (address.local_part() == name
                || matches!(self, Asking::Device(device) if is_device(&device.user)))
    }
}

#[cfg(test)]
mod tests;
