//! How many readers a server has without one that misses anything.

use crate::reader::Transport;
use crate::servers::{PEER, SIDES, Side};
use crate::{AT_ONCE, JOIN_LIMIT, REST, Setup};
use ringpost_perf::{Line, Result, own_cpu_s};
use std::time::{Duration, Instant};

const STEPS: [usize; 11] = [
    200, 400, 800, 1_200, 1_600, 2_000, 2_400, 2_800, 3_200, 4_000, 4_800,
];
/// Looks at one step before it is given up: the machine does other things too.
const LOOKS: usize = 2;
/// Until those that joined have what they were late for.
const CALM: Duration = Duration::from_secs(3);
/// Pictures that a reader may be behind at the end of a look.
const BEHIND: u64 = 5;

pub(crate) fn compare(setup: &Setup) -> Result<String> {
    let mut report = String::new();
    for transport in [Transport::Tcp, Transport::Udp] {
        let what = format!("readers over {} that miss nothing", transport.name());
        let mut line = Line::new(what, "", 0, "at least the peer's");
        for round in 1..=setup.rounds {
            for side in SIDES {
                let most = measure(setup, side, transport, round)?;
                side.of(&mut line).push(most as f64);
            }
        }
        line.print(PEER, &mut report);
    }
    Ok(report)
}

fn measure(setup: &Setup, side: Side, transport: Transport, round: usize) -> Result<usize> {
    let time = Duration::from_secs(if setup.is_long { 20 } else { 5 });
    let mut show = setup.show(side, transport, false)?;
    let mut most = 0;
    for step in STEPS {
        let joining = step - show.crowd.len();
        if let Err(error) = show.crowd.join(joining, AT_ONCE, JOIN_LIMIT) {
            println!(
                "{} round {round}, {}: {step} readers: {error}",
                side.name(),
                transport.name()
            );
            return Ok(most);
        }
        let mut is_whole = false;
        for _ in 0..LOOKS {
            show.crowd.run(CALM, REST)?;
            let (before_s, own_before_s) = (show.running.used()?.0, own_cpu_s()?);
            let (began, before) = (Instant::now(), show.publisher.pictures());
            show.crowd.tally();
            show.crowd.run(time, REST)?;
            let (tally, sent) = (show.crowd.tally(), show.publisher.pictures() - before);
            let took_s = began.elapsed().as_secs_f64();
            let (after_s, own_s) = (show.running.used()?.0, own_cpu_s()?);
            is_whole = tally.with_losses + tally.closed == 0 && tally.least_pictures + BEHIND >= sent;
            println!(
                "{} round {round}, {}: {step} readers, {} with losses, {} closed, {} of {sent} pictures at least; CPU {:.2} s a \
                 second (load generator: {:.2})",
                side.name(),
                transport.name(),
                tally.with_losses,
                tally.closed,
                tally.least_pictures,
                (after_s - before_s) / took_s,
                (own_s - own_before_s) / took_s
            );
            if is_whole || tally.closed > 0 {
                break;
            }
        }
        if !is_whole {
            break;
        }
        most = step;
    }
    Ok(most)
}
