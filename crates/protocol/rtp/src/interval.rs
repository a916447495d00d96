//! When RTCP is sent: the rules of RFC 3550 §6.3 and appendix A.7, apart from everything that is sent.

use ringpost_base::{Instant, Rng};
use std::time::Duration;

const MIN_INTERVAL_S: f64 = 5.0;
const SENDER_SHARE: f64 = 0.25;
/// e − 3/2: reconsideration settles below the intended bandwidth, and this makes up for it.
const COMPENSATION: f64 = std::f64::consts::E - 1.5;
/// A participant in a session of so many sends its BYE by the back-off rules.
const BYE_BACK_OFF_MEMBERS: usize = 50;
/// What UDP and IPv4 add to each packet, which the average size includes (§6.2).
const LOWER_LAYERS_BYTES: usize = 28;

/// The state of §6.3, named as there.
#[derive(Debug)]
pub(crate) struct Timing {
    /// When RTCP was last sent.
    tp: Instant,
    /// When it is due next.
    tn: Instant,
    members: usize,
    pmembers: usize,
    senders: usize,
    rtcp_bytes_per_s: f64,
    we_sent: bool,
    avg_rtcp_size: f64,
    initial: bool,
    leaving: bool,
    /// The interval drawn last, T.
    interval: Duration,
    rng: Rng,
}

impl Timing {
    /// Joins at `now`. `rtcp_bps` is the bandwidth of RTCP alone; `first_size_bytes` the probable size of the first packet.
    //= https://www.rfc-editor.org/rfc/rfc3550#section-6.3.2
    pub(crate) fn new(now: Instant, rtcp_bps: u32, first_size_bytes: usize, rng: Rng) -> Self {
        let mut timing = Timing {
            tp: now,
            tn: now,
            members: 1,
            pmembers: 1,
            senders: 0,
            rtcp_bytes_per_s: f64::from(rtcp_bps.max(1)) / 8.0,
            we_sent: false,
            avg_rtcp_size: (first_size_bytes + LOWER_LAYERS_BYTES) as f64,
            initial: true,
            leaving: false,
            interval: Duration::ZERO,
            rng,
        };
        timing.tn = now + timing.draw();
        timing
    }

    /// When RTCP is due next.
    pub(crate) fn next(&self) -> Instant {
        self.tn
    }

    /// The interval that was drawn last.
    pub(crate) fn interval(&self) -> Duration {
        self.interval
    }

    pub(crate) fn we_sent(&self) -> bool {
        self.we_sent
    }

    /// The calculated interval Td of a receiver, by which silent members are timed out (§6.3.5).
    pub(crate) fn receiver_interval(&self) -> Duration {
        Duration::from_secs_f64(self.deterministic_s(false))
    }

    //= https://www.rfc-editor.org/rfc/rfc3550#section-6.3.1
    fn deterministic_s(&self, we_sent: bool) -> f64 {
        let min_s = if self.initial {
            MIN_INTERVAL_S / 2.0
        } else {
            MIN_INTERVAL_S
        };
        let (members, senders) = (self.members as f64, self.senders as f64);
        let (n, share) = if senders > members * SENDER_SHARE {
            (members, 1.0)
        } else if we_sent {
            (senders, SENDER_SHARE)
        } else {
            (members - senders, 1.0 - SENDER_SHARE)
        };
        (self.avg_rtcp_size * n / (self.rtcp_bytes_per_s * share)).max(min_s)
    }

    /// Draws a new interval T.
    fn draw(&mut self) -> Duration {
        let t = self.deterministic_s(self.we_sent) * (self.rng.unit() + 0.5) / COMPENSATION;
        self.interval = Duration::from_secs_f64(t);
        self.interval
    }

    /// The timer fell due: whether a packet (a report, or the BYE when leaving) is to be sent now. If so,
    /// [`sent`](Timing::sent) must follow.
    //= https://www.rfc-editor.org/rfc/rfc3550#section-6.3.6
    pub(crate) fn expire(&mut self, now: Instant) -> bool {
        let due = self.tp + self.draw();
        let send = due <= now;
        if !send {
            // Reconsidered: the session has grown since the interval was drawn.
            self.tn = due;
            if !self.leaving {
                self.pmembers = self.members;
            }
        }
        send
    }

