//! D1 to D6: hardware breakpoints on the model.

use trapline_core::backend::{DebugKind, DebugSlot};
use trapline_core::fake::Rules;
use trapline_core::{
    BreakpointId, Error, EventFlags, ForkKind, HardwareBreakpoint, HardwareKind, Pid, Resume,
    Signal, StopReason, Stopped, Tid, TrapCauses,
};

use crate::common::*;

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
        self.tracer().insert(pid, HardwareBreakpoint { addr, len, kind }).unwrap()
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

both! {
    fn d1_hit_by_a_write<R>() {
        let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
        let main = world.main(pid);
        let id = world.watch(pid, AT, 8);
        assert!(world.kernel.acts(main), "it runs on");
        assert!(!world.kernel.load(main, AT, 8));
        assert!(world.kernel.store(main, AT + 7, 1));
        world.hit(main, id);
        assert!(!world.kernel.store(main, AT + 8, 8));
        assert!(world.tracer().remove(pid, id).unwrap());
        assert!(!world.kernel.store(main, AT, 8));
        assert!(!world.tracer().remove(pid, id).unwrap());
        world.idle();
    }

    fn d1_reference_counts_and_the_list<R>() {
        let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
        let main = world.main(pid);
        let id = world.watch(pid, AT, 8);
        let other = world.insert(pid, AT, 1, HardwareKind::Execute);
        assert_eq!(world.watch(pid, AT, 8), id);
        let listed: Vec<_> = world.tracer().breakpoints(pid).unwrap().map(|(id, _)| id).collect();
        assert_eq!(listed, [id, other]);
        assert!(world.tracer().remove(pid, id).unwrap());
        assert!(world.kernel.store(main, AT, 8));
        world.hit(main, id);
        assert!(world.tracer().remove(pid, id).unwrap());
        assert!(!world.kernel.store(main, AT, 8));
        assert_eq!(world.tracer().breakpoints(pid).unwrap().count(), 1);
    }

    fn d1_refused_without_a_request<R>() {
        let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
        for i in 0..4 {
            world.watch(pid, AT + 8 * i, 8);
        }
        let before = world.tracer().requests();
        let mut refused = |addr, len, kind| {
            world.tracer().insert(pid, HardwareBreakpoint { addr, len, kind }).unwrap_err()
        };
        let write = HardwareKind::Write;
        assert!(matches!(refused(AT, 0, write), Error::BadBreakpoint { .. }));
        assert!(matches!(refused(AT, 4, HardwareKind::Execute), Error::BadBreakpoint { .. }));
        assert!(matches!(refused(1 << 47, 1, write), Error::BadAddress { .. }));
        assert!(matches!(refused(0x4000, 8, write), Error::NoFreeSlot { needed: 1, free: 0 }));
        assert_eq!(world.tracer().requests(), before);
    }

    fn d1_a_32_bit_program_is_refused<R>() {
        let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
        world.kernel.set_narrow(pid);
        let breakpoint = HardwareBreakpoint { addr: AT, len: 4, kind: HardwareKind::Write };
        let refused = world.tracer().insert(pid, breakpoint).unwrap_err();
        assert!(matches!(refused, Error::Unsupported { .. }), "{refused}");
        world.idle();
    }

    fn d1_changes_only<R>() {
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
        let changes = world.tracer().changes(&stop).unwrap().to_vec();
        assert_eq!(changes.len(), 1);
        assert_eq!((&changes[0].old[..], &changes[0].new[..]), (&[1, 2, 3, 4][..], &[1, 9, 3, 4][..]));
        world.go(stop);
        world.kernel.signal_thread(main, Signal::USR1);
        let stop = world.stop();
        assert!(world.tracer().changes(&stop).unwrap().is_empty(), "another stop");
        world.go(stop);
        let missing = HardwareBreakpoint { addr: AT + 2, len: 4, kind: HardwareKind::Change };
        let refused = world.tracer().insert(pid, missing).unwrap_err();
        assert!(matches!(refused, Error::BadAddress { addr } if addr == AT + 4), "{refused}");
    }

    fn d2_all_threads_those_to_come_too<R>() {
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
        world.tracer().remove(pid, id).unwrap();
        let four = world.new_thread(pid);
        for tid in [main, two, three, four] {
            assert!(world.kernel.watched(tid).is_empty());
        }
        world.idle();
    }

    fn d2_a_thread_that_the_kernel_holds_gets_it_before_it_runs<R>() {
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

    fn d4_stale_bits_never_show<R>() {
        let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
        let main = world.main(pid);
        let low = world.watch(pid, AT, 8);
        let high = world.watch(pid, AT + 8, 8);
        assert!(world.kernel.store(main, AT, 8));
        world.hit(main, low);
        assert!(world.kernel.store(main, AT + 8, 8));
        world.hit(main, high);
        assert!(world.kernel.store(main, AT + 4, 8));
        let (stop, causes) = world.trap(main);
        assert_eq!(causes.hardware.iter().collect::<Vec<_>>(), [low, high]);
        world.step(stop);
        let (stop, causes) = world.trap(main);
        assert!(causes.single_step && causes.hardware.is_empty());
        world.go(stop);
        assert!(world.kernel.store(main, AT, 8));
        world.hit(main, low);
    }

    /// BS of a step that was done before anything was armed.
    fn d4_what_was_there_before_does_not_show<R>() {
        let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
        let main = world.main(pid);
        world.kernel.signal_thread(main, Signal::USR1);
        let mut stop = world.stop();
        stop.set_signal(None).unwrap();
        world.step(stop);
        let stop = world.stop();
        let id = world.watch(pid, AT, 8);
        world.go(stop);
        assert!(world.kernel.store(main, AT, 8));
        world.hit(main, id);
    }

    fn d4_a_step_and_a_hit_are_one_trap<R>() {
        let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
        let main = world.main(pid);
        let id = world.watch(pid, AT, 8);
        world.kernel.signal_thread(main, Signal::USR1);
        let mut stop = world.stop();
        stop.set_signal(None).unwrap();
        world.kernel.store_when_stepped(main, AT, 8);
        world.step(stop);
        let (stop, causes) = world.trap(main);
        assert!(causes.single_step && causes.hardware.contains(id));
        world.go(stop);
        world.idle();
    }

    fn d4_registers_that_are_not_enabled_do_not_count<R>() {
        let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
        let main = world.main(pid);
        let gone = world.watch(pid, AT, 8);
        let id = world.watch(pid, AT + 8, 8);
        assert!(world.kernel.store(main, AT, 8));
        world.hit(main, gone);
        world.tracer().remove(pid, gone).unwrap();
        // The CPU says of the disabled one that it matches, too.
        assert!(world.kernel.store(main, AT + 4, 8));
        world.hit(main, id);
        assert!(world.kernel.store(main, AT + 4, 8));
        world.hit(main, id);
        world.idle();
    }

    fn d4_traps_that_are_not_ours_reach_the_program<R>() {
        let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
        let main = world.main(pid);
        let id = world.watch(pid, AT, 8);
        assert!(world.kernel.store(main, AT, 8));
        world.hit(main, id);
        world.kernel.signal_thread(main, Signal::TRAP);
        let stop = world.stop_for(StopReason::Signal(Signal::TRAP));
        world.go(stop);
        world.kernel.own_breakpoint(main);
        let stop = world.stop_for(StopReason::Signal(Signal::TRAP));
        world.go(stop);
        world.kernel.step_itself(main, None);
        let stop = world.stop_for(StopReason::Signal(Signal::TRAP));
        world.go(stop);
        assert_eq!(world.kernel.delivered(pid, Signal::TRAP), 3);
        // A trap of both is shown, and then delivered.
        world.kernel.step_itself(main, Some((AT, 8)));
        world.hit(main, id);
        assert_eq!(world.kernel.delivered(pid, Signal::TRAP), 4);
        world.idle();
    }

    fn d4_the_programs_step_over_a_write_of_the_same_value_reaches_it<R>() {
        let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
        let main = world.main(pid);
        world.kernel.map(pid, AT, &[1; 8]);
        world.insert(pid, AT, 8, HardwareKind::Change);
        world.kernel.step_itself(main, Some((AT, 8)));
        let stop = world.stop_for(StopReason::Signal(Signal::TRAP));
        world.go(stop);
        assert_eq!(world.kernel.delivered(pid, Signal::TRAP), 1);
    }

    fn d4_a_hit_of_what_was_removed_meanwhile_is_not_shown<R>() {
        let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
        let (main, two) = (world.main(pid), world.new_thread(pid));
        for again in [false, true] {
            let id = world.watch(pid, AT, 8);
            let kept = world.watch(pid, AT + 64, 8);
            world.kernel.signal_thread(main, Signal::USR1);
            let mut stop = world.stop();
            stop.set_signal(None).unwrap();
            if R::RULES.scope == trapline_core::backend::StopScope::Thread {
                // Its trap is behind the interrupt that the removal takes.
                let kernel = world.kernel.clone();
                let mut done = false;
                world.kernel.before_requests(move |_, call| {
                    if call.name == "interrupt" && !std::mem::replace(&mut done, true) {
                        kernel.store(two, AT, 8);
                        kernel.overtake(two);
                    }
                });
                world.tracer().remove(pid, id).unwrap();
                world.kernel.before_requests(|_, _| {});
            } else {
                world.tracer().remove(pid, id).unwrap();
            }
            if again {
                // Its register means something else now.
                for i in 2..5 {
                    world.watch(pid, AT + 8 * i, 8);
                }
            }
            world.go(stop);
            world.idle();
            assert!(world.kernel.acts(two) && world.kernel.acts(main));
            assert_eq!(world.kernel.delivered(pid, Signal::TRAP), 0);
            assert!(world.kernel.store(two, AT + 64, 8));
            world.hit(two, kept);
            let pid_ = pid;
            let ids: Vec<_> = world.tracer().breakpoints(pid_).unwrap().map(|(id, _)| id).collect();
            for id in ids {
                world.tracer().remove(pid, id).unwrap();
            }
        }
    }

    fn d5_an_execute_breakpoint_stops_once_per_arrival<R>() {
        let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
        let main = world.main(pid);
        let id = world.insert(pid, AT, 1, HardwareKind::Execute);
        for _ in 0..3 {
            assert!(world.kernel.fetch(main, AT));
            world.hit(main, id);
            assert!(!world.kernel.fetch(main, AT), "it is passed");
        }
    }

    fn d5_who_moves_the_program_counter_hits_the_next_one<R>() {
        use trapline_core::{Arch, fake::FakeArch};
        let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
        let main = world.main(pid);
        let first = world.insert(pid, AT, 1, HardwareKind::Execute);
        let second = world.insert(pid, AT + 4, 1, HardwareKind::Execute);
        assert!(world.kernel.fetch(main, AT));
        let (stop, causes) = world.trap(main);
        assert!(causes.hardware.contains(first));
        let mut registers = world.tracer().registers(&stop).unwrap();
        assert!(registers.resumes, "on both systems");
        FakeArch::set_pc(&mut registers, AT + 4);
        world.tracer().set_registers(&stop, &registers).unwrap();
        world.go(stop);
        assert!(world.kernel.fetch(main, AT + 4));
        world.hit(main, second);
    }

    fn d6_a_failure_on_any_thread_rolls_back_all<R>() {
        let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
        let (main, two) = (world.main(pid), world.new_thread(pid));
        let three = world.new_thread(pid);
        let id = world.watch(pid, AT, 8);
        world.kernel.set_unwatchable(three, true);
        let more = HardwareBreakpoint { addr: AT + 8, len: 8, kind: HardwareKind::Write };
        let refused = world.tracer().insert(pid, more).unwrap_err();
        assert!(matches!(refused, Error::Os { .. }), "{refused}");
        for tid in [main, two, three] {
            assert_eq!(world.kernel.watched(tid), only_write(AT));
            assert!(world.kernel.acts(tid));
        }
        assert_eq!(world.tracer().breakpoints(pid).unwrap().count(), 1);
        world.kernel.set_unwatchable(three, false);
        world.kernel.reserve_slots(3);
        let refused = world.tracer().insert(pid, more).unwrap_err();
        assert!(matches!(refused, Error::NoFreeSlot { needed: 2, free: 1 }), "{refused}");
        world.kernel.reserve_slots(0);
        assert!(world.kernel.store(three, AT, 8));
        world.hit(three, id);
    }

    fn d6_a_failure_in_a_halted_process_rolls_back_all<R>() {
        let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
        let (main, two) = (world.main(pid), world.new_thread(pid));
        let three = world.new_thread(pid);
        world.kernel.signal_thread(main, Signal::USR1);
        let mut stop = world.stop();
        stop.set_signal(None).unwrap();
        let halted = world.tracer().halt(stop).unwrap();
        world.kernel.set_unwatchable(three, true);
        let breakpoint = HardwareBreakpoint { addr: AT, len: 8, kind: HardwareKind::Write };
        assert!(world.tracer().insert(pid, breakpoint).is_err());
        for tid in [main, two, three] {
            assert!(world.kernel.watched(tid).is_empty());
        }
        world.tracer().resume_halted(halted, |_| trapline_core::Next::Continue).unwrap();
    }

    fn d6_only_what_is_not_up_to_date_is_written<R>() {
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

    fn d2_insert_in_a_halted_process_holds_for_all<R>() {
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

    fn e5_killed_at_any_request_of_an_insertion<R>() {
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
            let result = world.tracer().insert(pid, breakpoint);
            assert!(result.is_ok() || result.as_ref().is_err_and(Error::is_gone), "{result:?}");
            world.kernel.kill(pid);
            world.run_all();
            world.over();
        }
    }

    fn a_hit_costs_two_requests_more_than_a_stop<R>() {
        let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
        let main = world.main(pid);
        world.watch(pid, AT, 8);
        let before = world.tracer().requests();
        assert!(world.kernel.store(main, AT, 8));
        let event = world.next();
        world.tracer().resume(event, Resume::Continue).unwrap();
        assert_eq!(world.tracer().requests() - before, 4);
    }

    fn d3_a_child_starts_clear<R>() {
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
}
