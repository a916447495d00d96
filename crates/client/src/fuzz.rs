//! What must hold for any bytes that a server sends.

use crate::{imap, phone, pop3, smtp};
use bytes::Bytes;
use ringpost_base::{Instant, Rng, UnixTime};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

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

/// Feeds `data` to a POP3 client in whole and in pieces, as above.
///
/// # Panics
///
/// When an invariant breaks.
pub fn pop3(data: &[u8]) {
    let run = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let mut client = pop3::Client::new();
        client.login("alice", "p\u{e4}ss");
        client.capa();
        client.uidl();
        client.retr(1);
        client.top(2, 0);
        client.dele(1);
        client.quit();
        let mut seen = Vec::new();
        // The commands go out whatever comes.
        while !matches!(client.poll_output(), pop3::Output::Idle) {}
        for piece in pieces {
            let result = client.handle_input(piece);
            loop {
                match client.poll_output() {
                    pop3::Output::Idle => break,
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

/// Feeds `data` to a phone that answers and one that calls: pieces between lines of `--`, each to the socket that its
/// first letter names (`S`IP, `R`TP, RT`C`P, s`T`ream), 100 ms apart. Then everything ends: the phones hang up, and
/// have nothing left when all timers have run.
///
/// # Panics
///
/// When an invariant breaks.
pub fn phone(data: &[u8]) {
    let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let (peer, mut now) = (address(5062), Instant::ZERO);
    let config = phone::Config {
        answering: phone::Answering::After(Duration::from_millis(50)),
        tone_hz: Some(440.0),
        login: Some(("alice".into(), "secret".into())),
        server: Some(peer),
        ..phone::Config::new("alice", "example.com", address(5060), address(4000))
    };
    let mut phone =
        phone::Phone::new(now, UnixTime::from_secs(1), config, Rng::from_number(1)).expect("a phone");
    phone.register(now).expect("a server");
    for piece in data
        .split(|b| *b == b'\n')
        .collect::<Vec<_>>()
        .split(|line| *line == b"--")
    {
        let piece = piece.join(&b'\n');
        let Some((socket, bytes)) = piece.split_first() else {
            continue;
        };
        match socket {
            b'S' => feed(
                &mut phone,
                now,
                phone::Socket::Sip(ringpost_sip::Transport::Udp),
                peer,
                bytes,
            ),
            b'R' => feed(&mut phone, now, phone::Socket::Rtp(0), address(6000), bytes),
            b'C' => feed(&mut phone, now, phone::Socket::Rtcp(0), address(6001), bytes),
            _ => {
                phone.handle_stream(now, peer, bytes);
            }
        }
        now = run(&mut phone, now, now + Duration::from_millis(100));
    }
    for call in phone.calls().collect::<Vec<_>>() {
        phone.hang_up(now, call).expect("the call is there");
    }
    phone.unregister(now).expect("a server");
    run(&mut phone, now, now + Duration::from_secs(400));
    assert_eq!(phone.calls().count(), 0);
}

fn feed(phone: &mut phone::Phone, now: Instant, socket: phone::Socket, from: SocketAddr, bytes: &[u8]) {
    phone.handle_datagram(now, socket, from, Bytes::copy_from_slice(bytes));
}

/// Lets the phone's timers run until then.
fn run(phone: &mut phone::Phone, mut now: Instant, until: Instant) -> Instant {
    loop {
        match phone.poll_output() {
            phone::Output::Timeout(Some(at)) if at <= until => {
                now = now.max(at);
                phone.handle_timeout(now);
            }
            phone::Output::Timeout(_) => return until,
            phone::Output::Transmit { .. } | phone::Output::Event(_) => (),
        }
    }
}