    /// A regular packet of `size_bytes` has been sent.
    pub(crate) fn sent(&mut self, now: Instant, size_bytes: usize) {
        self.average_in(size_bytes);
        self.tp = now;
        // Drawn while `initial` still holds, as in A.7; reconsideration corrects it when it expires.
        self.tn = now + self.draw();
        self.initial = false;
        self.pmembers = self.members;
    }

    /// A compound of `size_bytes` came in; `has_bye` tells whether BYE was in it.
    pub(crate) fn received(&mut self, size_bytes: usize, has_bye: bool) {
        //= https://www.rfc-editor.org/rfc/rfc3550#section-6.3.7
        if !self.leaving || has_bye {
            self.average_in(size_bytes);
        }
    }

    fn average_in(&mut self, size_bytes: usize) {
        let size = (size_bytes + LOWER_LAYERS_BYTES) as f64;
        self.avg_rtcp_size += (size - self.avg_rtcp_size) / 16.0;
    }

    /// The members and senders are now so many, ourselves included, at `now`.
    pub(crate) fn population(&mut self, now: Instant, others: usize, sending_others: usize) {
        if self.leaving {
            return;
        }
        self.members = others + 1;
        self.senders = sending_others + usize::from(self.we_sent);
        self.reverse_reconsider(now);
    }

    /// We began to send RTP, or stopped.
    //= https://www.rfc-editor.org/rfc/rfc3550#section-6.3.8
    pub(crate) fn set_we_sent(&mut self, now: Instant, we_sent: bool) {
        if self.leaving || self.we_sent == we_sent {
            return;
        }
        self.we_sent = we_sent;
        if we_sent {
            self.senders += 1;
            self.reverse_reconsider(now);
        } else {
            self.senders -= 1;
        }
    }

    //= https://www.rfc-editor.org/rfc/rfc3550#section-6.3.4
    fn reverse_reconsider(&mut self, now: Instant) {
        if self.members < self.pmembers {
            let share = self.members as f64 / self.pmembers as f64;
            self.tn = now + self.tn.since(now).mul_f64(share);
            self.tp = now - now.since(self.tp).mul_f64(share);
            self.pmembers = self.members;
        }
    }

    /// We want to leave with a BYE compound of `size_bytes`: whether it may be sent at once. If not, it is sent when
    /// [`expire`](Timing::expire) says so.
    //= https://www.rfc-editor.org/rfc/rfc3550#section-6.3.7
    pub(crate) fn leave(&mut self, now: Instant, size_bytes: usize) -> bool {
        let at_once = self.members < BYE_BACK_OFF_MEMBERS;
        self.leaving = true;
        self.tp = now;
        self.members = 1;
        self.pmembers = 1;
        self.initial = true;
        self.we_sent = false;
        self.senders = 0;
        self.avg_rtcp_size = (size_bytes + LOWER_LAYERS_BYTES) as f64;
        self.tn = now + self.draw();
        at_once
    }

