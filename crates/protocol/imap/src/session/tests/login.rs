use super::*;
use ringpost_auth::base64;

#[test]
fn a_plain_port_offers_starttls_and_no_login() {
    let mut talk = Talk::with(Config::default(), Tls::Offered);
    let greeting = talk.hear();
    assert!(
        greeting
            .starts_with("* OK [CAPABILITY IMAP4rev1 IMAP4rev2 LITERAL- ID ENABLE STARTTLS LOGINDISABLED]")
    );
    assert!(
        talk.say("a LOGIN fred secret\r\n")
            .starts_with("a NO [PRIVACYREQUIRED]")
    );
    assert!(
        talk.say("b AUTHENTICATE PLAIN\r\n")
            .starts_with("b NO [PRIVACYREQUIRED]")
    );
    assert!(talk.mail.asked.is_empty());
}

#[test]
fn what_was_sent_behind_starttls_is_thrown_away_and_the_session_begins_anew() {
    // Guards pitfall SMTP 2, which IMAP shares: bytes buffered behind STARTTLS.
    let mut talk = Talk::with(Config::default(), Tls::Offered);
    talk.hear();
    let heard = talk.say("a STARTTLS\r\nb NOOP\r\nc LOG");
    assert_eq!(heard, "a OK Go over to TLS\r\n");
    assert!(talk.tls_wanted && !talk.session.wants_input());
    assert_eq!(talk.say("IN fred secret\r\nd NOOP\r\n"), "");
    talk.session.handle_tls_started(talk.now, Default::default());
    assert_eq!(talk.hear(), "");
    let capabilities = talk.say("e CAPABILITY\r\n");
    assert!(!capabilities.contains("STARTTLS") && capabilities.contains("AUTH=PLAIN"));
    assert!(
        talk.say("f LOGIN fred secret\r\n")
            .starts_with("f OK [CAPABILITY IMAP4rev1 ")
    );
    assert!(talk.say("g STARTTLS\r\n").starts_with("g BAD"));
}

#[test]
fn login_takes_atoms_strings_and_literals() {
    for login in [
        "a LOGIN fred secret\r\n",
        "a login \"fred\" \"secret\"\r\n",
        "a LOGIN {4+}\r\nfred {6+}\r\nsecret\r\n",
        "a LOGIN \"fr\\\"ed\" secret\r\nb LOGIN fred \"secret\"\r\n",
    ] {
        let mut talk = Talk::new();
        assert!(talk.say(login).contains(" OK [CAPABILITY"), "{login}");
    }
}

#[test]
fn a_synchronizing_literal_is_asked_for() {
    let mut talk = Talk::new();
    assert!(talk.say("a LOGIN {4}\r\n").starts_with("+ "));
    assert!(talk.say("fred {6}\r\n").starts_with("+ "));
    assert!(talk.say("secret\r\n").starts_with("a OK"));
}

#[test]
fn a_wrong_password_does_not_say_what_was_wrong_and_ten_end_the_session() {
    let mut talk = Talk::new();
    let heard = talk.say("a LOGIN fred wrong\r\nb LOGIN nobody secret\r\n");
    let (first, second) = heard.split_once("\r\n").unwrap();
    assert_eq!(first[1..], second.trim_end()[1..]);
    assert!(first.starts_with("a NO [AUTHENTICATIONFAILED]"));
    for _ in 0..7 {
        talk.say("c LOGIN fred wrong\r\n");
    }
    assert!(!talk.closed);
    let heard = talk.say("d LOGIN fred wrong\r\n");
    assert!(heard.starts_with("d NO") && heard.contains("* BYE") && talk.closed);
}

