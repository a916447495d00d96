//! Who publishes: a clip that was encoded once, in real time, again and again.

use crate::servers::Target;
use crate::wire::{self, Item};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ringpost_perf::Result;
use ringpost_perf::server::peers;
use ringpost_rtp::Header;
use ringpost_rtp::payload::{is_h264_key, split_annex_b, write};
use ringpost_rtp::rtcp::{self, CNAME, SenderInfo};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Pictures a second.
const PICTURES_PER_S: u32 = 25;
/// Octets of a packet's payload: what an Ethernet frame leaves.
const PAYLOAD_BYTES: usize = 1_388;
const PAYLOAD_TYPE: u8 = 96;
const CLOCK_HZ: u32 = 90_000;
const SSRC: u32 = 0x5045_5246;
/// Seconds from 1900 to 1970.
const NTP_EPOCH_S: u64 = 2_208_988_800;
const REPORT_EVERY: Duration = Duration::from_secs(5);
/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// What tells our supplemental information from others', and who reads it what follows.
const STAMP: [u8; 16] = *b"ringpost-perf-at";

/// A clip: pictures made of NAL units.
pub(crate) struct Clip {
    pictures: Vec<Vec<Vec<u8>>>,
    parameter_sets: String,
}

impl Clip {
    /// Has the clip encoded, unless a run before has, and reads it.
    pub(crate) fn prepare() -> Result<Self> {
        let script = format!(
            ". {}/lib/env.sh; . \"$BENCH/lib/clip.sh\"; [ -s \"$CLIP.h264\" ] || ffmpeg -v error -y -i \"$CLIP\" -c copy \
             -bsf:v h264_mp4toannexb -f h264 \"$CLIP.h264\" < /dev/null; echo \"$CLIP.h264\"",
            peers().display()
        );
        let told = Command::new("bash").args(["-c", &script]).output()?;
        let file = PathBuf::from(String::from_utf8_lossy(&told.stdout).trim());
        let bytes = std::fs::read(&file).map_err(|error| {
            format!(
                "{}: {error}: {}",
                file.display(),
                String::from_utf8_lossy(&told.stderr)
            )
        })?;
        Clip::read(&bytes)
    }

    fn read(bytes: &[u8]) -> Result<Self> {
        let (mut pictures, mut sets) = (Vec::new(), Vec::new());
        let mut picture: Vec<Vec<u8>> = Vec::new();
        for nal in split_annex_b(bytes) {
            // What an encoder of constant rate says of its buffer, and fills up with, would be many small packets.
            if matches!(nal[0] & 0x1f, 6 | 12) {
                continue;
            }
            let is_slice = |nal: &[u8]| matches!(nal[0] & 0x1f, 1 | 5);
            // Each picture of the clip is one slice.
            let begins = is_slice(nal) || matches!(nal[0] & 0x1f, 7..=9);
            if begins && picture.iter().any(|nal| is_slice(nal)) {
                pictures.push(std::mem::take(&mut picture));
            }
            if matches!(nal[0] & 0x1f, 7 | 8) && sets.len() < 2 {
                sets.push(STANDARD.encode(nal));
            }
            picture.push(nal.to_vec());
        }
        pictures.push(picture);
        let begins_with_key = pictures[0].iter().any(|nal| is_h264_key(nal));
        match begins_with_key && sets.len() == 2 {
            true => Ok(Clip {
                pictures,
                parameter_sets: sets.join(","),
            }),
            false => Err("the clip does not begin with a key frame and its parameter sets".into()),
        }
    }
}

/// Publishes until it is dropped.
pub(crate) struct Publisher {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    is_over: AtomicBool,
    pictures: AtomicU64,
}

impl Publisher {
    /// Begins to publish. `stamped`: each picture says in its supplemental information when it was sent.
    pub(crate) fn start(target: &Target, clip: Arc<Clip>, stamped: bool) -> Result<Self> {
        let mut session = Session::open(target, &clip)?;
        let shared = Arc::new(Shared::default());
        let of_thread = shared.clone();
        let thread = std::thread::Builder::new()
            .name("publisher".into())
            .spawn(move || {
                if let Err(error) = session.play(&clip, stamped, &of_thread) {
                    eprintln!("the publisher ends: {error}");
                }
            })?;
        Ok(Publisher {
            shared,
            thread: Some(thread),
        })
    }

