//! Debug registers: what a CPU does with them, and what the kernels do.

use trapline_core::backend::{
    DebugKind, DebugSlot, DebugSlots, DebugStatus, NO_SLOTS, RawReason, Run, Thread, TrapOrigin,
};
use trapline_core::{Error, Pid, Result, Signal, Tid};

use crate::arch::SLOTS;
use crate::kernel::Kernel;
use crate::model::{Model, State};
use crate::rules::Rules;

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

impl<R: Rules> Kernel<R> {
    /// A thread writes memory; says whether it trapped.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// let main = kernel.leader(pid);
    /// assert!(!kernel.store(main, 0x1000, 8), "nothing is watched");
    /// # let _ = pid;
    /// ```
    pub fn store(&self, tid: Tid, addr: u64, len: u64) -> bool {
        self.acting(tid, "write").access(tid, (DebugKind::Write, addr, len), false)
    }

    /// A thread writes a value, which is then there.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// let main = kernel.leader(pid);
    /// kernel.map(pid, 0x1000, &[0; 8]);
    /// kernel.store_value(main, 0x1000, b"new");
    /// ```
    pub fn store_value(&self, tid: Tid, addr: u64, value: &[u8]) -> bool {
        if let Some(task) = self.acting(tid, "write").tasks.get_mut(&tid) {
            task.debug.value = Some((addr, value.to_vec()));
        }
        self.store(tid, addr, value.len() as u64)
    }

    /// A thread reads memory; says whether it trapped.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// let main = kernel.leader(pid);
    /// assert!(!kernel.load(main, 0x1000, 8), "nothing is watched");
    /// # let _ = pid;
    /// ```
    pub fn load(&self, tid: Tid, addr: u64, len: u64) -> bool {
        self.acting(tid, "read").access(tid, (DebugKind::ReadWrite, addr, len), false)
    }

    /// A thread comes to an instruction, and executes it unless a breakpoint is there; says
    /// whether it trapped.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// let main = kernel.leader(pid);
    /// assert!(!kernel.fetch(main, 0x1000), "there is no breakpoint");
    /// # let _ = pid;
    /// ```
    pub fn fetch(&self, tid: Tid, addr: u64) -> bool {
        self.acting(tid, "execute").access(tid, (DebugKind::Execute, addr, 1), false)
    }

    /// The next instruction that a thread is stepped over writes memory.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// let main = kernel.leader(pid);
    /// kernel.store_when_stepped(main, 0x1000, 8);
    /// # let _ = pid;
    /// ```
    pub fn store_when_stepped(&self, tid: Tid, addr: u64, len: u64) {
        if let Some(task) = self.model().tasks.get_mut(&tid) {
            task.debug.next = Some((DebugKind::Write, addr, len));
        }
    }

    /// The program's own trap flag is set, and an instruction is done; at the same time it may
    /// have written something.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    /// use trapline::{Event, Resume, TracerOn};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// let main = kernel.leader(pid);
    /// let mut tracer = TracerOn::builder().build_on(kernel.backend());
    /// tracer.attach(pid)?;
    /// let Some(started) = tracer.wait()? else { panic!("no stop") };
    /// tracer.resume(started, Resume::Continue)?;
    /// kernel.step_itself(main, None);
    /// let Some(Event::Stopped(stop)) = tracer.wait()? else { panic!("no stop") };
    /// assert_eq!(stop.signal(), Some(trapline::Signal::TRAP), "it is the program's own");
    /// # Ok::<(), trapline::Error>(())
    /// ```
    pub fn step_itself(&self, tid: Tid, store: Option<(u64, u64)>) {
        let mut model = self.acting(tid, "trap");
        let Some(task) = model.tasks.get_mut(&tid) else { return };
        task.registers.steps = true;
        task.debug.single_step = true;
        let access = store.map(|(addr, len)| (DebugKind::Write, addr, len));
        if !access.is_some_and(|access| model.access(tid, access, true)) {
            model.stop_for(tid, Signal::TRAP, TrapOrigin::Step);
        }
    }

    /// A thread executes the program's own breakpoint instruction.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    /// use trapline::{Event, Resume, TracerOn};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// let main = kernel.leader(pid);
    /// let mut tracer = TracerOn::builder().build_on(kernel.backend());
    /// tracer.attach(pid)?;
    /// let Some(started) = tracer.wait()? else { panic!("no stop") };
    /// tracer.resume(started, Resume::Continue)?;
    /// kernel.own_breakpoint(main);
    /// let Some(Event::Stopped(stop)) = tracer.wait()? else { panic!("no stop") };
    /// assert_eq!(stop.signal(), Some(trapline::Signal::TRAP), "it is the program's own");
    /// # Ok::<(), trapline::Error>(())
    /// ```
    pub fn own_breakpoint(&self, tid: Tid) {
        self.acting(tid, "trap").stop_for(tid, Signal::TRAP, TrapOrigin::Breakpoint);
    }

    /// The trap that a thread has not reported yet comes after an interrupt; says whether there
    /// was one.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// let main = kernel.leader(pid);
    /// assert!(!kernel.overtake(main), "it has no trap");
    /// # let _ = pid;
    /// ```
    pub fn overtake(&self, tid: Tid) -> bool {
        self.model().overtake(tid)
    }

    /// Somebody else holds so many debug registers of the CPU.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// kernel.reserve_slots(4); // none is left
    /// ```
    pub fn reserve_slots(&self, reserved: usize) {
        self.model().reserved_slots = reserved;
    }

    /// The debug registers of a thread cannot be armed, or can again.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// let main = kernel.leader(pid);
    /// kernel.set_unwatchable(main, true);
    /// # let _ = pid;
    /// ```
    pub fn set_unwatchable(&self, tid: Tid, unwatchable: bool) {
        let mut model = self.model();
        match unwatchable {
            true => model.unwatchable.insert(tid),
            false => model.unwatchable.remove(&tid),
        };
    }

    /// What the debug registers of a thread watch.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// let main = kernel.leader(pid);
    /// assert!(kernel.watched(main).is_empty());
    /// # let _ = pid;
    /// ```
    ///
    /// # Panics
    ///
    /// If there is no such thread.
    pub fn watched(&self, tid: Tid) -> Vec<DebugSlot> {
        let model = self.model();
        let slots = model.tasks.get(&tid).expect("the thread exists").debug.slots;
        slots.into_iter().flatten().collect()
    }

    /// A process runs a 32-bit program.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// kernel.set_narrow(pid);
    /// ```
    pub fn set_narrow(&self, pid: Pid) {
        self.model().narrow.insert(pid);
    }

    fn acting(&self, tid: Tid, what: &str) -> std::cell::RefMut<'_, Model> {
        let model = self.model();
        assert!(model.acts(tid), "thread {tid} cannot {what}: {:?}", model.tasks.get(&tid));
        model
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
