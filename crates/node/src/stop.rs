use std::convert::Infallible;

/// Hears that the server stops. Clones hear the same.
#[derive(Clone, Debug)]
pub struct Stop(async_channel::Receiver<Infallible>);

/// Says that the server stops: to everybody, when it is dropped.
#[derive(Debug)]
pub struct Stopper(async_channel::Sender<Infallible>);

impl Stopper {
    /// A stopper, and what hears it.
    pub fn new() -> (Stopper, Stop) {
        let (tx, rx) = async_channel::bounded(1);
        (Stopper(tx), Stop(rx))
    }

    /// Says it.
    pub fn stop(self) {
        self.0.close();
    }
}

impl Stop {
    /// Completes when the server stops. Dropping the future loses nothing.
    pub async fn wait(&self) {
        // Nothing can be sent: the only end is the channel's.
        let _closed = self.0.recv().await;
    }
}
