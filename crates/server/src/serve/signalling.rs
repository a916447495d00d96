//! The thread of the phone service: SIP's sockets and the service's machine in one, so that a message passes from the
//! socket to its answer without waking anybody.

use crate::world::RealWorld;
use anyhow::{Context, Result};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use ringpost_media::{Command, LegId, PairId, Tapped};
use ringpost_net::dns::{self, Records, Resolver};
use ringpost_net::media::MediaHandle;
use ringpost_net::sip::{SipNet, source_address};
use ringpost_net::stream::Places;
use ringpost_net::tls::{Authorities, Tls};
use ringpost_node::phone::{PhoneControl, PhoneParts};
use ringpost_node::stream::Dialling;
use ringpost_node::voicemail::Voicemail;
use ringpost_node::world::{Dns, Exchanger, Exchangers, MediaPlane, NoAnswer, SipTransport, Tlsa, World};
use ringpost_phone::{Config, MediaSocket, Phone};
use ringpost_sip::locate::{Answer, Question, Target};
use ringpost_sip::{Arrival, Flow};
use ringpost_store::{BindingsJournal, Bus};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Messages on their way from the sockets' own queues to the service.
const ARRIVALS: usize = 64;
/// Control commands that wait.
const CONTROLS: usize = 16;

/// What the thread is given.
pub(crate) struct Signalling {
    pub(crate) udp: Vec<UdpSocket>,
    pub(crate) tcp: Vec<TcpListener>,
    pub(crate) tls_listeners: Vec<TcpListener>,
    pub(crate) tls: Tls,
    pub(crate) authorities: Authorities,
    pub(crate) resolver: Arc<Resolver>,
    pub(crate) places: Arc<Places>,
    pub(crate) config: Config,
    pub(crate) world: Arc<RealWorld>,
    pub(crate) directory: ringpost_directory::Directory,
    pub(crate) voicemail: Arc<dyn Voicemail>,
    pub(crate) mounts: Dialling,
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) journal: BindingsJournal,
    pub(crate) media: MediaHandle,
    pub(crate) media_events: async_channel::Receiver<ringpost_media::Event>,
}

/// The address that the configuration shows to peers outside.
type PublicAddress = Mutex<Option<IpAddr>>;

/// The running thread.
pub(crate) struct SignallingThread {
    pub(crate) control: async_channel::Sender<PhoneControl>,
    public: Arc<PublicAddress>,
    thread: JoinHandle<()>,
}

impl SignallingThread {
    /// Starts the thread.
    pub(crate) fn start(signalling: Signalling) -> Result<Self> {
        let (control, controls) = async_channel::bounded(CONTROLS);
        let public = Arc::new(PublicAddress::new(signalling.config.public_address));
        let shown = public.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let thread = std::thread::Builder::new()
            .name("signalling".into())
            .spawn(move || {
                let served = runtime.block_on(run(signalling, shown, controls));
                if let Err(error) = served {
                    tracing::error!(error = %crate::one_line(&error), "signalling has ended");
                }
            })
            .context("the signalling thread")?;
        Ok(SignallingThread {
            control,
            public,
            thread,
        })
    }

    /// What session descriptions show from now on; calls go on as they began.
    pub(crate) fn set_public_address(&self, address: Option<IpAddr>) {
        *self.public.lock().unwrap_or_else(PoisonError::into_inner) = address;
    }

    /// Ends the thread; what was not saved is saved first by whoever asked the service to close.
    pub(crate) fn stop(self) {
        self.control.close();
        if self.thread.join().is_err() {
            tracing::error!("signalling ended in a panic");
        }
    }
}

async fn run(
    signalling: Signalling,
    public: Arc<PublicAddress>,
    control: async_channel::Receiver<PhoneControl>,
) -> Result<()> {
    let (arrivals_in, arrivals) = async_channel::bounded::<Arrival>(ARRIVALS);
    let advertise = Advertise {
        public,
        bound: signalling
            .udp
            .iter()
            .filter_map(|socket| socket.local_addr().ok())
            .collect(),
    };
    let udp = signalling
        .udp
        .into_iter()
        .map(tokio::net::UdpSocket::from_std)
        .collect::<std::io::Result<Vec<_>>>()?;
    let net = SipNet::new(udp, signalling.places, signalling.authorities, arrivals_in);
    net.serve_udp();
    for listener in signalling.tcp {
        net.serve_streams(tokio::net::TcpListener::from_std(listener)?, None);
    }
    for listener in signalling.tls_listeners {
        net.serve_streams(
            tokio::net::TcpListener::from_std(listener)?,
            Some(signalling.tls.clone()),
        );
    }
    let phone = Phone::new(signalling.config, signalling.world.rng());
    let parts = PhoneParts {
        world: signalling.world,
        directory: signalling.directory,
        voicemail: signalling.voicemail,
        mounts: Some(signalling.mounts),
        sip: Arc::new(Transport(net)),
        dns: Arc::new(Names(signalling.resolver)),
        media: Arc::new(Media {
            handle: signalling.media,
            advertise,
        }),
        arrivals,
        media_events: signalling.media_events,
        bus: signalling.bus,
        journal: signalling.journal,
        control,
    };
    ringpost_node::phone::run(parts, phone).await;
    Ok(())
}

