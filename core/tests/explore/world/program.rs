//! What programs do, and what is done to them.

use trapline_core::fake::Rules;
use trapline_core::{ForkKind, Pid, Signal, Tid};

use super::World;
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
            Move::Thread => drop(kernel.thread(tid)),
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
        }
    }
}
