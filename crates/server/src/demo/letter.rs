//! How the demo's people write: our own SMTP client at the submission port, under STARTTLS, signed in.

use super::mailbox::{PATIENCE, connector};
use anyhow::{Context, Result, bail};
use ringpost_base::Instant;
use ringpost_client::smtp::{Client, Config, Event, Login, Mail, Output};
use rustls::pki_types::ServerName;
use std::net::SocketAddr;
use std::path::Path;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// Where somebody submits mail, and as whom.
pub(super) struct Submission<'a> {
    pub(super) server: SocketAddr,
    /// What the server's certificate must name.
    pub(super) name: &'a str,
    pub(super) certificate: &'a Path,
    pub(super) user: String,
    pub(super) password: &'a str,
}

impl Submission<'_> {
    /// Hands one mail over; gives what the server said when it took it.
    pub(super) async fn send(self, mail: Mail) -> Result<String> {
        let sending = self.start(mail);
        tokio::time::timeout(PATIENCE, sending)
            .await
            .unwrap_or_else(|_| bail!("no answer within {} s", PATIENCE.as_secs()))
            .context("submission")
    }

    async fn start(self, mail: Mail) -> Result<String> {
        let mut socket = TcpStream::connect(self.server)
            .await
            .with_context(|| format!("no connection to {}", self.server))?;
        let mut talk = Talk {
            client: Client::new(
                Instant::ZERO,
                Config {
                    start_tls: true,
                    login: Some(Login {
                        user: self.user,
                        password: self.password.to_owned(),
                    }),
                    ..Config::new("alices-laptop.test")
                },
            ),
            started: std::time::Instant::now(),
        };
        talk.client.send(Instant::ZERO, mail);
        talk.client.quit(Instant::ZERO);
        let Heard::StartTls = talk.until(&mut socket).await? else {
            bail!("expected the server to begin TLS before it takes mail")
        };
        let name = ServerName::try_from(self.name.to_owned())?;
        let mut stream = connector(self.certificate)?
            .connect(name, socket)
            .await
            .context("TLS")?;
        talk.client.handle_tls_started(talk.now());
        match talk.until(&mut stream).await? {
            Heard::Accepted(reply) => Ok(reply),
            Heard::StartTls => bail!("expected TLS to begin once"),
        }
    }
}

struct Talk {
    client: Client,
    started: std::time::Instant,
}

enum Heard {
    StartTls,
    Accepted(String),
}

impl Talk {
    fn now(&self) -> Instant {
        Instant::ZERO + self.started.elapsed()
    }

    async fn until(&mut self, stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Result<Heard> {
        let mut buffer = vec![0; 8 * 1024];
        loop {
            loop {
                match self.client.poll_output() {
                    Output::Transmit(bytes) => stream.write_all(&bytes).await?,
                    Output::Event(Event::StartTls) => return Ok(Heard::StartTls),
                    Output::Event(Event::Accepted { reply, .. }) => return Ok(Heard::Accepted(reply.text)),
                    Output::Event(Event::LoginRefused(reply)) => {
                        bail!("expected the login to be taken, the server said {reply:?}")
                    }
                    Output::Event(Event::RecipientRefused { reply, .. } | Event::Refused { reply, .. }) => {
                        bail!("expected the mail to be taken, the server said {reply:?}")
                    }
                    Output::Event(Event::Closed) => bail!("the server closed the connection"),
                    Output::Event(Event::Ready { .. }) => {}
                    Output::Timeout(_) => break,
                }
            }
            let len = stream.read(&mut buffer).await?;
            if len == 0 {
                bail!("the server closed the connection");
            }
            let now = self.now();
            self.client.handle_input(now, &buffer[..len]);
        }
    }
}
