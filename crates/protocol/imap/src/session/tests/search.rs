//! ESEARCH, SEARCHRES, WITHIN, OBJECTID, SAVEDATE, STATUS=SIZE, MULTIAPPEND and APPENDLIMIT.

use super::*;

fn four() -> Talk {
    Talk::with_messages(&[
        ("\\Seen", "Subject: a\n\n1\n"),
        ("", "Subject: b\n\n22\n"),
        ("\\Seen", "Subject: c\n\n333\n"),
        ("\\Seen \\Flagged", "Subject: d\n\n4444\n"),
    ])
}

#[test]
fn a_search_returns_what_it_is_asked_to() {
    // RFC 4731 §3.1.
    let mut talk = four();
    for (search, told) in [
        (
            "SEARCH RETURN (MIN MAX COUNT ALL) SEEN",
            "* ESEARCH (TAG \"a\") MIN 1 MAX 4 ALL 1,3:4 COUNT 3\r\n",
        ),
        ("SEARCH RETURN () SEEN", "* ESEARCH (TAG \"a\") ALL 1,3:4\r\n"),
        (
            "SEARCH RETURN (COUNT) UNFLAGGED",
            "* ESEARCH (TAG \"a\") COUNT 3\r\n",
        ),
        (
            "UID SEARCH RETURN (MAX) SUBJECT b",
            "* ESEARCH (TAG \"a\") UID MAX 2\r\n",
        ),
        (
            "SEARCH RETURN (MIN MAX ALL COUNT) DRAFT",
            "* ESEARCH (TAG \"a\") COUNT 0\r\n",
        ),
        (
            "UID SEARCH RETURN (ALL) CHARSET UTF-8 DRAFT",
            "* ESEARCH (TAG \"a\") UID\r\n",
        ),
    ] {
        assert_eq!(
            talk.say(&format!("a {search}\r\n")),
            format!("{told}a OK Done\r\n")
        );
    }
    // MODSEQ is that of the messages told (RFC 4731 §3.2).
    talk.say("a ENABLE CONDSTORE\r\n");
    for (search, told) in [
        ("RETURN (MIN)", "MIN 2 MODSEQ 2"),
        ("RETURN (MIN MAX)", "MIN 2 MAX 4 MODSEQ 4"),
        ("RETURN (MIN COUNT)", "MIN 2 COUNT 3 MODSEQ 4"),
    ] {
        assert_eq!(
            talk.say(&format!("a SEARCH {search} MODSEQ 2\r\n")),
            format!("* ESEARCH (TAG \"a\") {told}\r\na OK Done\r\n")
        );
    }
    for bad in [
        "RETURN",
        "RETURN (X) ALL",
        "RETURN ALL",
        "RETURN (ALL)",
        "RETURN (ALL",
    ] {
        assert!(
            talk.say(&format!("a SEARCH {bad}\r\na NOOP\r\n"))
                .starts_with("a BAD"),
            "{bad}"
        );
    }
}

/// The UIDs that were saved.
fn saved(talk: &mut Talk) -> String {
    let heard = talk.say("x UID SEARCH $\r\n");
    heard
        .strip_prefix("* SEARCH")
        .unwrap()
        .split("\r\n")
        .next()
        .unwrap()
        .trim()
        .to_owned()
}

