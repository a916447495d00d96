//! THREAD (RFC 5256): messages grouped by subject, or by which answers which.

use crate::sort::{BaseSubject, SortFacts, collated};
use ringpost_base::limits;
use sha2::{Digest, Sha256};
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

/// How THREAD groups messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThreadBy {
    /// ORDEREDSUBJECT: those of one subject.
    OrderedSubject,
    /// REFERENCES: those that answer each other.
    References,
}

/// The message IDs in a field's value: what stands in angle brackets, each in its one spelling.
pub fn message_ids(value: &str) -> impl Iterator<Item = String> {
    let mut rest = value;
    std::iter::from_fn(move || {
        loop {
            let inner = &rest[rest.find('<')? + 1..];
            let (id, after) = one_id(inner);
            rest = after;
            if id.is_some() {
                return id;
            }
        }
    })
}

/// The ID behind an opening bracket, if it is one, and what follows.
fn one_id(text: &str) -> (Option<String>, &str) {
    let (mut id, mut quoted, mut escaped) = (String::new(), false, false);
    for (i, c) in text.char_indices() {
        let after = &text[i + c.len_utf8()..];
        match c {
            _ if escaped => {
                id.push(c);
                escaped = false;
            }
            '\\' if quoted => escaped = true,
            //= https://www.rfc-editor.org/rfc/rfc5256#section-3
            // The same ID with and without quotes is the same.
            '"' => quoted = !quoted,
            '>' if !quoted => {
                let is_id = id
                    .split_once('@')
                    .is_some_and(|(l, r)| !l.is_empty() && !r.is_empty());
                return (Some(id).filter(|_| is_id), after);
            }
            '<' if !quoted => return (None, &text[i..]),
            ' ' | '\t' if !quoted => {}
            c => id.push(c),
        }
    }
    (None, "")
}

/// A message ID as a number that no other is known to have.
pub fn id_of(message_id: &str) -> u64 {
    let hash = Sha256::digest(message_id.as_bytes());
    u64::from_be_bytes(hash.first_chunk().copied().unwrap_or_default())
}

/// A message as it is grouped.
#[derive(Debug)]
pub(crate) struct Threaded {
    pub(crate) position: usize,
    sent_s: u64,
    /// As it is compared.
    subject: Box<str>,
    is_reply: bool,
    id: Option<u64>,
    references: Vec<u64>,
}

impl Threaded {
    pub(crate) fn new(position: usize, facts: SortFacts) -> Self {
        let envelope = &facts.envelope;
        let base = BaseSubject::of(envelope.subject.as_deref().unwrap_or_default());
        let first = |field: &Option<String>| message_ids(field.as_deref()?).next().map(|id| id_of(&id));
        let (id, parent) = (first(&envelope.message_id), first(&envelope.in_reply_to));
        let references = match facts.references.is_empty() {
            true => parent.into_iter().collect(),
            false => facts.references,
        };
        Threaded {
            position,
            sent_s: facts.sent.as_secs(),
            subject: collated(&base.text),
            is_reply: base.is_reply,
            id,
            references,
        }
    }

    /// What it takes in memory, nearly.
    pub(crate) fn size_bytes(&self) -> usize {
        // Each reference may become a node of the tree.
        size_of::<Self>() + self.subject.len() + self.references.len() * (8 + size_of::<Node>())
    }
}

/// Messages in threads. Indexes are of the nodes.
#[derive(Debug, Default)]
pub(crate) struct Threads {
    nodes: Vec<Node>,
    roots: Vec<usize>,
}

#[derive(Debug, Default)]
struct Node {
    /// Its index among the messages; a dummy has none.
    message: Option<usize>,
    parent: Option<usize>,
    children: Vec<usize>,
}

impl Threads {
    /// Groups messages, which are given in the mailbox's order.
    pub(crate) fn of(by: ThreadBy, messages: &[Threaded]) -> Self {
        match by {
            ThreadBy::OrderedSubject => Threads::by_subject(messages),
            ThreadBy::References => {
                let mut threads = Threads::default();
                threads.link(messages);
                threads.prune();
                threads.sort(messages);
                threads.merge_subjects(messages);
                threads.sort(messages);
                threads
            }
        }
    }

