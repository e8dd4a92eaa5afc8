//! The CPU as gdb sees it: which registers there are, in which order, how long each is.

use std::num::NonZeroUsize;

use gdbstub::arch::{Arch, RegId, Registers};
use gdbstub_arch::x86::reg::id::{X86_64CoreRegId, X86CoreRegId};
use gdbstub_arch::x86::reg::{X86_64CoreRegs, X86CoreRegs};

/// x86-64 with SSE, AVX where there is one, and what the system adds; and what of it 32-bit programs
/// have.
pub(crate) enum Amd64 {}

impl Arch for Amd64 {
    type Usize = u64;
    type Registers = Frame;
    type RegId = Register;
    type BreakpointKind = usize;
}

/// Whether the system keeps the number of the system call that a thread is in.
pub(crate) const HAS_ORIG_RAX: bool = matches!(std::env::consts::OS.as_bytes(), b"linux");

/// Which registers gdb is shown, and in which order: those of a 64-bit program or of a 32-bit one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Layout {
    #[default]
    Amd64,
    I386,
}

/// How many registers `X86_64CoreRegs` has: 16 general ones, RIP, EFLAGS, 6 segments, 8 of the
/// x87 and 8 that control it, 16 XMM and MXCSR.
pub(crate) const CORE: usize = 57;
/// The first of the upper halves of the YMM registers; before them are FS_BASE, GS_BASE and, where
/// there is one, ORIG_RAX.
const YMM_HIGH: usize = CORE + if HAS_ORIG_RAX { 3 } else { 2 };
const END: usize = YMM_HIGH + 16;
/// The length of `X86_64CoreRegs` in a packet.
const CORE_LEN: usize = 0x218;

/// The same for `X86CoreRegs`: 8 general registers, EIP, EFLAGS, 6 segments, 16 of the x87, 8 XMM
/// and MXCSR; behind them, where there is one, ORIG_EAX.
const NARROW_CORE: usize = 41;
const NARROW_YMM_HIGH: usize = NARROW_CORE + if HAS_ORIG_RAX { 1 } else { 0 };
const NARROW_END: usize = NARROW_YMM_HIGH + 8;
const NARROW_CORE_LEN: usize = 0x134;

/// A register by gdb's number: its place in the description.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Register(usize);

impl Register {
    /// The frame pointer, the stack pointer and the program counter.
    pub(crate) fn first_asked(layout: Layout) -> [Register; 3] {
        match layout {
            Layout::Amd64 => [Register(6), Register(7), Register(16)],
            Layout::I386 => [Register(5), Register(4), Register(8)],
        }
    }

    fn len(self, layout: Layout) -> Option<usize> {
        let core = |id: Option<NonZeroUsize>| id.map(NonZeroUsize::get);
        match (layout, self.0) {
            (Layout::Amd64, 0..CORE) => core(X86_64CoreRegId::from_raw_id(self.0)?.1),
            (Layout::Amd64, CORE..YMM_HIGH) => Some(8),
            (Layout::Amd64, YMM_HIGH..END) => Some(16),
            (Layout::I386, 0..NARROW_CORE) => core(X86CoreRegId::from_raw_id(self.0)?.1),
            (Layout::I386, n) if n < NARROW_YMM_HIGH => Some(4),
            (Layout::I386, n) if n < NARROW_END => Some(16),
            _ => None,
        }
    }

    /// Where it is in a [`Frame`].
    pub(crate) fn place(self, layout: Layout) -> Option<std::ops::Range<usize>> {
        let len = self.len(layout)?;
        let start = (0..self.0).map(Register).filter_map(|register| register.len(layout)).sum();
        Some(start..start + len)
    }
}

impl RegId for Register {
    fn from_raw_id(id: usize) -> Option<(Self, Option<NonZeroUsize>)> {
        // Its length depends on the layout.
        (id < END).then_some((Register(id), None))
    }

    fn to_raw_id(&self) -> Option<usize> {
        Some(self.0)
    }
}

