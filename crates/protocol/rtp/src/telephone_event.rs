use ringpost_base::Instant;
use std::time::Duration;

/// A duration field's largest value; a longer event is sent in segments of it.
const SEGMENT_UNITS: u32 = 0xffff;
/// How often the last packet of an event or segment is sent.
const FINAL_COPIES: u8 = 3;
/// How long after its last packet an event with an earlier timestamp is taken for a late packet and not for a new event
/// of a source that began its timestamps anew.
const LATE: Duration = Duration::from_secs(2);

/// The payload of one event (RFC 4733 §2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TelephoneEvent {
    /// The event code: 0–9 digits, 10 `*`, 11 `#`, 12–15 `A`–`D`, 16 flash (§3.2).
    pub event: u8,
    /// This packet tells the end of the event.
    pub end: bool,
    /// The power level in dBm0 without its sign, 0–63.
    pub volume: u8,
    /// How long the event or segment has lasted, in timestamp units.
    pub duration: u16,
}

impl TelephoneEvent {
    /// The length of one event's payload.
    pub const LEN: usize = 4;

    /// Reads the events of a payload, which are one behind the other where there are several (§2.5.1.5).
    pub fn parse_all(payload: &[u8]) -> impl Iterator<Item = TelephoneEvent> {
        payload.chunks_exact(TelephoneEvent::LEN).map(|p| TelephoneEvent {
            event: p[0],
            end: p[1] & 0x80 != 0,
            volume: p[1] & 0x3f,
            duration: u16::from_be_bytes([p[2], p[3]]),
        })
    }

    /// The payload's bytes.
    //= https://www.rfc-editor.org/rfc/rfc4733#section-2.3
    pub fn to_bytes(self) -> [u8; TelephoneEvent::LEN] {
        let [high, low] = self.duration.to_be_bytes();
        [
            self.event,
            (self.volume & 0x3f) | if self.end { 0x80 } else { 0 },
            high,
            low,
        ]
    }
}

/// The event code of a DTMF digit (RFC 4733 §3.2, table 3).
pub fn event_of_digit(digit: char) -> Option<u8> {
    Some(match digit {
        '0'..='9' => digit as u8 - b'0',
        '*' => 10,
        '#' => 11,
        'A'..='D' => digit as u8 - b'A' + 12,
        'a'..='d' => digit as u8 - b'a' + 12,
        _ => return None,
    })
}

/// The DTMF digit of an event code (RFC 4733 §3.2, table 3).
pub fn digit_of_event(event: u8) -> Option<char> {
    b"0123456789*#ABCD"
        .get(usize::from(event))
        .map(|digit| char::from(*digit))
}

/// A packet of an event that is to be sent; its sequence number is the stream's next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventPacket {
    /// The marker bit: set on the first packet of an event.
    pub marker: bool,
    /// When the event or segment began.
    pub timestamp: u32,
    /// The payload.
    pub event: TelephoneEvent,
}

/// Sends one event: an iterator to be asked once for each packet time of the stream, until it ends.
#[derive(Clone, Debug)]
pub struct EventSender {
    event: u8,
    volume: u8,
    segment_start: u32,
    /// What is left of the event from the start of this segment on.
    left_units: u32,
    step_units: u32,
    /// How long this segment has lasted.
    elapsed_units: u32,
    first: bool,
    finals_sent: u8,
}

impl EventSender {
    /// Sends `event` at `volume` (dBm0 without its sign), beginning at `timestamp` and lasting `duration_units`, a packet
    /// every `step_units`. Both are at least 1.
    pub fn new(event: u8, volume: u8, timestamp: u32, duration_units: u32, step_units: u32) -> Self {
        EventSender {
            event,
            volume,
            segment_start: timestamp,
            left_units: duration_units.max(1),
            step_units: step_units.max(1),
            elapsed_units: 0,
            first: true,
            finals_sent: 0,
        }
    }

    fn begin_next_segment(&mut self) {
        self.segment_start = self.segment_start.wrapping_add(SEGMENT_UNITS);
        self.left_units -= SEGMENT_UNITS;
        self.elapsed_units -= SEGMENT_UNITS;
        self.finals_sent = 0;
    }
}

impl Iterator for EventSender {
    type Item = EventPacket;

    fn next(&mut self) -> Option<EventPacket> {
        if self.finals_sent == FINAL_COPIES {
            if self.left_units <= SEGMENT_UNITS {
                return None;
            }
            //= https://www.rfc-editor.org/rfc/rfc4733#section-2.5.1.3
            self.begin_next_segment();
        }
        self.elapsed_units = self.elapsed_units.saturating_add(self.step_units);
        let segment_units = self.left_units.min(SEGMENT_UNITS);
        let is_final = self.elapsed_units >= segment_units;
        if is_final {
            //= https://www.rfc-editor.org/rfc/rfc4733#section-2.5.1.4
            self.finals_sent += 1;
        }
        Some(EventPacket {
            marker: std::mem::take(&mut self.first),
            timestamp: self.segment_start,
            event: TelephoneEvent {
                event: self.event,
                end: is_final && self.left_units <= SEGMENT_UNITS,
                volume: self.volume,
                duration: self.elapsed_units.min(segment_units) as u16,
            },
        })
    }
}

