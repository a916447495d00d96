//! What becomes of a packet by its payload type: compiled when signalling speaks, walked when packets come.

use crate::LegMedia;
use crate::speech::Spoken;
use ringpost_codec::Law;
use ringpost_sdp::Codec;

/// What a payload is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum Content {
    /// Nothing that we can read.
    #[default]
    Opaque,
    /// What we can decode.
    Speech(Spoken),
    /// telephone-event.
    Event,
}

/// What the leg on the other side of the bridge does with a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum Out {
    /// Nothing: there is no other side, or it has no such format, or one of the two may not hear or speak now.
    #[default]
    Drop,
    /// Sends it under this payload type.
    As(u8),
    /// Sends it under this payload type, translated into the other law of G.711.
    OtherLaw(u8),
}

/// The way of one payload type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Route {
    pub(crate) content: Content,
    pub(crate) out: Out,
    /// The clock of its timestamps.
    pub(crate) clock_rate_hz: u32,
}

/// The routes of everything that one leg receives.
#[derive(Debug)]
pub(crate) struct Plan([Route; 128]);

impl Plan {
    /// For what `media` says that is received, and what `other`, at the other side of the bridge, says that is sent.
    pub(crate) fn compile(media: &LegMedia, other: Option<&LegMedia>) -> Self {
        let mut routes = [Route::default(); 128];
        if !media.direction.receives() {
            return Plan(routes);
        }
        for format in &media.codecs {
            let Some(route) = routes.get_mut(usize::from(format.receive_payload_type)) else {
                continue;
            };
            *route = Route {
                content: content(&format.codec),
                out: other.map_or(Out::Drop, |other| out(&format.codec, other)),
                clock_rate_hz: format.codec.clock_rate_hz,
            };
        }
        Plan(routes)
    }

    /// The route of a payload type, 0–127.
    pub(crate) fn route(&self, payload_type: u8) -> Route {
        self.0.get(usize::from(payload_type)).copied().unwrap_or_default()
    }
}

fn content(codec: &Codec) -> Content {
    if codec.is_telephone_event() {
        return Content::Event;
    }
    Spoken::of(codec).map_or(Content::Opaque, Content::Speech)
}

fn law(codec: &Codec) -> Option<Law> {
    Spoken::of(codec)?.law()
}

fn out(codec: &Codec, other: &LegMedia) -> Out {
    if !other.direction.sends() {
        return Out::Drop;
    }
    if let Some(same) = other
        .codecs
        .iter()
        .find(|format| format.codec.same_encoding(codec))
    {
        return Out::As(same.send_payload_type);
    }
    let mut formats = other.codecs.iter();
    match (law(codec), formats.find(|format| law(&format.codec).is_some())) {
        (Some(_), Some(format)) => Out::OtherLaw(format.send_payload_type),
        _ => Out::Drop,
    }
}

/// How speech is coded for a leg, of what we code: as it prefers, and under which number.
pub(crate) fn speech(media: &LegMedia) -> Option<(Spoken, u8)> {
    let mut formats = media.codecs.iter();
    formats.find_map(|format| Some((Spoken::of(&format.codec)?, format.send_payload_type)))
}

/// The number of telephone-event beside speech that is sent to a leg.
//= https://www.rfc-editor.org/rfc/rfc4733#section-2.1
// Events have their stream's clock: one of another clock is for another codec.
pub(crate) fn event_type(media: &LegMedia) -> Option<u8> {
    let clock_rate_hz = speech(media).map_or(8_000, |(spoken, _)| spoken.clock_rate_hz());
    let fits = |codec: &Codec| codec.is_telephone_event() && codec.clock_rate_hz == clock_rate_hz;
    let mut formats = media.codecs.iter();
    formats
        .find(|format| fits(&format.codec))
        .map(|format| format.send_payload_type)
}

/// Whether the peer may send events: then its keys are not listened for in its sound.
pub(crate) fn has_events(media: &LegMedia) -> bool {
    let mut formats = media.codecs.iter();
    formats.any(|format| format.codec.is_telephone_event())
}

/// The clock of the format that a leg prefers.
pub(crate) fn clock_rate_hz(media: &LegMedia) -> u32 {
    let first = media.codecs.iter().find(|format| format.codec.is_media());
    first.map_or(8_000, |format| format.codec.clock_rate_hz.max(1))
}

const MU_TO_A: [u8; 256] = table(Law::Mu);
const A_TO_MU: [u8; 256] = table(Law::A);

const fn table(from: Law) -> [u8; 256] {
    let mut out = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        out[byte] = from.to_other(byte as u8);
        byte += 1;
    }
    out
}

