//! The transaction layer: see [`Endpoint`].

mod client;
mod server;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_client;

use crate::flow::{Arrival, Flow, Transport};
use crate::header::{HeaderName, Via};
use crate::message::{Builder, Message, ParseError};
use crate::method::Method;
use crate::mint::Mint;
use crate::status::Status;
use crate::transaction::{
    Cancel, Entry, Key, Keyring, LegacyFields, Length, NEVER, Rare, Role, State, Table, TimerQueue, Timing,
    Transaction, TransactionId, Which,
};
use crate::uri::Host;
use bytes::Bytes;
use ringpost_base::{Instant, Rng, limits};
use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use thiserror::Error;

/// How an [`Endpoint`] behaves.
#[derive(Clone, Debug)]
pub struct EndpointConfig {
    /// The number that every branch and tag minted here carries; see [`owner`](crate::owner).
    pub shard: u16,
    /// T1, T2 and T4.
    pub timing: Timing,
    /// What we call ourselves in Via, by transport and address family; without an entry it is the flow's local address,
    /// which is right for UDP sockets bound to an address.
    pub sent_by: Vec<SentAs>,
    /// Whether requests over [`UDP_REQUEST_BYTES`] go by TCP. Off where nothing can open a stream.
    pub large_by_tcp: bool,
    /// Transactions at one time, at most [`limits::SIP_TRANSACTIONS`]; a request over it is refused with a stateless 503.
    /// CANCELs of ours come on top, so that what is under way can be ended.
    pub transactions: usize,
}

/// An entry of [`EndpointConfig::sent_by`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentAs {
    /// For requests over this transport …
    pub transport: Transport,
    /// … to peers of this family, IPv6 or IPv4 …
    pub ipv6: bool,
    /// … this host: an address without brackets, or a name.
    pub host: String,
    /// … and port. For streams it is where we listen.
    pub port: u16,
}

impl Default for EndpointConfig {
    fn default() -> Self {
        EndpointConfig {
            shard: 0,
            timing: Timing::default(),
            sent_by: Vec::new(),
            large_by_tcp: true,
            transactions: limits::SIP_TRANSACTIONS,
        }
    }
}

/// The longest request that UDP carries when TCP can be had (RFC 3261 §18.1.1).
pub const UDP_REQUEST_BYTES: usize = 1300;

/// What an endpoint wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send these bytes.
    Transmit(Transmit),
    /// Something for the transaction user.
    Event(Event),
    /// Nothing more now. Call [`Endpoint::handle_timeout`] at that time, if there is one.
    Timeout(Option<Instant>),
}

/// One message to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Over this flow. On a stream transport without a connection, one to the remote address is to be found or opened;
    /// failing that is [`Endpoint::handle_transport_error`].
    pub flow: Flow,
    /// One whole message.
    pub message: Bytes,
}

/// What a transaction tells its user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A new request, other than ACK and CANCEL. Answer it with [`Endpoint::respond`].
    Request {
        /// The transaction to answer in.
        id: TransactionId,
        /// The way it came, and the answers go.
        flow: Flow,
        /// The request.
        request: Message,
    },
    /// A CANCEL came for an INVITE that has no final answer yet; the CANCEL itself is answered. Answer the INVITE with 487.
    Cancelled {
        /// The INVITE's transaction.
        id: TransactionId,
        /// The CANCEL, whose Reason may be of interest.
        request: Message,
    },
    /// An ACK that belongs to no failure: to a 2xx, or to nothing, and then to be dropped.
    Ack {
        /// The way it came.
        flow: Flow,
        /// The ACK.
        request: Message,
    },
    /// A response to a request of ours: any number of provisional ones, and one final; for INVITE any number of 2xx, each
    /// of which its user acknowledges (RFC 6026 §7.2). The ACK of other finals is sent already.
    Response {
        /// The request's transaction.
        id: TransactionId,
        /// The way it came.
        flow: Flow,
        /// The response.
        response: Message,
    },
    /// There will be no final response, or no ACK to the failure that we gave.
    Failed {
        /// The transaction, which is over.
        id: TransactionId,
        /// What happened.
        failure: Failure,
    },
    /// A transaction is over whose user may still wait for something: an INVITE's to which a 2xx was sent (its ACKs and
    /// retransmissions came until now) or received (so did further 2xx), or a request that was not answered in time.
    Ended {
        /// The transaction.
        id: TransactionId,
    },
    /// A request that was too large for UDP could not go by TCP either, and was sent over UDP. For the log.
    FellBack {
        /// The request's transaction.
        id: TransactionId,
        /// Its length in bytes.
        size_bytes: usize,
    },
    /// A request was refused without a transaction, for want of room. For the log.
    Overloaded {
        /// Where it came from.
        flow: Flow,
    },
    /// What came is no message, or a request that was refused for its form. For the log.
    Malformed {
        /// Where it came from.
        flow: Flow,
        /// What was expected.
        error: Box<str>,
    },
}

