//! gdb as a whole tool, at a breakpoint that it passes over a great many times.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::hot::Others;
use super::tracee::{CODE, WORD, command_with};

/// A program that is killed when this is dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How long gdb may take to get ready.
const READY: Duration = Duration::from_secs(60);
/// Goes round so often in a millisecond are those of a program without a breakpoint.
const FREE: u64 = 5_000;

/// The nanoseconds that gdb takes for a hit and on, in a program with other threads: by how often
/// that gets round in so much time.
pub fn nanos(others: Others, time: Duration) -> Result<f64, String> {
    let mut command = command_with("hot-line", others.amount());
    let child = command.stdout(Stdio::piped()).spawn().map_err(|error| error.to_string())?;
    let mut program = Killed(child);
    let mut line = String::new();
    let out = program.0.stdout.take().ok_or("no output")?;
    BufReader::new(out).read_line(&mut line).map_err(|error| error.to_string())?;
    let pid = program.0.id();
    let mut gdb = Command::new("gdb");
    gdb.args(["-nx", "-q", "-batch", "-p", &pid.to_string()]);
    for order in [
        "set auto-solib-add off",
        "set displaced-stepping on",
        &format!("break *{CODE:#x}"),
        "ignore 1 1000000000",
        "continue",
    ] {
        gdb.args(["-ex", order]);
    }
    gdb.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let _gdb = Killed(gdb.spawn().map_err(|error| format!("gdb: {error}"))?);
    let memory = File::open(format!("/proc/{pid}/mem")).map_err(|error| error.to_string())?;
    let round = || {
        let mut word = [0; 8];
        memory.read_exact_at(&mut word, WORD).map_err(|error| error.to_string())?;
        Ok::<u64, String>(u64::from_ne_bytes(word))
    };
    let measure = |time: Duration| {
        let (before, start) = (round()?, Instant::now());
        std::thread::sleep(time);
        Ok::<_, String>((round()? - before, start.elapsed()))
    };
    // Until it goes round slowly.
    let start = Instant::now();
    loop {
        let (rounds, taken) = measure(Duration::from_millis(50))?;
        if rounds > 0 && rounds < FREE * taken.as_millis() as u64 / 10 {
            break;
        }
        if start.elapsed() > READY {
            return Err("gdb did not get ready".into());
        }
    }
    measure(Duration::from_millis(200))?;
    let (rounds, taken) = measure(time)?;
    Ok(taken.as_nanos() as f64 / rounds.max(1) as f64)
}
