use super::*;
use crate::structure::Content;

const HELLO: &str =
    "Date: Wed, 17 Jul 1996 02:23:25 -0700\nFrom: terry@example.org\nSubject: Hello\n\nHow are you?\n";

fn hello() -> Talk {
    Talk::with_messages(&[
        ("", HELLO),
        ("\\Seen", "Subject: two\n\nbody two\n"),
        ("x", "Subject: three\n\n3\n"),
    ])
}

#[test]
fn flags_and_uids_are_told_without_a_question() {
    let mut talk = hello();
    assert_eq!(
        talk.say("a FETCH 1:* (FLAGS UID)\r\n"),
        "* 1 FETCH (FLAGS (\\Recent) UID 1)\r\n* 2 FETCH (FLAGS (\\Seen \\Recent) UID 2)\r\n\
         * 3 FETCH (FLAGS (x \\Recent) UID 3)\r\na OK Done\r\n"
    );
    assert!(talk.mail.asked.is_empty());
}

#[test]
fn the_macros_stand_for_their_items() {
    let mut talk = hello();
    let fast = talk.say("a FETCH 2 FAST\r\n");
    let size = "Subject: two\r\n\r\nbody two\r\n".len();
    let start = "* 2 FETCH (FLAGS (\\Seen \\Recent) INTERNALDATE \"17-Jul-1996 09:44:25 +0000\" RFC822.SIZE";
    assert_eq!(fast, format!("{start} {size})\r\na OK Done\r\n"));
    let all = talk.say("a FETCH 2 ALL\r\n");
    let envelope = "ENVELOPE (NIL \"two\" NIL NIL NIL NIL NIL NIL NIL NIL)";
    assert_eq!(all, format!("{start} {size} {envelope})\r\na OK Done\r\n"));
    let full = talk.say("a FETCH 2 full\r\n");
    let body = "BODY (\"TEXT\" \"PLAIN\" (\"CHARSET\" \"us-ascii\") NIL NIL \"7BIT\" 10 1)";
    assert_eq!(
        full,
        format!("{start} {size} {envelope} {body})\r\na OK Done\r\n")
    );
    assert!(talk.say("a FETCH 2 (FAST UID)\r\n").starts_with("a BAD"));
}

#[test]
fn a_body_is_streamed_and_becomes_seen_unless_peeked_at() {
    let mut talk = hello();
    let text = HELLO.replace('\n', "\r\n");
    let size = text.len();
    assert_eq!(
        talk.say("a FETCH 1 BODY.PEEK[]\r\n"),
        format!("* 1 FETCH (BODY[] {{{size}}}\r\n{text})\r\na OK Done\r\n")
    );
    assert_eq!(
        talk.say("a UID FETCH 1 BODY[TEXT]\r\n"),
        "* 1 FETCH (UID 1 BODY[TEXT] {14}\r\nHow are you?\r\n FLAGS (\\Seen \\Recent))\r\na OK Done\r\n"
    );
    assert!(
        talk.mail.boxes["INBOX"].messages[0]
            .state
            .flags
            .is(SystemFlag::Seen)
    );
    // It is told once.
    assert_eq!(talk.say("a NOOP\r\n"), "a OK Done\r\n");
}

#[test]
fn nothing_becomes_seen_in_a_mailbox_that_is_examined() {
    let mut talk = hello();
    talk.say("a EXAMINE INBOX\r\n");
    let heard = talk.say("a FETCH 1 RFC822\r\n");
    assert!(heard.starts_with("* 1 FETCH (RFC822 {") && !heard.contains("FLAGS"));
    assert!(!talk.mail.asked.contains(&"Store"));
    assert!(
        talk.say("a STORE 1 FLAGS (\\Seen)\r\n")
            .starts_with("a NO [READ-ONLY]")
    );
    assert!(talk.say("a EXPUNGE\r\n").starts_with("a NO [READ-ONLY]"));
    assert!(talk.say("a MOVE 1 INBOX\r\n").starts_with("a NO [READ-ONLY]"));
    talk.mail.asked.clear();
    assert!(talk.say("a CLOSE\r\n").starts_with("a OK"));
    assert!(talk.mail.asked.is_empty());
}

#[test]
fn a_message_that_cannot_be_marked_is_still_shown() {
    let mut talk = hello();
    talk.hold();
    talk.say("a FETCH 1 BODY[TEXT]\r\n");
    let fetch = talk.held.take().unwrap().remove(0);
    let answer = talk.mail.answer(fetch.ask);
    talk.session.handle_answer(talk.now, fetch.id, answer);
    talk.mail.refuse = Some(Refusal::Unavailable);
    let heard = talk.hear();
    assert!(
        heard.contains("How are you?") && heard.ends_with("a OK Done\r\n"),
        "{heard}"
    );
}

