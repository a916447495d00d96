use bytes::Bytes;
use ringpost_base::{Instant, limits};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Puts packets of one RTP source after the other back into the order in which they were sent.
///
/// A packet that is next leaves at once. One that came before its turn waits for those that are missing until
/// [`limits::REORDERED_PACKETS`] wait or the first of them has waited [`REORDER_WAIT`]; then what is missing is lost. A packet
/// that comes after its place was passed is dropped, and so is one that was there. Where numbers jump by more than a network
/// can account for, or are another source's, two in a row begin anew; the first is held until then.
#[derive(Debug, Default)]
pub struct Reorder {
    /// The extended number that comes next.
    next: Option<u64>,
    waiting: BTreeMap<u64, (Instant, Bytes)>,
    /// What had come before the numbers began anew.
    before: VecDeque<Bytes>,
    /// The source of what is in order.
    source: u32,
    /// What may be another beginning.
    restart: Option<Restart>,
    lost: u64,
    late: u64,
}

/// A packet that another beginning would be made with, if the next one of its source follows it.
#[derive(Debug)]
struct Restart {
    source: u32,
    sequence: u16,
    since: Instant,
    packet: Bytes,
}

/// How long a packet waits for those that were sent before it: two packets' worth of a usual path's jitter.
pub const REORDER_WAIT: Duration = Duration::from_millis(60);

/// What a sequence number may be ahead of, or behind, the one that comes next (RFC 3550 appendix A.1: `MAX_DROPOUT`,
/// `MAX_MISORDER`).
const DROPOUT: u64 = 3_000;
const MISORDER: u64 = 100;
/// The number that a source begins with, less its own sequence number: room for numbers that come from below.
const ROOM: u64 = 1 << 48;

impl Reorder {
    /// For a source that has not sent anything yet.
    pub fn new() -> Self {
        Reorder::default()
    }

    /// Packets that never came.
    pub fn lost_packets(&self) -> u64 {
        self.lost
    }

    /// Packets that came too late, or twice.
    pub fn late_packets(&self) -> u64 {
        self.late
    }

    /// When a packet that waits leaves whatever is missing.
    pub fn deadline(&self) -> Option<Instant> {
        self.waiting
            .values()
            .next()
            .map(|(since, _)| *since + REORDER_WAIT)
    }

    /// Takes a packet with its source and its sequence number.
    pub fn handle_packet(&mut self, now: Instant, (source, sequence): (u32, u16), packet: Bytes) {
        let Some(next) = self.next else {
            self.source = source;
            let first = u64::from(sequence) + ROOM;
            self.next = Some(first);
            self.waiting.insert(first, (now, packet));
            return;
        };
        let number = extend(next, sequence);
        let (ahead, behind) = (number.saturating_sub(next), next.saturating_sub(number));
        //= https://www.rfc-editor.org/rfc/rfc3550#appendix-A.1
        if source != self.source || ahead > DROPOUT || behind > MISORDER {
            let is_before =
                |held: &Restart| held.source == source && held.sequence.wrapping_add(1) == sequence;
            let before = self.restart.take();
            self.late += u64::from(before.as_ref().is_some_and(|held| !is_before(held)));
            let Some(before) = before.filter(is_before) else {
                self.restart = Some(Restart {
                    source,
                    sequence,
                    since: now,
                    packet,
                });
                return;
            };
            // What is held will not be completed by another beginning: it leaves as it is.
            let mut passed = next;
            for (number, (_, packet)) in std::mem::take(&mut self.waiting) {
                self.lost += number - passed;
                passed = number + 1;
                self.before.push_back(packet);
            }
            (self.source, self.next) = (source, Some(number - 1));
            self.waiting.insert(number - 1, (before.since, before.packet));
        } else if behind > 0 || self.waiting.contains_key(&number) {
            self.late += 1;
            return;
        }
        self.late += u64::from(self.restart.take().is_some());
        self.waiting.insert(number, (now, packet));
    }

    /// The next packet in order, if it is there, or if those before it are given up.
    pub fn poll(&mut self, now: Instant) -> Option<Bytes> {
        if let Some(packet) = self.before.pop_front() {
            return Some(packet);
        }
        let next = self.next?;
        let (number, (since, _)) = self.waiting.first_key_value()?;
        let is_given_up = self.waiting.len() > limits::REORDERED_PACKETS || now >= *since + REORDER_WAIT;
        if *number != next && !is_given_up {
            return None;
        }
        let (number, (_, packet)) = self.waiting.pop_first()?;
        self.lost += number - next;
        self.next = Some(number + 1);
        Some(packet)
    }
}

