//! One connection to another server, and the messages that go over it.

use super::prepare::{self, Source};
use super::route::Host;
use super::{CONNECT_TIMEOUT, Outbound, SmartHostTls, Stuck};
use crate::stop::Awaited;
use crate::world::{Connection, ConnectionClosed, Dial, Received};
use futures_util::{FutureExt, future, select_biased};
use ringpost_base::Instant;
use ringpost_mail::{MailError, QueuedMessage};
use ringpost_smtp::client::{self, Client, Event, Output, StartTls, Verdict};
use std::collections::VecDeque;
use std::net::SocketAddr;

/// Messages that one connection begins with: then it ends, since others wait for its place.
const MESSAGES: usize = 100;

/// How a connection ended.
pub(super) enum Ended {
    /// Messages went over it, or would have.
    Used,
    /// It led to nothing: another server may do better.
    Useless {
        /// Why.
        why: Verdict,
        /// It was TLS that failed.
        tls_failed: bool,
    },
}

/// A connection that is to be made.
pub(super) struct Session<'a> {
    outbound: &'a Outbound,
    host: &'a Host,
    address: SocketAddr,
    without_tls: bool,
    /// Whose work it is.
    line: &'a str,
}

/// One that is made.
struct Running<'a, 'b> {
    outbound: &'a Outbound,
    connection: Box<dyn Connection>,
    client: Client,
    first: &'b mut Option<QueuedMessage>,
    ids: &'b mut VecDeque<u64>,
    line: &'a str,
    current: Option<(QueuedMessage, Source)>,
    /// Messages that it began with.
    begun: usize,
    /// Whether any message was concluded, or all were gone.
    used: bool,
    tls_failed: bool,
    /// Why, where that is known.
    tls_error: Option<String>,
    /// What went wrong with our own store.
    failure: Option<MailError>,
    /// A stopping server waits for the answer to the message.
    awaited: Option<Awaited>,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        outbound: &'a Outbound,
        host: &'a Host,
        address: SocketAddr,
        without_tls: bool,
        line: &'a str,
    ) -> Self {
        Session {
            outbound,
            host,
            address,
            without_tls,
            line,
        }
    }

    fn client_config(&self) -> client::Config {
        let config = &self.outbound.config;
        let smart = self.host.smart.as_ref();
        client::Config {
            start_tls: match smart.map(|smart| smart.tls) {
                None if self.host.requires_tls() => StartTls::Required,
                None if self.without_tls => StartTls::Never,
                None => StartTls::Opportunistic,
                Some(SmartHostTls::None) => StartTls::Never,
                Some(SmartHostTls::StartTls | SmartHostTls::Implicit) => StartTls::Required,
            },
            credentials: smart.and_then(|smart| smart.credentials.clone()),
            timeouts: config.timeouts,
            ..client::Config::new(&config.hostname)
        }
    }

    /// What happened, with where, what demanded it, and what TLS says of it.
    fn told(&self, what: &str, tls_error: Option<&str>) -> String {
        let asked_by = self
            .host
            .asked_by
            .map(|name| format!("{name}: "))
            .unwrap_or_default();
        let tls_error = tls_error.map(|error| format!(": {error}")).unwrap_or_default();
        format!(
            "{asked_by}{} at {}: {what}{tls_error}",
            self.host.name, self.address
        )
    }

    /// Connects, and hands over `first` and what `ids` name, one after the other. What it does not come to stays there.
    pub(super) async fn run(
        self,
        first: &mut Option<QueuedMessage>,
        ids: &mut VecDeque<u64>,
    ) -> Result<Ended, Stuck> {
        let world = &self.outbound.world;
        let implicit_tls = self
            .host
            .smart
            .as_ref()
            .is_some_and(|s| s.tls == SmartHostTls::Implicit);
        let dial = Dial {
            to: self.address,
            name: self.host.name.clone(),
            proof: self.host.proof(),
            implicit_tls,
        };
        let mut too_long = world.sleep_until(world.now() + CONNECT_TIMEOUT).fuse();
        let mut dialled = self.outbound.dialer.dial(dial).fuse();
        let connection = select_biased! {
            dialled = dialled => dialled.map_err(|e| e.to_string()),
            () = too_long => Err("no answer in time".to_owned()),
        };
        let connection = match connection {
            Ok(connection) => connection,
            Err(e) => {
                let text = format!("{} at {}: {e}", self.host.name, self.address);
                return Ok(Ended::Useless {
                    why: Verdict::deferred("4.4.1", text),
                    tls_failed: false,
                });
            }
        };
        let mut running = Running {
            outbound: self.outbound,
            connection,
            client: Client::new(world.now(), self.client_config(), implicit_tls),
            first,
            ids,
            current: None,
            begun: 0,
            line: self.line,
            used: false,
            tls_failed: false,
            tls_error: None,
            failure: None,
            awaited: None,
        };
        let why = running.run().await;
        if let Some((message, _)) = running.current.take() {
            // Our own store failed in the middle of it, or the server stops.
            running.outbound.mail.release(message);
        }
        if let Some(failure) = running.failure {
            return Err(Stuck::Store(failure));
        }
        Ok(match why {
            Some(why) if !running.used => Ended::Useless {
                why: Verdict {
                    text: self.told(&why.text, running.tls_error.as_deref()),
                    ..why
                },
                tls_failed: running.tls_failed,
            },
            _ => Ended::Used,
        })
    }
}

