//! News of the selected mailbox, told when it may be (RFC 3501 §5.2 and §7).

use super::{Session, State};
use crate::flag::SystemFlag;
use crate::respond::Wire;
use crate::view::{Entry, View};

/// Lines of one kind told in one step, so that a big change leaves in pieces.
const LINES: usize = 500;

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
            let numbers = view.take_expunged(LINES);
            for number in &numbers {
                self.out.put(format_args!("* {number} EXPUNGE\r\n"));
            }
            if numbers.len() == LINES {
                return true;
            }
        }
        if view.take_arrived() {
            self.out.put(format_args!(
                "* {} EXISTS\r\n* {} RECENT\r\n",
                view.last().0,
                view.recent()
            ));
        }
        tell_keywords(&mut self.out, view);
        for i in view.take_flags(LINES) {
            let entry = &view.messages()[i];
            self.out
                .put(format_args!("* {} FETCH (UID {} FLAGS (", i + 1, entry.uid));
            write_flags(&mut self.out, entry);
            self.out.text("))\r\n");
        }
        true
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
    out.put(format_args!("{}", entry.flags));
    if entry.recent {
        out.text(if entry.flags.is_empty() {
            "\\Recent"
        } else {
            " \\Recent"
        });
    }
}
