//! Where a peer's packets come from: learned once, and held.
//!
//! What an offer says of an address is what the peer knows of itself, which behind a translator is not what the world
//! sees. So the first packet that comes from the peer's described or signalling IP address settles where it is, and
//! whoever else sends to the port afterwards is not heard.

use ringpost_base::Instant;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// A peer that was silent so long may have been given another port by its translator.
const MOVED_AFTER: Duration = Duration::from_secs(3);

/// What a packet's address says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// It is where the peer is.
    Peer,
    /// It is where the peer is from now on.
    PeerMoved,
    /// It is from somebody else, and to be dropped.
    Foreign,
}

#[derive(Debug)]
pub(crate) struct Latch {
    described: Option<SocketAddr>,
    described_rtcp: Option<SocketAddr>,
    signalling: Option<IpAddr>,
    /// Where packets of RTP come from, once learned.
    held: Option<SocketAddr>,
    /// The same for RTCP on a port of its own.
    held_rtcp: Option<SocketAddr>,
    /// An address from before the last offer and answer, which still holds for sending until the next packet tells.
    before: Option<SocketAddr>,
    heard: Instant,
    ssrc: u32,
}

impl Latch {
    pub(crate) fn new(
        now: Instant,
        described: Option<SocketAddr>,
        described_rtcp: Option<SocketAddr>,
        signalling: Option<IpAddr>,
    ) -> Self {
        Latch {
            described,
            described_rtcp,
            signalling,
            held: None,
            held_rtcp: None,
            before: None,
            heard: now,
            ssrc: 0,
        }
    }

    /// A new offer and answer: learn once more.
    pub(crate) fn renew(
        &mut self,
        described: Option<SocketAddr>,
        described_rtcp: Option<SocketAddr>,
        signalling: Option<IpAddr>,
    ) {
        // A phone behind a translator that is put on hold describes the address it always described, and sends nothing
        // that could tell its real one; what we play to it must still reach it.
        let same = described == self.described && signalling == self.signalling;
        let before = if same { self.held.or(self.before) } else { None };
        *self = Latch {
            before,
            ssrc: self.ssrc,
            ..Latch::new(self.heard, described, described_rtcp, signalling)
        };
    }

    /// Where RTP is to be sent.
    pub(crate) fn rtp_target(&self) -> Option<SocketAddr> {
        self.held.or(self.before).or(self.described)
    }

    /// Where RTCP is to be sent, on a port of its own.
    pub(crate) fn rtcp_target(&self) -> Option<SocketAddr> {
        self.held_rtcp.or(self.described_rtcp)
    }

    /// Where the peer's RTP comes from, once learned.
    pub(crate) fn learned(&self) -> Option<SocketAddr> {
        self.held
    }

    /// A packet of RTP by `ssrc` came from `from`.
    pub(crate) fn rtp(&mut self, now: Instant, from: SocketAddr, ssrc: u32) -> Origin {
        let origin = match self.held {
            Some(held) if held == from => Origin::Peer,
            Some(held) => {
                let silent = now.since(self.heard) >= MOVED_AFTER;
                if !silent || held.ip() != from.ip() || self.ssrc != ssrc {
                    return Origin::Foreign;
                }
                self.learn(from);
                Origin::PeerMoved
            }
            None if self.may_be_peer(from.ip()) => {
                self.learn(from);
                Origin::PeerMoved
            }
            None => return Origin::Foreign,
        };
        self.heard = now;
        self.ssrc = ssrc;
        origin
    }

    /// A packet of RTCP came from `from`, on the RTP port if `muxed`.
    pub(crate) fn rtcp(&mut self, from: SocketAddr, muxed: bool) -> Origin {
        if muxed {
            // RTCP tells no media address: with nothing learned yet it is heard from where the peer may be.
            let known = match self.held {
                Some(held) => held == from,
                None => self.may_be_peer(from.ip()),
            };
            return if known { Origin::Peer } else { Origin::Foreign };
        }
        match (self.held_rtcp, self.held) {
            (Some(held), _) if held == from => Origin::Peer,
            (Some(_), _) => Origin::Foreign,
            (None, Some(rtp)) if rtp.ip() != from.ip() && self.described_rtcp != Some(from) => {
                Origin::Foreign
            }
            (None, None) if !self.may_be_peer(from.ip()) && self.described_rtcp != Some(from) => {
                Origin::Foreign
            }
            (None, _) => {
                self.held_rtcp = Some(from);
                Origin::PeerMoved
            }
        }
    }

