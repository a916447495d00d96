//! What becomes of strangers' mail: block lists of a DNS of the test's own, scores, and greylisting, as swaks meets them.

#![allow(clippy::unwrap_used)] // A test says what it missed by panicking.

use ringpost_interop::{Account, Dns, Options, Record, Server, mails, swaks, wait_for};
use std::net::Ipv4Addr;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);
const LISTED: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// A server that looks at everybody's mail, and asks this DNS.
fn server(zone: Vec<Record>, incoming: &str) -> (Server, Account, Dns) {
    let dns = Dns::start(zone);
    let server = Server::start_with(&Options {
        dns: Some(dns.address()),
        incoming: format!("relays = []\n{incoming}"),
        ..Options::default()
    });
    let alice = server.account("alice");
    (server, alice, dns)
}

/// Brings a message from one of this machine's addresses, and says how that ended.
fn bring(server: &Server, from: &str, sender: &str, to: &str) -> Option<String> {
    let envelope = ["--local-interface", from, "--from", sender, "--to", to];
    let forged = ["--add-header", "X-Spam-Status: No, score=-99"];
    let more = [&envelope[..], &["--header", "Subject: hello"], &forged].concat();
    Some(swaks(server, 2525, &more)?.output)
}

const TAKEN: &str = "250 2.0.0 Ok: ";

// RFC 5782 §2.1 and §5.
#[test]
fn who_is_in_a_block_list_is_refused_and_a_list_that_does_not_work_is_passed_over() {
    let zone = vec![
        Record::A("2.0.0.127.list.test", LISTED),
        Record::A("9.0.0.127.list.test", LISTED),
        Record::A("8.0.0.127.list.test", Ipv4Addr::new(192, 0, 2, 1)),
        // One without its test entry.
        Record::A("10.0.0.127.broken.test", LISTED),
    ];
    let lists = "block_lists = [{ zone = \"list.test\", action = \"refuse\" }, { zone = \"broken.test\", action = \"refuse\" }]\n";
    let (server, alice, _dns) = server(zone, lists);
    let Some(said) = bring(&server, "127.0.0.9", "x@other.test", &alice.address) else {
        return;
    };
    assert!(
        said.contains("550 5.7.1 Your address is in the DNS block list list.test;"),
        "{said}"
    );
    let said = bring(&server, "127.0.0.9", "x@other.test", "postmaster@interop.test").unwrap();
    assert!(said.contains(TAKEN), "{said}");
    for from in ["127.0.0.8", "127.0.0.10", "127.0.0.11"] {
        let said = bring(&server, from, "x@other.test", &alice.address).unwrap();
        assert!(said.contains(TAKEN), "{from}: {said}");
    }
    assert!(server.log().contains("is not heeded"), "{}", server.log());
    server.check_store();
}

#[test]
fn what_scores_as_junk_goes_there_and_says_why_unless_the_account_wants_it_otherwise() {
    let zone = vec![
        Record::A("2.0.0.127.list.test", LISTED),
        Record::A("9.0.0.127.list.test", LISTED),
        Record::Txt("good.test".into(), "v=spf1 ip4:127.0.0.0/8 -all".into()),
    ];
    let (server, alice, _dns) = server(zone, "block_lists = [{ zone = \"list.test\", score = 5.5 }]\n");
    let Some(said) = bring(&server, "127.0.0.9", "x@good.test", &alice.address) else {
        return;
    };
    assert!(said.contains(TAKEN), "{said}");
    let said = bring(&server, "127.0.0.10", "x@good.test", &alice.address).unwrap();
    assert!(said.contains(TAKEN), "{said}");
    let junk = mails(&server, &alice, "Junk");
    let [junk] = &junk[..] else { panic!("{junk:?}") };
    // The list, a name of the address that leads elsewhere (resolvers call all of 127.0.0.0/8 localhost), and SPF that is right.
    assert!(
        junk.contains("X-Spam-Flag: YES\r\nX-Spam-Score: 6.0\r\n"),
        "{junk}"
    );
    assert!(
        junk.contains("tests=DNSBL(list.test),RDNS_UNCONFIRMED,SPF_PASS\r\n"),
        "{junk}"
    );
    let inbox = mails(&server, &alice, "INBOX");
    let [mail] = &inbox[..] else { panic!("{inbox:?}") };
    assert!(
        mail.contains("X-Spam-Status: No, score=0.5 required=5.0"),
        "{mail}"
    );
    assert!(
        !mail.contains("score=-99") && !mail.contains("X-Spam-Flag"),
        "{mail}"
    );
    server.command(&["account", "set", &alice.address, "--junk", "off"]);
    bring(&server, "127.0.0.9", "x@good.test", &alice.address).unwrap();
    assert_eq!(mails(&server, &alice, "INBOX").len(), 2);
    server.check_store();
}

#[test]
fn who_comes_for_the_first_time_comes_again_and_is_known_after_a_crash_too() {
    let zone = vec![Record::Txt(
        "good.test".into(),
        "v=spf1 ip4:127.0.0.0/8 -all".into(),
    )];
    let (mut server, alice, _dns) = server(zone, "greylist = true\ngreylist_delay_s = 2\n");
    let Some(said) = bring(&server, "127.0.0.1", "x@good.test", &alice.address) else {
        return;
    };
    assert!(
        said.contains(TAKEN),
        "its domain says that it is its server: {said}"
    );
    let tries = |server: &Server| bring(server, "127.0.0.1", "x@other.test", &alice.address).unwrap();
    let said = tries(&server);
    assert!(said.contains("451 4.7.1 Greylisted"), "{said}");
    assert!(wait_for(LIMIT, || tries(&server).contains(TAKEN)));
    server.kill();
    server.run();
    let said = tries(&server);
    assert!(said.contains(TAKEN), "{said}");
    let said = bring(&server, "127.0.1.1", "x@other.test", &alice.address).unwrap();
    assert!(said.contains("451 4.7.1 Greylisted"), "another network: {said}");
    assert_eq!(mails(&server, &alice, "INBOX").len(), 3);
    server.check_store();
}
