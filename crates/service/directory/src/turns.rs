use ringpost_base::one_peer;
use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// One password at a time from each peer: whoever guesses on a hundred connections at once waits for itself, and leaves the
/// slots in which passwords are stretched to others.
#[derive(Clone, Default)]
pub(crate) struct Turns(Arc<Mutex<HashMap<IpAddr, Line>>>);

/// Those of one peer that have the turn or wait for it.
struct Line {
    members: usize,
    /// Holds the turn while nobody has it.
    turn: (async_channel::Sender<()>, async_channel::Receiver<()>),
}

/// A peer's turn to have a password checked; the next one's begins when this is dropped.
pub struct Turn {
    turn: async_channel::Sender<()>,
    _member: Member,
}

/// A place in a line, given up on drop.
struct Member {
    turns: Turns,
    peer: IpAddr,
}

impl Turns {
    /// Waits for the turn. Those that wait have it in the order in which they came.
    pub(crate) async fn turn(&self, from: IpAddr) -> Turn {
        let peer = one_peer(from);
        let (turn, next) = self.with(|lines| {
            let line = lines.entry(peer).or_insert_with(|| {
                let turn = async_channel::bounded(1);
                // There is room for the one.
                let _ = turn.0.try_send(());
                Line { members: 0, turn }
            });
            line.members += 1;
            line.turn.clone()
        });
        let member = Member {
            turns: self.clone(),
            peer,
        };
        // Both ends are here: it is not closed.
        let _ = next.recv().await;
        Turn {
            turn,
            _member: member,
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut HashMap<IpAddr, Line>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // It was taken out, so there is room.
        let _ = self.turn.try_send(());
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.turns.with(|lines| {
            if let Some(line) = lines.get_mut(&self.peer) {
                line.members -= 1;
                if line.members == 0 {
                    lines.remove(&self.peer);
                }
            }
        });
    }
}

impl fmt::Debug for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Turn")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use futures_util::task::noop_waker_ref;
    use std::task::Context;

    #[test]
    fn each_peer_has_one_turn_and_nothing_is_kept_of_who_has_left() {
        let turns = Turns::default();
        let [one, other] = ["192.0.2.1", "2001:db8::1"].map(|ip| ip.parse::<IpAddr>().unwrap());
        let first = turns.turn(one).now_or_never().expect("nobody is before it");
        let mut second = Box::pin(turns.turn(one));
        let mut gone = Box::pin(turns.turn(one));
        let mut context = Context::from_waker(noop_waker_ref());
        assert!(second.poll_unpin(&mut context).is_pending());
        assert!(gone.poll_unpin(&mut context).is_pending());
        assert!(
            turns.turn(other).now_or_never().is_some(),
            "others have their own"
        );
        drop(gone);
        drop(first);
        let second = second.now_or_never().expect("it is the second's turn");
        assert!(turns.turn(one).now_or_never().is_none());
        drop(second);
        assert!(turns.turn(one).now_or_never().is_some());
        assert!(turns.with(|lines| lines.is_empty()));
    }
}
