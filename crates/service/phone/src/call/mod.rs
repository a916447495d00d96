//! A call: legs joined by a bridge, every one of them anchored here (a back-to-back user agent).
//!
//! ```text
//! Asking ──▶ Ringing ──▶ Talking
//!    │          │  (no answer, busy, nobody registered)
//!    └──────────┴──────▶ Application: a message is left, or one's own messages or a mount are heard
//! ```
//!
//! The caller has one early dialog and one answer of ours, whatever the forks do. Each leg's session description is ours;
//! no leg sees another's addresses.

mod application;
pub(crate) mod codecs;
mod incoming;
mod mount;
mod outside;
mod overhear;
mod ringing;
mod talking;

pub(crate) use application::Application;
pub use overhear::Overheard;
pub(crate) use ringing::Ringing;
pub(crate) use talking::Talking;

use crate::question::{MediaSocket, Person, QuestionId};
use crate::registrar::Binding;
use crate::seek::Outside;
use ringpost_base::{Instant, UnixTime};
use ringpost_media::{Command, LegId, LegMedia};
use ringpost_sdp::{Codec, Direction, Negotiation, OfferError, SessionDescription, Stream};
use ringpost_sip::locate::Target;
use ringpost_sip::ua::SessionId;
use ringpost_sip::{Flow, Message, Uri};
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
    /// What its phone would do if the other leg did everything.
    pub(crate) willing: Direction,
    /// What our last offer said that we do.
    offered: Direction,
    /// The session interval wants a re-INVITE that could not be sent yet.
    pub(crate) refresh_due: bool,
}

impl Party {
    pub(crate) fn new(session: SessionId, flow: Flow, socket: MediaSocket, leg: LegId, sdp_id: u64) -> Self {
        Party {
            session,
            flow,
            negotiation: Negotiation::new(sdp_id),
            socket,
            leg,
            willing: Direction::SendRecv,
            offered: Direction::SendRecv,
            refresh_due: false,
        }
    }

    /// Makes an offer; `None` while an earlier one waits for its answer.
    pub(crate) fn offer(&mut self, codecs: Vec<Codec>, direction: Direction) -> Option<Vec<u8>> {
        let stream = self.stream(codecs, direction);
        let description = self.negotiation.offer(&[stream]).ok()?;
        self.offered = direction;
        Some(description.to_string().into_bytes())
    }

    /// Takes the answer to our offer; false when there is none that is of use, and then what was agreed on before stands.
    pub(crate) fn take_answer(&mut self, answer: Option<SessionDescription>) -> bool {
        let agreed = answer.filter(|answer| self.negotiation.handle_answer(answer).is_ok());
        self.negotiation.withdraw();
        if let Some(answer) = &agreed {
            // What we did not offer says nothing about what it would do.
            let (does, offered) = (codecs::direction_of(answer), self.offered);
            self.willing = Direction::new(
                does.sends() || !offered.receives(),
                does.receives() || !offered.sends(),
            );
        }
        agreed.is_some()
    }

    /// Answers the phone's offer.
    pub(crate) fn answer(
        &mut self,
        offer: &SessionDescription,
        codecs: Vec<Codec>,
        direction: Direction,
    ) -> Result<Vec<u8>, OfferError> {
        let stream = self.stream(codecs, direction);
        let (description, _) = self.negotiation.answer(offer, &[stream])?;
        self.willing = codecs::direction_of(offer);
        Ok(description.to_string().into_bytes())
    }

    /// What the session would come to if that was answered.
    pub(crate) fn would_answer(
        &self,
        offer: &SessionDescription,
        codecs: Vec<Codec>,
    ) -> Result<Negotiation, OfferError> {
        let stream = self.stream(codecs, Direction::SendRecv);
        let mut negotiation = self.negotiation.clone();
        negotiation.answer(offer, &[stream])?;
        Ok(negotiation)
    }

    fn stream(&self, codecs: Vec<Codec>, direction: Direction) -> Stream {
        Stream::audio(self.socket.advertised, codecs).directed(direction)
    }

    /// Tells the media engine what was agreed on; `None` while nothing is.
    pub(crate) fn update(&self) -> Option<Command> {
        self.update_to(&self.negotiation)
    }

    /// The same for what another negotiation came to.
    pub(crate) fn update_to(&self, negotiation: &Negotiation) -> Option<Command> {
        let media = LegMedia::negotiated(negotiation.audio()?, Some(self.flow.remote.ip()));
        Some(Command::UpdateLeg { leg: self.leg, media })
    }

    /// What we do on this leg.
    pub(crate) fn direction(&self) -> Direction {
        let audio = self.negotiation.audio();
        audio.map_or(Direction::SendRecv, |audio| audio.direction)
    }

    /// What the other leg may speak; before this one has said anything, what we speak ourselves.
    pub(crate) fn beside(&self) -> Vec<Codec> {
        match self.negotiation.audio() {
            Some(audio) => codecs::beside(&audio.codecs),
            None => codecs::ours(),
        }
    }
}

/// Where one copy of a call goes.
#[derive(Clone, Debug)]
pub(crate) struct Destination {
    /// Its Request-URI.
    pub(crate) uri: Uri,
    pub(crate) flow: Flow,
    /// What led there, for one of another domain.
    pub(crate) target: Option<Target>,
}

impl From<&Binding> for Destination {
    fn from(binding: &Binding) -> Self {
        Destination {
            uri: binding.request_uri(),
            flow: binding.flow,
            target: None,
        }
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
    /// The user name of the device that has proven it.
    pub(crate) device: Option<Box<str>>,
    /// Who is called; nobody while that is asked, for a number that is a service, and for somebody of another domain.
    pub(crate) callee: Option<Arc<Person>>,
    /// The mount that is called.
    pub(crate) mount: Option<Box<str>>,
    /// The question which one that is, once asked: the answer may take as long as it is waited for.
    pub(crate) mount_asked: Option<QuestionId>,
    /// Who is called, if they are of another domain.
    pub(crate) outside: Option<Box<Outside>>,
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
