use crate::syntax::{Malformed, malformed, number, parameter, split, trim, unquote};
use std::fmt;

/// One stream of the RTP-Info field (RFC 2326 §12.33): which packet the range that was asked for begins with, and so what
/// RTP timestamp its start has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RtpInfo {
    /// The stream's URL, as the server wrote it.
    pub url: String,
    /// The sequence number of the first packet.
    pub seq: Option<u16>,
    /// The timestamp that corresponds to the range's start.
    pub rtptime: Option<u32>,
}

impl RtpInfo {
    /// Reads all streams of a field. Elements are parted at commas that a `url=` follows, since URLs may hold commas; numbers
    /// that do not fit are taken as not given, for some servers write more bits than there are.
    pub fn parse_all(text: &str) -> Result<Vec<Self>, Malformed> {
        let mut elements: Vec<String> = Vec::new();
        for part in split(text, ',') {
            let begins = part.len() >= 4 && part.as_bytes()[..4].eq_ignore_ascii_case(b"url=");
            match elements.last_mut() {
                Some(last) if !begins => {
                    last.push(',');
                    last.push_str(part);
                }
                _ => elements.push(part.to_owned()),
            }
        }
        elements.iter().map(|element| Self::parse(element)).collect()
    }

    fn parse(text: &str) -> Result<Self, Malformed> {
        let mut info = RtpInfo {
            url: String::new(),
            seq: None,
            rtptime: None,
        };
        for part in split(text, ';') {
            let (name, value) = parameter(part);
            let value = value.unwrap_or_default();
            if name.eq_ignore_ascii_case("url") {
                info.url = trim(&unquote(value)).to_owned();
            } else if name.eq_ignore_ascii_case("seq") {
                info.seq = number(value, "a sequence number").ok();
            } else if name.eq_ignore_ascii_case("rtptime") {
                info.rtptime = number(value, "a timestamp").ok();
            }
        }
        if info.url.is_empty() {
            return malformed("url= and the stream's URL");
        }
        Ok(info)
    }
}

impl fmt::Display for RtpInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "url={}", self.url)?;
        if let Some(seq) = self.seq {
            write!(f, ";seq={seq}")?;
        }
        match self.rtptime {
            Some(rtptime) => write!(f, ";rtptime={rtptime}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rfcs_example_and_what_servers_send() {
        let infos = RtpInfo::parse_all(
            "url=rtsp://foo.com/bar.avi/streamid=0;seq=45102,url=rtsp://foo.com/a,b;seq=30211; rtptime=5",
        )
        .unwrap();
        assert_eq!(infos[0].url, "rtsp://foo.com/bar.avi/streamid=0");
        assert_eq!((infos[0].seq, infos[0].rtptime), (Some(45102), None));
        assert_eq!(infos[1].url, "rtsp://foo.com/a,b");
        assert_eq!((infos[1].seq, infos[1].rtptime), (Some(30211), Some(5)));
        assert_eq!(infos[1].to_string(), "url=rtsp://foo.com/a,b;seq=30211;rtptime=5");
        let odd = RtpInfo::parse_all("url=trackID=1;seq=70000;rtptime=4294967296").unwrap();
        assert_eq!(
            (odd[0].url.as_str(), odd[0].seq, odd[0].rtptime),
            ("trackID=1", None, None)
        );
        assert!(RtpInfo::parse_all("seq=1").is_err());
    }
}
