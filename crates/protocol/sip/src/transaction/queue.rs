use ringpost_base::Instant;
use std::collections::VecDeque;
use std::time::Duration;

/// The base timers of RFC 3261 §17.1.1.1 and Table 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// The estimated round trip, 500 ms. Transactions give up after 64 of these.
    pub t1: Duration,
    /// The longest interval between retransmissions of a non-INVITE request or a final response to INVITE, 4 s.
    pub t2: Duration,
    /// The longest that a message stays in the network, 5 s.
    pub t4: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Timing {
            t1: Duration::from_millis(500),
            t2: Duration::from_secs(4),
            t4: Duration::from_secs(5),
        }
    }
}

/// How long a timer runs. There are few such lengths, which is what makes [`TimerQueue`] cheap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    /// T1 doubled that many times, at most six: timer A, and E and G before they reach T2.
    Doubled(u8),
    /// Timers E and G at their longest.
    T2,
    /// Timers I and K.
    T4,
    /// 64 × T1: timers B, F, H, J, L, M.
    Patience,
    /// Timer D, at least 32 s.
    TimerD,
    /// 200 ms until an INVITE gets its 100 (RFC 3261 §17.2.1).
    Trying,
    /// Until another request gets its 100 (RFC 4320 §4.1): what a client takes until its timer E is T2.
    LateTrying,
}

const DOUBLINGS: usize = 7;
const LENGTHS: usize = DOUBLINGS + 6;

impl Length {
    fn index(self) -> usize {
        match self {
            Length::Doubled(n) => usize::from(n).min(DOUBLINGS - 1),
            Length::T2 => DOUBLINGS,
            Length::T4 => DOUBLINGS + 1,
            Length::Patience => DOUBLINGS + 2,
            Length::TimerD => DOUBLINGS + 3,
            Length::Trying => DOUBLINGS + 4,
            Length::LateTrying => DOUBLINGS + 5,
        }
    }

    /// The interval of timers E and G after `n` retransmissions: doubling until T2.
    pub(crate) fn until_t2(n: u8, timing: &Timing) -> Length {
        let doubled = timing.t1 * (1 << n.min(6));
        if doubled < timing.t2 {
            Length::Doubled(n)
        } else {
            Length::T2
        }
    }

    pub(crate) fn duration(self, timing: &Timing) -> Duration {
        match self {
            Length::Doubled(n) => timing.t1 * (1 << n.min(6)),
            Length::T2 => timing.t2,
            Length::T4 => timing.t4,
            Length::Patience => timing.t1 * 64,
            Length::TimerD => (timing.t1 * 64).max(Duration::from_secs(32)),
            Length::Trying => Duration::from_millis(200),
            Length::LateTrying => {
                let mut sum = timing.t1;
                let mut interval = timing.t1;
                while interval * 2 < timing.t2 {
                    interval *= 2;
                    sum += interval;
                }
                sum
            }
        }
    }
}

/// Deadlines of all transactions: one first-in-first-out queue for each length of time, so that setting one is a push
/// and the next is among a dozen heads. Nothing is taken out when a timer stops: its entry is found stale when its time
/// comes, and skipped.
///
/// An entry takes 16 bytes and lives for at most 64 × T1.
#[derive(Debug)]
pub(crate) struct TimerQueue {
    timing: Timing,
    queues: [VecDeque<Entry>; LENGTHS],
}

/// One deadline of the transaction in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) at: Instant,
    pub(crate) slot: u32,
    pub(crate) which: Which,
}

/// A transaction has two timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// To send something again.
    Resend,
    /// To end.
    End,
}

impl TimerQueue {
    pub(crate) fn new(timing: Timing) -> Self {
        TimerQueue {
            timing,
            queues: std::array::from_fn(|_| VecDeque::new()),
        }
    }

    pub(crate) fn timing(&self) -> &Timing {
        &self.timing
    }

    /// Sets a deadline and returns it. Time must not run backwards between calls.
    pub(crate) fn set(&mut self, now: Instant, length: Length, slot: u32, which: Which) -> Instant {
        let queue = &mut self.queues[length.index()];
        let mut at = now + length.duration(&self.timing);
        if let Some(last) = queue.back() {
            debug_assert!(last.at <= at, "time ran backwards");
            at = at.max(last.at);
        }
        queue.push_back(Entry { at, slot, which });
        at
    }

    /// The earliest deadline that `is_live` still knows; those before it that are stale go.
    pub(crate) fn next(&mut self, is_live: impl Fn(&Entry) -> bool) -> Option<Instant> {
        let mut earliest: Option<Instant> = None;
        for queue in &mut self.queues {
            while queue.front().is_some_and(|entry| !is_live(entry)) {
                queue.pop_front();
            }
            if let Some(entry) = queue.front() {
                earliest = Some(earliest.map_or(entry.at, |at| at.min(entry.at)));
            }
        }
        earliest
    }

    /// Takes one live deadline that is not after `now`, the earliest first.
    pub(crate) fn pop_due(&mut self, now: Instant, is_live: impl Fn(&Entry) -> bool) -> Option<Entry> {
        let at = self.next(is_live)?;
        if at > now {
            return None;
        }
        self.queues
            .iter_mut()
            .find(|q| q.front().is_some_and(|entry| entry.at == at))?
            .pop_front()
    }

    /// Entries, the stale ones included.
    pub(crate) fn len(&self) -> usize {
        self.queues.iter().map(VecDeque::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(ms)
    }

    #[test]
    fn deadlines_come_in_their_order_and_stale_ones_not_at_all() {
        let mut q = TimerQueue::new(Timing::default());
        q.set(at(0), Length::Patience, 1, Which::End);
        q.set(at(0), Length::Doubled(0), 1, Which::Resend);
        q.set(at(100), Length::Trying, 2, Which::Resend);
        let stale = q.set(at(100), Length::Doubled(0), 3, Which::Resend);
        let live = |e: &Entry| e.slot != 3;
        assert_eq!(stale, at(600));
        assert_eq!(q.next(live), Some(at(300)));
        assert_eq!(q.pop_due(at(299), live), None);
        let order: Vec<_> = std::iter::from_fn(|| q.pop_due(at(40_000), live))
            .map(|e| (e.slot, e.at))
            .collect();
        assert_eq!(order, [(2, at(300)), (1, at(500)), (1, at(32_000))]);
        assert_eq!(q.len(), 0);
    }

    #[test]
    fn intervals_are_those_of_the_rfc() {
        let t = Timing::default();
        let ms = |l: Length| l.duration(&t).as_millis();
        assert_eq!(
            [0, 1, 2, 3, 4].map(|n| ms(Length::until_t2(n, &t))),
            [500, 1000, 2000, 4000, 4000]
        );
        assert_eq!([0, 5, 6].map(|n| ms(Length::Doubled(n))), [500, 16_000, 32_000]);
        assert_eq!(ms(Length::LateTrying), 3500);
        assert_eq!(ms(Length::TimerD), 32_000);
    }
}
