//! Stops a program at its first own instruction, and shows where that is:
//! `cargo run --example first_breakpoint -- date`.

use std::process::Command;
use trapline::{Builder, Event, Resume, SoftwareBreakpoint, StopReason};

/// The entry of the auxiliary vector that says where a program begins (`elf.h`).
const AT_ENTRY: u64 = 9;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut words = std::env::args_os().skip(1);
    let mut command = Command::new(words.next().ok_or("usage: first_breakpoint PROGRAM...")?);
    command.args(words);
    let mut tracer = Builder::new().build()?;
    tracer.spawn(command)?;
    while let Some(event) = tracer.wait()? {
        if let Event::Stopped(stop) = &event {
            match stop.reason() {
                StopReason::Execed { .. } => {
                    let addr = tracer.auxv(stop.pid(), AT_ENTRY)?.ok_or("it begins nowhere")?;
                    let id = tracer.insert_breakpoint(stop.pid(), SoftwareBreakpoint { addr })?;
                    println!("breakpoint {id} at {addr:#x}");
                }
                StopReason::Trap(causes) if causes.software.is_some() => {
                    let registers = tracer.registers(stop)?;
                    println!("at {:#x}, the stack at {:#x}", registers.pc(), registers.sp());
                }
                _ => {}
            }
        }
        tracer.resume(event, Resume::Continue)?;
    }
    Ok(())
}
