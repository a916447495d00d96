mod time;

use super::*;
use crate::file::latm_element;
use crate::file::tests::MPEG4_CONFIG;
use crate::file::{Index, Scanner, Stored, Wanted};
use ringpost_rtp::Header;
use ringpost_rtp::payload::write;
use ringpost_sdp::SessionDescription;
use ringpost_store::{FileName, FileWriter, Files, MemoryFiles};

const SPS: &[u8] = &[
    0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x44, 0x00, 0x00, 0x03, 0x00,
    0x04, 0x00, 0x00, 0x03, 0x00, 0xc8, 0x3c, 0x60, 0xc6, 0x58,
];
/// Another size, by one octet.
const OTHER_SPS: &[u8] = &[
    0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x74, 0x02, 0x27, 0xe5, 0xc0, 0x44, 0x00, 0x00, 0x03, 0x00,
    0x04, 0x00, 0x00, 0x03, 0x00, 0xc8, 0x3c, 0x60, 0xc6, 0x58,
];
const PPS: &[u8] = &[0x68, 0xeb, 0xe3, 0xcb];
pub(crate) const BEGAN: UnixTime = UnixTime::from_secs(1_795_747_980);
pub(crate) const CAMERA: &str = "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\n\
    m=audio 0 RTP/AVP 97\r\na=rtpmap:97 MPEG4-GENERIC/44100/2\r\n\
    a=fmtp:97 mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config=1210\r\n";

pub(crate) fn describe(media: &str) -> Description {
    let sdp = format!("v=0\r\no=- 0 0 IN IP4 192.0.2.1\r\ns=Door\r\nt=0 0\r\n{media}");
    let session = SessionDescription::parse(sdp.as_bytes()).expect("a session description");
    Description::read(&session).expect("tracks").0
}

/// A camera of 25 pictures a second with a key frame each second, and its sound, into a recorder and its files.
pub(crate) struct World {
    pub(crate) recorder: Recorder,
    pub(crate) files: MemoryFiles,
    pub(crate) writer: Box<dyn FileWriter>,
    pub(crate) events: Vec<Event>,
    pub(crate) now: Instant,
    pub(crate) deadline: Option<Instant>,
    pub(crate) sps: &'static [u8],
    pub(crate) video_sequence: u16,
    pub(crate) audio_sequence: u16,
    /// Added to the wall's clock, and to video's timestamps.
    pub(crate) wall_offset: Duration,
    pub(crate) video_offset: u32,
    pub(crate) gop: u64,
    /// Access units as they were sent.
    pub(crate) sent: Vec<(usize, u32, Vec<u8>)>,
}

pub(crate) fn world(media: &str) -> World {
    let files = MemoryFiles::new(|| BEGAN);
    World {
        recorder: Recorder::new(&describe(media), Settings::default()).expect("a recorder"),
        writer: files.writer(),
        files,
        events: Vec::new(),
        now: Instant::ZERO,
        deadline: None,
        sps: SPS,
        video_sequence: 65_500,
        audio_sequence: 7,
        wall_offset: Duration::ZERO,
        video_offset: 4_294_000_000,
        gop: 25,
        sent: Vec::new(),
    }
}

impl World {
    pub(crate) fn wall(&self, at: Duration) -> UnixTime {
        BEGAN + self.wall_offset + at
    }

    pub(crate) fn run(&mut self) {
        let folder = "door".parse().expect("a folder");
        let (events, writer) = (&mut self.events, self.writer.as_mut());
        self.deadline = write_out(&mut self.recorder, self.now, &folder, writer, |event| {
            events.push(event)
        });
    }

    pub(crate) fn packets(
        &mut self,
        track: usize,
        timestamp: u32,
        at: Duration,
        payloads: Vec<write::Payload>,
    ) {
        let sequence = match track {
            0 => &mut self.video_sequence,
            _ => &mut self.audio_sequence,
        };
        let mut packets = Vec::new();
        for payload in payloads {
            let mut bytes = Vec::new();
            let header = Header {
                marker: payload.marker,
                payload_type: 96 + track as u8,
                sequence: *sequence,
                timestamp: timestamp.wrapping_add(payload.timestamp_offset),
                ssrc: 5,
            };
            *sequence = sequence.wrapping_add(1);
            header.write(&payload.bytes, &mut bytes);
            packets.push(Bytes::from(bytes));
        }
        for packet in packets {
            self.recorder
                .handle_packet(self.now, track, &packet, self.wall(at));
            self.run();
        }
    }

    pub(crate) fn picture(&mut self, n: u64) {
        let timestamp = self.video_offset.wrapping_add(n as u32 * 3_600);
        let is_key = n.is_multiple_of(self.gop);
        let fill = |kind: u8| [vec![kind, 0x80], n.to_be_bytes().repeat(300)].concat();
        let slice = fill(if is_key { 0x65 } else { 0x41 });
        let nals: Vec<&[u8]> = match is_key {
            true => vec![self.sps, PPS, &slice],
            false => vec![&slice],
        };
        self.sent.push((0, timestamp, nals.concat()));
        let payloads = write::h264(&nals, 1_200);
        self.packets(0, timestamp, Duration::from_millis(40) * n as u32, payloads);
    }

