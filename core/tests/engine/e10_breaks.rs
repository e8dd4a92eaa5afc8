//! E10: requests that fail in the middle of what the engine does with breakpoints in memory.

use std::cell::Cell;
use std::rc::Rc;
use std::task::Poll;

use trapline_core::{Event, EventFlags, ForkKind, StepOver};
use trapline_fake::{Kernel, Rules};

use crate::common::*;
use crate::m1_software::{CODE, TEXT, with_code};

/// Has the next request of this name fail, but for so many before it; says whether it has.
fn fail<R: Rules>(kernel: &Kernel<R>, name: &'static str, mut but: u32) -> Rc<Cell<bool>> {
    let failed = Rc::new(Cell::new(false));
    let flag = Rc::clone(&failed);
    kernel.fail_requests(move |_, call| {
        if call.name != name || flag.get() {
            return false;
        }
        flag.set(but == 0);
        but = but.saturating_sub(1);
        flag.get()
    });
    failed
}

impl<R: Rules> World<R> {
    /// The next event, after the one error that is told before it.
    fn next_after_error(&mut self) -> Event {
        match self.tracer().wait() {
            Ok(Some(event)) => {
                let error = self.tracer().try_wait().expect_err("it has failed");
                assert!(error.pid().is_some(), "{error:?}");
                event
            }
            Err(error) => {
                assert!(error.pid().is_some(), "{error:?}");
                self.next()
            }
            Ok(None) => panic!("nobody is left"),
        }
    }
}

both![
    e10_a_copy_that_cannot_be_read_is_cleaned_later,
    e10_who_is_left_of_a_family_has_its_breakpoints_again,
    e10_the_end_of_a_vfork_is_taken_in_again,
    e10_a_detach_that_fails_is_as_if_it_had_not_been,
];

// The parent's breakpoint is removed between the fork and its report: what is in the copy has to
// be read, and that fails.
fn e10_a_copy_that_cannot_be_read_is_cleaned_later<R: Rules>() {
    let (mut world, pid) = with_code::<R>(EventFlags::PROCESS);
    let two = world.new_thread(pid);
    let id = world.put(pid, CODE);
    world.kernel.hold(two);
    let child = world.kernel.fork(two, ForkKind::Fork);
    world.kernel.signal_thread(world.main(pid), trapline_core::Signal::USR1);
    let mut stop = world.stop();
    stop.set_signal(None).unwrap();
    world.tracer().remove_breakpoint(pid, id).unwrap();
    world.kernel.release(two);
    let failed = fail(&world.kernel, "read_memory", 0);
    world.go(stop);
    let fork = world.next_after_error();
    assert!(failed.get());
    world.go(fork);
    world.run_all();
    assert_eq!(world.kernel.memory(child, CODE, 1), [TEXT[0]]);
    world.idle();
}

// The breakpoint that was opened for a thread cannot be put back, as that was killed in its step.
fn e10_who_is_left_of_a_family_has_its_breakpoints_again<R: Rules>() {
    let (mut world, pid) = {
        let mut world =
            World::<R>::built(|b| b.events(EventFlags::PROCESS).step_over(StepOver::InPlace));
        let pid = world.attach();
        world.kernel.map(pid, CODE, &TEXT);
        (world, pid)
    };
    world.put(pid, CODE);
    let child = world.forks(world.main(pid), ForkKind::Vfork);
    world.run_all();
    world.kernel.jump(world.main(child), CODE);
    let kernel = world.kernel.clone();
    let mut stepped = false;
    // The child inherits none of its own: it is led past without a word.
    world.kernel.before_requests(move |_, call| {
        if call.name == "write_memory" && std::mem::replace(&mut stepped, true) {
            kernel.kill(child);
        }
    });
    let failed = fail(&world.kernel, "write_memory", 1);
    for _ in 0..20 {
        match world.tracer().try_wait() {
            Ok(Poll::Ready(Some(event))) => world.go(event),
            Ok(_) => break,
            Err(_) => {}
        }
    }
    assert!(failed.get());
    world.kernel.before_requests(|_, _| {});
    world.run_all();
    assert!(world.kernel.acts(world.main(pid)), "it stands still");
    assert_eq!(world.kernel.memory(pid, CODE, 1), [0xcc]);
}

