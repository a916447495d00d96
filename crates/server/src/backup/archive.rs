//! A tar archive whose last entry says how many files and bytes there are and what their hash is: one that was cut off or
//! changed is known.

use super::Counted;
use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path};

/// The first entry: what this is, and the version of its form.
const HEAD: (&str, &[u8]) = ("RINGPOST-BACKUP", b"1\n");
/// The last entry.
const END: &str = "RINGPOST-END";
/// The longest [`END`].
const END_BYTES: u64 = 256;
/// Bytes that are copied at a time.
const CHUNK: usize = 128 * 1024;

/// What the hash is over: each file's name, length and bytes.
#[derive(Default)]
struct Seal {
    hash: Sha256,
    counted: Counted,
}

impl Seal {
    fn begin(&mut self, name: &str, len: u64) {
        self.hash.update((name.len() as u64).to_be_bytes());
        self.hash.update(name);
        self.hash.update(len.to_be_bytes());
        self.counted.files += 1;
        self.counted.bytes += len;
    }

    fn text(&self) -> String {
        let hash: String = self
            .hash
            .clone()
            .finalize()
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        format!(
            "files {}\nbytes {}\nsha256 {hash}\n",
            self.counted.files, self.counted.bytes
        )
    }
}

/// Hashes what passes.
struct Sealing<'a, R> {
    seal: &'a mut Seal,
    inner: R,
}

impl<R: Read> Read for Sealing<'_, R> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(room)?;
        self.seal.hash.update(&room[..read]);
        Ok(read)
    }
}

/// A backup that is being written.
pub(super) struct Writer<W: Write> {
    tar: tar::Builder<W>,
    seal: Seal,
}

impl<W: Write> Writer<W> {
    pub(super) fn new(output: W) -> Result<Self> {
        let mut writer = Writer {
            tar: tar::Builder::new(output),
            seal: Seal::default(),
        };
        writer.bytes(HEAD.0, HEAD.1)?;
        Ok(writer)
    }

    /// Adds a regular file under a name. One that shrinks meanwhile is an error, and what is added to it is not taken.
    pub(super) fn file(&mut self, name: &str, path: &Path) -> Result<()> {
        let mut open = || -> Result<()> {
            // Whoever owns the folder must not lead root elsewhere.
            let file = OpenOptions::new()
                .read(true)
                .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
                .open(path)?;
            let metadata = file.metadata()?;
            ensure!(metadata.is_file(), "it is no regular file");
            self.seal.begin(name, metadata.len());
            let mut header = header(metadata.len());
            if let Ok(time) = metadata.modified()
                && let Ok(since) = time.duration_since(std::time::UNIX_EPOCH)
            {
                header.set_mtime(since.as_secs());
            }
            let input = Exactly {
                inner: BufReader::with_capacity(CHUNK, file),
                left: metadata.len(),
            };
            let sealing = Sealing {
                seal: &mut self.seal,
                inner: input,
            };
            Ok(self.tar.append_data(&mut header, name, sealing)?)
        };
        open().with_context(|| path.display().to_string())
    }

    fn bytes(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        Ok(self
            .tar
            .append_data(&mut header(bytes.len() as u64), name, bytes)?)
    }
}

impl Writer<File> {
    /// Ends the archive, durably.
    pub(super) fn finish(mut self) -> Result<Counted> {
        let text = self.seal.text();
        self.bytes(END, text.as_bytes())?;
        self.tar.into_inner()?.sync_all()?;
        Ok(self.seal.counted)
    }
}

fn header(len: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(len);
    header.set_mode(0o600);
    header.set_entry_type(tar::EntryType::Regular);
    header
}

/// So many bytes and no other number.
struct Exactly<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Exactly<R> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let most = room.len().min(self.left.try_into().unwrap_or(usize::MAX));
        let read = self.inner.read(&mut room[..most])?;
        if read == 0 && most > 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "it has become shorter",
            ));
        }
        self.left -= read as u64;
        Ok(read)
    }
}

/// Reads a backup to its end, and gives each file to `take` with its name: a path of plain names that leads nowhere else.
pub(super) fn read(
    input: impl Read,
    mut take: impl FnMut(&str, &mut dyn Read) -> Result<()>,
) -> Result<Counted> {
    let mut archive = tar::Archive::new(BufReader::with_capacity(CHUNK, input));
    let mut entries = archive.entries()?;
    let is_backup = match entries.next() {
        Some(Ok(mut head)) => {
            name_of(&head).is_ok_and(|name| name == HEAD.0) && {
                let mut form = Vec::new();
                head.by_ref().take(END_BYTES).read_to_end(&mut form)?;
                if form != HEAD.1 {
                    bail!(
                        "expected a backup of form 1, found {}: restore it with the version that wrote it",
                        form.trim_ascii().escape_ascii()
                    );
                }
                true
            }
        }
        _ => false,
    };
    ensure!(
        is_backup,
        "it is no backup: expected what `ringpost backup` wrote"
    );
    let mut seal = Seal::default();
    for entry in entries {
        let mut entry = entry.context("it was cut off")?;
        let name = name_of(&entry)?;
        if name == END {
            let mut told = String::new();
            entry.take(END_BYTES).read_to_string(&mut told)?;
            let found = seal.text();
            ensure!(
                told == found,
                "it was damaged: expected {}, found {}",
                told.trim_end().replace('\n', ", "),
                found.trim_end().replace('\n', ", ")
            );
            return Ok(seal.counted);
        }
        ensure!(
            entry.header().entry_type() == tar::EntryType::Regular,
            "expected regular files alone, and {name:?} is none"
        );
        seal.begin(&name, entry.size());
        let mut sealing = Sealing {
            seal: &mut seal,
            inner: &mut entry,
        };
        take(&name, &mut sealing).with_context(|| name.clone())?;
        io::copy(&mut sealing, &mut io::sink())?;
    }
    bail!("it was cut off: its last entry is missing")
}

fn name_of<R: Read>(entry: &tar::Entry<'_, R>) -> Result<String> {
    let bytes = entry.path_bytes();
    let name = std::str::from_utf8(&bytes).ok().context("a name is not UTF-8")?;
    let plain = Path::new(name)
        .components()
        .all(|component| matches!(component, Component::Normal(_)));
    ensure!(
        plain && !name.is_empty(),
        "the name {name:?} leads out of the folder"
    );
    Ok(name.to_string())
}
