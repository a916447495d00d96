//! One reader: a connection on which it asks for the stream, and what it notes of the packets that come.

use crate::publisher::{clock_ns, stamped_at};
use crate::servers::Target;
use crate::wire::{self, Item};
use ringpost_perf::Result;
use ringpost_rtp::rtcp::{self, CNAME};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io::{ErrorKind, Read, Write};
use std::mem::zeroed;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::ptr;
use std::time::{Duration, Instant};

/// Where readers of datagrams have their ports.
const FIRST_PORT: u16 = 20_000;
/// What waits in a socket of datagrams, as players have it.
const DATAGRAMS_BYTES: usize = 1024 * 1024;
/// Datagrams taken by one call.
const BATCH: usize = 64;
/// What is looked at of a datagram.
const HEAD_BYTES: usize = 128;
/// A reader that stops reading takes no more than a few of these at a time.
const SMALL_BYTES: usize = 32 * 1024;
/// Octets of a segment of TCP on an Ethernet.
const SEGMENT_BYTES: u32 = 1_448;
const SSRC: u32 = 0x5245_4144;

/// How the stream comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp,
    Udp,
}

impl Transport {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Transport::Tcp => "TCP",
            Transport::Udp => "UDP",
        }
    }
}

/// What was asked last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Connecting,
    Options,
    Describe,
    Setup,
    Play,
    Playing,
    Closed,
}

/// What a reader has had since it was looked at last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Had {
    pub(crate) packets: u64,
    /// Octets of RTP with its headers.
    pub(crate) octets: u64,
    pub(crate) lost: u64,
    /// Pictures that came to their end.
    pub(crate) pictures: u64,
    /// Microseconds from the sending of each stamped picture to its end.
    pub(crate) delays_us: Vec<u32>,
}

pub(crate) struct Reader {
    socket: Socket,
    datagrams: Option<Datagrams>,
    stage: Stage,
    url: String,
    track: String,
    session: String,
    cseq: u32,
    /// What has come and is not whole yet.
    rest: Vec<u8>,
    /// It stops reading as soon as it plays.
    pub(crate) stalls: bool,
    pub(crate) had: Had,
    sequence: Option<u16>,
    stamp: Option<u64>,
    asked_play: Option<Instant>,
    /// From PLAY to the first packet of a key frame.
    pub(crate) waited: Option<Duration>,
    keep_alive_at: Instant,
}

struct Datagrams {
    rtp: UdpSocket,
    rtcp: UdpSocket,
    port: u16,
    /// Where reports go.
    reports: Option<SocketAddr>,
    keep_alive_at: Instant,
}

/// Between two signs of life on the connection, and two reports.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
const REPORT: Duration = Duration::from_secs(5);

