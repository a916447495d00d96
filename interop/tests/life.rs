//! The server's own life: killed, stopped, told to read its configuration again, and asked what it measures.

#![allow(clippy::unwrap_used)] // A test says what it missed by panicking.

use ringpost_interop::{
    Baresip, Behaviour, DOMAIN, ImapClient, Options, Server, SipCall, SipSocket, SmtpClient, base64, mails,
    run, sip_request, tone_wav, wait_for,
};
use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::process::Command;
use std::time::Duration;

#[test]
fn a_hangup_reloads_and_a_call_goes_on() {
    let server = Server::start();
    let (_, alice) = server.person("alice");
    let (_, bob) = server.person("bob");
    let Some(bob) = Baresip::start(
        &server,
        &bob,
        6100,
        Behaviour {
            tone_hz: 620.0,
            ..Behaviour::default()
        },
    ) else {
        return;
    };
    let Some(mut alice) = Baresip::start(&server, &alice, 6140, Behaviour::default()) else {
        return;
    };
    alice.dial("bob");
    alice.wait_for("Call established");
    server.signal(libc::SIGHUP);
    assert!(
        alice.heard(4.0).tone_seconds(620.0, 0.9) >= 3.5,
        "the sound is not interrupted"
    );
    assert!(bob.heard(4.0).tone_seconds(440.0, 0.9) >= 3.5);
    assert!(!alice.output().contains("session closed"), "{}", alice.output());
    alice.hang_up();
}

#[test]
fn a_configuration_that_went_bad_is_told_at_a_hangup_and_the_old_one_stays() {
    let server = Server::start();
    let text = std::fs::read_to_string(server.config()).unwrap();
    std::fs::write(server.config(), format!("nonsense = 1\n{text}")).unwrap();
    server.signal(libc::SIGHUP);
    let told = wait_for(Duration::from_secs(10), || {
        server.log().contains("unknown field `nonsense`")
    });
    assert!(told, "{}", server.log());
    std::fs::write(server.config(), text).unwrap();
    server.command(&["account", "list"]);
}

/// Changes the configuration's text, has it read again, and waits until it is.
fn reconfigure(server: &Server, change: impl FnOnce(String) -> String) {
    let read_again = || server.log().matches("configuration read again").count();
    let before = read_again();
    let text = std::fs::read_to_string(server.config()).unwrap();
    std::fs::write(server.config(), change(text)).unwrap();
    server.signal(libc::SIGHUP);
    let done = wait_for(Duration::from_secs(10), || read_again() > before);
    assert!(done, "{}", server.log());
}

#[test]
fn what_a_stopping_server_takes_is_answered_and_what_it_does_not_answer_is_not_there() {
    let mut server = Server::start();
    let alice = server.account("alice");
    let mut unfinished = SmtpClient::open(&server).unwrap();
    unfinished.say("MAIL FROM:<x@elsewhere.test>\r\n").unwrap();
    let to = format!("RCPT TO:<{}>\r\n", alice.address);
    unfinished.say(&to).unwrap();
    assert!(unfinished.say("DATA\r\n").unwrap().starts_with("354"));
    let left = std::thread::spawn(move || unfinished.say("Subject: cut off\r\n\r\nnever").unwrap());

    let mut taken = Vec::new();
    for round in 0..5 {
        let hurried = |sender| {
            let (server, alice) = (&server, &alice);
            move || {
                let mut taken = Vec::new();
                let Ok(mut client) = SmtpClient::open(server) else {
                    return taken;
                };
                for n in 0.. {
                    let subject = format!("{round}-{sender}-{n}");
                    match client.deliver(&[alice], &format!("Subject: {subject}\r\n\r\nx\r\n")) {
                        Ok(reply) if reply.starts_with("250") => taken.push(subject),
                        _ => break,
                    }
                }
                taken
            }
        };
        std::thread::scope(|scope| {
            let senders: Vec<_> = (0..8).map(|sender| scope.spawn(hurried(sender))).collect();
            std::thread::sleep(Duration::from_millis(300));
            server.signal(libc::SIGTERM);
            for sender in senders {
                taken.extend(sender.join().unwrap());
            }
        });
        server.expect_end();
        server.run();
    }
    let told = left.join().unwrap();
    assert!(told.starts_with("421 4.3.2"), "{told}");
    let subject = |mail: &String| {
        let of = mail.lines().find_map(|line| line.strip_prefix("Subject: "));
        of.unwrap_or_default().to_owned()
    };
    let mut there: Vec<String> = mails(&server, &alice, "INBOX").iter().map(subject).collect();
    there.sort();
    taken.sort();
    assert!(taken.len() > 40, "{taken:?}");
    assert_eq!(there, taken);
}

