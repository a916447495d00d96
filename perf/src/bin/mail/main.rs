//! What mail costs, beside Postfix delivering to Dovecot by LMTP.
//!
//! `mail [PART]…` runs the parts that are named, or all:
//!
//! - `deliveries`: durable deliveries a second by smtp-source, a connection for each: 16 and 64 senders with a recipient
//!   each, and 64 with one; the CPU time of 1,000, and the syncs of one, counted by strace in a run of its own;
//! - `append`: APPENDs a second of 8 connections to one mailbox;
//! - `mailbox`: SELECT, FETCH, SEARCH and STORE over 10,000 messages, on a server that has just been started and read nothing
//!   from its disk yet, and again; ours also over 100,000;
//! - `idle`: how the server's memory (PSS) grows by a session that idles, plain and under TLS;
//! - `exists`: from the 250 of a delivery to the EXISTS of a session that idles.
//!
//! Both sides run at once, and work in turn (A B A B …); medians of the rounds are printed, and go to `perf/RESULTS.md`.
//! `RINGPOST_PERF_ROUNDS` sets the rounds (3). Messages have 4 KiB. Ours is the `ringpost` of the same build, or the one that
//! `RINGPOST_BIN` names.

mod deliveries;
mod mailbox;
mod waiting;

use ringpost_perf::mail::{Peer, Ringpost, Setup};
use ringpost_perf::server::allow_files;
use ringpost_perf::{Child, Result, record};
use std::fs::File;
use std::io::Write as _;
use std::time::{Duration, Instant};

/// What measures something in so many rounds, and tells it.
type Part = fn(usize) -> Result<String>;

/// Octets of a message.
const MESSAGE_BYTES: usize = 4_096;
/// Users of both sides.
const USERS: usize = 100;

fn main() -> Result<()> {
    let parts: Vec<String> = std::env::args().skip(1).collect();
    for program in ["dovecot", "postfix", "smtp-source", "strace"] {
        if !Child::is_installed(program) {
            return Err(format!(
                "{program} is not installed (Debian: dovecot-imapd, dovecot-lmtpd, postfix, strace)"
            )
            .into());
        }
    }
    allow_files(8_192)?;
    let rounds = match std::env::var("RINGPOST_PERF_ROUNDS") {
        Ok(rounds) => rounds.parse()?,
        Err(_) => 3,
    };
    let all: [(&str, Part); 5] = [
        ("deliveries", deliveries::compare),
        ("append", mailbox::append),
        ("mailbox", mailbox::compare),
        ("idle", waiting::idle),
        ("exists", waiting::exists),
    ];
    if let Some(unknown) = parts
        .iter()
        .find(|part| !all.iter().any(|(name, _)| name == part))
    {
        return Err(format!("{unknown} is no part: deliveries, append, mailbox, idle, exists").into());
    }
    let cores = std::thread::available_parallelism()?;
    for (name, part) in all {
        if parts.is_empty() || parts.iter().any(|wanted| wanted == name) {
            let head = format!(
                "{cores} cores, {rounds} rounds; the disk alone: {:.0} syncs/s.",
                disk()?
            );
            println!("{name}: {head}");
            let report = part(rounds)?;
            record(
                &format!("Mail beside Postfix with Dovecot: {name}"),
                &format!("{head}\n\n{report}"),
            )?;
        }
    }
    Ok(())
}

/// Both sides, started with empty mailboxes.
fn both(postfix: bool) -> Result<(Ringpost, Peer)> {
    let setup = Setup {
        users: USERS,
        postfix,
        syncs: None,
    };
    let peer = Peer::start(setup)?;
    let ours = Ringpost::start(setup, &peer.certificate())?;
    Ok((ours, peer))
}

/// Syncs that the disk does in a second, one after the other.
fn disk() -> Result<f64> {
    let mut file: File = tempfile::tempfile()?;
    let (began, mut count) = (Instant::now(), 0.0);
    while began.elapsed() < Duration::from_secs(1) {
        file.write_all(&[0; MESSAGE_BYTES])?;
        file.sync_data()?;
        count += 1.0;
    }
    Ok(count / began.elapsed().as_secs_f64())
}

/// A message of [`MESSAGE_BYTES`] with a subject and words of its own; `n` tells it from others.
fn message(n: usize) -> Vec<u8> {
    const WORDS: [&str; 16] = [
        "meeting", "the", "report", "of", "garden", "invoice", "and", "quarter", "to", "phone", "winter",
        "for", "river", "answer", "with", "letter",
    ];
    let mut text = format!(
        "Received: from mx.elsewhere.test (mx.elsewhere.test [192.0.2.1]) by bench.test; Tue, 14 Nov 2023 22:13:20 +0000\r\n\
         From: Sender Number {n} <sender{n}@elsewhere.test>\r\nTo: Somebody <somebody@bench.test>, another@bench.test\r\n\
         Cc: \"A third, of a list\" <third@bench.test>\r\nSubject: Message {n} about the {}\r\n\
         Date: Tue, 14 Nov 2023 22:13:20 +0000\r\nMessage-ID: <{n}@elsewhere.test>\r\nIn-Reply-To: <{}@elsewhere.test>\r\n\
         MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n",
        WORDS[n % 16],
        n / 2
    );
    // One in a hundred has the word that is searched for.
    if n.is_multiple_of(100) {
        text += "Here is the needle.\r\n";
    }
    let mut state = n as u64 + 1;
    while text.len() < MESSAGE_BYTES - 80 {
        for _ in 0..9 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            text += WORDS[(state >> 60) as usize];
            text.push(' ');
        }
        text += "\r\n";
    }
    while text.len() < MESSAGE_BYTES - 2 {
        text.push('.');
    }
    text += "\r\n";
    text.into_bytes()
}
