//! What comes from a publisher, made into one source that goes on whoever publishes.

use super::entry::{Entries, Place};
use crate::description::Track;
use crate::file::Encoding;
use crate::reorder::Reorder;
use bytes::{Bytes, BytesMut};
use ringpost_base::{Instant, Rng, UnixTime};
use ringpost_rtp::{Header, Packet, rtcp};
use std::time::Duration;

/// A packet of a track as its readers get it.
#[derive(Debug)]
pub(crate) struct Ingested {
    pub(crate) bytes: Bytes,
    pub(crate) timestamp: u32,
    pub(crate) place: Place,
    pub(crate) is_marked: bool,
}

/// One track of a mount on its way in: packets of one publisher after the other, put in order, and written anew as one source
/// with one SSRC whose sequence numbers and timestamps go on.
///
/// Readers see the losses on the way here as losses. A timestamp of a publisher that comes after another one, or has begun
/// anew, is as much later as it came later, and so is one that steps: back by more than pictures are reordered, or forth by what
/// has not passed.
#[derive(Debug)]
pub(crate) struct Ingest {
    ssrc: u32,
    clock_rate_hz: u32,
    payload_type: u8,
    entries: Entries,
    reorder: Reorder,
    source: Option<Source>,
    next_sequence: u16,
    /// The newest timestamp that was given out, and when.
    newest: Option<(u32, Instant)>,
    /// The newest one before it: pictures that are shown before others are shown after that.
    before: Option<u32>,
    /// A timestamp that was given out and when it is, by the mount's wallclock.
    reference: Option<(u32, UnixTime)>,
    /// What that has been moved by, in nanoseconds, as timestamps do not keep time: reports are moved by it too.
    displaced_ns: i128,
    /// Its source has just begun, or is of another time by what was reported just now.
    begins: bool,
    /// Since when what comes is late by far: what stood still for a while makes up for it, and is of its own time.
    late_since: Option<Instant>,
    /// A report that came before the source that it is of: its SSRC, and what it says.
    early: Option<(u32, u32, UnixTime)>,
    /// That its timestamps do not keep time: to be told, and told already of this publisher.
    adrift: (bool, bool),
    packets: u32,
    octets: u32,
}

/// Whether a description tells the parameter sets of pictures.
fn is_told(codec: &ringpost_sdp::Codec) -> bool {
    Encoding::of(codec).is_some_and(|encoding| encoding.format.is_some())
}

/// The present publisher's source.
#[derive(Clone, Copy, Debug)]
struct Source {
    ssrc: u32,
    /// What is added to its sequence numbers and timestamps.
    sequence: u16,
    timestamp: u32,
}

/// A timestamp that leaps by more than this, and by more than what has passed, is another beginning: a clock that was set leaps
/// further. What is given out is held to be of a time no further away from when it came.
const LEAP: Duration = Duration::from_secs(10);
/// What timestamps go back by at most before what pictures that come in another order than they are shown go back to.
const BACK_NS: i128 = 1_000_000_000;
/// By how much more than what has passed timestamps may go forth.
const FORTH_NS: i128 = 3_000_000_000;
/// How long what comes late by so much may make up for it.
const MAKING_UP: Duration = Duration::from_secs(3);
/// Tracks that do not keep time and differ by no more are moved together.
const TOGETHER_NS: i128 = 5_000_000_000;
/// How far what a publisher's reports say may be from what is held before it is taken over at once.
const STEP: Duration = Duration::from_millis(500);

impl Ingest {
    pub(crate) fn new(track: &Track, rng: &mut Rng) -> Self {
        Ingest {
            ssrc: rng.u32(),
            clock_rate_hz: track.codec().clock_rate_hz.max(1),
            payload_type: track.codec().payload_type,
            entries: Entries::new(&track.codec().name, is_told(track.codec())),
            reorder: Reorder::new(),
            source: None,
            next_sequence: rng.u32() as u16,
            newest: None,
            before: None,
            reference: None,
            displaced_ns: 0,
            begins: false,
            late_since: None,
            early: None,
            adrift: (false, false),
            packets: 0,
            octets: 0,
        }
    }

    pub(crate) fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// The publisher's own SSRC.
    pub(crate) fn source_ssrc(&self) -> Option<u32> {
        self.source.map(|source| source.ssrc)
    }

    /// The sequence number that comes next.
    pub(crate) fn next_sequence(&self) -> u16 {
        self.next_sequence
    }

    /// Another publisher begins.
    pub(crate) fn restart(&mut self) {
        self.source = None;
        self.reorder = Reorder::new();
        self.reference = None;
        (self.displaced_ns, self.late_since) = (0, None);
        self.early = None;
        self.adrift = (false, false);
    }

