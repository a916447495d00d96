//! What a recorder is told, and what it tells.

use bytes::Bytes;
use ringpost_base::Instant;
use std::time::Duration;
use thiserror::Error;

/// How long what is written is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// A fragment's length at most.
    pub fragment: Duration,
    /// A file's length, to the next key frame.
    pub segment: Duration,
    /// A file's octets, to the next key frame; `None`: as many as come.
    pub segment_bytes: Option<u64>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            fragment: Duration::from_secs(2),
            segment: Duration::from_secs(600),
            segment_bytes: None,
        }
    }
}

/// Why nothing is recorded.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RecorderError {
    /// No track of the mount fits a file.
    #[error(
        "expected a track of H.264, H.265, VP8, VP9, MPEG-4 video, JPEG, AAC, Opus, G.711, L16 or MPEG audio, found {found}"
    )]
    NoTracks {
        /// What there is.
        found: String,
    },
}

/// What a recorder wants, or tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Begin a file; the one before is closed.
    Create {
        /// Its name in the mount's folder: [`file_name`](super::file_name) of when it begins.
        name: String,
    },
    /// Append to it: a header, or a whole fragment.
    Append(Bytes),
    /// Make it survive a loss of power.
    Sync,
    /// It is finished.
    Close,
    /// To be noted.
    Event(Event),
    /// Nothing more until then.
    Timeout(Option<Instant>),
}

/// How it stands with a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// A file is open.
    Writing,
    /// Nothing has come yet that a file could begin with.
    Waiting,
    /// It could not be written.
    Failing {
        /// When another file is tried, with the first key frame.
        retry_in: Duration,
    },
}

/// What a recorder tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A track is not recorded; the others are.
    LeftOut {
        /// Its place in the description.
        track: usize,
        /// Its encoding's name.
        encoding: String,
        /// Why.
        reason: String,
    },
    /// Fragments are lost, since they could not be written. What follows goes to another file.
    Dropped {
        /// How many, at least.
        fragments: u64,
    },
}
