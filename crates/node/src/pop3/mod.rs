//! A POP3 session joined with the mail service, on a connection.
//!
//! A message that was sent whole is marked as seen, as reading it by IMAP does and as Dovecot does by default: a voicemail
//! that was heard by POP3 puts out the lamp. The marks of a session are gathered, so that a maildrop of thousands is not as
//! many commits, and written when the client pauses, at the end, and also when the connection is lost. TOP marks nothing.

mod answers;
#[cfg(test)]
mod tests;

use crate::peers::Peers;
use crate::stop::Stop;
use crate::world::{Connection, ConnectionClosed, Received, WorldRef};
use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt, future, select_biased};
use ringpost_base::Instant;
use ringpost_directory::{AccountInfo, Directory};
use ringpost_mail::{Mail, MailError, Maildrop};
use ringpost_pop3::{Config, Event, Output, Question, Session, Tls, Transform, Uid};
use ringpost_store::{BlobReader, StoreError};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What POP3 sessions of a node are made of.
#[derive(Clone)]
pub struct Pop3 {
    /// Clocks and randomness.
    pub world: WorldRef,
    /// Who may log in.
    pub directory: Directory,
    /// The mailboxes.
    pub mail: Arc<Mail>,
    /// What holds for every session.
    pub config: Arc<Config>,
    /// What is counted of all sessions.
    pub counters: Arc<Pop3Counters>,
    /// What each peer may do.
    pub peers: Arc<Peers>,
    /// Ends the sessions.
    pub stop: Stop,
}

/// What POP3 sessions have done since the start.
#[derive(Debug, Default)]
pub struct Pop3Counters {
    sessions: AtomicU64,
    messages: AtomicU64,
}

impl Pop3Counters {
    /// Sessions that have logged in.
    pub fn sessions(&self) -> u64 {
        self.sessions.load(Ordering::Relaxed)
    }

    /// Messages that were sent whole.
    pub fn messages(&self) -> u64 {
        self.messages.load(Ordering::Relaxed)
    }
}

impl Pop3 {
    /// Serves one connection to its end. `stls` says whether TLS is offered where it is not on yet.
    pub async fn serve(&self, connection: Box<dyn Connection>, stls: bool) {
        let _at_work = self.stop.at_work();
        let endpoints = connection.endpoints();
        let tls = match endpoints.tls {
            true => Tls::Active,
            false if stls => Tls::Offered,
            false => Tls::Unavailable,
        };
        let mut rng = self.world.rng();
        let id = rng.token(8);
        tracing::info!(session = %id, remote = %endpoints.remote, tls = endpoints.tls, "pop3 session begins");
        let session = Session::bound(
            self.world.now(),
            self.config.clone(),
            tls,
            connection.bindings(),
            rng,
        );
        let mut driver = Driver {
            pop3: self,
            id,
            connection,
            session,
            outgoing: BytesMut::new(),
            open: None,
            login_mark: 0,
            failed_logins: 0,
            retrieved: 0,
            removed: 0,
        };
        let ended = driver.run().await;
        Box::pin(driver.mark_seen()).await;
        let (retrieved, removed) = (driver.retrieved, driver.removed);
        match ended {
            Ok(()) => tracing::info!(session = %driver.id, retrieved, removed, "pop3 session ends"),
            Err(Broken::Connection(_)) => {
                tracing::info!(session = %driver.id, retrieved, "pop3 connection is gone");
            }
            Err(e) => tracing::error!(session = %driver.id, error = %e, "pop3 session breaks off"),
        }
    }
}

impl fmt::Debug for Pop3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pop3")
    }
}

/// A record of TLS at its longest.
const RECORD_BYTES: usize = 16 * 1024;
/// How much is gathered before it is sent.
const GATHERED_BYTES: usize = 2 * RECORD_BYTES;
/// How long a client may pause before what it has read is marked.
const PAUSE: Duration = Duration::from_secs(2);
/// Messages that wait to be marked; with one more they are.
const MARKS: usize = 1_000;

/// One session with all that belongs to it.
struct Driver<'a> {
    pop3: &'a Pop3,
    id: String,
    connection: Box<dyn Connection>,
    session: Session,
    /// Small pieces that leave together.
    outgoing: BytesMut,
    /// From the login to QUIT.
    open: Option<Box<Open>>,
    /// From before the proof of that login.
    login_mark: u64,
    failed_logins: u32,
    retrieved: u64,
    removed: usize,
}

