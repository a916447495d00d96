//! What must hold for any bytes.

use crate::sap::{self, Kind, Listener, ListenerEvent, ListenerOutput, Packet};
use crate::{Codec, Negotiation, Quirk, SessionDescription, Stream, merge_codecs};
use ringpost_base::{Instant, UnixTime, limits};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

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

/// Reads `data` as packets of SAP, each behind its length in an octet and who sends it in another, and has a listener remember
/// what they say.
///
/// # Panics
///
/// When an invariant breaks.
pub fn announcements(data: &[u8]) {
    let mut listener = Listener::new(Instant::ZERO, UnixTime::from_secs(1_700_000_000));
    let (mut now, mut known) = (Instant::ZERO, 0_isize);
    let mut rest = data;
    while let [sender, length, behind @ ..] = rest {
        let length = (usize::from(*length) * 4).min(behind.len());
        let (bytes, next) = behind.split_at(length);
        rest = next;
        read_packet(bytes);
        let from = IpAddr::from([192, 0, 2, sender & 3]);
        let group = sap::IPV4_GROUPS[usize::from(sender >> 2 & 1)].into();
        let before = listener.sessions().count();
        let handled = listener.handle_packet(now, group, from, bytes);
        let after = listener.sessions().count();
        assert!(
            handled.is_ok() || before == after,
            "what is ignored changes nothing"
        );
        if after < before {
            let packet = Packet::parse(bytes).expect("what deletes is a packet");
            assert_eq!(packet.kind, Kind::Deletion);
        }
        now += Duration::from_secs(u64::from(sender >> 3) * 60);
        listener.handle_timeout(now);
        known += drain(&mut listener, now);
        assert_eq!(known, listener.sessions().count() as isize);
        assert!(listener.payload_bytes() <= limits::SAP_BYTES);
        assert!(listener.sessions().count() <= limits::SAP_SESSIONS);
    }
    // What is announced no more is forgotten.
    for _ in 0..limits::SAP_SESSIONS {
        let ListenerOutput::Timeout(Some(at)) = listener.poll_output() else {
            break;
        };
        now = now.max(at);
        listener.handle_timeout(now);
        drain(&mut listener, now);
    }
    assert_eq!((listener.sessions().count(), listener.payload_bytes()), (0, 0));
}

fn read_packet(bytes: &[u8]) {
    let Ok(packet) = Packet::parse(bytes) else { return };
    let mut again = Vec::new();
    packet.write(&mut again);
    let unsigned = Packet {
        is_signed: false,
        ..packet
    };
    assert_eq!(Packet::parse(&again), Ok(unsigned), "our own print parses");
}

/// How many more sessions are known than before.
fn drain(listener: &mut Listener, now: Instant) -> isize {
    let mut more = 0;
    loop {
        match listener.poll_output() {
            ListenerOutput::Event(ListenerEvent::Appeared(_)) => more += 1,
            ListenerOutput::Event(ListenerEvent::Changed(_)) => {}
            ListenerOutput::Event(ListenerEvent::Gone(_)) => more -= 1,
            ListenerOutput::Timeout(at) => {
                assert!(at.is_none_or(|at| at > now), "what is due is done");
                return more;
            }
        }
    }
}
