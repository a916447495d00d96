mod quirks;
mod world;

use super::*;
use crate::header::{Delivery, LowerTransport, RtpInfo};

/// A client, and a server that answers as it is told.
struct Script {
    client: Client,
    now: Instant,
    sent: VecDeque<Request>,
    answers: Vec<Response>,
    events: Vec<Event>,
    reader: Reader,
}

impl Script {
    fn new(url: &str) -> Self {
        Script::with(Config::new(Url::parse(url).unwrap()))
    }

    fn with(config: Config) -> Self {
        let now = Instant::ZERO + Duration::from_secs(9);
        let mut script = Script {
            client: Client::new(now, config, Rng::from_number(5)),
            now,
            sent: VecDeque::new(),
            answers: Vec::new(),
            events: Vec::new(),
            reader: Reader::new(Reading::Strict),
        };
        script.drain();
        assert!(matches!(script.events.remove(0), Event::Connect(_)));
        script.client.handle_connected(now);
        script
    }

    fn drain(&mut self) {
        loop {
            match self.client.poll_output() {
                Output::Transmit(bytes) => self.reader.push(&bytes),
                Output::Event(event) => self.events.push(event),
                Output::Timeout(at) => {
                    assert!(at.is_none_or(|at| at > self.now || self.client.is_closed()));
                    break;
                }
            }
        }
        while let Some(item) = self.reader.next_item() {
            match item {
                Item::Request(request) => self.sent.push_back(request),
                Item::Response(response) => self.answers.push(response),
                other => panic!("{other:?}"),
            }
        }
    }

    fn sent(&mut self) -> Request {
        self.drain();
        self.sent.pop_front().expect("a request")
    }

    fn hear(&mut self, bytes: impl AsRef<[u8]>) {
        self.client.handle_input(self.now, bytes.as_ref());
        self.drain();
    }

    /// Answers the next request with a status line's rest, fields and a body.
    fn answer(&mut self, status: &str, fields: &str, body: &str) -> Request {
        let request = self.sent();
        let cseq = request.headers.field("CSeq").unwrap();
        let text = format!(
            "RTSP/1.0 {status}\r\nCSeq: {cseq}\r\n{fields}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.hear(text);
        request
    }

    fn outcome(&mut self, id: RequestId) -> Outcome {
        self.drain();
        let at = self
            .events
            .iter()
            .position(|event| matches!(event, Event::Done { request, .. } if *request == id));
        match self.events.remove(at.expect("it is done")) {
            Event::Done { outcome, .. } => outcome,
            _ => unreachable!(),
        }
    }

    fn described(&mut self, fields: &str, sdp: &str) -> Outcome {
        let id = self.client.describe(self.now);
        self.answer("200 OK", fields, sdp);
        self.outcome(id)
    }

    fn set_up(&mut self, track: usize, offer: Offer, fields: &str) -> Outcome {
        let id = self.client.setup(self.now, track, &[offer]);
        self.answer("200 OK", fields, "");
        self.outcome(id)
    }

    fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.client.handle_timeout(self.now);
        self.drain();
    }
}

const SDP: &str =
    "v=0\r\nm=video 0 RTP/AVP 96\r\na=control:trackID=0\r\nm=audio 0 RTP/AVP 0\r\na=control:trackID=1\r\n";
const SESSION: &str = "Session: 12345678;timeout=20\r\n";

fn ready(transport: &str) -> String {
    format!("{SESSION}Transport: {transport}\r\n")
}

