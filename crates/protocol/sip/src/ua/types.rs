//! What a user agent is told and tells.

use crate::endpoint::{EndpointConfig, Failure, Transmit};
use crate::flow::Flow;
use crate::header::NameAddr;
use crate::message::Message;
use crate::method::Method;
use crate::text::Text;
use crate::transaction::TransactionId;
use crate::uri::Uri;
use bytes::Bytes;
use ringpost_base::{Instant, limits};
use std::borrow::Cow;
use std::fmt;
use std::time::Duration;
use thiserror::Error;

/// How a [`Ua`](super::Ua) behaves.
#[derive(Clone, Debug)]
pub struct UaConfig {
    /// The transaction layer's part.
    pub endpoint: EndpointConfig,
    /// The value of User-Agent in requests and Server in responses; empty for neither.
    pub agent: String,
    /// Methods that are served, told in Allow; others get 405, unknown ones 501.
    pub allow: Vec<Method>,
    /// Types of bodies that are understood, told in Accept; others get 415.
    pub accept: Vec<String>,
    /// Option tags that are understood, told in Supported; a request that requires another gets 420.
    pub supported: Vec<String>,
    /// Event packages that SUBSCRIBE and NOTIFY may name, told in Allow-Events; others get 489.
    pub events: Vec<String>,
    /// Requests are passed on to others in some form (a back-to-back agent), so that one without hops left gets 483
    /// (RFC 7332 §4); an end point takes it.
    pub relays: bool,
    /// How long an INVITE of ours may ring; then it is cancelled. Each provisional response begins it anew.
    pub ring_limit: Duration,
    /// Sessions and subscriptions at one time, at most [`limits::SIP_DIALOGS`]; INVITE gets 503 over it.
    pub dialogs: usize,
    /// Requests within a dialog go to the address in its next hop where that is written as a number. Otherwise they go over
    /// the flow that the dialog's last message came by, which is right for phones that registered, and behind NAT.
    pub follow_contact: bool,
    /// The session interval that we ask for in seconds (RFC 4028), at least 90; `None` to ask for none. Peers that ask are
    /// served in either case.
    pub session_expires_s: Option<u32>,
}

impl Default for UaConfig {
    fn default() -> Self {
        use Method::{Ack, Bye, Cancel, Info, Invite, Message, Notify, Options, Refer, Update};
        UaConfig {
            endpoint: EndpointConfig::default(),
            agent: String::new(),
            allow: vec![
                Invite, Ack, Cancel, Bye, Options, Info, Update, Message, Notify, Refer,
            ],
            accept: vec!["application/sdp".into()],
            supported: vec!["timer".into()],
            events: Vec::new(),
            relays: false,
            ring_limit: Duration::from_secs(240),
            dialogs: limits::SIP_DIALOGS,
            follow_contact: false,
            session_expires_s: None,
        }
    }
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident $word:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub(crate) u64);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($word, " {:x}"), self.0)
            }
        }
    )*};
}

ids! {
    /// Names one INVITE session, from its INVITE to its [`Event::Terminated`]. Not used again for another.
    SessionId "session";
    /// Names one subscription, until its [`Event::SubscriptionEnded`]. Not used again for another.
    SubscriptionId "subscription";
    /// Names a request of ours, however often it has to be sent again with credentials.
    RequestId "request";
    /// Names a password that was given to [`Ua::add_login`](super::Ua::add_login).
    LoginId "login";
}

/// Header fields and a body, beyond what the machine puts there by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// Names, which must be tokens, and values.
    pub headers: Vec<(Cow<'static, str>, String)>,
    /// The body.
    pub body: Option<Body>,
}

/// A body and its type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// The value of Content-Type.
    pub content_type: Cow<'static, str>,
    /// The bytes.
    pub bytes: Bytes,
}

impl Content {
    /// Nothing.
    pub fn none() -> Self {
        Content::default()
    }

    /// A session description.
    pub fn sdp(bytes: impl Into<Bytes>) -> Self {
        Content::none().with_body("application/sdp", bytes)
    }

