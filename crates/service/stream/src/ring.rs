use bytes::Bytes;
use ringpost_base::{Instant, limits};
use std::collections::VecDeque;
use std::time::Duration;

/// One RTP packet of a mount as every reader gets it: written once, shared by all.
#[derive(Clone, Debug)]
pub struct Packet {
    /// The track that it belongs to, counted from 0.
    pub track: u8,
    /// Whether it is RTCP: a report on the track.
    pub is_rtcp: bool,
    /// Whether a reader may begin with it: the first packet of a key frame, or any packet where no track has pictures.
    pub is_entry: bool,
    /// When it came in.
    pub arrived: Instant,
    /// The RTP packet, or the RTCP one.
    pub bytes: Bytes,
}

/// The packets of a mount that were published last, for all of its readers.
///
/// It keeps at most [`limits::MOUNT_RING_PACKETS`] packets of at most [`limits::MOUNT_RING_BYTES`] octets together, the
/// newest. A [`Cursor`] says what its reader has had; reading changes the cursor and never the ring, so that nobody waits
/// for anybody. A reader begins with the last packet that one may begin with, and so sees a picture at once.
#[derive(Debug, Default)]
pub struct Ring {
    packets: VecDeque<Packet>,
    /// How many packets have left the front: the number of the first that is kept.
    first: u64,
    bytes: usize,
    /// The number of the newest packet that a reader may begin with, kept or not.
    entry: Option<u64>,
    /// The number of the first packet since the ring was cleared last.
    began: u64,
}

/// Where a reader is in a [`Ring`], and what it missed.
#[derive(Clone, Debug)]
pub struct Cursor {
    /// The number of the next packet to be read.
    next: u64,
    /// Nothing is read before the next packet that one may begin with.
    awaits_entry: bool,
    /// Any packet is one to begin with: no picture is read.
    anywhere: bool,
    /// It waits because it was too slow, so that what passes by is missed.
    has_skipped: bool,
    /// How far behind the newest packet it was when it began: a group of pictures that was there already.
    head_start: Duration,
    /// The beginning of what it reads: another publisher's packets are begun with like the first one's.
    began: u64,
    skips: u64,
    skipped: u64,
}

impl Cursor {
    /// How often it was too slow and went on with the next packet that one may begin with.
    pub fn skips(&self) -> u64 {
        self.skips
    }

    /// The packets that it never had for that.
    pub fn skipped_packets(&self) -> u64 {
        self.skipped
    }

    /// Whether both readers get the same packets from here on.
    pub(crate) fn is_level_with(&self, other: &Cursor) -> bool {
        let place = |cursor: &Cursor| {
            let waits = (cursor.awaits_entry, cursor.anywhere, cursor.has_skipped);
            (cursor.next, cursor.began, cursor.head_start, waits)
        };
        place(self) == place(other)
    }

    /// Goes to where another cursor is that was level with it, and has read since without a skip.
    pub(crate) fn go_with(&mut self, other: &Cursor) {
        *self = Cursor {
            skips: self.skips,
            skipped: self.skipped,
            ..other.clone()
        };
    }
}

impl Ring {
    /// An empty ring.
    pub fn new() -> Self {
        Ring::default()
    }

