//! Breakpoints and watchpoints of a process.

use crate::{Arch, Backend, Breakpoint, BreakpointId, BreakpointSpec, Pid, Result};

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
        let process = self.staying(pid)?;
        self.insert_with_rules(process, breakpoint.into())
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

    pub(super) fn insert_plain(
        &mut self,
        process: u32,
        breakpoint: Breakpoint,
    ) -> Result<BreakpointId> {
        match breakpoint {
            Breakpoint::Software(breakpoint) => self.insert_software(process, breakpoint),
            Breakpoint::Hardware(breakpoint) => self.insert_hardware(process, breakpoint),
        }
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
        let process = self.traced(pid)?;
        Ok(self.remove_software(process, id)? || self.remove_hardware(process, id)?)
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
        let process = self.traced(pid)?;
        let mut all = self.software_of(process);
        all.extend(self.hardware_of(process));
        all.sort_by_key(|&(id, _)| id);
        Ok(all.into_iter())
    }

    /// A number that no breakpoint had before.
    pub(super) fn next_breakpoint(&mut self) -> BreakpointId {
        self.last_breakpoint = self.last_breakpoint.wrapping_add(1);
        BreakpointId::from_number(self.last_breakpoint)
    }
}