    fn by_subject(messages: &[Threaded]) -> Self {
        let mut order: Vec<usize> = (0..messages.len()).collect();
        order.sort_by_key(|i| (&messages[*i].subject, messages[*i].sent_s, *i));
        let mut threads = Threads::default();
        for i in order {
            let node = threads.add(Some(i));
            let root = threads.roots.last().copied();
            let same = |root: &usize| {
                let first = threads.nodes[*root].message;
                first.is_some_and(|first| messages[first].subject == messages[i].subject)
            };
            match root.filter(same) {
                Some(root) => threads.adopt(root, node),
                None => threads.roots.push(node),
            }
        }
        threads.roots.sort_by_key(|root| {
            let first = threads.nodes[*root].message.unwrap_or_default();
            (messages[first].sent_s, first)
        });
        threads
    }

    fn add(&mut self, message: Option<usize>) -> usize {
        self.nodes.push(Node {
            message,
            ..Node::default()
        });
        self.nodes.len() - 1
    }

    fn adopt(&mut self, parent: usize, child: usize) {
        self.nodes[child].parent = Some(parent);
        self.nodes[parent].children.push(child);
    }

    /// Whether `of` is `node` or above it. One that is very deep counts as below all, so that nobody who sends mail decides
    /// how long this takes.
    fn is_above(&self, of: usize, node: usize) -> bool {
        let mut at = Some(node);
        for _ in 0..limits::IMAP_THREAD_DEPTH {
            match at {
                None => return false,
                Some(here) if here == of => return true,
                Some(here) => at = self.nodes[here].parent,
            }
        }
        true
    }

    //= https://www.rfc-editor.org/rfc/rfc5256#section-3
    // Step 1; step 2 is that the roots are those without a parent.
    fn link(&mut self, messages: &[Threaded]) {
        let mut by_id: HashMap<u64, usize> = HashMap::new();
        let own: Vec<usize> = (0..messages.len()).map(|i| self.add(Some(i))).collect();
        for (message, node) in messages.iter().zip(&own) {
            if let Some(id) = message.id {
                // Of two messages with one ID the first has it.
                by_id.entry(id).or_insert(*node);
            }
        }
        for (message, node) in messages.iter().zip(&own) {
            let mut parent = None;
            for id in &message.references {
                let next = match by_id.entry(*id) {
                    Entry::Occupied(found) => *found.get(),
                    Entry::Vacant(free) => *free.insert(self.add(None)),
                };
                if let Some(parent) = parent
                    && self.nodes[next].parent.is_none()
                    && !self.is_above(next, parent)
                {
                    self.nodes[next].parent = Some(parent);
                }
                parent = Some(next);
            }
            // What was guessed from others' references gives way to its own.
            self.nodes[*node].parent = None;
            self.nodes[*node].parent = parent.filter(|parent| !self.is_above(*node, *parent));
        }
        for node in 0..self.nodes.len() {
            match self.nodes[node].parent {
                Some(parent) => self.nodes[parent].children.push(node),
                None => self.roots.push(node),
            }
        }
    }

    /// Every node below the roots, parents before their children.
    fn top_down(&self) -> Vec<usize> {
        let mut order = self.roots.clone();
        let mut at = 0;
        while let Some(node) = order.get(at) {
            order.extend_from_slice(&self.nodes[*node].children);
            at += 1;
        }
        order
    }

    // Step 3.
    fn prune(&mut self) {
        for node in self.top_down().into_iter().rev() {
            let mut children = Vec::with_capacity(self.nodes[node].children.len());
            for child in std::mem::take(&mut self.nodes[node].children) {
                match self.nodes[child].message {
                    Some(_) => children.push(child),
                    None => children.append(&mut self.nodes[child].children),
                }
            }
            self.nodes[node].children = children;
        }
        let nodes = &mut self.nodes;
        self.roots = std::mem::take(&mut self.roots)
            .into_iter()
            .filter_map(|root| match (nodes[root].message, nodes[root].children.len()) {
                (None, 0) => None,
                (None, 1) => nodes[root].children.pop(),
                _ => Some(root),
            })
            .collect();
    }

    /// The message that stands for a node: its own, or its first child's.
    fn shown(&self, node: usize) -> usize {
        let message = |node: usize| self.nodes[node].message;
        let first = || message(*self.nodes[node].children.first()?);
        message(node).or_else(first).unwrap_or_default()
    }

    // Steps 4 and 6: siblings by the time they were sent, the youngest set first.
    fn sort(&mut self, messages: &[Threaded]) {
        for node in self.top_down().into_iter().rev() {
            let mut children = std::mem::take(&mut self.nodes[node].children);
            children.sort_by_cached_key(|child| self.order(*child, messages));
            self.nodes[node].children = children;
        }
        let mut roots = std::mem::take(&mut self.roots);
        roots.sort_by_cached_key(|root| self.order(*root, messages));
        self.roots = roots;
    }

