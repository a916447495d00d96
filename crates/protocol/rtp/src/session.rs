use crate::interval::Timing;
use crate::packet::Packet;
use crate::reception::{Arrival, Reception, clock_units, duration_units};
use crate::rtcp::{
    CNAME, Compound, Feedback, MAX_COUNT, ReportBlock, RtcpError, RtcpPacket, SenderInfo, Writer,
};
use ringpost_base::{Instant, Rng, UnixTime, limits};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

#[cfg(test)]
mod tests;

/// RTCP's share of the session bandwidth, one in twenty (RFC 3550 §6.2).
const RTCP_SHARE: u32 = 20;
/// A member that was silent for so many intervals is gone (§6.3.5).
const SILENT_INTERVALS: u32 = 5;
/// A source whose packets collided with ours is remembered for so many intervals (§8.2).
const CONFLICT_INTERVALS: u32 = 10;
/// How long stragglers of a source that said BYE are still its own (§6.2.1).
const STRAGGLERS: Duration = Duration::from_secs(2);
/// The least time between two key-frame requests of ours.
const KEY_FRAME_SPACING: Duration = Duration::from_millis(500);
/// RR, and SDES with a CNAME of the usual length: the first packet's probable size (§6.3.2).
const FIRST_PACKET_BYTES: usize = 32 + 36;

/// What a participant brings into a session.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its first synchronization source; a collision changes it (§8.2).
    pub ssrc: u32,
    /// Its canonical name, the same in all its sessions, at most 255 bytes and telling nothing of a person (RFC 7022).
    pub cname: String,
    /// The clock of the timestamps that it receives and sends, in Hz.
    pub clock_rate_hz: u32,
    /// The session bandwidth, of which RTCP takes a twentieth.
    pub bandwidth_bps: u32,
    /// Whether RTCP of reduced size was negotiated for what comes in (RFC 5506).
    pub reduced_size: bool,
}

/// What became of an RTP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// It is of a source that is not believed yet; most receivers use it all the same.
    Probation,
    /// It is good.
    Valid {
        /// Its sequence number with the count of wraps above it.
        extended: u32,
        /// Its source began its sequence anew: what was known of the order of its packets is void.
        restarted: bool,
    },
    /// It is too far from its source's other packets; to be dropped (appendix A.1).
    Stray,
    /// It is our own packet that came back, or one of a source that collides with another; to be dropped (§8.2).
    Conflict,
    /// The session has [`limits::RTP_MEMBERS`] members and this source is another; to be dropped.
    OverLimit,
}

/// What a session tells its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Our SSRC collided with another's and is now `new`; packets are to be sent with it (§8.2).
    SsrcChanged {
        /// The one that collided.
        old: u32,
        /// The one to use.
        new: u32,
    },
    /// A member said BYE or has been silent too long.
    Left {
        /// The member.
        ssrc: u32,
        /// Whether it said BYE.
        bye: bool,
    },
    /// A receiver asks us for a key frame (PLI or FIR).
    KeyFrameRequested,
}

/// What [`Session::poll_output`] gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// A compound RTCP packet to send to the peer.
    Transmit(Vec<u8>),
    /// Something to know.
    Event(Event),
    /// Nothing else for now; `handle_timeout` is to be called at this time.
    Timeout(Option<Instant>),
}

/// How a session went, in both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Packets received and taken for good.
    pub received_packets: u64,
    /// Their payload in bytes.
    pub received_octets: u64,
    /// Packets that were sent to us and did not come; negative when some came twice.
    pub received_lost: i64,
    /// Interarrival jitter of the source that was heard last.
    pub received_jitter: Duration,
    /// Packets sent.
    pub sent_packets: u64,
    /// Their payload in bytes.
    pub sent_octets: u64,
    /// How many of them did not come, by the peer's last report.
    pub sent_lost: i64,
    /// Their jitter by the peer's last report.
    pub sent_jitter: Duration,
    /// The round trip by the peer's last report (§6.4.1).
    pub round_trip: Option<Duration>,
}

