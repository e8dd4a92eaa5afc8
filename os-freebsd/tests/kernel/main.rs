//! The FreeBSD back end on a real kernel: raw stops, without the engine.
//!
//! A harness of its own: a process has one tracer, so each test runs in a process of its own, one
//! after the other, and is killed after a time limit. The programs that are traced are modes of
//! this one (`fixture.rs`), `/bin/sh` and the base system. Give names, or parts of them, to run
//! some of the tests; `--list` names them.

#[cfg(target_os = "freebsd")]
mod bsd {
    pub(crate) mod driver;
    mod fixture;
    mod tests;

    use std::io::Write;
    use std::os::unix::process::{CommandExt, ExitStatusExt};
    use std::process::{Command, ExitCode};
    use std::time::{Duration, Instant};

    /// The exit status of a test that cannot run here, and says why.
    pub(crate) const SKIPPED: i32 = 77;

    /// For one test, on an emulated machine, in seconds, unless `TRAPLINE_LIMIT` says otherwise.
    const LIMIT: u64 = 120;
    /// For what a test has killed to be gone.
    const DYING: Duration = Duration::from_secs(10);

    pub(crate) fn main() -> ExitCode {
        let mut args = std::env::args().skip(1);
        match args.next().as_deref() {
            Some("--fixture") => fixture::main(&args.collect::<Vec<_>>()),
            Some("--one") => {
                let name = args.next().unwrap_or_default();
                let test = tests::ALL.iter().find(|(other, _)| *other == name);
                test.expect("a test of this name").1();
                ExitCode::SUCCESS
            }
            Some("--list") => {
                tests::ALL.iter().for_each(|(name, _)| println!("{name}: test"));
                ExitCode::SUCCESS
            }
            _ => all(),
        }
    }

    fn all() -> ExitCode {
        let wanted: Vec<String> =
            std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
        let chosen = |name: &str| {
            wanted.is_empty() || wanted.iter().any(|part| name.contains(part.as_str()))
        };
        let mut failed = Vec::new();
        let mut count = 0;
        for (name, _) in tests::ALL.iter().filter(|(name, _)| chosen(name)) {
            print!("test {name} ... ");
            let _ = std::io::stdout().flush();
            let start = Instant::now();
            count += 1;
            match one(name) {
                Ok(how) => println!("{how} ({:.2} s)", start.elapsed().as_secs_f32()),
                Err(why) => {
                    println!("FAILED: {why}");
                    failed.push(*name);
                }
            }
        }
        println!(
            "\ntest result: {} passed; {} failed {failed:?}",
            count - failed.len(),
            failed.len()
        );
        if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(101) }
    }

    fn one(name: &str) -> Result<&'static str, String> {
        let this = std::env::current_exe().map_err(|e| e.to_string())?;
        let mut child = Command::new(this)
            .args(["--one", name])
            .process_group(0)
            .spawn()
            .map_err(|e| e.to_string())?;
        let limit = std::env::var("TRAPLINE_LIMIT").ok().and_then(|limit| limit.parse().ok());
        let limit = Duration::from_secs(limit.unwrap_or(LIMIT));
        let start = Instant::now();
        let result = loop {
            match child.try_wait().map_err(|e| e.to_string())? {
                Some(status) if status.success() => break Ok("ok"),
                Some(status) if status.code() == Some(SKIPPED) => break Ok("skipped"),
                Some(status) => break Err(format!("{status} (signal {:?})", status.signal())),
                None if start.elapsed() > limit => break Err("time limit".into()),
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        let group = -(child.id() as i32);
        if result.is_ok() {
            // Nobody of its group is to be left.
            let start = Instant::now();
            while driver::kill(group, 0) {
                if start.elapsed() > DYING {
                    driver::kill(group, libc::SIGKILL);
                    return Err("it leaves a process behind".into());
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            return result;
        }
        // What is left of it, if anything.
        driver::kill(group, libc::SIGKILL);
        let _ = child.wait();
        result
    }
}

#[cfg(target_os = "freebsd")]
fn main() -> std::process::ExitCode {
    bsd::main()
}

#[cfg(not(target_os = "freebsd"))]
fn main() {
    println!("needs a FreeBSD kernel");
}
