//! A line between a tracer and a child of its that has not exec'ed yet.

use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use super::{Errno, Result};

/// The tracer's end. It never blocks.
#[derive(Debug)]
pub(crate) struct Line(Arc<UnixStream>);

/// The child's end, which is the tracer's, too, until there is a child.
#[derive(Debug)]
pub(crate) struct ChildEnd {
    here: UnixStream,
    /// Kept open as long as a child may be made that closes it.
    tracer: Arc<UnixStream>,
}

impl Line {
    pub(crate) fn new() -> io::Result<(Line, ChildEnd)> {
        let (tracer, here) = UnixStream::pair()?;
        tracer.set_nonblocking(true)?;
        let tracer = Arc::new(tracer);
        Ok((Line(Arc::clone(&tracer)), ChildEnd { here, tracer }))
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// What the child has sent, if it has: its pid first, then an error number.
    pub(crate) fn heard(&self) -> Option<i32> {
        let mut bytes = [0; 4];
        let mut line = &*self.0;
        matches!(line.read(&mut bytes), Ok(4)).then(|| i32::from_ne_bytes(bytes))
    }

    /// Answers with an error number, or 0.
    pub(crate) fn answer(&self, errno: i32) {
        send(self.0.as_fd(), errno);
    }
}

impl Drop for Line {
    /// A child that waits for an answer gets none.
    fn drop(&mut self) {
        let _ = self.0.shutdown(std::net::Shutdown::Both);
    }
}

impl ChildEnd {
    /// In the child: asks whether it may be traced. Async-signal-safe, as is all of it.
    pub(super) fn ask(&self) -> Result<()> {
        // So that the line is cut if the tracer is killed.
        // SAFETY: the descriptor is open, and in this process nobody uses it any more.
        unsafe { libc::close(self.tracer.as_raw_fd()) };
        // SAFETY: no arguments.
        self.tell(unsafe { libc::getpid() });
        let mut answer = 0_i32;
        loop {
            // SAFETY: at most four bytes are written, which the number has.
            let count = unsafe {
                libc::read(self.here.as_raw_fd(), (&raw mut answer).cast(), size_of::<i32>())
            };
            return match (count, answer) {
                (-1, _) if Errno::last() == Errno::INTR => continue,
                (-1, _) => Err(Errno::last()),
                (4, 0) => Ok(()),
                (4, errno) => Err(Errno(errno)),
                _ => Err(Errno::PERM), // the tracer has gone
            };
        }
    }

    /// In the child: sends a number.
    pub(super) fn tell(&self, number: i32) {
        send(self.here.as_fd(), number);
    }
}

/// Sends a number. No signal comes of a line that is cut.
fn send(line: BorrowedFd<'_>, number: i32) {
    let bytes = number.to_ne_bytes();
    // SAFETY: as many bytes are read as the array has.
    unsafe {
        libc::send(line.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL);
    }
}
