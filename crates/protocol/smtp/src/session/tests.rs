//! Conversations with a session, as a peer sees them.

use super::*;
use ringpost_auth::base64;

/// Answers as a small site would: bob and alice at example.com exist, and alice's password is `secret`.
struct Site {
    session: Session,
    now: Instant,
    /// What was sent, and after it what happened to the connection.
    log: String,
    /// What happened to messages: when it is told relative to what is sent depends on how the input was cut.
    messages: Vec<&'static str>,
    /// The messages that were stored.
    stored: Vec<Vec<u8>>,
    body: Vec<u8>,
    /// What the next message meets at its end.
    finish: Option<Refusal>,
    /// Or what it meets for each recipient.
    verdicts: Vec<Result<(), Refusal>>,
}

impl Site {
    fn new(role: Role) -> Self {
        Site::with(Config::new("mx.example.com", role), role == Role::Submissions)
    }

    fn with(config: Config, tls: bool) -> Self {
        let mut site = Site {
            session: Session::new(Instant::ZERO, Arc::new(config), tls, Rng::from_number(5)),
            now: Instant::ZERO,
            log: String::new(),
            messages: Vec::new(),
            stored: Vec::new(),
            body: Vec::new(),
            finish: None,
            verdicts: Vec::new(),
        };
        let protocol = site.session.config.role.greeting();
        site.drain();
        assert_eq!(site.take(), format!("220 mx.example.com {protocol} Ringpost\r\n"));
        site
    }

    fn take(&mut self) -> String {
        std::mem::take(&mut self.log)
    }

    /// What the server says to this.
    fn says(&mut self, bytes: &[u8]) -> String {
        assert!(self.session.wants_input(), "after {:?}", self.log);
        self.session.handle_input(self.now, Bytes::copy_from_slice(bytes));
        self.drain();
        self.take()
    }

    /// The codes of the replies to this.
    fn codes(&mut self, bytes: &[u8]) -> Vec<u16> {
        let log = self.says(bytes);
        log.lines()
            .filter(|line| line.as_bytes().get(3) == Some(&b' '))
            .map(|l| l[..3].parse().unwrap())
            .collect()
    }

    fn drain(&mut self) {
        loop {
            match self.session.poll_output() {
                Output::Transmit(bytes) => self.log.push_str(std::str::from_utf8(&bytes).unwrap()),
                Output::Event(Event::Question { id, question }) => {
                    let answer = self.answer(question);
                    self.session.handle_answer(self.now, id, answer);
                }
                Output::Event(Event::Body(chunk)) => self.body.extend_from_slice(&chunk),
                Output::Event(Event::Abort) => {
                    self.body.clear();
                    self.messages.push("abort");
                }
                Output::Event(Event::StartTls) => self.log.push_str("(tls)\r\n"),
                Output::Event(Event::Close) => self.log.push_str("(close)\r\n"),
                // An answer is held back.
                Output::Timeout(Some(at)) if !self.session.wants_input() => {
                    self.now = at;
                    self.session.handle_timeout(at);
                }
                Output::Timeout(_) => return,
            }
        }
    }

    fn answer(&mut self, question: Question) -> Answer {
        match question {
            Question::CheckPassword(p) if p.user == "alice" && p.password == "secret" => Answer::SignedIn,
            Question::CheckPassword(p) if p.user == "broken" => Answer::Refuse(Refusal::Temporary),
            Question::CheckPassword(_) | Question::Denied => Answer::Denied,
            Question::FetchKeys { .. } => Answer::Keys(None),
            Question::Authorize { .. } => unreachable!("nobody has keys"),
            Question::Sender { from, .. } => {
                assert_ne!(from.to_string(), "<never@asked>");
                Answer::Yes
            }
            Question::Recipient(ForwardPath::Postmaster, _) => Answer::Yes,
            Question::Recipient(ForwardPath::Mailbox(mailbox), _) => match mailbox.to_string().as_str() {
                "bob@example.com" | "alice@example.com" => Answer::Yes,
                "full@example.com" => Answer::Refuse(Refusal::MailboxFull),
                other if other.ends_with("@example.com") => Answer::Refuse(Refusal::NoSuchMailbox),
                _ => Answer::Refuse(Refusal::RelayDenied),
            },
            Question::Begin => {
                assert!(self.body.is_empty());
                self.messages.push("begin");
                Answer::Yes
            }
            Question::Finish { size_bytes } => {
                assert_eq!(size_bytes, self.body.len() as u64);
                let body = std::mem::take(&mut self.body);
                match self.finish.take() {
                    Some(refusal) => Answer::Refuse(refusal),
                    None => {
                        self.stored.push(body);
                        let id = format!("m{}", self.stored.len());
                        match std::mem::take(&mut self.verdicts) {
                            none if none.is_empty() => Answer::Stored { id },
                            verdicts => Answer::StoredFor { id, verdicts },
                        }
                    }
                }
            }
        }
    }

    fn signed_in() -> Self {
        let mut site = Site::new(Role::Submissions);
        assert_eq!(site.codes(b"EHLO c\r\n"), [250]);
        assert_eq!(site.codes(&auth_plain("alice", "secret")), [235]);
        site
    }
}

fn auth_plain(user: &str, password: &str) -> Vec<u8> {
    let message = base64::encode(&sasl::plain_message("", user, password));
    format!("AUTH PLAIN {message}\r\n").into_bytes()
}

