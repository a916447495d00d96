//! Calls that their account has as a mount while they last.

use super::{CallId, Stage};
use crate::phone::{Event, Output, Phone};
use crate::question::Person;
use ringpost_media::{Audio, Command, LegId};
use std::sync::Arc;
use std::time::Duration;

use ringpost_base::UnixTime;
use ringpost_codec::Tone;

/// What both sides hear when their call begins to be a mount, unless that is turned off: the tone of recorded calls that is
/// usual in several countries.
const NOTICE_HZ: f64 = 1_400.0;
const NOTICE_DBFS: f64 = -15.0;
const NOTICE: Duration = Duration::from_millis(500);

/// A call that one of its two accounts is to have as a mount; it ends with its legs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overheard {
    /// Which call.
    pub call: CallId,
    /// When it began to ring.
    pub began: UnixTime,
    /// Whose mount it is.
    pub person: Arc<Person>,
    /// The leg of that account's phone.
    pub own: LegId,
    /// The other one.
    pub far: LegId,
}

impl Phone {
    /// Two legs hear each other from now on: whoever wants their calls as mounts has this one.
    pub(super) fn overhear(&mut self, id: CallId) {
        let Some(call) = self.calls.get(&id) else { return };
        let (Stage::Talking(talking), Some(caller)) = (&call.stage, &call.caller) else {
            return;
        };
        let (a, b) = (caller.leg, talking.callee.leg);
        let mut wanted = Vec::new();
        for (person, own, far) in [(&call.from, a, b), (&call.callee, b, a)] {
            let Some(person) = person.as_ref().filter(|person| self.config.is_overheard(person)) else {
                continue;
            };
            let is_known = |other: &Overheard| other.person.account == person.account;
            if !wanted.iter().any(is_known) {
                wanted.push(Overheard {
                    call: id,
                    began: call.began_at,
                    person: person.clone(),
                    own,
                    far,
                });
            }
        }
        if self.config.overheard_tone && !wanted.is_empty() {
            let notice = Audio::tone(Tone::sine(NOTICE_HZ, NOTICE_DBFS), NOTICE);
            for leg in [a, b] {
                let playlist = vec![notice.clone()];
                self.command(Command::Play {
                    leg,
                    id: 0,
                    playlist,
                    repeat: false,
                });
            }
        }
        let wanted = wanted.into_iter().map(|one| Output::Event(Event::Overheard(one)));
        self.output.extend(wanted);
    }
}
