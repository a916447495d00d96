//! The stream that a leg sends: one sequence and one timeline, whoever its packets come from.

use ringpost_base::{Instant, Rng};
use ringpost_rtp::Header;
use std::time::Duration;

/// Packets that come later than so many after them are not sent on: twenty seconds of speech.
const MISORDER: u16 = 1_000;

/// How the numbers of a relayed source map to ours.
#[derive(Clone, Copy, Debug)]
struct Relay {
    ssrc: u32,
    /// The source's oldest sequence number that belongs here: that with which the mapping began, and later one a little
    /// behind the newest, since numbers come round again.
    oldest_sequence: u16,
    sequence_offset: u16,
    timestamp_offset: u32,
}

/// The numbers of a packet to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) marker: bool,
    pub(crate) sequence: u16,
    pub(crate) timestamp: u32,
}

#[derive(Debug)]
pub(crate) struct Outgoing {
    clock_rate_hz: u32,
    next_sequence: u16,
    /// The foremost timestamp that was sent, and when; before the first packet, where the timeline begins.
    foremost: (Option<Instant>, u32),
    relay: Option<Relay>,
}

impl Outgoing {
    /// A stream that begins at random numbers.
    //= https://www.rfc-editor.org/rfc/rfc3550#section-5.1
    pub(crate) fn new(clock_rate_hz: u32, rng: &mut Rng) -> Self {
        Outgoing {
            clock_rate_hz,
            next_sequence: rng.u32() as u16,
            foremost: (None, rng.u32()),
            relay: None,
        }
    }

    pub(crate) fn set_clock_rate_hz(&mut self, clock_rate_hz: u32) {
        self.clock_rate_hz = clock_rate_hz;
    }

    /// The timeline at `now`.
    pub(crate) fn timestamp_at(&self, now: Instant) -> u32 {
        match self.foremost {
            (Some(at), timestamp) => timestamp.wrapping_add(self.units(now.since(at))),
            (None, timestamp) => timestamp,
        }
    }

    /// Where a source begins that takes over at `now`: never on what has been sent already.
    pub(crate) fn begin_at(&self, now: Instant) -> u32 {
        match self.foremost {
            (Some(_), timestamp) => {
                let least = self.units(Duration::from_millis(20));
                let elapsed = self.timestamp_at(now).wrapping_sub(timestamp);
                timestamp.wrapping_add(elapsed.max(least))
            }
            (None, timestamp) => timestamp,
        }
    }

    fn units(&self, d: Duration) -> u32 {
        let whole = d.as_secs().wrapping_mul(u64::from(self.clock_rate_hz));
        whole.wrapping_add(u64::from(d.subsec_nanos()) * u64::from(self.clock_rate_hz) / 1_000_000_000) as u32
    }

    /// The numbers for a packet that another leg received with `header`; `restarted` says that its source began anew.
    /// `None` for one that is late from before this leg began to hear the source.
    pub(crate) fn relayed(&mut self, now: Instant, header: &Header, restarted: bool) -> Option<Stamp> {
        let (relay, fresh) = match self.relay {
            Some(relay) if relay.ssrc == header.ssrc && !restarted => (relay, false),
            _ => (self.begin_relay(now, header), true),
        };
        if is_before(header.sequence, relay.oldest_sequence) {
            return None;
        }
        if header.sequence.wrapping_sub(relay.oldest_sequence) > 2 * MISORDER
            && let Some(relay) = &mut self.relay
        {
            relay.oldest_sequence = header.sequence.wrapping_sub(MISORDER);
        }
        let stamp = Stamp {
            marker: header.marker || fresh,
            sequence: header.sequence.wrapping_add(relay.sequence_offset),
            timestamp: header.timestamp.wrapping_add(relay.timestamp_offset),
        };
        if !is_before(stamp.sequence, self.next_sequence) {
            self.next_sequence = stamp.sequence.wrapping_add(1);
        }
        self.advance(now, stamp.timestamp);
        Some(stamp)
    }

    fn begin_relay(&mut self, now: Instant, header: &Header) -> Relay {
        let relay = Relay {
            ssrc: header.ssrc,
            oldest_sequence: header.sequence,
            sequence_offset: self.next_sequence.wrapping_sub(header.sequence),
            timestamp_offset: self.begin_at(now).wrapping_sub(header.timestamp),
        };
        self.relay = Some(relay);
        relay
    }

