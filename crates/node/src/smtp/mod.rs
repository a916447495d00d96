//! An SMTP session joined with the directory and the mail service, on a connection.

mod answers;
mod local;
mod recipients;
mod strangers;
mod taking;
#[cfg(test)]
mod tests;

use crate::outbound::Sending;
use crate::peers::Peers;
use crate::stop::Stop;
use crate::world::{Connection, ConnectionClosed, Received, WorldRef};
use futures_util::{FutureExt, future, select_biased};
use local::Part;
use recipients::Away;
use ringpost_base::Instant;
use ringpost_directory::{AccountInfo, Directory};
use ringpost_mail::{Mail, Recipient, SenderAuth};
use ringpost_smtp::{Config, Ending, Event, Output, Session};
use std::sync::Arc;
use std::time::Duration;
use taking::Taking;

/// What SMTP sessions of one kind of listener are made of.
#[derive(Clone)]
pub struct Smtp {
    /// Clocks, tasks and randomness.
    pub world: WorldRef,
    /// Who may sign in, and whose the recipients are.
    pub directory: Directory,
    /// Where messages go.
    pub mail: Arc<Mail>,
    /// Who looks at the senders of strangers' messages; `None` when nobody does.
    pub sender_auth: Option<Arc<dyn SenderAuth>>,
    /// That those who signed in may send to other servers, and how much; `None` when nobody may.
    pub sending: Option<Arc<Sending>>,
    /// What holds for every session of the listener; its role above all.
    pub config: Arc<Config>,
    /// What each peer may do.
    pub peers: Arc<Peers>,
    /// What the operator decides about recipients.
    pub policy: Policy,
    /// Ends the sessions.
    pub stop: Stop,
}

/// What the operator decides about mail that comes in.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Mail for `alice+lists` goes to alice's mailbox `lists`, if she has one.
    pub detail_folders: bool,
    /// Who comes for the first time is to come again so much later; `None` where nobody is asked to.
    pub greylist: Option<Duration>,
}

impl Smtp {
    /// Serves one connection to its end.
    pub async fn serve(&self, connection: Box<dyn Connection>) {
        let _at_work = self.stop.at_work();
        let endpoints = connection.endpoints();
        let mut rng = self.world.rng();
        let id = rng.token(8);
        tracing::info!(
            session = %id, remote = %endpoints.remote, role = ?self.config.role, tls = endpoints.tls,
            "smtp session begins"
        );
        let mut session = Session::new(self.world.now(), self.config.clone(), endpoints.tls, rng.fork());
        session.handle_bindings(connection.bindings());
        let mut driver = Driver {
            smtp: self,
            id,
            connection,
            session,
            rng,
            account: None,
            login_mark: 0,
            recipients: Vec::new(),
            elsewhere: Vec::new(),
            parts: Vec::new(),
            sender_account: None,
            sender_is_told: false,
            taking: None,
            refusing_list: None,
            is_proven: None,
            failed_logins: 0,
            stopping: false,
        };
        match driver.run().await {
            Ok(()) => tracing::info!(session = %driver.id, "smtp session ends"),
            Err(ConnectionClosed) => tracing::info!(session = %driver.id, "smtp connection is gone"),
        }
    }
}

/// Finishes deliveries that were promised before a crash, and then whatever is left over, until the server stops. One
/// task of this for the whole node.
pub async fn deliver_due(world: WorldRef, mail: Arc<Mail>, stop: Stop) {
    // Nobody but us can be at work on what is there at the start.
    let mut ahead = AT_START;
    loop {
        let now = world.unix_now();
        match mail.deliver_due(now + ahead, now).await {
            Ok(0) => {}
            Ok(messages) => tracing::info!(messages, "spooled messages delivered"),
            Err(e) => tracing::error!(error = %e, "the spool cannot be read"),
        }
        let mut next = world.sleep_until(world.now() + SPOOL_PERIOD).fuse();
        let mut stopped = std::pin::pin!(stop.wait().fuse());
        select_biased! {
            () = stopped => return,
            () = next => ahead = Duration::ZERO,
        }
    }
}

/// Forgets every hour whom greylisting need not remember, until the server stops.
pub async fn forget_greylisted(world: WorldRef, mail: Arc<Mail>, stop: Stop) {
    loop {
        if let Err(error) = mail.forget_greylisted(world.unix_now()).await {
            tracing::warn!(%error, "what greylisting remembers cannot be read");
        }
        let mut next = world.sleep_until(world.now() + GREYLIST_PERIOD).fuse();
        let mut stopped = std::pin::pin!(stop.wait().fuse());
        select_biased! {
            () = stopped => return,
            () = next => {}
        }
    }
}

