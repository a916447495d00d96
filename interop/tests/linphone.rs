//! linphonec calls baresip; each hears the other's tone.

use ringpost_interop::{
    Baresip, Behaviour, DOMAIN, Device, Options, Server, Wav, client, run, spawn, tone_wav,
};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// A configuration with no sound card, a home of its own, and ports of its own: `port`, the one behind it, and for sound.
fn configuration(server: &Server, device: &Device, port: u16) -> PathBuf {
    let home = server.folder().join("linphone");
    std::fs::create_dir_all(home.join(".local/share/linphone")).expect("the test's folder can be written");
    let address = server.address();
    let text = format!(
        "[sip]\nsip_port={port}\nsip_tcp_port={port}\nsip_tls_port={}\ndefault_proxy=0\nping_with_options=0\n\
         register_only_when_network_is_up=0\nverify_server_certs=0\nverify_server_cn=0\n[rtp]\naudio_rtp_port={}\n\
         [proxy_0]\nreg_proxy=<sip:{address}:5060;transport=udp>\nreg_route=<sip:{address}:5060;transport=udp;lr>\n\
         reg_identity=sip:{}@{DOMAIN}\nreg_expires=60\nreg_sendregister=1\npublish=0\n\
         [auth_info_0]\nusername={}\nuserid={}\npasswd={}\nrealm={DOMAIN}\n",
        port + 1,
        port + 888,
        device.account,
        device.account,
        device.username,
        device.secret
    );
    std::fs::write(home.join("linphonerc"), text).expect("the test's folder can be written");
    home
}

#[test]
fn linphone_registers_with_sha_256() {
    let Some(linphone) = client("linphonec") else {
        return;
    };
    let server = Server::start_with(&Options {
        sha256: true,
        ..Options::default()
    });
    let (_, alice) = server.person("alice");
    let home = configuration(&server, &alice, 6192);
    let script = format!(
        "(sleep 15; echo quit) | HOME={0} {1} -c {0}/linphonerc",
        home.display(),
        linphone.display()
    );
    let mut command = Command::new("sh");
    let _phone = spawn(server.folder(), "linphonec", command.args(["-c", &script]));
    server.expect_metric("registered_phones", 1.0);
}

#[test]
fn linphone_registers_calls_and_both_hear_each_other() {
    let Some(linphone) = client("linphonec") else {
        return;
    };
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
    let home = configuration(&server, &alice, 6190);
    let (tone, recording) = (home.join("tone.wav"), home.join("heard.wav"));
    tone_wav(&tone, 440.0, 8_000, 30);
    let lines = [
        ("soundcard use files".to_string(), 1),
        (format!("play {}", tone.display()), 0),
        (format!("record {}", recording.display()), 0),
        (format!("call sip:bob@{DOMAIN}"), 8),
        ("terminate".into(), 1),
        ("quit".into(), 0),
    ];
    let typed: String = lines
        .iter()
        .map(|(line, pause_s)| format!("echo '{line}'; sleep {pause_s}; "))
        .collect();
    let script = format!(
        "(sleep 3; {typed}) | HOME={0} {1} -c {0}/linphonerc -l {0}/log -d 5",
        home.display(),
        linphone.display()
    );
    let finished = run(
        server.folder(),
        "linphonec",
        Command::new("sh").args(["-c", &script]),
        Duration::from_secs(40),
    );
    assert!(
        bob.heard(3.0).tone_seconds(440.0, 0.8) >= 2.5,
        "bob hears linphone\n{}",
        finished.output
    );
    let heard = Wav::read(&recording).expect("linphone recorded");
    assert!(
        heard.tone_seconds(620.0, 0.8) >= 2.5,
        "linphone hears bob, for {} s",
        heard.tone_seconds(620.0, 0.8)
    );
}
