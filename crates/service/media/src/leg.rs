use crate::engine::{Forward, Output, Transmit};
use crate::feed::Feed;
use crate::jitter_buffer::FRAME;
use crate::latch::{Latch, Origin};
use crate::outgoing::{Outgoing, Stamp};
use crate::plan::{self, Content, Out, Plan, Route};
use crate::player::{DigitFrame, DigitSender, Player};
use crate::recorder::Recorder;
use crate::speech::{Hearer, Mouth, Spoken};
use crate::tap::{Tapped, coding_of};
use crate::{
    Audio, Event, LegId, LegMedia, LegStatistics, PairId, PlayOutcome, Port, RecordOutcome, SocketId,
};
use bytes::Bytes;
use ringpost_base::{Instant, Rng, UnixTime};
use ringpost_codec::DtmfDetector;
use ringpost_rtp::{
    Config, EventReceiver, EventReport, Header, Packet, Received, Session, digit_of_event, rewrite,
};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

/// G.711 with its headers, 50 packets a second: what a session's RTCP is a twentieth of (RFC 3550 §6.2).
const BANDWIDTH_BPS: u32 = 80_000;
/// What is played goes out so often.
const TICKS_A_SECOND: u32 = 50;

/// One peer's RTP session, and what is done with its sound.
#[derive(Debug)]
pub(crate) struct Leg {
    pub(crate) id: LegId,
    pub(crate) pair: PairId,
    pub(crate) media: LegMedia,
    /// The leg it is bridged with.
    pub(crate) other: Option<u32>,
    pub(crate) plan: Plan,
    pub(crate) media_timeout: Option<Duration>,
    /// When something was last heard of the peer.
    pub(crate) heard: Instant,
    /// When the session's timer is due, as the engine's queue of deadlines knows it.
    pub(crate) rtcp_due: Option<Instant>,
    pub(crate) ticking: bool,
    pub(crate) removing: bool,
    session: Session,
    latch: Latch,
    outgoing: Outgoing,
    /// The source heard last.
    source: Option<u32>,
    events: EventReceiver,
    /// Listens for digits in the sound of a peer that has no telephone-event, while it is bridged with nobody: in a call
    /// the other side hears them itself, and listening costs more than all the rest of a packet.
    inband: Option<DtmfDetector>,
    mouth: Mouth,
    hearer: Hearer,
    player: Option<Player>,
    feed: Option<Box<Feed>>,
    digits: Option<DigitSender>,
    recorder: Option<Recorder>,
    /// Somebody listens to what is received.
    is_tapped: bool,
    foreign_packets: u64,
    refused_packets: u64,
}

/// A packet that a leg received and that the other side of its bridge may want.
#[derive(Clone, Debug)]
pub(crate) struct Incoming {
    header: Header,
    payload: Range<usize>,
    route: Route,
    restarted: bool,
}

/// What a session wants of its engine.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Settled {
    pub(crate) due: Option<Instant>,
    pub(crate) key_frame: bool,
}

impl Leg {
    pub(crate) fn new(
        now: Instant,
        wallclock: UnixTime,
        (id, pair): (LegId, PairId),
        cname: String,
        media: LegMedia,
        media_timeout: Option<Duration>,
        rng: &mut Rng,
    ) -> Self {
        let clock_rate_hz = plan::clock_rate_hz(&media);
        let config = Config {
            ssrc: rng.u32(),
            cname,
            clock_rate_hz,
            bandwidth_bps: BANDWIDTH_BPS,
            reduced_size: false,
        };
        Leg {
            id,
            pair,
            other: None,
            plan: Plan::compile(&media, None),
            // A timeout of no time at all would be due for ever.
            media_timeout: media_timeout.filter(|timeout| !timeout.is_zero()),
            heard: now,
            rtcp_due: None,
            ticking: false,
            removing: false,
            session: Session::new(now, wallclock, config, rng.fork()),
            latch: Latch::new(now, media.rtp, media.rtcp, media.signalling),
            outgoing: Outgoing::new(clock_rate_hz, rng),
            source: None,
            events: EventReceiver::new(),
            inband: inband(&media),
            mouth: Mouth::default(),
            hearer: Hearer::default(),
            player: None,
            feed: None,
            digits: None,
            recorder: None,
            is_tapped: false,
            foreign_packets: 0,
            refused_packets: 0,
            media,
        }
    }

