//! What sessions of streams hang on and that changes while they go on: devices, accounts, passwords, rules.

use futures_util::future::BoxFuture;
use ringpost_directory::Directory;
use ringpost_store::{Heard, Subscription, Topic};
use std::sync::Arc;

/// The sessions that go on.
pub trait LiveSessions: Send + Sync + 'static {
    /// Has the rights of all looked at again.
    fn reconsider(&self) -> BoxFuture<'static, ()>;
}

/// Sees to it that nobody publishes or reads any more who may not, as soon as the bus tells of a change, until it is gone.
pub async fn keep_to_rights(directory: Directory, heard: Subscription, sessions: Arc<dyn LiveSessions>) {
    loop {
        let heard = heard.next().await;
        match &heard {
            Heard::Hint(hint) if matches!(hint.topic, Topic::Logins | Topic::Directory) => {
                // The directory hears of it too, perhaps later, and what is asked next is asked of it.
                if let Err(error) = directory.handle_heard(heard).await {
                    tracing::warn!(%error, "what has changed in the directory cannot be read");
                }
            }
            Heard::Hint(_) => continue,
            Heard::Lagged => {}
            Heard::Closed => return,
        }
        sessions.reconsider().await;
    }
}
