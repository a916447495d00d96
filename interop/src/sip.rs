//! SIP requests typed by hand, from phones of this machine that need no credentials (see `Options::trusted_network`).

use crate::{DOMAIN, Server};
use std::net::UdpSocket;
use std::time::{Duration, Instant};

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

/// A call of one phone that speaks µ-law, from its INVITE to its end.
#[derive(Debug)]
pub struct SipCall {
    signals: SipSocket,
    sound: UdpSocket,
    /// The response that decided: the 2xx, or the refusal.
    pub answer: String,
    call: String,
    from: String,
    cseq: u32,
    /// Sequence number and timestamp of the next packet of sound, in packets.
    sent: u32,
}

/// Samples in a packet, one a byte: 20 ms.
const PACKET_SAMPLES: u32 = 160;

impl SipCall {
    /// Calls an account of [`DOMAIN`] as another, and waits for what becomes of it; `call` makes its identifiers.
    pub fn place(server: &Server, from: &str, to: &str, call: &str) -> SipCall {
        let signals = SipSocket::open(server);
        let sound = UdpSocket::bind((server.address(), 0)).expect("a port is free");
        let (ip, port) = (server.address(), sound.local_addr().expect("it is bound").port());
        let description = format!(
            "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n"
        );
        let more = format!(
            "Contact: <sip:{from}@{ip}:{}>\r\nContent-Type: application/sdp\r\n\r\n{description}",
            signals.port()
        );
        let from = format!("sip:{from}@{DOMAIN}");
        let invite = sip_request("INVITE", &format!("sip:{to}@{DOMAIN}"), &from, call, &more);
        // Whoever is called is told apart from who calls.
        let invite = invite.replace(&format!("To: <{from}>"), &format!("To: <sip:{to}@{DOMAIN}>"));
        let answer = signals.ask(&invite);
        let mut placed = SipCall {
            signals,
            sound,
            answer,
            call: call.into(),
            from,
            cseq: 1,
            sent: 0,
        };
        if placed.is_answered() {
            placed.within("ACK", 1, "");
            let port = between(&placed.answer, "m=audio ", " ").to_string();
            let ip = between(&placed.answer, "c=IN IP4 ", "\r\n").to_string();
            placed
                .sound
                .connect(format!("{ip}:{port}"))
                .expect("an address of media");
        }
        placed.cseq = 2;
        placed
    }

    /// Whether it was answered with a 2xx.
    pub fn is_answered(&self) -> bool {
        self.answer.starts_with("SIP/2.0 2")
    }

    fn within(&self, method: &str, cseq: u32, body: &str) {
        let line = |name: &str| {
            let found = self.answer.lines().find(|line| line.starts_with(name));
            found
                .unwrap_or_else(|| panic!("no {name} in {}", self.answer))
                .to_string()
        };
        let target = between(&line("Contact:"), "<", ">").to_string();
        let (from, call, to) = (&self.from, &self.call, line("To:"));
        let kind = match body {
            "" => "",
            _ => "Content-Type: application/dtmf-relay\r\n",
        };
        self.signals.send(&format!(
            "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP x;branch=z9hG4bK{call}{cseq}{method};rport\r\n\
             From: <{from}>;tag=1\r\n{to}\r\nCall-ID: {call}\r\nCSeq: {cseq} {method}\r\nMax-Forwards: 70\r\n{kind}\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        ));
    }

    /// Presses a key, as an INFO tells it.
    pub fn press(&mut self, key: char) {
        let cseq = self.cseq;
        self.cseq += 1;
        self.within("INFO", cseq, &format!("Signal={key}\r\nDuration=160\r\n"));
        self.heard("SIP/2.0 200", "INFO");
    }

    /// Says a tone for so long.
    pub fn speak(&mut self, length: Duration) {
        // Twenty steps of µ-law up and down, at the loud end: 400 Hz.
        let wave: Vec<u8> = (0..20).map(|n| if n < 10 { 0x8f } else { 0x0f }).collect();
        let began = Instant::now();
        for n in 1..=(length.as_millis() / 20) as u32 {
            let mut packet = vec![0x80, 0];
            packet.extend((self.sent as u16).to_be_bytes());
            packet.extend((self.sent * PACKET_SAMPLES).to_be_bytes());
            packet.extend(7_u32.to_be_bytes());
            packet.extend(wave.iter().cycle().take(PACKET_SAMPLES as usize));
            // What cannot be delivered is told by the next send; a packet of sound is lost now and then.
            let _ = self.sound.send(&packet);
            self.sent += 1;
            // By the clock, so that a machine that is busy makes nobody speak slower.
            let due = began + Duration::from_millis(20) * n;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
    }

    /// Waits until the other side hangs up, and agrees.
    ///
    /// # Panics
    /// When it does not in time.
    pub fn wait_for_end(self) {
        loop {
            let text = self.signals.next();
            if !text.starts_with("SIP/2.0 ") {
                self.signals.answer(&text);
            }
            if text.starts_with("BYE ") {
                return;
            }
        }
    }

    /// Hangs up.
    pub fn hang_up(mut self) {
        let cseq = self.cseq;
        self.cseq += 1;
        self.within("BYE", cseq, "");
        self.heard("SIP/2.0 200", "BYE");
    }

    /// Waits for a message with this start, of this method.
    fn heard(&self, start: &str, method: &str) {
        while let text = self.signals.next()
            && !(text.starts_with(start) && text.contains(&format!(" {method}\r\n")))
        {}
    }
}

fn between<'a>(text: &'a str, before: &str, behind: &str) -> &'a str {
    let rest = text.split_once(before).map(|(_, rest)| rest);
    rest.and_then(|rest| Some(rest.split_once(behind)?.0))
        .unwrap_or_else(|| panic!("no {before:?} in {text}"))
}