    /// Whether it is to be told that timestamps do not keep time with what comes: once of each publisher.
    pub(crate) fn take_adrift(&mut self) -> bool {
        std::mem::take(&mut self.adrift.0)
    }

    /// Takes an RTP packet; what can be given out comes from [`poll`](Ingest::poll).
    pub(crate) fn handle_packet(&mut self, now: Instant, bytes: Bytes) {
        let Ok(packet) = Packet::parse(&bytes) else { return };
        let place = (packet.ssrc(), packet.sequence());
        self.reorder.handle_packet(now, place, bytes);
    }

    /// When a packet that waits for others is given out all the same.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.reorder.deadline()
    }

    /// Packets that never came.
    pub(crate) fn lost_packets(&self) -> u64 {
        self.reorder.lost_packets()
    }

    /// The next packet for readers, of a track that steps together with others; it is `wallclock` now.
    pub(crate) fn poll(&mut self, at: (Instant, UnixTime), steps: &mut Steps) -> Option<Ingested> {
        loop {
            let bytes = self.reorder.poll(at.0)?;
            if let Some(ingested) = self.rewrite(at, steps, bytes) {
                return Some(ingested);
            }
        }
    }

    fn rewrite(
        &mut self,
        (now, wallclock): (Instant, UnixTime),
        steps: &mut Steps,
        bytes: Bytes,
    ) -> Option<Ingested> {
        let packet = Packet::parse(&bytes).ok()?;
        let (header, payload) = (packet.header(), packet.payload_range());
        let source = self.source_of((now, wallclock), &header, steps);
        let sequence = header.sequence.wrapping_add(source.sequence);
        let timestamp = header.timestamp.wrapping_add(source.timestamp);
        self.next_sequence = sequence.wrapping_add(1);
        let is_newer = |(newest, _)| timestamp.wrapping_sub(newest) as i32 > 0;
        if self.newest.is_none_or(is_newer) {
            self.before = self.newest.map(|(newest, _)| newest);
            self.newest = Some((timestamp, now));
        }
        self.keep_reference(timestamp, wallclock);
        let place = self.entries.handle(timestamp, &bytes[payload.clone()]);
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(payload.len() as u32);
        // Mostly nobody else holds the octets, and nothing is copied.
        let mut bytes = bytes
            .try_into_mut()
            .unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        bytes[2..4].copy_from_slice(&sequence.to_be_bytes());
        bytes[4..8].copy_from_slice(&timestamp.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
        Some(Ingested {
            bytes: bytes.freeze(),
            timestamp,
            place,
            is_marked: header.marker,
        })
    }

    // Guards pitfall RTP 3.
    fn source_of(
        &mut self,
        (now, wallclock): (Instant, UnixTime),
        header: &Header,
        steps: &mut Steps,
    ) -> Source {
        let Some(source) = self.source.filter(|source| source.ssrc == header.ssrc) else {
            return self.begin_source(now, header);
        };
        let given_out = header.timestamp.wrapping_add(source.timestamp);
        let is_main = header.payload_type == self.payload_type;
        let Some(step_ns) = self.step(given_out, is_main, (now, wallclock)) else {
            return source;
        };
        let step = self.units_of(steps.take(self.ssrc, step_ns, now));
        let source = Source {
            ssrc: source.ssrc,
            sequence: self.next_sequence.wrapping_sub(header.sequence),
            timestamp: source.timestamp.wrapping_sub(step),
        };
        self.source = Some(source);
        if self.displaced_ns != 0 {
            // What reports say of it from here on may be right.
            (self.reference, self.displaced_ns) = (None, 0);
        } else if let Some((reference, at)) = self.reference {
            // What it is by may have been reported already of what steps.
            let off_ns = |of: &Self, timestamp: u32| of.ahead_ns(timestamp, wallclock).abs();
            if off_ns(self, given_out) < off_ns(self, given_out.wrapping_sub(step)) {
                self.reference = Some((reference.wrapping_sub(step), at));
            }
        }
        (self.begins, self.late_since) = (true, None);
        source
    }

    /// Another publisher's source, or another one of the same.
    fn begin_source(&mut self, now: Instant, header: &Header) -> Source {
        let (ssrc, timestamp) = (header.ssrc, header.timestamp);
        let begin = match self.newest {
            Some((newest, at)) => newest.wrapping_add(self.units(now.since(at)).max(1)),
            None => timestamp.wrapping_add(self.ssrc.rotate_left(16)),
        };
        let source = Source {
            ssrc,
            sequence: self.next_sequence.wrapping_sub(header.sequence),
            timestamp: begin.wrapping_sub(timestamp),
        };
        (self.source, self.before) = (Some(source), None);
        // Some report before they send anything, and tracks are together from their first packet on.
        let early = self.early.take().filter(|(of, ..)| *of == ssrc);
        self.reference = early.map(|(_, at, wallclock)| (at.wrapping_add(source.timestamp), wallclock));
        (self.displaced_ns, self.begins, self.late_since) = (0, true, None);
        source
    }

    /// What a timestamp is off what has passed, in nanoseconds, where it does not go on from those before: the source's clock has
    /// begun anew, or was set. Only the track's `main` payload type is of when it is sent: that of a key that is held down stays.
    fn step(&self, given_out: u32, is_main: bool, (now, wallclock): (Instant, UnixTime)) -> Option<i128> {
        let (newest, at) = self.newest?;
        let later_ns = |than: u32| self.nanos_of(given_out.wrapping_sub(than) as i32);
        // What was silent for long goes on where it would be.
        let step_ns = later_ns(newest.wrapping_add(self.units(now.since(at))));
        let leap_ns = LEAP.as_nanos().cast_signed();
        let is_leap = later_ns(newest).abs() >= leap_ns && step_ns.abs() >= leap_ns;
        let is_back = |before: u32| step_ns < -BACK_NS && later_ns(before) < -BACK_NS;
        let is_back = is_main && is_back(self.before.unwrap_or(newest));
        // What comes late may leave out what comes later than that.
        let is_forth = is_main && step_ns > FORTH_NS && 2 * self.ahead_ns(given_out, wallclock) > step_ns;
        (is_leap || is_back || is_forth).then_some(step_ns)
    }

    /// How much later than now a timestamp is held to be.
    fn ahead_ns(&self, timestamp: u32, wallclock: UnixTime) -> i128 {
        let happened = self.wallclock_at(timestamp).unwrap_or(wallclock);
        nanos(happened) - nanos(wallclock)
    }

    /// Has a reference from the first timestamp on, and a newer one before timestamps could come round to it again.
    fn keep_reference(&mut self, timestamp: u32, wallclock: UnixTime) {
        let (reference, at) = *self.reference.get_or_insert((timestamp, wallclock));
        let rate_hz = i128::from(self.clock_rate_hz);
        let elapsed_units = (nanos(wallclock) - nanos(at)) * rate_hz / NANOS;
        if elapsed_units.unsigned_abs() < 1 << 30 {
            return;
        }
        let units = i128::from(timestamp.wrapping_sub(reference));
        let rounds = (elapsed_units - units + (1 << 31)) >> 32;
        let at = moved(at, (units + (rounds << 32)) * NANOS / rate_hz);
        self.reference = Some((timestamp, at));
    }

    /// What it has to be displaced by in all, now that this timestamp is given out; `None` where it keeps time.
    fn displacement(&mut self, timestamp: u32, now: Instant, wallclock: UnixTime) -> Option<i128> {
        let leap_ns = LEAP.as_nanos().cast_signed();
        // Of a source that begins nothing can be made up for.
        let begins = std::mem::take(&mut self.begins);
        let wanted_ns = self.wanted_ns(timestamp, wallclock);
        let late_ns = wanted_ns - self.displaced_ns;
        if late_ns <= leap_ns {
            self.late_since = None;
            return (late_ns < -leap_ns).then_some(wanted_ns);
        }
        let since = *self.late_since.get_or_insert(now);
        (begins || late_ns > 3 * leap_ns || now.since(since) >= MAKING_UP).then_some(wanted_ns)
    }

    /// What it is to be displaced by in all, for a timestamp that is given out at `wallclock` to be of that time.
    fn wanted_ns(&self, timestamp: u32, wallclock: UnixTime) -> i128 {
        self.displaced_ns - self.ahead_ns(timestamp, wallclock)
    }

    fn displace(&mut self, to_ns: i128) {
        let by_ns = to_ns - std::mem::replace(&mut self.displaced_ns, to_ns);
        self.reference = self
            .reference
            .map(|(timestamp, at)| (timestamp, moved(at, by_ns)));
        self.late_since = None;
        self.adrift = (!self.adrift.1, true);
    }

    /// The newest timestamp that was given out.
    pub(crate) fn newest(&self) -> Option<u32> {
        self.newest.map(|(timestamp, _)| timestamp)
    }

    fn units(&self, duration: Duration) -> u32 {
        self.units_of(duration.as_nanos().cast_signed())
    }

    fn units_of(&self, ns: i128) -> u32 {
        (ns * i128::from(self.clock_rate_hz) / NANOS) as u32
    }

    fn nanos_of(&self, units: i32) -> i128 {
        i128::from(units) * NANOS / i128::from(self.clock_rate_hz)
    }

    /// The publisher's own report says when, by the mount's wallclock, a timestamp of its own is. What is held is moved
    /// towards it, so that clocks that drift apart do not make timestamps leap.
    // Guards pitfall RTP 6.
    pub(crate) fn handle_report(&mut self, ssrc: u32, timestamp: u32, wallclock: UnixTime) {
        let Some(source) = self.source.filter(|source| source.ssrc == ssrc) else {
            self.early = Some((ssrc, timestamp, wallclock));
            return;
        };
        let newest = self.newest.map(|(newest, _)| newest);
        let said = |of: &Self| Some(nanos(of.wallclock_at(newest?)?));
        let before = said(self);
        let at = moved(wallclock, self.displaced_ns);
        self.reference = Some((timestamp.wrapping_add(source.timestamp), at));
        // Nothing stood still that would make up for what it is late by now.
        let leap_ns = LEAP.as_nanos().cast_signed();
        self.begins |= before
            .zip(said(self))
            .is_some_and(|(before, after)| (after - before).abs() >= leap_ns);
    }

    /// When a timestamp that was given out is, by the mount's wallclock.
    pub(crate) fn wallclock_at(&self, timestamp: u32) -> Option<UnixTime> {
        let (reference, at) = self.reference?;
        Some(moved(at, self.nanos_of(timestamp.wrapping_sub(reference) as i32)))
    }

    /// The timestamp of a moment of the mount's wallclock.
    pub(crate) fn timestamp_at(&self, wallclock: UnixTime) -> Option<u32> {
        let (reference, at) = self.reference?;
        let units = (nanos(wallclock) - nanos(at)) * i128::from(self.clock_rate_hz) / NANOS;
        Some(reference.wrapping_add(units as u32))
    }

    /// The timestamp of this moment, for what comes next; `None` where nothing has ever come.
    pub(crate) fn next_timestamp(&self, (now, wallclock): (Instant, UnixTime)) -> Option<u32> {
        let (newest, at) = self.newest?;
        let passed = || newest.wrapping_add(self.units(now.since(at)).max(1));
        Some(self.timestamp_at(wallclock).unwrap_or_else(passed))
    }

    /// What a sender report of this moment says, once anything was given out.
    pub(crate) fn sender_info(&self, wallclock: UnixTime) -> Option<rtcp::SenderInfo> {
        self.newest?;
        Some(rtcp::SenderInfo {
            ntp: wallclock.to_ntp(),
            rtp_timestamp: self.timestamp_at(wallclock)?,
            packets: self.packets,
            octets: self.octets,
        })
    }
}

