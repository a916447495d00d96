//! What a session was set up for. It counts by the tracks that it was told of, and is sent those and nothing else, whatever
//! becomes of its mount: others may publish there, and what is known of its recordings may be forgotten and read anew.

use super::live::Live;
use super::plane::Plane;
use super::recorded::asks_for_recorded;
use super::session::{Reader, Session};
use super::{ConnectionId, MountKey};
use crate::description::Description;
use crate::file::FileTrack;
use crate::mount::MountName;
use crate::playback::{Player, Timeline};
use ringpost_base::Rng;
use ringpost_rtsp::server::{Answer, Refusal, Setup};
use ringpost_rtsp::{Method, Status};
use std::sync::Arc;

/// What a session of a reader was set up for.
#[derive(Clone, Debug)]
pub(crate) enum Subject {
    /// What was live then, as it was described.
    Live(Arc<Description>),
    /// What there was that is not live: its tracks.
    Stored(Arc<[FileTrack]>),
}

/// What a connection was told of a mount.
#[derive(Debug)]
pub(crate) struct Described {
    mount: MountName,
    subject: Subject,
    /// It was asked for as what was recorded.
    is_of_recorded: bool,
}

impl Subject {
    pub(crate) fn of_live(live: &Live) -> Self {
        Subject::Live(live.description.clone())
    }

    pub(crate) fn of_stored(timeline: &Timeline) -> Self {
        Subject::Stored(timeline.tracks().into())
    }

    pub(crate) fn is_live(&self) -> bool {
        matches!(self, Subject::Live(_))
    }

    /// How many tracks it has.
    pub(crate) fn tracks(&self) -> usize {
        match self {
            Subject::Live(description) => description.tracks.len(),
            Subject::Stored(tracks) => tracks.len(),
        }
    }

    /// Plays what there is that is not live by its tracks.
    // Guards pitfall RTSP 8.
    pub(crate) fn player(&self, timeline: Timeline, rng: &mut Rng) -> Player {
        match self {
            Subject::Live(description) => Player::as_described(timeline, description, rng),
            Subject::Stored(tracks) => Player::new(timeline.with_tracks(tracks), rng),
        }
    }
}

impl Plane {
    /// The mount, if it is live and what a session was set up for: by the same publisher, or another one of the same tracks.
    pub(crate) fn live_of_subject(&self, mount: &MountName, subject: &Subject) -> Option<(MountKey, &Live)> {
        match subject {
            Subject::Live(described) => self
                .live_of(mount)
                .filter(|(_, live)| live.can_go_on_with(described)),
            Subject::Stored(_) => None,
        }
    }

    /// What a reader will know a track by that has been set up.
    pub(crate) fn ssrc_of(&self, setup: &Setup, track: usize) -> Option<u32> {
        let reader = self.reader_of(setup)?;
        let (_, live) = self.live_of_subject(&setup.place.mount, &reader.subject)?;
        live.ssrc_of(track)
    }

    /// What a stream that is set up is of, if that is live: one more of a session is of what the others of it are, and the first
    /// of what its connection was told last. The error says that this is not live any more.
    pub(crate) fn subject_of(
        &self,
        connection: ConnectionId,
        setup: &Setup,
    ) -> Result<Option<Subject>, &'static str> {
        if let Some(reader) = self.reader_of(setup) {
            return Ok(Some(reader.subject.clone()).filter(Subject::is_live));
        }
        let live = match self.described_to(connection, setup) {
            Some(Subject::Stored(_)) => None,
            Some(described) => {
                let live = self.live_of_subject(&setup.place.mount, described);
                Some(live.ok_or("what was described is live no more")?)
            }
            None => self.live_at(&setup.place),
        };
        Ok(live.map(|(_, live)| Subject::of_live(live)))
    }

    /// The same where it is not live, if that is known before it is looked up.
    pub(crate) fn stored_subject_of(&self, connection: ConnectionId, setup: &Setup) -> Option<Subject> {
        let subject = match self.reader_of(setup) {
            Some(reader) => Some(&reader.subject),
            None => self.described_to(connection, setup),
        };
        subject.filter(|subject| !subject.is_live()).cloned()
    }

    fn described_to(&self, connection: ConnectionId, setup: &Setup) -> Option<&Subject> {
        let is_of_recorded = asks_for_recorded(setup.place.query.as_deref());
        let described = self.described.get(&connection)?;
        let is_it = described.mount == setup.place.mount && described.is_of_recorded == is_of_recorded;
        is_it.then_some(&described.subject)
    }

    /// A connection is told of a mount, or that there is none.
    pub(crate) fn note_described(
        &mut self,
        connection: ConnectionId,
        mount: &MountName,
        subject: Option<Subject>,
        is_of_recorded: bool,
    ) {
        let described = subject.map(|subject| Described {
            mount: mount.clone(),
            subject,
            is_of_recorded,
        });
        match described {
            Some(described) => drop(self.described.insert(connection, described)),
            None => drop(self.described.remove(&connection)),
        }
    }

    /// The session that a stream is set up for, if there is one already.
    pub(crate) fn reader_of(&self, setup: &Setup) -> Option<&Reader> {
        let session = self.sessions.get(self.by_id.get(&setup.session)?);
        session.and_then(Session::reader)
    }

    /// The answer to a session of what was live that wants it, where something else is live now.
    //= https://www.rfc-editor.org/rfc/rfc2326#section-11.3.6
    pub(crate) fn is_something_else(&self, mount: &MountName, subject: &Subject) -> Option<Answer> {
        let is_other = subject.is_live() && self.live_of_subject(mount, subject).is_none();
        self.live_of(mount).filter(|_| is_other)?;
        Some(Answer::Refused(Refusal {
            allow: vec![Method::Setup, Method::Teardown],
            body: "what is live now has other tracks than this session was set up for\r\n".into(),
            ..Status::METHOD_NOT_VALID_IN_THIS_STATE.into()
        }))
    }
}
