//! Command lines of SMTP, as smtp-proto reads them: a parser that others wrote.

use ringpost_base::ascii_domain;
use ringpost_fuzz::{Runner, Settings, Target};
use ringpost_smtp::Domain;
use ringpost_smtp::fuzz::understood;
use smtp_proto::{
    MAIL_BODY_8BITMIME, MAIL_BODY_BINARYMIME, MAIL_RET_FULL, MAIL_RET_HDRS, MAIL_SMTPUTF8, Request,
};
use std::borrow::Cow;
use std::path::Path;

/// What both take is to mean the same. What one of them alone takes must be in one of the lists below.
fn compare(data: &[u8]) {
    for line in data.split(|b| *b == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        // Neither is ever given another.
        let Ok(text) = std::str::from_utf8(line) else {
            continue;
        };
        if line.contains(&b'\r') {
            continue;
        }
        let whole = [line, b"\r\n"].concat();
        let theirs = Request::parse(&mut whole.iter());
        let (ours, theirs) = (understood(text), theirs.ok());
        match (ours, theirs) {
            (Some(ours), Some(theirs)) => {
                let theirs = described(&theirs);
                assert!(
                    ours == theirs || is_read_otherwise(text),
                    "{text:?}: {ours:?}, and not {theirs:?}"
                );
            }
            (Some(ours), None) => assert!(they_know_less(text), "{text:?}: {ours:?}, and they refuse it"),
            (None, Some(theirs)) => assert!(
                they_take_more(text, &theirs),
                "{text:?}: refused, and not {theirs:?}"
            ),
            (None, None) => {}
        }
    }
}

/// Their reading in the words of [`understood`].
fn described(request: &Request<Cow<'_, str>>) -> String {
    match request {
        Request::Helo { host } => format!("HELO {host}"),
        Request::Ehlo { host } => format!("EHLO {host}"),
        Request::Lhlo { host } => format!("LHLO {host}"),
        Request::Mail { from } => {
            let has = |flag| from.flags & flag != 0;
            let body = if has(MAIL_BODY_8BITMIME) {
                "8BITMIME"
            } else {
                "7BIT"
            };
            let ret = match (has(MAIL_RET_FULL), has(MAIL_RET_HDRS)) {
                (true, _) => "FULL",
                (_, true) => "HDRS",
                _ => "",
            };
            format!(
                "MAIL {} {} {body} {} {ret} {}",
                address(&from.address),
                from.size,
                has(MAIL_SMTPUTF8),
                from.env_id.as_deref().unwrap_or_default()
            )
        }
        Request::Rcpt { to } => {
            let notify = to.flags & 15;
            format!(
                "RCPT {} {notify} {}",
                address(&to.address),
                to.orcpt.as_deref().unwrap_or_default()
            )
        }
        Request::Bdat { chunk_size, is_last } => format!("BDAT {chunk_size} {is_last}"),
        Request::Auth { initial_response, .. } => format!("AUTH {initial_response}"),
        other => other.name().to_owned(),
    }
}

/// An address with its domain in one spelling.
fn address(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((local, domain)) => match Domain::parse(domain) {
            Ok(domain) => format!("{local}@{domain}"),
            Err(_) => text.to_owned(),
        },
        None => text.to_owned(),
    }
}

/// The verb in capitals, and what stands behind it.
fn split(line: &str) -> (String, &str) {
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    (verb.trim_end().to_ascii_uppercase(), rest)
}

/// What we take and they do not.
fn they_know_less(line: &str) -> bool {
    let (verb, rest) = split(line);
    let upper = rest.to_ascii_uppercase();
    match &*verb {
        "MAIL" | "RCPT" => {
            // They have no address literals (RFC 5321 §4.1.3), no more than 256 bytes of an address, whose quoted parts hold
            // no control characters beyond ASCII either, and no type of ORCPT but one (RFC 3461 §4.2, RFC 6533 §3).
            rest.contains('[')
                || rest.len() > 256
                || rest.contains('"')
                || upper.contains("ORCPT=") && !upper.contains("ORCPT=RFC822;")
                // Empty values, which xtext allows; numbers beyond what a machine counts.
                || upper.contains("ENVID=") || upper.contains("ORCPT=") || upper.contains("AUTH=")
                || upper.contains("SIZE=") && rest.len() > 30
        }
        // A mechanism that they do not know is ours to refuse with 504; arguments of more than 256 bytes.
        "AUTH" => true,
        "VRFY" | "EXPN" | "NOOP" | "HELP" => rest.len() > 250 || rest.contains('"') || rest.trim().is_empty(),
        _ => false,
    }
}

