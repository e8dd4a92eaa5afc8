//! M1, E5 and F3: breakpoints in memory, and what comes in between. The explorer has found these.

use trapline_core::{
    Error, EventFlags, FollowFork, ForkKind, Next, Signal, SoftwareBreakpoint, StopReason, Stopped,
};
use trapline_fake::{FreeBsdRules, LinuxRules, Rules};

use crate::common::*;
use crate::m1_software::{CODE, software, with_code};

both![a_hit_of_the_killed_is_no_signal, nobody_is_let_go_with_one_while_another_process_goes,];

/// Kills a process right before the next request of this name.
fn kill_before<R: trapline_fake::Rules>(
    world: &World<R>,
    pid: trapline_core::Pid,
    name: &'static str,
) {
    world.kernel.before_requests(move |kernel, call| {
        if call.name == name {
            kernel.kill(pid);
        }
    });
}

fn a_hit_of_the_killed_is_no_signal<R: Rules>() {
    for request in ["trap_origin", "registers"] {
        let (mut world, pid) = with_code::<R>(EventFlags::PROCESS);
        world.put(pid, CODE);
        world.kernel.jump(world.main(pid), CODE);
        kill_before(&world, pid, request);
        let mut told = world.run_all();
        if R::RULES.tells_ids {
            told.retain(|line| !line.contains("software"));
            world.kernel.kill(pid);
            told.extend(world.run_all());
        }
        assert_eq!(told, [format!("{pid} killed by SIGKILL")], "{request}");
        world.over();
    }
}

fn nobody_is_let_go_with_one_while_another_process_goes<R: Rules>() {
    let (mut world, pid) = with_code::<R>(EventFlags::PROCESS);
    let other = world.new_thread(pid);
    world.put(pid, CODE);
    let child = world.kernel.fork(world.main(pid), ForkKind::Fork);
    let fork = world.forked();
    if world.kernel.acts(other) {
        world.kernel.jump(other, CODE);
    }
    // The one half is dead, and its end is waited for.
    world.kernel.kill(child);
    world.tracer().detach(fork).unwrap();
    assert_eq!(world.kernel.memory(pid, CODE, 1), [0x90]);
    assert_eq!(world.kernel.fate(pid), None, "nobody was killed");
    world.run_all();
}

#[test]
fn the_child_of_a_fork_that_waits_to_be_reported_is_let_go_clean() {
    let (mut world, pid) = with_code::<FreeBsdRules>(EventFlags::PROCESS);
    let (main, other) = (world.main(pid), world.new_thread(pid));
    world.put(pid, CODE);
    // Both at the same time; the kernel tells of one after the other.
    world.kernel.fork(main, ForkKind::Fork);
    let second = world.kernel.fork(other, ForkKind::Fork);
    let fork = world.forked();
    world.tracer().detach(fork).unwrap();
    assert!(!world.kernel.is_traced(second));
    assert_eq!(world.kernel.memory(second, CODE, 1), [0x90]);
    world.kernel.jump(world.main(second), CODE);
    assert_eq!(world.kernel.fate(second), None);
}

#[test]
fn a_killed_process_that_waits_in_vfork_is_not_waited_for() {
    let (mut world, pid) = with_code::<FreeBsdRules>(EventFlags::PROCESS);
    let other = world.new_thread(pid);
    world.kernel.signal_thread(other, Signal::USR1);
    world.run_all(); // so that it is known
    let maker = world.main(pid);
    let child = world.forks(maker, ForkKind::Vfork);
    world.kernel.kill(pid);
    let refused = world.tracer().insert_breakpoint(pid, SoftwareBreakpoint { addr: CODE });
    assert!(matches!(refused, Err(Error::NotStopped { .. } | Error::Gone { .. })), "{refused:?}");
    world.kernel.exit(world.main(child), 0);
    world.run_all();
    world.over();
}

#[test]
fn a_first_thread_that_is_gone_is_not_asked_to_stop() {
    let (mut world, pid) = with_code::<FreeBsdRules>(EventFlags::PROCESS);
    let (main, other) = (world.main(pid), world.new_thread(pid));
    world.kernel.exit_thread(main, 0); // which nobody asked to hear of
    let id = world.put(pid, CODE);
    world.kernel.jump(other, CODE);
    let stop = world.hits(id, CODE);
    world.go(stop);
    world.idle();
    assert_eq!(world.kernel.executed(pid, CODE), 1);
}

