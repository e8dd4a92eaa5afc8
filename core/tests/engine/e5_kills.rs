//! E5: a tracee can be killed in any stop. Its tokens then are harmless, and its `Exited` comes
//! once, behind them.

use trapline_core::{
    Error, Event, EventFlags, ForkKind, ForkSide, Pid, Signal, StopReason, Stopped,
};
use trapline_fake::{LinuxRules, Rules};

use crate::common::*;

both![
    while_it_runs,
    in_any_stop_then_resumed,
    registers_that_were_asked_for_before_are_still_known,
    in_any_stop_then_dropped,
    in_any_stop_then_detached,
    by_the_tracer,
    with_the_tokens_of_several_threads_out,
    either_half_of_a_fork_or_both,
    before_a_new_process_was_told,
];

/// The stops to be killed in.
const STOPS: [fn(StopReason) -> bool; 10] = [
    |reason| matches!(reason, StopReason::Signal(_)),
    |reason| matches!(reason, StopReason::Execed { .. }),
    |reason| matches!(reason, StopReason::ThreadStarted),
    |reason| matches!(reason, StopReason::SyscallEntry),
    |reason| matches!(reason, StopReason::SyscallExit),
    |reason| matches!(reason, StopReason::Interrupted),
    |reason| matches!(reason, StopReason::Trap(_)),
    |reason| matches!(reason, StopReason::Unknown { .. }),
    |reason| matches!(reason, StopReason::ThreadExiting),
    |reason| matches!(reason, StopReason::VforkDone),
];

/// The one of them that not even Linux takes a killed thread out of.
const EXITING: usize = 8;

/// A process that is stopped in one of these ways.
fn stopped_in<R: Rules>(which: usize) -> (World<R>, Pid, Stopped) {
    let flags = match which {
        EXITING => THREADS | EventFlags::EXIT,
        9 => THREADS | EventFlags::VFORK_DONE,
        _ => THREADS | EventFlags::SYSCALL,
    };
    let (mut world, pid) = World::<R>::with_process(flags);
    let main = world.main(pid);
    match which {
        0 => world.kernel.signal(pid, Signal::USR1),
        1 => world.kernel.exec(main, "new"),
        2 => {
            world.kernel.thread(main);
        }
        3 => world.kernel.syscall_entry(main),
        4 => {
            world.kernel.syscall_entry(main);
            let stop = world.stop();
            world.go(stop);
            world.kernel.syscall_exit(main);
        }
        5 => world.tracer().interrupt(pid).unwrap(),
        6 => {
            world.kernel.signal(pid, Signal::USR1);
            let stop = world.stop();
            world.step(stop);
        }
        7 => world.kernel.unknown(main, 1),
        EXITING => {
            let thread = world.new_thread(pid);
            world.kernel.exit_thread(thread, 0);
        }
        _ => {
            let child = world.kernel.fork(main, ForkKind::Vfork);
            let fork = world.forked();
            world.go(fork);
            world.tracer().detach_process(child).unwrap();
            world.kernel.exit(world.main(child), 0);
        }
    }
    let stop = world.stop();
    assert!(STOPS[which](stop.reason()), "{stop:?}");
    (world, pid, stop)
}

/// Resumes what comes until the only process has ended, which happens once.
fn ends<R: Rules>(world: &mut World<R>, pid: Pid) {
    loop {
        match world.next() {
            Event::Exited { pid: ended, status, .. } => {
                assert_eq!((ended, status), (pid, KILLED));
                return world.over();
            }
            event => world.go(event),
        }
    }
}

/// Its `Exited` does not come as long as a token is out.
fn not_yet<R: Rules>(world: &mut World<R>) {
    let event = world.poll();
    assert!(!matches!(event, Some(Event::Exited { .. })), "a token is out");
}

/// The thread can be asked while the kernel holds it, and is gone after that.
fn asked<R: Rules>(world: &mut World<R>, stop: &Stopped) {
    let answer = world.tracer().registers(stop);
    assert!(matches!(answer, Ok(_) | Err(Error::Gone { .. })), "{answer:?}");
    let answer = world.tracer().read_memory(stop, 0x1000, &mut [0; 4]);
    let nothing_there = matches!(answer, Err(Error::BadAddress { .. } | Error::Gone { .. }));
    assert!(nothing_there, "{answer:?}");
}

