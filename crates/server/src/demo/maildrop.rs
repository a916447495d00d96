//! The demo's other mail program: our own POP3 client over TLS.

use super::mailbox::{PATIENCE, secure};
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use ringpost_client::pop3::{Answer, Client, CommandId, Event, Output};
use std::net::SocketAddr;
use std::path::Path;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// A session that has logged in.
pub(super) struct Maildrop {
    client: Client,
    stream: TlsStream<TcpStream>,
}

impl Maildrop {
    /// Connects over TLS from the first byte, and logs in.
    pub(super) async fn open(
        server: SocketAddr,
        name: &str,
        certificate: &Path,
        user: &str,
        password: &str,
    ) -> Result<Maildrop> {
        let stream = secure(server, name, certificate).await.context("POP3")?;
        let mut maildrop = Maildrop {
            client: Client::new(),
            stream,
        };
        let (_, pass) = maildrop.client.login(user, password);
        maildrop.answer(pass, "PASS").await?;
        Ok(maildrop)
    }

    /// How many messages there are.
    pub(super) async fn count(&mut self) -> Result<u32> {
        let stat = self.client.stat();
        let (answer, _) = self.answer(stat, "STAT").await?;
        let count = answer.text.split(' ').next().and_then(|n| n.parse().ok());
        count.with_context(|| format!("STAT: expected a number, got {:?}", answer.text))
    }

    /// A whole message.
    pub(super) async fn retrieve(&mut self, number: u32) -> Result<Bytes> {
        let retr = self.client.retr(number);
        Ok(self.answer(retr, "RETR").await?.1)
    }

    /// Says good-bye.
    pub(super) async fn quit(mut self) -> Result<()> {
        let quit = self.client.quit();
        self.answer(quit, "QUIT").await.map(drop)
    }

    async fn answer(&mut self, id: CommandId, name: &str) -> Result<(Answer, Bytes)> {
        let run = async {
            let mut buffer = vec![0; 32 * 1024];
            loop {
                loop {
                    match self.client.poll_output() {
                        Output::Transmit(bytes) => self.stream.write_all(&bytes).await?,
                        Output::Event(Event::Answered {
                            command,
                            answer,
                            body,
                        }) => {
                            if !answer.is_ok {
                                bail!("expected +OK, the server said {:?}", answer.text);
                            }
                            if command == id {
                                return Ok((answer, body));
                            }
                        }
                        Output::Event(Event::Greeting(_)) => {}
                        Output::Idle => break,
                    }
                }
                let len = self.stream.read(&mut buffer).await?;
                if len == 0 {
                    bail!("the server closed the connection");
                }
                self.client.handle_input(&buffer[..len])?;
            }
        };
        tokio::time::timeout(PATIENCE, run)
            .await
            .unwrap_or_else(|_| bail!("no answer within {} s", PATIENCE.as_secs()))
            .context(name.to_owned())
    }
}
