//! Debug registers: the whole set of an LWP at once.

use trapline_arch_x86_64::debug::{Dr6, Dr7, SLOTS};
use trapline_core::backend::{DebugRoom, DebugSlots, DebugStatus, Thread};
use trapline_core::{CodeMode, Error, Result};

use super::code_mode;
use crate::system::FreeBsd;
use crate::tracee::DebugRegisters;

/// The numbers of the status and the control register.
const DR6: usize = 6;
const DR7: usize = 7;
/// DR6: B0 to B3.
const HITS: u64 = 0xf;

/// How many bytes one register can watch, and in 32-bit code (`set_dbregs` in
/// `sys/amd64/amd64/exec_machdep.c`).
const LONGEST: u8 = 8;
const LONGEST_NARROW: u8 = 4;

impl FreeBsd {
    /// See `Backend::set_watched`. All at once: a set that the kernel refuses changes nothing.
    ///
    /// What is known to be there is read first, for DR6 must not be lost: a trap of this LWP may
    /// wait for its turn to be reported.
    pub(crate) fn watch_slots(
        &mut self,
        thread: Thread,
        from: Option<&DebugSlots>,
        to: &DebugSlots,
    ) -> Result<()> {
        let dr7 = Dr7::of_portable(to).map_err(|wrong| {
            Error::os("PT_SETDBREGS", thread.tid.as_raw(), std::io::Error::other(wrong))
        })?;
        self.settle(thread);
        let mut values = match from {
            Some(_) => self.settled_registers(thread)?,
            None => [0; 8],
        };
        if from.is_none() {
            values[DR6] = Dr6::CLEAR.as_raw();
        }
        for (value, slot) in values.iter_mut().zip(to).take(SLOTS) {
            *value = slot.map_or(0, |slot| slot.addr);
        }
        values[DR7] = dr7.as_raw();
        if let Some(tracee) = self.tracees.get_mut(&thread.pid.as_raw()) {
            tracee.debug = DebugRegisters::Set;
        }
        self.set_settled_registers(thread, values)
    }

    /// See `Backend::take_debug_status`. The kernel never clears DR6.
    pub(crate) fn take_status(&mut self, thread: Thread) -> Result<DebugStatus> {
        let mut values = self.debug_registers(thread)?;
        let dr6 = Dr6::from_raw(values[DR6]).normalised();
        if dr6 != Dr6::CLEAR {
            values[DR6] = Dr6::CLEAR.as_raw();
            self.set_settled_registers(thread, values)?;
        }
        Ok(dr6.into())
    }

    /// See `Backend::debug_room`.
    pub(crate) fn debug_room_of(&mut self, thread: Thread) -> Result<DebugRoom> {
        let result = self.kernel.registers(thread.tid.as_raw());
        let registers = self.checked("PT_GETREGS", thread, result)?;
        let longest = match code_mode(registers.r_cs as u64) {
            CodeMode::Bits64 => LONGEST,
            CodeMode::Bits32 | CodeMode::Bits16 => LONGEST_NARROW,
        };
        Ok(DebugRoom { longest, ..DebugRoom::ALL })
    }

    /// Whether a debug register has trapped.
    pub(crate) fn hit_debug_register(&mut self, thread: Thread) -> bool {
        self.debug_registers(thread).is_ok_and(|registers| registers[DR6] & HITS != 0)
    }

    /// The same, of an LWP that is being detached: nothing is left in its registers then.
    pub(crate) fn take_debug_hit(&mut self, thread: Thread) -> bool {
        let hit = self.hit_debug_register(thread);
        if hit {
            let _ = self.set_debug_registers(thread, [0; 8]);
        }
        hit
    }

    fn settled_registers(&mut self, thread: Thread) -> Result<[u64; 8]> {
        let result = self.kernel.debug_registers(thread.tid.as_raw());
        self.checked("PT_GETDBREGS", thread, result)
    }

    fn set_settled_registers(&mut self, thread: Thread, values: [u64; 8]) -> Result<()> {
        let result = self.kernel.set_debug_registers(thread.tid.as_raw(), values);
        self.checked("PT_SETDBREGS", thread, result)
    }

    /// DR0 to DR7 of a stopped thread; DR4 and DR5 are zero, as are all before the first write.
    ///
    /// # Errors
    ///
    /// [`Error::Gone`], [`Error::NotStopped`].
    ///
    /// # References
    ///
    /// `ptrace(2)`, PT_GETDBREGS
    pub fn debug_registers(&mut self, thread: Thread) -> Result<[u64; 8]> {
        self.settle(thread);
        self.settled_registers(thread)
    }

    /// Sets DR0 to DR7 of a stopped thread, all or none of them.
    ///
    /// # Errors
    ///
    /// As above, and [`Error::Os`] with `EINVAL` for I/O breakpoints, enabled kernel addresses and
    /// bits of DR7 above 31. Other nonsense is *not* refused: a misaligned address, a length that
    /// no execute breakpoint has, the general-detect bit.
    ///
    /// # References
    ///
    /// `ptrace(2)`, PT_SETDBREGS; `set_dbregs` in `sys/amd64/amd64/exec_machdep.c`
    pub fn set_debug_registers(&mut self, thread: Thread, values: [u64; 8]) -> Result<()> {
        self.settle(thread);
        self.set_settled_registers(thread, values)
    }
}