// Nobody runs past a breakpoint that cannot be put back at the end of a vfork.
fn e10_the_end_of_a_vfork_is_taken_in_again<R: Rules>() {
    let (mut world, pid) = with_code::<R>(EventFlags::PROCESS);
    let id = world.put(pid, CODE);
    let child = world.kernel.fork(world.main(pid), ForkKind::Vfork);
    let fork = world.forked();
    assert_eq!(fork.child_pid, child);
    let trapline_core::ForkSide::Stopped(stop) = fork.child else { panic!() };
    world.tracer().detach(stop).unwrap();
    let trapline_core::ForkSide::Stopped(stop) = fork.parent else { panic!() };
    world.go(stop);
    world.run_all();
    assert_eq!(world.kernel.memory(pid, CODE, 1), [TEXT[0]], "lent");
    let failed = fail(&world.kernel, "write_memory", 0);
    let main = world.main(pid);
    world.kernel.before_requests(move |kernel, call| {
        if call.name != "write_memory" {
            let put_back = kernel.memory(pid, CODE, 1) == [0xcc];
            assert!(put_back || !kernel.acts(main), "{} while it can run past", call.name);
        }
    });
    world.kernel.exit(world.main(child), 0);
    let error = world.tracer().try_wait().unwrap_err();
    assert_eq!(error.pid(), Some(pid));
    assert!(failed.get());
    world.run_all();
    world.kernel.before_requests(|_, _| {});
    world.kernel.jump(main, CODE);
    let hit = world.hits(id, CODE);
    world.go(hit);
}

// A detach that fails in the middle leaves the process as it was, whatever it is that fails.
fn e10_a_detach_that_fails_is_as_if_it_had_not_been<R: Rules>() {
    for name in ["write_memory", "read_memory", "pending_trap", "set_registers", "resume"] {
        for but in 0..3 {
            let (mut world, pid) = with_code::<R>(EventFlags::PROCESS);
            let (main, two) = (world.main(pid), world.new_thread(pid));
            let id = world.put(pid, CODE);
            world.kernel.jump(main, CODE);
            world.kernel.run_into(two, CODE);
            let hit = world.hits(id, CODE);
            let failed = fail(&world.kernel, name, but);
            let result = world.tracer().detach(hit);
            world.kernel.fail_requests(|_, _| false);
            assert!(result.is_ok() || failed.get(), "{name} {but}: {result:?}");
            let had = world.tracer().breakpoints(pid).map_or(0, |list| list.count());
            if had == 0 {
                world.run_all(); // it is on its way
                assert_eq!(world.kernel.memory(pid, CODE, 1), [TEXT[0]], "{name} {but}");
                continue;
            }
            assert!(result.is_err());
            assert_eq!(world.kernel.memory(pid, CODE, 1), [0xcc], "{name} {but}");
            let mut arrived = Vec::new();
            while let Some(event) = world.poll() {
                let Event::Stopped(stop) = event else { panic!("{event:?}") };
                arrived.push(stop.tid());
                world.go(stop);
            }
            arrived.sort();
            assert_eq!(arrived, [main, two], "{name} {but}");
            assert_eq!(world.kernel.executed(pid, CODE), 2, "{name} {but}");
            world.idle();
        }
    }
}

// Whose memory the child of one has that was killed is not known: it is not touched.
#[test]
fn e10_memory_that_may_be_anothers_is_left_alone() {
    let (mut world, pid) = with_code::<trapline_fake::LinuxRules>(EventFlags::PROCESS);
    world.put(pid, CODE);
    let child = world.forks(world.main(pid), ForkKind::Vfork);
    world.run_all();
    let grandchild = world.kernel.fork(world.main(child), ForkKind::Vfork);
    world.kernel.kill(child);
    let failed = fail(&world.kernel, "shares_memory", 0);
    let main = world.main(pid);
    world.kernel.before_requests(move |kernel, call| {
        let inserted = kernel.memory(pid, CODE, 1) == [0xcc];
        assert!(inserted || !kernel.acts(main), "{} with nothing in memory", call.name);
    });
    for _ in 0..20 {
        match world.tracer().try_wait() {
            Ok(Poll::Ready(Some(event))) => world.go(event),
            Ok(_) => break,
            Err(_) => {}
        }
    }
    assert!(failed.get());
    assert_eq!(world.kernel.memory(pid, CODE, 1), [0xcc]);
    assert!(world.kernel.acts(world.main(grandchild)));
    world.kernel.before_requests(|_, _| {});
}
