//! The load generator: a POP3 client that does nothing it need not.

use ringpost_perf::Result;
use ringpost_perf::tls::any_server;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// One session.
pub(crate) struct Client {
    stream: BufReader<StreamOwned<ClientConnection, TcpStream>>,
    line: Vec<u8>,
}

impl Client {
    /// Connects under TLS from the first byte, and hears the greeting. Each client has an address of its own, so that the ports
    /// of one do not run out.
    pub(crate) fn connect(server: SocketAddr, n: usize) -> Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        let own = Ipv4Addr::new(127, 0, 1, 1 + u8::try_from(n)?);
        socket.bind(&SocketAddr::from((own, 0)).into())?;
        socket.connect(&server.into())?;
        socket.set_tcp_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let name = ServerName::try_from("bench.test")?;
        let connection = ClientConnection::new(any_server(), name)?;
        let stream = StreamOwned::new(connection, TcpStream::from(socket));
        let mut client = Client {
            stream: BufReader::with_capacity(64 * 1024, stream),
            line: Vec::new(),
        };
        client.answer()?;
        Ok(client)
    }

    /// Logs in, and says how many messages there are.
    pub(crate) fn log_in(&mut self, user: &str, password: &str) -> Result<usize> {
        for command in [format!("USER {user}\r\n"), format!("PASS {password}\r\n")] {
            self.send(&command)?;
            self.answer()?;
        }
        self.send("STAT\r\n")?;
        let stat = self.answer()?;
        let count = stat.split(' ').nth(1).and_then(|n| n.parse().ok());
        count.ok_or_else(|| format!("STAT said {stat:?}").into())
    }

    /// Fetches the messages from the first to the last, with so many asked for at a time; gives their bytes.
    pub(crate) fn fetch(&mut self, messages: usize, ahead: usize) -> Result<usize> {
        let (mut asked, mut bytes) = (0, 0);
        for came in 0..messages {
            let mut commands = String::new();
            while asked < messages && asked - came < ahead {
                asked += 1;
                commands += &format!("RETR {asked}\r\n");
            }
            if !commands.is_empty() {
                self.send(&commands)?;
            }
            self.answer()?;
            loop {
                let line = self.line()?;
                if line == b".\r\n" {
                    break;
                }
                bytes += line.len();
            }
        }
        Ok(bytes)
    }

    /// Says QUIT, and waits until the server has closed.
    pub(crate) fn quit(mut self) -> Result<()> {
        self.send("QUIT\r\n")?;
        self.answer()?;
        // With or without a last word of TLS.
        let _ = self.stream.read(&mut [0; 64]);
        Ok(())
    }

    fn send(&mut self, text: &str) -> Result<()> {
        let stream = self.stream.get_mut();
        stream.write_all(text.as_bytes())?;
        Ok(stream.flush()?)
    }

    fn line(&mut self) -> Result<&[u8]> {
        self.line.clear();
        self.stream.read_until(b'\n', &mut self.line)?;
        match self.line.ends_with(b"\n") {
            true => Ok(&self.line),
            false => Err("the server closed the connection".into()),
        }
    }

    fn answer(&mut self) -> Result<String> {
        let line = String::from_utf8_lossy(self.line()?).trim_end().to_owned();
        match line.starts_with("+OK") {
            true => Ok(line),
            false => Err(format!("expected +OK, the server said {line:?}").into()),
        }
    }
}
