//! An account's mailboxes as a tree of Maildirs (Maildir++), as Dovecot and Python's `mailbox` read it.
//!
//! A file's name tells which message it holds, so that a second run writes what is new and what has other flags.

use super::folder::Folder;
use super::maildir::{FLAGS, KEYWORDS, SUBSCRIPTIONS, SUBSCRIPTIONS_HEAD, keywords};
use super::message::Fingerprint;
use super::{Pages, Report};
use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ringpost_admin::{Answer, Command, Control, Mailbox, RefusalKind, StoredMessage};
use ringpost_imap::utf7;
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{DirBuilder, File};
use std::io::{ErrorKind, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

/// `export`
pub(crate) async fn export(control: &dyn Control, address: &str, path: &Path) -> Result<Report> {
    let list = Command::MailboxList {
        address: address.to_owned(),
    };
    let mailboxes = match control.handle(list).await? {
        Answer::Mailboxes(mailboxes) => mailboxes,
        other => bail!("expected mailboxes, found {other:?}"),
    };
    begin(path, address)?;
    let mut export = Export {
        control,
        address,
        report: Report::default(),
    };
    for mailbox in &mailboxes {
        let folder = folder_of(path, &mailbox.name);
        // The longest name that a file may have; the file system says whether it takes it.
        if let Err(error) = make_maildir(&folder, folder != path) {
            export.miss(&mailbox.name, &format!("{error:#}"));
            continue;
        }
        export.report.mailboxes += 1;
        export.mailbox(&mailbox.name, &folder).await?;
    }
    write_subscriptions(path, &mailboxes)?;
    sync(path).with_context(|| path.display().to_string())?;
    Ok(export.report)
}

/// Says in the folder whose mail it has.
const MARK: &str = "ringpost-export";

/// The folder is one that the account was exported to before, or new, or empty: nothing of others is mixed with its mail.
fn begin(path: &Path, address: &str) -> Result<()> {
    let named = || path.display().to_string();
    let mark = path.join(MARK);
    let is_empty = match std::fs::read_dir(path) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == ErrorKind::NotFound => true,
        Err(error) => return Err(error).with_context(named),
    };
    let whose = std::fs::read_to_string(&mark).unwrap_or_default();
    match whose.trim() {
        whose if whose.eq_ignore_ascii_case(address) => return make_maildir(path, false),
        "" if is_empty || has_only_ours(path) => {}
        "" => bail!(
            "{}: expected an empty folder, or one that {address} was exported to before",
            named()
        ),
        whose => bail!("{}: has the mail of {whose}; expected an empty folder", named()),
    }
    // Whole or not at all, and before anything else is there.
    let mut builder = DirBuilder::new();
    builder.mode(0o700).recursive(true);
    builder.create(path).with_context(named)?;
    let new = path.join(format!(".{MARK}.new"));
    private(&new)
        .and_then(|mut file| writeln!(file, "{address}").and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&new, &mark))
        .with_context(|| mark.display().to_string())?;
    make_maildir(path, false)
}

/// Whether a folder was exported to before there was a mark, or until it was to get one: it is a Maildir, and each of its
/// messages has a name of ours.
fn has_only_ours(path: &Path) -> bool {
    let names = |part: &str| -> Option<Vec<OsString>> {
        let entries = std::fs::read_dir(path.join(part)).ok()?;
        entries
            .map(|entry| entry.map(|entry| entry.file_name()).ok())
            .collect()
    };
    let is_ours = |name: &OsString| name.to_string_lossy().contains(".ringpost");
    match (names("cur"), names("new")) {
        (Some(mut read), Some(new)) => {
            read.extend(new);
            !read.is_empty() && read.iter().all(is_ours)
        }
        // A first run that ended before it came so far.
        _ => path.join(format!(".{MARK}.new")).is_file(),
    }
}

fn make_maildir(path: &Path, is_below: bool) -> Result<()> {
    let mut builder = DirBuilder::new();
    builder.mode(0o700).recursive(true);
    for part in ["cur", "new", "tmp"] {
        let part = path.join(part);
        builder
            .create(&part)
            .with_context(|| part.display().to_string())?;
    }
    if is_below {
        // By this, programs that deliver know that it is not the top.
        let mark = path.join("maildirfolder");
        private(&mark).with_context(|| mark.display().to_string())?;
    }
    Ok(())
}

/// Creates or empties a file that its owner alone reads.
fn private(path: &Path) -> std::io::Result<File> {
    File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
}

