//! Between trapline's registers and gdb's.

use gdbstub_arch::x86::reg::{X86_64CoreRegs, X86SegmentRegs, X87FpuInternalRegs};
use trapline::x86_64::{ExtendedState, FpRegisters, RFlags, Registers};

use super::amd64::{Frame, Layout};
use super::x87;

/// The x87, SSE and AVX registers, as far as the CPU has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Vectors {
    Extended(ExtendedState),
    /// On a CPU without XSAVE.
    Fp(Box<FpRegisters>),
}

impl Vectors {
    fn fp(&self) -> FpRegisters {
        match self {
            Vectors::Extended(state) => state.fp_registers(),
            Vectors::Fp(fp) => FpRegisters::clone(fp),
        }
    }

    fn ymm_high(&self) -> Option<[u128; 16]> {
        let Vectors::Extended(state) = self else { return None };
        let mut halves = [0; 16];
        for (i, half) in halves.iter_mut().enumerate() {
            let ymm = state.ymm(i)?;
            *half = u128::from_le_bytes(*ymm.last_chunk()?);
        }
        Some(halves)
    }
}

/// What gdb is shown.
pub(crate) fn to_gdb(general: &Registers, vectors: &Vectors, layout: Layout) -> Frame {
    let g = general;
    let fp = vectors.fp();
    let short = |value: u64| value as u32;
    Frame {
        layout,
        core: X86_64CoreRegs {
            regs: [
                g.rax, g.rbx, g.rcx, g.rdx, g.rsi, g.rdi, g.rbp, g.rsp, g.r8, g.r9, g.r10, g.r11,
                g.r12, g.r13, g.r14, g.r15,
            ],
            eflags: short(g.rflags),
            rip: g.rip,
            segments: X86SegmentRegs {
                cs: short(g.cs),
                ss: short(g.ss),
                ds: short(g.ds),
                es: short(g.es),
                fs: short(g.fs),
                gs: short(g.gs),
            },
            st: fp.st.map(|register| std::array::from_fn(|i| register[i])),
            fpu: X87FpuInternalRegs {
                fctrl: fp.fcw.into(),
                fstat: fp.fsw.into(),
                ftag: x87::full(fp.ftw, fp.fsw, &fp.st).into(),
                fiseg: (fp.fip >> 32) as u16 as u32,
                fioff: fp.fip as u32,
                foseg: (fp.fdp >> 32) as u16 as u32,
                fooff: fp.fdp as u32,
                fop: (fp.fop & 0x7ff).into(),
            },
            xmm: fp.xmm,
            mxcsr: fp.mxcsr,
        },
        fs_base: g.fs_base,
        gs_base: g.gs_base,
        orig_rax: g.orig_rax,
        ymm_high: vectors.ymm_high(),
    }
}

/// The general registers that gdb wants, made of those that the thread had.
pub(crate) fn general(frame: &Frame, before: &Registers) -> Registers {
    let [rax, rbx, rcx, rdx, rsi, rdi, rbp, rsp, r8, r9, r10, r11, r12, r13, r14, r15] =
        frame.core.regs;
    let segments = &frame.core.segments;
    let mut rflags = u64::from(frame.core.eflags);
    if frame.core.rip != before.rip {
        // RF belongs to the instruction that the thread stood at.
        rflags &= !RFlags::RF.bits();
    }
    Registers {
        rax,
        rbx,
        rcx,
        rdx,
        rsi,
        rdi,
        rbp,
        rsp,
        r8,
        r9,
        r10,
        r11,
        r12,
        r13,
        r14,
        r15,
        rip: frame.core.rip,
        rflags,
        cs: segments.cs.into(),
        ss: segments.ss.into(),
        ds: segments.ds.into(),
        es: segments.es.into(),
        fs: segments.fs.into(),
        gs: segments.gs.into(),
        fs_base: frame.fs_base,
        gs_base: frame.gs_base,
        orig_rax: if super::amd64::HAS_ORIG_RAX { frame.orig_rax } else { before.orig_rax },
    }
}

/// The x87, SSE and AVX registers that gdb wants, made of those that the thread had. `shown` is
/// what gdb was shown of them: what it did not change stays as it was, bit by bit.
pub(crate) fn vectors(frame: &Frame, shown: &Frame, before: &Vectors) -> Vectors {
    let mut after = before.clone();
    let (new, old) = (&frame.core, &shown.core);
    if (&new.st, &new.fpu, &new.xmm, new.mxcsr) != (&old.st, &old.fpu, &old.xmm, old.mxcsr) {
        let mut fp = before.fp();
        for (to, from) in fp.st.iter_mut().zip(&new.st) {
            to[..10].copy_from_slice(from);
        }
        if new.fpu != old.fpu {
            fp.fcw = new.fpu.fctrl as u16;
            fp.fsw = new.fpu.fstat as u16;
            fp.ftw = x87::abridged(new.fpu.ftag as u16);
            fp.fop = new.fpu.fop as u16;
            fp.fip = u64::from(new.fpu.fiseg) << 32 | u64::from(new.fpu.fioff);
            fp.fdp = u64::from(new.fpu.foseg) << 32 | u64::from(new.fpu.fooff);
        }
        fp.xmm = new.xmm;
        fp.mxcsr = new.mxcsr;
        match &mut after {
            Vectors::Extended(state) => state.set_fp_registers(&fp),
            Vectors::Fp(to) => **to = fp,
        }
    }
    if let (Vectors::Extended(state), Some(halves)) = (&mut after, frame.ymm_high) {
        if frame.ymm_high != shown.ymm_high {
            for (i, (half, low)) in halves.iter().zip(new.xmm).enumerate() {
                let mut ymm = [0; 32];
                ymm[..16].copy_from_slice(&low.to_le_bytes());
                ymm[16..].copy_from_slice(&half.to_le_bytes());
                // There is one, since gdb was shown it.
                let _ = state.set_ymm(i, &ymm);
            }
        }
    }
    after
}
