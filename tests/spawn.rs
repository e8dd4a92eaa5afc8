//! E9: spawning runs the `Command` as `Command::spawn` would.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use trapline::{Error, EventFlags, ExitStatus, Signal, StopReason, Tid};

use crate::common::*;
use crate::fixtures::fixture;

crate::tests![
    e9_a_program_starts_with_an_exec_stop_and_nothing_before,
    e9_the_first_stop_is_given_whatever_the_flags,
    e9_errors_are_those_of_command,
    e9_environment_directory_and_pipes,
    e9_killed_before_the_exec_is_an_exit_alone,
    e9_a_closure_that_fails_is_the_error,
    e9_several_programs_at_once,
    e9_the_host_keeps_its_signal_mask,
    f4_what_a_program_is_can_be_asked,
    drop_of_a_token_gives_the_stop_again,
];

fn e9_a_program_starts_with_an_exec_stop_and_nothing_before() {
    let flags = EventFlags::all() - EventFlags::SYSCALL - EventFlags::MODULES;
    let log = trace(flags, fixture("exit", &["9"]));
    let events: Vec<_> = log.lines.iter().map(|(_, what)| what.as_str()).collect();
    // EXIT adds a stop on the way out where the system has one.
    let events: Vec<_> = events.into_iter().filter(|e| *e != "thread exiting").collect();
    assert_eq!(events, ["exec", "exit 9 of us"]);
}

fn e9_the_first_stop_is_given_whatever_the_flags() {
    let mut tracer = tracer(EventFlags::empty());
    let stop = spawned(&mut tracer, fixture("exit", &["0"]));
    tracer.resume(stop, Default::default()).unwrap();
    assert_eq!(next_exit(&mut tracer).1, ExitStatus::Code(0));
    assert!(tracer.wait().unwrap().is_none());
}

fn e9_errors_are_those_of_command() {
    let text = std::env::temp_dir().join(format!("trapline-e9-{}", std::process::id()));
    std::fs::write(&text, "no program\n").unwrap();
    for program in ["/no/such/program", "/", "/etc/passwd", text.to_str().unwrap()] {
        let expected = Command::new(program).spawn().unwrap_err();
        let mut tracer = tracer(EventFlags::PROCESS);
        let error = tracer.spawn(Command::new(program)).unwrap_err();
        let Error::Spawn(error) = error else { panic!("{error:?}") };
        assert_eq!(error.raw_os_error(), expected.raw_os_error(), "{program}");
        assert!(tracer.is_empty());
        assert!(tracer.wait().unwrap().is_none());
        // And it goes on to work.
        assert_eq!(run_one(&mut tracer, fixture("exit", &["4"])), ExitStatus::Code(4));
    }
    let mut missing = Command::new("true");
    missing.current_dir("/no/such/directory");
    let error = tracer(EventFlags::PROCESS).spawn(missing).unwrap_err();
    assert!(matches!(error, Error::Spawn(e) if e.kind() == std::io::ErrorKind::NotFound));
    std::fs::remove_file(text).unwrap();
}

fn e9_environment_directory_and_pipes() {
    let mut tracer = tracer(EventFlags::PROCESS);
    let mut command = sh("read line; echo \"$line $WORD $PWD\"; echo oops >&2; exit 3");
    command.env("WORD", "from the environment").current_dir("/");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = tracer.spawn(command).unwrap();
    child.stdin.take().unwrap().write_all(b"hello\n").unwrap();
    let log = run(&mut tracer);
    assert_eq!(log.lines.last().unwrap().1, "exit 3 of us");
    let mut text = String::new();
    child.stdout.unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "hello from the environment /\n");
    text.clear();
    child.stderr.unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "oops\n");
}

fn e9_killed_before_the_exec_is_an_exit_alone() {
    let mut command = fixture("exit", &["0"]);
    // SAFETY: only sends a signal.
    unsafe {
        command.pre_exec(|| {
            libc::kill(libc::getpid(), libc::SIGKILL);
            Ok(())
        });
    }
    let log = trace(EventFlags::PROCESS, command);
    let events: Vec<_> = log.lines.iter().map(|(_, what)| what.as_str()).collect();
    assert_eq!(events, ["killed SIGKILL of us"]);
}

