//! Debug registers: what a CPU does with them, and what the kernels do.

mod accesses;

use trapline_core::backend::{
    DebugKind, DebugSlot, DebugSlots, DebugStatus, NO_SLOTS, RawReason, Run, Thread, TrapOrigin,
};
use trapline_core::{Error, Pid, Result, Signal, Tid};

use crate::arch::SLOTS;
use crate::model::{Model, State};

/// The registers that are in use, bit 0 for the first.
fn used(slots: &DebugSlots) -> u32 {
    changed(slots, &NO_SLOTS)
}

/// The registers in which two sets differ.
fn changed(one: &DebugSlots, other: &DebugSlots) -> u32 {
    let pairs = one.iter().zip(other).enumerate();
    pairs.map(|(index, (one, other))| u32::from(one != other) << index).sum()
}

/// The debug registers of a thread.
#[derive(Debug, Clone, Hash)]
pub(crate) struct DebugRegisters {
    pub(crate) slots: DebugSlots,
    /// Addresses of registers that were disabled stay there, and the CPU says if they match.
    left: DebugSlots,
    /// What the CPU has noted since it was cleared.
    hits: u32,
    single_step: bool,
    /// A trap that another stop came before.
    pub(crate) pending: Option<TrapOrigin>,
    /// What the next instruction does, if the thread is stepped over it.
    next: Option<Access>,
    /// What it writes.
    value: Option<(u64, Vec<u8>)>,
    /// What the CPU has stopped before, if it does that.
    before: Option<u64>,
}

type Access = (DebugKind, u64, u64);

impl Default for DebugRegisters {
    fn default() -> Self {
        DebugRegisters {
            slots: NO_SLOTS,
            left: NO_SLOTS,
            hits: 0,
            single_step: false,
            pending: None,
            next: None,
            value: None,
            before: None,
        }
    }
}

impl DebugRegisters {
    /// What a new task starts with whose creator has these: a kernel that does not copy what is
    /// watched copies the rest.
    pub(crate) fn inherited(&self, copied: bool) -> Self {
        let slots = if copied { self.slots } else { NO_SLOTS };
        DebugRegisters {
            slots,
            pending: None,
            next: None,
            value: None,
            before: None,
            ..self.clone()
        }
    }

    /// Notes an access; says whether an enabled register has it.
    fn note(&mut self, (kind, addr, len): Access) -> bool {
        let overlaps = |slot: &DebugSlot| {
            let kinds = match slot.kind {
                DebugKind::ReadWrite => kind != DebugKind::Execute,
                watched => watched == kind,
            };
            kinds && slot.addr < addr + len && addr < slot.addr + u64::from(slot.len)
        };
        let bits = |slots: &DebugSlots| {
            let hit = |(i, slot): (usize, &Option<DebugSlot>)| {
                slot.as_ref().is_some_and(overlaps).then_some(1_u32 << i)
            };
            slots.iter().enumerate().filter_map(hit).sum::<u32>()
        };
        let enabled = bits(&self.slots);
        if enabled != 0 {
            self.hits |= enabled | bits(&self.left);
        }
        enabled != 0
    }

    /// Its thread is somewhere else, and does not do what it was about to.
    pub(crate) fn is_moved(&mut self, moved: bool) {
        if moved && self.before.is_some() {
            (self.next, self.value) = (None, None);
        }
    }

    /// Whether the trap of a debug register has yet to be looked at.
    pub(crate) fn has_hits(&self) -> bool {
        self.hits & used(&self.slots) != 0 || self.hits & used(&self.left) != 0
    }
}

impl Model {
    /// Where the kernel says that a debug register's trap comes from.
    fn hit_origin(&self, stepped: bool) -> TrapOrigin {
        match stepped || self.by_process() {
            true => TrapOrigin::Step, // TRAP_TRACE
            false => TrapOrigin::Hardware,
        }
    }

    /// A thread does something; says whether it trapped.
    pub(crate) fn access(&mut self, tid: Tid, access: Access, stepped: bool) -> bool {
        if self.rules.hits_before {
            return self.is_stopped_before(tid, access);
        }
        self.write_value(tid);
        let Some(task) = self.tasks.get_mut(&tid) else { return false };
        if access.0 == DebugKind::Execute {
            task.registers.pc = access.1;
            if std::mem::take(&mut task.registers.resumes) {
                return false;
            }
        }
        if !task.debug.note(access) {
            return false;
        }
        task.debug.single_step |= stepped;
        if access.0 == DebugKind::Execute && self.rules.passes_breakpoints {
            task.registers.resumes = true;
        }
        let traced = task.setup.is_some();
        if traced {
            self.stop_for(tid, Signal::TRAP, self.hit_origin(stepped));
        } else {
            self.deliver(tid, Signal::TRAP);
        }
        true
    }

    /// The same on a CPU that stops before what it watches: then it has yet to be done.
    fn is_stopped_before(&mut self, tid: Tid, access: Access) -> bool {
        let Some(task) = self.tasks.get_mut(&tid) else { return false };
        let (kind, addr, len) = access;
        if kind == DebugKind::Execute {
            task.registers.pc = addr;
        }
        if !task.debug.note(access) {
            task.registers.accesses = None;
            self.write_value(tid);
            return false;
        }
        let is_data = kind != DebugKind::Execute;
        task.registers.accesses = is_data.then_some((addr, len, kind == DebugKind::Write));
        (task.debug.next, task.debug.before) = (Some(access), Some(addr));
        match task.setup.is_some() {
            true => self.stop_for(tid, Signal::TRAP, TrapOrigin::Hardware),
            false => self.deliver(tid, Signal::TRAP),
        }
        true
    }

