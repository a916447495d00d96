//! The real world, as the node wants it: tokio's clock and tasks, the operating system's randomness, real sockets.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use ringpost_auth::sasl::ChannelBindings;
use ringpost_base::{Instant, Rng, UnixTime};
use ringpost_net::stream::Stream;
use ringpost_node::world::{Connection, ConnectionClosed, Endpoints, Received, World};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The process's clocks and its tokio runtime.
pub(crate) struct RealWorld {
    start: std::time::Instant,
}

impl RealWorld {
    /// A world whose monotonic clock starts now, at one second, so that "before" has room.
    pub(crate) fn new() -> Self {
        RealWorld {
            start: std::time::Instant::now() - Duration::from_secs(1),
        }
    }
}

impl World for RealWorld {
    fn now(&self) -> Instant {
        Instant::ZERO + self.start.elapsed()
    }

    fn unix_now(&self) -> UnixTime {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixTime::from_secs(0) + since
    }

    fn sleep_until(&self, at: Instant) -> BoxFuture<'static, ()> {
        let at = self.start + at.since(Instant::ZERO);
        Box::pin(tokio::time::sleep_until(at.into()))
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        tokio::spawn(task);
    }

    fn rng(&self) -> Rng {
        random()
    }
}

/// A source seeded by the operating system.
pub(crate) fn random() -> Rng {
    let mut seed = [0u8; 32];
    let mut filled = 0;
    while filled < seed.len() {
        // SAFETY: the pointer and the length denote the part of `seed` that is not filled yet.
        let n = unsafe { libc::getrandom(seed[filled..].as_mut_ptr().cast(), seed.len() - filled, 0) };
        match usize::try_from(n) {
            Ok(n) => filled += n,
            // Only EINTR is possible with a valid buffer and no flags (getrandom(2)).
            Err(_) => continue,
        }
    }
    Rng::from_seed(seed)
}

/// A stream of `net` as the node's sessions see it.
pub(crate) struct NetConnection {
    stream: Stream,
    tls_error: Option<String>,
}

impl NetConnection {
    pub(crate) fn new(stream: Stream) -> Self {
        NetConnection {
            stream,
            tls_error: None,
        }
    }
}

impl Connection for NetConnection {
    fn endpoints(&self) -> Endpoints {
        Endpoints {
            local: self.stream.local(),
            remote: self.stream.remote(),
            tls: self.stream.is_tls(),
        }
    }

    fn bindings(&self) -> ChannelBindings {
        let (exporter, server_end_point) = self.stream.bindings();
        ChannelBindings {
            exporter,
            server_end_point,
        }
    }

    fn recv(&mut self) -> BoxFuture<'_, Received> {
        Box::pin(async { self.stream.recv().await.map_or(Received::Closed, Received::Data) })
    }

    fn send(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<(), ConnectionClosed>> {
        Box::pin(async move { self.stream.send(&bytes).await.map_err(|_| ConnectionClosed) })
    }

    fn start_tls(&mut self) -> BoxFuture<'_, Result<(), ConnectionClosed>> {
        Box::pin(async {
            let started = self.stream.start_tls().await;
            self.tls_error = started.as_ref().err().map(ToString::to_string);
            started.map_err(|_| ConnectionClosed)
        })
    }

    fn tls_error(&self) -> Option<String> {
        self.tls_error.clone()
    }
}
