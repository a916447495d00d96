use super::*;
use crate::testing::Table;
use ringpost_base::UnixTime;

fn peer() -> Peer {
    Peer {
        address: "192.0.2.9".parse().unwrap(),
        helo: "mx.other.test".to_owned(),
        sender: Some(("x".to_owned(), "other.test".to_owned())),
        now: UnixTime::from_secs(1_700_000_000),
    }
}

async fn look(table: &Table, config: Config, message: &[u8]) -> Findings {
    let verifier = Verifier::new(Arc::new(table.clone()), config);
    let mut inspection = verifier.begin(peer()).unwrap();
    message.chunks(7).for_each(|chunk| inspection.write(chunk));
    inspection.finish().await
}

#[tokio::test]
async fn what_an_authors_domain_wants_is_done() {
    for (policy, rejects, expected) in [
        ("reject", true, Action::Refuse),
        ("reject", false, Action::Junk),
        ("quarantine", true, Action::Junk),
        ("none", true, Action::Deliver),
    ] {
        let mut table = Table::default();
        table.txt("_dmarc.bank.test", &format!("v=DMARC1; p={policy}"));
        let config = Config {
            rejects,
            ..Config::new("mx.test")
        };
        let findings = look(&table, config, b"From: <a@bank.test>\r\n\r\nbody\r\n").await;
        assert_eq!(findings.action, expected, "{policy}");
        assert!(
            findings.fields.ends_with(&format!(
                "spf=none smtp.mailfrom=other.test;\r\n\tdkim=none;\r\n\tdmarc=fail (p={policy}) header.from=bank.test\r\n"
            )),
            "{}",
            findings.fields
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_dns_that_does_not_answer_refuses_nobody() {
    let mut table = Table::default();
    table
        .txt("_dmarc.bank.test", "v=DMARC1; p=reject")
        .fail("other.test");
    let findings = look(
        &table,
        Config::new("mx.test"),
        b"From: <a@bank.test>\r\n\r\nbody\r\n",
    )
    .await;
    assert_eq!(findings.action, Action::Deliver);
    assert!(findings.fields.contains("dmarc=temperror"), "{}", findings.fields);

    struct Silent;
    impl Names for Silent {
        fn texts(&self, _: &str) -> BoxFuture<'static, crate::Answer<Vec<u8>>> {
            std::future::pending().boxed()
        }
        fn addresses(&self, _: &str, _: bool) -> BoxFuture<'static, crate::Answer<IpAddr>> {
            std::future::pending().boxed()
        }
        fn exchangers(&self, _: &str) -> BoxFuture<'static, crate::Answer<String>> {
            std::future::pending().boxed()
        }
        fn pointers(&self, _: IpAddr) -> BoxFuture<'static, crate::Answer<String>> {
            std::future::pending().boxed()
        }
    }
    let verifier = Verifier::new(Arc::new(Silent), Config::new("mx.test"));
    let mut inspection = verifier.begin(peer()).unwrap();
    inspection.write(b"From: <a@bank.test>\r\n\r\nbody\r\n");
    let findings = inspection.finish().await;
    assert_eq!(findings.action, Action::Deliver);
    assert!(findings.fields.contains("spf=temperror"), "{}", findings.fields);
}

#[tokio::test]
async fn two_authors_are_none_and_a_header_without_end_is_not_read() {
    let mut table = Table::default();
    table.txt("_dmarc.bank.test", "v=DMARC1; p=reject");
    let two = b"From: a@other.test\r\nFrom: a@bank.test\r\n\r\n";
    let findings = look(&table, Config::new("mx.test"), two).await;
    assert!(findings.fields.contains("dmarc=permerror"), "{}", findings.fields);
    let long = [
        b"From: a@bank.test\r\nX: ",
        &vec![b'x'; limits::MESSAGE_HEADER_BYTES][..],
    ]
    .concat();
    let findings = look(&table, Config::new("mx.test"), &long).await;
    assert!(findings.fields.contains("dmarc=permerror"), "{}", findings.fields);
    // A message that is all header is one.
    let findings = look(&table, Config::new("mx.test"), b"From: a@bank.test\r\n").await;
    assert_eq!(findings.action, Action::Refuse);
}

#[test]
fn who_is_trusted_is_not_looked_at() {
    let config = Config {
        trusted: vec![Network {
            address: "192.0.2.0".parse().unwrap(),
            prefix_bits: 24,
        }],
        ..Config::new("mx.test")
    };
    let verifier = Verifier::new(Arc::new(Table::default()), config);
    assert!(verifier.begin(peer()).is_none());
    let mapped = Peer {
        address: "::ffff:192.0.2.200".parse().unwrap(),
        ..peer()
    };
    assert!(verifier.begin(mapped).is_none());
    let other = Peer {
        address: "192.0.3.1".parse().unwrap(),
        ..peer()
    };
    assert!(verifier.begin(other).is_some());
}
