//! What POP3 gives, beside Dovecot's: messages and sessions a second, and what they cost the server.
//!
//! `pop3 [MESSAGES] [SECONDS] [ROUNDS]` fills ten maildrops on both sides with so many messages of 5 KB, by SMTP here and
//! LMTP there, and then lets ten clients of our own, all under TLS with the same certificate,
//!
//! - fetch every message, asking for each when the one before has come, and again with sixteen asked for ahead;
//! - log in, ask for STAT and leave, for so many seconds, with logins that both servers have in their caches;
//!
//! on one side and the other in turn (A B A B …). Printed are each round, the medians, their ratios, and the CPU time of the
//! whole server; they also go to `perf/RESULTS.md`.
//!
//! Ours is the `ringpost` of the same build, or the one that `RINGPOST_BIN` names; the peer is `peers/dovecot.sh`.

mod client;

use ringpost_perf::mail::{Peer, Ringpost, Server, Setup};
use ringpost_perf::smtp::deliver;
use ringpost_perf::{Child, Result, in_parallel, median, own_cpu_s, record};
use std::fmt::Write;
use std::time::{Duration, Instant};

/// Clients at a time, each with a maildrop of its own.
const CLIENTS: usize = 10;
const MESSAGE_BYTES: usize = 5_000;
/// Messages that a client asks for ahead, where it does.
const AHEAD: usize = 16;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default| arguments.next().map_or(Ok(default), |text| text.parse::<usize>());
    let (messages, seconds, rounds) = (number(2_000)?, number(10)?, number(3)?);
    if !Child::is_installed("dovecot") {
        return Err("Dovecot is not installed (Debian: dovecot-imapd, dovecot-pop3d, dovecot-lmtpd)".into());
    }
    let setup = Setup {
        users: CLIENTS,
        postfix: false,
        syncs: None,
    };
    let peer = Peer::start(setup)?;
    let ours = Ringpost::start(setup, &peer.certificate())?;
    for side in [&ours as &dyn Server, &peer] {
        println!(
            "filling {CLIENTS} maildrops of {} with {messages} messages each",
            side.name()
        );
        fill(side, messages)?;
        // What has been read before is in both sides' caches, and marked.
        fetch(side, messages, 1)?;
    }
    let mut report = String::new();
    let one_by_one = format!("messages of {MESSAGE_BYTES} bytes, one by one");
    let ahead = format!("messages of {MESSAGE_BYTES} bytes, {AHEAD} ahead");
    let works = [
        (one_by_one.as_str(), 2.0, Work::Fetch { messages, ahead: 1 }),
        (
            ahead.as_str(),
            2.0,
            Work::Fetch {
                messages,
                ahead: AHEAD,
            },
        ),
        ("empty sessions", 10.0, Work::Sessions { seconds }),
    ];
    for (what, bar, work) in works {
        report += &compare(&ours, &peer, what, bar, &work, rounds)?;
    }
    let cores = std::thread::available_parallelism()?;
    record(
        "POP3 beside Dovecot",
        &format!(
            "{cores} cores, {CLIENTS} clients under TLS, maildrops of {messages} messages, {rounds} rounds.\n\n{report}"
        ),
    )?;
    Ok(())
}

enum Work {
    Fetch { messages: usize, ahead: usize },
    Sessions { seconds: usize },
}

/// What one round came to.
#[derive(Clone, Copy)]
struct Load {
    per_s: f64,
    /// The server's CPU time for 1,000.
    server_ms: f64,
    /// The load generator's.
    own_ms: f64,
}

