//! What each method does, once it is known who asks and that it may be.

use super::question::{Answer, Ask, Control, Place, Play, SessionId};
use super::{Announced, Current, End, Event, Output, Server, Status, Waiting, names, setup};
use crate::control;
use crate::header::{Mode, Range, RtpInfo, Transport, accepts, date, parse_date, parse_decimal};
use crate::message::Response;
use crate::method::Method;
use crate::mount::{MountPath, PathError};
use crate::server::session::State;
use crate::url::Url;
use bytes::Bytes;
use ringpost_base::{UnixTime, limits};
use std::time::Duration;

/// What the answer of the mount will complete.
pub(super) enum Act {
    Describe,
    Announce,
    Setup {
        session: SessionId,
        mode: Mode,
        candidates: Vec<Transport>,
    },
    Play {
        session: SessionId,
        tracks: Vec<usize>,
        is_queued: bool,
    },
    Record {
        session: SessionId,
        tracks: Vec<usize>,
    },
    Pause {
        session: SessionId,
        tracks: Vec<usize>,
    },
    GetParameter,
    SetParameter,
}

/// Why a request is refused, and what was expected, where that says more.
type Wrong = (Status, &'static str);

impl Current {
    /// Which mount and stream the URL means.
    pub(super) fn locate(&mut self) -> Result<(), Wrong> {
        let Some(url) = &self.url else { return Ok(()) };
        let target = control::target(url);
        match MountPath::parse(&target.path) {
            Ok(mount) => {
                let base = Some(target.presentation(url));
                self.track = target.track;
                self.place = Some(Place {
                    mount,
                    query: target.query,
                    user: None,
                    base,
                });
                Ok(())
            }
            Err(PathError::Length { .. }) => Err((Status::REQUEST_URI_TOO_LARGE, "")),
            Err(_) if self.request.method == Method::Options => Ok(()),
            Err(_) => Err((Status::NOT_FOUND, "")),
        }
    }

    /// Whether it is a SETUP that is for RECORD alone.
    pub(super) fn is_to_record(&self) -> bool {
        let transports = self.setup.as_ref().map_or(&[][..], |setup| &setup.transports);
        let is_for = |mode| transports.iter().any(|transport| transport.is_for(mode));
        is_for(Mode::Record) && !is_for(Mode::Play)
    }

    /// What the method's own fields say.
    pub(super) fn check_headers(&mut self) -> Result<(), Wrong> {
        let headers = &self.request.headers;
        let is_encoded = |value: &str| !value.eq_ignore_ascii_case("identity");
        if headers.list("Content-Encoding").any(is_encoded) {
            return Err((Status::UNSUPPORTED_MEDIA_TYPE, "no Content-Encoding"));
        }
        let has_type = |wanted: &str| {
            let given = headers.field("Content-Type").unwrap_or_default();
            let bare = given.split(';').next().unwrap_or_default().trim();
            bare.eq_ignore_ascii_case(wanted)
        };
        match self.request.method {
            Method::Describe if !accepts(headers.list("Accept"), "application/sdp") => {
                Err((Status::NOT_ACCEPTABLE, ""))
            }
            Method::Announce if !has_type("application/sdp") => {
                Err((Status::UNSUPPORTED_MEDIA_TYPE, "application/sdp"))
            }
            Method::GetParameter | Method::SetParameter
                if !self.request.body.is_empty() && !has_type("text/parameters") =>
            {
                Err((Status::UNSUPPORTED_MEDIA_TYPE, "text/parameters"))
            }
            Method::Setup => {
                // There are no conferences to be joined.
                if headers.field("Conference").is_some() {
                    return Err((Status::CONFERENCE_NOT_FOUND, ""));
                }
                let Some(field) = headers.field("Transport") else {
                    return Err((Status::BAD_REQUEST, "a Transport field"));
                };
                match Transport::parse_all(field) {
                    Ok(transports) => {
                        self.setup = Some(setup::Wanted { transports });
                        Ok(())
                    }
                    Err(_) => Err((
                        Status::UNSUPPORTED_TRANSPORT,
                        "RTP/AVP or RTP/AVPF, over UDP or TCP",
                    )),
                }
            }
            Method::Play | Method::Pause | Method::Record => {
                let Some(field) = headers.field("Range") else {
                    return Ok(());
                };
                let is_point = self.request.method == Method::Pause;
                self.range = Some(read_range(field, is_point)?);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Scale or Speed.
    fn decimal(&self, name: &str) -> Result<Option<f64>, Status> {
        let Some(text) = self.request.headers.field(name) else {
            return Ok(None);
        };
        parse_decimal(text).map(Some).map_err(|_| Status::BAD_REQUEST)
    }
}

fn read_range(field: &str, is_point: bool) -> Result<Range, Wrong> {
    const UNITS: [&str; 4] = ["npt", "clock", "smpte", "smpte-25"];
    let range = match is_point {
        true => Range::parse_point(field),
        false => Range::parse(field),
    };
    range.map_err(|error| {
        let unit = field.split('=').next().unwrap_or_default().trim();
        let is_known = UNITS.iter().any(|known| known.eq_ignore_ascii_case(unit));
        match is_known || unit.eq_ignore_ascii_case("smpte-30-drop") {
            true => (Status::BAD_REQUEST, error.expected),
            //= https://www.rfc-editor.org/rfc/rfc2326#section-11.3.7
            false => (Status::HEADER_FIELD_NOT_VALID, error.expected),
        }
    })
}

impl Server {
    /// What a client has is as it was until the end of this second. A date that is none, or has not come yet, says nothing.
    pub(super) fn modified_since(&self, current: &Current) -> Option<UnixTime> {
        let field = current.request.headers.field("If-Modified-Since")?;
        let since = parse_date(field)
            .ok()
            .filter(|since| *since <= self.wallclock())?;
        Some(since + Duration::from_nanos(999_999_999))
    }

    pub(super) fn act(&mut self, current: Box<Current>) {
        match current.request.method {
            Method::Options => {
                let response = self.response(&current, Status::OK);
                self.answer(&current, response.with("Public", names(super::PUBLIC)));
            }
            Method::Setup => self.setup(current),
            Method::Describe => match current.place.clone() {
                Some(place) => self.ask(current, Waiting::Act(Act::Describe), Ask::Describe(place)),
                None => self.answer_status(&current, Status::NOT_FOUND),
            },
            Method::Announce => self.announce_came(current),
            Method::GetParameter | Method::SetParameter => self.parameters_came(current),
            Method::Teardown => self.tear_down(&current),
            Method::Play => self.play(current),
            Method::Pause => self.pause(current),
            Method::Record => self.record(current),
            // Those were refused before.
            Method::Redirect | Method::Other(_) => self.answer_status(&current, Status::NOT_IMPLEMENTED),
        }
    }

    fn announce_came(&mut self, current: Box<Current>) {
        // What goes on in a session cannot become another presentation.
        let is_recording = self.sessions.values().any(|session| {
            session.mode == Mode::Record
                && current
                    .place
                    .as_ref()
                    .is_some_and(|place| place.mount != session.mount)
        });
        let Some(place) = current.place.clone().filter(|_| !is_recording) else {
            return self.answer_status(&current, Status::METHOD_NOT_VALID_IN_THIS_STATE);
        };
        let description = current.request.body.clone();
        let ask = Ask::Announce { place, description };
        self.ask(current, Waiting::Act(Act::Announce), ask);
    }

    fn parameters_came(&mut self, current: Box<Current>) {
        // Nothing asked for and nothing told is a sign of life (RFC 2326 §10.8).
        if current.request.body.is_empty() {
            return self.answer_status(&current, Status::OK);
        }
        let Some(place) = current.place.clone() else {
            return self.answer_status(&current, Status::NOT_FOUND);
        };
        let session = current.session.clone();
        let body = current.request.body.clone();
        let (act, ask) = match current.request.method {
            Method::GetParameter => (Act::GetParameter, Ask::GetParameter { place, session, body }),
            _ => (Act::SetParameter, Ask::SetParameter { place, session, body }),
        };
        self.ask(current, Waiting::Act(act), ask);
    }

    /// The session and the streams of it that a request is about.
    fn streams(&self, current: &Current) -> Result<(SessionId, Vec<usize>), Status> {
        let session = current.session.as_ref().and_then(|id| self.sessions.get(id));
        let session = session.ok_or(Status::SESSION_NOT_FOUND)?;
        let all: Vec<_> = session.tracks.keys().copied().collect();
        let is_removal = current.request.method == Method::Teardown;
        let one = match &current.url {
            None => None,
            Some(url) => match (session.track_at(url), &current.place) {
                (Some(index), _) => Some(index),
                (None, Some(place)) if place.mount == session.mount => match current.track {
                    Some(index) if session.tracks.contains_key(&index) => Some(index),
                    Some(_) => return Err(Status::NOT_FOUND),
                    None => None,
                },
                _ => return Err(Status::NOT_FOUND),
            },
        };
        let tracks = match one {
            //= https://www.rfc-editor.org/rfc/rfc2326#section-11.3.10
            Some(_) if all.len() > 1 && session.control == Control::Together && !is_removal => {
                return Err(Status::ONLY_AGGREGATE_OPERATION_ALLOWED);
            }
            Some(index) => vec![index],
            //= https://www.rfc-editor.org/rfc/rfc2326#section-11.3.9
            None if all.len() > 1 && session.control == Control::Each && !is_removal => {
                return Err(Status::AGGREGATE_OPERATION_NOT_ALLOWED);
            }
            None => all,
        };
        Ok((session.id.clone(), tracks))
    }

    /// The same, if the streams are in one of these states.
    fn streams_in(
        &mut self,
        current: &Current,
        mode: Option<Mode>,
        states: &[State],
    ) -> Option<(SessionId, Vec<usize>)> {
        let (id, tracks) = match self.streams(current) {
            Ok(found) => found,
            Err(status) => {
                self.answer_status(current, status);
                return None;
            }
        };
        let session = self.sessions.get(&id)?;
        let state = tracks.iter().filter_map(|index| session.tracks.get(index));
        let state = state.map(|track| track.state).max().unwrap_or(State::Init);
        if mode.is_some_and(|mode| mode != session.mode) || !states.contains(&state) {
            //= https://www.rfc-editor.org/rfc/rfc2326#section-11.3.6
            let allow = names(state.allowed(session.mode));
            let response = self.response(current, Status::METHOD_NOT_VALID_IN_THIS_STATE);
            self.answer(current, response.with("Allow", allow));
            return None;
        }
        Some((id, tracks))
    }

    fn tear_down(&mut self, current: &Current) {
        let (id, tracks) = match self.streams(current) {
            Ok(found) => found,
            Err(status) => return self.answer_status(current, status),
        };
        self.answer_status(current, Status::OK);
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        if tracks.len() == session.tracks.len() {
            return self.end_session(&id, End::Teardown);
        }
        for track in tracks {
            session.tracks.remove(&track);
            self.channels
                .retain(|_, channel| channel.session != id || channel.track != track);
            let session = id.clone();
            self.outputs
                .push_back(Output::Event(Event::TrackEnded { session, track }));
        }
    }

    fn play(&mut self, current: Box<Current>) {
        let states = [State::Ready, State::Playing];
        let Some((id, mut tracks)) = self.streams_in(&current, Some(Mode::Play), &states) else {
            return;
        };
        let (scale, speed) = match (current.decimal("Scale"), current.decimal("Speed")) {
            (Ok(scale), Ok(speed)) => (scale, speed),
            _ => return self.answer_status(&current, Status::BAD_REQUEST),
        };
        if scale == Some(0.0) || speed.is_some_and(|speed| speed <= 0.0) {
            return self.answer_status(&current, Status::HEADER_FIELD_NOT_VALID);
        }
        let Some(session) = self.sessions.get(&id) else {
            return;
        };
        //= https://www.rfc-editor.org/rfc/rfc2326#section-10.5
        // What plays goes on, and the client has learnt that we are there.
        if (current.range, scale, speed) == (None, None, None) {
            let is_playing = |index: &usize| {
                let track = session.tracks.get(index);
                track.is_some_and(|track| track.state == State::Playing)
            };
            tracks.retain(|index| !is_playing(index));
            if tracks.is_empty() {
                return self.answer_status(&current, Status::OK);
            }
        }
        // What never ends cannot be waited for: then the new range takes its place, as clients that seek expect. Another scale or
        // speed without a range is one for what plays now (RFC 2326 §12.34, §12.35).
        let ends: Vec<_> = session
            .some(&tracks)
            .filter_map(|track| track.plays.back())
            .collect();
        let is_queued =
            current.range.is_some() && !ends.is_empty() && ends.into_iter().all(|has_end| *has_end);
        let waiting = session.some(&tracks).map(|track| track.plays.len()).max();
        if waiting.unwrap_or(0) > limits::RTSP_QUEUED_PLAYS {
            return self.answer_status(&current, Status::SERVICE_UNAVAILABLE);
        }
        let play = Play {
            session: id.clone(),
            tracks: tracks.clone(),
            query: current.place.as_ref().and_then(|place| place.query.clone()),
            range: current.range,
            scale,
            speed,
            is_queued,
        };
        let act = Act::Play {
            session: id,
            tracks,
            is_queued,
        };
        self.ask(current, Waiting::Act(act), Ask::Play(Box::new(play)));
    }

    fn pause(&mut self, current: Box<Current>) {
        let states = [State::Playing, State::Recording];
        let Some((session, tracks)) = self.streams_in(&current, None, &states) else {
            return;
        };
        let ask = Ask::Pause {
            session: session.clone(),
            tracks: tracks.clone(),
            range: current.range,
        };
        self.ask(current, Waiting::Act(Act::Pause { session, tracks }), ask);
    }

    fn record(&mut self, current: Box<Current>) {
        let states = [State::Ready, State::Recording];
        let Some((session, tracks)) = self.streams_in(&current, Some(Mode::Record), &states) else {
            return;
        };
        let ask = Ask::Record {
            session: session.clone(),
            range: current.range,
        };
        self.ask(current, Waiting::Act(Act::Record { session, tracks }), ask);
    }

    pub(super) fn act_answered(&mut self, current: Box<Current>, act: Act, answer: Answer) {
        if let Answer::Refused(refusal) = answer {
            return self.refuse(&current, &refusal);
        }
        let ok = self.response(&current, Status::OK);
        match (act, answer) {
            (Act::Describe, Answer::Description(body)) => {
                self.answer(&current, described(&current, ok, body));
            }
            (
                Act::Describe,
                Answer::DatedDescription {
                    description,
                    modified,
                },
            ) => {
                let is_known = self
                    .modified_since(&current)
                    .is_some_and(|since| modified <= since);
                //= https://www.rfc-editor.org/rfc/rfc2326#section-12.23
                let response = match is_known {
                    true => self.response(&current, Status::NOT_MODIFIED),
                    false => described(&current, ok, description),
                };
                //= https://www.rfc-editor.org/rfc/rfc2326#section-12.24
                self.answer(&current, response.with("Last-Modified", date(modified)));
            }
            (Act::Announce, Answer::Granted) => {
                if let (Some(place), Some(url)) = (&current.place, &current.url) {
                    self.announced = Some(Announced::new(place, url, &current.request.body));
                }
                self.answer(&current, ok);
            }
            (
                Act::Setup {
                    session,
                    mode,
                    candidates,
                },
                Answer::SetUp(set_up),
            ) => self.set_up(current, (session, mode, candidates), *set_up),
            (
                Act::Play {
                    session,
                    tracks,
                    is_queued,
                },
                Answer::Played(played),
            ) => self.played(&current, &session, &tracks, is_queued, &played, ok),
            (Act::Record { session, tracks }, Answer::Recorded { range }) => {
                if let Some(session) = self.sessions.get_mut(&session) {
                    session.set_state(&tracks, State::Recording);
                }
                self.answer(&current, with_range(ok, range));
            }
            (Act::Pause { session, tracks }, Answer::Paused { range, is_at_once }) => {
                if let Some(session) = self.sessions.get_mut(&session) {
                    // Those that wait are forgotten (RFC 2326 §10.6), those of other streams are not.
                    for track in session.some_mut(&tracks) {
                        track.plays.truncate(usize::from(!is_at_once));
                    }
                    if is_at_once {
                        session.set_state(&tracks, State::Ready);
                    }
                }
                self.answer(&current, with_range(ok, range));
            }
            (Act::GetParameter, Answer::Parameters(body)) => {
                self.answer(&current, ok.with_body("text/parameters", body));
            }
            (Act::SetParameter, Answer::Granted) => self.answer(&current, ok),
            _ => self.mismatch(&current),
        }
    }

    fn played(
        &mut self,
        current: &Current,
        id: &SessionId,
        tracks: &[usize],
        is_queued: bool,
        played: &super::Played,
        ok: Response,
    ) {
        let mut response = with_range(ok, played.range);
        for (name, value) in [("Scale", played.scale), ("Speed", played.speed)] {
            if let Some(value) = value {
                response.headers.push(name, value.to_string());
            }
        }
        if let Some(session) = self.sessions.get_mut(id) {
            for track in session.some_mut(tracks) {
                if !is_queued {
                    track.plays.clear();
                }
                track
                    .plays
                    .push_back(played.range.is_some_and(|range| range.has_end()));
                track.state = State::Playing;
            }
            let infos = played.begins.iter().filter_map(|(index, seq, rtptime)| {
                let info = RtpInfo {
                    url: session.tracks.get(index)?.url.clone(),
                    seq: Some(*seq),
                    rtptime: Some(*rtptime),
                };
                Some(info.to_string())
            });
            let infos: Vec<_> = infos.collect();
            if !infos.is_empty() {
                response.headers.push("RTP-Info", infos.join(","));
            }
        }
        self.answer(current, response);
    }
}

fn described(current: &Current, ok: Response, description: Bytes) -> Response {
    let base = current.url.as_ref().map(content_base).unwrap_or_default();
    ok.with("Content-Base", base)
        .with_body("application/sdp", description)
}

fn with_range(mut response: Response, range: Option<Range>) -> Response {
    if let Some(range) = range {
        response.headers.push("Range", range.to_string());
    }
    response
}

/// The presentation's URL with a slash behind its path and at its end, so that by every reading of relative URLs, those that
/// put a stream behind the query among them, a stream comes behind it.
// Guards pitfall RTSP 3.
fn content_base(url: &Url) -> String {
    let target = control::target(url);
    let slash = if target.query.is_some() { "/" } else { "" };
    format!("{}{slash}", target.presentation(url))
}
