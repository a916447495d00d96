//! A network of one's own: what is sent to groups there reaches nobody else on the machine.

use crate::clients::{client, run, skip};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(10);

/// Moves the calling thread, and whatever it starts from now on, into a network of its own whose loopback carries groups too.
/// False, with a line that says so, where the system does not let it.
///
/// # Panics
/// When `CI` is set and it cannot be had.
pub fn own_network(folder: &Path) -> bool {
    let Some(ip) = client("ip") else { return false };
    // SAFETY: it takes a number, and changes what this thread alone belongs to.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
        let error = std::io::Error::last_os_error();
        skip(format_args!("no network of its own: {error}"));
        return false;
    }
    let commands = [
        "link set lo up",
        "link set lo multicast on",
        // The system takes none of 127.0.0.0/8 as the source of what goes to a group.
        "address add 192.0.2.1/32 dev lo",
        "route add 224.0.0.0/4 dev lo",
    ];
    run_all(folder, &ip, &commands);
    true
}

/// The same with an interface of IPv6, whose name it gives: the loopback carries no groups of that. Groups lead there unless
/// another interface is named.
///
/// # Panics
/// When `CI` is set and it cannot be had.
pub fn own_ipv6_network(folder: &Path) -> Option<&'static str> {
    let ip = client("ip")?;
    if !own_network(folder) {
        return None;
    }
    let commands = [
        "link add house0 type veth peer name street0",
        "-6 address add 2001:db8::1/64 dev house0 nodad",
        "link set house0 up",
        "link set street0 up",
        "-6 route delete ff00::/8 dev street0 table local",
    ];
    run_all(folder, &ip, &commands);
    Some("house0")
}

fn run_all(folder: &Path, ip: &Path, commands: &[&str]) {
    for arguments in commands {
        let mut command = Command::new(ip);
        command.args(arguments.split(' '));
        let done = run(folder, "network", &mut command, LIMIT);
        assert!(done.succeeded(), "ip {arguments}: {}", done.output);
    }
}