/// A client that waits for the replies after each part, at every way to cut each part in two, and byte by byte.
fn at_every_split(parts: &[&[u8]], mut make: impl FnMut() -> Site) -> Site {
    let run = |site: &mut Site, cut: &dyn Fn(usize, &[u8]) -> Vec<Bytes>| {
        let mut log = String::new();
        for (i, part) in parts.iter().enumerate() {
            for piece in cut(i, part) {
                site.session.handle_input(site.now, piece);
                site.drain();
            }
            log.push_str(&site.take());
        }
        log
    };
    let mut whole = make();
    let expected = run(&mut whole, &|_, part| vec![Bytes::copy_from_slice(part)]);
    for (i, part) in parts.iter().enumerate() {
        for at in 1..part.len() {
            let mut site = make();
            let log = run(&mut site, &|j, part: &[u8]| {
                if i == j {
                    vec![
                        Bytes::copy_from_slice(&part[..at]),
                        Bytes::copy_from_slice(&part[at..]),
                    ]
                } else {
                    vec![Bytes::copy_from_slice(part)]
                }
            });
            assert_eq!(log, expected, "part {i} cut at {at}");
            assert_eq!((&site.messages, &site.stored), (&whole.messages, &whole.stored));
        }
    }
    let mut site = make();
    let log = run(&mut site, &|_, part: &[u8]| {
        part.iter().map(|b| Bytes::copy_from_slice(&[*b])).collect()
    });
    assert_eq!(log, expected, "byte by byte");
    assert_eq!((&site.messages, &site.stored), (&whole.messages, &whole.stored));
    whole.log = expected;
    whole
}

const ENVELOPE: &[u8] =
    b"EHLO c.example.org\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<bob@example.com>\r\nDATA\r\n";

#[test]
fn a_pipelined_message_is_taken_however_it_is_cut() {
    let mut site = at_every_split(
        &[
            ENVELOPE,
            b"Subject: x\r\n\r\n..dot\r\nend\r\n.\r\nRSET\r\nQUIT\r\n",
        ],
        || Site::new(Role::Mx),
    );
    assert_eq!(site.stored, [b"Subject: x\r\n\r\n.dot\r\nend\r\n"]);
    let log = site.take();
    let codes: Vec<&str> = log.lines().filter(|l| !l.starts_with("250-")).collect();
    assert_eq!(
        codes[1..],
        [
            "250 2.1.0 Sender ok",
            "250 2.1.5 Recipient ok",
            "354 End with a dot on a line of its own",
            "250 2.0.0 Ok: m1",
            "250 2.0.0 Ok",
            "221 2.0.0 Bye",
            "(close)",
        ]
    );
}

#[test]
fn replies_to_a_pipelined_group_leave_together() {
    let mut session = Site::new(Role::Mx).session;
    session.handle_input(Instant::ZERO, "NOOP\r\nNOOP\r\nRSET\r\n".into());
    assert_eq!(
        session.poll_output(),
        Output::Transmit("250 2.0.0 Ok\r\n".repeat(3).into())
    );
    assert!(matches!(session.poll_output(), Output::Timeout(Some(_))));
}

// Guards pitfall SMTP 1: an end that only another server sees, and what is hidden behind it.
#[test]
fn a_bare_cr_or_lf_refuses_the_message_after_it_was_read_to_its_end() {
    for body in [
        &b"a\n.\nMAIL FROM:<evil@example.org>\r\n.\r\n"[..],
        b"a\r\n.\nQUIT\r\n.\r\n",
        b"a\n.\r\nQUIT\r\n.\r\n",
        b"a\r.\rQUIT\r\n.\r\n",
        b"a\rb\r\n.\r\n",
        b"a\r\r\n.\r\n",
        b"\n\r\n.\r\n",
    ] {
        let mut site = at_every_split(&[ENVELOPE, body, b"NOOP\r\n"], || Site::new(Role::Mx));
        let log = site.take();
        assert_eq!(site.messages, ["begin", "abort"]);
        assert!(site.stored.is_empty());
        assert!(
            log.ends_with("550 5.6.0 Bare CR or LF in the message\r\n250 2.0.0 Ok\r\n"),
            "{log}"
        );
    }
}

#[test]
fn a_command_line_that_ends_in_lf_alone_closes_the_connection() {
    let mut site = at_every_split(&[b"EHLO c\r\n", b"NOOP\nQUIT\r\n"], || Site::new(Role::Mx));
    assert!(
        site.take()
            .ends_with("500 5.5.2 Only CRLF ends a line\r\n(close)\r\n")
    );
}

// Guards pitfall SMTP 2: what stands behind STARTTLS in the clear is never executed under TLS.
#[test]
fn input_behind_starttls_is_thrown_away_and_the_state_starts_again() {
    let mut site = Site::new(Role::Mx);
    site.codes(b"EHLO c\r\nMAIL FROM:<a@example.org>\r\n");
    let log = site.says(b"STARTTLS\r\nRSET\r\nMAIL FROM:<never@asked>\r\nhalf a li");
    assert_eq!(log, "220 2.0.0 Ready to start TLS\r\n(tls)\r\n");
    assert!(!site.session.wants_input());
    site.session
        .handle_input(site.now, "MAIL FROM:<never@asked>\r\n".into());
    site.drain();
    site.session.handle_tls_started(site.now);
    site.drain();
    assert_eq!(site.take(), "");
    assert_eq!(
        site.codes(b"MAIL FROM:<a@example.org>\r\n"),
        [503],
        "EHLO and MAIL are forgotten"
    );
    let hello = site.says(b"EHLO c\r\n");
    assert!(!hello.contains("STARTTLS"));
    assert_eq!(site.codes(b"STARTTLS\r\n"), [503]);
    assert!(site.session.protocol().tls);
}

// Guards pitfall SMTP 2: text before the go-ahead.
#[test]
fn a_message_pipelined_before_354_is_503_and_the_end() {
    let mut site = Site::new(Role::Mx);
    let log = site.says(&[ENVELOPE, b"Subject: x\r\n.\r\nQUIT\r\n"].concat());
    assert!(log.ends_with("250 2.1.0 Sender ok\r\n250 2.1.5 Recipient ok\r\n503 5.5.1 The message came before 354\r\n(close)\r\n"), "{log}");
}

