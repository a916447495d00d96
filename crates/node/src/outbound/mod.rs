//! Mail to other servers: what waits in the queue is carried to where the DNS, or a smart host, takes it.
//!
//! [`Outbound::run`] takes what is due and gives each destination's messages to a task of their own: at most so many tasks
//! in all, and so many for one destination. A task finds the servers, speaks to the first that answers, hands over its
//! messages one after the other, and writes down after each what became of it.

mod limit;
mod prepare;
mod route;
mod secure;
mod session;
#[cfg(test)]
mod tests;

pub use limit::Sending;
pub(crate) use limit::Sent;
pub use secure::Unavailable;

use crate::stop::Stop;
use crate::world::{Dialer, Dns, Policies, Proof, WorldRef};
use futures_util::{FutureExt, select_biased};
use ringpost_base::{in_network, is_public_address};
use ringpost_directory::{Directory, DirectoryError, Here};
use ringpost_mail::{Elsewhere, Mail, MailError, Notice, QueuedMessage, Schedule, Work};
use ringpost_smtp::client::{Credentials, Fate, Timeouts, Verdict};
use ringpost_smtp::{Domain, Mailbox};
use ringpost_store::records::Queued;
use route::Host;
use session::{Ended, Session};
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The worker never sleeps longer: the calendar may be set.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);
/// How long a queue that cannot be read, or work that cannot be written down, is left alone.
const AFTER_FAILURE: Duration = Duration::from_secs(30);
/// How often what other domains said is looked through for what holds no longer.
const TIDY_EVERY: Duration = Duration::from_secs(3_600);
/// How long a connection may take to open, for each address.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// What the operator decides about mail to other servers.
#[derive(Clone, Debug)]
pub struct Config {
    /// Our name, for EHLO and notices.
    pub hostname: String,
    /// Where all mail goes; the DNS says where otherwise.
    pub smart_host: Option<SmartHost>,
    /// How long messages are tried.
    pub schedule: Schedule,
    /// Networks that are not public and that mail may go to all the same.
    pub networks: Vec<(IpAddr, u8)>,
    /// Connections at a time.
    pub connections: usize,
    /// Connections at a time to one destination.
    pub per_destination: usize,
    /// Whether domains' MTA-STS policies are heeded.
    pub mta_sts: bool,
    /// How long servers may take.
    pub timeouts: Timeouts,
}

impl Config {
    /// The usual settings, with this name.
    pub fn new(hostname: &str) -> Self {
        Config {
            hostname: hostname.to_owned(),
            smart_host: None,
            schedule: Schedule::default(),
            networks: Vec::new(),
            connections: 100,
            per_destination: 4,
            mta_sts: true,
            timeouts: Timeouts::default(),
        }
    }

    /// Whether mail may be carried to `address`: a domain's DNS must not lead into our own network.
    fn may_reach(&self, address: IpAddr) -> bool {
        let is_allowed = |(network, prefix): &(IpAddr, u8)| in_network(address, *network, *prefix);
        is_public_address(address) || self.networks.iter().any(is_allowed)
    }
}

/// How TLS begins with a smart host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmartHostTls {
    /// Not at all: for one on this machine.
    None,
    /// With STARTTLS, which is required; the certificate is verified.
    StartTls,
    /// With the first byte (RFC 8314 §3.3); the certificate is verified.
    Implicit,
}

/// A server that carries all our mail on.
#[derive(Clone, Debug)]
pub struct SmartHost {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How TLS begins.
    pub tls: SmartHostTls,
    /// Who we are to it; told under TLS only.
    pub credentials: Option<Credentials>,
}

/// What was done since the start, in recipients.
#[derive(Debug, Default)]
pub struct OutboundCounters {
    sent: AtomicU64,
    deferred: AtomicU64,
    bounced: AtomicU64,
}

impl OutboundCounters {
    /// Other servers have taken it.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// An attempt that was not the last.
    pub fn deferred(&self) -> u64 {
        self.deferred.load(Ordering::Relaxed)
    }

    /// Refused, or given up.
    pub fn bounced(&self) -> u64 {
        self.bounced.load(Ordering::Relaxed)
    }
}

