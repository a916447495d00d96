//! What a phone believes of its calls, from what it has told.

use crate::house::Handset;
use ringpost_base::Instant;
use ringpost_client::phone::{CallId, Ended, Event, Lamp, Statistics};

impl Handset {
    /// What it has told from its `mark`th event on; see [`mark`](Handset::mark).
    pub fn since(&self, mark: usize) -> impl DoubleEndedIterator<Item = &Event> {
        self.events[mark.min(self.events.len())..]
            .iter()
            .map(|(_, event)| event)
    }

    /// How many events it has told.
    pub fn mark(&self) -> usize {
        self.events.len()
    }

    /// The first call that came in since.
    pub fn incoming(&self, mark: usize) -> Option<CallId> {
        self.since(mark).find_map(|event| match event {
            Event::Incoming { call, .. } => Some(*call),
            _ => None,
        })
    }

    /// Whether the call was answered, whatever became of it then.
    pub fn was_up(&self, call: CallId) -> bool {
        self.since(0).any(|event| *event == Event::Up { call })
    }

    /// Whether the call stands, as far as the phone knows.
    pub fn is_up(&self, call: CallId) -> bool {
        self.was_up(call) && self.ended(call).is_none()
    }

    /// Whether the far end was heard to ring, or to play something early.
    pub fn rings_there(&self, call: CallId) -> bool {
        self.since(0).any(|event| {
            matches!(event, Event::Progress { call: known, status } if *known == call && *status > 100)
        })
    }

    /// How the call ended.
    pub fn ended(&self, call: CallId) -> Option<Ended> {
        self.end(call).map(|(_, why, _)| why)
    }

    /// When the call ended, and how.
    pub fn ended_at(&self, call: CallId) -> Option<(Instant, Ended)> {
        self.end(call).map(|(at, why, _)| (at, why))
    }

    /// How the call went.
    pub fn statistics(&self, call: CallId) -> Statistics {
        self.phone
            .statistics(call)
            .or_else(|| self.end(call).map(|(_, _, statistics)| statistics))
            .unwrap_or_default()
    }

    fn end(&self, call: CallId) -> Option<(Instant, Ended, Statistics)> {
        self.events.iter().rev().find_map(|(at, event)| match event {
            Event::Ended {
                call: known,
                why,
                statistics,
            } if *known == call => Some((*at, *why, statistics.clone())),
            _ => None,
        })
    }

    /// Whether the peer has put the call on hold, as far as the phone knows.
    pub fn is_held(&self, call: CallId) -> bool {
        self.since(0).rev().find_map(|event| match event {
            Event::Held { call: known, held } if *known == call => Some(*held),
            _ => None,
        }) == Some(true)
    }

    /// What the lamp shows.
    pub fn lamp(&self) -> Option<Lamp> {
        self.since(0).rev().find_map(|event| match event {
            Event::Lamp(lamp) => Some(*lamp),
            _ => None,
        })
    }
}
