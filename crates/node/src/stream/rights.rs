//! What sessions of streams hang on and that changes while they go on: devices, accounts, passwords, rules.

use super::Streams;
use futures_util::future::BoxFuture;
use ringpost_directory::DirectoryError;
use ringpost_store::{AccountId, Heard, Subscription, Topic};
use std::sync::Arc;

/// The sessions that go on.
pub trait LiveSessions: Send + Sync + 'static {
    /// The names that their clients have proven.
    fn users(&self) -> BoxFuture<'static, Vec<String>>;

    /// Ends those of these users, and has the rights of all others looked at again.
    fn reconsider(&self, gone: Vec<String>) -> BoxFuture<'static, ()>;
}

/// Sees to it that nobody publishes or reads any more who may not, as soon as the bus tells of a change, until it is gone.
pub async fn keep_to_rights(streams: Streams, heard: Subscription, sessions: Arc<dyn LiveSessions>) {
    loop {
        let gone = match heard.next().await {
            Heard::Hint(hint) if hint.topic == Topic::Logins => {
                let users = sessions.users().await;
                streams.of_password(users, Some(hint.account)).await
            }
            Heard::Hint(hint) if hint.topic == Topic::Directory => Ok(Vec::new()),
            Heard::Hint(_) => continue,
            // Some password may have changed: whoever has one proves it again.
            Heard::Lagged => streams.of_password(sessions.users().await, None).await,
            Heard::Closed => return,
        };
        let gone = gone.unwrap_or_else(|error| {
            tracing::warn!(%error, "whose streams are to end cannot be found out");
            Vec::new()
        });
        sessions.reconsider(gone).await;
    }
}

impl Streams {
    /// Those of these users who have proven themselves by an account's password, that account's or any.
    async fn of_password(
        &self,
        users: Vec<String>,
        account: Option<AccountId>,
    ) -> Result<Vec<String>, DirectoryError> {
        let mut found = Vec::new();
        for user in users {
            let is_of_it = match (self.account_of(&user).await?, account) {
                (Some(of), Some(account)) => of.id == account,
                (of, None) => of.is_some(),
                // It is gone, and the user's rights with it.
                (None, Some(_)) => false,
            };
            if is_of_it && self.device(&user).await?.is_none() {
                found.push(user);
            }
        }
        Ok(found)
    }
}
