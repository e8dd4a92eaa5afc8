//! M5: steps that a debugger means, and where things are.

use trapline_core::{
    Arch, Error, Event, EventFlags, Reached, Signal, SoftwareBreakpoint, StopReason, Stopped,
    ThreadState, Tid,
};
use trapline_fake::{ENTRY_POINT, Rules};

use crate::common::*;

both![
    a_thread_runs_to_a_place,
    something_else_comes_first,
    a_place_that_has_a_breakpoint,
    a_place_whose_breakpoint_has_rules,
    others_pass_a_place_unnoticed,
    a_range_is_stepped_through,
    a_breakpoint_inside_a_range_is_told,
    one_thread_is_interrupted,
    where_things_are,
];

const PLACE: u64 = 0x1000;
const NOP: u8 = 0x90;
const HALT: u8 = 0xf4;

/// A thread that is stopped at the beginning of the code.
fn at_place<R: Rules>() -> (World<R>, Stopped) {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    let main = world.main(pid);
    let stop = stopped_at(&mut world, pid, main);
    (world, stop)
}

fn stopped_at<R: Rules>(world: &mut World<R>, pid: trapline_core::Pid, tid: Tid) -> Stopped {
    world.kernel.map(pid, PLACE, &[NOP, NOP, NOP, NOP, NOP, HALT]);
    world.kernel.signal_thread(tid, Signal::USR1);
    let mut stop = world.stop_for(StopReason::Signal(Signal::USR1));
    stop.set_signal(None).unwrap();
    let mut registers = world.tracer().registers(&stop).unwrap();
    <R::Cpu as Arch>::set_pc(&mut registers, PLACE);
    world.tracer().set_registers(&stop, &registers).unwrap();
    stop
}

fn pc<R: Rules>(world: &mut World<R>, stop: &Stopped) -> u64 {
    <R::Cpu as Arch>::pc(&world.tracer().registers(stop).unwrap())
}

fn there(reached: Reached) -> Stopped {
    match reached {
        Reached::There(stop) => stop,
        other => panic!("{other:?}"),
    }
}

fn a_thread_runs_to_a_place<R: Rules>() {
    let (mut world, stop) = at_place::<R>();
    let pid = stop.pid();
    let stop = there(world.tracer().run_to(stop, [PLACE + 4, PLACE + 2]).unwrap());
    assert_eq!(pc(&mut world, &stop), PLACE + 2);
    assert_eq!(world.tracer().breakpoints(pid).unwrap().count(), 0);
    // From the place itself it is a way around.
    let stop = there(world.tracer().run_to(stop, [PLACE + 2, PLACE + 3]).unwrap());
    assert_eq!(pc(&mut world, &stop), PLACE + 3);
    let nowhere = world.tracer().run_to(stop, [PLACE, 0x9999]);
    assert!(matches!(nowhere, Err(Error::BadAddress { addr: 0x9999, .. })), "{nowhere:?}");
    assert_eq!(world.tracer().breakpoints(pid).unwrap().count(), 0);
    let stop = world.stop();
    world.go(stop);
    world.idle();
}

fn something_else_comes_first<R: Rules>() {
    let (mut world, stop) = at_place::<R>();
    let pid = stop.pid();
    world.kernel.when_idle(move |kernel| kernel.signal(pid, Signal::USR2));
    let reached = world.tracer().run_to(stop, [ENTRY_POINT]);
    assert!(matches!(reached, Err(Error::BadAddress { .. })), "nothing is mapped there");
    let stop = world.stop();
    world.kernel.map(pid, ENTRY_POINT, &[NOP]);
    let reached = world.tracer().run_to(stop, [ENTRY_POINT]).unwrap();
    let Reached::Other(Event::Stopped(stop)) = reached else { panic!("{reached:?}") };
    assert_eq!(stop.reason(), StopReason::Signal(Signal::USR2));
    assert_eq!(world.tracer().breakpoints(pid).unwrap().count(), 0);
    world.go(stop);
    world.idle();
}

fn a_place_that_has_a_breakpoint<R: Rules>() {
    let (mut world, stop) = at_place::<R>();
    let pid = stop.pid();
    let place = SoftwareBreakpoint { addr: PLACE + 2 };
    let id = world.tracer().insert_breakpoint(pid, place).unwrap();
    let stop = there(world.tracer().run_to(stop, [PLACE + 2]).unwrap());
    assert!(matches!(stop.reason(), StopReason::Trap(causes) if causes.software == Some(id)));
    assert_eq!(world.tracer().breakpoints(pid).unwrap().count(), 1, "the user's stays");
    world.go(stop);
    world.idle();
}

