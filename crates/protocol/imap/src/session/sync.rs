//! CONDSTORE and QRESYNC (RFC 7162): what a client that kept a copy of the mailbox is told to bring it up to date.

use super::enable::Opening;
use super::output::{MISMATCH, refusal};
use super::tell::{LINES, write_changes};
use super::{Session, State, Tag, Task};
use crate::command::{Command, FetchItem, Resync, SelectParams, StatusItem};
use crate::name::MailboxName;
use crate::question::{Answer, Ask};
use crate::respond::Wire;
use crate::search::SearchKey;
use crate::sequence::{NumberSet, SequenceSet, Uid};
use crate::view::{Untold, View};
use bytes::Bytes;

/// SELECT with QRESYNC under way: the mailbox is open, and what has changed is being told.
pub(super) struct ResyncTask {
    tag: Tag,
    /// What is said at its end.
    text: String,
    since: u64,
    /// The UIDs that the client wants to hear of.
    uids: NumberSet,
    /// Of messages up to this one the client knows that others are gone.
    matched: Uid,
    /// The next position to look at; `None` before it is known what is gone.
    at: Option<usize>,
}

/// What is offered for copies of mailboxes and the like, once a client has logged in.
pub(super) const CAPABILITIES: &str =
    " CONDSTORE QRESYNC ESEARCH SEARCHRES WITHIN OBJECTID SAVEDATE STATUS=SIZE MULTIAPPEND";

/// What QRESYNC's parts are refused with before ENABLE.
pub(super) const NOT_ENABLED: &str = "BAD ENABLE QRESYNC first";
/// Ranges of UIDs in one VANISHED line.
const RANGES: usize = 500;
/// Positions that are looked at in one step.
const STEP: usize = 4_096;

pub(super) fn is_modseq(key: &SearchKey) -> bool {
    matches!(key, SearchKey::ModSeq(_))
}

//= https://www.rfc-editor.org/rfc/rfc7162#section-3.1
/// Whether the command says that the client wants to know of every MODSEQ. SELECT says it for the mailbox that it opens.
pub(super) fn enables(command: &Command) -> bool {
    match command {
        Command::Status { items, .. } => items.contains(&StatusItem::HighestModSeq),
        Command::Fetch { items, .. } => items.contains(&FetchItem::ModSeq),
        Command::Store { unchanged_since, .. } => unchanged_since.is_some(),
        Command::Search { key, .. } | Command::Sort { key, .. } | Command::Thread { key, .. } => {
            key.any(is_modseq)
        }
        _ => false,
    }
}

impl Session {
    /// From now on the client is told every MODSEQ.
    pub(super) fn enable_condstore(&mut self) {
        if std::mem::replace(&mut self.condstore, true) {
            return;
        }
        if let State::Selected(view) = &mut self.state {
            view.condstore = true;
            self.out.put(format_args!(
                "* OK [HIGHESTMODSEQ {}] The last change that you know of\r\n",
                view.told_modseq()
            ));
        }
    }

    //= https://www.rfc-editor.org/rfc/rfc3501#section-6.3.1
    /// The mailbox before is left, also when this one cannot be selected.
    pub(super) fn start_select(
        &mut self,
        tag: Tag,
        name: MailboxName,
        read_only: bool,
        params: SelectParams,
    ) {
        if params.resync.is_some() && !self.qresync {
            return self.finish(tag, NOT_ENABLED);
        }
        if self.selected().is_some() {
            self.deselect();
            //= https://www.rfc-editor.org/rfc/rfc7162#section-3.2.11
            self.out
                .text("* OK [CLOSED] What follows is of the other mailbox\r\n");
        }
        if params.condstore {
            self.enable_condstore();
        }
        self.open(
            tag,
            Opening {
                name,
                read_only,
                resync: params.resync,
                line: Bytes::new(),
            },
        );
    }

    /// The mailbox is open; what has changed since the client saw it is to be told before `text`.
    pub(super) fn start_resync(&mut self, tag: Tag, text: String, resync: &Resync, uid_next: Uid) {
        let State::Selected(view) = &self.state else {
            return;
        };
        let uids = match &resync.uids {
            Some(uids) => uids.resolve(u32::MAX),
            None => NumberSet::from_ranges([(1, uid_next.saturating_sub(1))]),
        };
        let matched = resync
            .matches
            .as_ref()
            .map_or(0, |(numbers, uids)| matched(view, numbers, uids));
        let (mailbox, since) = (view.mailbox, resync.modseq);
        self.task = Task::Resync(Box::new(ResyncTask {
            tag,
            text,
            since,
            uids,
            matched,
            at: None,
        }));
        self.ask(Ask::Vanished { mailbox, since });
    }