fn while_it_runs<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(THREADS);
    world.new_thread(pid);
    world.kernel.signal(pid, Signal::KILL);
    ends(&mut world, pid);
    assert_eq!(world.kernel.deliveries(), [], "it was no stop");
}

fn in_any_stop_then_resumed<R: Rules>() {
    for which in 0..STOPS.len() {
        for look in [false, true] {
            let (mut world, pid, stop) = stopped_in::<R>(which);
            world.kernel.kill(pid);
            asked(&mut world, &stop);
            if look {
                not_yet(&mut world);
                asked(&mut world, &stop);
            }
            world.go(stop);
            ends(&mut world, pid);
        }
    }
}

fn registers_that_were_asked_for_before_are_still_known<R: Rules>() {
    for which in 0..STOPS.len() {
        let (mut world, pid, stop) = stopped_in::<R>(which);
        let mut registers = world.tracer().registers(&stop).unwrap();
        let fp = world.tracer().fp_registers(&stop).unwrap();
        registers.sp += 16;
        world.tracer().set_registers(&stop, &registers).unwrap();
        world.tracer().kill(pid).unwrap();
        not_yet(&mut world);
        assert_eq!(world.tracer().registers(&stop).unwrap(), registers);
        assert_eq!(world.tracer().fp_registers(&stop).unwrap(), fp);
        world.go(stop);
        ends(&mut world, pid);
    }
}

fn in_any_stop_then_dropped<R: Rules>() {
    for which in 0..STOPS.len() {
        for look in [false, true] {
            let (mut world, pid, stop) = stopped_in::<R>(which);
            world.kernel.kill(pid);
            if look {
                not_yet(&mut world);
            }
            drop(stop);
            ends(&mut world, pid);
        }
    }
}

fn in_any_stop_then_detached<R: Rules>() {
    for which in 0..STOPS.len() {
        let (mut world, pid, stop) = stopped_in::<R>(which);
        world.kernel.kill(pid);
        world.tracer().detach(stop).unwrap();
        // Where it stays in its stop until then, it was let go before its end.
        let seen = world.run_all();
        let told = seen.iter().filter(|event| **event == format!("{pid} {KILLED}")).count();
        let leaves_its_stop = R::RULES.kills_stopped && which != EXITING;
        assert_eq!(told, usize::from(leaves_its_stop), "{seen:?}");
        world.over();
        assert!(!world.kernel.processes().contains(&pid));
    }
}

fn by_the_tracer<R: Rules>() {
    for which in 0..STOPS.len() {
        let (mut world, pid, stop) = stopped_in::<R>(which);
        world.tracer().kill(pid).unwrap();
        asked(&mut world, &stop);
        world.tracer().kill(pid).unwrap();
        not_yet(&mut world);
        let answer = world.tracer().registers(&stop);
        assert!(which == EXITING || matches!(answer, Err(Error::Gone { .. })), "{answer:?}");
        world.go(stop);
        ends(&mut world, pid);
        world.tracer().kill(pid).unwrap();
        world.tracer().detach_process(pid).unwrap();
        assert!(matches!(world.tracer().interrupt(pid), Err(Error::Gone { .. })));
    }
}

fn with_the_tokens_of_several_threads_out<R: Rules>() {
    let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
    world.new_thread(pid);
    world.kernel.signal_thread(world.main(pid), Signal::USR1);
    let stop = world.stop();
    let halted = world.tracer().halt(stop).unwrap();
    assert_eq!(halted.threads.len(), 2);
    world.tracer().kill(pid).unwrap();
    for stop in halted.threads {
        assert!(world.poll().is_none(), "a token is out");
        world.go(stop);
    }
    ends(&mut world, pid);
}

fn either_half_of_a_fork_or_both<R: Rules>() {
    for kind in [ForkKind::Fork, ForkKind::Vfork, ForkKind::Clone] {
        for (kill_parent, kill_child) in [(true, false), (false, true), (true, true)] {
            let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
            let child = world.kernel.fork(world.main(pid), kind);
            let fork = world.forked();
            let mut victims = Vec::new();
            if kill_parent {
                world.kernel.kill(pid);
                victims.push(pid);
            }
            if kill_child {
                world.kernel.kill(child);
                victims.push(child);
            }
            let (ForkSide::Stopped(parent), ForkSide::Stopped(new)) = (&fork.parent, &fork.child)
            else {
                panic!("{fork:?}");
            };
            asked(&mut world, parent);
            asked(&mut world, new);
            world.go(fork);
            if kill_parent && kind == ForkKind::Vfork && !kill_child {
                // Some kernels do not let it end before its child gives the memory back.
                world.run_all();
                world.kernel.exit(world.main(child), 0);
                world.run_all();
                world.over();
                continue;
            }
            let mut ended = Vec::new();
            while let Some(event) = world.poll() {
                if let Event::Exited { pid, status, .. } = event {
                    assert_eq!(status, KILLED);
                    ended.push(pid);
                }
                world.go(event);
            }
            ended.sort();
            assert_eq!(ended, victims, "{kind}");
            world.idle();
        }
    }
}

