//! One line of a client, taken apart.

use thiserror::Error;

/// A command with its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Capa,
    Stls,
    User(String),
    Pass(String),
    Auth {
        mechanism: String,
        initial: Option<String>,
    },
    Utf8,
    /// The language range, if one is asked for.
    Lang(Option<String>),
    Stat,
    /// The message's number, if it is one that is asked for; so with UIDL.
    List(Option<Number>),
    Uidl(Option<Number>),
    Retr(Number),
    Top(Number, u64),
    Dele(Number),
    Noop,
    Rset,
    Quit,
}

/// A message's number as the client wrote it: one that is too large for any maildrop is `u32::MAX`.
pub(crate) type Number = u32;

/// Why a line is no command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum ReadError {
    #[error("Unknown command")]
    Unknown,
    #[error("Expected {0}")]
    Expected(&'static str),
}

/// Reads a line without its end.
//= https://www.rfc-editor.org/rfc/rfc1939#section-3
pub(crate) fn read(line: &[u8]) -> Result<Command, ReadError> {
    use ReadError::Expected;
    let line = std::str::from_utf8(line).map_err(|_| Expected("UTF-8"))?;
    if line.contains('\0') {
        return Err(Expected("no NUL"));
    }
    let (keyword, rest) = match line.split_once(' ') {
        Some((keyword, rest)) => (keyword, Some(rest)),
        None => (line, None),
    };
    let keyword = keyword.to_ascii_uppercase();
    //= https://www.rfc-editor.org/rfc/rfc1939#section-7
    // Only in PASS does a space belong to the argument.
    if keyword == "PASS" {
        let password = rest.filter(|p| !p.is_empty()).ok_or(Expected("PASS password"))?;
        return Ok(Command::Pass(password.to_owned()));
    }
    let mut words = rest.unwrap_or_default().split(' ').filter(|w| !w.is_empty());
    let (first, second, more) = (words.next(), words.next(), words.next());
    let alone = |command, wants| match first {
        None => Ok(command),
        Some(_) => Err(Expected(wants)),
    };
    match keyword.as_str() {
        "CAPA" => alone(Command::Capa, "CAPA alone"),
        "STLS" => alone(Command::Stls, "STLS alone"),
        "UTF8" => alone(Command::Utf8, "UTF8 alone"),
        "STAT" => alone(Command::Stat, "STAT alone"),
        "NOOP" => alone(Command::Noop, "NOOP alone"),
        "RSET" => alone(Command::Rset, "RSET alone"),
        "QUIT" => alone(Command::Quit, "QUIT alone"),
        "USER" => match (first, second) {
            (Some(user), None) => Ok(Command::User(user.to_owned())),
            _ => Err(Expected("USER name")),
        },
        "AUTH" => match (first, more) {
            (Some(mechanism), None) => Ok(Command::Auth {
                mechanism: mechanism.to_owned(),
                initial: second.map(str::to_owned),
            }),
            _ => Err(Expected("AUTH mechanism [initial-response]")),
        },
        "LANG" => match second {
            None => Ok(Command::Lang(first.map(str::to_owned))),
            Some(_) => Err(Expected("LANG [range]")),
        },
        "LIST" => Ok(Command::List(one_or_none(first, second, "LIST [number]")?)),
        "UIDL" => Ok(Command::Uidl(one_or_none(first, second, "UIDL [number]")?)),
        "RETR" => Ok(Command::Retr(one(first, second, "RETR number")?)),
        "DELE" => Ok(Command::Dele(one(first, second, "DELE number")?)),
        "TOP" => match (first.and_then(number), second.and_then(lines), more) {
            (Some(message), Some(lines), None) => Ok(Command::Top(message, lines)),
            _ => Err(Expected("TOP number lines")),
        },
        _ => Err(ReadError::Unknown),
    }
}

fn one(first: Option<&str>, second: Option<&str>, wants: &'static str) -> Result<Number, ReadError> {
    match (first.and_then(number), second) {
        (Some(number), None) => Ok(number),
        _ => Err(ReadError::Expected(wants)),
    }
}

fn one_or_none(
    first: Option<&str>,
    second: Option<&str>,
    wants: &'static str,
) -> Result<Option<Number>, ReadError> {
    match first {
        None => Ok(None),
        Some(_) => one(first, second, wants).map(Some),
    }
}

fn number(text: &str) -> Option<Number> {
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(Number::MAX))
}

fn lines(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_have_any_case_and_arguments_keep_theirs() {
        assert_eq!(read(b"quit"), Ok(Command::Quit));
        assert_eq!(read(b"User Alice"), Ok(Command::User("Alice".into())));
        assert_eq!(read(b"top 3 0"), Ok(Command::Top(3, 0)));
        assert_eq!(read(b"LIST"), Ok(Command::List(None)));
        assert_eq!(read(b"LIST "), Ok(Command::List(None)));
        assert_eq!(read(b"UIDL 12"), Ok(Command::Uidl(Some(12))));
    }

    #[test]
    fn a_password_has_its_spaces() {
        assert_eq!(read(b"PASS a  b "), Ok(Command::Pass("a  b ".into())));
        assert_eq!(read("PASS päß".as_bytes()), Ok(Command::Pass("päß".into())));
        assert!(read(b"PASS").is_err() && read(b"PASS ").is_err());
    }

    #[test]
    fn a_number_that_no_maildrop_reaches_is_still_a_number() {
        assert_eq!(read(b"RETR 99999999999999999999"), Ok(Command::Retr(Number::MAX)));
        assert_eq!(read(b"RETR -1"), Err(ReadError::Expected("RETR number")));
        assert_eq!(read(b"RETR +1"), Err(ReadError::Expected("RETR number")));
        assert_eq!(read(b"RETR 1 2"), Err(ReadError::Expected("RETR number")));
        assert_eq!(read(b"TOP 1"), Err(ReadError::Expected("TOP number lines")));
        assert_eq!(read(b"TOP 1 99999999999999999999"), Ok(Command::Top(1, u64::MAX)));
    }

    #[test]
    fn what_is_no_command_is_told() {
        for line in [
            &b""[..],
            b"APOP alice c4c9334bac560ecc979e58001b3e22fb",
            b"LAST",
            b" STAT",
        ] {
            assert_eq!(read(line), Err(ReadError::Unknown));
        }
        assert_eq!(read(b"STAT 1"), Err(ReadError::Expected("STAT alone")));
        assert_eq!(read(b"USER \xff"), Err(ReadError::Expected("UTF-8")));
    }
}
