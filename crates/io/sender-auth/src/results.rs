//! The Authentication-Results field (RFC 8601): ours is written, those that others wrote in our name are taken out.

use crate::dkim::verify::Checked;
use crate::dmarc::Alignment;
use crate::spf::SpfResult;
use std::fmt::Write;

/// What was found out about a message's sender.
pub(crate) struct Found<'a> {
    pub(crate) spf: SpfResult,
    /// The sender's local part and domain; what the client called itself where the sender is null.
    pub(crate) sender: Option<(&'a str, &'a str)>,
    pub(crate) helo: &'a str,
    pub(crate) dkim: &'a [Checked],
    pub(crate) dmarc: &'a Alignment,
    pub(crate) author: Option<&'a str>,
}

/// The field with its CRLF, folded.
//= https://www.rfc-editor.org/rfc/rfc8601#section-2.2
pub(crate) fn field(server: &str, found: &Found<'_>) -> String {
    let mut out = format!(
        "Authentication-Results: {};\r\n\tspf={} ",
        plain(server),
        found.spf
    );
    let _ = match found.sender {
        Some((_, domain)) => write!(out, "smtp.mailfrom={}", plain(domain)),
        None => write!(out, "smtp.helo={}", plain(found.helo)),
    };
    if found.dkim.is_empty() {
        out.push_str(";\r\n\tdkim=none");
    }
    for one in found.dkim {
        let _ = write!(out, ";\r\n\tdkim={}", one.result);
        if !one.why.is_empty() {
            let _ = write!(out, " ({})", one.why);
        }
        for (property, value) in [
            ("header.d", &*one.domain),
            ("header.s", &one.selector),
            ("header.a", one.algorithm),
        ] {
            if !value.is_empty() {
                let _ = write!(out, " {property}={}", plain(value));
            }
        }
        //= https://www.rfc-editor.org/rfc/rfc8601#section-2.7.1
        if !one.prefix.is_empty() {
            let _ = write!(out, " header.b=\"{}\"", one.prefix);
        }
    }
    let _ = write!(out, ";\r\n\tdmarc={}", found.dmarc.result);
    if let Some(author) = found.author {
        let _ = write!(out, " (p={}) header.from={}", found.dmarc.policy, plain(author));
    }
    out.push_str("\r\n");
    out
}

/// A name as a value may hold it, quoted where it is more than letters, digits and a few marks.
fn plain(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let short: String = name.chars().take(253).collect();
    match !short.is_empty() && short.chars().all(is_plain) {
        true => short,
        false => {
            let safe = short.chars().map(|c| {
                if is_plain(c) || matches!(c, '[' | ']' | ':' | '@' | '+') {
                    c
                } else {
                    '?'
                }
            });
            format!("\"{}\"", safe.collect::<String>())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dkim::verify::DkimResult;
    use crate::dmarc::{DmarcResult, Policy};

    #[test]
    fn the_field_says_what_was_found_and_lets_nobody_write_into_it() {
        let dkim = Checked {
            result: DkimResult::Fail,
            why: "the body was changed",
            domain: "example.org".to_owned(),
            selector: "sel".to_owned(),
            algorithm: "rsa-sha256",
            prefix: "AbC/+123".to_owned(),
        };
        let dmarc = Alignment {
            result: DmarcResult::Fail,
            policy: Policy::Quarantine,
            is_aligned: false,
        };
        let found = Found {
            spf: SpfResult::Pass,
            sender: Some(("x", "a.test;\r\n dkim=pass")),
            helo: "helo.test",
            dkim: &[dkim],
            dmarc: &dmarc,
            author: Some("example.org"),
        };
        assert_eq!(
            field("mx.test", &found),
            "Authentication-Results: mx.test;\r\n\tspf=pass smtp.mailfrom=\"a.test????dkim?pass\";\r\n\
             \tdkim=fail (the body was changed) header.d=example.org header.s=sel header.a=rsa-sha256 \
             header.b=\"AbC/+123\";\r\n\tdmarc=fail (p=quarantine) header.from=example.org\r\n"
        );
    }
}
