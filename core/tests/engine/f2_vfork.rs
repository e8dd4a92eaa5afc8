//! F2: a vfork is one, and its end is reported.

use trapline_core::{Event, EventFlags, ForkKind, ForkSide, Signal, StopReason};
use trapline_fake::{FreeBsdRules, Rules};

use crate::common::*;

both![
    done_when_the_child_execs_or_ends,
    not_reported_unless_asked,
    the_child_first,
    memory_is_shared_until_then,
    a_signal_waits_with_the_parent,
];

fn done_when_the_child_execs_or_ends<R: Rules>() {
    for execs in [true, false] {
        let flags = EventFlags::PROCESS | EventFlags::VFORK_DONE;
        let (mut world, pid) = World::<R>::with_process(flags);
        let main = world.main(pid);
        let child = world.kernel.fork(main, ForkKind::Vfork);
        let fork = world.forked();
        assert_eq!(fork.kind, ForkKind::Vfork);
        world.go(fork);
        world.idle();
        assert!(!world.kernel.acts(main), "it waits for its child");
        let first = if execs {
            world.kernel.exec(world.main(child), "program");
            format!("{} Execed {{ former_tid: None }}", world.main(child))
        } else {
            world.kernel.exit(world.main(child), 0);
            format!("{child} exit status 0")
        };
        let mut told = world.run_all();
        told.sort_by_key(|line| !line.contains("Vfork"));
        assert_eq!(told, [format!("{main} VforkDone"), first]);
        assert!(world.kernel.acts(main));
        world.idle();
    }
}

fn not_reported_unless_asked<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    let child = world.kernel.fork(world.main(pid), ForkKind::Vfork);
    world.run_all();
    world.kernel.exit(world.main(child), 0);
    assert_eq!(world.run_all(), [format!("{child} exit status 0")]);
    assert!(world.kernel.acts(world.main(pid)));
    world.idle();
}

fn the_child_first<R: Rules>() {
    let flags = EventFlags::PROCESS | EventFlags::VFORK_DONE;
    let (mut world, pid) = World::<R>::with_process(flags);
    let main = world.main(pid);
    let child = world.kernel.fork(main, ForkKind::Vfork);
    let fork = world.forked();
    let (parent, new) = (fork.parent, fork.child);
    // The child runs, and ends, while the parent is still at its event.
    world.go(new.into_stopped().unwrap());
    world.kernel.exit(world.main(child), 0);
    assert_eq!(world.exited().0, child);
    world.go(parent.into_stopped().unwrap());
    let stop = world.stop_for(StopReason::VforkDone);
    assert_eq!(stop.tid(), main);
    world.go(stop);
    world.idle();
}

fn memory_is_shared_until_then<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    world.kernel.map(pid, 0x1000, &[1, 2, 3]);
    for (kind, shared) in [(ForkKind::Vfork, true), (ForkKind::Fork, false)] {
        world.kernel.fork(world.main(pid), kind);
        let fork = world.forked();
        let (parent, new) = (fork.parent.stopped().unwrap(), fork.child.stopped().unwrap());
        world.tracer().write_memory(new, 0x1001, &[9]).unwrap();
        let mut seen = [0; 3];
        assert_eq!(world.tracer().read_memory(parent, 0x1000, &mut seen).unwrap(), 3);
        assert_eq!(seen, if shared { [1, 9, 3] } else { [1, 2, 3] });
        world.tracer().write_memory(parent, 0x1001, &[2]).unwrap();
        let child = fork.child_pid;
        world.go(fork);
        world.kernel.exit(world.main(child), 0);
        world.run_all();
    }
    world.idle();
}

fn a_signal_waits_with_the_parent<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    let child = world.kernel.fork(world.main(pid), ForkKind::Vfork);
    world.run_all();
    world.kernel.signal(pid, Signal::USR1);
    assert!(world.run_all().is_empty());
    world.kernel.exit(world.main(child), 0);
    world.run_all();
    assert_eq!(world.kernel.delivered(pid, Signal::USR1), 1);
    world.idle();
}

// E2, too. FreeBSD drops the report of a killed process; its other threads may be gone then, but one
// that has made a vfork child waits for that first.
#[test]
fn a_killed_parent_waits_for_the_child_that_it_did_not_report() {
    for execs in [true, false] {
        // With patience enough for a guess never to be made.
        let mut world = World::<FreeBsdRules>::patient(THREADS | EventFlags::EXIT);
        let pid = world.attach();
        let (main, other) = (world.main(pid), world.new_thread(pid));
        world.kernel.exit_thread(other, 0);
        let child = world.kernel.fork(main, ForkKind::Vfork);
        let stop = world.stop_for(StopReason::ThreadExiting);
        world.tracer().kill(pid).unwrap();
        world.go(stop);
        let mut event = world.next();
        if let Event::ThreadExited { .. } = event {
            event = world.next();
        }
        let Event::Forked(fork) = event else { panic!("{event:?}") };
        assert_eq!((fork.kind, fork.child_pid), (ForkKind::Vfork, child));
        assert_eq!((fork.parent_pid, fork.parent_tid), (Some(pid), Some(main)));
        assert!(matches!(fork.parent, ForkSide::Gone), "{fork:?}");
        world.go(fork);
        assert!(world.poll().is_none(), "it waits for its child");
        let first = world.main(child);
        if execs {
            world.kernel.exec(first, "program");
        } else {
            world.kernel.exit(first, 3);
        }
        let mut ended = Vec::new();
        while let Some(event) = world.poll() {
            if let Event::Exited { pid, status, .. } = event {
                ended.push((pid, status));
            }
            world.go(event);
        }
        assert!(ended.contains(&(pid, KILLED)), "{ended:?}");
        assert_eq!(ended.len(), if execs { 1 } else { 2 });
        world.idle();
    }
}
