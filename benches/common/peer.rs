//! The same with the crate `pete`.
//!
//! It polls: when no tracee has stopped it sleeps for a time, by default 100 ms. Here for as short
//! a time as there is, which was the best of what was tried (not to sleep at all is far worse on a
//! shared CPU).

use std::os::unix::process::CommandExt;
use std::process::Child;
use std::time::{Duration, Instant};

use pete::{Ptracer, Restart, Stop, Tracee};

use super::cpu::Pinned;
use super::tracee::{command, command_with};
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
        if matches!(kind, Kind::Hardware | Kind::Watch) {
            return None; // its registers are there, and nothing that decodes them
        }
        let pinned = Pinned::new(cpu);
        let mut tracer = Ptracer::new();
        *tracer.poll_delay_mut() = Duration::from_nanos(1);
        // After an exit stop it forgets the process, whose end then nobody waits for, so that a
        // program that forks and waits hangs.
        tracer.default_options_mut().remove(pete::ptracer::Options::PTRACE_O_TRACEEXIT);
        let mut command = command(kind.program());
        command.process_group(0);
        let child = tracer.spawn(command).ok()?;
        let tracee = tracer.wait().ok()??;
        let mut pete = Pete { tracer, tracee: Some(tracee), child, kind, _pinned: pinned };
        pete.run(1);
        Some(pete)
    }

    fn counts(kind: Kind, tracee: &Tracee) -> bool {
        match (kind, tracee.stop) {
            (Kind::Int3 | Kind::Step | Kind::Signal, Stop::SignalDelivery { .. }) => true,
            (Kind::Syscall, Stop::SyscallEnter | Stop::SyscallExit) => true,
            // Of the two halves the one that both report.
            (Kind::Fork, Stop::Fork { .. }) | (Kind::Vfork, Stop::Vfork { .. }) => true,
            (Kind::Exec, Stop::Exec { .. }) => true,
            (Kind::Thread, Stop::Clone { .. }) => true,
            _ => false,
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

/// Int3 stops of one tracee among others that are idle.
pub struct Among {
    tracer: Ptracer,
    tracee: Option<Tracee>,
    children: Vec<Child>,
    _pinned: Pinned,
}

impl Among {
    pub fn new(idle: u64, cpu: Option<u32>) -> Self {
        let pinned = Pinned::new(cpu);
        let mut tracer = Ptracer::new();
        *tracer.poll_delay_mut() = Duration::from_nanos(1);
        let mut among = Among { tracer, tracee: None, children: Vec::new(), _pinned: pinned };
        if idle > 0 {
            among.spawn(command_with("idle-processes", idle));
            among.run_to(|tracee| tracee.pending == Some(pete::Signal::SIGUSR1));
        }
        among.spawn(command("int3"));
        among.run(1);
        among
    }

    fn spawn(&mut self, mut command: std::process::Command) {
        if let Some(mut tracee) = self.tracee.take() {
            tracee.suppress();
            self.tracer.restart(tracee, Restart::Continue).expect("restart");
        }
        command.process_group(0);
        self.children.push(self.tracer.spawn(command).expect("spawn"));
        self.tracee = self.tracer.wait().expect("wait");
    }

    fn run_to(&mut self, found: impl Fn(&Tracee) -> bool) {
        let mut tracee = self.tracee.take().expect("the last stop");
        loop {
            if matches!(tracee.stop, Stop::SignalDelivery { .. }) {
                tracee.suppress();
            }
            self.tracer.restart(tracee, Restart::Continue).expect("restart");
            tracee = self.tracer.wait().expect("wait").expect("a tracee");
            if found(&tracee) {
                self.tracee = Some(tracee);
                return;
            }
        }
    }

    pub fn run(&mut self, n: u64) -> Duration {
        let start = Instant::now();
        for _ in 0..n {
            self.run_to(|tracee| tracee.pending == Some(pete::Signal::SIGTRAP));
        }
        start.elapsed()
    }
}

impl Drop for Among {
    fn drop(&mut self) {
        for child in &self.children {
            // SAFETY: a signal for the group that was made for it.
            unsafe { libc::kill(-(child.id() as i32), libc::SIGKILL) };
        }
        while let Ok(Some(tracee)) = self.tracer.wait() {
            let _ = self.tracer.restart(tracee, Restart::Continue);
        }
    }
}
