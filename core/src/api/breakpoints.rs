//! Breakpoints and watchpoints of a process.

use crate::error::About;
use crate::{
    Arch, Backend, Breakpoint, BreakpointId, BreakpointSpec, Change, InheritDebug, Pid, Result,
    SoftwareBreakpoint, Stopped,
};

use super::Tracer;

impl<B: Backend> Tracer<B> {
    /// Inserts a breakpoint into a process, for all its threads, including later ones. If the same
    /// breakpoint is inserted twice, it is one breakpoint, and has to be removed twice.
    ///
    /// Running threads are stopped for a moment. A thread that is already at the address arrives at
    /// the breakpoint when it is resumed. If the process execs at that moment, and the event of the
    /// exec is still to come, the new program has the breakpoint.
    ///
    /// ```
    /// # use trapline::fake::{Kernel, LinuxRules};
    /// # use trapline::{Event, TracerOn};
    /// # let kernel = Kernel::<LinuxRules>::new();
    /// # let pid = kernel.start();
    /// # kernel.map(pid, 0x1000, &[0x90, 0x90, 0xf4]);
    /// # let mut tracer = TracerOn::builder().build_on(kernel.backend());
    /// # tracer.attach(pid)?;
    /// # let Some(Event::Stopped(stop)) = tracer.wait()? else { panic!() };
    /// use trapline::{Resume, SoftwareBreakpoint, StopReason};
    ///
    /// let id = tracer.insert_breakpoint(pid, SoftwareBreakpoint { addr: 0x1001 })?;
    /// # kernel.when_idle(|kernel| kernel.jump(kernel.leader(kernel.processes()[0]), 0x1000));
    /// tracer.resume(stop, Resume::Continue)?;
    /// let Some(Event::Stopped(stop)) = tracer.wait()? else { panic!("no stop") };
    /// let StopReason::Trap(causes) = stop.reason() else { panic!("another stop") };
    /// assert_eq!(causes.software, Some(id));
    /// # tracer.detach(stop)?;
    /// # Ok::<(), trapline::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Gone`](crate::Error::Gone) if the process is not traced.
    /// [`Error::BadAddress`](crate::Error::BadAddress) for an address that cannot have a
    /// breakpoint: nothing is mapped there, or another breakpoint in memory covers some of the
    /// bytes. [`Error::NotStopped`](crate::Error::NotStopped) if the kernel holds all threads of
    /// the process, as in an exec. [`Error::BadBreakpoint`](crate::Error::BadBreakpoint) for a
    /// breakpoint that no process can have, such as a debug register with a length that makes no
    /// sense. [`Error::Unsupported`](crate::Error::Unsupported) for a breakpoint in memory that the
    /// process shares with one that is not traced. [`Error::NoFreeSlot`](crate::Error::NoFreeSlot)
    /// if too few debug registers are free. After an error nothing has changed.
    pub fn insert_breakpoint(
        &mut self,
        pid: Pid,
        breakpoint: impl Into<BreakpointSpec<<B::Arch as Arch>::Registers>>,
    ) -> Result<BreakpointId> {
        self.engine.insert_breakpoint(pid, breakpoint.into()).about(pid)
    }

    /// [`insert_breakpoint`](Tracer::insert_breakpoint), under its former name.
    ///
    /// # Errors
    ///
    /// As there.
    #[doc(hidden)]
    #[deprecated(note = "use `insert_breakpoint`")]
    pub fn insert(
        &mut self,
        pid: Pid,
        breakpoint: impl Into<BreakpointSpec<<B::Arch as Arch>::Registers>>,
    ) -> Result<BreakpointId> {
        self.insert_breakpoint(pid, breakpoint)
    }

