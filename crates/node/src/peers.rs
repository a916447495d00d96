//! What one peer may do: messages that it brings, and passwords that it gets wrong.

use crate::rate::Rates;
use crate::world::Endpoints;
use ringpost_base::{Instant, in_network, limits, one_peer};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long it counts that somebody has signed in from an address.
const KNOWN: Duration = Duration::from_secs(24 * 3_600);
/// How many more failed logins an address has from which somebody has signed in: a household's or a firm's.
const KNOWN_FACTOR: u32 = 10;
/// Different wrong passwords of one peer that are remembered, so that each counts once however often a program repeats it.
const WRONG: usize = 8;

/// What one IPv4 address, or one IPv6 network of 64 bits, may do within an hour.
#[derive(Clone, Debug)]
pub struct PeerLimits {
    /// Who may do all as often as it wants: networks, by the bits that count.
    pub exempt: Vec<(IpAddr, u8)>,
    /// Messages that are brought without signing in.
    pub messages_per_hour: u32,
    /// Passwords that are wrong, of all services of mail together. An address from which somebody has signed in within a
    /// day has ten times as many, and who gives a password that was found right before is let in all the same, so that
    /// nobody's forgotten program locks a household out for long.
    pub failed_logins_per_hour: u32,
}

impl Default for PeerLimits {
    fn default() -> Self {
        PeerLimits {
            exempt: Vec::new(),
            messages_per_hour: 3_000,
            failed_logins_per_hour: 60,
        }
    }
}

/// What peers have done of late. One for all listeners.
#[derive(Debug, Default)]
pub struct Peers {
    state: Mutex<State>,
    hasher: RandomState,
    messages_refused: AtomicU64,
    logins_failed: AtomicU64,
    logins_refused: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    limits: PeerLimits,
    messages: Rates<IpAddr>,
    failures: Rates<IpAddr>,
    wrong: HashMap<IpAddr, Vec<u64>>,
    known: HashMap<IpAddr, Instant>,
}

impl State {
    /// Ourselves, by whichever address, and those that are configured.
    fn is_exempt(&self, from: Endpoints) -> bool {
        let (local, remote) = (from.local.ip().to_canonical(), from.remote.ip().to_canonical());
        let mut exempt = self.limits.exempt.iter();
        local == remote || exempt.any(|(network, bits)| in_network(remote, *network, *bits))
    }

    fn failures_per_hour(&self, peer: IpAddr, now: Instant) -> u32 {
        let is_known = self.known.get(&peer).is_some_and(|at| now.since(*at) < KNOWN);
        let factor = if is_known { KNOWN_FACTOR } else { 1 };
        self.limits.failed_logins_per_hour.saturating_mul(factor)
    }
}

impl Peers {
    /// With these limits.
    pub fn new(limits: PeerLimits) -> Self {
        let peers = Peers::default();
        peers.set_limits(limits);
        peers
    }

    /// Goes by other limits from now on.
    pub fn set_limits(&self, limits: PeerLimits) {
        self.lock().limits = limits;
    }

    /// Messages that were refused because their peer had brought too many.
    pub fn messages_refused(&self) -> u64 {
        self.messages_refused.load(Ordering::Relaxed)
    }

    /// Logins that failed.
    pub fn logins_failed(&self) -> u64 {
        self.logins_failed.load(Ordering::Relaxed)
    }

    /// Logins that were not looked at, because too many of the same peer had failed.
    pub fn logins_refused(&self) -> u64 {
        self.logins_refused.load(Ordering::Relaxed)
    }

