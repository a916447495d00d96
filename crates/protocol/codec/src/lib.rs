//! Sound as numbers: G.711 and what else is heard, WAV files, tones and how to hear them, and the small arithmetic of 16-bit samples.
//!
//! Everything works at [`SAMPLE_RATE_HZ`], one channel, 16 bits, unless it says otherwise.
//!
//! ```
//! use ringpost_codec::{Law, Tone, WavEncoding, WavWriter, dominant_tone};
//!
//! // A second of A' over G.711, and back.
//! let mut tone = Tone::sine(440.0, -12.0);
//! let mut samples = vec![0; 8000];
//! tone.fill(&mut samples);
//! let coded: Vec<u8> = samples.iter().map(|sample| Law::Mu.encode(*sample)).collect();
//! let heard: Vec<i16> = coded.iter().map(|byte| Law::Mu.decode(*byte)).collect();
//! let found = dominant_tone(&heard).expect("there is sound");
//! assert!((found.frequency_hz - 440.0).abs() < 2.0 && found.purity > 0.99);
//!
//! // And into a file.
//! let mut file = Vec::new();
//! let mut writer = WavWriter::new(WavEncoding::Pcm16);
//! file.extend(writer.header());
//! writer.write(&heard, &mut file);
//! let end = writer.finish();
//! file.extend(end.padding);
//! file[..end.header.len()].copy_from_slice(&end.header);
//! assert_eq!(ringpost_codec::Wav::parse(&file)?.to_telephone(), heard);
//! # Ok::<(), ringpost_codec::WavError>(())
//! ```
//!
//! It knows no payload types and no packets, opens no files, and codes G.711, G.722 and Opus; AAC it decodes alone.

mod aac;
mod contained;
mod dtmf;
mod ear;
mod encoder;
#[doc(hidden)]
pub mod fuzz;
mod g711;
mod g722;
mod goertzel;
mod opus;
mod pcm;
#[doc(hidden)]
pub mod pieces;
mod resample;
mod tone;
mod wav;

pub use aac::Aac;
pub use dtmf::{DtmfDetector, dtmf_frequencies_hz};
pub use ear::{Coding, Ear, Heard};
pub use encoder::Encoder;
pub use g711::Law;
pub use g722::{G722, G722Wide, G722WideEncoder};
pub use goertzel::{ToneFound, dominant_tone, strength};
pub use opus::Opus;
pub use pcm::{SilenceMeter, level_dbfs, mix, scale};
pub use resample::{Resampler, resample};
pub use tone::{Cadence, Region, Signal, Tone};
pub use wav::{Wav, WavEncoding, WavEnd, WavError, WavWriter};

/// The telephone's sampling rate.
pub const SAMPLE_RATE_HZ: u32 = 8000;
