//! SORT and THREAD (RFC 5256): a search, then what is known of its messages in portions, then the order.

use super::output::{MISMATCH, refusal};
use super::search::sift;
use super::sync::is_modseq;
use super::{Session, State, Tag, Task};
use crate::question::{Answer, Ask};
use crate::search::SearchKey;
use crate::sort::{Row, SortFacts, SortKey, sort};
use crate::thread::{ThreadBy, Threaded, Threads};
use ringpost_base::limits;
use std::sync::Arc;

/// SORT or THREAD under way.
pub(super) struct SortTask {
    tag: Tag,
    uid: bool,
    key: Arc<SearchKey>,
    gathered: Gathered,
    size_bytes: usize,
    /// The next position to search.
    at: usize,
    /// Positions that match, ascending once all are searched; of these the first `done` are gathered.
    hits: Vec<usize>,
    done: usize,
    /// Positions of the open question about what is known of messages; none of one that searches.
    portion: Vec<usize>,
}

/// What is known of the messages so far.
pub(super) enum Gathered {
    Rows(Vec<SortKey>, Vec<Row>),
    Threads(ThreadBy, Vec<Threaded>),
}

impl Gathered {
    /// Takes a message in, and gives what it takes in memory.
    fn take(&mut self, position: usize, facts: SortFacts) -> usize {
        match self {
            Gathered::Rows(keys, rows) => {
                let row = Row::new(position, &facts, keys);
                let size_bytes = row.size_bytes();
                rows.push(row);
                size_bytes
            }
            Gathered::Threads(_, messages) => {
                let message = Threaded::new(position, facts);
                let size_bytes = message.size_bytes();
                messages.push(message);
                size_bytes
            }
        }
    }
}

impl Session {
    pub(super) fn start_sort(&mut self, tag: Tag, uid: bool, gathered: Gathered, key: SearchKey) {
        self.task = Task::Sort(Box::new(SortTask {
            tag,
            uid,
            key: Arc::new(key),
            gathered,
            size_bytes: 0,
            at: 0,
            hits: Vec::new(),
            done: 0,
            portion: Vec::new(),
        }));
    }

    pub(super) fn step_sort(&mut self) -> bool {
        let (State::Selected(view), Task::Sort(task)) = (&self.state, &mut self.task) else {
            return false;
        };
        let mailbox = view.mailbox;
        let undecided = sift(view, &task.key, &mut task.at, &mut task.hits);
        if !undecided.is_empty() {
            let key = task.key.clone();
            self.ask(Ask::Search {
                mailbox,
                key,
                among: undecided,
            });
        } else if task.at == view.messages().len() {
            task.hits.sort_unstable();
            let portion = task.hits[task.done..].iter().take(limits::IMAP_PORTION);
            task.portion = portion.copied().collect();
            if task.portion.is_empty() {
                self.finish_sort();
            } else {
                let uids = task.portion.iter().map(|i| view.messages()[*i].uid).collect();
                let references = matches!(task.gathered, Gathered::Threads(ThreadBy::References, _));
                self.ask(Ask::SortFacts {
                    mailbox,
                    uids,
                    references,
                });
            }
        }
        true
    }

    pub(super) fn sort_answered(&mut self, mut task: Box<SortTask>, answer: Answer) {
        let State::Selected(view) = &self.state else {
            return;
        };
        match answer {
            Answer::Found(uids) if task.portion.is_empty() => {
                task.hits
                    .extend(uids.iter().filter_map(|uid| view.position(*uid)));
            }
            Answer::SortFacts(all) if !task.portion.is_empty() => {
                // Both are in the same order; what the answer leaves out is gone, and what comes behind it is asked for again.
                let mut looked_at = task.portion.len();
                for facts in all {
                    let Some(i) = view.position(facts.uid) else {
                        continue;
                    };
                    looked_at = task.portion.partition_point(|p| *p <= i).max(1);
                    task.size_bytes += task.gathered.take(i, facts);
                }
                task.done += looked_at;
                task.portion = Vec::new();
                if task.size_bytes > limits::IMAP_SORT_BYTES {
                    let text = "NO [LIMIT] There are too many messages to put in order";
                    return self.finish_search(task.tag, task.uid, &task.key, text);
                }
            }
            Answer::Refused(why) => {
                return self.finish_search(task.tag, task.uid, &task.key, refusal(&why, false));
            }
            _ => return self.finish_search(task.tag, task.uid, &task.key, MISMATCH),
        }
        self.task = Task::Sort(task);
    }

    fn finish_sort(&mut self) {
        let (State::Selected(view), Task::Sort(task)) =
            (&self.state, std::mem::replace(&mut self.task, Task::Ready))
        else {
            return;
        };
        let uid = task.uid;
        let number = |position: usize| match uid {
            true => view.messages()[position].uid,
            false => position as u32 + 1,
        };
        match task.gathered {
            //= https://www.rfc-editor.org/rfc/rfc5256#section-4
            Gathered::Rows(keys, mut rows) => {
                sort(&mut rows, &keys);
                self.out.text("* SORT");
                let mut modseq = 0;
                for row in rows {
                    self.out.put(format_args!(" {}", number(row.position)));
                    modseq = modseq.max(view.messages()[row.position].modseq);
                }
                //= https://www.rfc-editor.org/rfc/rfc7162#section-3.1.9
                if modseq > 0 && task.key.any(is_modseq) {
                    self.out.put(format_args!(" (MODSEQ {modseq})"));
                }
            }
            Gathered::Threads(by, messages) => {
                self.out.text("* THREAD");
                if !messages.is_empty() {
                    self.out.text(" ");
                }
                let out = &mut self.out;
                Threads::of(by, &messages).write(&messages, number, |args| out.put(args));
            }
        }
        self.out.text("\r\n");
        self.finish_search(task.tag, uid, &task.key, "OK Done");
    }
}
