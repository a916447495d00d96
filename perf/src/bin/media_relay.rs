//! What a relayed RTP packet costs, beside rtpengine in userspace.
//!
//! `media_relay [SECONDS] [ROUNDS] [PAIRS]…` starts ours and the peer in turn (A B A B …), sends both ways over so many
//! pairs of ports (200, then 500) at 50 packets a second and 172 bytes each, and prints the CPU time of the relaying
//! process for a packet: each round, the medians, and their ratio. The figures also go to `perf/RESULTS.md`.
//! `media_relay serve PAIRS FILE` is our side of it, a media thread and nothing else; it ends with its standard input.
//!
//! The load generator uses CPU too, and the two share the machine; what it used is printed, and so is what was lost.

use ringpost_base::{Rng, UnixTime};
use ringpost_media::{Command, LegId, LegMedia};
use ringpost_net::media::MediaThread;
use ringpost_perf::{Child, cpu_time, median, record};
use ringpost_rtp::{Header, Packet};
use std::error::Error;
use std::fs;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Where the two parties of a pair live, as `perf/peers/ng.py` has it.
const PARTIES: [Ipv4Addr; 2] = [Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 3)];
/// Their first port.
const FIRST_PORT: u16 = 20_000;
/// Ours to relay by; the peer uses 31000–39999.
const RELAY_PORTS: std::ops::RangeInclusive<u16> = 40_000..=59_999;
/// Pairs of parties, unless others are named.
const LOADS: [usize; 2] = [200, 500];
/// Every party sends a packet in each of these.
const FRAME: Duration = Duration::from_millis(20);
/// What came is read this often in a frame, from a part of the parties each time.
const READS: usize = 20;
/// Before the clock starts: everybody's address is learned and every cache is warm.
const WARM_UP: Duration = Duration::from_secs(2);

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |n: usize, default| arguments.get(n).map_or(Ok(default), |text| text.parse::<usize>());
    match arguments.first().map(String::as_str) {
        Some("serve") => {
            let file = arguments.get(2).ok_or("usage: media_relay serve PAIRS FILE")?;
            serve(number(1, 0)?, Path::new(file))
        }
        _ => {
            let length = Duration::from_secs(number(0, 10)? as u64);
            let rounds = number(1, 5)?;
            let named: Vec<usize> = (2..arguments.len())
                .map(|n| number(n, 0))
                .collect::<std::result::Result<_, _>>()?;
            let loads = if named.is_empty() { LOADS.to_vec() } else { named };
            let mut report = format!("{rounds} rounds of {} s.\n\n", length.as_secs());
            for pairs in loads {
                report += &compare(pairs, length, rounds)?;
            }
            record("Relaying beside rtpengine in userspace", &report)?;
            Ok(())
        }
    }
}

/// Relays between `pairs` pairs of parties until standard input ends.
fn serve(pairs: usize, file: &Path) -> Result<()> {
    let (events, receiver) = async_channel::bounded(16);
    let now = UnixTime::from_secs(0);
    let thread = MediaThread::start(RELAY_PORTS, now, Rng::from_number(1), events)?;
    // Nothing happens here that anybody wants to know.
    std::thread::spawn(move || while receiver.recv_blocking().is_ok() {});
    let relay = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let mut lines = String::new();
    for pair in 0..pairs as u64 {
        let port = FIRST_PORT + 2 * pair as u16;
        let mut relay_ports = [0; 2];
        for (party, ip) in PARTIES.into_iter().enumerate() {
            let (sockets, relay_port) = thread.handle().open(relay)?;
            relay_ports[party] = relay_port;
            let media = LegMedia {
                rtp: Some(SocketAddr::from((ip, port))),
                ..LegMedia::audio()
            };
            let leg = LegId(2 * pair + party as u64);
            let create = Command::CreateLeg {
                leg,
                pair: sockets,
                cname: "perf".into(),
                media,
                media_timeout: None,
            };
            pushed(&thread, create)?;
        }
        pushed(
            &thread,
            Command::Bridge {
                a: LegId(2 * pair),
                b: LegId(2 * pair + 1),
            },
        )?;
        lines += &format!("{port} {port} {relay} {} {}\n", relay_ports[0], relay_ports[1]);
    }
    fs::write(file, lines)?;
    println!("READY");
    std::io::stdin().read_to_end(&mut Vec::new())?;
    thread.stop();
    Ok(())
}