    pub(crate) fn sound(&mut self, n: u64) {
        let timestamp = 1_000 + n as u32 * 1_024;
        let frame = n.to_be_bytes().repeat(20);
        let at = Duration::from_nanos(n * 1_024 * 1_000_000_000 / 44_100);
        self.sent.push((1, timestamp, frame.clone()));
        self.packets(1, timestamp, at, write::aac(&[&frame], 1_024, 1_200));
    }

    /// What a camera sends from one second to another.
    pub(crate) fn play(&mut self, seconds: std::ops::Range<u64>) {
        let mut sounds = seconds.start * 44_100 / 1_024;
        for picture in seconds.start * 25..seconds.end * 25 {
            self.now = Instant::ZERO + Duration::from_millis(40) * picture as u32;
            if self.deadline.is_some_and(|deadline| deadline <= self.now) {
                self.recorder.handle_timeout(self.now);
                self.run();
                let moves_on = self.deadline.is_none_or(|deadline| deadline > self.now);
                assert!(moves_on, "a deadline that has passed is told again");
            }
            self.picture(picture);
            // What was heard by then.
            while (sounds + 1) * 1_024 * 25 <= (picture + 1) * 44_100 {
                self.sound(sounds);
                sounds += 1;
            }
        }
    }

    pub(crate) fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(deadline) = self.deadline.filter(|deadline| *deadline <= until) {
            assert!(deadline >= self.now, "a deadline lies behind");
            self.now = deadline;
            self.recorder.handle_timeout(self.now);
            self.run();
            assert!(
                self.deadline.is_none_or(|next| next > deadline),
                "it goes round in circles"
            );
        }
        self.now = until;
    }

    pub(crate) fn finish(&mut self) {
        self.recorder.finish(self.now);
        self.run();
    }

    pub(crate) fn recorder_segment(&mut self, segment: Duration) {
        self.recorder.settings.segment = segment;
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let list = ready(self.files.list(&"door".parse().expect("a folder")));
        list.expect("a list")
            .into_iter()
            .map(|info| info.name.name().to_string())
            .collect()
    }

    fn size(&self, name: &str) -> u64 {
        let list = ready(self.files.list(&"door".parse().expect("a folder"))).expect("a list");
        let info = list.iter().find(|info| info.name.name() == name);
        info.expect("a file").size_bytes
    }

    pub(crate) fn file(&self, name: &str) -> Recorded {
        let name: FileName = format!("door/{name}").parse().expect("a name");
        let octets = ready(self.files.read(&name, 0..u64::MAX))
            .expect("octets")
            .expect("a file");
        Recorded::scan(&octets)
    }
}

pub(crate) fn ready<T>(future: impl Future<Output = T>) -> T {
    ringpost_store::conformance::block_on(future)
}

pub(crate) struct Recorded {
    pub(crate) octets: Vec<u8>,
    pub(crate) index: Index,
    pub(crate) samples: Vec<Stored>,
}

impl Recorded {
    pub(crate) fn scan(octets: &[u8]) -> Self {
        let mut scanner = Scanner::new(octets.len() as u64);
        let part = |range: std::ops::Range<u64>| &octets[range.start as usize..range.end as usize];
        while let Some(Wanted(range)) = scanner.wanted() {
            scanner.handle(part(range)).expect("a file");
        }
        let index = scanner.finish().expect("an index");
        let read = |fragment: &crate::file::Fragment| {
            index
                .samples(fragment, part(fragment.table.clone()))
                .expect("samples")
        };
        let samples = index.fragments.iter().flat_map(read).collect();
        let octets = octets.to_vec();
        Recorded {
            octets,
            index,
            samples,
        }
    }

    /// Each track's access units in the order of decoding, without lengths of NAL units, and their times.
    pub(crate) fn units(&self, track: usize) -> Vec<(i64, Vec<u8>)> {
        let of_track = self.samples.iter().filter(|sample| sample.track == track);
        let unit = |sample: &Stored| {
            let mut rest = &self.octets[sample.offset as usize..][..sample.size_bytes as usize];
            let mut unit = Vec::new();
            while track == 0 && !rest.is_empty() {
                let (length, behind) = rest.split_first_chunk::<4>().expect("a length");
                let (nal, behind) = behind.split_at(u32::from_be_bytes(*length) as usize);
                unit.extend_from_slice(nal);
                rest = behind;
            }
            unit.extend_from_slice(rest);
            (sample.time, unit)
        };
        of_track.map(unit).collect()
    }
}

