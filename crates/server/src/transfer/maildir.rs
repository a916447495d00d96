//! Mailboxes as folders with a file a message: Maildir, and Maildir++ for those below the inbox.

use super::folder::Folder;
use super::message::{kept_flags, with_crlf};
use super::{Import, Message, Report, too_big};
use anyhow::{Context, Result, bail};
use ringpost_admin::{Control, Mailbox};
use ringpost_base::limits;
use ringpost_imap::utf7;
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
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
    let root = Folder::open(path).with_context(|| path.display().to_string())?;
    let found = folders(&root)?;
    for (folder, why) in &found.passed_over {
        import.miss(&folder.display().to_string(), why);
    }
    let subscribed = subscriptions(&root, &found).unwrap_or_else(|error| {
        import.miss(
            &told(&root, SUBSCRIPTIONS),
            &no_file(&root, SUBSCRIPTIONS, &error),
        );
        BTreeSet::new()
    });
    for (name, levels) in found.folders {
        let mailbox = Mailbox {
            subscribed: subscribed.contains(&name),
            special_use: None,
            name,
        };
        let label = levels
            .iter()
            .fold(path.to_owned(), |path, level| path.join(level));
        let label = label.display().to_string();
        if !import.open(mailbox, &label).await? {
            continue;
        }
        match below(&root, &levels) {
            Ok(None) => bring_folder(&mut import, &root).await?,
            Ok(Some(folder)) => bring_folder(&mut import, &folder).await?,
            Err(error) => import.miss(&label, &error),
        }
    }
    import.finish().await
}

/// The folder that lies these levels below another, unless it is that.
fn below(root: &Folder, levels: &[OsString]) -> std::io::Result<Option<Folder>> {
    let mut folder = None;
    for level in levels {
        folder = Some(folder.as_ref().unwrap_or(root).folder(level)?);
    }
    Ok(folder)
}

/// The mailboxes of a Maildir.
#[derive(Debug, Default)]
struct Found {
    /// Their names with their folders below the first, a level each.
    folders: Vec<(String, Vec<OsString>)>,
    /// Whether some lie within each other, as files do, and not beside each other with dots in their names.
    is_nested: bool,
    /// What looks like one and is none, and why.
    passed_over: Vec<(PathBuf, String)>,
}

impl Found {
    fn pass_over(&mut self, path: PathBuf, why: impl ToString) {
        self.passed_over.push((path, why.to_string()));
    }
}

/// A folder's name, and whether it is that of a link.
type Named = (OsString, bool);

/// How deep folders may lie in each other.
const LEVELS: usize = 32;
/// How deep mailboxes are looked for behind a link, to tell of it.
const LINKED_LEVELS: usize = 3;
/// Where a mailbox has its messages.
const WITH_MESSAGES: [&str; 2] = ["cur", "new"];
/// What stands in the folder of a mailbox and is none.
const PARTS: [&str; 3] = ["cur", "new", "tmp"];
const LINK: &str = "a link, which is not followed";
const FILE: &str = "a file, where a folder is expected";
const NO_MAILBOX: &str = "no mailbox: it has neither cur nor new";
const MISPLACED: &str = "a mailbox where none is looked for";

