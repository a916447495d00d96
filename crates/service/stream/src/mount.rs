use ringpost_base::limits;
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// Why a name is none of a mount.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MountNameError {
    /// Nothing, or nothing between two slashes.
    #[error("expected names between the slashes of a mount, found an empty one")]
    Empty,
    /// More octets than [`limits::MOUNT_NAME_BYTES`].
    #[error(
        "expected at most {} octets in a mount's name, found {found}",
        limits::MOUNT_NAME_BYTES
    )]
    Length {
        /// How many there are.
        found: usize,
    },
    /// More than [`limits::MOUNT_NAME_PARTS`] names between slashes.
    #[error(
        "expected at most {} names between slashes, found {found}",
        limits::MOUNT_NAME_PARTS
    )]
    Parts {
        /// How many there are.
        found: usize,
    },
    /// A character outside the alphabet.
    #[error("expected letters and digits of ASCII, or one of -_.~@+, found {found:?}")]
    Character {
        /// The first of them.
        found: char,
    },
    /// A name that begins with a dot: `.`, `..`, and what file systems hide.
    #[error("a name of a mount cannot begin with a dot, as {part:?} does")]
    Dot {
        /// The name.
        part: String,
    },
}

/// The name of a mount, such as `alice/door`: one to [`limits::MOUNT_NAME_PARTS`] names with slashes between them.
///
/// Its alphabet is closed (ASCII letters, digits and `-_.~@+`) and no name in it begins with a dot, so that it is the same in
/// a URL, in a folder's path and on a command line. Letters keep their case, and names that differ in it are two mounts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MountName(String);

impl MountName {
    /// The name as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first name: the account that the mount belongs to, unless the configuration says otherwise.
    pub fn first(&self) -> &str {
        self.0.split('/').next().unwrap_or_default()
    }

    /// The names between the slashes.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }
}

impl FromStr for MountName {
    type Err = MountNameError;

    fn from_str(name: &str) -> Result<Self, MountNameError> {
        if name.len() > limits::MOUNT_NAME_BYTES {
            return Err(MountNameError::Length { found: name.len() });
        }
        let found = name.split('/').count();
        if found > limits::MOUNT_NAME_PARTS {
            return Err(MountNameError::Parts { found });
        }
        name.split('/').try_for_each(check_part)?;
        Ok(MountName(name.into()))
    }
}

fn check_part(part: &str) -> Result<(), MountNameError> {
    if part.is_empty() {
        return Err(MountNameError::Empty);
    }
    if let Some(found) = part.chars().find(|c| !is_of_alphabet(*c)) {
        return Err(MountNameError::Character { found });
    }
    if part.starts_with('.') {
        return Err(MountNameError::Dot { part: part.into() });
    }
    Ok(())
}

fn is_of_alphabet(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_.~@+".contains(c)
}

impl fmt::Display for MountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which mounts a line of the configuration speaks of: a mount's name in which `*` stands for one name between slashes and
/// a last `**` for one or more.
///
/// Of several patterns that match a mount the one that says most counts: names before `*`, and `*` before `**`, from the
/// left. Patterns are ordered so that the first one that matches is that one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountPattern(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Name(String),
    One,
    Rest,
}

/// Why a text is no pattern of mounts.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MountPatternError {
    /// `**` stands elsewhere than at the end.
    #[error("expected ** at the end of a pattern only")]
    RestInside,
    /// A name that no mount could have.
    #[error(transparent)]
    Name(#[from] MountNameError),
}

impl MountPattern {
    /// Whether it speaks of this mount.
    pub fn matches(&self, mount: &MountName) -> bool {
        let mut names = mount.parts();
        for part in &self.0 {
            match (part, names.next()) {
                (Part::Rest, Some(_)) => return true,
                (Part::One, Some(_)) => {}
                (Part::Name(expected), Some(name)) if expected == name => {}
                _ => return false,
            }
        }
        names.next().is_none()
    }
}

impl PartialOrd for MountPattern {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for MountPattern {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

impl FromStr for MountPattern {
    type Err = MountPatternError;

