use super::params::{Params, check_params};
use crate::method::Method;
use crate::syntax::{Malformed, Scan, is_token, trim};
use crate::text::Text;
use std::fmt;

/// The sequence number and method of CSeq (RFC 3261 §20.16).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CSeq {
    /// The number, below 2^32; requests of ours stay below 2^31 (§8.1.1.5).
    pub number: u32,
    /// The method.
    pub method: Method,
}

impl CSeq {
    /// Reads a whole value.
    pub fn parse(text: &Text) -> Result<CSeq, Malformed> {
        let mut scan = Scan::new(text.as_str());
        scan.ws();
        let number = scan.number("a sequence number")?;
        if !scan.ws() {
            return scan.fail("whitespace before the method");
        }
        let from = scan.at();
        let name = scan.token("a method")?;
        let method = Method::known(name.as_bytes())
            .unwrap_or_else(|| Method::Other(text.slice(from..from + name.len())));
        scan.end()?;
        Ok(CSeq { number, method })
    }
}

impl fmt::Display for CSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number, self.method)
    }
}

/// What RAck names: the response and the request it came to (RFC 3262 §7.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RAck {
    /// The response's RSeq.
    pub rseq: u32,
    /// The CSeq of the request it answered.
    pub cseq: CSeq,
}

impl RAck {
    /// Reads a whole value.
    pub fn parse(text: &Text) -> Result<RAck, Malformed> {
        let mut scan = Scan::new(text.as_str());
        scan.ws();
        let rseq = scan.number("a response number")?;
        let rest = text.slice(scan.at()..text.len());
        let cseq = CSeq::parse(&rest).map_err(|e| Malformed {
            offset: e.offset + scan.at(),
            ..e
        })?;
        Ok(RAck { rseq, cseq })
    }
}

impl fmt::Display for RAck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.rseq, self.cseq)
    }
}

/// A token with parameters: Event, Subscription-State, Reason, Content-Disposition, Session-Expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenParams<'a> {
    /// The token; compare Event's by case, the others in any case.
    pub token: &'a str,
    /// What stands behind it.
    pub params: Params<'a>,
}

impl<'a> TokenParams<'a> {
    /// Reads a whole value.
    pub fn parse(text: &'a str) -> Result<TokenParams<'a>, Malformed> {
        let mut scan = Scan::new(text);
        scan.ws();
        let token = scan.token("a token")?;
        let params = params_to_end(&mut scan, text)?;
        Ok(TokenParams { token, params })
    }
}

fn params_to_end<'a>(scan: &mut Scan<'a>, text: &'a str) -> Result<Params<'a>, Malformed> {
    let from = scan.at();
    check_params(scan)?;
    let params = Params::new(&text[from..scan.at()]);
    scan.end()?;
    Ok(params)
}

/// A media type or range: Content-Type, and each element of Accept (RFC 3261 §20.1, §20.15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaType<'a> {
    /// The type; compare in any case.
    pub kind: &'a str,
    /// The subtype; compare in any case.
    pub subtype: &'a str,
    /// The parameters.
    pub params: Params<'a>,
}

impl<'a> MediaType<'a> {
    /// Reads a whole value.
    pub fn parse(text: &'a str) -> Result<MediaType<'a>, Malformed> {
        let mut scan = Scan::new(text);
        scan.ws();
        let kind = scan.token("a media type")?;
        scan.ws();
        scan.expect(b'/', "a slash")?;
        scan.ws();
        let subtype = scan.token("a media subtype")?;
        let params = params_to_end(&mut scan, text)?;
        Ok(MediaType {
            kind,
            subtype,
            params,
        })
    }

    /// Whether it is `kind/subtype`, in any case and with any parameters.
    pub fn is(&self, kind: &str, subtype: &str) -> bool {
        self.kind.eq_ignore_ascii_case(kind) && self.subtype.eq_ignore_ascii_case(subtype)
    }

    /// Whether this range covers `kind/subtype` (`*/*`, `audio/*`), q=0 excepted.
    pub fn covers(&self, kind: &str, subtype: &str) -> bool {
        let wanted = self.params.raw("q").and_then(super::address::q_value) != Some(0);
        wanted
            && (self.kind == "*" || self.kind.eq_ignore_ascii_case(kind))
            && (self.subtype == "*" || self.subtype.eq_ignore_ascii_case(subtype))
    }
}

/// Seconds with parameters and a comment: Retry-After, Session-Expires, Min-SE, Expires (RFC 3261 §20.33, RFC 4028 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delta<'a> {
    /// The number of seconds.
    pub seconds: u32,
    /// The parameters, such as `refresher` or `duration`.
    pub params: Params<'a>,
}

