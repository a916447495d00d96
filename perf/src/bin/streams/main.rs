//! What streams cost, beside gst-rtsp-server with shared media.
//!
//! `streams [PART]…` runs the parts that are named, or all:
//!
//! - `cost`: CPU seconds for a GB that 200 readers get, over TCP and over UDP, and the memory of a reader (PSS);
//! - `most`: how many readers have everything, on these cores beside the readers themselves: steps until one misses a packet,
//!   falls behind or is closed;
//! - `stalled`: what one reader that stops reading does to the others' delay, from the sending of a picture to its last octet;
//! - `joining`: 40 readers that come at once, and from PLAY to the first packet of a key frame.
//!
//! Both sides get the same clip from a publisher of ours: H.264 of 2 Mbit/s in real time, 25 pictures and a key frame a
//! second, over TCP. The readers are one thread in epoll that looks at sequence numbers. Each measurement has a fresh server, one side after
//! the other (A B A B …); medians of the rounds are printed, and go to `perf/RESULTS.md`. `RINGPOST_PERF_ROUNDS` sets the
//! rounds (3), `RINGPOST_SOAK=1` makes each longer. Ours is the `ringpost` of the same build, or the one that `RINGPOST_BIN`
//! names.

mod cost;
mod crowd;
mod delay;
mod most;
mod publisher;
mod reader;
mod servers;
mod wire;

use crowd::Crowd;
use publisher::{Clip, Publisher};
use reader::Transport;
use ringpost_perf::server::allow_files;
use ringpost_perf::{Child, Result, record};
use servers::{PEER, Running, Side};
use std::sync::Arc;
use std::time::Duration;

/// Readers of most measurements.
const READERS: usize = 200;
/// Readers that join at a time, where it is not the joining that is measured.
const AT_ONCE: usize = 16;
/// How long readers may take to join.
const JOIN_LIMIT: Duration = Duration::from_secs(60);
/// How long the first one may: a server may need to learn what its publisher sends.
const FIRST_LIMIT: Duration = Duration::from_secs(9);
const FIRST_TRIES: usize = 10;
/// Where neither delays nor costs are measured, readers rest so long between two looks at their sockets, which makes them cheaper.
const REST: Duration = Duration::from_millis(20);
/// Files that the processes may have open.
const FILES: libc::rlim_t = 65_536;

/// What all parts go by.
struct Setup {
    clip: Arc<Clip>,
    rounds: usize,
    is_long: bool,
}

/// What measures something, and tells it.
type Part = fn(&Setup) -> Result<String>;

fn main() -> Result<()> {
    let parts: Vec<String> = std::env::args().skip(1).collect();
    for program in ["ffmpeg", "gcc", "pkg-config"] {
        if !Child::is_installed(program) {
            return Err(format!(
                "{program} is not installed (Debian: ffmpeg, gcc, pkg-config, libgstrtspserver-1.0-dev)"
            )
            .into());
        }
    }
    allow_files(FILES)?;
    let rounds = match std::env::var("RINGPOST_PERF_ROUNDS") {
        Ok(rounds) => rounds.parse()?,
        Err(_) => 3,
    };
    let setup = Setup {
        clip: Arc::new(Clip::prepare()?),
        rounds,
        is_long: std::env::var_os("RINGPOST_SOAK").is_some_and(|soak| soak == "1"),
    };
    let all: [(&str, Part); 4] = [
        ("cost", cost::compare),
        ("most", most::compare),
        ("stalled", delay::stalled),
        ("joining", delay::joining),
    ];
    if let Some(unknown) = parts
        .iter()
        .find(|part| !all.iter().any(|(name, _)| name == part))
    {
        return Err(format!("{unknown} is no part: cost, most, stalled, joining").into());
    }
    let cores = std::thread::available_parallelism()?;
    for (name, part) in all {
        if parts.is_empty() || parts.iter().any(|wanted| wanted == name) {
            println!("{name}: {cores} cores, {rounds} rounds");
            let report = part(&setup)?;
            record(
                &format!("Streams beside {PEER}: {name}"),
                &format!("{cores} cores, {rounds} rounds.\n\n{report}"),
            )?;
        }
    }
    Ok(())
}

/// A server with a publisher and one reader; they end in this order.
struct Show {
    crowd: Crowd,
    publisher: Publisher,
    running: Running,
}

impl Setup {
    /// Starts a server and a publisher, and waits until the stream can be read.
    fn show(&self, side: Side, transport: Transport, stamped: bool) -> Result<Show> {
        let running = side.start()?;
        let publisher = Publisher::start(&running.publish, self.clip.clone(), stamped)?;
        let mut tries = 1;
        loop {
            std::thread::sleep(Duration::from_millis(500));
            let mut crowd = Crowd::new(&running.play, transport)?;
            match crowd.join(1, 1, FIRST_LIMIT) {
                Ok(_) => {
                    return Ok(Show {
                        crowd,
                        publisher,
                        running,
                    });
                }
                Err(error) if tries == FIRST_TRIES => return Err(error),
                Err(_) => tries += 1,
            }
        }
    }
}
