use super::*;

#[derive(Default)]
struct Talk {
    client: Client,
    now: Instant,
}

impl Talk {
    fn ready() -> Self {
        let mut talk = Talk::default();
        talk.hear("* OK ready\r\n");
        talk
    }

    fn hear(&mut self, text: &str) -> (String, Vec<Event>) {
        self.client.handle_input(self.now, text.as_bytes()).expect("IMAP");
        self.drain()
    }

    fn drain(&mut self) -> (String, Vec<Event>) {
        let (mut said, mut events) = (String::new(), Vec::new());
        loop {
            match self.client.poll_output() {
                Output::Transmit(bytes) => said.push_str(std::str::from_utf8(&bytes).expect("text")),
                Output::Event(event) => events.push(event),
                Output::Timeout(_) => return (said, events),
            }
        }
    }

    fn completed(&mut self, text: &str) -> (Tag, Outcome) {
        match self.hear(text).1.pop() {
            Some(Event::Completed { tag, outcome, .. }) => (tag, outcome),
            other => panic!("expected a completion, found {other:?}"),
        }
    }
}

#[test]
fn commands_wait_for_the_greeting_and_are_then_pipelined() {
    let mut talk = Talk::default();
    let now = talk.now;
    let login = talk.client.login(now, "alice", "a \"quoted\\ one\"");
    talk.client.select(now, "INBOX");
    assert_eq!(talk.drain().0, "");
    let (said, events) = talk.hear("* OK [CAPABILITY IMAP4rev1] ready\r\n");
    assert_eq!(
        said,
        "a1 LOGIN \"alice\" \"a \\\"quoted\\\\ one\\\"\"\r\na2 SELECT \"INBOX\"\r\n"
    );
    assert_eq!(
        events,
        [Event::Greeting {
            preauth: false,
            text: Bytes::from_static(b"ready")
        }]
    );
    assert_eq!(talk.completed("a1 OK done\r\n"), (login, Outcome::Ok));
    assert_eq!(talk.client.open_commands(), 1);
}

#[test]
fn a_password_that_cannot_be_quoted_waits_for_the_go_ahead() {
    let mut talk = Talk::ready();
    talk.client.login(talk.now, "alice", "päss");
    talk.client.noop(talk.now);
    assert_eq!(talk.drain().0, "a1 LOGIN \"alice\" {5}\r\n");
    assert_eq!(talk.hear("+ go\r\n").0, "päss\r\na2 NOOP\r\n");

    let mut talk = Talk::ready();
    talk.client
        .append(talk.now, "Entwürfe", "\\Seen", b"Subject: x\r\n\r\n");
    assert_eq!(talk.drain().0, "a1 APPEND {9}\r\n");
    assert_eq!(talk.hear("+\r\n").0, "Entwürfe (\\Seen) {14}\r\n");
    assert_eq!(talk.hear("+\r\n").0, "Subject: x\r\n\r\n\r\n");
}

#[test]
fn a_refused_literal_ends_its_command_and_the_next_follows() {
    let mut talk = Talk::ready();
    let append = talk.client.append(talk.now, "INBOX", "", b"too long");
    talk.client.noop(talk.now);
    talk.drain();
    let (said, events) = talk.hear("a1 NO [TOOBIG] no\r\n");
    assert_eq!(said, "a2 NOOP\r\n");
    let code = Some(Code {
        name: "TOOBIG".into(),
        arguments: String::new(),
    });
    let text = Bytes::from_static(b"no");
    assert_eq!(
        events,
        [Event::Completed {
            tag: append,
            outcome: Outcome::No,
            code,
            text
        }]
    );
}