#[test]
fn headers_fields_and_partials() {
    let mut talk = hello();
    assert_eq!(
        talk.say("a FETCH 1 BODY.PEEK[HEADER.FIELDS (SUBJECT \"to\")]\r\n"),
        "* 1 FETCH (BODY[HEADER.FIELDS (SUBJECT to)] {18}\r\nSubject: Hello\r\n\r\n)\r\na OK Done\r\n"
    );
    let heard = talk.say("a FETCH 1 (BODY.PEEK[HEADER.FIELDS.NOT (Date From)] UID)\r\n");
    assert!(heard.contains("(BODY[HEADER.FIELDS.NOT (Date From)] {18}\r\nSubject: Hello\r\n\r\n UID 1)"));
    let heard = talk.say("a FETCH 1 BODY.PEEK[TEXT]<4.3>\r\n");
    assert!(heard.contains("(BODY[TEXT]<4> {3}\r\nare)"), "{heard}");
    let heard = talk.say("a FETCH 1 BODY.PEEK[HEADER.FIELDS (Subject)]<9.5>\r\n");
    assert!(
        heard.contains("(BODY[HEADER.FIELDS (Subject)]<9> {5}\r\nHello)"),
        "{heard}"
    );
    let heard = talk.say("a FETCH 1 RFC822.HEADER\r\n");
    assert!(heard.contains("(RFC822.HEADER {") && !heard.contains("\\Seen"));
}

#[test]
fn partials_past_the_end_are_empty_and_missing_parts_are_nil() {
    // Guards pitfall IMAP 8: partial fetches past the end; NIL against "".
    let mut talk = hello();
    assert!(
        talk.say("a FETCH 1 BODY.PEEK[TEXT]<100.5>\r\n")
            .contains("(BODY[TEXT]<100> \"\")")
    );
    assert!(
        talk.say("a FETCH 1 BODY.PEEK[TEXT]<12.4294967295>\r\n")
            .contains("<12> {2}\r\n\r\n)")
    );
    assert!(talk.say("a FETCH 1 BODY.PEEK[2]\r\n").contains("(BODY[2] NIL)"));
    assert!(
        talk.say("a FETCH 1 BODY.PEEK[1.HEADER]\r\n")
            .contains("(BODY[1.HEADER] NIL)")
    );
    assert!(
        talk.say("a FETCH 1 BODY.PEEK[1]\r\n")
            .contains("(BODY[1] {14}\r\nHow are you?\r\n)")
    );
    // RFC 3501 §9: a name is any astring, and no field is called that.
    assert!(
        talk.say("a FETCH 1 BODY.PEEK[HEADER.FIELDS (Subject:)]\r\n")
            .contains("(BODY[HEADER.FIELDS (Subject:)] {2}\r\n\r\n)\r\na OK")
    );
    for bad in [
        "[0]",
        "[MIME]",
        "[]<1>",
        "[]<1.0>",
        "[1.]",
        "[HEADER.FIELDS ()]",
        "[X]",
        "[1",
        "[HEADER.FIELDS (\"a b\")]",
    ] {
        assert!(
            talk.say(&format!("b FETCH 1 BODY.PEEK{bad}\r\n"))
                .starts_with("b BAD"),
            "{bad}"
        );
    }
}

#[test]
fn parts_of_a_message_within_a_message() {
    // Guards pitfall IMAP 8: message/rfc822, BODY[1.MIME] and BODY[1.HEADER].
    let text = "outer: 1\n\n--b\nmime: 2\n\ninner: 3\n\ntext\n--b--\n";
    let mut talk = Talk::with_messages(&[("\\Seen", text)]);
    let inner = Part::single(33..45, 45..49, 1, "text", "plain");
    let mut message = Part::single(17..28, 28..49, 3, "message", "rfc822");
    message.content = Content::Message {
        envelope: Box::default(),
        message: Box::new(inner.clone()),
    };
    // The offsets are those with CR LF.
    let at = |needle: &str| text.replace('\n', "\r\n").find(needle).unwrap() as u64;
    message.header = at("mime")..at("inner");
    message.body = at("inner")..at("\r\n--b--");
    if let Content::Message { message, .. } = &mut message.content {
        message.header = at("inner")..at("text");
        message.body = at("text")..at("\r\n--b--");
    }
    let mut whole = Part::single(
        0..at("--b\r\n"),
        at("--b\r\n")..text.replace('\n', "\r\n").len() as u64,
        9,
        "",
        "",
    );
    whole.content = Content::Multipart {
        subtype: "mixed".into(),
        parts: vec![message],
    };
    talk.mail.structures.insert(1, whole);
    let mut fetch = |section: &str| {
        let heard = talk.say(&format!("a FETCH 1 BODY[{section}]\r\n"));
        let start = format!("* 1 FETCH (BODY[{section}] ");
        heard
            .strip_prefix(&start)
            .unwrap()
            .strip_suffix(")\r\na OK Done\r\n")
            .unwrap()
            .to_owned()
    };
    assert_eq!(fetch("1.MIME"), "{11}\r\nmime: 2\r\n\r\n");
    assert_eq!(fetch("1.HEADER"), "{12}\r\ninner: 3\r\n\r\n");
    assert_eq!(fetch("1.TEXT"), "{4}\r\ntext");
    assert_eq!(fetch("1"), "{16}\r\ninner: 3\r\n\r\ntext");
    assert_eq!(fetch("1.1"), "{4}\r\ntext");
    assert_eq!(fetch("1.1.MIME"), "{12}\r\ninner: 3\r\n\r\n");
    assert_eq!(fetch("1.1.1"), "NIL");
    assert_eq!(fetch("1.2"), "NIL");
    assert_eq!(fetch("HEADER"), "{12}\r\nouter: 1\r\n\r\n");
}

