//! Random bytes against the session.

use crate::command::{self, Command};
use crate::{
    Answer, Ask, Config, Event, Listed, Maildrop, Output, Proof, Refusal, Session, Tls, Transform, Uid,
};
use bytes::BytesMut;
use ringpost_auth::sasl::{DEFAULT_ITERATIONS, DecoyKey};
use ringpost_base::{Instant, Rng, limits};
use std::sync::Arc;
use std::time::Duration;

/// Feeds `data` to a session, the first byte choosing how it begins and how the rest is cut, and panics when an invariant
/// breaks: every drain ends, what is sent is whole lines of ASCII, a message that is sent is one that was asked for, nothing
/// is removed but at the end, and nothing is said after the close.
pub fn session(data: &[u8]) {
    let Some((&choice, data)) = data.split_first() else {
        return;
    };
    let config = Config {
        allow_plaintext: choice & 1 != 0,
        scram_decoy: (choice & 2 != 0).then(|| DecoyKey::new([1; 32], DEFAULT_ITERATIONS)),
        ..Config::default()
    };
    let tls = [Tls::Unavailable, Tls::Offered, Tls::Active, Tls::Active][usize::from(choice >> 2 & 3)];
    let mut owner = Owner {
        session: Session::new(
            Instant::ZERO,
            Arc::new(config),
            tls,
            Rng::from_number(choice.into()),
        ),
        now: Instant::ZERO,
        messages: usize::from(choice >> 4) * 5,
        at_hand: None,
        updated: false,
        closed: false,
    };
    owner.drain();
    for piece in data.chunks(usize::from(choice >> 3) + 1) {
        if !owner.session.wants_input() {
            assert!(owner.closed, "a session that is drained and not closed reads on");
            break;
        }
        owner.session.handle_input(owner.now, piece);
        owner.drain();
    }
    owner.now += Duration::from_secs(3600);
    owner.session.handle_timeout(owner.now);
    owner.drain();
    assert!(owner.closed);
}

/// Feeds `data` to the transform that RETR and TOP send with, whole and in pieces, and holds what it writes against the
/// rules of a multi-line response.
pub fn transform(data: &[u8]) {
    let Some((&choice, data)) = data.split_first() else {
        return;
    };
    let lines = (choice & 1 != 0).then_some(u64::from(choice >> 3));
    let write = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let (mut transform, mut out) = (Transform::new(lines, choice & 2 != 0), BytesMut::new());
        pieces.for_each(|piece| transform.push(piece, &mut out));
        transform.finish(&mut out);
        (out, transform.size_bytes())
    };
    let (whole, size_bytes) = write(&mut std::iter::once(data));
    let pieces = write(&mut data.chunks(usize::from(choice >> 4) + 1));
    assert_eq!((&whole, size_bytes), (&pieces.0, pieces.1));
    let text = whole.strip_suffix(b".\r\n").expect("the last line");
    assert!(text.is_empty() || text.ends_with(b"\r\n"));
    let lines = text.split_inclusive(|b| *b == b'\n');
    let mut dots = 0;
    for line in lines {
        assert!(line.ends_with(b"\r\n") && line != b".\r\n");
        assert!(!line.starts_with(b".") || line.starts_with(b".."));
        dots += u64::from(line.starts_with(b"."));
    }
    assert_eq!(text.len() as u64, size_bytes + dots);
    assert!(size_bytes <= 2 * data.len() as u64 + 2);
}

/// What a command line without its CRLF is taken for, in words that another reading of it can be held against: the keyword in
/// capitals, and the arguments behind one space each; a number that is too large is the largest. `None` for a line that is
/// refused.
pub fn understood(line: &str) -> Option<String> {
    let one = |keyword: &str, number: Option<u32>| match number {
        Some(number) => format!("{keyword} {number}"),
        None => keyword.to_owned(),
    };
    Some(match command::read(line.as_bytes()).ok()? {
        Command::Capa => "CAPA".to_owned(),
        Command::Stls => "STLS".to_owned(),
        Command::User(user) => format!("USER {user}"),
        Command::Pass(password) => format!("PASS {password}"),
        Command::Auth { mechanism, initial } => match initial {
            Some(initial) => format!("AUTH {mechanism} {initial}"),
            None => format!("AUTH {mechanism}"),
        },
        Command::Utf8 => "UTF8".to_owned(),
        Command::Lang(Some(range)) => format!("LANG {range}"),
        Command::Lang(None) => "LANG".to_owned(),
        Command::Stat => "STAT".to_owned(),
        Command::List(number) => one("LIST", number),
        Command::Uidl(number) => one("UIDL", number),
        Command::Retr(number) => one("RETR", Some(number)),
        Command::Dele(number) => one("DELE", Some(number)),
        Command::Top(number, lines) => format!("TOP {number} {lines}"),
        Command::Noop => "NOOP".to_owned(),
        Command::Rset => "RSET".to_owned(),
        Command::Quit => "QUIT".to_owned(),
    })
}

