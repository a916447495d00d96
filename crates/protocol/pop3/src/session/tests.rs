//! A client and a mail service in one thread: each test is a conversation.

use super::*;
use crate::question::{Listed, Proof};
use ringpost_auth::base64;
use ringpost_auth::sasl::{MIN_ITERATIONS, ScramKeys, plain_message};

/// A session, its driver, and a client that says something and hears the answer.
struct Talk {
    session: Session,
    now: Instant,
    messages: Vec<Listed>,
    /// What logins and the update are answered with in place of yes.
    refuse: Option<Refusal>,
    /// A message that is gone when it is asked for.
    gone: Option<Uid>,
    updates: Vec<Vec<Uid>>,
    proofs: Vec<Proof>,
    /// The largest piece that was sent.
    largest: usize,
    closed: bool,
}

impl Talk {
    fn new() -> Self {
        Self::with(Config::default(), Tls::Active)
    }

    fn with(config: Config, tls: Tls) -> Self {
        let session = Session::new(Instant::ZERO, Arc::new(config), tls, Rng::from_number(1));
        let sizes = [(3, 100), (5, 250), (9, 1_000)];
        Talk {
            session,
            now: Instant::ZERO,
            messages: sizes.map(|(uid, size_bytes)| Listed { uid, size_bytes }).into(),
            refuse: None,
            gone: None,
            updates: Vec::new(),
            proofs: Vec::new(),
            largest: 0,
            closed: false,
        }
    }

    /// In the TRANSACTION state.
    fn logged_in() -> Self {
        let mut talk = Self::new();
        talk.log_in();
        talk
    }

    fn log_in(&mut self) {
        self.hear();
        let heard = self.say("USER fred\r\nPASS secret\r\n");
        assert!(heard.contains("+OK 3 messages (1350 octets)\r\n"), "{heard}");
    }

    fn say(&mut self, text: &str) -> String {
        self.session.handle_input(self.now, text.as_bytes());
        self.hear()
    }

    fn wait(&mut self, time: Duration) -> String {
        self.now += time;
        self.session.handle_timeout(self.now);
        self.hear()
    }

    fn hear(&mut self) -> String {
        let mut heard = String::new();
        loop {
            match self.session.poll_output() {
                Output::Transmit(bytes) => {
                    self.largest = self.largest.max(bytes.len());
                    heard.push_str(std::str::from_utf8(&bytes).unwrap());
                }
                Output::Body { uid, transform } => {
                    let (mut transform, mut out) = (transform, BytesMut::new());
                    transform.push(text_of(uid).as_bytes(), &mut out);
                    transform.finish(&mut out);
                    heard.push_str(std::str::from_utf8(&out).unwrap());
                }
                Output::Event(Event::Question(question)) => {
                    let answer = self.answer(question.ask);
                    self.session.handle_answer(self.now, question.id, answer);
                }
                Output::Event(Event::StartTls) => {
                    heard.push_str("<TLS>");
                    // It came before, in the clear.
                    self.session.handle_input(self.now, b"USER injected\r\n");
                    self.session.handle_tls_started(self.now, Default::default());
                }
                Output::Event(Event::Closed) => self.closed = true,
                Output::Timeout(_) => return heard,
            }
        }
    }

    fn answer(&mut self, ask: Ask) -> Answer {
        match ask {
            Ask::Authenticate { user, authzid, proof } => {
                self.proofs.push(proof.clone());
                let right = match &proof {
                    Proof::Password(password) => user == "fred" && password.reveal() == "secret",
                    Proof::Scram => true,
                    Proof::Failed => false,
                };
                match self.refuse {
                    Some(refusal) => Answer::Refused(refusal),
                    None if right && authzid.is_none_or(|id| id == "fred") => Answer::Opened(Maildrop {
                        uid_validity: 0x5f00_0001,
                        messages: self.messages.clone().into(),
                    }),
                    None => Answer::Refused(Refusal::BadCredentials),
                }
            }
            Ask::ScramKeys { user } => Answer::ScramKeys(
                (user == "fred").then(|| ScramKeys::derive("secret", b"saltsalt", 4096).unwrap()),
            ),
            Ask::Retrieve(uid) if self.gone == Some(uid) => Answer::Refused(Refusal::Gone),
            Ask::Retrieve(_) => Answer::Done,
            Ask::Update { delete } => {
                self.updates.push(delete);
                self.refuse.map_or(Answer::Done, Answer::Refused)
            }
        }
    }
}

