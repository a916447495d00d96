use super::{FileTrack, Format, FormatError};
use mp4_atom::{Atom, FourCC, Moof, Moov, Mvex, Prft, Stbl, StszSamples, Traf};
use ringpost_base::{UnixTime, limits};
use std::borrow::Cow;
use std::ops::Range;
use thiserror::Error;

/// Why a file cannot be played.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FileError {
    /// It does not begin as an MP4 file does, or goes on with what is none.
    #[error("expected a box of MP4 at octet {at}, found {found}")]
    Box {
        /// Where.
        at: u64,
        /// What was wrong there.
        found: String,
    },
    /// Its tables are larger than they may be.
    #[error("expected at most {most} octets in the {kind} box at octet {at}, found {found}")]
    Large {
        /// Where.
        at: u64,
        /// The box's four characters.
        kind: String,
        /// The limit.
        most: u64,
        /// Its length.
        found: u64,
    },
    /// No header.
    #[error("the file has no moov box before its end")]
    NoHeader,
    /// No track that could be sent.
    #[error("the file has no track that can be sent: {reason}")]
    NoTracks {
        /// Why the first one cannot.
        reason: String,
    },
    /// A track that cannot be sent, or tables that contradict each other.
    #[error(transparent)]
    Format(#[from] FormatError),
}

/// Where a sample lies in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The track, counted from 0 among those of the [`Index`].
    pub track: usize,
    /// When it is decoded, in units of the track's clock since the file's beginning; before it for what only helps to decode.
    pub decoded: i64,
    /// When it is shown or heard.
    pub time: i64,
    /// How long it lasts.
    pub length: u32,
    /// Whether decoding may begin with it.
    pub is_key: bool,
    /// Its first octet in the file.
    pub offset: u64,
    /// Its octets.
    pub size_bytes: u32,
}

/// A fragment of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// When its first sample, of all tracks, happened, where the file says so.
    pub wallclock: Option<UnixTime>,
    /// The octets of its `moof`, which [`Index::samples`] reads.
    pub table: Range<u64>,
    /// When its first sample is shown, in nanoseconds since the file's beginning.
    pub begin_ns: i64,
    /// When its last sample ends.
    pub end_ns: i64,
    /// Whether it begins with a sample that decoding may begin with.
    pub is_key: bool,
    /// Where its `moof` begins, from which offsets count.
    at: u64,
}

/// What a file has.
#[derive(Clone, Debug, Default)]
pub struct Index {
    /// The tracks that can be sent, in the file's order.
    pub tracks: Vec<FileTrack>,
    /// The fragments of a recording, in the file's order; empty for a file that was written in one piece.
    pub fragments: Vec<Fragment>,
    /// The samples of a file that was written in one piece, in the order in which they are decoded.
    pub whole: Vec<Stored>,
    /// The number in the file of each track.
    ids: Vec<u32>,
    /// What the edit list of each track adds to its times.
    shifts: Vec<i64>,
    defaults: Vec<mp4_atom::Trex>,
}

/// The octets that a [`Scanner`] reads next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted(pub Range<u64>);

/// Finds out what a file has, by reading the headers of its boxes and the tables in them, and no media.
///
/// [`Scanner::wanted`] says which octets to hand to [`Scanner::handle`]; `None` is the end. A recording that was cut off in the
/// middle of a fragment ends with the fragment before.
#[derive(Debug)]
pub struct Scanner {
    at: u64,
    length: u64,
    /// The box whose header has been read and whose body is wanted.
    pending: Option<Pending>,
    /// What the next fragment says of its time.
    wallclock: Option<Prft>,
    has_header: bool,
    /// A box reaches beyond what there is of the file.
    is_cut: bool,
    index: Index,
    /// Where the last whole fragment ends: what comes behind it is not to be kept.
    whole_until: u64,
    open_fragment: Option<Fragment>,
}

#[derive(Debug)]
struct Pending {
    kind: FourCC,
    /// Where the box begins.
    at: u64,
    body: Range<u64>,
}

/// The octets of a box's header when its length needs 64 bits.
const LONG_HEADER: u64 = 16;
const SHORT_HEADER: u64 = 8;
const MOOV: FourCC = FourCC::new(b"moov");
const MOOF: FourCC = FourCC::new(b"moof");
const PRFT: FourCC = FourCC::new(b"prft");
const MDAT: FourCC = FourCC::new(b"mdat");
/// `sample_is_non_sync_sample` (ISO/IEC 14496-12 §8.8.3.1).
const NON_SYNC: u32 = 0x0001_0000;

