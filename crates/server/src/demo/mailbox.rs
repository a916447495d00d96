//! The demo's mail program: our own IMAP client over TLS, which trusts the server's self-signed certificate and no other.

use anyhow::{Context, Result, bail};
use ringpost_base::Instant;
use ringpost_client::imap::{Client, Event, Fetched, Outcome, Output, Tag};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// How long the server may take for one command.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// What opens TLS to a server that shows this certificate, and to no other.
pub(super) fn connector(certificate: &Path) -> Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    for one in CertificateDer::pem_file_iter(certificate)? {
        roots.add(one?)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// A connection under TLS from its first byte, to a server that shows this certificate.
pub(super) async fn secure(
    server: SocketAddr,
    name: &str,
    certificate: &Path,
) -> Result<TlsStream<TcpStream>> {
    let socket = TcpStream::connect(server)
        .await
        .with_context(|| format!("no connection to {server}"))?;
    let name = ServerName::try_from(name.to_owned())?;
    let stream = connector(certificate)?.connect(name, socket);
    stream.await.context("TLS")
}

/// A session.
pub(super) struct Mailbox {
    client: Client,
    stream: TlsStream<TcpStream>,
    started: std::time::Instant,
}

impl Mailbox {
    /// Connects over TLS from the first byte, and waits for the greeting.
    pub(super) async fn connect(server: SocketAddr, name: &str, certificate: &Path) -> Result<Mailbox> {
        let stream = secure(server, name, certificate).await.context("IMAP")?;
        let mut mailbox = Mailbox {
            client: Client::new(),
            stream,
            started: std::time::Instant::now(),
        };
        mailbox
            .until(|event| matches!(event, Event::Greeting { .. }).then_some(()))
            .await
            .context("IMAP greeting")?;
        Ok(mailbox)
    }

    /// `LOGIN` and `SELECT INBOX`; gives how many messages there are.
    pub(super) async fn open(&mut self, user: &str, password: &str) -> Result<u32> {
        let tag = self.client.login(self.now(), user, password);
        self.complete(tag, "LOGIN").await?;
        let tag = self.client.select(self.now(), "INBOX");
        let events = self.complete(tag, "SELECT").await?;
        let exists = events
            .iter()
            .rev()
            .find_map(|e| if let Event::Exists(n) = e { Some(*n) } else { None });
        exists.context("SELECT said nothing of how many messages exist")
    }

    /// `NOOP`, by which the server tells what has come; gives how many messages there are then, if that has changed.
    pub(super) async fn look(&mut self) -> Result<Option<u32>> {
        let tag = self.client.noop(self.now());
        let events = self.complete(tag, "NOOP").await?;
        let told = |event: &Event| {
            if let Event::Exists(n) = event {
                Some(*n)
            } else {
                None
            }
        };
        Ok(events.iter().rev().find_map(told))
    }

    /// `UID FETCH` of every message.
    pub(super) async fn fetch(&mut self, items: &str) -> Result<Vec<Fetched>> {
        let tag = self.client.fetch(self.now(), "1:*", items);
        let events = self.complete(tag, "FETCH").await?;
        Ok(events
            .into_iter()
            .filter_map(|e| if let Event::Fetch(f) = e { Some(f) } else { None })
            .collect())
    }

    /// `UID STORE +FLAGS (\Seen)`.
    pub(super) async fn mark_read(&mut self, uid: u32) -> Result<()> {
        let tag = self
            .client
            .store(self.now(), &uid.to_string(), "+FLAGS", "\\Seen");
        self.complete(tag, "STORE").await.map(drop)
    }

    fn now(&self) -> Instant {
        Instant::ZERO + self.started.elapsed()
    }

    /// Everything that was said until the command completed, with OK.
    async fn complete(&mut self, tag: Tag, command: &str) -> Result<Vec<Event>> {
        let mut events = Vec::new();
        let (outcome, text) = self
            .until(|event| match event {
                Event::Completed {
                    tag: of,
                    outcome,
                    text,
                    ..
                } if of == tag => Some((outcome, text)),
                other => {
                    events.push(other);
                    None
                }
            })
            .await
            .context(command.to_owned())?;
        if outcome != Outcome::Ok {
            bail!(
                "{command}: expected OK, the server said {outcome:?}: {}",
                String::from_utf8_lossy(&text)
            );
        }
        Ok(events)
    }

    async fn until<T>(&mut self, mut seen: impl FnMut(Event) -> Option<T>) -> Result<T> {
        let run = async {
            let mut buffer = vec![0; 32 * 1024];
            loop {
                loop {
                    match self.client.poll_output() {
                        Output::Transmit(bytes) => self.stream.write_all(&bytes).await?,
                        Output::Event(event) => {
                            if let Some(result) = seen(event) {
                                return Ok(result);
                            }
                        }
                        Output::Timeout(_) => break,
                    }
                }
                let len = self.stream.read(&mut buffer).await?;
                if len == 0 {
                    bail!("the server closed the connection");
                }
                let now = Instant::ZERO + self.started.elapsed();
                self.client.handle_input(now, &buffer[..len])?;
            }
        };
        tokio::time::timeout(PATIENCE, run)
            .await
            .unwrap_or_else(|_| bail!("no answer within {} s", PATIENCE.as_secs()))
    }
}