/// One participant of an RTP session (RFC 3550): who else is in it and how it is heard, what we send, and RTCP.
///
/// Its owner gives it every RTP and RTCP packet that came ([`handle_rtp`](Session::handle_rtp),
/// [`handle_rtcp`](Session::handle_rtcp)), tells it of every RTP packet sent ([`note_sent`](Session::note_sent)), calls
/// [`handle_timeout`](Session::handle_timeout) when it is due, and drains [`poll_output`](Session::poll_output) after each.
#[derive(Debug)]
pub struct Session {
    config: Config,
    joined: (Instant, UnixTime),
    rng: Rng,
    timing: Timing,
    members: BTreeMap<u32, Member>,
    counted: usize,
    senders: usize,
    conflicts: Vec<ConflictingAddress>,
    sent: Sent,
    phase: Phase,
    /// The report blocks go round the members from here on, where there are more than fit.
    next_reported: u32,
    key_frame_asked: Option<Instant>,
    last_source: u32,
    statistics: Statistics,
    outputs: VecDeque<Output>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Active,
    /// Waits by §6.3.7 to say BYE.
    Leaving,
    Left,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Rtp,
    Rtcp,
}

/// An entry of the source identifier table (§8.2) and of the member table (§6.2.1).
#[derive(Debug)]
struct Member {
    rtp_from: Option<SocketAddr>,
    rtcp_from: Option<SocketAddr>,
    /// Counted as a member: more than one packet, or a CNAME, was heard of it.
    counted: bool,
    sender: bool,
    heard: Instant,
    heard_rtp: Instant,
    /// Said BYE; removed when its stragglers can be no more.
    left: bool,
    reception: Option<Reception>,
    heard_since_report: bool,
    /// The middle of the last SR's NTP timestamp, and when that SR came.
    last_sr: Option<(u32, Instant)>,
    /// Its wallclock and its timestamp at the same moment, by its last SR.
    sync: Option<(u64, u32)>,
    cname: Option<Box<[u8]>>,
}

impl Member {
    fn new(now: Instant) -> Self {
        Member {
            rtp_from: None,
            rtcp_from: None,
            counted: false,
            sender: false,
            heard: now,
            heard_rtp: now,
            left: false,
            reception: None,
            heard_since_report: false,
            last_sr: None,
            sync: None,
            cname: None,
        }
    }

    fn from(&mut self, kind: Kind) -> &mut Option<SocketAddr> {
        match kind {
            Kind::Rtp => &mut self.rtp_from,
            Kind::Rtcp => &mut self.rtcp_from,
        }
    }
}

#[derive(Debug)]
struct ConflictingAddress {
    from: SocketAddr,
    kind: Kind,
    heard: Instant,
}

/// What we sent with the present SSRC.
#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    packets: u32,
    octets: u32,
    last: Option<(Instant, u32)>,
    any_rtcp: bool,
}

impl Session {
    /// Joins a session at `now`, which is `wallclock` on the calendar. Timestamps in SRs follow the monotonic clock from
    /// there, so that a step of the calendar's clock spoils no round trip.
    pub fn new(now: Instant, wallclock: UnixTime, config: Config, mut rng: Rng) -> Self {
        let rtcp_bps = config.bandwidth_bps / RTCP_SHARE;
        Session {
            timing: Timing::new(now, rtcp_bps, FIRST_PACKET_BYTES, rng.fork()),
            config,
            joined: (now, wallclock),
            rng,
            members: BTreeMap::new(),
            counted: 0,
            senders: 0,
            conflicts: Vec::new(),
            sent: Sent::default(),
            phase: Phase::Active,
            next_reported: 0,
            key_frame_asked: None,
            last_source: 0,
            statistics: Statistics::default(),
            outputs: VecDeque::new(),
        }
    }

    /// The SSRC to send with.
    pub fn ssrc(&self) -> u32 {
        self.config.ssrc
    }

    /// Whether the session is over: its BYE has been sent, or none was due.
    pub fn is_left(&self) -> bool {
        self.phase == Phase::Left
    }

    /// How many others are in the session.
    pub fn others(&self) -> usize {
        self.counted
    }

    /// The canonical name of a source, once it has told it.
    pub fn cname(&self, ssrc: u32) -> Option<&[u8]> {
        self.members.get(&ssrc)?.cname.as_deref()
    }

    /// The source's wallclock (NTP) at the moment of `timestamp` in its stream, once it has sent an SR: what two streams
    /// of one source are played in step by.
    //= https://www.rfc-editor.org/rfc/rfc3550#section-6.4.1
    pub fn wallclock_at(&self, ssrc: u32, timestamp: u32) -> Option<u64> {
        let (ntp, rtp) = self.members.get(&ssrc)?.sync?;
        let units = i128::from(timestamp.wrapping_sub(rtp) as i32);
        let fraction = (units << 32) / i128::from(self.config.clock_rate_hz.max(1));
        Some((i128::from(ntp) + fraction) as u64)
    }

