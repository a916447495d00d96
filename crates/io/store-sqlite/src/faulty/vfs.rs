//! The C side of the disk: SQLite's function tables over [`State`](super::model::State).
//!
//! SQLite gives each open file a piece of memory of `szOsFile` bytes, which begins with a `sqlite3_file`; ours holds a
//! pointer to a boxed [`Open`] behind it. A VFS is registered for the life of the process: its few hundred bytes are never
//! freed, since a connection may outlive the disk that it was opened on. What the files held is.

use super::Shared;
use super::model::{DiskError, File, Locks};
use rusqlite::ffi;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A VFS that SQLite knows by name.
pub(super) struct Registration {
    name: String,
    vfs: *mut ffi::sqlite3_vfs,
    shared: Arc<Shared>,
}

// SAFETY: the pointer is only handed back to SQLite, which locks its list of VFSs.
unsafe impl Send for Registration {}
// SAFETY: as above; nothing is changed through a shared reference.
unsafe impl Sync for Registration {}

impl Registration {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!("ringpost-faulty-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let c_name = CString::new(name.as_str()).expect("the name has no NUL");
        let vfs = Box::leak(Box::new(ffi::sqlite3_vfs {
            iVersion: 1,
            szOsFile: size_of::<RawFile>() as c_int,
            mxPathname: 512,
            pNext: ptr::null_mut(),
            zName: c_name.into_raw(),
            pAppData: Box::into_raw(Box::new(shared.clone())).cast(),
            xOpen: Some(open),
            xDelete: Some(delete),
            xAccess: Some(access),
            xFullPathname: Some(full_pathname),
            xDlOpen: None,
            xDlError: None,
            xDlSym: None,
            xDlClose: None,
            xRandomness: Some(randomness),
            xSleep: Some(sleep),
            xCurrentTime: Some(current_time),
            xGetLastError: Some(last_error),
            xCurrentTimeInt64: None,
            xSetSystemCall: None,
            xGetSystemCall: None,
            xNextSystemCall: None,
        }));
        // SAFETY: the struct and its name are leaked, so they live as long as SQLite may use them.
        let rc = unsafe { ffi::sqlite3_vfs_register(vfs, 0) };
        assert_eq!(rc, ffi::SQLITE_OK, "SQLite takes every VFS that has a name");
        Registration {
            name,
            vfs,
            shared: shared.clone(),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // SAFETY: it was registered by `new` and is unregistered once.
        unsafe { ffi::sqlite3_vfs_unregister(self.vfs) };
        let mut state = self.shared.state();
        state.files.clear();
        state.life += 1;
    }
}

/// What SQLite reserves for an open file.
#[repr(C)]
struct RawFile {
    base: ffi::sqlite3_file,
    open: *mut Open,
}

/// An open file.
struct Open {
    shared: Arc<Shared>,
    name: String,
    id: u64,
    life: u64,
    level: c_int,
    shm: Option<Arc<Shm>>,
    shm_shared: u8,
    shm_exclusive: u8,
    delete_on_close: bool,
}

/// The memory that connections of one database share: regions that stay where they are, and eight locks.
pub(super) struct Shm(Mutex<ShmState>);

struct ShmState {
    regions: Vec<Box<[u64]>>,
    /// Readers of each lock; -1 is a writer.
    locks: [i32; 8],
}

impl Shm {
    fn state(&self) -> MutexGuard<'_, ShmState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};

/// The disk of a VFS.
///
/// # Safety
/// `vfs` is one that [`Registration::new`] made.
unsafe fn shared<'a>(vfs: *mut ffi::sqlite3_vfs) -> &'a Arc<Shared> {
    // SAFETY: pAppData is a box that `new` made and that is never taken back.
    unsafe { &*(*vfs).pAppData.cast::<Arc<Shared>>() }
}

/// The open file behind SQLite's handle.
///
/// # Safety
/// `file` was opened by [`open`] and not closed since.
unsafe fn opened<'a>(file: *mut ffi::sqlite3_file) -> &'a mut Open {
    // SAFETY: by the contract the box is there, and SQLite uses a file from one thread at a time.
    unsafe { &mut *(*file.cast::<RawFile>()).open }
}

fn code(result: Result<(), DiskError>, otherwise: c_int) -> c_int {
    match result {
        Ok(()) => ffi::SQLITE_OK,
        Err(DiskError::Full) => ffi::SQLITE_FULL,
        Err(DiskError::Gone | DiskError::Missing) => otherwise,
    }
}

unsafe extern "C" fn open(
    vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    static OPENED: AtomicU64 = AtomicU64::new(1);
    let id = OPENED.fetch_add(1, Ordering::Relaxed);
    // SAFETY: SQLite gives this VFS's own pointer, a file of szOsFile bytes, a name that is null or ends, and a place for
    // the flags that may be null.
    unsafe {
        (*file).pMethods = ptr::null();
        let shared = shared(vfs).clone();
        let name = match name.is_null() {
            true => format!("temporary-{id}"),
            false => CStr::from_ptr(name).to_string_lossy().into_owned(),
        };
        let mut state = shared.state();
        if state.left == Some(0) || (!state.files.contains_key(&name) && flags & ffi::SQLITE_OPEN_CREATE == 0)
        {
            return ffi::SQLITE_CANTOPEN;
        }
        state.files.entry(name.clone()).or_insert_with(File::default);
        let life = state.life;
        drop(state);
        let open = Open {
            shared,
            name,
            id,
            life,
            level: ffi::SQLITE_LOCK_NONE,
            shm: None,
            shm_shared: 0,
            shm_exclusive: 0,
            delete_on_close: flags & ffi::SQLITE_OPEN_DELETEONCLOSE != 0,
        };
        let raw = file.cast::<RawFile>();
        (*raw).open = Box::into_raw(Box::new(open));
        (*raw).base.pMethods = &METHODS;
        if !out_flags.is_null() {
            *out_flags = flags;
        }
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn delete(vfs: *mut ffi::sqlite3_vfs, name: *const c_char, sync_dir: c_int) -> c_int {
    // SAFETY: SQLite gives this VFS's own pointer and a name that ends.
    let (shared, name) = unsafe { (shared(vfs), CStr::from_ptr(name).to_string_lossy()) };
    let mut state = shared.state();
    if state.left == Some(0) {
        return ffi::SQLITE_IOERR_DELETE;
    }
    match state.delete(&name, sync_dir != 0) {
        Err(DiskError::Missing) => ffi::SQLITE_IOERR_DELETE_NOENT,
        done => code(done, ffi::SQLITE_IOERR_DELETE),
    }
}

unsafe extern "C" fn access(
    vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    _flags: c_int,
    out: *mut c_int,
) -> c_int {
    // SAFETY: SQLite gives this VFS's own pointer, a name that ends, and a place for the answer.
    unsafe {
        let name = CStr::from_ptr(name).to_string_lossy();
        let state = shared(vfs).state();
        // An empty file says as little as none: SQLite's own VFS does the same for journals.
        *out = c_int::from(state.files.get(&*name).is_some_and(|file| !file.live.is_empty()));
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn full_pathname(
    _vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    out_len: c_int,
    out: *mut c_char,
) -> c_int {
    // SAFETY: SQLite gives a name that ends and room for out_len bytes.
    unsafe {
        let name = CStr::from_ptr(name).to_bytes_with_nul();
        if name.len() > out_len as usize {
            return ffi::SQLITE_CANTOPEN;
        }
        ptr::copy_nonoverlapping(name.as_ptr().cast(), out, name.len());
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn randomness(_vfs: *mut ffi::sqlite3_vfs, len: c_int, out: *mut c_char) -> c_int {
    // SAFETY: SQLite gives room for len bytes.
    unsafe { ptr::write_bytes(out, 0x5a, len as usize) };
    len
}

unsafe extern "C" fn sleep(_vfs: *mut ffi::sqlite3_vfs, us: c_int) -> c_int {
    std::thread::sleep(std::time::Duration::from_micros(us.max(0) as u64));
    us
}

unsafe extern "C" fn current_time(_vfs: *mut ffi::sqlite3_vfs, out: *mut f64) -> c_int {
    // SAFETY: SQLite gives a place for the answer. Nothing that is stored depends on it: a fixed Julian day.
    unsafe { *out = 2_460_000.5 };
    ffi::SQLITE_OK
}

unsafe extern "C" fn last_error(_vfs: *mut ffi::sqlite3_vfs, _len: c_int, _out: *mut c_char) -> c_int {
    0
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: SQLite closes an open file once; the box is taken back here and nowhere else.
    let mut open = unsafe { Box::from_raw((*file.cast::<RawFile>()).open) };
    open.release_shm(false);
    let mut state = open.shared.state();
    if state.life == open.life {
        if let Some(file) = state.files.get_mut(&open.name) {
            file.locks.release(open.id, ffi::SQLITE_LOCK_NONE);
        }
        if open.delete_on_close {
            state.files.remove(&open.name);
        }
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn read(file: *mut ffi::sqlite3_file, out: *mut c_void, len: c_int, offset: i64) -> c_int {
    // SAFETY: SQLite gives an open file and room for len bytes.
    let (open, out) = unsafe {
        (
            opened(file),
            std::slice::from_raw_parts_mut(out.cast::<u8>(), len as usize),
        )
    };
    let state = open.shared.state();
    if state.alive(open.life).is_err() {
        return ffi::SQLITE_IOERR_READ;
    }
    let Some(file) = state.files.get(&open.name) else {
        return ffi::SQLITE_IOERR_READ;
    };
    let from = (offset as usize).min(file.live.len());
    let there = &file.live[from..file.live.len().min(from + out.len())];
    out[..there.len()].copy_from_slice(there);
    out[there.len()..].fill(0);
    if there.len() < out.len() {
        ffi::SQLITE_IOERR_SHORT_READ
    } else {
        ffi::SQLITE_OK
    }
}

unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    data: *const c_void,
    len: c_int,
    offset: i64,
) -> c_int {
    // SAFETY: SQLite gives an open file and len bytes.
    let (open, data) = unsafe {
        (
            opened(file),
            std::slice::from_raw_parts(data.cast::<u8>(), len as usize),
        )
    };
    let mut state = open.shared.state();
    let done = state
        .alive(open.life)
        .and_then(|()| state.write(&open.name, offset as usize, data));
    code(done, ffi::SQLITE_IOERR_WRITE)
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, len: i64) -> c_int {
    // SAFETY: SQLite gives an open file.
    let open = unsafe { opened(file) };
    let mut state = open.shared.state();
    let done = state
        .alive(open.life)
        .and_then(|()| state.truncate(&open.name, len as usize));
    code(done, ffi::SQLITE_IOERR_TRUNCATE)
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, _flags: c_int) -> c_int {
    // SAFETY: SQLite gives an open file.
    let open = unsafe { opened(file) };
    let mut state = open.shared.state();
    let done = state.alive(open.life).and_then(|()| state.sync(&open.name));
    code(done, ffi::SQLITE_IOERR_FSYNC)
}

unsafe extern "C" fn file_size(file: *mut ffi::sqlite3_file, out: *mut i64) -> c_int {
    // SAFETY: SQLite gives an open file and a place for the answer.
    let (open, out) = unsafe { (opened(file), &mut *out) };
    let state = open.shared.state();
    match state
        .alive(open.life)
        .ok()
        .and_then(|()| state.files.get(&open.name))
    {
        Some(file) => {
            *out = file.live.len() as i64;
            ffi::SQLITE_OK
        }
        None => ffi::SQLITE_IOERR_FSTAT,
    }
}

unsafe extern "C" fn lock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    // SAFETY: SQLite gives an open file.
    let open = unsafe { opened(file) };
    if level <= open.level {
        return ffi::SQLITE_OK;
    }
    let mut state = open.shared.state();
    if state.alive(open.life).is_err() {
        return ffi::SQLITE_IOERR_LOCK;
    }
    let Some(file) = state.files.get_mut(&open.name) else {
        return ffi::SQLITE_IOERR_LOCK;
    };
    match file.locks.take(open.id, level) {
        true => {
            open.level = level;
            ffi::SQLITE_OK
        }
        false => ffi::SQLITE_BUSY,
    }
}

unsafe extern "C" fn unlock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    // SAFETY: SQLite gives an open file.
    let open = unsafe { opened(file) };
    let mut state = open.shared.state();
    if state.life == open.life
        && let Some(file) = state.files.get_mut(&open.name)
    {
        file.locks.release(open.id, level);
    }
    open.level = open.level.min(level);
    ffi::SQLITE_OK
}

unsafe extern "C" fn check_reserved_lock(file: *mut ffi::sqlite3_file, out: *mut c_int) -> c_int {
    // SAFETY: SQLite gives an open file and a place for the answer.
    let (open, out) = unsafe { (opened(file), &mut *out) };
    let state = open.shared.state();
    let locks = state.files.get(&open.name).map(|file| &file.locks);
    *out = c_int::from(locks.is_some_and(|l| l.reserved.is_some() || l.exclusive.is_some()));
    ffi::SQLITE_OK
}

unsafe extern "C" fn file_control(_file: *mut ffi::sqlite3_file, _op: c_int, _arg: *mut c_void) -> c_int {
    ffi::SQLITE_NOTFOUND
}

unsafe extern "C" fn sector_size(_file: *mut ffi::sqlite3_file) -> c_int {
    4096
}

unsafe extern "C" fn device_characteristics(_file: *mut ffi::sqlite3_file) -> c_int {
    // As SQLite's own VFS says of a file system: a write that is torn leaves what is beside it alone.
    ffi::SQLITE_IOCAP_POWERSAFE_OVERWRITE
}

impl Locks {
    /// As SQLite's levels are: many SHARED, with one RESERVED beside them, or one EXCLUSIVE alone.
    fn take(&mut self, id: u64, level: c_int) -> bool {
        let of_other = |holder: Option<u64>| holder.is_some_and(|holder| holder != id);
        if of_other(self.exclusive) || (level >= ffi::SQLITE_LOCK_RESERVED && of_other(self.reserved)) {
            return false;
        }
        if level == ffi::SQLITE_LOCK_EXCLUSIVE {
            if self.shared.iter().any(|holder| *holder != id) {
                return false;
            }
            self.exclusive = Some(id);
        }
        if level >= ffi::SQLITE_LOCK_RESERVED {
            self.reserved = Some(id);
        }
        if !self.shared.contains(&id) {
            self.shared.push(id);
        }
        true
    }

    fn release(&mut self, id: u64, level: c_int) {
        self.exclusive = self.exclusive.filter(|holder| *holder != id);
        self.reserved = self.reserved.filter(|holder| *holder != id);
        if level == ffi::SQLITE_LOCK_NONE {
            self.shared.retain(|holder| *holder != id);
        }
    }
}

unsafe extern "C" fn shm_map(
    file: *mut ffi::sqlite3_file,
    region: c_int,
    size: c_int,
    extend: c_int,
    out: *mut *mut c_void,
) -> c_int {
    // SAFETY: SQLite gives an open file and a place for the pointer.
    let (open, out) = unsafe { (opened(file), &mut *out) };
    *out = ptr::null_mut();
    let shm = match &open.shm {
        Some(shm) => shm.clone(),
        None => {
            let mut state = open.shared.state();
            if state.alive(open.life).is_err() {
                return ffi::SQLITE_IOERR_SHMMAP;
            }
            let Some(file) = state.files.get_mut(&open.name) else {
                return ffi::SQLITE_IOERR_SHMMAP;
            };
            let new = || {
                Arc::new(Shm(Mutex::new(ShmState {
                    regions: Vec::new(),
                    locks: [0; 8],
                })))
            };
            let shm = file.shm.get_or_insert_with(new).clone();
            open.shm = Some(shm.clone());
            shm
        }
    };
    let mut shm = shm.state();
    let region = region as usize;
    if region >= shm.regions.len() && extend == 0 {
        return ffi::SQLITE_OK;
    }
    while shm.regions.len() <= region {
        shm.regions.push(vec![0u64; size as usize / 8].into_boxed_slice());
    }
    *out = shm.regions[region].as_mut_ptr().cast();
    ffi::SQLITE_OK
}

unsafe extern "C" fn shm_lock(file: *mut ffi::sqlite3_file, offset: c_int, n: c_int, flags: c_int) -> c_int {
    // SAFETY: SQLite gives an open file.
    let open = unsafe { opened(file) };
    let Some(shm) = open.shm.clone() else {
        return ffi::SQLITE_IOERR_SHMLOCK;
    };
    let mut shm = shm.state();
    let slots = offset as usize..(offset + n) as usize;
    let mask = slots.clone().fold(0u8, |mask, slot| mask | 1 << slot);
    if flags & ffi::SQLITE_SHM_UNLOCK != 0 {
        open.release_slots(&mut shm, mask);
        return ffi::SQLITE_OK;
    }
    if flags & ffi::SQLITE_SHM_SHARED != 0 {
        if open.shm_shared & mask == mask {
            return ffi::SQLITE_OK;
        }
        if shm.locks[slots.clone()].iter().any(|count| *count < 0) {
            return ffi::SQLITE_BUSY;
        }
        shm.locks[slots].iter_mut().for_each(|count| *count += 1);
        open.shm_shared |= mask;
    } else {
        if shm.locks[slots.clone()].iter().any(|count| *count != 0) {
            return ffi::SQLITE_BUSY;
        }
        shm.locks[slots].fill(-1);
        open.shm_exclusive |= mask;
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn shm_barrier(_file: *mut ffi::sqlite3_file) {
    fence(Ordering::SeqCst);
}

unsafe extern "C" fn shm_unmap(file: *mut ffi::sqlite3_file, delete: c_int) -> c_int {
    // SAFETY: SQLite gives an open file.
    unsafe { opened(file) }.release_shm(delete != 0);
    ffi::SQLITE_OK
}

impl Open {
    fn release_slots(&mut self, shm: &mut ShmState, mask: u8) {
        for slot in (0..8).filter(|slot| mask & 1 << slot != 0) {
            if self.shm_exclusive & 1 << slot != 0 {
                shm.locks[slot] = 0;
            } else if self.shm_shared & 1 << slot != 0 {
                shm.locks[slot] -= 1;
            }
        }
        self.shm_exclusive &= !mask;
        self.shm_shared &= !mask;
    }

    fn release_shm(&mut self, delete: bool) {
        let Some(shm) = self.shm.take() else { return };
        self.release_slots(&mut shm.state(), 0xff);
        let mut state = self.shared.state();
        if delete
            && state.life == self.life
            && let Some(file) = state.files.get_mut(&self.name)
        {
            file.shm = None;
        }
    }
}
