//! News of the selected mailbox, told when it may be (RFC 3501 §5.2 and §7).

use super::sync::write_vanished;
use super::{Session, State};
use crate::flag::SystemFlag;
use crate::respond::Wire;
use crate::view::{Entry, Untold, View};

/// Keywords of which IMAP4rev2 knows what they mean, so that they are told where none has them yet.
const KEYWORDS: [&str; 5] = ["$Forwarded", "$MDNSent", "$Junk", "$NotJunk", "$Phishing"];

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
        for (i, what) in view.take_flags(LINES) {
            write_change(&mut self.out, view, i, what);
        }
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
/// Tells what has changed of the message at `i`: its UID always, its MODSEQ to who wants to know of those.
pub(super) fn write_change(out: &mut Wire, view: &View, i: usize, what: Untold) {
    let entry = &view.messages()[i];
    out.text("* ");
    write_number(out, i as u64 + 1);
    out.text(" FETCH (UID ");
    write_number(out, entry.uid.into());
    if what == Untold::Flags {
        out.text(" FLAGS (");
        write_flags(out, entry);
        out.text(")");
    }
    if view.condstore {
        out.text(" MODSEQ (");
        write_number(out, entry.modseq);
        out.text(")");
    }
    out.text(")\r\n");
}

/// A number as IMAP writes it. Of these there are several for each message of a mailbox.
pub(super) fn write_number(out: &mut Wire, mut n: u64) {
    let (mut digits, mut at) = ([0; 20], 20);
    loop {
        at -= 1;
        digits[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            return out.bytes.extend_from_slice(&digits[at..]);
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

/// A message's flags as the session sees them.
pub(super) fn write_flags(out: &mut Wire, entry: &Entry) {
    let mut gap = "";
    for flag in SystemFlag::ALL.into_iter().filter(|flag| entry.flags.is(*flag)) {
        out.text(gap);
        out.text(flag.name());
        gap = " ";
    }
    for keyword in entry.flags.keywords() {
        out.text(gap);
        out.text(keyword.as_str());
        gap = " ";
    }
    if entry.recent && !out.rev2 {
        out.text(if entry.flags.is_empty() {
            "\\Recent"
        } else {
            " \\Recent"
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_anybody_writes_them() {
        for n in [0, 1, 9, 10, 4_294_967_295, u64::MAX] {
            let mut out = Wire::default();
            write_number(&mut out, n);
            assert_eq!(&out.bytes[..], n.to_string().as_bytes());
        }
    }
}