/// The names of the mailboxes with their folders, the inbox first: those of Maildir++, which begin with a dot and lie beside
/// each other, and those that lie in each other.
fn folders(root: &Folder) -> Result<Found> {
    let named = || root.path().display().to_string();
    if !is_maildir(root).with_context(named)? {
        bail!("{}: expected a Maildir: {}", named(), no_mailbox(root));
    }
    let mut found = Found::default();
    for (name, is_link) in folders_in(root).with_context(named)? {
        let text = name.to_string_lossy().into_owned();
        let Some(below) = text.strip_prefix('.') else {
            nested(&mut found, &mut vec![name], root, is_link);
            continue;
        };
        let path = root.path().join(&name);
        if is_link {
            found.pass_over(path, LINK);
            continue;
        }
        let (folder, within, is_maildir) = match look_into(root, &name) {
            Ok(looked_into) => looked_into,
            Err(error) => {
                found.pass_over(path, error);
                continue;
            }
        };
        match is_maildir {
            true => found
                .folders
                .push((mailbox_name(&mut below.split('.')), vec![name])),
            false => found.pass_over(path, no_mailbox(&folder)),
        }
        // Those of Maildir++ lie beside each other.
        for (name, is_link) in within {
            misplaced(&mut found, &folder, &name, is_link, 1);
        }
        misplaced(&mut found, &folder, OsStr::new("tmp"), false, 1);
    }
    misplaced(&mut found, root, OsStr::new("tmp"), false, 0);
    found.folders.sort();
    found.folders.insert(0, ("INBOX".into(), Vec::new()));
    Ok(found)
}

/// Looks through a folder, the last of these levels, which lies in `parent`.
fn nested(found: &mut Found, levels: &mut Vec<OsString>, parent: &Folder, is_link: bool) {
    let Some(name) = levels.last() else {
        return;
    };
    let path = parent.path().join(name);
    if is_link {
        return pass_over_link(found, parent, name);
    }
    if levels.len() == LEVELS {
        return found.pass_over(path, "deeper than what is looked through");
    }
    let (folder, within, is_maildir) = match look_into(parent, name) {
        Ok(looked_into) => looked_into,
        Err(error) => return found.pass_over(path, error),
    };
    for (name, is_link) in within {
        if name.as_encoded_bytes().starts_with(b".") {
            misplaced(found, &folder, &name, is_link, levels.len());
            continue;
        }
        levels.push(name);
        nested(found, levels, &folder, is_link);
        levels.pop();
    }
    misplaced(found, &folder, OsStr::new("tmp"), false, levels.len());
    if is_maildir {
        found.is_nested = true;
        let names: Vec<_> = levels.iter().map(|level| level.to_string_lossy()).collect();
        let name = mailbox_name(&mut names.iter().map(|level| &**level));
        found.folders.push((name, levels.clone()));
    } else if WITH_MESSAGES.iter().any(|part| folder.kind(part).is_ok()) {
        found.pass_over(path, no_mailbox(&folder));
    }
}

/// Why a folder is no mailbox: what stands where one would have its messages.
fn no_mailbox(folder: &Folder) -> String {
    let stands = |part: &&str| Some(format!("{part} is {}", other_than_folder(folder, part)?));
    let parts: Vec<_> = WITH_MESSAGES.iter().filter_map(stands).collect();
    match parts.is_empty() {
        true => NO_MAILBOX.to_owned(),
        false => format!("no mailbox: {}", parts.join("; ")),
    }
}

/// What stands in a folder where another is looked for; `None` when one does, or nothing that can be looked at.
fn other_than_folder(folder: &Folder, name: impl AsRef<OsStr>) -> Option<&'static str> {
    match folder.kind(name).ok()? {
        kind if kind.is_dir() => None,
        kind if kind.is_symlink() => Some(LINK),
        _ => Some(FILE),
    }
}

/// Why something in a folder is no file that could be read: a link is said to be one.
fn no_file(folder: &Folder, name: impl AsRef<OsStr>, error: &dyn Display) -> String {
    match folder.kind(name) {
        Ok(kind) if kind.is_symlink() => LINK.to_owned(),
        _ => format!("{error:#}"),
    }
}

/// A folder with what [`folders_in`] finds in it, and whether it is a mailbox itself.
fn look_into(parent: &Folder, name: &OsStr) -> std::io::Result<(Folder, Vec<Named>, bool)> {
    let folder = parent.folder(name)?;
    let (within, is_maildir) = (folders_in(&folder)?, is_maildir(&folder)?);
    Ok((folder, within, is_maildir))
}

