//! How much a stranger's message looks like what nobody wants, as a sum of small signs.

use crate::block_list::{BlockList, Listed};
use crate::dkim::verify::{Checked, DkimResult};
use crate::dmarc::{Alignment, DmarcResult, Policy};
use crate::head::fields;
use crate::spf::SpfResult;
use std::fmt::Write;
use std::net::IpAddr;

/// What is known of who brings a message, before it comes.
#[derive(Clone, Debug)]
pub(crate) struct Known<'a> {
    pub(crate) address: IpAddr,
    pub(crate) helo: &'a str,
    /// Our own name.
    pub(crate) server: &'a str,
    pub(crate) reverse: Reverse,
    pub(crate) listed: &'a [BlockList],
}

/// What the DNS says of an address's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reverse {
    /// A name that leads back to it.
    Confirmed,
    /// A name that does not.
    Unconfirmed,
    /// None.
    Missing,
    /// That cannot be told.
    Unknown,
}

/// A sum of signs, each with its name, in tenths of a point.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Score {
    pub(crate) tenths: i32,
    pub(crate) signs: Vec<String>,
}

impl Score {
    fn add(&mut self, sign: impl Into<String>, tenths: i32) {
        self.tenths += tenths;
        self.signs.push(sign.into());
    }

    /// The fields that tell it, each with its CRLF, under the names by which programs that sort mail know them.
    pub(crate) fn fields(&self, junk_from: i32) -> String {
        let (yes, flag) = match self.tenths >= junk_from {
            true => ("Yes", "X-Spam-Flag: YES\r\n"),
            false => ("No", ""),
        };
        let mut out = format!(
            "{flag}X-Spam-Score: {}\r\nX-Spam-Status: {yes}, score={} required={}\r\n\ttests=",
            Points(self.tenths),
            Points(self.tenths),
            Points(junk_from)
        );
        if self.signs.is_empty() {
            out.push_str("none");
        }
        let mut line = 0;
        for (n, sign) in self.signs.iter().enumerate() {
            if n > 0 {
                out.push(',');
                line += 1;
            }
            if line + sign.len() > 60 {
                out.push_str("\r\n\t");
                line = 0;
            }
            let _ = write!(out, "{sign}");
            line += sign.len();
        }
        out.push_str("\r\n");
        out
    }
}

/// Tenths, written as points.
pub(crate) struct Points(pub(crate) i32);

impl std::fmt::Display for Points {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        write!(f, "{sign}{}.{}", self.0.abs() / 10, self.0.abs() % 10)
    }
}

/// Sums up all that was found out.
pub(crate) fn score(
    known: &Known<'_>,
    spf: SpfResult,
    dkim: &[Checked],
    dmarc: &Alignment,
    header: &[u8],
) -> Score {
    let mut score = Score::default();
    for list in known.listed {
        if let Listed::Score(tenths) = list.listed {
            score.add(format!("DNSBL({})", list.zone), tenths);
        }
    }
    match known.reverse {
        Reverse::Missing => score.add("RDNS_NONE", 15),
        Reverse::Unconfirmed => score.add("RDNS_UNCONFIRMED", 7),
        Reverse::Confirmed | Reverse::Unknown => {}
    }
    helo(known, &mut score);
    match spf {
        SpfResult::Pass => score.add("SPF_PASS", -2),
        SpfResult::Fail => score.add("SPF_FAIL", 25),
        SpfResult::SoftFail => score.add("SPF_SOFTFAIL", 12),
        SpfResult::None => score.add("SPF_NONE", 3),
        _ => {}
    }
    if dkim.iter().any(|one| one.result == DkimResult::Pass) {
        score.add("DKIM_VALID", -5);
    } else if dkim.iter().any(|one| one.result == DkimResult::Fail) {
        score.add("DKIM_INVALID", 5);
    }
    match dmarc.result {
        DmarcResult::Pass => score.add("DMARC_PASS", -5),
        // A domain that only watches wants nothing done.
        DmarcResult::Fail if dmarc.policy == Policy::None => score.add("DMARC_FAIL", 5),
        DmarcResult::Fail => score.add("DMARC_FAIL", 20),
        DmarcResult::PermError => score.add("FROM_UNREADABLE", 15),
        DmarcResult::None | DmarcResult::TempError => {}
    }
    let all = fields(header);
    let count = |name: &str| all.iter().filter(|field| field.is(name)).count();
    //= https://www.rfc-editor.org/rfc/rfc5322#section-3.6
    for (name, missing, several) in [
        ("Date", "DATE_MISSING", "DATE_TWICE"),
        ("Message-ID", "MSGID_MISSING", "MSGID_TWICE"),
        ("Subject", "SUBJECT_MISSING", "SUBJECT_TWICE"),
    ] {
        match count(name) {
            0 => score.add(missing, 8),
            1 => {}
            _ => score.add(several, 10),
        }
    }
    score
}