#[test]
fn messages_are_asked_for_in_portions() {
    let texts: Vec<(&str, &str)> = (0..300).map(|_| ("\\Seen", "Subject: s\n\nb\n")).collect();
    let mut talk = Talk::with_messages(&texts);
    let heard = talk.say("a FETCH 1:* (UID RFC822.SIZE)\r\n");
    assert_eq!(heard.lines().count(), 301);
    assert!(heard.contains("* 300 FETCH (UID 300 RFC822.SIZE 17)"));
    assert_eq!(talk.mail.asked, ["Fetch"; 3]);
}

#[test]
fn numbers_that_do_not_exist_are_an_error_and_uids_are_not() {
    let mut talk = hello();
    assert!(talk.say("a FETCH 4 FLAGS\r\n").starts_with("a BAD"));
    assert!(talk.say("a FETCH 2:9 FLAGS\r\n").starts_with("a BAD"));
    assert_eq!(talk.say("a UID FETCH 9 FLAGS\r\n"), "a OK Done\r\n");
    assert_eq!(
        talk.say("a UID FETCH 9:* (UID)\r\n"),
        "* 3 FETCH (UID 3)\r\na OK Done\r\n"
    );
    assert_eq!(talk.say("a UID STORE 9 FLAGS (x)\r\n"), "a OK Done\r\n");
    assert!(talk.say("a UID COPY 9 INBOX\r\n").starts_with("a OK"));
    let mut talk = Talk::with_messages(&[]);
    assert!(talk.say("a FETCH * FLAGS\r\n").starts_with("a BAD"));
    assert_eq!(talk.say("a UID FETCH 1:* FLAGS\r\n"), "a OK Done\r\n");
}

#[test]
fn store_tells_the_flags_unless_asked_to_be_silent() {
    let mut talk = hello();
    assert_eq!(
        talk.say("a STORE 1:2 +FLAGS (\\Deleted)\r\n"),
        "* 1 FETCH (UID 1 FLAGS (\\Deleted \\Recent))\r\n\
         * 2 FETCH (UID 2 FLAGS (\\Deleted \\Seen \\Recent))\r\na OK Done\r\n"
    );
    assert_eq!(talk.say("a STORE 1 -FLAGS.SILENT \\Deleted\r\n"), "a OK Done\r\n");
    assert!(talk.say("a FETCH 1 FLAGS\r\n").contains("(FLAGS (\\Recent))"));
    assert_eq!(
        talk.say("a UID STORE 3 FLAGS \\Draft\r\n"),
        "* 3 FETCH (UID 3 FLAGS (\\Draft \\Recent))\r\na OK Done\r\n"
    );
    for bad in [
        "FLAGS",
        "FLAGS (\\Recent)",
        "*FLAGS (x)",
        "FLAGS.LOUD (x)",
        "FLAGS (",
    ] {
        assert!(
            talk.say(&format!("b STORE 1 {bad}\r\n")).starts_with("b BAD"),
            "{bad}"
        );
    }
}

// RFC 3501 §7.1 and §9: the grammar has system flags of later standards, and what cannot be kept is passed over; the response
// says what is there.
#[test]
fn a_system_flag_that_nobody_has_defined_is_not_kept_and_no_error() {
    let mut talk = hello();
    for (change, flags) in [
        ("+FLAGS (\\Foo)", "\\Recent"),
        ("+FLAGS \\Foo \\Flagged", "\\Flagged \\Recent"),
        ("-FLAGS (\\Foo)", "\\Flagged \\Recent"),
        ("FLAGS (\\Foo \\Seen)", "\\Seen \\Recent"),
    ] {
        assert_eq!(
            talk.say(&format!("a STORE 1 {change}\r\n")),
            format!("* 1 FETCH (UID 1 FLAGS ({flags}))\r\na OK Done\r\n"),
            "{change}"
        );
    }
}

