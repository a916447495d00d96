//! How much an account may send: what a stolen password is worth.

use crate::rate::Rates;
use ringpost_base::Instant;
use ringpost_store::AccountId;
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

    /// Counts one more recipient; false when it is one too many, which is not counted.
    pub(crate) fn take(&self, account: AccountId, now: Instant) -> bool {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = used.take(account, self.per_hour, now);
        if !taken {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_has_so_many_recipients_and_another_its_own() {
        let sending = Sending::new(10);
        let taken = |account| (0..50).filter(|_| sending.take(account, Instant::ZERO)).count();
        assert_eq!(taken(AccountId(1)), 10);
        assert_eq!(taken(AccountId(2)), 10);
        assert_eq!(sending.refused(), 80);
    }
}
