//! Clauses D3 and F3: who inherits hardware breakpoints, and what is left of them: nothing.

use std::process::Command;

use trapline::HardwareKind::Write;
use trapline::{
    Event, EventFlags, ExitStatus, FollowFork, ForkSide, Inherit, InheritDebug, Resume,
};

use crate::common::*;
use crate::fixtures::fixture;

crate::tests![
    d3_fork,
    d3_vfork,
    d3_threads_share_whatever_the_policy,
    d3_exec,
    d3_exec_forgets_the_ids,
    d3_the_child_of_a_thread,
    f3_a_child_that_is_let_go_has_no_traps,
    f3_a_half_that_is_detached_has_no_traps,
    f3_detached_in_the_middle_of_hits,
    f3_removed_in_the_middle_of_hits,
    f3_killed_at_a_hit,
];

const CLEAR: InheritDebug =
    InheritDebug { fork: Inherit::Clear, vfork: Inherit::Clear, exec: Inherit::Clear };
const COPY: InheritDebug =
    InheritDebug { fork: Inherit::Copy, vfork: Inherit::Copy, exec: Inherit::Copy };

/// The hits of the first process and of the others, with this policy.
fn hits_of(words: &str, inherit: InheritDebug, flags: EventFlags) -> (usize, usize) {
    let (mut program, stop) =
        Watched::built(words, |builder| builder.events(flags).inherit_debug(inherit));
    let id = program.watch(0, 8, Write);
    program.go(stop);
    let hits = program.hits();
    assert!(hits.iter().all(|(_, causes)| causes.hardware.contains(id)));
    let own = hits.iter().filter(|(pid, _)| *pid == program.pid).count();
    (own, hits.len() - own)
}

/// A fixture whose images are at the same addresses.
fn not_randomised(words: &[&str]) -> Command {
    let mut command = fixture("watched", words);
    // SAFETY: one system call, which is async-signal-safe.
    unsafe {
        std::os::unix::process::CommandExt::pre_exec(&mut command, || {
            no_randomisation();
            Ok(())
        });
    }
    command
}

#[cfg(target_os = "linux")]
fn no_randomisation() {
    // SAFETY: sets an attribute of this process; no pointers.
    unsafe { libc::personality(libc::ADDR_NO_RANDOMIZE as libc::c_ulong) };
}

#[cfg(target_os = "freebsd")]
fn no_randomisation() {
    const PROC_ASLR_CTL: libc::c_int = 13;
    let mut disable: libc::c_int = 2; // PROC_ASLR_FORCE_DISABLE
    // SAFETY: sets an attribute of this process; the command reads an int.
    unsafe { libc::procctl(libc::P_PID, 0, PROC_ASLR_CTL, (&raw mut disable).cast()) };
}

fn d3_fork() {
    let words = "write:8@0 fork write:8@0 write:8@0 fork write:8@0 } } write:8@0";
    for flags in [EventFlags::PROCESS, EventFlags::empty()] {
        assert_eq!(hits_of(words, CLEAR, flags), (2, 0));
        assert_eq!(hits_of(words, COPY, flags), (2, 3));
        let vfork_only = InheritDebug { vfork: Inherit::Copy, ..CLEAR };
        assert_eq!(hits_of(words, vfork_only, flags), (2, 0));
    }
}

fn d3_vfork() {
    let words = "write:8@0 vfork write:8@0 write:8@0 } write:8@0";
    for flags in [EventFlags::PROCESS, EventFlags::empty()] {
        assert_eq!(hits_of(words, CLEAR, flags), (2, 0));
        assert_eq!(hits_of(words, COPY, flags), (2, 2));
        let fork_only = InheritDebug { fork: Inherit::Copy, ..CLEAR };
        assert_eq!(hits_of(words, fork_only, flags), (2, 0));
    }
}

fn d3_threads_share_whatever_the_policy() {
    let words = "write:8@0 thread write:8@0 fork write:8@0 } } write:8@0";
    assert_eq!(hits_of(words, CLEAR, EventFlags::PROCESS), (3, 0));
    assert_eq!(hits_of(words, COPY, EventFlags::empty()), (3, 1));
}

fn d3_exec() {
    for (inherit, after) in [(CLEAR, 0), (COPY, 2)] {
        for flags in [EventFlags::PROCESS, EventFlags::empty()] {
            let command = not_randomised(&["write:8@0", "exec", "write:8@0", "write:8@0"]);
            let (mut program, stop) =
                Watched::of(command, |b| b.events(flags).inherit_debug(inherit));
            let id = program.watch(0, 8, Write);
            let data = program.data;
            program.go(stop);
            let hits = program.hits();
            let mut output = program.output.take().unwrap();
            assert_eq!(watched::places(&mut output)[0], data, "the same addresses");
            assert_eq!(Watched::count(&hits, id), 1 + after);
        }
    }
}

