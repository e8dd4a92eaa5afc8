//! D3 and F3: who inherits hardware breakpoints, and that nothing of them is left behind.

use trapline_core::{
    EventFlags, FollowFork, ForkKind, HardwareKind, Inherit, InheritDebug, Pid, Signal, StopReason,
};
use trapline_fake::Rules;

use crate::common::*;

both![
    d3_fork_as_the_policy_says,
    d3_a_copy_goes_down_the_generations,
    d3_exec_as_the_policy_says,
    d3_the_child_of_a_parent_that_was_killed_is_clean_or_armed,
    f3_detached_clean,
    f3_detached_at_a_hit,
    f3_detached_with_hits_that_were_not_shown,
    f3_removed_with_hits_that_were_not_shown,
    f3_the_child_that_is_not_followed_is_clean,
    f3_the_parent_that_is_not_followed_is_clean,
    f3_a_child_that_was_not_reported_is_clean,
    d1_two_changes_of_one_value,
];

const AT: u64 = 0x1000;

const COPY: InheritDebug =
    InheritDebug { fork: Inherit::Copy, vfork: Inherit::Copy, exec: Inherit::Copy };

/// No debug register of the process is armed, and no trap has reached it.
fn is_clean<R: Rules>(world: &World<R>, pid: Pid) {
    for tid in world.kernel.threads(pid) {
        assert!(world.kernel.watched(tid).is_empty(), "thread {tid}");
        assert!(world.kernel.acts(tid), "{}", world.kernel.state(tid));
        assert!(!world.kernel.store(tid, AT, 8));
    }
    assert!(!world.kernel.is_traced(pid));
    assert_eq!(world.kernel.delivered(pid, Signal::TRAP), 0);
}

fn d3_fork_as_the_policy_says<R: Rules>() {
    for kind in [ForkKind::Fork, ForkKind::Vfork, ForkKind::Clone] {
        for copy in [false, true] {
            for flags in [EventFlags::PROCESS, EventFlags::empty()] {
                let (mut world, pid) = World::<R>::with_process(flags);
                let main = world.main(pid);
                let id = world.watch(pid, AT, 8);
                let [fork, vfork] = match (kind, copy) {
                    (_, false) => [Inherit::Clear; 2],
                    (ForkKind::Vfork, true) => [Inherit::Clear, Inherit::Copy],
                    (_, true) => [Inherit::Copy, Inherit::Clear],
                };
                let inherit = InheritDebug { fork, vfork, exec: Inherit::Clear };
                world.tracer().set_inherit_debug(pid, inherit).unwrap();
                let child = world.kernel.fork(main, kind);
                world.run_all();
                let first = world.main(child);
                assert_eq!(world.kernel.store(first, AT, 8), copy);
                if copy {
                    world.hit(first, id);
                    // Its own from now on.
                    world.tracer().remove_breakpoint(child, id).unwrap();
                    assert!(!world.kernel.store(first, AT, 8));
                }
                if kind != ForkKind::Vfork {
                    assert!(world.kernel.store(main, AT, 8));
                    world.hit(main, id);
                }
                // And its children as it does.
                let grandchild = world.kernel.fork(first, kind);
                world.run_all();
                assert!(!world.kernel.store(world.main(grandchild), AT, 8));
            }
        }
    }
}

fn d3_a_copy_goes_down_the_generations<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    world.tracer().set_inherit_debug(pid, COPY).unwrap();
    let id = world.watch(pid, AT, 8);
    let mut last = pid;
    for _ in 0..4 {
        last = world.kernel.fork(world.main(last), ForkKind::Fork);
        world.run_all();
        let first = world.main(last);
        assert!(world.kernel.store(first, AT, 8));
        world.hit(first, id);
    }
}

fn d3_exec_as_the_policy_says<R: Rules>() {
    for copy in [false, true] {
        for flags in [EventFlags::PROCESS, EventFlags::empty()] {
            let (mut world, pid) = World::<R>::with_process(flags);
            let two = world.new_thread(pid);
            let id = world.watch(pid, AT, 8);
            if copy {
                world.tracer().set_inherit_debug(pid, COPY).unwrap();
            }
            world.kernel.exec(two, "other");
            world.run_all();
            let main = world.main(pid);
            assert_eq!(world.kernel.store(main, AT, 8), copy);
            let listed = world.tracer().breakpoints(pid).unwrap().count();
            assert_eq!(listed, usize::from(copy));
            if copy {
                world.hit(main, id);
            } else {
                assert!(!world.tracer().remove_breakpoint(pid, id).unwrap(), "forgotten");
                let id = world.watch(pid, AT, 8);
                assert!(world.kernel.store(main, AT, 8));
                world.hit(main, id);
            }
        }
    }
}

fn d3_the_child_of_a_parent_that_was_killed_is_clean_or_armed<R: Rules>() {
    for copy in [false, true] {
        let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
        let main = world.main(pid);
        world.watch(pid, AT, 8);
        if copy {
            world.tracer().set_inherit_debug(pid, COPY).unwrap();
        }
        let child = world.kernel.fork(main, ForkKind::Fork);
        world.kernel.kill(pid);
        world.run_all();
        let first = world.main(child);
        let hit = world.kernel.store(first, AT, 8);
        // Whoever is not known to be its parent cannot pass anything on.
        assert!(copy || !hit);
        world.run_all();
        assert_eq!(world.kernel.delivered(child, Signal::TRAP), 0);
    }
}

