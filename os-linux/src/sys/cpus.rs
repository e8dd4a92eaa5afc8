//! `sched_setaffinity(2)`.

use trapline_core::{CpuSet, Result, Tid};

use super::{Kernel, check, error, last_error};

/// No machine has more CPUs: 64 for each word.
const MOST_WORDS: usize = 1024;

impl Kernel {
    /// The CPUs that a thread may run on; without one, the calling thread.
    pub(crate) fn cpus(&self, tid: Option<Tid>) -> Result<CpuSet> {
        let tid = tid.map_or(0, |tid| tid.as_raw());
        let mut words = vec![0_u64; 16];
        loop {
            self.count();
            // SAFETY: writes at most as many bytes as the second argument says, the buffer's.
            let got = check(unsafe {
                let (size, words) = (words.len() * 8, words.as_mut_ptr());
                libc::syscall(libc::SYS_sched_getaffinity, tid, size, words)
            });
            match got {
                Ok(_) => return Ok(CpuSet::from_words(&words)),
                // The kernel has more CPUs than that.
                Err(e) if e.raw_os_error() == Some(libc::EINVAL) && words.len() < MOST_WORDS => {
                    words.resize(words.len() * 4, 0);
                }
                Err(e) => return Err(error("sched_getaffinity", tid, e)),
            }
        }
    }

    /// Sets them.
    pub(crate) fn set_cpus(&self, tid: Option<Tid>, cpus: &CpuSet) -> Result<()> {
        self.count();
        let tid = tid.map_or(0, |tid| tid.as_raw());
        let words = cpus.words();
        // SAFETY: reads as many bytes as the second argument says, the words'.
        check(unsafe {
            let (size, words) = (size_of_val(words), words.as_ptr());
            libc::syscall(libc::SYS_sched_setaffinity, tid, size, words)
        })
        .map_err(|e| error("sched_setaffinity", tid, e))?;
        Ok(())
    }

    /// The CPU that the calling thread runs on.
    pub(crate) fn current_cpu(&self) -> Result<u32> {
        self.count();
        // SAFETY: takes nothing, touches no memory of ours.
        let cpu = unsafe { libc::sched_getcpu() };
        u32::try_from(cpu).map_err(|_| last_error("getcpu", 0))
    }
}
