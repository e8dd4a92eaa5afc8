//! What a test has programs execute, and what it can see of that.

use trapline_core::{Pid, Signal, Tid};

use crate::kernel::Kernel;
use crate::report::Execution;
use crate::rules::Rules;

impl<R: Rules> Kernel<R> {
    /// A thread goes to an address, and executes what is there: `0x05` makes a system call, in 64-bit
    /// code, which blocks until [`finish_call`](Kernel::finish_call); `0xf3` counts `value` down, one at a step;
    /// `0xf4`, and where nothing is mapped, waits; `0xcc` traps; anything else does nothing.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// let main = kernel.leader(pid);
    /// kernel.map(pid, 0x1000, &[0x90, 0x90, 0xf4]);
    /// kernel.jump(main, 0x1000);
    /// assert_eq!(kernel.executed(pid, 0x1001), 1);
    /// ```
    pub fn jump(&self, tid: Tid, addr: u64) {
        let mut model = self.act(tid, "jump");
        model.leave_call(tid);
        model.set_pc(tid, addr);
        model.execute(tid);
    }

    /// The same, but a trap that the thread runs into is not reported yet: it is when a wait finds
    /// nothing else.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// let main = kernel.leader(pid);
    /// kernel.map(pid, 0x1000, &[0x90, 0x90, 0xf4]);
    /// kernel.run_into(main, 0x1000);
    /// assert_eq!(kernel.executed(pid, 0x1000), 1);
    /// ```
    pub fn run_into(&self, tid: Tid, addr: u64) {
        let mut model = self.act(tid, "jump");
        model.leave_call(tid);
        model.set_pc(tid, addr);
        model.slow_traps = true;
        model.execute(tid);
        model.slow_traps = false;
    }

    /// A thread has a code segment of 32-bit code from now on, or of 64-bit code again.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// let main = kernel.leader(pid);
    /// kernel.set_code_segment(main, true);
    /// # let _ = pid;
    /// ```
    pub fn set_code_segment(&self, tid: Tid, narrow: bool) {
        if let Some(task) = self.model().tasks.get_mut(&tid) {
            task.registers.narrow = narrow;
        }
    }

    /// The system call that a thread is in returns.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// let main = kernel.leader(pid);
    /// kernel.map(pid, 0x1000, &[0x05, 0xf4]);
    /// kernel.jump(main, 0x1000);
    /// assert!(kernel.is_in_call(main));
    /// kernel.finish_call(main);
    /// assert!(!kernel.is_in_call(main));
    /// ```
    pub fn finish_call(&self, tid: Tid) {
        let mut model = self.act(tid, "return from a system call");
        if model.leave_call(tid) {
            model.execute(tid);
        }
    }

    /// A signal has a handler from now on, at this address; the instruction `0xcf` returns from it.
    ///
    /// ```
    /// use trapline::Signal;
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// let main = kernel.leader(pid);
    /// kernel.map(pid, 0x1000, &[0x90, 0xcf]);
    /// kernel.handle(pid, Signal::USR1, 0x1000);
    /// kernel.signal_thread(main, Signal::USR1);
    /// assert_eq!(kernel.delivered(pid, Signal::USR1), 1);
    /// ```
    pub fn handle(&self, pid: Pid, signal: Signal, handler: u64) {
        if let Some(process) = self.model().processes.get_mut(&pid) {
            process.handlers.insert(signal, handler);
        }
    }

    /// A thread leaves all the handlers that it runs without returning from them.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// let main = kernel.leader(pid);
    /// kernel.unwind(main); // it runs no handler
    /// # let _ = pid;
    /// ```
    pub fn unwind(&self, tid: Tid) {
        if let Some(task) = self.model().tasks.get_mut(&tid) {
            if let Some(frame) = task.frames.drain(..).next() {
                task.registers = frame;
            }
        }
    }

