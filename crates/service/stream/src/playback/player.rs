use super::cursor::{Cursor, Opened};
use super::join::{Entry, Joining};
use super::media::MediaError;
use super::pace::{Pace, ns, ticks};
use super::range::{Asked, Unit};
use super::seek::Seek;
use super::send::Packing;
use super::timeline::{Timeline, Told};
use crate::Description;
use bytes::Bytes;
use ringpost_base::{Instant, Rng};
use ringpost_rtp::Header;
use ringpost_rtsp::header::{Range, RangeSpec};
use ringpost_rtsp::server::Played;
use ringpost_store::FileName;
use std::collections::VecDeque;
use std::time::Duration;
use thiserror::Error;

/// Plays a [`Timeline`] to one session: RTP packets at their time.
///
/// - A seek lands on the key frame at or before what was asked for, or from within a gap on the first one behind it, or backwards
///   on the last one that happened before it; [`Event::Played`] says where that is.
/// - Where no picture can be decoded yet it begins with the sound that is there, and pictures follow from their first key frame on.
/// - Pictures behind the end of a range are sent where others before it refer to them; what is played next begins behind them.
/// - A scale other than 1 leaves out sound. Up to 2 all pictures are sent, above that and backwards only key frames, at most 25
///   a second.
/// - The answer's range is all that will be played. Where recordings have a gap within it, playing goes on behind the gap at
///   once, or backwards before it: [`Event::Jumped`] says which positions the packets from then on have. Sequence numbers and
///   timestamps go on as if there were none, and sound has the marker bit.
/// - Timestamps pass with the clock while it is paused, and have no hole at a jump (RFC 2326 appendix B). A speed changes when
///   packets are sent and not their timestamps.
///
/// It reads ahead [`limits::PLAYER_WINDOW_BYTES`](ringpost_base::limits::PLAYER_WINDOW_BYTES) of each track, and makes packets of
/// [`limits::PLAYER_QUEUE_BYTES`](ringpost_base::limits::PLAYER_QUEUE_BYTES), or one picture if that is longer. After each
/// `handle_…` and command [`poll_output`](Player::poll_output) is to be drained.
#[derive(Debug)]
pub struct Player {
    pub(super) timeline: Timeline,
    pub(super) senders: Vec<Sender>,
    /// What each of them sends.
    pub(super) told: Vec<Told>,
    pub(super) max_payload_bytes: usize,
    pub(super) now: Instant,
    /// When the session's RTP time began: with its first PLAY.
    pub(super) began: Option<Instant>,
    pub(super) mode: Mode,
    pub(super) plan: Plan,
    pub(super) pace: Pace,
    /// Those before it, as long as something that is made by them is yet to be sent.
    pub(super) earlier: Vec<Pace>,
    pub(super) opened: Option<Opened>,
    pub(super) asked: Option<(ReadId, Purpose, std::ops::Range<u64>)>,
    reads: u64,
    pub(super) queue: VecDeque<Queued>,
    pub(super) queue_bytes: usize,
    /// The RTP time behind all that was sent, and behind all that was made.
    sent_until_ns: i64,
    pub(super) made_until_ns: i64,
    /// The RTP time behind what lies beyond the end and was made, since what lies before it refers to that.
    pub(super) beyond_ns: i64,
    /// The position behind all that was made.
    pub(super) made_to_ns: i64,
    /// When what was made last is sent.
    pub(super) made_at: Instant,
    /// Tracks that are being taken up while others play.
    pub(super) joining: Option<Joining>,
    /// When the fastest line that is used would have sent what was made.
    pub(super) busy_until: Instant,
    /// More is to be done than one call does.
    pub(super) is_unfinished: bool,
    pub(super) outputs: VecDeque<Output>,
}

