//! Who listens to a mount within the server.

use super::{Driver, Gone, Message, RtspHandle};
use bytes::Bytes;
use ringpost_base::{Instant, limits};
use ringpost_stream::hub::{ListenerId, NotHeard};
use ringpost_stream::{Hearing, MountName};
use std::time::Duration;

/// How often those who listen no longer are looked for.
const LOOK: Duration = Duration::from_secs(1);

/// Where it goes what becomes of who wants to listen.
pub(super) type Reply = async_channel::Sender<Result<Sound, NotHeard>>;

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
    /// Listens to a mount. One that is pulled when it is wanted is waited for.
    pub async fn listen(&self, mount: MountName) -> Result<Result<Sound, NotHeard>, Gone> {
        let (reply, answer) = async_channel::bounded(1);
        self.push(Message::Listen(mount, reply)).await?;
        answer.recv().await.map_err(|_| Gone)
    }
}

impl Driver {
    /// Somebody wants to listen to a mount. One that is pulled when it is wanted is waited for.
    pub(super) fn listen(&mut self, now: Instant, mount: MountName, reply: Reply) {
        let heard = self.sound_of(&mount);
        if let Err(NotHeard::NotLive) = &heard
            && let Some(listener) = self.hub.await_pull(now, &mount)
        {
            self.awaiting.insert(listener, (mount, reply));
            return;
        }
        // Who does not wait for it any longer hears nothing.
        let _ = reply.try_send(heard);
    }

    /// What somebody waited for is live, or will not be.
    pub(super) fn go_on_listening(&mut self, listener: ListenerId, is_live: bool) {
        let Some((mount, reply)) = self.awaiting.remove(&listener) else {
            return;
        };
        let heard = match is_live {
            // Who has hung up meanwhile is no reader of it.
            _ if reply.is_closed() => return,
            true => self.sound_of(&mount),
            false => Err(NotHeard::NotPulled),
        };
        let _ = reply.try_send(heard);
    }

    /// Those who listen no longer make room.
    fn sound_of(&mut self, mount: &MountName) -> Result<Sound, NotHeard> {
        self.drop_closed();
        let (listener, hearing) = self.hub.listen(mount)?;
        let (packets_in, packets) = async_channel::bounded(limits::LISTENER_PACKETS);
        self.listeners.insert(listener, packets_in);
        Ok(Sound { hearing, packets })
    }

    /// Who listens no longer, or waits to, is no reader of what is pulled while somebody reads, though no packet finds that out.
    pub(super) fn let_listeners_go(&mut self) {
        let now = self.now();
        if now >= self.look_at && !(self.listeners.is_empty() && self.awaiting.is_empty()) {
            self.look_at = now + LOOK;
            self.drop_closed();
        }
    }

    fn drop_closed(&mut self) {
        let gone = self.listeners.iter().filter(|(_, packets)| packets.is_closed());
        let waited = self.awaiting.iter().filter(|(_, (_, reply))| reply.is_closed());
        let gone = gone
            .map(|(listener, _)| *listener)
            .chain(waited.map(|(listener, _)| *listener));
        let gone: Vec<_> = gone.collect();
        gone.into_iter()
            .for_each(|listener| self.stop_listening(listener));
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
        self.awaiting.remove(&listener);
        self.hub.stop_listening(listener);
    }
}
