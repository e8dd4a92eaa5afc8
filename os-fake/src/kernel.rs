//! The hold that a test has on the world.

use std::cell::{RefCell, RefMut};
use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;

use trapline_core::backend::{RawKind, RawReason, TrapOrigin};
use trapline_core::{ExitStatus, ForkKind, OnExit, Pid, Signal, Tid};

use crate::faults::Fault;
use crate::model::{Held, INIT, Model, State};
use crate::rules::Rules;
use crate::script::Script;
use crate::stops::KILLED;
use crate::system::Fake;

/// A model of a kernel: its programs, and the order in which a tracer hears of them.
///
/// Cheap to clone; all clones are the same kernel.
///
/// ```
/// use trapline::fake::{Kernel, LinuxRules};
/// use trapline::TracerOn;
///
/// let kernel = Kernel::<LinuxRules>::new();
/// let pid = kernel.start();
/// let mut tracer = TracerOn::builder().build_on(kernel.backend());
/// tracer.attach(pid)?;
/// assert!(kernel.is_traced(pid));
/// # Ok::<(), trapline::Error>(())
/// ```
///
/// # Panics
///
/// The methods that make a program do something panic if it cannot: the thread is stopped, held
/// or gone. [`acts`](Kernel::acts) tells.
pub struct Kernel<R: Rules> {
    pub(crate) shared: Rc<Shared<R>>,
    rules: PhantomData<R>,
}

pub(crate) struct Shared<R: Rules> {
    model: RefCell<Model>,
    pub(crate) script: RefCell<Script<R>>,
}

/// Something that the next wait can find.
///
/// ```
/// use trapline::fake::{Kernel, LinuxRules, Report};
///
/// let kernel = Kernel::<LinuxRules>::new();
/// let pid = kernel.start();
/// let main = kernel.leader(pid);
/// let describe = |report: &Report| format!("{} has something to report", report.tid);
/// assert!(kernel.reports().iter().map(describe).next().is_none(), "it is not traced");
/// # let _ = (pid, main);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// The process.
    pub pid: Pid,
    /// The thread.
    pub tid: Tid,
    /// What.
    pub kind: RawKind,
}

/// A signal that reached a program.
///
/// ```
/// use trapline::fake::Delivery;
///
/// fn describe(delivery: &Delivery) -> String {
///     format!("{} of {} got {}", delivery.tid, delivery.pid, delivery.signal)
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// The process.
    pub pid: Pid,
    /// The thread that took it.
    pub tid: Tid,
    /// The signal.
    pub signal: Signal,
}

/// An instruction that a program has come to.
///
/// ```
/// use trapline::fake::Execution;
///
/// fn describe(execution: &Execution) -> String {
///     format!("{} came to {:#x}", execution.tid, execution.addr)
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Execution {
    /// The process.
    pub pid: Pid,
    /// The thread.
    pub tid: Tid,
    /// Where it is.
    pub addr: u64,
    /// Which exec's program it is part of, as [`Kernel::image`] says.
    pub image: u32,
    /// It was a breakpoint instruction, and trapped; if not, it was executed.
    pub trapped: bool,
}

/// A stop that no wait has seen, since the thread was resumed from an earlier stop out of which
/// the kernel had taken it.
///
/// ```
/// use trapline::fake::Swallowed;
///
/// fn describe(swallowed: &Swallowed) -> String {
///     format!("{}: {:?}", swallowed.tid, swallowed.reason)
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Swallowed {
    /// The process.
    pub pid: Pid,
    /// The thread.
    pub tid: Tid,
    /// The stop.
    pub reason: RawReason,
}

impl<R: Rules> Clone for Kernel<R> {
    fn clone(&self) -> Self {
        Kernel { shared: Rc::clone(&self.shared), rules: PhantomData }
    }
}

impl<R: Rules> Default for Kernel<R> {
    fn default() -> Self {
        Self::new()
    }
}

impl<R: Rules> fmt::Debug for Kernel<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.shared.model.try_borrow() {
            Ok(model) => {
                f.debug_tuple("Kernel").field(&model.processes).field(&model.tasks).finish()
            }
            Err(_) => f.write_str("Kernel"),
        }
    }
}

impl<R: Rules> Kernel<R> {
    /// A kernel with init alone.
    ///
    /// ```
    /// use trapline::fake::{FreeBsdRules, Kernel};
    ///
    /// assert!(Kernel::<FreeBsdRules>::new().processes().is_empty());
    /// ```
    pub fn new() -> Self {
        let model = RefCell::new(Model::new(R::RULES));
        let shared = Shared { model, script: RefCell::default() };
        Kernel { shared: Rc::new(shared), rules: PhantomData }
    }

