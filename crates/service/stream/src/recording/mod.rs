//! Recordings of a mount: RTP packets in, files of fragmented MP4 out, without touching a disk.
//!
//! A [`Recorder`] is fed the packets of one publisher and says what to create, append and sync. A file lasts about ten minutes
//! and is called after when it began ([`file_name`]); a fragment of it lasts two seconds at most, begins with a key frame where
//! there is one in time, and is synced, so that a crash costs the open fragment and nothing before it. [`write_out`] joins one
//! with a writer of files.
//!
//! ```
//! use ringpost_base::{Instant, UnixTime};
//! use ringpost_rtp::Header;
//! use ringpost_sdp::SessionDescription;
//! use ringpost_store::{FolderName, Files, MemoryFiles};
//! use ringpost_stream::Description;
//! use ringpost_stream::recording::{Recorder, Settings, write_out};
//! use std::time::Duration;
//!
//! let sdp = b"v=0\r\no=- 0 0 IN IP4 192.0.2.1\r\ns=Door\r\nt=0 0\r\nm=audio 0 RTP/AVP 0\r\n";
//! let (description, _) = Description::read(&SessionDescription::parse(sdp).unwrap()).unwrap();
//! let mut recorder = Recorder::new(&description, Settings::default()).unwrap();
//! let files = MemoryFiles::new(|| UnixTime::from_secs(1_795_747_980));
//! let (door, mut writer) = ("door".parse::<FolderName>().unwrap(), files.writer());
//! for n in 0..500_u32 {
//!     let now = Instant::ZERO + Duration::from_millis(20) * n;
//!     let mut packet = Vec::new();
//!     Header { sequence: n as u16, timestamp: 160 * n, ..Header::default() }.write(&[0xff; 160], &mut packet);
//!     let wallclock = UnixTime::from_secs(1_795_747_980) + Duration::from_millis(20) * n;
//!     recorder.handle_packet(now, 0, &packet.into(), wallclock);
//!     write_out(&mut recorder, now, &door, writer.as_mut(), |_event| {});
//! }
//! assert_eq!(recorder.recorded_fragments(), 4);
//! ```

mod clock;
pub mod fuzz;
mod name;
mod parts;
#[cfg(test)]
pub(crate) mod tests;
mod track;
mod types;
mod writing;

pub use name::{began, file_name};
pub use types::{Event, Output, RecorderError, Settings, State};
pub use writing::write_out;

use crate::Description;
use crate::file::{FileTrack, FileWriter, Run};
use bytes::Bytes;
use clock::Said;
use parts::{Drained, File, Previous};
use ringpost_base::{Instant, UnixTime, limits};
use ringpost_rtp::Packet;
use std::collections::VecDeque;
use std::time::Duration;
use track::{Track, Unit};

/// Makes files of what a mount's publisher sends.
///
/// The first track with pictures leads: files begin with its key frames, and fragments where they can; without pictures a
/// track of sound does, and so it does where no key frame has come within [`PATIENCE`]. An encoder that refreshes its pictures
/// little by little and never sends a key frame is begun with anywhere after that time, if its parameter sets are known: a
/// decoder has a whole picture before long. Another file begins with the first key frame after [`Settings::segment`] or
/// [`Settings::segment_bytes`], where parameter sets change, where timestamps jump or leave out more than three seconds, where
/// nothing has come for half a minute, where timestamps are said to be of another time, and
/// where tracks have drifted apart, since each is placed by the wall's clock when its file begins and counted by its timestamps
/// from there on. Files of one recorder are called in the order in which they were written, whatever the wall's clock does.
///
/// It holds at most [`limits::RECORDING_FRAGMENT_BYTES`] of an open fragment: a longer one is closed before its time.
#[derive(Debug)]
pub struct Recorder {
    settings: Settings,
    /// `None`: left out.
    tracks: Vec<Option<Track>>,
    lead: usize,
    file: Option<File>,
    /// The file before it, until the first fragment of this one: sound comes later than the pictures that begin a file.
    previous: Option<Previous>,
    /// When the first packet came that no file is open for.
    waiting_since: Option<Instant>,
    /// When the first unit of the open fragment came.
    opened: Option<Instant>,
    open_bytes: usize,
    open_samples: usize,
    /// When the last packet came.
    heard: Instant,
    /// The number of the lead's last unit.
    lead_number: Option<i64>,
    /// Another file is to begin with the next key frame.
    is_renewed: bool,
    /// The last file's name, in milliseconds since 1970.
    last_name_ms: u64,
    /// Not before then, since writing has failed.
    retry_at: Option<Instant>,
    backoff: Duration,
    recorded: u64,
    lost: u64,
    /// A fragment was handed out, and is not followed by anything yet.
    is_handed_out: bool,
    /// Whole fragments that were handed out the last time that all was: they may be written later, and refused then.
    drained: Drained,
    outputs: VecDeque<Output>,
}

