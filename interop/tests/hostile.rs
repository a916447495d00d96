//! Clients that mean no good: others are served meanwhile, and nothing is left of them.

#![allow(clippy::unwrap_used)] // A test says what it missed by panicking.

use ringpost_interop::{DOMAIN, Options, Server, client, run, wait_for};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Open files of the server.
fn files(server: &Server) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", server.pid()))
        .unwrap()
        .count()
}

/// Its resident memory.
fn resident_mib(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() / 1024
}

// Guards pitfalls SIP 5, SIP 13, SMTP 8 and IMAP 6.
#[test]
fn others_are_served_beside_hostile_clients_and_nothing_is_left_of_those() {
    // Loopback is held to the limits too: that is where these clients come from.
    let server = Server::start_with(&Options {
        limits: "exempt_networks = []\n".into(),
        ..Options::default()
    });
    let (alice, bob) = (server.account("alice"), server.account("bob"));
    let (before, memory) = (files(&server), resident_mib(&server));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts/hostile.py");
    let mut command = Command::new(client("python3").expect("Python comes with every Debian"));
    command.arg(script).args([
        &server.address().to_string(),
        DOMAIN,
        &alice.address,
        &alice.password,
        &bob.address,
        &bob.password,
    ]);
    let finished = run(server.folder(), "hostile", &mut command, Duration::from_secs(120));
    assert!(finished.succeeded(), "{}", finished.output);
    let closed = wait_for(Duration::from_secs(60), || files(&server) <= before + 2);
    assert!(closed, "{} files are open, {before} were", files(&server));
    let grown = resident_mib(&server).saturating_sub(memory);
    assert!(grown < 100, "{grown} MiB more than before");
    let log = server.log();
    assert!(!log.contains("panick"), "{log}");
    assert!(log.len() < 1_000_000, "{} bytes of log", log.len());
    server.check_store();
}
