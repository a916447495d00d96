//! One connection of the streams' thread: a socket, maybe TLS, and what waits to be sent.

use bytes::Bytes;
use std::collections::VecDeque;
use std::io::{self, IoSlice, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsRawFd, RawFd};

/// Pieces written by one call.
const SLICES: usize = 16;

/// A connection.
pub(super) struct Connection {
    socket: TcpStream,
    tls: Option<Box<rustls::Connection>>,
    waiting: VecDeque<Bytes>,
    /// Octets of the first that are sent.
    sent: usize,
    waiting_bytes: usize,
}

impl Connection {
    pub(super) fn new(socket: TcpStream, tls: Option<rustls::Connection>) -> Self {
        Connection {
            socket,
            tls: tls.map(Box::new),
            waiting: VecDeque::new(),
            sent: 0,
            waiting_bytes: 0,
        }
    }

    pub(super) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Whether TLS is still being agreed on.
    pub(super) fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }

    /// Octets that wait here.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Whether anything waits to be sent.
    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty() || self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// Puts bytes behind what waits.
    pub(super) fn push(&mut self, bytes: Bytes) {
        // Nothing would wait, and yet it would.
        if !bytes.is_empty() {
            self.waiting_bytes += bytes.len();
            self.waiting.push_back(bytes);
        }
    }

    /// Forgets what waits: nobody will have it.
    pub(super) fn discard(&mut self) {
        self.waiting.clear();
        (self.sent, self.waiting_bytes) = (0, 0);
    }

    /// The socket, where bytes that are sent by it are the next that the peer gets.
    pub(super) fn free_socket(&self) -> Option<RawFd> {
        let is_free = self.tls.is_none() && self.waiting.is_empty();
        is_free.then(|| self.socket.as_raw_fd())
    }

    /// Sends as much as the peer takes. What is left waits, and [`has_waiting`](Connection::has_waiting) says so.
    pub(super) fn write(&mut self) -> io::Result<()> {
        let written = match &mut self.tls {
            None => self.write_plain(),
            Some(_) => self.write_tls(),
        };
        match written {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            written => written,
        }
    }

    fn write_plain(&mut self) -> io::Result<()> {
        while !self.waiting.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let mut sent = self.sent;
            let mut used = 0;
            for (slice, bytes) in slices.iter_mut().zip(&self.waiting) {
                *slice = IoSlice::new(&bytes[std::mem::take(&mut sent)..]);
                used += 1;
            }
            let written = match &slices[..used] {
                // What most readers get at a time, and the shorter way through the kernel.
                [alone] => self.socket.write(alone),
                several => self.socket.write_vectored(several),
            };
            let written = match written {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                written => written?,
            };
            self.advance(written);
        }
        Ok(())
    }

    fn advance(&mut self, written: usize) {
        self.waiting_bytes -= written;
        self.sent += written;
        while let Some(first) = self.waiting.front().filter(|first| first.len() <= self.sent) {
            self.sent -= first.len();
            self.waiting.pop_front();
        }
    }

    fn write_tls(&mut self) -> io::Result<()> {
        loop {
            let Some(tls) = &mut self.tls else { return Ok(()) };
            // What is encrypted leaves before more is, so that no more than one turn's octets are ever held twice.
            while tls.wants_write() {
                tls.write_tls(&mut self.socket)?;
            }
            if tls.is_handshaking() || self.waiting.is_empty() {
                return Ok(());
            }
            // It takes only so much at a time.
            let (mut written, mut sent) = (0, self.sent);
            for bytes in &self.waiting {
                let rest = &bytes[std::mem::take(&mut sent)..];
                let taken = tls.writer().write(rest)?;
                written += taken;
                if taken < rest.len() {
                    break;
                }
            }
            self.advance(written);
        }
    }

    /// Reads once what has come: how many octets of `buffer` are filled, `None` when the peer has closed. Nothing that can be
    /// given out yet is zero octets.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let read = match &mut self.tls {
            None => match self.socket.read(buffer) {
                Ok(0) => Ok(None),
                read => read.map(Some),
            },
            Some(tls) => read_tls(tls, &mut self.socket, buffer),
        };
        match read {
            Err(error) if is_passing(&error) => Ok(Some(0)),
            read => read,
        }
    }

    /// Tells the peer that nothing follows.
    pub(super) fn say_goodbye(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            // A peer that takes nothing misses the goodbye.
            let _ = tls.write_tls(&mut self.socket);
        }
        let _ = self.socket.shutdown(std::net::Shutdown::Write);
    }
}

/// Whether the same may work in a moment.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

fn read_tls(
    tls: &mut rustls::Connection,
    socket: &mut TcpStream,
    buffer: &mut [u8],
) -> io::Result<Option<usize>> {
    // What was decrypted before has not all been taken, perhaps.
    match tls.reader().read(buffer) {
        Ok(0) => return Ok(None),
        Ok(read) => return Ok(Some(read)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
        Err(error) => return Err(error),
    }
    if tls.read_tls(socket)? == 0 {
        return Ok(None);
    }
    tls.process_new_packets()
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    match tls.reader().read(buffer) {
        Ok(0) => Ok(None),
        Ok(read) => Ok(Some(read)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Some(0)),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::{Tls, self_signed};
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, ServerName};
    use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::time::Duration;

    #[test]
    fn more_than_a_peer_or_tls_takes_at_a_time_arrives_whole() {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = self_signed(folder.path(), &["localhost".to_string()]).unwrap();
        let tls = Tls::load(&cert, &key).unwrap();
        let mut roots = RootCertStore::empty();
        for cert in CertificateDer::pem_file_iter(&cert).unwrap() {
            roots.add(cert.unwrap()).unwrap();
        }
        let config =
            ClientConfig::builder_with_provider(rustls::crypto::aws_lc_rs::default_provider().into())
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(roots)
                .with_no_client_auth();
        let config = Arc::new(config);
        let whole: Vec<u8> = (0..8_000_000u32).map(|n| (n % 251) as u8).collect();
        for is_tls in [false, true] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let (server, len, config) = (listener.local_addr().unwrap(), whole.len(), config.clone());
            let client = std::thread::spawn(move || {
                let mut socket = TcpStream::connect(server).unwrap();
                let mut came = vec![0; len];
                if is_tls {
                    let name = ServerName::try_from("localhost").unwrap();
                    let client = ClientConnection::new(config, name).unwrap();
                    StreamOwned::new(client, socket).read_exact(&mut came).unwrap();
                } else {
                    socket.read_exact(&mut came).unwrap();
                }
                came
            });
            let (socket, _) = listener.accept().unwrap();
            socket.set_nonblocking(true).unwrap();
            let tls = is_tls.then(|| rustls::ServerConnection::new(tls.server_config()).unwrap().into());
            let mut connection = Connection::new(socket, tls);
            for bytes in [&whole[..10], &whole[10..10], &whole[10..70_000], &whole[70_000..]] {
                connection.push(Bytes::copy_from_slice(bytes));
            }
            assert_eq!(connection.waiting_bytes(), whole.len());
            while connection.is_handshaking() || connection.has_waiting() {
                connection.read(&mut [0; 1_024]).unwrap();
                connection.write().unwrap();
                std::thread::sleep(Duration::from_micros(100));
            }
            assert_eq!(connection.waiting_bytes(), 0);
            assert!(client.join().unwrap() == whole, "TLS: {is_tls}");
        }
    }
}
