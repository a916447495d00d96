//! Sessions whose mount becomes something else than what they were set up for.

use super::recorded::{DOOR, describe, live_and_recorded, play, session_line, set_up};
use super::*;
use std::collections::BTreeSet;

/// Of other tracks than [`SDP`], with a payload type that it has too.
const SOUND_FIRST: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
    m=audio 0 RTP/AVP 96\r\na=rtpmap:96 L16/8000\r\na=control:streamid=0\r\n\
    m=video 0 RTP/AVP 97\r\na=rtpmap:97 H264/90000\r\na=control:streamid=1\r\n";

impl World {
    /// A session with two tracks, that nothing plays to yet.
    fn is_set_up(&mut self) -> (ConnectionId, String) {
        let reader = self.connect();
        let first = self.ask(reader, &set_up(&format!("{DOOR}/trackID=0"), "", TCP[0]));
        let session = session_line(&first);
        let second = self.ask(reader, &set_up(&format!("{DOOR}/trackID=1"), &session, TCP[1]));
        assert!(second.starts_with("RTSP/1.0 200"), "{second}");
        (reader, session)
    }

    fn ends_publishing(&mut self, publisher: ConnectionId) {
        self.hub.handle_closed(self.now, publisher);
        self.run();
        self.pass(Config::default().vacancy + Duration::from_secs(1));
    }

    /// The channels and payload types of what a connection was sent.
    fn kinds(&mut self, reader: ConnectionId) -> BTreeSet<(u8, u8)> {
        let sent = self.sent.remove(&reader).unwrap_or_default();
        let mut rest = &sent[..];
        let mut kinds = BTreeSet::new();
        while let [b'$', channel, high, low, behind @ ..] = rest {
            let (packet, behind) = behind.split_at(usize::from(u16::from_be_bytes([*high, *low])));
            if channel % 2 == 0 {
                kinds.insert((*channel, packet[1] & 0x7f));
            }
            rest = behind;
        }
        assert!(rest.is_empty(), "{rest:?}");
        kinds
    }
}

// Guards pitfall RTSP 8.
#[test]
fn a_session_of_what_was_live_is_sent_what_was_recorded_of_that_when_it_is_over() {
    for has_played in [false, true] {
        let (mut world, publisher) = live_and_recorded();
        let (reader, session) = world.is_set_up();
        if has_played {
            world.ask(reader, &play(DOOR, &session, ""));
            let paused = format!("PAUSE {DOOR} RTSP/1.0\nCSeq: 4\n{session}\n");
            world.ask(reader, &paused);
        }
        world.ends_publishing(publisher);
        let played = world.ask(reader, &play(DOOR, &session, "Range: npt=0-22\n"));
        assert!(played.contains("Range: npt=0.000-22.000"), "{played}");
        world.pass(Duration::from_secs(10));
        // Of its sound nothing was recorded, and of the Opus and the AAC that were it knows nothing.
        assert_eq!(world.kinds(reader), [(0, 96)].into(), "{has_played}");
    }
}

//= https://www.rfc-editor.org/rfc/rfc2326#section-11.3.6
#[test]
fn a_session_is_told_when_its_mount_is_live_again_with_other_tracks() {
    let (mut world, publisher) = live_and_recorded();
    let (reader, session) = world.is_set_up();
    world.ask(reader, &play(DOOR, &session, ""));
    world.ask(reader, &format!("PAUSE {DOOR} RTSP/1.0\nCSeq: 4\n{session}\n"));
    world.ends_publishing(publisher);
    let publisher = world.publish_described("alice/door", SOUND_FIRST, 2);
    world.kinds(reader);
    for range in ["", "Range: npt=now-\n", "Range: npt=0-4\n"] {
        let refused = world.ask(reader, &play(DOOR, &session, range));
        assert!(refused.starts_with("RTSP/1.0 455"), "{range}: {refused}");
        assert!(refused.contains("Allow: SETUP, TEARDOWN\r\n"), "{refused}");
        assert!(
            refused.ends_with("other tracks than this session was set up for\r\n"),
            "{refused}"
        );
    }
    for n in 0..20 {
        world.send(publisher, 0, n, 160 * u32::from(n), &[7; 320]);
        world.pass(Duration::from_millis(200));
    }
    assert_eq!(world.kinds(reader), BTreeSet::new());
    // What was recorded is there by its own tracks.
    let past = world.ask(
        reader,
        &play(&format!("{DOOR}?recorded"), &session, "Range: npt=0-2\n"),
    );
    assert!(past.starts_with("RTSP/1.0 200"), "{past}");
    world.pass(Duration::from_secs(3));
    assert_eq!(world.kinds(reader), [(0, 96)].into());
    // Who asks now is told of what is live now.
    let other = world.connect();
    let described = world.ask(other, &describe(DOOR));
    assert!(
        described.find("m=audio") < described.find("m=video"),
        "{described}"
    );
    let (reader, session) = world.is_set_up();
    let played = world.ask(reader, &play(DOOR, &session, ""));
    assert!(played.contains("Range: npt=now-"), "{played}");
}

