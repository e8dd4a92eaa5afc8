//! The CPU that tracer and tracees share. The unsafe code of this file is calls that take a set of
//! CPUs by its length.

/// The CPU to share: the last that this process may use, which has the fewest interrupts.
pub fn shared() -> u32 {
    (0..1024).rev().find(|&cpu| affinity().is_some_and(|set| has(&set, cpu))).unwrap_or(0)
}

type Set = [u64; 16];

fn has(set: &Set, cpu: u32) -> bool {
    set[cpu as usize / 64] >> (cpu % 64) & 1 == 1
}

/// The calling thread is on one CPU, until this is dropped.
#[derive(Debug)]
pub struct Pinned(Option<Set>);

impl Pinned {
    pub fn new(cpu: Option<u32>) -> Self {
        let Some(cpu) = cpu else { return Pinned(None) };
        let before = affinity();
        let mut set = [0; 16];
        set[cpu as usize / 64] = 1 << (cpu % 64);
        assert!(set_affinity(&set), "on CPU {cpu}");
        Pinned(before)
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        if let Some(set) = &self.0 {
            set_affinity(set);
        }
    }
}

#[cfg(target_os = "linux")]
fn affinity() -> Option<Set> {
    let mut set = [0; 16];
    // SAFETY: writes at most the length of the set.
    let done = unsafe { libc::sched_getaffinity(0, size_of::<Set>(), set.as_mut_ptr().cast()) };
    (done == 0).then_some(set)
}

#[cfg(target_os = "linux")]
fn set_affinity(set: &Set) -> bool {
    // SAFETY: reads the set.
    unsafe { libc::sched_setaffinity(0, size_of::<Set>(), set.as_ptr().cast()) == 0 }
}

#[cfg(target_os = "freebsd")]
fn affinity() -> Option<Set> {
    let mut set: Set = [0; 16];
    let (level, which) = (libc::CPU_LEVEL_WHICH, libc::CPU_WHICH_TID);
    let size = size_of::<libc::cpuset_t>().min(size_of::<Set>());
    // SAFETY: writes at most the length of the set.
    let done = unsafe { libc::cpuset_getaffinity(level, which, -1, size, set.as_mut_ptr().cast()) };
    (done == 0).then_some(set)
}

#[cfg(target_os = "freebsd")]
fn set_affinity(set: &Set) -> bool {
    let (level, which) = (libc::CPU_LEVEL_WHICH, libc::CPU_WHICH_TID);
    let size = size_of::<libc::cpuset_t>().min(size_of::<Set>());
    // SAFETY: reads the set.
    unsafe { libc::cpuset_setaffinity(level, which, -1, size, set.as_ptr().cast()) == 0 }
}
