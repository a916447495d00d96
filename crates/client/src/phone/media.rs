//! The sound of one call: what a phone says, and what it hears.

use super::call::Statistics;
use super::heard::{Ear, Sound};
use ringpost_base::{Instant, Rng, UnixTime};
use ringpost_codec::{Law, Tone};
use ringpost_rtp::{
    Config, Event as RtpEvent, EventReceiver, EventReport, EventSender, Header, Output as RtpOutput, Packet,
    Received, Session, digit_of_event, event_of_digit, is_rtcp,
};
use ringpost_sdp::Negotiated;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

/// A packet's length.
const PACKET: Duration = Duration::from_millis(20);
/// The same in samples, and in units of the RTP clock.
const PACKET_SAMPLES: usize = 160;
/// Digits that wait to be sent; further ones are dropped.
const DIGITS: usize = 64;
/// How long a digit lasts, in packets.
const DIGIT_PACKETS: u32 = 5;
/// How long the pause behind it is, in packets.
const PAUSE_PACKETS: u32 = 5;
/// Of G.711 with all its headers; RTCP takes a twentieth of it.
const BANDWIDTH_BPS: u32 = 80_000;
/// A phone that was late sends at most so many packets at once, and leaves out what is older.
const CATCH_UP_PACKETS: u32 = 5;

/// What one call's media want done.
#[derive(Debug, PartialEq)]
pub(super) enum Output {
    /// Send to where the peer receives RTP.
    Rtp(SocketAddr, Vec<u8>),
    /// Send to where the peer receives RTCP.
    Rtcp(SocketAddr, Vec<u8>),
    /// Another sound is heard.
    Heard(Sound),
    /// The peer has pressed a key.
    Digit(char),
}

/// One call's RTP session and what flows in it.
#[derive(Debug)]
pub(super) struct Media {
    session: Session,
    agreed: Negotiated,
    /// What is said while no digit is; without it, silence.
    tone: Option<Tone>,
    digits: VecDeque<char>,
    digit: Option<EventSender>,
    pause_packets: u32,
    sequence: u16,
    timestamp: u32,
    talking: bool,
    next_packet: Instant,
    /// When the RTP session is to be asked again.
    session_at: Option<Instant>,
    ear: Ear,
    events: EventReceiver,
    outputs: VecDeque<Output>,
}

impl Media {
    pub(super) fn new(now: Instant, wallclock: UnixTime, agreed: Negotiated, mut rng: Rng) -> Self {
        let config = Config {
            ssrc: rng.u32(),
            cname: rng.token(16),
            clock_rate_hz: ringpost_codec::SAMPLE_RATE_HZ,
            bandwidth_bps: BANDWIDTH_BPS,
            reduced_size: false,
        };
        let mut media = Media {
            sequence: rng.u32() as u16,
            timestamp: rng.u32(),
            session: Session::new(now, wallclock, config, rng),
            agreed,
            tone: None,
            digits: VecDeque::new(),
            digit: None,
            pause_packets: 0,
            talking: false,
            next_packet: now,
            session_at: None,
            ear: Ear::default(),
            events: EventReceiver::new(),
            outputs: VecDeque::new(),
        };
        media.drain_session();
        media
    }

    pub(super) fn statistics(&self) -> Statistics {
        Statistics {
            rtp: self.session.statistics(),
            tones_ms: self.ear.tones_ms().to_vec(),
        }
    }

    pub(super) fn ear(&self) -> &Ear {
        &self.ear
    }

    /// Another offer was answered.
    pub(super) fn renegotiate(&mut self, agreed: Negotiated) {
        if agreed != self.agreed {
            self.session.accept_new_addresses();
            self.agreed = agreed;
        }
    }

    pub(super) fn say(&mut self, tone: Option<Tone>) {
        self.tone = tone;
    }

    /// Presses keys, one after another; false if one of them is no key or there are too many, and then none is pressed.
    pub(super) fn press(&mut self, digits: &str) -> bool {
        let good = digits.chars().all(|digit| event_of_digit(digit).is_some());
        let room = self.digits.len() + digits.len() <= DIGITS;
        if good && room {
            self.digits.extend(digits.chars());
        }
        good && room
    }

    /// Leaves the RTP session.
    pub(super) fn leave(&mut self, now: Instant) {
        self.session.leave(now);
        self.drain_session();
    }

    /// A datagram came on the RTP port.
    pub(super) fn handle_rtp(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) {
        if is_rtcp(datagram) {
            return self.handle_rtcp(now, from, datagram);
        }
        let Ok(packet) = Packet::parse(datagram) else {
            return;
        };
        match self.session.handle_rtp(now, from, &packet) {
            Received::Valid { .. } | Received::Probation => self.hear(now, &packet),
            Received::Stray | Received::Conflict | Received::OverLimit => (),
        }
        self.drain_session();
    }

    /// A datagram came on the RTCP port. What is no RTCP is dropped.
    pub(super) fn handle_rtcp(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) {
        if self.session.handle_rtcp(now, from, datagram).is_ok() {
            self.drain_session();
        }
    }