/// What the timestamps of a publisher's tracks have stepped by last: where its clock was set all of them step by the same, and
/// none is exactly as much off as another when it comes.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    /// How far, in nanoseconds, and when.
    last: Option<(i128, Instant)>,
    /// Which tracks have, by their SSRC.
    taken: Vec<u32>,
}

impl Steps {
    /// What a track steps by that is off by so much.
    fn take(&mut self, ssrc: u32, off_ns: i128, now: Instant) -> i128 {
        let is_same = |(last, at): &(i128, Instant)| {
            (last - off_ns).unsigned_abs() < STEP.as_nanos() && now.since(*at) < LEAP
        };
        let same = self.last.filter(is_same).filter(|_| !self.taken.contains(&ssrc));
        if same.is_none() {
            self.last = Some((off_ns, now));
            self.taken.clear();
        }
        self.taken.push(ssrc);
        same.map_or(off_ns, |(last, _)| last)
    }
}

/// What is added to the wallclock of a publisher's reports to make it ours, and what its tracks are displaced by where they do
/// not keep time: one for all of its tracks, so that they stay together however wrong its clock is.
#[derive(Debug, Default)]
pub(crate) struct ClockOffset {
    nanos: Option<i128>,
    displaced_ns: Option<i128>,
}

impl ClockOffset {
    /// A report that said it is `theirs` came at `ours`: what its moment is by our wallclock.
    pub(crate) fn handle_report(&mut self, theirs_ntp: u64, ours: UnixTime) -> UnixTime {
        let theirs = nanos_of_ntp(theirs_ntp);
        let found = i128::from(ours.as_nanos()) - theirs;
        let held = match self.nanos {
            // Reports come sooner or later by what networks hold them up.
            Some(held) if (found - held).unsigned_abs() < STEP.as_nanos() => held + (found - held) / 16,
            _ => found,
        };
        self.nanos = Some(held);
        UnixTime::from_nanos(u64::try_from(theirs + held).unwrap_or_default())
    }

