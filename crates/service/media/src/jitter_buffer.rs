//! Puts what was received back in order and in time.

use std::time::Duration;

/// 20 ms: what is taken out at a time.
pub(crate) const FRAME: usize = 160;

/// How much is held, in samples.
#[derive(Clone, Copy, Debug)]
struct Delay {
    /// How far behind its arrival a source is played.
    target: u32,
    /// The most that is held. What is older when more comes is dropped.
    max: u32,
    /// Whether sound is repeated where the source's clock is slower than ours, before it runs out.
    stretches: bool,
}

/// What a phone sends: 60 ms, and 200 ms at most.
const CALL: Delay = Delay {
    target: 480,
    max: 1_600,
    stretches: false,
};
/// What a stream brings, whose packets are longer and come less evenly: 120 ms, and 500 ms at most.
const STREAM: Delay = Delay {
    target: 960,
    max: 4_000,
    stretches: true,
};
/// A source whose timestamps jump by more than a second has begun anew.
const JUMP: i32 = 8_000;
/// So many late packets in a row are no disorder but a path that became longer.
const LATE_PACKETS: u32 = 5;
/// Over so many frames (2 s) the least fill is watched, to see that the source's clock is faster or slower than ours.
const WATCH_FRAMES: u32 = 100;
/// What is left out at a time to follow a faster clock, and repeated to follow a slower one: 10 ms.
const SKIP: usize = 80;

/// The ring's length, a power of two above each `max` and one packet.
const RING: usize = 8_192;

/// Samples by their timestamps at 8,000 a second, played at a steady pace a little behind their arrival.
///
/// A gap is silence, whether its packets were lost or never sent (DTX): time goes on by the pace at which frames are
/// taken, so that a pause is as long here as it was there.
#[derive(Debug)]
pub(crate) struct JitterBuffer {
    delay: Delay,
    ring: Box<[i16; RING]>,
    /// The timestamp of the next sample to be played; `None` before the first packet.
    play: Option<u32>,
    /// One behind the foremost sample that came.
    end: u32,
    late_packets: u32,
    watched_frames: u32,
    least_fill: i32,
    /// Whether anything came while that was watched.
    has_come: bool,
    /// The next frame repeats a part of itself.
    repeats: bool,
}

impl JitterBuffer {
    /// For what a phone sends.
    pub(crate) fn new() -> Self {
        JitterBuffer::with(CALL)
    }

    /// For what a stream brings.
    pub(crate) fn of_stream() -> Self {
        JitterBuffer::with(STREAM)
    }

    fn with(delay: Delay) -> Self {
        JitterBuffer {
            delay,
            ring: Box::new([0; RING]),
            play: None,
            end: 0,
            late_packets: 0,
            watched_frames: 0,
            least_fill: i32::MAX,
            has_come: false,
            repeats: false,
        }
    }

    /// Another source begins: its first packet says where its time is.
    pub(crate) fn restart(&mut self) {
        *self = JitterBuffer {
            ring: std::mem::replace(&mut self.ring, Box::new([0; RING])),
            ..JitterBuffer::with(self.delay)
        };
        self.ring.fill(0);
    }

    /// How much is waiting to be played.
    pub(crate) fn fill(&self) -> Duration {
        Duration::from_micros(u64::from(self.waiting().max(0) as u32) * 125)
    }

    fn waiting(&self) -> i32 {
        self.play.map_or(0, |play| self.end.wrapping_sub(play) as i32)
    }

    /// A packet came whose first sample is of `timestamp`. What does not fit into the buffer of a packet longer than that is
    /// left out.
    pub(crate) fn insert(&mut self, timestamp: u32, samples: impl ExactSizeIterator<Item = i16>) {
        let len = samples.len().min((self.delay.max - self.delay.target) as usize) as u32;
        self.has_come = true;
        let play = self.place(timestamp, len);
        for (n, sample) in samples.take(len as usize).enumerate() {
            let at = timestamp.wrapping_add(n as u32);
            if at.wrapping_sub(play) as i32 >= 0 {
                self.ring[at as usize % RING] = sample;
            }
        }
        let end = timestamp.wrapping_add(len);
        if end.wrapping_sub(self.end) as i32 > 0 {
            self.end = end;
        }
    }

