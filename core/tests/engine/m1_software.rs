//! M1: breakpoints in memory.

use trapline_core::{
    BreakpointId, Error, Event, EventFlags, Next, Pid, Signal, SoftwareBreakpoint, StopReason,
    Stopped, TrapCauses,
};
use trapline_fake::{Call, Kernel, Rules};

use crate::common::*;

both![
    a_hit_is_reported_once_at_its_address,
    inserted_twice_is_removed_twice,
    a_bad_address_is_refused,
    steps_from_and_onto,
    one_that_repeats_is_one_arrival,
    moved_away_and_back_is_a_new_arrival,
    memory_is_shown_without_them,
    the_programs_own_is_its_signal,
    each_thread_has_its_own_stop,
    nobody_runs_past_one_that_is_lifted,
    what_is_on_its_way_when_it_is_removed_harms_nobody,
    a_system_call_that_blocks,
    a_signal_at_a_breakpoint_is_no_new_arrival,
    a_halted_process_has_them_too,
    killed_at_any_request,
    what_a_hit_costs,
];

/// Three instructions, a system call, one that repeats, and one more.
pub(crate) const CODE: u64 = 0x1000;
const CALL: u64 = CODE + 3;
const REPEAT: u64 = CODE + 4;
pub(crate) const TEXT: [u8; 6] = [0x90, 0x90, 0x90, 0x05, 0xf3, 0x90];

/// A process with code to run.
pub(crate) fn with_code<R: Rules>(flags: EventFlags) -> (World<R>, Pid) {
    let (world, pid) = World::<R>::with_process(flags);
    world.kernel.map(pid, CODE, &TEXT);
    (world, pid)
}

impl<R: Rules> World<R> {
    pub(crate) fn put(&mut self, pid: Pid, addr: u64) -> BreakpointId {
        self.tracer().insert_breakpoint(pid, SoftwareBreakpoint { addr }).unwrap()
    }

    /// The next event, a hit.
    pub(crate) fn hits(&mut self, id: BreakpointId, addr: u64) -> Stopped {
        let stop = self.stop();
        assert_eq!(software(&stop), Some(id), "{stop:?}");
        assert_eq!(self.tracer().registers(&stop).unwrap().pc, addr);
        stop
    }
}

pub(crate) fn software(stop: &Stopped) -> Option<BreakpointId> {
    match stop.reason() {
        StopReason::Trap(causes) => causes.software,
        _ => None,
    }
}

fn is_step(stop: &Stopped) -> bool {
    let mut step = TrapCauses::default();
    step.single_step = true;
    stop.reason() == StopReason::Trap(step)
}

/// Notes a violation if anybody could run past the breakpoint while it is not there, but for the
/// one that is led past it.
fn watch<R: Rules>(kernel: &Kernel<R>, pid: Pid, addr: u64) {
    kernel.before_requests(move |kernel, Call { name, id, .. }| {
        if name != "resume" || kernel.memory(pid, addr, 1) != [0x90] {
            return;
        }
        let free = |tid: &trapline_core::Tid| kernel.acts(*tid) && tid.as_raw() != id;
        let others: Vec<_> = kernel.threads(pid).into_iter().filter(free).collect();
        assert!(others.is_empty(), "{others:?} run while {id} is led past");
    });
}

fn a_hit_is_reported_once_at_its_address<R: Rules>() {
    let (mut world, pid) = with_code::<R>(EventFlags::PROCESS);
    let main = world.main(pid);
    let id = world.put(pid, CODE + 1);
    assert_eq!(world.kernel.memory(pid, CODE, 3), [0x90, 0xcc, 0x90]);
    for round in 1..=3 {
        world.kernel.jump(main, CODE);
        let stop = world.hits(id, CODE + 1);
        assert_eq!(world.kernel.executed(pid, CODE + 1), round - 1);
        world.go(stop);
        assert_eq!(world.kernel.executed(pid, CODE + 1), round);
        world.idle();
        world.kernel.finish_call(main);
    }
    assert_eq!(world.kernel.memory(pid, CODE, 3), [0x90, 0xcc, 0x90]);
    assert!(world.kernel.deliveries().is_empty());
}

