//! SIP requests typed by hand, from phones of this machine that need no credentials (see `Options::trusts_loopback`).

use crate::Server;
use std::net::UdpSocket;
use std::time::Duration;

/// How long a final response may take.
const LIMIT: Duration = Duration::from_secs(20);

/// A request by UDP outside any dialog, with From and To alike; `call` makes its identifiers, `more` are header lines and
/// perhaps, behind an empty line, a body.
pub fn sip_request(method: &str, uri: &str, address: &str, call: &str, more: &str) -> String {
    let (lines, body) = more.split_once("\r\n\r\n").unwrap_or((more.trim_end(), ""));
    let lines = match lines {
        "" => String::new(),
        lines => format!("{lines}\r\n"),
    };
    format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP x;branch=z9hG4bK{call};rport\r\nFrom: <{address}>;tag=1\r\n\
         To: <{address}>\r\nCall-ID: {call}\r\nCSeq: 1 {method}\r\nMax-Forwards: 70\r\n{lines}\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A socket that requests are sent from.
#[derive(Debug)]
pub struct SipSocket(UdpSocket);

impl SipSocket {
    /// On the server's address, at a port of its own.
    pub fn open(server: &Server) -> SipSocket {
        let socket = UdpSocket::bind((server.address(), 0)).expect("a port is free");
        socket
            .set_read_timeout(Some(LIMIT))
            .expect("a socket has a timeout");
        socket
            .connect((server.address(), 5060))
            .expect("a socket can be connected");
        SipSocket(socket)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.0.local_addr().expect("it is bound").port()
    }

    /// Sends a message.
    pub fn send(&self, text: &str) {
        self.0.send(text.as_bytes()).expect("the server listens");
    }

    /// The next message.
    ///
    /// # Panics
    /// When none comes in time.
    pub fn next(&self) -> String {
        let mut buffer = [0; 65_535];
        let length = self.0.recv(&mut buffer).expect("a message comes");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    /// Sends a request and gives its final response. Requests that come meanwhile are answered with 200.
    pub fn ask(&self, request: &str) -> String {
        self.send(request);
        loop {
            let text = self.next();
            match text.strip_prefix("SIP/2.0 ") {
                Some(status) if status.starts_with('1') => {}
                Some(_) => return text,
                None => self.answer(&text),
            }
        }
    }

    /// Answers a request with 200.
    pub fn answer(&self, request: &str) {
        let kept = ["Via:", "From:", "To:", "Call-ID:", "CSeq:"];
        let lines = request.lines().take_while(|line| !line.is_empty());
        let mut text = String::from("SIP/2.0 200 OK\r\n");
        for line in lines.filter(|line| kept.iter().any(|name| line.starts_with(name))) {
            text.push_str(line);
            let is_to = line.starts_with("To:") && !line.contains(";tag=");
            text.push_str(if is_to { ";tag=2\r\n" } else { "\r\n" });
        }
        self.send(&format!("{text}Content-Length: 0\r\n\r\n"));
    }
}
