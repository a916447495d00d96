//! The listeners of the mail protocols.

use super::senders::Senders;
use super::sockets::Sockets;
use crate::config::{Config, Network, Service};
use crate::stores::Stores;
use crate::world::{NetConnection, RealWorld};
use anyhow::Result;
use futures_util::future::BoxFuture;
use ringpost_auth::sasl::DecoyKey;
use ringpost_base::in_network;
use ringpost_mail::{Mail, SenderAuth};
use ringpost_net::stream::{self, Places};
use ringpost_net::tls::Tls;
use ringpost_node::Stop;
use ringpost_node::imap::{Compressing, Imap};
use ringpost_node::outbound::Sending;
use ringpost_node::peers::{PeerLimits, Peers};
use ringpost_node::pop3::{Pop3, Pop3Counters};
use ringpost_node::smtp::{Policy, Smtp, deliver_due, forget_greylisted};
use ringpost_node::world::{Connection, World};
use ringpost_smtp::{Bounds, Role};
use ringpost_store::Sweeper;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::net::{TcpListener, UnixListener};

/// How often bodies that no message names any more are looked for.
const SWEEP_PERIOD: Duration = Duration::from_secs(3_600);
/// How soon it is swept again when it could not be: where the disk is full, sweeping may be what makes room.
const SWEEP_AGAIN: Duration = Duration::from_secs(60);

/// How long the next sweep waits: an hour, and after one that failed a minute, two, four and so on.
fn pause_behind(is_swept: bool, last: Duration) -> Duration {
    match is_swept {
        true => SWEEP_PERIOD,
        false if last >= SWEEP_PERIOD => SWEEP_AGAIN,
        // An hour is a pause behind one that succeeded.
        false => (last * 2).min(SWEEP_PERIOD / 2),
    }
}

/// What a connection is told that finds no place.
//= https://www.rfc-editor.org/rfc/rfc5321#section-3.1
const SMTP_FULL: &str = "421 4.7.0 Too many connections, try again later\r\n";
//= https://www.rfc-editor.org/rfc/rfc3501#section-7.1.5
const IMAP_FULL: &str = "* BYE [UNAVAILABLE] Too many connections, try again later\r\n";
//= https://www.rfc-editor.org/rfc/rfc3206#section-4
const POP3_FULL: &str = "-ERR [SYS/TEMP] Too many connections, try again later\r\n";

/// What every listener of mail shares.
pub(crate) struct MailListeners<'a> {
    pub(crate) limits: Arc<MailLimits>,
    /// Who looks at the senders of strangers' messages.
    pub(crate) senders: Arc<Senders>,
    /// That those who signed in may send to other servers, if they may.
    pub(crate) sending: Option<Arc<Sending>>,
    pub(crate) places: Arc<Places>,
    pub(crate) world: Arc<RealWorld>,
    pub(crate) stores: &'a Stores,
    pub(crate) mail: Arc<Mail>,
    pub(crate) tls: Tls,
    pub(crate) stop: Stop,
    /// What SCRAM makes up for users that do not exist: one for all listeners, so that two ports tell nothing together.
    pub(crate) decoy: DecoyKey,
    pub(crate) pop3_counters: Arc<Pop3Counters>,
}

/// What holds for mail, as the configuration says now: a session goes by what held when it began.
pub(crate) struct MailLimits {
    /// Sessions of IMAP that compress, of all listeners together.
    compressing: Compressing,
    message_bytes: AtomicU64,
    recipients: AtomicUsize,
    bounds: RwLock<Bounds>,
    peers: Arc<Peers>,
    plain_logins: RwLock<Vec<Network>>,
    literal_plus: AtomicBool,
    /// Whose quotas these are.
    mail: Arc<Mail>,
    detail_folders: AtomicBool,
    /// Seconds; 0 when nobody is greylisted.
    greylist_s: AtomicU32,
}

impl MailLimits {
    pub(crate) fn new(config: &Config, mail: Arc<Mail>) -> Self {
        let limits = MailLimits {
            compressing: Compressing::default(),
            message_bytes: AtomicU64::new(config.limits.message_bytes),
            recipients: AtomicUsize::new(config.limits.message_recipients),
            bounds: RwLock::default(),
            peers: Arc::default(),
            plain_logins: RwLock::default(),
            literal_plus: AtomicBool::new(config.mail.imap_literal_plus),
            detail_folders: AtomicBool::default(),
            greylist_s: AtomicU32::default(),
            mail,
        };
        limits.set(config);
        limits
    }