    pub(super) fn resync_answered(&mut self, mut task: Box<ResyncTask>, answer: Answer) {
        let State::Selected(view) = &self.state else {
            return;
        };
        match answer {
            Answer::Vanished(vanished) => {
                let unmatched = NumberSet::from_ranges([(task.matched.saturating_add(1), u32::MAX)]);
                let among = task.uids.intersection(&unmatched);
                write_earlier(&mut self.out, view, vanished.as_ref(), &among);
                task.at = Some(0);
                self.task = Task::Resync(task);
            }
            answer => {
                self.deselect();
                match answer {
                    Answer::Refused(why) => self.finish(task.tag, refusal(&why, false)),
                    _ => self.finish(task.tag, MISMATCH),
                }
            }
        }
    }

    /// Tells some of the messages that have changed.
    pub(super) fn step_resync(&mut self) -> bool {
        let (State::Selected(view), Task::Resync(task)) = (&mut self.state, &mut self.task) else {
            return false;
        };
        let Some(at) = &mut task.at else { return false };
        let (until, mut changes) = ((*at + STEP).min(view.messages().len()), Vec::new());
        while *at < until && changes.len() < LINES {
            let entry = &view.messages()[*at];
            if entry.modseq > task.since && task.uids.contains(entry.uid) {
                changes.push((*at, Untold::Flags));
            }
            *at += 1;
        }
        write_changes(&mut self.out, view, &changes);
        changes.iter().for_each(|(at, _)| view.flags_told(*at));
        if *at == view.messages().len()
            && let Task::Resync(task) = std::mem::replace(&mut self.task, Task::Ready)
        {
            self.finish(task.tag, task.text);
        }
        true
    }

    /// The end of a command, after the news. A client takes the highest MODSEQ that it has heard of for how far it is, so
    /// it is told when messages are gone of which it may not hear yet.
    //= https://www.rfc-editor.org/rfc/rfc7162#section-3.2
    pub(super) fn with_modseq(&mut self, text: String, removed: bool) -> String {
        let State::Selected(view) = &mut self.state else {
            return text;
        };
        let delayed = view.news_told();
        let modseq = view.told_modseq();
        if self.condstore && delayed {
            self.out.put(format_args!(
                "* OK [HIGHESTMODSEQ {modseq}] Messages are gone; ask with NOOP\r\n"
            ));
        }
        //= https://www.rfc-editor.org/rfc/rfc7162#section-3.2.7
        match removed && self.qresync && !delayed {
            true => format!("OK [HIGHESTMODSEQ {modseq}] Done"),
            false => text,
        }
    }
}

/// The highest UID that the client gives for the sequence number which it has here too.
//= https://www.rfc-editor.org/rfc/rfc7162#section-3.2.5.2
fn matched(view: &View, numbers: &SequenceSet, uids: &SequenceSet) -> Uid {
    let (numbers, uids) = (numbers.resolve(u32::MAX), uids.resolve(u32::MAX));
    let each = |set: &NumberSet| {
        set.ranges()
            .to_vec()
            .into_iter()
            .flat_map(|(low, high)| low..=high)
    };
    let there = |number: u32| view.messages().get(number as usize - 1).map(|m| m.uid);
    each(&numbers)
        .zip(each(&uids))
        .map_while(|(number, uid)| Some((there(number)?, uid)))
        .filter(|(there, uid)| there == uid)
        .last()
        .map_or(0, |(uid, _)| uid)
}

/// Tells which of the messages `among` are gone, of those that have `vanished` or, when that is not known, of all.
//= https://www.rfc-editor.org/rfc/rfc7162#section-3.2.6
pub(super) fn write_earlier(out: &mut Wire, view: &View, vanished: Option<&NumberSet>, among: &NumberSet) {
    // What the session still shows is not gone for it, and what it was never told of may be told as well.
    let there = view.messages().iter().map(|m| m.uid);
    let gone = match vanished {
        Some(vanished) => vanished.intersection(among).without(there),
        None => among.intersection(&view.uids_given()).without(there),
    };
    write_vanished(out, "(EARLIER) ", &gone);
}

//= https://www.rfc-editor.org/rfc/rfc7162#section-3.2.10
pub(super) fn write_vanished(out: &mut Wire, earlier: &str, uids: &NumberSet) {
    for ranges in uids.ranges().chunks(RANGES) {
        let some = NumberSet::from_ranges(ranges.iter().copied());
        out.put(format_args!("* VANISHED {earlier}{some}\r\n"));
    }
}

/// What STORE says when some messages had changed since the client saw them.
//= https://www.rfc-editor.org/rfc/rfc7162#section-3.1.3
pub(super) fn modified_of(modified: Vec<u32>, gone: usize) -> String {
    let modified: NumberSet = modified.into_iter().collect();
    match gone {
        0 => format!("OK [MODIFIED {modified}] Done, but some messages have changed"),
        _ => format!("NO [MODIFIED {modified}] Some messages have changed, and some are gone"),
    }
}
