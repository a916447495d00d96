use super::*;
use crate::Header;
use std::net::Ipv4Addr;

const CLOCK: u32 = 8_000;

fn at_ms(ms: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(ms)
}

fn address(n: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, n))
}

fn session(ssrc: u32, bandwidth_bps: u32) -> Session {
    let config = Config {
        ssrc,
        cname: format!("member-{ssrc}"),
        clock_rate_hz: CLOCK,
        bandwidth_bps,
        reduced_size: false,
    };
    Session::new(
        at_ms(0),
        UnixTime::from_secs(1_000_000_000),
        config,
        Rng::from_number(u64::from(ssrc)),
    )
}

fn drain(session: &mut Session) -> (Vec<Vec<u8>>, Vec<Event>, Option<Instant>) {
    let (mut sent, mut events) = (Vec::new(), Vec::new());
    loop {
        match session.poll_output() {
            Output::Transmit(bytes) => sent.push(bytes),
            Output::Event(event) => events.push(event),
            Output::Timeout(at) => return (sent, events, at),
        }
    }
}

fn rtp(session: &mut Session, now: Instant, from: SocketAddr, header: Header) -> Received {
    let mut bytes = Vec::new();
    header.write(&[0xff; 160], &mut bytes);
    session.handle_rtp(now, from, &Packet::parse(&bytes).unwrap())
}

fn voice(ssrc: u32, n: u32) -> Header {
    Header {
        marker: n == 0,
        payload_type: 0,
        sequence: n as u16,
        timestamp: n * 160,
        ssrc,
    }
}

/// Sends a packet of `ssrc` every 20 ms for `ms` from `from_ms` on.
fn talk(session: &mut Session, ssrc: u32, from_ms: u64, ms: u64) {
    for n in from_ms / 20..(from_ms + ms) / 20 {
        rtp(session, at_ms(n * 20), address(5), voice(ssrc, n as u32));
    }
}

/// Runs the session's timers up to `until` and gives what it sent, with the times.
fn run(session: &mut Session, until: Instant) -> Vec<(Instant, Vec<u8>)> {
    let mut sent = Vec::new();
    let mut now = at_ms(0);
    loop {
        let (packets, _, next) = drain(session);
        sent.extend(packets.into_iter().map(|p| (now, p)));
        match next {
            Some(at) if at <= until => now = now.max(at),
            _ => return sent,
        }
        session.handle_timeout(now);
    }
}

fn names(compound: &[u8]) -> Vec<&'static str> {
    let compound = Compound::parse(compound, false).unwrap();
    compound
        .iter()
        .map(|p| match p {
            RtcpPacket::SenderReport { .. } => "SR",
            RtcpPacket::ReceiverReport { .. } => "RR",
            RtcpPacket::SourceDescription(_) => "SDES",
            RtcpPacket::Bye { .. } => "BYE",
            RtcpPacket::Feedback(_) => "FB",
            _ => "?",
        })
        .collect()
}

fn report_on(compound: &[u8], ssrc: u32) -> Option<ReportBlock> {
    Compound::parse(compound, false)
        .unwrap()
        .iter()
        .find_map(|p| match p {
            RtcpPacket::SenderReport { reports, .. } | RtcpPacket::ReceiverReport { reports, .. } => {
                reports.iter().find(|block| block.ssrc == ssrc)
            }
            _ => None,
        })
}

// Guards pitfall RTP 5: compounds begin with SR or RR, and always carry the CNAME.
#[test]
fn who_sends_reports_sr_and_who_only_hears_reports_rr() {
    let mut s = session(1, 64_000);
    talk(&mut s, 9, 0, 10_000);
    let sent = run(&mut s, at_ms(10_000));
    assert!(!sent.is_empty());
    assert!(sent.iter().all(|(_, p)| names(p) == ["RR", "SDES"]));
    s.note_sent(at_ms(10_000), 0, 160);
    let (now, sr) = run(&mut s, at_ms(20_000)).remove(0);
    assert_eq!(names(&sr), ["SR", "SDES"]);
    assert!(now > at_ms(10_000));
    let compound = Compound::parse(&sr, false).unwrap();
    let RtcpPacket::SourceDescription(chunks) = compound.iter().nth(1).unwrap() else {
        panic!()
    };
    assert_eq!(chunks.iter().next().unwrap().cname(), Some(&b"member-1"[..]));
}

