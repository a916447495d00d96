use crate::codec::free_payload_type;
use crate::{
    Attribute, Codec, Connection, Direction, Media, MediaKind, Origin, RemoteStream, SessionDescription,
    Stream,
};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use thiserror::Error;

/// One party's side of the offers and answers of one leg (RFC 3264), from its first description to its end.
///
/// It keeps what both sides last agreed on, so that a refused offer ([`Negotiation::withdraw`]) leaves the session as it
/// was, m-lines keep their order and number (§8), `o=` grows by one with each change, and a payload number never
/// changes its meaning (§8.3.2). For a forked INVITE, whose answers each make a dialog, clone it before the answer.
#[derive(Clone, Debug)]
pub struct Negotiation {
    session_id: u64,
    version: u64,
    /// The last description that we sent, agreed on or not.
    sent: Option<SessionDescription>,
    /// The last description of ours that was agreed on.
    agreed: Option<SessionDescription>,
    /// Our offer that waits for its answer, and what it was made of.
    open: Option<(SessionDescription, Vec<Option<Stream>>)>,
    /// What each payload number ever stood for, by m-line.
    numbers: Vec<Vec<Codec>>,
    streams: Vec<Option<Negotiated>>,
}

/// A stream that both sides agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// Audio, video …
    pub kind: MediaKind,
    /// As offered and answered.
    pub protocol: String,
    /// Where the peer receives RTP; `None` while it holds with 0.0.0.0, or when it gave a name instead of an address.
    pub remote: Option<SocketAddr>,
    /// Where the peer receives RTCP; with `rtcp_mux` the same as `remote`.
    pub remote_rtcp: Option<SocketAddr>,
    /// Whether RTP and RTCP share their ports, both ways (RFC 5761).
    pub rtcp_mux: bool,
    /// What may be sent and received, the preferred first; never without one that carries media.
    pub codecs: Vec<NegotiatedCodec>,
    /// What we do: send, receive, both, neither.
    pub direction: Direction,
    /// Whether the peer holds us: wants to hear nothing now.
    pub held: bool,
    /// The packet length that the peer wishes to receive.
    pub ptime_ms: Option<u32>,
    /// The longest packet that the peer takes.
    pub maxptime_ms: Option<u32>,
}

/// A codec that both sides have, and its numbers each way (RFC 3264 §5.1: they may differ).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NegotiatedCodec {
    /// The codec as the peer described it, with its number.
    pub codec: Codec,
    /// The number we send with: the peer's.
    pub send_payload_type: u8,
    /// The number we receive with: ours.
    pub receive_payload_type: u8,
}

impl Negotiated {
    /// The codec to send with: the first that carries media.
    pub fn codec(&self) -> Option<&NegotiatedCodec> {
        self.codecs.iter().find(|codec| codec.codec.is_media())
    }

    /// The telephone events of a clock rate (RFC 4733).
    pub fn telephone_event(&self, clock_rate_hz: u32) -> Option<&NegotiatedCodec> {
        self.codecs
            .iter()
            .find(|codec| codec.codec.is_telephone_event() && codec.codec.clock_rate_hz == clock_rate_hz)
    }

    /// The codec that a received payload number stands for.
    pub fn received(&self, payload_type: u8) -> Option<&NegotiatedCodec> {
        self.codecs
            .iter()
            .find(|codec| codec.receive_payload_type == payload_type)
    }
}

/// Why an offer cannot be made or answered.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OfferError {
    /// Our own offer waits for its answer (RFC 3264 §4); from the peer this is glare, which SIP answers with 491.
    #[error("an offer is already waiting for its answer")]
    Open,
    /// Every stream would be refused (RFC 3264 §6); SIP answers 488.
    #[error("no stream of the offer has a codec in common with ours")]
    NothingInCommon,
    /// A re-offer with fewer m-lines than before (RFC 3264 §8); SIP answers 488.
    #[error("expected at least {before} m-lines as agreed before, found {offered}")]
    LinesRemoved {
        /// How many there were.
        before: usize,
        /// How many there are.
        offered: usize,
    },
}

