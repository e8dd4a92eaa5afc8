//! The memory of tracees, in pieces of any length.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;

use trapline_core::backend::Thread;
use trapline_core::{Error, Pid, Result};

use crate::sys::{Kernel, error};

/// How many files are kept open. Few processes need one; a debugger of many breakpoints should
/// not use up the host's descriptors.
const OPEN_FILES: usize = 64;

/// The open `/proc/<pid>/mem` files.
///
/// Such a file names the memory that the process had when it was opened, so one from before an
/// exec is stale (`proc_mem_open` in `fs/proc/base.c`).
#[derive(Debug, Default)]
pub(crate) struct Memory {
    files: HashMap<Pid, File>,
}

impl Memory {
    /// Reads as much as there is; nothing at all is [`Error::BadAddress`].
    pub(crate) fn read(
        &mut self,
        kernel: &Kernel,
        thread: Thread,
        addr: u64,
        buf: &mut [u8],
    ) -> Result<usize> {
        let total = buf.len();
        self.transfer(kernel, thread, addr, total, |way, at, done| {
            let rest = buf.get_mut(done..).unwrap_or_default();
            match way {
                Way::Call => kernel.read_memory(thread.tid, at, rest),
                Way::File(file) => file.read_at(rest, at),
            }
        })
    }

    /// Writes as much as can be; nothing at all is [`Error::BadAddress`].
    pub(crate) fn write(
        &mut self,
        kernel: &Kernel,
        thread: Thread,
        addr: u64,
        data: &[u8],
    ) -> Result<usize> {
        self.transfer(kernel, thread, addr, data.len(), |way, at, done| {
            let rest = data.get(done..).unwrap_or_default();
            match way {
                Way::Call => kernel.write_memory(thread.tid, at, rest),
                Way::File(file) => file.write_at(rest, at),
            }
        })
    }

    /// Writes as the program itself could, where the kernel has a call for that.
    pub(crate) fn write_data(
        &mut self,
        kernel: &Kernel,
        thread: Thread,
        addr: u64,
        data: &[u8],
    ) -> Result<usize> {
        match kernel.write_memory(thread.tid, addr, data) {
            Ok(0) => Err(Error::BadAddress { addr }),
            Ok(done) => Ok(done),
            Err(e) => match e.raw_os_error() {
                Some(libc::EFAULT) => Err(Error::BadAddress { addr }),
                Some(libc::ESRCH) => Err(Error::Gone),
                _ => self.write(kernel, thread, addr, data),
            },
        }
    }

    /// Writes all of it, by the file at once: text is where the system call does not write.
    pub(crate) fn write_text(
        &mut self,
        kernel: &Kernel,
        thread: Thread,
        addr: u64,
        data: &[u8],
    ) -> Result<()> {
        let file = self.file(kernel, thread)?;
        kernel.count();
        if moved(file.write_at(data, addr)).is_ok_and(|done| done == data.len()) {
            return Ok(());
        }
        match self.write(kernel, thread, addr, data)? {
            done if done < data.len() => {
                Err(Error::BadAddress { addr: addr.wrapping_add(done as u64) })
            }
            _ => Ok(()),
        }
    }

    /// Closes the file of a process.
    pub(crate) fn forget(&mut self, pid: Pid) {
        self.files.remove(&pid);
    }

    /// Moves `total` bytes, by the system calls as far as they go, by the file where they stop:
    /// the file also reaches what the program itself may not read or write.
    fn transfer(
        &mut self,
        kernel: &Kernel,
        thread: Thread,
        addr: u64,
        total: usize,
        mut step: impl FnMut(Way<'_>, u64, usize) -> io::Result<usize>,
    ) -> Result<usize> {
        let mut done = 0;
        while done < total {
            let Some(at) = addr.checked_add(done as u64) else {
                break;
            };
            match moved(step(Way::Call, at, done)) {
                Ok(0) => {}
                Ok(moved) => {
                    done += moved;
                    continue;
                }
                Err(e) => return Err(error("process_vm_readv", thread.tid.as_raw(), e)),
            }
            let file = self.file(kernel, thread)?;
            kernel.count();
            match moved(step(Way::File(file), at, done)) {
                Ok(0) => break,
                Ok(moved) => done += moved,
                Err(e) => return Err(error("/proc/<pid>/mem", thread.tid.as_raw(), e)),
            }
        }
        if done == 0 && total != 0 {
            return Err(Error::BadAddress { addr });
        }
        Ok(done)
    }

    fn file(&mut self, kernel: &Kernel, thread: Thread) -> Result<&File> {
        if !self.files.contains_key(&thread.pid) {
            if self.files.len() >= OPEN_FILES {
                self.files.clear();
            }
            // By the thread: a first thread that has ended before the others has no memory.
            kernel.count();
            let path = format!("/proc/{}/mem", thread.tid);
            let file = OpenOptions::new().read(true).write(true).open(path);
            let file = file.map_err(|e| match e.kind() {
                io::ErrorKind::NotFound => Error::Gone,
                _ => error("/proc/<pid>/mem", thread.tid.as_raw(), e),
            })?;
            self.files.insert(thread.pid, file);
        }
        // It is there now.
        self.files.get(&thread.pid).ok_or(Error::Gone)
    }
}

/// How to get at the memory.
enum Way<'a> {
    /// `process_vm_readv` or `process_vm_writev`.
    Call,
    /// `/proc/<pid>/mem`, past the protection of the pages.
    File(&'a File),
}

/// What was moved; nothing, if the address is not one for this way.
fn moved(result: io::Result<usize>) -> io::Result<usize> {
    match result {
        Err(e) => match e.raw_os_error() {
            // EINVAL: an offset that is negative as a signed number.
            Some(libc::EFAULT | libc::EIO | libc::EINVAL) => Ok(0),
            Some(libc::EINTR) => Ok(0),
            _ => Err(e),
        },
        ok => ok,
    }
}
