//! cpuset_setaffinity(2).

use trapline_core::CpuSet;

use super::{Errno, Kernel, Result, check};

/// The kernel's sets have 1024 CPUs; one with fewer takes this length too.
const WORDS: usize = size_of::<libc::cpuset_t>() / 8;

impl Kernel {
    /// The CPUs that an LWP may run on; without one, the calling thread.
    pub(crate) fn cpus(&mut self, tid: Option<i32>) -> Result<CpuSet> {
        self.requests += 1;
        let mut words = [0_u64; WORDS];
        // SAFETY: writes at most as many bytes as the fourth argument says, the array's.
        check(unsafe {
            libc::cpuset_getaffinity(
                libc::CPU_LEVEL_WHICH,
                libc::CPU_WHICH_TID,
                tid.unwrap_or(-1).into(),
                size_of_val(&words),
                words.as_mut_ptr().cast(),
            )
        })?;
        Ok(CpuSet::from_words(&words))
    }

    /// Sets them.
    pub(crate) fn set_cpus(&mut self, tid: Option<i32>, cpus: &CpuSet) -> Result<()> {
        let mut words = [0_u64; WORDS];
        let wanted = cpus.words();
        match words.get_mut(..wanted.len()) {
            Some(place) => place.copy_from_slice(wanted),
            None => return Err(Errno::INVAL),
        }
        self.requests += 1;
        // SAFETY: reads as many bytes as the fourth argument says, the array's.
        check(unsafe {
            libc::cpuset_setaffinity(
                libc::CPU_LEVEL_WHICH,
                libc::CPU_WHICH_TID,
                tid.unwrap_or(-1).into(),
                size_of_val(&words),
                words.as_ptr().cast(),
            )
        })?;
        Ok(())
    }

    /// The CPU that the calling thread runs on.
    pub(crate) fn current_cpu(&mut self) -> Result<u32> {
        self.requests += 1;
        // SAFETY: takes nothing.
        let cpu = check(unsafe { libc::sched_getcpu() })?;
        Ok(cpu.unsigned_abs())
    }
}
