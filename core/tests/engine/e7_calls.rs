//! E7: a system call is known at its exit as it was at its entry.

use trapline_core::{Error, EventFlags, Pid, Signal, StopReason, Syscall, SyscallAbi};
use trapline_fake::Rules;

use crate::common::*;

both![
    e7_a_call_that_replaces_the_registers,
    e7_an_exec_from_another_thread,
    e7_nobody_who_does_not_ask_pays_for_it,
];

const CALLS: EventFlags = EventFlags::PROCESS.union(EventFlags::SYSCALL);
const ARGS: [u64; 6] = [1, 2, 3, 4, 5, 6];

fn at_entry<R: Rules>(world: &mut World<R>, pid: Pid, asks: bool) {
    let main = world.main(pid);
    world.kernel.syscall_entry(main);
    let stop = world.stop_for(StopReason::SyscallEntry);
    if asks {
        let call = world.tracer().syscall(&stop).unwrap();
        assert_eq!(call, Syscall::new(SyscallAbi::Bits64, 39, ARGS, None));
        let before = world.tracer().requests();
        assert_eq!(world.tracer().syscall(&stop).unwrap(), call);
        assert_eq!(world.tracer().requests(), before, "it is known");
    }
    world.go(stop);
}

fn at_exit<R: Rules>(world: &mut World<R>) {
    let stop = world.stop_for(StopReason::SyscallExit);
    let call = world.tracer().syscall(&stop).unwrap();
    assert_eq!(call, Syscall::new(SyscallAbi::Bits64, 39, ARGS, Some(Ok(0))));
    world.go(stop);
}

fn e7_a_call_that_replaces_the_registers<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(CALLS);
    let main = world.main(pid);
    at_entry(&mut world, pid, true);
    world.kernel.syscall_exit_elsewhere(main);
    at_exit(&mut world);
    // A tracer that has asked once need not ask at the entry.
    at_entry(&mut world, pid, false);
    world.kernel.syscall_exit_elsewhere(main);
    at_exit(&mut world);
    world.idle();
}

fn e7_an_exec_from_another_thread<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(CALLS);
    let other = world.new_thread(pid);
    world.kernel.syscall_entry(other);
    let stop = world.stop_for(StopReason::SyscallEntry);
    world.tracer().syscall(&stop).unwrap();
    world.go(stop);
    world.kernel.exec(other, "other");
    let exec = world.stop_for(StopReason::Execed { former_tid: Some(other) });
    world.go(exec);
    let main = world.main(pid);
    world.kernel.syscall_exit(main);
    at_exit(&mut world);
    world.idle();
}

fn e7_nobody_who_does_not_ask_pays_for_it<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(CALLS);
    let main = world.main(pid);
    world.kernel.syscall_entry(main);
    let stop = world.stop_for(StopReason::SyscallEntry);
    let before = world.tracer().requests();
    world.go(stop);
    assert_eq!(world.tracer().requests(), before + 1, "the resume");
    world.kernel.syscall_exit(main);
    let stop = world.stop_for(StopReason::SyscallExit);
    world.go(stop);
    world.idle();
}

/// Linux: one that is killed in its stop gets to its exit stop, where it can be asked, but is in no
/// system call any more.
#[test]
fn e5_killed_at_the_exit_of_a_call() {
    let flags = CALLS | EventFlags::EXIT;
    let (mut world, pid) = World::<trapline_fake::LinuxRules>::with_process(flags);
    let main = world.main(pid);
    at_entry(&mut world, pid, true);
    world.kernel.syscall_exit(main);
    let stop = world.stop_for(StopReason::SyscallExit);
    world.kernel.signal(pid, Signal::KILL);
    world.kernel.die(main);
    assert!(matches!(world.tracer().syscall(&stop), Err(Error::Gone { .. })));
    world.go(stop);
    world.run_all();
    world.over();
}