struct Transport(Arc<SipNet>);

impl SipTransport for Transport {
    fn send(&self, flow: Flow, message: Bytes) {
        self.0.send(flow, message);
    }

    fn open(&self, target: &Target) -> Option<Flow> {
        self.0.open(target)
    }
}

/// The resolver as the node asks it.
pub(super) struct Names(pub(super) Arc<Resolver>);

impl Dns for Names {
    fn exchangers(&self, domain: &str) -> BoxFuture<'static, Result<Exchangers, NoAnswer>> {
        let (resolver, domain) = (self.0.clone(), domain.to_owned());
        Box::pin(async move {
            let found = resolver.exchangers(&domain).await;
            let found = found.map_err(|why| no_answer(why, &domain))?;
            let servers = found.servers.into_iter();
            Ok(Exchangers {
                servers: servers
                    .map(|(preference, host)| Exchanger { preference, host })
                    .collect(),
                proven: found.proven,
            })
        })
    }

    fn texts(&self, name: &str) -> BoxFuture<'static, Option<Vec<String>>> {
        let (resolver, name) = (self.0.clone(), name.to_owned());
        Box::pin(async move {
            match resolver.texts(&name).await {
                Records::Found(texts) => {
                    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
                    Some(texts.into_iter().map(text).collect())
                }
                Records::Nothing => Some(Vec::new()),
                Records::Failed => None,
            }
        })
    }

    fn tlsa(&self, host: &str) -> BoxFuture<'static, Result<Option<Vec<Tlsa>>, NoAnswer>> {
        let (resolver, host) = (self.0.clone(), host.to_owned());
        Box::pin(async move {
            let found = resolver.tlsa(&host).await;
            let found = found.map_err(|why| no_answer(why, &format!("the TLSA records of {host}")))?;
            let records = found.map(|records| records.into_iter());
            Ok(records.map(|records| {
                records
                    .map(|record| Tlsa {
                        usage: record.usage,
                        selector: record.selector,
                        matching: record.matching,
                        data: record.data,
                    })
                    .collect()
            }))
        })
    }

    fn look_up(&self, question: Question) -> BoxFuture<'static, Option<Answer>> {
        let resolver = self.0.clone();
        Box::pin(async move { resolver.look_up(question).await })
    }
}

fn no_answer(why: dns::NoAnswer, asked: &str) -> NoAnswer {
    NoAnswer(match why {
        dns::NoAnswer::Silent => format!("the DNS did not answer for {asked}"),
        dns::NoAnswer::Bogus => format!("DNSSEC fails for {asked}"),
    })
}

struct Media {
    handle: MediaHandle,
    advertise: Advertise,
}

impl MediaPlane for Media {
    fn open(&self, towards: IpAddr) -> Option<MediaSocket> {
        let (bind, shown) = self.advertise.towards(towards)?;
        match self.handle.open(bind) {
            Ok((pair, port)) => Some(MediaSocket {
                pair,
                advertised: SocketAddr::new(shown, port),
            }),
            Err(error) => {
                tracing::warn!(%error, %bind, "no media port");
                None
            }
        }
    }

    fn close(&self, pair: PairId) {
        let handle = self.handle.clone();
        tokio::spawn(async move {
            // The thread that would close it has ended: so has the socket.
            let _ = handle.close_unused(pair).await;
        });
    }

    fn tap(&self, legs: [LegId; 2]) -> async_channel::Receiver<Tapped> {
        self.handle.tap(legs).unwrap_or_else(|error| {
            tracing::error!(%error, "a call cannot be listened to");
            // Closed, as that of a call that is over.
            async_channel::bounded(1).1
        })
    }

    fn command(&self, command: Command) {
        if let Err(error) = self.handle.try_send(command) {
            tracing::error!(%error, "a media command is lost");
        }
    }
}

/// Which of our addresses a peer is to send its media to.
struct Advertise {
    public: Arc<PublicAddress>,
    bound: Vec<SocketAddr>,
}

impl Advertise {
    /// The address to bind and the one to show: where SIP is bound to an address, that one; else the one that the kernel
    /// sends from; shown as the public one to peers outside.
    fn towards(&self, peer: IpAddr) -> Option<(IpAddr, IpAddr)> {
        let peer = peer.to_canonical();
        let same_family = |address: &&SocketAddr| address.is_ipv4() == peer.is_ipv4();
        let own = self
            .bound
            .iter()
            .filter(same_family)
            .map(SocketAddr::ip)
            .find(|ip| !ip.is_unspecified());
        let bind = match own {
            Some(ip) => ip,
            None => source_address(SocketAddr::new(peer, 9)).ok()?,
        };
        let public = *self.public.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = public
            .filter(|public| public.is_ipv4() == peer.is_ipv4())
            .unwrap_or(bind);
        Some((bind, shown))
    }
}
