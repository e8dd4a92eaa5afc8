//! Threads that were being made while their process was attached to.
//!
//! A thread that was in the middle of a `clone` when it was seized makes one that is not traced. It
//! runs meanwhile, or the kernel holds it; so one that is seen asleep, or stops, has made it by
//! then, and it can be found. That is looked after when somebody relies on all threads: before the
//! tracer sleeps, when the process is brought to rest, and before a breakpoint instruction is put
//! into memory, which would kill a thread that is not traced.

use std::collections::{HashMap, HashSet};
use std::thread;
use std::time::Duration;

use trapline_core::backend::{RawKind, RawReason, RawStop, Thread};
use trapline_core::{Error, Pid, Result, Tid};

use crate::attach::Standing;
use crate::{Linux, attach, process};

/// How many looks a thread may spend in an uninterruptible sleep, each after about a millisecond:
/// then it is for something else, such as a child in `vfork`.
const HELD_LOOKS: u32 = 20;
/// How many lists of threads in a row have to show nothing new: one that is made while threads end
/// can leave others out. One that has ended by the time it is looked at may have made another one.
const LISTS: u32 = 2;
/// How many lists are made in all, at most, unless threads are found: those that are traced may begin and
/// end all the time, too.
const MOST_LISTS: u32 = 200;
/// Between two looks at threads that are to stop: at first and at last.
const PAUSES: [Duration; 2] = [Duration::from_micros(20), Duration::from_millis(1)];

/// A process that was attached to, and may have threads that are not traced.
#[derive(Debug)]
pub(crate) struct Unsettled {
    pid: Pid,
    options: i32,
    /// Its threads that are known.
    seen: HashSet<Tid>,
    /// Those that have neither stopped nor been seen asleep since they were seized, with whether
    /// they were asked to stop.
    suspects: HashMap<Tid, bool>,
    looks: u32,
    /// Those that were just found.
    late: Vec<Tid>,
    /// A thread of it could not be traced, which was told.
    refused: bool,
}

impl Unsettled {
    pub(crate) fn new(pid: Pid, options: i32, seen: HashSet<Tid>, suspects: Vec<Tid>) -> Self {
        let suspects = suspects.into_iter().map(|tid| (tid, false)).collect();
        Unsettled { pid, options, seen, suspects, looks: 0, late: Vec::new(), refused: false }
    }
}

impl Linux {
    /// Whether a process was attached to that has to be looked after.
    pub(crate) fn is_unsettled(&self) -> bool {
        self.unsettled.iter().any(|unsettled| !unsettled.refused)
    }

