use crate::{Media, MediaKind, Origin};
use std::net::Ipv4Addr;

/// What devices write that is no description by RFC 8866, and that is read all the same where it is tolerated.
///
/// [`SessionDescription::parse`](crate::SessionDescription::parse) tolerates none of it;
/// [`SessionDescription::read`](crate::SessionDescription::read) what it is told to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Quirk {
    /// The first line is not `v=0`.
    NoVersion,
    /// No `o=` that can be read: nobody's first version, from 0.0.0.0.
    Origin,
    /// A `c=` that cannot be read: as if it were not there.
    Connection,
    /// A `t=`, `r=` or `z=` that cannot be read: as if it were not there.
    Time,
    /// An `m=` that cannot be read: it stands, so that those behind it keep their places, for a medium without a port, kind and
    /// protocol of which are `-`.
    Media,
    /// Another line that cannot be read, of an unknown letter, or where it should not stand: passed over.
    Line,
}

impl Quirk {
    /// All of them: for what cameras and their kin describe.
    pub const ALL: [Quirk; 6] = [
        Quirk::NoVersion,
        Quirk::Origin,
        Quirk::Connection,
        Quirk::Time,
        Quirk::Media,
        Quirk::Line,
    ];

    /// What a line that begins so would be, if it were to be passed over.
    pub(crate) fn of_line(letter: &str) -> Option<Self> {
        match letter {
            // Another version may mean anything.
            "v" => None,
            "o" => Some(Quirk::Origin),
            "c" => Some(Quirk::Connection),
            "t" | "r" | "z" => Some(Quirk::Time),
            "m" => Some(Quirk::Media),
            _ => Some(Quirk::Line),
        }
    }
}

/// What stands for an `o=` that cannot be read.
pub(crate) fn nobody() -> Origin {
    Origin {
        username: "-".into(),
        session_id: 0,
        version: 0,
        address: std::net::IpAddr::from(Ipv4Addr::UNSPECIFIED).into(),
    }
}

/// What stands for an `m=` that cannot be read.
pub(crate) fn nothing() -> Media {
    Media::new(MediaKind::Other("-".into()), 0, "-", vec!["0".into()])
}
