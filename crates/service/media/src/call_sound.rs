//! The sound of a call as one stream of two channels.

use crate::jitter_buffer::{FRAME, JitterBuffer};
use crate::{LegId, Tapped};
use bytes::Bytes;
use ringpost_base::Instant;
use ringpost_codec::{Coding, Ear};
use ringpost_rtp::Header;
use std::time::Duration;

/// What one packet lasts.
const TICK: Duration = Duration::from_millis(20);
/// At most so many packets that the server was too late for are made up for: a second.
const MADE_UP: u64 = 50;

/// Both sides of a call as packets of L16 at 8,000 samples a second in two channels (RFC 3551 §4.5.11), one every 20 ms, made of
/// what both legs receive.
///
/// It goes on whatever comes: who holds the call, is silent, or has lost packets is silence in it. Each side is played 60 ms
/// behind its arrival, and never more than 200 ms.
///
/// It is given what the legs receive ([`handle_packet`](CallSound::handle_packet)); when [`next_timeout`](CallSound::next_timeout)
/// has come, [`poll`](CallSound::poll) gives packets until it gives none.
#[derive(Debug)]
pub struct CallSound {
    sides: [Side; 2],
    began: Instant,
    /// Packets that were given, or passed over since it was too late for them.
    ticks: u64,
    sequence: u16,
    ssrc: u32,
}

#[derive(Debug)]
struct Side {
    leg: LegId,
    /// What hears its source, and what that is.
    ear: Option<(Coding, u32, Ear)>,
    buffer: JitterBuffer,
}

impl CallSound {
    /// The payload type of its packets.
    pub const PAYLOAD_TYPE: u8 = 96;

    /// Of two legs, from now on: the first is the left channel.
    pub fn new(now: Instant, ssrc: u32, left: LegId, right: LegId) -> Self {
        let side = |leg| Side {
            leg,
            ear: None,
            buffer: JitterBuffer::new(),
        };
        CallSound {
            sides: [side(left), side(right)],
            began: now,
            ticks: 0,
            sequence: 0,
            ssrc,
        }
    }

    /// One of the legs has received something.
    pub fn handle_packet(&mut self, packet: &Tapped) {
        let Some(side) = self.sides.iter_mut().find(|side| side.leg == packet.leg) else {
            return;
        };
        let is_known = |(coding, clock, _): &(Coding, u32, Ear)| {
            *coding == packet.coding && *clock == packet.clock_rate_hz && !packet.begins
        };
        if !side.ear.as_ref().is_some_and(is_known) {
            let ear = Ear::new(&packet.coding, packet.clock_rate_hz);
            side.ear = ear.map(|ear| (packet.coding.clone(), packet.clock_rate_hz, ear));
            side.buffer.restart();
        }
        let ear = side.ear.as_mut();
        if let Some(heard) = ear.and_then(|(.., ear)| ear.hear(packet.timestamp, &packet.payload)) {
            side.buffer.insert(heard.timestamp, heard.samples.into_iter());
        }
    }

    /// When the next packet is to be sent.
    pub fn next_timeout(&self) -> Instant {
        self.began + TICK * u32::try_from(self.ticks + 1).unwrap_or(u32::MAX)
    }

    /// The next packet that is due. What was too late is left out of the sound, and not out of its time.
    pub fn poll(&mut self, now: Instant) -> Option<Bytes> {
        let due = (now.since(self.began).as_nanos() / TICK.as_nanos()) as u64;
        let late = due.checked_sub(self.ticks).filter(|late| *late > 0)?;
        self.ticks += late.saturating_sub(MADE_UP);
        let header = Header {
            marker: self.sequence == 0 && self.ticks == 0,
            payload_type: Self::PAYLOAD_TYPE,
            sequence: self.sequence,
            timestamp: (self.ticks as u32).wrapping_mul(FRAME as u32),
            ssrc: self.ssrc,
        };
        self.ticks += 1;
        self.sequence = self.sequence.wrapping_add(1);
        let samples = self.samples();
        let payload: Vec<u8> = samples.iter().flat_map(|sample| sample.to_be_bytes()).collect();
        let mut packet = Vec::with_capacity(12 + payload.len());
        header.write(&payload, &mut packet);
        Some(packet.into())
    }

