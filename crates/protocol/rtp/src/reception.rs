use ringpost_base::Instant;
use std::time::Duration;

const MAX_DROPOUT: u16 = 3000;
const MAX_MISORDER: u16 = 100;
const MIN_SEQUENTIAL: u8 = 2;

/// What a packet's sequence number says about it (RFC 3550 appendix A.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It is of a source that is heard for the first time and not yet believed.
    Probation,
    /// It belongs to the source, at this extended sequence number.
    Valid {
        /// The sequence number with the count of its wraps above it.
        extended: u32,
    },
    /// It is the start of what may be a new run of this source, and its previous numbers no longer hold.
    Restarted,
    /// It is too far from what came before: a stray, or the first of a restart. To be dropped.
    Stray,
}

/// What is known of the packets of one source: their sequence, their loss and their jitter (RFC 3550 A.1, A.3, A.8).
#[derive(Clone, Debug)]
pub struct Reception {
    probation: u8,
    base_sequence: u16,
    highest: u16,
    cycles: u32,
    bad_sequence: Option<u16>,
    received: u64,
    expected_prior: u32,
    received_prior: u64,
    /// Of the runs before the present one, since a restart begins to count anew.
    lost_before_restart: i64,
    transit: Option<u32>,
    /// In sixteenths of a timestamp unit.
    jitter_scaled: u64,
}

impl Reception {
    /// The state on hearing a source for the first time, by its packet numbered `sequence`; that packet is yet to be
    /// given to [`handle_packet`](Reception::handle_packet).
    //= https://www.rfc-editor.org/rfc/rfc3550#appendix-A.1
    pub fn new(sequence: u16) -> Self {
        Reception {
            probation: MIN_SEQUENTIAL,
            base_sequence: sequence,
            highest: sequence.wrapping_sub(1),
            cycles: 0,
            bad_sequence: None,
            received: 0,
            expected_prior: 0,
            received_prior: 0,
            lost_before_restart: 0,
            transit: None,
            jitter_scaled: 0,
        }
    }

    /// A packet came. `arrived` is `now` in units of the packet's clock, see [`clock_units`].
    pub fn handle_packet(&mut self, sequence: u16, timestamp: u32, arrived: u32) -> Arrival {
        let arrival = self.update_sequence(sequence);
        if matches!(arrival, Arrival::Valid { .. } | Arrival::Restarted) {
            if arrival == Arrival::Restarted {
                self.transit = None;
            }
            self.update_jitter(timestamp, arrived);
        }
        arrival
    }

    //= https://www.rfc-editor.org/rfc/rfc3550#appendix-A.1
    fn update_sequence(&mut self, sequence: u16) -> Arrival {
        let ahead = sequence.wrapping_sub(self.highest);
        if self.probation > 0 {
            self.highest = sequence;
            if ahead != 1 {
                self.probation = MIN_SEQUENTIAL - 1;
                return Arrival::Probation;
            }
            self.probation -= 1;
            if self.probation > 0 {
                return Arrival::Probation;
            }
            self.restart(sequence);
        } else if ahead < MAX_DROPOUT {
            if sequence < self.highest {
                self.cycles = self.cycles.wrapping_add(1 << 16);
            }
            self.highest = sequence;
        } else if ahead <= 0u16.wrapping_sub(MAX_MISORDER) {
            if self.bad_sequence != Some(sequence) {
                self.bad_sequence = Some(sequence.wrapping_add(1));
                return Arrival::Stray;
            }
            self.lost_before_restart = self.lost();
            self.restart(sequence);
            self.received += 1;
            return Arrival::Restarted;
        } else if sequence > self.highest {
            // Late from before the last wrap of the sequence.
            self.received += 1;
            let extended = self.cycles.wrapping_sub(1 << 16) | u32::from(sequence);
            return Arrival::Valid { extended };
        }
        self.received += 1;
        Arrival::Valid {
            extended: self.cycles | u32::from(sequence),
        }
    }

    fn restart(&mut self, sequence: u16) {
        self.base_sequence = sequence;
        self.highest = sequence;
        self.bad_sequence = None;
        self.cycles = 0;
        self.received = 0;
        self.received_prior = 0;
        self.expected_prior = 0;
    }

