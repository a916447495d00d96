use crate::AccountId;
use ringpost_base::limits;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What a hint is about.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Topic {
    /// Mailboxes, messages, flags.
    Mail,
    /// How many voicemails there are, new and old: the lamp's counts.
    Lamp,
    /// The account itself, its devices or passwords.
    Directory,
    /// The account's password has changed, or the account is gone: whoever is logged in to it is so no longer.
    Logins,
}

/// "Look again": something of an account has changed durably. The truth is in the store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hint {
    /// Whose.
    pub account: AccountId,
    /// What kind of thing.
    pub topic: Topic,
    /// The account's change number, so that a listener who has seen it need not look.
    pub change: u64,
}

/// Who listens to what.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Interest {
    /// One account's hints.
    Account(AccountId),
    /// Every account's, but for [`Topic::Mail`]: whoever looks after all accounts would be woken by each message.
    AllButMail,
}

/// Carries hints between sessions, services, and later nodes. Lossy by contract: a listener that falls behind by more
/// than [`limits::CHANNEL_ITEMS`] loses hints, and is told so.
pub trait Bus: Send + Sync {
    /// Tells whoever listens. Never waits.
    fn publish(&self, hint: Hint);

    /// Listens from now on, until the subscription is dropped.
    fn subscribe(&self, interest: Interest) -> Subscription;
}

/// What a subscription hears.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Heard {
    /// This.
    Hint(Hint),
    /// Some hints were lost: look at everything of interest.
    Lagged,
    /// The bus is gone.
    Closed,
}

/// A listener's end of the bus.
#[derive(Debug)]
pub struct Subscription {
    hints: async_channel::Receiver<Hint>,
    lagged: Arc<AtomicBool>,
}

impl Subscription {
    /// For implementations: a subscription, and what feeds it.
    pub fn new() -> (Feed, Self) {
        let (tx, hints) = async_channel::bounded(limits::CHANNEL_ITEMS);
        let lagged = Arc::new(AtomicBool::new(false));
        (
            Feed {
                hints: tx,
                lagged: lagged.clone(),
            },
            Subscription { hints, lagged },
        )
    }

    /// Waits for the next hint. Dropping the future loses nothing.
    pub async fn next(&self) -> Heard {
        match self.try_next() {
            Some(heard) => heard,
            None => match self.hints.recv().await {
                Ok(hint) => Heard::Hint(hint),
                Err(_) => Heard::Closed,
            },
        }
    }

    /// What has been heard already.
    pub fn try_next(&self) -> Option<Heard> {
        if self.lagged.swap(false, Ordering::AcqRel) {
            return Some(Heard::Lagged);
        }
        self.hints.try_recv().ok().map(Heard::Hint)
    }
}

/// The bus's end of a [`Subscription`].
#[derive(Debug)]
pub struct Feed {
    hints: async_channel::Sender<Hint>,
    lagged: Arc<AtomicBool>,
}

impl Feed {
    /// Passes a hint on; false when the listener is gone.
    pub fn tell(&self, hint: Hint) -> bool {
        match self.hints.try_send(hint) {
            Ok(()) => true,
            Err(async_channel::TrySendError::Full(_)) => {
                self.lagged.store(true, Ordering::Release);
                true
            }
            Err(async_channel::TrySendError::Closed(_)) => false,
        }
    }
}

/// The bus of a single process.
#[derive(Debug, Default)]
pub struct LocalBus {
    feeds: Mutex<HashMap<Interest, Vec<Feed>>>,
}

impl LocalBus {
    /// A bus without listeners.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Bus for LocalBus {
    fn publish(&self, hint: Hint) {
        let mut feeds = self.feeds.lock().unwrap_or_else(PoisonError::into_inner);
        let all = (hint.topic != Topic::Mail).then_some(Interest::AllButMail);
        for interest in [Interest::Account(hint.account)].into_iter().chain(all) {
            if let Some(listeners) = feeds.get_mut(&interest) {
                listeners.retain(|feed| feed.tell(hint));
                if listeners.is_empty() {
                    feeds.remove(&interest);
                }
            }
        }
    }

    fn subscribe(&self, interest: Interest) -> Subscription {
        let (feed, subscription) = Subscription::new();
        let mut feeds = self.feeds.lock().unwrap_or_else(PoisonError::into_inner);
        feeds.entry(interest).or_default().push(feed);
        subscription
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint(account: u64, change: u64) -> Hint {
        Hint {
            account: AccountId(account),
            topic: Topic::Mail,
            change,
        }
    }

    #[test]
    fn a_listener_hears_its_account_and_no_other() {
        let bus = LocalBus::new();
        let one = bus.subscribe(Interest::Account(AccountId(1)));
        let all = bus.subscribe(Interest::AllButMail);
        let lamp = Hint {
            topic: Topic::Lamp,
            ..hint(2, 1)
        };
        bus.publish(hint(2, 1));
        bus.publish(lamp);
        bus.publish(hint(1, 5));
        assert_eq!(one.try_next(), Some(Heard::Hint(hint(1, 5))));
        assert_eq!(one.try_next(), None);
        assert_eq!(all.try_next(), Some(Heard::Hint(lamp)));
        assert_eq!(
            all.try_next(),
            None,
            "messages wake nobody who has not asked for them"
        );
    }

    #[test]
    fn a_listener_that_falls_behind_is_told_so() {
        let bus = LocalBus::new();
        let slow = bus.subscribe(Interest::Account(AccountId(1)));
        for change in 0..=limits::CHANNEL_ITEMS as u64 {
            bus.publish(hint(1, change));
        }
        assert_eq!(slow.try_next(), Some(Heard::Lagged));
        assert_eq!(slow.try_next(), Some(Heard::Hint(hint(1, 0))));
    }

    #[test]
    fn a_listener_that_left_is_forgotten() {
        let bus = LocalBus::new();
        drop(bus.subscribe(Interest::Account(AccountId(1))));
        bus.publish(hint(1, 1));
        assert!(bus.feeds.lock().unwrap().is_empty());
    }
}
