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
    let found = folders(path)?;
    for (folder, why) in &found.passed_over {
        import.miss(&folder.display().to_string(), why);
    }
    let subscribed = subscriptions(path, found.is_nested)?;
    for (name, folder) in found.folders {
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

/// The mailboxes of a Maildir.
#[derive(Debug, Default)]
struct Found {
    /// Their names with their folders.
    folders: Vec<(String, PathBuf)>,
    /// Whether some lie within each other, as files do, and not beside each other with dots in their names.
    is_nested: bool,
    /// What looks like one and is none, and why.
    passed_over: Vec<(PathBuf, &'static str)>,
}

/// How deep folders may lie in each other.
const LEVELS: usize = 32;
/// What stands in the folder of a mailbox and is none.
const PARTS: [&str; 3] = ["cur", "new", "tmp"];
const LINK: &str = "a link, which is not followed";

/// The names of the mailboxes with their folders, the inbox first: those of Maildir++, which begin with a dot and lie beside
/// each other, and those that lie in each other.
fn folders(path: &Path) -> Result<Found> {
    if !is_maildir(path) {
        bail!("{}: expected a Maildir, with folders cur and new", path.display());
    }
    let mut found = Found::default();
    for (name, folder, is_link) in folders_in(path)? {
        match name.strip_prefix('.') {
            Some(_) if is_link => found.passed_over.push((folder, LINK)),
            Some(name) if is_maildir(&folder) => {
                found.folders.push((mailbox_name(&mut name.split('.')), folder));
            }
            Some(_) => found
                .passed_over
                .push((folder, "no mailbox: it has neither cur nor new")),
            None => nested(&mut found, &mut vec![name], folder, is_link)?,
        }
    }
    found.folders.sort();
    found.folders.insert(0, ("INBOX".into(), path.to_owned()));
    Ok(found)
}

/// Looks through a folder whose levels have these names.
fn nested(found: &mut Found, levels: &mut Vec<String>, folder: PathBuf, is_link: bool) -> Result<()> {
    if is_link {
        // What is no mailbox may be linked to from anywhere.
        if is_maildir(&folder) {
            found.passed_over.push((folder, LINK));
        }
        return Ok(());
    }
    if levels.len() == LEVELS {
        found
            .passed_over
            .push((folder, "deeper than what is looked through"));
        return Ok(());
    }
    for (name, within, is_link) in folders_in(&folder)? {
        if !name.starts_with('.') {
            levels.push(name);
            nested(found, levels, within, is_link)?;
            levels.pop();
        }
    }
    if is_maildir(&folder) {
        found.is_nested = true;
        let name = mailbox_name(&mut levels.iter().map(String::as_str));
        found.folders.push((name, folder));
    }
    Ok(())
}

/// The folders within one, and the links to some, without the parts of a mailbox.
fn folders_in(path: &Path) -> Result<Vec<(String, PathBuf, bool)>> {
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(path).with_context(|| path.display().to_string())? {
        let entry = entry.with_context(|| path.display().to_string())?;
        // What leads elsewhere is not followed: whoever runs this may read more than whoever made it.
        let kind = entry.file_type()?;
        let name = entry.file_name();
        let name = String::from_utf8_lossy(name.as_encoded_bytes()).into_owned();
        let is_folder = kind.is_dir() || kind.is_symlink() && entry.path().is_dir();
        if is_folder && !PARTS.contains(&&*name) {
            folders.push((name, entry.path(), kind.is_symlink()));
        }
    }
    Ok(folders)
}

/// Whether a folder is a mailbox. What copies without what is empty leaves one of the two.
fn is_maildir(path: &Path) -> bool {
    ["cur", "new"].iter().any(|part| {
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

fn subscriptions(path: &Path, is_nested: bool) -> Result<BTreeSet<String>> {
    let text = list(&path.join(SUBSCRIPTIONS))?;
    let mut lines = text.lines().peekable();
    let between = match lines.next_if_eq(&SUBSCRIPTIONS_HEAD) {
        Some(_) => '\t',
        None if is_nested => '/',
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
        let entries = match std::fs::read_dir(&part) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(error).with_context(|| part.display().to_string()),
        };
        for entry in entries {
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
    fn mailboxes_lie_beside_each_other_or_in_each_other_and_what_is_passed_over_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in [
            "cur",
            "new",
            ".Sent/cur",
            ".Old.2020/new",
            ".Lost/tmp",
            "Work/tmp",
            "Work/Plans/cur",
            "Work/Plans/Entw&APw-rfe/new",
            "sieve/tmp",
            "Deep/.hidden/cur",
        ] {
            std::fs::create_dir_all(path(name)).unwrap();
        }
        std::os::unix::fs::symlink(path(".Sent"), path(".Linked")).unwrap();
        std::os::unix::fs::symlink(path("Work/Plans"), path("Alias")).unwrap();
        std::os::unix::fs::symlink(path("sieve"), path("scripts")).unwrap();
        let mut found = folders(folder.path()).unwrap();
        found.passed_over.sort();
        let names: Vec<_> = found.folders.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names,
            ["INBOX", "Old/2020", "Sent", "Work/Plans", "Work/Plans/Entwürfe"]
        );
        assert!(found.is_nested);
        let told: Vec<_> = found
            .passed_over
            .iter()
            .map(|(path, why)| (path.clone(), *why))
            .collect();
        let neither = "no mailbox: it has neither cur nor new";
        assert_eq!(
            told,
            [
                (path(".Linked"), LINK),
                (path(".Lost"), neither),
                (path("Alias"), LINK)
            ]
        );
    }

    #[test]
    fn a_maildir_whose_empty_folders_were_lost_is_one_still() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("tmp")).unwrap();
        let refused = folders(folder.path()).unwrap_err().to_string();
        assert!(refused.contains("expected a Maildir"), "{refused}");
        std::fs::create_dir(folder.path().join("new")).unwrap();
        assert_eq!(folders(folder.path()).unwrap().folders.len(), 1);
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
