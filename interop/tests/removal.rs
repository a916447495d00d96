//! Devices and accounts that are taken away: their phones have no part in anything from then on.

use ringpost_interop::{Device, Server, Sipp};
use std::time::Duration;

/// How long a registration may take until it is saved.
const SAVED: Duration = Duration::from_secs(3);

/// Phones at ports of their own, each registered; None when SIPp is missing.
fn registered(server: &Server, devices: &[&Device]) -> Option<Vec<Sipp>> {
    let mut phones = Vec::new();
    for (device, port) in devices.iter().zip(6001..) {
        let phone = Sipp::phone(server, device, port)?;
        phone.expect("register", &[]);
        phones.push(phone);
    }
    server.expect_metric("registered_phones", devices.len() as f64);
    Some(phones)
}

#[test]
fn a_device_that_is_removed_is_cut_off_at_once_and_the_others_stay() {
    let server = Server::start();
    let (_, alice) = server.person("alice");
    let (bob, desk) = server.person("bob");
    let kitchen = server.device(&bob, "kitchen");
    let Some(phones) = registered(&server, &[&alice, &desk, &kitchen]) else {
        return;
    };
    server.command(&["device", "remove", &bob.address, "phone"]);
    server.expect_metric("registered_phones", 2.0);
    // Secrets that are none: it may not register, and not call.
    phones[1].expect("uac_wrong_secret", &[]);
    let called = phones[2].start("uas_answer", &[]);
    phones[0].expect("uac_call", &["-s", "bob"]);
    let called = called.finish(Duration::from_secs(20));
    assert!(called.succeeded(), "the kitchen still rings: {}", called.output);
    server.command(&["account", "remove", &bob.address]);
    server.expect_metric("registered_phones", 1.0);
    phones[2].expect("uac_wrong_secret", &[]);
    phones[0].expect("uac_unknown", &["-s", "bob"]);
    server.check_store();
}

#[test]
fn a_device_that_is_removed_while_nobody_serves_is_not_back_after_the_start() {
    let mut server = Server::start();
    let (bob, desk) = server.person("bob");
    let (kitchen, cellar) = (server.device(&bob, "kitchen"), server.device(&bob, "cellar"));
    if registered(&server, &[&desk, &kitchen, &cellar]).is_none() {
        return;
    }
    std::thread::sleep(SAVED);
    server.stop();
    server.command(&["device", "remove", &bob.address, "phone"]);
    // One of the same name is another one.
    server.command(&["device", "remove", &bob.address, "kitchen"]);
    server.device(&bob, "kitchen");
    server.run();
    server.expect_metric("registered_phones", 1.0);
    server.check_store();
}
