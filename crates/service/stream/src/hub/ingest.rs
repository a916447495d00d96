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
/// anew, is as much later as it came later.
#[derive(Debug)]
pub(crate) struct Ingest {
    ssrc: u32,
    clock_rate_hz: u32,
    entries: Entries,
    reorder: Reorder,
    source: Option<Source>,
    next_sequence: u16,
    /// The newest timestamp that was given out, and when.
    newest: Option<(u32, Instant)>,
    /// A timestamp that was given out and when it is, by the mount's wallclock.
    reference: Option<(u32, UnixTime)>,
    /// A report that came before the source that it is of: its SSRC, and what it says.
    early: Option<(u32, u32, UnixTime)>,
    /// That its timestamps do not keep time: to be told, and told already of this publisher.
    adrift: (bool, bool),
    /// Another beginning is due with the next packet, as pictures beside it have begun anew; what is beside pictures waits for
    /// them.
    is_due: bool,
    is_beside_pictures: bool,
    /// It has begun anew, and others beside it are to.
    has_begun_anew: bool,
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

/// A timestamp that leaps by more than this is another beginning: no source pauses for so long without one, and a clock
/// that was set leaps further. So is one that has come so far away from when it came.
const LEAP: Duration = Duration::from_secs(10);
/// How far what a publisher's reports say may be from what is held before it is taken over at once.
const STEP: Duration = Duration::from_millis(500);

impl Ingest {
    pub(crate) fn new(track: &Track, rng: &mut Rng) -> Self {
        Ingest {
            ssrc: rng.u32(),
            clock_rate_hz: track.codec().clock_rate_hz.max(1),
            entries: Entries::new(&track.codec().name, is_told(track.codec())),
            reorder: Reorder::new(),
            source: None,
            next_sequence: rng.u32() as u16,
            newest: None,
            reference: None,
            early: None,
            adrift: (false, false),
            is_due: false,
            is_beside_pictures: false,
            has_begun_anew: false,
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
        self.early = None;
        self.adrift = (false, false);
        (self.is_due, self.has_begun_anew) = (false, false);
    }

    /// Says that it is sound, or the like, beside pictures: where timestamps do not keep time, it begins anew when they do.
    pub(crate) fn set_beside_pictures(&mut self) {
        self.is_beside_pictures = true;
    }

    /// Whether it has begun anew since this was asked, as its timestamps do not keep time.
    pub(crate) fn take_begun_anew(&mut self) -> bool {
        std::mem::take(&mut self.has_begun_anew)
    }

    /// Has it begin anew with what comes next, if that does not keep time either.
    pub(crate) fn begin_anew(&mut self) {
        self.is_due = true;
    }

    /// Whether it is to be told that timestamps do not keep time with what comes: once of each publisher.
    pub(crate) fn take_adrift(&mut self) -> bool {
        std::mem::take(&mut self.adrift.0)
    }

    /// Takes an RTP packet; what can be given out comes from [`poll`](Ingest::poll).
    pub(crate) fn handle_packet(&mut self, now: Instant, sequence: u16, bytes: Bytes) {
        self.reorder.handle_packet(now, sequence, bytes);
    }

    /// When a packet that waits for others is given out all the same.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.reorder.deadline()
    }

    /// Packets that never came.
    pub(crate) fn lost_packets(&self) -> u64 {
        self.reorder.lost_packets()
    }

    /// The next packet for readers; it is `wallclock` now.
    pub(crate) fn poll(&mut self, now: Instant, wallclock: UnixTime) -> Option<Ingested> {
        loop {
            let bytes = self.reorder.poll(now)?;
            if let Some(ingested) = self.rewrite(now, wallclock, bytes) {
                return Some(ingested);
            }
        }
    }

