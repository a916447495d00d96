use super::{Algorithm, Challenge, Credentials, DigestKeys, count};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use ringpost_base::{Rng, UnixTime, limits};
use sha2::Sha256;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;
use subtle::ConstantTimeEq;

/// What a server side asks for.
#[derive(Clone, Debug)]
pub struct Policy {
    /// How long a nonce may be used; after that, right credentials are answered with `stale=true`.
    pub nonce_lifetime: Duration,
    /// Algorithms that are offered and taken, the preferred first.
    pub algorithms: Vec<Algorithm>,
    /// Tell clients that they may hide the user's name (the caller must then find users by hash).
    pub userhash: bool,
    /// Take credentials without qop (RFC 2069) too. Nothing counts them: who hears them can repeat them for the same method
    /// and URI while the nonce lives.
    pub without_qop: bool,
}

impl Default for Policy {
    /// Five minutes; SHA-256, then MD5; user names in the clear; with qop alone.
    fn default() -> Self {
        Policy {
            nonce_lifetime: Duration::from_secs(300),
            algorithms: vec![Algorithm::Sha256, Algorithm::Md5],
            userhash: false,
            without_qop: false,
        }
    }
}

/// How much a challenge may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// One challenge for each algorithm, the preferred first (RFC 8760 §2.3).
    All,
    /// The preferred alone: for an answer that must stay small beside its request.
    Strongest,
}

/// What became of credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// They prove the keys, freshly.
    Granted,
    /// They prove the keys, but their nonce is too old, not ours, or this count was used: challenge again with
    /// `stale=true`, and the client repeats without asking its user.
    Stale,
    /// They prove nothing: challenge again.
    Refused(Refusal),
}

/// Why credentials were refused. For logs; the peer is told none of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// For another realm.
    #[error("the credentials are for another realm")]
    Realm,
    /// With an algorithm that was not offered, or without `qop=auth` where it is required.
    #[error("the credentials use what was not offered")]
    Scheme,
    /// No such user, or a wrong password.
    #[error("unknown user or wrong password")]
    Response,
}

/// The server side of digest authentication for one realm.
///
/// A nonce holds its time of issue, a number and a MAC over both and the realm, so that a challenge costs no memory. What
/// is remembered is the counts of the nonces that right credentials have used, for at most
/// [`limits::DIGEST_NONCES`]; over it the oldest nonces end early, and those who hold them get `stale=true`.
#[derive(Debug)]
pub struct Authenticator {
    realm: String,
    mac: Hmac<Sha256>,
    policy: Policy,
    /// The upper bits of a nonce's number, so that two processes with one key give out different nonces.
    instance: u32,
    issued: u32,
    used: BTreeMap<NonceId, Counts>,
    /// Nonces up to this one may have been used and forgotten.
    floor: NonceId,
    decoy: DigestKeys,
}

/// The part of a nonce before its MAC: milliseconds since 1970 (6 bytes), then a number (6 bytes).
type NonceId = [u8; 12];
const MAC_BYTES: usize = 12;
const NONCE_BYTES: usize = 12 + MAC_BYTES;

/// Clocks of servers that share a key may differ by this much.
const CLOCK_SKEW: Duration = Duration::from_secs(5);

impl Authenticator {
    /// With a key of its own: nonces end with the process.
    pub fn new(realm: impl Into<String>, mut rng: Rng, policy: Policy) -> Self {
        let mut key = [0; 32];
        rng.fill(&mut key);
        Self::with_key(realm, &key, rng, policy)
    }

    /// With a key that several servers share, so that each takes the others' nonces. A count that was used at one of them
    /// is then still fresh at another.
    pub fn with_key(realm: impl Into<String>, key: &[u8; 32], mut rng: Rng, policy: Policy) -> Self {
        let mut decoy = [0; DigestKeys::LEN];
        rng.fill(&mut decoy);
        Authenticator {
            realm: realm.into(),
            mac: Hmac::new_from_slice(key).expect("HMAC takes keys of any length"),
            policy,
            instance: rng.u32(),
            issued: 0,
            used: BTreeMap::new(),
            floor: [0; 12],
            decoy: DigestKeys::from_bytes(decoy),
        }
    }

    /// The realm that is asked for.
    pub fn realm(&self) -> &str {
        &self.realm
    }

    /// How many nonces have counts in memory.
    pub fn used_nonces(&self) -> usize {
        self.used.len()
    }

