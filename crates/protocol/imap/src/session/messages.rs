//! What is done to messages of the selected mailbox: STORE, SEARCH, COPY, MOVE, EXPUNGE (RFC 3501 §6.4).

use super::fetch::{FetchTask, Since};
use super::output::{MISMATCH, refusal};
use super::sort::Gathered;
use super::sync::{NOT_ENABLED, modified_of};
use super::{Asked, Session, State, Tag, Task};
use crate::command::Command;
use crate::flag::{FlagChange, Flags};
use crate::question::{Answer, Ask, MessageState};
use crate::sequence::{NumberSet, SequenceSet, Uid, write_runs};
use crate::view::{Untold, View};
use ringpost_base::limits;

/// STORE under way.
pub(super) struct StoreTask {
    tag: Tag,
    uid: bool,
    silent: bool,
    change: FlagChange,
    unchanged_since: Option<u64>,
    positions: Positions,
    /// Those in the open question, each with its position, and with the flags that the client expects of it if it is told of
    /// others only.
    portion: Vec<(usize, Uid, Option<Flags>)>,
    done: usize,
    gone: usize,
    /// Sequence numbers, or UIDs, of those that were left as they were.
    modified: Vec<u32>,
}

/// Positions in the view, as ranges with their end outside, of which the first may be partly used.
#[derive(Debug)]
pub(super) struct Positions {
    ranges: std::vec::IntoIter<(usize, usize)>,
    rest: (usize, usize),
}

impl Positions {
    fn new(ranges: Vec<(usize, usize)>) -> Self {
        Positions {
            ranges: ranges.into_iter(),
            rest: (0, 0),
        }
    }

    /// Those that are left.
    pub(super) fn peek(&self) -> impl Iterator<Item = usize> + '_ {
        let ranges = self.ranges.as_slice().iter();
        std::iter::once(&self.rest)
            .chain(ranges)
            .flat_map(|(from, to)| *from..*to)
    }
}

impl Iterator for Positions {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        while self.rest.0 == self.rest.1 {
            self.rest = self.ranges.next()?;
        }
        self.rest.0 += 1;
        Some(self.rest.0 - 1)
    }
}

/// What a set of sequence numbers, or with `uid` of UIDs, means in `view`; an error names no message.
fn resolve(view: &View, saved: &NumberSet, uid: bool, set: &SequenceSet) -> Result<Positions, &'static str> {
    let (count, last_uid) = view.last();
    if set.is_saved() {
        return Ok(Positions::new(view.positions(saved)));
    }
    if uid {
        //= https://www.rfc-editor.org/rfc/rfc3501#section-6.4.8
        // A UID that does not exist is ignored.
        return Ok(Positions::new(view.positions(&set.resolve(last_uid))));
    }
    if set.largest_named() > count || (count == 0 && set.names_last()) {
        return Err("BAD There is no message of that number");
    }
    let ranges = set
        .resolve(count)
        .ranges()
        .iter()
        .map(|(a, b)| (*a as usize - 1, *b as usize))
        .collect();
    Ok(Positions::new(ranges))
}

