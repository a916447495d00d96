//! One whole node, joined to the simulated world: what the binary does with sockets and threads.

use crate::executor::{SimWorld, WorldHandle};
use crate::media::SimMedia;
use crate::network::Datagram;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use ringpost_base::limits;
use ringpost_directory::{Cost, Directory, DirectoryError, InlineKdf, Parts};
use ringpost_mail::Mail;
use ringpost_node::Stopper;
use ringpost_node::imap::{Compressing, Imap};
use ringpost_node::phone::{self, PhoneControl, PhoneParts, PhoneStatus};
use ringpost_node::voicemail::MailVoicemail;
use ringpost_node::world::{Connection, Dns, Exchangers, NoAnswer, SipTransport, Tlsa, World, WorldRef};
use ringpost_phone::{Config, Phone};
use ringpost_sip::locate::{Answer, Question, Srv, Target};
use ringpost_sip::{Arrival, Flow, Message, Transport};
use ringpost_store::{BindingsJournal, Blobs, Bodies, LocalBus, Store};
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};

/// What the node keeps its secrets with: it lies in the data folder.
const SEAL_KEY: [u8; 32] = [7; 32];

/// What outlives a node: its data folder.
#[derive(Clone)]
pub struct Disk {
    /// Where records are.
    pub store: Arc<dyn Store>,
    /// Where large bodies are.
    pub blobs: Arc<dyn Blobs>,
}

/// A node that runs.
pub struct Node {
    world: Arc<SimWorld>,
    address: SocketAddr,
    /// Who is who.
    pub directory: Directory,
    /// The mailboxes.
    pub mail: Arc<Mail>,
    /// Where its media flow.
    pub media: Arc<SimMedia>,
    sip: Arc<Outbox>,
    arrivals: async_channel::Sender<Arrival>,
    control: async_channel::Sender<PhoneControl>,
    imap: Imap,
    /// Sessions end when it is dropped.
    _stopper: Stopper,
}

/// SIP messages on their way out, from the node's address.
struct Outbox {
    address: SocketAddr,
    queue: Mutex<VecDeque<Datagram>>,
}

impl Outbox {
    fn queue(&self) -> MutexGuard<'_, VecDeque<Datagram>> {
        self.queue.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// One line of the simulated DNS.
#[derive(Clone, Copy, Debug)]
pub enum Record {
    /// A service, and one of its servers: priority, port and host.
    Srv(&'static str, u16, u16, &'static str),
    /// A host's address.
    Address(&'static str, IpAddr),
}

/// What the simulated DNS has.
struct Zone(&'static [Record]);

impl Dns for Zone {
    // No mail leaves a simulated node.
    fn exchangers(&self, _: &str) -> BoxFuture<'static, Result<Exchangers, NoAnswer>> {
        Box::pin(async { Ok(Exchangers::default()) })
    }

    fn texts(&self, _: &str) -> BoxFuture<'static, Option<Vec<String>>> {
        Box::pin(async { Some(Vec::new()) })
    }

    fn tlsa(&self, _: &str) -> BoxFuture<'static, Result<Option<Vec<Tlsa>>, NoAnswer>> {
        Box::pin(async { Ok(None) })
    }

    fn look_up(&self, question: Question) -> BoxFuture<'static, Option<Answer>> {
        let records = self.0.iter();
        let answer = match &question {
            Question::Naptr(_) => Answer::nothing(&question),
            Question::Srv(asked) => Answer::Srv(
                records
                    .filter_map(|record| match record {
                        Record::Srv(name, priority, port, host) if name == asked => Some(Srv {
                            priority: *priority,
                            weight: 0,
                            port: *port,
                            target: (*host).into(),
                        }),
                        _ => None,
                    })
                    .collect(),
            ),
            Question::Addresses(asked) => Answer::Addresses(
                records
                    .filter_map(|record| match record {
                        Record::Address(name, address) if name == asked => Some(*address),
                        _ => None,
                    })
                    .collect(),
            ),
        };
        Box::pin(async move { Some(answer) })
    }
}

impl SipTransport for Outbox {
    fn send(&self, flow: Flow, message: Bytes) {
        debug_assert_eq!(flow.transport, Transport::Udp, "the simulated phones speak UDP");
        self.queue().push_back(Datagram {
            from: flow.local,
            to: flow.remote,
            bytes: message,
        });
    }

