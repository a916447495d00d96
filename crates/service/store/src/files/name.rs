use std::fmt;
use std::str::FromStr;

/// Why a text names no file or folder.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileNameError {
    /// Nothing, or nothing between two slashes.
    #[error("expected names between the slashes of a file's path, found an empty one")]
    Empty,
    /// Longer than file systems take.
    #[error("expected at most {PART_BYTES} octets in a file's name, found {found}")]
    Length {
        /// Its octets.
        found: usize,
    },
    /// More folders in each other than [`DEPTH`].
    #[error("expected at most {DEPTH} names between slashes, found {found}")]
    Depth {
        /// How many there are.
        found: usize,
    },
    /// `.`, `..`, and what file systems hide.
    #[error("a file's name cannot begin with a dot, as {part:?} does")]
    Dot {
        /// The name.
        part: String,
    },
    /// A character that no file should have in its name.
    #[error("expected a file's name without control characters and \\, found {found:?}")]
    Character {
        /// The first of them.
        found: char,
    },
}

/// Octets of a name between slashes.
const PART_BYTES: usize = 255;
/// Names between slashes.
const DEPTH: usize = 16;

/// A folder of a [`Files`](crate::Files), such as `alice/door`: names with slashes between them, or nothing for the whole.
///
/// No name in it is empty, begins with a dot, or holds a slash, a backslash or a control character, so that none leads
/// elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FolderName(String);

/// A file in a folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileName {
    folder: FolderName,
    name: String,
}

impl FolderName {
    /// The folder that holds all others.
    pub fn root() -> Self {
        FolderName::default()
    }

    /// As it is written; nothing for the root.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A folder in it.
    pub fn folder(&self, name: &str) -> Result<FolderName, FileNameError> {
        check(name)?;
        let path = if self.0.is_empty() {
            name.into()
        } else {
            format!("{}/{name}", self.0)
        };
        let found = path.split('/').count();
        if found > DEPTH {
            return Err(FileNameError::Depth { found });
        }
        Ok(FolderName(path))
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> Result<FileName, FileNameError> {
        check(name)?;
        Ok(FileName {
            folder: self.clone(),
            name: name.into(),
        })
    }
}

impl FileName {
    /// The folder that it lies in.
    pub fn folder(&self) -> &FolderName {
        &self.folder
    }

    /// Its name in there.
    pub fn name(&self) -> &str {
        &self.name
    }
}

fn check(part: &str) -> Result<(), FileNameError> {
    if part.is_empty() {
        return Err(FileNameError::Empty);
    }
    if part.len() > PART_BYTES {
        return Err(FileNameError::Length { found: part.len() });
    }
    if part.starts_with('.') {
        return Err(FileNameError::Dot { part: part.into() });
    }
    match part.chars().find(|c| c.is_control() || matches!(c, '/' | '\\')) {
        Some(found) => Err(FileNameError::Character { found }),
        None => Ok(()),
    }
}

impl FromStr for FolderName {
    type Err = FileNameError;

    /// The root is the empty text.
    fn from_str(text: &str) -> Result<Self, FileNameError> {
        match text {
            "" => Ok(FolderName::root()),
            _ => text
                .split('/')
                .try_fold(FolderName::root(), |folder, part| folder.folder(part)),
        }
    }
}

impl FromStr for FileName {
    type Err = FileNameError;

    fn from_str(text: &str) -> Result<Self, FileNameError> {
        match text.rsplit_once('/') {
            Some(("", _)) => Err(FileNameError::Empty),
            Some((folder, name)) => folder.parse::<FolderName>()?.file(name),
            None => FolderName::root().file(text),
        }
    }
}

impl fmt::Display for FolderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.folder.as_str() {
            "" => f.write_str(&self.name),
            folder => write!(f, "{folder}/{}", self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // PITFALLS RTSP 9
    #[test]
    fn names_that_could_lead_elsewhere_are_none() {
        let dot = |part: &str| FileNameError::Dot { part: part.into() };
        for (text, expected) in [
            ("", FileNameError::Empty),
            ("/a.mp4", FileNameError::Empty),
            ("a//b.mp4", FileNameError::Empty),
            ("a/", FileNameError::Empty),
            ("..", dot("..")),
            ("a/../b.mp4", dot("..")),
            ("a/.hidden", dot(".hidden")),
            ("a\\b", FileNameError::Character { found: '\\' }),
            ("a\0", FileNameError::Character { found: '\0' }),
            ("a/b\n/c", FileNameError::Character { found: '\n' }),
        ] {
            assert_eq!(text.parse::<FileName>(), Err(expected), "{text:?}");
        }
        let long = "a".repeat(PART_BYTES + 1);
        assert_eq!(
            long.parse::<FileName>(),
            Err(FileNameError::Length { found: 256 })
        );
        let deep = vec!["a"; DEPTH + 1].join("/");
        assert_eq!(
            deep.parse::<FolderName>(),
            Err(FileNameError::Depth { found: DEPTH + 1 })
        );
        assert!(FolderName::root().file("a/b").is_err());
    }

    #[test]
    fn a_name_is_its_folder_and_what_is_in_it() {
        let name: FileName = "alice/front door/Größe 1.mp4".parse().expect("a name");
        assert_eq!(
            (name.folder().as_str(), name.name()),
            ("alice/front door", "Größe 1.mp4")
        );
        assert_eq!(name.to_string(), "alice/front door/Größe 1.mp4");
        assert_eq!(
            "a.wav".parse::<FileName>().expect("a name").folder(),
            &FolderName::root()
        );
    }
}