#[test]
fn commands_out_of_order_are_503() {
    let mut site = Site::new(Role::Mx);
    assert_eq!(site.codes(b"MAIL FROM:<a@b>\r\n"), [503]);
    assert_eq!(site.codes(b"RCPT TO:<bob@example.com>\r\n"), [503]);
    assert_eq!(site.codes(b"DATA\r\n"), [503]);
    assert_eq!(
        site.codes(b"HELO c\r\nMAIL FROM:<a@b>\r\nMAIL FROM:<a@b>\r\n"),
        [250, 250, 503]
    );
    assert_eq!(site.codes(b"DATA\r\n"), [554], "no recipient yet");
    assert_eq!(
        site.codes(b"EHLO c\r\nRCPT TO:<bob@example.com>\r\n"),
        [250, 503],
        "EHLO ends a transaction"
    );
    assert_eq!(
        site.codes(b"MAIL FROM:<a@b> SIZE=1\r\nRSET\r\nRCPT TO:<bob@example.com>\r\n"),
        [250, 250, 503]
    );
}

#[test]
fn helo_gets_no_extensions_and_no_parameters() {
    let mut site = Site::new(Role::Mx);
    assert_eq!(site.says(b"HELO c\r\n"), "250 mx.example.com\r\n");
    assert_eq!(site.codes(b"MAIL FROM:<a@b> SIZE=1\r\n"), [555]);
    assert_eq!(site.session.protocol().to_string(), "SMTP");
}

#[test]
fn ehlo_announces_what_is_done_and_nothing_else() {
    let mut site = Site::new(Role::Mx);
    let lines: Vec<String> = site
        .says(b"EHLO c\r\n")
        .lines()
        .map(|l| l[4..].to_owned())
        .collect();
    assert_eq!(
        lines,
        [
            "mx.example.com",
            "PIPELINING",
            "SIZE 52428800",
            "8BITMIME",
            "SMTPUTF8",
            "CHUNKING",
            "DSN",
            "STARTTLS",
            "ENHANCEDSTATUSCODES",
        ]
    );
    let hello = Site::new(Role::Submission).says(b"EHLO c\r\n");
    assert!(hello.contains("STARTTLS") && !hello.contains("AUTH"), "{hello}");
    let hello = Site::new(Role::Submissions).says(b"EHLO c\r\n");
    assert!(
        !hello.contains("STARTTLS") && hello.contains("250-AUTH SCRAM-SHA-256 PLAIN LOGIN\r\n"),
        "{hello}"
    );
}

// Guards pitfall SMTP 4.
#[test]
fn the_classic_relay_tricks_are_refused() {
    let mut site = Site::new(Role::Mx);
    // Our own domain as the sender's opens nothing.
    site.codes(b"EHLO c\r\nMAIL FROM:<alice@example.com>\r\n");
    for to in [
        "victim@elsewhere.org",
        "victim%elsewhere.org@example.com",
        "elsewhere.org!victim@example.com",
        "\"victim@elsewhere.org\"@example.com",
        "@example.com:victim@elsewhere.org",
        "victim@[192.0.2.1]",
        "\"victim%elsewhere.org\"@example.com",
    ] {
        let log = site.says(format!("RCPT TO:<{to}>\r\n").as_bytes());
        assert_eq!(log, "550 5.7.1 Relaying denied\r\n", "{to}");
    }
    // A source route by itself is no trick: what counts is the mailbox behind it.
    assert_eq!(
        site.codes(b"RCPT TO:<@relay.example.org:bob@example.com>\r\n"),
        [250]
    );
    assert_eq!(site.codes(b"RCPT TO:<postmaster>\r\n"), [250]);
}

// Guards pitfall SMTP 5.
#[test]
fn auth_is_for_tls_and_before_mail_and_once() {
    let mut site = Site::new(Role::Submission);
    assert_eq!(site.codes(b"EHLO c\r\n"), [250]);
    assert_eq!(site.codes(&auth_plain("alice", "secret")), [538]);
    assert_eq!(site.codes(b"MAIL FROM:<a@b>\r\n"), [530]);
    assert_eq!(site.codes(b"NOOP\r\nSTARTTLS\r\n"), [250, 220]);
    site.session.handle_tls_started(site.now);
    site.drain();
    assert_eq!(
        site.codes(&auth_plain("alice", "secret")),
        [503],
        "EHLO has to come again"
    );
    assert_eq!(site.codes(b"EHLO c\r\nMAIL FROM:<a@b>\r\n"), [250, 530]);
    assert_eq!(site.codes(&auth_plain("alice", "wrong")), [535]);
    assert_eq!(site.codes(&auth_plain("nobody", "secret")), [535]);
    assert_eq!(site.codes(&auth_plain("broken", "secret")), [454]);
    assert_eq!(site.codes(&auth_plain("alice", "secret")), [235]);
    assert_eq!(site.codes(&auth_plain("alice", "secret")), [503]);
    assert_eq!(site.codes(b"MAIL FROM:<a@b>\r\nAUTH PLAIN\r\n"), [250, 503]);
    assert_eq!(site.session.protocol().to_string(), "ESMTPSA");
}

#[test]
fn auth_on_port_25_is_not_there() {
    let mut site = Site::new(Role::Mx);
    assert_eq!(site.codes(b"EHLO c\r\nAUTH PLAIN\r\n"), [250, 502]);
}

