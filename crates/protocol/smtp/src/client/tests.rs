use super::*;

const NOW: Instant = Instant::ZERO;
const FULL: &str = "250-there\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 ENHANCEDSTATUSCODES\r\n";

/// What a drain brought.
#[derive(Debug, Default, PartialEq)]
struct Drained {
    sent: String,
    events: Vec<Event>,
}

fn drain(client: &mut Client) -> Drained {
    let mut drained = Drained::default();
    loop {
        match client.poll_output() {
            Output::Transmit(bytes) => drained.sent += &String::from_utf8_lossy(&bytes),
            Output::Event(event) => drained.events.push(event),
            Output::Timeout(_) => return drained,
        }
    }
}

fn hear(client: &mut Client, text: &str) -> Drained {
    client.handle_input(NOW, Bytes::copy_from_slice(text.as_bytes()));
    drain(client)
}

fn greeted(config: Config, offers: &str) -> Client {
    let mut client = Client::new(NOW, config, false);
    assert_eq!(hear(&mut client, "220 there ESMTP\r\n").sent, "EHLO us.test\r\n");
    hear(&mut client, offers);
    client
}

fn ready(offers: &str) -> Client {
    let client = greeted(Config::new("us.test"), offers);
    assert!(client.is_ready());
    client
}

fn message(recipients: &[&str]) -> Message {
    let mailbox = |text: &str| crate::Mailbox::parse(text).unwrap();
    Message {
        from: ReversePath::Mailbox(mailbox("alice@us.test")),
        recipients: recipients
            .iter()
            .map(|to| ForwardPath::Mailbox(mailbox(to)))
            .collect(),
        size_bytes: 10,
        body: Body::SevenBit,
        utf8: false,
        dsn: Default::default(),
        recipient_dsn: Vec::new(),
    }
}

fn verdicts(drained: &Drained) -> Vec<(Fate, &str)> {
    let done = drained.events.iter().find_map(|event| match event {
        Event::Done(verdicts) => Some(verdicts),
        _ => None,
    });
    let done = done.unwrap_or_else(|| panic!("no verdicts in {drained:?}"));
    done.iter().map(|v| (v.fate, v.status.as_str())).collect()
}