struct Owner {
    session: Session,
    now: Instant,
    messages: usize,
    at_hand: Option<Uid>,
    updated: bool,
    closed: bool,
}

impl Owner {
    fn drain(&mut self) {
        for _ in 0..10 * limits::SESSION_BYTES {
            match self.session.poll_output() {
                Output::Transmit(bytes) => {
                    assert!(!self.closed && bytes.ends_with(b"\r\n") && bytes.is_ascii());
                }
                Output::Body { uid, .. } => assert_eq!(self.at_hand.take(), Some(uid)),
                Output::Event(event) => self.handle(event),
                Output::Timeout(at) => {
                    assert_eq!(at.is_none(), self.closed);
                    assert_eq!(self.session.is_closed(), self.closed);
                    return;
                }
            }
        }
        panic!("the session does not come to rest");
    }

    fn handle(&mut self, event: Event) {
        assert!(!self.closed);
        match event {
            Event::Question(question) => {
                assert!(!self.updated, "nothing is asked behind the end");
                let answer = self.answer(question.ask);
                self.session.handle_answer(self.now, question.id, answer);
            }
            Event::StartTls => self.session.handle_tls_started(self.now, Default::default()),
            Event::Closed => self.closed = true,
        }
    }

    fn answer(&mut self, ask: Ask) -> Answer {
        match ask {
            Ask::Authenticate { user, proof, .. } => match proof {
                Proof::Failed => Answer::Refused(Refusal::BadCredentials),
                Proof::Password(p) if p.reveal().len() % 2 == 1 => Answer::Refused(Refusal::BadCredentials),
                _ if user.len() % 5 == 4 => Answer::Refused(Refusal::InUse),
                _ => Answer::Opened(Maildrop {
                    uid_validity: 3,
                    messages: (1..=self.messages)
                        .map(|n| Listed {
                            uid: n as Uid,
                            size_bytes: n as u64 * 1_000,
                        })
                        .collect(),
                }),
            },
            Ask::ScramKeys { .. } => Answer::ScramKeys(None),
            Ask::Retrieve(uid) if uid % 7 == 0 => Answer::Refused(Refusal::Gone),
            Ask::Retrieve(uid) => {
                self.at_hand = Some(uid);
                Answer::Done
            }
            Ask::Update { delete } => {
                self.updated = true;
                assert!(delete.is_sorted() && delete.len() <= self.messages);
                match delete.len() % 3 {
                    2 => Answer::Refused(Refusal::Unavailable),
                    _ => Answer::Done,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::session;
    use ringpost_base::Rng;

    #[test]
    fn conversations_put_together_at_random_break_nothing() {
        const PARTS: &[&[u8]] = &[
            b"CAPA\r\n",
            b"STLS\r\n",
            b"USER al\r\n",
            b"PASS se\r\n",
            b"PASS s\r\n",
            b"AUTH PLAIN AGEAYmM=\r\n",
            b"AUTH PLAIN\r\n",
            b"AGEAYmM=\r\n",
            b"AUTH SCRAM-SHA-256 biwsbj11c2VyLHI9YWJj\r\n",
            b"*\r\n",
            b"UTF8\r\n",
            b"LANG\r\n",
            b"LANG *\r\n",
            b"STAT\r\n",
            b"LIST\r\n",
            b"LIST 1\r\n",
            b"UIDL\r\n",
            b"UIDL 99\r\n",
            b"RETR 1\r\n",
            b"RETR 7\r\n",
            b"TOP 2 0\r\n",
            b"DELE 1\r\n",
            b"DELE 3\r\n",
            b"RSET\r\n",
            b"NOOP\r\n",
            b"QUIT\r\n",
            b"\r\n",
            b"\n",
            b"\xff",
        ];
        let mut rng = Rng::from_number(4);
        for _ in 0..20_000 {
            let mut data = vec![rng.u32() as u8];
            for _ in 0..rng.below(24) {
                data.extend_from_slice(PARTS[rng.below(PARTS.len() as u64) as usize]);
            }
            session(&data);
        }
    }
}