#[test]
fn what_was_sent_is_in_the_file_unit_for_unit() {
    let mut world = world(CAMERA);
    world.play(0..7);
    world.finish();
    assert_eq!(world.names(), ["20261127T025300.000Z.mp4"]);
    let file = world.file("20261127T025300.000Z.mp4");
    for track in 0..2 {
        let sent = world.sent.iter().filter(|(of, ..)| *of == track);
        let sent: Vec<_> = sent.map(|(_, timestamp, unit)| (*timestamp, unit)).collect();
        let found = file.units(track);
        assert_eq!(found.len(), sent.len());
        for ((timestamp, unit), (time, found)) in sent.iter().zip(&found) {
            assert_eq!(i64::from(timestamp.wrapping_sub(sent[0].0)), *time);
            assert!(*unit == found, "track {track} at {time}");
        }
    }
    assert!(world.events.is_empty());
    assert_eq!(world.recorder.recorded_fragments(), 7);
}

#[test]
fn fragments_begin_with_key_frames_and_last_two_seconds_at_most() {
    for (gop, expected_keys) in [(25, true), (50, true), (10, true), (100, false)] {
        let mut world = world(CAMERA);
        world.gop = gop;
        world.play(0..21);
        world.finish();
        let fragments = world.file(&world.names()[0]).index.fragments;
        assert_eq!(fragments.iter().all(|fragment| fragment.is_key), expected_keys);
        for (fragment, n) in fragments.iter().zip(0..) {
            let length = fragment.end_ns - fragment.begin_ns;
            assert!(length <= 2_100_000_000, "{length} ns with a key frame each {gop}");
            let wallclock = fragment.wallclock.expect("a time").as_nanos() - BEGAN.as_nanos();
            assert!(
                fragment.begin_ns.abs_diff(wallclock as i64) < 1_000,
                "fragment {n}"
            );
        }
    }
}

#[test]
fn another_file_begins_with_the_first_key_frame_after_a_segment() {
    let mut world = world(CAMERA);
    world.recorder.settings.segment = Duration::from_millis(3_500);
    world.play(0..10);
    world.finish();
    let names = world.names();
    assert_eq!(
        names,
        [
            "20261127T025300.000Z.mp4",
            "20261127T025304.000Z.mp4",
            "20261127T025308.000Z.mp4"
        ]
    );
    let sounds: usize = names.iter().map(|name| world.file(name).units(1).len()).sum();
    assert_eq!(
        sounds,
        world.sent.iter().filter(|(track, ..)| *track == 1).count()
    );
    let second = world.file(&names[1]);
    // 44,100 × 4 / 1,024 is no whole number: the first sound begins a little after the first picture.
    let first_sound = second.units(1)[0].0;
    assert!((0..1_024).contains(&first_sound), "{first_sound}");
}

#[test]
fn another_file_begins_with_the_first_key_frame_after_so_many_octets() {
    let mut world = world(CAMERA);
    world.play(0..4);
    world.finish();
    let second_bytes = world.size(&world.names()[0]) / 4;
    let mut world = self::world(CAMERA);
    world.recorder.set_segment_bytes(Some(second_bytes * 5 / 2));
    world.play(0..16);
    world.finish();
    let names = world.names();
    assert!((4..=6).contains(&names.len()), "{names:?}");
    for name in &names[..names.len() - 1] {
        assert!(world.size(name) <= second_bytes * 5, "{name}");
        assert!(world.file(name).index.fragments[0].is_key);
    }
}

#[test]
fn another_file_begins_where_parameter_sets_change() {
    let mut world = world(CAMERA);
    world.play(0..3);
    world.sps = OTHER_SPS;
    world.play(3..6);
    world.finish();
    let names = world.names();
    assert_eq!(names.len(), 2);
    let sizes: Vec<_> = names
        .iter()
        .map(|name| world.file(name).index.tracks[0].format.size())
        .collect();
    assert_ne!(sizes[0], sizes[1]);
    assert_eq!(world.file(&names[0]).units(0).len(), 75);
}

#[test]
fn another_file_begins_after_nothing_came_and_after_a_jump() {
    let mut world = world(CAMERA);
    world.play(0..3);
    world.wait(Duration::from_secs(17));
    assert_eq!(world.recorder.pending_bytes(), 0, "what came is written");
    world.play(20..23);
    // The encoder begins its timestamps anew.
    world.video_offset = 5;
    world.play(23..26);
    // The publisher goes and comes back.
    world.recorder.handle_gap(world.now);
    world.run();
    world.play(40..43);
    world.finish();
    let names = world.names();
    assert_eq!(
        names,
        [
            "20261127T025300.000Z.mp4",
            "20261127T025320.000Z.mp4",
            "20261127T025323.000Z.mp4",
            "20261127T025340.000Z.mp4"
        ]
    );
    for name in &names {
        assert_eq!(world.file(name).units(0).len(), 75, "{name}");
    }
}