/// Gives a command, waiting for the thread where it is behind.
fn pushed(thread: &MediaThread, command: Command) -> Result<()> {
    while let Err(error) = thread.handle().try_send(command.clone()) {
        if !matches!(error, ringpost_net::media::MediaError::Busy) {
            return Err(error.into());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// What one round of load showed.
struct Round {
    us_per_packet: f64,
    lost_percent: f64,
    load_us_per_packet: f64,
}

/// Measures both sides under one load; gives a line of the report.
fn compare(pairs: usize, length: Duration, rounds: usize) -> Result<String> {
    let peer = Child::is_installed("rtpengine");
    if !peer {
        println!("rtpengine is not installed; ours is measured alone, which says little");
    }
    let per_s = pairs * 2 * 50;
    println!("{pairs} pairs, {per_s} packets/s, {length:?} a round");
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        ours.push(told("ringpost", round, measure_ours(pairs, length)?));
        if peer {
            theirs.push(told("rtpengine", round, measure_peer(pairs, length)?));
        }
    }
    let ours = median(&ours);
    let mut line = format!("- {per_s} packets/s of {pairs} calls: ringpost {ours:.2} µs of CPU a packet");
    if peer {
        let theirs = median(&theirs);
        line += &format!(
            ", rtpengine {theirs:.2} µs, ratio {:.2} (to reach: at most 0.50)",
            ours / theirs
        );
    }
    line.push('\n');
    print!("{line}");
    Ok(line)
}

fn told(name: &str, number: usize, round: Round) -> f64 {
    println!(
        "{name:<10} round {number}: {:.2} µs a packet, {:.2} % lost (load generator: {:.2} µs)",
        round.us_per_packet, round.lost_percent, round.load_us_per_packet
    );
    round.us_per_packet
}

fn measure_ours(pairs: usize, length: Duration) -> Result<Round> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("pairs");
    let mut server = Child::start(
        std::env::current_exe()?,
        ["serve".as_ref(), pairs.to_string().as_ref(), file.as_os_str()],
    )?;
    server.wait_for_line("READY")?;
    let round = load(&fs::read_to_string(&file)?, length, server.pid());
    server.stop()?;
    round
}

fn measure_peer(pairs: usize, length: Duration) -> Result<Round> {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers");
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("pairs");
    let script = scripts.join("rtpengine.sh");
    let started = Child::output("bash", [script.as_os_str(), "start".as_ref()])?;
    let pid = started
        .split("\"pid\":")
        .nth(1)
        .and_then(|rest| rest.trim_end_matches(['}', '\n']).parse().ok())
        .ok_or_else(|| format!("rtpengine.sh said {started:?}"))?;
    let result = (|| {
        let ng = scripts.join("ng.py");
        let mut calls = Child::start(
            "python3",
            [ng.as_os_str(), pairs.to_string().as_ref(), file.as_os_str()],
        )?;
        calls.wait_for_line("READY")?;
        let round = load(&fs::read_to_string(&file)?, length, pid);
        calls.stop()?;
        round
    })();
    Child::output("bash", [script.as_os_str(), "stop".as_ref()])?;
    result
}

/// One party: its socket, and where it sends to.
struct Party {
    socket: UdpSocket,
    relay: SocketAddr,
    header: Header,
}

fn parties(pairs: &str) -> Result<Vec<Party>> {
    let mut parties = Vec::new();
    for (n, line) in pairs.lines().enumerate() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [a, b, relay, by_a, by_b] = words[..] else {
            return Err(format!("a pair {line:?}").into());
        };
        for (party, port, relay_port) in [(0, a, by_a), (1, b, by_b)] {
            let socket = UdpSocket::bind((PARTIES[party], port.parse()?))?;
            socket.set_nonblocking(true)?;
            parties.push(Party {
                socket,
                relay: SocketAddr::new(relay.parse()?, relay_port.parse()?),
                header: Header {
                    ssrc: (2 * n + party) as u32 + 1,
                    ..Header::default()
                },
            });
        }
    }
    Ok(parties)
}

/// Sends to a relay from all parties, and measures what the process `pid` spends meanwhile.
fn load(pairs: &str, length: Duration, pid: u32) -> Result<Round> {
    let mut parties = parties(pairs)?;
    run(&mut parties, WARM_UP);
    let (cpu, own_cpu) = (cpu_time(pid)?, cpu_time(std::process::id())?);
    let (sent, received) = run(&mut parties, length);
    let spent = cpu_time(pid)?.saturating_sub(cpu);
    let own_spent = cpu_time(std::process::id())?.saturating_sub(own_cpu);
    if received == 0 {
        return Err("nothing was relayed".into());
    }
    let us_each = |spent: Duration, n: u64| spent.as_secs_f64() * 1e6 / n as f64;
    Ok(Round {
        us_per_packet: us_each(spent, received),
        lost_percent: 100.0 * sent.saturating_sub(received) as f64 / sent as f64,
        load_us_per_packet: us_each(own_spent, sent),
    })
}

/// Sends for `length`, each party 50 packets a second; how many were sent, and how many came.
///
/// Packets of different calls come at different moments, and a relay that is woken for each pays for that. So they are
/// sent one by one, evenly over the frame, by waiting actively.
fn run(parties: &mut [Party], length: Duration) -> (u64, u64) {
    let (mut sent, mut received) = (0, 0);
    let mut packet = Vec::with_capacity(172);
    let spacing = FRAME / parties.len() as u32;
    let frames = (length.as_nanos() / FRAME.as_nanos()) as u32;
    let began = Instant::now();
    for frame in 0..frames {
        for (n, party) in parties.iter_mut().enumerate() {
            let due = FRAME * frame + spacing * n as u32;
            while began.elapsed() < due {
                std::hint::spin_loop();
            }
            party.header.sequence = party.header.sequence.wrapping_add(1);
            party.header.timestamp = party.header.timestamp.wrapping_add(160);
            packet.clear();
            party.header.write(&[0x55; 160], &mut packet);
            sent += u64::from(party.socket.send_to(&packet, party.relay).is_ok());
            // Each party's socket is read every few frames, several packets at a time.
            if n % READS == frame as usize % READS {
                received += drain(party);
            }
        }
    }
    std::thread::sleep(Duration::from_millis(50));
    received += parties.iter().map(drain).sum::<u64>();
    (sent, received)
}

/// Reads a party's socket until it is empty.
fn drain(party: &Party) -> u64 {
    let mut buffer = [0; 2_048];
    let mut packets = 0;
    while let Ok(len) = party.socket.recv(&mut buffer) {
        packets += u64::from(Packet::parse(&buffer[..len]).is_ok());
    }
    packets
}
