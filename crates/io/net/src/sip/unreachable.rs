//! What ICMP tells of datagrams that nobody takes: a port that is closed, a host or a network that is not there.

use socket2::{SockAddr, SockAddrStorage};
use std::io;
use std::mem::{MaybeUninit, size_of};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// Has the kernel keep such messages for [`next`]; a socket that cannot goes without.
pub(super) fn watch(socket: &UdpSocket, is_ipv6: bool) {
    let (level, name) = match is_ipv6 {
        true => (libc::IPPROTO_IPV6, libc::IPV6_RECVERR),
        false => (libc::IPPROTO_IP, libc::IP_RECVERR),
    };
    let on: libc::c_int = 1;
    // SAFETY: the pointer and the length denote `on`, which outlives the call.
    let set = unsafe {
        let (value, len) = (
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        );
        libc::setsockopt(socket.as_raw_fd(), level, name, value, len)
    };
    if set != 0 {
        tracing::debug!(error = %io::Error::last_os_error(), "closed ports are noticed by timers only");
    }
}

/// The next address that a datagram was sent to in vain; `WouldBlock` when no more are known.
pub(super) fn next(socket: &UdpSocket) -> io::Result<Option<SocketAddr>> {
    socket.try_io(Interest::ERROR, || read(socket.as_raw_fd()))
}

/// Whether an error of a send or a receive is news of an earlier datagram, perhaps to somebody else, that the kernel tells
/// whoever comes next.
pub(super) fn is_about_another(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(is_unreachable)
}

fn is_unreachable(errno: libc::c_int) -> bool {
    matches!(errno, libc::ECONNREFUSED | libc::EHOSTUNREACH | libc::ENETUNREACH)
}

/// `None` for a message that is about something else, such as a datagram's size.
fn read(fd: RawFd) -> io::Result<Option<SocketAddr>> {
    // Aligned as the kernel's headers in it are.
    let mut control = [0u64; 64];
    let mut name = SockAddrStorage::zeroed();
    let mut payload = [MaybeUninit::<u8>::uninit(); 1];
    let mut vector = libc::iovec {
        iov_base: payload.as_mut_ptr().cast(),
        iov_len: payload.len(),
    };
    // SAFETY: a msghdr is plain data, for which zero is a value of every field.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_name = (&raw mut name).cast();
    message.msg_namelen = name.size_of();
    message.msg_iov = &raw mut vector;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control);
    // SAFETY: every pointer in `message` denotes memory of the given length that outlives the call.
    let read = unsafe { libc::recvmsg(fd, &raw mut message, libc::MSG_ERRQUEUE) };
    if read < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has written the address, of the family that it says.
    let address = unsafe { SockAddr::new(name, message.msg_namelen) }.as_socket();
    // SAFETY: `message` is as the kernel has filled it.
    Ok(address.filter(|_| unsafe { errno_of(&message) }.is_some_and(is_unreachable)))
}

/// The error that the kernel put beside the datagram.
///
/// # Safety
/// `message` is one that `recvmsg` has filled, and its control part is still there.
unsafe fn errno_of(message: &libc::msghdr) -> Option<libc::c_int> {
    // SAFETY: these walk through the control part within its length, and the data behind a header of that kind begins with
    // the structure, at any alignment.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(message);
        while !header.is_null() {
            let kind = ((*header).cmsg_level, (*header).cmsg_type);
            if kind == (libc::IPPROTO_IP, libc::IP_RECVERR)
                || kind == (libc::IPPROTO_IPV6, libc::IPV6_RECVERR)
            {
                let told: libc::sock_extended_err = std::ptr::read_unaligned(libc::CMSG_DATA(header).cast());
                return Some(told.ee_errno as libc::c_int);
            }
            header = libc::CMSG_NXTHDR(message, header);
        }
    }
    None
}