fn f3_detached_clean<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    world.new_thread(pid);
    world.watch(pid, AT, 8);
    world.tracer().detach_process(pid).unwrap();
    is_clean(&world, pid);
    world.over();
}

fn f3_detached_at_a_hit<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    let main = world.main(pid);
    world.watch(pid, AT, 8);
    assert!(world.kernel.store(main, AT, 8));
    let (stop, _) = world.trap(main);
    world.tracer().detach(stop).unwrap();
    is_clean(&world, pid);
    world.over();
}

fn f3_detached_with_hits_that_were_not_shown<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    let (main, two) = (world.main(pid), world.new_thread(pid));
    let three = world.new_thread(pid);
    world.watch(pid, AT, 8);
    for tid in [main, two, three] {
        assert!(world.kernel.store(tid, AT, 8));
    }
    let stop = world.stop();
    assert!(matches!(stop.reason(), StopReason::Trap(_)));
    world.tracer().detach(stop).unwrap();
    is_clean(&world, pid);
    world.over();
}

fn f3_removed_with_hits_that_were_not_shown<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    let (main, two) = (world.main(pid), world.new_thread(pid));
    let id = world.watch(pid, AT, 8);
    for tid in [main, two] {
        assert!(world.kernel.store(tid, AT, 8));
    }
    let stop = world.stop();
    world.tracer().remove_breakpoint(pid, id).unwrap();
    world.watch(pid, AT + 64, 8);
    world.go(stop);
    // The other one's may have been taken in already; if not, it is nobody's.
    for event in world.run_all() {
        assert!(event.contains("Trap"), "{event}");
    }
    assert_eq!(world.kernel.delivered(pid, Signal::TRAP), 0);
    assert!(world.kernel.acts(main) && world.kernel.acts(two));
}

fn f3_the_child_that_is_not_followed_is_clean<R: Rules>() {
    for kind in [ForkKind::Fork, ForkKind::Vfork] {
        let mut world = World::<R>::following(EventFlags::PROCESS, FollowFork::Parent);
        let pid = world.attach();
        world.watch(pid, AT, 8);
        let child = world.kernel.fork(world.main(pid), kind);
        world.run_all();
        is_clean(&world, child);
    }
}

fn f3_the_parent_that_is_not_followed_is_clean<R: Rules>() {
    let mut world = World::<R>::following(EventFlags::PROCESS, FollowFork::Child);
    let pid = world.attach();
    world.tracer().set_inherit_debug(pid, COPY).unwrap();
    let id = world.watch(pid, AT, 8);
    let child = world.kernel.fork(world.main(pid), ForkKind::Fork);
    world.run_all();
    is_clean(&world, pid);
    let first = world.main(child);
    assert!(world.kernel.store(first, AT, 8));
    world.hit(first, id);
}

fn f3_a_child_that_was_not_reported_is_clean<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    let (main, two) = (world.main(pid), world.new_thread(pid));
    world.watch(pid, AT, 8);
    let child = world.kernel.fork(two, ForkKind::Fork);
    world.kernel.hold(two);
    world.kernel.signal_thread(main, Signal::USR1);
    let stop = world.stop_for(StopReason::Signal(Signal::USR1));
    world.kernel.release(two);
    world.tracer().detach(stop).unwrap();
    is_clean(&world, pid);
    is_clean(&world, child);
    world.over();
}

fn d1_two_changes_of_one_value<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    let (main, two) = (world.main(pid), world.new_thread(pid));
    world.kernel.map(pid, AT, &[0; 8]);
    world.insert(pid, AT, 8, HardwareKind::Change);
    assert!(world.kernel.store_value(main, AT, &[1; 8]));
    assert!(world.kernel.store_value(two, AT, &[2; 8]));
    let stop = world.stop();
    assert_eq!(world.tracer().watch_changes(&stop).unwrap()[0].new, [2; 8]);
    world.go(stop);
    world.idle();
    assert!(world.kernel.acts(main) && world.kernel.acts(two));
}

/// The trap is pending behind an interrupt when its thread is detached.
#[test]
fn f3_a_trap_behind_an_interrupt_is_waited_for() {
    let (mut world, pid) = World::<trapline_fake::LinuxRules>::with_process(EventFlags::PROCESS);
    let two = world.new_thread(pid);
    world.watch(pid, AT, 8);
    let kernel = world.kernel.clone();
    let mut done = false;
    world.kernel.before_requests(move |_, call| {
        if call.name == "interrupt" && !std::mem::replace(&mut done, true) {
            kernel.store(two, AT, 8);
            kernel.overtake(two);
        }
    });
    world.tracer().detach_process(pid).unwrap();
    world.kernel.before_requests(|_, _| {});
    is_clean(&world, pid);
    world.over();
}
