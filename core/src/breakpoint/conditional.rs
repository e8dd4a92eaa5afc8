//! Breakpoints that are not for every arrival.

use std::cell::RefCell;
use std::fmt;

use crate::{BreakpointId, Pid, Result, Tid};

use super::{Breakpoint, HardwareBreakpoint, SoftwareBreakpoint};

/// What [`Tracer::insert`](crate::Tracer::insert) is given: a breakpoint of any kind. `R` are the
/// registers of the CPU.
#[derive(Debug)]
pub struct Insertion<R> {
    pub(crate) breakpoint: Breakpoint,
    pub(crate) rules: Option<Box<Rules<R>>>,
}

impl<R> From<Breakpoint> for Insertion<R> {
    fn from(breakpoint: Breakpoint) -> Self {
        Insertion { breakpoint, rules: None }
    }
}

impl<R> From<SoftwareBreakpoint> for Insertion<R> {
    fn from(breakpoint: SoftwareBreakpoint) -> Self {
        Breakpoint::from(breakpoint).into()
    }
}

impl<R> From<HardwareBreakpoint> for Insertion<R> {
    fn from(breakpoint: HardwareBreakpoint) -> Self {
        Breakpoint::from(breakpoint).into()
    }
}

impl<R> From<ConditionalBreakpoint<R>> for Insertion<R> {
    fn from(breakpoint: ConditionalBreakpoint<R>) -> Self {
        let ConditionalBreakpoint { addr, rules } = breakpoint;
        Insertion { breakpoint: SoftwareBreakpoint { addr }.into(), rules: Some(Box::new(rules)) }
    }
}

/// A condition, as [`ConditionalBreakpoint::when`] takes it.
type Condition<R> = Box<dyn FnMut(&Arrival<'_, R>) -> bool>;

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
    pub(crate) fn admit(&mut self, arrival: &Arrival<'_, R>) -> bool {
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

/// A breakpoint in memory of which not every arrival is an event: made with
/// [`SoftwareBreakpoint::at`] and the methods that are the same here.
///
/// The engine decides at the arrival. One that is not reported costs no more requests than one that
/// is, and nobody is stopped for it but the thread that arrives.
///
/// What is asked is in this order: the thread, the condition, the number of arrivals. The child of a
/// fork has the breakpoint too, with the same condition and the same count.
///
/// ```
/// use trapline_core::{Arrival, SoftwareBreakpoint};
/// # type Registers = u64;
///
/// // The tenth arrival at which the condition holds, and that one alone.
/// let breakpoint = SoftwareBreakpoint::at(0x40_1000)
///     .when(|arrival: &Arrival<'_, Registers>| *arrival.registers() > 5)
///     .ignore(9)
///     .once();
/// ```
#[derive(Debug)]
pub struct ConditionalBreakpoint<R> {
    addr: u64,
    rules: Rules<R>,
}

impl SoftwareBreakpoint {
    /// A breakpoint at this address, the first byte of an instruction.
    pub fn at(addr: u64) -> Self {
        SoftwareBreakpoint { addr }
    }

    /// For one thread alone; others pass without an event.
    pub fn thread<R>(self, tid: Tid) -> ConditionalBreakpoint<R> {
        ConditionalBreakpoint::from(self).thread(tid)
    }

    /// For arrivals at which a condition holds: see [`ConditionalBreakpoint::when`].
    pub fn when<R>(
        self,
        condition: impl FnMut(&Arrival<'_, R>) -> bool + 'static,
    ) -> ConditionalBreakpoint<R> {
        ConditionalBreakpoint::from(self).when(condition)
    }

    /// For the arrivals after so many.
    pub fn ignore<R>(self, arrivals: u64) -> ConditionalBreakpoint<R> {
        ConditionalBreakpoint::from(self).ignore(arrivals)
    }

    /// For one arrival: it is removed as its event is given.
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
    /// For one thread alone; others pass without an event.
    pub fn thread(mut self, tid: Tid) -> Self {
        self.rules.thread = Some(tid);
        self
    }

    /// For arrivals at which a condition holds, instead of one that was given before.
    ///
    /// It is called by the tracer, inside of a wait, with the thread stopped at the breakpoint. If it
    /// panics, so does the wait.
    pub fn when(mut self, condition: impl FnMut(&Arrival<'_, R>) -> bool + 'static) -> Self {
        self.rules.condition = Some(Box::new(condition));
        self
    }

    /// For the arrivals after so many.
    pub fn ignore(mut self, arrivals: u64) -> Self {
        self.rules.ignore = arrivals;
        self
    }

    /// For one arrival: it is removed as its event is given.
    pub fn once(mut self) -> Self {
        self.rules.once = true;
        self
    }
}

/// A thread that has arrived at a breakpoint, for its condition to look at.
pub struct Arrival<'a, R> {
    pub(crate) pid: Pid,
    pub(crate) tid: Tid,
    pub(crate) id: BreakpointId,
    pub(crate) registers: &'a R,
    pub(crate) memory: RefCell<Memory<'a>>,
}

/// Reads memory from an address on, and says how much.
pub(crate) type Memory<'a> = &'a mut dyn FnMut(u64, &mut [u8]) -> Result<usize>;

impl<R> Arrival<'_, R> {
    /// The process.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// The thread.
    pub fn tid(&self) -> Tid {
        self.tid
    }

    /// The breakpoint.
    pub fn breakpoint(&self) -> BreakpointId {
        self.id
    }

    /// The general registers, with the program counter at the breakpoint.
    pub fn registers(&self) -> &R {
        self.registers
    }

    /// Reads memory of the process, without breakpoint instructions. Returns how many bytes were
    /// read.
    ///
    /// # Errors
    ///
    /// [`Error::BadAddress`](crate::Error::BadAddress) if not even the first byte could be read;
    /// [`Error::Gone`](crate::Error::Gone) if the process was killed.
    pub fn read_memory(&self, addr: u64, buf: &mut [u8]) -> Result<usize> {
        (self.memory.borrow_mut())(addr, buf)
    }
}

impl<R: fmt::Debug> fmt::Debug for Arrival<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arrival")
            .field("pid", &self.pid)
            .field("tid", &self.tid)
            .field("breakpoint", &self.id)
            .field("registers", &self.registers)
            .finish_non_exhaustive()
    }
}