    /// How the session has gone so far.
    pub fn statistics(&self) -> Statistics {
        let mut statistics = self.statistics;
        for (ssrc, member) in &self.members {
            let Some(reception) = &member.reception else {
                continue;
            };
            statistics.received_lost += reception.lost();
            if *ssrc == self.last_source {
                statistics.received_jitter = self.units_to_duration(reception.jitter());
            }
        }
        statistics
    }

    fn units_to_duration(&self, units: u32) -> Duration {
        Duration::from_secs_f64(f64::from(units) / f64::from(self.config.clock_rate_hz.max(1)))
    }

    /// An RTP packet came.
    pub fn handle_rtp(&mut self, now: Instant, from: SocketAddr, packet: &Packet<'_>) -> Received {
        let ssrc = packet.ssrc();
        let arrived = clock_units(now, self.config.clock_rate_hz);
        let known = self.members.get(&ssrc).is_some_and(|m| m.rtp_from == Some(from));
        if !known && let Err(refused) = self.admit(now, ssrc, from, Kind::Rtp) {
            return refused;
        }
        let Some(member) = self.members.get_mut(&ssrc) else {
            return Received::OverLimit;
        };
        if !member.left {
            member.heard = now;
        }
        let reception = member
            .reception
            .get_or_insert_with(|| Reception::new(packet.sequence()));
        let received = match reception.handle_packet(packet.sequence(), packet.timestamp(), arrived) {
            Arrival::Probation => return Received::Probation,
            Arrival::Stray => return Received::Stray,
            Arrival::Valid { extended } => Received::Valid {
                extended,
                restarted: false,
            },
            Arrival::Restarted => Received::Valid {
                extended: u32::from(packet.sequence()),
                restarted: true,
            },
        };
        member.heard_rtp = now;
        member.heard_since_report = true;
        self.last_source = ssrc;
        self.statistics.received_packets += 1;
        self.statistics.received_octets += packet.payload().len() as u64;
        if !member.left && (!member.counted || !member.sender) {
            self.count(now, ssrc, true);
        }
        for csrc in packet.csrcs() {
            self.hear_contributor(now, csrc);
        }
        received
    }

    /// A datagram of RTCP came. What is wrong with a packet of it makes all of it void.
    pub fn handle_rtcp(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) -> Result<(), RtcpError> {
        let compound = Compound::parse(datagram, self.config.reduced_size)?;
        let has_bye = compound.iter().any(|p| matches!(p, RtcpPacket::Bye { .. }));
        self.timing.received(datagram.len(), has_bye);
        for packet in compound.iter() {
            self.handle_rtcp_packet(now, from, packet);
        }
        Ok(())
    }

    fn handle_rtcp_packet(&mut self, now: Instant, from: SocketAddr, packet: RtcpPacket<'_>) {
        match packet {
            RtcpPacket::SenderReport { ssrc, info, reports } => {
                if self.admit(now, ssrc, from, Kind::Rtcp).is_err() {
                    return;
                }
                if let Some(member) = self.members.get_mut(&ssrc) {
                    member.last_sr = Some((ntp_middle(info.ntp), now));
                    member.sync = Some((info.ntp, info.rtp_timestamp));
                }
                reports.iter().for_each(|block| self.handle_report(now, block));
            }
            RtcpPacket::ReceiverReport { ssrc, reports } => {
                if self.admit(now, ssrc, from, Kind::Rtcp).is_ok() {
                    reports.iter().for_each(|block| self.handle_report(now, block));
                }
            }
            RtcpPacket::SourceDescription(chunks) => {
                for chunk in chunks.iter() {
                    let Some(cname) = chunk.cname() else { continue };
                    if self.admit(now, chunk.ssrc, from, Kind::Rtcp).is_err() {
                        continue;
                    }
                    if let Some(member) = self.members.get_mut(&chunk.ssrc)
                        && !member.left
                    {
                        member.cname.get_or_insert_with(|| cname.into());
                        self.count(now, chunk.ssrc, false);
                    }
                }
            }
            RtcpPacket::Bye { sources, .. } => {
                self.timing.count_bye();
                sources.iter().for_each(|ssrc| self.handle_bye(now, ssrc, from));
            }
            RtcpPacket::Feedback(feedback) => {
                if feedback.key_frame_requests().any(|ssrc| ssrc == self.config.ssrc) {
                    self.event(Event::KeyFrameRequested);
                }
            }
            RtcpPacket::Application { .. } | RtcpPacket::Unknown { .. } => {}
        }
    }