fn inserted_twice_is_removed_twice<R: Rules>() {
    let (mut world, pid) = with_code::<R>(EventFlags::PROCESS);
    let id = world.put(pid, CODE);
    assert_eq!(world.put(pid, CODE), id);
    assert_ne!(world.put(pid, CODE + 1), id);
    let listed: Vec<_> = world.tracer().breakpoints(pid).unwrap().collect();
    assert_eq!(listed.len(), 2);
    assert_eq!(listed[0], (id, SoftwareBreakpoint { addr: CODE }.into()));
    assert!(world.tracer().remove_breakpoint(pid, id).unwrap());
    assert_eq!(world.kernel.memory(pid, CODE, 1), [0xcc]);
    assert!(world.tracer().remove_breakpoint(pid, id).unwrap());
    assert_eq!(world.kernel.memory(pid, CODE, 1), [0x90]);
    assert!(!world.tracer().remove_breakpoint(pid, id).unwrap());
    world.idle();
}

fn a_bad_address_is_refused<R: Rules>() {
    let (mut world, pid) = with_code::<R>(EventFlags::PROCESS);
    let refused = world.tracer().insert_breakpoint(pid, SoftwareBreakpoint { addr: 7 });
    assert!(matches!(refused, Err(Error::BadAddress { addr: 7, .. })), "{refused:?}");
    assert_eq!(world.tracer().breakpoints(pid).unwrap().count(), 0);
    world.idle();
}

fn steps_from_and_onto<R: Rules>() {
    let (mut world, pid) = with_code::<R>(EventFlags::PROCESS);
    let (first, second) = (world.put(pid, CODE), world.put(pid, CODE + 1));
    world.kernel.jump(world.main(pid), CODE);
    let stop = world.hits(first, CODE);
    world.step(stop);
    let stop = world.stop();
    assert!(is_step(&stop), "{stop:?}");
    assert_eq!(world.tracer().registers(&stop).unwrap().pc, CODE + 1);
    world.step(stop);
    let stop = world.hits(second, CODE + 1);
    world.step(stop);
    let stop = world.stop();
    assert!(is_step(&stop), "{stop:?}");
    assert_eq!(world.kernel.executed(pid, CODE + 1), 1);
    world.go(stop);
    world.idle();
}

fn one_that_repeats_is_one_arrival<R: Rules>() {
    let (mut world, pid) = with_code::<R>(EventFlags::PROCESS);
    let id = world.put(pid, REPEAT);
    world.kernel.jump(world.main(pid), REPEAT);
    let stop = world.hits(id, REPEAT);
    let mut registers = world.tracer().registers(&stop).unwrap();
    registers.value = 5;
    world.tracer().set_registers(&stop, &registers).unwrap();
    world.step(stop);
    let stop = world.stop();
    assert!(is_step(&stop), "one round: {stop:?}");
    let registers = world.tracer().registers(&stop).unwrap();
    assert_eq!((registers.pc, registers.value), (REPEAT, 4));
    world.go(stop);
    world.idle();
    assert_eq!(world.kernel.executed(pid, REPEAT), 1);
    assert_eq!(world.kernel.executed(pid, REPEAT + 1), 1);
}

fn moved_away_and_back_is_a_new_arrival<R: Rules>() {
    let (mut world, pid) = with_code::<R>(EventFlags::PROCESS);
    let id = world.put(pid, CODE);
    world.kernel.jump(world.main(pid), CODE);
    let stop = world.hits(id, CODE);
    let at = world.tracer().registers(&stop).unwrap();
    let mut away = at;
    away.pc = CODE + 1;
    world.tracer().set_registers(&stop, &away).unwrap();
    world.tracer().set_registers(&stop, &at).unwrap();
    world.go(stop);
    let stop = world.hits(id, CODE);
    world.go(stop);
    world.idle();
}

