//! What connections ask, answered from the mounts and sessions, or asked on.

use super::live::Live;
use super::plane::{Opening, Pending, Plane};
use super::recorded::asks_for_recorded;
use super::session::{Path, Role, Session};
use super::subject::Subject;
use super::vod::{RANGES, Waiting};
use super::{Ask, ConnectionId, Ends, Event, MountKey, Output, PairId, SessionKey};
use crate::description::Description;
use crate::mount::MountName;
use ringpost_base::{Instant, limits};
use ringpost_rtsp::Status;
use ringpost_rtsp::header::{Delivery, LowerTransport, Mode, Npt, Range, RangeSpec, Transport};
use ringpost_rtsp::server::{self, Answer, Place, Refusal};
use std::net::{IpAddr, SocketAddr};

fn refused(status: Status) -> Option<Answer> {
    Some(Answer::Refused(status.into()))
}

fn refused_for(status: Status, why: &str) -> Option<Answer> {
    Some(Answer::Refused(Refusal {
        body: format!("{why}\r\n").into(),
        ..status.into()
    }))
}

/// So many pairs of ports anybody may have, if there are so many.
const FEW_PAIRS: usize = 4;

/// Whether PLAY wants what was recorded, and not what happens now; `is_playing_past` is what went before.
fn is_past(play: &server::Play, is_playing_past: bool) -> bool {
    if asks_for_recorded(play.query.as_deref()) {
        return true;
    }
    match play.range.map(|range| range.spec) {
        Some(RangeSpec::Clock { .. }) => true,
        Some(RangeSpec::Npt {
            start: Some(Npt::Now),
            ..
        }) => false,
        _ => is_playing_past,
    }
}

/// What a body of GET_PARAMETER or SET_PARAMETER names: whether what is recorded is among it, and what else.
fn parameters(body: &[u8]) -> (bool, Vec<String>) {
    let text = String::from_utf8_lossy(body);
    let names = text.lines().filter_map(|line| line.split(':').next());
    let names = names.map(str::trim).filter(|name| !name.is_empty());
    let (ranges, others): (Vec<_>, Vec<_>) = names
        .map(str::to_owned)
        .partition(|name| name.eq_ignore_ascii_case(RANGES));
    (!ranges.is_empty(), others)
}

/// What is live has no beginning that one could go back to.
fn now_on() -> Range {
    Range {
        spec: RangeSpec::Npt {
            start: Some(Npt::Now),
            end: None,
        },
        time: None,
    }
}

/// What is live plays.
fn played(play: &server::Play, begins: Vec<(usize, u16, u32)>) -> Option<Answer> {
    // What happens now passes as fast as it happens.
    let is_said = |value: Option<f64>| value.map(|_| 1.0);
    Some(Answer::Played(Box::new(server::Played {
        range: Some(now_on()),
        scale: is_said(play.scale),
        speed: is_said(play.speed),
        begins,
    })))
}

