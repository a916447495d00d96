use super::*;

#[test]
fn compress_is_answered_before_anything_is_compressed_and_only_once() {
    let mut talk = Talk::new();
    assert_eq!(talk.say("a COMPRESS DEFLATE\r\n"), "a BAD Log in first\r\n");
    let mut talk = Talk::logged_in();
    assert!(talk.say("a COMPRESS DEFLATE\r\n").starts_with("a OK"));
    assert!(talk.compressed);
    assert!(
        talk.say("a COMPRESS DEFLATE\r\n")
            .starts_with("a BAD [COMPRESSIONACTIVE]")
    );
    // What comes in the moment between is no stream.
    let mut talk = Talk::logged_in();
    talk.hold();
    talk.say("a COMPRESS DEFLATE\r\n");
    talk.say("b NOOP\r\n");
    assert!(talk.release().starts_with("* BYE"));
    assert!(talk.closed && !talk.compressed);
    let mut talk = Talk::logged_in();
    talk.mail.refuse = Some(Refusal::Limit("Enough"));
    assert_eq!(talk.say("a COMPRESS DEFLATE\r\n"), "a NO [LIMIT] Enough\r\n");
    assert!(!talk.compressed);
}

#[test]
fn input_may_come_in_any_pieces() {
    let script: &[u8] = b"a LOGIN {4+}\r\nfred \"secret\"\r\nb SELECT INBOX\r\nc APPEND INBOX (\\Seen) {21+}\r\n\
        Subject: x\r\n\r\nb{9+}\r\n\r\nd NOOP\r\ne SEARCH SUBJECT {1+}\r\nx\r\nf BOGUS {3+}\r\na\r\n {1+}\r\nx\r\n\
        g IDLE\r\nDONE\r\nh FETCH 1:* BODY[TEXT]\r\ni LOGOUT\r\n";
    let mut all_at_once = Talk::new();
    let expected = all_at_once.say_bytes(script);
    assert!(
        expected.contains("c OK [APPENDUID") && expected.contains("i OK"),
        "{expected}"
    );
    assert!(expected.contains("f BAD"));
    for split in 1..script.len() {
        let mut talk = Talk::new();
        let heard = talk.say_bytes(&script[..split]) + &talk.say_bytes(&script[split..]);
        assert_eq!(heard, expected, "split at {split}");
    }
    let mut talk = Talk::new();
    let heard: String = script.iter().map(|b| talk.say_bytes(&[*b])).collect();
    assert_eq!(heard, expected);
}

#[test]
fn a_line_without_an_end_closes_the_connection() {
    let mut talk = Talk::new();
    let mut heard = String::new();
    for _ in 0..70 {
        heard += &talk.say(&"x".repeat(1024));
    }
    assert!(heard.starts_with("* BYE [TOOBIG]") && talk.closed);
    assert_eq!(talk.say("a NOOP\r\n"), "");
}

#[test]
fn literals_before_login_are_bounded_in_size_and_number() {
    // Guards pitfall IMAP 6: count and total before login.
    let mut talk = Talk::new();
    assert!(talk.say("a LOGIN {5000}\r\n").starts_with("a BAD [TOOBIG]"));
    assert!(talk.say("b LOGIN {4294967296}\r\n").starts_with("b BAD [TOOBIG]"));
    assert!(talk.say("c LOGIN {3000}\r\n").starts_with("+ "));
    assert!(
        talk.say(&("x".repeat(3000) + " {2000}\r\n"))
            .starts_with("c BAD [TOOBIG]")
    );
    assert_eq!(talk.say("d NOOP\r\n"), "d OK Done\r\n");
    let many = "e ID (".to_owned() + &"{1+}\r\nx {1+}\r\ny ".repeat(40);
    let heard = talk.say(&(many + "{1+}\r\nz NIL)\r\nf NOOP\r\n"));
    assert!(
        heard.starts_with("e BAD") && heard.ends_with("f OK Done\r\n"),
        "{heard}"
    );
    assert!(talk.session.input.len() < 100);
}

