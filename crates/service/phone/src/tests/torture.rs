//! The torture messages of RFC 4475 and RFC 5118, each given to a whole service, with authentication off for the domains
//! that they name.

use super::media::MediaPlane;
use super::office::Office;
use crate::{Answer as Told, Config, Output, Person, Phone, Question};
use bytes::Bytes;
use ringpost_base::{Instant, Rng, UnixTime};
use ringpost_sip::torture::{Answer, DOMAINS, Row, rows};
use ringpost_sip::{Arrival, Flow, Frame, Framer, Message, Transport};
use ringpost_store::AccountId;
use std::sync::Arc;

struct Server {
    now: Instant,
    phone: Phone,
    media: MediaPlane,
    office: Office,
    /// Whoever is asked for is somebody.
    knows_everybody: bool,
    /// The final responses that were sent, each listed once however often it was.
    finals: Vec<(String, u16)>,
    /// Requests, questions and events: everything else that a message may bring about.
    effects: usize,
}

impl Server {
    fn new(knows_everybody: bool) -> Server {
        let config = Config {
            domains: DOMAINS.iter().map(|domain| (*domain).into()).collect(),
            authenticate: false,
            // Whatever address they are for is this server's.
            outbound: false,
            ..Config::default()
        };
        Server {
            now: Instant::ZERO,
            phone: Phone::new(config, Rng::from_number(1)),
            media: MediaPlane::new(),
            office: Office::new(),
            knows_everybody,
            finals: Vec::new(),
            effects: 0,
        }
    }

    fn calendar(&self) -> UnixTime {
        UnixTime::from_secs(1_700_000_000) + self.now.since(Instant::ZERO)
    }

    fn arrive(&mut self, arrival: Arrival) {
        let calendar = self.calendar();
        self.phone.handle_arrival(self.now, calendar, arrival);
        self.drain();
    }

    fn drain(&mut self) -> Option<Instant> {
        loop {
            let calendar = self.calendar();
            match self.phone.poll_output() {
                Output::Transmit(transmit) => self.note(transmit.message),
                Output::Ask(id, question) => {
                    self.effects += 1;
                    let answer = self.answer(question);
                    self.phone.handle_answer(self.now, calendar, id, answer);
                }
                Output::Media(command) => self.media.handle(self.now, command),
                Output::Release(pair) => self.media.release(pair),
                Output::Forget(_) => {}
                Output::Event(crate::Event::Refused { .. }) => {}
                Output::Event(_) => self.effects += 1,
                Output::Timeout(at) => match self.media.poll(self.now) {
                    Some(event) => self.phone.handle_media(self.now, calendar, event),
                    None => return at,
                },
            }
        }
    }

    fn answer(&mut self, question: Question) -> Told {
        match question {
            Question::Person { user, domain } => Told::Person(self.knows_everybody.then(|| {
                Arc::new(Person {
                    account: AccountId(9),
                    user,
                    domain,
                    extension: None,
                    name: "".into(),
                })
            })),
            other => self.office.answer(other, &mut self.media),
        }
    }

    fn note(&mut self, bytes: Bytes) {
        // An answer to what was no message has its headers as they came, and need not be one itself.
        let line =
            String::from_utf8_lossy(bytes.split(|b| *b == b'\r').next().unwrap_or_default()).into_owned();
        let status = line
            .strip_prefix("SIP/2.0 ")
            .and_then(|rest| rest.get(..3)?.parse::<u16>().ok());
        match status {
            Some(100..=199) => {}
            Some(status) => {
                let which = Message::parse(bytes).map(|m| format!("{} {}", m.call_id(), m.cseq()));
                let answer = (which.unwrap_or_default(), status);
                if !self.finals.contains(&answer) {
                    self.finals.push(answer);
                }
            }
            None => self.effects += 1,
        }
    }

    /// Until nothing more happens.
    fn run_out(&mut self) {
        loop {
            let next = [self.drain(), self.media.next_timeout()]
                .into_iter()
                .flatten()
                .min();
            let Some(next) = next.filter(|next| *next < Instant::ZERO + super::world::seconds(1_000)) else {
                return;
            };
            self.now = self.now.max(next);
            let calendar = self.calendar();
            self.phone.handle_timeout(self.now, calendar);
        }
    }
}

fn flow(transport: Transport) -> Flow {
    Flow {
        transport,
        local: "192.0.2.1:5060".parse().unwrap(),
        remote: "198.51.100.7:5060".parse().unwrap(),
        connection: transport.is_reliable().then_some(1),
    }
}

/// Brings a message to a server as the sockets do; whether the connection was closed.
fn deliver(server: &mut Server, row: &Row) -> bool {
    let flow = flow(row.transport);
    if row.transport == Transport::Udp {
        let message = Message::parse_from(Bytes::from_static(row.bytes), flow.remote);
        server.arrive(Arrival::Message { flow, message });
        return false;
    }
    let mut framer = Framer::new(flow.remote);
    framer.push(row.bytes);
    loop {
        let message = match framer.poll() {
            Ok(Some(Frame::Message(message))) => Ok(message),
            Ok(Some(Frame::Malformed(error))) => Err(error),
            Ok(Some(Frame::Ping | Frame::Pong)) => continue,
            Ok(None) => return false,
            Err(_) => {
                server.arrive(Arrival::Closed { flow });
                return true;
            }
        };
        server.arrive(Arrival::Message { flow, message });
    }
}

#[test]
fn torture_messages_are_answered_as_the_table_says() {
    for row in rows() {
        let mut server = Server::new(false);
        let closed = deliver(&mut server, &row);
        server.run_out();
        let name = format!("{} over {}", row.name, row.transport.via_name());
        match row.server {
            Answer::Status(allowed) => {
                // On a stream another message may follow; the first answer is to the one in the table.
                let (_, status) = server
                    .finals
                    .first()
                    .unwrap_or_else(|| panic!("{name} is answered"));
                assert!(allowed.contains(status), "{name}: {status}");
                assert!(server.finals.len() == 1 || row.transport.is_reliable(), "{name}");
            }
            Answer::Silence => assert_eq!((server.finals.len(), server.effects), (0, 0), "{name}"),
            Answer::Close => assert!(closed, "{name} closes the connection"),
        }
        assert!(server.phone.is_idle(), "{name} leaves nothing");
        assert_eq!(server.phone.transactions(), 0, "{name}");
        assert_eq!(server.phone.registered(), 0, "{name}");
    }
}

/// With people behind the addresses the answers may be others, such as the voicemail's; it must be answered all the same,
/// and nothing may be left.
#[test]
fn torture_messages_to_people_who_exist_leave_nothing_behind() {
    for row in rows() {
        let mut server = Server::new(true);
        deliver(&mut server, &row);
        server.run_out();
        let name = format!("{} over {}", row.name, row.transport.via_name());
        if matches!(row.server, Answer::Status(_)) {
            assert!(!server.finals.is_empty(), "{name} is answered");
        }
        let (now, calendar) = (server.now, server.calendar());
        server.phone.close(now, calendar);
        server.run_out();
        assert!(server.phone.is_idle(), "{name} leaves nothing");
        assert!(
            server.media.legs.is_empty() && server.media.open.is_empty(),
            "{name}"
        );
    }
}
