use super::*;

fn letters() -> Talk {
    Talk::with_messages(&[
        (
            "",
            "From: zoe@x\nSubject: Re: lunch\nMessage-ID: <b@x>\nReferences: <a@x>\n\n12345\n",
        ),
        ("\\Seen", "From: adam@x\nSubject: lunch\nMessage-ID: <a@x>\n\n1\n"),
        (
            "",
            "From: mia@x\nSubject: dinner\nMessage-ID: <c@x>\n\n123456789\n",
        ),
    ])
}

#[test]
fn sort_gives_the_messages_found_in_order() {
    let mut talk = letters();
    let mut said = |text: &str| talk.say(&format!("a {text}\r\n"));
    assert_eq!(said("SORT (FROM) UTF-8 ALL"), "* SORT 2 3 1\r\na OK Done\r\n");
    assert_eq!(
        said("SORT (REVERSE FROM) UTF-8 ALL"),
        "* SORT 1 3 2\r\na OK Done\r\n"
    );
    assert_eq!(
        said("UID SORT (SUBJECT REVERSE SIZE) US-ASCII ALL"),
        "* SORT 3 1 2\r\na OK Done\r\n"
    );
    assert_eq!(
        said("SORT (SIZE) \"utf-8\" UNSEEN BODY 1"),
        "* SORT 3 1\r\na OK Done\r\n"
    );
    assert_eq!(
        said("SORT (DISPLAYFROM) UTF-8 ALL"),
        "* SORT 2 3 1\r\na OK Done\r\n"
    );
    assert_eq!(
        said("SORT (ARRIVAL) UTF-8 TEXT nothing"),
        "* SORT\r\na OK Done\r\n"
    );
    assert!(said("SORT (FROM) KOI8-R ALL").starts_with("a NO [BADCHARSET (US-ASCII UTF-8)]"));
    for bad in [
        "SORT () UTF-8 ALL",
        "SORT (REVERSE) UTF-8 ALL",
        "SORT (REVERSE REVERSE TO) UTF-8 ALL",
        "SORT (X) UTF-8 ALL",
        "SORT FROM UTF-8 ALL",
        "SORT (FROM) UTF-8",
        "SORT",
    ] {
        assert!(said(bad).starts_with("a BAD"), "{bad}");
    }
}

#[test]
fn thread_groups_by_subject_or_by_references() {
    let mut talk = letters();
    let mut said = |text: &str| talk.say(&format!("a {text}\r\n"));
    assert_eq!(
        said("THREAD REFERENCES UTF-8 ALL"),
        "* THREAD (2 1)(3)\r\na OK Done\r\n"
    );
    assert_eq!(
        said("UID THREAD ORDEREDSUBJECT UTF-8 ALL"),
        "* THREAD (1 2)(3)\r\na OK Done\r\n"
    );
    // The parent is not among those searched for, so it is not shown.
    assert_eq!(
        said("THREAD REFERENCES UTF-8 UNSEEN"),
        "* THREAD (1)(3)\r\na OK Done\r\n"
    );
    assert_eq!(
        said("THREAD REFERENCES UTF-8 DELETED"),
        "* THREAD\r\na OK Done\r\n"
    );
    assert!(said("THREAD JWZ UTF-8 ALL").starts_with("a BAD"));
}

#[test]
fn a_message_that_goes_while_it_is_sorted_is_left_out_and_told_later() {
    // Guards pitfall IMAP 2: EXPUNGE is not told during SORT.
    let mut talk = letters();
    talk.hold();
    talk.say("a SORT (FROM) UTF-8 ALL\r\n");
    talk.mail.boxes.get_mut("INBOX").unwrap().messages.remove(0);
    talk.changed(Changes {
        expunged: vec![1],
        ..Changes::default()
    });
    assert_eq!(talk.release(), "* SORT 2 3\r\na OK Done\r\n");
    assert!(talk.say("b NOOP\r\n").starts_with("* 1 EXPUNGE\r\n"));
}

#[test]
fn many_messages_are_sorted_in_portions() {
    let all: Vec<(&str, String)> = (0..300)
        .map(|i| ("", format!("Subject: s{:03}\n\n", (i * 7) % 300)))
        .collect();
    let all: Vec<(&str, &str)> = all.iter().map(|(flags, text)| (*flags, text.as_str())).collect();
    let mut talk = Talk::with_messages(&all);
    talk.mail.at_most = Some(50);
    let heard = talk.say("a SORT (SUBJECT) UTF-8 ALL\r\n");
    let mut expected: Vec<usize> = (0..300).collect();
    expected.sort_by_key(|i| (i * 7) % 300);
    let expected: Vec<String> = expected.iter().map(|i| (i + 1).to_string()).collect();
    assert_eq!(heard, format!("* SORT {}\r\na OK Done\r\n", expected.join(" ")));
    talk.mail.refuse = Some(Refusal::Unavailable);
    assert!(
        talk.say("a SORT (SUBJECT) UTF-8 ALL\r\n")
            .starts_with("a NO [UNAVAILABLE]")
    );
}
