//! SEARCH (RFC 3501 §6.4.4), what it returns in other forms (RFC 4731), and what it saves (RFC 5182).

use super::output::{MISMATCH, refusal};
use super::sync::is_modseq;
use super::{Session, State, Tag, Task};
use crate::command::SearchReturn;
use crate::question::{Answer, Ask, Candidate};
use crate::respond::Wire;
use crate::search::{Facts, SearchKey};
use crate::sequence::NumberSet;
use crate::view::View;
use ringpost_base::limits;
use std::sync::Arc;

/// Messages that a search looks at in one step.
const SEARCH_STEP: usize = 4_096;

/// SEARCH under way.
pub(super) struct SearchTask {
    tag: Tag,
    uid: bool,
    key: Arc<SearchKey>,
    /// What is to be told when all is found; without, each message is told as it is found.
    returns: Option<SearchReturn>,
    /// The highest MODSEQ of what was told.
    modseq: u64,
    /// The next position to look at.
    at: usize,
    /// Positions that match and are not told yet, of those looked at with the open question.
    hits: Vec<usize>,
}

/// Looks at the messages of one step from position `at` on: positions that match go to `hits`, and what the session cannot
/// decide by itself is given back, a portion at most.
pub(super) fn sift(view: &View, key: &SearchKey, at: &mut usize, hits: &mut Vec<usize>) -> Vec<Candidate> {
    let (last, until) = (view.last(), (*at + SEARCH_STEP).min(view.messages().len()));
    let mut undecided = Vec::new();
    while *at < until && undecided.len() < limits::IMAP_SEARCH_PORTION {
        let entry = &view.messages()[*at];
        let candidate = Candidate {
            uid: entry.uid,
            number: *at as u32 + 1,
            flags: entry.flags.clone(),
            modseq: entry.modseq,
            recent: entry.recent,
            last,
        };
        match key.evaluate(&Facts::of(&candidate)) {
            Some(true) => hits.push(*at),
            Some(false) => {}
            None => undecided.push(candidate),
        }
        *at += 1;
    }
    undecided
}

impl Session {
    pub(super) fn start_search(
        &mut self,
        tag: Tag,
        uid: bool,
        key: SearchKey,
        returns: Option<SearchReturn>,
    ) {
        //= https://www.rfc-editor.org/rfc/rfc9051#section-6.4.4
        // Who has enabled IMAP4rev2 is answered with ESEARCH, whatever it asks for.
        let returns = returns.or(self.out.rev2.then_some(SearchReturn {
            all: true,
            ..SearchReturn::default()
        }));
        if returns.is_none() {
            self.out.text("* SEARCH");
        }
        self.task = Task::Search(Box::new(SearchTask {
            tag,
            uid,
            key: Arc::new(key),
            returns,
            modseq: 0,
            at: 0,
            hits: Vec::new(),
        }));
    }

    pub(super) fn step_search(&mut self) -> bool {
        let (State::Selected(view), Task::Search(task)) = (&self.state, &mut self.task) else {
            return false;
        };
        let undecided = sift(view, &task.key, &mut task.at, &mut task.hits);
        if !undecided.is_empty() {
            let ask = Ask::Search {
                mailbox: view.mailbox,
                key: task.key.clone(),
                among: undecided,
            };
            self.ask(ask);
            return true;
        }
        let finished = task.at == view.messages().len();
        self.write_hits();
        if finished && let Task::Search(task) = std::mem::replace(&mut self.task, Task::Ready) {
            self.search_done(*task);
        }
        true
    }

    pub(super) fn search_answered(&mut self, mut task: Box<SearchTask>, answer: Answer) {
        let State::Selected(view) = &self.state else {
            return;
        };
        let found = match answer {
            Answer::Found(uids) => uids,
            answer => {
                let text = match answer {
                    Answer::Refused(why) => refusal(&why, false),
                    _ => MISMATCH.into(),
                };
                match task.returns {
                    None => self.out.text("\r\n"),
                    //= https://www.rfc-editor.org/rfc/rfc5182#section-2.1
                    // What cannot be found out saves nothing.
                    Some(returns) if returns.save => self.saved = NumberSet::default(),
                    Some(_) => {}
                }
                return self.finish_search(task.tag, task.uid, &task.key, text);
            }
        };
        task.hits
            .extend(found.iter().filter_map(|uid| view.position(*uid)));
        task.hits.sort_unstable();
        task.hits.dedup();
        self.task = Task::Search(task);
        self.write_hits();
    }