// Guards pitfall SMTP 5: answers that are none.
#[test]
fn auth_exchanges_that_go_wrong() {
    let mut site = Site::new(Role::Submissions);
    site.codes(b"EHLO c\r\n");
    assert_eq!(site.says(b"AUTH PLAIN\r\n"), "334 \r\n");
    assert_eq!(site.says(b"*\r\n"), "501 5.7.0 Authentication cancelled\r\n");
    assert_eq!(site.codes(b"AUTH PLAIN\r\n=AAA\r\n"), [334, 501]);
    assert_eq!(site.codes(b"AUTH PLAIN AAA=BBB\r\n"), [501]);
    assert_eq!(
        site.codes(b"AUTH PLAIN =\r\n"),
        [501],
        "an empty message is no PLAIN"
    );
    assert_eq!(site.codes(b"AUTH CRAM-MD5\r\n"), [504]);
    assert_eq!(site.codes(b"AUTH\r\n"), [501]);
    let long = [b"AUTH PLAIN\r\n", "A".repeat(8000).as_bytes(), b"\r\n"].concat();
    assert_eq!(
        site.says(&long),
        "334 \r\n500 5.5.6 Authentication exchange line too long\r\n"
    );
    let longer = [b"AUTH PLAIN\r\n", "A".repeat(20_000).as_bytes(), b"\r\nNOOP\r\n"].concat();
    assert_eq!(
        site.says(&longer),
        "334 \r\n500 5.5.6 Authentication exchange line too long\r\n250 2.0.0 Ok\r\n"
    );
}

// Guards pitfall SMTP 5: an unknown user is asked for as much as a known one.
#[test]
fn scram_is_offered_bound_where_tls_can_be_bound_to() {
    let mut site = Site::new(Role::Submissions);
    site.session.handle_bindings(sasl::ChannelBindings {
        exporter: Some(vec![1; 32]),
        server_end_point: None,
    });
    let hello = site.says(b"EHLO c\r\n");
    assert!(
        hello.contains("250-AUTH SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN\r\n"),
        "{hello}"
    );
    let first = base64::encode(b"p=tls-exporter,,n=nobody,r=abc");
    let said = site.says(format!("AUTH SCRAM-SHA-256-PLUS {first}\r\n").as_bytes());
    let challenge = base64::decode(said["334 ".len()..].trim_end().as_bytes(), 1000).unwrap();
    let challenge = String::from_utf8(challenge).unwrap();
    assert!(
        challenge.starts_with("r=abc") && challenge.contains(",s="),
        "{challenge}"
    );
    let nonce = challenge.split(',').next().unwrap();
    let bound = base64::encode(&[&b"p=tls-exporter,,"[..], &[1; 32]].concat());
    let last = base64::encode(format!("c={bound},{nonce},p={}", base64::encode(&[0; 32])).as_bytes());
    assert_eq!(site.codes(format!("{last}\r\n").as_bytes()), [535]);
    // One in the middle took the offer away; a binding to another connection; none where it was promised.
    for (mechanism, first) in [
        ("SCRAM-SHA-256", "y,,n=nobody,r=abc"),
        ("SCRAM-SHA-256-PLUS", "p=tls-server-end-point,,n=nobody,r=abc"),
        ("SCRAM-SHA-256-PLUS", "n,,n=nobody,r=abc"),
    ] {
        let line = format!("AUTH {mechanism} {}\r\n", base64::encode(first.as_bytes()));
        assert_eq!(site.codes(line.as_bytes()), [535], "{first}");
    }
    let mut plain = Site::new(Role::Submissions);
    plain.codes(b"EHLO c\r\n");
    assert_eq!(plain.codes(b"AUTH SCRAM-SHA-256-PLUS\r\n"), [504]);
}

#[test]
fn login_asks_for_the_name_and_then_for_the_password() {
    let name = [base64::encode(b"alice").as_bytes(), b"\r\n"].concat();
    let password = [base64::encode(b"secret").as_bytes(), b"\r\n"].concat();
    let mut site = at_every_split(&[b"EHLO c\r\n", b"AUTH LOGIN\r\n", &name, &password], || {
        Site::new(Role::Submissions)
    });
    let log = site.take();
    let expected = "334 VXNlcm5hbWU6\r\n334 UGFzc3dvcmQ6\r\n235 2.7.0 Authentication successful\r\n";
    assert!(log.ends_with(expected), "{log}");
}

#[test]
fn passwords_cannot_be_guessed_for_ever() {
    let mut site = Site::new(Role::Submissions);
    site.codes(b"EHLO c\r\n");
    for _ in 1..limits::SMTP_AUTH_FAILURES {
        assert_eq!(site.codes(&auth_plain("alice", "guess")), [535]);
    }
    let log = site.says(&auth_plain("alice", "guess"));
    assert!(
        log.contains("\r\n421 4.7.0") && log.ends_with("(close)\r\n"),
        "{log}"
    );
}

// Guards pitfall SMTP 7: SIZE.
#[test]
fn size_is_checked_at_mail_and_while_the_message_comes() {
    let mut config = Config::new("mx.example.com", Role::Mx);
    config.max_message_bytes = 20;
    let make = || Site::with(config.clone(), false);
    let mut site = make();
    assert_eq!(site.codes(b"EHLO c\r\nMAIL FROM:<a@b> SIZE=21\r\n"), [250, 552]);
    assert_eq!(site.codes(b"MAIL FROM:<a@b> SIZE=20\r\n"), [250]);
    let mut site = at_every_split(&[ENVELOPE, b"0123456789abcdef\r\nab\r\n.\r\nNOOP\r\n"], make);
    assert!(
        site.take()
            .ends_with("552 5.3.4 Message too large\r\n250 2.0.0 Ok\r\n")
    );
    let mut site = at_every_split(&[ENVELOPE, b"0123456789abcdef\r\n..\r\n.\r\n"], make);
    assert!(site.take().ends_with("552 5.3.4 Message too large\r\n"));
    let mut site = at_every_split(&[ENVELOPE, b"0123456789abcdef\r\n\r\n.\r\n"], make);
    assert!(site.take().ends_with("250 2.0.0 Ok: m1\r\n"), "exactly the limit");
    let mut site = make();
    site.says(ENVELOPE);
    assert!(
        site.says(&[b'x'; 100])
            .ends_with("552 5.3.4 Message too large\r\n(close)\r\n"),
        "not for ever"
    );
}