    /// Looks after processes that were attached to: to be called when there is nothing else, until
    /// none is left.
    pub(crate) fn settle(&mut self) -> Result<()> {
        let mut failed = None;
        for mut unsettled in std::mem::take(&mut self.unsettled) {
            if unsettled.refused {
                self.unsettled.push(unsettled);
                continue;
            }
            match self.look_after(&mut unsettled) {
                Ok(true) | Err(Error::Gone { .. }) => {}
                Ok(false) => self.unsettled.push(unsettled),
                Err(error) => {
                    // Told once; somebody who relies on all threads has it tried again.
                    unsettled.refused = true;
                    self.unsettled.push(unsettled);
                    failed = failed.or(Some(error));
                }
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Looks after one of them, and says whether none of its threads can make one any more that is
    /// not traced.
    fn look_after(&mut self, unsettled: &mut Unsettled) -> Result<bool> {
        unsettled.looks += 1;
        let (kernel, held) = (&self.kernel, unsettled.looks > HELD_LOOKS);
        unsettled.suspects.retain(|&tid, asked| match process::state(kernel, tid) {
            // It gets there, however busy the machine is.
            Ok(Some(b'R')) => {
                *asked = *asked || kernel.interrupt(tid).is_ok();
                *asked
            }
            Ok(Some(b'D')) => !held,
            _ => false,
        });
        if !unsettled.suspects.is_empty() {
            return Ok(false);
        }
        let seized = self.seize_late(unsettled);
        let late = std::mem::take(&mut unsettled.late);
        for &tid in &late {
            unsettled.suspects.insert(tid, self.kernel.interrupt(tid).is_ok());
            self.late.push((tid, unsettled.pid));
            unsettled.looks = 0;
        }
        seized?;
        Ok(late.is_empty())
    }

    /// Has all threads traced of processes that were attached to and have the memory of this thread. It
    /// takes as long as a thread that runs takes to stop; each of those that are found stops, and a
    /// wait takes that.
    pub(crate) fn settle_memory(&mut self, thread: Thread) -> Result<()> {
        let mut concerned = Vec::new();
        for &Unsettled { pid, .. } in &self.unsettled {
            let shares = || self.kernel.shares_memory(Tid::from_raw(pid.as_raw()), thread.tid);
            if pid == thread.pid || !matches!(shares(), Ok(Some(false)) | Err(Error::Gone { .. })) {
                concerned.push(pid);
            }
        }
        let mut pause = PAUSES[0];
        while let Some(&pid) = concerned.last() {
            let at = self.unsettled.iter().position(|unsettled| unsettled.pid == pid);
            let Some(mut unsettled) = at.map(|at| self.unsettled.swap_remove(at)) else {
                concerned.pop();
                continue;
            };
            let settled = self.look_after(&mut unsettled);
            unsettled.refused = !matches!(settled, Ok(_) | Err(Error::Gone { .. }));
            match settled {
                Ok(true) | Err(Error::Gone { .. }) => continue,
                Ok(false) => self.unsettled.push(unsettled),
                Err(error) => {
                    self.unsettled.push(unsettled);
                    return Err(error);
                }
            }
            thread::sleep(pause);
            pause = PAUSES[1].min(2 * pause);
        }
        Ok(())
    }

    /// The threads of a process that was attached to that were made meanwhile and are traced only
    /// from now on, or were found since and have not stopped yet. All others are stopped.
    pub(crate) fn take_late(&mut self, pid: Pid) -> Result<Vec<Tid>> {
        let (found, others) = self.late.iter().partition::<Vec<_>, _>(|&&(_, of)| of == pid);
        self.late = others;
        let mut late: Vec<Tid> = found.into_iter().map(|(tid, _)| tid).collect();
        let Some(at) = self.unsettled.iter().position(|unsettled| unsettled.pid == pid) else {
            return Ok(late);
        };
        let mut unsettled = self.unsettled.swap_remove(at);
        let seized = self.seize_late(&mut unsettled);
        late.append(&mut unsettled.late);
        if seized.is_ok() && late.is_empty() {
            return Ok(late);
        }
        // They may be making threads, too.
        unsettled.suspects = late.iter().map(|&tid| (tid, true)).collect();
        unsettled.looks = 0;
        self.unsettled.push(unsettled);
        if seized.is_err() {
            self.late.extend(late.drain(..).map(|tid| (tid, pid)));
        }
        seized.map(|()| late)
    }

    /// Seizes the threads that nobody has seen.
    fn seize_late(&self, unsettled: &mut Unsettled) -> Result<()> {
        let kernel = &self.kernel;
        let (mut lists, mut all) = (LISTS, MOST_LISTS);
        while lists > 0 && all > 0 {
            lists -= 1;
            all -= 1;
            for tid in process::threads(kernel, unsettled.pid)? {
                if unsettled.seen.contains(&tid) {
                    continue;
                }
                match attach::standing(kernel, tid) {
                    // Of a thread that was traced already.
                    Ok(Standing::Traced) => {}
                    Ok(Standing::Ended) | Err(Error::Gone { .. }) => lists = LISTS,
                    Ok(Standing::Lives { .. } | Standing::Unknown) => {
                        lists = LISTS;
                        if attach::seize(kernel, tid, unsettled.options)? {
                            unsettled.late.push(tid);
                            all = MOST_LISTS;
                        }
                    }
                    Err(error) => return Err(error),
                }
                unsettled.seen.insert(tid);
            }
        }
        Ok(())
    }

    /// A thread has stopped or ended: what it was making has been made. The first stop of one that
    /// was found late says whose it is. `false` if it is the end of one that never stopped, which
    /// nobody has heard of.
    pub(crate) fn settled(&mut self, tid: Tid, stop: &mut RawStop) -> bool {
        for unsettled in &mut self.unsettled {
            unsettled.suspects.remove(&tid);
        }
        if let Some(at) = self.late.iter().position(|&(late, _)| late == tid) {
            let (_, pid) = self.late.swap_remove(at);
            let RawKind::Stop(reason) = &mut stop.kind else { return false };
            stop.pid = Some(pid);
            if *reason == RawReason::Paused {
                *reason = RawReason::ThreadStarted;
            }
        }
        true
    }

    /// A process has ended, has exec'ed or was detached.
    pub(crate) fn forget_unsettled(&mut self, pid: Pid) {
        self.unsettled.retain(|unsettled| unsettled.pid != pid);
        self.late.retain(|&(_, of)| of != pid);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Child, Command, Stdio};
    use std::time::{Duration, Instant};

    use trapline_core::EventFlags;
    use trapline_core::backend::{Backend, OnExit, Patience, Run, Setup, Thread, Waited};

    use super::*;
    use crate::sys::Kernel;

    const SETUP: Setup = Setup { flags: EventFlags::PROCESS, on_exit: OnExit::Detach };
    const ROLE: &str = "TRAPLINE_SETTLE_ROLE";
    const THREADS: usize = 64;

    struct Crowd(Child);

    impl Crowd {
        fn new() -> Self {
            let mut command = Command::new(std::env::current_exe().unwrap());
            let name = "settle::tests::role";
            command.args([name, "--exact", "--ignored", "--nocapture", "--test-threads=1"]);
            let mut child = command.env(ROLE, "1").stdout(Stdio::piped()).spawn().unwrap();
            let lines = BufReader::new(child.stdout.take().unwrap()).lines();
            assert!(lines.map_while(Result::ok).any(|line| line.contains("ready")));
            Crowd(child)
        }

        fn pid(&self) -> Pid {
            Pid::from_raw(self.0.id() as i32)
        }
    }

    impl Drop for Crowd {
        fn drop(&mut self) {
            let _ = self.0.kill();
            // It has not ended before the ends of its threads were waited for by their tracer.
            while let Ok(Some(_)) = Kernel::default().wait_any(true) {}
            let _ = self.0.wait();
        }
    }

    /// A process that was attached to, and one thread of it that is not traced, as if another one
    /// had been making it.
    fn attached(linux: &mut Linux, pid: Pid) -> Tid {
        let attached = linux.attach(pid, SETUP).unwrap();
        let [stop] = attached.meanwhile[..] else { panic!("{attached:?}") };
        assert!(attached.threads.len() > THREADS && linux.unsettled.len() == 1);
        linux.resume(Thread { pid, tid: stop.tid.unwrap() }, Run::Continue, None).unwrap();
        let late = *attached.threads.last().unwrap();
        linux.interrupt(Thread { pid, tid: late }).unwrap();
        while linux.kernel.try_wait(late).unwrap().is_none() {}
        linux.detach(Thread { pid, tid: late }, None).unwrap();
        linux.unsettled[0].seen.remove(&late);
        late
    }

    fn all_are_traced(linux: &Linux, pid: Pid) {
        for tid in process::threads(&linux.kernel, pid).unwrap() {
            let standing = attach::standing(&linux.kernel, tid).unwrap();
            assert!(matches!(standing, Standing::Traced));
        }
    }

    #[test]
    fn a_thread_that_was_being_made_is_found_before_the_tracer_sleeps() {
        let crowd = Crowd::new();
        let pid = crowd.pid();
        let mut linux = Linux::open().unwrap();
        let late = attached(&mut linux, pid);
        let until = Instant::now() + Duration::from_secs(30);
        let stop = loop {
            match linux.wait(Patience::Until(until)).unwrap() {
                // Threads of the test harness that ran are stopped for it.
                Waited::Stop(stop) if stop.tid != Some(late) => {
                    let tid = stop.tid.unwrap();
                    linux.resume(Thread { pid, tid }, Run::Continue, None).unwrap();
                }
                Waited::Stop(stop) => break stop,
                other => panic!("{other:?}"),
            }
        };
        let kind = RawKind::Stop(RawReason::ThreadStarted);
        assert_eq!(stop, RawStop { pid: Some(pid), tid: Some(late), kind });
        linux.resume(Thread { pid, tid: late }, Run::Continue, None).unwrap();
        let until = Instant::now() + Duration::from_millis(200);
        assert_eq!(linux.wait(Patience::Until(until)).unwrap(), Waited::Nothing);
        assert!(linux.unsettled.is_empty() && linux.late.is_empty());
        all_are_traced(&linux, pid);
    }

    #[test]
    fn a_thread_that_was_being_made_is_found_when_the_others_rest() {
        let crowd = Crowd::new();
        let pid = crowd.pid();
        let mut linux = Linux::open().unwrap();
        let late = attached(&mut linux, pid);
        assert_eq!(linux.late_threads(pid).unwrap(), [late]);
        assert_eq!(linux.late_threads(pid).unwrap(), []);
        assert!(linux.unsettled.is_empty());
        all_are_traced(&linux, pid);
    }

    #[test]
    fn a_thread_that_was_being_made_is_traced_before_memory_is_changed() {
        let crowd = Crowd::new();
        let pid = crowd.pid();
        let mut linux = Linux::open().unwrap();
        let late = attached(&mut linux, pid);
        linux.trace_late_threads(Thread { pid, tid: Tid::from_raw(pid.as_raw()) }).unwrap();
        assert!(linux.unsettled.is_empty());
        all_are_traced(&linux, pid);
        // Its stop is still to be taken, by a wait or by somebody who wants all threads.
        assert_eq!(linux.late_threads(pid).unwrap(), [late]);
        assert_eq!(linux.late_threads(pid).unwrap(), []);
    }

    #[test]
    fn what_has_ended_is_not_looked_after() {
        let crowd = Crowd::new();
        let mut linux = Linux::open().unwrap();
        attached(&mut linux, crowd.pid());
        linux.forget(crowd.pid());
        assert!(linux.unsettled.is_empty());
    }

    #[test]
    #[ignore = "played by other tests"]
    fn role() {
        if std::env::var_os(ROLE).is_none() {
            return;
        }
        let sleep = || loop {
            std::thread::sleep(Duration::from_secs(3600));
        };
        (0..THREADS).for_each(|_| drop(std::thread::spawn(sleep)));
        println!("ready");
        sleep();
    }
}
