//! SETUP: which of the transports that a client can do are offered to the mount, and what is made of its choice.

use super::question::{Access, Ask, SessionId, SetUp, Setup, channels};
use super::{Channel, Current, Server, Status, Waiting, act::Act};
use crate::header::{Delivery, LowerTransport, Mode, Pair, Transport};
use crate::server::session::{Session, State, Track};
use ringpost_base::limits;
use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

/// What the Transport field of a SETUP asks for.
pub(super) struct Wanted {
    pub(super) transports: Vec<Transport>,
}

/// The characters of a session identifier's 100 bits and more.
const SESSION_CHARACTERS: usize = 24;

impl Server {
    /// What SETUP outside a session needs a right to. The place of a stream that was announced is the announced one: its URL
    /// may say anything of it.
    pub(super) fn setup_access(&self, current: &mut Current) -> Result<Access, Status> {
        if self.mode_of(current) == Mode::Play {
            return Ok(Access::Read);
        }
        match self.place_announced(current) {
            true => Ok(Access::Publish),
            // RECORD wants to know what comes.
            false => Err(Status::METHOD_NOT_VALID_IN_THIS_STATE),
        }
    }

    /// Puts the place and the stream that were announced in place of what the URL says; false when it names none of them.
    fn place_announced(&self, current: &mut Current) -> bool {
        let track = self.announced_here(current);
        let (Some(announced), Some(place), Some(_)) = (&self.announced, &mut current.place, track) else {
            return false;
        };
        place.mount = announced.mount.clone();
        place.query = announced.query.clone();
        current.track = track;
        true
    }

    fn mode_of(&self, current: &Current) -> Mode {
        if let Some(session) = current.session.as_ref().and_then(|id| self.sessions.get(id)) {
            return session.mode;
        }
        let transports = current.setup.as_ref().map_or(&[][..], |setup| &setup.transports);
        let may_play = transports.iter().any(|transport| transport.is_for(Mode::Play));
        let may_record = transports.iter().any(|transport| transport.is_for(Mode::Record));
        match may_record && (!may_play || self.announced_here(current).is_some()) {
            true => Mode::Record,
            false => Mode::Play,
        }
    }

    /// The stream that a URL means of what was announced on this connection.
    fn announced_here(&self, current: &Current) -> Option<usize> {
        let announced = self.announced.as_ref()?;
        announced.track(current.url.as_ref()?)
    }

    /// Carries SETUP out.
    pub(super) fn setup(&mut self, mut current: Box<Current>) {
        let mode = self.mode_of(&current);
        if mode == Mode::Record && !self.place_announced(&mut current) {
            return self.answer_status(&current, Status::NOT_FOUND);
        }
        let existing = current.session.as_ref().and_then(|id| self.sessions.get(id));
        let Some(place) = current.place.clone() else {
            return self.answer_status(&current, Status::NOT_FOUND);
        };
        let is_change = existing.is_some_and(|session| {
            current
                .track
                .is_some_and(|track| session.tracks.contains_key(&track))
        });
        if let Some(session) = existing {
            // Sessions are of one presentation.
            if session.mount != place.mount {
                return self.answer_status(&current, Status::AGGREGATE_OPERATION_NOT_ALLOWED);
            }
            if session.tracks.len() >= limits::RTSP_TRACKS && !is_change {
                return self.answer_status(&current, Status::NOT_ENOUGH_BANDWIDTH);
            }
        } else if self.sessions.len() >= limits::RTSP_SESSIONS {
            return self.answer_status(&current, Status::NOT_ENOUGH_BANDWIDTH);
        }
        let candidates = match self.candidates(&current, mode) {
            Ok(candidates) => candidates,
            Err(status) => return self.answer_status(&current, status),
        };
        let session = match &current.session {
            Some(id) => id.clone(),
            None => SessionId(self.rng.token(SESSION_CHARACTERS)),
        };
        let number = |name| current.request.headers.field(name)?.parse().ok();
        let setup = Setup {
            session: session.clone(),
            place,
            track: current.track,
            mode,
            candidates: candidates.clone(),
            is_change,
            blocksize: number("Blocksize").and_then(|n: u64| u32::try_from(n).ok()),
            bandwidth_bps: number("Bandwidth"),
            modified_since: self.modified_since(&current),
        };
        let act = Act::Setup {
            session,
            mode,
            candidates,
        };
        self.ask(current, Waiting::Act(act), Ask::Setup(Box::new(setup)));
    }

