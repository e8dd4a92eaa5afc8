//! What the tracer knows of processes and threads, and what the kernel says of them.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::backend::Thread;
use crate::error::About;
use crate::memory_map::{MemoryRegion, ThreadInfo};
use crate::{Backend, EventFlags, ExitStatus, Pid, Result, Stopped, Tid, auxiliary};

use super::{Reader, Tracer};

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
    /// [`Error::Gone`](crate::Error::Gone) if it is not traced, or was killed.
    ///
    /// # References
    ///
    /// `/proc/pid/task` in `proc(5)` (Linux); `PT_GETLWPLIST` in `ptrace(2)` (FreeBSD).
    pub fn threads(&self, pid: Pid) -> Result<Vec<Tid>> {
        self.engine.ask_of(pid, |backend| backend.threads(pid)).about(pid)
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
    /// [`Error::Gone`](crate::Error::Gone) if it is not traced, or was killed.
    ///
    /// # References
    ///
    /// `getauxval(3)`, `/proc/pid/auxv` in `proc(5)` (Linux); `elf_aux_info(3)`,
    /// `KERN_PROC_AUXV` in `sysctl(3)` (FreeBSD).
    pub fn auxiliary_vector(&self, pid: Pid) -> Result<Vec<u8>> {
        self.engine.ask_of(pid, |backend| backend.auxiliary_vector(pid)).about(pid)
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
    /// [`Error::Gone`](crate::Error::Gone) if it is not traced.
    pub fn events(&self, pid: Pid) -> Result<EventFlags> {
        self.engine.events(pid).about(pid)
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
    /// [`Error::Gone`](crate::Error::Gone) if it is not traced. For [`EventFlags::MODULES`] as
    /// [`insert_breakpoint`](Tracer::insert_breakpoint), and then nothing has changed.
    pub fn set_events(&mut self, pid: Pid, flags: EventFlags) -> Result<()> {
        self.engine.set_events(pid, flags).about(pid)
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
        self.engine.processes()
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
    /// [`Error::Gone`](crate::Error::Gone) if it is not traced.
    pub fn real_parent(&self, pid: Pid) -> Result<Option<Pid>> {
        self.engine.real_parent(pid).about(pid)
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
    /// [`Error::Gone`](crate::Error::Gone) if it is not traced.
    pub fn process_info(&self, pid: Pid) -> Result<ProcessInfo> {
        self.engine.process_info(pid).about(pid)
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

    /// The memory of a process, running or stopped, in the order of addresses.
    ///
    /// ```no_run
    /// use trapline::{Pid, Result, Tracer};
    ///
    /// /// The file that an address is in.
    /// fn file_at(tracer: &Tracer, pid: Pid, addr: u64) -> Result<Option<std::path::PathBuf>> {
    ///     let map = tracer.memory_map(pid)?;
    ///     Ok(map.into_iter().find(|region| region.contains(addr)).and_then(|region| region.path))
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Gone`](crate::Error::Gone) if the process is not traced, or was killed.
    ///
    /// # Platform notes
    ///
    /// FreeBSD does not tell whether memory without a file is shared.
    ///
    /// # References
    ///
    /// `/proc/pid/maps` in `proc(5)` (Linux); `KERN_PROC_VMMAP` in `sysctl(3)`, `kinfo_getvmmap(3)`
    /// (FreeBSD).
    pub fn memory_map(&self, pid: Pid) -> Result<Vec<MemoryRegion>> {
        self.engine.ask_of(pid, |backend| backend.memory_map(pid)).about(pid)
    }

    /// A value of the [auxiliary vector](Tracer::auxiliary_vector) of a process, by its type:
    /// `AT_ENTRY` and so on, in `elf.h`.
    ///
    /// ```no_run
    /// use trapline::{Pid, Result, Tracer};
    ///
    /// /// Where the dynamic linker is; 0 or nothing in a static program.
    /// fn linker(tracer: &Tracer, pid: Pid) -> Result<Option<u64>> {
    ///     const AT_BASE: u64 = 7;
    ///     tracer.auxv(pid, AT_BASE)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`auxiliary_vector`](Tracer::auxiliary_vector).
    pub fn auxv(&self, pid: Pid, key: u64) -> Result<Option<u64>> {
        Ok(auxiliary::value(&self.auxiliary_vector(pid)?, key))
    }

    /// What is known about a thread of a process, running or stopped.
    ///
    /// ```no_run
    /// use trapline::{Pid, Result, Tracer};
    ///
    /// fn list(tracer: &Tracer, pid: Pid) -> Result<()> {
    ///     for tid in tracer.threads(pid)? {
    ///         let info = tracer.thread_info(pid, tid)?;
    ///         println!("{tid} {} {:?} on {:?}", info.name.display(), info.state, info.cpu);
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Gone`](crate::Error::Gone) if the process is not traced, or has no such thread.
    ///
    /// # References
    ///
    /// `/proc/pid/task/tid/stat` in `proc(5)` (Linux); `KERN_PROC_INC_THREAD` in `sysctl(3)`
    /// (FreeBSD).
    pub fn thread_info(&self, pid: Pid, tid: Tid) -> Result<ThreadInfo> {
        self.engine.ask_of(pid, |backend| backend.thread_info(Thread { pid, tid })).about(pid)
    }

    /// Where the data of a stopped thread's own begin: what `%fs` points to on x86-64, `TPIDR_EL0` on
    /// aarch64.
    ///
    /// ```no_run
    /// use trapline::{Result, Stopped, Tracer};
    ///
    /// /// The first word there.
    /// fn own_word(tracer: &Tracer, stop: &Stopped) -> Result<u64> {
    ///     tracer.at(stop).read_value(tracer.thread_pointer(stop)?)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`registers`](Tracer::registers).
    pub fn thread_pointer(&self, stop: &Stopped) -> Result<u64> {
        self.engine
            .question(stop, |backend, thread| backend.thread_pointer(thread))
            .about(stop.pid())
    }
}

impl<B: Backend> Reader<'_, B> {
    /// As [`Tracer::thread_pointer`].
    ///
    /// ```no_run
    /// use trapline::{Reader, Result};
    ///
    /// fn own_word(thread: Reader<'_>) -> Result<u64> {
    ///     thread.read_value(thread.thread_pointer()?)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As there.
    pub fn thread_pointer(self) -> Result<u64> {
        self.asks(|tracer, stop| tracer.thread_pointer(stop))
    }
}
