//! Targets for the fuzzer: plain functions over bytes that panic when an invariant breaks.

use super::{Catalog, CatalogOutput, Event, Output, Play, Player};
use crate::Description;
use crate::recording::file_name;
use bytes::Bytes;
use ringpost_base::{Instant, Rng, UnixTime, limits};
use ringpost_rtp::Packet;
use ringpost_rtsp::header::Range;
use ringpost_sdp::SessionDescription;
use ringpost_store::FileInfo;
use std::time::Duration;

/// A file of media that somebody made up, played in several ways: it comes to an end, and holds no more than it may.
pub fn player(data: &[u8]) {
    let (seed, file) = data.split_first().map_or((0, data), |(seed, file)| (*seed, file));
    play(file, seed.into());
}

/// What is asked for, with the scale and the speed.
const ASKED: [(&str, f64, f64); 6] = [
    ("npt=0-", 1.0, 10.0),
    ("npt=1.5-", 32.0, 1.0),
    ("npt=0.2-0.9", 2.0, 1.0),
    ("npt=now-", -32.0, 10.0),
    ("smpte=00:00:01:02-", 1.0, 10.0),
    ("clock=20231114T221321Z-", 4.0, 10.0),
];
/// What a publisher describes: AAC in other forms than files' tracks are told in.
const DESCRIBED: [&str; 3] = [
    "MP4A-LATM/90000",
    "MP4A-LATM/44100\r\na=fmtp:96 cpresent=0;config=400024203fc0",
    "mpeg4-generic/44100\r\na=fmtp:96 mode=generic;config=1210;sizelength=9;ctsdeltalength=8;auxiliarydatasizelength=3",
];
/// No more steps are taken than this: some files last for years.
const STEPS: usize = 2_000;

/// Plays a file as `seed` wants it.
pub(super) fn play(file: &[u8], seed: u64) {
    let (asked, scale, speed) = ASKED[(seed % ASKED.len() as u64) as usize];
    let is_recording = asked.starts_with("clock") || seed.is_multiple_of(5);
    let (mut catalog, name) = match is_recording {
        true => (
            Catalog::recordings(),
            file_name(UnixTime::from_secs(1_700_000_000)),
        ),
        false => (Catalog::playlist(), "a.mp4".into()),
    };
    let info = FileInfo {
        name: name.parse().expect("a name"),
        size_bytes: file.len() as u64,
        modified: UnixTime::from_secs(1_700_000_010),
        is_open: seed.is_multiple_of(7),
    };
    let octets = |range: std::ops::Range<u64>| {
        assert!(
            range.start < range.end && range.end <= file.len() as u64,
            "{range:?}"
        );
        Bytes::copy_from_slice(&file[range.start as usize..range.end as usize])
    };
    catalog.handle_list(vec![info]);
    loop {
        match catalog.poll_output() {
            CatalogOutput::Read { range, .. } => catalog.handle_data(octets(range)),
            CatalogOutput::Damaged { .. } => {}
            CatalogOutput::Ready => break,
        }
    }
    let Ok(timeline) = catalog.timeline() else { return };
    assert!(timeline.description("x").tracks.len() <= limits::MOUNT_TRACKS);
    let mut rng = Rng::from_number(seed);
    let described = DESCRIBED.get((seed % 12) as usize).map(|map| described_as(map));
    let mut player = match &described {
        Some(described) => Player::as_described(timeline.clone(), described, &mut rng),
        None => Player::new(timeline.clone(), &mut rng),
    };
    let tracks = described.unwrap_or_else(|| timeline.description("x")).tracks;
    let range = Range::parse(asked).ok();
    let (scale, speed) = (Some(scale), Some(speed));
    let play = Play {
        range,
        scale,
        speed,
        starts: None,
    };
    let mut now = Instant::ZERO;
    player.play(now, play);
    let mut steps = 0;
    while steps < STEPS {
        steps += 1;
        match player.poll_output() {
            Output::Packet { track, bytes } => {
                assert!(track < tracks.len());
                assert!(Packet::parse(&bytes).is_ok());
            }
            Output::Read { id, range, .. } if seed % 11 == 10 && steps > 20 => {
                player.handle_data(now, id, octets(range).slice(..1));
            }
            Output::Read { id, range, .. } => player.handle_data(now, id, octets(range)),
            Output::Refresh => player.handle_timeline(now, timeline.clone()),
            Output::Event(Event::Refused(_) | Event::Ended) => break,
            Output::Event(_) => {}
            Output::Timeout(None) => panic!("it stands still"),
            Output::Timeout(Some(deadline)) => {
                now = now.max(deadline);
                if seed % 13 == 1 && steps.is_multiple_of(64) {
                    let _ = player.pause(now, None);
                    now += Duration::from_millis(10);
                    player.play(now, Play::default());
                }
                if seed % 13 == 2 && steps.is_multiple_of(64) {
                    player.set_tracks(&[steps / 64 % 2]);
                    player.set_tracks(&[0, 1]);
                    player.play(now, Play::default());
                }
                player.handle_timeout(now);
            }
        }
    }
}

fn described_as(map: &str) -> Description {
    let sdp = format!(
        "v=0\r\no=- 0 0 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\nm=audio 0 RTP/AVP 96\r\na=rtpmap:96 {map}\r\n"
    );
    let session = SessionDescription::parse(sdp.as_bytes()).expect("a session description");
    Description::read(&session).expect("tracks").0
}