#[test]
fn what_a_search_saved_can_be_named_by_the_next_commands() {
    // Guards pitfall IMAP 9: saved results. RFC 5182 §2.
    let mut talk = four();
    assert_eq!(talk.say("a FETCH $ UID\r\n"), "a OK Done\r\n");
    assert_eq!(talk.say("a SEARCH RETURN (SAVE) SEEN\r\n"), "a OK Done\r\n");
    assert_eq!(
        talk.say("a FETCH $ UID\r\n"),
        "* 1 FETCH (UID 1)\r\n* 3 FETCH (UID 3)\r\n* 4 FETCH (UID 4)\r\na OK Done\r\n"
    );
    // It is UIDs or sequence numbers as the command wants it, also when the numbers have changed.
    talk.mail.expunge("INBOX", |m| m.state.uid == 1);
    talk.changed(Changes {
        expunged: vec![1],
        ..Changes::default()
    });
    talk.say("a NOOP\r\n");
    assert_eq!(
        talk.say("a UID SEARCH UID $ FLAGGED\r\n"),
        "* SEARCH 4\r\na OK Done\r\n"
    );
    assert_eq!(talk.say("a SEARCH OR $ 1\r\n"), "* SEARCH 1 2 3\r\na OK Done\r\n");
    assert_eq!(saved(&mut talk), "3 4");
    assert!(
        talk.say("a STORE $ +FLAGS.SILENT (\\Deleted)\r\n")
            .ends_with("a OK Done\r\n")
    );
    assert_eq!(
        talk.say("a UID EXPUNGE $\r\n"),
        "* 3 EXPUNGE\r\n* 2 EXPUNGE\r\na OK Done\r\n"
    );
    assert_eq!(saved(&mut talk), "");
}

#[test]
fn what_is_saved_follows_from_what_is_returned() {
    // RFC 5182 §2.4.
    let mut talk = four();
    for (returns, is) in [
        ("SAVE MIN", "1"),
        ("SAVE MAX", "4"),
        ("MAX SAVE MIN", "1 4"),
        ("MAX SAVE MIN COUNT", "1 3 4"),
        ("ALL SAVE MIN", "1 3 4"),
        ("SAVE", "1 3 4"),
    ] {
        talk.say(&format!("a SEARCH RETURN ({returns}) SEEN\r\n"));
        assert_eq!(saved(&mut talk), is, "{returns}");
    }
    // One that saves nothing, or cannot be read, leaves it.
    talk.say("a SEARCH RETURN (ALL) UNSEEN\r\n");
    talk.say("a SEARCH RETURN (SAVE) NONSENSE\r\n");
    talk.say("a SEARCH CHARSET KOI8-R ALL\r\n");
    assert_eq!(saved(&mut talk), "1 3 4");
    // One that is refused empties it.
    assert!(
        talk.say("a UID SEARCH RETURN (SAVE) CHARSET KOI8-R ALL\r\n")
            .starts_with("a NO [BADCHARSET")
    );
    assert_eq!(saved(&mut talk), "");
    talk.say("a SEARCH RETURN (SAVE) SEEN\r\n");
    talk.mail.refuse = Some(Refusal::Unavailable);
    assert!(talk.say("a SEARCH RETURN (SAVE) BODY x\r\n").starts_with("a NO"));
    talk.mail.refuse = None;
    assert_eq!(saved(&mut talk), "");
    // So does another mailbox.
    talk.say("a SEARCH RETURN (SAVE) SEEN\r\n");
    talk.say("a SELECT INBOX\r\n");
    assert_eq!(saved(&mut talk), "");
}

#[test]
fn ages_are_counted_from_now() {
    // RFC 5032 §3; the fake's clock stands 100 seconds after its messages.
    let mut talk = four();
    for (key, found) in [
        ("YOUNGER 100", "1 2 3 4"),
        ("YOUNGER 99", ""),
        ("OLDER 100", "1 2 3 4"),
        ("OLDER 101", ""),
    ] {
        let told = format!("* SEARCH {found}").trim_end().to_owned();
        assert_eq!(
            talk.say(&format!("a SEARCH {key}\r\n")),
            format!("{told}\r\na OK Done\r\n"),
            "{key}"
        );
    }
    assert!(talk.say("a SEARCH OLDER 0\r\n").starts_with("a BAD"));
}