#[test]
fn a_session_keeps_to_the_tracks_of_its_setup_when_those_of_its_mount_are_read_anew() {
    let (mut world, publisher) = live_and_recorded();
    world.ends_publishing(publisher);
    let reader = world.connect();
    let described = world.ask(reader, &describe(DOOR));
    assert!(
        described.find("opus/48000") < described.find("H264/90000"),
        "{described}"
    );
    let response = world.ask(reader, &set_up(&format!("{DOOR}/trackID=0"), "", TCP[0]));
    let session = session_line(&response);
    world.pass(Duration::from_millis(1));
    // So many others are asked for that nothing is known of it any more, and meanwhile something else was recorded last.
    let camera = world.files.values().next().cloned().expect("a recording");
    let later = crate::recording::file_name(crate::recording::tests::BEGAN + Duration::from_secs(60));
    world.files.insert(later, camera);
    for n in 0..limits::SHELVES {
        let other = world.ask(reader, &describe(&format!("rtsp://h/alice/other{n}")));
        assert!(other.starts_with("RTSP/1.0 200"), "{other}");
    }
    let described = world.ask(reader, &describe(DOOR));
    assert!(
        described.find("opus/48000") > described.find("H264/90000"),
        "{described}"
    );
    // A further stream is of those too.
    let more = world.ask(reader, &set_up(&format!("{DOOR}/trackID=1"), &session, TCP[1]));
    assert!(more.starts_with("RTSP/1.0 200"), "{more}");
    for (range, expected) in [("npt=20-21", (0, 96)), ("npt=1-2", (2, 97))] {
        world.kinds(reader);
        let played = world.ask(reader, &play(DOOR, &session, &format!("Range: {range}\n")));
        assert!(played.starts_with("RTSP/1.0 200"), "{played}");
        world.pass(Duration::from_secs(2));
        assert_eq!(world.kinds(reader), [expected].into(), "{range}");
    }
}

#[test]
fn what_is_not_there_takes_no_place_from_what_is() {
    let (mut world, publisher) = live_and_recorded();
    world.ends_publishing(publisher);
    world.nothing_of = Some("alice/nothing".into());
    let reader = world.connect();
    world.ask(reader, &describe(DOOR));
    for n in 0..2 * limits::SHELVES {
        let nothing = world.ask(reader, &describe(&format!("rtsp://h/alice/nothing{n}")));
        assert!(nothing.starts_with("RTSP/1.0 404"), "{nothing}");
    }
    world.looked_for.clear();
    world.ask(reader, &describe(DOOR));
    assert_eq!(world.looked_for, []);
}

// Guards pitfall RTSP 8.
#[test]
fn a_stream_is_of_what_its_description_was_though_its_mount_goes_live_before_it_is_set_up() {
    for is_held in [false, true] {
        let (mut world, publisher) = live_and_recorded();
        world.ends_publishing(publisher);
        let reader = world.connect();
        let setup = set_up(&format!("{DOOR}/trackID=0"), "", TCP[0]);
        let response = match is_held {
            // It waits for what there is, undescribed.
            true => {
                world.held_reads = Some(Vec::new());
                world.tell(reader, &setup);
                assert!(world.held_reads.as_ref().is_some_and(|held| !held.is_empty()));
                world.publish("alice/door");
                while world.held_reads.as_ref().is_some_and(|held| !held.is_empty()) {
                    world.release_reads();
                }
                world.said(reader)
            }
            false => {
                world.ask(reader, &describe(DOOR));
                world.publish("alice/door");
                world.ask(reader, &setup)
            }
        };
        assert!(response.starts_with("RTSP/1.0 200"), "{response}");
        assert!(!response.contains("ssrc="), "{response}");
        let session = session_line(&response);
        let third = world.ask(reader, &set_up(&format!("{DOOR}/trackID=2"), &session, TCP[1]));
        assert!(third.starts_with("RTSP/1.0 200"), "{third}");
        let played = world.ask(reader, &play(DOOR, &session, ""));
        assert!(played.contains("Range: npt=0.000-22.000"), "{played}");
    }
}

