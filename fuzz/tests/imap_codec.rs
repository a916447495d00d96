//! IMAP's commands, read by us and by imap-codec: where both are a command they are the same one, and where only one of us
//! takes it there is a reason, which stands in [`explained`].

use imap_codec::CommandCodec;
use imap_codec::decode::{CommandDecodeError, Decoder};
use imap_codec::imap_types::command::{Command, CommandBody};
use imap_codec::imap_types::core::AString;
use imap_codec::imap_types::fetch::{Macro, MacroOrMessageDataItemNames};
use imap_codec::imap_types::flag::{Flag, StoreResponse, StoreType};
use imap_codec::imap_types::mailbox::Mailbox;
use imap_codec::imap_types::sequence::{SeqOrUid, Sequence, SequenceSet};
use ringpost_fuzz::{Mutator, Settings, TARGETS, corpus_of};
use ringpost_imap::outline::{LAST, Outline, PROBES, Reading, Refused, outline};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

/// What imap-codec makes of the same bytes.
#[derive(Debug, PartialEq, Eq)]
enum Theirs {
    Command(Outline),
    Literal,
    /// The bytes end within a command, or go on behind it.
    Otherwise,
    Failed,
}

fn theirs(bytes: &[u8]) -> Theirs {
    match CommandCodec::default().decode(bytes) {
        Ok((b"", command)) => Theirs::Command(of(&command)),
        Err(CommandDecodeError::LiteralFound { .. }) => Theirs::Literal,
        Ok(_) | Err(CommandDecodeError::Incomplete) => Theirs::Otherwise,
        Err(CommandDecodeError::Failed) => Theirs::Failed,
    }
}

fn text(string: &AString<'_>) -> String {
    String::from_utf8_lossy(string.as_ref()).into_owned()
}

fn mailbox(name: &Mailbox<'_>) -> String {
    match name {
        Mailbox::Inbox => "INBOX".into(),
        Mailbox::Other(other) => text(other.inner()),
    }
}

fn numbers(set: &SequenceSet) -> Vec<u32> {
    let value = |bound: &SeqOrUid| match bound {
        SeqOrUid::Value(n) => n.get(),
        SeqOrUid::Asterisk => LAST,
    };
    let within = |n: u32, part: &Sequence| match part {
        Sequence::Single(one) => value(one) == n,
        Sequence::Range(a, b) => (value(a).min(value(b))..=value(a).max(value(b))).contains(&n),
    };
    let found = PROBES
        .into_iter()
        .filter(|n| set.0.as_ref().iter().any(|part| within(*n, part)));
    found.collect()
}