    //= https://www.rfc-editor.org/rfc/rfc7162#section-3.2.10.2
    // UID SEARCH by sequence numbers is as SEARCH.
    pub(super) fn finish_search(&mut self, tag: Tag, uid: bool, key: &SearchKey, text: impl Into<String>) {
        let by_number = key.any(|key| matches!(key, SearchKey::Numbers(_)));
        self.finish_message_command(tag, uid && !by_number, text);
    }

    /// Appends what was found to the line: it may be long, so it leaves in pieces.
    fn write_hits(&mut self) {
        let (State::Selected(view), Task::Search(task)) = (&self.state, &mut self.task) else {
            return;
        };
        if task.returns.is_some() {
            return;
        }
        for i in task.hits.drain(..) {
            task.modseq = task.modseq.max(view.messages()[i].modseq);
            self.out.put(format_args!(" {}", number_of(view, task.uid, i)));
        }
    }

    fn search_done(&mut self, task: SearchTask) {
        let State::Selected(view) = &self.state else {
            return;
        };
        match task.returns {
            None => {
                //= https://www.rfc-editor.org/rfc/rfc7162#section-3.1.6
                if task.modseq > 0 && task.key.any(is_modseq) {
                    self.out.put(format_args!(" (MODSEQ {})", task.modseq));
                }
                self.out.text("\r\n");
            }
            Some(returns) => {
                let hits = returns.narrowed(&task.hits);
                if returns.tells() {
                    write_esearch(&mut self.out, view, &task, returns, &hits);
                }
                if returns.save {
                    self.saved = hits.iter().map(|i| view.messages()[*i].uid).collect();
                }
            }
        }
        self.finish_search(task.tag, task.uid, &task.key, "OK Done");
    }
}

impl SearchReturn {
    /// What counts of the messages found: where only the first or the last is asked for, no others.
    //= https://www.rfc-editor.org/rfc/rfc5182#section-2.4
    fn narrowed(self, hits: &[usize]) -> Vec<usize> {
        let (Some(first), Some(last)) = (hits.first(), hits.last()) else {
            return Vec::new();
        };
        match (self.min, self.max) {
            _ if self.all || self.count => hits.to_vec(),
            (false, false) => hits.to_vec(),
            (true, false) => vec![*first],
            (false, true) => vec![*last],
            (true, true) if first == last => vec![*first],
            (true, true) => vec![*first, *last],
        }
    }
}

//= https://www.rfc-editor.org/rfc/rfc4731#section-3.1
fn write_esearch(out: &mut Wire, view: &View, task: &SearchTask, returns: SearchReturn, narrowed: &[usize]) {
    let number = |i: usize| number_of(view, task.uid, i);
    out.put(format_args!("* ESEARCH (TAG \"{}\")", task.tag));
    if task.uid {
        out.text(" UID");
    }
    if let (Some(first), Some(last)) = (task.hits.first(), task.hits.last()) {
        if returns.min {
            out.put(format_args!(" MIN {}", number(*first)));
        }
        if returns.max {
            out.put(format_args!(" MAX {}", number(*last)));
        }
        if returns.all {
            let all: NumberSet = task.hits.iter().map(|i| number(*i)).collect();
            out.put(format_args!(" ALL {all}"));
        }
    }
    if returns.count {
        out.put(format_args!(" COUNT {}", task.hits.len()));
    }
    //= https://www.rfc-editor.org/rfc/rfc4731#section-3.2
    let modseq = narrowed.iter().map(|i| view.messages()[*i].modseq).max();
    if let Some(modseq) = modseq.filter(|_| task.key.any(is_modseq)) {
        out.put(format_args!(" MODSEQ {modseq}"));
    }
    out.text("\r\n");
}

/// How the message at a position is named.
fn number_of(view: &View, uid: bool, position: usize) -> u32 {
    match uid {
        true => view.messages()[position].uid,
        false => position as u32 + 1,
    }
}
