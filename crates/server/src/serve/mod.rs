//! A running server: the node joined to real sockets, the real clock and the embedded store.

pub(crate) mod acme;
pub(crate) mod files;
mod mail;
mod outbound;
mod prepared;
mod reload;
mod senders;
mod signalling;
mod sockets;
mod streams;

use crate::config::{Config, Digest, Service};
use crate::control::{LocalControl, StreamDesk};
use crate::data_folder;
use crate::signals::{Asked, Signals};
use crate::stores::Stores;
use crate::world::{RealWorld, random};
use acme::{Asked as AskedForCertificates, Asking};
use anyhow::{Context, Result};
use mail::{MailLimits, MailListeners};
use outbound::{Carried, Carrier};
use prepared::Prepared;
use ringpost_admin::Metrics;
use ringpost_auth::digest::Algorithm;
use ringpost_directory::Directory;
use ringpost_net::dns::Resolver;
use ringpost_net::media::MediaThread;
use ringpost_net::stream::{ConnectionLimits, Places};
use ringpost_net::tls::{Authorities, Tls};
use ringpost_node::peers::Peers;
use ringpost_node::phone::PhoneControl;
use ringpost_node::pop3::Pop3Counters;
use ringpost_node::voicemail::MailVoicemail;
use ringpost_node::world::World;
use ringpost_node::{Stop, Stopper};
use ringpost_sip::Transport;
use ringpost_store::{BindingsJournal, Bus};
use senders::Senders;
use signalling::{Signalling, SignallingThread};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use streams::{StreamParts, Streaming};
use tracing::{info, warn};

/// Media events that wait for the phone service.
const MEDIA_EVENTS: usize = 4_096;
/// How long a stopping server waits for its calls to end politely.
const FAREWELL: Duration = Duration::from_secs(5);
/// How long it waits for what sessions of mail have under way: whoever has sent a message whole hears what became of it.
const LAST_ANSWERS: Duration = Duration::from_secs(10);
/// How long it waits in all to hear whether other servers have taken the messages that were sent to them whole, when all
/// else has ended: of what it does not hear, it sends a message twice. They may take ten minutes, and seldom take as many
/// seconds; whoever runs the server kills it after 90, mostly. The unit that we print for it allows for this.
//= https://www.rfc-editor.org/rfc/rfc5321#section-4.5.3.2.6
const LAST_DOTS: Duration = Duration::from_secs(60);

/// What a server keeps while it runs.
pub(crate) struct Server {
    /// What it was started with: some of that holds until its end.
    started: Config,
    /// What holds now.
    config: Arc<Mutex<Config>>,
    addresses: Vec<(Service, SocketAddr)>,
    tls: Tls,
    /// How many files the process may open.
    files: usize,
    places: Arc<Places>,
    mail_limits: Arc<MailLimits>,
    senders: Arc<Senders>,
    voicemail: MailVoicemail,
    authorities: Authorities,
    resolver: Arc<Resolver>,
    directory: Directory,
    control: Arc<LocalControl>,
    signalling: SignallingThread,
    media: MediaThread,
    streaming: Streaming,
    stores: Stores,
    pop3_counters: Arc<Pop3Counters>,
    carried: Carried,
    /// Who has certificates by ACME, if it was started so.
    asked: Option<AskedForCertificates>,
    /// Tells every session and task that the server stops.
    stopper: Stopper,
    stopped: Stop,
}