// Guards pitfall RTP 6: an SR's two clocks show the same moment.
#[test]
fn an_sr_maps_its_wallclock_to_the_moment_on_the_streams_clock() {
    let mut s = session(1, 64_000);
    s.note_sent(at_ms(100), 50_000, 160);
    let (now, sr) = run(&mut s, at_ms(6_000)).remove(0);
    let Some(RtcpPacket::SenderReport { info, .. }) = Compound::parse(&sr, false).unwrap().iter().next()
    else {
        panic!()
    };
    let wallclock = UnixTime::from_secs(1_000_000_000) + now.since(at_ms(0));
    assert_eq!(info.ntp, wallclock.to_ntp());
    assert_eq!(
        info.rtp_timestamp,
        50_000 + duration_units(now.since(at_ms(100)), CLOCK)
    );
    assert_eq!((info.packets, info.octets), (1, 160));

    let mut peer = session(2, 64_000);
    peer.handle_rtcp(now, address(5), &sr).unwrap();
    let second_later = peer
        .wallclock_at(1, info.rtp_timestamp.wrapping_add(CLOCK))
        .unwrap();
    assert_eq!(second_later, info.ntp + (1 << 32));
}

#[test]
fn a_sender_that_falls_silent_reports_as_a_receiver_again() {
    let mut s = session(1, 64_000);
    s.note_sent(at_ms(100), 0, 160);
    let sent = run(&mut s, at_ms(60_000));
    assert_eq!(names(&sent[0].1), ["SR", "SDES"]);
    assert_eq!(names(&sent.last().unwrap().1), ["RR", "SDES"]);
}

#[test]
fn reports_carry_loss_and_jitter_and_only_of_those_who_spoke() {
    let mut s = session(1, 64_000);
    for n in (0..200u32).filter(|n| n % 10 != 5) {
        rtp(&mut s, at_ms(u64::from(n) * 20), address(5), voice(9, n));
    }
    let sent = run(&mut s, at_ms(4_000));
    let block = report_on(&sent[0].1, 9).unwrap();
    assert_eq!((block.lost, block.highest_sequence), (20, 199));
    assert_eq!(block.fraction_lost, (20 * 256 / 199) as u8);
    assert_eq!(
        report_on(&run(&mut s, at_ms(14_000))[0].1, 9),
        None,
        "silent since"
    );
    assert_eq!(s.statistics().received_packets, 179);
    assert_eq!(s.statistics().received_lost, 20);
}

#[test]
fn the_round_trip_is_measured_from_lsr_and_dlsr() {
    let (mut a, mut b) = (session(1, 64_000), session(2, 64_000));
    a.note_sent(at_ms(0), 0, 160);
    let (sent_at, sr) = run(&mut a, at_ms(6_000)).remove(0);
    b.handle_rtcp(sent_at + Duration::from_millis(30), address(1), &sr)
        .unwrap();
    talk(&mut b, 1, 0, 2_000);
    let report = loop {
        let next = drain(&mut b).2.unwrap();
        b.handle_timeout(next.max(sent_at + Duration::from_millis(500)));
        let (sent, ..) = drain(&mut b);
        if let Some(report) = sent.into_iter().find(|p| report_on(p, 1).is_some()) {
            break (next.max(sent_at + Duration::from_millis(500)), report);
        }
    };
    a.handle_rtcp(report.0 + Duration::from_millis(40), address(2), &report.1)
        .unwrap();
    let round_trip = a.statistics().round_trip.unwrap().as_secs_f64();
    assert!((round_trip - 0.070).abs() < 0.001, "{round_trip}");
}

#[test]
fn a_delay_that_cannot_be_gives_no_round_trip() {
    let mut s = session(1, 64_000);
    let block = ReportBlock {
        ssrc: 1,
        last_sr: ntp_middle(s.ntp(at_ms(0))),
        delay_since_last_sr: 99_999,
        ..ReportBlock::default()
    };
    let mut rr = Vec::new();
    Writer::new(&mut rr).receiver_report(9, &[block]);
    s.handle_rtcp(at_ms(10), address(1), &rr).unwrap();
    assert_eq!(s.statistics().round_trip, None);
}