    /// The next 20 ms: samples of the left channel and of the right one by turns.
    fn samples(&mut self) -> [i16; 2 * FRAME] {
        let [left, right] = &mut self.sides;
        let (left, right) = (left.buffer.take(), right.buffer.take());
        let mut samples = [0; 2 * FRAME];
        for (pair, both) in samples.chunks_exact_mut(2).zip(left.iter().zip(&right)) {
            (pair[0], pair[1]) = (*both.0, *both.1);
        }
        samples
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringpost_codec::{Law, Tone, dominant_tone, level_dbfs};
    use ringpost_rtp::Packet;

    const LEFT: LegId = LegId(1);
    const RIGHT: LegId = LegId(2);

    /// Somebody who speaks a tone in µ-law.
    struct Speaker {
        leg: LegId,
        tone: Tone,
        timestamp: u32,
    }

    impl Speaker {
        fn new(leg: LegId, hz: f64) -> Self {
            Speaker {
                leg,
                tone: Tone::sine(hz, -12.0),
                timestamp: u32::MAX - 1_000,
            }
        }

        fn packet(&mut self) -> Tapped {
            let mut samples = [0; FRAME];
            self.tone.fill(&mut samples);
            let timestamp = self.timestamp;
            self.timestamp = timestamp.wrapping_add(FRAME as u32);
            Tapped {
                leg: self.leg,
                coding: Coding::G711(Law::Mu, 1),
                clock_rate_hz: 8_000,
                timestamp,
                begins: false,
                payload: samples.iter().map(|sample| Law::Mu.encode(*sample)).collect(),
            }
        }
    }

    fn channel(sound: &[i16], channel: usize) -> Vec<i16> {
        sound.iter().skip(channel).step_by(2).copied().collect()
    }

    #[test]
    fn each_side_is_a_channel_and_who_is_silent_or_holds_is_silence_of_the_same_length() {
        let mut call = CallSound::new(Instant::ZERO, 1, LEFT, RIGHT);
        let (mut near, mut far) = (Speaker::new(LEFT, 440.0), Speaker::new(RIGHT, 880.0));
        let mut sound = Vec::new();
        for n in 0..200 {
            // For two seconds nobody speaks at the far side, and its timestamps go on.
            let packet = far.packet();
            if !(50..150).contains(&n) {
                call.handle_packet(&packet);
            }
            call.handle_packet(&near.packet());
            call.handle_packet(&Speaker::new(LegId(3), 100.0).packet());
            sound.extend(call.samples());
        }
        assert_eq!(sound.len(), 200 * 2 * FRAME);
        let (left, right) = (channel(&sound, 0), channel(&sound, 1));
        let tone_of = |sound: &[i16]| dominant_tone(sound).map(|tone| tone.frequency_hz.round());
        assert_eq!(tone_of(&left[800..]), Some(440.0));
        assert_eq!(tone_of(&right[800..8_000]), Some(880.0));
        assert_eq!(level_dbfs(&right[9_000..24_000]), -100.0);
        assert_eq!(tone_of(&right[25_000..]), Some(880.0));
    }

    #[test]
    fn another_codec_in_the_middle_goes_on_as_sound() {
        let mut call = CallSound::new(Instant::ZERO, 1, LEFT, RIGHT);
        let mut near = Speaker::new(LEFT, 440.0);
        let mut sound = Vec::new();
        for n in 0..100 {
            let mut packet = near.packet();
            if n >= 50 {
                let samples = packet.payload.iter().map(|byte| Law::Mu.decode(*byte));
                packet.payload = samples.flat_map(i16::to_be_bytes).collect();
                packet.coding = Coding::L16(1);
                packet.timestamp = packet.timestamp.wrapping_add(77_777);
            }
            call.handle_packet(&packet);
            sound.extend(call.samples());
        }
        let left = channel(&sound, 0);
        for part in [&left[800..8_000], &left[9_000..]] {
            let tone = dominant_tone(part).expect("a tone");
            assert!((tone.frequency_hz - 440.0).abs() < 1.0, "{tone:?}");
        }
    }

    #[test]
    fn opus_and_g722_are_heard() {
        const OPUS: &[u8] =
            include_bytes!("../../../protocol/codec/tests/data/tone_1000hz_speech.opus_packets");
        const G722: &[u8] = include_bytes!("../../../protocol/codec/tests/data/tone_1000hz.g722");
        let opus: Vec<&[u8]> = ringpost_codec::pieces::packets(OPUS).collect();
        let mut call = CallSound::new(Instant::ZERO, 1, LEFT, RIGHT);
        let mut sound = Vec::new();
        // Half a second is there of G.722, and a second of Opus in packets of 60 ms.
        for tick in 0..45 {
            let packet = |leg, coding, clock_rate_hz, timestamp, payload: &[u8]| Tapped {
                leg,
                coding,
                clock_rate_hz,
                timestamp,
                begins: false,
                payload: Bytes::copy_from_slice(payload),
            };
            if tick % 3 == 0 {
                let n = tick / 3;
                call.handle_packet(&packet(LEFT, Coding::Opus, 48_000, n as u32 * 2_880, opus[n]));
            }
            if let Some(octets) = G722.chunks_exact(160).nth(tick) {
                call.handle_packet(&packet(RIGHT, Coding::G722, 8_000, tick as u32 * 160, octets));
            }
            sound.extend(call.samples());
        }
        for (n, part) in [
            &channel(&sound, 0)[3_200..6_800],
            &channel(&sound, 1)[1_200..3_600],
        ]
        .into_iter()
        .enumerate()
        {
            let tone = dominant_tone(part).expect("a tone");
            assert!((tone.frequency_hz - 1_000.0).abs() < 1.5, "{n}: {tone:?}");
            assert!((tone.level_dbfs + 18.06).abs() < 0.7, "{n}: {tone:?}");
        }
    }

    #[test]
    fn packets_keep_time_and_too_late_is_a_gap() {
        let at = |ms| Instant::ZERO + Duration::from_millis(ms);
        let mut call = CallSound::new(at(0), 1, LEFT, RIGHT);
        let mut times = Vec::new();
        for now in [20, 39, 40, 100, 5_100] {
            while let Some(bytes) = call.poll(at(now)) {
                let packet = Packet::parse(&bytes).expect("a packet");
                assert_eq!(packet.payload().len(), 640);
                assert_eq!(usize::from(packet.sequence()), times.len());
                times.push(packet.timestamp() / 160);
            }
            assert!(call.next_timeout() > at(now));
        }
        let expected: Vec<u32> = (0..5).chain(205..255).collect();
        assert_eq!(times, expected);
        assert_eq!(call.next_timeout(), at(5_120));
    }
}
