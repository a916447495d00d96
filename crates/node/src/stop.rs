use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

/// Hears that the server stops. Clones hear the same.
#[derive(Clone, Debug)]
pub struct Stop {
    said: async_channel::Receiver<Infallible>,
    at_work: async_channel::WeakSender<Infallible>,
    awaited: Arc<AllAwaited>,
}

/// Says that the server stops: to everybody, when it is dropped.
#[derive(Debug)]
pub struct Stopper {
    said: async_channel::Sender<Infallible>,
    /// The server itself, until it stops.
    _at_work: async_channel::Sender<Infallible>,
    at_rest: async_channel::Receiver<Infallible>,
    awaited: Arc<AllAwaited>,
}

/// Whoever keeps this has something to finish first when the server stops.
#[derive(Clone, Debug)]
#[must_use = "what is dropped keeps nobody waiting"]
pub struct AtWork {
    _held: Option<async_channel::Sender<Infallible>>,
    all: Arc<AllAwaited>,
}

/// Whoever keeps this waits for somebody else's answer, after which nothing can be taken back.
#[derive(Debug)]
#[must_use = "what is dropped keeps nobody waiting"]
pub struct Awaited {
    number: u64,
    all: Arc<AllAwaited>,
}

/// The answers that are waited for, as they are told.
#[derive(Debug)]
struct AllAwaited {
    open: Mutex<Open>,
    changed: async_channel::Sender<()>,
    changes: async_channel::Receiver<()>,
}

#[derive(Debug, Default)]
struct Open {
    last: u64,
    told: BTreeMap<u64, String>,
}

/// Those who were at work when the server was told to stop.
#[derive(Debug)]
pub struct Leaving {
    at_rest: async_channel::Receiver<Infallible>,
    awaited: Arc<AllAwaited>,
}

impl Stopper {
    /// A stopper, and what hears it.
    pub fn new() -> (Stopper, Stop) {
        let (said, hears) = async_channel::bounded(1);
        let (at_work, at_rest) = async_channel::bounded(1);
        let (changed, changes) = async_channel::bounded(1);
        let awaited = Arc::new(AllAwaited {
            open: Mutex::default(),
            changed,
            changes,
        });
        let stop = Stop {
            said: hears,
            at_work: at_work.downgrade(),
            awaited: awaited.clone(),
        };
        let stopper = Stopper {
            said,
            _at_work: at_work,
            at_rest,
            awaited,
        };
        (stopper, stop)
    }

    /// Says it.
    pub fn stop(self) -> Leaving {
        self.said.close();
        Leaving {
            at_rest: self.at_rest,
            awaited: self.awaited,
        }
    }
}

impl Leaving {
    /// Completes when nobody is at work any more. Dropping the future loses nothing.
    pub async fn wait(&self) {
        // Nothing can be sent: the only end is that of the last sender.
        let _closed = self.at_rest.recv().await;
    }

    /// Completes when no answer is waited for any more, once nobody is at work. Dropping the future loses nothing.
    pub async fn answers(&self) {
        // Nobody keeps the other end from being there.
        while !self.awaited().is_empty() && self.awaited.changes.recv().await.is_ok() {}
    }

    /// The answers that are waited for, in the order in which that began.
    pub fn awaited(&self) -> Vec<String> {
        self.awaited.lock().told.values().cloned().collect()
    }
}

impl AtWork {
    /// It is done, but for an answer that somebody else owes, of which this is told: a stopping server waits for it longer
    /// than for whoever is at work.
    pub fn awaiting(self, what: String) -> Awaited {
        let all = self.all.clone();
        let mut open = all.lock();
        open.last += 1;
        let number = open.last;
        open.told.insert(number, what);
        drop(open);
        Awaited { number, all }
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        self.all.lock().told.remove(&self.number);
        // One that is there already wakes whoever waits as well.
        let _there = self.all.changed.try_send(());
    }
}

impl AllAwaited {
    fn lock(&self) -> std::sync::MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stop {
    /// Completes when the server stops. Dropping the future loses nothing.
    pub async fn wait(&self) {
        // Nothing can be sent: the only end is the channel's.
        let _closed = self.said.recv().await;
    }

    /// Has the server, once it stops, wait until what this gives is dropped; for a limited time.
    pub fn at_work(&self) -> AtWork {
        AtWork {
            _held: self.at_work.upgrade(),
            all: self.awaited.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn whoever_is_at_work_is_waited_for_and_nobody_else() {
        let (stopper, stop) = Stopper::new();
        let (first, second) = (stop.at_work(), stop.clone().at_work());
        assert!(stop.wait().now_or_never().is_none());
        let leaving = stopper.stop();
        assert!(stop.wait().now_or_never().is_some());
        drop(first);
        assert!(leaving.wait().now_or_never().is_none());
        drop(second);
        assert!(
            leaving.wait().now_or_never().is_some(),
            "those who hear are not at work"
        );
        let late = stop.at_work();
        assert!(
            leaving.wait().now_or_never().is_some(),
            "who comes after the end is not waited for"
        );
        drop(late);
    }

    #[test]
    fn answers_are_waited_for_by_themselves_and_told_of() {
        let (stopper, stop) = Stopper::new();
        let (first, second) = (stop.at_work(), stop.at_work());
        // What was awaited before, and has come, keeps nobody.
        drop(stop.at_work().awaiting("long ago".into()));
        let leaving = stopper.stop();
        let first = first.awaiting("one".into());
        assert!(leaving.wait().now_or_never().is_none(), "the second works still");
        let second = second.awaiting("two".into());
        assert!(leaving.wait().now_or_never().is_some());
        assert_eq!(leaving.awaited(), ["one", "two"]);
        let mut answers = std::pin::pin!(leaving.answers());
        assert!(answers.as_mut().now_or_never().is_none());
        drop(first);
        assert!(answers.as_mut().now_or_never().is_none());
        assert_eq!(leaving.awaited(), ["two"]);
        drop(second);
        assert!(answers.now_or_never().is_some() && leaving.awaited().is_empty());
        assert!(leaving.answers().now_or_never().is_some());
    }
}
