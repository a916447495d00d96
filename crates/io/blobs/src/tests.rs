use super::*;
use ringpost_base::{Rng, UnixTime};
use ringpost_store::conformance::{self, block_on};

fn blobs(dir: &tempfile::TempDir) -> FileBlobs {
    FileBlobs::open(dir.path().join("blobs")).unwrap()
}

fn write(blobs: &FileBlobs, id: BlobId, body: &[u8]) {
    let mut writer = block_on(blobs.writer(id)).unwrap();
    block_on(writer.write(Bytes::copy_from_slice(body))).unwrap();
    block_on(writer.finish()).unwrap();
}

#[test]
fn it_conforms_to_the_reference() {
    for seed in 0..3 {
        let dir = tempfile::tempdir().unwrap();
        block_on(conformance::run_blobs(&blobs(&dir), seed, 60));
    }
}

#[test]
fn a_body_that_was_never_finished_is_gone_after_a_start() {
    let dir = tempfile::tempdir().unwrap();
    let id = BlobId::separate(&mut Rng::from_number(1));
    let first = blobs(&dir);
    let mut writer = block_on(first.writer(id)).unwrap();
    block_on(writer.write(Bytes::from_static(b"half"))).unwrap();
    assert!(block_on(first.get(id, 0..4)).unwrap().is_none());
    // As after a kill: nothing is dropped.
    std::mem::forget(writer);
    let left = || fs::read_dir(dir.path().join("blobs/tmp")).unwrap().count();
    assert_eq!(left(), 1);
    let second = blobs(&dir);
    assert_eq!(left(), 0);
    write(&second, id, b"whole");
    assert_eq!(block_on(second.list(None, 10)).unwrap().len(), 1);
}

#[test]
fn a_writer_that_is_dropped_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = blobs(&dir);
    let id = BlobId::separate(&mut Rng::from_number(1));
    drop(block_on(blobs.writer(id)).unwrap());
    assert_eq!(fs::read_dir(dir.path().join("blobs/tmp")).unwrap().count(), 0);
    write(&blobs, id, b"again");
}

#[test]
fn a_reader_reads_to_the_end_what_was_deleted_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = blobs(&dir);
    let id = BlobId::separate(&mut Rng::from_number(1));
    let body = vec![5; limits::CHUNK_BYTES * 2 + 10];
    write(&blobs, id, &body);
    let mut reader = block_on(blobs.get(id, 10..u64::MAX)).unwrap().unwrap();
    assert_eq!(
        block_on(reader.next()).unwrap().unwrap().len(),
        limits::CHUNK_BYTES
    );
    block_on(blobs.delete(id)).unwrap();
    assert_eq!(
        block_on(reader.next()).unwrap().unwrap().len(),
        limits::CHUNK_BYTES
    );
    assert_eq!(block_on(reader.next()).unwrap(), None);
    assert!(block_on(blobs.get(id, 0..1)).unwrap().is_none());
}

#[test]
fn a_body_is_dated_when_it_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = blobs(&dir);
    write(&blobs, BlobId::separate(&mut Rng::from_number(1)), b"x");
    let info = block_on(blobs.list(None, 1)).unwrap()[0];
    let clock = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    assert!(UnixTime::from_secs(clock.as_secs()).since(info.written).as_secs() < 60);
    assert_eq!(info.size_bytes, 1);
}

#[test]
fn the_room_is_the_file_systems_in_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let room = block_on(blobs(&dir).room_bytes()).unwrap();
    let df = std::process::Command::new("df")
        .args(["--output=avail", "-B1"])
        .arg(dir.path())
        .output()
        .unwrap();
    let text = String::from_utf8(df.stdout).unwrap();
    let told: u64 = text.lines().last().unwrap().trim().parse().unwrap();
    // Others write to the same disk meanwhile.
    assert!(room / 2 < told && told / 2 < room, "{room} and {told}");
}

#[test]
fn a_full_disk_is_told_as_full() {
    let full = |code| store_error(io::Error::from_raw_os_error(code));
    assert_eq!(full(libc::ENOSPC), StoreError::Full);
    assert_eq!(full(libc::EDQUOT), StoreError::Full);
    assert!(matches!(full(libc::EIO), StoreError::Io(_)));
}