#[test]
fn messages_threads_and_mailboxes_have_ids() {
    // RFC 8474 §4 and §5.
    let mut talk = Talk::logged_in();
    assert_eq!(talk.say("a CREATE foo\r\n"), "a OK [MAILBOXID (F2)] Done\r\n");
    assert_eq!(
        talk.say("a STATUS foo (MAILBOXID)\r\n"),
        "* STATUS foo (MAILBOXID (F2))\r\na OK Done\r\n"
    );
    assert!(talk.say("a SELECT foo\r\n").contains("* OK [MAILBOXID (F2)] "));
    let mut talk = four();
    assert_eq!(
        talk.say("a FETCH 2:3 (EMAILID THREADID)\r\n"),
        "* 2 FETCH (EMAILID (M0000000000000002) THREADID (T0000000000000abc))\r\n\
         * 3 FETCH (EMAILID (M0000000000000003) THREADID NIL)\r\na OK Done\r\n"
    );
    assert_eq!(
        talk.say("a SEARCH EMAILID M0000000000000004\r\n"),
        "* SEARCH 4\r\na OK Done\r\n"
    );
    assert_eq!(
        talk.say("a SEARCH THREADID T0000000000000abc\r\n"),
        "* SEARCH 1 2 4\r\na OK Done\r\n"
    );
    // They are the same in no other case.
    assert_eq!(
        talk.say("a SEARCH EMAILID m0000000000000004\r\n"),
        "* SEARCH\r\na OK Done\r\n"
    );
    assert!(talk.say("a SEARCH EMAILID a.b\r\n").starts_with("a BAD"));
}

#[test]
fn the_date_of_saving_is_told_and_searched() {
    // RFC 8514 §4. The fake saves message n on the nth day after 14 November 2023.
    let mut talk = four();
    assert_eq!(
        talk.say("a FETCH 2 SAVEDATE\r\n"),
        "* 2 FETCH (SAVEDATE \"16-Nov-2023 22:13:20 +0000\")\r\na OK Done\r\n"
    );
    for (key, found) in [
        ("SAVEDON 16-Nov-2023", " 2"),
        ("SAVEDSINCE 16-Nov-2023", " 2 3 4"),
        ("SAVEDBEFORE 16-Nov-2023", " 1"),
        ("SAVEDATESUPPORTED", " 1 2 3 4"),
    ] {
        assert_eq!(
            talk.say(&format!("a SEARCH {key}\r\n")),
            format!("* SEARCH{found}\r\na OK Done\r\n")
        );
    }
}

#[test]
fn status_tells_sizes_and_limits() {
    let mut talk = four();
    talk.say("a STORE 1 +FLAGS.SILENT (\\Deleted)\r\n");
    assert_eq!(
        talk.say("a STATUS INBOX (SIZE DELETED APPENDLIMIT)\r\n"),
        "* STATUS INBOX (SIZE 74 DELETED 1 APPENDLIMIT 52428800)\r\na OK Done\r\n"
    );
    assert!(talk.say("a CAPABILITY\r\n").contains(" APPENDLIMIT=52428800"));
}

#[test]
fn several_messages_are_appended_together() {
    // RFC 3502.
    let mut talk = Talk::logged_in();
    assert_eq!(
        talk.say("a APPEND INBOX (\\Seen) {3}\r\n"),
        "+ Ready for the message\r\n"
    );
    assert_eq!(
        talk.say("abc (\\Draft $x) \"17-Jul-1996 02:44:25 -0700\" {4}\r\n"),
        "+ Ready for the message\r\n"
    );
    assert_eq!(talk.say("defg {2+}\r\nhi\r\n"), "a OK [APPENDUID 7 1:3] Done\r\n");
    let kept = talk.mail.boxes["INBOX"].messages.iter();
    let kept: Vec<_> = kept
        .map(|m| (m.text.clone(), m.state.flags.to_string()))
        .collect();
    assert_eq!(
        kept,
        [
            (b"abc".to_vec(), "\\Seen".into()),
            (b"defg".to_vec(), "\\Draft $x".into()),
            (b"hi".to_vec(), "".into())
        ]
    );
}

