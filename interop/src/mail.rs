//! What tests of mail ask for again and again.

use crate::{Account, Finished, ImapClient, Server, client, run};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(120);

/// Where one of the tests' scripts lies.
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/scripts")
        .join(name)
}

/// Runs one of the tests' scripts in Python, and gives what it says; `packages` is a folder of more modules. None where there
/// is no Python.
///
/// # Panics
/// When the script fails.
pub fn python_with(
    server: &Server,
    packages: Option<&Path>,
    name: &str,
    arguments: &[&str],
) -> Option<String> {
    let mut command = Command::new(client("python3")?);
    command.arg(script(name)).args(arguments);
    if let Some(packages) = packages {
        command.env("PYTHONPATH", packages);
    }
    let finished = run(server.folder(), name, &mut command, LIMIT);
    assert!(finished.succeeded(), "{arguments:?}: {}", finished.output);
    Some(finished.output)
}

/// The same with what Python brings by itself.
///
/// # Panics
/// When the script fails.
pub fn python(server: &Server, name: &str, arguments: &[&str]) -> Option<String> {
    python_with(server, None, name, arguments)
}

/// The same in Node, for which `packages` is the folder that [`crate::node_package`] gave.
///
/// # Panics
/// When the script fails.
pub fn node_with(server: &Server, packages: &Path, name: &str, arguments: &[&str]) -> String {
    // What node finds packages by lies beside the script.
    let copy = packages.join(name);
    std::fs::copy(script(name), &copy).expect("the build's folder can be written");
    let mut command = Command::new(client("node").expect("it brought the package"));
    command.arg(copy).args(arguments);
    let finished = run(server.folder(), name, &mut command, LIMIT);
    assert!(finished.succeeded(), "{arguments:?}: {}", finished.output);
    finished.output
}

/// Has swaks speak with a port of the server, as `client.test`; None where there is no swaks.
pub fn swaks(server: &Server, port: u16, more: &[&str]) -> Option<Finished> {
    let mut command = Command::new(client("swaks")?);
    command.args(["--server", &server.address().to_string()]);
    command.args(["--port", &port.to_string(), "--helo", "client.test"]);
    command.args(["--timeout", "30"]).args(more);
    Some(run(server.folder(), "swaks", &mut command, LIMIT))
}

/// Somebody sends a mail by port 587, with TLS and their password, by swaks with more arguments.
///
/// # Panics
/// When the server does not take it.
pub fn submit(server: &Server, from: &Account, to: &[&str], more: &[&str]) -> Option<()> {
    let (user, to) = (from.address.as_str(), to.join(","));
    let credentials = ["--auth", "PLAIN", "--auth-user", user, "--auth-password"];
    let envelope = [&from.password, "--tls", "--from", user, "--to", &to];
    let finished = swaks(server, 5870, &[&credentials[..], &envelope, more].concat())?;
    assert!(finished.succeeded(), "{}", finished.output);
    Some(())
}

/// All messages of a mailbox, each as IMAP shows its FETCH response.
///
/// # Panics
/// When they cannot be read.
pub fn mails(server: &Server, account: &Account, mailbox: &str) -> Vec<String> {
    let read = || {
        let mut imap = ImapClient::login(server, account)?;
        let text = imap.command(&format!("EXAMINE {mailbox}"))?.text();
        let exists = text.lines().find_map(|line| {
            line.strip_prefix("* ")?
                .strip_suffix(" EXISTS")?
                .parse::<u32>()
                .ok()
        });
        (1..=exists.unwrap_or_else(|| panic!("no EXISTS in {text}")))
            .map(|n| Ok(imap.command(&format!("FETCH {n} BODY.PEEK[]"))?.text()))
            .collect::<std::io::Result<Vec<String>>>()
    };
    read().unwrap_or_else(|error| panic!("{mailbox} of {}: {error}", account.address))
}
