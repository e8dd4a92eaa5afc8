//! D1, D2, D3 and D6: hardware breakpoints on the model.

use trapline_core::backend::{DebugKind, DebugSlot};
use trapline_core::{
    BreakpointId, Error, EventFlags, ForkKind, HardwareBreakpoint, HardwareKind, Pid, Resume,
    Signal, StopReason, Stopped, Tid, TrapCauses,
};
use trapline_fake::Rules;

use crate::common::*;

both![
    d1_hit_by_a_write,
    d1_reference_counts_and_the_list,
    d1_refused_without_a_request,
    d1_a_32_bit_program_takes_what_its_kernel_allows,
    d1_changes_only,
    d2_all_threads_those_to_come_too,
    d2_a_thread_that_the_kernel_holds_gets_it_before_it_runs,
    d6_a_failure_on_any_thread_rolls_back_all,
    d6_a_failure_in_a_halted_process_rolls_back_all,
    d6_only_what_is_not_up_to_date_is_written,
    d2_insert_in_a_halted_process_holds_for_all,
    e5_killed_at_any_request_of_an_insertion,
    a_hit_costs_two_requests_more_than_a_stop,
    d3_a_child_starts_clear,
];

const AT: u64 = 0x1000;

pub(crate) fn slot(addr: u64, len: u8, kind: DebugKind) -> DebugSlot {
    DebugSlot { addr, len, kind }
}

impl<R: Rules> World<R> {
    pub(crate) fn watch(&mut self, pid: Pid, addr: u64, len: u64) -> BreakpointId {
        self.insert(pid, addr, len, HardwareKind::Write)
    }

    pub(crate) fn insert(
        &mut self,
        pid: Pid,
        addr: u64,
        len: u64,
        kind: HardwareKind,
    ) -> BreakpointId {
        self.tracer().insert_breakpoint(pid, HardwareBreakpoint { addr, len, kind }).unwrap()
    }

    /// The next event, a trap of this thread.
    pub(crate) fn trap(&mut self, tid: Tid) -> (Stopped, TrapCauses) {
        let stop = self.stop();
        assert_eq!(stop.tid(), tid);
        match stop.reason() {
            StopReason::Trap(causes) => (stop, causes),
            other => panic!("not a trap: {other:?}"),
        }
    }

    /// The next event, a hit of just this breakpoint, which is passed.
    pub(crate) fn hit(&mut self, tid: Tid, id: BreakpointId) {
        let (stop, causes) = self.trap(tid);
        let ids: Vec<_> = causes.hardware.iter().collect();
        assert_eq!((ids, causes.single_step, causes.software), (vec![id], false, None));
        self.go(stop);
    }
}

fn only_write(addr: u64) -> Vec<DebugSlot> {
    vec![slot(addr, 8, DebugKind::Write)]
}

fn d1_hit_by_a_write<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    let main = world.main(pid);
    let id = world.watch(pid, AT, 8);
    assert!(world.kernel.acts(main), "it runs on");
    assert!(!world.kernel.load(main, AT, 8));
    assert!(world.kernel.store(main, AT + 7, 1));
    world.hit(main, id);
    assert!(!world.kernel.store(main, AT + 8, 8));
    assert!(world.tracer().remove_breakpoint(pid, id).unwrap());
    assert!(!world.kernel.store(main, AT, 8));
    assert!(!world.tracer().remove_breakpoint(pid, id).unwrap());
    world.idle();
}

fn d1_reference_counts_and_the_list<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    let main = world.main(pid);
    let id = world.watch(pid, AT, 8);
    let other = world.insert(pid, AT, 1, HardwareKind::Execute);
    assert_eq!(world.watch(pid, AT, 8), id);
    let listed: Vec<_> = world.tracer().breakpoints(pid).unwrap().map(|(id, _)| id).collect();
    assert_eq!(listed, [id, other]);
    assert!(world.tracer().remove_breakpoint(pid, id).unwrap());
    assert!(world.kernel.store(main, AT, 8));
    world.hit(main, id);
    assert!(world.tracer().remove_breakpoint(pid, id).unwrap());
    assert!(!world.kernel.store(main, AT, 8));
    assert_eq!(world.tracer().breakpoints(pid).unwrap().count(), 1);
}

fn d1_refused_without_a_request<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    for i in 0..4 {
        world.watch(pid, AT + 8 * i, 8);
    }
    let before = world.tracer().requests();
    let mut refused = |addr, len, kind| {
        world.tracer().insert_breakpoint(pid, HardwareBreakpoint { addr, len, kind }).unwrap_err()
    };
    let write = HardwareKind::Write;
    assert!(matches!(refused(AT, 0, write), Error::BadBreakpoint { .. }));
    assert!(matches!(refused(AT, 4, HardwareKind::Execute), Error::BadBreakpoint { .. }));
    assert!(matches!(refused(1 << 47, 1, write), Error::BadAddress { .. }));
    assert!(matches!(refused(0x4000, 8, write), Error::NoFreeSlot { needed: 1, free: 0, .. }));
    assert_eq!(world.tracer().requests(), before);
}

