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

pub(crate) fn compare(rounds: usize) -> Result<String> {
    let (mut ours, mut peer) = both(false)?;
    let mut cold: Vec<Line> = ASKS
        .iter()
        .map(|ask| {
            let bar = match ask.name {
                "FETCH ENVELOPE" => "at most 0.2 times",
                _ => "at most the peer's",
            };
            Line::new(format!("{} of {MESSAGES}, cold", ask.name), "s", 4, bar)
        })
        .collect();
    let warm_line = |ask: &Ask| {
        Line::new(
            format!("{} of {MESSAGES}, warm", ask.name),
            "s",
            4,
            "at most the peer's",
        )
    };
    let mut warm: Vec<Line> = ASKS.iter().map(warm_line).collect();
    for round in 0..rounds {
        // Each round reads a mailbox that nobody has read before.
        for side in [&mut ours as &mut dyn Server, &mut peer] {
            fill(side, round, MESSAGES)?;
            side.restart()?;
        }
        forget_files()?;
        for (side, is_ours) in [(&ours as &dyn Server, true), (&peer, false)] {
            for (lines, store) in [
                (&mut cold, "STORE 1:* +FLAGS (\\Flagged)"),
                (&mut warm, "STORE 1:* -FLAGS (\\Flagged)"),
            ] {
                let seconds = ask_all(side, round, MESSAGES, store)?;
                println!("{} round {}: {seconds:.4?}", side.name(), round + 1);
                for (line, seconds) in lines.iter_mut().zip(seconds) {
                    if is_ours { &mut line.ours } else { &mut line.peers }.push(seconds);
                }
            }
        }
    }
    let mut report = String::new();
    for line in cold.iter().chain(&warm) {
        line.print("Dovecot", &mut report);
    }
    let last = rounds;
    fill(&ours, last, MANY)?;
    ours.restart()?;
    forget_files()?;
    for (when, few, store) in [
        ("cold", &cold, "STORE 1:* +FLAGS (\\Flagged)"),
        ("warm", &warm, "STORE 1:* -FLAGS (\\Flagged)"),
    ] {
        let seconds = ask_all(&ours, last, MANY, store)?;
        for ((ask, few), seconds) in ASKS.iter().zip(few).zip(seconds) {
            let times = seconds / ringpost_perf::median(&few.ours);
            let bar = format!("at most 12 times that of {MESSAGES}; it is {times:.1} times");
            let mut line = Line::new(format!("{} of {MANY}, {when}", ask.name), "s", 4, bar);
            line.ours.push(seconds);
            line.print("", &mut report);
        }
    }
    Ok(report)
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