    /// Moves the place of playing so that a packet fits, and says where it is.
    fn place(&mut self, timestamp: u32, len: u32) -> u32 {
        let Some(play) = self.play else {
            return self.begin(timestamp);
        };
        let ahead = timestamp.wrapping_sub(play) as i32;
        if !(-JUMP..=JUMP).contains(&ahead) {
            self.restart();
            return self.begin(timestamp);
        }
        if ahead < 0 {
            self.late_packets += 1;
            if self.late_packets < LATE_PACKETS {
                return play;
            }
            // Everything comes later than it used to: play further behind.
            self.late_packets = 0;
            let play = timestamp.wrapping_sub(self.delay.target);
            self.play = Some(play);
            return play;
        }
        self.late_packets = 0;
        let over = ahead + len as i32 - self.delay.max as i32;
        if over > 0 { self.skip(over as u32) } else { play }
    }

    fn begin(&mut self, timestamp: u32) -> u32 {
        let play = timestamp.wrapping_sub(self.delay.target);
        (self.play, self.end) = (Some(play), timestamp);
        play
    }

    /// Leaves out the next `samples`.
    fn skip(&mut self, samples: u32) -> u32 {
        let play = self.play.unwrap_or_default();
        for n in 0..samples.min(RING as u32) {
            self.ring[play.wrapping_add(n) as usize % RING] = 0;
        }
        let play = play.wrapping_add(samples);
        self.play = Some(play);
        play
    }

    /// The next 20 ms.
    pub(crate) fn take(&mut self) -> [i16; FRAME] {
        let mut frame = [0; FRAME];
        let Some(play) = self.play else { return frame };
        let repeated = if std::mem::take(&mut self.repeats) {
            SKIP
        } else {
            0
        };
        let fresh = FRAME - repeated;
        for (n, sample) in frame.iter_mut().take(fresh).enumerate() {
            let slot = &mut self.ring[play.wrapping_add(n as u32) as usize % RING];
            *sample = std::mem::take(slot);
        }
        frame.copy_within(fresh - repeated..fresh, fresh);
        self.play = Some(play.wrapping_add(fresh as u32));
        self.follow_clock();
        frame
    }

