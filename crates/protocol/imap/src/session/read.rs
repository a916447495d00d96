//! From input to commands: what cannot be read is refused, and literals are let in within their limits.

use super::input::{Next, announced, too_large_unasked};
use super::{Session, State, Tag, Task, Timer};
use crate::command::{self, Command};
use crate::sequence::NumberSet;
use crate::token::{Announced, ReadError};
use ringpost_base::limits;

impl Session {
    /// Reads the next command, if it is there.
    pub(super) fn read_command(&mut self) -> bool {
        if let Some(line) = self.bye.take() {
            self.close(line);
            return true;
        }
        let end = match self.input.next(self.config.literal_plus) {
            Next::More | Next::Discarded | Next::NoEnd => return false,
            Next::TooLong => {
                self.close("BYE [TOOBIG] The command is too long");
                return true;
            }
            Next::BareLine(end) => {
                let line = self.input.take(end);
                let (tag, _) = command::read(line.trim_ascii(), self.dialect());
                self.unreadable(tag, "A line ends with CR LF");
                return true;
            }
            Next::Line(end) => end,
        };
        if self.input.announces(end) {
            self.read_to_literal(end);
            return true;
        }
        let line = self.input.take(end);
        let (tag, command, respelt) = command::read_respelt(&line[..line.len() - 2], self.dialect());
        match (tag, command) {
            (Some(tag), Ok(command)) => {
                self.unread = 0;
                self.note_respelt(&command, respelt);
                self.start(tag.into(), command);
            }
            (tag, Err(error)) => {
                //= https://www.rfc-editor.org/rfc/rfc5182#section-2.1
                // A search that is refused with NO saves nothing.
                if matches!(error, ReadError::Charset) && command::saves(&line) {
                    self.saved = NumberSet::default();
                }
                self.refuse_unread(tag, &error);
            }
            (None, Ok(_)) => {}
        }
        true
    }

    /// The command goes on with a literal, if it makes sense so far.
    fn read_to_literal(&mut self, end: usize) {
        let bytes = self.input.command(end);
        let (tag, command, respelt) = command::read_respelt(bytes, self.dialect());
        let tag: Option<Tag> = tag.map(Tag::from);
        let announced = last_literal(bytes);
        match (tag, command) {
            (Some(tag), Ok(Command::Append(append))) => {
                self.input.take(end);
                self.respelt = respelt;
                self.unread = 0;
                self.start_append(tag, append);
            }
            (Some(tag), Err(ReadError::Literal(literal))) => self.take_literal(tag, end, literal),
            // Of an empty one nothing is missing, and yet its command goes on behind it.
            //= https://www.rfc-editor.org/rfc/rfc3501#section-4.3
            (Some(tag), _) if announced.size_bytes == 0 => self.take_literal(tag, end, announced),
            (tag, Err(error)) => {
                let literal = last_literal(bytes);
                if too_large_unasked(literal, self.config.literal_plus) {
                    return self.close("BYE [TOOBIG] The literal is too large");
                }
                if literal.unasked {
                    let text = refusal_of(&error);
                    self.input.refuse(end, literal.size_bytes);
                    self.task = Task::Discarding(format!("{} {text}", tag.as_deref().unwrap_or("*")));
                    self.count_unread();
                } else {
                    self.input.take(end);
                    self.refuse_unread(tag.as_deref(), &error);
                }
            }
            // No command is whole before a literal that it announces.
            (tag, Ok(_)) => {
                self.input.take(end);
                self.unreadable(tag.as_deref(), "No literal is expected here");
            }
        }
    }

    fn take_literal(&mut self, tag: Tag, end: usize, literal: Announced) {
        if too_large_unasked(literal, self.config.literal_plus) {
            return self.close("BYE [TOOBIG] The literal is too large");
        }
        let (count, bytes) = self.input.literals();
        let limit = match self.state {
            State::NotAuthenticated => limits::IMAP_LITERALS_BEFORE_LOGIN_BYTES,
            _ => limits::IMAP_LITERALS_BYTES,
        };
        let size = usize::try_from(literal.size_bytes).unwrap_or(usize::MAX);
        if count < limits::IMAP_LITERALS && size <= limit.saturating_sub(bytes) {
            self.input.expect_literal(end, size);
            if !literal.unasked {
                self.out.text("+ Ready for the literal\r\n");
            }
        } else if literal.unasked {
            self.input.refuse(end, literal.size_bytes);
            self.task = Task::Discarding(format!("{tag} BAD [TOOBIG] The command's literals are too large"));
            self.count_unread();
        } else {
            self.input.take(end);
            self.out.put(format_args!(
                "{tag} BAD [TOOBIG] The command's literals are too large\r\n"
            ));
            self.count_unread();
        }
    }

    pub(super) fn step_discarding(&mut self) -> bool {
        match self.input.next(self.config.literal_plus) {
            Next::More => false,
            Next::Discarded => {
                if let Task::Discarding(line) = std::mem::replace(&mut self.task, Task::Ready) {
                    self.out.put(format_args!("{line}\r\n"));
                }
                true
            }
            _ => {
                self.close("BYE [TOOBIG] The command is too long");
                true
            }
        }
    }

    fn refuse_unread(&mut self, tag: Option<&str>, error: &ReadError) {
        let text = refusal_of(error);
        self.out.put(format_args!("{} {text}\r\n", tag.unwrap_or("*")));
        // A command that was understood but asks for what cannot be is no sign of confusion.
        if !matches!(error, ReadError::Name(_) | ReadError::Charset) {
            self.count_unread();
        }
    }

    fn unreadable(&mut self, tag: Option<&str>, why: &str) {
        self.out.put(format_args!("{} BAD {why}\r\n", tag.unwrap_or("*")));
        self.count_unread();
    }

    fn count_unread(&mut self) {
        self.unread += 1;
        if self.unread >= limits::IMAP_FAILURES {
            self.close("BYE Too many commands could not be read");
        }
    }

    pub(super) fn read_done(&mut self) -> bool {
        let end = match self.input.next(self.config.literal_plus) {
            Next::More | Next::Discarded | Next::NoEnd => return false,
            Next::TooLong => {
                self.close("BYE [TOOBIG] The line is too long");
                return true;
            }
            Next::BareLine(end) | Next::Line(end) => end,
        };
        let line = self.input.take(end);
        if let Task::Idle(tag) = std::mem::replace(&mut self.task, Task::Ready) {
            self.timers.stop(Timer::StillHere);
            match line.eq_ignore_ascii_case(b"DONE\r\n") {
                true => self.finish(tag, "OK Done"),
                false => self.finish(tag, "BAD DONE ends IDLE"),
            }
        }
        true
    }
}

/// What a command that could not be read is answered with.
fn refusal_of(error: &ReadError) -> String {
    match error {
        //= https://www.rfc-editor.org/rfc/rfc3501#section-7.1
        ReadError::Charset => format!("NO [BADCHARSET ({})] The charset is not known", command::CHARSETS),
        ReadError::Name(_) => format!("NO [CANNOT] {error}"),
        _ => format!("BAD {error}"),
    }
}

/// The literal that the end of `bytes` announces; the caller has seen that it does.
fn last_literal(bytes: &[u8]) -> Announced {
    announced(bytes).unwrap_or(Announced {
        size_bytes: 0,
        unasked: false,
        binary: false,
    })
}
