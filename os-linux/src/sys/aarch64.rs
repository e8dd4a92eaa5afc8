//! The requests for the general registers of aarch64.

use trapline_core::{Result, Tid};

use crate::sys::{Kernel, error};

/// The general registers (`NT_PRSTATUS` of `linux/elf.h`).
const NT_PRSTATUS: u32 = 1;

const LENGTH: usize = size_of::<libc::user_regs_struct>();

impl Kernel {
    /// `PTRACE_GETREGSET` with `NT_PRSTATUS`, and how many bytes the kernel has given: a 32-bit
    /// program has another, shorter set.
    pub(crate) fn general_set(&self, tid: Tid) -> Result<(libc::user_regs_struct, usize)> {
        let mut bytes = [0; LENGTH];
        let length = self
            .register_set(tid, NT_PRSTATUS, &mut bytes)
            .map_err(|e| error("PTRACE_GETREGSET", tid.as_raw(), e))?;
        // SAFETY: a structure of integers, without padding, of this length: every value of the
        // bytes is one of it.
        let registers =
            unsafe { std::mem::transmute::<[u8; LENGTH], libc::user_regs_struct>(bytes) };
        Ok((registers, length))
    }

    /// `PTRACE_SETREGSET` with `NT_PRSTATUS`, with so many bytes.
    pub(crate) fn set_general_set(
        &self,
        tid: Tid,
        registers: &libc::user_regs_struct,
        length: usize,
    ) -> Result<()> {
        // SAFETY: a structure of integers, without padding, of this length.
        let bytes =
            unsafe { std::mem::transmute::<libc::user_regs_struct, [u8; LENGTH]>(*registers) };
        self.set_register_set(tid, NT_PRSTATUS, bytes.get(..length).unwrap_or(&bytes))
            .map_err(|e| error("PTRACE_SETREGSET", tid.as_raw(), e))
    }
}
