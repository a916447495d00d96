pub use ringpost_rtsp::control::{track_control as control_of, track_of};
use ringpost_rtsp::header::Range;

use crate::hub::Group;
use ringpost_base::limits;
use ringpost_rtsp::Url;
use ringpost_rtsp::control::track_url;
use ringpost_sdp::{
    Attribute, Bandwidth, Codec, Connection, Direction, Media, MediaKind, Origin, ParseError,
    SessionDescription,
};
use std::net::IpAddr;
use thiserror::Error;

/// Why nothing can be published by a session description.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DescriptionError {
    /// It is none.
    #[error(transparent)]
    Unreadable(#[from] ParseError),
    /// No stream of RTP in it.
    #[error("expected at least one m-line of RTP in the session description, found none")]
    NoTracks,
    /// More streams of RTP than [`limits::MOUNT_TRACKS`].
    #[error(
        "expected at most {} m-lines of RTP in the session description, found {found}",
        limits::MOUNT_TRACKS
    )]
    Tracks {
        /// How many there are.
        found: usize,
    },
    /// None but such with a payload type that neither the description nor RFC 3551 explains; this is the first.
    #[error(
        "m-line {track} has payload type {payload_type}; expected an a=rtpmap that says what it is, with a clock rate"
    )]
    Unexplained {
        /// The m-line, counted from 1.
        track: usize,
        /// Its first format.
        payload_type: u8,
    },
    /// None but such that come without payload types, or are encrypted; this is the first.
    #[error("expected RTP/AVP or RTP/AVPF and a payload type in m-line {track}, found {found:?}")]
    Protocol {
        /// The m-line, counted from 1.
        track: usize,
        /// Its protocol and formats.
        found: String,
    },
}

/// What a description of a camera had wrong and was read all the same; each is logged once for a publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Quirk {
    /// A clock rate other than the one that the encoding always has.
    ClockRate {
        /// The track, counted from 0.
        track: usize,
        /// What the description said.
        said_hz: u32,
        /// What is used.
        used_hz: u32,
    },
    /// An m-line that is not RTP in the clear: there is no track for it.
    NotRtp {
        /// The m-line, counted from 0.
        place: usize,
    },
    /// An m-line with a payload type that nothing explains: there is no track for it.
    Unexplained {
        /// The m-line, counted from 0.
        place: usize,
        /// Its first format.
        payload_type: u8,
    },
    /// Lines that are wrong.
    Lines(ringpost_sdp::Quirk),
}

/// One stream of a mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track {
    /// Its place among the publisher's m-lines, counted from 0: what a publisher's connection calls it. Some of them may have no
    /// track here.
    pub place: usize,
    /// Audio, video …
    pub kind: MediaKind,
    /// Its payload types; the first is what the track is, the others (events, comfort noise, repairs) pass along.
    pub codecs: Vec<Codec>,
    /// The value of the publisher's `a=control`, for who asks it for this track.
    pub control: Option<String>,
    /// The publisher's `b=` lines.
    pub bandwidths: Vec<Bandwidth>,
    /// The publisher's attributes that describe the stream itself (`framerate`, `x-dimensions`, `lang` …).
    pub attributes: Vec<Attribute>,
}

impl Track {
    /// What the track is.
    pub fn codec(&self) -> &Codec {
        &self.codecs[0]
    }

    /// Whether `payload_type` is one of its own.
    pub fn carries(&self, payload_type: u8) -> bool {
        self.codecs.iter().any(|codec| codec.payload_type == payload_type)
    }
}

/// What a mount has: its tracks, in the order of the publisher's m-lines, as readers count them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// The publisher's `s=`; `-` where it said nothing.
    pub name: String,
    /// Its `i=`.
    pub information: Option<String>,
    /// At least one, at most [`limits::MOUNT_TRACKS`]; each has at least one codec.
    pub tracks: Vec<Track>,
}

