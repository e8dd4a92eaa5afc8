//! ptrace(2), the requests that do not depend on the CPU.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use libc::{c_char, c_int, c_void};
use trapline_core::{Pid, Tid};

use super::line::ChildEnd;
use super::{Errno, Kernel, Result, check};
use crate::decode::{EventMask, LwpFlags, LwpInfo, SigInfo, SignalSet};
use crate::ffi;

/// How a stopped process goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Go {
    /// `PT_CONTINUE`
    Continue,
    /// `PT_STEP`, for the one thread that is named.
    Step,
    /// `PT_DETACH`
    Detach,
}

/// Which way `PT_IO` copies, and from or to which of the two spaces, which are one on amd64.
#[derive(Debug)]
pub(crate) enum Io<'a> {
    /// `PIOD_READ_D`
    Read(&'a mut [u8]),
    /// `PIOD_READ_I`
    ReadText(&'a mut [u8]),
    /// `PIOD_WRITE_D`
    Write(&'a [u8]),
    /// `PIOD_WRITE_I`
    WriteText(&'a [u8]),
}

/// One step through the memory map.
#[derive(Debug, Default)]
pub(crate) struct MapRequest {
    /// `pve_entry`; 0 to begin with, then what the kernel left there.
    pub(crate) entry: i32,
    pub(crate) timestamp: i32,
    pub(crate) start: u64,
    /// The last byte.
    pub(crate) end: u64,
    pub(crate) offset: u64,
    pub(crate) protection: u32,
    pub(crate) path: Vec<u8>,
}

/// Has the child that the command makes ask for its parent to trace it, last before its exec,
/// which then stops. Before that it asks by the line whether it may.
pub(crate) fn trace_me_on_exec(command: &mut Command, line: ChildEnd) {
    let tracer = std::process::id() as i32;
    let trace_me = move || {
        line.ask().map_err(io::Error::from)?;
        // SAFETY: PT_TRACE_ME ignores all its arguments.
        let begun = check(unsafe { libc::ptrace(libc::PT_TRACE_ME, 0, std::ptr::null_mut(), 0) });
        if let Err(errno) = begun {
            line.tell(errno.0);
            return Err(errno.into());
        }
        // A tracer that was killed before could not take this one along, which now is traced by
        // its reaper. Nobody is left to be told of an error.
        // SAFETY: no arguments.
        if unsafe { libc::getppid() } != tracer {
            // SAFETY: ends this process, without anything that runs at an end.
            unsafe { libc::_exit(127) };
        }
        Ok(())
    };
    // SAFETY: the closure makes system calls, and touches no memory but its own and errno.
    unsafe { command.pre_exec(trace_me) };
}

/// Has the child of the command not be laid out at random when it execs: `PROC_ASLR_CTL`.
pub(crate) fn fix_addresses(command: &mut Command) {
    let fix = || {
        let mut off = libc::PROC_ASLR_FORCE_DISABLE;
        let data = (&raw mut off).cast();
        // SAFETY: this command reads an int; 0 is the process itself.
        check(unsafe { libc::procctl(libc::P_PID, 0, libc::PROC_ASLR_CTL, data) })
            .map(|_| ())
            .map_err(io::Error::from)
    };
    // SAFETY: the closure makes one system call, and touches no memory but its own and errno.
    unsafe { command.pre_exec(fix) };
}

impl Kernel {
    /// # Safety
    ///
    /// `addr` is what the request takes it for: valid for what the kernel reads or writes there.
    pub(super) unsafe fn ptrace(
        &mut self,
        request: c_int,
        id: i32,
        addr: *mut c_void,
        data: c_int,
    ) -> Result<c_int> {
        self.requests += 1;
        // SAFETY: as the caller promises.
        check(unsafe { libc::ptrace(request, id, addr.cast::<c_char>(), data) })
    }

    /// For requests that take a pointer to a `T` and ignore the data, or take its size.
    ///
    /// # Safety
    ///
    /// The request reads or writes one `T`, and any bit pattern the kernel writes is a `T`.
    pub(super) unsafe fn ptrace_with<T>(
        &mut self,
        request: c_int,
        id: i32,
        value: &mut T,
    ) -> Result<()> {
        let size = size_of::<T>() as c_int;
        // SAFETY: the pointer is valid for a `T`, as the caller promises is asked for.
        unsafe { self.ptrace(request, id, std::ptr::from_mut(value).cast(), size) }.map(|_| ())
    }

    /// For requests that ignore address and data.
    fn plain(&mut self, request: c_int, id: i32) -> Result<()> {
        // SAFETY: `addr` is not used.
        unsafe { self.ptrace(request, id, std::ptr::null_mut(), 0) }.map(|_| ())
    }

    /// `PT_ATTACH`
    pub(crate) fn attach(&mut self, pid: i32) -> Result<()> {
        self.plain(libc::PT_ATTACH, pid)
    }

    /// Lets a stopped process go on where it is, with a signal, or none for 0.
    pub(crate) fn go(&mut self, go: Go, id: i32, signal: i32) -> Result<()> {
        let request = match go {
            Go::Continue => libc::PT_CONTINUE,
            Go::Step => libc::PT_STEP,
            Go::Detach => libc::PT_DETACH,
        };
        // SAFETY: for these requests `addr` is no pointer, and 1 says "where it is".
        unsafe { self.ptrace(request, id, std::ptr::without_provenance_mut(1), signal) }.map(|_| ())
    }

    /// `PT_KILL`, of a stopped process.
    pub(crate) fn kill_stopped(&mut self, pid: i32) -> Result<()> {
        self.plain(libc::PT_KILL, pid)
    }

    /// `PT_SUSPEND` and `PT_RESUME`
    pub(crate) fn suspend(&mut self, tid: i32, suspended: bool) -> Result<()> {
        self.plain(if suspended { libc::PT_SUSPEND } else { libc::PT_RESUME }, tid)
    }

    /// `PT_CLEARSTEP`
    pub(crate) fn clear_step(&mut self, tid: i32) -> Result<()> {
        self.plain(libc::PT_CLEARSTEP, tid)
    }

    /// `PT_SETSTEP`
    pub(crate) fn set_step(&mut self, tid: i32) -> Result<()> {
        self.plain(libc::PT_SETSTEP, tid)
    }

    /// `PT_SC_REMOTE`: what the call returned, or its error.
    pub(crate) fn remote_call(
        &mut self,
        tid: i32,
        number: c_int,
        args: &[u64],
    ) -> Result<std::result::Result<u64, i32>> {
        let mut call = ffi::ScRemote {
            pscr_ret: ffi::ScRet::default(),
            pscr_syscall: number as libc::c_uint,
            pscr_nargs: args.len() as libc::c_uint,
            pscr_args: args.as_ptr(),
        };
        // SAFETY: the request reads the structure and as many arguments as that says, which live
        // until it returns, and writes the structure's first part, of integers.
        unsafe { self.ptrace_with(libc::PT_SC_REMOTE, tid, &mut call) }?;
        let [value, _] = call.pscr_ret.sr_retval;
        Ok(match call.pscr_ret.sr_error {
            0 => Ok(value),
            error => Err(error),
        })
    }

    /// `PT_GET_EVENT_MASK`
    pub(crate) fn event_mask(&mut self, pid: i32) -> Result<EventMask> {
        let mut mask: c_int = 0;
        // SAFETY: the request writes one int.
        unsafe { self.ptrace_with(libc::PT_GET_EVENT_MASK, pid, &mut mask) }?;
        Ok(EventMask::from_bits_retain(mask))
    }

    /// `PT_SET_EVENT_MASK`
    pub(crate) fn set_event_mask(&mut self, pid: i32, mask: EventMask) -> Result<()> {
        let mut mask: c_int = mask.bits();
        // SAFETY: the request reads one int.
        unsafe { self.ptrace_with(libc::PT_SET_EVENT_MASK, pid, &mut mask) }
    }

    /// `PT_LWPINFO`, of a thread, or for a pid of the one that reports.
    pub(crate) fn lwp_info(&mut self, id: i32) -> Result<LwpInfo> {
        // SAFETY: all its parts are integers, arrays of them and pointers that are only looked at.
        let mut info: libc::ptrace_lwpinfo = unsafe { std::mem::zeroed() };
        // SAFETY: the request writes at most the size that is given, and any bits are integers.
        unsafe { self.ptrace_with(libc::PT_LWPINFO, id, &mut info) }?;
        let flags = LwpFlags::from_bits_retain(info.pl_flags);
        let si = &info.pl_siginfo;
        Ok(LwpInfo {
            tid: Tid::from_raw(info.pl_lwpid),
            reports: info.pl_event == libc::PL_EVENT_SIGNAL,
            flags,
            siginfo: flags.contains(LwpFlags::SI).then(|| SigInfo {
                signo: si.si_signo,
                errno: si.si_errno,
                code: si.si_code,
                pid: si.si_pid,
                uid: si.si_uid,
                addr: si.si_addr.addr() as u64,
                value: si.si_value.sival_ptr.addr() as u64,
            }),
            blocked: signals(&info.pl_sigmask),
            pending: signals(&info.pl_siglist),
            child: flags.contains(LwpFlags::FORKED).then_some(Pid::from_raw(info.pl_child_pid)),
            syscall: info.pl_syscall_code,
            syscall_args: info.pl_syscall_narg,
        })
    }

    /// The `siginfo_t` of a thread that is stopped for a signal: `pl_siginfo` of `PT_LWPINFO`.
    pub(crate) fn whole_siginfo(&mut self, tid: i32) -> Result<Option<[u8; 80]>> {
        // SAFETY: all its parts are integers, arrays of them and pointers that are only looked at.
        let mut info: libc::ptrace_lwpinfo = unsafe { std::mem::zeroed() };
        // SAFETY: the request writes at most the size that is given, and any bits are integers.
        unsafe { self.ptrace_with(libc::PT_LWPINFO, tid, &mut info) }?;
        let there = LwpFlags::from_bits_retain(info.pl_flags).contains(LwpFlags::SI);
        // SAFETY: a `siginfo_t` is 80 bytes on 64-bit systems, which `transmute` checks, and has no
        // padding that was not written: it was zeroed.
        Ok(there
            .then(|| unsafe { std::mem::transmute::<libc::siginfo_t, [u8; 80]>(info.pl_siginfo) }))
    }

    /// `PT_GETREGSET`
    pub(crate) fn register_set(&mut self, tid: i32, set: u32) -> Result<Vec<u8>> {
        let mut iov = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        let address: *mut libc::iovec = &mut iov;
        // SAFETY: without a buffer the request writes the length that it would take.
        unsafe { self.ptrace(libc::PT_GETREGSET, tid, address.cast(), set as c_int) }?;
        let mut bytes = vec![0; iov.iov_len];
        iov.iov_base = bytes.as_mut_ptr().cast();
        let address: *mut libc::iovec = &mut iov;
        // SAFETY: the request writes at most `iov_len` bytes into `bytes`, which has as many, and how
        // many they were.
        unsafe { self.ptrace(libc::PT_GETREGSET, tid, address.cast(), set as c_int) }?;
        bytes.truncate(iov.iov_len);
        Ok(bytes)
    }

    /// `PT_SETREGSET`
    pub(crate) fn set_register_set(&mut self, tid: i32, set: u32, bytes: &[u8]) -> Result<()> {
        let base = bytes.as_ptr().cast_mut().cast();
        let mut iov = libc::iovec { iov_base: base, iov_len: bytes.len() };
        let address: *mut libc::iovec = &mut iov;
        // SAFETY: the request reads at most `iov_len` bytes of `bytes`, and writes none.
        unsafe { self.ptrace(libc::PT_SETREGSET, tid, address.cast(), set as c_int) }.map(|_| ())
    }

    /// `PT_GETLWPLIST`
    pub(crate) fn lwps(&mut self, pid: i32) -> Result<Vec<i32>> {
        // SAFETY: `addr` is not used.
        let count =
            unsafe { self.ptrace(libc::PT_GETNUMLWPS, pid, std::ptr::null_mut(), 0) }?.max(1);
        let mut list = vec![0_i32; usize::try_from(count).unwrap_or(1)];
        // SAFETY: the request writes at most as many ids as the data says, and the list has them.
        let count =
            unsafe { self.ptrace(libc::PT_GETLWPLIST, pid, list.as_mut_ptr().cast(), count) }?;
        list.truncate(usize::try_from(count).unwrap_or(0));
        Ok(list)
    }

    /// `PT_IO`. How much was copied; none at all is the error.
    pub(crate) fn io(&mut self, pid: i32, addr: u64, io: Io<'_>) -> Result<usize> {
        let (op, ours, len) = match io {
            Io::Read(buf) => (libc::PIOD_READ_D, buf.as_mut_ptr(), buf.len()),
            Io::ReadText(buf) => (libc::PIOD_READ_I, buf.as_mut_ptr(), buf.len()),
            Io::Write(data) => (libc::PIOD_WRITE_D, data.as_ptr().cast_mut(), data.len()),
            Io::WriteText(data) => (libc::PIOD_WRITE_I, data.as_ptr().cast_mut(), data.len()),
        };
        let mut desc = libc::ptrace_io_desc {
            piod_op: op,
            piod_offs: std::ptr::without_provenance_mut(addr as usize),
            piod_addr: ours.cast(),
            piod_len: len,
        };
        // SAFETY: `ours` is valid for `len` bytes, which a read writes, having come from a unique
        // borrow, and a write only reads; `piod_offs` is an address of the tracee.
        unsafe { self.ptrace_with(libc::PT_IO, pid, &mut desc) }?;
        Ok(desc.piod_len)
    }

    /// `PT_GET_SC_ARGS`: all that fit into registers; those that the call does not take are 0.
    pub(crate) fn syscall_args(&mut self, tid: i32) -> Result<[u64; 8]> {
        let mut args = [0_u64; 8];
        // SAFETY: the request writes at most the size that is given.
        unsafe { self.ptrace_with(libc::PT_GET_SC_ARGS, tid, &mut args) }?;
        Ok(args)
    }

    /// `PT_GET_SC_RET`
    pub(crate) fn syscall_return(&mut self, tid: i32) -> Result<ffi::ScRet> {
        let mut result = ffi::ScRet::default();
        // SAFETY: the request writes at most the size that is given.
        unsafe { self.ptrace_with(libc::PT_GET_SC_RET, tid, &mut result) }?;
        Ok(result)
    }

    /// `PT_VM_ENTRY`. ENOENT says that there is no further entry.
    pub(crate) fn map_entry(&mut self, pid: i32, request: &mut MapRequest) -> Result<()> {
        let mut path = vec![0_u8; libc::PATH_MAX as usize];
        let mut entry = libc::ptrace_vm_entry {
            pve_entry: request.entry,
            pve_timestamp: request.timestamp,
            pve_start: 0,
            pve_end: 0,
            pve_offset: 0,
            pve_prot: 0,
            pve_pathlen: libc::PATH_MAX as u32,
            pve_fileid: 0,
            pve_fsid: 0,
            pve_path: path.as_mut_ptr().cast(),
        };
        // SAFETY: the request fills in the entry, and writes at most `pve_pathlen` bytes of path.
        let mut result = unsafe { self.ptrace_with(libc::PT_VM_ENTRY, pid, &mut entry) };
        if result == Err(Errno::NAMETOOLONG) {
            entry.pve_pathlen = 0; // no path, then
            // SAFETY: as above.
            result = unsafe { self.ptrace_with(libc::PT_VM_ENTRY, pid, &mut entry) };
        }
        result?;
        path.truncate(entry.pve_pathlen as usize);
        if let Some(end) = path.iter().position(|&byte| byte == 0) {
            path.truncate(end);
        }
        *request = MapRequest {
            entry: entry.pve_entry,
            timestamp: entry.pve_timestamp,
            start: entry.pve_start,
            end: entry.pve_end,
            offset: entry.pve_offset,
            protection: entry.pve_prot,
            path,
        };
        Ok(())
    }
}

pub(super) fn signals(set: &libc::sigset_t) -> SignalSet {
    // SAFETY: a `sigset_t` is four words (`sys/_sigset.h`), which `tests/headers.c` checks.
    SignalSet(unsafe { std::mem::transmute::<libc::sigset_t, [u32; 4]>(*set) })
}