/// How often greylisting forgets.
const GREYLIST_PERIOD: Duration = Duration::from_secs(3_600);

/// How far ahead the spool is due at the start: far above the minute that a session has to deliver what it spooled.
const AT_START: Duration = Duration::from_secs(3600);
/// How often the spool is looked through.
const SPOOL_PERIOD: Duration = Duration::from_secs(60);

/// One session with all that belongs to it.
struct Driver<'a> {
    smtp: &'a Smtp,
    id: String,
    connection: Box<dyn Connection>,
    session: Session,
    rng: ringpost_base::Rng,
    /// Who signed in.
    account: Option<Arc<AccountInfo>>,
    /// From before the proof of that.
    login_mark: u64,
    /// Whose the transaction's recipients are, as far as they are here.
    recipients: Vec<Recipient>,
    /// Those of them who are on other servers.
    elsewhere: Vec<Away>,
    /// Which of them each RCPT named; for LMTP alone.
    parts: Vec<Part>,
    /// The account of the transaction's sender, if it is here.
    sender_account: Option<ringpost_store::AccountId>,
    /// Whether there is a way to tell the sender anything.
    sender_is_told: bool,
    taking: Option<Taking>,
    /// The block list that refuses the client, once that was asked.
    refusing_list: Option<Option<String>>,
    /// Whether the transaction's sender is proven, once that was asked.
    is_proven: Option<bool>,
    failed_logins: u32,
    stopping: bool,
}

/// What a session waited for.
enum Happened {
    Received(Received),
    Timeout,
    Stop,
}

impl Driver<'_> {
    async fn run(&mut self) -> Result<(), ConnectionClosed> {
        while let Some(deadline) = self.drain().await? {
            let happened = self.wait(deadline).await;
            let now = self.smtp.world.now();
            match happened {
                Happened::Received(Received::Data(bytes)) => {
                    if let Some(account) = &self.account
                        && !self.smtp.directory.login_stands(account.id, self.login_mark)
                    {
                        self.session.shut_down(now, Ending::LoggedOut);
                    }
                    self.session.handle_input(now, bytes);
                }
                // What was under way was never promised: it is dropped with the driver.
                Happened::Received(Received::Closed) => return Ok(()),
                Happened::Timeout => self.session.handle_timeout(now),
                Happened::Stop => {
                    self.stopping = true;
                    self.session.shut_down(now, Ending::Stop);
                }
            }
        }
        Ok(())
    }

    /// Carries out what the session wants until there is nothing more, and gives the time by which it wants to be woken;
    /// `None` when it is over.
    async fn drain(&mut self) -> Result<Option<Option<Instant>>, ConnectionClosed> {
        loop {
            match self.session.poll_output() {
                Output::Transmit(bytes) => self.connection.send(bytes).await?,
                Output::Timeout(deadline) => return Ok(Some(deadline)),
                Output::Event(Event::Question { id, question }) => {
                    // Boxed, so that a session that only waits does not carry the room for every answer.
                    let answer = Box::pin(self.answer(question)).await;
                    self.session.handle_answer(self.smtp.world.now(), id, answer);
                }
                Output::Event(Event::Body(chunk)) => {
                    if let Some(taking) = &mut self.taking {
                        taking.keep(chunk).await;
                    }
                }
                Output::Event(Event::Abort) => self.taking = None,
                Output::Event(Event::StartTls) => {
                    self.connection.start_tls().await?;
                    self.session.handle_bindings(self.connection.bindings());
                    self.session.handle_tls_started(self.smtp.world.now());
                }
                Output::Event(Event::Close) => return Ok(None),
            }
        }
    }

    async fn wait(&mut self, deadline: Option<Instant>) -> Happened {
        let smtp = self.smtp;
        let mut timeout = match deadline {
            Some(at) => smtp.world.sleep_until(at),
            None => Box::pin(future::pending()),
        }
        .fuse();
        let stopping = self.stopping;
        let stop = async {
            match stopping {
                true => future::pending().await,
                false => smtp.stop.wait().await,
            }
        };
        let mut stop = std::pin::pin!(stop.fuse());
        let listens = self.session.wants_input();
        let connection = &mut self.connection;
        let received = async {
            match listens {
                true => connection.recv().await,
                false => future::pending().await,
            }
        };
        let mut received = std::pin::pin!(received.fuse());
        // In this order, so that nothing a client does keeps a deadline from being seen.
        select_biased! {
            () = stop => Happened::Stop,
            () = timeout => Happened::Timeout,
            bytes = received => Happened::Received(bytes),
        }
    }
}
