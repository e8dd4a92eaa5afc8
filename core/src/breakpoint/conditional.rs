//! Breakpoints that are not for every arrival.

use std::cell::RefCell;
use std::fmt;

use crate::error::About;
use crate::{BreakpointId, Error, Pid, Result, Tid, Value};

use super::{Breakpoint, HardwareBreakpoint, SoftwareBreakpoint};

/// What [`Tracer::insert_breakpoint`](crate::Tracer::insert_breakpoint) takes: a breakpoint of any
/// kind, converted. `R` is the type of the CPU's registers.
///
/// ```
/// use trapline::{BreakpointSpec, Registers, SoftwareBreakpoint};
///
/// let plain: BreakpointSpec<Registers> = SoftwareBreakpoint::at(0x40_1000).into();
/// let once: BreakpointSpec<Registers> = SoftwareBreakpoint::at(0x40_1000).once().into();
/// # let _ = (plain, once);
/// ```
#[derive(Debug)]
pub struct BreakpointSpec<R> {
    pub(crate) breakpoint: Breakpoint,
    pub(crate) rules: Option<Box<Rules<R>>>,
}

impl<R> From<Breakpoint> for BreakpointSpec<R> {
    fn from(breakpoint: Breakpoint) -> Self {
        BreakpointSpec { breakpoint, rules: None }
    }
}

impl<R> From<SoftwareBreakpoint> for BreakpointSpec<R> {
    fn from(breakpoint: SoftwareBreakpoint) -> Self {
        Breakpoint::from(breakpoint).into()
    }
}

impl<R> From<HardwareBreakpoint> for BreakpointSpec<R> {
    fn from(breakpoint: HardwareBreakpoint) -> Self {
        Breakpoint::from(breakpoint).into()
    }
}

impl<R> From<ConditionalBreakpoint<R>> for BreakpointSpec<R> {
    fn from(breakpoint: ConditionalBreakpoint<R>) -> Self {
        let ConditionalBreakpoint { addr, rules } = breakpoint;
        BreakpointSpec {
            breakpoint: SoftwareBreakpoint { addr }.into(),
            rules: Some(Box::new(rules)),
        }
    }
}

/// A condition, as [`ConditionalBreakpoint::when`] takes it.
type Condition<R> = Box<dyn FnMut(&BreakpointHit<'_, R>) -> bool>;

/// Which arrivals at a breakpoint are reported.
pub(crate) struct Rules<R> {
    pub(crate) thread: Option<Tid>,
    pub(crate) condition: Option<Condition<R>>,
    /// How many arrivals are still to be passed over.
    pub(crate) ignore: u64,
    pub(crate) once: bool,
}

impl<R> Rules<R> {
    /// Whether an arrival is reported; it counts if it is not.
    pub(crate) fn admit(&mut self, arrival: &BreakpointHit<'_, R>) -> bool {
        if self.thread.is_some_and(|thread| thread != arrival.tid) {
            return false;
        }
        if !self.condition.as_mut().is_none_or(|condition| condition(arrival)) {
            return false;
        }
        let ignored = self.ignore > 0;
        self.ignore = self.ignore.saturating_sub(1);
        !ignored
    }
}

impl<R> fmt::Debug for Rules<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rules")
            .field("thread", &self.thread)
            .field("condition", &self.condition.is_some())
            .field("ignore", &self.ignore)
            .field("once", &self.once)
            .finish()
    }
}

/// A breakpoint in memory that reports only some of its hits. It is made with
/// [`SoftwareBreakpoint::at`] and the methods that both types have.
///
/// The engine decides when a thread arrives. A hit that is not reported costs no more requests than
/// one that is, and stops no other thread.
///
/// The conditions are checked in this order: the thread, the condition, the number of hits. The child
/// of a fork has the breakpoint too, with the same condition and the same count.
///
/// ```
/// use trapline::{BreakpointHit, SoftwareBreakpoint};
///
/// // The tenth hit at which the first argument is above 5, and that one alone.
/// let breakpoint = SoftwareBreakpoint::at(0x40_1000)
///     .when(|hit: &BreakpointHit<'_>| hit.registers().argument(0).is_some_and(|value| value > 5))
///     .ignore(9)
///     .once();
/// # drop(breakpoint);
/// ```
#[derive(Debug)]
pub struct ConditionalBreakpoint<R> {
    addr: u64,
    rules: Rules<R>,
}

impl SoftwareBreakpoint {
    /// A breakpoint at this address, which is the first byte of an instruction.
    ///
    /// ```
    /// use trapline::SoftwareBreakpoint;
    ///
    /// assert_eq!(SoftwareBreakpoint::at(0x40_1000), SoftwareBreakpoint { addr: 0x40_1000 });
    /// ```
    pub fn at(addr: u64) -> Self {
        SoftwareBreakpoint { addr }
    }

