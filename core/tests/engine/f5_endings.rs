//! F5: what becomes of the tracees of a tracer that is dropped.

use std::process::Command;

use trapline_core::{
    AttachOptions, EventFlags, ForkKind, OnExit, Pid, Signal, SpawnOptions, StopReason,
};
use trapline_fake::Rules;

use crate::common::*;

both![
    the_spawned_are_killed_and_the_attached_let_go,
    unless_said_otherwise,
    children_end_as_their_parents,
    with_a_token_out,
    with_events_nobody_has_seen,
    while_halted,
];

fn spawn<R: Rules>(world: &mut World<R>, ending: Option<OnExit>) -> Pid {
    let command = Command::new("program");
    let spawned = match ending {
        Some(on_exit) => world.tracer().spawn(SpawnOptions::new(command).on_exit(on_exit)),
        None => world.tracer().spawn(command),
    };
    let pid = spawned.unwrap().pid;
    let stop = world.stop_for(StopReason::Execed { former_tid: None });
    world.go(stop);
    pid
}

fn lives<R: Rules>(world: &World<R>, pid: Pid) -> bool {
    let lives = world.kernel.processes().contains(&pid) && world.kernel.fate(pid).is_none();
    if lives {
        assert!(!world.kernel.is_traced(pid));
        assert!(world.kernel.threads(pid).iter().all(|&tid| world.kernel.acts(tid)));
    }
    lives
}

fn the_spawned_are_killed_and_the_attached_let_go<R: Rules>() {
    let mut world = World::<R>::new(EventFlags::PROCESS);
    let (spawned, attached) = (spawn(&mut world, None), world.attach());
    world.new_thread(spawned);
    world.new_thread(attached);
    world.drop_tracer();
    assert_eq!([spawned, attached].map(|pid| lives(&world, pid)), [false, true]);
}

fn unless_said_otherwise<R: Rules>() {
    let mut world = World::<R>::new(EventFlags::PROCESS);
    let spawned = spawn(&mut world, Some(OnExit::Detach));
    let attached = world.kernel.start();
    world.tracer().attach(AttachOptions::new(attached).on_exit(OnExit::Kill)).unwrap();
    world.run_all();
    world.drop_tracer();
    assert_eq!([spawned, attached].map(|pid| lives(&world, pid)), [true, false]);
}

fn children_end_as_their_parents<R: Rules>() {
    let mut world = World::<R>::new(EventFlags::PROCESS);
    let parents = [spawn(&mut world, None), world.attach()];
    let children = parents.map(|pid| world.kernel.fork(world.main(pid), ForkKind::Fork));
    world.run_all();
    world.drop_tracer();
    assert_eq!(children.map(|pid| lives(&world, pid)), [false, true]);
}

fn with_a_token_out<R: Rules>() {
    for ending in [OnExit::Kill, OnExit::Detach] {
        let mut world = World::<R>::new(EventFlags::PROCESS);
        let pid = spawn(&mut world, Some(ending));
        world.tracer().interrupt(pid).unwrap();
        let stop = world.stop_for(StopReason::Interrupted);
        world.drop_tracer();
        drop(stop);
        assert_eq!(lives(&world, pid), ending == OnExit::Detach);
    }
}

fn with_events_nobody_has_seen<R: Rules>() {
    for ending in [OnExit::Kill, OnExit::Detach] {
        let mut world = World::<R>::new(EventFlags::PROCESS);
        let (pid, other) = (spawn(&mut world, Some(ending)), spawn(&mut world, Some(ending)));
        let child = world.kernel.fork(world.main(pid), ForkKind::Fork);
        world.kernel.signal(other, Signal::USR1);
        world.drop_tracer();
        let live = ending == OnExit::Detach;
        assert_eq!([pid, child, other].map(|pid| lives(&world, pid)), [live; 3]);
        assert_eq!(world.kernel.delivered(other, Signal::USR1), usize::from(live));
    }
}

fn while_halted<R: Rules>() {
    let mut world = World::<R>::new(EventFlags::PROCESS);
    let pid = world.attach();
    world.new_thread(pid);
    world.tracer().interrupt(pid).unwrap();
    let stop = world.stop();
    let halted = world.tracer().halt(stop).unwrap();
    assert_eq!(halted.threads.len(), 2);
    world.drop_tracer();
    drop(halted);
    assert!(lives(&world, pid));
}
