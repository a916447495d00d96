//! The demo's other server: it takes whatever it is brought by SMTP, in the clear, and keeps it for the story.
//!
//! It shares no code with the server that it stands against, so that what arrives here arrives anywhere.

use anyhow::{Context, Result, bail};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// The longest line that it reads.
const LINE_BYTES: u64 = 8 * 1024;
/// The longest message that it keeps.
const MESSAGE_BYTES: usize = 1024 * 1024;
/// Messages that wait to be looked at; further ones are taken and forgotten.
const MESSAGES: usize = 16;

/// A message that was brought, with its envelope.
#[derive(Debug)]
pub(super) struct Brought {
    pub(super) from: String,
    pub(super) to: Vec<String>,
    /// Its lines, ended by CRLF.
    pub(super) message: String,
}

/// The other server, which serves as long as this is kept.
pub(super) struct Sink {
    address: SocketAddr,
    brought: mpsc::Receiver<Brought>,
    serving: tokio::task::JoinHandle<()>,
}

impl Sink {
    /// Listens on loopback, at a port that is free.
    pub(super) async fn listen() -> Result<Sink> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.context("a port for the demo's other server")?;
        let address = listener.local_addr()?;
        let (tell, brought) = mpsc::channel(MESSAGES);
        let serving = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let tell = tell.clone();
                // Who breaks off is not heard of; the story misses the message.
                tokio::spawn(async move { drop(session(socket, tell).await) });
            }
        });
        Ok(Sink {
            address,
            brought,
            serving,
        })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next message that is brought, or has been.
    pub(super) async fn next(&mut self, patience: Duration) -> Result<Brought> {
        match tokio::time::timeout(patience, self.brought.recv()).await {
            Ok(Some(brought)) => Ok(brought),
            Ok(None) => bail!("the other server has ended"),
            Err(_) => bail!(
                "expected a message at the other server within {} s; none came",
                patience.as_secs()
            ),
        }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn session(socket: TcpStream, tell: mpsc::Sender<Brought>) -> Result<()> {
    let mut stream = BufReader::new(socket);
    let (mut from, mut to) = (String::new(), Vec::new());
    stream.write_all(b"220 elsewhere.test ESMTP\r\n").await?;
    loop {
        let line = read_line(&mut stream).await?;
        let word = line.split(' ').next().unwrap_or_default().to_ascii_uppercase();
        let reply = match word.as_str() {
            "EHLO" => "250-elsewhere.test\r\n250 8BITMIME",
            "HELO" | "NOOP" => "250 elsewhere.test",
            "MAIL" => {
                from = path(&line);
                "250 2.1.0 fine"
            }
            "RCPT" => {
                to.push(path(&line));
                "250 2.1.5 fine"
            }
            "DATA" => {
                stream.write_all(b"354 go on\r\n").await?;
                let message = read_message(&mut stream).await?;
                let (from, to) = (std::mem::take(&mut from), std::mem::take(&mut to));
                let _kept = tell.try_send(Brought { from, to, message });
                "250 2.0.0 it is here"
            }
            "RSET" => {
                from.clear();
                to.clear();
                "250 2.0.0 forgotten"
            }
            "QUIT" => {
                stream.write_all(b"221 2.0.0 bye\r\n").await?;
                return Ok(());
            }
            _ => "500 5.5.1 that is not spoken here",
        };
        stream.write_all(format!("{reply}\r\n").as_bytes()).await?;
    }
}

/// What stands between the angle brackets.
fn path(line: &str) -> String {
    let inner = line.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    inner.map(|(path, _)| path.to_owned()).unwrap_or_default()
}

async fn read_line(stream: &mut BufReader<TcpStream>) -> Result<String> {
    let mut line = Vec::new();
    (&mut *stream)
        .take(LINE_BYTES)
        .read_until(b'\n', &mut line)
        .await?;
    match line.strip_suffix(b"\r\n") {
        Some(line) => Ok(String::from_utf8_lossy(line).into_owned()),
        None => bail!("expected a line of at most {LINE_BYTES} bytes that ends with CRLF"),
    }
}

//= https://www.rfc-editor.org/rfc/rfc5321#section-4.5.2
async fn read_message(stream: &mut BufReader<TcpStream>) -> Result<String> {
    let mut message = String::new();
    loop {
        let line = read_line(stream).await?;
        if line == "." {
            return Ok(message);
        }
        message += line.strip_prefix('.').unwrap_or(&line);
        message += "\r\n";
        if message.len() > MESSAGE_BYTES {
            bail!("expected a message of at most {MESSAGE_BYTES} bytes");
        }
    }
}