    fn rewrite(&mut self, now: Instant, wallclock: UnixTime, bytes: Bytes) -> Option<Ingested> {
        let packet = Packet::parse(&bytes).ok()?;
        let (header, payload) = (packet.header(), packet.payload_range());
        let source = self.source_of(now, wallclock, &header, &bytes[payload.clone()]);
        let sequence = header.sequence.wrapping_add(source.sequence);
        let timestamp = header.timestamp.wrapping_add(source.timestamp);
        self.next_sequence = sequence.wrapping_add(1);
        let is_newer = |(newest, _)| timestamp.wrapping_sub(newest) as i32 > 0;
        if self.newest.is_none_or(is_newer) {
            self.newest = Some((timestamp, now));
        }
        self.reference.get_or_insert((timestamp, wallclock));
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
    fn source_of(&mut self, now: Instant, wallclock: UnixTime, header: &Header, payload: &[u8]) -> Source {
        let (ssrc, sequence, timestamp) = (header.ssrc, header.sequence, header.timestamp);
        let goes_on = |source: &Source| {
            let given_out = timestamp.wrapping_add(source.timestamp);
            let leap = self
                .newest
                .map_or(0, |(newest, _)| given_out.wrapping_sub(newest) as i32);
            source.ssrc == ssrc && self.units(LEAP) > leap.unsigned_abs()
        };
        if let Some(source) = self.source.filter(goes_on) {
            let given_out = timestamp.wrapping_add(source.timestamp);
            let adrift = self.adrift(given_out, wallclock);
            // With a key picture nothing is lost by another beginning.
            let is_due = std::mem::take(&mut self.is_due) && adrift > LEAP / 2;
            let may_wait = |adrift| {
                let may_begin = !self.is_beside_pictures && self.entries.would_begin(given_out, payload);
                adrift <= 3 * LEAP && !may_begin
            };
            if !is_due && (adrift <= LEAP || may_wait(adrift)) {
                return source;
            }
            self.has_begun_anew = true;
            self.adrift = (!self.adrift.1, true);
        }
        let begin = match self.newest {
            Some((newest, at)) => newest.wrapping_add(self.units(now.since(at)).max(1)),
            None => timestamp.wrapping_add(self.ssrc.rotate_left(16)),
        };
        let source = Source {
            ssrc,
            sequence: self.next_sequence.wrapping_sub(sequence),
            timestamp: begin.wrapping_sub(timestamp),
        };
        self.source = Some(source);
        // Some report before they send anything, and tracks are together from their first packet on.
        let early = self.early.take().filter(|(of, ..)| *of == ssrc);
        self.reference = early.map(|(_, at, wallclock)| (at.wrapping_add(source.timestamp), wallclock));
        source
    }

    /// How far a timestamp that is given out now is of another time than now: a clock may run faster or slower than it is said
    /// to, or everything come faster or slower than it happened.
    fn adrift(&self, timestamp: u32, wallclock: UnixTime) -> Duration {
        let happened = self.wallclock_at(timestamp).unwrap_or(wallclock);
        happened.since(wallclock).max(wallclock.since(happened))
    }

    fn units(&self, duration: Duration) -> u32 {
        let units = duration.as_nanos() * u128::from(self.clock_rate_hz) / 1_000_000_000;
        units as u32
    }

    /// The publisher's own report says when, by the mount's wallclock, a timestamp of its own is. What is held is moved
    /// towards it, so that clocks that drift apart do not make timestamps leap.
    // Guards pitfall RTP 6.
    pub(crate) fn handle_report(&mut self, ssrc: u32, timestamp: u32, wallclock: UnixTime) {
        let Some(source) = self.source.filter(|source| source.ssrc == ssrc) else {
            self.early = Some((ssrc, timestamp, wallclock));
            return;
        };
        self.reference = Some((timestamp.wrapping_add(source.timestamp), wallclock));
    }

    /// When a timestamp that was given out is, by the mount's wallclock.
    pub(crate) fn wallclock_at(&self, timestamp: u32) -> Option<UnixTime> {
        let (reference, at) = self.reference?;
        let units = i128::from(timestamp.wrapping_sub(reference) as i32);
        let nanos = i128::from(at.as_nanos()) + units * 1_000_000_000 / i128::from(self.clock_rate_hz);
        u64::try_from(nanos).ok().map(UnixTime::from_nanos)
    }

    /// The timestamp of a moment of the mount's wallclock.
    pub(crate) fn timestamp_at(&self, wallclock: UnixTime) -> Option<u32> {
        let (reference, at) = self.reference?;
        let nanos = i128::from(wallclock.as_nanos()) - i128::from(at.as_nanos());
        let units = nanos * i128::from(self.clock_rate_hz) / 1_000_000_000;
        Some(reference.wrapping_add(units as u32))
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

/// What is added to the wallclock of a publisher's reports to make it ours: one for all of its tracks, so that they stay
/// together however wrong its clock is.
#[derive(Debug, Default)]
pub(crate) struct ClockOffset {
    nanos: Option<i128>,
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
        ingest.handle_packet(now, sequence, packet(ssrc, sequence, timestamp));
        let ingested = ingest.poll(now, wallclock)?;
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
        let other = through(&mut ingest, 100, 8, 2, 500_000_000).unwrap();
        assert_eq!(other, (sequence.wrapping_add(1), timestamp.wrapping_add(9_000)));
        let leap = through(&mut ingest, 200, 8, 3, 5).unwrap();
        assert_eq!(leap, (sequence.wrapping_add(2), timestamp.wrapping_add(18_000)));
        assert_eq!(
            through(&mut ingest, 210, 8, 6, 905),
            None,
            "two are missing and waited for"
        );
        let (now, wallclock) = at(400);
        let lost = ingest.poll(now, wallclock).unwrap();
        let lost = Packet::parse(&lost.bytes).unwrap().sequence();
        assert_eq!((lost, ingest.lost_packets()), (sequence.wrapping_add(5), 2));
    }

    /// The picture of a second.
    fn second(ingest: &mut Ingest, n: u16, is_key: bool, ms: u64, timestamp: u32) -> Ingested {
        let header = Header {
            marker: true,
            payload_type: 96,
            sequence: n,
            timestamp,
            ssrc: 7,
        };
        let mut bytes = Vec::new();
        let nal = if is_key { 0x65 } else { 0x41 };
        header.write(&[nal, 0x88, 2], &mut bytes);
        let (now, wallclock) = at(ms);
        ingest.handle_packet(now, n, bytes.into());
        ingest.poll(now, wallclock).unwrap()
    }

    #[test]
    fn timestamps_that_do_not_keep_time_are_taken_for_those_of_when_a_key_picture_came() {
        for (name, units_a_second) in [("fast", 450_000), ("slow", 9_000), ("none", 0)] {
            let mut ingest = Ingest::new(&track(), &mut Rng::from_number(6));
            let (mut told, mut most) = (0, Duration::ZERO);
            for n in 0..80_u16 {
                let ms = u64::from(n) * 1_000;
                let is_key = n.is_multiple_of(4);
                let timestamp = u32::from(n).wrapping_mul(units_a_second);
                let ingested = second(&mut ingest, n, is_key, ms, timestamp);
                let (happened, wallclock) = (ingest.wallclock_at(ingested.timestamp).unwrap(), at(ms).1);
                let off = happened.since(wallclock).max(wallclock.since(happened));
                if ingested.place == Place::Entry {
                    assert!(off <= LEAP, "{name}: {off:?} after {n} s");
                }
                most = most.max(off);
                told += u32::from(ingest.take_adrift());
            }
            assert!(most <= 3 * LEAP, "{name}: {most:?}");
            assert_eq!(told, 1, "{name}");
        }
        // One that stalls for a while and makes up for it does.
        let mut ingest = Ingest::new(&track(), &mut Rng::from_number(7));
        for n in 0..60_u16 {
            let ms = if (20..28).contains(&n) {
                28_000
            } else {
                u64::from(n) * 1_000
            };
            second(&mut ingest, n, n.is_multiple_of(4), ms, u32::from(n) * 90_000);
            assert!(!ingest.take_adrift());
        }
        // However long no key picture comes.
        let mut ingest = Ingest::new(&track(), &mut Rng::from_number(8));
        for n in 0..200_u16 {
            let ingested = second(&mut ingest, n, false, u64::from(n) * 1_000, 0);
            let happened = ingest.wallclock_at(ingested.timestamp).unwrap();
            assert!(at(u64::from(n) * 1_000).1.since(happened) <= 3 * LEAP);
        }
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
