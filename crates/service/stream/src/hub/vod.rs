//! What is not live: files, folders and recordings, played to one session at a time.
//!
//! What there is of a mount is read into a [`Catalog`] when somebody asks for it first, and kept for a while. A session plays
//! by a [`Player`] of its own; what that wants to read is asked of the rest of the server.

use super::paths::Tracks;
use super::plane::{Answered, Pending, Plane};
use super::session::{Outgoing, Session};
use super::subject::Subject;
use super::{Ask, Event, Order, QuestionId, SessionKey, Timer};
use crate::mount::MountName;
use crate::playback::{self, Catalog, CatalogOutput, Player, ReadId, Timeline};
use bytes::Bytes;
use ringpost_base::{Instant, UnixTime, limits};
use ringpost_rtp::rtcp::{self, CNAME};
use ringpost_rtsp::Status;
use ringpost_rtsp::header::{Npt, Range, RangeSpec};
use ringpost_rtsp::server::{self, Answer};
use ringpost_sdp::{Attribute, Origin};
use ringpost_store::{FileInfo, FileName};
use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// A catalog is looked at again when it is older than this and somebody asks.
const FRESH: Duration = Duration::from_secs(2);
/// The time between two sender reports of what is played (RFC 3550 §6.2: the least).
const REPORTS: Duration = Duration::from_secs(5);

/// What a mount has that is not live.
#[derive(Debug)]
pub(crate) struct Shelf {
    catalog: Catalog,
    state: State,
    /// When it was listed last.
    listed: Instant,
    used: Instant,
    waiting: Vec<Waiting>,
    composition: Composition,
    described: Described,
}

/// What was described last.
#[derive(Debug, Default)]
struct Described {
    /// A sum of it.
    sum: Option<u64>,
    version: u64,
}

impl Described {
    /// The version of what is described now: it increases when that has become another.
    //= https://www.rfc-editor.org/rfc/rfc8866#section-5.2
    fn handle(&mut self, wallclock: UnixTime, description: &str) -> u64 {
        let sum = Some(sum_of(&description));
        if self.sum != sum {
            self.version = (wallclock.to_ntp() >> 32).max(self.version + 1);
            self.sum = sum;
        }
        self.version
    }
}

