//! What programs do that debug registers may watch, and what those hold.

use trapline_core::backend::{DebugKind, DebugSlot, TrapOrigin};
use trapline_core::{Pid, Signal, Tid};

use crate::kernel::Kernel;
use crate::model::Model;
use crate::rules::Rules;

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