impl<'a> Delta<'a> {
    /// Reads a whole value.
    pub fn parse(text: &'a str) -> Result<Delta<'a>, Malformed> {
        let mut scan = Scan::new(text);
        scan.ws();
        let seconds = scan.number("a number of seconds")?;
        scan.ws();
        skip_comment(&mut scan)?;
        let params = params_to_end(&mut scan, text)?;
        Ok(Delta { seconds, params })
    }
}

/// `[ comment ]`; comments nest.
fn skip_comment(scan: &mut Scan<'_>) -> Result<(), Malformed> {
    if scan.peek() != Some(b'(') {
        return Ok(());
    }
    let (mut depth, mut escape) = (0u32, false);
    for (at, byte) in scan.rest().bytes().enumerate() {
        match byte {
            _ if escape => escape = false,
            b'\\' => escape = true,
            b'(' => depth += 1,
            b')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            scan.jump(scan.at() + at + 1);
            return Ok(());
        }
    }
    scan.fail("the end of a comment")
}

/// Call-ID: `word [ "@" word ]` (RFC 3261 §25.1); compared byte by byte.
pub(crate) fn check_call_id(text: &str) -> Result<(), Malformed> {
    let is_word = |b: u8| is_token(b) || b"()<>:\\\"/[]?{}".contains(&b);
    let mut scan = Scan::new(text);
    for (word, at) in trim(text).split('@').zip(0..) {
        if at > 1 || word.is_empty() || !word.bytes().all(is_word) {
            return scan.fail("a word, or two with @ between");
        }
        scan.jump(0);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cseq_takes_leading_zeros_and_folds_and_no_overlarge_number() {
        let cseq = CSeq::parse(&"0009\r\n  INVITE".into()).unwrap();
        assert_eq!((cseq.number, cseq.method), (9, Method::Invite));
        assert_eq!(
            CSeq::parse(&"4294967295 X%y".into()).unwrap().to_string(),
            "4294967295 X%y"
        );
        for bad in [
            "4294967296 ACK",
            "36893488147419103232 REGISTER",
            "-1 ACK",
            "1",
            "1ACK",
            "1 ACK x",
            "",
        ] {
            assert!(CSeq::parse(&bad.into()).is_err(), "{bad}");
        }
        let rack = RAck::parse(&"776656 1 INVITE".into()).unwrap();
        assert_eq!(
            (rack.rseq, rack.to_string().as_str()),
            (776656, "776656 1 INVITE")
        );
    }

    #[test]
    fn media_types_and_ranges_match() {
        let m = MediaType::parse("Application / SDP ;charset=utf-8").unwrap();
        assert!(m.is("application", "sdp") && m.covers("application", "sdp"));
        assert!(
            MediaType::parse("application/*")
                .unwrap()
                .covers("application", "sdp")
        );
        assert!(!MediaType::parse("*/*;q=0").unwrap().covers("application", "sdp"));
        assert!(MediaType::parse("application").is_err());
    }

    #[test]
    fn seconds_come_with_comments_and_parameters() {
        let d = Delta::parse("120 (I'm in a (long) meeting) ;duration=3600").unwrap();
        assert_eq!((d.seconds, d.params.raw("duration")), (120, Some("3600")));
        assert!(Delta::parse("949302838503028349304023988").is_err());
        assert!(Delta::parse("1 (x").is_err());
        let e = TokenParams::parse("active;expires=60").unwrap();
        assert_eq!((e.token, e.params.raw("expires")), ("active", Some("60")));
    }

    #[test]
    fn a_call_id_is_one_word_or_two() {
        assert!(check_call_id("intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{").is_ok());
        for bad in ["", "a@b@c", "@a", "a b", "a,b"] {
            assert!(check_call_id(bad).is_err(), "{bad}");
        }
    }
}