/// One track as it is sent.
#[derive(Debug)]
pub(super) struct Sender {
    pub(super) payload_type: u8,
    pub(super) clock_rate_hz: u32,
    pub(super) is_video: bool,
    pub(super) is_enabled: bool,
    pub(super) packing: Packing,
    ssrc: u32,
    /// The next packet's.
    pub(super) sequence: u16,
    /// The timestamp of the session's RTP time 0.
    pub(super) first_timestamp: u32,
    /// The next packet of sound begins what was jumped to.
    pub(super) marks: bool,
    pub(super) entry: Entry,
}

/// A packet that waits for its time.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) sender: usize,
    pub(super) at: Instant,
    pub(super) position_ns: i64,
    pub(super) timestamp: u32,
    /// The RTP time behind it.
    pub(super) until_ns: i64,
    pub(super) marker: bool,
    pub(super) payload: Vec<u8>,
}

#[derive(Debug)]
pub(super) enum Mode {
    /// Nothing is played; from where a PLAY without a range goes on.
    Ready(Option<i64>),
    /// On the way to where it begins, or goes on behind the end of a file.
    Seeking(Seek),
    Playing(Cursor),
    /// All is made; the end is at that time.
    Ending(Instant),
    /// What is recorded now may become longer; asked again then, unless the answer is awaited.
    Awaiting(Cursor, Option<Instant>),
    Paused {
        since: Instant,
        then: Box<Mode>,
    },
}

impl Mode {
    /// Where it is on the way to after a command, paused or not.
    fn sought(&self) -> Option<&Seek> {
        match self {
            Mode::Seeking(seek) => Some(seek).filter(|seek| seek.is_start),
            Mode::Paused { then, .. } => then.sought(),
            _ => None,
        }
    }
}

/// What the client asked for last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) unit: Unit,
    /// Where it began, once that is known.
    pub(super) start_ns: i64,
    pub(super) end_ns: Option<i64>,
    pub(super) scale: f64,
    pub(super) speed: f64,
    pub(super) tells_scale: bool,
    pub(super) tells_speed: bool,
    /// Not before then.
    pub(super) starts: Option<Instant>,
}

/// Names a read of the player.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReadId(pub u64);

/// What is read for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Scan,
    Table(usize),
    /// Samples of one of the file's tracks.
    Octets(usize),
}

/// What a client wants.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Play {
    /// `None` goes on where it has stopped, or at the beginning; backwards at the end.
    pub range: Option<Range>,
    /// `None` is 1, or without a range as it was when it stopped.
    pub scale: Option<f64>,
    /// The same.
    pub speed: Option<f64>,
    /// Not before then, by the range's `time`.
    pub starts: Option<Instant>,
}

/// Where it was paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paused {
    /// From where it will go on.
    pub range: Range,
    /// Whether it has stopped; otherwise [`Event::Ended`] tells when it comes there.
    pub is_at_once: bool,
}

/// Why a range is not played.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PlayError {
    /// There is nothing in it, since it begins behind the end, ends where it begins or before, or lies where nothing was
    /// recorded (RFC 2326 §11.3.8: 457).
    #[error("there is nothing in that range")]
    Empty,
    /// It is to be paused where nothing is to be played (RFC 2326 §10.6: 457).
    #[error("nothing that is played or waits to be played comes to that point")]
    NotPlayed,
    /// It is told by the clock, and files have none (457).
    #[error("files are played by npt or smpte, and only recordings by clock")]
    NoClock,
    /// Nothing of it could be read (404 or 500).
    #[error("nothing of the range can be played")]
    Nothing,
    /// Another command came before its answer.
    #[error("another command came first")]
    Interrupted,
}

/// What a player wants, or tells.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Send this; it is due.
    Packet {
        /// The track's place in the [description](Timeline::description).
        track: usize,
        /// An RTP packet of at most 1,400 octets; a packet of Opus may be longer.
        bytes: Bytes,
    },
    /// Read these octets, or as many of them as there are, and hand them in ([`Player::handle_data`]). One read is open at a time;
    /// another one that is asked for takes its place.
    Read {
        /// Which read.
        id: ReadId,
        /// The file.
        file: FileName,
        /// Its octets.
        range: std::ops::Range<u64>,
    },
    /// What is being recorded is played to its end: bring it up to date ([`Player::handle_timeline`]).
    Refresh,
    /// To be acted on.
    Event(Event),
    /// Nothing more until then.
    Timeout(Option<Instant>),
}

