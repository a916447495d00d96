//! A softphone (RFC 3261, 3264, 3550, 4733, 3428, 3842): see [`Phone`].

mod call;
mod heard;
mod media;
mod registration;
mod summary;
#[cfg(test)]
mod tests;

pub use call::{CallId, Ended, Statistics};
pub use heard::Sound;
pub use summary::Lamp;

use bytes::Bytes;
use call::Call;
use registration::Registration;
use ringpost_base::{Instant, Rng, UnixTime};
use ringpost_sdp::Codec;
use ringpost_sip::ua::{
    self, Content, Event as UaEvent, LoginId, NewRequest, Output as UaOutput, Ua, UaConfig,
};
use ringpost_sip::{
    Arrival, EndpointConfig, Flow, Frame, Framer, Host, Message, Method, NameAddr, PONG, Status,
    TransactionId, Transport, Uri,
};
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;
use thiserror::Error;

/// Who a phone is, and how it behaves.
#[derive(Clone, Debug)]
pub struct Config {
    /// The user part of its address.
    pub user: String,
    /// The domain of its address, and the realm that its password is for.
    pub domain: String,
    /// Name and password for challenges.
    pub login: Option<(String, String)>,
    /// Where it sends and receives SIP.
    pub sip: SocketAddr,
    /// What carries its SIP. Over streams the owner keeps one connection for each remote address.
    pub transport: Transport,
    /// Where all its requests go; without it they go to the address in the URI that is called.
    pub server: Option<SocketAddr>,
    /// Where it receives RTP, one address for each call at a time; RTCP is a port above.
    pub lines: Vec<SocketAddr>,
    /// How long a registration or subscription is asked for.
    pub expires_s: u32,
    /// What it does when it is called.
    pub answering: Answering,
    /// What it says in every call, in Hz; silence otherwise.
    pub tone_hz: Option<f64>,
    /// What it offers and takes, the preferred first: PCMU, PCMA and telephone-event.
    pub codecs: Vec<Codec>,
    /// Timers and the like of SIP.
    pub endpoint: EndpointConfig,
}

impl Config {
    /// A phone over UDP that rings, on one line.
    pub fn new(user: &str, domain: &str, sip: SocketAddr, rtp: SocketAddr) -> Self {
        Config {
            user: user.into(),
            domain: domain.into(),
            login: None,
            sip,
            transport: Transport::Udp,
            server: None,
            lines: vec![rtp],
            expires_s: 300,
            answering: Answering::Ring,
            tone_hz: None,
            codecs: vec![Codec::pcmu(), Codec::pcma(), Codec::telephone_event(101)],
            endpoint: EndpointConfig {
                large_by_tcp: false,
                ..EndpointConfig::default()
            },
        }
    }
}

/// What a phone does when it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answering {
    /// Rings until somebody answers or rejects.
    Ring,
    /// Rings, and answers by itself after so long.
    After(Duration),
    /// Refuses at once, for instance with 486.
    Refuse(Status),
}

/// One of a phone's sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Socket {
    /// SIP: the UDP socket, or a stream to the peer.
    Sip(Transport),
    /// RTP of that line.
    Rtp(usize),
    /// RTCP of that line, one port higher.
    Rtcp(usize),
}

/// What a phone wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Send these bytes; on a stream over the connection to that address, opening it if there is none.
    Transmit {
        /// From which socket.
        socket: Socket,
        /// Where to.
        to: SocketAddr,
        /// One datagram, or one SIP message.
        bytes: Bytes,
    },
    /// Something happened.
    Event(Event),
    /// Nothing more now; call [`Phone::handle_timeout`] then, if there is a time.
    Timeout(Option<Instant>),
}

