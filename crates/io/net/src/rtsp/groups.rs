//! Sockets of groups: those that a mount is sent by, and those of announcements (SAP).

use super::{Driver, Gone, Message, RtspHandle, Token};
use crate::media::batch::send_to;
use ringpost_base::Instant;
use ringpost_stream::hub::{AnnouncedInfo, PairId, SAP_IPV4, SAP_IPV6, SAP_PORT, SAP_TTL, SocketId, Sources};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockAddr, Socket, Type};
use std::ffi::CString;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;
use tracing::{debug, error, info, warn};

/// After what time groups of announcements are tried again that could not be joined, since no network is there yet.
const RETRY: Duration = Duration::from_secs(30);
/// Expedited forwarding, as other media (RFC 4594 §4.1).
const EXPEDITED: u32 = 46 << 2;

/// How groups are sent to and heard.
#[derive(Clone, Debug, Default)]
pub struct Multicast {
    /// The name of the network interface; `None`: the one that the system's routes say.
    pub interface: Option<String>,
    /// Whether announcements are sent and listened to.
    pub sap: bool,
}

/// The sockets of a track of a group.
#[derive(Debug)]
pub(super) struct GroupSockets {
    rtp: UdpSocket,
    /// At the group's own port, so that the reports of its readers are heard.
    rtcp: UdpSocket,
}

impl GroupSockets {
    fn open(to: SocketAddr, ttl: u8, interface: Option<&str>) -> io::Result<Self> {
        let interface = interface.map(index_of).transpose()?.unwrap_or(0);
        let rtp = sender(to, ttl, interface)?;
        let rtcp = listener(SocketAddr::new(to.ip(), to.port() + 1), ttl, interface)?;
        Ok(GroupSockets { rtp, rtcp })
    }

    pub(super) fn fd(&self, is_rtcp: bool) -> RawFd {
        match is_rtcp {
            true => self.rtcp.as_raw_fd(),
            false => self.rtp.as_raw_fd(),
        }
    }
}

/// The sockets of announcements.
#[derive(Debug, Default)]
pub(super) struct Announcements {
    heard: Vec<(IpAddr, UdpSocket)>,
    v4: Option<UdpSocket>,
    v6: Option<UdpSocket>,
    /// When groups that could not be joined are tried again.
    pub(super) retry_at: Option<Instant>,
}

impl RtspHandle {
    /// What others announce by SAP.
    pub async fn announced(&self) -> Result<Vec<AnnouncedInfo>, Gone> {
        let (reply, answer) = async_channel::bounded(1);
        self.push(Message::Announced(reply)).await?;
        answer.recv().await.map_err(|_| Gone)
    }
}

impl Driver {
    /// Opens the sockets of a track of a group.
    pub(super) fn open_group(&mut self, pair: PairId, to: SocketAddr, ttl: u8) {
        let interface = self.multicast.interface.as_deref();
        let opened = GroupSockets::open(to, ttl, interface).and_then(|sockets| {
            let is_rtcp = true;
            let token = Token::Socket(SocketId { pair, is_rtcp });
            self.poll.add(sockets.fd(is_rtcp), token.number())?;
            let port = sockets.rtp.local_addr()?.port();
            self.groups.insert(pair, sockets);
            Ok(port)
        });
        if let Err(error) = &opened {
            let interface = interface.unwrap_or("-");
            warn!(group = %to, interface, %error,
                "a group cannot be sent to; streams.multicast_interface says by which interface it is");
        }
        self.hub.handle_pair(self.now(), pair, opened.ok());
    }