impl Session {
    pub(super) fn start_selected(&mut self, tag: Tag, command: Command) {
        const READ_ONLY: &str = "NO [READ-ONLY] The mailbox is open for reading only";
        let State::Selected(view) = &self.state else {
            return;
        };
        let (mailbox, read_only) = (view.mailbox, view.read_only);
        let positions = match &command {
            Command::Fetch { uid, set, .. }
            | Command::Store { uid, set, .. }
            | Command::Copy { uid, set, .. }
            | Command::Move { uid, set, .. } => match resolve(view, &self.saved, *uid, set) {
                Ok(positions) => positions,
                Err(text) => return self.finish_message_command(tag, *uid, text),
            },
            _ => Positions::new(Vec::new()),
        };
        match command {
            Command::Store { uid, .. } if read_only => self.finish_message_command(tag, uid, READ_ONLY),
            Command::Move { .. } | Command::Expunge { .. } if read_only => self.finish(tag, READ_ONLY),
            Command::Fetch {
                uid,
                items,
                set,
                changed,
            } => {
                if changed.is_some_and(|c| c.vanished) && !self.qresync {
                    return self.finish_message_command(tag, uid, NOT_ENABLED);
                }
                // Messages that are gone may have been above the last one that is there.
                let since = changed.map_or(Since::default(), |c| Since {
                    modseq: c.modseq,
                    vanished: c.vanished.then(|| match set.is_saved() {
                        true => self.saved.clone(),
                        false => set.resolve(u32::MAX),
                    }),
                });
                let task = FetchTask::new(tag, uid, items, positions, since, read_only);
                self.task = Task::Fetch(Box::new(task));
            }
            Command::Store {
                uid,
                silent,
                change,
                unchanged_since,
                ..
            } => {
                self.task = Task::Store(Box::new(StoreTask {
                    tag,
                    uid,
                    silent,
                    change,
                    unchanged_since,
                    positions,
                    portion: Vec::new(),
                    done: 0,
                    gone: 0,
                    modified: Vec::new(),
                }));
            }
            Command::Search { uid, key, returns } => self.start_search(tag, uid, key, returns),
            Command::Sort { uid, keys, key } => {
                self.start_sort(tag, uid, Gathered::Rows(keys, Vec::new()), key);
            }
            Command::Thread { uid, by, key } => {
                self.start_sort(tag, uid, Gathered::Threads(by, Vec::new()), key);
            }
            Command::Copy { to, .. } => match self.uids(positions) {
                uids if uids.is_empty() => self.finish(tag, "OK There is no such message"),
                uids => self.ask_then(tag, Asked::Copy, Ask::Copy { mailbox, uids, to }),
            },
            Command::Move { to, .. } => match self.uids(positions) {
                uids if uids.is_empty() => self.finish(tag, "OK There is no such message"),
                uids => self.ask_then(tag, Asked::Move, Ask::Move { mailbox, uids, to }),
            },
            Command::Expunge { uids } => {
                let uids = uids.map(|set| {
                    let positions = view_positions(self, &set);
                    self.uids(positions)
                });
                self.ask_then(tag, Asked::Expunge, Ask::Expunge { mailbox, uids });
            }
            Command::Close if !read_only => {
                self.ask_then(tag, Asked::Close, Ask::Expunge { mailbox, uids: None });
            }
            //= https://www.rfc-editor.org/rfc/rfc3691#section-2
            Command::Close | Command::Unselect => {
                self.deselect();
                self.finish(tag, "OK Done");
            }
            _ => self.finish(tag, MISMATCH),
        }
    }

    fn uids(&self, positions: Positions) -> Vec<Uid> {
        let State::Selected(view) = &self.state else {
            return Vec::new();
        };
        positions
            .filter_map(|i| view.messages().get(i))
            .map(|m| m.uid)
            .collect()
    }

    pub(super) fn step_store(&mut self) -> bool {
        // What is to be told so far leaves before the next portion is asked for.
        let answered = matches!(&self.task, Task::Store(task) if !task.portion.is_empty());
        if answered && self.tell_news(false) {
            return true;
        }
        let (State::Selected(view), Task::Store(task)) = (&self.state, &mut self.task) else {
            return false;
        };
        let entries = task.positions.by_ref();
        let expected = entries.filter_map(|i| {
            let entry = view.messages().get(i)?;
            let expected = task.silent.then(|| task.change.apply(&entry.flags));
            Some((i, entry.uid, expected))
        });
        task.portion = expected.take(limits::IMAP_STORE_PORTION).collect();
        if task.portion.is_empty() {
            let Task::Store(task) = std::mem::replace(&mut self.task, Task::Ready) else {
                return false;
            };
            let text = match task.modified.is_empty() {
                true => done_of(task.done, task.gone).into(),
                false => modified_of(task.modified, task.gone),
            };
            self.finish_message_command(task.tag, task.uid, text);
            return true;
        }
        let ask = Ask::Store {
            mailbox: view.mailbox,
            uids: task.portion.iter().map(|(_, uid, _)| *uid).collect(),
            change: task.change.clone(),
            unchanged_since: task.unchanged_since,
        };
        self.ask(ask);
        true
    }

