//! A change of many messages, with as few commits as may be.

use crate::{MailError, TRIES};
use ringpost_store::CommitError;

/// A commit that has come too late so often takes half as many messages: then it expects less to be as it was.
const PARTED_AFTER: usize = 8;

/// The messages that are still to be changed. A commit takes as many of the first as it may: all of them, until it is too
/// large, or somebody else keeps changing one of them first.
pub(crate) struct Parts<'a> {
    rest: &'a [u32],
    most: usize,
    /// How often a commit for so many has come too late.
    late: usize,
}

/// What came of one commit for the first of some messages.
pub(crate) enum Tried<T> {
    /// It is done, for so many of them.
    Done(T, usize),
    /// Nothing is changed; it was to be for so many of them.
    Failed(CommitError, usize),
}

impl<'a> Parts<'a> {
    pub(crate) fn of(uids: &'a [u32]) -> Self {
        Parts {
            rest: uids,
            most: uids.len(),
            late: 0,
        }
    }

    /// Those that the next commit may take; `None` when all are changed.
    pub(crate) fn next(&self) -> Option<&'a [u32]> {
        let some = &self.rest[..self.rest.len().min(self.most)];
        (!some.is_empty()).then_some(some)
    }

    /// Goes on behind what was done, and gives it; or begins anew, maybe with fewer, when there is a reason to hope.
    pub(crate) fn take<T>(&mut self, tried: Tried<T>) -> Result<Option<T>, MailError> {
        let (error, count) = match tried {
            Tried::Done(done, count) => {
                self.rest = &self.rest[count..];
                self.late = 0;
                return Ok(Some(done));
            }
            Tried::Failed(error, count) => (error, count),
        };
        match error {
            CommitError::TooLarge if count > 1 => self.halve(count),
            CommitError::Conflict(_) => {
                self.late += 1;
                if count > 1 && self.late == PARTED_AFTER {
                    self.halve(count);
                } else if self.late == TRIES {
                    return Err(MailError::Busy);
                }
            }
            error => return Err(error.into()),
        }
        Ok(None)
    }

    fn halve(&mut self, count: usize) {
        self.most = count / 2;
        self.late = 0;
    }
}
