//! Signals and job control.

use trapline_core::backend::{Disposition, RawReason, TrapOrigin};
use trapline_core::{Error, ExitStatus, Pid, Result, Signal, Tid};

use crate::kernel::Kernel;
use crate::model::{Held, Model, State};
use crate::report::Delivery;
use crate::rules::Rules;
use crate::stops::KILLED;

impl<R: Rules> Kernel<R> {
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
}

impl Model {
    /// A signal is sent to a thread.
    pub(crate) fn signal(&mut self, tid: Tid, signal: Signal) {
        let Some(task) = self.tasks.get(&tid) else { return };
        let (pid, traced) = (task.pid, task.setup.is_some());
        if signal == Signal::KILL {
            return self.kill(pid);
        }
        if signal == Signal::CONT && self.rules.job_control {
            self.end_group_stop(pid);
        }
        let free = self.acts(tid) && !self.tasks.get(&tid).is_some_and(|task| task.trapped);
        let ours = self.tasks.get_mut(&tid);
        match (free, traced, ours) {
            (true, true, _) => self.stop_for(tid, signal, TrapOrigin::Sent),
            (true, false, _) => self.deliver(tid, signal),
            (false, _, Some(task)) => task.signals.push_back(signal),
            (false, _, None) => {}
        }
    }

    /// The thread that takes a signal for a process: the first that is free to.
    pub(crate) fn taker(&self, pid: Pid) -> Option<Tid> {
        let living = self.living(pid);
        living.iter().copied().find(|&tid| self.acts(tid)).or(living.first().copied())
    }

    /// A signal reaches the program.
    pub(crate) fn deliver(&mut self, tid: Tid, signal: Signal) {
        let Some(task) = self.tasks.get(&tid) else { return };
        let pid = task.pid;
        self.records.deliveries.push(Delivery { pid, tid, signal });
        if signal == Signal::KILL {
            return self.kill(pid);
        }
        let Some(process) = self.processes.get_mut(&pid) else { return };
        if let Some(&handler) = process.handlers.get(&signal) {
            if let Some(task) = self.tasks.get_mut(&tid) {
                let mut frame = task.registers;
                if std::mem::take(&mut frame.interrupted) {
                    frame.pc -= 1;
                }
                task.frames.push(frame);
                task.registers.pc = handler;
                task.registers.sp = task.registers.sp.wrapping_sub(16);
                (task.registers.interrupted, task.registers.resumes) = (false, false);
            }
        } else if process.fatal.contains(&signal) {
            let status = ExitStatus::Killed { signal, core_dumped: signal == Signal::SEGV };
            self.end_by(pid, status);
        } else if signal.stops() && self.rules.job_control {
            process.group_stop = Some(signal);
            for tid in self.living(pid) {
                let Some(task) = self.tasks.get_mut(&tid) else { continue };
                match (task.state == State::Runs && task.held.is_none(), task.setup) {
                    (true, Some(_)) => self.stop(tid, RawReason::GroupStop(signal)),
                    (true, None) => task.state = State::Listens,
                    (false, _) => {} // joins when it goes on
                }
            }
        }
    }

    pub(crate) fn disposition(&self, pid: Pid, signal: Signal) -> Result<Disposition> {
        let process = self.processes.get(&pid).ok_or(Error::GONE)?;
        Ok(match process.handlers.contains_key(&signal) {
            true => Disposition::Caught,
            false if process.fatal.contains(&signal) => Disposition::Ends,
            false => Disposition::Ignored,
        })
    }

    /// `SIGCONT` was sent.
    fn end_group_stop(&mut self, pid: Pid) {
        let Some(process) = self.processes.get_mut(&pid) else { return };
        if process.group_stop.take().is_none() {
            return;
        }
        for tid in self.living(pid) {
            let Some(task) = self.tasks.get_mut(&tid) else { continue };
            match (&task.state, task.setup) {
                (State::Listens, Some(_)) => self.stop(tid, RawReason::Paused),
                (State::Listens, None) => self.go_on(tid),
                (State::Stopped(stop), _) if matches!(stop.reason, RawReason::GroupStop(_)) => {
                    task.notify = true;
                }
                _ => {}
            }
        }
    }

    /// A process is killed.
    pub(crate) fn kill(&mut self, pid: Pid) {
        self.end_by(pid, KILLED);
    }

    pub(crate) fn end_by(&mut self, pid: Pid, status: ExitStatus) {
        let Some(process) = self.processes.get_mut(&pid) else { return };
        if process.over.is_some() {
            return;
        }
        if self.rules.kills_stopped {
            process.ending.get_or_insert(status);
            process.execing = None;
            for tid in self.living(pid) {
                self.doom(tid);
            }
            if !self.is_traced(pid) {
                self.die_all();
            }
            return;
        }
        process.kill_waits = true;
        process.ending = Some(status);
        let stopped = |tid: &Tid| {
            self.tasks.get(tid).is_some_and(|task| matches!(task.state, State::Stopped(_)))
        };
        if !self.living(pid).iter().any(stopped) {
            self.killed_if_free(pid);
        }
    }

    /// With process scope: the last thread of a killed process that is not on its way out waits for
    /// its vfork child before it heeds a signal (`ast_vfork` in `kern_fork.c`).
    fn awaits_vfork(&mut self, tid: Tid) {
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        let Some(child) = task.vforked.take() else { return };
        if self.processes.get(&child).is_some_and(|p| p.vfork_parent == Some(tid)) {
            task.held = Some(Held::Vfork);
        }
    }

    /// With process scope: a killed process ends, unless a stop of it is on show or the kernel
    /// holds one of its threads.
    pub(crate) fn killed_if_free(&mut self, pid: Pid) {
        let Some(process) = self.processes.get(&pid) else { return };
        let (true, None, Some(status)) = (process.kill_waits, process.reported, process.ending)
        else {
            return;
        };
        let mut staying = self.living(pid);
        staying.retain(|tid| self.tasks.get(tid).is_some_and(|task| task.leaving.is_none()));
        if let [last] = staying[..] {
            self.awaits_vfork(last);
        }
        let held =
            |tid: &Tid| self.tasks.get(tid).is_some_and(|task| task.held == Some(Held::Vfork));
        let living = self.living(pid);
        let any_held = living.iter().any(held);
        for tid in &living {
            // What had yet to be reported will not be (`ptracestop` looks at P_KILLED).
            if let Some(task) = self.tasks.get_mut(tid) {
                task.state = State::Runs;
            }
        }
        if any_held {
            return;
        }
        for tid in living {
            if let Some(task) = self.tasks.get_mut(&tid) {
                task.leaving = Some(status); // no stop on the way
            }
            self.leave(tid, status);
        }
    }
}