#[test]
fn authenticate_plain_with_and_without_an_initial_response() {
    let response = base64::encode(b"\0fred\0secret");
    let mut talk = Talk::new();
    assert_eq!(talk.say("a AUTHENTICATE PLAIN\r\n"), "+ \r\n");
    assert!(talk.say(&format!("{response}\r\n")).starts_with("a OK"));
    let mut talk = Talk::new();
    assert!(
        talk.say(&format!("a AUTHENTICATE plain {response}\r\n"))
            .starts_with("a OK")
    );
    let mut talk = Talk::new();
    let other = base64::encode(b"root\0fred\0secret");
    assert!(
        talk.say(&format!("a AUTHENTICATE PLAIN {other}\r\n"))
            .starts_with("a NO [AUTHENTICATIONFAILED]")
    );
}

#[test]
fn authenticate_login_asks_twice() {
    let mut talk = Talk::new();
    assert_eq!(talk.say("a AUTHENTICATE LOGIN\r\n"), "+ VXNlcm5hbWU6\r\n");
    assert_eq!(talk.say("ZnJlZA==\r\n"), "+ UGFzc3dvcmQ6\r\n");
    assert!(talk.say("c2VjcmV0\r\n").starts_with("a OK"));
}

#[test]
fn an_exchange_can_be_cancelled_and_garbage_ends_it() {
    let mut talk = Talk::new();
    talk.say("a AUTHENTICATE PLAIN\r\n");
    assert!(talk.say("*\r\n").starts_with("a BAD"));
    talk.say("b AUTHENTICATE PLAIN\r\n");
    assert!(talk.say("not base64\r\n").starts_with("b BAD"));
    assert!(talk.say("c AUTHENTICATE GSSAPI\r\n").starts_with("c NO"));
    assert!(talk.say("d AUTHENTICATE PLAIN =\r\n").starts_with("d BAD"));
    assert!(talk.say("e LOGIN fred secret\r\n").starts_with("e OK"));
}

#[test]
fn scram_is_offered_with_a_decoy_and_refuses_strangers() {
    let decoy = Some(DecoyKey::new([3; 32], 4096));
    let mut talk = Talk::with(
        Config {
            scram_decoy: decoy,
            ..Config::default()
        },
        Tls::Active,
    );
    assert!(talk.hear().contains("AUTH=SCRAM-SHA-256"));
    for user in ["fred", "nobody"] {
        let first = base64::encode(format!("n,,n={user},r=abcdefgh").as_bytes());
        let heard = talk.say(&format!("a AUTHENTICATE SCRAM-SHA-256 {first}\r\n"));
        let challenge = base64::decode(heard[2..].trim_end().as_bytes(), 1000).unwrap();
        let challenge = String::from_utf8(challenge).unwrap();
        assert!(
            challenge.starts_with("r=abcdefgh") && challenge.contains(",i=4096"),
            "{challenge}"
        );
        let nonce = challenge.split(',').next().unwrap();
        let last = base64::encode(format!("c=biws,{nonce},p={}", base64::encode(&[0; 32])).as_bytes());
        assert!(
            talk.say(&format!("{last}\r\n"))
                .starts_with("a NO [AUTHENTICATIONFAILED]")
        );
    }
    assert!(
        Talk::new()
            .say("a AUTHENTICATE SCRAM-SHA-256\r\n")
            .starts_with("a NO")
    );
}

/// What of a SCRAM exchange decides whether it is let in: the client's first message, and the binding behind its header.
fn scram(talk: &mut Talk, mechanism: &str, first: &str, binding: &[u8]) -> String {
    let heard = talk.say(&format!(
        "a AUTHENTICATE {mechanism} {}\r\n",
        base64::encode(first.as_bytes())
    ));
    let Some(challenge) = heard.strip_prefix("+ ") else {
        return heard;
    };
    let challenge = base64::decode(challenge.trim_end().as_bytes(), 1000).unwrap();
    let challenge = String::from_utf8(challenge).unwrap();
    let header = &first[..first.find("n=").unwrap()];
    let bound = base64::encode(&[header.as_bytes(), binding].concat());
    let nonce = challenge.split(',').next().unwrap();
    let last = format!("c={bound},{nonce},p={}", base64::encode(&[0; 32]));
    talk.say(&format!("{}\r\n", base64::encode(last.as_bytes())))
}