    /// A new offer and answer. The engine compiles the plans behind it.
    pub(crate) fn update(&mut self, now: Instant, media: LegMedia) {
        self.latch.renew(media.rtp, media.rtcp, media.signalling);
        self.session.accept_new_addresses();
        self.session.set_clock_rate_hz(plan::clock_rate_hz(&media));
        if plan::has_events(&media) != plan::has_events(&self.media) {
            self.inband = inband(&media);
        }
        self.media = media;
        self.heard = now;
    }

    pub(crate) fn statistics(&self) -> LegStatistics {
        LegStatistics {
            rtp: self.session.statistics(),
            foreign_packets: self.foreign_packets,
            refused_packets: self.refused_packets,
            remote: self.latch.learned(),
        }
    }

    /// An RTP packet came. What the other side of the bridge may want of it is given back.
    pub(crate) fn receive(
        &mut self,
        now: Instant,
        from: SocketAddr,
        datagram: &[u8],
        outputs: &mut VecDeque<Output>,
    ) -> Option<Incoming> {
        let Ok(packet) = Packet::parse(datagram) else {
            self.refused_packets += 1;
            return None;
        };
        let header = packet.header();
        match self.latch.rtp(now, from, header.ssrc) {
            Origin::Peer => {}
            Origin::PeerMoved => self.session.accept_new_addresses(),
            Origin::Foreign => {
                self.foreign_packets += 1;
                return None;
            }
        }
        self.heard = now;
        let mut restarted = match self.session.handle_rtp(now, from, &packet) {
            Received::Valid { restarted, .. } => restarted,
            Received::Probation => false,
            Received::Stray | Received::Conflict | Received::OverLimit => {
                self.refused_packets += 1;
                return None;
            }
        };
        restarted |= self
            .source
            .replace(header.ssrc)
            .is_some_and(|before| before != header.ssrc);
        if restarted {
            self.events.reset();
            self.hearer.forget();
            self.recorder.iter_mut().for_each(Recorder::restart);
        }
        let route = self.plan.route(header.payload_type);
        self.listen(now, &header, route.content, packet.payload(), outputs);
        if self.is_tapped {
            self.tap(&header, restarted, packet.payload(), outputs);
        }
        Some(Incoming {
            header,
            payload: packet.payload_range(),
            route,
            restarted,
        })
    }

    /// Our own ears: digits, and the recording.
    fn listen(
        &mut self,
        now: Instant,
        header: &Header,
        content: Content,
        payload: &[u8],
        outputs: &mut VecDeque<Output>,
    ) {
        let leg = self.id;
        match content {
            Content::Opaque => {}
            Content::Event => self
                .events
                .handle_packet(now, header.timestamp, payload, |report| {
                    if let EventReport::Began { event } = report
                        && let Some(digit) = digit_of_event(event)
                    {
                        outputs.push_back(Output::Event(Event::Digit { leg, digit }));
                    }
                }),
            Content::Speech(spoken) => self.listen_to_speech(now, header.timestamp, spoken, payload, outputs),
        }
    }

    fn listen_to_speech(
        &mut self,
        now: Instant,
        timestamp: u32,
        spoken: Spoken,
        payload: &[u8],
        outputs: &mut VecDeque<Output>,
    ) {
        let inband = self.inband.as_mut().filter(|_| self.other.is_none());
        if self.recorder.is_none() && inband.is_none() {
            return self.hearer.forget();
        }
        let Some(heard) = self.hearer.hear(now, spoken, timestamp, payload) else {
            return;
        };
        if let Some(recorder) = &mut self.recorder {
            recorder.hear(&heard);
        }
        if let Some(detector) = inband {
            let leg = self.id;
            let digits = detector.push(&heard.samples).into_iter();
            outputs.extend(digits.map(|digit| Output::Event(Event::Digit { leg, digit })));
        }
    }

