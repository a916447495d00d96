//! Command lines of POP3, held against a second reading of its grammar. There is no parser of them that others keep; this one
//! is written down from the RFCs' tables and knows nothing of the server's.

use ringpost_fuzz::{Runner, Settings, Target};
use ringpost_pop3::fuzz::understood;
use std::path::Path;

/// What may stand behind a keyword.
enum Argument {
    /// A message's number, or a number of lines up to this.
    Number(u64),
    /// A word.
    Word,
    /// The name of a SASL mechanism (RFC 4422 §3.1).
    Mechanism,
    /// base64, or `=` for a response without a byte (RFC 5034 §4).
    Initial,
    /// A basic language range (RFC 4647 §2.1).
    Range,
}

use Argument::{Initial, Mechanism, Number, Range, Word};

/// The largest number that the server tells apart from larger ones.
const MESSAGES: u64 = u32::MAX as u64;

/// Every command but PASS: its keyword, how many of its arguments there must be, and all that there may be.
const GRAMMAR: &[(&str, usize, &[Argument])] = &[
    // RFC 1939 §§5 to 7; APOP is not offered.
    ("QUIT", 0, &[]),
    ("STAT", 0, &[]),
    ("LIST", 0, &[Number(MESSAGES)]),
    ("RETR", 1, &[Number(MESSAGES)]),
    ("DELE", 1, &[Number(MESSAGES)]),
    ("NOOP", 0, &[]),
    ("RSET", 0, &[]),
    ("TOP", 2, &[Number(MESSAGES), Number(u64::MAX)]),
    ("UIDL", 0, &[Number(MESSAGES)]),
    ("USER", 1, &[Word]),
    // RFC 2449 §5, RFC 2595 §4, RFC 5034 §4, RFC 6856 §§2.1 and 3.2.
    ("CAPA", 0, &[]),
    ("STLS", 0, &[]),
    ("AUTH", 1, &[Mechanism, Initial]),
    ("UTF8", 0, &[]),
    ("LANG", 0, &[Range]),
];

/// Bytes of a line with its CRLF (RFC 2449 §4).
const LINE_BYTES: usize = 255;

