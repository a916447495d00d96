//! Sessions that wait: what they cost, and how soon they hear.

use crate::{USERS, both, message};
use ringpost_perf::Line;
use ringpost_perf::mail::Server;
use ringpost_perf::{Result, imap, smtp};
use std::time::{Duration, Instant};

/// Sessions that idle at once.
const SESSIONS: usize = 1_000;
/// Deliveries of one round of `exists`.
const DELIVERIES: usize = 100;
/// Until memory is looked at: what a login needs is given back.
const CALM: Duration = Duration::from_secs(3);

pub(crate) fn idle(rounds: usize) -> Result<String> {
    let mut report = String::new();
    for (what, tls, bar) in [
        ("plain", false, "at most 15 KiB"),
        ("under TLS", true, "at most 40 KiB"),
    ] {
        let mut line = Line::new(
            format!("memory of one of {SESSIONS} sessions that idle, {what}"),
            "KiB",
            1,
            bar,
        );
        let mut peer_name = "";
        for round in 1..=rounds {
            // Fresh servers: memory that an earlier round has used would not grow again.
            let (ours, peer) = both(false)?;
            peer_name = peer.name();
            for (side, grown) in [(&ours as &dyn Server, &mut line.ours), (&peer, &mut line.peers)] {
                grown.push(growth(side, tls)?);
                println!(
                    "{} round {round}, {what}: {:.1} KiB",
                    side.name(),
                    grown[grown.len() - 1]
                );
            }
        }
        line.print(peer_name, &mut report);
    }
    Ok(report)
}

fn growth(side: &dyn Server, tls: bool) -> Result<f64> {
    let open = |n: usize| -> Result<imap::Client> {
        let user = side.user(n % USERS);
        let mut client = imap::Client::connect(side.imap(), n / 100 + 1, tls, &user, side.password())?;
        client.command("SELECT INBOX")?;
        client.idle()?;
        Ok(client)
    };
    // Everybody has been here once, so that what is kept for an account is not counted as a session's.
    drop((0..USERS).map(open).collect::<Result<Vec<_>>>()?);
    std::thread::sleep(CALM);
    let (_, before) = side.used()?;
    let sessions = (0..SESSIONS).map(open).collect::<Result<Vec<_>>>()?;
    std::thread::sleep(CALM);
    let (_, after) = side.used()?;
    drop(sessions);
    Ok((after - before) / SESSIONS as f64)
}

pub(crate) fn exists(rounds: usize) -> Result<String> {
    let (ours, peer) = both(true)?;
    let mut halves = Line::new("from the 250 to EXISTS, p50", "ms", 2, "at most 5 ms");
    let mut most = Line::new("from the 250 to EXISTS, p99", "ms", 2, "at most 20 ms");
    for round in 1..=rounds {
        for (side, half, most) in [
            (&ours as &dyn Server, &mut halves.ours, &mut most.ours),
            (&peer, &mut halves.peers, &mut most.peers),
        ] {
            let mut times = (0..DELIVERIES)
                .map(|_| hear(side))
                .collect::<Result<Vec<f64>>>()?;
            times.sort_by(f64::total_cmp);
            half.push(times[DELIVERIES / 2]);
            most.push(times[DELIVERIES * 99 / 100]);
            println!(
                "{} round {round}: p50 {:.2} ms, p99 {:.2} ms",
                side.name(),
                half[half.len() - 1],
                most[most.len() - 1]
            );
        }
    }
    let mut report = String::new();
    halves.print(peer.name(), &mut report);
    most.print(peer.name(), &mut report);
    Ok(report)
}

/// Milliseconds from the 250 of a delivery until a session that idles is told; below zero when it hears first.
fn hear(side: &dyn Server) -> Result<f64> {
    let mut client = imap::Client::connect(side.imap(), 1, false, &side.user(0), side.password())?;
    client.command("SELECT INBOX")?;
    client.idle()?;
    let listener = std::thread::spawn(move || -> Result<Instant> {
        client.wait_for("EXISTS")?;
        Ok(Instant::now())
    });
    let text = String::from_utf8(message(1))?;
    let answered = smtp::deliver_once(side.smtp(), &side.user(0), &text)?;
    let heard = listener.join().map_err(|_| "the listener panicked")??;
    Ok(match heard.checked_duration_since(answered) {
        Some(after) => after.as_secs_f64() * 1_000.0,
        None => -(answered - heard).as_secs_f64() * 1_000.0,
    })
}