// Guards pitfall SMTP 7: the recipients limit.
#[test]
fn recipients_over_the_limit_get_452_and_the_others_get_the_message() {
    let mut config = Config::new("mx.example.com", Role::Mx);
    config.max_recipients = 2;
    let mut site = Site::with(config, false);
    site.codes(b"EHLO c\r\nMAIL FROM:<>\r\n");
    let rcpt = b"RCPT TO:<bob@example.com>\r\n".repeat(3);
    assert_eq!(site.codes(&rcpt), [250, 250, 452]);
    assert_eq!(site.session.transaction().unwrap().recipients.len(), 2);
    assert_eq!(site.codes(b"DATA\r\n"), [354]);
    assert_eq!(site.codes(b"x\r\n.\r\n"), [250]);
}

#[test]
fn a_refused_recipient_does_not_end_the_transaction() {
    let mut site = Site::new(Role::Mx);
    site.codes(b"EHLO c\r\nMAIL FROM:<a@b>\r\n");
    assert_eq!(
        site.codes(
            b"RCPT TO:<nobody@example.com>\r\nRCPT TO:<full@example.com>\r\nRCPT TO:<bob@example.com>\r\n"
        ),
        [550, 452, 250]
    );
    assert_eq!(site.codes(b"DATA\r\n"), [354]);
    site.finish = Some(Refusal::SystemFull);
    assert_eq!(
        site.says(b"x\r\n.\r\n"),
        "452 4.3.1 Insufficient system storage\r\n"
    );
    assert!(site.stored.is_empty());
    assert_eq!(
        site.codes(b"MAIL FROM:<a@b>\r\n"),
        [250],
        "the transaction is over"
    );
}

#[test]
fn bdat_is_counted_in_octets_and_keeps_its_dots() {
    let envelope = b"EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<bob@example.com>\r\n";
    let chunks = b"BDAT 7\r\n.\r\nab\r\nBDAT 6\r\n\r\n..\r\nBDAT 0 LAST\r\nNOOP\r\n";
    let mut site = at_every_split(&[envelope, chunks], || Site::new(Role::Mx));
    assert!(
        site.take().ends_with(
            "250 2.0.0 Chunk taken\r\n250 2.0.0 Chunk taken\r\n250 2.0.0 Ok: m1\r\n250 2.0.0 Ok\r\n"
        )
    );
    assert_eq!(site.stored, [b".\r\nab\r\n\r\n..\r\n"]);
}

#[test]
fn chunks_that_are_refused_are_still_read_to_their_end() {
    let mut site = at_every_split(
        &[b"EHLO c\r\nBDAT 5\r\nQUIT\r", b"BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n"],
        || Site::new(Role::Mx),
    );
    let log = site.take();
    assert!(log.ends_with(
        "503 5.5.1 Bad sequence of commands\r\n503 5.5.1 Bad sequence of commands\r\n250 2.0.0 Ok\r\n"
    ));
    assert!(!log.contains("close"));
}

#[test]
fn bdat_that_is_malformed_closes_since_nobody_knows_what_follows() {
    let mut site = Site::new(Role::Mx);
    assert!(site.says(b"EHLO c\r\nBDAT many\r\nQUIT\r\n").ends_with(
        "501 5.5.4 Syntax error: expected the number of octets, with LAST behind it or without\r\n(close)\r\n"
    ));
}

#[test]
fn bdat_is_held_to_line_ends_size_and_order_too() {
    let mut site = Site::new(Role::Mx);
    let envelope = b"EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<bob@example.com>\r\n";
    site.says(envelope);
    assert!(
        site.says(b"BDAT 3 LAST\r\na\nb")
            .ends_with("550 5.6.0 Bare CR or LF in the message\r\n")
    );
    site.says(envelope);
    assert_eq!(site.codes(b"BDAT 3\r\nabcDATA\r\n"), [250, 503]);
    site.messages.clear();
    assert_eq!(site.says(b"RSET\r\n"), "250 2.0.0 Ok\r\n");
    assert_eq!(site.messages, ["abort"]);
    site.says(envelope);
    assert_eq!(site.codes(b"BDAT 60000000\r\n"), []);
    for _ in 0..59 {
        assert_eq!(site.codes(&vec![b'x'; 1_000_000]), []);
    }
    assert_eq!(site.codes(&vec![b'x'; 1_000_000]), [552]);
    assert_eq!(
        site.codes(b"BDAT 1 LAST\r\nx"),
        [503],
        "a failed chunk fails the rest"
    );
    assert!(site.stored.is_empty());
}

#[test]
fn lines_without_end_are_bounded() {
    let long = [
        &b"NOOP "[..],
        &b"x".repeat(limits::SMTP_LINE_BYTES),
        b"\r\nNOOP\r\n",
    ]
    .concat();
    let mut site = Site::new(Role::Mx);
    assert_eq!(site.says(&long), "500 5.5.2 Line too long\r\n250 2.0.0 Ok\r\n");
    for piece in long.chunks(1000) {
        site.session.handle_input(site.now, Bytes::copy_from_slice(piece));
        site.drain();
    }
    assert_eq!(site.take(), "500 5.5.2 Line too long\r\n250 2.0.0 Ok\r\n");
    for at in long.len() - 12..long.len() - 4 {
        site.session
            .handle_input(site.now, Bytes::copy_from_slice(&long[..at]));
        site.drain();
        site.session
            .handle_input(site.now, Bytes::copy_from_slice(&long[at..]));
        site.drain();
        assert_eq!(
            site.take(),
            "500 5.5.2 Line too long\r\n250 2.0.0 Ok\r\n",
            "cut at {at}"
        );
    }
}