    /// The alternatives that could be, as they would be.
    fn candidates(&self, current: &Current, mode: Mode) -> Result<Vec<Transport>, Status> {
        let wanted = current.setup.as_ref().map_or(&[][..], |setup| &setup.transports);
        let mut names_stranger = false;
        let mut candidates = Vec::new();
        for transport in wanted {
            // Feedback (RFC 4585) is RTCP like other RTCP; keys for SRTP nobody has told us.
            let is_rtp = transport.protocol == "RTP" && matches!(&*transport.profile, "AVP" | "AVPF");
            // Nothing is ever put behind what is there.
            if !is_rtp || !transport.is_for(mode) || transport.append || transport.layers.unwrap_or(1) > 1 {
                continue;
            }
            let mut candidate = transport.clone();
            candidate.cast = Some(transport.delivery());
            candidate.source = None;
            candidate.server_port = None;
            candidate.modes = match mode {
                Mode::Play => Vec::new(),
                Mode::Record => vec![Mode::Record],
            };
            //= https://www.rfc-editor.org/rfc/rfc2326#section-12.39
            let destination = candidate.destination.take().filter(|address| !address.is_empty());
            match (transport.delivery(), transport.lower) {
                (Delivery::Multicast, LowerTransport::Udp) if mode == Mode::Play => {
                    // Which group is the mount's to say.
                    (candidate.client_port, candidate.port, candidate.ttl) = (None, None, None);
                }
                (Delivery::Multicast, _) => continue,
                (Delivery::Unicast, LowerTransport::Udp) => {
                    // Who sends says with its packets where they come from, and need not know its ports yet.
                    let is_nowhere = candidate.client_port.is_none_or(|ports| ports.rtp == 0);
                    if is_nowhere && mode == Mode::Play {
                        continue;
                    }
                    // Guards pitfall RTSP 7.
                    if destination.is_some_and(|address| !self.is_peer(&address)) {
                        names_stranger = true;
                        continue;
                    }
                }
                (Delivery::Unicast, LowerTransport::Tcp) => {
                    let Some(channels) = self.free_channels(current, transport.interleaved) else {
                        continue;
                    };
                    // A destination is of no use: the packets go where the answer goes (RFC 2326 §16).
                    candidate.interleaved = Some(channels);
                    candidate.client_port = None;
                }
            }
            candidates.push(candidate);
        }
        match candidates.is_empty() {
            true if names_stranger => Err(Status::FORBIDDEN),
            true => Err(Status::UNSUPPORTED_TRANSPORT),
            false => Ok(candidates),
        }
    }

    fn is_peer(&self, address: &str) -> bool {
        let address: Result<IpAddr, _> = address.trim_matches(['[', ']']).parse();
        address.is_ok_and(|address| address.to_canonical() == self.peer.address.to_canonical())
    }

    /// The channels that are asked for, if no other stream has them; else the first two that are free.
    fn free_channels(&self, current: &Current, wanted: Option<Pair<u8>>) -> Option<Pair<u8>> {
        let is_free = |channel: u8| {
            self.channels.get(&channel).is_none_or(|taken| {
                Some(&taken.session) == current.session.as_ref() && Some(taken.track) == current.track
            })
        };
        if let Some(pair) = wanted {
            let rtcp = pair.rtcp_channel();
            if pair.rtp != rtcp && is_free(pair.rtp) && is_free(rtcp) {
                return Some(Pair {
                    rtp: pair.rtp,
                    rtcp: Some(rtcp),
                });
            }
        }
        let rtp = (0..=254)
            .step_by(2)
            .find(|rtp| is_free(*rtp) && is_free(rtp + 1))?;
        Some(Pair {
            rtp,
            rtcp: Some(rtp + 1),
        })
    }

    /// The stream is set up.
    pub(super) fn set_up(
        &mut self,
        mut current: Box<Current>,
        (id, mode, candidates): (SessionId, Mode, Vec<Transport>),
        answer: SetUp,
    ) {
        let SetUp {
            track,
            transport,
            control,
        } = answer;
        let is_candidate = candidates.iter().any(|candidate| {
            (candidate.lower, candidate.cast, candidate.interleaved)
                == (transport.lower, transport.cast, transport.interleaved)
        });
        let Some(place) = current.place.clone().filter(|_| is_candidate) else {
            return self.mismatch(&current);
        };
        let expires = self.now + self.config.session_timeout;
        let session = self.sessions.entry(id.clone()).or_insert_with(|| Session {
            id: id.clone(),
            owner: place.user.clone(),
            peer: self.peer.address,
            mount: place.mount.clone(),
            query: place.query.clone(),
            mode,
            control,
            tracks: BTreeMap::new(),
            expires,
        });
        session.control = control;
        let url = current.request.uri.clone();
        let (state, plays) = match session.tracks.remove(&track) {
            Some(old) => (old.state, old.plays),
            None => (State::Ready, VecDeque::new()),
        };
        let track_set = Track {
            url,
            transport: transport.clone(),
            state,
            plays,
        };
        session.tracks.insert(track, track_set);
        self.channels
            .retain(|_, channel| channel.session != id || channel.track != track);
        if let Some((rtp, rtcp)) = channels(&transport) {
            for (channel, is_rtcp) in [(rtp, false), (rtcp, true)] {
                let session = id.clone();
                self.channels.insert(
                    channel,
                    Channel {
                        session,
                        track,
                        is_rtcp,
                    },
                );
            }
        }
        current.session = Some(id);
        let response = self.response(&current, Status::OK);
        let response = response.with("Transport", transport.to_string());
        self.answer(&current, response);
    }
}
