//! Random bytes against the session, and against the client.

use crate::client::{self, Client, StartTls};
use crate::command::Command;
use crate::{
    Answer, Body, Config, Event, Extensions, HeaderEditor, Mailbox, Missing, Output, Question, Refusal, Role,
    Session,
};
use bytes::Bytes;
use ringpost_base::{Instant, Rng, UnixTime, limits};
use std::sync::Arc;
use std::time::Duration;

/// Reads `data` as an MTA-STS record and as a policy.
pub fn sts(data: &[u8]) {
    let texts: Vec<String> = data
        .split(|b| *b == 0)
        .map(|text| String::from_utf8_lossy(text).into_owned())
        .collect();
    let id = crate::sts::policy_id(&texts);
    assert!(id.is_none_or(|id| id.len() <= 32));
    if let Ok(policy) = crate::sts::Policy::parse(data) {
        assert!(policy.servers.len() <= limits::STS_SERVERS);
        let allowed = policy.servers.iter().filter(|name| !name.starts_with("*."));
        allowed.for_each(|name| assert!(policy.allows(name), "{name}"));
    }
}

/// Converts `data` for a server that takes no bytes beyond ASCII, whole and cut in two, and panics when something else, or
/// something unfit, comes out.
pub fn convert(data: &[u8]) {
    let at = data.first().map_or(0, |b| usize::from(*b) * data.len() / 256);
    let sent = |pieces: &[&[u8]]| {
        let mut survey = client::Survey::new();
        pieces.iter().for_each(|piece| survey.push(piece));
        let mut converter = survey.finish(client::Wanted { seven_bit: true }).ok()?;
        let mut out: Vec<u8> = pieces.iter().flat_map(|piece| converter.push(piece)).collect();
        out.extend_from_slice(&converter.finish());
        Some(out)
    };
    let whole = sent(&[data]);
    assert_eq!(whole, sent(&[&data[..at], &data[at..]]));
    if let Some(whole) = whole {
        assert!(whole.is_ascii() && !whole.contains(&0));
    }
}

/// Puts the header of a submitted message right, whole and in pieces, and panics when the pieces matter, when something
/// stays that must not leave, or when what came out is changed once more.
pub fn submission(data: &[u8]) {
    let missing = Missing {
        date: UnixTime::from_secs(1_700_000_000),
        message_id: "1@mx.test".into(),
        from: "a@mx.test".into(),
    };
    let edited = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let mut editor = HeaderEditor::new(missing.clone());
        let mut out = Vec::new();
        pieces.for_each(|piece| out.extend_from_slice(&editor.push(Bytes::copy_from_slice(piece))));
        out.extend_from_slice(&editor.finish());
        (out, editor.fault(), editor.saw_eight_bit())
    };
    let whole = edited(&mut std::iter::once(data));
    assert_eq!(whole, edited(&mut data.chunks(3)));
    let (out, fault, _) = &whole;
    let (again, fault_again, _) = edited(&mut std::iter::once(&out[..]));
    assert_eq!((&again, &fault_again), (out, fault));
    let header = out
        .split(|b| *b == b'\n')
        .take_while(|line| !line.trim_ascii().is_empty());
    for line in header {
        let name = line.split(|b| *b == b':').next().unwrap_or_default();
        assert!(!name.trim_ascii_end().eq_ignore_ascii_case(b"bcc"));
    }
}

