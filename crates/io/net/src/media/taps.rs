//! Who listens to calls within the server.

use super::{Driver, MediaError, MediaHandle, Message};
use ringpost_base::limits;
use ringpost_media::{Command, LegId, Tapped};
use std::collections::HashMap;

/// The listeners of each tapped leg.
pub(super) type Taps = HashMap<LegId, Vec<async_channel::Sender<Tapped>>>;

impl MediaHandle {
    /// What two legs receive from now on, as it comes, [`limits::TAPPED_PACKETS`] of it at most: what is not taken in time is
    /// lost. Closed when both legs are no more.
    pub fn tap(&self, legs: [LegId; 2]) -> Result<async_channel::Receiver<Tapped>, MediaError> {
        let (packets_in, packets) = async_channel::bounded(limits::TAPPED_PACKETS);
        self.messages
            .try_send(Message::Tap(legs, packets_in))
            .map_err(|refused| match refused.is_full() {
                true => MediaError::Busy,
                false => MediaError::Ended,
            })?;
        self.waker.wake();
        Ok(packets)
    }
}

impl Driver {
    pub(super) fn tap(&mut self, legs: [LegId; 2], listener: &async_channel::Sender<Tapped>) {
        for leg in legs {
            if !self.engine.has_leg(leg) {
                continue;
            }
            self.taps.entry(leg).or_default().push(listener.clone());
            let now = self.now();
            self.engine.handle_command(now, Command::Tap { leg });
        }
    }

    /// A slow listener loses the packet, and holds up nobody.
    pub(super) fn hand_on(&mut self, packet: Tapped) {
        let leg = packet.leg;
        let Some(listeners) = self.taps.get_mut(&leg) else {
            return;
        };
        listeners.retain(|listener| {
            let sent = listener.try_send(packet.clone());
            !matches!(sent, Err(async_channel::TrySendError::Closed(_)))
        });
        if listeners.is_empty() {
            self.taps.remove(&leg);
            let now = self.now();
            self.engine.handle_command(now, Command::Untap { leg });
        }
    }
}