fn memory_is_shown_without_them<R: Rules>() {
    let (mut world, pid) = with_code::<R>(EventFlags::PROCESS);
    let id = world.put(pid, CODE + 1);
    world.kernel.jump(world.main(pid), CODE);
    let stop = world.hits(id, CODE + 1);
    let mut read = [0; 3];
    world.tracer().read_memory(&stop, CODE, &mut read).unwrap();
    assert_eq!(read, [0x90; 3]);
    assert_eq!(world.tracer().write_memory(&stop, CODE, &[1, 2, 3]).unwrap(), 3);
    assert_eq!(world.kernel.memory(pid, CODE, 3), [1, 0xcc, 3]);
    world.tracer().read_memory(&stop, CODE, &mut read).unwrap();
    assert_eq!(read, [1, 2, 3]);
    world.tracer().remove_breakpoint(pid, id).unwrap();
    assert_eq!(world.kernel.memory(pid, CODE, 3), [1, 2, 3]);
    world.go(stop);
    world.idle();
}

fn the_programs_own_is_its_signal<R: Rules>() {
    let (mut world, pid) = with_code::<R>(EventFlags::PROCESS);
    world.kernel.map(pid, CODE + 1, &[0xcc]);
    let id = world.put(pid, CODE);
    let own = world.put(pid, CODE + 1);
    world.kernel.jump(world.main(pid), CODE);
    let stop = world.hits(id, CODE);
    world.go(stop);
    // On its address there is one of ours as well.
    let stop = world.hits(own, CODE + 1);
    world.go(stop);
    let mut stop = world.stop_for(StopReason::Signal(Signal::TRAP));
    assert_eq!(world.tracer().registers(&stop).unwrap().pc, CODE + 2);
    stop.set_signal(None).unwrap();
    world.go(stop);
    world.idle();
}

fn each_thread_has_its_own_stop<R: Rules>() {
    let (mut world, pid) = with_code::<R>(EventFlags::PROCESS);
    let others = [world.new_thread(pid), world.new_thread(pid)];
    let id = world.put(pid, CODE);
    watch(&world.kernel, pid, CODE);
    for tid in [world.main(pid), others[0], others[1]] {
        world.kernel.run_into(tid, CODE);
    }
    let mut seen = Vec::new();
    for _ in 0..3 {
        let stop = world.hits(id, CODE);
        seen.push(stop.tid());
        world.go(stop);
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 3);
    world.idle();
    assert_eq!(world.kernel.executed(pid, CODE), 3);
}

fn nobody_runs_past_one_that_is_lifted<R: Rules>() {
    let (mut world, pid) = with_code::<R>(EventFlags::PROCESS);
    let other = world.new_thread(pid);
    let id = world.put(pid, CODE);
    watch(&world.kernel, pid, CODE);
    world.kernel.jump(world.main(pid), CODE);
    let stop = world.hits(id, CODE);
    world.go(stop);
    assert!(world.kernel.acts(other));
    assert_eq!(world.kernel.memory(pid, CODE, 1), [0xcc]);
    world.idle();
}

fn what_is_on_its_way_when_it_is_removed_harms_nobody<R: Rules>() {
    let (mut world, pid) = with_code::<R>(EventFlags::PROCESS);
    let other = world.new_thread(pid);
    let id = world.put(pid, CODE);
    world.kernel.run_into(other, CODE);
    assert!(world.tracer().remove_breakpoint(pid, id).unwrap());
    world.idle();
    assert_eq!(world.kernel.executed(pid, CODE), 1);
    assert!(world.kernel.deliveries().is_empty());
}

fn a_system_call_that_blocks<R: Rules>() {
    let (mut world, pid) = with_code::<R>(EventFlags::PROCESS);
    let main = world.main(pid);
    let (one, two) = (world.new_thread(pid), world.new_thread(pid));
    let (call, code) = (world.put(pid, CALL), world.put(pid, CODE));
    for tid in [one, two] {
        world.kernel.jump(tid, CALL);
        let stop = world.hits(call, CALL);
        world.go(stop);
        assert!(world.kernel.is_in_call(tid));
    }
    // Another thread, whose pass interrupts both calls: they are made again, and that is told
    // nobody.
    for _ in 0..3 {
        world.kernel.jump(main, CODE);
        let stop = world.hits(code, CODE);
        world.go(stop);
        let stop = world.hits(call, CALL);
        world.go(stop);
        world.idle();
        assert!(world.kernel.is_in_call(one) && world.kernel.is_in_call(two));
        world.kernel.finish_call(main);
    }
    for tid in [one, two] {
        world.kernel.finish_call(tid);
    }
    assert_eq!(world.kernel.executed(pid, REPEAT), 5);
    world.idle();
}

