use super::*;

struct Talk {
    client: Client,
    now: Instant,
}

impl Talk {
    fn new(config: Config) -> Self {
        Talk {
            client: Client::new(Instant::ZERO, config),
            now: Instant::ZERO,
        }
    }

    /// What the client says, and what it tells, when the server says this.
    fn hear(&mut self, text: &str) -> (String, Vec<Event>) {
        self.client.handle_input(self.now, text.as_bytes());
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

    fn ready() -> Self {
        let mut talk = Talk::new(Config::new("phone"));
        talk.hear("220 mail.example.com\r\n");
        talk.hear("250 mail.example.com\r\n");
        talk
    }
}

fn mail(to: &[&str], message: &'static str) -> Mail {
    Mail {
        from: "alice@example.com".into(),
        to: to.iter().map(|to| String::from(*to)).collect(),
        message: Bytes::from_static(message.as_bytes()),
    }
}

fn reply(code: u16, text: &str) -> Reply {
    Reply {
        code,
        text: text.into(),
    }
}

#[test]
fn a_mail_is_handed_over_step_by_step() {
    let login = Some(Login {
        user: "alice".into(),
        password: "secret".into(),
    });
    let mut talk = Talk::new(Config {
        login,
        ..Config::new("phone.example.com")
    });
    let id = talk.client.send(
        talk.now,
        mail(&["bob@example.com"], "Subject: x\n\n.hidden\r\nend"),
    );
    assert_eq!(talk.hear("220 hello\r\n").0, "EHLO phone.example.com\r\n");
    let (said, _) = talk.hear("250-mail.example.com\r\n250-SIZE 1000\r\n250 AUTH PLAIN\r\n");
    assert_eq!(said, "AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n");
    let (said, events) = talk.hear("235 2.7.0 welcome\r\n");
    assert_eq!(said, "MAIL FROM:<alice@example.com> SIZE=24\r\n");
    assert_eq!(
        events,
        [Event::Ready {
            extensions: vec!["SIZE 1000".into(), "AUTH PLAIN".into()]
        }]
    );
    assert_eq!(talk.hear("250 ok\r\n").0, "RCPT TO:<bob@example.com>\r\n");
    assert_eq!(talk.hear("250 ok\r\n").0, "DATA\r\n");
    assert_eq!(
        talk.hear("354 go\r\n").0,
        "Subject: x\r\n\r\n..hidden\r\nend\r\n.\r\n"
    );
    assert_eq!(
        talk.hear("250 2.0.0 stored\r\n").1,
        [Event::Accepted {
            mail: id,
            reply: reply(250, "2.0.0 stored")
        }]
    );
    talk.client.quit(talk.now);
    assert_eq!(talk.drain().0, "QUIT\r\n");
    assert_eq!(talk.hear("221 bye\r\n").1, [Event::Closed]);
}

#[test]
fn a_refused_recipient_does_not_keep_the_mail_from_the_others() {
    let mut talk = Talk::ready();
    let id = talk
        .client
        .send(talk.now, mail(&["nobody@example.com", "bob@example.com"], "x"));
    talk.hear("250 ok\r\n");
    let (said, events) = talk.hear("550 5.1.1 unknown\r\n");
    assert_eq!(said, "RCPT TO:<bob@example.com>\r\n");
    let refused = Event::RecipientRefused {
        mail: id,
        recipient: "nobody@example.com".into(),
        reply: reply(550, "5.1.1 unknown"),
    };
    assert_eq!(events, [refused]);
    assert_eq!(talk.hear("250 ok\r\n").0, "DATA\r\n");
}

#[test]
fn a_mail_for_nobody_is_reset_and_the_next_one_follows() {
    let mut talk = Talk::ready();
    let first = talk.client.send(talk.now, mail(&["nobody@example.com"], "x"));
    talk.client.send(talk.now, mail(&["bob@example.com"], "y"));
    talk.hear("250 ok\r\n");
    let (said, events) = talk.hear("550 unknown\r\n");
    assert_eq!(said, "RSET\r\n");
    assert!(matches!(&events[1], Event::Refused { mail, .. } if *mail == first));
    assert_eq!(talk.hear("250 ok\r\n").0, "MAIL FROM:<alice@example.com>\r\n");
}

#[test]
fn what_came_before_tls_is_forgotten() {
    let mut talk = Talk::new(Config {
        start_tls: true,
        ..Config::new("phone")
    });
    talk.hear("220 hello\r\n");
    assert_eq!(talk.hear("250-hello\r\n250 STARTTLS\r\n").0, "STARTTLS\r\n");
    let (said, events) = talk.hear("220 go\r\n250 injected\r\n");
    assert_eq!((said.as_str(), events.as_slice()), ("", &[Event::StartTls][..]));
    talk.client.handle_tls_started(talk.now);
    assert_eq!(talk.drain().0, "EHLO phone\r\n");
    assert!(matches!(
        talk.hear("250 hello\r\n").1.as_slice(),
        [Event::Ready { .. }]
    ));
}

#[test]
fn a_server_without_the_tls_that_was_asked_for_is_left() {
    let mut talk = Talk::new(Config {
        start_tls: true,
        ..Config::new("phone")
    });
    let id = talk.client.send(talk.now, mail(&["bob@example.com"], "x"));
    talk.hear("220 hello\r\n");
    let (said, events) = talk.hear("250 hello\r\n");
    assert_eq!(said, "QUIT\r\n");
    assert!(matches!(&events[..], [Event::Refused { mail, .. }] if *mail == id));
}

#[test]
fn a_refused_login_a_shutdown_and_a_silence_all_end_with_a_verdict() {
    let login = Some(Login {
        user: "alice".into(),
        password: "wrong".into(),
    });
    let mut talk = Talk::new(Config {
        login,
        ..Config::new("phone")
    });
    talk.client.send(talk.now, mail(&["bob@example.com"], "x"));
    talk.hear("220 hello\r\n");
    talk.hear("250 hello\r\n");
    let (said, events) = talk.hear("535 no\r\n");
    assert_eq!(said, "QUIT\r\n");
    assert!(matches!(
        &events[..],
        [Event::LoginRefused(_), Event::Refused { .. }]
    ));

    let mut talk = Talk::ready();
    talk.client.send(talk.now, mail(&["bob@example.com"], "x"));
    assert!(matches!(
        &talk.hear("421 going down\r\n").1[..],
        [Event::Refused { .. }, Event::Closed]
    ));

    let mut talk = Talk::ready();
    talk.client.send(talk.now, mail(&["bob@example.com"], "x"));
    talk.drain();
    let Output::Timeout(Some(deadline)) = talk.client.poll_output() else {
        panic!("a deadline")
    };
    assert_eq!(deadline, Instant::ZERO + Duration::from_secs(300));
    talk.client.handle_timeout(deadline);
    assert!(matches!(
        &talk.drain().1[..],
        [Event::Refused { .. }, Event::Closed]
    ));

    let mut talk = Talk::ready();
    assert_eq!(talk.hear("nonsense\r\n").1, [Event::Closed]);
}

#[test]
fn an_address_cannot_add_a_command() {
    let mut talk = Talk::ready();
    talk.client
        .send(talk.now, mail(&["bob@example.com>\r\nDATA"], "x"));
    talk.drain();
    assert_eq!(talk.hear("250 ok\r\n").0, "RCPT TO:<bob@example.comDATA>\r\n");
}
