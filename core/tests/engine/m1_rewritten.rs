//! M1: code that the program writes anew while it has breakpoints.

use trapline_core::EventFlags;
use trapline_fake::Rules;

use crate::common::*;
use crate::m1_software::{CODE, TEXT, with_code};

both![code_that_is_written_over_at_a_stop_is_what_runs, code_of_a_file_is_not_looked_at_again];

/// The breakpoint has gone with it, and so has what the thread was to step over.
fn code_that_is_written_over_at_a_stop_is_what_runs<R: Rules>() {
    const HALT: u8 = 0xf4;
    let (mut world, pid) = with_code::<R>(EventFlags::PROCESS);
    let main = world.main(pid);
    world.kernel.remap(pid, CODE, &TEXT);
    let id = world.put(pid, CODE);
    world.kernel.jump(main, CODE);
    let hit = world.hits(id, CODE);
    world.kernel.remap(pid, CODE, &[HALT]);
    world.go(hit);
    assert_eq!(world.run_all(), [] as [&str; 0]);
    world.tracer().interrupt(pid).unwrap();
    let stop = world.stop();
    assert_eq!(world.tracer().registers(&stop).unwrap().pc, CODE, "it waits there");
    assert_eq!(world.kernel.memory(pid, CODE, 1), [HALT]);
    world.go(stop);
}

fn code_of_a_file_is_not_looked_at_again<R: Rules>() {
    for written in [false, true] {
        let (mut world, pid) = with_code::<R>(EventFlags::PROCESS);
        let main = world.main(pid);
        if written {
            world.kernel.remap(pid, CODE, &TEXT);
        }
        let id = world.put(pid, CODE);
        let mut costs = Vec::new();
        for _ in 0..3 {
            world.kernel.jump(main, CODE);
            let hit = world.hits(id, CODE);
            let before = world.tracer().requests();
            world.go(hit);
            costs.push(world.tracer().requests() - before);
        }
        // The first time there is also the memory for slots, and the question whose code it is.
        let each = if written { 3 } else { 2 };
        assert_eq!(costs[1..], [each, each], "{costs:?}");
    }
}
