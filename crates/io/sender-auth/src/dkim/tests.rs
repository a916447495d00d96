use super::verify::{DkimResult, Signatures};
use crate::names::Asker;
use crate::testing::Table;
use ringpost_base::UnixTime;
use std::sync::Arc;

// The message of RFC 8463's appendix A.3, and its keys.
//= https://www.rfc-editor.org/rfc/rfc8463#appendix-A.3
const SIGNED: &str = "\
DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n\
\x20d=football.example.com; i=@football.example.com;\r\n\
\x20q=dns/txt; s=brisbane; t=1528637909; h=from : to :\r\n\
\x20subject : date : message-id : from : subject : date;\r\n\
\x20bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n\
\x20b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus\r\n\
\x20Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==\r\n\
DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;\r\n\
\x20d=football.example.com; i=@football.example.com;\r\n\
\x20q=dns/txt; s=test; t=1528637909; h=from : to : subject :\r\n\
\x20date : message-id : from : subject : date;\r\n\
\x20bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n\
\x20b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3\r\n\
\x20DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz\r\n\
\x20dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=\r\n\
From: Joe SixPack <joe@football.example.com>\r\n\
To: Suzie Q <suzie@shopping.example.net>\r\n\
Subject: Is dinner ready?\r\n\
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n\
Message-ID: <20030712040037.46341.5F8J@football.example.com>\r\n\
\r\n\
Hi.\r\n\
\r\n\
We lost the game.  Are you hungry yet?\r\n\
\r\n\
Joe.\r\n\
";

const RSA_KEY: &str = "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWR\
                       iGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutAC\
                       DfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3\
                       Ip3G+2kryOTIKT+l/K4w3QIDAQAB";
const ED25519_KEY: &str = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

fn keys() -> Table {
    let mut table = Table::default();
    table
        .txt("test._domainkey.football.example.com", RSA_KEY)
        .txt("brisbane._domainkey.football.example.com", ED25519_KEY);
    table
}

async fn results(table: Table, message: &str) -> Vec<(DkimResult, &'static str)> {
    let (header, body) = message.split_once("\r\n\r\n").unwrap();
    let mut signatures = Signatures::new(format!("{header}\r\n").into_bytes());
    body.as_bytes()
        .chunks(11)
        .for_each(|chunk| signatures.body(chunk));
    let asker = Asker::new(Arc::new(table));
    let checked = signatures
        .finish(&asker, UnixTime::from_secs(1_600_000_000))
        .await;
    checked.into_iter().map(|one| (one.result, one.why)).collect()
}

#[tokio::test]
async fn the_example_of_the_rfc_is_signed_with_both_algorithms() {
    assert_eq!(results(keys(), SIGNED).await, [(DkimResult::Pass, ""); 2]);
}

#[tokio::test]
async fn a_changed_message_is_not_what_was_signed() {
    let body = (DkimResult::Fail, "the body was changed");
    let header = (DkimResult::Fail, "the signature is not the key's");
    for (from, to, expected) in [
        ("lost the game", "won the game", body),
        ("Subject: Is", "Subject: is", header),
        ("To: Suzie Q", "To: Suzie", header),
        // A field that was signed as absent, and one that is there twice: From is named twice.
        ("Subject:", "From: evil@x.test\r\nSubject:", header),
    ] {
        let changed = SIGNED.replace(from, to);
        assert_ne!(changed, SIGNED);
        assert_eq!(results(keys(), &changed).await, [expected; 2], "{to}");
    }
    for (from, to) in [
        ("To: Suzie Q", "to  :  Suzie   Q "),
        ("Hi.", "Hi. \t"),
        ("Joe.\r\n", "Joe.\r\n\r\n\r\n"),
        ("From: Joe", "X-Other: x\r\nFrom: Joe"),
    ] {
        let same = SIGNED.replace(from, to);
        assert_ne!(same, SIGNED);
        assert_eq!(results(keys(), &same).await, [(DkimResult::Pass, ""); 2], "{to}");
    }
}

#[tokio::test]
async fn a_key_that_is_not_there_or_cannot_be_asked_for_is_told_apart() {
    let mut table = Table::default();
    table.fail("test._domainkey.football.example.com");
    assert_eq!(
        results(table, SIGNED).await,
        [
            (DkimResult::PermError, "there is no key"),
            (DkimResult::TempError, "the key could not be asked for")
        ]
    );
    let mut table = Table::default();
    table
        .txt("test._domainkey.football.example.com", ED25519_KEY)
        .txt("brisbane._domainkey.football.example.com", "v=DKIM1; p=")
        .txt(
            "brisbane._domainkey.football.example.com",
            &ED25519_KEY.replace("11qY", "11qZ"),
        );
    assert_eq!(
        results(table, SIGNED).await,
        [
            (DkimResult::Fail, "the signature is not the key's"),
            (DkimResult::PermError, "the key is of another kind")
        ]
    );
    let mut table = Table::default();
    table
        .txt(
            "test._domainkey.football.example.com",
            &RSA_KEY.replace("k=rsa", "k=rsa; t=y"),
        )
        .txt("brisbane._domainkey.football.example.com", ED25519_KEY);
    assert_eq!(
        results(table, SIGNED).await,
        [
            (DkimResult::Pass, ""),
            (DkimResult::Neutral, "the domain is trying it out")
        ]
    );
}

#[tokio::test]
async fn of_many_signatures_the_topmost_are_checked() {
    let many = SIGNED.replace(
        "From: Joe",
        &format!("{}From: Joe", "DKIM-Signature: v=1\r\n".repeat(20)),
    );
    let all = results(keys(), &many).await;
    assert_eq!(all.len(), ringpost_base::limits::DKIM_SIGNATURES);
    assert_eq!(all[2].0, DkimResult::Neutral);
}
