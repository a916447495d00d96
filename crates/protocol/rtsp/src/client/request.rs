//! Requests: which may be sent, and how.

use super::{Client, Failure, Login, Offer, Op, Output, Pending, Proof};
use crate::control;
use crate::header::{Delivery, LowerTransport, Mode, Pair, Transport};
use crate::message::Request;
use crate::url::Url;
use ringpost_auth::base64;
use ringpost_base::limits;

impl Client {
    /// Sends the next command, if it may be sent now; false when none may.
    pub(super) fn send_next(&mut self) -> bool {
        let Some((_, op)) = self.waiting.front() else {
            return false;
        };
        let overlaps = self.config.pipelines
            && op.may_overlap()
            && self.session.is_some()
            && self.pending.iter().all(|pending| pending.op.may_overlap());
        if !self.pending.is_empty() && (!overlaps || self.pending.len() >= limits::RTSP_PIPELINE) {
            return false;
        }
        let Some((id, op)) = self.waiting.pop_front() else {
            return false;
        };
        match self.request_of(&op) {
            Ok((request, channel)) => self.send(id, op, request, channel, 0),
            Err(failure) => self.fail(id, &op, failure),
        }
        true
    }

    /// Sends a request, or sends it again.
    pub(super) fn send(
        &mut self,
        id: super::RequestId,
        op: Op,
        mut request: Request,
        channel: Option<u8>,
        repeats: u32,
    ) {
        self.cseq = self.cseq.wrapping_add(1);
        request.headers.set("CSeq", self.cseq.to_string());
        request.headers.set("User-Agent", &*self.config.software);
        if let Some(session) = &self.session {
            request.headers.set("Session", &*session.id);
        }
        let proof = match &mut self.proof {
            Some(Proof::Digest(client)) => client.authorize(request.method.name(), &request.uri),
            Some(Proof::Basic(value)) => Some(value.clone()),
            None => None,
        };
        if let Some(value) = &proof {
            request.headers.set("Authorization", &**value);
        }
        self.pending.push_back(Pending {
            id,
            op,
            cseq: self.cseq,
            deadline: self.now + self.config.response_timeout,
            was_proven: proof.is_some(),
            repeats,
            channel,
        });
        self.put_off_keepalive();
        self.outputs.push_back(Output::Transmit(request.to_bytes()));
    }

    /// The request of a command, and for SETUP the channel that it asks for.
    pub(super) fn request_of(&self, op: &Op) -> Result<(Request, Option<u8>), Failure> {
        let method = op.method(self.public.as_deref());
        let aggregate = || self.described.as_ref().map_or(&self.url, |d| &d.aggregate);
        let of_track = |track: &Option<usize>| match track {
            Some(track) => self.track_url(*track),
            None => Ok(aggregate()),
        };
        let needs_session = |url: &Url| match self.session {
            Some(_) => Ok(Request::new(method.clone(), url.to_string())),
            None => Err(Failure::NoStream),
        };
        let mut channel = None;
        let request = match op {
            Op::Options => Request::new(method, self.url.to_string()),
            Op::Describe => Request::new(method, self.url.to_string()).with("Accept", "application/sdp"),
            Op::Announce(description) => {
                Request::new(method, self.url.to_string()).with_body("application/sdp", description.clone())
            }
            Op::Setup {
                track,
                offers,
                is_record,
            } => {
                let offer = offers.front().ok_or(Failure::NoTransport)?;
                let mut transport = self.transport_of(*offer)?;
                if *is_record {
                    transport.modes = vec![Mode::Record];
                }
                channel = transport.interleaved.map(|pair| pair.rtp);
                Request::new(method, self.track_url(*track)?.to_string())
                    .with("Transport", transport.to_string())
            }
            Op::Play {
                track,
                range,
                scale,
                speed,
            } => {
                let mut request = needs_session(of_track(track)?)?;
                if let Some(range) = range {
                    request.headers.push("Range", range.to_string());
                }
                for (name, value) in [("Scale", scale), ("Speed", speed)] {
                    if let Some(value) = value {
                        request.headers.push(name, value.to_string());
                    }
                }
                request
            }
            Op::Pause { track, range } => {
                let mut request = needs_session(of_track(track)?)?;
                if let Some(range) = range {
                    request.headers.push("Range", range.to_string());
                }
                request
            }
            Op::Record(range) => {
                let mut request = needs_session(aggregate())?;
                if let Some(range) = range {
                    request.headers.push("Range", range.to_string());
                }
                request
            }
            Op::Teardown => needs_session(aggregate())?,
            Op::GetParameter(body) | Op::SetParameter(body) => {
                let request = Request::new(method, aggregate().to_string());
                match body.is_empty() {
                    true => request,
                    false => request.with_body("text/parameters", body.clone()),
                }
            }
            Op::Keepalive => needs_session(aggregate())?,
        };
        Ok((request, channel))
    }

