use ringpost_base::limits;
use ringpost_store::AccountId;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use subtle::ConstantTimeEq;

type Tag = [u8; 32];

/// Remembers of each account the password that was last found right, as a hash keyed with this process's key, so that a
/// mail program that logs in every minute costs argon2 once.
pub(crate) struct Logins {
    key: [u8; 32],
    remembered: Mutex<Remembered>,
    sessions: Sessions,
}

#[derive(Default)]
struct Remembered {
    generation: u64,
    tags: HashMap<AccountId, Tag>,
}

/// Whose sessions ended when, counted in such ends.
#[derive(Default)]
struct Sessions {
    count: AtomicU64,
    ends: Mutex<Ends>,
}

#[derive(Clone, Copy)]
struct End {
    at: u64,
    /// The change of the account that ended them, so that what is told twice ends nothing that has begun in between.
    change: Option<u64>,
}

#[derive(Default)]
struct Ends {
    of: HashMap<AccountId, End>,
    /// Up to here it is not known any more whose they were.
    of_all: u64,
}

impl Logins {
    pub(crate) fn new(key: [u8; 32]) -> Self {
        Logins {
            key,
            remembered: Mutex::default(),
            sessions: Sessions::default(),
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

    /// Where the ends of sessions stand.
    pub(crate) fn mark(&self) -> u64 {
        self.sessions.count.load(Ordering::Acquire)
    }

    /// Whether a session that an account has begun at this mark may go on.
    pub(crate) fn stands(&self, account: AccountId, mark: u64) -> bool {
        if self.mark() == mark {
            return true;
        }
        let ends = self.ends();
        ends.of_all <= mark && ends.of.get(&account).is_none_or(|end| end.at <= mark)
    }

    /// Ends the sessions that an account has begun before this change of it; `None` where it has no number.
    pub(crate) fn end_sessions(&self, account: AccountId, change: Option<u64>) {
        let mut ends = self.ends();
        let known = ends.of.get(&account).and_then(|end| end.change);
        if change.zip(known).is_some_and(|(change, known)| change <= known) {
            return;
        }
        let at = self.mark() + 1;
        if ends.of.len() >= limits::REMEMBERED_LOGINS {
            ends.of.clear();
            ends.of_all = at;
        }
        ends.of.insert(
            account,
            End {
                at,
                change: change.or(known),
            },
        );
        self.sessions.count.store(at, Ordering::Release);
    }

    /// Some password may have changed. Whose sessions that has ended is known where it was changed.
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

    fn ends(&self) -> MutexGuard<'_, Ends> {
        self.sessions.ends.lock().unwrap_or_else(PoisonError::into_inner)
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

    #[test]
    fn a_session_ends_with_the_password_that_it_began_with() {
        let logins = Logins::new([1; 32]);
        let (alice, bob) = (AccountId(1), AccountId(2));
        let mark = logins.mark();
        assert!(logins.stands(alice, mark));
        logins.end_sessions(alice, Some(3));
        assert!(!logins.stands(alice, mark) && logins.stands(bob, mark));
        assert!(logins.stands(alice, logins.mark()));
        // What is told again ends nothing that has begun since.
        let mark = logins.mark();
        logins.end_sessions(alice, Some(3));
        assert!(logins.stands(alice, mark));
        logins.end_sessions(alice, Some(4));
        assert!(!logins.stands(alice, mark) && logins.stands(bob, mark));
        let mark = logins.mark();
        logins.end_sessions(alice, None);
        assert!(!logins.stands(alice, mark));
        let mark = logins.mark();
        logins.end_all();
        assert!(logins.stands(alice, mark) && logins.stands(bob, mark));
    }

    #[test]
    fn where_it_is_forgotten_whose_password_changed_everybody_logs_in_again() {
        let logins = Logins::new([1; 32]);
        let mark = logins.mark();
        for account in 1..=limits::REMEMBERED_LOGINS as u64 + 1 {
            logins.end_sessions(AccountId(account), Some(1));
        }
        assert!(!logins.stands(AccountId(u64::MAX), mark));
        assert!(logins.stands(AccountId(1), logins.mark()));
    }
}
