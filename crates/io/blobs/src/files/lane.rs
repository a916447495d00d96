//! The thread that writes files, and the queue before it.

use crate::shelf::sync_folder;
use crate::store_error;
use async_channel::{Receiver, Sender, TrySendError};
use ringpost_base::limits;
use ringpost_store::{BoxFuture, FileCommand, FileName, FileRefusal, FileWriter, StoreError};
use std::collections::HashMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

/// The thread, the queue, and which files are open.
pub(super) struct Lanes {
    shared: Arc<Shared>,
    jobs: Sender<Job>,
    handle: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    /// Octets in the queue.
    waiting_bytes: AtomicUsize,
    /// Files that a writer has open, with the number of the opening.
    open: Mutex<HashMap<FileName, u64>>,
}

/// One writer's way to the thread.
pub(super) struct Lane {
    shared: Arc<Shared>,
    jobs: Sender<Job>,
    state: Arc<State>,
    /// A command was refused: up to the next file nothing is taken.
    is_cut: bool,
}

/// What a writer and the thread tell each other about one file.
#[derive(Default)]
struct State {
    /// What failed last, of any of the writer's files.
    failed: Arc<Mutex<Option<StoreError>>>,
    /// Commands for the file in the queue.
    waiting: AtomicUsize,
    /// Nothing more is coming for the file that is open.
    is_cut: AtomicBool,
}

struct Job {
    state: Arc<State>,
    work: Work,
}

enum Work {
    Command(FileCommand),
    /// Tells when everything before it is done.
    Settle(Sender<()>),
}

impl Lanes {
    pub(super) fn start(root: PathBuf) -> io::Result<Self> {
        let (jobs, waiting) = async_channel::bounded(limits::FILE_QUEUE);
        let shared = Arc::new(Shared::default());
        let mut desk = Desk {
            root,
            shared: shared.clone(),
            open: Vec::new(),
            openings: 0,
        };
        let work = move || desk.work(&waiting);
        let handle = thread::Builder::new().name("files".into()).spawn(work)?;
        Ok(Lanes {
            shared,
            jobs,
            handle: Some(handle),
        })
    }

    pub(super) fn is_open(&self, name: &FileName) -> bool {
        self.shared.open().contains_key(name)
    }

    /// The file was removed: who has it open writes to what has no name.
    pub(super) fn forget(&self, name: &FileName) {
        self.shared.open().remove(name);
    }
}

impl Drop for Lanes {
    /// What was submitted is carried out first.
    fn drop(&mut self) {
        self.jobs.close();
        if let Some(handle) = self.handle.take()
            && handle.thread().id() != thread::current().id()
        {
            let _ = handle.join();
        }
    }
}

impl Shared {
    fn open(&self) -> MutexGuard<'_, HashMap<FileName, u64>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn failed(&self) -> MutexGuard<'_, Option<StoreError>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lane {
    pub(super) fn new(lanes: &Lanes) -> Self {
        Lane {
            shared: lanes.shared.clone(),
            jobs: lanes.jobs.clone(),
            state: Arc::default(),
            is_cut: false,
        }
    }

    fn cut(&mut self) {
        self.is_cut = true;
        self.state.is_cut.store(true, Ordering::Release);
    }

    fn send(&self, work: Work) -> Result<(), TrySendError<Job>> {
        self.state.waiting.fetch_add(1, Ordering::AcqRel);
        let state = self.state.clone();
        let sent = self.jobs.try_send(Job { state, work });
        if sent.is_err() {
            self.state.waiting.fetch_sub(1, Ordering::AcqRel);
        }
        sent
    }
}

impl FileWriter for Lane {
    fn submit(&mut self, command: FileCommand) -> Result<(), FileRefusal> {
        let failed = self.state.failed().take();
        if let Some(error) = failed {
            self.cut();
            return Err(error.into());
        }
        match &command {
            // Each file has its own state, so that what was refused of the last one does not reach it.
            FileCommand::Create(_) => {
                self.cut();
                self.state = Arc::new(State {
                    failed: self.state.failed.clone(),
                    ..State::default()
                });
                self.is_cut = false;
            }
            _ if self.is_cut => return Ok(()),
            _ => {}
        }
        let bytes = match &command {
            FileCommand::Append(bytes) => bytes.len(),
            _ => 0,
        };
        let before = self.shared.waiting_bytes.fetch_add(bytes, Ordering::AcqRel);
        let refused = if before > 0 && before + bytes > limits::FILE_QUEUE_BYTES {
            Some(FileRefusal::Slow)
        } else {
            match self.send(Work::Command(command)) {
                Ok(()) => None,
                Err(TrySendError::Full(_)) => Some(FileRefusal::Slow),
                Err(TrySendError::Closed(_)) => Some(StoreError::Closed.into()),
            }
        };
        match refused {
            None => Ok(()),
            Some(refusal) => {
                self.shared.waiting_bytes.fetch_sub(bytes, Ordering::AcqRel);
                self.cut();
                Err(refusal)
            }
        }
    }

