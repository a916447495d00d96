use bytes::Bytes;
use ringpost_codec::Tone;
use ringpost_sdp::{Codec, Direction, Negotiated, NegotiatedCodec};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// A pair of sockets, RTP and RTCP, as the driver numbers them: small numbers, given again after [`Output::Close`].
///
/// [`Output::Close`]: crate::Output::Close
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PairId(pub u32);

/// One of the two sockets of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Port {
    /// The even one, for RTP, and for RTCP too where both are multiplexed.
    Rtp,
    /// The odd one, for RTCP.
    Rtcp,
}

/// A socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId {
    /// Its pair.
    pub pair: PairId,
    /// Which one of the pair.
    pub port: Port,
}

/// A leg, as the signalling side numbers them: never the same number twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LegId(pub u64);

/// What signalling knows of a leg's media, from the last offer and answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegMedia {
    /// Where the peer's description says that it receives RTP. Packets go there until its real address is learned.
    pub rtp: Option<SocketAddr>,
    /// Where it says that it receives RTCP.
    pub rtcp: Option<SocketAddr>,
    /// Whether RTCP shares the RTP port (RFC 5761).
    pub rtcp_mux: bool,
    /// Where the peer's signalling comes from. Its media address is learned from its first packets if they come from here
    /// or from the IP address of `rtp`, and from nowhere else.
    pub signalling: Option<IpAddr>,
    /// The formats, the preferred one first, with the numbers that we and the peer gave them.
    pub codecs: Vec<NegotiatedCodec>,
    /// What we do: send, receive, both, neither.
    pub direction: Direction,
}

impl LegMedia {
    /// Both G.711 laws under their static numbers, both ways, with no address yet: what is listened for before an answer.
    pub fn audio() -> Self {
        let codecs = [Codec::pcmu(), Codec::pcma()]
            .into_iter()
            .map(|codec| NegotiatedCodec {
                send_payload_type: codec.payload_type,
                receive_payload_type: codec.payload_type,
                codec,
            });
        LegMedia {
            rtp: None,
            rtcp: None,
            rtcp_mux: false,
            signalling: None,
            codecs: codecs.collect(),
            direction: Direction::SendRecv,
        }
    }

    /// What was negotiated for a stream whose peer signals from `signalling`.
    pub fn negotiated(stream: &Negotiated, signalling: Option<IpAddr>) -> Self {
        LegMedia {
            rtp: stream.remote,
            rtcp: stream.remote_rtcp,
            rtcp_mux: stream.rtcp_mux,
            signalling,
            codecs: stream.codecs.clone(),
            direction: stream.direction,
        }
    }
}

/// Sound at 8,000 samples a second in one channel, shared by all who play it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audio {
    /// Linear samples.
    Pcm(Arc<[i16]>),
    /// G.711 µ-law, one byte a sample.
    Pcmu(Bytes),
    /// G.711 A-law, one byte a sample.
    Pcma(Bytes),
}

impl Audio {
    /// The first `length` of a tone: of one with a cadence, a whole period, to be played again and again.
    pub fn tone(mut tone: Tone, length: Duration) -> Self {
        let mut samples = vec![0; (length.as_micros() / 125) as usize];
        tone.fill(&mut samples);
        Audio::Pcm(samples.into())
    }

    /// How many samples it has.
    pub fn len(&self) -> usize {
        match self {
            Audio::Pcm(samples) => samples.len(),
            Audio::Pcmu(bytes) | Audio::Pcma(bytes) => bytes.len(),
        }
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What the signalling side asks for. A command that names a leg which is not there does nothing: it crossed the leg's end.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// A leg on a pair of sockets that no other leg uses.
    CreateLeg {
        /// Its number.
        leg: LegId,
        /// Its sockets; closed with it.
        pair: PairId,
        /// Its canonical name in RTCP: the same for all media of one call leg, telling nothing of a person (RFC 7022).
        cname: String,
        /// What is known of the peer.
        media: LegMedia,
        /// After so long without a packet while we receive, [`Event::MediaTimeout`](crate::Event::MediaTimeout).
        media_timeout: Option<Duration>,
    },
    /// A new offer and answer on the leg: other formats or directions, and its address may be learned anew.
    UpdateLeg {
        /// The leg.
        leg: LegId,
        /// What is known of the peer now.
        media: LegMedia,
    },
    /// Ends the leg: RTCP BYE, the last recorded sound, [`Event::LegRemoved`](crate::Event::LegRemoved), and its sockets
    /// are closed.
    RemoveLeg {
        /// The leg.
        leg: LegId,
    },
    /// Each of two legs hears the other, and no other leg; a leg bridged with itself hears itself.
    Bridge {
        /// One leg.
        a: LegId,
        /// The other.
        b: LegId,
    },
    /// The leg and the one it was bridged with hear each other no more.
    Unbridge {
        /// The leg.
        leg: LegId,
    },
    /// The leg hears the pieces of a list one behind the other, in place of what it was bridged with or played before.
    Play {
        /// The leg.
        leg: LegId,
        /// Comes back in [`Event::PlayEnded`](crate::Event::PlayEnded).
        id: u64,
        /// At most [`PLAYLIST_PIECES`](ringpost_base::limits::PLAYLIST_PIECES); further ones are left out.
        playlist: Vec<Audio>,
        /// From the beginning again, until stopped.
        repeat: bool,
    },
    /// Live sound, which the leg hears from the first of these commands on to its end, in place of what it was bridged with:
    /// 120 ms behind its arrival, never more than 500 ms, with silence where nothing comes. What is played and digits go
    /// before it.
    Feed {
        /// The leg.
        leg: LegId,
        /// Where the first sample stands on the sound's own timeline, at 8,000 a second; it may begin anywhere and wraps.
        timestamp: u32,
        /// Linear samples at 8,000 a second, at most 380 ms; what is over that is left out.
        samples: Arc<[i16]>,
    },
    /// Ends what is being played.
    StopPlay {
        /// The leg.
        leg: LegId,
    },
    /// Sends DTMF to the leg, as telephone-event, or as tones to a peer that has none; behind digits that still wait.
    SendDigits {
        /// The leg.
        leg: LegId,
        /// `0`–`9`, `*`, `#`, `A`–`D`; others are passed over. At most
        /// [`DIGITS_WAITING`](ringpost_base::limits::DIGITS_WAITING) wait; further ones are left out.
        digits: String,
    },
    /// Records what the leg says, in place of a recording that runs.
    Record {
        /// The leg.
        leg: LegId,
        /// Comes back in the events.
        id: u64,
        /// The recording ends at this length.
        max: Duration,
        /// The recording ends after so much silence.
        silence: Option<Duration>,
    },
    /// Ends the recording.
    StopRecord {
        /// The leg.
        leg: LegId,
    },
    /// From now on what the leg receives comes as [`Output::Tapped`](crate::Output::Tapped) too, as far as it is speech that
    /// can be decoded.
    Tap {
        /// The leg.
        leg: LegId,
    },
    /// Ends that.
    Untap {
        /// The leg.
        leg: LegId,
    },
}
