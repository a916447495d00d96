//! Rights of sessions that go on: looked at again when something has changed that they hang on.
//!
//! A device that is removed, an account, another password, other rules of mounts: whoever may not any more is sent away at
//! once, as a registration of that device is.

use super::plane::Plane;
use super::session::Role;
use super::{Answer, Ask, Output, Question, QuestionId, SessionKey, Timer};
use ringpost_base::Instant;
use ringpost_rtsp::server::Access;
use std::collections::BTreeSet;
use std::time::Duration;

/// When a question that nobody could answer is asked again.
const AGAIN: Duration = Duration::from_secs(1);

/// Sessions whose rights are looked at again, one question at a time.
#[derive(Debug, Default)]
pub(crate) struct Reconsidering {
    waiting: BTreeSet<SessionKey>,
    open: Option<(QuestionId, SessionKey)>,
}

impl Plane {
    /// The names that the clients of sessions have proven, each once.
    pub(crate) fn users(&self) -> Vec<String> {
        let users = self.sessions.values().filter_map(|session| session.user.clone());
        users.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Ends the sessions of these users, and looks at the rights of all others again. Our own pulls need none.
    pub(crate) fn reconsider(&mut self, now: Instant, gone: &[String]) {
        let clients = self.sessions.iter().filter(|(_, session)| session.id.is_some());
        let (ended, others): (Vec<_>, Vec<_>) = clients
            .map(|(key, session)| (*key, session.user.as_ref()))
            .partition(|(_, user)| user.is_some_and(|user| gone.contains(user)));
        let keys = |sessions: Vec<(SessionKey, _)>| sessions.into_iter().map(|(key, _)| key);
        let (ended, others): (Vec<_>, Vec<_>) = (keys(ended).collect(), keys(others).collect());
        for key in ended {
            self.kick(now, key);
        }
        self.reconsidering.waiting.extend(others);
        self.reconsider_next();
    }

    pub(crate) fn handle_rights_timeout(&mut self) {
        self.reconsider_next();
    }

    fn reconsider_next(&mut self) {
        while self.reconsidering.open.is_none()
            && let Some(key) = self.reconsidering.waiting.pop_first()
        {
            let Some(session) = self.sessions.get(&key) else {
                continue;
            };
            let ask = Ask::Authorize {
                user: session.user.clone(),
                mount: session.mount.clone(),
                access: match session.role {
                    Role::Reader(_) => Access::Read,
                    Role::Publisher(_) => Access::Publish,
                },
            };
            let id = QuestionId(self.next_number());
            self.reconsidering.open = Some((id, key));
            self.push(Output::Question(Question { id, from: None, ask }));
        }
    }

    /// The answer to a question about a session that goes on; gives it back if it is to another one.
    pub(crate) fn handle_reconsidered(
        &mut self,
        now: Instant,
        id: QuestionId,
        answer: Answer,
    ) -> Option<Answer> {
        let Some((_, key)) = self.reconsidering.open.take_if(|(open, _)| *open == id) else {
            return Some(answer);
        };
        match answer {
            Answer::Yes => self.reconsider_next(),
            Answer::Unavailable => {
                self.reconsidering.waiting.insert(key);
                self.set_timer(Timer::Rights, Some(now + AGAIN));
            }
            _ => {
                self.kick(now, key);
                self.reconsider_next();
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use crate::hub::tests::{KEY, OTHER, TCP, UDP, World};
    use std::time::Duration;

    #[test]
    fn who_may_not_any_more_is_sent_away_at_once() {
        let mut world = World::new();
        let publisher = world.publish("alice/door");
        world.send(publisher, 0, 1, 0, KEY);
        let (reader, _) = world.read("alice/door", &TCP);
        let (by_udp, _) = world.read("alice/door", &UDP);
        world.hub.reconsider(world.now, &[]);
        world.run();
        assert!(world.closed.is_empty(), "nothing has changed");
        world.send(publisher, 0, 2, 3_600, OTHER);
        assert_eq!(world.received(reader, 0).len(), 2);
        world.allows = false;
        world.hub.reconsider(world.now, &[]);
        world.run();
        let mut closed = world.closed.clone();
        closed.sort_unstable();
        assert_eq!(closed, [publisher, reader, by_udp]);
        assert!(world.hub.session_ids().is_empty());
        assert!(world.hub.plane_pairs().is_empty());
    }

    #[test]
    fn a_question_about_rights_that_nobody_can_answer_is_asked_again() {
        let mut world = World::new();
        let publisher = world.publish("alice/door");
        world.answers = false;
        world.hub.reconsider(world.now, &[]);
        world.run();
        world.allows = false;
        world.pass(Duration::from_secs(3));
        assert!(world.closed.is_empty());
        world.answers = true;
        world.pass(Duration::from_secs(1));
        assert_eq!(world.closed, [publisher]);
    }
}
