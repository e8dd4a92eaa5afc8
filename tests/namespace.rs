//! Linux: processes in a pid namespace of their own, with the pids that the tracer sees.

use std::process::{Command, Stdio};

use trapline::{Event, EventFlags, ForkSide};

use crate::common::*;
use crate::fixtures::fixture;

crate::tests![f4_a_parent_in_another_namespace_is_none, e2_a_program_in_a_pid_namespace,];

fn f4_a_parent_in_another_namespace_is_none() {
    if !cfg!(target_os = "linux") {
        skip("only Linux has pid namespaces");
    }
    let tracer = fixture("confined", &["nothing", "parent-elsewhere"]);
    let mut unshare = Command::new("unshare");
    unshare.args(["--pid", "--fork", "--mount-proc", "--kill-child"]);
    let tried = unshare.arg("true").stderr(Stdio::null()).status();
    if !tried.is_ok_and(|status| status.success()) {
        skip("a pid namespace cannot be made here");
    }
    let mut unshare = Command::new("unshare");
    unshare.args(["--pid", "--fork", "--mount-proc", "--kill-child"]);
    unshare.arg(tracer.get_program()).args(tracer.get_args());
    unshare.envs(tracer.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut unshare = unshare.spawn().unwrap();
    // The tracer is the first process there; into its namespace comes a child of ours.
    let children = format!("/proc/{0}/task/{0}/children", unshare.id());
    let mut first = String::new();
    until(|| {
        let children = std::fs::read_to_string(&children).unwrap_or_default();
        first = children.split_whitespace().next().unwrap_or_default().to_owned();
        !first.is_empty()
    });
    let mut enter = Command::new("nsenter");
    enter.args(["--target", &first, "--pid", "--mount", "sleep", "60"]);
    let enter = enter.stdout(Stdio::null()).spawn();
    let Ok(mut enter) = enter else {
        let _ = unshare.kill();
        let _ = unshare.wait();
        skip("there is no nsenter here");
    };
    let status = unshare.wait().unwrap();
    // What was there is killed with its first process.
    enter.wait().unwrap();
    assert!(status.success(), "{status}");
}

fn e2_a_program_in_a_pid_namespace() {
    if !cfg!(target_os = "linux") {
        skip("only Linux has pid namespaces");
    }
    let script = "for i in 1 2 3; do /bin/true; done; (exit 4); exit 6";
    let unshare = |script: &str| {
        let mut command = std::process::Command::new("unshare");
        command.args(["--pid", "--fork", "sh", "-c", script]);
        command
    };
    match unshare(":").stderr(std::process::Stdio::null()).status() {
        Ok(status) if status.success() => {}
        _ => skip("a pid namespace cannot be made here"),
    }
    let mut tracer = tracer(EventFlags::PROCESS);
    tracer.spawn(unshare(script)).unwrap();
    let log = run_with(&mut tracer, |tracer, event| {
        if let Event::Forked(fork) = &event {
            // Both halves, and the ids are those that this process can name.
            let (ForkSide::Stopped(_), ForkSide::Stopped(child)) = (&fork.parent, &fork.child)
            else {
                panic!("{fork:?}");
            };
            let info = tracer.process_info(child.pid()).unwrap();
            assert_eq!(info.real_parent, fork.parent_pid);
        }
        Some(event)
    });
    let map = log.by_process();
    let ours = |p: &str| -> Vec<_> {
        map[p].iter().filter(|e| !e.starts_with("signal")).copied().collect()
    };
    assert_eq!(*ours("P1").last().unwrap(), "exit 6 of us");
    assert_eq!(*ours("P2").last().unwrap(), "exit 6 of P1");
    assert_eq!(log.count("exit 4 of P2"), 1);
    assert_eq!(log.count("exec"), 5);
    assert_eq!(log.count("exit"), 6);
}
