//! Sets of registers beside the general ones (`linux/elf.h`, `asm/ptrace.h`).

use std::io;

use trapline_arch_aarch64::{ExtendedState, FpRegisters, PointerMasks, SveState};
use trapline_core::{Result, Tid};

use crate::sys::{Kernel, error};

use super::narrow;

/// V0 to V31, FPSR and FPCR.
const NT_FPREGSET: u32 = 2;
/// What 32-bit programs have instead.
const NT_ARM_VFP: u32 = 0x400;
/// The thread pointer.
const NT_ARM_TLS: u32 = 0x401;
/// The number of the system call.
const NT_ARM_SYSTEM_CALL: u32 = 0x404;
/// The scalable vectors.
const NT_ARM_SVE: u32 = 0x405;
/// The masks of pointer authentication.
const NT_ARM_PAC_MASK: u32 = 0x406;

/// `struct user_fpsimd_state`.
const FP_LENGTH: usize = 32 * 16 + 4 + 4 + 8;
/// More than the longest vectors take: 2048 bits, with what belongs to them.
const SVE_LENGTH: usize = 16 << 10;

fn failed(tid: Tid, setting: bool, why: io::Error) -> trapline_core::Error {
    error(if setting { "PTRACE_SETREGSET" } else { "PTRACE_GETREGSET" }, tid.as_raw(), why)
}

/// A set that not every CPU and kernel has.
fn optional(kernel: &Kernel, tid: Tid, set: u32, area: &mut [u8]) -> Result<Option<usize>> {
    match kernel.register_set(tid, set, area) {
        Ok(length) => Ok(Some(length)),
        Err(why) if matches!(why.raw_os_error(), Some(libc::EINVAL | libc::ENODEV)) => Ok(None),
        Err(why) => Err(failed(tid, false, why)),
    }
}

/// The floating-point registers.
pub(crate) fn fp_registers(kernel: &Kernel, tid: Tid) -> Result<FpRegisters> {
    let mut bytes = [0; FP_LENGTH];
    if optional(kernel, tid, NT_FPREGSET, &mut bytes)?.is_none() {
        kernel
            .register_set(tid, NT_ARM_VFP, &mut bytes[..narrow::FP_LENGTH])
            .map_err(|why| failed(tid, false, why))?;
        return Ok(narrow::widened_fp(&bytes));
    }
    let (vectors, rest) = bytes.split_at(32 * 16);
    let mut registers = FpRegisters::default();
    for (register, bytes) in registers.v.iter_mut().zip(vectors.chunks_exact(16)) {
        *register = u128::from_le_bytes(bytes.try_into().unwrap_or_default());
    }
    let word = |at: usize| {
        let bytes = rest.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u32::from_le_bytes)
    };
    (registers.fpsr, registers.fpcr) = (word(0), word(4));
    Ok(registers)
}

/// Sets the floating-point registers.
pub(crate) fn set_fp_registers(kernel: &Kernel, tid: Tid, registers: &FpRegisters) -> Result<()> {
    if optional(kernel, tid, NT_FPREGSET, &mut [0; FP_LENGTH])?.is_none() {
        return kernel
            .set_register_set(tid, NT_ARM_VFP, &narrow::narrowed_fp(registers))
            .map_err(|why| failed(tid, true, why));
    }
    let mut bytes = Vec::with_capacity(FP_LENGTH);
    for register in registers.v {
        bytes.extend(register.to_le_bytes());
    }
    bytes.extend(registers.fpsr.to_le_bytes());
    bytes.extend(registers.fpcr.to_le_bytes());
    bytes.resize(FP_LENGTH, 0);
    kernel.set_register_set(tid, NT_FPREGSET, &bytes).map_err(|why| failed(tid, true, why))
}

/// What there is beside.
pub(crate) fn extended_state(kernel: &Kernel, tid: Tid) -> Result<ExtendedState> {
    let mut word = [0; 8];
    let mut state = ExtendedState { syscall: -1, ..ExtendedState::default() };
    if optional(kernel, tid, NT_ARM_TLS, &mut word)?.is_some() {
        state.thread_pointer = u64::from_le_bytes(word);
    }
    if let Some(number) = raw_syscall_number(kernel, tid)? {
        state.syscall = number;
    }
    let mut masks = [0; 16];
    if optional(kernel, tid, NT_ARM_PAC_MASK, &mut masks)?.is_some() {
        let (data, instruction) = masks.split_at(8);
        let mask = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_le_bytes);
        state.pointer_masks =
            Some(PointerMasks { data: mask(data), instruction: mask(instruction) });
    }
    let mut area = vec![0; SVE_LENGTH];
    if let Some(length) = optional(kernel, tid, NT_ARM_SVE, &mut area)? {
        area.truncate(length);
        state.sve = SveState::from_bytes(area);
    }
    Ok(state)
}

/// Sets it. The masks are the kernel's own.
pub(crate) fn set_extended_state(kernel: &Kernel, tid: Tid, state: &ExtendedState) -> Result<()> {
    let set = |set, bytes: &[u8]| {
        kernel.set_register_set(tid, set, bytes).map_err(|why| failed(tid, true, why))
    };
    set(NT_ARM_TLS, &state.thread_pointer.to_le_bytes())?;
    if raw_syscall_number(kernel, tid)?.is_some_and(|number| number != state.syscall) {
        set(NT_ARM_SYSTEM_CALL, &state.syscall.to_le_bytes())?;
    }
    match &state.sve {
        Some(sve) => set(NT_ARM_SVE, sve.as_bytes()),
        None => Ok(()),
    }
}

/// What a function may change beside the general registers.
#[derive(Debug)]
pub(crate) struct Extended {
    floats: FpRegisters,
    /// They have the others in them.
    vectors: Option<SveState>,
}

/// That of a thread.
pub(crate) fn all_extended(kernel: &Kernel, tid: Tid) -> Result<Extended> {
    let vectors = extended_state(kernel, tid)?.sve;
    Ok(Extended { floats: fp_registers(kernel, tid)?, vectors })
}

/// Sets it.
pub(crate) fn set_all_extended(kernel: &Kernel, tid: Tid, state: &Extended) -> Result<()> {
    match &state.vectors {
        Some(vectors) => kernel
            .set_register_set(tid, NT_ARM_SVE, vectors.as_bytes())
            .map_err(|why| failed(tid, true, why)),
        None => set_fp_registers(kernel, tid, &state.floats),
    }
}

/// Sets the number of the system call that a thread is in; -1 for none.
pub(crate) fn set_syscall_number(kernel: &Kernel, tid: Tid, number: i32) -> Result<()> {
    kernel
        .set_register_set(tid, NT_ARM_SYSTEM_CALL, &number.to_le_bytes())
        .map_err(|why| failed(tid, true, why))
}

pub(super) fn raw_syscall_number(kernel: &Kernel, tid: Tid) -> Result<Option<i32>> {
    let mut number = [0; 4];
    let length = optional(kernel, tid, NT_ARM_SYSTEM_CALL, &mut number)?;
    Ok(length.map(|_| i32::from_le_bytes(number)))
}

/// The number of the system call that a thread is in, if it is in one.
pub(crate) fn syscall_number(kernel: &Kernel, tid: Tid) -> Result<Option<u64>> {
    Ok(raw_syscall_number(kernel, tid)?.and_then(|number| u64::try_from(number).ok()))
}