fn d1_a_32_bit_program_takes_what_its_kernel_allows<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    let main = world.main(pid);
    world.kernel.set_narrow(pid);
    let id = world.watch(pid, AT, 8);
    let longest = R::RULES.longest_narrow_watch;
    let pieces = (0..8 / longest).map(|i| AT + u64::from(i * longest));
    let slots: Vec<_> = pieces.map(|at| slot(at, longest, DebugKind::Write)).collect();
    assert_eq!(world.kernel.watched(main), slots);
    assert!(world.kernel.store(main, AT + 4, 4));
    world.hit(main, id);
    let free = 4 - slots.len();
    let more = HardwareBreakpoint { addr: AT + 64, len: 32, kind: HardwareKind::Write };
    let refused = world.tracer().insert_breakpoint(pid, more).unwrap_err();
    let needed = 32 / usize::from(longest);
    assert!(
        matches!(refused, Error::NoFreeSlot { needed: n, free: f, .. } if (n, f) == (needed, free)),
        "{refused}"
    );
    world.idle();
}

fn d1_changes_only<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    let main = world.main(pid);
    world.kernel.map(pid, AT, &[1, 2, 3, 4]);
    let id = world.insert(pid, AT, 4, HardwareKind::Change);
    assert!(world.kernel.store_value(main, AT, &[1, 2, 3, 4]));
    world.idle();
    assert!(world.kernel.acts(main), "nobody wants to hear of it");
    assert!(world.kernel.store_value(main, AT, &[1, 9]));
    let (stop, causes) = world.trap(main);
    assert!(causes.hardware.contains(id));
    let changes = world.tracer().watch_changes(&stop).unwrap().to_vec();
    assert_eq!(changes.len(), 1);
    assert_eq!((&changes[0].old[..], &changes[0].new[..]), (&[1, 2, 3, 4][..], &[1, 9, 3, 4][..]));
    world.go(stop);
    world.kernel.signal_thread(main, Signal::USR1);
    let stop = world.stop();
    assert!(world.tracer().watch_changes(&stop).unwrap().is_empty(), "another stop");
    world.go(stop);
    let missing = HardwareBreakpoint { addr: AT + 2, len: 4, kind: HardwareKind::Change };
    let refused = world.tracer().insert_breakpoint(pid, missing).unwrap_err();
    assert!(matches!(refused, Error::BadAddress { addr, .. } if addr == AT + 4), "{refused}");
}

fn d2_all_threads_those_to_come_too<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    let (main, two) = (world.main(pid), world.new_thread(pid));
    let id = world.watch(pid, AT, 8);
    assert!(world.kernel.store(two, AT, 8));
    world.hit(two, id);
    let three = world.kernel.thread(two);
    assert!(!world.kernel.acts(three), "it has not run before we have seen it");
    world.run_all();
    assert!(world.kernel.acts(three));
    assert_eq!(world.kernel.watched(three), only_write(AT));
    assert!(world.kernel.store(three, AT, 8));
    world.hit(three, id);
    assert!(world.kernel.store(main, AT, 8));
    world.hit(main, id);
    world.tracer().remove_breakpoint(pid, id).unwrap();
    let four = world.new_thread(pid);
    for tid in [main, two, three, four] {
        assert!(world.kernel.watched(tid).is_empty());
    }
    world.idle();
}

fn d2_a_thread_that_the_kernel_holds_gets_it_before_it_runs<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    let (main, two) = (world.main(pid), world.new_thread(pid));
    world.kernel.sleep(two, true);
    let id = world.watch(pid, AT, 8);
    world.kernel.sleep(two, false);
    world.idle();
    assert_eq!(world.kernel.watched(two), only_write(AT));
    assert!(world.kernel.store(two, AT, 8));
    world.hit(two, id);
    assert!(world.kernel.acts(main));
}

