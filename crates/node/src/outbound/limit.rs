//! How much an account may send: what a stolen password is worth.

use ringpost_base::Instant;
use ringpost_store::AccountId;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3_600);
/// Accounts that are remembered before those with nothing to remember are forgotten.
const REMEMBERED: usize = 1_024;

/// That people who signed in may send to other servers, and how much: so many recipients at once, which come back within an
/// hour. It is remembered for as long as the process lives.
#[derive(Debug)]
pub struct Sending {
    per_hour: u32,
    used: Mutex<HashMap<AccountId, Used>>,
}

#[derive(Clone, Copy, Debug)]
struct Used {
    recipients: f64,
    at: Instant,
}

impl Sending {
    /// With so many recipients an hour for each account.
    pub fn new(recipients_per_hour: u32) -> Self {
        Sending {
            per_hour: recipients_per_hour,
            used: Mutex::default(),
        }
    }

    /// Counts one more recipient; false when it is one too many, which is not counted.
    pub(crate) fn take(&self, account: AccountId, now: Instant) -> bool {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let per_hour = f64::from(self.per_hour);
        let left = |used: &Used| {
            let back = now.since(used.at).as_secs_f64() / HOUR.as_secs_f64() * per_hour;
            (used.recipients - back).max(0.0)
        };
        if used.len() >= REMEMBERED {
            used.retain(|_, used| left(used) > 0.0);
        }
        let recipients = used.get(&account).map_or(0.0, left);
        if recipients + 1.0 > per_hour {
            return false;
        }
        let recipients = recipients + 1.0;
        used.insert(account, Used { recipients, at: now });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_has_so_many_recipients_an_hour_and_another_its_own() {
        let sending = Sending::new(10);
        let (alice, bob) = (AccountId(1), AccountId(2));
        let mut now = Instant::ZERO;
        let taken = |account, now| (0..50).filter(|_| sending.take(account, now)).count();
        assert_eq!(taken(alice, now), 10);
        assert_eq!(taken(bob, now), 10);
        now += HOUR / 2;
        assert_eq!(taken(alice, now), 5);
        now += HOUR * 3;
        assert_eq!(taken(alice, now), 10);
    }
}
