//! APPEND (RFC 3501 §6.3.11): a message passes through in pieces and is never gathered.

use super::input::{Next, announced, too_large_unasked};
use super::output::{Event, MISMATCH, refusal};
use super::{Session, State, Tag, Task};
use crate::command::{self, Append, AppendMessage};
use crate::question::{Answer, Ask, Refusal};
use crate::sequence::write_runs;
use crate::token::Announced;
use ringpost_base::limits;

/// APPEND under way.
pub(super) struct AppendTask {
    tag: Tag,
    message: Announced,
    /// Whether a parenthesis closes it.
    utf8: bool,
    stage: Stage,
    /// Messages of it so far, with the one that is asked about.
    count: usize,
    /// Whether the driver keeps something of it.
    begun: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Whether the message may come is being found out.
    Asked,
    /// So many of its bytes are to come.
    Streaming(u64),
    /// The line's end is to come.
    LineEnd,
    /// It is being kept.
    Finishing,
}

impl AppendTask {
    /// Whether there is something to be forgotten when it ends now.
    pub(super) fn is_streaming(&self) -> bool {
        self.begun && self.stage != Stage::Finishing
    }
}

impl Session {
    pub(super) fn start_append(&mut self, tag: Tag, append: Append) {
        let AppendMessage {
            flags,
            date,
            message,
            utf8,
        } = append.next;
        if too_large_unasked(message, self.config.literal_plus) {
            return self.close("BYE [TOOBIG] The message is larger than may be sent unasked");
        }
        if matches!(self.state, State::NotAuthenticated) {
            return self.refuse_append(tag, message, "BAD Log in first");
        }
        if let Err(text) = self.check_append(message, utf8) {
            return self.refuse_append(tag, message, &text);
        }
        self.task = Task::Append(Box::new(AppendTask {
            tag,
            message,
            utf8,
            stage: Stage::Asked,
            count: 1,
            begun: false,
        }));
        self.ask(Ask::AppendBegin {
            to: append.to,
            flags,
            date,
            size_bytes: message.size_bytes,
            binary: message.binary,
        });
    }

    /// Another message of the same APPEND follows; what has come of the others is kept with it or not at all.
    //= https://www.rfc-editor.org/rfc/rfc3502#section-6.3.11
    fn next_append(&mut self, mut task: Box<AppendTask>, next: AppendMessage) {
        let AppendMessage {
            flags,
            date,
            message,
            utf8,
        } = next;
        task.count += 1;
        (task.message, task.utf8) = (message, utf8);
        if too_large_unasked(message, self.config.literal_plus) {
            self.task = Task::Append(task);
            return self.close("BYE [TOOBIG] The message is larger than may be sent unasked");
        }
        let checked = match task.count > limits::IMAP_APPENDS {
            true => Err("NO [LIMIT] There are too many messages at once".to_owned()),
            false if self.is_without("MULTIAPPEND") => {
                Err("BAD MULTIAPPEND is turned off for the account".to_owned())
            }
            false => self.check_append(message, utf8),
        };
        if let Err(text) = checked {
            self.emit(Event::BodyAborted);
            return self.refuse_append(task.tag, message, &text);
        }
        task.stage = Stage::Asked;
        self.task = Task::Append(task);
        self.ask(Ask::AppendNext {
            flags,
            date,
            size_bytes: message.size_bytes,
            binary: message.binary,
        });
    }

    /// What the session itself has against a message.
    fn check_append(&self, message: Announced, utf8: bool) -> Result<(), String> {
        let taken = [(utf8, "UTF8=ACCEPT"), (message.binary && !utf8, "BINARY")];
        if let Some((_, name)) = taken.iter().find(|(taken, name)| *taken && self.is_without(name)) {
            return Err(format!("BAD {name} is turned off for the account"));
        }
        match message.size_bytes {
            0 => Err("NO [CANNOT] A message is not empty".into()),
            size if size > self.config.message_bytes => Err(refusal(&Refusal::TooBig, true)),
            _ => Ok(()),
        }
    }

    /// Says no. A message that is not waited for comes nevertheless, and is thrown away.
    fn refuse_append(&mut self, tag: Tag, message: Announced, text: &str) {
        if message.unasked {
            self.input.refuse(0, message.size_bytes);
            self.task = Task::Discarding(format!("{tag} {text}"));
        } else {
            self.finish(tag, text);
        }
    }

