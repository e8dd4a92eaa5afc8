//! E10: any request can fail at any moment. The event comes all the same, the process stays usable,
//! and the error is told once, with the process that it is about.

use std::cell::Cell;
use std::rc::Rc;
use std::task::Poll;

use trapline_core::{
    Error, Event, EventFlags, FollowFork, ForkKind, ForkSide, Next, Pid, Resume, Signal,
    SoftwareBreakpoint, StopReason,
};
use trapline_fake::{Kernel, Rules};

use crate::common::*;

both![
    e10_a_fork_comes_all_the_same,
    e10_a_fork_that_nobody_wants_to_hear_of,
    e10_the_side_that_is_not_followed_is_let_go,
    e10_a_stop_is_given_again_if_it_cannot_be_resumed,
    e10_which_side_of_a_fork_could_not_be_resumed,
    e10_what_fails_for_good_is_told_and_starves_nobody,
    e10_what_cannot_be_let_go_now_is_let_go_later,
    e10_halted_threads_all_run,
];

/// No test needs more requests.
const MOST: u64 = 100;

/// Has the request of this number from now on fail, once; says whether it has.
pub(crate) fn fail_one<R: Rules>(kernel: &Kernel<R>, at: u64) -> Rc<Cell<bool>> {
    let failed = Rc::new(Cell::new(false));
    let (flag, mut left) = (Rc::clone(&failed), at);
    kernel.fail_requests(move |_, call| {
        // A wait that fails is told, and is about nobody; what has ended was asked about before.
        if matches!(call.name, "wait" | "has_tracees" | "parent_at_end" | "real_parent")
            || flag.get()
        {
            return false;
        }
        flag.set(left == 0);
        left = left.saturating_sub(1);
        flag.get()
    });
    failed
}

/// Waits, and resumes what comes, until nothing does; the events and the errors.
pub(crate) fn run_out<R: Rules>(world: &mut World<R>) -> (Vec<Event>, Vec<Error>) {
    let (mut events, mut errors) = (Vec::new(), Vec::new());
    for _ in 0..MOST {
        match world.tracer().try_wait() {
            Ok(Poll::Pending | Poll::Ready(None)) => return (events, errors),
            Ok(Poll::Ready(Some(event @ Event::Forked(_)))) => {
                events.push(event);
            }
            Ok(Poll::Ready(Some(event))) => match world.tracer().resume(event, Resume::Continue) {
                Ok(()) => {}
                Err(error) => errors.push(error),
            },
            Err(error) => errors.push(error),
        }
    }
    panic!("no end of it: {errors:?}");
}

/// Each request of a fork fails once.
fn each_fails<R: Rules>(follow: FollowFork, set: bool, flags: EventFlags, kind: ForkKind) {
    for at in 0..MOST {
        let mut world = World::<R>::following(flags, follow);
        world.kernel.map_programs(0x1000, &[0x90, 0x90]);
        let pid = world.attach();
        if set {
            world.tracer().insert_breakpoint(pid, SoftwareBreakpoint { addr: 0x1000 }).unwrap();
        }
        let failed = fail_one(&world.kernel, at);
        let child = world.kernel.fork(world.main(pid), kind);
        let (events, errors) = run_out(&mut world);
        assert_eq!(errors.len(), usize::from(failed.get()), "{at}: {errors:?}");
        for error in &errors {
            assert!([Some(pid), Some(child)].contains(&error.pid()), "{at}: {error:?}");
        }
        let told = flags.intersects(EventFlags::FORK);
        assert_eq!(events.len(), usize::from(told), "{at}: {events:?}");
        for event in events {
            let Event::Forked(fork) = event else { panic!("{event:?}") };
            assert_eq!((fork.parent_pid, fork.child_pid), (Some(pid), child));
            let halves =
                [&fork.parent, &fork.child].map(|half| matches!(half, ForkSide::Stopped(_)));
            let followed = [follow != FollowFork::Child, follow != FollowFork::Parent];
            assert_eq!(halves, followed, "{at}: {fork:?}");
            world.kernel.fail_requests(|_, _| false);
            world.go(fork);
        }
        let (_, errors) = run_out(&mut world);
        assert!(errors.is_empty(), "{at}: {errors:?}");
        for pid in [pid, child] {
            let waits = kind == ForkKind::Vfork && pid != child;
            assert!(waits || world.kernel.acts(world.main(pid)), "{at}: {pid} stands still");
        }
        if kind == ForkKind::Vfork {
            world.kernel.exit(world.main(child), 0);
            run_out(&mut world);
        }
        if !failed.get() {
            return;
        }
    }
    panic!("each fork makes {MOST} requests");
}

fn e10_a_fork_comes_all_the_same<R: Rules>() {
    for kind in [ForkKind::Fork, ForkKind::Vfork] {
        for set in [false, true] {
            each_fails::<R>(FollowFork::Both, set, EventFlags::PROCESS, kind);
        }
    }
}

fn e10_a_fork_that_nobody_wants_to_hear_of<R: Rules>() {
    for set in [false, true] {
        each_fails::<R>(FollowFork::Both, set, EventFlags::empty(), ForkKind::Fork);
    }
}

