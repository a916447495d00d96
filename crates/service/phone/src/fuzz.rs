//! A target for the fuzzer: the whole service, with a real media engine, under a script of what phones may do.

use crate::{
    Answer, Config, DialledMount, Greeting, LampCounts, MediaSocket, Output, Person, Phone, Question,
    QuestionId,
};
use crate::{VoiceMessageId, VoiceMessages};
use bytes::Bytes;
use ringpost_base::{Cursor, CursorError, Instant, Rng, UnixTime};
use ringpost_media::{Engine, Output as MediaOutput, PairId};
use ringpost_sip::{Arrival, Flow, Message, Transmit, Transport, locate};
use ringpost_store::AccountId;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// Requests of ours that phones have not answered yet; older ones are forgotten, as by a phone that is switched off.
const UNANSWERED: usize = 16;
/// Phones, calls and transactions of the script are drawn from so few that they meet.
const FEW: u8 = 4;
/// Whatever happens, everything is over after this: the longest of the timers is the three minutes of Timer C.
const OVER: Duration = Duration::from_secs(900);

/// A script: raw messages, well-formed requests, answers to ours, answers to questions, and time. When it is over and the
/// service is closed, nothing is left of it.
///
/// # Panics
/// When an invariant breaks.
pub fn target(data: &[u8]) {
    let mut world = World::new();
    let mut script = Cursor::new(data);
    while world.step(&mut script).is_ok() {}
    world.end();
}

struct World {
    now: Instant,
    phone: Phone,
    engine: Engine,
    /// Questions without an answer.
    questions: VecDeque<(QuestionId, Question)>,
    /// Our requests, for the phones to answer.
    requests: VecDeque<(Flow, Message)>,
    /// The To tags that we gave, by Call-ID.
    tags: HashMap<String, String>,
    /// Pairs of sockets that are open.
    open: BTreeSet<PairId>,
    last_pair: u32,
}

impl World {
    fn new() -> Self {
        let config = Config {
            domains: vec!["example.org".into()],
            authenticate: false,
            no_answer: Duration::from_secs(5),
            media_timeout: Duration::from_secs(30),
            ..Config::default()
        };
        World {
            now: Instant::ZERO,
            phone: Phone::new(config, Rng::from_number(1)),
            engine: Engine::new(Instant::ZERO, calendar(Instant::ZERO), Rng::from_number(2)),
            questions: VecDeque::new(),
            requests: VecDeque::new(),
            tags: HashMap::new(),
            open: BTreeSet::new(),
            last_pair: 0,
        }
    }

    fn step(&mut self, script: &mut Cursor<'_>) -> Result<(), CursorError> {
        let (step, argument) = (script.u8()?, script.u8()?);
        match step % 8 {
            0 => {
                let len = usize::from(script.u16()?).min(script.rest().len());
                let raw = Bytes::copy_from_slice(script.take(len)?);
                self.arrive(flow(argument), raw);
            }
            1 | 2 => self.arrive(flow(argument), self.request(step >> 3, argument)),
            3 => self.answer_request(step >> 3, argument),
            4 | 5 => self.answer_question(argument),
            6 if argument & 0x80 != 0 => {
                let calendar = calendar(self.now);
                self.phone
                    .handle_account(self.now, calendar, account(argument), None);
            }
            6 if argument & 0x40 != 0 => {
                if let Some((flow, _)) = self.requests.back() {
                    let arrival = Arrival::Failed { flow: *flow };
                    self.phone.handle_arrival(self.now, calendar(self.now), arrival);
                }
            }
            6 => {
                let calendar = calendar(self.now);
                self.phone.handle_lamp(
                    self.now,
                    calendar,
                    account(argument),
                    LampCounts { new: 1, old: 0 },
                );
            }
            _ => self.pass(Duration::from_millis(
                u64::from(argument) * u64::from(1 + (step >> 3)) * 10,
            )),
        }
        self.drain();
        Ok(())
    }

    /// A request such as a phone sends, of few calls and transactions.
    fn request(&self, shape: u8, argument: u8) -> Bytes {
        let (method, call, branch) = (
            METHODS[usize::from(shape) % METHODS.len()],
            argument % FEW,
            argument >> 2 & 3,
        );
        let call_id = format!("call-{call}");
        let tag = self.tags.get(&call_id).filter(|_| argument & 0x80 != 0);
        let tag = tag.map_or(String::new(), |tag| format!(";tag={tag}"));
        let target = [
            "bob@example.org",
            "alice@example.org",
            "*97@example.org",
            "carol@other.example",
        ][usize::from(argument >> 4 & 3)];
        let mut text = format!(
            "{method} sip:{target} SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.{call}:5060;branch=z9hG4bK{branch}\r\n\
             From: <sip:alice@example.org>;tag=a\r\nTo: <sip:{target}>{tag}\r\nCall-ID: {call_id}\r\n\
             CSeq: {branch} {method}\r\nContact: <sip:alice@192.0.2.{call}:5060>\r\nMax-Forwards: 70\r\n"
        );
        let body = match method {
            "REGISTER" => {
                text.push_str("Expires: 60\r\n");
                ""
            }
            "SUBSCRIBE" => {
                text.push_str("Event: message-summary\r\nExpires: 60\r\n");
                ""
            }
            "MESSAGE" => {
                text.push_str("Content-Type: text/plain\r\n");
                "hello"
            }
            "INVITE" | "ACK" if shape < 16 => {
                text.push_str("Content-Type: application/sdp\r\n");
                SDP
            }
            _ => "",
        };
        let _ = write!(text, "Content-Length: {}\r\n\r\n{body}", body.len());
        text.into()
    }

