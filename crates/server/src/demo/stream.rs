//! The demo's camera and players: our own RTSP client over real sockets.

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use ringpost_base::Instant;
use ringpost_codec::{Law, Tone};
use ringpost_rtp::{Header, Packet};
use ringpost_rtsp::client::{Client, Config, Event, Login, Offer, Outcome, Output, RequestId};
use ringpost_rtsp::{Url, interleaved_head};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::task::JoinHandle;

/// What a step may take that has no reason to wait.
const PATIENCE: Duration = Duration::from_secs(5);
/// Samples of a packet: 20 ms.
const FRAME: usize = 160;
/// Samples of sound that are enough to tell a tone by.
const ENOUGH: usize = 8_000;

/// What the camera sends.
const DESCRIPTION: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=door\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
    m=audio 0 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=control:sound\r\n";

/// Where a mount is, and who asks.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) server: SocketAddr,
    pub(super) mount: String,
    pub(super) user: String,
    pub(super) secret: String,
}

/// How a player has its packets sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Interleaved,
    Udp(IpAddr),
}

/// A connection with its client.
struct Session {
    client: Client,
    stream: TcpStream,
    began: std::time::Instant,
    buffer: Vec<u8>,
    /// Sound that came within the connection.
    heard: Vec<i16>,
}

impl Session {
    async fn open(place: &Place) -> Result<Session> {
        let url = format!("rtsp://{}/{}", place.server, place.mount);
        let config = Config {
            login: Some(Login {
                user: place.user.clone(),
                password: place.secret.clone(),
            }),
            ..Config::new(Url::parse(&url).with_context(|| url.clone())?)
        };
        let mut session = Session {
            client: Client::new(Instant::ZERO, config, crate::world::random()),
            stream: TcpStream::connect(place.server).await.context("RTSP")?,
            began: std::time::Instant::now(),
            buffer: vec![0; 64 * 1024],
            heard: Vec::new(),
        };
        let now = session.now();
        session.client.handle_connected(now);
        Ok(session)
    }

    fn now(&self) -> Instant {
        Instant::ZERO + self.began.elapsed()
    }

    /// Carries out what the client wants, until that request is done.
    async fn outcome(&mut self, request: RequestId, name: &str) -> Result<Outcome> {
        let run = async {
            loop {
                if let Some(outcome) = self.drain(Some(request)).await? {
                    return anyhow::Ok(outcome);
                }
                self.read().await?;
            }
        };
        let outcome = tokio::time::timeout(PATIENCE, run)
            .await
            .with_context(|| format!("{name}: no answer within {PATIENCE:?}"))??;
        match outcome {
            Outcome::Failed(failure) => bail!("{name}: {failure}"),
            outcome => Ok(outcome),
        }
    }

    async fn read(&mut self) -> Result<()> {
        let read = self.stream.read(&mut self.buffer).await?;
        ensure!(read > 0, "the server has closed the connection");
        let now = self.now();
        self.client.handle_input(now, &self.buffer[..read]);
        Ok(())
    }

    async fn drain(&mut self, wanted: Option<RequestId>) -> Result<Option<Outcome>> {
        loop {
            match self.client.poll_output() {
                Output::Transmit(bytes) => self.stream.write_all(&bytes).await?,
                Output::Event(Event::Done { request, outcome }) if Some(request) == wanted => {
                    return Ok(Some(outcome));
                }
                Output::Event(Event::Media {
                    is_rtcp: false, data, ..
                }) => hear(&data, &mut self.heard),
                Output::Event(Event::Closed(why)) => bail!("{why}"),
                Output::Event(_) => {}
                Output::Timeout(_) => return Ok(None),
            }
        }
    }
}

/// The sound of a packet: µ-law, or 16 bits linear.
fn hear(datagram: &[u8], heard: &mut Vec<i16>) {
    let Ok(packet) = Packet::parse(datagram) else {
        return;
    };
    match packet.payload_type() {
        0 => Law::Mu.decode_into(packet.payload(), heard),
        _ => {
            let samples = packet.payload().chunks_exact(2);
            heard.extend(samples.map(|two| i16::from_be_bytes([two[0], two[1]])));
        }
    }
}