    fn from_str(pattern: &str) -> Result<Self, MountPatternError> {
        let texts: Vec<&str> = pattern.split('/').collect();
        if texts.len() > limits::MOUNT_NAME_PARTS {
            return Err(MountNameError::Parts { found: texts.len() }.into());
        }
        let last = texts.len() - 1;
        let parts = texts.iter().enumerate().map(|(index, text)| match *text {
            "**" if index != last => Err(MountPatternError::RestInside),
            "**" => Ok(Part::Rest),
            "*" => Ok(Part::One),
            name => {
                check_part(name)?;
                Ok(Part::Name(name.into()))
            }
        });
        Ok(MountPattern(parts.collect::<Result<_, _>>()?))
    }
}

impl fmt::Display for MountPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, part) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("/")?;
            }
            f.write_str(match part {
                Part::Name(name) => name,
                Part::One => "*",
                Part::Rest => "**",
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> MountName {
        text.parse().expect("a mount's name")
    }

    // PITFALLS RTSP 9
    #[test]
    fn names_that_could_lead_elsewhere_are_none() {
        let dot = |part: &str| MountNameError::Dot { part: part.into() };
        for (text, expected) in [
            ("", MountNameError::Empty),
            ("/alice", MountNameError::Empty),
            ("alice/", MountNameError::Empty),
            ("alice//door", MountNameError::Empty),
            ("..", dot("..")),
            ("alice/../bob", dot("..")),
            ("alice/.", dot(".")),
            ("alice/.ssh", dot(".ssh")),
            ("alice/do or", MountNameError::Character { found: ' ' }),
            ("alice\\door", MountNameError::Character { found: '\\' }),
            ("alice/%2e%2e", MountNameError::Character { found: '%' }),
            ("alice/door\0", MountNameError::Character { found: '\0' }),
            ("alice/tür", MountNameError::Character { found: 'ü' }),
            ("a/b/c/d/e/f/g/h/i", MountNameError::Parts { found: 9 }),
        ] {
            assert_eq!(text.parse::<MountName>(), Err(expected), "{text:?}");
        }
        let long = "a".repeat(limits::MOUNT_NAME_BYTES + 1);
        let found = long.len();
        assert_eq!(long.parse::<MountName>(), Err(MountNameError::Length { found }));
    }

    #[test]
    fn a_name_keeps_what_it_was_written_with() {
        let door = name("alice+home@example.org/Front-door_1.main~");
        assert_eq!(door.to_string(), "alice+home@example.org/Front-door_1.main~");
        assert_eq!(door.first(), "alice+home@example.org");
    }

    #[test]
    fn stars_stand_for_one_name_or_the_rest() {
        for (pattern, mount, expected) in [
            ("alice/door", "alice/door", true),
            ("alice/door", "alice/doors", false),
            ("alice/door", "alice/door/left", false),
            ("alice/door/left", "alice/door", false),
            ("*/door", "bob/door", true),
            ("*/door", "bob/garden", false),
            ("*", "bob", true),
            ("*", "bob/door", false),
            ("alice/**", "alice/door", true),
            ("alice/**", "alice/door/left", true),
            ("alice/**", "alice", false),
            ("**", "alice", true),
        ] {
            let parsed: MountPattern = pattern.parse().expect("a pattern");
            assert_eq!(parsed.matches(&name(mount)), expected, "{pattern} for {mount}");
            assert_eq!(parsed.to_string(), pattern);
        }
    }

    #[test]
    fn a_pattern_is_made_of_names_and_whole_stars() {
        for (pattern, expected) in [
            ("**/door", MountPatternError::RestInside),
            ("alice/d*", MountNameError::Character { found: '*' }.into()),
            ("", MountNameError::Empty.into()),
        ] {
            assert_eq!(pattern.parse::<MountPattern>(), Err(expected), "{pattern:?}");
        }
    }

    #[test]
    fn the_pattern_that_says_most_comes_first() {
        let parse = |text: &&str| text.parse::<MountPattern>().expect("a pattern");
        let sorted = ["alice/door", "alice/*", "alice/**", "*/door", "*/*", "**"];
        let mut patterns: Vec<MountPattern> = sorted.iter().rev().map(parse).collect();
        patterns.sort();
        let texts: Vec<String> = patterns.iter().map(MountPattern::to_string).collect();
        assert_eq!(texts, sorted);
    }
}
