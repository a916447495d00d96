//! Who hears a mount within the server: its sound goes to them packet by packet, as it comes.

use super::plane::Plane;
use super::{MountKey, Output};
use crate::hearing::Hearing;
use crate::mount::MountName;
use ringpost_base::limits;
use ringpost_sdp::MediaKind;

/// Names who listens within the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerId(pub u64);

/// Why a mount cannot be heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotHeard {
    /// Nobody publishes it now.
    NotLive,
    /// It is pulled from another server, which does not give it now.
    NotPulled,
    /// It has no sound that can be decoded; these are the encodings of all that it has.
    Undecodable(Vec<String>),
    /// [`limits::MOUNT_LISTENERS`] hear it already.
    Full,
}

impl Plane {
    pub(crate) fn new_listener(&mut self) -> ListenerId {
        ListenerId(self.next_number())
    }

    pub(crate) fn listen(&mut self, name: &MountName) -> Result<(ListenerId, Hearing), NotHeard> {
        let id = self.new_listener();
        let key = self.names.get(name).ok_or(NotHeard::NotLive)?;
        let live = self.live.get_mut(key).filter(|live| live.publisher.is_some());
        let live = live.ok_or(NotHeard::NotLive)?;
        let tracks = live.description.tracks.iter().enumerate();
        let mut sounds = tracks.filter(|(_, track)| track.kind == MediaKind::Audio);
        let found = sounds.find_map(|(index, track)| Some((index, Hearing::new(track.codec())?)));
        let Some((track, hearing)) = found else {
            let tracks = live.description.tracks.iter();
            let encodings = tracks.map(|track| track.codec().name.to_string());
            return Err(NotHeard::Undecodable(encodings.collect()));
        };
        if live.listeners.len() >= limits::MOUNT_LISTENERS {
            return Err(NotHeard::Full);
        }
        live.listeners.push((id, track));
        Ok((id, hearing))
    }

    pub(crate) fn stop_listening(&mut self, id: ListenerId) {
        for live in self.live.values_mut() {
            live.listeners.retain(|(listener, _)| *listener != id);
        }
    }

    /// Hands on what has come for those who listen to a mount.
    pub(crate) fn flush_listeners(&mut self, key: MountKey) {
        let heard = self
            .live
            .get_mut(&key)
            .map(|live| std::mem::take(&mut live.heard_within));
        for (listener, packet) in heard.unwrap_or_default() {
            self.push(Output::Heard { listener, packet });
        }
    }

    /// A mount is no more.
    pub(crate) fn end_listening(&mut self, key: MountKey) {
        self.flush_listeners(key);
        let ended = self
            .live
            .get_mut(&key)
            .map(|live| std::mem::take(&mut live.listeners));
        for (listener, _) in ended.unwrap_or_default() {
            self.push(Output::ListenerEnded(listener));
        }
    }
}