// Guards pitfall RTP 3: another SSRC is another source with its own sequence and loss.
#[test]
fn a_change_of_ssrc_begins_a_new_source() {
    let mut s = session(1, 64_000);
    talk(&mut s, 9, 0, 1_000);
    assert_eq!(
        rtp(&mut s, at_ms(1_000), address(5), voice(10, 40_000)),
        Received::Probation
    );
    assert_eq!(
        rtp(&mut s, at_ms(1_020), address(5), voice(10, 40_001)),
        Received::Valid {
            extended: 40_001,
            restarted: false
        }
    );
    assert_eq!(s.statistics().received_lost, 0);
    assert_eq!(s.others(), 2);
}

// Guards pitfall RTP 3: a source from two addresses is heard from the first.
#[test]
fn a_third_partys_collision_is_heard_from_its_first_address_until_a_move_is_announced() {
    let mut s = session(1, 64_000);
    talk(&mut s, 9, 0, 1_000);
    assert_eq!(
        rtp(&mut s, at_ms(1_000), address(6), voice(9, 50)),
        Received::Conflict
    );
    s.accept_new_addresses();
    assert!(matches!(
        rtp(&mut s, at_ms(1_000), address(6), voice(9, 50)),
        Received::Valid { .. }
    ));
    assert_eq!(
        rtp(&mut s, at_ms(1_020), address(5), voice(9, 51)),
        Received::Conflict
    );
}

// Guards pitfall RTP 3: our own SSRC from elsewhere costs us one BYE and one change, and a loop no more than that.
#[test]
fn a_collision_with_our_ssrc_changes_it_once_and_a_loop_is_then_ignored() {
    let mut s = session(1, 64_000);
    s.note_sent(at_ms(0), 0, 160);
    let first = rtp(&mut s, at_ms(20), address(5), voice(1, 7));
    assert_eq!(first, Received::Probation, "it is the other's SSRC now");
    let (sent, events, _) = drain(&mut s);
    assert_eq!(sent.len(), 1);
    assert_eq!(names(&sent[0]), ["SR", "SDES", "BYE"]);
    let new = s.ssrc();
    assert_ne!(new, 1);
    assert_eq!(events, [Event::SsrcChanged { old: 1, new }]);
    for n in 0..10 {
        assert_eq!(
            rtp(&mut s, at_ms(40), address(5), voice(new, n)),
            Received::Conflict
        );
    }
    assert_eq!(s.ssrc(), new);
    assert!(drain(&mut s).0.is_empty());
}

#[test]
fn a_member_that_says_bye_is_gone_and_its_stragglers_do_not_bring_it_back() {
    let mut s = session(1, 64_000);
    talk(&mut s, 9, 0, 1_000);
    let mut bye = Vec::new();
    Writer::new(&mut bye).receiver_report(9, &[]).bye(&[9], b"done");
    s.handle_rtcp(at_ms(1_000), address(7), &bye).unwrap();
    assert_eq!(drain(&mut s).1, [Event::Left { ssrc: 9, bye: true }]);
    rtp(&mut s, at_ms(1_020), address(5), voice(9, 50));
    assert_eq!(s.others(), 0);
}

#[test]
fn a_bye_from_another_address_than_its_source_is_ignored() {
    let mut s = session(1, 64_000);
    let mut rr = Vec::new();
    Writer::new(&mut rr)
        .receiver_report(9, &[])
        .source_description(9, &[(CNAME, b"nine")]);
    s.handle_rtcp(at_ms(0), address(7), &rr).unwrap();
    let mut bye = Vec::new();
    Writer::new(&mut bye).receiver_report(8, &[]).bye(&[9], b"");
    s.handle_rtcp(at_ms(10), address(8), &bye).unwrap();
    assert_eq!(s.others(), 1);
    assert_eq!(s.cname(9), Some(&b"nine"[..]));
}

#[test]
fn a_silent_member_is_timed_out_after_five_intervals() {
    let mut s = session(1, 64_000);
    talk(&mut s, 9, 0, 1_000);
    run(&mut s, at_ms(24_000));
    assert_eq!(s.others(), 1);
    run(&mut s, at_ms(40_000));
    assert_eq!(s.others(), 0);
    assert_eq!(
        s.statistics().received_packets,
        49,
        "what was received stays counted"
    );
}

