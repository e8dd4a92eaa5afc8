//! ```text
//! cargo run -p trapline-debugger -- PROGRAM [ARGUMENT...]
//! cargo run -p trapline-debugger -- -p PID
//! ```

#![forbid(unsafe_code)]

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use trapline::Pid;
use trapline_debugger::{Outcome, Target, run};

fn main() -> Outcome<()> {
    // Ctrl-C is the program's, which stops for it.
    signal_hook::flag::register(signal_hook::consts::SIGINT, Arc::new(AtomicBool::new(false)))?;
    let mut words = std::env::args_os().skip(1);
    let first = words.next().ok_or("usage: trapline-debugger PROGRAM [ARGUMENT...] | -p PID")?;
    let target = if first == "-p" {
        let pid = words.next().and_then(|pid| pid.to_str()?.parse::<Pid>().ok());
        Target::Process(pid.ok_or("-p needs the number of a process")?)
    } else {
        let mut command = Command::new(first);
        command.args(words);
        Target::Program(command)
    };
    run(target, std::io::stdin().lock(), std::io::stdout())
}
