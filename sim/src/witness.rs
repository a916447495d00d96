//! Watches SIP on its way, and knows what nobody at the ends can: whether what somebody gave up waiting for had come.
//!
//! It reads the messages with eyes of its own, a few header fields of each, so that it does not believe what the code that
//! it watches believes.

use crate::network::Datagram;
use ringpost_base::Instant;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

/// How long everybody waits for an answer, or for an ACK: 64*T1.
//= https://www.rfc-editor.org/rfc/rfc3261#section-17.1.1.2
//= https://www.rfc-editor.org/rfc/rfc3261#section-17.1.2.2
//= https://www.rfc-editor.org/rfc/rfc3261#section-13.3.1.4
const PATIENCE: Duration = Duration::from_secs(32);

/// What was sent and what has arrived, by whom.
#[derive(Debug, Default)]
pub struct Witness {
    /// Requests by their sender, branch and method.
    requests: HashMap<(IpAddr, String, String), Request>,
    /// The 2xx to an INVITE by its sender, Call-ID and number.
    answers: HashMap<(IpAddr, String, String), Answer>,
}

#[derive(Debug)]
struct Request {
    to: IpAddr,
    sent: Instant,
    arrived: Option<Instant>,
    /// The first response, provisional or not.
    heard: Option<Instant>,
    answered: Option<Instant>,
}

#[derive(Debug)]
struct Answer {
    to: IpAddr,
    sent: Instant,
    arrived: Option<Instant>,
    acknowledged: Option<Instant>,
}

/// The little that is read of a message.
struct Glance<'a> {
    /// Of a response.
    status: Option<u16>,
    branch: &'a str,
    call_id: &'a str,
    number: &'a str,
    method: &'a str,
}

impl<'a> Glance<'a> {
    fn at(bytes: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let mut lines = text.lines();
        let start = lines.next()?;
        let field = |name: &str| lines.clone().find_map(|line| line.strip_prefix(name));
        let (number, method) = field("CSeq: ")?.split_once(' ')?;
        Some(Glance {
            status: start
                .strip_prefix("SIP/2.0 ")
                .and_then(|rest| rest.get(..3)?.parse().ok()),
            branch: field("Via: ")?
                .split(";branch=")
                .nth(1)?
                .split([';', ','])
                .next()?,
            call_id: field("Call-ID: ")?,
            number,
            method,
        })
    }
}

impl Witness {
    /// A message was sent; it may be lost.
    pub fn sent(&mut self, now: Instant, datagram: &Datagram) {
        let Some(seen) = Glance::at(&datagram.bytes) else {
            return;
        };
        let from = datagram.from.ip();
        match seen.status {
            None if seen.method != "ACK" => {
                self.requests
                    .entry((from, seen.branch.to_owned(), seen.method.to_owned()))
                    .or_insert(Request {
                        to: datagram.to.ip(),
                        sent: now,
                        arrived: None,
                        heard: None,
                        answered: None,
                    });
            }
            Some(200..=299) if seen.method == "INVITE" => {
                self.answers
                    .entry((from, seen.call_id.to_owned(), seen.number.to_owned()))
                    .or_insert(Answer {
                        to: datagram.to.ip(),
                        sent: now,
                        arrived: None,
                        acknowledged: None,
                    });
            }
            _ => {}
        }
    }

    /// A message has arrived.
    pub fn arrived(&mut self, now: Instant, datagram: &Datagram) {
        let Some(seen) = Glance::at(&datagram.bytes) else {
            return;
        };
        let (from, to) = (datagram.from.ip(), datagram.to.ip());
        let request = |sender: IpAddr| (sender, seen.branch.to_owned(), seen.method.to_owned());
        match seen.status {
            None if seen.method == "ACK" => {
                let answer = (to, seen.call_id.to_owned(), seen.number.to_owned());
                if let Some(answer) = self.answers.get_mut(&answer) {
                    answer.acknowledged.get_or_insert(now);
                }
            }
            None => {
                if let Some(request) = self.requests.get_mut(&request(from)) {
                    request.arrived.get_or_insert(now);
                }
            }
            Some(status) => {
                let answer = (from, seen.call_id.to_owned(), seen.number.to_owned());
                if (200..300).contains(&status)
                    && seen.method == "INVITE"
                    && let Some(answer) = self.answers.get_mut(&answer)
                {
                    answer.arrived.get_or_insert(now);
                }
                if let Some(request) = self.requests.get_mut(&request(to)) {
                    request.heard.get_or_insert(now);
                    if status >= 200 {
                        request.answered.get_or_insert(now);
                    }
                }
            }
        }
    }