impl Plane {
    /// Answers a question of a connection; `None` when the answer comes later.
    pub(crate) fn handle_question(
        &mut self,
        now: Instant,
        (connection, ends): (ConnectionId, Ends),
        question: server::QuestionId,
        ask: server::Ask,
    ) -> Option<Answer> {
        let pending = Pending { connection, question };
        let peer = SocketAddr::new(ends.remote.ip().to_canonical(), ends.remote.port());
        match ask {
            server::Ask::Keys { user, realm } => self.ask(pending, peer, Ask::Keys { user, realm }),
            server::Ask::Password { user, password } => {
                self.ask(pending, peer, Ask::Password { user, password });
            }
            server::Ask::Authorize { place, access } => {
                let Place {
                    mount, user, query, ..
                } = place;
                let ask = Ask::Authorize {
                    user,
                    mount,
                    access,
                    query,
                };
                self.ask(pending, peer, ask);
            }
            server::Ask::Session { id, user } => {
                return self.attach(pending, peer.ip(), &id, user);
            }
            server::Ask::Describe(place) => {
                if let Some(moved) = self.moved(&place) {
                    return Some(moved);
                }
                let local = ends.local.ip();
                if let Some((_, live)) = self.live_at(&place) {
                    let (description, subject) = (live.sdp(local), Subject::of_live(live));
                    let is_vacant = live.publisher.is_none();
                    self.note_described(connection, &place.mount, Some(subject), false);
                    if is_vacant && self.is_pulled(&place.mount) {
                        self.pulling.want(place.mount, None);
                    }
                    return Some(Answer::Description(description));
                }
                let is_of_recorded = asks_for_recorded(place.query.as_deref());
                if self.is_pulled(&place.mount) && !is_of_recorded {
                    self.pulling.want(place.mount, Some((pending, local)));
                    return None;
                }
                // Clients that resolve relative URLs as RFC 3986 does would lose the query.
                let base = place.base.filter(|_| is_of_recorded);
                let waiting = Waiting::Describe { pending, local, base };
                return self.now_or_later(now, &place.mount, waiting);
            }
            server::Ask::Announce { place, description } => {
                return self.announced(connection, peer.ip(), &place, &description);
            }
            server::Ask::Setup(setup) => return self.set_up(now, pending, ends, *setup),
            server::Ask::Play(play) => return self.play(now, pending, *play),
            server::Ask::Pause {
                session,
                tracks,
                range,
            } => {
                return self.pause(now, &session, &tracks, range.as_ref());
            }
            server::Ask::Record { session, .. } => return self.record(now, connection, &session),
            server::Ask::GetParameter { place, body, .. } => match parameters(&body) {
                (true, others) if others.is_empty() => {
                    return self.now_or_later(now, &place.mount, Waiting::Ranges(pending));
                }
                //= https://www.rfc-editor.org/rfc/rfc2326#section-10.8
                //= https://www.rfc-editor.org/rfc/rfc2326#section-11.3.1
                (_, others) => return refused_for(Status::PARAMETER_NOT_UNDERSTOOD, &others.join("\r\n")),
            },
            server::Ask::SetParameter { body, .. } => match parameters(&body) {
                //= https://www.rfc-editor.org/rfc/rfc2326#section-11.3.8
                (true, others) if others.is_empty() => {
                    return refused_for(Status::PARAMETER_IS_READ_ONLY, RANGES);
                }
                (_, others) => return refused_for(Status::PARAMETER_NOT_UNDERSTOOD, &others.join("\r\n")),
            },
        }
        None
    }

    fn announced(
        &mut self,
        connection: ConnectionId,
        peer: IpAddr,
        place: &Place,
        description: &[u8],
    ) -> Option<Answer> {
        let mount = place.mount.clone();
        if self.is_pulled(&mount) {
            return refused_for(Status::FORBIDDEN, "this mount is pulled from elsewhere");
        }
        if asks_for_recorded(place.query.as_deref()) {
            return refused_for(Status::FORBIDDEN, "what was recorded is not published to");
        }
        if !self.names.contains_key(&mount) && self.live.len() >= self.config.mounts {
            return refused(Status::NOT_ENOUGH_BANDWIDTH);
        }
        match Description::parse(description).map_err(|error| error.to_string()) {
            Ok((description, quirks)) => {
                self.announced.insert(connection, (mount, description, quirks));
                Some(Answer::Granted)
            }
            Err(why) => {
                let answer = refused_for(Status::BAD_REQUEST, &why);
                self.tell(Event::Refused { mount, peer, why });
                answer
            }
        }
    }

    /// Asks what there is that is not live; the answer, if it is known by now.
    fn now_or_later(&mut self, now: Instant, mount: &MountName, waiting: Waiting) -> Option<Answer> {
        self.look_up_shelf(now, mount, waiting)
            .map(|answered| answered.answer)
    }

    fn set_up(&mut self, now: Instant, pending: Pending, ends: Ends, setup: server::Setup) -> Option<Answer> {
        let mount = setup.place.mount.clone();
        let connection = pending.connection;
        if setup.mode == Mode::Play
            && let Some(moved) = self.moved(&setup.place)
        {
            return Some(moved);
        }
        if self.mixes(&setup) {
            let why = "a session is of what is live or of what was recorded";
            return refused_for(Status::AGGREGATE_OPERATION_NOT_ALLOWED, why);
        }
        let subject = match setup.mode {
            Mode::Play => match self.subject_of(connection, &setup) {
                Ok(subject) => subject,
                Err(is_over) => return refused_for(Status::NOT_FOUND, is_over),
            },
            Mode::Record => None,
        };
        let tracks = match setup.mode {
            Mode::Play => subject.as_ref().map(Subject::tracks),
            Mode::Record => self
                .announced
                .get(&connection)
                .filter(|(announced, ..)| *announced == mount)
                .map(|(_, description, _)| description.tracks.len()),
        };
        match (tracks, setup.mode) {
            (Some(tracks), _) => self.set_up_for(now, pending, ends, setup, (subject, tracks)),
            (None, Mode::Play) => {
                let setup = Box::new(setup);
                self.now_or_later(now, &mount, Waiting::Setup { pending, ends, setup })
            }
            (None, Mode::Record) => refused(Status::NOT_FOUND),
        }
    }