#[test]
fn a_new_keyword_is_told_before_it_is_shown() {
    let mut talk = hello();
    let heard = talk.say("a STORE 1 +FLAGS.SILENT (brandnew)\r\n");
    assert!(heard.starts_with(
        "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft brandnew x)\r\n* OK [PERMANENTFLAGS"
    ));
    assert!(
        !talk
            .say("a STORE 2 +FLAGS.SILENT (BRANDNEW)\r\n")
            .contains("FLAGS (")
    );
}

#[test]
fn silence_does_not_hide_what_another_session_did() {
    let mut talk = hello();
    talk.mail
        .change_flags("INBOX", 1, &crate::FlagChange::Add(flags_of("\\Flagged")));
    let heard = talk.say("a STORE 1 +FLAGS.SILENT (\\Seen)\r\n");
    assert!(
        heard.starts_with("* 1 FETCH (UID 1 FLAGS (\\Flagged \\Seen \\Recent))\r\n"),
        "{heard}"
    );
}

#[test]
fn a_search_that_the_session_can_decide_asks_nothing() {
    let mut talk = hello();
    assert_eq!(talk.say("a SEARCH UNSEEN\r\n"), "* SEARCH 1 3\r\na OK Done\r\n");
    assert_eq!(
        talk.say("a SEARCH 2:3 KEYWORD X\r\n"),
        "* SEARCH 3\r\na OK Done\r\n"
    );
    assert_eq!(talk.say("a SEARCH NOT ALL\r\n"), "* SEARCH\r\na OK Done\r\n");
    assert_eq!(
        talk.say("a UID SEARCH OR SEEN (UID 3 NEW)\r\n"),
        "* SEARCH 2 3\r\na OK Done\r\n"
    );
    assert_eq!(talk.say("a SEARCH 9:*\r\n"), "* SEARCH 3\r\na OK Done\r\n");
    assert!(talk.mail.asked.is_empty());
}

#[test]
fn a_search_in_text_asks_only_of_those_left_undecided() {
    let mut talk = hello();
    assert_eq!(
        talk.say("a SEARCH UNSEEN SUBJECT HELL\r\n"),
        "* SEARCH 1\r\na OK Done\r\n"
    );
    assert_eq!(talk.mail.asked, ["Search"]);
    assert_eq!(
        talk.say("a SEARCH OR SEEN BODY \"are you\"\r\n"),
        "* SEARCH 1 2\r\na OK Done\r\n"
    );
    assert_eq!(
        talk.say("a SEARCH TEXT {3+}\r\ntwo\r\n"),
        "* SEARCH 2\r\na OK Done\r\n"
    );
    assert_eq!(
        talk.say("a SEARCH HEADER Date \"\"\r\n"),
        "* SEARCH 1\r\na OK Done\r\n"
    );
    assert_eq!(
        talk.say("a SEARCH FROM Terry SENTON 17-Jul-1996\r\n"),
        "* SEARCH 1\r\na OK Done\r\n"
    );
    assert_eq!(
        talk.say("a SEARCH SINCE \"17-Jul-1996\" LARGER 40\r\n"),
        "* SEARCH 1\r\na OK Done\r\n"
    );
    assert_eq!(
        talk.say("a SEARCH BEFORE 17-Jul-1996\r\n"),
        "* SEARCH\r\na OK Done\r\n"
    );
    talk.mail.refuse = Some(Refusal::Unavailable);
    assert_eq!(
        talk.say("a SEARCH BODY x\r\n"),
        "* SEARCH\r\na NO [UNAVAILABLE] Not now; try again later\r\n"
    );
}

#[test]
fn charsets_of_a_search() {
    // Guards pitfall IMAP 9: charset and BADCHARSET.
    let mut talk = Talk::with_messages(&[("", "Subject: Grüße\n\nx\n")]);
    assert_eq!(
        talk.say("a SEARCH CHARSET utf-8 TEXT {7+}\r\nGRÜSSE\r\n"),
        "* SEARCH\r\na OK Done\r\n"
    );
    assert_eq!(
        talk.say("a SEARCH CHARSET UTF-8 SUBJECT {7+}\r\nGRÜßE\r\n"),
        "* SEARCH 1\r\na OK Done\r\n"
    );
    assert_eq!(
        talk.say("a SEARCH CHARSET US-ASCII ALL\r\n"),
        "* SEARCH 1\r\na OK Done\r\n"
    );
    let heard = talk.say("a SEARCH CHARSET KOI8-R ALL\r\n");
    assert!(heard.starts_with("a NO [BADCHARSET (US-ASCII UTF-8)]"));
}