#[test]
fn scram_is_offered_bound_where_tls_can_be_bound_to() {
    // Guards pitfall SMTP 5, which IMAP shares: who does not exist is asked for as much as who does.
    let config = Config {
        scram_decoy: Some(DecoyKey::new([3; 32], 4096)),
        ..Config::default()
    };
    let bindings = ChannelBindings {
        exporter: Some(vec![1; 32]),
        server_end_point: None,
    };
    let mut talk = Talk::with(config.clone(), Tls::Active);
    talk.session = Session::bound(
        Instant::ZERO,
        Arc::new(config.clone()),
        Tls::Active,
        bindings.clone(),
        Rng::from_number(1),
    );
    let greeting = talk.hear();
    assert!(
        greeting.contains("AUTH=SCRAM-SHA-256 AUTH=SCRAM-SHA-256-PLUS"),
        "{greeting}"
    );
    const REFUSED: &str = "a NO [AUTHENTICATIONFAILED] The user or the password is wrong\r\n";
    for user in ["fred", "nobody"] {
        talk.mail.asked.clear();
        let first = format!("p=tls-exporter,,n={user},r=abcdefgh");
        assert_eq!(scram(&mut talk, "SCRAM-SHA-256-PLUS", &first, &[1; 32]), REFUSED);
        assert_eq!(talk.mail.asked, ["ScramKeys", "Authenticate"], "{user}");
    }
    // A binding to another connection; one that is not there; none where it was promised; an offer that somebody took away.
    for (mechanism, first, binding) in [
        ("SCRAM-SHA-256-PLUS", "p=tls-exporter,,n=fred,r=abc", &[2; 32][..]),
        (
            "SCRAM-SHA-256-PLUS",
            "p=tls-server-end-point,,n=fred,r=abc",
            &[1; 32],
        ),
        ("SCRAM-SHA-256-PLUS", "n,,n=fred,r=abc", &[]),
        ("SCRAM-SHA-256", "y,,n=fred,r=abc", &[]),
    ] {
        let mut talk = Talk::with(config.clone(), Tls::Active);
        talk.session = Session::bound(
            Instant::ZERO,
            Arc::new(config.clone()),
            Tls::Active,
            bindings.clone(),
            Rng::from_number(1),
        );
        talk.hear();
        assert_eq!(scram(&mut talk, mechanism, first, binding), REFUSED, "{first}");
    }
    // After STARTTLS as well, and not without anything to bind to.
    let mut talk = Talk::with(config.clone(), Tls::Offered);
    assert!(!talk.hear().contains("SCRAM"));
    talk.say("a STARTTLS\r\n");
    talk.session.handle_tls_started(talk.now, bindings);
    assert!(talk.say("c CAPABILITY\r\n").contains("AUTH=SCRAM-SHA-256-PLUS"));
    let mut talk = Talk::with(config, Tls::Active);
    assert!(!talk.hear().contains("PLUS"));
    let heard = talk.say("a AUTHENTICATE SCRAM-SHA-256-PLUS\r\n");
    assert!(heard.starts_with("a NO [CANNOT]"), "{heard}");
}

#[test]
fn a_scram_exchange_that_goes_wrong_ends_and_the_next_may_begin() {
    let config = Config {
        scram_decoy: Some(DecoyKey::new([3; 32], 4096)),
        ..Config::default()
    };
    let mut talk = Talk::with(config, Tls::Active);
    talk.hear();
    // Without an initial response the client is asked for its first message (RFC 4959 §3).
    assert_eq!(talk.say("a AUTHENTICATE SCRAM-SHA-256\r\n"), "+ \r\n");
    assert_eq!(talk.say("*\r\n"), "a BAD Cancelled\r\n");
    for first in [
        "",
        "n,,n=,r=x",
        "n,,m=x,n=fred,r=x",
        "n,,n=fr=ed,r=x",
        "n,,n=fred,r=\u{fc}",
        "x,,n=fred,r=x",
    ] {
        let line = format!(
            "a AUTHENTICATE SCRAM-SHA-256 {}\r\n",
            base64::encode(first.as_bytes())
        );
        let heard = talk.say(&line.replace(" \r\n", " =\r\n"));
        assert!(heard.starts_with("a BAD expected"), "{first}: {heard}");
    }
    assert!(
        talk.say("a AUTHENTICATE SCRAM-SHA-256 x!\r\n")
            .starts_with("a BAD")
    );
    assert!(talk.say("a LOGIN fred secret\r\n").contains("a OK"));
}

