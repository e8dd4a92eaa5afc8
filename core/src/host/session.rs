//! What a tracer's thread has: the tracer, the tokens of stopped threads, and a state of the host's.

use std::collections::BTreeMap;
use std::fmt;

use crate::{
    Backend, Error, Event, Notice, Pid, Reader, Result, Resume, StopReason, Stopped, Tid, Tracer,
};

/// A tracer, the threads that are stopped in its hands, and a state of the host's: what the closures and
/// the handler of a [`TracerThread`](crate::TracerThread) get.
///
/// ```
/// use trapline::{Resume, Result, Session, Tid};
///
/// /// What a button of a debugger does.
/// fn step(session: &mut Session, tid: Tid) -> Result<()> {
///     session.resume(tid, Resume::Step)
/// }
/// ```
pub struct Session<B: Backend, S = ()> {
    tracer: Tracer<B>,
    stops: Stops,
    /// The host's own.
    pub state: S,
}

/// The tokens of stopped threads, by thread.
///
/// A token that is taken out and dropped comes again, as every token does: the next wait gives its stop
/// once more.
///
/// ```
/// use trapline::{Stops, Tid};
///
/// fn is_stopped(stops: &Stops, tid: Tid) -> bool {
///     stops.get(tid).is_some()
/// }
/// ```
#[derive(Debug, Default)]
pub struct Stops {
    tokens: BTreeMap<Tid, Stopped>,
}

impl Stops {
    /// The token of a thread, if it is here.
    ///
    /// ```
    /// use trapline::{StopReason, Stops, Tid};
    ///
    /// fn reason(stops: &Stops, tid: Tid) -> Option<StopReason> {
    ///     Some(stops.get(tid)?.reason())
    /// }
    /// ```
    pub fn get(&self, tid: Tid) -> Option<&Stopped> {
        self.tokens.get(&tid)
    }

    /// The same, to choose the signal that it is resumed with.
    ///
    /// ```
    /// use trapline::{Result, Stops, Tid};
    ///
    /// fn suppress_signal(stops: &mut Stops, tid: Tid) -> Result<()> {
    ///     stops.get_mut(tid).map_or(Ok(()), |stop| stop.set_signal(None))
    /// }
    /// ```
    pub fn get_mut(&mut self, tid: Tid) -> Option<&mut Stopped> {
        self.tokens.get_mut(&tid)
    }

    /// Takes the token of a thread out, to do with it what takes one.
    ///
    /// ```
    /// use trapline::{Halted, Result, Session, Tid};
    ///
    /// /// Stops all threads of a process at the stop of one.
    /// fn halt(session: &mut Session, tid: Tid) -> Result<Halted> {
    ///     let stop = session.stops_mut().take(tid)?;
    ///     session.tracer_mut().halt(stop)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NotStopped`] if it is not here.
    pub fn take(&mut self, tid: Tid) -> Result<Stopped> {
        self.tokens.remove(&tid).ok_or(Error::NOT_STOPPED)
    }

    /// Takes all tokens of a process out.
    ///
    /// ```
    /// use trapline::{Pid, Resume, Result, Session};
    ///
    /// fn resume_process(session: &mut Session, pid: Pid) -> Result<()> {
    ///     let stops = session.stops_mut().take_process(pid);
    ///     stops.into_iter().try_for_each(|stop| session.tracer_mut().resume(stop, Resume::Continue))
    /// }
    /// ```
    pub fn take_process(&mut self, pid: Pid) -> Vec<Stopped> {
        let of_it = |stop: &&Stopped| stop.pid() == pid;
        let tids: Vec<Tid> = self.tokens.values().filter(of_it).map(Stopped::tid).collect();
        tids.into_iter().filter_map(|tid| self.tokens.remove(&tid)).collect()
    }

    /// Puts a token in, such as those of a [`Halted`](crate::Halted).
    ///
    /// ```
    /// use trapline::{Halted, Session};
    ///
    /// fn keep_all(session: &mut Session, halted: Halted) {
    ///     halted.threads.into_iter().for_each(|stop| session.stops_mut().keep(stop));
    /// }
    /// ```
    pub fn keep(&mut self, stop: Stopped) {
        self.tokens.insert(stop.tid(), stop);
    }

    /// All of them, by the numbers of their threads.
    ///
    /// ```
    /// use trapline::{Stops, Tid};
    ///
    /// fn stopped(stops: &Stops) -> Vec<Tid> {
    ///     stops.iter().map(|stop| stop.tid()).collect()
    /// }
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = &Stopped> {
        self.tokens.values()
    }
}

impl<B: Backend, S: fmt::Debug> fmt::Debug for Session<B, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("stops", &self.stops)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl<B: Backend, S> Session<B, S> {
    pub(super) fn new(tracer: Tracer<B>, state: S) -> Self {
        Session { tracer, stops: Stops::default(), state }
    }

    /// The tracer, for questions.
    ///
    /// ```
    /// fn processes(session: &trapline::Session) -> usize {
    ///     session.tracer().processes().count()
    /// }
    /// ```
    pub fn tracer(&self) -> &Tracer<B> {
        &self.tracer
    }

    /// The tracer, for requests. A closure need not wait with it: the thread does that.
    ///
    /// ```
    /// use trapline::{Pid, Result, Session};
    ///
    /// fn interrupt(session: &mut Session, pid: Pid) -> Result<()> {
    ///     session.tracer_mut().interrupt(pid)
    /// }
    /// ```
    pub fn tracer_mut(&mut self) -> &mut Tracer<B> {
        &mut self.tracer
    }