fn flags(kind: StoreType, response: StoreResponse, flags: &[Flag<'_>]) -> Vec<String> {
    let mut all: Vec<String> = flags
        .iter()
        // Those that nobody has defined are passed over (RFC 3501 §7.1).
        .filter(|flag| !matches!(flag, Flag::Extension(_)))
        .map(|flag| flag.to_string().to_ascii_uppercase())
        .collect();
    all.sort();
    all.dedup();
    let sign = match kind {
        StoreType::Replace => "",
        StoreType::Add => "+",
        StoreType::Remove => "-",
    };
    let silent = match response {
        StoreResponse::Silent => ".SILENT",
        StoreResponse::Answer => "",
    };
    all.insert(0, format!("{sign}FLAGS{silent}"));
    all
}

fn of(command: &Command<'_>) -> Outline {
    let mut out = Outline {
        name: command
            .name()
            .split(' ')
            .next_back()
            .unwrap_or_default()
            .to_ascii_uppercase(),
        ..Outline::default()
    };
    match &command.body {
        CommandBody::Login { username, password } => {
            out.words = vec![text(username), text(password.declassify())];
        }
        CommandBody::Select { mailbox: name, .. }
        | CommandBody::Examine { mailbox: name, .. }
        | CommandBody::Delete { mailbox: name }
        | CommandBody::Subscribe { mailbox: name }
        | CommandBody::Unsubscribe { mailbox: name }
        | CommandBody::GetQuotaRoot { mailbox: name } => out.words = vec![mailbox(name)],
        CommandBody::Create { mailbox: name } => {
            let name = mailbox(name);
            out.words = vec![name.strip_suffix('/').unwrap_or(&name).into()];
        }
        CommandBody::Rename { from, to } => out.words = vec![mailbox(from), mailbox(to)],
        CommandBody::Status {
            mailbox: name,
            item_names,
        } => {
            out.words = vec![mailbox(name)];
            let mut items: Vec<String> = item_names.iter().map(|item| format!("{item:?}")).collect();
            items.sort();
            items.dedup();
            out.items = items.len();
        }
        CommandBody::GetQuota { root } => out.words = vec![text(root)],
        CommandBody::ExpungeUid { sequence_set } => {
            out.name = "EXPUNGE".into();
            (out.uid, out.numbers) = (true, numbers(sequence_set));
        }
        CommandBody::Search { uid, .. } | CommandBody::Sort { uid, .. } | CommandBody::Thread { uid, .. } => {
            out.uid = *uid;
        }
        CommandBody::Fetch {
            sequence_set,
            macro_or_item_names,
            uid,
            modifiers,
        } => {
            (out.uid, out.numbers) = (*uid, numbers(sequence_set));
            out.items = match macro_or_item_names {
                MacroOrMessageDataItemNames::Macro(Macro::Fast) => 3,
                MacroOrMessageDataItemNames::Macro(Macro::All) => 4,
                MacroOrMessageDataItemNames::Macro(_) => 5,
                MacroOrMessageDataItemNames::MessageDataItemNames(items) => {
                    // CHANGEDSINCE brings MODSEQ with it.
                    let modseq = items.iter().any(|item| format!("{item:?}") == "ModSeq");
                    items.len() + usize::from(!modifiers.is_empty() && !modseq)
                }
            };
            if let (MacroOrMessageDataItemNames::Macro(_), false) =
                (macro_or_item_names, modifiers.is_empty())
            {
                out.items += 1;
            }
        }
        CommandBody::Store {
            sequence_set,
            kind,
            response,
            flags: all,
            uid,
            ..
        } => {
            (out.uid, out.numbers) = (*uid, numbers(sequence_set));
            out.flags = flags(*kind, *response, all);
        }
        CommandBody::Copy {
            sequence_set,
            mailbox: name,
            uid,
        }
        | CommandBody::Move {
            sequence_set,
            mailbox: name,
            uid,
        } => {
            (out.uid, out.numbers) = (*uid, numbers(sequence_set));
            out.words = vec![mailbox(name)];
        }
        _ => {}
    }
    out
}

/// Why the two readings may differ; `None` is a finding.
fn explained(bytes: &[u8], ours: &Reading, theirs: &Theirs) -> Option<&'static str> {
    match (ours, theirs) {
        (Reading::Command(ours), Theirs::Command(theirs)) if ours == theirs => Some("the same"),
        (Reading::Literal(_), Theirs::Literal) => Some("the same"),
        (Reading::Refused(_), Theirs::Failed) => Some("the same"),
        (Reading::Literal(_), _) if bytes.windows(2).filter(|w| w == b"\r\n").count() > 1 => {
            Some("an APPEND is read up to its message")
        }
        (_, Theirs::Otherwise) => Some("more or less than one command"),
        (Reading::Refused(Refused::TooMany), _) => Some("our bounds"),
        (Reading::Refused(Refused::Name), _) => Some("names are in modified UTF-7, without empty levels"),
        (Reading::Refused(Refused::Charset), _) => Some("charsets are refused while they are read"),
        _ if !bytes.is_ascii() => Some("we take UTF-8 in quoted strings, as RFC 9051 has it"),
        (_, Theirs::Literal) if bytes.windows(2).any(|w| w == b"{0") => {
            Some("a literal of no bytes is there at once")
        }
        (Reading::Refused(_), _) => stricter(&String::from_utf8_lossy(bytes)),
        _ => extended(&String::from_utf8_lossy(bytes).to_ascii_uppercase()),
    }
}

/// What only they take.
fn stricter(line: &str) -> Option<&'static str> {
    let words = || line.split([' ', '(', ')', ',', ':', '<', '.', '[', ']', '\r']);
    let recent = |word: &str| word.eq_ignore_ascii_case("\\Recent");
    let flags = line.split([' ', '(', ')', '\r']);
    let fields = line.to_ascii_uppercase();
    let fields = fields
        .split("HEADER.FIELDS")
        .skip(1)
        .filter_map(|rest| rest.split(')').next());
    let is_odd = |b: u8| !matches!(b, b'!'..=b'~' | b' ') || matches!(b, b'"' | b'{');
    if words().any(|word| word.len() > 1 && word.starts_with('0') && word.bytes().all(|b| b.is_ascii_digit()))
    {
        return Some("a number that is not zero begins with no zero (RFC 3501 §9)");
    }
    let upper = line.to_ascii_uppercase();
    let has = |word: &str| upper.contains(word);
    if has("()") {
        return Some("a list of items has one at least (RFC 3501 §9)");
    }
    if has("VANISHED") {
        return Some("VANISHED is for UID FETCH alone (RFC 7162 §3.2.6)");
    }
    if has("QRESYNC") && has("*") {
        return Some("known UIDs are numbers (RFC 7162 §7)");
    }
    if has("AUTHENTICATE") && line.ends_with(" \r\n") {
        return Some("a space has something behind it");
    }
    if has("THREAD") || has("SORT") {
        return Some("there are two ways to thread, and the known keys to sort by");
    }
    if has("APPEND") && has("\" ") {
        return Some("a date that is none");
    }
    if flags.clone().any(recent) {
        return Some("\\Recent is nobody's to set (RFC 3501 §9)");
    }
    if flags.clone().any(|word| word.len() > 64) {
        return Some("our bound on keywords");
    }
    if fields.into_iter().any(|names| names.bytes().any(is_odd)) {
        return Some("what can be no field's name is none");
    }
    None
}

