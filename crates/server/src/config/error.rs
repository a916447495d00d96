use crate::privileges::current_user;
use std::io;
use std::path::{Path, PathBuf};

/// One line: the file, the key, what is wrong, and the mend.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("{path}: {reason}; {}", read_mend(.reason))]
    Read { path: PathBuf, reason: io::Error },
    #[error("{path}:{line}: {key}{wrong}")]
    Syntax {
        path: PathBuf,
        line: usize,
        key: String,
        wrong: String,
    },
    #[error("{path}: {key}: {wrong}")]
    Value {
        path: PathBuf,
        key: String,
        wrong: String,
    },
}

fn read_mend(reason: &io::Error) -> String {
    match reason.kind() {
        io::ErrorKind::PermissionDenied => {
            format!("give {} the right to read it", current_user())
        }
        io::ErrorKind::InvalidData => "write it in UTF-8".into(),
        _ => "name another file with --config, or none for the defaults".into(),
    }
}

impl ConfigError {
    /// What the reader of TOML found, in one line that names the key.
    pub(super) fn syntax(path: &Path, text: &str, error: &toml::de::Error) -> Self {
        let at = error.span().map_or(0, |span| span.start.min(text.len()));
        let line = text[..at].lines().count().max(1);
        let line = if text[..at].ends_with('\n') {
            line + 1
        } else {
            line
        };
        let wrong = error.message().lines().collect::<Vec<_>>().join("; ");
        let mut wrong = in_words(wrong);
        // What others' readers of values say, which does not tell how they are written.
        if wrong.starts_with("invalid ") {
            wrong += "; `ringpost config default` shows how it is written";
        }
        // An unknown key is named by the message itself.
        let key = if wrong.starts_with("unknown field") {
            String::new()
        } else {
            key_at(text, line)
        };
        ConfigError::Syntax {
            path: path.to_path_buf(),
            line,
            key,
            wrong,
        }
    }
}

/// The names of the program's own types, as what may be written.
fn in_words(mut wrong: String) -> String {
    for (name, most) in [
        ("u8", u64::from(u8::MAX)),
        ("u16", u16::MAX.into()),
        ("u32", u32::MAX.into()),
        ("u64", i64::MAX as u64),
        ("usize", i64::MAX as u64),
    ] {
        let (expected, words) = (
            format!("expected {name}"),
            format!("expected a whole number from 0 to {most}"),
        );
        if wrong.ends_with(&expected) {
            wrong.truncate(wrong.len() - expected.len());
            wrong += &words;
        }
    }
    wrong
}

/// The dotted key that stands on a line (counted from 1), with a colon; nothing where none stands.
fn key_at(text: &str, line: usize) -> String {
    let Some((key, _)) = text.lines().nth(line - 1).and_then(|line| line.split_once('=')) else {
        return String::new();
    };
    let sections = text
        .lines()
        .take(line)
        .filter_map(|line| line.trim().strip_prefix('['));
    let section = sections.last().and_then(|rest| rest.split(']').next());
    match section {
        Some(section) => format!("{}.{}: ", section.trim(), key.trim()),
        None => format!("{}: ", key.trim()),
    }
}
