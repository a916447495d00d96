//! The log: one line an event on the standard error, its fields as `name=value`, call and session ids among them.

use std::fmt::{self, Write as _};
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

/// Whatever a peer put into a value, a line of the log stays one line and says where its fields end.
fn write_field(writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    let mut escaped = Escaped { writer };
    if field.name() == "message" {
        return write!(escaped, "{value:?}");
    }
    write!(escaped, "{}={value:?}", field.name())
}

struct Escaped<'a, 'w> {
    writer: &'a mut Writer<'w>,
}

impl fmt::Write for Escaped<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            if c.is_control() {
                write!(self.writer, "{}", c.escape_default())?;
            } else {
                self.writer.write_char(c)?;
            }
        }
        Ok(())
    }
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

    #[test]
    fn an_event_is_one_line_whatever_a_peer_sent() {
        let kept = Kept::default();
        let writer = kept.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(filter("info").unwrap())
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .fmt_fields(format::debug_fn(write_field).delimited(" "))
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            let agent = "evil\r\n2026-01-01 ERROR forged\x1b[31m";
            tracing::info!(call = %"a84b4c76e66710", %agent, "the call has ended");
            tracing::debug!("not shown");
        });
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(
            text.contains(" the call has ended call=a84b4c76e66710 agent="),
            "{text}"
        );
        assert!(!text.contains('\x1b'), "{text}");
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