    /// Reports the hits of one thread alone; others pass without an event.
    ///
    /// ```
    /// use trapline::{ConditionalBreakpoint, Registers, SoftwareBreakpoint, Stopped};
    ///
    /// fn only_here(stop: &Stopped, addr: u64) -> ConditionalBreakpoint<Registers> {
    ///     SoftwareBreakpoint::at(addr).thread(stop.tid())
    /// }
    /// ```
    pub fn thread<R>(self, tid: Tid) -> ConditionalBreakpoint<R> {
        ConditionalBreakpoint::from(self).thread(tid)
    }

    /// Reports the hits at which a condition holds: see [`ConditionalBreakpoint::when`].
    ///
    /// ```
    /// use trapline::{BreakpointHit, SoftwareBreakpoint};
    ///
    /// // Where the stack is not aligned.
    /// let breakpoint = SoftwareBreakpoint::at(0x40_1000)
    ///     .when(|hit: &BreakpointHit<'_>| hit.registers().sp() % 16 != 8);
    /// # drop(breakpoint);
    /// ```
    pub fn when<R>(
        self,
        condition: impl FnMut(&BreakpointHit<'_, R>) -> bool + 'static,
    ) -> ConditionalBreakpoint<R> {
        ConditionalBreakpoint::from(self).when(condition)
    }

    /// Reports the hits after this many.
    ///
    /// ```
    /// use trapline::{ConditionalBreakpoint, Registers, SoftwareBreakpoint};
    ///
    /// let after_a_hundred: ConditionalBreakpoint<Registers> =
    ///     SoftwareBreakpoint::at(0x40_1000).ignore(100);
    /// # drop(after_a_hundred);
    /// ```
    pub fn ignore<R>(self, arrivals: u64) -> ConditionalBreakpoint<R> {
        ConditionalBreakpoint::from(self).ignore(arrivals)
    }

    /// Reports one hit: the breakpoint is removed when the event is given.
    ///
    /// ```
    /// use trapline::{ConditionalBreakpoint, Registers, SoftwareBreakpoint};
    ///
    /// let temporary: ConditionalBreakpoint<Registers> = SoftwareBreakpoint::at(0x40_1000).once();
    /// # drop(temporary);
    /// ```
    pub fn once<R>(self) -> ConditionalBreakpoint<R> {
        ConditionalBreakpoint::from(self).once()
    }
}

impl<R> From<SoftwareBreakpoint> for ConditionalBreakpoint<R> {
    fn from(SoftwareBreakpoint { addr }: SoftwareBreakpoint) -> Self {
        let rules = Rules { thread: None, condition: None, ignore: 0, once: false };
        ConditionalBreakpoint { addr, rules }
    }
}

impl<R> ConditionalBreakpoint<R> {
    /// Reports the hits of one thread alone; others pass without an event.
    ///
    /// ```
    /// use trapline::{ConditionalBreakpoint, Registers, SoftwareBreakpoint, Stopped};
    ///
    /// fn once_here(stop: &Stopped, addr: u64) -> ConditionalBreakpoint<Registers> {
    ///     SoftwareBreakpoint::at(addr).once().thread(stop.tid())
    /// }
    /// ```
    pub fn thread(mut self, tid: Tid) -> Self {
        self.rules.thread = Some(tid);
        self
    }

