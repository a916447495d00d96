//! Which commits are applied and not yet durable: whoever else reads what they changed waits before telling anybody.

use async_channel::{Receiver, Sender};
use ringpost_store::AccountId;
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The commits of each account that are under way.
#[derive(Debug, Default)]
pub(crate) struct InFlight(Mutex<HashMap<AccountId, Vec<Receiver<Infallible>>>>);

/// One commit that is under way, until it is dropped.
#[derive(Debug)]
pub(crate) struct Flight {
    all: Arc<InFlight>,
    account: AccountId,
    /// Nothing is ever sent: waiting for it is waiting for its end.
    end: Sender<Infallible>,
}

impl InFlight {
    fn lock(&self) -> MutexGuard<'_, HashMap<AccountId, Vec<Receiver<Infallible>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A commit begins. To be dropped when it is durable.
    pub(crate) fn begin(self: &Arc<Self>, account: AccountId) -> Flight {
        let (end, waits) = async_channel::bounded(1);
        self.lock().entry(account).or_default().push(waits);
        Flight {
            all: self.clone(),
            account,
            end,
        }
    }

    /// Waits until every commit of the account that is under way now is durable or has failed. Called after a read, so
    /// that what was read is durable too.
    pub(crate) async fn settled(&self, account: AccountId) {
        let waits = self.lock().get(&account).cloned().unwrap_or_default();
        for one in waits {
            let _ended = one.recv().await;
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.end.close();
        let mut all = self.all.lock();
        if let Some(waits) = all.get_mut(&self.account) {
            waits.retain(|one| !one.is_closed());
            if waits.is_empty() {
                all.remove(&self.account);
            }
        }
    }
}
