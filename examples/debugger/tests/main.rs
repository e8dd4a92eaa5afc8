//! Whole sessions: commands in, and what is said to them.
//!
//! The debugger runs in a process of its own, under a time limit. It debugs a program in C, where there is
//! a compiler, and this test itself, which has debugging information and is all that a machine needs to
//! have that it was copied to.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};
use trapline::Pid;
use trapline_debugger::{Target, run};

/// How long a session may take.
const LIMIT: Duration = Duration::from_secs(100);
type Test = fn() -> Result<(), Failed>;

/// What this process is to be, if it is not the tests.
const MODE: &str = "TRAPLINE_DEBUGGER_MODE";

fn main() {
    let mut words = std::env::args().skip(1);
    match std::env::var(MODE).as_deref() {
        Ok("program") => std::process::exit(triangle(4) + 1),
        Ok("sleeper") => return sleeper(),
        Ok("attach") => {
            let pid = words.next().and_then(|pid| pid.parse::<Pid>().ok()).expect("a number");
            return debug(Target::Process(pid));
        }
        Ok("debug") => {
            let mut command = Command::new(words.next().expect("a program"));
            // The program is this one, if it is told what to be.
            match words.next() {
                Some(mode) => command.env(MODE, mode),
                None => command.env_remove(MODE),
            };
            return debug(Target::Program(command));
        }
        _ => {}
    }
    let tests: [(&str, Test); 5] = [
        ("a_program_in_c", a_program_in_c),
        ("libraries_and_calls", libraries_and_calls),
        ("a_program_in_rust", a_program_in_rust),
        ("a_program_that_is_killed", a_program_that_is_killed),
        ("a_process_that_runs", a_process_that_runs),
    ];
    let trials = tests.into_iter().map(|(name, test)| Trial::test(name, test));
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit();
}

fn debug(target: Target) {
    run(target, std::io::stdin().lock(), std::io::stdout()).expect("a session");
}

#[inline(never)]
fn triangle(n: i32) -> i32 {
    let mut total = 0;
    for i in 1..=n {
        total += i;
    }
    std::hint::black_box(total)
}

#[inline(never)]
fn sleeper() {
    println!("ready");
    std::thread::sleep(LIMIT);
}

/// What the debugger says to these commands.
fn session(mode: &str, words: &[&str], commands: &[&str]) -> Result<String, Failed> {
    let mut child = Command::new(std::env::current_exe()?)
        .env(MODE, mode)
        .args(words)
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut input = child.stdin.take().ok_or("it is piped")?;
    input.write_all((commands.join("\n") + "\n").as_bytes())?;
    drop(input);
    let group = child.id();
    let (done, is_done) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let _ = done.send(child.wait_with_output());
    });
    match is_done.recv_timeout(LIMIT) {
        Ok(output) => {
            let output = output?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            if output.status.success() { Ok(text) } else { Err(text.into()) }
        }
        Err(_) => {
            // What it has started goes with it.
            let _ = Command::new("kill").args(["-9", &format!("-{group}")]).status();
            Err(format!("not done after {LIMIT:?}").into())
        }
    }
}

/// These parts are in the text, one behind the other.
fn has_in_order(text: &str, parts: &[&str]) -> Result<(), Failed> {
    let mut rest = text;
    for part in parts {
        let at =
            rest.find(part).ok_or_else(|| format!("no {part:?} behind the others:\n{text}"))?;
        rest = &rest[at + part.len()..];
    }
    Ok(())
}

/// The program in C, compiled for one test; `None` where nothing compiles it.
fn in_c(test: &str) -> Option<String> {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/programs/basic.c");
    let program = format!("{}/{test}-{}", env!("CARGO_TARGET_TMPDIR"), std::process::id());
    let compiled = Path::new(source).exists().then(|| {
        let flags = ["-g", "-O0", "-fno-omit-frame-pointer", "-pthread"];
        Command::new("cc").args(flags).args(["-o", &program, source]).status()
    });
    if !matches!(compiled, Some(Ok(status)) if status.success()) {
        println!("{test}: SKIPPED: there is no C compiler");
        return None;
    }
    Some(program)
}

fn libraries_and_calls() -> Result<(), Failed> {
    let Some(program) = in_c("libraries_and_calls") else { return Ok(()) };
    let said = session(
        "debug",
        &[&program],
        &[
            "tbreak pthread_create", // its library is loaded later
            "break sum",
            "continue",
            "call square(7)",
            "call square(p->x)",
            "call square(times",
            "call nothing(1)",
            "up",
            "call sum(&point, 1)",
            "print numbers",
            "delete 2",
            "call sum(&point, 3)",
            "continue",
            "bt",
            "continue",
            "continue",
            "continue",
        ],
    );
    std::fs::remove_file(&program)?;
    has_in_order(
        &said?,
        &[
            "runs a new program",
            "breakpoint 1: there is no pthread_create yet",
            "breakpoint 2, sum",
            "returned 49",
            "returned 9",
            "call FUNCTION(ARGUMENT, ...)",
            "there is no function nothing",
            "main+",
            "the call has ended before the function did",
            "numbers = [1, 2, 3, 5]",
            "returned 15",
            "breakpoint 1, pthread_create",
            "pthread_create",
            "main+",
            "gets SIGUSR1",
            "gets SIGUSR1",
            "exit status 7]",
        ],
    )
}