    pub(crate) fn set_tapped(&mut self, is_tapped: bool) {
        self.is_tapped = is_tapped;
    }

    /// Gives who listens a copy of what came, if it is speech that can be decoded and we want to hear it.
    fn tap(&self, header: &Header, begins: bool, payload: &[u8], outputs: &mut VecDeque<Output>) {
        let mut formats = self.media.codecs.iter();
        let format = formats.find(|format| format.receive_payload_type == header.payload_type);
        let Some(format) = format.filter(|_| self.media.direction.receives()) else {
            return;
        };
        if let Some(coding) = coding_of(&format.codec) {
            outputs.push_back(Output::Tapped(Tapped {
                leg: self.id,
                coding,
                clock_rate_hz: format.codec.clock_rate_hz,
                timestamp: header.timestamp,
                begins,
                payload: Bytes::copy_from_slice(payload),
            }));
        }
    }

    /// RTCP came, on the RTP port if `muxed`.
    pub(crate) fn receive_rtcp(&mut self, now: Instant, from: SocketAddr, datagram: &[u8], muxed: bool) {
        match self.latch.rtcp(from, muxed) {
            Origin::Peer => {}
            Origin::PeerMoved => self.session.accept_new_addresses(),
            Origin::Foreign => {
                self.foreign_packets += 1;
                return;
            }
        }
        match self.session.handle_rtcp(now, from, datagram) {
            Ok(()) => self.heard = now,
            Err(_) => self.refused_packets += 1,
        }
    }

    /// A packet on the wrong one of the two sockets.
    pub(crate) fn refuse(&mut self) {
        self.refused_packets += 1;
    }

    /// Sends on what the other side of the bridge received, rewritten where it lies.
    pub(crate) fn forward(
        &mut self,
        now: Instant,
        incoming: Incoming,
        datagram: &mut [u8],
    ) -> Option<Forward> {
        let Incoming {
            mut header,
            payload,
            route,
            restarted,
        } = incoming;
        if self.player.is_some() || self.digits.is_some() || self.feed.is_some() {
            return None;
        }
        let to = self.latch.rtp_target()?;
        header.payload_type = match (route.out, route.content) {
            (Out::Drop, _) => {
                self.outgoing.pass_over(&header);
                return None;
            }
            (Out::As(payload_type), _) => payload_type,
            (Out::OtherLaw(payload_type), Content::Speech(Spoken::G711(law))) => {
                plan::to_other_law(law, &mut datagram[payload.clone()]);
                payload_type
            }
            (Out::OtherLaw(_), _) => return None,
        };
        self.outgoing.set_clock_rate_hz(route.clock_rate_hz);
        let stamp = self.outgoing.relayed(now, &header, restarted)?;
        let header = self.stamped(header.payload_type, stamp);
        self.session
            .note_sent(now, self.outgoing.timestamp_at(now), payload.len());
        let range = rewrite(datagram, payload, header);
        Some(Forward {
            socket: self.socket(Port::Rtp),
            to,
            range,
        })
    }

    /// Another source, or other rules: what is relayed next begins anew.
    pub(crate) fn begin_relay_anew(&mut self) {
        self.outgoing.begin_relay_anew();
    }

    fn stamped(&self, payload_type: u8, stamp: Stamp) -> Header {
        Header {
            marker: stamp.marker,
            payload_type,
            sequence: stamp.sequence,
            timestamp: stamp.timestamp,
            ssrc: self.session.ssrc(),
        }
    }

    fn socket(&self, port: Port) -> SocketId {
        SocketId {
            pair: self.pair,
            port,
        }
    }