impl Scanner {
    /// For a file of so many octets.
    pub fn new(length_bytes: u64) -> Self {
        Scanner {
            at: 0,
            length: length_bytes,
            pending: None,
            wallclock: None,
            has_header: false,
            is_cut: false,
            index: Index::default(),
            whole_until: 0,
            open_fragment: None,
        }
    }

    /// What to read next; `None` when all is known, or nothing more can be.
    pub fn wanted(&self) -> Option<Wanted> {
        if let Some(pending) = &self.pending {
            return Some(Wanted(pending.body.clone()));
        }
        if self.is_cut {
            return None;
        }
        let header = self.at..(self.at + LONG_HEADER).min(self.length);
        (header.end - header.start >= SHORT_HEADER).then_some(Wanted(header))
    }

    /// Takes the octets that were wanted.
    pub fn handle(&mut self, octets: &[u8]) -> Result<(), FileError> {
        match self.pending.take() {
            Some(pending) => self.body(&pending, octets),
            None => self.header(octets),
        }
    }

    /// The file has become longer, as one that is being written does: what was cut off may be whole.
    pub fn grow(&mut self, length_bytes: u64) {
        self.length = self.length.max(length_bytes);
        self.is_cut = false;
    }

    /// What has been found so far; nothing before the header.
    pub fn index(&self) -> Option<&Index> {
        self.has_header.then_some(&self.index)
    }

    /// Takes the samples of a file that was written in one piece out of the index.
    pub(crate) fn take_whole(&mut self) -> Vec<Stored> {
        std::mem::take(&mut self.index.whole)
    }

    /// Where the last whole fragment ends.
    pub fn whole_until(&self) -> u64 {
        self.whole_until
    }

    /// What was found.
    pub fn finish(self) -> Result<Index, FileError> {
        if !self.has_header {
            return Err(FileError::NoHeader);
        }
        Ok(self.index)
    }

    fn header(&mut self, octets: &[u8]) -> Result<(), FileError> {
        let at = self.at;
        let bad = |found: &str| FileError::Box {
            at,
            found: found.into(),
        };
        let [a, b, c, d, kind @ ..] = octets else {
            return Err(bad("its end"));
        };
        let kind: [u8; 4] = kind
            .get(..4)
            .and_then(|kind| kind.try_into().ok())
            .ok_or(bad("its end"))?;
        if !kind
            .iter()
            .all(|byte| (0x20..0x7f).contains(byte) || *byte == 0xa9)
        {
            return Err(bad("octets that are no box's name"));
        }
        let (header, size) = match u32::from_be_bytes([*a, *b, *c, *d]) {
            0 => (SHORT_HEADER, self.length - at),
            1 => match octets.get(8..16).and_then(|long| long.try_into().ok()) {
                Some(long) => (LONG_HEADER, u64::from_be_bytes(long)),
                None => {
                    self.is_cut = true;
                    return Ok(());
                }
            },
            short => (SHORT_HEADER, short.into()),
        };
        let end = at
            .checked_add(size)
            .filter(|_| size >= header)
            .ok_or(bad("a length that cannot be"))?;
        let kind = FourCC::new(&kind);
        if end > self.length {
            // What came before a box that is cut off is all there is.
            self.is_cut = true;
            return Ok(());
        }
        self.at = end;
        let most = match kind {
            MOOV => limits::MEDIA_HEADER_BYTES,
            MOOF => limits::MEDIA_FRAGMENT_TABLE_BYTES,
            PRFT => 64,
            MDAT => {
                self.close_fragment(end);
                return Ok(());
            }
            _ => return Ok(()),
        };
        if size > most {
            let kind = kind.to_string();
            return Err(FileError::Large {
                at,
                kind,
                most,
                found: size,
            });
        }
        let body = at + header..end;
        self.pending = Some(Pending { kind, at, body });
        Ok(())
    }

    fn close_fragment(&mut self, end: u64) {
        if let Some(fragment) = self.open_fragment.take() {
            self.index.fragments.push(fragment);
        }
        self.whole_until = end;
    }

