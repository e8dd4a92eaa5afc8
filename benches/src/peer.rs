//! The same with the crate `pete`.
//!
//! It polls: when no tracee has stopped it sleeps, by default for 1 us, and then for twice as long each
//! time. Here the first sleep is as short as there is (not to sleep at all is far worse on a shared CPU).

use std::os::unix::process::CommandExt;
use std::process::Child;
use std::time::{Duration, Instant};

use pete::{Ptracer, Restart, Stop, Tracee};

use super::cpu::Pinned;
use super::tracee::command;
use super::{Kind, Loop};

pub struct Pete {
    tracer: Ptracer,
    tracee: Option<Tracee>,
    child: Child,
    kind: Kind,
    _pinned: Pinned,
}

impl Pete {
    /// `None` for what it does not do.
    pub fn new(kind: Kind, cpu: Option<u32>) -> Option<Self> {
        match kind {
            Kind::Hardware | Kind::Watch => return None, // nothing decodes their registers
            // A tracee that ends without an exit stop is an error to 0.13, now and then.
            Kind::Fork | Kind::Vfork | Kind::Thread => return None,
            _ => {}
        }
        let pinned = Pinned::new(cpu);
        let mut tracer = Ptracer::new();
        tracer.set_poll_delay(Duration::from_nanos(1));
        // After an exit stop it forgets the process, whose end then nobody waits for, so that a
        // program that forks and waits hangs.
        let options = tracer.default_options();
        tracer.set_default_options(options - pete::ptracer::Options::PTRACE_O_TRACEEXIT);
        let mut command = command(kind.program());
        command.process_group(0);
        let child = tracer.spawn(command).ok()?;
        let tracee = tracer.wait().ok()??;
        let mut pete = Pete { tracer, tracee: Some(tracee), child, kind, _pinned: pinned };
        pete.run(1);
        Some(pete)
    }

    fn counts(kind: Kind, tracee: &Tracee) -> bool {
        match kind {
            Kind::Int3 | Kind::Step | Kind::Signal => {
                matches!(tracee.stop, Stop::SignalDelivery { .. })
            }
            Kind::Syscall => matches!(tracee.stop, Stop::SyscallEnter | Stop::SyscallExit),
            Kind::Exec => matches!(tracee.stop, Stop::Exec { .. }),
            _ => false, // not made
        }
    }
}

impl Loop for Pete {
    fn run(&mut self, n: u64) -> Duration {
        let (kind, tracer) = (self.kind, &mut self.tracer);
        let how = match kind {
            Kind::Step => Restart::Step,
            Kind::Syscall => Restart::Syscall,
            _ => Restart::Continue,
        };
        let mut tracee = self.tracee.take().expect("the last stop");
        let start = Instant::now();
        for _ in 0..n {
            loop {
                if matches!(kind, Kind::Int3 | Kind::Step | Kind::Signal) {
                    tracee.suppress();
                }
                tracer.restart(tracee, how).expect("restart");
                tracee = tracer.wait().expect("wait").expect("a tracee");
                if Self::counts(kind, &tracee) {
                    break;
                }
            }
        }
        let taken = start.elapsed();
        self.tracee = Some(tracee);
        taken
    }
}

impl Drop for Pete {
    fn drop(&mut self) {
        // SAFETY: a signal for the group that was made for it.
        unsafe { libc::kill(-(self.child.id() as i32), libc::SIGKILL) };
        while let Ok(Some(tracee)) = self.tracer.wait() {
            let _ = self.tracer.restart(tracee, Restart::Continue);
        }
    }
}