    /// Removes a breakpoint, and says whether the process had it (an exec removes all breakpoints).
    /// A breakpoint that was inserted several times goes away when it has been removed as many
    /// times.
    ///
    /// ```
    /// # use trapline::fake::{Kernel, LinuxRules};
    /// # use trapline::{Event, TracerOn};
    /// # let kernel = Kernel::<LinuxRules>::new();
    /// # let pid = kernel.start();
    /// # kernel.map(pid, 0x1000, &[0x90, 0x90, 0xf4]);
    /// # let mut tracer = TracerOn::builder().build_on(kernel.backend());
    /// # tracer.attach(pid)?;
    /// # let Some(Event::Stopped(stop)) = tracer.wait()? else { panic!() };
    /// use trapline::SoftwareBreakpoint;
    ///
    /// let id = tracer.insert_breakpoint(pid, SoftwareBreakpoint { addr: 0x1001 })?;
    /// assert!(tracer.remove_breakpoint(pid, id)?);
    /// assert!(!tracer.remove_breakpoint(pid, id)?, "it is gone");
    /// # tracer.detach(stop)?;
    /// # Ok::<(), trapline::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Gone`](crate::Error::Gone) if the process is not traced;
    /// [`Error::NotStopped`](crate::Error::NotStopped) if none of its threads can be stopped.
    pub fn remove_breakpoint(&mut self, pid: Pid, id: BreakpointId) -> Result<bool> {
        self.engine.remove_breakpoint(pid, id).about(pid)
    }

    /// [`remove_breakpoint`](Tracer::remove_breakpoint), under its former name.
    ///
    /// # Errors
    ///
    /// As there.
    #[doc(hidden)]
    #[deprecated(note = "use `remove_breakpoint`")]
    pub fn remove(&mut self, pid: Pid, id: BreakpointId) -> Result<bool> {
        self.remove_breakpoint(pid, id)
    }

    /// The breakpoints of a process, the oldest first.
    ///
    /// ```
    /// # use trapline::fake::{Kernel, LinuxRules};
    /// # use trapline::{Event, TracerOn};
    /// # let kernel = Kernel::<LinuxRules>::new();
    /// # let pid = kernel.start();
    /// # kernel.map(pid, 0x1000, &[0x90, 0x90, 0xf4]);
    /// # let mut tracer = TracerOn::builder().build_on(kernel.backend());
    /// # tracer.attach(pid)?;
    /// # let Some(Event::Stopped(stop)) = tracer.wait()? else { panic!() };
    /// use trapline::{Breakpoint, SoftwareBreakpoint};
    ///
    /// let breakpoint = SoftwareBreakpoint { addr: 0x1001 };
    /// let id = tracer.insert_breakpoint(pid, breakpoint)?;
    /// let all: Vec<_> = tracer.breakpoints(pid)?.collect();
    /// assert_eq!(all, [(id, Breakpoint::Software(breakpoint))]);
    /// # tracer.detach(stop)?;
    /// # Ok::<(), trapline::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Gone`](crate::Error::Gone) if it is not traced.
    pub fn breakpoints(
        &self,
        pid: Pid,
    ) -> Result<impl Iterator<Item = (BreakpointId, Breakpoint)> + use<B>> {
        Ok(self.engine.breakpoints(pid).about(pid)?.into_iter())
    }

    /// Inserts many breakpoints in memory at once, into a process that runs or is stopped. Its
    /// threads are stopped once, and memory is read and written by pages.
    ///
    /// There is a result for each breakpoint, in their order.
    ///
    /// ```
    /// # use trapline::fake::{Kernel, LinuxRules};
    /// # use trapline::{Event, TracerOn};
    /// # let kernel = Kernel::<LinuxRules>::new();
    /// # let pid = kernel.start();
    /// # kernel.map(pid, 0x1000, &[0x90, 0x90, 0xf4]);
    /// # let mut tracer = TracerOn::builder().build_on(kernel.backend());
    /// # tracer.attach(pid)?;
    /// # let Some(Event::Stopped(stop)) = tracer.wait()? else { panic!() };
    /// use trapline::SoftwareBreakpoint;
    ///
    /// let functions = [0x1000, 0x1001, 0xdead_0000].map(|addr| SoftwareBreakpoint { addr });
    /// let inserted = tracer.insert_breakpoints(pid, functions)?;
    /// assert!(inserted[0].is_ok() && inserted[1].is_ok());
    /// assert!(inserted[2].is_err(), "nothing is mapped there");
    /// # tracer.detach(stop)?;
    /// # Ok::<(), trapline::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`insert_breakpoint`](Tracer::insert_breakpoint), for what concerns all of them. Then
    /// none is inserted.
    pub fn insert_breakpoints(
        &mut self,
        pid: Pid,
        breakpoints: impl IntoIterator<Item = SoftwareBreakpoint>,
    ) -> Result<Vec<Result<BreakpointId>>> {
        self.engine.insert_breakpoints(pid, breakpoints).about(pid)
    }

