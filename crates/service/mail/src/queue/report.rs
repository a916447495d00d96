//! What a sender is told of a message that did not arrive, or takes long (RFC 3464 in the form of RFC 6522).

use ringpost_base::UnixTime;
use ringpost_smtp::{Notify, Rfc5322Date, utf8_address, utf8_address_in_ascii, xtext};
use ringpost_store::records::{Queued, QueuedRecipient};
use std::fmt::Write as _;

/// What is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It will not arrive.
    Failed,
    /// It is still being tried.
    Delayed,
    /// It has gone to a server that tells no more.
    Relayed,
    /// It is in the mailbox.
    Delivered,
}

impl Kind {
    /// Whether a recipient is told of in this report.
    pub(super) fn is_for(self, recipient: &QueuedRecipient) -> bool {
        let notify = Notify::from_bits(recipient.notify);
        match self {
            Kind::Failed => recipient.failed && notify.failure(),
            Kind::Delayed => !recipient.failed && !recipient.relayed && notify.delay(),
            Kind::Relayed => recipient.relayed,
            Kind::Delivered => !recipient.failed && notify.success(),
        }
    }
}

/// All that a report is made of.
pub(super) struct Report<'a> {
    pub(super) kind: Kind,
    /// Our name.
    pub(super) hostname: &'a str,
    /// The message it is about.
    pub(super) about: &'a Queued,
    /// Who is told.
    pub(super) told: &'a str,
    /// Those of its recipients that it is about.
    pub(super) recipients: Vec<&'a QueuedRecipient>,
    /// The message's header, or all of it.
    pub(super) returned: &'a [u8],
    pub(super) is_whole: bool,
    pub(super) now: UnixTime,
    /// Until when it is tried.
    pub(super) until: UnixTime,
    /// What no line of the header has: makes the boundary and the Message-ID.
    pub(super) token: &'a str,
}

/// What the report begins with; it stays here when the rest goes to another server.
pub(super) const RETURN_PATH: &str = "Return-Path: <>\r\n";