    /// Sets a stream up of what has so many tracks, or is published.
    pub(crate) fn set_up_for(
        &mut self,
        now: Instant,
        pending: Pending,
        ends: Ends,
        setup: server::Setup,
        (subject, tracks): (Option<Subject>, usize),
    ) -> Option<Answer> {
        let track = match setup.track {
            // A publisher may set up what is no track here: nothing of it is taken.
            Some(track) if track < tracks || setup.mode == Mode::Record => track,
            None if tracks == 1 => 0,
            //= https://www.rfc-editor.org/rfc/rfc2326#section-11.3.9
            None => return refused(Status::AGGREGATE_OPERATION_NOT_ALLOWED),
            Some(_) => return refused(Status::NOT_FOUND),
        };
        self.set_up_by_first(now, pending, ends, setup, (subject, track))
    }

    /// Sets a stream up by the first of the transports that the client can use and that is possible here.
    //= https://www.rfc-editor.org/rfc/rfc2326#section-12.39
    pub(crate) fn set_up_by_first(
        &mut self,
        now: Instant,
        pending: Pending,
        ends: Ends,
        setup: server::Setup,
        (subject, track): (Option<Subject>, usize),
    ) -> Option<Answer> {
        let connection = pending.connection;
        let deliveries = self.deliveries(&setup, subject.as_ref());
        let has_its_pairs = self.has_its_pairs(&setup, ends);
        let is_possible = |transport: &&Transport| {
            deliveries.contains(&transport.delivery()) && !(has_its_pairs && needs_pair(transport))
        };
        let Some(chosen) = setup.candidates.iter().find(is_possible).cloned() else {
            return refused(Status::UNSUPPORTED_TRANSPORT);
        };
        if chosen.delivery() == Delivery::Multicast {
            let opening = Opening {
                pending,
                ends,
                setup,
                subject,
                chosen,
                track,
            };
            return self.set_up_in_group(now, opening);
        }
        match (chosen.lower, chosen.interleaved) {
            (LowerTransport::Tcp, Some(channels)) => {
                let path = Path::Interleaved {
                    rtp: channels.rtp,
                    rtcp: channels.rtcp_channel(),
                };
                self.put_path(now, connection, ends, &setup, subject, (track, path));
                let mut transport = chosen;
                transport.ssrc = self.ssrc_of(&setup, track);
                Some(Answer::SetUp(Box::new(server::SetUp {
                    track,
                    transport,
                    control: server::Control::Any,
                })))
            }
            (LowerTransport::Tcp, None) => refused(Status::UNSUPPORTED_TRANSPORT),
            (LowerTransport::Udp, _) => {
                let pair = PairId(self.next_number());
                let opening = Opening {
                    pending,
                    ends,
                    setup,
                    subject,
                    chosen,
                    track,
                };
                self.opening.insert(pair, opening);
                let local = ends.local.ip();
                self.push(Output::Open { pair, local });
                None
            }
        }
    }

    /// There are no ports for a stream: it is set up by another transport of those that the client can use, or not at all.
    pub(crate) fn set_up_without_ports(&mut self, now: Instant, opening: Opening) -> Option<Answer> {
        let Opening {
            pending,
            ends,
            mut setup,
            subject,
            track,
            ..
        } = opening;
        setup.candidates.retain(|transport| !needs_pair(transport));
        self.set_up_by_first(now, pending, ends, setup, (subject, track))
    }

