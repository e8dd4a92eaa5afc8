//! `/proc/<pid>/mem`.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use trapline_core::Result;
use trapline_core::backend::Thread;

use crate::proc;
use crate::sys::Kernel;

/// What a file is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
}

/// The memory file of a process.
///
/// It names the memory that the process had when it was opened, so one from before an exec is stale
/// (`proc_mem_open` in `fs/proc/base.c`).
#[derive(Debug, Default)]
pub(super) enum Opened {
    #[default]
    Untried,
    Open {
        file: File,
        /// The error by which it cannot be opened to write.
        read_only: Option<i32>,
    },
    /// It cannot be opened, by this error.
    Closed(i32),
}

impl Opened {
    pub(super) fn is_open(&self) -> bool {
        matches!(self, Opened::Open { .. })
    }

    /// Opens it, unless that was tried.
    pub(super) fn open(&mut self, kernel: &Kernel, thread: Thread) -> Result<()> {
        if !matches!(self, Opened::Untried) {
            return Ok(());
        }
        let tid = thread.tid.as_raw();
        let Some(proc) = kernel.proc() else {
            *self = Opened::Closed(libc::ENOENT);
            return Ok(());
        };
        // By the thread: a first thread that has ended before the others has no memory.
        let path = format!("{tid}/mem");
        kernel.count();
        let refusal = match proc.writable(&path) {
            Ok(file) => {
                *self = Opened::Open { file, read_only: None };
                return Ok(());
            }
            Err(e) => e,
        };
        match refusal.kind() {
            io::ErrorKind::NotFound => {
                // Hidden, if it is not gone.
                proc::missing::<()>(kernel, "/proc/<pid>/mem", tid, refusal)?;
                *self = Opened::Closed(libc::ENOENT);
                return Ok(());
            }
            _ if errno(&refusal) == libc::EMFILE || errno(&refusal) == libc::ENFILE => {
                return Ok(()); // the host may have a free descriptor next time
            }
            _ => {}
        }
        kernel.count();
        *self = match proc.file(&path) {
            Ok(file) => Opened::Open { file, read_only: Some(errno(&refusal)) },
            Err(e) => Opened::Closed(errno(&e)),
        };
        Ok(())
    }

    /// The file, or the error by which there is none for this.
    pub(super) fn get(&self, access: Access) -> Result<Way<'_>, i32> {
        match self {
            Opened::Open { read_only: Some(errno), .. } if access == Access::Write => Err(*errno),
            Opened::Open { file, .. } => Ok(Way(file)),
            Opened::Closed(errno) => Err(*errno),
            Opened::Untried => Err(libc::EMFILE),
        }
    }
}

/// A file that is open for what it is wanted for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way<'a>(&'a File);

impl Way<'_> {
    pub(super) fn read(self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        self.0.read_at(buf, at)
    }

    pub(super) fn write(self, data: &[u8], at: u64) -> io::Result<usize> {
        self.0.write_at(data, at)
    }
}

fn errno(e: &io::Error) -> i32 {
    e.raw_os_error().unwrap_or(libc::EIO)
}
