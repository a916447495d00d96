//! A mail program: the project's own IMAP client, on a stream to the node.
//!
//! A stream loses and reorders nothing; what the weather does to the packets below shows as delay.

use crate::network::Weather;
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use ringpost_base::{Instant, Rng, limits};
use ringpost_client::imap::{Client, Event, Output};
use ringpost_node::world::{Connection, ConnectionClosed, Endpoints, Received};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

/// What a lost packet costs a stream at least: its sender's retransmission timeout (RFC 6298).
const RETRANSMISSION: Duration = Duration::from_millis(200);
/// And at most, before what came behind it brings it back (RFC 6675).
const RECOVERY: Duration = Duration::from_secs(3);

/// The mail program's end of a connection.
pub struct Reader {
    client: Client,
    /// What the server has said.
    pub events: Vec<Event>,
    rng: Rng,
    to_node: async_channel::Sender<Bytes>,
    from_node: async_channel::Receiver<Bytes>,
    towards_node: Stream,
    towards_client: Stream,
    deadline: Option<Instant>,
}

/// Bytes under way, in their order.
#[derive(Default)]
struct Stream(VecDeque<(Instant, Bytes)>);

impl Stream {
    fn send(&mut self, now: Instant, weather: &Weather, rng: &mut Rng, bytes: Bytes) {
        let mut at = now + rng.duration(weather.delay.0, weather.delay.1);
        let mut timeout = RETRANSMISSION;
        while timeout < RECOVERY && rng.chance(weather.loss) {
            at += timeout;
            timeout *= 2;
        }
        let before = self.0.back().map_or(at, |(at, _)| *at);
        self.0.push_back((at.max(before), bytes));
    }

    fn next(&self) -> Option<Instant> {
        self.0.front().map(|(at, _)| *at)
    }

    fn pop(&mut self, now: Instant) -> Option<Bytes> {
        self.0.pop_front_if(|(at, _)| *at <= now).map(|(_, bytes)| bytes)
    }
}

/// The node's end.
pub struct SimConnection {
    endpoints: Endpoints,
    incoming: async_channel::Receiver<Bytes>,
    outgoing: async_channel::Sender<Bytes>,
}

impl Reader {
    /// A program at `remote` that has just connected to `local`, and the node's end of the connection, with TLS on it.
    pub fn connect(local: SocketAddr, remote: SocketAddr, rng: Rng) -> (Reader, Box<dyn Connection>) {
        let (to_node, incoming) = async_channel::bounded(limits::CHANNEL_ITEMS);
        let (outgoing, from_node) = async_channel::bounded(limits::CHANNEL_ITEMS);
        let endpoints = Endpoints {
            local,
            remote,
            tls: true,
        };
        let connection = SimConnection {
            endpoints,
            incoming,
            outgoing,
        };
        let reader = Reader {
            client: Client::new(),
            events: Vec::new(),
            rng,
            to_node,
            from_node,
            towards_node: Stream::default(),
            towards_client: Stream::default(),
            deadline: None,
        };
        (reader, Box::new(connection))
    }

    /// Has the client do something.
    pub fn with<T>(
        &mut self,
        now: Instant,
        weather: &Weather,
        action: impl FnOnce(&mut Client, Instant) -> T,
    ) -> T {
        let result = action(&mut self.client, now);
        self.drain(now, weather);
        result
    }

    /// When something arrives, or the client has something to do.
    pub fn next(&self) -> Option<Instant> {
        let arrivals = [
            self.towards_node.next(),
            self.towards_client.next(),
            self.deadline,
        ];
        arrivals.into_iter().flatten().min()
    }

    /// Lets arrive what is due. A client that cannot follow the server says why.
    pub fn advance(&mut self, now: Instant, weather: &Weather) -> Result<(), ringpost_client::imap::Error> {
        while let Some(bytes) = self.towards_node.pop(now) {
            // The channel is a socket's buffer; a mail program that sends more than that would wait.
            let _ = self.to_node.try_send(bytes);
        }
        while let Some(bytes) = self.towards_client.pop(now) {
            self.client.handle_input(now, &bytes)?;
        }
        if self.deadline.is_some_and(|at| at <= now) {
            self.client.handle_timeout(now);
        }
        self.drain(now, weather);
        Ok(())
    }

    /// Takes what the node has sent; false when there was nothing.
    pub fn take_sent(&mut self, now: Instant, weather: &Weather) -> bool {
        let mut any = false;
        while let Ok(bytes) = self.from_node.try_recv() {
            self.towards_client.send(now, weather, &mut self.rng, bytes);
            any = true;
        }
        any
    }

    fn drain(&mut self, now: Instant, weather: &Weather) {
        loop {
            match self.client.poll_output() {
                Output::Transmit(bytes) => self.towards_node.send(now, weather, &mut self.rng, bytes),
                Output::Event(event) => self.events.push(event),
                Output::Timeout(at) => {
                    self.deadline = at;
                    return;
                }
            }
        }
    }
}

/// A client's end of a connection without weather: bytes are there at once.
pub struct Wire {
    to_node: async_channel::Sender<Bytes>,
    from_node: async_channel::Receiver<Bytes>,
}

impl Wire {
    /// A client at `remote` that has just connected to `local`, and the node's end, with TLS on it.
    pub fn connect(local: SocketAddr, remote: SocketAddr) -> (Wire, Box<dyn Connection>) {
        let (to_node, incoming) = async_channel::bounded(limits::CHANNEL_ITEMS);
        let (outgoing, from_node) = async_channel::bounded(limits::CHANNEL_ITEMS);
        let endpoints = Endpoints {
            local,
            remote,
            tls: true,
        };
        let connection = SimConnection {
            endpoints,
            incoming,
            outgoing,
        };
        (Wire { to_node, from_node }, Box::new(connection))
    }

    /// Sends; false when the node takes no more just now.
    pub fn send(&self, bytes: Bytes) -> bool {
        self.to_node.try_send(bytes).is_ok()
    }

    /// What has come.
    pub fn receive(&self) -> Option<Bytes> {
        self.from_node.try_recv().ok()
    }
}

impl Connection for SimConnection {
    fn endpoints(&self) -> Endpoints {
        self.endpoints
    }

    fn recv(&mut self) -> BoxFuture<'_, Received> {
        async {
            match self.incoming.recv().await {
                Ok(bytes) => Received::Data(bytes),
                Err(_) => Received::Closed,
            }
        }
        .boxed()
    }

    fn send(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<(), ConnectionClosed>> {
        async move { self.outgoing.send(bytes).await.map_err(|_| ConnectionClosed) }.boxed()
    }

    fn start_tls(&mut self) -> BoxFuture<'_, Result<(), ConnectionClosed>> {
        async { Err(ConnectionClosed) }.boxed()
    }
}
