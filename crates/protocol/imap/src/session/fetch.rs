//! FETCH (RFC 3501 §6.4.5): asked for in portions, written a message at a time, bodies left to the driver.

use super::messages::{Positions, done_of};
use super::output::{MISMATCH, Output, refusal};
use super::sync::write_earlier;
use super::tell::{tell_keywords, write_flags, write_number};
use super::{Session, State, Tag, Task};
use crate::binary::Encoding;
use crate::command::{BinaryItem, BodyItem, FetchItem};
use crate::date::date_time;
use crate::flag::{Flag, FlagChange, SystemFlag};
use crate::question::{Answer, Ask, Message, Wants};
use crate::respond::Wire;
use crate::section::{SectionText, Transform, find};
use crate::sequence::{NumberSet, Uid};
use crate::structure::Spelling;
use crate::view::{Entry, Untold};
use ringpost_base::limits;
use std::collections::VecDeque;
use std::ops::Range;

/// What is written at once before it is sent.
const WRITE_BYTES: usize = 16 * 1024;

/// FETCH under way.
pub(super) struct FetchTask {
    tag: Tag,
    uid: bool,
    items: Vec<FetchItem>,
    /// What is to be asked; `None` when the session itself knows all that is wanted.
    wants: Option<Wants>,
    /// Whether what is fetched becomes `\Seen`.
    sees: bool,
    positions: Positions,
    since: Since,
    /// Positions that were asked for and not answered.
    again: VecDeque<usize>,
    stage: Stage,
    /// Messages of the portion, with what the answer said of them.
    portion: VecDeque<(usize, Option<Message>)>,
    /// Positions whose flags changed by being fetched, so that they are told.
    seen: Vec<usize>,
    done: usize,
    gone: usize,
    /// Whether a message was left out because one of its parts cannot be decoded.
    unknown_encoding: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Which messages have gone is being asked for, or is to be.
    Vanishing,
    /// The portion is being asked for, or is none yet.
    Filling,
    /// The portion is there, but not yet marked as seen.
    Seeing,
    Writing,
}

/// What FETCH is narrowed to (RFC 7162 §3.1.4.1 and §3.2.6).
#[derive(Default)]
pub(super) struct Since {
    /// Messages with a higher MODSEQ.
    pub(super) modseq: u64,
    /// Those of these UIDs that are gone are told first.
    pub(super) vanished: Option<NumberSet>,
}

impl FetchTask {
    pub(super) fn new(
        tag: Tag,
        uid: bool,
        mut items: Vec<FetchItem>,
        positions: Positions,
        since: Since,
        read_only: bool,
    ) -> Self {
        //= https://www.rfc-editor.org/rfc/rfc3501#section-6.4.8
        // UID FETCH tells the UID whether or not it was asked for.
        if uid && !items.contains(&FetchItem::Uid) {
            items.insert(0, FetchItem::Uid);
        }
        let sees = !read_only
            && items.iter().any(|i| match i {
                FetchItem::Body(body) => !body.peek,
                FetchItem::Binary(binary) => !binary.peek,
                _ => false,
            });
        FetchTask {
            tag,
            uid,
            wants: wants(&items),
            sees,
            items,
            positions,
            again: VecDeque::new(),
            stage: match since.vanished {
                Some(_) => Stage::Vanishing,
                None => Stage::Filling,
            },
            since,
            portion: VecDeque::new(),
            seen: Vec::new(),
            done: 0,
            gone: 0,
            unknown_encoding: false,
        }
    }
}

fn wants(items: &[FetchItem]) -> Option<Wants> {
    let mut wants = None;
    for item in items {
        let wants: &mut Wants = match item {
            FetchItem::Flags | FetchItem::Uid | FetchItem::ModSeq => continue,
            _ => wants.get_or_insert_default(),
        };
        match item {
            FetchItem::Envelope => wants.written = Some(Spelling::Ascii),
            FetchItem::ThreadId => wants.thread = true,
            FetchItem::Structure { .. } => wants.structure = true,
            FetchItem::Body(body) => wants.structure |= body.section != Default::default(),
            FetchItem::Binary(BinaryItem { part, .. }) | FetchItem::BinarySize(part) => {
                wants.structure |= !part.is_empty();
            }
            FetchItem::Preview => wants.preview = true,
            _ => {}
        }
    }
    wants
}

impl Session {
    pub(super) fn step_fetch(&mut self) -> bool {
        let Task::Fetch(task) = &mut self.task else {
            return false;
        };
        match task.stage {
            Stage::Vanishing => self.ask_vanished(),
            Stage::Filling => self.fill_portion(),
            Stage::Seeing => self.see_portion(),
            Stage::Writing => self.write_portion(),
        }
        true
    }

