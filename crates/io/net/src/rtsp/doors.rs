//! How connections come about: those that others make, and those that the hub wants made.

use super::{Connection, Driver, Held, Token};
use crate::poll::Interest;
use crate::tls::HANDSHAKE_TIMEOUT;
use ringpost_stream::hub::{ConnectionId, Ends};
use rustls::pki_types::ServerName;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;
use tracing::{debug, warn};

/// Connections that are accepted at a time.
const ACCEPTED: usize = 64;
/// What the kernel holds for a peer that takes nothing, as it counts itself twice that: a second of a usual camera.
const SEND_BUFFER_BYTES: usize = 256 * 1024;
/// When no file can be opened, new connections are looked for again after this.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// How far a connection has come that we make.
#[derive(Debug)]
pub(super) enum Dialling {
    /// The other end has not answered.
    Tcp,
    /// TLS is being agreed on.
    Tls,
    /// It will not stand: why.
    Failed(String),
}

impl Dialling {
    /// Why it does not stand.
    pub(super) fn why(&self) -> String {
        match self {
            Dialling::Failed(why) => why.clone(),
            Dialling::Tcp | Dialling::Tls => "the connection ended before it stood".into(),
        }
    }
}

impl Driver {
    pub(super) fn accept(&mut self, index: usize) {
        for _ in 0..ACCEPTED {
            let Some(listening) = self.listening.get(index) else {
                return;
            };
            let is_secure = listening.is_secure;
            match listening.listener.accept() {
                Ok((socket, remote)) => {
                    if let Err(error) = self.accepted(socket, remote, is_secure) {
                        debug!(%remote, %error, "a connection is not taken");
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    warn!(%error, "no connection can be accepted");
                    let fd = listening.listener.as_raw_fd();
                    let none = Interest {
                        read: false,
                        write: false,
                    };
                    let _ = self.poll.change(fd, Token::Listener(index as u64).number(), none);
                    self.accept_at = Some(self.now() + ACCEPT_PAUSE);
                    return;
                }
            }
        }
    }

    fn accepted(
        &mut self,
        socket: std::net::TcpStream,
        remote: SocketAddr,
        is_secure: bool,
    ) -> io::Result<()> {
        // One over the limit is closed at once: RTSP has no greeting in which it could be told.
        let Some(place) = self.places.take(remote.ip()) else {
            return Ok(());
        };
        socket.set_nonblocking(true)?;
        socket.set_nodelay(true)?;
        // What a slow reader has not taken is kept in the mount's ring, once for all, and not by the kernel for each.
        socket2::SockRef::from(&socket).set_send_buffer_size(SEND_BUFFER_BYTES)?;
        let tls = match is_secure {
            true => Some(rustls::ServerConnection::new(self.tls.server_config()).map_err(io::Error::other)?),
            false => None,
        };
        let now = self.now();
        self.accepted += 1;
        let id = ConnectionId(self.accepted);
        let interest = Interest {
            read: true,
            write: false,
        };
        self.poll
            .add_as(socket.as_raw_fd(), Token::Connection(id).number(), interest)?;
        let ends = Ends {
            local: socket.local_addr()?,
            remote,
            is_secure,
        };
        let handshake_until = is_secure.then(|| now + HANDSHAKE_TIMEOUT);
        self.ending.extend(handshake_until.map(|until| (until, id)));
        let held = Held {
            connection: Connection::new(socket, tls.map(rustls::Connection::from)),
            interest,
            is_full: false,
            closes: None,
            said_all: None,
            is_unwatched: false,
            handshake_until,
            dialling: None,
            _place: Some(place),
        };
        self.connections.insert(id, held);
        self.hub.handle_accepted(now, id, ends);
        Ok(())
    }

    /// Makes a connection to another server.
    pub(super) fn dial(&mut self, id: ConnectionId, to: SocketAddr, tls: Option<String>) {
        if let Err(error) = self.try_dial(id, to, tls.as_deref()) {
            self.hub.handle_unconnected(self.now(), id, &error.to_string());
        }
    }

    fn try_dial(&mut self, id: ConnectionId, to: SocketAddr, tls: Option<&str>) -> io::Result<()> {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        match socket.connect(&to.into()) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error),
            _ => {}
        }
        let socket = TcpStream::from(socket);
        let tls = tls.map(|name| {
            let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
            let config = self.authorities.server_config();
            rustls::ClientConnection::new(config, name).map_err(io::Error::other)
        });
        let tls = tls.transpose()?;
        let interest = Interest {
            read: false,
            write: true,
        };
        self.poll
            .add_as(socket.as_raw_fd(), Token::Connection(id).number(), interest)?;
        let held = Held {
            connection: Connection::new(socket, tls.map(rustls::Connection::from)),
            interest,
            is_full: false,
            closes: None,
            said_all: None,
            is_unwatched: false,
            handshake_until: None,
            dialling: Some(Dialling::Tcp),
            _place: None,
        };
        self.connections.insert(id, held);
        Ok(())
    }

    /// A connection can be written to, or is broken: whether it stands as far as TCP goes.
    pub(super) fn is_made(&mut self, id: ConnectionId) -> bool {
        let now = self.now();
        let Some(held) = self.connections.get_mut(&id) else {
            return false;
        };
        if !matches!(held.dialling, Some(Dialling::Tcp)) {
            return true;
        }
        let socket = held.connection.socket();
        let error = match socket.take_error() {
            Ok(None) => socket.peer_addr().err(),
            Ok(Some(error)) | Err(error) => Some(error),
        };
        if let Some(error) = error {
            self.note_broken(id, &error);
            return false;
        }
        held.dialling = Some(Dialling::Tls);
        if held.connection.is_handshaking() {
            let until = now + HANDSHAKE_TIMEOUT;
            held.handshake_until = Some(until);
            self.ending.insert((until, id));
        }
        self.look_at_handshake(id);
        true
    }

    /// Tells the hub of a connection of ours as soon as TLS is agreed on, if there is any.
    pub(super) fn look_at_handshake(&mut self, id: ConnectionId) {
        let Some(held) = self.connections.get_mut(&id) else {
            return;
        };
        if !matches!(held.dialling, Some(Dialling::Tls)) || held.connection.is_handshaking() {
            return;
        }
        let socket = held.connection.socket();
        let ends = socket.local_addr().and_then(|local| {
            Ok(Ends {
                local,
                remote: socket.peer_addr()?,
                is_secure: held.handshake_until.is_some(),
            })
        });
        match ends {
            Ok(ends) => {
                held.dialling = None;
                self.hub.handle_connected(self.now(), id, ends);
            }
            Err(error) => self.note_broken(id, &error),
        }
    }

    /// A connection is dropped as soon as that may be.
    pub(super) fn note_broken(&mut self, id: ConnectionId, error: &io::Error) {
        debug!(%error, "a connection of RTSP broke");
        if let Some(dialling) = self
            .connections
            .get_mut(&id)
            .and_then(|held| held.dialling.as_mut())
        {
            *dialling = Dialling::Failed(error.to_string());
        }
        self.broken.push(id);
    }
}