    //= https://www.rfc-editor.org/rfc/rfc3550#section-6.4.1
    fn handle_report(&mut self, now: Instant, block: ReportBlock) {
        if block.ssrc != self.config.ssrc {
            return;
        }
        self.statistics.sent_lost = i64::from(block.lost);
        self.statistics.sent_jitter = self.units_to_duration(block.jitter);
        if block.last_sr == 0 {
            return;
        }
        let units = ntp_middle(self.ntp(now))
            .wrapping_sub(block.last_sr)
            .wrapping_sub(block.delay_since_last_sr);
        // A peer that counts its delay too high would give a trip back in time.
        if units as i32 >= 0 {
            self.statistics.round_trip = Some(Duration::from_nanos((u64::from(units) * 1_000_000_000) >> 16));
        }
    }

    //= https://www.rfc-editor.org/rfc/rfc3550#section-6.3.4
    fn handle_bye(&mut self, now: Instant, ssrc: u32, from: SocketAddr) {
        let Some(member) = self.members.get_mut(&ssrc) else {
            return;
        };
        if member.left || member.rtcp_from.is_some_and(|known| known != from) {
            return;
        }
        member.left = true;
        member.heard = now;
        let (counted, sender) = (
            std::mem::take(&mut member.counted),
            std::mem::take(&mut member.sender),
        );
        self.counted -= usize::from(counted);
        self.senders -= usize::from(sender);
        self.timing.population(now, self.counted, self.senders);
        self.event(Event::Left { ssrc, bye: true });
    }

    /// Finds or makes the entry of `ssrc`, unless its packets collide with ours or with another source's.
    //= https://www.rfc-editor.org/rfc/rfc3550#section-8.2
    fn admit(&mut self, now: Instant, ssrc: u32, from: SocketAddr, kind: Kind) -> Result<(), Received> {
        if ssrc == self.config.ssrc {
            if let Some(known) = self
                .conflicts
                .iter_mut()
                .find(|c| c.from == from && c.kind == kind)
            {
                known.heard = now;
                return Err(Received::Conflict);
            }
            self.give_up_ssrc(now, from, kind);
        }
        if self.members.len() >= limits::RTP_MEMBERS && !self.members.contains_key(&ssrc) {
            return Err(Received::OverLimit);
        }
        let member = self.members.entry(ssrc).or_insert_with(|| Member::new(now));
        if *member.from(kind).get_or_insert(from) != from {
            return Err(Received::Conflict);
        }
        if !member.left {
            member.heard = now;
        }
        Ok(())
    }

    /// Another source uses our SSRC: says BYE for it and takes another.
    //= https://www.rfc-editor.org/rfc/rfc3550#section-8.2
    fn give_up_ssrc(&mut self, now: Instant, from: SocketAddr, kind: Kind) {
        if self.conflicts.len() >= limits::RTP_CONFLICTS {
            self.conflicts.remove(0);
        }
        self.conflicts.push(ConflictingAddress {
            from,
            kind,
            heard: now,
        });
        if self.has_sent() && self.phase == Phase::Active {
            let bye = self.bye(now);
            self.outputs.push_back(Output::Transmit(bye));
        }
        let old = self.config.ssrc;
        while self.config.ssrc == old || self.members.contains_key(&self.config.ssrc) {
            self.config.ssrc = self.rng.u32();
        }
        // Only the last timestamp stays, so that a report between here and the next packet knows the stream's clock.
        self.sent = Sent {
            last: self.sent.last,
            ..Sent::default()
        };
        self.event(Event::SsrcChanged {
            old,
            new: self.config.ssrc,
        });
    }

    /// A contributing source of a mixer is a member too (§6.3.3). Our own among them is what a mixer makes of us, no loop.
    fn hear_contributor(&mut self, now: Instant, csrc: u32) {
        if csrc == self.config.ssrc
            || (self.members.len() >= limits::RTP_MEMBERS && !self.members.contains_key(&csrc))
        {
            return;
        }
        let member = self.members.entry(csrc).or_insert_with(|| Member::new(now));
        member.heard = now;
        if !member.left && !member.counted {
            self.count(now, csrc, false);
        }
    }