use crate::question::Maildrop;

fn text_of(uid: Uid) -> String {
    format!("Subject: n\u{fc}mber {uid}\r\n\r\nfirst\r\n.second\r\nthird\r\n")
}

#[test]
fn a_session_of_the_rfc_from_greeting_to_quit() {
    let mut talk = Talk::new();
    let greeting = talk.hear();
    //= https://www.rfc-editor.org/rfc/rfc1939#section-7
    // What looks like a time stamp would be an offer of APOP.
    assert!(
        greeting.starts_with("+OK ") && !greeting.contains('<'),
        "{greeting}"
    );
    talk.log_in();
    assert_eq!(talk.say("STAT\r\n"), "+OK 3 1350\r\n");
    assert_eq!(
        talk.say("LIST\r\n"),
        "+OK 3 messages (1350 octets)\r\n1 100\r\n2 250\r\n3 1000\r\n.\r\n"
    );
    assert_eq!(talk.say("LIST 2\r\n"), "+OK 2 250\r\n");
    assert_eq!(
        talk.say("RETR 1\r\n"),
        "+OK 100 octets\r\nSubject: n??mber 3\r\n\r\nfirst\r\n..second\r\nthird\r\n.\r\n"
    );
    assert_eq!(talk.say("DELE 1\r\n"), "+OK It goes with QUIT\r\n");
    assert_eq!(talk.say("NOOP\r\n"), "+OK\r\n");
    assert_eq!(talk.say("QUIT\r\n"), "+OK Until next time\r\n");
    assert!(talk.closed);
    assert_eq!(talk.updates, [[3]]);
}

#[test]
fn capabilities_are_told_before_and_after_the_login() {
    // Guards pitfall POP3 3: CAPA.
    let mut talk = Talk::with(Config::default(), Tls::Offered);
    talk.hear();
    let plain = talk.say("CAPA\r\n");
    assert!(plain.contains("\r\nSTLS\r\n"), "{plain}");
    assert!(
        !plain.contains("USER\r\nSASL") && !plain.contains("SASL"),
        "{plain}"
    );
    assert!(talk.say("STLS\r\n").ends_with("<TLS>"));
    let secure = talk.say("CAPA\r\n");
    for line in [
        "USER",
        "SASL PLAIN",
        "TOP",
        "UIDL",
        "PIPELINING",
        "RESP-CODES",
        "AUTH-RESP-CODE",
    ] {
        assert!(secure.contains(&format!("\r\n{line}\r\n")), "{line} in {secure}");
    }
    assert!(
        !secure.contains("STLS") && !secure.contains("LOGIN-DELAY"),
        "{secure}"
    );
    talk.log_in();
    assert_eq!(talk.say("CAPA\r\n"), secure);
}

#[test]
fn passwords_are_taken_under_tls_only() {
    let mut talk = Talk::with(Config::default(), Tls::Offered);
    talk.hear();
    for command in ["USER fred", "PASS secret", "AUTH PLAIN", "AUTH SCRAM-SHA-256"] {
        assert_eq!(talk.say(&format!("{command}\r\n")), "-ERR Use STLS first\r\n");
    }
    assert_eq!(talk.say("STAT\r\n"), "-ERR Log in first\r\n");
    assert!(talk.proofs.is_empty());
}

#[test]
fn what_was_buffered_behind_stls_is_thrown_away() {
    // Guards pitfall POP3 3: STLS.
    let mut talk = Talk::with(Config::default(), Tls::Offered);
    talk.hear();
    assert_eq!(
        talk.say("UTF8\r\nSTLS\r\nUSER fred\r\nCAPA\r\n"),
        "+OK UTF-8 it is\r\n+OK Go over to TLS\r\n<TLS>"
    );
    // Neither a name of before counts, nor the mode.
    assert_eq!(talk.say("PASS secret\r\n"), "-ERR Expected USER first\r\n");
    assert_eq!(talk.say("STLS\r\n"), "-ERR TLS is on already\r\n");
    talk.log_in();
    assert!(talk.say("TOP 1 0\r\n").contains("n??mber"));
    assert!(talk.say("STLS\r\n").starts_with("-ERR"));
}