/// Encodings whose RTP clock is fixed, with it (RFC 6184 §8.2.1, 7798 §7.1, 7741 §6.1, 9628 §7.1, 2435 §3, 3551 §4.5.2, 7587 §4.1).
const FIXED_CLOCKS: [(&str, u32); 12] = [
    ("H264", 90_000),
    ("H265", 90_000),
    ("VP8", 90_000),
    ("VP9", 90_000),
    ("AV1", 90_000),
    ("JPEG", 90_000),
    ("MPV", 90_000),
    ("MP2T", 90_000),
    ("MPA", 90_000),
    ("MP4V-ES", 90_000),
    ("G722", 8_000),
    ("opus", 48_000),
];

/// Attributes that say how a stream is had from its publisher, or are made anew for readers.
const OF_THE_TRANSPORT: [&str; 8] = [
    "control", "range", "rtpmap", "fmtp", "recvonly", "sendonly", "sendrecv", "inactive",
];

impl Description {
    /// What a publisher (ANNOUNCE) or another server (DESCRIBE) sends as its session description, and what was wrong with it:
    /// everything is tolerated that has a name among [`Quirk`]s.
    // Guards pitfall RTSP 8.
    pub fn parse(bytes: &[u8]) -> Result<(Description, Vec<Quirk>), DescriptionError> {
        let (session, met) = SessionDescription::read(bytes, &ringpost_sdp::Quirk::ALL)?;
        let (description, quirks) = Description::read(&session)?;
        Ok((
            description,
            met.into_iter().map(Quirk::Lines).chain(quirks).collect(),
        ))
    }

    /// The same of one that has been read.
    pub fn read(session: &SessionDescription) -> Result<(Description, Vec<Quirk>), DescriptionError> {
        let mut quirks = Vec::new();
        let mut tracks = Vec::new();
        let mut refused = None;
        for (place, media) in session.media.iter().enumerate() {
            match read_track(place, media) {
                Ok(mut track) => {
                    mend_clock_rate(tracks.len(), &mut track, &mut quirks);
                    tracks.push(track);
                }
                Err(error) => {
                    quirks.extend(passed_over(place, &error));
                    refused.get_or_insert(error);
                }
            }
        }
        if tracks.is_empty() {
            return Err(refused.unwrap_or(DescriptionError::NoTracks));
        }
        if tracks.len() > limits::MOUNT_TRACKS {
            let found = tracks.len();
            return Err(DescriptionError::Tracks { found });
        }
        let (name, information) = (session.name.clone(), session.information.clone());
        let description = Description {
            name,
            information,
            tracks,
        };
        Ok((description, quirks))
    }

    /// The track that its publisher's connection calls so, by its place among the m-lines; `None` where there is no track for
    /// that m-line.
    pub fn track_at(&self, place: usize) -> Option<usize> {
        self.tracks.iter().position(|track| track.place == place)
    }

    /// The track that the publisher calls its `place`th.
    pub fn index_of(&self, place: usize) -> Option<usize> {
        self.tracks.iter().position(|track| track.place == place)
    }

    /// What readers are told (RFC 2326 appendix C): the whole is controlled by the URL that was asked for, each track below it
    /// by [`control_of`]. With `base`, that URL, both are written absolutely, which leaves nothing for a reader to get wrong.
    ///
    /// `range` is from where to where it goes; `None` is live.
    pub fn write(&self, origin: Origin, range: Option<&Range>, base: Option<&Url>) -> SessionDescription {
        let unspecified = match origin.address.family() {
            ringpost_sdp::Family::Ip4 => IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
            ringpost_sdp::Family::Ip6 => IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
        };
        let mut session = SessionDescription::new(origin);
        session.name.clone_from(&self.name);
        session.information.clone_from(&self.information);
        //= https://www.rfc-editor.org/rfc/rfc2326#appendix-C.1.7
        session.connection = Some(Connection::from(unspecified));
        let whole = base.map_or("*".into(), |base| base.without_credentials().to_string());
        session.attributes.push(other("control", whole));
        //= https://www.rfc-editor.org/rfc/rfc2326#appendix-C.1.5
        let range = range.map_or("npt=now-".into(), Range::to_string);
        session.attributes.push(other("range", range));
        session.media = self
            .tracks
            .iter()
            .enumerate()
            .map(|(index, track)| {
                let control = match base {
                    Some(base) => track_url(&base.without_credentials(), index).to_string(),
                    None => control_of(index),
                };
                let mut media = write_track(track);
                media.attributes.push(other("control", control));
                media
            })
            .collect();
        session
    }
}