    fn order(&self, node: usize, messages: &[Threaded]) -> (u64, usize) {
        let message = self.shown(node);
        (messages[message].sent_s, message)
    }

    // Step 5.
    fn merge_subjects(&mut self, messages: &[Threaded]) {
        let mut table: HashMap<&str, usize> = HashMap::new();
        let is_dummy = |nodes: &[Node], node: usize| nodes[node].message.is_none();
        let is_reply =
            |nodes: &[Node], node: usize| nodes[node].message.is_some_and(|m| messages[m].is_reply);
        for root in &self.roots {
            let subject = &*messages[self.shown(*root)].subject;
            if subject.is_empty() {
                continue;
            }
            match table.entry(subject) {
                Entry::Vacant(free) => {
                    free.insert(*root);
                }
                Entry::Occupied(mut found) => {
                    let there = *found.get();
                    let better = is_dummy(&self.nodes, *root)
                        || is_reply(&self.nodes, there) && !is_reply(&self.nodes, *root);
                    if !is_dummy(&self.nodes, there) && better {
                        found.insert(*root);
                    }
                }
            }
        }
        let mut kept = Vec::with_capacity(self.roots.len());
        let mut merged: HashSet<usize> = HashSet::new();
        for root in std::mem::take(&mut self.roots) {
            if merged.contains(&root) {
                continue;
            }
            let subject = &*messages[self.shown(root)].subject;
            let Some(there) = table.get(subject).copied().filter(|there| *there != root) else {
                kept.push(root);
                continue;
            };
            if is_dummy(&self.nodes, there) && is_dummy(&self.nodes, root) {
                let children = std::mem::take(&mut self.nodes[root].children);
                self.nodes[there].children.extend(children);
            } else if is_dummy(&self.nodes, there)
                || is_reply(&self.nodes, root) && !is_reply(&self.nodes, there)
            {
                self.nodes[there].children.push(root);
            } else {
                let dummy = self.add(None);
                self.nodes[dummy].children = vec![there, root];
                table.insert(subject, dummy);
                merged.insert(there);
                kept.push(dummy);
            }
        }
        kept.retain(|root| !merged.contains(root));
        self.roots = kept;
    }