    /// Counts `ssrc` as a member, and as a sender if it sent RTP.
    //= https://www.rfc-editor.org/rfc/rfc3550#section-6.3.3
    fn count(&mut self, now: Instant, ssrc: u32, sender: bool) {
        let Some(member) = self.members.get_mut(&ssrc) else {
            return;
        };
        self.counted += usize::from(!std::mem::replace(&mut member.counted, true));
        if sender {
            self.senders += usize::from(!std::mem::replace(&mut member.sender, true));
        }
        self.timing.population(now, self.counted, self.senders);
    }

    /// An RTP packet with `timestamp` and so many bytes of payload has been sent with our SSRC.
    pub fn note_sent(&mut self, now: Instant, timestamp: u32, payload_octets: usize) {
        self.sent.packets = self.sent.packets.wrapping_add(1);
        self.sent.octets = self.sent.octets.wrapping_add(payload_octets as u32);
        self.sent.last = Some((now, timestamp));
        self.statistics.sent_packets += 1;
        self.statistics.sent_octets += payload_octets as u64;
        self.timing.set_we_sent(now, true);
    }

    /// The peers' addresses may change now (a new offer and answer, a phone that moved): the next packet of each source
    /// sets its address anew, and is no collision.
    //= https://www.rfc-editor.org/rfc/rfc3550#section-8.2
    pub fn accept_new_addresses(&mut self) {
        for member in self.members.values_mut() {
            member.rtp_from = None;
            member.rtcp_from = None;
        }
        self.conflicts.clear();
    }

    /// The payload's clock has another rate from now on.
    pub fn set_clock_rate_hz(&mut self, clock_rate_hz: u32) {
        self.config.clock_rate_hz = clock_rate_hz;
    }

    /// Asks `media_ssrc` for a key frame (PLI, RFC 4585 §6.3.1) at once; not more often than every half second.
    pub fn request_key_frame(&mut self, now: Instant, media_ssrc: u32) {
        let too_soon = self
            .key_frame_asked
            .is_some_and(|asked| now.since(asked) < KEY_FRAME_SPACING);
        if too_soon || self.phase != Phase::Active {
            return;
        }
        self.key_frame_asked = Some(now);
        let mut compound = self.report(now, &[]);
        Writer::new(&mut compound).feedback(&Feedback {
            payload_specific: true,
            format: Feedback::PLI,
            sender_ssrc: self.config.ssrc,
            media_ssrc,
            control: &[],
        });
        self.sent.any_rtcp = true;
        self.outputs.push_back(Output::Transmit(compound));
    }

    /// Leaves the session: says BYE, at once in a small one, by the back-off rules in a large one, and not at all when
    /// nothing was ever sent.
    //= https://www.rfc-editor.org/rfc/rfc3550#section-6.3.7
    pub fn leave(&mut self, now: Instant) {
        if self.phase != Phase::Active {
            return;
        }
        if !self.has_sent() {
            self.phase = Phase::Left;
            return;
        }
        let bye = self.bye(now);
        if self.timing.leave(now, bye.len()) {
            self.outputs.push_back(Output::Transmit(bye));
            self.phase = Phase::Left;
        } else {
            self.phase = Phase::Leaving;
        }
    }

    fn has_sent(&self) -> bool {
        self.sent.last.is_some() || self.sent.any_rtcp
    }

