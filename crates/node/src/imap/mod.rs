//! An IMAP session joined with the mail service, on a connection.

mod answers;
mod compress;
#[cfg(test)]
mod tests;

pub use compress::Compressing;

use crate::peers::Peers;
use crate::stop::Stop;
use crate::world::{Connection, ConnectionClosed, Received, WorldRef};
use bytes::{Bytes, BytesMut};
use compress::{Compression, Corrupt};
use futures_util::{FutureExt, future, select_biased};
use ringpost_base::Instant;
use ringpost_directory::{AccountInfo, Directory};
use ringpost_imap::binary::{Decoder, Encoding};
use ringpost_imap::question::Changes;
use ringpost_imap::section::{DecodedSize, Partial, Transform};
use ringpost_imap::{Ask, Config, Event, Output, Question, Session, Tls, Uid};
use ringpost_mail::{Append, Mail, MailError, Selected};
use ringpost_store::{BlobReader, Bus, Heard, Interest, StoreError, Subscription, Topic};
use std::ops::Range;
use std::sync::Arc;

/// What IMAP sessions of a node are made of.
#[derive(Clone)]
pub struct Imap {
    /// Clocks and randomness.
    pub world: WorldRef,
    /// Who may log in.
    pub directory: Directory,
    /// The mailboxes.
    pub mail: Arc<Mail>,
    /// What tells of changes by others.
    pub bus: Arc<dyn Bus>,
    /// What holds for every session.
    pub config: Arc<Config>,
    /// How many sessions compress.
    pub compressing: Compressing,
    /// What each peer may do.
    pub peers: Arc<Peers>,
    /// Ends the sessions.
    pub stop: Stop,
}

impl Imap {
    /// Serves one connection to its end. `starttls` says whether TLS is offered where it is not on yet.
    pub async fn serve(&self, connection: Box<dyn Connection>, starttls: bool) {
        let _at_work = self.stop.at_work();
        let endpoints = connection.endpoints();
        let tls = match endpoints.tls {
            true => Tls::Active,
            false if starttls => Tls::Offered,
            false => Tls::Unavailable,
        };
        let mut rng = self.world.rng();
        let id = rng.token(8);
        tracing::info!(session = %id, remote = %endpoints.remote, tls = endpoints.tls, "imap session begins");
        let bindings = connection.bindings();
        let session = Session::bound(self.world.now(), self.config.clone(), tls, bindings, rng);
        let mut driver = Driver {
            imap: self,
            id,
            connection,
            session,
            outgoing: BytesMut::new(),
            account: None,
            login_mark: 0,
            selected: None,
            news: None,
            appending: None,
            compression: None,
            compresses: false,
            failed_logins: 0,
        };
        let ended = driver.run().await;
        driver.leave_mailbox().await;
        match ended {
            Ok(()) => tracing::info!(session = %driver.id, "imap session ends"),
            Err(Broken::Connection(_) | Broken::Deflate(_)) => {
                tracing::info!(session = %driver.id, "imap connection is gone")
            }
            Err(e) => tracing::error!(session = %driver.id, error = %e, "imap session breaks off"),
        }
    }
}

/// How much is gathered before it is sent: a record of TLS.
const GATHERED_BYTES: usize = 16 * 1024;

/// One session with all that belongs to it.
struct Driver<'a> {
    imap: &'a Imap,
    id: String,
    connection: Box<dyn Connection>,
    session: Session,
    /// Small pieces that leave together, so that a list of a thousand subjects is not three thousand packets.
    outgoing: BytesMut,
    account: Option<Arc<AccountInfo>>,
    /// From before the proof of that.
    login_mark: u64,
    selected: Option<Selected>,
    /// What is heard of the account's mail, from before a mailbox is selected until it is left.
    news: Option<Subscription>,
    appending: Option<Appending>,
    /// Set from the answer that allows it on, and used from the event on that follows.
    compression: Option<Box<Compression>>,
    compresses: bool,
    failed_logins: u32,
}

/// A message that is being appended. Once a piece of it could not be kept the rest is let pass, and the end is refused.
enum Appending {
    Keeps(Box<Append>),
    Failed(MailError),
}