/// A line as the RFCs allow it, or, if `forgiving`, with what the server passes over: more spaces than one, an argument
/// of other characters than these, and more of them. What a mechanism, a response or a language is like, it finds out later.
fn reference(text: &str, forgiving: bool) -> Option<String> {
    let is_printable = |c: char| (' '..='~').contains(&c);
    let is_taken = |c: char| if forgiving { c != '\0' } else { is_printable(c) };
    if !text.chars().all(is_taken) || !forgiving && text.len() + 2 > LINE_BYTES {
        return None;
    }
    let (keyword, rest) = match text.find(' ') {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    if keyword.eq_ignore_ascii_case("PASS") {
        // RFC 1939 §7: all of it is the password.
        return rest
            .filter(|rest| !rest.is_empty())
            .map(|rest| format!("PASS {rest}"));
    }
    let (name, least, all) = GRAMMAR
        .iter()
        .find(|(name, ..)| keyword.eq_ignore_ascii_case(name))?;
    let mut words: Vec<&str> = rest.map(|rest| rest.split(' ').collect()).unwrap_or_default();
    if forgiving {
        words.retain(|word| !word.is_empty());
    }
    if words.len() < *least || words.len() > all.len() {
        return None;
    }
    let mut said = (*name).to_owned();
    for (word, argument) in words.iter().zip(*all) {
        said.push(' ');
        said.push_str(&argument.read(word, forgiving)?);
    }
    Some(said)
}

impl Argument {
    fn read(&self, word: &str, forgiving: bool) -> Option<String> {
        let is_word = !word.is_empty();
        let fits = match self {
            Number(most) => return number(word, *most),
            Word => is_word,
            _ if forgiving => is_word,
            Mechanism => {
                let is_letter = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b"-_".contains(&b);
                (1..=20).contains(&word.len()) && word.bytes().all(is_letter)
            }
            Initial => {
                let data = word.trim_end_matches('=');
                let is_letter = |b: u8| b.is_ascii_alphanumeric() || b"+/".contains(&b);
                let is_base64 = word.len().is_multiple_of(4) && word.len() - data.len() <= 2;
                word == "=" || is_word && is_base64 && data.bytes().all(is_letter)
            }
            Range => {
                let mut subtags = word.split('-');
                let is_letters = |tag: &str| tag.bytes().all(|b| b.is_ascii_alphabetic());
                let is_short = |tag: &str| (1..=8).contains(&tag.len());
                word == "*"
                    || subtags.next().is_some_and(|tag| is_short(tag) && is_letters(tag))
                        && subtags.all(|tag| is_short(tag) && tag.bytes().all(|b| b.is_ascii_alphanumeric()))
            }
        };
        fits.then(|| word.to_owned())
    }
}

/// Digits, and `most` for what is more.
fn number(word: &str, most: u64) -> Option<String> {
    if word.is_empty() || !word.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let digits = word.trim_start_matches('0');
    let value = match digits {
        "" => 0,
        _ if digits.len() > 20 => most,
        _ => digits.parse::<u128>().ok()?.min(most.into()) as u64,
    };
    Some(value.to_string())
}

/// What the RFCs allow is taken, and means that. What else is taken is in the one list, the forgiving reading, and means that.
fn compare(data: &[u8]) {
    for line in data.split(|b| *b == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        // Another is refused before it is read.
        let Ok(line) = std::str::from_utf8(line) else {
            continue;
        };
        let ours = understood(line);
        let strict = reference(line, false);
        if strict.is_some() {
            assert_eq!(ours, strict, "{line:?}");
        }
        assert_eq!(ours, reference(line, true), "{line:?}, forgiving");
    }
}

const SEEDS: &[&str] = &[
    "USER alice\nPASS a secret with spaces \nSTAT\nLIST\nQUIT",
    "LIST 1\nRETR 2\nDELE 3\nNOOP\nRSET\nUIDL\nUIDL 4\nTOP 5 10",
    "CAPA\nSTLS\nUTF8\nLANG\nLANG de-AT\nLANG *",
    "AUTH PLAIN\nAUTH PLAIN AGEAYg==\nAUTH SCRAM-SHA-256 =\nAUTH X-Y biws",
    "quit\nUser j\u{f6}rg\nTop 0001 00\nRETR 4294967295\nRETR 4294967296\nTOP 1 18446744073709551616",
    "APOP mrose c4c9334bac560ecc979e58001b3e22fb\nXTND\nSTAT 1\nLIST 1 2\nTOP 1\nRETR\nUSER\nPASS",
];

#[test]
fn a_second_reading_of_the_grammar_understands_command_lines_as_we_do() {
    let seeds: Vec<Vec<u8>> = SEEDS.iter().map(|seed| seed.as_bytes().to_vec()).collect();
    let target = Target {
        name: "pop3-commands",
        run: compare,
        dictionary: &[
            b"USER ",
            b"PASS ",
            b"AUTH ",
            b"LIST",
            b"RETR ",
            b"DELE ",
            b"TOP ",
            b"UIDL",
            b"LANG ",
            b"CAPA",
            b"STLS",
            b"UTF8",
            b"STAT",
            b"NOOP",
            b"RSET",
            b"QUIT",
            b" ",
            b"  ",
            b"=",
            b"0",
            b"4294967296",
            b"-",
            b"*",
            b"\0",
            b"\t",
            b"\xc3\xb6",
            b"\xff",
            b"\n",
        ],
    };
    let failures = Path::new(env!("CARGO_MANIFEST_DIR")).join("failures");
    let runner = Runner::new(Settings::from_environment(), failures, || 0);
    if let Err(failure) = runner.run(&target, &seeds) {
        panic!("{}: {}", failure.input.display(), failure.reason);
    }
    // Both take what the RFCs' own examples say, without any list.
    for line in [
        "USER mrose",
        "PASS secret",
        "TOP 1 10",
        "UIDL 2",
        "AUTH PLAIN dGVzdAB0ZXN0AHRlc3Q=",
        "LANG MUL",
    ] {
        let strict = reference(line, false);
        assert!(strict.is_some() && strict == understood(line), "{line}");
    }
}
