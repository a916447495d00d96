//! ENABLE (RFC 5161), and what IMAP4rev2 (RFC 9051) tells beside what IMAP4rev1 does: the name of the mailbox that is opened,
//! and names that are kept in another spelling.

use super::mailbox::{selected_line, write_respelt};
use super::{Asked, Session, Tag};
use crate::command::{Command, Resync};
use crate::name::MailboxName;
use crate::question::{Ask, ListedMailbox};
use crate::token::{Dialect, Respelt};
use bytes::Bytes;

/// SELECT or EXAMINE under way.
pub(super) struct Opening {
    pub(super) name: MailboxName,
    pub(super) read_only: bool,
    /// What the client knows of the mailbox.
    pub(super) resync: Option<Resync>,
    /// What LIST would tell of it, for who has enabled IMAP4rev2.
    pub(super) line: Bytes,
}

impl Session {
    /// How commands are read.
    pub(super) fn dialect(&self) -> Dialect {
        Dialect {
            utf8: self.out.utf8,
            no_charset: self.utf8_accept,
        }
    }

    //= https://www.rfc-editor.org/rfc/rfc5161#section-3.1
    /// What is unknown is ignored.
    pub(super) fn enable(&mut self, tag: Tag, names: &[String]) {
        let named = |name: &str| names.iter().any(|n| n.eq_ignore_ascii_case(name));
        let off =
            ["IMAP4rev2", "CONDSTORE", "QRESYNC", "UTF8=ACCEPT"].map(|name| (name, self.is_without(name)));
        let wants = |name: &str| named(name) && !off.contains(&(name, true));
        let mut enabled = String::new();
        //= https://www.rfc-editor.org/rfc/rfc9051#appendix-A
        if wants("IMAP4rev2") && !std::mem::replace(&mut self.out.rev2, true) {
            self.out.utf8 = true;
            enabled.push_str(" IMAP4rev2");
        }
        //= https://www.rfc-editor.org/rfc/rfc6855#section-3
        if wants("UTF8=ACCEPT") && !std::mem::replace(&mut self.utf8_accept, true) {
            self.out.utf8 = true;
            enabled.push_str(" UTF8=ACCEPT");
        }
        if wants("CONDSTORE") || wants("QRESYNC") {
            self.enable_condstore();
            enabled.push_str(" CONDSTORE");
        }
        if wants("QRESYNC") {
            self.qresync = true;
            enabled.push_str(" QRESYNC");
        }
        self.out.put(format_args!("* ENABLED{enabled}\r\n"));
        self.finish(tag, "OK Done");
    }

    /// Opens a mailbox; who has enabled IMAP4rev2 is told its name and attributes with it, which are asked for first.
    pub(super) fn open(&mut self, tag: Tag, opening: Opening) {
        match self.out.rev2 {
            true => self.ask_then(tag, Asked::Name(Box::new(opening)), Ask::List),
            false => self.ask_select(tag, Box::new(opening)),
        }
    }

    fn ask_select(&mut self, tag: Tag, opening: Box<Opening>) {
        let ask = Ask::Select {
            name: opening.name.clone(),
            read_only: opening.read_only,
        };
        self.ask_then(tag, Asked::Select(opening), ask);
    }

    pub(super) fn name_listed(&mut self, tag: Tag, mut opening: Box<Opening>, mailboxes: Vec<ListedMailbox>) {
        let respelt = std::mem::take(&mut self.respelt);
        let old_name = respelt.first().map(|r| &*r.written);
        opening.line = selected_line(&self.out, mailboxes, &opening.name, old_name);
        self.ask_select(tag, opening);
    }

    /// Keeps what is to be told of names that were written otherwise than they are kept.
    pub(super) fn note_respelt(&mut self, command: &Command, mut respelt: Vec<Respelt>) {
        self.respelt.clear();
        if respelt.is_empty() || !self.out.rev2 {
            return;
        }
        //= https://www.rfc-editor.org/rfc/rfc9051#section-6.3.6
        // RENAME tells the new name beside the old one as it was written.
        if let Command::Rename { from, to } = command {
            let old = respelt.iter().find(|r| r.name == *from);
            let written = old.map_or_else(|| from.as_str().to_owned(), |old| old.written.clone());
            let name = to.clone();
            respelt = vec![Respelt {
                name,
                written,
                gone: false,
            }];
        }
        if let Command::Delete(_) = command {
            respelt.iter_mut().for_each(|r| r.gone = true);
        }
        self.respelt = respelt;
    }

    //= https://www.rfc-editor.org/rfc/rfc9051#section-6.3.9.7
    /// Tells what became of names that were written otherwise, when the command that did it succeeds.
    pub(super) fn tell_respelt(&mut self, text: &str) {
        for respelt in std::mem::take(&mut self.respelt) {
            if self.out.rev2 && text.starts_with("OK") {
                let attribute = if respelt.gone { "\\NonExistent" } else { "" };
                write_respelt(&mut self.out, attribute, &respelt.name, &respelt.written);
            }
        }
    }
}
