//! Mailboxes by name: LIST, LSUB, STATUS, and what SELECT shows (RFC 3501 §6.3).

use super::enable::Opening;
use super::output::{MISMATCH, refusal};
use super::tell::{tell_exists, write_keywords};
use super::{Session, State, Tag, Task};
use crate::command::{ListCommand, ListReturn, ListSelect, StatusItem};
use crate::name::{MailboxName, SEPARATOR};
use crate::question::{Answer, Ask, ListedMailbox, Snapshot, Status};
use crate::respond::Wire;
use crate::view::View;
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};

/// LIST or LSUB under way.
pub(super) struct ListTask {
    command: ListCommand,
    /// With STATUS: the lines that are still to be told, each with the mailbox whose status follows it.
    lines: VecDeque<(Bytes, Option<MailboxName>)>,
    /// The mailbox whose status is being asked for.
    asked: Option<MailboxName>,
}

/// STATUS under way.
pub(super) struct StatusTask {
    name: MailboxName,
    items: Vec<StatusItem>,
}

/// What is known of a name once all mailboxes are.
#[derive(Clone, Debug, Default)]
struct Node {
    /// The mailbox, when there is one of this name.
    mailbox: Option<ListedMailbox>,
    /// Whether there is a mailbox below it.
    has_children: bool,
    /// Whether a name below it is subscribed to.
    subscribed_below: bool,
    /// Whether a name below it is what the options of LIST select, and one of these matches no pattern.
    selected_below: bool,
    unshown_below: bool,
}

impl Session {
    pub(super) fn start_list(&mut self, tag: Tag, command: ListCommand) {
        let task = ListTask {
            command,
            lines: VecDeque::new(),
            asked: None,
        };
        self.task = Task::List(tag, Box::new(task));
        self.ask(Ask::List);
    }

    pub(super) fn list_answered(&mut self, tag: Tag, mut task: Box<ListTask>, answer: Answer) {
        let mut mailboxes = match answer {
            Answer::Mailboxes(mailboxes) => mailboxes,
            //= https://www.rfc-editor.org/rfc/rfc5819#section-2
            // Of a mailbox that cannot tell its status, or is gone meanwhile, nothing follows.
            Answer::Status(_) | Answer::Refused(_) if task.asked.is_some() => {
                if let (Some(name), Answer::Status(status)) = (task.asked.take(), answer) {
                    let limit = self.config.message_bytes;
                    write_status(&mut self.out, &name, &task.command.returns.status, &status, limit);
                }
                self.task = Task::List(tag, task);
                return;
            }
            Answer::Refused(why) => return self.finish(tag, refusal(&why, false)),
            _ => return self.finish(tag, MISMATCH),
        };
        if self.is_without("SPECIAL-USE") {
            mailboxes
                .iter_mut()
                .for_each(|mailbox| mailbox.special_use = None);
        }
        let command = &task.command;
        //= https://www.rfc-editor.org/rfc/rfc3501#section-6.3.8
        // An empty pattern asks for the separator and the root.
        if command.patterns.iter().any(|p| p.as_str().is_empty()) {
            let name = if command.lsub { "LSUB" } else { "LIST" };
            self.out
                .put(format_args!("* {name} (\\Noselect) \"{SEPARATOR}\" \"\"\r\n"));
        }
        let mut lines = VecDeque::new();
        let with_status = !command.returns.status.is_empty();
        for (name, node) in tree(mailboxes, command) {
            if command.shows(&name) {
                let mut line = self.out.like();
                let out = if with_status { &mut line } else { &mut self.out };
                match command.lsub {
                    true => write_lsub(out, command, &name, &node),
                    false => write_list(out, command, &name, &node, None),
                }
                if !line.bytes.is_empty() {
                    let selectable = node.mailbox.is_some_and(|m| m.exists && m.selectable);
                    lines.push_back((line.bytes.freeze(), selectable.then_some(name)));
                }
            }
        }
        match with_status {
            true => {
                task.lines = lines;
                self.task = Task::List(tag, task);
            }
            false => self.finish(tag, "OK Done"),
        }
    }

    /// Tells the next line of a LIST with STATUS, and asks for what follows it.
    pub(super) fn step_list(&mut self) -> bool {
        let Task::List(_, task) = &mut self.task else {
            return false;
        };
        match task.lines.pop_front() {
            Some((line, name)) => {
                self.out.bytes.extend_from_slice(&line);
                task.asked.clone_from(&name);
                if let Some(name) = name {
                    self.ask(Ask::Status(name));
                }
            }
            None => {
                if let Task::List(tag, _) = std::mem::replace(&mut self.task, Task::Ready) {
                    self.finish(tag, "OK Done");
                }
            }
        }
        true
    }

    pub(super) fn start_status(&mut self, tag: Tag, name: MailboxName, items: Vec<StatusItem>) {
        let ask = Ask::Status(name.clone());
        self.task = Task::Status(tag, Box::new(StatusTask { name, items }));
        self.ask(ask);
    }