/// What a command line without its CRLF is taken for, in words that what another parser makes of it can be held against;
/// `None` for one that is refused. All extensions are on.
pub fn understood(line: &str) -> Option<String> {
    let extensions = Extensions {
        extended: true,
        auth: true,
        utf8: true,
    };
    let path = |mailbox: Option<&Mailbox>| match mailbox {
        Some(mailbox) => format!("{}@{}", mailbox.local, mailbox.domain),
        None => String::new(),
    };
    Some(match Command::parse(line.as_bytes(), extensions).ok()? {
        Command::Helo(name) => format!("HELO {name}"),
        Command::Ehlo(name) => format!("EHLO {name}"),
        Command::Lhlo(name) => format!("LHLO {name}"),
        Command::Mail { from, params } => {
            let body = match params.body {
                Some(Body::EightBit) => "8BITMIME",
                Some(Body::SevenBit) | None => "7BIT",
            };
            let ret = match params.dsn.ret {
                Some(crate::Return::Full) => "FULL",
                Some(crate::Return::Headers) => "HDRS",
                None => "",
            };
            format!(
                "MAIL {} {} {body} {} {ret} {}",
                path(from.mailbox()),
                params.size_bytes.unwrap_or_default(),
                params.utf8,
                crate::xtext(&params.dsn.envelope_id).unwrap_or_default()
            )
        }
        Command::Rcpt { to, dsn } => {
            let original = dsn.original.split_once(';').map_or("", |(_, address)| address);
            let original = crate::xtext(original).unwrap_or_default();
            format!("RCPT {} {} {original}", path(to.mailbox()), dsn.notify.bits())
        }
        Command::Bdat { size_bytes, last } => format!("BDAT {size_bytes} {last}"),
        Command::Data => "DATA".to_owned(),
        Command::Rset => "RSET".to_owned(),
        Command::Noop => "NOOP".to_owned(),
        Command::Quit => "QUIT".to_owned(),
        Command::Vrfy => "VRFY".to_owned(),
        Command::Expn => "EXPN".to_owned(),
        Command::Help => "HELP".to_owned(),
        Command::StartTls => "STARTTLS".to_owned(),
        Command::Auth { initial, .. } => format!("AUTH {}", initial.unwrap_or_default()),
        Command::NotImplemented => return None,
    })
}

/// Feeds `data` to a session, the first byte choosing its role and how the rest is cut, and panics when an invariant breaks:
/// every drain ends, a message has one beginning and one end, nothing is said after the close.
pub fn target(data: &[u8]) {
    let Some((&choice, data)) = data.split_first() else {
        return;
    };
    let role = [Role::Mx, Role::Submission, Role::Submissions, Role::Mx][usize::from(choice & 3)];
    let mut config = Config::new("mx.example.com", role);
    config.max_message_bytes = 1 << (choice >> 4);
    config.plaintext_auth = choice & 4 != 0;
    let mut owner = Owner {
        session: Session::new(
            Instant::ZERO,
            Arc::new(config),
            role == Role::Submissions,
            Rng::from_number(choice.into()),
        ),
        now: Instant::ZERO,
        open_bytes: None,
        closed: false,
        received_bytes: data.len() as u64,
    };
    owner.drain();
    for piece in data.chunks(usize::from(choice >> 2) + 1) {
        if !owner.session.wants_input() {
            assert!(owner.closed, "a session that is drained and not closed reads on");
            break;
        }
        owner
            .session
            .handle_input(owner.now, Bytes::copy_from_slice(piece));
        owner.drain();
    }
    owner.now += Duration::from_secs(3600);
    owner.session.handle_timeout(owner.now);
    owner.drain();
    assert!(owner.closed && owner.open_bytes.is_none());
}

struct Owner {
    session: Session,
    now: Instant,
    /// What came of the message that is open.
    open_bytes: Option<u64>,
    closed: bool,
    received_bytes: u64,
}

impl Owner {
    fn drain(&mut self) {
        for _ in 0..10 * limits::SESSION_BYTES {
            match self.session.poll_output() {
                Output::Transmit(bytes) => {
                    assert!(!self.closed && bytes.ends_with(b"\r\n"));
                }
                Output::Event(event) => self.handle(event),
                // An answer is held back.
                Output::Timeout(Some(at)) if !self.session.wants_input() => {
                    self.now = self.now.max(at);
                    self.session.handle_timeout(self.now);
                }
                Output::Timeout(at) => {
                    assert_eq!(at.is_none(), self.closed);
                    return;
                }
            }
        }
        panic!("the session does not come to rest");
    }