#[test]
fn a_stream_is_played_from_another_server_over_the_connection() {
    let mut script = Script::new("rtsp://u:p@h:8554/cam");
    let options = script.client.options(script.now);
    let request = script.answer("200 OK", "Public: OPTIONS, DESCRIBE, GET_PARAMETER\r\n", "");
    assert_eq!(request.uri, "rtsp://h:8554/cam");
    assert!(matches!(script.outcome(options), Outcome::Options(methods) if methods.len() == 3));
    let Outcome::Described(described) = script.described("Content-Base: rtsp://h:8554/cam/\r\n", SDP) else {
        panic!()
    };
    assert_eq!(described.tracks[1].to_string(), "rtsp://h:8554/cam/trackID=1");
    let first = script.client.setup(script.now, 0, &[Offer::Interleaved]);
    let second = script.client.setup(script.now, 1, &[Offer::Interleaved]);
    let play = script.client.play(
        script.now,
        None,
        Some(Range::parse("npt=5-").unwrap()),
        Some(2.0),
        None,
    );
    let request = script.answer("200 OK", &ready("RTP/AVP/TCP;unicast;interleaved=0-1"), "");
    assert_eq!(request.headers.field("Session"), None);
    assert_eq!(
        request.headers.field("Transport"),
        Some("RTP/AVP/TCP;unicast;interleaved=0-1")
    );
    let request = script.answer("200 OK", &ready("RTP/AVP/TCP;unicast;interleaved=2-3"), "");
    assert_eq!(request.headers.field("Session"), Some("12345678"));
    assert!(matches!(script.outcome(first), Outcome::SetUp { track: 0, .. }));
    assert!(matches!(script.outcome(second), Outcome::SetUp { track: 1, .. }));
    assert_eq!(script.client.channels(1), Some((2, 3)));
    let request = script.answer(
        "200 OK",
        "Range: npt=5.0-\r\nScale: 2\r\nRTP-Info: url=rtsp://h:8554/cam/trackID=1;seq=9;rtptime=1,url=trackID=0;seq=8\r\n",
        "",
    );
    assert_eq!(
        (request.uri.as_str(), request.headers.field("Scale")),
        ("rtsp://h:8554/cam/", Some("2"))
    );
    let Outcome::Playing(playing) = script.outcome(play) else {
        panic!()
    };
    let begins: Vec<_> = playing
        .begins
        .iter()
        .map(|(track, info)| (*track, info.seq))
        .collect();
    assert_eq!(begins, [(1, Some(9)), (0, Some(8))]);
    script.hear(b"$\x03\0\x02ab$\x02\0\x01c$\x09\0\0");
    let media: Vec<_> = script.events.drain(..).collect();
    assert_eq!(
        media,
        [
            Event::Media {
                track: 1,
                is_rtcp: true,
                data: "ab".into()
            },
            Event::Media {
                track: 1,
                is_rtcp: false,
                data: "c".into()
            }
        ]
    );
    assert_eq!(script.client.strays(), 1);
}

#[test]
fn further_setups_are_sent_without_waiting_where_that_is_allowed_and_play_waits_for_them() {
    let mut script = Script::with(Config {
        pipelines: true,
        ..Config::new(Url::parse("rtsp://h/cam").unwrap())
    });
    let sdp = SDP.repeat(2).replacen("trackID=0", "trackID=2", 1);
    script.described("", &sdp);
    for track in 0..4 {
        script
            .client
            .setup(script.now, track, &[Offer::Udp { rtp_port: 5000 }]);
    }
    script.client.play(script.now, None, None, None, None);
    script.drain();
    assert_eq!(script.sent.len(), 1, "the session is not known");
    script.answer(
        "200 OK",
        &ready("RTP/AVP;unicast;client_port=5000-5001;server_port=6000-6001"),
        "",
    );
    assert_eq!(script.sent.len(), 3);
    for _ in 0..3 {
        assert!(script.sent.iter().all(|request| request.method == Method::Setup));
        script.answer("200 OK", &ready("RTP/AVP;unicast;client_port=5000-5001"), "");
    }
    assert_eq!(script.sent().method, Method::Play);
}

#[test]
fn one_request_waits_for_the_other_unless_it_need_not() {
    let mut script = Script::new("rtsp://h/cam");
    script.described("", SDP);
    script.set_up(0, Offer::Interleaved, &ready("RTP/AVP/TCP;interleaved=0-1"));
    script.client.setup(script.now, 1, &[Offer::Interleaved]);
    script.client.get_parameter(script.now, "x".into());
    script.drain();
    assert_eq!(script.sent.len(), 1);
    script.answer("200 OK", &ready("RTP/AVP/TCP;interleaved=2-3"), "");
    assert_eq!(script.sent().method, Method::GetParameter);
}