    /// A source whose clock runs faster than ours fills the buffer little by little; so it is never that full again for
    /// long. One whose clock runs slower empties it; so there is soon more in it again.
    fn follow_clock(&mut self) {
        self.least_fill = self.least_fill.min(self.waiting());
        self.watched_frames += 1;
        if self.watched_frames == WATCH_FRAMES {
            let target = self.delay.target as i32;
            if self.least_fill > target + FRAME as i32 {
                self.skip(SKIP as u32);
            }
            // Further behind is a source that pauses.
            let is_low = (-target..target / 2).contains(&self.least_fill);
            self.repeats = self.delay.stretches && is_low && self.has_come;
            (self.watched_frames, self.least_fill, self.has_come) = (0, i32::MAX, false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A packet of 20 ms whose samples tell their timestamp.
    fn insert(buffer: &mut JitterBuffer, timestamp: u32) {
        buffer.insert(timestamp, (0..160).map(move |n| value(timestamp.wrapping_add(n))));
    }

    fn value(timestamp: u32) -> i16 {
        (timestamp % 30_000) as i16 + 1
    }

    fn played(buffer: &mut JitterBuffer, frames: usize) -> Vec<i16> {
        (0..frames).flat_map(|_| buffer.take()).collect()
    }

    #[test]
    fn disorder_within_the_delay_is_put_right() {
        let mut buffer = JitterBuffer::new();
        for n in [0u32, 2, 1, 3] {
            insert(&mut buffer, (u32::MAX - 200).wrapping_add(n * 160));
        }
        let sound = played(&mut buffer, 7);
        assert!(sound[..480].iter().all(|s| *s == 0));
        let expected: Vec<i16> = (0..640)
            .map(|n| value((u32::MAX - 200).wrapping_add(n)))
            .collect();
        assert_eq!(sound[480..1120], expected);
    }

    // Guards pitfall RTP 8: what is lost is silence of its length, and so is a pause that was never sent.
    #[test]
    fn loss_and_pauses_are_silence_of_the_same_length() {
        let mut buffer = JitterBuffer::new();
        let mut sound = Vec::new();
        for n in 0..200u32 {
            let lost = n == 20;
            let pause = (50..150).contains(&n);
            if !lost && !pause {
                insert(&mut buffer, n * 160);
            }
            sound.extend(buffer.take());
        }
        let at = |n: usize| &sound[480 + n * 160..480 + (n + 1) * 160];
        assert!(at(20).iter().all(|s| *s == 0));
        assert_eq!(at(21)[0], value(21 * 160));
        assert!((50..150).all(|n| at(n).iter().all(|s| *s == 0)));
        assert_eq!(at(150)[0], value(150 * 160));
        assert_eq!(at(190)[159], value(191 * 160 - 1));
    }

    // Guards pitfall RTP 8: the buffer has a maximum.
    #[test]
    fn a_burst_never_holds_more_than_the_maximum() {
        let mut buffer = JitterBuffer::new();
        for n in 0..40 {
            insert(&mut buffer, n * 160);
            assert!(buffer.fill() <= Duration::from_millis(200));
        }
        assert_eq!(*buffer.take().last().unwrap(), value(40 * 160 - 1_600 + 159));
    }

    #[test]
    fn a_path_that_became_longer_is_followed() {
        let mut buffer = JitterBuffer::new();
        let mut heard = 0;
        for n in 0..100u32 {
            // From the twentieth on, packets come 100 ms later than before.
            match n {
                0..20 => insert(&mut buffer, n * 160),
                25.. => insert(&mut buffer, (n - 5) * 160),
                _ => {}
            }
            let frame = buffer.take();
            if n >= 40 {
                heard += usize::from(frame.iter().all(|s| *s != 0));
            }
        }
        assert_eq!(heard, 60, "every frame has sound again");
    }

    // Guards pitfall RTP 8: clock drift is followed both ways, and the delay does not grow.
    #[test]
    fn a_clock_that_is_off_is_followed_both_ways() {
        for drift_ppm in [-500i64, 500] {
            let mut buffer = JitterBuffer::new();
            let (mut sent, mut silent) = (0i64, 0);
            for tick in 0..30_000i64 {
                // The source makes a packet whenever its own clock has reached one.
                while sent * 20_000_000 <= tick * (20_000_000 + 20 * drift_ppm) {
                    insert(&mut buffer, sent as u32 * 160);
                    sent += 1;
                }
                let frame = buffer.take();
                silent += usize::from(tick > 10 && frame.contains(&0));
                assert!(buffer.fill() <= Duration::from_millis(140), "{:?}", buffer.fill());
            }
            assert!(silent < 60, "{silent} of 30,000 frames have holes");
        }
    }

    // Guards pitfall RTP 8: of a stream sound is left out and repeated, so that it neither falls behind nor runs out.
    #[test]
    fn a_stream_whose_clock_is_off_has_neither_holes_nor_a_growing_delay() {
        for drift_ppm in [-500i64, 500] {
            let mut buffer = JitterBuffer::of_stream();
            let (mut sent, mut holes) = (0i64, 0);
            for tick in 0..30_000i64 {
                // Packets of 128 ms, as some encoders make them of G.711.
                while sent * 128_000_000 <= tick * (20_000_000 + 20 * drift_ppm) {
                    let timestamp = sent as u32 * 1_024;
                    buffer.insert(timestamp, (0..1_024).map(|n| value(timestamp.wrapping_add(n))));
                    sent += 1;
                }
                let frame = buffer.take();
                holes += usize::from(tick > 10 && frame.contains(&0));
                assert!(buffer.fill() <= Duration::from_millis(300), "{:?}", buffer.fill());
            }
            assert_eq!(holes, 0, "{drift_ppm} ppm");
        }
    }

    #[test]
    fn a_stream_that_pauses_goes_on_without_more_delay() {
        let mut buffer = JitterBuffer::of_stream();
        let mut most = Duration::ZERO;
        for n in 0..4_000u32 {
            if !(1_000..3_000).contains(&n) {
                insert(&mut buffer, n * 160);
            }
            buffer.take();
            most = most.max(buffer.fill());
        }
        assert!(most <= Duration::from_millis(140), "{most:?}");
    }

    #[test]
    fn a_jump_of_timestamps_begins_anew() {
        let mut buffer = JitterBuffer::new();
        insert(&mut buffer, 0);
        insert(&mut buffer, 1_000_000);
        let sound = played(&mut buffer, 4);
        assert_eq!(sound[480], value(1_000_000));
        buffer.restart();
        insert(&mut buffer, 5);
        assert_eq!(played(&mut buffer, 4)[480], value(5));
    }
}