    pub(super) fn status_answered(&mut self, tag: Tag, task: &StatusTask, answer: Answer) {
        let status = match answer {
            Answer::Status(status) => status,
            Answer::Refused(why) => return self.finish(tag, refusal(&why, false)),
            _ => return self.finish(tag, MISMATCH),
        };
        let limit = self.config.message_bytes;
        write_status(&mut self.out, &task.name, &task.items, &status, limit);
        self.finish(tag, "OK Done");
    }

    //= https://www.rfc-editor.org/rfc/rfc3501#section-6.3.1
    pub(super) fn open_mailbox(&mut self, tag: Tag, snapshot: Snapshot, opening: Opening) {
        let (uid_validity, uid_next) = (snapshot.uid_validity, snapshot.uid_next);
        let mut view = View::new(snapshot);
        view.condstore = self.condstore;
        let (tells_id, tells_modseq) = (!self.is_without("OBJECTID"), !self.is_without("CONDSTORE"));
        let out = &mut self.out;
        write_keywords(out, &view);
        tell_exists(out, &view);
        out.bytes.extend_from_slice(&opening.line);
        //= https://www.rfc-editor.org/rfc/rfc9051#appendix-E
        // Item 11.
        if let Some(number) = view.first_unseen().filter(|_| !out.rev2) {
            out.put(format_args!(
                "* OK [UNSEEN {number}] The first that is unread\r\n"
            ));
        }
        out.put(format_args!(
            "* OK [UIDVALIDITY {uid_validity}] UIDs are good\r\n"
        ));
        out.put(format_args!("* OK [UIDNEXT {uid_next}] The next UID\r\n"));
        //= https://www.rfc-editor.org/rfc/rfc8474#section-4.2
        if tells_id {
            out.put(format_args!("* OK [MAILBOXID ({})] Its ID\r\n", view.mailbox));
        }
        //= https://www.rfc-editor.org/rfc/rfc7162#section-3.1.2
        if tells_modseq {
            out.put(format_args!(
                "* OK [HIGHESTMODSEQ {}] The last change\r\n",
                view.told_modseq()
            ));
        }
        let access = if view.read_only { "READ-ONLY" } else { "READ-WRITE" };
        self.state = State::Selected(Box::new(view));
        let text = format!("OK [{access}] Done");
        //= https://www.rfc-editor.org/rfc/rfc7162#section-3.2.5
        // What the client knows of another mailbox of that name is worth nothing.
        match opening.resync.filter(|r| r.uid_validity == uid_validity) {
            Some(resync) => self.start_resync(tag, text, &resync, uid_next),
            None => self.finish(tag, text),
        }
    }
}

fn write_status(
    out: &mut Wire,
    name: &MailboxName,
    items: &[StatusItem],
    status: &Status,
    append_limit: u64,
) {
    out.text("* STATUS ");
    out.mailbox(name);
    for (i, item) in items.iter().enumerate() {
        let open = if i == 0 { "(" } else { "" };
        let value = match item {
            StatusItem::Messages => u64::from(status.messages),
            StatusItem::Recent => status.recent.into(),
            StatusItem::UidNext => status.uid_next.into(),
            StatusItem::UidValidity => status.uid_validity.into(),
            StatusItem::Unseen => status.unseen.into(),
            StatusItem::HighestModSeq => status.highest_modseq,
            StatusItem::Deleted => status.deleted.into(),
            StatusItem::DeletedStorage => status.deleted_bytes.div_ceil(1024),
            StatusItem::Size => status.size_bytes,
            //= https://www.rfc-editor.org/rfc/rfc7889#section-3.1
            StatusItem::AppendLimit => append_limit,
            //= https://www.rfc-editor.org/rfc/rfc8474#section-4.3
            StatusItem::MailboxId => {
                out.put(format_args!(" {open}{} ({})", item.name(), status.mailbox));
                continue;
            }
        };
        out.put(format_args!(" {open}{} {value}", item.name()));
    }
    out.text(")\r\n");
}

/// Whether LIST's options select a name.
fn is_selected(select: ListSelect, mailbox: &ListedMailbox) -> bool {
    match select {
        ListSelect {
            subscribed: false,
            special_use: false,
            ..
        } => mailbox.exists,
        _ => {
            (!select.subscribed || mailbox.subscribed)
                && (!select.special_use || mailbox.special_use.is_some())
        }
    }
}

/// All names in order, with those that are only levels above others.
fn tree(mailboxes: Vec<ListedMailbox>, command: &ListCommand) -> BTreeMap<MailboxName, Node> {
    let mut nodes: BTreeMap<MailboxName, Node> = BTreeMap::new();
    for mailbox in mailboxes {
        let selected = is_selected(command.select, &mailbox);
        let shown = selected && command.shows(&mailbox.name);
        let mut above = mailbox.name.parent();
        while let Some(name) = above {
            above = name.parent();
            let node = nodes.entry(name).or_default();
            node.has_children |= mailbox.exists;
            node.subscribed_below |= mailbox.subscribed;
            node.selected_below |= selected;
            node.unshown_below |= selected && !shown;
        }
        let name = mailbox.name.clone();
        nodes.entry(name).or_default().mailbox = Some(mailbox);
    }
    nodes
}