/// Why an answer to our offer is of no use. The session stays as it was before the offer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AnswerError {
    /// There is no offer of ours to be answered.
    #[error("no offer is waiting for an answer")]
    NotOpen,
    /// RFC 3264 §6: one m-line for each.
    #[error("expected {offered} m-lines as in the offer, found {answered}")]
    Lines {
        /// In our offer.
        offered: usize,
        /// In the answer.
        answered: usize,
    },
    /// RFC 3264 §6.1: the media type stays.
    #[error("expected {offered} in m-line {line} as in the offer, found {answered}")]
    Kind {
        /// Which, from 1.
        line: usize,
        /// In our offer.
        offered: MediaKind,
        /// In the answer.
        answered: MediaKind,
    },
    /// No stream was accepted with a codec that we offered.
    #[error("the answer accepts none of the streams with a codec of the offer")]
    NothingInCommon,
}

impl Negotiation {
    /// A leg that has said nothing yet. `session_id` should be random, so that no two legs share it; its upper two bits are
    /// dropped (RFC 3264 §5 asks for 63 bits).
    pub fn new(session_id: u64) -> Self {
        Negotiation {
            session_id: session_id & (u64::MAX >> 2),
            version: 0,
            sent: None,
            agreed: None,
            open: None,
            numbers: Vec::new(),
            streams: Vec::new(),
        }
    }

    /// What is agreed on now, one for each m-line, `None` for a refused one; empty before the first answer.
    pub fn streams(&self) -> &[Option<Negotiated>] {
        &self.streams
    }

    /// The first agreed audio stream.
    pub fn audio(&self) -> Option<&Negotiated> {
        self.streams
            .iter()
            .flatten()
            .find(|stream| stream.kind == MediaKind::Audio)
    }

    /// Our last description that was agreed on; for a 2xx that repeats an answer.
    pub fn local(&self) -> Option<&SessionDescription> {
        self.agreed.as_ref()
    }

    /// Whether our offer waits for its answer.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Offers `streams`, each on the m-line of its place. Lines of the session that go beyond them are removed (port 0).
    ///
    /// A codec whose number had another meaning in this session gets a free one.
    pub fn offer(&mut self, streams: &[Stream]) -> Result<SessionDescription, OfferError> {
        if self.open.is_some() {
            return Err(OfferError::Open);
        }
        let streams: Vec<Stream> = streams
            .iter()
            .enumerate()
            .map(|(line, stream)| Stream {
                codecs: self.numbered(line, &stream.codecs),
                ..stream.clone()
            })
            .collect();
        let mut description = self.describe(streams.first().map(|stream| stream.local.ip()));
        let address = streams.first().map(|stream| stream.local.ip());
        description
            .media
            .extend(streams.iter().map(|stream| stream.describe(address)));
        //= https://www.rfc-editor.org/rfc/rfc3264#section-8
        let before = self.agreed.iter().flat_map(|agreed| &agreed.media);
        description
            .media
            .extend(before.skip(streams.len()).map(Media::refused));
        let mut made_of: Vec<_> = streams.into_iter().map(Some).collect();
        made_of.resize(description.media.len(), None);
        let description = self.send(description);
        self.open = Some((description.clone(), made_of));
        Ok(description)
    }

    /// Takes back our offer, when it was refused or gave way to the peer's: the session is what it was.
    pub fn withdraw(&mut self) {
        self.open = None;
    }

