//! Many datagrams in one system call: `recvmmsg` and `sendmmsg`.

use socket2::SockAddr;
use std::io;
use std::mem::zeroed;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::ops::Range;
use std::os::fd::RawFd;
use std::ptr;

/// Datagrams taken from a socket at a time.
pub(crate) const BATCH: usize = 32;
/// The longest datagram that is taken; a longer one is dropped. RTP keeps below the path's packet size.
pub(crate) const DATAGRAM_BYTES: usize = 2_048;

/// Buffers for a batch of datagrams, and what `recvmmsg` wants to know of them.
///
/// The headers point into the boxes beside them. Those never move and are never replaced, so that the pointers, written
/// once, hold as long as the inbox lives.
pub(crate) struct Inbox {
    buffers: Box<[[u8; DATAGRAM_BYTES]; BATCH]>,
    addresses: Box<[libc::sockaddr_storage; BATCH]>,
    /// Only the headers read these; they are here to live.
    _vectors: Box<[libc::iovec; BATCH]>,
    headers: Box<[libc::mmsghdr; BATCH]>,
    /// How many headers the last call has written to.
    used: usize,
}

impl Inbox {
    pub(crate) fn new() -> Self {
        let mut buffers = Box::new([[0; DATAGRAM_BYTES]; BATCH]);
        // SAFETY: an address of zeros is a valid one, of no family.
        let mut addresses: Box<[libc::sockaddr_storage; BATCH]> = Box::new(unsafe { zeroed() });
        let mut vectors: Box<[libc::iovec; BATCH]> = Box::new(std::array::from_fn(|n| libc::iovec {
            iov_base: buffers[n].as_mut_ptr().cast(),
            iov_len: DATAGRAM_BYTES,
        }));
        // SAFETY: an mmsghdr of zeros is a valid one: null pointers and no lengths.
        let mut headers: Box<[libc::mmsghdr; BATCH]> = Box::new(unsafe { zeroed() });
        for (n, header) in headers.iter_mut().enumerate() {
            header.msg_hdr.msg_name = ptr::from_mut(&mut addresses[n]).cast();
            header.msg_hdr.msg_iov = &raw mut vectors[n];
            header.msg_hdr.msg_iovlen = 1;
        }
        Inbox {
            buffers,
            addresses,
            _vectors: vectors,
            headers,
            used: BATCH,
        }
    }

    /// Takes one datagram from a socket, which is cheaper than a batch of one.
    pub(crate) fn receive_one(&mut self, fd: RawFd) -> io::Result<usize> {
        let header = &mut self.headers[0];
        header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
        // SAFETY: buffer and address are of the lengths told, and nobody else uses them meanwhile.
        let len = unsafe {
            libc::recvfrom(
                fd,
                self.buffers[0].as_mut_ptr().cast(),
                DATAGRAM_BYTES,
                libc::MSG_DONTWAIT | libc::MSG_TRUNC,
                ptr::from_mut(&mut self.addresses[0]).cast(),
                &raw mut header.msg_hdr.msg_namelen,
            )
        };
        // With the flag it is the length of the whole datagram, however much of it found room.
        let len = usize::try_from(len).map_err(|_| io::Error::last_os_error())?;
        header.msg_hdr.msg_flags = if len > DATAGRAM_BYTES { libc::MSG_TRUNC } else { 0 };
        header.msg_len = len.min(DATAGRAM_BYTES) as libc::c_uint;
        self.used = self.used.max(1);
        Ok(1)
    }

