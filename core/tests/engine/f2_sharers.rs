//! F2 and M1: who has the memory of a process by the time that it is attached to.

use trapline_core::{
    Error, EventFlags, ForkKind, Pid, SoftwareBreakpoint, StopReason, Stopped, Tid,
};
use trapline_fake::LinuxRules;

use crate::common::*;
use crate::m1_software::{CODE, TEXT, software};

/// Nobody is traced yet: a process with two threads, and the child that the first waits for in
/// `vfork`.
struct Family {
    world: World<LinuxRules>,
    pid: Pid,
    other: Tid,
    child: Pid,
}

fn family() -> Family {
    let world = World::<LinuxRules>::new(EventFlags::PROCESS);
    let pid = world.kernel.start();
    world.kernel.map(pid, CODE, &TEXT);
    let main = world.main(pid);
    let other = world.kernel.thread(main);
    let child = world.kernel.fork(main, ForkKind::Vfork);
    Family { world, pid, other, child }
}

impl Family {
    fn attach(&mut self, pid: Pid) -> Stopped {
        self.world.tracer().attach(pid).unwrap();
        let stop = self.world.stop_for(StopReason::Started);
        assert_eq!(stop.pid(), pid);
        stop
    }

    fn code(&self) -> u8 {
        self.world.kernel.memory(self.pid, CODE, 1)[0]
    }
}

#[test]
fn a_child_that_its_maker_waits_for_meets_no_breakpoint() {
    let mut family = family();
    let stop = family.attach(family.pid);
    family.world.put(family.pid, CODE);
    family.world.go(stop);
    assert_eq!(family.world.run_all(), [] as [&str; 0]);
    assert_eq!(family.code(), 0x90, "the child would run into it");
    assert!(!family.world.kernel.acts(family.other), "it would miss it");
    family.world.kernel.exit(family.world.main(family.child), 0);
    family.world.run_all();
    assert_eq!(family.code(), 0xcc);
    family.world.kernel.jump(family.other, CODE);
    let stop = family.world.stop();
    assert!(software(&stop).is_some(), "{stop:?}");
    family.world.go(stop);
    family.world.idle();
}

#[test]
fn the_maker_of_a_child_that_is_attached_to_meets_none() {
    let mut family = family();
    let stop = family.attach(family.child);
    let at = SoftwareBreakpoint { addr: CODE };
    let refused = family.world.tracer().insert_breakpoint(family.child, at);
    assert!(matches!(refused, Err(Error::Unsupported { .. })), "{refused:?}");
    assert_eq!(family.code(), 0x90, "its maker's other thread would run into it");
    family.world.go(stop);
    // It has its own from then on.
    family.world.kernel.map_programs(CODE, &TEXT);
    family.world.kernel.exec(family.world.main(family.child), "program");
    let stop = family.world.stop();
    family.world.put(family.child, CODE);
    assert_eq!(family.code(), 0x90);
    family.world.go(stop);
    family.world.run_all();
}

#[test]
fn both_can_be_attached_to_and_share_what_is_inserted() {
    for child_first in [true, false] {
        let mut family = family();
        let (pid, child) = (family.pid, family.child);
        let stop = family.attach(if child_first { child } else { pid });
        family.world.go(stop);
        let stop = family.attach(if child_first { pid } else { child });
        family.world.go(stop);
        family.world.put(pid, CODE);
        assert_eq!(family.code(), 0xcc);
        let first = family.world.main(child);
        family.world.kernel.jump(first, CODE);
        assert_eq!(family.world.run_all(), [] as [&str; 0], "it is not the child's");
        assert_eq!(family.world.kernel.executed(child, CODE), 1);
        family.world.kernel.exit(first, 0);
        family.world.run_all();
        assert_eq!(family.code(), 0xcc);
        family.world.idle();
    }
}
