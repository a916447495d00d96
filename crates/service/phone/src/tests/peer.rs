//! A telephone: a user agent with one line, an address, and a way to describe its sound.

use super::office::secret;
use super::world::SERVER;
use bytes::Bytes;
use ringpost_base::{Instant, Rng};
use ringpost_sdp::{Direction, SessionDescription};
use ringpost_sip::ua::{Content, Event, LoginId, NewRequest, RequestId, SessionId, Ua, UaConfig};
use ringpost_sip::{Flow, Message, Method, NameAddr, Status, Transport};
use std::net::SocketAddr;

/// One telephone.
pub(super) struct Peer {
    pub(super) name: &'static str,
    pub(super) domain: &'static str,
    pub(super) ua: Ua,
    pub(super) flow: Flow,
    pub(super) login: Option<LoginId>,
    /// What it was told and nobody has looked at yet.
    pub(super) events: Vec<Event>,
    /// It has no user agent: what comes is only kept.
    pub(super) is_raw: bool,
    pub(super) heard: Vec<Message>,
    /// The formats that it has, in order.
    pub(super) formats: &'static str,
    /// What its user wants: on hold it does not receive.
    pub(super) will: Direction,
    /// Whether re-INVITEs, and requests other than INVITE, are answered as they come.
    pub(super) is_polite: bool,
    registration: Option<(ringpost_sip::Text, u32)>,
    version: u32,
}

impl Peer {
    pub(super) fn new(name: &'static str, address: SocketAddr, transport: Transport, rng: &mut Rng) -> Self {
        let mut ua = Ua::new(peer_config(true), rng.fork());
        let domain = domain_of(name);
        let login = Some(ua.add_login(domain, name, &secret(name)));
        Peer {
            name,
            domain,
            ua,
            flow: Flow {
                transport,
                local: address,
                remote: SERVER,
                connection: transport.is_reliable().then_some(1),
            },
            login,
            events: Vec::new(),
            is_raw: false,
            heard: Vec::new(),
            formats: "0 8 101",
            will: Direction::SendRecv,
            is_polite: true,
            registration: None,
            version: 0,
        }
    }

    /// It refreshes its sessions with re-INVITE.
    pub(super) fn takes_no_update(&mut self) {
        self.ua.configure(peer_config(false));
    }

    pub(super) fn address_of(&self, user: &str) -> NameAddr {
        format!("<sip:{user}@{}>", domain_of(user)).parse().unwrap()
    }

    /// The URI in its Contact.
    pub(super) fn contact(&self) -> NameAddr {
        let transport = match self.flow.transport {
            Transport::Udp => "",
            Transport::Tcp => ";transport=tcp",
            Transport::Tls => ";transport=tls",
        };
        let (name, address) = (self.name, self.flow.local);
        format!("<sip:{name}@{address}{transport}>").parse().unwrap()
    }

    /// A request of this phone's for somebody.
    pub(super) fn request(&self, method: Method, to: &str) -> NewRequest {
        let to = self.address_of(to);
        let mut request = NewRequest::new(method, self.flow, self.address_of(self.name), to);
        request.login = self.login;
        request
    }

    /// A REGISTER for so many seconds, with a Contact of its own or what is given; `None` asks what there is.
    pub(super) fn registration(&mut self, expires_s: u32, contact: Option<&str>) -> NewRequest {
        let mut request = self.request(Method::Register, self.name);
        request.uri = format!("sip:{}", self.domain).parse().unwrap();
        let (call_id, cseq) = match self.registration.take() {
            Some(known) => known,
            None => (self.ua.mint().call_id().into(), 0),
        };
        // A challenge takes a number of its own.
        self.registration = Some((call_id.clone(), cseq + 10));
        request.call = Some((call_id, cseq));
        request.content = Content::none().with("Expires", expires_s);
        if let Some(contact) = contact {
            request.content = request.content.with("Contact", contact);
        }
        request
    }

