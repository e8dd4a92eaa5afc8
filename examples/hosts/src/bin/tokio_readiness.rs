//! A tracer in an async program, in the thread of a runtime that has one.
//!
//! ```text
//! cargo run -p trapline-hosts --bin tokio_readiness -- sh -c 'echo one; sleep 1; echo two'
//! ```
//!
//! A tracer stays on the thread that made it, so this is for a current-thread runtime, or for a
//! `LocalSet`. The rule is that of any event loop (`Tracer::readiness`): after anything else, `try_wait`
//! until it gives no event; only then sleep.

use std::process::Stdio;
use std::task::Poll;
use std::time::Duration;

use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncBufReadExt, BufReader, Interest};
use tokio::process::ChildStdout;
use trapline::{Builder, Notice, Resume};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    trapline_hosts::survive()?;
    let mut command = trapline_hosts::command()?;
    command.stdout(Stdio::piped());

    let mut tracer = Builder::new().build()?;
    // SAFETY: a `Readiness` keeps its descriptor open as long as it lives, and is always the same one.
    let readiness =
        unsafe { AsyncFd::register_with_interest(tracer.readiness()?, Interest::READABLE)? };
    let spawned = tracer.spawn(command)?;
    let output = spawned.stdout.ok_or("the output is piped")?;
    let mut lines = BufReader::new(ChildStdout::from_std(output)?).lines();
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    seconds.tick().await; // the first one is at once
    let mut open = true;
    loop {
        while let Poll::Ready(Some(event)) = tracer.try_wait()? {
            if let Some(line) = trapline_hosts::line(&Notice::from(&event)) {
                println!("-- {line}");
            }
            tracer.resume(event, Resume::Continue)?;
        }
        if tracer.is_empty() && !open {
            return Ok(());
        }
        tokio::select! {
            // It was readable; what there is will be taken by `try_wait`.
            ready = readiness.readable() => ready?.clear_ready(),
            line = lines.next_line(), if open => match line? {
                Some(line) => println!("{line}"),
                None => open = false,
            },
            _ = seconds.tick() => println!("-- a second has passed"),
            end = tokio::signal::ctrl_c() => return Ok(end?), // what was spawned is killed
        }
    }
}