impl Reader {
    /// Begins to connect; `n` tells readers of datagrams apart.
    pub(crate) fn connect(target: &Target, transport: Transport, n: usize, stalls: bool) -> Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        if stalls {
            socket.set_recv_buffer_size(SMALL_BYTES)?;
            socket.set_tcp_mss(SEGMENT_BYTES)?;
        }
        match socket.connect(&SockAddr::from(target.address)) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error.into()),
            _ => {}
        }
        let datagrams = match transport {
            Transport::Tcp => None,
            Transport::Udp => Some(Datagrams::bind(FIRST_PORT + 2 * u16::try_from(n)?)?),
        };
        let now = Instant::now();
        Ok(Reader {
            socket,
            datagrams,
            stage: Stage::Connecting,
            url: target.url(),
            track: String::new(),
            session: String::new(),
            cseq: 0,
            rest: Vec::new(),
            stalls,
            had: Had::default(),
            sequence: None,
            stamp: None,
            asked_play: None,
            waited: None,
            keep_alive_at: now,
        })
    }

    pub(crate) fn fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    pub(crate) fn rtp_fd(&self) -> Option<RawFd> {
        self.datagrams.as_ref().map(|datagrams| datagrams.rtp.as_raw_fd())
    }

    pub(crate) fn is_connecting(&self) -> bool {
        self.stage == Stage::Connecting
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.stage == Stage::Closed
    }

    /// Whether the answer to PLAY has come.
    pub(crate) fn plays(&self) -> bool {
        self.stage == Stage::Playing
    }

    pub(crate) fn close(&mut self) {
        self.stage = Stage::Closed;
    }

    /// The connection stands.
    pub(crate) fn connected(&mut self) -> Result<()> {
        if let Some(error) = self.socket.take_error()? {
            return Err(error.into());
        }
        self.stage = Stage::Options;
        let url = self.url.clone();
        self.ask("OPTIONS", &url, "")
    }

    fn ask(&mut self, method: &str, url: &str, more: &str) -> Result<()> {
        self.cseq += 1;
        let request = wire::request(method, url, self.cseq, more, "");
        match self.socket.write(request.as_bytes())? {
            written if written == request.len() => Ok(()),
            _ => Err("the server does not read".into()),
        }
    }

    /// Reads what has come, at most what `buffer` takes.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<()> {
        let kept = self.rest.len();
        buffer[..kept].copy_from_slice(&self.rest);
        let read = match self.socket.read(&mut buffer[kept..]) {
            Ok(0) => return Err("the server closed".into()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            read => read?,
        };
        let mut bytes = &buffer[..kept + read];
        let now = clock_ns();
        while let Some((item, used)) = wire::first(bytes)? {
            match item {
                Item::Packet { channel: 0, data } => self.note(data, data.len(), now),
                Item::Packet { .. } => {}
                Item::Message { head, body } => self.answered(head, body)?,
            }
            bytes = &bytes[used..];
        }
        self.rest.clear();
        self.rest.extend_from_slice(bytes);
        Ok(())
    }

    /// An answer came: asks what comes next.
    fn answered(&mut self, head: &str, body: &[u8]) -> Result<()> {
        let url = self.url.clone();
        match self.stage {
            Stage::Options => {
                wire::expect_ok("OPTIONS", head)?;
                self.stage = Stage::Describe;
                self.ask("DESCRIBE", &url, "Accept: application/sdp\r\n")
            }
            Stage::Describe => {
                wire::expect_ok("DESCRIBE", head)?;
                let base = wire::field(head, "Content-Base").unwrap_or(&url);
                self.track = track_url(base, std::str::from_utf8(body)?)?;
                self.stage = Stage::Setup;
                let transport = match &self.datagrams {
                    None => "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n".to_owned(),
                    Some(own) => {
                        let (rtp, rtcp) = (own.port, own.port + 1);
                        format!("Transport: RTP/AVP;unicast;client_port={rtp}-{rtcp}\r\n")
                    }
                };
                let track = self.track.clone();
                self.ask("SETUP", &track, &transport)
            }
            Stage::Setup => {
                wire::expect_ok("SETUP", head)?;
                self.session = wire::session(head)?;
                if let Some(datagrams) = &mut self.datagrams {
                    let transport = wire::field(head, "Transport").unwrap_or_default();
                    let port = transport.split("server_port=").nth(1).and_then(|ports| {
                        let rtcp = ports.split(';').next()?.split('-').nth(1)?;
                        rtcp.parse::<u16>().ok()
                    });
                    let port = port.ok_or_else(|| format!("no port in {transport:?}"))?;
                    datagrams.reports = Some((Ipv4Addr::LOCALHOST, port).into());
                }
                self.stage = Stage::Play;
                self.asked_play = Some(Instant::now());
                let more = format!("Session: {}\r\nRange: npt=0.000-\r\n", self.session);
                self.ask("PLAY", &url, &more)
            }
            Stage::Play => {
                wire::expect_ok("PLAY", head)?;
                self.stage = Stage::Playing;
                self.keep_alive_at = Instant::now() + KEEP_ALIVE;
                Ok(())
            }
            Stage::Connecting | Stage::Playing | Stage::Closed => Ok(()),
        }
    }

    /// Takes the datagrams that have come.
    pub(crate) fn receive(&mut self, inbox: &mut Inbox) {
        let Some(fd) = self.rtp_fd() else { return };
        loop {
            let count = inbox.receive(fd);
            let now = clock_ns();
            for n in 0..count {
                let (head, length) = inbox.datagram(n);
                self.note(head, length, now);
            }
            if count < BATCH {
                return;
            }
        }
    }

    /// Notes a packet of `length` octets, which begins with `head`.
    fn note(&mut self, head: &[u8], length: usize, now_ns: u64) {
        let Some(payload) = head.get(12..) else { return };
        let sequence = u16::from_be_bytes([head[2], head[3]]);
        let gap = sequence.wrapping_sub(self.sequence.map_or(sequence, |last| last.wrapping_add(1)));
        // What came out of its turn is no loss; none is on this machine.
        if gap < 0x8000 {
            self.had.lost += u64::from(gap);
            self.sequence = Some(sequence);
        }
        self.had.packets += 1;
        self.had.octets += length as u64;
        if self.waited.is_none() && begins_key_frame(payload) {
            self.waited = self.asked_play.map(|asked| asked.elapsed());
        }
        if let Some(stamp) = find_stamp(payload) {
            self.stamp = Some(stamp);
        }
        if head[1] & 0x80 != 0 {
            self.had.pictures += 1;
            if let Some(stamp) = self.stamp.take() {
                self.had
                    .delays_us
                    .push((now_ns.saturating_sub(stamp) / 1_000) as u32);
            }
        }
    }

    /// Tells the server that somebody is there, when it is time.
    pub(crate) fn keep_alive(&mut self, now: Instant) -> Result<()> {
        if self.stage != Stage::Playing {
            return Ok(());
        }
        if now >= self.keep_alive_at {
            self.keep_alive_at = now + KEEP_ALIVE;
            let (url, more) = (self.url.clone(), format!("Session: {}\r\n", self.session));
            self.ask("GET_PARAMETER", &url, &more)?;
        }
        if let Some(datagrams) = &mut self.datagrams {
            datagrams.report(now);
        }
        Ok(())
    }
}

