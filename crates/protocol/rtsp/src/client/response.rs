//! Responses and what is made of them; the server's own requests.

use super::request::fits;
use super::{
    Client, Described, DigestClient, Event, Failure, Op, Outcome, Output, Pending, Playing, Proof, Quirk,
    Range, Request, Response, Session, SessionHeader, Status, Transport,
};
use crate::control;
use crate::header::{RtpInfo, parse_decimal};
use crate::method::Method;
use crate::syntax::{is_all_token, split, trim};
use crate::url::Url;
use ringpost_auth::digest::{Challenge, Challenged};
use ringpost_base::limits;

/// How often a request is sent anew since its nonce was stale.
const STALE_REPEATS: u32 = 2;

/// The challenges of one field, which may hold several behind each other, and commas at its end.
//= https://www.rfc-editor.org/rfc/rfc2326#section-12.44
fn challenges(field: &str) -> Vec<String> {
    let mut challenges: Vec<String> = Vec::new();
    for part in split(field, ',') {
        // A scheme is a word of its own; a parameter has its sign behind its name.
        let (word, rest) = part.split_once([' ', '\t']).unwrap_or((part, ""));
        let is_scheme = is_all_token(word) && !trim(rest).starts_with('=');
        match challenges.last_mut() {
            Some(last) if !is_scheme => {
                last.push_str(if last.contains(' ') { ", " } else { " " });
                last.push_str(part);
            }
            _ => challenges.push(part.to_owned()),
        }
    }
    challenges
}

impl Client {
    pub(super) fn response_came(&mut self, response: Response) {
        if response.status.is_provisional() {
            return;
        }
        let Some(pending) = self.answered(&response) else {
            return;
        };
        match response.status {
            status if status.is_success() => self.succeeded(pending, &response),
            Status::UNAUTHORIZED => self.challenged(pending, &response),
            status if status.is_redirection() && status != Status::NOT_MODIFIED => {
                self.redirected(pending, &response);
            }
            status => self.refused(pending, status),
        }
    }

    /// The request that a response answers.
    // Guards pitfall RTSP 8.
    fn answered(&mut self, response: &Response) -> Option<Pending> {
        let quirk = match response.headers.cseq() {
            Some(Ok(cseq)) => {
                if let Some(at) = self.pending.iter().position(|pending| pending.cseq == cseq) {
                    return self.pending.remove(at);
                }
                if let Some(at) = self.forgotten.iter().position(|late| *late == cseq) {
                    self.forgotten.remove(at);
                    return None;
                }
                Quirk::OtherCSeq
            }
            _ => Quirk::NoCSeq,
        };
        match !self.pending.is_empty() && self.tolerates(quirk) {
            true => self.pending.pop_front(),
            false => None,
        }
    }

    fn again(&mut self, pending: Pending, repeats: u32) {
        match self.request_of(&pending.op) {
            Ok((request, channel)) => self.send(pending.id, pending.op, request, channel, repeats),
            Err(failure) => self.fail(pending.id, &pending.op, failure),
        }
    }

    //= https://www.rfc-editor.org/rfc/rfc2326#section-11.3
    fn refused(&mut self, mut pending: Pending, status: Status) {
        if status == Status::SESSION_NOT_FOUND && self.session.take().is_some() {
            self.channels.clear();
            self.outputs.push_back(Output::Event(Event::SessionLost));
        }
        match &mut pending.op {
            Op::Setup { offers, .. } => {
                // Servers say 461, and others all kinds of things, to a transport that they do not have.
                offers.pop_front();
                match offers.is_empty() {
                    true if status == Status::UNSUPPORTED_TRANSPORT => {
                        self.fail(pending.id, &pending.op, Failure::NoTransport);
                    }
                    true => self.fail(pending.id, &pending.op, Failure::Refused { status }),
                    false if matches!(status.code(), 400 | 461..=462 | 500..=599) => self.again(pending, 0),
                    false => self.fail(pending.id, &pending.op, Failure::Refused { status }),
                }
            }
            // It said that it could, or did not say what: OPTIONS is what every server has.
            Op::Keepalive => {
                if let Some(public) = &mut self.public {
                    public.retain(|method| *method != Method::GetParameter);
                }
            }
            _ => self.fail(pending.id, &pending.op, Failure::Refused { status }),
        }
    }