/// What a server says first, and to EHLO; nothing if it closes.
fn greeted(server: &Server) -> String {
    let mut stream = TcpStream::connect((server.address(), 2525)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let _ = stream.write_all(b"EHLO client.test\r\nQUIT\r\n");
    let mut said = String::new();
    let _ = stream.read_to_string(&mut said);
    said
}

/// Guards pitfall SMTP 5.
#[test]
fn passwords_are_taken_without_tls_only_from_networks_that_the_configuration_names() {
    let server = Server::start();
    let (alice, _) = server.person("alice");
    let secret = base64(format!("\0{}\0{}", alice.address, alice.password));
    // What it says to a program that logs in without TLS and leaves, over each protocol.
    let said = || {
        let login = format!("a LOGIN {} {}\r\nb LOGOUT\r\n", alice.address, alice.password);
        let pop3 = format!("USER {}\r\nPASS {}\r\nQUIT\r\n", alice.address, alice.password);
        let smtp = format!("EHLO client.test\r\nAUTH PLAIN {secret}\r\nQUIT\r\n");
        [(1430, login), (1100, pop3), (5870, smtp)].map(|(port, lines)| typed(&server, port, &lines))
    };
    let [imap, pop3, smtp] = said();
    assert!(imap.contains(" LOGINDISABLED"), "{imap}");
    assert!(!imap.contains("\na OK"), "{imap}");
    assert!(!pop3.contains("+OK 0 messages"), "{pop3}");
    assert!(smtp.contains("\n538 "), "{smtp}");
    reconfigure(&server, |text| {
        format!("plain_login_networks = [\"10.0.0.0/8\", \"127.0.0.0/8\"]\n{text}")
    });
    let [imap, pop3, smtp] = said();
    assert!(!imap.contains("LOGINDISABLED"), "{imap}");
    assert!(imap.contains("\na OK"), "{imap}");
    assert_eq!(pop3.matches("+OK").count(), 4, "{pop3}");
    assert!(smtp.contains("\n235 "), "{smtp}");
    reconfigure(&server, |text| text.replace("127.0.0.0/8", "192.168.0.0/16"));
    assert!(said()[0].contains("LOGINDISABLED"), "elsewhere it stays with TLS");
}

/// Types lines, and gives all that is said until the server closes.
fn typed(server: &Server, port: u16, lines: &str) -> String {
    let mut stream = TcpStream::connect((server.address(), port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(lines.as_bytes()).unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    said
}

#[test]
fn a_hangup_takes_over_the_limits_and_the_level_of_the_log_and_names_what_waits() {
    let server = Server::start();
    assert!(greeted(&server).contains("SIZE 52428800"));
    reconfigure(&server, |text| {
        let text = text.replace(":1430", ":1431") + "[limits]\nmessage_bytes = 1000000\n";
        text.replace("domains = [", "domains = [\"interop.test\", \"second.test\"] # ")
    });
    assert!(
        greeted(&server).contains("SIZE 1000000"),
        "a new session goes by it"
    );
    let waits = "changed, and in force at the next start only keys=listen.imap";
    assert!(server.log().contains(waits), "{}", server.log());
    assert!(
        TcpStream::connect((server.address(), 1430)).is_ok(),
        "it listens where it did"
    );
    assert_eq!(server.command(&["domain", "list"]), "interop.test\nsecond.test\n");
    reconfigure(&server, |text| {
        text.replace(":1431", ":1430").replace(
            "message_bytes = 1000000",
            "connections_per_address = 1\nexempt_networks = []",
        )
    });
    assert_eq!(server.log().matches("at the next start only").count(), 1);
    let first = TcpStream::connect((server.address(), 2525)).unwrap();
    let refused = wait_for(Duration::from_secs(10), || {
        greeted(&server).starts_with("421 4.7.0 ")
    });
    assert!(refused, "one address has one connection");
    drop(first);
    let served = wait_for(Duration::from_secs(10), || greeted(&server).contains("SIZE"));
    assert!(served, "its place is free again");
    reconfigure(&server, |text| text.replace("info,ringpost=debug", "warn"));
    // The line that was waited for is the last one of the old level.
    std::thread::sleep(Duration::from_millis(200));
    let quiet = server.log();
    assert!(greeted(&server).contains("SIZE"));
    assert_eq!(server.log(), quiet, "sessions are below the level now");
}

/// What answers a REGISTER without credentials.
fn challenge(server: &Server) -> String {
    let socket = UdpSocket::bind((server.address(), 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let from = socket.local_addr().unwrap();
    let request = format!(
        "REGISTER sip:{DOMAIN} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bK1;rport\r\nFrom: <sip:x@{DOMAIN}>;tag=1\r\n\
         To: <sip:x@{DOMAIN}>\r\nCall-ID: 1\r\nCSeq: 1 REGISTER\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    );
    socket
        .send_to(request.as_bytes(), (server.address(), 5060))
        .unwrap();
    let mut answer = vec![0; 65_535];
    let len = socket.recv(&mut answer).unwrap();
    String::from_utf8(answer[..len].to_vec()).unwrap()
}

#[test]
fn what_a_hangup_took_over_stays_when_a_domain_is_added() {
    let server = Server::start();
    assert!(challenge(&server).contains("algorithm=MD5"));
    reconfigure(&server, |text| {
        text.replace("[sip]\n", "[sip]\ndigest = [\"SHA-256\"]\n")
    });
    let taken_over = || {
        wait_for(Duration::from_secs(5), || {
            challenge(&server).contains("algorithm=SHA-256")
        })
    };
    assert!(taken_over());
    server.command(&["domain", "add", "second.test"]);
    // The phone service hears of the domain a moment later.
    std::thread::sleep(Duration::from_millis(500));
    assert!(challenge(&server).contains("algorithm=SHA-256"));
}

#[test]
fn the_next_caller_hears_the_greeting_that_a_hangup_brought() {
    let server = Server::start();
    let (_, alice) = server.person("alice");
    server.account("bob");
    let Some(mut alice) = Baresip::start(&server, &alice, 6140, Behaviour::default()) else {
        return;
    };
    let greeting = server.folder().join("greeting.wav");
    tone_wav(&greeting, 700.0, 8_000, 20);
    reconfigure(&server, |text| {
        text.replace("[voicemail]", &format!("[voicemail]\ngreeting = {greeting:?}"))
    });
    alice.dial("bob");
    alice.wait_for("Call established");
    assert!(alice.heard(3.0).tone_seconds(700.0, 0.9) >= 2.0);
    alice.hang_up();
    std::fs::write(&greeting, "no sound").unwrap();
    reconfigure(&server, |text| text);
    let kept = "the old greeting stays in use";
    assert!(server.log().contains(kept), "{}", server.log());
}

#[test]
fn calls_end_politely_when_the_server_is_stopped() {
    let mut server = Server::start();
    let (_, alice) = server.person("alice");
    let (_, bob) = server.person("bob");
    let Some(mut bob) = Baresip::start(&server, &bob, 6100, Behaviour::default()) else {
        return;
    };
    let Some(mut alice) = Baresip::start(&server, &alice, 6140, Behaviour::default()) else {
        return;
    };
    alice.dial("bob");
    alice.wait_for("Call established");
    server.stop();
    alice.wait_for("session closed");
    bob.wait_for("session closed");
}

#[test]
fn registrations_survive_kill_9() {
    let mut server = Server::start();
    let (_, alice) = server.person("alice");
    let (_, bob) = server.person("bob");
    let Some(mut bob) = Baresip::start(&server, &bob, 6100, Behaviour::default()) else {
        return;
    };
    // Older than two seconds they are kept.
    std::thread::sleep(Duration::from_secs(3));
    server.kill();
    server.run();
    let Some(alice) = Baresip::start(&server, &alice, 6140, Behaviour::default()) else {
        return;
    };
    alice.dial("bob");
    bob.wait_for("Call established");
}

/// A server whose phones need no credentials, so that a test can type what they say.
fn trusting() -> Server {
    Server::start_with(&Options {
        trusted_network: Some("127.0.0.0/8".into()),
        no_answer_s: 1,
        ..Options::default()
    })
}

fn register(server: &Server, name: &str) -> SipSocket {
    let phone = SipSocket::open(server);
    let contact = format!(
        "Contact: <sip:{name}@{}:{}>\r\nExpires: 600\r\n",
        server.address(),
        phone.port()
    );
    let address = format!("sip:{name}@{DOMAIN}");
    let answer = phone.ask(&sip_request(
        "REGISTER",
        &format!("sip:{DOMAIN}"),
        &address,
        name,
        &contact,
    ));
    assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
    phone
}

#[test]
fn a_registration_that_is_two_seconds_old_survives_kill_9() {
    let mut server = trusting();
    let names = ["alice", "bob", "cat"];
    let phones = names.map(|name| {
        server.account(name);
        (name, register(&server, name))
    });
    std::thread::sleep(Duration::from_secs(2));
    server.kill();
    server.run();
    for (name, phone) in phones {
        let (uri, from) = (format!("sip:{name}@{DOMAIN}"), format!("sip:alice@{DOMAIN}"));
        let text = format!("Content-Type: text/plain\r\n\r\nHello, {name}.");
        let texter = SipSocket::open(&server);
        texter.send(&sip_request(
            "MESSAGE",
            &uri,
            &from,
            &format!("text-{name}"),
            &text,
        ));
        let heard = std::iter::from_fn(|| Some(phone.next())).find(|text| text.starts_with("MESSAGE "));
        let heard = heard.unwrap();
        assert!(heard.contains(&format!("Hello, {name}.")), "{heard}");
        phone.answer(&heard);
        assert!(texter.next().starts_with("SIP/2.0 200 "));
    }
    // It is looked at every second.
    server.expect_metric("registered_phones", 3.0);
}

#[test]
fn accounts_and_a_voicemail_survive_kill_9_as_soon_as_they_are_answered() {
    let mut server = trusting();
    let (_, bob) = (server.account("alice"), server.account("bob"));
    let mut call = SipCall::place(&server, "alice", "bob", "voicemail");
    assert!(call.is_answered(), "{}", call.answer);
    // Past the greeting, and the tone.
    call.press('#');
    call.speak(Duration::from_secs(4));
    call.press('#');
    let stored = wait_for(Duration::from_secs(10), || server.log().contains("stored=true"));
    assert!(stored, "{}", server.log());
    // An account is there as soon as its password has been shown.
    let cat = server.account("cat");
    server.kill();
    server.run();
    ImapClient::login(&server, &cat).unwrap();
    let mut imap = ImapClient::login(&server, &bob).unwrap();
    assert!(
        imap.command("EXAMINE INBOX")
            .unwrap()
            .text()
            .contains("* 1 EXISTS")
    );
    let message = imap.command("FETCH 1 BODY.PEEK[]").unwrap().text();
    assert!(
        message.contains("voice-message") && message.contains("audio/"),
        "{message}"
    );
    // Two seconds of 16-bit sound at the least.
    assert!(message.len() > 2 * 16_000 * 4 / 3, "{} bytes", message.len());
    drop(imap);
    // And the voicemail takes the next.
    let call = SipCall::place(&server, "alice", "bob", "voicemail-again");
    assert!(call.is_answered(), "{}", call.answer);
    call.hang_up();
    server.check_store();
}

#[test]
fn the_metrics_are_numbers_for_prometheus() {
    let server = Server::start();
    server.expect_metric("calls", 0.0);
    let text = server.metrics();
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    assert!(text.contains("\nringpost_") && text.contains("# EOF"), "{text}");
}

#[test]
fn a_second_server_on_the_same_folder_is_refused_in_one_line() {
    let server = Server::start_with(&Options::default());
    let folder = server.folder().to_path_buf();
    let binary = Server::binary();
    let other = folder.join("other.toml");
    let off = [
        "sip_udp",
        "sip_tcp",
        "sip_tls",
        "smtp",
        "submission",
        "submissions",
        "imap",
        "imaps",
        "pop3",
        "pop3s",
        "metrics",
    ];
    let listen: String = off.iter().map(|key| format!("{key} = \"off\"\n")).collect();
    std::fs::write(
        &other,
        format!(
            "data = {:?}\nuser = \"root\"\n[listen]\n{listen}",
            server.data().display().to_string()
        ),
    )
    .unwrap();
    let mut command = Command::new(binary);
    let finished = run(
        &folder,
        "second",
        command.args(["serve", "--config"]).arg(&other),
        Duration::from_secs(10),
    );
    assert!(!finished.succeeded());
    assert!(
        finished.output.contains("data: ") && finished.output.contains("held by another process"),
        "{}",
        finished.output
    );
}