/// Why a transaction failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Failure {
    /// Timer B or F, or no final response 64 × T1 after CANCEL: as if a 408 had come (RFC 3261 §8.1.3.1).
    #[error("no response in time")]
    Timeout,
    /// The transport could not deliver: as if a 503 had come.
    #[error("the transport failed")]
    Transport,
    /// Timer H: our failure response was never acknowledged.
    #[error("no ACK in time")]
    NoAck,
}

/// Why a request was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RequestError {
    /// [`EndpointConfig::transactions`] are running.
    #[error("too many transactions")]
    Full,
    /// The bytes are not a request with its header fields in place.
    #[error("not a whole request")]
    Malformed,
}

/// The transaction layer of RFC 3261 §17 and §18 for one shard: the four machines of RFC 3261 with RFC 6026's
/// corrections, response routing with RFC 3581, and RFC 4320's rules for what is not INVITE.
///
/// After every `handle_…` and every command, [`poll_output`](Endpoint::poll_output) is drained until it says
/// [`Output::Timeout`].
///
/// A transaction that is finished keeps two keys, its last response and a deadline, and its timers are heads of a dozen
/// queues; so the 32 s for which it must linger cost next to nothing.
#[derive(Debug)]
pub struct Endpoint {
    config: EndpointConfig,
    keyring: Keyring,
    mint: Mint,
    table: Table,
    timers: TimerQueue,
    /// Transactions by the peer that they would notice the loss of.
    peers: HashMap<(Transport, SocketAddr), u32>,
    outputs: VecDeque<Output>,
}

impl Endpoint {
    /// An endpoint without transactions.
    pub fn new(config: EndpointConfig, mut rng: Rng) -> Self {
        Endpoint {
            keyring: Keyring::new(&mut rng),
            mint: Mint::new(config.shard, rng.fork()),
            table: Table::default(),
            timers: TimerQueue::new(config.timing),
            peers: HashMap::new(),
            outputs: VecDeque::new(),
            config,
        }
    }

    /// Calls itself, and bounds itself, as `config` says from now on; its shard and its timing stay what they are.
    pub fn configure(&mut self, config: EndpointConfig) {
        let EndpointConfig { shard, timing, .. } = self.config;
        self.config = EndpointConfig {
            shard,
            timing,
            ..config
        };
    }

    /// Transactions, the finished ones that linger included.
    pub fn transactions(&self) -> usize {
        self.table.len()
    }