    /// Takes out what the session wants sent, and says what else it wants.
    pub(crate) fn settle(&mut self, outputs: &mut VecDeque<Output>) -> Settled {
        let mut settled = Settled::default();
        loop {
            match self.session.poll_output() {
                ringpost_rtp::Output::Transmit(bytes) => {
                    let (to, port) = if self.media.rtcp_mux {
                        (self.latch.rtp_target(), Port::Rtp)
                    } else {
                        (self.latch.rtcp_target(), Port::Rtcp)
                    };
                    if let Some(to) = to {
                        let socket = self.socket(port);
                        outputs.push_back(Output::Transmit(Transmit { socket, to, bytes }));
                    }
                }
                ringpost_rtp::Output::Event(event) => {
                    settled.key_frame |= event == ringpost_rtp::Event::KeyFrameRequested;
                }
                ringpost_rtp::Output::Timeout(due) => {
                    settled.due = due;
                    return settled;
                }
            }
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.session.handle_timeout(now);
    }

    /// The other side of the bridge was asked for a key frame of what it gets from here.
    pub(crate) fn request_key_frame(&mut self, now: Instant) {
        if let Some(source) = self.source {
            self.session.request_key_frame(now, source);
        }
    }

    pub(crate) fn play(
        &mut self,
        id: u64,
        playlist: Vec<Audio>,
        repeat: bool,
        outputs: &mut VecDeque<Output>,
    ) {
        self.end_play(PlayOutcome::Stopped, outputs);
        self.player = Some(Player::new(id, playlist, repeat));
        if plan::speech(&self.media).is_none() {
            self.end_play(PlayOutcome::NoCodec, outputs);
        }
    }

    pub(crate) fn end_play(&mut self, outcome: PlayOutcome, outputs: &mut VecDeque<Output>) {
        if let Some(player) = self.player.take() {
            outputs.push_back(Output::Event(Event::PlayEnded {
                leg: self.id,
                id: player.id,
                outcome,
            }));
        }
    }

    pub(crate) fn feed(&mut self, timestamp: u32, samples: &[i16]) {
        let feed = self.feed.get_or_insert_with(|| Box::new(Feed::new()));
        feed.push(timestamp, samples);
    }

    pub(crate) fn send_digits(&mut self, digits: &str) {
        self.digits.get_or_insert_default().push(digits);
    }

    pub(crate) fn record(
        &mut self,
        id: u64,
        max: Duration,
        silence: Option<Duration>,
        outputs: &mut VecDeque<Output>,
    ) {
        self.end_record(RecordOutcome::Stopped, outputs);
        self.recorder = Some(Recorder::new(self.id, id, max, silence));
    }

    pub(crate) fn end_record(&mut self, outcome: RecordOutcome, outputs: &mut VecDeque<Output>) {
        if let Some(recorder) = self.recorder.take() {
            recorder.finish(outcome, |event| outputs.push_back(Output::Event(event)));
        }
    }

    /// Whether the leg has something to do every 20 ms.
    pub(crate) fn wants_ticks(&self) -> bool {
        self.player.is_some() || self.digits.is_some() || self.recorder.is_some() || self.feed.is_some()
    }

    /// 20 ms have passed since the last tick, and `missed` times 20 ms more.
    pub(crate) fn tick(&mut self, at: Instant, missed: u32, outputs: &mut VecDeque<Output>) {
        if let Some(recorder) = &mut self.recorder {
            let mut emit = |event| outputs.push_back(Output::Event(event));
            let ended = (0..=missed).find_map(|_| recorder.tick(&mut emit));
            if let Some(outcome) = ended {
                self.end_record(outcome, outputs);
            }
        }
        let live = self.tick_feed();
        let spoke = self.tick_digits(at, outputs);
        match (&self.player, live) {
            _ if spoke => {}
            (None, Some((spoken, first, frame))) => self.say(at, spoken, first, &frame, outputs),
            _ => self.tick_player(at, outputs),
        }
    }

    /// Whether digits are being sent; the player waits for them.
    fn tick_digits(&mut self, at: Instant, outputs: &mut VecDeque<Output>) -> bool {
        let Some(digits) = &mut self.digits else {
            return false;
        };
        let Some(spoken) = plan::speech(&self.media) else {
            self.digits = None;
            outputs.push_back(Output::Event(Event::DigitsSent { leg: self.id }));
            return false;
        };
        let clock_rate_hz = spoken.0.clock_rate_hz();
        let event_type = plan::event_type(&self.media);
        self.outgoing.set_clock_rate_hz(clock_rate_hz);
        let begin = self.outgoing.begin_at(at);
        let step = event_type.map(|_| clock_rate_hz / TICKS_A_SECOND);
        match (digits.frame(step, begin), event_type) {
            (None, _) => {
                self.digits = None;
                outputs.push_back(Output::Event(Event::DigitsSent { leg: self.id }));
                return false;
            }
            (Some(DigitFrame::Pause), _) | (Some(DigitFrame::Event(_)), None) => {}
            (Some(DigitFrame::Speech(frame)), _) => self.say(at, spoken, false, &frame, outputs),
            (Some(DigitFrame::Event(packet)), Some(event_type)) => {
                let payload = packet.event.to_bytes();
                self.send(at, event_type, packet.timestamp, packet.marker, &payload, outputs);
            }
        }
        true
    }

    /// The next 20 ms of live sound, which goes on whether it is heard or not: how they are said, and whether they are the
    /// first.
    fn tick_feed(&mut self) -> Option<((Spoken, u8), bool, [i16; FRAME])> {
        let feed = self.feed.as_mut()?;
        let frame = feed.frame();
        let spoken = plan::speech(&self.media)?;
        Some((spoken, feed.begins(), frame))
    }

    fn tick_player(&mut self, at: Instant, outputs: &mut VecDeque<Output>) {
        let Some(player) = &mut self.player else { return };
        let Some(spoken) = plan::speech(&self.media) else {
            return self.end_play(PlayOutcome::NoCodec, outputs);
        };
        let first = player.begins();
        match player.frame() {
            Some(frame) => self.say(at, spoken, first, &frame, outputs),
            None => self.end_play(PlayOutcome::Finished, outputs),
        }
    }

    /// Says the next 20 ms, coded like this and under this payload type.
    fn say(
        &mut self,
        at: Instant,
        (spoken, payload_type): (Spoken, u8),
        first: bool,
        frame: &[i16; FRAME],
        outputs: &mut VecDeque<Output>,
    ) {
        self.outgoing.set_clock_rate_hz(spoken.clock_rate_hz());
        let begin = self.outgoing.begin_at(at);
        let payload = self.mouth.say(spoken, frame);
        if !payload.is_empty() {
            self.send(at, payload_type, begin, first, &payload, outputs);
        }
    }

    /// Sends a packet of our own, if the peer may hear us and we know where it is. Time goes on in any case.
    fn send(
        &mut self,
        at: Instant,
        payload_type: u8,
        timestamp: u32,
        marker: bool,
        payload: &[u8],
        outputs: &mut VecDeque<Output>,
    ) {
        let Some(to) = self.latch.rtp_target().filter(|_| self.media.direction.sends()) else {
            return;
        };
        let stamp = self.outgoing.local(at, timestamp, marker);
        let mut bytes = Vec::new();
        self.stamped(payload_type, stamp).write(payload, &mut bytes);
        self.session
            .note_sent(at, self.outgoing.timestamp_at(at), payload.len());
        outputs.push_back(Output::Transmit(Transmit {
            socket: self.socket(Port::Rtp),
            to,
            bytes,
        }));
    }

    /// Says goodbye. Whether the leg is over at once, or its BYE waits for its turn.
    pub(crate) fn leave(&mut self, now: Instant, outputs: &mut VecDeque<Output>) -> bool {
        self.removing = true;
        self.end_play(PlayOutcome::Stopped, outputs);
        self.end_record(RecordOutcome::LegRemoved, outputs);
        self.digits = None;
        self.feed = None;
        self.session.leave(now);
        self.is_left()
    }

    pub(crate) fn is_left(&self) -> bool {
        self.session.is_left()
    }
}

fn inband(media: &LegMedia) -> Option<DtmfDetector> {
    (plan::speech(media).is_some() && !plan::has_events(media)).then(DtmfDetector::default)
}