    /// What a thread was stopped before, it does when it runs on; says whether it trapped.
    pub(crate) fn does_at_last(&mut self, tid: Tid) -> bool {
        if !self.rules.hits_before || self.instruction(tid).is_some() {
            return false;
        }
        let next = self.tasks.get_mut(&tid).and_then(|task| task.debug.next.take());
        next.is_some_and(|access| self.access(tid, access, false))
    }

    fn write_value(&mut self, tid: Tid) {
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        let Some((addr, value)) = task.debug.value.take() else { return };
        if let Some(process) = self.processes.get(&task.pid) {
            self.memory.map(process.memory, addr, &value);
        }
    }

    /// A stepped thread runs its next instruction.
    pub(crate) fn step(&mut self, tid: Tid) {
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        task.registers.resumes = false;
        if let Some(access) = task.debug.next.take() {
            if self.access(tid, access, true) {
                return;
            }
        }
        if let Some(task) = self.tasks.get_mut(&tid) {
            task.debug.single_step = true;
        }
        self.stop_for(tid, Signal::TRAP, TrapOrigin::Step);
    }

    /// An interrupt comes before the trap that a thread is about to report.
    fn overtake(&mut self, tid: Tid) -> bool {
        let Some(task) = self.tasks.get_mut(&tid) else { return false };
        let State::Stopped(stop) = &task.state else { return false };
        let trap = matches!(stop.reason, RawReason::Signal { signal: Signal::TRAP, .. });
        if !trap || stop.reported {
            return false;
        }
        task.debug.pending = Some(stop.origin);
        self.stop(tid, RawReason::Paused);
        true
    }

    pub(crate) fn watch(
        &mut self,
        thread: Thread,
        from: Option<&DebugSlots>,
        to: &DebugSlots,
    ) -> Result<()> {
        let reserved = self.reserved_slots;
        let longest = self.longest_watch(thread.pid);
        let too_long = to.iter().flatten().any(|slot| slot.len > longest);
        let fails = self.unwatchable.contains(&thread.tid) || too_long;
        let task = self.stopped(thread, "watch")?;
        let free = SLOTS.saturating_sub(reserved);
        // Of one pool, where there are several.
        let pools = [used(to) & ((1 << SLOTS) - 1), used(to) >> SLOTS];
        let needed = pools.map(u32::count_ones).into_iter().max().unwrap_or(0) as usize;
        if needed > free {
            return Err(Error::no_free_slot(needed, free));
        }
        if fails && needed > 0 {
            let source = std::io::ErrorKind::InvalidInput.into();
            return Err(Error::os("watch", thread.tid.as_raw(), source));
        }
        let debug = &mut task.debug;
        let wrong = from.is_some_and(|from| *from != debug.slots);
        let gone = changed(&debug.slots, to);
        for (index, (left, slot)) in debug.left.iter_mut().zip(debug.slots).enumerate() {
            if to.get(index).is_some_and(Option::is_some) {
                *left = None; // its address is another one now
            } else if gone >> index & 1 != 0 && slot.is_some() {
                *left = slot;
            }
        }
        debug.slots = *to;
        if from.is_none() {
            (debug.hits, debug.single_step) = (0, false);
        }
        if wrong {
            self.violation(format!("thread {} does not watch {from:?}", thread.tid));
        }
        Ok(())
    }

    pub(crate) fn take_debug_status(&mut self, thread: Thread) -> Result<DebugStatus> {
        let before = self.rules.hits_before;
        let task = self.stopped(thread, "debug status")?;
        if before {
            // It is all in what the stop is for.
            let State::Stopped(stop) = &task.state else { return Ok(DebugStatus::default()) };
            let traps = matches!(stop.reason, RawReason::Signal { signal: Signal::TRAP, .. });
            let single_step = traps && stop.origin == TrapOrigin::Step;
            let hit = traps && stop.origin == TrapOrigin::Hardware;
            let address = task.debug.before.filter(|_| hit);
            return Ok(DebugStatus { hits: 0, single_step, address });
        }
        let debug = &mut task.debug;
        let status =
            DebugStatus { hits: debug.hits, single_step: debug.single_step, address: None };
        (debug.hits, debug.single_step) = (0, false);
        Ok(status)
    }
}
impl Model {
    /// Whether a resumed thread has a trap to report first.
    pub(crate) fn take_pending_trap(&mut self, tid: Tid) -> Option<TrapOrigin> {
        self.tasks.get_mut(&tid)?.debug.pending.take()
    }

    /// How many bytes one register can watch in a process.
    pub(crate) fn longest_watch(&self, pid: Pid) -> u8 {
        match self.narrow.contains(&pid) {
            true => self.rules.longest_narrow_watch,
            false => 8,
        }
    }

    /// Whether a thread is to run one instruction.
    pub(crate) fn is_stepped(&self, tid: Tid) -> bool {
        self.tasks.get(&tid).is_some_and(|task| task.run == Run::Step && !task.suspended)
    }
}