    fn track_url(&self, track: usize) -> Result<&Url, Failure> {
        let tracks = self.described.as_ref().map_or(&[][..], |d| &d.tracks);
        tracks.get(track).ok_or(Failure::NoStream)
    }

    fn transport_of(&self, offer: Offer) -> Result<Transport, Failure> {
        let mut transport = Transport::new(offer.lower());
        match offer {
            Offer::Udp { rtp_port } => {
                let rtcp = rtp_port.checked_add(1);
                let (1.., Some(_)) = (rtp_port, rtcp) else {
                    return Err(Failure::NoTransport);
                };
                transport.client_port = Some(Pair { rtp: rtp_port, rtcp });
            }
            Offer::Interleaved => {
                let asked = self.pending.iter().filter_map(|pending| pending.channel);
                let taken: Vec<_> = asked.chain(self.channels.keys().copied()).collect();
                let is_free = |rtp: &u8| !taken.contains(rtp) && !taken.contains(&(rtp + 1));
                let rtp = (0..=254).step_by(2).find(is_free).ok_or(Failure::NoTransport)?;
                transport.interleaved = Some(Pair {
                    rtp,
                    rtcp: Some(rtp + 1),
                });
            }
            Offer::Multicast => transport.cast = Some(Delivery::Multicast),
        }
        Ok(transport)
    }

    /// What Basic says of a login.
    pub(super) fn basic(login: &Login) -> Proof {
        let pair = format!("{}:{}", login.user, login.password);
        Proof::Basic(format!("Basic {}", base64::encode(pair.as_bytes())))
    }

    /// What was described or announced, as URLs. A stream without a control attribute of its own has the presentation's.
    pub(super) fn controls(&mut self, base: &Url, description: &[u8]) -> Result<(Url, Vec<Url>), Failure> {
        let controls = control::Controls::of_sdp(description);
        let aggregate = controls.aggregate.as_deref().unwrap_or("*");
        let aggregate = control::resolve(base, aggregate).unwrap_or_else(|| base.clone());
        let is_single = controls.tracks.len() == 1;
        let mut tracks = Vec::new();
        for control in &controls.tracks {
            let url = control
                .as_deref()
                .and_then(|control| control::resolve(base, control));
            tracks.push(match url {
                // Passwords and packets go nowhere but to the server that was asked.
                Some(url) if url.is_same_server(base) => url.without_credentials(),
                Some(url) => base.with_rest(url.path_and_query()),
                None if is_single || self.tolerates(super::Quirk::NoControl) => aggregate.clone(),
                None => return Err(Failure::Unreadable("a control URL for each stream")),
            });
        }
        let aggregate = match aggregate.is_same_server(base) {
            true => aggregate.without_credentials(),
            false => base.with_rest(aggregate.path_and_query()),
        };
        Ok((aggregate, tracks))
    }
}

/// Whether a transport that a server names is of the kind that was offered.
pub(super) fn fits(offer: Offer, transport: &Transport) -> bool {
    let is_multicast = transport.cast == Some(Delivery::Multicast);
    match offer {
        Offer::Interleaved => transport.lower == LowerTransport::Tcp,
        Offer::Udp { .. } => transport.lower == LowerTransport::Udp && !is_multicast,
        Offer::Multicast => transport.lower == LowerTransport::Udp && is_multicast,
    }
}