    /// A phone answers one of our requests.
    fn answer_request(&mut self, shape: u8, argument: u8) {
        let Some(at) = self.requests.len().checked_sub(1 + usize::from(argument % FEW)) else {
            return;
        };
        let (flow, request) = &self.requests[at];
        let (code, phrase) = ANSWERS[usize::from(shape) % ANSWERS.len()];
        let mut text = format!("SIP/2.0 {code} {phrase}\r\n");
        for via in request.lines(ringpost_sip::HeaderName::Via) {
            let _ = write!(text, "Via: {via}\r\n");
        }
        let (from, to, tag) = (request.from(), request.to(), argument >> 4 & 1);
        let tag = if request.to_tag().is_some() {
            String::new()
        } else {
            format!(";tag=b{tag}")
        };
        let body = if argument & 0x80 == 0 && code < 300 {
            SDP
        } else {
            ""
        };
        let _ = write!(
            text,
            "From: {from}\r\nTo: {to}{tag}\r\nCall-ID: {}\r\nCSeq: {}\r\nContact: <sip:bob@192.0.2.9:5060>\r\n\
             Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
            request.call_id(),
            request.cseq(),
            body.len()
        );
        self.arrive(*flow, text.into());
    }

    /// The oldest question is answered, well or badly.
    fn answer_question(&mut self, argument: u8) {
        let Some((id, question)) = self.questions.pop_front() else {
            return;
        };
        let yes = argument & 1 == 0;
        let answer = match question {
            Question::Device { .. } => Answer::Device(None),
            Question::Person { user, .. } => Answer::Person(yes.then(|| person(&user))),
            Question::Mount { user, .. } => Answer::Mount(match argument % 8 {
                0 => DialledMount::Unknown,
                1 => DialledMount::Forbidden,
                2 => DialledMount::NotLive,
                3 => DialledMount::Undecodable(vec![user.into()]),
                4 => DialledMount::Unavailable,
                5 => DialledMount::NotPulled,
                _ => DialledMount::Live(user),
            }),
            Question::Sockets { towards } if yes => {
                Answer::Sockets(Some(towards.iter().map(|_| self.open()).collect()))
            }
            Question::Sockets { .. } => Answer::Sockets(None),
            Question::Records(question) => Answer::Records(yes.then(|| records(&question, argument))),
            Question::Way(target) => Answer::Way(yes.then(|| Flow {
                transport: target.transport,
                remote: target.address,
                connection: target.transport.is_reliable().then_some(9),
                ..flow(0)
            })),
            Question::Lamp { .. } => Answer::Lamp(LampCounts {
                new: argument.into(),
                old: 1,
            }),
            Question::Greeting { .. } => Answer::Greeting(match argument % 4 {
                0 => Greeting::NoRoom,
                1 => Greeting::Own(vec![1000; 800].into()),
                _ => Greeting::BuiltIn,
            }),
            Question::Sound { .. } => Answer::Sound(yes.then(|| vec![1000; 800].into())),
            Question::Messages { .. } => Answer::Messages(yes.then(|| {
                VoiceMessages {
                    new: (0..u32::from(argument % FEW))
                        .map(|uid| VoiceMessageId { mailbox: 1, uid })
                        .collect(),
                    old: Vec::new(),
                }
            })),
            Question::Hear { .. } => Answer::Done(yes),
            Question::Deliver(_) | Question::Heard { .. } | Question::Delete { .. } => Answer::Done(yes),
        };
        self.phone.handle_answer(self.now, calendar(self.now), id, answer);
    }

    fn open(&mut self) -> MediaSocket {
        self.last_pair += 1;
        let pair = PairId(self.last_pair);
        self.open.insert(pair);
        MediaSocket {
            pair,
            advertised: SocketAddr::from((Ipv4Addr::LOCALHOST, 4000)),
        }
    }

    fn arrive(&mut self, flow: Flow, bytes: Bytes) {
        let message = Message::parse_from(bytes, flow.remote);
        self.phone
            .handle_arrival(self.now, calendar(self.now), Arrival::Message { flow, message });
    }

