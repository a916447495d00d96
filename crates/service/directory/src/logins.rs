use ringpost_base::limits;
use ringpost_store::AccountId;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use subtle::ConstantTimeEq;

type Tag = [u8; 32];

/// Remembers of each account the password that was last found right, as a hash keyed with this process's key, so that a
/// mail program that logs in every minute costs argon2 once.
pub(crate) struct Logins {
    key: [u8; 32],
    remembered: Mutex<Remembered>,
}

#[derive(Default)]
struct Remembered {
    generation: u64,
    tags: HashMap<AccountId, Tag>,
}

impl Logins {
    pub(crate) fn new(key: [u8; 32]) -> Self {
        Logins {
            key,
            remembered: Mutex::default(),
        }
    }

    /// Whether this password was found right before, and nothing has ended that.
    pub(crate) fn knows(&self, account: AccountId, password: &str) -> bool {
        let tag = self.tag(account, password);
        self.remembered()
            .tags
            .get(&account)
            .is_some_and(|known| known.ct_eq(&tag).into())
    }

    /// To be taken before the stored password is read, and handed to [`remember`](Logins::remember).
    pub(crate) fn generation(&self) -> u64 {
        self.remembered().generation
    }

    /// Remembers a password that was found right, unless some password was changed since `generation`.
    pub(crate) fn remember(&self, generation: u64, account: AccountId, password: &str) {
        let tag = self.tag(account, password);
        let mut remembered = self.remembered();
        if remembered.generation != generation {
            return;
        }
        if remembered.tags.len() >= limits::REMEMBERED_LOGINS {
            remembered.tags.clear();
        }
        remembered.tags.insert(account, tag);
    }

    /// An account's password has changed, or the account is gone.
    pub(crate) fn end(&self, account: AccountId) {
        let mut remembered = self.remembered();
        remembered.generation += 1;
        remembered.tags.remove(&account);
    }

    /// Some password may have changed.
    pub(crate) fn end_all(&self) {
        let mut remembered = self.remembered();
        remembered.generation += 1;
        remembered.tags.clear();
    }

    /// A hash of the hash, both with the key before, as HMAC nests them: the tag tells nothing without the key.
    fn tag(&self, account: AccountId, password: &str) -> Tag {
        let inner = Sha256::new()
            .chain_update(self.key)
            .chain_update(account.0.to_be_bytes())
            .chain_update(password.as_bytes())
            .finalize();
        Sha256::new()
            .chain_update(self.key)
            .chain_update(inner)
            .finalize()
            .into()
    }

    fn remembered(&self) -> MutexGuard<'_, Remembered> {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_remembered_until_it_is_ended() {
        let logins = Logins::new([1; 32]);
        let (alice, bob) = (AccountId(1), AccountId(2));
        logins.remember(logins.generation(), alice, "secret");
        assert!(logins.knows(alice, "secret"));
        assert!(!logins.knows(alice, "Secret"));
        assert!(!logins.knows(bob, "secret"));
        logins.end(alice);
        assert!(!logins.knows(alice, "secret"));
    }

    #[test]
    fn a_check_that_a_change_overtook_is_not_remembered() {
        let logins = Logins::new([1; 32]);
        let before = logins.generation();
        logins.end(AccountId(1));
        logins.remember(before, AccountId(1), "old");
        assert!(!logins.knows(AccountId(1), "old"));
    }
}
