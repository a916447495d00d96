//! Mounts that the server itself publishes.

use super::{Driver, Gone, Message, RtspHandle};
use bytes::Bytes;
use ringpost_stream::hub::SessionKey;
use ringpost_stream::{Description, MountName};

/// What is wanted of a mount of the server's own.
pub(super) enum Own {
    Begin(
        MountName,
        String,
        Box<Description>,
        async_channel::Sender<Option<SessionKey>>,
    ),
    Packet(SessionKey, Bytes, async_channel::Sender<()>),
    End(SessionKey),
}

/// A mount that the server publishes, until it is ended.
#[derive(Debug)]
pub struct OwnMount {
    key: SessionKey,
    /// Closed when it is published no more.
    ended: async_channel::Receiver<()>,
    ends: async_channel::Sender<()>,
}

impl RtspHandle {
    /// Has a mount of one track live for `user`; `None` where there is no room for another.
    pub async fn publish(
        &self,
        mount: MountName,
        user: String,
        description: Description,
    ) -> Result<Option<OwnMount>, Gone> {
        let (reply, answer) = async_channel::bounded(1);
        let description = Box::new(description);
        self.push(Message::Own(Own::Begin(mount, user, description, reply)))
            .await?;
        let key = answer.recv().await.map_err(|_| Gone)?;
        Ok(key.map(|key| {
            let (ends, ended) = async_channel::bounded(1);
            OwnMount { key, ended, ends }
        }))
    }

    /// An RTP packet of it; false once it is published no more, because it was ended from elsewhere.
    pub async fn publish_packet(&self, mount: &OwnMount, packet: Bytes) -> Result<bool, Gone> {
        let own = Own::Packet(mount.key, packet, mount.ends.clone());
        self.push(Message::Own(own)).await?;
        Ok(!mount.ended.is_closed())
    }

    /// Ends it.
    pub async fn unpublish(&self, mount: OwnMount) -> Result<(), Gone> {
        self.push(Message::Own(Own::End(mount.key))).await
    }
}

impl Driver {
    pub(super) fn handle_own(&mut self, own: Own) {
        let now = self.now();
        match own {
            Own::Begin(mount, user, description, reply) => {
                let key = self.hub.publish(now, &mount, user, *description);
                // Who asked may be gone by now.
                if reply.try_send(key).is_err()
                    && let Some(key) = key
                {
                    self.hub.unpublish(now, key);
                }
            }
            Own::Packet(key, packet, ends) => {
                if !self.hub.handle_own_packet(now, key, packet) {
                    ends.close();
                }
            }
            Own::End(key) => self.hub.unpublish(now, key),
        }
    }
}