#[test]
fn of_several_messages_all_are_kept_or_none() {
    let none = |talk: &Talk| talk.mail.boxes["INBOX"].messages.is_empty() && talk.mail.appending.is_empty();
    for (rest, told) in [
        // An empty message cancels the APPEND, whichever way it comes.
        (" {0}\r\n", "NO [CANNOT]"),
        (" {0+}\r\n\r\n", "NO [CANNOT]"),
        (" {99999999}\r\n", "NO [TOOBIG]"),
        (" (\\Seen {3+}\r\nabc\r\n", "BAD"),
        (" x\r\n", "BAD"),
        (" {3+}\r\na\0c\r\n", "NO [CANNOT]"),
    ] {
        let mut talk = Talk::logged_in();
        let heard = talk.say(&format!("a APPEND INBOX {{3+}}\r\nabc{rest}"));
        assert!(heard.starts_with(&format!("a {told}")), "{rest:?}: {heard}");
        assert!(none(&talk), "{rest:?}");
        assert_eq!(talk.say("b NOOP\r\n"), "b OK Done\r\n", "{rest:?}");
    }
    // What the service has against the second falls on both.
    let mut talk = Talk::logged_in();
    talk.say("a APPEND INBOX {3+}\r\nabc");
    talk.mail.refuse = Some(Refusal::OverQuota);
    assert!(talk.say(" {3+}\r\n").is_empty());
    assert!(talk.say("def\r\n").starts_with("a NO [OVERQUOTA]") && none(&talk));
    // A connection that breaks off, and too many.
    let mut talk = Talk::logged_in();
    talk.say("a APPEND INBOX {3+}\r\nabc {3+}\r\na");
    talk.session.shut_down(talk.now, "BYE The server stops");
    talk.hear();
    assert!(none(&talk) && talk.closed);
    let mut talk = Talk::logged_in();
    let heard = talk.say(&format!(
        "a APPEND INBOX {{1+}}\r\nx{}\r\n",
        " {1+}\r\nx".repeat(100)
    ));
    assert!(heard.starts_with("a NO [LIMIT]") && none(&talk), "{heard}");
    let heard = talk.say(&format!(
        "a APPEND INBOX {{1+}}\r\nx{}\r\n",
        " {1+}\r\nx".repeat(99)
    ));
    assert_eq!(heard, "a OK [APPENDUID 7 1:100] Done\r\n");
}

#[test]
fn strings_match_anywhere_in_any_case_and_keywords_only_whole() {
    // Guards pitfall IMAP 9: substrings as RFC 3501 §6.4.4 and RFC 9051 §6.4.4 want them.
    let mut talk = Talk::with_messages(&[
        (
            "",
            "From: smith@example.org\nSubject: Hello World\nX-Kind: a\n\nThe body text\n",
        ),
        ("$work", "Subject: other\n\nnothing\n"),
    ]);
    for (keys, found) in [
        ("SUBJECT \"LLO wo\"", " 1"),
        ("SUBJECT \"hello  world\"", ""),
        ("SUBJECT \"\"", " 1 2"),
        ("HEADER X-Kind \"\"", " 1"),
        ("HEADER x-kind b", ""),
        ("HEADER Subject THE", " 2"),
        ("FROM MIT", " 1"),
        ("BODY ODY", " 1"),
        ("BODY Subject", ""),
        ("TEXT X-KIND", " 1"),
        ("KEYWORD $WORK", " 2"),
        ("KEYWORD $wor", ""),
        ("NOT SUBJECT hello", " 2"),
        ("SUBJECT hello SUBJECT other", ""),
        ("OR SUBJECT hello SUBJECT other", " 1 2"),
    ] {
        let heard = talk.say(&format!("a SEARCH {keys}\r\n"));
        assert_eq!(heard, format!("* SEARCH{found}\r\na OK Done\r\n"), "{keys}");
    }
}
