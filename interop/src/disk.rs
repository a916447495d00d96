//! A disk so small that a test can fill it.

use crate::clients::skip;
use std::ffi::CString;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr::null;

/// A file system of its own, in memory, at a folder. Only the thread that made it, what that thread starts from then on,
/// and their children see it; when the last of them ends it is gone.
#[derive(Debug)]
pub struct SmallDisk {
    folder: PathBuf,
}

impl SmallDisk {
    /// Mounts one of so many bytes at `folder`, which is made; None, with a line, when this may not be done here.
    ///
    /// # Panics
    /// When `CI` is set and it cannot be done.
    pub fn mount(folder: &Path, size_bytes: u64) -> Option<SmallDisk> {
        std::fs::create_dir_all(folder).expect("the test's folder can be written");
        match alone().and_then(|()| mount(folder, size_bytes, 0)) {
            Ok(()) => Some(SmallDisk {
                folder: folder.into(),
            }),
            Err(error) => {
                skip(format_args!(
                    "a file system cannot be mounted (who is not root may not): {error}"
                ));
                None
            }
        }
    }

    /// Writes a file until there is no room for a single byte more.
    pub fn fill(&self) {
        let mut file = File::options()
            .append(true)
            .create(true)
            .open(self.ballast())
            .expect("the disk can be written");
        for size in [64 * 1024, 1] {
            let bytes = vec![0x55; size];
            let end = loop {
                if let Err(error) = file.write_all(&bytes) {
                    break error;
                }
            };
            assert_eq!(end.kind(), ErrorKind::StorageFull, "{end}");
        }
    }

    /// Takes the file away again.
    pub fn free(&self) {
        std::fs::remove_file(self.ballast()).expect("the disk was filled");
    }

    /// Makes it larger.
    pub fn grow(&self, size_bytes: u64) {
        mount(&self.folder, size_bytes, libc::MS_REMOUNT).expect("a file system can be resized");
    }

    fn ballast(&self) -> PathBuf {
        self.folder.join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let folder = CString::new(self.folder.as_os_str().as_bytes()).expect("it was mounted there");
        // SAFETY: the path ends with a NUL. Who still uses the disk may go on; only its name goes.
        unsafe { libc::umount2(folder.as_ptr(), libc::MNT_DETACH) };
    }
}

/// A name space for mounts that no other thread sees; what is mounted from now on shows nowhere else.
fn alone() -> io::Result<()> {
    let private = libc::MS_REC | libc::MS_PRIVATE;
    // SAFETY: the strings end with a NUL, and a null pointer stands where the system wants none.
    unsafe {
        done(libc::unshare(libc::CLONE_NEWNS))?;
        done(libc::mount(
            c"none".as_ptr(),
            c"/".as_ptr(),
            null(),
            private,
            null(),
        ))
    }
}

fn mount(folder: &Path, size_bytes: u64, how: libc::c_ulong) -> io::Result<()> {
    let folder = CString::new(folder.as_os_str().as_bytes())?;
    let options = CString::new(format!("size={size_bytes},mode=0700"))?;
    let (kind, data) = (c"tmpfs".as_ptr(), options.as_ptr().cast());
    // SAFETY: all strings end with a NUL and outlive the call.
    done(unsafe { libc::mount(kind, folder.as_ptr(), kind, how, data) })
}

fn done(result: libc::c_int) -> io::Result<()> {
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
