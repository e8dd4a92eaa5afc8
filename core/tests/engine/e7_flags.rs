//! E7: event flags belong to the process, can be changed at any stop, and are inherited.

use trapline_core::{Error, EventFlags, ForkKind, Next, Pid, Signal, StopReason};
use trapline_fake::Rules;

use crate::common::*;

both![
    of_processes_to_come,
    changed_at_a_stop,
    each_flag_alone,
    children_inherit,
    the_kernel_is_told_at_the_next_resume,
    for_all_threads_at_a_halt,
    what_the_kernel_was_told_counts_until_it_is_told_otherwise,
    of_what_is_not_traced,
];

/// Changes what a process reports, at a stop.
fn change<R: Rules>(world: &mut World<R>, pid: Pid, flags: EventFlags) {
    world.kernel.signal(pid, Signal::USR1);
    let stop = world.stop_for(StopReason::Signal(Signal::USR1));
    world.tracer().set_events(pid, flags).unwrap();
    world.go(stop);
}

/// How often the kernel was told what to report.
fn told_the_kernel<R: Rules>(world: &World<R>) -> usize {
    world.kernel.log().iter().filter(|line| line.starts_with("set_up ")).count()
}

fn of_processes_to_come<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::empty());
    world.tracer().set_default_events(EventFlags::EXEC);
    let other = world.attach();
    assert_eq!(world.tracer().events(pid).unwrap(), EventFlags::empty());
    assert_eq!(world.tracer().events(other).unwrap(), EventFlags::EXEC);
    world.kernel.exec(world.main(other), "new");
    let stop = world.stop_for(StopReason::Execed { former_tid: None });
    assert_eq!(stop.pid(), other);
    world.go(stop);
    world.idle();
}

fn changed_at_a_stop<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::empty());
    let main = world.main(pid);
    let quiet = world.kernel.fork(main, ForkKind::Fork);
    world.idle();
    assert!(world.kernel.acts(main) && world.kernel.acts(world.main(quiet)));
    change(&mut world, pid, EventFlags::PROCESS);
    let child = world.kernel.fork(main, ForkKind::Fork);
    let fork = world.forked();
    assert_eq!(fork.child_pid, child);
    world.go(fork);
    change(&mut world, pid, EventFlags::EXEC);
    world.kernel.fork(main, ForkKind::Fork);
    world.idle();
    world.kernel.exec(main, "new");
    let stop = world.stop_for(StopReason::Execed { former_tid: None });
    world.go(stop);
    world.idle();
}

fn each_flag_alone<R: Rules>() {
    for flag in [EventFlags::FORK, EventFlags::VFORK, EventFlags::VFORK_DONE] {
        let (mut world, pid) = World::<R>::with_process(flag);
        let main = world.main(pid);
        world.kernel.fork(main, ForkKind::Fork);
        assert_eq!(world.run_all().len(), usize::from(flag == EventFlags::FORK));
        let child = world.kernel.fork(main, ForkKind::Vfork);
        assert_eq!(world.run_all().len(), usize::from(flag == EventFlags::VFORK));
        world.kernel.exec(world.main(child), "new");
        let done = world.run_all();
        match flag == EventFlags::VFORK_DONE {
            true => assert_eq!(done, [format!("{main} VforkDone")]),
            false => assert!(done.is_empty(), "{done:?}"),
        }
        world.idle();
    }
}

fn children_inherit<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    change(&mut world, pid, THREADS | EventFlags::SYSCALL);
    let child = world.kernel.fork(world.main(pid), ForkKind::Fork);
    let fork = world.forked();
    world.go(fork);
    let first = world.main(child);
    let thread = world.kernel.thread(first);
    let stop = world.stop_for(StopReason::ThreadStarted);
    assert_eq!((stop.pid(), stop.tid()), (child, thread));
    world.go(stop);
    world.kernel.syscall_entry(thread);
    let stop = world.stop_for(StopReason::SyscallEntry);
    world.go(stop);
    let grandchild = world.kernel.fork(thread, ForkKind::Fork);
    let fork = world.forked();
    assert_eq!((fork.parent_pid, fork.child_pid), (Some(child), grandchild));
    world.go(fork);
    world.idle();
}

fn the_kernel_is_told_at_the_next_resume<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    let before = told_the_kernel(&world);
    world.kernel.signal(pid, Signal::USR1);
    let stop = world.stop();
    world.tracer().set_events(pid, EventFlags::EXIT).unwrap();
    assert_eq!(told_the_kernel(&world), before);
    world.go(stop);
    assert_eq!(told_the_kernel(&world), before + 1);
    world.kernel.signal(pid, Signal::USR1);
    let stop = world.stop();
    world.go(stop);
    assert_eq!(told_the_kernel(&world), before + 1, "nothing is said twice");
    world.idle();
}

fn for_all_threads_at_a_halt<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    let other = world.new_thread(pid);
    world.kernel.signal_thread(world.main(pid), Signal::USR1);
    let stop = world.stop();
    let halted = world.tracer().halt(stop).unwrap();
    world.tracer().set_events(pid, EventFlags::SYSCALL).unwrap();
    world.tracer().resume_halted(halted, |_| Next::Continue).unwrap();
    for tid in [other, world.main(pid)] {
        world.kernel.syscall_entry(tid);
        let stop = world.stop_for(StopReason::SyscallEntry);
        assert_eq!(stop.tid(), tid);
        world.go(stop);
        world.kernel.syscall_exit(tid);
        let stop = world.stop_for(StopReason::SyscallExit);
        world.go(stop);
    }
    world.idle();
}

fn what_the_kernel_was_told_counts_until_it_is_told_otherwise<R: Rules>() {
    // The flags change while threads run, that go on to report what the kernel was told; the
    // model checks that events are asked for by that.
    for other_execs in [false, true] {
        let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS | EventFlags::EXIT);
        let (main, other) = (world.main(pid), world.new_thread(pid));
        world.tracer().set_events(pid, EventFlags::PROCESS).unwrap();
        let child = world.kernel.fork(main, ForkKind::Fork);
        let fork = world.forked();
        assert_eq!((fork.parent_tid, fork.child_pid), (Some(main), child));
        world.go(fork);
        world.kernel.exec(if other_execs { other } else { main }, "new");
        let stop = world.stop();
        assert!(matches!(stop.reason(), StopReason::Execed { .. }), "{stop:?}");
        world.go(stop);
        world.kernel.exec(world.main(child), "new");
        let stop = world.stop_for(StopReason::Execed { former_tid: None });
        world.go(stop);
        world.idle();
    }
}

fn of_what_is_not_traced<R: Rules>() {
    let mut world = World::<R>::new(EventFlags::PROCESS);
    let pid = world.kernel.start();
    let answer = world.tracer().set_events(pid, EventFlags::FORK);
    assert!(matches!(answer, Err(Error::Gone { .. })));
}