impl Server {
    /// Starts everything that the configuration names. The errors are one line that names the key and the mend.
    pub(crate) async fn start(config: Config) -> Result<Server> {
        let Prepared {
            folder,
            mut sockets,
            files,
            tls,
            authorities,
            anchors,
            greeting,
            credentials,
            authority,
            notices,
        } = Prepared::new(&config)?;
        let resolver = Resolver::new(config.dns.servers.clone(), anchors);
        let world = Arc::new(RealWorld::new());

        let stores = Stores::open(folder, &config).await?;
        let (directory, bus) = (stores.directory.clone(), stores.bus.clone() as Arc<dyn Bus>);
        let mail = stores.mail();

        let (media_events_in, media_events) = async_channel::bounded(MEDIA_EVENTS);
        let ports = config.media.ports.first..=config.media.ports.last;
        let media = MediaThread::start(ports, world.unix_now(), random(), media_events_in)
            .context("media: the thread cannot be started")?;
        let addresses = sockets.addresses()?;

        let (stopper, stopped) = Stopper::new();
        let places = Places::new(connection_limits(&config, files));
        let pop3_counters = Arc::<Pop3Counters>::default();
        let mail_limits = Arc::new(MailLimits::new(&config, mail.clone()));
        let carrier = Carrier {
            config: &config,
            credentials,
            world: world.clone(),
            stores: &stores,
            mail: mail.clone(),
            resolver: resolver.clone(),
            authorities: authorities.clone(),
            stop: stopped.clone(),
        };
        let carried = carrier.start();
        let senders = Arc::new(Senders::new(
            resolver.clone(),
            directory.default_domain(),
            &config,
        ));
        let listeners = MailListeners {
            senders: senders.clone(),
            sending: carried.sending.clone(),
            limits: mail_limits.clone(),
            places: places.clone(),
            world: world.clone(),
            stores: &stores,
            mail: mail.clone(),
            tls: tls.clone(),
            stop: stopped.clone(),
            decoy: stores.directory.scram_decoy(),
            pop3_counters: pop3_counters.clone(),
        };
        listeners.serve(&mut sockets)?;
        let voicemail = MailVoicemail::new(mail.clone(), directory.clone(), world.clone(), greeting);
        let streaming = StreamParts {
            config: &config,
            listeners: sockets.take(Service::Rtsp),
            tls_listeners: sockets.take(Service::Rtsps),
            tls: tls.clone(),
            authorities: authorities.clone(),
            resolver: resolver.clone(),
            places: places.clone(),
            media: media.handle().clone(),
            world: world.clone(),
            directory: directory.clone(),
            bus: bus.clone(),
            mail: mail.clone(),
            folder: stores.path(),
            stop: stopped.clone(),
            current: stores.config.clone(),
            peers: mail_limits.peers(),
        }
        .start()?;
        let signalling = SignallingThread::start(Signalling {
            udp: std::mem::take(&mut sockets.sip_udp),
            tcp: sockets.take(Service::SipTcp),
            tls_listeners: sockets.take(Service::SipTls),
            tls: tls.clone(),
            authorities: authorities.clone(),
            resolver: resolver.clone(),
            places: places.clone(),
            config: phone_config(&config, &directory, &addresses),
            world: world.clone(),
            directory: directory.clone(),
            voicemail: Arc::new(voicemail.clone()),
            mounts: streaming.dialling.clone(),
            bus: bus.clone(),
            journal: BindingsJournal::new(stores.store.clone()),
            media: media.handle().clone(),
            media_events,
        })?;
        let asked = match authority {
            Some((settings, authorities)) => {
                let asking = Asking {
                    config: &stores.config,
                    settings,
                    authorities,
                    listeners: sockets.take(Service::Acme),
                    data: stores.path(),
                    tls: tls.clone(),
                    places: places.clone(),
                    resolver: resolver.clone(),
                    directory: directory.clone(),
                    stop: stopped.clone(),
                };
                Some(asking.start()?)
            }
            None => None,
        };
        let mut control = stores.control(mail);
        control.streams = Some(StreamDesk {
            thread: streaming.thread.handle().clone(),
            mounts: streaming.dialling.streams.clone(),
        });
        let keeper = asked.as_ref().map(|asked| asked.keeper.clone());
        control.certificate.serve(tls.clone(), keeper);
        let control = Arc::new(control);
        let server = Server {
            config: stores.config.clone(),
            started: config,
            addresses,
            tls,
            files,
            places,
            mail_limits,
            senders,
            voicemail,
            authorities,
            resolver,
            directory,
            control,
            signalling,
            media,
            streaming,
            stopper,
            stopped,
            stores,
            pop3_counters,
            carried,
            asked,
        };
        server.serve_operator(sockets.take(Service::Metrics))?;
        server.sign();
        server.follow_domains();
        for notice in &notices {
            warn!("{notice}");
        }
        for (service, address) in &server.addresses {
            info!(service = service.key(), %address, "listening");
        }
        if let Some(path) = &server.started.listen.lmtp_socket {
            info!(service = "lmtp", path = %path.display(), "listening");
        }
        Ok(server)
    }

    /// Where a service listens; its first address.
    pub(crate) fn address(&self, service: Service) -> Option<SocketAddr> {
        self.addresses
            .iter()
            .find(|(of, _)| *of == service)
            .map(|(_, address)| *address)
    }

    /// What the command line does, for those in the same process.
    pub(crate) fn control(&self) -> Arc<LocalControl> {
        self.control.clone()
    }