/// Tells of a link, if it leads to mailboxes, or where that cannot be known: what is none may be linked to from anywhere.
fn pass_over_link(found: &mut Found, parent: &Folder, name: &OsStr) {
    let linked = parent.within(name);
    let is_known = |target: &Path| std::fs::read_dir(target).is_ok();
    if !is_known(&linked) || holds_mailbox(&linked, LINKED_LEVELS) {
        found.pass_over(parent.path().join(name), LINK);
    }
}

/// Whether a folder is a mailbox or has one within, so many levels deep; no link in it is followed.
fn holds_mailbox(folder: &Path, levels: usize) -> bool {
    let is_folder = |path: &Path| path.symlink_metadata().is_ok_and(|kind| kind.is_dir());
    if WITH_MESSAGES.iter().any(|part| is_folder(&folder.join(part))) {
        return true;
    }
    let Ok(entries) = std::fs::read_dir(folder) else {
        return false;
    };
    let within = entries.flatten().map(|entry| entry.path());
    levels > 0
        && within
            .filter(|path| is_folder(path))
            .any(|path| holds_mailbox(&path, levels - 1))
}

/// Tells of each mailbox that a folder is or holds where none belongs, so that nobody takes it for brought. Nothing when
/// there is no such folder.
fn misplaced(found: &mut Found, parent: &Folder, name: &OsStr, is_link: bool, level: usize) {
    if is_link {
        return pass_over_link(found, parent, name);
    }
    let path = parent.path().join(name);
    let (folder, within, is_maildir) = match look_into(parent, name) {
        Ok(_) if level == LEVELS => return found.pass_over(path, "deeper than what is looked through"),
        Ok(looked_into) => looked_into,
        Err(error) if error.kind() == ErrorKind::NotFound => return,
        Err(_) if parent.kind(name).is_ok_and(|kind| kind.is_symlink()) => {
            return pass_over_link(found, parent, name);
        }
        Err(error) if error.kind() == ErrorKind::NotADirectory => return,
        Err(error) => return found.pass_over(path, error),
    };
    if is_maildir {
        found.pass_over(path, MISPLACED);
    }
    for (name, is_link) in within {
        misplaced(found, &folder, &name, is_link, level + 1);
    }
    misplaced(found, &folder, OsStr::new("tmp"), false, level + 1);
}

/// The names of the folders within one, and of the links to some, without the parts of a mailbox.
fn folders_in(folder: &Folder) -> std::io::Result<Vec<Named>> {
    let mut folders = Vec::new();
    for entry in folder.entries()? {
        let entry = entry?;
        let (kind, name) = (entry.file_type()?, entry.file_name());
        // What a link leads to may be away, or not to be looked at: a disk that is not there.
        let may_be_folder = || std::fs::metadata(entry.path()).map_or(true, |target| target.is_dir());
        let is_folder = kind.is_dir() || kind.is_symlink() && may_be_folder();
        if is_folder && !PARTS.iter().any(|part| name == *part) {
            folders.push((name, kind.is_symlink()));
        }
    }
    Ok(folders)
}

