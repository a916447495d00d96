//! A world for tests: a clock that is moved by hand, tasks polled in a fixed order, connections in memory.

mod ground;
mod outside;

pub(crate) use ground::Ground;
pub(crate) use outside::Outside;

use crate::world::{Connection, ConnectionClosed, Endpoints, Received, World};
use async_channel::{Receiver, Sender};
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, poll_fn};
use futures_util::task::{ArcWake, waker};
use ringpost_base::{Instant, Rng, UnixTime};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// The calendar's time when the clock begins.
pub(crate) const BEGIN: UnixTime = UnixTime::from_secs(1_700_000_000);

#[derive(Default)]
pub(crate) struct LabWorld {
    clock: Arc<Clock>,
    spawned: Mutex<Vec<BoxFuture<'static, ()>>>,
    seed: Mutex<u64>,
}

#[derive(Default)]
struct Clock {
    now: Mutex<Instant>,
    sleeping: Mutex<Vec<(Instant, Waker)>>,
}

impl World for LabWorld {
    fn now(&self) -> Instant {
        *self.clock.now.lock().unwrap()
    }

    fn unix_now(&self) -> UnixTime {
        BEGIN + self.now().since(Instant::ZERO)
    }

    fn sleep_until(&self, at: Instant) -> BoxFuture<'static, ()> {
        let clock = self.clock.clone();
        let sleep = poll_fn(move |cx| {
            if *clock.now.lock().unwrap() >= at {
                return Poll::Ready(());
            }
            clock.sleeping.lock().unwrap().push((at, cx.waker().clone()));
            Poll::Pending
        });
        sleep.boxed()
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.spawned.lock().unwrap().push(task);
    }

    fn rng(&self) -> Rng {
        let mut seed = self.seed.lock().unwrap();
        *seed += 1;
        Rng::from_number(*seed)
    }
}

/// Runs the tasks of a [`LabWorld`].
pub(crate) struct Lab {
    pub(crate) world: Arc<LabWorld>,
    tasks: Vec<BoxFuture<'static, ()>>,
    woken: Arc<Woken>,
}

struct Woken(AtomicBool);

impl ArcWake for Woken {
    fn wake_by_ref(this: &Arc<Self>) {
        this.0.store(true, Ordering::Relaxed);
    }
}

impl Lab {
    pub(crate) fn new() -> Self {
        Lab {
            world: Arc::default(),
            tasks: Vec::new(),
            woken: Arc::new(Woken(AtomicBool::new(true))),
        }
    }

    pub(crate) fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.push(task.boxed());
    }

    /// How many tasks have not ended.
    pub(crate) fn running(&self) -> usize {
        self.tasks.len()
    }

    /// Runs until everybody waits.
    pub(crate) fn settle(&mut self) {
        self.woken.0.store(true, Ordering::Relaxed);
        let waker = waker(self.woken.clone());
        let mut cx = Context::from_waker(&waker);
        while self.woken.0.swap(false, Ordering::Relaxed) {
            self.tasks.append(&mut self.world.spawned.lock().unwrap());
            self.tasks
                .retain_mut(|task| task.as_mut().poll(&mut cx).is_pending());
        }
    }

    /// Lets time pass, with a stop wherever somebody is to be woken.
    pub(crate) fn pass(&mut self, time: Duration) {
        let clock = self.world.clock.clone();
        let end = *clock.now.lock().unwrap() + time;
        loop {
            self.settle();
            let next = clock.sleeping.lock().unwrap().iter().map(|(at, _)| *at).min();
            let now = next.filter(|at| *at <= end).unwrap_or(end);
            *clock.now.lock().unwrap() = now;
            clock.sleeping.lock().unwrap().retain(|(at, _)| *at > now);
            self.settle();
            if now == end {
                return;
            }
        }
    }

    /// A connection from a client, and the client's end.
    pub(crate) fn connect(&self, tls: bool) -> (Box<dyn Connection>, Client) {
        let (to, incoming) = async_channel::unbounded();
        // As little as a network in which the client does not read.
        let (outgoing, from) = async_channel::bounded(2);
        let pipe = Pipe {
            incoming,
            outgoing,
            tls,
        };
        (Box::new(pipe), Client { to: Some(to), from })
    }

    /// The client sends, and hears what the server says until it waits.
    pub(crate) fn say(&mut self, client: &Client, bytes: impl AsRef<[u8]>) -> String {
        client.send(bytes);
        self.hear(client)
    }

    /// What the server says until it waits.
    pub(crate) fn hear(&mut self, client: &Client) -> String {
        let mut heard = Vec::new();
        loop {
            self.settle();
            let before = heard.len();
            while let Some(bytes) = client.take() {
                heard.extend_from_slice(&bytes);
            }
            if heard.len() == before {
                return String::from_utf8_lossy(&heard).into_owned();
            }
        }
    }
}

/// What waits for nothing but stores in memory.
pub(crate) fn at_once<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("nothing in here waits")
}

/// A client's end of a connection. Dropped, it closes.
pub(crate) struct Client {
    to: Option<Sender<Bytes>>,
    from: Receiver<Bytes>,
}

impl Client {
    pub(crate) fn send(&self, bytes: impl AsRef<[u8]>) {
        if let Some(to) = &self.to {
            // A server that is gone hears nothing.
            let _gone = to.try_send(Bytes::copy_from_slice(bytes.as_ref()));
        }
    }

    /// The next piece, if it is there.
    pub(crate) fn take(&self) -> Option<Bytes> {
        self.from.try_recv().ok()
    }

    /// Sends nothing more.
    pub(crate) fn close(&mut self) {
        self.to = None;
    }

    /// Whether the server has closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.from.is_closed()
    }
}

struct Pipe {
    incoming: Receiver<Bytes>,
    outgoing: Sender<Bytes>,
    tls: bool,
}

impl Connection for Pipe {
    fn endpoints(&self) -> Endpoints {
        let address = |last, port| SocketAddr::from(([192, 0, 2, last], port));
        Endpoints {
            local: address(1, 143),
            remote: address(2, 50_000),
            tls: self.tls,
        }
    }

    fn recv(&mut self) -> BoxFuture<'_, Received> {
        self.incoming
            .recv()
            .map(|r| r.map_or(Received::Closed, Received::Data))
            .boxed()
    }

    fn send(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<(), ConnectionClosed>> {
        async move { self.outgoing.send(bytes).await.or(Err(ConnectionClosed)) }.boxed()
    }

    fn start_tls(&mut self) -> BoxFuture<'_, Result<(), ConnectionClosed>> {
        while self.incoming.try_recv().is_ok() {}
        self.tls = true;
        async { Ok(()) }.boxed()
    }
}