#[test]
fn the_next_transport_is_offered_when_one_is_not_taken() {
    let mut script = Script::new("rtsp://h/cam");
    script.described("", SDP);
    let offers = [
        Offer::Udp { rtp_port: 5000 },
        Offer::Multicast,
        Offer::Interleaved,
    ];
    let id = script.client.setup(script.now, 0, &offers);
    let udp = script.answer("461 Unsupported transport", "", "");
    assert_eq!(
        udp.headers.field("Transport"),
        Some("RTP/AVP;unicast;client_port=5000-5001")
    );
    let group = script.answer("500 Internal", "", "");
    assert_eq!(group.headers.field("Transport"), Some("RTP/AVP;multicast"));
    script.answer("200 OK", &ready("RTP/AVP/TCP;interleaved=0-1"), "");
    assert!(matches!(script.outcome(id), Outcome::SetUp { .. }));
    let none = script.client.setup(script.now, 1, &[Offer::Interleaved]);
    script.answer("461 Unsupported transport", "", "");
    assert_eq!(script.outcome(none), Outcome::Failed(Failure::NoTransport));
    let missing = script.client.setup(script.now, 1, &offers);
    script.answer("404 Not Found", "", "");
    assert_eq!(
        script.outcome(missing),
        Outcome::Failed(Failure::Refused {
            status: Status::NOT_FOUND
        })
    );
    let nothing = script.client.setup(script.now, 7, &offers);
    assert_eq!(script.outcome(nothing), Outcome::Failed(Failure::NoStream));
}

#[test]
fn who_is_asked_proves_itself_and_once_more_when_the_nonce_is_old() {
    let digest = |nonce: &str, rest: &str| {
        format!(
            "WWW-Authenticate: Basic realm=\"r\"\r\nWWW-Authenticate: Digest realm=\"r\", nonce=\"{nonce}\"{rest}\r\n"
        )
    };
    let mut script = Script::new("rtsp://alice:s%40@h/cam");
    let id = script.client.describe(script.now);
    let bare = script.answer("401 Unauthorized", &digest("n1", ""), "");
    assert_eq!(bare.headers.field("Authorization"), None);
    let proven = script.answer("401 Unauthorized", &digest("n2", ", stale=true"), "");
    let value = proven.headers.field("Authorization").unwrap();
    assert!(value.starts_with("Digest username=\"alice\"") && value.contains("uri=\"rtsp://h/cam\""));
    assert!(!value.contains("qop"));
    let again = script.answer("200 OK", "", SDP);
    assert!(again.headers.field("Authorization").unwrap().contains("n2"));
    assert!(matches!(script.outcome(id), Outcome::Described(_)));
    // Once proven, it says so at once; when it is not believed, it does not insist.
    let id = script.client.describe(script.now);
    script.answer("401 Unauthorized", &digest("n3", ""), "");
    assert_eq!(script.outcome(id), Outcome::Failed(Failure::Unauthorized));
    let mut endless = Script::new("rtsp://alice:x@h/cam");
    let id = endless.client.describe(endless.now);
    for _ in 0..4 {
        if endless.events.is_empty() {
            endless.answer("401 Unauthorized", &digest("n", ", stale=true"), "");
        }
    }
    assert_eq!(endless.outcome(id), Outcome::Failed(Failure::Unauthorized));
    let mut nobody = Script::new("rtsp://h/cam");
    let id = nobody.client.describe(nobody.now);
    nobody.answer("401 Unauthorized", &digest("n", ""), "");
    assert_eq!(nobody.outcome(id), Outcome::Failed(Failure::Unauthorized));
}

