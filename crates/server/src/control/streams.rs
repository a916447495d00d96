//! `stream …`: what is live.

use super::{LocalControl, StreamDesk};
use ringpost_admin::{
    AnnouncedStream, Answer, Command, PullFailure, RecordingState, Refusal, RefusalKind, StreamGroup,
    StreamSession, StreamState,
};
use ringpost_net::rtsp::Gone;
use ringpost_rtsp::Url;
use ringpost_stream::MountName;
use ringpost_stream::hub::{
    self, AnnouncedInfo, GroupInfo, MountInfo, SendAway, SessionInfo, SessionKey, Whom,
};
use ringpost_stream::recording::State;

impl LocalControl {
    pub(super) async fn stream(&self, command: &Command) -> Result<Answer, Refusal> {
        let Some(StreamDesk {
            thread: streams,
            mounts,
        }) = &self.streams
        else {
            let why = "no server runs on this data folder, and only a server has streams; start one with `ringpost serve`";
            return Err(Refusal::new(RefusalKind::Unavailable, why));
        };
        match command {
            Command::StreamKick { session, redirect } => {
                let (whom, to) = (Whom::Session(SessionKey(*session)), url(redirect.as_deref())?);
                match streams.send_away(SendAway { whom, to }).await.map_err(gone)? {
                    0 => Err(Refusal::not_found(format!(
                        "there is no session {session}; `ringpost stream list` shows them"
                    ))),
                    _ => Ok(Answer::Done),
                }
            }
            Command::StreamClear { mount, redirect } => {
                let (whom, to) = (Whom::ReadersOf(name(mount)?), url(redirect.as_deref())?);
                match streams.send_away(SendAway { whom, to }).await.map_err(gone)? {
                    0 => Err(Refusal::not_found(format!("nobody reads {mount}"))),
                    _ => Ok(Answer::Done),
                }
            }
            Command::StreamRecord { mount, is_wanted } => {
                let name = name(mount)?;
                let refused = |why: &dyn std::fmt::Display| {
                    let why = format!("{mount} is not recorded: {why}; what is live is, or will be");
                    Err(Refusal::new(RefusalKind::Invalid, why))
                };
                if let Some(why) = mounts.reserved_for(&name).await {
                    return refused(&why);
                }
                match streams.record(name, *is_wanted).await.map_err(gone)? {
                    Err(error) => refused(&error),
                    Ok(true) => Ok(Answer::Done),
                    Ok(false) => Ok(Answer::Noted(format!(
                        "{mount} is not live now; it will be {} when it is",
                        if *is_wanted { "recorded" } else { "left unrecorded" }
                    ))),
                }
            }
            Command::StreamAnnounced => {
                let announced = streams.announced().await.map_err(gone)?;
                Ok(Answer::Announced(announced.iter().map(announced_state).collect()))
            }
            _ => {
                let mounts = streams.mounts().await.map_err(gone)?;
                let failing = streams.failing_pulls().await.map_err(gone)?;
                Ok(Answer::Streams(listed(&mounts, failing)))
            }
        }
    }
}

fn name(mount: &str) -> Result<MountName, Refusal> {
    let parsed = mount.parse();
    parsed.map_err(|error| Refusal::invalid(format!("{mount:?} is no mount: {error}")))
}

fn url(redirect: Option<&str>) -> Result<Option<Url>, Refusal> {
    let wrong = |error| {
        Refusal::invalid(format!(
            "{error}; write where to go like rtsp://other.example.org/alice/door"
        ))
    };
    redirect.map(Url::parse).transpose().map_err(wrong)
}

fn gone(error: Gone) -> Refusal {
    Refusal::new(RefusalKind::Failed, error.to_string())
}

/// What is live, and what should be and is not, by name.
fn listed(mounts: &[MountInfo], failing: Vec<hub::PullFailure>) -> Vec<StreamState> {
    let mut states: Vec<_> = mounts.iter().map(state).collect();
    for failing in failing {
        let mount = failing.mount.to_string();
        let failure = Some(PullFailure {
            source: failing.source,
            why: failing.why,
            attempts: failing.attempts,
            again_in_s: failing
                .again_in
                .map(|again_in| again_in.as_secs_f64().ceil() as u64),
        });
        match states.iter_mut().find(|state| state.mount == mount) {
            // Its readers wait.
            Some(state) => state.failure = failure,
            None => states.push(StreamState {
                mount,
                encodings: Vec::new(),
                recording: None,
                is_played: false,
                silent_ms: 0,
                received_bytes: 0,
                lost_packets: 0,
                failure,
                group: None,
                publisher: None,
                readers: Vec::new(),
            }),
        }
    }
    states.sort_by(|a, b| a.mount.cmp(&b.mount));
    states
}

fn state(info: &MountInfo) -> StreamState {
    StreamState {
        mount: info.name.to_string(),
        encodings: info.encodings.clone(),
        is_played: !info.is_live,
        recording: info.recording.map(recording),
        silent_ms: u64::try_from(info.silent_for.as_millis()).unwrap_or(u64::MAX),
        received_bytes: info.received_bytes,
        lost_packets: info.lost_packets,
        failure: None,
        group: info.group.as_ref().map(group),
        publisher: info.publisher.as_ref().map(session),
        readers: info.readers.iter().map(session).collect(),
    }
}

fn recording(state: State) -> RecordingState {
    match state {
        State::Writing => RecordingState::Writing,
        State::Waiting => RecordingState::Waiting,
        State::Failing { retry_in } => RecordingState::Failing(retry_in.as_secs()),
    }
}

fn group(info: &GroupInfo) -> StreamGroup {
    StreamGroup {
        address: info.group.rtp(0).to_string(),
        ttl: info.group.ttl,
        is_sending: info.is_sending,
        is_announced: info.is_announced,
        sent_packets: info.sent_packets,
        sent_bytes: info.sent_bytes,
    }
}

fn announced_state(info: &AnnouncedInfo) -> AnnouncedStream {
    AnnouncedStream {
        name: info.name.clone(),
        origin: info.source.to_string(),
        from: info.from.to_string(),
        group: info.group.map(|group| group.to_string()).unwrap_or_default(),
        media: info.media.clone(),
        age_s: info.age.as_secs(),
        silent_s: info.silent_for.as_secs(),
    }
}

fn session(info: &SessionInfo) -> StreamSession {
    StreamSession {
        session: info.key.0,
        user: info.user.clone().unwrap_or_default(),
        source: info.source.clone().unwrap_or_default(),
        peer: info.peer.to_string(),
        transport: match (info.is_in_group, info.is_interleaved) {
            (true, _) => "multicast",
            (false, true) => "tcp",
            (false, false) => "udp",
        }
        .into(),
        lasted_s: info.lasted.as_secs(),
        received_bytes: info.received_bytes,
        sent_bytes: info.sent_bytes,
        skipped_packets: info.skipped_packets,
    }
}