fn d6_a_failure_on_any_thread_rolls_back_all<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    let (main, two) = (world.main(pid), world.new_thread(pid));
    let three = world.new_thread(pid);
    let id = world.watch(pid, AT, 8);
    world.kernel.set_unwatchable(three, true);
    let more = HardwareBreakpoint { addr: AT + 8, len: 8, kind: HardwareKind::Write };
    let refused = world.tracer().insert_breakpoint(pid, more).unwrap_err();
    assert!(matches!(refused, Error::Os { .. }), "{refused}");
    for tid in [main, two, three] {
        assert_eq!(world.kernel.watched(tid), only_write(AT));
        assert!(world.kernel.acts(tid));
    }
    assert_eq!(world.tracer().breakpoints(pid).unwrap().count(), 1);
    world.kernel.set_unwatchable(three, false);
    world.kernel.reserve_slots(3);
    let refused = world.tracer().insert_breakpoint(pid, more).unwrap_err();
    assert!(matches!(refused, Error::NoFreeSlot { needed: 2, free: 1, .. }), "{refused}");
    world.kernel.reserve_slots(0);
    assert!(world.kernel.store(three, AT, 8));
    world.hit(three, id);
}

fn d6_a_failure_in_a_halted_process_rolls_back_all<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    let (main, two) = (world.main(pid), world.new_thread(pid));
    let three = world.new_thread(pid);
    world.kernel.signal_thread(main, Signal::USR1);
    let mut stop = world.stop();
    stop.set_signal(None).unwrap();
    let halted = world.tracer().halt(stop).unwrap();
    world.kernel.set_unwatchable(three, true);
    let breakpoint = HardwareBreakpoint { addr: AT, len: 8, kind: HardwareKind::Write };
    assert!(world.tracer().insert_breakpoint(pid, breakpoint).is_err());
    for tid in [main, two, three] {
        assert!(world.kernel.watched(tid).is_empty());
    }
    world.tracer().resume_halted(halted, |_| trapline_core::Next::Continue).unwrap();
}

fn d6_only_what_is_not_up_to_date_is_written<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    let main = world.main(pid);
    world.watch(pid, AT, 8);
    world.kernel.keep_log();
    let from = world.kernel.log().len();
    for _ in 0..3 {
        world.kernel.signal_thread(main, Signal::USR1);
        let mut stop = world.stop();
        stop.set_signal(None).unwrap();
        world.go(stop);
    }
    let log = world.kernel.log().split_off(from);
    assert!(!log.iter().any(|line| line.starts_with("set_watched ")), "{log:?}");
}

fn d2_insert_in_a_halted_process_holds_for_all<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    let (main, two) = (world.main(pid), world.new_thread(pid));
    world.kernel.signal_thread(main, Signal::USR1);
    let mut stop = world.stop();
    stop.set_signal(None).unwrap();
    let halted = world.tracer().halt(stop).unwrap();
    let id = world.watch(pid, AT, 8);
    for tid in [main, two] {
        assert_eq!(world.kernel.watched(tid), only_write(AT));
        assert!(!world.kernel.acts(tid), "still halted");
    }
    world.tracer().resume_halted(halted, |_| trapline_core::Next::Continue).unwrap();
    assert!(world.kernel.store(two, AT, 8));
    world.hit(two, id);
}

fn e5_killed_at_any_request_of_an_insertion<R: Rules>() {
    for after in 1..12 {
        let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
        world.new_thread(pid);
        let kernel = world.kernel.clone();
        let mut left = after;
        world.kernel.before_requests(move |_, _| {
            left -= 1;
            if left == 0 {
                kernel.kill(pid);
            }
        });
        let breakpoint = HardwareBreakpoint { addr: AT, len: 8, kind: HardwareKind::Write };
        let result = world.tracer().insert_breakpoint(pid, breakpoint);
        assert!(result.is_ok() || result.as_ref().is_err_and(Error::is_gone), "{result:?}");
        world.kernel.kill(pid);
        world.run_all();
        world.over();
    }
}

fn a_hit_costs_two_requests_more_than_a_stop<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    let main = world.main(pid);
    world.watch(pid, AT, 8);
    let before = world.tracer().requests();
    assert!(world.kernel.store(main, AT, 8));
    let event = world.next();
    world.tracer().resume(event, Resume::Continue).unwrap();
    // Or the registers and the instruction, and a step, with its wait, its cause and its status, between
    // two writes of debug registers.
    let price = if R::RULES.hits_before { 12 } else { 4 };
    assert_eq!(world.tracer().requests() - before, price);
}

fn d3_a_child_starts_clear<R: Rules>() {
    for kind in [ForkKind::Fork, ForkKind::Vfork, ForkKind::Clone] {
        for flags in [EventFlags::PROCESS, EventFlags::empty()] {
            let (mut world, pid) = World::<R>::with_process(flags);
            let main = world.main(pid);
            world.watch(pid, AT, 8);
            let child = world.kernel.fork(main, kind);
            world.run_all();
            let first = world.main(child);
            assert!(world.kernel.acts(first));
            assert!(world.kernel.watched(first).is_empty());
            assert!(!world.kernel.store(first, AT, 8));
            assert_eq!(world.tracer().breakpoints(child).unwrap().count(), 0);
        }
    }
}
