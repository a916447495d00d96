use super::{FileTrack, Format, FormatError, Sample};
use mp4_atom::{
    Dinf, Dref, Edts, Elst, ElstEntry, Encode, FourCC, Ftyp, Hdlr, Mdhd, Mdia, Mfhd, Minf, Moof, Moov, Mvex,
    Mvhd, Prft, ReferenceTime, Smhd, Stbl, Stsd, Tfdt, Tfhd, Tkhd, Traf, Trak, Trex, Trun, TrunEntry,
    TrunSamples, Url, Vmhd,
};
use ringpost_base::UnixTime;

/// Seconds from 1904, from which MP4 counts, to 1970.
const EPOCH_OFFSET_S: u64 = 2_082_844_800;
/// `sample_flags` of ISO/IEC 14496-12 §8.8.3.1: needs no other sample; needs others, and is none to begin with.
const KEY: u32 = 0x0200_0000;
const NO_KEY: u32 = 0x0101_0000;
const FILE_CLOCK_HZ: u32 = 1_000;

/// Writes a recording: a header, and then fragments that each can be played with the header alone, so that a file that was
/// cut off anywhere plays up to its last whole fragment.
#[derive(Debug)]
pub struct FileWriter {
    tracks: Vec<Progress>,
    fragments: u32,
}

/// How far a track is.
#[derive(Debug, Default)]
struct Progress {
    /// What is added to its samples' times: [`HEADROOM_MS`] in its clock, which its edit list takes off again.
    headroom: u64,
    /// Whether each part of a sample is written behind its length.
    has_nal_units: bool,
    /// Where its last fragment ended, with the headroom.
    end: u64,
    /// How long before it is shown a sample had to be decoded, at most.
    reordering: u64,
    /// How long the last sample of which that is known lasted.
    length: u64,
}

/// What pictures have to be decoded before the first one is shown: as many as an encoder may put in another order.
const HEADROOM_MS: u64 = 1_000;

/// The samples of one track in a fragment, in the order in which they are decoded.
#[derive(Clone, Debug)]
pub struct Run {
    /// The track, counted from 0.
    pub track: usize,
    /// At least one.
    pub samples: Vec<Sample>,
    /// When what follows them is shown, if it is known; otherwise the last one lasts as long as the one before.
    pub end: Option<u64>,
}

impl FileWriter {
    /// A writer, and the header with which the file begins.
    pub fn new(tracks: &[FileTrack], began: UnixTime) -> Result<(Self, Vec<u8>), FormatError> {
        let creation_time = began.as_secs() + EPOCH_OFFSET_S;
        let trak = tracks
            .iter()
            .zip(1..)
            .map(|(track, id)| trak(track, id, creation_time))
            .collect::<Result<Vec<_>, _>>()?;
        let trex = (1..).take(tracks.len()).map(|track_id| Trex {
            track_id,
            default_sample_description_index: 1,
            ..Trex::default()
        });
        let moov = Moov {
            mvhd: Mvhd {
                creation_time,
                modification_time: creation_time,
                timescale: FILE_CLOCK_HZ,
                next_track_id: tracks.len() as u32 + 1,
                ..Mvhd::default()
            },
            mvex: Some(Mvex {
                trex: trex.collect(),
                ..Mvex::default()
            }),
            trak,
            ..Moov::default()
        };
        let ftyp = Ftyp {
            major_brand: FourCC::new(b"iso6"),
            minor_version: 1,
            compatible_brands: vec![FourCC::new(b"iso6"), FourCC::new(b"mp41"), FourCC::new(b"qt  ")],
        };
        let mut header = Vec::new();
        encode(&ftyp, &mut header);
        encode(&moov, &mut header);
        Format::name_entries(tracks.iter().map(|track| &track.format), &mut header);
        let progress = tracks.iter().map(|track| Progress {
            headroom: headroom(track),
            has_nal_units: track.format.has_nal_units(),
            ..Progress::default()
        });
        let writer = FileWriter {
            tracks: progress.collect(),
            fragments: 0,
        };
        Ok((writer, header))
    }

    /// The octets of the next fragment; `wallclock` is when the first sample of the first run happened.
    ///
    /// RTP tells when a picture is shown, not when it is decoded. Within a fragment pictures are decoded at the times at which
    /// any of them is shown, in order, and all of them so much earlier that none is decoded after it is shown.
    pub fn fragment(&mut self, wallclock: UnixTime, runs: &[Run]) -> Vec<u8> {
        self.fragments += 1;
        let mut trafs = Vec::new();
        let mut lengths = Vec::new();
        for run in runs {
            let is_nal = self.tracks[run.track].has_nal_units;
            let sizes: Vec<u32> = run.samples.iter().map(|sample| size_of(sample, is_nal)).collect();
            lengths.push(sizes.iter().map(|size| *size as usize).sum::<usize>());
            trafs.push(self.traf(run, &sizes));
        }
        let prft = runs.first().map(|run| Prft {
            reference_track_id: run.track as u32 + 1,
            ntp_timestamp: wallclock.to_ntp(),
            media_time: run
                .samples
                .first()
                .map_or(0, |sample| sample.time + self.tracks[run.track].headroom),
            utc_time_semantics: ReferenceTime::RealTime,
        });
        let mut out = Vec::new();
        if let Some(prft) = prft {
            encode(&prft, &mut out);
        }
        let moof_at = out.len();
        let mut moof = Moof {
            mfhd: Mfhd {
                sequence_number: self.fragments,
            },
            traf: trafs,
        };
        // Where the samples lie is counted from the moof's beginning, and does not change its length.
        encode(&moof, &mut out);
        let mut at = out.len() - moof_at + MDAT_HEADER;
        for (traf, length) in moof.traf.iter_mut().zip(&lengths) {
            traf.trun[0].data_offset = i32::try_from(at).ok();
            at += length;
        }
        out.truncate(moof_at);
        encode(&moof, &mut out);
        let data: usize = lengths.iter().sum();
        out.reserve(MDAT_HEADER + data);
        out.extend_from_slice(&((MDAT_HEADER + data) as u32).to_be_bytes());
        out.extend_from_slice(b"mdat");
        for run in runs {
            let is_nal = self.tracks[run.track].has_nal_units;
            for part in run.samples.iter().flat_map(|sample| &sample.parts) {
                if is_nal {
                    out.extend_from_slice(&(part.len() as u32).to_be_bytes());
                }
                out.extend_from_slice(part);
            }
        }
        out
    }