#[test]
fn tracks_that_have_drifted_apart_are_brought_together_in_another_file() {
    let mut world = world(CAMERA);
    world.play(0..3);
    // What the camera says of its sound's time was wrong by 300 ms.
    let mut n = (3 * 44_100_u64).div_ceil(1_024);
    for picture in 75..200 {
        world.now = Instant::ZERO + Duration::from_millis(40) * picture as u32;
        world.picture(picture);
        while n * 1_024 * 25 < (picture + 1) * 44_100 {
            world.wall_offset = Duration::from_millis(300);
            world.sound(n);
            world.wall_offset = Duration::ZERO;
            n += 1;
        }
    }
    world.finish();
    let names = world.names();
    assert!(names.len() >= 2);
    let last = world.file(names.last().expect("a file"));
    let (first_sound, first_number) = {
        let (time, unit) = &last.units(1)[0];
        (*time, u64::from_be_bytes(unit[..8].try_into().expect("a number")))
    };
    let began = began(names.last().expect("a file"))
        .expect("a time")
        .since(BEGAN)
        .as_nanos() as i64;
    let heard = first_number as i64 * 1_024 * 1_000_000_000 / 44_100 + 300_000_000;
    let in_file = began + first_sound * 1_000_000_000 / 44_100;
    assert!((heard - in_file).abs() < DRIFT_NS, "{heard} {in_file}");
}

#[test]
fn tracks_that_no_file_holds_are_left_out_and_told() {
    let g729 = "m=audio 0 RTP/AVP 18\r\nm=audio 0 RTP/AVP 0\r\n";
    let mut recorder = Recorder::new(&describe(g729), Settings::default()).expect("a recorder");
    let told = recorder.poll_output();
    let Output::Event(Event::LeftOut {
        track: 0, encoding, ..
    }) = told
    else {
        panic!("{told:?}")
    };
    assert_eq!(encoding, "G729");
    assert_eq!(recorder.poll_output(), Output::Timeout(None));
    let error =
        Recorder::new(&describe("m=audio 0 RTP/AVP 18\r\n"), Settings::default()).expect_err("nothing");
    assert!(error.to_string().ends_with("found G729"), "{error}");
}

// RFC 3551 §4.5.2: the clock counts by 8,000, and there are 16,000 samples a second.
#[test]
fn sound_that_is_decoded_to_be_kept_lasts_as_long_as_it_did() {
    let mut world = world("m=audio 0 RTP/AVP 9\r\n");
    let octets: Vec<u8> = (0..160 * 300u32).map(|n| (n * 7 + n / 160) as u8).collect();
    // Over the end of what timestamps count to, doubled and not.
    let begin = u32::MAX / 2 - 160 * 100;
    for (n, packet) in (0..).zip(octets.chunks(160)) {
        world.now = Instant::ZERO + Duration::from_millis(20) * n;
        let timestamp = begin.wrapping_add(160 * n);
        let header = Header {
            marker: false,
            payload_type: 9,
            sequence: n as u16,
            timestamp,
            ssrc: 7,
        };
        let mut bytes = Vec::new();
        header.write(packet, &mut bytes);
        let at = world.wall(Duration::from_millis(20) * n);
        world.recorder.handle_packet(world.now, 0, &bytes.into(), at);
        world.run();
    }
    world.finish();
    let file = world.file(&world.names()[0]);
    assert_eq!(file.index.tracks[0].clock_rate_hz, 16_000);
    assert_eq!(
        file.index.tracks[0].format,
        crate::file::Format::L16 { channels: 1 }
    );
    let mut times = file.samples.iter().zip(0..);
    assert!(times.all(|(sample, n)| sample.time == 320 * n));
    let mut expected = Vec::new();
    ringpost_codec::G722Wide::default().decode_into(&octets, &mut expected);
    let octets_of = |sample: &Stored| &file.octets[sample.offset as usize..][..sample.size_bytes as usize];
    let kept: Vec<u8> = file.samples.iter().flat_map(octets_of).copied().collect();
    let expected: Vec<u8> = expected.into_iter().flat_map(i16::to_be_bytes).collect();
    assert!(kept == expected, "{} and {}", kept.len(), expected.len());
}

/// Pictures of MPEG-4 video, 25 a second with one coded by itself each second, which has `config` before it.
fn play_mpeg4(world: &mut World, pictures: std::ops::Range<u64>, config: &[u8]) {
    for n in pictures {
        world.now = Instant::ZERO + Duration::from_millis(40) * n as u32;
        let is_key = n.is_multiple_of(25);
        let head = [0, 0, 1, 0xb6, if is_key { 0x10 } else { 0x50 }];
        let before = if is_key { config } else { &[] };
        let picture = [before, &head, &(n | 0x8080_8080).to_be_bytes().repeat(200)].concat();
        let timestamp = n as u32 * 3_600;
        world.sent.push((0, timestamp, picture.clone()));
        let payloads = write::mpeg4_visual(&picture, 1_200);
        world.packets(0, timestamp, Duration::from_millis(40) * n as u32, payloads);
    }
}

fn recorded_octets(file: &Recorded) -> Vec<Vec<u8>> {
    let octets_of = |sample: &Stored| &file.octets[sample.offset as usize..][..sample.size_bytes as usize];
    file.samples
        .iter()
        .map(|sample| octets_of(sample).to_vec())
        .collect()
}