    /// Whether whoever is at `who` had the right to give up at `at`: a request of theirs was not answered until then, or a
    /// 2xx of theirs not acknowledged, and they had sent it exactly 64*T1 before.
    pub fn excuses(&self, who: IpAddr, at: Instant) -> bool {
        let in_vain = |sent: Instant, heard: Option<Instant>| {
            sent + PATIENCE == at && heard.is_none_or(|heard| heard > at)
        };
        let unanswered = self.requests.iter().any(|((sender, _, method), request)| {
            // Once there is a provisional response, an INVITE may wait for as long as it likes.
            let heard = match method.as_str() {
                "INVITE" => request.heard,
                _ => request.answered,
            };
            *sender == who && in_vain(request.sent, heard)
        });
        let unacknowledged = self
            .answers
            .iter()
            .any(|((sender, ..), answer)| *sender == who && in_vain(answer.sent, answer.acknowledged));
        unanswered || unacknowledged
    }

    /// Whether the BYE that came to `who` at `at` was sent for a reason: its sender had the right to give up then, or had
    /// just heard the same from somebody who had.
    pub fn excuses_bye(&self, who: IpAddr, at: Instant) -> bool {
        let byes = |to: IpAddr, at: Instant| {
            self.requests
                .iter()
                .filter(move |((_, _, method), bye)| {
                    method == "BYE" && bye.to == to && bye.arrived == Some(at)
                })
                .map(|((sender, ..), bye)| (*sender, bye.sent))
        };
        byes(who, at).any(|(sender, sent)| {
            self.excuses(sender, sent) || byes(sender, sent).any(|(first, began)| self.excuses(first, began))
        })
    }

    /// Whether `relay` had the right to tell somebody at `at` or before that nobody was there: an INVITE of its own to a third
    /// had been sent 64*T1 earlier, and nothing was heard of it.
    pub fn excuses_refusal(&self, relay: IpAddr, at: Instant) -> bool {
        self.requests.iter().any(|((sender, _, method), request)| {
            let end = request.sent + PATIENCE;
            let in_vain = request.heard.is_none_or(|heard| heard > end);
            *sender == relay && method == "INVITE" && end <= at && in_vain
        })
    }

    /// Whether the first answer that `relay` sent to `caller` from `since` on is the one that had just come from `callee`.
    pub fn has_passed_on(&self, relay: IpAddr, [callee, caller]: [IpAddr; 2], since: Instant) -> bool {
        let answers = |from: IpAddr, to: IpAddr| {
            let of = move |((sender, ..), answer): &(&(IpAddr, String, String), &Answer)| {
                *sender == from && answer.to == to && answer.sent >= since
            };
            self.answers.iter().filter(of).map(|(_, answer)| answer)
        };
        let passed_on = answers(relay, caller).map(|answer| answer.sent).min();
        passed_on.is_some() && answers(callee, relay).any(|answer| answer.arrived == passed_on)
    }

