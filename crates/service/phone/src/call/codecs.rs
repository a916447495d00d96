//! Which codecs each leg is offered and answered with (DESIGN: the caller's first, then those that we can transcode).

use ringpost_sdp::{
    Codec, Direction, MediaKind, Negotiated, NegotiatedCodec, RemoteStream, SessionDescription, merge_codecs,
};

/// Between what we transcode in a call, and what we speak first ourselves.
pub(crate) fn ours() -> Vec<Codec> {
    vec![Codec::pcmu(), Codec::pcma(), Codec::telephone_event(101)]
}

/// What we speak ourselves with who makes this offer: voicemail, menus, mounts. G.711 where it is offered, since what we say
/// has a telephone's band and coding it costs next to nothing; whatever we speak to who offers nothing.
pub(crate) fn alone(offer: Option<&SessionDescription>) -> Vec<Codec> {
    let mut spoken = ours();
    if !offer.is_some_and(|offer| of_audio(offer).iter().any(is_transcodable)) {
        spoken.extend([Codec::g722(), Codec::opus(96)]);
        spoken.push(Codec {
            clock_rate_hz: 48_000,
            ..Codec::telephone_event(102)
        });
    }
    merge_codecs(&[], &spoken)
}

/// Whether we can turn it into another codec of ours.
pub(crate) fn is_transcodable(codec: &Codec) -> bool {
    codec.same_encoding(&Codec::pcmu()) || codec.same_encoding(&Codec::pcma())
}

/// The stream of a description that we take part in: the first audio over plain RTP that is not refused.
fn audio(description: &SessionDescription) -> Option<RemoteStream> {
    let is_plain = |protocol: &str| {
        ["RTP/AVP", "RTP/AVPF"]
            .iter()
            .any(|p| p.eq_ignore_ascii_case(protocol))
    };
    RemoteStream::all(description).into_iter().find(|stream| {
        stream.kind == MediaKind::Audio
            && !stream.refused
            && !stream.multicast
            && is_plain(&stream.protocol)
            && stream.codecs.iter().any(Codec::is_media)
    })
}

/// The codecs of a description's audio; none where there is no audio that we take part in.
pub(crate) fn of_audio(description: &SessionDescription) -> Vec<Codec> {
    audio(description).map(|stream| stream.codecs).unwrap_or_default()
}

/// What the describing party does with its audio.
pub(crate) fn direction_of(description: &SessionDescription) -> Direction {
    audio(description)
        .map(|stream| stream.direction)
        .unwrap_or_default()
}

/// What the called phones are offered: the caller's codecs, then ours if we could transcode for the caller; without a
/// caller's offer, ours alone.
pub(crate) fn offer(caller: Option<&SessionDescription>) -> Vec<Codec> {
    let Some(caller) = caller.map(of_audio) else {
        return ours();
    };
    let mut ours = ours();
    if !caller.iter().any(is_transcodable) {
        ours.retain(|codec| !codec.is_media());
    }
    // Events go between legs only where the caller has them: nobody else could hear them.
    if !caller.iter().any(Codec::is_telephone_event) {
        ours.retain(|codec| !codec.is_telephone_event());
    }
    merge_codecs(&caller, &ours)
}

/// What a peer may use when the other leg speaks `spoken`: any of the same, and where we can transcode one of them, ours
/// in its stead; and events, which reach a leg without them as tones.
pub(crate) fn beside(spoken: &[NegotiatedCodec]) -> Vec<Codec> {
    let media: Vec<Codec> = spoken
        .iter()
        .map(|format| format.codec.clone())
        .filter(Codec::is_media)
        .collect();
    let mut further = Vec::new();
    if media.iter().any(is_transcodable) {
        further.extend(ours().into_iter().filter(Codec::is_media));
    }
    let known = spoken.iter().map(|format| format.codec.clone());
    further.extend(known.filter(|codec| !codec.is_media()));
    for codec in &media {
        further.push(Codec {
            clock_rate_hz: codec.clock_rate_hz,
            ..Codec::telephone_event(101)
        });
    }
    merge_codecs(&media, &further)
}