#[test]
fn a_large_literal_may_not_come_unasked() {
    // Guards pitfall IMAP 6: LITERAL- above 4,096 octets.
    for line in [
        "a LOGIN {4097+}\r\n",
        "a APPEND INBOX {4097+}\r\n",
        "a BOGUS {4097+}\r\n",
        "a X {1+}\r\nx {4097+}\r\n",
    ] {
        let mut talk = Talk::new();
        assert!(talk.say(line).starts_with("* BYE [TOOBIG]"), "{line}");
        assert!(talk.closed);
    }
    let mut talk = Talk::with(
        Config {
            literal_plus: true,
            ..Config::default()
        },
        Tls::Active,
    );
    assert!(talk.hear().contains(" LITERAL+ "));
    talk.say("a LOGIN fred secret\r\n");
    let text = "Subject: x\r\n\r\n".to_owned() + &"x".repeat(100_000);
    let heard = talk.say(&format!("b APPEND INBOX {{{}+}}\r\n{text}\r\n", text.len()));
    assert!(heard.starts_with("b OK [APPENDUID"));
}

#[test]
fn a_literal_where_none_belongs_is_consumed_with_its_command() {
    // Guards pitfall IMAP 6: a refused literal is consumed.
    let mut talk = Talk::logged_in();
    let heard = talk.say("a SELECT INBOX {8+}\r\nb NOOP\r\n {4+}\r\nc NO\r\nd NOOP\r\n");
    assert!(
        heard.starts_with("a BAD") && heard.ends_with("\r\nd OK Done\r\n"),
        "{heard}"
    );
    assert_eq!(heard.lines().count(), 2);
    let heard = talk.say("e BOGUS {8}\r\nf NOOP\r\n");
    assert!(heard.starts_with("e BAD") && heard.ends_with("\r\nf OK Done\r\n"));
}

// RFC 3501 §4.3: a literal may be empty, and is announced, asked for and followed by the rest of its command all the same.
#[test]
fn an_empty_literal_is_one_like_any_other() {
    let mut talk = Talk::logged_in();
    let asked = talk.say("a LIST {0}\r\n");
    assert!(asked.starts_with("+ "), "{asked}");
    let heard = talk.say(" *\r\n");
    assert!(
        heard.starts_with("* LIST ") && heard.contains("\r\na OK"),
        "{heard}"
    );
    let heard = talk.say("b SELECT {0+}\r\n\r\nc LIST {0+}\r\n {0+}\r\n\r\nd NOOP\r\n");
    let lines: Vec<&str> = heard.lines().collect();
    assert!(
        lines[0].starts_with("b ") && lines.iter().any(|line| line.starts_with("c OK")),
        "{heard}"
    );
    assert!(
        heard.ends_with("\r\nd OK Done\r\n") && !heard.contains("* BAD"),
        "{heard}"
    );
    let mut talk = Talk::new();
    talk.hear();
    let heard = talk.say("a LOGIN {4+}\r\nfred {0+}\r\n\r\nb NOOP\r\n");
    assert!(heard.starts_with("a ") && !heard.contains("* BAD"), "{heard}");
}

#[test]
fn an_append_before_login_is_thrown_away() {
    let mut talk = Talk::new();
    let heard = talk.say("a APPEND INBOX {6+}\r\nb NOOP\r\nc NOOP\r\n");
    assert!(
        heard.starts_with("a BAD Log in first") && heard.ends_with("c OK Done\r\n"),
        "{heard}"
    );
    assert!(talk.mail.asked.is_empty());
}

#[test]
fn what_is_no_command_is_refused_and_ten_in_a_row_end_the_session() {
    let mut talk = Talk::new();
    assert!(talk.say("\r\n").starts_with("* BAD"));
    assert!(talk.say("a\r\n").starts_with("a BAD"));
    assert!(talk.say("+ NOOP\r\n").starts_with("* BAD"));
    assert!(talk.say("a NOOP now\r\n").starts_with("a BAD"));
    assert!(talk.say("a  NOOP\r\n").starts_with("a BAD"));
    assert_eq!(talk.say("a NOOP\n"), "a BAD A line ends with CR LF\r\n");
    assert!(talk.say("a LOGIN\r\n").contains("arguments"));
    talk.say("a NOOP\r\n");
    for _ in 0..9 {
        talk.say("GET / HTTP/1.1\r\n");
    }
    assert!(!talk.closed);
    assert!(talk.say("Host: x\r\n").contains("* BYE") && talk.closed);
}