fn closed(drained: &Drained) -> &Verdict {
    match drained.events.last() {
        Some(Event::Closed(Some(why))) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_message_goes_with_everything_that_may_be_pipelined() {
    let mut client = ready(FULL);
    client.send(NOW, message(&["a@there.test", "b@there.test"]));
    assert_eq!(
        drain(&mut client).sent,
        "MAIL FROM:<alice@us.test> SIZE=10\r\nRCPT TO:<a@there.test>\r\nRCPT TO:<b@there.test>\r\nDATA\r\n"
    );
    let drained = hear(
        &mut client,
        "250 2.1.0 ok\r\n250 2.1.5 ok\r\n550 5.1.1 who\r\n354 go on\r\n",
    );
    assert_eq!(drained.events, [Event::WantsBody]);
    client.body(NOW, b"Subject: x\r\n\r\n.");
    let drained = drain(&mut client);
    assert_eq!(drained.sent, "Subject: x\r\n\r\n..");
    assert_eq!(drained.events, [Event::WantsBody]);
    client.end_body(NOW);
    assert_eq!(drain(&mut client).sent, "\r\n.\r\n");
    let drained = hear(&mut client, "250 2.0.0 queued\r\n");
    assert_eq!(
        verdicts(&drained),
        [(Fate::Delivered, "2.0.0"), (Fate::Failed, "5.1.1")]
    );
    client.quit(NOW);
    assert_eq!(drain(&mut client).sent, "QUIT\r\n");
    assert_eq!(hear(&mut client, "221 bye\r\n").events, [Event::Closed(None)]);
}

#[test]
fn without_pipelining_each_command_waits_for_its_reply() {
    let mut client = ready("250 there\r\n");
    client.send(NOW, message(&["a@there.test"]));
    assert_eq!(drain(&mut client).sent, "MAIL FROM:<alice@us.test>\r\n");
    assert_eq!(hear(&mut client, "250 ok\r\n").sent, "RCPT TO:<a@there.test>\r\n");
    assert_eq!(hear(&mut client, "251 will forward\r\n").sent, "DATA\r\n");
    hear(&mut client, "354 go\r\n");
    client.end_body(NOW);
    assert_eq!(drain(&mut client).sent, ".\r\n");
    let drained = hear(&mut client, "451 later\r\n");
    assert_eq!(verdicts(&drained), [(Fate::Deferred, "4.0.0")]);
}

// Guards pitfall SMTP 6: one connection carries several messages.
#[test]
fn a_message_that_was_refused_is_reset_before_the_next() {
    let mut client = ready("250 there\r\n");
    client.send(NOW, message(&["a@there.test"]));
    drain(&mut client);
    hear(&mut client, "250 ok\r\n");
    let drained = hear(&mut client, "550 5.1.1 no\r\n");
    assert_eq!(verdicts(&drained), [(Fate::Failed, "5.1.1")]);
    assert_eq!(drained.sent, "", "nobody is left to be sent to");
    client.send(NOW, message(&["b@there.test"]));
    assert_eq!(drain(&mut client).sent, "RSET\r\n");
    assert_eq!(
        hear(&mut client, "250 ok\r\n").sent,
        "MAIL FROM:<alice@us.test>\r\n"
    );
    // A refused MAIL has begun nothing.
    let drained = hear(&mut client, "450 4.7.1 greylisted\r\n");
    assert_eq!(verdicts(&drained), [(Fate::Deferred, "4.7.1")]);
    client.send(NOW, message(&["c@there.test"]));
    assert_eq!(drain(&mut client).sent, "MAIL FROM:<alice@us.test>\r\n");
}

#[test]
fn data_that_is_wanted_for_nobody_gets_an_empty_message() {
    let mut client = ready(FULL);
    client.send(NOW, message(&["a@there.test"]));
    drain(&mut client);
    let drained = hear(&mut client, "250 ok\r\n550 5.1.1 no\r\n354 go\r\n");
    assert_eq!(drained.sent, ".\r\n");
    let drained = hear(&mut client, "554 5.5.1 no recipients\r\n");
    assert_eq!(verdicts(&drained), [(Fate::Failed, "5.1.1")]);
    assert!(client.is_ready());
}

#[test]
fn a_refused_sender_refuses_all_recipients_once() {
    let mut client = ready(FULL);
    client.send(NOW, message(&["a@there.test", "b@there.test"]));
    drain(&mut client);
    let replies =
        "550 5.7.1 not you\r\n503 5.5.1 MAIL first\r\n503 5.5.1 MAIL first\r\n503 5.5.1 RCPT first\r\n";
    let drained = hear(&mut client, replies);
    assert_eq!(
        verdicts(&drained),
        [(Fate::Failed, "5.7.1"), (Fate::Failed, "5.7.1")]
    );
    assert!(client.is_ready());
}

#[test]
fn many_recipients_go_in_portions() {
    let to: Vec<String> = (0..120).map(|n| format!("u{n}@there.test")).collect();
    let mut client = ready(FULL);
    client.send(NOW, message(&to.iter().map(String::as_str).collect::<Vec<_>>()));
    let first = drain(&mut client).sent;
    assert_eq!(first.lines().count(), limits::SMTP_PIPELINE);
    let mut sent = first.lines().count();
    let mut events = Vec::new();
    while sent > 0 {
        let mut replies = "250 ok\r\n".repeat(sent);
        if sent < limits::SMTP_PIPELINE {
            // The last of them is DATA.
            replies = format!("{}354 go\r\n", "250 ok\r\n".repeat(sent - 1));
        }
        let drained = hear(&mut client, &replies);
        sent = drained.sent.lines().count();
        events.extend(drained.events);
    }
    assert_eq!(events, [Event::WantsBody]);
}

// Guards pitfall SMTP 2: what came behind the reply to STARTTLS is not heard under TLS.
#[test]
fn what_comes_behind_starttls_is_thrown_away() {
    let mut client = greeted(
        Config::new("us.test"),
        "250-there\r\n250-PIPELINING\r\n250 STARTTLS\r\n",
    );
    let drained = hear(&mut client, "220 go\r\n250-injected\r\n250 SIZE 1\r\n");
    assert_eq!(drained.events, [Event::StartTls]);
    hear(&mut client, "250 injected too\r\n");
    client.handle_tls_started(NOW);
    assert_eq!(drain(&mut client).sent, "EHLO us.test\r\n");
    assert!(client.is_tls());
    assert_eq!(hear(&mut client, "250 there\r\n").events, [Event::Ready]);
    client.send(NOW, message(&["a@there.test"]));
    // Neither PIPELINING nor SIZE was offered under TLS.
    assert_eq!(drain(&mut client).sent, "MAIL FROM:<alice@us.test>\r\n");
}

#[test]
fn tls_that_is_refused_is_done_without_unless_it_is_required() {
    let offers = "250-there\r\n250 STARTTLS\r\n";
    let mut client = greeted(Config::new("us.test"), offers);
    assert_eq!(hear(&mut client, "454 4.7.0 not now\r\n").events, [Event::Ready]);
    let required = Config {
        start_tls: StartTls::Required,
        ..Config::new("us.test")
    };
    let mut client = greeted(required.clone(), offers);
    assert_eq!(
        closed(&hear(&mut client, "454 4.7.0 not now\r\n")).status,
        "4.7.0"
    );
    let mut client = Client::new(NOW, required, false);
    hear(&mut client, "220 there\r\n");
    assert_eq!(closed(&hear(&mut client, "250 there\r\n")).status, "4.7.10");
}

#[test]
fn a_password_is_told_under_tls_only() {
    let config = Config {
        credentials: Some(Credentials {
            user: "user".into(),
            password: "pass".into(),
        }),
        ..Config::new("us.test")
    };
    let offers = "250-there\r\n250 AUTH LOGIN PLAIN\r\n";
    let mut client = Client::new(NOW, config.clone(), false);
    hear(&mut client, "220 there\r\n");
    let drained = hear(&mut client, offers);
    assert_eq!(
        (drained.sent.as_str(), closed(&drained).status.as_str()),
        ("", "4.7.0")
    );

    let mut client = Client::new(NOW, config.clone(), true);
    hear(&mut client, "220 there\r\n");
    assert_eq!(hear(&mut client, offers).sent, "AUTH PLAIN AHVzZXIAcGFzcw==\r\n");
    assert_eq!(hear(&mut client, "235 2.7.0 welcome\r\n").events, [Event::Ready]);

    // A wrong password is our own fault: no message is to be bounced for it.
    let mut client = Client::new(NOW, config, true);
    hear(&mut client, "220 there\r\n");
    hear(&mut client, offers);
    let drained = hear(&mut client, "535 5.7.8 no\r\n");
    assert_eq!(
        (closed(&drained).fate, closed(&drained).status.as_str()),
        (Fate::Deferred, "4.7.8")
    );
}

#[test]
fn a_server_that_knows_no_ehlo_is_told_helo() {
    let mut client = Client::new(NOW, Config::new("us.test"), false);
    hear(&mut client, "220 there\r\n");
    assert_eq!(hear(&mut client, "502 what\r\n").sent, "HELO us.test\r\n");
    assert_eq!(hear(&mut client, "250 there\r\n").events, [Event::Ready]);
}

// Guards pitfall SMTP 7: what the server cannot take as it is, is not sent.
#[test]
fn what_the_server_cannot_take_is_told_and_not_sent() {
    let mut client = ready("250-there\r\n250 SIZE 9\r\n");
    client.send(NOW, message(&["a@there.test"]));
    let drained = drain(&mut client);
    assert_eq!(
        (drained.sent.as_str(), &verdicts(&drained)[..]),
        ("", &[(Fate::Failed, "5.3.4")][..])
    );

    let mut client = ready("250 there\r\n");
    for (body, utf8, status) in [(Body::EightBit, false, "5.6.3"), (Body::SevenBit, true, "5.6.7")] {
        client.send(
            NOW,
            Message {
                body,
                utf8,
                ..message(&["a@there.test"])
            },
        );
        let drained = drain(&mut client);
        assert_eq!(
            (drained.sent.as_str(), &verdicts(&drained)[..]),
            ("", &[(Fate::Failed, status)][..])
        );
    }
    let mut client = ready(FULL);
    client.send(
        NOW,
        Message {
            body: Body::EightBit,
            utf8: true,
            ..message(&["a@there.test"])
        },
    );
    let sent = drain(&mut client).sent;
    assert!(
        sent.starts_with("MAIL FROM:<alice@us.test> SIZE=10 BODY=8BITMIME SMTPUTF8\r\n"),
        "{sent}"
    );
}

#[test]
fn each_step_has_its_time() {
    let limits = Timeouts::default();
    let waits = |client: &mut Client| match client.poll_output() {
        Output::Timeout(at) => at.map(|at| at.since(NOW)),
        other => panic!("{other:?}"),
    };
    let mut client = Client::new(NOW, Config::new("us.test"), false);
    assert_eq!(waits(&mut client), Some(limits.greeting));
    let mut client = ready("250 there\r\n");
    assert_eq!(waits(&mut client), None);
    client.send(NOW, message(&["a@there.test"]));
    drain(&mut client);
    assert_eq!(waits(&mut client), Some(limits.command));
    hear(&mut client, "250 ok\r\n");
    hear(&mut client, "250 ok\r\n");
    assert_eq!(waits(&mut client), Some(limits.data));
    hear(&mut client, "354 go\r\n");
    assert_eq!(waits(&mut client), Some(limits.block));
    client.end_body(NOW);
    drain(&mut client);
    assert_eq!(waits(&mut client), Some(limits.end));
    client.handle_timeout(NOW + limits.end);
    let drained = drain(&mut client);
    assert_eq!(verdicts(&drained), [(Fate::Deferred, "4.4.2")]);
    assert!(closed(&drained).text.contains("after the message"));
    let mut client = ready("250 there\r\n");
    client.quit(NOW);
    drain(&mut client);
    assert_eq!(waits(&mut client), Some(limits.quit));
    client.handle_timeout(NOW + limits.quit);
    assert_eq!(drain(&mut client).events, [Event::Closed(None)]);
}

#[test]
fn a_lost_connection_defers_whoever_has_no_verdict() {
    let mut client = ready(FULL);
    client.send(NOW, message(&["a@there.test", "b@there.test"]));
    drain(&mut client);
    hear(&mut client, "250 ok\r\n550 5.1.1 no\r\n");
    client.handle_closed(NOW);
    let drained = drain(&mut client);
    assert_eq!(
        verdicts(&drained),
        [(Fate::Failed, "5.1.1"), (Fate::Deferred, "4.4.2")]
    );
    closed(&drained);
}

#[test]
fn a_server_that_closes_with_421_defers_and_is_left() {
    let mut client = ready(FULL);
    client.send(NOW, message(&["a@there.test"]));
    drain(&mut client);
    let drained = hear(&mut client, "421 4.3.2 shutting down\r\n");
    assert_eq!(verdicts(&drained), [(Fate::Deferred, "4.3.2")]);
    closed(&drained);
}

#[test]
fn a_reply_in_the_middle_of_the_message_counts_and_ends_the_connection() {
    let mut client = ready(FULL);
    client.send(NOW, message(&["a@there.test"]));
    drain(&mut client);
    hear(&mut client, "250 ok\r\n250 ok\r\n354 go\r\n");
    client.body(NOW, b"x");
    drain(&mut client);
    let drained = hear(&mut client, "552 5.3.4 too much\r\n");
    assert_eq!(verdicts(&drained), [(Fate::Failed, "5.3.4")]);
    assert_eq!(closed(&drained).fate, Fate::Deferred);

    // That it has the message before its end is no promise.
    let mut client = ready(FULL);
    client.send(NOW, message(&["a@there.test"]));
    drain(&mut client);
    hear(&mut client, "250 ok\r\n250 ok\r\n354 go\r\n");
    let drained = hear(&mut client, "250 2.0.0 have it\r\n");
    assert_eq!(verdicts(&drained), [(Fate::Deferred, "4.0.0")]);
}

#[test]
fn a_greeting_that_refuses_is_no_verdict_on_a_message() {
    let mut client = Client::new(NOW, Config::new("us.test"), false);
    let drained = hear(&mut client, "554 5.7.1 no mail from you\r\n");
    assert_eq!(
        (closed(&drained).fate, closed(&drained).status.as_str()),
        (Fate::Deferred, "4.7.1")
    );
}

#[test]
fn what_nobody_asked_ends_the_connection() {
    for text in ["250 hello again\r\n", "garbage\r\n"] {
        let mut client = ready(FULL);
        closed(&hear(&mut client, text));
        assert_eq!(hear(&mut client, "250 x\r\n"), Drained::default());
    }
}