impl Report<'_> {
    /// The whole message.
    pub(super) fn build(&self) -> Vec<u8> {
        let (mut words, mut status) = (String::new(), String::new());
        self.words(&mut words);
        self.status(&mut status);
        // Addresses beyond ASCII have media types of their own.
        //= https://www.rfc-editor.org/rfc/rfc6533#section-4
        let is_global = self.about.utf8 || !status.is_ascii();
        let (status_type, returned_type) = match (is_global, self.is_whole) {
            (true, false) => ("message/global-delivery-status", "message/global-headers"),
            (true, true) => ("message/global-delivery-status", "message/global"),
            (false, false) => ("message/delivery-status", "text/rfc822-headers"),
            (false, true) => ("message/delivery-status", "message/rfc822"),
        };
        let (token, hostname) = (self.token, self.hostname);
        let subject = match self.kind {
            Kind::Failed => "Your message could not be delivered",
            Kind::Delayed => "Your message is delayed",
            Kind::Relayed => "Your message was handed on",
            Kind::Delivered => "Your message was delivered",
        };
        //= https://www.rfc-editor.org/rfc/rfc3464#section-2
        //= https://www.rfc-editor.org/rfc/rfc3834#section-5
        let head = format!(
            "{RETURN_PATH}From: Mail delivery <postmaster@{hostname}>\r\nTo: <{}>\r\nSubject: {subject}\r\n\
             Date: {}\r\nMessage-ID: <{token}@{hostname}>\r\nAuto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n\
             Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"{token}\"\r\n",
            self.told,
            Rfc5322Date(self.now),
        );
        let parts = [
            ("text/plain; charset=utf-8", words.as_bytes()),
            (status_type, status.as_bytes()),
            (returned_type, self.returned),
        ];
        //= https://www.rfc-editor.org/rfc/rfc3464#section-2.1
        let encoding_of = |content: &[u8]| if content.is_ascii() { "7bit" } else { "8bit" };
        let mut out = head.into_bytes();
        //= https://www.rfc-editor.org/rfc/rfc2045#section-6.4
        if parts.iter().any(|(_, content)| !content.is_ascii()) {
            out.extend_from_slice(b"Content-Transfer-Encoding: 8bit\r\n");
        }
        out.extend_from_slice(b"\r\n");
        for (kind, content) in parts {
            let encoding = encoding_of(content);
            let part =
                format!("--{token}\r\nContent-Type: {kind}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n");
            out.extend_from_slice(part.as_bytes());
            out.extend_from_slice(content);
        }
        if !self.returned.ends_with(b"\r\n") {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(format!("\r\n--{token}--\r\n").as_bytes());
        out
    }

    /// The part for people.
    fn words(&self, text: &mut String) {
        let until = Rfc5322Date(self.until);
        *text += &match self.kind {
            Kind::Failed => format!(
                "This is the mail server {}.\r\n\r\nYour message did not reach:\r\n",
                self.hostname
            ),
            Kind::Delayed => format!(
                "This is the mail server {}.\r\n\r\nYour message has not arrived yet. You need not send it again: it will be \
                 tried until\r\n{until}. It is for:\r\n",
                self.hostname
            ),
            Kind::Relayed => format!(
                "This is the mail server {}.\r\n\r\nYour message was taken by a server that will not tell you what becomes of it, \
                 for:\r\n",
                self.hostname
            ),
            Kind::Delivered => format!(
                "This is the mail server {}.\r\n\r\nYour message is in the mailbox of:\r\n",
                self.hostname
            ),
        };
        for recipient in &self.recipients {
            let address = &recipient.address;
            // A name of ours for several, or for somebody elsewhere, is all that the sender knows.
            let meant = original(recipient, true).filter(|(_, meant)| !meant.eq_ignore_ascii_case(address));
            let leads = meant.map(|(_, meant)| format!(" (which you wrote to as {meant})"));
            let leads = leads.unwrap_or_default();
            write!(text, "\r\n  {address}{leads}\r\n").expect("writing to a string does not fail");
            for line in folded(&recipient.text) {
                write!(text, "    {line}\r\n").expect("writing to a string does not fail");
            }
        }
        *text += match self.is_whole {
            true => "\r\nYour message is attached.\r\n\r\n",
            false => "\r\nThe header of your message is attached.\r\n\r\n",
        };
    }

    /// The part for programs.
    fn status(&self, text: &mut String) {
        let action = match self.kind {
            Kind::Failed => "failed",
            Kind::Delayed => "delayed",
            Kind::Relayed => "relayed",
            Kind::Delivered => "delivered",
        };
        let address_type = if self.about.utf8 { "utf-8" } else { "rfc822" };
        if let Some(id) = xtext(&self.about.envelope_id).filter(|id| !id.is_empty()) {
            //= https://www.rfc-editor.org/rfc/rfc3464#section-2.2.1
            *text += &format!("Original-Envelope-Id: {id}\r\n");
        }
        //= https://www.rfc-editor.org/rfc/rfc3464#section-2.2
        *text += &format!(
            "Reporting-MTA: dns; {}\r\nArrival-Date: {}\r\n",
            self.hostname,
            Rfc5322Date(self.about.received)
        );
        //= https://www.rfc-editor.org/rfc/rfc3464#section-2.3
        for recipient in &self.recipients {
            let QueuedRecipient {
                address,
                status,
                code,
                text: said,
                ..
            } = recipient;
            *text += "\r\n";
            if let Some((kind, address)) = original(recipient, self.about.utf8) {
                *text += &format!("Original-Recipient: {kind}; {address}\r\n");
            }
            *text += &format!(
                "Final-Recipient: {address_type}; {address}\r\nAction: {action}\r\nStatus: {status}\r\n"
            );
            let said = folded(said).join("\r\n ");
            *text += &match code {
                0 => format!("Diagnostic-Code: X-Ringpost; {said}\r\n"),
                code => format!("Diagnostic-Code: smtp; {code} {status} {said}\r\n"),
            };
            if self.about.attempts > 0 {
                *text += &format!("Last-Attempt-Date: {}\r\n", Rfc5322Date(self.about.attempted));
            }
            if self.kind == Kind::Delayed {
                *text += &format!("Will-Retry-Until: {}\r\n", Rfc5322Date(self.until));
            }
        }
        *text += "\r\n";
    }
}

/// The type of the address that the sender wrote, where it is known, and the address; beyond ASCII only where that may be.
//= https://www.rfc-editor.org/rfc/rfc3464#section-2.3.1
//= https://www.rfc-editor.org/rfc/rfc6533#section-3
fn original(recipient: &QueuedRecipient, utf8: bool) -> Option<(&str, String)> {
    let (kind, address) = recipient.original.split_once(';')?;
    let address = match (kind.eq_ignore_ascii_case("utf-8"), utf8) {
        (true, true) => utf8_address(address),
        (true, false) => utf8_address_in_ascii(address),
        (false, _) => xtext(address).unwrap_or_else(|| address.to_owned()),
    };
    Some((kind, address))
}