impl Description {
    /// What is announced of a mount that is sent to a group: all that somebody needs who hears it and asks nobody. `name` is that
    /// of a session whose publisher gave it none.
    pub fn write_group(&self, origin: Origin, name: &str, group: &Group) -> SessionDescription {
        let mut session = SessionDescription::new(origin);
        // What publishers write who have nothing to say.
        let is_named = !matches!(&*self.name, "" | "-" | " " | "No Name" | "Unnamed");
        session.name = if is_named { self.name.clone() } else { name.into() };
        session.information.clone_from(&self.information);
        //= https://www.rfc-editor.org/rfc/rfc8866#section-5.7
        session.connection = Some(Connection {
            ttl: group.address.is_ipv4().then_some(group.ttl),
            ..Connection::from(group.address)
        });
        session.attributes.push(Attribute::Direction(Direction::RecvOnly));
        let tracks = self.tracks.iter().enumerate();
        session.media = tracks
            .map(|(index, track)| Media {
                port: group.rtp(index).port(),
                ..write_track(track)
            })
            .collect();
        session
    }
}

fn other(name: &str, value: String) -> Attribute {
    Attribute::Other {
        name: name.into(),
        value: Some(value),
    }
}

/// What is told of an m-line that has no track.
fn passed_over(place: usize, error: &DescriptionError) -> Option<Quirk> {
    match error {
        DescriptionError::Protocol { .. } => Some(Quirk::NotRtp { place }),
        DescriptionError::Unexplained { payload_type, .. } => {
            let payload_type = *payload_type;
            Some(Quirk::Unexplained { place, payload_type })
        }
        _ => None,
    }
}

fn read_track(place: usize, media: &Media) -> Result<Track, DescriptionError> {
    let payload_types: Vec<u8> = media
        .formats
        .iter()
        .filter_map(|format| format.parse().ok())
        .filter(|number| *number < 128)
        .collect();
    // Devices name the transport here as RTSP does in its Transport field.
    let protocol = media.protocol.to_ascii_uppercase();
    let bare = protocol.strip_suffix("/TCP").or(protocol.strip_suffix("/UDP"));
    let is_plain_rtp = matches!(bare.unwrap_or(&protocol), "RTP/AVP" | "RTP/AVPF");
    let Some(first) = payload_types.first().filter(|_| is_plain_rtp) else {
        let found = format!("{} {}", media.protocol, media.formats.join(" "));
        return Err(DescriptionError::Protocol {
            track: place + 1,
            found,
        });
    };
    let mut codecs: Vec<Codec> = payload_types
        .iter()
        .filter_map(|number| codec_of(media, *number))
        .collect();
    if codecs.first().is_none_or(|codec| codec.payload_type != *first) {
        return Err(DescriptionError::Unexplained {
            track: place + 1,
            payload_type: *first,
        });
    }
    // What the track is comes first, events and comfort noise behind it.
    codecs.sort_by_key(|codec| !codec.is_media());
    Ok(Track {
        place,
        kind: media.kind.clone(),
        codecs,
        control: value_of(&media.attributes, "control").map(Into::into),
        bandwidths: media.bandwidths.clone(),
        attributes: media
            .attributes
            .iter()
            .filter(|each| is_of_the_stream(each))
            .cloned()
            .collect(),
    })
}