    fn challenged(&mut self, pending: Pending, response: &Response) {
        let fields = response.headers.all("WWW-Authenticate");
        let values: Vec<String> = fields.flat_map(challenges).collect();
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        let Some(login) = self.login.clone() else {
            return self.fail(pending.id, &pending.op, Failure::Unauthorized);
        };
        let mut is_fresh = false;
        if let Some(Proof::Digest(client)) = &mut self.proof {
            match client.handle_challenges(values.iter().copied()) {
                Ok(Challenged::Stale) if pending.repeats < STALE_REPEATS => is_fresh = true,
                Ok(_) if !pending.was_proven => is_fresh = true,
                _ => {}
            }
        } else if self.proof.is_none() {
            self.proof = self.proof_for(&values, &login);
            is_fresh = self.proof.is_some();
        }
        // What was sent before the first challenge came is repeated with its proof.
        match is_fresh || (self.proof.is_some() && !pending.was_proven) {
            true => {
                let repeats = pending.repeats + 1;
                self.again(pending, repeats);
            }
            false => self.fail(pending.id, &pending.op, Failure::Unauthorized),
        }
    }

    /// Digest where it is offered; Basic only where nobody listens, or where that is allowed.
    // Guards pitfall RTSP 4.
    fn proof_for(&mut self, values: &[&str], login: &super::Login) -> Option<Proof> {
        for value in values {
            let Ok(challenge) = Challenge::parse(value) else {
                continue;
            };
            let client = DigestClient::new(&challenge.realm, &login.user, &login.password, self.rng.fork());
            let mut client = client.allow_without_qop();
            if client.handle_challenges(values.iter().copied()).is_ok() {
                return Some(Proof::Digest(Box::new(client)));
            }
        }
        let offers_basic = values.iter().any(|value| {
            let scheme = value.split(' ').next().unwrap_or_default();
            scheme.eq_ignore_ascii_case("Basic")
        });
        let may_be = self.url.is_secure() || self.config.basic_in_clear;
        (offers_basic && may_be).then(|| Client::basic(login))
    }

    fn redirected(&mut self, pending: Pending, response: &Response) {
        let location = response.headers.field("Location");
        let url = location.and_then(|location| control::resolve(&self.url, location));
        self.redirects += 1;
        let Some(url) = url.filter(|url| url.is_secure() || !self.url.is_secure()) else {
            return self.fail(pending.id, &pending.op, Failure::BadRedirect);
        };
        let url = url.without_credentials();
        self.outputs.push_back(Output::Event(Event::Moved {
            url: url.clone(),
            is_permanent: response.status == Status::MOVED_PERMANENTLY,
        }));
        if self.session.is_some() {
            //= https://www.rfc-editor.org/rfc/rfc2326#appendix-A.1
            self.session = None;
            self.channels.clear();
            return self.fail(pending.id, &pending.op, Failure::Redirected(url));
        }
        if self.redirects > limits::RTSP_REDIRECTS {
            return self.fail(pending.id, &pending.op, Failure::BadRedirect);
        }
        let is_same = url.is_same_server(&self.url);
        self.url = url;
        self.described = None;
        if is_same {
            return self.again(pending, 0);
        }
        // Another server is told nothing of who we are.
        (self.login, self.proof, self.public) = (None, None, None);
        self.reader = super::Reader::new(super::Reading::Tolerant);
        self.is_connected = false;
        self.waiting.push_front((pending.id, pending.op));
        while let Some(pending) = self.pending.pop_back() {
            self.waiting.push_front((pending.id, pending.op));
        }
        let url = self.url.clone();
        self.outputs.push_back(Output::Event(Event::Connect(url)));
    }

    fn succeeded(&mut self, pending: Pending, response: &Response) {
        let range = response
            .headers
            .field("Range")
            .and_then(|text| Range::parse(text).ok());
        let outcome = match &pending.op {
            Op::Options | Op::Keepalive => {
                let public: Vec<_> = response
                    .headers
                    .list("Public")
                    .filter_map(Method::parse)
                    .collect();
                if !public.is_empty() {
                    self.public = Some(public.clone());
                }
                if matches!(pending.op, Op::Keepalive) {
                    return;
                }
                Outcome::Options(public)
            }
            Op::Describe => self.description_came(response),
            Op::Announce(description) => {
                let base = self.url.clone();
                match self.controls(&base, description) {
                    Ok((aggregate, tracks)) => {
                        self.described = Some(Described {
                            aggregate,
                            tracks,
                            description: description.clone(),
                        });
                        Outcome::Announced
                    }
                    Err(failure) => Outcome::Failed(failure),
                }
            }
            Op::Setup { track, .. } => {
                let track = *track;
                match self.set_up(&pending, track, response) {
                    Ok(transport) => Outcome::SetUp {
                        track,
                        transport: Box::new(transport),
                    },
                    Err(failure) => Outcome::Failed(failure),
                }
            }
            Op::Play { .. } => self.playing(response, range),
            Op::Pause { .. } => Outcome::Paused { range },
            Op::Record(_) => Outcome::Recording,
            Op::Teardown => {
                self.session = None;
                self.channels.clear();
                Outcome::TornDown
            }
            Op::GetParameter(_) => Outcome::Parameters(response.body.clone()),
            Op::SetParameter(_) => Outcome::ParametersSet,
        };
        self.done(pending.id, outcome);
    }