impl Running<'_, '_> {
    /// Says why it ended, if it was not we who wanted it to.
    async fn run(&mut self) -> Option<Verdict> {
        loop {
            let deadline = match self.drain().await {
                Step::Wait(deadline) => deadline,
                Step::End(why) => return why,
            };
            let received = self.wait(deadline).await;
            let now = self.outbound.world.now();
            match received {
                Some(Received::Data(bytes)) => self.client.handle_input(now, bytes),
                Some(Received::Closed) => self.client.handle_closed(now),
                None => self.client.handle_timeout(now),
            }
        }
    }

    async fn drain(&mut self) -> Step {
        loop {
            match self.client.poll_output() {
                Output::Transmit(bytes) => {
                    if let Err(ConnectionClosed) = self.connection.send(bytes).await {
                        self.client.handle_closed(self.outbound.world.now());
                    }
                }
                Output::Timeout(deadline) => return Step::Wait(deadline),
                Output::Event(Event::StartTls) => match self.connection.start_tls().await {
                    Ok(()) => self.client.handle_tls_started(self.outbound.world.now()),
                    Err(ConnectionClosed) => {
                        self.tls_failed = true;
                        self.tls_error = self.connection.tls_error();
                        self.client.handle_closed(self.outbound.world.now());
                    }
                },
                Output::Event(Event::Ready) => self.next().await,
                Output::Event(Event::WantsBody) => {
                    // What we cannot read must not look like a whole message: the connection is dropped.
                    match self.piece().await {
                        Ok(true) => {}
                        Ok(false) => return Step::End(None),
                        Err(e) => return self.unreadable(e).await,
                    }
                }
                Output::Event(Event::Done(verdicts)) => {
                    if let Some((mut message, _)) = self.current.take() {
                        self.used = true;
                        message.handed_to(self.client.knows_dsn());
                        if let Err(e) = self.outbound.conclude(message, &verdicts).await {
                            self.failure = Some(e);
                            return Step::End(None);
                        }
                    }
                    self.awaited = None;
                    if self.client.is_ready() {
                        self.next().await;
                    }
                }
                Output::Event(Event::Closed(why)) => return Step::End(why),
            }
            if self.failure.is_some() {
                return Step::End(None);
            }
        }
    }

    /// Begins the next message, or ends the connection when there is none.
    async fn next(&mut self) {
        loop {
            let now = self.outbound.world.now();
            let message = match self.outbound.is_stopping() {
                true => Ok(None),
                false => match self.first.take() {
                    Some(message) => Ok(Some(message)),
                    None => self.leased().await,
                },
            };
            let message = match message {
                Ok(Some(message)) => message,
                Ok(None) => {
                    self.used = true;
                    return self.client.quit(now);
                }
                Err(e) => {
                    self.failure = Some(e);
                    return;
                }
            };
            self.begun += 1;
            match prepare::prepared(self.outbound, &message, self.client.takes_eight_bit()).await {
                Ok((envelope, source)) => {
                    self.current = Some((message, source));
                    return self.client.send(now, envelope);
                }
                Err(verdict) => {
                    self.used = true;
                    let verdicts = vec![verdict; message.waiting().count()];
                    if let Err(e) = self.outbound.conclude(message, &verdicts).await {
                        self.failure = Some(e);
                        return;
                    }
                }
            }
        }
    }

    /// The next message: of those that were due at the beginning, then of those that have become so.
    async fn leased(&mut self) -> Result<Option<QueuedMessage>, MailError> {
        loop {
            while let Some(id) = self.ids.pop_front() {
                if let Some(message) = self.outbound.begin(id).await? {
                    return Ok(Some(message));
                }
            }
            // Other destinations wait for places.
            if self.begun >= MESSAGES {
                return Ok(None);
            }
            let now = self.outbound.world.unix_now();
            self.ids.extend(self.outbound.mail.more_work(self.line, now));
            if self.ids.is_empty() {
                return Ok(None);
            }
        }
    }

    /// Sends the next piece of the message, or its end. False when the server stops: what is not whole over there is not
    /// taken, and goes another time.
    async fn piece(&mut self) -> Result<bool, MailError> {
        let Some((message, body)) = &mut self.current else {
            return Ok(true);
        };
        let piece = body.next().await?;
        let now = self.outbound.world.now();
        // First this, then the look: whoever stops the server waits for us, or we see that it stops.
        let at_work = self.outbound.stop.at_work();
        if self.outbound.is_stopping() {
            return Ok(false);
        }
        match piece {
            Some(piece) => self.client.body(now, &piece),
            None => {
                // The other server may have the message from here on: who does not hear its answer sends it twice.
                //= https://www.rfc-editor.org/rfc/rfc5321#section-6.1
                let told = format!("{:016x} to {}", message.record().id, self.line);
                self.awaited = Some(at_work.awaiting(told));
                self.client.end_body(now);
            }
        }
        Ok(true)
    }

    async fn unreadable(&mut self, error: MailError) -> Step {
        if let Some((message, _)) = self.current.take() {
            self.used = true;
            let verdict = Verdict::deferred("4.3.0", error.to_string());
            let verdicts = vec![verdict; message.waiting().count()];
            if let Err(e) = self.outbound.conclude(message, &verdicts).await {
                self.failure = Some(e);
            }
        }
        Step::End(None)
    }

    /// What came; `None` when it was time.
    async fn wait(&mut self, deadline: Option<Instant>) -> Option<Received> {
        let mut timeout = match deadline {
            Some(at) => self.outbound.world.sleep_until(at),
            None => Box::pin(future::pending()),
        }
        .fuse();
        let mut received = self.connection.recv().fuse();
        select_biased! {
            () = timeout => None,
            bytes = received => Some(bytes),
        }
    }
}

/// How a drain ended.
enum Step {
    Wait(Option<Instant>),
    End(Option<Verdict>),
}