/// The folder of a mailbox. A dot within a level, which would part it, is written `\2e`.
fn folder_of(path: &Path, name: &str) -> PathBuf {
    if name == "INBOX" {
        return path.to_owned();
    }
    path.join(format!(".{}", levels(name).join(".")))
}

fn levels(name: &str) -> Vec<String> {
    let level = |level: &str| utf7::encode(&level.replace('\\', "\\5c").replace('.', "\\2e"));
    name.split('/').map(level).collect()
}

fn write_subscriptions(path: &Path, mailboxes: &[Mailbox]) -> Result<()> {
    let mut text = format!("{SUBSCRIPTIONS_HEAD}\n\n");
    for mailbox in mailboxes.iter().filter(|mailbox| mailbox.subscribed) {
        text += &levels(&mailbox.name).join("\t");
        text.push('\n');
    }
    let file = path.join(SUBSCRIPTIONS);
    let written = private(&file).and_then(|mut file| file.write_all(text.as_bytes()));
    written.with_context(|| file.display().to_string())
}

/// Everything that was written is on the disk.
fn sync(path: &Path) -> std::io::Result<()> {
    let folder = File::open(path)?;
    // SAFETY: the descriptor is open, and nothing else is touched.
    match unsafe { libc::syncfs(folder.as_raw_fd()) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

struct Export<'a> {
    control: &'a dyn Control,
    address: &'a str,
    report: Report,
}

/// The letters of a folder's keywords, as they are given out.
struct Letters {
    keywords: Vec<Option<String>>,
    changed: bool,
}

impl Letters {
    /// The letter of a keyword; `None` when all are taken.
    fn of(&mut self, keyword: &str) -> Option<char> {
        let is = |known: &Option<String>| {
            known
                .as_deref()
                .is_some_and(|known| known.eq_ignore_ascii_case(keyword))
        };
        let place = match self.keywords.iter().position(is) {
            Some(place) => place,
            None => {
                let free = self.keywords.iter().position(Option::is_none)?;
                self.keywords[free] = Some(keyword.to_owned());
                self.changed = true;
                free
            }
        };
        Some(char::from(b'a' + u8::try_from(place).ok()?))
    }

    fn write(&self, folder: &Path) -> std::io::Result<()> {
        let lines = self.keywords.iter().enumerate();
        let lines = lines.filter_map(|(number, keyword)| Some(format!("{number} {}\n", keyword.as_ref()?)));
        private(&folder.join(KEYWORDS))?.write_all(lines.collect::<String>().as_bytes())
    }
}

impl Export<'_> {
    async fn mailbox(&mut self, name: &str, folder: &Path) -> Result<()> {
        let named = || folder.display().to_string();
        let mut letters = Letters {
            keywords: Folder::open(folder)
                .and_then(|folder| keywords(&folder))
                .with_context(named)?,
            changed: false,
        };
        let there = files(folder).with_context(named)?;
        let mut pages = Pages::of(self.control, self.address, name);
        while let Some(messages) = pages.next().await? {
            for message in &messages {
                let info = self.info(message, &mut letters, name);
                if std::mem::take(&mut letters.changed) {
                    // A letter that a file's name has is never without its meaning.
                    letters.write(folder).with_context(named)?;
                }
                self.message(name, folder, message, &info, &there).await?;
            }
        }
        Ok(())
    }

    /// The letters of a message's flags.
    fn info(&mut self, message: &StoredMessage, letters: &mut Letters, mailbox: &str) -> String {
        let mut info = Vec::new();
        for flag in &message.flags {
            let known = FLAGS.iter().find(|(_, known)| known.eq_ignore_ascii_case(flag));
            let known = known.map(|(letter, _)| *letter);
            // To Dovecot, which knows no P, what was forwarded has a keyword.
            let keyword = match known {
                None | Some('P') => letters.of(flag),
                Some(_) => None,
            };
            if known.or(keyword).is_none() {
                self.miss(
                    &format!("{mailbox}: UID {}", message.uid),
                    &format!("the keyword {flag} has no letter left, a Maildir has 26"),
                );
            }
            info.extend(known.into_iter().chain(keyword));
        }
        info.sort_unstable();
        info.dedup();
        info.into_iter().collect()
    }

    async fn message(
        &mut self,
        mailbox: &str,
        folder: &Path,
        message: &StoredMessage,
        info: &str,
        there: &HashMap<String, String>,
    ) -> Result<()> {
        let [fingerprint, _] = Fingerprint::of_stored(message);
        let base = format!(
            "{}.U{}H{}.ringpost",
            message.received_s,
            message.uid,
            fingerprint.to_hex()
        );
        let (cur, tmp) = (folder.join("cur"), folder.join("tmp").join(&base));
        if let Some(known) = there.get(&base) {
            self.report.already_there += 1;
            let stem = known.split(":2,").next().unwrap_or_default();
            let name = format!("{stem}:2,{info}");
            if name != *known {
                let renamed = std::fs::rename(cur.join(known), cur.join(&name));
                renamed.with_context(|| cur.join(known).display().to_string())?;
            }
            return Ok(());
        }
        let written = self.write(mailbox, message, &tmp).await?;
        let Some(size_bytes) = written else { return Ok(()) };
        let name = format!("{base},S={size_bytes},W={}:2,{info}", message.size_bytes);
        std::fs::rename(&tmp, cur.join(name)).with_context(|| tmp.display().to_string())?;
        self.report.messages += 1;
        Ok(())
    }

    /// Writes a message with lines as files have them, and gives the file's size; `None` when it is gone meanwhile.
    async fn write(&mut self, mailbox: &str, message: &StoredMessage, path: &Path) -> Result<Option<u64>> {
        let named = || path.display().to_string();
        let mut file = private(path).with_context(named)?;
        let (mut offset, mut size_bytes, mut held_cr) = (0, 0, false);
        while offset < message.size_bytes {
            let piece = Command::MessagePiece {
                address: self.address.to_owned(),
                mailbox: mailbox.to_owned(),
                uid: message.uid,
                offset,
            };
            let piece = match self.control.handle(piece).await {
                Ok(Answer::Piece(piece)) => STANDARD.decode(piece).context("expected base64")?,
                Ok(other) => bail!("expected a piece of a message, found {other:?}"),
                Err(refusal) if refusal.kind == RefusalKind::NotFound => {
                    return std::fs::remove_file(path).map(|()| None).with_context(named);
                }
                Err(refusal) => return Err(refusal.into()),
            };
            if piece.is_empty() {
                bail!(
                    "{mailbox}: UID {}: expected {} bytes, found {offset}",
                    message.uid,
                    message.size_bytes
                );
            }
            offset += piece.len() as u64;
            let lines = with_lf(&piece, &mut held_cr);
            size_bytes += lines.len() as u64;
            file.write_all(&lines).with_context(named)?;
        }
        if held_cr {
            size_bytes += 1;
            file.write_all(b"\r").with_context(named)?;
        }
        let received = UNIX_EPOCH + Duration::from_secs(message.received_s);
        file.set_modified(received).with_context(named)?;
        Ok(Some(size_bytes))
    }

    fn miss(&mut self, label: &str, why: &str) {
        self.report.errors += 1;
        let line: String = format!("{label}: {why}")
            .chars()
            .filter(|c| !c.is_control())
            .collect();
        eprintln!("ringpost: {line}");
    }
}

