//! What senders are told of success and failure, here and by the next server (RFC 3461).

use super::*;

const KNOWS_DSN: &str = "250-there\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 DSN\r\n";

// Guards pitfall SMTP 7: DSN parameters are kept across hops.
#[test]
fn what_the_sender_wants_to_be_told_goes_on_to_a_server_that_knows_it() {
    let mut house = House::new();
    house.domain("there.test", "mx.there.test", "203.0.113.1");
    house.listen(ONE);
    let client = house.signed_in();
    house.say(&client, &format!("MAIL FROM:<{ALICE}> RET=HDRS ENVID=QQ+2B1\r\n"));
    house.say(
        &client,
        "RCPT TO:<x@there.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;X+2Bx@there.test\r\n",
    );
    house.say(&client, "RCPT TO:<y@there.test> NOTIFY=NEVER\r\n");
    house.say(&client, "DATA\r\n");
    house.say(&client, "Subject: x\r\n\r\nhi\r\n.\r\n");
    let server = house.accept(ONE);
    house.lab.say(&server, "220 there\r\n");
    let envelope = house.lab.say(&server, KNOWS_DSN);
    assert!(
        envelope.starts_with(&format!("MAIL FROM:<{ALICE}> RET=HDRS ENVID=QQ+2B1\r\n")),
        "{envelope}"
    );
    for rcpt in [
        "RCPT TO:<x@there.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;X+2Bx@there.test\r\n",
        "RCPT TO:<y@there.test> NOTIFY=NEVER\r\n",
    ] {
        assert!(envelope.contains(rcpt), "{envelope}");
    }
    house.take(
        &server,
        "250 ok\r\n250 ok\r\n550 5.1.1 who\r\n354 go\r\n",
        "250 queued\r\n",
    );
    assert_eq!(
        house.inbox(),
        Vec::<String>::new(),
        "the next server tells of x, and nobody of y"
    );
    assert_eq!(house.ground.mail.queue_len(), 0);
    house.check();
}

#[test]
fn success_is_told_where_the_next_server_will_not_and_where_it_is_here() {
    let mut house = House::new();
    house.domain("there.test", "mx.there.test", "203.0.113.1");
    house.listen(ONE);
    let client = house.signed_in();
    house.say(&client, &format!("MAIL FROM:<{ALICE}> ENVID=QQ+2B1\r\n"));
    house.say(
        &client,
        "RCPT TO:<x@there.test> NOTIFY=SUCCESS ORCPT=rfc822;X+2Bx@there.test\r\n",
    );
    house.say(&client, "RCPT TO:<bob@example.org> NOTIFY=SUCCESS,FAILURE\r\n");
    house.say(&client, "DATA\r\n");
    house.say(&client, "Subject: x\r\n\r\nhi\r\n.\r\n");
    let inbox = house.inbox();
    let [here] = &inbox[..] else { panic!("{inbox:?}") };
    for part in [
        "Subject: Your message was delivered\r\n",
        "Original-Envelope-Id: QQ+1\r\n",
        "\r\n\r\nFinal-Recipient: rfc822; bob@example.org\r\nAction: delivered\r\nStatus: 2.0.0\r\n",
    ] {
        assert!(here.contains(part), "{part:?} in {here}");
    }
    let server = house.accept(ONE);
    house.greet(&server);
    house.take(&server, "250 ok\r\n250 ok\r\n354 go\r\n", "250 2.6.0 queued\r\n");
    let inbox = house.inbox();
    let [_, relayed] = &inbox[..] else {
        panic!("{inbox:?}")
    };
    for part in [
        "Subject: Your message was handed on\r\n",
        "Original-Recipient: rfc822; X+x@there.test\r\nFinal-Recipient: rfc822; x@there.test\r\nAction: relayed\r\n",
        "Diagnostic-Code: smtp; 250 2.6.0 queued\r\n",
    ] {
        assert!(relayed.contains(part), "{part:?} in {relayed}");
    }
    house.lab.pass(Duration::from_secs(6 * 86_400));
    assert_eq!((house.inbox().len(), house.ground.mail.queue_len()), (2, 0));
    house.check();
}

#[test]
fn a_stranger_hears_of_success_by_mail_and_a_failure_brings_the_whole_message_back() {
    let mut house = House::new();
    house.domain("else.test", "mx.else.test", "203.0.113.2");
    house.domain("there.test", "mx.there.test", "203.0.113.1");
    house.listen(ONE);
    house.listen(TWO);
    let client = house.connect(Role::Mx);
    house.say(&client, "EHLO else.test\r\n");
    house.say(&client, "MAIL FROM:<carol@else.test>\r\n");
    house.say(&client, &format!("RCPT TO:<{ALICE}> NOTIFY=SUCCESS\r\n"));
    house.say(&client, "DATA\r\n");
    house.say(&client, "Subject: x\r\n.\r\n");
    let server = house.accept(TWO);
    assert!(house.greet(&server).starts_with("MAIL FROM:<> "));
    let body = house.lab.say(&server, "250 ok\r\n250 ok\r\n354 go\r\n");
    assert!(body.contains("Action: delivered\r\n"), "{body}");
    house.lab.say(&server, "250 queued\r\n");

    let client = house.signed_in();
    house.say(&client, &format!("MAIL FROM:<{ALICE}> RET=FULL\r\n"));
    house.say(&client, "RCPT TO:<x@there.test>\r\n");
    house.say(&client, "DATA\r\n");
    house.say(&client, "Subject: x\r\n\r\nall of it\r\n.\r\n");
    let server = house.accept(ONE);
    house.greet(&server);
    house.lab.say(&server, "250 ok\r\n550 5.1.1 who\r\n503 no\r\n");
    let inbox = house.inbox();
    assert_eq!(inbox.len(), 2);
    let report = inbox.last().unwrap();
    assert!(
        report.contains("Content-Type: message/rfc822\r\n") && report.contains("\r\n\r\nall of it\r\n"),
        "{report}"
    );
    house.check();
}