#[test]
fn searches_that_make_no_sense_are_refused() {
    let mut talk = hello();
    let deep = "NOT ".repeat(1_001) + "ALL";
    let wide = "(".repeat(100) + "ALL" + &")".repeat(100);
    let many = "ALL ".repeat(1001) + "ALL";
    for bad in [
        "",
        "OR ALL",
        "NOT",
        "()",
        "(ALL",
        "ALL ",
        "ON x",
        "LARGER -1",
        "HEADER x",
        &deep,
        &wide,
        &many,
    ] {
        assert!(
            talk.say(&format!("a SEARCH {bad}\r\n")).starts_with("a BAD"),
            "{bad}"
        );
        talk.say("a NOOP\r\n");
    }
}

#[test]
fn a_search_of_many_leaves_in_pieces_and_in_order() {
    let texts: Vec<(&str, &str)> = (0..1_700)
        .map(|i| {
            if i % 3 == 0 {
                ("\\Seen", "Subject: a\n\nx\n")
            } else {
                ("", "Subject: b\n\nx\n")
            }
        })
        .collect();
    let mut talk = Talk::with_messages(&texts);
    let heard = talk.say("a SEARCH OR SEEN SUBJECT b\r\n");
    let numbers: Vec<u32> = heard.lines().next().unwrap()[9..]
        .split(' ')
        .map(|n| n.parse().unwrap())
        .collect();
    assert_eq!(numbers, (1..=1_700).collect::<Vec<_>>());
    assert!(talk.mail.asked.len() > 1);
}

#[test]
fn copies_tell_old_and_new_uids() {
    let mut talk = hello();
    talk.mail.create("Box");
    assert_eq!(
        talk.say("a COPY 1:2 Box\r\n"),
        "a OK [COPYUID 9 1:2 1:2] Done\r\n"
    );
    assert_eq!(
        talk.say("a UID COPY 1,3 Box\r\n"),
        "a OK [COPYUID 9 1,3 3:4] Done\r\n"
    );
    // RFC 3501 §6.4.7: a mailbox that is missing is not made, but the client is told that it may.
    assert!(talk.say("a COPY 1 Nix\r\n").starts_with("a NO [TRYCREATE]"));
    talk.mail.refuse = Some(Refusal::OverQuota);
    assert!(talk.say("a COPY 1 Box\r\n").starts_with("a NO [OVERQUOTA]"));
    talk.mail.refuse = Some(Refusal::NoRoom);
    assert_eq!(
        talk.say("a COPY 1 Box\r\n"),
        "a NO [UNAVAILABLE] The server's disk is full; try again later\r\n"
    );
}

#[test]
fn move_tells_the_uids_first_and_then_what_is_gone() {
    let mut talk = hello();
    talk.mail.create("Box");
    assert_eq!(
        talk.say("a MOVE 1:2 Box\r\n"),
        "* OK [COPYUID 9 1:2 1:2] Moved\r\n* 2 EXPUNGE\r\n* 1 EXPUNGE\r\na OK Done\r\n"
    );
    assert_eq!(
        talk.say("a FETCH 1 UID\r\n"),
        "* 1 FETCH (UID 3)\r\na OK Done\r\n"
    );
}

#[test]
fn expunge_removes_what_is_deleted() {
    let mut talk = hello();
    talk.say("a STORE 1,3 +FLAGS.SILENT (\\Deleted)\r\n");
    assert_eq!(talk.say("a UID EXPUNGE 2:3\r\n"), "* 3 EXPUNGE\r\na OK Done\r\n");
    assert_eq!(talk.say("a EXPUNGE\r\n"), "* 1 EXPUNGE\r\na OK Done\r\n");
    assert_eq!(talk.say("a EXPUNGE\r\n"), "a OK Done\r\n");
}

#[test]
fn close_expunges_in_silence_and_unselect_does_not() {
    let mut talk = hello();
    talk.say("a STORE 1 +FLAGS.SILENT (\\Deleted)\r\n");
    assert_eq!(talk.say("a UNSELECT\r\n"), "a OK Done\r\n");
    assert_eq!(talk.mail.boxes["INBOX"].messages.len(), 3);
    talk.say("a SELECT INBOX\r\n");
    assert_eq!(talk.say("a CLOSE\r\n"), "a OK Done\r\n");
    assert_eq!(talk.mail.boxes["INBOX"].messages.len(), 2);
    assert!(talk.say("a FETCH 1 FLAGS\r\n").starts_with("a BAD"));
}