// Guards pitfall RTSP 4.
#[test]
fn a_password_goes_in_the_clear_only_where_it_may() {
    let basic = "WWW-Authenticate: Basic realm=\"r\"\r\n";
    let mut clear = Script::new("rtsp://a:b@h/cam");
    let id = clear.client.describe(clear.now);
    clear.answer("401 Unauthorized", basic, "");
    assert_eq!(clear.outcome(id), Outcome::Failed(Failure::Unauthorized));
    let mut tls = Script::new("rtsps://a:b@h/cam");
    tls.client.describe(tls.now);
    tls.answer("401 Unauthorized", basic, "");
    assert_eq!(tls.sent().headers.field("Authorization"), Some("Basic YTpi"));
    let url = Url::parse("rtsp://a:b@h/cam").unwrap();
    let mut allowed = Script::with(Config {
        basic_in_clear: true,
        ..Config::new(url)
    });
    allowed.client.describe(allowed.now);
    allowed.answer("401 Unauthorized", basic, "");
    assert_eq!(allowed.sent().headers.field("Authorization"), Some("Basic YTpi"));
    let login = Login {
        user: "a".into(),
        password: "secret".into(),
    };
    assert!(!format!("{login:?}").contains("secret"));
}

// Guards pitfall RTSP 10: another server is asked about anew, and told nothing of who we are.
#[test]
fn a_redirection_is_followed_where_it_may_be() {
    let mut script = Script::new("rtsp://a:b@h/cam");
    let id = script.client.describe(script.now);
    script.answer("302 Moved Temporarily", "Location: rtsp://h/other\r\n", "");
    assert_eq!(
        script
            .answer("301 Moved", "Location: rtsp://x:y@i:99/cam\r\n", "")
            .uri,
        "rtsp://h/other"
    );
    script.drain();
    let moved = script.events.iter().filter_map(|event| match event {
        Event::Moved { url, is_permanent } => Some((url.to_string(), *is_permanent)),
        _ => None,
    });
    let expected = [
        ("rtsp://h/other".to_owned(), false),
        ("rtsp://i:99/cam".to_owned(), true),
    ];
    assert_eq!(moved.collect::<Vec<_>>(), expected);
    assert!(script.sent.is_empty());
    assert_eq!(
        script.events.pop(),
        Some(Event::Connect(Url::parse("rtsp://i:99/cam").unwrap()))
    );
    script.client.handle_connected(script.now);
    assert_eq!(script.sent().uri, "rtsp://i:99/cam");
    script.hear("RTSP/1.0 401 no\r\nCSeq: 3\r\nWWW-Authenticate: Digest realm=\"r\", nonce=\"n\"\r\n\r\n");
    assert_eq!(script.outcome(id), Outcome::Failed(Failure::Unauthorized));
    let mut secure = Script::new("rtsps://h/cam");
    let id = secure.client.describe(secure.now);
    secure.answer("302 Moved", "Location: rtsp://h/cam\r\n", "");
    assert_eq!(secure.outcome(id), Outcome::Failed(Failure::BadRedirect));
    let mut nowhere = Script::new("rtsp://h/cam");
    let id = nowhere.client.describe(nowhere.now);
    nowhere.answer("302 Moved", "", "");
    assert_eq!(nowhere.outcome(id), Outcome::Failed(Failure::BadRedirect));
    let mut round = Script::new("rtsp://h/cam");
    let id = round.client.describe(round.now);
    for _ in 0..=limits::RTSP_REDIRECTS {
        round.answer("302 Moved", "Location: rtsp://h/cam\r\n", "");
    }
    assert_eq!(round.outcome(id), Outcome::Failed(Failure::BadRedirect));
    let mut late = Script::new("rtsp://h/cam");
    late.described("", SDP);
    late.set_up(0, Offer::Interleaved, &ready("RTP/AVP/TCP;interleaved=0-1"));
    let id = late.client.play(late.now, None, None, None, None);
    late.answer("302 Moved", "Location: rtsp://i/cam\r\n", "");
    let to = Url::parse("rtsp://i/cam").unwrap();
    assert_eq!(late.outcome(id), Outcome::Failed(Failure::Redirected(to)));
}