#[test]
fn a_step_is_one_step_though_another_thread_comes_before() {
    let (mut world, pid) = with_code::<FreeBsdRules>(EventFlags::PROCESS);
    let (main, other) = (world.main(pid), world.new_thread(pid));
    let id = world.put(pid, CODE);
    world.kernel.jump(main, CODE);
    world.kernel.jump(other, CODE);
    let stop = world.hits(id, CODE);
    assert_eq!(stop.tid(), main);
    world.step(stop);
    let stop = world.hits(id, CODE);
    assert_eq!(stop.tid(), other);
    world.go(stop);
    let stop = world.stop();
    assert!(matches!(stop.reason(), StopReason::Trap(causes) if causes.single_step), "{stop:?}");
    assert_eq!(stop.tid(), main);
    world.go(stop);
    world.idle(); // runs on, and is stepped no more
    assert!(world.kernel.deliveries().is_empty());
}

#[test]
fn a_call_that_is_made_again_is_no_new_arrival() {
    const CALL: u64 = CODE + 3;
    let (mut world, pid) = with_code::<FreeBsdRules>(EventFlags::PROCESS);
    let main = world.main(pid);
    let id = world.put(pid, CALL);
    world.kernel.jump(main, CALL);
    let stop = world.hits(id, CALL);
    world.go(stop);
    world.kernel.signal_thread(main, Signal::USR1);
    let stop = world.stop_for(StopReason::Signal(Signal::USR1));
    world.go(stop);
    world.idle();
    assert!(world.kernel.is_in_call(main));
}

#[test]
fn a_vfork_child_is_let_go_clean_though_its_parent_is_killed() {
    let (mut world, pid) = with_code::<LinuxRules>(EventFlags::PROCESS);
    world.tracer().set_follow_fork(FollowFork::Parent);
    world.put(pid, CODE);
    kill_before(&world, pid, "write_memory");
    let child = world.kernel.fork(world.main(pid), ForkKind::Vfork);
    world.run_all();
    assert_eq!(world.kernel.memory(child, CODE, 1), [0x90]);
    world.kernel.jump(world.main(child), CODE);
    assert_eq!(world.kernel.fate(child), None);
    assert!(software_free(&world, child));
}

/// Whether no breakpoint instruction is in the code.
fn software_free(world: &World<LinuxRules>, pid: trapline_core::Pid) -> bool {
    !world.kernel.memory(pid, CODE, 6).contains(&0xcc)
}

#[test]
fn the_child_of_a_killed_vfork_child_has_its_grandparents_memory() {
    let (mut world, pid) = with_code::<LinuxRules>(EventFlags::PROCESS);
    let id = world.put(pid, CODE);
    let maker = world.main(pid);
    let child = world.forks(maker, ForkKind::Vfork);
    world.kernel.fork(world.main(child), ForkKind::Vfork);
    world.kernel.kill(child);
    world.run_all();
    assert_eq!(world.kernel.memory(pid, CODE, 1), [0xcc]);
    world.kernel.jump(world.main(pid), CODE);
    let stop = world.stop();
    assert_eq!(software(&stop), Some(id));
    world.go(stop);
    world.run_all();
}

#[test]
fn an_exit_stop_is_not_at_a_breakpoint() {
    let (mut world, pid) = with_code::<LinuxRules>(EventFlags::PROCESS | EventFlags::EXIT);
    world.new_thread(pid);
    let id = world.put(pid, CODE);
    world.kernel.jump(world.main(pid), CODE);
    let stop = world.hits(id, CODE);
    world.kernel.kill(pid);
    world.go(stop);
    let mut exiting = [world.stop(), world.stop()];
    exiting.sort_by_key(|stop| stop.tid());
    let [first, other] = exiting;
    assert_eq!(first.reason(), StopReason::ThreadExiting);
    world.go(first); // ends only after the other one
    world.go(other);
    world.run_all();
    world.over();
}

