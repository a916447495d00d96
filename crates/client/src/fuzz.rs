//! What must hold for any bytes that a server sends.

use crate::{imap, smtp};
use ringpost_base::Instant;

/// Feeds `data` to an IMAP client in whole and in pieces: both say the same, and nothing is left over.
///
/// # Panics
///
/// When an invariant breaks.
pub fn imap(data: &[u8]) {
    let run = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let mut client = imap::Client::new();
        client.login(Instant::ZERO, "alice", "päss");
        client.idle(Instant::ZERO);
        client.append(Instant::ZERO, "INBOX", "", b"Subject: x\r\n\r\n");
        let mut seen = Vec::new();
        for piece in pieces {
            let result = client.handle_input(Instant::ZERO, piece);
            loop {
                match client.poll_output() {
                    imap::Output::Timeout(_) => break,
                    output => seen.push(output),
                }
            }
            if let Err(error) = result {
                return (seen, Some(error));
            }
        }
        (seen, None)
    };
    assert_eq!(run(&mut std::iter::once(data)), run(&mut data.chunks(3)));
}

/// Feeds `data` to an SMTP client in whole and in pieces, as above.
///
/// # Panics
///
/// When an invariant breaks.
pub fn smtp(data: &[u8]) {
    let run = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let login = Some(smtp::Login {
            user: "alice".into(),
            password: "secret".into(),
        });
        let mut client = smtp::Client::new(
            Instant::ZERO,
            smtp::Config {
                login,
                ..smtp::Config::new("phone")
            },
        );
        client.send(
            Instant::ZERO,
            smtp::Mail {
                from: "a@example.com".into(),
                to: vec!["b@example.com".into(), "c@example.com".into()],
                message: bytes::Bytes::from_static(b".\r\n"),
            },
        );
        let mut seen = Vec::new();
        for piece in pieces {
            client.handle_input(Instant::ZERO, piece);
            loop {
                match client.poll_output() {
                    smtp::Output::Timeout(_) => break,
                    output => seen.push(output),
                }
            }
        }
        seen
    };
    assert_eq!(run(&mut std::iter::once(data)), run(&mut data.chunks(3)));
}
