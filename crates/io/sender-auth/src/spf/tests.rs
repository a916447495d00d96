use super::*;
use crate::testing::Table;
use std::sync::Arc;

async fn check_as(table: Table, address: &str, sender: &str) -> SpfResult {
    let (local, domain) = sender.split_once('@').unwrap();
    let query = Query::new(
        address.parse().unwrap(),
        "mail.example.com",
        Some((local, domain)),
    );
    check(&Asker::new(Arc::new(table)), &query).await
}

// The zone of the RFC's appendix A.
fn appendix() -> Table {
    let mut table = Table::default();
    table
        .mx("example.com", &["mail-a.example.com", "mail-b.example.com"])
        .a("example.com", &["192.0.2.10", "192.0.2.11"])
        .a("amy.example.com", &["192.0.2.65"])
        .a("bob.example.com", &["192.0.2.66"])
        .a("mail-a.example.com", &["192.0.2.129"])
        .a("mail-b.example.com", &["192.0.2.130"])
        .mx("example.org", &["mail-c.example.org"])
        .a("mail-c.example.org", &["192.0.2.140"])
        .ptr("192.0.2.10", &["example.com"])
        .ptr("192.0.2.65", &["amy.example.com"])
        .ptr("192.0.2.140", &["mail-c.example.org"])
        .ptr("10.0.0.4", &["bob.example.com"]);
    table
}

//= https://www.rfc-editor.org/rfc/rfc7208#appendix-A.1
#[tokio::test]
async fn the_examples_of_the_rfc_come_out_as_it_says() {
    for (record, passes, fails) in [
        ("v=spf1 +all", vec!["10.0.0.1"], vec![]),
        (
            "v=spf1 a -all",
            vec!["192.0.2.10", "192.0.2.11"],
            vec!["192.0.2.65"],
        ),
        ("v=spf1 a:example.org -all", vec![], vec!["192.0.2.140"]),
        (
            "v=spf1 mx -all",
            vec!["192.0.2.129", "192.0.2.130"],
            vec!["192.0.2.10"],
        ),
        (
            "v=spf1 mx:example.org -all",
            vec!["192.0.2.140"],
            vec!["192.0.2.129"],
        ),
        (
            "v=spf1 mx mx:example.org -all",
            vec!["192.0.2.129", "192.0.2.140"],
            vec!["192.0.2.65"],
        ),
        (
            "v=spf1 mx/30 mx:example.org/30 -all",
            vec!["192.0.2.131", "192.0.2.143"],
            vec!["192.0.2.132"],
        ),
        (
            "v=spf1 ptr -all",
            vec!["192.0.2.10", "192.0.2.65"],
            vec!["192.0.2.140", "10.0.0.4"],
        ),
        (
            "v=spf1 ip4:192.0.2.128/28 -all",
            vec!["192.0.2.129", "::ffff:192.0.2.140"],
            vec!["192.0.2.65", "::1"],
        ),
    ] {
        for (addresses, expected) in [(passes, SpfResult::Pass), (fails, SpfResult::Fail)] {
            for address in addresses {
                let mut table = appendix();
                table.txt("example.com", record);
                let result = check_as(table, address, "strong-bad@example.com").await;
                assert_eq!(result, expected, "{record} from {address}");
            }
        }
    }
}

//= https://www.rfc-editor.org/rfc/rfc7208#section-7.4
#[tokio::test]
async fn macros_expand_as_the_rfc_says() {
    for (spec, expanded) in [
        ("%{s}", "strong-bad@email.example.com"),
        ("%{o}", "email.example.com"),
        ("%{d}", "email.example.com"),
        ("%{d4}", "email.example.com"),
        ("%{d2}", "example.com"),
        ("%{d1}", "com"),
        ("%{dr}", "com.example.email"),
        ("%{d2r}", "example.email"),
        ("%{l}", "strong-bad"),
        ("%{l-}", "strong.bad"),
        ("%{lr-}", "bad.strong"),
        ("%{l1r-}", "strong"),
        ("%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"),
        ("%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com"),
        ("%{S}", "strong-bad%40email.example.com"),
        ("a%%b%_c%-d.%{d}", "a%b c%20d.email.example.com"),
    ] {
        let query = Query::new(
            "192.0.2.3".parse().unwrap(),
            "helo.example",
            Some(("strong-bad", "email.example.com")),
        );
        let of = Expansion {
            query: &query,
            domain: "email.example.com",
            validated: "unknown",
        };
        let spec = expand::Spec::parse_domain(spec).unwrap();
        assert_eq!(expand(&spec, &of), expanded);
    }
}

//= https://www.rfc-editor.org/rfc/rfc7208#section-4.6.4
#[tokio::test]
async fn a_domain_that_wants_too_many_lookups_is_in_error() {
    let mut table = Table::default();
    let all: String = (0..11).map(|n| format!("include:i{n}.test ")).collect();
    table.txt("many.test", &format!("v=spf1 {all}-all"));
    for n in 0..11 {
        table.txt(&format!("i{n}.test"), "v=spf1 ?all");
    }
    assert_eq!(
        check_as(table, "192.0.2.1", "a@many.test").await,
        SpfResult::PermError
    );

    let mut table = Table::default();
    table.txt("round.test", "v=spf1 include:round.test -all");
    assert_eq!(
        check_as(table, "192.0.2.1", "a@round.test").await,
        SpfResult::PermError
    );

    let mut table = Table::default();
    table.txt("again.test", "v=spf1 redirect=again.test");
    assert_eq!(
        check_as(table, "192.0.2.1", "a@again.test").await,
        SpfResult::PermError
    );

    let mut table = Table::default();
    table.txt("void.test", "v=spf1 a:a.test a:b.test a:c.test -all");
    assert_eq!(
        check_as(table, "192.0.2.1", "a@void.test").await,
        SpfResult::PermError
    );
}

#[tokio::test]
async fn a_dns_that_does_not_answer_is_a_temporary_error() {
    let mut table = Table::default();
    table.fail("down.test");
    assert_eq!(
        check_as(table, "192.0.2.1", "a@down.test").await,
        SpfResult::TempError
    );
    let mut table = Table::default();
    table
        .txt("half.test", "v=spf1 a:down.test -all")
        .fail("down.test");
    assert_eq!(
        check_as(table, "192.0.2.1", "a@half.test").await,
        SpfResult::TempError
    );
}