    /// The command line's socket, and the metrics.
    fn serve_operator(&self, listeners: Vec<TcpListener>) -> Result<()> {
        let socket = data_folder::socket(self.stores.path());
        let served = ringpost_admin::serve_control(&socket, self.control(), self.stopped())
            .map_err(|error| anyhow::anyhow!("data: {error}"))?;
        tokio::spawn(served);
        let metrics = Metrics::new();
        let media = self.media.handle().clone();
        metrics.watch_counter("media_received", "Datagrams of media received", {
            let media = media.clone();
            move || media.counters().received
        });
        metrics.watch_counter("media_sent", "Datagrams of media sent", move || {
            media.counters().sent
        });
        let pop3 = self.pop3_counters.clone();
        metrics.watch_counter("pop3_logins", "POP3 sessions that have logged in", {
            let pop3 = pop3.clone();
            move || pop3.sessions()
        });
        metrics.watch_counter("pop3_messages", "Messages sent whole by POP3", move || {
            pop3.messages()
        });
        self.carried.watch(&metrics);
        self.watch_limits(&metrics);
        self.streaming.watch(&metrics);
        let tls = self.tls.clone();
        let ends = move || {
            tls.certificate()
                .map_or(0.0, |shown| shown.not_after.as_secs() as f64)
        };
        metrics.watch_gauge(
            "certificate_expires_seconds",
            "When the certificate that is shown ends, in seconds since 1970",
            ends,
        );
        if let Some(asked) = &self.asked {
            asked.watch(&metrics);
        }
        self.watch_phone(&metrics);
        for listener in listeners {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            let served = ringpost_admin::serve_metrics(listener, metrics.clone(), self.stopped());
            tokio::spawn(served);
        }
        Ok(())
    }

    /// Shows what the limits have refused.
    fn watch_limits(&self, metrics: &Metrics) {
        let places = self.places.clone();
        let help = "Connections closed at once, since there were too many";
        metrics.watch_counter("connections_refused", help, move || places.refused());
        let peers = self.mail_limits.peers();
        type Count = fn(&Peers) -> u64;
        let counted: [(&str, &str, Count); 3] = [
            (
                "logins_failed",
                "Logins of mail that failed",
                Peers::logins_failed,
            ),
            (
                "logins_refused",
                "Logins of mail not looked at, since too many from the same address had failed",
                Peers::logins_refused,
            ),
            (
                "mail_limited",
                "Messages refused for now, since their address had brought too many",
                Peers::messages_refused,
            ),
        ];
        for (name, help, count) in counted {
            let peers = peers.clone();
            metrics.watch_counter(name, help, move || count(&peers));
        }
        if let Some(sending) = self.carried.sending.clone() {
            let help =
                "Recipients elsewhere refused for now, since their sender had as many as an account may";
            metrics.watch_counter("mail_outbound_limited", help, move || sending.refused());
        }
    }

