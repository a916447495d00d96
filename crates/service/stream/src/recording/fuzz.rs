//! Targets for the fuzzer: plain functions over bytes that panic when an invariant breaks.

use super::{IDLE, Recorder, Settings, write_out};
use crate::Description;
use crate::file::{Scanner, Wanted};
use bytes::Bytes;
use ringpost_base::{Instant, UnixTime, limits};
use ringpost_rtp::Header;
use ringpost_sdp::SessionDescription;
use ringpost_store::{Files, FolderName, MemoryFiles};
use std::time::Duration;

const TRACKS: &[u8] = b"v=0\r\no=- 0 0 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\n\
    m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n\
    a=fmtp:96 sprop-parameter-sets=Z2QAKKzZQHgCJ+XARAAAAwAEAAADAMg8YMZY,aOvjyw==\r\n\
    m=video 0 RTP/AVP 97\r\na=rtpmap:97 H265/90000\r\n\
    m=audio 0 RTP/AVP 98\r\na=rtpmap:98 MPEG4-GENERIC/44100/2\r\n\
    a=fmtp:98 mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config=1210\r\n\
    m=video 0 RTP/AVP 99\r\na=rtpmap:99 VP8/90000\r\n\
    m=video 0 RTP/AVP 100\r\na=rtpmap:100 MP4V-ES/90000\r\n\
    m=audio 0 RTP/AVP 101\r\na=rtpmap:101 MP4A-LATM/44100/2\r\n";

/// Packets of several tracks with times that jump, gaps, a disk that fails: what is written is a file each time.
pub fn recorder(data: &[u8]) {
    let session = SessionDescription::parse(TRACKS).expect("a session description");
    let (description, _) = Description::read(&session).expect("tracks");
    let mut recorder = Recorder::new(&description, Settings::default()).expect("a recorder");
    let files = MemoryFiles::new(UnixTime::default);
    let (door, mut writer) = (FolderName::root(), files.writer());
    let mut now = Instant::ZERO;
    let mut wall = UnixTime::from_secs(1_700_000_000);
    let mut rest = data;
    let mut sequence = 0;
    while let Some(([kind, pause, jump, length], behind)) = rest.split_first_chunk::<4>() {
        let (payload, behind) = behind.split_at(usize::from(*length).min(behind.len()));
        rest = behind;
        now += Duration::from_millis(u64::from(*pause) * 4);
        wall = match kind >> 4 {
            15 => UnixTime::from_secs(u64::from(*jump) * 10_000_000),
            _ => wall + Duration::from_millis(u64::from(*pause) * 4),
        };
        match kind & 0x0f {
            0..=11 => {
                let track = usize::from(kind & 0x0f) % description.tracks.len();
                let mut bytes = Vec::new();
                let header = Header {
                    marker: jump & 1 == 1,
                    payload_type: 96 + track as u8,
                    sequence,
                    timestamp: (wall.as_millis() as u32).wrapping_mul(90) ^ u32::from(jump & 0xf0) << 24,
                    ssrc: 0,
                };
                sequence = sequence.wrapping_add(1 + u16::from(jump >> 7));
                header.write(payload, &mut bytes);
                recorder.handle_packet(now, track, &Bytes::from(bytes), wall);
            }
            12 => recorder.handle_timeout(now),
            13 => recorder.handle_gap(now),
            14 => files.set_stalled(jump & 1 == 1),
            _ => files.set_room((jump & 1 == 1).then_some(u64::from(*pause) * 16)),
        }
        let deadline = write_out(&mut recorder, now, &door, writer.as_mut(), |_| {});
        assert!(recorder.pending_bytes() <= limits::RECORDING_FRAGMENT_BYTES + limits::ACCESS_UNIT_BYTES);
        // What is waited for longest is that more comes of what stands still.
        assert!(deadline.is_none_or(|deadline| deadline <= now + IDLE));
        // Time that has passed is not asked for again.
        let is_timeout = kind & 0x0f == 12;
        assert!(!is_timeout || deadline.is_none_or(|deadline| deadline > now));
    }
    files.set_room(None);
    recorder.finish(now);
    write_out(&mut recorder, now, &door, writer.as_mut(), |_| {});
    for info in ready(files.list(&door)) {
        let octets = ready(files.read(&info.name, 0..u64::MAX)).expect("it is listed");
        check(&octets);
    }
}

/// Memory answers at once.
fn ready<T>(future: ringpost_store::BoxFuture<'_, Result<T, ringpost_store::StoreError>>) -> T {
    ringpost_store::conformance::block_on(future).expect("memory does not fail")
}

fn check(octets: &[u8]) {
    let mut scanner = Scanner::new(octets.len() as u64);
    while let Some(Wanted(range)) = scanner.wanted() {
        let part = &octets[range.start as usize..range.end as usize];
        // What a full disk cut off ends the file.
        if scanner.handle(part).is_err() {
            return;
        }
    }
}