#[test]
fn a_wrong_password_says_auth_and_wants_the_user_again() {
    let mut talk = Talk::new();
    talk.hear();
    assert_eq!(
        talk.say("USER fred\r\nPASS wrong\r\n"),
        "+OK Now the password\r\n-ERR [AUTH] The user or the password is wrong\r\n"
    );
    assert_eq!(talk.say("PASS secret\r\n"), "-ERR Expected USER first\r\n");
    // A stranger is not told from a friend before the password.
    assert_eq!(talk.say("USER nobody\r\n"), "+OK Now the password\r\n");
    assert!(talk.say("PASS secret\r\n").starts_with("-ERR [AUTH]"));
    talk.log_in();
    assert!(talk.say("USER fred\r\n").starts_with("-ERR You have logged in"));
    assert!(talk.say("AUTH PLAIN\r\n").starts_with("-ERR You have logged in"));
}

#[test]
fn logins_that_fail_again_and_again_end_the_connection() {
    let mut talk = Talk::new();
    talk.hear();
    for _ in 1..limits::POP3_FAILURES {
        talk.say("USER fred\r\nPASS wrong\r\n");
    }
    assert!(!talk.closed);
    assert!(
        talk.say("USER fred\r\nPASS wrong\r\n")
            .ends_with("-ERR Too many logins failed\r\n")
    );
    assert!(talk.closed);
}

#[test]
fn a_maildrop_that_is_in_use_or_cannot_be_had_says_so_and_is_no_failed_login() {
    // Guards pitfall POP3 1: [IN-USE].
    let mut talk = Talk::new();
    talk.hear();
    for (refusal, code) in [
        (Refusal::InUse, "[IN-USE]"),
        (Refusal::Unavailable, "[SYS/TEMP]"),
        (Refusal::Broken, "[SYS/PERM]"),
    ] {
        talk.refuse = Some(refusal);
        for _ in 0..limits::POP3_FAILURES {
            let heard = talk.say("USER fred\r\nPASS secret\r\n");
            assert!(heard.contains(&format!("-ERR {code} ")), "{heard}");
        }
    }
    talk.refuse = None;
    talk.log_in();
}

#[test]
fn auth_plain_comes_with_its_command_or_after_it() {
    let right = base64::encode(&plain_message("", "fred", "secret"));
    let mut talk = Talk::new();
    talk.hear();
    assert!(
        talk.say(&format!("AUTH PLAIN {right}\r\n"))
            .starts_with("+OK 3 messages")
    );
    let mut talk = Talk::new();
    talk.hear();
    //= https://www.rfc-editor.org/rfc/rfc5034#section-4
    // An empty challenge has its space.
    assert_eq!(talk.say("auth plain\r\n"), "+ \r\n");
    assert_eq!(talk.say("*\r\n"), "-ERR Cancelled\r\n");
    assert_eq!(talk.say("AUTH PLAIN\r\n"), "+ \r\n");
    assert!(talk.say("=AAA\r\n").starts_with("-ERR expected canonical base64"));
    assert!(talk.say("AUTH PLAIN =\r\n").starts_with("-ERR expected"));
    let other = base64::encode(&plain_message("george", "fred", "secret"));
    assert!(
        talk.say(&format!("AUTH PLAIN {other}\r\n"))
            .starts_with("-ERR [AUTH]")
    );
    assert_eq!(talk.say("AUTH PLAIN\r\n"), "+ \r\n");
    assert!(talk.say(&format!("{right}\r\n")).starts_with("+OK 3 messages"));
}

#[test]
fn only_what_is_announced_is_a_mechanism() {
    let mut talk = Talk::new();
    talk.hear();
    for name in ["LOGIN", "CRAM-MD5", "SCRAM-SHA-256", "X"] {
        assert_eq!(
            talk.say(&format!("AUTH {name}\r\n")),
            "-ERR The mechanism is not offered\r\n"
        );
    }
    assert!(talk.say("AUTH\r\n").starts_with("-ERR Expected AUTH mechanism"));
    assert_eq!(
        talk.say("APOP fred c4c9334bac560ecc979e58001b3e22fb\r\n"),
        "-ERR Unknown command\r\n"
    );
}

