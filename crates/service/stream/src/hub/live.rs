//! A mount that is live: what its publisher brings, and the ring that all readers share.

use super::ingest::{ClockOffset, Ingest, Steps};
use super::listen::ListenerId;
use super::patience::Patience;
use super::{Group, SessionKey};
use crate::description::Description;
use crate::mount::MountName;
use crate::recording::Recorder;
use crate::ring::{Cursor, Packet, Ring};
use bytes::Bytes;
use ringpost_base::{Instant, Rng, UnixTime, limits};
use ringpost_rtp::rtcp::{self, CNAME};
use ringpost_sdp::{Address, MediaKind, Origin, SessionDescription};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

/// How long packets of one picture are waited for before they go out to the readers together. What ends a picture ends the
/// wait: readers are served once for it, and not for each of its packets.
const GATHERING: Duration = Duration::from_millis(5);
/// A mount whose description has pictures and which has had sound alone for so long is one of sound: readers begin anywhere.
const PICTURELESS: Duration = Duration::from_secs(2);

/// A mount that is or was published to lately.
#[derive(Debug)]
pub(crate) struct Live {
    /// What it is called for as long as it is live.
    pub(crate) name: MountName,
    pub(crate) description: Arc<Description>,
    ring: Ring,
    ingests: Vec<Ingest>,
    offset: ClockOffset,
    steps: Steps,
    /// The session that publishes; `None` while nobody does, since when.
    pub(crate) publisher: Option<SessionKey>,
    pub(crate) vacant_since: Option<Instant>,
    /// Who is served, ascending.
    readers: Vec<SessionKey>,
    /// Who hears a track within the server, and what has come for them.
    pub(crate) listeners: Vec<(ListenerId, usize)>,
    pub(crate) heard_within: Vec<(ListenerId, Bytes)>,
    began: (Instant, UnixTime),
    number: u64,
    cname: String,
    /// When the readers are served with what has come.
    serve_at: Option<Instant>,
    report_at: Instant,
    rng: Rng,
    /// When sound came first without any picture since; `None` once a picture came.
    sound_since: Option<Instant>,
    has_pictures: bool,
    patience: Patience,
    /// Makes files of what comes, if they are wanted.
    pub(crate) recorder: Option<Recorder>,
    /// Octets that came.
    pub(crate) received_bytes: u64,
    /// When anything came last.
    pub(crate) heard: Instant,
}

impl Live {
    pub(crate) fn new(
        now: Instant,
        wallclock: UnixTime,
        name: MountName,
        description: Description,
        mut rng: Rng,
    ) -> Self {
        let ingests = description
            .tracks
            .iter()
            .map(|track| Ingest::new(track, &mut rng));
        let mut live = Live {
            name,
            ingests: ingests.collect(),
            has_pictures: has_pictures(&description),
            description: Arc::new(description),
            ring: Ring::new(),
            offset: ClockOffset::default(),
            steps: Steps::default(),
            publisher: None,
            vacant_since: None,
            readers: Vec::new(),
            listeners: Vec::new(),
            heard_within: Vec::new(),
            began: (now, wallclock),
            number: rng.u64() >> 1,
            cname: rng.token(16),
            serve_at: None,
            report_at: now,
            rng,
            sound_since: None,
            patience: Patience::default(),
            recorder: None,
            received_bytes: 0,
            heard: now,
        };
        live.draw_report(now, true);
        live
    }

    /// Another publisher begins, of the same tracks.
    pub(crate) fn restart(&mut self, publisher: SessionKey) {
        (self.publisher, self.vacant_since) = (Some(publisher), None);
        (self.offset, self.steps) = (ClockOffset::default(), Steps::default());
        self.sound_since = None;
        self.patience = Patience::default();
        self.ring.clear();
        self.ingests.iter_mut().for_each(Ingest::restart);
    }

