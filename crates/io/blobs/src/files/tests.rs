use super::*;
use ringpost_store::conformance::{self, block_on};
use ringpost_store::{FileCommand, FileRefusal};

fn files(dir: &tempfile::TempDir) -> DiskFiles {
    DiskFiles::open(dir.path().join("media")).unwrap()
}

fn name(name: &str) -> FileName {
    name.parse().unwrap()
}

fn append(octets: &'static [u8]) -> FileCommand {
    FileCommand::Append(Bytes::from_static(octets))
}

#[test]
fn it_conforms_to_the_reference() {
    for seed in 0..3 {
        let dir = tempfile::tempdir().unwrap();
        block_on(conformance::run_files(&files(&dir), seed, 100));
    }
}

#[test]
fn what_was_submitted_is_written_before_the_folder_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let first = files(&dir);
    let mut writer = first.writer();
    writer
        .submit(FileCommand::Create(name("alice/door/1.mp4")))
        .unwrap();
    for _ in 0..1_000 {
        writer.submit(append(&[7; 1_000])).unwrap();
    }
    drop(writer);
    drop(first);
    let again = files(&dir);
    let folder = "alice/door".parse().unwrap();
    let infos = block_on(again.list(&folder)).unwrap();
    assert_eq!(infos.len(), 1);
    assert_eq!((infos[0].size_bytes, infos[0].is_open), (1_000_000, false));
    assert_eq!(
        block_on(again.folders(&FolderName::root())).unwrap()[0].as_str(),
        "alice"
    );
}

#[test]
fn a_folder_goes_with_its_last_file_and_comes_again_with_another() {
    let dir = tempfile::tempdir().unwrap();
    let files = files(&dir);
    let mut writer = files.writer();
    let write = |writer: &mut Box<dyn FileWriter>, file: &str| {
        writer.submit(FileCommand::Create(name(file))).unwrap();
        writer.submit(FileCommand::Close).unwrap();
        block_on(writer.settle()).unwrap();
    };
    write(&mut writer, "alice/call/7/1.mp4");
    write(&mut writer, "alice/call/7/2.mp4");
    let is_there = || dir.path().join("media/alice/call/7").exists();
    block_on(files.remove(&name("alice/call/7/1.mp4"))).unwrap();
    assert!(is_there());
    block_on(files.remove(&name("alice/call/7/2.mp4"))).unwrap();
    assert!(!is_there());
    write(&mut writer, "alice/call/7/3.mp4");
    assert!(is_there());
    // What lies in no folder leaves the root alone.
    write(&mut writer, "4.mp4");
    block_on(files.remove(&name("4.mp4"))).unwrap();
    assert!(dir.path().join("media").exists());
}

#[test]
fn a_file_is_open_until_its_writer_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let files = files(&dir);
    let is_open = || block_on(files.list(&FolderName::root())).unwrap()[0].is_open;
    let mut writer = files.writer();
    writer.submit(FileCommand::Create(name("1.mp4"))).unwrap();
    block_on(writer.settle()).unwrap();
    assert!(is_open());
    drop(writer);
    // Another writer's turn comes behind it.
    block_on(files.writer().settle()).unwrap();
    assert!(!is_open());
}

#[test]
fn what_waits_is_bounded_and_what_is_refused_ends_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let files = files(&dir);
    let mut writer = files.writer();
    writer.submit(FileCommand::Create(name("1.mp4"))).unwrap();
    let large = Bytes::from(vec![1; limits::FILE_QUEUE_BYTES / 4]);
    let refused = (0..10_000).find_map(|_| writer.submit(FileCommand::Append(large.clone())).err());
    assert_eq!(
        refused,
        Some(FileRefusal::Slow),
        "a disk takes longer than a pointer"
    );
    writer.submit(append(b"behind the end")).unwrap();
    block_on(writer.settle()).unwrap();
    let infos = block_on(files.list(&FolderName::root())).unwrap();
    assert_eq!(
        (infos[0].size_bytes % large.len() as u64, infos[0].is_open),
        (0, false)
    );
    writer.submit(FileCommand::Create(name("2.mp4"))).unwrap();
    writer.submit(append(b"goes on")).unwrap();
    block_on(writer.settle()).unwrap();
    let read = block_on(files.read(&name("2.mp4"), 5..u64::MAX)).unwrap();
    assert_eq!(read.as_deref(), Some(&b"on"[..]));
}

#[test]
fn a_failure_is_told_with_the_next_command() {
    let dir = tempfile::tempdir().unwrap();
    let files = files(&dir);
    let mut writer = files.writer();
    writer.submit(FileCommand::Create(name("a"))).unwrap();
    block_on(writer.settle()).unwrap();
    // A file where a folder would have to be.
    writer.submit(FileCommand::Create(name("a/1.mp4"))).unwrap();
    assert!(matches!(block_on(writer.settle()), Err(StoreError::Io(_))));
    writer.submit(append(b"to nothing")).unwrap();
    block_on(writer.settle()).unwrap();
    assert_eq!(
        block_on(files.read(&name("a"), 0..9)).unwrap().as_deref(),
        Some(&b""[..])
    );
}