fn sum_of(what: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

/// Which files there are, and since when it has been known that they are those.
#[derive(Debug, Default)]
struct Composition {
    /// A sum of their names and sizes.
    sum: Option<u64>,
    since: Option<UnixTime>,
}

impl Composition {
    /// These files there are now. Of one file its own date says all; of several any may have gone before they were looked at
    /// first.
    fn handle(&mut self, wallclock: UnixTime, files: &[FileInfo]) {
        let mut hasher = DefaultHasher::new();
        for file in files {
            (file.name.name(), file.size_bytes).hash(&mut hasher);
        }
        let sum = Some(hasher.finish());
        let is_other = self.sum.is_some() && self.sum != sum;
        if is_other || (self.sum.is_none() && files.len() > 1) {
            self.since = Some(wallclock);
        }
        self.sum = sum;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Listing,
    Reading,
    Ready,
}

/// Who waits for a shelf.
#[derive(Debug)]
pub(crate) enum Waiting {
    /// DESCRIBE, from our address. With a base, control attributes are absolute.
    Describe {
        pending: Pending,
        local: std::net::IpAddr,
        base: Option<ringpost_rtsp::Url>,
    },
    /// SETUP.
    Setup {
        pending: Pending,
        ends: super::Ends,
        setup: Box<server::Setup>,
    },
    /// PLAY.
    Play {
        pending: Pending,
        play: Box<server::Play>,
    },
    /// A player that has come to the end of what is being recorded.
    Refresh(SessionKey),
    /// GET_PARAMETER of what is recorded.
    Ranges(Pending),
}

/// What a session plays that is not live.
#[derive(Debug)]
pub(crate) struct Playing {
    pub(crate) player: Player,
    /// The PLAY that waits for its answer, and the tracks that it is about.
    pending: Option<(Pending, Tracks)>,
    session: server::SessionId,
    /// Those that come after what plays now (RFC 2326 §10.5).
    queued: VecDeque<(playback::Play, Tracks)>,
    cname: String,
    /// Packets and payload octets of each track.
    sent: Vec<(u32, u32)>,
    report_at: Instant,
}

/// What a question of a shelf or a player was.
#[derive(Debug)]
pub(crate) enum Wanted {
    List(MountName),
    Scan(MountName),
    Octets(SessionKey, ReadId),
}

impl Shelf {
    /// When what there is was modified last, if that is over.
    fn modified(&self) -> Option<UnixTime> {
        let modified = self.catalog.modified()?;
        Some(
            self.composition
                .since
                .map_or(modified, |since| modified.max(since)),
        )
    }
}

impl Plane {
    /// What there is of a mount that is not live, read as soon as it can be; whoever waits is answered then.
    pub(crate) fn look_up_shelf(
        &mut self,
        now: Instant,
        mount: &MountName,
        waiting: Waiting,
    ) -> Option<Answered> {
        if let Some(shelf) = self.shelves.get_mut(mount) {
            shelf.used = now;
            if shelf.state == State::Ready && now.since(shelf.listed) < FRESH {
                return self.answer_from_shelf(now, mount, waiting);
            }
            shelf.waiting.push(waiting);
            if shelf.state == State::Ready {
                shelf.state = State::Listing;
                self.ask_for_list(mount);
            }
            return None;
        }
        let shelf = Shelf {
            catalog: Catalog::recordings(),
            state: State::Listing,
            listed: now,
            used: now,
            waiting: vec![waiting],
            composition: Composition::default(),
            described: Described::default(),
        };
        self.shelves.insert(mount.clone(), shelf);
        self.ask_for_list(mount);
        None
    }

    /// Keeps a shelf that has been read, for which the one that was used longest ago makes way, unless there is nothing on it.
    fn keep_shelf(&mut self, mount: &MountName) {
        let shelf = self.shelves.get(mount);
        if shelf.is_some_and(|shelf| shelf.waiting.is_empty() && shelf.catalog.is_empty()) {
            self.shelves.remove(mount);
        }
        let read = self
            .shelves
            .iter()
            .filter(|(_, shelf)| shelf.state == State::Ready);
        if read.clone().count() > limits::SHELVES
            && let Some((oldest, _)) = read.min_by_key(|(_, shelf)| shelf.used)
        {
            let oldest = oldest.clone();
            self.shelves.remove(&oldest);
        }
    }

    fn ask_for_list(&mut self, mount: &MountName) {
        let id = self.ask_about(Ask::List { mount: mount.clone() });
        self.wanted.insert(id, Wanted::List(mount.clone()));
    }

    /// The files of a mount; `None` when there is nothing of that name. `is_playlist`: played one behind the other.
    pub(crate) fn handle_files(
        &mut self,
        now: Instant,
        id: QuestionId,
        files: Option<(bool, Vec<FileInfo>)>,
    ) -> Vec<Answered> {
        let Some(Wanted::List(mount)) = self.wanted.remove(&id) else {
            return Vec::new();
        };
        let wallclock = self.wallclock(now);
        let Some(shelf) = self.shelves.get_mut(&mount) else {
            return Vec::new();
        };
        match files {
            Some((is_playlist, files)) => {
                if is_playlist != shelf.catalog.is_playlist() {
                    shelf.catalog = match is_playlist {
                        true => Catalog::playlist(),
                        false => Catalog::recordings(),
                    };
                }
                shelf.composition.handle(wallclock, &files);
                shelf.catalog.handle_list(files);
            }
            None => shelf.catalog = Catalog::recordings(),
        }
        (shelf.state, shelf.listed) = (State::Reading, now);
        self.read_on(now, &mount)
    }

    /// The octets that a catalog or a player wanted; the error says why there are none.
    pub(crate) fn handle_octets(
        &mut self,
        now: Instant,
        id: QuestionId,
        octets: Result<Bytes, String>,
    ) -> Vec<Answered> {
        match self.wanted.remove(&id) {
            Some(Wanted::Scan(mount)) => {
                if let Some(shelf) = self.shelves.get_mut(&mount) {
                    match octets {
                        Ok(octets) => shelf.catalog.handle_data(octets),
                        Err(why) => shelf.catalog.handle_failed(&why),
                    }
                }
                self.read_on(now, &mount)
            }
            Some(Wanted::Octets(key, read)) => {
                let playing = self.playing_mut(key);
                match (playing, octets) {
                    (Some(playing), Ok(octets)) => playing.player.handle_data(now, read, octets),
                    (Some(playing), Err(why)) => playing.player.handle_failed(now, read, &why),
                    (None, _) => {}
                }
                self.flush_player(now, key).into_iter().collect()
            }
            Some(Wanted::List(_)) | None => Vec::new(),
        }
    }

    /// Lets a catalog read what it needs, and answers those who wait once it has all.
    fn read_on(&mut self, now: Instant, mount: &MountName) -> Vec<Answered> {
        loop {
            let Some(shelf) = self.shelves.get_mut(mount) else {
                return Vec::new();
            };
            match shelf.catalog.poll_output() {
                CatalogOutput::Read { file, range } => {
                    let mount = mount.clone();
                    let ask = Ask::Read {
                        mount: mount.clone(),
                        file,
                        range,
                    };
                    let id = self.ask_about(ask);
                    self.wanted.insert(id, Wanted::Scan(mount));
                    return Vec::new();
                }
                CatalogOutput::Damaged { file, error } => {
                    let (mount, why) = (mount.clone(), error.to_string());
                    self.tell_damaged(mount, file, why);
                }
                CatalogOutput::Ready => break,
            }
        }
        let Some(shelf) = self.shelves.get_mut(mount) else {
            return Vec::new();
        };
        shelf.state = State::Ready;
        let waiting = std::mem::take(&mut shelf.waiting);
        let answered = waiting.into_iter();
        let answered = answered
            .filter_map(|waiting| self.answer_from_shelf(now, mount, waiting))
            .collect();
        self.keep_shelf(mount);
        answered
    }

    fn tell_damaged(&mut self, mount: MountName, file: FileName, why: String) {
        let file = file.to_string();
        self.tell(Event::Damaged { mount, file, why });
    }

    fn answer_from_shelf(&mut self, now: Instant, mount: &MountName, waiting: Waiting) -> Option<Answered> {
        let shelf = self.shelves.get(mount)?;
        let (timeline, modified) = (shelf.catalog.timeline(), shelf.modified());
        let refused = |status: Status| Answer::Refused(status.into());
        if let Waiting::Describe { pending, base, .. } = &waiting {
            let subject = timeline.as_ref().ok().map(Subject::of_stored);
            self.note_described(pending.connection, mount, subject, base.is_some());
        }
        let (pending, answer) = match (waiting, timeline) {
            (Waiting::Refresh(key), timeline) => {
                if let (Some(playing), Ok(timeline)) = (self.playing_mut(key), timeline) {
                    playing.player.handle_timeline(now, timeline);
                }
                return self.flush_player(now, key);
            }
            (Waiting::Describe { pending, .. }, Err(_)) => (pending, refused(Status::NOT_FOUND)),
            (Waiting::Setup { pending, .. }, Err(_)) => (pending, refused(Status::NOT_FOUND)),
            //= https://www.rfc-editor.org/rfc/rfc2326#section-11.3.8
            (Waiting::Play { pending, .. }, Err(_)) => (pending, refused(Status::INVALID_RANGE)),
            (Waiting::Ranges(pending), timeline) => {
                let ranges = timeline.map_or(Vec::new(), |timeline| clock_ranges(&timeline));
                let body = format!("{RANGES}: {}\r\n", ranges.join(", "));
                (pending, Answer::Parameters(body.into()))
            }
            (Waiting::Describe { pending, local, base }, Ok(timeline)) => {
                let description = timeline.description(mount.as_str());
                // Where the gaps are, for who knows to look.
                let ranges = clock_ranges(&timeline).into_iter().take(limits::RANGES_DESCRIBED);
                let ranges: Vec<Attribute> = ranges
                    .map(|range| Attribute::Other {
                        name: "recorded".into(),
                        value: Some(range),
                    })
                    .collect();
                let number = self.number ^ (sum_of(&mount.as_str()) >> 1);
                let origin = super::live::origin(number, local);
                let write = |origin, base| {
                    let mut session = description.write(origin, Some(&extent(&timeline)), base);
                    session.attributes.extend(ranges.iter().cloned());
                    session
                };
                // Whoever asks, and however: what differs by that is no other version.
                let any = super::live::origin(number, std::net::Ipv4Addr::UNSPECIFIED.into());
                let plain = write(any, None).to_string();
                let wallclock = self.wallclock(now);
                let described = self.shelves.get_mut(mount).map(|shelf| &mut shelf.described);
                let version = described.map_or(number, |described| described.handle(wallclock, &plain));
                let description = write(Origin { version, ..origin }, base.as_ref())
                    .to_string()
                    .into();
                let answer = match modified {
                    Some(modified) => Answer::DatedDescription {
                        description,
                        modified,
                    },
                    None => Answer::Description(description),
                };
                (pending, answer)
            }
            //= https://www.rfc-editor.org/rfc/rfc2326#section-12.23
            (Waiting::Setup { pending, setup, .. }, Ok(_))
                if modified.is_some_and(|modified| Some(modified) <= setup.modified_since) =>
            {
                (pending, refused(Status::NOT_MODIFIED))
            }
            (Waiting::Setup { pending, ends, setup }, Ok(timeline)) => {
                let Pending { connection, question } = pending;
                let known = self.stored_subject_of(connection, &setup);
                let subject = known.unwrap_or_else(|| Subject::of_stored(&timeline));
                let tracks = subject.tracks();
                let pending = Pending { connection, question };
                let answer = self.set_up_for(now, pending, ends, *setup, (Some(subject), tracks))?;
                return Some(Answered {
                    connection,
                    question,
                    answer,
                });
            }
            (Waiting::Play { pending, play }, Ok(timeline)) => {
                return self.play_from(now, pending, &play, timeline);
            }
        };
        let Pending { connection, question } = pending;
        Some(Answered {
            connection,
            question,
            answer,
        })
    }

    /// A session plays what is not live: from now on by a player of its own.
    fn play_from(
        &mut self,
        now: Instant,
        pending: Pending,
        play: &server::Play,
        timeline: Timeline,
    ) -> Option<Answered> {
        let key = self.by_id.get(&play.session).copied()?;
        let wallclock = self.wallclock(now);
        let (cname, mut rng) = (self.rng.token(16), self.rng.fork());
        let session = self.sessions.get_mut(&key)?;
        let mount = self.names.get(&session.mount).copied();
        let reader = session.reader_mut()?;
        // What was live for it until now is not any more.
        let left = reader.cursor.take();
        let was_live = left.is_some();
        reader.left = left.or(reader.left.take());
        let live = mount.and_then(|mount| self.live.get_mut(&mount));
        if let Some(live) = live.filter(|_| was_live) {
            live.remove_reader(key);
        }
        let playing = match &mut reader.played {
            Some(playing) => {
                // What was recorded since can be played too.
                playing.player.handle_timeline(now, timeline);
                playing
            }
            None => reader.played.insert(Box::new(Playing {
                player: reader.subject.player(timeline, &mut rng),
                pending: None,
                session: play.session.clone(),
                queued: VecDeque::new(),
                cname,
                sent: Vec::new(),
                report_at: now,
            })),
        };
        let starts = play.range.and_then(|range| range.time);
        let wanted = playback::Play {
            range: play.range,
            scale: play.scale,
            speed: play.speed,
            starts: starts.map(|at| now + at.since(wallclock)),
        };
        if play.is_queued && playing.player.is_playing() {
            let Pending { connection, question } = pending;
            let answer = match playing.player.check(&wanted) {
                Ok(()) => {
                    playing.queue(wanted, &play.tracks);
                    Answer::Played(Box::new(server::Played {
                        range: play.range,
                        scale: play.scale,
                        speed: play.speed,
                        begins: Vec::new(),
                    }))
                }
                Err(error) => not_played(error),
            };
            return Some(Answered {
                connection,
                question,
                answer,
            });
        }
        // What has paused or come to its end goes on as it is asked for.
        if !playing.player.is_playing() && !was_live {
            reader.playing = Tracks::default();
        }
        reader.playing.extend(play.tracks.iter().copied());
        playing.player.set_tracks(&reader.playing.list());
        let mut of = Tracks::default();
        of.extend(play.tracks.iter().copied());
        let before = playing.pending.replace((pending, of));
        debug_assert!(before.is_none(), "a connection asks one thing at a time");
        if playing.player.play(now, wanted) {
            reader.ahead.clear();
            playing.queued.clear();
        }
        self.flush_player(now, key)
    }

    pub(crate) fn playing_mut(&mut self, key: SessionKey) -> Option<&mut Playing> {
        let reader = self.sessions.get_mut(&key).and_then(Session::reader_mut)?;
        reader.played.as_deref_mut()
    }

    /// A session's player is to have its time.
    pub(crate) fn handle_player_timeout(&mut self, now: Instant, key: SessionKey) -> Option<Answered> {
        let is_full = self.is_full(key);
        if let Some(playing) = self.playing_mut(key).filter(|_| !is_full) {
            playing.player.handle_timeout(now);
        }
        self.flush_player(now, key)
    }

    /// Whether so much waits for a reader that nothing more is made for it.
    fn is_full(&self, key: SessionKey) -> bool {
        let reader = self.sessions.get(&key).and_then(Session::reader);
        reader.is_some_and(|reader| reader.ahead.len() >= limits::READER_AHEAD_PACKETS)
    }

    /// Carries out what a session's player wants.
    pub(crate) fn flush_player(&mut self, now: Instant, key: SessionKey) -> Option<Answered> {
        let mut answered = None;
        let deadline = loop {
            if self.is_full(key) {
                break None;
            }
            let session = self.sessions.get_mut(&key)?;
            let mount = session.mount.clone();
            let reader = session.reader_mut()?;
            let playing = reader.played.as_deref_mut()?;
            match playing.player.poll_output() {
                playback::Output::Packet { track, bytes } => {
                    playing.count(track, &bytes);
                    let is_rtcp = false;
                    reader.ahead.push_back(Outgoing {
                        track,
                        is_rtcp,
                        bytes,
                    });
                    self.make_ready(key);
                }
                playback::Output::Read { id, file, range } => {
                    let question = self.ask_about(Ask::Read { mount, file, range });
                    self.wanted.insert(question, Wanted::Octets(key, id));
                }
                playback::Output::Refresh => {
                    let more = self.look_up_shelf(now, &mount, Waiting::Refresh(key));
                    answered = answered.or(more);
                }
                playback::Output::Event(event) => {
                    let more = self.handle_player_event(now, key, mount, event);
                    answered = answered.or(more);
                }
                playback::Output::Timeout(at) => break at,
            }
        };
        self.report_played(now, key);
        let report = self.playing_mut(key).filter(|playing| playing.player.has_begun());
        let report = report.map(|playing| playing.report_at);
        let deadline = deadline.into_iter().chain(report).min();
        self.set_timer(Timer::Player(key), deadline.map(|at| at.max(now)));
        answered
    }

    fn handle_player_event(
        &mut self,
        now: Instant,
        key: SessionKey,
        mount: MountName,
        event: playback::Event,
    ) -> Option<Answered> {
        let connection = self.sessions.get(&key).and_then(|session| session.connection);
        let reader = self.sessions.get(&key).and_then(Session::reader)?;
        let tracks = reader.playing.list();
        let playing = self.playing_mut(key)?;
        // What was queued was answered then (RFC 2326 §10.5): it is over, unless something else takes its place.
        let event = match event {
            playback::Event::Refused(playback::PlayError::Interrupted) => return None,
            playback::Event::Refused(_) if playing.pending.is_none() => playback::Event::Ended,
            event => event,
        };
        match event {
            //= https://www.rfc-editor.org/rfc/rfc2326#section-12.33
            playback::Event::Played(mut played) => {
                let (Pending { connection, question }, of) = playing.pending.take()?;
                played.begins.retain(|(track, ..)| of.contains(*track));
                Some(Answered {
                    connection,
                    question,
                    answer: Answer::Played(Box::new(played)),
                })
            }
            playback::Event::Refused(error) => {
                let (Pending { connection, question }, _) = playing.pending.take()?;
                Some(Answered {
                    connection,
                    question,
                    answer: not_played(error),
                })
            }
            playback::Event::Jumped(_) => None,
            playback::Event::Ended => {
                let (session, next) = (playing.session.clone(), playing.queued.pop_front());
                match next {
                    Some((next, tracks)) => {
                        playing.player.set_tracks(&tracks.list());
                        playing.player.play(now, next);
                        let reader = self.sessions.get_mut(&key).and_then(Session::reader_mut);
                        if let Some(reader) = reader {
                            reader.playing = tracks;
                        }
                    }
                    None => self.push_reports(now, key, true),
                }
                if let Some(connection) = connection {
                    self.order(connection, Order::PlayEnded(session, tracks));
                }
                None
            }
            playback::Event::Damaged { file, error } => {
                self.tell_damaged(mount, file, error.to_string());
                None
            }
        }
    }

    /// Reports on what a session plays, when it is time.
    fn report_played(&mut self, now: Instant, key: SessionKey) {
        // Before it has begun a report would name a time that no packet has.
        let playing = self.playing_mut(key);
        if let Some(playing) =
            playing.filter(|playing| playing.player.has_begun() && playing.report_at <= now)
        {
            playing.report_at = now + REPORTS;
            self.push_reports(now, key, false);
        }
    }

    /// Puts a report of each track that plays before the reader, with RTCP's goodbye behind it when what plays has come to its
    /// end: players that know no other sign take it for that.
    fn push_reports(&mut self, now: Instant, key: SessionKey, is_bye: bool) {
        let wallclock = self.wallclock(now);
        let Some(reader) = self.sessions.get_mut(&key).and_then(Session::reader_mut) else {
            return;
        };
        let Some(playing) = reader.played.as_deref_mut() else {
            return;
        };
        for track in reader.playing.iter() {
            if let Some(bytes) = playing.report(now, wallclock, track, is_bye) {
                let is_rtcp = true;
                reader.ahead.push_back(Outgoing {
                    track,
                    is_rtcp,
                    bytes,
                });
            }
        }
        self.make_ready(key);
    }
}

/// The parameter that tells what is recorded of a mount: ranges of the clock, between which there are gaps.
pub(crate) const RANGES: &str = "recorded-ranges";

/// From where to where a timeline goes, as players know it that seek by normal play time alone.
fn extent(timeline: &Timeline) -> Range {
    let spec = RangeSpec::Npt {
        start: Some(Npt::At(Duration::ZERO)),
        end: (!timeline.is_open()).then(|| Npt::At(timeline.length())),
    };
    Range { spec, time: None }
}

/// The answer to a PLAY of which nothing becomes.
fn not_played(error: playback::PlayError) -> Answer {
    let status = match error {
        playback::PlayError::Nothing => Status::NOT_FOUND,
        playback::PlayError::Empty
        | playback::PlayError::NotPlayed
        | playback::PlayError::NoClock
        | playback::PlayError::Interrupted => Status::INVALID_RANGE,
    };
    Answer::Refused(server::Refusal {
        body: format!("{error}\r\n").into(),
        ..status.into()
    })
}

/// The parts of a recording without a gap, by the clock.
fn clock_ranges(timeline: &Timeline) -> Vec<String> {
    let ranges = timeline.clock_ranges().into_iter();
    let ranges = ranges.map(|range| RangeSpec::Clock {
        start: range.start,
        end: Some(range.end),
    });
    ranges
        .map(|spec| Range { spec, time: None }.to_string())
        .collect()
}

impl Playing {
    /// Stops, at once or at the range's start, which may be in what waits to be played; what comes behind that is forgotten.
    //= https://www.rfc-editor.org/rfc/rfc2326#section-10.6
    pub(crate) fn pause(
        &mut self,
        now: Instant,
        range: Option<&Range>,
    ) -> Result<playback::Paused, playback::PlayError> {
        let paused = self.player.pause(now, range);
        let (Err(playback::PlayError::NotPlayed), Some(range)) = (&paused, range) else {
            if paused.is_ok() {
                self.queued.clear();
            }
            return paused;
        };
        for (index, (waiting, _)) in self.queued.iter_mut().enumerate() {
            if let Some(cut) = self.player.cut(waiting, range) {
                waiting.range = Some(cut);
                self.queued.truncate(index + 1);
                return Ok(playback::Paused {
                    range: *range,
                    is_at_once: false,
                });
            }
        }
        paused
    }

    /// Something comes after what plays now; tracks that are asked for one by one are played together.
    fn queue(&mut self, wanted: playback::Play, tracks: &[usize]) {
        if let Some((last, of)) = self.queued.back_mut()
            && *last == wanted
            && !tracks.iter().any(|track| of.contains(*track))
        {
            return of.extend(tracks.iter().copied());
        }
        let mut of = Tracks::default();
        of.extend(tracks.iter().copied());
        self.queued.push_back((wanted, of));
    }

    fn count(&mut self, track: usize, packet: &Bytes) {
        if self.sent.len() <= track {
            self.sent.resize(track + 1, (0, 0));
        }
        let (packets, octets) = &mut self.sent[track];
        *packets = packets.wrapping_add(1);
        *octets = octets.wrapping_add(packet.len().saturating_sub(ringpost_rtp::Header::LEN) as u32);
    }

    //= https://www.rfc-editor.org/rfc/rfc3550#section-6.4.1
    fn report(
        &self,
        now: Instant,
        wallclock: ringpost_base::UnixTime,
        track: usize,
        is_bye: bool,
    ) -> Option<Bytes> {
        let ssrc = self.player.ssrc(track)?;
        let (packets, octets) = self.sent.get(track).copied().unwrap_or_default();
        let mut out = Vec::with_capacity(64);
        let mut writer = rtcp::Writer::new(&mut out);
        let cname = [(CNAME, self.cname.as_bytes())];
        match self.player.timestamp_at(track, now) {
            Some(rtp_timestamp) => {
                let info = rtcp::SenderInfo {
                    ntp: wallclock.to_ntp(),
                    rtp_timestamp,
                    packets,
                    octets,
                };
                writer.sender_report(ssrc, info, &[]);
            }
            None if is_bye => {
                writer.receiver_report(ssrc, &[]);
            }
            None => return None,
        }
        writer.source_description(ssrc, &cname);
        if is_bye {
            writer.bye(&[ssrc], &[]);
        }
        Some(out.into())
    }
}
