//! A network that loses, delays, doubles and reorders datagrams, from a seed.

use bytes::Bytes;
use ringpost_base::{Instant, Rng};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// How bad the network is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weather {
    /// The share of datagrams that never arrive.
    pub loss: f64,
    /// The share of those that arrive which arrive twice.
    pub duplication: f64,
    /// The share that is held back by up to ten times the longest delay, so that later ones overtake it.
    pub reordering: f64,
    /// The shortest and the longest delay.
    pub delay: (Duration, Duration),
}

impl Weather {
    /// Nothing is lost, and everything keeps its order.
    pub const CLEAR: Weather = Weather {
        loss: 0.0,
        duplication: 0.0,
        reordering: 0.0,
        delay: (Duration::from_millis(5), Duration::from_millis(5)),
    };

    /// `loss` of all datagrams are lost, some are doubled, and many overtake others.
    pub const fn stormy(loss: f64) -> Weather {
        Weather {
            loss,
            duplication: 0.05,
            reordering: 0.10,
            delay: (Duration::from_millis(2), Duration::from_millis(40)),
        }
    }
}

/// A datagram under way.
#[derive(Clone, Debug)]
pub struct Datagram {
    /// Who sent it.
    pub from: SocketAddr,
    /// Who gets it, if somebody is there.
    pub to: SocketAddr,
    /// What it says.
    pub bytes: Bytes,
}

/// Everything that is under way, in the order of its arrival.
#[derive(Debug)]
pub struct Network {
    /// May be changed at any time; what is under way already is not touched.
    pub weather: Weather,
    rng: Rng,
    under_way: BTreeMap<(Instant, u64), Datagram>,
    sent: u64,
}

impl Network {
    /// An empty network.
    pub fn new(weather: Weather, rng: Rng) -> Self {
        Network {
            weather,
            rng,
            under_way: BTreeMap::new(),
            sent: 0,
        }
    }

    /// Sends a datagram, or loses it.
    pub fn send(&mut self, now: Instant, datagram: Datagram) {
        if self.rng.chance(self.weather.loss) {
            return;
        }
        let copies = 1 + u32::from(self.rng.chance(self.weather.duplication));
        for _ in 0..copies {
            let (shortest, longest) = self.weather.delay;
            let mut delay = self.rng.duration(shortest, longest);
            if self.rng.chance(self.weather.reordering) {
                delay += self.rng.duration(Duration::ZERO, longest * 9);
            }
            // The number keeps the order of datagrams that arrive at the same moment.
            self.sent += 1;
            self.under_way.insert((now + delay, self.sent), datagram.clone());
        }
    }

    /// How many datagrams have been put on their way, copies included.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// When the next datagram arrives.
    pub fn next_arrival(&self) -> Option<Instant> {
        self.under_way.first_key_value().map(|((at, _), _)| *at)
    }

    /// A datagram that has arrived by `now`.
    pub fn pop_arrived(&mut self, now: Instant) -> Option<Datagram> {
        let entry = self.under_way.first_entry()?;
        (entry.key().0 <= now).then(|| entry.remove())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(weather: Weather, seed: u64) -> Vec<u8> {
        let mut network = Network::new(weather, Rng::from_number(seed));
        let address = "10.0.0.1:1".parse().unwrap();
        for n in 0..200 {
            let now = Instant::ZERO + Duration::from_millis(n);
            let bytes = Bytes::copy_from_slice(&[n as u8]);
            network.send(
                now,
                Datagram {
                    from: address,
                    to: address,
                    bytes,
                },
            );
        }
        let end = Instant::ZERO + Duration::from_secs(10);
        std::iter::from_fn(|| network.pop_arrived(end))
            .map(|d| d.bytes[0])
            .collect()
    }

    #[test]
    fn clear_weather_keeps_everything_in_order() {
        assert_eq!(run(Weather::CLEAR, 1), (0..200).collect::<Vec<u8>>());
    }

    #[test]
    fn a_storm_loses_doubles_and_reorders_the_same_way_each_time() {
        let seen = run(Weather::stormy(0.3), 7);
        assert_eq!(seen, run(Weather::stormy(0.3), 7));
        assert_ne!(seen, run(Weather::stormy(0.3), 8));
        assert!(seen.len() < 180, "{}", seen.len());
        assert!(!seen.is_sorted());
        let mut once = seen.clone();
        once.sort();
        once.dedup();
        assert!(once.len() < seen.len());
    }
}
