//! E4: `Exited` once per process and last of its pid; the ends of threads before it.

use trapline_core::{Event, ExitStatus, ForkKind, Pid, Signal};
use trapline_fake::Rules;

use crate::common::*;

both![
    the_first_thread_first,
    with_all_threads,
    by_a_signal,
    each_process_once_and_to_its_parent,
    its_status_can_be_asked_until_the_next_wait,
];

/// Resumes what comes, to the end; says which threads ended, and how each process did. Nothing of
/// a process may come after its end.
fn to_the_end<R: Rules>(world: &mut World<R>) -> (usize, Vec<(Pid, ExitStatus)>) {
    let (mut threads, mut processes) = (0, Vec::new());
    while let Some(event) = world.poll() {
        let over = |pid| processes.iter().any(|&(ended, _)| Some(ended) == pid);
        assert!(!over(event.pid()), "after the end: {event:?}");
        match &event {
            Event::ThreadExited { .. } => threads += 1,
            Event::Exited { pid, status, .. } => processes.push((*pid, *status)),
            _ => {}
        }
        world.go(event);
    }
    (threads, processes)
}

fn the_first_thread_first<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(THREADS);
    let (main, other) = (world.main(pid), world.new_thread(pid));
    world.kernel.exit_thread(main, 3);
    assert_eq!(to_the_end(&mut world), (0, vec![]), "the process lives on");
    assert_eq!(world.tracer().processes().collect::<Vec<_>>(), [pid]);
    world.kernel.exit_thread(other, 7);
    // It is the first thread's status on Linux, whenever that ended.
    let code = if R::RULES.ends_by_thread { 3 } else { 7 };
    assert_eq!(to_the_end(&mut world), (1, vec![(pid, ExitStatus::Code(code))]));
    world.over();
}

fn with_all_threads<R: Rules>() {
    for by_first in [true, false] {
        let (mut world, pid) = World::<R>::with_process(THREADS);
        let (_, other) = (world.new_thread(pid), world.new_thread(pid));
        let caller = if by_first { world.main(pid) } else { other };
        world.kernel.exit(caller, 5);
        assert_eq!(to_the_end(&mut world), (2, vec![(pid, ExitStatus::Code(5))]));
        world.over();
    }
}

fn by_a_signal<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(THREADS);
    world.new_thread(pid);
    world.kernel.set_fatal(pid, Signal::TERM);
    world.kernel.signal(pid, Signal::TERM);
    let status = ExitStatus::Killed { signal: Signal::TERM, core_dumped: false };
    assert_eq!(to_the_end(&mut world), (1, vec![(pid, status)]));
    world.over();
}

fn each_process_once_and_to_its_parent<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(THREADS);
    let main = world.main(pid);
    let child = world.kernel.fork(main, ForkKind::Fork);
    world.run_all();
    world.kernel.exit(world.main(child), 1);
    match world.next() {
        Event::Exited { pid: ended, status, real_parent } => {
            assert_eq!((ended, status), (child, ExitStatus::Code(1)));
            assert_eq!(real_parent, Some(pid));
        }
        other => panic!("{other:?}"),
    }
    world.kernel.exit(main, 2);
    assert_eq!(to_the_end(&mut world).1, [(pid, ExitStatus::Code(2))]);
    assert!(world.kernel.statuses().contains(&(pid, child, ExitStatus::Code(1))));
    world.over();
}

fn its_status_can_be_asked_until_the_next_wait<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(THREADS);
    world.kernel.exit(world.main(pid), 9);
    assert_eq!(world.exited(), (pid, ExitStatus::Code(9)));
    let info = world.tracer().process_info(pid).unwrap();
    assert_eq!(info.exit_status, Some(ExitStatus::Code(9)));
    world.over();
    assert!(world.tracer().process_info(pid).is_err());
}