#[test]
fn errors_and_idle_commands_are_counted() {
    let mut site = Site::new(Role::Mx);
    let log = site.says(&b"FOO\r\n".repeat(30));
    assert_eq!(log.matches("500 ").count(), limits::SMTP_ERRORS as usize);
    assert!(log.ends_with("421 4.7.0 Too many errors, closing\r\n(close)\r\n"));
    let mut site = Site::new(Role::Mx);
    let log = site.says(&b"NOOP\r\n".repeat(300));
    assert!(log.ends_with("421 4.7.0 Too many commands without a message\r\n(close)\r\n"));
}

#[test]
fn a_line_that_trickles_in_does_not_prolong_its_time() {
    let mut site = Site::new(Role::Mx);
    let Output::Timeout(Some(at)) = site.session.poll_output() else {
        panic!("no timeout")
    };
    assert_eq!(at, Instant::ZERO + Duration::from_secs(300));
    site.now = Instant::ZERO + Duration::from_secs(299);
    site.says(b"NO");
    assert_eq!(site.session.poll_output(), Output::Timeout(Some(at)));
    site.session.handle_timeout(site.now);
    assert_eq!(site.session.poll_output(), Output::Timeout(Some(at)), "not yet");
    site.session.handle_timeout(at);
    site.drain();
    assert_eq!(site.take(), "421 4.4.2 Timeout, closing\r\n(close)\r\n");
    assert_eq!(site.session.poll_output(), Output::Timeout(None));
}

#[test]
fn a_message_that_stops_coming_is_aborted() {
    let mut site = Site::new(Role::Mx);
    site.says(ENVELOPE);
    site.now = Instant::ZERO + Duration::from_secs(200);
    site.says(b"Subject: x\r\n");
    let Output::Timeout(Some(at)) = site.session.poll_output() else {
        panic!("no timeout")
    };
    assert_eq!(
        at,
        Instant::ZERO + Duration::from_secs(500),
        "each piece gives time for the next"
    );
    site.session.handle_timeout(at);
    site.drain();
    assert_eq!(site.take(), "421 4.4.2 Timeout, closing\r\n(close)\r\n");
    assert_eq!(site.messages, ["begin", "abort"]);
}

#[test]
fn a_shutdown_waits_for_the_message_under_way() {
    let mut site = Site::new(Role::Mx);
    site.says(ENVELOPE);
    site.session.shut_down(site.now, Ending::Stop);
    site.drain();
    assert_eq!(site.take(), "");
    assert_eq!(
        site.says(b"x\r\n.\r\n"),
        "250 2.0.0 Ok: m1\r\n421 4.3.2 Shutting down\r\n(close)\r\n"
    );
    let mut site = Site::signed_in();
    site.session.shut_down(site.now, Ending::Stop);
    site.drain();
    assert_eq!(site.take(), "421 4.3.2 Shutting down\r\n(close)\r\n");
}

#[test]
fn a_shutdown_waits_for_the_rest_of_a_message_no_longer_than_it_may() {
    for content in ["DATA\r\n", "BDAT 100\r\n"] {
        let mut site = Site::new(Role::Mx);
        site.says(ENVELOPE.strip_suffix(b"DATA\r\n").unwrap());
        site.says(content.as_bytes());
        site.take();
        site.session.shut_down(site.now, Ending::Stop);
        let until = site.now + Duration::from_secs(5);
        assert_eq!(site.session.poll_output(), Output::Timeout(Some(until)));
        site.now += Duration::from_secs(4);
        assert_eq!(site.says(b"some more of it\r\n"), "");
        let trickled = site.session.poll_output();
        assert_eq!(trickled, Output::Timeout(Some(until)), "it gives no more time");
        site.session.handle_timeout(until);
        site.drain();
        assert_eq!(site.take(), "421 4.3.2 Shutting down\r\n(close)\r\n");
        assert_eq!(site.messages, ["begin", "abort"]);
    }
}

#[test]
fn an_answer_to_another_question_is_ignored() {
    let mut session = Site::new(Role::Mx).session;
    session.handle_input(Instant::ZERO, "EHLO c\r\nMAIL FROM:<a@b>\r\n".into());
    let id = loop {
        if let Output::Event(Event::Question { id, .. }) = session.poll_output() {
            break id;
        }
    };
    session.handle_answer(Instant::ZERO, QuestionId(99), Answer::Yes);
    assert!(session.transaction().is_none() && !session.wants_input());
    session.handle_answer(Instant::ZERO, id, Answer::Yes);
    assert!(session.transaction().is_some());
}

