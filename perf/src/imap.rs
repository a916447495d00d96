//! An IMAP client that does nothing it need not.

use crate::Result;
use crate::tls::any_server;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(300);

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// One session.
pub struct Client {
    stream: BufReader<Box<dyn Stream>>,
    tags: u32,
    line: Vec<u8>,
}

/// What an answer came to.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// Untagged responses.
    pub untagged: usize,
    /// Octets of all of it.
    pub bytes: usize,
    /// The last untagged response's first line.
    pub last: String,
}

impl Client {
    /// Connects from an address of the network 127.0.0.0/8 of its own, logs in, under TLS if that is wanted.
    pub fn connect(server: SocketAddr, n: usize, tls: bool, user: &str, password: &str) -> Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        let [high, low] = u16::try_from(n)?.to_be_bytes();
        socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 1, high, low.max(1)), 0)).into())?;
        socket.connect(&server.into())?;
        socket.set_tcp_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let socket = TcpStream::from(socket);
        let mut client = Client::on(Box::new(socket.try_clone()?));
        client.read_line()?;
        if tls {
            client.command("STARTTLS")?;
            let connection = ClientConnection::new(any_server(), ServerName::try_from("bench.test")?)?;
            client = Client::on(Box::new(StreamOwned::new(connection, socket)));
        }
        client.command(&format!("LOGIN {user} {password}"))?;
        Ok(client)
    }

    fn on(stream: Box<dyn Stream>) -> Self {
        Client {
            stream: BufReader::with_capacity(64 * 1024, stream),
            tags: 0,
            line: Vec::new(),
        }
    }

    /// Gives a command, and reads to the end of its answer, which must be OK.
    pub fn command(&mut self, command: &str) -> Result<Reply> {
        let tag = self.tag();
        self.send(format!("{tag} {command}\r\n").as_bytes())?;
        self.finish(&tag)
    }

    /// Appends a message to INBOX; its octets go with the command when a literal may be as long, else after the go-ahead.
    pub fn append(&mut self, message: &[u8]) -> Result<()> {
        let tag = self.tag();
        let head = |plus| format!("{tag} APPEND INBOX {{{}{plus}}}\r\n", message.len());
        //= https://www.rfc-editor.org/rfc/rfc7888#section-5
        if message.len() <= 4_096 {
            self.send(&[head("+").as_bytes(), message, b"\r\n"].concat())?;
        } else {
            self.send(head("").as_bytes())?;
            self.read_line()?;
            self.send(&[message, b"\r\n"].concat())?;
        }
        self.finish(&tag).map(drop)
    }

    /// How many messages INBOX has.
    pub fn messages(&mut self) -> Result<usize> {
        let told = self.command("STATUS INBOX (MESSAGES)")?.last;
        let count = told
            .split("MESSAGES ")
            .nth(1)
            .and_then(|rest| rest.trim_end_matches([')', '\r', '\n']).parse().ok());
        count.ok_or_else(|| format!("STATUS said {told:?}").into())
    }

    /// Begins to idle.
    pub fn idle(&mut self) -> Result<()> {
        let tag = self.tag();
        self.send(format!("{tag} IDLE\r\n").as_bytes())?;
        let line = self.read_line()?;
        match line.starts_with(b"+") {
            true => Ok(()),
            false => Err(format!("IDLE: the server said {:?}", String::from_utf8_lossy(line)).into()),
        }
    }

    /// Reads until a line has `word`.
    pub fn wait_for(&mut self, word: &str) -> Result<()> {
        while !String::from_utf8_lossy(self.read_line()?).contains(word) {}
        Ok(())
    }

    fn tag(&mut self) -> String {
        self.tags += 1;
        format!("t{}", self.tags)
    }

    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let stream = self.stream.get_mut();
        stream.write_all(bytes)?;
        Ok(stream.flush()?)
    }

    fn finish(&mut self, tag: &str) -> Result<Reply> {
        let mut reply = Reply::default();
        let mut last = Vec::new();
        loop {
            reply.bytes += self.read_line()?.len();
            if let Some(rest) = self.line.strip_prefix(tag.as_bytes()) {
                reply.last = String::from_utf8_lossy(&last).into_owned();
                return match rest.starts_with(b" OK") {
                    true => Ok(reply),
                    false => Err(format!("the server said {:?}", String::from_utf8_lossy(&self.line)).into()),
                };
            }
            reply.untagged += 1;
            let mut rest = literal(&self.line);
            // The two change places, so that no line is copied.
            std::mem::swap(&mut self.line, &mut last);
            while let Some(length) = rest {
                let mut taken = (&mut self.stream).take(length);
                reply.bytes += usize::try_from(std::io::copy(&mut taken, &mut std::io::sink())?)?;
                reply.bytes += self.read_line()?.len();
                rest = literal(&self.line);
            }
        }
    }

    fn read_line(&mut self) -> Result<&[u8]> {
        self.line.clear();
        self.stream.read_until(b'\n', &mut self.line)?;
        match self.line.ends_with(b"\n") {
            true => Ok(&self.line),
            false => Err("the server closed the connection".into()),
        }
    }
}

/// The length of the literal that a line announces at its end.
fn literal(line: &[u8]) -> Option<u64> {
    let line = line.strip_suffix(b"}\r\n")?;
    let start = line.iter().rposition(|byte| *byte == b'{')?;
    std::str::from_utf8(&line[start + 1..]).ok()?.parse().ok()
}