#[test]
fn scram_tells_a_stranger_as_late_as_a_wrong_password() {
    let config = Config {
        scram_decoy: Some(DecoyKey::new([9; 32], MIN_ITERATIONS)),
        ..Config::default()
    };
    let mut talk = Talk::with(config, Tls::Active);
    talk.hear();
    assert!(talk.say("CAPA\r\n").contains("SASL PLAIN SCRAM-SHA-256\r\n"));
    for user in ["fred", "nobody"] {
        let first = base64::encode(format!("n,,n={user},r=abcdefgh").as_bytes());
        let heard = talk.say(&format!("AUTH SCRAM-SHA-256 {first}\r\n"));
        let challenge = base64::decode(heard[2..].trim_end().as_bytes(), 1000).unwrap();
        let challenge = String::from_utf8(challenge).unwrap();
        assert!(
            challenge.starts_with("r=abcdefgh") && challenge.contains(",i=4096"),
            "{challenge}"
        );
        let nonce = challenge.split(',').next().unwrap();
        let last = base64::encode(format!("c=biws,{nonce},p={}", base64::encode(&[0; 32])).as_bytes());
        assert!(talk.say(&format!("{last}\r\n")).starts_with("-ERR [AUTH]"));
        // The driver hears of it, so that guessing takes time.
        assert_eq!(talk.proofs.pop(), Some(Proof::Failed));
    }
}

#[test]
fn scram_is_offered_bound_where_tls_can_be_bound_to() {
    let config = Config {
        scram_decoy: Some(DecoyKey::new([9; 32], MIN_ITERATIONS)),
        ..Config::default()
    };
    let bindings = ChannelBindings {
        exporter: None,
        server_end_point: Some(vec![2; 32]),
    };
    let mut talk = Talk::with(config.clone(), Tls::Offered);
    talk.hear();
    assert!(!talk.say("CAPA\r\n").contains("SASL"));
    talk.say("STLS\r\n");
    talk.session = Session::bound(
        Instant::ZERO,
        Arc::new(config.clone()),
        Tls::Active,
        bindings,
        Rng::from_number(1),
    );
    talk.hear();
    let capabilities = talk.say("CAPA\r\n");
    assert!(
        capabilities.contains("SASL PLAIN SCRAM-SHA-256 SCRAM-SHA-256-PLUS\r\n"),
        "{capabilities}"
    );
    // A right binding is asked for its proof, which is wrong; the others are refused as a wrong password is.
    for (mechanism, first, binding) in [
        (
            "SCRAM-SHA-256-PLUS",
            "p=tls-server-end-point,,n=fred,r=abc",
            &[2; 32][..],
        ),
        (
            "SCRAM-SHA-256-PLUS",
            "p=tls-server-end-point,,n=fred,r=abc",
            &[3; 32],
        ),
        ("SCRAM-SHA-256-PLUS", "p=tls-exporter,,n=fred,r=abc", &[2; 32]),
        ("SCRAM-SHA-256-PLUS", "n,,n=fred,r=abc", &[]),
        ("SCRAM-SHA-256", "y,,n=fred,r=abc", &[]),
    ] {
        let mut heard = talk.say(&format!(
            "AUTH {mechanism} {}\r\n",
            base64::encode(first.as_bytes())
        ));
        if let Some(challenge) = heard.strip_prefix("+ ") {
            let challenge = base64::decode(challenge.trim_end().as_bytes(), 1000).unwrap();
            let challenge = String::from_utf8(challenge).unwrap();
            let nonce = challenge.split(',').next().unwrap();
            let header = first.split("n=fred").next().unwrap();
            let bound = base64::encode(&[header.as_bytes(), binding].concat());
            let last = format!("c={bound},{nonce},p={}", base64::encode(&[0; 32]));
            heard = talk.say(&format!("{}\r\n", base64::encode(last.as_bytes())));
        }
        assert_eq!(
            heard, "-ERR [AUTH] The user or the password is wrong\r\n",
            "{first}"
        );
        assert_eq!(talk.proofs.pop(), Some(Proof::Failed), "{first}");
    }
    let mut talk = Talk::with(config, Tls::Active);
    talk.hear();
    let heard = talk.say("AUTH SCRAM-SHA-256-PLUS\r\n");
    assert_eq!(heard, "-ERR The mechanism is not offered\r\n");
}

#[test]
fn a_message_that_is_marked_is_there_no_more_until_rset() {
    // Guards pitfall POP3 3: LIST of a deleted message.
    let mut talk = Talk::logged_in();
    talk.say("DELE 2\r\n");
    assert_eq!(talk.say("STAT\r\n"), "+OK 2 1100\r\n");
    assert_eq!(
        talk.say("LIST\r\n"),
        "+OK 2 messages (1100 octets)\r\n1 100\r\n3 1000\r\n.\r\n"
    );
    assert_eq!(
        talk.say("UIDL\r\n"),
        "+OK\r\n1 5f00000100000003\r\n3 5f00000100000009\r\n.\r\n"
    );
    for command in ["LIST 2", "UIDL 2", "RETR 2", "TOP 2 0", "DELE 2"] {
        assert_eq!(
            talk.say(&format!("{command}\r\n")),
            "-ERR There is no such message\r\n"
        );
    }
    assert_eq!(talk.say("RSET\r\n"), "+OK 3 messages (1350 octets)\r\n");
    assert_eq!(talk.say("UIDL 2\r\n"), "+OK 2 5f00000100000005\r\n");
    talk.say("QUIT\r\n");
    assert_eq!(talk.updates, [[0; 0]]);
}

