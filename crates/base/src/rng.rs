use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use std::time::Duration;

/// A seeded, cryptographically strong source of randomness.
///
/// The server seeds one from the operating system, a simulation from its seed number. Machines are handed a
/// [`fork`](Rng::fork), so that what one draws does not shift what another gets.
#[derive(Clone, Debug)]
pub struct Rng(ChaCha12Rng);

/// Letters and digits that survive being read aloud or typed on a phone: no 0/O, 1/l/I.
const TOKEN_ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

impl Rng {
    /// From 32 bytes of entropy.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Rng(ChaCha12Rng::from_seed(seed))
    }

    /// From a seed number: for tests and simulations only.
    pub fn from_number(seed: u64) -> Self {
        Rng(ChaCha12Rng::seed_from_u64(seed))
    }

    /// A new independent source, seeded from this one.
    pub fn fork(&mut self) -> Self {
        let mut seed = [0; 32];
        self.fill(&mut seed);
        Rng::from_seed(seed)
    }

    /// Fills `out` with random bytes.
    pub fn fill(&mut self, out: &mut [u8]) {
        self.0.fill_bytes(out);
    }

    /// 32 random bits.
    pub fn u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// 64 random bits.
    pub fn u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform in `0..bound`; zero when `bound` is zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        // Lemire's multiply-shift; the bias of 2^-64 × bound is of no matter for ports, back-offs and choices.
        ((u128::from(self.u64()) * u128::from(bound)) >> 64) as u64
    }

    /// Uniform in `0.0..1.0`.
    pub fn unit(&mut self) -> f64 {
        (self.u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// True with probability `p`.
    pub fn chance(&mut self, p: f64) -> bool {
        self.unit() < p
    }

    /// Uniform between `low` and `high`.
    pub fn duration(&mut self, low: Duration, high: Duration) -> Duration {
        let span = high.saturating_sub(low).as_nanos() as u64;
        low + Duration::from_nanos(self.below(span.saturating_add(1)))
    }

    /// `len` characters of a 32-letter alphabet, 5 bits each: for tags, branches and generated secrets.
    pub fn token(&mut self, len: usize) -> String {
        let mut out = String::with_capacity(len);
        let (mut bits, mut have) = (0u64, 0);
        for _ in 0..len {
            if have < 5 {
                (bits, have) = (self.u64(), 60);
            }
            out.push(TOKEN_ALPHABET[(bits & 31) as usize] as char);
            bits >>= 5;
            have -= 5;
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_run_and_a_fork_another() {
        let mut a = Rng::from_number(7);
        let mut b = Rng::from_number(7);
        assert_eq!(a.token(40), b.token(40));
        let mut fork = a.fork();
        assert_ne!(fork.u64(), a.u64());
    }

    #[test]
    fn bounds_hold() {
        let mut rng = Rng::from_number(1);
        for _ in 0..10_000 {
            assert!(rng.below(7) < 7);
            let d = rng.duration(Duration::from_millis(2100), Duration::from_secs(4));
            assert!((2100..=4000).contains(&d.as_millis()));
        }
        assert_eq!(rng.below(0), 0);
        assert_eq!(rng.token(13).len(), 13);
    }
}