#[test]
fn input_behind_a_question_waits_and_is_bounded() {
    let mut talk = Talk::with_messages(&[("", "a: b\n\nc\n")]);
    talk.hold();
    assert_eq!(talk.say("a FETCH 1 RFC822.SIZE\r\nb NOOP\r\n"), "");
    assert!(talk.session.wants_input());
    let mut sent = 0;
    while talk.session.wants_input() {
        assert_eq!(talk.say("c NOOP\r\n"), "");
        sent += 8;
    }
    assert!((limits::IMAP_PIPELINE_BYTES - 16..=limits::IMAP_PIPELINE_BYTES + 16).contains(&sent));
    let first = talk.release();
    assert!(first.starts_with("* 1 FETCH (RFC822.SIZE 11)\r\na OK Done\r\nb OK Done\r\nc OK Done\r\n"));
    assert!(talk.session.wants_input());
}

#[test]
fn an_answer_to_no_open_question_is_ignored() {
    let mut talk = Talk::logged_in();
    talk.session.handle_answer(talk.now, QuestionId(77), Answer::Done);
    assert_eq!(talk.hear(), "");
    talk.hold();
    talk.say("a CREATE x\r\n");
    talk.session.handle_answer(talk.now, QuestionId(77), Answer::Done);
    assert_eq!(talk.hear(), "");
    assert!(talk.release().starts_with("a OK"));
}

#[test]
fn an_answer_that_does_not_fit_is_the_servers_mistake() {
    let mut talk = Talk::logged_in();
    talk.hold();
    talk.say("a CREATE x\r\n");
    let question = talk.held.take().unwrap().remove(0);
    talk.session
        .handle_answer(talk.now, question.id, Answer::Found(vec![]));
    assert!(talk.hear().starts_with("a NO [SERVERBUG]"));
}

#[test]
fn a_silent_client_is_logged_out_after_half_an_hour_but_not_while_it_waits_for_us() {
    let mut talk = Talk::logged_in();
    assert_eq!(talk.wait(Duration::from_secs(29 * 60)), "");
    talk.say("a NOOP\r\n");
    assert_eq!(talk.wait(Duration::from_secs(29 * 60)), "");
    talk.hold();
    talk.say("b LIST \"\" *\r\n");
    assert_eq!(talk.wait(Duration::from_secs(31 * 60)), "");
    assert!(talk.release().contains("b OK"));
    assert!(
        talk.wait(Duration::from_secs(30 * 60))
            .starts_with("* BYE Autologout")
    );
    assert!(talk.closed);
}

#[test]
fn a_stopping_server_says_so_at_the_next_end_of_a_command() {
    let mut talk = Talk::with_messages(&[("", "a: b\n\nc\n")]);
    talk.session.shut_down(talk.now, "BYE The server stops");
    assert_eq!(talk.hear(), "* BYE The server stops\r\n");
    assert!(talk.closed);
    let mut talk = Talk::with_messages(&[("", "a: b\n\nc\n")]);
    talk.hold();
    talk.say("a SEARCH BODY c\r\n");
    talk.session.shut_down(talk.now, "BYE The server stops");
    assert_eq!(talk.release(), " 1\r\na OK Done\r\n* BYE The server stops\r\n");
    let mut talk = Talk::with_messages(&[]);
    talk.say("a APPEND INBOX {100}\r\nabc");
    talk.session.shut_down(talk.now, "BYE The server stops");
    assert!(talk.hear().starts_with("* BYE") && talk.mail.appending.is_empty());
}

#[test]
fn a_session_that_waits_holds_no_buffer() {
    let mut talk = Talk::with_messages(&[]);
    talk.say("a IDLE\r\n");
    assert_eq!(talk.session.input.capacity(), 0);
    assert_eq!(talk.session.out.bytes.capacity(), 0);
    assert!(size_of::<Session>() < 1024, "{}", size_of::<Session>());
}

#[test]
fn a_line_feed_behind_a_literal_is_no_line_end_whatever_the_literal_ends_with() {
    for literal in ["secret", "secre\r"] {
        let mut talk = Talk::new();
        talk.say("a LOGIN fred {6}\r\n");
        let said = talk.say(&format!("{literal}\n"));
        assert_eq!(said, "a BAD A line ends with CR LF\r\n", "{literal:?}");
        assert!(talk.say("b LOGIN fred secret\r\n").contains("b OK "));
    }
}