    fn settle(&mut self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let (done, is_done) = async_channel::bounded(1);
            let job = Job {
                state: self.state.clone(),
                work: Work::Settle(done),
            };
            self.state.waiting.fetch_add(1, Ordering::AcqRel);
            self.jobs.send(job).await.map_err(|_| StoreError::Closed)?;
            is_done.recv().await.map_err(|_| StoreError::Closed)?;
            let failed = self.state.failed().take();
            if failed.is_some() {
                self.cut();
            }
            failed.map_or(Ok(()), Err)
        })
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.cut();
        // Wakes the thread; where the queue is full it is awake.
        let _ = self.send(Work::Command(FileCommand::Close));
    }
}

/// What the thread has before it.
struct Desk {
    root: PathBuf,
    shared: Arc<Shared>,
    open: Vec<Opened>,
    openings: u64,
}

struct Opened {
    state: Arc<State>,
    file: File,
    name: FileName,
    opening: u64,
    is_synced: bool,
}

impl Desk {
    fn work(&mut self, jobs: &Receiver<Job>) {
        while let Ok(Job { state, work }) = jobs.recv_blocking() {
            match work {
                Work::Command(command) => {
                    let bytes = match &command {
                        FileCommand::Append(bytes) => bytes.len(),
                        _ => 0,
                    };
                    if let Err(error) = self.carry_out(&state, command) {
                        self.fail(&state, error);
                    }
                    self.shared.waiting_bytes.fetch_sub(bytes, Ordering::AcqRel);
                    state.waiting.fetch_sub(1, Ordering::AcqRel);
                    self.sweep();
                }
                Work::Settle(done) => {
                    state.waiting.fetch_sub(1, Ordering::AcqRel);
                    self.sweep();
                    // Whoever asked may be gone.
                    let _ = done.try_send(());
                }
            }
        }
    }

    fn carry_out(&mut self, state: &Arc<State>, command: FileCommand) -> io::Result<()> {
        match command {
            FileCommand::Create(name) => return self.create(state, name),
            FileCommand::Append(bytes) => {
                if let Some(opened) = self.opened(state) {
                    opened.file.write_all(&bytes)?;
                }
            }
            FileCommand::Sync => {
                if let Some(opened) = self.opened(state) {
                    opened.file.sync_data()?;
                    opened.is_synced = true;
                }
            }
            FileCommand::Close => self.close(state),
        }
        Ok(())
    }

    fn create(&mut self, state: &Arc<State>, name: FileName) -> io::Result<()> {
        let make = || -> io::Result<_> {
            let folder = make_folders(&self.root, name.folder().as_str())?;
            let mut options = OpenOptions::new();
            let path = folder.join(name.name());
            let file = options.append(true).create_new(true).mode(0o600).open(path)?;
            Ok((folder, file))
        };
        let (folder, file) = match make() {
            // The last file of the folder was removed in between, and the folder with it.
            Err(e) if e.kind() == io::ErrorKind::NotFound => make()?,
            made => made?,
        };
        sync_folder(&folder)?;
        self.openings += 1;
        self.shared.open().insert(name.clone(), self.openings);
        self.open.push(Opened {
            state: state.clone(),
            file,
            name,
            opening: self.openings,
            is_synced: false,
        });
        Ok(())
    }

    fn opened(&mut self, state: &Arc<State>) -> Option<&mut Opened> {
        self.open
            .iter_mut()
            .find(|opened| Arc::ptr_eq(&opened.state, state))
    }

    fn fail(&mut self, state: &Arc<State>, error: io::Error) {
        *state.failed() = Some(store_error(error));
        let root = self.root.clone();
        if let Some(opened) = self.opened(state)
            && !opened.is_synced
        {
            // What cannot be removed stays, as anything that was not synced.
            let _ = std::fs::remove_file(root.join(opened.name.to_string()));
        }
        self.close(state);
    }

    fn close(&mut self, state: &Arc<State>) {
        self.close_where(|opened| Arc::ptr_eq(&opened.state, state));
    }

    /// Closes what nothing more is coming for.
    fn sweep(&mut self) {
        self.close_where(|opened| {
            opened.state.is_cut.load(Ordering::Acquire) && opened.state.waiting.load(Ordering::Acquire) == 0
        });
    }

    fn close_where(&mut self, is_over: impl Fn(&Opened) -> bool) {
        let mut names = self.shared.open();
        self.open.retain(|opened| {
            let is_over = is_over(opened);
            // Another file may bear the name by now.
            if is_over && names.get(&opened.name) == Some(&opened.opening) {
                names.remove(&opened.name);
            }
            !is_over
        });
    }
}

/// Makes the folders that are missing, so that they survive a loss of power, and gives the path of the last.
fn make_folders(root: &Path, folder: &str) -> io::Result<PathBuf> {
    let mut path = root.to_path_buf();
    for part in folder.split('/').filter(|part| !part.is_empty()) {
        let above = path.clone();
        path.push(part);
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => sync_folder(&above)?,
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
    }
    Ok(path)
}