impl Datagrams {
    fn bind(port: u16) -> Result<Self> {
        let bind = |port: u16| -> Result<UdpSocket> {
            let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
            socket.set_recv_buffer_size(DATAGRAMS_BYTES)?;
            socket.set_nonblocking(true)?;
            socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
            Ok(socket.into())
        };
        Ok(Datagrams {
            rtp: bind(port)?,
            rtcp: bind(port + 1)?,
            port,
            reports: None,
            keep_alive_at: Instant::now(),
        })
    }

    fn report(&mut self, now: Instant) {
        if now < self.keep_alive_at {
            return;
        }
        self.keep_alive_at = now + REPORT;
        while self.rtcp.recv(&mut [0; 16]).is_ok() {}
        let mut report = Vec::new();
        rtcp::Writer::new(&mut report)
            .receiver_report(SSRC, &[])
            .source_description(SSRC, &[(CNAME, b"perf")]);
        if let Some(to) = self.reports {
            let _ = self.rtcp.send_to(&report, to);
        }
    }
}

/// The URL of the description's first stream.
fn track_url(base: &str, description: &str) -> Result<String> {
    let media = description
        .split("\nm=")
        .nth(1)
        .ok_or("a description without media")?;
    let control = media
        .lines()
        .find_map(|line| line.trim_end().strip_prefix("a=control:"));
    let control = control.ok_or("a stream without a URL")?;
    Ok(match control.starts_with("rtsp://") {
        true => control.to_owned(),
        false => format!("{}/{control}", base.trim_end_matches('/')),
    })
}

/// Whether a key frame's slice begins in this packet, or a parameter set before it.
fn begins_key_frame(payload: &[u8]) -> bool {
    let is_key = |header: u8| matches!(header & 0x1f, 5 | 7 | 8);
    match payload {
        [header, _, _, first, ..] if header & 0x1f == 24 => is_key(*first),
        [header, fragment, ..] if header & 0x1f == 28 => fragment & 0x80 != 0 && is_key(*fragment),
        [header, ..] => is_key(*header),
        [] => false,
    }
}