    fn fill_portion(&mut self) {
        let (State::Selected(view), Task::Fetch(task)) = (&self.state, &mut self.task) else {
            return;
        };
        let since = task.since.modseq;
        //= https://www.rfc-editor.org/rfc/rfc7162#section-3.1.4.1
        let changed = |i: &usize| view.messages()[*i].modseq > since;
        let positions = task.positions.by_ref().filter(changed);
        let positions = task.again.drain(..).chain(positions);
        task.portion = positions.take(limits::IMAP_PORTION).map(|i| (i, None)).collect();
        task.seen.clear();
        if task.portion.is_empty() {
            if let Task::Fetch(task) = std::mem::replace(&mut self.task, Task::Ready) {
                //= https://www.rfc-editor.org/rfc/rfc3516#section-4.3
                let text = match task.unknown_encoding {
                    true => "NO [UNKNOWN-CTE] A part is encoded in a way that is not known",
                    false => done_of(task.done, task.gone),
                };
                self.finish_message_command(task.tag, task.uid, text);
            }
            return;
        }
        match task.wants {
            Some(wants) => {
                let uids = task
                    .portion
                    .iter()
                    .map(|(i, _)| view.messages()[*i].uid)
                    .collect();
                let spelling = match self.out.utf8 {
                    true => Spelling::Utf8,
                    false => Spelling::Ascii,
                };
                let wants = Wants {
                    written: wants.written.map(|_| spelling),
                    ..wants
                };
                let then = task.positions.peek().filter(changed);
                let then = then.take(limits::IMAP_PORTIONS_AHEAD * limits::IMAP_PORTION);
                let ask = Ask::Fetch {
                    mailbox: view.mailbox,
                    uids,
                    wants,
                    then: then.map(|i| view.messages()[i].uid).collect(),
                };
                self.ask(ask);
            }
            None => task.stage = Stage::Writing,
        }
    }

    fn ask_vanished(&mut self) {
        let (State::Selected(view), Task::Fetch(task)) = (&self.state, &self.task) else {
            return;
        };
        let ask = Ask::Vanished {
            mailbox: view.mailbox,
            since: task.since.modseq,
        };
        self.ask(ask);
    }

    pub(super) fn fetch_answered(&mut self, mut task: Box<FetchTask>, answer: Answer) {
        let State::Selected(view) = &mut self.state else {
            return;
        };
        match answer {
            Answer::Messages(messages) => {
                let asked = task.portion.len();
                let mut positions = std::mem::take(&mut task.portion).into_iter().map(|(i, _)| i);
                // Both are in the same order; what the answer leaves out is gone.
                for message in messages {
                    let found = positions.find(|i| view.messages()[*i].uid == message.uid);
                    task.portion.extend(found.map(|i| (i, Some(message))));
                }
                if !task.portion.is_empty() {
                    task.again = positions.collect();
                }
                task.done += task.portion.len();
                task.gone += asked - task.portion.len() - task.again.len();
                task.stage = if task.sees { Stage::Seeing } else { Stage::Writing };
            }
            Answer::Vanished(vanished) if task.stage == Stage::Vanishing => {
                let among = task.since.vanished.take().unwrap_or_default();
                write_earlier(&mut self.out, view, vanished.as_ref(), &among);
                task.stage = Stage::Filling;
            }
            Answer::Stored { states, .. } => {
                for state in states {
                    let Some(i) = view.position(state.uid) else {
                        continue;
                    };
                    task.seen.push(i);
                    view.set_flags(state, false);
                }
                task.stage = Stage::Writing;
            }
            // That it could not be marked is no reason not to show it.
            Answer::Refused(_) if task.stage == Stage::Writing => {}
            Answer::Refused(why) => {
                return self.finish_message_command(task.tag, task.uid, refusal(&why, false));
            }
            _ => return self.finish_message_command(task.tag, task.uid, MISMATCH),
        }
        self.task = Task::Fetch(task);
    }

    fn see_portion(&mut self) {
        let (State::Selected(view), Task::Fetch(task)) = (&self.state, &mut self.task) else {
            return;
        };
        task.stage = Stage::Writing;
        let entries = task.portion.iter().map(|(i, _)| &view.messages()[*i]);
        let unseen = entries.filter(|m| !m.flags.is(SystemFlag::Seen) && !m.expunged);
        let uids: Vec<Uid> = unseen.map(|m| m.uid).collect();
        if !uids.is_empty() {
            let change = FlagChange::Add([Flag::System(SystemFlag::Seen)].into_iter().collect());
            let ask = Ask::Store {
                mailbox: view.mailbox,
                uids,
                change,
                unchanged_since: None,
            };
            self.ask(ask);
        }
    }