/// What a phone tells.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The registrar knows us, for so long; renewed by itself.
    Registered {
        /// Seconds from now.
        expires_s: u32,
    },
    /// We are not registered any more, as asked.
    Unregistered,
    /// The registrar refuses us, or does not answer (`None`). It is tried again later, except after a 4xx.
    RegistrationFailed {
        /// Its status.
        status: Option<u16>,
    },
    /// Somebody calls.
    Incoming {
        /// The new call.
        call: CallId,
        /// The URI in From.
        from: String,
    },
    /// Our call makes progress: 180, 183 …
    Progress {
        /// The call.
        call: CallId,
        /// The status.
        status: u16,
    },
    /// The call stands.
    Up {
        /// The call.
        call: CallId,
    },
    /// The peer holds us, or no longer does.
    Held {
        /// The call.
        call: CallId,
        /// Which of both.
        held: bool,
    },
    /// We hold the peer, or no longer do, as asked.
    Holding {
        /// The call.
        call: CallId,
        /// Which of both.
        holding: bool,
    },
    /// The peer refused to be held or resumed: the call is as it was.
    HoldRefused {
        /// The call.
        call: CallId,
        /// The status.
        status: u16,
    },
    /// Another sound is heard.
    Heard {
        /// The call.
        call: CallId,
        /// What.
        sound: Sound,
    },
    /// The peer has pressed a key.
    Digit {
        /// The call.
        call: CallId,
        /// Which.
        digit: char,
    },
    /// The call is over; the last event of each.
    Ended {
        /// The call.
        call: CallId,
        /// Why.
        why: Ended,
        /// How it went.
        statistics: Statistics,
    },
    /// A text came.
    Text {
        /// The URI in From.
        from: String,
        /// The text.
        text: String,
    },
    /// Our text was taken (2xx), or not; `None` when nobody answered.
    TextSent {
        /// Which.
        text: TextId,
        /// The final status.
        status: Option<u16>,
    },
    /// What waits in the mailbox, by a NOTIFY, asked for or not.
    Lamp(Lamp),
    /// Our subscription to the mailbox stands for so long; renewed by itself.
    Subscribed {
        /// Seconds from now.
        expires_s: u32,
    },
    /// Our subscription to the mailbox was refused or has ended.
    SubscriptionEnded {
        /// The status, if it was refused.
        status: Option<u16>,
    },
}

/// A text message's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TextId(pub u64);

/// Why a command was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Error {
    /// What is to be called is neither a user nor a SIP URI.
    #[error("expected a user or a SIP URI")]
    Target,
    /// There is no server, and the URI does not say an address.
    #[error("expected a server, or a URI with an address")]
    Route,
    /// Every line has a call.
    #[error("no line is free")]
    Busy,
    /// There is no such call any more.
    #[error("the call is over")]
    Over,
    /// Not in this state of the call.
    #[error("not in this state of the call")]
    State,
    /// The user agent refuses.
    #[error(transparent)]
    Sip(#[from] ua::CommandError),
}

/// Texts that wait for their answer; further ones count as unanswered at once.
const TEXTS: usize = 256;

/// A phone: it registers, calls and is called, holds, sends digits and texts, watches its mailbox's lamp, and tells what
/// tone it hears.
///
/// Give what came to [`handle_datagram`](Phone::handle_datagram) and [`handle_stream`](Phone::handle_stream), and drain
/// [`poll_output`](Phone::poll_output) after each call of anything.
#[derive(Debug)]
pub struct Phone {
    config: Config,
    /// Our clock's start and the calendar's time then.
    epoch: (Instant, UnixTime),
    rng: Rng,
    ua: Ua,
    login: Option<LoginId>,
    aor: NameAddr,
    registration: Registration,
    subscription: Option<ua::SubscriptionId>,
    calls: Vec<Call>,
    last_call: u64,
    texts: HashMap<ua::RequestId, TextId>,
    last_text: u64,
    framers: HashMap<SocketAddr, Framer>,
    outputs: VecDeque<Output>,
}

impl Phone {
    /// A phone that has just been plugged in; `now` is `wallclock` on the calendar.
    pub fn new(now: Instant, wallclock: UnixTime, config: Config, mut rng: Rng) -> Result<Self, Error> {
        let aor =
            Uri::parse(format!("sip:{}@{}", config.user, config.domain).into()).map_err(|_| Error::Target)?;
        let mut ua = Ua::new(
            UaConfig {
                endpoint: config.endpoint.clone(),
                agent: "Ringpost phone".into(),
                allow: vec![
                    Method::Invite,
                    Method::Ack,
                    Method::Cancel,
                    Method::Bye,
                    Method::Options,
                    Method::Update,
                    Method::Message,
                    Method::Notify,
                ],
                accept: [SDP, TEXT, SUMMARY].map(String::from).to_vec(),
                events: vec![SUMMARY_PACKAGE.into()],
                ..UaConfig::default()
            },
            rng.fork(),
        );
        let login = config
            .login
            .as_ref()
            .map(|(user, password)| ua.add_login(&config.domain, user, password));
        Ok(Phone {
            aor: NameAddr::new(&aor),
            epoch: (now, wallclock),
            rng,
            ua,
            login,
            config,
            registration: Registration::default(),
            subscription: None,
            calls: Vec::new(),
            last_call: 0,
            texts: HashMap::new(),
            last_text: 0,
            framers: HashMap::new(),
            outputs: VecDeque::new(),
        })
    }

    /// How it was set up.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What to do from now on when it is called.
    pub fn set_answering(&mut self, answering: Answering) {
        self.config.answering = answering;
    }

