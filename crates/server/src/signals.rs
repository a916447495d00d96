//! SIGHUP, SIGTERM and SIGINT, as a stream of what is asked for.

use std::io;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// SIGHUP: read the configuration and the certificates again.
    Reload,
    /// SIGTERM, SIGINT: end calls and sessions politely. A second one of these: end now.
    Stop,
}

/// Listens for signals from its making on.
pub(crate) struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Takes over the three signals. It must be made inside the runtime.
    pub(crate) fn listen() -> io::Result<Signals> {
        Ok(Signals {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// The next thing that is asked for. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.hangup.recv() => Asked::Reload,
            _ = self.terminate.recv() => Asked::Stop,
            _ = self.interrupt.recv() => Asked::Stop,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_hangup_reloads_and_a_terminate_stops() {
        let mut signals = Signals::listen().unwrap();
        let send = |number: libc::c_int| {
            // SAFETY: raise sends a signal to this process, which has a handler for it.
            assert_eq!(unsafe { libc::raise(number) }, 0);
        };
        send(libc::SIGHUP);
        assert_eq!(signals.next().await, Asked::Reload);
        send(libc::SIGTERM);
        assert_eq!(signals.next().await, Asked::Stop);
    }
}