fn e9_a_closure_that_fails_is_the_error() {
    let mut command = fixture("exit", &["0"]);
    // SAFETY: does nothing.
    unsafe {
        command.pre_exec(|| Err(std::io::Error::from_raw_os_error(libc::EXDEV)));
    }
    let mut tracer = tracer(EventFlags::PROCESS);
    let error = tracer.spawn(command).unwrap_err();
    assert!(
        matches!(&error, Error::Spawn(e) if e.raw_os_error() == Some(libc::EXDEV)),
        "{error:?}"
    );
    assert!(tracer.is_empty());
}

fn e9_several_programs_at_once() {
    let mut tracer = tracer(EventFlags::PROCESS);
    for i in 0..10 {
        tracer.spawn(fixture("exit", &[&i.to_string()])).unwrap();
    }
    let log = run(&mut tracer);
    assert_eq!(log.count("exec"), 10);
    for i in 0..10 {
        assert_eq!(log.count(&format!("exit {i} ")), 1);
    }
}

fn e9_the_host_keeps_its_signal_mask() {
    // What is blocked on the thread that spawns is blocked in the program, and nothing else.
    // SAFETY: the sets are initialised before they are used.
    let blocked = unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGUSR2);
        assert_eq!(libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()), 0);
        set
    };
    let mut tracer = tracer(EventFlags::PROCESS);
    // SIGUSR2 stays pending, so the program exits by itself; SIGUSR1 kills it.
    assert_eq!(
        run_one(&mut tracer, sh("kill -USR2 $$; exit 6")),
        plain_status(sh("kill -USR2 $$; exit 6"))
    );
    assert_eq!(run_one(&mut tracer, sh("kill -USR1 $$; exit 6")), killed_by(Signal::USR1));
    // SAFETY: as above.
    unsafe {
        let mut now: libc::sigset_t = std::mem::zeroed();
        libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), &mut now);
        for signal in 1..=31 {
            assert_eq!(
                libc::sigismember(&now, signal),
                libc::sigismember(&blocked, signal),
                "signal {signal}"
            );
        }
    }
}

fn f4_what_a_program_is_can_be_asked() {
    let mut tracer = tracer(EventFlags::PROCESS);
    let stop = spawned(&mut tracer, sh("exit 1"));
    let info = tracer.process_info(stop.pid()).unwrap();
    let arguments: Vec<OsString> = ["sh", "-c", "exit 1"].iter().map(Into::into).collect();
    assert_eq!(info.arguments, Some(arguments));
    let program = std::fs::canonicalize("/bin/sh").unwrap();
    assert_eq!(info.executable.map(|p: PathBuf| std::fs::canonicalize(p).unwrap()), Some(program));
    let threads: Vec<Tid> = vec![stop.tid()];
    assert_eq!(info.threads, threads);
    assert_eq!(info.exit_status, None);
    let pid = stop.pid();
    tracer.resume(stop, Default::default()).unwrap();
    assert_eq!(next_exit(&mut tracer).1, ExitStatus::Code(1));
    assert_eq!(tracer.process_info(pid).unwrap().exit_status, Some(ExitStatus::Code(1)));
    assert!(tracer.wait().unwrap().is_none());
    assert!(matches!(tracer.process_info(pid), Err(Error::Gone { .. })));
}

fn drop_of_a_token_gives_the_stop_again() {
    let mut tracer = tracer(EventFlags::PROCESS);
    let stop = spawned(&mut tracer, fixture("exit", &["0"]));
    drop(stop);
    let stop = next_stop(&mut tracer);
    assert_eq!(stop.reason(), StopReason::Execed { former_tid: None });
    drop(stop);
    let stop = next_stop(&mut tracer);
    tracer.resume(stop, Default::default()).unwrap();
    assert_eq!(next_exit(&mut tracer).1, ExitStatus::Code(0));
}

/// The exit status of a program that is traced to its end.
pub fn run_one(tracer: &mut trapline::Tracer, command: Command) -> ExitStatus {
    let pid = tracer.spawn(command).unwrap().pid;
    let mut status = None;
    run_with(tracer, |_, event| {
        if let trapline::Event::Exited { pid: who, status: how, .. } = &event {
            if *who == pid {
                status = Some(*how);
            }
        }
        Some(event)
    });
    status.expect("its exit")
}

/// The exit status of a program that nobody traces.
fn plain_status(mut command: Command) -> ExitStatus {
    match command.status().unwrap().code() {
        Some(code) => ExitStatus::Code(code),
        None => killed_by(Signal::USR2),
    }
}