    /// Whether a request of that method has come to `who` from `since` on.
    pub fn has_come(&self, who: IpAddr, method: &str, since: Instant) -> bool {
        self.requests.iter().any(|((_, _, known), request)| {
            known == method && request.to == who && request.arrived.is_some_and(|arrived| arrived >= since)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    const ALICE: &str = "10.0.1.1:5060";
    const NODE: &str = "10.0.0.1:5060";

    fn ip(address: &str) -> IpAddr {
        address.parse::<SocketAddr>().unwrap().ip()
    }

    fn s(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    fn message(from: &str, to: &str, start: &str, branch: &str, cseq: &str) -> Datagram {
        let text = format!(
            "{start}\r\nVia: SIP/2.0/UDP host;rport;branch={branch}\r\nCall-ID: c\r\nCSeq: {cseq}\r\n\r\n"
        );
        Datagram {
            from: from.parse().unwrap(),
            to: to.parse().unwrap(),
            bytes: text.into(),
        }
    }

    #[test]
    fn only_a_request_that_nobody_answers_for_64_t1_excuses_its_sender() {
        let mut witness = Witness::default();
        witness.sent(
            s(1),
            &message(ALICE, NODE, "REGISTER sip:x SIP/2.0", "a", "1 REGISTER"),
        );
        witness.sent(
            s(2),
            &message(ALICE, NODE, "REGISTER sip:x SIP/2.0", "a", "1 REGISTER"),
        );
        assert!(witness.excuses(ip(ALICE), s(33)));
        assert!(
            !witness.excuses(ip(ALICE), s(34)),
            "a retransmission begins nothing"
        );
        assert!(!witness.excuses(ip(NODE), s(33)));
        witness.arrived(
            s(3),
            &message(NODE, ALICE, "SIP/2.0 100 Trying", "a", "1 REGISTER"),
        );
        assert!(witness.excuses(ip(ALICE), s(33)), "timer F runs on");
        witness.arrived(s(4), &message(NODE, ALICE, "SIP/2.0 200 OK", "a", "1 REGISTER"));
        assert!(!witness.excuses(ip(ALICE), s(33)));
    }

    #[test]
    fn an_invite_that_was_heard_of_excuses_nobody() {
        let mut witness = Witness::default();
        witness.sent(
            s(1),
            &message(ALICE, NODE, "INVITE sip:x SIP/2.0", "a", "1 INVITE"),
        );
        assert!(witness.excuses(ip(ALICE), s(33)));
        witness.arrived(
            s(3),
            &message(NODE, ALICE, "SIP/2.0 180 Ringing", "a", "1 INVITE"),
        );
        assert!(!witness.excuses(ip(ALICE), s(33)));
    }

    #[test]
    fn a_callee_who_says_nothing_for_64_t1_excuses_a_refusal_and_not_earlier() {
        let mut witness = Witness::default();
        let carol = "10.0.2.1:5060";
        witness.sent(
            s(1),
            &message(NODE, carol, "INVITE sip:x SIP/2.0", "a", "1 INVITE"),
        );
        assert!(!witness.excuses_refusal(ip(NODE), s(32)));
        assert!(witness.excuses_refusal(ip(NODE), s(34)) && !witness.excuses_refusal(ip(ALICE), s(34)));
        witness.arrived(
            s(20),
            &message(carol, NODE, "SIP/2.0 180 Ringing", "a", "1 INVITE"),
        );
        assert!(!witness.excuses_refusal(ip(NODE), s(34)), "she had been heard");
    }

    #[test]
    fn a_missing_ack_excuses_a_bye_and_the_bye_excuses_the_next() {
        let mut witness = Witness::default();
        let bob = "10.0.1.2:5060";
        witness.sent(s(1), &message(bob, NODE, "SIP/2.0 200 OK", "a", "7 INVITE"));
        witness.arrived(s(4), &message(bob, NODE, "SIP/2.0 180 Ringing", "a", "7 INVITE"));
        witness.arrived(s(5), &message(bob, NODE, "SIP/2.0 200 OK", "a", "7 INVITE"));
        witness.sent(s(5), &message(NODE, ALICE, "SIP/2.0 200 OK", "z", "3 INVITE"));
        let ends = [ip(bob), ip(ALICE)];
        assert!(witness.has_passed_on(ip(NODE), ends, s(1)) && !witness.has_passed_on(ip(NODE), ends, s(2)));
        let bye = message(bob, NODE, "BYE sip:x SIP/2.0", "b", "1 BYE");
        witness.sent(s(33), &bye);
        witness.arrived(s(34), &bye);
        let next = message(NODE, ALICE, "BYE sip:x SIP/2.0", "c", "1 BYE");
        witness.sent(s(34), &next);
        witness.arrived(s(35), &next);
        assert!(witness.excuses_bye(ip(ALICE), s(35)));
        assert!(witness.has_come(ip(ALICE), "BYE", s(35)) && !witness.has_come(ip(ALICE), "BYE", s(36)));
        witness.arrived(s(20), &message(NODE, bob, "ACK sip:x SIP/2.0", "d", "7 ACK"));
        assert!(!witness.excuses_bye(ip(ALICE), s(35)), "the ACK had come");
    }
}
