//! What a GB costs, and a reader's memory.

use crate::reader::Transport;
use crate::servers::{PEER, SIDES, Side};
use crate::{AT_ONCE, JOIN_LIMIT, READERS, REST, Setup};
use ringpost_perf::{Line, Result, own_cpu_s};
use std::time::Duration;

/// Until what joining needed is given back.
const CALM: Duration = Duration::from_secs(3);

pub(crate) fn compare(setup: &Setup) -> Result<String> {
    let mut report = String::new();
    for transport in [Transport::Tcp, Transport::Udp] {
        let name = transport.name();
        let of = |what: &str| format!("{what}, {READERS} readers over {name}");
        let mut cost = Line::new(of("CPU for a GB"), "s", 3, "at most 0.5 times");
        let mut memory = Line::new(of("memory of a reader"), "KiB", 1, "at most 64 KiB");
        let mut load = Line::new(of("CPU of the load generator for a GB"), "s", 3, "");
        for round in 1..=setup.rounds {
            for side in SIDES {
                let once = measure(setup, side, transport)?;
                println!(
                    "{} round {round}, {name}: {:.3} s of CPU for a GB, {:.1} KiB a reader, {} of {} packets lost (load \
                     generator: {:.3} s)",
                    side.name(),
                    once.cost_s,
                    once.memory_kib,
                    once.lost,
                    once.lost + once.packets,
                    once.load_s
                );
                let figures = [
                    (&mut cost, once.cost_s),
                    (&mut memory, once.memory_kib),
                    (&mut load, once.load_s),
                ];
                for (line, figure) in figures {
                    side.of(line).push(figure);
                }
            }
        }
        for line in [cost, memory, load] {
            line.print(PEER, &mut report);
        }
    }
    Ok(report)
}

struct Once {
    cost_s: f64,
    memory_kib: f64,
    load_s: f64,
    packets: u64,
    lost: u64,
}

fn measure(setup: &Setup, side: Side, transport: Transport) -> Result<Once> {
    let mut show = setup.show(side, transport, false)?;
    show.crowd.run(CALM, REST)?;
    let (_, before_kib) = show.running.used()?;
    show.crowd.join(READERS - 1, AT_ONCE, JOIN_LIMIT)?;
    show.crowd.run(CALM, REST)?;
    let time = Duration::from_secs(if setup.is_long { 30 } else { 10 });
    show.crowd.tally();
    let ((before_s, after_kib), own_before_s) = (show.running.used()?, own_cpu_s()?);
    show.crowd.run(time, Duration::ZERO)?;
    let (tally, after_s, own_s) = (show.crowd.tally(), show.running.used()?.0, own_cpu_s()?);
    if tally.closed > 0 {
        return Err(format!(
            "{} closed {} readers: {:?}",
            side.name(),
            tally.closed,
            show.crowd.complaint
        )
        .into());
    }
    let gigabytes = tally.octets as f64 / 1e9;
    Ok(Once {
        cost_s: (after_s - before_s) / gigabytes,
        memory_kib: (after_kib - before_kib) / (READERS - 1) as f64,
        load_s: (own_s - own_before_s) / gigabytes,
        packets: tally.packets,
        lost: tally.lost,
    })
}