#[test]
fn a_message_is_fetched_with_its_parts() {
    let mut talk = Talk::ready();
    talk.client.fetch(
        talk.now,
        "1:*",
        "(UID FLAGS RFC822.SIZE ENVELOPE BODY.PEEK[HEADER.FIELDS (SUBJECT)] BODY[])",
    );
    let (_, events) = talk.hear(concat!(
        "* 3 FETCH (UID 17 FLAGS (\\Seen $Junk) RFC822.SIZE 44 ENVELOPE (\"Wed, 17 Jul 1996 02:23:25 -0700\" ",
        "\"a {5} \\\"b\\\"\" ((\"Terry\" NIL \"gray\" \"example.com\")) NIL NIL ",
        "((NIL NIL \"bob\" \"example.com\")(NIL NIL \"carol\" \"example.com\")) NIL NIL NIL \"<1@x>\") ",
        "BODY[HEADER.FIELDS (SUBJECT)] {13}\r\nSubject: x\r\n\r BODY[] {4}\r\n)\r\n( BODY[1] NIL)\r\n",
    ));
    let [Event::Fetch(fetched)] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(
        (fetched.sequence, fetched.uid(), fetched.size_bytes()),
        (3, Some(17), Some(44))
    );
    assert!(fetched.has_flag("\\SEEN") && !fetched.has_flag("\\Deleted"));
    let envelope = fetched.envelope().expect("an envelope");
    assert_eq!(envelope.subject.as_deref(), Some("a {5} \"b\""));
    let terry = MailAddress {
        name: Some("Terry".into()),
        address: "gray@example.com".into(),
    };
    assert_eq!(envelope.from, [terry]);
    assert_eq!(envelope.to.len(), 2);
    assert_eq!(envelope.message_id.as_deref(), Some("<1@x>"));
    assert_eq!(fetched.body("").map(|b| &b[..]), Some(&b")\r\n("[..]));
    assert_eq!(fetched.body("header.fields (subject)").map(|b| b.len()), Some(13));
    assert_eq!(fetched.body("1"), None, "NIL");
}

#[test]
fn what_a_mailbox_is_like_is_told() {
    let mut talk = Talk::ready();
    let (_, events) = talk.hear(concat!(
        "* FLAGS (\\Seen \\Deleted)\r\n* 18 EXISTS\r\n* 2 recent\r\n* OK [UIDVALIDITY 3857529045] valid\r\n",
        "* LIST (\\HasNoChildren) \"/\" INBOX\r\n* LIST () NIL {3}\r\na b\r\n* STATUS \"INBOX\" (MESSAGES 2 UNSEEN 1)\r\n",
        "* LSUB () \".\" \"INBOX.Sent\"\r\n",
        "* NAMESPACE ((\"INBOX.\" \".\")) ((\"user.\" \".\" \"X-P\" (\"1\"))) NIL\r\n",
        "* SEARCH 2 84 882\r\n* SEARCH\r\n* 44 EXPUNGE\r\n* CAPABILITY IMAP4rev1 idle\r\n* XLIST foo\r\n* BYE off\r\n",
    ));
    let code = Some(Code {
        name: "UIDVALIDITY".into(),
        arguments: "3857529045".into(),
    });
    let list = |attributes: &[&str], delimiter: Option<&str>, name: &str| Event::List {
        attributes: attributes.iter().map(|a| a.to_string()).collect(),
        delimiter: delimiter.map(Into::into),
        name: name.into(),
    };
    let expected = [
        Event::Flags(vec!["\\Seen".into(), "\\Deleted".into()]),
        Event::Exists(18),
        Event::Recent(2),
        Event::Remark {
            outcome: Outcome::Ok,
            code,
            text: Bytes::from_static(b"valid"),
        },
        list(&["\\HasNoChildren"], Some("/"), "INBOX"),
        list(&[], None, "a b"),
        Event::Status {
            name: "INBOX".into(),
            items: vec![("MESSAGES".into(), 2), ("UNSEEN".into(), 1)],
        },
        Event::Subscribed {
            attributes: Vec::new(),
            delimiter: Some(".".into()),
            name: "INBOX.Sent".into(),
        },
        Event::Namespace {
            personal: vec![("INBOX.".into(), Some(".".into()))],
            others: vec!["user.".into()],
        },
        Event::Search(vec![2, 84, 882]),
        Event::Search(vec![]),
        Event::Expunge(44),
        Event::Capabilities(vec!["IMAP4REV1".into(), "IDLE".into()]),
        Event::Other(Bytes::from_static(b"XLIST foo")),
        Event::Bye {
            text: Bytes::from_static(b"off"),
        },
    ];
    assert_eq!(events, expected);
}

