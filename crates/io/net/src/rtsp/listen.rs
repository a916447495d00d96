//! Who listens to a mount within the server.

use super::{Driver, Gone, Message, RtspHandle};
use bytes::Bytes;
use ringpost_base::limits;
use ringpost_stream::hub::{ListenerId, NotHeard};
use ringpost_stream::{Hearing, MountName};

/// The sound of a mount.
#[derive(Debug)]
pub struct Sound {
    /// What decodes it.
    pub hearing: Hearing,
    /// Its packets as they come, [`limits::LISTENER_PACKETS`] of them at most: what is not taken in time is lost. Closed when
    /// the mount is no more. Who drops it listens no longer.
    pub packets: async_channel::Receiver<Bytes>,
}

impl RtspHandle {
    /// Listens to a mount.
    pub async fn listen(&self, mount: MountName) -> Result<Result<Sound, NotHeard>, Gone> {
        let (reply, answer) = async_channel::bounded(1);
        self.push(Message::Listen(mount, reply)).await?;
        answer.recv().await.map_err(|_| Gone)
    }
}

impl Driver {
    /// Somebody listens to a mount. Those who do no longer make room.
    pub(super) fn listen(&mut self, mount: &MountName) -> Result<Sound, NotHeard> {
        let gone = self.listeners.iter().filter(|(_, packets)| packets.is_closed());
        let gone: Vec<_> = gone.map(|(listener, _)| *listener).collect();
        gone.into_iter()
            .for_each(|listener| self.stop_listening(listener));
        let (listener, hearing) = self.hub.listen(mount)?;
        let (packets_in, packets) = async_channel::bounded(limits::LISTENER_PACKETS);
        self.listeners.insert(listener, packets_in);
        Ok(Sound { hearing, packets })
    }

    /// A slow one loses the packet, and holds up nobody.
    pub(super) fn hand_to(&mut self, listener: ListenerId, packet: Bytes) {
        let sent = self
            .listeners
            .get(&listener)
            .map(|packets| packets.try_send(packet));
        if let Some(Err(async_channel::TrySendError::Closed(_))) = sent {
            self.stop_listening(listener);
        }
    }

    fn stop_listening(&mut self, listener: ListenerId) {
        self.listeners.remove(&listener);
        self.hub.stop_listening(listener);
    }
}
