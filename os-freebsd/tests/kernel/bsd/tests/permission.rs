//! A spawn that the kernel forbids to trace: the error says what to do, and nobody is left behind. A
//! child that was traced already could neither be run nor killed.

use std::os::unix::process::CommandExt;
use std::process::Output;

use trapline_core::backend::{Patience, RawKind};
use trapline_core::{Backend, Error, EventFlags};
use trapline_os_freebsd::FreeBsd;

use crate::bsd::driver::*;

const NOBODY: u32 = 65534;
const UNPRIVILEGED: &std::ffi::CStr = c"security.bsd.unprivileged_proc_debug";

/// What a tracer says that spawns, with privileges or without.
fn spawns(how: &[&str], user: Option<u32>) -> String {
    let mut command = fixture(&[&["spawns"], how].concat());
    if let Some(user) = user {
        command.uid(user).gid(user);
    }
    let Ok(Output { status, stdout, stderr }) = command.output() else {
        skip("another user cannot run this program");
    };
    let [stdout, stderr] = [stdout, stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(status.success(), "{status}: {stdout}{stderr}");
    stdout.trim_end().to_owned()
}

fn set(name: &'static std::ffi::CStr, value: i32) -> Set {
    match Set::to(name, value) {
        Ok(set) => set,
        Err(libc::ENOENT) => skip("this kernel has no such sysctl"),
        Err(libc::EPERM) => skip("only root can set that sysctl"),
        Err(errno) => panic!("{errno}"),
    }
}

pub(super) fn without_unprivileged_debugging() {
    let _set = set(UNPRIVILEGED, 0);
    let advice = spawns(&[], Some(NOBODY));
    assert!(advice.contains("security.bsd.unprivileged_proc_debug"), "{advice}");
    let advice = spawns(&["drop"], None);
    assert!(advice.contains("security.bsd.unprivileged_proc_debug"), "{advice}");
    assert_eq!(spawns(&[], None), "exit status 3", "root may");
}

pub(super) fn without_ptrace() {
    let _set = set(c"security.bsd.allow_ptrace", 0);
    for user in [None, Some(NOBODY)] {
        let advice = spawns(&[], user);
        assert!(advice.contains("security.bsd.allow_ptrace"), "{advice}");
    }
}

/// It may do so for its next programs, too.
pub(super) fn forbidden_by_the_program() {
    let _set = set(UNPRIVILEGED, 1);
    let advice = spawns(&["forbid"], Some(NOBODY));
    assert!(advice.contains("PROC_TRACE_CTL"), "{advice}");
    assert_eq!(spawns(&["forbid"], None), "exit status 3", "root may");
}

/// A child of a process that has changed its user may be traced once it has exec'ed.
pub(super) fn dropped_privileges() {
    let _set = set(UNPRIVILEGED, 1);
    assert_eq!(spawns(&["drop"], None), "exit status 3");
    assert_eq!(spawns(&[], Some(NOBODY)), "exit status 3");
}

/// Taken away while a process is traced: each stop is kept until it is given back.
pub(super) fn taken_away_meanwhile() {
    let mut b = FreeBsd::open().unwrap();
    let mut stop = start(&mut b, &["exit", "7"], EventFlags::SYSCALL);
    for _ in 0..3 {
        go(&mut b, &stop);
        let set = self::set(c"security.bsd.allow_ptrace", 0);
        for _ in 0..2 {
            match b.wait(Patience::Block) {
                Err(Error::Tracee { pid, error }) => {
                    assert_eq!(Some(pid), stop.pid);
                    assert!(matches!(*error, Error::NotPermitted { .. }), "{error:?}");
                }
                other => panic!("{other:?}"),
            }
        }
        drop(set);
        stop = next(&mut b);
    }
    let pid = stop.pid.expect("a pid");
    b.kill(pid, stop.tid).unwrap();
    while !matches!(next(&mut b).kind, RawKind::Ended(_)) {}
}
