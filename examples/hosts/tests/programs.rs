//! The programs without a screen, run on a small script.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(60);

/// What a program prints that traces this script. `None` where there is only the test, as on a machine
/// that it was copied to.
fn traced(program: &str, script: &str) -> Option<String> {
    if !Path::new(program).exists() {
        println!("SKIPPED: {program} is not there");
        return None;
    }
    let mut child = Command::new(program)
        .args(["sh", "-c", script])
        .stdout(Stdio::piped())
        .spawn()
        .expect("it can be started");
    let until = Instant::now() + LIMIT;
    // What it prints fits into a pipe.
    while child.try_wait().expect("it is a child").is_none() {
        if Instant::now() > until {
            let _ = child.kill();
            panic!("not done after {LIMIT:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().expect("its output");
    assert!(output.status.success(), "{}", output.status);
    Some(String::from_utf8(output.stdout).expect("UTF-8"))
}

fn count(text: &str, part: &str) -> usize {
    text.lines().filter(|line| line.contains(part)).count()
}

#[test]
fn by_the_descriptor() {
    let script = "echo one; (exit 3); sleep 0.1; echo two; exit 4";
    let Some(text) = traced(env!("CARGO_BIN_EXE_tokio_readiness"), script) else { return };
    let said: Vec<&str> = text.lines().filter(|line| !line.starts_with("-- ")).collect();
    assert_eq!(said, ["one", "two"], "{text}");
    for (part, times) in [("Execed", 2), ("exit status 3", 1), ("exit status 4", 1)] {
        assert_eq!(count(&text, part), times, "{part}: {text}");
    }
}

#[test]
fn by_a_thread() {
    let script = "(exit 3); (exit 5) & wait; exit 4";
    let Some(text) = traced(env!("CARGO_BIN_EXE_tokio_thread"), script) else { return };
    for (part, times) in [("runs [", 1), ("fork of", 2), ("exit status 3", 1), ("exit status 5", 1)]
    {
        assert_eq!(count(&text, part), times, "{part}: {text}");
    }
    assert_eq!(count(&text, "exit status 4 (the program)"), 1, "{text}");
}