/// What an [`EventReceiver`] makes of packets. Each event begins once and ends at most once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventReport {
    /// The first packet of an event that was heard.
    Began {
        /// The event code.
        event: u8,
    },
    /// The end of the event was heard. An event whose last three packets were lost has no end.
    Ended {
        /// The event code.
        event: u8,
        /// How long it lasted, in timestamp units, all segments together.
        duration_units: u32,
    },
}

#[derive(Clone, Copy, Debug)]
struct Current {
    event: u8,
    /// The start of the segment that was heard last.
    segment_start: u32,
    duration: u16,
    before_segment_units: u32,
    ended: bool,
    heard: Instant,
}

/// Receives the events of one source: however many packets tell of an event, it is reported once.
#[derive(Clone, Debug, Default)]
pub struct EventReceiver {
    current: Option<Current>,
}

impl EventReceiver {
    /// Nothing heard yet.
    pub fn new() -> Self {
        EventReceiver::default()
    }

    /// Forgets what was heard: another source begins.
    pub fn reset(&mut self) {
        self.current = None;
    }

    /// A packet of events with this RTP `timestamp` came; gives each report to `report`.
    pub fn handle_packet(
        &mut self,
        now: Instant,
        timestamp: u32,
        payload: &[u8],
        mut report: impl FnMut(EventReport),
    ) {
        //= https://www.rfc-editor.org/rfc/rfc4733#section-2.5.2.4
        let mut start = timestamp;
        for event in TelephoneEvent::parse_all(payload) {
            // No event that is reported here is a state, and others have no business with a duration of zero.
            //= https://www.rfc-editor.org/rfc/rfc4733#section-2.3.5
            if event.duration > 0 {
                self.handle_event(now, start, event, &mut report);
            }
            start = start.wrapping_add(u32::from(event.duration));
        }
    }

    fn handle_event(
        &mut self,
        now: Instant,
        start: u32,
        event: TelephoneEvent,
        report: &mut impl FnMut(EventReport),
    ) {
        let mut current = match self.current {
            Some(c) if c.continues_with(start, event.event) => Current {
                segment_start: start,
                duration: event.duration,
                before_segment_units: c.before_segment_units.saturating_add(SEGMENT_UNITS),
                ..c
            },
            // The packets of one event have one timestamp, and those of the events before it are of the past.
            Some(c) if c.segment_start == start && c.event == event.event => c,
            Some(c) if is_before(start, c.segment_start) && now.since(c.heard) < LATE => return,
            _ => {
                report(EventReport::Began { event: event.event });
                Current {
                    event: event.event,
                    segment_start: start,
                    duration: event.duration,
                    before_segment_units: 0,
                    ended: false,
                    heard: now,
                }
            }
        };
        current.heard = now;
        current.duration = current.duration.max(event.duration);
        if event.end && !current.ended {
            current.ended = true;
            let duration_units = current
                .before_segment_units
                .saturating_add(u32::from(current.duration));
            report(EventReport::Ended {
                event: event.event,
                duration_units,
            });
        }
        self.current = Some(current);
    }
}

impl Current {
    /// Whether a segment of `event` from `start` on is the next one of this event.
    //= https://www.rfc-editor.org/rfc/rfc4733#section-2.5.2.3
    fn continues_with(&self, start: u32, event: u8) -> bool {
        !self.ended && event == self.event && start == self.segment_start.wrapping_add(SEGMENT_UNITS)
    }
}