    /// Counts one more message; false when it is one too many, which is not counted.
    pub(crate) fn take_message(&self, from: Endpoints, now: Instant) -> bool {
        let mut state = self.lock();
        let per_hour = state.limits.messages_per_hour;
        let taken = state.is_exempt(from) || state.messages.take(one_peer(from.remote.ip()), per_hour, now);
        if !taken {
            self.messages_refused.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }

    /// Whether a password is looked at that comes from there.
    pub(crate) fn may_log_in(&self, from: Endpoints, now: Instant) -> bool {
        let state = self.lock();
        let peer = one_peer(from.remote.ip());
        let per_hour = state.failures_per_hour(peer, now);
        let may = state.is_exempt(from) || state.failures.has_room(peer, per_hour, now);
        if !may {
            self.logins_refused.fetch_add(1, Ordering::Relaxed);
        }
        may
    }

    /// Somebody there gave a wrong password: the same one for the same user counts once.
    pub(crate) fn wrong_password(&self, from: Endpoints, user: &str, password: &str, now: Instant) {
        let tag = self.hasher.hash_one((user, password));
        let (peer, mut state) = (one_peer(from.remote.ip()), self.lock());
        if state.wrong.len() >= limits::RATES && !state.wrong.contains_key(&peer) {
            state.wrong.clear();
        }
        let wrong = state.wrong.entry(peer).or_default();
        if wrong.contains(&tag) {
            return;
        }
        if wrong.len() == WRONG {
            wrong.remove(0);
        }
        wrong.push(tag);
        let per_hour = state.failures_per_hour(peer, now);
        state.failures.add(peer, per_hour, now);
    }

    /// An exchange begins there that shows no password: it counts as failed until it has [succeeded](Peers::proven).
    pub(crate) fn tries(&self, from: Endpoints, now: Instant) {
        let (peer, mut state) = (one_peer(from.remote.ip()), self.lock());
        let per_hour = state.failures_per_hour(peer, now);
        state.failures.add(peer, per_hour, now);
    }

    /// Such an exchange was good.
    pub(crate) fn proven(&self, from: Endpoints, now: Instant) {
        self.signed_in(from, now);
        let (peer, mut state) = (one_peer(from.remote.ip()), self.lock());
        let per_hour = state.failures_per_hour(peer, now);
        state.failures.give_back(peer, per_hour, now);
    }

    /// A login was refused, for whatever reason.
    pub(crate) fn login_failed(&self) {
        self.logins_failed.fetch_add(1, Ordering::Relaxed);
    }

    /// Somebody there has signed in.
    pub(crate) fn signed_in(&self, from: Endpoints, now: Instant) {
        let mut state = self.lock();
        if state.known.len() >= limits::RATES {
            state.known.retain(|_, at| now.since(*at) < KNOWN);
            if state.known.len() >= limits::RATES {
                state.known.clear();
            }
        }
        state.known.insert(one_peer(from.remote.ip()), now);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant::ZERO;

    fn peers(failed_logins_per_hour: u32) -> Peers {
        Peers::new(PeerLimits {
            exempt: vec![("127.0.0.0".parse().unwrap(), 8)],
            messages_per_hour: 2,
            failed_logins_per_hour,
        })
    }

    fn ip(text: &str) -> Endpoints {
        Endpoints {
            local: (IpAddr::from([198, 51, 100, 1]), 25).into(),
            remote: (text.parse::<IpAddr>().unwrap(), 4_000).into(),
            tls: false,
        }
    }

    #[test]
    fn an_address_brings_so_many_messages_and_who_is_trusted_as_many_as_it_wants() {
        let peers = peers(1);
        let taken = |address: &str| (0..9).filter(|_| peers.take_message(ip(address), NOW)).count();
        assert_eq!(taken("192.0.2.1"), 2);
        assert_eq!(taken("2001:db8::1"), 2);
        assert_eq!(taken("2001:db8::2"), 0, "it is the same network");
        assert_eq!(taken("127.0.0.1"), 9);
        assert_eq!(peers.messages_refused(), 7 + 7 + 9);
    }

    #[test]
    fn who_guesses_is_heard_no_more_and_who_repeats_a_mistake_is() {
        let peers = peers(3);
        let (guesser, forgetful) = (ip("192.0.2.1"), ip("192.0.2.2"));
        for n in 0..3 {
            assert!(peers.may_log_in(guesser, NOW));
            peers.wrong_password(guesser, "alice", &n.to_string(), NOW);
            peers.wrong_password(forgetful, "bob", "old password", NOW);
        }
        assert!(!peers.may_log_in(guesser, NOW));
        assert!(peers.may_log_in(forgetful, NOW));
        let hour = Duration::from_secs(3_600);
        assert!(peers.may_log_in(guesser, NOW + hour), "not for ever");
        for _ in 0..2 {
            peers.tries(forgetful, NOW);
        }
        assert!(
            !peers.may_log_in(forgetful, NOW),
            "what is not seen counts each time"
        );
    }

    // Guards pitfall SMTP 8: the server never bans itself or its owner.
    #[test]
    fn neither_the_server_itself_nor_a_home_that_has_signed_in_is_shut_out() {
        let peers = peers(1);
        let (home, itself, outside) = (ip("192.0.2.1"), ip("127.0.0.1"), ip("198.51.100.1"));
        peers.signed_in(home, NOW);
        for n in 0..9 {
            peers.wrong_password(home, "carol", &n.to_string(), NOW);
            peers.wrong_password(itself, "carol", &n.to_string(), NOW);
            peers.wrong_password(outside, "carol", &n.to_string(), NOW);
            peers.tries(home, NOW);
            peers.proven(home, NOW);
        }
        for peer in [home, itself, outside] {
            assert!(peers.may_log_in(peer, NOW), "{peer:?}");
        }
        peers.tries(home, NOW);
        assert!(
            !peers.may_log_in(home, NOW),
            "but it cannot guess for ever either"
        );
    }
}