    /// Whether somebody who has not signed in has all the pairs of ports that one address may have, or all such addresses.
    fn has_its_pairs(&self, setup: &server::Setup, ends: Ends) -> bool {
        if setup.place.user.is_some() {
            return false;
        }
        let peer = ends.remote.ip().to_canonical();
        let strangers = self.sessions.values().filter(|session| session.user.is_none());
        let open = strangers.flat_map(|session| {
            let pairs = session.paths.values().filter(|path| path.pair().is_some());
            pairs.map(|_| session.peer)
        });
        let opening = self.opening.values();
        let opening = opening.filter(|opening| opening.setup.place.user.is_none());
        let opening = opening.map(|opening| opening.ends.remote.ip().to_canonical());
        let (mut of_peer, mut all) = (0, 0);
        for of in open.chain(opening) {
            of_peer += usize::from(of == peer);
            all += 1;
        }
        // Of very few nothing is kept.
        let most_of = |pairs: usize| pairs.max(FEW_PAIRS);
        let pairs = self.config.pairs;
        of_peer >= limits::RTSP_STRANGER_PAIRS.min(most_of(pairs / 2)) || all >= most_of(pairs / 4 * 3)
    }

    fn play(&mut self, now: Instant, pending: Pending, play: server::Play) -> Option<Answer> {
        let key = self.by_id.get(&play.session).copied();
        let Some((key, session)) = key.and_then(|key| Some((key, self.sessions.get(&key)?))) else {
            return refused(Status::SESSION_NOT_FOUND);
        };
        let Some(reader) = session.reader() else {
            return refused(Status::METHOD_NOT_VALID_IN_THIS_STATE);
        };
        let live = self.live_of_subject(&session.mount, &reader.subject);
        let mount = live.map(|(mount, _)| mount);
        let has_live = mount.is_some();
        let is_in_group = session.paths.values().any(Path::is_in_group);
        if is_in_group && (!has_live || is_past(&play, false)) {
            return refused_for(Status::INVALID_RANGE, "a group is sent what happens now");
        }
        if is_in_group {
            let begins = self.play_in_group(now, key, &play.tracks);
            return played(&play, begins);
        }
        let is_past = is_past(&play, reader.played.is_some());
        if !has_live || is_past {
            let (mount, play) = (session.mount.clone(), Box::new(play));
            let refusal = self
                .is_something_else(&mount, &reader.subject)
                .filter(|_| !is_past);
            return refusal.or_else(|| self.now_or_later(now, &mount, Waiting::Play { pending, play }));
        }
        let Some(reader) = self.sessions.get_mut(&key).and_then(Session::reader_mut) else {
            return refused(Status::SESSION_NOT_FOUND);
        };
        if reader.played.take().is_some() {
            reader.ahead.clear();
            self.set_timer(super::Timer::Player(key), None);
        }
        let Some((session, live)) = self
            .sessions
            .get_mut(&key)
            .zip(mount.and_then(|mount| self.live.get_mut(&mount)))
        else {
            return refused(Status::SESSION_NOT_FOUND);
        };
        let Role::Reader(reader) = &mut session.role else {
            return refused(Status::METHOD_NOT_VALID_IN_THIS_STATE);
        };
        let left = reader.cursor.take().or(reader.left.take());
        let is_first = left.is_none();
        reader.playing.extend(play.tracks.iter().copied());
        let (cursor, begins) = live.join(now, &reader.playing.list(), left.as_ref());
        reader.cursor = Some(cursor);
        live.add_reader(key);
        let (user, peer, mount) = (session.user_name(), session.peer, session.mount.clone());
        self.report_first(now, key);
        self.make_ready(key);
        if is_first {
            self.tell(Event::Reading {
                session: key,
                mount,
                user,
                peer,
            });
        }
        let begins = begins
            .into_iter()
            .filter(|(track, ..)| play.tracks.contains(track));
        played(&play, begins.collect())
    }

