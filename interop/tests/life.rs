//! The server's own life: killed, stopped, told to read its configuration again, and asked what it measures.

#![allow(clippy::unwrap_used)] // A test says what it missed by panicking.

use ringpost_interop::{
    Baresip, Behaviour, DOMAIN, ImapClient, Options, Server, SipCall, SipSocket, run, sip_request, wait_for,
};
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
        trusts_loopback: true,
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
    assert_eq!(server.metric("registered_phones"), 3.0);
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