/// Carries mail to other servers.
#[derive(Clone)]
pub struct Outbound {
    /// Clocks, tasks and randomness.
    pub world: WorldRef,
    /// Whose senders are.
    pub directory: Directory,
    /// Whose queue it is.
    pub mail: Arc<Mail>,
    /// Where destinations are.
    pub dns: Arc<dyn Dns>,
    /// How they are reached.
    pub dialer: Arc<dyn Dialer>,
    /// Who fetches what they publish.
    pub policies: Arc<dyn Policies>,
    /// What of that could not be had.
    pub unavailable: Arc<Unavailable>,
    /// What holds for all of it.
    pub config: Arc<Config>,
    /// What was done.
    pub counters: Arc<OutboundCounters>,
    /// Ends it.
    pub stop: Stop,
}

impl Outbound {
    /// Works until the server stops. One task of this for the whole node. What is under way by then is taken up at the
    /// next start.
    pub async fn run(self) {
        let per_destination = self.config.per_destination;
        let mut stopped = std::pin::pin!(self.stop.wait().fuse());
        loop {
            let single = self.config.smart_host.is_some();
            match self.mail.load_queue(single, self.world.unix_now()).await {
                Ok(()) => break,
                Err(e) => tracing::error!(error = %e, "the queue cannot be read"),
            }
            let mut later = self.world.sleep_until(self.world.now() + AFTER_FAILURE).fuse();
            select_biased! {
                () = stopped => return,
                () = later => {}
            }
        }
        let (ended, ends) = async_channel::bounded(self.config.connections.max(1));
        let mut running = 0;
        let mut tidied = None;
        loop {
            let now = self.world.unix_now();
            if tidied.is_none_or(|at| now.since(at) >= TIDY_EVERY || now < at) {
                tidied = Some(now);
                if let Err(error) = self.mail.forget_sts_policies(now).await {
                    tracing::warn!(%error, "old MTA-STS policies cannot be forgotten");
                }
            }
            while running < self.config.connections
                && let Some(work) = self.mail.next_work(now, per_destination)
            {
                running += 1;
                let (task, ended) = (self.clone(), ended.clone());
                self.world.spawn(Box::pin(async move {
                    task.work(work).await;
                    // There is room for each; who listened has ended otherwise.
                    let _gone = ended.send(()).await;
                }));
            }
            let next = self.mail.next_work_at(per_destination);
            let sleep = next.map_or(LONGEST_SLEEP, |at| at.since(now).min(LONGEST_SLEEP));
            let mut timer = match running < self.config.connections {
                true => self.world.sleep_until(self.world.now() + sleep),
                false => Box::pin(futures_util::future::pending()),
            }
            .fuse();
            let mut changed = std::pin::pin!(self.mail.queue_changed().fuse());
            let mut end = std::pin::pin!(ends.recv().fuse());
            select_biased! {
                () = stopped => return,
                _ = end => running -= 1,
                () = changed => {}
                () = timer => {}
            }
        }
    }

    fn is_stopping(&self) -> bool {
        self.stop.wait().now_or_never().is_some()
    }

    /// Carries out some work, whatever comes of it.
    async fn work(&self, work: Work) {
        let Work { line, ids } = work;
        let mut ids = VecDeque::from(ids);
        let outcome = self.carry(&line, &mut ids).await;
        let reached = match outcome {
            Ok(()) => true,
            // Whoever else is due there hears the same, without another try.
            Err(Stuck::Verdict(verdict)) => {
                tracing::info!(destination = %line, %verdict, "no mail server could be used");
                let mut written = Ok(());
                while written.is_ok() && !ids.is_empty() {
                    written = self.conclude_all(&mut ids, &verdict).await;
                    if ids.is_empty() && written.is_ok() {
                        ids.extend(self.mail.more_work(&line, self.world.unix_now()));
                    }
                }
                if let Err(e) = written {
                    tracing::error!(destination = %line, error = %e, "the queue cannot be written to");
                }
                verdict.fate != Fate::Deferred
            }
            Err(Stuck::Store(e)) => {
                tracing::error!(destination = %line, error = %e, "the queue cannot be written to");
                false
            }
        };
        self.mail.give_back(ids.make_contiguous());
        self.mail.finish_work(&line, reached, self.world.unix_now());
    }

