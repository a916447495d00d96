//! What is kept of one session.

use super::course::Parked;
use super::types::{LoginId, SessionId};
use crate::dialog::Dialog;
use crate::endpoint::Transmit;
use crate::flow::Flow;
use crate::message::Message;
use crate::transaction::{Key, TransactionId};
use crate::uri::Uri;
use bytes::Bytes;
use std::time::Duration;

/// Where an INVITE session stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    /// Our INVITE has no final response yet.
    Calling,
    /// Nor shall it have one: it is to be cancelled.
    Cancelling,
    /// The peer's INVITE waits for our final response.
    Incoming,
    /// Our 2xx waits for its ACK.
    Answered,
    /// It stands.
    Established,
    /// It is over and told so; what is left are transactions that must find their dialog.
    Over,
}

#[derive(Debug)]
pub(super) struct Session {
    pub(super) state: State,
    /// Under which requests within it are found.
    pub(super) key: Key,
    /// The way that the peer's last message came by.
    pub(super) flow: Flow,
    /// Where requests within the dialog go.
    pub(super) course: Course,
    /// What waits until that is known.
    pub(super) parked: Vec<Parked>,
    /// A re-INVITE was refused because it was not known.
    pub(super) is_course_wanted: bool,
    /// Something came in answer to our INVITE.
    pub(super) is_heard: bool,
    /// The value of our Contact.
    pub(super) contact: Box<str>,
    pub(super) login: Option<LoginId>,
    /// We began it, which rules how long a 491 is waited out.
    pub(super) is_ours: bool,
    /// The one that stands, or the callee's early one.
    pub(super) dialog: Option<Dialog>,
    /// The caller's early dialogs, one for each fork.
    pub(super) early: Vec<Dialog>,
    /// Our first INVITE, as long as forks may answer it.
    pub(super) first: Option<Message>,
    /// The peer's INVITE or UPDATE that waits for our answer, or for the ACK to it.
    pub(super) incoming: Option<Box<Incoming>>,
    /// Our INVITE that waits for its answer, or for our user's ACK.
    pub(super) outgoing: Option<Box<Outgoing>>,
    /// ACKs that were sent, to be sent again when their 2xx is.
    pub(super) acks: Vec<Ack>,
    /// Hang up as soon as the ACK is there.
    pub(super) is_bye_wanted: bool,
    /// It was given up because it rang for too long.
    pub(super) is_rung_out: bool,
    /// A 491 is being waited out.
    pub(super) is_glare: bool,
    /// The session interval and whose it is to refresh (RFC 4028).
    pub(super) interval: Option<Interval>,
    /// Transactions of ours that need it; a peer that changes the session often makes many.
    pub(super) holds: u32,
}

/// Where the requests within a session's dialog go.
#[derive(Debug)]
pub(super) enum Course {
    /// Back the way that the peer's last message came by.
    Back,
    /// Where the dialog leads, which is to be asked before there is something to send.
    Unknown,
    /// It is asked where this leads.
    Asked(Uri),
    /// This leads there; or nowhere, and then back.
    Known(Uri, Option<Flow>),
}

/// A session interval.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Interval {
    pub(super) seconds: u32,
    pub(super) is_ours: bool,
    /// The peer takes UPDATE.
    pub(super) by_update: bool,
}

#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) id: TransactionId,
    pub(super) request: Message,
    /// Our 2xx, until its ACK comes.
    pub(super) ok: Option<Bytes>,
    /// Our last provisional response.
    pub(super) ringing: Option<Bytes>,
    /// The interval at which the 2xx goes out again.
    pub(super) again: Duration,
}

#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) id: TransactionId,
    pub(super) request: Message,
    /// It had a body, so that the 2xx answers and the ACK is ours to send.
    pub(super) has_offer: bool,
    /// The 2xx came, and the ACK is the user's to send.
    pub(super) is_answered: bool,
}

#[derive(Debug)]
pub(super) struct Ack {
    pub(super) cseq: u32,
    pub(super) tag: Box<str>,
    pub(super) transmit: Transmit,
}

/// What a user agent waits for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum Timer {
    /// Send the 2xx again.
    Answer(SessionId),
    /// No ACK came.
    NoAck(SessionId),
    /// Send the provisional response again, lest a proxy gives up (RFC 3261 §13.3.1.1).
    Ring(SessionId),
    /// The peer's INVITE expires.
    Expires(SessionId),
    /// Our INVITE has rung for long enough.
    RingLimit(SessionId),
    /// A 491 is waited out.
    Glare(SessionId),
    /// Ours to refresh the session.
    Refresh(SessionId),
    /// The peer did not refresh it.
    Stale(SessionId),
    /// A subscription of ours is to be renewed.
    Renew(super::types::SubscriptionId),
    /// A subscription of a peer's ends, or none of our notifications came.
    Unsubscribed(super::types::SubscriptionId),
}

impl Session {
    pub(super) fn new(state: State, key: Key, flow: Flow, contact: Box<str>, login: Option<LoginId>) -> Self {
        Session {
            state,
            key,
            flow,
            course: Course::Back,
            parked: Vec::new(),
            is_course_wanted: false,
            is_heard: false,
            contact,
            login,
            is_ours: state == State::Calling,
            dialog: None,
            early: Vec::new(),
            first: None,
            incoming: None,
            outgoing: None,
            acks: Vec::new(),
            is_bye_wanted: false,
            is_rung_out: false,
            is_glare: false,
            interval: None,
            holds: 0,
        }
    }

    /// The dialog that a message of the peer's belongs to.
    pub(super) fn dialog_of(&mut self, message: &Message) -> Option<&mut Dialog> {
        self.dialog
            .iter_mut()
            .chain(&mut self.early)
            .find(|dialog| dialog.is_of(message))
    }

    /// Later messages go the way that this response came, over its connection; by UDP it came to where its request was sent from.
    pub(super) fn follow(&mut self, flow: Flow) {
        if flow.transport.is_reliable() || self.flow.transport.is_reliable() {
            self.flow = flow;
        }
    }

    /// The way of a request within its dialog, as far as that is known.
    pub(super) fn way(&self, follow_contact: bool, dialog: &Dialog) -> Flow {
        match &self.course {
            Course::Known(uri, Some(flow)) if uri == dialog.next_hop() => *flow,
            Course::Back => super::send::way(follow_contact, self.flow, dialog),
            _ => self.flow,
        }
    }

    /// Whether an offer may be made now.
    pub(super) fn is_quiet(&self) -> bool {
        self.incoming.is_none() && self.outgoing.is_none() && !self.is_glare
    }

    /// All timers that it may have set.
    pub(super) fn timers(id: SessionId) -> [Timer; 8] {
        [
            Timer::Answer(id),
            Timer::NoAck(id),
            Timer::Ring(id),
            Timer::Expires(id),
            Timer::RingLimit(id),
            Timer::Glare(id),
            Timer::Refresh(id),
            Timer::Stale(id),
        ]
    }
}