    /// Everything that it holds, and how much of it: all zero a while after it has hung up, unsubscribed and unregistered.
    pub fn holdings(&self) -> impl Iterator<Item = (&'static str, usize)> {
        let own = [
            ("calls", self.calls.len()),
            ("texts without an answer", self.texts.len()),
            ("our subscription", usize::from(self.subscription.is_some())),
            ("our registration", self.registration.holdings()),
        ];
        own.into_iter().chain(self.ua.holdings())
    }

    /// Sends a text to a user of our domain, or to a SIP URI.
    pub fn send_text(&mut self, now: Instant, to: &str, text: &str) -> Result<TextId, Error> {
        let to = self.target(to)?;
        let content = Content::none().with_body("text/plain;charset=UTF-8", text.to_owned().into_bytes());
        let request = NewRequest {
            content,
            ..self.new_request(Method::Message, to)?
        };
        let request = self.ua.request(now, request)?;
        self.last_text += 1;
        let id = TextId(self.last_text);
        if self.texts.len() < TEXTS {
            self.texts.insert(request, id);
        } else {
            self.event(Event::TextSent {
                text: id,
                status: None,
            });
        }
        self.pump(now);
        Ok(id)
    }

    /// Subscribes to our mailbox's lamp (RFC 3842).
    pub fn subscribe(&mut self, now: Instant) -> Result<(), Error> {
        let content = Content::none()
            .with("Event", SUMMARY_PACKAGE)
            .with("Expires", self.config.expires_s)
            .with("Accept", SUMMARY);
        let request = NewRequest {
            content,
            ..self.new_request(Method::Subscribe, self.aor.clone())?
        };
        self.subscription = Some(self.ua.subscribe(now, request)?);
        self.pump(now);
        Ok(())
    }

    /// Ends the subscription.
    pub fn unsubscribe(&mut self, now: Instant) -> Result<(), Error> {
        let subscription = self.subscription.ok_or(Error::State)?;
        self.ua.unsubscribe(now, subscription)?;
        self.pump(now);
        Ok(())
    }

    /// A request of ours to `to`, with our password, on its way.
    fn new_request(&self, method: Method, to: NameAddr) -> Result<NewRequest, Error> {
        let remote = self
            .config
            .server
            .or_else(|| address_in(to.uri()))
            .ok_or(Error::Route)?;
        let request = NewRequest::new(method, self.flow(remote), self.aor.clone(), to);
        Ok(NewRequest {
            login: self.login,
            ..request
        })
    }

    fn flow(&self, remote: SocketAddr) -> Flow {
        Flow {
            transport: self.config.transport,
            local: self.config.sip,
            remote,
            connection: None,
        }
    }

    fn target(&self, text: &str) -> Result<NameAddr, Error> {
        let uri = match text.contains(':') {
            true => Uri::parse(text.into()),
            false => Uri::sip(
                Some(text),
                self.aor.uri().host().unwrap_or(Host::Name("invalid")),
                None,
            ),
        };
        uri.ok()
            .filter(Uri::is_sip)
            .map(|uri| NameAddr::new(&uri))
            .ok_or(Error::Target)
    }

    /// A datagram came on one of our sockets.
    pub fn handle_datagram(&mut self, now: Instant, socket: Socket, from: SocketAddr, bytes: Bytes) {
        match socket {
            Socket::Sip(_) => self.ua.handle_bytes(now, self.flow(from), bytes),
            Socket::Rtp(line) => {
                if let Some(media) = self.media_of(line) {
                    media.handle_rtp(now, from, &bytes);
                }
            }
            Socket::Rtcp(line) => {
                if let Some(media) = self.media_of(line) {
                    media.handle_rtcp(now, from, &bytes);
                }
            }
        }
        self.pump(now);
    }

    /// Bytes came over the stream from that address. False when the stream cannot be followed: close it.
    pub fn handle_stream(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) -> bool {
        self.framers
            .entry(from)
            .or_insert_with(|| Framer::new(from))
            .push(bytes);
        while let Some(framer) = self.framers.get_mut(&from) {
            let message = match framer.poll() {
                Ok(Some(Frame::Message(message))) => Ok(message),
                Ok(Some(Frame::Malformed(error))) => Err(error),
                Ok(Some(Frame::Ping)) => {
                    let socket = Socket::Sip(self.config.transport);
                    self.outputs.push_back(Output::Transmit {
                        socket,
                        to: from,
                        bytes: PONG.into(),
                    });
                    continue;
                }
                Ok(Some(Frame::Pong)) => continue,
                Ok(None) => break,
                Err(_) => {
                    self.handle_stream_closed(now, from);
                    return false;
                }
            };
            let flow = self.flow(from);
            self.ua.handle_arrival(now, Arrival::Message { flow, message });
        }
        self.pump(now);
        true
    }

