pub use ringpost_rtsp::{MountPath as MountName, PathError as MountNameError};

use ringpost_base::limits;
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// Where an account's calls are, below its name: `alice/call/…`.
pub const CALLS: &str = "call";
/// The mount below an account's that holds its voicemails, `alice/voicemail`: all in a row, the oldest first. Each by itself is
/// `alice/voicemail/1-17`: its mailbox's number and its UID.
pub const VOICEMAIL: &str = "voicemail";

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
    /// The one mount that it speaks of; `None` where there may be many.
    pub fn name(&self) -> Option<MountName> {
        let is_name = |part: &Part| matches!(part, Part::Name(_));
        self.0
            .iter()
            .all(is_name)
            .then(|| self.to_string().parse().ok())?
    }

    /// Whether it speaks of this mount. Of an account's calls ([`CALLS`]) and voicemails ([`VOICEMAIL`]) speaks only what names
    /// them: who opens all that an account has does not think of those.
    pub fn matches(&self, mount: &MountName) -> bool {
        let private = mount
            .parts()
            .nth(1)
            .filter(|name| [CALLS, VOICEMAIL].contains(name));
        let names = |part: &Part| matches!(part, Part::Name(name) if Some(&name[..]) == private);
        if private.is_some() && !self.0.get(1).is_some_and(names) {
            return false;
        }
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
                let name: MountName = name.parse()?;
                Ok(Part::Name(name.as_str().into()))
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
            // Calls are opened by nobody who does not speak of them.
            ("alice/*", "alice/call", false),
            ("alice/**", "alice/call/1", false),
            ("*/*/*", "alice/call/1", false),
            ("**", "alice/call/1", false),
            ("*/call/*", "alice/call/1", true),
            ("alice/call/**", "alice/call/1", true),
            ("alice/**", "alice/door/call", true),
            ("alice/*", "alice/voicemail", false),
            ("alice/**", "alice/voicemail/1-17", false),
            ("**", "alice/voicemail", false),
            ("alice/call/**", "alice/voicemail/1-17", false),
            ("alice/voicemail/**", "alice/voicemail/1-17", true),
            ("*/voicemail", "alice/voicemail", true),
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