/// What they take and we do not.
fn they_take_more(line: &str, theirs: &Request<Cow<'_, str>>) -> bool {
    let (_, rest) = split(line);
    // They stop reading at what no line may hold, and take any white space, any number of times, where one space is due.
    if line.chars().any(char::is_control)
        || line.starts_with(' ')
        || line.contains("  ")
        || line.trim_end() != line
    {
        return true;
    }
    match theirs {
        // An argument where none may be (RFC 5321 §4.1.1, RFC 3207 §4).
        Request::Data | Request::Rset | Request::Quit | Request::StartTls => !rest.is_empty(),
        // What stands behind a name, and names that no trace line should hold.
        Request::Helo { host } | Request::Ehlo { host } | Request::Lhlo { host } => {
            rest.contains(' ') || !host.chars().all(|c| c.is_alphanumeric() || "-._:[]".contains(c))
        }
        // Not announced.
        Request::Etrn { .. } | Request::Atrn { .. } | Request::Burl { .. } => true,
        Request::Mail { from } => {
            from.flags & MAIL_BODY_BINARYMIME != 0
                || !is_plain(&from.address)
                || !has_plain_parameters(rest, &from.address)
        }
        Request::Rcpt { to } => {
            !is_plain(&to.address) || to.address.is_empty() || !has_plain_parameters(rest, &to.address)
        }
        // They read words as far as those are letters and digits, and numbers of any length.
        Request::Bdat { .. } => !is_chunk(rest),
        Request::Auth { .. } => rest.split(' ').count() > 2 || rest.ends_with(' '),
        _ => false,
    }
}

/// A number that a chunk may have, and LAST or nothing.
fn is_chunk(rest: &str) -> bool {
    let (size, last) = rest.split_once(' ').unwrap_or((rest, "LAST"));
    (1..=18).contains(&size.len())
        && size.bytes().all(|b| b.is_ascii_digit())
        && last.eq_ignore_ascii_case("LAST")
}

/// An address of letters, digits and hyphens with dots between: whoever takes more may differ from us.
fn is_plain(address: &str) -> bool {
    let atoms = |text: &str, more: &str| {
        text.split('.').all(|atom| {
            let is_letter = |c: char| c.is_ascii_alphanumeric() || more.contains(c);
            (1..=63).contains(&atom.len())
                && atom.chars().all(is_letter)
                && !atom.starts_with('-')
                && !atom.ends_with('-')
        })
    };
    match address.rsplit_once('@') {
        Some((local, domain)) => {
            atoms(local, "+_") && local.len() <= 64 && ascii_domain(domain).is_some() && atoms(domain, "-")
        }
        None => address.is_empty(),
    }
}

/// Parameters that we announce, each once and with such a value as its extension wants.
fn has_plain_parameters(rest: &str, address: &str) -> bool {
    let Some((path, parameters)) = rest.split_once('>') else {
        return false;
    };
    // They take quotes, routes and white space out of a path, wherever these stand.
    if path.split_once('<').is_none_or(|(_, inner)| inner != address) {
        return false;
    }
    let word = path.find(':').map(|at| &path[..=at]).unwrap_or_default();
    let is_word = word.eq_ignore_ascii_case("FROM:") || word.eq_ignore_ascii_case("TO:");
    let mut names = Vec::new();
    let all = parameters
        .strip_prefix(' ')
        .map(|p| p.split(' ').collect::<Vec<_>>());
    let good = |parameter: &str| {
        let upper = parameter.to_ascii_uppercase();
        [
            "SMTPUTF8",
            "BODY=7BIT",
            "BODY=8BITMIME",
            "RET=FULL",
            "RET=HDRS",
            "NOTIFY=NEVER",
            "NOTIFY=DELAY",
            "NOTIFY=SUCCESS,FAILURE",
        ]
        .contains(&&*upper)
            || upper
                .strip_prefix("SIZE=")
                .is_some_and(|size| (1..=9).contains(&size.len()))
            || upper
                .strip_prefix("ENVID=")
                .is_some_and(|id| id.chars().all(|c| c.is_ascii_alphanumeric()))
    };
    for parameter in all.iter().flatten() {
        let name = parameter
            .split('=')
            .next()
            .unwrap_or_default()
            .to_ascii_uppercase();
        if names.contains(&name) || !good(parameter) {
            return false;
        }
        names.push(name);
    }
    is_word && (parameters.is_empty() || all.is_some())
}

