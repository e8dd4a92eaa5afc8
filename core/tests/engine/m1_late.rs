//! M1 and F3: threads that were being made while their process was attached to.

use trapline_core::{Error, EventFlags, Pid, SoftwareBreakpoint, StopReason, Stopped, Tid};
use trapline_fake::{Kernel, LinuxRules};

use crate::common::*;
use crate::m1_software::{CODE, TEXT, software};

/// A process at the stop of an attach, and a thread of it that is not traced.
fn attached(flags: EventFlags) -> (World<LinuxRules>, Pid, Tid, Stopped) {
    let mut world = World::<LinuxRules>::new(flags);
    let pid = world.kernel.start();
    world.kernel.map(pid, CODE, &TEXT);
    let other = world.kernel.thread(world.main(pid));
    world.tracer().attach(pid).unwrap();
    let stop = world.stop_for(StopReason::Started);
    let maker = if world.kernel.acts(other) { other } else { world.main(pid) };
    let late = world.kernel.late_thread(maker);
    (world, pid, late, stop)
}

#[test]
fn each_is_traced_before_a_breakpoint_is_in_memory() {
    let (mut world, pid, late, stop) = attached(THREADS);
    world.put(pid, CODE);
    world.go(stop);
    assert_eq!(world.run_all(), [format!("{late} ThreadStarted")]);
    world.kernel.jump(late, CODE);
    let stop = world.stop();
    assert!(stop.tid() == late && software(&stop).is_some(), "{stop:?}");
    world.go(stop);
    world.idle();
}

#[test]
fn none_is_inserted_if_one_cannot_be_traced() {
    let (mut world, pid, late, stop) = attached(EventFlags::PROCESS);
    world.kernel.fail_requests(|_: &Kernel<LinuxRules>, call| call.name == "trace_late_threads");
    let refused = world.tracer().insert_breakpoint(pid, SoftwareBreakpoint { addr: CODE });
    assert!(matches!(refused, Err(Error::Os { .. })), "{refused:?}");
    world.kernel.jump(late, CODE);
    assert_eq!(world.kernel.executed(pid, CODE), 1);
    world.kernel.fail_requests(|_: &Kernel<LinuxRules>, _| false);
    world.put(pid, CODE);
    world.go(stop);
    world.run_all();
    world.kernel.jump(late, CODE);
    let stop = world.stop();
    assert!(software(&stop).is_some(), "{stop:?}");
    world.go(stop);
    world.idle();
}

#[test]
fn each_has_a_token_in_a_halt() {
    let (mut world, _, late, stop) = attached(EventFlags::PROCESS);
    let halted = world.tracer().halt(stop).unwrap();
    assert!(halted.get(late).is_some(), "{halted:?}");
    drop(halted);
    world.run_all();
    world.idle();
}