/// Translates a payload where it lies.
pub(crate) fn to_other_law(law: Law, payload: &mut [u8]) {
    let table = match law {
        Law::Mu => &MU_TO_A,
        Law::A => &A_TO_MU,
    };
    payload
        .iter_mut()
        .for_each(|byte| *byte = table[usize::from(*byte)]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringpost_sdp::{Direction, NegotiatedCodec};

    fn format(codec: Codec, send: u8, receive: u8) -> NegotiatedCodec {
        NegotiatedCodec {
            codec,
            send_payload_type: send,
            receive_payload_type: receive,
        }
    }

    fn media(codecs: Vec<NegotiatedCodec>) -> LegMedia {
        LegMedia {
            codecs,
            ..LegMedia::audio()
        }
    }

    #[test]
    fn formats_are_matched_by_name_and_sent_under_the_peers_numbers() {
        let opus = Codec::new(111, "opus", 48_000);
        let a = media(vec![
            format(opus.clone(), 111, 96),
            format(Codec::pcmu(), 0, 0),
            format(Codec::telephone_event(101), 101, 97),
        ]);
        let b = media(vec![
            format(Codec::pcmu(), 0, 0),
            format(opus, 120, 111),
            format(Codec::telephone_event(96), 96, 101),
        ]);
        let plan = Plan::compile(&a, Some(&b));
        assert_eq!(plan.route(96).out, Out::As(120));
        assert_eq!(
            plan.route(0),
            Route {
                content: Content::Speech(Spoken::G711(Law::Mu)),
                out: Out::As(0),
                clock_rate_hz: 8_000
            }
        );
        assert_eq!(
            plan.route(97),
            Route {
                content: Content::Event,
                out: Out::As(96),
                clock_rate_hz: 8_000
            }
        );
        assert_eq!(plan.route(55), Route::default());
    }

    #[test]
    fn laws_are_translated_where_a_leg_has_but_one() {
        let a = media(vec![
            format(Codec::pcmu(), 0, 0),
            format(Codec::new(9, "G722", 8_000), 9, 9),
        ]);
        let b = media(vec![format(Codec::pcma(), 8, 8)]);
        assert_eq!(Plan::compile(&a, Some(&b)).route(0).out, Out::OtherLaw(8));
        assert_eq!(Plan::compile(&a, Some(&b)).route(9).out, Out::Drop);
        // What else the other side has is no reason to send it that.
        let c = media(vec![format(Codec::opus(96), 96, 96), format(Codec::pcma(), 8, 8)]);
        assert_eq!(Plan::compile(&a, Some(&c)).route(0).out, Out::OtherLaw(8));
        let mut payload = [Law::Mu.encode(1_000), Law::Mu.encode(-1_000)];
        to_other_law(Law::Mu, &mut payload);
        assert!((Law::A.decode(payload[0]) - 1_000).abs() < 40);
        assert!((Law::A.decode(payload[1]) + 1_000).abs() < 40);
    }

    #[test]
    fn events_are_those_of_the_codec_that_is_spoken() {
        let events = |number, clock_rate_hz| {
            let codec = Codec {
                clock_rate_hz,
                ..Codec::telephone_event(number)
            };
            format(codec, number, number)
        };
        let opus = media(vec![
            format(Codec::opus(96), 96, 96),
            events(101, 8_000),
            events(102, 48_000),
        ]);
        assert_eq!(
            (speech(&opus), event_type(&opus)),
            (Some((Spoken::Opus, 96)), Some(102))
        );
        let mixed = media(vec![format(Codec::opus(96), 96, 96), events(101, 8_000)]);
        assert_eq!((event_type(&mixed), has_events(&mixed)), (None, true));
        let g722 = media(vec![format(Codec::g722(), 9, 9), events(101, 8_000)]);
        assert_eq!(
            (speech(&g722), event_type(&g722)),
            (Some((Spoken::G722, 9)), Some(101))
        );
    }

    #[test]
    fn who_may_not_hear_or_speak_does_not() {
        let both = LegMedia::audio();
        let silent = LegMedia {
            direction: Direction::RecvOnly,
            ..LegMedia::audio()
        };
        let deaf = LegMedia {
            direction: Direction::SendOnly,
            ..LegMedia::audio()
        };
        assert_eq!(Plan::compile(&both, Some(&silent)).route(0).out, Out::Drop);
        assert_eq!(Plan::compile(&deaf, Some(&both)).route(0), Route::default());
        assert_eq!(
            Plan::compile(&both, None).route(0).content,
            Content::Speech(Spoken::G711(Law::Mu))
        );
    }
}