#[test]
fn who_never_sent_leaves_without_a_bye() {
    let mut s = session(1, 64_000);
    s.leave(at_ms(10));
    assert!(s.is_left());
    assert_eq!(drain(&mut s), (vec![], vec![], None));

    let mut s = session(1, 64_000);
    s.note_sent(at_ms(0), 0, 160);
    s.leave(at_ms(10));
    assert_eq!(names(&drain(&mut s).0[0]), ["SR", "SDES", "BYE"]);
    assert!(s.is_left());
}

#[test]
fn key_frames_are_asked_for_and_the_asking_is_heard() {
    let (mut a, mut b) = (session(1, 64_000), session(2, 64_000));
    a.request_key_frame(at_ms(0), 2);
    a.request_key_frame(at_ms(100), 2);
    let (sent, ..) = drain(&mut a);
    assert_eq!(sent.len(), 1, "not twice within half a second");
    assert_eq!(names(&sent[0]), ["RR", "SDES", "FB"]);
    b.handle_rtcp(at_ms(10), address(1), &sent[0]).unwrap();
    assert_eq!(drain(&mut b).1, [Event::KeyFrameRequested]);
}

#[test]
fn sources_over_the_limit_are_dropped() {
    let mut s = session(0, 64_000);
    for ssrc in 1..=limits::RTP_MEMBERS as u32 {
        assert_eq!(
            rtp(&mut s, at_ms(0), address(5), voice(ssrc, 0)),
            Received::Probation
        );
    }
    assert_eq!(
        rtp(&mut s, at_ms(0), address(5), voice(99_999, 0)),
        Received::OverLimit
    );
}

#[test]
fn more_sources_than_a_report_holds_are_reported_in_turn() {
    let mut s = session(1, 64_000);
    let mut reported = std::collections::BTreeSet::new();
    let mut now = at_ms(0);
    for round in 0..3u32 {
        for ssrc in 100..170 {
            for n in 0..2 {
                rtp(&mut s, now, address(5), voice(ssrc, round * 2 + n));
            }
        }
        loop {
            let (sent, _, next) = drain(&mut s);
            for packet in &sent {
                reported.extend((100..170).filter(|ssrc| report_on(packet, *ssrc).is_some()));
            }
            if !sent.is_empty() {
                break;
            }
            now = next.unwrap();
            s.handle_timeout(now);
        }
    }
    assert_eq!(reported.len(), 70);
}

/// Members that all hear each other's RTCP at once, as over multicast.
struct Crowd {
    sessions: Vec<Session>,
    now: Instant,
    bytes: usize,
    packets: Vec<(Instant, usize)>,
}

impl Crowd {
    fn new(members: u32, bandwidth_bps: u32) -> Self {
        let sessions = (1..=members).map(|ssrc| session(ssrc, bandwidth_bps)).collect();
        Crowd {
            sessions,
            now: at_ms(0),
            bytes: 0,
            packets: Vec::new(),
        }
    }

    fn run_until(&mut self, until: Instant) {
        loop {
            let mut next = until;
            for from in 0..self.sessions.len() {
                loop {
                    match self.sessions[from].poll_output() {
                        Output::Transmit(bytes) => self.deliver(from, &bytes),
                        Output::Event(_) => {}
                        Output::Timeout(at) => {
                            next = next.min(at.unwrap_or(until));
                            break;
                        }
                    }
                }
            }
            self.now = self.now.max(next);
            if next >= until {
                return;
            }
            let now = self.now;
            self.sessions.iter_mut().for_each(|s| s.handle_timeout(now));
        }
    }

    fn deliver(&mut self, from: usize, bytes: &[u8]) {
        self.bytes += bytes.len() + 28;
        self.packets.push((self.now, from));
        for to in (0..self.sessions.len()).filter(|to| *to != from) {
            self.sessions[to]
                .handle_rtcp(self.now, address(from as u16 + 1), bytes)
                .unwrap();
        }
    }
}

