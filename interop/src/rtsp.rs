//! RTSP typed by hand, for what no client that others wrote can be made to do.

use crate::Server;
use std::collections::VecDeque;
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(30);
/// Where the tests' servers listen for RTSP.
const PORT: u16 = 8554;

/// A connection on which RTSP is spoken.
pub struct RtspSocket {
    stream: TcpStream,
    base: String,
    came: Vec<u8>,
    packets: VecDeque<(u8, Vec<u8>)>,
    cseq: u32,
    session: Option<String>,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct RtspReply {
    /// Its status.
    pub status: u16,
    /// Its head, the status line and all.
    pub head: String,
    /// Its body.
    pub body: String,
}

impl RtspReply {
    /// A field of its head.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (field, value) = line.split_once(':')?;
            field.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }
}

impl RtspSocket {
    /// Connects.
    pub fn open(server: &Server) -> Result<RtspSocket> {
        let stream = TcpStream::connect(SocketAddr::from((server.address(), PORT)))?;
        RtspSocket::over(server, stream)
    }

    /// The same on a connection to the server that was made elsewhere.
    pub fn over(server: &Server, stream: TcpStream) -> Result<RtspSocket> {
        stream.set_read_timeout(Some(LIMIT))?;
        stream.set_write_timeout(Some(LIMIT))?;
        stream.set_nodelay(true)?;
        Ok(RtspSocket {
            stream,
            base: format!("rtsp://{}:{PORT}", server.address()),
            came: Vec::new(),
            packets: VecDeque::new(),
            cseq: 0,
            session: None,
        })
    }

    /// The socket itself.
    pub fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// The session that the server has given.
    pub fn session(&self) -> Option<&str> {
        self.session.as_deref()
    }

    /// Asks within another connection's session from now on.
    pub fn take_up(&mut self, session: &str) {
        self.session = Some(session.to_owned());
    }

    /// A request for what is behind the server's address (`/alice/door`), with further header lines and a body.
    pub fn request(&mut self, method: &str, path: &str, lines: &str, body: &str) -> String {
        self.cseq += 1;
        let session = self.session.iter().map(|id| format!("Session: {id}\r\n"));
        let session: String = session.collect();
        let length = match body.len() {
            0 => String::new(),
            length => format!("Content-Length: {length}\r\n"),
        };
        let (base, cseq) = (&self.base, self.cseq);
        format!("{method} {base}{path} RTSP/1.0\r\nCSeq: {cseq}\r\n{session}{lines}{length}\r\n{body}")
    }

    /// Sends bytes.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends a request and waits for its answer; packets that come before it wait for [`packet`](RtspSocket::packet).
    pub fn ask(&mut self, method: &str, path: &str, lines: &str, body: &str) -> Result<RtspReply> {
        let request = self.request(method, path, lines, body);
        self.send(request.as_bytes())?;
        self.reply()
    }

    /// Announces a description.
    pub fn announce(&mut self, path: &str, sdp: &str) -> Result<RtspReply> {
        self.ask("ANNOUNCE", path, "Content-Type: application/sdp\r\n", sdp)
    }

    /// Sets a stream up within this connection, RTP on channel `2 × track`.
    pub fn set_up(&mut self, path: &str, track: usize, more: &str) -> Result<RtspReply> {
        let (rtp, rtcp) = (2 * track, 2 * track + 1);
        let lines = format!("Transport: RTP/AVP/TCP;unicast;interleaved={rtp}-{rtcp}{more}\r\n");
        self.ask("SETUP", path, &lines, "")
    }

    /// Reads a mount whose streams are called as the server calls them, from where `lines` say (`Range: …`): the answer to PLAY.
    pub fn play(&mut self, path: &str, tracks: usize, lines: &str) -> Result<RtspReply> {
        let described = self.ask("DESCRIBE", path, "Accept: application/sdp\r\n", "")?;
        if described.status != 200 {
            return Ok(described);
        }
        for track in 0..tracks {
            let set_up = self.set_up(&format!("{path}/trackID={track}"), track, "")?;
            if set_up.status != 200 {
                return Ok(set_up);
            }
        }
        self.ask("PLAY", path, lines, "")
    }