    //= https://www.rfc-editor.org/rfc/rfc5256#section-4
    /// Writes the threads; `number` says what a message is called.
    pub(crate) fn write(
        &self,
        messages: &[Threaded],
        number: impl Fn(usize) -> u32,
        mut out: impl FnMut(std::fmt::Arguments<'_>),
    ) {
        enum Next {
            Thread(usize),
            Members(usize),
            Close,
        }
        let mut next: Vec<Next> = self.roots.iter().rev().map(|root| Next::Thread(*root)).collect();
        while let Some(step) = next.pop() {
            match step {
                Next::Close => out(format_args!(")")),
                Next::Thread(node) => {
                    out(format_args!("("));
                    next.extend([Next::Close, Next::Members(node)]);
                }
                Next::Members(node) => {
                    let Node {
                        message, children, ..
                    } = &self.nodes[node];
                    if let Some(message) = message {
                        out(format_args!("{}", number(messages[*message].position)));
                        if !children.is_empty() {
                            out(format_args!(" "));
                        }
                    }
                    match &children[..] {
                        [child] => next.push(Next::Members(*child)),
                        children => next.extend(children.iter().rev().map(|child| Next::Thread(*child))),
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::structure::Envelope;
    use ringpost_base::UnixTime;

    /// Messages as `id subject parents…`, sent in this order a second apart.
    fn threads(by: ThreadBy, all: &[(&str, &str, &str)]) -> String {
        let messages: Vec<Threaded> = all
            .iter()
            .enumerate()
            .map(|(i, (id, subject, references))| {
                let references: Vec<u64> = references
                    .split_whitespace()
                    .map(|r| id_of(&format!("{r}@x")))
                    .collect();
                let envelope = Envelope {
                    message_id: (!id.is_empty()).then(|| format!("<{id}@x>")),
                    subject: Some((*subject).into()),
                    ..Envelope::default()
                };
                let facts = SortFacts {
                    sent: UnixTime::from_secs(i as u64),
                    envelope,
                    references,
                    ..SortFacts::default()
                };
                Threaded::new(i, facts)
            })
            .collect();
        let mut out = String::new();
        Threads::of(by, &messages).write(
            &messages,
            |i| i as u32 + 1,
            |args| out.push_str(&args.to_string()),
        );
        out
    }

    #[test]
    fn subjects_are_grouped_with_the_first_at_the_top() {
        let by = ThreadBy::OrderedSubject;
        assert_eq!(
            threads(
                by,
                &[
                    ("a", "x", ""),
                    ("b", "y", ""),
                    ("c", "Re: X", ""),
                    ("d", "y", ""),
                    ("e", "[l] y", "")
                ]
            ),
            "(1 3)(2 (4)(5))"
        );
        assert_eq!(threads(by, &[]), "");
    }

    #[test]
    fn answers_hang_below_what_they_answer() {
        let by = ThreadBy::References;
        // A chain, a fork, and a stranger.
        let all = [
            ("a", "s", ""),
            ("b", "Re: s", "a"),
            ("c", "Re: s", "a b"),
            ("d", "Re: s", "a b"),
            ("e", "other", ""),
        ];
        assert_eq!(threads(by, &all), "(1 2 (3)(4))(5)");
    }

    #[test]
    fn a_parent_that_is_missing_holds_its_children_together() {
        let by = ThreadBy::References;
        assert_eq!(
            threads(by, &[("a", "one", "gone"), ("b", "two", "gone")]),
            "((1)(2))"
        );
        // With one child it is not needed.
        assert_eq!(threads(by, &[("a", "one", "gone")]), "(1)");
        // In the middle it is spliced out.
        assert_eq!(threads(by, &[("a", "s", ""), ("c", "Re: s", "a gone")]), "(1 2)");
    }

    #[test]
    fn threads_of_one_subject_are_merged() {
        let by = ThreadBy::References;
        // A reply without references goes below the original, whichever came first.
        assert_eq!(threads(by, &[("a", "s", ""), ("b", "Re: s", "")]), "(1 2)");
        assert_eq!(threads(by, &[("a", "Re: s", ""), ("b", "s", "")]), "(2 1)");
        // Two originals become siblings.
        assert_eq!(
            threads(by, &[("a", "s", ""), ("b", "S", ""), ("c", "s", "")]),
            "((1)(2)(3))"
        );
        // A dummy takes the others in.
        assert_eq!(
            threads(
                by,
                &[
                    ("a", "s", "g"),
                    ("b", "s", "g"),
                    ("c", "s", ""),
                    ("d", "s", "h"),
                    ("e", "s", "h")
                ]
            ),
            "((1)(2)(3)(4)(5))"
        );
        // Nothing is no subject.
        assert_eq!(threads(by, &[("a", "", ""), ("b", "Re:", "")]), "(1)(2)");
    }

    #[test]
    fn loops_and_double_ids_are_no_trouble() {
        let by = ThreadBy::References;
        assert_eq!(threads(by, &[("a", "x", "b"), ("b", "y", "a")]), "(2 1)");
        assert_eq!(threads(by, &[("a", "x", "a")]), "(1)");
        assert_eq!(
            threads(by, &[("a", "x", ""), ("a", "y", ""), ("b", "z", "a")]),
            "(1 3)(2)"
        );
        assert_eq!(threads(by, &[("", "x", ""), ("", "y", "")]), "(1)(2)");
    }

    #[test]
    fn a_very_long_chain_ends_in_time() {
        let ids: Vec<String> = (0..20_000).map(|i| format!("m{i}")).collect();
        let subjects: Vec<String> = (0..20_000).map(|i| format!("s{i}")).collect();
        let all: Vec<(&str, &str, &str)> = (0..20_000)
            .map(|i| (&*ids[i], &*subjects[i], if i > 0 { &*ids[i - 1] } else { "" }))
            .collect();
        let text = threads(ThreadBy::References, &all);
        let numbers = text
            .split(|c: char| !c.is_ascii_digit())
            .filter(|t| !t.is_empty());
        assert_eq!(numbers.count(), 20_000);
    }

    #[test]
    fn an_id_is_the_same_in_each_spelling() {
        let ids = |text: &str| message_ids(text).collect::<Vec<_>>();
        assert_eq!(
            ids("<\"01KF8JCEOCBS0045PS\"@xxx.yyy.com> <01KF8JCEOCBS0045PS@xxx.yyy.com>"),
            ["01KF8JCEOCBS0045PS@xxx.yyy.com"; 2]
        );
        assert_eq!(ids("text <a@b> (c) <d @e><f"), ["a@b", "d@e"]);
        assert_eq!(ids("<a <b@c> <> <@> <\"x>y\"@z>"), ["b@c", "x>y@z"]);
        assert_eq!(ids(""), [""; 0]);
    }
}