#[test]
fn pipelined_commands_run_in_order() {
    // Guards pitfall IMAP 4: STORE, then EXPUNGE, then FETCH.
    let mut talk = hello();
    let heard = talk.say("a STORE 1 +FLAGS.SILENT (\\Deleted)\r\nb EXPUNGE\r\nc FETCH 1 UID\r\n");
    assert_eq!(
        heard,
        "a OK Done\r\n* 1 EXPUNGE\r\nb OK Done\r\n* 1 FETCH (UID 2)\r\nc OK Done\r\n"
    );
}

#[test]
fn append_streams_a_message_into_a_mailbox() {
    let mut talk = hello();
    // RFC 3501 §6.3.11.
    let text = "Subject: x\r\n\r\nbody\r\n";
    let size = text.len();
    let heard = talk.say(&format!(
        "a APPEND INBOX (\\Seen) \" 7-Feb-1994 21:52:25 -0800\" {{{size}}}\r\n"
    ));
    assert_eq!(heard, "+ Ready for the message\r\n");
    assert_eq!(talk.say(&text[..5]), "");
    assert_eq!(talk.say(&text[5..]), "");
    assert_eq!(talk.say("\r\n"), "a OK [APPENDUID 7 4] Done\r\n");
    let stored = talk.mail.boxes["INBOX"].messages.last().unwrap();
    assert_eq!(stored.text, text.as_bytes());
    assert_eq!(stored.state.flags, flags_of("\\Seen"));
    assert_eq!(stored.date.to_string(), "1994-02-08T05:52:25.000Z");
    let heard = talk.say(&format!("b APPEND inbox {{{size}+}}\r\n{text}\r\nc NOOP\r\n"));
    assert_eq!(heard, "b OK [APPENDUID 7 5] Done\r\nc OK Done\r\n");
}

#[test]
fn an_append_that_is_refused_costs_only_itself() {
    let mut talk = hello();
    assert!(talk.say("a APPEND Nix {5}\r\n").starts_with("a NO [TRYCREATE]"));
    assert_eq!(talk.say("b NOOP\r\n"), "b OK Done\r\n");
    // A message that comes unasked is thrown away to the last byte.
    let heard = talk.say("c APPEND Nix {5+}\r\nd NOO\r\ne NOOP\r\n");
    assert!(
        heard.starts_with("c NO [TRYCREATE]") && heard.ends_with("\r\ne OK Done\r\n"),
        "{heard}"
    );
    assert!(!heard.contains("d "));
    assert!(
        talk.say("f APPEND INBOX {99999999999}\r\n")
            .starts_with("f NO [TOOBIG]")
    );
    assert!(talk.say("g APPEND INBOX {0}\r\n").starts_with("g NO [CANNOT]"));
    assert!(
        talk.say("h APPEND INBOX {4+}\r\na\0b\n\r\n")
            .starts_with("h NO [CANNOT]")
    );
    let heard = talk.say("i APPEND INBOX {2+}\r\nab x {2+}\r\ncd\r\nj NOOP\r\n");
    assert!(
        heard.starts_with("i BAD") && heard.ends_with("\r\nj OK Done\r\n"),
        "{heard}"
    );
    assert!(talk.mail.appending.is_empty());
    assert!(
        talk.say("k APPEND INBOX (\\Seen) nodate {2}\r\n")
            .starts_with("k BAD")
    );
}

#[test]
fn a_fetch_says_what_it_will_ask_for_next() {
    let messages: Vec<_> = (0..700).map(|_| ("", "a")).collect();
    let mut talk = Talk::with_messages(&messages);
    talk.say("a FETCH 2:600,700 (RFC822.SIZE)\r\n");
    let all: Vec<Uid> = (2..=600).chain([700]).collect();
    let portion = ringpost_base::limits::IMAP_PORTION;
    assert_eq!(talk.mail.fetched.len(), 5);
    for (n, (uids, then)) in talk.mail.fetched.iter().enumerate() {
        let (from, to) = (n * portion, ((n + 1) * portion).min(all.len()));
        assert_eq!(*uids, all[from..to]);
        assert_eq!(
            *then,
            all[to..(to + limits::IMAP_PORTIONS_AHEAD * portion).min(all.len())]
        );
    }
    talk.mail.fetched.clear();
    talk.say("a FETCH 1 (RFC822.SIZE)\r\n");
    assert_eq!(talk.mail.fetched, [(vec![1], vec![])]);
}