fn find_stamp(payload: &[u8]) -> Option<u64> {
    match payload.first()? & 0x1f {
        24 => {
            let mut rest = &payload[1..];
            while let [high, low, behind @ ..] = rest {
                if let Some(stamp) = stamped_at(behind) {
                    return Some(stamp);
                }
                rest = behind.get(usize::from(u16::from_be_bytes([*high, *low]))..)?;
            }
            None
        }
        6 => stamped_at(payload),
        _ => None,
    }
}

/// Room for the beginnings of a batch of datagrams: the kernel throws away the rest of them.
pub(crate) struct Inbox {
    heads: Box<[[u8; HEAD_BYTES]; BATCH]>,
    lengths: [usize; BATCH],
}

impl Inbox {
    pub(crate) fn new() -> Self {
        Inbox {
            heads: Box::new([[0; HEAD_BYTES]; BATCH]),
            lengths: [0; BATCH],
        }
    }

    /// Takes what has come to a socket, at most a batch; how many datagrams.
    fn receive(&mut self, fd: RawFd) -> usize {
        let mut vectors = self.heads.each_mut().map(|head| libc::iovec {
            iov_base: head.as_mut_ptr().cast(),
            iov_len: HEAD_BYTES,
        });
        // SAFETY: headers of zeros are valid ones: null pointers and no lengths.
        let mut headers: [libc::mmsghdr; BATCH] = unsafe { zeroed() };
        for (header, vector) in headers.iter_mut().zip(&mut vectors) {
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
        }
        // SAFETY: `BATCH` headers, each of one buffer of the length told, which live through the call. With `MSG_TRUNC` the
        // lengths are those of the whole datagrams.
        let count = unsafe {
            libc::recvmmsg(
                fd,
                headers.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_DONTWAIT | libc::MSG_TRUNC,
                ptr::null_mut(),
            )
        };
        let count = usize::try_from(count).unwrap_or(0);
        for (length, header) in self.lengths.iter_mut().zip(&headers[..count]) {
            *length = header.msg_len as usize;
        }
        count
    }

    fn datagram(&self, n: usize) -> (&[u8], usize) {
        let length = self.lengths[n];
        (&self.heads[n][..length.min(HEAD_BYTES)], length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_s_url_is_found_beside_a_session_s() {
        let description =
            "v=0\r\na=control:*\r\nm=video 0 RTP/AVP 96\r\na=control:stream=0\r\nm=audio 0 RTP/AVP 0\r\n";
        let url = track_url("rtsp://h/test/", description).unwrap();
        assert_eq!(url, "rtsp://h/test/stream=0");
        let absolute = description.replace("stream=0", "rtsp://h/a/b");
        assert_eq!(track_url("rtsp://h/test", &absolute).unwrap(), "rtsp://h/a/b");
    }

    #[test]
    fn key_frames_are_known_alone_together_and_in_fragments() {
        assert!(begins_key_frame(&[0x65, 1]) && begins_key_frame(&[0x67]));
        assert!(begins_key_frame(&[0x78, 0, 2, 0x67, 1]));
        assert!(begins_key_frame(&[0x7c, 0x85, 1]));
        assert!(!begins_key_frame(&[0x7c, 0x05, 1]) && !begins_key_frame(&[0x41]) && !begins_key_frame(&[]));
    }

    #[test]
    fn a_stamp_is_found_among_what_came_with_it() {
        let mut nal = b"\x06\x05\x20ringpost-perf-at0000000000000102\x80".to_vec();
        assert_eq!(find_stamp(&nal), Some(0x102));
        let mut together = vec![0x78, 0, 2, 0x67, 1, 0, nal.len() as u8];
        together.append(&mut nal);
        assert_eq!(find_stamp(&together), Some(0x102));
        assert_eq!(find_stamp(&together[..5]), None);
    }
}