/// What a session has once it has logged in.
struct Open {
    account: Arc<AccountInfo>,
    maildrop: Maildrop,
    /// When the lease is to be renewed.
    renew_at: Instant,
    /// The message that RETR or TOP asks for, until it is sent.
    at_hand: Option<(Uid, Box<dyn BlobReader>)>,
    /// Messages that were sent whole and are not marked yet, and when they are to be.
    seen: Vec<Uid>,
    mark_at: Instant,
}

/// Why a session cannot go on.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Connection(#[from] ConnectionClosed),
    #[error("a message that was announced cannot be read: {0}")]
    Blob(#[from] StoreError),
    #[error("message {0} was announced and is not at hand")]
    NotAtHand(Uid),
}

/// What a session waited for.
enum Happened {
    Received(Received),
    /// Its own time, or one of the driver's.
    Timeout,
    Stop,
}

impl Driver<'_> {
    async fn run(&mut self) -> Result<(), Broken> {
        loop {
            let deadline = self.drain().await?;
            if self.session.is_closed() {
                return Ok(());
            }
            let happened = self.wait(deadline).await;
            let now = self.pop3.world.now();
            match happened {
                Happened::Received(Received::Data(bytes)) => {
                    if let Some(open) = &self.open
                        && !self.pop3.directory.login_stands(open.account.id, self.login_mark)
                    {
                        let line = "-ERR [AUTH] The login is no longer valid, log in again";
                        self.session.shut_down(now, line);
                    }
                    self.session.handle_input(now, &bytes);
                }
                //= https://www.rfc-editor.org/rfc/rfc1939#section-6
                // Without QUIT nothing is removed.
                Happened::Received(Received::Closed) => return Ok(()),
                Happened::Timeout => {
                    self.session.handle_timeout(now);
                    self.look_after(now).await;
                }
                Happened::Stop => self.session.shut_down(now, "-ERR [SYS/TEMP] The server stops"),
            }
        }
    }

    /// Carries out what the session wants, until there is nothing more. Gives the time by which it wants to be woken.
    async fn drain(&mut self) -> Result<Option<Instant>, Broken> {
        loop {
            match self.session.poll_output() {
                Output::Transmit(bytes) => self.send(bytes).await?,
                Output::Body { uid, transform } => self.send_body(uid, transform).await?,
                Output::Event(Event::Question(question)) => self.handle_question(question).await,
                Output::Event(Event::StartTls) => {
                    self.flush().await?;
                    self.connection.start_tls().await?;
                    let bindings = self.connection.bindings();
                    self.session.handle_tls_started(self.pop3.world.now(), bindings);
                }
                Output::Event(Event::Closed) => {}
                Output::Timeout(deadline) => {
                    self.flush().await?;
                    // A session that only waits holds no buffer.
                    self.outgoing = BytesMut::new();
                    return Ok(deadline);
                }
            }
        }
    }

    /// Sends bytes, at the latest when the session has nothing more to do.
    async fn send(&mut self, bytes: Bytes) -> Result<(), ConnectionClosed> {
        self.outgoing.extend_from_slice(&bytes);
        self.send_gathered().await
    }

    /// Sends what fills whole records, if enough is gathered.
    async fn send_gathered(&mut self) -> Result<(), ConnectionClosed> {
        if self.outgoing.len() < GATHERED_BYTES {
            return Ok(());
        }
        let whole = self.outgoing.len() / RECORD_BYTES * RECORD_BYTES;
        let records = self.outgoing.split_to(whole).freeze();
        self.connection.send(records).await
    }

    async fn flush(&mut self) -> Result<(), ConnectionClosed> {
        if self.outgoing.is_empty() {
            return Ok(());
        }
        let bytes = self.outgoing.split().freeze();
        self.connection.send(bytes).await
    }

    async fn handle_question(&mut self, question: Question) {
        // Whoever has pipelined a thousand commands does not come to wait.
        self.look_after(self.pop3.world.now()).await;
        // Boxed, so that a session that only waits does not carry the room for every answer.
        let answer = Box::pin(self.answer(question.ask)).await;
        self.session
            .handle_answer(self.pop3.world.now(), question.id, answer);
    }

    async fn wait(&mut self, deadline: Option<Instant>) -> Happened {
        let (pop3, wants_input) = (self.pop3, self.session.wants_input());
        let own = self.open.as_ref().map(|open| match open.seen.is_empty() {
            true => open.renew_at,
            false => open.renew_at.min(open.mark_at),
        });
        let mut received = match wants_input {
            true => self.connection.recv(),
            false => Box::pin(future::pending()),
        }
        .fuse();
        let mut timeout = match deadline.into_iter().chain(own).min() {
            Some(at) => pop3.world.sleep_until(at),
            None => Box::pin(future::pending()),
        }
        .fuse();
        let mut stop = std::pin::pin!(pop3.stop.wait().fuse());
        // In this order, so that nothing a client does keeps a deadline from being seen.
        select_biased! {
            () = stop => Happened::Stop,
            () = timeout => Happened::Timeout,
            bytes = received => Happened::Received(bytes),
        }
    }

    /// What the driver itself has to do from time to time.
    async fn look_after(&mut self, now: Instant) {
        let Some(open) = &mut self.open else { return };
        if now >= open.renew_at {
            let renewed = self
                .pop3
                .mail
                .renew_maildrop(&mut open.maildrop, self.pop3.world.unix_now())
                .await;
            match renewed {
                Ok(()) => open.renew_at = renew_at(self.pop3, &open.maildrop),
                // A session that has lost its maildrop would promise what it cannot do.
                Err(MailError::InUse) => {
                    tracing::warn!(session = %self.id, "the maildrop was taken over");
                    let line = "-ERR [IN-USE] Another session has taken the maildrop over";
                    self.session.shut_down(now, line);
                }
                Err(e) => {
                    tracing::warn!(session = %self.id, error = %e, "a maildrop's lease cannot be renewed");
                    // The lease still lasts; when it has run out, QUIT finds out whether anybody took it.
                    open.renew_at = now + RETRY;
                }
            }
        }
        if self.open.as_ref().is_some_and(|open| now >= open.mark_at) {
            Box::pin(self.mark_seen()).await;
        }
    }

    /// Marks what was read.
    async fn mark_seen(&mut self) {
        let Some(open) = &mut self.open else { return };
        let seen = std::mem::take(&mut open.seen);
        if seen.is_empty() {
            return;
        }
        if let Err(e) = self.pop3.mail.see_in_maildrop(&open.maildrop, &seen).await {
            // It was read all the same.
            tracing::warn!(session = %self.id, error = %e, "what was read cannot be marked as seen");
        }
    }

    /// Sends a message, a piece at a time, as fast as the client takes it.
    async fn send_body(&mut self, uid: Uid, mut transform: Transform) -> Result<(), Broken> {
        let is_whole = transform.is_whole();
        let at_hand = self.open.as_mut().and_then(|open| open.at_hand.take());
        let (_, mut reader) = at_hand
            .filter(|(of, _)| *of == uid)
            .ok_or(Broken::NotAtHand(uid))?;
        while !transform.is_satisfied() {
            let Some(chunk) = reader.next().await? else { break };
            // What the message comes to is a little more; where it is much more the buffer grows.
            self.outgoing.reserve(chunk.len() + chunk.len() / 8);
            transform.push(&chunk, &mut self.outgoing);
            self.send_gathered().await?;
        }
        transform.finish(&mut self.outgoing);
        if is_whole {
            self.retrieved(uid).await;
        }
        Ok(())
    }

    async fn retrieved(&mut self, uid: Uid) {
        let now = self.pop3.world.now();
        self.pop3.counters.messages.fetch_add(1, Ordering::Relaxed);
        self.retrieved += 1;
        let Some(open) = &mut self.open else { return };
        open.seen.push(uid);
        open.mark_at = now + PAUSE;
        if open.seen.len() >= MARKS {
            Box::pin(self.mark_seen()).await;
        }
    }
}

/// How long after a lease could not be renewed it is tried again.
const RETRY: Duration = Duration::from_secs(10);

/// When a lease is to be renewed, on the clock that does not jump.
fn renew_at(pop3: &Pop3, maildrop: &Maildrop) -> Instant {
    pop3.world.now() + maildrop.renew_at().since(pop3.world.unix_now())
}
