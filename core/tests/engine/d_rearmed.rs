//! D4: hits that are still in the kernel when their breakpoint is removed and inserted again, as
//! debuggers do at each stop.

use trapline_core::backend::StopScope;
use trapline_core::{BreakpointId, EventFlags, HardwareKind, Pid, Signal, Stopped, Tid};
use trapline_fake::Rules;

use crate::common::*;

const AT: u64 = 0x1000;

impl<R: Rules> World<R> {
    /// A process with a thread whose hit of a breakpoint is in the kernel once that is removed, and
    /// the stop of its main thread.
    fn removed_in_flight(
        &mut self,
        (pid, two): (Pid, Tid),
        id: BreakpointId,
        value: [u8; 8],
    ) -> Stopped {
        self.kernel.signal_thread(self.main(pid), Signal::USR1);
        let mut stop = self.stop();
        stop.set_signal(None).unwrap();
        let store = {
            let kernel = self.kernel.clone();
            move || kernel.store_value(two, AT, &value)
        };
        if R::RULES.scope == StopScope::Thread {
            // Its trap is behind the interrupt that the removal takes.
            let kernel = self.kernel.clone();
            let mut done = false;
            self.kernel.before_requests(move |_, call| {
                if call.name == "interrupt" && !std::mem::replace(&mut done, true) {
                    assert!(store() && kernel.overtake(two));
                }
            });
            self.tracer().remove_breakpoint(pid, id).unwrap();
            self.kernel.before_requests(|_, _| {});
        } else {
            // Its trap waits for its turn.
            self.go(stop);
            assert!(self.kernel.store(self.main(pid), AT + 64, 8) && store());
            stop = self.trap(self.main(pid)).0;
            self.tracer().remove_breakpoint(pid, id).unwrap();
        }
        stop
    }
}

both![
    d4_a_hit_in_the_kernel_counts_again,
    d4_a_hit_in_the_kernel_is_not_one_of_another_kind,
    d4_a_change_that_was_made_meanwhile_is_none,
];

fn d4_a_hit_in_the_kernel_counts_again<R: Rules>() {
    for kind in [HardwareKind::Write, HardwareKind::Change] {
        for elsewhere in [false, true] {
            let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
            let two = world.new_thread(pid);
            world.kernel.map(pid, AT, &[0; 128]);
            world.watch(pid, AT + 64, 8);
            let id = world.insert(pid, AT, 8, kind);
            let stop = world.removed_in_flight((pid, two), id, [1; 8]);
            if elsewhere {
                world.watch(pid, AT + 32, 8); // takes its register
            }
            let again = world.insert(pid, AT, 8, kind);
            assert_ne!(again, id);
            world.go(stop);
            let (stop, causes) = world.trap(two);
            assert_eq!(causes.hardware.iter().collect::<Vec<_>>(), [again]);
            if kind == HardwareKind::Change {
                let change = world.tracer().watch_changes(&stop).unwrap()[0].clone();
                assert_eq!((change.id, change.old, change.new), (again, vec![0; 8], vec![1; 8]));
            }
            world.go(stop);
            world.idle();
            assert_eq!(world.kernel.delivered(pid, Signal::TRAP), 0);
            // It is no hit any more of the next one.
            assert!(world.kernel.store_value(two, AT, &[2; 8]));
            world.hit(two, again);
            world.idle();
        }
    }
}

fn d4_a_hit_in_the_kernel_is_not_one_of_another_kind<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    let two = world.new_thread(pid);
    world.kernel.map(pid, AT, &[0; 128]);
    world.watch(pid, AT + 64, 8);
    let id = world.insert(pid, AT, 8, HardwareKind::ReadWrite);
    let stop = world.removed_in_flight((pid, two), id, [1; 8]);
    let others = [8, 4].map(|len| world.insert(pid, AT, len, HardwareKind::Write));
    world.go(stop);
    if R::RULES.hits_before {
        // The access is yet to be made, and is one of theirs.
        let (stop, causes) = world.trap(two);
        assert_eq!(causes.hardware.iter().collect::<Vec<_>>(), others);
        world.go(stop);
    }
    world.idle();
    assert_eq!(world.kernel.delivered(pid, Signal::TRAP), 0);
}

fn d4_a_change_that_was_made_meanwhile_is_none<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    let main = world.main(pid);
    world.kernel.map(pid, AT, &[0; 8]);
    let id = world.insert(pid, AT, 8, HardwareKind::Change);
    world.tracer().remove_breakpoint(pid, id).unwrap();
    world.kernel.map(pid, AT, &[1; 8]);
    world.insert(pid, AT, 8, HardwareKind::Change);
    assert!(world.kernel.store_value(main, AT, &[1; 8]));
    world.idle();
    assert!(world.kernel.store_value(main, AT, &[2; 8]));
    let (stop, _) = world.trap(main);
    assert_eq!(world.tracer().watch_changes(&stop).unwrap()[0].old, [1; 8]);
    world.go(stop);
    world.idle();
}