    fn pause(
        &mut self,
        now: Instant,
        session: &server::SessionId,
        tracks: &[usize],
        range: Option<&Range>,
    ) -> Option<Answer> {
        let key = self.by_id.get(session).copied();
        let Some(session) = key.and_then(|key| self.sessions.get_mut(&key)) else {
            return refused(Status::SESSION_NOT_FOUND);
        };
        match &mut session.role {
            Role::Reader(reader) if reader.played.is_some() => {
                let rest = reader.playing.iter().filter(|track| !tracks.contains(track));
                let rest: Vec<_> = rest.collect();
                let (Some(played), Some(key)) = (&mut reader.played, key) else {
                    return refused(Status::SESSION_NOT_FOUND);
                };
                // With nothing that is sent it would come to its end at once.
                if played.player.sends(&rest) {
                    tracks.iter().for_each(|track| reader.playing.remove(*track));
                    played.player.set_tracks(&reader.playing.list());
                    return Some(Answer::Paused {
                        range: None,
                        is_at_once: true,
                    });
                }
                let paused = played.pause(now, range);
                if paused.as_ref().is_ok_and(|paused| paused.is_at_once) {
                    reader.ahead.clear();
                }
                // No PLAY waits for its answer while PAUSE is carried out.
                self.flush_player(now, key);
                return Some(match paused {
                    Ok(paused) => Answer::Paused {
                        range: Some(paused.range),
                        is_at_once: paused.is_at_once,
                    },
                    Err(error) => {
                        let why = error.to_string();
                        return refused_for(Status::INVALID_RANGE, &why);
                    }
                });
            }
            Role::Reader(reader) => {
                tracks.iter().for_each(|track| reader.playing.remove(*track));
                if reader.playing.is_empty() {
                    reader.left = reader.cursor.take().or(reader.left.take());
                    reader.ahead.clear();
                    if let (Some(key), Some(live)) = (key, self.names.get(&session.mount))
                        && let Some(live) = self.live.get_mut(live)
                    {
                        live.remove_reader(key);
                    }
                }
            }
            Role::Publisher(publisher) => publisher.is_recording = false,
        }
        let mount = session.mount.clone();
        self.look_at_group(now, &mount);
        Some(Answer::Paused {
            range: None,
            is_at_once: true,
        })
    }

    fn record(
        &mut self,
        now: Instant,
        connection: ConnectionId,
        session: &server::SessionId,
    ) -> Option<Answer> {
        let Some(key) = self.by_id.get(session).copied() else {
            return refused(Status::SESSION_NOT_FOUND);
        };
        let announced = self.announced.get(&connection).cloned();
        let Some(session) = self.sessions.get_mut(&key) else {
            return refused(Status::SESSION_NOT_FOUND);
        };
        let (mount, user, peer) = (session.mount.clone(), session.user_name(), session.peer);
        let Role::Publisher(publisher) = &mut session.role else {
            return refused(Status::METHOD_NOT_VALID_IN_THIS_STATE);
        };
        let live = self.names.get(&mount).and_then(|mount| self.live.get(mount));
        let is_publishing = live.is_some_and(|live| live.publisher == Some(key));
        let announced = announced.filter(|(of, ..)| *of == mount);
        if !is_publishing && announced.is_none() {
            return refused(Status::METHOD_NOT_VALID_IN_THIS_STATE);
        }
        publisher.is_recording = true;
        if let Some((_, description, quirks)) = announced.filter(|_| !is_publishing) {
            self.go_live(now, key, &mount, description);
            self.tell(Event::Published {
                session: key,
                mount,
                user,
                peer,
                quirks,
            });
        }
        Some(Answer::Recorded {
            range: Some(now_on()),
        })
    }

    /// A publisher begins; one that was there before has lost its connection and not noticed it yet, or is taken over from by
    /// who has the right to.
    pub(crate) fn go_live(
        &mut self,
        now: Instant,
        key: SessionKey,
        name: &MountName,
        description: Description,
    ) {
        self.watch(now, name);
        if let Some(mount) = self.names.get(name).copied() {
            let before = self
                .live
                .get_mut(&mount)
                .and_then(|live| live.publisher.replace(key));
            if let Some(before) = before {
                self.send_away(now, before);
            }
            if let Some(live) = self
                .live
                .get_mut(&mount)
                .filter(|live| live.can_go_on_with(&description))
            {
                live.restart(key);
                self.look_at_recording(now, mount);
                self.look_at_announced(now, name);
                return self.set_mount_timer(mount);
            }
            self.remove_mount(now, mount);
        }
        let mount = MountKey(self.next_number());
        let rng = self.rng.fork();
        let mut live = Live::new(now, self.wallclock(now), name.clone(), description, rng);
        live.publisher = Some(key);
        self.live.insert(mount, live);
        self.names.insert(name.clone(), mount);
        self.look_at_recording(now, mount);
        self.look_at_announced(now, name);
        self.set_mount_timer(mount);
    }
}

/// Whether a transport takes ports here for one client alone.
fn needs_pair(transport: &Transport) -> bool {
    transport.lower == LowerTransport::Udp && transport.delivery() != Delivery::Multicast
}