    //= https://www.rfc-editor.org/rfc/rfc3550#appendix-A.8
    fn update_jitter(&mut self, timestamp: u32, arrived: u32) {
        // All of it modulo 2^32: only differences mean anything, so that neither clock's wrap shows as a spike.
        let transit = arrived.wrapping_sub(timestamp);
        if let Some(before) = self.transit.replace(transit) {
            let difference = (transit.wrapping_sub(before) as i32).unsigned_abs();
            self.jitter_scaled = self.jitter_scaled + u64::from(difference) - ((self.jitter_scaled + 8) >> 4);
        }
    }

    /// Whether the source has been believed (RFC 3550 A.1).
    pub fn is_valid(&self) -> bool {
        self.probation == 0
    }

    /// The highest sequence number received, with the count of wraps above it.
    pub fn extended_highest(&self) -> u32 {
        self.cycles | u32::from(self.highest)
    }

    /// Packets received of the present run, late and doubled ones too.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Packets that the sequence numbers of the present run say were sent.
    pub fn expected(&self) -> u32 {
        if self.probation > 0 {
            return 0;
        }
        self.extended_highest()
            .wrapping_sub(u32::from(self.base_sequence))
            .wrapping_add(1)
    }

    /// Packets lost, in all runs; negative when more came than were sent, doubled on their way.
    //= https://www.rfc-editor.org/rfc/rfc3550#appendix-A.3
    pub fn lost(&self) -> i64 {
        self.lost_before_restart + i64::from(self.expected()) - self.received as i64
    }

    /// Interarrival jitter in timestamp units.
    pub fn jitter(&self) -> u32 {
        (self.jitter_scaled >> 4).min(u64::from(u32::MAX)) as u32
    }

    /// The share of packets lost since this was last asked, in 256ths; it is asked once for each report sent.
    //= https://www.rfc-editor.org/rfc/rfc3550#appendix-A.3
    pub(crate) fn take_fraction_lost(&mut self) -> u8 {
        let expected = i64::from(self.expected().wrapping_sub(self.expected_prior));
        let received = (self.received - self.received_prior) as i64;
        self.expected_prior = self.expected();
        self.received_prior = self.received;
        let lost = expected - received;
        if expected == 0 || lost <= 0 {
            0
        } else {
            ((lost << 8) / expected).min(255) as u8
        }
    }

    /// The cumulative loss of the present run as a report carries it, in 24 bits.
    //= https://www.rfc-editor.org/rfc/rfc3550#appendix-A.3
    pub(crate) fn lost_clamped(&self) -> i32 {
        (i64::from(self.expected()) - self.received as i64).clamp(-0x80_0000, 0x7f_ffff) as i32
    }
}

/// `at` in units of a clock of `rate_hz`, modulo 2^32.
pub(crate) fn clock_units(at: Instant, rate_hz: u32) -> u32 {
    duration_units(at.since(Instant::ZERO), rate_hz)
}