#[test]
fn numbers_of_no_message_are_refused() {
    let mut talk = Talk::logged_in();
    for number in ["0", "4", "4294967295", "99999999999999999999"] {
        for command in ["LIST", "UIDL", "RETR", "DELE"] {
            let heard = talk.say(&format!("{command} {number}\r\n"));
            assert_eq!(heard, "-ERR There is no such message\r\n", "{command} {number}");
        }
    }
    assert_eq!(talk.say("RETR one\r\n"), "-ERR Expected RETR number\r\n");
}

#[test]
fn only_quit_after_the_login_removes() {
    // Guards pitfall POP3 2: DELE acts at QUIT only.
    let mut talk = Talk::logged_in();
    talk.say("DELE 1\r\nDELE 2\r\n");
    //= https://www.rfc-editor.org/rfc/rfc1939#section-3
    // Who is silent for too long is cut off without a word.
    assert_eq!(talk.wait(Duration::from_secs(600)), "");
    assert!(talk.closed && talk.updates.is_empty());

    let mut talk = Talk::logged_in();
    talk.say("DELE 1\r\n");
    talk.session
        .shut_down(talk.now, "-ERR [SYS/TEMP] The server stops");
    assert_eq!(talk.hear(), "-ERR [SYS/TEMP] The server stops\r\n");
    assert!(talk.closed && talk.updates.is_empty());

    let mut talk = Talk::new();
    talk.hear();
    assert_eq!(talk.say("QUIT\r\n"), "+OK Until next time\r\n");
    assert!(talk.closed && talk.updates.is_empty());
}

#[test]
fn an_update_that_fails_is_told_and_ends_the_session_all_the_same() {
    let mut talk = Talk::logged_in();
    talk.say("DELE 1\r\n");
    talk.refuse = Some(Refusal::Unavailable);
    assert_eq!(
        talk.say("QUIT\r\n"),
        "-ERR [SYS/TEMP] Not every message was removed\r\n"
    );
    assert!(talk.closed);
}

#[test]
fn top_gives_the_header_and_so_many_lines() {
    // Guards pitfall POP3 3: TOP n 0.
    let mut talk = Talk::logged_in();
    assert_eq!(talk.say("TOP 1 0\r\n"), "+OK\r\nSubject: n??mber 3\r\n\r\n.\r\n");
    assert_eq!(
        talk.say("TOP 1 2\r\n"),
        "+OK\r\nSubject: n??mber 3\r\n\r\nfirst\r\n..second\r\n.\r\n"
    );
}

#[test]
fn a_client_that_asks_for_utf8_gets_it() {
    // Guards pitfall POP3 3: UTF8.
    let mut talk = Talk::new();
    talk.hear();
    assert_eq!(talk.say("UTF8\r\n"), "+OK UTF-8 it is\r\n");
    talk.log_in();
    assert!(talk.say("RETR 1\r\n").contains("Subject: n\u{fc}mber 3\r\n"));
    assert_eq!(talk.say("UTF8\r\n"), "-ERR Only before the login\r\n");
    let mut talk = Talk::new();
    talk.hear();
    assert!(talk.say("USER fr\u{e9}d\r\n").starts_with("+OK"));
    assert!(talk.say("USER fr\u{feff}\r\n").starts_with("+OK"));
    assert!(talk.say("USER fr\u{2028}d\r\n").is_ascii());
}

#[test]
fn one_language_is_spoken() {
    // Guards pitfall POP3 3: LANG.
    let mut talk = Talk::new();
    talk.hear();
    assert_eq!(talk.say("LANG\r\n"), "+OK What is spoken\r\nen English\r\n.\r\n");
    assert!(talk.say("LANG *\r\n").starts_with("+OK en "));
    assert!(talk.say("LANG EN\r\n").starts_with("+OK en "));
    assert!(talk.say("LANG de\r\n").starts_with("-ERR"));
    talk.log_in();
    assert!(talk.say("LANG en\r\n").starts_with("+OK en "));
}

