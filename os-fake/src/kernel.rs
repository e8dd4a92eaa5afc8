//! The hold that a test has on the world.

use std::cell::{RefCell, RefMut};
use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;

use trapline_core::backend::RawReason;
use trapline_core::{ForkKind, Pid, Tid};

use crate::model::{Held, INIT, Model, State};
use crate::rules::Rules;
use crate::script::Script;
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

    /// A process that has its creator's memory, though that does not wait for it: `clone` with
    /// `CLONE_VM`, `rfork` with `RFMEM`.
    ///
    /// ```
    /// use trapline::fake::{FreeBsdRules, Kernel};
    ///
    /// let kernel = Kernel::<FreeBsdRules>::new();
    /// let pid = kernel.start();
    /// kernel.map(pid, 0x1000, &[0x90]);
    /// let sharer = kernel.fork_sharing(kernel.leader(pid));
    /// kernel.map(pid, 0x1000, &[0xf4]);
    /// assert_eq!(kernel.memory(sharer, 0x1000, 1), [0xf4]);
    /// ```
    pub fn fork_sharing(&self, tid: Tid) -> Pid {
        let child = self.act(tid, "clone").fork(tid, ForkKind::Fork, false).expect("it acts");
        self.model().share_memory(tid, child);
        child
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
}