fn codec_of(media: &Media, payload_type: u8) -> Option<Codec> {
    let fmtp = media.fmtp(&payload_type.to_string()).map(Into::into);
    let codec = match media.rtpmap(payload_type) {
        Some(map) => Codec {
            channels: map.channels,
            ..Codec::new(payload_type, map.encoding.clone(), map.clock_rate_hz)
        },
        None => Codec::of_static(payload_type)?,
    };
    Some(Codec { fmtp, ..codec })
}

fn mend_clock_rate(track: usize, read: &mut Track, quirks: &mut Vec<Quirk>) {
    for codec in &mut read.codecs {
        let fixed = FIXED_CLOCKS
            .iter()
            .find(|(name, _)| codec.name.eq_ignore_ascii_case(name));
        if let Some((_, used_hz)) = fixed.filter(|(_, rate)| *rate != codec.clock_rate_hz) {
            quirks.push(Quirk::ClockRate {
                track,
                said_hz: codec.clock_rate_hz,
                used_hz: *used_hz,
            });
            codec.clock_rate_hz = *used_hz;
        }
    }
}

fn value_of<'a>(attributes: &'a [Attribute], wanted: &str) -> Option<&'a str> {
    attributes.iter().find_map(|attribute| match attribute {
        Attribute::Other { name, value } if name.eq_ignore_ascii_case(wanted) => value.as_deref(),
        _ => None,
    })
}

fn is_of_the_stream(attribute: &Attribute) -> bool {
    match attribute {
        Attribute::Other { name, .. } => !OF_THE_TRANSPORT
            .iter()
            .any(|each| name.eq_ignore_ascii_case(each)),
        Attribute::Ptime { .. } | Attribute::MaxPtime { .. } => true,
        _ => false,
    }
}