    /// Answers the peer's offer with what `ours` can do: each of ours takes the first line of its kind that has a codec in
    /// common with it, the other lines are refused with port 0, in their place.
    ///
    /// Codecs come in the offer's order and with its numbers (RFC 3264 §6.1). On an error nothing has changed.
    pub fn answer(
        &mut self,
        offer: &SessionDescription,
        ours: &[Stream],
    ) -> Result<(SessionDescription, Vec<Option<Negotiated>>), OfferError> {
        if self.open.is_some() {
            return Err(OfferError::Open);
        }
        let (before, offered) = (
            self.agreed.as_ref().map_or(0, |agreed| agreed.media.len()),
            offer.media.len(),
        );
        if offered < before {
            return Err(OfferError::LinesRemoved { before, offered });
        }
        let accepted = accept(offer, ours);
        if accepted.iter().all(Option::is_none) && !offer.media.is_empty() {
            return Err(OfferError::NothingInCommon);
        }
        let address = accepted
            .iter()
            .flatten()
            .map(|(stream, _)| stream.local.ip())
            .next();
        let mut description = self.describe(address);
        //= https://www.rfc-editor.org/rfc/rfc3264#section-6
        description.times = offer.times.clone();
        description.media.extend(
            offer
                .media
                .iter()
                .zip(&accepted)
                .map(|(line, accepted)| match accepted {
                    Some((stream, _)) => stream.describe(address),
                    None => line.refused(),
                }),
        );
        let description = self.send(description);
        for (line, (stream, _)) in accepted
            .iter()
            .enumerate()
            .filter_map(|(i, a)| Some((i, a.as_ref()?)))
        {
            self.remember(line, &stream.codecs);
        }
        self.agreed = Some(description.clone());
        self.streams = accepted
            .into_iter()
            .map(|accepted| accepted.map(|(_, negotiated)| negotiated))
            .collect();
        Ok((description, self.streams.clone()))
    }

    /// Takes the peer's answer to our open offer.
    ///
    /// Tolerated: a codec that we did not offer (it is left out), a direction that does not answer ours (what both allow
    /// counts), a dynamic number without its mapping (it means what our offer said), and a stream accepted that we had
    /// refused (it stays refused). On an error the offer is withdrawn.
    pub fn handle_answer(
        &mut self,
        answer: &SessionDescription,
    ) -> Result<Vec<Option<Negotiated>>, AnswerError> {
        let (offer, made_of) = self.open.take().ok_or(AnswerError::NotOpen)?;
        let (offered, answered) = (offer.media.len(), answer.media.len());
        if offered != answered {
            return Err(AnswerError::Lines { offered, answered });
        }
        for (i, (ours, theirs)) in offer.media.iter().zip(&answer.media).enumerate() {
            if ours.kind != theirs.kind {
                let (offered, answered) = (ours.kind.clone(), theirs.kind.clone());
                return Err(AnswerError::Kind {
                    line: i + 1,
                    offered,
                    answered,
                });
            }
        }
        let streams: Vec<_> = made_of
            .iter()
            .zip(&answer.media)
            .map(|(stream, line)| {
                let stream = stream.as_ref()?;
                Negotiated::new(stream, RemoteStream::new(answer, line, &stream.codecs))
            })
            .collect();
        if streams.iter().all(Option::is_none) && made_of.iter().any(Option::is_some) {
            return Err(AnswerError::NothingInCommon);
        }
        self.agreed = Some(offer);
        self.streams = streams;
        Ok(self.streams.clone())
    }

    /// Our description without media.
    fn describe(&self, address: Option<IpAddr>) -> SessionDescription {
        let address = address.or_else(|| self.sent.as_ref()?.origin.address.ip());
        description(self.session_id, self.version, address)
    }

    /// Numbers a description that leaves: as the last one if it says the same, else one higher.
    fn send(&mut self, mut description: SessionDescription) -> SessionDescription {
        if let Some(sent) = &self.sent {
            // The origin names the session for its whole life, also when the media have moved.
            description.origin = sent.origin.clone();
        }
        //= https://www.rfc-editor.org/rfc/rfc3264#section-8
        if self.sent.as_ref() != Some(&description) {
            self.version += 1;
            description.origin.version = self.version;
        }
        self.sent = Some(description.clone());
        description
    }

    //= https://www.rfc-editor.org/rfc/rfc3264#section-8.3.2
    fn numbered(&mut self, line: usize, codecs: &[Codec]) -> Vec<Codec> {
        let history = self.numbers.get(line).map_or(&[][..], Vec::as_slice);
        let mut numbered: Vec<Codec> = Vec::with_capacity(codecs.len());
        for codec in codecs {
            let means_other = |number: u8| {
                history
                    .iter()
                    .any(|known| known.payload_type == number && !known.same_encoding(codec))
                    || numbered.iter().any(|known| known.payload_type == number)
                    || codecs
                        .iter()
                        .any(|other| other.payload_type == number && !other.same_encoding(codec))
            };
            if let Some(payload_type) = free_payload_type(codec.payload_type, means_other) {
                numbered.push(Codec {
                    payload_type,
                    ..codec.clone()
                });
            }
        }
        self.remember(line, &numbered);
        numbered
    }