    /// The next answer.
    pub fn reply(&mut self) -> Result<RtspReply> {
        loop {
            if self.came.first() == Some(&b'$') {
                self.take_packet()?;
                continue;
            }
            if let Some(end) = self.came.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&self.came[..end]).into_owned();
                let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
                let mut reply = RtspReply {
                    status: status.ok_or_else(|| Error::other(head.clone()))?,
                    head,
                    body: String::new(),
                };
                let length = reply
                    .field("Content-Length")
                    .and_then(|length| length.parse().ok());
                let whole = end + 4 + length.unwrap_or(0);
                while self.came.len() < whole {
                    self.more()?;
                }
                reply.body = String::from_utf8_lossy(&self.came[end + 4..whole]).into_owned();
                self.came.drain(..whole);
                if let Some(session) = reply.field("Session") {
                    self.session = session.split(';').next().map(str::to_owned);
                }
                return Ok(reply);
            }
            self.more()?;
        }
    }

    /// The next packet: its channel, and what is in it.
    pub fn packet(&mut self) -> Result<(u8, Vec<u8>)> {
        loop {
            if let Some(packet) = self.packets.pop_front() {
                return Ok(packet);
            }
            match self.came.first() {
                Some(b'$') => self.take_packet()?,
                // Answers that nobody waits for.
                Some(_) => drop(self.reply()?),
                None => self.more()?,
            }
        }
    }

    fn take_packet(&mut self) -> Result<()> {
        while self.came.len() < 4 {
            self.more()?;
        }
        let whole = 4 + usize::from(u16::from_be_bytes([self.came[2], self.came[3]]));
        while self.came.len() < whole {
            self.more()?;
        }
        self.packets
            .push_back((self.came[1], self.came[4..whole].to_vec()));
        self.came.drain(..whole);
        Ok(())
    }

    fn more(&mut self) -> Result<()> {
        let mut bytes = vec![0; 64 * 1024];
        match self.stream.read(&mut bytes)? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            length => {
                self.came.extend_from_slice(&bytes[..length]);
                Ok(())
            }
        }
    }
}

/// The NAL units of H.264 in the payloads of one picture's RTP packets (RFC 6184): single, aggregated, or in fragments.
pub fn h264_units(packets: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut units: Vec<Vec<u8>> = Vec::new();
    for payload in packets {
        match payload.first().map(|first| first & 0x1f) {
            Some(24) => {
                let mut rest = &payload[1..];
                while let [high, low, behind @ ..] = rest {
                    let (unit, next) = behind.split_at(usize::from(u16::from_be_bytes([*high, *low])));
                    units.push(unit.to_vec());
                    rest = next;
                }
            }
            Some(28) if payload[1] & 0x80 != 0 => {
                let mut unit = vec![payload[0] & 0xe0 | payload[1] & 0x1f];
                unit.extend_from_slice(&payload[2..]);
                units.push(unit);
            }
            Some(28) => {
                let begun = units.last_mut().expect("a fragment that begins came before");
                begun.extend_from_slice(&payload[2..]);
            }
            Some(_) => units.push(payload.clone()),
            None => {}
        }
    }
    units
}

/// The NAL units of a file with start codes.
pub fn annex_b_units(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut starts: Vec<usize> = (0..bytes.len().saturating_sub(2))
        .filter(|at| bytes[*at..].starts_with(&[0, 0, 1]))
        .collect();
    starts.push(bytes.len());
    let between = starts.windows(2).map(|pair| {
        let unit = &bytes[pair[0] + 3..pair[1]];
        // A zero before the next start code is of that.
        let end = unit
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |last| last + 1);
        unit[..end].to_vec()
    });
    between.collect()
}
