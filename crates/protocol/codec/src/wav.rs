use crate::{Law, SAMPLE_RATE_HZ, resample};
use thiserror::Error;

/// The samples of a WAV file, as they lie in it.
///
/// RIFF's numbers are little-endian. Lengths are taken as an upper bound: a `data` chunk whose length says 0 or more
/// than there is (a recorder that never came back to write it) reaches to the end of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wav<'a> {
    encoding: WavEncoding,
    channels: u16,
    rate_hz: u32,
    data: &'a [u8],
}

/// How a WAV file keeps its samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WavEncoding {
    /// Signed, 16 bits.
    Pcm16,
    /// Signed, 24 bits, of which the upper 16 are played.
    Pcm24,
    /// From -1 to 1, in IEEE 754's 32 bits.
    Float32,
    /// Unsigned, 8 bits.
    Pcm8,
    /// G.711.
    G711(Law),
}

/// Why a file is not taken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WavError {
    /// It does not begin with `RIFF`, a length and `WAVE`.
    #[error("expected a RIFF file of type WAVE")]
    NotWave,
    /// No `fmt ` chunk of at least 16 bytes before the data.
    #[error("expected a fmt chunk before the data")]
    NoFormat,
    /// No `data` chunk.
    #[error("expected a data chunk")]
    NoData,
    /// Another encoding: only PCM with 8, 16 or 24 bits, floating point with 32, µ-law and A-law are read.
    #[error(
        "expected PCM of 8, 16 or 24 bits, floating point of 32, mu-law or A-law, found format {format} of {bits} bits"
    )]
    Encoding {
        /// The format's number.
        format: u16,
        /// Bits a sample.
        bits: u16,
    },
    /// Neither mono nor stereo.
    #[error("expected one or two channels, found {0}")]
    Channels(u16),
    /// A sampling rate below 4,000 or above 192,000 Hz.
    #[error("expected a rate of 4000 to 192000 Hz, found {0}")]
    Rate(u32),
}

const FORMAT_PCM: u16 = 1;
const FORMAT_FLOAT: u16 = 3;
const FORMAT_A_LAW: u16 = 6;
const FORMAT_MU_LAW: u16 = 7;
/// The true format is the first two bytes of the GUID at byte 24 of the chunk.
const FORMAT_EXTENSIBLE: u16 = 0xfffe;

impl<'a> Wav<'a> {
    /// Finds format and samples in a file that lies in memory.
    pub fn parse(file: &'a [u8]) -> Result<Wav<'a>, WavError> {
        let riff = file.strip_prefix(b"RIFF").and_then(|rest| rest.get(4..));
        let mut chunks = riff
            .and_then(|rest| rest.strip_prefix(b"WAVE"))
            .ok_or(WavError::NotWave)?;
        let mut format = None;
        while let Some((head, rest)) = chunks.split_first_chunk::<8>() {
            let [a, b, c, d, length @ ..] = *head;
            let told = u32::from_le_bytes(length) as usize;
            let length = told.min(rest.len());
            match &[a, b, c, d] {
                b"fmt " => format = Some(Format::parse(&rest[..length])?),
                b"data" => {
                    let Format {
                        encoding,
                        channels,
                        rate_hz,
                    } = format.ok_or(WavError::NoFormat)?;
                    let data = if told == 0 { rest } else { &rest[..length] };
                    return Ok(Wav {
                        encoding,
                        channels,
                        rate_hz,
                        data,
                    });
                }
                _ => (),
            }
            // Chunks begin at even places.
            chunks = rest.get(length + length % 2..).unwrap_or_default();
        }
        Err(WavError::NoData)
    }

    /// How the samples are kept.
    pub fn encoding(&self) -> WavEncoding {
        self.encoding
    }

    /// 1 or 2.
    pub fn channels(&self) -> u16 {
        self.channels
    }

    /// Samples a second of each channel.
    pub fn rate_hz(&self) -> u32 {
        self.rate_hz
    }

    /// How long it plays.
    pub fn duration_ms(&self) -> u64 {
        let frames = self.data.len() / (self.encoding.bytes() * usize::from(self.channels));
        frames as u64 * 1000 / u64::from(self.rate_hz)
    }

    /// The samples as they lie in the file; for a file that is already what is wanted.
    pub fn data(&self) -> &'a [u8] {
        self.data
    }

