//! What a test can see of the world, without the tracer.

use std::hash::{Hash, Hasher};

use rustc_hash::FxHasher;

use trapline_core::{CpuSet, ExitStatus, Pid, Signal, Tid};

use crate::kernel::Kernel;
use crate::model::State;
use crate::report::{Delivery, Swallowed};
use crate::rules::Rules;

impl<R: Rules> Kernel<R> {
    /// Whether a thread runs its program, so that it can do something.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// let main = kernel.leader(pid);
    /// assert!(kernel.acts(main));
    /// kernel.exit(main, 0);
    /// assert!(!kernel.acts(main));
    /// ```
    pub fn acts(&self, tid: Tid) -> bool {
        self.model().acts(tid)
    }

    /// The first thread of a process.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// assert_eq!(kernel.threads(pid), [kernel.leader(pid)]);
    /// ```
    ///
    /// # Panics
    ///
    /// If there is no such process.
    pub fn leader(&self, pid: Pid) -> Tid {
        self.model().processes.get(&pid).expect("the process exists").leader
    }

    /// The same, if there is such a process.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// let main = kernel.leader(pid);
    /// assert_eq!(kernel.first_thread(pid), Some(main));
    /// ```
    pub fn first_thread(&self, pid: Pid) -> Option<Tid> {
        self.model().processes.get(&pid).map(|process| process.leader)
    }

    /// The threads of a process that have not ended.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// let main = kernel.leader(pid);
    /// assert_eq!(kernel.threads(pid), [main]);
    /// ```
    pub fn threads(&self, pid: Pid) -> Vec<Tid> {
        self.model().living(pid)
    }

    /// The CPUs that a thread may run on.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// let main = kernel.leader(pid);
    /// kernel.set_cpus(main, &[1]);
    /// assert!(kernel.cpus(main).contains(1));
    /// ```
    pub fn cpus(&self, tid: Tid) -> CpuSet {
        self.model().tasks.get(&tid).map(|task| task.cpus.clone()).unwrap_or_default()
    }

    /// Moves a thread to other CPUs.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// let main = kernel.leader(pid);
    /// kernel.set_cpus(main, &[0, 2]);
    /// assert_eq!(kernel.cpus(main).iter().collect::<Vec<_>>(), [0, 2]);
    /// ```
    pub fn set_cpus(&self, tid: Tid, cpus: &[u32]) {
        let cpus = cpus.iter().copied().collect();
        self.model().tasks.entry(tid).and_modify(|task| task.cpus = cpus);
    }

    /// The CPUs that the tracer may run on.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// assert!(!kernel.tracer_cpus().is_empty());
    /// ```
    pub fn tracer_cpus(&self) -> CpuSet {
        self.model().tracer_cpus.clone()
    }

    /// The processes that nobody has waited for, but for init.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// assert_eq!(kernel.processes(), [pid]);
    /// ```
    pub fn processes(&self) -> Vec<Pid> {
        self.model().processes.keys().copied().filter(|&pid| pid != crate::model::INIT).collect()
    }

    /// Whether any living thread of a process is traced.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    /// use trapline::TracerOn;
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// let mut tracer = TracerOn::builder().build_on(kernel.backend());
    /// assert!(!kernel.is_traced(pid));
    /// tracer.attach(pid)?;
    /// assert!(kernel.is_traced(pid));
    /// # Ok::<(), trapline::Error>(())
    /// ```
    pub fn is_traced(&self, pid: Pid) -> bool {
        let model = self.model();
        model.living(pid).iter().any(|tid| model.tasks.get(tid).is_some_and(|t| t.setup.is_some()))
    }

    /// Whether some of the threads of a process are traced, and others are not.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    /// use trapline::TracerOn;
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// let mut tracer = TracerOn::builder().build_on(kernel.backend());
    /// tracer.attach(pid)?;
    /// assert!(!kernel.is_traced_in_part(pid));
    /// # Ok::<(), trapline::Error>(())
    /// ```
    pub fn is_traced_in_part(&self, pid: Pid) -> bool {
        let model = self.model();
        let traced = |tid: &Tid| model.tasks.get(tid).is_some_and(|t| t.setup.is_some());
        let living = model.living(pid);
        living.iter().any(traced) && !living.iter().all(traced)
    }

    /// Whether a thread is on its way out, or has ended.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// let main = kernel.leader(pid);
    /// assert!(!kernel.is_doomed(main));
    /// kernel.kill(pid);
    /// assert!(kernel.is_doomed(main));
    /// ```
    pub fn is_doomed(&self, tid: Tid) -> bool {
        self.model().is_doomed(tid)
    }

    /// How a process that nobody has waited for has ended, or will for certain.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// assert_eq!(kernel.fate(pid), None);
    /// ```
    pub fn fate(&self, pid: Pid) -> Option<ExitStatus> {
        self.model().fate(pid)
    }

    /// The real parent of a process.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// let child = kernel.start_under(pid);
    /// assert_eq!(kernel.real_parent(child), Some(pid));
    /// ```
    pub fn real_parent(&self, pid: Pid) -> Option<Pid> {
        self.model().real_parent(pid).ok()
    }

    /// What a thread is doing, in words for messages.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// let main = kernel.leader(pid);
    /// println!("{}", kernel.state(main));
    /// # let _ = pid;
    /// ```
    pub fn state(&self, tid: Tid) -> String {
        match self.model().tasks.get(&tid) {
            Some(task) => format!("{:?}, held: {:?}", task.state, task.held),
            None => "gone".to_string(),
        }
    }