#[test]
fn what_an_answer_to_fetch_leaves_for_later_is_asked_for_again() {
    let mut talk = Talk::with_messages(&[("", "a"), ("", "b"), ("", "c"), ("", "d"), ("", "e")]);
    talk.mail.at_most = Some(2);
    // The first and the last are gone for good.
    for mailbox in talk.mail.boxes.values_mut() {
        mailbox.messages.retain(|m| ![1, 5].contains(&m.state.uid));
    }
    let heard = talk.say("a FETCH 1:5 (UID RFC822.SIZE)\r\n");
    let uids: Vec<&str> = heard
        .lines()
        .filter(|l| l.starts_with("* "))
        .map(|l| &l[..15])
        .collect();
    assert_eq!(uids, ["* 2 FETCH (UID ", "* 3 FETCH (UID ", "* 4 FETCH (UID "]);
    assert!(heard.contains("a OK [EXPUNGEISSUED]"), "{heard}");
}

#[test]
fn messages_that_are_gone_for_good_are_told_of() {
    let mut talk = hello();
    talk.mail.boxes.get_mut("INBOX").unwrap().messages.remove(0);
    let heard = talk.say("a FETCH 1:2 RFC822.SIZE\r\n");
    assert!(heard.starts_with("* 2 FETCH") && heard.contains("a OK [EXPUNGEISSUED]"));
    assert!(
        talk.say("a STORE 1 +FLAGS (\\Seen)\r\n")
            .starts_with("a NO [EXPUNGEISSUED]")
    );
}

#[test]
fn the_rfcs_own_conversation() {
    // RFC 3501 §8, and the examples of §6.4.4 to §6.4.6.
    let text = "Date: Wed, 17 Jul 1996 02:23:25 -0700\nFrom: smith@example.org\nSubject: x\n\nbody\n";
    let flags = ["\\Seen", "\\Flagged", "\\Deleted", "\\Flagged \\Seen"];
    let messages: Vec<(&str, &str)> = flags.iter().map(|f| (*f, text)).collect();
    let mut talk = Talk::with_messages(&messages);
    let heard = talk.say("A654 FETCH 2:4 (FLAGS BODY.PEEK[HEADER.FIELDS (DATE FROM)])\r\n");
    let header = "Date: Wed, 17 Jul 1996 02:23:25 -0700\r\nFrom: smith@example.org\r\n\r\n";
    let fields = format!(
        "BODY[HEADER.FIELDS (DATE FROM)] {{{}}}\r\n{header})\r\n",
        header.len()
    );
    assert_eq!(heard.matches(&fields).count(), 3);
    assert!(heard.starts_with("* 2 FETCH (FLAGS (\\Flagged \\Recent) BODY["));
    assert!(heard.ends_with("A654 OK Done\r\n"));
    let heard = talk.say("A282 SEARCH FLAGGED SINCE 1-Feb-1994 NOT FROM \"Jones\"\r\n");
    assert_eq!(heard, "* SEARCH 2 4\r\nA282 OK Done\r\n");
    assert_eq!(
        talk.say("A283 SEARCH TEXT \"string not in mailbox\"\r\n"),
        "* SEARCH\r\nA283 OK Done\r\n"
    );
    let heard = talk.say("A003 STORE 2:4 +FLAGS (\\Deleted)\r\n");
    assert!(
        heard.contains("* 4 FETCH (UID 4 FLAGS (\\Flagged \\Deleted \\Seen \\Recent))\r\n"),
        "{heard}"
    );
    assert_eq!(talk.say("A202 EXPUNGE\r\n").matches(" EXPUNGE\r\n").count(), 3);
}

/// A message of two parts, the second in base64 and the third in a way that nobody knows.
fn parts() -> Talk {
    let text = "Subject: x\r\n\r\nplain\r\nAAECAw==\r\n=41=\r\nB";
    let mut talk = Talk::with_messages(&[("", ""), ("", "")]);
    talk.mail.boxes.get_mut("INBOX").unwrap().messages[0].text = text.into();
    let part = |range: std::ops::Range<u64>, encoding: &str| {
        let mut part = Part::single(range.start..range.start, range, 1, "application", "x");
        part.encoding = encoding.into();
        part
    };
    let mut whole = Part::single(0..14, 14..38, 4, "multipart", "mixed");
    whole.content = crate::structure::Content::Multipart {
        subtype: "MIXED".into(),
        parts: vec![
            part(14..19, "8bit"),
            part(21..31, "BASE64"),
            part(31..38, "quoted-printable"),
            part(14..19, "x-uuencode"),
        ],
    };
    talk.mail.structures.insert(1, whole);
    talk
}