    /// The challenges to put into one 401 or 407, each a header field of its own, in this order; all with one fresh nonce.
    pub fn challenge(&mut self, now: UnixTime, offer: Offer, stale: bool) -> Challenges<'_> {
        let nonce = self.mint(now);
        let algorithms = match offer {
            Offer::All => &self.policy.algorithms[..],
            Offer::Strongest => &self.policy.algorithms[..self.policy.algorithms.len().min(1)],
        };
        Challenges {
            realm: &self.realm,
            nonce,
            stale,
            userhash: self.policy.userhash,
            algorithms,
        }
    }

    /// Judges credentials of a request of `method`. `keys` are the named user's, `None` for an unknown user, which takes
    /// the same time and gets the same answer as a wrong password.
    ///
    /// A count that was granted once is `Stale` ever after, so a retransmission must not come here twice.
    pub fn verify(
        &mut self,
        now: UnixTime,
        credentials: &Credentials<'_>,
        method: &str,
        keys: Option<&DigestKeys>,
    ) -> Verdict {
        let algorithm = match self.usable(credentials) {
            Ok(algorithm) => algorithm,
            Err(refusal) => return Verdict::Refused(refusal),
        };
        let proven = credentials.proves(method, algorithm, keys.unwrap_or(&self.decoy)) & keys.is_some();
        let nonce = self.nonce(now, &credentials.nonce);
        //= https://www.rfc-editor.org/rfc/rfc7616#section-3.3
        // Only who knows the password is told that the nonce was at fault.
        if !proven {
            return Verdict::Refused(Refusal::Response);
        }
        let nc = credentials.auth.as_ref().and_then(|(_, nc)| count(nc));
        match (nonce, nc) {
            (Some(id), Some(nc)) if self.count(now, id, nc) => Verdict::Granted,
            (Some(_), None) => Verdict::Granted,
            _ => Verdict::Stale,
        }
    }

    /// Whether these credentials could be granted to somebody now: worth looking up the user's keys for. `verify` asks
    /// again.
    pub fn is_worth_a_lookup(&self, now: UnixTime, credentials: &Credentials<'_>) -> bool {
        self.usable(credentials).is_ok() && self.nonce(now, &credentials.nonce).is_some()
    }

    fn usable(&self, credentials: &Credentials<'_>) -> Result<Algorithm, Refusal> {
        if credentials.realm != self.realm {
            return Err(Refusal::Realm);
        }
        let lacks_qop = credentials.auth.is_none() && !self.policy.without_qop;
        if lacks_qop || (credentials.userhash && !self.policy.userhash) {
            return Err(Refusal::Scheme);
        }
        let offered = |algorithm: &Algorithm| self.policy.algorithms.contains(algorithm);
        credentials.algorithm.filter(offered).ok_or(Refusal::Scheme)
    }

    fn mint(&mut self, now: UnixTime) -> String {
        self.issued = self.issued.wrapping_add(1);
        let number = (u64::from(self.instance) << 24) ^ u64::from(self.issued);
        let mut nonce = [0; NONCE_BYTES];
        nonce[..6].copy_from_slice(&now.as_millis().to_be_bytes()[2..]);
        nonce[6..12].copy_from_slice(&number.to_be_bytes()[2..]);
        let mac = self.mac_of(&nonce[..12]);
        nonce[12..].copy_from_slice(&mac);
        URL_SAFE_NO_PAD.encode(nonce)
    }

    fn mac_of(&self, id: &[u8]) -> [u8; MAC_BYTES] {
        let mut mac = self.mac.clone();
        mac.update(id);
        mac.update(self.realm.as_bytes());
        let mut out = [0; MAC_BYTES];
        out.copy_from_slice(&mac.finalize().into_bytes()[..MAC_BYTES]);
        out
    }

    /// The nonce's number if it is ours and within its lifetime.
    fn nonce(&self, now: UnixTime, text: &str) -> Option<NonceId> {
        let mut nonce = [0; NONCE_BYTES];
        let len = URL_SAFE_NO_PAD.decode_slice(text, &mut nonce).ok()?;
        let (id, mac) = nonce.split_at(12);
        let genuine: bool = self.mac_of(id).ct_eq(mac).into();
        if len != NONCE_BYTES || !genuine {
            return None;
        }
        let id: NonceId = id.try_into().ok()?;
        let issued = issued_at(&id);
        let alive = issued <= now + CLOCK_SKEW && now.since(issued) <= self.policy.nonce_lifetime;
        alive.then_some(id)
    }

    /// Takes note of a count; false when it was used before, or may have been.
    fn count(&mut self, now: UnixTime, id: NonceId, nc: u32) -> bool {
        if let Some(counts) = self.used.get_mut(&id) {
            return counts.take(nc);
        }
        if id <= self.floor {
            return false;
        }
        self.forget_expired(now);
        if self.used.len() >= limits::DIGEST_NONCES
            && let Some((oldest, _)) = self.used.pop_first()
        {
            self.floor = oldest.max(self.floor);
        }
        let mut counts = Counts::default();
        let fresh = counts.take(nc);
        // The newcomer itself may be older than what had to go.
        if fresh && id > self.floor {
            self.used.insert(id, counts);
        }
        fresh
    }

    fn forget_expired(&mut self, now: UnixTime) {
        let lifetime = self.policy.nonce_lifetime + CLOCK_SKEW;
        while let Some(oldest) = self.used.first_entry() {
            if now.since(issued_at(oldest.key())) <= lifetime {
                break;
            }
            self.floor = (*oldest.key()).max(self.floor);
            oldest.remove();
        }
    }
}