    /// Whether a publisher of this description can take the place of the one before without the readers knowing, and who was
    /// told of this description can read.
    pub(crate) fn can_go_on_with(&self, description: &Description) -> bool {
        if std::ptr::eq(&raw const *self.description, description) {
            return true;
        }
        let tracks = self
            .description
            .tracks
            .iter()
            .map(|track| (&track.kind, &track.codecs));
        let others = description
            .tracks
            .iter()
            .map(|track| (&track.kind, &track.codecs));
        tracks.eq(others)
    }

    /// The session description for who asked at our address `local`.
    pub(crate) fn sdp(&self, local: IpAddr) -> Bytes {
        self.description
            .write(origin(self.number, local), None, None)
            .to_string()
            .into()
    }

    /// What is announced of the mount, which is sent to `group`, by us at `source`.
    pub(crate) fn announcement(&self, source: IpAddr, group: Group) -> SessionDescription {
        let origin = Origin {
            address: Address::Ip(source),
            ..origin(self.number, source)
        };
        self.description.write_group(origin, self.name.as_str(), &group)
    }

    fn wallclock(&self, now: Instant) -> UnixTime {
        self.began.1 + now.since(self.began.0)
    }

    /// An RTP packet of a track came from the publisher.
    pub(crate) fn handle_packet(&mut self, now: Instant, track: usize, bytes: Bytes) {
        let Some(ingest) = self.ingests.get_mut(track) else {
            return;
        };
        self.heard = now;
        self.received_bytes += bytes.len() as u64;
        ingest.handle_packet(now, bytes);
        self.gather(now, track);
    }

    /// The tracks whose timestamps turn out not to keep time with what comes; each is told once of each publisher.
    pub(crate) fn take_adrift(&mut self) -> Vec<usize> {
        let ingests = self.ingests.iter_mut().enumerate();
        ingests
            .filter_map(|(track, ingest)| ingest.take_adrift().then_some(track))
            .collect()
    }

    /// Brings what is in order into the ring.
    fn gather(&mut self, now: Instant, track: usize) {
        let wallclock = self.wallclock(now);
        let is_picture = is_picture(&self.description, track);
        while let Some(ingested) = self.ingests[track].poll((now, wallclock), &mut self.steps) {
            let has_moved =
                self.offset
                    .keep_time(&mut self.ingests, track, ingested.timestamp, (now, wallclock));
            if has_moved {
                self.tell_times();
            }
            if is_picture {
                self.sound_since = None;
            } else if self.has_pictures && self.ring.is_empty() {
                self.sound_since.get_or_insert(now);
            }
            let is_pictureless = self
                .sound_since
                .is_some_and(|since| now.since(since) >= PICTURELESS);
            if let Some(recorder) = &mut self.recorder {
                let happened = self.ingests[track].wallclock_at(ingested.timestamp);
                recorder.handle_packet(now, track, &ingested.bytes, happened.unwrap_or(wallclock));
            }
            let listeners = self.listeners.iter().filter(|(_, of)| *of == track);
            let heard = listeners.map(|(listener, _)| (*listener, ingested.bytes.clone()));
            self.heard_within.extend(heard);
            let is_entry = match is_picture {
                true => {
                    let (first, number) = (self.ring.first(), self.ring.end());
                    self.patience.is_entry(now, ingested.place, first, number)
                }
                false => !self.has_pictures || is_pictureless,
            };
            self.ring.push(Packet {
                track: track as u8,
                is_rtcp: false,
                is_entry,
                arrived: now,
                bytes: ingested.bytes,
            });
            let due = match is_picture && ingested.is_marked {
                true => now,
                false => now + GATHERING,
            };
            self.serve_at = Some(self.serve_at.map_or(due, |at| at.min(due)));
        }
    }

    /// Tells the recorder what time the tracks are of by now.
    fn tell_times(&mut self) {
        let Some(recorder) = &mut self.recorder else {
            return;
        };
        for (track, ingest) in self.ingests.iter().enumerate() {
            let newest = ingest.newest();
            if let Some((newest, at)) = newest.and_then(|newest| Some((newest, ingest.wallclock_at(newest)?)))
            {
                recorder.handle_time(track, newest, at);
            }
        }
    }

