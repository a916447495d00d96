//! Requests of ours to the client: RTSP goes both ways.

use super::{Server, names};
use crate::header::Range;
use crate::message::{Request, Response};
use crate::method::Method;
use crate::server::question::SessionId;
use crate::url::Url;
use bytes::Bytes;
use ringpost_base::{Instant, limits};
use std::collections::BTreeMap;
use thiserror::Error;

/// Names a request of ours within its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u32);

/// What became of a request of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The client has answered.
    Response(Box<Response>),
    /// The client has not answered in time.
    TimedOut,
    /// The connection ended before the client answered.
    Closed,
}

/// As many requests of ours as may wait for their response do: [`limits::RTSP_PIPELINE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "expected fewer than {} requests that wait for their response",
    limits::RTSP_PIPELINE
)]
pub struct TooMany;

/// Those that wait for their response, by their CSeq, which is counted apart from the client's.
#[derive(Debug, Default)]
pub(super) struct Ours {
    cseq: u32,
    waiting: BTreeMap<u32, Instant>,
}

impl Ours {
    pub(super) fn take(&mut self, cseq: u32) -> Option<RequestId> {
        self.waiting.remove(&cseq).map(|_| RequestId(cseq))
    }

    pub(super) fn take_due(&mut self, now: Instant) -> Vec<RequestId> {
        let due = self.waiting.iter().filter(|(_, at)| **at <= now);
        let due: Vec<_> = due.map(|(cseq, _)| *cseq).collect();
        due.into_iter().filter_map(|cseq| self.take(cseq)).collect()
    }

    pub(super) fn take_all(&mut self) -> Vec<RequestId> {
        let all = std::mem::take(&mut self.waiting);
        all.into_keys().map(RequestId).collect()
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.waiting.values().min().copied()
    }
}

impl Server {
    /// Asks what the client can do (RFC 2326 §10.1).
    pub fn options(&mut self, now: Instant) -> Result<RequestId, TooMany> {
        let request = Request::new(Method::Options, "*").with("Public", names(super::PUBLIC));
        self.request(now, None, request)
    }

    /// Tells the client of a session, or of all on this connection, to go elsewhere, at once or when `range` begins
    /// (RFC 2326 §10.10). The session goes on until the client ends it or its owner does.
    pub fn redirect(
        &mut self,
        now: Instant,
        session: Option<&SessionId>,
        location: &Url,
        range: Option<Range>,
    ) -> Result<RequestId, TooMany> {
        let mut request = Request::new(Method::Redirect, self.url_of(session));
        request.headers.push("Location", location.to_string());
        if let Some(range) = range {
            request.headers.push("Range", range.to_string());
        }
        self.request(now, session, request)
    }

    /// Tells the client of a session that its description has changed (RFC 2326 §10.3).
    pub fn announce(
        &mut self,
        now: Instant,
        session: &SessionId,
        description: Bytes,
    ) -> Result<RequestId, TooMany> {
        let request = Request::new(Method::Announce, self.url_of(Some(session)));
        let request = request.with_body("application/sdp", description);
        self.request(now, Some(session), request)
    }

    /// Asks the client of a session for values, names one a line; nothing is a sign of life that is asked for (RFC 2326
    /// §10.8).
    pub fn get_parameter(
        &mut self,
        now: Instant,
        session: &SessionId,
        names: Bytes,
    ) -> Result<RequestId, TooMany> {
        let mut request = Request::new(Method::GetParameter, self.url_of(Some(session)));
        if !names.is_empty() {
            request = request.with_body("text/parameters", names);
        }
        self.request(now, Some(session), request)
    }

    /// Tells the client of a session values, `name: value`, one a line (RFC 2326 §10.9).
    pub fn set_parameter(
        &mut self,
        now: Instant,
        session: &SessionId,
        values: Bytes,
    ) -> Result<RequestId, TooMany> {
        let request = Request::new(Method::SetParameter, self.url_of(Some(session)));
        let request = request.with_body("text/parameters", values);
        self.request(now, Some(session), request)
    }

    /// The presentation's URL as the client knows it: a stream's, without the stream's part.
    fn url_of(&self, session: Option<&SessionId>) -> String {
        let session = session.and_then(|id| self.sessions.get(id));
        let track = session.and_then(|session| session.tracks.values().next());
        let url = track.and_then(|track| Url::parse(&track.url).ok());
        url.map_or("*".into(), |url| {
            crate::control::target(&url).presentation(&url).to_string()
        })
    }

    fn request(
        &mut self,
        now: Instant,
        session: Option<&SessionId>,
        mut request: Request,
    ) -> Result<RequestId, TooMany> {
        self.now = now;
        if self.is_closed || self.ours.waiting.len() >= limits::RTSP_PIPELINE {
            return Err(TooMany);
        }
        self.ours.cseq = self.ours.cseq.wrapping_add(1);
        let cseq = self.ours.cseq;
        self.ours.waiting.insert(cseq, now + self.config.response_timeout);
        request.headers.push("CSeq", cseq.to_string());
        request.headers.push("Server", &*self.config.software);
        if let Some(session) = session {
            request.headers.push("Session", session.as_str());
        }
        self.outputs
            .push_back(super::Output::Transmit(request.to_bytes()));
        Ok(RequestId(cseq))
    }
}