    fn write_portion(&mut self) {
        if let State::Selected(view) = &mut self.state {
            tell_keywords(&mut self.out, view);
        }
        while self.out.bytes.len() < WRITE_BYTES && self.outputs.is_empty() {
            let Task::Fetch(task) = &mut self.task else { return };
            let Some((i, message)) = task.portion.pop_front() else {
                task.stage = Stage::Filling;
                return;
            };
            self.write_message(i, message.as_ref());
        }
    }

    fn write_message(&mut self, i: usize, message: Option<&Message>) {
        let (State::Selected(view), Task::Fetch(task)) = (&mut self.state, &mut self.task) else {
            return;
        };
        if task.items.iter().any(|item| !is_known(item, message)) {
            task.unknown_encoding = true;
            return;
        }
        self.out.text("* ");
        write_number(&mut self.out.bytes, i as u64 + 1);
        self.out.text(" FETCH (");
        let entry = &view.messages()[i];
        let mut flags_told = false;
        for (n, item) in task.items.iter().enumerate() {
            if n > 0 {
                self.out.text(" ");
            }
            match (item, message) {
                (FetchItem::Uid, _) => {
                    self.out.text("UID ");
                    write_number(&mut self.out.bytes, entry.uid.into());
                }
                (FetchItem::ModSeq, _) => self.out.put(format_args!("MODSEQ ({})", entry.modseq)),
                (FetchItem::Flags, _) => {
                    write_flags_item(&mut self.out, entry);
                    flags_told = true;
                }
                (FetchItem::Body(body), Some(message)) => {
                    write_body(&mut self.out, &mut self.outputs, body, message);
                }
                (FetchItem::Binary(item), Some(message)) => {
                    write_binary(&mut self.out, &mut self.outputs, item, message);
                }
                (FetchItem::BinarySize(part), Some(message)) => {
                    write_binary_size(&mut self.out, &mut self.outputs, part, message);
                }
                (item, Some(message)) => write_stored(&mut self.out, item, message),
                // What needs a message has asked for it.
                (_, None) => {}
            }
        }
        //= https://www.rfc-editor.org/rfc/rfc3501#section-6.4.5
        // Flags that the fetch itself changed are told with it.
        let seen = task.seen.contains(&i);
        if !flags_told && seen {
            self.out.text(" ");
            write_flags_item(&mut self.out, entry);
            flags_told = true;
        }
        //= https://www.rfc-editor.org/rfc/rfc7162#section-3.2.4
        // Where the flags are news, so is their MODSEQ.
        if view.condstore && (seen || flags_told && entry.untold != Untold::Nothing) {
            if seen && !task.items.contains(&FetchItem::Uid) {
                self.out.put(format_args!(" UID {}", entry.uid));
            }
            if !task.items.contains(&FetchItem::ModSeq) {
                self.out.put(format_args!(" MODSEQ ({})", entry.modseq));
            }
        }
        self.out.text(")\r\n");
        if flags_told {
            view.flags_told(i);
        }
        if !self.outputs.is_empty() {
            self.flush();
        }
    }
}

fn write_flags_item(out: &mut Wire, entry: &Entry) {
    out.text("FLAGS (");
    write_flags(&mut out.bytes, entry, out.rev2);
    out.text(")");
}

/// An item that is stored with the message.
fn write_stored(out: &mut Wire, item: &FetchItem, message: &Message) {
    match item {
        FetchItem::InternalDate => {
            out.put(format_args!(
                "INTERNALDATE \"{}\"",
                date_time(message.internal_date)
            ));
        }
        FetchItem::SaveDate => out.put(format_args!("SAVEDATE \"{}\"", date_time(message.saved))),
        FetchItem::EmailId => out.put(format_args!("EMAILID ({})", message.email_id)),
        FetchItem::ThreadId => match message.thread_id {
            Some(thread) => out.put(format_args!("THREADID ({thread})")),
            None => out.text("THREADID NIL"),
        },
        FetchItem::Size => out.put(format_args!("RFC822.SIZE {}", message.size_bytes)),
        FetchItem::Envelope => {
            out.text("ENVELOPE ");
            match (&message.written, &message.envelope) {
                (Some(written), _) => out.bytes.extend_from_slice(written),
                (None, Some(envelope)) => out.envelope(envelope),
                (None, None) => out.envelope::<&str>(&Default::default()),
            }
        }
        FetchItem::Structure { extended } => {
            out.text(if *extended { "BODYSTRUCTURE " } else { "BODY " });
            match &message.structure {
                Some(part) => out.structure(part, *extended),
                None => {
                    let all = 0..message.size_bytes;
                    let part = crate::structure::Part::single(0..0, all, 0, "application", "octet-stream");
                    out.structure(&part, *extended);
                }
            }
        }
        FetchItem::Preview => {
            out.text("PREVIEW ");
            out.string(message.preview.as_deref().unwrap_or_default());
        }
        FetchItem::Flags
        | FetchItem::Uid
        | FetchItem::ModSeq
        | FetchItem::Body(_)
        | FetchItem::Binary(_)
        | FetchItem::BinarySize(_) => {}
    }
}