fn a_place_whose_breakpoint_has_rules<R: Rules>() {
    let (mut world, stop) = at_place::<R>();
    let pid = stop.pid();
    let never = SoftwareBreakpoint::at(PLACE + 2).when(|_| false);
    world.tracer().insert_breakpoint(pid, never).unwrap();
    let stop = there(world.tracer().run_to(stop, [PLACE + 2]).unwrap());
    assert_eq!(pc(&mut world, &stop), PLACE + 2);
    let stop = there(world.tracer().run_to(stop, [PLACE + 4]).unwrap());
    assert_eq!(pc(&mut world, &stop), PLACE + 4);
    // The rules are as they were.
    assert_eq!(world.tracer().breakpoints(pid).unwrap().count(), 1);
    world.go(stop);
    let main = world.main(pid);
    world.kernel.jump(main, PLACE);
    world.idle();
}

fn others_pass_a_place_unnoticed<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    let (main, other) = (world.main(pid), world.new_thread(pid));
    let stop = stopped_at(&mut world, pid, main);
    world.kernel.when_idle(move |kernel| {
        kernel.jump(other, PLACE + 1);
        kernel.signal_thread(main, Signal::USR2);
    });
    let reached = world.tracer().run_to(stop, [PLACE + 5]);
    let stop = there(reached.unwrap());
    assert_eq!((stop.tid(), pc(&mut world, &stop)), (main, PLACE + 5));
    world.go(stop);
    world.run_all();
    world.idle();
}

fn a_range_is_stepped_through<R: Rules>() {
    let (mut world, stop) = at_place::<R>();
    let stop = there(world.tracer().step_range(stop, PLACE..PLACE + 4).unwrap());
    assert_eq!(pc(&mut world, &stop), PLACE + 4);
    // One that it is not in is left by any step.
    let stop = there(world.tracer().step_range(stop, 0..1).unwrap());
    assert_eq!(pc(&mut world, &stop), PLACE + 5);
    world.go(stop);
    world.idle();
}

fn a_breakpoint_inside_a_range_is_told<R: Rules>() {
    let (mut world, stop) = at_place::<R>();
    let pid = stop.pid();
    let place = SoftwareBreakpoint { addr: PLACE + 2 };
    let id = world.tracer().insert_breakpoint(pid, place).unwrap();
    let reached = world.tracer().step_range(stop, PLACE..PLACE + 4).unwrap();
    let Reached::Other(Event::Stopped(stop)) = reached else { panic!("{reached:?}") };
    assert!(matches!(stop.reason(), StopReason::Trap(causes) if causes.software == Some(id)));
    assert_eq!(pc(&mut world, &stop), PLACE + 2);
    let stop = there(world.tracer().step_range(stop, PLACE..PLACE + 4).unwrap());
    assert_eq!(pc(&mut world, &stop), PLACE + 4);
    world.go(stop);
    world.idle();
}

fn one_thread_is_interrupted<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    let other = world.new_thread(pid);
    world.tracer().interrupt_thread(other).unwrap();
    let stop = world.stop_for(StopReason::Interrupted);
    assert_eq!(stop.pid(), pid);
    // It has a token already.
    let told = stop.tid();
    world.tracer().interrupt_thread(told).unwrap();
    world.go(stop);
    world.idle();
    let nobody = world.tracer().interrupt_thread(Tid::from_raw(9999));
    assert!(matches!(nobody, Err(Error::Gone { .. })), "{nobody:?}");
}

fn where_things_are<R: Rules>() {
    let (mut world, stop) = at_place::<R>();
    let pid = stop.pid();
    let tracer = world.tracer();
    let map = tracer.memory_map(pid).unwrap();
    let [region] = &map[..] else { panic!("{map:?}") };
    assert_eq!((region.start, region.end), (PLACE, PLACE + 6));
    assert!(region.contains(PLACE + 5) && !region.contains(PLACE + 6));
    assert_eq!(tracer.auxv(pid, 9).unwrap(), Some(ENTRY_POINT));
    assert_eq!(tracer.auxv(pid, 25).unwrap(), None);
    let info = tracer.thread_info(pid, stop.tid()).unwrap();
    assert_eq!((info.tid, info.state), (stop.tid(), ThreadState::Stopped));
    let pointer = tracer.thread_pointer(&stop).unwrap();
    assert_eq!(pointer, stop.tid().as_raw() as u64);
    assert_eq!(tracer.at(&stop).thread_pointer().unwrap(), pointer);
    world.kernel.kill(pid);
    world.go(stop);
    world.exited();
    assert!(matches!(world.tracer().memory_map(pid), Err(Error::Gone { .. })));
    world.over();
}
