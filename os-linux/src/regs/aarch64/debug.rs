//! Debug registers: those for instructions and those for data, each kind as one set
//! (`hw_break_set` in `arch/arm64/kernel/ptrace.c`).

use std::io;

use trapline_arch_aarch64::debug::{BREAKPOINTS, Control, POOL, WATCHPOINTS};
use trapline_core::backend::{DebugRoom, DebugSlot, DebugSlots, DebugStatus, TrapOrigin};
use trapline_core::{Error, Result, Tid};

use super::trap_origin;
use crate::decode::{int, long};
use crate::sys::{Kernel, error};

/// The registers for instructions, and those for data (`linux/elf.h`).
const NT_ARM_HW_BREAK: u32 = 0x402;
const NT_ARM_HW_WATCH: u32 = 0x403;

/// `struct user_hwdebug_state`: a header of 8 bytes, whose first is the number of registers, and 16
/// bytes for each.
const HEADER: usize = 8;
const REGISTER: usize = 16;
/// Where the control register is in one of those.
const CONTROL: usize = 8;
const LENGTH: usize = HEADER + POOL * REGISTER;

/// The two sets: which it is, and where its registers begin among all.
const SETS: [(u32, usize); 2] = [(NT_ARM_HW_BREAK, BREAKPOINTS), (NT_ARM_HW_WATCH, WATCHPOINTS)];

/// A set as the kernel takes it, with so many registers.
fn encoded(slots: &DebugSlots, first: usize, many: usize) -> Vec<u8> {
    let mut bytes = vec![0; HEADER];
    for slot in slots.iter().skip(first).take(many.min(POOL)) {
        let Control { addr, control } = slot.map_or(Control::OFF, Control::of);
        bytes.extend(addr.to_le_bytes());
        bytes.extend(u64::from(control).to_le_bytes());
    }
    bytes
}

fn own(slots: &DebugSlots, first: usize) -> &[Option<DebugSlot>] {
    slots.get(first..first + POOL).unwrap_or_default()
}

/// How many registers of a set have to be written to have all of these watched.
fn many(slots: &DebugSlots, first: usize) -> usize {
    own(slots, first).iter().rposition(Option::is_some).map_or(0, |last| last + 1)
}

/// How many registers the CPU has, none where the kernel has no support for them; and how many have
/// to be written to have none of them armed.
fn present(kernel: &Kernel, tid: Tid, set: u32) -> Result<(usize, usize)> {
    let mut bytes = [0; LENGTH];
    match kernel.register_set(tid, set, &mut bytes) {
        Ok(_) => {
            let [many, ..] = bytes;
            let controls = bytes.iter().skip(HEADER + CONTROL).step_by(REGISTER);
            let armed = controls.enumerate().filter(|(_, low)| *low & 1 != 0);
            let length = armed.map(|(index, _)| index + 1).max().unwrap_or(0);
            Ok((usize::from(many).min(POOL), length))
        }
        Err(why) if matches!(why.raw_os_error(), Some(libc::EINVAL | libc::ENODEV)) => Ok((0, 0)),
        Err(why) => Err(error("PTRACE_GETREGSET", tid.as_raw(), why)),
    }
}

/// See `Backend::debug_room`.
pub(crate) fn room(kernel: &Kernel, tid: Tid) -> Result<DebugRoom> {
    let mut slots = 0;
    for (set, first) in SETS {
        let (many, _) = present(kernel, tid, set)?;
        slots |= ((1_u32 << many) - 1) << first;
    }
    Ok(DebugRoom { slots, ..DebugRoom::ALL })
}

/// Has a thread watch `to`; see `Backend::set_watched`. A set is written as a whole.
pub(crate) fn watch(
    kernel: &Kernel,
    tid: Tid,
    from: Option<&DebugSlots>,
    to: &DebugSlots,
) -> Result<()> {
    for (at, (set, first)) in SETS.into_iter().enumerate() {
        let length = match from {
            Some(from) if own(from, first) == own(to, first) => continue,
            Some(from) => many(from, first).max(many(to, first)),
            // Whatever was left there. One that is written is taken from the CPU's, armed or not.
            None => present(kernel, tid, set)?.1.max(many(to, first)),
        };
        if length == 0 {
            continue;
        }
        let Err(why) = kernel.set_register_set(tid, set, &encoded(to, first, length)) else {
            continue;
        };
        // Back to what it was, as far as that can be.
        let none = trapline_core::backend::NO_SLOTS;
        for (set, first) in SETS.into_iter().take(at + 1) {
            let bytes = encoded(from.unwrap_or(&none), first, length);
            let _ = kernel.set_register_set(tid, set, &bytes);
        }
        return Err(explained(tid, why, to, first));
    }
    Ok(())
}

/// Why registers could not be set: `ENOSPC` if performance counters hold some, `EINVAL` for an
/// address that is none of a program's.
fn explained(tid: Tid, why: io::Error, wanted: &DebugSlots, first: usize) -> Error {
    let slots = || own(wanted, first).iter().flatten();
    match (why.raw_os_error(), slots().map(|slot| slot.addr).max()) {
        (Some(libc::ENOSPC), _) => {
            let needed = slots().count();
            Error::no_free_slot(needed, needed.saturating_sub(1))
        }
        (Some(libc::EINVAL), Some(addr)) => Error::bad_address(addr),
        _ => error("PTRACE_SETREGSET", tid.as_raw(), why),
    }
}

/// What the stop that a thread is at says.
pub(crate) fn take_status(kernel: &Kernel, tid: Tid) -> Result<DebugStatus> {
    let info = kernel.siginfo(tid)?;
    let origin = (int(&info, 0) == libc::SIGTRAP).then(|| trap_origin(&info));
    Ok(DebugStatus {
        hits: 0,
        single_step: origin == Some(TrapOrigin::Step),
        address: (origin == Some(TrapOrigin::Hardware)).then(|| long(&info, 16)),
    })
}

#[cfg(test)]
mod tests {
    use trapline_core::backend::{DebugKind, NO_SLOTS};

    use super::*;

    #[test]
    fn a_set_is_as_long_as_it_has_to_be() {
        let mut slots = NO_SLOTS;
        slots[WATCHPOINTS + 1] = Some(DebugSlot { addr: 0x1004, len: 4, kind: DebugKind::Write });
        assert_eq!((many(&slots, BREAKPOINTS), many(&slots, WATCHPOINTS)), (0, 2));
        let bytes = encoded(&slots, WATCHPOINTS, 2);
        assert_eq!(bytes.len(), HEADER + 2 * REGISTER);
        assert_eq!(bytes[..HEADER + REGISTER], [0; HEADER + REGISTER]);
        assert_eq!(bytes[HEADER + REGISTER..][..8], 0x1000_u64.to_le_bytes());
        assert_eq!(bytes[HEADER + REGISTER + 8..][..4], 0x1e15_u32.to_le_bytes());
    }
}