    /// Time passes: every timer that falls due on the way is told, in its order.
    fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            let next = [self.drain(), self.engine.next_timeout()]
                .into_iter()
                .flatten()
                .min();
            let Some(next) = next.filter(|next| *next <= end) else {
                break;
            };
            self.now = self.now.max(next);
            self.phone.handle_timeout(self.now, calendar(self.now));
            self.engine.handle_timeout(self.now);
        }
        self.now = end;
    }

    /// Takes what both machines have to say. Gives the service's next time.
    fn drain(&mut self) -> Option<Instant> {
        loop {
            match self.phone.poll_output() {
                Output::Transmit(transmit) => self.sent(transmit),
                Output::Ask(id, question) => self.questions.push_back((id, question)),
                // An answer that nobody waits for may come all the same.
                Output::Forget(_) => {}
                Output::Media(command) => self.engine.handle_command(self.now, command),
                Output::Release(pair) => assert!(self.open.remove(&pair), "a pair is released once"),
                Output::Event(_) => {}
                Output::Timeout(at) if !self.drain_engine() => return at,
                Output::Timeout(_) => {}
            }
        }
    }

    /// Whether the engine told the service something.
    fn drain_engine(&mut self) -> bool {
        let mut told = false;
        loop {
            match self.engine.poll_output() {
                MediaOutput::Transmit(_) => {}
                MediaOutput::Close(pair) => assert!(self.open.remove(&pair), "a pair is closed once"),
                MediaOutput::Event(event) => {
                    self.phone.handle_media(self.now, calendar(self.now), event);
                    told = true;
                }
                MediaOutput::Tapped(_) => {}
                MediaOutput::Timeout(_) => return told,
            }
        }
    }

    fn sent(&mut self, transmit: Transmit) {
        // A refusal of what was no message has its headers as they came.
        let Ok(message) = Message::parse(transmit.message) else {
            return;
        };
        if message.is_request() {
            self.requests.push_back((transmit.flow, message));
            if self.requests.len() > UNANSWERED {
                self.requests.pop_front();
            }
        } else if let Some(tag) = message.to_tag() {
            self.tags.insert(message.call_id().to_string(), tag.to_string());
        }
    }

    /// The script is over: the service closes, no phone says anything more, and every question is answered.
    fn end(&mut self) {
        self.phone.close(self.now, calendar(self.now));
        self.drain();
        for _ in 0..4 {
            while !self.questions.is_empty() {
                self.answer_question(1);
                self.drain();
            }
            self.pass(OVER);
        }
        assert!(self.questions.is_empty(), "no question comes of nothing");
        assert_eq!(self.phone.transactions(), 0, "every transaction ends");
        assert!(
            self.phone.is_idle(),
            "no call, question or timer is left: {:?}",
            self.phone
        );
        assert_eq!(self.engine.legs(), 0, "no leg is left");
        assert!(self.open.is_empty(), "no socket is left");
    }
}

const METHODS: [&str; 10] = [
    "INVITE",
    "REGISTER",
    "ACK",
    "BYE",
    "CANCEL",
    "INVITE",
    "MESSAGE",
    "SUBSCRIBE",
    "OPTIONS",
    "INFO",
];

const ANSWERS: [(u16, &str); 10] = [
    (200, "OK"),
    (180, "Ringing"),
    (183, "Session Progress"),
    (486, "Busy Here"),
    (100, "Trying"),
    (404, "Not Found"),
    (481, "No"),
    (491, "Request Pending"),
    (503, "Not Now"),
    (603, "Decline"),
];

const SDP: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
                   m=audio 4000 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\n";

fn flow(peer: u8) -> Flow {
    Flow {
        transport: Transport::Udp,
        local: SocketAddr::from((Ipv4Addr::new(192, 0, 2, 200), 5060)),
        remote: SocketAddr::from((Ipv4Addr::new(192, 0, 2, peer % FEW), 5060)),
        connection: None,
    }
}

fn account(n: u8) -> AccountId {
    AccountId(u64::from(n % FEW))
}

fn person(user: &str) -> Arc<Person> {
    Arc::new(Person {
        account: account(user.len() as u8),
        user: user.into(),
        domain: "example.org".into(),
        extension: Some("100".into()),
        name: "A. Person".into(),
    })
}

/// What the DNS has of another domain: up to three servers.
fn records(question: &locate::Question, argument: u8) -> locate::Answer {
    match question {
        locate::Question::Srv(name) => {
            let srv = |n: u8| locate::Srv {
                priority: n.into(),
                weight: 0,
                port: 5060,
                target: format!("s{n}.{name}"),
            };
            locate::Answer::Srv((0..argument >> 1 & 3).map(srv).collect())
        }
        locate::Question::Addresses(_) => {
            let address = Ipv4Addr::new(192, 0, 2, argument % FEW);
            locate::Answer::Addresses(vec![address.into()])
        }
        other => locate::Answer::nothing(other),
    }
}

fn calendar(now: Instant) -> UnixTime {
    UnixTime::from_secs(1_700_000_000) + now.since(Instant::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_scripts_leave_nothing_behind() {
        let mut rng = Rng::from_number(1);
        for _ in 0..150 {
            let mut data = vec![0; 400];
            rng.fill(&mut data);
            target(&data);
        }
    }
}