/// The registers of one thread, in gdb's order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) layout: Layout,
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
        let (orig_rax, halves) = (self.orig_rax.to_le_bytes(), self.ymm_high.iter().flatten());
        match self.layout {
            Layout::Amd64 => {
                self.core.gdb_serialize(&mut write_byte);
                let mut write = |bytes: &[u8]| bytes.iter().for_each(|&b| write_byte(Some(b)));
                write(&self.fs_base.to_le_bytes());
                write(&self.gs_base.to_le_bytes());
                write(if HAS_ORIG_RAX { &orig_rax } else { &[] });
                halves.for_each(|half| write(&half.to_le_bytes()));
            }
            Layout::I386 => {
                self.narrow().gdb_serialize(&mut write_byte);
                let mut write = |bytes: &[u8]| bytes.iter().for_each(|&b| write_byte(Some(b)));
                write(if HAS_ORIG_RAX { &orig_rax[..4] } else { &[] });
                halves.take(8).for_each(|half| write(&half.to_le_bytes()));
            }
        }
    }

    /// The layout is known by the length. What a 32-bit one does not have is left as it is.
    fn gdb_deserialize(&mut self, bytes: &[u8]) -> Result<(), ()> {
        if bytes.len() < CORE_LEN {
            return self.deserialize_narrow(bytes);
        }
        self.layout = Layout::Amd64;
        self.core.gdb_deserialize(bytes)?;
        let mut rest = bytes.get(CORE_LEN..).unwrap_or_default();
        let mut words = [&mut self.fs_base, &mut self.gs_base, &mut self.orig_rax];
        for word in words.iter_mut().take(YMM_HIGH - CORE) {
            let (bytes, behind) = rest.split_first_chunk().ok_or(())?;
            **word = u64::from_le_bytes(*bytes);
            rest = behind;
        }
        self.ymm_high = halves(rest)?;
        Ok(())
    }
}

/// As many upper halves of YMM registers as there are; `None` if there are none.
fn halves(bytes: &[u8]) -> Result<Option<[u128; 16]>, ()> {
    let mut halves = [0; 16];
    for (half, bytes) in halves.iter_mut().zip(bytes.chunks(16)) {
        *half = u128::from_le_bytes(bytes.try_into().map_err(drop)?);
    }
    Ok((!bytes.is_empty()).then_some(halves))
}

impl Frame {
    /// All registers, one behind the other.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.gdb_serialize(|byte| bytes.push(byte.unwrap_or(0)));
        bytes
    }

    fn narrow(&self) -> X86CoreRegs {
        let core = &self.core;
        let [eax, ebx, ecx, edx, esi, edi, ebp, esp, ..] = core.regs.map(|value| value as u32);
        X86CoreRegs {
            eax,
            ecx,
            edx,
            ebx,
            esp,
            ebp,
            esi,
            edi,
            eip: core.rip as u32,
            eflags: core.eflags,
            segments: core.segments.clone(),
            st: core.st,
            fpu: core.fpu.clone(),
            xmm: std::array::from_fn(|i| core.xmm[i]),
            mxcsr: core.mxcsr,
        }
    }

    fn deserialize_narrow(&mut self, bytes: &[u8]) -> Result<(), ()> {
        let mut narrow = X86CoreRegs::default();
        narrow.gdb_deserialize(bytes)?;
        self.layout = Layout::I386;
        let X86CoreRegs { eax, ecx, edx, ebx, esp, ebp, esi, edi, eip, eflags, .. } = narrow;
        let general = [eax, ebx, ecx, edx, esi, edi, ebp, esp];
        let core = &mut self.core;
        for (register, value) in core.regs.iter_mut().zip(general) {
            *register = value.into();
        }
        (core.rip, core.eflags, core.mxcsr) = (eip.into(), eflags, narrow.mxcsr);
        (core.segments, core.st, core.fpu) = (narrow.segments, narrow.st, narrow.fpu);
        for (register, value) in core.xmm.iter_mut().zip(narrow.xmm) {
            *register = value;
        }
        let mut rest = bytes.get(NARROW_CORE_LEN..).unwrap_or_default();
        if HAS_ORIG_RAX {
            let (bytes, behind) = rest.split_first_chunk().ok_or(())?;
            self.orig_rax = i64::from(i32::from_le_bytes(*bytes)) as u64;
            rest = behind;
        }
        self.ymm_high = halves(rest)?;
        Ok(())
    }

    /// A frame that gdb has sent, with what a 32-bit one lacks as it was shown last.
    ///
    /// The result of a system call is a signed number: by it the kernel knows that a call is to be
    /// made again.
    pub(crate) fn completed(&self, shown: &Frame) -> Frame {
        if self.layout == Layout::Amd64 {
            return self.clone();
        }
        let mut frame = self.clone();
        (frame.fs_base, frame.gs_base) = (shown.fs_base, shown.gs_base);
        let (core, old) = (&mut frame.core, &shown.core);
        core.regs[8..].copy_from_slice(&old.regs[8..]);
        core.xmm[8..].copy_from_slice(&old.xmm[8..]);
        for (register, old) in core.regs.iter_mut().zip(old.regs).take(8) {
            if *register as u32 == old as u32 {
                *register = old;
            }
        }
        if core.regs[0] != old.regs[0] && frame.orig_rax as i64 >= 0 {
            core.regs[0] = i64::from(core.regs[0] as i32) as u64;
        }
        if frame.orig_rax as u32 == shown.orig_rax as u32 {
            frame.orig_rax = shown.orig_rax;
        }
        if let (Some(halves), Some(old)) = (&mut frame.ymm_high, &shown.ymm_high) {
            halves[8..].copy_from_slice(&old[8..]);
        }
        frame
    }
}