/// A camera that sends a tone until it is dropped.
pub(super) struct Camera(JoinHandle<()>);

impl Camera {
    /// Publishes, proven by a device's secret.
    pub(super) async fn publish(place: &Place, tone_hz: f64) -> Result<Camera> {
        let mut session = Session::open(place).await?;
        let now = session.now();
        let announced = session
            .client
            .announce(now, Bytes::from_static(DESCRIPTION.as_bytes()));
        session.outcome(announced, "ANNOUNCE").await?;
        let now = session.now();
        let set_up = session.client.setup_record(now, 0, &[Offer::Interleaved]);
        session.outcome(set_up, "SETUP").await?;
        let now = session.now();
        let recorded = session.client.record(now, None);
        session.outcome(recorded, "RECORD").await?;
        let (channel, _) = session.client.channels(0).context("expected channels")?;
        Ok(Camera(tokio::spawn(async move {
            // It ends with the server, or with the demo.
            let _ = send(session, channel, tone_hz).await;
        })))
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn send(mut session: Session, channel: u8, tone_hz: f64) -> Result<()> {
    let mut tone = Tone::sine(tone_hz, -10.0);
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    for count in 0u32.. {
        tick.tick().await;
        let mut samples = [0; FRAME];
        tone.fill(&mut samples);
        let mut payload = Vec::with_capacity(FRAME);
        Law::Mu.encode_into(&samples, &mut payload);
        let header = Header {
            sequence: count as u16,
            timestamp: count.wrapping_mul(FRAME as u32),
            ssrc: 1,
            ..Header::default()
        };
        let mut packet = Vec::new();
        header.write(&payload, &mut packet);
        let mut bytes = interleaved_head(channel, packet.len()).to_vec();
        bytes.extend(packet);
        session.stream.write_all(&bytes).await?;
    }
    Ok(())
}

/// Reads a mount until there is sound enough, and gives it; 8,000 samples a second.
pub(super) async fn listen(place: &Place, way: Way) -> Result<Vec<i16>> {
    let mut session = Session::open(place).await?;
    let now = session.now();
    let described = session.client.describe(now);
    session.outcome(described, "DESCRIBE").await?;
    let sockets = match way {
        Way::Interleaved => None,
        Way::Udp(ip) => Some(pair(ip).await?),
    };
    let offer = match &sockets {
        None => Offer::Interleaved,
        Some((rtp, _)) => Offer::Udp {
            rtp_port: rtp.local_addr()?.port(),
        },
    };
    let now = session.now();
    let set_up = session.client.setup(now, 0, &[offer]);
    session.outcome(set_up, "SETUP").await?;
    let now = session.now();
    let played = session.client.play(now, None, None, None, None);
    session.outcome(played, "PLAY").await?;
    let hearing = async {
        let mut heard = Vec::new();
        let mut datagram = vec![0; 2_048];
        while heard.len() < ENOUGH {
            match &sockets {
                Some((rtp, _)) => {
                    let (length, _) = rtp.recv_from(&mut datagram).await?;
                    hear(&datagram[..length], &mut heard);
                }
                None => {
                    session.read().await?;
                    session.drain(None).await?;
                    heard.append(&mut session.heard);
                }
            }
        }
        Ok(heard)
    };
    let heard: Result<Vec<i16>> = tokio::time::timeout(PATIENCE, hearing)
        .await
        .context("expected a second of sound")?;
    heard
}

/// Two sockets of our own, on an even port and the next.
async fn pair(ip: IpAddr) -> Result<(UdpSocket, UdpSocket)> {
    for _ in 0..100 {
        let rtp = UdpSocket::bind((ip, 0)).await?;
        let port = rtp.local_addr()?.port();
        if port.is_multiple_of(2)
            && let Ok(rtcp) = UdpSocket::bind((ip, port + 1)).await
        {
            return Ok((rtp, rtcp));
        }
    }
    bail!("no two free ports side by side")
}
