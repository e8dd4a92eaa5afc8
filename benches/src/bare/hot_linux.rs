//! Breakpoints by hand on Linux, at the hot place of a program of which every thread is traced.
//!
//! All unsafe code of this file is `ptrace` that writes to a variable of the length that it takes.

use std::time::{Duration, Instant};

use super::super::hot::{Others, SLOT};
use super::super::regs::linux::{ADVANCE, move_pc, with_breakpoint};
use super::super::tracee::{CODE, command_with};
use super::{Tracees, ptrace, wait};

/// How a thread gets past its breakpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The program's instruction is put back, the thread steps, and the breakpoint is put in
    /// again. Others that come by meanwhile are missed.
    InPlace,
    /// It goes on in a copy of the instruction, which jumps back.
    OutOfLine,
}

/// A program that is stopped at the hot place.
pub struct Hot {
    tracees: Tracees,
    way: Way,
    /// The word at the hot place without the breakpoint and with it.
    words: [usize; 2],
}

impl Hot {
    pub fn new(others: Others, way: Way, cpu: Option<u32>) -> Self {
        let command = command_with("hot", others.amount());
        let tracees = Tracees::seize(command, libc::PTRACE_O_TRACECLONE, false, cpu);
        // Until it tells that all its threads are there.
        loop {
            let (tid, status) = wait(-1);
            if tid == tracees.pid && status >> 8 == libc::SIGUSR1 {
                break;
            }
            ptrace(libc::PTRACE_CONT, tid, 0, 0);
        }
        let mut word = 0_usize;
        // SAFETY: as a system call this writes one word; libc's function returns it.
        word |= unsafe { libc::ptrace(libc::PTRACE_PEEKTEXT, tracees.pid, CODE, 0) } as usize;
        let words = [word, with_breakpoint(word)];
        ptrace(libc::PTRACE_POKETEXT, tracees.pid, CODE as usize, words[1]);
        ptrace(libc::PTRACE_CONT, tracees.pid, 0, 0);
        let mut hot = Hot { tracees, way, words };
        hot.wait();
        hot.run(1);
        hot
    }

    /// Waits for a stop of the thread that comes by; the last ones to be made may make their first
    /// stops now.
    #[inline(always)]
    fn wait(&self) {
        let (_, status) = wait(self.tracees.pid);
        assert_eq!(status >> 8, libc::SIGTRAP, "{status:#x}");
    }

    pub fn run(&mut self, n: u64) -> Duration {
        let pid = self.tracees.pid;
        let start = Instant::now();
        for _ in 0..n {
            move_pc(pid, |pc| match self.way {
                Way::InPlace => pc - ADVANCE,
                Way::OutOfLine => SLOT,
            });
            if self.way == Way::InPlace {
                ptrace(libc::PTRACE_POKETEXT, pid, CODE as usize, self.words[0]);
                ptrace(libc::PTRACE_SINGLESTEP, pid, 0, 0);
                self.wait();
                ptrace(libc::PTRACE_POKETEXT, pid, CODE as usize, self.words[1]);
            }
            ptrace(libc::PTRACE_CONT, pid, 0, 0);
            self.wait();
        }
        start.elapsed()
    }
}