/// What a player tells.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The answer to [`Player::play`]: it plays.
    Played(Played),
    /// The answer to [`Player::play`]: it does not, and what played before has stopped.
    Refused(PlayError),
    /// It goes on behind a gap: the packets from these on are of this range. Told anew where a track is taken up before it.
    Jumped(Played),
    /// The end of the range or of all there is.
    Ended,
    /// A file is not played, or not to its end.
    Damaged {
        /// The file.
        file: FileName,
        /// Why.
        error: MediaError,
    },
}

/// What stands before a payload of a packet of 1,400 octets.
const MAX_PAYLOAD_BYTES: usize = 1_400 - Header::LEN;
/// A payload is no shorter, however small a client wants its packets.
const LEAST_PAYLOAD_BYTES: usize = 200;
const SCALES: std::ops::RangeInclusive<f64> = 0.125..=32.0;
const SPEEDS: std::ops::RangeInclusive<f64> = 0.1..=10.0;
/// How soon what is being recorded is looked at again.
pub(super) const REFRESH: Duration = Duration::from_secs(1);

impl Player {
    /// For one session. Sources, sequence numbers and timestamps are drawn (RFC 3550 §5.1); all tracks are sent.
    pub fn new(timeline: Timeline, rng: &mut Rng) -> Self {
        let told = timeline.told();
        Self::with_told(timeline, told, rng)
    }

    /// The same for a session that was set up for what a publisher describes: its tracks, by the places and the payload types
    /// that it knows. What was recorded in other encodings, or with other configurations, is passed over.
    pub fn as_described(timeline: Timeline, described: &Description, rng: &mut Rng) -> Self {
        let told = timeline.told_as(described);
        Self::with_told(timeline, told, rng)
    }

    fn with_told(timeline: Timeline, told: Vec<Told>, rng: &mut Rng) -> Self {
        let sender = |told: &Told| {
            let timestamp = rng.u32();
            Sender {
                payload_type: told.payload_type,
                clock_rate_hz: told.clock_rate_hz,
                is_video: told.is_video,
                is_enabled: true,
                packing: told.packing(),
                ssrc: rng.u32(),
                sequence: rng.u32() as u16,
                first_timestamp: timestamp,
                marks: true,
                entry: Entry::default(),
            }
        };
        let senders = told.iter().map(sender).collect();
        Player {
            timeline,
            told,
            senders,
            max_payload_bytes: MAX_PAYLOAD_BYTES,
            now: Instant::ZERO,
            began: None,
            mode: Mode::Ready(None),
            plan: Plan {
                unit: Unit::Npt,
                start_ns: 0,
                end_ns: None,
                scale: 1.0,
                speed: 1.0,
                tells_scale: false,
                tells_speed: false,
                starts: None,
            },
            pace: Pace {
                at: Instant::ZERO,
                position_ns: 0,
                rtp_ns: 0,
                scale: 1.0,
                speed: 1.0,
            },
            earlier: Vec::new(),
            opened: None,
            asked: None,
            reads: 0,
            queue: VecDeque::new(),
            queue_bytes: 0,
            sent_until_ns: 0,
            made_until_ns: 0,
            beyond_ns: 0,
            made_to_ns: 0,
            made_at: Instant::ZERO,
            joining: None,
            busy_until: Instant::ZERO,
            is_unfinished: false,
            outputs: VecDeque::new(),
        }
    }

    /// What is played.
    pub fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    /// A track's source.
    pub fn ssrc(&self, track: usize) -> Option<u32> {
        self.senders.get(track).map(|sender| sender.ssrc)
    }

    /// Whether packets are on their way.
    pub fn is_playing(&self) -> bool {
        !matches!(self.mode, Mode::Ready(_) | Mode::Paused { .. })
    }