/// What it calls itself: nobody else is called as we are, and a server has a name of more than one label.
//= https://www.rfc-editor.org/rfc/rfc5321#section-4.1.4
fn helo(known: &Known<'_>, score: &mut Score) {
    let name = known.helo.trim_end_matches('.');
    let literal = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    let literal = literal.map(|name| name.trim_start_matches("IPv6:"));
    if name.eq_ignore_ascii_case(known.server) {
        score.add("HELO_IS_US", 30);
    } else if name.parse::<IpAddr>().is_ok() {
        score.add("HELO_BARE_IP", 20);
    } else if let Some(literal) = literal {
        let is_its_own = literal
            .parse::<IpAddr>()
            .is_ok_and(|ip| ip.to_canonical() == known.address.to_canonical());
        match is_its_own {
            true => score.add("HELO_LITERAL", 8),
            false => score.add("HELO_FORGED_LITERAL", 20),
        }
    } else if !name.contains('.') {
        score.add("HELO_NO_DOMAIN", 10);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &[u8] = b"Date: x\r\nMessage-ID: <x@y>\r\nSubject: z\r\n";

    fn known(helo: &'static str, reverse: Reverse) -> Known<'static> {
        Known {
            address: "192.0.2.1".parse().unwrap(),
            helo,
            server: "mx.example.org",
            reverse,
            listed: &[],
        }
    }

    fn dmarc(result: DmarcResult) -> Alignment {
        Alignment {
            result,
            policy: Policy::None,
            is_aligned: result == DmarcResult::Pass,
        }
    }

    #[test]
    fn good_mail_has_no_points_and_bad_signs_add_up() {
        let good = known("mail.example.com", Reverse::Confirmed);
        let sum = score(&good, SpfResult::Pass, &[], &dmarc(DmarcResult::Pass), GOOD);
        assert_eq!(
            (sum.tenths, sum.signs),
            (-7, vec!["SPF_PASS".into(), "DMARC_PASS".into()])
        );
        let bad = known("MX.example.org", Reverse::Missing);
        let sum = score(
            &bad,
            SpfResult::Fail,
            &[],
            &dmarc(DmarcResult::None),
            b"Subject: a\r\nSubject: b\r\n",
        );
        assert_eq!(sum.tenths, 15 + 30 + 25 + 8 + 8 + 10);
        assert_eq!(
            sum.signs,
            [
                "RDNS_NONE",
                "HELO_IS_US",
                "SPF_FAIL",
                "DATE_MISSING",
                "MSGID_MISSING",
                "SUBJECT_TWICE"
            ]
        );
        for (helo, tenths) in [
            ("192.0.2.1", 20),
            ("[192.0.2.1]", 8),
            ("[192.0.2.2]", 20),
            ("[IPv6:2001:db8::1]", 20),
            ("DESKTOP-1", 10),
            ("mail.example.com.", 0),
        ] {
            let sum = score(
                &known(helo, Reverse::Unknown),
                SpfResult::Neutral,
                &[],
                &dmarc(DmarcResult::None),
                GOOD,
            );
            assert_eq!(sum.tenths, tenths, "{helo}");
        }
    }

    #[test]
    fn a_list_adds_what_it_is_worth_and_the_fields_say_so() {
        let lists = [
            ("a.test", Listed::Score(40)),
            ("b.test", Listed::Score(15)),
            ("c.test", Listed::Refuse),
        ]
        .map(|(zone, listed)| BlockList {
            zone: zone.into(),
            listed,
        });
        let known = Known {
            listed: &lists,
            ..known("mail.example.com", Reverse::Confirmed)
        };
        let sum = score(&known, SpfResult::Neutral, &[], &dmarc(DmarcResult::None), GOOD);
        assert_eq!(
            sum.fields(50),
            "X-Spam-Flag: YES\r\nX-Spam-Score: 5.5\r\nX-Spam-Status: Yes, score=5.5 required=5.0\r\n\t\
             tests=DNSBL(a.test),DNSBL(b.test)\r\n"
        );
        let none = Score {
            tenths: -3,
            signs: Vec::new(),
        };
        let fields = "X-Spam-Score: -0.3\r\nX-Spam-Status: No, score=-0.3 required=5.0\r\n\ttests=none\r\n";
        assert_eq!(none.fields(50), fields);
    }
}
