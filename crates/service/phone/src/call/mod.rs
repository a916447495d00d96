//! A call: legs joined by a bridge, every one of them anchored here (a back-to-back user agent).
//!
//! ```text
//! Asking ──▶ Ringing ──▶ Talking
//!    │          │  (no answer, busy, nobody registered)
//!    └──────────┴──────▶ Application: a message is left, or one's own messages are heard
//! ```
//!
//! The caller has one early dialog and one answer of ours, whatever the forks do. Each leg's session description is ours;
//! no leg sees another's addresses.

mod application;
pub(crate) mod codecs;
mod incoming;
mod ringing;
mod talking;

pub(crate) use application::Application;
pub(crate) use ringing::Ringing;
pub(crate) use talking::{Reoffer, Talking};

use crate::question::{MediaSocket, Person};
use ringpost_base::{Instant, UnixTime};
use ringpost_media::{LegId, LegMedia};
use ringpost_sdp::{Codec, Direction, Negotiation, SessionDescription, Stream};
use ringpost_sip::ua::SessionId;
use ringpost_sip::{Flow, Message};
use std::sync::Arc;

/// Numbers a call, for the log and for the timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// One leg: a SIP session and its media.
#[derive(Debug)]
pub(crate) struct Party {
    pub(crate) session: SessionId,
    pub(crate) flow: Flow,
    pub(crate) negotiation: Negotiation,
    pub(crate) socket: MediaSocket,
    pub(crate) leg: LegId,
}

impl Party {
    /// Our description of this leg's audio.
    pub(crate) fn stream(&self, codecs: Vec<Codec>, direction: Direction) -> Stream {
        Stream::audio(self.socket.advertised, codecs).directed(direction)
    }

    /// What the media engine is to know after an offer and its answer; `None` while nothing is agreed on.
    pub(crate) fn media(&self) -> Option<LegMedia> {
        let audio = self.negotiation.audio()?;
        Some(LegMedia::negotiated(audio, Some(self.flow.remote.ip())))
    }

    /// The codec that this leg speaks.
    pub(crate) fn codec(&self) -> Option<&Codec> {
        Some(&self.negotiation.audio()?.codec()?.codec)
    }
}

/// One call from its INVITE to the end of its last leg.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) began: Instant,
    pub(crate) began_at: UnixTime,
    /// The caller's request.
    pub(crate) invite: Message,
    pub(crate) flow: Flow,
    pub(crate) session: SessionId,
    /// The caller's account, when proven.
    pub(crate) from: Option<Arc<Person>>,
    /// Who is called; nobody while that is asked, and for a number that is a service.
    pub(crate) callee: Option<Arc<Person>>,
    /// The caller's offer; `None` for a delayed one.
    pub(crate) offer: Option<SessionDescription>,
    /// The caller's leg, once it has sockets.
    pub(crate) caller: Option<Party>,
    /// Our answer to the caller's offer, once given: it stays the same in every response.
    pub(crate) answer: Option<Vec<u8>>,
    /// Whether the caller's INVITE has had its 2xx.
    pub(crate) answered: bool,
    pub(crate) stage: Stage,
}

/// Where a call is.
#[derive(Debug)]
pub(crate) enum Stage {
    /// Something is being asked of the node before it can go on.
    Asking,
    /// The phones ring.
    Ringing(Ringing),
    /// Two legs hear each other.
    Talking(Box<Talking>),
    /// The caller speaks with us.
    Application(Box<Application>),
}