    /// Pictures sent so far.
    pub(crate) fn pictures(&self) -> u64 {
        self.shared.pictures.load(Ordering::Relaxed)
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Session {
    socket: TcpStream,
    url: String,
    id: String,
    cseq: u32,
    packets: u32,
    octets: u32,
}

impl Session {
    fn open(target: &Target, clip: &Clip) -> Result<Self> {
        let socket = TcpStream::connect(target.address)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let mut session = Session {
            socket,
            url: target.url(),
            id: String::new(),
            cseq: 0,
            packets: 0,
            octets: 0,
        };
        let description = format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=clip\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\na=control:*\r\n\
             m=video 0 RTP/AVP {PAYLOAD_TYPE}\r\na=rtpmap:{PAYLOAD_TYPE} H264/{CLOCK_HZ}\r\n\
             a=fmtp:{PAYLOAD_TYPE} packetization-mode=1;sprop-parameter-sets={}\r\na=control:streamid=0\r\n",
            clip.parameter_sets
        );
        let (url, track) = (session.url.clone(), format!("{}/streamid=0", session.url));
        session.ask(
            "ANNOUNCE",
            &url,
            "Content-Type: application/sdp\r\n",
            &description,
        )?;
        let transport = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1;mode=record\r\n";
        let head = session.ask("SETUP", &track, transport, "")?;
        session.id = wire::session(&head)?;
        let of_session = format!("Session: {}\r\nRange: npt=0.000-\r\n", session.id);
        session.ask("RECORD", &url, &of_session, "")?;
        session.socket.set_nonblocking(true)?;
        Ok(session)
    }

    /// Asks, and gives the head of the answer.
    fn ask(&mut self, method: &str, url: &str, more: &str, body: &str) -> Result<String> {
        self.cseq += 1;
        let request = wire::request(method, url, self.cseq, more, body);
        self.socket.write_all(request.as_bytes())?;
        let mut bytes = Vec::new();
        loop {
            let mut buffer = [0; 4_096];
            match self.socket.read(&mut buffer)? {
                0 => return Err(format!("the server closed instead of answering {method}").into()),
                read => bytes.extend_from_slice(&buffer[..read]),
            }
            while let Some((item, used)) = wire::first(&bytes)? {
                if let Item::Message { head, .. } = item {
                    wire::expect_ok(method, head)?;
                    return Ok(head.to_owned());
                }
                bytes.drain(..used);
            }
        }
    }

    fn play(&mut self, clip: &Clip, stamped: bool, shared: &Shared) -> Result<()> {
        let began = Instant::now();
        let (mut sequence, mut report_at) = (0u16, began);
        for (number, picture) in (0u32..).zip(clip.pictures.iter().cycle()) {
            let due = began + Duration::from_secs(1) * number / PICTURES_PER_S;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if shared.is_over.load(Ordering::Relaxed) {
                return Ok(());
            }
            let timestamp = number.wrapping_mul(CLOCK_HZ / PICTURES_PER_S);
            self.hear()?;
            if Instant::now() >= report_at {
                report_at += REPORT_EVERY;
                self.report(timestamp)?;
            }
            let stamp = stamped.then(stamp);
            let mut nals: Vec<&[u8]> = picture.iter().map(Vec::as_slice).collect();
            if let Some(stamp) = &stamp {
                let slice = nals.iter().position(|nal| matches!(nal[0] & 0x1f, 1 | 5));
                nals.insert(slice.unwrap_or(0), stamp);
            }
            for payload in write::h264(&nals, PAYLOAD_BYTES) {
                let header = Header {
                    marker: payload.marker,
                    payload_type: PAYLOAD_TYPE,
                    sequence,
                    timestamp,
                    ssrc: SSRC,
                };
                sequence = sequence.wrapping_add(1);
                self.packets = self.packets.wrapping_add(1);
                self.octets = self.octets.wrapping_add(payload.bytes.len() as u32);
                let mut packet = Vec::with_capacity(2_048);
                header.write(&payload.bytes, &mut packet);
                self.send(0, &packet)?;
            }
            shared.pictures.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Throws away what the server says, which may be reports.
    fn hear(&mut self) -> Result<()> {
        match self.socket.read(&mut [0; 4_096]) {
            Ok(0) => Err("the server closed".into()),
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn report(&mut self, timestamp: u32) -> Result<()> {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
        let fraction = (u64::from(since.subsec_nanos()) << 32) / 1_000_000_000;
        let info = SenderInfo {
            ntp: (since.as_secs() + NTP_EPOCH_S) << 32 | fraction,
            rtp_timestamp: timestamp,
            packets: self.packets,
            octets: self.octets,
        };
        let mut report = Vec::new();
        rtcp::Writer::new(&mut report)
            .sender_report(SSRC, info, &[])
            .source_description(SSRC, &[(CNAME, b"perf")]);
        self.send(1, &report)
    }

    /// Sends one packet by a call of its own, as encoders do.
    fn send(&mut self, channel: u8, packet: &[u8]) -> Result<()> {
        let mut bytes = Vec::with_capacity(packet.len() + 4);
        bytes.extend_from_slice(&[b'$', channel]);
        bytes.extend_from_slice(&u16::try_from(packet.len())?.to_be_bytes());
        bytes.extend_from_slice(packet);
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            match self.socket.write(rest) {
                Ok(written) => rest = &rest[written..],
                // A server that does not read holds its publisher up.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// Nanoseconds of the clock that all processes of the machine share.
pub(crate) fn clock_ns() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a whole structure that outlives the call; this clock exists everywhere.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Supplemental information that nobody else knows: the time, in digits, since zeros would have to be escaped
/// (ITU-T H.264 §D.2.7).
fn stamp() -> Vec<u8> {
    let mut nal = vec![6, 5, 32];
    nal.extend_from_slice(&STAMP);
    nal.extend_from_slice(format!("{:016x}", clock_ns()).as_bytes());
    nal.push(0x80);
    nal
}

/// When a picture was sent, if this NAL unit of it says so, in nanoseconds of [`clock_ns`].
pub(crate) fn stamped_at(nal: &[u8]) -> Option<u64> {
    let digits = nal.strip_prefix(&[6, 5, 32])?.strip_prefix(&STAMP)?.get(..16)?;
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_as_it_was_written() {
        let before = clock_ns();
        let read = stamped_at(&stamp()).unwrap();
        assert!((before..=clock_ns()).contains(&read));
        assert_eq!(stamped_at(b"\x06\x05\x20another sixteen!"), None);
    }

    #[test]
    fn a_clip_is_cut_into_pictures() {
        let clip = b"\0\0\0\x01\x67a\0\0\x01\x68b\0\0\x01\x65c\0\0\x01\x41d\0\0\x01\x0cfill\0\0\x01\x06sei\0\0\x01\x41e";
        let clip = Clip::read(clip).unwrap();
        let lengths: Vec<usize> = clip.pictures.iter().map(Vec::len).collect();
        assert_eq!(lengths, [3, 1, 1]);
        assert_eq!(clip.parameter_sets, "Z2E=,aGI=");
        assert!(Clip::read(b"\0\0\x01\x41e").is_err());
    }
}
