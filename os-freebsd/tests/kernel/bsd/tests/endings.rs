//! F5: what becomes of the tracees of a tracer that is killed, by `kern.kill_on_debugger_exit`.

use std::os::unix::process::ExitStatusExt;

use trapline_core::Pid;

use crate::bsd::driver::*;

const NAME: &std::ffi::CStr = c"kern.kill_on_debugger_exit";

/// Kills a tracer; gives how a process that it attached to and ran ended, one that it attached to
/// and kept stopped, and one that it spawned; those that live on are ended by other means.
fn killed_tracer(kills: bool) {
    let _set = match Set::to(NAME, i32::from(kills)) {
        Ok(set) => set,
        Err(libc::EPERM) => skip("only root can set kern.kill_on_debugger_exit"),
        Err(libc::ENOENT) if kills => skip("this kernel always kills"),
        Err(errno) => panic!("{errno}"),
    };
    become_reaper();
    let (running, _) = Talk::new(&["sleep"]);
    let (stopped, _) = Talk::new(&["sleep"]);
    let pids = [running.pid, stopped.pid].map(|pid| pid.to_string());
    let (mut tracer, line) = Talk::new(&["tracer", &pids[0], &pids[1]]);
    let spawned = Pid::from_raw(line.parse().unwrap());
    tracer.child.kill().unwrap();
    assert_eq!(tracer.child.wait().unwrap().signal(), Some(libc::SIGKILL));
    if kills {
        for mut talk in [running, stopped] {
            assert_eq!(talk.child.wait().unwrap().signal(), Some(libc::SIGKILL));
        }
        assert_eq!(libc::WTERMSIG(reap(spawned)), libc::SIGKILL);
    } else {
        // They run, and end as they would have.
        for talk in [running, stopped] {
            assert_eq!(talk.finish().1, Some(8));
        }
        assert!(kill(spawned.as_raw(), libc::SIGTERM));
        assert_eq!(libc::WTERMSIG(reap(spawned)), libc::SIGTERM);
    }
}

pub(super) fn killed_tracer_kills() {
    killed_tracer(true);
}

pub(super) fn killed_tracer_lets_live() {
    killed_tracer(false);
}
