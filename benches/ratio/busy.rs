//! Tracees that tell, through memory that they share with their tracer, when they stop. The unsafe
//! code of this file is mappings of files that this process has just made, and a clock.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::process::Stdio;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use trapline::{Event, EventFlags, Resume};

#[cfg(target_os = "linux")]
use crate::pairs::quantile;
use trapline_benches::traced;
use trapline_benches::tracee::{command_with, nanos};

/// Words that tracees have as their standard output.
struct Shared {
    file: File,
    words: *mut AtomicU64,
    len: usize,
}

impl Shared {
    fn new(len: usize) -> std::io::Result<Self> {
        let name = format!("trapline-bench-{}-{}", std::process::id(), nanos());
        let path = std::env::temp_dir().join(name);
        let mut options = File::options();
        let file = options.read(true).write(true).create_new(true).open(&path)?;
        std::fs::remove_file(&path)?;
        file.set_len(8 * len as u64)?;
        // SAFETY: a new mapping of a file that has this length.
        let words = unsafe {
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            let fd = file.as_raw_fd();
            libc::mmap(std::ptr::null_mut(), 8 * len, protection, libc::MAP_SHARED, fd, 0)
        };
        if words == libc::MAP_FAILED {
            return Err(std::io::Error::last_os_error());
        }
        Ok(Shared { file, words: words.cast(), len })
    }

    fn stdio(&self) -> Stdio {
        self.file.try_clone().expect("a descriptor").into()
    }

    fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping has this many words, and lives as long as this.
        unsafe { std::slice::from_raw_parts(self.words, self.len) }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: the mapping that `new` has made.
        unsafe { libc::munmap(self.words.cast(), 8 * self.len) };
    }
}

/// So many tracees raise signals for ever: how many stops of others were handled, at worst, from
/// when one of them was about to stop until its stop was given.
///
/// One that had to give its CPU to others on the way to its stop has waited for the scheduler, not
/// for the tracer, and does not count; it says so afterwards.
pub fn worst_wait(tracees: u64, stops: u64) -> u64 {
    let n = tracees as usize;
    let shared = Shared::new(2 * n + 1).expect("a shared mapping");
    let mut tracer = traced::tracer(EventFlags::PROCESS, None);
    let mut command = command_with("busy-processes", tracees);
    command.stdout(shared.stdio());
    let mut event: Event = traced::spawn(&mut tracer, command).into();
    let mut places = HashMap::new();
    places.insert(event.pid().expect("a stop"), 1_usize);
    while places.len() < n {
        tracer.resume(event, Resume::Continue).expect("resume");
        event = tracer.wait().expect("wait").expect("tracees");
        if let Event::Forked(fork) = &event {
            places.insert(fork.child_pid, places.len() + 1);
        }
    }
    let words = shared.words();
    words[0].store(1, SeqCst);
    let (mut handled, mut worst, mut counted) = (1, 0, 0);
    let mut waited = vec![None; n + 1];
    while handled < stops {
        if let Event::Stopped(stop) = &mut event {
            if stop.set_signal(None).is_ok() {
                let place = places[&stop.pid()];
                let since = words[place].load(SeqCst);
                let before = waited[place].replace(handled - since);
                if let Some(wait) = before.filter(|_| words[n + place].load(SeqCst) == 0) {
                    worst = worst.max(wait);
                    counted += 1;
                }
                handled += 1;
                words[0].store(handled, SeqCst);
            }
        }
        tracer.resume(event, Resume::Continue).expect("resume");
        event = tracer.wait().expect("wait").expect("tracees");
    }
    assert!(counted > stops / 4, "only {counted} of {stops} stops were not preempted");
    // Those that have not been answered at all have waited too.
    let silent = (1..=n).filter(|&place| waited[place].is_none());
    silent.fold(worst, |worst, place| worst.max(handled - words[place].load(SeqCst)))
}

/// The times from a tracee's signal to its event: the median of those after a millisecond of
/// silence, and of that after so many microseconds.
#[cfg(target_os = "linux")]
pub fn answers(micros: u64) -> Result<(f64, f64), String> {
    let shared = Shared::new(1).map_err(|error| error.to_string())?;
    let mut command = command_with("late", micros);
    command.stdout(shared.stdio());
    let mut tracer = traced::tracer(EventFlags::PROCESS, None);
    let mut stop = traced::spawn(&mut tracer, command);
    let mut times = Vec::new();
    for _ in 0..21 {
        let _ = stop.set_signal(None);
        tracer.resume(stop, Resume::Continue).map_err(|error| error.to_string())?;
        stop = traced::next_stop(&mut tracer);
        times.push((nanos() - shared.words()[0].load(SeqCst)) as f64);
    }
    Ok((quantile(&times[..20], 0.5), times[20]))
}

/// The same of a loop by hand.
#[cfg(target_os = "linux")]
pub fn bare_answers(micros: u64) -> Result<(f64, f64), String> {
    use trapline_benches::bare::{Tracees, ptrace, wait};
    let shared = Shared::new(1).map_err(|error| error.to_string())?;
    let mut command = command_with("late", micros);
    command.stdout(shared.stdio());
    let tracees = Tracees::seize(command, 0, true, None);
    let mut times = Vec::new();
    for _ in 0..21 {
        ptrace(libc::PTRACE_CONT, tracees.pid, 0, 0);
        wait(tracees.pid);
        times.push((nanos() - shared.words()[0].load(SeqCst)) as f64);
    }
    Ok((quantile(&times[..20], 0.5), times[20]))
}

/// The CPU time that the calling thread has used.
pub fn thread_cpu() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes `time`.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