// Guards pitfall RTP 5: whatever the number of members, RTCP stays at its twentieth of the bandwidth.
#[test]
fn a_crowd_keeps_to_five_percent_of_the_bandwidth() {
    let bandwidth_bps = 64_000;
    for members in [20, 80, 150] {
        let mut crowd = Crowd::new(members, bandwidth_bps);
        crowd.run_until(at_ms(60_000));
        (crowd.bytes, crowd.packets) = (0, Vec::new());
        crowd.run_until(at_ms(360_000));
        let bps = crowd.bytes as f64 * 8.0 / 300.0;
        let share = bps / f64::from(bandwidth_bps);
        assert!(share < 0.055, "{members} members: {share}");
        if members >= 80 {
            assert!(share > 0.035, "{members} members: {share}");
        }
        assert!(crowd.sessions.iter().all(|s| s.others() == members as usize - 1));
    }
}

// Guards pitfall RTP 5: all join at once, and forward reconsideration spreads their first reports.
#[test]
fn a_crowd_that_joins_at_once_does_not_flood() {
    let mut crowd = Crowd::new(150, 64_000);
    crowd.run_until(at_ms(4_000));
    assert!(
        crowd.packets.len() < 60,
        "{} reports in the first four seconds",
        crowd.packets.len()
    );
}

// Guards pitfall RTP 5: a quarter of RTCP's bandwidth is the senders'.
#[test]
fn few_senders_in_a_crowd_report_more_often_than_receivers() {
    let mut crowd = Crowd::new(120, 64_000);
    for second in 0..240 {
        for sender in 0..2 {
            let (now, ssrc) = (crowd.now, crowd.sessions[sender].ssrc());
            for (n, s) in crowd.sessions.iter_mut().enumerate() {
                if n == sender {
                    s.note_sent(now, 0, 160);
                } else {
                    for k in 0..2 {
                        rtp(s, now, address(sender as u16 + 1), voice(ssrc, second * 2 + k));
                    }
                }
            }
        }
        crowd.run_until(at_ms(u64::from(second + 1) * 1_000));
    }
    let late: Vec<_> = crowd
        .packets
        .iter()
        .filter(|(at, _)| *at > at_ms(60_000))
        .collect();
    let of_senders = late.iter().filter(|(_, from)| *from < 2).count() as f64 / 2.0;
    let of_receivers = late.iter().filter(|(_, from)| *from >= 2).count() as f64 / 118.0;
    assert!(of_senders > 2.0 * of_receivers, "{of_senders} {of_receivers}");
    let interval_s = 180.0 / of_senders;
    assert!(
        (3.5..7.0).contains(&interval_s),
        "two senders are at the minimum: {interval_s}"
    );
}

// Guards pitfall RTP 5: when all leave, their BYEs are spread too, and every one of them goes out.
#[test]
fn a_crowd_that_leaves_at_once_backs_off() {
    let mut crowd = Crowd::new(100, 64_000);
    crowd.run_until(at_ms(120_000));
    let left_at = crowd.now;
    let before = crowd.packets.len();
    crowd.sessions.iter_mut().for_each(|s| s.leave(left_at));
    crowd.run_until(left_at + Duration::from_secs(4));
    assert!(crowd.packets.len() - before < 50);
    crowd.run_until(left_at + Duration::from_secs(300));
    assert_eq!(crowd.packets.len() - before, 100);
    assert!(crowd.sessions.iter().all(Session::is_left));
    let spread = crowd.packets.last().unwrap().0.since(left_at).as_secs_f64();
    // 100 BYEs of about 128 bytes at 400 bytes a second.
    assert!((15.0..80.0).contains(&spread), "{spread}");
}

#[test]
fn fuzz_targets_hold_on_random_bytes() {
    let mut rng = Rng::from_number(4);
    for round in 0..3_000 {
        let mut data = vec![0; round % 300];
        rng.fill(&mut data);
        if round % 2 == 0 && data.len() > 8 {
            data[0] = 0x80 | (data[0] & 0x3f);
            data[1] = 200 + data[1] % 7;
            data[2] = 0;
            data[3] %= (data.len() / 4) as u8;
        }
        crate::fuzz::packet(&data);
        crate::fuzz::rtcp(&data);
        crate::fuzz::telephone_event(&data);
        crate::fuzz::session(&data);
    }
}
