//! E6: what the kernel says and nobody knows is data.

use trapline_core::{EventFlags, StopReason};
use trapline_fake::Rules;

use crate::common::*;

both![shown_whatever_the_flags, does_not_turn_system_calls_around,];

fn shown_whatever_the_flags<R: Rules>() {
    for flags in [EventFlags::empty(), EventFlags::all()] {
        let (mut world, pid) = World::<R>::with_process(flags);
        let main = world.main(pid);
        world.kernel.unknown(main, 0x1234);
        let stop = world.stop_for(StopReason::Unknown { raw: 0x1234 });
        assert_eq!((stop.pid(), stop.tid()), (pid, main));
        assert!(world.tracer().registers(&stop).is_ok());
        world.go(stop);
        world.idle();
        assert!(world.kernel.acts(main));
    }
}

fn does_not_turn_system_calls_around<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::SYSCALL);
    let main = world.main(pid);
    world.kernel.syscall_entry(main);
    let stop = world.stop_for(StopReason::SyscallEntry);
    world.go(stop);
    world.kernel.unknown(main, 7);
    let stop = world.stop_for(StopReason::Unknown { raw: 7 });
    world.go(stop);
    world.kernel.syscall_exit(main);
    let stop = world.stop_for(StopReason::SyscallExit);
    world.go(stop);
    world.idle();
}