    fn learn(&mut self, from: SocketAddr) {
        self.held = Some(from);
        self.held_rtcp = None;
        self.before = None;
    }

    fn may_be_peer(&self, ip: IpAddr) -> bool {
        self.described.is_some_and(|described| described.ip() == ip) || self.signalling == Some(ip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn at(ms: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(ms)
    }

    /// A phone at 10.0.0.5 behind 203.0.113.1, from where its signalling comes.
    fn behind_nat() -> Latch {
        let described = address("10.0.0.5:4000");
        Latch::new(
            at(0),
            Some(described),
            Some(address("10.0.0.5:4001")),
            Some(address("203.0.113.1:1").ip()),
        )
    }

    // Guards pitfall RTP 7: learned once, from the described or the signalling address, and from nowhere else.
    #[test]
    fn the_first_packet_from_the_described_or_signalling_address_settles_it() {
        let mut latch = behind_nat();
        assert_eq!(latch.rtp_target(), Some(address("10.0.0.5:4000")));
        assert_eq!(latch.rtp(at(0), address("198.51.100.9:4000"), 1), Origin::Foreign);
        assert_eq!(
            latch.rtp(at(20), address("203.0.113.1:62000"), 1),
            Origin::PeerMoved
        );
        assert_eq!(latch.rtp(at(40), address("203.0.113.1:62000"), 1), Origin::Peer);
        assert_eq!(latch.rtp_target(), Some(address("203.0.113.1:62000")));
        for (ms, from) in [
            (60, "203.0.113.1:62001"),
            (80, "10.0.0.5:4000"),
            (2_999, "198.51.100.9:1"),
        ] {
            assert_eq!(latch.rtp(at(ms), address(from), 1), Origin::Foreign, "{from}");
        }
    }

    // Guards pitfall RTP 7: three seconds of silence, then the same address and source by another port.
    #[test]
    fn after_silence_the_same_source_may_come_by_another_port_of_its_address() {
        let mut latch = behind_nat();
        latch.rtp(at(0), address("203.0.113.1:62000"), 7);
        assert_eq!(
            latch.rtp(at(2_990), address("203.0.113.1:62001"), 7),
            Origin::Foreign
        );
        assert_eq!(
            latch.rtp(at(3_000), address("203.0.113.1:62001"), 8),
            Origin::Foreign
        );
        assert_eq!(latch.rtp(at(3_000), address("10.0.0.5:4000"), 7), Origin::Foreign);
        assert_eq!(
            latch.rtp(at(3_000), address("203.0.113.1:62001"), 7),
            Origin::PeerMoved
        );
        assert_eq!(
            latch.rtp(at(3_020), address("203.0.113.1:62000"), 7),
            Origin::Foreign
        );
    }

    // Guards pitfall RTP 7: a new offer and answer learns anew; a hold does not lose a phone that says nothing.
    #[test]
    fn a_new_answer_learns_anew_and_keeps_sending_where_it_did() {
        let mut latch = behind_nat();
        latch.rtp(at(0), address("203.0.113.1:62000"), 7);
        let nat = Some(address("203.0.113.1:1").ip());
        latch.renew(Some(address("10.0.0.5:4000")), None, nat);
        assert_eq!(latch.rtp_target(), Some(address("203.0.113.1:62000")));
        assert_eq!(
            latch.rtp(at(20), address("203.0.113.1:62002"), 9),
            Origin::PeerMoved
        );
        latch.renew(Some(address("10.0.0.6:4000")), None, nat);
        assert_eq!(latch.rtp_target(), Some(address("10.0.0.6:4000")));
    }

    #[test]
    fn rtcp_has_its_own_port_at_the_learned_address() {
        let mut latch = behind_nat();
        assert_eq!(latch.rtcp_target(), Some(address("10.0.0.5:4001")));
        latch.rtp(at(0), address("203.0.113.1:62000"), 7);
        assert_eq!(latch.rtcp(address("198.51.100.9:1"), false), Origin::Foreign);
        assert_eq!(latch.rtcp(address("203.0.113.1:62005"), false), Origin::PeerMoved);
        assert_eq!(latch.rtcp(address("203.0.113.1:62006"), false), Origin::Foreign);
        assert_eq!(latch.rtcp_target(), Some(address("203.0.113.1:62005")));
    }
}