    /// With that body.
    pub fn with_body(mut self, content_type: impl Into<Cow<'static, str>>, bytes: impl Into<Bytes>) -> Self {
        self.body = Some(Body {
            content_type: content_type.into(),
            bytes: bytes.into(),
        });
        self
    }

    /// With one more header field.
    pub fn with(mut self, name: impl Into<Cow<'static, str>>, value: impl fmt::Display) -> Self {
        self.headers.push((name.into(), value.to_string()));
        self
    }
}

/// A request outside of any dialog.
#[derive(Clone, Debug)]
pub struct NewRequest {
    /// What is asked; not ACK or CANCEL.
    pub method: Method,
    /// The Request-URI.
    pub uri: Uri,
    /// The way it goes.
    pub flow: Flow,
    /// From; it gets a tag.
    pub from: NameAddr,
    /// To, without a tag.
    pub to: NameAddr,
    /// Routes, the next hop first.
    pub routes: Vec<NameAddr>,
    /// Contact; without it INVITE and SUBSCRIBE get one with From's user at our address over the flow.
    pub contact: Option<NameAddr>,
    /// Max-Forwards.
    pub max_forwards: u8,
    /// The Call-ID and the number of the last request under it, for registrations; fresh ones otherwise.
    pub call: Option<(Text, u32)>,
    /// The password to answer a challenge with. It goes to nobody without this.
    pub login: Option<LoginId>,
    /// For an INVITE: the requests within its dialog go where the dialog leads (the route set and the remote target,
    /// RFC 3261 §12.2.1.1), which [`Event::Locate`] asks for. Otherwise they go back along the flow, which is right for
    /// phones that registered.
    pub follows_dialog: bool,
    /// The rest.
    pub content: Content,
}

impl NewRequest {
    /// A request for `to`'s URI.
    pub fn new(method: Method, flow: Flow, from: NameAddr, to: NameAddr) -> Self {
        NewRequest {
            method,
            uri: to.uri().without_headers(),
            flow,
            from,
            to,
            routes: Vec::new(),
            contact: None,
            max_forwards: 70,
            call: None,
            login: None,
            follows_dialog: false,
            content: Content::none(),
        }
    }
}

/// Why a command was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CommandError {
    /// There is no such session, subscription or request any more.
    #[error("it is over")]
    Over,
    /// Not now: another INVITE is on its way in this session, its ACK is missing, or a 491 is waited out.
    #[error("another offer is under way")]
    Pending,
    /// This makes no sense in the state that it is in.
    #[error("not in this state")]
    State,
    /// A limit of sessions or transactions is reached.
    #[error("a limit is reached")]
    Full,
    /// What was given does not make a message.
    #[error("not a whole message")]
    Malformed,
}

/// What a user agent wants done.
#[derive(Debug)]
pub enum Output {
    /// Send these bytes.
    Transmit(Transmit),
    /// Something for the user.
    Event(Event),
    /// Nothing more now. Call [`Ua::handle_timeout`](super::Ua::handle_timeout) at that time, if there is one.
    Timeout(Option<Instant>),
}