#[test]
fn binary_undoes_the_transfer_encoding() {
    let mut talk = parts();
    let mut said =
        |text: &str| String::from_utf8_lossy(talk.say(&format!("a {text}\r\n")).as_bytes()).into_owned();
    assert_eq!(
        said("FETCH 1 (BINARY.SIZE[2] BINARY.PEEK[2])"),
        "* 1 FETCH (BINARY.SIZE[2] 4 BINARY[2] ~{4}\r\n\0\u{1}\u{2}\u{3})\r\na OK Done\r\n"
    );
    assert_eq!(
        said("FETCH 1 (BINARY.PEEK[3] BINARY.PEEK[1]<1.2> BINARY.PEEK[2]<1.2>)"),
        "* 1 FETCH (BINARY[3] {2}\r\nAB BINARY[1]<1> {2}\r\nla BINARY[2]<1> {2}\r\n\u{1}\u{2})\r\na OK Done\r\n"
    );
    assert_eq!(
        said("FETCH 1 (BINARY.PEEK[9] BINARY.SIZE[9])"),
        "* 1 FETCH (BINARY[9] NIL BINARY.SIZE[9] 0)\r\na OK Done\r\n"
    );
    assert!(said("FETCH 1 BINARY.SIZE[]").contains("BINARY.SIZE[] 38)"));
    // Without PEEK it is seen.
    assert!(said("FETCH 1 BINARY[1]").contains("FLAGS (\\Seen"));
    // What cannot be decoded fails; the others are told.
    let heard = said("FETCH 1:2 (UID BINARY.PEEK[4])");
    assert!(
        heard.starts_with("* 2 FETCH (UID 2 BINARY[4] NIL)\r\na NO [UNKNOWN-CTE]"),
        "{heard}"
    );
    assert!(said("FETCH 1 BINARY.SIZE[4]").starts_with("a NO [UNKNOWN-CTE]"));
    for bad in [
        "BINARY",
        "BINARY[TEXT]",
        "BINARY[1.MIME]",
        "BINARY.SIZE[1]<0.1>",
        "BINARY[0]",
        "BINARY[1]<1.0>",
    ] {
        assert!(said(&format!("FETCH 1 {bad}")).starts_with("a BAD"), "{bad}");
    }
}

#[test]
fn preview_tells_how_the_text_begins() {
    let mut talk = Talk::with_messages(&[("", "Subject: x\n\n")]);
    let expected = "* 1 FETCH (PREVIEW {13}\r\nHello, w\u{f6}rld UID 1)\r\na OK Done\r\n";
    assert_eq!(talk.say("a FETCH 1 (PREVIEW UID)\r\n"), expected);
    assert_eq!(talk.say("a FETCH 1 (PREVIEW (LAZY) UID)\r\n"), expected);
    assert!(talk.say("a FETCH 1 PREVIEW\r\n").contains("PREVIEW {13}"));
    assert!(talk.say("a FETCH 1 PREVIEW (SLOW)\r\n").starts_with("a BAD"));
}

#[test]
fn a_literal8_may_hold_nul_and_no_other_literal() {
    // Guards pitfall IMAP 6: each kind of literal keeps to its own bounds.
    let mut talk = Talk::logged_in();
    assert!(talk.say("a APPEND INBOX ~{5}\r\n").starts_with("+ "));
    assert!(talk.say("x\0y\r\n\r\n").contains("a OK [APPENDUID 7 1]"));
    assert_eq!(talk.mail.boxes["INBOX"].messages[0].text, b"x\0y\r\n");
    assert!(
        talk.say("a APPEND INBOX {5+}\r\nx\0y\r\n\r\n")
            .starts_with("a NO [CANNOT]")
    );
    assert!(talk.say("a APPEND INBOX ~{5+}\r\nx\0y\r\n\r\n").contains("a OK"));
    assert!(talk.say("a CREATE ~{1}\r\n").starts_with("a BAD"));
    assert!(
        talk.say("a APPEND INBOX UTF8 (~{5+}\r\nx: y\n)\r\n")
            .contains("a OK")
    );
    assert!(
        talk.say("a APPEND INBOX UTF8 (~{5+}\r\nx: y\n\r\n")
            .starts_with("a BAD")
    );
    assert!(
        talk.say("a APPEND INBOX UTF8 ({5+}\r\nx: y\n)\r\n")
            .starts_with("a BAD")
    );
    assert!(talk.say("a NOOP\r\n").starts_with("a OK"));
}

#[test]
fn envelopes_come_raw_only_to_who_takes_utf8() {
    // Guards pitfall IMAP 8: no raw 8-bit without UTF8=ACCEPT.
    let mut talk = Talk::with_messages(&[("", "Subject: Grüße\n\n")]);
    let heard = talk.say("a FETCH 1 ENVELOPE\r\n");
    assert!(heard.is_ascii() && heard.contains("=?UTF-8?"), "{heard}");
    talk.say("a ENABLE UTF8=ACCEPT\r\n");
    assert!(talk.say("a FETCH 1 ENVELOPE\r\n").contains("(NIL \"Grüße\" "));
    assert!(
        talk.say("a FETCH 1 PREVIEW\r\n")
            .contains("PREVIEW \"Hello, wörld\"")
    );
}