    /// The time that `poll_output` gave has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.phase == Phase::Left || now < self.timing.next() {
            return;
        }
        self.time_out_members(now);
        if now < self.timing.next() || !self.timing.expire(now) {
            return;
        }
        if self.phase == Phase::Leaving {
            let bye = self.bye(now);
            self.outputs.push_back(Output::Transmit(bye));
            self.phase = Phase::Left;
            return;
        }
        let blocks = self.report_blocks(now);
        let report = self.report(now, &blocks);
        self.timing.sent(now, report.len());
        self.sent.any_rtcp = true;
        self.outputs.push_back(Output::Transmit(report));
    }

    //= https://www.rfc-editor.org/rfc/rfc3550#section-6.3.5
    fn time_out_members(&mut self, now: Instant) {
        let silent = self.timing.receiver_interval() * SILENT_INTERVALS;
        let sender_silent = self.timing.interval() * 2;
        let mut gone = Vec::new();
        for (ssrc, member) in &mut self.members {
            let patience = if member.left { STRAGGLERS } else { silent };
            if now.since(member.heard) > patience {
                gone.push(*ssrc);
            } else if member.sender && now.since(member.heard_rtp) > sender_silent {
                member.sender = false;
                self.senders -= 1;
            }
        }
        gone.into_iter().for_each(|ssrc| self.remove(ssrc));
        self.timing.population(now, self.counted, self.senders);
        if self.timing.we_sent() && self.sent.last.is_none_or(|(at, _)| now.since(at) > sender_silent) {
            self.timing.set_we_sent(now, false);
        }
        let interval = self.timing.receiver_interval();
        self.conflicts
            .retain(|c| now.since(c.heard) <= interval * CONFLICT_INTERVALS);
    }

    fn remove(&mut self, ssrc: u32) {
        let Some(member) = self.members.remove(&ssrc) else {
            return;
        };
        self.counted -= usize::from(member.counted);
        self.senders -= usize::from(member.sender);
        if let Some(reception) = member.reception {
            self.statistics.received_lost += reception.lost();
            if ssrc == self.last_source {
                self.statistics.received_jitter = self.units_to_duration(reception.jitter());
            }
        }
        if member.counted {
            self.event(Event::Left { ssrc, bye: false });
        }
    }

    /// The blocks of this report: of the sources heard since they were last reported, as many as fit, in turn.
    //= https://www.rfc-editor.org/rfc/rfc3550#section-6.4
    fn report_blocks(&mut self, now: Instant) -> Vec<ReportBlock> {
        let from = self.next_reported;
        let turn = self.members.range(from..).chain(self.members.range(..from));
        let ssrcs: Vec<u32> = turn
            .filter(|(_, m)| m.heard_since_report)
            .map(|(ssrc, _)| *ssrc)
            .take(MAX_COUNT)
            .collect();
        let mut blocks = Vec::with_capacity(ssrcs.len());
        for ssrc in ssrcs {
            self.next_reported = ssrc.wrapping_add(1);
            let Some(member) = self.members.get_mut(&ssrc) else {
                continue;
            };
            let Some(reception) = &mut member.reception else {
                continue;
            };
            member.heard_since_report = false;
            let (last_sr, delay_since_last_sr) = match member.last_sr {
                Some((middle, at)) => (middle, duration_units(now.since(at), 1 << 16)),
                None => (0, 0),
            };
            blocks.push(ReportBlock {
                ssrc,
                fraction_lost: reception.take_fraction_lost(),
                lost: reception.lost_clamped(),
                highest_sequence: reception.extended_highest(),
                jitter: reception.jitter(),
                last_sr,
                delay_since_last_sr,
            });
        }
        blocks
    }

    /// SR or RR, and SDES with the CNAME: what every compound of ours begins with.
    //= https://www.rfc-editor.org/rfc/rfc3550#section-6.1
    fn report(&self, now: Instant, blocks: &[ReportBlock]) -> Vec<u8> {
        let ssrc = self.config.ssrc;
        let mut out = Vec::with_capacity(128);
        let mut writer = Writer::new(&mut out);
        match self.sent.last {
            Some((at, timestamp)) if self.timing.we_sent() && self.phase == Phase::Active => {
                let info = SenderInfo {
                    ntp: self.ntp(now),
                    rtp_timestamp: timestamp
                        .wrapping_add(duration_units(now.since(at), self.config.clock_rate_hz)),
                    packets: self.sent.packets,
                    octets: self.sent.octets,
                };
                writer.sender_report(ssrc, info, blocks);
            }
            _ => {
                writer.receiver_report(ssrc, blocks);
            }
        }
        writer.source_description(ssrc, &[(CNAME, self.config.cname.as_bytes())]);
        out
    }

    fn bye(&self, now: Instant) -> Vec<u8> {
        let mut compound = self.report(now, &[]);
        Writer::new(&mut compound).bye(&[self.config.ssrc], &[]);
        compound
    }

    fn ntp(&self, now: Instant) -> u64 {
        let (joined, wallclock) = self.joined;
        (wallclock + now.since(joined)).to_ntp()
    }

    /// An event that nobody fetched is dropped when there are too many: the owner drains after every call.
    fn event(&mut self, event: Event) {
        if self.outputs.len() < limits::CHANNEL_ITEMS {
            self.outputs.push_back(Output::Event(event));
        }
    }

    /// What is to be done, `Timeout` last.
    pub fn poll_output(&mut self) -> Output {
        if let Some(output) = self.outputs.pop_front() {
            return output;
        }
        Output::Timeout((self.phase != Phase::Left).then(|| self.timing.next()))
    }
}

/// The middle 32 bits of an NTP timestamp: seconds and fraction, 16 bits each.
fn ntp_middle(ntp: u64) -> u32 {
    (ntp >> 16) as u32
}
