//! What must hold for any bytes.

use crate::{Codec, Negotiation, Quirk, SessionDescription, Stream, merge_codecs};
use std::net::{Ipv4Addr, SocketAddr};

/// Reads `data` as a description; what can be read must print and read back equal, and be answered by the rules.
///
/// # Panics
///
/// When an invariant breaks.
pub fn target(data: &[u8]) {
    let tolerant = SessionDescription::read(data, &Quirk::ALL);
    let Ok(description) = SessionDescription::parse(data) else {
        if let Ok((mended, met)) = tolerant {
            assert!(!met.is_empty(), "what is refused has a reason that is told");
            let printed = mended.to_string();
            if printed.len() <= ringpost_base::limits::SDP_BYTES {
                let strict = SessionDescription::parse(printed.as_bytes())
                    .expect("what is mended prints as it should");
                assert_eq!(mended, strict, "printed as {printed}");
            }
        }
        return;
    };
    assert_eq!(
        tolerant,
        Ok((description.clone(), Vec::new())),
        "tolerance changes nothing of what is right"
    );
    let printed = description.to_string();
    // What Latin-1 grows by as UTF-8 may carry a description at the limit over it.
    if printed.len() <= ringpost_base::limits::SDP_BYTES {
        let again = SessionDescription::parse(printed.as_bytes()).expect("our own print parses");
        assert_eq!(description, again, "printed as {printed}");
    }
    answer(&description);
}

fn answer(offer: &SessionDescription) {
    let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 4000));
    let ours = [Stream::audio(
        local,
        vec![Codec::pcmu(), Codec::pcma(), Codec::telephone_event(101)],
    )];
    let mut callee = Negotiation::new(1);
    let Ok((answer, streams)) = callee.answer(offer, &ours) else {
        return;
    };
    assert_eq!(answer.media.len(), offer.media.len());
    assert_eq!(answer.times, offer.times);
    for ((offered, answered), stream) in offer.media.iter().zip(&answer.media).zip(&streams) {
        assert_eq!(offered.kind, answered.kind);
        assert_eq!(answered.port == 0, stream.is_none());
        // By number: a peer may write payload 0 as "00".
        let number = |format: &String| format.parse::<u8>().map_err(|_| format.clone());
        let numbers: Vec<_> = offered.formats.iter().map(number).collect();
        assert!(
            answered
                .formats
                .iter()
                .all(|format| numbers.contains(&number(format)))
        );
        assert!(offered.port != 0 || answered.port == 0);
    }
    for stream in streams.iter().flatten() {
        let theirs: Vec<Codec> = stream.codecs.iter().map(|codec| codec.codec.clone()).collect();
        let merged = merge_codecs(&theirs, &ours[0].codecs);
        let mut numbers: Vec<u8> = merged.iter().map(|codec| codec.payload_type).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), merged.len(), "a payload number means one thing");
        // Our offer made of it is accepted by somebody like us.
        let mut caller = Negotiation::new(2);
        let offer = caller
            .offer(&[Stream::audio(local, merged)])
            .expect("nothing is open");
        let (answer, _) = Negotiation::new(3)
            .answer(&offer, &ours)
            .expect("codecs in common");
        caller.handle_answer(&answer).expect("a right answer");
    }
}
