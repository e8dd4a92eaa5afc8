//! What a test has happen by itself: before a request, when a wait would find nothing, at a spawn.

use std::collections::VecDeque;
use std::io::ErrorKind;

use crate::kernel::Kernel;
use crate::report::Report;
use crate::rules::Rules;

/// A request, about to be made.
///
/// ```
/// use trapline::fake::{Kernel, LinuxRules};
///
/// let kernel = Kernel::<LinuxRules>::new();
/// kernel.before_requests(|_, call| println!("{} for {}", call.name, call.id));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// The method of [`Backend`](trapline_core::Backend).
    pub name: &'static str,
    /// The thread or process that it is for; -1 for none.
    pub id: i32,
    /// How many requests there were, this one included.
    pub number: u64,
}

type Before<R> = Box<dyn FnMut(&Kernel<R>, Call)>;
type Fails<R> = Box<dyn FnMut(&Kernel<R>, Call) -> bool>;
type Choose = Box<dyn FnMut(&[Report]) -> Option<usize>>;
type Step<R> = Box<dyn FnOnce(&Kernel<R>)>;

/// What the test wants to happen by itself.
pub(crate) struct Script<R: Rules> {
    pub(crate) before: Option<Before<R>>,
    pub(crate) fails: Option<Fails<R>>,
    pub(crate) choose: Option<Choose>,
    pub(crate) idle: VecDeque<Step<R>>,
    pub(crate) failing_spawn: Option<ErrorKind>,
    pub(crate) killed_spawn: bool,
    pub(crate) meanwhile: usize,
}

impl<R: Rules> Default for Script<R> {
    fn default() -> Self {
        Script {
            before: None,
            fails: None,
            choose: None,
            idle: VecDeque::new(),
            failing_spawn: None,
            killed_spawn: false,
            meanwhile: 0,
        }
    }
}

impl<R: Rules> Kernel<R> {
    /// Has a function choose what each wait finds; for `None` it finds nothing.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// // The newest first.
    /// kernel.choose(|reports| reports.len().checked_sub(1));
    /// ```
    pub fn choose(&self, choose: impl FnMut(&[Report]) -> Option<usize> + 'static) {
        self.shared.script.borrow_mut().choose = Some(Box::new(choose));
    }

    /// Has a function called before each request, which can make something happen just then.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// kernel.before_requests(move |kernel, call| {
    ///     if call.name == "registers" {
    ///         kernel.kill(pid);
    ///     }
    /// });
    /// ```
    pub fn before_requests(&self, before: impl FnMut(&Kernel<R>, Call) + 'static) {
        self.shared.script.borrow_mut().before = Some(Box::new(before));
    }

    /// Has a function say of each request, right before it is made, whether it fails: it does
    /// nothing then, and the answer is [`Error::Os`](trapline_core::Error::Os) with `EIO`.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    /// use trapline::TracerOn;
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let pid = kernel.start();
    /// let mut tracer = TracerOn::builder().build_on(kernel.backend());
    /// kernel.fail_requests(|_, call| call.name == "attach");
    /// assert!(tracer.attach(pid).is_err());
    /// assert!(tracer.is_empty());
    /// ```
    pub fn fail_requests(&self, fails: impl FnMut(&Kernel<R>, Call) -> bool + 'static) {
        self.shared.script.borrow_mut().fails = Some(Box::new(fails));
    }

    /// Has a step made when a wait would find nothing; one for each such wait, in order.
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
    /// kernel.when_idle(move |kernel| kernel.exit(main, 0));
    /// assert!(matches!(tracer.wait()?, Some(Event::Exited { .. })));
    /// # Ok::<(), trapline::Error>(())
    /// ```
    pub fn when_idle(&self, step: impl FnOnce(&Kernel<R>) + 'static) {
        self.shared.script.borrow_mut().idle.push_back(Box::new(step));
    }

    /// The next spawn fails.
    ///
    /// ```
    /// use std::io::ErrorKind;
    /// use std::process::Command;
    /// use trapline::TracerOn;
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let mut tracer = TracerOn::builder().build_on(kernel.backend());
    /// kernel.fail_spawn(ErrorKind::NotFound);
    /// assert!(tracer.spawn(Command::new("nothing")).is_err());
    /// ```
    pub fn fail_spawn(&self, kind: ErrorKind) {
        self.shared.script.borrow_mut().failing_spawn = Some(kind);
    }

    /// The next spawned program is killed before its exec.
    ///
    /// ```
    /// use std::process::Command;
    /// use trapline::{Event, TracerOn};
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let mut tracer = TracerOn::builder().build_on(kernel.backend());
    /// kernel.kill_spawn();
    /// tracer.spawn(Command::new("program"))?;
    /// assert!(matches!(tracer.wait()?, Some(Event::Exited { .. })));
    /// # Ok::<(), trapline::Error>(())
    /// ```
    pub fn kill_spawn(&self) {
        self.shared.script.borrow_mut().killed_spawn = true;
    }

    /// The next spawn or attach comes across up to so many reports of other tracees.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// kernel.meanwhile(3);
    /// ```
    pub fn meanwhile(&self, most: usize) {
        self.shared.script.borrow_mut().meanwhile = most;
    }

    pub(crate) fn before(&self, call: Call) {
        // Taken out, for it may use the kernel.
        let Some(mut before) = self.shared.script.borrow_mut().before.take() else { return };
        before(self, call);
        self.shared.script.borrow_mut().before.get_or_insert(before);
    }

    pub(crate) fn fails(&self, call: Call) -> bool {
        let Some(mut fails) = self.shared.script.borrow_mut().fails.take() else { return false };
        let answer = fails(self, call);
        self.shared.script.borrow_mut().fails.get_or_insert(fails);
        answer
    }

    pub(crate) fn choose_among(&self, reports: &[Report]) -> Option<Report> {
        if reports.is_empty() {
            return None;
        }
        let choose = self.shared.script.borrow_mut().choose.take();
        let Some(mut choose) = choose else { return reports.first().copied() };
        let chosen = choose(reports);
        self.shared.script.borrow_mut().choose.get_or_insert(choose);
        reports.get(chosen?).copied()
    }

    pub(crate) fn next_idle_step(&self) -> bool {
        let step = self.shared.script.borrow_mut().idle.pop_front();
        step.map(|step| step(self)).is_some()
    }

    pub(crate) fn take_failing_spawn(&self) -> Option<ErrorKind> {
        self.shared.script.borrow_mut().failing_spawn.take()
    }

    pub(crate) fn take_killed_spawn(&self) -> bool {
        std::mem::take(&mut self.shared.script.borrow_mut().killed_spawn)
    }

    pub(crate) fn take_meanwhile(&self) -> usize {
        std::mem::take(&mut self.shared.script.borrow_mut().meanwhile)
    }
}
