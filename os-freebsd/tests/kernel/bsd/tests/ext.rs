//! Questions, portable and not, to the back end; `tracer_ext.rs` asks a tracer.

use trapline_core::{Backend, EventFlags, ExitStatus, Pid};
use trapline_os_freebsd::{FreeBsd, Protection, TraceStatus};

use crate::bsd::driver::*;

pub(super) fn map_status_reaper() {
    let mut b = FreeBsd::open().unwrap();
    let us = Pid::this();
    assert_eq!(b.trace_status(us).unwrap(), TraceStatus::NotTraced);
    let first = start(&mut b, &["exit", "0"], EventFlags::PROCESS);
    let pid = first.pid.unwrap();
    assert_eq!(b.trace_status(pid).unwrap(), TraceStatus::TracedBy(us));
    assert_eq!(b.reaper(pid).unwrap(), Pid::from_raw(1));
    let map = b.vm_entries(thread(&first)).unwrap();
    assert!(map.is_sorted_by_key(|entry| entry.start));
    let rip = b.registers(thread(&first)).unwrap().rip;
    let here = map.iter().find(|entry| (entry.start..=entry.end).contains(&rip)).unwrap();
    assert!(here.protection.contains(Protection::EXECUTE));
    assert!(here.path.as_ref().is_some_and(|path| path.ends_with("ld-elf.so.1")), "{here:?}");
    go(&mut b, &first);
    assert_eq!(run_out(&mut b), ExitStatus::Code(0));
}

pub(super) fn questions() {
    let mut b = FreeBsd::open().unwrap();
    let us = Pid::this();
    let first = start(&mut b, &["exit", "with words"], EventFlags::PROCESS);
    let (pid, tid) = (first.pid.unwrap(), first.tid.unwrap());
    assert_eq!(b.process_of(tid).unwrap(), (pid, Some(us)));
    assert_eq!(b.real_parent(pid).unwrap(), Some(us));
    assert_eq!(b.threads(pid).unwrap(), [tid]);
    assert!(!b.is_uninterruptible(thread(&first)).unwrap());
    let this = std::env::current_exe().unwrap();
    assert_eq!(b.executable(pid).unwrap(), this);
    let words = b.arguments(pid).unwrap();
    assert_eq!(words[1..], ["--fixture", "exit", "with words"]);
    assert_eq!(words[0], this.as_os_str());
    let before = b.requests();
    b.real_parent(pid).unwrap();
    assert_eq!(b.requests() - before, 1);
    go(&mut b, &first);
    // A request about one that runs.
    let busy = start(&mut b, &["busy"], EventFlags::PROCESS);
    go(&mut b, &busy);
    assert!(matches!(b.registers(thread(&busy)), Err(trapline_core::Error::NotStopped { .. })));
    b.kill(busy.pid.unwrap(), None).unwrap();
    run_out(&mut b);
    run_out(&mut b);
}