fn a_signal_at_a_breakpoint_is_no_new_arrival<R: Rules>() {
    let (mut world, pid) = with_code::<R>(EventFlags::PROCESS);
    let main = world.main(pid);
    let id = world.put(pid, CODE);
    world.kernel.jump(main, CODE);
    let stop = world.hits(id, CODE);
    world.kernel.signal_thread(main, Signal::USR1);
    world.go(stop);
    let stop = world.stop_for(StopReason::Signal(Signal::USR1));
    let executed = world.kernel.executed(pid, CODE);
    assert_eq!(executed, 0, "it came first");
    world.go(stop);
    world.idle();
    assert_eq!(world.kernel.delivered(pid, Signal::USR1), 1);
    assert_eq!(world.kernel.executed(pid, CODE), 1);
}

fn a_halted_process_has_them_too<R: Rules>() {
    let (mut world, pid) = with_code::<R>(EventFlags::PROCESS);
    let other = world.new_thread(pid);
    let id = world.put(pid, CODE);
    world.kernel.run_into(other, CODE);
    world.kernel.signal_thread(world.main(pid), Signal::USR1);
    let stop = world.stop_for(StopReason::Signal(Signal::USR1));
    let halted = world.tracer().halt(stop).unwrap();
    let next = world.put(pid, CODE + 1);
    world.tracer().resume_halted(halted, |_| Next::Continue).unwrap();
    let stop = world.hits(id, CODE);
    world.go(stop);
    let stop = world.hits(next, CODE + 1);
    world.go(stop);
    world.idle();
    assert_eq!(world.kernel.executed(pid, CODE + 1), 1);
}

fn killed_at_any_request<R: Rules>() {
    for at in 1..40 {
        let (mut world, pid) = with_code::<R>(EventFlags::PROCESS);
        let (main, other) = (world.main(pid), world.new_thread(pid));
        let begun = world.tracer().requests();
        world.kernel.before_requests(move |kernel, call| {
            if call.number == begun + at {
                kernel.kill(pid);
            }
        });
        let tracer = world.tracer();
        let inserted = tracer.insert_breakpoint(pid, SoftwareBreakpoint { addr: CODE });
        assert!(!matches!(inserted, Err(Error::Os { .. })), "{inserted:?}");
        for tid in [other, main] {
            if world.kernel.acts(tid) {
                world.kernel.run_into(tid, CODE);
            }
        }
        let mut ended = false;
        while let Some(event) = world.poll() {
            ended |= matches!(event, Event::Exited { .. });
            world.go(event);
        }
        if !ended {
            world.kernel.kill(pid);
            while let Some(event) = world.poll() {
                ended |= matches!(event, Event::Exited { .. });
                world.go(event);
            }
        }
        assert!(ended, "request {at}");
        world.over();
    }
}

fn what_a_hit_costs<R: Rules>() {
    let (mut world, pid) = with_code::<R>(EventFlags::PROCESS);
    let id = world.put(pid, CODE);
    // The first time it is asked whose the code is, memory for the slot is mapped, and the slot written.
    for first in [3, 0] {
        world.kernel.jump(world.main(pid), CODE);
        let before = world.tracer().requests();
        let stop = world.stop();
        assert_eq!(software(&stop), Some(id));
        // Wait, registers read, and the cause where it is not told: an instruction of the model
        // is as long as the one that traps.
        let asked = u64::from(!R::RULES.tells_ids);
        assert_eq!(world.tracer().requests() - before, 2 + asked);
        let before = world.tracer().requests();
        world.go(stop);
        // Registers set, and on.
        assert_eq!(world.tracer().requests() - before, 2 + first);
    }
}
