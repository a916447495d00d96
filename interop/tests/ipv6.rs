//! Calls, voicemail and mail over IPv6 alone.

#![allow(clippy::unwrap_used)] // A test says what it missed by panicking.

mod mailbox;

use ringpost_interop::{DOMAIN, Options, Server, Sipp, client, run, tone_wav};
use std::process::Command;
use std::time::Duration;

fn server() -> Server {
    Server::start_with(&Options {
        no_answer_s: 2,
        ipv6: true,
        ..Options::default()
    })
}

/// Ports of `::1`, two for each transport, that no other process of these tests has.
fn own_port() -> u16 {
    40_000 + (std::process::id() % 5_000) as u16 * 4
}

fn call(transport: &str, port: u16) {
    let server = server();
    let ((_, alice), (_, bob)) = (server.person("alice"), server.person("bob"));
    let (service, flag) = match transport {
        "UDP" => ("sip_udp", "u1"),
        _ => ("sip_tcp", "t1"),
    };
    let Some(alice) = Sipp::phone_on_ipv6(&server, &alice, port, service) else {
        return;
    };
    let Some(bob) = Sipp::phone_on_ipv6(&server, &bob, port + 1, service) else {
        return;
    };
    let over = ["-t", flag];
    alice.expect("register", &over);
    bob.expect("register", &over);
    let called = bob.start("uas_answer", &over);
    alice.expect("uac_call", &[&["-s", "bob"], &over[..]].concat());
    let called = called.finish(Duration::from_secs(30));
    assert!(called.succeeded(), "{}", called.output);
    let heard = bob.messages("uas_answer");
    let invite = heard.split("INVITE sip:").nth(1).unwrap();
    let via = invite.lines().find(|line| line.starts_with("Via: ")).unwrap();
    assert!(
        via.starts_with(&format!("Via: SIP/2.0/{transport} [::1]:")),
        "{via}"
    );
    let heard = alice.messages("uac_call");
    let ok = heard.split("SIP/2.0 200 OK").nth(1).unwrap();
    for (message, contact) in [(invite, "alice"), (ok, "bob")] {
        let contact = format!("Contact: <sip:{contact}@[::1]:{}", server.port(service));
        for line in [contact.as_str(), " IN IP6 ::1", "c=IN IP6 ::1"] {
            assert!(message.contains(line), "{line} in:\n{message}");
        }
    }
    server.check_store();
}

// Guards pitfall SIP 9: IPv6 is bracketed in Via and Contact, and bare in descriptions.
#[test]
fn two_phones_call_over_ipv6_and_read_addresses_that_they_can_use() {
    call("UDP", own_port());
}

#[test]
fn a_phone_on_tcp_is_called_at_its_ipv6_address() {
    call("TCP", own_port() + 2);
}

#[test]
fn linphone_leaves_a_message_over_ipv6_that_python_reads_over_ipv6() {
    let Some(linphone) = client("linphonec") else {
        return;
    };
    let server = server();
    let ((_, alice), bob) = (server.person("alice"), server.account("bob"));
    let home = server.folder().join("linphone");
    std::fs::create_dir_all(home.join(".local/share/linphone")).unwrap();
    let tone = home.join("tone.wav");
    tone_wav(&tone, 440.0, 8_000, 30);
    let sip = server.port("sip_udp");
    let text = format!(
        "[sip]\nsip_port=-1\nuse_ipv6=1\ndefault_proxy=0\nping_with_options=0\nregister_only_when_network_is_up=0\n\
         [proxy_0]\nreg_proxy=<sip:[::1]:{sip};transport=udp>\nreg_route=<sip:[::1]:{sip};transport=udp;lr>\n\
         reg_identity=sip:{}@{DOMAIN}\nreg_expires=60\nreg_sendregister=1\npublish=0\n\
         [auth_info_0]\nusername={}\nuserid={}\npasswd={}\nrealm={DOMAIN}\n",
        alice.account, alice.account, alice.username, alice.secret
    );
    std::fs::write(home.join("linphonerc"), text).unwrap();
    let script = format!(
        "(sleep 3; echo 'soundcard use files'; sleep 1; echo 'play {}'; echo 'call sip:bob@{DOMAIN}'; sleep 12; \
         echo terminate; sleep 1; echo quit) | HOME={1} {2} -c {1}/linphonerc",
        tone.display(),
        home.display(),
        linphone.display()
    );
    let mut command = Command::new("sh");
    let finished = run(
        server.folder(),
        "linphonec",
        command.args(["-c", &script]),
        Duration::from_secs(40),
    );
    let delivered =
        ringpost_interop::wait_for(Duration::from_secs(10), || server.log().contains("voicemail"));
    assert!(delivered, "{}\n{}", finished.output, server.log());
    let recording = mailbox::voicemail_at(
        "::1",
        server.port("imaps"),
        &server,
        (&bob.address, &bob.password),
    );
    assert!(
        recording.tone_seconds(440.0, 0.8) >= 2.5,
        "linphone's tone, in {} s",
        recording.seconds()
    );
    server.check_store();
}