fn e10_the_side_that_is_not_followed_is_let_go<R: Rules>() {
    for follow in [FollowFork::Parent, FollowFork::Child] {
        for set in [false, true] {
            each_fails::<R>(follow, set, EventFlags::PROCESS, ForkKind::Fork);
        }
    }
}

fn e10_a_stop_is_given_again_if_it_cannot_be_resumed<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    let main = world.main(pid);
    world.kernel.signal_thread(main, Signal::USR1);
    let stop = world.stop();
    let failed = fail_one(&world.kernel, 0);
    assert!(matches!(world.tracer().resume(stop, Resume::Continue), Err(Error::Os { .. })));
    assert!(failed.get());
    let stop = world.stop();
    assert_eq!(stop.reason(), StopReason::Signal(Signal::USR1));
    world.go(stop);
    assert_eq!(world.kernel.delivered(pid, Signal::USR1), 1);
    world.idle();
}

fn e10_which_side_of_a_fork_could_not_be_resumed<R: Rules>() {
    for of_child in [false, true] {
        let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
        let child = world.kernel.fork(world.main(pid), ForkKind::Fork);
        let fork = world.forked();
        let failing = if of_child { child } else { pid };
        let id = world.main(failing).as_raw();
        world.kernel.fail_requests(move |_, call| call.name == "resume" && call.id == id);
        let error = world.tracer().resume(fork, Resume::Continue).unwrap_err();
        assert_eq!(error.pid(), Some(failing), "{error}");
        world.kernel.fail_requests(|_, _| false);
        world.run_all();
        assert!([pid, child].iter().all(|&pid| world.kernel.acts(world.main(pid))));
        world.idle();
    }
}

fn e10_what_fails_for_good_is_told_and_starves_nobody<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::FORK);
    let other = world.attach();
    let main = world.main(pid);
    // The stop at its exec is not shown.
    world.kernel.fail_requests(move |_, call| call.name == "resume" && call.id == main.as_raw());
    world.kernel.exec(main, "other");
    let error = world.tracer().try_wait().unwrap_err();
    assert_eq!(error.pid(), Some(pid), "{error}");
    assert!(world.poll().is_none(), "told once");
    world.kernel.signal_thread(world.main(other), Signal::USR1);
    let stop = world.stop();
    assert_eq!(stop.pid(), other);
    world.go(stop);
    // A wait without an end would sleep for ever.
    assert_eq!(world.tracer().wait().unwrap_err().pid(), Some(pid));
    world.kernel.fail_requests(|_, _| false);
    assert!(world.poll().is_none());
    assert!(world.kernel.acts(main));
}

fn e10_what_cannot_be_let_go_now_is_let_go_later<R: Rules>() {
    for at in 0..MOST {
        let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
        let main = world.main(pid);
        world.new_thread(pid);
        world.kernel.signal_thread(main, Signal::USR1);
        let stop = world.stop();
        let failed = fail_one(&world.kernel, at);
        let result = world.tracer().detach(stop);
        assert_eq!(result.is_err(), failed.get(), "{at}: {result:?}");
        let (events, errors) = run_out(&mut world);
        assert!(events.is_empty() && errors.is_empty(), "{at}: {errors:?}");
        assert!(!world.kernel.is_traced(pid), "{at}");
        assert_eq!(world.kernel.delivered(pid, Signal::USR1), 1, "{at}");
        if !failed.get() {
            return;
        }
    }
    panic!("a detach makes {MOST} requests");
}

fn e10_halted_threads_all_run<R: Rules>() {
    for at in 0..MOST {
        let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
        let main = world.main(pid);
        world.new_thread(pid);
        world.kernel.signal_thread(main, Signal::USR1);
        let stop = world.stop();
        let failed = fail_one(&world.kernel, at);
        let resumed = match world.tracer().halt(stop) {
            Ok(halted) => world.tracer().resume_halted(halted, |_| Next::Continue),
            Err(error) => Err(error),
        };
        assert_eq!(resumed.is_err(), failed.get(), "{at}: {resumed:?}");
        let (_, errors) = run_out(&mut world);
        assert!(errors.is_empty(), "{at}: {errors:?}");
        assert_eq!(world.kernel.delivered(pid, Signal::USR1), 1, "{at}");
        let threads: Vec<_> = world.kernel.threads(pid);
        assert!(threads.iter().all(|&tid| world.kernel.acts(tid)), "{at}");
        if !failed.get() {
            return;
        }
    }
    panic!("a halt makes {MOST} requests");
}

/// What an error is about is said in the message, too.
#[test]
fn e10_the_error_names_the_process() {
    let mut world = World::<trapline_fake::LinuxRules>::new(EventFlags::FORK);
    let pid: Pid = world.attach();
    let main = world.main(pid);
    let failed = fail_one(&world.kernel, 0);
    world.kernel.exec(main, "other");
    let error = world.tracer().try_wait().unwrap_err();
    assert!(failed.get());
    assert!(error.to_string().contains(&format!("process {pid}")), "{error}");
    assert!(world.poll().is_none());
    assert!(world.kernel.acts(main));
}