#[test]
fn commands_of_later_states_wait_for_their_state() {
    let mut talk = Talk::new();
    for command in [
        "SELECT INBOX",
        "LIST \"\" *",
        "IDLE",
        "FETCH 1 FLAGS",
        "ENABLE X",
        "NAMESPACE",
        "CLOSE",
    ] {
        assert!(
            talk.say(&format!("a {command}\r\n"))
                .starts_with("a BAD Log in first"),
            "{command}"
        );
    }
    talk.say("b LOGIN fred secret\r\n");
    for command in [
        "FETCH 1 FLAGS",
        "CLOSE",
        "EXPUNGE",
        "SEARCH ALL",
        "CHECK",
        "UNSELECT",
        "UID COPY 1 x",
    ] {
        assert!(
            talk.say(&format!("a {command}\r\n"))
                .starts_with("a BAD Select a mailbox first"),
            "{command}"
        );
    }
    assert!(talk.say("c LOGIN fred secret\r\n").starts_with("c BAD"));
}

#[test]
fn the_commands_of_any_state() {
    let mut talk = Talk::new();
    assert_eq!(talk.say("a NOOP\r\n"), "a OK Done\r\n");
    let heard = talk.say("b ID (\"name\" \"x\" \"os\" NIL)\r\nc ID NIL\r\n");
    assert_eq!(heard.matches("* ID (\"name\" \"Ringpost\")").count(), 2);
    assert!(talk.say("d ID (\"name\")\r\n").starts_with("d BAD"));
    let heard = talk.say("e LOGOUT\r\nf NOOP\r\n");
    assert!(heard.starts_with("* BYE") && heard.contains("\r\ne OK") && !heard.contains("f OK"));
    assert!(talk.closed && !talk.session.wants_input());
}

#[test]
fn who_does_not_log_in_is_cut_off_however_much_he_sends() {
    let mut talk = Talk::new();
    for _ in 0..10 {
        talk.wait(Duration::from_secs(17));
        talk.say("a NOOP\r\n");
    }
    assert!(!talk.closed);
    assert!(talk.wait(Duration::from_secs(11)).starts_with("* BYE"));
    assert!(talk.closed);
}

#[test]
fn what_is_turned_off_for_an_account_is_not_told_and_cannot_be_used() {
    // Guards pitfall IMAP 11: a switch per account for programs that misbehave.
    let mut talk = Talk::new();
    talk.mail.without = ["COMPRESS", "THREAD=REFERENCES", "SORT", "IDLE"]
        .map(str::to_owned)
        .to_vec();
    let heard = talk.say("a LOGIN fred secret\r\n");
    let told: Vec<&str> = heard.split([' ', ']']).collect();
    for off in [
        "COMPRESS=DEFLATE",
        "THREAD=REFERENCES",
        "SORT",
        "SORT=DISPLAY",
        "IDLE",
    ] {
        assert!(!told.contains(&off), "{heard}");
    }
    for on in ["IMAP4rev1", "THREAD=ORDEREDSUBJECT", "MOVE"] {
        assert!(told.contains(&on), "{heard}");
    }
    assert!(!told.contains(&"IMAP4rev2"), "IDLE is part of it: {heard}");
    assert!(talk.say("a IDLE\r\n").starts_with("a BAD"));
    assert!(talk.say("a COMPRESS DEFLATE\r\n").starts_with("a BAD"));
    assert!(talk.say("a NAMESPACE\r\n").contains("a OK"));
}