    /// Hands over as many messages as the first server that can be used takes; the rest stay in `ids`.
    async fn carry(&self, line: &str, ids: &mut VecDeque<u64>) -> Result<(), Stuck> {
        let first = loop {
            let Some(id) = ids.pop_front() else {
                return Ok(());
            };
            if let Some(message) = self.begin(id).await? {
                break message;
            }
        };
        let mut first = Some(first);
        let destination = first
            .as_ref()
            .map(|m| m.record().destination.clone())
            .unwrap_or_default();
        let stuck = self.try_hosts(line, &destination, &mut first, ids).await;
        // Nobody has spoken to a server about it.
        if let Some(message) = first {
            let id = message.record().id;
            if let Err(Stuck::Verdict(verdict)) = &stuck {
                let verdicts = vec![verdict.clone(); message.waiting().count()];
                self.conclude(message, &verdicts).await?;
            } else {
                self.mail.release(message);
                tracing::debug!(queued = format_args!("{id:016x}"), "left for later");
            }
        }
        stuck
    }

    async fn try_hosts(
        &self,
        line: &str,
        destination: &str,
        first: &mut Option<QueuedMessage>,
        ids: &mut VecDeque<u64>,
    ) -> Result<(), Stuck> {
        let mut last: Option<Verdict> = None;
        // While one server may do better later, it does not count that another never will.
        let mut failed_with = |verdict: Verdict| {
            if verdict.fate == Fate::Deferred || last.as_ref().is_none_or(|last| last.fate == Fate::Failed) {
                last = Some(verdict);
            }
        };
        let mut route = self.route(destination).await?;
        let policy = match route.is_found {
            true => self.policy(destination).await,
            false => None,
        };
        for mut host in std::mem::take(&mut route.hosts) {
            if let Err(verdict) = self.secure(&mut host, &route, policy.as_ref()).await {
                failed_with(verdict);
                continue;
            }
            let addresses = match self.addresses(&host).await {
                Ok(addresses) => addresses,
                Err(verdict) => {
                    failed_with(verdict);
                    continue;
                }
            };
            for address in addresses {
                // Where TLS is only an offer, a server with which it fails is spoken to without.
                for without_tls in [false, true] {
                    let session = Session::new(self, &host, address, without_tls, line);
                    match session.run(first, ids).await? {
                        Ended::Used => return Ok(()),
                        Ended::Useless { why, tls_failed } => {
                            tracing::debug!(host = %host.name, %address, %why, "a mail server cannot be used");
                            failed_with(why);
                            if !tls_failed || host.requires_tls() {
                                break;
                            }
                        }
                    }
                }
                if self.is_stopping() {
                    return Ok(());
                }
            }
        }
        let nobody = || Verdict::deferred("4.4.1", "no mail server answered");
        Err(Stuck::Verdict(last.unwrap_or_else(nobody)))
    }

    /// Takes a message up: what its sender is owed from an earlier attempt is told first. `None` when nothing is left.
    async fn begin(&self, id: u64) -> Result<Option<QueuedMessage>, MailError> {
        let leased = match self.mail.lease(id, self.world.unix_now()).await {
            Ok(Some(message)) => message,
            Ok(None) => return Ok(None),
            Err(e) => {
                self.mail.give_back(&[id]);
                return Err(e);
            }
        };
        if !leased.owes_notice() {
            return Ok(Some(leased));
        }
        self.tell(leased).await?;
        Ok(None)
    }

