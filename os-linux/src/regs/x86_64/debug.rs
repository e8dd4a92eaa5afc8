//! Debug registers, one by one: `PTRACE_POKEUSER` into `struct user`
//! (`ptrace_set_debugreg` in `arch/x86/kernel/ptrace.c`).

use std::io;

use trapline_arch_x86_64::debug::{Dr6, Dr7, SLOTS, SlotSet};
use trapline_core::backend::{DebugRoom, DebugSlots, DebugStatus};
use trapline_core::{Error, Result, Tid};

use crate::sys::{Kernel, error};

/// The numbers of the status and the control register.
const DR6: usize = 6;
const DR7: usize = 7;

/// Has a thread watch `to`; see `Backend::set_watched`.
///
/// Each address is checked against the length that stands in DR7 at that moment, and what is
/// enabled before it has its address is armed at address 0. So: disable what changes, set the
/// addresses, enable. A register that was free needs no disabling.
pub(crate) fn watch(
    kernel: &Kernel,
    tid: Tid,
    from: Option<&DebugSlots>,
    to: &DebugSlots,
) -> Result<()> {
    let control = |slots: &DebugSlots| {
        Dr7::of_portable(slots).map_err(|wrong| refused(tid, io::Error::other(wrong)))
    };
    let after = control(to)?;
    let Some(from) = from else { return watch_anew(kernel, tid, to, after) };
    let before = control(from)?;
    let changed = SlotSet::changed(from, to);
    let freed = before.without(changed);
    let step = || {
        let set = |index: usize| changed.contains(index).then_some(to.get(index).copied()??.addr);
        if freed != before && freed != after {
            kernel.set_debug_register(tid, DR7, freed.as_raw())?;
        }
        for index in 0..SLOTS {
            if let Some(addr) = set(index) {
                kernel.set_debug_register(tid, index, addr)?;
            }
        }
        if freed == before && after == before {
            return Ok(());
        }
        kernel.set_debug_register(tid, DR7, after.as_raw())
    };
    let result: io::Result<()> = step();
    let Err(why) = result else { return Ok(()) };
    // Back to what it was, in the same order. What cannot be undone is gone, too.
    let _ = kernel.set_debug_register(tid, DR7, freed.as_raw());
    for (index, slot) in from.iter().enumerate() {
        if let Some(slot) = slot.filter(|_| changed.contains(index)) {
            let _ = kernel.set_debug_register(tid, index, slot.addr);
        }
    }
    let _ = kernel.set_debug_register(tid, DR7, before.as_raw());
    Err(explained(kernel, tid, why, to))
}

/// The same where it is not known what is there. A new task reads back its creator's DR6 and DR7,
/// though it is not armed, and a tracer before us may have left both.
fn watch_anew(kernel: &Kernel, tid: Tid, to: &DebugSlots, after: Dr7) -> Result<()> {
    let step = || {
        kernel.set_debug_register(tid, DR7, Dr7::CLEAR.as_raw())?;
        kernel.set_debug_register(tid, DR6, Dr6::CLEAR.as_raw())?;
        for (index, slot) in to.iter().enumerate() {
            if let Some(slot) = slot {
                kernel.set_debug_register(tid, index, slot.addr)?;
            }
        }
        if after != Dr7::CLEAR {
            kernel.set_debug_register(tid, DR7, after.as_raw())?;
        }
        Ok(())
    };
    let result: io::Result<()> = step();
    result.map_err(|why| {
        let _ = kernel.set_debug_register(tid, DR7, Dr7::CLEAR.as_raw());
        explained(kernel, tid, why, to)
    })
}

/// See `Backend::debug_room`: every CPU has all, and the kernel checks an address by the length alone,
/// whatever the program (`hw_breakpoint_arch_parse` in `arch/x86/kernel/hw_breakpoint.c`).
pub(crate) fn room(_: &Kernel, _: Tid) -> Result<DebugRoom> {
    Ok(DebugRoom::ALL)
}

/// What has happened, which is cleared with it.
pub(crate) fn take_status(kernel: &Kernel, tid: Tid) -> Result<DebugStatus> {
    let raw = kernel
        .debug_register(tid, DR6)
        .map_err(|why| error("PTRACE_PEEKUSER", tid.as_raw(), why))?;
    let dr6 = Dr6::from_raw(raw).normalised();
    if dr6 != Dr6::CLEAR {
        kernel
            .set_debug_register(tid, DR6, Dr6::CLEAR.as_raw())
            .map_err(|why| error("PTRACE_POKEUSER", tid.as_raw(), why))?;
    }
    Ok(dr6.into())
}

fn refused(tid: Tid, why: io::Error) -> Error {
    error("PTRACE_POKEUSER", tid.as_raw(), why)
}

/// Why registers could not be set: `ENOSPC` if performance counters hold some, `EINVAL` for the
/// last page of the user's half, where nothing is ever mapped.
fn explained(kernel: &Kernel, tid: Tid, why: io::Error, wanted: &DebugSlots) -> Error {
    const LAST_PAGE: u64 = (1 << 47) - 4096;
    match why.raw_os_error() {
        Some(libc::ENOSPC) => {
            let needed = wanted.iter().flatten().count();
            // Those that the kernel did take keep their register, though disabled.
            let reads = |index| kernel.debug_register(tid, index).is_ok_and(|addr| addr != 0);
            let taken = (0..SLOTS).filter(|&index| reads(index)).count();
            Error::no_free_slot(needed, taken.min(needed.saturating_sub(1)))
        }
        Some(libc::EINVAL) => match wanted.iter().flatten().find(|slot| slot.addr >= LAST_PAGE) {
            Some(slot) => Error::bad_address(slot.addr),
            None => refused(tid, why),
        },
        _ => refused(tid, why),
    }
}