/// A switch with commands that take what it turns off, and words that are told with it on and in what else is answered.
const TURNED_OFF: [(&str, &[&str], &[&str]); 30] = [
    (
        "ENABLE",
        &["ENABLE CONDSTORE"],
        &["ENABLE", "QRESYNC", "UTF8=ACCEPT", "IMAP4rev2"],
    ),
    ("IDLE", &["IDLE"], &["IDLE"]),
    ("NAMESPACE", &["NAMESPACE"], &["NAMESPACE"]),
    ("UNSELECT", &["UNSELECT"], &["UNSELECT"]),
    (
        "UIDPLUS",
        &["UID EXPUNGE 1"],
        &["UIDPLUS", "COPYUID", "APPENDUID"],
    ),
    ("MOVE", &["MOVE 1 x", "UID MOVE 1 x"], &["MOVE"]),
    (
        "CONDSTORE",
        &[
            "SELECT INBOX (CONDSTORE)",
            "FETCH 1 MODSEQ",
            "FETCH 1 FLAGS (CHANGEDSINCE 1)",
            "STATUS INBOX (MESSAGES HIGHESTMODSEQ)",
            "LIST \"\" * RETURN (STATUS (HIGHESTMODSEQ))",
            "SEARCH OR SEEN MODSEQ 1",
            "SORT (DATE) UTF-8 MODSEQ 1",
            "STORE 1 (UNCHANGEDSINCE 1) FLAGS ()",
            "SELECT INBOX (QRESYNC (1 1))",
        ],
        &["CONDSTORE", "QRESYNC", "HIGHESTMODSEQ"],
    ),
    (
        "QRESYNC",
        &[
            "SELECT INBOX (QRESYNC (1 1))",
            "UID FETCH 1 FLAGS (CHANGEDSINCE 1 VANISHED)",
        ],
        &["QRESYNC"],
    ),
    (
        "ESEARCH",
        &["SEARCH RETURN (COUNT) ALL"],
        &["ESEARCH", "SEARCHRES", "IMAP4rev2"],
    ),
    (
        "SEARCHRES",
        &[
            "SEARCH RETURN (SAVE) ALL",
            "FETCH $ FLAGS",
            "SEARCH NOT $",
            "UID COPY $ x",
        ],
        &["SEARCHRES"],
    ),
    (
        "LIST-EXTENDED",
        &[
            "LIST (SUBSCRIBED) \"\" *",
            "LIST \"\" * RETURN (STATUS (MESSAGES))",
        ],
        &["LIST-EXTENDED", "LIST-STATUS"],
    ),
    (
        "LIST-STATUS",
        &["LIST \"\" * RETURN (STATUS (MESSAGES))"],
        &["LIST-STATUS"],
    ),
    (
        "SPECIAL-USE",
        &["LIST (SPECIAL-USE) \"\" *", "CREATE s (USE (\\Sent))"],
        &["SPECIAL-USE", "CREATE-SPECIAL-USE", "\\Sent"],
    ),
    (
        "CREATE-SPECIAL-USE",
        &["CREATE s (USE (\\Sent))"],
        &["CREATE-SPECIAL-USE"],
    ),
    ("SORT", &["SORT (DATE) UTF-8 ALL"], &["SORT", "SORT=DISPLAY"]),
    (
        "SORT=DISPLAY",
        &["SORT (DISPLAYFROM) UTF-8 ALL"],
        &["SORT=DISPLAY"],
    ),
    (
        "THREAD=ORDEREDSUBJECT",
        &["THREAD ORDEREDSUBJECT UTF-8 ALL"],
        &["THREAD=ORDEREDSUBJECT"],
    ),
    (
        "THREAD=REFERENCES",
        &["THREAD REFERENCES UTF-8 ALL"],
        &["THREAD=REFERENCES"],
    ),
    (
        "THREAD",
        &["THREAD REFERENCES UTF-8 ALL"],
        &["THREAD=REFERENCES", "THREAD=ORDEREDSUBJECT"],
    ),
    ("COMPRESS", &["COMPRESS DEFLATE"], &["COMPRESS=DEFLATE"]),
    (
        "BINARY",
        &[
            "FETCH 1 BINARY[1]",
            "FETCH 1 BINARY.SIZE[1]",
            "APPEND x ~{1+}\r\nx",
        ],
        &["BINARY", "IMAP4rev2"],
    ),
    ("PREVIEW", &["FETCH 1 PREVIEW"], &["PREVIEW"]),
    ("UTF8=ACCEPT", &["APPEND x UTF8 (~{1+}\r\nx)"], &["UTF8=ACCEPT"]),
    (
        "QUOTA",
        &["GETQUOTA \"\"", "GETQUOTAROOT INBOX"],
        &["QUOTA", "QUOTA=RES-STORAGE"],
    ),
    (
        "OBJECTID",
        &["FETCH 1 EMAILID", "STATUS INBOX (MAILBOXID)", "SEARCH EMAILID x"],
        &["OBJECTID", "MAILBOXID"],
    ),
    ("WITHIN", &["SEARCH OLDER 1", "SEARCH NOT YOUNGER 1"], &["WITHIN"]),
    (
        "SAVEDATE",
        &[
            "FETCH 1 SAVEDATE",
            "SEARCH SAVEDON 1-Feb-2026",
            "SEARCH SAVEDATESUPPORTED",
        ],
        &["SAVEDATE"],
    ),
    (
        "STATUS=SIZE",
        &["STATUS INBOX (SIZE)", "LIST \"\" * RETURN (STATUS (SIZE))"],
        &["STATUS=SIZE", "IMAP4rev2"],
    ),
    ("MULTIAPPEND", &["APPEND x {1+}\r\nx {1+}\r\nx"], &["MULTIAPPEND"]),
    ("APPENDLIMIT", &["STATUS INBOX (APPENDLIMIT)"], &[]),
];