/// LIST's line for a name, if it is selected (RFC 5258 §3).
fn write_list(
    out: &mut Wire,
    command: &ListCommand,
    name: &MailboxName,
    node: &Node,
    old_name: Option<&str>,
) {
    let mailbox = node.mailbox.as_ref();
    let exists = mailbox.is_some_and(|m| m.exists);
    let subscribed = mailbox.is_some_and(|m| m.subscribed);
    let special_use = mailbox.and_then(|m| m.special_use);
    let select = command.select;
    // What is above a subscribed name is shown for the sake of it (RFC 5258 §3.5).
    let for_child = select.recursive_match && node.selected_below;
    let plain = !select.subscribed && !select.special_use;
    let selected = mailbox.is_some_and(|m| is_selected(select, m)) || plain && node.has_children;
    //= https://www.rfc-editor.org/rfc/rfc9051#section-6.3.9.6
    // A name that only stands for others is told where one of these is not told itself.
    let stands_for_others = for_child && node.unshown_below;
    if !selected && !stands_for_others {
        return;
    }
    let mut attributes: Vec<&str> = Vec::new();
    //= https://www.rfc-editor.org/rfc/rfc5258#section-3
    // Who asks in the extended way knows what \NonExistent is; for others \Noselect says the same.
    if !exists || mailbox.is_some_and(|m| !m.selectable) {
        attributes.push(if command.extended {
            "\\NonExistent"
        } else {
            "\\Noselect"
        });
    }
    //= https://www.rfc-editor.org/rfc/rfc3348#section-3
    attributes.push(if node.has_children {
        "\\HasChildren"
    } else {
        "\\HasNoChildren"
    });
    if subscribed && (select.subscribed || command.returns.subscribed) {
        attributes.push("\\Subscribed");
    }
    attributes.extend(special_use.map(|u| u.attribute()));
    write_name(out, "LIST", &attributes, name);
    let mut extended = Vec::new();
    if for_child {
        let options = [
            (select.subscribed, "\"SUBSCRIBED\""),
            (select.special_use, "\"SPECIAL-USE\""),
        ];
        let options: Vec<&str> = options.iter().filter(|o| o.0).map(|o| o.1).collect();
        extended.push(format!("\"CHILDINFO\" ({})", options.join(" ")));
    }
    if let Some(old_name) = old_name {
        extended.push(old_name_item(out, old_name));
    }
    if !extended.is_empty() {
        out.put(format_args!(" ({})", extended.join(" ")));
    }
    out.text("\r\n");
}

/// LIST's line for a name that SELECT opens, with everything that is known of it; empty when there is no such mailbox.
//= https://www.rfc-editor.org/rfc/rfc9051#section-6.3.2
pub(super) fn selected_line(
    out: &Wire,
    mailboxes: Vec<ListedMailbox>,
    name: &MailboxName,
    old_name: Option<&str>,
) -> Bytes {
    let command = ListCommand {
        lsub: false,
        extended: true,
        patterns: Vec::new(),
        select: ListSelect::default(),
        returns: ListReturn {
            subscribed: true,
            status: Vec::new(),
        },
    };
    let mut line = out.like();
    if let Some(node) = tree(mailboxes, &command).get(name) {
        write_list(&mut line, &command, name, node, old_name);
    }
    line.bytes.freeze()
}

/// LIST's line for a name that a command has used in another spelling.
pub(super) fn write_respelt(out: &mut Wire, attribute: &str, name: &MailboxName, old_name: &str) {
    write_name(out, "LIST", &[attribute], name);
    let item = old_name_item(out, old_name);
    out.put(format_args!(" ({item})\r\n"));
}

//= https://www.rfc-editor.org/rfc/rfc9051#section-6.3.9.7
fn old_name_item(out: &Wire, old_name: &str) -> String {
    let mut name = out.like();
    name.astring(old_name);
    format!("\"OLDNAME\" ({})", String::from_utf8_lossy(&name.bytes))
}

/// LSUB's line for a name, if it is subscribed to, or a name below it that no other pattern shows.
fn write_lsub(out: &mut Wire, command: &ListCommand, name: &MailboxName, node: &Node) {
    let mailbox = node.mailbox.as_ref();
    if mailbox.is_some_and(|m| m.subscribed) {
        let selectable = mailbox.is_some_and(|m| m.exists && m.selectable);
        let attributes: &[&str] = if selectable { &[] } else { &["\\Noselect"] };
        write_name(out, "LSUB", attributes, name);
        out.text("\r\n");
        return;
    }
    //= https://www.rfc-editor.org/rfc/rfc3501#section-6.3.9
    // `%` shows a level that is not subscribed to itself for the sake of what is below it.
    if node.subscribed_below && command.patterns.iter().any(|p| p.as_str().ends_with('%')) {
        write_name(out, "LSUB", &["\\Noselect"], name);
        out.text("\r\n");
    }
}

fn write_name(out: &mut Wire, response: &str, attributes: &[&str], name: &MailboxName) {
    out.put(format_args!(
        "* {response} ({}) \"{SEPARATOR}\" ",
        attributes.join(" ")
    ));
    out.mailbox(name);
}
