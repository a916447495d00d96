//! The ports of media: pairs of an even one for RTP and the odd one above it for RTCP (RFC 3550 §11).

use crate::media::MediaError;
use ringpost_base::limits;
use ringpost_media::{PairId, Port};
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::os::fd::{AsRawFd, RawFd};

/// What a socket may hold that the thread has not read yet: seconds of speech, a moment of video.
const BUFFER_BYTES: usize = 1024 * 1024;
/// Expedited forwarding: what networks that tell packets apart know voice by (RFC 4594 §4.1).
const EXPEDITED: u32 = 46 << 2;

/// The two sockets of a leg.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) rtp: UdpSocket,
    pub(crate) rtcp: UdpSocket,
    local: SocketAddr,
    /// The thread's sweep in which something was last taken from it.
    pub(crate) ready_in: u32,
}

/// Which ports and which numbers of pairs are in use.
#[derive(Debug)]
pub(crate) struct Ports {
    range: RangeInclusive<u16>,
    /// Where the search goes on: a port that was closed rests as long as it can, since packets for it may still be coming.
    next: u16,
    used: HashSet<SocketAddr>,
    free_ids: Vec<u32>,
    next_id: u32,
}

impl Ports {
    pub(crate) fn new(range: RangeInclusive<u16>, start: u64) -> Self {
        let mut ports = Ports {
            range,
            next: 0,
            used: HashSet::new(),
            free_ids: Vec::new(),
            next_id: 0,
        };
        ports.next = ports.nth(start);
        ports
    }

    /// Searches in another range from now on.
    pub(crate) fn set_range(&mut self, range: RangeInclusive<u16>) {
        if range != self.range {
            self.range = range;
            self.next = self.nth(0);
        }
    }

    /// The even ports of the range whose odd neighbour is in it too.
    pub(crate) fn count(&self) -> u64 {
        let first = self.range.start().next_multiple_of(2);
        u64::from((u32::from(*self.range.end()) + 1).saturating_sub(u32::from(first)) / 2)
    }

    fn nth(&self, n: u64) -> u16 {
        let first = self.range.start().next_multiple_of(2);
        first + 2 * (n % self.count().max(1)) as u16
    }

    /// Binds the next free pair on `ip`, and numbers it.
    pub(crate) fn open(&mut self, ip: IpAddr) -> Result<(PairId, Pair), MediaError> {
        let id = self.free_ids.last().copied().unwrap_or(self.next_id);
        if id as usize >= limits::MEDIA_PAIRS {
            return Err(MediaError::NoPort);
        }
        for _ in 0..self.count() {
            let local = SocketAddr::new(ip, self.next);
            let first = self.range.start().next_multiple_of(2);
            self.next = self.nth(u64::from((self.next - first) / 2) + 1);
            if self.used.contains(&local) {
                continue;
            }
            match Pair::bind(local) {
                Ok(pair) => {
                    self.used.insert(local);
                    if self.free_ids.pop().is_none() {
                        self.next_id += 1;
                    }
                    return Ok((PairId(id), pair));
                }
                // Somebody else on this machine has it.
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(MediaError::Bind { local, source: error }),
            }
        }
        Err(MediaError::NoPort)
    }

    /// The pair is closed by now.
    pub(crate) fn release(&mut self, id: PairId, pair: Pair) {
        self.used.remove(&pair.local);
        drop(pair);
        self.free_ids.push(id.0);
    }
}

impl Pair {
    fn bind(local: SocketAddr) -> io::Result<Self> {
        let rtp = bind(local)?;
        let rtcp = bind(SocketAddr::new(local.ip(), local.port() + 1))?;
        Ok(Pair {
            rtp,
            rtcp,
            local,
            ready_in: 0,
        })
    }

    pub(crate) fn fd(&self, port: Port) -> RawFd {
        match port {
            Port::Rtp => self.rtp.as_raw_fd(),
            Port::Rtcp => self.rtcp.as_raw_fd(),
        }
    }

    pub(crate) fn rtp_port(&self) -> u16 {
        self.local.port()
    }
}

fn bind(local: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(local), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    // The kernel gives as much as it is allowed to, and a mark that it refuses is no reason to be without sound.
    let _ = socket.set_recv_buffer_size(BUFFER_BYTES);
    let _ = socket.set_send_buffer_size(BUFFER_BYTES);
    if local.is_ipv6() {
        socket.set_only_v6(true)?;
        let _ = socket.set_tclass_v6(EXPEDITED);
    } else {
        let _ = socket.set_tos_v4(EXPEDITED);
    }
    socket.bind(&local.into())?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn pairs_are_even_and_odd_and_run_out() {
        // An odd first port and an even last one have no partner in the range.
        let mut ports = Ports::new(42_101..=42_110, 1);
        let mut open: Vec<_> = std::iter::from_fn(|| ports.open(LOCALHOST).ok()).collect();
        let mut rtp: Vec<_> = open.iter().map(|(_, pair)| pair.rtp_port()).collect();
        assert_eq!(rtp[0], 42_104, "where the search began");
        rtp.sort_unstable();
        assert_eq!(rtp, [42_102, 42_104, 42_106, 42_108]);
        for (_, pair) in &open {
            assert_eq!(pair.rtcp.local_addr().unwrap().port(), pair.rtp_port() + 1);
        }
        assert!(matches!(ports.open(LOCALHOST), Err(MediaError::NoPort)));
        let (id, pair) = open.remove(2);
        let port = pair.rtp_port();
        ports.release(id, pair);
        let (again, pair) = ports.open(LOCALHOST).unwrap();
        assert_eq!((again, pair.rtp_port()), (id, port));
    }

    #[test]
    fn a_port_that_somebody_else_has_is_passed_over() {
        let mut ports = Ports::new(42_200..=42_203, 0);
        let _other = UdpSocket::bind("127.0.0.1:42201").unwrap();
        assert_eq!(ports.open(LOCALHOST).unwrap().1.rtp_port(), 42_202);
        assert!(matches!(ports.open(LOCALHOST), Err(MediaError::NoPort)));
    }

    #[test]
    fn an_address_that_is_not_ours_is_told() {
        let elsewhere = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        let error = Ports::new(42_300..=42_310, 0).open(elsewhere).unwrap_err();
        assert!(error.to_string().contains("192.0.2.1:42300"), "{error}");
    }
}