#[test]
fn the_session_is_kept_alive_by_what_the_server_knows() {
    let mut script = Script::new("rtsp://h/cam");
    script.client.options(script.now);
    script.answer("200 OK", "Public: OPTIONS, GET_PARAMETER\r\n", "");
    script.described("", SDP);
    script.set_up(0, Offer::Interleaved, &ready("RTP/AVP/TCP;interleaved=0-1"));
    assert_eq!(script.client.session_timeout(), Some(Duration::from_secs(20)));
    script.events.clear();
    script.pass(9);
    assert!(script.sent.is_empty());
    script.pass(1);
    let alive = script.answer("501 Not Implemented", "", "");
    assert_eq!(
        (alive.method, alive.headers.field("Session")),
        (Method::GetParameter, Some("12345678"))
    );
    script.pass(10);
    assert_eq!(script.answer("200 OK", "", "").method, Method::Options);
    script.pass(10);
    script.answer("454 Session Not Found", "", "");
    assert_eq!(script.events, [Event::SessionLost]);
    script.pass(100);
    assert!(script.sent.is_empty());
    let id = script.client.play(script.now, None, None, None, None);
    assert_eq!(script.outcome(id), Outcome::Failed(Failure::NoStream));
}

#[test]
fn a_server_that_does_not_answer_is_given_up() {
    let mut script = Script::with(Config {
        tolerated: Vec::new(),
        ..Config::new(Url::parse("rtsp://h/cam").unwrap())
    });
    let id = script.client.describe(script.now);
    let waiting = script.client.options(script.now);
    script.drain();
    script.pass(9);
    assert!(!script.client.is_closed());
    script.hear("RTSP/1.0 100 Continue\r\nCSeq: 1\r\n\r\nRTSP/1.0 200 OK\r\nCSeq: 77\r\n\r\n");
    script.pass(1);
    assert_eq!(script.outcome(id), Outcome::Failed(Failure::TimedOut));
    assert_eq!(script.outcome(waiting), Outcome::Failed(Failure::Closed));
    assert_eq!(script.events, [Event::Closed(Failure::TimedOut)]);
    let late = script.client.describe(script.now);
    assert_eq!(script.outcome(late), Outcome::Failed(Failure::Closed));
}

#[test]
fn what_is_no_rtsp_closes_the_connection() {
    let mut script = Script::new("rtsp://h/cam");
    let id = script.client.describe(script.now);
    script.drain();
    script.hear("HTTP/1.1 400 Bad Request\r\n\r\n");
    assert_eq!(script.outcome(id), Outcome::Failed(Failure::Closed));
    assert!(script.client.is_closed());
}

#[test]
fn the_servers_own_requests_are_answered() {
    let mut script = Script::new("rtsps://h/cam");
    script.hear(
        "OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\nGET_PARAMETER * RTSP/1.0\r\nCSeq: 2\r\n\r\n\
         GET_PARAMETER * RTSP/1.0\r\nCSeq: 3\r\nContent-Length: 1\r\n\r\nx\
         SET_PARAMETER * RTSP/1.0\r\nCSeq: 4\r\nContent-Length: 1\r\n\r\ny\
         REDIRECT * RTSP/1.0\r\nCSeq: 5\r\nLocation: rtsps://i/cam\r\nRange: npt=now-\r\n\r\n\
         REDIRECT * RTSP/1.0\r\nCSeq: 6\r\nLocation: rtsp://i/cam\r\n\r\n\
         PLAY * RTSP/1.0\r\nCSeq: 7\r\n\r\nREDIRECT * RTSP/1.0\r\nCSeq: 8\r\n\r\n",
    );
    let answers: Vec<_> = script
        .answers
        .iter()
        .map(|r| (r.headers.cseq().unwrap().unwrap(), r.status.code()))
        .collect();
    assert_eq!(
        answers,
        [
            (1, 200),
            (2, 200),
            (3, 451),
            (4, 200),
            (5, 200),
            (6, 200),
            (7, 501),
            (8, 400)
        ]
    );
    assert!(matches!(&script.events[0], Event::Told(request) if &request.body[..] == b"y"));
    assert!(matches!(&script.events[1], Event::Redirected { url, range: Some(_) } if url.host() == "i"));
    assert_eq!(script.events.len(), 2, "from TLS nobody is led into the clear");
}