    /// The tokens of the threads that are stopped.
    ///
    /// ```
    /// fn stopped(session: &trapline::Session) -> usize {
    ///     session.stops().iter().count()
    /// }
    /// ```
    pub fn stops(&self) -> &Stops {
        &self.stops
    }

    /// The same, to take some out.
    ///
    /// ```
    /// use trapline::{Result, Session, Stopped, Tid};
    ///
    /// fn take(session: &mut Session, tid: Tid) -> Result<Stopped> {
    ///     session.stops_mut().take(tid)
    /// }
    /// ```
    pub fn stops_mut(&mut self) -> &mut Stops {
        &mut self.stops
    }

    /// All three at once, for requests about a token that stays here.
    ///
    /// ```no_run
    /// use trapline_core::{Arch, Backend, Error, Result, Session, Tid};
    ///
    /// /// Has a thread go on elsewhere.
    /// fn jump<B: Backend>(session: &mut Session<B>, tid: Tid, addr: u64) -> Result<()> {
    ///     let (tracer, stops, _) = session.parts();
    ///     let stop = stops.get(tid).ok_or(Error::NotStopped { pid: None })?;
    ///     let mut registers = tracer.registers(stop)?;
    ///     B::Arch::set_pc(&mut registers, addr);
    ///     tracer.set_registers(stop, &registers)
    /// }
    /// ```
    pub fn parts(&mut self) -> (&mut Tracer<B>, &mut Stops, &mut S) {
        (&mut self.tracer, &mut self.stops, &mut self.state)
    }

    /// A stopped thread, to ask questions about.
    ///
    /// ```
    /// use trapline::{Result, Session, Tid};
    ///
    /// fn read(session: &Session, tid: Tid, addr: u64) -> Result<u64> {
    ///     session.at(tid)?.read_value(addr)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NotStopped`] if its token is not here.
    pub fn at(&self, tid: Tid) -> Result<Reader<'_, B>> {
        Ok(self.tracer.at(self.stops.get(tid).ok_or(Error::NOT_STOPPED)?))
    }

    /// Runs a stopped thread, as [`Tracer::resume`] does.
    ///
    /// ```
    /// use trapline::{Resume, Result, Session, Tid};
    ///
    /// fn go_on(session: &mut Session, tid: Tid) -> Result<()> {
    ///     session.resume(tid, Resume::Continue)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NotStopped`] if its token is not here; as [`Tracer::resume`] otherwise, after which its
    /// stop comes again.
    pub fn resume(&mut self, tid: Tid, how: Resume) -> Result<()> {
        let stop = self.stops.take(tid)?;
        self.tracer.resume(stop, how)
    }

    /// Runs several, such as those of a [notice](Notice::threads). Those that are not here are left out:
    /// somebody has resumed them.
    ///
    /// ```
    /// use trapline::{Notice, Resume, Result, Session};
    ///
    /// fn go_on(session: &mut Session, notice: &Notice) -> Result<()> {
    ///     session.resume_all(notice.threads(), Resume::Continue)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// The first error of [`Tracer::resume`]; the others are resumed all the same.
    pub fn resume_all(&mut self, tids: impl IntoIterator<Item = Tid>, how: Resume) -> Result<()> {
        let mut result = Ok(());
        for tid in tids {
            if let Ok(stop) = self.stops.take(tid) {
                result = result.and(self.tracer.resume(stop, how));
            }
        }
        result
    }

    /// Detaches a process, running or stopped, as [`Tracer::detach_process`] does. A signal that a thread
    /// is stopped for is delivered, as its token says.
    ///
    /// ```
    /// use trapline::{Pid, Result, Session};
    ///
    /// fn let_it_run(session: &mut Session, pid: Pid) -> Result<()> {
    ///     session.detach(pid)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Tracer::detach`].
    pub fn detach(&mut self, pid: Pid) -> Result<()> {
        let mut result = Ok(());
        let stops = self.stops.take_process(pid);
        if stops.is_empty() {
            return self.tracer.detach_process(pid);
        }
        for stop in stops {
            result = result.and(self.tracer.detach(stop)); // with the first one all the others go
        }
        result
    }

    /// Kills a process, running or stopped; its end follows.
    ///
    /// ```
    /// use trapline::{Pid, Result, Session};
    ///
    /// fn end(session: &mut Session, pid: Pid) -> Result<()> {
    ///     session.kill(pid)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Tracer::kill`].
    pub fn kill(&mut self, pid: Pid) -> Result<()> {
        self.tracer.kill(pid)?;
        // Its end comes when nobody holds a stop of it. One that was dropped would be given once more.
        let mut stops = self.stops.take_process(pid).into_iter();
        stops.try_for_each(|stop| self.tracer.resume(stop, Resume::Continue))
    }

    /// Keeps the tokens of an event, and says what it was.
    pub(super) fn take_in(&mut self, event: Event) -> Notice {
        let notice = Notice::from(&event);
        match notice {
            // The other threads are gone, and so is what their tokens were for.
            Notice::Stopped { pid, reason: StopReason::Execed { .. }, .. }
            | Notice::Exited { pid, .. }
            | Notice::Detached { pid } => drop(self.stops.take_process(pid)),
            Notice::ThreadExited { tid, .. } => drop(self.stops.take(tid)),
            _ => {}
        }
        for stop in event.into_stops() {
            self.stops.keep(stop);
        }
        notice
    }
}
