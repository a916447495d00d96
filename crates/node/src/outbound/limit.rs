//! How much an account may send: what a stolen password is worth.

use crate::rate::Rates;
use ringpost_base::Instant;
use ringpost_store::AccountId;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// That people who signed in may send to other servers, and how much: so many recipients at once, which come back within an
/// hour. It is remembered for as long as the process lives.
#[derive(Debug)]
pub struct Sending {
    per_hour: u32,
    used: Mutex<Rates<AccountId>>,
    refused: AtomicU64,
}

impl Sending {
    /// With so many recipients an hour for each account.
    pub fn new(recipients_per_hour: u32) -> Self {
        Sending {
            per_hour: recipients_per_hour,
            used: Mutex::default(),
            refused: AtomicU64::new(0),
        }
    }

    /// Recipients that were refused for it.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Whether an account may have so many more recipients; nothing is counted.
    pub(crate) fn may(&self, account: AccountId, more: u32, now: Instant) -> bool {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let may = used.has_room_for(account, more, self.per_hour, now);
        if !may {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        may
    }

    /// Counts the recipients of a message that is taken; false when they are too many for one of the accounts, which counts
    /// nothing.
    pub(crate) fn take(&self, all: &Sent, now: Instant) -> bool {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let is_room =
            |(account, more): (&AccountId, &u32)| used.has_room_for(*account, *more, self.per_hour, now);
        if !all.iter().all(is_room) {
            let refused: u32 = all.values().sum();
            self.refused.fetch_add(refused.into(), Ordering::Relaxed);
            return false;
        }
        for (account, more) in all {
            used.add_all(*account, *more, self.per_hour, now);
        }
        true
    }

    /// The message was not taken after all.
    pub(crate) fn give_back(&self, all: &Sent, now: Instant) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        for (account, less) in all {
            used.give_back_all(*account, *less, self.per_hour, now);
        }
    }
}

/// How many recipients each account answers for.
pub(crate) type Sent = BTreeMap<AccountId, u32>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_has_so_many_recipients_and_another_its_own() {
        let sending = Sending::new(10);
        let one = |account| Sent::from([(AccountId(account), 1)]);
        let taken = |account| {
            (0..50)
                .filter(|_| sending.take(&one(account), Instant::ZERO))
                .count()
        };
        assert_eq!(taken(1), 10);
        assert_eq!(taken(2), 10);
        assert_eq!(sending.refused(), 80);
    }

    #[test]
    fn the_recipients_of_a_message_count_together_or_not_at_all() {
        let sending = Sending::new(10);
        let both = Sent::from([(AccountId(1), 3), (AccountId(2), 6)]);
        assert!(sending.take(&both, Instant::ZERO));
        assert!(!sending.take(&both, Instant::ZERO));
        assert!(sending.may(AccountId(1), 7, Instant::ZERO) && !sending.may(AccountId(1), 8, Instant::ZERO));
        sending.give_back(&both, Instant::ZERO);
        assert!(sending.may(AccountId(2), 10, Instant::ZERO));
    }
}