fn write_track(track: &Track) -> Media {
    let formats = track
        .codecs
        .iter()
        .map(|codec| codec.payload_type.to_string())
        .collect();
    let mut media = Media::new(track.kind.clone(), 0, "RTP/AVP", formats);
    media.bandwidths.clone_from(&track.bandwidths);
    for codec in &track.codecs {
        media.attributes.push(Attribute::RtpMap(ringpost_sdp::RtpMap {
            payload_type: codec.payload_type,
            encoding: codec.name.to_string(),
            clock_rate_hz: codec.clock_rate_hz,
            channels: codec.channels,
        }));
        if let Some(parameters) = &codec.fmtp {
            media.attributes.push(Attribute::Fmtp {
                format: codec.payload_type.to_string(),
                parameters: parameters.clone(),
            });
        }
    }
    media.attributes.extend(track.attributes.iter().cloned());
    media
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As ffmpeg announces a camera's picture and sound.
    const ANNOUNCED: &str = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=Door\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\na=tool:libavformat\r\n\
        m=video 0 RTP/AVP 96\r\nb=AS:2000\r\na=rtpmap:96 H264/90000\r\n\
        a=fmtp:96 packetization-mode=1; sprop-parameter-sets=Z0LAHtkDxWhAAAADAEAAAAwDxYuS,aMuMsg==; profile-level-id=42C01E\r\n\
        a=control:streamid=0\r\na=framerate:25\r\n\
        m=audio 0 RTP/AVP 97\r\na=rtpmap:97 MPEG4-GENERIC/48000/2\r\n\
        a=fmtp:97 profile-level-id=1;mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3; config=1190\r\n\
        a=control:streamid=1\r\n";

    fn read(text: &str) -> Result<(Description, Vec<Quirk>), DescriptionError> {
        Description::read(&SessionDescription::parse(text.as_bytes()).expect("a session description"))
    }

    fn of_media(lines: &str) -> Result<(Description, Vec<Quirk>), DescriptionError> {
        read(&format!(
            "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n{lines}"
        ))
    }

    fn origin() -> Origin {
        Origin {
            username: "-".into(),
            session_id: 7,
            version: 1,
            address: IpAddr::from([192, 0, 2, 1]).into(),
        }
    }

    #[test]
    fn what_was_announced_is_what_readers_are_told() {
        let (description, quirks) = read(ANNOUNCED).expect("tracks");
        assert!(quirks.is_empty());
        assert_eq!(description.tracks[0].control.as_deref(), Some("streamid=0"));
        assert_eq!(description.tracks[1].codec().channels, 2);
        let told = description.write(origin(), None, None).to_string();
        assert_eq!(
            told,
            "v=0\r\no=- 7 1 IN IP4 192.0.2.1\r\ns=Door\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\na=control:*\r\na=range:npt=now-\r\n\
             m=video 0 RTP/AVP 96\r\nb=AS:2000\r\na=rtpmap:96 H264/90000\r\n\
             a=fmtp:96 packetization-mode=1; sprop-parameter-sets=Z0LAHtkDxWhAAAADAEAAAAwDxYuS,aMuMsg==; profile-level-id=42C01E\r\n\
             a=framerate:25\r\na=control:trackID=0\r\n\
             m=audio 0 RTP/AVP 97\r\na=rtpmap:97 MPEG4-GENERIC/48000/2\r\n\
             a=fmtp:97 profile-level-id=1;mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3; config=1190\r\n\
             a=control:trackID=1\r\n"
        );
    }

    #[test]
    fn what_has_an_end_tells_its_length() {
        let (description, _) = read(ANNOUNCED).expect("tracks");
        let range = Range::parse("npt=0-12.500").unwrap();
        let told = description.write(origin(), Some(&range), None).to_string();
        assert!(told.contains("a=range:npt=0.000-12.500\r\n"), "{told}");
    }

    #[test]
    fn a_static_payload_type_needs_no_rtpmap() {
        let (description, _) = of_media("m=audio 0 RTP/AVP 0\r\n").expect("a track");
        assert_eq!(description.tracks[0].codec(), &Codec::pcmu());
    }

    #[test]
    fn events_pass_along_behind_what_the_track_is() {
        let lines = "m=audio 0 RTP/AVP 101 8\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n";
        let (description, _) = of_media(lines).expect("a track");
        let track = &description.tracks[0];
        assert_eq!(track.codec(), &Codec::pcma());
        assert!(track.carries(101) && !track.carries(0));
    }

    // Guards pitfall RTSP 8.
    #[test]
    fn a_clock_rate_that_cannot_be_is_mended_and_told() {
        for (map, said_hz, used_hz) in [
            ("H264/9000", 9_000, 90_000),
            ("h265/1000", 1_000, 90_000),
            ("G722/16000", 16_000, 8_000),
            ("OPUS/44100/2", 44_100, 48_000),
        ] {
            let lines = format!("m=video 0 RTP/AVP 96\r\na=rtpmap:96 {map}\r\n");
            let (description, quirks) = of_media(&lines).expect("a track");
            assert_eq!(description.tracks[0].codec().clock_rate_hz, used_hz);
            let track = 0;
            assert_eq!(
                quirks,
                [Quirk::ClockRate {
                    track,
                    said_hz,
                    used_hz
                }]
            );
        }
    }

    #[test]
    fn what_cannot_be_published_is_refused_by_name() {
        let m_lines = "m=audio 0 RTP/AVP 0\r\n".repeat(limits::MOUNT_TRACKS + 1);
        for (lines, expected) in [
            (
                "",
                "expected at least one m-line of RTP in the session description, found none",
            ),
            (
                "m=video 0 RTP/AVP 96\r\nm=audio 0 RTP/SAVP 0\r\n",
                "m-line 1 has payload type 96; expected an a=rtpmap that says what it is, with a clock rate",
            ),
            (
                "m=audio 0 RTP/SAVP 0\r\n",
                "expected RTP/AVP or RTP/AVPF and a payload type in m-line 1, found \"RTP/SAVP 0\"",
            ),
            (
                "m=application 0 udp wb\r\n",
                "expected RTP/AVP or RTP/AVPF and a payload type in m-line 1, found \"udp wb\"",
            ),
            (
                &m_lines,
                "expected at most 16 m-lines of RTP in the session description, found 17",
            ),
        ] {
            assert_eq!(of_media(lines).expect_err("a refusal").to_string(), expected);
        }
    }

    // Guards pitfall RTSP 3.
    #[test]
    fn controls_are_absolute_where_the_url_is_known() {
        let (description, _) = read(ANNOUNCED).expect("tracks");
        for (base, whole, second) in [
            (
                "rtsp://u:p@h/alice/door/",
                "rtsp://h/alice/door/",
                "rtsp://h/alice/door/trackID=1",
            ),
            (
                "rtsps://h:8322/door/?key=x",
                "rtsps://h:8322/door/?key=x",
                "rtsps://h:8322/door/trackID=1?key=x",
            ),
        ] {
            let base = Url::parse(base).expect("a URL");
            let told = description.write(origin(), None, Some(&base)).to_string();
            let controls = ringpost_rtsp::control::Controls::of_sdp(told.as_bytes());
            assert_eq!(controls.aggregate.as_deref(), Some(whole));
            assert_eq!(controls.tracks[1].as_deref(), Some(second));
        }
    }

    // Guards pitfall RTSP 8.
    #[test]
    fn what_is_no_stream_of_rtp_is_passed_over_and_the_others_keep_their_places() {
        let lines = "m=application 0 udp wb\r\na=control:0\r\nm=video 0 RTP/AVP/UDP 96\r\na=rtpmap:96 H264/9000\r\na=control:1\r\n\
            m=video 0 RTP/AVP 99\r\na=control:2\r\nm=audio 0 RTP/SAVP 0\r\nm=audio 0 RTP/AVPF/TCP 8\r\na=control:4\r\n";
        let (description, quirks) = of_media(lines).expect("tracks");
        let tracks: Vec<_> = description
            .tracks
            .iter()
            .map(|track| (track.place, track.control.as_deref()))
            .collect();
        assert_eq!(tracks, [(1, Some("1")), (4, Some("4"))]);
        assert_eq!(
            quirks,
            [
                Quirk::NotRtp { place: 0 },
                Quirk::ClockRate {
                    track: 0,
                    said_hz: 9_000,
                    used_hz: 90_000
                },
                Quirk::Unexplained {
                    place: 2,
                    payload_type: 99
                },
                Quirk::NotRtp { place: 3 },
            ]
        );
        let at: Vec<_> = (0..6).map(|place| description.track_at(place)).collect();
        assert_eq!(at, [None, Some(0), None, None, Some(1), None]);
        // Readers count what there is.
        let told = description.write(origin(), None, None).to_string();
        let controls = ringpost_rtsp::control::Controls::of_sdp(told.as_bytes());
        assert_eq!(
            controls.tracks,
            [Some("trackID=0".into()), Some("trackID=1".into())]
        );
    }

    // Guards pitfall RTSP 8.
    #[test]
    fn lines_that_are_wrong_lose_no_track_and_are_told() {
        let text = "s=\nt=x\nc=IN\nm=video\nm=audio 0 RTP/AVP 0\n";
        let (description, quirks) = Description::parse(text.as_bytes()).expect("a track");
        assert_eq!(description.track_at(1), Some(0));
        assert_eq!(description.name, "-");
        use ringpost_sdp::Quirk::{Connection, Media, NoVersion, Origin, Time};
        let lines = [NoVersion, Origin, Connection, Time, Media].map(Quirk::Lines);
        assert_eq!(quirks[..5], lines);
        assert_eq!(quirks[5..], [Quirk::NotRtp { place: 0 }]);
        let error = Description::parse(b"v=7").expect_err("another version");
        assert!(matches!(error, DescriptionError::Unreadable(_)));
    }
}