// Guards pitfall IMAP 11: every capability that can be turned off is, in what is told and in what is done.
#[test]
fn each_switch_turns_off_what_it_names_and_what_is_nothing_without_it() {
    let session = |without: &[&str]| {
        let mut talk = Talk::new();
        talk.mail.without = without.iter().map(|name| name.to_ascii_uppercase()).collect();
        talk.mail
            .deliver("INBOX", Flags::new(), b"Subject: x\r\n\r\nx\r\n");
        talk.mail.create("x");
        talk.mail.create("z");
        talk.mail.special.insert("z".into(), crate::SpecialUse::Sent);
        let mut heard = talk.say("a LOGIN fred secret\r\n");
        for command in [
            "SELECT INBOX",
            "COPY 1 x",
            "APPEND x {1+}\r\nx",
            "LIST \"\" *",
            "CREATE y",
        ] {
            heard += &talk.say(&format!("a {command}\r\n"));
        }
        (talk, heard)
    };
    let words = |heard: &str| -> Vec<String> {
        let ends = [' ', ']', '[', '(', ')', '\r', '\n'];
        heard.split(ends).map(str::to_owned).collect()
    };
    for (switch, commands, told) in TURNED_OFF {
        assert!(crate::is_switch(switch), "{switch}");
        let (mut talk, heard) = session(&[switch]);
        for word in told {
            assert!(
                !words(&heard).iter().any(|w| w == word),
                "{word} without {switch}: {heard}"
            );
        }
        for command in commands {
            let said = talk.say(&format!("b {command}\r\n"));
            let refused = said.starts_with("b BAD ") && said.ends_with(" is turned off for the account\r\n");
            assert!(refused, "{command} without {switch}: {said}");
        }
        let (_, heard) = session(&[]);
        for word in told {
            assert!(words(&heard).iter().any(|w| w == word), "{word}: {heard}");
        }
    }
    for name in crate::SWITCHES {
        let is_tried = TURNED_OFF
            .iter()
            .any(|(switch, ..)| *switch == name || name.starts_with(switch));
        assert!(is_tried || name == "IMAP4rev2", "{name}");
    }
    for other in ["FOO", "", "IMAP4rev1", "ID", "LITERAL+", "CHILDREN"] {
        assert!(!crate::is_switch(other), "{other}");
    }
}
