//! What surrounds the programs of a model: faults, numbers, memory, and what a tracer hears when.

use trapline_core::{ExitStatus, OnExit, Pid, Tid};

use crate::faults::Fault;
use crate::kernel::Kernel;
use crate::model::{Model, State};
use crate::report::Report;
use crate::rules::Rules;
use crate::stops::KILLED;

impl<R: Rules> Kernel<R> {
    /// Puts a bug into the back end.
    ///
    /// ```
    /// use trapline::fake::{Fault, Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// kernel.seed(Fault::LosesForks);
    /// // What a test of a tracer finds now, it must find.
    /// ```
    pub fn seed(&self, fault: Fault) {
        self.model().fault = Some(fault);
    }

    /// The next process or (on Linux) thread has this number again; false if somebody has it.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// assert!(kernel.reuse(77));
    /// assert_eq!(kernel.start().as_raw(), 77);
    /// ```
    pub fn reuse(&self, number: i32) -> bool {
        let mut model = self.model();
        let free = !model.has_number(number);
        if free {
            model.reuse.push_back(number);
        }
        free
    }

    /// Takes everything out of the world without a word, so that a tracer whose world is of no
    /// interest any more can be dropped.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// kernel.vanish();
    /// assert!(!kernel.processes().contains(&pid));
    /// ```
    pub fn vanish(&self) {
        let mut model = self.model();
        model.tasks.clear();
        model.processes.clear();
        let mut script = self.shared.script.borrow_mut();
        (script.before, script.fails, script.choose) = (None, None, None);
        script.idle.clear();
    }

    /// Makes a process the one that gets the orphans among its descendants.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// let child = kernel.start_under(pid);
    /// let grandchild = kernel.start_under(child);
    /// kernel.set_subreaper(pid);
    /// kernel.exit(kernel.leader(child), 0);
    /// assert_eq!(kernel.real_parent(grandchild), Some(pid));
    /// ```
    pub fn set_subreaper(&self, pid: Pid) {
        if let Some(process) = self.model().processes.get_mut(&pid) {
            process.subreaper = true;
        }
    }

    /// Maps memory in a process.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// kernel.map(pid, 0x1000, b"text");
    /// assert_eq!(kernel.memory(pid, 0x1000, 4), b"text");
    /// ```
    pub fn map(&self, pid: Pid, addr: u64, bytes: &[u8]) {
        let mut model = self.model();
        if let Some(space) = model.processes.get(&pid).map(|process| process.memory) {
            model.memory.map(space, addr, bytes);
        }
    }

    /// Has every program that is started or exec'ed from now on mapped this.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// kernel.map_programs(0x1000, &[0x90, 0xf4]);
    /// let pid = kernel.start();
    /// assert_eq!(kernel.memory(pid, 0x1000, 2), [0x90, 0xf4]);
    /// ```
    pub fn map_programs(&self, addr: u64, bytes: &[u8]) {
        self.model().code = Some((addr, bytes.to_vec()));
    }

    // What the tracer hears, and when.

    /// What the next wait could find, the oldest first; without a [chooser](Kernel::choose) it
    /// takes the first.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    /// use trapline::TracerOn;
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// let main = kernel.leader(pid);
    /// let mut tracer = TracerOn::builder().build_on(kernel.backend());
    /// tracer.attach(pid)?;
    /// assert_eq!(kernel.reports()[0].tid, main);
    /// # Ok::<(), trapline::Error>(())
    /// ```
    pub fn reports(&self) -> Vec<Report> {
        self.model().reports()
    }

    /// Keeps what a thread has to report from the tracer; a killed one stays on its way out.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    /// use trapline::TracerOn;
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// let main = kernel.leader(pid);
    /// let mut tracer = TracerOn::builder().build_on(kernel.backend());
    /// tracer.attach(pid)?;
    /// kernel.hold(main);
    /// assert!(kernel.reports().is_empty());
    /// # Ok::<(), trapline::Error>(())
    /// ```
    pub fn hold(&self, tid: Tid) {
        self.model().held_back.insert(tid);
    }

    /// Lets the tracer see what a thread has to report.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    /// use trapline::TracerOn;
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// let main = kernel.leader(pid);
    /// let mut tracer = TracerOn::builder().build_on(kernel.backend());
    /// tracer.attach(pid)?;
    /// kernel.hold(main);
    /// kernel.release(main);
    /// assert_eq!(kernel.reports().len(), 1);
    /// # Ok::<(), trapline::Error>(())
    /// ```
    pub fn release(&self, tid: Tid) {
        self.model().held_back.remove(&tid);
    }

    /// A thread computes from now on: it is never asleep.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// kernel.keep_busy(kernel.leader(kernel.start()));
    /// ```
    pub fn keep_busy(&self, tid: Tid) {
        self.model().busy.insert(tid);
    }
}

impl Model {
    /// The tracer is gone.
    pub(crate) fn tracer_ends(&mut self) {
        let traced = |(&tid, task): (&Tid, &crate::model::Task)| Some((tid, task.pid, task.setup?));
        let all: Vec<_> = self.tasks.iter().filter_map(traced).collect();
        for (tid, pid, setup) in all {
            self.records.left.push(tid);
            let status = match self.tasks.get(&tid).map(|task| &task.state) {
                Some(State::Dead(status, _)) => Some(*status),
                _ => None,
            };
            self.let_go(tid);
            if setup.on_exit == OnExit::Kill {
                self.kill(pid);
            }
            match status {
                Some(_) if self.living(pid).is_empty() => self.reap(pid),
                Some(_) => {}
                None => self.go_on(tid),
            }
        }
    }

    /// How a process ends, once that is certain.
    pub(crate) fn fate(&self, pid: Pid) -> Option<ExitStatus> {
        let process = self.processes.get(&pid)?;
        process.over.map(|(status, _)| status).or(process.ending)
    }

    /// Whether a thread is killed, though it may not have ended.
    pub(crate) fn is_doomed(&self, tid: Tid) -> bool {
        self.tasks.get(&tid).is_none_or(|task| {
            task.leaving == Some(KILLED) || matches!(task.state, State::Dying | State::Dead(..))
        })
    }
}