#[test]
fn nothing_is_set_up_of_what_was_live_when_it_was_described_and_is_not_any_more() {
    let (mut world, publisher) = live_and_recorded();
    let reader = world.connect();
    let setup = set_up(&format!("{DOOR}/trackID=0"), "", TCP[0]);
    world.ask(reader, &describe(DOOR));
    world.ends_publishing(publisher);
    let over = world.ask(reader, &setup);
    assert!(over.starts_with("RTSP/1.0 404"), "{over}");
    world.publish_described("alice/door", SOUND_FIRST, 2);
    let other = world.ask(reader, &setup);
    assert!(other.starts_with("RTSP/1.0 404"), "{other}");
    assert!(
        other.ends_with("what was described is live no more\r\n"),
        "{other}"
    );
    world.ask(reader, &describe(DOOR));
    let response = world.ask(reader, &setup);
    assert!(response.starts_with("RTSP/1.0 200"), "{response}");
}

/// H.264, and sound that is told so.
fn with_sound(sound: &str) -> String {
    let sound = format!("m=audio 0 RTP/AVP 97\r\n{sound}\r\na=control:streamid=1\r\n");
    let video = SDP.split("m=audio").next().expect("video");
    format!("{video}{sound}")
}

// What was recorded of its sound came in the mode AAC-hbr.
#[test]
fn a_session_of_what_is_live_is_sent_recorded_aac_in_the_form_of_its_description() {
    for sound in [
        "a=rtpmap:97 MP4A-LATM/44100/2\r\na=fmtp:97 cpresent=0;config=400024203fc0",
        "a=rtpmap:97 MP4A-LATM/44100/2\r\na=fmtp:97 cpresent=1;config=400024203fc0",
        "a=rtpmap:97 MP4A-LATM/90000",
        "a=rtpmap:97 mpeg4-generic/44100/2\r\na=fmtp:97 mode=generic;sizelength=10;config=1210",
        "a=rtpmap:97 mpeg4-generic/44100/2\r\n\
         a=fmtp:97 mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config=1210",
    ] {
        let (mut world, _) = live_and_recorded();
        let sdp = with_sound(sound);
        world.publish_described("alice/door", &sdp, 2);
        let reader = world.connect();
        let described = world.ask(reader, &describe(DOOR));
        assert!(described.to_lowercase().contains("rtpmap:97 mp"), "{described}");
        let (_, audio) = described.split_once("m=audio").expect("sound");
        let audio = &audio[..audio.find("a=control:trackID=1").expect("a stream")];
        assert!(audio.starts_with(" 0 RTP/AVP 97\r\n"), "{audio}");
        let response = world.ask(reader, &set_up(&format!("{DOOR}/trackID=0"), "", TCP[0]));
        let session = session_line(&response);
        world.ask(reader, &set_up(&format!("{DOOR}/trackID=1"), &session, TCP[1]));
        let played = world.ask(
            reader,
            &play(DOOR, &session, "Range: clock=20261127T025301Z-20261127T025303Z\n"),
        );
        assert!(
            played.contains("Range: clock=20261127T025301Z-20261127T025303Z"),
            "{played}"
        );
        world.pass(Duration::from_secs(3));
        let sent = world.received(reader, 2);
        let codec = crate::recording::tests::describe(&format!("m=audio 0 RTP/AVP 97\r\n{sound}\r\n"));
        let codec = codec.tracks[0].codec();
        let format = crate::file::Encoding::of(codec).expect("AAC").payload;
        let mut depacketizer = ringpost_rtp::payload::Depacketizer::new(format);
        let mut elements = crate::file::latm(codec);
        let mut frames = Vec::new();
        for ((sequence, payload), n) in sent.iter().zip(0..) {
            depacketizer.handle(*sequence, n, true, payload);
            while let Some(unit) = depacketizer.poll() {
                frames.extend(match format {
                    ringpost_rtp::payload::Format::Latm { in_band: true } => elements.frames(&unit.pieces[0]),
                    _ => unit.pieces,
                });
            }
        }
        // Each second has 43 of them, each of which is its number 20 times.
        assert!((84..=88).contains(&frames.len()), "{sound}: {}", frames.len());
        let first = u64::from_be_bytes(frames[0][..8].try_into().expect("a number"));
        assert!((42..=44).contains(&first), "{first}");
        for (frame, n) in frames.iter().zip(first..) {
            assert_eq!(*frame, n.to_be_bytes().repeat(20), "{sound}");
        }
    }
}