/// Where a part to be decoded is, and how it is encoded. The message itself is not: only its parts are.
enum Encoded {
    Part(Range<u64>, Encoding),
    Unknown,
    Missing,
}

fn encoded(part: &[u32], message: &Message) -> Encoded {
    if part.is_empty() {
        return Encoded::Part(0..message.size_bytes, Encoding::Identity);
    }
    let Some(part) = message.structure.as_ref().and_then(|whole| find(whole, part)) else {
        return Encoded::Missing;
    };
    match Encoding::parse(&part.encoding) {
        Some(encoding) => Encoded::Part(part.body.clone(), encoding),
        None => Encoded::Unknown,
    }
}

/// Whether what an item wants to have decoded can be.
fn is_known(item: &FetchItem, message: Option<&Message>) -> bool {
    match (item, message) {
        (FetchItem::Binary(BinaryItem { part, .. }) | FetchItem::BinarySize(part), Some(message)) => {
            !matches!(encoded(part, message), Encoded::Unknown)
        }
        _ => true,
    }
}

fn write_binary(out: &mut Wire, outputs: &mut VecDeque<Output>, item: &BinaryItem, message: &Message) {
    out.text("BINARY[");
    out.part_numbers(&item.part);
    out.text("]");
    if let Some(partial) = item.partial {
        out.put(format_args!("<{}>", partial.offset));
    }
    match encoded(&item.part, message) {
        Encoded::Part(range, _) if range.is_empty() => out.text(" \"\""),
        Encoded::Part(range, encoding) => {
            out.text(" ");
            let transform = Transform::Decode(encoding, item.partial);
            send_body(out, outputs, message.uid, range, transform);
        }
        Encoded::Missing | Encoded::Unknown => out.text(" NIL"),
    }
}

fn write_binary_size(out: &mut Wire, outputs: &mut VecDeque<Output>, part: &[u32], message: &Message) {
    out.text("BINARY.SIZE[");
    out.part_numbers(part);
    out.text("] ");
    match encoded(part, message) {
        Encoded::Part(range, encoding) if !range.is_empty() => {
            send_body(out, outputs, message.uid, range, Transform::DecodedSize(encoding));
        }
        _ => out.text("0"),
    }
}

/// What was written so far leaves, and then what the driver has.
fn send_body(
    out: &mut Wire,
    outputs: &mut VecDeque<Output>,
    uid: Uid,
    range: Range<u64>,
    transform: Transform,
) {
    outputs.push_back(Output::Transmit(std::mem::take(&mut out.bytes).freeze()));
    outputs.push_back(Output::Body {
        uid,
        range,
        transform,
    });
}

/// A part of the message itself: its name, its size, and where the driver finds it.
fn write_body(out: &mut Wire, outputs: &mut VecDeque<Output>, item: &BodyItem, message: &Message) {
    out.body_name(item);
    let range = match &message.structure {
        Some(structure) => item.section.range(structure),
        None if item.section == Default::default() => Some(0..message.size_bytes),
        None => None,
    };
    let Some(range) = range else {
        // The message has no such part.
        return out.text(" NIL");
    };
    let uid = message.uid;
    let (range, transform) = match &item.section.text {
        Some(SectionText::Fields(filter)) => {
            out.text(" ");
            let end = range.end.min(range.start + limits::IMAP_HEADER_BYTES as u64);
            (range.start..end, Transform::Fields(filter.clone(), item.partial))
        }
        _ => {
            let range = item.partial.map_or(range.clone(), |p| p.of(range));
            //= https://www.rfc-editor.org/rfc/rfc3501#section-6.4.5
            // What begins past the end is an empty string.
            if range.is_empty() {
                return out.text(" \"\"");
            }
            out.put(format_args!(" {{{}}}\r\n", range.end - range.start));
            (range, Transform::None)
        }
    };
    send_body(out, outputs, uid, range, transform);
}
