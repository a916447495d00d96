//! Many readers in one thread, in epoll.

use crate::reader::{Had, Inbox, Reader, Transport};
use crate::servers::Target;
use ringpost_perf::Result;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

/// What is read from a connection at a time, and the longest packet that waits for its end.
const READ_BYTES: usize = 256 * 1024;
/// Sockets told at a time.
const EVENTS: usize = 1_024;
/// Whether anybody should be told that its reader is there is looked at this often.
const KEEP_ALIVE: Duration = Duration::from_secs(1);

/// What all readers together have had.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) packets: u64,
    pub(crate) octets: u64,
    /// Readers that missed packets, and those whose connection was closed.
    pub(crate) with_losses: usize,
    pub(crate) closed: usize,
    pub(crate) lost: u64,
    /// Pictures that the reader with the fewest had.
    pub(crate) least_pictures: u64,
    pub(crate) delays_us: Vec<u32>,
}

impl Tally {
    /// The delay that 99 of 100 pictures have at most, in milliseconds.
    pub(crate) fn p99_ms(&mut self) -> f64 {
        self.delays_us.sort_unstable();
        let at = (self.delays_us.len() * 99 / 100).min(self.delays_us.len().saturating_sub(1));
        self.delays_us
            .get(at)
            .map_or(f64::NAN, |us| f64::from(*us) / 1_000.0)
    }

    /// The middle one.
    pub(crate) fn p50_ms(&mut self) -> f64 {
        self.delays_us.sort_unstable();
        let middle = self.delays_us.get(self.delays_us.len() / 2);
        middle.map_or(f64::NAN, |us| f64::from(*us) / 1_000.0)
    }
}

pub(crate) struct Crowd {
    target: Target,
    transport: Transport,
    epoll: OwnedFd,
    events: Vec<libc::epoll_event>,
    readers: Vec<Reader>,
    buffer: Vec<u8>,
    inbox: Inbox,
    kept_alive: Instant,
    /// Why a connection was closed last.
    pub(crate) complaint: Option<String>,
}

