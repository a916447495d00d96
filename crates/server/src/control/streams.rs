//! `stream …`: what is live.

use super::LocalControl;
use ringpost_admin::{Answer, Command, Refusal, RefusalKind, StreamSession, StreamState};
use ringpost_net::rtsp::Gone;
use ringpost_stream::MountName;
use ringpost_stream::hub::{MountInfo, SessionInfo, SessionKey};

impl LocalControl {
    pub(super) async fn stream(&self, command: &Command) -> Result<Answer, Refusal> {
        let Some(streams) = &self.streams else {
            let why = "no server runs on this data folder, and only a server has streams; start one with `ringpost serve`";
            return Err(Refusal::new(RefusalKind::Unavailable, why));
        };
        match command {
            Command::StreamKick { session } => {
                match streams.kick(SessionKey(*session)).await.map_err(gone)? {
                    true => Ok(Answer::Done),
                    false => Err(Refusal::not_found(format!(
                        "there is no session {session}; `ringpost stream list` shows them"
                    ))),
                }
            }
            Command::StreamRecord { mount, is_wanted } => {
                let name: MountName = mount
                    .parse()
                    .map_err(|error| Refusal::invalid(format!("{mount:?} is no mount: {error}")))?;
                match streams.record(name, *is_wanted).await.map_err(gone)? {
                    true => Ok(Answer::Done),
                    false => Err(Refusal::not_found(format!(
                        "{mount} is not live now; it will be {} when it is",
                        if *is_wanted { "recorded" } else { "left unrecorded" }
                    ))),
                }
            }
            _ => {
                let mounts = streams.mounts().await.map_err(gone)?;
                Ok(Answer::Streams(mounts.iter().map(state).collect()))
            }
        }
    }
}

fn gone(error: Gone) -> Refusal {
    Refusal::new(RefusalKind::Failed, error.to_string())
}

fn state(info: &MountInfo) -> StreamState {
    StreamState {
        mount: info.name.to_string(),
        encodings: info.encodings.clone(),
        is_played: !info.is_live,
        is_recorded: info.is_recorded,
        silent_ms: u64::try_from(info.silent_for.as_millis()).unwrap_or(u64::MAX),
        received_bytes: info.received_bytes,
        lost_packets: info.lost_packets,
        publisher: info.publisher.as_ref().map(session),
        readers: info.readers.iter().map(session).collect(),
    }
}

fn session(info: &SessionInfo) -> StreamSession {
    StreamSession {
        session: info.key.0,
        user: info.user.clone().unwrap_or_default(),
        source: info.source.clone().unwrap_or_default(),
        peer: info.peer.to_string(),
        transport: if info.is_interleaved { "tcp" } else { "udp" }.into(),
        lasted_s: info.lasted.as_secs(),
        sent_bytes: info.sent_bytes,
        skipped_packets: info.skipped_packets,
    }
}