/// The number nearest to `next` that ends in `sequence`.
fn extend(next: u64, sequence: u16) -> u64 {
    let difference = sequence.wrapping_sub(next as u16) as i16;
    next.saturating_add_signed(difference.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    fn handle(reorder: &mut Reorder, now: Instant, sequence: u16) {
        let packet = Bytes::copy_from_slice(&sequence.to_be_bytes());
        reorder.handle_packet(now, (7, sequence), packet);
    }

    fn drain(reorder: &mut Reorder, now: Instant) -> Vec<u16> {
        std::iter::from_fn(|| reorder.poll(now))
            .map(|packet| u16::from_be_bytes([packet[0], packet[1]]))
            .collect()
    }

    fn all(reorder: &mut Reorder, now: Instant, sequences: &[u16]) -> Vec<u16> {
        let mut out = Vec::new();
        for sequence in sequences {
            handle(reorder, now, *sequence);
            out.extend(drain(reorder, now));
        }
        out
    }

    #[test]
    fn packets_in_order_leave_at_once() {
        let mut reorder = Reorder::new();
        assert_eq!(
            all(&mut reorder, at(0), &[65_534, 65_535, 0, 1]),
            [65_534, 65_535, 0, 1]
        );
        assert_eq!((reorder.lost_packets(), reorder.deadline()), (0, None));
    }

    #[test]
    fn a_packet_that_was_overtaken_takes_its_place() {
        let mut reorder = Reorder::new();
        assert_eq!(all(&mut reorder, at(0), &[65_534, 0, 1]), [65_534]);
        assert_eq!(all(&mut reorder, at(20), &[65_535]), [65_535, 0, 1]);
        assert_eq!((reorder.lost_packets(), reorder.late_packets()), (0, 0));
    }

    #[test]
    fn what_is_missing_is_given_up_after_a_while() {
        let mut reorder = Reorder::new();
        assert_eq!(all(&mut reorder, at(0), &[7, 9]), [7]);
        assert_eq!(reorder.deadline(), Some(at(60)));
        assert!(drain(&mut reorder, at(59)).is_empty());
        assert_eq!(drain(&mut reorder, at(60)), [9]);
        assert!(
            all(&mut reorder, at(61), &[8, 9]).is_empty(),
            "too late, and twice"
        );
        assert_eq!((reorder.lost_packets(), reorder.late_packets()), (1, 2));
        assert_eq!(all(&mut reorder, at(62), &[10]), [10]);
    }

    // Guards pitfall RTP 8: what waits has a maximum, in packets and in time.
    #[test]
    fn what_waits_is_bounded() {
        let mut reorder = Reorder::new();
        let many: Vec<u16> = (2..).take(limits::REORDERED_PACKETS + 1).collect();
        all(&mut reorder, at(0), &[0]);
        assert_eq!(all(&mut reorder, at(1), &many), many);
        assert_eq!(reorder.lost_packets(), 1);
    }

    // Guards pitfall RTP 1: a publisher that restarts goes on with other numbers.
    #[test]
    fn a_jump_begins_anew() {
        let mut reorder = Reorder::new();
        assert_eq!(all(&mut reorder, at(0), &[100, 102]), [100]);
        // What had come leaves first, and nothing of what comes is lost.
        assert_eq!(all(&mut reorder, at(1), &[40_000]), [] as [u16; 0]);
        assert_eq!(
            all(&mut reorder, at(1), &[40_001, 40_002]),
            [102, 40_000, 40_001, 40_002]
        );
        assert_eq!((reorder.lost_packets(), reorder.late_packets()), (1, 0));
        assert_eq!(
            all(&mut reorder, at(2), &[39_000, 39_001, 39_002]),
            [39_000, 39_001, 39_002]
        );
        // One packet that strays is no beginning.
        assert_eq!(all(&mut reorder, at(2), &[20_000, 39_003]), [39_003]);
        assert_eq!(reorder.late_packets(), 1);
        // However often it happens.
        for n in 1..=20_u16 {
            let first = n.wrapping_mul(35_000);
            let numbers = [first, first.wrapping_add(1), first.wrapping_add(2)];
            assert_eq!(all(&mut reorder, at(3), &numbers), numbers);
        }
        assert_eq!(all(&mut reorder, at(4), &[7, 44_467]), [] as [u16; 0]);
    }

    // Guards pitfall RTP 3: an encoder that begins anew has another source, whatever its numbers are.
    #[test]
    fn another_source_begins_anew_with_its_first_packet() {
        for first in [500_u16, 60, 99, 101, 40_000] {
            let mut reorder = Reorder::new();
            assert_eq!(all(&mut reorder, at(0), &[98, 99, 100]), [98, 99, 100]);
            let mut out = Vec::new();
            for n in 0..3 {
                let sequence = first.wrapping_add(n);
                let packet = Bytes::copy_from_slice(&sequence.to_be_bytes());
                reorder.handle_packet(at(1), (8, sequence), packet);
                out.extend(drain(&mut reorder, at(1)));
            }
            assert_eq!(out, [first, first + 1, first + 2]);
            assert_eq!((reorder.lost_packets(), reorder.late_packets()), (0, 0));
        }
    }

    proptest! {
        // Shuffled within fewer places than are held, everything leaves once and in order.
        #[test]
        fn a_shuffle_is_undone(first in 0_u16.., order in Just((0_u16..200).collect::<Vec<_>>()).prop_shuffle()) {
            let mut reorder = Reorder::new();
            let mut out = all(&mut reorder, at(0), &[first.wrapping_sub(1)]);
            for chunk in 0..10_u16 {
                for place in order.iter().filter(|place| **place / 20 == chunk) {
                    out.extend(all(&mut reorder, at(1), &[first.wrapping_add(*place)]));
                }
            }
            let expected: Vec<u16> = (0..=200).map(|n| first.wrapping_sub(1).wrapping_add(n)).collect();
            prop_assert_eq!(out, expected);
        }
    }
}