    /// The packets that are kept.
    pub fn len(&self) -> usize {
        self.packets.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// The octets of the packets that are kept.
    pub fn size_bytes(&self) -> usize {
        self.bytes
    }

    /// Takes the next packet; the oldest ones leave when there is no room for it.
    pub fn push(&mut self, packet: Packet) {
        if packet.is_entry {
            self.entry = Some(self.end());
        }
        self.bytes += packet.bytes.len();
        self.packets.push_back(packet);
        while self.packets.len() > limits::MOUNT_RING_PACKETS
            || (self.bytes > limits::MOUNT_RING_BYTES && self.packets.len() > 1)
        {
            if let Some(oldest) = self.packets.pop_front() {
                self.bytes -= oldest.bytes.len();
                self.first += 1;
            }
        }
    }

    /// Lets go of all packets, as when their publisher has gone: readers go on with what another one brings.
    pub fn clear(&mut self) {
        self.first = self.end();
        self.began = self.first;
        self.packets.clear();
        self.bytes = 0;
        self.entry = None;
    }

    /// A cursor at the newest packet that a reader may begin with, or before the next one to come.
    pub fn join(&self) -> Cursor {
        let entry = self.entry.filter(|entry| *entry >= self.first);
        Cursor {
            next: entry.unwrap_or(self.end()),
            awaits_entry: entry.is_none(),
            anywhere: false,
            has_skipped: false,
            head_start: entry.map_or(Duration::ZERO, |entry| self.age(entry)),
            began: self.began,
            skips: 0,
            skipped: 0,
        }
    }

    /// A cursor for a reader that stopped at `left` and goes on: at the newest packet that one may begin with, if it has not
    /// had that, and otherwise where it stopped, for it gets no packet twice.
    //= https://www.rfc-editor.org/rfc/rfc3550#section-5.1
    pub fn resume(&self, left: &Cursor) -> Cursor {
        let joined = match left.anywhere {
            true => self.join_anywhere(),
            false => self.join(),
        };
        let kept = Cursor {
            skips: left.skips,
            skipped: left.skipped,
            ..joined
        };
        if left.began != self.began || kept.next >= left.next {
            return kept;
        }
        let is_there = left.next >= self.first;
        Cursor {
            next: left.next.max(self.first),
            awaits_entry: left.awaits_entry || !(left.anywhere || is_there),
            head_start: if is_there {
                self.age(left.next)
            } else {
                Duration::ZERO
            },
            ..kept
        }
    }

    /// The same, now with pictures that it did not read before: none of what it had, and not before one may begin.
    pub fn resume_with_pictures(&self, left: &Cursor) -> Cursor {
        let resumed = self.resume(&Cursor {
            anywhere: false,
            ..left.clone()
        });
        let has_begun = !left.anywhere || self.entry == Some(resumed.next);
        Cursor {
            awaits_entry: resumed.awaits_entry || !has_begun,
            ..resumed
        }
    }

    /// A cursor before the next packet to come, where one may begin.
    pub fn join_live(&self) -> Cursor {
        Cursor {
            next: self.end(),
            awaits_entry: true,
            anywhere: false,
            has_skipped: false,
            head_start: Duration::ZERO,
            began: self.began,
            skips: 0,
            skipped: 0,
        }
    }

    /// A cursor before the newest packet, for who needs no picture to begin with.
    pub fn join_anywhere(&self) -> Cursor {
        Cursor {
            next: self.end().saturating_sub(1).max(self.first),
            awaits_entry: false,
            anywhere: true,
            ..self.join_live()
        }
    }

    /// The packet that [`read`](Ring::read) would give next to who has just joined, if it is there.
    pub fn peek(&self, cursor: &Cursor) -> Option<&Packet> {
        self.get(cursor.next).filter(|_| !cursor.awaits_entry)
    }

    /// The first RTP packet of a track from there on.
    pub fn peek_track(&self, cursor: &Cursor, track: u8) -> Option<&Packet> {
        let from = usize::try_from(cursor.next.checked_sub(self.first)?).ok()?;
        let mut packets = self.packets.iter().skip(from);
        packets.find(|packet| packet.track == track && !packet.is_rtcp)
    }

    /// The next packet for the reader at `cursor`, which passes it. A reader that is [`limits::MOUNT_READER_LAG`] behind
    /// what it was when it began, or whose next packet has left, goes on with the newest one that it may begin with.
    pub fn read(&self, cursor: &mut Cursor) -> Option<&Packet> {
        if cursor.began != self.began {
            let joined = match cursor.anywhere {
                true => self.join_anywhere(),
                false => self.join(),
            };
            *cursor = Cursor {
                skips: cursor.skips,
                skipped: cursor.skipped,
                ..joined
            };
        }
        if !cursor.awaits_entry && self.is_late(cursor) {
            self.skip(cursor);
        }
        if cursor.awaits_entry {
            let waits_since = cursor.next;
            let entry = self.entry.filter(|entry| *entry >= waits_since.max(self.first));
            cursor.next = entry.unwrap_or(self.end());
            if cursor.has_skipped {
                cursor.skipped += cursor.next - waits_since;
            }
            entry?;
            cursor.awaits_entry = false;
            cursor.has_skipped = false;
        }
        let packet = self.get(cursor.next);
        match packet {
            Some(_) => cursor.next += 1,
            None => cursor.head_start = Duration::ZERO,
        }
        packet
    }

    /// The number of the oldest packet that is kept.
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    /// The number of the packet that will be pushed next.
    pub(crate) fn end(&self) -> u64 {
        self.first + self.packets.len() as u64
    }

    fn get(&self, number: u64) -> Option<&Packet> {
        let index = number.checked_sub(self.first)?;
        self.packets.get(usize::try_from(index).ok()?)
    }

    /// How long before the newest packet this one came.
    fn age(&self, number: u64) -> Duration {
        match (self.get(number), self.packets.back()) {
            (Some(packet), Some(newest)) => newest.arrived.since(packet.arrived),
            _ => Duration::ZERO,
        }
    }

    fn is_late(&self, cursor: &Cursor) -> bool {
        let may_lag = cursor.head_start + limits::MOUNT_READER_LAG;
        cursor.next < self.first || self.age(cursor.next) > may_lag
    }

    /// Moves a cursor that is late to the newest packet that its reader may begin with, if that is one it has not had.
    fn skip(&self, cursor: &mut Cursor) {
        let newest = self.end().checked_sub(1);
        let entry = if cursor.anywhere { newest } else { self.entry };
        let entry = entry.filter(|entry| *entry > cursor.next && *entry >= self.first);
        let to = entry.unwrap_or(self.end());
        cursor.skips += 1;
        cursor.skipped += to - cursor.next;
        cursor.next = to;
        cursor.awaits_entry = entry.is_none();
        cursor.has_skipped = entry.is_none();
        cursor.head_start = self.age(to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: u64 = 1_000_000;

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * MS)
    }

    fn packet(ms: u64, is_entry: bool) -> Packet {
        let bytes = Bytes::copy_from_slice(&ms.to_be_bytes());
        Packet {
            track: 0,
            is_rtcp: false,
            is_entry,
            arrived: at(ms),
            bytes,
        }
    }

    /// When the packets that a reader gets now were published, in milliseconds.
    fn drain(ring: &Ring, cursor: &mut Cursor) -> Vec<u64> {
        std::iter::from_fn(|| ring.read(cursor))
            .map(|packet| packet.arrived.as_nanos() / MS)
            .collect()
    }

    /// A packet every 40 ms, one may begin with every 25th: a second of pictures.
    fn play(ring: &mut Ring, from_ms: u64, to_ms: u64) {
        for ms in (from_ms..to_ms).step_by(40) {
            ring.push(packet(ms, ms % 1_000 == 0));
        }
    }

    #[test]
    fn a_reader_begins_with_the_last_key_frame_and_goes_on_live() {
        let mut ring = Ring::new();
        play(&mut ring, 0, 2_520);
        let mut cursor = ring.join();
        let had = drain(&ring, &mut cursor);
        assert_eq!((had[0], had[1], had[12], had.len()), (2_000, 2_040, 2_480, 13));
        play(&mut ring, 2_520, 2_600);
        assert_eq!(drain(&ring, &mut cursor), [2_520, 2_560]);
        assert_eq!((cursor.skips(), cursor.skipped_packets()), (0, 0));
    }

    #[test]
    fn who_goes_on_gets_nothing_twice() {
        let mut ring = Ring::new();
        play(&mut ring, 0, 1_520);
        let mut cursor = ring.join();
        assert_eq!(drain(&ring, &mut cursor).len(), 13);
        let mut again = ring.resume(&cursor);
        assert!(drain(&ring, &mut again).is_empty());
        play(&mut ring, 1_520, 1_640);
        let mut again = ring.resume(&cursor);
        assert_eq!(drain(&ring, &mut again), [1_520, 1_560, 1_600]);
        // Behind a newer picture that one may begin with, what came before that is let go.
        play(&mut ring, 1_640, 2_080);
        let mut again = ring.resume(&cursor);
        assert_eq!(drain(&ring, &mut again), [2_000, 2_040]);
        assert_eq!(again.skipped_packets(), 0, "it did not want them");
        // Without pictures too.
        let mut sound = ring.join_anywhere();
        assert_eq!(drain(&ring, &mut sound), [2_040]);
        let mut again = ring.resume(&sound);
        assert!(drain(&ring, &mut again).is_empty());
        // Who wants pictures now waits for one.
        let mut with_pictures = ring.resume_with_pictures(&sound);
        play(&mut ring, 2_080, 3_040);
        assert_eq!(drain(&ring, &mut with_pictures), [3_000]);
        // Another publisher is begun with anew.
        ring.clear();
        ring.push(packet(9_000, true));
        let mut again = ring.resume(&sound);
        assert_eq!(drain(&ring, &mut again), [9_000]);
    }

    #[test]
    fn before_the_first_key_frame_nothing_is_read() {
        let mut ring = Ring::new();
        play(&mut ring, 40, 960);
        let mut cursor = ring.join();
        assert!(drain(&ring, &mut cursor).is_empty());
        play(&mut ring, 960, 1_080);
        assert_eq!(drain(&ring, &mut cursor), [1_000, 1_040]);
        assert_eq!(
            cursor.skipped_packets(),
            0,
            "what came before it joined was never its own"
        );
    }

    #[test]
    fn a_reader_that_joins_live_waits_for_the_next_key_frame() {
        let mut ring = Ring::new();
        play(&mut ring, 0, 1_520);
        let mut cursor = ring.join_live();
        assert!(drain(&ring, &mut cursor).is_empty());
        play(&mut ring, 1_520, 2_080);
        assert_eq!(drain(&ring, &mut cursor), [2_000, 2_040]);
    }

    #[test]
    fn a_slow_reader_goes_on_with_the_newest_key_frame_and_a_fast_one_loses_nothing() {
        let mut ring = Ring::new();
        play(&mut ring, 0, 40);
        let (mut slow, mut fast) = (ring.join(), ring.join());
        assert_eq!(drain(&ring, &mut slow), [0]);
        let mut had = 0;
        for ms in (40..10_000).step_by(40) {
            play(&mut ring, ms, ms + 40);
            had += drain(&ring, &mut fast).len();
        }
        assert_eq!((had, fast.skips()), (250, 0));
        let after = drain(&ring, &mut slow);
        assert_eq!((after[0], after.len()), (9_000, 25));
        assert_eq!((slow.skips(), slow.skipped_packets()), (1, 224));
    }

    #[test]
    fn a_reader_that_lags_less_than_the_limit_loses_nothing() {
        let mut ring = Ring::new();
        play(&mut ring, 0, 40);
        let mut cursor = ring.join();
        let lag_ms = u64::try_from(limits::MOUNT_READER_LAG.as_millis()).expect("a few seconds");
        play(&mut ring, 40, lag_ms);
        let had = drain(&ring, &mut cursor);
        assert_eq!(had.len() as u64, lag_ms.div_ceil(40));
        assert_eq!(cursor.skips(), 0);
    }

    #[test]
    fn a_long_group_of_pictures_is_no_lag_of_who_begins_with_it() {
        let mut ring = Ring::new();
        ring.push(packet(0, true));
        for ms in (40..20_000).step_by(40) {
            ring.push(packet(ms, false));
        }
        let mut cursor = ring.join();
        let first: Vec<u64> = (0..10)
            .filter_map(|_| ring.read(&mut cursor))
            .map(|packet| packet.arrived.as_nanos() / MS)
            .collect();
        assert_eq!((first[0], first[9]), (0, 360));
        for ms in (20_000..21_000).step_by(40) {
            ring.push(packet(ms, false));
        }
        assert_eq!(drain(&ring, &mut cursor).len(), 500 - 10 + 25);
        assert_eq!(cursor.skips(), 0);
    }

    #[test]
    fn a_slow_reader_without_a_newer_key_frame_waits_for_one() {
        let mut ring = Ring::new();
        ring.push(packet(0, true));
        let mut cursor = ring.join();
        assert_eq!(drain(&ring, &mut cursor), [0]);
        for ms in (40..8_000).step_by(40) {
            ring.push(packet(ms, false));
        }
        assert!(drain(&ring, &mut cursor).is_empty());
        ring.push(packet(8_000, false));
        ring.push(packet(8_040, true));
        assert_eq!(drain(&ring, &mut cursor), [8_040]);
        assert_eq!((cursor.skips(), cursor.skipped_packets()), (1, 200));
    }

    #[test]
    fn whoever_reads_when_the_publisher_goes_begins_with_a_key_frame_of_the_next_one() {
        let mut ring = Ring::new();
        play(&mut ring, 0, 520);
        let (mut behind, mut live) = (ring.join(), ring.join());
        assert_eq!(drain(&ring, &mut live).len(), 13);
        ring.clear();
        assert!(drain(&ring, &mut behind).is_empty());
        ring.push(packet(9_000, false));
        assert!(drain(&ring, &mut live).is_empty());
        ring.push(packet(9_040, true));
        for cursor in [&mut behind, &mut live] {
            assert_eq!(drain(&ring, cursor), [9_040]);
            assert_eq!((cursor.skips(), cursor.skipped_packets()), (0, 0));
        }
    }

    #[test]
    fn the_ring_is_bounded_in_packets_and_in_octets() {
        let mut ring = Ring::new();
        for ms in 0..3 * limits::MOUNT_RING_PACKETS as u64 {
            ring.push(packet(ms, false));
        }
        assert_eq!(ring.len(), limits::MOUNT_RING_PACKETS);
        let large = Bytes::from(vec![0; limits::MOUNT_RING_BYTES / 4]);
        for ms in 0..20 {
            ring.push(Packet {
                bytes: large.clone(),
                ..packet(ms, false)
            });
            assert!(ring.size_bytes() <= limits::MOUNT_RING_BYTES);
        }
        assert_eq!(ring.len(), 4);
    }

    proptest! {
        // Whatever the order of pushes and reads, a reader's packets follow each other, a gap ends at a packet that one may
        // begin with, and what it had and what it skipped are all that came since it began.
        #[test]
        fn what_is_read_is_in_order_and_gaps_are_counted(
            steps in proptest::collection::vec((0_u64..400, proptest::bool::ANY, 0_usize..40), 1..600),
        ) {
            let mut ring = Ring::new();
            ring.push(Packet { bytes: Bytes::from(0_u64.to_be_bytes().to_vec()), ..packet(0, true) });
            let mut cursor = ring.join();
            let (mut now, mut last, mut had) = (0, None, 0);
            for (number, (pause, is_entry, reads)) in (1_u64..).zip(&steps) {
                now += pause;
                let bytes = Bytes::from(number.to_be_bytes().to_vec());
                ring.push(Packet { bytes, ..packet(now, *is_entry) });
                for _ in 0..*reads {
                    let Some(packet) = ring.read(&mut cursor) else { break };
                    let this = u64::from_be_bytes(packet.bytes[..].try_into().expect("eight octets"));
                    let follows = last.map_or(this == 0, |last| this == last + 1);
                    prop_assert!(follows || packet.is_entry);
                    prop_assert!(last.is_none_or(|last| this > last));
                    last = Some(this);
                    had += 1;
                    prop_assert_eq!(this + 1, had + cursor.skipped_packets());
                }
            }
        }
    }
}