    fn body(&mut self, pending: &Pending, octets: &[u8]) -> Result<(), FileError> {
        let at = pending.at;
        let bad = |error: mp4_atom::Error| {
            let found = error.to_string();
            FileError::Box { at, found }
        };
        match pending.kind {
            MOOV => {
                let moov = Moov::decode_body(&mut &tamed(octets)[..]).map_err(bad)?;
                self.index.read_header(&moov, self.length)?;
                self.has_header = true;
                self.whole_until = pending.body.end;
            }
            PRFT => {
                let prft = <Prft as Atom>::decode_body(&mut &octets[..]).map_err(bad)?;
                self.wallclock = Some(prft);
            }
            _ => {
                let moof = Moof::decode_body(&mut &tamed(octets)[..]).map_err(bad)?;
                let samples = self.index.samples_of(&moof, at)?;
                if self.index.fragments.len() == limits::MEDIA_FRAGMENTS {
                    let found = "more fragments than a file may have".into();
                    return Err(FileError::Box { at, found });
                }
                let said = self.wallclock.take();
                let fragment = self.index.fragment(&samples, pending);
                self.open_fragment = fragment.map(|fragment| Fragment {
                    wallclock: said.map(|said| self.index.wallclock(&said, fragment.begin_ns)),
                    ..fragment
                });
            }
        }
        Ok(())
    }
}

/// A header without the boxes whose reading has no end: mp4-atom takes an `sgpd` for as many entries as it says, of no length
/// each. Nothing here asks for one, and what is called `free` is passed over, wherever it stands.
fn tamed(octets: &[u8]) -> Cow<'_, [u8]> {
    const ENDLESS: &[u8] = b"sgpd";
    let mut octets = Cow::Borrowed(octets);
    let mut from = 0;
    let next = |octets: &[u8], from: usize| {
        let mut windows = octets[from..].windows(ENDLESS.len());
        windows.position(|window| window == ENDLESS)
    };
    while let Some(at) = next(&octets, from) {
        from += at;
        octets.to_mut()[from..from + ENDLESS.len()].copy_from_slice(b"free");
    }
    octets
}

impl Index {
    /// The samples of a fragment, from the octets of [`Fragment::table`], track by track.
    pub fn samples(&self, fragment: &Fragment, table: &[u8]) -> Result<Vec<Stored>, FileError> {
        let at = fragment.at;
        let moof = Moof::decode_body(&mut &tamed(table)[..]).map_err(|error| FileError::Box {
            at,
            found: error.to_string(),
        })?;
        self.samples_of(&moof, at)
    }

    /// How long it lasts, in nanoseconds.
    pub fn length_ns(&self) -> i64 {
        let fragments = self.fragments.iter().map(|fragment| fragment.end_ns);
        let whole = self.whole.iter().map(|sample| {
            let clock_rate_hz = self.tracks[sample.track].clock_rate_hz;
            to_ns(sample.time.saturating_add(sample.length.into()), clock_rate_hz)
        });
        fragments.chain(whole).max().unwrap_or_default()
    }

    fn read_header(&mut self, moov: &Moov, length: u64) -> Result<(), FileError> {
        let mut reason = "it has none at all".to_string();
        let mut whole = Vec::new();
        for trak in &moov.trak {
            let stbl = &trak.mdia.minf.stbl;
            let Some(entry) = stbl.stsd.codecs.first() else {
                continue;
            };
            let clock_rate_hz = trak.mdia.mdhd.timescale;
            let format = match Format::of_sample_entry(entry) {
                Ok(format) if clock_rate_hz > 0 => format,
                Ok(_) => continue,
                Err(error) => {
                    reason = error.to_string();
                    continue;
                }
            };
            let track = self.tracks.len();
            if track == limits::MOUNT_TRACKS {
                break;
            }
            let shift = shift_of(trak, moov.mvhd.timescale);
            self.ids.push(trak.tkhd.track_id);
            self.shifts.push(shift);
            self.tracks.push(FileTrack {
                format,
                clock_rate_hz,
            });
            samples_of_table(track, shift, stbl, length, &mut whole)?;
        }
        if self.tracks.is_empty() {
            return Err(FileError::NoTracks { reason });
        }
        let tracks = &self.tracks;
        whole.sort_by_key(|sample: &Stored| to_ns(sample.decoded, tracks[sample.track].clock_rate_hz));
        self.whole = whole;
        let trex = moov.mvex.as_ref().map_or(&[][..], |mvex: &Mvex| &mvex.trex);
        self.defaults = trex.to_vec();
        Ok(())
    }

    fn samples_of(&self, moof: &Moof, moof_at: u64) -> Result<Vec<Stored>, FileError> {
        let mut samples = Vec::new();
        // ISO/IEC 14496-12 §8.8.7.1: without an offset of its own, a track's data follows that of the one before it.
        let mut follows = moof_at;
        for traf in &moof.traf {
            let track = self.ids.iter().position(|id| *id == traf.tfhd.track_id);
            follows = self.samples_of_traf(track, traf, moof_at, follows, &mut samples)?;
        }
        Ok(samples)
    }