    fn description_came(&mut self, response: &Response) -> Outcome {
        let headers = &response.headers;
        let (base, location) = (headers.field("Content-Base"), headers.field("Content-Location"));
        let base = control::base_url(base, location, &self.url);
        // A camera behind NAT names its inner address.
        let base = match base.is_same_server(&self.url) {
            true => base.without_credentials(),
            false => self.url.with_rest(base.path_and_query()),
        };
        match self.controls(&base, &response.body) {
            Ok((aggregate, tracks)) => {
                let described = Described {
                    aggregate,
                    tracks,
                    description: response.body.clone(),
                };
                self.described = Some(described.clone());
                Outcome::Described(Box::new(described))
            }
            Err(failure) => Outcome::Failed(failure),
        }
    }

    fn set_up(&mut self, pending: &Pending, track: usize, response: &Response) -> Result<Transport, Failure> {
        self.learn_session(response)?;
        let Op::Setup { offers, .. } = &pending.op else {
            return Err(Failure::Unreadable("an answer to SETUP"));
        };
        let offer = *offers.front().ok_or(Failure::NoTransport)?;
        let asked = || {
            let mut transport = Transport::new(offer.lower());
            transport.interleaved = pending.channel.map(|rtp| crate::header::Pair {
                rtp,
                rtcp: Some(rtp + 1),
            });
            transport
        };
        let field = response.headers.field("Transport");
        let mut transport = match field.map(Transport::parse) {
            Some(Ok(transport)) => transport,
            _ if self.tolerates(Quirk::NoTransport) => asked(),
            _ => return Err(Failure::Unreadable("a Transport field")),
        };
        if pending.channel.is_some() && transport.lower == crate::header::LowerTransport::Udp {
            // Named as RTP/AVP alone by servers that mean what was asked for.
            if transport.client_port.is_none() && transport.server_port.is_none() {
                transport.lower = crate::header::LowerTransport::Tcp;
            }
        }
        if !fits(offer, &transport) {
            return Err(Failure::Unreadable("a transport of the kind that was asked for"));
        }
        let Some(asked) = pending.channel else {
            return Ok(transport);
        };
        let (rtp, rtcp) = match transport.interleaved {
            Some(pair) => (pair.rtp, pair.rtcp_channel()),
            None => (asked, asked + 1),
        };
        let is_other = (rtp, rtcp) != (asked, asked + 1);
        if is_other && !self.tolerates(Quirk::OtherChannels) {
            return Err(Failure::Unreadable("the channels that were asked for"));
        }
        let is_taken = |channel| {
            self.channels
                .get(&channel)
                .is_some_and(|(owner, _)| *owner != track)
        };
        if rtp == rtcp || is_taken(rtp) || is_taken(rtcp) {
            return Err(Failure::Unreadable("channels that no other stream has"));
        }
        self.channels.retain(|_, (owner, _)| *owner != track);
        self.channels.insert(rtp, (track, false));
        self.channels.insert(rtcp, (track, true));
        transport.interleaved = Some(crate::header::Pair {
            rtp,
            rtcp: Some(rtcp),
        });
        Ok(transport)
    }

    fn learn_session(&mut self, response: &Response) -> Result<(), Failure> {
        let given = response.headers.field("Session").map(SessionHeader::parse);
        let known = self.session.as_ref().map(|session| session.id.clone());
        let header = match (given, known) {
            (Some(Ok(header)), None) => header,
            (Some(Ok(header)), Some(known)) if known == header.id => header,
            (_, Some(_)) if self.tolerates(Quirk::OtherSession) => return Ok(()),
            _ => return Err(Failure::Unreadable("a Session field")),
        };
        if header.timeout.is_none() && self.session.is_none() && !self.tolerates(Quirk::NoSessionTimeout) {
            return Err(Failure::Unreadable("a timeout of the session"));
        }
        let timeout = header.timeout.filter(|timeout| !timeout.is_zero());
        let timeout = timeout.unwrap_or(SessionHeader::DEFAULT_TIMEOUT);
        let heard_media = self
            .session
            .as_ref()
            .map_or(self.now, |session| session.heard_media);
        self.session = Some(Session {
            id: header.id,
            timeout,
            keepalive: self.now,
            heard_media,
        });
        self.put_off_keepalive();
        Ok(())
    }

