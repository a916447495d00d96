//! The TRANSACTION state: what is in the maildrop, and what is marked to go.

use super::{MISMATCH, Output, Session, State, Task, WRITE_BYTES};
use crate::command::{Command, Number};
use crate::question::{Answer, Ask, Listed, Maildrop, Refusal, Uid};
use crate::transform::Transform;
use std::fmt::Write;
use std::sync::Arc;

/// The session's maildrop: as it was at the login, and what has been marked since.
pub(super) struct Opened {
    uid_validity: u32,
    messages: Arc<[Listed]>,
    /// One bit a message.
    deleted: Vec<u64>,
    count: usize,
    size_bytes: u64,
}

/// LIST or UIDL of everything, under way.
pub(super) struct Listing {
    what: What,
    next: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Sizes,
    Uniques,
}

impl Opened {
    pub(super) fn new(maildrop: Maildrop) -> Self {
        let Maildrop {
            uid_validity,
            messages,
        } = maildrop;
        Opened {
            uid_validity,
            deleted: vec![0; messages.len().div_ceil(64)],
            count: messages.len(),
            size_bytes: messages.iter().map(|m| m.size_bytes).sum(),
            messages,
        }
    }

    /// How many messages there are that are not marked, and their size together.
    pub(super) fn totals(&self) -> (usize, u64) {
        (self.count, self.size_bytes)
    }

    fn is_deleted(&self, index: usize) -> bool {
        self.deleted[index / 64] & 1 << (index % 64) != 0
    }

    /// The place of the message with this number, if it is there and not marked.
    fn find(&self, number: Number) -> Option<usize> {
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        (index < self.messages.len() && !self.is_deleted(index)).then_some(index)
    }

    fn delete(&mut self, index: usize) {
        self.deleted[index / 64] |= 1 << (index % 64);
        self.count -= 1;
        self.size_bytes -= self.messages[index].size_bytes;
    }

    fn reset(&mut self) {
        self.deleted.fill(0);
        self.count = self.messages.len();
        self.size_bytes = self.messages.iter().map(|m| m.size_bytes).sum();
    }

    fn marked(&self) -> Vec<Uid> {
        let all = self.messages.iter().enumerate();
        all.filter(|(index, _)| self.is_deleted(*index))
            .map(|(_, message)| message.uid)
            .collect()
    }

    fn write(&self, what: What, index: usize, out: &mut impl Write) {
        let message = &self.messages[index];
        // Writing into memory does not fail.
        let _ = match what {
            What::Sizes => write!(out, "{} {}\r\n", index + 1, message.size_bytes),
            //= https://www.rfc-editor.org/rfc/rfc1939#section-7
            // UIDVALIDITY and UID together are never given again, whatever becomes of the message.
            What::Uniques => write!(
                out,
                "{} {:08x}{:08x}\r\n",
                index + 1,
                self.uid_validity,
                message.uid
            ),
        };
    }
}

impl Session {
    pub(super) fn start_after_login(&mut self, command: Command) {
        let State::Transaction(drop) = &mut self.state else {
            return;
        };
        let (count, size_bytes) = drop.totals();
        match command {
            Command::Stat => self.say(format_args!("+OK {count} {size_bytes}")),
            Command::Noop => self.say(format_args!("+OK")),
            Command::Rset => {
                drop.reset();
                let (count, size_bytes) = drop.totals();
                self.say(format_args!("+OK {count} messages ({size_bytes} octets)"));
            }
            Command::List(None) => {
                self.say(format_args!("+OK {count} messages ({size_bytes} octets)"));
                self.start_listing(What::Sizes);
            }
            Command::Uidl(None) => {
                self.say(format_args!("+OK"));
                self.start_listing(What::Uniques);
            }
            Command::List(Some(number)) => self.tell_one(What::Sizes, number),
            Command::Uidl(Some(number)) => self.tell_one(What::Uniques, number),
            Command::Dele(number) => match drop.find(number) {
                Some(index) => {
                    drop.delete(index);
                    self.say(format_args!("+OK It goes with QUIT"));
                }
                None => self.no_such_message(),
            },
            Command::Retr(number) => self.start_retrieving(number, None),
            Command::Top(number, lines) => self.start_retrieving(number, Some(lines)),
            //= https://www.rfc-editor.org/rfc/rfc1939#section-6
            Command::Quit => {
                let delete = drop.marked();
                self.ask(Task::Update, Ask::Update { delete });
            }
            //= https://www.rfc-editor.org/rfc/rfc2595#section-4
            //= https://www.rfc-editor.org/rfc/rfc5034#section-4
            Command::Stls | Command::User(_) | Command::Pass(_) | Command::Auth { .. } => {
                self.say(format_args!("-ERR You have logged in already"));
            }
            Command::Utf8 => self.say(format_args!("-ERR Only before the login")),
            // Both were looked at before.
            Command::Capa | Command::Lang(_) => {}
        }
    }

    fn no_such_message(&mut self) {
        self.say(format_args!("-ERR There is no such message"));
    }

    fn tell_one(&mut self, what: What, number: Number) {
        let State::Transaction(drop) = &self.state else {
            return;
        };
        match drop.find(number) {
            Some(index) => {
                self.out.extend_from_slice(b"+OK ");
                drop.write(what, index, &mut self.out);
            }
            None => self.no_such_message(),
        }
    }

    fn start_listing(&mut self, what: What) {
        self.task = Task::Listing(Listing { what, next: 0 });
    }

    /// Writes some lines of a listing, so that a large maildrop is not told in one breath.
    pub(super) fn step_listing(&mut self) {
        let (State::Transaction(drop), Task::Listing(listing)) = (&self.state, &mut self.task) else {
            return;
        };
        while self.out.len() < WRITE_BYTES {
            if listing.next == drop.messages.len() {
                self.task = Task::Ready;
                return self.say(format_args!("."));
            }
            if !drop.is_deleted(listing.next) {
                drop.write(listing.what, listing.next, &mut self.out);
            }
            listing.next += 1;
        }
    }

    fn start_retrieving(&mut self, number: Number, lines: Option<u64>) {
        let State::Transaction(drop) = &self.state else {
            return;
        };
        match drop.find(number) {
            Some(index) => {
                let uid = drop.messages[index].uid;
                self.ask(Task::Retrieve { index, lines }, Ask::Retrieve(uid));
            }
            None => self.no_such_message(),
        }
    }

    pub(super) fn retrieve_answered(&mut self, index: usize, lines: Option<u64>, answer: Answer) {
        let State::Transaction(drop) = &self.state else {
            return;
        };
        let Listed { uid, size_bytes } = drop.messages[index];
        match answer {
            Answer::Done => {
                match lines {
                    None => self.say(format_args!("+OK {size_bytes} octets")),
                    Some(_) => self.say(format_args!("+OK")),
                }
                let transform = Transform::new(lines, self.utf8);
                self.emit(Output::Body { uid, transform });
            }
            Answer::Refused(why) => self.refuse(why),
            _ => self.say(format_args!("{MISMATCH}")),
        }
    }

    //= https://www.rfc-editor.org/rfc/rfc1939#section-6
    // The session ends whatever became of the messages.
    pub(super) fn update_answered(&mut self, answer: &Answer) {
        match answer {
            Answer::Done => self.close("+OK Until next time"),
            Answer::Refused(Refusal::Broken) => self.close("-ERR [SYS/PERM] Not every message was removed"),
            Answer::Refused(_) => self.close("-ERR [SYS/TEMP] Not every message was removed"),
            _ => self.close(MISMATCH),
        }
    }
}
