use crate::LegId;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// What the engine tells the signalling side.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The leg's peer pressed a key; told once, when it begins.
    Digit {
        /// The leg.
        leg: LegId,
        /// `0`–`9`, `*`, `#`, `A`–`D`.
        digit: char,
    },
    /// All digits that were to be sent have been.
    DigitsSent {
        /// The leg.
        leg: LegId,
    },
    /// What was played is over.
    PlayEnded {
        /// The leg.
        leg: LegId,
        /// As in the command.
        id: u64,
        /// Why.
        outcome: PlayOutcome,
    },
    /// A piece of a recording: linear samples at 8,000 a second, at most a second of them, in order and without a gap.
    Recorded {
        /// The leg.
        leg: LegId,
        /// As in the command.
        id: u64,
        /// The sound.
        samples: Arc<[i16]>,
    },
    /// The recording is over, and all of it has been told.
    RecordEnded {
        /// The leg.
        leg: LegId,
        /// As in the command.
        id: u64,
        /// Why.
        outcome: RecordOutcome,
        /// How long it is.
        length: Duration,
        /// How much of its end is silence.
        silent_end: Duration,
    },
    /// Nothing was heard of the peer for the leg's media timeout; told again after each further timeout of silence.
    MediaTimeout {
        /// The leg.
        leg: LegId,
    },
    /// The leg is no more.
    LegRemoved {
        /// The leg.
        leg: LegId,
        /// How it went.
        statistics: LegStatistics,
    },
}

/// Why a playlist ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlayOutcome {
    /// It was played to its end.
    Finished,
    /// It was stopped, replaced, or its leg was removed.
    Stopped,
    /// The leg has no format that we can write.
    NoCodec,
}

/// Why a recording ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordOutcome {
    /// By command, or by another recording that took its place.
    Stopped,
    /// The peer was silent for the given time.
    Silence,
    /// It reached its greatest length.
    MaxLength,
    /// Its leg was removed.
    LegRemoved,
}

/// How a leg went, in both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LegStatistics {
    /// Packets, bytes, loss, jitter and round trip, from RTP and RTCP.
    pub rtp: ringpost_rtp::Statistics,
    /// Packets from addresses other than the peer's, dropped.
    pub foreign_packets: u64,
    /// Packets that are neither RTP nor RTCP, or that their session refused (RFC 3550 A.1, §8.2), dropped.
    pub refused_packets: u64,
    /// Where the peer's packets came from.
    pub remote: Option<SocketAddr>,
}