fn d3_exec_forgets_the_ids() {
    let command = not_randomised(&["exec", "write:8@0"]);
    let (mut program, stop) = Watched::of(command, |b| b.events(EventFlags::PROCESS));
    let id = program.watch(0, 8, Write);
    program.go(stop);
    let stop = next_stop(&mut program.tracer);
    assert_eq!(program.tracer.breakpoints(program.pid).unwrap().count(), 0);
    assert!(!program.tracer.remove_breakpoint(program.pid, id).unwrap());
    let id = program.watch(0, 8, Write);
    program.go(stop);
    let hits = program.hits();
    assert_eq!(Watched::count(&hits, id), 1);
}

fn d3_the_child_of_a_thread() {
    let words = "thread fork write:8@0 } write:8@0 }";
    assert_eq!(hits_of(words, CLEAR, EventFlags::PROCESS), (1, 0));
    assert_eq!(hits_of(words, COPY, EventFlags::PROCESS), (1, 1));
}

fn f3_a_child_that_is_let_go_has_no_traps() {
    for inherit in [CLEAR, COPY] {
        for flags in [EventFlags::PROCESS, EventFlags::empty()] {
            let words = "repeat:5 fork repeat:20 write:8@0 } } vfork write:8@0 } } write:8@0";
            let (mut program, stop) = Watched::built(words, |builder| {
                let builder = builder.events(flags).inherit_debug(inherit);
                builder.follow_fork(FollowFork::Parent)
            });
            let id = program.watch(0, 8, Write);
            program.go(stop);
            // The fixture looks at how its children end.
            let hits = program.hits();
            assert_eq!((Watched::count(&hits, id), hits.len()), (1, 1));
        }
    }
}

fn f3_a_half_that_is_detached_has_no_traps() {
    let words = "write:8@0 fork write:8@0 } write:8@0";
    let (mut program, stop) = Watched::built(words, |b| b.inherit_debug(COPY));
    program.watch(0, 8, Write);
    program.go(stop);
    let (stop, _) = program.trap();
    program.go(stop);
    match program.tracer.wait().unwrap() {
        Some(Event::Forked(fork)) => {
            let (ForkSide::Stopped(parent), ForkSide::Stopped(child)) = (fork.parent, fork.child)
            else {
                panic!("two halves")
            };
            program.tracer.detach(child).unwrap();
            program.go(parent);
        }
        other => panic!("{other:?}"),
    }
    let hits = program.hits();
    assert_eq!(hits.len(), 1, "the parent's, after the child ended well");
}

fn f3_detached_in_the_middle_of_hits() {
    // Threads write all the time; whatever is on its way when they are detached must not show.
    for round in 0..10 {
        let (mut program, stop) =
            Watched::new("threads:6 repeat:2000 write:8@0 } } write:8@0 exit:7");
        program.watch(0, 8, Write);
        program.go(stop);
        for _ in 0..round * 7 {
            let (stop, _) = program.trap();
            program.go(stop);
        }
        if round % 2 == 0 {
            let (stop, _) = program.trap();
            program.tracer.detach(stop).unwrap();
        } else {
            program.tracer.detach_process(program.pid).unwrap();
        }
        assert!(program.tracer.is_empty());
        let mut child = program.tracer.take_child(program.pid).expect("ours");
        let status = child.wait().unwrap();
        assert_eq!(status.code(), Some(7), "{status}");
    }
}

fn f3_removed_in_the_middle_of_hits() {
    for round in 0..10 {
        let (mut program, stop) =
            Watched::new("threads:6 repeat:300 write:8@0 write:8@8 } } write:8@0");
        let id = program.watch(0, 8, Write);
        let pid = program.pid;
        program.go(stop);
        for _ in 0..round * 5 {
            let (stop, _) = program.trap();
            program.go(stop);
        }
        let (stop, _) = program.trap();
        assert!(program.tracer.remove_breakpoint(pid, id).unwrap());
        // Its register is another one's now.
        let others: Vec<_> = (2..6).map(|i| program.watch(8 * i, 8, Write)).collect();
        program.go(stop);
        let hits = program.hits();
        for other in others {
            assert_eq!(Watched::count(&hits, other), 0);
        }
        assert!(hits.len() <= 6, "those that were waiting to be shown: {}", hits.len());
    }
}

fn f3_killed_at_a_hit() {
    let (mut program, stop) = Watched::new("write:8@0");
    program.watch(0, 8, Write);
    program.go(stop);
    let (stop, _) = program.trap();
    program.tracer.kill(program.pid).unwrap();
    program.tracer.resume(stop, Resume::Continue).unwrap();
    assert!(matches!(next_exit(&mut program.tracer).1, ExitStatus::Killed { .. }));
    assert!(program.tracer.wait().unwrap().is_none());
}