/// What a user agent tells its user.
#[derive(Debug)]
pub enum Event {
    /// A request outside of any dialog that passed the checks of RFC 3261 §8.2. Answer it with
    /// [`Ua::respond`](super::Ua::respond).
    Request {
        /// The transaction to answer in.
        id: TransactionId,
        /// The way it came.
        flow: Flow,
        /// The request.
        request: Message,
    },
    /// Somebody calls. Go on with `ring`, `answer` or `reject`.
    Invite {
        /// The new session.
        session: SessionId,
        /// The way it came.
        flow: Flow,
        /// The INVITE.
        request: Message,
    },
    /// A provisional response above 100 came to our INVITE; each To tag is an early dialog of its own.
    Provisional {
        /// The session.
        session: SessionId,
        /// The response.
        response: Message,
    },
    /// Our INVITE was accepted, and the session stands. Where the INVITE had no body, `ack` must follow; otherwise the ACK
    /// is sent.
    Answered {
        /// The session.
        session: SessionId,
        /// The 2xx.
        response: Message,
    },
    /// The ACK to our 2xx came, the first INVITE's or a later one's.
    Acked {
        /// The session.
        session: SessionId,
        /// The ACK, with the answer where the 2xx made an offer.
        request: Message,
    },
    /// The peer wants to change the session: an INVITE within it, or an UPDATE with a body. Go on with `answer` or `reject`.
    Reinvite {
        /// The session.
        session: SessionId,
        /// The INVITE or UPDATE.
        request: Message,
    },
    /// The peer gave up its re-INVITE, or it was answered for by a refusal of ours: the session is as it was before.
    ReinviteGone {
        /// The session.
        session: SessionId,
    },
    /// Our re-INVITE was accepted. Where it had no body, `ack` must follow.
    ReinviteAnswered {
        /// The session.
        session: SessionId,
        /// The 2xx.
        response: Message,
    },
    /// Our re-INVITE was refused: the session is as it was before. Behind a 491 [`Event::ReinviteAllowed`] follows.
    ReinviteRefused {
        /// The session.
        session: SessionId,
        /// The final response.
        response: Message,
    },
    /// The wait behind a 491 is over (RFC 3261 §14.1): the re-INVITE may be tried again.
    ReinviteAllowed {
        /// The session.
        session: SessionId,
    },
    /// The session interval is half over, ours to refresh, and the peer takes no UPDATE: send a `reinvite` with the session
    /// description unchanged (RFC 4028 §10).
    RefreshDue {
        /// The session.
        session: SessionId,
    },
    /// Where does this URI lead, the next hop of a session's dialog? [`Ua::located`](super::Ua::located) answers; the ACK
    /// and what else is to be sent waits for that. It may come for a session that is over, whose BYE has not been sent.
    Locate {
        /// The session.
        session: SessionId,
        /// The top of its route set, or the remote target.
        uri: Uri,
    },
    /// Another request within a session: INFO, MESSAGE, NOTIFY, REFER, …. Answer it with [`Ua::respond`](super::Ua::respond).
    Within {
        /// The session.
        session: SessionId,
        /// The transaction to answer in.
        id: TransactionId,
        /// The request.
        request: Message,
    },
    /// A response to a request of ours other than INVITE, provisional ones included.
    Response {
        /// The request.
        request: RequestId,
        /// The response.
        response: Message,
    },
    /// There will be no response.
    Failed {
        /// The request.
        request: RequestId,
        /// Why.
        failure: Failure,
    },
    /// The session is over; the last event of each.
    Terminated {
        /// The session.
        session: SessionId,
        /// Why.
        reason: Reason,
    },
    /// The subscriber renews or ends (with 0 seconds) its subscription. Answer with `renew`.
    Resubscribe {
        /// The subscription.
        subscription: SubscriptionId,
        /// The transaction to answer in.
        id: TransactionId,
        /// The SUBSCRIBE.
        request: Message,
        /// The seconds it asks for.
        expires_s: u32,
    },
    /// Our subscription stands for that long, and is renewed by itself.
    Subscribed {
        /// The subscription.
        subscription: SubscriptionId,
        /// Seconds from now.
        expires_s: u32,
    },
    /// The state that we subscribed to. It is answered.
    Notify {
        /// The subscription.
        subscription: SubscriptionId,
        /// The NOTIFY.
        request: Message,
    },
    /// The subscription is over; the last event of each.
    SubscriptionEnded {
        /// The subscription.
        subscription: SubscriptionId,
        /// Why, when a message says so: the refusal of our SUBSCRIBE, or the NOTIFY that ended it.
        message: Option<Message>,
    },
    /// Something for the log, from the transaction layer.
    Notice(crate::endpoint::Event),
}

/// Why a session is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// We hung up, gave up our call, or refused the peer's.
    Local,
    /// The peer hung up.
    Bye(Message),
    /// The peer gave up its call before our answer.
    Cancelled(Message),
    /// The peer's INVITE was not answered within its Expires.
    Expired,
    /// The peer refused our call, or redirects it.
    Refused(Message),
    /// Nothing was heard of our call, or it rang for too long.
    Failed(Failure),
    /// Our answer was never acknowledged.
    NoAck,
    /// The peer knows nothing of the session any more, or did not refresh it in time.
    Gone,
}
