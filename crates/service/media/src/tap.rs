//! What a leg receives, copied for who listens to the call within the server.

use crate::LegId;
use bytes::Bytes;
use ringpost_codec::{Coding, Law};
use ringpost_sdp::Codec;

/// Speech that a tapped leg received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tapped {
    /// The leg.
    pub leg: LegId,
    /// How it is coded.
    pub coding: Coding,
    /// The clock of its timestamps.
    pub clock_rate_hz: u32,
    /// Its timestamp.
    pub timestamp: u32,
    /// Whether its source has begun anew.
    pub begins: bool,
    /// The RTP packet's payload.
    pub payload: Bytes,
}

/// How a format of a call's is decoded; `None` where it cannot be, or is no speech.
pub(crate) fn coding_of(codec: &Codec) -> Option<Coding> {
    let is = |name: &str| codec.name.eq_ignore_ascii_case(name);
    let channels = codec.channels.max(1);
    if is("PCMU") {
        Some(Coding::G711(Law::Mu, channels))
    } else if is("PCMA") {
        Some(Coding::G711(Law::A, channels))
    } else if is("L16") {
        Some(Coding::L16(channels))
    } else if is("G722") && channels == 1 {
        Some(Coding::G722)
    } else if is("opus") {
        Some(Coding::Opus)
    } else {
        None
    }
}