    fn handle(&mut self, event: Event) {
        assert!(!self.closed);
        match event {
            Event::Question { id, question } => {
                let answer = self.answer(question);
                self.session.handle_answer(self.now, id, answer);
            }
            Event::Body(chunk) => {
                let open = self.open_bytes.as_mut().expect("a piece of a message that began");
                *open += chunk.len() as u64;
                assert!(!chunk.is_empty() && *open <= self.received_bytes);
            }
            Event::Abort => assert!(self.open_bytes.take().is_some()),
            Event::StartTls => self.session.handle_tls_started(self.now),
            Event::Close => self.closed = true,
        }
    }

    fn answer(&mut self, question: Question) -> Answer {
        match question {
            Question::CheckPassword(p) if p.password.len() % 2 == 0 => Answer::SignedIn,
            Question::CheckPassword(_) | Question::Denied => Answer::Denied,
            Question::FetchKeys { .. } => Answer::Keys(None),
            Question::Authorize { .. } => Answer::SignedIn,
            Question::Recipient(to, _) if to.to_string().len() % 5 == 0 => {
                Answer::Refuse(Refusal::NoSuchMailbox)
            }
            Question::Sender { .. } | Question::Recipient(..) => Answer::Yes,
            Question::Begin => {
                assert!(
                    self.session
                        .transaction()
                        .is_some_and(|t| !t.recipients.is_empty())
                );
                assert!(self.open_bytes.replace(0).is_none());
                Answer::Yes
            }
            Question::Finish { size_bytes } => {
                assert_eq!(self.open_bytes.take(), Some(size_bytes));
                Answer::Stored { id: "x".to_owned() }
            }
        }
    }
}

/// Feeds `data` to a client as what a server says, the first byte choosing its settings and how the rest is cut, and panics
/// when an invariant breaks: every drain ends, each message has one verdict for each recipient, nothing is said after the
/// close.
pub fn client(data: &[u8]) {
    let Some((&choice, data)) = data.split_first() else {
        return;
    };
    let mut config = client::Config::new("mx.example.com");
    config.start_tls =
        [StartTls::Never, StartTls::Opportunistic, StartTls::Required][usize::from(choice % 3)];
    config.credentials = (choice & 4 != 0).then(|| client::Credentials {
        user: "user".to_owned(),
        password: "password".to_owned(),
    });
    let mut owner = Sender {
        client: Client::new(Instant::ZERO, config, choice & 8 != 0),
        now: Instant::ZERO,
        under_way: None,
        messages: 0,
        pieces: 0,
        closed: false,
    };
    owner.drain();
    for piece in data.chunks(usize::from(choice >> 4) + 1) {
        owner
            .client
            .handle_input(owner.now, Bytes::copy_from_slice(piece));
        owner.drain();
    }
    owner.client.quit(owner.now);
    owner.drain();
    owner.now += Duration::from_secs(3600);
    owner.client.handle_timeout(owner.now);
    owner.drain();
    assert!(owner.closed && owner.under_way.is_none());
}

/// Sends messages for as long as it may.
struct Sender {
    client: Client,
    now: Instant,
    /// The recipients of the message under way.
    under_way: Option<usize>,
    messages: usize,
    pieces: usize,
    closed: bool,
}

impl Sender {
    fn drain(&mut self) {
        for _ in 0..10_000 {
            match self.client.poll_output() {
                client::Output::Transmit(bytes) => assert!(!self.closed && !bytes.is_empty()),
                client::Output::Event(event) => self.handle(event),
                client::Output::Timeout(at) => {
                    assert!(!self.closed || at.is_none());
                    return;
                }
            }
        }
        panic!("the client does not come to rest");
    }