    fn samples_of_traf(
        &self,
        track: Option<usize>,
        traf: &Traf,
        moof_at: u64,
        follows: u64,
        samples: &mut Vec<Stored>,
    ) -> Result<u64, FileError> {
        let bad = |found: &str| FileError::Box {
            at: moof_at,
            found: found.into(),
        };
        let head = &traf.tfhd;
        let default = self.defaults.iter().find(|trex| trex.track_id == head.track_id);
        let or =
            |own: Option<u32>, of: fn(&mp4_atom::Trex) -> u32| own.or(default.map(of)).unwrap_or_default();
        let default_length = or(head.default_sample_duration, |trex| trex.default_sample_duration);
        let default_size = or(head.default_sample_size, |trex| trex.default_sample_size);
        let default_flags = or(head.default_sample_flags, |trex| trex.default_sample_flags);
        let base = match head.base_data_offset {
            Some(offset) => offset,
            None if head.default_base_is_moof => moof_at,
            None => follows,
        };
        let begin = traf.tfdt.as_ref().map_or(0, |tfdt| tfdt.base_media_decode_time);
        let mut decoded = i64::try_from(begin).map_err(|_| bad("a time that cannot be"))?;
        let mut at = base;
        let mut said = samples.len();
        for run in &traf.trun {
            if let Some(offset) = run.data_offset {
                at = base
                    .checked_add_signed(offset.into())
                    .ok_or(bad("a data offset that cannot be"))?;
            }
            said += run.samples.len();
            if said > limits::MEDIA_FRAGMENT_SAMPLES {
                return Err(bad("more samples than a fragment may have"));
            }
            for entry in &run.samples {
                let size_bytes = entry.size.unwrap_or(default_size);
                let length = entry.duration.unwrap_or(default_length);
                let flags = entry.flags.unwrap_or(default_flags);
                if let Some(track) = track {
                    samples.push(Stored {
                        track,
                        decoded: decoded.saturating_add(self.shifts[track]),
                        time: decoded
                            .saturating_add(entry.cts.unwrap_or_default())
                            .saturating_add(self.shifts[track]),
                        length,
                        is_key: flags & NON_SYNC == 0,
                        offset: at,
                        size_bytes,
                    });
                }
                at = at
                    .checked_add(size_bytes.into())
                    .ok_or(bad("a length that cannot be"))?;
                decoded = decoded
                    .checked_add(length.into())
                    .ok_or(bad("a time that cannot be"))?;
            }
        }
        Ok(at)
    }

    fn fragment(&self, samples: &[Stored], pending: &Pending) -> Option<Fragment> {
        let ns = |sample: &Stored, ticks: i64| to_ns(ticks, self.tracks[sample.track].clock_rate_hz);
        let begin_ns = samples.iter().map(|sample| ns(sample, sample.time)).min()?;
        let ends = samples
            .iter()
            .map(|sample| ns(sample, sample.time.saturating_add(sample.length.into())));
        Some(Fragment {
            wallclock: None,
            table: pending.body.clone(),
            at: pending.at,
            begin_ns,
            end_ns: ends.max()?,
            is_key: self.first_of_pictures(samples).is_none_or(|first| first.is_key),
        })
    }

    /// When the instant `at_ns` of the file happened, by what is said of one of a track's samples (ISO/IEC 14496-12 §8.16.5).
    fn wallclock(&self, said: &Prft, at_ns: i64) -> UnixTime {
        let track = self.ids.iter().position(|id| *id == said.reference_track_id);
        let of_sample = track.map(|track| {
            let ticks = i64::try_from(said.media_time).unwrap_or(i64::MAX);
            to_ns(
                ticks.saturating_add(self.shifts[track]),
                self.tracks[track].clock_rate_hz,
            )
        });
        let later = at_ns.saturating_sub(of_sample.unwrap_or(at_ns));
        UnixTime::from_nanos(of_ntp(said.ntp_timestamp).as_nanos().saturating_add_signed(later))
    }

    /// The first sample of the first track with pictures; `None` where all is sound.
    fn first_of_pictures<'a>(&self, samples: &'a [Stored]) -> Option<&'a Stored> {
        samples
            .iter()
            .find(|sample| self.tracks[sample.track].format.is_video())
    }
}

