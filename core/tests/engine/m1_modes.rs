//! M1: the mode in which an instruction is executed is that of the thread, and of the moment.

use trapline_core::EventFlags;
use trapline_fake::Rules;

use crate::common::*;
use crate::m1_software::{CODE, with_code};

both![m1_the_code_segment_of_the_moment_decides, m1_a_mode_that_is_set_at_the_breakpoint_counts,];

/// A system call in 64-bit code; nothing in 32-bit code.
const CALL: u64 = CODE + 3;

fn m1_the_code_segment_of_the_moment_decides<R: Rules>() {
    let (mut world, pid) = with_code::<R>(EventFlags::PROCESS);
    let main = world.main(pid);
    let call = world.put(pid, CALL);
    let behind = world.put(pid, CALL + 2);
    for narrow in [false, true, false] {
        world.kernel.set_code_segment(main, narrow);
        world.kernel.jump(main, CODE);
        let stop = world.hits(call, CALL);
        world.go(stop);
        assert_eq!(world.kernel.is_in_call(main), !narrow);
        if !narrow {
            world.idle();
            world.kernel.finish_call(main);
        }
        let stop = world.hits(behind, CALL + 2);
        world.go(stop);
        world.idle();
    }
    assert_eq!(world.kernel.executed(pid, CALL), 3);
    assert!(world.kernel.deliveries().is_empty());
}

fn m1_a_mode_that_is_set_at_the_breakpoint_counts<R: Rules>() {
    let (mut world, pid) = with_code::<R>(EventFlags::PROCESS);
    let main = world.main(pid);
    let call = world.put(pid, CALL);
    world.kernel.jump(main, CODE);
    let stop = world.hits(call, CALL);
    let mut registers = world.tracer().registers(&stop).unwrap();
    registers.narrow = true;
    world.tracer().set_registers(&stop, &registers).unwrap();
    world.go(stop);
    assert!(!world.kernel.is_in_call(main));
    world.idle();
    assert_eq!(world.kernel.executed(pid, CALL + 2), 1);
}