/// The files of a folder by the part of their names that stays.
fn files(folder: &Path) -> std::io::Result<HashMap<String, String>> {
    let mut there = HashMap::new();
    for entry in std::fs::read_dir(folder.join("cur"))? {
        if let Ok(name) = entry?.file_name().into_string() {
            let base = name.split([',', ':']).next().unwrap_or_default();
            there.insert(base.to_owned(), name);
        }
    }
    Ok(there)
}

/// The bytes with LF where a line ends with CRLF; a CR at the end waits for what follows it.
fn with_lf(piece: &[u8], held_cr: &mut bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(piece.len() + 1);
    for byte in piece {
        if std::mem::take(held_cr) && *byte != b'\n' {
            out.push(b'\r');
        }
        match byte {
            b'\r' => *held_cr = true,
            byte => out.push(*byte),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_as_files_have_them_wherever_they_are_cut() {
        let text = b"a\r\nb\rc\r\r\n\n\r";
        let whole = with_lf(text, &mut false);
        for cut in 0..text.len() {
            let mut held = false;
            let mut parted = with_lf(&text[..cut], &mut held);
            parted.extend(with_lf(&text[cut..], &mut held));
            assert_eq!(parted, whole);
            assert!(held);
        }
        assert_eq!(whole, b"a\nb\rc\r\n\n");
    }

    #[test]
    fn folders_are_named_so_that_they_can_be_read_back() {
        let folder = |name: &str| folder_of(Path::new("/x"), name).display().to_string();
        assert_eq!(folder("INBOX"), "/x");
        assert_eq!(folder("Work/v1.0"), "/x/.Work.v1\\2e0");
        assert_eq!(folder("Entwürfe"), "/x/.Entw&APw-rfe");
        assert_eq!(folder("../.."), "/x/.\\2e\\2e.\\2e\\2e");
    }
}