fn is_before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receive(packets: impl IntoIterator<Item = EventPacket>) -> Vec<EventReport> {
        let (mut receiver, mut reports) = (EventReceiver::new(), Vec::new());
        for (n, packet) in packets.into_iter().enumerate() {
            let now = Instant::ZERO + Duration::from_millis(20 * n as u64);
            receiver.handle_packet(now, packet.timestamp, &packet.event.to_bytes(), |r| {
                reports.push(r)
            });
        }
        reports
    }

    fn digit(event: u8, timestamp: u32) -> EventSender {
        EventSender::new(event, 10, timestamp, 800, 160)
    }

    // Guards pitfall RTP 9: three end packets, one timestamp, durations that grow, the marker once.
    #[test]
    fn an_event_grows_and_ends_three_times() {
        let packets: Vec<_> = digit(5, 1000).collect();
        let seen: Vec<_> = packets
            .iter()
            .map(|p| (p.marker, p.event.duration, p.event.end))
            .collect();
        assert_eq!(
            seen,
            [
                (true, 160, false),
                (false, 320, false),
                (false, 480, false),
                (false, 640, false),
                (false, 800, true),
                (false, 800, true),
                (false, 800, true),
            ]
        );
        assert!(packets.iter().all(|p| p.timestamp == 1000 && p.event.event == 5));
    }

    // Guards pitfall RTP 9: long events are split, and only the last segment ends.
    #[test]
    fn an_event_of_twenty_seconds_is_three_segments_and_one_digit() {
        let packets: Vec<_> = EventSender::new(7, 10, u32::MAX - 10, 160_000, 160).collect();
        let starts: Vec<_> = (0..3)
            .map(|n| (u32::MAX - 10).wrapping_add(n * SEGMENT_UNITS))
            .collect();
        for (n, start) in starts.iter().enumerate() {
            let segment: Vec<_> = packets.iter().filter(|p| p.timestamp == *start).collect();
            assert!(segment.is_sorted_by_key(|p| p.event.duration), "durations grow");
            let last = if n < 2 {
                0xffff
            } else {
                160_000 - 2 * SEGMENT_UNITS
            };
            let finals = segment.iter().filter(|p| u32::from(p.event.duration) == last);
            assert_eq!(finals.clone().count(), 3);
            assert!(finals.clone().all(|p| p.event.end == (n == 2)));
        }
        assert_eq!(packets.iter().filter(|p| p.marker).count(), 1);
        assert_eq!(
            receive(packets),
            [
                EventReport::Began { event: 7 },
                EventReport::Ended {
                    event: 7,
                    duration_units: 160_000
                }
            ]
        );
    }

    // Guards pitfall RTP 9: a digit is reported once.
    #[test]
    fn whichever_packets_of_a_digit_arrive_it_is_reported_once() {
        let all: Vec<_> = digit(3, 0).collect();
        for kept in 1..1 << all.len() {
            let some = all
                .iter()
                .enumerate()
                .filter(|(n, _)| kept >> n & 1 == 1)
                .map(|(_, p)| *p);
            let reports = receive(some);
            assert_eq!(reports[0], EventReport::Began { event: 3 });
            let ended = kept >> 4 != 0;
            assert_eq!(reports.len(), 1 + usize::from(ended), "{kept:b}");
        }
    }

    // Guards pitfall RTP 9.
    #[test]
    fn the_same_digit_twice_is_two_digits_and_late_packets_are_none() {
        let (one, two): (Vec<_>, Vec<_>) = (digit(1, 0).collect(), digit(1, 1600).collect());
        let mut packets = one.clone();
        packets.extend(&two[..2]);
        packets.extend(&one[3..]);
        packets.extend(&two[2..]);
        packets.extend(&one[6..]);
        let begun = receive(packets)
            .iter()
            .filter(|r| matches!(r, EventReport::Began { .. }))
            .count();
        assert_eq!(begun, 2);
    }

    #[test]
    fn a_source_that_begins_its_timestamps_anew_is_heard_again() {
        let mut receiver = EventReceiver::new();
        let mut reports = Vec::new();
        let event = TelephoneEvent {
            event: 1,
            end: true,
            volume: 0,
            duration: 160,
        }
        .to_bytes();
        receiver.handle_packet(Instant::ZERO, 90_000, &event, |r| reports.push(r));
        receiver.handle_packet(Instant::ZERO + Duration::from_secs(5), 300, &event, |r| {
            reports.push(r)
        });
        assert_eq!(reports.len(), 4);
    }

    #[test]
    fn events_packed_into_one_packet_are_told_one_by_one() {
        let mut payload = TelephoneEvent {
            event: 1,
            end: true,
            volume: 0,
            duration: 400,
        }
        .to_bytes()
        .to_vec();
        payload.extend(
            TelephoneEvent {
                event: 1,
                end: true,
                volume: 0,
                duration: 300,
            }
            .to_bytes(),
        );
        let (mut receiver, mut reports) = (EventReceiver::new(), Vec::new());
        for _ in 0..3 {
            receiver.handle_packet(Instant::ZERO, 0, &payload, |r| reports.push(r));
        }
        assert_eq!(reports.len(), 4, "two began, two ended");
    }

    #[test]
    fn a_duration_of_zero_is_no_event() {
        let event = TelephoneEvent {
            event: 1,
            end: false,
            volume: 0,
            duration: 0,
        }
        .to_bytes();
        EventReceiver::new().handle_packet(Instant::ZERO, 0, &event, |r| panic!("{r:?}"));
    }

    #[test]
    fn digits_and_codes_are_each_others_inverse() {
        for event in 0..16 {
            assert_eq!(digit_of_event(event).and_then(event_of_digit), Some(event));
        }
        assert_eq!(digit_of_event(16), None);
        assert_eq!(event_of_digit('x'), None);
    }
}