/// What a track's edit list adds to its times: what it shows nothing of at first, less what it leaves out of its beginning
/// (ISO/IEC 14496-12 §8.6.6). Cuts in the middle are not made.
fn shift_of(trak: &mp4_atom::Trak, file_clock_hz: u32) -> i64 {
    let edits = trak.edts.iter().filter_map(|edts| edts.elst.as_ref());
    let mut shift = 0_i64;
    for edit in edits.flat_map(|elst| &elst.entries) {
        match edit.media_time {
            None => {
                let ticks = u128::from(edit.segment_duration) * u128::from(trak.mdia.mdhd.timescale);
                let ticks = ticks / u128::from(file_clock_hz.max(1));
                shift = shift.saturating_add(i64::try_from(ticks).unwrap_or(i64::MAX));
            }
            Some(begin) => return shift.saturating_sub(i64::try_from(begin).unwrap_or(i64::MAX)),
        }
    }
    shift
}

/// The samples of a track of a file that was written in one piece (ISO/IEC 14496-12 §8.6, §8.7).
fn samples_of_table(
    track: usize,
    shift: i64,
    stbl: &Stbl,
    length: u64,
    samples: &mut Vec<Stored>,
) -> Result<(), FileError> {
    let bad = |found: &str| FileError::Box {
        at: 0,
        found: found.into(),
    };
    let (count, size_of): (usize, Box<dyn Fn(usize) -> u32>) = match &stbl.stsz.samples {
        StszSamples::Identical { count, size } => (*count as usize, Box::new(move |_| *size)),
        StszSamples::Different { sizes } => (sizes.len(), Box::new(move |index| sizes[index])),
    };
    if count + samples.len() > limits::MEDIA_FILE_SAMPLES {
        return Err(bad("more samples than a file may have"));
    }
    // One size for all costs the table nothing: the file must have room for what it says.
    if let StszSamples::Identical { count, size } = &stbl.stsz.samples
        && u64::from(*count) * u64::from((*size).max(1)) > length
    {
        return Err(bad("more samples than the file has room for"));
    }
    let offsets: Vec<u64> = match (&stbl.co64, &stbl.stco) {
        (Some(co64), _) => co64.entries.clone(),
        (None, Some(stco)) => stco.entries.iter().map(|offset| u64::from(*offset)).collect(),
        (None, None) => Vec::new(),
    };
    let mut lengths = stbl.stts.entries.iter().flat_map(|entry| {
        std::iter::repeat_n(entry.sample_delta, entry.sample_count.min(count as u32) as usize)
    });
    let shifts = stbl.ctts.iter().flat_map(|ctts| &ctts.entries);
    let mut shifts = shifts.flat_map(|entry| {
        std::iter::repeat_n(entry.sample_offset, entry.sample_count.min(count as u32) as usize)
    });
    let keys = stbl.stss.as_ref().map(|stss| &stss.entries);
    let mut runs = stbl.stsc.entries.iter().peekable();
    let (mut index, mut decoded, mut per_chunk) = (0, shift, 0);
    for (chunk, offset) in (1_u32..).zip(offsets) {
        while let Some(run) = runs.next_if(|run| run.first_chunk <= chunk) {
            per_chunk = run.samples_per_chunk;
        }
        let mut at = offset;
        for _ in 0..per_chunk {
            if index == count {
                return Ok(());
            }
            let size_bytes = size_of(index);
            let length = lengths.next().unwrap_or_default();
            let later = shifts.next().unwrap_or_default();
            samples.push(Stored {
                track,
                decoded,
                time: decoded.saturating_add(later),
                length,
                is_key: keys.is_none_or(|keys| keys.binary_search(&(index as u32 + 1)).is_ok()),
                offset: at,
                size_bytes,
            });
            at = at
                .checked_add(size_bytes.into())
                .ok_or(bad("a length that cannot be"))?;
            decoded = decoded.saturating_add(length.into());
            index += 1;
        }
    }
    Ok(())
}

/// Units of a clock in nanoseconds.
pub(crate) fn to_ns(ticks: i64, clock_rate_hz: u32) -> i64 {
    let ns = i128::from(ticks) * 1_000_000_000 / i128::from(clock_rate_hz.max(1));
    i64::try_from(ns).unwrap_or(if ticks < 0 { i64::MIN } else { i64::MAX })
}

/// The time that a 64-bit NTP timestamp stands for (RFC 3550 §4).
fn of_ntp(ntp: u64) -> UnixTime {
    const NTP_UNIX_OFFSET_S: u64 = 2_208_988_800;
    let seconds = (ntp >> 32).saturating_sub(NTP_UNIX_OFFSET_S);
    let ns = ((ntp & 0xffff_ffff) * 1_000_000_000) >> 32;
    UnixTime::from_nanos(seconds.saturating_mul(1_000_000_000).saturating_add(ns))
}