#[test]
fn pipelined_commands_are_answered_in_order() {
    let mut talk = Talk::new();
    talk.hear();
    let heard = talk.say("USER fred\r\nPASS secret\r\nSTAT\r\nTOP 2 0\r\nDELE 2\r\nSTAT\r\nQUIT\r\nSTAT\r\n");
    let lines: Vec<&str> = heard.lines().collect();
    assert_eq!(
        lines,
        [
            "+OK Now the password",
            "+OK 3 messages (1350 octets)",
            "+OK 3 1350",
            "+OK",
            "Subject: n??mber 5",
            "",
            ".",
            "+OK It goes with QUIT",
            "+OK 2 1100",
            "+OK Until next time"
        ]
    );
    assert_eq!(talk.updates, [[5]]);
}

#[test]
fn a_message_that_went_by_another_way_is_refused_and_the_others_are_not() {
    let mut talk = Talk::logged_in();
    talk.gone = Some(5);
    assert_eq!(talk.say("RETR 2\r\n"), "-ERR The message is gone\r\n");
    assert!(talk.say("RETR 3\r\n").starts_with("+OK 1000 octets"));
    // It is still in the list: numbers and sizes are those of the login.
    assert_eq!(talk.say("STAT\r\n"), "+OK 3 1350\r\n");
}

#[test]
fn a_large_maildrop_is_told_in_pieces() {
    let mut talk = Talk::new();
    talk.messages = (1..=50_000).map(|uid| Listed { uid, size_bytes: 7 }).collect();
    talk.hear();
    talk.say("USER fred\r\nPASS secret\r\n");
    let heard = talk.say("UIDL\r\n");
    assert_eq!(heard.lines().count(), 50_002);
    assert!(heard.ends_with("\r\n50000 5f0000010000c350\r\n.\r\n"));
    assert!(talk.largest < 2 * WRITE_BYTES, "{}", talk.largest);
}

#[test]
fn lines_that_are_no_commands_are_refused_and_then_the_connection_ends() {
    let mut talk = Talk::new();
    talk.hear();
    assert_eq!(talk.say("NOOP\n"), "-ERR A line ends with CR LF\r\n");
    assert_eq!(talk.say("\r\n"), "-ERR Unknown command\r\n");
    let long = "x".repeat(limits::POP3_LINE_BYTES);
    assert_eq!(talk.say(&format!("{long}\r\n")), "-ERR The line is too long\r\n");
    talk.say("CAPA\r\n");
    for _ in 1..limits::POP3_FAILURES {
        assert_eq!(talk.say("HELP\r\n"), "-ERR Unknown command\r\n");
    }
    assert!(!talk.closed);
    assert!(
        talk.say("GET / HTTP/1.1\r\n")
            .ends_with("-ERR Too many lines were no command\r\n")
    );
    assert!(talk.closed && !talk.session.wants_input());
}

#[test]
fn who_does_not_log_in_is_cut_off_however_much_he_sends() {
    let mut talk = Talk::new();
    talk.hear();
    for _ in 0..10 {
        talk.wait(Duration::from_secs(17));
        talk.say("CAPA\r\n");
    }
    assert!(!talk.closed);
    assert_eq!(talk.wait(Duration::from_secs(11)), "");
    assert!(talk.closed);
}

#[test]
fn who_says_something_now_and_then_stays() {
    let mut talk = Talk::logged_in();
    for _ in 0..20 {
        talk.wait(Duration::from_secs(599));
        talk.say("NOOP\r\n");
    }
    assert!(!talk.closed);
    talk.wait(Duration::from_secs(600));
    assert!(talk.closed);
}

#[test]
fn a_session_that_waits_for_an_answer_reads_no_more_than_a_little() {
    let mut talk = Talk::new();
    talk.hear();
    talk.session
        .handle_input(talk.now, b"USER fred\r\nPASS secret\r\n");
    while !matches!(talk.session.poll_output(), Output::Timeout(_)) {}
    assert!(talk.session.wants_input());
    talk.session.handle_input(
        talk.now,
        "NOOP\r\n".repeat(limits::POP3_PIPELINE_BYTES / 6 + 1).as_bytes(),
    );
    assert!(!talk.session.wants_input());
    // One that is read against that is bounded too.
    talk.session
        .handle_input(talk.now, &vec![b'x'; limits::SESSION_BYTES]);
    while !matches!(talk.session.poll_output(), Output::Timeout(_)) {}
    assert!(talk.session.is_closed());
}