#[test]
fn who_makes_many_errors_is_answered_late_until_a_message_is_taken() {
    let mut site = Site::new(Role::Mx);
    site.codes(b"EHLO c\r\nMAIL FROM:<a@b>\r\n");
    let unknown = b"RCPT TO:<nobody@example.com>\r\n";
    for _ in 0..limits::SMTP_ERRORS / 2 {
        assert_eq!(site.codes(unknown), [550]);
    }
    assert_eq!(site.now, Instant::ZERO, "people err");
    site.session.handle_input(
        site.now,
        Bytes::from_static(b"RCPT TO:<nobody@example.com>\r\nNOOP\r\n"),
    );
    let until = Instant::ZERO + TARPIT;
    assert_eq!(
        site.session.poll_output(),
        Output::Event(Event::Question {
            id: QuestionId(12),
            question: Question::Recipient(
                ForwardPath::Mailbox(crate::Mailbox::parse("nobody@example.com").unwrap()),
                RcptDsn::default()
            ),
        })
    );
    let refused = Answer::Refuse(Refusal::NoSuchMailbox);
    site.session.handle_answer(site.now, QuestionId(12), refused);
    assert_eq!(site.session.poll_output(), Output::Timeout(Some(until)));
    assert!(!site.session.wants_input());
    site.drain();
    assert_eq!(site.take(), "550 5.1.1 No such mailbox here\r\n250 2.0.0 Ok\r\n");
    assert_eq!(site.now, until);
    site.codes(b"RCPT TO:<bob@example.com>\r\nDATA\r\n");
    assert_eq!(site.codes(b"x\r\n.\r\nMAIL FROM:<a@b>\r\n"), [250, 250]);
    for _ in 0..limits::SMTP_ERRORS / 2 {
        assert_eq!(site.codes(unknown), [550]);
    }
    assert_eq!(site.now, until, "it may err again");
}

#[test]
fn a_connection_carries_so_many_messages_and_recipients() {
    let mut config = Config::new("mx.example.com", Role::Mx);
    config.bounds.messages = 2;
    let mut site = Site::with(config.clone(), false);
    site.codes(b"EHLO c\r\n");
    for _ in 0..2 {
        assert_eq!(
            site.codes(b"MAIL FROM:<>\r\nRCPT TO:<bob@example.com>\r\nDATA\r\n"),
            [250, 250, 354]
        );
        assert_eq!(site.codes(b"x\r\n.\r\n"), [250]);
    }
    let log = site.says(b"MAIL FROM:<>\r\n");
    assert_eq!(log, "421 4.7.0 Enough messages on one connection\r\n(close)\r\n");
    config.bounds.recipients = 3;
    let mut site = Site::with(config, false);
    let rcpt = b"RCPT TO:<bob@example.com>\r\n".repeat(2);
    assert_eq!(site.codes(b"EHLO c\r\nMAIL FROM:<>\r\n"), [250, 250]);
    assert_eq!(site.codes(&rcpt), [250, 250]);
    assert_eq!(site.codes(b"RSET\r\nMAIL FROM:<>\r\n"), [250, 250]);
    assert_eq!(site.codes(&rcpt), [250, 421]);
}

// RFC 5321 §4.1.1, §4.1.4 and §4.3.2.
#[test]
fn each_command_has_its_place_and_its_replies() {
    const EHLO: &str = "EHLO c\r\n";
    const MAIL: &str = "MAIL FROM:<a@b>\r\n";
    const RCPT: &str = "RCPT TO:<bob@example.com>\r\n";
    let anywhere = "NOOP\r\nNOOP never mind\r\nHELP\r\nHELP MAIL\r\nVRFY bob\r\nEXPN list\r\n";
    let tells = [250, 250, 214, 214, 252, 502];
    for (said, codes) in [
        (anywhere.to_owned(), tells.to_vec()),
        (
            format!("RSET\r\n{MAIL}{RCPT}DATA\r\nBDAT 0 LAST\r\n"),
            vec![250, 503, 503, 503, 503],
        ),
        // Wherever they stand, they change nothing.
        (
            format!("{EHLO}{MAIL}{anywhere}{RCPT}{anywhere}DATA\r\n"),
            [&[250, 250], &tells[..], &[250], &tells, &[354]].concat(),
        ),
        // A second greeting begins anew; one that is none leaves all as it is.
        (format!("{EHLO}{MAIL}EHLO d\r\n{RCPT}"), vec![250, 250, 250, 503]),
        (format!("{EHLO}{MAIL}HELO d\r\n{RCPT}"), vec![250, 250, 250, 503]),
        (
            format!("{EHLO}{MAIL}EHLO\r\nHELO a b\r\n{RCPT}"),
            vec![250, 250, 501, 501, 250],
        ),
        (
            format!("HELO c\r\nMAIL FROM:<a@b> SIZE=1\r\n{MAIL}"),
            vec![250, 555, 250],
        ),
        // One transaction at a time, and the first stands.
        (format!("{EHLO}{MAIL}{MAIL}{RCPT}"), vec![250, 250, 503, 250]),
        (
            format!("{EHLO}{RCPT}{MAIL}DATA\r\n{RCPT}RSET\r\nDATA\r\n"),
            vec![250, 503, 250, 554, 250, 250, 503],
        ),
        (
            format!("{EHLO}{MAIL}BDAT 2 LAST\r\nxx{RCPT}"),
            vec![250, 250, 554, 503],
        ),
        // Who may have no argument, and who must.
        (
            "RSET x\r\nDATA x\r\nQUIT x\r\nVRFY\r\nEXPN\r\nMAIL\r\nRCPT\r\nMAIL TO:<a@b>\r\n".to_owned(),
            vec![501; 8],
        ),
        (
            "XYZZY\r\nTURN\r\nLHLO c\r\nSTARTTLS now\r\nAUTH PLAIN\r\n".to_owned(),
            vec![500, 502, 500, 501, 502],
        ),
        (format!("{EHLO}{MAIL}QUIT\r\nNOOP\r\n"), vec![250, 250, 221]),
    ] {
        let mut site = Site::new(Role::Mx);
        let heard = site.codes(said.as_bytes());
        // BDAT's octets come whatever is thought of it, and a transaction that has failed is over.
        assert_eq!(heard, codes, "{said}");
    }
    // RFC 3207 §4: where TLS comes first, nothing is told before.
    let mut site = Site::new(Role::Submission);
    assert_eq!(
        site.codes(format!("{EHLO}VRFY bob\r\nEXPN list\r\nHELP\r\nNOOP\r\n").as_bytes()),
        [250, 530, 530, 530, 250]
    );
    let mut site = Site::new(Role::Mx);
    assert_eq!(
        site.says(b"HELP\r\nVRFY bob\r\n"),
        "214-2.0.0 Commands: EHLO HELO MAIL RCPT DATA BDAT RSET NOOP QUIT VRFY HELP STARTTLS\r\n214 2.0.0 See RFC 5321\r\n\
         252 2.0.0 Send some mail and see\r\n"
    );
}

