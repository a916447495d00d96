//! Mailboxes as folders with a file a message: Maildir, and Maildir++ for those below the inbox.

use super::message::{kept_flags, with_crlf};
use super::{Import, Message, Report, too_big};
use anyhow::{Context, Result, bail};
use ringpost_admin::{Control, Mailbox};
use ringpost_base::limits;
use ringpost_imap::utf7;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The letters of a file's name that are flags, ascending as Maildir wants them.
pub(super) const FLAGS: [(char, &str); 6] = [
    ('D', "\\Draft"),
    ('F', "\\Flagged"),
    ('P', "$Forwarded"),
    ('R', "\\Answered"),
    ('S', "\\Seen"),
    ('T', "\\Deleted"),
];
/// Which keyword a small letter is, in each folder.
pub(super) const KEYWORDS: &str = "dovecot-keywords";
/// The names that are subscribed to.
pub(super) const SUBSCRIPTIONS: &str = "subscriptions";
/// The first line of that file where a tab stands between the levels of a name.
pub(super) const SUBSCRIPTIONS_HEAD: &str = "V\t2";
/// The longest list of keywords or subscriptions that is read.
const LIST_BYTES: u64 = 1024 * 1024;

/// `import --maildir`
pub(crate) async fn import_maildir(control: &dyn Control, address: &str, path: &Path) -> Result<Report> {
    let mut import = Import::new(control, address);
    let folders = folders(path)?;
    let subscribed = subscriptions(path)?;
    for (name, folder) in folders {
        let mailbox = Mailbox {
            subscribed: subscribed.contains(&name),
            special_use: None,
            name,
        };
        if import.open(mailbox).await? {
            bring_folder(&mut import, &folder).await?;
        }
    }
    import.finish().await
}

/// The names of the mailboxes with their folders, the inbox first.
fn folders(path: &Path) -> Result<Vec<(String, PathBuf)>> {
    if !is_maildir(path) {
        bail!("{}: expected a Maildir, with folders cur and new", path.display());
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).with_context(|| path.display().to_string())? {
        let entry = entry.with_context(|| path.display().to_string())?;
        // What leads elsewhere is not followed: whoever runs this may read more than whoever made it.
        if !entry.file_type()?.is_dir() || !is_maildir(&entry.path()) {
            continue;
        }
        let name = entry.file_name();
        let Some(name) = name.as_encoded_bytes().strip_prefix(b".") else {
            continue;
        };
        let name = String::from_utf8_lossy(name);
        found.push((mailbox_name(&mut name.split('.')), entry.path()));
    }
    found.sort();
    found.insert(0, ("INBOX".into(), path.to_owned()));
    Ok(found)
}

fn is_maildir(path: &Path) -> bool {
    ["cur", "new"].iter().all(|part| {
        let part = path.join(part);
        part.symlink_metadata().is_ok_and(|part| part.is_dir())
    })
}

/// A mailbox's name from its levels. Modified UTF-7 is read where it is that; a dot within a level is written `\2e`.
fn mailbox_name(levels: &mut dyn Iterator<Item = &str>) -> String {
    let level = |level: &str| {
        let level = utf7::decode(level).unwrap_or_else(|| level.to_owned());
        level.replace('/', "_").replace("\\2e", ".").replace("\\5c", "\\")
    };
    levels.map(level).collect::<Vec<_>>().join("/")
}

fn subscriptions(path: &Path) -> Result<BTreeSet<String>> {
    let text = list(&path.join(SUBSCRIPTIONS))?;
    let mut lines = text.lines().peekable();
    let between = match lines.next_if_eq(&SUBSCRIPTIONS_HEAD) {
        Some(_) => '\t',
        None => '.',
    };
    let names = lines.filter(|line| !line.is_empty());
    Ok(names.map(|line| mailbox_name(&mut line.split(between))).collect())
}

/// The keywords of a folder by their letters, `a` first.
pub(super) fn keywords(folder: &Path) -> Result<Vec<Option<String>>> {
    let mut keywords = vec![None; 26];
    for line in list(&folder.join(KEYWORDS))?.lines() {
        let Some((number, keyword)) = line.split_once(' ') else {
            continue;
        };
        let number: Option<usize> = number.parse().ok();
        if let Some(place) = number.and_then(|number| keywords.get_mut(number)) {
            *place = Some(keyword.to_owned());
        }
    }
    Ok(keywords)
}

