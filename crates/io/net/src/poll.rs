//! epoll and eventfd: what the threads that own sockets wait on.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Ready sockets told at a time.
const EVENTS: usize = 256;

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Interest {
    pub(crate) read: bool,
    pub(crate) write: bool,
}

impl Interest {
    fn events(self) -> u32 {
        let read = if self.read { libc::EPOLLIN } else { 0 };
        let write = if self.write { libc::EPOLLOUT } else { 0 };
        (read | write) as u32
    }
}

/// A socket that is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ready {
    pub(crate) number: u64,
    pub(crate) read: bool,
    pub(crate) write: bool,
}

/// A set of sockets that are waited for, each known by a number of its owner's.
#[derive(Debug)]
pub(crate) struct Poll {
    epoll: OwnedFd,
    ready: Vec<libc::epoll_event>,
}

impl Poll {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: no pointers; the descriptor is checked, and owned by nobody else.
        let epoll = unsafe { OwnedFd::from_raw_fd(check(libc::epoll_create1(libc::EPOLL_CLOEXEC))?) };
        Ok(Poll {
            epoll,
            ready: vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS],
        })
    }

    /// Waits for `fd` to become readable, too, and calls it `number`: it is told as long as there is something to read.
    /// Closing `fd` takes it out.
    pub(crate) fn add(&self, fd: RawFd, number: u64) -> io::Result<()> {
        let interest = Interest {
            read: true,
            write: false,
        };
        self.control(libc::EPOLL_CTL_ADD, fd, number, interest)
    }

    /// Waits for `fd` as [`add`](Poll::add) does, or to become writable, or both, or neither.
    pub(crate) fn add_as(&self, fd: RawFd, number: u64, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, number, interest)
    }

    /// Waits for something else of an `fd` that is waited for.
    pub(crate) fn change(&self, fd: RawFd, number: u64, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, number, interest)
    }

    /// Waits no more for an `fd`.
    pub(crate) fn remove(&self, fd: RawFd) -> io::Result<()> {
        let none = Interest {
            read: false,
            write: false,
        };
        self.control(libc::EPOLL_CTL_DEL, fd, 0, none)
    }

    fn control(&self, how: libc::c_int, fd: RawFd, number: u64, interest: Interest) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: interest.events(),
            u64: number,
        };
        // SAFETY: `event` lives through the call; the kernel keeps a copy.
        let result = unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), how, fd, &raw mut event) };
        check(result).map(drop)
    }

    /// Waits for something to be readable, at most for `timeout` (rounded up to a millisecond), and gives the numbers.
    pub(crate) fn wait(
        &mut self,
        timeout: Option<Duration>,
    ) -> io::Result<impl Iterator<Item = u64> + use<'_>> {
        Ok(self.wait_ready(timeout)?.map(|ready| ready.number))
    }

    /// The same with what each is ready for.
    pub(crate) fn wait_ready(
        &mut self,
        timeout: Option<Duration>,
    ) -> io::Result<impl Iterator<Item = Ready> + use<'_>> {
        let ms = timeout.map_or(-1, |timeout| {
            i32::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
        });
        // SAFETY: `ready` is `EVENTS` long, and initialised throughout.
        let result =
            unsafe { libc::epoll_wait(self.epoll.as_raw_fd(), self.ready.as_mut_ptr(), EVENTS as i32, ms) };
        let len = match check(result) {
            Ok(len) => len as usize,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) => return Err(error),
        };
        let broken = (libc::EPOLLERR | libc::EPOLLHUP) as u32;
        Ok(self.ready[..len].iter().map(move |event| Ready {
            number: event.u64,
            // What is broken says so when it is read.
            read: event.events & (libc::EPOLLIN as u32 | broken) != 0,
            write: event.events & (libc::EPOLLOUT as u32 | broken) != 0,
        }))
    }
}

/// Wakes a thread that waits in [`Poll::wait`]. Any number of calls between two waits cost one system call.
#[derive(Clone, Debug)]
pub(crate) struct Waker(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    event: OwnedFd,
    /// The thread has been woken and has not looked yet.
    woken: AtomicBool,
}

impl Waker {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: no pointers; the descriptor is checked, and owned by nobody else.
        let event =
            unsafe { OwnedFd::from_raw_fd(check(libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK))?) };
        Ok(Waker(Arc::new(Inner {
            event,
            woken: AtomicBool::new(false),
        })))
    }

    pub(crate) fn fd(&self) -> RawFd {
        self.0.event.as_raw_fd()
    }

    pub(crate) fn wake(&self) {
        if !self.0.woken.swap(true, Ordering::AcqRel) {
            let one = 1u64.to_ne_bytes();
            // SAFETY: `one` is eight bytes, as an eventfd wants. It fails only when its counter is full: then it is awake.
            unsafe { libc::write(self.fd(), one.as_ptr().cast(), one.len()) };
        }
    }

    /// The thread is awake, and will look at everything that was put before it from here on.
    pub(crate) fn reset(&self) {
        let mut count = [0u8; 8];
        // SAFETY: `count` is eight bytes, as an eventfd wants. Its value does not matter.
        unsafe { libc::read(self.fd(), count.as_mut_ptr().cast(), count.len()) };
        // A swap, not a store: it sees what was put before the call to `wake` that found the thread woken already.
        self.0.woken.swap(false, Ordering::AcqRel);
    }
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waker_wakes_once_for_many_calls_and_again_after_a_reset() {
        let (mut poll, waker) = (Poll::new().unwrap(), Waker::new().unwrap());
        poll.add(waker.fd(), 7).unwrap();
        let none = Some(Duration::ZERO);
        assert_eq!(poll.wait(none).unwrap().count(), 0);
        for _ in 0..2 {
            waker.wake();
            waker.wake();
            assert_eq!(poll.wait(None).unwrap().collect::<Vec<_>>(), [7]);
            waker.reset();
            assert_eq!(poll.wait(none).unwrap().count(), 0);
        }
    }
}