    /// Whether it is known where they begin, so that [`timestamp_at`](Player::timestamp_at) means something.
    pub fn has_begun(&self) -> bool {
        self.is_playing() && !matches!(self.mode, Mode::Seeking(_))
    }

    /// How long packets may be, their header included: what a client asked for as Blocksize (RFC 2326 §12.7), at most 1,400.
    pub fn set_blocksize(&mut self, bytes: usize) {
        let payload = bytes.saturating_sub(Header::LEN);
        self.max_payload_bytes = payload.clamp(LEAST_PAYLOAD_BYTES, MAX_PAYLOAD_BYTES);
    }

    /// Plays; [`Event::Played`] or [`Event::Refused`] is the answer, once what is needed for it has been read. While it plays,
    /// a command without a range and with the same scale and speed changes nothing and is answered too (RFC 2326 §10.5). What
    /// plays goes on after a range that is refused. Whether it leaves what was played before, so that what of it is not sent
    /// yet is not to be.
    pub fn play(&mut self, now: Instant, play: Play) -> bool {
        self.now = now;
        // What was on the way to where it begins goes on with that.
        let sought = self.mode.sought().cloned();
        let (stopped_ns, is_playing) = (self.position_ns(), self.is_playing());
        if sought.is_some() {
            if is_playing {
                self.refuse(PlayError::Interrupted);
            }
            self.mode = Mode::Ready(stopped_ns);
        }
        let is_active = !matches!(self.mode, Mode::Ready(_));
        // What has come to the end of its range has paused (RFC 2326 §10.5), and goes on as it was: with its scale and speed. What
        // begins anew, or elsewhere, has the usual ones unless others are asked for.
        //= https://www.rfc-editor.org/rfc/rfc2326#section-12.34
        let (old_scale, old_speed) = if play.range.is_none() && (is_active || stopped_ns.is_some()) {
            (self.plan.scale, self.plan.speed)
        } else {
            (1.0, 1.0)
        };
        let scale = self.scale_for(play.scale.unwrap_or(old_scale));
        let asked = match Asked::read(play.range.as_ref(), &self.timeline, scale < 0.0) {
            Ok(asked) => asked,
            Err(error) => return self.decline(error),
        };
        let speed = within(play.speed.unwrap_or(old_speed), SPEEDS);
        let goes_on = is_active && play.range.is_none();
        let is_of_old = play.range.is_none() && (is_active || sought.is_some());
        let (unit, end_ns) = if is_of_old {
            (self.plan.unit, self.plan.end_ns)
        } else {
            (asked.unit, asked.end_ns)
        };
        let is_same = scale == self.plan.scale && speed == self.plan.speed;
        let is_unchanged = is_of_old && is_same && is_playing;
        let from_ns = asked.start_ns.or(stopped_ns);
        let from_ns = from_ns.unwrap_or(if scale < 0.0 { self.timeline.end_ns() } else { 0 });
        let place = match goes_on && is_same {
            true => None,
            false => match self.place_of(from_ns, end_ns, scale < 0.0) {
                Ok(place) => Some(place),
                Err(error) => return self.decline(error),
            },
        };
        self.plan = Plan {
            unit,
            start_ns: self.plan.start_ns,
            end_ns,
            scale,
            speed,
            tells_scale: play.scale.is_some() || scale != 1.0,
            tells_speed: play.speed.is_some() || speed != 1.0,
            // What waits for its time goes on waiting.
            starts: play.starts.or(self.plan.starts.filter(|_| is_unchanged)),
        };
        let Some((piece, at_ns)) = place else {
            self.go_on();
            return false;
        };
        let is_anew = !(is_of_old && is_same && sought.is_some());
        self.clear();
        self.plan.start_ns = at_ns;
        let mut seek = Seek::new(piece, at_ns, true);
        seek.before = match play.range.map(|range| range.spec) {
            Some(RangeSpec::Clock { start, end }) => Some((start, end)),
            Some(_) => None,
            None => sought.and_then(|sought| sought.before),
        };
        seek.before = seek.before.filter(|_| scale < 0.0);
        self.mode = Mode::Seeking(seek);
        self.advance();
        is_anew
    }