    fn traf(&mut self, run: &Run, sizes: &[u32]) -> Traf {
        let progress = &mut self.tracks[run.track];
        let shown: Vec<u64> = run
            .samples
            .iter()
            .map(|sample| sample.time + progress.headroom)
            .collect();
        let decoded = progress.decode_times(&shown);
        let last = decoded.last().copied().unwrap_or_default();
        if let Some(before) = decoded.len().checked_sub(2) {
            progress.length = last - decoded[before];
        }
        let guess = last + progress.length.max(1);
        let end = run
            .end
            .map(|end| (end + progress.headroom).saturating_sub(progress.reordering));
        let end = end.filter(|end| *end > last).unwrap_or(guess);
        progress.end = end;
        let ends = decoded.iter().skip(1).chain([&end]);
        let entries = run
            .samples
            .iter()
            .zip(sizes)
            .zip(decoded.iter().zip(ends))
            .zip(&shown);
        let entries = entries.map(|(((sample, size), (at, end)), shown)| TrunEntry {
            duration: Some(u32::try_from(end - at).unwrap_or(u32::MAX)),
            size: Some(*size),
            flags: Some(if sample.is_key { KEY } else { NO_KEY }),
            // What the field cannot say is a jump of many hours: the sample is shown as late as it can be.
            cts: Some((*shown as i64 - *at as i64).clamp(i32::MIN.into(), i32::MAX.into())),
        });
        Traf {
            tfhd: Tfhd {
                track_id: run.track as u32 + 1,
                default_base_is_moof: true,
                ..Tfhd::default()
            },
            tfdt: Some(Tfdt {
                base_media_decode_time: decoded.first().copied().unwrap_or_default(),
            }),
            trun: vec![Trun {
                data_offset: Some(0),
                samples: TrunSamples::Explicit(entries.collect()),
            }],
            ..Traf::default()
        }
    }
}

impl Progress {
    /// When samples are decoded that are shown at these times: none before the last fragment's end, and no two at once.
    fn decode_times(&mut self, shown: &[u64]) -> Vec<u64> {
        let mut times = shown.to_vec();
        times.sort_unstable();
        let late = times
            .iter()
            .zip(shown)
            .map(|(decoded, shown)| decoded.saturating_sub(*shown));
        self.reordering = late.fold(self.reordering, u64::max).min(self.headroom);
        let mut next = self.end;
        for time in &mut times {
            *time = (*time - self.reordering).max(next);
            next = *time + 1;
        }
        times
    }
}

fn headroom(track: &FileTrack) -> u64 {
    u64::from(track.clock_rate_hz) * HEADROOM_MS / 1_000
}

/// Octets of the header of an `mdat`.
const MDAT_HEADER: usize = 8;

fn size_of(sample: &Sample, has_nal_units: bool) -> u32 {
    let lengths = if has_nal_units { 4 * sample.parts.len() } else { 0 };
    (lengths + sample.parts.iter().map(bytes::Bytes::len).sum::<usize>()) as u32
}

fn trak(track: &FileTrack, track_id: u32, creation_time: u64) -> Result<Trak, FormatError> {
    let entry = track.format.sample_entry(track.clock_rate_hz)?;
    let size = track.format.size()?;
    let (width, height) = size.unwrap_or_default();
    let (handler, name) = match size {
        Some(_) => (b"vide", "video"),
        None => (b"soun", "sound"),
    };
    let minf = Minf {
        vmhd: size.map(|_| Vmhd::default()),
        smhd: size.is_none().then(Smhd::default),
        dinf: Dinf {
            dref: Dref {
                entries: vec![Url::default().into()],
            },
        },
        stbl: Stbl {
            stsd: Stsd { codecs: vec![entry] },
            stco: Some(mp4_atom::Stco::default()),
            ..Stbl::default()
        },
        ..Minf::default()
    };
    Ok(Trak {
        tkhd: Tkhd {
            creation_time,
            modification_time: creation_time,
            track_id,
            enabled: true,
            in_movie: true,
            volume: u8::from(size.is_none()).into(),
            width: width.into(),
            height: height.into(),
            ..Tkhd::default()
        },
        edts: Some(Edts {
            elst: Some(Elst {
                entries: vec![ElstEntry {
                    // What a file in fragments lasts is not known yet.
                    segment_duration: 0,
                    media_time: Some(headroom(track)),
                    media_rate: 1.into(),
                }],
            }),
        }),
        mdia: Mdia {
            mdhd: Mdhd {
                creation_time,
                modification_time: creation_time,
                timescale: track.clock_rate_hz,
                duration: 0,
                language: "und".into(),
            },
            hdlr: Hdlr {
                handler: FourCC::new(handler),
                name: name.into(),
            },
            minf,
        },
        ..Trak::default()
    })
}

/// Appends a box of our own making.
fn encode(atom: &impl Encode, out: &mut Vec<u8>) {
    atom.encode(out).expect("a box of our own making can be written");
}
