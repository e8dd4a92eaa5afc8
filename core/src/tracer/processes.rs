//! What the tracer knows of processes, and what the kernel says of them.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::auxiliary;
use crate::backend::Setup;
use crate::{Backend, Error, EventFlags, ExitStatus, Pid, Result, StopReason, Tid};

use super::process::Process;
use super::thread::{Reported, State};
use super::{Ready, Tracer};

/// What is known about a traced process.
///
/// ```
/// fn describe(info: &trapline::ProcessInfo) -> String {
///     let program = info.executable.as_deref().unwrap_or("?".as_ref());
///     format!("{} {} with {} threads", info.pid, program.display(), info.threads.len())
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProcessInfo {
    /// The process.
    pub pid: Pid,
    /// Its real parent: the process whose child it is. Tracing does not make the tracer its parent.
    pub real_parent: Option<Pid>,
    /// The traced processes whose real parent it is.
    pub children: Vec<Pid>,
    /// Its threads, as the events that were given leave them: one whose start is still to be reported
    /// is not in it yet, and one whose end is still to be reported is.
    pub threads: Vec<Tid>,
    /// The program that it runs, if the kernel reports it.
    pub executable: Option<PathBuf>,
    /// The arguments of that program, its name first, if the kernel reports them.
    pub arguments: Option<Vec<OsString>>,
    /// How it ended, if it has: until the wait after its [`Event::Exited`](crate::Event::Exited).
    pub exit_status: Option<ExitStatus>,
}

impl<B: Backend> Tracer<B> {
    /// The threads of a process as the kernel lists them now, running or stopped. The start or end of
    /// some may still be to be reported; [`ProcessInfo::threads`] is the list by the events.
    ///
    /// ```
    /// use trapline::{Backend, Pid, Result, TracerOn};
    ///
    /// fn print_threads<B: Backend>(tracer: &TracerOn<B>, pid: Pid) -> Result<()> {
    ///     for tid in tracer.threads(pid)? {
    ///         println!("{tid}");
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Gone`] if it is not traced, or was killed.
    ///
    /// # References
    ///
    /// `/proc/pid/task` in `proc(5)` (Linux); `PT_GETLWPLIST` in `ptrace(2)` (FreeBSD).
    pub fn threads(&self, pid: Pid) -> Result<Vec<Tid>> {
        self.traced(pid)?;
        self.backend.borrow_mut().threads(pid)
    }

    /// The auxiliary vector that the kernel has given to the program of a process at its start, as
    /// bytes in the program's own format. An entry has two words, of 8 bytes each in a 64-bit program,
    /// of 4 in a 32-bit one. [`auxiliary_entries`](Tracer::auxiliary_entries) takes it apart.
    ///
    /// ```
    /// use trapline::{Backend, Pid, Result, TracerOn};
    ///
    /// /// What `/proc/self/auxv` would be to the program, for a debugger that wants the bytes.
    /// fn bytes<B: Backend>(tracer: &TracerOn<B>, pid: Pid) -> Result<Vec<u8>> {
    ///     tracer.auxiliary_vector(pid)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Gone`] if it is not traced, or was killed.
    ///
    /// # References
    ///
    /// `getauxval(3)`, `/proc/pid/auxv` in `proc(5)` (Linux); `elf_aux_info(3)`,
    /// `KERN_PROC_AUXV` in `sysctl(3)` (FreeBSD).
    pub fn auxiliary_vector(&self, pid: Pid) -> Result<Vec<u8>> {
        self.traced(pid)?;
        self.backend.borrow_mut().auxiliary_vector(pid)
    }