impl Crowd {
    pub(crate) fn new(target: &Target, transport: Transport) -> Result<Self> {
        // SAFETY: no pointers; the descriptor is checked, and owned by nobody else.
        let epoll = unsafe { OwnedFd::from_raw_fd(checked(libc::epoll_create1(libc::EPOLL_CLOEXEC))?) };
        Ok(Crowd {
            target: target.clone(),
            transport,
            epoll,
            events: vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS],
            readers: Vec::new(),
            buffer: vec![0; READ_BYTES],
            inbox: Inbox::new(),
            kept_alive: Instant::now(),
            complaint: None,
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.readers.len()
    }

    /// Lets `count` readers join, `at_once` at a time; done when all have begun a key frame. What each waited for that.
    pub(crate) fn join(&mut self, count: usize, at_once: usize, limit: Duration) -> Result<Vec<Duration>> {
        let (first, until) = (self.readers.len(), Instant::now() + limit);
        loop {
            let on_their_way = self.readers[first..]
                .iter()
                .filter(|reader| reader.waited.is_none() && !reader.is_closed());
            let room = at_once.saturating_sub(on_their_way.count());
            for _ in 0..room.min(first + count - self.readers.len()) {
                self.start(false)?;
            }
            self.turn(Duration::from_millis(10))?;
            let joined = &self.readers[first..];
            if let Some(complaint) = self
                .complaint
                .as_ref()
                .filter(|_| joined.iter().any(Reader::is_closed))
            {
                return Err(complaint.clone().into());
            }
            let waited: Vec<_> = joined.iter().filter_map(|reader| reader.waited).collect();
            if waited.len() == count {
                return Ok(waited);
            }
            if Instant::now() > until {
                return Err(format!("{} of {count} readers play after {limit:?}", waited.len()).into());
            }
        }
    }

    /// One reader joins that reads nothing of what it asked for.
    pub(crate) fn join_stalled(&mut self) -> Result<()> {
        self.start(true)?;
        let until = Instant::now() + Duration::from_secs(10);
        while !self.readers.last().is_some_and(Reader::plays) {
            if Instant::now() > until {
                return Err("the reader that stops does not play".into());
            }
            self.turn(Duration::from_millis(10))?;
        }
        Ok(())
    }

    fn start(&mut self, stalls: bool) -> Result<()> {
        let index = self.readers.len();
        let reader = Reader::connect(&self.target, self.transport, index, stalls)?;
        let number = (index as u64) << 1;
        self.control(libc::EPOLL_CTL_ADD, reader.fd(), libc::EPOLLOUT, number)?;
        if let Some(fd) = reader.rtp_fd() {
            self.control(libc::EPOLL_CTL_ADD, fd, libc::EPOLLIN, number | 1)?;
        }
        self.readers.push(reader);
        Ok(())
    }

    fn control(&self, how: libc::c_int, fd: RawFd, events: libc::c_int, number: u64) -> Result<()> {
        let mut event = libc::epoll_event {
            events: events as u32,
            u64: number,
        };
        // SAFETY: `event` lives through the call; the kernel keeps a copy.
        checked(unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), how, fd, &raw mut event) })?;
        Ok(())
    }

    /// Reads for `time`. Between two looks at the sockets it rests for `pause`, so that more waits in each of them.
    pub(crate) fn run(&mut self, time: Duration, pause: Duration) -> Result<()> {
        let until = Instant::now() + time;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            self.turn(left)?;
            std::thread::sleep(pause.min(left));
        }
    }

    /// Handles all that has come, waiting at most for `limit`.
    fn turn(&mut self, limit: Duration) -> Result<()> {
        let ms = libc::c_int::try_from(limit.min(KEEP_ALIVE).as_millis())?;
        let mut timeout = ms.max(1);
        loop {
            // SAFETY: `events` is `EVENTS` long, and initialised throughout.
            let count = unsafe {
                libc::epoll_wait(
                    self.epoll.as_raw_fd(),
                    self.events.as_mut_ptr(),
                    EVENTS as i32,
                    timeout,
                )
            };
            let count = match checked(count) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
                count => count? as usize,
            };
            for n in 0..count {
                self.handle(self.events[n].u64);
            }
            if count < EVENTS {
                break;
            }
            timeout = 0;
        }
        let now = Instant::now();
        if now - self.kept_alive >= KEEP_ALIVE {
            self.kept_alive = now;
            for index in 0..self.readers.len() {
                let outcome = self.readers[index].keep_alive(now);
                self.note(index, outcome);
            }
        }
        Ok(())
    }

    fn handle(&mut self, number: u64) {
        let index = (number >> 1) as usize;
        let Some(reader) = self.readers.get_mut(index).filter(|reader| !reader.is_closed()) else {
            return;
        };
        if number & 1 != 0 {
            return reader.receive(&mut self.inbox);
        }
        let was_connecting = reader.is_connecting();
        let outcome = match was_connecting {
            true => reader.connected(),
            false => reader.read(&mut self.buffer),
        };
        let (fd, has_stalled) = (reader.fd(), reader.stalls && reader.plays());
        let outcome = outcome.and_then(|()| match (was_connecting, has_stalled) {
            (true, _) => self.control(libc::EPOLL_CTL_MOD, fd, libc::EPOLLIN, number),
            (_, true) => self.control(libc::EPOLL_CTL_DEL, fd, 0, number),
            _ => Ok(()),
        });
        self.note(index, outcome);
    }

    fn note(&mut self, index: usize, outcome: Result<()>) {
        if let Err(error) = outcome {
            let fd = self.readers[index].fd();
            let _ = self.control(libc::EPOLL_CTL_DEL, fd, 0, 0);
            self.readers[index].close();
            self.complaint = Some(error.to_string());
        }
    }

    /// What the readers have had since this was asked last; those that stopped reading are not counted.
    pub(crate) fn tally(&mut self) -> Tally {
        let mut tally = Tally {
            least_pictures: u64::MAX,
            ..Tally::default()
        };
        for reader in self.readers.iter_mut().filter(|reader| !reader.stalls) {
            let mut had: Had = std::mem::take(&mut reader.had);
            tally.packets += had.packets;
            tally.octets += had.octets;
            tally.lost += had.lost;
            tally.with_losses += usize::from(had.lost > 0);
            tally.closed += usize::from(reader.is_closed());
            tally.least_pictures = tally.least_pictures.min(had.pictures);
            tally.delays_us.append(&mut had.delays_us);
        }
        tally
    }
}

fn checked(result: libc::c_int) -> io::Result<libc::c_int> {
    match result {
        ..0 => Err(io::Error::last_os_error()),
        result => Ok(result),
    }
}
