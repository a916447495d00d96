//! The demo's phones: our own softphone on real UDP sockets.

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use futures_util::future::select_all;
use ringpost_base::{Instant, UnixTime};
use ringpost_client::phone::{Config, Event, Output, Phone, Socket};
use ringpost_sip::Transport;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::UdpSocket;

/// One phone, its sockets, and all that it has told.
pub(super) struct LivePhone {
    pub(super) phone: Phone,
    pub(super) events: Vec<Event>,
    started: std::time::Instant,
    sip: UdpSocket,
    rtp: UdpSocket,
    rtcp: UdpSocket,
    wake_at: Option<Instant>,
}

/// Who a phone is.
pub(super) struct Identity<'a> {
    pub(super) user: &'a str,
    pub(super) domain: &'a str,
    pub(super) username: &'a str,
    pub(super) secret: &'a str,
    pub(super) tone_hz: f64,
}

impl LivePhone {
    /// A phone on sockets of its own at `ip`, which sends everything to `server`.
    pub(super) async fn new(ip: IpAddr, server: SocketAddr, identity: Identity<'_>) -> Result<LivePhone> {
        let sip = UdpSocket::bind((ip, 0))
            .await
            .context("a socket for a phone's SIP")?;
        let (rtp, rtcp) = media_pair(ip).await?;
        let mut config = Config::new(
            identity.user,
            identity.domain,
            sip.local_addr()?,
            rtp.local_addr()?,
        );
        config.login = Some((identity.username.into(), identity.secret.into()));
        config.server = Some(server);
        config.tone_hz = Some(identity.tone_hz);
        let calendar = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        let wallclock = UnixTime::from_secs(0) + calendar;
        let phone = Phone::new(Instant::ZERO, wallclock, config, crate::world::random())?;
        let started = std::time::Instant::now();
        Ok(LivePhone {
            phone,
            events: Vec::new(),
            started,
            sip,
            rtp,
            rtcp,
            wake_at: None,
        })
    }

    pub(super) fn now(&self) -> Instant {
        Instant::ZERO + self.started.elapsed()
    }

    /// Sends what is to be sent and keeps what is told.
    fn drain(&mut self) {
        loop {
            match self.phone.poll_output() {
                Output::Transmit { socket, to, bytes } => {
                    // A datagram that cannot be sent is one that is lost.
                    let _ = self.socket(socket).try_send_to(&bytes, to);
                }
                Output::Event(event) => self.events.push(event),
                Output::Timeout(at) => {
                    self.wake_at = at;
                    return;
                }
            }
        }
    }

    fn socket(&self, socket: Socket) -> &UdpSocket {
        match socket {
            Socket::Sip(_) => &self.sip,
            Socket::Rtp(_) => &self.rtp,
            Socket::Rtcp(_) => &self.rtcp,
        }
    }

    /// Takes everything that has arrived, and the time.
    fn receive(&mut self) {
        let mut buffer = [0; 4_096];
        for socket in [Socket::Sip(Transport::Udp), Socket::Rtp(0), Socket::Rtcp(0)] {
            while let Ok((len, from)) = self.socket(socket).try_recv_from(&mut buffer) {
                let bytes = Bytes::copy_from_slice(&buffer[..len]);
                self.phone.handle_datagram(self.now(), socket, from, bytes);
                self.drain();
            }
        }
        if self.wake_at.is_some_and(|at| at <= self.now()) {
            self.phone.handle_timeout(self.now());
            self.drain();
        }
    }

    /// Completes when there is something to receive, or a time has come.
    async fn wait(&self) {
        let pause = self
            .wake_at
            .map_or(Duration::from_secs(1), |at| at.since(self.now()));
        tokio::select! {
            _ = self.sip.readable() => {}
            _ = self.rtp.readable() => {}
            _ = self.rtcp.readable() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Lets the phones do their work until `seen` has a result; after `limit` the error says what was waited for.
pub(super) async fn watch<T>(
    phones: &mut [&mut LivePhone],
    limit: Duration,
    waited_for: &str,
    mut seen: impl FnMut(&mut [&mut LivePhone]) -> Option<T>,
) -> Result<T> {
    let deadline = tokio::time::Instant::now() + limit;
    loop {
        for phone in phones.iter_mut() {
            phone.receive();
            phone.drain();
        }
        if let Some(result) = seen(phones) {
            return Ok(result);
        }
        let waiting = select_all(phones.iter().map(|phone| Box::pin(phone.wait())));
        if tokio::time::timeout_at(deadline, waiting).await.is_err() {
            bail!(
                "expected {waited_for} within {:.1} s; it did not come",
                limit.as_secs_f64()
            );
        }
    }
}

/// An even port for RTP and the odd one above it.
async fn media_pair(ip: IpAddr) -> Result<(UdpSocket, UdpSocket)> {
    for _ in 0..64 {
        let rtp = UdpSocket::bind((ip, 0)).await?;
        let port = rtp.local_addr()?.port();
        if port % 2 == 0
            && let Ok(rtcp) = UdpSocket::bind((ip, port + 1)).await
        {
            return Ok((rtp, rtcp));
        }
    }
    bail!("no pair of ports is free for a phone's media at {ip}")
}
