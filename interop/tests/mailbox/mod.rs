//! A mailbox as Python's imaplib sees it.

use ringpost_interop::{Server, Wav, client, run};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Fetches the newest message of INBOX with Python's imaplib and gives its WAV attachment.
#[allow(dead_code)] // Not every test that uses this module has its mailbox on the usual port.
pub(crate) fn voicemail(server: &Server, user: &str, password: &str) -> Wav {
    voicemail_at(&server.address().to_string(), 9930, server, (user, password))
}

/// The same from any address and port.
pub(crate) fn voicemail_at(host: &str, port: u16, server: &Server, (user, password): (&str, &str)) -> Wav {
    let python = client("python3").expect("Python comes with every Debian");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts/voicemail.py");
    let wav = server.folder().join("voicemail.wav");
    let mut command = Command::new(python);
    command
        .arg(script)
        .args([host, &port.to_string(), user, password])
        .arg(&wav);
    let finished = run(
        server.folder(),
        "voicemail",
        &mut command,
        Duration::from_secs(30),
    );
    assert!(finished.succeeded(), "{}", finished.output);
    Wav::read(&wav).expect("the attachment is a WAV file")
}