/// How long a picture to begin with is waited for.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// How long it is where a file is open, so that a long group of pictures is not cut in two.
const MORE_PATIENCE: Duration = Duration::from_secs(60);
/// How much later than its length a fragment is closed when nothing comes that would close it.
const GRACE: Duration = Duration::from_millis(500);
/// How long a file stays open when nothing comes: as long as a network that has stood still may make up for it, since what goes
/// on then begins with no key picture.
const IDLE: Duration = Duration::from_secs(30);
/// What the lead's units may be apart within a file, but for pictures that go on from those before them.
const GAP_NS: i64 = 3_000_000_000;
/// How far the tracks of a file may drift from the wall's clock.
const DRIFT_NS: i64 = 100_000_000;
/// How much of the tracks that do not lead is kept for a file to begin with.
const EARLY_NS: i64 = 2_000_000_000;
/// How long nothing is begun after a file could not be written; doubled each time. A try costs one fragment, and each second more
/// is one that is not recorded although there is room again.
const BACKOFF: Duration = Duration::from_secs(5);
const MOST_BACKOFF: Duration = Duration::from_secs(20);

impl Recorder {
    /// For what a publisher describes. The tracks that are left out are told as events.
    pub fn new(description: &Description, settings: Settings) -> Result<Self, RecorderError> {
        let tracks: Vec<Option<Track>> = description
            .tracks
            .iter()
            .map(|track| Track::new(track.codec()))
            .collect();
        let names = description
            .tracks
            .iter()
            .map(|track| track.codec().name.to_string());
        let Some(lead) = first_lead(&tracks) else {
            let found = names.collect::<Vec<_>>().join(", ");
            return Err(RecorderError::NoTracks { found });
        };
        let left_out = tracks.iter().zip(names).enumerate();
        let outputs = left_out
            .filter(|(_, (track, _))| track.is_none())
            .map(|(index, (_, encoding))| {
                let reason = "no file holds it, or its description lacks what a decoder needs";
                Output::Event(Event::LeftOut {
                    track: index,
                    encoding,
                    reason: reason.into(),
                })
            })
            .collect();
        Ok(Recorder {
            settings,
            tracks,
            lead,
            file: None,
            previous: None,
            waiting_since: None,
            opened: None,
            open_bytes: 0,
            open_samples: 0,
            heard: Instant::ZERO,
            lead_number: None,
            is_renewed: false,
            last_name_ms: 0,
            retry_at: None,
            backoff: BACKOFF,
            recorded: 0,
            lost: 0,
            is_handed_out: false,
            drained: Drained::default(),
            outputs,
        })
    }

    /// What another recorder of the mount has called its last file by: those of this one come behind it.
    pub(crate) fn follow(&mut self, last: UnixTime) {
        self.last_name_ms = self.last_name_ms.max(last.as_millis());
    }

    /// How long a file is, from now on.
    pub(crate) fn set_segment_bytes(&mut self, segment_bytes: Option<u64>) {
        self.settings.segment_bytes = segment_bytes;
    }

    /// Fragments that were handed out to be written.
    pub fn recorded_fragments(&self) -> u64 {
        self.recorded
    }

    /// Fragments that could not be written.
    pub fn lost_fragments(&self) -> u64 {
        self.lost
    }

    /// Octets of the open fragment, and of what came early for the next.
    pub fn pending_bytes(&self) -> usize {
        let pending = self.tracks.iter().flatten().flat_map(|track| &track.pending);
        pending.map(|unit| unit.bytes).sum()
    }