/// A process with a thread in `vfork` and one at a breakpoint, whose stop is given; and the stop of
/// the child.
fn at_a_breakpoint_beside_a_vfork() -> (World<FreeBsdRules>, trapline_core::Pid, [Stopped; 2]) {
    let (mut world, pid) = with_code::<FreeBsdRules>(EventFlags::PROCESS);
    let other = world.new_thread(pid);
    let id = world.put(pid, CODE);
    let maker = world.main(pid);
    let child = world.forks(maker, ForkKind::Vfork);
    world.kernel.signal(child, Signal::USR1);
    let stop = world.stop_for(StopReason::Signal(Signal::USR1));
    world.kernel.jump(other, CODE);
    let hit = world.hits(id, CODE);
    (world, pid, [hit, stop])
}

#[test]
fn who_is_killed_as_it_is_led_past_and_stops_no_more_is_left_alone() {
    let (mut world, pid, [hit, child]) = at_a_breakpoint_beside_a_vfork();
    world.kernel.kill(pid);
    world.go(hit);
    assert!(world.poll().is_none());
    world.go(child);
    world.run_to_the_end();
    world.over();
}

#[test]
fn who_was_to_be_run_and_is_killed_by_the_user_is_not_run() {
    let (mut world, pid, [hit, child]) = at_a_breakpoint_beside_a_vfork();
    let halted = world.tracer().halt(hit).unwrap();
    let mut stops = halted.threads.into_iter();
    let hit = stops.next().unwrap();
    world.go(hit); // runs with the others
    world.tracer().kill(pid).unwrap();
    // Leads all past that share the memory.
    let (id, main) = (world.put(child.pid(), CODE), child.tid());
    world.go(child);
    world.kernel.jump(main, CODE);
    let hit = world.hits(id, CODE);
    world.go(hit);
    drop(stops);
    world.run_to_the_end();
    world.over();
}

#[test]
fn a_step_that_another_thread_came_before_is_no_signal_later() {
    let (mut world, pid) = with_code::<FreeBsdRules>(EventFlags::PROCESS);
    let (main, other) = (world.main(pid), world.new_thread(pid));
    world.put(pid, CODE);
    world.kernel.signal_thread(main, Signal::USR1);
    let stop = world.stop_for(StopReason::Signal(Signal::USR1));
    world.kernel.signal_thread(other, Signal::USR1);
    // The step is done, and reported behind the signal of the other thread.
    world.kernel.choose(move |reports| reports.iter().position(|report| report.tid == other));
    world.step(stop);
    let stop = world.stop_for(StopReason::Signal(Signal::USR1));
    assert_eq!(stop.tid(), other);
    world.kernel.choose(|_| Some(0));
    let halted = world.tracer().halt(stop).unwrap();
    for stop in halted.threads {
        world.go(stop);
    }
    assert_eq!(world.run_all(), [] as [&str; 0]);
    assert_eq!(world.kernel.delivered(pid, Signal::TRAP), 0);
}

#[test]
fn a_thread_that_is_gone_without_a_word_is_not_asked() {
    let (mut world, pid) = with_code::<FreeBsdRules>(EventFlags::PROCESS);
    let (main, other) = (world.main(pid), world.new_thread(pid));
    let id = world.put(pid, CODE);
    world.kernel.exit_thread(main, 0); // which nobody asked to hear of
    world.kernel.signal_thread(other, Signal::USR1);
    let stop = world.stop_for(StopReason::Signal(Signal::USR1));
    world.put(pid, CODE + 1);
    assert!(world.tracer().remove_breakpoint(pid, id).unwrap());
    assert_eq!(world.kernel.memory(pid, CODE, 2), [0x90, 0xcc]);
    world.go(stop);
    world.run_all();
}

#[test]
fn no_signal_is_lost_as_a_thread_is_led_past() {
    let (mut world, pid) = with_code::<FreeBsdRules>(EventFlags::PROCESS);
    let (main, other) = (world.main(pid), world.new_thread(pid));
    let id = world.put(pid, CODE);
    world.kernel.jump(main, CODE);
    world.kernel.signal_thread(other, Signal::USR1);
    let hit = world.hits(id, CODE);
    world.kernel.signal_thread(main, Signal::USR1);
    world.go(hit);
    world.run_all();
    assert_eq!(world.kernel.delivered(pid, Signal::USR1), 2);
}