    /// Whether a range could be played now, as far as nothing is to be read for that.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, play: &Play) -> Result<(), PlayError> {
        let is_backwards = self.is_backwards(play);
        let asked = Asked::read(play.range.as_ref(), &self.timeline, is_backwards)?;
        let Some(start_ns) = asked.start_ns else {
            return Ok(());
        };
        self.place_of(start_ns, asked.end_ns, is_backwards).map(drop)
    }

    /// Stops: at once, or when it comes to the range's start, which must be in what is played now. What has passed it stops at
    /// once too, and goes on from there (RFC 2326 §10.6).
    pub fn pause(&mut self, now: Instant, range: Option<&Range>) -> Result<Paused, PlayError> {
        self.now = now;
        let position_ns = self.position_ns().unwrap_or(0);
        let unit = self.plan.unit;
        if let Some(range) = range {
            let asked = Asked::read(Some(range), &self.timeline, false)?;
            let point_ns = match range.spec {
                // Of what was recorded twice it is what is played next.
                RangeSpec::Clock { start, .. } => {
                    let at = self.timeline.clock_from(position_ns);
                    self.timeline.until_clock(position_ns, at, start)
                }
                _ => asked.start_ns.unwrap_or(position_ns),
            };
            let is_backwards = self.pace.is_backwards();
            if !self.plays_to(point_ns) {
                return Err(PlayError::NotPlayed);
            }
            let is_ahead = match is_backwards {
                true => point_ns < position_ns,
                false => point_ns > position_ns,
            };
            if !is_ahead && point_ns != position_ns && self.is_playing() {
                self.clear();
                self.mode = Mode::Ready(Some(point_ns));
                return Ok(Paused {
                    range: asked.unit.range(&self.timeline, point_ns, None),
                    is_at_once: true,
                });
            }
            if is_ahead && self.is_playing() {
                self.plan.end_ns = Some(point_ns);
                self.cut_queue(point_ns);
                self.advance();
                return Ok(Paused {
                    range: asked.unit.range(&self.timeline, point_ns, None),
                    is_at_once: false,
                });
            }
        }
        if self.is_playing() {
            if self.mode.sought().is_some() {
                let refused = Event::Refused(PlayError::Interrupted);
                self.outputs.push_back(Output::Event(refused));
            }
            let then = std::mem::replace(&mut self.mode, Mode::Ready(None));
            //= https://www.rfc-editor.org/rfc/rfc2326#section-12.29
            // What waits for its time has come no further when it comes, and waits for it no more.
            let starts = self.plan.starts.unwrap_or(now);
            self.mode = Mode::Paused {
                since: starts.max(now),
                then: Box::new(then),
            };
        }
        Ok(Paused {
            range: unit.range(&self.timeline, position_ns, None),
            is_at_once: true,
        })
    }

    /// The octets of a read; fewer than were asked for are all there are.
    pub fn handle_data(&mut self, now: Instant, id: ReadId, octets: Bytes) {
        self.now = now;
        if let Some((_, purpose, range)) = self.asked.take_if(|(asked, ..)| *asked == id) {
            self.take_octets(purpose, &range, octets);
            self.advance();
        }
    }

    /// A read has failed: the file ends there.
    pub fn handle_failed(&mut self, now: Instant, id: ReadId, reason: &str) {
        self.now = now;
        if let Some((_, purpose, range)) = self.asked.take_if(|(asked, ..)| *asked == id) {
            if let Some(opened) = &mut self.opened {
                opened.reading.fail(reason);
            }
            self.take_octets(purpose, &range, Bytes::new());
            self.advance();
        }
    }

    /// What there is now; the answer to [`Output::Refresh`], and welcome at any time. It must be of the same folder.
    pub fn handle_timeline(&mut self, now: Instant, timeline: Timeline) {
        self.now = now;
        self.replace_timeline(timeline);
        self.advance();
    }

    /// A deadline has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        self.advance();
    }

    /// What is next; to be drained until it says [`Output::Timeout`].
    pub fn poll_output(&mut self) -> Output {
        if let Some(output) = self.outputs.pop_front() {
            return output;
        }
        let is_paused = matches!(self.mode, Mode::Paused { .. });
        if !is_paused && self.queue.front().is_some_and(|queued| queued.at <= self.now) {
            let packet = self.release();
            // There is room for more.
            self.advance();
            return packet;
        }
        if matches!(self.mode, Mode::Ending(at) if at <= self.now) {
            self.sent_until_ns = self.made_until_ns;
            self.mode = Mode::Ready(Some(self.plan.end_ns.unwrap_or(self.made_to_ns)));
            return Output::Event(Event::Ended);
        }
        Output::Timeout(self.deadline().filter(|_| !is_paused))
    }

    fn deadline(&self) -> Option<Instant> {
        let end = match &self.mode {
            Mode::Ending(at) => Some(*at),
            Mode::Awaiting(_, again) => *again,
            _ => None,
        };
        let unfinished = self.is_unfinished.then_some(self.now);
        let packet = self.queue.front().map(|queued| queued.at);
        [end, unfinished, packet].into_iter().flatten().min()
    }

    fn release(&mut self) -> Output {
        let Some(queued) = self.queue.pop_front() else {
            return Output::Timeout(None);
        };
        self.queue_bytes -= queued.payload.len();
        self.sent_until_ns = self.sent_until_ns.max(queued.until_ns);
        let sender = &mut self.senders[queued.sender];
        let header = Header {
            marker: queued.marker,
            payload_type: sender.payload_type,
            sequence: sender.sequence,
            timestamp: queued.timestamp,
            ssrc: sender.ssrc,
        };
        sender.sequence = sender.sequence.wrapping_add(1);
        let mut bytes = Vec::new();
        header.write(&queued.payload, &mut bytes);
        Output::Packet {
            track: queued.sender,
            bytes: bytes.into(),
        }
    }

    /// Nothing becomes of a command, and what plays goes on.
    fn decline(&mut self, error: PlayError) -> bool {
        self.outputs.push_back(Output::Event(Event::Refused(error)));
        false
    }

    pub(super) fn refuse(&mut self, error: PlayError) {
        self.clear();
        self.mode = Mode::Ready(None);
        self.outputs.push_back(Output::Event(Event::Refused(error)));
    }

    pub(super) fn refuse_nothing(&mut self) {
        self.refuse(PlayError::Nothing);
    }

    /// The scale that is played for one that was asked for: without pictures, there is only the usual one.
    fn scale_for(&self, asked: f64) -> f64 {
        let has_pictures = self
            .senders
            .iter()
            .any(|sender| sender.is_video && sender.is_enabled);
        if !has_pictures || !asked.is_finite() || asked == 0.0 {
            return 1.0;
        }
        within(asked.abs(), SCALES).copysign(asked)
    }

    /// Whether what waits to be played will be played backwards.
    pub(super) fn is_backwards(&self, waiting: &Play) -> bool {
        self.scale_for(waiting.scale.unwrap_or(1.0)) < 0.0
    }

    /// What is next to be sent, or was to be when it stopped.
    fn position_ns(&self) -> Option<i64> {
        if let Some(sought) = self.mode.sought() {
            return Some(sought.at_ns);
        }
        let now = match &self.mode {
            Mode::Ready(position) => {
                let is_backwards = self.plan.scale < 0.0;
                let has_more = |at: &i64| *at < self.timeline.end_ns() && (!is_backwards || *at > 0);
                return position.filter(has_more);
            }
            Mode::Paused { since, .. } => *since,
            _ => self.now,
        };
        let position = self.waits_from().unwrap_or_else(|| self.position_at(now));
        Some(position.clamp(0, self.timeline.end_ns().max(0)))
    }

    /// Where what waits begins: pictures that are shown later may be decoded, and sent, before.
    pub(super) fn waits_from(&self) -> Option<i64> {
        let positions = self.queue.iter().map(|queued| queued.position_ns);
        match self.plan.scale < 0.0 {
            true => positions.max(),
            false => positions.min(),
        }
    }

    /// What waits is other than it was.
    pub(super) fn count_queue(&mut self) {
        self.queue_bytes = self.queue.iter().map(|queued| queued.payload.len()).sum();
    }

    fn clear(&mut self) {
        self.earlier.clear();
        self.queue.clear();
        self.queue_bytes = 0;
        self.busy_until = self.now;
        self.made_until_ns = self.sent_until_ns;
        self.asked = None;
        self.is_unfinished = false;
        self.joining = None;
        for sender in &mut self.senders {
            sender.entry = Entry::default();
        }
    }

    /// Goes on after a pause, or says how it plays.
    fn go_on(&mut self) {
        if let Mode::Paused { since, .. } = self.mode {
            let starts = self.plan.starts.unwrap_or(self.now).max(self.now);
            self.shift(since, starts);
            self.began = self.began.map(|began| began.min(starts));
            if let Mode::Paused { then, .. } = std::mem::replace(&mut self.mode, Mode::Ready(None)) {
                self.mode = *then;
            }
        }
        if self.join() {
            return;
        }
        let position_ns = self.position_ns().unwrap_or(0);
        let played = self.played(position_ns);
        self.outputs.push_back(Output::Event(Event::Played(played)));
        self.advance();
    }

    /// What was to be sent at one time is sent at another, and so is all behind it, with the timestamps of then.
    fn shift(&mut self, from: Instant, to: Instant) {
        let has_begun = self.earlier.first().unwrap_or(&self.pace).at < from;
        let moved = |at: Instant| at + to.since(from) - from.since(to);
        let by_ns = ns(to.since(from)) - ns(from.since(to));
        // Before anything of it was sent it may not come before what was.
        let least_ns = match has_begun {
            true => i64::MIN,
            false => self.sent_until_ns - self.pace.rtp_ns,
        };
        let by_ns = by_ns.max(least_ns);
        for pace in self.earlier.iter_mut().chain([&mut self.pace]) {
            pace.at = moved(pace.at);
            pace.rtp_ns = pace.rtp_ns.saturating_add(by_ns);
        }
        (self.busy_until, self.made_at) = (moved(self.busy_until), moved(self.made_at));
        self.made_until_ns = self.made_until_ns.saturating_add(by_ns);
        self.beyond_ns = self.beyond_ns.saturating_add(by_ns);
        for sender in &mut self.senders {
            sender.marks = true;
        }
        for queued in &mut self.queue {
            let later = ticks(by_ns, self.senders[queued.sender].clock_rate_hz);
            queued.at = moved(queued.at);
            queued.timestamp = queued.timestamp.wrapping_add(later as u32);
            queued.until_ns = queued.until_ns.saturating_add(by_ns);
        }
        if let Mode::Paused { then, .. } = &mut self.mode
            && let Mode::Ending(at) = then.as_mut()
        {
            *at = moved(*at);
        }
    }

    /// Asks for octets of the file that is open.
    pub(super) fn ask(&mut self, purpose: Purpose, range: std::ops::Range<u64>) {
        let Some(opened) = &self.opened else { return };
        self.reads += 1;
        let id = ReadId(self.reads);
        self.asked = Some((id, purpose, range.clone()));
        let file = opened.file.clone();
        self.outputs.push_back(Output::Read { id, file, range });
    }
}

fn within(value: f64, bounds: std::ops::RangeInclusive<f64>) -> f64 {
    if value.is_finite() {
        value.clamp(*bounds.start(), *bounds.end())
    } else {
        1.0
    }
}
