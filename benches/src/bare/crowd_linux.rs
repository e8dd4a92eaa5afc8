//! Loops by hand on Linux with many tracees.

use std::time::{Duration, Instant};

use super::super::Kind;
use super::super::tracee::{command, command_with};
use super::{Tracees, ptrace, wait};

/// Int3 stops of one tracee among others that are idle.
pub struct Among {
    busy: Tracees,
    _idle: Option<Tracees>,
}

impl Among {
    pub fn new(idle: u64, cpu: Option<u32>) -> Self {
        let idle = (idle > 0).then(|| Self::idle(idle, cpu));
        let busy = Tracees::seize(command(Kind::Int3.program()), 0, true, cpu);
        Among { busy, _idle: idle }
    }

    fn idle(n: u64, cpu: Option<u32>) -> Tracees {
        let command = command_with("idle-processes", n);
        let tracees = Tracees::seize(command, libc::PTRACE_O_TRACEFORK, false, cpu);
        loop {
            let (pid, status) = wait(-1);
            ptrace(libc::PTRACE_CONT, pid, 0, 0);
            if pid == tracees.pid && status >> 8 == libc::SIGUSR1 {
                return tracees;
            }
        }
    }

    /// With the usual wait for anybody, or with one for the busy tracee alone.
    pub fn run(&mut self, n: u64, any: bool) -> Duration {
        let target = if any { -1 } else { self.busy.pid };
        let start = Instant::now();
        for _ in 0..n {
            ptrace(libc::PTRACE_CONT, self.busy.pid, 0, 0);
            // The last of the idle ones may make their first stops now.
            loop {
                let (pid, _) = wait(target);
                if pid == self.busy.pid {
                    break;
                }
                ptrace(libc::PTRACE_CONT, pid, 0, 0);
            }
        }
        start.elapsed()
    }
}

/// Signals of many busy tracees.
pub struct Crowd {
    _tracees: Vec<Tracees>,
}

impl Crowd {
    pub fn new(n: u64, cpu: Option<u32>) -> Self {
        let seize = |_| Tracees::seize(command(Kind::Signal.program()), 0, false, cpu);
        Crowd { _tracees: (0..n).map(seize).collect() }
    }

    pub fn run(&mut self, n: u64) -> Duration {
        let start = Instant::now();
        for _ in 0..n {
            let (pid, _) = wait(-1);
            ptrace(libc::PTRACE_CONT, pid, 0, 0);
        }
        start.elapsed()
    }
}