#[test]
fn mpeg4_video_is_in_the_file_from_the_first_picture_coded_by_itself_on() {
    let told: String = MPEG4_CONFIG.iter().map(|octet| format!("{octet:02x}")).collect();
    let fmtp = format!("a=fmtp:96 profile-level-id=1;config={told}\r\n");
    // Told in the description, in the band, and in both.
    for (fmtp, in_band) in [(&*fmtp, &[][..]), ("", MPEG4_CONFIG), (&fmtp, MPEG4_CONFIG)] {
        let mut world = world(&format!(
            "m=video 0 RTP/AVP 96\r\na=rtpmap:96 MP4V-ES/90000\r\n{fmtp}"
        ));
        play_mpeg4(&mut world, 10..120, in_band);
        world.finish();
        let names = world.names();
        assert_eq!(names.len(), 1, "{names:?}");
        let file = world.file(&names[0]);
        let config = Bytes::from_static(MPEG4_CONFIG);
        assert_eq!(
            file.index.tracks[0].format,
            crate::file::Format::Mpeg4Visual { config }
        );
        let sent: Vec<_> = world.sent[15..]
            .iter()
            .map(|(.., octets)| octets.clone())
            .collect();
        assert!(recorded_octets(&file) == sent);
        assert!(
            file.samples
                .iter()
                .zip(0..)
                .all(|(sample, n)| { sample.is_key == (n % 25 == 0) && sample.time == 3_600 * n })
        );
    }
}

//= https://www.rfc-editor.org/rfc/rfc6416#section-5.1
#[test]
fn pictures_of_mpeg4_video_that_share_a_packet_are_samples_of_their_own() {
    // Of a type, and at a fifth of a second.
    let picture = |kind: u8, fifth: u64| {
        let head = kind << 6 | 0x10 | ((fifth % 5) as u8) << 1 | 1;
        [0, 0, 1, 0xb6, head, 0x87, fifth as u8]
    };
    let mut world = world("m=video 0 RTP/AVP 96\r\na=rtpmap:96 MP4V-ES/90000\r\n");
    let mut expected = Vec::new();
    for n in 0..15 {
        // One that needs others, and before it is shown the one between.
        let first = match n {
            0 | 7 => [MPEG4_CONFIG, &picture(0, 2 * n)].concat(),
            _ => picture(1, 2 * n).to_vec(),
        };
        let between = (n > 0).then(|| picture(2, 2 * n - 1).to_vec());
        let shown = [Some(first), between].into_iter().flatten();
        let shown: Vec<_> = shown.zip([2 * n, (2 * n).saturating_sub(1)]).collect();
        let earliest = shown.iter().map(|(_, at)| *at).min().expect("a picture");
        let bytes = shown.iter().flat_map(|(picture, _)| picture.clone()).collect();
        let payload = write::Payload {
            marker: true,
            timestamp_offset: 0,
            bytes,
        };
        expected.extend(
            shown
                .into_iter()
                .map(|(picture, at)| (at as i64 * 18_000, picture)),
        );
        let at = Duration::from_millis(200) * earliest as u32;
        world.now = Instant::ZERO + at;
        world.packets(0, earliest as u32 * 18_000, at, vec![payload]);
    }
    world.finish();
    let file = world.file(&world.names()[0]);
    let times = file.samples.iter().map(|sample| sample.time);
    let found: Vec<_> = times.zip(recorded_octets(&file)).collect();
    assert_eq!(found, expected);
    let keys = file.samples.iter().filter(|sample| sample.is_key);
    let keys: Vec<_> = keys.map(|sample| sample.time).collect();
    assert_eq!(keys, [0, 14 * 18_000]);
}

#[test]
fn another_file_begins_where_the_configuration_of_mpeg4_video_changes() {
    let mut world = world("m=video 0 RTP/AVP 96\r\na=rtpmap:96 MP4V-ES/90000\r\n");
    // The same with other words of the encoder's, and then another height.
    let said = [MPEG4_CONFIG, &[0, 0, 1, 0xb2], b"another"].concat();
    let mut other = MPEG4_CONFIG.to_vec();
    other[27] ^= 0x08;
    play_mpeg4(&mut world, 0..50, MPEG4_CONFIG);
    play_mpeg4(&mut world, 50..75, &said);
    play_mpeg4(&mut world, 75..150, &other);
    world.finish();
    let names = world.names();
    let sizes: Vec<_> = names
        .iter()
        .map(|name| {
            let file = world.file(name);
            (
                file.samples.len(),
                file.index.tracks[0].format.size().expect("a size"),
            )
        })
        .collect();
    assert_eq!((sizes[0], sizes[1].0), ((75, Some((64, 48))), 75));
    assert_ne!(sizes[0].1, sizes[1].1);
}

/// Elements of AAC at 44.1 kHz in LATM, each with so many frames of which the second octet is its number; `config` says before
/// which elements a configuration stands. From `after` on.
fn play_latm(
    world: &mut World,
    track: usize,
    after: Duration,
    elements: std::ops::Range<u64>,
    frames: u64,
    config: impl Fn(u64) -> Option<u16>,
) {
    for n in elements {
        let of_number = |number: u64| vec![7, number as u8, (number >> 8) as u8, 7];
        let made: Vec<_> = (n * frames..(n + 1) * frames).map(of_number).collect();
        let made: Vec<_> = made.iter().map(Vec::as_slice).collect();
        let payload = write::Payload {
            marker: true,
            timestamp_offset: 0,
            bytes: latm_element(config(n), &made),
        };
        let at = after + Duration::from_nanos(n * frames * 1_024 * 1_000_000_000 / 44_100);
        world.now = Instant::ZERO + at;
        world.packets(track, (n * frames) as u32 * 1_024, at, vec![payload]);
    }
}

