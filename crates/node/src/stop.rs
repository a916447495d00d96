use std::convert::Infallible;

/// Hears that the server stops. Clones hear the same.
#[derive(Clone, Debug)]
pub struct Stop {
    said: async_channel::Receiver<Infallible>,
    at_work: async_channel::WeakSender<Infallible>,
}

/// Says that the server stops: to everybody, when it is dropped.
#[derive(Debug)]
pub struct Stopper {
    said: async_channel::Sender<Infallible>,
    /// The server itself, until it stops.
    _at_work: async_channel::Sender<Infallible>,
    at_rest: async_channel::Receiver<Infallible>,
}

/// Whoever keeps this has something to finish first when the server stops.
#[derive(Clone, Debug)]
#[must_use = "what is dropped keeps nobody waiting"]
pub struct AtWork {
    _held: Option<async_channel::Sender<Infallible>>,
}

/// Those who were at work when the server was told to stop.
#[derive(Debug)]
pub struct Leaving(async_channel::Receiver<Infallible>);

impl Stopper {
    /// A stopper, and what hears it.
    pub fn new() -> (Stopper, Stop) {
        let (said, hears) = async_channel::bounded(1);
        let (at_work, at_rest) = async_channel::bounded(1);
        let stop = Stop {
            said: hears,
            at_work: at_work.downgrade(),
        };
        let stopper = Stopper {
            said,
            _at_work: at_work,
            at_rest,
        };
        (stopper, stop)
    }

    /// Says it.
    pub fn stop(self) -> Leaving {
        self.said.close();
        Leaving(self.at_rest)
    }
}

impl Leaving {
    /// Completes when nobody is at work any more. Dropping the future loses nothing.
    pub async fn wait(&self) {
        // Nothing can be sent: the only end is that of the last sender.
        let _closed = self.0.recv().await;
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
}