    /// Takes what has come to a socket, at most [`BATCH`] datagrams, and says how many.
    pub(crate) fn receive(&mut self, fd: RawFd) -> io::Result<usize> {
        for header in &mut self.headers[..self.used] {
            header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
        }
        // SAFETY: `BATCH` headers, each of one buffer and one address that live as long as `self` and are of the length
        // told; nobody else uses them meanwhile.
        let received = unsafe {
            libc::recvmmsg(
                fd,
                self.headers.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        if received < 0 {
            self.used = 0;
            return Err(io::Error::last_os_error());
        }
        self.used = received as usize;
        Ok(self.used)
    }

    /// The datagram `n` of the last batch, and where it came from; `None` for one that was cut, or of no IP address.
    pub(crate) fn datagram(&mut self, n: usize) -> Option<(SocketAddr, &mut [u8])> {
        let header = &self.headers[n];
        if header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0 {
            return None;
        }
        let from = socket_addr(&self.addresses[n])?;
        Some((from, &mut self.buffers[n][..header.msg_len as usize]))
    }

    /// Sends datagrams that lie in the inbox, all by one socket, and says how many the kernel took.
    pub(crate) fn send(&self, fd: RawFd, datagrams: &[Outbound]) -> usize {
        match datagrams {
            [] => 0,
            [one] => usize::from(send_to(fd, &one.to, &self.buffers[one.buffer][one.range.clone()])),
            many => many.chunks(BATCH).map(|chunk| self.send_many(fd, chunk)).sum(),
        }
    }

    fn send_many(&self, fd: RawFd, datagrams: &[Outbound]) -> usize {
        let mut vectors: [libc::iovec; BATCH] = [libc::iovec {
            iov_base: ptr::null_mut(),
            iov_len: 0,
        }; BATCH];
        // SAFETY: as in `new`.
        let mut headers: [libc::mmsghdr; BATCH] = unsafe { zeroed() };
        for (n, datagram) in datagrams.iter().enumerate() {
            let bytes = &self.buffers[datagram.buffer][datagram.range.clone()];
            // The kernel only reads what it is given to send.
            vectors[n] = libc::iovec {
                iov_base: bytes.as_ptr().cast_mut().cast(),
                iov_len: bytes.len(),
            };
            headers[n].msg_hdr.msg_name = datagram.to.as_ptr().cast_mut().cast();
            headers[n].msg_hdr.msg_namelen = datagram.to.len();
            headers[n].msg_hdr.msg_iov = &raw mut vectors[n];
            headers[n].msg_hdr.msg_iovlen = 1;
        }
        let len = datagrams.len() as libc::c_uint;
        // SAFETY: `len` headers were filled in, at most `BATCH` by `chunks`; what they point to outlives the call.
        let sent = unsafe { libc::sendmmsg(fd, headers.as_mut_ptr(), len, libc::MSG_DONTWAIT) };
        usize::try_from(sent).unwrap_or(0)
    }
}

fn socket_addr(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match i32::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: of this family, by the kernel's word; a storage has room and alignment for every kind.
            let v4 = unsafe { &*ptr::from_ref(storage).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            Some(SocketAddr::from((ip, u16::from_be(v4.sin_port))))
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let v6 = unsafe { &*ptr::from_ref(storage).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            // The scope tells a link-local peer's network; the flow label is none of its address.
            Some(SocketAddrV6::new(ip, u16::from_be(v6.sin6_port), 0, v6.sin6_scope_id).into())
        }
        _ => None,
    }
}

/// A datagram that lies in an inbox and is to be sent.
pub(crate) struct Outbound {
    pub(crate) to: SockAddr,
    pub(crate) buffer: usize,
    pub(crate) range: Range<usize>,
}

/// Sends one datagram; whether the kernel took it. It is lost otherwise, as datagrams may be.
pub(crate) fn send_to(fd: RawFd, to: &SockAddr, bytes: &[u8]) -> bool {
    // SAFETY: buffer and address are slices of the lengths told, and live through the call.
    let sent = unsafe {
        libc::sendto(
            fd,
            bytes.as_ptr().cast(),
            bytes.len(),
            libc::MSG_DONTWAIT,
            to.as_ptr().cast(),
            to.len(),
        )
    };
    sent >= 0
}

/// Sends what a connection takes of `bytes` now; says how many that is, which may be none.
pub(crate) fn send_some(fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: the buffer is a slice of the length told, and lives through the call.
    let sent = unsafe {
        libc::send(
            fd,
            bytes.as_ptr().cast(),
            bytes.len(),
            libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
        )
    };
    if let Ok(sent) = usize::try_from(sent) {
        return Ok(sent);
    }
    let error = io::Error::last_os_error();
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(0),
        _ => Err(error),
    }
}

/// Segments of one call that the kernel cuts up: what it takes at most, and how many octets an IP packet has room for.
const SEGMENTS: usize = 64;
const SEGMENTED_BYTES: usize = 65_000;

/// Sends datagrams to one peer, in order, with as few calls as can be: a run of datagrams of one length, the last of which may
/// be shorter, is given to the kernel as one that it cuts up itself (`UDP_SEGMENT`). Says how many it took.
pub(crate) fn send_all(fd: RawFd, to: &SockAddr, datagrams: &[impl AsRef<[u8]>]) -> usize {
    let mut rest = datagrams;
    let mut sent = 0;
    while let Some(first) = rest.first() {
        let run = run_length(rest);
        let (now, behind) = rest.split_at(run);
        let whole = run > 1 && send_segmented(fd, to, now, first.as_ref().len());
        sent += match whole {
            true => run,
            // A device that cannot do it, or a full buffer.
            false => now.iter().filter(|bytes| send_to(fd, to, bytes.as_ref())).count(),
        };
        rest = behind;
    }
    sent
}

/// How many of these go in one call.
fn run_length(datagrams: &[impl AsRef<[u8]>]) -> usize {
    let length = |at: usize| datagrams[at].as_ref().len();
    let (segment, mut run, mut octets) = (length(0), 1, length(0));
    while run < datagrams.len().min(SEGMENTS) && length(run - 1) == segment && length(run) <= segment {
        octets += length(run);
        if octets > SEGMENTED_BYTES {
            break;
        }
        run += 1;
    }
    run
}

fn send_segmented(fd: RawFd, to: &SockAddr, datagrams: &[impl AsRef<[u8]>], segment: usize) -> bool {
    let Ok(segment) = u16::try_from(segment) else {
        return false;
    };
    let mut vectors: [libc::iovec; SEGMENTS] = [libc::iovec {
        iov_base: ptr::null_mut(),
        iov_len: 0,
    }; SEGMENTS];
    for (vector, bytes) in vectors.iter_mut().zip(datagrams) {
        // The kernel only reads what it is given to send.
        vector.iov_base = bytes.as_ref().as_ptr().cast_mut().cast();
        vector.iov_len = bytes.as_ref().len();
    }
    // Room for one control message of two octets, aligned as its header wants.
    let mut control = [0u64; 4];
    // SAFETY: an msghdr of zeros is a valid one. The control message lies in `control`, which has room for it (its header is
    // 16 octets, its data padded to 8). All that is pointed to lives through the call.
    let sent = unsafe {
        let mut header: libc::msghdr = zeroed();
        header.msg_name = to.as_ptr().cast_mut().cast();
        header.msg_namelen = to.len();
        header.msg_iov = vectors.as_mut_ptr();
        header.msg_iovlen = datagrams.len() as _;
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = libc::CMSG_SPACE(size_of::<u16>() as libc::c_uint) as _;
        let message = libc::CMSG_FIRSTHDR(&raw const header);
        (*message).cmsg_level = libc::SOL_UDP;
        (*message).cmsg_type = libc::UDP_SEGMENT;
        (*message).cmsg_len = libc::CMSG_LEN(size_of::<u16>() as libc::c_uint) as _;
        ptr::write_unaligned(libc::CMSG_DATA(message).cast::<u16>(), segment);
        libc::sendmsg(fd, &raw const header, libc::MSG_DONTWAIT)
    };
    sent >= 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::os::fd::AsRawFd;

    #[test]
    fn a_batch_comes_and_goes_with_its_addresses() {
        for any in ["127.0.0.1:0", "[::1]:0"] {
            let (a, b) = (UdpSocket::bind(any).unwrap(), UdpSocket::bind(any).unwrap());
            for n in 0..40u8 {
                a.send_to(&[n; 100], b.local_addr().unwrap()).unwrap();
            }
            let mut inbox = Inbox::new();
            let mut seen = 0;
            while seen < 40 {
                let count = inbox.receive(b.as_raw_fd()).unwrap();
                let mut out = Vec::new();
                for buffer in 0..count {
                    let (from, bytes) = inbox.datagram(buffer).unwrap();
                    assert_eq!(from, a.local_addr().unwrap());
                    assert_eq!(bytes, [seen as u8 + buffer as u8; 100]);
                    out.push(Outbound {
                        to: from.into(),
                        buffer,
                        range: 10..20,
                    });
                }
                assert_eq!(inbox.send(b.as_raw_fd(), &out), count);
                assert_eq!(inbox.send(b.as_raw_fd(), &out[..1]), 1);
                seen += count;
            }
            assert_eq!(
                inbox.receive(b.as_raw_fd()).unwrap_err().kind(),
                io::ErrorKind::WouldBlock
            );
            let mut buffer = [0; 100];
            for _ in 0..42 {
                assert_eq!(a.recv(&mut buffer).unwrap(), 10);
            }
        }
    }

    #[test]
    fn datagrams_to_one_peer_come_each_by_itself_and_in_order_however_they_are_cut() {
        let (a, b) = (
            UdpSocket::bind("127.0.0.1:0").unwrap(),
            UdpSocket::bind("127.0.0.1:0").unwrap(),
        );
        let lengths = [1_400, 1_400, 1_400, 300, 1_400, 20, 30, 30, 10];
        let datagrams: Vec<Vec<u8>> = (0..).zip(lengths).map(|(n, length)| vec![n; length]).collect();
        let to = SockAddr::from(b.local_addr().unwrap());
        assert_eq!(send_all(a.as_raw_fd(), &to, &datagrams), datagrams.len());
        let mut buffer = [0; 2_000];
        for expected in &datagrams {
            let length = b.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], &expected[..]);
        }
        let many = vec![vec![7; 1_200]; 200];
        assert_eq!(run_length(&many), 54, "of an IP packet's octets");
        assert_eq!(
            run_length(&[vec![1; 5], vec![1; 6]]),
            1,
            "a longer one is no segment"
        );
    }

    #[test]
    fn a_datagram_that_is_too_long_is_dropped_and_the_next_is_not() {
        let (a, b) = (
            UdpSocket::bind("127.0.0.1:0").unwrap(),
            UdpSocket::bind("127.0.0.1:0").unwrap(),
        );
        a.send_to(&[1; DATAGRAM_BYTES + 1], b.local_addr().unwrap())
            .unwrap();
        a.send_to(&[2; DATAGRAM_BYTES], b.local_addr().unwrap()).unwrap();
        let mut inbox = Inbox::new();
        assert_eq!(inbox.receive(b.as_raw_fd()).unwrap(), 2);
        assert!(inbox.datagram(0).is_none());
        assert_eq!(inbox.datagram(1).unwrap().1.len(), DATAGRAM_BYTES);
        for (len, taken) in [(DATAGRAM_BYTES + 1, None), (3, Some(3))] {
            a.send_to(&vec![1; len], b.local_addr().unwrap()).unwrap();
            assert_eq!(inbox.receive_one(b.as_raw_fd()).unwrap(), 1);
            let from = a.local_addr().unwrap();
            assert_eq!(
                inbox.datagram(0).map(|(from, bytes)| (from, bytes.len())),
                taken.map(|len| (from, len))
            );
        }
    }
}