    pub(super) fn append_answered(&mut self, mut task: Box<AppendTask>, answer: Answer) {
        match (task.stage, answer) {
            (Stage::Asked, Answer::Done) => {
                if !task.message.unasked {
                    self.out.text("+ Ready for the message\r\n");
                }
                task.stage = Stage::Streaming(task.message.size_bytes);
                task.begun = true;
                self.task = Task::Append(task);
            }
            (Stage::Asked, Answer::Refused(why)) => {
                if task.begun {
                    self.emit(Event::BodyAborted);
                }
                self.refuse_append(task.tag, task.message, &refusal(&why, true));
            }
            //= https://www.rfc-editor.org/rfc/rfc4315#section-3
            (_, Answer::Appended { .. }) if self.is_without("UIDPLUS") => self.finish(task.tag, "OK Done"),
            (_, Answer::Appended { uid_validity, uids }) => {
                let mut set = String::new();
                // A String takes everything.
                let _infallible = write_runs(&mut set, uids.into_iter());
                self.finish(task.tag, format!("OK [APPENDUID {uid_validity} {set}] Done"));
            }
            (_, Answer::Refused(why)) => self.finish(task.tag, refusal(&why, true)),
            (Stage::Asked, _) => {
                if task.begun {
                    self.emit(Event::BodyAborted);
                }
                self.refuse_append(task.tag, task.message, MISMATCH);
            }
            _ => self.finish(task.tag, MISMATCH),
        }
    }

    pub(super) fn step_append(&mut self) -> bool {
        let Task::Append(task) = &mut self.task else {
            return false;
        };
        match &mut task.stage {
            Stage::Streaming(left) => {
                let chunk = self
                    .input
                    .take_body(limits::CHUNK_BYTES.min(usize::try_from(*left).unwrap_or(usize::MAX)));
                if chunk.is_empty() {
                    return false;
                }
                *left -= chunk.len() as u64;
                let left = *left;
                if left == 0 {
                    task.stage = Stage::LineEnd;
                }
                //= https://www.rfc-editor.org/rfc/rfc3501#section-9
                // Only a literal8 may hold NUL.
                if !task.message.binary && chunk.contains(&0) {
                    self.abort_append(left, "NO [CANNOT] A message holds no NUL");
                } else {
                    self.emit(Event::Body(chunk));
                }
                true
            }
            Stage::LineEnd => self.read_append_end(),
            Stage::Asked | Stage::Finishing => false,
        }
    }

    fn read_append_end(&mut self) -> bool {
        match self.input.next(self.config.literal_plus) {
            Next::More => return false,
            Next::Line(end) if self.closes_append(end) => {
                self.input.take(end);
                if let Task::Append(task) = &mut self.task {
                    task.stage = Stage::Finishing;
                    self.ask(Ask::AppendFinish);
                }
            }
            Next::Line(end) if self.goes_on(end) => {
                let line = self.input.take(end);
                let Task::Append(task) = std::mem::replace(&mut self.task, Task::Ready) else {
                    return true;
                };
                // The parenthesis that closes the message before.
                let closed = if task.utf8 { 1 } else { 0 };
                match command::read_next_append(&line[closed..]) {
                    Ok(next) => self.next_append(task, next),
                    Err(error) => {
                        self.emit(Event::BodyAborted);
                        let message = announced(&line).unwrap_or(task.message);
                        if too_large_unasked(message, self.config.literal_plus) {
                            return self.close_too_big();
                        }
                        self.refuse_append(task.tag, message, &format!("BAD {error}"));
                    }
                }
            }
            Next::Line(_) | Next::BareLine(_) => {
                self.abort_append(0, "BAD The command ends after its message");
            }
            _ => self.close("BYE [TOOBIG] The command is too long"),
        }
        true
    }

    /// Whether the line that ends at `end` is what ends the command.
    fn closes_append(&self, end: usize) -> bool {
        let utf8 = matches!(&self.task, Task::Append(task) if task.utf8);
        self.input.command(end) == if utf8 { &b")\r\n"[..] } else { b"\r\n" }
    }

    /// Whether the line that ends at `end` leads to another message.
    fn goes_on(&self, end: usize) -> bool {
        let utf8 = matches!(&self.task, Task::Append(task) if task.utf8);
        self.input.announces(end) && (!utf8 || self.input.command(end).starts_with(b")"))
    }

    fn close_too_big(&mut self) -> bool {
        self.close("BYE [TOOBIG] The message is larger than may be sent unasked");
        true
    }

    /// Gives the message up; `left` bytes of it and the rest of the command are still to come.
    fn abort_append(&mut self, left: u64, text: &str) {
        self.emit(Event::BodyAborted);
        if let Task::Append(task) = std::mem::replace(&mut self.task, Task::Ready) {
            self.input.refuse(0, left);
            self.task = Task::Discarding(format!("{} {text}", task.tag));
        }
    }
}
