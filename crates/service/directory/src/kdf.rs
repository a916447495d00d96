use crate::DirectoryError;
use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use bytes::Bytes;
use ringpost_auth::sasl::{ScramKeys, prepare};
use ringpost_base::UnixTime;
use ringpost_store::records::Password;
use std::fmt;

/// What a password is stretched with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cost {
    /// Argon2id's memory, KiB.
    pub memory_kib: u32,
    /// Argon2id's passes over it.
    pub passes: u32,
    /// Iterations of SCRAM's key derivation.
    pub scram_iterations: u32,
}

impl Cost {
    /// For people's passwords: 19 MiB and two passes, some 20 ms of a core.
    pub const DEFAULT: Cost = Cost {
        memory_kib: 19 * 1024,
        passes: 2,
        scram_iterations: ringpost_auth::sasl::DEFAULT_ITERATIONS,
    };
    /// For tests and simulations, which have many accounts and no enemies.
    pub const CHEAP: Cost = Cost {
        memory_kib: 8,
        passes: 1,
        scram_iterations: ringpost_auth::sasl::MIN_ITERATIONS,
    };

    fn argon2(&self) -> Argon2<'static> {
        let params = Params::new(self.memory_kib, self.passes, 1, None).unwrap_or(Params::DEFAULT);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
    }

    /// What is kept of a password. Takes its time.
    pub(crate) fn derive(
        &self,
        password: &str,
        salts: &Salts,
        changed: UnixTime,
    ) -> Result<Password, DirectoryError> {
        let password = prepare(password).map_err(|e| DirectoryError::BadPassword(e.to_string()))?;
        let scram = ScramKeys::derive(&password, &salts.scram, self.scram_iterations)
            .map_err(|e| DirectoryError::BadPassword(e.to_string()))?;
        let salt = SaltString::encode_b64(&salts.argon2).map_err(failed)?;
        let argon2 = self
            .argon2()
            .hash_password(password.as_bytes(), &salt)
            .map_err(failed)?;
        Ok(Password {
            argon2: argon2.to_string(),
            scram_salt: Bytes::from(scram.salt),
            scram_iterations: scram.iterations,
            scram_stored_key: Bytes::copy_from_slice(&scram.stored_key),
            scram_server_key: Bytes::copy_from_slice(&scram.server_key),
            changed,
        })
    }
}

fn failed(e: argon2::password_hash::Error) -> DirectoryError {
    DirectoryError::BadPassword(e.to_string())
}

/// Whether `password` is what `phc` was made from. Takes the time that `phc` says.
pub(crate) fn verify(phc: &str, password: &str) -> bool {
    let (Ok(password), Ok(hash)) = (prepare(password), PasswordHash::new(phc)) else {
        return false;
    };
    Argon2::default()
        .verify_password(password.as_bytes(), &hash)
        .is_ok()
}

/// Random bytes for one password.
pub(crate) struct Salts {
    pub(crate) argon2: [u8; 16],
    pub(crate) scram: [u8; 16],
}

/// Something that takes a core's time and waits for nothing.
pub type Job = Box<dyn FnOnce() + Send>;

/// All slots are taken and the queue is full: the caller should be told to come back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("too many passwords are being checked")]
pub struct Busy;

/// Where passwords are stretched: in the server, as many threads as cores with a bounded queue before them.
pub trait Kdf: Send + Sync {
    /// What new passwords cost.
    fn cost(&self) -> Cost;

    /// Runs the job soon, on another thread or here. A job that is dropped instead counts as [`Busy`].
    fn run(&self, job: Job) -> Result<(), Busy>;
}

/// Runs each job on the spot: for tests, simulations, and tools that do one thing.
#[derive(Clone, Copy, Debug)]
pub struct InlineKdf(pub Cost);

impl Kdf for InlineKdf {
    fn cost(&self) -> Cost {
        self.0
    }

    fn run(&self, job: Job) -> Result<(), Busy> {
        job();
        Ok(())
    }
}

impl fmt::Debug for dyn Kdf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kdf({:?})", self.cost())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn salts() -> Salts {
        Salts {
            argon2: [1; 16],
            scram: [2; 16],
        }
    }

    #[test]
    fn a_password_is_known_again_and_another_is_not() {
        for cost in [
            Cost::CHEAP,
            Cost {
                memory_kib: 64,
                ..Cost::CHEAP
            },
        ] {
            let kept = cost.derive("pässword 1", &salts(), UnixTime::default()).unwrap();
            assert!(kept.argon2.starts_with("$argon2id$v=19$"), "{}", kept.argon2);
            assert!(verify(&kept.argon2, "pässword 1"));
            assert!(!verify(&kept.argon2, "pässword 2"));
            assert_eq!(kept.scram_stored_key.len(), 32);
        }
        assert!(!verify("", "x"));
        assert!(!verify("$argon2id$v=19$m=19456", "x"));
    }

    #[test]
    fn a_password_with_a_control_character_is_refused() {
        assert!(
            Cost::CHEAP
                .derive("a\u{7}b", &salts(), UnixTime::default())
                .is_err()
        );
    }

    // Parameters that argon2 refuses would fall back silently; the two that are shipped are taken as they are.
    #[test]
    fn the_shipped_costs_are_valid() {
        for cost in [Cost::CHEAP, Cost::DEFAULT] {
            assert!(Params::new(cost.memory_kib, cost.passes, 1, None).is_ok());
        }
    }
}