    /// Writes down what became of a message, tells its sender, and lets it go.
    async fn conclude(&self, mut message: QueuedMessage, verdicts: &[Verdict]) -> Result<(), MailError> {
        let now = self.world.unix_now();
        let before: Vec<String> = message.waiting().map(|r| r.address.clone()).collect();
        let written = self
            .mail
            .conclude(&mut message, verdicts, &self.config.schedule, now)
            .await;
        if let Err(e) = written {
            self.mail.release(message);
            return Err(e);
        }
        for (address, verdict) in before.iter().zip(verdicts) {
            let (counter, outcome) = match verdict.fate {
                Fate::Delivered => (&self.counters.sent, "message sent"),
                Fate::Failed => (&self.counters.bounced, "message refused"),
                Fate::Deferred if message.waiting().any(|r| r.address == *address) => {
                    (&self.counters.deferred, "message deferred")
                }
                Fate::Deferred => (&self.counters.bounced, "message given up"),
            };
            counter.fetch_add(1, Ordering::Relaxed);
            let record = message.record();
            tracing::info!(queued = format_args!("{:016x}", record.id), from = %record.sender, to = %address, %verdict, "{outcome}");
        }
        match message.owes_notice() {
            true => self.tell(message).await,
            false => {
                self.mail.release(message);
                Ok(())
            }
        }
    }

    /// Tells the sender what it is owed, and lets the message go.
    async fn tell(&self, mut message: QueuedMessage) -> Result<(), MailError> {
        let told = match self.whom(message.record()).await {
            Ok(whom) => {
                let Config {
                    hostname, schedule, ..
                } = &*self.config;
                let now = self.world.unix_now();
                self.mail
                    .tell_sender(&mut message, whom, hostname, schedule, now)
                    .await
            }
            Err(e) => Err(MailError::Store(e.to_string())),
        };
        self.mail.release(message);
        told
    }

    /// Who is told of a message: the account whose address the sender is, or who sent what was forwarded.
    async fn whom(&self, record: &Queued) -> Result<Notice, DirectoryError> {
        let Ok(Mailbox { local, domain }) = Mailbox::parse(&record.sender) else {
            return Ok(Notice::Nobody);
        };
        let Some(name) = domain.name().filter(|name| self.directory.is_local(name)) else {
            return Ok(Notice::Nobody);
        };
        if let Some(back) = self.directory.forwarded_sender(&local, self.world.unix_now()) {
            let there = back.and_then(|(local, domain)| {
                let domain = Domain::parse(&domain).ok()?;
                let destination = domain.to_string();
                Some(Elsewhere::new(Mailbox { local, domain }.to_string(), destination))
            });
            return Ok(there.map_or(Notice::Nobody, Notice::There));
        }
        let mut here = match self.directory.reach(name, &local).await? {
            Some(reach) => reach.here,
            None => Vec::new(),
        };
        if here.is_empty() {
            // A forward without a copy hides nobody.
            here.extend(self.directory.account(name, &local).await?.map(|account| Here {
                account,
                detail: None,
            }));
        }
        let ids = here.iter().map(|here| here.account.id);
        let submitter = ids.clone().find(|id| record.submitter == Some(*id));
        Ok(submitter
            .or(ids.clone().next())
            .map_or(Notice::Nobody, Notice::Here))
    }

    /// The same verdict for each.
    async fn conclude_all(&self, ids: &mut VecDeque<u64>, verdict: &Verdict) -> Result<(), MailError> {
        while let Some(id) = ids.pop_front() {
            if let Some(message) = self.begin(id).await? {
                let verdicts = vec![verdict.clone(); message.waiting().count()];
                self.conclude(message, &verdicts).await?;
            }
        }
        Ok(())
    }
}

/// Why some work goes no further.
#[derive(Debug)]
enum Stuck {
    /// The destination cannot be spoken to: the same holds for all of its messages.
    Verdict(Verdict),
    /// We cannot write down what we do.
    Store(MailError),
}

impl From<MailError> for Stuck {
    fn from(e: MailError) -> Self {
        Stuck::Store(e)
    }
}

impl From<Verdict> for Stuck {
    fn from(verdict: Verdict) -> Self {
        Stuck::Verdict(verdict)
    }
}

impl Host {
    fn requires_tls(&self) -> bool {
        match &self.smart {
            Some(smart) => smart.tls != SmartHostTls::None,
            None => self.asked_by.is_some(),
        }
    }

    fn proof(&self) -> Proof {
        match &self.smart {
            Some(smart) if smart.tls != SmartHostTls::None => Proof::Name,
            _ => self.proof.clone(),
        }
    }
}
