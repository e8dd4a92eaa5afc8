//! System calls that a tracee makes for its tracer.

use std::time::Duration;

use trapline_core::backend::{Disposition, Thread, pages_near};
use trapline_core::{Arch, Backend, Error, Result, Signal, SignalSet, SyscallAbi};

use crate::ffi;
use crate::sys::Errno;
use crate::system::FreeBsd;

/// `MAP_FIXED` of `sys/mman.h`, to fail with `MAP_EXCL` where something is mapped.
const FIXED_EXCLUSIVE: i32 = libc::MAP_FIXED | libc::MAP_EXCL;

/// A program may use some memory below its stack pointer: not as much.
const FREE_BELOW_STACK: u64 = 1024;

/// How long a thread may take to stop again after a call.
const LIMIT: Duration = Duration::from_secs(2);

fn refused(what: &'static str) -> Error {
    Error::unsupported(what, FreeBsd::SYSTEM)
}

/// A call that a tracee has made for us has failed.
fn failed(request: &'static str, thread: Thread, errno: i32) -> Error {
    let source = std::io::Error::from_raw_os_error(errno);
    Error::os(request, thread.tid.as_raw(), source)
}

impl FreeBsd {
    /// Memory for code, as near to an address as can be.
    pub(crate) fn map_near(&mut self, thread: Thread, near: u64, len: u64) -> Result<u64> {
        if self.abi_of(thread.pid)? == SyscallAbi::Bits32 {
            return Err(refused("to have a 32-bit program map memory")); // other arguments
        }
        let protection = (libc::PROT_READ | libc::PROT_EXEC) as u64;
        let flags = (libc::MAP_PRIVATE | libc::MAP_ANON | FIXED_EXCLUSIVE) as u64;
        for wish in pages_near(near, <<Self as Backend>::Arch as Arch>::SLOT_REACH) {
            let args = [wish, len, protection, flags, u64::MAX, 0];
            match self.inject(thread, ffi::SYS_MMAP, &args)? {
                Ok(start) => return Ok(start),
                Err(libc::EINVAL | libc::ENOMEM) => {}
                // Forbidden to the program, by whatever it has done with itself.
                Err(
                    libc::EPERM | libc::EACCES | libc::ENOSYS | libc::ECAPMODE | libc::ENOTCAPABLE,
                ) => {
                    break;
                }
                Err(errno) => return Err(failed("mmap", thread, errno)),
            }
        }
        Err(refused("memory near the program's code"))
    }

    pub(crate) fn unmap(&mut self, thread: Thread, addr: u64, len: u64) -> Result<()> {
        match self.inject(thread, ffi::SYS_MUNMAP, &[addr, len])? {
            Ok(_) => Ok(()),
            Err(errno) => Err(failed("munmap", thread, errno)),
        }
    }

    /// `PT_SC_REMOTE` (FreeBSD 14): the kernel has the thread make the call, and nothing else about
    /// it changes.
    ///
    /// The thread runs in the kernel for that. So the process stops once more, with the status that
    /// it had, and heeds no request until it was waited for again (`ptracestop` in `kern_sig.c`,
    /// `thread_stopped` in `kern_thread.c`).
    pub(crate) fn inject(
        &mut self,
        thread: Thread,
        number: libc::c_int,
        args: &[u64],
    ) -> Result<std::result::Result<u64, i32>> {
        let answer = match self.kernel.remote_call(thread.tid.as_raw(), number, args) {
            // Not at this stop.
            Err(Errno::BUSY) => return Err(Error::NOT_STOPPED),
            Err(Errno::INVAL) => return Err(refused("to have a tracee make a system call")),
            answer => self.checked("PT_SC_REMOTE", thread, answer)?,
        };
        match self.wait_for_one(thread.pid.as_raw(), LIMIT)? {
            Some(_) => Ok(answer),
            None => Err(Error::NOT_STOPPED),
        }
    }

    /// The same for a call of the user's.
    pub(crate) fn call(
        &mut self,
        thread: Thread,
        number: u64,
        args: &[u64],
    ) -> Result<std::result::Result<u64, i32>> {
        let elsewhere = [
            ffi::SYS_EXIT,
            ffi::SYS_FORK,
            ffi::SYS_EXECVE,
            ffi::SYS_VFORK,
            ffi::SYS_RFORK,
            ffi::SYS_SIGRETURN,
            ffi::SYS_THR_EXIT,
            ffi::SYS_THR_NEW,
            ffi::SYS_FEXECVE,
            ffi::SYS_PDFORK,
        ];
        let number = libc::c_int::try_from(number).ok().filter(|&number| number > 0);
        let Some(number) = number.filter(|number| !elsewhere.contains(number)) else {
            return Err(refused("a system call that does not return to where it was made"));
        };
        if args.len() > 6 {
            return Err(refused("a system call with more than six arguments"));
        }
        self.inject(thread, number, args)
    }

    /// Has a thread block other signals, by a call of its own: the set is put below its stack for that,
    /// where neither it nor a handler has anything.
    pub(crate) fn have_mask_set(&mut self, thread: Thread, mask: SignalSet) -> Result<()> {
        const SET: u64 = libc::SIG_SETMASK as u64;
        let stack = <<Self as Backend>::Arch as Arch>::sp(&self.registers(thread)?);
        let place = stack.wrapping_sub(FREE_BELOW_STACK) & !15;
        let bytes = mask.bits().to_le_bytes();
        let mut before = [0; size_of::<u128>()];
        let whole = |done: usize| match done == bytes.len() {
            true => Ok(()),
            false => Err(Error::bad_address(place)),
        };
        self.read(thread, place, &mut before).and_then(whole)?;
        self.write(thread, place, &bytes).and_then(whole)?;
        let called = self.inject(thread, ffi::SYS_SIGPROCMASK, &[SET, place, 0]);
        self.write(thread, place, &before).and_then(whole)?;
        match called? {
            Ok(_) => Ok(()),
            Err(errno) => Err(failed("sigprocmask", thread, errno)),
        }
    }

    /// What a signal does to a process, by what it says of itself.
    pub(crate) fn disposition_of(&mut self, thread: Thread, signal: Signal) -> Result<Disposition> {
        let process = self.known(thread.pid.as_raw())?;
        // The default of these is to do nothing, or nothing that the program sees.
        let harmless = matches!(signal, Signal::CHLD | Signal::URG | Signal::WINCH | Signal::CONT)
            || [libc::SIGIO, libc::SIGINFO].contains(&signal.as_raw());
        Ok(if process.caught.contains(signal) {
            Disposition::Caught
        } else if process.ignored.contains(signal) || harmless || signal.stops() {
            Disposition::Ignored
        } else {
            Disposition::Ends
        })
    }
}
