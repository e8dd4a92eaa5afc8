//! A tracer on a thread of its own, and async code on any thread that asks it.
//!
//! ```text
//! cargo run -p trapline-hosts --bin tokio_thread -- sh -c 'date; ls | wc -l'
//! ```
//!
//! Events come by a channel of the runtime's. [`ask`] has the tracer's thread run a closure, and awaits
//! the answer, so that no task ever blocks.

#![forbid(unsafe_code)]

use tokio::sync::{mpsc, oneshot};
use trapline::{Builder, Error, Notice, Resume, Session, StopReason, TracerThread};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    trapline_hosts::survive()?;
    let command = trapline_hosts::command()?;
    let (sender, mut notices) = mpsc::unbounded_channel();
    let thread = TracerThread::start(Builder::new(), move |_, notice| {
        let _ = sender.send(notice);
    })?;
    let program = ask(&thread, |session| Ok(session.tracer_mut().spawn(command)?.pid)).await?;
    let mut living = 1;
    while living > 0 {
        let Some(notice) = notices.recv().await else { break };
        let notice = notice?;
        match &notice {
            Notice::Stopped { pid, reason: StopReason::Execed { .. }, .. } => {
                let pid = *pid;
                let process =
                    ask(&thread, move |session| session.tracer().process_info(pid)).await?;
                println!("{pid} runs {:?}", process.arguments.unwrap_or_default());
            }
            Notice::Forked { .. } => living += 1,
            Notice::Exited { .. } => living -= 1,
            _ => {}
        }
        if let Some(line) = trapline_hosts::line(&notice) {
            println!("{line}{}", if notice.pid() == Some(program) { " (the program)" } else { "" });
        }
        let threads = notice.threads();
        ask(&thread, move |session| session.resume_all(threads, Resume::Continue)).await?;
    }
    // Does not take long: nothing is traced any more.
    thread.finish().map_err(|_| "the tracer's thread has panicked".into())
}

/// Has the tracer's thread run a closure.
async fn ask<T: Send + 'static>(
    thread: &TracerThread,
    job: impl FnOnce(&mut Session) -> trapline::Result<T> + Send + 'static,
) -> trapline::Result<T> {
    let (answer, answered) = oneshot::channel();
    thread.post(move |session| {
        let _ = answer.send(job(session));
    })?;
    answered.await.unwrap_or(Err(Error::Ended))
}