    fn playing(&mut self, response: &Response, range: Option<Range>) -> Outcome {
        let decimal = |name| parse_decimal(response.headers.field(name)?).ok();
        let infos = response.headers.field("RTP-Info").map(RtpInfo::parse_all);
        let infos = infos.and_then(Result::ok).unwrap_or_default();
        let begins = self.streams_of(infos);
        Outcome::Playing(Box::new(Playing {
            range,
            scale: decimal("Scale"),
            speed: decimal("Speed"),
            begins,
        }))
    }

    /// To which streams the elements of RTP-Info belong: by URL, else by the end of it, else in their order.
    fn streams_of(&mut self, infos: Vec<RtpInfo>) -> Vec<(usize, RtpInfo)> {
        let Some(described) = &self.described else {
            return Vec::new();
        };
        let base = described.aggregate.clone();
        let place = |info: &RtpInfo| {
            let url = control::resolve(&base, &info.url)?;
            let bare = |url: &Url| url.path_and_query().trim_end_matches('/').to_owned();
            let wanted = bare(&url);
            described.tracks.iter().position(|track| bare(track) == wanted)
        };
        let places: Vec<_> = infos.iter().map(place).collect();
        let count = described.tracks.len();
        if places.iter().any(Option::is_none) && infos.len() == count && self.tolerates(Quirk::OtherUrls) {
            return infos.into_iter().enumerate().collect();
        }
        let known = places.into_iter().zip(infos);
        known.filter_map(|(place, info)| Some((place?, info))).collect()
    }

    /// The server asks.
    pub(super) fn request_came(&mut self, request: Request) {
        let status = match request.method {
            Method::Options | Method::GetParameter if request.body.is_empty() => Status::OK,
            Method::GetParameter => Status::PARAMETER_NOT_UNDERSTOOD,
            Method::Redirect if request.headers.field("Location").is_none() => Status::BAD_REQUEST,
            Method::SetParameter | Method::Announce | Method::Redirect => Status::OK,
            _ => Status::NOT_IMPLEMENTED,
        };
        let mut response = Response::new(status);
        if let Some(cseq) = request.headers.field("CSeq") {
            response.headers.push("CSeq", cseq);
        }
        if let Some(session) = &self.session {
            response.headers.push("Session", &*session.id);
        }
        if request.method == Method::Options {
            response.headers.push(
                "Public",
                "OPTIONS, GET_PARAMETER, SET_PARAMETER, ANNOUNCE, REDIRECT",
            );
        }
        self.outputs.push_back(Output::Transmit(response.to_bytes()));
        match request.method {
            Method::Redirect => {
                let location = request.headers.field("Location");
                let url = location.and_then(|text| control::resolve(&self.url, text));
                let range = request
                    .headers
                    .field("Range")
                    .and_then(|text| Range::parse(text).ok());
                // Nobody is led from TLS into the clear.
                if let Some(url) = url.filter(|url| url.is_secure() || !self.url.is_secure()) {
                    let url = url.without_credentials();
                    self.outputs
                        .push_back(Output::Event(Event::Redirected { url, range }));
                }
            }
            Method::SetParameter | Method::Announce => {
                self.outputs
                    .push_back(Output::Event(Event::Told(Box::new(request))));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::challenges;

    #[test]
    fn one_field_may_hold_several_challenges_and_loose_commas() {
        for (field, expected) in [
            (
                "Digest realm=\"r, s\", nonce=\"n\",",
                vec!["Digest realm=\"r, s\", nonce=\"n\""],
            ),
            (
                "Digest realm=\"r\", nonce=\"n\", Basic realm=\"r\"",
                vec!["Digest realm=\"r\", nonce=\"n\"", "Basic realm=\"r\""],
            ),
            (
                "Basic realm=\"r\",, Digest realm = \"r\",nonce=n, stale = FALSE",
                vec![
                    "Basic realm=\"r\"",
                    "Digest realm = \"r\", nonce=n, stale = FALSE",
                ],
            ),
            ("Negotiate, Basic realm=x", vec!["Negotiate", "Basic realm=x"]),
            ("Digest, realm=x", vec!["Digest realm=x"]),
            ("", vec![]),
        ] {
            assert_eq!(challenges(field), expected, "{field}");
        }
    }
}