    /// Joins the groups of announcements, where that is wanted and not done yet.
    pub(super) fn join_announcements(&mut self) {
        self.announcements.retry_at = None;
        if !self.multicast.sap {
            return;
        }
        let interface = self.multicast.interface.as_deref().map(index_of).transpose();
        let interface = match interface {
            Ok(index) => index.unwrap_or(0),
            Err(error) => return self.try_again_later(&error),
        };
        let mut failed = None;
        let groups = SAP_IPV4.map(IpAddr::from).into_iter();
        for group in groups.chain(SAP_IPV6.map(IpAddr::from)) {
            if self.announcements.heard.iter().any(|(of, _)| *of == group) {
                continue;
            }
            match listener(SocketAddr::new(group, SAP_PORT), SAP_TTL, interface) {
                Ok(socket) => {
                    let token = Token::Announcements(self.announcements.heard.len() as u64);
                    if let Err(error) = self.poll.add(socket.as_raw_fd(), token.number()) {
                        error!(%error, "announcements of a group cannot be waited for");
                    }
                    self.announcements.heard.push((group, socket));
                }
                // Many a machine has no IPv6.
                Err(error) if group.is_ipv6() => debug!(%group, %error, "announcements are not heard"),
                Err(error) => failed = Some(error),
            }
        }
        let sender = |group: IpAddr| sender(SocketAddr::new(group, SAP_PORT), SAP_TTL, interface);
        self.announcements.v4 = sender(SAP_IPV4[1].into()).ok();
        self.announcements.v6 = sender(SAP_IPV6[1].into()).ok();
        let source = |socket: &Option<UdpSocket>, group: IpAddr| {
            let source = source_of(socket.as_ref()?, SocketAddr::new(group, SAP_PORT)).ok()?;
            (!source.is_unspecified()).then_some(source)
        };
        let sources = Sources {
            v4: match source(&self.announcements.v4, SAP_IPV4[1].into()) {
                Some(IpAddr::V4(address)) => Some(address),
                _ => None,
            },
            v6: match source(&self.announcements.v6, SAP_IPV6[1].into()) {
                Some(IpAddr::V6(address)) => Some(address),
                _ => None,
            },
        };
        self.hub.set_sources(self.now(), sources);
        match failed {
            Some(error) => self.try_again_later(&error),
            None if sources.v4.is_none() => {
                let error = io::Error::other("no address of our own leads to the groups");
                self.try_again_later(&error);
            }
            None => {
                info!(v4 = ?sources.v4, v6 = ?sources.v6, "streams are announced, and announcements heard")
            }
        }
    }

    fn try_again_later(&mut self, error: &io::Error) {
        warn!(%error, "announcements of streams (SAP) wait for a network; streams.multicast_interface says which");
        self.announcements.retry_at = Some(self.now() + RETRY);
    }

    pub(super) fn announce(&mut self, to: SocketAddr, bytes: &[u8]) {
        let socket = match to {
            SocketAddr::V4(_) => &self.announcements.v4,
            SocketAddr::V6(_) => &self.announcements.v6,
        };
        let sent = socket
            .as_ref()
            .is_some_and(|socket| send_to(socket.as_raw_fd(), &SockAddr::from(to), bytes));
        if !sent {
            debug!(%to, "an announcement is not sent");
        }
    }

    /// Announcements came to a group.
    pub(super) fn hear_announcements(&mut self, index: usize) {
        let Some((group, socket)) = self.announcements.heard.get(index) else {
            return;
        };
        let (group, now) = (*group, self.now());
        let Ok(count) = self.inbox.receive(socket.as_raw_fd()) else {
            return;
        };
        for buffer in 0..count {
            let Some((from, datagram)) = self.inbox.datagram(buffer) else {
                continue;
            };
            let from = from.ip().to_canonical();
            if let Err(error) = self.hub.handle_announcement(now, group, from, datagram) {
                debug!(%from, %error, "an announcement changes nothing");
            }
        }
    }
}

/// The number of a network interface.
fn index_of(name: &str) -> io::Result<u32> {
    let text = CString::new(name)?;
    // SAFETY: the name ends with a NUL and outlives the call.
    match unsafe { libc::if_nametoindex(text.as_ptr()) } {
        0 => Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!("there is no network interface {name:?}"),
        )),
        index => Ok(index),
    }
}

/// A socket that sends to the group `to`.
fn sender(to: SocketAddr, ttl: u8, interface: u32) -> io::Result<UdpSocket> {
    let socket = socket(to, ttl, interface)?;
    let any = match to {
        SocketAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
    };
    socket.bind(&SocketAddr::new(any, 0).into())?;
    Ok(socket.into())
}

/// A socket that hears what comes to the group and port `at`, and sends there too.
fn listener(at: SocketAddr, ttl: u8, interface: u32) -> io::Result<UdpSocket> {
    let socket = socket(at, ttl, interface)?;
    // Readers of this machine listen there too.
    socket.set_reuse_address(true)?;
    // At the group's address: what comes to the port for other groups, or for us alone, is not meant.
    socket.bind(&on_its_link(at, interface).into())?;
    match at.ip() {
        IpAddr::V4(group) => {
            let interface = InterfaceIndexOrAddress::Index(interface);
            socket.join_multicast_v4_n(&group, &interface)?;
        }
        IpAddr::V6(group) => socket.join_multicast_v6(&group, interface)?,
    }
    Ok(socket.into())
}

/// The same address; with the interface where it is of one link, and so another one on each (RFC 4007 §6).
fn on_its_link(mut at: SocketAddr, interface: u32) -> SocketAddr {
    if let SocketAddr::V6(at) = &mut at
        && matches!(at.ip().octets(), [0xff, flags, ..] if flags & 0x0f <= 2)
    {
        at.set_scope_id(interface);
    }
    at
}

