//! The files that a program consists of.

use crate::error::About;
use crate::{Backend, Module, Pid, Result};

use super::{Reader, Tracer};

impl<B: Backend> Tracer<B> {
    /// The files in the memory of a process, of which a thread is stopped: the executable first, its
    /// libraries in the order of the dynamic linker, the dynamic linker, and the code that the kernel
    /// maps into each program.
    ///
    /// It can be asked at any stop. At the exec that starts a program its libraries are not there yet;
    /// they are when it comes to its first instruction (`AT_ENTRY` of the
    /// [auxiliary vector](Tracer::auxv)). Under [`EventFlags::MODULES`](crate::EventFlags::MODULES) an
    /// event says when the list has changed. While the dynamic linker is changing it, it may be
    /// incomplete. A static program has but itself and the kernel's code.
    ///
    /// ```no_run
    /// use trapline::{Pid, Result, Tracer};
    ///
    /// fn list(tracer: &Tracer, pid: Pid) -> Result<()> {
    ///     for module in tracer.modules(pid)? {
    ///         let path = module.path.unwrap_or_default();
    ///         println!("{:#x} {:?} {}", module.range.start, module.kind, path.display());
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Gone`](crate::Error::Gone) if the process is not traced, or was killed;
    /// [`Error::NotStopped`](crate::Error::NotStopped) if none of its threads is stopped.
    ///
    /// # Platform notes
    ///
    /// 64-bit and 32-bit programs with glibc, musl or FreeBSD's dynamic linker. The namespaces of
    /// `dlmopen` are listed for glibc 2.35 and later; before, only the first one is.
    ///
    /// # References
    ///
    /// `r_debug` and `link_map` in `link.h`; `elf(5)`; `getauxval(3)` (Linux), `elf_aux_info(3)`
    /// (FreeBSD).
    pub fn modules(&self, pid: Pid) -> Result<Vec<Module>> {
        self.engine.modules(pid).about(pid)
    }
}

impl<B: Backend> Reader<'_, B> {
    /// As [`Tracer::modules`].
    ///
    /// ```no_run
    /// use trapline::{Module, Reader, Result};
    ///
    /// fn module_of(thread: Reader<'_>, addr: u64) -> Result<Option<Module>> {
    ///     Ok(thread.modules()?.into_iter().find(|module| module.contains(addr)))
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As there.
    pub fn modules(self) -> Result<Vec<Module>> {
        self.asks(|tracer, stop| tracer.modules(stop.pid()))
    }
}
