//! F1: whether a process stays traced over an exec is a policy of the engine.

use trapline_core::{Event, EventFlags, FollowExec, ForkKind, Resume, Signal, StopReason};
use trapline_fake::Rules;

use crate::common::*;

both![
    it_stays_unless_said_otherwise,
    it_is_let_go,
    with_its_threads,
    the_first_exec_of_a_spawned_program_does_not_count,
    changed_at_any_stop,
    whether_it_is_reported_or_not,
    a_vfork_child_is_let_go_and_its_parent_goes_on,
    killed_while_it_is_let_go,
    by_hand,
];

const EXECED: StopReason = StopReason::Execed { former_tid: None };

fn it_stays_unless_said_otherwise<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    for program in ["one", "two"] {
        world.kernel.exec(world.main(pid), program);
        let stop = world.stop_for(EXECED);
        world.go(stop);
    }
    assert!(world.kernel.is_traced(pid));
    world.idle();
}

fn it_is_let_go<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    world.tracer().set_follow_exec(FollowExec::Detach);
    world.kernel.exec(world.main(pid), "other");
    match world.next() {
        Event::Detached { pid: gone } => assert_eq!(gone, pid),
        other => panic!("{other:?}"),
    }
    assert!(!world.kernel.is_traced(pid) && world.kernel.acts(world.main(pid)));
    world.over();
}

fn with_its_threads<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(THREADS);
    let other = world.new_thread(pid);
    world.tracer().set_follow_exec(FollowExec::Detach);
    world.kernel.exec(other, "other");
    // The ends of those that the exec took away are told, and before.
    let ends = world.run_all();
    assert_eq!(ends.last().unwrap(), &format!("Detached {{ pid: {pid:?} }}"), "{ends:?}");
    assert_eq!(ends.len(), 2, "{ends:?}");
    assert!(!world.kernel.is_traced(pid) && world.kernel.acts(world.main(pid)));
    world.over();
}

fn the_first_exec_of_a_spawned_program_does_not_count<R: Rules>() {
    let mut world = World::<R>::new(EventFlags::PROCESS);
    world.tracer().set_follow_exec(FollowExec::Detach);
    let command = std::process::Command::new("program");
    let pid = world.tracer().spawn(command).unwrap().pid;
    let stop = world.stop_for(EXECED);
    world.go(stop);
    assert!(world.kernel.is_traced(pid));
    world.kernel.exec(world.main(pid), "other");
    assert!(matches!(world.next(), Event::Detached { .. }));
    world.over();
}

fn changed_at_any_stop<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    let main = world.main(pid);
    let child = world.kernel.fork(main, ForkKind::Fork);
    let fork = world.forked();
    world.tracer().set_follow_exec(FollowExec::Detach);
    world.go(fork);
    world.kernel.exec(world.main(child), "other");
    world.kernel.signal_thread(main, Signal::USR1);
    let mut lets_go = 0;
    while let Some(event) = world.poll() {
        lets_go += u32::from(matches!(event, Event::Detached { pid } if pid == child));
        world.go(event);
    }
    assert_eq!(lets_go, 1);
    world.tracer().set_follow_exec(FollowExec::Follow);
    world.kernel.exec(main, "other");
    let stop = world.stop_for(EXECED);
    world.go(stop);
    assert!(world.kernel.is_traced(pid) && !world.kernel.is_traced(child));
    world.idle();
}

fn whether_it_is_reported_or_not<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::empty());
    world.tracer().set_follow_exec(FollowExec::Detach);
    world.kernel.exec(world.main(pid), "other");
    world.over();
    assert!(!world.kernel.is_traced(pid) && world.kernel.acts(world.main(pid)));
}

fn a_vfork_child_is_let_go_and_its_parent_goes_on<R: Rules>() {
    let flags = EventFlags::PROCESS | EventFlags::VFORK_DONE;
    let (mut world, pid) = World::<R>::with_process(flags);
    let main = world.main(pid);
    world.tracer().set_follow_exec(FollowExec::Detach);
    let child = world.kernel.fork(main, ForkKind::Vfork);
    world.run_all();
    world.kernel.exec(world.main(child), "other");
    let mut told = world.run_all();
    told.sort();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("VforkDone") && told[1].contains("Detached"), "{told:?}");
    assert!(!world.kernel.is_traced(child) && world.kernel.acts(world.main(child)));
    assert!(world.kernel.is_traced(pid) && world.kernel.acts(main));
    world.idle();
}

fn killed_while_it_is_let_go<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    world.tracer().set_follow_exec(FollowExec::Detach);
    world.kernel.exec(world.main(pid), "other");
    world.kernel.before_requests(move |kernel, call| {
        if call.name == "detach" {
            kernel.kill(pid);
        }
    });
    let told = world.run_all();
    // E5: nothing but its end behind it, and that only where the kernel still told us.
    assert!(told[0].contains("Detached"), "{told:?}");
    assert!(told.len() <= 2, "{told:?}");
    world.over();
}

fn by_hand<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    for program in ["wanted", "unwanted"] {
        world.kernel.exec(world.main(pid), program);
        let stop = world.stop_for(EXECED);
        let runs = world.tracer().process_info(pid).unwrap().executable.unwrap();
        assert_eq!(runs.to_str(), Some(program));
        match program {
            "wanted" => world.tracer().resume(stop, Resume::Continue).unwrap(),
            _ => world.tracer().detach(stop).unwrap(),
        }
    }
    assert!(!world.kernel.is_traced(pid) && world.kernel.acts(world.main(pid)));
    world.over();
}