#[test]
fn a_first_thread_that_is_killed_as_it_is_led_past_is_not_waited_for() {
    let (mut world, pid) = with_code::<LinuxRules>(EventFlags::PROCESS | EventFlags::EXIT);
    world.new_thread(pid);
    let main = world.main(pid);
    let id = world.put(pid, CODE);
    world.kernel.jump(main, CODE);
    let hit = world.hits(id, CODE);
    let mut stops = world.tracer().halt(hit).unwrap().threads.into_iter();
    let hit = stops.next().unwrap();
    world.kernel.set_slow_deaths(true);
    world.kernel.kill(pid);
    world.kernel.die(main); // is at its exit stop, which nobody has seen
    world.go(hit); // and out of that
    drop(stops);
    let told = world.run_all();
    assert_eq!(told.last(), Some(&format!("{pid} killed by SIGKILL")), "{told:?}");
    world.over();
}

#[test]
fn who_is_stopped_by_job_control_is_not_led_past_with_others() {
    const CALL: u64 = CODE + 3;
    let (mut world, pid) = with_code::<LinuxRules>(EventFlags::PROCESS);
    let (main, other) = (world.main(pid), world.new_thread(pid));
    world.kernel.jump(other, CALL);
    world.put(pid, CALL);
    let id = world.put(pid, CODE);
    world.kernel.jump(main, CODE);
    let hit = world.hits(id, CODE);
    world.kernel.signal_thread(other, Signal::STOP);
    let stop = world.stop_for(StopReason::Signal(Signal::STOP));
    world.go(stop);
    let stop = world.stop_for(StopReason::GroupStop(Signal::STOP));
    world.go(stop);
    world.go(hit);
    world.run_all();
    assert_eq!(world.kernel.state(other), "Listens, held: None");
}

#[test]
fn a_trap_is_taken_out_of_who_is_stopped_by_job_control() {
    let (mut world, pid) = with_code::<LinuxRules>(EventFlags::PROCESS);
    let (main, other) = (world.main(pid), world.new_thread(pid));
    world.put(pid, CODE);
    world.kernel.run_into(other, CODE);
    world.kernel.signal_thread(main, Signal::STOP);
    let stop = world.stop_for(StopReason::Signal(Signal::STOP));
    world.go(stop);
    let stop = world.stop_for(StopReason::GroupStop(Signal::STOP));
    world.tracer().detach(stop).unwrap();
    world.kernel.signal(pid, Signal::CONT);
    assert_eq!(world.kernel.fate(pid), None, "it has no trap to die of");
    assert_eq!(world.kernel.executed(pid, CODE), 1);
}

#[test]
fn who_is_on_its_way_out_and_stays_is_not_forgotten() {
    let (mut world, pid) = World::<FreeBsdRules>::with_process(THREADS | EventFlags::EXIT);
    let other = world.new_thread(pid);
    world.kernel.exit_thread(other, 0);
    let stop = world.stop();
    let halted = world.tracer().halt(stop).unwrap();
    let next = |stop: &Stopped| if stop.tid() == other { Next::Stay } else { Next::Continue };
    world.tracer().resume_halted(halted, next).unwrap();
    assert_eq!(world.run_all(), [] as [&str; 0]);
    world.kernel.signal(pid, Signal::USR1);
    let stop = world.stop_for(StopReason::Signal(Signal::USR1));
    let halted = world.tracer().halt(stop).unwrap();
    world.tracer().resume_halted(halted, |_| Next::Continue).unwrap();
    assert_eq!(world.run_all(), [format!("{other} ended")]);
    assert_eq!(world.kernel.threads(pid).len(), 1);
}

#[test]
fn a_signal_without_a_handler_hides_no_later_arrival() {
    const CALL: u64 = CODE + 3;
    let (mut world, pid) = with_code::<LinuxRules>(EventFlags::PROCESS);
    let main = world.main(pid);
    let id = world.put(pid, CALL);
    world.kernel.jump(main, CALL);
    let hit = world.hits(id, CALL);
    world.go(hit);
    // Interrupted, but the signal comes before that.
    world.kernel.signal_thread(main, Signal::USR1);
    world.tracer().interrupt(pid).unwrap();
    let stop = world.stop_for(StopReason::Signal(Signal::USR1));
    world.go(stop);
    assert_eq!(world.run_all(), [] as [&str; 0]);
    assert!(world.kernel.is_in_call(main), "it is made again");
    world.kernel.finish_call(main);
    world.kernel.jump(main, CALL);
    let hit = world.hits(id, CALL);
    world.go(hit);
}