fn compare(
    ours: &dyn Server,
    peer: &dyn Server,
    what: &str,
    bar: f64,
    work: &Work,
    rounds: usize,
) -> Result<String> {
    let (mut our_loads, mut peer_loads) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        for (side, loads) in [(ours, &mut our_loads), (peer, &mut peer_loads)] {
            let load = measure(side, work)?;
            println!(
                "{:<9} round {round}: {:.0} {what} a second, {:.0} ms of CPU for 1,000 (load generator: {:.0} ms)",
                side.name(),
                load.per_s,
                load.server_ms,
                load.own_ms
            );
            loads.push(load);
        }
    }
    let of = |loads: &[Load], value: fn(&Load) -> f64| median(&loads.iter().map(value).collect::<Vec<_>>());
    let (our_per_s, peer_per_s) = (of(&our_loads, |l| l.per_s), of(&peer_loads, |l| l.per_s));
    let (our_ms, peer_ms) = (of(&our_loads, |l| l.server_ms), of(&peer_loads, |l| l.server_ms));
    let mut line = String::new();
    let _ = writeln!(
        line,
        "- {what}: ringpost {our_per_s:.0}/s, Dovecot {peer_per_s:.0}/s, ratio {:.1} (to reach: at least {bar:.0}); CPU of the \
         server for 1,000: {our_ms:.0} ms and {peer_ms:.0} ms, {:.1} times less; the load generator {:.0} ms",
        our_per_s / peer_per_s,
        peer_ms / our_ms,
        of(&our_loads, |l| l.own_ms)
    );
    print!("{line}");
    Ok(line)
}

fn measure(side: &dyn Server, work: &Work) -> Result<Load> {
    let (server_before, own_before, began) = (side.cpu_s()?, own_cpu_s()?, Instant::now());
    let count = match work {
        Work::Fetch { messages, ahead } => fetch(side, *messages, *ahead)?,
        Work::Sessions { seconds } => sessions(side, Duration::from_secs(*seconds as u64))?,
    };
    let took_s = began.elapsed().as_secs_f64();
    let thousands = count as f64 / 1_000.0;
    Ok(Load {
        per_s: count as f64 / took_s,
        server_ms: (side.cpu_s()? - server_before) * 1_000.0 / thousands,
        own_ms: (own_cpu_s()? - own_before) * 1_000.0 / thousands,
    })
}

fn fill(side: &dyn Server, messages: usize) -> Result<usize> {
    let message = message();
    let (server, greeting) = side.delivery();
    let counts = in_parallel(CLIENTS, |n| {
        deliver(server, greeting, &side.user(n), &message, messages)?;
        Ok(messages)
    })?;
    Ok(counts.iter().sum())
}

fn message() -> String {
    let mut text = String::from(
        "From: <sender@elsewhere.test>\r\nTo: <somebody@bench.test>\r\nSubject: a message of the usual size\r\n\
         Date: Tue, 14 Nov 2023 22:13:20 +0000\r\nMessage-ID: <1@elsewhere.test>\r\n\r\n",
    );
    while text.len() < MESSAGE_BYTES {
        text += "Sixty-four bytes of text and its end make a line of a message.\r\n";
    }
    text
}

/// Every client fetches all it has.
fn fetch(side: &dyn Server, messages: usize, ahead: usize) -> Result<usize> {
    let counts = in_parallel(CLIENTS, |n| {
        let mut client = client::Client::connect(side.pop3(), n)?;
        let found = client.log_in(&side.user(n), side.password())?;
        if found != messages {
            return Err(format!("{} has {found} messages, not {messages}", side.user(n)).into());
        }
        let fetched = client.fetch(messages, ahead)?;
        if fetched < messages * MESSAGE_BYTES {
            return Err(format!("{messages} messages came to {fetched} bytes").into());
        }
        client.quit()?;
        Ok(messages)
    })?;
    Ok(counts.iter().sum())
}

/// Every client logs in, looks how many there are, and leaves, again and again.
fn sessions(side: &dyn Server, time: Duration) -> Result<usize> {
    let end = Instant::now() + time;
    let counts = in_parallel(CLIENTS, |n| {
        let mut count = 0;
        while Instant::now() < end {
            let mut client = client::Client::connect(side.pop3(), n)?;
            client.log_in(&side.user(n), side.password())?;
            client.quit()?;
            count += 1;
        }
        Ok(count)
    })?;
    Ok(counts.iter().sum())
}