    pub(crate) fn set(&self, config: &Config) {
        self.message_bytes
            .store(config.limits.message_bytes, Ordering::Relaxed);
        self.recipients
            .store(config.limits.message_recipients, Ordering::Relaxed);
        *self.bounds.write().unwrap_or_else(PoisonError::into_inner) = Bounds {
            messages: config.limits.connection_messages,
            recipients: config.limits.connection_recipients,
            errors: config.limits.connection_errors,
        };
        self.peers.set_limits(PeerLimits {
            exempt: config.exempt_networks(),
            messages_per_hour: config.limits.messages_per_hour,
            failed_logins_per_hour: config.limits.failed_logins_per_hour,
        });
        self.literal_plus
            .store(config.mail.imap_literal_plus, Ordering::Relaxed);
        self.mail.set_default_quota(config.mail.quota());
        *self.plain_logins.write().unwrap_or_else(PoisonError::into_inner) =
            config.plain_login_networks.clone();
        self.detail_folders
            .store(config.mail.detail_folders, Ordering::Relaxed);
        let greylist_s = match config.incoming.greylist {
            true => config.incoming.greylist_delay_s.max(1),
            false => 0,
        };
        self.greylist_s.store(greylist_s, Ordering::Relaxed);
    }

    /// What peers have done of late.
    pub(crate) fn peers(&self) -> Arc<Peers> {
        self.peers.clone()
    }

    fn bounds(&self) -> Bounds {
        *self.bounds.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn message_bytes(&self) -> u64 {
        self.message_bytes.load(Ordering::Relaxed)
    }

    fn policy(&self) -> Policy {
        Policy {
            detail_folders: self.detail_folders.load(Ordering::Relaxed),
            greylist: match self.greylist_s.load(Ordering::Relaxed) {
                0 => None,
                delay_s => Some(Duration::from_secs(delay_s.into())),
            },
        }
    }

    fn recipients(&self) -> usize {
        self.recipients.load(Ordering::Relaxed)
    }

    /// Whether passwords are taken from there without TLS.
    fn plain_login(&self, connection: &NetConnection) -> bool {
        let from = connection.endpoints().remote.ip();
        let networks = self.plain_logins.read().unwrap_or_else(PoisonError::into_inner);
        networks
            .iter()
            .map(|network| network.parts())
            .any(|(network, bits)| in_network(from, network, bits))
    }
}

impl MailListeners<'_> {
    /// Serves each listener in a task of its own, until the server stops.
    pub(crate) fn serve(&self, sockets: &mut Sockets) -> Result<()> {
        let mut take = |service| {
            let listeners = sockets.take(service).into_iter();
            listeners
                .map(TcpListener::from_std)
                .collect::<Result<Vec<_>, _>>()
        };
        for (service, role) in [
            (Service::Smtp, Role::Mx),
            (Service::Submission, Role::Submission),
            (Service::Submissions, Role::Submissions),
            (Service::Lmtp, Role::Lmtp),
        ] {
            take(service)?
                .into_iter()
                .for_each(|listener| self.serve_smtp(listener, role));
        }
        for (service, is_tls) in [(Service::Imap, false), (Service::Imaps, true)] {
            take(service)?
                .into_iter()
                .for_each(|listener| self.serve_imap(listener, is_tls));
        }
        for (service, is_tls) in [(Service::Pop3, false), (Service::Pop3s, true)] {
            take(service)?
                .into_iter()
                .for_each(|listener| self.serve_pop3(listener, is_tls));
        }
        if let Some(listener) = sockets.lmtp.take() {
            self.serve_local(UnixListener::from_std(listener)?);
        }
        tokio::spawn(deliver_due(
            self.world.clone(),
            self.mail.clone(),
            self.stop.clone(),
        ));
        tokio::spawn(forget_greylisted(
            self.world.clone(),
            self.mail.clone(),
            self.stop.clone(),
        ));
        self.sweep();
        Ok(())
    }

    fn serve_smtp(&self, listener: TcpListener, role: Role) {
        let sessions = self.smtp_sessions(role);
        self.serve_streams(listener, role == Role::Submissions, SMTP_FULL, sessions);
    }