    /// A packet of a track, in order; `wallclock` is when what it holds happened. Packets of other payload types than the
    /// track's first, and what is no RTP, are passed over.
    pub fn handle_packet(&mut self, now: Instant, track: usize, packet: &Bytes, wallclock: UnixTime) {
        let (Some(Some(of)), Ok(packet)) = (self.tracks.get_mut(track), Packet::parse(packet)) else {
            return;
        };
        if packet.payload_type() != of.payload_type {
            return;
        }
        self.heard = now;
        if self.file.is_none() {
            self.waiting_since.get_or_insert(now);
        }
        match of.handle_packet(&packet, wallclock) {
            Said::Expected => {}
            Said::Moved => self.is_renewed |= self.file.is_some(),
            Said::Contradiction => self.break_off(),
        }
        self.take_units(now, track);
        self.choose_lead(now);
    }

    /// What was handed in of a track with this timestamp happened at another time than was said: another file begins with the
    /// next key frame.
    pub fn handle_time(&mut self, track: usize, timestamp: u32, wallclock: UnixTime) {
        let of = self.tracks.get_mut(track).and_then(Option::as_mut);
        if of.is_some_and(|of| of.handle_time(timestamp, wallclock)) {
            self.is_renewed |= self.file.is_some();
        }
    }

    /// The publisher has gone: what has come of it is closed, and another may follow.
    pub fn handle_gap(&mut self, now: Instant) {
        self.finish(now);
        self.tracks.iter_mut().flatten().for_each(Track::reset);
        self.lead = first_lead(&self.tracks).unwrap_or(self.lead);
        self.waiting_since = None;
    }

    /// Something that was handed out last was not taken by the writer, or something before it has failed
    /// ([`FileRefusal`](ringpost_store::FileRefusal)): the file ends there, and another begins with a key frame after a while.
    pub fn handle_refused(&mut self, now: Instant) {
        let is_fragment = |output: &&Output| matches!(output, Output::Sync);
        let queued = self.outputs.iter().filter(is_fragment).count() as u64;
        // A fragment is whole once it is synced.
        let fragments = match self.drained.is_over {
            true => std::mem::take(&mut self.drained.fragments),
            false => queued + u64::from(self.is_handed_out && queued == 0),
        };
        let is_known = self.file.is_none() && self.retry_at.is_some_and(|at| now < at);
        if fragments == 0 && queued == 0 && is_known {
            // It belongs to what was refused before.
            return;
        }
        self.is_handed_out = false;
        self.outputs.retain(|output| matches!(output, Output::Event(_)));
        self.lost += fragments;
        self.recorded -= fragments.min(self.recorded);
        if fragments > 0 {
            self.outputs
                .push_back(Output::Event(Event::Dropped { fragments }));
        }
        (self.file, self.previous) = (None, None);
        self.clear_pending();
        self.retry_at = Some(now + self.backoff);
        self.backoff = (self.backoff * 2).min(MOST_BACKOFF);
    }

