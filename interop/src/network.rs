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
    for arguments in [
        "link set lo up",
        "link set lo multicast on",
        // The system takes none of 127.0.0.0/8 as the source of what goes to a group.
        "address add 192.0.2.1/32 dev lo",
        "route add 224.0.0.0/4 dev lo",
    ] {
        let mut command = Command::new(&ip);
        command.args(arguments.split(' '));
        let done = run(folder, "network", &mut command, LIMIT);
        assert!(done.succeeded(), "ip {arguments}: {}", done.output);
    }
    true
}
