//! One mailbox: APPEND to it, and what its reader asks for.

use crate::{both, message};
use ringpost_perf::Line;
use ringpost_perf::mail::Server;
use ringpost_perf::{Result, imap, in_parallel};
use std::sync::Mutex;
use std::time::Instant;

const CONNECTIONS: usize = 8;
/// APPENDs of one round.
const APPENDS: usize = 4_000;
const MESSAGES: usize = 10_000;
/// Ours alone.
const MANY: usize = 100_000;
/// How often what was read once is asked for again: an odd number, so that no flag is left.
const AGAIN: usize = 3;
const FLAG: &str = "STORE 1:* +FLAGS (\\Flagged)";
const UNFLAG: &str = "STORE 1:* -FLAGS (\\Flagged)";

pub(crate) fn append(rounds: usize) -> Result<String> {
    let (ours, peer) = both(false)?;
    let mut line = Line::new(
        "APPENDs of 8 connections to one mailbox",
        "a second",
        0,
        "at least 5 times",
    );
    // What is measured is APPEND: everybody has logged in, and the messages are there.
    let messages: Vec<Vec<u8>> = (0..APPENDS).map(message).collect();
    let log_in = |side: &dyn Server| -> Result<Vec<_>> {
        let clients = (0..CONNECTIONS).map(|_| Ok(Mutex::new(open(side, 0)?)));
        clients.collect()
    };
    let (our_clients, peer_clients) = (log_in(&ours)?, log_in(&peer)?);
    for round in 1..=rounds {
        for (side, clients, rates) in [
            (&ours as &dyn Server, &our_clients, &mut line.ours),
            (&peer, &peer_clients, &mut line.peers),
        ] {
            let (cpu_before, began) = (side.cpu_s()?, Instant::now());
            in_parallel(CONNECTIONS, |connection| {
                let mut client = clients[connection].lock().map_err(|_| "a client panicked")?;
                for message in messages.iter().skip(connection).step_by(CONNECTIONS) {
                    client.append(message)?;
                }
                Ok(())
            })?;
            rates.push(APPENDS as f64 / began.elapsed().as_secs_f64());
            println!(
                "{} round {round}: {:.0}/s, {:.0} ms of CPU for 1,000",
                side.name(),
                rates[rates.len() - 1],
                (side.cpu_s()? - cpu_before) * 1e6 / APPENDS as f64
            );
        }
    }
    let mut report = String::new();
    line.print(peer.name(), &mut report);
    Ok(report)
}

/// Appends so many messages to the INBOX of the user `n`.
fn fill(side: &dyn Server, user: usize, messages: usize) -> Result<()> {
    in_parallel(CONNECTIONS, |connection| {
        let mut client = open(side, user)?;
        for n in (0..messages).skip(connection).step_by(CONNECTIONS) {
            client.append(&message(n))?;
        }
        Ok(())
    })?;
    Ok(())
}

fn open(side: &dyn Server, user: usize) -> Result<imap::Client> {
    imap::Client::connect(side.imap(), user, false, &side.user(user), side.password())
}

/// A command, its name, and how many untagged responses it must have: one a message, or so many in all.
struct Ask {
    name: &'static str,
    command: &'static str,
    per_message: bool,
}

const ASKS: [Ask; 5] = [
    Ask {
        name: "SELECT",
        command: "SELECT INBOX",
        per_message: false,
    },
    Ask {
        name: "FETCH FLAGS",
        command: "FETCH 1:* (FLAGS)",
        per_message: true,
    },
    Ask {
        name: "FETCH ENVELOPE",
        command: "FETCH 1:* (ENVELOPE)",
        per_message: true,
    },
    Ask {
        name: "SEARCH BODY",
        command: "SEARCH BODY needle",
        per_message: false,
    },
    Ask {
        name: "STORE all",
        command: "",
        per_message: true,
    },
];

/// The seconds that each command takes, in the order of [`ASKS`].
fn ask_all(side: &dyn Server, user: usize, messages: usize, store: &str) -> Result<Vec<f64>> {
    let mut client = open(side, user)?;
    let mut seconds = Vec::new();
    for ask in &ASKS {
        let command = if ask.command.is_empty() {
            store
        } else {
            ask.command
        };
        let began = Instant::now();
        let reply = client.command(command)?;
        seconds.push(began.elapsed().as_secs_f64());
        if ask.per_message && reply.untagged < messages {
            return Err(format!("{}: {command} had {} answers", side.name(), reply.untagged).into());
        }
        if ask.name == "SEARCH BODY" && reply.last.split(' ').count() != 2 + messages.div_ceil(100) {
            return Err(format!("{}: {command} found {:?}", side.name(), reply.last).into());
        }
    }
    Ok(seconds)
}