    /// A deadline has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.fragment_deadline().is_some_and(|at| now >= at) {
            self.close_fragment(now, None, None);
        }
        if self.opened.is_none() && self.file.is_some() && now >= self.heard + IDLE {
            self.close_file();
        }
    }

    /// Ends the recording: what is there is written.
    pub fn finish(&mut self, now: Instant) {
        for track in 0..self.tracks.len() {
            if let Some(of) = &mut self.tracks[track] {
                of.end();
            }
            self.take_units(now, track);
        }
        self.break_off();
    }

    /// What is next; to be drained until it says [`Output::Timeout`].
    pub fn poll_output(&mut self) -> Output {
        match self.outputs.pop_front() {
            Some(output) => {
                self.is_handed_out = matches!(output, Output::Append(_) | Output::Sync);
                if !matches!(output, Output::Event(_)) && std::mem::take(&mut self.drained.is_over) {
                    self.drained.fragments = 0;
                }
                self.drained.fragments += u64::from(output == Output::Sync);
                output
            }
            None => {
                self.is_handed_out = false;
                self.drained.is_over = true;
                Output::Timeout(self.deadline())
            }
        }
    }

    /// When [`handle_timeout`](Recorder::handle_timeout) is due. It moves on or goes with each: what is waited for without a file
    /// comes with a packet.
    pub fn deadline(&self) -> Option<Instant> {
        let idle = self.file.is_some().then(|| self.heard + IDLE);
        self.fragment_deadline().or(idle)
    }

    /// How it stands.
    pub fn state(&self, now: Instant) -> State {
        match (&self.file, self.retry_at.filter(|at| now < *at)) {
            (_, Some(at)) => State::Failing {
                retry_in: at.since(now),
            },
            (Some(_), None) => State::Writing,
            (None, None) => State::Waiting,
        }
    }

    fn fragment_deadline(&self) -> Option<Instant> {
        let opened = self.opened.filter(|_| self.file.is_some());
        opened.map(|opened| opened + self.settings.fragment + GRACE)
    }

    fn clear_pending(&mut self) {
        for track in self.tracks.iter_mut().flatten() {
            track.pending.clear();
            track.anchor = None;
        }
        self.opened = None;
        (self.open_bytes, self.open_samples) = (0, 0);
    }

    /// Closes all there is: what comes next has nothing to do with it.
    fn break_off(&mut self) {
        self.close_fragment(self.heard, None, None);
        self.close_file();
        self.clear_pending();
        self.lead_number = None;
    }

    /// Lets another track lead where the one that should has nothing to begin with.
    fn choose_lead(&mut self, now: Instant) {
        let is_late = self.waiting_since.is_some_and(|since| now >= since + PATIENCE);
        if self.file.is_some() || !is_late || self.retry_at.is_some_and(|at| now < at) {
            return;
        }
        // Any picture will do in a moment.
        let lead = self.tracks[self.lead].as_ref();
        if lead.is_some_and(|lead| lead.may_begin_by(now, PATIENCE)) {
            return;
        }
        let can_lead = |(index, track): &(usize, &Option<Track>)| {
            let has_come = |track: &Track| track.format.is_some() && !track.pending.is_empty();
            *index != self.lead && track.as_ref().is_some_and(has_come)
        };
        if let Some((index, _)) = self.tracks.iter().enumerate().find(can_lead) {
            self.lead = index;
            self.lead_number = None;
            self.clear_pending();
        }
    }

    fn take_units(&mut self, now: Instant, track: usize) {
        loop {
            let patience = if self.file.is_some() && track == self.lead {
                MORE_PATIENCE
            } else {
                PATIENCE
            };
            let next = self.tracks[track].as_mut().and_then(|of| of.unit(now, patience));
            let Some(unit) = next else { return };
            if track == self.lead {
                self.lead_unit(now, unit);
            } else {
                self.other_unit(now, track, unit);
            }
        }
    }

    fn lead_unit(&mut self, now: Instant, mut unit: Unit) {
        let lead = self.lead;
        let before = self.lead_number.replace(unit.number);
        let since_ns = before
            .zip(self.tracks[lead].as_ref())
            .map(|(before, track)| track.clock.to_ns(unit.number - before));
        if since_ns.is_some_and(|since_ns| since_ns > GAP_NS) {
            self.close_fragment(now, None, None);
            // Pictures that are made of those before them are kept with these.
            if unit.is_begin || unit.follows_loss {
                self.close_file();
            }
            self.is_renewed = self.file.is_some();
        }
        let next = Some((unit.number, unit.wall_ns));
        let in_file_ns = self.in_file_ns(lead, &unit);
        let elapsed_ns = in_file_ns - self.fragment_began_ns().unwrap_or(in_file_ns);
        let fragment_ns = ns(self.settings.fragment);
        let segment_ns = ns(self.settings.segment);
        let open_bytes = self.open_bytes as u64;
        let most_bytes = self.settings.segment_bytes.unwrap_or(u64::MAX);
        let is_over =
            |file: &File| in_file_ns - file.began_ns >= segment_ns || file.bytes + open_bytes >= most_bytes;
        let is_other = self.is_renewed || self.file.as_ref().is_none_or(is_over) || unit.changes.is_some();
        let begins = unit.is_key || (unit.is_begin && is_other);
        if !begins {
            self.note_changes(lead, &mut unit);
            if self.file.is_none() {
                return;
            }
            if elapsed_ns >= fragment_ns {
                self.close_fragment(now, Some(in_file_ns), next);
            }
            return self.push(now, lead, unit);
        }
        // The first picture that really needs no other has a file of its own.
        let is_keyless = |file: &File| file.is_keyless && unit.is_key;
        if is_other || self.file.as_ref().is_some_and(is_keyless) {
            self.close_fragment(now, Some(in_file_ns), next);
            self.leave_file();
            if let (Some(format), Some(track)) = (unit.changes.take(), &mut self.tracks[lead]) {
                track.format = Some(format);
            }
            if !self.begin_file(now, unit.wall_ns) {
                return self.close_file();
            }
            if let Some(file) = &mut self.file {
                file.is_keyless = !unit.is_key && self.tracks[lead].as_ref().is_some_and(Track::is_video);
            }
        } else if elapsed_ns >= fragment_ns / if self.is_video(lead) { 2 } else { 1 } {
            self.close_fragment(now, Some(in_file_ns), next);
        }
        self.push(now, lead, unit);
    }

    /// Parameter sets that come without a key frame hold from some picture on: the next file begins with them.
    fn note_changes(&mut self, track: usize, unit: &mut Unit) {
        if let (Some(format), Some(track)) = (unit.changes.take(), &mut self.tracks[track]) {
            // Sets say in the band too what the pictures behind them are; sound is what the file's header says, and nothing else.
            track.is_other = !track.is_video() && track.format.is_some();
            track.format = Some(format);
            self.is_renewed = true;
        }
    }

    fn other_unit(&mut self, now: Instant, track: usize, mut unit: Unit) {
        let is_led_by_sound = !self.is_video(self.lead);
        self.note_changes(track, &mut unit);
        let Some(of) = &mut self.tracks[track] else { return };
        // Pictures lead as soon as there is one to begin with.
        if unit.is_begin && of.is_video() && of.format.is_some() && is_led_by_sound {
            (self.lead, self.is_renewed) = (track, true);
            self.lead_number = None;
            return self.lead_unit(now, unit);
        }
        let Some(file) = &self.file else {
            let early = unit.wall_ns - EARLY_NS;
            while of.pending.front().is_some_and(|unit| unit.wall_ns < early)
                || of.pending.len() >= limits::RECORDING_FRAGMENT_SAMPLES / limits::MOUNT_TRACKS
            {
                of.pending.pop_front();
            }
            return of.pending.push_back(unit);
        };
        let in_file_ns = of.wall_in_file(&unit, file.began_ns);
        if in_file_ns < file.began_ns {
            if let Some(previous) = &mut self.previous {
                previous.note_late(track, unit);
            }
            return;
        }
        let is_first = of.anchor.is_none() && of.pending.is_empty();
        if !file.tracks.contains(&track) || of.is_other || (is_first && !unit.is_begin) {
            return;
        }
        // Where the lead has stopped, the others close its fragments.
        let end_ns = self
            .fragment_began_ns()
            .map(|began| began + ns(self.settings.fragment));
        if end_ns.is_some_and(|end| in_file_ns >= end + ns(GRACE)) {
            self.close_fragment(now, end_ns, None);
        }
        self.push(now, track, unit);
    }

    fn is_video(&self, track: usize) -> bool {
        self.tracks[track].as_ref().is_some_and(Track::is_video)
    }

    /// When a unit happened, as the open file counts.
    fn in_file_ns(&self, track: usize, unit: &Unit) -> i64 {
        match (&self.file, &self.tracks[track]) {
            (Some(file), Some(track)) => track.wall_in_file(unit, file.began_ns),
            _ => unit.wall_ns,
        }
    }

    /// When the first unit of the open fragment happened: the lead's, if it has one.
    fn fragment_began_ns(&self) -> Option<i64> {
        let file = self.file.as_ref()?;
        let first = |track: &usize| {
            let track = self.tracks[*track].as_ref()?;
            let first = track.pending.front()?;
            Some(track.wall_in_file(first, file.began_ns))
        };
        first(&self.lead).or_else(|| file.tracks.iter().filter_map(first).min())
    }

    fn push(&mut self, now: Instant, track: usize, unit: Unit) {
        let Some(of) = &mut self.tracks[track] else { return };
        let bytes = unit.bytes;
        if let Some(file) = &self.file {
            // It is counted from there on.
            let _ = of.time_of(unit.number, unit.wall_ns, file.began_ns);
        }
        of.pending.push_back(unit);
        self.opened.get_or_insert(now);
        self.open_bytes += bytes;
        self.open_samples += 1;
        let is_long = self.open_samples >= limits::RECORDING_FRAGMENT_SAMPLES;
        if is_long || self.open_bytes > limits::RECORDING_FRAGMENT_BYTES {
            self.close_fragment(now, None, None);
        }
    }

    /// Begins a file with the lead's unit of this time; false where that cannot be.
    fn begin_file(&mut self, now: Instant, wall_ns: i64) -> bool {
        if self.retry_at.is_some_and(|at| now < at) {
            return false;
        }
        let began = UnixTime::from_nanos(wall_ns.max(0) as u64);
        self.leave_out_unwritable(began);
        let mut tracks = Vec::new();
        let mut formats = Vec::new();
        for (index, track) in self.tracks.iter_mut().enumerate() {
            let Some(track) = track else { continue };
            track.anchor = None;
            track.is_other = false;
            track.place_pending();
            let is_early = |unit: &mut Unit| unit.wall_ns < wall_ns || !unit.is_begin;
            while let Some(unit) = track.pending.pop_front_if(is_early) {
                // By its count it was none of the file before, and by the wall's clock it is.
                if let Some(previous) = self.previous.as_mut().filter(|_| unit.wall_ns < wall_ns) {
                    previous.note_late(index, unit);
                }
            }
            if let Some(format) = track.format.clone() {
                tracks.push(index);
                let clock_rate_hz = track.clock_rate_hz;
                formats.push(FileTrack {
                    format,
                    clock_rate_hz,
                });
            }
        }
        if !tracks.contains(&self.lead) {
            self.lead = first_lead(&self.tracks).unwrap_or(self.lead);
            return false;
        }
        let Ok((writer, header)) = FileWriter::new(&formats, began) else {
            return false;
        };
        self.file = Some(File {
            writer,
            header: Some(header.into()),
            began_ns: wall_ns,
            tracks,
            fragments: 0,
            bytes: 0,
            is_keyless: false,
        });
        self.waiting_since = None;
        self.is_renewed = false;
        true
    }

    /// Lets go of tracks whose parameter sets cannot be read.
    fn leave_out_unwritable(&mut self, began: UnixTime) {
        for (index, track) in self.tracks.iter_mut().enumerate() {
            let Some((format, clock_rate_hz)) = track
                .as_ref()
                .and_then(|track| Some((track.format.clone()?, track.clock_rate_hz)))
            else {
                continue;
            };
            let alone = FileTrack {
                format,
                clock_rate_hz,
            };
            if let Err(error) = FileWriter::new(&[alone], began) {
                let encoding = track.take().map(|track| track.name).unwrap_or_default();
                self.outputs.push_back(Output::Event(Event::LeftOut {
                    track: index,
                    encoding,
                    reason: error.to_string(),
                }));
            }
        }
    }

    /// Writes the open fragment: of the lead all there is, of the others what happened before `cut_ns`. `next` is the lead's
    /// unit that follows.
    fn close_fragment(&mut self, now: Instant, cut_ns: Option<i64>, next: Option<(i64, i64)>) {
        let Some(file) = &mut self.file else { return };
        let mut order = file.tracks.clone();
        order.sort_by_key(|track| *track != self.lead);
        let mut runs = Vec::new();
        let mut wallclock = None;
        for index in order {
            let Some(track) = &mut self.tracks[index] else {
                continue;
            };
            let cut_ns = cut_ns.filter(|_| index != self.lead).unwrap_or(i64::MAX);
            let mut samples = Vec::new();
            let mut last = None;
            while let Some(first) = track.pending.front()
                && track.wall_in_file(first, file.began_ns) < cut_ns
                && let Some(unit) = track.pending.pop_front()
            {
                let Some(time) = track.time_of(unit.number, unit.wall_ns, file.began_ns) else {
                    continue;
                };
                last = Some(unit.number);
                let since_began = track.clock.to_ns(time as i64);
                wallclock.get_or_insert(file.began_ns + since_began);
                samples.push(unit.into_sample(time));
            }
            let Some(last) = last else { continue };
            if let Some(first) = samples
                .first_mut()
                .filter(|_| file.is_keyless && index == self.lead)
            {
                // Players seek to nothing else.
                first.is_key = true;
            }
            self.is_renewed |= track.drift_ns(last, file.began_ns).abs() > DRIFT_NS;
            let follows = match index == self.lead {
                true => next,
                false => track.pending.front().map(|unit| (unit.number, unit.wall_ns)),
            };
            let end = follows.and_then(|(number, wall_ns)| track.time_of(number, wall_ns, file.began_ns));
            let place = file
                .tracks
                .iter()
                .position(|track| *track == index)
                .unwrap_or_default();
            runs.push(Run {
                track: place,
                samples,
                end,
            });
        }
        let left = self.tracks.iter().flatten().flat_map(|track| &track.pending);
        (self.open_bytes, self.open_samples) =
            left.fold((0, 0), |(bytes, samples), unit| (bytes + unit.bytes, samples + 1));
        self.opened = (self.open_samples > 0).then_some(now);
        let Some(wallclock) = wallclock else { return };
        let fragment = file
            .writer
            .fragment(UnixTime::from_nanos(wallclock.max(0) as u64), &runs);
        let header = file.header.take();
        file.fragments += 1;
        file.bytes += (header.as_ref().map_or(0, Bytes::len) + fragment.len()) as u64;
        if file.fragments > 2 {
            self.backoff = BACKOFF;
        }
        let began_ns = file.began_ns;
        if let Some(header) = header {
            self.close_previous();
            // Names are told apart by milliseconds, and tell which file came first.
            let ms = began_ns.max(0) as u64 / 1_000_000;
            let ms = ms.max(self.last_name_ms + 1);
            self.last_name_ms = ms;
            let name = file_name(UnixTime::from_nanos(ms * 1_000_000));
            self.outputs.push_back(Output::Create { name });
            self.outputs.push_back(Output::Append(header));
        }
        self.outputs.push_back(Output::Append(fragment.into()));
        self.outputs.push_back(Output::Sync);
        self.recorded += 1;
    }

    /// Ends the file, but for what is still to come of tracks that do not lead.
    fn leave_file(&mut self) {
        self.close_previous();
        let anchors = self.tracks.iter().map(|track| track.as_ref()?.anchor);
        let anchors: Vec<_> = anchors.collect();
        self.previous = self
            .file
            .take()
            .filter(|file| file.header.is_none())
            .map(|file| Previous {
                file,
                anchors,
                late: Vec::new(),
            });
        self.forget_file();
    }

    fn close_file(&mut self) {
        self.close_previous();
        if let Some(file) = self.file.take()
            && file.header.is_none()
        {
            self.outputs.push_back(Output::Close);
        }
        self.forget_file();
    }

    fn forget_file(&mut self) {
        for track in self.tracks.iter_mut().flatten() {
            track.anchor = None;
        }
        self.is_renewed = false;
    }

    /// Writes what came late for the file before, and closes it.
    fn close_previous(&mut self) {
        let Some(Previous {
            mut file,
            anchors,
            late,
        }) = self.previous.take()
        else {
            return;
        };
        let mut runs: Vec<Run> = Vec::new();
        let mut wallclock = None;
        for (index, unit) in late {
            let (Some((first, at)), Some(track)) = (anchors[index], &self.tracks[index]) else {
                continue;
            };
            let Ok(time) = u64::try_from(at + unit.number - first) else {
                continue;
            };
            wallclock.get_or_insert(file.began_ns + track.clock.to_ns(time as i64));
            let place = file
                .tracks
                .iter()
                .position(|track| *track == index)
                .unwrap_or_default();
            let sample = unit.into_sample(time);
            match runs.iter_mut().find(|run| run.track == place) {
                Some(run) => run.samples.push(sample),
                None => runs.push(Run {
                    track: place,
                    samples: vec![sample],
                    end: None,
                }),
            }
        }
        if let Some(wallclock) = wallclock {
            let fragment = file
                .writer
                .fragment(UnixTime::from_nanos(wallclock.max(0) as u64), &runs);
            self.outputs.push_back(Output::Append(fragment.into()));
            self.outputs.push_back(Output::Sync);
            self.recorded += 1;
        }
        self.outputs.push_back(Output::Close);
    }
}

/// The first track with pictures, or the first at all.
fn first_lead(tracks: &[Option<Track>]) -> Option<usize> {
    let is = |track: &Option<Track>| track.as_ref().is_some_and(Track::is_video);
    tracks
        .iter()
        .position(is)
        .or_else(|| tracks.iter().position(Option::is_some))
}

fn ns(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}