    fn handle(&mut self, event: client::Event) {
        assert!(!self.closed);
        match event {
            client::Event::StartTls => self.client.handle_tls_started(self.now),
            client::Event::Ready => self.send(),
            client::Event::WantsBody if self.pieces % 4 == 3 => {
                self.pieces += 1;
                self.client.end_body(self.now);
            }
            client::Event::WantsBody => {
                assert!(self.under_way.is_some());
                self.pieces += 1;
                self.client.body(self.now, b".a\n.\r\n");
            }
            client::Event::Done(verdicts) => {
                assert_eq!(self.under_way.take(), Some(verdicts.len()));
                if self.client.is_ready() {
                    self.send();
                }
            }
            client::Event::Closed(_) => self.closed = true,
        }
    }

    fn send(&mut self) {
        self.messages += 1;
        if self.messages > 50 || !self.client.is_ready() {
            return;
        }
        let recipients = self.messages % 3 + 1;
        self.under_way = Some(recipients);
        let message = client::Message {
            from: crate::ReversePath::Null,
            recipients: vec![crate::ForwardPath::Postmaster; recipients],
            size_bytes: 100,
            body: crate::Body::SevenBit,
            utf8: self.messages % 5 == 4,
            dsn: Default::default(),
            recipient_dsn: Vec::new(),
        };
        self.client.send(self.now, message);
    }
}

#[cfg(test)]
mod tests {
    use super::{client, target};
    use ringpost_base::Rng;

    #[test]
    fn servers_that_say_anything_break_no_client() {
        const PARTS: &[&[u8]] = &[
            b"220 hello\r\n",
            b"250-there\r\n",
            b"250-PIPELINING\r\n",
            b"250-STARTTLS\r\n",
            b"250-AUTH PLAIN\r\n",
            b"250-SIZE 99\r\n",
            b"250 SMTPUTF8\r\n",
            b"250 ok\r\n",
            b"250 ok\r\n",
            b"235 ok\r\n",
            b"354 go\r\n",
            b"354 go\r\n",
            b"450 4.1.1 later\r\n",
            b"550 5.1.1 never\r\n",
            b"421 bye\r\n",
            b"221 bye\r\n",
            b"2",
            b"\n",
        ];
        let mut rng = Rng::from_number(4);
        for _ in 0..20_000 {
            let mut data = vec![rng.u32() as u8];
            for _ in 0..rng.below(24) {
                data.extend_from_slice(PARTS[rng.below(PARTS.len() as u64) as usize]);
            }
            client(&data);
        }
    }

    #[test]
    fn conversations_put_together_at_random_break_nothing() {
        const PARTS: &[&[u8]] = &[
            b"EHLO c\r\n",
            b"HELO c\r\n",
            b"MAIL FROM:<a@b>\r\n",
            b"MAIL FROM:<> SIZE=9 BODY=8BITMIME\r\n",
            b"RCPT TO:<a@b>\r\n",
            b"RCPT TO:<@x,@y:\"q r\"@[IPv6:::1]>\r\n",
            b"DATA\r\n",
            b".\r\n",
            b"..\r\n",
            b"\r\n",
            b"\r",
            b"\n",
            b".",
            b"BDAT 3\r\n",
            b"BDAT 3 LAST\r\n",
            b"BDAT 0 LAST\r\n",
            b"abc",
            b"RSET\r\n",
            b"NOOP\r\n",
            b"STARTTLS\r\n",
            b"AUTH PLAIN AGEAYmM=\r\n",
            b"AUTH LOGIN\r\n",
            b"YQ==\r\n",
            b"*\r\n",
            b"QUIT\r\n",
            b"\xff",
        ];
        let mut rng = Rng::from_number(3);
        for _ in 0..20_000 {
            let mut data = vec![rng.u32() as u8];
            for _ in 0..rng.below(24) {
                data.extend_from_slice(PARTS[rng.below(PARTS.len() as u64) as usize]);
            }
            target(&data);
        }
    }
}