    /// Takes a timestamp that a track gave out just now: whether tracks have been moved, since it was of another time by far. A
    /// clock may run faster or slower than it is said to, or everything come faster or slower than it happened, or reports say
    /// another time than that of what comes.
    pub(crate) fn keep_time(
        &mut self,
        ingests: &mut [Ingest],
        track: usize,
        timestamp: u32,
        (now, wallclock): (Instant, UnixTime),
    ) -> bool {
        let Some(wanted_ns) = ingests[track].displacement(timestamp, now, wallclock) else {
            return false;
        };
        let is_together = |of: i128| (of - wanted_ns).abs() < TOGETHER_NS;
        let to_ns = self.displaced_ns.filter(|of| is_together(*of));
        let to_ns = to_ns.unwrap_or(wanted_ns);
        self.displaced_ns = Some(to_ns);
        ingests[track].displace(to_ns);
        for (_, other) in ingests
            .iter_mut()
            .enumerate()
            .filter(|(other, _)| *other != track)
        {
            let wanted_ns = other.newest.map(|(newest, at)| {
                let came = moved(wallclock, -(now.since(at).as_nanos().cast_signed()));
                other.wanted_ns(newest, came)
            });
            if other.displaced_ns != to_ns && wanted_ns.is_some_and(is_together) {
                other.displace(to_ns);
            }
        }
        true
    }
}