/// What only we take, and extensions of which imap-codec reads less.
fn extended(line: &str) -> Option<&'static str> {
    const EXTENSIONS: &[(&str, &str)] = &[
        ("RETURN (", "ESEARCH and LIST-EXTENDED"),
        ("(USE (", "CREATE-SPECIAL-USE"),
        ("BINARY", "BINARY"),
        ("PREVIEW", "PREVIEW"),
        ("UTF8 (", "UTF8=ACCEPT"),
        ("$", "SEARCHRES"),
        ("EMAILID", "OBJECTID"),
        ("THREADID", "OBJECTID"),
        ("MAILBOXID", "OBJECTID"),
        ("SAVEDATE", "SAVEDATE"),
        ("SAVEDBEFORE", "SAVEDATE"),
        ("SAVEDON", "SAVEDATE"),
        ("SAVEDSINCE", "SAVEDATE"),
        ("HIGHESTMODSEQ", "CONDSTORE"),
        ("MODSEQ", "CONDSTORE: they take no zero, and no entry names"),
        ("CHANGEDSINCE", "CONDSTORE: they take no zero"),
        ("QRESYNC", "QRESYNC"),
        ("APPENDLIMIT", "APPENDLIMIT"),
        ("AUTHENTICATE", "an initial response is decoded later"),
        ("SORT", "SORT"),
        ("THREAD", "THREAD"),
        ("YOUNGER", "WITHIN"),
        ("OLDER", "WITHIN"),
    ];
    // Patterns in parentheses, whatever stands in them.
    if line.split_whitespace().nth(1) == Some("LIST") && line.contains(" (") {
        return Some("LIST-EXTENDED");
    }
    let over_32_bits = |digits: &str| digits.len() >= 10 && digits.parse::<u32>().is_err();
    if line.split(|c: char| !c.is_ascii_digit()).any(over_32_bits) {
        return Some("sizes of 63 bits (RFC 9051 §9), and quotas that are read and not used");
    }
    if line.contains("CHARSET {") {
        return Some("a charset may be a literal (RFC 3501 §9)");
    }
    if line.matches('(').count() > 4 || line.matches("NOT ").count() + line.matches("OR ").count() > 4 {
        return Some("they nest less deeply");
    }
    let found = EXTENSIONS.iter().find(|(word, _)| line.contains(word));
    found.map(|(_, why)| *why)
}

/// The commands in an input: each line alone, and all of it.
fn commands(input: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let text = input.to_vec();
    let mut all = vec![text.clone()];
    let mut rest = &text[..];
    while let Some(end) = rest.windows(2).position(|w| w == b"\r\n") {
        all.push(rest[..end + 2].to_vec());
        rest = &rest[end + 2..];
    }
    all.into_iter().filter(|command| command.ends_with(b"\r\n"))
}

fn announces(command: &[u8]) -> bool {
    let line = command.strip_suffix(b"}\r\n").unwrap_or_default();
    let digits = line.rsplit(|b| *b == b'{').next().unwrap_or_default();
    let digits = digits.strip_suffix(b"+").unwrap_or(digits);
    line.contains(&b'{') && !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}

#[test]
fn what_we_read_imap_codec_reads_alike() {
    let settings = Settings::from_environment();
    let target = TARGETS.iter().find(|target| target.name == "imap-commands");
    let target = target.expect("the target is in the table");
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let corpus = corpus_of(&here.join("corpus"), target.name).unwrap_or_default();
    let mut mutator = Mutator::new(&corpus, target.dictionary, settings.seed);
    let (started, mut findings) = (Instant::now(), BTreeMap::new());
    let (mut compared, mut both) = (0_u64, 0_u64);
    let dictionary = target.dictionary.iter().map(|token| token.to_vec());
    let first = corpus.iter().cloned().chain(dictionary);
    let inputs = first.chain(std::iter::from_fn(|| Some(mutator.next_input())));
    for input in inputs.take(usize::try_from(settings.iterations).unwrap_or(usize::MAX)) {
        if started.elapsed() >= settings.limit {
            break;
        }
        for command in commands(&input) {
            let ours = match announces(&command) {
                true => outline(&command),
                false => outline(&command[..command.len() - 2]),
            };
            let theirs = theirs(&command);
            compared += 1;
            both += u64::from(matches!(
                (&ours, &theirs),
                (Reading::Command(_), Theirs::Command(_))
            ));
            if explained(&command, &ours, &theirs).is_none() {
                let name = String::from_utf8_lossy(&command).to_ascii_uppercase();
                let kind = (
                    name.split_whitespace().nth(1).unwrap_or_default().to_owned(),
                    std::mem::discriminant(&ours)
                        == std::mem::discriminant(&Reading::Refused(Refused::Syntax)),
                );
                let shown = format!(
                    "{:?}\n  ours {ours:?}\n  theirs {theirs:?}",
                    String::from_utf8_lossy(&command)
                );
                let known: &mut Vec<String> = findings.entry(kind).or_default();
                if known.len() < 8 {
                    known.push(shown);
                }
            }
        }
    }
    println!("{compared} commands compared, of which both read {both}");
    let all: Vec<String> = findings.into_values().flatten().collect();
    assert!(all.is_empty(), "{} findings:\n{}", all.len(), all.join("\n"));
}