    /// A packet of the relayed source is not sent: the numbers close up, or its hearer would take it for lost.
    pub(crate) fn pass_over(&mut self, header: &Header) {
        let Some(relay) = self.relay.as_mut().filter(|relay| relay.ssrc == header.ssrc) else {
            return;
        };
        if !is_before(header.sequence, relay.oldest_sequence) {
            relay.oldest_sequence = header.sequence.wrapping_add(1);
            relay.sequence_offset = self.next_sequence.wrapping_sub(relay.oldest_sequence);
        }
    }

    /// What is relayed next begins anew behind what has been sent.
    pub(crate) fn begin_relay_anew(&mut self) {
        self.relay = None;
    }

    /// The numbers for a packet of our own at `timestamp`. What is relayed next begins anew behind it.
    pub(crate) fn local(&mut self, now: Instant, timestamp: u32, marker: bool) -> Stamp {
        self.relay = None;
        let sequence = self.next_sequence;
        self.next_sequence = sequence.wrapping_add(1);
        self.advance(now, timestamp);
        Stamp {
            marker,
            sequence,
            timestamp,
        }
    }

    fn advance(&mut self, now: Instant, timestamp: u32) {
        let (at, foremost) = self.foremost;
        if at.is_none() || (timestamp.wrapping_sub(foremost) as i32) > 0 {
            self.foremost = (Some(now), timestamp);
        }
    }
}

fn is_before(a: u16, b: u16) -> bool {
    (a.wrapping_sub(b) as i16) < 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(ms)
    }

    fn header(ssrc: u32, n: u16, timestamp: u32) -> Header {
        Header {
            marker: false,
            payload_type: 0,
            sequence: n,
            timestamp,
            ssrc,
        }
    }

    // Guards pitfall RTP 3: sources that follow each other are one stream to who hears them.
    #[test]
    fn three_sources_and_a_prompt_are_one_sequence_and_one_timeline() {
        let mut out = Outgoing::new(8_000, &mut Rng::from_number(1));
        let mut stamps = Vec::new();
        for n in 0..3u16 {
            let stamp = out.relayed(
                at(u64::from(n) * 20),
                &header(1, 65_534u16.wrapping_add(n), 160 * u32::from(n)),
                false,
            );
            stamps.push(stamp.unwrap());
        }
        stamps.push(out.relayed(at(60), &header(2, 9, 77_777), false).unwrap());
        let begin = out.begin_at(at(80));
        stamps.push(out.local(at(80), begin, true));
        stamps.push(out.relayed(at(100), &header(2, 11, 78_097), false).unwrap());
        for pair in stamps.windows(2) {
            assert_eq!(pair[1].sequence.wrapping_sub(pair[0].sequence), 1);
            assert_eq!(pair[1].timestamp.wrapping_sub(pair[0].timestamp), 160);
        }
        let markers: Vec<_> = stamps.iter().map(|s| s.marker).collect();
        assert_eq!(markers, [true, false, false, true, true, true]);
    }

    #[test]
    fn loss_and_disorder_of_a_source_stay_visible() {
        let mut out = Outgoing::new(8_000, &mut Rng::from_number(1));
        let first = out.relayed(at(0), &header(1, 10, 0), false).unwrap();
        let later = out.relayed(at(60), &header(1, 13, 480), false).unwrap();
        let late = out.relayed(at(61), &header(1, 12, 320), false).unwrap();
        assert_eq!(later.sequence.wrapping_sub(first.sequence), 3);
        assert_eq!(late.sequence.wrapping_sub(first.sequence), 2);
        assert_eq!(late.timestamp.wrapping_sub(first.timestamp), 320);
        let next = out.local(at(80), out.begin_at(at(80)), false);
        assert_eq!(next.sequence.wrapping_sub(later.sequence), 1);
    }

    #[test]
    fn a_packet_from_before_the_switch_is_dropped() {
        let mut out = Outgoing::new(8_000, &mut Rng::from_number(1));
        out.relayed(at(0), &header(1, 10, 0), false).unwrap();
        out.local(at(20), out.begin_at(at(20)), true);
        out.relayed(at(40), &header(1, 12, 320), false).unwrap();
        assert_eq!(out.relayed(at(41), &header(1, 11, 160), false), None);
    }

    #[test]
    fn a_pause_is_a_gap_in_time_and_none_in_sequence() {
        let mut out = Outgoing::new(8_000, &mut Rng::from_number(1));
        let before = out.relayed(at(0), &header(1, 10, 0), false).unwrap();
        let after = out.relayed(at(1_000), &header(2, 500, 12_345), false).unwrap();
        assert_eq!(after.timestamp.wrapping_sub(before.timestamp), 8_000);
        assert_eq!(after.sequence.wrapping_sub(before.sequence), 1);
    }
}