/// `d` in units of a clock of `rate_hz`, modulo 2^32.
pub(crate) fn duration_units(d: Duration, rate_hz: u32) -> u32 {
    let rate = u64::from(rate_hz);
    let whole = d.as_secs().wrapping_mul(rate);
    whole.wrapping_add(u64::from(d.subsec_nanos()) * rate / 1_000_000_000) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn valid(reception: &mut Reception, sequences: impl IntoIterator<Item = u16>) {
        for sequence in sequences {
            reception.handle_packet(sequence, 0, 0);
        }
    }

    // Guards pitfall RTP 1: wrap, probation, restarts and jumps.
    #[test]
    fn a_source_is_believed_after_two_packets_in_sequence() {
        let mut r = Reception::new(10);
        assert_eq!(r.handle_packet(10, 0, 0), Arrival::Probation);
        assert_eq!(r.handle_packet(12, 0, 0), Arrival::Probation);
        assert_eq!(r.handle_packet(13, 0, 0), Arrival::Valid { extended: 13 });
        assert_eq!((r.expected(), r.received(), r.lost()), (1, 1, 0));
    }

    // Guards pitfall RTP 1.
    #[test]
    fn the_sequence_wraps_into_its_extension_and_late_packets_stay_below_it() {
        let mut r = Reception::new(65_533);
        valid(&mut r, [65_533, 65_534]);
        assert_eq!(r.handle_packet(0, 0, 0), Arrival::Valid { extended: 65_536 });
        assert_eq!(r.handle_packet(65_535, 0, 0), Arrival::Valid { extended: 65_535 });
        assert_eq!(r.handle_packet(1, 0, 0), Arrival::Valid { extended: 65_537 });
        assert_eq!((r.expected(), r.lost()), (4, 0));
    }

    // Guards pitfall RTP 1: every one of 200,000 packets over three wraps is counted once.
    #[test]
    fn long_runs_lose_nothing_at_any_wrap() {
        let mut r = Reception::new(0);
        for n in 0..200_000u32 {
            r.handle_packet(n as u16, n * 160, n * 160);
        }
        assert_eq!(r.extended_highest(), 199_999);
        assert_eq!((r.lost(), r.jitter()), (0, 0));
    }

    // Guards pitfall RTP 1.
    #[test]
    fn a_jump_is_a_stray_and_two_in_sequence_are_a_restart() {
        let mut r = Reception::new(100);
        valid(&mut r, 100..200);
        assert_eq!(r.handle_packet(40_000, 0, 0), Arrival::Stray);
        assert_eq!(r.handle_packet(200, 0, 0), Arrival::Valid { extended: 200 });
        assert_eq!(r.handle_packet(50_000, 0, 0), Arrival::Stray);
        assert_eq!(r.handle_packet(50_001, 0, 0), Arrival::Restarted);
        assert_eq!(r.handle_packet(50_003, 0, 0), Arrival::Valid { extended: 50_003 });
        assert_eq!((r.expected(), r.received(), r.lost()), (3, 2, 1));
    }

    #[test]
    fn a_restart_keeps_the_loss_that_was() {
        let mut r = Reception::new(0);
        valid(&mut r, [0, 1, 5]);
        assert_eq!(r.lost(), 3);
        valid(&mut r, [30_000, 30_001, 30_002]);
        assert_eq!(r.lost(), 3);
        assert_eq!(r.lost_clamped(), 0);
    }

    #[test]
    fn the_fraction_is_of_what_came_since_the_last_report() {
        let mut r = Reception::new(0);
        valid(&mut r, 0..=100);
        assert_eq!(r.take_fraction_lost(), 0);
        valid(&mut r, (101..=200).filter(|n| n % 4 != 0));
        assert_eq!(
            r.take_fraction_lost(),
            62,
            "24 of 99, the last one not yet missed"
        );
        assert_eq!(r.take_fraction_lost(), 0);
        valid(&mut r, [200, 199, 199]);
        assert_eq!(r.take_fraction_lost(), 0, "doubles do not make it negative");
    }

    // Guards pitfall RTP 2: a timestamp and an arrival clock that wrap leave the jitter as it was.
    #[test]
    fn jitter_shows_no_spike_at_either_clocks_wrap() {
        for (timestamp, arrival) in [(u32::MAX - 1600, 5), (7, u32::MAX - 1600), (0x7fff_f000, 0)] {
            let mut r = Reception::new(0);
            for n in 0..100u32 {
                let wobble = if n % 2 == 0 { 0 } else { 16 };
                r.handle_packet(
                    n as u16,
                    timestamp.wrapping_add(n * 160),
                    arrival.wrapping_add(n * 160 + wobble),
                );
                assert!(r.jitter() <= 16, "{} at packet {n}", r.jitter());
            }
            assert!((14..=16).contains(&r.jitter()), "{}", r.jitter());
        }
    }

    #[test]
    fn jitter_is_the_rfcs_estimate() {
        // The floating form of A.8 beside our integer one.
        let (mut r, mut float) = (Reception::new(0), 0.0f64);
        let mut before: Option<i64> = None;
        for n in 0..500i64 {
            let arrival = n * 160 + (n * n * 7919) % 90;
            r.handle_packet(n as u16, (n * 160) as u32, arrival as u32);
            if n < 1 {
                continue;
            }
            let transit = arrival - n * 160;
            if let Some(b) = before.replace(transit) {
                float += ((transit - b).abs() as f64 - float) / 16.0;
            }
        }
        assert!(
            (f64::from(r.jitter()) - float).abs() <= 1.0,
            "{} {float}",
            r.jitter()
        );
    }

    #[test]
    fn clock_units_wrap_and_lose_no_time() {
        assert_eq!(duration_units(Duration::from_millis(20), 8_000), 160);
        let day = Duration::from_secs(86_400 * 30);
        assert_eq!(
            duration_units(day + Duration::from_millis(20), 48_000).wrapping_sub(duration_units(day, 48_000)),
            960
        );
    }
}