    /// Removes many breakpoints at once, as [`insert_breakpoints`](Tracer::insert_breakpoints) inserts
    /// them. Returns for each, in their order, whether the process had it.
    ///
    /// ```
    /// # use trapline::fake::{Kernel, LinuxRules};
    /// # use trapline::{Event, TracerOn};
    /// # let kernel = Kernel::<LinuxRules>::new();
    /// # let pid = kernel.start();
    /// # kernel.map(pid, 0x1000, &[0x90, 0x90, 0xf4]);
    /// # let mut tracer = TracerOn::builder().build_on(kernel.backend());
    /// # tracer.attach(pid)?;
    /// # let Some(Event::Stopped(stop)) = tracer.wait()? else { panic!() };
    /// use trapline::SoftwareBreakpoint;
    ///
    /// tracer.insert_breakpoint(pid, SoftwareBreakpoint { addr: 0x1000 })?;
    /// tracer.insert_breakpoint(pid, SoftwareBreakpoint { addr: 0x1001 })?;
    /// let all: Vec<_> = tracer.breakpoints(pid)?.map(|(id, _)| id).collect();
    /// assert_eq!(tracer.remove_breakpoints(pid, all)?, [true, true]);
    /// # tracer.detach(stop)?;
    /// # Ok::<(), trapline::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`remove_breakpoint`](Tracer::remove_breakpoint).
    pub fn remove_breakpoints(
        &mut self,
        pid: Pid,
        ids: impl IntoIterator<Item = BreakpointId>,
    ) -> Result<Vec<bool>> {
        self.engine.remove_breakpoints(pid, ids).about(pid)
    }

    /// The values, old and new, of the breakpoints of
    /// [`HardwareKind::Change`](crate::HardwareKind::Change) among the causes of a trap, in the
    /// order in which these were inserted. It makes no request.
    ///
    /// # Platform notes
    ///
    /// On Linux other threads run meanwhile. If writes follow each other closely, the first trap to be
    /// handled shows all of them, and the others show none.
    ///
    /// ```
    /// use trapline::{Backend, Result, Stopped, TracerOn};
    ///
    /// fn print_changes<B: Backend>(tracer: &TracerOn<B>, stop: &Stopped) -> Result<()> {
    ///     for change in tracer.watch_changes(stop)? {
    ///         println!("watchpoint {}: {:x?} is now {:x?}", change.id, change.old, change.new);
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Gone`](crate::Error::Gone) if the thread was killed.
    pub fn watch_changes(&self, stop: &Stopped) -> Result<&[Change]> {
        self.engine.watch_changes(stop).about(stop.pid())
    }

    /// Sets what inherits the hardware breakpoints of a process. Its later children inherit the
    /// setting too.
    ///
    /// ```
    /// use trapline::{Backend, Inherit, InheritDebug, Pid, Result, TracerOn};
    ///
    /// /// Has the children of a process watch what it watches.
    /// fn watch_children<B: Backend>(tracer: &mut TracerOn<B>, pid: Pid) -> Result<()> {
    ///     let inherit = InheritDebug { fork: Inherit::Copy, ..InheritDebug::default() };
    ///     tracer.set_inherit_debug(pid, inherit)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Gone`](crate::Error::Gone) if it is not traced.
    pub fn set_inherit_debug(&mut self, pid: Pid, inherit: InheritDebug) -> Result<()> {
        self.engine.set_inherit_debug(pid, inherit).about(pid)
    }
}