const NANOS: i128 = 1_000_000_000;

fn nanos(at: UnixTime) -> i128 {
    i128::from(at.as_nanos())
}

fn moved(at: UnixTime, by_ns: i128) -> UnixTime {
    let nanos = (nanos(at) + by_ns).clamp(0, u64::MAX.into());
    UnixTime::from_nanos(nanos as u64)
}

/// Nanoseconds since 1900 of an NTP timestamp.
fn nanos_of_ntp(ntp: u64) -> i128 {
    let (seconds, fraction) = (i128::from(ntp >> 32), i128::from(ntp & 0xffff_ffff));
    seconds * 1_000_000_000 + ((fraction * 1_000_000_000) >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringpost_sdp::{Codec, MediaKind};

    fn track() -> Track {
        Track {
            kind: MediaKind::Video,
            codecs: vec![Codec::new(96, "H264", 90_000)],
            control: None,
            place: 0,
            bandwidths: Vec::new(),
            attributes: Vec::new(),
        }
    }

    fn packet(ssrc: u32, sequence: u16, timestamp: u32) -> Bytes {
        let header = Header {
            marker: true,
            payload_type: 96,
            sequence,
            timestamp,
            ssrc,
        };
        let mut out = Vec::new();
        header.write(&[0x41, 1, 2], &mut out);
        out.into()
    }

    fn at(ms: u64) -> (Instant, UnixTime) {
        let since = Duration::from_millis(ms);
        (Instant::ZERO + since, UnixTime::from_secs(1_700_000_000) + since)
    }

    fn through(ingest: &mut Ingest, ms: u64, ssrc: u32, sequence: u16, timestamp: u32) -> Option<(u16, u32)> {
        let (now, wallclock) = at(ms);
        ingest.handle_packet(now, packet(ssrc, sequence, timestamp));
        let ingested = ingest.poll((now, wallclock), &mut Steps::default())?;
        let packet = Packet::parse(&ingested.bytes).unwrap();
        assert_eq!(packet.ssrc(), ingest.ssrc());
        Some((packet.sequence(), packet.timestamp()))
    }

    #[test]
    fn a_second_publisher_goes_on_where_the_first_one_ended() {
        let mut ingest = Ingest::new(&track(), &mut Rng::from_number(1));
        let (sequence, timestamp) = through(&mut ingest, 0, 7, 65_535, u32::MAX).unwrap();
        let wrapped = through(&mut ingest, 40, 7, 0, 3_599).unwrap();
        assert_eq!(wrapped, (sequence.wrapping_add(1), timestamp.wrapping_add(3_600)));
        ingest.restart();
        let again = through(&mut ingest, 1_040, 9, 500, 12).unwrap();
        assert_eq!(again, (sequence.wrapping_add(2), timestamp.wrapping_add(93_600)));
    }

    #[test]
    fn another_source_and_a_leap_are_other_beginnings_and_losses_stay_losses() {
        let mut ingest = Ingest::new(&track(), &mut Rng::from_number(2));
        let (sequence, timestamp) = through(&mut ingest, 0, 7, 1, 1_000).unwrap();
        // The first packet of another source is held until its next one follows.
        assert_eq!(through(&mut ingest, 100, 8, 40_000, 500_000_000), None);
        let other = through(&mut ingest, 100, 8, 40_001, 500_000_000).unwrap();
        assert_eq!(other, (sequence.wrapping_add(1), timestamp.wrapping_add(9_000)));
        let next = ingest.poll(at(100), &mut Steps::default()).unwrap();
        assert_eq!(next.timestamp, other.1);
        let leap = through(&mut ingest, 200, 8, 40_002, 5).unwrap();
        assert_eq!(leap, (sequence.wrapping_add(3), timestamp.wrapping_add(18_000)));
        assert_eq!(
            through(&mut ingest, 210, 8, 40_005, 905),
            None,
            "two are missing and waited for"
        );
        let lost = ingest.poll(at(400), &mut Steps::default()).unwrap();
        let lost = Packet::parse(&lost.bytes).unwrap().sequence();
        assert_eq!((lost, ingest.lost_packets()), (sequence.wrapping_add(6), 2));
    }

    /// A publisher of pictures and sound.
    struct Publisher {
        ingests: [Ingest; 2],
        offset: ClockOffset,
        steps: Steps,
        sequence: u16,
        /// How often a track was told not to keep time.
        told: usize,
    }

    impl Publisher {
        fn new() -> Self {
            Publisher {
                ingests: [6, 7].map(|seed| Ingest::new(&track(), &mut Rng::from_number(seed))),
                offset: ClockOffset::default(),
                steps: Steps::default(),
                sequence: 0,
                told: 0,
            }
        }

        /// A packet of a track comes: when it is held to have happened, and how far from now that is.
        fn send(&mut self, track: usize, ms: u64, timestamp: u32) -> (UnixTime, Duration) {
            let (now, wallclock) = at(ms);
            self.sequence = self.sequence.wrapping_add(1);
            let (sequence, ingest) = (self.sequence, &mut self.ingests[track]);
            ingest.reorder = Reorder::new();
            ingest.handle_packet(now, packet(7, sequence, timestamp));
            let ingested = ingest.poll((now, wallclock), &mut self.steps).unwrap();
            self.offset
                .keep_time(&mut self.ingests, track, ingested.timestamp, (now, wallclock));
            self.told += usize::from(self.ingests[track].take_adrift());
            let happened = self.ingests[track].wallclock_at(ingested.timestamp).unwrap();
            (happened, happened.since(wallclock).max(wallclock.since(happened)))
        }

        /// It reports that a timestamp of each track is of now.
        fn report(&mut self, ms: u64, timestamp: u32) {
            for ingest in &mut self.ingests {
                let ours = self.offset.handle_report(at(ms).1.to_ntp(), at(ms).1);
                ingest.handle_report(7, timestamp, ours);
            }
        }
    }

    #[test]
    fn timestamps_that_do_not_keep_time_are_taken_for_those_of_when_they_came_and_tracks_stay_together() {
        for (name, units_a_second, has_reports) in [
            ("fast", 450_000, false),
            ("slow", 9_000, false),
            ("none", 0, false),
            ("fast", 450_000, true),
            ("slow", 9_000, true),
            ("slower", 72_000, true),
        ] {
            let mut publisher = Publisher::new();
            // Five a second.
            for n in 0..600_u32 {
                let ms = u64::from(n) * 200;
                let timestamp = n.wrapping_mul(units_a_second / 5);
                if has_reports && n % 25 == 0 {
                    // By its clock, as if it kept time.
                    publisher.report(ms, n.wrapping_mul(18_000));
                }
                let (_, off) = publisher.send(0, ms, timestamp);
                let newest = publisher.ingests[0].newest().unwrap();
                let (sound, sound_off) = publisher.send(1, ms + 130, timestamp);
                let most = LEAP + MAKING_UP;
                assert!(off <= most, "{name}, {has_reports}: {off:?} after {ms} ms");
                assert!(
                    sound_off <= most,
                    "{name}, {has_reports}: {sound_off:?} after {ms} ms"
                );
                // The first ones say that they are so far apart, unless reports say that they are not.
                let picture = publisher.ingests[0].wallclock_at(newest).unwrap();
                let apart = sound.since(picture);
                let expected = Duration::from_millis(if has_reports { 0 } else { 130 });
                assert!(
                    apart.max(expected) - apart.min(expected) <= STEP / 100,
                    "{name}, {has_reports}: {apart:?} after {ms} ms"
                );
            }
            assert_eq!(publisher.told, 2, "{name}: once of each track");
        }
    }

    /// What was given out of a publisher whose timestamps step at a packet: timestamps of pictures and of sound, and how far each
    /// was held to be from when it came. A picture comes every 40 ms, the sound 7 ms behind it, each up to 9 ms late.
    fn stepped(step_units: i64, has_reports: bool) -> [Vec<(u32, i128)>; 2] {
        let mut publisher = Publisher::new();
        let mut given_out = [Vec::new(), Vec::new()];
        for n in 0..500_u64 {
            let stepped = if n < 250 { 0 } else { step_units };
            for track in [0, 1] {
                let ms = n * 40 + track as u64 * 7;
                let timestamp = (ms as i64 * 90 + stepped) as u32;
                if has_reports && n % 125 == 60 {
                    publisher.report(ms, timestamp);
                }
                let came = ms + (n * 7 + track as u64 * 5) % 10;
                let (happened, _) = publisher.send(track, came, timestamp);
                let newest = publisher.ingests[track].newest().unwrap();
                given_out[track].push((newest, nanos(happened) - nanos(at(ms).1)));
            }
        }
        assert_eq!(publisher.told, 0);
        given_out
    }

    #[test]
    fn timestamps_that_step_back_or_forth_go_on_and_tracks_stay_together() {
        for (step_ms, has_reports) in [
            (-1_500, false),
            (-5_000, false),
            (-5_000, true),
            (7_000, false),
            (7_000, true),
            (-60_000, true),
            (3_600_000, false),
        ] {
            let given_out = stepped(step_ms * 90, has_reports);
            for track in &given_out {
                for pair in track.windows(2) {
                    let later = pair[1].0.wrapping_sub(pair[0].0);
                    // As late as the one or the other came.
                    assert!((2_700..=4_500).contains(&later), "{step_ms}: {later}");
                }
                for (_, off_ns) in track {
                    assert!(off_ns.abs() <= 20_000_000, "{step_ms}: {off_ns}");
                }
            }
            // By what both stepped.
            let apart = |n: usize| given_out[1][n].0.wrapping_sub(given_out[0][n].0);
            assert_eq!(apart(499), apart(0), "{step_ms}");
        }
    }

    #[test]
    fn pictures_in_another_order_than_they_are_shown_are_no_step_however_few_there_are() {
        for picture_units in [3_600, 18_000, 90_000] {
            let mut ingest = Ingest::new(&track(), &mut Rng::from_number(8));
            let order = [0_u32, 4, 2, 1, 3, 8, 6, 5, 7, 12, 10, 9, 11];
            let first = u32::MAX - picture_units;
            let mut offsets = order.iter().enumerate().map(|(n, shown)| {
                let timestamp = first.wrapping_add(shown * picture_units);
                let ms = n as u64 * u64::from(picture_units) / 90;
                let (_, given_out) = through(&mut ingest, ms, 7, n as u16, timestamp).unwrap();
                given_out.wrapping_sub(timestamp)
            });
            let offset = offsets.next().unwrap();
            assert!(offsets.all(|of| of == offset), "{picture_units}");
        }
    }

    #[test]
    fn what_leaves_out_what_would_be_late_is_of_now_and_a_key_that_is_held_down_stays_where_it_is() {
        // It stands still for 8 s, brings what it has kept of the first 2 s of them, and goes on with what is of now.
        let mut publisher = Publisher::new();
        for (ms, timestamp_ms) in [
            (0, 0),
            (1_000, 1_000),
            (9_000, 2_000),
            (9_020, 3_000),
            (9_040, 9_000),
        ] {
            let (happened, _) = publisher.send(0, ms, timestamp_ms * 90);
            assert_eq!(happened, at(u64::from(timestamp_ms)).1);
        }
        let mut ingest = Ingest::new(&track(), &mut Rng::from_number(9));
        let mut send = |ms: u64, payload_type: u8, timestamp: u32| {
            let mut bytes = packet(7, ms as u16 / 100, timestamp).to_vec();
            bytes[1] = payload_type;
            ingest.reorder = Reorder::new();
            ingest.handle_packet(at(ms).0, bytes.into());
            let ingested = ingest.poll(at(ms), &mut Steps::default()).unwrap();
            ingested.timestamp.wrapping_sub(timestamp)
        };
        let offset = send(0, 96, 0);
        for ms in (100..6_000).step_by(100) {
            assert_eq!(send(ms, 96, ms as u32 * 90), offset);
            assert_eq!(send(ms, 101, 9_000), offset, "after {ms} ms");
        }
    }

    #[test]
    fn what_stands_still_for_a_while_and_makes_up_for_it_is_of_its_own_time() {
        for stalled_s in [8, 14, 25] {
            let mut publisher = Publisher::new();
            let ends = 20 + stalled_s;
            for n in 0..60 {
                // Ten times as fast, until it is where it would be.
                let comes = |n: u64| (ends * 1_000 + (n - 20) * 100).max(n * 1_000);
                let ms = if n < 20 { n * 1_000 } else { comes(n) };
                let (happened, _) = publisher.send(0, ms, n as u32 * 90_000);
                assert_eq!(happened, at(n * 1_000).1, "{n} after {stalled_s} s");
            }
            assert_eq!(publisher.told, 0);
        }
    }

    #[test]
    fn a_publisher_whose_reports_are_of_another_time_is_of_now_from_its_first_packet_on() {
        for off_s in [15_i64, -15, 3_600] {
            let mut publisher = Publisher::new();
            for n in 0..60_u32 {
                let ms = u64::from(n) * 1_000 + 500;
                if n % 5 == 0 {
                    publisher.report(ms, (n * 90_000).wrapping_sub((off_s * 90_000) as u32));
                }
                for track in [0, 1] {
                    let (_, off) = publisher.send(track, ms + 20 * track as u64, n * 90_000);
                    assert!(off <= Duration::from_millis(25), "{off_s}: {off:?} after {n} s");
                }
            }
        }
        // What is a little off is believed.
        let mut publisher = Publisher::new();
        publisher.report(0, 5 * 90_000);
        assert_eq!(publisher.send(0, 0, 0).1, Duration::from_secs(5));
    }

    #[test]
    fn one_track_whose_reports_are_of_another_time_is_of_now_from_its_next_packet_on() {
        for off_s in [14_i64, -14] {
            let mut publisher = Publisher::new();
            for n in 0..100_u32 {
                let ms = u64::from(n) * 200;
                if n % 20 == 10 {
                    publisher.report(ms, n * 18_000);
                    let ours = publisher.offset.handle_report(at(ms).1.to_ntp(), at(ms).1);
                    let timestamp = (n * 18_000).wrapping_add((off_s * 90_000) as u32);
                    publisher.ingests[1].handle_report(7, timestamp, ours);
                }
                for track in [0, 1] {
                    let (_, off) = publisher.send(track, ms + 20 * track as u64, n * 18_000);
                    assert!(off <= Duration::from_millis(25), "{off_s}: {off:?} after {ms} ms");
                }
            }
            assert_eq!(publisher.told, 1);
        }
    }

    #[test]
    fn a_clock_without_reports_keeps_time_however_long_it_runs() {
        let mut publisher = Publisher::new();
        // Two days are two rounds of its timestamps.
        for minute in 0..2_880_u64 {
            let timestamp = (minute * 60 * 90_000) as u32;
            for n in 0..8 {
                let (happened, _) = publisher.send(
                    0,
                    minute * 60_000 + n * 7_500,
                    timestamp.wrapping_add(n as u32 * 675_000),
                );
                assert_eq!(happened, at(minute * 60_000 + n * 7_500).1, "minute {minute}");
            }
        }
        // Silent for a day, it goes on.
        let ms = 2 * 2_880 * 60_000;
        let (happened, _) = publisher.send(0, ms, (ms * 90) as u32);
        assert_eq!((happened, publisher.told), (at(ms).1, 0));
    }

    // Guards pitfall RTP 6.
    #[test]
    fn a_report_that_comes_before_any_packet_holds_from_the_first_one_on() {
        let mut ingest = Ingest::new(&track(), &mut Rng::from_number(5));
        ingest.handle_report(7, 1_000, at(0).1);
        let (_, timestamp) = through(&mut ingest, 300, 7, 1, 10_000).unwrap();
        assert_eq!(ingest.wallclock_at(timestamp), Some(at(100).1));
        // Another source's says nothing of this one.
        ingest.restart();
        ingest.handle_report(8, 1_000, at(300).1);
        let (_, timestamp) = through(&mut ingest, 400, 9, 1, 10_000).unwrap();
        assert_eq!(ingest.wallclock_at(timestamp), Some(at(400).1));
    }

    #[test]
    fn what_reports_say_of_two_tracks_keeps_them_together_whatever_the_clock_says() {
        let mut offset = ClockOffset::default();
        let mut video = Ingest::new(&track(), &mut Rng::from_number(3));
        let mut audio = Ingest::new(&track(), &mut Rng::from_number(4));
        // The camera believes that it is 1970; its audio comes 300 ms late.
        let theirs = UnixTime::from_secs(100);
        through(&mut video, 0, 1, 1, 90_000).unwrap();
        through(&mut audio, 300, 2, 1, 0).unwrap();
        let seen = offset.handle_report(theirs.to_ntp(), at(1_000).1);
        video.handle_report(1, 180_000, seen);
        let seen = offset.handle_report((theirs + Duration::from_millis(20)).to_ntp(), at(1_040).1);
        audio.handle_report(2, 90_000 + 1_800, seen);
        let moment = at(1_500).1;
        let own = |ingest: &Ingest| {
            let (info, source) = (ingest.sender_info(moment).unwrap(), ingest.source.unwrap());
            assert_eq!(info.ntp, moment.to_ntp());
            info.rtp_timestamp.wrapping_sub(source.timestamp)
        };
        // By the camera, 180,000 of the video is 90,000 of the audio; a millisecond and a quarter is what the second report
        // moved the offset by.
        let apart = i64::from(own(&video)) - 90_000 - i64::from(own(&audio));
        assert!(apart.abs() <= 113, "{apart} units apart");
    }
}
