//! Runs each test in a process of its own.

use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};

type Tests = &'static [(&'static str, fn())];

/// The tests of a file, by name. One that is left out is dead code, which does not compile.
#[macro_export]
macro_rules! tests {
    ($($(#[$meta:meta])* $name:ident),* $(,)?) => {
        pub const TESTS: &[(&str, fn())] = &[$($(#[$meta])* (stringify!($name), $name),)*];
    };
}

/// Names the test that this process is to run.
pub const TEST: &str = "TRAPLINE_TEST";
/// How long a test may take, in seconds, unless `TRAPLINE_LIMIT` says otherwise.
pub const LIMIT: u64 = 120;
/// The exit status of a test that cannot run here.
const SKIPPED: i32 = 77;

pub fn main(all: &[(&'static str, Tests)]) {
    let named = |module: &str, test: &str| format!("{module}::{test}");
    if let Ok(name) = std::env::var(TEST) {
        let test = all
            .iter()
            .flat_map(|(module, tests)| tests.iter().map(move |(t, f)| (named(module, t), f)))
            .find(|(test, _)| *test == name);
        let (_, test) = test.expect("a test of this name");
        std::process::exit(run_here(*test));
    }
    let trials = all.iter().flat_map(|(module, tests)| {
        tests.iter().map(move |(test, _)| {
            let name = named(module, test);
            Trial::test(name.clone(), move || {
                run_apart(&name).map_err(|failed| at_once(&name, failed))
            })
        })
    });
    let conclusion = libtest_mimic::run(&Arguments::from_args(), trials.collect());
    conclusion.exit();
}

/// The test cannot run here: says why, and ends it. `.ci/run` lists the skips that it allows.
pub fn skip(why: &str) -> ! {
    println!("SKIPPED: {why}");
    let _ = std::io::stdout().flush();
    std::process::exit(SKIPPED);
}

/// Runs a test in this process, and sees that it leaves none behind.
fn run_here(test: fn()) -> i32 {
    become_reaper();
    // A panic has printed its message by itself.
    if std::panic::catch_unwind(test).is_err() {
        return 1;
    }
    // Orphans that ended before their parent could wait for them are the reaper's to bury; a
    // living or stopped process must not be there.
    loop {
        let mut status = 0;
        // SAFETY: waits for any child, which at this point nobody else does; `status` lives.
        match unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG | ALL) } {
            -1 => return 0,
            pid if pid > 0 && (libc::WIFEXITED(status) || libc::WIFSIGNALED(status)) => {}
            pid => {
                eprintln!("the test leaves a process behind ({pid}, status {status:#x})");
                return 1;
            }
        }
    }
}

#[cfg(target_os = "linux")]
const ALL: i32 = libc::__WALL;
#[cfg(not(target_os = "linux"))]
const ALL: i32 = 0;

/// Orphans of this process's descendants become its children, so that none gets lost.
pub fn become_reaper() {
    #[cfg(target_os = "linux")]
    // SAFETY: sets an attribute of this process; no pointers.
    let result = unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
    #[cfg(target_os = "freebsd")]
    // SAFETY: sets an attribute of this process; this command takes no data.
    let result =
        unsafe { libc::procctl(libc::P_PID, 0, libc::PROC_REAP_ACQUIRE, std::ptr::null_mut()) };
    assert_eq!(result, 0, "becoming a reaper");
}

/// Whether a child has ended, which is still to be waited for.
pub fn has_ended(pid: i32) -> bool {
    // SAFETY: zeros are a valid `siginfo_t`, and the call writes one.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        libc::waitid(libc::P_PID, pid as libc::id_t, &mut info, options) == 0 && info.si_signo != 0
    }
}

/// How long a test may take.
pub fn limit() -> Duration {
    let limit = std::env::var("TRAPLINE_LIMIT").ok().and_then(|limit| limit.parse().ok());
    Duration::from_secs(limit.unwrap_or(LIMIT))
}

/// Why a test has failed is printed when all are done. With this in the environment it is printed at once
/// as well: for a machine that may not last until then.
const AT_ONCE: &str = "TRAPLINE_FAILURES_AT_ONCE";

fn at_once(name: &str, failed: Failed) -> Failed {
    if std::env::var_os(AT_ONCE).is_some() {
        println!("{name} has failed: {}", failed.message().unwrap_or_default());
    }
    failed
}

/// Runs a test in a new process, under the time limit.
fn run_apart(name: &str) -> Result<(), Failed> {
    let mut child = Command::new(std::env::current_exe()?)
        .env(TEST, name)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()?;
    let group = child.id() as i32;
    let mut readers = Vec::new();
    let mut pipes: Vec<Box<dyn Read + Send>> = Vec::new();
    pipes.extend(child.stdout.take().map(|p| Box::new(p) as Box<dyn Read + Send>));
    pipes.extend(child.stderr.take().map(|p| Box::new(p) as Box<dyn Read + Send>));
    for mut pipe in pipes {
        readers.push(std::thread::spawn(move || {
            let mut text = Vec::new();
            let _ = pipe.read_to_end(&mut text);
            text
        }));
    }
    let limit = limit();
    let until = Instant::now() + limit;
    while !has_ended(group) && Instant::now() <= until {
        std::thread::sleep(Duration::from_millis(5));
    }
    let late = (!has_ended(group)).then(|| threads_of(group));
    // What a failed test has left in its group holds the pipes open. The number is the group's
    // until its first process is waited for, and may be another test's then.
    // SAFETY: sends a signal to the group that this function made.
    unsafe { libc::kill(-group, libc::SIGKILL) };
    let status = child.wait()?;
    let mut output = String::new();
    for reader in readers {
        output += &String::from_utf8_lossy(&reader.join().unwrap_or_default());
    }
    if let Some(threads) = late {
        let limit = limit.as_secs();
        return Err(format!("not done after {limit} s:\n{output}\n{threads}").into());
    }
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(()),
        (Some(SKIPPED), _) => {
            // In one line, whatever the test said before, so that `.ci/run` finds it.
            let why = output.lines().find(|line| line.starts_with("SKIPPED: "));
            println!("{name}: {}", why.unwrap_or("SKIPPED: without a reason"));
            Ok(())
        }
        (Some(_), _) => Err(output.into()),
        (None, signal) => Err(format!("killed by signal {signal:?}:\n{output}").into()),
    }
}

/// What each thread of a group is at, for messages; nothing where there is no `ps`.
fn threads_of(group: i32) -> String {
    let columns = if cfg!(target_os = "freebsd") {
        ["-axH", "-o", "pgid,pid,ppid,lwp,stat,mwchan,tracer,time,command"]
    } else {
        ["-eL", "-o", "pgid,pid,ppid,lwp,stat,wchan:24,time,args"]
    };
    let Ok(output) = Command::new("ps").args(columns).output() else { return String::new() };
    let text = String::from_utf8_lossy(&output.stdout);
    let ours = |line: &&str| line.split_whitespace().next() == Some(&group.to_string());
    text.lines().take(1).chain(text.lines().filter(ours)).map(|line| format!("{line}\n")).collect()
}