    /// The traced threads whose stop was waited for, and that are at it.
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
    /// let stop = tracer.wait()?;
    /// assert_eq!(kernel.stopped(), [main]);
    /// # drop(stop);
    /// # Ok::<(), trapline::Error>(())
    /// ```
    pub fn stopped(&self) -> Vec<Tid> {
        let model = self.model();
        let at_it = |task: &crate::model::Task| match &task.state {
            State::Stopped(stop) => stop.reported,
            _ => false,
        };
        let stopped = model.tasks.iter().filter(|(_, task)| task.setup.is_some() && at_it(task));
        stopped.map(|(&tid, _)| tid).collect()
    }

    /// Signals that reached their programs, in order.
    ///
    /// ```
    /// use trapline::Signal;
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// let main = kernel.leader(pid);
    /// kernel.signal(pid, Signal::USR1);
    /// assert_eq!(kernel.deliveries()[0].tid, main);
    /// ```
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.model().records.deliveries.clone()
    }

    /// How many times a signal has reached a process.
    ///
    /// ```
    /// use trapline::Signal;
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// let main = kernel.leader(pid);
    /// kernel.signal(pid, Signal::USR1);
    /// assert_eq!(kernel.delivered(pid, Signal::USR1), 1);
    /// # let _ = main;
    /// ```
    pub fn delivered(&self, pid: Pid, signal: Signal) -> usize {
        let deliveries = &self.model().records.deliveries;
        deliveries.iter().filter(|d| d.pid == pid && d.signal == signal).count()
    }

    /// Stops that were resumed before any wait has seen them; see [`Swallowed`].
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// assert!(kernel.swallowed().is_empty());
    /// ```
    pub fn swallowed(&self) -> Vec<Swallowed> {
        self.model().records.swallowed.clone()
    }

    /// Which parent got the status of which child, in order.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// kernel.exit(kernel.leader(pid), 3);
    /// let (_, child, status) = kernel.statuses()[0];
    /// assert_eq!((child, status.to_string()), (pid, "exit status 3".to_string()));
    /// ```
    pub fn statuses(&self) -> Vec<(Pid, Pid, ExitStatus)> {
        self.model().records.statuses.clone()
    }

    /// How many waits would have blocked for ever; each was ended as by a waker.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// assert_eq!(kernel.blocked_waits(), 0);
    /// ```
    pub fn blocked_waits(&self) -> u32 {
        self.model().records.blocked
    }

    /// What an engine in an event loop has said each time that a wait found nothing: how soon to
    /// look again, if nothing happens.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// assert!(kernel.watches().is_empty());
    /// ```
    pub fn watches(&self) -> Vec<Option<std::time::Duration>> {
        self.model().records.watches.clone()
    }

    /// Threads that were still traced when the back end was dropped.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// assert!(kernel.left_traced().is_empty());
    /// ```
    pub fn left_traced(&self) -> Vec<Tid> {
        self.model().records.left.clone()
    }

    /// Requests that no correct tracer makes.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// // At the end of each test:
    /// assert!(kernel.violations().is_empty(), "{:?}", kernel.violations());
    /// ```
    pub fn violations(&self) -> Vec<String> {
        self.model().records.violations.clone()
    }

    /// From now on, keeps what passes between tracer and kernel.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    /// use trapline::TracerOn;
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// let mut tracer = TracerOn::builder().build_on(kernel.backend());
    /// kernel.keep_log();
    /// tracer.attach(pid)?;
    /// assert!(kernel.log().iter().any(|line| line.starts_with("attach")));
    /// # Ok::<(), trapline::Error>(())
    /// ```
    pub fn keep_log(&self) {
        self.model().records.log.get_or_insert_default();
    }

    /// What passed between tracer and kernel since [`keep_log`](Kernel::keep_log): requests with
    /// their answers, and what waits have found.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    /// use trapline::TracerOn;
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// let mut tracer = TracerOn::builder().build_on(kernel.backend());
    /// kernel.keep_log();
    /// tracer.attach(pid)?;
    /// for line in kernel.log() {
    ///     println!("{line}");
    /// }
    /// # Ok::<(), trapline::Error>(())
    /// ```
    pub fn log(&self) -> Vec<String> {
        self.model().records.log.clone().unwrap_or_default()
    }

    /// What is wrong with a world in which the tracer has nothing left to do: violations, reports
    /// that nobody has waited for, and threads stopped without an owner. `owned` are those whose
    /// tokens are out.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// // At the end of each test:
    /// assert!(kernel.check_idle(&[]).is_empty());
    /// ```
    pub fn check_idle(&self, owned: &[Tid]) -> Vec<String> {
        let mut wrong = self.violations();
        for report in self.reports() {
            wrong.push(format!("a wait has not taken {report:?}"));
        }
        for tid in self.stopped() {
            let pid = self.model().tasks.get(&tid).map(|task| task.pid);
            let owner = |&owned: &Tid| self.model().tasks.get(&owned).map(|task| task.pid) == pid;
            let has_owner = match self.model().by_process() {
                true => None,
                false => Some(owned.contains(&tid)),
            };
            if !has_owner.unwrap_or_else(|| owned.iter().any(owner)) {
                wrong.push(format!("thread {tid} is stopped, and nobody has it"));
            }
        }
        wrong
    }

    /// A digest of all that the tracer was told and has asked.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let before = kernel.talk();
    /// assert_eq!(kernel.talk(), before, "nobody has asked anything");
    /// ```
    pub fn talk(&self) -> u64 {
        self.model().records.talk
    }

    /// A digest of the state of the world, and of all that the tracer was told and has asked.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let before = kernel.digest();
    /// kernel.start();
    /// assert_ne!(kernel.digest(), before);
    /// ```
    pub fn digest(&self) -> u64 {
        let model = self.model();
        let mut digest = FxHasher::default();
        (&model.processes, &model.tasks, &model.memory).hash(&mut digest);
        (&model.held_back, model.records.talk).hash(&mut digest);
        digest.finish()
    }
}
