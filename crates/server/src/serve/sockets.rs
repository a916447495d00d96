//! Everything that is listened on, opened before rights are dropped.

use crate::config::{Config, Limits, Service};
use crate::ports;
use anyhow::Result;
use socket2::{Domain, Protocol, Socket, Type};
use std::fs::{Metadata, Permissions};
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1_024;
/// What a SIP datagram socket may hold while signalling is busy: some thousand messages.
const DATAGRAM_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// Lets the process open as many files as it may. A shell allows 1,024 unless asked, which one address could fill with
/// connections that are all within the limits; whoever wants fewer sets the hard limit. Says how many that are.
pub(crate) fn allow_many() -> io::Result<usize> {
    let mut files = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: both calls get a pointer to a whole structure that outlives them.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut files) != 0 {
            return Err(io::Error::last_os_error());
        }
        files.rlim_cur = files.rlim_max;
        if libc::setrlimit(libc::RLIMIT_NOFILE, &files) != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(usize::try_from(files.rlim_cur).unwrap_or(usize::MAX))
}

/// What calls take, which have four sockets each.
const FILES_PER_CALL: usize = 4;
/// What the store, bodies that are read, and connections to other servers take.
const OTHER_FILES: usize = 1_024;

/// How many connections are kept at a time where so many are configured and so many files may be open: what the calls may
/// need is left to them, but no more than half.
pub(crate) fn connections(limits: &Limits, files: usize) -> usize {
    let others = limits.calls.saturating_mul(FILES_PER_CALL) + OTHER_FILES;
    limits.connections.min(files - others.min(files / 2))
}

/// A line for who is allowed fewer connections than configured.
pub(crate) fn too_few_files(limits: &Limits, files: usize) -> Option<String> {
    let (configured, kept) = (limits.connections, connections(limits, files));
    (kept < configured).then(|| {
        format!(
            "limits.connections: {configured} are too many for the {files} files that this process may open: {kept} are \
             kept at a time; raise that limit (LimitNOFILE= of the unit, or `ulimit -Hn`), or lower this one"
        )
    })
}

/// The open sockets, by service.
pub(crate) struct Sockets {
    pub(crate) sip_udp: Vec<UdpSocket>,
    streams: Vec<(Service, TcpListener)>,
    /// LMTP of this machine.
    pub(crate) lmtp: Option<UnixListener>,
    /// What there is to say about the ports: which are taken in place of denied ones.
    pub(crate) notices: Vec<String>,
}

impl Sockets {
    /// Opens what the configuration names.
    pub(crate) fn open(config: &Config) -> Result<Sockets> {
        let udp = ports::open(Service::SipUdp, &config.listener(Service::SipUdp), open_udp)?;
        let mut sockets = Sockets {
            sip_udp: udp.sockets,
            streams: Vec::new(),
            lmtp: config.listen.lmtp_socket.as_deref().map(open_local).transpose()?,
            notices: udp.notice.into_iter().collect(),
        };
        for service in Service::ALL {
            if service == Service::SipUdp {
                continue;
            }
            let opened = ports::open(service, &config.listener(service), open_tcp)?;
            sockets.notices.extend(opened.notice);
            let opened = opened.sockets.into_iter();
            sockets.streams.extend(opened.map(|listener| (service, listener)));
        }
        Ok(sockets)
    }

    /// The listeners of a service, which are handed over once.
    pub(crate) fn take(&mut self, service: Service) -> Vec<TcpListener> {
        let of = self.streams.extract_if(.., |(of, _)| *of == service);
        of.map(|(_, listener)| listener).collect()
    }

    /// What each service listens on.
    pub(crate) fn addresses(&self) -> io::Result<Vec<(Service, SocketAddr)>> {
        let udp = self
            .sip_udp
            .iter()
            .map(|socket| Ok((Service::SipUdp, socket.local_addr()?)));
        let streams = self
            .streams
            .iter()
            .map(|(service, listener)| Ok((*service, listener.local_addr()?)));
        udp.chain(streams).collect()
    }
}

/// A socket that every user of this machine may open who may look into its folder. One that a server left behind is taken
/// away; one that answers is another's.
fn open_local(path: &Path) -> Result<UnixListener> {
    let open = || {
        let is_socket = |metadata: Metadata| metadata.file_type().is_socket();
        if std::fs::symlink_metadata(path).is_ok_and(is_socket) {
            if UnixStream::connect(path).is_ok() {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            std::fs::remove_file(path)?;
        }
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, Permissions::from_mode(0o666))?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    open().map_err(|error: io::Error| {
        anyhow::anyhow!(
            "listen.lmtp_socket: {}: {error}; set a path in a folder that exists, and that no other program uses",
            path.display()
        )
    })
}

fn open_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = new(address, Type::DGRAM, Protocol::UDP)?;
    // The kernel may grant less (net.core.rmem_max), which costs retransmissions under load and nothing else.
    let _ = socket.set_recv_buffer_size(DATAGRAM_BUFFER_BYTES);
    let _ = socket.set_send_buffer_size(DATAGRAM_BUFFER_BYTES);
    socket.bind(&address.into())?;
    Ok(socket.into())
}

fn open_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = new(address, Type::STREAM, Protocol::TCP)?;
    // Connections of a server that has just stopped must not keep the next one from starting.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn new(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        // IPv4 has sockets of its own.
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_a_server_left_behind_is_taken_and_one_that_answers_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lmtp.sock");
        drop(open_local(&path).unwrap());
        let _served = open_local(&path).expect("the old one answers nobody");
        let error = open_local(&path).unwrap_err().to_string();
        assert!(error.starts_with("listen.lmtp_socket: "), "{error}");
        let file = folder.path().join("file");
        std::fs::write(&file, "x").unwrap();
        assert!(open_local(&file).is_err(), "a file is nobody's socket");
        assert_eq!(std::fs::read(&file).unwrap(), b"x");
    }

    #[test]
    fn connections_leave_to_calls_what_they_need_and_half_of_the_files_at_most() {
        let limits = Limits {
            connections: 20_000,
            calls: 5_000,
            ..Limits::default()
        };
        assert_eq!(connections(&limits, 65_536), 20_000);
        assert_eq!(connections(&limits, 20_000), 10_000);
        assert_eq!(connections(&limits, 1_024), 512);
        let few_calls = Limits { calls: 500, ..limits };
        assert_eq!(connections(&few_calls, 20_000), 20_000 - 4 * 500 - OTHER_FILES);
        let limits = Limits {
            calls: 5_000,
            ..few_calls
        };
        assert_eq!(too_few_files(&limits, 65_536), None);
        let line = too_few_files(&limits, 1_024).expect("a line");
        assert!(
            line.starts_with("limits.connections: 20000") && line.contains("512 are kept"),
            "{line}"
        );
    }
}
