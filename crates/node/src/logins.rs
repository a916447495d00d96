//! Passwords that peers give, checked so that whoever guesses does not keep others out.

use crate::peers::Peers;
use crate::world::{Endpoints, WorldRef};
use ringpost_auth::sasl::ScramKeys;
use ringpost_directory::{AccountInfo, Directory, DirectoryError};
use std::sync::Arc;
use std::time::Duration;

/// How long a peer that was wrong keeps its turn, so that all its connections together guess five times a second at most.
const WRONG: Duration = Duration::from_millis(200);
/// How long a login waits where all slots are taken, and how often it asks.
const BUSY_LIMIT: Duration = Duration::from_secs(5);
const BUSY_PAUSE: Duration = Duration::from_millis(100);

/// The longest that the answer to a login that failed is held back.
const MAX_GUESS_DELAY: Duration = Duration::from_secs(5);

/// Why a login was not looked at.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoginError {
    /// The directory could not answer.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// Too many of that peer have failed.
    #[error("too many passwords from there were wrong within an hour")]
    TooManyFailures,
}

/// What a session says to who cannot log in, in the words of its protocol.
pub(crate) trait LoginRefusal {
    /// The directory could not answer: it may be tried again.
    fn unavailable() -> Self;
    /// Too many passwords from there were wrong.
    fn too_many_failures() -> Self;
}

/// Where somebody logs in.
pub(crate) struct Door<'a> {
    pub(crate) world: &'a WorldRef,
    pub(crate) directory: &'a Directory,
    pub(crate) peers: &'a Peers,
    /// Who comes, and where.
    pub(crate) from: Endpoints,
    /// To which service, and in which session, as the log has it.
    pub(crate) service: &'static str,
    pub(crate) session: &'a str,
    /// How long the answer to a login that failed is held back, times the logins of the session that have failed, so that
    /// guessing takes time.
    pub(crate) guess_delay: Duration,
}

impl Door<'_> {
    /// The account whose password this is: as [`Directory::login`], in the peer's turn. What was found right before waits
    /// for nobody, and is let in even where too many others have failed.
    pub(crate) async fn check_password(
        &self,
        user: &str,
        password: &str,
    ) -> Result<Option<Arc<AccountInfo>>, LoginError> {
        if let Some(account) = self.directory.remembered_login(user, password).await? {
            self.peers.signed_in(self.from, self.world.now());
            return Ok(Some(account));
        }
        self.may_log_in()?;
        let turn = self.directory.turn(self.from.remote.ip()).await;
        // Those before it in the line may have been too many.
        self.may_log_in()?;
        let world = self.world;
        let deadline = world.now() + BUSY_LIMIT;
        let found = loop {
            match self.directory.login(user, password).await {
                Err(DirectoryError::Busy(_)) if world.now() < deadline => {
                    world.sleep_until(world.now() + BUSY_PAUSE).await;
                }
                found => break found,
            }
        };
        match found {
            Ok(Some(_)) => self.peers.signed_in(self.from, world.now()),
            _ => {
                if found.is_ok() {
                    let now = world.now();
                    self.peers.wrong_password(self.from, user, password, now);
                }
                // The session holds its own answer back besides.
                let rest = world.sleep_until(world.now() + WRONG);
                world.spawn(Box::pin(async move {
                    rest.await;
                    drop(turn);
                }));
            }
        }
        Ok(found?)
    }

    /// What a user's SCRAM exchange is checked with; none for one that does not exist.
    pub(crate) async fn scram_keys(&self, user: &str) -> Result<Option<ScramKeys>, LoginError> {
        self.may_log_in()?;
        self.peers.tries(self.from, self.world.now());
        let found = self.directory.scram_keys(user).await?;
        Ok(found.map(|(_, keys)| keys))
    }

    /// The account of who has proven to have its keys.
    pub(crate) async fn proven(&self, user: &str) -> Result<Option<Arc<AccountInfo>>, LoginError> {
        self.peers.proven(self.from, self.world.now());
        Ok(self.directory.account_by_login(user).await?)
    }

    /// Why a login was not looked at; what the operator must know of is logged.
    pub(crate) fn no_login<R: LoginRefusal>(&self, error: &LoginError) -> R {
        let (session, service, remote) = (self.session, self.service, self.from.remote);
        match error {
            LoginError::Directory(error) => self.unavailable(error),
            LoginError::TooManyFailures => {
                tracing::warn!(%session, %remote, "{service} login not looked at: {error}");
                R::too_many_failures()
            }
        }
    }

    /// The directory could not answer, which nobody else can mend.
    pub(crate) fn unavailable<R: LoginRefusal>(&self, error: &DirectoryError) -> R {
        tracing::warn!(session = self.session, %error, "the directory could not answer");
        R::unavailable()
    }

    /// Holds the answer to a login that failed back; it is the session's `count`th.
    pub(crate) async fn slow_down(&self, user: &str, count: u32) {
        let (session, service, remote) = (self.session, self.service, self.from.remote);
        tracing::warn!(%session, %remote, user, "{service} login failed");
        self.peers.login_failed();
        let delay = MAX_GUESS_DELAY.min(self.guess_delay * count);
        self.world.sleep_until(self.world.now() + delay).await;
    }

    fn may_log_in(&self) -> Result<(), LoginError> {
        match self.peers.may_log_in(self.from, self.world.now()) {
            true => Ok(()),
            false => Err(LoginError::TooManyFailures),
        }
    }
}
