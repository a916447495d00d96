//! The trace header that a server puts before a message (RFC 5321 §4.4, RFC 3848).

use crate::path::{Domain, ForwardPath, ReversePath};
use ringpost_base::{UnixTime, calendar};
use std::fmt;
use std::net::IpAddr;

/// What a Received line tells. Its `Display` is the whole field with its CRLF, folded.
#[derive(Clone, Debug)]
pub struct Received<'a> {
    /// What the client called itself.
    pub helo: &'a str,
    /// Where it connected from.
    pub remote: IpAddr,
    /// Our name.
    pub by: &'a str,
    /// How it came.
    pub protocol: Protocol,
    /// Our name for the message: letters, digits and hyphens.
    pub id: &'a str,
    /// The recipient, when there is only one: with several it would tell each about the others.
    pub recipient: Option<&'a ForwardPath>,
    /// When it came.
    pub at: UnixTime,
}

/// The `with` clause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Protocol {
    /// EHLO rather than HELO.
    pub extended: bool,
    /// LMTP.
    pub local: bool,
    /// Under TLS.
    pub tls: bool,
    /// Authenticated.
    pub authenticated: bool,
    /// MAIL said SMTPUTF8.
    pub utf8: bool,
}

//= https://www.rfc-editor.org/rfc/rfc3848#section-3
//= https://www.rfc-editor.org/rfc/rfc6531#section-4.3
impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.utf8, self.extended) {
            (true, _) if self.local => f.write_str("UTF8LMTP")?,
            (false, _) if self.local => f.write_str("LMTP")?,
            (true, _) => f.write_str("UTF8SMTP")?,
            (false, true) => f.write_str("ESMTP")?,
            (false, false) => return f.write_str("SMTP"),
        }
        if self.tls {
            f.write_str("S")?;
        }
        if self.authenticated {
            f.write_str("A")?;
        }
        Ok(())
    }
}

impl fmt::Display for Received<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let remote = match self.remote {
            IpAddr::V4(ip) => Domain::V4(ip),
            IpAddr::V6(ip) => ip.to_ipv4_mapped().map_or(Domain::V6(ip), Domain::V4),
        };
        // A name that is no domain stands in a comment's place nowhere: the address says it better. So does it where the name
        // is not ASCII and the message may not hold such a header.
        match Domain::parse(self.helo) {
            Ok(Domain::Name(_)) if self.helo.is_ascii() || self.protocol.utf8 => {
                write!(f, "Received: from {} ({remote})\r\n", self.helo)?
            }
            _ => write!(f, "Received: from {remote}\r\n")?,
        }
        write!(f, "\tby {} with {} id {}", self.by, self.protocol, self.id)?;
        if let Some(recipient) = self.recipient {
            write!(f, "\r\n\tfor {recipient}")?;
        }
        write!(f, ";\r\n\t{}\r\n", Rfc5322Date(self.at))
    }
}

/// The Return-Path line of a final delivery, with its CRLF.
#[derive(Clone, Copy, Debug)]
pub struct ReturnPath<'a>(pub &'a ReversePath);

impl fmt::Display for ReturnPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Return-Path: {}\r\n", self.0)
    }
}

/// A calendar time as mail writes it, in UTC (RFC 5322 §3.3).
#[derive(Clone, Copy, Debug)]
pub struct Rfc5322Date(pub UnixTime);

impl fmt::Display for Rfc5322Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day, hour, minute, second) = self.0.civil();
        let (weekday, month) = (calendar::weekday_name(self.0), calendar::month_name(month));
        write!(
            f,
            "{weekday}, {day} {month} {year} {hour:02}:{minute:02}:{second:02} +0000"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::Mailbox;

    #[test]
    fn a_received_line_names_both_ends_how_and_when() {
        let to = ForwardPath::Mailbox(Mailbox::parse("bob@example.com").unwrap());
        let mut received = Received {
            helo: "mail.example.org",
            remote: "192.0.2.7".parse().unwrap(),
            by: "mx.example.com",
            protocol: Protocol {
                extended: true,
                tls: true,
                ..Protocol::default()
            },
            id: "abc123",
            recipient: Some(&to),
            at: UnixTime::from_secs(1_000_000_000),
        };
        assert_eq!(
            received.to_string(),
            "Received: from mail.example.org ([192.0.2.7])\r\n\tby mx.example.com with ESMTPS id abc123\r\n\
             \tfor <bob@example.com>;\r\n\tSun, 9 Sep 2001 01:46:40 +0000\r\n"
        );
        received.helo = "müller.example";
        assert!(received.to_string().starts_with("Received: from [192.0.2.7]\r\n"));
        received.protocol.utf8 = true;
        let named = "Received: from müller.example ([192.0.2.7])\r\n";
        assert!(received.to_string().starts_with(named));
        received.helo = "[10.0.0.1]";
        received.recipient = None;
        received.remote = "::ffff:192.0.2.7".parse().unwrap();
        assert!(
            received
                .to_string()
                .starts_with("Received: from [192.0.2.7]\r\n\tby mx.example.com with")
        );
        assert!(received.to_string().contains("id abc123;\r\n\tSun"));
    }

    #[test]
    fn the_protocol_is_named_as_registered() {
        let p = |extended, tls, authenticated, utf8| {
            Protocol {
                extended,
                local: false,
                tls,
                authenticated,
                utf8,
            }
            .to_string()
        };
        let lmtp = |utf8| Protocol {
            extended: true,
            local: true,
            utf8,
            ..Protocol::default()
        };
        assert_eq!(lmtp(false).to_string(), "LMTP");
        assert_eq!(lmtp(true).to_string(), "UTF8LMTP");
        assert_eq!(p(false, false, false, false), "SMTP");
        assert_eq!(p(true, false, false, false), "ESMTP");
        assert_eq!(p(true, true, true, false), "ESMTPSA");
        assert_eq!(p(true, true, true, true), "UTF8SMTPSA");
    }
}
