//! Certificates from an authority that others wrote: pebble, which asks at ports 80 and 443; what is shown is looked at with
//! openssl.

#![allow(clippy::unwrap_used)] // A test says what it missed by panicking.

use ringpost_interop::{
    DOMAIN, Dns, ImapClient, Options, Pebble, PebbleOptions, Record, Server, Sipp, TypedTls, own_address,
    wait_for,
};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long a certificate may take.
const LIMIT: Duration = Duration::from_secs(120);

/// Every port that speaks TLS, and how it is begun.
const PORTS: [(u16, &[&str]); 8] = [
    (5061, &[]),
    (9930, &[]),
    (9950, &[]),
    (4650, &[]),
    (1430, &["-starttls", "imap"]),
    (1100, &["-starttls", "pop3"]),
    (5870, &["-starttls", "smtp"]),
    (2525, &["-starttls", "smtp"]),
];

/// A DNS that leads the domain to one address and the authority's name to another, an authority, and the settings of a server
/// that asks it; `None` where there is no pebble.
fn authority(options: &PebbleOptions, challenge: &str, port: u16) -> Option<(Pebble, Ipv4Addr, Options)> {
    let (server, ca, nowhere) = (own_address(), own_address(), own_address());
    let dns = Dns::start(vec![
        Record::A(DOMAIN, server),
        Record::A("nowhere.test", nowhere),
        Pebble::record(ca),
    ]);
    let pebble = Pebble::start(ca, dns.address(), options)?;
    let options = Options {
        dns: Some(dns.address()),
        acme: pebble.settings(challenge, SocketAddr::from((server, port))),
        ..Options::default()
    };
    Some((pebble, server, options))
}

fn shown_new(server: &Server) -> usize {
    server.log().matches("a new certificate is shown").count()
}

fn expect_new(server: &Server, count: usize) {
    let had = wait_for(LIMIT, || shown_new(server) >= count);
    assert!(had, "{}", server.log());
}

/// The second column of a line of `cert show`.
fn field(said: &str, name: &str) -> Option<String> {
    let mut lines = said.lines().filter_map(|line| line.split_once('\t'));
    lines
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value.to_owned())
}