/// What a server that has just been started takes for each command, and what it takes when it is asked again.
struct Seconds {
    cold: Vec<f64>,
    warm: Vec<Vec<f64>>,
}

fn ask_again_and_again(side: &dyn Server, user: usize, messages: usize) -> Result<Seconds> {
    let cold = ask_all(side, user, messages, FLAG)?;
    // All flags change each time.
    let stores = [UNFLAG, FLAG].into_iter().cycle().take(AGAIN);
    let warm = stores.map(|store| ask_all(side, user, messages, store));
    let seconds = Seconds {
        cold,
        warm: warm.collect::<Result<_>>()?,
    };
    println!(
        "{}, {messages}: cold {:.4?}, warm {:.4?}",
        side.name(),
        seconds.cold,
        seconds.warm
    );
    Ok(seconds)
}

pub(crate) fn compare(rounds: usize) -> Result<String> {
    let (mut ours, mut peer) = both(false)?;
    let lines = |when: &str| -> Vec<Line> {
        let line = |ask: &Ask| {
            let bar = match (ask.name, when) {
                ("FETCH ENVELOPE", "cold") => "at most 0.2 times",
                _ => "at most the peer's",
            };
            Line::new(format!("{} of {MESSAGES}, {when}", ask.name), "s", 4, bar)
        };
        ASKS.iter().map(line).collect()
    };
    let (mut cold, mut warm) = (lines("cold"), lines("warm"));
    for round in 0..rounds {
        // Each round reads a mailbox that nobody has read before.
        for side in [&mut ours as &mut dyn Server, &mut peer] {
            fill(side, round, MESSAGES)?;
            side.restart()?;
        }
        forget_files()?;
        for (side, is_ours) in [(&ours as &dyn Server, true), (&peer, false)] {
            let seconds = ask_again_and_again(side, round, MESSAGES)?;
            push(&mut cold, &seconds.cold, is_ours);
            seconds
                .warm
                .iter()
                .for_each(|once| push(&mut warm, once, is_ours));
        }
    }
    let mut report = String::new();
    for line in cold.iter().chain(&warm) {
        line.print("Dovecot", &mut report);
    }
    let last = rounds;
    fill(&ours, last, MANY)?;
    let many = |when: &str| -> Vec<Line> {
        let line = |ask: &Ask| Line::new(format!("{} of {MANY}, {when}", ask.name), "s", 4, "");
        ASKS.iter().map(line).collect()
    };
    let (mut many_cold, mut many_warm) = (many("cold"), many("warm"));
    for _ in 0..rounds {
        ours.restart()?;
        forget_files()?;
        let seconds = ask_again_and_again(&ours, last, MANY)?;
        push(&mut many_cold, &seconds.cold, true);
        seconds
            .warm
            .iter()
            .for_each(|once| push(&mut many_warm, once, true));
    }
    for (few, many) in cold
        .iter()
        .zip(&mut many_cold)
        .chain(warm.iter().zip(&mut many_warm))
    {
        let times = ringpost_perf::median(&many.ours) / ringpost_perf::median(&few.ours);
        many.bar = format!("at most 12 times that of {MESSAGES}; it is {times:.1} times");
        many.print("", &mut report);
    }
    Ok(report)
}

fn push(lines: &mut [Line], seconds: &[f64], is_ours: bool) {
    for (line, seconds) in lines.iter_mut().zip(seconds) {
        if is_ours { &mut line.ours } else { &mut line.peers }.push(*seconds);
    }
}

/// Lets the system forget what it holds of the disk, if this process may.
fn forget_files() -> Result<()> {
    // SAFETY: sync cannot fail and touches no memory.
    unsafe { libc::sync() };
    if let Err(error) = std::fs::write("/proc/sys/vm/drop_caches", "3") {
        println!("what the system holds of the disk stays in memory: {error}");
    }
    Ok(())
}