/// A small file that may be missing.
fn list(path: &Path) -> Result<String> {
    let mut text = Vec::new();
    match open(path) {
        Ok(file) => file.take(LIST_BYTES).read_to_end(&mut text),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
    .with_context(|| path.display().to_string())?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Opens a regular file, not what leads to one.
fn open(path: &Path) -> std::io::Result<File> {
    let file = File::options()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(std::io::Error::other("expected a regular file")),
    }
}

async fn bring_folder(import: &mut Import<'_>, folder: &Path) -> Result<()> {
    let keywords = keywords(folder)?;
    let mut files = Vec::new();
    for part in ["cur", "new"] {
        let part = folder.join(part);
        for entry in std::fs::read_dir(&part).with_context(|| part.display().to_string())? {
            let entry = entry.with_context(|| part.display().to_string())?;
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            match entry.metadata() {
                Ok(metadata) => files.push((metadata.mtime(), entry.path())),
                // A mail program has moved or removed it meanwhile.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => import.miss(&entry.path().display().to_string(), &error),
            }
        }
    }
    files.sort();
    for (_, path) in files {
        match read(&path, &keywords) {
            Ok((message, lost)) => {
                for keyword in lost {
                    import.miss(&message.label, &format!("the keyword {keyword:?} cannot be kept"));
                }
                import.add(message).await?;
            }
            Err(error) => import.miss(&path.display().to_string(), &format!("{error:#}")),
        }
    }
    Ok(())
}

/// A message, and what of its keywords cannot be kept.
fn read(path: &Path, keywords: &[Option<String>]) -> Result<(Message, Vec<String>)> {
    let file = open(path)?;
    let metadata = file.metadata()?;
    if metadata.len() > limits::MESSAGE_BYTES {
        bail!("{}", too_big());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len())?);
    file.take(limits::MESSAGE_BYTES).read_to_end(&mut bytes)?;
    let name = path.file_name().unwrap_or_default();
    let (flags, lost) = kept_flags(flags(name, keywords));
    let message = Message {
        label: path.display().to_string(),
        flags,
        received_s: u64::try_from(metadata.mtime()).unwrap_or_default(),
        bytes: with_crlf(bytes),
    };
    Ok((message, lost))
}

/// The flags that a file's name tells behind `:2,`.
fn flags(name: &OsStr, keywords: &[Option<String>]) -> Vec<String> {
    let name = name.to_string_lossy();
    let Some((_, info)) = name.rsplit_once(":2,") else {
        return Vec::new();
    };
    let letters = info.split(',').next().unwrap_or_default();
    let flag = |letter: char| match letter {
        'a'..='z' => keywords.get(letter as usize - 'a' as usize)?.clone(),
        _ => FLAGS
            .iter()
            .find(|(known, _)| *known == letter)
            .map(|(_, flag)| (*flag).to_owned()),
    };
    letters.chars().filter_map(flag).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_named_as_mailboxes() {
        for (folder, name) in [
            ("Work.Projects", "Work/Projects"),
            ("Entw&APw-rfe", "Entwürfe"),
            ("v1\\2e0", "v1.0"),
            ("R&D", "R&D"),
            ("INBOX.Sub", "INBOX/Sub"),
        ] {
            assert_eq!(mailbox_name(&mut folder.split('.')), name);
        }
    }

    #[test]
    fn flags_and_keywords_stand_in_a_files_name() {
        let mut keywords = vec![None; 26];
        keywords[1] = Some("todo".into());
        let of = |name: &str| flags(OsStr::new(name), &keywords);
        assert_eq!(
            of("1.2.host,S=3:2,DFPRSTabz"),
            [
                "\\Draft",
                "\\Flagged",
                "$Forwarded",
                "\\Answered",
                "\\Seen",
                "\\Deleted",
                "todo"
            ]
        );
        assert_eq!(
            of("1.2.host:2,S,S=7"),
            ["\\Seen"],
            "some write more behind a comma"
        );
        assert!(of("1.2.host").is_empty());
    }
}
