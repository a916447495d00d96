//! How long readers wait: for pictures while another one has stopped reading, and for the first one.

use crate::reader::Transport;
use crate::servers::{PEER, SIDES, Side};
use crate::{AT_ONCE, JOIN_LIMIT, READERS, Setup, Show};
use ringpost_perf::{Line, Result, median};
use std::time::Duration;

/// Until a reader that reads nothing has filled everything between it and the server.
const BLOCKED: Duration = Duration::from_secs(8);
/// Until those that joined have what they were late for.
const CALM: Duration = Duration::from_secs(2);
/// Readers that come at once.
const TOGETHER: usize = 40;
/// Readers that come one after the other, at as many moments between two key frames.
const SINGLE: u32 = 20;
const KEY_FRAMES_APART: Duration = Duration::from_secs(1);

pub(crate) fn stalled(setup: &Setup) -> Result<String> {
    let others = READERS - 1;
    let of = |what: &str| format!("p99 of the delay of {others} readers, {what}");
    let mut without = Line::new(of("all of which read"), "ms", 2, "");
    let mut with = Line::new(of("another has stopped reading"), "ms", 2, "");
    for round in 1..=setup.rounds {
        for side in SIDES {
            let (before_ms, after_ms) = measure_stalled(setup, side, round)?;
            side.of(&mut without).push(before_ms);
            side.of(&mut with).push(after_ms);
        }
    }
    with.bar = format!(
        "at most 1.2 times without it and 2 ms: {:.2} ms",
        1.2 * median(&without.ours) + 2.0
    );
    let mut report = String::new();
    without.print(PEER, &mut report);
    with.print(PEER, &mut report);
    Ok(report)
}

fn measure_stalled(setup: &Setup, side: Side, round: usize) -> Result<(f64, f64)> {
    let time = Duration::from_secs(if setup.is_long { 60 } else { 10 });
    let mut show = setup.show(side, Transport::Tcp, true)?;
    show.crowd.join(READERS - 2, AT_ONCE, JOIN_LIMIT)?;
    show.crowd.run(CALM, Duration::ZERO)?;
    let before_ms = delay(&mut show, side, round, "all read", time)?;
    show.crowd.join_stalled()?;
    show.crowd.run(BLOCKED, Duration::ZERO)?;
    let after_ms = delay(&mut show, side, round, "one has stopped", time)?;
    Ok((before_ms, after_ms))
}

fn delay(show: &mut Show, side: Side, round: usize, what: &str, time: Duration) -> Result<f64> {
    show.crowd.tally();
    show.crowd.run(time, Duration::ZERO)?;
    let mut tally = show.crowd.tally();
    let (p50_ms, p99_ms) = (tally.p50_ms(), tally.p99_ms());
    println!(
        "{} round {round}, {what}: p50 {p50_ms:.2} ms, p99 {p99_ms:.2} ms of {} pictures; {} readers with losses, {} closed",
        side.name(),
        tally.delays_us.len(),
        tally.with_losses,
        tally.closed,
    );
    match tally.delays_us.is_empty() {
        false => Ok(p99_ms),
        true => Err(format!("{}: no picture came with its time", side.name()).into()),
    }
}

pub(crate) fn joining(setup: &Setup) -> Result<String> {
    let all = format!("until the last of {TOGETHER} readers that come at once has a key frame");
    let mut together = Line::new(all, "ms", 1, "at most 2,000 ms");
    let mut slowest = Line::new(
        "from PLAY to the first packet of a key frame, the slowest",
        "ms",
        1,
        "at most 100 ms",
    );
    for round in 1..=setup.rounds {
        for side in SIDES {
            let (all_ms, slowest_ms) = measure_joining(setup, side, round)?;
            side.of(&mut together).push(all_ms);
            side.of(&mut slowest).push(slowest_ms);
        }
    }
    let mut report = String::new();
    together.print(PEER, &mut report);
    slowest.print(PEER, &mut report);
    Ok(report)
}

fn measure_joining(setup: &Setup, side: Side, round: usize) -> Result<(f64, f64)> {
    let mut show = setup.show(side, Transport::Tcp, false)?;
    show.crowd.run(CALM, Duration::ZERO)?;
    let began = std::time::Instant::now();
    show.crowd.join(TOGETHER, TOGETHER, JOIN_LIMIT)?;
    let all_ms = began.elapsed().as_secs_f64() * 1_000.0;
    let mut waited = Vec::new();
    for n in 0..SINGLE {
        // Who waits for a key frame joins with one, and the next one so much later.
        show.crowd.run(KEY_FRAMES_APART * n / SINGLE, Duration::ZERO)?;
        waited.extend(show.crowd.join(1, 1, JOIN_LIMIT)?);
    }
    let ms: Vec<f64> = waited.iter().map(|time| time.as_secs_f64() * 1_000.0).collect();
    let slowest_ms = ms.iter().copied().fold(0.0, f64::max);
    println!(
        "{} round {round}: {TOGETHER} readers at once play after {all_ms:.0} ms; of {SINGLE} one by one, a key frame begins \
         {:.1} ms after PLAY in the middle, {slowest_ms:.1} ms at most",
        side.name(),
        median(&ms)
    );
    Ok((all_ms, slowest_ms))
}
