//! lldb as the client.

use std::process::{Command, Stdio};
use std::sync::mpsc::channel;

use crate::program::{Server, compile, needs};
use crate::session::{Guard, end_of, listen};

crate::tests![
    break_step_watch_and_continue,
    threads_of_lldb,
    signals_are_shown_and_passed,
    an_exec_is_one,
    forks_are_followed_both_ways,
    detach_and_kill,
];

/// What lldb writes for these commands.
fn lldb(program: &str, commands: &[&str]) -> String {
    needs(&["lldb"]);
    let program = compile(program);
    let mut command = Server::Ours.command();
    command.args(["--once", "127.0.0.1:0"]).arg(&program);
    let listening = listen(command, channel().0);
    let mut lldb = Command::new("lldb");
    // With `--batch` it would leave the commands after a signal out.
    lldb.args(["--no-lldbinit", "--no-use-colors"]);
    lldb.args(["-o", &format!("target create {}", program.display())]);
    lldb.args(["-o", &format!("gdb-remote {}", listening.at)]);
    for command in commands {
        lldb.args(["-o", command]);
    }
    lldb.args(["-o", "quit"]);
    let folder = program.parent().unwrap();
    let (out, text) = (std::fs::File::create(folder.join("out")).unwrap(), folder.join("out"));
    lldb.stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(out);
    let mut lldb = Guard(lldb.spawn().unwrap());
    end_of(&mut lldb.0);
    listening.finish();
    std::fs::read_to_string(text).unwrap()
}

fn has(text: &str, all: &[&str]) {
    for expected in all {
        assert!(text.contains(expected), "no {expected:?} in:\n{text}");
    }
}

fn break_step_watch_and_continue() {
    let commands = [
        "breakpoint set --name add",
        "continue",
        "thread backtrace",
        "frame variable",
        "thread step-over",
        "thread step-out",
        "watchpoint set variable counter",
        "breakpoint disable 1",
        "continue",
        "watchpoint delete 1",
        "image list --basename",
        "memory region $pc",
        "continue",
    ];
    let text = lldb("basic", &commands);
    let expected = [
        "stop reason = breakpoint 1.1",
        "(int) a = 0",
        "stop reason = step over",
        "stop reason = step out",
        "stop reason = watchpoint 1",
        "libc.so",
        " r-x ",
        "exited with status = 9",
    ];
    has(&text, &expected);
}

fn threads_of_lldb() {
    let commands =
        ["breakpoint set --name work", "continue", "thread list", "thread select 1", "continue"];
    has(&lldb("threads", &commands), &["stop reason = breakpoint 1.1", "thread #2", "thread #1"]);
}

fn signals_are_shown_and_passed() {
    let text =
        lldb("signals", &["continue", "continue", "process handle SIGUSR1 -p 0", "continue"]);
    assert_eq!(text.matches("stop reason = signal SIGUSR1").count(), 2, "{text}");
    has(&text, &["exited with status = 1"]);
}

fn an_exec_is_one() {
    let commands = [
        "breakpoint set --name main",
        "continue",
        "continue",
        "continue",
        "frame variable argc",
        "continue",
    ];
    let text = lldb("execs", &commands);
    assert_eq!(text.matches("stop reason = breakpoint 1.1").count(), 2, "{text}");
    has(&text, &["stop reason = exec", "(int) argc = 2", "exited with status = 5"]);
}

fn forks_are_followed_both_ways() {
    let breakpoint = "breakpoint set --name called";
    let text = lldb("forks", &[breakpoint, "continue", "thread backtrace", "continue"]);
    assert_eq!(text.matches("stop reason = breakpoint 1.1").count(), 2, "shown twice: {text}");
    has(&text, &["exited with status = 2"]);

    let follow = "settings set target.process.follow-fork-mode child";
    let text = lldb("forks", &[follow, breakpoint, "continue", "continue"]);
    has(&text, &["stop reason = breakpoint 1.1", "exited with status = 5"]);
}

fn detach_and_kill() {
    let breakpoint = "breakpoint set --name between";
    let at = ["continue", "continue"];
    let text = lldb("signals", &[breakpoint, at[0], at[1], "process detach"]);
    has(&text, &["stop reason = breakpoint 1.1", "detached"]);
    let text = lldb("signals", &[breakpoint, at[0], at[1], "process kill", "process status"]);
    has(&text, &["stop reason = breakpoint 1.1", "exited with status = 9"]);
}
