//! What programs do, and what is done to them.

use std::cell::RefCell;

use trapline_core::{ForkKind, Pid, Signal, Tid};
use trapline_fake::{Kernel, Rules};

use super::World;
use crate::breaks::{Breaks, CODE};
use crate::ledger::Ledger;
use crate::scenario::Move;

impl<R: Rules> World<'_, R> {
    pub(super) fn step(&mut self, what: Move, pid: Pid, tid: Tid) {
        // Pids are in it, so it need not be in the digest of deeds.
        self.tell(|| format!("{what:?} of {pid} {tid}"));
        let kernel = self.kernel.clone();
        self.news = true;
        self.forks.remove(&tid);
        if self.scenario.reuse {
            let ended = self.ledger.lives.iter().rev().find(|(_, life)| life.exited);
            if let Some((pid, _)) = ended {
                kernel.reuse(pid.as_raw()); // unless somebody has it
            }
        }
        let mut make = |kind, sibling| {
            let child = if sibling { kernel.fork_sibling(tid) } else { kernel.fork(tid, kind) };
            self.breaks.borrow_mut().made(child, (pid, tid), kind, &kernel);
            self.ledger.made(child, (pid, tid), kind);
            let life = self.ledger.lives.entry(child).or_default();
            life.earlier = kernel.delivered(child, Signal::USR1);
            self.forks.insert(tid, child);
        };
        let life = |ledger: &mut Ledger| ledger.lives.entry(pid).or_default().lossy = true;
        match what {
            Move::Fork => make(ForkKind::Fork, false),
            Move::Vfork => make(ForkKind::Vfork, false),
            Move::Sibling => make(ForkKind::Clone, true),
            Move::Thread => self.breaks.borrow_mut().born(kernel.thread(tid)),
            Move::Exec => {
                life(&mut self.ledger);
                kernel.exec(tid, "other");
            }
            Move::ExitThread => {
                life(&mut self.ledger);
                kernel.exit_thread(tid, 7);
            }
            Move::Exit => kernel.exit(tid, 3),
            Move::Signal => kernel.signal_thread(tid, Signal::USR1),
            Move::Stop => kernel.signal_thread(tid, Signal::STOP),
            Move::Cont => kernel.signal(pid, Signal::CONT),
            Move::Kill => kernel.kill(pid),
            Move::Run => run(&kernel, &self.breaks, tid, false),
            Move::RunInto => run(&kernel, &self.breaks, tid, true),
        }
    }
}

/// A thread executes its code.
pub(super) fn run<R: Rules>(kernel: &Kernel<R>, breaks: &RefCell<Breaks>, tid: Tid, slow: bool) {
    if kernel.is_in_call(tid) {
        return kernel.finish_call(tid);
    }
    breaks.borrow_mut().jumped(tid, kernel);
    match slow {
        true => kernel.run_into(tid, CODE),
        false => kernel.jump(tid, CODE),
    }
}

/// Whether a thread could do this, being where it is: in a system call, or in a trap.
pub(super) fn is_possible<R: Rules>(kernel: &Kernel<R>, what: Move, tid: Tid) -> bool {
    match what {
        Move::Signal | Move::Stop | Move::Cont | Move::Kill => true,
        Move::Run => !kernel.has_trapped(tid),
        _ => !kernel.has_trapped(tid) && !kernel.is_in_call(tid),
    }
}
