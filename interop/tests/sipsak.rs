//! sipsak: OPTIONS over UDP and TCP, a digest registration, and a hundred of them.

use ringpost_interop::{Device, Finished, Server, client, run};
use std::process::Command;
use std::time::Duration;

fn sipsak(server: &Server, more: &[&str]) -> Option<Finished> {
    let mut command = Command::new(client("sipsak")?);
    command.args(more).args(["-H", &server.address().to_string()]);
    Some(run(
        server.folder(),
        "sipsak",
        &mut command,
        Duration::from_secs(30),
    ))
}

fn registration<'a>(uri: &'a str, contact: &'a str, device: &'a Device) -> Vec<&'a str> {
    vec![
        "-U",
        "-s",
        uri,
        "-C",
        contact,
        "-u",
        &device.username,
        "-a",
        &device.secret,
        "-x",
        "60",
    ]
}

#[test]
fn the_server_answers_options() {
    let server = Server::start();
    let uri = format!("sip:{}:5060", server.address());
    for transport in ["udp", "tcp"] {
        let Some(finished) = sipsak(&server, &["-v", "-E", transport, "-s", &uri]) else {
            return;
        };
        assert!(finished.succeeded(), "{transport}: {}", finished.output);
    }
}

#[test]
fn a_phone_registers_and_is_refused_with_a_wrong_secret() {
    let server = Server::start();
    let (_, device) = server.person("alice");
    // The domain of the tests has no DNS: the server's address stands for it.
    let uri = format!("sip:alice@{}", server.address());
    let contact = format!("sip:alice@{}:6500", server.address());
    let Some(finished) = sipsak(&server, &registration(&uri, &contact, &device)) else {
        return;
    };
    assert!(finished.succeeded(), "{}", finished.output);
    let wrong = Device {
        secret: "wrong".into(),
        ..device
    };
    let Some(finished) = sipsak(&server, &registration(&uri, &contact, &wrong)) else {
        return;
    };
    assert!(!finished.succeeded(), "{}", finished.output);
}