    /// A BYE came while we wait to send ours.
    pub(crate) fn count_bye(&mut self) {
        if self.leaving {
            self.members += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: f64) -> Instant {
        Instant::ZERO + Duration::from_secs_f64(s)
    }

    fn timing(rtcp_bps: u32, seed: u64) -> Timing {
        Timing::new(at(0.0), rtcp_bps, 72, Rng::from_number(seed))
    }

    /// Runs until a packet goes out, and says when.
    fn next_sent(timing: &mut Timing) -> Instant {
        loop {
            let now = timing.next();
            if timing.expire(now) {
                timing.sent(now, 72);
                return now;
            }
        }
    }

    // Guards pitfall RTP 5: the first report comes after half the minimum, and none of the intervals is fixed.
    #[test]
    fn the_first_interval_is_half_and_every_interval_is_drawn() {
        let mut firsts = Vec::new();
        for seed in 0..500 {
            firsts.push(timing(3_200, seed).next().since(at(0.0)).as_secs_f64());
        }
        let (low, high) = (2.5 * 0.5 / COMPENSATION, 2.5 * 1.5 / COMPENSATION);
        assert!(firsts.iter().all(|t| (low..=high).contains(t)));
        let mean = firsts.iter().sum::<f64>() / 500.0;
        assert!((mean - 2.5 / COMPENSATION).abs() < 0.1, "{mean}");
    }

    // Guards pitfall RTP 5.
    #[test]
    fn two_parties_report_every_five_seconds_on_average_but_never_regularly() {
        let mut t = timing(3_200, 1);
        t.population(at(0.0), 1, 1);
        t.set_we_sent(at(0.0), true);
        let mut times = vec![next_sent(&mut t)];
        for _ in 0..2_000 {
            times.push(next_sent(&mut t));
        }
        let gaps: Vec<f64> = times
            .windows(2)
            .skip(1)
            .map(|w| w[1].since(w[0]).as_secs_f64())
            .collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        assert!((4.0..=5.6).contains(&mean), "{mean}");
        let (low, high) = (2.5 / COMPENSATION, 7.5 / COMPENSATION);
        assert!(gaps.iter().all(|g| (low - 1e-6..=high + 1e-6).contains(g)));
        assert!(gaps.iter().any(|g| *g < 2.8) && gaps.iter().any(|g| *g > 5.5));
    }

    #[test]
    fn few_senders_share_a_quarter_and_many_share_alike() {
        let mut t = timing(8_000, 1);
        t.initial = false;
        t.avg_rtcp_size = 100.0;
        // 1,000 bytes a second; 1,000 members, 100 of them senders: 100·100/250 s and 900·100/750 s.
        t.population(at(0.0), 999, 100);
        assert!((t.deterministic_s(true) - 40.0).abs() < 1e-9);
        assert!((t.deterministic_s(false) - 120.0).abs() < 1e-9);
        t.population(at(0.0), 999, 600);
        assert!((t.deterministic_s(true) - 100.0).abs() < 1e-9);
        assert!((t.deterministic_s(false) - 100.0).abs() < 1e-9);
    }

    // Guards pitfall RTP 5: forward reconsideration holds a report back when the session has grown.
    #[test]
    fn a_session_that_grew_holds_the_report_back() {
        let mut t = timing(8_000, 3);
        t.population(at(0.1), 5_000, 0);
        let first = t.next();
        assert!(first < at(3.2));
        assert!(!t.expire(first));
        assert!(t.next() > at(100.0));
    }

    // Guards pitfall RTP 5: reverse reconsideration brings it forward when the session shrank.
    #[test]
    fn a_session_that_shrank_brings_the_report_forward() {
        let mut t = timing(8_000, 3);
        t.population(at(0.0), 999, 0);
        assert!(!t.expire(t.next()));
        let due = t.next();
        let now = at(10.0);
        t.population(now, 99, 0);
        assert_eq!(t.next(), now + due.since(now).mul_f64(0.1));
        assert_eq!(t.tp, now - Duration::from_secs(1));
    }

    // Guards pitfall RTP 5: a BYE from a crowd backs off, and every other BYE pushes it further.
    #[test]
    fn a_bye_waits_in_a_crowd_and_not_in_a_small_group() {
        let mut t = timing(3_200, 1);
        t.population(at(0.0), 48, 0);
        assert!(t.leave(at(60.0), 80), "49 members");
        let mut t = timing(3_200, 1);
        t.population(at(0.0), 49, 0);
        assert!(!t.leave(at(60.0), 80), "50 members");
        for _ in 0..1_000 {
            t.count_bye();
            t.received(80, true);
        }
        t.population(at(61.0), 3, 0);
        let due = t.next();
        assert!(due < at(64.0));
        assert!(!t.expire(due));
        // 1,001 BYEs of 108 bytes at 300 bytes a second.
        assert!(t.next() > at(60.0 + 360.0 * 0.5 / COMPENSATION - 1.0));
    }
}
