//! News of the selected mailbox, told when it may be (RFC 3501 §5.2 and §7).

use super::sync::write_vanished;
use super::{Session, State};
use crate::flag::SystemFlag;
use crate::respond::Wire;
use crate::view::{Entry, Untold, View};
use bytes::BufMut;

/// Keywords of which IMAP4rev2 knows what they mean, so that they are told where none has them yet.
const KEYWORDS: [&str; 5] = ["$Forwarded", "$MDNSent", "$Junk", "$NotJunk", "$Phishing"];

/// What a line about a message mostly takes at most.
const LINE_BYTES: usize = 64;

/// Lines of one kind told in one step, so that a big change leaves in pieces.
pub(super) const LINES: usize = 500;

impl Session {
    /// Tells a piece of what is new; false when there is nothing that may be told.
    pub(super) fn tell_news(&mut self, expunges: bool) -> bool {
        let State::Selected(view) = &mut self.state else {
            return false;
        };
        if !view.has_news(expunges) {
            return false;
        }
        if expunges {
            let gone = view.take_expunged(LINES);
            match self.qresync {
                true => write_vanished(&mut self.out, "", &gone.iter().map(|(_, uid)| *uid).collect()),
                false => gone
                    .iter()
                    .for_each(|(number, _)| self.out.put(format_args!("* {number} EXPUNGE\r\n"))),
            }
            if gone.len() == LINES {
                return true;
            }
        }
        if view.take_arrived() {
            tell_exists(&mut self.out, view);
        }
        tell_keywords(&mut self.out, view);
        let told = view.take_flags(LINES);
        write_changes(&mut self.out, view, &told);
        true
    }
}

pub(super) fn tell_exists(out: &mut Wire, view: &View) {
    out.put(format_args!("* {} EXISTS\r\n", view.last().0));
    //= https://www.rfc-editor.org/rfc/rfc9051#appendix-E
    // Item 12: nothing is recent any more.
    if !out.rev2 {
        out.put(format_args!("* {} RECENT\r\n", view.recent()));
    }
}

//= https://www.rfc-editor.org/rfc/rfc7162#section-3.2.4
/// Tells what has changed of messages, by their positions: their UIDs always, their MODSEQs to who wants to know of those.
pub(super) fn write_changes(out: &mut Wire, view: &View, changes: &[(usize, Untold)]) {
    // A vector takes short pieces for less, and there are some for each message of a mailbox.
    let mut lines = Vec::with_capacity(changes.len() * LINE_BYTES);
    for (i, what) in changes {
        let entry = &view.messages()[*i];
        lines.put_slice(b"* ");
        write_number(&mut lines, *i as u64 + 1);
        lines.put_slice(b" FETCH (UID ");
        write_number(&mut lines, entry.uid.into());
        if *what == Untold::Flags {
            lines.put_slice(b" FLAGS (");
            write_flags(&mut lines, entry, out.rev2);
            lines.put_slice(b")");
        }
        if view.condstore {
            lines.put_slice(b" MODSEQ (");
            write_number(&mut lines, entry.modseq);
            lines.put_slice(b")");
        }
        lines.put_slice(b")\r\n");
    }
    out.bytes.put_slice(&lines);
}

/// A number as IMAP writes it. Of these there are several for each message of a mailbox.
pub(super) fn write_number(out: &mut impl BufMut, mut n: u64) {
    let (mut digits, mut at) = ([0; 20], 20);
    loop {
        at -= 1;
        digits[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            return out.put_slice(&digits[at..]);
        }
    }
}

//= https://www.rfc-editor.org/rfc/rfc3501#section-7.2.6
/// Tells which keywords there are, when there is a new one: before any message is shown with it.
pub(super) fn tell_keywords(out: &mut Wire, view: &mut View) {
    if view.take_keywords() {
        write_keywords(out, view);
    }
}

pub(super) fn write_keywords(out: &mut Wire, view: &View) {
    let mut all = String::new();
    for flag in SystemFlag::ALL {
        all.push_str(flag.name());
        all.push(' ');
    }
    for keyword in view.keywords() {
        all.push_str(keyword.as_str());
        all.push(' ');
    }
    //= https://www.rfc-editor.org/rfc/rfc9051#section-2.3.2
    let known = |name: &&str| view.keywords().any(|k| k.as_str().eq_ignore_ascii_case(name));
    for name in KEYWORDS.iter().filter(|name| out.rev2 && !known(name)) {
        all.push_str(name);
        all.push(' ');
    }
    out.put(format_args!("* FLAGS ({})\r\n", all.trim_end()));
    if view.read_only {
        out.text("* OK [PERMANENTFLAGS ()] Nothing can be changed\r\n");
    } else {
        out.put(format_args!(
            "* OK [PERMANENTFLAGS ({all}\\*)] These are kept\r\n"
        ));
    }
}

/// A message's flags as the session sees them; with IMAP4rev2 nothing is recent.
pub(super) fn write_flags(out: &mut impl BufMut, entry: &Entry, rev2: bool) {
    let mut gap = "";
    let mut put = |flag: &str| {
        out.put_slice(gap.as_bytes());
        out.put_slice(flag.as_bytes());
        gap = " ";
    };
    for flag in SystemFlag::ALL.into_iter().filter(|flag| entry.flags.is(*flag)) {
        put(flag.name());
    }
    for keyword in entry.flags.keywords() {
        put(keyword.as_str());
    }
    if entry.recent && !rev2 {
        put("\\Recent");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_anybody_writes_them() {
        for n in [0, 1, 9, 10, 4_294_967_295, u64::MAX] {
            let mut out = Vec::new();
            write_number(&mut out, n);
            assert_eq!(out, n.to_string().as_bytes());
        }
    }
}
