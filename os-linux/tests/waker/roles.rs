//! Hosts of a tracer, as programs of their own.

use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use trapline_core::ExitStatus;
use trapline_core::backend::{Backend, Patience, RawKind, Waited, Wake};
use trapline_os_linux::Linux;

use crate::common::*;
use crate::{helper, helpers_of};

/// Holds a lock, and makes a wake helper.
fn locks() -> (fs::File, Linux, Arc<dyn Wake>) {
    use std::os::fd::AsRawFd;
    let lock = fs::File::open(std::env::var("TRAPLINE_LOCK").unwrap()).unwrap();
    // SAFETY: takes numbers.
    assert_eq!(unsafe { libc::flock(lock.as_raw_fd(), libc::LOCK_EX) }, 0);
    let mut linux = Linux::open().unwrap();
    let waker = linux.waker().unwrap();
    (lock, linux, waker)
}

/// As on Linux before 5.9.
fn without_close_range() {
    let step = |code: u32, jf, k| libc::sock_filter { code: code as u16, jt: 0, jf, k };
    let mut filter = [
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, libc::SYS_close_range as u32),
        step(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32),
        step(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: takes numbers; then reads the program and its instructions, which live.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let mode = libc::SECCOMP_SET_MODE_FILTER;
        assert_eq!(libc::syscall(libc::SYS_seccomp, mode, 0, &raw const program), 0);
    }
}

/// Plays a role, and ends the program; returns if there is no such role.
pub(crate) fn play(what: &str) {
    let traced_with_waker = || {
        let mut linux = Linux::open().unwrap();
        let waker = linux.waker().unwrap();
        println!("helper {}", helper());
        (linux, waker)
    };
    match what {
        "exit" => {
            let _keep = traced_with_waker();
        }
        "exit of the thread" => {
            // The back end is leaked, so it is the thread's end that counts.
            let thread = thread::spawn(move || {
                std::mem::forget(traced_with_waker());
                helper()
            });
            let helper = thread.join().unwrap();
            until(|| matches!(state(helper.as_raw()), None | Some(b'Z')));
        }
        "exec" => {
            let _keep = traced_with_waker();
            use std::os::unix::process::CommandExt;
            // Another thread execs: the tracer's is killed.
            thread::spawn(|| sh("exit 42").exec()).join().unwrap();
        }
        "exec of the tracer" => {
            let _keep = traced_with_waker();
            use std::os::unix::process::CommandExt;
            // What is left of the host looks whether the wake helper, its tracee still, is no more.
            let script = format!(
                "for i in $(seq 100); do grep -qs 'State:.[^Z]' /proc/{}/status || exit 42
                 sleep 0.1; done; exit 1",
                helper()
            );
            panic!("{}", sh(&script).exec());
        }
        "locks" | "locks without close_range" => {
            if what != "locks" {
                without_close_range();
            }
            let _keep = locks();
            println!("ready");
            thread::sleep(Duration::from_secs(60));
        }
        "locks and execs" => {
            let _keep = locks();
            use std::os::unix::process::CommandExt;
            panic!("{}", sh("echo ready; exec sleep 60").exec());
        }
        "panic" => {
            let panic = thread::spawn(move || {
                let _keep = traced_with_waker();
                std::panic::resume_unwind(Box::new(()));
            });
            panic.join().unwrap_err();
            assert_eq!(helpers_of(std::process::id()), []);
        }
        "fork" => {
            let (mut linux, waker) = traced_with_waker();
            let helper = helper();
            // SAFETY: the child makes system calls, and drops what it has a copy of.
            let child = unsafe { libc::fork() };
            if child == 0 {
                drop(linux);
                // SAFETY: ends the child.
                unsafe { libc::_exit(7) };
            }
            let mut status = 0;
            // SAFETY: writes one int.
            assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
            assert_eq!(libc::WEXITSTATUS(status), 7);
            assert_eq!(state(helper.as_raw()), Some(b'S'));
            waker.wake();
            assert_eq!(linux.wait(Patience::Block).unwrap(), Waited::Woken);
            // And the host's children have the host's files alone.
            let output = Command::new("true").output().unwrap();
            assert!(output.status.success());
            let spawned = start(&mut linux, Command::new("true"), KILL);
            go(&mut linux, thread_of(spawned.pid));
            assert_eq!(next(&mut linux).kind, RawKind::Ended(ExitStatus::Code(0)));
        }
        _ => return,
    }
    std::process::exit(42);
}
