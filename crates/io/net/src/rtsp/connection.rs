//! One connection of the streams' thread: a socket, maybe TLS, and what waits to be sent.

use bytes::Bytes;
use rustls::ServerConnection;
use std::collections::VecDeque;
use std::io::{self, IoSlice, Read, Write};
use std::net::TcpStream;

/// Pieces written by one call.
const SLICES: usize = 128;

/// A connection.
pub(super) struct Connection {
    socket: TcpStream,
    tls: Option<Box<ServerConnection>>,
    waiting: VecDeque<Chunk>,
    /// Octets of the first that are sent.
    sent: usize,
    waiting_bytes: usize,
}

/// What is sent: a head of up to four octets, and what it is of.
struct Chunk {
    head: [u8; 4],
    head_bytes: usize,
    body: Bytes,
}

impl Chunk {
    fn len(&self) -> usize {
        self.head_bytes + self.body.len()
    }

    /// What is left of it behind `sent` octets.
    fn rest(&self, sent: usize) -> (&[u8], &[u8]) {
        let head = &self.head[..self.head_bytes];
        match sent.checked_sub(self.head_bytes) {
            None => (&head[sent..], &self.body),
            Some(of_body) => (&[], &self.body[of_body..]),
        }
    }
}

impl Connection {
    pub(super) fn new(socket: TcpStream, tls: Option<ServerConnection>) -> Self {
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
    pub(super) fn push(&mut self, body: Bytes) {
        self.push_chunk([0; 4], 0, body);
    }

    /// Puts an interleaved packet behind what waits.
    pub(super) fn push_packet(&mut self, head: [u8; 4], body: Bytes) {
        self.push_chunk(head, head.len(), body);
    }

    fn push_chunk(&mut self, head: [u8; 4], head_bytes: usize, body: Bytes) {
        self.waiting_bytes += head_bytes + body.len();
        self.waiting.push_back(Chunk {
            head,
            head_bytes,
            body,
        });
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
            let mut used = 0;
            let mut sent = self.sent;
            for chunk in self.waiting.iter().take(SLICES / 2) {
                let (head, body) = chunk.rest(std::mem::take(&mut sent));
                for part in [head, body] {
                    if !part.is_empty() {
                        slices[used] = IoSlice::new(part);
                        used += 1;
                    }
                }
            }
            let written = match self.socket.write_vectored(&slices[..used]) {
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
        let Some(tls) = &mut self.tls else { return Ok(()) };
        loop {
            // What is encrypted leaves before more is, so that no more than one turn's octets are ever held twice.
            while tls.wants_write() {
                tls.write_tls(&mut self.socket)?;
            }
            if tls.is_handshaking() || self.waiting.is_empty() {
                return Ok(());
            }
            for chunk in self.waiting.drain(..) {
                let (head, body) = chunk.rest(0);
                tls.writer().write_all(head)?;
                tls.writer().write_all(body)?;
            }
            self.waiting_bytes = 0;
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
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                Ok(Some(0))
            }
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

fn read_tls(
    tls: &mut ServerConnection,
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
