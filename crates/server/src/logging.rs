//! The log: one line an event on the standard error, its fields as `name=value`, call and session ids among them.

use std::fmt;
use std::io::IsTerminal;
use std::sync::OnceLock;
use tracing::field::Field;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::format::{self, Writer};

/// Starts logging for the whole process. `level` is the configuration's `log.level`.
///
/// # Errors
/// One line that names the key.
pub(crate) fn start(level: &str) -> Result<(), String> {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter(level)?)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .fmt_fields(format::debug_fn(write_field).delimited(" "))
        .with_filter_reloading();
    let handle = builder.reload_handle();
    tracing::subscriber::set_global_default(builder.finish()).map_err(|error| format!("log: {error}"))?;
    let set = move |filter| {
        handle
            .reload(filter)
            .map_err(|error| format!("log.level: {error}"))
    };
    let _ = SET_FILTER.set(Box::new(set));
    Ok(())
}

/// Puts another filter in place of the one in use.
type SetFilter = Box<dyn Fn(EnvFilter) -> Result<(), String> + Send + Sync>;

/// There once logging was started.
static SET_FILTER: OnceLock<SetFilter> = OnceLock::new();

/// Goes by another level from now on.
///
/// # Errors
/// One line that names the key; the level stays.
pub(crate) fn set_level(level: &str) -> Result<(), String> {
    let filter = filter(level)?;
    SET_FILTER.get().map_or(Ok(()), |set| set(filter))
}

/// Reads what `log.level` says.
pub(crate) fn filter(level: &str) -> Result<EnvFilter, String> {
    // The filter itself would take a word that it does not know for a part of the program that is to tell everything.
    let directives: Vec<&str> = level.split(',').map(str::trim).collect();
    let wrong = directives.iter().find(|directive| !is_directive(directive));
    match (wrong, EnvFilter::builder().parse(directives.join(","))) {
        (None, Ok(filter)) => Ok(filter),
        _ => Err(format!(
            "log.level: {:?} is not a level; write error, warn, info, debug or trace, or \"info,ringpost_phone=debug\"",
            wrong.unwrap_or(&level)
        )),
    }
}

/// A level, or a part of the program with its level.
fn is_directive(text: &str) -> bool {
    let (part, level) = match text.split_once('=') {
        Some((part, level)) => (Some(part), level),
        None => (None, text),
    };
    let is_part = |part: &str| {
        let is_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b':');
        !part.is_empty() && part.bytes().all(is_name)
    };
    let levels = ["off", "error", "warn", "info", "debug", "trace"];
    part.is_none_or(is_part) && levels.contains(&level)
}

/// Characters of one value that are shown; what comes behind is left out.
const VALUE_CHARS: usize = 1_000;

/// Whatever a peer put into a value, a line of the log stays one line of bounded length, does nothing to a terminal, and
/// says where its fields end: a value that is not one plain word is quoted.
fn write_field(writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    let text = format!("{value:?}");
    if field.name() == "message" {
        return write_escaped(writer, &text);
    }
    write!(writer, "{}=", field.name())?;
    if is_word(&text) || is_quoted(&text) {
        return write_escaped(writer, &text);
    }
    writer.write_char('"')?;
    write_escaped(writer, &text.replace('\\', r"\\").replace('"', r#"\""#))?;
    writer.write_char('"')
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && !text.contains([' ', '"', '=', '\\']) && !text.contains(is_odd)
}

/// Whether it is written as the text that it is, as `Debug` writes strings: nothing in it ends it early.
fn is_quoted(text: &str) -> bool {
    let Some(inner) = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return false;
    };
    let mut is_escaped = false;
    for c in inner.chars() {
        match c {
            '"' if !is_escaped => return false,
            '\\' => is_escaped = !is_escaped,
            _ => is_escaped = false,
        }
    }
    !is_escaped && inner.chars().count() <= VALUE_CHARS
}

/// What would end a line, move the cursor, or turn the text round: control characters, the separators of lines and
/// paragraphs, and the marks for direction.
fn is_odd(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}')
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn write_escaped(writer: &mut Writer<'_>, text: &str) -> fmt::Result {
    for (n, c) in text.chars().enumerate() {
        if n > VALUE_CHARS + 2 {
            return writer.write_char('…');
        }
        match is_odd(c) {
            true => write!(writer, "{}", c.escape_default())?,
            false => writer.write_char(c)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(event: impl FnOnce()) -> String {
        let kept = Kept::default();
        let writer = kept.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(filter("info").unwrap())
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .fmt_fields(format::debug_fn(write_field).delimited(" "))
            .finish();
        tracing::subscriber::with_default(subscriber, event);
        String::from_utf8(kept.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn an_event_is_one_line_whatever_a_peer_sent() {
        let text = logged(|| {
            let agent = "evil\r\n2026-01-01 ERROR forged\x1b[31m\u{2028}\u{202e}";
            tracing::info!(call = %"a84b4c76e66710", %agent, user = agent, "the call has ended\n{agent}");
            tracing::debug!("not shown");
        });
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(
            text.contains("the call has ended\\nevil\\r\\n2026")
                && text.contains(" call=a84b4c76e66710 agent=\"evil"),
            "{text}"
        );
        assert!(!text.trim_end().contains(is_odd), "{text:?}");
    }

    #[test]
    fn a_value_cannot_pass_for_another_field() {
        let shown = |value: &str| {
            let display = logged(|| tracing::info!(call_id = %value, answered = false, "x"));
            let debug = logged(|| tracing::info!(call_id = value, answered = false, "x"));
            let of = |line: String| line.split_once("call_id=").unwrap().1.trim_end().to_owned();
            (of(display), of(debug))
        };
        for (value, told) in [
            ("abc@host", "abc@host answered=false"),
            ("a answered=true", r#""a answered=true" answered=false"#),
            (
                r#""a" answered=true x="b""#,
                r#""\"a\" answered=true x=\"b\"" answered=false"#,
            ),
            (
                r#""a\" answered=true"#,
                r#""\"a\\\" answered=true" answered=false"#,
            ),
            (r#"a\"#, r#""a\\" answered=false"#),
            ("", r#""" answered=false"#),
            ("a=b", r#""a=b" answered=false"#),
        ] {
            let (display, debug) = shown(value);
            assert_eq!(display, told);
            // Text that is logged as such is quoted always.
            let quoted = format!("{value:?} answered=false");
            assert_eq!(debug, quoted);
        }
        let (display, debug) = shown(&"x".repeat(70_000));
        for line in [display, debug] {
            assert!(
                line.chars().count() < 1_100 && line.ends_with(" answered=false"),
                "{line}"
            );
        }
    }

    #[test]
    fn a_level_that_is_none_is_named_with_its_key() {
        let error = filter("loud=very").unwrap_err();
        assert!(error.starts_with("log.level: \"loud=very\""), "{error}");
        for bad in ["verbose", "", "info,", "info,=debug", "x y=info", "3"] {
            assert!(filter(bad).is_err(), "{bad:?}");
        }
        for good in ["off", "info, ringpost_phone=debug", "warn,ringpost::serve=info"] {
            assert!(filter(good).is_ok(), "{good:?}");
        }
    }
}
