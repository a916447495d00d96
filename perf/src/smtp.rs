//! A sender that fills mailboxes, by SMTP or LMTP.

use crate::Result;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Messages of one connection: servers end one that brings many.
const PER_CONNECTION: usize = 50;

/// Hands a message to one recipient again and again, by SMTP or LMTP; `greeting` is the word that tells them apart.
pub fn deliver(
    server: SocketAddr,
    greeting: &str,
    recipient: &str,
    message: &str,
    count: usize,
) -> Result<()> {
    for begun in (0..count).step_by(PER_CONNECTION) {
        deliver_some(
            server,
            greeting,
            recipient,
            message,
            PER_CONNECTION.min(count - begun),
        )?;
    }
    Ok(())
}

fn deliver_some(
    server: SocketAddr,
    greeting: &str,
    recipient: &str,
    message: &str,
    count: usize,
) -> Result<()> {
    let socket = TcpStream::connect(server)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_nodelay(true)?;
    let mut stream = BufReader::new(socket);
    reply(&mut stream, "220")?;
    let say = |stream: &mut BufReader<TcpStream>, text: &str, wanted| {
        stream.get_mut().write_all(text.as_bytes())?;
        reply(stream, wanted)
    };
    say(&mut stream, &format!("{greeting} load.test\r\n"), "250")?;
    for _ in 0..count {
        say(&mut stream, "MAIL FROM:<sender@elsewhere.test>\r\n", "250")?;
        say(&mut stream, &format!("RCPT TO:<{recipient}>\r\n"), "250")?;
        say(&mut stream, "DATA\r\n", "354")?;
        say(&mut stream, &format!("{message}.\r\n"), "250")?;
    }
    say(&mut stream, "QUIT\r\n", "221")
}

/// Delivers one message, and says when its 250 came.
pub fn deliver_once(server: SocketAddr, recipient: &str, message: &str) -> Result<Instant> {
    let socket = TcpStream::connect(server)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_nodelay(true)?;
    let mut stream = BufReader::new(socket);
    reply(&mut stream, "220")?;
    for (text, wanted) in [
        ("EHLO load.test\r\n".to_owned(), "250"),
        ("MAIL FROM:<sender@elsewhere.test>\r\n".to_owned(), "250"),
        (format!("RCPT TO:<{recipient}>\r\n"), "250"),
        ("DATA\r\n".to_owned(), "354"),
        (format!("{message}.\r\n"), "250"),
    ] {
        stream.get_mut().write_all(text.as_bytes())?;
        reply(&mut stream, wanted)?;
    }
    let answered = Instant::now();
    stream.get_mut().write_all(b"QUIT\r\n")?;
    reply(&mut stream, "221")?;
    Ok(answered)
}

/// Reads a reply to its last line.
fn reply(stream: &mut BufReader<TcpStream>, wanted: &str) -> Result<()> {
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Err("the server closed the connection".into());
        }
        if !line.starts_with(wanted) {
            return Err(format!("expected {wanted}, the server said {line:?}").into());
        }
        if line.as_bytes().get(3) != Some(&b'-') {
            return Ok(());
        }
    }
}
