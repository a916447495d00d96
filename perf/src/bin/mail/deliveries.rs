//! Deliveries by smtp-source.

use crate::{MESSAGE_BYTES, USERS, both};
use ringpost_perf::Line;
use ringpost_perf::mail::{Peer, Ringpost, Server, Setup};
use ringpost_perf::{Result, imap, in_parallel};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

/// Messages of one round.
const MESSAGES: usize = 3_200;
/// Messages of the run that counts syncs.
const COUNTED: usize = 1_280;

/// How the messages come.
#[derive(Clone, Copy)]
struct Load {
    name: &'static str,
    sessions: usize,
    one_recipient: bool,
    bar: &'static str,
}

const LOADS: [Load; 3] = [
    Load {
        name: "16 senders",
        sessions: 16,
        one_recipient: false,
        bar: "at least 3 times",
    },
    Load {
        name: "64 senders",
        sessions: 64,
        one_recipient: false,
        bar: "at least 5 times",
    },
    Load {
        name: "64 senders, one recipient",
        sessions: 64,
        one_recipient: true,
        bar: "at least 5 times",
    },
];

pub(crate) fn compare(rounds: usize) -> Result<String> {
    let mut report = String::new();
    {
        let (ours, peer) = both(true)?;
        for load in LOADS {
            let mut rate = Line::new(format!("deliveries, {}", load.name), "a second", 0, load.bar);
            let mut cpu = Line::new(
                format!("CPU of 1,000, {}", load.name),
                "s",
                2,
                "at most 0.25 times",
            );
            for round in 1..=rounds {
                for (side, rates, cpus) in [
                    (&ours as &dyn Server, &mut rate.ours, &mut cpu.ours),
                    (&peer, &mut rate.peers, &mut cpu.peers),
                ] {
                    let Spent { took_s, cpu_s } = deliver(side, load, MESSAGES)?;
                    println!(
                        "{} round {round}: {:.0}/s, {cpu_s:.2} s of CPU",
                        side.name(),
                        MESSAGES as f64 / took_s
                    );
                    rates.push(MESSAGES as f64 / took_s);
                    cpus.push(cpu_s * 1_000.0 / MESSAGES as f64);
                }
            }
            rate.print(peer.name(), &mut report);
            cpu.print(peer.name(), &mut report);
        }
    }
    let mut syncs = Line::new("syncs of a delivery, 64 senders", "", 3, "at most 0.1");
    syncs
        .peers
        .push(count_syncs(|setup| Ok(Box::new(Peer::start(setup)?)))?);
    // Ours needs a certificate; any pair will do, so the peer makes one.
    let certificate = {
        let peer = Peer::start(Setup {
            users: 1,
            postfix: false,
            syncs: None,
        })?;
        let kept = tempfile::tempdir()?;
        let (from, key_from) = peer.certificate();
        let to = (kept.path().join("cert.pem"), kept.path().join("key.pem"));
        std::fs::copy(from, &to.0)?;
        std::fs::copy(key_from, &to.1)?;
        (kept, to)
    };
    syncs.ours.push(count_syncs(|setup| {
        Ok(Box::new(Ringpost::start(setup, &certificate.1)?))
    })?);
    syncs.print("Postfix with Dovecot", &mut report);
    Ok(report)
}

/// What deliveries took: time, and the server's CPU time.
struct Spent {
    took_s: f64,
    cpu_s: f64,
}

/// Delivers so many messages, and sees that every one has come. To look costs logins, which are not counted.
fn deliver(side: &dyn Server, load: Load, messages: usize) -> Result<Spent> {
    let recipients = if load.one_recipient { 1 } else { load.sessions };
    let before = count(side, recipients)?;
    let (cpu_before, began) = (side.cpu_s()?, Instant::now());
    let sessions = load.sessions / recipients;
    in_parallel(recipients, |n| {
        let status = Command::new("smtp-source")
            .args(["-s", &sessions.to_string()])
            .args(["-m", &(messages / recipients).to_string()])
            .args(["-l", &MESSAGE_BYTES.to_string()])
            .args(["-f", "sender@elsewhere.test", "-t", &side.user(n)])
            .arg(side.smtp().to_string())
            .status()?;
        match status.success() {
            true => Ok(()),
            false => Err(format!("smtp-source ended with {status}").into()),
        }
    })?;
    side.settle()?;
    let spent = Spent {
        took_s: began.elapsed().as_secs_f64(),
        cpu_s: side.cpu_s()? - cpu_before,
    };
    let came = count(side, recipients)? - before;
    match came == messages {
        true => Ok(spent),
        false => Err(format!("{}: {came} of {messages} have come", side.name()).into()),
    }
}

fn count(side: &dyn Server, recipients: usize) -> Result<usize> {
    let mut sum = 0;
    for n in 0..recipients.min(USERS) {
        sum += imap::Client::connect(side.imap(), n, false, &side.user(n), side.password())?.messages()?;
    }
    Ok(sum)
}

/// Syncs of one delivery, with 64 senders, by a server that strace watches.
fn count_syncs(start: impl FnOnce(Setup<'_>) -> Result<Box<dyn Server>>) -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("syncs");
    let side = start(Setup {
        users: USERS,
        postfix: true,
        syncs: Some(&file),
    })?;
    let before = lines(&file)?;
    deliver(&*side, LOADS[1], COUNTED)?;
    let syncs = lines(&file)? - before;
    println!("{}: {syncs} syncs for {COUNTED} deliveries", side.name());
    Ok(syncs as f64 / COUNTED as f64)
}

/// The calls that strace has seen begin.
fn lines(file: &Path) -> Result<usize> {
    let text = std::fs::read_to_string(file)?;
    Ok(text.lines().filter(|line| line.contains('(')).count())
}