#[test]
fn the_first_certificate_is_had_by_http_shown_everywhere_and_used_again_at_the_next_start() {
    let Some((pebble, address, options)) = authority(&PebbleOptions::default(), "http-01", 80) else {
        return;
    };
    let mut server = Server::start_at(address, &options);
    expect_new(&server, 1);
    let mut serials: Vec<String> = Vec::new();
    for (port, starttls) in PORTS {
        let (serial, names) = pebble.verified(&server, port, DOMAIN, starttls);
        assert_eq!(names, format!("DNS:{DOMAIN}"));
        serials.push(serial);
    }
    serials.dedup();
    let [serial] = serials.as_slice() else {
        panic!("{serials:?}")
    };
    let said = server.command(&["cert", "show"]);
    assert_eq!(field(&said, "serial").as_deref(), Some(&**serial), "{said}");
    assert_eq!(field(&said, "names").as_deref(), Some(DOMAIN));
    assert!(
        field(&said, "certificate").unwrap().ends_with(":14000/dir"),
        "{said}"
    );
    assert!(field(&said, "issuer").unwrap().starts_with("Pebble"), "{said}");
    assert!(
        field(&said, "renewal").is_some() && field(&said, "failure").is_none(),
        "{said}"
    );
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs_f64();
    assert!(server.metric("certificate_expires_seconds") > now);
    assert_eq!(server.metric("acme_certificates_total"), 1.0);
    for name in ["", "account.json", "certificate.pem"] {
        let mode = std::fs::metadata(server.data().join("acme").join(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o077, 0, "{name} is its owner's alone");
    }

    // Nothing else is served where the authority asks.
    let output = Command::new("curl")
        .args(["--silent", "--include", &format!("http://{address}/")])
        .output();
    let said = String::from_utf8(output.unwrap().stdout).unwrap();
    assert!(said.starts_with("HTTP/1.1 404 "), "{said}");

    let backup = server.folder().join("all.tar");
    server.command(&["backup", backup.to_str().unwrap()]);
    let listed = Command::new("tar").arg("tf").arg(&backup).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(
        listed.contains("acme/certificate.pem\n") && listed.contains("acme/account.json\n"),
        "{listed}"
    );

    // The next start asks nobody.
    server.stop();
    let asked = pebble.log().len();
    server.run();
    assert_eq!(pebble.verified(&server, 9930, DOMAIN, &[]).0, *serial);
    assert!(
        !server.log().contains("asking for a certificate"),
        "{}",
        server.log()
    );
    let asked_since = pebble.log()[asked..].to_owned();
    assert!(!asked_since.contains("/dir"), "{asked_since}");
}

#[test]
fn the_first_certificate_is_had_by_tls_alpn_for_an_account_that_is_bound_to_another() {
    let key = Command::new("openssl").args(["rand", "-base64", "32"]).output();
    let Ok(key) = key else { return };
    let key = String::from_utf8(key.stdout)
        .unwrap()
        .trim()
        .replace('+', "-")
        .replace('/', "_");
    let key = key.trim_end_matches('=').to_owned();
    let external = PebbleOptions {
        external: Some(("kid-1".into(), key.clone())),
        ..PebbleOptions::default()
    };
    let Some((pebble, address, options)) = authority(&external, "tls-alpn-01", 443) else {
        return;
    };
    let mut server = Server::start_at(address, &options);
    let refused = wait_for(LIMIT, || {
        server.log().contains("no certificate; it is tried again")
    });
    assert!(refused, "without the key there is none: {}", server.log());
    assert!(server.log().contains("external"), "{}", server.log());
    server.stop();
    let file = server.folder().join("key");
    std::fs::write(&file, key).unwrap();
    let text = std::fs::read_to_string(server.config()).unwrap();
    let bound =
        format!("[acme]\nexternal_account_key_id = \"kid-1\"\nexternal_account_key_file = {file:?}\n");
    std::fs::write(server.config(), text.replace("[acme]\n", &bound)).unwrap();
    server.run();
    expect_new(&server, 1);
    let said = server.log();
    assert!(
        said.contains("asks for the answer to its challenge, by TLS-ALPN"),
        "{said}"
    );
    let (serial, names) = pebble.verified(&server, 9930, DOMAIN, &[]);
    assert_eq!(names, format!("DNS:{DOMAIN}"));
    // Listeners that are for others take no part in it, and the one that is takes no other part.
    let alpn = pebble.verified(&server, 5061, DOMAIN, &["-alpn", "acme-tls/1"]);
    assert_eq!(alpn.0, serial);
    let Some(mut other) = TypedTls::open(&server, 443, &["-alpn", "h2"]) else {
        return;
    };
    assert!(other.has_ended(), "{}", other.heard());
    assert!(other.heard().contains("alert"), "{}", other.heard());
}

#[test]
fn renewals_by_itself_and_when_asked_drop_no_session_and_no_registration() {
    let short = PebbleOptions {
        validity_s: Some(45),
        ..PebbleOptions::default()
    };
    let Some((pebble, address, options)) = authority(&short, "http-01", 80) else {
        return;
    };
    // As somebody who could not open port 80 again.
    let mut server = Server::prepared_at(address, &options);
    let text = std::fs::read_to_string(server.config()).unwrap();
    std::fs::write(
        server.config(),
        text.replace("user = \"root\"", "user = \"nobody\""),
    )
    .unwrap();
    std::fs::set_permissions(server.folder(), std::fs::Permissions::from_mode(0o711)).unwrap();
    server.run();
    expect_new(&server, 1);
    let (first, _) = pebble.verified(&server, 9930, DOMAIN, &[]);

    let ((alice, phone), (_, bob)) = (server.person("alice"), server.person("bob"));
    let mut imap = ImapClient::login(&server, &alice).unwrap();
    assert!(imap.command("SELECT INBOX").unwrap().is_ok());
    let Some(mut registered) = TypedTls::open(&server, 5061, &[]) else {
        return;
    };
    registered.register(&phone);

    // Two thirds of 45 seconds.
    expect_new(&server, 2);
    let (second, _) = pebble.verified(&server, 5061, DOMAIN, &[]);
    assert_ne!(second, first);
    let said = server.command(&["cert", "renew"]);
    let (third, _) = pebble.verified(&server, 4650, DOMAIN, &[]);
    assert_eq!(field(&said, "serial"), Some(third.clone()), "{said}");
    assert!(third != first && third != second);
    assert_eq!(server.metric("acme_failures_total"), 0.0);

    assert!(
        imap.append("Subject: still here\r\n\r\nYes.\r\n")
            .unwrap()
            .is_ok()
    );
    let found = imap.command("SEARCH SUBJECT still").unwrap();
    assert!(
        found.is_ok() && found.text().contains("SEARCH 1"),
        "{}",
        found.text()
    );
    let Some(bob) = Sipp::phone(&server, &bob, 6002) else {
        return;
    };
    let _sends = bob.start("uac_message", &["-s", "alice"]);
    registered.expect("Dinner at eight?");
}

/// Leads connections to one address on to another.
fn relay(from: SocketAddr, to: SocketAddr) {
    let listener = TcpListener::bind(from).unwrap();
    std::thread::spawn(move || {
        for mut near in listener.incoming().map_while(Result::ok) {
            let Ok(mut far) = TcpStream::connect(to) else {
                continue;
            };
            let (mut back, mut answer) = (near.try_clone().unwrap(), far.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut near, &mut far));
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut answer, &mut back);
                let _ = back.shutdown(std::net::Shutdown::Both);
            });
        }
    });
}

