//! A tracer in an event loop that has other things to do.
//!
//! ```text
//! cargo run --example event_loop -- sh -c 'echo one; sleep 1; echo two'
//! ```
//!
//! One thread waits for three things at once, with the crate `polling`: for what the program
//! writes, for its events, and for the next second to have passed. The rule for the tracer's
//! descriptor is at `Tracer::readiness`: after anything else, `try_wait` until it gives no event;
//! then sleep.

#[path = "../child_signals/mod.rs"]
mod child_signals;

use std::io::Read;
use std::process::{Command, Stdio};
use std::task::Poll;
use std::time::{Duration, Instant};

use polling::{Event as Ready, Events, Poller};
use trapline::{Builder, Event, EventFlags, Resume};

const TRACER: usize = 1;
const OUTPUT: usize = 2;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    child_signals::survive()?;
    let mut words = std::env::args_os().skip(1);
    let program = words.next().ok_or("usage: event_loop PROGRAM [ARGUMENT...]")?;
    let mut command = Command::new(program);
    command.args(words).stdout(Stdio::piped());

    let mut tracer = Builder::new().events(EventFlags::PROCESS).build()?;
    let readiness = tracer.readiness()?;
    let spawned = tracer.spawn(command)?;
    let mut output = spawned.stdout.ok_or("the output is piped")?;

    let poller = Poller::new()?;
    // SAFETY: both descriptors are taken out of the poller before they are closed.
    unsafe {
        poller.add(&readiness, Ready::readable(TRACER))?;
        poller.add(&output, Ready::readable(OUTPUT))?;
    }
    let mut events = Events::new();
    let mut tick = Instant::now() + Duration::from_secs(1);
    let mut open = true;
    loop {
        while let Poll::Ready(Some(event)) = tracer.try_wait()? {
            tell(&event);
            tracer.resume(event, Resume::Continue)?;
        }
        if tracer.is_empty() && !open {
            break;
        }
        events.clear();
        poller.wait(&mut events, Some(tick.saturating_duration_since(Instant::now())))?;
        for ready in events.iter() {
            if ready.key == OUTPUT {
                let mut text = [0; 4096];
                let n = output.read(&mut text)?;
                open = n > 0;
                print!("{}", String::from_utf8_lossy(&text[..n]));
                if open {
                    poller.modify(&output, Ready::readable(OUTPUT))?;
                }
            } else {
                // A poller tells of each descriptor once, unless it is asked again.
                poller.modify(&readiness, Ready::readable(TRACER))?;
            }
        }
        if Instant::now() >= tick {
            tick += Duration::from_secs(1);
            println!("-- a second has passed");
        }
    }
    poller.delete(&readiness)?;
    poller.delete(&output)?;
    Ok(())
}

fn tell(event: &Event) {
    match event {
        Event::Stopped(stop) => println!("-- {}: {:?}", stop.pid(), stop.reason()),
        Event::Forked(fork) => println!("-- {:?} made {}", fork.parent_pid, fork.child_pid),
        Event::Exited { pid, status, .. } => println!("-- {pid}: {status}"),
        _ => {}
    }
}
