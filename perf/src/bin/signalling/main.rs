//! What registrations and calls cost, beside Kamailio, and what registered phones take.
//!
//! `signalling [SECONDS] [ROUNDS]` starts ours and the peer in turn (A B A B …), each anew for each measurement, lets SIPp
//! play the phones with the same scenarios on both, and prints the CPU time of the whole server for 1,000 registrations
//! (challenge and success) and for 1,000 calls (INVITE to BYE), each round, the medians, and their ratio. Then it registers
//! 10,000 phones at ours and prints its resident memory. The figures also go to `perf/RESULTS.md`.
//!
//! Ours is the `ringpost` of the same build, or the one that `RINGPOST_BIN` names. It anchors each call and keeps its
//! registrations on disk; the peer only passes calls on and keeps registrations in memory.

mod load;
mod servers;

use load::{Load, run};
use ringpost_perf::{Child, Result, median, record};
use servers::{Phone, Running, Server};
use std::fmt::Write;
use std::time::Duration;

/// Phones that register in turn.
const REGISTERING: std::ops::Range<usize> = 0..800;
/// Phones that call, and the one that is called. Had it registered elsewhere in another measurement, calls would fork.
const CALLING: std::ops::Range<usize> = 800..900;
const CALLED: std::ops::Range<usize> = 900..901;
const REGISTRATIONS_PER_S: usize = 500;
const CALLS_PER_S: usize = 100;
/// Saving what was registered, and whatever else comes behind, is part of the work.
const SETTLE: Duration = Duration::from_secs(3);
/// Resident memory that 10,000 phones may take.
const MEMORY_MIB: f64 = 80.0;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default| arguments.next().map_or(Ok(default), |text| text.parse::<usize>());
    let (seconds, rounds) = (number(20)?, number(3)?);
    if !Child::is_installed("sipp") {
        return Err("SIPp is not installed (Debian: sip-tester)".into());
    }
    let ours = servers::Ringpost::prepare()?;
    let peer = Child::is_installed("kamailio").then_some(servers::Kamailio);
    if peer.is_none() {
        println!("kamailio is not installed; ours is measured alone, which says little");
    }
    let mut report = String::new();
    let registrations = Comparison {
        what: "digest registrations",
        per_s: REGISTRATIONS_PER_S,
        bar: 1.0,
        measure: registrations,
    };
    let calls = Comparison {
        what: "calls from INVITE to BYE",
        per_s: CALLS_PER_S,
        bar: 2.0,
        measure: calls,
    };
    for comparison in [registrations, calls] {
        report += &comparison.run(&ours, peer.as_ref(), seconds, rounds)?;
    }
    report += &memory(&ours)?;
    let cores = std::thread::available_parallelism()?;
    record(
        "Signalling beside Kamailio",
        &format!("{cores} cores, {rounds} rounds of {seconds} s.\n\n{report}"),
    )?;
    Ok(())
}

/// One kind of work, measured on both sides.
struct Comparison {
    what: &'static str,
    per_s: usize,
    /// How many times the peer's CPU time ours may be.
    bar: f64,
    measure: fn(&Running, usize) -> Result<Load>,
}

impl Comparison {
    fn run(
        &self,
        ours: &servers::Ringpost,
        peer: Option<&servers::Kamailio>,
        seconds: usize,
        rounds: usize,
    ) -> Result<String> {
        let (mut our_ms, mut peer_ms, mut load_ms) = (Vec::new(), Vec::new(), Vec::new());
        for round in 1..=rounds {
            our_ms.push(self.round(ours, round, seconds, &mut load_ms)?);
            if let Some(peer) = peer {
                peer_ms.push(self.round(peer, round, seconds, &mut load_ms)?);
            }
        }
        let ours = median(&our_ms);
        let mut line = format!(
            "- 1,000 {} at {}/s: ringpost {ours:.0} ms of CPU",
            self.what, self.per_s
        );
        if peer.is_some() {
            let theirs = median(&peer_ms);
            let (ratio, bar) = (ours / theirs, self.bar);
            let _ = write!(
                line,
                ", Kamailio {theirs:.0} ms, ratio {ratio:.2} (to reach: at most {bar:.1})"
            );
        }
        let _ = writeln!(line, "; the load generator {:.0} ms", median(&load_ms));
        print!("{line}");
        Ok(line)
    }

    fn round(
        &self,
        server: &dyn Server,
        round: usize,
        seconds: usize,
        load_ms: &mut Vec<f64>,
    ) -> Result<f64> {
        let running = server.start()?;
        let load = (self.measure)(&running, seconds * self.per_s)?;
        println!(
            "{:<9} round {round}: {:.1} ms of CPU for 1,000 {}, {} failed, {} retransmissions (load generator: {:.0} ms)",
            server.name(),
            load.server_ms,
            self.what,
            load.failed,
            load.retransmissions,
            load.own_ms
        );
        load_ms.push(load.own_ms);
        Ok(load.server_ms)
    }
}

/// Phones that have registered before register again: each is challenged, and succeeds.
fn registrations(server: &Running, count: usize) -> Result<Load> {
    let phones = server.phones(REGISTERING);
    register(server, &phones, load::CALLER_PORT)?;
    let sipp = server.sipp("register", &phones, load::CALLER_PORT)?;
    run(
        server,
        count,
        SETTLE,
        (sipp.pace(REGISTRATIONS_PER_S, count), None),
    )
}

/// Phones call another that answers at once, and hang up.
fn calls(server: &Running, count: usize) -> Result<Load> {
    let called = server.phones(CALLED);
    register(server, &called, load::CALLEE_PORT)?;
    let calls = &called[0].account;
    let lines = server.phones(CALLING).into_iter().map(|caller| Phone {
        calls: calls.clone(),
        ..caller
    });
    let callers: Vec<Phone> = lines.collect();
    let answering = server.sipp("answer", &[], load::CALLEE_PORT)?;
    let calling = server.sipp("call", &callers, load::CALLER_PORT)?;
    let calling = calling.pace(CALLS_PER_S, count);
    run(server, count, SETTLE, (calling, Some(answering)))
}

/// Registers each phone once, and waits until all is quiet.
fn register(server: &Running, phones: &[Phone], port: u16) -> Result<()> {
    let sipp = server.sipp("register", phones, port)?;
    let ended = sipp.pace(REGISTRATIONS_PER_S, phones.len()).spawn()?.finish()?;
    if ended.failed > 0 {
        return Err(format!("{} of {} phones could not register", ended.failed, phones.len()).into());
    }
    std::thread::sleep(SETTLE);
    Ok(())
}

/// What the server takes when all phones are registered.
fn memory(ours: &servers::Ringpost) -> Result<String> {
    let running = ours.start()?;
    let before = running.resident_mib()?;
    let phones = running.all_phones();
    register(&running, &phones, load::CALLER_PORT)?;
    let mib = running.resident_mib()?;
    let count = phones.len();
    let line = format!(
        "- Resident memory with {count} registered phones: {mib:.1} MiB (to reach: at most {MEMORY_MIB:.0}); \
         {before:.1} MiB before they registered\n"
    );
    print!("{line}");
    Ok(line)
}