    /// As a telephone plays it: one channel, 8000 Hz, 16 bits.
    pub fn to_telephone(&self) -> Vec<i16> {
        let samples = self.samples();
        let mono: Vec<i16> = match self.channels {
            1 => samples.collect(),
            _ => {
                let samples: Vec<i16> = samples.collect();
                let middle = |pair: &[i16]| ((i32::from(pair[0]) + i32::from(pair[1])) / 2) as i16;
                samples.chunks_exact(2).map(middle).collect()
            }
        };
        if self.rate_hz == SAMPLE_RATE_HZ {
            mono
        } else {
            resample(&mono, self.rate_hz, SAMPLE_RATE_HZ)
        }
    }

    fn samples(&self) -> impl Iterator<Item = i16> + 'a {
        let encoding = self.encoding;
        self.data
            .chunks_exact(encoding.bytes())
            .map(move |bytes| encoding.sample(bytes))
    }
}

struct Format {
    encoding: WavEncoding,
    channels: u16,
    rate_hz: u32,
}

impl Format {
    fn parse(chunk: &[u8]) -> Result<Format, WavError> {
        let u16_at = |at: usize| chunk.get(at..at + 2).map(|b| u16::from_le_bytes([b[0], b[1]]));
        let (Some(mut format), Some(channels), Some(bits)) = (u16_at(0), u16_at(2), u16_at(14)) else {
            return Err(WavError::NoFormat);
        };
        let rate_hz = u32::from_le_bytes([chunk[4], chunk[5], chunk[6], chunk[7]]);
        if format == FORMAT_EXTENSIBLE {
            format = u16_at(24).ok_or(WavError::NoFormat)?;
        }
        let encoding = match (format, bits) {
            (FORMAT_PCM, 16) => WavEncoding::Pcm16,
            (FORMAT_PCM, 24) => WavEncoding::Pcm24,
            (FORMAT_FLOAT, 32) => WavEncoding::Float32,
            (FORMAT_PCM, 8) => WavEncoding::Pcm8,
            (FORMAT_A_LAW, 8) => WavEncoding::G711(Law::A),
            (FORMAT_MU_LAW, 8) => WavEncoding::G711(Law::Mu),
            _ => return Err(WavError::Encoding { format, bits }),
        };
        if !(1..=2).contains(&channels) {
            return Err(WavError::Channels(channels));
        }
        if !(4_000..=192_000).contains(&rate_hz) {
            return Err(WavError::Rate(rate_hz));
        }
        Ok(Format {
            encoding,
            channels,
            rate_hz,
        })
    }
}

impl WavEncoding {
    /// How many octets a sample has.
    pub fn bytes(self) -> usize {
        match self {
            WavEncoding::Pcm16 => 2,
            WavEncoding::Pcm24 => 3,
            WavEncoding::Float32 => 4,
            WavEncoding::Pcm8 | WavEncoding::G711(_) => 1,
        }
    }

    /// A sample of 16 bits, from the octets of one; 0 for fewer than that.
    pub fn sample(self, octets: &[u8]) -> i16 {
        match (self, octets) {
            (WavEncoding::Pcm16, &[low, high]) | (WavEncoding::Pcm24, &[_, low, high]) => {
                i16::from_le_bytes([low, high])
            }
            // What is no number is silence, and what is too loud as loud as can be.
            (WavEncoding::Float32, &[a, b, c, d]) => {
                (f32::from_le_bytes([a, b, c, d]) * 32_768.0).round() as i16
            }
            (WavEncoding::G711(law), &[octet]) => law.decode(octet),
            (WavEncoding::Pcm8, &[octet]) => (i16::from(octet) - 128) << 8,
            _ => 0,
        }
    }

    fn format(self) -> u16 {
        match self {
            WavEncoding::Pcm16 | WavEncoding::Pcm24 | WavEncoding::Pcm8 => FORMAT_PCM,
            WavEncoding::Float32 => FORMAT_FLOAT,
            WavEncoding::G711(Law::A) => FORMAT_A_LAW,
            WavEncoding::G711(Law::Mu) => FORMAT_MU_LAW,
        }
    }
}

