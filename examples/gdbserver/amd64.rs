//! The CPU as gdb sees it: which registers there are, in which order, how long each is.

use std::num::NonZeroUsize;

use gdbstub::arch::{Arch, RegId, Registers};
use gdbstub_arch::x86::reg::X86_64CoreRegs;
use gdbstub_arch::x86::reg::id::X86_64CoreRegId;

/// x86-64 with SSE, AVX where there is one, and what the system adds.
pub(crate) enum Amd64 {}

impl Arch for Amd64 {
    type Usize = u64;
    type Registers = Frame;
    type RegId = Register;
    type BreakpointKind = usize;
}

/// Whether the system keeps the number of the system call that a thread is in.
pub(crate) const HAS_ORIG_RAX: bool = matches!(std::env::consts::OS.as_bytes(), b"linux");

/// How many registers `X86_64CoreRegs` has: 16 general ones, RIP, EFLAGS, 6 segments, 8 of the
/// x87 and 8 that control it, 16 XMM and MXCSR.
pub(crate) const CORE: usize = 57;
/// The first of the upper halves of the YMM registers; before them are FS_BASE, GS_BASE and, where
/// there is one, ORIG_RAX.
const YMM_HIGH: usize = CORE + if HAS_ORIG_RAX { 3 } else { 2 };
const END: usize = YMM_HIGH + 16;
/// The length of `X86_64CoreRegs` in a packet.
const CORE_LEN: usize = 0x218;

/// A register by gdb's number: its place in the description.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Register(usize);

impl Register {
    pub(crate) const RBP: Register = Register(6);
    pub(crate) const RSP: Register = Register(7);
    pub(crate) const RIP: Register = Register(16);

    fn len(self) -> Option<usize> {
        match self.0 {
            0..CORE => X86_64CoreRegId::from_raw_id(self.0)?.1.map(NonZeroUsize::get),
            CORE..YMM_HIGH => Some(8),
            YMM_HIGH..END => Some(16),
            _ => None,
        }
    }

    /// Where it is in a [`Frame`].
    pub(crate) fn place(self) -> Option<std::ops::Range<usize>> {
        let len = self.len()?;
        let start = (0..self.0).map(Register).filter_map(Register::len).sum();
        Some(start..start + len)
    }
}

impl RegId for Register {
    fn from_raw_id(id: usize) -> Option<(Self, Option<NonZeroUsize>)> {
        let register = Register(id);
        Some((register, NonZeroUsize::new(register.len()?)))
    }

    fn to_raw_id(&self) -> Option<usize> {
        Some(self.0)
    }
}

/// The registers of one thread, in gdb's order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) core: X86_64CoreRegs,
    pub(crate) fs_base: u64,
    pub(crate) gs_base: u64,
    /// Meaningless where [`HAS_ORIG_RAX`] is not so.
    pub(crate) orig_rax: u64,
    /// The upper halves of the YMM registers; `None` on a CPU without AVX.
    pub(crate) ymm_high: Option<[u128; 16]>,
}

impl Registers for Frame {
    type ProgramCounter = u64;

    fn pc(&self) -> u64 {
        self.core.rip
    }

    fn gdb_serialize(&self, mut write_byte: impl FnMut(Option<u8>)) {
        self.core.gdb_serialize(&mut write_byte);
        let mut write = |bytes: &[u8]| bytes.iter().for_each(|&byte| write_byte(Some(byte)));
        write(&self.fs_base.to_le_bytes());
        write(&self.gs_base.to_le_bytes());
        if HAS_ORIG_RAX {
            write(&self.orig_rax.to_le_bytes());
        }
        self.ymm_high.iter().flatten().for_each(|half| write(&half.to_le_bytes()));
    }

    fn gdb_deserialize(&mut self, bytes: &[u8]) -> Result<(), ()> {
        self.core.gdb_deserialize(bytes)?;
        let mut rest = bytes.get(CORE_LEN..).unwrap_or_default();
        let mut words = [&mut self.fs_base, &mut self.gs_base, &mut self.orig_rax];
        for word in words.iter_mut().take(YMM_HIGH - CORE) {
            let (bytes, behind) = rest.split_first_chunk().ok_or(())?;
            **word = u64::from_le_bytes(*bytes);
            rest = behind;
        }
        if rest.is_empty() {
            self.ymm_high = None;
            return Ok(());
        }
        for half in self.ymm_high.insert([0; 16]) {
            let (bytes, behind) = rest.split_first_chunk().ok_or(())?;
            *half = u128::from_le_bytes(*bytes);
            rest = behind;
        }
        Ok(())
    }
}

impl Frame {
    /// All registers, one behind the other.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.gdb_serialize(|byte| bytes.push(byte.unwrap_or(0)));
        bytes
    }
}