    /// Everything that is kept, and how much of it: all zero once no transaction is left and
    /// [`poll_output`](Endpoint::poll_output) has said so.
    pub fn holdings(&self) -> [(&'static str, usize); 4] {
        [
            ("transactions", self.table.len()),
            ("keys of transactions", self.table.keys()),
            ("timers of transactions", self.timers.len()),
            ("peers", self.peers.len()),
        ]
    }

    /// Makes tags and Call-IDs that carry our shard's number.
    pub fn mint(&mut self) -> &mut Mint {
        &mut self.mint
    }

    /// What to call ourselves over that way: the configured name, or the local address.
    pub fn sent_by(&self, flow: &Flow) -> (String, u16) {
        let ipv6 = flow.remote.is_ipv6();
        let named = self
            .config
            .sent_by
            .iter()
            .find(|s| s.transport == flow.transport && s.ipv6 == ipv6);
        match named {
            Some(named) => (bracketed(&named.host), named.port),
            None => (
                Host::from(flow.local.ip().to_canonical()).to_string(),
                flow.local.port(),
            ),
        }
    }

    /// The way that a transaction's messages go, while it lasts.
    pub fn flow_of(&self, id: TransactionId) -> Option<Flow> {
        self.table.get(id).map(|transaction| transaction.flow)
    }

    /// The To tag for answers to `request`: the same each time it comes, so that an answer can be given without keeping
    /// anything (RFC 3261 §8.2.7).
    pub fn tag_for(&self, request: &Message) -> String {
        let cseq = request.cseq();
        let method = if cseq.method == Method::Cancel {
            &Method::Invite
        } else {
            &cseq.method
        };
        let key = self
            .keyring
            .merged(request.call_id(), request.from_tag(), cseq.number, method);
        self.mint.tag_from(key.bits())
    }

    /// The beginning of a response to `request`, with [`tag_for`](Endpoint::tag_for) in To.
    pub fn response(&self, request: &Message, status: Status) -> Builder {
        Builder::response(request, status, &self.tag_for(request))
    }

    /// The sockets brought something.
    pub fn handle_arrival(&mut self, now: Instant, arrival: Arrival) {
        match arrival {
            Arrival::Message {
                flow,
                message: Ok(message),
            } => self.handle_message(now, flow, message),
            Arrival::Message {
                flow,
                message: Err(error),
            } => self.refuse_malformed(flow, &error),
            Arrival::Closed { flow } | Arrival::Failed { flow } => self.handle_transport_error(now, flow),
        }
    }

    /// Bytes came: one datagram, or one message of a stream. What is no message is answered as far as it can be.
    pub fn handle_bytes(&mut self, now: Instant, flow: Flow, bytes: Bytes) {
        match Message::parse_from(bytes, flow.remote) {
            Ok(message) => self.handle_message(now, flow, message),
            Err(error) => self.refuse_malformed(flow, &error),
        }
    }

    /// A message came.
    pub fn handle_message(&mut self, now: Instant, flow: Flow, message: Message) {
        if !message.is_request() {
            return self.handle_response(now, flow, message);
        }
        let message = match message.source() {
            Some(_) => message,
            None => message.with_source(flow.remote),
        };
        self.handle_request(now, flow, message);
    }

    /// Time has come for what [`Output::Timeout`] said.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(Entry { slot, which, .. }) =
            self.timers.pop_due(now, |entry| self.table.is_live(entry))
        {
            let id = self.table.id(slot);
            let Some(transaction) = self.table.get_mut(id) else {
                continue;
            };
            match which {
                Which::Resend => transaction.resend_at = NEVER,
                Which::End => transaction.end_at = NEVER,
            }
            let is_client = transaction.role.is_client();
            match (is_client, which) {
                (true, Which::Resend) => self.resend_request(now, id),
                (true, Which::End) => self.end_client(id),
                (false, Which::Resend) => self.resend_response(now, id),
                (false, Which::End) => self.end_server(id),
            }
        }
    }

    /// A message could not be sent over `flow`, or its connection closed. Requests without a response yet fail (or go
    /// another way, see [`Event::FellBack`]); responses are sent again over a new connection (RFC 3261 §18.2.2).
    pub fn handle_transport_error(&mut self, now: Instant, flow: Flow) {
        if !self.peers.contains_key(&(flow.transport, flow.remote)) {
            return;
        }
        let same = |of: &Flow| {
            of.transport == flow.transport
                && of.remote == flow.remote
                && (of.connection == flow.connection || of.connection.is_none() || flow.connection.is_none())
        };
        let hit: Vec<_> = self
            .table
            .iter()
            .filter(|(_, t)| same(&t.flow))
            .map(|(id, t)| (id, t.role.is_client()))
            .collect();
        for (id, is_client) in hit {
            if is_client {
                self.request_failed(now, id);
            } else {
                self.response_failed(id, flow);
            }
        }
    }

    /// The next thing to do; [`Output::Timeout`] comes last.
    pub fn poll_output(&mut self) -> Output {
        match self.outputs.pop_front() {
            Some(output) => output,
            None => Output::Timeout(self.timers.next(|entry| self.table.is_live(entry))),
        }
    }

