//! Linux: tracers that are not allowed much (in containers, under filters of system calls, as an
//! ordinary user), and programs that give up what they are allowed. `docs/limits.md` says what works
//! where.

use std::process::{Command, Output, Stdio};

use crate::common::*;
use crate::fixtures::fixture;

crate::tests![
    m2_whatever_calls_a_filter_refuses,
    m2_a_filter_that_refuses_to_trace_says_so,
    m2_by_words_where_nothing_else_is_left,
    w1_a_waker_where_new_calls_are_refused,
    m1_a_program_that_makes_itself_undumpable,
    m1_a_program_that_drops_its_privileges,
    f3_what_would_die_of_a_breakpoint_is_not_let_go,
    m2_a_stranger_of_the_same_number_is_not_touched,
    f4_attached_to_without_a_list_of_threads,
    e7_a_call_is_changed_where_there_is_no_request_for_it,
];

fn linux_only() {
    if !cfg!(target_os = "linux") {
        skip("this is about Linux");
    }
}

fn is_root() -> bool {
    // SAFETY: takes nothing, cannot fail.
    unsafe { libc::geteuid() == 0 }
}

fn root_only() {
    linux_only();
    if !is_root() {
        skip("root alone can give up privileges");
    }
}

/// A tracer that gives something up first.
fn confined(args: &[&str]) -> Command {
    fixture("confined", args)
}

#[track_caller]
fn passes(mut command: Command) -> String {
    let Output { status, stdout, stderr } = command.output().expect("a tracer");
    let [stdout, stderr] = [stdout, stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(status.success(), "{command:?}: {status}\n{stdout}\n{stderr}");
    stdout
}

/// Whether an ordinary user can run this very binary.
fn is_open_to_all() -> bool {
    let mut command = confined(&["root", "waits"]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn m2_whatever_calls_a_filter_refuses() {
    linux_only();
    for errno in [libc::EPERM, libc::ENOSYS, libc::EACCES] {
        for calls in ["copies", "new", "copies,new"] {
            let deny = format!("deny:{errno}:{calls}");
            passes(confined(&[&deny, "memory"]));
            let told = passes(confined(&[&deny, "hits", "nothing"]));
            assert!(told.ends_with("4 hits, 2 ends\n"), "{told}");
        }
    }
}

fn m2_a_filter_that_refuses_to_trace_says_so() {
    linux_only();
    for errno in [libc::EPERM, libc::ENOSYS, libc::EACCES] {
        passes(confined(&[&format!("deny:{errno}:ptrace"), "refused"]));
    }
}

// By words alone: the file can be opened neither to write nor to read.
fn m2_by_words_where_nothing_else_is_left() {
    linux_only();
    let Some(mut command) = in_a_namespace(&confined(&["deny:1:copies", "memory"])) else {
        skip("a pid namespace cannot be made here");
    };
    command.stdin(Stdio::null());
    passes(command);
}

fn w1_a_waker_where_new_calls_are_refused() {
    linux_only();
    passes(confined(&[&format!("deny:{}:new", libc::ENOSYS), "waits"]));
    passes(confined(&[&format!("deny:{}:new", libc::EPERM), "waits"]));
}

fn m1_a_program_that_makes_itself_undumpable() {
    linux_only();
    let mut tracers = vec!["nothing"];
    if is_root() {
        tracers.push("ptrace");
    }
    if is_root() && is_open_to_all() {
        tracers.push("root");
    }
    for gives_up in tracers {
        let told = passes(confined(&[gives_up, "hits", "dumpable"]));
        assert!(told.ends_with("4 hits, 2 ends\n"), "{gives_up}: {told}");
        // Its child is detached at its first stop, with nothing of ours in it.
        let told = passes(confined(&[gives_up, "hits-of-parent", "dumpable"]));
        assert!(told.ends_with("3 hits, 1 ends\n"), "{gives_up}: {told}");
        passes(confined(&[gives_up, "let-go", "dumpable"]));
    }
}

fn m1_a_program_that_drops_its_privileges() {
    root_only();
    for gives_up in ["nothing", "ptrace"] {
        let told = passes(confined(&[gives_up, "hits", "root"]));
        assert!(told.ends_with("4 hits, 2 ends\n"), "{gives_up}: {told}");
        let told = passes(confined(&[gives_up, "hits-of-parent", "root"]));
        assert!(told.ends_with("3 hits, 1 ends\n"), "{gives_up}: {told}");
        passes(confined(&[gives_up, "let-go", "root"]));
    }
}

fn f3_what_would_die_of_a_breakpoint_is_not_let_go() {
    linux_only();
    let Some(command) = in_a_namespace(&confined(&["ptrace", "stays"])) else {
        skip("a pid namespace cannot be made here");
    };
    passes(command);
}

fn m2_a_stranger_of_the_same_number_is_not_touched() {
    linux_only();
    let mut stranger = fixture("sleep", &[]).stdout(Stdio::null()).spawn().expect("a stranger");
    let number = stranger.id().to_string();
    let tracer = in_a_namespace(&confined(&["nothing", "same-number", &number]));
    let result = tracer.filter(|_| is_root()).map(|mut tracer| tracer.output());
    let lives = stranger.try_wait().expect("wait").is_none();
    stranger.kill().expect("kill");
    stranger.wait().expect("wait");
    let Some(output) = result else {
        skip("numbers of processes cannot be chosen here");
    };
    let output = output.expect("a tracer");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && lives, "{told}");
}

fn f4_attached_to_without_a_list_of_threads() {
    linux_only();
    let Some(command) = in_a_namespace(&confined(&["nothing", "attach", "4"])) else {
        skip("a pid namespace cannot be made here");
    };
    passes(command);
}

/// The same in a pid namespace of its own, with the `/proc` of this one; `None` if there can be none.
fn in_a_namespace(command: &Command) -> Option<Command> {
    let unshare = || {
        let mut unshare = Command::new("unshare");
        if !is_root() {
            unshare.args(["--user", "--map-root-user"]);
        }
        unshare.args(["--pid", "--fork"]);
        unshare
    };
    let tried = unshare().arg("true").stderr(Stdio::null()).status();
    if !tried.is_ok_and(|status| status.success()) {
        return None;
    }
    let mut unshare = unshare();
    unshare.arg(command.get_program()).args(command.get_args());
    unshare.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Some(unshare)
}

// As on kernels before Linux 6.16: by the registers.
fn e7_a_call_is_changed_where_there_is_no_request_for_it() {
    linux_only();
    passes(confined(&[&format!("deny:{}:set-syscall-info", libc::EIO), "changes"]));
}