    /// A sender report of the publisher came.
    pub(crate) fn handle_report(&mut self, now: Instant, track: usize, ssrc: u32, info: rtcp::SenderInfo) {
        let ours = self.offset.handle_report(info.ntp, self.wallclock(now));
        if let Some(ingest) = self.ingests.get_mut(track) {
            ingest.handle_report(ssrc, info.rtp_timestamp, ours);
        }
    }

    /// When [`handle_timeout`](Live::handle_timeout) is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let waiting = self.ingests.iter().filter_map(Ingest::deadline);
        let report = self.publisher.map(|_| self.report_at);
        let recorder = self.recorder.as_ref().and_then(Recorder::deadline);
        waiting.chain(report).chain(self.serve_at).chain(recorder).min()
    }

    /// Gives up packets that are waited for in vain, and sends reports. Says whether the readers are to be served now.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> bool {
        for track in 0..self.ingests.len() {
            if self.ingests[track].deadline().is_some_and(|at| at <= now) {
                self.gather(now, track);
            }
        }
        if self.publisher.is_some() && self.report_at <= now {
            self.draw_report(now, false);
            self.report(now);
        }
        if let Some(recorder) = &mut self.recorder {
            recorder.handle_timeout(now);
        }
        let is_due = self.serve_at.is_some_and(|at| at <= now);
        if is_due {
            self.serve_at = None;
        }
        is_due
    }

    /// Puts a sender report of each track before the readers.
    fn report(&mut self, now: Instant) {
        for track in 0..self.ingests.len() {
            if let Some(bytes) = self.report_of(now, track) {
                self.ring.push(Packet {
                    track: track as u8,
                    is_rtcp: true,
                    is_entry: false,
                    arrived: now,
                    bytes,
                });
            }
        }
        self.serve_at = Some(now);
    }

    /// The sender report of a track as of now, once it has sent anything.
    //= https://www.rfc-editor.org/rfc/rfc3550#section-6.4.1
    pub(crate) fn report_of(&self, now: Instant, track: usize) -> Option<Bytes> {
        let ingest = self.ingests.get(track)?;
        let info = ingest.sender_info(self.wallclock(now))?;
        let mut out = Vec::with_capacity(64);
        rtcp::Writer::new(&mut out)
            .sender_report(ingest.ssrc(), info, &[])
            .source_description(ingest.ssrc(), &[(CNAME, self.cname.as_bytes())]);
        Some(out.into())
    }

    /// RTCP's goodbye of a track.
    pub(crate) fn bye_of(&self, now: Instant, track: usize) -> Option<Bytes> {
        let ingest = self.ingests.get(track)?;
        let mut out = self.report_of(now, track)?.to_vec();
        rtcp::Writer::new(&mut out).bye(&[ingest.ssrc()], &[]);
        Some(out.into())
    }

    /// Each reader has an RTP session of its own with two members, one of which sends.
    //= https://www.rfc-editor.org/rfc/rfc3550#section-6.3.1
    fn draw_report(&mut self, now: Instant, is_first: bool) {
        let least_s = if is_first { 2.5 } else { 5.0 };
        let compensation = std::f64::consts::E - 1.5;
        self.report_at = now + Duration::from_secs_f64(least_s * (self.rng.unit() + 0.5) / compensation);
    }

    /// A reader of these tracks begins, or goes on where it `left`: where, and the sequence number and timestamp that each
    /// track begins with, if that is known.
    pub(crate) fn join(
        &self,
        now: Instant,
        tracks: &[usize],
        left: Option<&Cursor>,
    ) -> (Cursor, Vec<(usize, u16, u32)>) {
        let wants_pictures = tracks.iter().any(|track| is_picture(&self.description, *track));
        let is_of_both = wants_pictures || !self.has_pictures;
        let cursor = match (is_of_both, left) {
            (true, None) => self.ring.join(),
            (false, None) => self.ring.join_anywhere(),
            (true, Some(left)) => self.ring.resume_with_pictures(left),
            (false, Some(left)) => self.ring.resume(left),
        };
        let begins = self.begins(now, &cursor, tracks);
        (cursor, begins)
    }

    /// The sequence number and timestamp that each track begins with for who reads from there on; of one that nothing has ever
    /// come of nothing is known.
    //= https://www.rfc-editor.org/rfc/rfc2326#section-12.33
    pub(crate) fn begins(&self, now: Instant, cursor: &Cursor, tracks: &[usize]) -> Vec<(usize, u16, u32)> {
        let begins = tracks
            .iter()
            .filter_map(|track| self.begin_of(now, cursor, *track));
        begins.collect()
    }

    fn begin_of(&self, now: Instant, cursor: &Cursor, track: usize) -> Option<(usize, u16, u32)> {
        let ingest = self.ingests.get(track)?;
        let first = self.ring.peek(cursor);
        let moment = first.filter(|first| !first.is_rtcp).and_then(|first| {
            let packet = ringpost_rtp::Packet::parse(&first.bytes).ok()?;
            let of = self.ingests.get(usize::from(first.track))?;
            of.wallclock_at(packet.timestamp())
        });
        let next = first.and_then(|_| self.ring.peek_track(cursor, track as u8));
        let sequence = match next {
            Some(packet) => ringpost_rtp::Packet::parse(&packet.bytes).ok()?.sequence(),
            None => ingest.next_sequence(),
        };
        let timestamp = moment.and_then(|moment| ingest.timestamp_at(moment));
        // Who has all that has come begins with what comes next.
        let timestamp = timestamp.or_else(|| ingest.next_timestamp((now, self.wallclock(now))))?;
        Some((track, sequence, timestamp))
    }

    /// The next packet for a reader.
    pub(crate) fn read(&self, cursor: &mut Cursor) -> Option<&Packet> {
        self.ring.read(cursor)
    }

    /// Who is served, ascending.
    pub(crate) fn readers(&self) -> &[SessionKey] {
        &self.readers
    }

    pub(crate) fn add_reader(&mut self, key: SessionKey) {
        if let Err(place) = self.readers.binary_search(&key) {
            self.readers.insert(place, key);
        }
    }

    pub(crate) fn remove_reader(&mut self, key: SessionKey) {
        if let Ok(place) = self.readers.binary_search(&key) {
            self.readers.remove(place);
        }
    }

    /// Packets that readers were given to read so far.
    pub(crate) fn pushed(&self) -> u64 {
        self.ring.end()
    }

    /// Packets that never came here.
    pub(crate) fn lost_packets(&self) -> u64 {
        self.ingests.iter().map(Ingest::lost_packets).sum()
    }

    /// The SSRC that readers know a track by.
    pub(crate) fn track_of(&self, ssrc: u32) -> Option<usize> {
        self.ingests.iter().position(|ingest| ingest.ssrc() == ssrc)
    }

    pub(crate) fn ssrc_of(&self, track: usize) -> Option<u32> {
        self.ingests.get(track).map(Ingest::ssrc)
    }

    /// The SSRC that the publisher sends a track with.
    pub(crate) fn source_of(&self, track: usize) -> Option<u32> {
        self.ingests.get(track)?.source_ssrc()
    }

    /// How long nobody has published; `None` while somebody does.
    pub(crate) fn vacant_for(&self, now: Instant) -> Option<Duration> {
        self.vacant_since.map(|since| now.since(since))
    }
}

/// The origin of descriptions that we write, with our address of no particular network.
pub(crate) fn origin(number: u64, local: IpAddr) -> Origin {
    let unspecified = match local {
        IpAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
    };
    Origin {
        username: "-".into(),
        session_id: number,
        version: number,
        address: Address::Ip(unspecified),
    }
}

fn is_picture(description: &Description, track: usize) -> bool {
    let track = description.tracks.get(track);
    track.is_some_and(|track| track.kind == MediaKind::Video)
}

fn has_pictures(description: &Description) -> bool {
    (0..description.tracks.len().min(limits::MOUNT_TRACKS)).any(|track| is_picture(description, track))
}