/// Why a session cannot go on.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Connection(#[from] ConnectionClosed),
    #[error("a message of which FETCH has told the size cannot be read: {0}")]
    Body(#[from] MailError),
    #[error("a message of which FETCH has told the size cannot be read: {0}")]
    Blob(#[from] StoreError),
    #[error(transparent)]
    Deflate(#[from] Corrupt),
    #[error("message {uid} has other bytes than FETCH has told: {missing} are missing")]
    Short { uid: Uid, missing: u64 },
}

/// What a session waited for.
enum Happened {
    Received(Received),
    News(Heard),
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
            if self.inflate()? {
                continue;
            }
            let happened = self.wait(deadline).await;
            let now = self.imap.world.now();
            match happened {
                Happened::Received(Received::Data(bytes)) => {
                    // Who says something now has heard of nothing later.
                    self.tell_news(false).await;
                    self.check_login();
                    self.receive(bytes);
                }
                Happened::Received(Received::Closed) => return Ok(()),
                Happened::News(heard) => {
                    self.check_login();
                    if self.is_news(heard) {
                        self.refresh().await;
                    }
                }
                Happened::Timeout => {
                    self.check_login();
                    self.session.handle_timeout(now);
                }
                Happened::Stop => self.session.shut_down(now, "BYE The server stops"),
            }
        }
    }

    /// Carries out what the session wants, until there is nothing more. Gives the time by which it wants to be woken.
    async fn drain(&mut self) -> Result<Option<Instant>, Broken> {
        loop {
            match self.session.poll_output() {
                Output::Transmit(bytes) => self.send(bytes).await?,
                Output::Body {
                    uid,
                    range,
                    transform,
                } => self.send_body(uid, range, &transform).await?,
                Output::Event(event) => self.handle(event).await?,
                Output::Timeout(deadline) => {
                    self.flush().await?;
                    return Ok(deadline);
                }
            }
        }
    }

    /// Sends bytes, at the latest when the session has nothing more to do.
    async fn send(&mut self, bytes: Bytes) -> Result<(), ConnectionClosed> {
        if self.outgoing.len() + bytes.len() > GATHERED_BYTES {
            self.flush().await?;
        }
        if bytes.len() > GATHERED_BYTES {
            return self.transmit(bytes, false).await;
        }
        self.outgoing.extend_from_slice(&bytes);
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), ConnectionClosed> {
        let bytes = std::mem::take(&mut self.outgoing).freeze();
        self.transmit(bytes, true).await
    }

    /// Hands bytes to the connection, compressed when the session is. With `flush` the client can read all of them.
    async fn transmit(&mut self, bytes: Bytes, flush: bool) -> Result<(), ConnectionClosed> {
        let bytes = match self.compression.as_mut().filter(|_| self.compresses) {
            Some(compression) => compression.compress(&bytes, flush),
            None => bytes,
        };
        match bytes.is_empty() {
            true => Ok(()),
            false => self.connection.send(bytes).await,
        }
    }

    /// Takes what was received. What is compressed waits for [`Self::inflate`].
    fn receive(&mut self, bytes: Bytes) {
        match self.compression.as_mut().filter(|_| self.compresses) {
            Some(compression) => compression.take(bytes),
            None => self.session.handle_input(self.imap.world.now(), &bytes),
        }
    }

    /// Whether compressed input waits that the session has no room for yet, or has not been asked for.
    fn has_compressed_input(&self) -> bool {
        self.compression.as_ref().is_some_and(|c| c.has_input())
    }

    /// Gives the session a piece of compressed input, when there is one and it wants it: however much it inflates to, no more
    /// than a piece is held.
    fn inflate(&mut self) -> Result<bool, Corrupt> {
        let wants_input = self.session.wants_input();
        let Some(compression) = self.compression.as_mut().filter(|c| wants_input && c.has_input()) else {
            return Ok(false);
        };
        let piece = compression.next()?;
        if !piece.is_empty() {
            self.session.handle_input(self.imap.world.now(), &piece);
        }
        Ok(true)
    }

    async fn handle(&mut self, event: Event) -> Result<(), Broken> {
        match event {
            Event::Question(question) => self.handle_question(question).await?,
            Event::Body(chunk) => self.keep(chunk).await,
            Event::BodyAborted => self.appending = None,
            Event::StartTls => {
                self.flush().await?;
                self.connection.start_tls().await?;
                let bindings = self.connection.bindings();
                self.session.handle_tls_started(self.imap.world.now(), bindings);
            }
            Event::Compress => {
                //= https://www.rfc-editor.org/rfc/rfc4978#section-3
                // The OK itself goes out as it is.
                self.flush().await?;
                self.compresses = true;
            }
            Event::Deselected => self.leave_mailbox().await,
            Event::Closed => {}
        }
        Ok(())
    }

    async fn handle_question(&mut self, question: Question) -> Result<(), Broken> {
        //= https://www.rfc-editor.org/rfc/rfc7162#section-6
        // STORE tells the MODSEQ of messages that others have changed first, perhaps with more: what they did is told with it,
        // although nothing was heard of it yet.
        let shows_others = matches!(question.ask, Ask::Store { .. });
        // Boxed, so that a session that only waits does not carry the room for every answer.
        let answer = Box::pin(self.answer(question.ask)).await;
        self.session
            .handle_answer(self.imap.world.now(), question.id, answer);
        // What the command itself has changed is told with its end; after the answer, so that the session knows its own
        // changes from those of others.
        self.tell_news(shows_others).await;
        // A command of many questions ends with its connection.
        if self.session.wants_input() && !self.has_compressed_input() {
            match self.connection.recv().now_or_never() {
                Some(Received::Data(bytes)) => self.receive(bytes),
                Some(Received::Closed) => return Err(ConnectionClosed.into()),
                None => {}
            }
        }
        Ok(())
    }

    async fn wait(&mut self, deadline: Option<Instant>) -> Happened {
        let imap = self.imap;
        let wants_input = self.session.wants_input() && !self.has_compressed_input();
        // Who does not idle is told at the next command, so there is nothing to wait for.
        let news = self.news.as_ref().filter(|_| self.session.is_idling());
        let mut received = match wants_input {
            true => self.connection.recv(),
            false => Box::pin(future::pending()),
        }
        .fuse();
        let mut timeout = match deadline {
            Some(at) => imap.world.sleep_until(at),
            None => Box::pin(future::pending()),
        }
        .fuse();
        let news = async {
            match news {
                Some(news) => news.next().await,
                None => future::pending().await,
            }
        };
        let mut news = std::pin::pin!(news.fuse());
        let mut stop = std::pin::pin!(imap.stop.wait().fuse());
        // In this order, so that nothing a client does keeps a deadline from being seen.
        select_biased! {
            () = stop => Happened::Stop,
            () = timeout => Happened::Timeout,
            bytes = received => Happened::Received(bytes),
            heard = news => Happened::News(heard),
        }
    }

    /// Ends the session of an account that is gone, or has another password than it was begun with.
    fn check_login(&mut self) {
        if let Some(account) = &self.account
            && !self.imap.directory.login_stands(account.id, self.login_mark)
        {
            self.session.shut_down(
                self.imap.world.now(),
                "BYE The login is no longer valid, log in again",
            );
        }
    }

    /// Whether what was heard means that mailboxes may have changed.
    fn is_news(&mut self, heard: Heard) -> bool {
        match heard {
            Heard::Hint(hint) => hint.topic == Topic::Mail,
            Heard::Lagged => true,
            Heard::Closed => {
                self.news = None;
                false
            }
        }
    }

    /// Looks at the mailbox again if anything was heard of it, or nevertheless.
    async fn tell_news(&mut self, nevertheless: bool) {
        let mut any = nevertheless;
        while let Some(heard) = self.news.as_ref().and_then(Subscription::try_next) {
            any |= self.is_news(heard);
        }
        if any {
            self.refresh().await;
        }
    }

    async fn refresh(&mut self) {
        let Some(selected) = &mut self.selected else {
            return;
        };
        let mailbox = selected.id();
        let refreshed = self.imap.mail.refresh(selected).await;
        let now = self.imap.world.now();
        match refreshed {
            Ok(changes) => self.session.handle_changes(now, mailbox, changes),
            Err(MailError::NoSuchAccount | MailError::NoSuchMailbox) => {
                let gone = Changes {
                    mailbox_gone: true,
                    ..Changes::default()
                };
                self.session.handle_changes(now, mailbox, gone);
            }
            // A session that has missed something must not go on as if it had not.
            Err(e) => {
                tracing::error!(session = %self.id, error = %e, "a selected mailbox cannot be read");
                self.session
                    .shut_down(now, "BYE [UNAVAILABLE] The mailbox cannot be read");
            }
        }
    }

    async fn leave_mailbox(&mut self) {
        self.news = None;
        if let Some(selected) = self.selected.take()
            && let Err(e) = self.imap.mail.deselect(selected).await
        {
            tracing::warn!(session = %self.id, error = %e, "which messages were recent is not remembered");
        }
    }

    /// Begins to listen to the account, before anything of it is read, so that nothing falls in between.
    fn listen(&mut self, account: &AccountInfo) {
        self.news = Some(self.imap.bus.subscribe(Interest::Account(account.id)));
    }

    /// Takes a piece of the message that is being appended.
    async fn keep(&mut self, chunk: Bytes) {
        if let Some(Appending::Keeps(append)) = &mut self.appending
            && let Err(e) = append.write(chunk).await
        {
            tracing::warn!(session = %self.id, error = %e, "an appended message cannot be kept");
            self.appending = Some(Appending::Failed(e));
        }
    }

    /// Sends bytes of a message, a piece at a time, as fast as the client takes them.
    async fn send_body(&mut self, uid: Uid, range: Range<u64>, transform: &Transform) -> Result<(), Broken> {
        match transform {
            Transform::None => {
                let mut pieces = self.pieces(uid, range).await?;
                while let Some(chunk) = pieces.next().await? {
                    self.send(without_nul(chunk)).await?;
                }
            }
            Transform::Fields(..) => {
                let (mut pieces, mut whole) = (self.pieces(uid, range).await?, BytesMut::new());
                while let Some(chunk) = pieces.next().await? {
                    whole.extend_from_slice(&without_nul(chunk));
                }
                self.send(transform.apply(whole.freeze())).await?;
            }
            Transform::Decode(encoding, partial) => {
                let size = self.decoded_size(uid, range.clone(), *encoding, *partial).await?;
                self.send(size.literal().into()).await?;
                let mut decoder = Decoder::new(*encoding, *partial);
                let (mut pieces, mut out) = (self.pieces(uid, range).await?, BytesMut::new());
                while let Some(chunk) = pieces.next().await? {
                    decoder.push(&chunk, &mut out);
                    self.send(out.split().freeze()).await?;
                }
                decoder.finish(&mut out);
                self.send(out.freeze()).await?;
            }
            Transform::DecodedSize(encoding) => {
                let size = self.decoded_size(uid, range, *encoding, None).await?;
                self.send(size.number().into()).await?;
            }
        }
        Ok(())
    }

    async fn decoded_size(
        &mut self,
        uid: Uid,
        range: Range<u64>,
        encoding: Encoding,
        partial: Option<Partial>,
    ) -> Result<DecodedSize, Broken> {
        let mut size = DecodedSize::new(encoding, partial);
        let mut pieces = self.pieces(uid, range).await?;
        while let Some(chunk) = pieces.next().await? {
            size.push(&chunk);
        }
        Ok(size)
    }

    /// Begins to read bytes of a message.
    async fn pieces(&mut self, uid: Uid, range: Range<u64>) -> Result<Pieces, Broken> {
        let missing = range.end - range.start;
        let selected = self.selected.as_ref().ok_or(MailError::NoSuchMailbox)?;
        let reader = self.imap.mail.body(selected, uid, range).await?;
        let reader = reader.ok_or(MailError::NoSuchMessage)?;
        Ok(Pieces { uid, missing, reader })
    }
}

/// Bytes of a message, as many as were announced.
struct Pieces {
    uid: Uid,
    missing: u64,
    reader: Box<dyn BlobReader>,
}

impl Pieces {
    async fn next(&mut self) -> Result<Option<Bytes>, Broken> {
        let chunk = self.reader.next().await?;
        self.missing = self
            .missing
            .saturating_sub(chunk.as_ref().map_or(0, |c| c.len() as u64));
        match chunk {
            None if self.missing > 0 => Err(Broken::Short {
                uid: self.uid,
                missing: self.missing,
            }),
            chunk => Ok(chunk),
        }
    }
}

/// A literal holds no NUL, which SMTP may have brought: 0x80, which no charset gives a meaning that a mail would have, stands
/// in its place, so that sizes stay as they were told.
//= https://www.rfc-editor.org/rfc/rfc3501#section-9
fn without_nul(chunk: Bytes) -> Bytes {
    if !chunk.contains(&0) {
        return chunk;
    }
    chunk.iter().map(|b| if *b == 0 { 0x80 } else { *b }).collect()
}
