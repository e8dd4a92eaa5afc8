//! Processes that come and go: forks, execs, attaching, and servers that stay.

use std::process::{Command, Stdio};
use std::sync::mpsc::channel;

use crate::program::{Server, compile, needs_gdb};
use crate::session::{Guard, Session, end_of, listen};

crate::tests![
    attach_look_and_detach,
    attach_and_kill,
    attach_break_and_continue,
    children_do_not_feel_the_breakpoints_of_their_parent,
    the_child_is_followed,
    both_sides_of_a_fork_are_kept,
    forks_are_caught,
    vforks_are_caught,
    system_calls_are_caught,
    an_exec_forgets_the_breakpoints,
    execs_are_caught,
    a_server_that_stays_runs_one_program_after_the_other,
    the_environment_and_the_arguments_of_a_program_that_gdb_runs,
];

/// A session with both servers attached to a process of ours that sleeps; the transcripts.
fn attached(commands: &[&str]) -> Vec<String> {
    let program = compile("sleeper");
    [Server::Gdbs, Server::Ours]
        .into_iter()
        .map(|server| {
            let mut sleeper = Command::new(&program);
            let mut sleeper = Guard(sleeper.stdout(Stdio::piped()).spawn().unwrap());
            // Once it has written, it sleeps: the attach finds both servers' at the same place.
            std::thread::sleep(std::time::Duration::from_millis(200));
            let mut command = server.command();
            command.args(["--once", "--attach", "127.0.0.1:0", &sleeper.0.id().to_string()]);
            let (lines, written) = channel();
            let listening = listen(command, lines);
            let transcript = Session::new(&program, commands).gdb(&listening.at, &written);
            listening.finish();
            let status = end_of(&mut sleeper.0);
            format!("{transcript}{status}\n")
        })
        .collect()
}

fn attach_look_and_detach() {
    let both = attached(&["bt", "set variable go = 2", "detach"]);
    assert_eq!(both[0], both[1]);
    assert!(both[1].contains("main () at") && both[1].contains("exit status: 2"), "{}", both[1]);
}

fn attach_and_kill() {
    let both = attached(&["bt", "kill"]);
    assert_eq!(both[0], both[1]);
    assert!(both[1].contains("signal: 9"), "{}", both[1]);
}

fn attach_break_and_continue() {
    let both = attached(&["break 13", "continue", "set variable go = 4", "delete", "continue"]);
    assert_eq!(both[0], both[1]);
    assert!(both[1].contains("exit status: 4"), "{}", both[1]);
}

fn children_do_not_feel_the_breakpoints_of_their_parent() {
    let program = compile("forks");
    let commands = ["break called", "continue", "bt", "continue"];
    let session = Session::new(&program, &commands);
    let [ours, theirs] = [Server::Ours, Server::Gdbs].map(|server| session.run(server));
    assert!(ours.transcript.contains("Breakpoint 1, called ()"), "{}", ours.transcript);
    assert!(ours.transcript.contains("exited with code 02]"), "{}", ours.transcript);
    assert!(ours == theirs);
}

fn the_child_is_followed() {
    let program = compile("forks");
    let commands = [
        "set follow-fork-mode child",
        "break called",
        "continue",
        "bt",
        "info threads",
        "continue",
    ];
    let transcript = Session::new(&program, &commands).compare();
    for expected in ["[Attaching after", "Breakpoint 1, called ()", "exited with code 05]"] {
        assert!(transcript.contains(expected), "no {expected:?} in:\n{transcript}");
    }
}

fn both_sides_of_a_fork_are_kept() {
    let program = compile("forks");
    let commands = [
        "set detach-on-fork off",
        "set schedule-multiple on",
        "break called",
        "continue",
        "info inferiors",
        "bt",
        "continue",
        "info inferiors",
        "kill inferiors 1",
        "info inferiors",
    ];
    let ours = Session::new(&program, &commands).run(Server::Ours).transcript;
    for expected in ["[New inferior 2", "Breakpoint 1.2, called ()", "exited with code 05]"] {
        assert!(ours.contains(expected), "no {expected:?} in:\n{ours}");
    }
}

fn forks_are_caught() {
    let program = compile("forks");
    let commands = ["catch fork", "continue", "continue"];
    let transcript = Session::new(&program, &commands).compare();
    assert!(transcript.contains("Catchpoint 1 (forked process"), "{transcript}");
}

fn vforks_are_caught() {
    let program = compile("forks");
    let commands = ["catch vfork", "continue", "continue"];
    let transcript = Session::new(&program, &commands).compare();
    assert!(transcript.contains("Catchpoint 1 (vforked process"), "{transcript}");
}

fn system_calls_are_caught() {
    let program = compile("forks");
    let commands = ["catch syscall wait4", "continue", "continue", "delete", "continue"];
    let transcript = Session::new(&program, &commands).compare();
    for expected in ["(call to syscall wait4)", "(returned from syscall wait4)"] {
        assert!(transcript.contains(expected), "no {expected:?} in:\n{transcript}");
    }
}

fn an_exec_forgets_the_breakpoints() {
    let program = compile("execs");
    let commands = ["break main", "continue", "p argc", "continue", "p argc", "delete", "continue"];
    let transcript = Session::new(&program, &commands).compare();
    for expected in ["$1 = 1", "is executing new program", "$2 = 2", "code 05]"] {
        assert!(transcript.contains(expected), "no {expected:?} in:\n{transcript}");
    }
}

fn execs_are_caught() {
    let program = compile("execs");
    let commands = ["catch exec", "continue", "info threads", "continue"];
    let transcript = Session::new(&program, &commands).compare();
    assert!(transcript.contains("Catchpoint 1 (exec'd"), "{transcript}");
}

fn a_server_that_stays_runs_one_program_after_the_other() {
    let program = compile("basic");
    let path = format!("set remote exec-file {}", program.display());
    let commands = [
        path.as_str(),
        "break add",
        "run",
        "bt",
        "delete",
        "continue",
        "info threads",
        "run",
        "info threads",
        "kill",
        "start",
        "next",
        "kill",
    ];
    let session = Session { multi: true, ..Session::new(&program, &commands) };
    let transcript = session.compare();
    assert!(transcript.contains("code 011]"), "{transcript}");
}

fn the_environment_and_the_arguments_of_a_program_that_gdb_runs() {
    needs_gdb();
    let program = std::path::Path::new("/bin/sh");
    let commands = [
        "set remote exec-file /bin/sh",
        "set environment WHO=gdb",
        "set cwd /",
        "set args -c 'pwd; echo $WHO; exit 3'",
        "run",
    ];
    let session = Session { multi: true, ..Session::new(program, &commands) };
    let ours = session.run(Server::Ours);
    assert_eq!(ours.program, "/\ngdb\n");
    assert!(ours.transcript.contains("code 03]"), "{}", ours.transcript);
}