#[test]
fn latm_is_in_the_file_frame_by_frame_from_its_first_configuration_on() {
    for frames in [1, 3] {
        let mut world = world("m=audio 0 RTP/AVP 96\r\na=rtpmap:96 MP4A-LATM/44100/2\r\n");
        let config = |n: u64| (n % 20 == 5).then_some(0x1210);
        play_latm(&mut world, 0, Duration::ZERO, 0..120, frames, config);
        world.finish();
        let names = world.names();
        assert_eq!(names.len(), 1, "{names:?}");
        let file = world.file(&names[0]);
        assert_eq!(
            file.index.tracks[0].format,
            crate::file::Format::Aac {
                config: Bytes::from_static(&[0x12, 0x10]),
                channels: 2
            }
        );
        let octets = recorded_octets(&file);
        assert_eq!(octets.len() as u64, 115 * frames);
        for ((sample, octets), n) in file.samples.iter().zip(octets).zip(0..) {
            let number = 5 * frames + n;
            assert_eq!(octets, [7, number as u8, (number >> 8) as u8, 7]);
            assert_eq!((sample.time, sample.length), (n as i64 * 1_024, 1_024));
        }
    }
}

#[test]
fn sound_whose_configuration_changes_goes_on_in_a_file_that_says_so() {
    let mut alone = world("m=audio 0 RTP/AVP 96\r\na=rtpmap:96 MP4A-LATM/44100/2\r\n");
    // From stereo to one channel.
    let config = |n: u64| match n {
        0 => Some(0x1210),
        100 => Some(0x1208),
        _ => None,
    };
    play_latm(&mut alone, 0, Duration::ZERO, 0..200, 1, config);
    alone.finish();
    let lengths = |world: &World| -> Vec<(usize, Vec<crate::file::Format>)> {
        let files = world.names().into_iter().map(|name| world.file(&name));
        files
            .map(|file| {
                let formats = file.index.tracks.iter().map(|track| track.format.clone());
                let sounds = file
                    .samples
                    .iter()
                    .filter(|sample| !file.index.tracks[sample.track].format.is_video());
                (sounds.count(), formats.collect())
            })
            .collect()
    };
    let aac = |config: u16, channels| crate::file::Format::Aac {
        config: Bytes::copy_from_slice(&config.to_be_bytes()),
        channels,
    };
    let (stereo, mono) = (aac(0x1210, 2), aac(0x1208, 1));
    assert_eq!(
        lengths(&alone),
        [(100, vec![stereo.clone()]), (100, vec![mono.clone()])]
    );
    // Beside pictures it waits for one to begin with, and nothing of it stands behind another header.
    let media = CAMERA.split("m=audio").next().expect("video");
    let mut beside = world(&format!(
        "{media}m=audio 0 RTP/AVP 97\r\na=rtpmap:97 MP4A-LATM/44100/2\r\n"
    ));
    let mut sound = 0;
    for picture in 0..125 {
        beside.now = Instant::ZERO + Duration::from_millis(40) * picture as u32;
        beside.picture(picture);
        let until = (picture + 1) * 44_100 / 25 / 1_024;
        play_latm(&mut beside, 1, Duration::ZERO, sound..until, 1, config);
        sound = until;
    }
    beside.finish();
    let found = lengths(&beside);
    let formats: Vec<_> = found.iter().map(|(_, formats)| formats.get(1)).collect();
    // The first picture came before any sound, and the change with the hundredth frame, 2.3 s on.
    assert_eq!(formats, [None, Some(&stereo), Some(&mono)]);
    assert!(found[1].0 <= 100 - 43 && found[2].0 <= 215 - 129, "{found:?}");
    assert!(found[1].0 >= 55 && found[2].0 >= 84, "{found:?}");
}

#[test]
fn pictures_without_parameter_sets_that_can_be_read_leave_the_sound() {
    let mut world = world(CAMERA);
    world.sps = &[0x67, 0x64, 0x00, 0x28];
    world.play(0..12);
    world.finish();
    assert!(matches!(&world.events[..], [Event::LeftOut { track: 0, encoding, .. }] if encoding == "H264"));
    let file = world.file(&world.names()[0]);
    assert_eq!(file.index.tracks.len(), 1);
    assert!(!file.samples.is_empty());
}

