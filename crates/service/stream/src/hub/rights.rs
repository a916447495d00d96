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
/// So long after a change a session that begins may have been allowed before it.
const IN_BETWEEN: Duration = Duration::from_secs(30);

/// Sessions whose rights are looked at again, one question at a time.
#[derive(Debug, Default)]
pub(crate) struct Reconsidering {
    waiting: BTreeSet<SessionKey>,
    open: Option<(QuestionId, SessionKey)>,
    /// When something changed last.
    changed: Option<Instant>,
}

impl Plane {
    /// Looks at the rights of all sessions again. Our own pulls need none.
    pub(crate) fn reconsider(&mut self, now: Instant) {
        self.reconsidering.changed = Some(now);
        let clients = self.sessions.iter().filter(|(_, session)| session.id.is_some());
        self.reconsidering.waiting.extend(clients.map(|(key, _)| *key));
        self.reconsider_next();
    }

    /// The same of a session that begins, whose right to it may have been found out before a change and come behind it.
    pub(crate) fn consider_new(&mut self, now: Instant, key: SessionKey) {
        let changed = self.reconsidering.changed;
        if changed.is_some_and(|changed| now.since(changed) < IN_BETWEEN) {
            self.reconsidering.waiting.insert(key);
            self.reconsider_next();
        }
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
                query: None,
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
    use crate::hub::tests::{KEY, OTHER, TCP, UDP, World, login};
    use std::time::Duration;

    #[test]
    fn who_may_not_any_more_is_sent_away_at_once() {
        let mut world = World::new();
        let publisher = world.publish("alice/door");
        world.send(publisher, 0, 1, 0, KEY);
        let (reader, _) = world.read("alice/door", &TCP);
        let (by_udp, _) = world.read("alice/door", &UDP);
        world.hub.reconsider(world.now);
        world.run();
        assert!(world.closed.is_empty(), "nothing has changed");
        world.send(publisher, 0, 2, 3_600, OTHER);
        assert_eq!(world.received(reader, 0).len(), 2);
        world.allows = false;
        world.hub.reconsider(world.now);
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
        world.hub.reconsider(world.now);
        world.run();
        world.allows = false;
        world.pass(Duration::from_secs(3));
        assert!(world.closed.is_empty());
        world.answers = true;
        world.pass(Duration::from_secs(1));
        assert_eq!(world.closed, [publisher]);
    }

    /// A connection that has proven to be alice, with so many sessions that read.
    fn proven(world: &mut World, sessions: usize, transport: &str) -> crate::hub::ConnectionId {
        let id = world.connect();
        let describe = |fields: &str| format!("DESCRIBE rtsp://h/alice/door RTSP/1.0\nCSeq: 1\n{fields}\n");
        world.allows = false;
        let challenged = world.ask(id, &describe(""));
        world.allows = true;
        let described = world.ask(id, &describe(&login(&challenged, "alice", "DESCRIBE")));
        assert!(described.starts_with("RTSP/1.0 200"), "{described}");
        for session in 0..sessions {
            let transport = transport.replace("0-1", &format!("{}-{}", 2 * session, 2 * session + 1));
            let set_up = world.ask(
                id,
                &format!("SETUP rtsp://h/alice/door/trackID=0 RTSP/1.0\nCSeq: 2\nTransport: {transport}\n\n"),
            );
            assert!(set_up.starts_with("RTSP/1.0 200"), "{set_up}");
        }
        id
    }

    // Another has the name, or the password is another: what the connection has proven is worth nothing from then on, however
    // many sessions it has.
    #[test]
    fn what_a_connection_has_proven_ends_with_what_it_hangs_on() {
        for transport in [UDP[0], TCP[0]] {
            for sessions in 0..=3 {
                let mut world = World::new();
                world.publish("alice/door");
                let id = proven(&mut world, sessions, transport);
                let other = world.read("alice/door", &[transport]).0;
                world.holder = 2;
                world.hub.reconsider(world.now);
                world.run();
                assert_eq!(
                    world.hub.session_ids().len(),
                    2,
                    "{sessions}: those of others go on"
                );
                match sessions {
                    0 => {
                        assert!(world.closed.is_empty());
                        let describe = "DESCRIBE rtsp://h/alice/door RTSP/1.0\nCSeq: 3\n\n";
                        let challenged = world.ask(id, describe);
                        assert!(challenged.starts_with("RTSP/1.0 401"), "{challenged}");
                        let described = world.ask(other, describe);
                        assert!(described.starts_with("RTSP/1.0 200"), "{described}");
                    }
                    _ => assert_eq!(world.closed, [id], "{sessions}"),
                }
            }
        }
    }

    #[test]
    fn a_connection_stays_as_long_as_a_session_of_it_may() {
        let mut world = World::new();
        world.publish("alice/door");
        let id = proven(&mut world, 2, TCP[0]);
        let keys = world.hub.plane.session_keys();
        let last = *keys.iter().max().unwrap();
        assert!(world.kick(last));
        world.run();
        assert!(world.closed.is_empty());
        assert_eq!(world.hub.session_ids().len(), 2);
        let first = keys.into_iter().filter(|key| *key != last).max().unwrap();
        assert!(world.kick(first));
        world.run();
        assert_eq!(world.closed, [id]);
    }

    // The answer of before the change comes behind it.
    #[test]
    fn who_was_let_in_before_a_change_and_begins_after_it_is_looked_at_too() {
        let mut world = World::new();
        world.publish("alice/door");
        let id = proven(&mut world, 0, TCP[0]);
        world.held_rights = Some(Vec::new());
        let set_up = format!(
            "SETUP rtsp://h/alice/door/trackID=0 RTSP/1.0\r\nCSeq: 2\r\nTransport: {}\r\n\r\n",
            TCP[0]
        );
        world.input(id, set_up.as_bytes());
        let held = world.held_rights.take().unwrap();
        assert_eq!(held.len(), 1);
        world.holder = 2;
        world.hub.reconsider(world.now);
        world.run();
        for (question, answer) in held {
            world.hub.handle_answer(world.now, question, answer);
        }
        world.run();
        assert_eq!(world.closed, [id]);
        assert_eq!(world.hub.session_ids().len(), 1, "the publisher's");
    }
}