    /// Sends a request that begins no transaction, the ACK to a 2xx, with a Via of its own. `request` is printed without
    /// Via. Returns what was sent, for [`Endpoint::transmit`] to repeat.
    pub fn send(&mut self, flow: Flow, request: Bytes) -> Transmit {
        let branch = self.mint.branch();
        let (flow, message, _) = self.address(flow, &request, &branch);
        let transmit = Transmit { flow, message };
        self.outputs.push_back(Output::Transmit(transmit.clone()));
        transmit
    }

    /// Sends bytes as they are.
    pub fn transmit(&mut self, transmit: Transmit) {
        self.outputs.push_back(Output::Transmit(transmit));
    }

    fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    /// Puts our Via on top of `request`; a large one changes over to TCP, and then the way that it came from is
    /// returned too.
    //= https://www.rfc-editor.org/rfc/rfc3261#section-18.1.1
    fn address(&self, flow: Flow, request: &[u8], branch: &str) -> (Flow, Bytes, Option<Flow>) {
        let message = self.with_via(&flow, request, branch);
        if flow.transport != Transport::Udp
            || message.len() <= UDP_REQUEST_BYTES
            || !self.config.large_by_tcp
            || flow.remote.ip().is_multicast()
        {
            return (flow, message, None);
        }
        let tcp = Flow {
            transport: Transport::Tcp,
            connection: None,
            ..flow
        };
        (tcp, self.with_via(&tcp, request, branch), Some(flow))
    }

    fn with_via(&self, flow: &Flow, request: &[u8], branch: &str) -> Bytes {
        let line_end = request
            .iter()
            .position(|b| *b == b'\n')
            .map_or(request.len(), |at| at + 1);
        let (line, rest) = request.split_at(line_end);
        let (host, port) = self.sent_by(flow);
        let mut via = String::with_capacity(100);
        let name = flow.transport.via_name();
        write!(via, "Via: SIP/2.0/{name} {host}:{port};rport;branch={branch}\r\n")
            .expect("writing to a string does not fail");
        [line, via.as_bytes(), rest].concat().into()
    }

    /// Answers what is no message, without state.
    fn refuse_malformed(&mut self, flow: Flow, error: &ParseError) {
        let tag = self.mint.tag();
        if let Some(message) = error.response(flow.remote, &tag) {
            let reply = match flow.transport {
                Transport::Udp => error.reply_to(flow.remote).unwrap_or(flow.remote),
                _ => flow.remote,
            };
            self.transmit(Transmit {
                flow: Flow {
                    remote: reply,
                    ..flow
                },
                message,
            });
        }
        self.event(Event::Malformed {
            flow,
            error: error.to_string().into(),
        });
    }

    fn set(&mut self, now: Instant, id: TransactionId, which: Which, length: Length) {
        let Some(transaction) = self.table.get_mut(id) else {
            return;
        };
        let at = self.timers.set(now, length, id.slot(), which);
        match which {
            Which::Resend => transaction.resend_at = at,
            Which::End => transaction.end_at = at,
        }
    }

    fn insert(&mut self, transaction: Transaction) -> TransactionId {
        *self
            .peers
            .entry((transaction.flow.transport, transaction.flow.remote))
            .or_default() += 1;
        self.table.insert(transaction)
    }

    fn remove(&mut self, id: TransactionId) -> Option<Transaction> {
        let transaction = self.table.remove(id)?;
        self.forget_peer(transaction.flow);
        Some(transaction)
    }

    fn forget_peer(&mut self, flow: Flow) {
        if let Some(count) = self.peers.get_mut(&(flow.transport, flow.remote)) {
            *count -= 1;
            if *count == 0 {
                self.peers.remove(&(flow.transport, flow.remote));
            }
        }
    }

    /// Sends a transaction another way from now on.
    fn reroute(&mut self, id: TransactionId, flow: Flow) {
        let Some(transaction) = self.table.get_mut(id) else {
            return;
        };
        let old = std::mem::replace(&mut transaction.flow, flow);
        self.forget_peer(old);
        *self.peers.entry((flow.transport, flow.remote)).or_default() += 1;
    }
}

fn bracketed(host: &str) -> String {
    match host.parse::<IpAddr>() {
        Ok(ip) => Host::from(ip).to_string(),
        Err(_) => host.to_owned(),
    }
}