/// Writes a WAV file of 8000 Hz and one channel as the samples come.
///
/// The header stands first, and its lengths are known last: write [`header`](WavWriter::header), then what
/// [`write`](WavWriter::write) gives, then the padding of [`finish`](WavWriter::finish), and write its header over the
/// first. A file that lost its end still plays, since the first header says that the data reach to the end. After
/// 4 GiB, RIFF's bound, further samples are dropped.
#[derive(Clone, Debug)]
pub struct WavWriter {
    encoding: WavEncoding,
    data_bytes: u32,
}

/// What finishes a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WavEnd {
    /// The header with its lengths, as long as the first one.
    pub header: Vec<u8>,
    /// What follows the data: a zero when their number is odd.
    pub padding: Option<u8>,
}

/// Room for the header in RIFF's length of 32 bits.
const MOST_DATA_BYTES: u32 = u32::MAX - 1024;

impl WavWriter {
    /// Nothing written yet.
    pub fn new(encoding: WavEncoding) -> Self {
        WavWriter {
            encoding,
            data_bytes: 0,
        }
    }

    /// The header of a file whose end is not known.
    pub fn header(&self) -> Vec<u8> {
        header(self.encoding, None)
    }

    /// Appends samples to `out`, encoded.
    pub fn write(&mut self, samples: &[i16], out: &mut Vec<u8>) {
        let room = (MOST_DATA_BYTES - self.data_bytes) as usize / self.encoding.bytes();
        let samples = &samples[..samples.len().min(room)];
        match self.encoding {
            WavEncoding::Pcm16 => out.extend(samples.iter().flat_map(|sample| sample.to_le_bytes())),
            WavEncoding::Pcm24 => out.extend(samples.iter().flat_map(|sample| {
                let [low, high] = sample.to_le_bytes();
                [0, low, high]
            })),
            WavEncoding::Float32 => {
                let floats = samples.iter().map(|sample| f32::from(*sample) / 32_768.0);
                out.extend(floats.flat_map(f32::to_le_bytes));
            }
            WavEncoding::Pcm8 => out.extend(samples.iter().map(|sample| ((sample >> 8) + 128) as u8)),
            WavEncoding::G711(law) => law.encode_into(samples, out),
        }
        self.data_bytes += (samples.len() * self.encoding.bytes()) as u32;
    }

    /// How long what was written plays.
    pub fn duration_ms(&self) -> u64 {
        u64::from(self.data_bytes) / self.encoding.bytes() as u64 * 1000 / u64::from(SAMPLE_RATE_HZ)
    }

    /// The end of the file, and its header with the right lengths.
    pub fn finish(self) -> WavEnd {
        WavEnd {
            header: header(self.encoding, Some(self.data_bytes)),
            padding: (self.data_bytes % 2 == 1).then_some(0),
        }
    }
}

fn header(encoding: WavEncoding, data_bytes: Option<u32>) -> Vec<u8> {
    let sample_bytes = encoding.bytes() as u16;
    let mut chunks = Vec::with_capacity(58);
    chunks.extend(b"WAVEfmt ");
    // What is not PCM has a length of extra bytes in its format, and a chunk that counts samples.
    let is_pcm = encoding.format() == FORMAT_PCM;
    chunks.extend(if is_pcm { 16u32 } else { 18 }.to_le_bytes());
    chunks.extend(encoding.format().to_le_bytes());
    chunks.extend(1u16.to_le_bytes());
    chunks.extend(SAMPLE_RATE_HZ.to_le_bytes());
    chunks.extend((SAMPLE_RATE_HZ * u32::from(sample_bytes)).to_le_bytes());
    chunks.extend(sample_bytes.to_le_bytes());
    chunks.extend((sample_bytes * 8).to_le_bytes());
    if !is_pcm {
        chunks.extend(0u16.to_le_bytes());
        chunks.extend(b"fact");
        chunks.extend(4u32.to_le_bytes());
        chunks.extend((data_bytes.unwrap_or(0) / u32::from(sample_bytes)).to_le_bytes());
    }
    chunks.extend(b"data");
    chunks.extend(data_bytes.unwrap_or(u32::MAX).to_le_bytes());
    let padded = |bytes: u32| bytes + bytes % 2;
    let riff = data_bytes.map_or(u32::MAX, |bytes| chunks.len() as u32 + padded(bytes));
    let mut file = Vec::with_capacity(8 + chunks.len());
    file.extend(b"RIFF");
    file.extend(riff.to_le_bytes());
    file.extend(chunks);
    file
}