    fn open(&self, target: &Target) -> Option<Flow> {
        (target.transport == Transport::Udp).then_some(Flow {
            transport: Transport::Udp,
            local: self.address,
            remote: target.address,
            connection: None,
        })
    }
}

impl Node {
    /// Starts a node that serves `config` with SIP at `address`, over what `disk` holds, in a world whose DNS has `zone`.
    pub fn start(
        world: &Arc<SimWorld>,
        disk: &Disk,
        address: SocketAddr,
        config: Config,
        zone: &'static [Record],
    ) -> Result<Self, DirectoryError> {
        let handle: WorldRef = Arc::new(WorldHandle(world.clone()));
        let bus = Arc::new(LocalBus::new());
        let parts = Parts {
            store: disk.store.clone(),
            bus: bus.clone(),
            kdf: Arc::new(InlineKdf(Cost::CHEAP)),
            seal_key: SEAL_KEY,
            rng: handle.rng(),
        };
        let (domain, calendar) = (config.realm().to_owned(), handle.unix_now());
        let directory = world.finish(async move { Directory::open(parts, &domain, calendar).await })?;
        let bodies = Bodies::new(disk.store.clone(), disk.blobs.clone(), handle.rng());
        let mail = Arc::new(Mail::new(disk.store.clone(), bodies, bus.clone(), handle.rng()));
        let (media, media_events) = SimMedia::new(handle.clone(), address.ip());
        let sip = Arc::new(Outbox {
            address,
            queue: Mutex::default(),
        });
        let (arrivals, arrived) = async_channel::bounded(limits::CHANNEL_ITEMS);
        let (control, controlled) = async_channel::bounded(limits::CHANNEL_ITEMS);
        let parts = PhoneParts {
            voicemail: Arc::new(MailVoicemail::new(
                mail.clone(),
                directory.clone(),
                handle.clone(),
                None,
            )),
            directory: directory.clone(),
            mounts: None,
            sip: sip.clone(),
            dns: Arc::new(Zone(zone)),
            media: media.clone(),
            arrivals: arrived,
            media_events,
            bus: bus.clone(),
            journal: BindingsJournal::new(disk.store.clone()),
            control: controlled,
            world: handle.clone(),
        };
        let phone = Phone::new(config, handle.rng());
        handle.spawn(Box::pin(phone::run(parts, phone)));
        let (stopper, stop) = Stopper::new();
        let imap = Imap {
            world: handle,
            directory: directory.clone(),
            mail: mail.clone(),
            bus,
            config: Arc::default(),
            compressing: Compressing::default(),
            peers: Arc::default(),
            stop,
        };
        Ok(Node {
            imap,
            _stopper: stopper,
            world: world.clone(),
            address,
            directory,
            mail,
            media,
            sip,
            arrivals,
            control,
        })
    }

    /// A datagram came to the node's address.
    pub fn handle_datagram(&self, datagram: Datagram) {
        if datagram.to != self.address {
            return self.media.handle_datagram(datagram);
        }
        let flow = Flow {
            transport: Transport::Udp,
            local: self.address,
            remote: datagram.from,
            connection: None,
        };
        let message = Message::parse_from(datagram.bytes, datagram.from);
        // As with the real sockets: what does not fit is lost, and retransmitted.
        let _ = self.arrivals.try_send(Arrival::Message { flow, message });
    }

    /// A mail program has connected to the IMAPS port.
    pub fn serve_imap(&self, connection: Box<dyn Connection>) {
        let imap = self.imap.clone();
        let session = async move { imap.serve(connection, false).await };
        WorldHandle(self.world.clone()).spawn(Box::pin(session));
    }

    /// What is to be sent.
    pub fn pop_to_send(&self) -> Option<Datagram> {
        self.sip.queue().pop_front().or_else(|| self.media.pop_to_send())
    }

    /// How its phone service stands.
    pub fn status(&self) -> PhoneStatus {
        let (reply, answer) = async_channel::bounded(1);
        let control = self.control.clone();
        self.world
            .finish(async move {
                let _ = control.send(PhoneControl::Status(reply)).await;
                answer.recv().await
            })
            .expect("the phone service runs")
    }
}
