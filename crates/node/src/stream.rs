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
use ringpost_rtsp::server::{Access, Password};
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
            Ask::Authorize { user, mount, access } => self.authorize(user.as_deref(), &mount, access).await,
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
        let device = self.directory.device(realm, user).await?;
        Ok(Answer::Keys(device.map(|device| device.keys.clone())))
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
            return Ok(Answer::Yes);
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
        match door.check_password(user, &password.0).await {
            Ok(Some(_)) => Ok(Answer::Yes),
            Ok(None) => {
                door.slow_down(user, 1).await;
                Ok(Answer::No)
            }
            Err(LoginError::TooManyFailures) => Ok(Answer::Unavailable),
            Err(LoginError::Directory(error)) => Err(error),
        }
    }

    async fn authorize(
        &self,
        user: Option<&str>,
        mount: &MountName,
        access: Access,
    ) -> Result<Answer, DirectoryError> {
        let (account, device) = match user {
            Some(user) => (self.account_of(user).await?, self.device(user).await?),
            None => (None, None),
        };
        let is_owner = account
            .as_deref()
            .is_some_and(|account| self.owns(account, mount));
        let asks = Asking {
            account: account.as_deref(),
            device: device.as_deref(),
        };
        let may = is_owner || self.is_let_in(asks, mount, access);
        if may
            && access == Access::Publish
            && let Some(why) = self.reserved_for(mount).await
        {
            return Ok(Answer::Refused(why));
        }
        Ok(match (may, user) {
            (true, _) => Answer::Yes,
            (false, None) => Answer::No,
            // Who it is, is known: asking again would change nothing.
            (false, Some(_)) => Answer::Never,
        })
    }

    async fn account_of(&self, user: &str) -> Result<Option<Arc<AccountInfo>>, DirectoryError> {
        let default = self.directory.default_domain();
        let (name, domain) = user.rsplit_once('@').unwrap_or((user, default));
        self.directory.account(domain, name).await
    }

    /// An account's mounts are those below its name; in another than the default domain, below its address.
    fn owns(&self, account: &AccountInfo, mount: &MountName) -> bool {
        let address = &account.address;
        let is_default = address.domain() == self.directory.default_domain();
        let first = mount.first();
        (is_default && first == address.local_part()) || first == address.to_string()
    }

    fn is_let_in(&self, asks: Asking<'_>, mount: &MountName, access: Access) -> bool {
        let rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let matching = rules.iter().filter(|rule| rule.pattern.matches(mount));
        let Some(rule) = matching.min_by(|a, b| a.pattern.cmp(&b.pattern)) else {
            return false;
        };
        let who = match access {
            Access::Read => &rule.read,
            Access::Publish => &rule.publish,
        };
        who.iter().any(|who| match who {
            Who::Anyone => true,
            Who::Accounts => asks.account.is_some(),
            Who::One(name) => asks.is_called(name, self.directory.default_domain()),
        })
    }
}

/// Who there is by the name that a client has proven: what was removed since is let in nowhere.
#[derive(Clone, Copy)]
struct Asking<'a> {
    account: Option<&'a AccountInfo>,
    device: Option<&'a DeviceKeys>,
}

impl Asking<'_> {
    /// Whether a rule's name is the account's or the device's, with its domain or, in the default one, without.
    fn is_called(self, rule: &str, default_domain: &str) -> bool {
        let (name, domain) = rule.rsplit_once('@').unwrap_or((rule, default_domain));
        let is_account = |account: &AccountInfo| {
            account.address.domain() == domain && account.address.local_part() == name
        };
        let is_device = |device: &DeviceKeys| {
            device.account.address.domain() == domain && device.user.to_lowercase() == name
        };
        self.account.is_some_and(is_account) || self.device.is_some_and(is_device)
    }
}

#[cfg(test)]
mod tests;