#[test]
fn a_failed_order_is_told_with_the_name_and_the_authoritys_words_and_tried_again() {
    let Some((pebble, address, options)) = authority(&PebbleOptions::default(), "http-01", 8_080) else {
        return;
    };
    let server = Server::start_at(address, &options);
    let failed = wait_for(LIMIT, || {
        server.log().contains("no certificate; it is tried again")
    });
    assert!(failed, "{}", server.log());
    let log = server.log();
    let line = log
        .lines()
        .find(|line| line.contains("no certificate; it is tried again"))
        .unwrap();
    assert!(
        line.contains(&format!("gives no certificate for {DOMAIN}: ")),
        "{line}"
    );
    assert!(
        line.contains("connection refused") && line.contains("(connection)"),
        "{line}"
    );
    assert!(line.contains("again_s="), "{line}");
    let said = server.command(&["cert", "show"]);
    assert_eq!(
        field(&said, "certificate").as_deref(),
        Some("self-signed"),
        "{said}"
    );
    assert!(
        field(&said, "failure").unwrap().contains(DOMAIN) && field(&said, "retry").is_some(),
        "{said}"
    );
    // The self-signed one is shown meanwhile.
    let output = Command::new("openssl")
        .args(["s_client", "-connect", &format!("{address}:9930")])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("self-signed certificate"));
    // A minute later, what was wrong has been mended.
    relay(
        SocketAddr::from((address, 80)),
        SocketAddr::from((address, 8_080)),
    );
    expect_new(&server, 1);
    pebble.verified(&server, 9930, DOMAIN, &[]);
    assert_eq!(server.metric("acme_failures_total"), 1.0);
    assert!(field(&server.command(&["cert", "show"]), "failure").is_none());
}

#[test]
fn a_name_that_leads_elsewhere_keeps_the_others_from_nothing() {
    let Some((pebble, address, options)) = authority(&PebbleOptions::default(), "http-01", 80) else {
        return;
    };
    let options = Options {
        domains: vec![DOMAIN.into(), "nowhere.test".into()],
        ..options
    };
    let server = Server::start_at(address, &options);
    expect_new(&server, 1);
    assert_eq!(
        pebble.verified(&server, 9930, DOMAIN, &[]).1,
        format!("DNS:{DOMAIN}")
    );
    let told = wait_for(LIMIT, || {
        server.log().contains("gives no certificate for nowhere.test: ")
    });
    assert!(told, "{}", server.log());
    let said = server.command(&["cert", "show"]);
    assert_eq!(field(&said, "lacking").as_deref(), Some("nowhere.test"), "{said}");
    // Left out, it is missed no more.
    let text = std::fs::read_to_string(server.config()).unwrap();
    let named = text.replace("[acme]\n", &format!("[acme]\nnames = [\"{DOMAIN}\"]\n"));
    std::fs::write(server.config(), named).unwrap();
    server.signal(libc::SIGHUP);
    let settled = wait_for(LIMIT, || {
        field(&server.command(&["cert", "show"]), "lacking").is_none()
    });
    assert!(settled, "{}", server.log());
    assert_eq!(shown_new(&server), 1, "the certificate at hand is good for that");
}