/// Whether a folder is a mailbox. What copies without what is empty leaves one of the two.
fn is_maildir(folder: &Folder) -> std::io::Result<bool> {
    for part in WITH_MESSAGES {
        match folder.kind(part) {
            Ok(kind) if kind.is_dir() => return Ok(true),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

/// What something in a folder is called.
fn told(folder: &Folder, name: impl AsRef<OsStr>) -> String {
    folder.path().join(name.as_ref()).display().to_string()
}

/// A mailbox's name from its levels. Modified UTF-7 is read where it is that; a dot within a level is written `\2e`.
fn mailbox_name(levels: &mut dyn Iterator<Item = &str>) -> String {
    let level = |level: &str| {
        let level = utf7::decode(level).unwrap_or_else(|| level.to_owned());
        level.replace('/', "_").replace("\\2e", ".").replace("\\5c", "\\")
    };
    levels.map(level).collect::<Vec<_>>().join("/")
}

/// Which mailboxes are subscribed to. Where nothing says what stands between the levels of a name it is what the folders
/// have, or else the other: what was Maildir++ may have got a folder that is not, and the list was not written anew.
fn subscriptions(root: &Folder, found: &Found) -> std::io::Result<BTreeSet<String>> {
    let text = list(root, SUBSCRIPTIONS)?;
    let mut lines = text.lines().peekable();
    let between: &[char] = match lines.next_if_eq(&SUBSCRIPTIONS_HEAD) {
        Some(_) => &['\t'],
        None if found.is_nested => &['/', '.'],
        None => &['.', '/'],
    };
    let names: BTreeSet<&str> = found.folders.iter().map(|(name, _)| name.as_str()).collect();
    let subscribed = |line: &str| {
        let mut read = between
            .iter()
            .map(|between| mailbox_name(&mut line.split(*between)));
        read.find(|name| names.contains(name.as_str()))
    };
    Ok(lines.filter_map(subscribed).collect())
}

/// The keywords of a folder by their letters, `a` first. Lines that say nothing of any are passed over.
pub(super) fn keywords(folder: &Folder) -> std::io::Result<Vec<Option<String>>> {
    let mut keywords = vec![None; 26];
    for line in list(folder, KEYWORDS)?.lines() {
        let Some((number, keyword)) = line.split_once(' ') else {
            continue;
        };
        let number: Option<usize> = number.parse().ok();
        // Those that have no letter stand in no file's name.
        if let Some(place) = number.and_then(|number| keywords.get_mut(number)) {
            *place = Some(keyword.to_owned());
        }
    }
    Ok(keywords)
}

/// A small file that may be missing.
fn list(folder: &Folder, name: &str) -> std::io::Result<String> {
    let mut text = Vec::new();
    match folder.file(name) {
        Ok(file) => file.take(LIST_BYTES + 1).read_to_end(&mut text),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }?;
    if text.len() as u64 > LIST_BYTES {
        return Err(std::io::Error::other(format!(
            "it is larger than {LIST_BYTES} octets"
        )));
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Brings what messages a folder has: what cannot be read of it keeps nothing else out.
async fn bring_folder(import: &mut Import<'_>, folder: &Folder) -> Result<()> {
    let (keywords, are_told) = match keywords(folder) {
        Ok(keywords) => (keywords, false),
        Err(error) => {
            import.miss(&told(folder, KEYWORDS), &no_file(folder, KEYWORDS, &error));
            (Vec::new(), true)
        }
    };
    let mut parts = Vec::new();
    for name in WITH_MESSAGES {
        match folder.folder(name) {
            Ok(part) => parts.push(part),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => match other_than_folder(folder, name) {
                Some(other) => import.miss(&told(folder, name), &other),
                None => import.miss(&told(folder, name), &error),
            },
        }
    }
    let mut files = Vec::new();
    for (number, part) in parts.iter().enumerate() {
        match files_in(import, part) {
            Ok(found) => files.extend(found.into_iter().map(|(mtime, name)| (mtime, number, name))),
            Err(error) => import.miss(&part.path().display().to_string(), &error),
        }
    }
    files.sort();
    let unnamed: BTreeSet<char> = match are_told {
        true => BTreeSet::new(),
        false => files
            .iter()
            .flat_map(|(.., name)| unnamed(name, &keywords))
            .collect(),
    };
    if !unnamed.is_empty() {
        let letters = unnamed.into_iter().collect::<String>();
        import.miss(
            &told(folder, KEYWORDS),
            &format!("it names no keywords for these letters, which files of the folder have: {letters}"),
        );
    }
    for (_, number, name) in files {
        match read(&parts[number], &name, &keywords) {
            Ok((message, lost)) => {
                for keyword in lost {
                    import.miss(&message.label, &format!("the keyword {keyword:?} cannot be kept"));
                }
                import.add(message).await?;
            }
            Err(error) => {
                let part = &parts[number];
                import.miss(&told(part, &name), &no_file(part, &name, &error));
            }
        }
    }
    Ok(())
}

/// What stands in a part of a mailbox: its names, with when each was written last.
fn files_in(import: &mut Import<'_>, part: &Folder) -> std::io::Result<Vec<(i64, OsString)>> {
    let mut files = Vec::new();
    for entry in part.entries()? {
        let entry = entry?;
        let name = entry.file_name();
        if name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        match entry.metadata() {
            Ok(metadata) => files.push((metadata.mtime(), name)),
            // A mail program has moved or removed it meanwhile.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => import.miss(&told(part, name), &error),
        }
    }
    Ok(files)
}

/// A message, and what of its keywords cannot be kept.
fn read(part: &Folder, name: &OsStr, keywords: &[Option<String>]) -> Result<(Message, Vec<String>)> {
    let file = part.file(name)?;
    let metadata = file.metadata()?;
    if metadata.len() > limits::MESSAGE_BYTES {
        bail!("{}", too_big());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len())?);
    file.take(limits::MESSAGE_BYTES).read_to_end(&mut bytes)?;
    let (flags, lost) = kept_flags(flags(name, keywords));
    let message = Message {
        label: told(part, name),
        flags,
        received_s: u64::try_from(metadata.mtime()).unwrap_or_default(),
        bytes: with_crlf(bytes),
    };
    Ok((message, lost))
}

/// The flags that a file's name tells behind `:2,`.
fn flags(name: &OsStr, keywords: &[Option<String>]) -> Vec<String> {
    let flag = |letter: char| match letter {
        'a'..='z' => keyword(letter, keywords).map(str::to_owned),
        _ => FLAGS
            .iter()
            .find(|(known, _)| *known == letter)
            .map(|(_, flag)| (*flag).to_owned()),
    };
    letters(name).chars().filter_map(flag).collect()
}

/// The letters of a file's name that stand for keywords which are not known.
fn unnamed(name: &OsStr, keywords: &[Option<String>]) -> Vec<char> {
    let is_unnamed = |letter: &char| letter.is_ascii_lowercase() && keyword(*letter, keywords).is_none();
    letters(name).chars().filter(is_unnamed).collect()
}

fn keyword(letter: char, keywords: &[Option<String>]) -> Option<&str> {
    let place = (letter as usize).checked_sub('a' as usize)?;
    keywords.get(place)?.as_deref()
}

/// What stands behind `:2,` in a file's name, a letter for each flag.
fn letters(name: &OsStr) -> String {
    let name = name.to_string_lossy();
    let info = name.rsplit_once(":2,").map(|(_, info)| info).unwrap_or_default();
    info.split(',').next().unwrap_or_default().to_owned()
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
            "Deep/.none/none",
            "Work/tmp/cur",
            "tmp/none/new",
            ".Sent/2021/cur",
            ".Lost/2022/tmp/new",
        ] {
            std::fs::create_dir_all(path(name)).unwrap();
        }
        std::os::unix::fs::symlink(path(".Sent"), path(".Linked")).unwrap();
        std::os::unix::fs::symlink(path("Work/Plans"), path("Alias")).unwrap();
        std::os::unix::fs::symlink(path("sieve"), path("scripts")).unwrap();
        let mut found = folders(&Folder::open(folder.path()).unwrap()).unwrap();
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
            .map(|(path, why)| (path.clone(), why.as_str()))
            .collect();
        assert_eq!(
            told,
            [
                (path(".Linked"), LINK),
                (path(".Lost"), NO_MAILBOX),
                (path(".Lost/2022/tmp"), MISPLACED),
                (path(".Sent/2021"), MISPLACED),
                (path("Alias"), LINK),
                (path("Deep/.hidden"), MISPLACED),
                (path("Work/tmp"), MISPLACED),
                (path("tmp/none"), MISPLACED),
            ]
        );
    }

    #[test]
    fn links_to_where_mailboxes_may_be_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in [
            "Mail/cur",
            "disk/Archive/2020/cur",
            "disk/scripts",
            "disk/box/new",
        ] {
            std::fs::create_dir_all(path(name)).unwrap();
        }
        std::fs::write(path("disk/file"), "").unwrap();
        for (name, target) in [
            ("Archive", "Archive"),
            (".Lists", "unmounted"),
            ("Gone", "unmounted"),
            ("tmp", "box"),
            ("scripts", "scripts"),
            ("rules", "file"),
        ] {
            std::os::unix::fs::symlink(path("disk").join(target), path("Mail").join(name)).unwrap();
        }
        let found = folders(&Folder::open(&path("Mail")).unwrap()).unwrap();
        assert_eq!(found.folders.len(), 1);
        let mut told = found.passed_over;
        told.sort();
        let expected =
            [".Lists", "Archive", "Gone", "tmp"].map(|name| (path("Mail").join(name), LINK.to_owned()));
        assert_eq!(told, expected);
    }

    #[test]
    fn what_stands_in_the_place_of_a_mailboxs_folders_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["Mail/cur", "Mail/.Lost", "Mail/Notes", "Mail/.Both", "Mail/none"] {
            std::fs::create_dir_all(path(name)).unwrap();
        }
        std::fs::write(path("Mail/Notes/new"), "").unwrap();
        std::fs::write(path("Mail/.Both/new"), "").unwrap();
        std::os::unix::fs::symlink(path("Mail/cur"), path("Mail/.Both/cur")).unwrap();
        let mut told = folders(&Folder::open(&path("Mail")).unwrap())
            .unwrap()
            .passed_over;
        told.sort();
        let both =
            "no mailbox: cur is a link, which is not followed; new is a file, where a folder is expected";
        let notes = "no mailbox: new is a file, where a folder is expected";
        let expected = [
            (path("Mail/.Both"), both),
            (path("Mail/.Lost"), NO_MAILBOX),
            (path("Mail/Notes"), notes),
        ];
        assert_eq!(told, expected.map(|(path, why)| (path, why.to_owned())));
        let refused = folders(&Folder::open(&path("Mail/Notes")).unwrap()).unwrap_err();
        assert!(refused.to_string().ends_with(notes), "{refused}");
    }

    #[test]
    fn subscriptions_are_read_by_the_folders_that_there_are() {
        let folder = tempfile::tempdir().unwrap();
        let make = |names: &[&str]| {
            for name in names {
                std::fs::create_dir_all(folder.path().join(name).join("cur")).unwrap();
            }
        };
        let subscribed = |list: &str| {
            std::fs::write(folder.path().join(SUBSCRIPTIONS), list).unwrap();
            let root = Folder::open(folder.path()).unwrap();
            let found = folders(&root).unwrap();
            let read = subscriptions(&root, &found).unwrap();
            read.into_iter().collect::<Vec<_>>().join(" ")
        };
        make(&["", ".Old.2020", ".Work.Plans", ".v1\\2e0"]);
        let list = "Old.2020\nWork/Plans\nv1\\2e0\nGone.Since\n\n";
        assert_eq!(subscribed(list), "Old/2020 Work/Plans v1.0");
        // One folder of another kind takes nothing away.
        make(&["backup", "v2.0", "Work/Lists"]);
        let list = "Old.2020\nWork.Plans\nbackup\nv2.0\nWork/Lists\nWork.Lists.none\n";
        assert_eq!(subscribed(list), "Old/2020 Work/Lists Work/Plans backup v2.0");
        assert_eq!(
            subscribed("V\t2\n\nOld\t2020\nWork.Plans\nbackup\n"),
            "Old/2020 backup"
        );
    }

    #[test]
    fn a_maildir_whose_empty_folders_were_lost_is_one_still() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("tmp")).unwrap();
        let refused = folders(&Folder::open(folder.path()).unwrap())
            .unwrap_err()
            .to_string();
        assert!(refused.contains("expected a Maildir"), "{refused}");
        std::fs::create_dir(folder.path().join("new")).unwrap();
        assert_eq!(
            folders(&Folder::open(folder.path()).unwrap())
                .unwrap()
                .folders
                .len(),
            1
        );
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
