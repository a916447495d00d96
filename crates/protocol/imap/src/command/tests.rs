use super::*;
use crate::section::SectionText;
use crate::token::Announced;

fn read(bytes: &[u8]) -> (Option<&str>, Read<Command>) {
    super::read(bytes, Dialect::default())
}

fn command(text: &str) -> Command {
    match read(format!("a {text}").as_bytes()) {
        (Some("a"), Ok(command)) => command,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn an_append_is_read_up_to_its_message() {
    let (tag, append) = read(b"A003 APPEND saved-messages (\\Seen) \"17-Jul-1996 02:44:25 -0700\" {310}\r\n");
    assert_eq!(tag, Some("A003"));
    let Ok(Command::Append(append)) = append else {
        panic!("{append:?}")
    };
    assert_eq!(
        append.next.message,
        Announced {
            size_bytes: 310,
            unasked: false,
            binary: false
        }
    );
    assert_eq!(append.to.as_str(), "saved-messages");
    assert!(append.next.date.is_some());
}

#[test]
fn a_literal_to_come_is_told_where_it_belongs() {
    for (text, size) in [
        ("LOGIN {4}\r\n", 4),
        ("LOGIN {1}\r\nx {7}\r\n", 7),
        ("APPEND {5}\r\n", 5),
    ] {
        match read(format!("a {text}").as_bytes()) {
            (Some("a"), Err(ReadError::Literal(announced))) => assert_eq!(announced.size_bytes, size),
            other => panic!("{text}: {other:?}"),
        }
    }
    assert!(matches!(
        read(b"a NOOP {4}\r\n"),
        (Some("a"), Err(ReadError::Syntax { .. }))
    ));
}

#[test]
fn fetch_items_are_read_with_their_sections() {
    let Command::Fetch { items, .. } = command("FETCH 1 (UID BODY.PEEK[1.2.HEADER.FIELDS (To)]<0.10> BODY)")
    else {
        panic!()
    };
    let FetchItem::Body(body) = &items[1] else {
        panic!()
    };
    assert_eq!(body.section.part, [1, 2]);
    assert!(matches!(body.section.text, Some(SectionText::Fields(_))) && body.peek);
    assert_eq!(items[2], FetchItem::Structure { extended: false });
}

#[test]
fn an_error_says_where_and_what_was_expected() {
    let (_, error) = read(b"a FETCH 1 (FLAGS");
    assert_eq!(error.unwrap_err().to_string(), "expected a space at byte 16");
    let (_, error) = read(b"a FROB");
    assert_eq!(error.unwrap_err().to_string(), "expected a command at byte 2");
}

#[test]
fn parentheses_nest_to_a_bound_and_no_further() {
    // Guards pitfall IMAP 6: nesting of parentheses, be they written or meant.
    let search = |open: &str, close: &str, depth: usize| {
        let text = format!("a SEARCH {}ALL{}", open.repeat(depth), close.repeat(depth));
        read(text.as_bytes()).1
    };
    let bound = ringpost_base::limits::IMAP_NESTING;
    assert!(search("(", ")", bound).is_ok());
    for depth in [bound + 1, 1_000] {
        for (open, close) in [("(", ")"), ("NOT (", ")"), ("OR ALL (", ")")] {
            let refused = search(open, close, depth);
            assert!(
                matches!(refused, Err(ReadError::TooMany { .. })),
                "{open}: {refused:?}"
            );
        }
    }
    assert!(
        read(format!("a FETCH 1 {}", "(".repeat(1_000)).as_bytes())
            .1
            .is_err()
    );
    assert!(read(format!("a ID {}", "(".repeat(1_000)).as_bytes()).1.is_err());
}

#[test]
fn chains_of_or_and_not_may_be_as_long_as_a_search_is() {
    let most = ringpost_base::limits::IMAP_SEARCH_KEYS;
    // However such a search is looked at, it fits a stack that is small.
    let look = move || {
        let chain = |open: &str, n: usize, last: &str| {
            read(format!("a SEARCH {}{last}", open.repeat(n)).as_bytes()).1
        };
        for (open, keys, last) in [
            ("OR HEADER Message-ID <a@b> ", 2, "SEEN"),
            ("NOT ", 1, "SEEN"),
            ("OR UNSEEN NOT ", 3, "SEEN"),
            ("NOT OR NOT SEEN ", 4, "SEEN"),
        ] {
            let n = (most - 1) / keys;
            let Ok(Command::Search { key, .. }) = chain(open, n, last) else {
                panic!("{open}")
            };
            let seen = |seen: bool| {
                let flags = seen.then_some(crate::Flag::System(crate::SystemFlag::Seen));
                let candidate = crate::question::Candidate {
                    uid: 1,
                    number: 1,
                    flags: flags.into_iter().collect(),
                    modseq: 1,
                    recent: false,
                    last: (1, 1),
                };
                key.evaluate(&crate::search::Facts::of(&candidate))
            };
            match open {
                "NOT " => assert_eq!(
                    (seen(true), seen(false)),
                    (Some(n.is_multiple_of(2)), Some(!n.is_multiple_of(2)))
                ),
                "OR UNSEEN NOT " => assert_eq!(seen(false), Some(true)),
                "NOT OR NOT SEEN " => assert_eq!(seen(false), Some(false)),
                _ => assert_eq!((seen(true), seen(false)), (Some(true), None)),
            }
            key.needs();
            assert!(!key.wants_thread());
            assert!(matches!(chain(open, most, last), Err(ReadError::TooMany { .. })));
        }
    };
    let small = std::thread::Builder::new().stack_size(512 * 1024);
    small.spawn(look).unwrap().join().unwrap();
    for bad in ["OR SEEN", "OR", "NOT", "OR SEEN )", "NOT NOT", "OR NOT SEEN"] {
        assert!(read(format!("a SEARCH {bad}").as_bytes()).1.is_err(), "{bad}");
    }
}