    fn remember(&mut self, line: usize, codecs: &[Codec]) {
        if self.numbers.len() <= line {
            self.numbers.resize(line + 1, Vec::new());
        }
        let known = &mut self.numbers[line];
        for codec in codecs {
            if !known.iter().any(|other| other.payload_type == codec.payload_type) {
                known.push(codec.clone());
            }
        }
    }
}

/// For each line of the offer the stream of ours that takes it, as we describe it in the answer.
fn accept(offer: &SessionDescription, ours: &[Stream]) -> Vec<Option<(Stream, Negotiated)>> {
    let mut free: Vec<&Stream> = ours.iter().collect();
    let mut take = |remote: RemoteStream| {
        if remote.refused || remote.multicast {
            return None;
        }
        let fits = |stream: &&Stream| stream.answers(&remote) && !remote.in_common(&stream.codecs).is_empty();
        let stream = free.remove(free.iter().position(fits)?);
        let stream = Stream {
            codecs: remote.in_common(&stream.codecs),
            protocol: remote.protocol.clone(),
            rtcp_mux: stream.rtcp_mux && remote.rtcp_mux,
            //= https://www.rfc-editor.org/rfc/rfc3264#section-6.1
            direction: stream.direction.and(remote.direction.reversed()),
            ..stream.clone()
        };
        let negotiated = Negotiated::new(&stream, remote)?;
        Some((stream, negotiated))
    };
    RemoteStream::all(offer).into_iter().map(&mut take).collect()
}

impl Negotiated {
    /// What our stream and the peer's give together; `None` if the peer refused it or no codec is in common.
    fn new(ours: &Stream, remote: RemoteStream) -> Option<Negotiated> {
        if remote.refused {
            return None;
        }
        let mut codecs: Vec<NegotiatedCodec> = Vec::new();
        for theirs in &remote.codecs {
            let our = ours.codecs.iter().find(|codec| codec.same_encoding(theirs));
            let twice = codecs.iter().any(|known| known.codec.same_encoding(theirs));
            if let (Some(our), false) = (our, twice) {
                codecs.push(NegotiatedCodec {
                    codec: theirs.clone(),
                    send_payload_type: theirs.payload_type,
                    receive_payload_type: our.payload_type,
                });
            }
        }
        let rtcp_mux = ours.rtcp_mux && remote.rtcp_mux;
        let direction = ours.direction.and(remote.direction.reversed());
        codecs
            .iter()
            .any(|codec| codec.codec.is_media())
            .then(|| Negotiated {
                remote: remote.rtp,
                remote_rtcp: if rtcp_mux { remote.rtp } else { remote.rtcp },
                rtcp_mux,
                codecs,
                direction,
                held: remote.holds(),
                ptime_ms: remote.ptime_ms,
                maxptime_ms: remote.maxptime_ms,
                kind: remote.kind,
                protocol: remote.protocol,
            })
    }
}

/// What we could do, as the body of an answer to OPTIONS (RFC 3264 §9): every port 0, no time.
pub fn capabilities(session_id: u64, streams: &[Stream]) -> SessionDescription {
    let address = streams.first().map(|stream| stream.local.ip());
    let mut description = description(session_id & (u64::MAX >> 2), 1, address);
    description.media = streams
        .iter()
        .map(|stream| {
            let mut media = Media {
                port: 0,
                ..stream.describe(address)
            };
            media
                .attributes
                .retain(|attribute| !matches!(attribute, Attribute::Rtcp { .. }));
            media
        })
        .collect();
    description
}

fn description(session_id: u64, version: u64, address: Option<IpAddr>) -> SessionDescription {
    let address = address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let origin = Origin {
        username: "-".into(),
        session_id,
        version,
        address: address.into(),
    };
    SessionDescription {
        connection: Some(Connection::from(address)),
        ..SessionDescription::new(origin)
    }
}
