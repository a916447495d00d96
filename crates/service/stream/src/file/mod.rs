//! Files of media: fragmented MP4 as recordings are written, and MP4 as it is read (ISO/IEC 14496-12), without touching a
//! disk: the writer gives octets to append, the reader says which octets it wants next.

mod aac_form;
mod audio_config;
mod described;
mod encoding;
mod format;
mod latm;
mod reader;
mod sets;
#[cfg(test)]
pub(crate) mod tests;
mod wav;
mod writer;

pub(crate) use aac_form::AacForm;
pub(crate) use encoding::{Encoding, Kind, latm};
pub use format::{Format, FormatError};
pub(crate) use latm::Latm;
#[cfg(test)]
pub(crate) use latm::tests::element as latm_element;
pub(crate) use reader::to_ns;
pub use reader::{FileError, Fragment, Index, Scanner, Stored, Wanted};
pub(crate) use wav::{WavIndex, WavScanner};
pub use writer::{FileWriter, Run};

use bytes::Bytes;

/// A track of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileTrack {
    /// What its samples are.
    pub format: Format,
    /// Units of its times in a second; not zero.
    pub clock_rate_hz: u32,
}

/// What is decoded at once: a picture, or the sound of some milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// When it is shown or heard, in units of the track's clock since the file's beginning.
    pub time: u64,
    /// Whether decoding may begin with it.
    pub is_key: bool,
    /// Its octets; for H.264 and H.265 its NAL units, one a part.
    pub parts: Vec<Bytes>,
}
