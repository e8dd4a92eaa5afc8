//! Processes and threads as a client sees them: stopped all together or one by one, with their
//! stops told one after the other.
//!
//! What trapline reports is judged in `events`; what is to be told waits in its thread until the
//! client is told of it. `run` resumes and stops, `launch` begins and ends processes, `points`
//! keeps breakpoints, `access` registers and memory.

mod access;
mod events;
mod launch;
mod points;
mod process;
mod run;

use std::collections::VecDeque;
use std::process::Child;
use std::task::Poll;

use trapline::{
    Error, Event, EventFlags, ExitStatus, Inherit, InheritDebug, Pid, Result, ThreadState, Tid,
    Tracer,
};

use crate::system::STOPS_THREADS;
pub(crate) use launch::Launch;
pub(crate) use points::Inserted;

pub(crate) use process::{Origin, Process, Program, Stop, Thread, Wants};

/// What a client can be told, and what it wants to be told.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wishes {
    pub(crate) forks: bool,
    pub(crate) vforks: bool,
    pub(crate) execs: bool,
    pub(crate) threads: bool,
    pub(crate) no_resumed: bool,
    /// Each thread is stopped and run by itself.
    pub(crate) non_stop: bool,
    /// Signals that programs get without a word, by the client's numbers.
    pub(crate) passed: Vec<u8>,
    /// Signals that a process which is let go may get; all, if it is not said.
    pub(crate) program: Option<Vec<u8>>,
}

/// Something that a client is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum News {
    Stopped {
        pid: Pid,
        tid: Tid,
        stop: Stop,
    },
    ThreadExited {
        pid: Pid,
        tid: Tid,
    },
    Exited {
        pid: Pid,
        status: ExitStatus,
    },
    /// Nothing that was resumed is left.
    NothingRuns,
}

/// Everything behind the protocol.
pub(crate) struct Inferiors {
    pub(crate) tracer: Tracer,
    pub(crate) all: Vec<Process>,
    pub(crate) wishes: Wishes,
    pub(crate) launch: Launch,
    /// Ends, which belong to no thread.
    ends: VecDeque<News>,
    /// Everything is being brought to rest.
    stopping: bool,
    woken: bool,
    /// The client has pressed Ctrl-C, with this process before it, and has not been answered.
    interrupted: Option<Option<Pid>>,
    /// For the order in which stops have come.
    count: u64,
    /// Print what is found.
    pub(crate) trace: bool,
    /// The ones that were started here and let go, which are waited for.
    pub(crate) left: Vec<Child>,
}

impl Inferiors {
    pub(crate) fn new(launch: Launch) -> Result<Self> {
        let copy = InheritDebug { fork: Inherit::Copy, vfork: Inherit::Copy, exec: Inherit::Clear };
        let flags = EventFlags::PROCESS | EventFlags::VFORK_DONE;
        let tracer = Tracer::builder().events(flags).inherit_debug(copy).build()?;
        Ok(Inferiors {
            tracer,
            all: Vec::new(),
            wishes: Wishes::default(),
            launch,
            ends: VecDeque::new(),
            stopping: false,
            woken: false,
            interrupted: None,
            count: 0,
            trace: false,
            left: Vec::new(),
        })
    }

    pub(crate) fn note(&self, line: std::fmt::Arguments<'_>) {
        if self.trace {
            crate::say(line);
        }
    }

    pub(crate) fn at(&self, pid: Pid) -> Option<usize> {
        self.all.iter().position(|process| process.pid == pid)
    }

    pub(crate) fn get(&self, pid: Pid) -> Result<&Process> {
        self.all.iter().find(|process| process.pid == pid).ok_or(Error::Gone { pid: Some(pid) })
    }

    pub(crate) fn get_mut(&mut self, pid: Pid) -> Result<&mut Process> {
        self.all.iter_mut().find(|process| process.pid == pid).ok_or(Error::Gone { pid: Some(pid) })
    }

    pub(crate) fn thread(&self, pid: Pid, tid: Tid) -> Result<&Thread> {
        self.get(pid)?.thread(tid).ok_or(Error::Gone { pid: Some(pid) })
    }

    pub(crate) fn thread_mut(&mut self, pid: Pid, tid: Tid) -> Result<&mut Thread> {
        self.get_mut(pid)?.thread_mut(tid).ok_or(Error::Gone { pid: Some(pid) })
    }

    /// The processes that the client has heard of.
    pub(crate) fn known(&self) -> impl Iterator<Item = &Process> {
        self.all.iter().filter(|process| process.is_known)
    }

    /// What the client is to be told next, if anything is found already: ends first, then the stops
    /// of threads that it wants to run, in their order. Where all stop, that of a thread that was to
    /// step comes before: told later, the client would not know any more that it had wanted a step.
    pub(crate) fn next_news(&mut self) -> Option<News> {
        if let Some(end) = self.ends.pop_front() {
            return Some(end);
        }
        let steps_first = !self.wishes.non_stop;
        let process = self.all.iter_mut().filter(|process| process.is_known);
        let threads = process.flat_map(|process| {
            let pid = process.pid;
            process.threads.iter_mut().map(move |thread| (pid, thread))
        });
        let due = threads.filter(|(_, thread)| thread.is_due());
        let (pid, thread) =
            due.min_by_key(|(_, thread)| (!(steps_first && thread.steps()), thread.order))?;
        let stop = thread.pending.take()?;
        let tid = thread.tid;
        thread.tell(stop.clone());
        if let Stop::Forked { child, .. } = stop {
            if let Ok(child) = self.get_mut(child) {
                child.is_known = true;
            }
        }
        Some(News::Stopped { pid, tid, stop })
    }