fn before_a_new_process_was_told<R: Rules>() {
    for victim_is_child in [false, true] {
        let (mut world, pid) = World::<R>::with_process(EventFlags::PROCESS);
        let child = world.kernel.fork(world.main(pid), ForkKind::Fork);
        let victim = if victim_is_child { child } else { pid };
        world.kernel.kill(victim);
        let mut forks = 0;
        let mut ended = Vec::new();
        while let Some(event) = world.poll() {
            match &event {
                Event::Forked(fork) => {
                    assert_eq!(fork.child_pid, child);
                    // Killed before it told, it is not named.
                    let named = fork.parent_pid == Some(pid);
                    assert!(named || fork.parent_pid.is_none() && victim == pid);
                    forks += 1;
                }
                Event::Exited { pid, .. } => ended.push(*pid),
                _ => {}
            }
            world.go(event);
        }
        assert_eq!((forks, ended), (1, vec![victim]));
        world.idle();
    }
}

/// The message of a fork is an exit code by then: who made the child is left open, and of one that
/// has ended as well, before its first stop, nobody has heard.
#[test]
fn an_exit_code_is_no_pid() {
    for kind in [ForkKind::Fork, ForkKind::Vfork] {
        for (child_dies, flags) in
            [(false, EventFlags::EXIT), (false, EventFlags::empty()), (true, EventFlags::empty())]
        {
            let (mut world, pid) = World::<LinuxRules>::with_process(flags | EventFlags::PROCESS);
            let child = world.kernel.fork(world.main(pid), kind);
            world.kernel.before_requests(move |kernel, call| {
                if call.name == "new_task" {
                    kernel.kill(pid);
                    if child_dies {
                        kernel.kill(child);
                    }
                }
            });
            let mut forks = 0;
            let mut ended = Vec::new();
            while let Some(event) = world.poll() {
                match &event {
                    Event::Forked(fork) => {
                        assert_eq!((fork.parent_pid, fork.child_pid), (None, child));
                        assert!(matches!(fork.parent, ForkSide::Gone));
                        forks += 1;
                    }
                    Event::Exited { pid, status, .. } => {
                        assert_eq!(*status, KILLED);
                        ended.push(*pid);
                    }
                    _ => {}
                }
                world.go(event);
            }
            ended.sort();
            assert_eq!((forks, ended), (u32::from(!child_dies), vec![pid]), "{kind} {child_dies}");
            world.idle();
        }
    }
}

/// Linux takes it on to its exit stop, which is shown behind the one that it was killed in.
#[test]
fn the_exit_stop_of_one_killed_in_a_stop() {
    let (mut world, pid) = World::<LinuxRules>::with_process(THREADS | EventFlags::EXIT);
    world.kernel.signal(pid, Signal::USR1);
    let stop = world.stop_for(StopReason::Signal(Signal::USR1));
    world.kernel.kill(pid);
    assert!(world.poll().is_none(), "a token is out");
    assert!(world.tracer().registers(&stop).is_ok());
    world.go(stop);
    let exiting = world.stop_for(StopReason::ThreadExiting);
    world.go(exiting);
    ends(&mut world, pid);
    assert_eq!(world.kernel.delivered(pid, Signal::USR1), 0);
}

#[test]
fn in_a_group_stop() {
    for listening in [false, true] {
        let (mut world, pid) = World::<LinuxRules>::with_process(EventFlags::PROCESS);
        world.kernel.signal(pid, Signal::STOP);
        let stop = world.stop();
        world.go(stop);
        let stop = world.stop_for(StopReason::GroupStop(Signal::STOP));
        if listening {
            world.go(stop);
            world.kernel.kill(pid);
        } else {
            world.kernel.kill(pid);
            asked(&mut world, &stop);
            world.go(stop);
        }
        ends(&mut world, pid);
    }
}