#[test]
fn a_command_ends_the_idle_once_the_server_idles() {
    let mut talk = Talk::ready();
    let idle = talk.client.idle(talk.now);
    talk.client.noop(talk.now);
    assert_eq!(talk.drain().0, "a1 IDLE\r\n");
    assert_eq!(talk.hear("+ idling\r\n").0, "DONE\r\n");
    let (said, events) = talk.hear("* 4 EXISTS\r\na1 OK done\r\n");
    assert_eq!(said, "a2 NOOP\r\n");
    assert!(matches!(&events[..], [Event::Exists(4), Event::Completed { tag, .. }] if *tag == idle));
}

#[test]
fn an_idle_is_renewed_before_the_server_tires_of_it() {
    let mut talk = Talk::ready();
    let idle = talk.client.idle(talk.now);
    talk.drain();
    talk.hear("+ idling\r\n");
    assert!(talk.client.is_idle());
    let Output::Timeout(Some(renewal)) = talk.client.poll_output() else {
        panic!("a time")
    };
    assert_eq!(renewal, Instant::ZERO + Duration::from_secs(29 * 60));
    talk.now = renewal;
    talk.client.handle_timeout(renewal);
    assert_eq!(talk.drain().0, "DONE\r\n");
    let (said, events) = talk.hear("a1 OK done\r\n");
    assert_eq!(
        (said.as_str(), events.len()),
        ("a1 IDLE\r\n", 0),
        "the owner notices nothing"
    );
    talk.hear("+ idling\r\n");
    talk.client.done();
    assert_eq!(talk.drain().0, "DONE\r\n");
    assert_eq!(talk.completed("a1 OK done\r\n"), (idle, Outcome::Ok));
}

#[test]
fn nothing_is_said_between_starttls_and_tls() {
    let mut talk = Talk::ready();
    let tls = talk.client.start_tls(talk.now);
    talk.client.login(talk.now, "alice", "secret");
    assert_eq!(talk.drain().0, "a1 STARTTLS\r\n");
    assert_eq!(talk.completed("a1 OK go\r\n"), (tls, Outcome::Ok));
    talk.client.handle_tls_started(talk.now);
    assert_eq!(talk.drain().0, "a2 LOGIN \"alice\" \"secret\"\r\n");

    let mut talk = Talk::ready();
    talk.client.start_tls(talk.now);
    talk.client.noop(talk.now);
    talk.drain();
    assert_eq!(talk.hear("a1 BAD no\r\n").0, "a2 NOOP\r\n");
}

#[test]
fn what_is_no_imap_ends_it() {
    let error = |text: &[u8]| {
        Talk::ready()
            .client
            .handle_input(Instant::ZERO, text)
            .expect_err("refused")
    };
    assert!(matches!(
        error(b"hello\r\n"),
        Error::Syntax {
            expected: "a tag of ours, * or +",
            ..
        }
    ));
    assert!(matches!(error(b"* 1 FETCH (FLAGS\r\n"), Error::Syntax { .. }));
    assert!(matches!(
        error(b"* 1 FETCH (BODY[] \"x)\r\n"),
        Error::Syntax {
            expected: "a closing quote",
            ..
        }
    ));
    assert_eq!(
        error(b"* 1 FETCH (BODY[] {99999999999999999999}\r\n"),
        Error::TooLong
    );
    let nested = format!("* FLAGS {}{}\r\n", "(".repeat(40), ")".repeat(40));
    assert!(matches!(error(nested.as_bytes()), Error::Syntax { .. }));
}

#[test]
fn commands_beyond_the_bound_are_dropped() {
    let mut talk = Talk::default();
    for _ in 0..COMMANDS {
        talk.client.noop(talk.now);
    }
    let over = talk.client.noop(talk.now);
    assert!(
        matches!(&talk.drain().1[..], [Event::Completed { tag, outcome: Outcome::Dropped, .. }] if *tag == over)
    );
}
