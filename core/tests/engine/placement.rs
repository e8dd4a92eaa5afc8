//! Where tracees run, and that they are put back.

use std::process::Command;
use std::time::Duration;

use trapline_core::{
    CpuSet, Error, Event, ForkKind, ForkSide, OnExit, Placement, SpawnOptions, Tid,
};
use trapline_fake::{Kernel, Rules};

use crate::common::*;

both![
    what_is_spawned_shares_a_cpu_and_is_put_back,
    what_is_attached_to_is_put_back_to_where_each_thread_was,
    a_tracer_that_ends_puts_back_what_lives_on,
    a_child_that_was_never_shown_is_put_back_too,
    what_has_moved_itself_is_left_there,
    an_impossible_cpu_is_an_error_and_nothing_is_started,
    left_alone_by_default,
];

fn set(cpus: &[u32]) -> CpuSet {
    cpus.iter().copied().collect()
}

impl<R: Rules> World<R> {
    fn placed(placement: Placement) -> Self {
        Self::built(|builder| builder.events(THREADS).placement(placement))
    }

    fn cpus(&self, tid: Tid) -> CpuSet {
        self.kernel.cpus(tid)
    }
}

const ALL: &[u32] = &[0, 1, 2, 3];

fn what_is_spawned_shares_a_cpu_and_is_put_back<R: Rules>() {
    let mut world = World::<R>::placed(Placement::ShareCpuOf(2));
    assert_eq!(world.kernel.tracer_cpus(), set(ALL), "not before there is a tracee");
    let pid = world.tracer().spawn(Command::new("program")).unwrap().pid;
    assert_eq!(world.kernel.tracer_cpus(), set(&[2]));
    let (stop, main) = (world.stop(), world.main(pid));
    assert_eq!(world.cpus(main), set(&[2]));
    world.go(stop);
    let child = world.kernel.fork(main, ForkKind::Fork);
    let fork = world.forked();
    let childs = world.main(child);
    assert_eq!(world.cpus(childs), set(&[2]));
    let ForkSide::Stopped(child_stop) = fork.child else { panic!() };
    world.tracer().detach(child_stop).unwrap();
    assert_eq!((world.cpus(childs), world.cpus(main)), (set(ALL), set(&[2])));
    let ForkSide::Stopped(parent) = fork.parent else { panic!() };
    world.tracer().detach(parent).unwrap();
    assert_eq!(world.cpus(main), set(ALL));
    assert_eq!(world.kernel.tracer_cpus(), set(&[2]), "until its end");
    world.drop_tracer();
    assert_eq!(world.kernel.tracer_cpus(), set(ALL));
}

fn what_is_attached_to_is_put_back_to_where_each_thread_was<R: Rules>() {
    let mut world = World::<R>::placed(Placement::ShareCpu);
    let pid = world.kernel.start();
    let main = world.main(pid);
    let other = world.kernel.thread(main);
    world.kernel.set_cpus(main, &[0, 1]);
    world.kernel.set_cpus(other, &[1]);
    world.tracer().attach(pid).unwrap();
    let shared = set(&[3]);
    assert_eq!((world.cpus(main), world.cpus(other)), (shared.clone(), shared.clone()));
    world.run_all();
    // What they make is put back to where its creator was.
    let third = world.kernel.thread(other);
    world.run_all();
    let child = world.kernel.fork(main, ForkKind::Fork);
    let ForkSide::Stopped(half) = world.forked().child else { panic!() };
    let childs = world.main(child);
    assert_eq!((world.cpus(third), world.cpus(childs)), (shared.clone(), shared));
    world.tracer().detach(half).unwrap();
    assert_eq!(world.cpus(childs), set(&[0, 1]));
    world.tracer().detach_process(pid).unwrap();
    let now = [main, other, third].map(|tid| world.cpus(tid));
    // FreeBSD does not say who has made a thread.
    let thirds = if R::RULES.led_by_pid { set(&[1]) } else { set(&[0, 1]) };
    assert_eq!(now, [set(&[0, 1]), set(&[1]), thirds]);
}

fn a_tracer_that_ends_puts_back_what_lives_on<R: Rules>() {
    let mut world = World::<R>::placed(Placement::ShareCpu);
    let attached = world.attach();
    let command = Command::new("program");
    let spawned =
        world.tracer().spawn(SpawnOptions::new(command).on_exit(OnExit::Detach)).unwrap().pid;
    world.run_all();
    let threads = [world.main(attached), world.main(spawned)];
    assert_eq!(threads.map(|tid| world.cpus(tid)), [set(&[3]), set(&[3])]);
    world.drop_tracer();
    assert_eq!(threads.map(|tid| world.cpus(tid)), [set(ALL), set(ALL)]);
}

fn a_child_that_was_never_shown_is_put_back_too<R: Rules>() {
    let mut world = World::<R>::placed(Placement::ShareCpu);
    let pid = world.kernel.start();
    let main = world.main(pid);
    world.kernel.set_cpus(main, &[1]);
    world.tracer().attach(pid).unwrap();
    world.run_all();
    let child = world.kernel.fork(main, ForkKind::Fork);
    world.tracer().detach_process(pid).unwrap();
    let childs = world.main(child);
    assert_eq!((world.cpus(main), world.cpus(childs)), (set(&[1]), set(&[1])));
}

fn what_has_moved_itself_is_left_there<R: Rules>() {
    let mut world = World::<R>::placed(Placement::ShareCpu);
    let pid = world.attach();
    let main = world.main(pid);
    world.kernel.set_cpus(main, &[0, 3]);
    world.tracer().detach_process(pid).unwrap();
    assert_eq!(world.cpus(main), set(&[0, 3]));
}

fn an_impossible_cpu_is_an_error_and_nothing_is_started<R: Rules>() {
    for cpu in [500, u32::MAX] {
        let mut world = World::<R>::placed(Placement::ShareCpuOf(cpu));
        let result = world.tracer().spawn(Command::new("program"));
        assert!(matches!(result, Err(Error::Os { .. } | Error::Unsupported { .. })));
        assert!(world.tracer().is_empty());
    }
}

fn left_alone_by_default<R: Rules>() {
    let kernel = Kernel::<R>::new();
    kernel.keep_log();
    let builder = trapline_core::Tracer::builder().half_patience(Duration::ZERO);
    let mut tracer = builder.build_on(kernel.backend());
    let pid = kernel.start();
    tracer.attach(pid).unwrap();
    let Some(Event::Stopped(stop)) = tracer.wait().unwrap() else { panic!() };
    tracer.detach(stop).unwrap();
    drop(tracer);
    assert!(kernel.log().iter().all(|call| !call.contains("cpus")), "{:?}", kernel.log());
}