    /// Reports the hits at which a condition holds. The condition takes the place of one that was
    /// given before.
    ///
    /// The tracer calls it inside of a wait, with the thread stopped at the breakpoint. If it panics,
    /// so does the wait.
    ///
    /// ```
    /// use trapline::{BreakpointHit, SoftwareBreakpoint};
    ///
    /// // Where a string begins with a slash.
    /// let breakpoint = SoftwareBreakpoint::at(0x40_1000).once().when(|hit: &BreakpointHit<'_>| {
    ///     let mut first = [0];
    ///     let string = hit.registers().argument(0).unwrap_or(0);
    ///     hit.read_memory(string, &mut first).is_ok() && first == *b"/"
    /// });
    /// # drop(breakpoint);
    /// ```
    pub fn when(mut self, condition: impl FnMut(&BreakpointHit<'_, R>) -> bool + 'static) -> Self {
        self.rules.condition = Some(Box::new(condition));
        self
    }

    /// Reports the hits after this many.
    ///
    /// ```
    /// use trapline::{ConditionalBreakpoint, Registers, SoftwareBreakpoint};
    ///
    /// let the_tenth: ConditionalBreakpoint<Registers> =
    ///     SoftwareBreakpoint::at(0x40_1000).once().ignore(9);
    /// # drop(the_tenth);
    /// ```
    pub fn ignore(mut self, arrivals: u64) -> Self {
        self.rules.ignore = arrivals;
        self
    }

    /// Reports one hit: the breakpoint is removed when the event is given.
    ///
    /// ```
    /// use trapline::{ConditionalBreakpoint, Registers, SoftwareBreakpoint};
    ///
    /// let the_tenth: ConditionalBreakpoint<Registers> =
    ///     SoftwareBreakpoint::at(0x40_1000).ignore(9).once();
    /// # drop(the_tenth);
    /// ```
    pub fn once(mut self) -> Self {
        self.rules.once = true;
        self
    }
}

/// A thread that has arrived at a breakpoint, for the condition of that to look at.
///
/// ```
/// use trapline::{BreakpointHit, SoftwareBreakpoint};
///
/// let breakpoint = SoftwareBreakpoint::at(0x40_1000).when(|hit: &BreakpointHit<'_>| {
///     println!("thread {} has hit breakpoint {}", hit.tid(), hit.breakpoint());
///     false // no event
/// });
/// # drop(breakpoint);
/// ```
pub struct BreakpointHit<'a, R> {
    pub(crate) pid: Pid,
    pub(crate) tid: Tid,
    pub(crate) id: BreakpointId,
    pub(crate) registers: &'a R,
    pub(crate) memory: RefCell<Memory<'a>>,
}

/// Reads memory from an address on, and says how much.
pub(crate) type Memory<'a> = &'a mut dyn FnMut(u64, &mut [u8]) -> Result<usize>;

impl<R> BreakpointHit<'_, R> {
    /// The process.
    ///
    /// ```
    /// use trapline::BreakpointHit;
    ///
    /// fn is_own(hit: &BreakpointHit<'_>, debugged: trapline::Pid) -> bool {
    ///     hit.pid() == debugged // and not a child of it
    /// }
    /// ```
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// The thread.
    ///
    /// ```
    /// use trapline::{BreakpointHit, Tid};
    ///
    /// fn is_worker(hit: &BreakpointHit<'_>, workers: &[Tid]) -> bool {
    ///     workers.contains(&hit.tid())
    /// }
    /// ```
    pub fn tid(&self) -> Tid {
        self.tid
    }

    /// The breakpoint.
    ///
    /// ```
    /// fn log(hit: &trapline::BreakpointHit<'_>) {
    ///     println!("breakpoint {} is hit", hit.breakpoint());
    /// }
    /// ```
    pub fn breakpoint(&self) -> BreakpointId {
        self.id
    }

    /// The general registers, with the program counter at the breakpoint.
    ///
    /// ```
    /// fn stack_pointer(hit: &trapline::BreakpointHit<'_>) -> u64 {
    ///     hit.registers().sp()
    /// }
    /// ```
    pub fn registers(&self) -> &R {
        self.registers
    }

    /// Reads memory of the process, without breakpoint instructions. Returns how many bytes were
    /// read.
    ///
    /// ```
    /// /// Whether a counter in the program's memory is above 1000.
    /// fn is_late(hit: &trapline::BreakpointHit<'_>, counter: u64) -> bool {
    ///     let mut value = [0; 8];
    ///     hit.read_memory(counter, &mut value) == Ok(8) && u64::from_ne_bytes(value) > 1000
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::BadAddress`](crate::Error::BadAddress) if not even the first byte could be read;
    /// [`Error::Gone`](crate::Error::Gone) if the process was killed.
    pub fn read_memory(&self, addr: u64, buf: &mut [u8]) -> Result<usize> {
        (self.memory.borrow_mut())(addr, buf).about(self.pid)
    }

    /// A number, or an array of bytes, in the program's memory.
    ///
    /// ```
    /// /// Whether a counter in the program's memory is above 1000.
    /// fn is_late(hit: &trapline::BreakpointHit<'_>, counter: u64) -> bool {
    ///     hit.read_value::<u64>(counter).is_ok_and(|value| value > 1000)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::BadAddress`](crate::Error::BadAddress) with the first address that cannot be read;
    /// [`Error::Gone`](crate::Error::Gone) if the process was killed.
    pub fn read_value<T: Value>(&self, addr: u64) -> Result<T> {
        T::read(|bytes| match self.read_memory(addr, bytes)? {
            read if read == bytes.len() => Ok(()),
            read => Err(Error::bad_address(addr.wrapping_add(read as u64)).about(self.pid)),
        })
    }
}

impl<R: fmt::Debug> fmt::Debug for BreakpointHit<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BreakpointHit")
            .field("pid", &self.pid)
            .field("tid", &self.tid)
            .field("breakpoint", &self.id)
            .field("registers", &self.registers)
            .finish_non_exhaustive()
    }
}
