//! The paths of mounts within URLs, which are their names everywhere else.

use crate::url::decode;
use ringpost_base::limits;
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// Why a text, or a URL's path, names no mount.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PathError {
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
    /// An escape of a URL that is cut off, is not hexadecimal, or stands for no text.
    #[error("expected escapes of two hexadecimal digits that stand for ASCII")]
    Escape,
}

/// The name of a mount, such as `alice/door`: one to [`limits::MOUNT_NAME_PARTS`] names with slashes between them. In a URL it
/// is the path.
///
/// Its alphabet is closed (ASCII letters, digits and `-_.~@+`) and no name in it begins with a dot, so that it is the same in
/// a URL, in a folder's path, in a key of the store and on a command line. It has no `=`, so that no mount is called like a
/// [stream of one](crate::control::track_control). Letters keep their case, and names that differ in it are two mounts.
// Guards pitfall RTSP 9.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MountPath(String);

impl MountPath {
    /// From the path of a URL; one slash at each end is passed over. Escapes are decoded once.
    pub fn parse(path: &str) -> Result<Self, PathError> {
        if path.len() > 3 * limits::MOUNT_NAME_BYTES + 2 {
            return Err(PathError::Length { found: path.len() });
        }
        let bytes = decode(path).ok_or(PathError::Escape)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| PathError::Escape)?;
        let text = text.strip_prefix('/').unwrap_or(text);
        text.strip_suffix('/').unwrap_or(text).parse()
    }

    /// The name as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first name: the account that the mount belongs to, unless the configuration says otherwise.
    pub fn first(&self) -> &str {
        self.parts().next().unwrap_or_default()
    }

    /// The names between the slashes, of which there is at least one.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }
}

/// From the name itself: without escapes, and without slashes at its ends.
impl FromStr for MountPath {
    type Err = PathError;

    fn from_str(name: &str) -> Result<Self, PathError> {
        if name.len() > limits::MOUNT_NAME_BYTES {
            return Err(PathError::Length { found: name.len() });
        }
        let found = name.split('/').count();
        if found > limits::MOUNT_NAME_PARTS {
            return Err(PathError::Parts { found });
        }
        name.split('/').try_for_each(check_part)?;
        Ok(MountPath(name.into()))
    }
}

fn check_part(part: &str) -> Result<(), PathError> {
    if part.is_empty() {
        return Err(PathError::Empty);
    }
    let is_of_alphabet = |c: char| c.is_ascii_alphanumeric() || "-_.~@+".contains(c);
    if let Some(found) = part.chars().find(|c| !is_of_alphabet(*c)) {
        return Err(PathError::Character { found });
    }
    if part.starts_with('.') {
        return Err(PathError::Dot { part: part.into() });
    }
    Ok(())
}

impl fmt::Display for MountPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dot(part: &str) -> PathError {
        PathError::Dot { part: part.into() }
    }

    // Guards pitfall RTSP 9.
    #[test]
    fn names_that_could_lead_elsewhere_are_none() {
        for (text, expected) in [
            ("", PathError::Empty),
            ("/alice", PathError::Empty),
            ("alice/", PathError::Empty),
            ("alice//door", PathError::Empty),
            ("..", dot("..")),
            ("alice/../bob", dot("..")),
            ("alice/.", dot(".")),
            ("alice/.ssh", dot(".ssh")),
            ("alice/do or", PathError::Character { found: ' ' }),
            ("alice\\door", PathError::Character { found: '\\' }),
            ("alice/%2e%2e", PathError::Character { found: '%' }),
            ("alice/door\0", PathError::Character { found: '\0' }),
            ("alice/tür", PathError::Character { found: 'ü' }),
            ("alice/trackID=0", PathError::Character { found: '=' }),
            ("a/b/c/d/e/f/g/h/i", PathError::Parts { found: 9 }),
        ] {
            assert_eq!(text.parse::<MountPath>(), Err(expected), "{text:?}");
        }
        let long = "a".repeat(limits::MOUNT_NAME_BYTES);
        assert!(long.parse::<MountPath>().is_ok());
        let found = long.len() + 1;
        assert_eq!(
            format!("{long}a").parse::<MountPath>(),
            Err(PathError::Length { found })
        );
    }

    // Guards pitfall RTSP 9.
    #[test]
    fn the_path_of_a_url_is_decoded_once_and_never_leaves_its_folder() {
        let path = |text: &str| MountPath::parse(text);
        assert_eq!(path("/alice/front-door/").unwrap().as_str(), "alice/front-door");
        assert_eq!(path("/a%6cice").unwrap().as_str(), "alice");
        assert_eq!(path("/a@b.test/x").unwrap().parts().count(), 2);
        for (text, error) in [
            ("", PathError::Empty),
            ("/", PathError::Empty),
            ("/a//b", PathError::Empty),
            ("/a//", PathError::Empty),
            ("/a/..", dot("..")),
            ("/../etc/passwd", dot("..")),
            ("/%2e%2e/x", dot("..")),
            ("/a/%2E./x", dot("..")),
            ("/a%2f%2e%2e%2fb", dot("..")),
            ("/.", dot(".")),
            ("/..a/b", dot("..a")),
            ("/%252e%252e", PathError::Character { found: '%' }),
            ("/a%00", PathError::Character { found: '\0' }),
            ("/a%5c..%5cb", PathError::Character { found: '\\' }),
            ("/a:b", PathError::Character { found: ':' }),
            ("/%c3%bc", PathError::Character { found: 'ü' }),
            ("/a%", PathError::Escape),
            ("/a%4", PathError::Escape),
            ("/a%zz", PathError::Escape),
            ("/%ff", PathError::Escape),
        ] {
            assert_eq!(path(text).unwrap_err(), error, "{text}");
        }
        let escaped = "%61".repeat(limits::MOUNT_NAME_BYTES);
        assert!(path(&format!("/{escaped}/")).is_ok());
        assert!(matches!(
            path(&format!("/{escaped}//a")),
            Err(PathError::Length { .. })
        ));
    }

    #[test]
    fn a_name_keeps_what_it_was_written_with() {
        let door: MountPath = "alice+home@example.org/Front-door_1.main~".parse().unwrap();
        assert_eq!(door.to_string(), "alice+home@example.org/Front-door_1.main~");
        assert_eq!(door.first(), "alice+home@example.org");
        assert_eq!(MountPath::parse(door.as_str()), Ok(door));
    }
}