    /// Whether [`next_news`](Self::next_news) has something.
    pub(crate) fn has_news(&self) -> bool {
        let mut threads = self.known().flat_map(|process| &process.threads);
        !self.ends.is_empty() || threads.any(Thread::is_due)
    }

    /// Whether anything runs that could have something to tell.
    pub(crate) fn anything_runs(&self) -> bool {
        self.all.iter().any(Process::runs)
    }

    /// In all-stop mode: waits until the client is to be told something, with everything at rest;
    /// `None` if a waker woke.
    pub(crate) fn wait(&mut self) -> Result<Option<News>> {
        loop {
            if self.has_news() || self.interrupted.is_some() {
                self.stop_all()?;
                self.answer_interrupt();
                if let Some(news) = self.next_news() {
                    self.all.iter_mut().for_each(Process::wants_nothing);
                    self.interrupted = None; // any stop answers it
                    return Ok(Some(news));
                }
            }
            if std::mem::take(&mut self.woken) {
                return Ok(None);
            }
            self.run_on()?;
            if !self.anything_runs() {
                self.stop_all()?; // for the tokens of what has stayed
                return Ok(Some(News::NothingRuns));
            }
            match self.tracer.wait() {
                Ok(Some(event)) => self.absorb(event)?,
                Ok(None) => return Ok(Some(News::NothingRuns)),
                Err(error) => self.failed(error)?,
            }
        }
    }

    /// Takes what has been found without waiting for more.
    pub(crate) fn take_in(&mut self) -> Result<()> {
        loop {
            match self.tracer.try_wait() {
                Ok(Poll::Ready(Some(Event::Woken))) => {}
                Ok(Poll::Ready(Some(event))) => self.absorb(event)?,
                Ok(Poll::Ready(None) | Poll::Pending) => return self.run_on(),
                Err(error) => self.failed(error)?,
            }
        }
    }

    /// Waits for one event, or for a waker.
    pub(crate) fn wait_once(&mut self) -> Result<()> {
        match self.tracer.wait() {
            Ok(Some(event)) => self.absorb(event)?,
            Ok(None) => {}
            Err(error) => self.failed(error)?,
        }
        self.woken = false;
        self.run_on()
    }

    /// What the tracer cannot do for a process is said; it tries again by itself.
    fn failed(&mut self, error: Error) -> Result<()> {
        match error {
            Error::Tracee { .. } | Error::Gone { .. } => {
                crate::say(format_args!("trapline-gdbserver: {error}"));
                Ok(())
            }
            Error::Taken { pid } => {
                self.all.retain(|process| process.pid != pid);
                Ok(())
            }
            error => Err(error),
        }
    }

    /// The threads of processes whose threads are run one by one, which come without a word.
    pub(crate) fn look_up_threads(&mut self) {
        if !self.wishes.non_stop {
            return;
        }
        for process in &mut self.all {
            // Where a stop stops the process, threads are born without a word.
            let threads = match STOPS_THREADS {
                true => self.tracer.process_info(process.pid).map(|info| info.threads),
                false => self.tracer.threads(process.pid),
            };
            let Ok(mut threads) = threads else { continue };
            // A first thread that has ended is listed until the others have.
            let pid = process.pid;
            let ended = |tid: Tid| {
                let info = self.tracer.thread_info(pid, tid);
                info.is_ok_and(|info| info.state == ThreadState::Ended)
            };
            let is_alone = threads.len() == 1;
            threads.retain(|&tid| is_alone || tid.as_raw() != pid.as_raw() || !ended(tid));
            process.threads.retain(|thread| thread.stop.is_some() || threads.contains(&thread.tid));
            for tid in threads {
                process.add_thread(tid);
            }
        }
    }

    /// Whether a thread still is.
    pub(crate) fn is_alive(&mut self, pid: Pid, tid: Tid) -> bool {
        self.look_up_threads();
        self.thread(pid, tid).is_ok()
    }

    /// Where each thread is by itself, a process that was attached to runs until the client has it
    /// stop; it cannot take a stop before it knows the registers. What was met is told.
    pub(crate) fn run_attached(&mut self, pid: Pid) -> Result<()> {
        self.count += 1;
        let order = self.count;
        for thread in &mut self.get_mut(pid)?.threads {
            thread.pending = thread.told.take().filter(|told| matches!(told, Stop::Signal(_)));
            thread.wants = Wants::Continue;
            thread.order = order;
        }
        self.run_process(pid)
    }

    /// A client has gone: the next one finds everything at rest, and nothing that it has to know of
    /// before.
    pub(crate) fn rest_for_the_next(&mut self) -> Result<()> {
        self.stop_all()?;
        let pids: Vec<Pid> = self.all.iter().map(|process| process.pid).collect();
        for pid in pids {
            self.remove_all(pid)?;
            let Ok(process) = self.get_mut(pid) else { continue };
            process.is_known = true;
            process.wants_nothing();
            process.syscalls = None;
        }
        self.ends.clear();
        self.interrupted = None;
        self.wishes = Wishes::default();
        Ok(())
    }
}