    pub(super) fn store_answered(&mut self, mut task: Box<StoreTask>, answer: Answer) {
        let (states, modified) = match answer {
            Answer::Stored { states, modified } => (states, modified),
            Answer::Refused(why) => {
                return self.finish_message_command(task.tag, task.uid, refusal(&why, false));
            }
            _ => return self.finish_message_command(task.tag, task.uid, MISMATCH),
        };
        let State::Selected(view) = &mut self.state else {
            return;
        };
        task.done += states.len();
        task.gone += task.portion.len().saturating_sub(states.len());
        // Both are in the same order; what the answer leaves out is gone.
        let mut portion = task.portion.iter();
        for state in states {
            let Some((i, _, expected)) = portion.find(|(_, uid, _)| *uid == state.uid) else {
                break;
            };
            let modified = modified.binary_search(&state.uid).is_ok();
            if modified {
                task.modified
                    .push(if task.uid { state.uid } else { *i as u32 + 1 });
            }
            //= https://www.rfc-editor.org/rfc/rfc3501#section-6.4.6
            // What another session did at the same time is told also after .SILENT.
            let flags_told = modified || expected.as_ref() != Some(&state.flags);
            store_told(view, *i, state, flags_told);
        }
        self.task = Task::Store(task);
    }

    //= https://www.rfc-editor.org/rfc/rfc4315#section-3
    pub(super) fn copied(&mut self, tag: Tag, uid_validity: u32, pairs: &[(Uid, Uid)]) {
        match pairs.is_empty() {
            true => self.finish(tag, "NO [EXPUNGEISSUED] The messages are gone"),
            false if self.is_without("UIDPLUS") => self.finish(tag, "OK Done"),
            false => self.finish(tag, format!("OK [{}] Done", copy_uid(uid_validity, pairs))),
        }
    }

    //= https://www.rfc-editor.org/rfc/rfc6851#section-4.3
    pub(super) fn moved(&mut self, tag: Tag, uid_validity: u32, pairs: &[(Uid, Uid)]) {
        if pairs.is_empty() {
            return self.finish(tag, "NO [EXPUNGEISSUED] The messages are gone");
        }
        if !self.is_without("UIDPLUS") {
            self.out
                .put(format_args!("* OK [{}] Moved\r\n", copy_uid(uid_validity, pairs)));
        }
        let uids: Vec<Uid> = pairs.iter().map(|(from, _)| *from).collect();
        if let State::Selected(view) = &mut self.state {
            view.expunge(&uids);
        }
        self.finish_removed(tag);
    }
}

fn view_positions(session: &Session, set: &SequenceSet) -> Positions {
    match &session.state {
        State::Selected(view) => {
            resolve(view, &session.saved, true, set).unwrap_or(Positions::new(Vec::new()))
        }
        _ => Positions::new(Vec::new()),
    }
}

/// Takes a message's flags after STORE. They are told unless the client asked for silence and got what it expects.
/// One that was left as it was is told in any case, so that the client need not ask.
fn store_told(view: &mut View, i: usize, state: MessageState, flags_told: bool) {
    view.set_flags_at(i, state, false);
    //= https://www.rfc-editor.org/rfc/rfc7162#section-3.1.3
    // The MODSEQ is told also after .SILENT.
    match flags_told {
        true => view.tell(i, Untold::Flags),
        false if view.condstore => view.tell(i, Untold::ModSeq),
        false => {}
    }
}

fn copy_uid(uid_validity: u32, pairs: &[(Uid, Uid)]) -> String {
    let mut out = format!("COPYUID {uid_validity} ");
    // A String takes everything.
    let _infallible = write_runs(&mut out, pairs.iter().map(|(from, _)| *from));
    out.push(' ');
    let _infallible = write_runs(&mut out, pairs.iter().map(|(_, to)| *to));
    out
}

//= https://www.rfc-editor.org/rfc/rfc2180#section-4.1
/// What a command says at its end that found `gone` of its messages expunged by others.
pub(super) fn done_of(done: usize, gone: usize) -> &'static str {
    match (done, gone) {
        (_, 0) => "OK Done",
        (0, _) => "NO [EXPUNGEISSUED] The messages are gone",
        _ => "OK [EXPUNGEISSUED] Done, but some messages are gone",
    }
}
