//! W2: a host with children, threads and tracees of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use trapline::{Error, Event, EventFlags, ExitStatus, Resume};

use crate::common::*;
use crate::fixtures::fixture;

crate::tests![
    w2_four_threads_with_children_while_another_traces_a_build,
    w2_a_host_that_takes_the_end_of_a_tracee_is_told,
];

/// What a build is, to a tracer: shells that start many short programs, several at once.
const BUILD: &str = "for i in 1 2 3 4; do \
    (for j in 1 2 3; do true | cat; sh -c 'exit 0'; done) & done; wait; exit 5";

/// Runs a child of the host's own, which ends with this status.
fn own_child(code: u64) {
    let code = (code % 100) as i32;
    let mut child = fixture("exit", &[&code.to_string()]).spawn().expect("spawn");
    let status = child.wait().expect("the wait for the host's own child");
    assert_eq!(status.code(), Some(code));
}

fn w2_four_threads_with_children_while_another_traces_a_build() {
    let children: u64 =
        std::env::var("TRAPLINE_CHILDREN").ok().and_then(|n| n.parse().ok()).unwrap_or(40);
    let done = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> =
        (0..4).map(|_| std::thread::spawn(move || (0..children).for_each(own_child))).collect();
    let mut builds = 0;
    let mut own = 0;
    // As long as the others are at it, and once at least.
    while builds == 0 || !done.load(Ordering::SeqCst) {
        builds += 1;
        let mut tracer = tracer(EventFlags::PROCESS);
        tracer.spawn(sh(BUILD)).unwrap();
        let mut events = 0_u64;
        let log = run_with(&mut tracer, |_, event| {
            events += 1;
            // On the tracer's thread, too.
            if events % 20 == 0 {
                own += 1;
                own_child(own);
            }
            Some(event)
        });
        assert_eq!(log.count("exit 5"), 1);
        // A shell may exec its last command.
        assert_eq!(log.count("exit"), 1 + log.count("fork") + log.count("vfork"));
        done.store(threads.iter().all(|thread| thread.is_finished()), Ordering::SeqCst);
    }
    for thread in threads {
        thread.join().unwrap();
    }
    println!("4 x {children} children and {own} of the tracer's thread, beside {builds} builds");
}

fn w2_a_host_that_takes_the_end_of_a_tracee_is_told() {
    let mut tracer = tracer(EventFlags::PROCESS);
    let stop = spawned(&mut tracer, fixture("exit", &["9"]));
    let pid = stop.pid();
    tracer.resume(stop, Resume::Continue).unwrap();
    let mut status = 0;
    // What no host may do.
    // SAFETY: `status` lives across the call.
    let taken = unsafe { libc::waitpid(pid.as_raw(), &mut status, 0) };
    assert_eq!((taken, libc::WEXITSTATUS(status)), (pid.as_raw(), 9));
    match tracer.wait() {
        Err(Error::Taken { pid: named }) if cfg!(target_os = "linux") => {
            assert_eq!(named, pid);
        }
        Ok(Some(Event::Exited { status, .. })) if cfg!(target_os = "freebsd") => {
            assert_eq!(status, ExitStatus::Code(9));
        }
        other => panic!("{other:?}"),
    }
    assert!(tracer.wait().unwrap().is_none());
    assert!(tracer.is_empty());
}