    /// The types (`AT_ENTRY` and so on, in `elf.h`) and the values in the
    /// [auxiliary vector](Tracer::auxiliary_vector) of a process, whatever the width of its program.
    ///
    /// ```
    /// use trapline::{Backend, Pid, Result, TracerOn};
    ///
    /// const AT_ENTRY: u64 = 9;
    ///
    /// /// The first instruction of a program, behind that of the dynamic linker.
    /// fn entry_point<B: Backend>(tracer: &TracerOn<B>, pid: Pid) -> Result<Option<u64>> {
    ///     let entries = tracer.auxiliary_entries(pid)?;
    ///     Ok(entries.into_iter().find(|&(kind, _)| kind == AT_ENTRY).map(|(_, value)| value))
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`auxiliary_vector`](Tracer::auxiliary_vector).
    pub fn auxiliary_entries(&self, pid: Pid) -> Result<Vec<(u64, u64)>> {
        Ok(auxiliary::entries(&self.auxiliary_vector(pid)?))
    }

    /// Which events a process reports.
    ///
    /// ```
    /// use trapline::{Backend, EventFlags, Pid, Result, TracerOn};
    ///
    /// fn reports_syscalls<B: Backend>(tracer: &TracerOn<B>, pid: Pid) -> Result<bool> {
    ///     Ok(tracer.events(pid)?.contains(EventFlags::SYSCALL))
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Gone`] if it is not traced.
    pub fn events(&self, pid: Pid) -> Result<EventFlags> {
        Ok(self.table.process(self.traced(pid)?).setup.flags)
    }

    /// Sets which events a process reports, for all its threads; its later children inherit it.
    ///
    /// It holds at once, except that [`EventFlags::EXIT`] and [`EventFlags::SYSCALL`] (and on FreeBSD
    /// [`EventFlags::THREAD`]) hold for each thread from its next resume. A [`halt`](Tracer::halt) and
    /// a resume of all threads make that now.
    ///
    /// ```
    /// use trapline::{Backend, EventFlags, Pid, Result, TracerOn};
    ///
    /// /// Has a process report its system calls from now on.
    /// fn report_syscalls<B: Backend>(tracer: &mut TracerOn<B>, pid: Pid) -> Result<()> {
    ///     let flags = tracer.events(pid)?;
    ///     tracer.set_events(pid, flags | EventFlags::SYSCALL)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Gone`] if it is not traced.
    pub fn set_events(&mut self, pid: Pid, flags: EventFlags) -> Result<()> {
        let process = self.traced(pid)?;
        let setup = self.table.process(process).setup;
        self.table.process_mut(process).setup = Setup { flags, ..setup };
        Ok(())
    }

    /// The processes that are traced.
    ///
    /// ```
    /// use trapline::fake::{FreeBsdRules, Kernel};
    /// use trapline::TracerOn;
    ///
    /// let kernel = Kernel::<FreeBsdRules>::new();
    /// let pid = kernel.start();
    /// let mut tracer = TracerOn::builder().build_on(kernel.backend());
    /// tracer.attach(pid)?;
    /// assert_eq!(tracer.processes().collect::<Vec<_>>(), [pid]);
    /// # Ok::<(), trapline::Error>(())
    /// ```
    pub fn processes(&self) -> impl Iterator<Item = Pid> + '_ {
        self.table.processes().filter(|(_, p)| !p.has_ended()).map(|(_, p)| p.pid)
    }

    /// The real parent of a traced process, as far as the tracer knows; it makes no request.
    /// [`process_info`](Tracer::process_info) asks the kernel again if the parent is not traced.
    ///
    /// ```
    /// use trapline::fake::{Kernel, LinuxRules};
    /// use trapline::{ForkKind, TracerOn};
    ///
    /// let kernel = Kernel::<LinuxRules>::new();
    /// let zombie_leader = kernel.start();
    /// let child = kernel.fork(kernel.leader(zombie_leader), ForkKind::Fork);
    /// let mut tracer = TracerOn::builder().build_on(kernel.backend());
    /// tracer.attach(child)?;
    /// assert_eq!(tracer.real_parent(child)?, Some(zombie_leader));
    /// # Ok::<(), trapline::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Gone`] if it is not traced.
    pub fn real_parent(&self, pid: Pid) -> Result<Option<Pid>> {
        let index = self.table.find_process(pid).ok_or(Error::Gone)?;
        let seen = self.seen_parents.borrow();
        let seen = seen.iter().rfind(|&&(asked, _)| asked == pid).map(|&(_, parent)| parent);
        Ok(seen.unwrap_or(self.table.process(index).real_parent))
    }

    /// Notes the real parents that were told in answer to a question: they are no news any more.
    pub(super) fn note_seen_parents(&mut self) {
        for (pid, parent) in std::mem::take(self.seen_parents.get_mut()) {
            if let Some(process) = self.table.find_process(pid) {
                self.table.set_real_parent(process, parent);
            }
        }
    }

    /// What is known about a traced process, running or stopped, or about one whose end was the
    /// last event.
    ///
    /// ```
    /// use trapline::{Backend, Pid, Result, TracerOn};
    ///
    /// fn program<B: Backend>(tracer: &TracerOn<B>, pid: Pid) -> Result<String> {
    ///     let executable = tracer.process_info(pid)?.executable;
    ///     Ok(executable.map_or("?".into(), |path| path.display().to_string()))
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Gone`] if it is not traced.
    pub fn process_info(&self, pid: Pid) -> Result<ProcessInfo> {
        let departed = self.departed.filter(|&i| self.table.process(i).pid == pid);
        let index = self.table.find_process(pid).or(departed).ok_or(Error::Gone)?;
        let process = self.table.process(index);
        let alive = !process.has_ended();
        let parent_traced =
            process.real_parent.is_some_and(|p| self.table.find_process(p).is_some());
        let threads = self.threads_reported(index);
        let exit_status = process.exit_status();
        let mut real_parent = process.real_parent;
        if alive && !parent_traced {
            // Nobody tells when a parent that is not traced ends.
            real_parent = self.backend.borrow_mut().real_parent(pid).unwrap_or(real_parent);
            let mut seen = self.seen_parents.borrow_mut();
            seen.retain(|&(asked, _)| asked != pid);
            seen.push((pid, real_parent));
        }
        let children = self
            .table
            .processes()
            .filter(|(_, p)| p.real_parent == Some(pid) && !p.has_ended())
            .map(|(_, p)| p.pid)
            .collect();
        Ok(ProcessInfo {
            pid,
            real_parent,
            children,
            threads,
            executable: if alive { self.backend.borrow_mut().executable(pid).ok() } else { None },
            arguments: if alive { self.backend.borrow_mut().arguments(pid).ok() } else { None },
            exit_status,
        })
    }

    /// [`process_info`](Tracer::process_info), under its former name.
    ///
    /// # Errors
    ///
    /// As there.
    #[doc(hidden)]
    #[deprecated(note = "use `process_info`")]
    pub fn process(&self, pid: Pid) -> Result<ProcessInfo> {
        self.process_info(pid)
    }

    /// The threads of a process as the events that were given leave them.
    fn threads_reported(&self, process: u32) -> Vec<Tid> {
        let Process { pid, threads, .. } = self.table.process(process);
        let told = threads.iter().filter(|&&i| {
            let slot = self.table.slot(i);
            let to_be_told = slot.state == State::Queued(StopReason::ThreadStarted);
            self.table.is_first(i) || slot.reported == Reported::Birth && !to_be_told
        });
        let mut told: Vec<Tid> = told.map(|&i| self.table.slot(i).thread.tid).collect();
        for ready in &self.ready {
            match ready {
                Ready::ThreadExited { pid: of, tid } if of == pid && !told.contains(tid) => {
                    told.push(*tid);
                }
                _ => {}
            }
        }
        told
    }
}