    /// The stream to that address ended, or could not be opened.
    pub fn handle_stream_closed(&mut self, now: Instant, remote: SocketAddr) {
        self.framers.remove(&remote);
        self.ua.handle_transport_error(now, self.flow(remote));
        self.pump(now);
    }

    /// The time that `poll_output` gave has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.ua.handle_timeout(now);
        self.pump(now);
        self.handle_registration_timeout(now);
        self.handle_call_timeouts(now);
        self.pump(now);
    }

    /// What is to be done, `Timeout` last.
    pub fn poll_output(&mut self) -> Output {
        if let Some(output) = self.outputs.pop_front() {
            return output;
        }
        let ua = match self.ua.poll_output() {
            UaOutput::Timeout(at) => at,
            UaOutput::Transmit(_) | UaOutput::Event(_) => {
                unreachable!("the user agent is drained by every call")
            }
        };
        let calls = self.calls.iter().filter_map(Call::deadline);
        Output::Timeout(calls.chain(ua).chain(self.registration.deadline()).min())
    }

    /// Takes what the user agent and the calls' media have to say.
    fn pump(&mut self, now: Instant) {
        loop {
            match self.ua.poll_output() {
                UaOutput::Transmit(transmit) => self.outputs.push_back(Output::Transmit {
                    socket: Socket::Sip(transmit.flow.transport),
                    to: transmit.flow.remote,
                    bytes: transmit.message,
                }),
                UaOutput::Event(event) => self.handle_event(now, event),
                UaOutput::Timeout(_) => break,
            }
        }
        self.drain_media();
    }

    fn handle_event(&mut self, now: Instant, event: UaEvent) {
        match event {
            UaEvent::Request { id, request, .. } => self.handle_request(now, id, &request),
            UaEvent::Within { id, request, .. } => self.handle_request(now, id, &request),
            UaEvent::Response { request, response } => {
                let status = response.status().filter(|status| !status.is_provisional());
                self.handle_response(now, request, status.map(|status| (status, response)));
            }
            UaEvent::Failed { request, .. } => self.handle_no_response(now, request),
            UaEvent::Notify { request, .. } => self.handle_summary(&request),
            UaEvent::Subscribed { expires_s, .. } => self.event(Event::Subscribed { expires_s }),
            UaEvent::SubscriptionEnded { message, .. } => {
                self.subscription = None;
                let status = message.and_then(|message| message.status()).map(Status::code);
                self.event(Event::SubscriptionEnded { status });
            }
            UaEvent::Resubscribe { .. } | UaEvent::Notice(_) => (),
            event => self.handle_call_event(now, event),
        }
    }

    fn handle_request(&mut self, now: Instant, id: TransactionId, request: &Message) {
        let response = match request.method() {
            Method::Options => {
                let response = self.ua.options_response(id, request);
                self.ua.respond(now, id, response);
                return;
            }
            Method::Message => {
                let from = request.from().uri().to_string();
                let text = String::from_utf8_lossy(request.body()).into_owned();
                self.event(Event::Text { from, text });
                self.ua.response(request, Status::OK)
            }
            Method::Notify => {
                self.handle_summary(request);
                self.ua.response(request, Status::OK)
            }
            _ => self.ua.response(request, Status::NOT_IMPLEMENTED),
        }
        .finish();
        self.ua.respond(now, id, response);
    }

    fn handle_response(&mut self, now: Instant, request: ua::RequestId, last: Option<(Status, Message)>) {
        let Some((status, response)) = last else { return };
        if let Some(text) = self.texts.remove(&request) {
            self.event(Event::TextSent {
                text,
                status: Some(status.code()),
            });
        } else {
            self.handle_registered(now, request, status, &response);
        }
    }

    fn handle_no_response(&mut self, now: Instant, request: ua::RequestId) {
        if let Some(text) = self.texts.remove(&request) {
            self.event(Event::TextSent { text, status: None });
        } else {
            self.handle_registration_failed(now, request);
        }
    }

    fn handle_summary(&mut self, request: &Message) {
        if let Some(lamp) = Lamp::parse(request.body()) {
            self.event(Event::Lamp(lamp));
        }
    }

    fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }
}

const SDP: &str = "application/sdp";
const TEXT: &str = "text/plain";
const SUMMARY: &str = "application/simple-message-summary";
const SUMMARY_PACKAGE: &str = "message-summary";

/// Where a URI with an address in it leads.
fn address_in(uri: &Uri) -> Option<SocketAddr> {
    Some(SocketAddr::new(uri.host()?.ip()?, uri.port().unwrap_or(5060)))
}