    /// A thread has memory unmapped, whoever has mapped it, and what is there now mapped anew.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// kernel.map(pid, 0x1000, b"old");
    /// kernel.remap(pid, 0x1000, b"new");
    /// assert_eq!(kernel.memory(pid, 0x1000, 3), b"new");
    /// ```
    pub fn remap(&self, pid: Pid, addr: u64, bytes: &[u8]) {
        let mut model = self.model();
        if let Some(space) = model.processes.get(&pid).map(|process| process.memory) {
            model.memory.unmap(space, addr, bytes.len() as u64);
            model.memory.map_anonymous(space, addr, bytes);
        }
    }

    /// A process has no memory to map for the tracer.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// kernel.refuse_code(pid); // breakpoints are stepped over in place
    /// ```
    pub fn refuse_code(&self, pid: Pid) {
        self.model().codeless.insert(pid);
    }

    /// Whether a thread is in a system call.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// let main = kernel.leader(pid);
    /// assert!(!kernel.is_in_call(main));
    /// # let _ = pid;
    /// ```
    pub fn is_in_call(&self, tid: Tid) -> bool {
        self.model().tasks.get(&tid).is_some_and(|task| task.in_call)
    }

    /// How many times the instruction at an address was executed in a process.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// let main = kernel.leader(pid);
    /// kernel.map(pid, 0x1000, &[0x90, 0x90, 0xf4]);
    /// kernel.jump(main, 0x1000);
    /// assert_eq!(kernel.executed(pid, 0x1000), 1);
    /// ```
    pub fn executed(&self, pid: Pid, addr: u64) -> usize {
        let executed = &self.model().records.executed;
        let there = |what: &&Execution| (what.pid, what.addr, what.trapped) == (pid, addr, false);
        executed.iter().filter(there).count()
    }

    /// What was executed, but for the first `from` instructions; breakpoint instructions, too.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// let main = kernel.leader(pid);
    /// kernel.map(pid, 0x1000, &[0x90, 0x90, 0xf4]);
    /// kernel.jump(main, 0x1001);
    /// assert_eq!(kernel.executions(0)[0].addr, 0x1001);
    /// ```
    pub fn executions(&self, from: usize) -> Vec<Execution> {
        self.model().records.executed.get(from..).unwrap_or_default().to_vec()
    }

    /// Whether a thread has executed a breakpoint instruction, and has not stopped for that yet.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// let main = kernel.leader(pid);
    /// assert!(!kernel.has_trapped(main));
    /// # let _ = pid;
    /// ```
    pub fn has_trapped(&self, tid: Tid) -> bool {
        self.model().tasks.get(&tid).is_some_and(|task| task.trapped)
    }

    /// Which exec's program a process runs: that of its creator, until its own exec.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// let main = kernel.leader(pid);
    /// let image = kernel.image(pid);
    /// kernel.exec(main, "ls");
    /// assert_ne!(kernel.image(pid), image);
    /// ```
    pub fn image(&self, pid: Pid) -> Option<u32> {
        self.model().processes.get(&pid).map(|process| process.image)
    }

    /// All processes that have the memory of this one, itself among them.
    ///
    /// ```
    /// use trapline::ForkKind;
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// let main = kernel.leader(pid);
    /// let child = kernel.fork(main, ForkKind::Vfork);
    /// assert_eq!(kernel.sharers(pid), [pid, child]);
    /// ```
    pub fn sharers(&self, pid: Pid) -> Vec<Pid> {
        let model = self.model();
        let Some(space) = model.processes.get(&pid).map(|process| process.memory) else {
            return Vec::new();
        };
        let living = model.processes.iter().filter(|(_, process)| process.over.is_none());
        living.filter(|(_, process)| process.memory == space).map(|(&pid, _)| pid).collect()
    }

    /// What is in memory, breakpoints and all.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// kernel.map(pid, 0x1000, b"text");
    /// assert_eq!(kernel.memory(pid, 0x1002, 4), b"xt", "no more is mapped");
    /// ```
    pub fn memory(&self, pid: Pid, addr: u64, len: usize) -> Vec<u8> {
        let model = self.model();
        let mut bytes = vec![0; len];
        let space = model.processes.get(&pid).map(|process| process.memory);
        let read = space.map_or(0, |space| model.memory.read(space, addr, &mut bytes).unwrap_or(0));
        bytes.truncate(read);
        bytes
    }
}
