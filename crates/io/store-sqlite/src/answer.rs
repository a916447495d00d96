//! One answer from a thread to a task. Whoever waits is woken after the answer is there and nothing is locked any more: a
//! task that runs at once finds it, and does not wait for the thread that woke it.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Where the answer is put. Dropped without, it ends the wait.
#[derive(Debug)]
pub(crate) struct Giver<T>(Place<T>);

/// Waits for the answer; `None` when there will be none.
#[derive(Debug)]
pub(crate) struct Taker<T>(Place<T>);

type Place<T> = Arc<Mutex<State<T>>>;

#[derive(Debug)]
enum State<T> {
    Open(Option<Waker>),
    Given(T),
    Over,
}

/// Both ends.
pub(crate) fn answer<T>() -> (Giver<T>, Taker<T>) {
    let place = Arc::new(Mutex::new(State::Open(None)));
    (Giver(place.clone()), Taker(place))
}

fn lock<T>(place: &Place<T>) -> MutexGuard<'_, State<T>> {
    place.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T> Giver<T> {
    /// Gives the answer, and whom to wake then, if somebody waits.
    pub(crate) fn give(self, answer: T) -> Option<Waker> {
        self.end(State::Given(answer))
    }

    fn end(&self, end: State<T>) -> Option<Waker> {
        let mut state = lock(&self.0);
        match &mut *state {
            State::Open(waker) => {
                let waker = waker.take();
                *state = end;
                waker
            }
            State::Given(_) | State::Over => None,
        }
    }
}

impl<T> Drop for Giver<T> {
    fn drop(&mut self) {
        if let Some(waker) = self.end(State::Over) {
            waker.wake();
        }
    }
}

impl<T> Future for Taker<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let mut state = lock(&self.0);
        if let State::Open(waker) = &mut *state {
            match waker {
                Some(waker) => waker.clone_from(context.waker()),
                None => *waker = Some(context.waker().clone()),
            }
            return Poll::Pending;
        }
        match std::mem::replace(&mut *state, State::Over) {
            State::Given(answer) => Poll::Ready(Some(answer)),
            State::Open(_) | State::Over => Poll::Ready(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringpost_store::conformance::block_on;
    use std::thread;

    #[test]
    fn who_waits_has_the_answer_or_hears_that_there_is_none() {
        let (giver, taker) = answer();
        assert!(giver.give(1).is_none(), "nobody waits yet");
        assert_eq!(block_on(taker), Some(1));
        let (giver, taker) = answer::<u8>();
        drop(giver);
        assert_eq!(block_on(taker), None);
        let (giver, taker) = answer();
        drop(taker);
        assert!(giver.give(1).is_none(), "nobody waits any more");
    }

    #[test]
    fn who_waits_is_woken() {
        for n in 0..200 {
            let (giver, taker) = answer();
            let waits = thread::spawn(move || block_on(taker));
            match n % 2 {
                0 => giver.give(n).into_iter().for_each(Waker::wake),
                _ => drop(giver),
            }
            assert_eq!(waits.join().unwrap(), (n % 2 == 0).then_some(n));
        }
    }
}