// RFC 2033 §4.2. Guards pitfall SMTP 1: BDAT's octets are counted, and a bare line feed among them is refused.
#[test]
fn lmtp_answers_a_message_for_each_recipient() {
    let mut site = Site::new(Role::Lmtp);
    assert_eq!(
        site.codes(b"EHLO c\r\nHELO c\r\nMAIL FROM:<>\r\n"),
        [500, 500, 503]
    );
    let offers = site.says(b"LHLO c\r\n");
    assert!(
        offers.starts_with("250-mx.example.com\r\n250-PIPELINING\r\n250-SIZE "),
        "{offers}"
    );
    assert!(
        !offers.contains("STARTTLS") && !offers.contains("AUTH"),
        "{offers}"
    );
    assert_eq!(site.codes(b"MAIL FROM:<a@b>\r\nDATA\r\n"), [250, 503]);
    let rcpt = b"RCPT TO:<bob@example.com>\r\nRCPT TO:<nobody@example.com>\r\nRCPT TO:<alice@example.com>\r\nDATA\r\n";
    assert_eq!(site.codes(rcpt), [250, 550, 250, 354]);
    site.verdicts = vec![Err(Refusal::MailboxFull), Ok(())];
    assert_eq!(
        site.says(b"x\r\n.\r\n"),
        "452 4.2.2 Mailbox full\r\n250 2.0.0 Ok: m1\r\n"
    );
    // The same by BDAT, whose pieces before the last have one answer each; and whatever refuses the message, refuses it for
    // each.
    let two = "MAIL FROM:<a@b>\r\nRCPT TO:<bob@example.com>\r\nRCPT TO:<bob@example.com>\r\n";
    site.verdicts = vec![Ok(()); 2];
    let said = site.codes(format!("{two}BDAT 2\r\nx\nBDAT 0 LAST\r\n").as_bytes());
    assert_eq!(said, [250, 250, 250, 250, 550, 550], "a bare line feed");
    let said = site.codes(format!("{two}BDAT 3\r\nx\r\nBDAT 0 LAST\r\n").as_bytes());
    assert_eq!(said, [250, 250, 250, 250, 250, 250]);
    assert_eq!(
        site.codes(format!("{two}DATA\r\n").as_bytes()),
        [250, 250, 250, 354]
    );
    site.finish = Some(Refusal::SystemFull);
    assert_eq!(site.codes(b"x\r\n.\r\nQUIT\r\n"), [452, 452, 221]);
}

#[test]
fn a_mail_server_of_the_house_may_name_as_many_strangers_as_it_wants() {
    let mut site = Site::new(Role::Lmtp);
    site.codes(b"LHLO c\r\nMAIL FROM:<>\r\n");
    for _ in 0..limits::SMTP_ERRORS * 3 {
        assert_eq!(site.codes(b"RCPT TO:<nobody@example.com>\r\n"), [550]);
    }
    assert_eq!(site.now, Instant::ZERO);
}

// RFC 6531 §3.5 has another code for each; RFC 6533 §3 has a form of ORCPT for those who do not say SMTPUTF8.
#[test]
fn addresses_beyond_ascii_without_smtputf8_and_what_is_original_with_it() {
    let mut site = Site::new(Role::Mx);
    site.says(b"EHLO c\r\n");
    let said = site.says("MAIL FROM:<\u{fc}@x.test>\r\n".as_bytes());
    assert_eq!(
        said,
        "550 5.6.7 Bad sender address: an internationalized address needs SMTPUTF8\r\n"
    );
    site.says(b"MAIL FROM:<a@b>\r\n");
    let said = site.says("RCPT TO:<b\u{fc}b@example.com>\r\n".as_bytes());
    assert!(said.starts_with("553 5.6.7 "), "{said}");
    for original in [r"utf-8;b\x{FC}@x.test", "UTF-8;bob@x.test"] {
        let rcpt = format!("RCPT TO:<bob@example.com> ORCPT={original}\r\n");
        assert_eq!(site.codes(rcpt.as_bytes()), [250], "{original}");
    }
    let raw = "RCPT TO:<bob@example.com> ORCPT=utf-8;b\u{fc}@x.test\r\n";
    assert_eq!(site.codes(raw.as_bytes()), [501]);
}

#[test]
fn what_is_wrong_in_a_line_is_said() {
    let mut site = Site::new(Role::Mx);
    site.says(b"EHLO c\r\n");
    for (line, said) in [
        ("MAIL FROM:<a@b> SIZE=1 SIZE=1", "501 5.5.4 SIZE is given twice"),
        (
            "MAIL FROM:<a@b> BODY=9BIT",
            "501 5.5.4 Bad parameter value: expected BODY=7BIT or BODY=8BITMIME",
        ),
        ("MAIL FROM:<a@b> FOO", "555 5.5.4 Parameter not recognized"),
        ("MAIL TO:<a@b>", "501 5.5.4 Syntax error: expected FROM:<address>"),
        (
            "EHLO",
            "501 5.5.4 Syntax error: expected the client's name, or its address in brackets",
        ),
        (
            "RSET now",
            "501 5.5.4 Syntax error: expected nothing behind the command",
        ),
        ("MAIL FROM:a@b", "501 5.1.7 Bad sender address: expected "),
    ] {
        let heard = site.says(format!("{line}\r\n").as_bytes());
        assert!(heard.starts_with(said), "{line}: {heard}");
    }
}