fn socket(of: SocketAddr, ttl: u8, interface: u32) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(of), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    match of {
        SocketAddr::V4(_) => {
            socket.set_multicast_ttl_v4(ttl.into())?;
            // Readers of this machine hear it too.
            socket.set_multicast_loop_v4(true)?;
            // A mark that the kernel refuses is no reason to be without pictures.
            let _ = socket.set_tos_v4(EXPEDITED);
            if interface != 0 {
                set_interface_v4(&socket, interface)?;
            }
        }
        SocketAddr::V6(_) => {
            socket.set_only_v6(true)?;
            socket.set_multicast_hops_v6(ttl.into())?;
            socket.set_multicast_loop_v6(true)?;
            let _ = socket.set_tclass_v6(EXPEDITED);
            if interface != 0 {
                socket.set_multicast_if_v6(interface)?;
            }
        }
    }
    Ok(socket)
}

/// The interface by its number: what has several addresses, or one that changes, is one interface.
fn set_interface_v4(socket: &Socket, index: u32) -> io::Result<()> {
    let any = libc::in_addr { s_addr: 0 };
    let request = libc::ip_mreqn {
        imr_multiaddr: any,
        imr_address: any,
        imr_ifindex: index as libc::c_int,
    };
    // SAFETY: the option takes a structure of this kind and length, which lives through the call.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_MULTICAST_IF,
            (&raw const request).cast(),
            size_of::<libc::ip_mreqn>() as libc::socklen_t,
        )
    };
    match set {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Our address that packets by this socket to a group have.
fn source_of(socket: &UdpSocket, group: SocketAddr) -> io::Result<IpAddr> {
    // Another descriptor would be the same socket: it is connected, asked, and connected to nobody again.
    socket.connect(group)?;
    let source = socket.local_addr().map(|local| local.ip());
    disconnect(socket)?;
    source
}

fn disconnect(socket: &UdpSocket) -> io::Result<()> {
    let none = libc::sockaddr {
        sa_family: libc::AF_UNSPEC as libc::sa_family_t,
        sa_data: [0; 14],
    };
    // SAFETY: an address of no family, of the length told, which lives through the call.
    let done = unsafe {
        libc::connect(
            socket.as_raw_fd(),
            &raw const none,
            size_of::<libc::sockaddr>() as libc::socklen_t,
        )
    };
    match done {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The loopback interface has no route for groups unless somebody made one: by its name it needs none.
    #[test]
    fn what_is_sent_to_a_group_by_an_interface_is_heard_there() {
        let lo = index_of("lo").unwrap();
        let (group, other) = (
            "239.255.77.1:45004".parse().unwrap(),
            "239.255.77.2:45004".parse().unwrap(),
        );
        let heard = listener(group, 1, lo).unwrap();
        let not_heard = listener(other, 1, lo).unwrap();
        let sending = sender(group, 7, lo).unwrap();
        let ttl = socket2::SockRef::from(&sending).multicast_ttl_v4().unwrap();
        assert_eq!(ttl, 7);
        assert!(send_to(sending.as_raw_fd(), &SockAddr::from(group), b"hello"));
        heard.set_nonblocking(false).unwrap();
        heard.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut buffer = [0; 16];
        let (length, from) = heard.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"hello");
        assert_eq!(source_of(&sending, group).unwrap(), from.ip());
        // Who was asked for its address still sends wherever it is told to.
        assert!(send_to(sending.as_raw_fd(), &SockAddr::from(group), b"again"));
        assert_eq!(heard.recv(&mut buffer).unwrap(), 5);
        let error = not_heard.recv(&mut buffer).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }

    // The system binds no address of a link without its interface.
    #[test]
    fn a_group_of_a_link_is_heard_on_the_interface() {
        for (to, scope) in [
            ("[ff12::77:1]:45030", index_of("lo").unwrap()),
            ("[ff15::77:1]:45030", 0),
        ] {
            let sockets = GroupSockets::open(to.parse().unwrap(), 1, Some("lo")).unwrap();
            let SocketAddr::V6(heard) = sockets.rtcp.local_addr().unwrap() else {
                panic!("{to} is of IPv6")
            };
            assert_eq!((heard.port(), heard.scope_id()), (45_031, scope), "{to}");
        }
    }

    #[test]
    fn a_track_of_a_group_has_its_reports_at_the_next_port() {
        let to = "239.255.77.3:45010".parse().unwrap();
        let sockets = GroupSockets::open(to, 1, Some("lo")).unwrap();
        assert_eq!(
            sockets.rtcp.local_addr().unwrap(),
            "239.255.77.3:45011".parse().unwrap()
        );
        let error = GroupSockets::open(to, 1, Some("nowhere9")).unwrap_err();
        assert!(
            error.to_string().contains("no network interface \"nowhere9\""),
            "{error}"
        );
    }
}