#[test]
fn sound_is_recorded_where_no_key_frame_comes_and_pictures_as_soon_as_one_does() {
    let mut world = world(CAMERA);
    world.gop = 25 * 20;
    // From the second picture on, the next key frame is twenty seconds away.
    for second in 1..23 {
        world.play(second..second + 1);
    }
    world.finish();
    let names = world.names();
    let tracks: Vec<usize> = names
        .iter()
        .map(|name| world.file(name).index.tracks.len())
        .collect();
    assert_eq!(tracks, [1, 2]);
    assert_eq!(world.file(&names[1]).units(0).len(), 75);
}

/// Parameter sets told, and no key picture ever.
fn keyless_camera() -> World {
    use ringpost_auth::base64::encode;
    let sets = format!(
        "packetization-mode=1;sprop-parameter-sets={},{}",
        encode(SPS),
        encode(PPS)
    );
    let mut world = world(&CAMERA.replace("packetization-mode=1", &sets));
    world.gop = u64::MAX;
    world
}

#[test]
fn pictures_without_a_key_picture_are_begun_with_after_a_while_in_fragments_of_two_seconds() {
    let mut world = keyless_camera();
    world.recorder_segment(Duration::from_secs(100));
    world.play(1..180);
    world.finish();
    let [first, second] = &world.names()[..] else {
        panic!("two files: {:?}", world.names())
    };
    for (name, from_s, to_s) in [(first, 11, 111), (second, 111, 180)] {
        let file = world.file(name);
        assert_eq!(file.index.tracks.len(), 2, "pictures and sound");
        let (pictures, sounds) = (file.units(0), file.units(1));
        assert_eq!(pictures.len(), 25 * (to_s - from_s), "{name}");
        assert!(sounds.len() > 40 * (to_s - from_s), "{}", sounds.len());
        for fragment in &file.index.fragments {
            assert!(
                fragment.end_ns - fragment.begin_ns <= 2_100_000_000,
                "{fragment:?}"
            );
            assert!(fragment.is_key, "a player may begin with it: {fragment:?}");
        }
    }
}

#[test]
fn the_first_picture_that_needs_no_other_has_a_file_of_its_own() {
    let mut world = keyless_camera();
    world.gop = 25 * 30;
    world.play(1..90);
    world.finish();
    let names = world.names();
    assert_eq!(
        names.len(),
        2,
        "begun at 11 s, and again with the picture of 30 s: {names:?}"
    );
    assert_eq!(world.file(&names[0]).units(0).len(), 25 * 19);
    assert_eq!(world.file(&names[1]).units(0).len(), 25 * 60);
}

#[test]
fn a_picture_that_nothing_follows_is_waited_with_for_nothing() {
    let mut world = keyless_camera();
    world.picture(1);
    world.wait(Duration::from_secs(60));
    assert!(world.names().is_empty());
}