/// The thread that is stopped is killed by the exec of another one: the process has not gone, and it
/// is the new program that gets the breakpoint.
#[test]
fn an_insert_meets_an_exec() {
    let (mut world, pid) = with_code::<LinuxRules>(EventFlags::PROCESS);
    world.kernel.map_programs(CODE, &[0x90; 16]);
    let (main, other) = (world.main(pid), world.new_thread(pid));
    world.kernel.signal_thread(main, Signal::USR1);
    let stop = world.stop_for(StopReason::Signal(Signal::USR1));
    world.kernel.exec(other, "new");
    let id = world.tracer().insert_breakpoint(pid, SoftwareBreakpoint { addr: CODE }).unwrap();
    drop(stop);
    let stop = world.stop();
    assert!(matches!(stop.reason(), StopReason::Execed { .. }), "{stop:?}");
    world.go(stop);
    world.kernel.jump(main, CODE);
    let stop = world.stop();
    assert_eq!(software(&stop), Some(id));
    world.go(stop);
    world.run_all();
}

/// One that is asked for again is a new one by then.
#[test]
fn m1_an_insert_of_a_known_breakpoint_meets_an_exec() {
    let (mut world, pid) = with_code::<LinuxRules>(EventFlags::PROCESS);
    world.kernel.map_programs(CODE, &[0x90; 16]);
    let (main, other) = (world.main(pid), world.new_thread(pid));
    let old = world.put(pid, CODE);
    world.kernel.signal_thread(other, Signal::USR1);
    let stop = world.stop_for(StopReason::Signal(Signal::USR1));
    world.kernel.exec(main, "new");
    let id = world.put(pid, CODE);
    assert_ne!(id, old);
    let of_process = world.tracer().breakpoints(pid).unwrap();
    assert_eq!(of_process.map(|(id, _)| id).collect::<Vec<_>>(), [id]);
    drop(stop);
    let stop = world.stop_for(StopReason::Execed { former_tid: None });
    world.go(stop);
    world.kernel.jump(main, CODE);
    let hit = world.hits(id, CODE);
    world.go(hit);
    world.run_all();
}

/// Its maker was killed before it told, and another one that has the memory is being detached: the
/// child has no breakpoints then, and a child of its own, whose memory is a copy, has them.
#[test]
fn m1_a_child_comes_while_another_one_with_its_memory_is_detached() {
    let (mut world, pid) = with_code::<FreeBsdRules>(EventFlags::PROCESS);
    let (main, other) = (world.main(pid), world.new_thread(pid));
    let ids = [world.put(pid, CODE), world.put(pid, CODE + 1)];
    let untold = world.kernel.fork(main, ForkKind::Vfork);
    let child = world.kernel.fork(other, ForkKind::Vfork);
    let (first, second) = (world.main(untold), world.main(child));
    world.kernel.choose(move |reports| {
        let of = |tid| reports.iter().position(|report| report.tid == tid);
        of(other).or(of(second))
    });
    let fork = world.forked();
    assert_eq!(fork.child_pid, child);
    world.kernel.kill(pid);
    world.step(fork);
    world.kernel.choose(move |reports| {
        let of = |tid| reports.iter().position(|report| report.tid == tid);
        of(first).or(of(second))
    });
    let stop = world.stop();
    assert_eq!(stop.pid(), child);
    world.kernel.choose(|_| Some(0));
    world.tracer().detach(stop).unwrap();
    let fork = world.forked();
    assert_eq!((fork.parent_pid, fork.child_pid), (None, untold));
    world.go(fork);
    assert_eq!(world.run_all(), [format!("{pid} killed by SIGKILL")]);
    assert_eq!(world.kernel.memory(untold, CODE, 2), [0x90; 2], "the other one would die of it");
    let copy = world.forks(first, ForkKind::Fork);
    assert_eq!(world.kernel.memory(copy, CODE, 2), [0xcc; 2]);
    world.kernel.jump(world.main(copy), CODE);
    let hit = world.hits(ids[0], CODE);
    world.go(hit);
    world.run_all();
}
