//! RTSP within HTTP, on two connections of which one may not be as the other, and one may be cut.

#![allow(clippy::unwrap_used)] // A test says what it missed by panicking.

use ringpost_interop::{Server, base64, open_tls};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// One half of a tunnel.
struct Half(Box<dyn Stream>);

impl Half {
    fn open(server: &Server, is_secure: bool) -> Half {
        if is_secure {
            return Half(Box::new(open_tls(server, 8322).unwrap()));
        }
        let stream = TcpStream::connect(SocketAddr::from((server.address(), 8554))).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.set_nodelay(true).unwrap();
        Half(Box::new(stream))
    }

    fn say(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).unwrap();
        self.0.flush().unwrap();
    }

    /// Says what it is.
    fn begin(&mut self, method: &str, cookie: &str) {
        let more = match method {
            "POST" => "Content-Type: application/x-rtsp-tunnelled\r\nContent-Length: 32767\r\n",
            _ => "Accept: application/x-rtsp-tunnelled\r\n",
        };
        self.say(&format!(
            "{method} /alice/door HTTP/1.0\r\nx-sessioncookie: {cookie}\r\n{more}\r\n"
        ));
    }

    /// The next head, of HTTP or RTSP.
    fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.0
                .read_exact(&mut byte)
                .unwrap_or_else(|error| panic!("{error} behind {:?}", String::from_utf8_lossy(&head)));
            head.push(byte[0]);
        }
        String::from_utf8(head).unwrap()
    }

    /// Whether nothing more comes, however the other side has ended.
    fn has_ended(&mut self) -> bool {
        !matches!(self.0.read(&mut [0]), Ok(1..))
    }
}

fn options(server: &Server, cseq: u32) -> String {
    let url = format!("rtsp://{}:8554/alice/door", server.address());
    base64(format!("OPTIONS {url} RTSP/1.0\r\nCSeq: {cseq}\r\n\r\n"))
}

fn assert_answered(get: &mut Half, cseq: u32, when: &str) {
    let answer = get.head();
    assert!(
        answer.starts_with("RTSP/1.0 200 ") && answer.contains(&format!("CSeq: {cseq}\r\n")),
        "{when}: {answer}"
    );
}

// Guards pitfall RTSP 4.
#[test]
fn both_halves_of_a_tunnel_are_under_tls_or_neither() {
    let server = Server::start();
    for is_secure in [true, false] {
        let cookie = format!("cookie-{is_secure}");
        let mut get = Half::open(&server, is_secure);
        get.begin("GET", &cookie);
        let accepted = get.head();
        assert!(accepted.starts_with("HTTP/1.0 200 "), "{accepted}");
        let mut mixed = Half::open(&server, !is_secure);
        mixed.begin("POST", &cookie);
        let refused = mixed.head();
        assert!(refused.starts_with("HTTP/1.0 403 "), "{is_secure}: {refused}");
        assert!(mixed.has_ended());
        // The GET still waits for the one that is its own.
        let mut post = Half::open(&server, is_secure);
        post.begin("POST", &cookie);
        for cseq in 1..=2 {
            post.say(&options(&server, cseq));
            assert_answered(&mut get, cseq, &cookie);
        }
        // Nor does one take the place of it.
        let mut mixed = Half::open(&server, !is_secure);
        mixed.begin("POST", &cookie);
        assert!(mixed.head().starts_with("HTTP/1.0 403 "));
        post.say(&options(&server, 3));
        assert_answered(&mut get, 3, &cookie);
    }
}

// Each message is encoded by itself, so that nothing of a text that was cut can be of the next one.
#[test]
fn a_post_that_is_cut_within_a_message_or_four_digits_costs_nothing_of_the_next_one() {
    let server = Server::start();
    for is_secure in [false, true] {
        for digits in [1, 2, 3, 41] {
            let when = format!("{digits} digits, {is_secure}");
            let mut get = Half::open(&server, is_secure);
            get.begin("GET", &when.replace(' ', "-"));
            let accepted = get.head();
            assert!(accepted.starts_with("HTTP/1.0 200 "), "{accepted}");
            for cseq in [1, 3] {
                let mut cut = Half::open(&server, is_secure);
                cut.begin("POST", &when.replace(' ', "-"));
                let next = options(&server, cseq + 1);
                cut.say(&format!("{}{}", options(&server, cseq), &next[..digits]));
                assert_answered(&mut get, cseq, &when);
                drop(cut);
                let mut post = Half::open(&server, is_secure);
                post.begin("POST", &when.replace(' ', "-"));
                post.say(&next);
                assert_answered(&mut get, cseq + 1, &when);
            }
        }
    }
}