/// A text in lines that mail may have: words of others are cut where they are too long. What is not ASCII is left to
/// those who may have it.
fn folded(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let mut word: String = word.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect();
        word.truncate(200);
        let last = lines.last_mut().expect("there is one line at least");
        if !last.is_empty() && last.len() + word.len() > 70 {
            lines.push(word);
        } else {
            if !last.is_empty() {
                last.push(' ');
            }
            last.push_str(&word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use mail_parser::{MessageParser, MimeHeaders};

    #[test]
    fn a_report_is_one_that_another_parser_reads() {
        let about = Queued {
            sender: "alice@example.org".into(),
            received: UnixTime::from_secs(1_700_000_000),
            attempted: UnixTime::from_secs(1_700_000_100),
            attempts: 1,
            ..Queued::default()
        };
        let recipient = QueuedRecipient {
            address: "x@there.test".into(),
            failed: true,
            status: "5.1.1".into(),
            code: 550,
            text: "who is that ".repeat(20) + "ünknown",
            ..QueuedRecipient::default()
        };
        for kind in [Kind::Failed, Kind::Delayed] {
            let report = Report {
                kind,
                hostname: "mx.example.org",
                told: "alice@example.org",
                about: &about,
                recipients: vec![&recipient, &recipient],
                returned: b"Subject: lunch\r\nFrom: alice\r\n",
                is_whole: false,
                now: UnixTime::from_secs(1_700_000_200),
                until: UnixTime::from_secs(1_700_432_000),
                token: "token",
            };
            let bytes = report.build();
            let text = String::from_utf8(bytes.clone()).unwrap();
            assert!(text.lines().all(|line| line.len() <= 300), "{text}");
            assert_eq!(text.matches('\n').count(), text.matches("\r\n").count());
            let parsed = MessageParser::default().parse(&bytes).unwrap();
            let kind = parsed.content_type().unwrap();
            assert_eq!((kind.ctype(), kind.subtype()), ("multipart", Some("report")));
            assert_eq!(kind.attribute("report-type"), Some("delivery-status"));
            assert!(!text.contains("8bit"), "{text}");
            let types: Vec<String> = parsed.parts[1..]
                .iter()
                .filter_map(|part| part.content_type())
                .map(|kind| format!("{}/{}", kind.ctype(), kind.subtype().unwrap_or_default()))
                .collect();
            assert_eq!(
                types[..3],
                ["text/plain", "message/delivery-status", "text/rfc822-headers"]
            );
            assert!(text.contains("\r\n\r\nFinal-Recipient: rfc822; x@there.test\r\nAction: "));
            assert!(text.contains("Diagnostic-Code: smtp; 550 5.1.1 who is that who"));
            assert!(text.contains("\r\n\r\nSubject: lunch\r\nFrom: alice\r\n\r\n--token--"));
            assert_eq!(text.contains("Will-Retry-Until: "), report.kind == Kind::Delayed);
        }
    }

    // RFC 6533 §3: in a report of seven bits an address beyond ASCII is written in ASCII.
    #[test]
    fn an_original_recipient_beyond_ascii_is_told_as_the_report_can() {
        for (utf8, original, told) in [
            (true, r"utf-8;b\x{FC}@x.test", "utf-8; b\u{fc}@x.test"),
            (false, r"utf-8;b\x{FC}@x.test", r"utf-8; b\x{FC}@x.test"),
            (false, "utf-8;b\u{fc}@x.test", r"utf-8; b\x{FC}@x.test"),
            (false, "rfc822;a+2Bb@x.test", "rfc822; a+b@x.test"),
        ] {
            let recipient = QueuedRecipient {
                original: original.into(),
                ..QueuedRecipient::default()
            };
            let about = Queued {
                utf8,
                ..Queued::default()
            };
            let report = Report {
                kind: Kind::Failed,
                hostname: "mx.example.org",
                told: "a@b",
                about: &about,
                recipients: vec![&recipient],
                returned: b"",
                is_whole: false,
                now: UnixTime::from_secs(0),
                until: UnixTime::from_secs(0),
                token: "token",
            };
            let text = String::from_utf8(report.build()).unwrap();
            let line = format!("\r\nOriginal-Recipient: {told}\r\n");
            assert!(text.contains(&line), "{original}: {text}");
            // RFC 3464 §2.1: message/delivery-status is of seven bits.
            let status = text.split("--token\r\n").nth(2).unwrap();
            let (kind, encoding) = match status.is_ascii() {
                true => ("message/delivery-status", "7bit"),
                false => ("message/global-delivery-status", "8bit"),
            };
            let head = format!("Content-Type: {kind}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n");
            assert!(utf8 || status.starts_with(&head), "{status}");
            assert!(
                text.contains(&format!("Content-Transfer-Encoding: {encoding}\r\n")),
                "{text}"
            );
            // RFC 2045 §6.4: the whole is of no fewer bits than its parts.
            let (head, parts) = text.split_once("\r\n\r\n").unwrap();
            let is_8bit = |text: &str| text.contains("Content-Transfer-Encoding: 8bit\r\n");
            assert_eq!(is_8bit(&format!("{head}\r\n")), is_8bit(parts), "{text}");
        }
    }
}