    /// Serves LMTP on a socket of this machine.
    fn serve_local(&self, listener: UnixListener) {
        let sessions = self.smtp_sessions(Role::Lmtp);
        let handle = move |stream| sessions(NetConnection::new(stream));
        let serving = stream::serve_local(listener, self.places.clone(), self.tls.clone(), handle);
        let stop = self.stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = serving => {}
                () = stop.wait() => {}
            }
        });
    }

    /// What a connection of a role is served by.
    fn smtp_sessions(
        &self,
        role: Role,
    ) -> impl Fn(NetConnection) -> BoxFuture<'static, ()> + Clone + Send + 'static {
        let config = ringpost_smtp::Config {
            decoy: self.decoy.clone(),
            ..ringpost_smtp::Config::new(self.stores.directory.default_domain(), role)
        };
        let limits = self.limits.clone();
        let smtp = Smtp {
            world: self.world.clone(),
            directory: self.stores.directory.clone(),
            mail: self.mail.clone(),
            sender_auth: (role == Role::Mx).then(|| self.senders.clone() as Arc<dyn SenderAuth>),
            sending: self.sending.clone(),
            peers: limits.peers(),
            config: Arc::new(config),
            policy: Policy::default(),
            stop: self.stop.clone(),
        };
        move |connection| {
            let mut smtp = smtp.clone();
            let config = Arc::make_mut(&mut smtp.config);
            config.max_message_bytes = limits.message_bytes();
            config.max_recipients = limits.recipients();
            if role != Role::Lmtp {
                config.bounds = limits.bounds();
            }
            config.plaintext_auth = limits.plain_login(&connection);
            smtp.policy = limits.policy();
            Box::pin(async move { smtp.serve(Box::new(connection)).await })
        }
    }

    fn serve_imap(&self, listener: TcpListener, implicit: bool) {
        let config = ringpost_imap::Config {
            server_name: self.stores.directory.default_domain().to_owned(),
            scram_decoy: Some(self.decoy.clone()),
            ..ringpost_imap::Config::default()
        };
        let limits = self.limits.clone();
        let imap = Imap {
            world: self.world.clone(),
            directory: self.stores.directory.clone(),
            mail: self.mail.clone(),
            bus: self.stores.bus.clone(),
            config: Arc::new(config),
            compressing: self.limits.compressing.clone(),
            peers: limits.peers(),
            stop: self.stop.clone(),
        };
        self.serve_streams(listener, implicit, IMAP_FULL, move |connection| {
            let mut imap = imap.clone();
            let config = Arc::make_mut(&mut imap.config);
            config.message_bytes = limits.message_bytes();
            config.literal_plus = limits.literal_plus.load(Ordering::Relaxed);
            config.allow_plaintext = limits.plain_login(&connection);
            async move { imap.serve(Box::new(connection), true).await }
        });
    }

    fn serve_pop3(&self, listener: TcpListener, implicit: bool) {
        let config = ringpost_pop3::Config {
            server_name: self.stores.directory.default_domain().to_owned(),
            scram_decoy: Some(self.decoy.clone()),
            ..ringpost_pop3::Config::default()
        };
        let pop3 = |allow_plaintext| {
            Arc::new(Pop3 {
                world: self.world.clone(),
                directory: self.stores.directory.clone(),
                mail: self.mail.clone(),
                config: Arc::new(ringpost_pop3::Config {
                    allow_plaintext,
                    ..config.clone()
                }),
                counters: self.pop3_counters.clone(),
                peers: self.limits.peers(),
                stop: self.stop.clone(),
            })
        };
        let (under_tls, anywhere) = (pop3(false), pop3(true));
        let limits = self.limits.clone();
        self.serve_streams(listener, implicit, POP3_FULL, move |connection| {
            let pop3 = match limits.plain_login(&connection) {
                true => anywhere.clone(),
                false => under_tls.clone(),
            };
            async move { pop3.serve(Box::new(connection), true).await }
        });
    }

    fn serve_streams<F, Fut>(&self, listener: TcpListener, implicit: bool, full: &'static str, handle: F)
    where
        F: Fn(NetConnection) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let handle = move |stream| handle(NetConnection::new(stream));
        let service = stream::Service {
            listener,
            places: self.places.clone(),
            tls: self.tls.clone(),
            implicit,
            full,
        };
        let serving = stream::serve(service, handle);
        let stop = self.stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = serving => {}
                () = stop.wait() => {}
            }
        });
    }

    fn sweep(&self) {
        let (store, blobs) = (self.stores.store.clone(), self.stores.blobs.clone());
        let sweeper = Sweeper::new(store, blobs, Sweeper::GRACE);
        let (world, stop) = (self.world.clone(), self.stop.clone());
        tokio::spawn(async move {
            let mut pause = SWEEP_PERIOD;
            loop {
                let swept = sweeper.sweep(world.unix_now()).await;
                pause = pause_behind(swept.is_ok(), pause);
                match swept {
                    Ok(swept) => {
                        for trouble in &swept.told {
                            tracing::warn!(trouble, "the store is damaged there, and not swept");
                        }
                        tracing::info!(?swept, "store swept");
                    }
                    Err(error) => tracing::warn!(%error, ?pause, "the store cannot be swept"),
                }
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = stop.wait() => return,
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_that_failed_comes_again_soon_and_then_less_often() {
        let mut pause = SWEEP_PERIOD;
        let minutes = [false, false, false, false, false, false, false, true, false].map(|is_swept| {
            pause = pause_behind(is_swept, pause);
            pause.as_secs() / 60
        });
        assert_eq!(minutes, [1, 2, 4, 8, 16, 30, 30, 60, 1]);
    }
}