    /// A back end for a tracer.
    ///
    /// ```
    /// use trapline::TracerOn;
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let tracer = TracerOn::builder().build_on(kernel.backend());
    /// assert!(tracer.is_empty());
    /// ```
    pub fn backend(&self) -> Fake<R> {
        Fake::new(self.clone())
    }

    pub(crate) fn model(&self) -> RefMut<'_, Model> {
        self.shared.model.borrow_mut()
    }

    pub(crate) fn act(&self, tid: Tid, what: &str) -> RefMut<'_, Model> {
        let model = self.model();
        assert!(model.acts(tid), "thread {tid} cannot {what}: {:?}", model.tasks.get(&tid));
        model
    }

    // The programs.

    /// Starts a process that is not traced, as a child of init.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// assert_eq!(kernel.processes(), [pid]);
    /// ```
    pub fn start(&self) -> Pid {
        self.model().add_process(INIT, "program")
    }

    /// Starts a process that is not traced, as a child of another one that is not.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// let child = kernel.start_under(pid);
    /// assert_eq!(kernel.real_parent(child), Some(pid));
    /// ```
    pub fn start_under(&self, parent: Pid) -> Pid {
        self.model().add_process(parent, "program")
    }

    /// `fork`, `vfork` or a `clone` that makes a process; returns the new process.
    ///
    /// ```
    /// use trapline::ForkKind;
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// let main = kernel.leader(pid);
    /// let child = kernel.fork(main, ForkKind::Fork);
    /// assert_eq!(kernel.processes(), [pid, child]);
    /// ```
    pub fn fork(&self, tid: Tid, kind: ForkKind) -> Pid {
        self.act(tid, "fork").fork(tid, kind, false).expect("the thread acts")
    }

    /// A `clone` with `CLONE_PARENT`: the new process is a sibling of its creator, where the kernel
    /// has that.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// let main = kernel.leader(pid);
    /// let sibling = kernel.fork_sibling(main);
    /// assert_eq!(kernel.real_parent(sibling), kernel.real_parent(pid));
    /// ```
    pub fn fork_sibling(&self, tid: Tid) -> Pid {
        self.act(tid, "clone").fork(tid, ForkKind::Clone, true).expect("the thread acts")
    }

    /// Makes a thread; returns it.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// let main = kernel.leader(pid);
    /// let other = kernel.thread(main);
    /// assert_eq!(kernel.threads(pid), [main, other]);
    /// ```
    pub fn thread(&self, tid: Tid) -> Tid {
        self.act(tid, "make a thread").new_thread(tid).expect("the thread acts")
    }

    /// A thread makes another one, which is not traced: it was in the middle of that when its process
    /// was attached to.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// let late = kernel.late_thread(kernel.leader(pid));
    /// assert!(kernel.threads(pid).contains(&late));
    /// ```
    pub fn late_thread(&self, tid: Tid) -> Tid {
        let mut model = self.act(tid, "make a thread");
        let late = model.new_late_thread(tid).expect("the thread acts");
        model.tasks.entry(late).and_modify(|task| task.late = true);
        late
    }

    /// `execve`, which succeeds once the other threads have ended.
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
    pub fn exec(&self, tid: Tid, program: &str) {
        self.act(tid, "exec").exec(tid, program);
    }

    /// A thread ends; the last one ends its process with this code.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// let main = kernel.leader(pid);
    /// let other = kernel.thread(main);
    /// kernel.exit_thread(other, 0);
    /// assert_eq!(kernel.threads(pid), [main]);
    /// ```
    pub fn exit_thread(&self, tid: Tid, code: i32) {
        self.act(tid, "exit").exit_thread(tid, code);
    }

    /// A thread ends its process.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// let main = kernel.leader(pid);
    /// kernel.exit(main, 3);
    /// assert!(kernel.threads(pid).is_empty());
    /// ```
    pub fn exit(&self, tid: Tid, code: i32) {
        self.act(tid, "exit").exit(tid, code);
    }

    /// A thread enters a system call.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// let main = kernel.leader(pid);
    /// kernel.syscall_entry(main);
    /// assert!(kernel.acts(main), "nobody traces it");
    /// ```
    pub fn syscall_entry(&self, tid: Tid) {
        self.act(tid, "make a system call").system_call(tid, true);
    }

    /// A thread returns from a system call.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// let main = kernel.leader(pid);
    /// kernel.syscall_entry(main);
    /// kernel.syscall_exit(main);
    /// ```
    pub fn syscall_exit(&self, tid: Tid) {
        self.act(tid, "return").system_call(tid, false);
    }

    /// A thread returns from a system call that has replaced its registers, as the return from a
    /// signal handler does: they do not have the number and the arguments of the call any more.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// let main = kernel.leader(pid);
    /// kernel.syscall_entry(main);
    /// kernel.syscall_exit_elsewhere(main);
    /// ```
    pub fn syscall_exit_elsewhere(&self, tid: Tid) {
        let mut model = self.act(tid, "return");
        if let Some(task) = model.tasks.get_mut(&tid) {
            task.replaced = true;
        }
        model.system_call(tid, false);
    }

    /// A thread goes into an uninterruptible sleep, or wakes from it.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// let main = kernel.leader(pid);
    /// kernel.sleep(main, true);
    /// assert!(!kernel.acts(main));
    /// kernel.sleep(main, false);
    /// assert!(kernel.acts(main));
    /// ```
    pub fn sleep(&self, tid: Tid, asleep: bool) {
        let mut model = self.model();
        let Some(task) = model.tasks.get_mut(&tid) else { return };
        if asleep {
            assert!(task.held.is_none(), "thread {tid} is held already");
            task.held = Some(Held::Sleep);
        } else if task.held == Some(Held::Sleep) {
            task.held = None;
            if task.state == State::Runs {
                model.go_on(tid);
            }
        }
    }

    /// A thread stops with something that the engine cannot know.
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
    /// kernel.unknown(main, 77);
    /// let Some(Event::Stopped(stop)) = tracer.wait()? else { panic!("no stop") };
    /// assert_eq!(stop.reason(), trapline::StopReason::Unknown { raw: 77 });
    /// # Ok::<(), trapline::Error>(())
    /// ```
    pub fn unknown(&self, tid: Tid, raw: u32) {
        self.act(tid, "stop").stop(tid, RawReason::Unknown { raw });
    }

    // Signals.

    /// Sends a signal to a process; a thread that can takes it.
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
    pub fn signal(&self, pid: Pid, signal: Signal) {
        let mut model = self.model();
        if let Some(tid) = model.taker(pid) {
            model.signal(tid, signal);
        }
    }

    /// Sends a signal to a thread.
    ///
    /// ```
    /// use trapline::Signal;
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// let main = kernel.leader(pid);
    /// kernel.signal_thread(main, Signal::USR1);
    /// assert_eq!(kernel.delivered(pid, Signal::USR1), 1);
    /// ```
    pub fn signal_thread(&self, tid: Tid, signal: Signal) {
        self.model().signal(tid, signal);
    }

    /// A signal is reported before the first stop of a new process, which then does not come.
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
    /// kernel.signal_first(main, trapline::Signal::USR1);
    /// let Some(Event::Stopped(stop)) = tracer.wait()? else { panic!("no stop") };
    /// assert_eq!(stop.signal(), Some(trapline::Signal::USR1));
    /// # Ok::<(), trapline::Error>(())
    /// ```
    pub fn signal_first(&self, tid: Tid, signal: Signal) {
        self.model().stop_for(tid, signal, TrapOrigin::Sent);
    }

    /// Makes a signal one that kills the process when it is delivered.
    ///
    /// ```
    /// use trapline::Signal;
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// let main = kernel.leader(pid);
    /// kernel.set_fatal(pid, Signal::USR1);
    /// kernel.signal(pid, Signal::USR1);
    /// assert!(kernel.threads(pid).is_empty());
    /// # let _ = main;
    /// ```
    pub fn set_fatal(&self, pid: Pid, signal: Signal) {
        if let Some(process) = self.model().processes.get_mut(&pid) {
            process.fatal.insert(signal);
        }
    }

    /// Sends `SIGKILL`. On Linux its threads leave their stops, and are at their ends by the next
    /// wait at the latest.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// let main = kernel.leader(pid);
    /// kernel.kill(pid);
    /// assert!(kernel.is_doomed(main));
    /// ```
    pub fn kill(&self, pid: Pid) {
        self.model().kill(pid);
    }

    /// A killed thread gets to its end (or its exit stop) now.
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
    /// kernel.set_slow_deaths(true);
    /// kernel.kill(pid);
    /// kernel.die(main);
    /// assert!(matches!(tracer.wait()?, Some(Event::Exited { .. })));
    /// # Ok::<(), trapline::Error>(())
    /// ```
    pub fn die(&self, tid: Tid) {
        self.model().die(tid);
    }

    /// Whether the killed get to their ends only by [`die`](Kernel::die), or when a wait would
    /// find nothing else.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// let main = kernel.leader(pid);
    /// kernel.set_slow_deaths(true);
    /// kernel.kill(pid);
    /// assert!(kernel.is_doomed(main));
    /// ```
    pub fn set_slow_deaths(&self, slow: bool) {
        self.model().slow_deaths = slow;
    }

    // The world.

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