    /// Asks the phone service and the queue every second how they stand.
    fn watch_phone(&self, metrics: &Metrics) {
        let registered = metrics.gauge("registered_phones", "Phones registered");
        let calls = metrics.gauge("calls", "Calls in progress");
        let transactions = metrics.gauge("sip_transactions", "SIP transactions, lingering ones included");
        let sessions = metrics.gauge("sip_sessions", "SIP sessions, two for a call between two phones");
        let subscriptions = metrics.gauge("subscriptions", "Subscriptions of phones to their lamps");
        let queue = metrics.gauge(
            "mail_queue",
            "Messages that wait for other servers, by destination",
        );
        let carried = self.carried.clone();
        let control = self.signalling.control.clone();
        let stopped = self.stopped();
        let asking = async move {
            loop {
                let (reply, answer) = async_channel::bounded(1);
                if control.send(PhoneControl::Status(reply)).await.is_err() {
                    return;
                }
                let Ok(status) = answer.recv().await else { return };
                registered.set(status.registered as i64);
                calls.set(status.calls as i64);
                transactions.set(status.transactions as i64);
                sessions.set(status.sessions as i64);
                subscriptions.set(status.subscriptions as i64);
                queue.set(carried.queued());
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        tokio::spawn(async move {
            tokio::select! {
                () = asking => {}
                () = stopped => {}
            }
        });
    }

    /// Gives domains that have none keys that sign their mail: those of the configuration, and those of earlier versions.
    fn sign(&self) {
        let (directory, signer) = (self.directory.clone(), self.stores.signer.clone());
        let now = self.control.now();
        tokio::spawn(async move {
            for domain in directory.domains() {
                if let Err(error) = signer.ensure_keys(&domain, now).await {
                    warn!(%domain, %error, "its mail goes out unsigned");
                }
            }
        });
    }

    /// A domain that is added while the server runs is served by the phone service too, and named by the certificate.
    fn follow_domains(&self) {
        let keeper = self.asked.as_ref().map(|asked| asked.keeper.clone());
        let (config, directory) = (self.config.clone(), self.directory.clone());
        let (addresses, control) = (self.addresses.clone(), self.signalling.control.clone());
        let changed = self.control.domains_changed.clone();
        tokio::spawn(async move {
            loop {
                changed.notified().await;
                if let Some(keeper) = &keeper {
                    keeper.look_again();
                }
                let config = config.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let phone = phone_config(&config, &directory, &addresses);
                if control
                    .send(PhoneControl::Configure(Box::new(phone)))
                    .await
                    .is_err()
                {
                    return;
                }
            }
        });
    }

    /// Completes when the server stops.
    fn stopped(&self) -> impl Future<Output = ()> + Send + 'static {
        let stopped = self.stopped.clone();
        async move { stopped.wait().await }
    }

    /// Serves until a signal asks for the end; SIGHUP reads the configuration and the certificates again.
    pub(crate) async fn run(mut self, file: Option<&Path>, mut signals: Signals) -> Result<()> {
        while signals.next().await == Asked::Reload {
            self.reload(file).await;
        }
        let asked_twice = async {
            while signals.next().await == Asked::Reload {
                info!("the server stops: the configuration is not read again");
            }
        };
        tokio::select! {
            () = self.stop() => {}
            () = asked_twice => warn!("asked twice: ending now"),
        }
        Ok(())
    }

    /// Ends calls and sessions politely, for a limited time, then everything.
    pub(crate) async fn stop(self) {
        let last_dots = tokio::time::Instant::now() + LAST_DOTS;
        let leaving = self.stopper.stop();
        let sessions = async {
            if tokio::time::timeout(LAST_ANSWERS, leaving.wait()).await.is_err() {
                warn!("some sessions of mail did not end in time");
            }
        };
        let control = &self.signalling.control;
        let calls = async {
            let (done, told) = async_channel::bounded(1);
            let asked = control.send(PhoneControl::Close(done)).await;
            if asked.is_ok() && tokio::time::timeout(FAREWELL, told.recv()).await.is_err() {
                warn!("some calls did not end in time");
            }
        };
        tokio::join!(sessions, calls);
        let (signalling, media, streaming) = (self.signalling, self.media, self.streaming);
        let ended = tokio::task::spawn_blocking(move || {
            streaming.thread.stop();
            signalling.stop();
            media.stop();
        });
        if ended.await.is_err() {
            warn!("a thread ended in a panic");
        }
        for message in leaving.awaited() {
            info!(%message, "all else has ended; a message was sent whole, and whether it was taken is waited for");
        }
        if tokio::time::timeout_at(last_dots, leaving.answers())
            .await
            .is_err()
        {
            for message in leaving.awaited() {
                warn!(%message, "whether it was taken was not said in time: it is sent again, and may come twice");
            }
        }
        info!("stopped");
    }
}

fn connection_limits(config: &Config, files: usize) -> ConnectionLimits {
    ConnectionLimits {
        total: sockets::connections(&config.limits, files),
        per_address: config.limits.connections_per_address,
        exempt: config.exempt_networks(),
    }
}

fn algorithm(digest: Digest) -> Algorithm {
    match digest {
        Digest::Sha256 => Algorithm::Sha256,
        Digest::Md5 => Algorithm::Md5,
    }
}

/// What the phone service is to know of the configuration.
fn phone_config(
    config: &Config,
    directory: &Directory,
    addresses: &[(Service, SocketAddr)],
) -> ringpost_phone::Config {
    let mut domains = directory.domains();
    // The first is the one that phones mean who name none.
    domains.sort_by_key(|domain| domain != directory.default_domain());
    let port_of = |service| {
        let port = addresses
            .iter()
            .find(|(of, _)| *of == service)
            .map(|(_, address)| address.port());
        port.unwrap_or_default()
    };
    let ports = [
        (Transport::Udp, Service::SipUdp),
        (Transport::Tcp, Service::SipTcp),
        (Transport::Tls, Service::SipTls),
    ];
    ringpost_phone::Config {
        domains: domains.into_iter().map(Into::into).collect(),
        trusted: config
            .trusted_networks
            .iter()
            .map(|network| network.parts())
            .collect(),
        public_address: config.public_address,
        ports: ports
            .map(|(transport, service)| (transport, port_of(service)))
            .into(),
        outbound: config.sip.outbound,
        outbound_networks: config
            .sip
            .outbound_networks
            .iter()
            .map(|network| network.parts())
            .collect(),
        overheard: config
            .calls
            .mounts
            .iter()
            .map(|name| name.as_str().into())
            .collect(),
        overheard_tone: config.calls.notice_tone,
        calls: config.limits.calls,
        digest_algorithms: config
            .sip
            .digest
            .iter()
            .map(|digest| algorithm(*digest))
            .collect(),
        no_answer: Duration::from_secs(config.voicemail.no_answer_s.into()),
        voicemail_max: Duration::from_secs(config.voicemail.max_length_s.into()),
        ..ringpost_phone::Config::default()
    }
}
