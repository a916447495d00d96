//! The node's media plane in the simulated world: the real engine, with ports that are nothing but numbers.

use crate::network::Datagram;
use ringpost_base::{Instant, Rng, limits};
use ringpost_media::{Command, Engine, Event, LegId, Output, PairId, Port, SocketId, Tapped};
use ringpost_node::world::{MediaPlane, WorldRef};
use ringpost_phone::MediaSocket;
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};

/// The port of the first pair's RTP.
const FIRST_PORT: u16 = 20_000;
/// How many pairs of ports there are: so few that they are used again soon, as on a busy server.
const PAIRS: usize = 32;

/// The engine, its ports, and what it wants to send.
pub struct SimMedia {
    world: WorldRef,
    address: IpAddr,
    plane: Mutex<Plane>,
}

struct Plane {
    engine: Engine,
    rng: Rng,
    open: [bool; PAIRS],
    events: async_channel::Sender<Event>,
    taps: Vec<(LegId, async_channel::Sender<Tapped>)>,
    to_send: VecDeque<Datagram>,
    deadline: Option<Instant>,
}

impl SimMedia {
    /// A media plane at `address`, and where it tells what happens.
    pub fn new(world: WorldRef, address: IpAddr) -> (Arc<Self>, async_channel::Receiver<Event>) {
        let (events, told) = async_channel::bounded(limits::MEDIA_EVENTS);
        let mut rng = world.rng();
        let engine = Engine::new(world.now(), world.unix_now(), rng.fork());
        let plane = Plane {
            engine,
            rng,
            open: [false; PAIRS],
            events,
            taps: Vec::new(),
            to_send: VecDeque::new(),
            deadline: None,
        };
        let plane = Mutex::new(plane);
        (
            Arc::new(SimMedia {
                world,
                address,
                plane,
            }),
            told,
        )
    }

    /// A datagram came to one of our ports; to a closed one it is lost.
    pub fn handle_datagram(&self, datagram: Datagram) {
        let mut plane = self.plane();
        let Some(socket) = socket_at(datagram.to.port()).filter(|s| plane.open[s.pair.0 as usize]) else {
            return;
        };
        let mut bytes = datagram.bytes.to_vec();
        let forward = plane
            .engine
            .handle_packet(self.world.now(), socket, datagram.from, &mut bytes);
        if let Some(forward) = forward {
            let from = self.address_of(forward.socket);
            bytes.truncate(forward.range.end);
            let bytes = bytes::Bytes::from(bytes).slice(forward.range.start..);
            plane.to_send.push_back(Datagram {
                from,
                to: forward.to,
                bytes,
            });
        }
        self.drain(&mut plane);
    }

    /// The time of [`deadline`](SimMedia::deadline) has come.
    pub fn handle_timeout(&self) {
        let mut plane = self.plane();
        plane.engine.handle_timeout(self.world.now());
        self.drain(&mut plane);
    }

    /// When the engine has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        self.plane().deadline
    }

    /// What is to be sent.
    pub fn pop_to_send(&self) -> Option<Datagram> {
        self.plane().to_send.pop_front()
    }

    /// Everything that the engine holds, and the pairs of ports that are open.
    pub fn holdings(&self) -> Vec<(&'static str, usize)> {
        let plane = self.plane();
        let open = plane.open.iter().filter(|open| **open).count();
        let mut all = plane.engine.holdings().to_vec();
        all.push(("pairs of ports", open));
        all
    }

    fn drain(&self, plane: &mut Plane) {
        loop {
            match plane.engine.poll_output() {
                Output::Transmit(transmit) => plane.to_send.push_back(Datagram {
                    from: self.address_of(transmit.socket),
                    to: transmit.to,
                    bytes: transmit.bytes.into(),
                }),
                Output::Close(pair) => plane.open[pair.0 as usize] = false,
                // The node that would have listened is gone, or the channel is as long as the real one and full.
                Output::Event(event) => {
                    if let Event::LegRemoved { leg, .. } = &event {
                        plane.taps.retain(|(tapped, _)| tapped != leg);
                    }
                    drop(plane.events.try_send(event));
                }
                Output::Tapped(packet) => {
                    let listeners = plane.taps.iter().filter(|(leg, _)| *leg == packet.leg);
                    listeners.for_each(|(_, listener)| drop(listener.try_send(packet.clone())));
                }
                Output::Timeout(at) => {
                    plane.deadline = at;
                    return;
                }
            }
        }
    }

    fn address_of(&self, socket: SocketId) -> SocketAddr {
        let above = match socket.port {
            Port::Rtp => 0,
            Port::Rtcp => 1,
        };
        SocketAddr::new(self.address, FIRST_PORT + 2 * socket.pair.0 as u16 + above)
    }

    fn plane(&self) -> MutexGuard<'_, Plane> {
        self.plane.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl MediaPlane for SimMedia {
    fn open(&self, _towards: IpAddr) -> Option<MediaSocket> {
        let mut plane = self.plane();
        let start = plane.rng.below(PAIRS as u64) as usize;
        let free = (start..start + PAIRS)
            .map(|n| n % PAIRS)
            .find(|n| !plane.open[*n])?;
        plane.open[free] = true;
        let pair = PairId(free as u32);
        let advertised = self.address_of(SocketId {
            pair,
            port: Port::Rtp,
        });
        Some(MediaSocket { pair, advertised })
    }

    fn close(&self, pair: PairId) {
        self.plane().open[pair.0 as usize] = false;
    }

    fn tap(&self, legs: [LegId; 2]) -> async_channel::Receiver<Tapped> {
        let (listener, packets) = async_channel::bounded(limits::TAPPED_PACKETS);
        for leg in legs {
            let mut plane = self.plane();
            if plane.engine.has_leg(leg) {
                plane.taps.push((leg, listener.clone()));
                plane
                    .engine
                    .handle_command(self.world.now(), Command::Tap { leg });
            }
        }
        packets
    }

    fn command(&self, command: Command) {
        let mut plane = self.plane();
        plane.engine.handle_command(self.world.now(), command);
        self.drain(&mut plane);
    }
}

fn socket_at(port: u16) -> Option<SocketId> {
    let above = port.checked_sub(FIRST_PORT)?;
    let pair = PairId(u32::from(above / 2));
    let port = if above % 2 == 0 { Port::Rtp } else { Port::Rtcp };
    ((pair.0 as usize) < PAIRS).then_some(SocketId { pair, port })
}