fn a_program_in_c() -> Result<(), Failed> {
    let Some(program) = in_c("a_program_in_c") else { return Ok(()) };
    let said = session(
        "debug",
        &[&program],
        &[
            "break sum",
            "tbreak basic.c:38",
            "continue",
            "bt",
            "locals",
            "print *p",
            "print p->name",
            "next",
            "next",
            "step",
            "bt",
            "finish",
            "up",
            "print numbers",
            "print numbers[2]",
            "print ratio",
            "print point.colour",
            "watch counter",
            "continue",
            "continue",
            "delete 3",
            "continue",
            "threads",
            "print own",
            "next",
            "next",
            "print own",
            "continue",
            "continue",
            "follow child",
            "tbreak square",
            "signal 0",
            "print n",
            "print nothing",
            "disas",
            "continue",
            "continue",
        ],
    );
    std::fs::remove_file(&program)?;
    has_in_order(
        &said?,
        &[
            "breakpoint 1 at sum, places: 1",
            "breakpoint 2 at basic.c:38, places: 1",
            "breakpoint 1, sum",
            "sum+",
            "at basic.c:",
            "#1 ",
            "main+",
            "at basic.c:",
            "argument times = 2",
            "*p = {x = 3, y = -4, name = ",
            "\"here\", colour = BLUE}",
            "\"here\"",
            "for (int i = 0; i < times; i++)",
            "total += square(p->x) + p->y;",
            "square+",
            "int result = n * n;",
            "#0 ",
            "square+",
            "#1 ",
            "sum+",
            "#2 ",
            "main+",
            "returned 9",
            "total += square",
            "int total = sum(&point, 2);",
            "numbers = [1, 2, 3, 5]",
            "numbers[2] = 3",
            "ratio = 1.5",
            "point.colour = BLUE",
            "watchpoint 3: counter",
            "from 0x0 to 0x1",
            "from 0x1 to 0x2",
            "breakpoint 2, basic.c:38",
            "own += square(own);",
            "* ",
            "work+",
            "\n  ", // the other thread
            "own = 5",
            "*(int *)arg = own;",
            "return arg;",
            "own = 30",
            "gets SIGUSR1",
            "gets SIGUSR1",
            "[fork made process ",
            "breakpoint 4, square",
            "n = 2",
            "there is no nothing here",
            "exit status 4]",
            "nothing is stopped",
        ],
    )
}

fn a_program_in_rust() -> Result<(), Failed> {
    let own = std::env::current_exe()?;
    let own = own.to_str().ok_or("its name is text")?;
    let commands = ["break triangle", "continue", "locals", "next", "next", "finish", "continue"];
    let said = session("debug", &[own, "program"], &commands)?;
    has_in_order(
        &said,
        &[
            "breakpoint 1 at triangle, places: 1",
            "breakpoint 1, triangle",
            "argument n = 4",
            "main.rs:",
            "returned 10",
            "exit status 11]",
        ],
    )
}

fn a_program_that_is_killed() -> Result<(), Failed> {
    let own = std::env::current_exe()?;
    let own = own.to_str().ok_or("its name is text")?;
    let said = session("debug", &[own, "program"], &["break triangle", "continue", "kill", "bt"])?;
    has_in_order(&said, &["breakpoint 1, triangle", "killed by SIGKILL]", "nothing is stopped"])
}

fn a_process_that_runs() -> Result<(), Failed> {
    let mut process = Command::new(std::env::current_exe()?)
        .env(MODE, "sleeper")
        .stdout(Stdio::piped())
        .spawn()?;
    let result = attached(&mut process);
    process.kill()?;
    process.wait()?;
    result
}

fn attached(process: &mut Child) -> Result<(), Failed> {
    let mut ready = [0; 5];
    std::io::Read::read_exact(process.stdout.as_mut().ok_or("it is piped")?, &mut ready)?;
    let until = Instant::now() + Duration::from_secs(10);
    let said = loop {
        let said = session("attach", &[&process.id().to_string()], &["bt", "detach", "bt"])?;
        // It may still be on its way.
        if said.contains("sleeper+") || Instant::now() > until {
            break said;
        }
    };
    has_in_order(
        &said,
        &["sleeper+", "at main.rs:", "main+", "at main.rs:", "nothing is stopped"],
    )?;
    match process.try_wait()? {
        None => Ok(()),
        Some(status) => Err(format!("it lives on, but {status}").into()),
    }
}