/// Whether each of two legs can be made to hear what the other prefers to send.
pub(crate) fn hear_each_other(one: &Negotiated, other: &Negotiated) -> bool {
    let hears = |from: &Negotiated, to: &Negotiated| {
        let Some(sent) = from.codec().map(|format| &format.codec) else {
            return true;
        };
        let mut taken = to.codecs.iter().map(|format| &format.codec);
        taken.any(|codec| codec.same_encoding(sent) || (is_transcodable(codec) && is_transcodable(sent)))
    };
    hears(one, other) && hears(other, one)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(lines: &str) -> SessionDescription {
        let text =
            format!("v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n{lines}");
        SessionDescription::parse(text.as_bytes()).unwrap()
    }

    fn names(codecs: &[Codec]) -> Vec<(u8, &str)> {
        codecs.iter().map(|c| (c.payload_type, c.name.as_ref())).collect()
    }

    #[test]
    fn the_callers_codecs_come_first_with_the_callers_numbers() {
        let caller = described(
            "m=audio 4000 RTP/AVP 96 8 97\r\na=rtpmap:96 opus/48000/2\r\na=rtpmap:97 telephone-event/8000\r\n",
        );
        assert_eq!(
            names(&offer(Some(&caller))),
            [(96, "opus"), (8, "PCMA"), (0, "PCMU"), (97, "telephone-event")]
        );
    }

    #[test]
    fn what_cannot_be_transcoded_is_not_offered_behind_the_callers_back() {
        let caller = described("m=audio 4000 RTP/AVP 9\r\n");
        assert_eq!(names(&offer(Some(&caller))), [(9, "G722")]);
    }

    fn spoken(codecs: &[Codec]) -> Vec<NegotiatedCodec> {
        let format = |codec: &Codec| NegotiatedCodec {
            codec: codec.clone(),
            send_payload_type: codec.payload_type,
            receive_payload_type: codec.payload_type,
        };
        codecs.iter().map(format).collect()
    }

    #[test]
    fn alone_g711_is_spoken_where_it_is_offered_and_else_what_is() {
        let offer = |formats: &str| {
            described(&format!(
                "m=audio 4000 RTP/AVP {formats}\r\na=rtpmap:96 opus/48000/2\r\n"
            ))
        };
        assert_eq!(alone(Some(&offer("96 9 8"))), ours());
        for offer in [Some(offer("96 9")), Some(offer("18")), None] {
            let spoken = alone(offer.as_ref());
            let clocks: Vec<u32> = spoken[4..].iter().map(|codec| codec.clock_rate_hz).collect();
            assert_eq!(
                names(&spoken)[..4],
                [(0, "PCMU"), (8, "PCMA"), (9, "G722"), (96, "opus")]
            );
            assert_eq!(
                names(&spoken)[4..],
                [(101, "telephone-event"), (102, "telephone-event")]
            );
            assert_eq!(clocks, [8_000, 48_000]);
        }
    }

    #[test]
    fn a_leg_beside_g711_may_use_the_other_law() {
        assert_eq!(
            names(&beside(&spoken(&[Codec::pcma()]))),
            [(8, "PCMA"), (0, "PCMU"), (101, "telephone-event")]
        );
    }

    #[test]
    fn a_leg_may_use_whatever_the_other_speaks() {
        let opus = Codec {
            channels: 2,
            ..Codec::new(96, "opus", 48_000)
        };
        assert_eq!(
            names(&beside(&spoken(std::slice::from_ref(&opus)))),
            [(96, "opus"), (101, "telephone-event")]
        );
        let both = beside(&spoken(&[opus, Codec::pcmu()]));
        let clocks: Vec<u32> = both.iter().map(|codec| codec.clock_rate_hz).collect();
        assert_eq!(names(&both)[..3], [(96, "opus"), (0, "PCMU"), (8, "PCMA")]);
        assert_eq!(clocks[3..], [48_000, 8_000], "events once a clock rate");
    }

    #[test]
    fn a_stream_that_we_cannot_take_part_in_counts_for_nothing() {
        assert_eq!(of_audio(&described("m=audio 4000 RTP/SAVP 0\r\n")), []);
        assert_eq!(of_audio(&described("m=audio 0 RTP/AVP 0\r\n")), []);
        assert_eq!(
            of_audio(&described(
                "m=audio 4000 RTP/AVP 101\r\na=rtpmap:101 telephone-event/8000\r\n"
            )),
            []
        );
        let second = described("m=audio 4000 RTP/SAVP 8\r\nm=audio 4002 RTP/AVP 0\r\na=sendonly\r\n");
        assert_eq!(names(&of_audio(&second)), [(0, "PCMU")]);
        assert_eq!(direction_of(&second), Direction::SendOnly);
    }
}