    pub(super) fn register(&mut self, now: Instant, expires_s: u32) -> RequestId {
        let contact = self.contact().to_string();
        let request = self.registration(expires_s, Some(&contact));
        self.ua.request(now, request).unwrap()
    }

    /// Its description, as an offer or as an answer to one.
    pub(super) fn describe(&mut self, offer: &[u8]) -> Bytes {
        let offered = SessionDescription::parse(offer).ok();
        let theirs = offered
            .as_ref()
            .and_then(|o| Some(o.direction_of(o.media.first()?)));
        let direction = theirs.map_or(self.will, |theirs| self.will.and(theirs.reversed()));
        self.version += 1;
        sdp(self.formats, direction, self.version)
    }

    pub(super) fn call(&mut self, now: Instant, to: &str) -> SessionId {
        let offer = self.describe(b"");
        let mut request = self.request(Method::Invite, to);
        request.content = Content::sdp(offer);
        self.ua.invite(now, request).unwrap()
    }

    /// Answers a call, or a change of it, with what fits the offer.
    pub(super) fn answer(&mut self, now: Instant, session: SessionId, request: &Message) {
        let description = self.describe(request.body());
        self.ua.answer(now, session, Content::sdp(description)).unwrap();
    }

    /// Changes the call to what its user wants now.
    pub(super) fn change(&mut self, now: Instant, session: SessionId, will: Direction) {
        self.will = will;
        let offer = self.describe(b"");
        self.ua.reinvite(now, session, Content::sdp(offer)).unwrap();
    }

    pub(super) fn hang_up(&mut self, now: Instant, session: SessionId) {
        self.ua.hang_up(now, session, None).unwrap();
    }

    /// Does what a polite phone does by itself.
    pub(super) fn handle(&mut self, now: Instant, event: Event) {
        match &event {
            Event::Reinvite { session, request } if self.is_polite => self.answer(now, *session, request),
            Event::ReinviteAnswered { session, response } if self.is_polite => {
                // Only a re-INVITE without a body leaves the ACK to us.
                let answer = self.describe(response.body());
                let _ = self.ua.ack(now, *session, Content::sdp(answer));
            }
            Event::Within { id, request, .. } | Event::Request { id, request, .. } if self.is_polite => {
                let response = self.ua.response(request, Status::OK).finish();
                self.ua.respond(now, *id, response);
            }
            _ => {}
        }
        self.events.push(event);
    }
}

fn peer_config(takes_update: bool) -> UaConfig {
    let mut allow = UaConfig::default().allow;
    allow.push(Method::Notify);
    allow.retain(|method| takes_update || *method != Method::Update);
    UaConfig {
        allow,
        accept: vec![
            "application/sdp".into(),
            "text/plain".into(),
            "application/dtmf-relay".into(),
            "application/simple-message-summary".into(),
        ],
        events: vec!["message-summary".into()],
        ..UaConfig::default()
    }
}

/// Dave is of another domain than the others.
fn domain_of(user: &str) -> &'static str {
    match user {
        "dave" => "example.net",
        _ => "example.org",
    }
}

/// A description of audio in those formats: 0, 8, 9 and 18 are what RFC 3551 says, 96 is Opus, 101 telephone-event.
pub(super) fn sdp(formats: &str, direction: Direction, version: u32) -> Bytes {
    let mut text = format!(
        "v=0\r\no=- 7 {version} IN IP4 198.51.100.9\r\ns=-\r\nc=IN IP4 198.51.100.9\r\nt=0 0\r\n\
         m=audio 40000 RTP/AVP {formats}\r\n"
    );
    for format in formats.split(' ') {
        text.push_str(match format {
            "96" => "a=rtpmap:96 opus/48000/2\r\n",
            "101" => "a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n",
            _ => "",
        });
    }
    text.push_str(&format!("a={}\r\n", direction.name()));
    text.into()
}