    fn hear(&mut self, now: Instant, packet: &Packet<'_>) {
        let Some(format) = self.agreed.received(packet.payload_type()) else {
            return;
        };
        if format.codec.is_telephone_event() {
            let outputs = &mut self.outputs;
            self.events
                .handle_packet(now, packet.timestamp(), packet.payload(), |report| {
                    if let EventReport::Began { event } = report {
                        outputs.extend(digit_of_event(event).map(Output::Digit));
                    }
                });
        } else if let Some(law) = law_of(&format.codec.name) {
            let mut samples = Vec::with_capacity(packet.payload().len());
            law.decode_into(packet.payload(), &mut samples);
            let heard = self
                .ear
                .handle_samples(now, packet.ssrc(), packet.timestamp(), &samples);
            self.outputs.extend(heard.map(Output::Heard));
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.session.handle_timeout(now);
        self.outputs
            .extend(self.ear.handle_timeout(now).map(Output::Heard));
        let late = now.since(self.next_packet);
        if late > PACKET * CATCH_UP_PACKETS {
            let skipped = (late.as_nanos() / PACKET.as_nanos()) as u32;
            self.next_packet += PACKET * skipped;
            self.timestamp = self
                .timestamp
                .wrapping_add(skipped.wrapping_mul(PACKET_SAMPLES as u32));
        }
        while self.next_packet <= now {
            self.next_packet += PACKET;
            self.send_packet(now);
        }
        self.drain_session();
    }

    /// Sends what belongs into the next 20 ms, unless the peer holds us or we hold it.
    fn send_packet(&mut self, now: Instant) {
        let timestamp = self.timestamp;
        self.timestamp = timestamp.wrapping_add(PACKET_SAMPLES as u32);
        let mut samples = [0; PACKET_SAMPLES];
        if let Some(tone) = &mut self.tone {
            tone.fill(&mut samples);
        }
        let Some(remote) = self.agreed.remote.filter(|_| self.agreed.direction.sends()) else {
            self.talking = false;
            return;
        };
        if self.send_digit(now, remote, timestamp) {
            return;
        }
        let Some((format, law)) = self
            .agreed
            .codec()
            .and_then(|c| Some((c, law_of(&c.codec.name)?)))
        else {
            return;
        };
        let payload_type = format.send_payload_type;
        let marker = !std::mem::replace(&mut self.talking, true);
        self.transmit(
            now,
            remote,
            (marker, payload_type, timestamp),
            &samples.map(|sample| law.encode(sample)),
        );
    }

    /// Sends the next packet of a digit, if one is pressed and the peer takes events.
    fn send_digit(&mut self, now: Instant, remote: SocketAddr, timestamp: u32) -> bool {
        let Some(payload_type) = self
            .agreed
            .telephone_event(8000)
            .map(|event| event.send_payload_type)
        else {
            self.digits.clear();
            return false;
        };
        self.pause_packets = self.pause_packets.saturating_sub(1);
        if self.digit.is_none() && self.pause_packets == 0 {
            let event = self.digits.pop_front().and_then(event_of_digit);
            let step = PACKET_SAMPLES as u32;
            self.digit =
                event.map(|event| EventSender::new(event, 10, timestamp, DIGIT_PACKETS * step, step));
        }
        let Some(packet) = self.digit.as_mut().and_then(Iterator::next) else {
            if self.digit.take().is_some() {
                self.pause_packets = PAUSE_PACKETS;
            }
            return false;
        };
        let head = (packet.marker, payload_type, packet.timestamp);
        self.transmit(now, remote, head, &packet.event.to_bytes());
        true
    }

    fn transmit(
        &mut self,
        now: Instant,
        remote: SocketAddr,
        (marker, payload_type, timestamp): (bool, u8, u32),
        payload: &[u8],
    ) {
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        let header = Header {
            marker,
            payload_type,
            sequence,
            timestamp,
            ssrc: self.session.ssrc(),
        };
        let mut packet = Vec::new();
        header.write(payload, &mut packet);
        self.session.note_sent(now, timestamp, payload.len());
        self.outputs.push_back(Output::Rtp(remote, packet));
    }

    fn drain_session(&mut self) {
        loop {
            match self.session.poll_output() {
                RtpOutput::Transmit(bytes) => {
                    self.outputs
                        .extend(self.agreed.remote_rtcp.map(|to| Output::Rtcp(to, bytes)));
                }
                // A new SSRC is taken with the next packet; a peer that left is for SIP to notice.
                RtpOutput::Event(
                    RtpEvent::SsrcChanged { .. } | RtpEvent::Left { .. } | RtpEvent::KeyFrameRequested,
                ) => (),
                RtpOutput::Timeout(at) => {
                    self.session_at = at;
                    return;
                }
            }
        }
    }

    /// What is to be done.
    pub(super) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Media::handle_timeout`] is to be called.
    pub(super) fn deadline(&self) -> Instant {
        [self.session_at, self.ear.deadline()]
            .into_iter()
            .flatten()
            .fold(self.next_packet, Instant::min)
    }
}

fn law_of(name: &str) -> Option<Law> {
    match name {
        _ if name.eq_ignore_ascii_case("PCMU") => Some(Law::Mu),
        _ if name.eq_ignore_ascii_case("PCMA") => Some(Law::A),
        _ => None,
    }
}
