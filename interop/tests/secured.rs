//! Mail to domains that say how their servers are to be spoken to: DANE over a signed zone, and MTA-STS.

#![allow(clippy::unwrap_used)] // A test says what it missed by panicking.

use ringpost_interop::{
    Account, Child, Options, Server, SignedZone, certificates_for, client, mails, own_address, spawn, submit,
    wait_for,
};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);

/// A web server for policies: the file of the host that it is asked for.
const POLICY_SERVER: &str = r#"
import http.server, os, ssl, sys
address, certificate, key, folder = sys.argv[1:5]
class Policies(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        host = self.headers.get("Host", "")
        path = os.path.join(folder, os.path.basename(host))
        if self.path != "/.well-known/mta-sts.txt" or not os.path.exists(path):
            self.send_error(404)
            return
        text = open(path, "rb").read()
        moved = text.startswith(b"moved:")
        self.send_response(301 if moved else 200)
        if moved:
            self.send_header("Location", text[6:].strip().decode())
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
server = http.server.ThreadingHTTPServer((address, 443), Policies)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"#;

struct Policies {
    address: Ipv4Addr,
    _child: Child,
}

impl Policies {
    fn start(
        folder: &Path,
        (certificate, key): &(PathBuf, PathBuf),
        policies: &[(&str, &str)],
    ) -> Option<Policies> {
        let python = client("python3")?;
        for (host, text) in policies {
            std::fs::write(folder.join(host), text).unwrap();
        }
        let script = folder.join("policies.py");
        std::fs::write(&script, POLICY_SERVER).unwrap();
        let address = own_address();
        let mut command = Command::new(python);
        command.arg(script).arg(address.to_string());
        command.args([certificate.as_path(), key.as_path(), folder]);
        let child = spawn(folder, "policies", &mut command);
        let up = wait_for(LIMIT, || TcpStream::connect((address, 443)).is_ok());
        assert!(up, "the web server does not come up:\n{}", child.output());
        Some(Policies {
            address,
            _child: child,
        })
    }
}

/// The SHA-256 of a certificate's public key, or of all of it, in hexadecimal.
fn digest(certificate: &Path, whole: bool) -> String {
    let script = match whole {
        true => "openssl x509 -in \"$0\" -outform DER | openssl dgst -sha256 -r",
        false => {
            "openssl x509 -in \"$0\" -noout -pubkey | openssl pkey -pubin -outform DER | openssl dgst -sha256 -r"
        }
    };
    let output = Command::new("sh")
        .arg("-c")
        .arg(script)
        .arg(certificate)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().next().unwrap().to_owned()
}

/// A server with a certificate of a test's authority, where each domain has its carol.
struct There {
    server: Server,
    carols: Vec<(&'static str, Account)>,
}

impl There {
    fn new(domains: &[&'static str], certificate: (PathBuf, PathBuf)) -> There {
        let server = Server::start_with(&Options {
            domains: domains.iter().map(|domain| (*domain).to_owned()).collect(),
            certificate: Some(certificate),
            smtp_port: 25,
            ..Options::default()
        });
        let carols = domains
            .iter()
            .map(|domain| (*domain, server.account_at("carol", domain)));
        let carols = carols.collect();
        There { server, carols }
    }

    fn has_mail(&self, domain: &str) -> bool {
        let (_, carol) = self.carols.iter().find(|(name, _)| *name == domain).unwrap();
        mails(&self.server, carol, "INBOX").len() == 1
    }
}

/// Sends a mail to carol at each domain: it arrives, or its queue entry says why not.
fn expect(server: &Server, alice: &Account, there: &There, domains: &[(&str, Option<&str>)]) -> Option<()> {
    for (domain, _) in domains {
        submit(server, alice, &[&format!("carol@{domain}")], &[])?;
    }
    for (domain, why) in domains {
        let shown = || {
            let list = server.command(&["queue", "list"]);
            let line = list
                .lines()
                .find(|line| line.contains(&format!("\tcarol@{domain}\t")));
            let id = line.and_then(|line| line.split('\t').next());
            id.map(|id| server.command(&["queue", "show", id]))
                .unwrap_or_default()
        };
        match why {
            None => assert!(
                wait_for(LIMIT, || there.has_mail(domain)),
                "{domain}: {}",
                shown()
            ),
            Some(why) => {
                assert!(
                    wait_for(LIMIT, || shown().contains(why)),
                    "{domain}: {why:?} in {}",
                    shown()
                );
                assert!(!there.has_mail(domain), "{domain}");
            }
        }
    }
    Some(())
}

fn sender(zone: &SignedZone, authorities: &Path) -> (Server, Account) {
    let server = Server::start_with(&Options {
        dns: Some(zone.address()),
        trust_anchors: Some(zone.anchors()),
        outbound_network: Some("127.0.0.0/8".into()),
        authorities: Some(authorities.to_owned()),
        ..Options::default()
    });
    let alice = server.account("alice");
    (server, alice)
}

// Guards pitfall SMTP 6: a destination whose DNSSEC fails delays no other.
#[test]
fn a_signed_domain_gets_its_mail_at_the_server_whose_certificate_its_records_name() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["mx.authority.test", "mx.other.test"];
    let Some((authority, certificate)) = certificates_for(folder.path(), &names, 2) else {
        return;
    };
    let domains = [
        "key.test",
        "whole.test",
        "authority.test",
        "unnamed.test",
        "wrong.test",
        "useless.test",
        "missing.test",
        "there.plain",
        "there.broken",
    ];
    let (key, whole) = (digest(&certificate.0, false), digest(&certificate.0, true));
    let vouching = digest(&authority, true);
    let there = There::new(&domains, certificate);
    let at = there.server.address();
    let server = |domain: &str| format!("{domain}. 60 IN MX 10 mx.{domain}.\nmx.{domain}. 60 IN A {at}\n");
    let tlsa = |domain: &str, data: &str| format!("_25._tcp.mx.{domain}. 60 IN TLSA {data}\n");
    let nobodys = "00".repeat(32);
    let root: String = domains[..7].iter().map(|domain| server(domain)).collect();
    let root = root
        + &tlsa("key.test", &format!("3 1 1 {nobodys}"))
        + &tlsa("key.test", &format!("3 1 1 {key}"))
        + &tlsa("whole.test", &format!("3 0 1 {whole}"))
        + &tlsa("authority.test", &format!("2 0 1 {vouching}"))
        + &tlsa("unnamed.test", &format!("2 0 1 {vouching}"))
        + &tlsa("wrong.test", &format!("3 1 1 {nobodys}"))
        + &tlsa("useless.test", &format!("1 1 1 {nobodys}"));
    let plain = server("there.plain") + &tlsa("there.plain", &format!("3 1 1 {nobodys}"));
    let Some(zone) = SignedZone::start(&root, &plain, &server("there.broken")) else {
        return;
    };
    let (server, alice) = sender(&zone, &authority);
    let done = expect(
        &server,
        &alice,
        &there,
        &[
            ("there.broken", Some("4.4.3 DNSSEC fails for there.broken")),
            ("wrong.test", Some("\t4.7.5 DANE: mx.wrong.test at ")),
            ("unnamed.test", Some("\t4.7.5 DANE: mx.unnamed.test at ")),
            ("key.test", None),
            ("whole.test", None),
            ("authority.test", None),
            ("useless.test", None),
            ("missing.test", None),
            // What is not signed proves nothing.
            ("there.plain", None),
        ],
    );
    let Some(()) = done else { return };
    let list = server.command(&["queue", "list"]);
    assert_eq!(list.lines().count(), 3, "{list}");
    there.server.check_store();
    server.check_store();
}

/// RFC 7672 §2.1: where the signatures are too old, there is neither a record to go by nor the knowledge that there is none. Such
/// mail waits, and is not sent in the clear; what is for others goes.
// Guards pitfall SMTP 6.
#[test]
fn mail_waits_where_signatures_have_expired_and_other_mail_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let Some((authority, certificate)) = certificates_for(folder.path(), &["mx.other.test"], 2) else {
        return;
    };
    let key = digest(&certificate.0, false);
    let there = There::new(
        &["half.test", "all.expired", "good.test", "bare.test"],
        certificate,
    );
    let at = there.server.address();
    let server = |domain: &str, ttl_s: u32| {
        format!("{domain}. {ttl_s} IN MX 10 mx.{domain}.\nmx.{domain}. {ttl_s} IN A {at}\n")
    };
    // Of the first, the way to its server is signed, and what its records say has expired, be it ever so right.
    let root = server("half.test", 60)
        + &server("good.test", 60)
        + &format!("_25._tcp.mx.good.test. 60 IN TLSA 3 1 1 {key}\n")
        + &server("bare.test", 60);
    let tlsa = format!("_25._tcp.mx.half.test. 1 IN TLSA 3 1 1 {key}\n");
    let whole = server("all.expired", 1) + &format!("_25._tcp.mx.all.expired. 1 IN TLSA 3 1 1 {key}\n");
    let expired = [("_tcp.mx.half.test.", tlsa.as_str()), ("expired.", &whole)];
    let Some(zone) = SignedZone::start_with_expired(&root, "", "", &expired) else {
        return;
    };
    let (server, alice) = sender(&zone, &authority);
    let mails = [
        (
            "half.test",
            Some("\t4.7.5 DANE: DNSSEC fails for the TLSA records of mx.half.test"),
        ),
        ("all.expired", Some("\t4.4.3 DNSSEC fails for all.expired")),
        ("good.test", None),
        ("bare.test", None),
    ];
    let Some(()) = expect(&server, &alice, &there, &mails) else {
        return;
    };
    server.expect_metric("mail_sent_total", 2.0);
    server.expect_metric("mail_queue", 2.0);
    there.server.check_store();
    server.check_store();
}

fn policy(mode: &str, server: &str) -> String {
    format!("version: STSv1\r\nmode: {mode}\r\nmx: {server}\r\nmax_age: 86400\r\n")
}

#[test]
fn a_domains_policy_keeps_its_mail_from_servers_that_do_not_prove_their_names() {
    let folder = tempfile::tempdir().unwrap();
    let good = [
        "right.test",
        "other.test",
        "testing.test",
        "taken.test",
        "moved.test",
        "gone.test",
    ];
    let domains = [&good[..], &["unnamed.test"]].concat();
    let mut names: Vec<String> = good.iter().map(|domain| format!("mx.{domain}")).collect();
    // The last one's policy host has a certificate for another name.
    let hosts = domains.iter().filter(|domain| **domain != "gone.test");
    names.extend(hosts.map(|domain| format!("mta-sts.{domain}")));
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let Some((authority, certificate)) = certificates_for(folder.path(), &names, 2) else {
        return;
    };
    let policies = [
        ("mta-sts.right.test", policy("enforce", "*.right.test")),
        ("mta-sts.other.test", policy("enforce", "mx.right.test")),
        ("mta-sts.testing.test", policy("testing", "mx.right.test")),
        ("mta-sts.taken.test", policy("none", "mx.right.test")),
        (
            "mta-sts.moved.test",
            "moved: https://mta-sts.other.test/.well-known/mta-sts.txt".to_owned(),
        ),
        ("mta-sts.gone.test", policy("enforce", "mx.right.test")),
        ("mta-sts.unnamed.test", policy("enforce", "mx.unnamed.test")),
        ("mta-sts.late.test", policy("enforce", "mx.late.test")),
    ];
    let policies: Vec<(&str, &str)> = policies
        .iter()
        .map(|(host, text)| (*host, text.as_str()))
        .collect();
    let Some(web) = Policies::start(folder.path(), &certificate, &policies) else {
        return;
    };
    let there = There::new(&domains, certificate);
    let zone = |domain: &str, at: Ipv4Addr| {
        format!(
            "{domain}. 60 IN MX 10 mx.{domain}.\nmx.{domain}. 60 IN A {at}\n\
             _mta-sts.{domain}. 60 IN TXT \"v=STSv1; id=1;\"\nmta-sts.{domain}. 60 IN A {}\n",
            web.address
        )
    };
    let at = there.server.address();
    let plain: String = domains.iter().map(|domain| zone(domain, at)).collect();
    // They stand in the root, where there are no TLSA records of theirs.
    let Some(dns) = SignedZone::start(&plain, "", "") else {
        return;
    };
    let (mut server, alice) = sender(&dns, &authority);
    let mails = [
        ("right.test", None),
        (
            "other.test",
            Some("4.7.5 MTA-STS: mx.other.test is not among the servers that the policy of other.test"),
        ),
        ("unnamed.test", Some("4.7.5 MTA-STS: mx.unnamed.test at ")),
        ("testing.test", None),
        ("taken.test", None),
        ("moved.test", None),
        ("gone.test", None),
    ];
    let Some(()) = expect(&server, &alice, &there, &mails) else {
        return;
    };
    let log = server.log();
    assert!(log.contains("https://mta-sts.moved.test answered 301"), "{log}");
    assert!(log.contains("https://mta-sts.gone.test: "), "{log}");
    // What was fetched holds over a restart, with nobody to fetch it from.
    drop(web);
    server.stop();
    server.run();
    let Some(()) = submit(&server, &alice, &["carol@other.test"], &[]) else {
        return;
    };
    server.command(&["queue", "retry"]);
    server.expect_metric("mail_queue", 3.0);
    assert!(!there.has_mail("other.test"));
    server.check_store();
}

#[test]
fn an_expired_certificate_is_none_for_a_policy_and_good_enough_for_a_record_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let web_folder = tempfile::tempdir().unwrap();
    let Some((_, expired)) = certificates_for(folder.path(), &["mx.late.test", "mx.named.test"], -1) else {
        return;
    };
    let Some((authority, good)) = certificates_for(web_folder.path(), &["mta-sts.late.test"], 2) else {
        return;
    };
    let text = policy("enforce", "mx.late.test");
    let Some(web) = Policies::start(web_folder.path(), &good, &[("mta-sts.late.test", &text)]) else {
        return;
    };
    let key = digest(&expired.0, false);
    let both = folder.path().join("authorities");
    let pems = [authority, folder.path().join("ca.pem")].map(|path| std::fs::read_to_string(path).unwrap());
    std::fs::write(&both, pems.concat()).unwrap();
    let there = There::new(&["late.test", "named.test"], expired);
    let at = there.server.address();
    let zone = format!(
        "late.test. 60 IN MX 10 mx.late.test.\nmx.late.test. 60 IN A {at}\n\
         _mta-sts.late.test. 60 IN TXT \"v=STSv1; id=1;\"\nmta-sts.late.test. 60 IN A {}\n\
         named.test. 60 IN MX 10 mx.named.test.\nmx.named.test. 60 IN A {at}\n\
         _25._tcp.mx.named.test. 60 IN TLSA 3 1 1 {key}\n",
        web.address
    );
    let Some(dns) = SignedZone::start(&zone, "", "") else {
        return;
    };
    let (server, alice) = sender(&dns, &both);
    let mails = [
        ("late.test", Some("4.7.5 MTA-STS: mx.late.test at ")),
        ("named.test", None),
    ];
    let Some(()) = expect(&server, &alice, &there, &mails) else {
        return;
    };
    let list = server.command(&["queue", "list"]);
    let shown = server.command(&["queue", "show", list.split('\t').next().unwrap()]);
    assert!(shown.contains("xpired"), "{shown}");
}
