//! retina, a reader of RTSP in Rust that bears with little: what it makes of a live mount's packets is what was published.

#![allow(clippy::unwrap_used)] // A test says what it missed by panicking.

use futures_util::StreamExt;
use md5::{Digest, Md5};
use retina::client::{
    PlayOptions, Session, SessionGroup, SessionOptions, SetupOptions, TcpTransportOptions, Transport,
    UdpTransportOptions,
};
use retina::codec::{CodecItem, FrameFormat};
use ringpost_interop::{Ffmpeg, Options, Server, Unit, compare_units, wait_for};
use std::sync::Arc;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(30);
/// Reports move times a little: the server follows its publisher's clock.
const JITTER_S: f64 = 0.010;
const OPEN: &str = "mounts.\"lobby/*\" = { publish = [\"anyone\"], read = [\"anyone\"] }\n";

/// What ffmpeg makes the sum of: coded slices behind start codes, the first one's of four octets.
fn picture_md5(data: &[u8]) -> String {
    let mut sum = Md5::new();
    let (mut rest, mut is_first) = (data, true);
    while let Some((length, behind)) = rest.split_first_chunk::<4>() {
        let (nal, next) = behind.split_at(u32::from_be_bytes(*length) as usize);
        if (1..=5).contains(&(nal[0] & 0x1f)) {
            let code: &[u8] = if is_first { &[0, 0, 0, 1] } else { &[0, 0, 1] };
            sum.update(code);
            sum.update(nal);
            is_first = false;
        }
        rest = next;
    }
    hex(&sum.finalize())
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// What retina reads of a mount within this time.
async fn read(url: &str, transport: Transport, during: Duration) -> Vec<Unit> {
    let group = Arc::new(SessionGroup::default());
    let options = SessionOptions::default().session_group(group.clone());
    let mut session = Session::describe(url.parse().unwrap(), options).await.unwrap();
    let media: Vec<_> = session.streams().iter().map(|s| s.media().to_owned()).collect();
    assert_eq!(media, ["video", "audio"]);
    for stream in 0..media.len() {
        // What a decoder needs is told before the first packet.
        let parameters = session.streams()[stream].parameters();
        assert!(parameters.is_some(), "stream {stream} tells nothing of itself");
        let options = SetupOptions::default().transport(transport.clone());
        let options = options.frame_format(FrameFormat::MP4);
        session.setup(stream, options).await.unwrap();
    }
    // Both streams' times are told with PLAY (RFC 2326 §12.33); without them this is an error.
    let playing = session.play(PlayOptions::default()).await.unwrap();
    let mut demuxed = playing.demuxed().unwrap();
    let mut units = Vec::new();
    let until = Instant::now() + during;
    while Instant::now() < until {
        let item = tokio::time::timeout(LIMIT, demuxed.next()).await;
        let item = item.expect("something comes").expect("it does not end");
        match item.unwrap() {
            CodecItem::VideoFrame(frame) => {
                assert_eq!(frame.loss(), 0);
                assert!(!units.is_empty() || frame.is_random_access_point());
                units.push(Unit {
                    stream: frame.stream_id(),
                    at_s: frame.timestamp().elapsed_secs(),
                    md5: picture_md5(frame.data()),
                });
            }
            CodecItem::AudioFrame(frame) => {
                assert_eq!(frame.loss(), 0);
                units.push(Unit {
                    stream: frame.stream_id(),
                    at_s: frame.timestamp().elapsed_secs(),
                    md5: hex(&Md5::digest(frame.data())),
                });
            }
            // Reports that it cannot read are errors.
            _ => {}
        }
    }
    drop(demuxed);
    // TEARDOWN has to be answered.
    tokio::time::timeout(LIMIT, group.await_teardown())
        .await
        .unwrap()
        .unwrap();
    units
}

// Guards pitfall RTSP 3 and RTP 6: by another reading of control URLs, and with times that RTP-Info tells.
#[test]
fn retina_reads_unit_by_unit_over_udp_and_tcp() {
    let server = Server::start_with(&Options {
        streams: OPEN.into(),
        ..Options::default()
    });
    let Some(ffmpeg) = Ffmpeg::find(server.folder()) else {
        return;
    };
    let sample = ffmpeg.sample("sample.mp4", 30);
    let sent = ffmpeg.units("sent", &[], &sample.display().to_string());
    let url = format!("rtsp://{}:8554/lobby/retina", server.address());
    let publisher = ffmpeg.publish("publish", &sample, "tcp", &url);
    let is_live = wait_for(LIMIT, || {
        let list = server.command(&["stream", "list"]);
        let line = list.lines().find(|line| line.starts_with("lobby/retina\t"));
        line.is_some_and(|line| !line.contains("\t0 bytes came"))
    });
    assert!(is_live, "{}", publisher.output());
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().unwrap();
    let during = Duration::from_secs(6);
    let (tcp, udp) = runtime.block_on(async {
        let tcp = Transport::Tcp(TcpTransportOptions::default());
        let udp = Transport::Udp(UdpTransportOptions::default());
        tokio::join!(read(&url, tcp, during), read(&url, udp, during))
    });
    for (name, units) in [("tcp", tcp), ("udp", udp)] {
        let streams = compare_units(&sent, &units, JITTER_S);
        let [(pictures, later), (frames, sound_later)] = streams[..] else {
            panic!("{name}: two streams were sent, and {} read", streams.len())
        };
        assert!(pictures > 100 && frames > 200, "{name}: {pictures} and {frames}");
        let apart = (later - sound_later).abs();
        assert!(apart < 0.040, "{name}: sound and pictures are {apart} s apart");
    }
    let left = server.command(&["stream", "list"]);
    assert!(!left.contains("  reader\t"), "{left}");
}
