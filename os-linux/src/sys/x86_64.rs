//! The requests that only x86 has: whole sets of registers, in the form of 64-bit programs for all,
//! and the debug registers.

use std::io;

use trapline_core::{Result, Tid};

use crate::sys::ptrace::{fill, pass};
use crate::sys::{Kernel, check, error};

/// Where `struct user` has a debug register.
fn debug_offset(number: usize) -> libc::c_long {
    (std::mem::offset_of!(libc::user, u_debugreg) + number * size_of::<u64>()) as libc::c_long
}

impl Kernel {
    /// `PTRACE_GETREGS`: in the 64-bit form for 32-bit programs too.
    pub(crate) fn registers(&self, tid: Tid) -> Result<libc::user_regs_struct> {
        self.count();
        // SAFETY: all zeros are a value of this structure of integers.
        let mut registers: libc::user_regs_struct = unsafe { std::mem::zeroed() };
        // SAFETY: writes one `user_regs_struct`.
        unsafe { fill(libc::PTRACE_GETREGS as _, tid, 0, &mut registers) }
            .map_err(|e| error("PTRACE_GETREGS", tid.as_raw(), e))?;
        Ok(registers)
    }

    /// `PTRACE_SETREGS`.
    pub(crate) fn set_registers(&self, tid: Tid, registers: &libc::user_regs_struct) -> Result<()> {
        self.count();
        // SAFETY: reads one `user_regs_struct`.
        unsafe { pass(libc::PTRACE_SETREGS as _, tid, registers) }
            .map_err(|e| error("PTRACE_SETREGS", tid.as_raw(), e))?;
        Ok(())
    }

    /// `PTRACE_PEEKUSER` of a debug register.
    pub(crate) fn debug_register(&self, tid: Tid, number: usize) -> io::Result<u64> {
        self.count();
        let mut value = 0_u64;
        // SAFETY: writes one word.
        unsafe { fill(libc::PTRACE_PEEKUSER as _, tid, debug_offset(number), &mut value) }?;
        Ok(value)
    }

    /// `PTRACE_POKEUSER` of a debug register.
    pub(crate) fn set_debug_register(&self, tid: Tid, number: usize, value: u64) -> io::Result<()> {
        self.count();
        let (request, offset) = (libc::PTRACE_POKEUSER, debug_offset(number));
        // SAFETY: takes both arguments as numbers and touches no memory of this process.
        check(unsafe { libc::syscall(libc::SYS_ptrace, request, tid.as_raw(), offset, value) })?;
        Ok(())
    }

    /// `PTRACE_GETFPREGS`: an FXSAVE image.
    pub(crate) fn fp_registers(&self, tid: Tid) -> Result<[u8; 512]> {
        self.count();
        let mut image = [0; 512];
        // SAFETY: writes one `user_fpregs_struct`, which is an FXSAVE image of 512 bytes.
        unsafe { fill(libc::PTRACE_GETFPREGS as _, tid, 0, &mut image) }
            .map_err(|e| error("PTRACE_GETFPREGS", tid.as_raw(), e))?;
        Ok(image)
    }

    /// `PTRACE_SETFPREGS`.
    pub(crate) fn set_fp_registers(&self, tid: Tid, image: &[u8; 512]) -> Result<()> {
        self.count();
        // SAFETY: reads one `user_fpregs_struct`, which is an FXSAVE image of 512 bytes.
        unsafe { pass(libc::PTRACE_SETFPREGS as _, tid, image) }
            .map_err(|e| error("PTRACE_SETFPREGS", tid.as_raw(), e))?;
        Ok(())
    }
}