/// What both take, and they read in another way.
fn is_read_otherwise(line: &str) -> bool {
    // White space at a line's end is to be passed over (RFC 5321 §4.1.1): they make it part of the last value.
    if line.trim_end() != line || line.contains("  ") {
        return true;
    }
    let (verb, rest) = split(line);
    match &*verb {
        // They take quotes out of more than a local part, let a route's rest stand, and decode ORCPT's address to bytes.
        "MAIL" | "RCPT" => !is_simple(rest),
        // They read the words of AUTH as one.
        "AUTH" => true,
        _ => false,
    }
}

/// A path without quotes or a route, and parameters without escapes.
fn is_simple(rest: &str) -> bool {
    let Some((path, parameters)) = rest.split_once('>') else {
        return false;
    };
    !path.contains(['"', '\\', ',']) && path.matches('@').count() <= 1 && !parameters.contains('+')
}

const SEEDS: &[&str] = &[
    "EHLO mail.example.org\nHELO [192.0.2.1]\nLHLO a",
    "MAIL FROM:<alice@example.org> SIZE=1000 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=QQ123",
    "MAIL FROM:<> RET=FULL AUTH=<>\nMAIL FROM: <a.b+c@x.example>",
    "MAIL FROM:<@one.example,@two.example:user@three.example>",
    "RCPT TO:<\"a \\\"quoted\\\" name\"@example.org> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+2Bb@c",
    "RCPT TO:<Postmaster> NOTIFY=NEVER\nRCPT TO:<joerg@[IPv6:2001:db8::1]>",
    "RCPT TO:<j\u{f6}rg@b\u{fc}cher.example>\nrcpt to:<a@b>",
    "DATA\nBDAT 1000 LAST\nBDAT 0\nRSET\nNOOP x\nQUIT\nSTARTTLS",
    "VRFY alice\nEXPN list\nHELP MAIL\nAUTH PLAIN AGEAYg==\nAUTH LOGIN",
];

#[test]
fn smtp_proto_understands_command_lines_as_we_do() {
    let seeds: Vec<Vec<u8>> = SEEDS.iter().map(|seed| seed.as_bytes().to_vec()).collect();
    let target = Target {
        name: "smtp-commands",
        run: compare,
        dictionary: &[
            b"MAIL FROM:<",
            b"RCPT TO:<",
            b"a@b",
            b">",
            b" SIZE=",
            b" BODY=8BITMIME",
            b" NOTIFY=NEVER",
            b" ORCPT=rfc822;",
            b" RET=HDRS",
            b" ENVID=",
            b" SMTPUTF8",
            b"BDAT ",
            b" LAST",
            b"EHLO ",
            b"\"",
            b"\\",
            b"[127.0.0.1]",
            b"\n",
        ],
    };
    let failures = Path::new(env!("CARGO_MANIFEST_DIR")).join("failures");
    let runner = Runner::new(Settings::from_environment(), failures, || 0);
    if let Err(failure) = runner.run(&target, &seeds) {
        panic!("{}: {}", failure.input.display(), failure.reason);
    }
    // And those that it starts from are read alike, without any list.
    for line in [
        "MAIL FROM:<alice@example.org> SIZE=1000 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=QQ123",
        "MAIL FROM:<>",
        "RCPT TO:<a@b> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;x@y",
        "RCPT TO:<Postmaster>",
        "BDAT 1000 LAST",
        "BDAT 0",
        "EHLO x",
        "DATA",
        "QUIT",
        "RSET",
    ] {
        let whole = format!("{line}\r\n");
        let theirs = Request::parse(&mut whole.as_bytes().iter()).expect("they take it");
        assert_eq!(understood(line), Some(described(&theirs)), "{line}");
    }
}
