//! Which codecs each leg is offered and answered with (DESIGN: the caller's first, then those that we can transcode).

use ringpost_sdp::{Codec, MediaKind, RemoteStream, SessionDescription, merge_codecs};

/// What we speak ourselves, for announcements and recordings, and between what we transcode.
pub(crate) fn ours() -> Vec<Codec> {
    vec![Codec::pcmu(), Codec::pcma(), Codec::telephone_event(101)]
}

/// Whether we can turn it into another codec of ours.
pub(crate) fn is_transcodable(codec: &Codec) -> bool {
    codec.same_encoding(&Codec::pcmu()) || codec.same_encoding(&Codec::pcma())
}

/// The codecs of a description's first audio stream that is not refused.
pub(crate) fn of_audio(description: &SessionDescription) -> Vec<Codec> {
    RemoteStream::all(description)
        .into_iter()
        .find(|stream| stream.kind == MediaKind::Audio && !stream.refused)
        .map(|stream| stream.codecs)
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

/// What a peer may use when the other leg speaks `chosen`: the same, or, where we can transcode it, ours in its stead; and
/// events.
pub(crate) fn beside(chosen: &Codec) -> Vec<Codec> {
    let mut list = vec![chosen.clone()];
    if is_transcodable(chosen) {
        list.extend(
            ours()
                .into_iter()
                .filter(|codec| codec.is_media() && !codec.same_encoding(chosen)),
        );
    }
    list.push(Codec {
        clock_rate_hz: chosen.clock_rate_hz,
        ..Codec::telephone_event(101)
    });
    list
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

    #[test]
    fn a_leg_beside_g711_may_use_the_other_law() {
        assert_eq!(
            names(&beside(&Codec::pcma())),
            [(8, "PCMA"), (0, "PCMU"), (101, "telephone-event")]
        );
        let opus = Codec {
            channels: 2,
            ..Codec::new(96, "opus", 48_000)
        };
        assert_eq!(names(&beside(&opus)), [(96, "opus"), (101, "telephone-event")]);
    }
}