fn issued_at(id: &NonceId) -> UnixTime {
    let mut ms = [0; 8];
    ms[2..].copy_from_slice(&id[..6]);
    UnixTime::from_nanos(u64::from_be_bytes(ms).saturating_mul(1_000_000))
}

/// Which counts of one nonce were used: the highest, and a window of 64 below it, since requests over UDP overtake each
/// other.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    highest: u32,
    window: u64,
}

impl Counts {
    /// False for a count that was used, lies below the window, or is zero.
    fn take(&mut self, nc: u32) -> bool {
        if nc > self.highest {
            self.window = self.window.checked_shl(nc - self.highest).unwrap_or(0) | 1;
            self.highest = nc;
            return true;
        }
        let bit = 1u64.checked_shl(self.highest - nc).unwrap_or(0);
        let fresh = nc != 0 && bit != 0 && self.window & bit == 0;
        self.window |= bit;
        fresh
    }
}

/// The challenges of one answer, the strongest algorithm first.
#[derive(Clone, Debug)]
pub struct Challenges<'a> {
    realm: &'a str,
    nonce: String,
    stale: bool,
    userhash: bool,
    algorithms: &'a [Algorithm],
}

impl<'a> Iterator for Challenges<'a> {
    type Item = Challenge<'a>;

    fn next(&mut self) -> Option<Challenge<'a>> {
        let (algorithm, rest) = self.algorithms.split_first()?;
        self.algorithms = rest;
        Some(Challenge {
            realm: Cow::Borrowed(self.realm),
            nonce: Cow::Owned(self.nonce.clone()),
            opaque: None,
            algorithm: Some(*algorithm),
            qop_auth: true,
            stale: self.stale,
            userhash: self.userhash,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime::from_secs(1_700_000_000);

    #[test]
    fn the_table_of_counts_is_bounded_and_what_it_forgot_is_stale() {
        let mut server = Authenticator::new("example.com", Rng::from_number(1), Policy::default());
        let mut first = None;
        for n in 0..=limits::DIGEST_NONCES as u64 {
            let now = NOW + Duration::from_millis(n / 1000);
            let id = {
                let nonce = server.mint(now);
                server.nonce(now, &nonce).unwrap()
            };
            assert!(server.count(now, id, 1));
            first.get_or_insert(id);
        }
        assert_eq!(server.used_nonces(), limits::DIGEST_NONCES);
        assert!(
            !server.count(NOW, first.unwrap(), 2),
            "forgotten, so it might be a replay"
        );
        let later = NOW + Duration::from_secs(1000);
        let nonce = server.mint(later);
        let id = server.nonce(later, &nonce).unwrap();
        assert!(server.count(later, id, 1));
        assert_eq!(server.used_nonces(), 1, "the expired are forgotten");
    }

    #[test]
    fn counts_may_come_out_of_order_but_never_twice() {
        let mut counts = Counts::default();
        assert!(!counts.take(0));
        assert!(counts.take(3) && counts.take(1) && counts.take(2));
        assert!(!counts.take(1) && !counts.take(2) && !counts.take(3));
        assert!(counts.take(66) && !counts.take(2) && counts.take(4));
        assert!(counts.take(u32::MAX) && !counts.take(66) && counts.take(u32::MAX - 63));
    }
}