#[test]
fn parameter_sets_between_key_pictures_hold_for_the_next_file() {
    let mut world = world(CAMERA);
    world.play(0..3);
    world.now += Duration::from_millis(40);
    let slice: Vec<u8> = [&[0x41, 0x80][..], &[7; 50]].concat();
    let timestamp = world.video_offset.wrapping_add(75 * 3_600);
    let payloads = write::h264(&[OTHER_SPS, PPS, &slice], 1_200);
    world.packets(0, timestamp, Duration::from_secs(3), payloads);
    // The next key picture brings none.
    for n in 76..150_u64 {
        world.now = Instant::ZERO + Duration::from_millis(40) * n as u32;
        let slice = [if n.is_multiple_of(25) { 0x65 } else { 0x41 }, 0x80, 1, 2];
        let timestamp = world.video_offset.wrapping_add(n as u32 * 3_600);
        let payloads = write::h264(&[&slice], 1_200);
        world.packets(0, timestamp, Duration::from_millis(40) * n as u32, payloads);
    }
    world.finish();
    let names = world.names();
    assert_eq!(names.len(), 2, "{names:?}");
    let sps_of = |name: &str| match &world.file(name).index.tracks[0].format {
        crate::file::Format::H264 { sps, .. } => sps[0].clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!((&sps_of(&names[0])[..], &sps_of(&names[1])[..]), (SPS, OTHER_SPS));
}

#[test]
fn pictures_that_nothing_can_begin_with_are_waited_for_without_a_deadline_that_has_passed() {
    for is_full in [false, true] {
        let mut world = world(
            CAMERA
                .split_inclusive("m=audio")
                .next()
                .expect("video")
                .trim_end_matches("m=audio"),
        );
        world.gop = if is_full { 25 } else { u64::MAX };
        world.files.set_room(is_full.then_some(0));
        let mut states = Vec::new();
        for picture in 1..25 * 40 {
            world.now = Instant::ZERO + Duration::from_millis(40) * picture as u32;
            world.wait(Duration::ZERO);
            world.picture(picture);
            // Its deadline passes between two packets.
            world.now += Duration::from_millis(20);
            world.recorder.handle_timeout(world.now);
            world.run();
            assert!(world.deadline.is_none_or(|deadline| deadline > world.now));
            states.push(world.recorder.state(world.now));
        }
        states.dedup_by_key(|state| std::mem::discriminant(state));
        match is_full {
            false => assert_eq!(states, [State::Waiting]),
            true => assert!(matches!(
                states[..],
                [State::Waiting, State::Writing, State::Failing { .. }, ..]
            )),
        }
    }
}

#[test]
fn an_open_fragment_is_bounded() {
    let mut world = world(CAMERA);
    let nal = [vec![0x41, 0x80], vec![7; 3_000_000]].concat();
    world.picture(0);
    for n in 1..20_u64 {
        world.now += Duration::from_millis(10);
        let payloads = write::h264(&[&nal], 60_000);
        let timestamp = world.video_offset.wrapping_add(n as u32 * 900);
        world.packets(0, timestamp, Duration::from_millis(10) * n as u32, payloads);
        assert!(world.recorder.pending_bytes() <= limits::RECORDING_FRAGMENT_BYTES + 3_100_000);
    }
    world.finish();
    assert_eq!(world.file(&world.names()[0]).units(0).len(), 20);
}

#[test]
fn a_full_disk_costs_fragments_which_are_counted_and_recording_goes_on_behind_it() {
    let mut world = world(CAMERA);
    world.play(0..4);
    world.files.set_room(Some(10_000));
    world.play(4..8);
    world.files.set_room(None);
    assert!(matches!(world.recorder.state(world.now), State::Failing { .. }));
    world.play(8..30);
    assert_eq!(world.recorder.state(world.now), State::Writing);
    world.finish();
    let names = world.names();
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(world.recorder.lost_fragments() >= 1);
    assert!(
        world
            .events
            .iter()
            .any(|event| matches!(event, Event::Dropped { .. }))
    );
    let kept: usize = names.iter().map(|name| world.file(name).units(0).len()).sum();
    assert!((400..700).contains(&kept), "{kept}");
    // Both play from their beginning.
    assert!(
        names
            .iter()
            .all(|name| world.file(name).index.fragments[0].is_key)
    );
}

// Where all that is wanted is written after it was taken, each command is refused on its own.
#[test]
fn fragments_that_are_refused_after_all_was_handed_out_are_counted_once_and_no_loss_of_none_is_told() {
    let mut world = world(CAMERA);
    world.play(0..4);
    let recorded = world.recorder.recorded_fragments();
    let commands = |recorder: &mut Recorder| {
        let mut commands = 0;
        loop {
            match recorder.poll_output() {
                Output::Timeout(_) => return commands,
                Output::Event(event) => panic!("{event:?}"),
                _ => commands += 1,
            }
        }
    };
    world.recorder.finish(world.now);
    let handed_out = commands(&mut world.recorder);
    let fragments = world.recorder.recorded_fragments() - recorded;
    assert!(fragments >= 1 && handed_out > fragments);
    for _ in 0..handed_out {
        world.recorder.handle_refused(world.now);
    }
    assert_eq!(world.recorder.lost_fragments(), fragments);
    let told = std::iter::from_fn(|| match world.recorder.poll_output() {
        Output::Event(event) => Some(event),
        _ => None,
    });
    assert_eq!(told.collect::<Vec<_>>(), [Event::Dropped { fragments }]);
    assert_eq!(
        world.recorder.state(world.now),
        State::Failing { retry_in: BACKOFF }
    );
}

#[test]
fn however_long_the_disk_was_full_recording_goes_on_soon_behind_it() {
    let mut world = world(CAMERA);
    world.files.set_room(Some(0));
    world.play(0..600);
    world.files.set_room(None);
    world.play(600..600 + MOST_BACKOFF.as_secs() + 3);
    world.finish();
    assert_eq!(world.names().len(), 1);
}

#[test]
fn a_disk_that_stands_still_costs_no_memory() {
    let mut world = world(CAMERA);
    world.files.set_stalled(true);
    for second in 0..40 {
        world.play(second..second + 1);
        assert!(world.recorder.pending_bytes() < 2_000_000);
    }
    world.files.set_stalled(false);
    world.play(40..90);
    world.finish();
    assert!(!world.names().is_empty());
}

#[test]
fn a_loss_of_power_costs_the_open_fragment_and_nothing_before_it() {
    let mut world = world(CAMERA);
    world.play(0..5);
    let synced = world.recorder.recorded_fragments();
    world.files.lose_power(|_, tail| tail / 2);
    let file = world.file(&world.names()[0]);
    assert_eq!(file.index.fragments.len() as u64, synced);
    assert_eq!(synced, 4);
    assert_eq!(file.units(0).len(), 100);
}

#[test]
fn packets_of_other_payload_types_and_no_packets_are_passed_over() {
    let mut world = world(CAMERA);
    world.play(0..2);
    for other in [&b""[..], b"\x80", b"\x80\x65\0\x01\0\0\0\0\0\0\0\0tone"] {
        world
            .recorder
            .handle_packet(world.now, 0, &Bytes::copy_from_slice(other), BEGAN);
        world
            .recorder
            .handle_packet(world.now, 9, &Bytes::copy_from_slice(other), BEGAN);
    }
    world.play(2..4);
    world.finish();
    assert_eq!(world.names().len(), 1);
    assert_eq!(world.file(&world.names()[0]).units(0).len(), 100);
}
